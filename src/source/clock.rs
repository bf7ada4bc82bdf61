//! Event time of one input: which records are late, and which are not to be believed.

/// Nanoseconds that a record may lie ahead of the newest and be believed alone: the longest lateness there is.
const FAR: u64 = 3_600_000_000_000;
/// Records in a row that lie so far ahead, until they are believed.
pub(super) const BELIEVED: u32 = 3;

/// Event time of one input.
///
/// A record with a wrong time, of next year, must not make all that follow it late: what lies far ahead keeps its time, but
/// the clock follows only when the records after it are there as well.
pub(super) struct Clock {
    pub(super) newest: u64,
    lateness: u64,
    /// Nothing comes before this: what was promised of a file when its first records were looked at.
    floor: u64,
    pub(super) late: u64,
    /// The newest of the records in a row that lie far ahead, and how many they are.
    ahead: (u64, u32),
    /// The newest of all that lay far ahead, believed or not.
    farthest: u64,
}

impl Clock {
    /// A clock that has seen nothing, with lateness in nanoseconds.
    pub(super) fn new(lateness: u64) -> Clock {
        Clock { newest: 0, lateness, floor: 0, late: 0, ahead: (0, 0), farthest: 0 }
    }

    /// The same for a file whose first records were looked at, the earliest of them at `first`. Like the clock of a
    /// pipe, which nobody has looked into, it has seen none of them: the same bytes have the same times from both.
    pub(super) fn again(first: u64, lateness: u64) -> Clock {
        Clock { floor: first.saturating_sub(lateness), ..Clock::new(lateness) }
    }

    /// No record to come has an event time below this.
    pub(super) fn watermark(&self) -> u64 {
        self.newest.saturating_sub(self.lateness).max(self.floor)
    }

    /// The event time of a record with this timestamp.
    #[inline]
    pub(super) fn place(&mut self, time: u64) -> u64 {
        let watermark = self.watermark();
        // The first ones are late by those before them, not by what was promised of the file.
        if self.newest == 0 && self.is_late_by_those_ahead(time) {
            return self.far_ahead(time);
        }
        if time < watermark {
            self.late += 1;
            self.ahead = (0, 0);
            return watermark;
        }
        if time > self.newest.saturating_add(FAR) {
            return self.far_ahead(time);
        }
        self.newest = self.newest.max(time);
        self.ahead = (0, 0);
        time
    }

    /// The event time of a record that lies far ahead: where others of about its time came before, it may be late by
    /// theirs, as it would be if they were believed already. So do all records begin.
    #[cold]
    fn far_ahead(&mut self, time: u64) -> u64 {
        let (newest, _) = self.ahead;
        if self.is_late_by_those_ahead(time) {
            self.late += 1;
            self.count_ahead(newest);
            return newest.saturating_sub(self.lateness);
        }
        if time > newest.saturating_add(FAR) {
            // Far ahead of those, too, which are believed for it.
            self.newest = self.newest.max(newest);
        }
        self.count_ahead(time);
        time
    }

    /// Whether a record is of about the time of those that lie far ahead, and late by it.
    fn is_late_by_those_ahead(&self, time: u64) -> bool {
        let (newest, count) = self.ahead;
        count > 0 && time < newest.saturating_sub(self.lateness) && newest - time <= FAR
    }

    fn count_ahead(&mut self, time: u64) {
        let (newest, count) = self.ahead;
        self.ahead = match time.abs_diff(newest) > FAR {
            true => (time, 1),
            false => (newest.max(time), count + 1),
        };
        self.farthest = self.farthest.max(time);
        if self.ahead.1 == BELIEVED {
            self.newest = self.ahead.0;
            self.ahead = (0, 0);
        }
    }

    /// The newest event time of all records.
    pub(super) fn last(&self) -> u64 {
        self.newest.max(self.farthest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3600 * SECOND;

    /// Event times of records, and how many were late.
    fn placed(times: &[u64]) -> (Vec<u64>, u64, u64) {
        let mut clock = Clock::new(SECOND);
        let placed = times.iter().map(|time| clock.place(*time)).collect();
        (placed, clock.late, clock.last())
    }

    #[test]
    fn a_record_of_next_year_keeps_its_time_and_changes_no_other() {
        let start = 1000 * HOUR;
        let plain: Vec<u64> = (0..20).map(|n| start + n * SECOND / 2).collect();
        for wrong in 0..20 {
            for count in 1..3 {
                let mut times = plain.clone();
                times.iter_mut().skip(wrong).take(count).for_each(|time| *time += 9000 * HOUR);
                let (placed, late, _) = placed(&times);
                assert_eq!((placed, late), (times, 0), "{wrong}");
            }
        }
    }

    #[test]
    fn the_first_records_are_late_as_any_other() {
        let start = 1000 * HOUR;
        // In front of it four records, and none.
        for before in [4, 0] {
            let times = vec![start + 12 * SECOND; before].into_iter();
            let times: Vec<u64> =
                times.chain([start + 12 * SECOND, start + 5 * SECOND, start + 5 * SECOND + 1]).collect();
            let (at, late, _) = placed(&times);
            assert_eq!((&at[before + 1..], late), (&[start + 11 * SECOND; 2][..], 2), "{before}");
        }
    }

    #[test]
    fn a_long_silence_is_one_and_what_is_late_after_it_is_moved() {
        let start = 1000 * HOUR;
        let times = [start, start + HOUR * 2, start + HOUR * 2 + 5, start + HOUR * 2 + 9, start + SECOND];
        let (at, late, last) = placed(&times);
        assert_eq!((at[4], late), (start + HOUR * 2 + 9 - SECOND, 1));
        assert_eq!(last, times[3]);
        // Hours between all records: none is late, and the last one ends the input.
        let sparse: Vec<u64> = (0..10).map(|n| start + n * 2 * HOUR).collect();
        assert_eq!(placed(&sparse), (sparse.clone(), 0, sparse[9]));
    }
}
