//! What a closed window holds: which rows end with it and why, in their order, until they are given.

use super::Cut;
use super::rows::Finished;
use super::span::{Brief, Span};
use super::state::{Head, NONE};
use super::table::{MOST_PACKETS, Table, WHOLE, end_reason};

/// Rows whose memory is loaded together, so that their cache misses overlap.
const GROUP: usize = 32;

/// The high bit of [`Pending::at`]: an entry of `finished`, not a span.
const APART: u32 = 1 << 31;

/// A row that the closed window holds, to be fetched by [`Table::row`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pending {
    /// Its flow id: rows of a window are given in this order.
    pub flow_id: u64,
    pub(super) at: u32,
}

/// A row that ended before its window did: the flow as it stood, what it did, why it ended.
pub(super) struct Ended {
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

impl Table {
    /// Moves a flow's open row, if it has one, to the finished ones.
    pub(super) fn finish(&mut self, id: u32, reason: u8) {
        self.orient(id);
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

    /// Turns a flow around whose initiator is a guess and said nothing in its first row, which is about to be given.
    fn orient(&mut self, id: u32) {
        let head = &mut self.heads.get_mut()[id as usize];
        if !head.may_turn() || head.open == NONE {
            return;
        }
        let turned = match head.open & WHOLE {
            0 => self.briefs.get_mut()[head.open as usize].turn(),
            _ => self.spans.get_mut()[(head.open & !WHOLE) as usize].turn(),
        };
        if turned {
            head.turn();
        }
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

    /// What an open row holds.
    #[inline(always)]
    pub(super) fn held(&self, open: u32) -> Held<'_> {
        match open & WHOLE {
            0 => Held::Brief(&self.briefs.get()[open as usize]),
            _ => Held::Whole(&self.spans.get()[(open & !WHOLE) as usize]),
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

    /// Loads what [`Table::row`] will read, and finds out who began where that was a guess. Memory is looked at: asked for, as
    /// packets do it, it came too late.
    pub fn fetch_rows(&mut self, pending: &[Pending]) {
        self.load_rows(pending);
        pending.iter().filter(|row| row.at & APART == 0).for_each(|row| self.orient(row.at));
    }

    fn load_rows(&self, pending: &[Pending]) {
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
