//! What one pass over rows learns: how columns become numbers, and a sample to grow trees from.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Schema, TimestampNanosecondType, UInt64Type};

use super::{
    DetectError, DetectSettings, Identity, PartitionBy, PartitionedForest, Reservoir, Scorer, partitions,
};
use crate::encode::{EncodeSpec, Fit};
use crate::row::RowBatch;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What is learned in one pass over rows: encoders, and a sample of rows.
pub struct Learning {
    fit: Fit,
    reservoir: Reservoir,
    by: PartitionBy,
    columns: Vec<usize>,
    /// Start of the first and the last window; none for tables.
    windows: Option<(u64, u64)>,
    /// Packets in the rows; none for tables.
    packets: Option<u64>,
}

/// How to learn.
#[derive(Clone)]
pub struct Lesson {
    /// Columns to numbers.
    pub encode: EncodeSpec,
    /// The detector.
    pub detect: DetectSettings,
    /// Every random choice descends from it.
    pub seed: u64,
}

impl Learning {
    /// Nothing learned yet, of rows with `schema`.
    ///
    /// # Errors
    /// If the columns that the pipeline names are not there.
    pub fn new(lesson: &Lesson, schema: &Schema) -> Result<Learning, AnyError> {
        let fit = Fit::new(&lesson.encode, schema)?;
        let by = lesson.detect.partition_by().clone();
        if let Some(column) = by.column()
            && schema.field_with_name(column).is_err()
        {
            return Err(DetectError::NoColumn { column: column.to_owned() }.into());
        }
        // Only what the encoders read is kept of a row.
        let columns = fit.columns().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
        let reservoir = Reservoir::new(lesson.detect.reservoir(), lesson.seed);
        Ok(Learning { fit, reservoir, by, columns, windows: None, packets: None })
    }

    /// Learns from rows.
    ///
    /// # Errors
    /// If they are not of the schema that this was made for.
    pub fn observe(&mut self, batch: &RowBatch) -> Result<(), AnyError> {
        self.fit.observe(&batch.rows)?;
        let partitions = partitions(&batch.rows, &self.by)?;
        let kept = batch.rows.project(&self.columns)?;
        self.reservoir.observe(&kept, &partitions, &identities(batch))?;
        if batch.rows.column_by_name("window_start").is_some() {
            self.span(batch.place.window, batch.place.window);
        }
        let packets = batch.rows.column_by_name("bidir_packets");
        if let Some(packets) = packets.and_then(|packets| packets.as_primitive_opt::<UInt64Type>()) {
            self.count(packets.values().iter().fold(0, |sum: u64, packets| sum.saturating_add(*packets)));
        }
        Ok(())
    }

    fn span(&mut self, first: u64, last: u64) {
        let (from, to) = self.windows.unwrap_or((first, last));
        self.windows = Some((from.min(first), to.max(last)));
    }

    fn count(&mut self, packets: u64) {
        self.packets = Some(self.packets.unwrap_or(0).saturating_add(packets));
    }

    /// Packets that the rows were made of; none for tables.
    pub fn packets(&self) -> Option<u64> {
        self.packets
    }

    /// Rows learned from so far.
    pub fn rows(&self) -> u64 {
        self.fit.rows()
    }

    /// Starts of the first and the last window learned from, in nanoseconds since the Unix epoch; none for
    /// tables that know no windows.
    pub fn windows(&self) -> Option<(u64, u64)> {
        self.windows
    }

    /// Adds what another worker learned: the order of merging does not show.
    ///
    /// # Errors
    /// If the two were made for other columns.
    pub fn merge(&mut self, other: Learning) -> Result<(), AnyError> {
        self.fit.merge(other.fit)?;
        self.reservoir.merge(other.reservoir)?;
        if let Some((first, last)) = other.windows {
            self.span(first, last);
        }
        if let Some(packets) = other.packets {
            self.count(packets);
        }
        Ok(())
    }

    /// Encoders and forest.
    ///
    /// # Errors
    /// If no row was seen.
    pub fn finish(self, lesson: &Lesson) -> Result<Scorer, AnyError> {
        let encoders = self.fit.finish()?;
        let samples = self.reservoir.finish()?;
        let encode = |rows: &RecordBatch| encoders.encode(rows).map_err(AnyError::from);
        let forest = PartitionedForest::fit(&samples, &encode, &lesson.detect, lesson.seed)?;
        Ok(Scorer { encoders, forest })
    }
}

/// What names a row: its flow and window, or its number in a table.
fn identities(batch: &RowBatch) -> Vec<Identity> {
    let rows = &batch.rows;
    let windows = rows.column_by_name("window_start");
    let windows = windows.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let flows = rows.column_by_name("flow_id").and_then(|column| column.as_primitive_opt::<UInt64Type>());
    match (flows, windows) {
        (Some(flows), Some(windows)) => flows
            .values()
            .iter()
            .zip(windows.values())
            .map(|(flow, window)| (*flow, *window as u64))
            .collect(),
        _ => (0..rows.num_rows() as u64).map(|row| (0, batch.place.window + row)).collect(),
    }
}
