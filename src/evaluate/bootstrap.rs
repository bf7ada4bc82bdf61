//! How far a mean recall would move with other attacks: the bootstrap over events.
//!
//! Rows of one event are alike, so events are drawn, not rows (a cluster bootstrap: Efron, Tibshirani, "An
//! Introduction to the Bootstrap", 1993, percentile interval). What it says nothing about is other benign
//! traffic: thresholds stay where they are.

use crate::detect::random::SplitMix64;

/// Draws.
const DRAWS: usize = 1000;
/// Percentiles of the interval, in thousandths: 95 %.
const PERCENTILES: [usize; 2] = [25, 975];

/// What was found of one event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Its family.
    pub(super) family: usize,
    /// Its rows.
    pub(super) rows: u64,
    /// Those found.
    pub(super) hits: u64,
}

/// Recall of each family (found rows of its events by all of them), averaged over the families that have rows.
pub(super) fn macro_recall(events: impl Iterator<Item = Found>, sums: &mut Vec<[u64; 2]>) -> Option<f64> {
    sums.iter_mut().for_each(|sum| *sum = [0; 2]);
    for event in events {
        if sums.len() <= event.family {
            sums.resize(event.family + 1, [0; 2]);
        }
        sums[event.family][0] += event.hits;
        sums[event.family][1] += event.rows;
    }
    let (mut recalls, mut families) = (0.0, 0_u64);
    for [hits, rows] in sums.iter().filter(|sum| sum[1] > 0) {
        recalls += *hits as f64 / *rows as f64;
        families += 1;
    }
    (families > 0).then(|| recalls / families as f64)
}

/// The 95 % interval of [`macro_recall`]; none for fewer than two events with rows.
pub(super) fn interval(events: &[Found], seed: u64) -> Option<[f64; 2]> {
    let events: Vec<Found> = events.iter().copied().filter(|event| event.rows > 0).collect();
    let mut sums = Vec::new();
    percentiles(events.len(), seed, |drawn| macro_recall(drawn.iter().map(|at| events[*at]), &mut sums))
}

/// The 95 % interval of how much larger the mean recall of one detector is than that of another, on the same
/// draws of events; of events that both have rows of. What is common to both (which events are hard) cancels.
pub(super) fn difference(one: &[Found], other: &[Found], seed: u64) -> Option<[f64; 2]> {
    let pairs = one.iter().copied().zip(other.iter().copied());
    let (one, other): (Vec<Found>, Vec<Found>) = pairs.filter(|(a, b)| a.rows > 0 && b.rows > 0).unzip();
    let mut sums = Vec::new();
    percentiles(one.len(), seed, |drawn| {
        let mean = macro_recall(drawn.iter().map(|at| one[*at]), &mut sums)?;
        Some(mean - macro_recall(drawn.iter().map(|at| other[*at]), &mut sums)?)
    })
}

/// The interval of a statistic over draws of `count` events by their places, with replacement. The same seed and
/// count give the same draws.
fn percentiles(
    count: usize,
    seed: u64,
    mut statistic: impl FnMut(&[usize]) -> Option<f64>,
) -> Option<[f64; 2]> {
    if count < 2 {
        return None;
    }
    let mut random = SplitMix64::new(seed);
    let mut places = vec![0; count];
    let mut drawn = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        places.iter_mut().for_each(|place| *place = random.below(count));
        drawn.extend(statistic(&places));
    }
    drawn.sort_unstable_by(f64::total_cmp);
    let at = |thousandths: usize| {
        drawn.get((drawn.len() * thousandths / 1000).min(drawn.len().max(1) - 1)).copied()
    };
    let [low, high] = PERCENTILES.map(at);
    Some([low?, high?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: u64, families: u64) -> Vec<Found> {
        let mut random = SplitMix64::new(count);
        (0..count)
            .map(|at| {
                let rows = 1 + random.below(50) as u64;
                let hits = random.below(rows as usize + 1) as u64;
                Found { family: (at % families) as usize, rows, hits }
            })
            .collect()
    }

    #[test]
    fn the_mean_is_over_families_not_rows() {
        let found = [
            Found { family: 0, rows: 1000, hits: 1000 },
            Found { family: 1, rows: 3, hits: 0 },
            Found { family: 1, rows: 1, hits: 1 },
            Found { family: 2, rows: 0, hits: 0 },
        ];
        assert_eq!(macro_recall(found.into_iter(), &mut Vec::new()), Some((1.0 + 0.25) / 2.0));
        assert_eq!(macro_recall(std::iter::empty(), &mut vec![[1, 1]]), None);
    }

    #[test]
    fn intervals_contain_the_estimate_and_shrink_with_more_events() {
        let width = |count| {
            let events = events(count, 5);
            let mean = macro_recall(events.iter().copied(), &mut Vec::new()).unwrap();
            let [low, high] = interval(&events, 7).unwrap();
            assert!(low <= mean && mean <= high, "{low} {mean} {high} of {count} events");
            high - low
        };
        assert!(width(20) > width(200) && width(200) > width(2000));
    }

    #[test]
    fn a_detector_differs_from_itself_by_nothing_and_from_a_worse_one_by_more() {
        let good = events(40, 8);
        assert_eq!(difference(&good, &good, 5), Some([0.0, 0.0]));
        let worse: Vec<Found> = good.iter().map(|one| Found { hits: one.hits / 2, ..*one }).collect();
        let [low, high] = difference(&good, &worse, 5).unwrap();
        assert!(0.0 < low && low < high);
        assert_eq!(difference(&worse, &good, 5).unwrap().map(|end| end < 0.0), [true; 2]);
        assert_eq!(difference(&good[..1], &good[..1], 5), None);
    }

    #[test]
    fn a_seed_means_the_same_interval_and_one_event_has_none() {
        let many = events(30, 30);
        assert_eq!(interval(&many, 3), interval(&many, 3));
        assert_ne!(interval(&many, 3), interval(&many, 4));
        assert_eq!(interval(&many[..1], 3), None);
        let all = [Found { family: 0, rows: 5, hits: 5 }, Found { family: 1, rows: 2, hits: 2 }];
        assert_eq!(interval(&all, 1), Some([1.0, 1.0]));
    }
}
