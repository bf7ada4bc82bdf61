//! Parquet rows in the graph: workers take pieces in turn, deal rows out by flow id, and put each
//! window's rows in order again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::UInt64Type;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use timely::container::NoopBuilder;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::{ProbeHandle, Scope, Stream};
use timely::scheduling::Activator;

use super::rows::{Piece, RowsFeed};
use crate::row::operator::to_target;
use crate::row::{Place, RowBatch};
use crate::tally::{Fault, Tally};

/// Pieces of a table that may be on their way, for each worker.
const TABLE_AHEAD: u64 = 4;
/// Rows of a batch that is sent on.
const ROWS: usize = 8192;
/// Batches that are sent before the rooms behind have their turn.
const BURST: usize = 4;

/// What the workers of a process share while they read rows.
pub struct RowReading {
    /// The files.
    pub feed: Mutex<RowsFeed>,
    /// Window of the rows in nanoseconds; `None` for tables, whose timestamps count pieces.
    pub window: Option<u64>,
    /// Nanoseconds of event time per timely timestamp.
    pub slice: u64,
    /// The worker that owns a flow id, of so many.
    pub owner: fn(u64, usize) -> usize,
    /// Counters.
    pub tally: Arc<Tally>,
    /// The first error.
    pub fault: Arc<Fault>,
}

impl RowReading {
    /// The timely timestamp of rows: the slice that holds their window's last nanosecond, as the flow
    /// room stamps them.
    fn stamp(&self, piece: &Piece) -> u64 {
        match self.window {
            Some(window) => (piece.window.saturating_add(window) - 1) / self.slice,
            None => u64::from(piece.number),
        }
    }

    /// No later piece has a smaller stamp than this.
    fn frontier(&self, next: u64) -> u64 {
        match self.window {
            Some(window) => (next.saturating_add(window) - 1) / self.slice,
            None => next,
        }
    }

    fn ahead(&self, peers: usize) -> u64 {
        self.window.map_or(TABLE_AHEAD * peers as u64, |window| 2 * window.div_ceil(self.slice))
    }
}

/// Reads rows. Wakes up when activated, as the source of packets does.
pub fn rows<'s>(
    scope: Scope<'s, u64>,
    reading: Arc<RowReading>,
    probe: ProbeHandle<u64>,
) -> (Stream<'s, u64, RowBatch>, Activator) {
    let wake = Rc::new(RefCell::new(None));
    let handle = wake.clone();
    let peers = scope.peers();
    let shared = reading.clone();
    let pieces = source::<_, NoopBuilder<RowBatch>, _, _>(scope, "rows", move |capability, info| {
        let activator = scope.activator_for(info.address);
        *handle.borrow_mut() = Some(activator.clone());
        let mut capability = Some(capability);
        move |output| {
            let Some(cap) = &mut capability else { return };
            let piece = {
                let mut feed = reading.feed.lock().expect("no worker panics while it reads");
                let next = feed.frontier();
                if next != u64::MAX {
                    cap.downgrade(&reading.frontier(next).max(*cap.time()));
                }
                let met = reading.fault.met();
                if probe.less_than(&cap.time().saturating_sub(reading.ahead(peers))) && !met {
                    return;
                }
                match if met { Ok(None) } else { feed.read() } {
                    Ok(piece) => piece,
                    Err(error) => {
                        reading.fault.note(error);
                        None
                    }
                }
            };
            let Some(piece) = piece else {
                capability = None;
                return;
            };
            reading.tally.rows.fetch_add(piece.rows.num_rows() as u64, Relaxed);
            if let Some((first, last)) = piece.span() {
                reading.tally.span.reach(first, last);
            }
            let time = cap.delayed(&reading.stamp(&piece).max(*cap.time()));
            let mut session = output.session_with_builder(&time);
            for (target, rows) in deal(&piece, &reading, peers) {
                let place = Place { window: piece.window, number: piece.number, ..Place::default() };
                session.give_container(&mut RowBatch { place, target, rows });
            }
            drop(session);
            activator.activate();
        }
    });
    let activator = wake.borrow_mut().take().expect("set while the operator was built");
    (arrange(pieces, shared), activator)
}

/// The rows of a piece for each worker.
fn deal(piece: &Piece, reading: &RowReading, peers: usize) -> Vec<(u32, RecordBatch)> {
    if reading.window.is_none() {
        return vec![(piece.number % peers as u32, piece.rows.clone())];
    }
    if peers == 1 {
        return vec![(0, piece.rows.clone())];
    }
    let ids = flow_ids(&piece.rows);
    let mut parts: Vec<Vec<u32>> = vec![Vec::new(); peers];
    for (row, id) in (0..).zip(ids) {
        parts[(reading.owner)(*id, peers)].push(row);
    }
    let parts = (0..).zip(parts).filter(|(_, rows)| !rows.is_empty());
    parts
        .map(|(target, rows)| {
            let (first, last) = (rows[0] as usize, rows[rows.len() - 1] as usize);
            // Sorted by flow id, which is the usual case, a worker's rows stand together.
            let part = if last - first + 1 == rows.len() {
                piece.rows.slice(first, rows.len())
            } else {
                take_record_batch(&piece.rows, &UInt32Array::from(rows))
                    .expect("the indices are those of the batch's rows")
            };
            (target, part)
        })
        .collect()
}

fn flow_ids(rows: &RecordBatch) -> &[u64] {
    rows.column_by_name("flow_id")
        .and_then(|column| column.as_primitive_opt::<UInt64Type>())
        .expect("rows are opened only with a column flow_id of UInt64")
        .values()
}

/// Gathers a window's rows and gives them sorted by flow id.
fn arrange<'s>(pieces: Stream<'s, u64, RowBatch>, reading: Arc<RowReading>) -> Stream<'s, u64, RowBatch> {
    let scope = pieces.scope();
    let worker = if reading.window.is_some() { scope.index() as u32 } else { 0 };
    pieces.unary_frontier::<NoopBuilder<RowBatch>, _, _, _>(
        to_target(),
        "arrange",
        move |capability, info| {
            let activator = scope.activator_for(info.address);
            let mut capability = Some(capability);
            let mut windows: BTreeMap<(u64, u64), Vec<(u32, RecordBatch)>> = BTreeMap::new();
            let mut ready: Option<(u64, u64, RecordBatch, usize)> = None;
            move |(input, frontier), output| {
                input.for_each(|cap, batch| {
                    let time = *cap.least().expect("sent under a capability");
                    let RowBatch { place, rows, .. } = std::mem::take(batch);
                    windows.entry((time, place.window)).or_default().push((place.number, rows));
                });
                let Some(cap) = capability.as_mut() else { return };
                let mut sent = 0;
                loop {
                    if let Some((time, window, rows, from)) = &mut ready {
                        let count = ROWS.min(rows.num_rows() - *from);
                        let number = (*from / ROWS) as u32;
                        let last = *from + count == rows.num_rows();
                        let place = Place { window: *window, worker, number, last };
                        let part = rows.slice(*from, count);
                        *from += count;
                        let time = cap.delayed(&(*time).max(*cap.time()));
                        let mut batch = RowBatch { place, target: 0, rows: part };
                        output.session_with_builder(&time).give_container(&mut batch);
                        if *from == rows.num_rows() {
                            ready = None;
                        }
                        sent += 1;
                        if sent == BURST {
                            return activator.activate();
                        }
                        continue;
                    }
                    let complete = windows.first_entry().filter(|entry| !frontier.less_equal(&entry.key().0));
                    let Some(entry) = complete else { break };
                    let ((time, window), pieces) = entry.remove_entry();
                    match in_order(pieces, reading.window.is_some()) {
                        Ok(rows) => ready = Some((time, window, rows, 0)),
                        Err(error) => reading.fault.note(error),
                    }
                }
                match frontier.frontier().first() {
                    Some(time) => cap.downgrade(time),
                    None => capability = None,
                }
            }
        },
    )
}

/// Pieces of a window as one batch, sorted by flow id where `sorted` asks for it.
fn in_order(mut pieces: Vec<(u32, RecordBatch)>, sorted: bool) -> Result<RecordBatch, ArrowError> {
    pieces.sort_by_key(|(number, _)| *number);
    let rows = match &pieces[..] {
        [(_, rows)] => rows.clone(),
        _ => concat_batches(&pieces[0].1.schema(), pieces.iter().map(|(_, rows)| rows))?,
    };
    if !sorted {
        return Ok(rows);
    }
    let ids = flow_ids(&rows);
    if ids.is_sorted() {
        return Ok(rows);
    }
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_by_key(|row| ids[*row as usize]);
    take_record_batch(&rows, &UInt32Array::from(order))
}
