//! One pass over rows: their counts go into the pasts of entities, a sample of them is kept for calibration.

use std::sync::{Arc, RwLock};

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use rayon::prelude::*;

use super::columns::columns;
use super::resolve::{self, Resolved, Resolver};
use super::scale::Scale;
use super::{Themes, surprises};
use crate::detect::{DetectError, DetectSettings, Identity, Partitions, Reservoir};
use crate::encode::subject::{PARTY, Party};
use crate::encode::{Histograms, Judgement, Limits, Observed};
use crate::flow::window_of;
use crate::row::RowSettings;

/// Entities are told apart while learning up to so many times those that are kept.
const MORE_ENTITIES: usize = 8;

/// What is learned of rows.
pub(in crate::detect) struct ThemesLearning {
    window: u64,
    fields: Vec<Field>,
    resolver: Resolver,
    histograms: Histograms,
    reservoir: Reservoir,
}

impl ThemesLearning {
    pub(in crate::detect) fn new(
        detect: &DetectSettings,
        seed: u64,
        schema: &Schema,
    ) -> Result<ThemesLearning, DetectError> {
        let window = RowSettings::of(schema).as_ref().and_then(window_of).ok_or(DetectError::NoWindows)?;
        let judgements: Arc<[Judgement]> = columns().iter().map(|column| column.judged).collect();
        let kept = detect.entities();
        let limits = Limits { entities_seen: MORE_ENTITIES * kept, entities_kept: kept };
        Ok(ThemesLearning {
            window,
            fields: resolve::fields(schema)?,
            resolver: Resolver::new(schema)?,
            histograms: Histograms::new(judgements, limits),
            reservoir: Reservoir::new(detect.reservoir(), seed),
        })
    }

    pub(in crate::detect) fn observe(
        &mut self,
        rows: &RecordBatch,
        identities: &[Identity],
    ) -> Result<(), DetectError> {
        if !self.resolver.fits(rows.schema_ref()) {
            self.resolver = Resolver::new(rows.schema_ref())?;
        }
        let resolved = self.resolver.resolve(rows, self.window)?;
        for row in 0..rows.num_rows() {
            self.histograms.observe(&Observed {
                party: &resolved.parties[row],
                window: resolved.windows[row],
                first: resolved.firsts[row],
                buckets: resolved.buckets(row),
                leads: resolved.leads(row),
            });
        }
        let kept = pack(&resolved)?;
        self.reservoir.observe(&kept, &Partitions::one("all", rows.num_rows()), identities)
    }

    pub(in crate::detect) fn rows(&self) -> u64 {
        self.histograms.rows()
    }

    pub(in crate::detect) fn merge(&mut self, other: ThemesLearning) -> Result<(), DetectError> {
        self.histograms.merge(other.histograms);
        self.reservoir.merge(other.reservoir)
    }

    pub(in crate::detect) fn finish(self, detect: &DetectSettings, seed: u64) -> Result<Themes, DetectError> {
        let learned = self.histograms.finish();
        let blocks = learned.blocks().clone();
        let half = blocks.half_starts();
        let samples = self.reservoir.finish()?;
        let sample = samples.partitions.first().ok_or(DetectError::Empty)?;
        let rows = unpack(&sample.rows).ok_or(DetectError::Empty)?;
        // Rows of each block of the second half are judged by all but their block.
        let width = columns().len();
        let mut all: Vec<f32> = Vec::new();
        for block in blocks.half..blocks.starts.len() {
            let past = learned.without(block);
            let which: Vec<usize> =
                (0..rows.windows.len()).filter(|row| blocks.of(rows.windows[*row]) == block).collect();
            let from = all.len();
            all.resize(from + which.len() * width, 0.0);
            all[from..].par_chunks_exact_mut(width).zip(which).for_each(|(into, row)| {
                surprises(&past, half, &rows, row, into);
            });
        }
        if all.is_empty() {
            return Err(DetectError::Empty);
        }
        Ok(Themes {
            settings: detect.clone(),
            seed,
            window: self.window,
            fields: self.fields,
            scale: Scale::of(&all),
            past: learned.all(),
            blocks,
            resolver: RwLock::default(),
        })
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
    let weights = rows.weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from(rows.windows.clone())),
        Arc::new(UInt64Array::from(rows.firsts.clone())),
        binary(PARTY, parties)?,
        binary(width, rows.buckets.clone())?,
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
    Some(Resolved::of_sample(parties, numbers(0)?, numbers(1)?, bytes(buckets), weights.collect()))
}
