//! What values were like in training: counts by entity, column, stretch of time and bucket, in one pass.
//!
//! Only whole numbers are added up, so neither the order of rows nor the workers that saw them show. Two things
//! give way as training grows, both by rules that depend on the set of rows alone:
//!
//! - Time is kept in cells of `2^k` windows, aligned to multiples of their length. More cells than
//!   [`most_cells`] allows for so many rows, and neighbours are joined (`k` grows by one).
//! - Entities beyond [`Limits::entities_seen`] of a kind: those whose fixed hash is in the upper half of what is
//!   still kept join what they share their service with. What is dropped early and what is dropped late
//!   ends in the same place.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::bucket::ABSENT;
use super::counts::Counts;
use super::subject::{Party, Subject};
use crate::context::entity::Key;

/// Which tail of the past a value is held against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Large values are odd.
    Upper,
    /// Small values are odd.
    Lower,
    /// Both are.
    Both,
    /// Values that are as seldom as this one, or more so, are its tail: they have no other order. Whoever brings them, so not
    /// of entities that a source is a part of.
    Seldom,
    /// Large values are odd beyond the largest that the entity ever had, or beyond this bucket if that is larger.
    Beyond(u8),
    /// That there is one at all is odd, of an entity that seldom has one and of a service that is rare; whichever it is does
    /// not matter.
    Any,
}

/// Which part of training a column is learned from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// All of it.
    Start,
    /// Its late blocks: before, everything is new.
    Late,
    /// Entities first seen in the late blocks, and only they are judged; learned under the column of that
    /// position, which is of the same entity.
    Young(u8),
}

/// One column, judged against the past of an entity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// Whose past.
    pub subject: Subject,
    /// Which tail.
    pub side: Side,
    /// One observation for each window with a row of the entity, else one for each row.
    pub once: bool,
    /// Windows without a row of the entity count as observations of 0.
    pub every_window: bool,
    /// It is a count: what an entity may have does not end with the largest that it had.
    pub goes_on: bool,
    /// Which part of training it is learned from.
    pub since: Since,
}

/// Bounds of what is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entities of a kind that are told apart while learning.
    pub entities_seen: usize,
    /// Entities of a kind that keep a past of their own, the most frequent.
    pub entities_kept: usize,
}

/// Cells of time at most for so many rows: fine while training is short, so that it can be cut evenly.
fn most_cells(rows: u64) -> usize {
    match rows {
        0..0x4_0000 => 128,
        0x4_0000..0x10_0000 => 64,
        0x10_0000..0x40_0000 => 32,
        _ => 16,
    }
}

/// An entity, or what entities that are not kept have become.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Name {
    /// With a past of its own.
    Own(Key),
    /// The others of a service (0 where services do not matter).
    Others(u32),
}

impl Name {
    /// An order that does not depend on arrival.
    pub(super) fn order(&self) -> (u32, [u64; 5]) {
        match self {
            Name::Others(service) => (*service, [0; 5]),
            Name::Own(key) => (u32::MAX, bytemuck::cast(*key)),
        }
    }
}

/// The entities of one kind.
#[derive(Clone, Debug)]
pub(super) struct Entities {
    subject: Subject,
    pub(super) names: Vec<Name>,
    /// Rows of each.
    pub(super) rows: Vec<u64>,
    /// The window in which each was first seen; later than all for [`Name::Others`].
    pub(super) first: Vec<u64>,
    numbers: HashMap<Name, u32, foldhash::fast::RandomState>,
    own: usize,
    /// Entities are kept whose hash begins with that many zero bits.
    zeros: u32,
}

impl Entities {
    fn new(subject: Subject) -> Entities {
        Entities {
            subject,
            names: Vec::new(),
            rows: Vec::new(),
            first: Vec::new(),
            numbers: HashMap::default(),
            own: 0,
            zeros: 0,
        }
    }

    fn others(&self, service: u32) -> Name {
        Name::Others(if self.subject.has_service() { service } else { 0 })
    }

    /// The number of an entity.
    fn number(&mut self, key: Key) -> u32 {
        let kept = self.zeros == 0 || key.hash().leading_zeros() >= self.zeros;
        self.intern(if kept { Name::Own(key) } else { self.others(key.code()) })
    }

    fn intern(&mut self, name: Name) -> u32 {
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.rows.push(0);
            self.first.push(u64::MAX);
            self.own += usize::from(matches!(name, Name::Own(_)));
            self.names.len() as u32 - 1
        })
    }

    /// Keeps only hashes with so many zeros; gives the new number of each entity.
    fn shed(&mut self, zeros: u32) -> Vec<u32> {
        let mut fewer = Entities { zeros, ..Entities::new(self.subject) };
        let numbers = (0..self.names.len()).map(|at| fewer.adopt(self, at)).collect();
        *self = fewer;
        numbers
    }

    /// Takes over an entity of others; gives its number here.
    fn adopt(&mut self, from: &Entities, at: usize) -> u32 {
        let number = match from.names[at] {
            Name::Own(key) => self.number(key),
            others => self.intern(others),
        };
        let place = number as usize;
        self.rows[place] += from.rows[at];
        if matches!(self.names[place], Name::Own(_)) {
            self.first[place] = self.first[place].min(from.first[at]);
        }
        number
    }
}

/// A row as it is counted.
pub(crate) struct Observed<'a> {
    pub(crate) party: &'a Party,
    /// Number of the row's window since the epoch.
    pub(crate) window: u64,
    /// The window of the first row ever of its source, destination and service.
    pub(crate) first: u64,
    /// The bucket of each judged column.
    pub(crate) buckets: &'a [u8],
    /// For each subject whether this row stands for the entity in this window.
    pub(crate) leads: [bool; 6],
}

/// Counts of training rows, by entity, column, cell of time and bucket.
#[derive(Clone, Debug)]
pub struct Histograms {
    pub(super) judgements: Arc<[Judgement]>,
    pub(super) limits: Limits,
    pub(super) entities: Vec<Entities>,
    /// For each kind the columns that are counted about it.
    columns: Vec<Vec<u8>>,
    /// The number of each cell of time: windows since the epoch, shifted right by `level`.
    pub(super) cells: Vec<u64>,
    level: u32,
    /// Windows with a row: 64 of them in each word.
    windows: BTreeMap<u64, u64>,
    rows: u64,
    pub(super) counts: Counts,
}

/// Entity, column, place of the cell of time, bucket.
fn pack(entity: u32, column: u8, cell: usize, bucket: u8) -> u64 {
    u64::from(entity) << 24 | u64::from(column) << 16 | (cell as u64) << 8 | u64::from(bucket)
}

/// What [`pack`] packed.
pub(super) fn unpack(packed: u64) -> (u32, u8, usize, u8) {
    ((packed >> 24) as u32, (packed >> 16) as u8, usize::from((packed >> 8) as u8), packed as u8)
}

impl Histograms {
    /// Nothing counted yet.
    pub fn new(judgements: Arc<[Judgement]>, limits: Limits) -> Histograms {
        let counted = |subject: Subject| {
            let columns = (0..).zip(judgements.iter());
            let columns = columns
                .filter(|(_, judged)| judged.subject == subject && !matches!(judged.since, Since::Young(_)));
            columns.map(|(column, _)| column).collect()
        };
        Histograms {
            columns: Subject::ALL.map(counted).to_vec(),
            judgements,
            limits,
            entities: Subject::ALL.map(Entities::new).to_vec(),
            cells: Vec::new(),
            level: 0,
            windows: BTreeMap::new(),
            rows: 0,
            counts: Counts::default(),
        }
    }

    /// Counts a row.
    pub(crate) fn observe(&mut self, row: &Observed<'_>) {
        self.rows += 1;
        *self.windows.entry(row.window / 64).or_default() |= 1 << (row.window % 64);
        let cell = self.cell(row.window >> self.level);
        for (kind, subject) in Subject::ALL.into_iter().enumerate() {
            let entities = &mut self.entities[kind];
            let entity = entities.number(row.party.key(subject));
            let place = entity as usize;
            entities.rows[place] += 1;
            if subject == Subject::PairService && matches!(entities.names[place], Name::Own(_)) {
                entities.first[place] = entities.first[place].min(row.first);
            }
            for column in &self.columns[kind] {
                let bucket = row.buckets[usize::from(*column)];
                let counts =
                    bucket != ABSENT && (!self.judgements[usize::from(*column)].once || row.leads[kind]);
                if counts {
                    self.counts.add(pack(entity, *column, cell, bucket));
                }
            }
        }
        self.keep_bounds();
    }

    /// Adds what another worker counted of the same columns: the order of merging does not show.
    pub fn merge(&mut self, mut other: Histograms) {
        let level = self.level.max(other.level);
        self.coarsen(level);
        other.coarsen(level);
        let mut numbers = Vec::with_capacity(self.entities.len());
        for (kind, theirs) in other.entities.iter().enumerate() {
            if theirs.zeros > self.entities[kind].zeros {
                self.shed(kind, theirs.zeros);
            }
            let ours = &mut self.entities[kind];
            numbers.push((0..theirs.names.len()).map(|at| ours.adopt(theirs, at)).collect::<Vec<u32>>());
        }
        // Both have their cells of time in this one's places; there are at most twice as many as a byte counts.
        let cells: Vec<usize> = other.cells.iter().map(|cell| self.place(*cell)).collect();
        self.counts.extend(other.counts.finish().pairs().map(|(packed, count)| {
            let (entity, column, cell, bucket) = unpack(packed);
            let kind = self.judgements[usize::from(column)].subject as usize;
            (pack(numbers[kind][entity as usize], column, cells[cell], bucket), count)
        }));
        for (word, bits) in other.windows {
            *self.windows.entry(word).or_default() |= bits;
        }
        self.rows += other.rows;
        self.keep_bounds();
    }

    /// Rows counted.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Windows with a row, in order.
    pub(super) fn windows(&self) -> impl Iterator<Item = u64> {
        self.windows.iter().flat_map(|(word, bits)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit)
        })
    }

    /// Windows of a cell of time.
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    fn place(&mut self, cell: u64) -> usize {
        self.cells.iter().position(|known| *known == cell).unwrap_or_else(|| {
            self.cells.push(cell);
            self.cells.len() - 1
        })
    }

    /// The place of a cell of time. A new one may make all of them longer.
    fn cell(&mut self, cell: u64) -> usize {
        let level = self.level;
        // The last cell is nearly always the one.
        if self.cells.last() == Some(&cell) {
            return self.cells.len() - 1;
        }
        self.place(cell);
        self.keep_bounds();
        self.place(cell >> (self.level - level))
    }

    fn keep_bounds(&mut self) {
        while self.cells.len() > most_cells(self.rows) {
            self.coarsen(self.level + 1);
        }
        for kind in 0..self.entities.len() {
            while self.entities[kind].own > self.limits.entities_seen.max(1) {
                self.shed(kind, self.entities[kind].zeros + 1);
            }
        }
    }

    /// Makes cells of time `2^level` windows long.
    fn coarsen(&mut self, level: u32) {
        if level <= self.level {
            return;
        }
        let shift = level - self.level;
        self.level = level;
        let before = std::mem::take(&mut self.cells);
        let places: Vec<usize> = before.iter().map(|cell| self.place(cell >> shift)).collect();
        self.counts = std::mem::take(&mut self.counts).map(|packed| {
            let (entity, column, cell, bucket) = unpack(packed);
            pack(entity, column, places[cell], bucket)
        });
    }

    /// Keeps, of one kind, the entities whose hash begins with so many zeros.
    fn shed(&mut self, kind: usize, zeros: u32) {
        let numbers = self.entities[kind].shed(zeros);
        self.counts = std::mem::take(&mut self.counts).map(|packed| {
            let (entity, column, cell, bucket) = unpack(packed);
            let same = self.judgements[usize::from(column)].subject as usize == kind;
            pack(if same { numbers[entity as usize] } else { entity }, column, cell, bucket)
        });
    }
}
