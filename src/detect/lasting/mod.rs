//! Evidence that lasts: what the windows before say about a source, its destination and their service.
//!
//! One row of a long, quiet connection to a new peer is a little odd, as many a harmless row is for once; row after
//! row of it is not harmless. So each source, destination and service has a level, the exponentially weighted mean
//! of the largest score of each of its windows (a chart of Roberts, "Control chart tests based on geometric moving
//! averages", Technometrics 1959), and so has each source and destination whatever the service: who tries one after the other
//! begins anew with each. A row is as odd as its own score and the mean of these two levels together, on the scale of what
//! that sum is among the calibration rows. Who is usually unremarkable is forgiven one odd row; a sum that grows
//! without end over a life, as CUSUM's, would find every connection of some age.
//!
//! And who is under attack is excused: a flooded proxy's connections to the servers behind it are odd because of what
//! comes in. Where a row with a tail below 1e-3 goes to a host, the rows of the same window that the host itself sends
//! to destinations and services that it has long known count no more than those of an unknown ([`excused`]).
//!
//! A host of one's own that training did not know is held against the pasts of others for as long as a model is in use.
//! So it speaks up while it joins, and then what it has done between the same two hosts is usual: rows of a source,
//! destination and service with such a host count as far as they are odder than those were ([`accustomed`]). And where
//! several join at once, as guests do, joining is nothing odd: their rows are as odd as those of hosts that training knows
//! would be if it did not ([`Lasting::score_of_newcomer`]).
//!
//! Levels are kept by key ([`Levels`]), each by the worker that owns its share of keys ([`operator`]), window by
//! window in event time: the result depends neither on the workers nor on the order of rows. On the same way it is counted how
//! many odd rows of a window a source and a destination have, also for detectors that do not ask what lasts: of many some
//! are told.

mod asking;
mod following;
pub(in crate::detect) mod operator;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::calibration::Tail;
use crate::context::entity::Key;

/// How far a level goes towards the largest score of a window: about ten windows back still count.
const STEP: f64 = 0.2;

/// The level of those of whom nothing is known, in nats: what is new is neither forgiven nor held against anybody.
const START: f64 = 4.0;

/// A host is under attack in a window in which the own score of a row to it is greater, in nats.
const STRUCK: f64 = 6.9;

/// A destination and service is long known to a source when its first row is so many windows ago.
const LONG: u8 = crate::context::OLDEST as u8;

/// A destination that training did not know joins in so many windows since its first row, as a source does while it is new.
const JOINING: u8 = 30;

/// How much of what a host showed while it joined counts as its own way.
const OWN_WAY: f64 = 0.75;

/// So many sources that join in one window are a crowd. One or two may be an attacker's.
const CROWD: usize = 3;

/// Levels that are kept, in all; those of whom nothing was heard longest leave.
const KEPT: usize = 1 << 19;

/// In the place of a service, and larger than any: the key is of a source and a destination, whatever the service.
const PAIR: u32 = 1 << 29;

/// Shares of the space of keys. A share is kept by one worker as a whole, so what it has room for does not depend on
/// how many workers there are.
const SHARES: usize = 256;

/// How odd a row's own score and the level of its source, destination and service are together.
#[derive(Clone, Debug, PartialEq)]
pub struct Lasting {
    /// Of the sum of both among the calibration rows.
    pub(in crate::detect) tail: Tail,
    /// The same as if their sources had just joined.
    pub(in crate::detect) newcomers: Tail,
}

impl Lasting {
    /// Learns it from the own scores of the calibration rows, which are about these and in these windows.
    ///
    /// So many `more` rows are known to be in the tail, but not how far out: they change how many are there, and not how
    /// they fall.
    pub(in crate::detect) fn of(rows: &[(Key, u64)], own: &[f64], more: usize) -> Lasting {
        let mut sums: Vec<f64> =
            levels(rows, own).into_iter().zip(own).map(|(level, own)| own + level).collect();
        let mut tail = Tail::predicting(&mut sums);
        if more > 0 {
            sums.extend(std::iter::repeat_n(tail.from + tail.mean, more));
            tail = Tail::predicting(&mut sums);
        }
        Lasting { newcomers: tail.clone(), tail }
    }

    /// Learns what the sum is where sources have just joined, from own scores that are as if they had.
    pub(in crate::detect) fn learn_newcomers(&mut self, rows: &[(Key, u64)], own: &[f64]) {
        let mut sums: Vec<f64> =
            levels(rows, own).into_iter().zip(own).map(|(level, own)| own + level).collect();
        self.newcomers = Tail::predicting(&mut sums);
    }

    /// The score of a row, -ln of its tail.
    pub fn score(&self, own: f64, level: f64) -> f64 {
        self.tail.predicted(own + level)
    }

    /// The same of a row whose source joins as others do: what any would do is not odd.
    pub fn score_of_newcomer(&self, own: f64, level: f64) -> f64 {
        self.score(own, level).min(self.newcomers.predicted(own + level))
    }
}

/// Own score and level of a row that its source sends while it is under attack, to where it has sent for long.
fn excused(own: f64, level: f64) -> (f64, f64) {
    (own.min(START), level.min(START))
}

/// What is usual of a source of this level while it joined, whatever it does. No attack is anybody's way.
fn own_way(level: f64) -> f64 {
    START + OWN_WAY * (level.min(STRUCK) - START).max(0.0)
}

/// Own score and level of a row between hosts of which one joined before, where `usual` was no news meanwhile: of what is
/// above an unknown's, as far as it is more than that.
fn accustomed(own: f64, level: f64, usual: f64) -> (f64, f64) {
    let known = (usual - START).max(0.0);
    let more = |score: f64| if score > START { (score - known).max(START) } else { score };
    (more(own), more(level))
}

/// The key of the source and destination of one with a service.
fn pair(key: &Key) -> Key {
    let [source, destination] = key.ends();
    Key::of(Some(&source), Some(&destination), PAIR)
}

/// What the level of a source, destination and service says, and that of the two whatever the service.
fn together(service: f64, pair: f64) -> f64 {
    (service + pair) / 2.0
}

/// The level of each row's source, destination and service, with that of source and destination, after the row's window,
/// whatever the order of rows.
fn levels(rows: &[(Key, u64)], own: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by_key(|row| rows[*row].1);
    let mut levels = Levels::new(usize::MAX);
    let mut all = vec![0.0; rows.len()];
    for of_window in order.chunk_by(|a, b| rows[*a].1 == rows[*b].1) {
        for row in of_window {
            let (key, window) = &rows[*row];
            levels.see(key, *window, own[*row]);
            levels.see(&pair(key), *window, own[*row]);
        }
        for row in of_window {
            let key = &rows[*row].0;
            all[*row] = together(levels.level(key), levels.level(&pair(key)));
        }
        levels.close();
    }
    all
}

/// The worker, of `peers`, that keeps the level of a key.
fn owner(key: &Key, peers: usize) -> usize {
    share(key) * peers / SHARES
}

fn share(key: &Key) -> usize {
    (key.hash() >> 56) as usize
}

/// What is known of one source, destination and service, or source and destination.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    /// After the windows before the last one.
    before: f64,
    /// The largest score in the last window.
    largest: f64,
    /// The last window with a row, by number or start.
    last: u64,
}

impl Level {
    fn after(&self) -> f64 {
        self.before + STEP * (self.largest - self.before)
    }
}

/// The levels of the shares of keys of one worker. Windows come in order.
struct Levels {
    shares: Vec<HashMap<Key, Level, RandomState>>,
    /// Room of each share.
    most: usize,
}

impl Levels {
    /// With room for about so many.
    fn new(most: usize) -> Levels {
        Levels { shares: (0..SHARES).map(|_| HashMap::default()).collect(), most: most.div_ceil(SHARES) }
    }

    /// Takes in a score of the open window; in which order does not matter.
    fn see(&mut self, key: &Key, window: u64, score: f64) {
        let new = Level { before: START, largest: score, last: window };
        let level = self.shares[share(key)].entry(*key).or_insert(new);
        if level.last == window {
            level.largest = level.largest.max(score);
        } else {
            *level = Level { before: level.after(), largest: score, last: window };
        }
    }

    /// Takes in a score of those of whom one joins.
    fn join(&mut self, key: &Key, window: u64, score: f64) {
        let new = Level { before: START, largest: score, last: window };
        let level = self.shares[share(key)].entry(*key).or_insert(new);
        (level.largest, level.last) = (level.largest.max(score), window);
    }

    /// The largest score that they had while one joined, or what is no news of an unknown. Who is asked for is kept.
    fn usual(&mut self, key: &Key, window: u64) -> f64 {
        self.shares[share(key)].get_mut(key).map_or(START, |level| {
            level.last = window;
            level.largest
        })
    }

    /// The level of a source while it joined, which is kept as well.
    fn way(&mut self, key: &Key, window: u64) -> f64 {
        self.shares[share(key)].get_mut(key).map_or(START, |level| {
            level.last = window;
            level.after()
        })
    }

    /// The level of a key of the open window, when all of it was taken in.
    fn level(&self, key: &Key) -> f64 {
        self.shares[share(key)].get(key).map_or(START, Level::after)
    }

    /// Ends the window. A share with too many forgets those whose last window is longest ago, of one window the last
    /// in the order of keys, and some more so that it need not be done again at once.
    fn close(&mut self) {
        let most = self.most;
        for share in self.shares.iter_mut().filter(|share| share.len() > most) {
            let mut all: Vec<(u64, std::cmp::Reverse<[u64; 5]>)> = share
                .iter()
                .map(|(key, level)| (level.last, std::cmp::Reverse(bytemuck::cast(*key))))
                .collect();
            let excess = all.len() - (most - most / 8);
            all.select_nth_unstable(excess - 1);
            for (_, key) in &all[..excess] {
                share.remove(&bytemuck::cast::<[u64; 5], Key>(key.0));
            }
            if share.capacity() > 4 * most {
                // What a flood needed is given back.
                share.shrink_to(most);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::context::address::Address;

    fn source(number: u32) -> Address {
        Address::parse(Some(&format!("10.0.{}.{}", number / 256, number % 256)))
    }

    /// Of a source of its own.
    fn key(code: u32) -> Key {
        Key::of(Some(&source(code)), None, code)
    }

    /// The key of a number: of three sources and two services.
    fn shared(number: u32) -> Key {
        Key::of(Some(&source(number % 3)), None, number % 2)
    }

    /// Word by word what the page says.
    fn expected(rows: &[(u32, u64, f64)], row: usize) -> f64 {
        let (of, until, _) = rows[row];
        let level = |same: &dyn Fn(u32) -> bool| {
            let rows = || rows.iter().filter(|row| same(row.0));
            let mut windows: Vec<u64> = rows().map(|row| row.1).filter(|window| *window <= until).collect();
            windows.sort_unstable();
            windows.dedup();
            let mut level = START;
            for window in windows {
                let scores = rows().filter(|row| row.1 == window).map(|row| row.2);
                level += STEP * (scores.fold(f64::MIN, f64::max) - level);
            }
            level
        };
        (level(&|other| other % 6 == of % 6) + level(&|other| other % 3 == of % 3)) / 2.0
    }

    proptest! {
        #[test]
        fn a_level_is_the_weighted_mean_of_windows_in_any_order_of_rows(
            rows in proptest::collection::vec((0u32..6, 0u64..6, 0.0..12.0f64), 1..60),
        ) {
            let named: Vec<(Key, u64)> = rows.iter().map(|row| (shared(row.0), row.1)).collect();
            let own: Vec<f64> = rows.iter().map(|row| row.2).collect();
            let found = levels(&named, &own);
            for (row, level) in found.iter().enumerate() {
                prop_assert_eq!(*level, expected(&rows, row));
            }
        }

        #[test]
        fn what_is_forgotten_does_not_depend_on_the_order_of_rows(
            mut rows in proptest::collection::vec((0u32..3000, 0u64..4, 0.0..12.0f64), 1..3000),
        ) {
            let run = |rows: &[(u32, u64, f64)]| {
                let mut levels = Levels::new(1024);
                for window in 0..4 {
                    for row in rows.iter().filter(|row| row.1 == window) {
                        levels.see(&key(row.0), window, row.2);
                    }
                    levels.close();
                    assert!(levels.shares.iter().all(|share| share.len() <= 4));
                }
                (0..3000).map(|code| levels.level(&key(code))).collect::<Vec<f64>>()
            };
            let one = run(&rows);
            rows.reverse();
            prop_assert_eq!(one, run(&rows));
        }
    }

    proptest! {
        #[test]
        fn what_was_usual_while_one_joined_counts_as_far_as_there_is_more(
            own in 0.0..20.0f64,
            level in 0.0..20.0f64,
            usual in 0.0..20.0f64,
            more in 0.0..5.0f64,
        ) {
            let (less, calmer) = accustomed(own, level, usual);
            prop_assert!(less <= own && calmer <= level);
            // No less than an unknown's, if it was no less, and nothing changes below that.
            prop_assert!(less >= own.min(START) && calmer >= level.min(START));
            // What is odder stays odder, and what was never odd takes nothing away.
            prop_assert!(accustomed(own + more, level, usual).0 >= less);
            prop_assert_eq!(accustomed(own, level, usual.min(START)), (own, level));
            // Beyond what was usual an excess counts whole.
            let beyond = accustomed(usual.max(START) + more, level, usual).0;
            prop_assert!((beyond - START - more).abs() < 1e-12);
        }

        #[test]
        fn the_way_of_a_host_grows_with_what_it_showed_up_to_an_attack(
            level in 0.0..20.0f64,
            more in 0.0..20.0f64,
        ) {
            let way = own_way(level);
            prop_assert!(way >= START && way <= level.max(START));
            prop_assert!(own_way(level + more) >= way);
            // Whatever is odder than that by an attack's score stays as odd as an attack.
            prop_assert!(own_way(20.0) <= STRUCK);
            prop_assert_eq!(own_way(STRUCK + more), own_way(STRUCK));
        }

        #[test]
        fn the_largest_score_while_one_joined_is_remembered_in_any_order(
            mut told in proptest::collection::vec((0u32..4, 0u64..6, 0.0..12.0f64), 1..60),
        ) {
            let usual = |told: &[(u32, u64, f64)]| -> Vec<f64> {
                let mut levels = Levels::new(1024);
                for window in 0..6 {
                    for (of, _, score) in told.iter().filter(|told| told.1 == window) {
                        levels.join(&key(*of), window, *score);
                    }
                    levels.close();
                }
                (0..4).map(|of| levels.usual(&key(of), 9)).collect()
            };
            let found = usual(&told);
            for (of, found) in (0..4).zip(&found) {
                let largest = told.iter().filter(|told| told.0 == of).map(|told| told.2).reduce(f64::max);
                prop_assert_eq!(*found, largest.unwrap_or(START));
            }
            told.reverse();
            prop_assert_eq!(found, usual(&told));
        }
    }

    #[test]
    fn a_newcomer_among_others_is_no_odder_than_anybody_and_no_odder_than_newcomers_are() {
        let rows: Vec<(Key, u64)> = (0..2000u32).map(|code| (key(code), 1)).collect();
        let own: Vec<f64> = (1..=2000u32).map(|at| -libm::log(f64::from(at) / 2001.0)).collect();
        let mut lasting = Lasting::of(&rows, &own, 0);
        assert_eq!(lasting.score_of_newcomer(7.0, START), lasting.score(7.0, START));
        // Those who join are two nats odder: so they say two nats less, and those who are not say no more.
        lasting.learn_newcomers(&rows, &own.iter().map(|own| own + 2.0).collect::<Vec<f64>>());
        let less = lasting.score(7.0, START) - lasting.score_of_newcomer(7.0, START);
        assert!((1.0..3.0).contains(&less), "{less}");
        lasting.learn_newcomers(&rows, &own.iter().map(|own| own / 2.0).collect::<Vec<f64>>());
        assert_eq!(lasting.score_of_newcomer(7.0, START), lasting.score(7.0, START));
    }

    #[test]
    fn rows_that_are_known_to_be_in_the_tail_change_its_share_and_not_its_fall() {
        let rows: Vec<(Key, u64)> = (0..2000u32).map(|code| (key(code), 1)).collect();
        let own: Vec<f64> = (1..=2000u32).map(|at| -libm::log(f64::from(at) / 2001.0)).collect();
        let (few, more) = (Lasting::of(&rows, &own, 0), Lasting::of(&rows, &own, 20));
        assert_eq!((few.tail.steps.all(), more.tail.steps.all()), (2000.0, 2020.0));
        // A tenth more of them are beyond: about ln 1.1 less is claimed, however far out.
        for own in [5.0, 7.0, 9.0] {
            let less = few.score(own, START) - more.score(own, START);
            assert!((0.02..0.12).contains(&less), "{own}: {less}");
        }
    }

    #[test]
    fn row_after_row_a_little_odd_is_odder_than_one_very_odd_row_of_the_usual() {
        // A thousand unremarkable ones, now and then one odd row; and one that is a little odd in every window.
        let usual = |key: u64, window: u64| match (key * 31 + window * 17) % 97 {
            0 => 7.5,
            rest => rest as f64 / 40.0,
        };
        let mut rows: Vec<(Key, u64)> = Vec::new();
        let mut own = Vec::new();
        for window in 0..30 {
            for code in 0..200 {
                rows.push((key(code), window));
                own.push(usual(u64::from(code), window));
            }
        }
        let lasting = Lasting::of(&rows, &own, 0);
        let mut quiet = START;
        for _ in 0..20 {
            quiet += STEP * (6.0 - quiet);
        }
        assert!(lasting.score(6.0, quiet) > lasting.score(8.0, 1.5));
        assert!(lasting.score(6.0, quiet) > lasting.score(6.0, START));
    }
}
