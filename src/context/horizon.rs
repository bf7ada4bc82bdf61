//! What the owner of entities keeps of them: the windows of the longest horizon asked for, no more.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::distinct::Distinct;
use super::entity::{Key, SHARDS};
use super::window::{Ask, Head};
use super::{Counted, Group, HORIZONS, Plan};

/// Entities whose state is loaded ahead of their turn.
const GROUP: usize = 32;

/// The values of entities for the worker that asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) head: Head,
    /// Numbers of the entities at the worker that asked.
    pub(super) numbers: Vec<u32>,
    /// The group's values for each entity.
    pub(super) values: Vec<u64>,
}

/// An ask that was taken in, to be answered when all of its window were.
pub(super) struct Taken {
    head: Head,
    numbers: Vec<u32>,
    /// Where the entities are remembered.
    slots: Vec<u32>,
}

/// All entities that a worker owns.
pub(super) struct Horizons {
    plan: Arc<Plan>,
    kinds: Vec<Kind>,
}

impl Horizons {
    pub(super) fn new(plan: Arc<Plan>) -> Horizons {
        let kinds = plan.groups.iter().map(|_| Kind::default()).collect();
        Horizons { plan, kinds }
    }

    /// Begins a window, later than all before: forgets the entities whose last row is older than any horizon.
    pub(super) fn open(&mut self, window: u64) {
        for (kind, group) in self.kinds.iter_mut().zip(&self.plan.groups) {
            kind.forget(window, group);
        }
    }

    /// Takes in what a worker counted in the open window. In which order does not matter.
    pub(super) fn take(&mut self, ask: Ask) -> Taken {
        let at = ask.head.group as usize;
        let slots = match (self.kinds.get_mut(at), self.plan.groups.get(at)) {
            (Some(kind), Some(group)) => kind.take(&ask, group),
            _ => Vec::new(),
        };
        Taken { head: ask.head, numbers: ask.numbers, slots }
    }

    /// Answers an ask: all of its window were taken in.
    pub(super) fn answer(&mut self, taken: Taken) -> Answer {
        let Taken { mut head, numbers, slots } = taken;
        let at = head.group as usize;
        let mut values = Vec::new();
        if let (Some(kind), Some(group)) = (self.kinds.get_mut(at), self.plan.groups.get(at)) {
            values.reserve(slots.len() * group.values.len());
            for slots in slots.chunks(GROUP) {
                kind.fetch(slots, group);
                slots.iter().for_each(|slot| kind.values(*slot as usize, head.window, group, &mut values));
            }
        }
        head.target = head.from;
        Answer { head, numbers, values }
    }

    /// All of the window was answered. Returns how many entities were forgotten for lack of room.
    pub(super) fn close(&mut self) -> u64 {
        let most = self.plan.most;
        self.kinds.iter_mut().zip(&self.plan.groups).map(|(kind, group)| kind.shed(most, group)).sum()
    }

    /// Entities remembered now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kinds.iter().map(|kind| kind.index.len()).sum()
    }
}

/// The entities of one kind.
struct Kind {
    /// Slots by key. The hash is seeded anew in each process: crafted keys must not collide at will.
    index: HashTable<u32>,
    seed: RandomState,
    remembered: Vec<Remembered>,
    /// The sets of each slot, side by side.
    sets: Vec<Distinct>,
    free: Vec<u32>,
    /// All slots, each under its last window or an earlier one.
    touched: BTreeMap<u64, Vec<u32>>,
    /// Entities of each share of keys.
    shares: [u32; SHARDS],
    /// The last window that anything was counted in.
    newest: u64,
}

impl Default for Kind {
    fn default() -> Kind {
        Kind {
            index: HashTable::new(),
            seed: RandomState::default(),
            remembered: Vec::new(),
            sets: Vec::new(),
            free: Vec::new(),
            touched: BTreeMap::new(),
            shares: [0; SHARDS],
            newest: 0,
        }
    }
}

/// One entity.
struct Remembered {
    key: Key,
    /// The last window with a row.
    newest: u64,
    /// The windows of the horizon with a row, oldest first. For each its index, then the sums of it and of
    /// all before: a horizon's sum is the difference of two, modulo 2^64. Most entities have one window, and few sums.
    windows: SmallVec<[u64; 3]>,
}

impl Kind {
    fn forget(&mut self, window: u64, group: &Group) {
        let old = |touched: &u64| touched.saturating_add(group.horizon) <= window;
        if old(&self.newest) {
            return self.clear(group);
        }
        while let Some(oldest) = self.touched.first_entry().filter(|oldest| old(oldest.key())) {
            for slot in oldest.remove() {
                let at = slot as usize;
                let Remembered { key, newest, .. } = self.remembered[at];
                if !old(&newest) {
                    self.touched.entry(newest).or_default().push(slot);
                    continue;
                }
                let entry = self.index.find_entry(self.seed.hash_one(key), |other| *other == slot);
                if let Ok(entry) = entry {
                    entry.remove();
                }
                self.shares[key.shard()] -= 1;
                self.remembered[at].windows = SmallVec::new();
                let sets = group.sets.len();
                self.sets[at * sets..(at + 1) * sets].fill(Distinct::default());
                self.free.push(slot);
            }
        }
    }

    /// Forgets all. Where that happens in every window room for as many is kept; what more a flood of entities needed is
    /// given back.
    fn clear(&mut self, group: &Group) {
        if group.horizon > 1 || self.remembered.capacity() > 4 * self.remembered.len() {
            *self = Kind::default();
            return;
        }
        self.index.clear();
        self.remembered.clear();
        self.sets.clear();
        self.free.clear();
        self.touched.clear();
        self.shares = [0; SHARDS];
    }

    /// Forgets entities of shares that have more than `most`: those last seen longest ago, of one window the last by
    /// their keys, and some more so that it need not be done again at once. Returns how many.
    fn shed(&mut self, most: usize, group: &Group) -> u64 {
        if self.shares.iter().all(|count| *count as usize <= most) {
            return 0;
        }
        let mut full: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for slot in self.touched.values().flatten() {
            let share = self.remembered[*slot as usize].key.shard();
            if self.shares[share] as usize > most {
                full.entry(share).or_default().push(*slot);
            }
        }
        let mut leaves = vec![false; self.remembered.len()];
        for slots in full.values_mut() {
            let excess = slots.len() - (most - most / 8);
            let known = |slot: &u32| &self.remembered[*slot as usize];
            slots.select_nth_unstable_by(excess - 1, |a, b| {
                let (a, b) = (known(a), known(b));
                a.newest.cmp(&b.newest).then_with(|| b.key.order().cmp(&a.key.order()))
            });
            slots[..excess].iter().for_each(|slot| leaves[*slot as usize] = true);
        }
        let mut kept = Kind { newest: self.newest, ..Kind::default() };
        let stay: Vec<u32> = self.touched.values().flatten().copied().collect();
        for slot in stay.iter().filter(|slot| !leaves[**slot as usize]) {
            let at = *slot as usize;
            let Remembered { key, newest, windows } = &mut self.remembered[at];
            let slot = kept.slot(key, *newest, group);
            kept.remembered[slot as usize].windows = std::mem::take(windows);
            kept.touched.entry(*newest).or_default().push(slot);
            let sets = group.sets.len();
            let own = kept.sets[slot as usize * sets..].iter_mut();
            own.zip(&mut self.sets[at * sets..(at + 1) * sets])
                .for_each(|(new, old)| *new = std::mem::take(old));
        }
        let forgotten = stay.len() - kept.remembered.len();
        *self = kept;
        forgotten as u64
    }

    fn take(&mut self, ask: &Ask, group: &Group) -> Vec<u32> {
        let window = ask.head.window;
        self.newest = window;
        let mut slots = Vec::with_capacity(ask.keys.len());
        let mut sets = ask.sets();
        let mut touched = self.touched.remove(&window).unwrap_or_default();
        let mut sums = ask.sums.chunks_exact(group.sums.len().max(1));
        for keys in ask.keys.chunks(GROUP) {
            let from = slots.len();
            let near = keys.iter().filter_map(|key| self.index.find(self.seed.hash_one(key), |_| true));
            std::hint::black_box(near.fold(0, |sum, at| sum ^ self.remembered[*at as usize].newest));
            slots.extend(keys.iter().map(|key| self.slot(key, window, group)));
            self.fetch(&slots[from..], group);
            for slot in &slots[from..] {
                let at = *slot as usize;
                let remembered = &mut self.remembered[at];
                if remembered.windows.is_empty() {
                    touched.push(*slot);
                }
                remembered.newest = window;
                let counted = if group.sums.is_empty() { None } else { sums.next() };
                remembered.add(window, counted.unwrap_or_default(), group);
                let own = &mut self.sets[at * group.sets.len()..(at + 1) * group.sets.len()];
                for ((own, set), elements) in own.iter_mut().zip(&group.sets).zip(sets.by_ref()) {
                    own.add(window, elements, set.longest);
                }
            }
        }
        self.touched.insert(window, touched);
        slots
    }

    /// Loads what is remembered of some entities, so that the waits for memory overlap.
    fn fetch(&self, slots: &[u32], group: &Group) {
        let mut sum = 0;
        for slot in slots {
            let at = *slot as usize;
            sum ^= self.remembered[at].windows.last().copied().unwrap_or(0);
            let own = &self.sets[at * group.sets.len()..(at + 1) * group.sets.len()];
            sum = own.iter().fold(sum, |sum, set| sum ^ set.peek());
        }
        std::hint::black_box(sum);
    }

    /// The slot of a key, a new one where it is not remembered.
    fn slot(&mut self, key: &Key, window: u64, group: &Group) -> u32 {
        let hash = self.seed.hash_one(key);
        let remembered = &mut self.remembered;
        if let Some(slot) = self.index.find(hash, |slot| remembered[*slot as usize].key == *key) {
            return *slot;
        }
        let new = Remembered { key: *key, newest: window, windows: SmallVec::new() };
        let slot = match self.free.pop() {
            Some(slot) => {
                remembered[slot as usize] = new;
                slot
            }
            None => {
                remembered.push(new);
                self.sets.resize_with(remembered.len() * group.sets.len(), Distinct::default);
                remembered.len() as u32 - 1
            }
        };
        self.shares[key.shard()] += 1;
        let (seed, remembered) = (&self.seed, &self.remembered);
        self.index.insert_unique(hash, slot, |slot| seed.hash_one(remembered[*slot as usize].key));
        slot
    }

    /// Appends the values of a slot at the end of `window`.
    fn values(&mut self, at: usize, window: u64, group: &Group, values: &mut Vec<u64>) {
        let sets = &mut self.sets[at * group.sets.len()..(at + 1) * group.sets.len()];
        // No entity has more sets than the source.
        let mut counts = [[0; 3]; 4];
        for ((counts, own), set) in counts.iter_mut().zip(sets).zip(&group.sets) {
            *counts = own.counts(window, &set.horizons);
        }
        let windows = &self.remembered[at].windows[..];
        let stride = group.sums.len() + 1;
        let starts = HORIZONS.map(|horizon| start(windows, window, horizon, stride));
        let sums = &windows[windows.len() - stride + 1..];
        let before = starts.map(|start| match start {
            0 => None,
            start => Some(&windows[start - stride + 1..start]),
        });
        values.extend(group.values.iter().map(|value| match value.source {
            Counted::Sum(sum) => {
                sums[sum].wrapping_sub(before[value.horizon].map_or(0, |before| before[sum]))
            }
            Counted::Set(set) => counts[set][value.horizon].into(),
            Counted::Active => ((windows.len() - starts[value.horizon]) / stride) as u64,
        }));
    }
}

/// Where the first window of a horizon that ends with `window` begins.
fn start(windows: &[u64], window: u64, horizon: u64, stride: usize) -> usize {
    let mut start = windows.len();
    while start >= stride && window.saturating_sub(windows[start - stride]) < horizon {
        start -= stride;
    }
    start
}

impl Remembered {
    fn add(&mut self, window: u64, sums: &[u64], group: &Group) {
        let stride = sums.len() + 1;
        let len = self.windows.len();
        if len == 0 || self.windows[len - stride] != window {
            // The last window before the horizon stays: what was summed up to there is subtracted.
            while self.windows.len() > stride && self.windows[stride].saturating_add(group.horizon) <= window
            {
                self.windows.drain(..stride);
            }
            if len == 0 {
                self.windows.reserve_exact(stride);
            }
            self.windows.push(window);
            for _ in sums {
                let before = if len == 0 { 0 } else { self.windows[self.windows.len() - stride] };
                self.windows.push(before);
            }
        }
        let newest = self.windows.len() - sums.len();
        for (own, sum) in self.windows[newest..].iter_mut().zip(sums) {
            *own = own.wrapping_add(*sum);
        }
    }
}
