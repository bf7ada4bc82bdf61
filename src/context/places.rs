//! Where things that are kept elsewhere are found: (hash, place) in open addressing.
//!
//! A search reads one line of memory, and then the thing itself: hashes of 32 bits tell nearly all others apart. Who
//! looks for many things at a time lets the waits for memory overlap: first [`Places::load`] for all of them, then
//! [`Places::near`], and then one after the other.

use crate::flow::probing;

/// Places by hash. The hashes must be seeded anew in each process: crafted keys must not collide at will.
#[derive(Default)]
pub(super) struct Places {
    /// Of [`probing`]: as many as a power of two, or none at all.
    slots: Vec<u64>,
    count: usize,
}

/// What a place is found by, of a hash of 64 bits.
pub(super) fn short(hash: u64) -> u32 {
    (hash >> 32 ^ hash) as u32
}

impl Places {
    /// With room for `count`.
    pub(super) fn with_capacity(count: usize) -> Places {
        let slots = if count == 0 { Vec::new() } else { vec![0; slots(count)] };
        Places { slots, count: 0 }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Reads what a search for `hash` reads first.
    pub(super) fn load(&self, hash: u32) -> u64 {
        self.slots.get(probing::home(hash, self.slots.len().wrapping_sub(1))).copied().unwrap_or(0)
    }

    /// The first place of this hash: nearly always the one that [`Places::find`] finds.
    pub(super) fn near(&self, hash: u32) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// The first place of this hash that `is` the one looked for.
    pub(super) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        probing::find(&self.slots, hash, is)
    }

    /// Adds a place that is not in it.
    pub(super) fn insert(&mut self, hash: u32, place: u32) {
        self.count += 1;
        if slots(self.count) > self.slots.len() {
            let old = std::mem::replace(&mut self.slots, vec![0; slots(self.count)]);
            probing::refill(&mut self.slots, &old);
        }
        probing::insert(&mut self.slots, hash, place);
    }

    /// Takes out a place that is in it.
    pub(super) fn remove(&mut self, hash: u32, place: u32) {
        probing::remove(&mut self.slots, hash, place);
        self.count -= 1;
    }

    /// Takes out all. Room for as many is kept.
    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
        self.count = 0;
    }
}

/// Slots for so many places: at most two thirds are taken.
fn slots(count: usize) -> usize {
    (count + count / 2 + 1).next_power_of_two().max(8)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_added_and_not_taken_out_is_found(
            steps in prop::collection::vec((0..64u32, any::<bool>()), 0..400),
            hashes in prop::collection::vec(0..20u32, 64),
        ) {
            let (mut places, mut there) = (Places::default(), BTreeSet::new());
            let hash = |place: u32| hashes[place as usize].wrapping_sub(10);
            for (place, add) in steps {
                match add {
                    true => if there.insert(place) { places.insert(hash(place), place) },
                    false => if there.remove(&place) { places.remove(hash(place), place) },
                }
                prop_assert_eq!(places.len(), there.len());
                for place in 0..64 {
                    let found = places.find(hash(place), |other| other == place);
                    prop_assert_eq!(found, there.contains(&place).then_some(place));
                }
            }
        }
    }

    #[test]
    fn growth_loses_nothing_and_room_that_was_asked_for_is_enough() {
        let mut places = Places::with_capacity(20_000);
        let room = places.slots.len();
        (0..20_000).for_each(|place| places.insert(place / 3, place));
        assert_eq!(places.slots.len(), room);
        (20_000..90_000).for_each(|place| places.insert(place / 3, place));
        assert!((0..90_000).all(|place| places.find(place / 3, |other| other == place) == Some(place)));
        places.clear();
        assert_eq!((places.near(0), places.len()), (None, 0));
    }
}
