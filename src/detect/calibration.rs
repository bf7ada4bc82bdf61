//! Values to tail probabilities among the calibration rows.

use super::DetectError;

/// Ranks up to here are kept one by one, further ones at distances of one part in so many.
const EXACT: f64 = 1024.0;

/// How many calibration values are as large as some value, or larger. Equal values are one step; beyond the
/// [`EXACT`] largest, steps are left out so that a rank is right to one part in [`EXACT`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Steps {
    /// In growing order.
    pub(super) values: Vec<f64>,
    /// Calibration values that are as large as the one at the same place, or larger.
    pub(super) reached: Vec<f64>,
    /// Each value with -ln of the tail at its place, and that beyond the last: who finds the one has the other near.
    tails: Vec<[f64; 2]>,
    /// The largest value, 0 if there is none.
    largest: f64,
    /// Where to look for a value: how many of `values` lie in lower [`cell`]s than each.
    guide: Vec<u32>,
    /// [`Steps::rank`] of 0, the most frequent value of many columns.
    at_zero: f64,
}

impl Steps {
    /// Of the values of the calibration rows, which it sorts.
    pub(super) fn of(values: &mut [f64]) -> Steps {
        values.sort_unstable_by(f64::total_cmp);
        let mut at = values.len();
        let downwards = std::iter::from_fn(|| {
            // The first place of the next smaller value.
            let value = *values[..at].last()?;
            at = values[..at].partition_point(|other| *other < value);
            Some((value, (values.len() - at) as f64))
        });
        Steps::downwards(downwards)
    }

    /// Of values that stand for different numbers of rows; together they count as many as they are.
    pub(super) fn weighted(values: &mut [(f64, u128)]) -> Steps {
        values.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let total: u128 = values.iter().map(|(_, weight)| weight).sum();
        let (count, mut sum) = (values.len() as u128, 0u128);
        let downwards = values.chunk_by(|a, b| a.0 == b.0).map(|same| {
            sum += same.iter().map(|(_, weight)| weight).sum::<u128>();
            // Whole where it is a whole number: equal weights count as one each.
            let (whole, rest) = (sum * count / total, sum * count % total);
            (same[0].0, whole as f64 + rest as f64 / total as f64)
        });
        Steps::downwards(downwards)
    }

    fn downwards(steps: impl Iterator<Item = (f64, f64)>) -> Steps {
        let (mut kept, mut reached) = (Vec::new(), Vec::new());
        let (mut last, mut least) = (0.0, None);
        for (value, count) in steps {
            least = (count - last < 1.0 + last / EXACT).then_some((value, count));
            if count <= EXACT || least.is_none() {
                (last, least) = (count, None);
                kept.push(value);
                reached.push(count);
            }
        }
        if let Some((value, count)) = least {
            kept.push(value);
            reached.push(count);
        }
        kept.reverse();
        reached.reverse();
        Steps::from_parts(kept, reached)
    }

    pub(super) fn from_parts(values: Vec<f64>, reached: Vec<f64>) -> Steps {
        let all = reached.first().copied().unwrap_or(0.0);
        let tails = values.iter().copied().chain([f64::INFINITY]).zip(reached.iter().copied().chain([0.0]));
        let tails = tails.map(|(value, count)| [value, tail(count, all)]).collect();
        let largest = values.last().copied().unwrap_or(0.0);
        let mut guide = vec![0; values.iter().map(|value| cell(*value) + 2).max().unwrap_or(0)];
        values.iter().for_each(|value| guide[cell(*value) + 1] += 1);
        (1..guide.len()).for_each(|at| guide[at] += guide[at - 1]);
        let mut steps = Steps { values, reached, tails, largest, guide, at_zero: 0.0 };
        steps.at_zero = steps.rank(0.0);
        steps
    }

    /// Calibration values.
    pub(super) fn all(&self) -> f64 {
        self.reached.first().copied().unwrap_or(0.0)
    }

    /// -ln((calibration values >= x + 1) / (calibration values + 1)).
    #[inline]
    pub(super) fn nats(&self, x: f64) -> f64 {
        self.tails[self.place(x)][1]
    }

    /// How many of the values are smaller.
    #[inline]
    fn place(&self, x: f64) -> usize {
        let cell = cell(x);
        let (from, to) = match self.guide.get(cell..cell + 2) {
            Some(bounds) => (bounds[0] as usize, bounds[1] as usize),
            None => return self.values.len(),
        };
        from + self.tails[from..to].partition_point(|[value, _]| *value < x)
    }

    /// The same, and what lies beyond the largest calibration value.
    #[inline]
    pub(super) fn rank(&self, x: f64) -> f64 {
        self.nats(x) + (x - self.largest).max(0.0)
    }

    /// [`Steps::rank`] of 0.
    #[inline]
    pub(super) fn at_zero(&self) -> f64 {
        self.at_zero
    }

    /// The conformal p-value.
    pub(super) fn p_value(&self, x: f64) -> f64 {
        let place = self.place(x);
        (self.reached.get(place).copied().unwrap_or(0.0) + 1.0) / (self.all() + 1.0)
    }

    /// The value beyond which p-values are at most `rate`; `None` where there are too few calibration values for any
    /// to be as small.
    pub(super) fn beyond(&self, rate: f64) -> Option<f64> {
        let few = |count: f64| (count + 1.0) / (self.all() + 1.0) <= rate;
        if !few(0.0) {
            return None;
        }
        let place = self.reached.partition_point(|count| !few(*count));
        Some(if place == 0 { f64::MIN } else { self.values[place - 1] })
    }

    /// The smallest calibration value such that values up to it are at least this share of them all. Equal values are
    /// on one side, below.
    ///
    /// The share is taken less one part in 2^40, so that 0.99 of a thousand rows is 990 of them, although no binary
    /// fraction is 0.99.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let wanted = share * (1.0 - 2f64.powi(-40)) * self.all();
        let above = self.reached.iter().skip(1).copied().chain([0.0]);
        let place = above.take_while(|above| self.all() - above < wanted).count();
        self.values.get(place).or(self.values.last()).copied().unwrap_or(1.0)
    }

    /// Whether no fit can have made it.
    pub(super) fn damage(&self) -> Option<&'static str> {
        let grows = self.values.windows(2).all(|pair| pair[0] < pair[1]);
        let shrinks = self.reached.windows(2).all(|pair| pair[0] > pair[1]);
        let counts = self.reached.iter().all(|count| *count > 0.0 && count.is_finite());
        let finite = !self.values.is_empty() && self.values.iter().all(|value| value.is_finite());
        match grows && shrinks && counts && finite {
            true => None,
            false => Some("steps are out of order"),
        }
    }
}

/// A stretch of numbers: 32 in an octave from 2^-30 to 2^16, one for all below, one for all beyond. Larger numbers are in
/// no lower cell.
#[inline]
fn cell(x: f64) -> usize {
    const SHIFT: u32 = 52 - 5;
    const LEAST: i64 = (1023 - 30) << 5;
    const MOST: i64 = 46 << 5;
    // As an integer, the bits of a positive number grow with it; those of a negative one are negative.
    ((x.to_bits() as i64 >> SHIFT) - LEAST).clamp(0, MOST) as usize
}

fn tail(count: f64, all: f64) -> f64 {
    // No row has a score of minus zero.
    0.0 - libm::log((count + 1.0) / (all + 1.0))
}

/// Share of calibration values below the exponential continuation: a tenth of them, some hundreds even after ten
/// minutes of training, say how the tail falls.
const BODY: f64 = 0.9;

/// Calibration values beyond the body at most, where a p-value is claimed. So many tell the fall of a tail well, and the
/// largest tell it best: sums of evidence fall faster far out than where a tenth of all values are. So the continuation
/// begins further out the more values there are.
const BEYOND_BODY: f64 = 200.0;

/// How much of one calibration row a share may be that the continuation is trusted with.
const BEYOND: f64 = 0.01;

/// How many values of a mean excess of 1 the continuation has in mind before it sees any whose excess is less: values
/// are in nats, and nats that are what they say fall by one e-fold each. So a handful of equal values does not make a
/// greater one impossible.
const PRIOR: f64 = 5.0;

/// How many values a prediction has in mind beside those that it saw beyond the body: the fewest with which, having seen
/// none, it would have a mean and a variance.
const IN_MIND: f64 = 3.0;

/// The tail of a value among calibration values, continued as an exponential beyond most of them.
///
/// The exponential's mean is that of the values seen beyond it. [`Tail::nats`] takes it for the truth, which serves to
/// weigh evidence. [`Tail::predicted`] takes it for the mean of so many values and no more: the probability of the next
/// one under all exponentials that could have given them, a Lomax tail (Pareto of the second kind). The fewer there are the
/// slower it falls, so that p-values keep their word after minutes of training as after days.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tail {
    pub(super) steps: Steps,
    /// Where the continuation begins.
    pub(super) from: f64,
    /// Mean excess over it; where it is below 1, of [`PRIOR`] more with an excess of 1.
    pub(super) mean: f64,
    /// -ln of the share of calibration values beyond it.
    pub(super) base: f64,
    /// How many values a prediction rests on: those beyond, and [`IN_MIND`].
    worth: f64,
}

impl Tail {
    /// Of the values of the calibration rows, which it sorts; to weigh evidence.
    pub(super) fn of(values: &mut [f64]) -> Tail {
        Tail::beyond(values, BODY)
    }

    /// The same to claim p-values.
    pub(super) fn predicting(values: &mut [f64]) -> Tail {
        Tail::beyond(values, BODY.max(1.0 - BEYOND_BODY / values.len().max(1) as f64))
    }

    /// Continued beyond this share of the values.
    fn beyond(values: &mut [f64], body: f64) -> Tail {
        let steps = Steps::of(values);
        let place = (values.len().saturating_sub(1)) as f64 * body;
        let (low, part) = (place.floor() as usize, place - place.floor());
        let value = |at: usize| values.get(at).or(values.last()).copied().unwrap_or(0.0);
        let from = value(low) + (value(low + 1) - value(low)) * part;
        let beyond = &values[values.partition_point(|value| *value <= from)..];
        let sum: f64 = beyond.iter().map(|value| value - from).sum();
        let count = beyond.len() as f64;
        let mean = if sum > count { sum / count } else { (sum + PRIOR) / (count + PRIOR) };
        Tail::from_parts(steps, from, mean, tail(count, values.len() as f64))
    }

    pub(super) fn from_parts(steps: Steps, from: f64, mean: f64, base: f64) -> Tail {
        let beyond = (steps.all() + 1.0) * libm::exp(-base) - 1.0;
        let worth = beyond.clamp(0.0, steps.all()) + IN_MIND;
        Tail { steps, from, mean, base, worth }
    }

    /// The score, in nats, above which a value is as rare as this share of calibration rows. The exponential says it
    /// for less than one of them, down to a hundredth of one; for a share of 0 it is as strict as that, and no less than
    /// the score of their largest value.
    ///
    /// # Errors
    /// [`DetectError::FewRows`] beyond that.
    pub(super) fn threshold_at(&self, share: f64) -> Result<f64, DetectError> {
        let found = self.steps.all();
        if share <= 0.0 {
            let largest = self.predicted(self.steps.values.last().copied().unwrap_or(0.0));
            return Ok(largest.max(libm::log(found.max(1.0) / BEYOND)));
        }
        match (BEYOND / share).ceil() <= found {
            true => Ok(-libm::log(share)),
            false => Err(DetectError::FewRows { rate: share, least: BEYOND / found, found: found as u64 }),
        }
    }

    /// -ln of the tail probability, if the exponential is as the values say.
    #[inline]
    pub(super) fn nats(&self, x: f64) -> f64 {
        if x > self.from { self.base + (x - self.from) / self.mean } else { self.steps.nats(x) }
    }

    /// -ln of the probability that the next value is as large, given how few values say how the exponential falls.
    #[inline]
    pub(super) fn predicted(&self, x: f64) -> f64 {
        if x > self.from {
            self.base + self.worth * libm::log1p((x - self.from) / (self.mean * self.worth))
        } else {
            self.steps.nats(x)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn few_values_are_ranked_as_the_formula_says(
            mut values in proptest::collection::vec((0u8..40).prop_map(|v| f64::from(v) / 4.0), 1..200),
            x in -1.0..12.0f64,
        ) {
            let reached = values.iter().filter(|value| **value >= x).count() as f64;
            let expected = -libm::log((reached + 1.0) / (values.len() as f64 + 1.0));
            let steps = Steps::of(&mut values);
            prop_assert_eq!(steps.nats(x), expected);
            prop_assert_eq!(steps.damage(), None);
            let mut weighted: Vec<(f64, u128)> = values.iter().map(|value| (*value, 7)).collect();
            prop_assert_eq!(&Steps::weighted(&mut weighted), &steps);
            for rate in [0.5, 0.1, 0.02] {
                let Some(threshold) = steps.beyond(rate) else {
                    prop_assert!(1.0 / (values.len() as f64 + 1.0) > rate);
                    continue;
                };
                prop_assert_eq!(x > threshold, steps.p_value(x) <= rate);
            }
        }

        #[test]
        fn many_values_are_ranked_to_a_part_in_a_thousand(x in -0.1..1.1f64) {
            let mut values: Vec<f64> = (0..50_000u32).map(|n| f64::from(n * 7 % 50_000) / 50_000.0).collect();
            let reached = values.iter().filter(|value| **value >= x).count() as f64;
            let steps = Steps::of(&mut values);
            prop_assert!(steps.values.len() < 6_000);
            prop_assert!((steps.nats(x) + ((reached + 1.0) / 50_001.0).ln()).abs() < 2e-3);
        }
    }

    #[test]
    fn quantile_counts_weights_and_keeps_ties_below() {
        let quantile = |mut values: Vec<(f64, u128)>, share| Steps::weighted(&mut values).quantile(share);
        let thousand: Vec<_> = (1..=1000).map(|n| (f64::from(n), 1 << 32)).collect();
        assert_eq!(quantile(thousand.clone(), 0.99), 990.0);
        assert_eq!(quantile(thousand.clone(), 99.9 / 100.0), 999.0);
        assert_eq!(quantile(thousand, 1.0), 1000.0);
        assert_eq!(quantile(vec![(1.0, 90), (2.0, 5), (3.0, 5)], 0.9), 1.0);
        assert_eq!(quantile(vec![(3.0, 5), (1.0, 90), (2.0, 5)], 0.91), 2.0);
        assert_eq!(quantile(vec![(2.0, 1), (2.0, 1), (2.0, 1)], 0.5), 2.0);
    }

    #[test]
    fn beyond_the_body_the_tail_is_an_exponential_that_begins_where_the_steps_end() {
        let mut values: Vec<f64> = (1..=1000).map(|n| -f64::from(n).ln()).collect();
        let tail = Tail::of(&mut values);
        let at = tail.nats(tail.from);
        assert!((at + (0.1f64).ln()).abs() < 0.06, "{at}");
        assert!((tail.nats(tail.from + 1e-9) - at).abs() < 0.06);
        assert!((tail.nats(tail.from + tail.mean) - tail.base - 1.0).abs() < 1e-12);
        assert_eq!(tail.threshold_at(1e-3).unwrap(), 1000f64.ln());
        assert!(tail.threshold_at(1e-5).is_ok());
        let error = tail.threshold_at(9e-6).unwrap_err().to_string();
        assert!(error.contains("its 1000 calibration rows say 1.1e-5 at least"), "{error}");
        let largest = tail.threshold_at(0.0).unwrap();
        assert!(values.iter().all(|value| tail.predicted(*value) <= largest));
        assert!(
            largest >= tail.threshold_at(1e-5).unwrap(),
            "no share that can be told is stricter than none"
        );
    }

    /// Exponential values of this mean, the same everywhere.
    fn drawn(mean: f64, count: u64, draw: u64) -> Vec<f64> {
        let uniform = |at: u64| {
            let bits = crate::context::entity::mix(crate::context::entity::mix(draw) ^ at);
            ((bits >> 11) as f64 + 0.5) / 2f64.powi(53)
        };
        (0..count).map(|at| -mean * uniform(at).ln()).collect()
    }

    /// How many of a thousand further values pass a p-value of 1e-3, on average over trainings with so many
    /// calibration values: as predicted, and by the exponential alone.
    fn passed(mean: f64, count: u64) -> [f64; 2] {
        let mut sums = [0.0; 2];
        for draw in 0..1000 {
            let tail = Tail::predicting(&mut drawn(mean, count, draw));
            let wanted = 1000f64.ln() - tail.base;
            let predicted = tail.from + tail.mean * tail.worth * (wanted / tail.worth).exp_m1();
            assert!((tail.predicted(predicted) - 1000f64.ln()).abs() < 1e-9);
            let exponential = tail.from + tail.mean * wanted;
            for (sum, x) in sums.iter_mut().zip([predicted, exponential]) {
                *sum += (-x / mean).exp();
            }
        }
        sums
    }

    #[test]
    fn p_values_keep_their_word_however_few_calibration_values_there_are() {
        // Nats of networks fall by an e-fold every 1 to 2.
        for mean in [1.0, 1.5, 2.0] {
            for count in [10, 20, 40, 80, 300, 3000] {
                let [predicted, _] = passed(mean, count);
                assert!(predicted < 1.5, "{predicted} of a thousand, mean {mean}, {count} values");
            }
        }
        let [few, alone] = passed(2.0, 10);
        assert!(alone > 5.0 * few, "{alone} by the exponential alone, {few} as predicted");
        let [many, alone] = passed(2.0, 3000);
        assert!((many / alone - 1.0).abs() < 0.1, "{many} {alone}");
    }

    #[test]
    fn the_continuation_begins_further_out_the_more_values_there_are() {
        // Weibull values, whose tail falls the faster the further out, and the one that a thousandth exceeds.
        let light = |count, draw| -> Vec<f64> {
            drawn(1.0, count, draw).iter().map(|exponential| exponential.powf(2.0 / 3.0)).collect()
        };
        let rare = 1000f64.ln().powf(2.0 / 3.0);
        let [few, many] = [1000, 20_000].map(|count| {
            let tails: Vec<Tail> = (0..20).map(|draw| Tail::predicting(&mut light(count, draw))).collect();
            let share = if count == 1000 { 10f64 } else { 100.0 };
            assert!(tails.iter().all(|tail| (tail.base - share.ln()).abs() < 0.02));
            tails.iter().map(|tail| tail.predicted(rare)).sum::<f64>() / 20.0
        });
        assert!(few < 6.5 && many > few + 0.3 && (many - 1000f64.ln()).abs() < 0.3, "{few} {many}");
    }

    proptest! {
        #[test]
        fn a_prediction_is_never_bolder_than_the_exponential_and_keeps_its_order(
            mut values in proptest::collection::vec(0.0..20.0f64, 1..300), x in 0.0..200.0f64, more in 0.001..50.0f64,
        ) {
            let tail = Tail::of(&mut values);
            prop_assert!(tail.predicted(x) <= tail.nats(x) + 1e-12);
            prop_assert!(tail.predicted(x + more) >= tail.predicted(x));
            if x > tail.from {
                prop_assert!(tail.predicted(x + more) > tail.predicted(x));
            }
            let again = Tail::from_parts(tail.steps.clone(), tail.from, tail.mean, tail.base);
            prop_assert_eq!(again, tail);
        }
    }
}
