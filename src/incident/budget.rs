//! So many incidents a day and no more: which ones are worth a person's time.
//!
//! An incident is reported when fewer incidents before it are stronger than reports are left of the trailing
//! day's budget. With the whole budget left that is lenient; the fewer reports are left, the stronger an
//! incident must be, and the last one is for the strongest of the day. How far back others count goes with
//! what was spent: not at all where nothing was, a day where all but one is ([`Budget::memory`]). Held against a
//! whole day always, an attack of days would be silent after its first one: what it does again is less odd
//! than it was. An incident is looked at again whenever it grows; once reported it stays so. One row alone is
//! not looked at before it has company, or is over. No more than the budget is ever reported within a day of
//! event time, whatever comes, and the choice follows from event times and incidents alone, so that an
//! archive is reported as the wire was.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Event, Said, State};
use super::severity::Severity;

/// Nanoseconds of a day.
const DAY: u64 = 86_400_000_000_000;

/// Where so many of a day are stronger, an incident is held: to look at more of them each time would be slow.
const LOOKED_AT: usize = 1 << 12;

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

    /// The same where an earlier run reported incidents already: when, and which.
    #[must_use]
    pub fn after(self, told: &[(u64, u64)]) -> Budget {
        Budget { reports: told.iter().copied().collect(), ..self }
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
        let (opened, reported) = (known.opened, known.reported);
        self.by_strength.remove(&(known.strength, id));
        if opened == now || opened > now.saturating_sub(DAY) {
            self.by_strength.insert(((severity, weight), id));
            self.by_time.insert((opened, id));
        }
        known.strength = (severity, weight);
        let open = known.open;
        if event.state.withdrawn {
            self.by_strength.remove(&((severity, weight), id));
            if !open && opened <= now.saturating_sub(DAY) {
                self.known.remove(&id);
            }
            return !reported;
        }
        let waits = event.state.alerts == 1 && event.said != Said::Close;
        let is_told = reported || !waits && self.is_worth(id, (severity, weight), now);
        if is_told && !reported {
            self.reports.insert((now, id));
        }
        if !open && opened <= now.saturating_sub(DAY) {
            self.known.remove(&id);
        } else if let Some(known) = self.known.get_mut(&id) {
            known.reported = is_told;
        }
        !is_told
    }

    /// Whether fewer that count are stronger than reports are left.
    fn is_worth(&self, id: u64, own: Strength, now: u64) -> bool {
        let left = self.a_day.saturating_sub(self.reports.len());
        let since = now.saturating_sub(self.memory());
        let is_stronger =
            |(strength, other): &&(Strength, u64)| *strength > own || *strength == own && *other > id;
        let mut counted = 0;
        for (looked_at, (_, other)) in self.by_strength.iter().rev().take_while(is_stronger).enumerate() {
            counted += usize::from(self.known.get(other).is_some_and(|known| known.opened > since));
            if counted >= left || looked_at >= LOOKED_AT.max(self.a_day) {
                return false;
            }
        }
        left > 0
    }

    /// How far back incidents count, in nanoseconds: of a day the part of all reports but the last that was spent,
    /// squared. Of drawn strengths, 60 a day, 14 of 20 reports are used so; by that part itself 13, always by a day
    /// 10.
    fn memory(&self) -> u64 {
        let all_but_one = self.a_day.saturating_sub(1);
        if self.reports.len() >= all_but_one {
            return DAY;
        }
        let spent = self.reports.len() as f64 / all_but_one as f64;
        (DAY as f64 * spent * spent) as u64
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::State;
    use super::super::tests::{finding, state};
    use super::*;

    const HOUR: u64 = DAY / 24;

    fn event(time: u64, said: Said, id: u64, severity: Severity, weight: u64) -> Event {
        let finding = finding(0, id, [10, 0, 0, 1], [10, 0, 0, 2], 9.0);
        let state = State { alerts: 2, weight, severity, ..state(&finding) };
        Event { time, said, state }
    }

    proptest! {
        #[test]
        fn no_more_than_the_budget_is_reported_in_any_day(
            a_day in 1..8u32,
            drawn in prop::collection::vec((0..3 * HOUR, 0..40u64, 0..3usize, 0..1000u64, 0..3u8), 1..300),
        ) {
            let mut budget = Budget::new(a_day);
            let (mut now, mut open) = (1, BTreeSet::new());
            let mut reports: Vec<u64> = Vec::new();
            let mut reported = BTreeSet::new();
            for (pause, id, severity, weight, said) in drawn {
                now += pause;
                let severity = [Severity::Low, Severity::Medium, Severity::Critical][severity];
                let said = match open.insert(id) {
                    true => Said::Create,
                    false => [Said::Update, Said::Update, Said::Close][said as usize],
                };
                let held = budget.holds(&event(now, said, id, severity, weight));
                // One report for all that is said of an incident until it is over.
                if !held && reported.insert(id) {
                    reports.push(now);
                }
                if said == Said::Close {
                    open.remove(&id);
                    reported.remove(&id);
                    // What comes back under the id of a reported one is that one again.
                    if budget.known.get(&id).is_some_and(|known| known.reported) {
                        reported.insert(id);
                    }
                }
                reports.retain(|time| *time + DAY > now);
                prop_assert!(reports.len() <= a_day as usize, "{:?}", reports);
            }
        }

        #[test]
        fn what_was_reported_stays_so(a_day in 1..5u32, weights in prop::collection::vec(0..100u64, 1..40)) {
            let mut budget = Budget::new(a_day);
            for (id, weight) in (0..).zip(&weights) {
                let first = budget.holds(&event(id * HOUR, Said::Create, id, Severity::Medium, *weight));
                let later = budget.holds(&event(id * HOUR + 1, Said::Update, id, Severity::Medium, *weight));
                prop_assert!(first || !later);
            }
        }
    }

    #[test]
    fn what_was_reported_before_counts_within_a_day() {
        let told = [(DAY, 70), (DAY + HOUR, 71)];
        let worth =
            |time: u64| !Budget::new(2).after(&told).holds(&event(time, Said::Create, 1, Severity::High, 9));
        assert_eq!([DAY + 2 * HOUR, 2 * DAY - 1, 2 * DAY, 3 * DAY].map(worth), [false, false, true, true]);
    }

    #[test]
    fn the_first_are_reported_leniently_and_the_last_report_is_for_the_strongest() {
        let mut budget = Budget::new(4);
        let mut held =
            |id: u64, weight| budget.holds(&event(id * HOUR, Said::Create, id, Severity::Medium, weight));
        assert!(!held(1, 50) && !held(2, 40), "two of four, whatever they are");
        assert!(held(3, 30), "two are stronger, and two reports are left");
        assert!(!held(4, 60), "the strongest so far");
        assert!(held(5, 55), "the last report waits for a stronger one");
        assert!(!held(6, 70));
        assert!(held(7, 80), "nothing is left");
        assert!(!held(31, 80), "a day later there is room again");
    }

    #[test]
    fn an_attack_of_days_that_grows_less_odd_is_not_silent_after_its_first_one() {
        let mut budget = Budget::new(20);
        let mut told = [0; 4];
        for number in 0..1200 {
            let time = 1 + number * DAY / 300;
            let held = budget.holds(&event(time, Said::Create, number, Severity::Critical, 2000 - number));
            told[(time / DAY) as usize] += usize::from(!held);
        }
        assert!(told.iter().all(|told| (4..=20).contains(told)), "{told:?}");
        // And after it what is weaker is told again, a day later.
        let after = 5 * DAY + HOUR;
        assert!(!budget.holds(&event(after, Said::Create, 5000, Severity::Medium, 1)));
    }

    #[test]
    fn what_is_weaker_than_thousands_of_its_day_waits_and_one_a_day_is_for_the_strongest() {
        let mut budget = Budget::new(3);
        for id in 0..5000 {
            budget.holds(&event(1 + id, Said::Create, id, Severity::Critical, 9));
        }
        assert!(budget.holds(&event(DAY / 2, Said::Create, 6000, Severity::Low, 1)));
        let mut budget = Budget::new(1);
        assert!(!budget.holds(&event(1, Said::Create, 1, Severity::Medium, 9)));
        assert!(budget.holds(&event(HOUR, Said::Create, 2, Severity::Critical, 9)), "nothing is left");
        assert!(budget.holds(&event(DAY + 2, Said::Create, 3, Severity::Low, 9)));
        assert!(!budget.holds(&event(DAY + 3, Said::Create, 4, Severity::Critical, 10)));
    }

    #[test]
    fn one_row_alone_takes_no_report_before_it_has_company_or_is_over() {
        let mut budget = Budget::new(2);
        let alone = |time, said| {
            let mut event = event(time, said, 1, Severity::Low, 9);
            event.state.alerts = 1;
            event
        };
        assert!(budget.holds(&alone(1, Said::Create)));
        assert!(!budget.holds(&event(2, Said::Create, 2, Severity::Medium, 20)));
        assert!(budget.holds(&alone(3, Said::Close)), "the last report is for the strongest");
        assert!(!Budget::new(2).holds(&alone(1, Said::Close)));
    }

    #[test]
    fn what_is_over_and_a_day_old_is_forgotten() {
        let mut budget = Budget::new(2);
        for id in 0..1000 {
            budget.holds(&event(id * HOUR, Said::Create, id, Severity::Medium, id % 7));
            budget.holds(&event(id * HOUR + 1, Said::Close, id, Severity::Medium, id % 7));
        }
        assert!(budget.known.len() <= 25 && budget.by_strength.len() <= 25 && budget.by_time.len() <= 25);
    }

    #[test]
    fn an_incident_that_comes_back_counts_against_weaker_ones_again() {
        let mut budget = Budget::new(1);
        let strong = |time, said, withdrawn| {
            let mut event = event(time, said, 1, Severity::Critical, 9);
            event.state.withdrawn = withdrawn;
            event.state.alerts = 1;
            event
        };
        // It waits for company, so no report is spent.
        assert!(budget.holds(&strong(1, Said::Create, false)));
        assert!(budget.holds(&strong(2, Said::Close, true)));
        let mut without = budget.clone();
        assert!(!without.holds(&event(4, Said::Create, 2, Severity::Low, 1)), "nothing is stronger");
        assert!(budget.holds(&strong(3, Said::Restore, false)));
        assert!(budget.holds(&event(4, Said::Create, 2, Severity::Low, 1)), "the one that came back is");
    }
}
