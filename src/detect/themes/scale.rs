//! Surprises to a score, on the scale of the calibration rows.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::columns::{GROUPS, THEMES, columns, members, weights};
use crate::context::entity::Key;
use crate::detect::Lasting;
use crate::detect::calibration::{Steps, Tail};
use crate::encode::{Kept, Met};

/// What a group may count at most in a theme, in nats.
const CAP: f64 = 12.0;

/// Places for ranks that were met, as a power of two.
const MET: u32 = 14;

/// How rare each value is among the calibration rows.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::detect) struct Scale {
    /// Of the surprise of each column.
    pub(super) ranks: Vec<Steps>,
    /// Of each group.
    pub(super) groups: Vec<Tail>,
    /// Of each theme.
    pub(super) themes: Vec<Tail>,
    /// Of the sum of themes. What it predicts is a row's own score.
    pub(super) sum: Tail,
    /// Of the score with what lasts.
    pub(super) lasting: Lasting,
    /// Ranks of surprises that were met.
    pub(super) met: Kept,
}

/// A score and what it is made of, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::detect) struct Levels {
    /// The tail of each group, capped and weighed: what it counts in its themes.
    pub(in crate::detect) groups: [f64; GROUPS.len()],
    /// The tail of each theme.
    pub(super) themes: [f64; THEMES.len()],
    /// Their sum.
    pub(super) sum: f64,
    /// The tail of the sum.
    pub(in crate::detect) score: f64,
}

/// Surprises of rows, column by column: what is looked up for one column is near for the next row.
#[derive(Clone, Debug)]
pub(in crate::detect) struct Batch {
    rows: usize,
    values: Vec<f32>,
}

impl Batch {
    /// Of so many rows; `column` fills in those of a judged column.
    pub(super) fn new(rows: usize, mut column: impl FnMut(usize, &mut [f32])) -> Batch {
        let mut values = vec![0.0; rows * columns().len()];
        for (at, into) in values.chunks_exact_mut(rows.max(1)).enumerate() {
            column(at, into);
        }
        Batch { rows, values }
    }

    /// From a line for each row.
    pub(in crate::detect) fn of(lines: ArrayView2<'_, f32>) -> Batch {
        Batch { rows: lines.nrows(), values: lines.t().iter().copied().collect() }
    }

    /// Those of a judged column.
    fn column(&self, at: usize) -> &[f32] {
        &self.values[at * self.rows..][..self.rows]
    }

    /// A line for each row, one behind the other.
    pub(super) fn lines(&self, into: &mut [f32]) {
        let width = columns().len();
        for at in 0..width {
            let lines = into.iter_mut().skip(at).step_by(width);
            lines.zip(self.column(at)).for_each(|(into, surprise)| *into = *surprise);
        }
    }

    /// Those of a row, by judged column.
    pub(super) fn row(&self, row: usize) -> Vec<f32> {
        self.values.iter().skip(row).step_by(self.rows).copied().collect()
    }
}

/// For each row the means of the ranks of each group's columns: what shows in many of them counts, what one of them
/// says does not outshout the others.
fn grouped(ranks: &[Steps], surprises: &Batch, met: &mut Met) -> Vec<[f64; GROUPS.len()]> {
    let mut groups = vec![[0.0; GROUPS.len()]; surprises.rows];
    let mut counts = [0u32; GROUPS.len()];
    for (at, (column, steps)) in columns().iter().zip(ranks).enumerate() {
        counts[column.group] += 1;
        for (sums, surprise) in groups.iter_mut().zip(surprises.column(at)) {
            sums[column.group] += match *surprise {
                0.0 => steps.at_zero(),
                surprise => {
                    let same = (at as u64) << 32 | u64::from(surprise.to_bits());
                    met.get_or(same, || steps.rank(f64::from(surprise)))
                }
            };
        }
    }
    for sums in &mut groups {
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum /= f64::from(count.max(1));
        }
    }
    groups
}

/// What groups of these tails count.
fn counted(tails: &[Tail], values: &[f64; GROUPS.len()]) -> [f64; GROUPS.len()] {
    std::array::from_fn(|group| tails[group].nats(values[group]).min(CAP) * weights()[group])
}

/// Sums of the groups of each theme.
fn summed(groups: &[f64; GROUPS.len()]) -> [f64; THEMES.len()] {
    std::array::from_fn(|theme| members()[theme].iter().map(|group| groups[*group]).sum())
}

impl Scale {
    /// Learns it from the surprises of the calibration rows; `rows` says whom they are about, and when.
    pub(in crate::detect) fn of(surprises: &[Batch], rows: &[(Key, u64)]) -> Scale {
        let width = columns().len();
        let column = |at: usize| -> Vec<f64> {
            surprises.iter().flat_map(|some| some.column(at)).map(|surprise| f64::from(*surprise)).collect()
        };
        let ranks: Vec<Steps> = (0..width).into_par_iter().map(|at| Steps::of(&mut column(at))).collect();
        let met = Kept::default();
        let mut groups: Vec<_> = surprises
            .par_iter()
            .flat_map_iter(|some| met.with(MET, |met| grouped(&ranks, some, met)))
            .collect();
        let tails: Vec<Tail> = (0..GROUPS.len())
            .map(|group| Tail::of(&mut groups.iter().map(|values| values[group]).collect::<Vec<_>>()))
            .collect();
        let mut themes: Vec<[f64; THEMES.len()]> =
            groups.par_iter_mut().map(|values| summed(&counted(&tails, values))).collect();
        let of_themes: Vec<Tail> = (0..THEMES.len())
            .map(|theme| Tail::of(&mut themes.iter().map(|values| values[theme]).collect::<Vec<_>>()))
            .collect();
        let sum = |values: &mut [f64; THEMES.len()]| nats(&of_themes, values).iter().sum();
        let sums: Vec<f64> = themes.par_iter_mut().map(sum).collect();
        let sum = Tail::predicting(&mut sums.clone());
        let own: Vec<f64> = sums.iter().map(|value| sum.predicted(*value)).collect();
        let lasting = Lasting::of(rows, &own);
        Scale { ranks, groups: tails, sum, themes: of_themes, lasting, met }
    }

    /// The scores of rows with these surprises.
    pub(in crate::detect) fn levels(&self, surprises: &Batch) -> impl Iterator<Item = Levels> {
        let groups = self.met.with(MET, |met| grouped(&self.ranks, surprises, met));
        groups.into_iter().map(|values| {
            let groups = counted(&self.groups, &values);
            let themes = nats(&self.themes, &summed(&groups));
            let sum = themes.iter().sum();
            Levels { groups, themes, sum, score: self.sum.predicted(sum) }
        })
    }

    /// Calibration rows.
    pub(in crate::detect) fn rows(&self) -> u64 {
        self.sum.steps.all() as u64
    }
}

fn nats(tails: &[Tail], values: &[f64; THEMES.len()]) -> [f64; THEMES.len()] {
    std::array::from_fn(|theme| tails[theme].nats(values[theme]))
}
