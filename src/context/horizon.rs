//! What the owner of entities keeps of them: the windows of the longest horizon asked for, no more.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::distinct::Distinct;
use super::entity::{Key, SHARDS};
use super::places::{Places, short};
use super::sums::Sums;
use super::window::Ask;
use super::{Counted, Group, Plan};
use crate::row::asking::Head;

/// Entities whose state is loaded ahead of their turn.
const GROUP: usize = 32;
/// Entities that are kept together in memory.
const PAGE: usize = 1024;

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
        let kinds = plan.groups.iter().map(Kind::new).collect();
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
                kind.fetch(slots.iter().copied());
                slots.iter().for_each(|slot| kind.values(*slot, head.window, group, &mut values));
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
        self.kinds.iter().map(|kind| kind.places.len()).sum()
    }
}

/// The entities of one kind.
struct Kind {
    /// Slots by key. The hash is seeded anew in each process: crafted keys must not collide at will.
    places: Places,
    seed: RandomState,
    slots: Slots,
    free: Vec<u32>,
    /// All slots, each under its last window or an earlier one.
    touched: BTreeMap<u64, Vec<u32>>,
    /// Entities of each share of keys.
    shares: [u32; SHARDS],
    /// The last window that anything was counted in.
    newest: u64,
}

/// One entity.
struct Remembered {
    key: Key,
    /// The last window with a row.
    newest: u64,
    sums: Sums,
}

/// What is remembered of each entity. In pages: nothing is copied to grow.
struct Slots {
    pages: Vec<Page>,
    /// Sets of an entity.
    sets: usize,
    count: usize,
}

struct Page {
    remembered: Vec<Remembered>,
    /// The sets of each, side by side.
    sets: Vec<Distinct>,
}

impl Slots {
    fn new(sets: usize) -> Slots {
        Slots { pages: Vec::new(), sets, count: 0 }
    }

    fn get(&self, slot: u32) -> (&Remembered, &[Distinct]) {
        let (page, at) = (&self.pages[slot as usize / PAGE], slot as usize % PAGE);
        (&page.remembered[at], &page.sets[at * self.sets..(at + 1) * self.sets])
    }

    fn get_mut(&mut self, slot: u32) -> (&mut Remembered, &mut [Distinct]) {
        let (page, at) = (&mut self.pages[slot as usize / PAGE], slot as usize % PAGE);
        (&mut page.remembered[at], &mut page.sets[at * self.sets..(at + 1) * self.sets])
    }

    /// One more, which has no sets yet.
    fn push(&mut self, remembered: Remembered) -> u32 {
        if self.count == self.pages.len() * PAGE {
            let (remembered, sets) = (Vec::with_capacity(PAGE), Vec::with_capacity(PAGE * self.sets));
            self.pages.push(Page { remembered, sets });
        }
        let page = &mut self.pages[self.count / PAGE];
        page.remembered.push(remembered);
        page.sets.resize_with(page.remembered.len() * self.sets, Distinct::default);
        self.count += 1;
        self.count as u32 - 1
    }

    /// Forgets all. Where that happens in every window room for as many is kept; what more a flood of entities
    /// needed is given back.
    fn clear(&mut self) {
        self.pages.truncate(2 * self.count.div_ceil(PAGE));
        for page in &mut self.pages {
            page.remembered.clear();
            page.sets.clear();
        }
        self.count = 0;
    }
}

impl Kind {
    fn new(group: &Group) -> Kind {
        Kind {
            places: Places::default(),
            seed: RandomState::default(),
            slots: Slots::new(group.sets.len()),
            free: Vec::new(),
            touched: BTreeMap::new(),
            shares: [0; SHARDS],
            newest: 0,
        }
    }

    fn forget(&mut self, window: u64, group: &Group) {
        let old = |touched: &u64| touched.saturating_add(group.horizon) <= window;
        if old(&self.newest) {
            return self.clear(group);
        }
        while let Some(oldest) = self.touched.first_entry().filter(|oldest| old(oldest.key())) {
            for slot in oldest.remove() {
                let (remembered, sets) = self.slots.get_mut(slot);
                let Remembered { key, newest, .. } = *remembered;
                if !old(&newest) {
                    self.touched.entry(newest).or_default().push(slot);
                    continue;
                }
                remembered.sums = Sums::default();
                sets.fill(Distinct::default());
                self.places.remove(short(self.seed.hash_one(key)), slot);
                self.shares[key.shard()] -= 1;
                self.free.push(slot);
            }
        }
    }

    fn clear(&mut self, group: &Group) {
        if group.horizon > 1 {
            *self = Kind::new(group);
            return;
        }
        self.places.clear();
        self.slots.clear();
        self.free.clear();
        self.touched.clear();
        self.shares = [0; SHARDS];
    }

    /// Forgets entities of shares that have more than `most`: those last seen longest ago, of one window the last by
    /// their keys, and some more so that it need not be done again at once. Returns how many.
    fn shed(&mut self, most: usize, group: &Group) -> u64 {
        // What looks no further than its window is forgotten with it.
        if group.horizon == 1 || self.shares.iter().all(|count| *count as usize <= most) {
            return 0;
        }
        let mut full: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for slot in self.touched.values().flatten() {
            let share = self.slots.get(*slot).0.key.shard();
            if self.shares[share] as usize > most {
                full.entry(share).or_default().push(*slot);
            }
        }
        let mut leaves = vec![false; self.slots.count];
        for slots in full.values_mut() {
            let excess = slots.len() - (most - most / 8);
            let known = |slot: &u32| self.slots.get(*slot).0;
            slots.select_nth_unstable_by(excess - 1, |a, b| {
                let (a, b) = (known(a), known(b));
                a.newest.cmp(&b.newest).then_with(|| b.key.order().cmp(&a.key.order()))
            });
            slots[..excess].iter().for_each(|slot| leaves[*slot as usize] = true);
        }
        let mut kept = Kind { newest: self.newest, ..Kind::new(group) };
        let stay: Vec<u32> = self.touched.values().flatten().copied().collect();
        for slot in stay.iter().filter(|slot| !leaves[**slot as usize]) {
            let (Remembered { key, newest, sums }, sets) = self.slots.get_mut(*slot);
            let slot = kept.add(short(kept.seed.hash_one(*key)), key, *newest);
            let (remembered, own) = kept.slots.get_mut(slot);
            remembered.sums = std::mem::take(sums);
            own.swap_with_slice(sets);
            kept.touched.entry(*newest).or_default().push(slot);
        }
        let forgotten = stay.len() - kept.slots.count;
        *self = kept;
        forgotten as u64
    }

    fn take(&mut self, ask: &Ask, group: &Group) -> Vec<u32> {
        let window = ask.head.window;
        self.newest = window;
        let mut slots = Vec::with_capacity(ask.keys.len());
        let mut hashes = Vec::with_capacity(GROUP);
        let mut elements = ask.sets();
        let mut touched = self.touched.remove(&window).unwrap_or_default();
        let mut sums = ask.sums.chunks_exact(group.sums.len().max(1));
        for keys in ask.keys.chunks(GROUP) {
            hashes.clear();
            hashes.extend(keys.iter().map(|key| short(self.seed.hash_one(key))));
            std::hint::black_box(hashes.iter().fold(0, |sum, hash| sum ^ self.places.load(*hash)));
            self.fetch(hashes.iter().filter_map(|hash| self.places.near(*hash)));
            for (key, hash) in keys.iter().zip(&hashes) {
                let slot = self.slot(*hash, key, window);
                let (remembered, sets) = self.slots.get_mut(slot);
                if remembered.sums.is_empty() {
                    touched.push(slot);
                }
                remembered.newest = window;
                let counted = if group.sums.is_empty() { None } else { sums.next() };
                remembered.sums.add(window, counted.unwrap_or_default(), group.horizon);
                for ((own, set), elements) in sets.iter_mut().zip(&group.sets).zip(elements.by_ref()) {
                    own.add(window, elements, set.longest);
                }
                slots.push(slot);
            }
        }
        self.touched.insert(window, touched);
        slots
    }

    /// Loads what is remembered of some entities, so that the waits for memory overlap.
    fn fetch(&self, slots: impl Iterator<Item = u32>) {
        let mut sum = 0;
        for slot in slots {
            let (remembered, sets) = self.slots.get(slot);
            sum ^= u64::from(remembered.sums.peek());
            sum = sets.iter().fold(sum, |sum, set| sum ^ set.peek());
        }
        std::hint::black_box(sum);
    }

    /// The slot of a key, a new one where it is not remembered.
    fn slot(&mut self, hash: u32, key: &Key, window: u64) -> u32 {
        let known = self.places.find(hash, |slot| self.slots.get(slot).0.key == *key);
        known.unwrap_or_else(|| self.add(hash, key, window))
    }

    /// A new slot for a key that is not remembered.
    fn add(&mut self, hash: u32, key: &Key, window: u64) -> u32 {
        let new = Remembered { key: *key, newest: window, sums: Sums::default() };
        let slot = match self.free.pop() {
            Some(slot) => {
                *self.slots.get_mut(slot).0 = new;
                slot
            }
            None => self.slots.push(new),
        };
        self.shares[key.shard()] += 1;
        self.places.insert(hash, slot);
        slot
    }

    /// Appends the values of a slot at the end of `window`.
    fn values(&mut self, slot: u32, window: u64, group: &Group, values: &mut Vec<u64>) {
        let (remembered, sets) = self.slots.get_mut(slot);
        // No entity has more sets than the source.
        let mut counts = [[0; 3]; 4];
        for ((counts, own), set) in counts.iter_mut().zip(sets).zip(&group.sets) {
            *counts = own.counts(window, &set.horizons);
        }
        let within = remembered.sums.within(window, group.sums.len());
        values.extend(group.values.iter().map(|value| match value.source {
            Counted::Sum(sum) => within.sum(sum, value.horizon),
            Counted::Set(set) => counts[set][value.horizon].into(),
            Counted::Active => within.active(value.horizon),
        }));
    }
}
