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
//! - [`threshold`]: where alarms begin, also another one than a model's own.
//! - [`reason`]: why a row scores as it does, in words, and the technique that it looks like.
//! - [`calibration`]: values to tail probabilities; [`learning`]: the pass over rows; [`scorer`]: scores beside
//!   their rows; [`outline`]: what a detector is, for people.
//!
//! Another detector is one more file here that implements [`Detector`], and a [`Kind`]; one over surprises a
//! [`Member`].

mod calibration;
mod ensemble;
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
mod random;
pub mod reason;
mod sample;
mod scorer;
mod shares;
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
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::context::ContextError;
use crate::encode::EncodeError as ColumnError;

pub use ensemble::Ensemble;
pub use forest::Forest;
pub use isolation::Isolation;
pub use lasting::Lasting;
pub use learning::{Learning, Lesson};
pub use member::{Inputs, Kind, Member};
pub use outline::Line;
pub use partition::{MAX_PARTITIONS, PartitionBy, Partitions, partitions};
pub use partitioned::{EncodeError, PartitionSummary, PartitionedForest};
pub use reason::{Asked, Evidence, Group, Hint, Part, Reason};
pub use sample::{Identity, Reservoir, Sample, Samples};
pub use scorer::{ADDED, THRESHOLD, marked, scored, scored_schema, scored_schema_without_reasons};
pub use themes::Themes;
pub use threshold::Threshold;
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
        which: &[Asked],
        tell: &mut dyn FnMut(&Asked, Reason),
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
/// [`DetectError::Damaged`] for everything that no fit can have written; it names the table, or `settings`.
pub fn read(
    spec: &DetectSpec,
    seed: u64,
    features: usize,
    columns: &[Field],
    tables: &BTreeMap<String, RecordBatch>,
) -> Result<Arc<dyn Detector>, DetectError> {
    match spec.kind() {
        Some(Kind::Themes) => Ok(Arc::new(Themes::read(spec, seed, columns, tables)?)),
        Some(Kind::Ensemble) => Ok(Arc::new(Ensemble::read(spec, seed, columns, tables)?)),
        _ => Ok(Arc::new(Isolation::read(spec, seed, features, columns, tables)?)),
    }
}

/// What the pipeline file says about detection (`[detect]`), as written; [`DetectSpec::check`] makes
/// [`DetectSettings`] of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectSpec {
    /// Which detector: `forest`, `themes`, `sum` or `ensemble`.
    pub detector: String,
    /// What `forest` and `sum` are given of a row: `columns` (as `[encode]` makes numbers of them; of `forest` alone,
    /// its default), `surprise` (of each of the columns that `themes` judges; default of the others) or `groups` (the
    /// tails of groups of them).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// For `ensemble`: whose tails are summed, two or three of `themes`, `forest` and `sum`; `themes` and `forest` when
    /// not given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// What separates rows into partitions of forests: `protocol_class`, `none`, or the name of a column (not for
    /// forests over surprises).
    pub partition_by: String,
    /// Trees of a forest, 1 to 10 000.
    pub trees: usize,
    /// Rows that each tree is grown from, 2 to 65 536.
    pub sample: usize,
    /// Share of training rows that may lie above the threshold, above 0 and up to 0.5. At most one of this,
    /// `percentile` and `false_alarm_rate` may be given; without them it is 0.01 for `forest` over columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contamination: Option<f64>,
    /// The threshold as a percentile of the training scores, above 0 and up to 100. `contamination = c`
    /// says the same as `percentile = 100 (1 - c)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// The threshold as a p-value: the share of rows like the calibration rows that may lie above it, above 0 and up
    /// to 0.5; 0.001 when no threshold is given, but for `forest` over columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_alarm_rate: Option<f64>,
    /// Rows kept of each partition (of all rows where there is no forest) for trees, calibration and threshold, from `sample` to
    /// 16 777 216.
    pub reservoir: usize,
    /// Rows a partition needs for a forest of its own, at least 1; 2 x `sample` when not given. Smaller and
    /// unseen partitions are scored by the fallback, which knows the rows of all partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_partition: Option<u64>,
    /// For all over surprises: entities of a kind (sources, destinations, their services, ...) that keep a past of their own,
    /// the most frequent, 1 to 1 000 000; 20 000 when not given. The others share that of their service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<usize>,
}

impl Default for DetectSpec {
    fn default() -> Self {
        DetectSpec {
            detector: "forest".to_owned(),
            inputs: None,
            members: Vec::new(),
            partition_by: "protocol_class".to_owned(),
            trees: 100,
            sample: 256,
            contamination: None,
            percentile: None,
            false_alarm_rate: None,
            reservoir: 65_536,
            min_partition: None,
            entities: None,
        }
    }
}

/// Trees of a forest at most.
const MAX_TREES: usize = 10_000;
/// Rows of a tree at most: its depth stays within 16.
const MAX_SAMPLE: usize = 65_536;
/// Rows of a reservoir at most: positions in it fit 32 bits with room.
const MAX_RESERVOIR: usize = 1 << 24;
/// Entities of a kind at most.
const MAX_ENTITIES: usize = 1_000_000;

impl DetectSpec {
    /// Checks every key.
    ///
    /// # Errors
    /// [`DetectError::Spec`] names the first key that is wrong, what it is and what it may be.
    pub fn check(&self) -> Result<DetectSettings, DetectError> {
        let wrong = |key, found: &dyn std::fmt::Display, allowed| {
            Err(DetectError::Spec { key, found: found.to_string(), allowed })
        };
        let kind = self.check_members()?;
        if self.partition_by.is_empty() {
            return wrong(
                "partition_by",
                &format_args!("{:?}", self.partition_by),
                "\"protocol_class\", \"none\" or the name of a column",
            );
        }
        if kind != Kind::Forest
            && PartitionBy::parse(&self.partition_by).column().is_some_and(|c| c != "protocol")
        {
            return wrong(
                "partition_by",
                &format_args!("{:?}", self.partition_by),
                "\"protocol_class\" or \"none\" for forests over surprises",
            );
        }
        if !(1..=MAX_TREES).contains(&self.trees) {
            return wrong("trees", &self.trees, "1 to 10000");
        }
        if !(2..=MAX_SAMPLE).contains(&self.sample) {
            return wrong("sample", &self.sample, "2 to 65536");
        }
        if let (Some(_), Some(percentile)) = (self.contamination, self.percentile) {
            return wrong(
                "percentile",
                &percentile,
                "left out when contamination is given: both say the threshold",
            );
        }
        if let Some(rate) = self.false_alarm_rate {
            if self.contamination.is_some() || self.percentile.is_some() {
                return wrong(
                    "false_alarm_rate",
                    &rate,
                    "left out when contamination or percentile is given: all say the threshold",
                );
            }
            if !(rate > 0.0 && rate <= 0.5) {
                return wrong("false_alarm_rate", &rate, "above 0 and up to 0.5");
            }
        }
        if let Some(contamination) = self.contamination
            && !(contamination > 0.0 && contamination <= 0.5)
        {
            return wrong("contamination", &contamination, "above 0 and up to 0.5");
        }
        if let Some(percentile) = self.percentile
            && !(percentile > 0.0 && percentile <= 100.0)
        {
            return wrong("percentile", &percentile, "above 0 and up to 100");
        }
        if !(self.sample..=MAX_RESERVOIR).contains(&self.reservoir) {
            return wrong("reservoir", &self.reservoir, "from the value of `sample` to 16777216");
        }
        if self.min_partition == Some(0) {
            return wrong("min_partition", &0, "at least 1");
        }
        if let Some(entities) = self.entities
            && !(1..=MAX_ENTITIES).contains(&entities)
        {
            return wrong("entities", &entities, "1 to 1000000");
        }
        Ok(DetectSettings { spec: self.clone(), kind, partition_by: PartitionBy::parse(&self.partition_by) })
    }
}

/// A [`DetectSpec`] that passed its check.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectSettings {
    spec: DetectSpec,
    kind: Kind,
    partition_by: PartitionBy,
}

impl DetectSettings {
    /// The spec as it was written.
    pub fn spec(&self) -> &DetectSpec {
        &self.spec
    }

    /// The detector.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Entities of a kind that keep a past of their own.
    pub fn entities(&self) -> usize {
        self.spec.entities.unwrap_or(20_000)
    }

    /// What separates rows into partitions.
    pub fn partition_by(&self) -> &PartitionBy {
        &self.partition_by
    }

    /// Trees of a forest.
    pub fn trees(&self) -> usize {
        self.spec.trees
    }

    /// Rows that each tree is grown from.
    pub fn sample(&self) -> usize {
        self.spec.sample
    }

    /// Rows kept of each partition.
    pub fn reservoir(&self) -> usize {
        self.spec.reservoir
    }

    /// Rows a partition needs for a forest of its own.
    pub fn min_partition(&self) -> u64 {
        self.spec.min_partition.unwrap_or(2 * self.spec.sample as u64)
    }

    /// Where alarms begin.
    pub fn threshold(&self) -> Threshold {
        self.spec.threshold().unwrap_or(match self.kind {
            Kind::Forest => Threshold::Contamination(0.01),
            Kind::Themes | Kind::Ensemble => Threshold::FalseAlarmRate(0.001),
        })
    }
}

/// What may go wrong in detection.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// A key of `[detect]` has a value that it may not have.
    #[error("[detect] {key} = {found}: must be {allowed}")]
    Spec {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// The rows have no column to partition by.
    #[error("[detect] partition_by: the rows have no column `{column}`; name one they have, or use \"none\"")]
    NoColumn {
        /// The column asked for.
        column: String,
    },
    /// The column to partition by is neither text nor whole numbers.
    #[error(
        "[detect] partition_by: column `{column}` is {found}; it must be text, whole numbers or booleans"
    )]
    ColumnType {
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// The column to partition by has too many values.
    #[error("[detect] partition_by gives more than {limit} partitions; name a column with fewer values")]
    TooManyPartitions {
        /// The most there may be.
        limit: usize,
    },
    /// Batches, partitions and identities that do not belong together.
    #[error("{what}: {found} for {expected} rows")]
    RowCount {
        /// What was counted.
        what: &'static str,
        /// How many rows there are.
        expected: usize,
        /// How many of it there are.
        found: usize,
    },
    /// Rows of another width than the detector was fitted on.
    #[error("rows of {found} encoded columns for a detector fitted on {expected}")]
    FeatureCount {
        /// Columns when fitted.
        expected: usize,
        /// Columns now.
        found: usize,
    },
    /// More encoded columns than a tree can name.
    #[error(
        "{found} encoded columns are more than a forest's {limit}; limit the categories of onehot columns"
    )]
    TooManyFeatures {
        /// Columns there are.
        found: usize,
        /// Columns there may be.
        limit: usize,
    },
    /// Rows that do not have the columns of the rows before them.
    #[error("rows change on the way: {difference}")]
    Schema {
        /// The first difference.
        difference: String,
    },
    /// Samples that cannot be merged.
    #[error("samples of different runs cannot be merged: {what} differs")]
    Merge {
        /// What differs.
        what: &'static str,
    },
    /// Nothing to learn from.
    #[error("no rows to train on")]
    Empty,
    /// The encoders refused the sample.
    #[error("{0}")]
    Encode(#[source] EncodeError),
    /// A column that the detector needs is not there, or cannot be read.
    #[error(
        "[detect] detector: column `{column}` {what}; give captures, or rows that `netweir extract` wrote"
    )]
    Column {
        /// The column.
        column: String,
        /// What is wrong with it.
        what: String,
    },
    /// Who rows are about cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// Rows that do not say how long their windows are.
    #[error(
        "[detect] surprises need flow rows with windows; for tables of other making use detector = \"forest\" over columns"
    )]
    NoWindows,
    /// Another detector is asked for than the one that the model was trained with.
    #[error("[detect] {key} = {found}: the model was trained with {was}; {advice}")]
    Trained {
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// Its value in training.
        was: String,
        /// What to do.
        advice: &'static str,
    },
    /// Too few calibration rows for a threshold.
    #[error(
        "{rate} of rows as false alarms needs {needed} calibration rows, the model has {found}; train on more, or ask for a larger share"
    )]
    FewRows {
        /// The share that was asked for.
        rate: f64,
        /// Rows needed.
        needed: u64,
        /// Rows there are.
        found: u64,
    },
    /// A table or setting of the model file that no fit has written.
    #[error("model table `{table}` is damaged: {what}")]
    Damaged {
        /// The table.
        table: String,
        /// What is wrong.
        what: String,
    },
    /// Arrow refused.
    #[error("rows cannot be handled: {0}")]
    Arrow(#[from] ArrowError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(spec: DetectSpec) -> &'static str {
        match spec.check() {
            Err(DetectError::Spec { key, .. }) => key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn default_spec_passes_and_means_what_it_says() {
        let settings = DetectSpec::default().check().unwrap();
        assert_eq!(settings.threshold(), Threshold::Contamination(0.01));
        assert_eq!(settings.min_partition(), 512);
        assert_eq!(*settings.partition_by(), PartitionBy::ProtocolClass);
    }

    #[test]
    fn errors_name_the_key() {
        let spec = DetectSpec::default;
        assert_eq!(key_of(DetectSpec { detector: "tree".into(), ..spec() }), "detector");
        assert_eq!(key_of(DetectSpec { partition_by: String::new(), ..spec() }), "partition_by");
        assert_eq!(key_of(DetectSpec { trees: 0, ..spec() }), "trees");
        assert_eq!(key_of(DetectSpec { sample: 1, ..spec() }), "sample");
        assert_eq!(key_of(DetectSpec { sample: 65_537, ..spec() }), "sample");
        assert_eq!(key_of(DetectSpec { contamination: Some(0.0), ..spec() }), "contamination");
        assert_eq!(key_of(DetectSpec { contamination: Some(f64::NAN), ..spec() }), "contamination");
        assert_eq!(key_of(DetectSpec { percentile: Some(100.5), ..spec() }), "percentile");
        assert_eq!(
            key_of(DetectSpec { percentile: Some(99.0), contamination: Some(0.01), ..spec() }),
            "percentile"
        );
        assert_eq!(key_of(DetectSpec { reservoir: 255, ..spec() }), "reservoir");
        assert_eq!(key_of(DetectSpec { min_partition: Some(0), ..spec() }), "min_partition");
    }

    #[test]
    fn spec_reads_its_table_and_refuses_unknown_keys() {
        let spec: DetectSpec = toml::from_str("trees = 5\npercentile = 99.9").unwrap();
        assert_eq!((spec.trees, spec.percentile, spec.sample), (5, Some(99.9), 256));
        assert_eq!(spec.check().unwrap().threshold(), Threshold::Percentile(99.9));
        assert!(toml::from_str::<DetectSpec>("tree = 5").is_err());
    }

    #[test]
    fn contamination_and_percentile_say_the_same() {
        let contamination = DetectSpec { contamination: Some(0.01), ..DetectSpec::default() };
        let percentile = DetectSpec { percentile: Some(99.0), ..DetectSpec::default() };
        let share = |spec: DetectSpec| spec.check().unwrap().threshold().share_below();
        assert_eq!(share(contamination), share(percentile));
    }
}
