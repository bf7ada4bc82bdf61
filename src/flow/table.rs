//! The flow table: packets of one worker in, in order of event time; rows of closed windows out.
//!
//! Heads and what open rows hold lie apart in memory of fixed size; a row of few packets is kept as those
//! packets, a longer one as sums. What the table does to rows depends on packets and settings alone: limits are
//! checked packet by packet, so it does not matter when silent flows are swept, and room is shared out by shards
//! of the key space, so it does not matter how many workers there are.

use std::collections::VecDeque;

use super::index::Index;
use super::initiator::initiator_is_b;
use super::region::Region;
use super::remembered::Remembered;
use super::rows::Finished;
use super::slab::Slab;
use super::span::{Brief, Span, Trace};
use super::state::{Aside, Head, NONE};
use super::tcp::{ACK, SYN};
use super::{Cut, FlowSpec, nanoseconds};
use crate::packet::{FlowKey, Packet, SHARDS};

/// Packets that are taken between the steps by which another one's memory is asked for: time enough for it to come.
const STEP: usize = 16;
/// Rows whose memory is loaded together, so that their cache misses overlap.
const GROUP: usize = 32;
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

/// A row that ended before its window did: the flow as it stood, what it did, why it ended.
struct Ended {
    head: Head,
    row: Row,
    reason: u8,
}

/// What a row holds, away from its place.
enum Row {
    Brief(Brief),
    Whole(Box<Span>),
}

impl Row {
    fn held(&self) -> Held<'_> {
        match self {
            Row::Brief(brief) => Held::Brief(brief),
            Row::Whole(span) => Held::Whole(span),
        }
    }
}

/// What a row holds.
#[derive(Clone, Copy, Debug)]
pub enum Held<'a> {
    /// Its packets, since they are few.
    Brief(&'a Brief),
    /// Sums.
    Whole(&'a Span),
}

impl Held<'_> {
    /// Time of the first packet.
    #[inline(always)]
    pub fn first(self) -> u64 {
        match self {
            Held::Brief(brief) => brief.first(),
            Held::Whole(span) => span.first(),
        }
    }

    /// Packets, and their bytes.
    #[inline(always)]
    pub fn packets_and_bytes(self) -> (u64, u64) {
        match self {
            Held::Brief(brief) => brief.packets_and_bytes(),
            Held::Whole(span) => (span.packets(), span.bytes()),
        }
    }
}

/// Where an open row is: this bit and a place among `spans`, or without it a place among `briefs`.
const WHOLE: u32 = 1 << 31;

/// A row that the closed window holds, to be fetched by [`Table::row`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pending {
    /// Its flow id: rows of a window are given in this order.
    pub flow_id: u64,
    at: u32,
}

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

/// The high bit of [`Pending::at`]: an entry of `finished`, not a span.
const APART: u32 = 1 << 31;

/// Flows of one worker.
pub struct Table {
    cut: Cut,
    pub(super) window: u64,
    pub(super) idle: u64,
    active: u64,
    /// Flows that a shard may hold, with initiators that are remembered.
    pub(super) share: usize,
    pub(super) index: Index,
    pub(super) heads: Region<Head>,
    pub(super) asides: Region<Aside>,
    pub(super) heads_used: u32,
    pub(super) heads_free: Vec<Free>,
    briefs: Slab<Brief>,
    pub(super) spans: Slab<Span>,
    pub(super) members: Vec<Vec<u32>>,
    pub(super) remembered: Remembered,
    /// When connections closed, and which, in order of time.
    pub(super) closing: VecDeque<(u64, u32)>,
    /// End of the open window.
    window_end: u64,
    /// Open rows: named while their heads are at hand.
    touched: Vec<Pending>,
    /// Memory to sort open rows with.
    spare: Vec<Pending>,
    /// Rows that ended before their window did.
    finished: Vec<Ended>,
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

/// Bytes of address space that a table maps at once.
pub(super) fn mapped(spec: &FlowSpec) -> usize {
    let flow = size_of::<Head>() + size_of::<Aside>() + size_of::<Brief>() + size_of::<Span>();
    share(spec) * SHARDS * flow
}

impl Table {
    /// An empty table.
    pub fn new(spec: &FlowSpec) -> Table {
        let window = spec.window_ns();
        let idle = nanoseconds(spec.idle);
        let share = share(spec);
        let capacity = share * SHARDS;
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
        let begins = || p.flags & (SYN | ACK) == SYN && head.is_tcp();
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
        self.heads.get_mut()[id as usize] = Head::new(p, initiator_is_b(p, previous), 0);
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
        let old = self.heads.get()[id as usize];
        self.finish(id, self.reason_of_end(id));
        let previous = (p.time - old.last < MEMORY).then(|| old.initiator_is_b());
        let ordinal = if old.start == p.time { old.ordinal + 1 } else { 0 };
        self.heads.get_mut()[id as usize] = Head::new(p, initiator_is_b(p, previous), ordinal);
        self.counts.flows += 1;
        id
    }

    /// Begins a row of the flow.
    fn open(&mut self, id: u32) {
        let head = &mut self.heads.get_mut()[id as usize];
        head.open = self.briefs.put(Brief::EMPTY);
        self.touched.push(Pending { flow_id: head.flow_id(), at: id });
    }

    /// Moves a flow's open row, if it has one, to the finished ones.
    pub(super) fn finish(&mut self, id: u32, reason: u8) {
        let head = self.heads.get()[id as usize];
        if head.open == NONE {
            return;
        }
        let row = match head.open & WHOLE {
            0 => {
                self.briefs.release(head.open);
                Row::Brief(self.briefs.get()[head.open as usize])
            }
            _ => {
                let place = head.open & !WHOLE;
                self.spans.release(place);
                Row::Whole(Box::new(self.spans.get()[place as usize]))
            }
        };
        self.finished.push(Ended { head, row, reason });
        self.row_given(id);
    }

    /// Notes that the flow's open row is on its way. Returns its packets, and the bytes of these.
    fn row_given(&mut self, id: u32) -> (u64, u64) {
        let (packets, bytes) = self.held(self.heads.get()[id as usize].open).packets_and_bytes();
        let head = &mut self.heads.get_mut()[id as usize];
        head.packets += packets;
        head.bytes += bytes;
        head.row_index += 1;
        head.open = NONE;
        (packets, bytes)
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

    /// Ends the open window: what it holds is listed in the order of rows, silent flows are swept.
    /// `newest` is the newest event time of an input that has ended, `None` if it goes on.
    pub fn close(&mut self, newest: Option<u64>) -> Vec<Pending> {
        let ended = self.ended(newest);
        match self.cut {
            Cut::Window => {
                if !self.finished.is_empty() {
                    self.sort_touched();
                }
            }
            Cut::Flow => self.finish_flows(ended),
        }
        let mut pending = match self.cut {
            Cut::Window => std::mem::take(&mut self.touched),
            Cut::Flow => Vec::new(),
        };
        let ended = (0..).zip(&self.finished);
        pending.extend(ended.map(|(at, row)| Pending { flow_id: row.head.flow_id(), at: at | APART }));
        self.sort(pending)
    }

    /// Rows in their order. Flow ids are hashes: dealt out by their highest bits they lie in short piles.
    fn sort(&mut self, mut rows: Vec<Pending>) -> Vec<Pending> {
        const MOST: u32 = 13;
        if rows.len() < 1 << 11 {
            rows.sort_unstable();
            return rows;
        }
        // Some dozens in each.
        let bits = (rows.len().ilog2() - 6).min(MOST);
        let pile = |row: &Pending| (row.flow_id >> (u64::BITS - bits)) as usize;
        let mut ends = vec![0; 1 << bits];
        rows.iter().for_each(|row| ends[pile(row)] += 1);
        let mut begin = 0;
        for end in &mut ends {
            begin += std::mem::replace(end, begin);
        }
        let mut piled = std::mem::take(&mut self.spare);
        piled.clear();
        piled.resize(rows.len(), Pending { flow_id: 0, at: 0 });
        for row in &rows {
            let end = &mut ends[pile(row)];
            piled[*end] = *row;
            *end += 1;
        }
        let mut begin = 0;
        for end in ends {
            piled[begin..end].sort_unstable();
            begin = end;
        }
        self.spare = rows;
        piled
    }

    /// When the input ended, if it ended in the open window.
    fn ended(&self, newest: Option<u64>) -> Option<u64> {
        newest.filter(|newest| *newest < self.window_end)
    }

    /// Strikes out what has ended since. A flow that began again, or whose place was taken, stands in the
    /// list twice.
    fn sort_touched(&mut self) {
        let heads = self.heads.get();
        self.touched.retain(|row| {
            let head = &heads[row.at as usize];
            head.open != NONE && head.flow_id() == row.flow_id
        });
        self.touched.sort_unstable();
        self.touched.dedup();
    }

    /// With rows by flow: finishes the rows of flows that are over at the window's end.
    fn finish_flows(&mut self, ended: Option<u64>) {
        self.sort_touched();
        for row in std::mem::take(&mut self.touched) {
            let id = row.at;
            let head = &self.heads.get()[id as usize];
            let since = self.window_end - self.held(head.open).first();
            if self.over(id, ended.unwrap_or(self.window_end)) {
                self.finish(id, self.reason_of_end(id));
            } else if ended.is_some() {
                let closed = head.has_closed();
                self.finish(id, if closed { end_reason::END } else { end_reason::FORCED });
            } else if since >= self.active || self.held(head.open).packets_and_bytes().0 >= MOST_PACKETS {
                self.finish(id, end_reason::WINDOW);
            } else {
                self.touched.push(row);
            }
        }
    }

    /// A row that [`Table::close`] listed, until it is [given](Table::given).
    #[inline]
    pub fn row(&self, pending: Pending, newest: Option<u64>) -> Finished<'_> {
        let (head, held, reason) = if pending.at & APART != 0 {
            let Ended { head, row, reason } = &self.finished[(pending.at & !APART) as usize];
            (head, row.held(), *reason)
        } else {
            let head = &self.heads.get()[pending.at as usize];
            let ended = self.ended(newest);
            let reason = if head.has_closed() {
                end_reason::END
            } else if ended.unwrap_or(self.window_end) - head.last > self.idle {
                end_reason::IDLE
            } else if ended.is_some() {
                end_reason::FORCED
            } else {
                end_reason::WINDOW
            };
            (head, self.held(head.open), reason)
        };
        let (flow_id, window) = (pending.flow_id, self.window_start());
        Finished { head, held, flow_id, window, first: held.first(), reason }
    }

    /// What an open row holds.
    #[inline(always)]
    fn held(&self, open: u32) -> Held<'_> {
        match open & WHOLE {
            0 => Held::Brief(&self.briefs.get()[open as usize]),
            _ => Held::Whole(&self.spans.get()[(open & !WHOLE) as usize]),
        }
    }

    /// Rows that [`Table::close`] listed are on their way. Returns their packets, and the bytes of these.
    pub fn given(&mut self, pending: &[Pending]) -> (u64, u64) {
        let (mut packets, mut bytes) = (0, 0);
        for row in pending {
            let (more, longer) = match row.at & APART {
                0 => self.row_given(row.at),
                _ => self.finished[(row.at & !APART) as usize].row.held().packets_and_bytes(),
            };
            packets += more;
            bytes += longer;
        }
        (packets, bytes)
    }

    /// Loads what [`Table::row`] will read. It is looked at: asked for, as packets do it, it came too late.
    pub fn fetch_rows(&self, pending: &[Pending]) {
        let (heads, briefs, spans) = (self.heads.get(), self.briefs.get(), self.spans.get());
        let mut sum = 0;
        for group in pending.chunks(GROUP) {
            let mut found = [NONE; GROUP];
            for (found, row) in found.iter_mut().zip(group) {
                if let Some(head) = heads.get(row.at as usize) {
                    *found = head.open;
                    sum ^= head.bytes;
                }
            }
            for open in &found {
                if let Some(brief) = briefs.get(*open as usize) {
                    sum ^= brief.handshake;
                } else if let Some(span) = spans.get((open & !WHOLE) as usize) {
                    for side in &span.sides {
                        sum ^= side.bytes ^ side.last ^ u64::from(side.retransmits);
                    }
                    sum ^= span.gaps.min ^ span.handshake;
                }
            }
        }
        std::hint::black_box(sum);
    }

    /// Forgets the closed window, once its rows, `listed` by [`Table::close`], are given. With rows by flow
    /// the next window is opened as long as a row is, so that it ends in its own time, whatever else the
    /// worker has to do.
    pub fn advance(&mut self, mut listed: Vec<Pending>) {
        if self.cut == Cut::Window {
            // Its memory serves the next window.
            listed.clear();
            self.touched = listed;
            // In the window's order again: neighbours in time stay neighbours in memory.
            self.briefs.clear();
            self.spans.clear();
        }
        self.finished.clear();
        let next = std::mem::replace(&mut self.window_end, 0);
        if !self.touched.is_empty() {
            self.opens(next);
        }
    }
}

pub(super) fn shard(key: &FlowKey) -> usize {
    crate::packet::shard(key.route())
}
