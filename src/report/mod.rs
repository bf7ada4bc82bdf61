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
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};

pub(crate) use self::log::Incident;
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
    /// Its rows are not those that are read.
    #[error(
        "{}: its incidents are of rows made with other settings than those that are learned from: {what}; detect anew, \
         or extract and train as there",
        folder.display()
    )]
    OtherRows {
        /// The folder.
        folder: PathBuf,
        /// The first difference.
        what: String,
    },
    /// An incident that is named can have none.
    #[error("{}: incident {id} is of new hosts, which has no odd rows of its own to leave out", folder.display())]
    NewHost {
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

/// What a run left of incidents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Left {
    /// In the order of their first lines, without those that were taken back.
    pub(crate) incidents: Vec<Incident>,
    /// Their rows, also of those that a log that was rotated says no more of. A run that goes on has not written all of them
    /// yet.
    pub(crate) members: Members,
}

/// What a run left in a folder; `None` where there is no log.
///
/// # Errors
/// [`ReportError`] if one of the two files cannot be read, with the line for the log, or rows are missing.
pub(crate) fn left(folder: &Path) -> Result<Option<Left>, ReportError> {
    let path = folder.join(INCIDENTS);
    let log = match File::open(&path) {
        Ok(file) => log::read(&path, BufReader::new(file))?,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReportError::Io { path, source }),
    };
    let mut members = members(folder)?;
    // What was taken back by a run that was killed before its rows were.
    members.of_incident.retain(|id, _| !log.withdrawn.contains(id));
    Ok(Some(Left { incidents: log.incidents, members }))
}

/// The rows of a folder's incidents, and those that rules muted.
fn members(folder: &Path) -> Result<Members, ReportError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::tests::CREATE;
    use crate::report::members::tests::write;

    #[test]
    fn no_log_is_no_report_and_a_log_without_its_rows_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(left(folder.path()).unwrap(), None);
        std::fs::write(folder.path().join(INCIDENTS), "").unwrap();
        let error = left(folder.path()).unwrap_err().to_string();
        assert!(error.contains(INCIDENT_ROWS), "{error}");
    }

    #[test]
    fn rows_of_what_was_taken_back_are_nobodys_though_a_run_was_killed_before_it_said_so_of_them() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[(Some("a1"), 30, 7, None, 1), (Some("b2"), 30, 9, None, 1)], "");
        let create = CREATE.replace('\n', " ");
        let close = create.replace("create", "close").replace("\"why\"", "\"withdrawn\":true,\"why\"");
        std::fs::write(folder.path().join(INCIDENTS), [create, close].join("\n")).unwrap();
        let Left { incidents, members } = left(folder.path()).unwrap().unwrap();
        assert!(incidents.is_empty());
        assert_eq!(members.of_incident.keys().collect::<Vec<_>>(), ["b2"], "a log that was rotated");
        let named = |ids: &str| Named::read(&[format!("{}{ids}", folder.path().display())], None);
        assert_eq!(named("").unwrap().rows, [(30, 9)].into_iter().collect());
        assert!(matches!(named(":a1"), Err(ReportError::Unknown { .. })));
        assert!(matches!(named(":zz"), Err(ReportError::Unknown { .. })));
    }
}
