//! What was found, held against the truth: labels, and scored rows that they match.

mod labels;
mod scores;
mod verdict;

pub use labels::{Label, Labels, Transport};
pub use scores::{ScoredRow, read_scores};
pub use verdict::{Event, Verdict, judge};

use std::path::PathBuf;

/// Why results cannot be held against labels.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A label that is none.
    #[error("{}:{line}: {what}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong and what may stand there.
        what: String,
    },
    /// A file of scores that is none.
    #[error("{}: {what}", path.display())]
    Scores {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}
