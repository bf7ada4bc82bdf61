//! Detection in the graph: rows are learned from, or scored where they are.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use arrow::datatypes::SchemaRef;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use super::lasting::operator as lasting;
use super::{Detector, Learning, marked, scored};
use crate::encode::subject::PARTY_COLUMNS;
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

/// Above which scores rows are odd.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// That of anomalies; where it may change while a run goes on, the loosest that there can be.
    pub anomalies: f64,
    /// That of rows that count as many, of which some are told: the one that the run begins with.
    pub counted: f64,
}

/// Scores rows on the worker that has them; scores above the threshold are anomalies. Rows of flows are seen with the others
/// of their window: with what lasts where the detector looks at that, and told only some of where they are many.
pub fn score<'s>(
    rows: Stream<'s, u64, RowBatch>,
    detector: Arc<dyn Detector>,
    (thresholds, schema): (Thresholds, SchemaRef),
    of_flows: bool,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    // A detector that does not ask who a row is about scores rows that do not say it.
    let says_who = PARTY_COLUMNS.iter().all(|name| schema.index_of(name).is_ok());
    if of_flows && says_who || detector.lasting().is_some() {
        return lasting::score(rows, detector, thresholds, schema, tally, fault);
    }
    let threshold = thresholds.anomalies;
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

/// Marks scored rows as anomalies by thresholds that change while a run goes on, each in force from its timestamp on. Rows,
/// which were scored with the loosest of them, wait until all thresholds of their time are known; `tally`, which counted
/// them as that one has it, counts them as they are then.
pub fn mark<'s>(
    rows: Stream<'s, u64, RowBatch>,
    thresholds: Stream<'s, u64, Vec<f64>>,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    rows.binary_frontier::<_, NoopBuilder<RowBatch>, _, _, _, _>(
        thresholds,
        Pipeline,
        Pipeline,
        "mark",
        move |capability, _| {
            let mut capability = Some(capability);
            let mut waiting: BTreeMap<u64, Vec<RowBatch>> = BTreeMap::new();
            let mut thresholds: BTreeMap<u64, f64> = BTreeMap::new();
            move |(rows, rows_frontier), (said, said_frontier), output| {
                rows.for_each(|cap, batch| {
                    let time = *cap.least().expect("sent under a capability");
                    waiting.entry(time).or_default().push(std::mem::take(batch));
                });
                said.for_each(|cap, said| {
                    let time = *cap.least().expect("sent under a capability");
                    thresholds.extend(said.drain(..).map(|threshold| (time, threshold)));
                });
                let Some(cap) = capability.as_mut() else { return };
                let known = said_frontier.frontier().first().copied();
                while let Some(first) = waiting.first_entry()
                    && known.is_none_or(|known| *first.key() < known)
                {
                    let (time, batches) = first.remove_entry();
                    let in_force = thresholds.range(..=time).next_back().map(|(_, threshold)| *threshold);
                    let Some(threshold) = in_force else { continue };
                    let at = cap.delayed(&time);
                    for RowBatch { rows, place, .. } in batches {
                        let odd = rows.column_by_name("is_anomaly").and_then(|odd| odd.as_boolean_opt());
                        let odd = odd.map_or(0, |odd| odd.true_count());
                        match marked(&rows, threshold) {
                            Ok((rows, left)) => {
                                tally.anomalies.fetch_sub(odd.saturating_sub(left) as u64, Relaxed);
                                let mut batch = RowBatch { rows, place, target: 0 };
                                output.session_with_builder(&at).give_container(&mut batch);
                            }
                            Err(error) => fault.note(error),
                        }
                    }
                    // Of what was before, only the last one is still in force.
                    thresholds = thresholds.split_off(&time);
                    thresholds.entry(time).or_insert(threshold);
                }
                let open = [rows_frontier, said_frontier].map(|f| f.frontier().first().copied());
                let open = open.into_iter().flatten().chain(waiting.keys().next().copied()).min();
                match open {
                    Some(open) => cap.downgrade(&open),
                    None => capability = None,
                }
            }
        },
    )
}
