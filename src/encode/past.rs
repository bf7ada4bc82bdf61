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
//!
//! Of counts ([`Judgement::goes_on`]) more than an entity ever had is no less likely than the rule of succession and a
//! power law beyond what it had have it, with the windows of training, `w`:
//!
//! ```text
//! p >= 0.5 / (max(n_H, w) + 1), quartered for every octave beyond its largest
//! ```
//!
//! Whoever has most of all is beyond the others every day. By what the others have, a little more than ever would be far
//! less likely than so few windows can say.
//!
//! Where values have no order ([`Side::Seldom`]) `k` are the observations of values that were seen no more often than this
//! one. One that was never seen is as likely as all that were seen once together (Good, "The population frequencies of
//! species and the estimation of population parameters", Biometrika 1953): where ever others come, another one is nothing
//! odd.
//!
//! What is judged by the largest value alone ([`Side::Beyond`]) goes on by the same law from the largest that the entity had,
//! or from what is never odd, if that is more:
//!
//! ```text
//! p = max(1 / 4096, 1 / 4^octaves beyond)
//! ```
//!
//! How seldom an entity has a value at all ([`Side::Any`]) is held against all windows of training, `w`, and what was never
//! seen of it against the part that its service has in all that was seen:
//!
//! ```text
//! p_svc = (n_P + 0.5) / (n_G + 1)
//! p     = (n_H + 10 p_svc) / (w + 10)
//! ```

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use super::bucket::{ABSENT, LAST};
use super::crowd::{Crowd, Found};
use super::histograms::{Judgement, Name, Side};
use super::subject::{Party, Subject};
use super::tails::{Tails, shared};
use crate::context::entity::Key;

/// How many observations of those who are like it an entity's past is worth at its beginning.
const PRIOR: f64 = 10.0;

/// Index of the power law by which an entity's counts go on beyond the largest that it had.
const BEYOND: f64 = 2.0;

/// How likely at least what is judged by the largest values alone is: six octaves say as much as any more.
const LEAST: f64 = 1.0 / 4096.0;

/// Number of an entity or service that training did not see.
pub(super) const UNSEEN: u32 = u32::MAX;

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

/// What a column is in the whole network.
#[derive(Clone, Debug)]
struct Network {
    /// Its place among the columns of its kind.
    place: usize,
    /// Observations.
    all: u64,
    /// By bucket, the shares of the tails in the network; of values without an order there is one tail, `upper`.
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
        if side == Side::Seldom {
            let tail = |own: u64| counts.iter().filter(|count| **count <= own.max(1)).sum();
            let upper = counts.iter().map(|own| share(tail(*own))).collect();
            return Network { place, all, upper, lower: Vec::new() };
        }
        let (mut upper, mut lower) = (Vec::with_capacity(256), Vec::with_capacity(256));
        let mut below = 0;
        for (bucket, count) in counts.iter().enumerate().take(usize::from(LAST) + 1) {
            upper.push(share(all - below) * octaves(bucket.saturating_sub(last)));
            below += count;
            let short = if side == Side::Both { first.saturating_sub(bucket) } else { 0 };
            lower.push(share(below) * octaves(short));
        }
        Network { place, all, upper, lower }
    }
}

/// What is usual, of every column, for every entity.
#[derive(Clone, Debug)]
pub struct Past {
    pub(super) judgements: Arc<[Judgement]>,
    /// Windows with rows of the training that it stands for.
    pub(super) windows: u64,
    /// How many of those stand for each window that it was learned from.
    worth: f64,
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
            let of_kind: Vec<usize> =
                (0..judgements.len()).filter(|column| judgements[*column].subject == subject).collect();
            own.push(Tails::new(
                (end - first) as usize,
                columns[kind],
                counts.iter().map(|count| (count.entity - first, place(count), count.bucket, count.count)),
            ));
            let shared = shared(counts, &index.service_of, columns[kind], place);
            for (_, place, bucket, count) in &shared {
                let sum = &mut all[of_kind[*place]][usize::from(*bucket)];
                *sum = sum.saturating_add(*count);
            }
            services.push(Tails::new(index.services[kind].len(), columns[kind], shared.into_iter()));
        }
        let network = judgements
            .iter()
            .enumerate()
            .map(|(column, judged)| Network::new(places[column], judged.side, &all[column]))
            .collect();
        Past { judgements, windows, worth: 1.0, index, network, own, services }
    }

    /// The same as if it were of so many windows, of which those that it was learned from are a part.
    ///
    /// How surprising it is that somebody is there at all who never was depends on how long nobody was. In a network of many
    /// strangers that is the same surprise for many rows; by fewer windows all of them would be a little less surprising
    /// than they will ever be again.
    pub(super) fn standing_for(self, windows: u64) -> Past {
        Past { worth: windows as f64 / self.windows.max(1) as f64, windows, ..self }
    }

    /// Looks up a row's entities.
    pub(crate) fn find(&self, party: &Party) -> Found {
        let mut found =
            Found { entity: [UNSEEN; 6], service: [UNSEEN; 6], from_stranger: false, to_stranger: false };
        for subject in Subject::ALL {
            let kind = subject as usize;
            let number = self.index.own[kind].get(&party.key(subject));
            found.entity[kind] = number.map_or(UNSEEN, |number| number - self.index.firsts[kind]);
            let service = if subject.has_service() { party.service } else { 0 };
            found.service[kind] = self.index.services[kind].get(&service).copied().unwrap_or(UNSEEN);
        }
        found.from_stranger = found.entity[Subject::Source as usize] == UNSEEN;
        let as_source = || Key::of(Some(&party.dst), None, 0);
        found.to_stranger = found.entity[Subject::Destination as usize] == UNSEEN
            && !self.index.own[Subject::Source as usize].contains_key(&as_source());
        found
    }

    /// Looks up the entities of many rows.
    pub(crate) fn find_all<'p>(&self, parties: impl Iterator<Item = &'p Party>) -> Crowd {
        let (mut found, mut of_row) = (Vec::new(), Vec::new());
        let mut known: HashMap<Party, u32, foldhash::fast::RandomState> = HashMap::default();
        let mut last = None;
        for party in parties {
            let number = match last {
                Some((same, number)) if same == party => number,
                _ => *known.entry(*party).or_insert_with(|| {
                    found.push(self.find(party));
                    found.len() as u32 - 1
                }),
            };
            last = Some((party, number));
            of_row.push(number);
        }
        Crowd::new(found.into(), of_row)
    }

    /// Whose past a column is held against.
    pub(super) fn subject(&self, column: usize) -> Subject {
        self.judgements[column].subject
    }

    /// Where what is usual in a column lies for the entity of a row, and for its service.
    #[inline]
    pub(super) fn usual_of(&self, column: usize, found: &Found) -> [Range<u32>; 2] {
        let (kind, place) = (self.judgements[column].subject as usize, self.network[column].place);
        let own = self.own[kind].bounds(found.entity[kind], place);
        [own, self.services[kind].bounds(found.service[kind], place)]
    }

    /// Asks for it.
    #[inline]
    pub(super) fn ask(&self, column: usize, [own, shared]: &[Range<u32>; 2]) {
        let kind = self.judgements[column].subject as usize;
        self.own[kind].ask(own);
        self.services[kind].ask(shared);
    }

    /// The tail probability of a value in this bucket of a column, 1 where there is no value or no past.
    pub(crate) fn probability(&self, column: usize, found: &Found, bucket: u8) -> f64 {
        self.probability_in(column, self.usual_of(column, found), bucket, false)
    }

    /// The same, given where what is usual lies; as it is, or as if the source had been `struck` from what was learned.
    #[inline]
    pub(super) fn probability_in(
        &self,
        column: usize,
        [own, shared]: [Range<u32>; 2],
        bucket: u8,
        struck: bool,
    ) -> f64 {
        let network = &self.network[column];
        if bucket == ABSENT || network.all == 0 {
            return 1.0;
        }
        let judged = &self.judgements[column];
        let kind = judged.subject as usize;
        match judged.side {
            Side::Seldom => return self.seldom(column, [own, shared], bucket),
            Side::Beyond(many) => return self.beyond(column, own, many, bucket),
            Side::Upper | Side::Lower | Side::Both | Side::Any => {}
        }
        let (mut above_service, mut below_service, mut n_service) =
            self.services[kind].around(shared, bucket);
        let mut most = self.own[kind].last(&own);
        let (mut above, mut below, mut n) = self.own[kind].around(own, bucket);
        if struck && judged.subject.parts().0 {
            above_service = above_service.saturating_sub(above);
            below_service = below_service.saturating_sub(below);
            n_service = n_service.saturating_sub(n);
            (above, below, n, most) = (0, 0, 0, None);
        }
        if judged.side == Side::Any {
            let p_service = (n_service as f64 + 0.5) / (network.all as f64 + 1.0);
            let n = n as f64 * self.worth;
            return (n + PRIOR * p_service) / (n.max(self.windows as f64) + PRIOR);
        }
        let worth = if judged.every_window { self.worth } else { 1.0 };
        let n = n as f64 * worth;
        let n = if judged.every_window { n.max(self.windows as f64) } else { n };
        let shrunk = |all: f64, k_service: u64, k: u64| {
            let p_service = (k_service as f64 + PRIOR * all) / (n_service as f64 + PRIOR);
            (k as f64 * worth + PRIOR * p_service) / (n + PRIOR)
        };
        let upper = || {
            let p = shrunk(network.upper[usize::from(bucket)], above_service, above);
            match most.filter(|most| judged.goes_on && *most < bucket) {
                None => p,
                Some(most) => {
                    let octaves = f64::from(bucket - most) / 4.0;
                    p.max(0.5 / (n.max(self.windows as f64) + 1.0) * libm::exp2(-BEYOND * octaves))
                }
            }
        };
        let lower = || shrunk(network.lower[usize::from(bucket)], below_service, below);
        match judged.side {
            Side::Lower => lower(),
            Side::Both => (2.0 * upper().min(lower())).min(1.0),
            _ => upper(),
        }
    }

    /// The same of values that have no order.
    fn seldom(&self, column: usize, [own, shared]: [Range<u32>; 2], bucket: u8) -> f64 {
        let kind = self.judgements[column].subject as usize;
        let shrunk = |all: f64, (k, n): (u64, u64)| (k as f64 + PRIOR * all) / (n as f64 + PRIOR);
        let shared = self.services[kind].as_seldom(shared, bucket);
        let own = self.own[kind].as_seldom(own, bucket);
        shrunk(shrunk(self.network[column].upper[usize::from(bucket)], shared), own)
    }

    /// The same of what is judged by the largest value alone, where as much as `many` is never odd.
    fn beyond(&self, column: usize, own: Range<u32>, many: u8, bucket: u8) -> f64 {
        let kind = self.judgements[column].subject as usize;
        let most = self.own[kind].last(&own).map_or(many, |most| most.max(many));
        let octaves = f64::from(bucket.saturating_sub(most)) / 4.0;
        libm::exp2(-BEYOND * octaves).max(LEAST)
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

    /// Windows with rows of the training that it stands for.
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
        self.own.iter().map(Tails::counts).sum()
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
