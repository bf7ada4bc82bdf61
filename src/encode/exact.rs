//! Sums of floating-point numbers that are exact, so that no order and no split of the rows can show.
//!
//! A sum is one long fixed-point number in limbs of 32 bits, wide enough for every `f64` and every square
//! of one. Adding is adding integers; merging is adding limbs; rounding happens once, when a mean or a
//! deviation is asked for.

use num_bigint::{BigInt, BigUint, Sign};
use serde::{Deserialize, Serialize};

/// Weight of the lowest bit, as a power of two: the square of the smallest subnormal.
const LOWEST: i64 = -2148;
/// Bits from 2^-2148 to 2^2048 (the square of the largest `f64`), and 64 more for the number of terms.
const LIMBS: usize = (2148 + 2048 + 64_usize).div_ceil(32);
/// Terms after which carries are moved on: one adds less than 2^32 to a limb of 63 bits.
const CARRY_EVERY: u32 = 1 << 30;
/// Whole numbers below this are summed in 128 bits: [`CHUNK`] of their squares fit there.
const WHOLE: i64 = 1 << 53;
/// Values summed in 128 bits before they join the limbs.
const CHUNK: usize = 1 << 16;

/// An exact sum of `f64` values or of their squares.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Trimmed", try_from = "Trimmed")]
pub struct ExactSum {
    /// Least significant first; between carries a limb may leave its 32 bits, in either direction.
    limbs: Box<[i64]>,
    /// Terms since carries were moved on.
    terms: u32,
}

/// The limbs of a sum that are not zero, as they travel.
#[derive(Clone, Serialize, Deserialize)]
struct Trimmed {
    first: usize,
    limbs: Vec<i64>,
}

impl From<ExactSum> for Trimmed {
    fn from(mut sum: ExactSum) -> Self {
        sum.carry();
        let Some(first) = sum.limbs.iter().position(|limb| *limb != 0) else {
            return Trimmed { first: 0, limbs: Vec::new() };
        };
        let end = sum.limbs.iter().rposition(|limb| *limb != 0).map_or(first, |last| last + 1);
        Trimmed { first, limbs: sum.limbs[first..end].to_vec() }
    }
}

impl TryFrom<Trimmed> for ExactSum {
    type Error = String;

    fn try_from(trimmed: Trimmed) -> Result<Self, String> {
        let mut sum = ExactSum::new();
        let end = trimmed.first.checked_add(trimmed.limbs.len()).filter(|end| *end <= LIMBS);
        let Some(end) = end else { return Err("an exact sum is longer than any sum can be".to_owned()) };
        // Only the top limb carries a sign, and none of them more than 32 bits.
        let whole = |(place, limb): (usize, &i64)| match place + 1 == LIMBS {
            true => i32::try_from(*limb).is_ok(),
            false => u32::try_from(*limb).is_ok(),
        };
        if !(trimmed.first..end).zip(&trimmed.limbs).all(whole) {
            return Err("an exact sum holds a limb beyond 32 bits".to_owned());
        }
        sum.limbs[trimmed.first..end].copy_from_slice(&trimmed.limbs);
        Ok(sum)
    }
}

impl Default for ExactSum {
    fn default() -> Self {
        Self::new()
    }
}

impl ExactSum {
    /// Zero.
    pub fn new() -> Self {
        ExactSum { limbs: vec![0; LIMBS].into_boxed_slice(), terms: 0 }
    }

    /// Adds a finite value; what is not finite adds nothing.
    pub fn add(&mut self, value: f64) {
        if let Some((negative, mantissa, exponent)) = parts(value) {
            self.add_bits(negative, mantissa, exponent);
        }
    }

    /// Adds the square of a finite value; what is not finite adds nothing.
    pub fn add_square(&mut self, value: f64) {
        if let Some((_, mantissa, exponent)) = parts(value) {
            let square = u128::from(mantissa) * u128::from(mantissa);
            self.add_wide(false, square, 2 * exponent);
        }
    }

    /// Adds a whole number.
    pub fn add_whole(&mut self, value: i128) {
        self.add_wide(value < 0, value.unsigned_abs(), 0);
    }

    /// Adds another sum.
    pub fn merge(&mut self, mut other: ExactSum) {
        self.carry();
        other.carry();
        for (limb, more) in self.limbs.iter_mut().zip(&other.limbs) {
            *limb += more;
        }
        self.carry();
    }

    fn add_wide(&mut self, negative: bool, magnitude: u128, exponent: i64) {
        self.add_bits(negative, magnitude as u64, exponent);
        self.add_bits(negative, (magnitude >> 64) as u64, exponent + 64);
    }

    /// Adds `±magnitude * 2^exponent`.
    #[inline]
    fn add_bits(&mut self, negative: bool, magnitude: u64, exponent: i64) {
        if magnitude == 0 {
            return;
        }
        let bit = (exponent - LOWEST) as usize;
        let wide = u128::from(magnitude) << (bit % 32);
        let sign = if negative { -1 } else { 1 };
        let limbs = &mut self.limbs[bit / 32..bit / 32 + 3];
        limbs[0] += sign * i64::from(wide as u32);
        limbs[1] += sign * i64::from((wide >> 32) as u32);
        limbs[2] += sign * i64::from((wide >> 64) as u32);
        self.terms += 1;
        if self.terms >= CARRY_EVERY {
            self.carry();
        }
    }

    /// Brings every limb but the top one back to 32 bits without sign.
    fn carry(&mut self) {
        let mut carry = 0;
        let (top, rest) = self.limbs.split_last_mut().expect("a sum has limbs");
        for limb in rest {
            let value = *limb + carry;
            *limb = value & 0xffff_ffff;
            carry = value >> 32;
        }
        *top += carry;
        self.terms = 0;
    }

    /// The sum in units of `2^LOWEST`.
    fn integer(&self) -> BigInt {
        let mut sum = self.clone();
        sum.carry();
        let (top, rest) = sum.limbs.split_last().expect("a sum has limbs");
        let digits: Vec<u32> = rest.iter().map(|limb| *limb as u32).collect();
        (BigInt::from(*top) << (32 * rest.len())) + BigInt::from_slice(Sign::Plus, &digits)
    }

    /// The sum, rounded once to the nearest `f64` (ties to even).
    pub fn value(&self) -> f64 {
        ratio(&self.integer(), &BigUint::from(1_u8), LOWEST)
    }
}

/// Sign, mantissa and power of two of a finite value.
#[inline]
fn parts(value: f64) -> Option<(bool, u64, i64)> {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match (bits >> 52) & 0x7ff {
        0x7ff => None,
        0 => Some((value.is_sign_negative(), fraction, -1074)),
        biased => Some((value.is_sign_negative(), fraction | 1 << 52, biased as i64 - 1075)),
    }
}

/// `numerator / denominator * 2^exponent`, rounded once to the nearest `f64` (ties to even).
fn ratio(numerator: &BigInt, denominator: &BigUint, exponent: i64) -> f64 {
    let magnitude = numerator.magnitude();
    if magnitude.bits() == 0 {
        return 0.0;
    }
    // Enough bits that the quotient holds 53 and what decides the rounding.
    let shift = (denominator.bits() as i64 + 66 - magnitude.bits() as i64).max(0);
    let shifted = magnitude << shift as u64;
    let quotient = &shifted / denominator;
    let inexact = &quotient * denominator != shifted;
    let exponent = exponent - shift;
    // A subnormal has fewer bits: nothing below 2^-1074 exists.
    let dropped = (quotient.bits() as i64 - 53).max(-1074 - exponent);
    let kept = &quotient >> dropped as u64;
    let rest = &quotient - (&kept << dropped as u64);
    let half = BigUint::from(1_u8) << (dropped - 1) as u64;
    let kept = kept.iter_u64_digits().next().unwrap_or(0);
    let up = rest > half || (rest == half && (inexact || kept % 2 == 1));
    let power = i32::try_from(exponent + dropped).unwrap_or(i32::MAX);
    let value = libm::ldexp((kept + u64::from(up)) as f64, power);
    if numerator.sign() == Sign::Minus { -value } else { value }
}

/// Count, sum and sum of squares of the values of a column, all exact.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Moments {
    /// Finite values.
    pub count: u64,
    sum: ExactSum,
    squares: ExactSum,
}

impl Moments {
    /// Counts the finite values of `values`; the others are passed over.
    pub fn observe(&mut self, values: &[f64]) {
        for chunk in values.chunks(CHUNK) {
            let (mut sum, mut squares, mut count) = (0_i128, 0_i128, 0_u64);
            for &value in chunk {
                // Most columns are counts: whole numbers take no limb at all.
                let whole = value as i64;
                if whole as f64 == value && -WHOLE < whole && whole < WHOLE {
                    sum += i128::from(whole);
                    squares += i128::from(whole) * i128::from(whole);
                    count += 1;
                } else if value.is_finite() {
                    self.sum.add(value);
                    self.squares.add_square(value);
                    count += 1;
                }
            }
            self.sum.add_whole(sum);
            self.squares.add_whole(squares);
            self.count += count;
        }
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: Moments) {
        self.count = self.count.saturating_add(other.count);
        self.sum.merge(other.sum);
        self.squares.merge(other.squares);
    }

    /// The mean, rounded once; 0 where there is no value.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { ratio(&self.sum.integer(), &BigUint::from(self.count), LOWEST) }
    }

    /// `n * sum of squares - square of the sum` in units of `2^(2 * LOWEST)`: n^2 times the variance.
    fn spread(&self) -> BigInt {
        let sum = self.sum.integer();
        ((self.squares.integer() * self.count) << (-LOWEST) as u64) - &sum * &sum
    }

    /// The population variance, rounded once; 0 where there is no value, infinite above the range of `f64`.
    pub fn variance(&self) -> f64 {
        let n = BigUint::from(self.count);
        if self.count == 0 { 0.0 } else { ratio(&self.spread(), &(&n * &n), 2 * LOWEST) }
    }

    /// The population standard deviation. Finite, and not zero where values differ, for every column.
    pub fn deviation(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let spread = self.spread();
        let n = BigUint::from(self.count);
        let squared = &n * &n;
        // The root is taken near 1, where a variance neither overflows nor loses bits.
        let exponent = spread.bits() as i64 - squared.bits() as i64 + 2 * LOWEST;
        let half = exponent.div_euclid(2);
        let root = ratio(&spread, &squared, 2 * LOWEST - 2 * half).sqrt();
        libm::ldexp(root, half as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum_of(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::new();
        values.iter().for_each(|value| sum.add(*value));
        sum
    }

    fn moments_of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        moments.observe(values);
        moments
    }

    #[test]
    fn sum_keeps_what_floating_point_loses() {
        assert_eq!(sum_of(&[1e300, 1.0, -1e300]).value(), 1.0);
        assert_eq!(sum_of(&[f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
        assert_eq!(sum_of(&[5e-324, 5e-324]).value(), 1e-323);
        assert_eq!(sum_of(&[0.1; 10]).value(), 1.0);
        assert_eq!(sum_of(&[f64::NAN, f64::INFINITY, 2.5]).value(), 2.5);
    }

    #[test]
    fn sum_beyond_the_range_is_infinite_and_comes_back() {
        let mut sum = sum_of(&[f64::MAX; 4]);
        assert_eq!(sum.value(), f64::INFINITY);
        sum.merge(sum_of(&[-f64::MAX; 5]));
        assert_eq!(sum.value(), -f64::MAX);
    }

    #[test]
    fn squares_of_the_ends_are_exact() {
        for value in [5e-324, f64::MIN_POSITIVE, 1e-200, 1e200, f64::MAX, 3.3] {
            let moments = moments_of(&[value, value, value]);
            assert_eq!(moments.variance(), 0.0, "{value}");
            assert_eq!(moments.mean(), value);
            let moments = moments_of(&[value, -value]);
            assert_eq!(moments.deviation(), value);
        }
    }

    #[test]
    fn ratio_rounds_ties_to_even() {
        let ratio_of = |n: i64, d: u64| ratio(&BigInt::from(n), &BigUint::from(d), 0);
        assert_eq!(ratio_of((1 << 53) + 1, 1), 9_007_199_254_740_992.0);
        assert_eq!(ratio_of((1 << 53) + 3, 1), 9_007_199_254_740_996.0);
        assert_eq!(ratio_of(-1, 3), -1.0 / 3.0);
        assert_eq!(ratio(&BigInt::from(1), &BigUint::from(1_u8), -1075), 0.0);
        assert_eq!(ratio(&BigInt::from(3), &BigUint::from(1_u8), -1075), 1e-323);
        assert_eq!(ratio(&BigInt::from(1), &BigUint::from(1_u8), 1024), f64::INFINITY);
    }

    #[test]
    fn a_sum_that_claims_too_much_is_not_read() {
        for text in [
            r#"{"first":0,"limbs":[4294967296]}"#,
            r#"{"first":0,"limbs":[-1]}"#,
            r#"{"first":18446744073709551615,"limbs":[1,1]}"#,
            r#"{"first":133,"limbs":[1,1]}"#,
        ] {
            assert!(serde_json::from_str::<ExactSum>(text).is_err(), "{text}");
        }
    }

    fn finite() -> impl Strategy<Value = f64> {
        prop_oneof![
            prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
            -1e6..1e6,
            (-1_000_000_i64..1_000_000).prop_map(|v| v as f64),
        ]
    }

    proptest! {
        #[test]
        fn a_single_value_comes_back(value in finite()) {
            prop_assert_eq!(sum_of(&[value]).value(), value);
            prop_assert_eq!(sum_of(&[value, 1.0, -1.0]).value(), value);
        }

        #[test]
        fn a_ratio_of_small_numbers_is_the_division(n in -(1_i64 << 53)..1 << 53, d in 1_u64..1 << 53) {
            prop_assert_eq!(ratio(&BigInt::from(n), &BigUint::from(d), 0), n as f64 / d as f64);
        }

        #[test]
        fn order_split_and_travel_do_not_show(values in prop::collection::vec(finite(), 1..40), cut in 0_usize..40) {
            let cut = cut.min(values.len());
            let whole = moments_of(&values);
            let mut reversed = values.clone();
            reversed.reverse();
            let reversed = moments_of(&reversed);
            let mut merged = moments_of(&values[cut..]);
            let first = serde_json::to_string(&moments_of(&values[..cut])).unwrap();
            merged.merge(serde_json::from_str(&first).unwrap());
            for other in [reversed, merged] {
                prop_assert_eq!(whole.count, other.count);
                prop_assert_eq!(whole.mean().to_bits(), other.mean().to_bits());
                prop_assert_eq!(whole.variance().to_bits(), other.variance().to_bits());
                prop_assert_eq!(whole.deviation().to_bits(), other.deviation().to_bits());
            }
        }
    }
}
