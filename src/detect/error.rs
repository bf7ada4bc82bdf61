//! What may go wrong in detection, each in one line.

use arrow::error::ArrowError;

use super::EncodeError;
use crate::context::ContextError;

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
