//! Rows on their way: an Arrow batch and its place in the order of rows.

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

/// Where a batch stands in the order of rows. Batches sorted by place hold rows sorted by
/// (window_start, flow_id): workers own ranges of flow ids, in the order of their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Place {
    /// Window start in nanoseconds; 0 for tables that know no windows.
    pub window: u64,
    /// The worker whose rows these are; 0 for tables.
    pub worker: u32,
    /// Counts the batches of a worker in a window from 0; for tables the batch's number in the input.
    pub number: u32,
    /// The worker has no more batches in the window. Where nobody says so, the frontier does, later.
    pub last: bool,
}

/// Rows with their place, and the worker they go to where they change workers.
#[derive(Clone, Debug)]
pub struct RowBatch {
    /// Place in the order.
    pub place: Place,
    /// The worker that an exchange hands the batch to.
    pub target: u32,
    /// The rows.
    pub rows: RecordBatch,
}

impl Default for RowBatch {
    fn default() -> Self {
        RowBatch { place: Place::default(), target: 0, rows: RecordBatch::new_empty(Schema::empty().into()) }
    }
}
