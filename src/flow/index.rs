//! Where flows are found: (hash, flow) in open addressing.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::probing;
use super::region::Region;
use crate::packet::FlowKey;

/// Flows by the hash of their keys. The hash is seeded for each process, so that keys cannot be crafted to
/// collide.
pub(super) struct Index {
    seeds: [u64; 6],
    /// Of [`probing`]; at most half of them are taken.
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
        self.slots.fetch(probing::home(hash, self.slots.get().len() - 1));
    }

    /// The first flow with this hash that `is` the one looked for.
    #[inline(always)]
    pub(super) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        probing::find(self.slots.get(), hash, is)
    }

    /// Adds a flow that is not in it.
    pub(super) fn insert(&mut self, hash: u32, flow: u32) {
        if (self.count + 1) * 2 > self.slots.get().len() {
            let new = Region::committed(self.slots.get().len() * 2);
            let old = std::mem::replace(&mut self.slots, new);
            probing::refill(self.slots.get_mut(), old.get());
        }
        probing::insert(self.slots.get_mut(), hash, flow);
        self.count += 1;
    }

    /// Takes a flow out that is in it.
    pub(super) fn remove(&mut self, hash: u32, flow: u32) {
        probing::remove(self.slots.get_mut(), hash, flow);
        self.count -= 1;
    }
}

/// Both halves of the product: every bit of either factor reaches the middle.
#[inline(always)]
fn fold(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    product as u64 ^ (product >> 64) as u64
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
