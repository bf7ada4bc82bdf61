//! Times that are meant since the Unix epoch, in another unit than nanoseconds.

/// Units, each with its word, the first number that is a time in it (of 1973), and what makes nanoseconds of it. What is
/// beyond the last is nanoseconds.
const UNITS: [(&str, f64, &str); 4] = [
    ("seconds", 1e8, "10^9"),
    ("milliseconds", 1e11, "10^6"),
    ("microseconds", 1e14, "1000"),
    ("nanoseconds", 1e17, "1"),
];

/// What a number of a time looks like that is no nanoseconds, and what to do about it.
pub(super) fn looks_like(time: f64) -> Option<String> {
    let unit = UNITS.windows(2).find(|pair| (pair[0].1..pair[1].1).contains(&time))?;
    let (word, _, times) = unit[0];
    Some(format!("looks like {word}: multiply by {times}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_by_the_size_of_a_time() {
        // The 14th of November 2023.
        for (time, word) in [
            (1.7e9, Some("looks like seconds: multiply by 10^9")),
            (1.7e12, Some("looks like milliseconds: multiply by 10^6")),
            (1.7e15, Some("looks like microseconds: multiply by 1000")),
            (1.7e18, None),
            (0.0, None),
            (600.0, None),
            (f64::NAN, None),
        ] {
            assert_eq!(looks_like(time).as_deref(), word, "{time}");
        }
    }
}
