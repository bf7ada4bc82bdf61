//! Amounts as people say them: counts, bytes and times of about two digits with their unit.

use std::fmt::Write;

use super::digits::{fixed, grouped, whole};

/// Appends a count with its thousands apart, or two digits of what is none.
pub(super) fn count(out: &mut String, value: f64) {
    match whole_number(value) {
        Some(value) => grouped(out, value),
        None => significant(out, value),
    }
}

/// The same as a whole number, if it is one that is not vast and not negative.
fn whole_number(value: f64) -> Option<u64> {
    let whole = value as u64;
    (value < VAST && whole as f64 == value).then_some(whole)
}

/// From here on a number has more digits than anybody reads, and is told by its power of ten.
const VAST: f64 = 1e15;

/// Appends two digits, and all before the point.
pub(super) fn significant(out: &mut String, value: f64) {
    match value.abs() {
        0.0 => out.push('0'),
        VAST.. => write!(out, "{value:.1e}").expect("a string takes all text"),
        1000.0.. if value > 0.0 => grouped(out, value.round() as u64),
        10.0.. => rounded(out, value),
        1.0..10.0 => decimal(out, value, 1),
        0.1..1.0 => decimal(out, value, 2),
        0.001..0.1 => decimal(out, value, 3),
        _ => write!(out, "{value:.0e}").expect("a string takes all text"),
    }
}

/// Appends so many bytes with their unit.
pub(super) fn bytes(out: &mut String, value: f64) {
    if value < 1000.0 {
        rounded(out, value);
        out.push_str(" B");
        return;
    }
    let (size, unit) = match value {
        1e12.. => (1e12, " TB"),
        1e9.. => (1e9, " GB"),
        1e6.. => (1e6, " MB"),
        _ => (1e3, " kB"),
    };
    significant(out, value / size);
    out.push_str(unit);
}

/// Appends so many seconds in the unit that is usual.
pub(super) fn time(out: &mut String, seconds: f64) {
    if seconds == 0.0 {
        out.push_str("0 s");
        return;
    }
    // Up to two minutes and two hours the smaller unit is the usual one.
    let (size, unit) = match seconds {
        172_800.0.. => (86_400.0, " days"),
        7_200.0.. => (3_600.0, " h"),
        120.0.. => (60.0, " min"),
        1.0.. => (1.0, " s"),
        1e-3.. => (1e-3, " ms"),
        _ => (1e-6, " us"),
    };
    significant(out, seconds / size);
    out.push_str(unit);
}

/// Appends a number with so many decimals at most, without zeros at its end; `null` for what is no number.
pub(super) fn decimal(out: &mut String, value: f64, places: usize) {
    if !value.is_finite() {
        out.push_str("null");
        return;
    }
    if places == 0 || value.fract() == 0.0 {
        rounded(out, value);
        return;
    }
    let from = out.len();
    fixed(out, value, places);
    out.truncate(out.trim_end_matches('0').trim_end_matches('.').len());
    if places > 2 && matches!(&out[from..], "0" | "-0") {
        out.truncate(from);
        write!(out, "{value:.2e}").expect("a string takes all text");
    }
}

/// Appends a number without decimals.
fn rounded(out: &mut String, value: f64) {
    if value.abs() >= VAST {
        write!(out, "{value:e}").expect("a string takes all text");
        return;
    }
    match (whole_number(value.abs()), value.is_sign_negative()) {
        (Some(value), false) => whole(out, value),
        (Some(value), true) => {
            out.push('-');
            whole(out, value);
        }
        (None, _) => fixed(out, value, 0),
    }
}

/// Appends so many windows, as time where their length in nanoseconds is known.
pub(super) fn in_windows(out: &mut String, windows: f64, window: Option<u64>) {
    match window {
        Some(window) => time(out, windows * window as f64 / 1e9),
        None if windows == 1.0 => out.push_str("1 window"),
        None => {
            decimal(out, windows, 0);
            out.push_str(" windows");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_vast_is_told_by_its_power_of_ten() {
        let told = |tell: fn(&mut String, f64), value: f64| {
            let mut out = String::new();
            tell(&mut out, value);
            out
        };
        let below = 999_999_999_999_999.0;
        assert_eq!(told(significant, below), "999,999,999,999,999");
        assert_eq!(told(significant, 1e15), "1.0e15");
        assert_eq!(told(count, -f64::MAX), "-1.8e308");
        assert_eq!(told(bytes, 1e300), "1.0e288 TB");
        let exact = |out: &mut String, value: f64| decimal(out, value, 3);
        assert_eq!(told(exact, -below), "-999999999999999");
        for value in [1e15, -1e15, f64::MAX, 1e22 + 1e7] {
            let text = told(exact, value);
            assert!(text.len() < 25, "{text}");
            assert_eq!(text.parse::<f64>().unwrap(), value, "{text}");
        }
    }
}
