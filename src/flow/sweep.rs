//! Which flows leave the table: those that are over, and those that a full shard sheds.
//!
//! When silent flows are looked at changes no row, since packets check the limits themselves; so a flow hangs in
//! the list of the window in which it is due as things stand, and is put on a later list if it was not silent.

use hashbrown::HashMap;

use super::state::{Head, NONE};
use super::table::{Free, LINGER, Table, end_reason, shard};

impl Table {
    /// Makes room in a shard that is full: what is over ends anyway, else a sixteenth of the shard leaves,
    /// first what is remembered of flows that are over, then half-open flows, then the longest silent.
    #[inline(never)]
    pub(super) fn make_room(&mut self, shard: usize, now: u64) {
        let over: Vec<u32> = self.members[shard].iter().copied().filter(|id| self.over(*id, now)).collect();
        for id in over {
            self.finish(id, self.reason_of_end(id));
            self.leave(id, now, true);
        }
        self.remembered.forget(shard, now);
        if self.members[shard].len() + self.remembered.count(shard) < self.share {
            return;
        }
        let leaving = (self.share / 16).max(1);
        let forgotten = self.remembered.shed(shard, &self.index, leaving);
        let heads = self.heads.get();
        let mut order: Vec<(bool, u64, u64, u32)> = self.members[shard]
            .iter()
            .map(|id| {
                let head = &heads[*id as usize];
                (!head.tcp.half_open(), head.last, head.flow_id(), *id)
            })
            .collect();
        order.sort_unstable();
        for (.., id) in order.into_iter().take(leaving - forgotten) {
            self.counts.shed += 1;
            let Head { key, start, ordinal, .. } = self.heads.get()[id as usize];
            if start == now {
                if self.shed.0 != now {
                    self.shed = (now, HashMap::default());
                }
                self.shed.1.insert(key, ordinal);
            }
            self.finish(id, end_reason::RESOURCES);
            self.leave(id, now, true);
        }
    }

    /// Takes a flow without open row out of the table, whose place hangs in a list of the wheel still, or not. If it is
    /// over at `now`, who began it is remembered.
    fn leave(&mut self, id: u32, now: u64, linked: bool) {
        if self.over(id, now) {
            self.remembered.keep(&self.index, &self.heads.get()[id as usize], now);
        }
        self.remove(id);
        self.heads_free.push(Free { id, linked });
    }

    fn remove(&mut self, id: u32) {
        let key = self.heads.get()[id as usize].key;
        self.index.remove(self.index.hash(&key), id);
        // No packet is of this key: who looked the place up before finds out.
        self.heads.get_mut()[id as usize].key.version = 0;
        let asides = self.asides.get_mut();
        let place = std::mem::replace(&mut asides[id as usize].place, NONE) as usize;
        let members = &mut self.members[shard(&key)];
        members.swap_remove(place);
        if let Some(moved) = members.get(place) {
            asides[*moved as usize].place = place as u32;
        }
    }

    /// Puts a flow on the list of the window at whose begin it will be over, or the farthest in the ring.
    pub(super) fn arm(&mut self, id: u32) {
        let over = self.heads.get()[id as usize].last.saturating_add(self.idle).saturating_add(1);
        self.link(id, over.div_ceil(self.window));
    }

    fn link(&mut self, id: u32, window: u64) {
        let ring = self.wheel.len() as u64;
        let window = window.clamp(self.turned + 1, self.turned + ring - 1);
        let list = &mut self.wheel[(window % ring) as usize];
        self.asides.get_mut()[id as usize].next = std::mem::replace(list, id);
    }

    /// Looks at the flows that fell due up to window `to`.
    pub(super) fn turn(&mut self, to: u64) {
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
        let now = to * self.window;
        for id in looked {
            if self.asides.get()[id as usize].place == NONE {
                // Free, and in the list of places to take: it stays linked until someone does.
                self.link(id, u64::MAX);
            } else if self.goes(id, now) {
                self.leave(id, now, false);
            } else {
                self.arm(id);
            }
        }
        // Connections that closed need not wait until they are silent for long.
        while let Some((closed, id)) = self.closing.front().copied()
            && now.saturating_sub(closed) > LINGER
        {
            self.closing.pop_front();
            if self.asides.get()[id as usize].place != NONE && self.goes(id, now) {
                self.leave(id, now, true);
            }
        }
    }

    /// Whether a flow is over at `now` and all its rows are given.
    fn goes(&self, id: u32, now: u64) -> bool {
        self.heads.get()[id as usize].open == NONE && self.over(id, now)
    }
}
