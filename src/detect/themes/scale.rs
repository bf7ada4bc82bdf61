//! Surprises to a score, on the scale of the calibration rows.

use rayon::prelude::*;

use super::columns::{GROUPS, THEMES, belongs, columns, weight};
use crate::detect::calibration::{Steps, Tail};

/// What a group may count at most in a theme, in nats.
const CAP: f64 = 12.0;

/// How rare each value is among the calibration rows.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::detect) struct Scale {
    /// Of the surprise of each column.
    pub(super) ranks: Vec<Steps>,
    /// Of each group.
    pub(super) groups: Vec<Tail>,
    /// Of each theme.
    pub(super) themes: Vec<Tail>,
    /// Of the sum of themes.
    pub(super) sum: Tail,
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

/// Root mean squares of the ranks of each group's columns.
fn grouped(ranks: &[Steps], surprises: &[f32]) -> [f64; GROUPS.len()] {
    let (mut squares, mut counts) = ([0.0; GROUPS.len()], [0u32; GROUPS.len()]);
    for (column, (steps, surprise)) in columns().iter().zip(ranks.iter().zip(surprises)) {
        let rank = if *surprise == 0.0 { steps.at_zero() } else { steps.rank(f64::from(*surprise)) };
        squares[column.group] += rank * rank;
        counts[column.group] += 1;
    }
    std::array::from_fn(|group| (squares[group] / f64::from(counts[group].max(1))).sqrt())
}

/// What groups of these tails count.
fn counted(tails: &[Tail], values: &[f64; GROUPS.len()]) -> [f64; GROUPS.len()] {
    std::array::from_fn(|group| tails[group].nats(values[group]).min(CAP) * weight(GROUPS[group]))
}

/// Sums of the groups of each theme.
fn summed(groups: &[f64; GROUPS.len()]) -> [f64; THEMES.len()] {
    std::array::from_fn(|theme| {
        (0..GROUPS.len()).filter(|group| belongs(GROUPS[*group], theme)).map(|group| groups[group]).sum()
    })
}

impl Scale {
    /// Learns it from the surprises of the calibration rows, row by row.
    pub(in crate::detect) fn of(surprises: &[f32]) -> Scale {
        let width = columns().len();
        let column = |at: usize| -> Vec<f64> {
            surprises.iter().skip(at).step_by(width).map(|surprise| f64::from(*surprise)).collect()
        };
        let ranks: Vec<Steps> = (0..width).into_par_iter().map(|at| Steps::of(&mut column(at))).collect();
        let mut groups: Vec<_> =
            surprises.par_chunks_exact(width).map(|surprises| grouped(&ranks, surprises)).collect();
        let tails: Vec<Tail> = (0..GROUPS.len())
            .map(|group| Tail::of(&mut groups.iter().map(|values| values[group]).collect::<Vec<_>>()))
            .collect();
        let mut themes: Vec<[f64; THEMES.len()]> =
            groups.par_iter_mut().map(|values| summed(&counted(&tails, values))).collect();
        let of_themes: Vec<Tail> = (0..THEMES.len())
            .map(|theme| Tail::of(&mut themes.iter().map(|values| values[theme]).collect::<Vec<_>>()))
            .collect();
        let sum = |values: &mut [f64; THEMES.len()]| nats(&of_themes, values).iter().sum();
        let mut sums: Vec<f64> = themes.par_iter_mut().map(sum).collect();
        Scale { ranks, groups: tails, sum: Tail::of(&mut sums), themes: of_themes }
    }

    /// The score of a row with these surprises.
    pub(in crate::detect) fn levels(&self, surprises: &[f32]) -> Levels {
        let groups = counted(&self.groups, &grouped(&self.ranks, surprises));
        let themes = nats(&self.themes, &summed(&groups));
        let sum = themes.iter().sum();
        Levels { groups, themes, sum, score: self.sum.nats(sum) }
    }

    /// Calibration rows.
    pub(in crate::detect) fn rows(&self) -> u64 {
        self.sum.steps.all() as u64
    }
}

fn nats(tails: &[Tail], values: &[f64; THEMES.len()]) -> [f64; THEMES.len()] {
    std::array::from_fn(|theme| tails[theme].nats(values[theme]))
}
