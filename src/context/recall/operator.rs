//! Recall in the graph: rows wait where they are, identities are asked about where they are remembered.

use std::sync::Arc;

use timely::dataflow::Stream;

use super::super::Plan;
use super::super::operator::{Lengths, Remembering};
use super::asking::{Attaching, Identifying};
use super::keeper::Keeper;
use crate::row::RowBatch;
use crate::row::asking::operator::{attach, gather, keep};
use crate::tally::{Fault, Tally};

/// Attaches to rows what is recalled of their identities; all rows of a window are held until it is complete.
pub(in crate::context) fn recall<'s>(
    rows: Stream<'s, u64, RowBatch>,
    plan: Arc<Plan>,
    lengths: Lengths,
    remembering: Remembering,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    let (worker, peers) = (rows.scope().index(), rows.scope().peers());
    let Remembering { before, after } = remembering;
    let known = before.as_ref().and_then(|memory| memory.last());
    let keeper = Keeper::new(before.as_deref(), worker, peers, plan.recall.most());
    let leave = move |keeper: Keeper| {
        if let Some(after) = after {
            let mut memory = after.lock().expect("no worker panics while it hands over");
            keeper.leave(memory.get_or_insert_default());
        }
    };
    let identifying = Identifying::new(plan.clone(), lengths.window, worker as u32, peers);
    let (held, questions) = gather(rows, "gather", identifying, fault.clone());
    let answers = keep(questions, "recall", keeper, lengths.apart(), tally.clone(), leave);
    attach(held, answers, "recalled", Attaching::new(plan, lengths.window, known, tally), fault)
}
