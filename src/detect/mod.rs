//! Encoded rows to scores: detectors that learn what is usual and say how odd a row is.
//!
//! A row enters as numbers (one line of an `Array2<f32>`) with the name of its partition, and leaves with
//! one score; higher is odder, in the detector's own unit. Learning takes a bounded sample of raw rows
//! ([`sample`]) chosen by hash, so that neither the order of rows nor the number of workers shows.
//!
//! - [`partition`]: the partition of each row, such as its protocol class.
//! - [`sample`]: the rows that are kept for learning, for each partition.
//! - [`forest`]: one Isolation Forest; [`layout`] holds its trees the way scoring is fast.
//! - [`learning`]: the one pass over rows that fits encoders and keeps the sample; [`scorer`]: what comes of it.
//! - [`partitioned`]: a forest for each partition, a fallback, and the threshold; `tables` is its form in
//!   the model file.
//!
//! Another detector is one more file here that implements [`Detector`].

mod forest;
mod layout;
mod learning;
pub mod operator;
mod partition;
mod partitioned;
mod random;
mod sample;
mod scorer;
mod tables;
mod tree;

#[cfg(test)]
mod goldens;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

pub use forest::Forest;
pub use learning::{Learning, Lesson};
pub use partition::{MAX_PARTITIONS, PartitionBy, Partitions, partitions};
pub use partitioned::{EncodeError, PartitionSummary, PartitionedForest};
pub use sample::{Identity, Reservoir, Sample, Samples};
pub use scorer::{ADDED, Scorer, scored_schema};
pub use tree::{Tree, mean_path_length};

/// Something that was fitted on rows and scores rows.
pub trait Detector: Send + Sync {
    /// Scores every row; higher is odder. `rows` is `[n_rows, n_features]`, encoded as when the detector
    /// was fitted; the result has one score for each row, in their order, never NaN.
    ///
    /// # Errors
    /// [`DetectError::FeatureCount`] and [`DetectError::RowCount`] for matrices of another shape.
    fn score(&self, rows: ArrayView2<'_, f32>, partitions: &Partitions) -> Result<Vec<f64>, DetectError>;

    /// A row is an anomaly when its score is greater.
    fn threshold(&self) -> f64;

    /// What it was made with, for the manifest of the model file and for people.
    fn settings(&self) -> serde_json::Value;

    /// What it learned, as named tables for the model file. The same fit gives the same tables.
    ///
    /// # Errors
    /// [`DetectError::Arrow`], which a fitted detector does not cause.
    fn tables(&self) -> Result<Vec<(String, RecordBatch)>, DetectError>;
}

/// What the pipeline file says about detection (`[detect]`), as written; [`DetectSpec::check`] makes
/// [`DetectSettings`] of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectSpec {
    /// Which detector: `forest`.
    pub detector: String,
    /// What separates rows into partitions: `protocol_class`, `none`, or the name of a column.
    pub partition_by: String,
    /// Trees of a forest, 1 to 10 000.
    pub trees: usize,
    /// Rows that each tree is grown from, 2 to 65 536.
    pub sample: usize,
    /// Share of training rows that may lie above the threshold, above 0 and up to 0.5; 0.01 when
    /// neither this nor `percentile` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contamination: Option<f64>,
    /// The threshold as a percentile of the training scores, above 0 and up to 100. `contamination = c`
    /// says the same as `percentile = 100 (1 - c)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// Rows kept of each partition for trees and threshold, from `sample` to 16 777 216.
    pub reservoir: usize,
    /// Rows a partition needs for a forest of its own, at least 1; 2 x `sample` when not given. Smaller and
    /// unseen partitions are scored by the fallback, which knows the rows of all partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_partition: Option<u64>,
}

impl Default for DetectSpec {
    fn default() -> Self {
        DetectSpec {
            detector: "forest".to_owned(),
            partition_by: "protocol_class".to_owned(),
            trees: 100,
            sample: 256,
            contamination: None,
            percentile: None,
            reservoir: 65_536,
            min_partition: None,
        }
    }
}

/// Trees of a forest at most.
const MAX_TREES: usize = 10_000;
/// Rows of a tree at most: its depth stays within 16.
const MAX_SAMPLE: usize = 65_536;
/// Rows of a reservoir at most: positions in it fit 32 bits with room.
const MAX_RESERVOIR: usize = 1 << 24;

impl DetectSpec {
    /// Checks every key.
    ///
    /// # Errors
    /// [`DetectError::Spec`] names the first key that is wrong, what it is and what it may be.
    pub fn check(&self) -> Result<DetectSettings, DetectError> {
        let wrong = |key, found: &dyn std::fmt::Display, allowed| {
            Err(DetectError::Spec { key, found: found.to_string(), allowed })
        };
        if self.detector != "forest" {
            return wrong("detector", &format_args!("{:?}", self.detector), "\"forest\"");
        }
        if self.partition_by.is_empty() {
            return wrong(
                "partition_by",
                &format_args!("{:?}", self.partition_by),
                "\"protocol_class\", \"none\" or the name of a column",
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
        Ok(DetectSettings { spec: self.clone(), partition_by: PartitionBy::parse(&self.partition_by) })
    }
}

/// A [`DetectSpec`] that passed its check.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectSettings {
    spec: DetectSpec,
    partition_by: PartitionBy,
}

impl DetectSettings {
    /// The spec as it was written.
    pub fn spec(&self) -> &DetectSpec {
        &self.spec
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

    /// Share of training rows that lie at or below the threshold, above 0 and up to 1.
    pub fn share_below(&self) -> f64 {
        match self.spec.percentile {
            Some(percentile) => percentile / 100.0,
            None => 1.0 - self.spec.contamination.unwrap_or(0.01),
        }
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
    /// A table or setting of the model file that no fit has written.
    #[error("model table `{table}` is damaged: {what}")]
    Damaged {
        /// The table.
        table: &'static str,
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
        assert_eq!(settings.share_below(), 0.99);
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
        assert_eq!(spec.check().unwrap().share_below(), 0.999_000_000_000_000_1);
        assert!(toml::from_str::<DetectSpec>("tree = 5").is_err());
    }

    #[test]
    fn contamination_and_percentile_say_the_same() {
        let contamination = DetectSpec { contamination: Some(0.01), ..DetectSpec::default() };
        let percentile = DetectSpec { percentile: Some(99.0), ..DetectSpec::default() };
        assert_eq!(contamination.check().unwrap().share_below(), percentile.check().unwrap().share_below());
    }
}
