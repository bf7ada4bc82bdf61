//! Numbers, times and durations as people read them.

use jiff::Timestamp;

pub(super) use crate::detect::outline::grouped as count;

/// A count with its noun, which takes an `s` unless it is one.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A part of one to three places, never rounded up to 1 or down to 0.
pub(super) fn part(value: f64) -> String {
    match value {
        v if v > 0.0 && v < 0.0005 => "<0.001".into(),
        v if (0.9995..1.0).contains(&v) => ">0.999".into(),
        v => format!("{v:.3}"),
    }
}

/// A part, or a dash where there is none.
pub(super) fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), part)
}

/// A number of any size to three significant digits.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".into(),
        s if s >= 1e7 => format!("{value:.1e}"),
        s if s >= 1000.0 => {
            format!("{}{}", if value < 0.0 { "−" } else { "" }, count(size.round() as u64))
        }
        s if s >= 100.0 => format!("{value:.0}"),
        s if s >= 10.0 => format!("{value:.1}"),
        s if s >= 1.0 => format!("{value:.2}"),
        s if s >= 0.01 => format!("{value:.3}"),
        s if s >= 0.0001 => format!("{value:.5}"),
        _ => format!("{value:.1e}"),
    }
}

/// A rate such as 1e-3.
pub(super) fn rate(value: f64) -> String {
    format!("{value:e}")
}

/// Nanoseconds as seconds, minutes, hours or days.
pub(super) fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    }
}

/// A time in UTC, to the second; the number of nanoseconds where it is beyond the calendar.
pub(super) fn time(nanoseconds: u64) -> String {
    match Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{nanoseconds} ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.0001, 0.5, 0.9999, 1.0].map(part),
            ["0.000", "<0.001", "0.500", ">0.999", "1.000"]
        );
        assert_eq!([12_345.6, 42.25, 0.5, -1.5].map(short), ["12,346", "42.2", "0.500", "-1.50"]);
        assert_eq!([1_500_000, 90_000_000_000, 7_200_000_000_000].map(duration), ["2 ms", "90.0 s", "2.0 h"]);
        assert_eq!(time(1_795_393_189_205_906_265), "2026-11-23 00:19:49");
        assert_eq!(
            (rate(1e-3), counted(1, "row"), counted(2000, "row")),
            ("1e-3".into(), "1 row".into(), "2,000 rows".into())
        );
    }
}
