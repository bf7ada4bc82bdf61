//! Who began flows that are over: what a flow of the same ends that begins without a SYN is told.
//!
//! A flow is kept as long as it lasts. Of one that is over, only what its key does not tell is remembered, and of most
//! the key tells it: the responder has the port that has a name or, of TCP, the lower one of two on either side of a border.

use hashbrown::HashTable;

use super::index::Index;
use super::initiator::must_be_remembered;
use super::state::Head;
use super::table::{MEMORY, shard};
use crate::packet::{FlowKey, SHARDS};

/// The ends of a flow, and who began it.
#[derive(Clone, Copy)]
struct Began {
    key: FlowKey,
    /// Time of the latest packet, which is at most `i64::MAX`, and in the lowest bit whether the initiator is the
    /// key's end `b`.
    last: u64,
}

const _: () = assert!(size_of::<Began>() == 48, "less than half of a head");

impl Began {
    fn last(&self) -> u64 {
        self.last >> 1
    }

    /// Whether it matters at `now`.
    fn matters(&self, now: u64) -> bool {
        now.saturating_sub(self.last()) < MEMORY
    }
}

/// Initiators of flows that are over, by shards.
pub(super) struct Remembered {
    shards: Vec<HashTable<Began>>,
}

impl Remembered {
    pub(super) fn new() -> Remembered {
        Remembered { shards: (0..SHARDS).map(|_| HashTable::new()).collect() }
    }

    /// How many a shard has, those among them that matter no more.
    pub(super) fn count(&self, shard: usize) -> usize {
        self.shards[shard].len()
    }

    /// Remembers who began a flow that is over at `now`, if its key does not tell.
    pub(super) fn keep(&mut self, index: &Index, head: &Head, now: u64) {
        let key = head.key;
        let began = Began { key, last: head.last << 1 | u64::from(head.initiator_is_b()) };
        if !must_be_remembered(&key, head.initiator_is_b()) || !began.matters(now) {
            return;
        }
        let shard = &mut self.shards[shard(&key)];
        if shard.len() == shard.capacity() {
            // It grows when a quarter of it would still be taken: what matters no more goes first.
            shard.retain(|began| began.matters(now));
            shard.reserve(1 + shard.len() / 4, |began| wide(index.hash(&began.key)));
        }
        let hash = |key: &FlowKey| wide(index.hash(key));
        shard.insert_unique(hash(&key), began, |began| hash(&began.key));
    }

    /// Whether the initiator of the key's latest flow was its end `b`, if that is remembered and matters at
    /// `now`. It is not remembered any longer: the key has a flow again.
    pub(super) fn take(&mut self, hash: u32, key: &FlowKey, now: u64) -> Option<bool> {
        let shard = &mut self.shards[shard(key)];
        let began = shard.find_entry(wide(hash), |began| began.key.is(key)).ok()?.remove().0;
        began.matters(now).then_some(began.last & 1 != 0)
    }

    /// Forgets what matters no more in a shard.
    pub(super) fn forget(&mut self, shard: usize, now: u64) {
        self.shards[shard].retain(|began| began.matters(now));
    }

    /// Forgets up to `count` initiators of a shard, those of the flows that ended first. Returns how many.
    pub(super) fn shed(&mut self, shard: usize, index: &Index, count: usize) -> usize {
        let shard = &mut self.shards[shard];
        let mut order: Vec<(u64, [u64; 5])> =
            shard.iter().map(|began| (began.last, bytemuck::cast(began.key))).collect();
        order.sort_unstable();
        order.truncate(count);
        for (_, key) in &order {
            let key: FlowKey = bytemuck::cast(*key);
            if let Ok(entry) = shard.find_entry(wide(index.hash(&key)), |began| began.key.is(&key)) {
                entry.remove();
            }
        }
        order.len()
    }
}

/// A hash of 64 bits, of which the highest and the lowest are looked at.
fn wide(hash: u32) -> u64 {
    u64::from(hash) | u64::from(hash) << 32
}
