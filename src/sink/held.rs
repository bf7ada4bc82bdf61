//! How many incidents a budget keeps back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;

use crate::incident::Event;
use crate::tally::Tally;

/// Nothing is said of an incident any more so long after it was last spoken of, nanoseconds: what may change reaches back a
/// day at most.
pub(super) const FORGOTTEN: u64 = 2 * 86_400_000_000_000;

/// Incidents that are kept back, and when each was last spoken of.
#[derive(Default)]
pub(super) struct Held {
    last: BTreeMap<u64, u64>,
    order: VecDeque<(u64, u64)>,
}

impl Held {
    /// Counts an incident as what it is now. Events must come in their order. Knocks are counted elsewhere.
    pub(super) fn take(&mut self, event: &Event, tally: &Tally) {
        let (time, state) = (event.time, &event.state);
        let was = self.last.remove(&state.id).is_some();
        let is = state.held && !state.knock && !state.withdrawn;
        match (was, is) {
            (false, true) => _ = tally.held.fetch_add(1, Relaxed),
            (true, false) => _ = tally.held.fetch_sub(1, Relaxed),
            _ => {}
        }
        if is {
            self.last.insert(state.id, time);
            self.order.push_back((time, state.id));
        }
        while let Some((then, id)) =
            self.order.pop_front_if(|(then, _)| *then < time.saturating_sub(FORGOTTEN))
        {
            if self.last.get(&id) == Some(&then) {
                self.last.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Said, example_of_a_knock};

    #[test]
    fn an_incident_is_counted_while_it_is_kept_back() {
        let (mut held, tally) = (Held::default(), Tally::default());
        let mut said = |seconds: u64, id: u64, is_held: bool, knock: bool, withdrawn: bool| {
            let mut state = example_of_a_knock();
            (state.id, state.held, state.knock, state.withdrawn) = (id, is_held, knock, withdrawn);
            held.take(&Event { time: seconds * 1_000_000_000, said: Said::Update, state }, &tally);
            tally.held.load(Relaxed)
        };
        assert_eq!(said(1, 7, true, false, false), 1);
        assert_eq!(said(2, 8, true, false, false), 2);
        assert_eq!(said(3, 7, true, false, false), 2, "said again");
        assert_eq!(said(4, 9, true, true, false), 2, "a knock");
        assert_eq!(said(5, 7, false, false, false), 1, "grown, and reported");
        assert_eq!(said(6, 8, true, false, true), 0, "taken back");
        // One that goes on for days is still one.
        for day in 0..6 {
            assert_eq!(said(day * 86_400, 10, true, false, false), 1, "day {day}");
        }
    }
}
