//! What was found, held against the truth: labels, and scored rows that they match.
//!
//! [`evaluate`] reads scores and labels and gives an [`Evaluation`]: what every detector's scores are worth beside
//! trivial baselines, as JSON ([`Evaluation::metrics`]), as a page ([`Evaluation::report`]) and as a few lines of
//! text ([`std::fmt::Display`]); [`Evaluation::worst_incidents`] and [`Evaluation::events_found`] are for a first look.

mod baselines;
mod bootstrap;
mod cases;
mod conversations;
mod digest;
mod epoch;
mod evaluation;
mod incidents;
mod labels;
mod matching;
mod measure;
mod metrics;
mod number;
mod ranking;
mod reasons;
mod remarks;
mod report;
mod run;
mod scores;
mod seeds;
mod spread;
mod summary;
mod truth;

pub(crate) use baselines::BASELINES;
pub use evaluation::{Evaluation, Options, evaluate};
pub use labels::{Label, Labels, Transport};
pub use scores::{ScoredRow, read_scores};

use std::path::{Path, PathBuf};

use crate::reading::{self, Unreadable};
use crate::report::ReportError;

/// Why results cannot be held against labels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// What a run left of its incidents is none.
    #[error(transparent)]
    Incidents(#[from] ReportError),
    /// A folder and captures to train on, and nothing to train.
    #[error(
        "{}: is evaluated as it is, and nothing is to be trained: name a pipeline with --beside, or several --seeds, \
         or leave the folder out",
        folder.display()
    )]
    Idle {
        /// The folder.
        folder: PathBuf,
    },
    /// Two sets of scores of one name.
    #[error(
        "scores to compare: the name `{name}` stands twice, or is that of a baseline; each set of scores needs its own"
    )]
    Name {
        /// The name.
        name: String,
    },
}

/// A file of rows that a run left.
fn opened(path: &Path) -> Result<reading::Opened, EvaluateError> {
    let path = path.to_owned();
    reading::open(&path).map_err(|error| match error {
        Unreadable::Io(source) => EvaluateError::Io { path, source },
        Unreadable::Damaged(what) => EvaluateError::Scores { path, what },
    })
}
