//! Incidents as a run left them, each with its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use crate::incident::Severity;
use crate::report::{self, Incident, ReportError};
use crate::row::RowKey;

/// The severities that are told, the least first.
pub(super) const SEVERITIES: [Severity; 4] =
    [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

/// What a run left about incidents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Log {
    /// In the order of their first lines, each with its rows.
    pub(super) incidents: Vec<(Incident, BTreeSet<RowKey>)>,
    /// Rows that a rule muted, by its name.
    pub(super) muted: BTreeMap<String, BTreeSet<RowKey>>,
    /// Incidents that have rows and are not in the log: it was rotated, or cut.
    pub(super) unsaid: u64,
}

/// Reads the incidents of a folder; none where a run has left none.
///
/// # Errors
/// [`ReportError`] if one of the two files is missing or cannot be read; with the line for the log.
pub(super) fn read(folder: &Path) -> Result<Option<Log>, ReportError> {
    let log = match report::log(folder) {
        Ok(log) => log,
        Err(ReportError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let members = report::members(folder)?;
    let mut rows = members.of_incident;
    // What was taken back by a run that was killed before its rows were.
    rows.retain(|id, _| !log.withdrawn.contains(id));
    let with_rows = |incident: Incident| {
        let rows = rows.remove(&incident.id).unwrap_or_default();
        (incident, rows)
    };
    let incidents = log.incidents.into_iter().map(with_rows).collect();
    Ok(Some(Log { incidents, muted: members.muted, unsaid: rows.len() as u64 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::report::{INCIDENT_ROWS, INCIDENTS};

    #[test]
    fn no_log_is_no_incidents_and_a_log_without_its_rows_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        std::fs::write(folder.path().join(INCIDENTS), "").unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(INCIDENT_ROWS), "{error}");
    }
}
