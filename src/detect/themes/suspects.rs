//! Rows of training that are likely an attack, and calibrate nothing.
//!
//! Whoever trains on an hour of a network may have an attack in it. What it does to the pasts of others is little, but one
//! scan in the last minutes is a twentieth of the rows that calibrate: tails begin where the scan ends, and hardly any
//! attack is as odd as that. So rows are held against the calibration rows of other sources, and against those to
//! other destinations: who is odd among those, and again and again, is left out. What is odd a few times stays, as that
//! is what calibration is for. And as many as chance makes so odd count among the odd, as somebody's may be harmless.
//!
//! What comes to a host all the time, from ever other ones, is no attack that happens to be there but what the network
//! is like: the noise of the internet at a server that it reaches, or clients of a service that are there today alone.
//! It will come again, and calibrates.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ndarray::{Array2, ArrayView1};

use super::columns::WIDTH;
use super::scale::{Batch, Scale};
use super::surprises::AT_ONCE;
use crate::context::address::Address;
use crate::context::entity::Key;
use crate::detect::outline::grouped;

/// A row is suspect if less than this share of the others is as odd.
const SHARE: f64 = 0.0015;

/// And if some column of it, held against the past of those whom it is about, is no more likely than this: where most
/// hosts always do the same, odd among them is whoever does one of two things by turns.
const UNLIKELY: f64 = 0.01;

/// So many suspect rows of a source, or to a destination, are no chance.
const MANY: usize = 12;

/// And so many times those that chance would make.
const TIMES: f64 = 7.0;

/// Calibration rows are cut in so many stretches of time.
const STRETCHES: u64 = 8;

/// What is odd in so many of them comes all the time.
const STEADY: u32 = 5;

/// What comes from ever other hosts: no source has more than this share of the odd rows of a destination.
const ONE_SOURCE: f64 = 0.25;

/// Parts that sources or destinations are shared out in; each is judged by the others.
const PARTS: u64 = 2;

/// The more is left out, the odder is what is left. So often it is looked at again.
const ROUNDS: usize = 4;

/// Calibration rows: the surprises of each, whom it is about and in which window.
pub(super) struct Calibrating<'a> {
    surprises: Vec<ArrayView1<'a, f32>>,
    about: Vec<(Key, u64)>,
}

impl<'a> Calibrating<'a> {
    pub(super) fn of(rows: impl Iterator<Item = (ArrayView1<'a, f32>, (Key, u64))>) -> Calibrating<'a> {
        let (surprises, about) = rows.unzip();
        Calibrating { surprises, about }
    }

    /// How rare what is judged is among the rows that are not suspect, what is to be said of the others, and which those are
    /// not.
    pub(super) fn scale(&self) -> (Scale, Option<String>, Vec<usize>) {
        let suspect = self.suspect();
        let (suspect, kept): (Vec<usize>, Vec<usize>) = (0..suspect.len()).partition(|row| suspect[*row]);
        let by_chance = (self.about.len() as f64 * SHARE) as usize;
        (self.scale_of(&kept, by_chance.min(suspect.len())), self.note(&suspect), kept)
    }

    /// Names the host that most of the suspect rows have in common.
    fn note(&self, suspect: &[usize]) -> Option<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for row in suspect {
            let [source, destination] = self.about[*row].0.ends().map(|end| end.text());
            *counts.entry(format!("from {source}")).or_default() += 1;
            *counts.entry(format!("to {destination}")).or_default() += 1;
        }
        let (whose, count) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
        Some(format!(
            "{} of {} calibration rows look like an attack, {} of them {whose}, and were left out; see what that was, and \
             train on other minutes if it was one",
            grouped(suspect.len() as u64),
            grouped(self.about.len() as u64),
            grouped(count as u64)
        ))
    }

    /// Whether each row is suspect.
    fn suspect(&self) -> Vec<bool> {
        let sources = self.side(|ends| ends);
        let destinations = self.side(|[source, destination]| [destination, source]);
        let sides = [sources, Side { may_be_noise: true, ..destinations }];
        let stretches = self.stretches();
        let mut suspect = vec![false; self.about.len()];
        for _ in 0..ROUNDS {
            let mut odd = suspect.clone();
            for side in &sides {
                self.find_odd(side, &suspect, &mut odd);
            }
            let repeated: Vec<Vec<bool>> = sides.iter().map(|side| side.repeated(&odd, &stretches)).collect();
            let found: Vec<bool> = odd
                .iter()
                .enumerate()
                .map(|(row, odd)| *odd && repeated.iter().any(|side| side[row]))
                .collect();
            if found == suspect {
                break;
            }
            suspect = found;
        }
        suspect
    }

    /// The hosts on one side of rows; `of` names that side's end first.
    fn side(&self, of: impl Fn([Address; 2]) -> [Address; 2]) -> Side {
        let mut numbers: HashMap<Key, u32, RandomState> = HashMap::default();
        let mut side = Side { hosts: Vec::with_capacity(self.about.len()), ..Side::default() };
        for (key, _) in &self.about {
            let [own, other] = of(key.ends());
            let host = Key::of(Some(&own), None, 0);
            let next = side.parts.len() as u32;
            let number = *numbers.entry(host).or_insert_with(|| {
                side.parts.push(host.hash() % PARTS);
                next
            });
            side.hosts.push(number);
            side.others.push(other);
        }
        side
    }

    /// The stretch of the calibration rows' time that each row lies in.
    fn stretches(&self) -> Vec<u64> {
        let windows = || self.about.iter().map(|(_, window)| *window);
        let (first, last) = (windows().min().unwrap_or(0), windows().max().unwrap_or(0));
        windows().map(|window| (window - first) * STRETCHES / (last - first + 1)).collect()
    }

    /// Marks the rows that are odd among those of the other parts that are not suspect.
    fn find_odd(&self, side: &Side, suspect: &[bool], odd: &mut [bool]) {
        for own in 0..PARTS {
            let (rows, others): (Vec<usize>, Vec<usize>) =
                (0..odd.len()).partition(|row| side.parts[side.hosts[*row] as usize] == own);
            let others: Vec<usize> = others.into_iter().filter(|row| !suspect[*row]).collect();
            if rows.is_empty() || others.len() as f64 * SHARE < 1.0 {
                // What is so rare that none of the others is expected to be is not said by them.
                continue;
            }
            let scale = self.scale_of(&others, 0);
            let [bound, unlikely] = [SHARE, UNLIKELY].map(|share| -libm::log(share));
            let judged = self.batches(&rows);
            let levels = judged.iter().flat_map(|batch| scale.levels(batch));
            for (row, level) in rows.iter().zip(levels) {
                let is_unlikely =
                    || self.surprises[*row].iter().any(|surprise| f64::from(*surprise) >= unlikely);
                odd[*row] |= level.score > bound && is_unlikely();
            }
        }
    }

    /// Of these rows, and so many more that are odd.
    fn scale_of(&self, rows: &[usize], more: usize) -> Scale {
        let about: Vec<(Key, u64)> = rows.iter().map(|row| self.about[*row]).collect();
        Scale::of(&self.batches(rows), &about, more)
    }

    /// All rows, and whom they are about.
    pub(super) fn all(&self) -> (Vec<Batch>, &[(Key, u64)]) {
        let rows: Vec<usize> = (0..self.about.len()).collect();
        (self.batches(&rows), &self.about)
    }

    fn batches(&self, rows: &[usize]) -> Vec<Batch> {
        let batch = |rows: &[usize]| {
            let mut lines = Array2::zeros((rows.len(), WIDTH));
            for (mut line, row) in lines.rows_mut().into_iter().zip(rows) {
                line.assign(&self.surprises[*row]);
            }
            Batch::of(lines.view())
        };
        rows.chunks(AT_ONCE).map(batch).collect()
    }
}

/// The hosts on one side of rows, numbered.
#[derive(Default)]
struct Side {
    /// Of each row.
    hosts: Vec<u32>,
    /// The host on the other side of each row.
    others: Vec<Address>,
    /// Whether what comes all the time may be what the network is like: at a destination, not from a source, which may
    /// be a patient scanner.
    may_be_noise: bool,
    /// The part of each host.
    parts: Vec<u64>,
}

impl Side {
    /// For each row whether its host has more odd ones than chance makes, and not all the time with ever other hosts.
    fn repeated(&self, odd: &[bool], stretches: &[u64]) -> Vec<bool> {
        let mut hosts = vec![OfHost::default(); self.parts.len()];
        let mut between: HashMap<(u32, Address), usize, RandomState> = HashMap::default();
        for (row, host) in self.hosts.iter().enumerate() {
            let of_host = &mut hosts[*host as usize];
            of_host.rows += 1;
            if odd[row] {
                let with_one = between.entry((*host, self.others[row])).or_default();
                *with_one += 1;
                of_host.odd += 1;
                of_host.with_one = of_host.with_one.max(*with_one);
                of_host.stretches |= 1 << stretches[row];
            }
        }
        self.hosts.iter().map(|host| hosts[*host as usize].is_suspect(self.may_be_noise)).collect()
    }
}

/// What the rows of a host are like.
#[derive(Clone, Copy, Default)]
struct OfHost {
    rows: usize,
    odd: usize,
    /// The most odd ones with one other host.
    with_one: usize,
    /// A bit for each stretch with an odd one.
    stretches: u8,
}

impl OfHost {
    fn is_suspect(&self, may_be_noise: bool) -> bool {
        let many = self.odd >= MANY && self.odd as f64 >= self.rows as f64 * SHARE * TIMES;
        let always =
            self.stretches.count_ones() >= STEADY && self.with_one as f64 <= self.odd as f64 * ONE_SOURCE;
        many && !(may_be_noise && always)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number below 1 that depends on two others, the same everywhere.
    fn part(row: usize, at: usize) -> f64 {
        let mixed = crate::context::entity::mix(crate::context::entity::mix(row as u64) ^ at as u64);
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Rows of 40 sources to 10 destinations, as odd as chance makes them; the `odd` first ones twenty nats odder in all
    /// columns, and about hosts `between` says.
    fn rows(
        count: usize,
        odd: usize,
        between: impl Fn(usize) -> (usize, usize),
    ) -> (Array2<f32>, Vec<(Key, u64)>) {
        let surprises = Array2::from_shape_fn((count, WIDTH), |(row, at)| {
            let usual = -libm::log(1.0 - part(row, at));
            (usual + if row < odd { 20.0 } else { 0.0 }) as f32
        });
        let address = |net: usize, host: usize| Address::parse(Some(&format!("10.0.{net}.{host}")));
        let about = |row: usize| {
            let (source, destination) = if row < odd { between(row) } else { (row % 40, row / 40 % 10) };
            let key = Key::of(Some(&address(0, source)), Some(&address(1, destination)), 6 << 16 | 80);
            (key, 1000 + row as u64 / 100)
        };
        (surprises, (0..count).map(about).collect())
    }

    fn left_out((surprises, about): &(Array2<f32>, Vec<(Key, u64)>)) -> Vec<usize> {
        let rows = surprises.rows().into_iter().zip(about.iter().copied());
        let suspect = Calibrating::of(rows).suspect();
        (0..about.len()).filter(|row| suspect[*row]).collect()
    }

    #[test]
    fn a_scan_in_training_calibrates_nothing() {
        // By one source, known or not, and by many sources of one destination.
        for (sources, destinations) in [(7..8, 0..10), (77..78, 0..10), (100..200, 77..78)] {
            let one = |hosts: &std::ops::Range<usize>, row: usize| hosts.start + row % hosts.len();
            let left_out = left_out(&rows(4000, 200, |row| (one(&sources, row), one(&destinations, row))));
            let scan: Vec<usize> = (0..200).collect();
            // With it what was odd by chance about the same hosts.
            assert!(left_out.starts_with(&scan) && left_out.len() < 250, "{sources:?}: {}", left_out.len());
        }
    }

    #[test]
    fn who_does_one_of_two_things_by_turns_calibrates_among_those_who_always_do_one() {
        let (mut surprises, about) = rows(4000, 200, |row| (7, row % 10));
        let of_source_7 = |odd: f32, surprises: &mut Array2<f32>| {
            surprises.indexed_iter_mut().for_each(|((row, at), surprise)| {
                *surprise = if row < 200 { odd } else { 0.02 * part(row, at) as f32 };
            });
        };
        of_source_7(0.7, &mut surprises);
        assert!(left_out(&(surprises.clone(), about.clone())).is_empty(), "each is as likely as the other");
        of_source_7(7.0, &mut surprises);
        assert_eq!(left_out(&(surprises, about)).len(), 200);
    }

    #[test]
    fn what_is_odd_by_chance_calibrates() {
        let nothing: Vec<usize> = Vec::new();
        assert_eq!(left_out(&rows(4000, 0, |_| (0, 0))), nothing);
        // A few rows of one source; many, of as many sources and destinations.
        assert_eq!(left_out(&rows(4000, MANY / 2, |_| (7, 3))), nothing);
        assert_eq!(left_out(&rows(4000, 30, |row| (100 + row, 100 + row))), nothing);
        // Where the others are too few to say how rare that is.
        assert_eq!(left_out(&rows(600, 100, |_| (7, 3))), nothing);
    }

    #[test]
    fn what_comes_all_the_time_from_ever_other_hosts_calibrates() {
        // The same rows spread over all of the time, or over its first third.
        let spread = |every: usize, between: &dyn Fn(usize) -> (usize, usize)| {
            let (surprises, mut about) = rows(4000, 40, between);
            for (row, about) in about.iter_mut().enumerate().take(40) {
                about.1 = 1000 + (row * every) as u64 / 100;
            }
            left_out(&(surprises, about)).len()
        };
        let noise = |row: usize| (100 + row, 77);
        assert_eq!(spread(100, &noise), 0);
        assert!(spread(33, &noise) >= 40, "a scan by many");
        assert!(spread(100, &|row| (77, 100 + row)) >= 40, "a patient scan by one");
        // One host that calls another again and again may be an attacker's.
        assert!(spread(100, &|_| (78, 77)) >= 40);
        assert!(spread(100, &|row| (if row % 3 == 0 { 78 } else { 100 + row }, 77)) >= 40);
    }

    #[test]
    fn as_many_as_chance_makes_count_among_the_odd() {
        let counted = |(surprises, about): (Array2<f32>, Vec<(Key, u64)>)| {
            let calibrating = Calibrating::of(surprises.rows().into_iter().zip(about));
            let suspect = calibrating.suspect().iter().filter(|suspect| **suspect).count();
            (suspect, calibrating.scale().0.lasting.tail.steps.all() as usize)
        };
        let (suspect, rows_of_tail) = counted(rows(4000, 200, |row| (77, row % 10)));
        assert!(suspect >= 200);
        assert_eq!(rows_of_tail, 4000 - suspect + (4000.0 * SHARE) as usize);
        assert_eq!(counted(rows(4000, 0, |_| (0, 0))), (0, 4000));
    }

    #[test]
    fn whoever_trains_is_told_whose_rows_were_left_out() {
        let note = |(surprises, about): (Array2<f32>, Vec<(Key, u64)>)| {
            Calibrating::of(surprises.rows().into_iter().zip(about)).scale().1
        };
        assert_eq!(note(rows(4000, 0, |_| (0, 0))), None);
        let said = note(rows(4000, 200, |row| (77, row % 10))).unwrap();
        let begins = " of 4,000 calibration rows look like an attack, 200 of them from 10.0.0.77, and";
        assert!(said.contains(begins), "{said}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn hosts_with_many_odd_rows_are_told_from_those_with_few(
            rows in proptest::collection::vec((0u32..6, any::<bool>()), 0..400),
        ) {
            let other = Address::parse(Some("10.0.0.1"));
            let others = vec![other; rows.len()];
            let hosts = rows.iter().map(|row| row.0).collect();
            let side = Side { hosts, others, parts: vec![0; 6], ..Side::default() };
            let odd: Vec<bool> = rows.iter().map(|row| row.1).collect();
            for (row, repeated) in side.repeated(&odd, &vec![0; rows.len()]).into_iter().enumerate() {
                let of_host = rows.iter().filter(|other| other.0 == rows[row].0 && other.1).count();
                prop_assert_eq!(repeated, of_host >= MANY);
            }
        }
    }
}
