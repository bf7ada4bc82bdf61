//! What a run knows at its end, for another to begin with.

use super::super::address::Address;
use super::super::entity::SHARDS;
use super::columns::SRC;
use super::shard::{Known, order};

/// What was seen, first and last, and the last starts of flows: what context remembers beyond its horizons.
/// Bounded by `[context] remember`; the same for any number of workers.
#[derive(Clone, Debug)]
pub struct Memory {
    shards: Vec<Vec<Known>>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { shards: vec![Vec::new(); SHARDS] }
    }
}

/// Two memories are alike if the same is known, in whatever order.
impl PartialEq for Memory {
    fn eq(&self, other: &Memory) -> bool {
        self.sorted() == other.sorted()
    }
}

impl Memory {
    /// How many identities (hosts, pairs, services and ports of theirs) are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(Vec::len).sum()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(Vec::is_empty)
    }

    /// The last window with a row of what is remembered, by its start; none if nothing is.
    pub(super) fn last(&self) -> Option<u64> {
        self.all().map(|known| known.last).max()
    }

    /// What is remembered of a share.
    pub(super) fn shard(&self, shard: usize) -> Vec<Known> {
        self.shards.get(shard).cloned().unwrap_or_default()
    }

    /// Every source with the start of its first window.
    pub(in crate::context) fn sources(&self) -> impl Iterator<Item = (Address, u64)> {
        let sources = self.all().filter(|known| (known.key.code() >> 24) as usize == SRC);
        sources.map(|known| (known.key.ends()[0], known.first))
    }

    /// Adds what is known of identities that are not in it yet.
    pub(super) fn extend(&mut self, known: Vec<Known>) {
        for one in known {
            self.shards[one.key.shard()].push(one);
        }
    }

    /// All of it, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Known> {
        self.shards.iter().flatten()
    }

    /// All of it, in the order in which it is written.
    pub(super) fn sorted(&self) -> Vec<&Known> {
        let mut all: Vec<&Known> = self.all().collect();
        all.sort_by_cached_key(|known| order(&known.key));
        all
    }
}
