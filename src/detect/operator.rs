//! Detection in the graph: rows are learned from, or scored where they are.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use arrow::datatypes::SchemaRef;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use super::lasting::operator as lasting;
use super::{Detector, Learning, scored};
use crate::row::RowBatch;
use crate::tally::{Fault, Tally};

/// Learns from rows; what each worker learned is merged in `learned` when its rows end.
pub fn learn<'s>(
    rows: Stream<'s, u64, RowBatch>,
    learning: Option<Learning>,
    learned: Arc<Mutex<Option<Learning>>>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, Vec<()>> {
    rows.unary_frontier::<NoopBuilder<Vec<()>>, _, _, _>(Pipeline, "learn", move |_, _| {
        let mut learning = learning;
        move |(input, frontier), _| {
            input.for_each(|_, batch| {
                if let Some(learning) = &mut learning
                    && !fault.met()
                    && let Err(error) = learning.observe(batch)
                {
                    fault.note(error);
                }
            });
            if frontier.is_empty()
                && let Some(mine) = learning.take()
            {
                let mut all = learned.lock().expect("no worker panics while it merges");
                match &mut *all {
                    None => *all = Some(mine),
                    Some(others) => {
                        if let Err(error) = others.merge(mine) {
                            fault.note(error);
                        }
                    }
                }
            }
        }
    })
}

/// Scores rows on the worker that has them, with what lasts where the detector looks at that; scores above the
/// threshold are anomalies.
pub fn score<'s>(
    rows: Stream<'s, u64, RowBatch>,
    detector: Arc<dyn Detector>,
    threshold: f64,
    schema: SchemaRef,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    if detector.lasting().is_some() {
        return lasting::score(rows, detector, threshold, schema, tally, fault);
    }
    rows.unary::<NoopBuilder<RowBatch>, _, _, _>(Pipeline, "score", move |_, _| {
        move |input, output| {
            input.for_each(|cap, batch| {
                if fault.met() {
                    return;
                }
                match scored(detector.as_ref(), threshold, &batch.rows, &schema) {
                    Ok(rows) => {
                        let odd = rows.column_by_name("is_anomaly").and_then(|odd| odd.as_boolean_opt());
                        let odd = odd.map_or(0, |odd| odd.true_count());
                        tally.anomalies.fetch_add(odd as u64, Relaxed);
                        let mut scored = RowBatch { rows, place: batch.place, target: 0 };
                        output.session_with_builder(&cap).give_container(&mut scored);
                    }
                    Err(error) => fault.note(error),
                }
            });
        }
    })
}
