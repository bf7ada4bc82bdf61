//! How much of a regularity is more than chance.
//!
//! Whoever is seldom seen more than once has no gaps, and among many of those any gaps are rare, however uneven. But what
//! begins at random times has even gaps now and then: n of them share their time out like a point drawn from a simplex,
//! and their deviation is its distance from the middle. So a deviation counts as far as chance would not make it:
//! nothing where random starts are as even every time, all where they are once in a thousand times.

use std::f64::consts::PI;
use std::sync::LazyLock;

use crate::encode::bucket::least;

/// From here on chance is no explanation.
const RARE: f64 = 1e-3;

/// What a deviation weighs, by its bucket in thousandths of the mean.
pub(super) type Weights = [f32; 256];

/// Of at least four gaps.
pub(super) fn of_four() -> &'static Weights {
    static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| weights(4));
    &WEIGHTS
}

/// Of at least eight gaps.
pub(super) fn of_eight() -> &'static Weights {
    static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| weights(8));
    &WEIGHTS
}

/// What is absent, the last one, weighs all: it is not looked at.
fn weights(gaps: u32) -> Weights {
    std::array::from_fn(|bucket| match u8::try_from(bucket) {
        Ok(bucket) if bucket < u8::MAX => weight(gaps, least(bucket) / 1e3),
        _ => 1.0,
    })
}

fn weight(gaps: u32, deviation: f64) -> f32 {
    (libm::log(by_chance(gaps, deviation)) / libm::log(RARE)).clamp(0.0, 1.0) as f32
}

/// The probability that gaps between starts at random times deviate by no more than so much of their mean (population
/// deviation): the part of the simplex within that distance of its middle, as long as that is within the simplex; 1 at
/// most beyond (Greenwood, "The statistical study of infectious diseases", Journal of the Royal Statistical Society 1946).
fn by_chance(gaps: u32, deviation: f64) -> f64 {
    let dimensions = gaps - 1;
    // Of a ball of radius 1: 1 and 2 in none and one dimension.
    let first = if dimensions.is_multiple_of(2) { 1.0 } else { 2.0 };
    let ball = (2..=dimensions).filter(|d| d % 2 == dimensions % 2);
    let ball = ball.fold(first, |volume, d| volume * 2.0 * PI / f64::from(d));
    let factorial: f64 = (1..=dimensions).map(f64::from).product();
    let whole = libm::pow(f64::from(gaps), f64::from(gaps) / 2.0);
    (ball * factorial / whole * libm::pow(deviation, f64::from(dimensions))).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::context::entity::mix;
    use crate::encode::bucket::{ABSENT, bucket};

    /// Deviations of gaps between random starts, the same everywhere.
    fn drawn(gaps: usize, draws: u64) -> Vec<f64> {
        let one = |draw: u64| {
            let uniform = |at| ((mix(mix(draw) ^ at as u64) >> 11) as f64 + 0.5) / 2f64.powi(53);
            let gaps: Vec<f64> = (0..gaps).map(|at| -f64::ln(uniform(at))).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let squares: f64 = gaps.iter().map(|gap| (gap - mean).powi(2)).sum();
            (squares / gaps.len() as f64).sqrt() / mean
        };
        (0..draws).map(one).collect()
    }

    #[test]
    fn so_many_random_gaps_are_as_even() {
        for gaps in [4, 8] {
            let deviations = drawn(gaps, 200_000);
            for deviation in [0.2, 0.3, 0.37, 0.5, 0.8, 1.2] {
                let found = deviations.iter().filter(|found| **found <= deviation).count() as f64 / 200_000.0;
                let said = by_chance(gaps as u32, deviation);
                let chance = 4.0 * (said / 200_000.0).sqrt();
                assert!(found <= said + chance, "{gaps} gaps, {deviation}: {found} {said}");
                if deviation < 0.375 {
                    assert!(said <= found + chance, "{gaps} gaps, {deviation}: {found} {said}");
                }
            }
        }
    }

    #[test]
    fn even_gaps_weigh_all_and_uneven_ones_nothing() {
        let of = |weights: &Weights, deviation: f64| weights[usize::from(bucket(deviation * 1e3))];
        assert_eq!([0.0, 0.05].map(|deviation| of(of_four(), deviation)), [1.0; 2]);
        assert_eq!([0.0, 0.2].map(|deviation| of(of_eight(), deviation)), [1.0; 2]);
        assert_eq!([1.1, 1.5, 1e9].map(|deviation| of(of_four(), deviation)), [0.0; 3]);
        assert_eq!([0.9, 1.5, 1e9].map(|deviation| of(of_eight(), deviation)), [0.0; 3]);
        assert_eq!(of_four()[usize::from(ABSENT)], 1.0);
    }

    proptest! {
        #[test]
        fn more_even_gaps_weigh_no_less_and_so_do_more_of_them(deviation in 0.0..2.0f64, more in 0.0..1.0f64) {
            for gaps in [4, 8] {
                prop_assert!(weight(gaps, deviation) >= weight(gaps, deviation + more));
            }
            prop_assert!(deviation > 0.5 || weight(8, deviation) >= weight(4, deviation));
        }
    }
}
