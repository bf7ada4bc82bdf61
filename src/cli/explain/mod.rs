//! `netweir explain`: an incident in full, or all of them.

mod log;
mod rows;
mod text;

use std::io::Write;
use std::path::{Path, PathBuf};

use self::log::{choose, read_log};
use self::rows::{Belonging, scored};
use self::text::{in_full, list};
use super::Failure;
use crate::sink::report::{INCIDENT_ROWS, INCIDENTS, SCORES, hours_of, parts};
use crate::terminal::safe;

/// Print an incident in full, or list all of a report, the worst first
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  netweir explain out              all incidents, the worst first
  netweir explain out 3f9a         one of them: its rows, their reasons, what was muted meanwhile

The first digits of an id are enough where no other id begins with them.
The worst come first: by severity, then by the score of the oddest row, then by rows. Severity comes
of two things, how far the oddest row lies beyond the threshold and how many rows there are. With
the way from the threshold to its double (a forest's: to 1) as 1, and rows:
             1     2 to 9   10 to 99   100 or more
  up to 1/4  low   low      medium     medium
  up to 1/2  low   medium   medium     high
  beyond     low   medium   high       critical
A new host is low, or medium where a row of it is odd. What a budget holds back is told as info.
Below a row stands what it is made of, in nats (-ln of a probability), with the sum before: how rare
such a sum is in training is the score. A forest's say how much shorter than usual paths are; its
score rises with their sum. Then come reasons: what was seen, and what is usual (the median) for the
one named, or for others where that has no past; p99 is what one value in a hundred exceeds. A live
run writes the rows of an hour when it is over.")]
pub(super) struct Explain {
    /// The folder that detect or watch left
    #[arg(value_name = "OUTDIR")]
    folder: PathBuf,
    /// The incident, by the first digits of its id
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Rows to print at most, the oddest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    rows: usize,
}

/// Why nothing can be explained: one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// A file cannot be read.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Scores that have no incidents.
    #[error("{}: {what}", path.display())]
    NoIncidents {
        /// The folder or the file.
        path: PathBuf,
        /// Why.
        what: &'static str,
    },
    /// A line of the log is none.
    #[error("{}:{line}: is no line about an incident: {what}; where another version wrote it, detect again", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// No incident has this id.
    #[error("{}: no incident has an id that begins with {id:?}; {there}", folder.display())]
    Unknown {
        /// The folder.
        folder: PathBuf,
        /// What was asked for.
        id: String,
        /// What is there.
        there: String,
    },
    /// Several have.
    #[error("{count} incidents have an id that begins with {id:?}: {which}; give more digits")]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// How many.
        count: usize,
        /// Some of them.
        which: String,
    },
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        check(&self.folder)?;
        let incidents = read_log(&self.folder.join(INCIDENTS))?;
        let rows = Belonging::read(&self.parts(INCIDENT_ROWS)?)?;
        let text = match &self.id {
            None => list(&incidents, &rows),
            Some(id) => {
                let incident = choose(&self.folder, &incidents, &id.to_ascii_lowercase())?;
                let scored = scored(&self.parts(SCORES)?, incident, &rows)?;
                in_full(incident, scored, self.rows)
            }
        };
        let mut out = std::io::stdout().lock();
        for line in text.lines() {
            writeln!(out, "{}", safe(line))?;
        }
        Ok(())
    }

    /// What there is of a file of the report; a run that goes on has not written all of it yet.
    fn parts(&self, name: &str) -> Result<Vec<PathBuf>, ExplainError> {
        parts(&self.folder, name).map_err(|error| ExplainError::File {
            path: hours_of(&self.folder, name),
            what: error.to_string(),
        })
    }
}

/// Checks that a report has incidents, as far as its files tell.
fn check(folder: &Path) -> Result<(), ExplainError> {
    let without = |what| Err(ExplainError::NoIncidents { path: folder.to_owned(), what });
    if folder.is_file() {
        return without(
            "is a file; scores alone have no incidents, a report does: a folder that detect or watch left",
        );
    }
    if folder.join(INCIDENTS).exists() || !folder.join(SCORES).is_file() {
        return Ok(());
    }
    without("has scores and no incidents.jsonl: a report of a table has no incidents, only one of flows does")
}
