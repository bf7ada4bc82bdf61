//! Open addressing with linear probing over slots of (hash, place): of the index of flows, and of whoever else keeps
//! things by hash. Who uses it says how many slots there are, and in which memory.
//!
//! A slot has the hash above, the place plus one below; 0 where there is none. The slots are as many as a power of two,
//! and never all taken.

/// Where a search for a hash begins.
#[inline(always)]
pub(crate) fn home(hash: u32, mask: usize) -> usize {
    hash as usize & mask
}

/// The first place of this hash that `is` the one looked for.
#[inline(always)]
pub(crate) fn find(slots: &[u64], hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
    let mask = slots.len().wrapping_sub(1);
    let mut at = home(hash, mask);
    loop {
        let slot = slots.get(at).copied().unwrap_or(0);
        if slot == 0 {
            return None;
        }
        let place = (slot as u32).wrapping_sub(1);
        if (slot >> 32) as u32 == hash && is(place) {
            return Some(place);
        }
        at = (at + 1) & mask;
    }
}

/// Adds a place that is not among them.
#[inline(always)]
pub(crate) fn insert(slots: &mut [u64], hash: u32, place: u32) {
    debug_assert!(place != u32::MAX, "fewer than 2^32 - 1 places");
    put(slots, u64::from(hash) << 32 | (u64::from(place) + 1));
}

/// Adds all that are among others.
pub(crate) fn refill(slots: &mut [u64], others: &[u64]) {
    others.iter().filter(|slot| **slot != 0).for_each(|slot| put(slots, *slot));
}

#[inline(always)]
fn put(slots: &mut [u64], slot: u64) {
    let mask = slots.len() - 1;
    let mut at = home((slot >> 32) as u32, mask);
    while slots[at] != 0 {
        at = (at + 1) & mask;
    }
    slots[at] = slot;
}

/// Takes out a place that is among them.
#[inline(always)]
pub(crate) fn remove(slots: &mut [u64], hash: u32, place: u32) {
    let mask = slots.len() - 1;
    let mut hole = home(hash, mask);
    while slots[hole] as u32 != place + 1 {
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
}
