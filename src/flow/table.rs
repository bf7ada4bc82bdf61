//! The flow table: packets of one worker in, in order of event time; rows of closed windows out.
//!
//! Heads and what open rows hold lie apart in memory of fixed size; a row of few packets is kept as those
//! packets, a longer one as sums. What the table does to rows depends on packets and settings alone: limits are
//! checked packet by packet, so it does not matter when silent flows are swept, and room is shared out by shards
//! of the key space, so it does not matter how many workers there are.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::closing::{Ended, Pending};
use super::index::Index;
use super::initiator::began;
use super::region::Region;
use super::remembered::Remembered;
use super::slab::Slab;
use super::span::{Brief, Span, Trace};
use super::state::{Aside, Head, NONE};
use super::{Cut, FlowSpec, nanoseconds};
use crate::packet::{FlowKey, Packet, SHARDS, owned};

/// Packets that are taken between the steps by which another one's memory is asked for: time enough for it to come.
const STEP: usize = 16;
/// Packets this long after a close belong to the closed flow still.
pub(super) const LINGER: u64 = 5_000_000_000;
/// With so many packets a row of a flow ends with its window: counters of 32 bits have room for those of one more.
pub(super) const MOST_PACKETS: u64 = 1 << 31;
/// An initiator is remembered this long after its flow's last packet.
pub(super) const MEMORY: u64 = 600_000_000_000;

/// Why a row ends (IPFIX flowEndReason).
pub mod end_reason {
    /// Idle time-out.
    pub const IDLE: u8 = 1;
    /// The window or the active time-out ended; the flow may go on.
    pub const WINDOW: u8 = 2;
    /// End of the connection seen.
    pub const END: u8 = 3;
    /// The input ended.
    pub const FORCED: u8 = 4;
    /// Lack of resources.
    pub const RESOURCES: u8 = 5;
}

/// Where an open row is: this bit and a place among `spans`, or without it a place among `briefs`.
pub(super) const WHOLE: u32 = 1 << 31;

/// A place for a flow. One that was emptied before its time still hangs in a list of the wheel.
#[derive(Clone, Copy)]
pub(super) struct Free {
    pub(super) id: u32,
    pub(super) linked: bool,
}

/// What is known of a packet before it is taken: the hash of its key, and the flow that has it.
#[derive(Clone, Copy)]
struct Known {
    hash: u32,
    found: u32,
}

/// Flows of one worker.
pub struct Table {
    pub(super) cut: Cut,
    pub(super) window: u64,
    pub(super) idle: u64,
    pub(super) active: u64,
    /// Flows that a shard may hold, with initiators that are remembered.
    pub(super) share: usize,
    pub(super) index: Index,
    pub(super) heads: Region<Head>,
    pub(super) asides: Region<Aside>,
    pub(super) heads_used: u32,
    pub(super) heads_free: Vec<Free>,
    pub(super) briefs: Slab<Brief>,
    pub(super) spans: Slab<Span>,
    pub(super) members: Vec<Vec<u32>>,
    pub(super) remembered: Remembered,
    /// The last time at which flows were shed that had begun just then, and which of that name each was: who comes back at
    /// that time is the next.
    pub(super) shed: (u64, HashMap<FlowKey, u32, RandomState>),
    /// When connections closed, and which, in order of time.
    pub(super) closing: VecDeque<(u64, u32)>,
    /// End of the open window.
    pub(super) window_end: u64,
    /// Open rows: named while their heads are at hand.
    pub(super) touched: Vec<Pending>,
    /// Memory to sort open rows with.
    pub(super) spare: Vec<Pending>,
    /// Rows that ended before their window did.
    pub(super) finished: Vec<Ended>,
    /// Lists of flows to look at, by window (see [`Table::due`]); a ring.
    pub(super) wheel: Vec<u32>,
    /// The window, counted from the epoch, up to which the wheel was turned.
    pub(super) turned: u64,
    /// Flows begun, and flows shed for lack of room.
    pub counts: TableCounts,
}

/// What a table counts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct TableCounts {
    /// Flows begun.
    pub flows: u64,
    /// Flows that ended for lack of resources.
    pub shed: u64,
}

/// Flows of one shard. It is rounded up, so a table may hold a few flows more than asked for.
fn share(spec: &FlowSpec) -> usize {
    (spec.max_flows as usize).div_ceil(SHARDS)
}

/// Bytes of address space that the tables of all workers map at once, however many there are.
pub(super) fn mapped(spec: &FlowSpec) -> usize {
    let flow = size_of::<Head>() + size_of::<Aside>() + size_of::<Brief>() + size_of::<Span>();
    share(spec) * SHARDS * flow
}

impl Table {
    /// An empty table for all flows.
    pub fn new(spec: &FlowSpec) -> Table {
        Table::of_worker(spec, 0, 1)
    }

    /// An empty table for the flows of one worker of `peers`. No flow of a shard that another one owns may come: there
    /// is room for the worker's own.
    pub fn of_worker(spec: &FlowSpec, worker: usize, peers: usize) -> Table {
        let window = spec.window_ns();
        let idle = nanoseconds(spec.idle);
        let share = share(spec);
        let capacity = share * owned(worker, peers);
        let ring = (idle / window + 3) as usize;
        Table {
            cut: spec.rows,
            window,
            idle,
            active: nanoseconds(spec.active),
            share,
            index: Index::new(),
            heads: Region::new(capacity),
            asides: Region::new(capacity),
            heads_used: 0,
            heads_free: Vec::new(),
            briefs: Slab::new(capacity),
            spans: Slab::new(capacity),
            members: vec![Vec::new(); SHARDS],
            remembered: Remembered::new(),
            shed: (0, HashMap::default()),
            closing: VecDeque::new(),
            window_end: 0,
            touched: Vec::new(),
            spare: Vec::new(),
            finished: Vec::new(),
            wheel: vec![NONE; ring.min(1 << 20)],
            turned: 0,
            counts: TableCounts::default(),
        }
    }

    /// Whether `time` lies in the open window; if none is open, the one that holds it is opened.
    pub fn opens(&mut self, time: u64) -> bool {
        if self.window_end == 0 {
            let start = time - time % self.window;
            self.window_end = start.saturating_add(self.window);
            match self.turned {
                0 => self.turned = start / self.window,
                _ => self.turn(start / self.window),
            }
        }
        time < self.window_end
    }

    /// End of the open window, `None` if none is open.
    pub fn window_end(&self) -> Option<u64> {
        (self.window_end != 0).then_some(self.window_end)
    }

    /// Start of the open window.
    pub fn window_start(&self) -> u64 {
        self.window_end.saturating_sub(self.window)
    }

    /// Takes packets in order of event time, up to the first that does not lie in the open window.
    /// Returns how many; calls `each` with a packet and its flow.
    ///
    /// What a packet needs lies in three places, each of which tells where the next one is: before it is taken they
    /// are asked for step by step, while others are taken.
    pub fn packets(&mut self, packets: &[Packet], mut each: impl FnMut(&Packet, &Head)) -> usize {
        const KNOWN: usize = (3 * STEP + 1).next_power_of_two();
        let mut known = [Known { hash: 0, found: NONE }; KNOWN];
        for turn in 0..packets.len() + 3 * STEP {
            let step = |step: usize| turn.checked_sub(step * STEP).filter(|at| *at < packets.len());
            if let Some(at) = step(0) {
                let hash = self.index.hash(&packets[at].key);
                self.index.fetch(hash);
                known[at % KNOWN].hash = hash;
            }
            if let Some(at) = step(1) {
                let Known { hash, found } = &mut known[at % KNOWN];
                *found = self.index.find(*hash, |_| true).unwrap_or(NONE);
                self.heads.fetch(*found as usize);
            }
            if let Some(at) = step(2)
                && let Some(head) = self.heads.get().get(known[at % KNOWN].found as usize)
            {
                self.fetch_row(head);
            }
            let Some(at) = step(3) else { continue };
            let (p, Known { hash, found }) = (&packets[at], known[at % KNOWN]);
            if p.time >= self.window_end {
                return at;
            }
            let id = self.find(p, hash, found);
            self.add(id, p);
            each(p, &self.heads.get()[id as usize]);
        }
        packets.len()
    }

    /// Asks for a flow's open row, if it has one.
    #[inline(always)]
    fn fetch_row(&self, head: &Head) {
        match head.open & WHOLE {
            0 => self.briefs.fetch(head.open),
            _ => self.spans.fetch(head.open & !WHOLE),
        }
    }

    /// The flow that a packet belongs to, begun if there is none. It may be the one that was `found` before other
    /// packets came.
    #[inline(always)]
    fn find(&mut self, p: &Packet, hash: u32, found: u32) -> u32 {
        let heads = self.heads.get();
        let id = match heads.get(found as usize) {
            Some(head) if head.key.is(&p.key) => found,
            _ => match self.index.find(hash, |id| heads[id as usize].key.is(&p.key)) {
                Some(id) => id,
                None => return self.begin(p, hash),
            },
        };
        if self.goes_on(id, &heads[id as usize], p) { id } else { self.begin_again(id, p) }
    }

    /// Adds a packet to its flow and the flow's open row.
    #[inline(always)]
    fn add(&mut self, id: u32, p: &Packet) {
        if self.heads.get()[id as usize].open == NONE {
            self.open(id);
        }
        let head = &mut self.heads.get_mut()[id as usize];
        let previous = head.last;
        let (trace, told) = head.take(p);
        if told.closes && head.close() {
            self.asides.get_mut()[id as usize].closed = p.time;
            self.closing.push_back((p.time, id));
        }
        let open = head.open;
        if open & WHOLE == 0 {
            let brief = &mut self.briefs.get_mut()[open as usize];
            if brief.add(&trace) {
                brief.handshake = told.handshake.unwrap_or(brief.handshake);
                return;
            }
        }
        self.add_to_sums(id, &trace, previous, told.handshake);
    }

    /// Adds to a row that is sums already, or has to become so.
    fn add_to_sums(&mut self, id: u32, trace: &Trace, previous: u64, handshake: Option<u64>) {
        let head = &mut self.heads.get_mut()[id as usize];
        let first_row = head.row_index == 0;
        if head.open & WHOLE == 0 {
            let place = self.spans.put(Span::EMPTY);
            let span = &mut self.spans.get_mut()[place as usize];
            self.briefs.get()[head.open as usize].sum_up(span, first_row);
            self.briefs.release(head.open);
            head.open = place | WHOLE;
        }
        let span = &mut self.spans.get_mut()[(head.open & !WHOLE) as usize];
        span.add(trace, previous, first_row);
        span.handshake = handshake.unwrap_or(span.handshake);
    }

    /// Whether a packet of the flow's key belongs to the flow, and in the row that is open.
    #[inline(always)]
    fn goes_on(&self, id: u32, head: &Head, p: &Packet) -> bool {
        if p.time - head.last > self.idle {
            return false;
        }
        let begins = || head.is_tcp() && head.begins_anew(p);
        !head.has_closed() || p.time - self.asides.get()[id as usize].closed <= LINGER && !begins()
    }

    /// A flow of a key that the table does not know.
    #[inline(never)]
    fn begin(&mut self, p: &Packet, hash: u32) -> u32 {
        let shard = shard(&p.key);
        if self.members[shard].len() + self.remembered.count(shard) >= self.share {
            self.make_room(shard, p.time);
        }
        let previous = self.remembered.take(hash, &p.key, p.time);
        let Free { id, linked } = self.heads_free.pop().unwrap_or_else(|| {
            self.heads_used += 1;
            Free { id: self.heads_used - 1, linked: false }
        });
        self.asides.get_mut()[id as usize].place = self.members[shard].len() as u32;
        self.members[shard].push(id);
        let ordinal = match &self.shed {
            (time, shed) if *time == p.time => shed.get(&p.key).map_or(0, |ordinal| ordinal + 1),
            _ => 0,
        };
        self.heads.get_mut()[id as usize] = Head::new(p, began(p, previous), ordinal);
        self.counts.flows += 1;
        if !linked {
            self.arm(id);
        }
        self.index.insert(hash, id);
        id
    }

    /// The same ends, but a new flow: the old one's open row is finished, its place is taken over.
    #[inline(never)]
    fn begin_again(&mut self, id: u32, p: &Packet) -> u32 {
        self.finish(id, self.reason_of_end(id));
        let old = self.heads.get()[id as usize];
        let previous = (p.time - old.last < MEMORY).then(|| old.initiator_is_b());
        let ordinal = if old.start == p.time { old.ordinal + 1 } else { 0 };
        self.heads.get_mut()[id as usize] = Head::new(p, began(p, previous), ordinal);
        self.counts.flows += 1;
        id
    }

    /// Begins a row of the flow.
    fn open(&mut self, id: u32) {
        let head = &mut self.heads.get_mut()[id as usize];
        head.open = self.briefs.put(Brief::EMPTY);
        self.touched.push(Pending { flow_id: head.flow_id(), at: id });
    }

    pub(super) fn reason_of_end(&self, id: u32) -> u8 {
        let closed = self.heads.get()[id as usize].has_closed();
        if closed { end_reason::END } else { end_reason::IDLE }
    }

    /// Whether no packet from `now` on can belong to the flow.
    pub(super) fn over(&self, id: u32, now: u64) -> bool {
        let head = &self.heads.get()[id as usize];
        now.saturating_sub(head.last) > self.idle
            || head.has_closed() && now.saturating_sub(self.asides.get()[id as usize].closed) > LINGER
    }
}

pub(super) fn shard(key: &FlowKey) -> usize {
    crate::packet::shard(key.route())
}
