//! How often each key came, in little memory: what comes is sorted and added up a million at a time, into runs that are
//! joined as they become alike in length. Twelve bytes a key, where a hash table takes 20 to 40 and doubles at once, and
//! memory is walked through in order, where a table of hundreds of megabytes is missed by every cache.

/// Keys that are sorted at once.
const AT_ONCE: usize = 1 << 20;

/// Sums of whole numbers by key; in which order they came does not show.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Keys that came once each, not sorted yet.
    recent: Vec<u64>,
    /// The longest first; each is more than twice as long as the next.
    runs: Vec<Run>,
}

/// Keys in growing order, and how often each came. One that came more often than 32 bits can say stands there again.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    keys: Vec<u64>,
    counts: Vec<u32>,
}

impl Run {
    /// Of pairs in the order of keys.
    fn of(pairs: impl Iterator<Item = (u64, u32)>) -> Run {
        let mut run = Run::default();
        pairs.for_each(|(key, count)| run.push(key, count));
        run
    }

    fn push(&mut self, key: u64, count: u32) {
        if let (Some(last), Some(sum)) = (self.keys.last(), self.counts.last_mut())
            && *last == key
            && let Some(both) = sum.checked_add(count)
        {
            *sum = both;
        } else {
            self.keys.push(key);
            self.counts.push(count);
        }
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    /// In growing order of keys; one may come in several parts, one after the other.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u64, u32)> + Clone {
        self.keys.iter().copied().zip(self.counts.iter().copied())
    }

    fn joined(&self, other: &Run) -> Run {
        let most = self.len() + other.len();
        let mut run = Run { keys: Vec::with_capacity(most), counts: Vec::with_capacity(most) };
        let (mut here, mut there) = (0, 0);
        while here < self.len() && there < other.len() {
            if self.keys[here] <= other.keys[there] {
                run.push(self.keys[here], self.counts[here]);
                here += 1;
            } else {
                run.push(other.keys[there], other.counts[there]);
                there += 1;
            }
        }
        let rest = self.pairs().skip(here).chain(other.pairs().skip(there));
        rest.for_each(|(key, count)| run.push(key, count));
        // Pages that were never written to cost nothing; what was, and is not needed, is given back.
        if run.len() < most / 4 * 3 {
            run.keys.shrink_to_fit();
            run.counts.shrink_to_fit();
        }
        run
    }
}

impl Counts {
    /// Counts a key once.
    pub(super) fn add(&mut self, key: u64) {
        self.recent.push(key);
        if self.recent.len() == AT_ONCE {
            self.settle();
        }
    }

    /// Adds what others counted.
    pub(super) fn extend(&mut self, pairs: impl Iterator<Item = (u64, u32)>) {
        let mut some: Vec<(u64, u32)> = Vec::new();
        let mut pairs = pairs.peekable();
        while pairs.peek().is_some() {
            some.extend(pairs.by_ref().take(AT_ONCE));
            some.sort_unstable_by_key(|(key, _)| *key);
            self.push(Run::of(some.drain(..)));
        }
    }

    /// The same under other keys; what had different ones may have one now.
    pub(super) fn map(mut self, key: impl Fn(u64) -> u64) -> Counts {
        self.settle();
        let mut mapped = Counts::default();
        for run in self.runs {
            mapped.extend(run.pairs().map(|(before, count)| (key(before), count)));
        }
        mapped
    }

    /// All of them.
    pub(super) fn finish(mut self) -> Run {
        self.settle();
        while let [.., before, last] = self.runs.as_slice() {
            let joined = before.joined(last);
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push(joined);
        }
        self.runs.pop().unwrap_or_default()
    }

    fn settle(&mut self) {
        self.recent.sort_unstable();
        let run = Run::of(self.recent.iter().map(|key| (*key, 1)));
        self.recent.clear();
        self.push(run);
    }

    fn push(&mut self, run: Run) {
        if run.len() > 0 {
            self.runs.push(run);
        }
        while let [.., before, last] = self.runs.as_slice()
            && before.len() <= 2 * last.len()
        {
            let joined = before.joined(last);
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push(joined);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn summed(pairs: impl Iterator<Item = (u64, u32)>) -> BTreeMap<u64, u64> {
        let mut sums = BTreeMap::new();
        pairs.for_each(|(key, count)| *sums.entry(key).or_default() += u64::from(count));
        sums
    }

    proptest! {
        #[test]
        fn sums_are_those_of_a_map_in_order_and_hardly_more_than_the_keys(
            parts in prop::collection::vec((prop::collection::vec(0u64..300, 0..200), 0u32..4), 0..20)
        ) {
            let (mut counts, mut all) = (Counts::default(), Vec::new());
            for (keys, weight) in &parts {
                if *weight == 0 {
                    keys.iter().for_each(|key| counts.add(*key));
                    counts.settle();
                }
                let weight = (*weight).max(1);
                if weight > 1 {
                    counts.extend(keys.iter().map(|key| (*key, weight)));
                } else if parts.len() % 2 == 0 {
                    keys.iter().for_each(|key| counts.add(*key));
                } else {
                    counts.extend(keys.iter().map(|key| (*key, 1)));
                }
                all.extend(keys.iter().map(|key| (*key, weight)));
            }
            let twice = parts.iter().filter(|(_, weight)| *weight == 0);
            all.extend(twice.flat_map(|(keys, _)| keys.iter().map(|key| (*key, 1))));
            let halved = summed(counts.clone().map(|key| key / 2).finish().pairs());
            prop_assert_eq!(&halved, &summed(all.iter().map(|(key, count)| (key / 2, *count))));
            let sorted: Vec<(u64, u32)> = counts.finish().pairs().collect();
            prop_assert!(sorted.is_sorted_by(|before, after| before.0 < after.0));
            prop_assert_eq!(summed(sorted.into_iter()), summed(all.into_iter()));
        }
    }

    #[test]
    fn runs_stay_few() {
        let mut counts = Counts::default();
        for key in 0..1000 {
            counts.extend([(key * 7919 % 1009, 1)].into_iter());
            assert!(counts.runs.len() <= 10, "{}", counts.runs.len());
        }
    }

    #[test]
    fn what_32_bits_cannot_say_stands_in_parts() {
        let mut counts = Counts::default();
        counts.extend([(5, u32::MAX), (5, u32::MAX), (4, 1), (5, 2)].into_iter());
        counts.extend([(5, u32::MAX)].into_iter());
        let sums = summed(counts.finish().pairs());
        assert_eq!(sums, BTreeMap::from([(4, 1), (5, 3 * u64::from(u32::MAX) + 2)]));
    }
}
