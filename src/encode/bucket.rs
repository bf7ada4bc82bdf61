//! Values to buckets of a quarter of an octave: `floor(4 log2(1 + v))`, the same bits on every machine.
//!
//! No logarithm is taken: the exponent of `1 + v` says the octave, and its mantissa is compared with the three
//! roots of two, which are correctly rounded.

/// Stands in the place of a bucket where there is no value.
pub const ABSENT: u8 = u8::MAX;

/// The last bucket; it takes everything from 2^63.5 on.
pub const LAST: u8 = ABSENT - 1;

/// Fractions of the mantissas of 2^(1/4), 2^(1/2) and 2^(3/4).
const QUARTERS: [u64; 3] = [0x3_06FE_0A31_B715, 0x6_A09E_667F_3BCD, 0xA_E89F_995A_D3AD];

/// The bucket of a value. Null (NaN) has none, what is negative counts as 0.
#[inline]
pub fn bucket(value: f64) -> u8 {
    if value.is_nan() {
        return ABSENT;
    }
    let bits = (1.0 + value.max(0.0)).to_bits();
    let octave = (bits >> 52) as u32 - 1023;
    let fraction = bits & ((1 << 52) - 1);
    let [first, second, third] = QUARTERS.map(|bound| u32::from(fraction >= bound));
    let quarter = first + second + third;
    (4 * octave + quarter).min(u32::from(LAST)) as u8
}

/// The least value of a bucket.
pub fn least(bucket: u8) -> f64 {
    let fraction = match bucket % 4 {
        0 => 0,
        quarter => QUARTERS[usize::from(quarter) - 1],
    };
    f64::from_bits(((1023 + u64::from(bucket / 4)) << 52) | fraction) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn roots_of_two_are_correctly_rounded() {
        for (quarter, fraction) in (1..).zip(QUARTERS) {
            assert_eq!(f64::from_bits(1023 << 52 | fraction), 2f64.powf(f64::from(quarter) / 4.0));
        }
    }

    #[test]
    fn the_first_buckets_hold_what_the_formula_says() {
        let of = |values: &[f64]| values.iter().map(|value| bucket(*value)).collect::<Vec<_>>();
        assert_eq!(of(&[0.0, 0.18, 0.2, 0.5, 1.0, 3.0, 7.0, 1e6, -5.0]), [0, 0, 1, 2, 4, 8, 12, 79, 0]);
        assert_eq!(of(&[f64::NAN, f64::INFINITY, u64::MAX as f64, 1.0e300]), [ABSENT, LAST, LAST, LAST]);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_lies_between_its_bounds(value in 0.0..1e15f64) {
            let found = bucket(value);
            prop_assert!(least(found) <= value * (1.0 + 1e-15) + 1e-15);
            prop_assert!(value < least(found + 1) * (1.0 + 1e-15) + 1e-15);
            let formula = (4.0 * (1.0 + value).log2()).floor();
            prop_assert!((formula - f64::from(found)).abs() <= 1.0);
            prop_assert_eq!(bucket(least(found) + 1e-9 * (1.0 + least(found))), found);
        }
    }
}
