//! Rows to files in the graph: one worker writes them, in the order of their places.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{ArrayRef, AsArray, UInt8Array, UInt32Array, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, TimestampNanosecondType, UInt64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::vec::Map;

use super::AnyError;
use super::alert::told;
use super::held::Held;
use super::knocks::Knocks;
use crate::incident::budget::Budget;
use crate::incident::{Change, Event, RowChange, Severity};
use crate::row::operator::to_target;
use crate::row::{Place, RowBatch};
use crate::tally::{Fault, Tally};

/// What takes rows in their final order.
pub trait End: Send {
    /// Takes the next rows.
    ///
    /// # Errors
    /// Whatever keeps them from being written.
    fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError>;

    /// All rows were taken: makes what was written stand under its name.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    fn finish(self: Box<Self>) -> Result<(), AnyError>;
}

/// What takes changes of incidents in their final order.
pub trait ChangeEnd: Send {
    /// Takes the next changes.
    ///
    /// # Errors
    /// Whatever keeps them from being written.
    fn take(&mut self, changes: &[Change]) -> Result<(), AnyError>;

    /// All changes were taken: makes what was written stand under its name.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    fn finish(self: Box<Self>) -> Result<(), AnyError>;
}

/// How batches of one window that come from several workers make one order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joined {
    /// Workers own ranges of the order: one after the other. Each window has a timestamp of its own.
    ByWorker,
    /// The same, but windows are shorter than slices and share timestamps.
    ByWorkerLate,
    /// Packet rows: by (timestamp, flow_id).
    ByTime,
}

/// Hands rows to `ends`, on the worker that has them, in the order of their places; all rows go to
/// worker 0. Where a worker has no ends the operator only keeps the graph whole.
pub fn write<'s>(
    rows: Stream<'s, u64, RowBatch>,
    ends: Vec<Box<dyn End>>,
    joined: Joined,
    fault: Arc<Fault>,
) -> Stream<'s, u64, Vec<()>> {
    let ends = Rc::new(RefCell::new(Some(ends)));
    rows.unary_frontier::<NoopBuilder<Vec<()>>, _, _, _>(to_target(), "write", move |_, _| {
        let mut waiting: BTreeMap<(u64, Place), RecordBatch> = BTreeMap::new();
        // The next batch of the oldest window needs to wait for nobody: the first worker's, and behind its last
        // one the second worker's, and so on.
        let mut expected: Option<(u64, u32, u32)> = None;
        move |(input, frontier), _| {
            let mut ends = ends.borrow_mut();
            let mut put = |rows: &RecordBatch| {
                if fault.met() {
                    return;
                }
                // Who takes no more is left alone: the others may go on.
                for ends in ends.iter_mut() {
                    ends.retain_mut(|end| end.take(rows).map_err(|error| fault.lose(error)).is_ok());
                }
            };
            input.for_each(|cap, batch| {
                let time = *cap.least().expect("sent under a capability");
                let RowBatch { place, rows, .. } = std::mem::take(batch);
                waiting.insert((time, place), rows);
            });
            let open = frontier.frontier().first().copied();
            match joined {
                Joined::ByWorker | Joined::ByWorkerLate => {
                    while let Some(first) = waiting.first_entry() {
                        let (time, place) = *first.key();
                        let complete = open.is_none_or(|open| time < open);
                        let next = expected.filter(|next| next.0 == time).unwrap_or((time, 0, 0));
                        let next = joined == Joined::ByWorker
                            && open == Some(time)
                            && next == (time, place.worker, place.number);
                        if !complete && !next {
                            break;
                        }
                        put(&first.remove());
                        expected = Some(match place.last {
                            true => (time, place.worker + 1, 0),
                            false => (time, place.worker, place.number + 1),
                        });
                    }
                }
                Joined::ByTime => {
                    while let Some((time, place)) = waiting.keys().next().copied() {
                        if open.is_some_and(|open| time >= open) {
                            break;
                        }
                        let later = waiting
                            .split_off(&(time, Place { window: place.window + 1, ..Place::default() }));
                        let window = std::mem::replace(&mut waiting, later);
                        match by_time(window.into_values().collect()) {
                            Ok(rows) => rows.iter().for_each(&mut put),
                            Err(error) => fault.note(error),
                        }
                    }
                }
            }
            if open.is_none()
                && let Some(ends) = ends.take()
                && !fault.met()
            {
                for end in ends {
                    if let Err(error) = end.finish() {
                        fault.lose(error);
                    }
                }
            }
        }
    })
}

/// The column that says which incident an anomalous row came to, as a number.
pub(super) const INCIDENT: &str = "incident";

/// The column that says how severe that was when the row came to it, by its place in [`Severity::ALL`].
pub(super) const SEVERITY: &str = "incident_severity";

/// What is said of incidents to rows.
#[derive(Clone, Serialize, Deserialize)]
enum Told {
    /// Window and flow of a row that came to an incident, and when that was said.
    Row((u64, u64), (u64, u64)),
    /// How severe an incident is from a time on that it was said.
    Severity((u64, u64), Severity),
}

/// What was said of incidents at a timestamp: the incident of each window and flow with the time that it was said at, and
/// how severe each incident is then.
#[derive(Default)]
struct Members {
    of_row: HashMap<(u64, u64), (u64, u64)>,
    severities: HashMap<(u64, u64), Severity>,
}

impl Members {
    fn add(&mut self, told: Told) {
        match told {
            Told::Row(row, incident) => _ = self.of_row.insert(row, incident),
            Told::Severity(incident, severity) => _ = self.severities.insert(incident, severity),
        }
    }
}

/// Scored rows that are alerts, on worker 0, with the columns [`INCIDENT`] and [`SEVERITY`]; null where a row came to none. What a later change of the rules
/// or of the past makes of a row is said in the log of incidents, not of rows that went on.
pub fn belonging<'s>(
    scored: Stream<'s, u64, RowBatch>,
    changes: Stream<'s, u64, Vec<Change>>,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    let members = changes.flat_map(|change| match change {
        Change::Row(RowChange { time, window, flow_id, diff: 1, incident: Some(incident), .. }) => {
            Some(Told::Row((window, flow_id), (incident, time)))
        }
        Change::Row(_) => None,
        Change::Event(event) => {
            let Event { time, state, .. } = *event;
            Some(Told::Severity((state.id, time), state.severity))
        }
    });
    let to_writer = Exchange::new(|_: &Told| 0);
    scored.binary_frontier::<_, NoopBuilder<RowBatch>, _, _, _, _>(
        members,
        to_target(),
        to_writer,
        "belonging",
        move |capability, _| {
            let mut capability = Some(capability);
            let mut waiting: BTreeMap<u64, Vec<RowBatch>> = BTreeMap::new();
            // Of each timestamp, that of the rows.
            let mut members: BTreeMap<u64, Members> = BTreeMap::new();
            move |(rows, rows_frontier), (said, said_frontier), output| {
                rows.for_each(|cap, batch| {
                    let time = *cap.least().expect("sent under a capability");
                    let batch = std::mem::take(batch);
                    // Few rows are alerts, and the others need not be held.
                    match only_told(&batch.rows) {
                        Ok(rows) => {
                            tally.alerts.fetch_add(rows.num_rows() as u64, Relaxed);
                            waiting.entry(time).or_default().push(RowBatch { rows, ..batch });
                        }
                        Err(error) => fault.note(error),
                    }
                });
                said.for_each(|cap, said| {
                    let time = *cap.least().expect("sent under a capability");
                    let members = members.entry(time).or_default();
                    said.drain(..).for_each(|told| members.add(told));
                });
                let Some(cap) = capability.as_mut() else { return };
                let open =
                    [rows_frontier, said_frontier].map(|frontier| frontier.frontier().first().copied());
                while let Some(first) = waiting.first_entry()
                    && open[1].is_none_or(|open| *first.key() < open)
                {
                    let (time, batches) = first.remove_entry();
                    let at = cap.delayed(&time);
                    let none = Members::default();
                    let of_time = members.get(&time).unwrap_or(&none);
                    for batch in batches {
                        match with_incidents(&batch.rows, of_time) {
                            Ok(rows) => {
                                let mut batch = RowBatch { rows, target: 0, ..batch };
                                output.session_with_builder(&at).give_container(&mut batch);
                            }
                            Err(error) => fault.note(error),
                        }
                    }
                }
                // No more rows come before; what changes about those that went on is not theirs.
                let open = open.into_iter().flatten().chain(waiting.keys().next().copied()).min();
                match open {
                    Some(open) => {
                        members = members.split_off(&open);
                        cap.downgrade(&open);
                    }
                    None => capability = None,
                }
            }
        },
    )
}

/// The rows that are alerts.
fn only_told(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    match told(rows)? {
        Some(told) if told.true_count() == rows.num_rows() => Ok(rows.clone()),
        Some(told) => filter_record_batch(rows, &told),
        None => Ok(RecordBatch::new_empty(rows.schema())),
    }
}

/// Rows with two columns more: the incident of each window and flow that has one, and how severe that was.
fn with_incidents(rows: &RecordBatch, members: &Members) -> Result<RecordBatch, ArrowError> {
    let windows =
        rows.column_by_name("window_start").and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>());
    let flows = rows.column_by_name("flow_id").and_then(|c| c.as_primitive_opt::<UInt64Type>());
    let incident = |row: usize| {
        let window = u64::try_from(windows?.value(row)).ok()?;
        members.of_row.get(&(window, flows?.value(row))).copied()
    };
    let found: Vec<Option<(u64, u64)>> = match members.of_row.is_empty() {
        true => vec![None; rows.num_rows()],
        false => (0..rows.num_rows()).map(incident).collect(),
    };
    let incidents: UInt64Array = found.iter().map(|found| found.map(|(incident, _)| incident)).collect();
    let severity =
        |found: &Option<(u64, u64)>| members.severities.get(found.as_ref()?).map(|found| *found as u8);
    let severities: UInt8Array = found.iter().map(severity).collect();
    let schema = rows.schema_ref();
    let fields = [(INCIDENT, DataType::UInt64), (SEVERITY, DataType::UInt8)];
    let fields = fields.map(|(name, kind)| Arc::new(Field::new(name, kind, true)));
    let fields: Vec<_> = schema.fields().iter().cloned().chain(fields).collect();
    let schema = Schema::new(fields).with_metadata(schema.metadata().clone());
    let added: [ArrayRef; 2] = [Arc::new(incidents), Arc::new(severities)];
    let columns = rows.columns().iter().cloned().chain(added);
    RecordBatch::try_new(Arc::new(schema), columns.collect())
}

/// Hands changes of incidents to `ends`, on worker 0, in order of event time; with a `budget` some are held back.
/// Incidents that were not taken back are counted in `tally`, with those of them that are held back, and knocks apart.
pub fn report<'s>(
    changes: Stream<'s, u64, Vec<Change>>,
    ends: Vec<Box<dyn ChangeEnd>>,
    mut budget: Option<Budget>,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) {
    let mut ends = Some(ends);
    let mut waiting: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
    let (mut knocks, mut held) = (Knocks::default(), Held::default());
    changes.sink(Exchange::new(|_: &Change| 0), "report", move |(input, frontier)| {
        input.for_each(|cap, changes| {
            let time = *cap.least().expect("sent under a capability");
            waiting.entry(time).or_default().append(changes);
        });
        let open = frontier.frontier().first().copied();
        while let Some(first) = waiting.first_entry()
            && open.is_none_or(|open| *first.key() < open)
        {
            let mut changes = first.remove();
            Change::sort(&mut changes);
            for change in &mut changes {
                if let Change::Event(event) = change {
                    knocks.take(event, &tally);
                    // A knock takes nothing of the budget.
                    let kept_back = |budget: &mut Budget| budget.holds(event);
                    event.state.held = event.state.knock || budget.as_mut().is_some_and(kept_back);
                    held.take(event, &tally);
                }
            }
            for ends in ends.iter_mut().filter(|_| !fault.met()) {
                ends.retain_mut(|end| end.take(&changes).map_err(|error| fault.lose(error)).is_ok());
            }
        }
        if open.is_none()
            && let Some(ends) = ends.take()
            && !fault.met()
        {
            for end in ends {
                if let Err(error) = end.finish() {
                    fault.lose(error);
                }
            }
        }
    });
}

/// Packet rows of one window from all workers, by (timestamp, flow_id); those of one flow keep their order.
fn by_time(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, ArrowError> {
    let all = match &batches[..] {
        [] => return Ok(Vec::new()),
        [one] => one.clone(),
        [first, ..] => concat_batches(&first.schema(), &batches)?,
    };
    let times = all.column_by_name("timestamp").and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>());
    let flows = all.column_by_name("flow_id").and_then(|c| c.as_primitive_opt::<UInt64Type>());
    let (Some(times), Some(flows)) = (times, flows) else {
        return Err(ArrowError::SchemaError("packet rows have timestamp and flow_id".to_owned()));
    };
    let key = |row: u32| (times.value(row as usize), flows.value(row as usize));
    let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
    if order.is_sorted_by_key(|row| key(*row)) {
        return Ok(vec![all]);
    }
    order.sort_by_key(|row| key(*row));
    Ok(vec![take_record_batch(&all, &UInt32Array::from(order))?])
}
