//! Hour, minute and weekday of event times in one time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Offsets from UTC change at multiples of a quarter of an hour, if at all.
const QUARTER: i64 = 900;

/// Turns event time into hour, minute and weekday; remembers the offset of the last quarter of an hour and
/// the last minute, which most rows of a window share.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: Option<TimeZone>,
    quarter: i64,
    offset: i64,
    minute: u64,
    moment: Moment,
}

/// Hour 0-23, minute 0-59, weekday with Monday = 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Hour of the day.
    pub hour: u8,
    /// Minute of the hour.
    pub minute: u8,
    /// Day of the week, Monday = 0.
    pub weekday: u8,
}

impl Calendar {
    /// The calendar of an IANA time zone; `None` if there is no such zone.
    pub fn new(zone: &str) -> Option<Calendar> {
        let zone = match zone {
            "UTC" => None,
            name => Some(TimeZone::get(name).ok()?),
        };
        let mut calendar =
            Calendar { zone, quarter: i64::MIN, offset: 0, minute: 0, moment: Moment::default() };
        calendar.moment = calendar.moment_of(0);
        Some(calendar)
    }

    /// Where `time` (nanoseconds since the Unix epoch) falls.
    #[inline]
    pub fn moment(&mut self, time: u64) -> Moment {
        let minute = time / 60_000_000_000;
        if minute != self.minute {
            self.moment = self.moment_of((time / 1_000_000_000) as i64);
            self.minute = minute;
        }
        self.moment
    }

    fn moment_of(&mut self, second: i64) -> Moment {
        if let Some(zone) = &self.zone
            && second.div_euclid(QUARTER) != self.quarter
        {
            self.quarter = second.div_euclid(QUARTER);
            let at = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
            self.offset = i64::from(zone.to_offset(at).seconds());
        }
        let local = second + self.offset;
        let day = local.div_euclid(86_400);
        let of_day = local.rem_euclid(86_400);
        Moment {
            hour: (of_day / 3600) as u8,
            minute: (of_day / 60 % 60) as u8,
            // 1970-01-01 was a Thursday.
            weekday: (day + 3).rem_euclid(7) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: u64 = 1_000_000_000;

    #[test]
    fn utc_needs_no_zone() {
        let mut utc = Calendar::new("UTC").unwrap();
        assert_eq!(utc.moment(0), Moment { hour: 0, minute: 0, weekday: 3 });
        // 2026-11-24 was a Tuesday.
        assert_eq!(utc.moment(1_795_529_159 * NS), Moment { hour: 14, minute: 5, weekday: 1 });
    }

    #[test]
    fn summer_time_changes_the_hour_not_the_day() {
        let mut berlin = Calendar::new("Europe/Berlin").unwrap();
        // 2026-03-29 00:59:59 and 01:00:00 UTC: 01:59 CET, then 03:00 CEST.
        let before = berlin.moment(1_774_745_999 * NS);
        let after = berlin.moment(1_774_746_000 * NS);
        assert_eq!((before.hour, before.minute, before.weekday), (1, 59, 6));
        assert_eq!((after.hour, after.minute, after.weekday), (3, 0, 6));
        assert!(Calendar::new("Nowhere/Land").is_none());
    }
}
