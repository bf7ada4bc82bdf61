//! Scores told on to columns, for detectors that are not `themes` and begin with the same surprises: they say how much of
//! a score is of each column, and the columns speak as they do there.

use std::ops::Range;

use arrow::array::RecordBatch;
use ndarray::{Array2, Axis};

use super::Verdicts;
use super::columns::{WIDTH, columns};
use super::groups::GROUPS;
use super::reasons::{Loudness, Ranked, Row, Telling, shares_of_groups};
use super::scale::{Batch, Levels, Scale};
use super::surprises::{AT_ONCE, Surprises};
use crate::detect::{AnyError, Group, Part, Reason};

/// ByColumn of a number, 0 to 1, by judged column.
pub(in crate::detect) type ByColumn = [f64; WIDTH];

/// What a score is made of.
pub(in crate::detect) struct Breakdown {
    /// The score.
    pub(in crate::detect) score: f64,
    /// Its parts, which add up to the total: a name, nats, and the share that each column has of the part.
    pub(in crate::detect) parts: Vec<(&'static str, f64, ByColumn)>,
}

impl Loudness for ByColumn {
    fn of(&mut self, at: usize, _: f32) -> f64 {
        self[at]
    }
}

/// Numbers of columns, of which those without a surprise or below 0 say nothing, as shares of their sum.
pub(in crate::detect) fn by_column(of: impl Fn(usize) -> f64, surprises: &[f32]) -> ByColumn {
    let loud = |at: usize| if surprises[at] > 0.0 { of(at).max(0.0) } else { 0.0 };
    let mut shares: ByColumn = std::array::from_fn(loud);
    let sum: f64 = shares.iter().sum();
    if sum > 0.0 {
        shares.iter_mut().for_each(|share| *share /= sum);
    }
    shares
}

/// ByColumn of groups, told on to their columns as `themes` does.
pub(in crate::detect) fn by_group(of: impl Fn(usize) -> f64, surprises: &[f32], scale: &Scale) -> ByColumn {
    let mut ranked = Ranked::new(scale);
    let mut loudness = |at: usize| if surprises[at] > 0.0 { ranked.of(at, surprises[at]) } else { 0.0 };
    let loud: ByColumn = std::array::from_fn(&mut loudness);
    let mut sums = [0.0; GROUPS.len()];
    columns().iter().zip(&loud).for_each(|(column, loud)| sums[column.group] += loud);
    let told = |at: usize| {
        let group = columns()[at].group;
        if sums[group] > 0.0 { of(group) * loud[at] / sums[group] } else { 0.0 }
    };
    by_column(told, surprises)
}

/// The same of the score that `themes` gives.
pub(in crate::detect) fn by_themes(levels: &Levels, surprises: &[f32], scale: &Scale) -> ByColumn {
    let groups = shares_of_groups(levels);
    by_group(|group| groups[group], surprises, scale)
}

impl Surprises {
    /// Tells why rows score as they do: one after the other, all rows of a batch, of which `made` knows what their scores
    /// are made of.
    ///
    /// # Errors
    /// As [`Surprises::resolver`].
    pub(in crate::detect) fn tell(
        &self,
        rows: &RecordBatch,
        surprises: &Array2<f32>,
        made: impl Fn(usize) -> Breakdown,
        mut tell: impl FnMut(usize, Reason),
    ) -> Result<(), AnyError> {
        let resolver = &*self.resolver(rows)?;
        let mut telling = Telling::new(&self.past, rows, resolver);
        let read = self.read_rows(rows)?;
        for (at, lines) in surprises.axis_chunks_iter(Axis(0), AT_ONCE).enumerate() {
            let some: Range<usize> = at * AT_ONCE..at * AT_ONCE + lines.nrows();
            let resolved = read.resolve(some.clone());
            let crowd = self.past.find_all(resolved.parties.iter());
            let levels = Vec::new();
            let judged = Verdicts { from: some.start, resolved, crowd, surprises: Batch::of(lines), levels };
            for (place, row) in some.enumerate() {
                let judged = Row::new((&judged, place), row);
                tell(row, telling.reason_of(&judged, made(row)));
            }
        }
        Ok(())
    }
}

impl Telling<'_> {
    fn reason_of(&mut self, row: &Row<'_>, Breakdown { score, parts }: Breakdown) -> Reason {
        let total: f64 = parts.iter().map(|(_, nats, _)| nats).sum();
        let against = total.max(f64::MIN_POSITIVE);
        let mut groups = [0.0; GROUPS.len()];
        let mut all: ByColumn = [0.0; WIDTH];
        let part = |(name, nats, shares): (&'static str, f64, ByColumn)| {
            let mut of_part = [0.0; GROUPS.len()];
            for ((column, share), all) in columns().iter().zip(shares).zip(&mut all) {
                let of_total = share * nats / against;
                of_part[column.group] += of_total;
                groups[column.group] += of_total;
                *all += of_total;
            }
            let told = GROUPS.iter().zip(of_part).filter(|(_, share)| *share > 0.0);
            let groups = told.map(|(name, share)| Group { name, nats: share * total, share });
            Part { name, nats, groups: groups.collect() }
        };
        let parts: Vec<Part> = parts.into_iter().map(part).collect();
        let evidence = self.spoken(row, &groups, &mut all);
        self.told((score, total), parts, evidence)
    }
}
