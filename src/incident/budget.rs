//! So many incidents a day and no more: which ones are worth a person's time.
//!
//! An incident is reported when fewer incidents of the trailing day are stronger than reports are left of that day's budget. With the whole budget left that
//! is lenient; the fewer reports are left, the stronger an incident must be, and the last one is for the strongest of the day. An incident is
//! looked at again whenever it grows; once reported it stays so. No more than the budget is ever reported within a day of event time, whatever
//! comes, and the choice follows from event times and incidents alone, so that an archive is reported as the wire was.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Event, Said, State};
use super::severity::Severity;

/// Nanoseconds of a day.
const DAY: u64 = 86_400_000_000_000;

/// What incidents are compared by.
type Strength = (Severity, u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    strength: Strength,
    opened: u64,
    reported: bool,
    open: bool,
}

/// Chooses which incidents are reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Budget {
    a_day: usize,
    /// Incidents that opened within the trailing day or are open.
    known: BTreeMap<u64, Known>,
    /// Those of the trailing day, by strength and by the time that they opened.
    by_strength: BTreeSet<(Strength, u64)>,
    by_time: BTreeSet<(u64, u64)>,
    /// When reports were made, within the trailing day.
    reports: BTreeSet<(u64, u64)>,
}

impl Budget {
    /// `a_day` reports a day.
    pub fn new(a_day: u32) -> Budget {
        Budget {
            a_day: a_day as usize,
            known: BTreeMap::new(),
            by_strength: BTreeSet::new(),
            by_time: BTreeSet::new(),
            reports: BTreeSet::new(),
        }
    }

    /// Whether an incident is held back. Events must come in their order.
    pub fn holds(&mut self, event: &Event) -> bool {
        let State { id, severity, weight, .. } = event.state;
        let now = event.time;
        self.forget(now);
        let known = self.known.entry(id).or_insert(Known {
            strength: (severity, weight),
            opened: now,
            reported: false,
            open: true,
        });
        known.open = event.said != Said::Close;
        let reported = known.reported;
        if self.by_strength.remove(&(known.strength, id)) || known.opened == now {
            self.by_strength.insert(((severity, weight), id));
            self.by_time.insert((known.opened, id));
        }
        known.strength = (severity, weight);
        if event.state.withdrawn {
            self.by_strength.remove(&((severity, weight), id));
            return !reported;
        }
        if !reported {
            let left = self.a_day - self.reports.len().min(self.a_day);
            let stronger = self.by_strength.iter().rev().take(left).take_while(|(strength, other)| {
                *strength > (severity, weight) || *strength == (severity, weight) && *other > id
            });
            if left > 0 && stronger.count() < left {
                known.reported = true;
                self.reports.insert((now, id));
            }
        }
        let (reported, lasting) = (known.reported, known.open || known.opened > now.saturating_sub(DAY));
        if !lasting {
            self.known.remove(&id);
        }
        !reported
    }

    /// Forgets what lies a day back.
    fn forget(&mut self, now: u64) {
        let old = now.saturating_sub(DAY);
        while let Some((time, id)) = self.reports.first().copied()
            && time <= old
        {
            self.reports.remove(&(time, id));
        }
        while let Some((time, id)) = self.by_time.first().copied()
            && time <= old
        {
            self.by_time.remove(&(time, id));
            if let Some(known) = self.known.get(&id).copied() {
                self.by_strength.remove(&(known.strength, id));
                if !known.open {
                    self.known.remove(&id);
                }
            }
        }
    }
}
