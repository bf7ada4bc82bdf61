//! Rows of nothing but later fragments: nobody knows who began them.

use arrow::record_batch::RecordBatch;

use super::ContextError;
use super::entity::numbers;

/// The columns that [`later_fragments`] is read from.
pub(super) const LATER_FRAGMENTS: [&str; 2] = ["fragments", "bidir_packets"];

/// For each row whether all of its packets are fragments that are not the first of their datagrams; nothing where no row
/// is so.
///
/// Without reassembly nobody knows what they belong to: they have no ports, and whoever sent the first of them counts as
/// the initiator. Where a server answers in fragments, that is the server.
pub(super) fn later_fragments(rows: &RecordBatch) -> Result<Option<Vec<bool>>, ContextError> {
    let fragments = numbers(rows, LATER_FRAGMENTS[0])?;
    if fragments.iter().all(|fragments| *fragments == 0) {
        return Ok(None);
    }
    let packets = numbers(rows, LATER_FRAGMENTS[1])?;
    let alone = |(fragments, packets): (&u64, &u64)| *fragments > 0 && fragments >= packets;
    Ok(Some(fragments.iter().zip(packets.iter()).map(alone).collect()))
}
