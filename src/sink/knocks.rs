//! Which knocks stay alone: those that are not reported.
//!
//! Whatever faces the internet has single odd rows of strangers all day that nobody answers. One that comes again, or whose
//! target others come to as well, is no longer by itself: that is reported as any row is, so that neither who probes once a
//! minute nor many who come once each stay unsaid.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::held::FORGOTTEN;
use crate::incident::{Event, Said};
use crate::tally::Tally;

/// What came within so long counts, nanoseconds.
const LATELY: u64 = 600_000_000_000;
/// So many came to a host lately, and one that comes then is reported.
const TO_ONE: usize = 3;

/// Knocks that came lately, and incidents that are no more than knocks.
#[derive(Default)]
pub(super) struct Knocks {
    lately: VecDeque<(u64, IpAddr, IpAddr)>,
    alone: BTreeSet<u64>,
    since: VecDeque<(u64, u64)>,
}

impl Knocks {
    /// Decides whether an incident that could be a knock stays one, and counts it as what it is. Events must come in their
    /// order. What was reported once is none.
    pub(super) fn take(&mut self, event: &mut Event, tally: &Tally) {
        let Event { time, said, state } = event;
        let begins = matches!(said, Said::Create | Said::Restore);
        let was = self.alone.remove(&state.id);
        state.knock &= if begins { self.comes_alone(*time, state.top.src, state.top.dst) } else { was };
        let counter = |knocks: bool| if knocks { &tally.knocks } else { &tally.incidents };
        if !begins {
            counter(was).fetch_sub(1, Relaxed);
        }
        if !state.withdrawn {
            counter(state.knock).fetch_add(1, Relaxed);
        }
        if state.knock {
            self.alone.insert(state.id);
            if begins {
                self.since.push_back((*time, state.id));
            }
        }
        while let Some((_, id)) =
            self.since.pop_front_if(|(since, _)| *since < time.saturating_sub(FORGOTTEN))
        {
            self.alone.remove(&id);
        }
    }

    /// Notes a knock; whether neither its source came lately, nor many to its target.
    fn comes_alone(&mut self, time: u64, src: IpAddr, dst: IpAddr) -> bool {
        while self.lately.pop_front_if(|(then, ..)| *then < time.saturating_sub(LATELY)).is_some() {}
        let again = self.lately.iter().any(|(_, source, _)| *source == src);
        let others = self.lately.iter().filter(|(.., target)| *target == dst).count();
        self.lately.push_back((time, src, dst));
        !again && others < TO_ONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::example_of_a_knock;

    /// Says it of an incident; whether it is a knock then, and how many incidents and knocks there are.
    fn said(
        knocks: &mut Knocks,
        tally: &Tally,
        (seconds, id, source, target): (u64, u64, u8, u8),
        said: Said,
        (knock, withdrawn): (bool, bool),
    ) -> (bool, u64, u64) {
        let mut event = Event { time: seconds * 1_000_000_000, said, state: example_of_a_knock() };
        (event.state.id, event.state.knock, event.state.withdrawn) = (id, knock, withdrawn);
        event.state.top.src = IpAddr::from([203, 0, 113, source]);
        event.state.top.dst = IpAddr::from([10, 0, 0, target]);
        knocks.take(&mut event, tally);
        (event.state.knock, tally.incidents.load(Relaxed), tally.knocks.load(Relaxed))
    }

    #[test]
    fn a_knock_is_counted_apart_until_more_comes() {
        let (mut knocks, tally) = (Knocks::default(), Tally::default());
        let mut said = |of, what, knock, withdrawn| said(&mut knocks, &tally, of, what, (knock, withdrawn));
        assert_eq!(said((0, 1, 1, 1), Said::Create, true, false), (true, 0, 1));
        assert_eq!(said((0, 2, 2, 2), Said::Create, false, false), (false, 1, 1));
        assert_eq!(said((0, 3, 3, 3), Said::Create, true, false), (true, 1, 2));
        assert_eq!(said((10, 1, 1, 1), Said::Update, false, false), (false, 2, 1));
        assert_eq!(said((60, 3, 3, 3), Said::Close, true, false), (true, 2, 1));
        assert_eq!(said((60, 3, 3, 3), Said::Close, true, true), (true, 2, 0));
        assert_eq!(said((60, 1, 1, 1), Said::Close, false, true), (false, 1, 0));
        assert_eq!(said((70, 2, 2, 2), Said::Update, true, false), (false, 1, 0), "it was reported");
    }

    #[test]
    fn who_comes_again_and_the_fourth_to_one_host_are_reported() {
        let (mut knocks, tally) = (Knocks::default(), Tally::default());
        let mut comes = |seconds, id, source, target| {
            said(&mut knocks, &tally, (seconds, id, source, target), Said::Create, (true, false)).0
        };
        assert!(comes(0, 1, 1, 1));
        assert!(!comes(70, 2, 1, 2), "the same source");
        assert!(comes(700, 3, 1, 3), "ten minutes later");
        assert!(comes(710, 4, 2, 9) && comes(720, 5, 3, 9) && comes(730, 6, 4, 9));
        assert!(!comes(740, 7, 5, 9), "the fourth to one host");
        assert!(comes(2_000, 8, 6, 9));
    }

    #[test]
    fn knocks_of_long_ago_are_forgotten() {
        let (mut knocks, tally) = (Knocks::default(), Tally::default());
        for day in 0..30u64 {
            let of = |id: u64| (day * 86_400 + id, day * 100 + id, id as u8, id as u8);
            for id in 0..100 {
                said(&mut knocks, &tally, of(id), Said::Create, (true, false));
                said(&mut knocks, &tally, of(id), Said::Close, (true, false));
            }
        }
        assert!(knocks.alone.len() <= 300 && knocks.since.len() <= 300 && knocks.lately.len() <= 100);
        assert_eq!(tally.knocks.load(Relaxed), 3_000);
    }
}
