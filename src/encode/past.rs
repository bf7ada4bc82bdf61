//! A fitted past: what is usual for an entity, its service, the network; and how surprising a value is.
//!
//! With the share of observations in a bucket or beyond it, `k / n`, of the network (G), of those with the same
//! service (P) and of the entity (H):
//!
//! ```text
//! p_all = (k_G + 0.5) / (n_G + 1), halved for every octave beyond what was ever seen
//! p_svc = (k_P + 10 p_all) / (n_P + 10)
//! p     = (k_H + 10 p_svc) / (n_H + 10),   surprise = -ln p
//! ```
//!
//! so that what was seldom seen falls back on what is like it. Both tails: `p = min(1, 2 min(upper, lower))`.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::bucket::{ABSENT, LAST};
use super::histograms::{Judgement, Name, Side};
use super::subject::{Party, Subject};
use crate::context::entity::Key;

/// How many observations of those who are like it an entity's past is worth at its beginning.
const PRIOR: f64 = 10.0;

/// Number of an entity or service that training did not see.
const UNSEEN: u32 = u32::MAX;

/// Observations of an entity, a column and a bucket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Count {
    pub(super) entity: u32,
    pub(super) column: u8,
    pub(super) bucket: u8,
    pub(super) count: u64,
}

/// The entities of all kinds, numbered.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Kind, name, rows in training; by kind, then in their order.
    pub(super) entities: Vec<(Subject, Name, u64)>,
    own: [HashMap<Key, u32, foldhash::fast::RandomState>; 6],
    services: [HashMap<u32, u32, foldhash::fast::RandomState>; 6],
    /// The number, among the services of its kind, of each entity's service.
    service_of: Vec<u32>,
    /// The first entity of each kind, and the number of all.
    firsts: [u32; 7],
}

impl Index {
    pub(super) fn new(entities: Vec<(Subject, Name, u64)>) -> Index {
        let mut index = Index::default();
        for (number, (subject, name, _)) in (0..).zip(&entities) {
            let kind = *subject as usize;
            index.firsts[kind + 1..].fill(number + 1);
            let service = match name {
                Name::Own(key) if subject.has_service() => key.code(),
                Name::Own(_) => 0,
                Name::Others(service) => *service,
            };
            if let Name::Own(key) = name {
                index.own[kind].insert(*key, number);
            }
            let next = index.services[kind].len() as u32;
            index.service_of.push(*index.services[kind].entry(service).or_insert(next));
        }
        index.entities = entities;
        index
    }
}

/// Histograms of many owners, as tails: for each bucket that was seen, observations in it or beyond.
#[derive(Clone, Debug, Default)]
struct Tails {
    /// Where each owner's columns begin; one more at the end.
    starts: Vec<u32>,
    columns: usize,
    buckets: Vec<u8>,
    beyond: Vec<u64>,
}

impl Tails {
    /// Of counts in the order of owner, column (its place among those of the kind) and bucket, each once.
    fn new(owners: usize, columns: usize, counts: impl Iterator<Item = (u32, usize, u8, u64)>) -> Tails {
        let mut tails = Tails { columns, ..Tails::default() };
        let mut at = 0;
        for (owner, column, bucket, count) in counts {
            let place = owner as usize * columns + column;
            while at <= place {
                tails.starts.push(tails.buckets.len() as u32);
                at += 1;
            }
            tails.buckets.push(bucket);
            tails.beyond.push(count);
        }
        tails.starts.resize(owners * columns + 1, tails.buckets.len() as u32);
        for bounds in tails.starts.windows(2) {
            let beyond = &mut tails.beyond[bounds[0] as usize..bounds[1] as usize];
            let mut sum = 0u64;
            for count in beyond.iter_mut().rev() {
                sum = sum.saturating_add(*count);
                *count = sum;
            }
        }
        tails
    }

    #[inline]
    fn of(&self, owner: u32, column: usize) -> (&[u8], &[u64]) {
        if owner == UNSEEN {
            return (&[], &[]);
        }
        let place = owner as usize * self.columns + column;
        let (from, to) = (self.starts[place] as usize, self.starts[place + 1] as usize);
        (&self.buckets[from..to], &self.beyond[from..to])
    }

    /// Observations in this bucket or beyond, in this bucket or below, and all.
    #[inline]
    fn around(&self, owner: u32, column: usize, bucket: u8) -> (u64, u64, u64) {
        let (buckets, beyond) = self.of(owner, column);
        let Some(all) = beyond.first().copied() else { return (0, 0, 0) };
        // Buckets are few: counting all of them is faster than a search, and as bytes, which hold how many there can be,
        // many at once.
        let below = buckets.iter().fold(0u8, |below, seen| below + u8::from(*seen < bucket));
        let below = usize::from(below);
        let own = usize::from(buckets.get(below) == Some(&bucket));
        let at = |place: usize| beyond.get(place).copied().unwrap_or(0);
        (at(below), all - at(below + own), all)
    }
}

/// What a column is in the whole network.
#[derive(Clone, Debug)]
struct Network {
    /// Its place among the columns of its kind.
    place: usize,
    seen: bool,
    upper: Vec<f64>,
    lower: Vec<f64>,
}

impl Network {
    fn new(place: usize, side: Side, counts: &[u64; 256]) -> Network {
        let all: u64 = counts.iter().sum();
        let seen = |bucket: &usize| counts[*bucket] > 0;
        let last = (0..256).rev().find(seen).unwrap_or(0);
        let first = (0..256).find(seen).unwrap_or(0);
        let share = |count: u64| (count as f64 + 0.5) / (all as f64 + 1.0);
        let octaves = |buckets: usize| libm::exp2(buckets as f64 / -4.0);
        let (mut upper, mut lower) = (Vec::with_capacity(256), Vec::with_capacity(256));
        let mut below = 0;
        for (bucket, count) in counts.iter().enumerate().take(usize::from(LAST) + 1) {
            upper.push(share(all - below) * octaves(bucket.saturating_sub(last)));
            below += count;
            let short = if side == Side::Both { first.saturating_sub(bucket) } else { 0 };
            lower.push(share(below) * octaves(short));
        }
        Network { place, seen: all > 0, upper, lower }
    }
}

/// The numbers of a row's entities and of those with the same service, by kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    entity: [u32; 6],
    service: [u32; 6],
    /// Whether training saw the destination neither as that nor as a source.
    pub(crate) to_stranger: bool,
}

/// The entities of many rows.
#[derive(Default, Debug)]
pub(crate) struct Crowd {
    /// Of each party.
    found: Vec<Found>,
    /// For each row its party.
    of_row: Vec<u32>,
    /// For each kind and row a number that those have in common for whom the same is usual.
    alike: [Vec<u32>; 6],
}

/// Marks the number of a service, for whom its entities are not told apart.
const OF_SERVICE: u32 = 1 << 31;

impl Found {
    /// A number that those of a kind have in common for whom the same is usual: an entity's own, or that of the service
    /// of those that training did not see.
    #[inline]
    fn alike(&self, kind: usize) -> u32 {
        match self.entity[kind] {
            UNSEEN => self.service[kind] | OF_SERVICE,
            entity => entity,
        }
    }
}

/// Surprises of a column that other rows had, of one past: those of one entity often have values in one bucket. What a
/// host did in a window is one value for all of its rows, and the next window is much like it. Rows are looked at column
/// by column, so each column has places of its own, which stay near as long as they are asked for.
#[derive(Debug)]
pub(crate) struct Met {
    places: Vec<(u64, f64)>,
    /// Places of a column, as a power of two.
    bits: u32,
}

impl Met {
    /// Of so many columns, with two to the power of so many places for each, at least two.
    pub(crate) fn new(columns: usize, bits: u32) -> Met {
        Met { places: vec![(u64::MAX, 0.0); columns << bits], bits }
    }

    /// What was met of a column under a number, or else found now. Each place keeps the last that came to it.
    #[inline]
    pub(crate) fn get_or(&mut self, column: usize, number: u64, find: impl FnOnce() -> f64) -> f64 {
        let place = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - self.bits);
        let (known, value) = &mut self.places[column << self.bits | place as usize];
        if *known != number {
            (*known, *value) = (number, find());
        }
        *value
    }
}

/// What was met and is kept, for as many as look things up at once. It follows from what it is of: copies begin with
/// nothing, and are equal.
#[derive(Default, Debug)]
pub(crate) struct Kept(Mutex<Vec<Met>>);

impl Kept {
    /// Looks things up with what was met before, or with nothing.
    pub(crate) fn with<R>(&self, nothing: impl FnOnce() -> Met, look_up: impl FnOnce(&mut Met) -> R) -> R {
        let waiting = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting().pop();
        let mut met = known.unwrap_or_else(nothing);
        let found = look_up(&mut met);
        waiting().push(met);
        found
    }
}

impl Clone for Kept {
    fn clone(&self) -> Kept {
        Kept::default()
    }
}

impl PartialEq for Kept {
    fn eq(&self, _: &Kept) -> bool {
        true
    }
}

impl Crowd {
    /// The entities of a row.
    pub(crate) fn found(&self, row: usize) -> &Found {
        &self.found[self.of_row[row] as usize]
    }
}

/// What is usual, of every column, for every entity.
#[derive(Clone, Debug)]
pub struct Past {
    pub(super) judgements: Arc<[Judgement]>,
    /// Windows with rows that it was learned from.
    pub(super) windows: u64,
    pub(super) index: Arc<Index>,
    network: Vec<Network>,
    own: Vec<Tails>,
    services: Vec<Tails>,
}

impl Past {
    /// Of counts in the order of entity, column and bucket, each once.
    pub(super) fn new(
        judgements: Arc<[Judgement]>,
        index: Arc<Index>,
        windows: u64,
        counts: &[Count],
    ) -> Past {
        let mut places = vec![0; judgements.len()];
        let mut columns = [0; 6];
        for (column, judged) in judgements.iter().enumerate() {
            let next = &mut columns[judged.subject as usize];
            (places[column], *next) = (*next, *next + 1);
        }
        let mut all = vec![[0u64; 256]; judgements.len()];
        let (mut own, mut services) = (Vec::new(), Vec::new());
        for subject in Subject::ALL {
            let kind = subject as usize;
            let (first, end) = (index.firsts[kind], index.firsts[kind + 1]);
            let from = counts.partition_point(|count| count.entity < first);
            let to = counts.partition_point(|count| count.entity < end);
            let counts = &counts[from..to];
            let place = |count: &Count| places[usize::from(count.column)];
            own.push(Tails::new(
                (end - first) as usize,
                columns[kind],
                counts.iter().map(|count| (count.entity - first, place(count), count.bucket, count.count)),
            ));
            let mut shared: HashMap<(u32, usize, u8), u64, foldhash::fast::RandomState> = HashMap::default();
            for count in counts {
                let service = index.service_of[count.entity as usize];
                let sum = shared.entry((service, place(count), count.bucket)).or_default();
                *sum = sum.saturating_add(count.count);
                let sum = &mut all[usize::from(count.column)][usize::from(count.bucket)];
                *sum = sum.saturating_add(count.count);
            }
            let mut shared: Vec<_> = shared.into_iter().collect();
            shared.sort_unstable();
            let shared =
                shared.into_iter().map(|((service, place, bucket), count)| (service, place, bucket, count));
            services.push(Tails::new(index.services[kind].len(), columns[kind], shared));
        }
        let network = judgements
            .iter()
            .enumerate()
            .map(|(column, judged)| Network::new(places[column], judged.side, &all[column]))
            .collect();
        Past { judgements, windows, index, network, own, services }
    }

    /// Looks up a row's entities.
    pub(crate) fn find(&self, party: &Party) -> Found {
        let mut found = Found { entity: [UNSEEN; 6], service: [UNSEEN; 6], to_stranger: false };
        for subject in Subject::ALL {
            let kind = subject as usize;
            let number = self.index.own[kind].get(&party.key(subject));
            found.entity[kind] = number.map_or(UNSEEN, |number| number - self.index.firsts[kind]);
            let service = if subject.has_service() { party.service } else { 0 };
            found.service[kind] = self.index.services[kind].get(&service).copied().unwrap_or(UNSEEN);
        }
        let as_source = || Key::of(Some(&party.dst), None, 0);
        found.to_stranger = found.entity[Subject::Destination as usize] == UNSEEN
            && !self.index.own[Subject::Source as usize].contains_key(&as_source());
        found
    }

    /// Looks up the entities of many rows.
    pub(crate) fn find_all<'p>(&self, parties: impl Iterator<Item = &'p Party>) -> Crowd {
        let mut crowd = Crowd::default();
        let mut known: HashMap<Party, u32, foldhash::fast::RandomState> = HashMap::default();
        let mut last = None;
        for party in parties {
            let number = match last {
                Some((same, number)) if same == party => number,
                _ => *known.entry(*party).or_insert_with(|| {
                    crowd.found.push(self.find(party));
                    crowd.found.len() as u32 - 1
                }),
            };
            last = Some((party, number));
            crowd.of_row.push(number);
        }
        for (kind, alike) in crowd.alike.iter_mut().enumerate() {
            *alike = crowd.of_row.iter().map(|party| crowd.found[*party as usize].alike(kind)).collect();
        }
        crowd
    }

    /// The surprises of a column's values for all rows of a crowd, each times a weight of its row: `buckets` and
    /// `weights` are those of each. One that weighs nothing is 0. What `met` has met must be of this past.
    pub(crate) fn surprises(
        &self,
        column: usize,
        crowd: &Crowd,
        (buckets, weights): (&[u8], &[f32]),
        met: &mut Met,
        into: &mut [f32],
    ) {
        let kind = self.judgements[column].subject as usize;
        let rows = crowd.alike[kind].iter().zip(buckets).zip(weights);
        // Rows of a flood follow one another, and nothing need be looked up for the next one.
        let mut last = (u64::MAX, 0.0);
        for (row, (into, ((alike, bucket), weight))) in into.iter_mut().zip(rows).enumerate() {
            // -ln 1 where there is no value, as that of a column that nobody was seen with.
            *into = if *bucket == ABSENT && *weight > 0.0 { -0.0 } else { 0.0 };
            if *bucket != ABSENT && *weight > 0.0 {
                let same = u64::from(*alike) << 8 | u64::from(*bucket);
                if same != last.0 {
                    let find = || self.surprise(column, crowd.found(row), *bucket);
                    last = (same, met.get_or(column, same, find));
                }
                *into = (last.1 * f64::from(*weight)) as f32;
            }
        }
    }

    /// -ln of the tail probability of a value in this bucket of a column, 0 where there is none.
    #[inline]
    pub(crate) fn surprise(&self, column: usize, found: &Found, bucket: u8) -> f64 {
        -libm::log(self.probability(column, found, bucket))
    }

    /// The tail probability, 1 where there is no value or no past.
    #[inline]
    pub(crate) fn probability(&self, column: usize, found: &Found, bucket: u8) -> f64 {
        let network = &self.network[column];
        if bucket == ABSENT || !network.seen {
            return 1.0;
        }
        let judged = &self.judgements[column];
        let kind = judged.subject as usize;
        let (entity, service) = (found.entity[kind], found.service[kind]);
        let place = network.place;
        let (above_service, below_service, n_service) = self.services[kind].around(service, place, bucket);
        let (above, below, n) = self.own[kind].around(entity, place, bucket);
        let n = if judged.every_window { n.max(self.windows) } else { n };
        let shrunk = |all: f64, k_service: u64, k: u64| {
            let p_service = (k_service as f64 + PRIOR * all) / (n_service as f64 + PRIOR);
            (k as f64 + PRIOR * p_service) / (n as f64 + PRIOR)
        };
        let upper = || shrunk(network.upper[usize::from(bucket)], above_service, above);
        let lower = || shrunk(network.lower[usize::from(bucket)], below_service, below);
        match judged.side {
            Side::Upper => upper(),
            Side::Lower => lower(),
            Side::Both => (2.0 * upper().min(lower())).min(1.0),
        }
    }

    /// What is usual for the entity itself or, if it was never seen with a value, for all who share its service;
    /// `None` if those were not seen either.
    pub(crate) fn usual(&self, column: usize, found: &Found) -> Option<Usual> {
        let judged = &self.judgements[column];
        let (kind, place) = (judged.subject as usize, self.network[column].place);
        let (mut buckets, mut beyond) = self.own[kind].of(found.entity[kind], place);
        let own = !beyond.is_empty();
        if !own {
            (buckets, beyond) = self.services[kind].of(found.service[kind], place);
        }
        let seen = *beyond.first()?;
        let all = if own && judged.every_window { seen.max(self.windows) } else { seen };
        // The greatest bucket that more than this many observations reach; windows without a row are 0.
        let at = |above: u64| {
            let reached = beyond.iter().rposition(|count| *count > above);
            reached.map_or(0, |place| buckets[place])
        };
        // The least bucket that more than one in a hundred observations do not exceed.
        let below = |place: usize| all - beyond.get(place + 1).copied().unwrap_or(0);
        let least = match all - seen > all / 100 {
            true => 0,
            false => {
                (0..buckets.len()).find(|place| below(*place) > all / 100).map_or(0, |place| buckets[place])
            }
        };
        Some(Usual { median: at(all / 2), most: at(all / 100), least, observations: seen, own })
    }

    /// Windows with rows that it was learned from.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// Rows that were learned from; `None` if they are more than can be counted.
    pub fn rows(&self) -> Option<u64> {
        // Every row is of one service.
        let services = self.index.entities.iter().filter(|(subject, ..)| *subject == Subject::Service);
        services.map(|(_, _, rows)| *rows).try_fold(0u64, u64::checked_add)
    }

    /// Entities of a kind that have a past of their own.
    pub fn entities(&self, subject: Subject) -> usize {
        self.index.own[subject as usize].len()
    }

    /// Counts that it consists of.
    pub fn counts(&self) -> usize {
        self.own.iter().map(|tails| tails.buckets.len()).sum()
    }

    /// The counts that it was made of, in the order of entity, column and bucket.
    pub(super) fn unfold(&self) -> Vec<Count> {
        let mut counts = Vec::new();
        for subject in Subject::ALL {
            let kind = subject as usize;
            let columns: Vec<u8> = (0u8..)
                .zip(self.judgements.iter())
                .filter(|(_, judged)| judged.subject == subject)
                .map(|(column, _)| column)
                .collect();
            let first = self.index.firsts[kind];
            for owner in 0..self.index.firsts[kind + 1] - first {
                for (place, column) in columns.iter().enumerate() {
                    let (buckets, beyond) = self.own[kind].of(owner, place);
                    for (at, bucket) in buckets.iter().enumerate() {
                        let count = beyond[at] - beyond.get(at + 1).copied().unwrap_or(0);
                        counts.push(Count { entity: first + owner, column: *column, bucket: *bucket, count });
                    }
                }
            }
        }
        counts
    }
}

/// What is usual for an entity, as buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Usual {
    /// Half of the observations reach no further.
    pub(crate) median: u8,
    /// One in a hundred reaches further.
    pub(crate) most: u8,
    /// One in a hundred does not reach it.
    pub(crate) least: u8,
    /// Observations.
    pub(crate) observations: u64,
    /// Whether it is the entity's own past.
    pub(crate) own: bool,
}
