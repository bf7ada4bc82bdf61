//! What may go wrong in detection, each in one line.

use arrow::error::ArrowError;

use super::EncodeError;
use crate::context::ContextError;

/// What may go wrong in detection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
        "{rate:?} of rows as false alarms is too few for the model to tell: its {found} calibration rows say {} at least; train on more, or ask for a larger share",
        at_least(*.least)
    )]
    FewRows {
        /// The share that was asked for.
        rate: f64,
        /// The least share that the model can tell.
        least: f64,
        /// Calibration rows that there are.
        found: u64,
    },
    /// Arrow refused.
    #[error("rows cannot be handled: {0}")]
    Arrow(#[from] ArrowError),
}

/// A share in two digits, rounded up: as much can be asked for.
fn at_least(share: f64) -> String {
    // One part in twenty more is never less than what rounding takes from two digits.
    format!("{:.1e}", (1.05 * share).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_share_is_short_and_can_be_asked_for() {
        for share in [1.0 / 1521.0, 0.01 / 7921.0, 1e-9, 0.0999, 0.3] {
            let text = at_least(share);
            let told: f64 = text.parse().unwrap();
            assert!(text.len() < 8 && told >= share && told < 1.11 * share, "{share} {text}");
        }
        assert_eq!(at_least(f64::INFINITY), "1.0e0");
    }
}
