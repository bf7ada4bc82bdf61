//! The flow table: packets of one worker in, in order of event time; rows of closed windows out.
//!
//! Slots of (hash, flow) are searched openly; heads and spans lie apart in memory of fixed size. The
//! hash is seeded for each process, so that keys cannot be crafted to collide. What the table does to
//! rows depends on packets and settings alone: limits are checked packet by packet, so it does not
//! matter when silent flows are swept, and room is shared out by shards of the key space, so it does
//! not matter how many workers there are.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use super::initiator::initiator_is_b;
use super::region::Region;
use super::rows::Finished;
use super::state::{Aside, Head, NONE, Span};
use super::tcp::{ACK, SYN};
use super::{Cut, FlowSpec, nanoseconds};
use crate::packet::{FlowKey, Packet, SHARDS};

/// Packets whose memory is fetched together, so that their cache misses overlap.
pub const GROUP: usize = 32;
/// Packets this long after a close belong to the closed flow still.
const LINGER: u64 = 5_000_000_000;
/// An initiator is remembered this long after its flow's last packet.
const MEMORY: u64 = 600_000_000_000;

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
    span: Span,
    reason: u8,
}

/// A row that the closed window holds, to be fetched by [`Table::row`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pending {
    /// Its flow id: rows of a window are given in this order.
    pub flow_id: u64,
    at: u32,
}

/// A place for a flow. One that was emptied before its time still hangs in a list of the wheel.
#[derive(Clone, Copy)]
struct Free {
    id: u32,
    linked: bool,
}

/// The high bit of [`Pending::at`]: an entry of `finished`, not a span.
const APART: u32 = 1 << 31;

/// Flows of one worker.
pub struct Table {
    cut: Cut,
    window: u64,
    idle: u64,
    active: u64,
    /// Flows a shard may hold.
    share: usize,
    random: RandomState,
    slots: Region<u64>,
    slot_count: usize,
    heads: Region<Head>,
    asides: Region<Aside>,
    heads_used: u32,
    heads_free: Vec<Free>,
    spans: Region<Span>,
    spans_used: u32,
    spans_free: Vec<u32>,
    members: Vec<Vec<u32>>,
    /// End of the open window.
    window_end: u64,
    /// Open rows: named while their heads are at hand.
    touched: Vec<Pending>,
    /// Rows that ended before their window did.
    finished: Vec<Ended>,
    /// Lists of flows to look at, by window (see [`Table::due`]); a ring.
    wheel: Vec<u32>,
    /// The window, counted from the epoch, up to which the wheel was turned.
    turned: u64,
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

impl Table {
    /// An empty table.
    pub fn new(spec: &FlowSpec) -> Table {
        let window = spec.window_ns();
        let idle = nanoseconds(spec.idle);
        // A share is rounded up, so a table may hold a few flows more than asked for.
        let share = (spec.max_flows as usize).div_ceil(SHARDS);
        let capacity = share * SHARDS;
        let ring = (idle.max(MEMORY) / window + 2) as usize;
        Table {
            cut: spec.rows,
            window,
            idle,
            active: nanoseconds(spec.active),
            share,
            random: RandomState::default(),
            slots: Region::new(1 << 12),
            slot_count: 0,
            heads: Region::new(capacity),
            asides: Region::new(capacity),
            heads_used: 0,
            heads_free: Vec::new(),
            spans: Region::new(capacity),
            spans_used: 0,
            spans_free: Vec::new(),
            members: vec![Vec::new(); SHARDS],
            window_end: 0,
            touched: Vec::new(),
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
    /// Returns how many; calls `each` with a packet and the id of its flow.
    pub fn packets(&mut self, packets: &[Packet], mut each: impl FnMut(&Packet, &Head)) -> usize {
        let mut taken = 0;
        for group in packets.chunks(GROUP) {
            let hashes = self.fetch(group);
            for (p, hash) in group.iter().zip(hashes) {
                if p.time >= self.window_end {
                    return taken;
                }
                let id = self.find(p, hash);
                let head = &mut self.heads.get_mut()[id as usize];
                let span = match head.span {
                    NONE => self.open_span(id),
                    span => span,
                };
                let head = &mut self.heads.get_mut()[id as usize];
                if head.add(&mut self.spans.get_mut()[span as usize], p) {
                    self.asides.get_mut()[id as usize].closed = p.time;
                }
                each(p, head);
                taken += 1;
            }
        }
        taken
    }

    /// Loads the lines that a group of packets will touch: all slots, then all heads, then all spans, so
    /// that misses of the cache overlap.
    #[inline(always)]
    fn fetch(&self, group: &[Packet]) -> [u32; GROUP] {
        let mut hashes = [0; GROUP];
        let (slots, heads, spans) = (self.slots.get(), self.heads.get(), self.spans.get());
        let mask = slots.len() - 1;
        let mut sum = 0;
        for (hash, p) in hashes.iter_mut().zip(group) {
            *hash = self.hash(&p.key);
            sum ^= slots[home(*hash, mask)];
        }
        let mut found = [NONE; GROUP];
        for (found, hash) in found.iter_mut().zip(&hashes[..group.len()]) {
            let mut at = home(*hash, mask);
            while slots[at] != 0 && (slots[at] >> 32) as u32 != *hash {
                at = (at + 1) & mask;
            }
            if let Some(head) = heads.get((slots[at] as usize & NONE as usize).wrapping_sub(1)) {
                *found = slots[at] as u32 - 1;
                sum ^= u64::from(head.span) ^ head.bytes;
            }
        }
        for (found, p) in found.iter().zip(group) {
            if let Some(head) = heads.get(*found as usize)
                && let Some(span) = spans.get(head.span as usize)
            {
                let [side, other] = [head.side(p), 1 - head.side(p)].map(|side| &span.sides[side]);
                sum ^= side.bytes ^ u64::from(side.retransmits) ^ u64::from(other.packets) ^ span.gaps.max;
            }
        }
        std::hint::black_box(sum);
        hashes
    }

    #[inline(always)]
    fn hash(&self, key: &FlowKey) -> u32 {
        let mut hasher = self.random.build_hasher();
        hasher.write(bytemuck::bytes_of(key));
        (hasher.finish() >> 16) as u32
    }

    /// The flow that a packet belongs to, begun if there is none.
    #[inline(always)]
    fn find(&mut self, p: &Packet, hash: u32) -> u32 {
        let (slots, heads) = (self.slots.get(), self.heads.get());
        let mask = slots.len() - 1;
        let mut at = home(hash, mask);
        loop {
            let slot = slots[at];
            if slot == 0 {
                return self.begin(p, hash);
            }
            if (slot >> 32) as u32 == hash {
                let id = slot as u32 - 1;
                let head = &heads[id as usize];
                if head.key == p.key {
                    if self.goes_on(id, head, p) {
                        return id;
                    }
                    return self.begin_again(id, p);
                }
            }
            at = (at + 1) & mask;
        }
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
        if self.members[shard].len() >= self.share {
            self.make_room(shard, p.time);
        }
        let Free { id, linked } = self.heads_free.pop().unwrap_or_else(|| {
            self.heads_used += 1;
            Free { id: self.heads_used - 1, linked: false }
        });
        self.asides.get_mut()[id as usize].place = self.members[shard].len() as u32;
        self.members[shard].push(id);
        self.heads.get_mut()[id as usize] = Head::new(p, initiator_is_b(p, None), 0);
        self.counts.flows += 1;
        if !linked {
            self.arm(id);
        }
        if (self.slot_count + 1) * 2 > self.slots.get().len() {
            self.grow();
        }
        let slots = self.slots.get_mut();
        let mask = slots.len() - 1;
        let mut at = home(hash, mask);
        while slots[at] != 0 {
            at = (at + 1) & mask;
        }
        slots[at] = u64::from(hash) << 32 | (u64::from(id) + 1);
        self.slot_count += 1;
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

    fn open_span(&mut self, id: u32) -> u32 {
        let span = match self.spans_free.pop() {
            Some(span) => span,
            None => {
                self.spans_used += 1;
                self.spans_used - 1
            }
        };
        self.spans.get_mut()[span as usize] = Span::new();
        let head = &mut self.heads.get_mut()[id as usize];
        head.span = span;
        self.touched.push(Pending { flow_id: head.flow_id(), at: id });
        span
    }

    /// Moves a flow's open row, if it has one, to the finished ones.
    fn finish(&mut self, id: u32, reason: u8) {
        let head = self.heads.get()[id as usize];
        if head.span == NONE {
            return;
        }
        let span = self.spans.get()[head.span as usize];
        self.finished.push(Ended { head, span, reason });
        self.spans_free.push(head.span);
        self.row_given(id);
    }

    /// Notes that the flow's open row is on its way.
    fn row_given(&mut self, id: u32) {
        let head = &mut self.heads.get_mut()[id as usize];
        let span = &self.spans.get()[head.span as usize];
        head.packets += span.packets();
        head.bytes += span.bytes();
        head.row_index += 1;
        head.span = NONE;
    }

    /// Ends flows of a shard that is full: what has ended anyway, else half-open ones, else the longest
    /// silent, a sixteenth of the shard at a time.
    #[inline(never)]
    fn make_room(&mut self, shard: usize, now: u64) {
        let dead: Vec<u32> = self.members[shard]
            .iter()
            .copied()
            .filter(|id| self.forgotten(&self.heads.get()[*id as usize], now))
            .collect();
        for id in dead {
            self.remove(id);
            self.heads_free.push(Free { id, linked: true });
        }
        if self.members[shard].len() < self.share {
            return;
        }
        let heads = self.heads.get();
        let mut order: Vec<(u8, u64, u64, u32)> = self.members[shard]
            .iter()
            .map(|id| {
                let head = &heads[*id as usize];
                let class = match self.over(*id, now) {
                    true => 0,
                    false if head.tcp.half_open() => 1,
                    false => 2,
                };
                (class, head.last, head.flow_id(), *id)
            })
            .collect();
        order.sort_unstable();
        for (class, _, _, id) in order.into_iter().take((self.share / 16).max(1)) {
            if class > 0 {
                self.counts.shed += 1;
                self.finish(id, end_reason::RESOURCES);
            } else {
                self.finish(id, self.reason_of_end(id));
            }
            self.remove(id);
            self.heads_free.push(Free { id, linked: true });
        }
    }

    fn reason_of_end(&self, id: u32) -> u8 {
        let closed = self.heads.get()[id as usize].has_closed();
        if closed { end_reason::END } else { end_reason::IDLE }
    }

    /// Whether no packet from `now` on can belong to the flow.
    fn over(&self, id: u32, now: u64) -> bool {
        let head = &self.heads.get()[id as usize];
        now.saturating_sub(head.last) > self.idle
            || head.has_closed() && now.saturating_sub(self.asides.get()[id as usize].closed) > LINGER
    }

    /// Whether not even its initiator matters any more at `now`.
    fn forgotten(&self, head: &Head, now: u64) -> bool {
        head.span == NONE && now.saturating_sub(head.last) >= self.idle.saturating_add(1).max(MEMORY)
    }

    /// Takes a flow without open row out of the table.
    fn remove(&mut self, id: u32) {
        let key = self.heads.get()[id as usize].key;
        let hash = self.hash(&key);
        let slots = self.slots.get_mut();
        let mask = slots.len() - 1;
        let mut hole = home(hash, mask);
        while slots[hole] as u32 != id + 1 {
            hole = (hole + 1) & mask;
        }
        // Later entries of the same run move up, so that searches need no tombstones.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            if slots[at] == 0 {
                break;
            }
            let home = home((slots[at] >> 32) as u32, mask);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                slots[hole] = slots[at];
                hole = at;
            }
        }
        slots[hole] = 0;
        self.slot_count -= 1;

        let asides = self.asides.get_mut();
        let place = std::mem::replace(&mut asides[id as usize].place, NONE) as usize;
        let members = &mut self.members[shard(&key)];
        members.swap_remove(place);
        if let Some(moved) = members.get(place) {
            asides[*moved as usize].place = place as u32;
        }
    }

    fn grow(&mut self) {
        let new = Region::new(self.slots.get().len() * 2);
        let old = std::mem::replace(&mut self.slots, new);
        let slots = self.slots.get_mut();
        let mask = slots.len() - 1;
        for slot in old.get().iter().filter(|slot| **slot != 0) {
            let mut at = home((slot >> 32) as u32, mask);
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = *slot;
        }
    }

    /// Puts a flow on the list of the window in which it will be forgotten, or the farthest in the ring.
    fn arm(&mut self, id: u32) {
        let head = &self.heads.get()[id as usize];
        let due = head.last.saturating_add(self.idle.saturating_add(1).max(MEMORY)) / self.window;
        self.link(id, due);
    }

    fn link(&mut self, id: u32, window: u64) {
        let ring = self.wheel.len() as u64;
        let window = window.clamp(self.turned + 1, self.turned + ring - 1);
        let list = &mut self.wheel[(window % ring) as usize];
        self.asides.get_mut()[id as usize].next = std::mem::replace(list, id);
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
        pending.sort_unstable();
        pending
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
            head.span != NONE && head.flow_id() == row.flow_id
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
            let since = self.window_end - self.spans.get()[head.span as usize].first();
            if self.over(id, ended.unwrap_or(self.window_end)) {
                self.finish(id, self.reason_of_end(id));
            } else if ended.is_some() {
                let closed = head.has_closed();
                self.finish(id, if closed { end_reason::END } else { end_reason::FORCED });
            } else if since >= self.active {
                self.finish(id, end_reason::WINDOW);
            } else {
                self.touched.push(row);
            }
        }
    }

    /// A row that [`Table::close`] listed, until it is [given](Table::given).
    #[inline]
    pub fn row(&self, pending: Pending, newest: Option<u64>) -> Finished<'_> {
        let (head, span, reason) = if pending.at & APART != 0 {
            let Ended { head, span, reason } = &self.finished[(pending.at & !APART) as usize];
            (head, span, *reason)
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
            (head, &self.spans.get()[head.span as usize], reason)
        };
        let (flow_id, window) = (pending.flow_id, self.window_start());
        Finished { head, span, flow_id, window, first: span.first(), reason }
    }

    /// Rows that [`Table::close`] listed are on their way.
    pub fn given(&mut self, pending: &[Pending]) {
        for row in pending.iter().filter(|row| row.at & APART == 0) {
            self.row_given(row.at);
        }
    }

    /// Loads what [`Table::row`] will read.
    pub fn fetch_rows(&self, pending: &[Pending]) {
        let (heads, spans) = (self.heads.get(), self.spans.get());
        let mut sum = 0;
        for group in pending.chunks(GROUP) {
            let mut open = [NONE; GROUP];
            for (open, row) in open.iter_mut().zip(group) {
                if let Some(head) = heads.get(row.at as usize) {
                    *open = head.span;
                    sum ^= head.bytes;
                }
            }
            for span in open.iter().filter_map(|open| spans.get(*open as usize)) {
                sum ^= span.sides[0].bytes ^ span.sides[0].last ^ u64::from(span.sides[0].retransmits);
                sum ^= span.sides[1].bytes ^ span.sides[1].last ^ u64::from(span.sides[1].retransmits);
                sum ^= span.gaps.min ^ span.handshake;
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
            self.spans_used = 0;
            self.spans_free.clear();
        }
        self.finished.clear();
        let next = std::mem::replace(&mut self.window_end, 0);
        if !self.touched.is_empty() {
            self.opens(next);
        }
    }

    /// Looks at the flows that fell due up to window `to`.
    fn turn(&mut self, to: u64) {
        let ring = self.wheel.len() as u64;
        let mut looked = Vec::new();
        for window in (self.turned + 1).max((to + 1).saturating_sub(ring))..=to {
            let mut id = std::mem::replace(&mut self.wheel[(window % ring) as usize], NONE);
            while id != NONE {
                looked.push(id);
                id = self.asides.get()[id as usize].next;
            }
        }
        self.turned = self.turned.max(to);
        for id in looked {
            let head = &self.heads.get()[id as usize];
            if self.asides.get()[id as usize].place == NONE {
                // Free, and in the list of places to take: it stays linked until someone does.
                self.link(id, u64::MAX);
            } else if self.forgotten(head, to * self.window) {
                self.remove(id);
                self.heads_free.push(Free { id, linked: false });
            } else {
                self.arm(id);
            }
        }
    }
}

#[inline(always)]
fn home(hash: u32, mask: usize) -> usize {
    hash as usize & mask
}

fn shard(key: &FlowKey) -> usize {
    crate::packet::shard(key.route())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytemuck::Zeroable;

    use super::*;

    const S: u64 = 1_000_000_000;

    fn packet(time: u64, port: u16) -> Packet {
        let mut packet = Packet { time, length: 100, headers: 40, ..Zeroable::zeroed() };
        packet.key.protocol = 17;
        packet.key.port_a = port;
        packet.key.port_b = 53;
        packet
    }

    /// Plays packets and gives (window start in s, port, packets, reason, row index) of every row.
    fn rows(spec: &FlowSpec, packets: &[Packet]) -> Vec<(u64, u16, u64, u8, u32)> {
        let mut table = Table::new(spec);
        let mut found = Vec::new();
        let mut rest = packets;
        let newest = packets.last().map(|p| p.time);
        loop {
            if let Some(next) = rest.first()
                && table.opens(next.time)
            {
                rest = &rest[table.packets(rest, |_, _| {})..];
                continue;
            }
            if table.window_end().is_none() {
                return found;
            }
            let ended = newest.filter(|_| rest.is_empty());
            let listed = table.close(ended);
            table.fetch_rows(&listed);
            let mut window: Vec<_> = listed
                .iter()
                .map(|at| table.row(*at, ended))
                .map(|f| (f.window / S, f.head.key.port_a, f.span.packets(), f.reason, f.head.row_index))
                .collect();
            window.sort_unstable();
            found.extend(window);
            table.given(&listed);
            table.advance(listed);
        }
    }

    #[test]
    fn a_flow_gives_one_row_for_each_window_with_a_packet() {
        let times = [1, 2, 11, 45, 46];
        let packets: Vec<Packet> = times.iter().map(|t| packet(t * S, 7)).collect();
        let expected = [
            (0, 7, 2, end_reason::WINDOW, 0),
            (10, 7, 1, end_reason::WINDOW, 1),
            (40, 7, 2, end_reason::FORCED, 2),
        ];
        assert_eq!(rows(&FlowSpec::default(), &packets), expected);
    }

    #[test]
    fn idle_timeout_ends_flow_after_its_last_packet() {
        let spec = FlowSpec { idle: Duration::from_secs(3), ..FlowSpec::default() };
        let packets: Vec<Packet> = [1, 4, 8, 15].iter().map(|t| packet(t * S, 7)).collect();
        let expected = [
            (0, 7, 1, end_reason::WINDOW, 0),
            (0, 7, 2, end_reason::IDLE, 0),
            (10, 7, 1, end_reason::FORCED, 0),
        ];
        assert_eq!(rows(&spec, &packets), expected, "3 s are not more than idle, 4 s are");
    }

    #[test]
    fn rows_by_flow_end_in_their_own_time() {
        let spec = FlowSpec { rows: Cut::Flow, ..FlowSpec::default() };
        let packets = [packet(S, 7), packet(12 * S, 7), packet(13 * S, 8), packet(200 * S, 8)];
        let expected = [
            (70, 7, 2, end_reason::IDLE, 0),
            (70, 8, 1, end_reason::IDLE, 0),
            (200, 8, 1, end_reason::FORCED, 0),
        ];
        assert_eq!(rows(&spec, &packets), expected);
        let long: Vec<Packet> = (0..400).map(|i| packet(i * 10 * S, 9)).collect();
        let found = rows(&spec, &long);
        assert_eq!(found.iter().map(|row| row.2).sum::<u64>(), 400);
        assert_eq!(found[0], (1790, 9, 180, end_reason::WINDOW, 0), "active time-out, the flow goes on");
        assert_eq!(found[1].4, 1);
    }

    #[test]
    fn room_is_shared_out_by_shards_and_what_leaves_is_counted() {
        let spec = FlowSpec { max_flows: 1024, ..FlowSpec::default() };
        let mut table = Table::new(&spec);
        let many: Vec<Packet> = (0..20_000).map(|i| packet(S + i, (i % 60_000) as u16)).collect();
        assert!(table.opens(S));
        assert_eq!(table.packets(&many, |_, _| {}), many.len());
        assert!(table.members.iter().all(|shard| shard.len() <= 4));
        assert_eq!(table.counts.flows, 20_000);
        let listed = table.close(None);
        assert_eq!(listed.len(), 20_000, "what was shed has its row as well");
        let shed = listed.iter().filter(|at| table.row(**at, None).reason == end_reason::RESOURCES).count();
        assert_eq!(shed as u64, table.counts.shed);
        assert!(shed >= 20_000 - 1024);
    }

    #[test]
    fn places_are_used_again() {
        let spec = FlowSpec { max_flows: 1024, ..FlowSpec::default() };
        let mut table = Table::new(&spec);
        for round in 0..2000u64 {
            let many: Vec<Packet> =
                (0..40).map(|i| packet((round * 40 + i) * S, (round * 40 + i) as u16)).collect();
            let mut rest = &many[..];
            while let Some(next) = rest.first() {
                if table.opens(next.time) {
                    rest = &rest[table.packets(rest, |_, _| {})..];
                } else {
                    let listed = table.close(None);
                    table.given(&listed);
                    table.advance(listed);
                }
            }
        }
        assert!(table.heads_used <= 1024, "{}", table.heads_used);
        let members: usize = table.members.iter().map(Vec::len).sum();
        assert!(members <= 640, "what is silent for ten minutes is forgotten: {members}");
    }
}
