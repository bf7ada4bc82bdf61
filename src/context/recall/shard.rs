//! A share of what is remembered: identities by their key, when each was first and last seen, and the last
//! starts of their flows.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::super::address::Address;
use super::super::entity::Key;
use super::starts::{Regularity, Start, Starts};

/// One identity. Windows are known by their start in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) key: Key,
    /// The window of the first row.
    pub(super) first: u64,
    /// The window of the last row.
    pub(super) last: u64,
    /// Boxed: most identities have none.
    pub(super) starts: Option<Box<Starts>>,
    /// Whether it was remembered before the run.
    pub(super) learned: bool,
}

/// How long an identity stays where there is no room for all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stays {
    /// It came and went.
    Shortest,
    /// Training knew it.
    Longer,
    /// It has been there for a while.
    Longest,
}

impl Known {
    fn stays(&self) -> Stays {
        match (self.last.saturating_sub(self.first) >= STANDING, self.learned) {
            (true, _) => Stays::Longest,
            (false, true) => Stays::Longer,
            (false, false) => Stays::Shortest,
        }
    }
}

/// Orders keys by kind and addresses, as they are written and forgotten.
pub(super) fn order(key: &Key) -> (u32, [Address; 2], u32) {
    (key.code() >> 24, key.ends(), key.code())
}

/// What came about an identity in the open window.
struct Turn {
    slot: u32,
    lead: u64,
    starts: Vec<Start>,
    regularities: Vec<Regularity>,
}

/// A longer time between what was remembered and the first window of a share, in nanoseconds, was not watched: no row of
/// many identities would have come.
const UNWATCHED: u64 = 3_600_000_000_000;

/// An identity has a standing whose last row came so long after its first, in nanoseconds: it did not come and go.
const STANDING: u64 = 600_000_000_000;

/// Of the room one part in so many stays for identities that have no standing and that training did not know.
const FOR_OTHERS: usize = 4;

/// No turn yet.
const NONE: u32 = u32::MAX;

/// A share.
#[derive(Default)]
pub(super) struct Shard {
    /// Positions by key. The hash is seeded anew in each process: crafted keys must not collide at will.
    index: HashTable<u32>,
    seed: RandomState,
    known: Vec<Known>,
    /// For each of them its turn in the open window.
    turn_of: Vec<u32>,
    turns: Vec<Turn>,
    /// The last window that was remembered before, until the first one of the run comes.
    until: Option<u64>,
}

impl Shard {
    /// With what was remembered before, up to a window.
    pub(super) fn new(mut known: Vec<Known>, until: Option<u64>) -> Shard {
        known.iter_mut().for_each(|known| known.learned = true);
        let mut shard = Shard { turn_of: vec![NONE; known.len()], known, until, ..Shard::default() };
        shard.rebuild();
        shard
    }

    /// Nobody counted the flows between what was remembered and a run that begins much later: a gap of hours among
    /// seconds is no rhythm of anybody's, and would stay among the last 16 for long. Rhythms begin anew.
    fn watch_again(&mut self, window: u64) {
        if self.until.take().is_some_and(|until| window.saturating_sub(until) > UNWATCHED) {
            self.known.iter_mut().for_each(|known| known.starts = None);
        }
    }

    /// Takes in that rows of the window are of an identity: the smallest flow id of theirs, and which flows
    /// started. In which order does not matter. Returns its turn.
    pub(super) fn see(&mut self, key: &Key, window: u64, lead: u64, starts: &[Start]) -> u32 {
        self.watch_again(window);
        let slot = self.slot(key, window);
        let turn = &mut self.turn_of[slot as usize];
        if *turn == NONE {
            *turn = self.turns.len() as u32;
            let known = &mut self.known[slot as usize];
            known.last = known.last.max(window);
            self.turns.push(Turn { slot, lead, starts: starts.to_vec(), regularities: Vec::new() });
            return *turn;
        }
        let own = &mut self.turns[*turn as usize];
        own.lead = own.lead.min(lead);
        own.starts.extend_from_slice(starts);
        *turn
    }

    /// All of the window was taken in.
    pub(super) fn settle(&mut self, window: u64) {
        for turn in self.turns.iter_mut().filter(|turn| !turn.starts.is_empty()) {
            turn.starts.sort_unstable();
            turn.starts.dedup();
            let kept = self.known[turn.slot as usize].starts.get_or_insert_default();
            turn.regularities = kept.add(window, &turn.starts);
        }
    }

    /// The first window, the smallest flow id of the open one, and whether it was remembered before the run, of the
    /// identity of a turn.
    pub(super) fn answer(&self, turn: u32) -> (u64, u64, bool) {
        let turn = &self.turns[turn as usize];
        let known = &self.known[turn.slot as usize];
        (known.first, turn.lead, known.learned)
    }

    /// The regularity at a start of a turn.
    pub(super) fn regularity(&self, turn: u32, start: &Start) -> Regularity {
        let turn = &self.turns[turn as usize];
        match turn.starts.binary_search(start) {
            Ok(at) => turn.regularities.get(at).copied().unwrap_or(Regularity::NONE),
            Err(_) => Regularity::NONE,
        }
    }

    /// Ends the window. If more than `most` are remembered, forgets some, and some more so that it need not be done
    /// again at once. Returns how many.
    ///
    /// First those that came and went leave, as strangers do who are seen once, but for a quarter of the room; then
    /// others that training knew, and last those with a standing. Otherwise a night of strangers, or an hour of forged
    /// ones, would make known hosts new ones. Of each, those last seen longest ago leave first, of one window the last
    /// by [`order`].
    pub(super) fn close(&mut self, most: usize) -> u64 {
        for turn in self.turns.drain(..) {
            self.turn_of[turn.slot as usize] = NONE;
        }
        if self.known.len() <= most {
            return 0;
        }
        let excess = self.known.len() - (most - most / 8);
        self.known.sort_unstable_by(|a, b| {
            let by_time = a.last.cmp(&b.last).then_with(|| order(&b.key).cmp(&order(&a.key)));
            a.stays().cmp(&b.stays()).then(by_time)
        });
        let others = self.known.partition_point(|known| known.stays() == Stays::Shortest);
        let leaving = excess.min(others.saturating_sub(most / FOR_OTHERS));
        // What is over, beyond the others that stay, leaves from those that are kept longer.
        let longer = (excess - leaving).min(self.known.len() - others);
        self.known.drain(others..others + longer);
        self.known.drain(..excess - longer);
        if self.known.capacity() > 2 * most {
            // What a flood needed is given back.
            self.known.shrink_to(most);
        }
        self.turn_of = vec![NONE; self.known.len()];
        self.turns = Vec::new();
        self.rebuild();
        excess as u64
    }

    /// What is remembered, in no order.
    #[cfg(test)]
    pub(super) fn known(&self) -> &[Known] {
        &self.known
    }

    /// Hands over what is remembered, in no order.
    pub(super) fn into_known(mut self) -> Vec<Known> {
        self.known.iter_mut().for_each(|known| known.learned = false);
        self.known
    }

    fn slot(&mut self, key: &Key, window: u64) -> u32 {
        let hash = self.seed.hash_one(key);
        let known = &mut self.known;
        if let Some(slot) = self.index.find(hash, |slot| known[*slot as usize].key == *key) {
            return *slot;
        }
        let slot = known.len() as u32;
        known.push(Known { key: *key, first: window, last: window, starts: None, learned: false });
        self.turn_of.push(NONE);
        let (seed, known) = (&self.seed, &self.known);
        self.index.insert_unique(hash, slot, |slot| seed.hash_one(known[*slot as usize].key));
        slot
    }

    fn rebuild(&mut self) {
        let (seed, known) = (&self.seed, &self.known);
        self.index = HashTable::with_capacity(known.len());
        for (slot, one) in known.iter().enumerate() {
            let hash = |slot: &u32| seed.hash_one(known[*slot as usize].key);
            self.index.insert_unique(seed.hash_one(one.key), slot as u32, hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: u32) -> Key {
        Key::of(Some(&Address::parse(Some(&std::net::Ipv4Addr::from(host).to_string()))), None, 0)
    }

    #[test]
    fn the_least_recently_seen_leave_first_whatever_came_first() {
        let kept = |order: &[u32]| {
            let mut shard = Shard::default();
            for window in [1, 2] {
                order.iter().filter(|host| window == 1 || **host % 2 == 0).for_each(|host| {
                    shard.see(&key(*host), window, 0, &[]);
                });
                shard.settle(window);
                assert_eq!(shard.close(100), 0);
            }
            assert_eq!(shard.close(6), 4);
            let mut kept: Vec<_> = shard.known().iter().map(|known| (known.key, known.first)).collect();
            kept.sort_by_key(|(key, _)| super::order(key));
            // Those that stay are still found, the others begin anew.
            let first = shard.see(&key(2), 3, 0, &[]);
            let gone = shard.see(&key(9), 3, 0, &[]);
            assert_eq!((shard.answer(first).0, shard.answer(gone).0), (1, 3));
            kept
        };
        let there = kept(&(0..10).collect::<Vec<_>>());
        assert_eq!(there, kept(&(0..10).rev().collect::<Vec<_>>()));
        let expected: Vec<_> = [0, 1, 2, 4, 6, 8].map(|host| (key(host), 1)).into();
        assert_eq!(there, expected);
    }

    #[test]
    fn those_with_a_standing_and_those_that_training_knew_outlast_strangers() {
        const WINDOW: u64 = 10_000_000_000;
        let known = |hosts: std::ops::Range<u32>, last: u64| {
            let known = |host| Known { key: key(host), first: 0, last, starts: None, learned: false };
            hosts.map(known).collect::<Vec<_>>()
        };
        // Ten that were there for long, ten that training met once.
        let trained = [known(0..10, STANDING), known(10..20, WINDOW)].concat();
        let mut shard = Shard::new(trained, Some(STANDING));
        let mut forgotten = 0;
        for window in 100..600 {
            for host in 0..3 {
                shard.see(&key(1000 + window * 3 + host), u64::from(window) * WINDOW, 0, &[]);
            }
            shard.settle(u64::from(window) * WINDOW);
            forgotten += shard.close(80);
            assert!(shard.known().len() <= 80);
        }
        let is_there = |hosts: std::ops::Range<u32>| {
            hosts.filter(|host| shard.known().iter().any(|known| known.key == key(*host))).count()
        };
        assert_eq!((is_there(0..10), is_there(10..20)), (10, 10));
        assert_eq!(forgotten + shard.known().len() as u64, 1500 + 20);
        // Where too many have a standing, the last of those who came lately stay, too, and the rest by time.
        let mut shard = Shard::new(known(0..100, STANDING), None);
        shard.see(&key(5), STANDING + WINDOW, 0, &[]);
        (200..240).for_each(|host| _ = shard.see(&key(host), STANDING + WINDOW, 0, &[]));
        shard.settle(STANDING + WINDOW);
        assert_eq!(shard.close(80), 70);
        let others = shard.known().iter().filter(|known| known.first > 0).count();
        assert_eq!((shard.known().len(), others), (70, 20));
        assert!(shard.known().iter().any(|known| known.key == key(5)));
    }

    #[test]
    fn rhythms_go_on_where_a_run_follows_and_begin_anew_where_nobody_watched() {
        const SECOND: u64 = 1_000_000_000;
        let clock = |shard: &mut Shard, from: u64| -> Vec<f32> {
            let gaps = (0..8).map(|number| {
                let (window, start) = (from + number * 10 * SECOND, from + number * 10 * SECOND + SECOND);
                let start = Start { time: start, flow: number };
                let turn = shard.see(&key(1), window, 0, &[start]);
                shard.settle(window);
                let gap = shard.regularity(turn, &start).gap8;
                shard.close(100);
                gap
            });
            gaps.collect()
        };
        let mut training = Shard::default();
        clock(&mut training, 0);
        let known = training.into_known();
        let until = known.iter().map(|known| known.last).max();
        let again = |from: u64| clock(&mut Shard::new(known.clone(), until), from);
        assert!(again(80 * SECOND).iter().all(|gap| *gap == 10.0));
        let later = again(11 * 3600 * SECOND);
        assert!(later[..4].iter().all(|gap| gap.is_nan()) && later[4..].iter().all(|gap| *gap == 10.0));
    }

    #[test]
    fn a_million_identities_cost_well_under_two_hundred_bytes_each() {
        assert_eq!(size_of::<Known>(), 72);
        let most = 3_906;
        let mut shard = Shard::default();
        for window in 0..200 {
            for host in 0..100 {
                shard.see(&key(window * 100 + host), window.into(), 0, &[]);
            }
            shard.settle(window.into());
            shard.close(most);
        }
        let bytes = shard.known.capacity() * size_of::<Known>()
            + shard.turn_of.capacity() * size_of::<u32>()
            + shard.index.capacity() * 8;
        assert!(shard.known.len() > most * 3 / 4 && bytes / most < 150, "{bytes}");
    }

    #[test]
    fn what_several_workers_say_of_a_window_is_one() {
        let mut shard = Shard::default();
        let start = |time| Start { time, flow: time };
        let first = shard.see(&key(1), 5, 9, &[start(8), start(6)]);
        assert_eq!(first, shard.see(&key(1), 5, 3, &[start(7)]));
        shard.settle(5);
        assert_eq!(shard.answer(first), (5, 3, false));
        shard.close(10);
        assert_eq!(shard.known()[0].starts.as_ref().unwrap().times(), [6, 7, 8]);
    }
}
