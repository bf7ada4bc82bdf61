//! Times as texts, many of one day.

use super::alert::time;

/// Times as Suricata writes them: microseconds, and a zone without a colon.
#[derive(Default)]
pub(super) struct Stamps {
    /// The day of the last one, since the epoch.
    day: Option<i64>,
    /// The text of a time of it.
    text: [u8; 31],
}

impl Stamps {
    const DAY: i64 = 86_400_000_000;
    /// Where the time of day stands: places, microseconds, digits.
    const PLACES: [(usize, i64, usize); 4] =
        [(11, 3_600_000_000, 2), (14, 60_000_000, 2), (17, 1_000_000, 2), (20, 1, 6)];

    pub(super) fn of(&mut self, nanoseconds: i64) -> &str {
        let microseconds = nanoseconds.div_euclid(1000);
        let day = microseconds.div_euclid(Stamps::DAY);
        if self.day != Some(day) {
            let text = time(nanoseconds).strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string();
            self.text =
                text.as_bytes().try_into().expect("years within 64 bits of nanoseconds have four digits");
            self.day = Some(day);
        }
        let mut rest = microseconds.rem_euclid(Stamps::DAY);
        for (at, unit, count) in Stamps::PLACES {
            let mut value = rest / unit;
            rest %= unit;
            for digit in self.text[at..at + count].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        std::str::from_utf8(&self.text).expect("digits are text")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_are_as_others_write_them(times: Vec<i64>, near in 0i64..1 << 48) {
            let mut stamps = Stamps::default();
            for at in times.into_iter().chain([0, near, -near, near + 1000]) {
                let expected = time(at).strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string();
                prop_assert_eq!(stamps.of(at), expected);
            }
        }
    }
}
