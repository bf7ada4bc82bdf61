//! The folder of a report: files that belong together, of one run each.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use walkdir::WalkDir;

use super::console::Console;
use super::dataset::{Dataset, part_number};
pub use super::earlier::Found;
use super::earlier::{has_hours, look};
use super::eve::EveLog;
use super::incident_lines::IncidentLines;
use super::incidents::{IncidentLog, IncidentRows};
use super::operator::{ChangeEnd, End};
use super::parquet::ParquetFile;
use super::said::SaidBefore;
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
/// The file that says how a live run is.
pub const STATE: &str = "status.json";
/// The same for Prometheus.
pub const METRICS: &str = "status.prom";
/// All of them.
pub const FILES: [&str; 7] = [SUMMARY, SCORES, ALERTS, INCIDENTS, INCIDENT_ROWS, STATE, METRICS];

/// Files that a live run writes as folders of hours, each whole when its hour is over: what has run for weeks has them, and
/// can be killed.
pub(super) const BY_HOURS: [&str; 2] = [SCORES, INCIDENT_ROWS];

/// The folder of hours in the place of a file of a report: `scores` for `scores.parquet`.
pub fn hours_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).with_extension("")
}

/// What there is of a file of a report: the file, or those of its hours in order, where a live run wrote it; nothing
/// where it has written none yet.
///
/// # Errors
/// What the system says of a folder that cannot be read.
pub fn parts(folder: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let (whole, hours) = (folder.join(name), hours_of(folder, name));
    if whole.exists() {
        return Ok(vec![whole]);
    }
    if !hours.is_dir() {
        return Ok(Vec::new());
    }
    // Below date and hour; what is being written has another ending.
    let files = WalkDir::new(hours).min_depth(3).max_depth(3).into_iter();
    let is_part = |path: &Path| path.extension().is_some_and(|extension| extension == "parquet");
    let paths = files.map(|file| Ok(file?.into_path()));
    let paths = paths.filter(|path| path.as_ref().map_or(true, |path| is_part(path)));
    let mut paths = paths.collect::<io::Result<Vec<PathBuf>>>()?;
    // The tenth part of an hour comes after the ninth.
    paths.sort_by_cached_key(|path| (path.parent().map(Path::to_owned), part_number(path), path.clone()));
    Ok(paths)
}

/// The folder of a report that is being written, by this run alone. The files of an earlier one stay until those of
/// this one take their names, together, and then go, also those that this one has not.
pub struct Report {
    folder: PathBuf,
    drafts: Drafts,
    schema: SchemaRef,
    found: Found,
    /// What the files were that were found, and maybe moved away.
    before: BTreeMap<&'static str, Metadata>,
}

impl Report {
    /// Begins a report of scored rows of `schema` in `folder`. A live run goes on with a report of the same columns that it
    /// finds there; another one is moved to a folder of its own in `_earlier` at once, so that nobody reads a mixture.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to, another run writes there, or something has the name of a file of
    /// the report and is none.
    pub fn begin(folder: &Path, schema: &SchemaRef, drafts: &Drafts) -> Result<Report, SinkError> {
        if !folder.is_dir() && (names_a_file(folder) || folder.exists()) {
            return Err(SinkError::Report { path: folder.to_owned() });
        }
        check_folder(folder)?;
        drafts.folder(folder)?;
        let files = FILES.map(|name| (folder.join(name), "file"));
        let hours = BY_HOURS.map(|name| (hours_of(folder, name), "folder")).into_iter();
        let taken = files.into_iter().filter(|(path, _)| path.is_dir());
        let mut taken = taken.chain(hours.filter(|(path, _)| drafts.is_live() && path.is_file()));
        if let Some((path, part)) = taken.next() {
            return Err(SinkError::Taken { path, part });
        }
        let (found, before) = if drafts.is_live() {
            look(folder, schema)?
        } else {
            let hours = BY_HOURS.map(|name| hours_of(folder, name));
            if let Some(path) = hours.into_iter().find(|hours| has_hours(hours)) {
                return Err(SinkError::Live { path });
            }
            FILES.iter().for_each(|name| drafts.supersede(folder.join(name)));
            Default::default()
        };
        let (folder, schema, drafts) = (folder.to_owned(), schema.clone(), drafts.clone());
        Ok(Report { folder, drafts, schema, found, before })
    }

    /// What a live run found in its folder.
    pub fn found(&self) -> &Found {
        &self.found
    }

    fn draft(&self, name: &str) -> Result<Draft, DraftError> {
        self.drafts.create(&self.folder.join(name))
    }

    fn log(&self, name: &str) -> Result<Draft, DraftError> {
        self.drafts.log(&self.folder.join(name), self.before.get(name))
    }

    /// The end of alerts for machines, none of rows that `muting` mutes.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to.
    pub fn alerts(&self, judge: &Judge, muting: Option<Muting>) -> Result<EveLog, SinkError> {
        Ok(EveLog::create(self.log(ALERTS)?, &self.schema, judge.clone()).muted_by(muting))
    }

    /// The ends of scored rows: all rows as Parquet, in a live run by hours; alerts as lines to `lines`, if anybody reads
    /// them.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to.
    pub fn score_ends(&self, judge: &Judge, lines: Option<Lines>) -> Result<Vec<Box<dyn End>>, SinkError> {
        let scores: Box<dyn End> = match self.drafts.is_live() {
            true => Box::new(Dataset::create(&hours_of(&self.folder, SCORES), &self.schema, &self.drafts)?),
            false => Box::new(ParquetFile::create(self.draft(SCORES)?, &self.schema)?),
        };
        let mut ends = vec![scores];
        if let Some((out, style)) = lines {
            ends.push(Box::new(Console::new(out, style, judge.threshold)));
        }
        Ok(ends)
    }

    /// What the run that it goes on with said of incidents.
    ///
    /// # Errors
    /// [`SinkError`] if its log cannot be read.
    pub fn said_before(&self) -> Result<SaidBefore, SinkError> {
        let path = self.folder.join(INCIDENTS);
        match self.found == Found::Same && path.exists() {
            true => SaidBefore::read(&path).map_err(|source| SinkError::Io { path, source }),
            false => Ok(SaidBefore::default()),
        }
    }

    /// The ends of incidents that `judge` found: their log, in which what was left open `before` is closed, and their rows,
    /// readable lines to `lines`, if anybody reads them.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to.
    pub fn incident_ends(
        &self,
        judge: &Judge,
        lines: Option<Lines>,
        before: &SaidBefore,
    ) -> Result<Vec<Box<dyn ChangeEnd>>, SinkError> {
        let log = IncidentLog::create(self.log(INCIDENTS)?, judge.sensor.clone()).close(&before.left_open)?;
        let rows = match self.drafts.is_live() {
            true => {
                IncidentRows::by_hours(&hours_of(&self.folder, INCIDENT_ROWS), &self.schema, &self.drafts)?
            }
            false => IncidentRows::create(self.draft(INCIDENT_ROWS)?, &self.schema)?,
        };
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
        Ok(self.draft(SUMMARY)?.like(self.before.get(SUMMARY)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().is_file());
        files.map(|entry| entry.path().strip_prefix(folder).unwrap().display().to_string()).collect()
    }

    #[test]
    fn a_file_of_a_report_is_itself_or_its_hours() {
        let folder = tempfile::tempdir().unwrap();
        let names = || -> Vec<String> {
            let parts = parts(folder.path(), SCORES).unwrap();
            parts.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(names(), [""; 0]);
        let hours = ["date=2026-11-22/hour=23", "date=2026-11-23/hour=00", "date=2026-11-23/hour=01"];
        for hour in hours.iter().rev() {
            let hour = hours_of(folder.path(), SCORES).join(hour);
            std::fs::create_dir_all(&hour).unwrap();
            for name in ["part-10.parquet", "part-2.parquet", ".part-11.parquet.tmp-7"] {
                std::fs::write(hour.join(name), "").unwrap();
            }
        }
        let of = |hour| [2, 10].map(|part| format!("scores/{hour}/part-{part}.parquet"));
        assert_eq!(names(), hours.map(of).concat());
        std::fs::write(folder.path().join(SCORES), "").unwrap();
        assert_eq!(names(), [SCORES]);
    }

    #[test]
    fn a_report_under_the_name_of_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes"), "").unwrap();
        for name in ["notes", "scores.parquet", "SCORES.CSV"] {
            let path = folder.path().join(name);
            let told = Report::begin(&path, &Arc::new(Schema::empty()), &Drafts::live())
                .map(drop)
                .unwrap_err()
                .to_string();
            assert!(told.ends_with("name a folder"), "{told}");
        }
        assert_eq!(files(folder.path()), ["notes"]);
    }

    #[test]
    fn what_has_the_name_of_a_part_of_a_report_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let begun = |drafts| {
            let begun = Report::begin(folder.path(), &Arc::new(Schema::empty()), &drafts);
            begun.map(drop).map_err(|error| error.to_string())
        };
        let hours = folder.path().join("scores");
        std::fs::write(&hours, "notes").unwrap();
        begun(Drafts::default()).unwrap();
        let told = begun(Drafts::live()).unwrap_err();
        assert!(told.contains("scores: a report has a folder of that name"), "{told}");
        std::fs::remove_file(hours).unwrap();
        std::fs::create_dir(folder.path().join(STATE)).unwrap();
        let told = begun(Drafts::live()).unwrap_err();
        assert!(told.contains("status.json: a report has a file of that name"), "{told}");
    }

    #[test]
    fn a_report_takes_the_place_of_the_whole_report_before() {
        let folder = tempfile::tempdir().unwrap();
        FILES.iter().for_each(|name| std::fs::write(folder.path().join(name), "old").unwrap());
        let begin = || {
            let drafts = Drafts::default();
            let report = Report::begin(folder.path(), &Arc::new(Schema::empty()), &drafts).unwrap();
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
