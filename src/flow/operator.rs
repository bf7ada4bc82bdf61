//! Packets to rows in the graph: keeps packets until their time is complete, applies them in order,
//! gives the rows of every window at its end.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::Operator;
use timely::scheduling::SyncActivator;

use super::FlowSpec;
use super::calendar::Calendar;
use super::closing::Pending;
use super::order::Order;
use super::packet_rows::{Seen, packet_rows};
use super::rows::{Finished, RowBuilder};
use super::table::Table;
use crate::packet::batch::Batch;
use crate::packet::operator::to_owner;
use crate::row::{Place, RowBatch};
use crate::tally::Tally;

/// Row batches that are sent before the rooms behind have their turn: a window may hold millions of
/// rows, and whatever an operator sends is queued until the next one runs.
const BURST: usize = 4;

/// Batches of a window that a worker gives before those that stand in front of them in the order of rows: they wait
/// until then, and take memory.
const AHEAD: u32 = 16;

/// How far the workers of a process are with their rows.
#[derive(Default)]
pub struct Given {
    workers: Mutex<BTreeMap<u32, Giver>>,
}

/// One worker of those.
#[derive(Default)]
struct Giver {
    /// All its rows of windows that end up to this time are given.
    until: u64,
    /// Wakes its flow room, if that waits for others.
    waits: Option<SyncActivator>,
}

impl Given {
    /// Notes that all rows of windows that end up to `until` are given; wakes whoever waits for that.
    fn note(&self, worker: u32, until: u64) {
        let mut workers = self.lock();
        let giver = workers.entry(worker).or_default();
        if until <= giver.until {
            return;
        }
        giver.until = until;
        for waits in workers.values_mut().filter_map(|giver| giver.waits.take()) {
            // A worker that is gone waits for nothing.
            let _ = waits.activate();
        }
    }

    /// Whether all rows are given that stand in front of those of `worker` in the window from `start` to `end`; if
    /// not, its flow room will be woken when they may be. Whoever is first of all waits for nobody.
    fn reached(&self, worker: u32, [start, end]: [u64; 2], wake: &SyncActivator) -> bool {
        let mut workers = self.lock();
        let reached = workers.iter().all(|(other, giver)| match other.cmp(&worker) {
            Ordering::Less => giver.until >= end,
            Ordering::Equal => true,
            Ordering::Greater => giver.until >= start,
        });
        workers.entry(worker).or_default().waits = (!reached).then(|| wake.clone());
        reached
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Giver>> {
        self.workers.lock().expect("no worker panics while it looks")
    }
}

/// What the flow room gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Product {
    /// Flow rows.
    Rows,
    /// Packet rows.
    Packets,
}

/// How rows are made.
pub struct Assembly {
    /// Windows, time-outs, room.
    pub spec: FlowSpec,
    /// Columns of the rows.
    pub schema: SchemaRef,
    /// Flow rows or packet rows.
    pub product: Product,
    /// Nanoseconds of event time per timely timestamp.
    pub slice: u64,
    /// Packets sent and not yet applied.
    pub in_flight: Arc<AtomicI64>,
    /// How far the workers are.
    pub given: Given,
    /// Counters.
    pub tally: Arc<Tally>,
}

/// One worker's flow room.
struct Room {
    how: Arc<Assembly>,
    worker: u32,
    order: Order,
    table: Table,
    /// Where flow rows are wanted.
    builder: Option<RowBuilder>,
    /// The newest event time of the input, once it has ended.
    newest: Option<u64>,
    /// Rows of the closed window that wait to be sent, from the position.
    pending: Option<(Vec<Pending>, usize)>,
    /// Packets of the window, where packet rows are wanted.
    seen: Vec<Seen>,
    /// Batches of the closed window sent so far.
    number: u32,
    /// Wakes the room.
    wake: SyncActivator,
}

/// What a turn of the room brought.
enum Turn {
    /// Rows of the closed window, and the time that they are stamped with.
    Rows(Place, RecordBatch),
    /// Work was done, more may be left.
    More,
    /// Other workers' rows come first; the room is woken when they have come.
    Wait,
    /// Nothing to do until the frontier moves.
    Done,
}

impl Room {
    /// Does one piece of work. All packets before `limit` have arrived.
    fn turn(&mut self, limit: u64) -> Turn {
        if self.pending.is_some() {
            return self.give();
        }
        if let Some(next) = self.order.next_time() {
            if self.table.opens(next) {
                let ready = self.order.ready();
                let taken = match self.how.product {
                    Product::Rows => self.table.packets(ready, |_, _| {}),
                    Product::Packets => {
                        let seen = &mut self.seen;
                        self.table.packets(ready, |packet, head| seen.push(Seen::new(packet, head)))
                    }
                };
                self.order.applied(taken);
                self.how.in_flight.fetch_sub(taken as i64, Relaxed);
            } else {
                self.close(limit);
            }
            return Turn::More;
        }
        match self.table.window_end() {
            Some(end) if end <= limit => {
                self.close(limit);
                Turn::More
            }
            _ => Turn::Done,
        }
    }

    fn close(&mut self, limit: u64) {
        let newest = self.newest.filter(|_| limit == u64::MAX);
        self.pending = Some((self.table.close(newest), 0));
        self.how.given.note(self.worker, self.table.window_start());
        self.number = 0;
        self.seen.sort_by_key(Seen::key);
    }

    /// The next batch of the closed window, or its end.
    fn give(&mut self) -> Turn {
        let window = self.table.window_start();
        let end = window.saturating_add(self.how.spec.window_ns());
        // Packet rows are gathered by windows anyway.
        if self.how.product == Product::Rows
            && self.number >= AHEAD
            && !self.how.given.reached(self.worker, [window, end], &self.wake)
        {
            return Turn::Wait;
        }
        let rows = match self.how.product {
            Product::Rows => self.flow_rows(),
            Product::Packets => self.packet_rows(),
        };
        let Some(rows) = rows else {
            let (listed, _) = self.pending.take().expect("a window is closed");
            self.table.advance(listed);
            self.how.given.note(self.worker, end);
            return Turn::More;
        };
        let listed = self.pending.as_ref().map(|(pending, from)| (*from, pending.len()));
        let last = listed.is_some_and(|(from, rows)| from == rows) && self.how.product == Product::Rows;
        let place = Place { window, worker: self.worker, number: self.number, last };
        self.number += 1;
        self.how.tally.rows.fetch_add(rows.num_rows() as u64, Relaxed);
        Turn::Rows(place, rows)
    }

    fn flow_rows(&mut self) -> Option<RecordBatch> {
        let (pending, from) = self.pending.as_mut().expect("a window is closed");
        let batch = &pending[*from..];
        let batch = &batch[..batch.len().min(RowBuilder::TARGET)];
        if batch.is_empty() {
            return None;
        }
        *from += batch.len();
        let (mut packets, mut bytes) = (0, 0);
        let builder = self.builder.as_mut().expect("flow rows are wanted");
        builder.begin(batch.len());
        for group in batch.chunks(RowBuilder::GROUP) {
            self.table.fetch_rows(group);
            let rows: Vec<Finished> = group.iter().map(|row| self.table.row(*row, self.newest)).collect();
            builder.push(&rows);
            let (more, longer) = self.table.given(group);
            packets += more;
            bytes += longer;
        }
        self.how.tally.row_packets.fetch_add(packets, Relaxed);
        self.how.tally.row_bytes.fetch_add(bytes, Relaxed);
        let (seen, tcp) = (&self.how.tally.tcp, builder.take_tcp());
        seen.flows.fetch_add(tcp.flows, Relaxed);
        seen.packets.fetch_add(tcp.packets, Relaxed);
        seen.answers.fetch_add(tcp.answers, Relaxed);
        seen.repeats.fetch_add(tcp.repeats, Relaxed);
        Some(builder.take())
    }

    fn packet_rows(&mut self) -> Option<RecordBatch> {
        let (pending, from) = self.pending.as_mut().expect("a window is closed");
        let rows = &self.seen[*from..];
        let rows = &rows[..rows.len().min(RowBuilder::TARGET)];
        if rows.is_empty() {
            self.seen.clear();
            self.table.given(pending);
            return None;
        }
        *from += rows.len();
        let bytes = rows.iter().map(|seen| u64::from(seen.packet.length)).sum();
        self.how.tally.row_packets.fetch_add(rows.len() as u64, Relaxed);
        self.how.tally.row_bytes.fetch_add(bytes, Relaxed);
        Some(packet_rows(&self.how.schema, rows))
    }
}

/// Assembles flows. Rows of window W leave with the slice that holds W's last nanosecond.
pub fn assemble<'s>(packets: Stream<'s, u64, Batch>, how: Arc<Assembly>) -> Stream<'s, u64, RowBatch> {
    let scope = packets.scope();
    let worker = scope.index() as u32;
    packets.unary_frontier::<NoopBuilder<RowBatch>, _, _, _>(to_owner(), "flows", move |capability, info| {
        let activator = scope.activator_for(info.address.clone());
        // Windows end without a packet to tell: the room keeps one capability, moved along with its
        // input, as long as there is input.
        let mut capability = Some(capability);
        let calendar = Calendar::new(&how.spec.timezone).expect("the settings were checked");
        let mut room = Room {
            worker,
            order: Order::default(),
            table: Table::of_worker(&how.spec, scope.index(), scope.peers()),
            builder: (how.product == Product::Rows)
                .then(|| RowBuilder::new(how.schema.clone(), &calendar, how.spec.first_lengths)),
            newest: None,
            pending: None,
            seen: Vec::new(),
            number: 0,
            wake: scope.worker().sync_activator_for(info.address.to_vec()),
            how: how.clone(),
        };
        let mut complete = None;
        move |(input, frontier), output| {
            input.for_each(|_, batch| {
                let batch = std::mem::take(batch);
                room.newest = room.newest.max(batch.newest);
                room.order.arrive(batch);
            });
            let Some(cap) = capability.as_mut() else { return };
            let next = frontier.frontier().first().copied();
            let limit = next.map_or(u64::MAX, |slice| slice * how.slice);
            if complete != Some(limit) {
                room.order.complete(limit);
                complete = Some(limit);
            }
            let mut sent = 0;
            loop {
                match room.turn(limit) {
                    Turn::Rows(place, rows) => {
                        let end = place.window.saturating_add(how.spec.window_ns());
                        // Windows close in order: nothing earlier follows. Said at once, so that a writer
                        // need not gather the whole window before it may begin.
                        let time = ((end - 1) / how.slice).max(*cap.time());
                        cap.downgrade(&time);
                        let mut batch = RowBatch { place, target: 0, rows };
                        output.session_with_builder(&*cap).give_container(&mut batch);
                        sent += 1;
                        if sent == BURST {
                            return activator.activate();
                        }
                    }
                    Turn::More => {}
                    Turn::Wait => return,
                    Turn::Done => break,
                }
            }
            how.given.note(worker, limit);
            match next {
                Some(slice) => cap.downgrade(&slice),
                None => {
                    how.tally.flows.fetch_add(room.table.counts.flows, Relaxed);
                    how.tally.shed.fetch_add(room.table.counts.shed, Relaxed);
                    capability = None;
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use timely::scheduling::activate::Activations;

    use super::*;

    #[test]
    fn rows_wait_for_all_that_stand_in_front_of_them_and_for_no_others() {
        let given = Given::default();
        let wake = SyncActivator::new(vec![0], Activations::new(None).sync());
        let reached = |worker, window| given.reached(worker, [window, window + 10], &wake);
        // Every worker is at the window from 20 to 30.
        (0..3).for_each(|worker| given.note(worker, 20));
        assert_eq!([0, 1, 2].map(|worker| reached(worker, 20)), [true, false, false]);
        given.note(0, 30);
        assert_eq!([reached(0, 30), reached(1, 20), reached(2, 20)], [false, true, false]);
        given.note(1, 30);
        assert_eq!([reached(0, 30), reached(1, 30), reached(2, 20)], [false, false, true]);
        given.note(2, 40);
        assert_eq!([reached(0, 30), reached(1, 30)], [true, false]);
        // What is said late takes nothing back.
        given.note(2, 20);
        assert!(reached(0, 30));
    }
}
