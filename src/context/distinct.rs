//! Distinct counts over a sliding horizon: exact up to [`EXACT`] elements, estimated beyond.
//!
//! Elements are 64-bit hashes. A set of at most [`EXACT`] elements is counted; a larger one is estimated by
//! HyperLogLog with 2^11 registers (Flajolet et al. 2007; the estimator is that of Ertl, "New cardinality
//! estimation algorithms for HyperLogLog sketches", 2017, algorithm 6, which needs no tables of bias). So the
//! result is a function of the set alone, however it was put together.
//!
//! To slide, an element is remembered by the window that it was last seen in, and a register by those
//! (window, rank) that can still be its largest rank: a later one with the same or a larger rank takes the
//! place of an earlier one (Chabchoub, Hébrail, "Sliding HyperLogLog", 2010). Elements are remembered one by
//! one as far back as there are at most [`EXACT`] of them, registers only while a horizon can hold more.

use smallvec::SmallVec;

/// Sets up to this size are counted exactly.
pub const EXACT: usize = 64;

const PRECISION: u32 = 11;
const REGISTERS: usize = 1 << PRECISION;
/// Bits of a hash behind those that name the register: ranks are 1 to `RANK_BITS + 1`.
const RANK_BITS: usize = 64 - PRECISION as usize;

/// Windows after which ranks that are too old for any horizon are taken out.
const PRUNE: u64 = 30;

/// Standard error of estimates, relative: 1.04 / sqrt(2048).
pub const STANDARD_ERROR: f64 = 0.023;

/// Register and rank of an element: `register << 6 | rank`.
fn code(hash: u64) -> u64 {
    let register = hash >> RANK_BITS;
    let rank = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() + 1;
    register << 6 | u64::from(rank)
}

/// What a window adds to a set, as it crosses workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elements<'a> {
    /// At most [`EXACT`] hashes, ascending, each once.
    Each(&'a [u64]),
    /// The registers of more than that, as [`code`]s, ascending, each register once.
    Registers(&'a [u64]),
}

/// Brings hashes into the form of [`Elements`]; whether they became registers.
pub(super) fn summarise(hashes: &mut Vec<u64>) -> bool {
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.len() <= EXACT {
        return false;
    }
    hashes.iter_mut().for_each(|hash| *hash = code(*hash));
    largest_ranks(hashes);
    true
}

/// How many different hashes there are, counted and estimated as a [`Distinct`] of one window does. What they are
/// afterwards is left open.
pub(super) fn count(hashes: &mut Vec<u64>) -> u32 {
    if !summarise(hashes) {
        return hashes.len() as u32;
    }
    let mut histogram = [0; RANK_BITS + 2];
    hashes.iter().for_each(|code| histogram[(code & 63) as usize] += 1);
    histogram[0] = (REGISTERS - hashes.len()) as u32;
    estimate(&histogram)
}

/// Sorts codes and keeps the largest rank of each register.
fn largest_ranks(codes: &mut Vec<u64>) {
    codes.sort_unstable_by(|a, b| b.cmp(a));
    codes.dedup_by_key(|code| *code >> 6);
    codes.reverse();
}

/// An element and the window that it was last seen in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    hash: u64,
    window: u64,
}

/// The elements of an entity over a horizon of at most 30 windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Distinct {
    /// Elements last seen after the window of `beyond`, by hash: at most [`EXACT`]. Most sets have one.
    recent: SmallVec<[Seen; 1]>,
    /// Where there were more.
    beyond: Option<Box<Beyond>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Beyond {
    /// The last window that more than [`EXACT`] elements were seen in, or after it. Those that were seen
    /// later still are few, and never fewer again: a count from here on back is above [`EXACT`] for ever.
    window: u64,
    /// By register, newest first; ranks of a register grow with age.
    registers: Vec<Rank>,
    /// The window in which ranks older than the horizon were last taken out.
    pruned: u64,
    /// The counts by horizon of a window: workers ask for the same one after the other.
    counted: Option<(u64, [u32; 3])>,
}

/// A rank that a register had, packed: register (from bit 16), rank (bits 8 to 13), window (lowest 8 bits).
/// Ranks live for at most thrice 30 windows, so 8 bits of the window tell their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rank(u32);

impl Rank {
    fn new(code: u64, window: u64) -> Rank {
        Rank(((code >> 6) as u32) << 16 | (code as u32 & 63) << 8 | (window as u32 & 255))
    }

    fn register(self) -> u32 {
        self.0 >> 16
    }

    fn rank(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Age in windows.
    fn age(self, window: u64) -> u64 {
        u64::from((window as u8).wrapping_sub(self.0 as u8))
    }
}

impl Distinct {
    /// Adds what was seen in `window`, and forgets what is `horizon` windows old. Windows do not go back;
    /// additions of one window may come in any order and any grouping.
    pub(super) fn add(&mut self, window: u64, elements: Elements<'_>, horizon: u64) {
        // Most sets have one element for ever.
        if let (Elements::Each([hash]), [seen], None) = (elements, &mut self.recent[..], &self.beyond)
            && seen.hash == *hash
        {
            seen.window = window;
            return;
        }
        self.forget(window, horizon);
        match elements {
            Elements::Each(hashes) => {
                if let Some(beyond) = &mut self.beyond {
                    let mut codes: Vec<u64> = hashes.iter().map(|hash| code(*hash)).collect();
                    largest_ranks(&mut codes);
                    beyond.add(window, &codes, horizon);
                    if beyond.window >= window {
                        return;
                    }
                }
                self.see(window, hashes);
                if self.recent.len() > EXACT {
                    self.overflow(window);
                }
            }
            Elements::Registers(codes) => {
                self.overflow(window);
                if let Some(beyond) = &mut self.beyond {
                    beyond.window = window;
                    beyond.add(window, codes, horizon);
                }
                self.recent.clear();
            }
        }
    }

    fn forget(&mut self, window: u64, horizon: u64) {
        self.recent.retain(|seen| window.saturating_sub(seen.window) < horizon);
        if self.beyond.as_ref().is_some_and(|beyond| window.saturating_sub(beyond.window) >= horizon) {
            self.beyond = None;
        }
    }

    /// Merges ascending hashes into the recent elements, which are few.
    fn see(&mut self, window: u64, hashes: &[u64]) {
        if self.recent.is_empty() {
            self.recent = hashes.iter().map(|hash| Seen { hash: *hash, window }).collect();
            return;
        }
        let mut at = 0;
        for hash in hashes {
            at += self.recent[at..].partition_point(|seen| seen.hash < *hash);
            match self.recent.get_mut(at) {
                Some(seen) if seen.hash == *hash => seen.window = window,
                _ => self.recent.insert(at, Seen { hash: *hash, window }),
            }
        }
    }

    /// Puts recent elements into registers, and forgets one by one the older ones that are too many.
    fn overflow(&mut self, window: u64) {
        let beyond = self.beyond.get_or_insert_with(|| {
            // Elements that `beyond` did not know yet are all of the recent ones.
            let registers = registers(&self.recent, window);
            Box::new(Beyond { window: 0, registers, pruned: window, counted: None })
        });
        let mut windows: Vec<u64> = self.recent.iter().map(|seen| seen.window).collect();
        windows.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(last) = windows.get(EXACT) {
            beyond.window = *last;
            let last = *last;
            self.recent.retain(|seen| seen.window > last);
        }
    }

    /// Reads what an addition and a count begin with.
    pub(super) fn peek(&self) -> u64 {
        self.recent.first().map_or(0, |seen| seen.hash)
            ^ self.beyond.as_ref().map_or(0, |beyond| beyond.window)
    }

    /// The number of elements seen in each of the `horizons` that end with `window`, which is the newest;
    /// a horizon of no window has none.
    pub(super) fn counts(&mut self, window: u64, horizons: &[u64; 3]) -> [u32; 3] {
        let mut counts = [0; 3];
        for (count, horizon) in counts.iter_mut().zip(horizons) {
            let within = self.recent.iter().filter(|seen| window.saturating_sub(seen.window) < *horizon);
            *count = within.count() as u32;
        }
        if let Some(beyond) = &mut self.beyond {
            let age = window.saturating_sub(beyond.window);
            if horizons.iter().any(|horizon| age < *horizon) {
                let estimates = beyond.counts(window, horizons);
                for ((count, horizon), estimate) in counts.iter_mut().zip(horizons).zip(estimates) {
                    if age < *horizon {
                        *count = estimate;
                    }
                }
            }
        }
        counts
    }
}

/// The registers of elements, by register, newest first, without ranks that cannot be the largest again.
fn registers(elements: &[Seen], window: u64) -> Vec<Rank> {
    let mut ranks: Vec<Rank> = elements.iter().map(|seen| Rank::new(code(seen.hash), seen.window)).collect();
    ranks.sort_unstable_by_key(|rank| (rank.register(), rank.age(window), u8::MAX - rank.rank()));
    ranks.dedup_by(|older, newer| older.register() == newer.register() && older.rank() <= newer.rank());
    ranks
}

/// How many ranks are of lower registers, found in steps that double: the next register is often near.
fn lower(ranks: &[Rank], register: u32) -> usize {
    let (mut from, mut step) = (0, 1);
    while ranks.get(from + step - 1).is_some_and(|rank| rank.register() < register) {
        from += step;
        step *= 2;
    }
    let to = (from + step).min(ranks.len());
    from + ranks[from..to].partition_point(|rank| rank.register() < register)
}

impl Beyond {
    /// Merges ascending codes of `window`. What lies between their registers is copied as it is, so a few
    /// codes cost little however many registers there are.
    fn add(&mut self, window: u64, codes: &[u64], horizon: u64) {
        self.counted = None;
        if window.saturating_sub(self.pruned) >= PRUNE {
            self.registers.retain(|rank| rank.age(window) < horizon);
            self.pruned = window;
        }
        let mut merged = Vec::with_capacity(self.registers.len() + codes.len());
        let mut old = &self.registers[..];
        for code in codes {
            let new = Rank::new(*code, window);
            let (before, rest) = old.split_at(lower(old, new.register()));
            merged.extend_from_slice(before);
            // A rank of this very window, from another worker, may be the larger one.
            let larger = |rank: &Rank| rank.age(window) == 0 && rank.rank() >= new.rank();
            let own = |rank: &&Rank| rank.register() == new.register();
            if rest.first().filter(own).is_some_and(larger) {
                old = rest;
                continue;
            }
            merged.push(new);
            let smaller = rest.iter().take_while(|rank| own(rank) && rank.rank() <= new.rank()).count();
            old = &rest[smaller..];
        }
        merged.extend_from_slice(old);
        self.registers = merged;
    }

    fn counts(&mut self, window: u64, horizons: &[u64; 3]) -> [u32; 3] {
        if let Some((counted, counts)) = self.counted
            && counted == window
        {
            return counts;
        }
        let mut histograms = [[0u32; RANK_BITS + 2]; 3];
        let mut used = 0;
        let mut at = 0;
        while let Some(first) = self.registers.get(at) {
            let mut largest = [0u8; 3];
            // Ranks grow with age: the oldest one inside a horizon is the largest.
            while let Some(rank) = self.registers.get(at).filter(|rank| rank.register() == first.register()) {
                let age = rank.age(window);
                for (largest, horizon) in largest.iter_mut().zip(horizons) {
                    *largest = if age < *horizon { rank.rank() } else { *largest };
                }
                at += 1;
            }
            for (histogram, largest) in histograms.iter_mut().zip(largest) {
                histogram[usize::from(largest)] += 1;
            }
            used += 1;
        }
        let mut counts = [0; 3];
        for (count, histogram) in counts.iter_mut().zip(&mut histograms) {
            histogram[0] += REGISTERS as u32 - used;
            *count = estimate(histogram);
        }
        self.counted = Some((window, counts));
        counts
    }
}

/// Ertl's estimate from the number of registers by rank; more than [`EXACT`], as is known of these sets.
fn estimate(histogram: &[u32; RANK_BITS + 2]) -> u32 {
    let m = REGISTERS as f64;
    let mut z = m * tau(1.0 - f64::from(histogram[RANK_BITS + 1]) / m);
    for count in histogram[1..=RANK_BITS].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    let estimate = m * m / (2.0 * std::f64::consts::LN_2 * z);
    // The cast saturates.
    (estimate.round() as u32).max(EXACT as u32 + 1)
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::context::HORIZONS;
    use crate::context::entity::mix;

    /// What [`Distinct`] must count: the last window of each element, and one summary of those in a horizon.
    #[derive(Default)]
    struct Naive {
        last: BTreeMap<u64, u64>,
    }

    impl Naive {
        fn counts(&self, window: u64) -> [u32; 3] {
            HORIZONS.map(|horizon| {
                let within = self.last.iter().filter(|(_, last)| window - **last < horizon);
                let mut hashes: Vec<u64> = within.map(|(hash, _)| *hash).collect();
                count(&mut hashes)
            })
        }
    }

    fn add(set: &mut Distinct, window: u64, hashes: &[u64]) {
        let mut hashes = hashes.to_vec();
        match summarise(&mut hashes) {
            true => set.add(window, Elements::Registers(&hashes), 30),
            false => set.add(window, Elements::Each(&hashes), 30),
        }
    }

    /// Elements of windows: gap to the window before, and from where to where.
    fn windows() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
        let size = prop_oneof![4 => 1..20u64, 3 => 30..110u64, 1 => 100..3_000u64];
        let gap = prop_oneof![6 => 1..3u64, 2 => 3..12u64, 1 => 20..70u64];
        prop::collection::vec((gap, 0..300u64, size), 1..40)
    }

    proptest! {
        #[test]
        fn any_grouping_of_a_window_counts_as_one_pass_over_the_horizon(
            windows in windows(), parts in 1..5usize, first in 0..1_000_000u64,
        ) {
            let (mut set, mut naive, mut window) = (Distinct::default(), Naive::default(), first);
            for (gap, from, count) in windows {
                window += gap;
                let hashes: Vec<u64> = (from..from + count).map(mix).collect();
                // Parts overlap, and the last one comes first.
                let part = hashes.len().div_ceil(parts);
                for start in (0..hashes.len()).step_by(part).rev() {
                    add(&mut set, window, &hashes[start..(start + part + part / 3).min(hashes.len())]);
                }
                naive.last.extend(hashes.iter().map(|hash| (*hash, window)));
                prop_assert_eq!(set.counts(window, &HORIZONS), naive.counts(window));
            }
        }

        #[test]
        fn the_order_of_additions_in_a_window_does_not_show(
            sets in prop::collection::vec(prop::collection::vec(0..200u64, 1..100), 2..6),
            before in prop::collection::vec(0..200u64, 0..150),
        ) {
            let mut there = Distinct::default();
            add(&mut there, 5, &before.iter().map(|n| mix(*n)).collect::<Vec<_>>());
            let mut back = there.clone();
            let sets: Vec<Vec<u64>> =
                sets.iter().map(|set| set.iter().map(|n| mix(*n)).collect()).collect();
            sets.iter().for_each(|set| add(&mut there, 9, set));
            sets.iter().rev().for_each(|set| add(&mut back, 9, set));
            prop_assert_eq!(there, back);
        }

        #[test]
        fn any_hash_has_a_register_and_a_rank(hash: u64) {
            for hash in [hash, 0, u64::MAX, hash & 0xFF, hash << 50] {
                let code = code(hash);
                prop_assert!((code >> 6) < REGISTERS as u64);
                prop_assert!((1..=RANK_BITS as u64 + 1).contains(&(code & 63)));
                let rank = Rank::new(code, hash);
                prop_assert_eq!(u64::from(rank.register()) << 6 | u64::from(rank.rank()), code);
                prop_assert_eq!(rank.age(hash.wrapping_add(59)), 59);
            }
        }
    }

    #[test]
    fn estimates_stay_within_the_announced_error() {
        for size in [65u64, 100, 300, 1_000, 3_000, 10_000, 100_000] {
            let runs = 40;
            let errors = (0..runs).map(|run| {
                let mut hashes: Vec<u64> = (0..size).map(|n| mix(run << 40 | n)).collect();
                f64::from(count(&mut hashes)) / size as f64 - 1.0
            });
            let errors: Vec<f64> = errors.collect();
            let mean = errors.iter().sum::<f64>() / runs as f64;
            let square = errors.iter().map(|error| error * error).sum::<f64>() / runs as f64;
            // Forty runs tell the error to about a ninth of it, and the bias to a sixth.
            assert!(square.sqrt() < 1.4 * STANDARD_ERROR, "{size}: {}", square.sqrt());
            assert!(mean.abs() < 0.6 * STANDARD_ERROR, "{size}: {mean}");
        }
    }

    #[test]
    fn a_set_that_calmed_down_is_counted_exactly_again_and_holds_no_registers() {
        let mut set = Distinct::default();
        add(&mut set, 0, &(0..500).map(mix).collect::<Vec<_>>());
        add(&mut set, 3, &(0..10).map(mix).collect::<Vec<_>>());
        let [one, six, thirty] = set.counts(3, &HORIZONS);
        assert_eq!(one, 10);
        assert!((450..550).contains(&six) && six == thirty);
        add(&mut set, 6, &[mix(600)]);
        assert_eq!(set.counts(6, &HORIZONS)[..2], [1, 11]);
        add(&mut set, 30, &[mix(601)]);
        assert_eq!(set.counts(30, &HORIZONS), [1, 1, 12]);
        assert!(set.beyond.is_none());
    }

    #[test]
    fn what_is_remembered_stays_bounded_however_long_it_goes_on() {
        let mut set = Distinct::default();
        for window in 0..200u64 {
            add(&mut set, window, &(0..2_000).map(|n| mix(window << 32 | n)).collect::<Vec<_>>());
        }
        // Of 30 windows a register keeps the records: 1 + 1/2 + ... + 1/30 = 4 if ranks had no ties.
        let kept = set.beyond.unwrap().registers.len();
        assert!(kept < 5 * REGISTERS, "{kept}");
        assert!(set.recent.is_empty());
    }
}
