//! Scores with what lasts, in the graph: rows are judged where they are, levels kept where their keys belong.
//!
//! ```text
//! rows ── judge ──────────────────── rows with their own scores ──────────────────── settle ── scored rows
//!            └─ largest scores, counts ─(key's owner)─ follow ─(who said)─ levels, counts ─┘
//! ```

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use timely::dataflow::Stream;

use super::asking::{Judging, Settling};
use super::following::Following;
use crate::detect::Detector;
use crate::detect::operator::Thresholds;
use crate::row::RowBatch;
use crate::row::asking::operator::{attach, gather, keep};
use crate::tally::{Fault, Tally};

/// Scores rows by themselves and by what lasts; all rows of a window are held until it is complete.
pub(in crate::detect) fn score<'s>(
    rows: Stream<'s, u64, RowBatch>,
    detector: Arc<dyn Detector>,
    thresholds: Thresholds,
    schema: SchemaRef,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    let (from, peers) = (rows.scope().index() as u32, rows.scope().peers());
    let judging = Judging::new(detector.clone(), thresholds.counted, from, peers);
    let (held, told) = gather(rows, "judge", judging, fault.clone());
    // Nobody says here whether windows have timestamps of their own.
    let levels = keep(told, "follow", Following::new(), false, tally.clone(), |_| {});
    let settling = Settling { detector, threshold: thresholds.anomalies, schema, tally };
    attach(held, levels, "settle", settling, fault)
}
