//! Times as texts, many of one day.

use super::alert::time;
use crate::detect::reason::digits::pair;

/// The text of a time.
pub(super) type Stamp = [u8; 31];

/// Times as Suricata writes them: microseconds, and a zone without a colon.
#[derive(Default)]
pub(super) struct Stamps {
    /// The day of the last one, since the epoch.
    day: Option<i64>,
    /// The text of a time of it.
    text: Stamp,
}

impl Stamps {
    const DAY: i64 = 86_400_000_000;

    /// A time in nanoseconds since the epoch, as text.
    pub(super) fn of(&mut self, nanoseconds: i64) -> Stamp {
        let microseconds = nanoseconds.div_euclid(1000);
        let day = microseconds.div_euclid(Stamps::DAY);
        if self.day != Some(day) {
            let text = time(nanoseconds).strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string();
            self.text =
                text.as_bytes().try_into().expect("years within 64 bits of nanoseconds have four digits");
            self.day = Some(day);
        }
        let of_day = microseconds - day * Stamps::DAY;
        let (seconds, fraction) = ((of_day / 1_000_000) as u32, (of_day % 1_000_000) as u32);
        let places = [
            (11, seconds / 3600),
            (14, seconds / 60 % 60),
            (17, seconds % 60),
            (20, fraction / 10_000),
            (22, fraction / 100 % 100),
            (24, fraction % 100),
        ];
        for (at, value) in places {
            self.text[at..at + 2].copy_from_slice(&pair(value));
        }
        self.text
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
                prop_assert_eq!(&stamps.of(at)[..], expected.as_bytes());
            }
        }
    }
}
