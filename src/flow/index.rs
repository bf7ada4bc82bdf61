//! Where flows are found: (hash, flow) in open addressing.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::region::Region;
use super::state::NONE;
use crate::packet::FlowKey;

/// Flows by the hash of their keys. The hash is seeded for each process, so that keys cannot be crafted to
/// collide.
pub(super) struct Index {
    seeds: [u64; 6],
    /// Hash above, flow plus one below; 0 where there is none.
    slots: Region<u64>,
    count: usize,
}

impl Index {
    pub(super) fn new() -> Index {
        let random = RandomState::default();
        let seeds = std::array::from_fn(|at| random.hash_one(at));
        Index { seeds, slots: Region::committed(1 << 12), count: 0 }
    }

    #[inline(always)]
    pub(super) fn hash(&self, key: &FlowKey) -> u32 {
        let [a, a_high, b, b_high, rest]: [u64; 5] = bytemuck::cast(*key);
        let seeds = &self.seeds;
        let ends = fold(a ^ seeds[0], a_high ^ seeds[1]) ^ fold(b ^ seeds[2], b_high ^ seeds[3]);
        (fold(ends ^ seeds[4], rest ^ seeds[5]) >> 16) as u32
    }

    /// Asks for what a search for `hash` looks at first.
    #[inline(always)]
    pub(super) fn fetch(&self, hash: u32) {
        self.slots.fetch(home(hash, self.slots.get().len() - 1));
    }

    /// The first flow with this hash that `is` the one looked for.
    #[inline(always)]
    pub(super) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let slots = self.slots.get();
        let mask = slots.len() - 1;
        let mut at = home(hash, mask);
        loop {
            let slot = slots[at];
            if slot == 0 {
                return None;
            }
            let flow = (slot as u32).wrapping_sub(1);
            if (slot >> 32) as u32 == hash && is(flow) {
                return Some(flow);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a flow that is not in it.
    pub(super) fn insert(&mut self, hash: u32, flow: u32) {
        debug_assert!(flow != NONE);
        if (self.count + 1) * 2 > self.slots.get().len() {
            self.grow();
        }
        put(self.slots.get_mut(), u64::from(hash) << 32 | (u64::from(flow) + 1));
        self.count += 1;
    }

    /// Takes a flow out that is in it.
    pub(super) fn remove(&mut self, hash: u32, flow: u32) {
        let slots = self.slots.get_mut();
        let mask = slots.len() - 1;
        let mut hole = home(hash, mask);
        while slots[hole] as u32 != flow + 1 {
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
        self.count -= 1;
    }

    fn grow(&mut self) {
        let new = Region::committed(self.slots.get().len() * 2);
        let old = std::mem::replace(&mut self.slots, new);
        let slots = self.slots.get_mut();
        old.get().iter().filter(|slot| **slot != 0).for_each(|slot| put(slots, *slot));
    }
}

/// Both halves of the product: every bit of either factor reaches the middle.
#[inline(always)]
fn fold(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    product as u64 ^ (product >> 64) as u64
}

fn put(slots: &mut [u64], slot: u64) {
    let mask = slots.len() - 1;
    let mut at = home((slot >> 32) as u32, mask);
    while slots[at] != 0 {
        at = (at + 1) & mask;
    }
    slots[at] = slot;
}

#[inline(always)]
fn home(hash: u32, mask: usize) -> usize {
    hash as usize & mask
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_added_and_not_removed_is_found(
            steps in prop::collection::vec((0..64u32, any::<bool>()), 0..400),
            hashes in prop::collection::vec(0..20u32, 64),
        ) {
            let (mut index, mut flows) = (Index::new(), BTreeSet::new());
            for (flow, add) in steps {
                let hash = hashes[flow as usize].wrapping_sub(10);
                match add {
                    true => if flows.insert(flow) { index.insert(hash, flow) },
                    false => if flows.remove(&flow) { index.remove(hash, flow) },
                }
                for flow in 0..64 {
                    let hash = hashes[flow as usize].wrapping_sub(10);
                    let found = index.find(hash, |other| other == flow);
                    prop_assert_eq!(found, flows.contains(&flow).then_some(flow));
                }
            }
        }
    }

    #[test]
    fn growth_loses_nothing() {
        let mut index = Index::new();
        (0..20_000).for_each(|flow| index.insert(flow / 3, flow));
        assert!((0..20_000).all(|flow| index.find(flow / 3, |other| other == flow) == Some(flow)));
    }
}
