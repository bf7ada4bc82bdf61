//! Context in the graph: rows are counted where they are, entities remembered where they belong, columns
//! attached where the rows are. What looks beyond the horizons is attached [before](super::recall), in the same way.
//!
//! ```text
//! rows ── count ──────────── rows with their cells ──────────── attach ── rows with context
//!            └─ asks ─(entity's owner)─ remember ─(who asked)─ answers ─┘
//! ```

use std::sync::{Arc, Mutex};

use timely::dataflow::Stream;

use super::asking::{Attaching, Counting};
use super::horizon::Horizons;
use super::{Memory, Plan, recall};
use crate::row::RowBatch;
use crate::row::asking::operator::{attach, gather, keep};
use crate::tally::{Fault, Tally};

/// What is remembered beyond the horizons, before a run and after it.
#[derive(Clone, Default)]
pub struct Remembering {
    /// What is known from before.
    pub before: Option<Arc<Memory>>,
    /// Where each worker leaves what it remembers when its rows end; nowhere where nobody asks.
    pub after: Option<Arc<Mutex<Option<Memory>>>>,
}

/// Lengths in nanoseconds of event time.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Of the windows of rows.
    pub window: u64,
    /// Of what shares a timely timestamp.
    pub slice: u64,
}

impl Lengths {
    /// Whether windows have timestamps of their own.
    pub(super) fn apart(&self) -> bool {
        self.slice <= self.window
    }
}

/// Attaches the plan's columns to rows. Batches keep their places and their order within a window; all rows
/// of a window are held until it is complete, for a value depends on all of them.
///
/// Rows must be as [`Plan::check`] wants them; one that is not is noted as a fault. What was forgotten for lack of
/// room is counted in `tally`.
///
/// # Panics
/// If the window is 0.
pub fn count<'s>(
    rows: Stream<'s, u64, RowBatch>,
    plan: Arc<Plan>,
    lengths: Lengths,
    remembering: Remembering,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    assert!(lengths.window > 0, "rows with context have windows");
    let rows = match plan.remembers() {
        true => {
            let tally = tally.clone();
            recall::operator::recall(rows, plan.clone(), lengths, remembering, tally, fault.clone())
        }
        false => rows,
    };
    if plan.groups.is_empty() {
        return rows;
    }
    let (from, peers) = (rows.scope().index() as u32, rows.scope().peers());
    let counting = Counting::new(plan.clone(), lengths.window, from, peers);
    let (held, asks) = gather(rows, "count", counting, fault.clone());
    let answers = keep(asks, "remember", Horizons::new(plan.clone()), lengths.apart(), tally, |_| {});
    attach(held, answers, "attach", Attaching::new(plan), fault)
}
