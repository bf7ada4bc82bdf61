//! `netweir explain`: an incident in full, or all of them.

mod rows;
mod text;

use std::io::Write;
use std::path::{Path, PathBuf};

use self::rows::scored;
use self::text::{in_full, list};
use super::Failure;
use crate::report::{self, Left, ReportError};
use crate::sink::report::{SCORES, hours_of, parts};
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
A new host is low, or medium where a row of it is odd. What a budget holds back is told as info, and
so is a knock: one row of up to three packets of a host from outside, which nobody let in.
Below a row stands what it is made of, in nats (-ln of a probability), with the sum before: how rare
such a sum is in training is the score. `lasting` is how odd what the same two hosts did before was,
for those who never met as much as of anybody unknown. A forest's say how much shorter than usual
paths are; its score rises with their sum. Of an ensemble, a sum or a forest over surprises it is
what its members say. Then come reasons: what was seen, and what is usual (the median) for the one
named, or for others where that has no past; p99 is what one value in a hundred exceeds. What is
usual is known by quarters of octaves, told by the least of each: 63 is 63 to 74.
A live run writes the rows of an hour when it is over.")]
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
    /// Scores that have no incidents.
    #[error("{}: {what}", path.display())]
    NoIncidents {
        /// The folder or the file.
        path: PathBuf,
        /// Why.
        what: &'static str,
    },
    /// The log, or the rows of incidents, are none, or have no such incident.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let text = self.text()?;
        let mut out = std::io::stdout().lock();
        for line in text.lines() {
            writeln!(out, "{}", safe(line))?;
        }
        Ok(())
    }

    fn text(&self) -> Result<String, ExplainError> {
        let Left { mut incidents, members } = match self.folder.is_file() {
            true => None,
            false => report::left(&self.folder)?,
        }
        .ok_or_else(|| no_incidents(&self.folder))?;
        // The worst first.
        incidents.sort_by(|a, b| b.rank(b.alerts).cmp(&a.rank(a.alerts)).then_with(|| a.id.cmp(&b.id)));
        Ok(match &self.id {
            None => list(&incidents, &members),
            Some(id) => {
                let ids = incidents.iter().map(|incident| &incident.id[..]).collect();
                let id = report::choose(&self.folder, &ids, id)?;
                let incident = incidents.iter().find(|incident| incident.id == id).expect("it was chosen");
                let scored = scored(&scores(&self.folder)?, incident, &members)?;
                in_full(incident, scored, self.rows)
            }
        })
    }
}

/// What there is of scores; a run that goes on has not written all of them yet.
fn scores(folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    parts(folder, SCORES).map_err(|source| ReportError::Io { path: hours_of(folder, SCORES), source })
}

/// Why a report has none, as far as its files tell.
fn no_incidents(folder: &Path) -> ExplainError {
    let what = if folder.is_file() {
        "is a file; scores alone have no incidents, a report does: a folder that detect or watch left"
    } else if folder.join(SCORES).is_file() {
        "has scores and no incidents.jsonl: a report of a table has no incidents, only one of flows does"
    } else if folder.is_dir() {
        "has no incidents.jsonl, which detect and watch leave there"
    } else {
        "there is no such folder"
    };
    ExplainError::NoIncidents { path: folder.to_owned(), what }
}
