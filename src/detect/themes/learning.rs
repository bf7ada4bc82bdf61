//! One pass over rows: their counts go into the pasts of entities, a sample of them is kept for calibration.

use std::sync::{Arc, RwLock};

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use ndarray::Array2;

use super::Themes;
use super::columns::{HORIZONS, columns};
use super::newcomers;
use super::resolve::{self, Leads, Resolved, Resolver, Rows};
use super::scale::Scale;
use super::surprises::{Surprises, matrix};
use super::suspects::Calibrating;
use crate::context::OwnHosts;
use crate::context::entity::Key;
use crate::detect::{DetectError, DetectSettings, Identity, PartitionBy, Reservoir, Samples, partitions};
use crate::encode::subject::{PARTY, Party};
use crate::encode::{Blocks, Histograms, Judgement, Kept, Limits, Observed, SHORTEST, Subject};
use crate::flow::window_of;
use crate::row::RowSettings;

/// Entities are told apart while learning up to so many times those that are kept.
const MORE_ENTITIES: usize = 8;

/// What is learned of rows.
pub(in crate::detect) struct SurprisesLearning {
    window: u64,
    fields: Vec<Field>,
    resolver: Arc<Resolver>,
    histograms: Histograms,
    reservoir: Reservoir,
    by: PartitionBy,
}

/// The rows of the late blocks of training that were kept, and their surprises by other minutes.
pub(in crate::detect) struct Judged {
    /// By partition; those without such a row are left out.
    pub(in crate::detect) samples: Samples,
    /// The surprises of each partition's rows, a line each.
    pub(in crate::detect) surprises: Vec<Array2<f32>>,
    /// Whom each partition's rows are about, and in which window.
    about: Vec<Vec<(Key, u64)>>,
    /// Of each partition's rows, if asked for, what their surprises would be if their sources had just joined, and whether
    /// those are hosts of one's own.
    joining: Vec<(Array2<f32>, Vec<bool>)>,
    /// The first window whose rows say how rare what is judged is.
    from: u64,
}

impl SurprisesLearning {
    pub(in crate::detect) fn new(
        detect: &DetectSettings,
        by: PartitionBy,
        seed: u64,
        schema: &Schema,
    ) -> Result<SurprisesLearning, DetectError> {
        let window = RowSettings::of(schema).as_ref().and_then(window_of).ok_or(DetectError::NoWindows)?;
        let judgements: Arc<[Judgement]> = columns().iter().map(|column| column.judged).collect();
        let kept = detect.entities();
        let limits = Limits { entities_seen: MORE_ENTITIES * kept, entities_kept: kept };
        Ok(SurprisesLearning {
            window,
            fields: resolve::fields(schema)?,
            resolver: Arc::new(Resolver::new(schema)?),
            histograms: Histograms::new(judgements, limits),
            reservoir: Reservoir::new(detect.reservoir(), seed),
            by,
        })
    }

    pub(in crate::detect) fn observe(
        &mut self,
        rows: &RecordBatch,
        identities: &[Identity],
    ) -> Result<(), DetectError> {
        if !self.resolver.fits(rows.schema_ref()) {
            self.resolver = Arc::new(Resolver::new(rows.schema_ref())?);
        }
        let resolved = Rows::new(rows, self.resolver.clone(), self.window)?.resolve(0..rows.num_rows());
        let leads = Leads::of(rows)?;
        for row in 0..rows.num_rows() {
            self.histograms.observe(&Observed {
                party: &resolved.parties[row],
                window: resolved.windows[row],
                first: resolved.firsts[row],
                buckets: &resolved.buckets(row),
                leads: leads.of_row(row),
            });
        }
        let kept = pack(&resolved)?;
        self.reservoir.observe(&kept, &partitions(rows, &self.by)?, identities)
    }

    /// Names of the columns of rows that are read.
    pub(in crate::detect) fn columns(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name().as_str()).chain(self.by.column())
    }

    pub(in crate::detect) fn rows(&self) -> u64 {
        self.histograms.rows()
    }

    pub(in crate::detect) fn merge(&mut self, other: SurprisesLearning) -> Result<(), DetectError> {
        self.histograms.merge(other.histograms);
        self.reservoir.merge(other.reservoir)
    }

    /// What is usual, and rows that were not judged by it but by other minutes of training; those of one's own hosts as
    /// newcomers' too if asked for.
    ///
    /// # Errors
    /// [`DetectError::Empty`] without rows.
    pub(in crate::detect) fn finish(
        self,
        newcomers: Option<&OwnHosts>,
    ) -> Result<(Surprises, Judged), DetectError> {
        let learned = self.histograms.finish();
        let blocks = learned.blocks().clone();
        let late = blocks.late_starts();
        let mut samples = self.reservoir.finish()?;
        // Of each partition the numbers of the rows of the late blocks; their order stays.
        let mut kept: Vec<Vec<usize>> = Vec::new();
        let mut rows: Vec<Resolved> = Vec::new();
        for sample in &samples.partitions {
            let resolved = unpack(&sample.rows).ok_or(DetectError::Empty)?;
            kept.push((0..resolved.windows.len()).filter(|row| resolved.windows[*row] >= late).collect());
            rows.push(resolved);
        }
        // Where they are few nearly all hosts join, since training has just begun.
        if let Some(own) = newcomers.filter(|_| kept.iter().map(Vec::len).sum::<usize>() >= ENOUGH) {
            rows.iter_mut().for_each(|rows| newcomers::excuse(rows, &blocks, own, self.window));
        }
        let width = columns().len();
        let nothing = || kept.iter().map(|which| Array2::zeros((which.len(), width))).collect();
        let mut surprises: Vec<Array2<f32>> = nothing();
        let mut joining: Vec<Array2<f32>> = if newcomers.is_some() { nothing() } else { Vec::new() };
        // Rows of each late block are judged by all but their block.
        for block in blocks.late..blocks.starts.len() {
            let past = learned.without(block);
            for (partition, (rows, kept)) in rows.iter().zip(&kept).enumerate() {
                let of_block = |(_, row): &(usize, usize)| blocks.of(rows.windows[*row]) == block;
                let places = kept.iter().copied().enumerate().filter(of_block);
                // In the order of a crowd: rows for whom the same is usual follow one another.
                let places: Vec<(usize, usize)> = places.collect();
                let crowd = past.find_all(places.iter().map(|(_, row)| &rows.parties[*row]));
                let ordered = crowd.ordered().into_iter().map(|at| places[at as usize]);
                let (places, which): (Vec<usize>, Vec<usize>) = ordered.unzip();
                for (all, joining) in [(&mut surprises, false), (&mut joining, true)] {
                    let Some(into) = all.get_mut(partition) else { continue };
                    let judged = matrix(&past, &blocks, rows, &which, joining);
                    for (line, place) in judged.rows().into_iter().zip(&places) {
                        into.row_mut(*place).assign(&line);
                    }
                }
            }
        }
        if surprises.iter().all(Array2::is_empty) {
            return Err(DetectError::Empty);
        }
        let about = rows.iter().zip(&kept).map(|(rows, kept)| {
            let about = |row: &usize| (rows.parties[*row].key(Subject::PairService), rows.windows[*row]);
            kept.iter().map(about).collect()
        });
        let mut about: Vec<Vec<(Key, u64)>> = about.collect();
        let local = |party: &Party| newcomers.is_some_and(|own| own.hold(&party.src));
        let own = |party: &Party| local(party) && !party.is_from_nobody();
        let joining = joining.into_iter().zip(rows.iter().zip(&kept)).map(|(joining, (rows, kept))| {
            (joining, kept.iter().map(|row| own(&rows.parties[*row])).collect())
        });
        let mut joining: Vec<(Array2<f32>, Vec<bool>)> = joining.collect();
        joining.retain(|(joining, _)| !joining.is_empty());
        about.retain(|about| !about.is_empty());
        let from = calibrating(&blocks, about.iter().flatten().map(|(_, window)| *window));
        samples.keep(&kept)?;
        surprises.retain(|surprises| !surprises.is_empty());
        let surprises_of_all = Surprises {
            window: self.window,
            fields: self.fields,
            past: learned.all(),
            blocks,
            resolver: RwLock::default(),
            known: Kept::default(),
        };
        Ok((surprises_of_all, Judged { samples, surprises, about, joining, from }))
    }
}

/// What is learned of rows for `themes`.
pub(in crate::detect) struct ThemesLearning(SurprisesLearning);

impl ThemesLearning {
    pub(in crate::detect) fn new(
        detect: &DetectSettings,
        seed: u64,
        schema: &Schema,
    ) -> Result<ThemesLearning, DetectError> {
        SurprisesLearning::new(detect, PartitionBy::None, seed, schema).map(ThemesLearning)
    }

    pub(in crate::detect) fn observe(
        &mut self,
        rows: &RecordBatch,
        identities: &[Identity],
    ) -> Result<(), DetectError> {
        self.0.observe(rows, identities)
    }

    pub(in crate::detect) fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.columns()
    }

    pub(in crate::detect) fn rows(&self) -> u64 {
        self.0.rows()
    }

    pub(in crate::detect) fn merge(&mut self, other: ThemesLearning) -> Result<(), DetectError> {
        self.0.merge(other.0)
    }

    pub(in crate::detect) fn finish(
        self,
        detect: &DetectSettings,
        seed: u64,
        own: &OwnHosts,
    ) -> Result<Themes, DetectError> {
        let (surprises, judged) = self.0.finish(Some(own))?;
        let (scale, suspects) = judged.scale();
        let known = Kept::default();
        Ok(Themes { settings: detect.clone(), seed, scale, known, surprises, suspects })
    }
}

impl Judged {
    /// How rare what is judged is among these rows, but for those that are likely an attack; and what is to be said of
    /// those.
    pub(in crate::detect) fn scale(&self) -> (Scale, Option<String>) {
        let rows = self
            .surprises
            .iter()
            .zip(&self.about)
            .flat_map(|(surprises, about)| surprises.rows().into_iter().zip(about.iter().copied()));
        let calibrating = Calibrating::of(rows.filter(|(_, (_, window))| *window >= self.from));
        let (mut scale, note, kept) = calibrating.scale();
        let joining = self.joining.iter().zip(&self.about).flat_map(|((joining, own), about)| {
            joining.rows().into_iter().zip(own.iter().copied().zip(about.iter().copied()))
        });
        let joining: Vec<_> = joining.filter(|(_, (_, (_, window)))| *window >= self.from).collect();
        let of_own = |row: &usize| joining.get(*row).filter(|(_, (own, _))| *own);
        let joining = kept.iter().filter_map(of_own).map(|(line, (_, about))| (*line, *about));
        scale.learn_newcomers(&Calibrating::of(joining));
        (scale, note)
    }
}

/// So many calibration rows are many: the last block's may stand for both late ones, and hosts that join are told from those
/// that training has not met yet.
const ENOUGH: usize = 1000;

/// The first window whose rows calibrate, of those of the late blocks, which are in these windows.
///
/// While the longest horizon fills, nearly all that it counts is new, and most peers and services of a network are first
/// seen in its first minutes: rows of a late block that begins then, or less than a block later, are odder than rows will
/// ever be again. The last block alone is less than both, but fairer, if it has many rows.
fn calibrating(blocks: &Blocks, windows: impl Iterator<Item = u64>) -> u64 {
    let late = blocks.late_starts();
    let first = blocks.starts.first().copied().unwrap_or(late);
    let last = blocks.starts.last().copied().unwrap_or(late);
    let filling = late - first.min(late) < u64::from(HORIZONS[2]) + SHORTEST as u64;
    match filling && windows.filter(|window| *window >= last).count() >= ENOUGH {
        true => last,
        false => late,
    }
}

fn schema() -> SchemaRef {
    let binary = |bytes: usize| DataType::FixedSizeBinary(bytes as i32);
    let width = columns().len();
    let fields = [
        ("window", DataType::UInt64),
        ("first", DataType::UInt64),
        ("party", binary(PARTY)),
        ("buckets", binary(width)),
        ("weights", binary(4 * width)),
    ];
    Arc::new(Schema::new(fields.map(|(name, kind)| Field::new(name, kind, false)).to_vec()))
}

/// Rows as the sample keeps them.
fn pack(rows: &Resolved) -> Result<RecordBatch, DetectError> {
    let width = columns().len();
    let binary = |size: usize, bytes: Vec<u8>| -> Result<ArrayRef, DetectError> {
        Ok(Arc::new(FixedSizeBinaryArray::try_new(size as i32, bytes.into(), None)?))
    };
    let parties = rows.parties.iter().flat_map(Party::bytes).collect();
    let (buckets, weights) = rows.lines();
    let weights = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from(rows.windows.clone())),
        Arc::new(UInt64Array::from(rows.firsts.clone())),
        binary(PARTY, parties)?,
        binary(width, buckets)?,
        binary(4 * width, weights)?,
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// From [`pack`]; `None` for other rows.
fn unpack(rows: &RecordBatch) -> Option<Resolved> {
    let numbers = |at: usize| Some(rows.column(at).as_primitive_opt::<UInt64Type>()?.values().to_vec());
    let binary = |at: usize| rows.column(at).as_fixed_size_binary_opt();
    let (parties, buckets, weights) = (binary(2)?, binary(3)?, binary(4)?);
    let parties =
        (0..parties.len()).map(|row| Party::from_bytes(parties.value(row))).collect::<Option<_>>()?;
    let bytes = |array: &FixedSizeBinaryArray| -> Vec<u8> {
        (0..array.len()).flat_map(|row| array.value(row).iter().copied()).collect()
    };
    let weights = bytes(weights);
    let weights =
        weights.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    let weights: Vec<f32> = weights.collect();
    Some(Resolved::of_sample(parties, numbers(0)?, numbers(1)?, &bytes(buckets), &weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_calibrate_that_were_seen_when_horizons_were_full_if_they_are_many() {
        let blocks = |length: u64, count: usize| Blocks {
            starts: (0..count as u64).map(|block| 500 + block * length).collect(),
            windows: vec![length; count],
            late: count - 2,
            apart: true,
        };
        let from = |blocks: &Blocks, rows: u64| {
            let end = blocks.starts[0] + blocks.total();
            calibrating(blocks, (0..rows).map(|row| end - 1 - row % blocks.windows[0]))
        };
        // Five minutes: what is late begins when horizons are a third full.
        assert_eq!(from(&blocks(10, 3), 1000), 520);
        assert_eq!(from(&blocks(10, 3), 999), 510);
        // Nine minutes: they have just been filled. Ten minutes and more: they have been full for a block.
        assert_eq!(from(&blocks(11, 5), 5000), 544);
        assert_eq!(from(&blocks(10, 6), 5000), 540);
        assert_eq!(from(&blocks(20, 6), 5000), 580);
    }
}
