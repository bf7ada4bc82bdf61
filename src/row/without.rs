//! Rows that training does without: what attacked is not to be learned.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use hashbrown::HashSet;

use super::{RowBatch, RowKey};

/// Rows that are left out, and how many were met.
#[derive(Debug, Default)]
pub struct Without {
    rows: HashSet<RowKey>,
    met: AtomicU64,
}

impl Without {
    /// Those of these names.
    pub fn new(rows: HashSet<RowKey>) -> Without {
        Without { rows, met: AtomicU64::new(0) }
    }

    /// How many there are, and how many of them were met so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.rows.len() as u64, self.met.load(Relaxed))
    }

    /// Takes them out of a batch. Rows without names stay.
    pub(super) fn leave(&self, batch: &mut RowBatch) {
        let rows = &batch.rows;
        let windows = rows
            .column_by_name("window_start")
            .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
        let flows = rows.column_by_name("flow_id").and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let (Some(windows), Some(flows)) = (windows, flows) else { return };
        let is_kept = |at: usize| {
            let window = u64::try_from(windows.value(at)).unwrap_or(u64::MAX);
            !self.rows.contains(&(window, flows.value(at)))
        };
        let kept: BooleanArray = (0..rows.num_rows()).map(|at| Some(is_kept(at))).collect();
        let met = kept.len() - kept.true_count();
        if met > 0 {
            self.met.fetch_add(met as u64, Relaxed);
            batch.rows = filter_record_batch(rows, &kept).expect("a mask as long as the rows");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, TimestampNanosecondArray, UInt64Array};
    use arrow::record_batch::RecordBatch;

    use super::*;

    #[test]
    fn rows_of_these_names_go_and_are_counted() {
        let windows = TimestampNanosecondArray::from(vec![10, 10, 20]).with_timezone("UTC");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("window_start", Arc::new(windows)),
            ("flow_id", Arc::new(UInt64Array::from(vec![1, 2, 1]))),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let without = Without::new([(10, 1), (20, 2)].into_iter().collect());
        let mut batch = RowBatch { rows: rows.clone(), ..RowBatch::default() };
        without.leave(&mut batch);
        assert_eq!((&batch.rows, without.counts()), (&rows.slice(1, 2), (2, 1)));
        let mut nameless = RowBatch { rows: rows.project(&[0]).unwrap(), ..RowBatch::default() };
        without.leave(&mut nameless);
        assert_eq!((nameless.rows.num_rows(), without.counts()), (3, (2, 1)));
    }
}
