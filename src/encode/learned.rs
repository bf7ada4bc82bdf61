//! From counts to pasts: the whole of training, and all of it but one block.

use std::sync::Arc;

use hashbrown::HashMap;

use super::blocks::{Blocks, MOST};
use super::counts::{Counts, Run};
use super::histograms::{Histograms, Judgement, Name, Since, unpack};
use super::past::{Count, Index, Past};
use super::subject::Subject;

/// What was counted in each block.
type ByBlock = [u64; MOST];

/// Entity, column, bucket, block: of one entity, column and bucket all blocks follow one another.
fn pack_block(entity: u32, column: u8, bucket: u8, block: usize) -> u64 {
    u64::from(entity) << 24 | u64::from(column) << 16 | u64::from(bucket) << 8 | block as u64
}

/// What [`pack_block`] packed.
fn unpack_block(packed: u64) -> (u32, u8, u8, usize) {
    ((packed >> 24) as u32, (packed >> 16) as u8, (packed >> 8) as u8, usize::from(packed as u8))
}

/// Training rows counted to the end: blocks are cut, and the most frequent entities chosen.
#[derive(Debug)]
pub struct Learned {
    judgements: Arc<[Judgement]>,
    blocks: Blocks,
    index: Arc<Index>,
    /// By entity, column, bucket and block, as [`pack_block`] has them.
    counts: Run,
    /// Observations of each column.
    totals: Vec<ByBlock>,
}

impl Histograms {
    /// Ends counting.
    pub fn finish(self) -> Learned {
        let windows: Vec<u64> = self.windows().collect();
        let blocks = Blocks::cut(&windows, self.level());
        let late = blocks.late_starts();

        // The number that each entity of each kind will have.
        let mut entities: Vec<(Subject, Name, u64)> = Vec::new();
        let mut numbers: Vec<Vec<u32>> = Vec::new();
        for subject in Subject::ALL {
            let kind = &self.entities[subject as usize];
            let mut by_rows: Vec<usize> =
                (0..kind.names.len()).filter(|at| matches!(kind.names[*at], Name::Own(_))).collect();
            by_rows.sort_unstable_by_key(|at| (std::cmp::Reverse(kind.rows[*at]), kind.names[*at].order()));
            by_rows.truncate(self.limits.entities_kept);
            let mut kept = vec![false; kind.names.len()];
            by_rows.iter().for_each(|at| kept[*at] = true);
            let name = |at: usize| match kind.names[at] {
                Name::Own(key) if !kept[at] => {
                    Name::Others(if subject.has_service() { key.code() } else { 0 })
                }
                name => name,
            };
            let mut rows: HashMap<Name, u64, foldhash::fast::RandomState> = HashMap::default();
            for at in 0..kind.names.len() {
                *rows.entry(name(at)).or_default() += kind.rows[at];
            }
            let mut named: Vec<(Name, u64)> = rows.into_iter().collect();
            named.sort_unstable_by_key(|(name, _)| name.order());
            let first = entities.len() as u32;
            let of_name: HashMap<Name, u32, foldhash::fast::RandomState> =
                (first..).zip(&named).map(|(number, (name, _))| (*name, number)).collect();
            numbers.push((0..kind.names.len()).map(|at| of_name[&name(at)]).collect());
            entities.extend(named.into_iter().map(|(name, rows)| (subject, name, rows)));
        }

        let young: Vec<(u8, u8)> = (0u8..)
            .zip(self.judgements.iter())
            .filter_map(|(column, judged)| match judged.since {
                Since::Young(from) => Some((from, column)),
                _ => None,
            })
            .collect();
        let of_cell: Vec<usize> = self.cells.iter().map(|cell| blocks.of(cell << self.level())).collect();
        let mut counts = Counts::default();
        counts.extend(self.counts.finish().pairs().flat_map(|(packed, count)| {
            let (entity, column, cell, bucket) = unpack(packed);
            let judged = &self.judgements[usize::from(column)];
            let (kind, block) = (judged.subject as usize, of_cell[cell]);
            let number = numbers[kind][entity as usize];
            let itself = (judged.since == Since::Start || block >= blocks.late).then_some(column);
            let first = self.entities[kind].first[entity as usize];
            let late = first >= late && first != u64::MAX;
            let young = young.iter().filter(move |(from, _)| late && *from == column);
            let columns = itself.into_iter().chain(young.map(|(_, young)| *young));
            columns.map(move |column| (pack_block(number, column, bucket, block), count))
        }));
        let counts = counts.finish();
        let mut totals = vec![[0; MOST]; self.judgements.len()];
        for (packed, count) in counts.pairs() {
            let (_, column, _, block) = unpack_block(packed);
            totals[usize::from(column)][block] += u64::from(count);
        }
        Learned { judgements: self.judgements, blocks, index: Arc::new(Index::new(entities)), counts, totals }
    }
}

impl Learned {
    /// How training was cut.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The past that rows outside training are judged by.
    pub fn all(&self) -> Past {
        self.past(None)
    }

    /// The past that rows of a block are judged by: all but the block's own. A column of which only this block
    /// knows keeps it, since nothing else can judge it. It stands for all of training.
    pub fn without(&self, block: usize) -> Past {
        self.past(self.blocks.apart.then_some(block))
    }

    fn past(&self, without: Option<usize>) -> Past {
        let others = |counts: &ByBlock| match without {
            None => counts.iter().sum(),
            Some(block) => counts.iter().sum::<u64>() - counts[block],
        };
        let alone: Vec<bool> = self.totals.iter().map(|total| others(total) == 0).collect();
        let mut counts: Vec<Count> = Vec::new();
        for (packed, count) in self.counts.pairs() {
            let (entity, column, bucket, block) = unpack_block(packed);
            if without == Some(block) && !alone[usize::from(column)] {
                continue;
            }
            match counts.last_mut() {
                Some(last) if (last.entity, last.column, last.bucket) == (entity, column, bucket) => {
                    last.count += u64::from(count);
                }
                _ => counts.push(Count { entity, column, bucket, count: count.into() }),
            }
        }
        let own = without.map_or(0, |block| self.blocks.windows[block]);
        let windows = self.blocks.total() - own;
        let past = Past::new(self.judgements.clone(), self.index.clone(), windows, &counts);
        past.standing_for(self.blocks.total())
    }
}
