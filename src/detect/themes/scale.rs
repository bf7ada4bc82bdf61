//! Surprises to a score, on the scale of the calibration rows.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::columns::{Column, WIDTH, columns};
use super::groups::{COUNTS, GROUPS, Measure, THEMES, measure, measure_of_theme, members, weights};
use super::suspects::Calibrating;
use crate::context::entity::Key;
use crate::detect::Lasting;
use crate::detect::calibration::{Steps, Tail};
use crate::encode::{Kept, Met};

/// What a group may count at most in a theme, in nats.
const CAP: f64 = 12.0;

/// Places for ranks of a column that were met, as a power of two.
const MET: u32 = 7;

/// Rows that say what those of newcomers are like, at least.
const LEAST_NEWCOMERS: usize = 300;

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
    pub(super) met: Kept<Met>,
}

/// A score and what it is made of, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::detect) struct Levels {
    /// The tail of each group, weighed and capped: what it counts in its themes.
    pub(in crate::detect) groups: [f64; GROUPS.len()],
    /// What each theme counts: its tail, weighed.
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
    /// Of so many rows, by judged column.
    pub(super) fn new(rows: usize, values: Vec<f32>) -> Batch {
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
    pub(super) fn row(&self, row: usize) -> [f32; WIDTH] {
        let mut all = [0.0; WIDTH];
        let values = self.values[row..].iter().step_by(self.rows);
        all.iter_mut().zip(values).for_each(|(into, surprise)| *into = *surprise);
        all
    }
}

/// A number of each group for each row, group by group.
pub(super) struct Grouped {
    rows: usize,
    values: Vec<f64>,
}

impl Grouped {
    /// Of so many rows, nothing yet.
    pub(super) fn new(rows: usize) -> Grouped {
        Grouped { rows, values: vec![0.0; rows * GROUPS.len()] }
    }

    /// Adds the rank that each row has in a judged column; columns come in their order.
    pub(super) fn add(&mut self, column: &Column, ranks: impl Iterator<Item = f64>) {
        let sums = &mut self.values[column.group * self.rows..][..self.rows];
        sums.iter_mut().zip(ranks).for_each(|(sum, rank)| *sum += rank);
    }

    /// Means of what was added.
    fn means(mut self) -> Grouped {
        let mut counts = [0u32; GROUPS.len()];
        columns().iter().for_each(|column| counts[column.group] += 1);
        for (sums, count) in self.values.chunks_exact_mut(self.rows.max(1)).zip(counts) {
            sums.iter_mut().for_each(|sum| *sum /= f64::from(count.max(1)));
        }
        self
    }

    /// For each row the means of the ranks of each group's columns: what shows in many of them counts, what one of
    /// them says does not outshout the others.
    fn ranked(ranks: &[Steps], surprises: &Batch, met: &mut Met) -> Grouped {
        let mut grouped = Grouped::new(surprises.rows);
        for (at, (column, steps)) in columns().iter().zip(ranks).enumerate() {
            // Rows of a flood follow one another, and nothing need be looked up for the next one.
            let mut last = (0.0, steps.at_zero());
            let ranks = surprises.column(at).iter().map(|surprise| {
                if *surprise != last.0 {
                    let same = u64::from(surprise.to_bits());
                    let rank = match *surprise {
                        0.0 => steps.at_zero(),
                        surprise => met.get_or(at, same, || steps.rank(f64::from(surprise))),
                    };
                    last = (*surprise, rank);
                }
                last.1
            });
            grouped.add(column, ranks);
        }
        grouped.means()
    }

    /// What groups of these tails count.
    fn counted(mut self, tails: &[Tail]) -> Grouped {
        let groups = self.values.chunks_exact_mut(self.rows.max(1));
        for ((values, tail), weight) in groups.zip(tails).zip(weights()) {
            let mut last = (f64::NAN, 0.0);
            for value in values {
                if *value != last.0 {
                    last = (*value, (tail.nats(*value) * weight).min(CAP));
                }
                *value = last.1;
            }
        }
        self
    }

    fn row(&self, row: usize) -> [f64; GROUPS.len()] {
        std::array::from_fn(|group| self.values[group * self.rows + row])
    }

    fn group(&self, group: usize) -> &[f64] {
        &self.values[group * self.rows..][..self.rows]
    }

    /// Sums of the groups of each theme, for each row.
    fn themes(&self) -> impl Iterator<Item = [f64; THEMES.len()]> {
        (0..self.rows).map(|row| summed(&self.row(row)))
    }
}

/// The values that others are measured by. What nothing measures counts as it is: steps and tails of no values give back
/// what they are asked for.
fn measuring(mut values: Vec<f64>, measure: Measure) -> Vec<f64> {
    match measure {
        Measure::All => {}
        Measure::Surprised if values.iter().any(|value| *value > 0.0) => values.retain(|value| *value > 0.0),
        Measure::Surprised => {}
        Measure::None => values.clear(),
    }
    values
}

/// Where no rank was met yet.
fn no_rank() -> Met {
    Met::new(columns().len(), MET)
}

/// Sums of the groups of each theme.
fn summed(groups: &[f64; GROUPS.len()]) -> [f64; THEMES.len()] {
    std::array::from_fn(|theme| members()[theme].iter().map(|group| groups[*group]).sum())
}

impl Scale {
    /// Learns it from the surprises of the calibration rows; `rows` says whom they are about, and when.
    ///
    /// So many `more` rows of the network are beyond most, although nothing else is learned of them.
    pub(in crate::detect) fn of(surprises: &[Batch], rows: &[(Key, u64)], more: usize) -> Scale {
        let width = columns().len();
        let column = |at: usize| -> Vec<f64> {
            surprises.iter().flat_map(|some| some.column(at)).map(|surprise| f64::from(*surprise)).collect()
        };
        let ranked = |at: usize| match measure(columns()[at].group) {
            Measure::None => Steps::of(&mut []),
            _ => Steps::of(&mut column(at)),
        };
        let ranks: Vec<Steps> = (0..width).into_par_iter().map(ranked).collect();
        let met = Kept::default();
        let groups: Vec<Grouped> = surprises
            .par_iter()
            .map(|some| met.with(no_rank, |met| Grouped::ranked(&ranks, some, met)))
            .collect();
        let group =
            |at: usize| -> Vec<f64> { groups.iter().flat_map(|some| some.group(at)).copied().collect() };
        let tails: Vec<Tail> =
            (0..GROUPS.len()).map(|at| Tail::of(&mut measuring(group(at), measure(at)))).collect();
        let mut themes: Vec<[f64; THEMES.len()]> =
            groups.into_iter().flat_map(|some| some.counted(&tails).themes().collect::<Vec<_>>()).collect();
        let of_themes: Vec<Tail> = (0..THEMES.len())
            .map(|theme| {
                let values = themes.iter().map(|values| values[theme]).collect();
                Tail::of(&mut measuring(values, measure_of_theme(theme)))
            })
            .collect();
        let sum = |values: &mut [f64; THEMES.len()]| nats(&of_themes, values).iter().sum();
        let sums: Vec<f64> = themes.par_iter_mut().map(sum).collect();
        let sum = Tail::predicting(&mut sums.clone());
        let own: Vec<f64> = sums.iter().map(|value| sum.predicted(*value)).collect();
        let lasting = Lasting::of(rows, &own, more);
        Scale { ranks, groups: tails, sum, themes: of_themes, lasting, met }
    }

    /// Learns what the score with what lasts is of rows whose sources were never seen, from rows that are judged as if theirs
    /// were not, unless those are few.
    pub(super) fn learn_newcomers(&mut self, rows: &Calibrating<'_>) {
        let (surprises, about) = rows.all();
        if about.len() >= LEAST_NEWCOMERS {
            let own = |some: &Batch| self.levels(some).map(|levels| levels.score).collect::<Vec<f64>>();
            let own: Vec<f64> = surprises.iter().flat_map(own).collect();
            self.lasting.learn_newcomers(about, &own);
        }
    }

    /// The scores of rows with these surprises.
    pub(in crate::detect) fn levels(&self, surprises: &Batch) -> impl Iterator<Item = Levels> {
        self.levels_of(self.met.with(no_rank, |met| Grouped::ranked(&self.ranks, surprises, met)))
    }

    /// The rank of a surprise of a judged column.
    #[inline]
    pub(super) fn rank(&self, at: usize, surprise: f32) -> f64 {
        let steps = &self.ranks[at];
        if surprise == 0.0 { steps.at_zero() } else { steps.rank(f64::from(surprise)) }
    }

    /// The scores of rows with these sums of ranks.
    pub(super) fn levels_added(&self, sums: Grouped) -> impl Iterator<Item = Levels> {
        self.levels_of(sums.means())
    }

    fn levels_of(&self, means: Grouped) -> impl Iterator<Item = Levels> {
        let groups = means.counted(&self.groups);
        (0..groups.rows).map(move |row| {
            let groups = groups.row(row);
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
    std::array::from_fn(|theme| tails[theme].nats(values[theme]) * COUNTS[theme])
}
