//! Numbers in digits, as the standard library's formatting has them, at a fraction of its cost: a reason is made of
//! dozens of them.

use std::fmt::Write;

/// The bits of a number's fraction.
const MANTISSA: u64 = (1 << 52) - 1;

/// Two digits of a number below 100.
#[inline]
pub(crate) fn pair(value: u32) -> [u8; 2] {
    [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]
}

/// Appends a whole number.
pub(crate) fn whole(out: &mut String, value: u64) {
    match value {
        // Most are, and need no call.
        0..10 => out.push(char::from(b'0' + value as u8)),
        _ => out.push_str(itoa::Buffer::new().format(value)),
    }
}

/// Appends a count with its thousands apart.
pub(in crate::detect) fn grouped(out: &mut String, count: u64) {
    let mut digits = itoa::Buffer::new();
    let mut rest = digits.format(count);
    while rest.len() > 3 {
        let (next, behind) = rest.split_at((rest.len() - 1) % 3 + 1);
        out.push_str(next);
        out.push(',');
        rest = behind;
    }
    out.push_str(rest);
}

/// Appends a whole number, with zeros in front up to so many digits.
pub(super) fn padded(out: &mut String, value: u64, least: usize) {
    let mut beyond = 10;
    for _ in 1..least {
        if value < beyond {
            out.push('0');
        }
        beyond *= 10;
    }
    whole(out, value);
}

/// Appends a number with so many decimals, as `{value:.places$}` does: rounded from all of its binary digits, halves to
/// the even one.
pub(crate) fn fixed(out: &mut String, value: f64, places: usize) {
    let bits = value.to_bits();
    // The value is a whole number over a power of two; 64 bits hold what it is with six decimals, 128 what is rounded.
    let shift = 1075 - (bits >> 52 & 0x7FF) as i64;
    if places > 6 || !(10..=100).contains(&shift) {
        write!(out, "{value:.places$}").expect("a string takes all text");
        return;
    }
    let power = 10u64.pow(places as u32);
    let scaled = u128::from((bits & MANTISSA) | (MANTISSA + 1)) * u128::from(power);
    let rounded = nearest(scaled, shift);
    if value.is_sign_negative() {
        out.push('-');
    }
    whole(out, rounded / power);
    if places > 0 {
        out.push('.');
        padded(out, rounded % power, places);
    }
}

/// Appends a number with one decimal and a power of ten, as `{value:.1e}` does.
pub(super) fn scientific(out: &mut String, value: f64) {
    let bits = value.to_bits();
    let shift = 1075 - (bits >> 52) as i64;
    // Below 64, and not so small that the digits would not be whole in 128 bits.
    if !(47..=119).contains(&shift) {
        write!(out, "{value:.1e}").expect("a string takes all text");
        return;
    }
    let mantissa = u128::from((bits & MANTISSA) | (MANTISSA + 1));
    // Powers of ten until there are two digits before the point.
    let mut power = 0;
    let mut scaled = mantissa;
    let two_digits = 10 << shift;
    while scaled < two_digits {
        power += 1;
        scaled *= 10;
    }
    let mut digits = nearest(scaled, shift);
    if digits == 100 {
        (digits, power) = (10, power - 1);
    }
    whole(out, digits / 10);
    out.push('.');
    whole(out, digits % 10);
    out.push('e');
    if power > 1 {
        out.push('-');
    }
    whole(out, i64::abs_diff(power, 1));
}

/// A whole number over a power of two, rounded; halves to the even one.
fn nearest(scaled: u128, shift: i64) -> u64 {
    let (rounded, rest, half) = ((scaled >> shift) as u64, scaled & ((1 << shift) - 1), 1u128 << (shift - 1));
    if rest > half || (rest == half && rounded % 2 == 1) { rounded + 1 } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn numbers_are_written_as_the_standard_library_does(
            bits: u64, number in -1e7..1e7f64, halves in -100_000i64..100_000, part in 0..30u32, places in 0..9usize,
            value: u64, shift in 0..64u32,
        ) {
            let halves = halves as f64 / f64::from(1u32 << part);
            for value in [f64::from_bits(bits), number, number as f32 as f64, number.round(), halves, halves / 1e3] {
                let mut out = String::new();
                fixed(&mut out, value, places);
                prop_assert_eq!(out, format!("{value:.places$}"));
                for value in [value, value / 1e7, value.abs() / 2f64.powi(shift as i32)] {
                    let mut out = String::new();
                    scientific(&mut out, value);
                    prop_assert_eq!(out, format!("{value:.1e}"));
                }
            }
            let mut out = String::new();
            whole(&mut out, value >> shift);
            padded(&mut out, value >> shift, 3);
            prop_assert_eq!(out, format!("{0}{0:03}", value >> shift));
        }
    }
}
