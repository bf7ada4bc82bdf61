//! Which flows leave the table: those that are silent for long, and those that a full shard sheds.
//!
//! When silent flows are looked at changes no row, since packets check the limits themselves; so a flow hangs in
//! the list of the window in which it is due as things stand, and is put on a later list if it was not silent.

use super::state::{Head, NONE};
use super::table::{Free, MEMORY, Table, end_reason, shard};

impl Table {
    /// Ends flows of a shard that is full: what has ended anyway, else half-open ones, else the longest
    /// silent, a sixteenth of the shard at a time.
    #[inline(never)]
    pub(super) fn make_room(&mut self, shard: usize, now: u64) {
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

    /// Whether not even its initiator matters any more at `now`.
    fn forgotten(&self, head: &Head, now: u64) -> bool {
        head.open == NONE && now.saturating_sub(head.last) >= self.idle.saturating_add(1).max(MEMORY)
    }

    /// Takes a flow without open row out of the table.
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

    /// Puts a flow on the list of the window in which it will be forgotten, or the farthest in the ring.
    pub(super) fn arm(&mut self, id: u32) {
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
