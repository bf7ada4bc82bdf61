//! A report as a run left it: the present state of each incident, and the rows that belong to it.
//!
//! Two files lie beside the scores. `incidents.jsonl` is a log, one JSON object a line: the last line of an `id` is its
//! present state, the first says when it was known. `incident_rows.parquet` names the rows of each by window and flow;
//! a row that was taken back later stands there a second time, with the opposite sign.

mod log;
mod members;
mod named;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

pub(crate) use self::log::{Incident, Log};
pub(crate) use self::members::Members;
pub(crate) use self::named::{Named, folder_of};
use crate::sink::report::{INCIDENT_ROWS, INCIDENTS, hours_of, parts};

/// What is wrong with what a run left: one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
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
    /// A file of rows is damaged, or has other columns.
    #[error("{}: {what}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
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
    /// An incident that is named has no rows.
    #[error(
        "{}: incident {id} has no rows in incident_rows: a live run writes those of an hour when it is over; \
         name it when they are there",
        folder.display()
    )]
    NoRows {
        /// The folder.
        folder: PathBuf,
        /// Its id.
        id: String,
    },
    /// Several have.
    #[error("{}: {count} incidents have an id that begins with {id:?}: {which}; give more digits", folder.display())]
    Ambiguous {
        /// The folder.
        folder: PathBuf,
        /// What was asked for.
        id: String,
        /// How many.
        count: usize,
        /// Some of them.
        which: String,
    },
}

/// The log of a folder.
///
/// # Errors
/// [`ReportError`] if it is not there or cannot be read, with the line.
pub(crate) fn log(folder: &Path) -> Result<Log, ReportError> {
    let path = folder.join(INCIDENTS);
    match File::open(&path) {
        Ok(file) => log::read(&path, BufReader::new(file)),
        Err(source) => Err(ReportError::Io { path, source }),
    }
}

/// The rows of a folder's incidents, and those that rules muted. A run that goes on has not written all of them yet.
///
/// # Errors
/// [`ReportError`] if they are missing or cannot be read.
pub(crate) fn members(folder: &Path) -> Result<Members, ReportError> {
    let path = folder.join(INCIDENT_ROWS);
    let io = |source| ReportError::Io { path: path.clone(), source };
    let mut files = parts(folder, INCIDENT_ROWS).map_err(io)?;
    // Where there are neither the report is not whole.
    if files.is_empty() && !hours_of(folder, INCIDENT_ROWS).is_dir() {
        files.push(path);
    }
    Members::read(&files)
}

/// The id that begins so, if one does alone. In capitals it is the same.
///
/// # Errors
/// [`ReportError::Unknown`] and [`ReportError::Ambiguous`], with ids that `folder` has.
pub(crate) fn choose<'a>(folder: &Path, ids: &BTreeSet<&'a str>, id: &str) -> Result<&'a str, ReportError> {
    let (folder, id) = (folder.to_owned(), id.to_ascii_lowercase());
    let found: Vec<&str> = ids.iter().copied().filter(|known| known.starts_with(&id)).collect();
    let some = |ids: &mut dyn Iterator<Item = &str>| {
        let mut names: Vec<&str> = ids.take(5).collect();
        if names.len() == 5 {
            names[4] = "...";
        }
        names.join(", ")
    };
    match &found[..] {
        [one] => Ok(one),
        [] => {
            let there = match ids.len() {
                0 => "there is none at all".to_owned(),
                all => format!("there are {all}: {}", some(&mut ids.iter().copied())),
            };
            Err(ReportError::Unknown { folder, id, there })
        }
        all => {
            let which = some(&mut all.iter().copied());
            Err(ReportError::Ambiguous { folder, id, count: all.len(), which })
        }
    }
}
