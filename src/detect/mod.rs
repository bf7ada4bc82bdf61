//! Rows to scores: detectors that learn what is usual and say how odd a row is.
//!
//! A [`Detector`] scores rows; higher is odder, in its own unit, with the conformal p-value beside it: the share of
//! calibration rows that are as odd. Learning ([`Learning`]) is one pass over rows on any number of workers, and
//! neither their number nor the order of rows shows.
//!
//! - [`isolation`]: the detector `forest`. [`partition`] names the partition of each row, such as its protocol
//!   class; [`sample`] keeps rows for learning; [`forest`] is one Isolation Forest, [`layout`] holds its trees the
//!   way scoring is fast; [`partitioned`] is a forest for each partition, a fallback, and the threshold; `tables`
//!   is its form in the model file.
//! - [`themes`]: the detector `themes`, calibrated sums of surprises; [`lasting`]: what the windows before say beside a
//!   row's own score. [`ensemble`]: others over the same surprises:
//!   `sum`, `forest` with `inputs = "surprise"`, and `ensemble`, several together. [`member`]: which there are.
//! - [`spec`]: what `[detect]` of a pipeline file says, checked; [`error`]: what may go wrong.
//! - [`threshold`]: where alarms begin, also another one than a model's own.
//! - [`reason`]: why a row scores as it does, in words, and the technique that it looks like.
//! - [`calibration`]: values to tail probabilities; [`learning`]: the pass over rows; [`scorer`]: scores beside
//!   their rows; [`outline`]: what a detector is, for people.
//!
//! Another detector is one more file here that implements [`Detector`], and a [`Kind`]; one over surprises a
//! [`Member`].

mod calibration;
mod ensemble;
mod error;
mod forest;
mod growing;
mod isolation;
mod isolation_reasons;
mod lasting;
mod layout;
mod learning;
mod member;
pub mod operator;
pub(crate) mod outline;
mod partition;
mod partitioned;
pub(crate) mod random;
pub mod reason;
mod sample;
mod scorer;
mod shares;
mod spec;
mod tables;
mod themes;
mod threshold;
mod tree;
mod usual;

#[cfg(test)]
mod ensemble_tests;
#[cfg(test)]
mod goldens;
#[cfg(test)]
pub(crate) use themes::tests::{learned_as, rows as judged_rows};

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use serde_json::{Map, Value};

use crate::encode::EncodeError as ColumnError;
use crate::reading::{Damage, Tables};

pub use ensemble::Ensemble;
pub use error::DetectError;
pub use forest::Forest;
pub use isolation::Isolation;
pub use lasting::Lasting;
pub use learning::{Learning, Lesson};
pub use member::{Inputs, Kind, Member};
pub use outline::Line;
pub use partition::{MAX_PARTITIONS, PartitionBy, Partitions, partitions};
pub use partitioned::{EncodeError, PartitionSummary, PartitionedForest};
pub use reason::{Evidence, Group, Hint, Part, Reason};
pub use sample::{Identity, Reservoir, Sample, Samples};
pub use scorer::{ADDED, MEANINGS, THRESHOLD, marked, scored, scored_schema, scored_schema_without_reasons};
pub use spec::{DetectSettings, DetectSpec};
pub use themes::Themes;
pub use threshold::{PERCENTILES, SHARES, Threshold};
pub use tree::{Tree, mean_path_length};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What a detector says about rows, each in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Higher is odder; never NaN.
    pub scores: Vec<f64>,
    /// The share of calibration rows that are as odd, above 0 and up to 1.
    pub p_values: Vec<f64>,
    /// The partition of each row; all one where the detector knows none.
    pub partitions: Partitions,
    /// For each row whether its source, and whether its destination, is a newcomer: a host of one's own that training did
    /// not know, as a destination one that several use. Nothing where the detector does not tell them from others.
    pub newcomers: Vec<[bool; 2]>,
}

/// What a detector keeps of rows that it scored, to tell their reasons without judging them again; it alone knows what.
pub type Kept = Box<dyn Any + Send>;

/// Something that was fitted on rows and scores rows.
pub trait Detector: Send + Sync + fmt::Debug {
    /// Scores every row by itself. Where the detector has a [`Detector::lasting`] side, this is the row's own part.
    ///
    /// # Errors
    /// For rows that lack a column, or have it in another type than the rows it was fitted on.
    fn score(&self, rows: &RecordBatch) -> Result<Scores, AnyError>;

    /// The same, and what is kept of them; for some thousands of rows at most, since that is as large as they are.
    ///
    /// # Errors
    /// As [`Detector::score`].
    fn judge(&self, rows: &RecordBatch) -> Result<(Scores, Option<Kept>), AnyError> {
        Ok((self.score(rows)?, None))
    }

    /// How the windows before count beside a row's own score; `None` where each row is judged by itself.
    fn lasting(&self) -> Option<&Lasting> {
        None
    }

    /// A row is an anomaly when its score is greater.
    fn threshold(&self) -> f64;

    /// The threshold that so many of rows like the calibration rows exceed: p-values beyond it are at most that.
    ///
    /// # Errors
    /// [`DetectError::FewRows`] where there are too few calibration rows to say.
    fn threshold_at(&self, false_alarm_rate: f64) -> Result<f64, DetectError>;

    /// The threshold that is asked for, without learning anew; for what the detector was fitted with it is
    /// [`Detector::threshold`].
    ///
    /// # Errors
    /// As [`Detector::threshold_at`].
    fn threshold_for(&self, asked: Threshold) -> Result<f64, DetectError> {
        self.threshold_at(asked.share_above())
    }

    /// Whether rows of this schema can be scored.
    ///
    /// # Errors
    /// The first column that is missing or of another type.
    fn check(&self, schema: &Schema) -> Result<(), ColumnError>;

    /// The columns that rows must have, with their types. Text is `Utf8`, in whatever form rows hold it.
    fn columns(&self) -> &[Field];

    /// Numbers that a row is scored by.
    fn features(&self) -> usize;

    /// Rows that were learned from; `None` if they are more than can be counted.
    fn rows(&self) -> Option<u64>;

    /// What it was made with, and the seed.
    fn settings(&self) -> (&DetectSpec, u64);

    /// What it learned, as named tables for the model file. The same fit gives the same tables.
    ///
    /// # Errors
    /// [`DetectError::Arrow`], which a fitted detector does not cause.
    fn tables(&self) -> Result<Vec<(String, RecordBatch)>, DetectError>;

    /// Why rows score as they do: tells the reason of each of those in `which`, which are in the order of rows, one after
    /// the other; nothing where a detector has no reasons. `kept` is what [`Detector::judge`] kept of the same rows; where
    /// that is not there any more they are judged again.
    ///
    /// # Errors
    /// As [`Detector::score`].
    fn reasons(
        &self,
        rows: &RecordBatch,
        kept: Option<&Kept>,
        which: &[usize],
        tell: &mut dyn FnMut(usize, Reason),
    ) -> Result<(), AnyError> {
        let _ = (rows, kept, which, tell);
        Ok(())
    }

    /// What training was too short for, and what that costs: a line each. Nothing where all is as it should be.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it is, for people.
    fn outline(&self) -> Vec<Line>;

    /// What it is, for programs.
    fn describe_json(&self) -> Map<String, Value>;
}

/// Reads a detector from the tables of a model file.
///
/// # Errors
/// Everything that no fit can have written: the table, or that it is of what the manifest says.
pub(crate) fn read(
    spec: &DetectSpec,
    seed: u64,
    features: usize,
    columns: &[Field],
    tables: &Tables,
) -> Result<Arc<dyn Detector>, Damage> {
    match spec.kind() {
        Some(Kind::Themes) => Ok(Arc::new(Themes::read(spec, seed, columns, tables)?)),
        Some(Kind::Ensemble) => Ok(Arc::new(Ensemble::read(spec, seed, columns, tables)?)),
        _ => Ok(Arc::new(Isolation::read(spec, seed, features, columns, tables)?)),
    }
}
