//! The folder of a report: files that belong together, of one run each.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;

use super::console::Console;
use super::eve::EveLog;
use super::incident_lines::IncidentLines;
use super::incidents::{IncidentLog, IncidentRows};
use super::operator::{ChangeEnd, End};
use super::parquet::ParquetFile;
use super::{Judge, Lines, SinkError, check_folder, names_a_file};
use crate::draft::{Draft, DraftError, Drafts};
use crate::incident::Muting;

/// The file of scored rows.
pub const SCORES: &str = "scores.parquet";
/// The file of alerts.
pub const ALERTS: &str = "alerts.eve.jsonl";
/// The file of counters.
pub const SUMMARY: &str = "summary.json";
/// The log of incidents.
pub const INCIDENTS: &str = "incidents.jsonl";
/// The file of rows of incidents.
pub const INCIDENT_ROWS: &str = "incident_rows.parquet";
/// All of them.
pub const FILES: [&str; 5] = [SUMMARY, SCORES, ALERTS, INCIDENTS, INCIDENT_ROWS];

/// Where a live run puts the report that stood in its folder. Readers of folders pass over such names.
const EARLIER: &str = "_earlier";

/// The folder of a report that is being written, by this run alone. The files of an earlier one stay until those of
/// this one take their names, together, and then go, also those that this one has not.
pub struct Report {
    folder: PathBuf,
    drafts: Drafts,
}

impl Report {
    /// Begins a report in `folder`. In a live run, whose logs grow under their names, an earlier report is moved to a
    /// folder `_earlier` in it at once, so that nobody reads a mixture.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to, or another run writes there.
    pub fn begin(folder: &Path, drafts: &Drafts) -> Result<Report, SinkError> {
        if !folder.is_dir() && (names_a_file(folder) || folder.exists()) {
            return Err(SinkError::Report { path: folder.to_owned() });
        }
        check_folder(folder)?;
        drafts.folder(folder)?;
        let report = Report { folder: folder.to_owned(), drafts: drafts.clone() };
        if drafts.is_live() {
            report.set_aside()?;
        } else {
            FILES.iter().for_each(|name| drafts.supersede(folder.join(name)));
        }
        Ok(report)
    }

    fn set_aside(&self) -> Result<(), SinkError> {
        let earlier = self.folder.join(EARLIER);
        let there: Vec<&str> =
            FILES.into_iter().filter(|name| self.folder.join(name).symlink_metadata().is_ok()).collect();
        if there.is_empty() {
            return Ok(());
        }
        let failed = |path: &Path, source| SinkError::Io { path: path.to_owned(), source };
        for name in FILES {
            let path = earlier.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path, error)),
                _ => {}
            }
        }
        std::fs::create_dir_all(&earlier).map_err(|error| failed(&earlier, error))?;
        for name in there {
            let path = self.folder.join(name);
            std::fs::rename(&path, earlier.join(name)).map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }

    fn draft(&self, name: &str) -> Result<Draft, DraftError> {
        self.drafts.create(&self.folder.join(name))
    }

    fn log(&self, name: &str) -> Result<Draft, DraftError> {
        self.drafts.log(&self.folder.join(name))
    }

    /// The ends of scored rows: all rows as Parquet, alerts for machines (none of rows that `muting` mutes), alerts as
    /// lines to `lines`, if anybody reads them.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to.
    pub fn score_ends(
        &self,
        schema: &SchemaRef,
        judge: &Judge,
        muting: Option<Muting>,
        lines: Option<Lines>,
    ) -> Result<Vec<Box<dyn End>>, SinkError> {
        let scores = ParquetFile::create(self.draft(SCORES)?, schema)?;
        let alerts = EveLog::create(self.log(ALERTS)?, schema, judge.clone()).muted_by(muting);
        let mut ends: Vec<Box<dyn End>> = vec![Box::new(alerts), Box::new(scores)];
        if let Some((out, style)) = lines {
            ends.push(Box::new(Console::new(out, style, judge.threshold)));
        }
        Ok(ends)
    }

    /// The ends of incidents: their log and their rows, readable lines to `lines`, if anybody reads them.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to.
    pub fn incident_ends(&self, lines: Option<Lines>) -> Result<Vec<Box<dyn ChangeEnd>>, SinkError> {
        let log = IncidentLog::create(self.log(INCIDENTS)?);
        let rows = IncidentRows::create(self.draft(INCIDENT_ROWS)?)?;
        let mut ends: Vec<Box<dyn ChangeEnd>> = vec![Box::new(log), Box::new(rows)];
        if let Some((out, style)) = lines {
            ends.push(Box::new(IncidentLines::new(out, style)));
        }
        Ok(ends)
    }

    /// The file of counters, which is the last to be written.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to.
    pub fn summary(&self) -> Result<Draft, SinkError> {
        Ok(self.draft(SUMMARY)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().is_file());
        files.map(|entry| entry.path().strip_prefix(folder).unwrap().display().to_string()).collect()
    }

    #[test]
    fn a_live_report_keeps_the_one_before_apart() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("notes.txt");
        std::fs::write(&other, "").unwrap();
        for run in ["first", "second", "third"] {
            // What the run before left, whatever became of it.
            if run != "first" {
                FILES.iter().for_each(|name| std::fs::write(folder.path().join(name), run).unwrap());
            }
            let report = Report::begin(folder.path(), &Drafts::live()).unwrap();
            let ends = report.incident_ends(None).unwrap();
            assert!(folder.path().join(INCIDENTS).is_file(), "there to be followed");
            assert!(!folder.path().join(SUMMARY).exists() && !folder.path().join(SCORES).exists());
            drop(ends);
            let earlier = std::fs::read_to_string(folder.path().join(EARLIER).join(SCORES));
            assert_eq!(earlier.ok().as_deref(), (run != "first").then_some(run));
        }
        assert!(other.exists());
    }

    #[test]
    fn a_report_under_the_name_of_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes"), "").unwrap();
        for name in ["notes", "scores.parquet", "SCORES.CSV"] {
            let path = folder.path().join(name);
            let told = Report::begin(&path, &Drafts::live()).map(drop).unwrap_err().to_string();
            assert!(told.ends_with("name a folder"), "{told}");
        }
        assert_eq!(files(folder.path()), ["notes"]);
    }

    #[test]
    fn a_report_takes_the_place_of_the_whole_report_before() {
        let folder = tempfile::tempdir().unwrap();
        FILES.iter().for_each(|name| std::fs::write(folder.path().join(name), "old").unwrap());
        let begin = || {
            let drafts = Drafts::default();
            let report = Report::begin(folder.path(), &drafts).unwrap();
            report.log(ALERTS).unwrap().commit().unwrap();
            report.summary().unwrap().commit().unwrap();
            drafts
        };
        drop(begin());
        assert_eq!(files(folder.path()).len(), FILES.len(), "it came to nothing: the one before stands");
        begin().commit().unwrap();
        assert_eq!(files(folder.path()), [ALERTS, SUMMARY]);
    }
}
