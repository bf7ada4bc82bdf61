//! Growing a forest for each partition from a sample, as a whole or without the rows of some times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::random::tree_seed;
use super::{DetectError, DetectSettings, Forest, PartitionBy, Sample, Samples};
use crate::encode::Blocks;

/// Forests of one training, or of a part of it.
pub(super) struct Grown {
    pub(super) fallback: Forest,
    pub(super) forests: BTreeMap<Arc<str>, Forest>,
}

/// What forests are grown from.
pub(super) struct Growing<'a> {
    pub(super) samples: &'a Samples,
    pub(super) encoded: &'a [Array2<f32>],
    pub(super) settings: &'a DetectSettings,
    pub(super) seed: u64,
}

impl Growing<'_> {
    /// Grows forests from the rows of these times.
    pub(super) fn grow(&self, takes: impl Fn(u64) -> bool) -> Result<Grown, DetectError> {
        let Growing { samples, encoded, settings, seed } = self;
        let features = encoded.first().ok_or(DetectError::Empty)?.ncols();
        let fit = |rows: ArrayView2<'_, f32>, name: Option<&str>| {
            Forest::fit(rows, settings.trees(), settings.sample(), |tree| tree_seed(*seed, name, tree))
        };
        let time = |partition: usize, row: usize| samples.partitions[partition].identities[row].1;
        let places = || samples.all.iter().map(|(p, row)| (*p as usize, *row as usize));
        let mut all: Vec<(usize, usize)> = places().filter(|(p, row)| takes(time(*p, *row))).collect();
        if all.is_empty() {
            // A sample over all rows that holds none of these times: one block had nearly all rows.
            all = places().collect();
        }
        let mut matrix = Array2::zeros((all.len(), features));
        for (mut to, (partition, row)) in matrix.rows_mut().into_iter().zip(&all) {
            to.assign(&encoded[*partition].row(*row));
        }
        let fallback = fit(matrix.view(), None)?;
        drop(matrix);
        let mut forests = BTreeMap::new();
        for (partition, (sample, rows)) in samples.partitions.iter().zip(*encoded).enumerate() {
            let separate = *settings.partition_by() != PartitionBy::None;
            if !separate || sample.seen < settings.min_partition() {
                continue;
            }
            let which: Vec<usize> = (0..rows.nrows()).filter(|row| takes(time(partition, *row))).collect();
            let name = Some(sample.partition.as_ref());
            let forest = match which.len() {
                0 => continue,
                all if all == rows.nrows() => fit(rows.view(), name)?,
                _ => fit(rows.select(Axis(0), &which).view(), name)?,
            };
            forests.insert(sample.partition.clone(), forest);
        }
        Ok(Grown { fallback, forests })
    }

    /// Scores of all kept rows.
    pub(super) fn scores(&self, by: &Grown) -> Result<Vec<Vec<f64>>, DetectError> {
        let rows = self.samples.partitions.par_iter().zip(self.encoded);
        rows.map(|(sample, rows)| by.of(&sample.partition).score(rows.view())).collect()
    }

    /// Scores of all kept rows, each by forests that were grown from the other blocks of time.
    pub(super) fn held_out(&self, shortest: usize) -> Result<Option<Vec<Vec<f64>>>, DetectError> {
        let of_rows = |sample: &Sample| sample.identities.iter().map(|(_, time)| *time).collect::<Vec<_>>();
        let times: Vec<Vec<u64>> = self.samples.partitions.iter().map(of_rows).collect();
        let distinct: BTreeSet<u64> = times.iter().flatten().copied().collect();
        let blocks = Blocks::cut_into(&distinct.into_iter().collect::<Vec<_>>(), 0, shortest);
        if !blocks.apart {
            return Ok(None);
        }
        let mut scores: Vec<Vec<f64>> = times.iter().map(|rows| vec![0.0; rows.len()]).collect();
        for block in 0..blocks.starts.len() {
            let others = self.grow(|time| blocks.of(time) != block)?;
            let partitions = self.samples.partitions.par_iter().zip(self.encoded).zip(&times);
            let judged = partitions.zip(&mut scores).map(|(((sample, rows), times), scores)| {
                let which: Vec<u32> = (0u32..)
                    .zip(times)
                    .filter(|(_, time)| blocks.of(**time) == block)
                    .map(|(row, _)| row)
                    .collect();
                others.of(&sample.partition).score_some(rows.view(), &which, scores)
            });
            judged.collect::<Result<(), _>>()?;
        }
        Ok(Some(scores))
    }
}

impl Grown {
    /// The forest that scores a partition.
    fn of(&self, partition: &str) -> &Forest {
        self.forests.get(partition).unwrap_or(&self.fallback)
    }
}
