//! What can be wrong with files of rows, each in one line.

use std::path::PathBuf;

use crate::row::FEATURE_VERSION;

/// What is wrong with a file of rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// It cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no Parquet file, or damaged.
    #[error("{}: not a readable Parquet file: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        what: String,
    },
    /// It is compressed as a whole, as no Parquet file is.
    #[error("{}: is compressed with {how}, and a Parquet file is so within: unpack it", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// With what.
        how: &'static str,
    },
    /// It is the part of a report that has no rows of flows.
    #[error(
        "{}: says which row belongs to which incident; the rows are in the report's scores.parquet, or its folder scores: \
         give that",
        path.display()
    )]
    Incidents {
        /// The file.
        path: PathBuf,
    },
    /// A file has other columns than the first.
    #[error(
        "{}: column `{column}` {found}, in {} it {expected}: files of one run need the same columns; leave it out of all \
         (a view, or copies without it), or run them apart",
        path.display(),
        first.display()
    )]
    Differs {
        /// The file that differs.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// The column.
        column: String,
        /// What is said of it in that file: its type, or that it is missing.
        found: String,
        /// The same in the first file.
        expected: String,
    },
    /// The rows of a file were made in another way than those of the first.
    #[error(
        "{}: its rows were made with other settings than those of {}: extract both with one pipeline, or run them apart",
        path.display(),
        first.display()
    )]
    OtherSettings {
        /// The file that differs.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
    },
    /// The rows of one of two files do not say how they were made.
    #[error(
        "{}: has no rows of flows or does not say how they were made, and {} does: extract both with one pipeline, or run \
         them apart",
        path.display(),
        other.display()
    )]
    NoSettings {
        /// The file that does not.
        path: PathBuf,
        /// The one that does.
        other: PathBuf,
    },
    /// Rows that another netweir made.
    #[error(
        "{}: its rows are of feature version {found}, this netweir makes version {}: extract them again",
        path.display(),
        FEATURE_VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it says.
        found: String,
    },
    /// A window that does not begin where windows do.
    #[error(
        "{}: row {row}: window_start is no multiple of the window ({} s) since 1970: shift times by whole windows",
        path.display(),
        *window as f64 / 1e9
    )]
    Shifted {
        /// The file.
        path: PathBuf,
        /// Number of the row, from 1.
        row: u64,
        /// The length of a window in nanoseconds.
        window: u64,
    },
    /// A column that a report is made of is missing, or of another type.
    #[error(
        "{}: column `{column}` is {found}, {expected} was expected: a report needs it so; where the model can do without it, \
         scores alone can be written (-o scores.parquet)",
        path.display()
    )]
    Report {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type, or that it is missing.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A value that the column's type does not hold.
    #[error("{}: column `{column}`: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The value and the type.
        what: String,
    },
    /// Rows of a file are not in the order of their windows.
    #[error("{}: row {row}: window_start goes back; sort the rows by (window_start, flow_id)", path.display())]
    Order {
        /// The file.
        path: PathBuf,
        /// Number of the row, from 1.
        row: u64,
    },
    /// A row was there before, in this file or in another one.
    #[error(
        "{}: row {row}: a row of this window_start and flow_id was read already: give rows once, not files that overlap",
        path.display()
    )]
    Again {
        /// The file.
        path: PathBuf,
        /// Number of the row, from 1.
        row: u64,
    },
    /// A value is missing that rows always have.
    #[error(
        "{}: row {row}: column `{column}` is null, and rows always have a value there: extract them anew, or leave \
         such rows out",
        path.display()
    )]
    Null {
        /// The file.
        path: PathBuf,
        /// Number of the row, from 1.
        row: u64,
        /// The column.
        column: String,
    },
    /// A row ends before it begins.
    #[error("{}: row {row}: row_end is before row_start: extract the rows anew, or leave such rows out", path.display())]
    Backwards {
        /// The file.
        path: PathBuf,
        /// Number of the row, from 1.
        row: u64,
    },
    /// A file has two columns of one name.
    #[error("{}: two columns are named `{column}`: rename one, or leave it out", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A column that says which flow a row is of is missing, or of another type.
    #[error("{}: column `{column}` is {found}, {expected} was expected", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type, or that it is missing.
        found: String,
        /// What it should be.
        expected: String,
    },
}

impl RowsError {
    /// The same with what to do, where it ends a run.
    pub(super) fn advised(self) -> RowsError {
        match self {
            RowsError::Damaged { path, what } => {
                let what = format!("{what} (--lax leaves it out, or what is behind the damage)");
                RowsError::Damaged { path, what }
            }
            other => other,
        }
    }

    /// Whether a file cannot be read as Parquet, whatever rows were in it.
    pub(super) fn is_of_bytes(&self) -> bool {
        matches!(self, RowsError::Damaged { .. } | RowsError::Compressed { .. })
    }
}
