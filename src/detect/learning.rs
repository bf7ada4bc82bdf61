//! What one pass over rows learns, for the detector that the pipeline names.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Schema, TimestampNanosecondType, UInt64Type};

use super::ensemble::EnsembleLearning;
use super::isolation::IsolationLearning;
use super::themes::ThemesLearning;
use super::{AnyError, DetectSettings, Detector, Identity, Kind};
use crate::context::{Memory, OwnHosts};
use crate::encode::EncodeSpec;
use crate::row::RowBatch;

/// What names a row of flows, and says how many packets it was made of.
const WINDOW_START: &str = "window_start";
const FLOW_ID: &str = "flow_id";
const PACKETS: &str = "bidir_packets";

/// What is learned in one pass over rows.
pub struct Learning {
    learner: Learner,
    /// Start of the first and the last window; none for tables.
    windows: Option<(u64, u64)>,
    /// Packets in the rows; none for tables.
    packets: Option<u64>,
}

/// What each detector learns.
enum Learner {
    Forest(Box<IsolationLearning>),
    Themes(Box<ThemesLearning>),
    Ensemble(Box<EnsembleLearning>),
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
    /// If the columns that the pipeline names, or that the detector needs, are not there.
    pub fn new(lesson: &Lesson, schema: &Schema) -> Result<Learning, AnyError> {
        let Lesson { encode, detect, seed } = lesson;
        let learner = match detect.kind() {
            Kind::Forest => Learner::Forest(Box::new(IsolationLearning::new(encode, detect, *seed, schema)?)),
            Kind::Themes => Learner::Themes(Box::new(ThemesLearning::new(detect, *seed, schema)?)),
            Kind::Ensemble => Learner::Ensemble(Box::new(EnsembleLearning::new(detect, *seed, schema)?)),
        };
        Ok(Learning { learner, windows: None, packets: None })
    }

    /// Learns from rows.
    ///
    /// # Errors
    /// If they are not of the schema that this was made for.
    pub fn observe(&mut self, batch: &RowBatch) -> Result<(), AnyError> {
        match &mut self.learner {
            Learner::Forest(learner) => learner.observe(&batch.rows, &identities(batch))?,
            Learner::Themes(learner) => learner.observe(&batch.rows, &identities(batch))?,
            Learner::Ensemble(learner) => learner.observe(&batch.rows, &identities(batch))?,
        }
        if batch.rows.column_by_name(WINDOW_START).is_some() {
            self.span(batch.place.window, batch.place.window);
        }
        let packets = batch.rows.column_by_name(PACKETS);
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

    /// Names of the columns of rows that are read; other columns of the schema make no difference.
    pub fn columns(&self) -> BTreeSet<String> {
        let read: Vec<&str> = match &self.learner {
            Learner::Forest(learner) => learner.columns().collect(),
            Learner::Themes(learner) => learner.columns().collect(),
            Learner::Ensemble(learner) => learner.columns().collect(),
        };
        read.into_iter().chain([WINDOW_START, FLOW_ID, PACKETS]).map(str::to_owned).collect()
    }

    /// Packets that the rows were made of; none for tables.
    pub fn packets(&self) -> Option<u64> {
        self.packets
    }

    /// Rows learned from so far.
    pub fn rows(&self) -> u64 {
        match &self.learner {
            Learner::Forest(learner) => learner.rows(),
            Learner::Themes(learner) => learner.rows(),
            Learner::Ensemble(learner) => learner.rows(),
        }
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
        match (&mut self.learner, other.learner) {
            (Learner::Forest(ours), Learner::Forest(theirs)) => ours.merge(*theirs)?,
            (Learner::Themes(ours), Learner::Themes(theirs)) => ours.merge(*theirs)?,
            (Learner::Ensemble(ours), Learner::Ensemble(theirs)) => ours.merge(*theirs)?,
            _ => return Err(super::DetectError::Merge { what: "the detector" }.into()),
        }
        if let Some((first, last)) = other.windows {
            self.span(first, last);
        }
        if let Some(packets) = other.packets {
            self.count(packets);
        }
        Ok(())
    }

    /// The detector; `local` are the networks that are one's own, like `10.0.0.0/8`, `memory` is what context remembers
    /// of the same rows.
    ///
    /// # Errors
    /// If no row was seen, or one of them is no network.
    pub fn finish(
        self,
        lesson: &Lesson,
        local: &[String],
        memory: Option<&Memory>,
    ) -> Result<Arc<dyn Detector>, AnyError> {
        let own = OwnHosts::new(local, memory)?;
        Ok(match self.learner {
            Learner::Forest(learner) => Arc::new(learner.finish(&lesson.detect, lesson.seed)?),
            Learner::Themes(learner) => Arc::new(learner.finish(&lesson.detect, lesson.seed, &own)?),
            Learner::Ensemble(learner) => Arc::new(learner.finish(&lesson.detect, lesson.seed)?),
        })
    }
}

/// What names a row: its flow and window, or its number in a table.
fn identities(batch: &RowBatch) -> Vec<Identity> {
    let rows = &batch.rows;
    let windows = rows.column_by_name(WINDOW_START);
    let windows = windows.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let flows = rows.column_by_name(FLOW_ID).and_then(|column| column.as_primitive_opt::<UInt64Type>());
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
