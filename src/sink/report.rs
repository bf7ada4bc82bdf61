//! The folder of a report: files that belong together, of one run each.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use walkdir::WalkDir;

use super::console::Console;
use super::dataset::Dataset;
use super::eve::EveLog;
use super::incident_lines::IncidentLines;
use super::incidents::{IncidentLog, IncidentRows};
use super::operator::{ChangeEnd, End};
use super::parquet::ParquetFile;
use super::{Judge, Lines, SinkError, check_folder, names_a_file};
use crate::draft::{Draft, DraftError, Drafts, is_file_or_free, led_to};
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
/// All of them.
pub const FILES: [&str; 6] = [SUMMARY, SCORES, ALERTS, INCIDENTS, INCIDENT_ROWS, STATE];

/// Files that a live run writes as folders of hours, each whole when its hour is over: what has run for weeks has them, and
/// can be killed.
const BY_HOURS: [&str; 2] = [SCORES, INCIDENT_ROWS];

/// Where a live run puts the report that stood in its folder, in a folder with the next number: 1 is the oldest. Readers
/// of folders pass over such names.
const EARLIER: &str = "_earlier";

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
    let files = WalkDir::new(hours).min_depth(3).max_depth(3).sort_by_file_name().into_iter();
    let is_part = |path: &Path| path.extension().is_some_and(|extension| extension == "parquet");
    let paths = files.map(|file| Ok(file?.into_path()));
    paths.filter(|path| path.as_ref().map_or(true, |path| is_part(path))).collect()
}

/// Whether a folder has hours of a live run.
fn has_hours(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("date="))
}

/// The folder of a report that is being written, by this run alone. The files of an earlier one stay until those of
/// this one take their names, together, and then go, also those that this one has not.
pub struct Report {
    folder: PathBuf,
    drafts: Drafts,
    /// What the files of an earlier report were, which were moved away.
    before: BTreeMap<&'static str, Metadata>,
}

impl Report {
    /// Begins a report in `folder`. In a live run, whose logs grow under their names, an earlier report is moved to a
    /// folder of its own in `_earlier` at once, so that nobody reads a mixture. Of links to its files what they lead to is
    /// moved, and the links stay.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to, another run writes there, or something has the name of a file of
    /// the report and is none.
    pub fn begin(folder: &Path, drafts: &Drafts) -> Result<Report, SinkError> {
        if !folder.is_dir() && (names_a_file(folder) || folder.exists()) {
            return Err(SinkError::Report { path: folder.to_owned() });
        }
        check_folder(folder)?;
        drafts.folder(folder)?;
        let mut report =
            Report { folder: folder.to_owned(), drafts: drafts.clone(), before: BTreeMap::new() };
        if drafts.is_live() {
            report.set_aside()?;
        } else {
            let hours = BY_HOURS.map(|name| hours_of(folder, name));
            if let Some(path) = hours.into_iter().find(|hours| has_hours(hours)) {
                return Err(SinkError::Live { path });
            }
            FILES.iter().for_each(|name| drafts.supersede(folder.join(name)));
        }
        Ok(report)
    }

    fn set_aside(&mut self) -> Result<(), SinkError> {
        let mut before = BTreeMap::new();
        for name in FILES {
            let path = self.folder.join(name);
            is_file_or_free(&path)?;
            if let Ok(there) = path.metadata() {
                before.insert(name, there);
            }
        }
        let hours = BY_HOURS.map(|name| hours_of(&self.folder, name));
        let hours: Vec<PathBuf> = hours.into_iter().filter(|hours| has_hours(hours)).collect();
        // Logs that nothing was written to, of a run that broke off, are no report, nor is how that run was.
        if hours.is_empty() && before.iter().all(|(name, file)| *name == STATE || file.len() == 0) {
            return Ok(());
        }
        let failed = |path: &Path, source| SinkError::Io { path: path.to_owned(), source };
        let earlier = self.folder.join(EARLIER);
        std::fs::create_dir_all(&earlier).map_err(|error| failed(&earlier, error))?;
        let place = earlier.join(next_number(&earlier).map_err(|error| failed(&earlier, error))?.to_string());
        std::fs::create_dir(&place).map_err(|error| failed(&place, error))?;
        // How the run before was stays until it is said anew, within a second.
        for name in before.keys().filter(|name| **name != STATE) {
            let path = self.folder.join(name);
            let moved = led_to(&path).and_then(|file| move_file(&file, &place.join(name)));
            moved.map_err(|error| failed(&path, error))?;
        }
        for path in hours {
            let name = path.file_name().expect("each has a name");
            move_hours(&path, &place.join(name)).map_err(|error| failed(&path, error))?;
        }
        self.before = before;
        Ok(())
    }

    fn draft(&self, name: &str) -> Result<Draft, DraftError> {
        self.drafts.create(&self.folder.join(name))
    }

    fn log(&self, name: &str) -> Result<Draft, DraftError> {
        self.drafts.log(&self.folder.join(name), self.before.get(name))
    }

    /// The ends of scored rows: all rows as Parquet, in a live run by hours; alerts for machines, none of rows that
    /// `muting` mutes; alerts as lines to `lines`, if anybody reads them.
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
        let scores: Box<dyn End> = match self.drafts.is_live() {
            true => Box::new(Dataset::create(&hours_of(&self.folder, SCORES), schema, &self.drafts)?),
            false => Box::new(ParquetFile::create(self.draft(SCORES)?, schema)?),
        };
        let alerts = EveLog::create(self.log(ALERTS)?, schema, judge.clone()).muted_by(muting);
        let mut ends: Vec<Box<dyn End>> = vec![Box::new(alerts), scores];
        if let Some((out, style)) = lines {
            ends.push(Box::new(Console::new(out, style, judge.threshold)));
        }
        Ok(ends)
    }

    /// The ends of incidents that `judge` found: their log and their rows, readable lines to `lines`, if anybody reads
    /// them.
    ///
    /// # Errors
    /// [`SinkError`] if the folder cannot be written to.
    pub fn incident_ends(
        &self,
        judge: &Judge,
        lines: Option<Lines>,
    ) -> Result<Vec<Box<dyn ChangeEnd>>, SinkError> {
        let log = IncidentLog::create(self.log(INCIDENTS)?, judge.sensor.clone());
        let rows = match self.drafts.is_live() {
            true => IncidentRows::by_hours(&hours_of(&self.folder, INCIDENT_ROWS), &self.drafts)?,
            false => IncidentRows::create(self.draft(INCIDENT_ROWS)?)?,
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

/// Moves a file, also to another file system, which a link may lead to.
fn move_file(file: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(file, to) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            std::fs::copy(file, to)?;
            std::fs::remove_file(file)
        }
        moved => moved,
    }
}

/// Moves a folder of hours. What a link leads to, maybe on another disk, is moved there, to a name beside that of its own,
/// and linked to; the link leads to an empty folder then.
fn move_hours(hours: &Path, to: &Path) -> io::Result<()> {
    let folder = led_to(hours)?;
    if folder == hours {
        return std::fs::rename(hours, to);
    }
    let folder = folder.canonicalize()?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let free = |number: &u64| !folder.with_file_name(format!("{name}-earlier-{number}")).exists();
    let number = (1..).find(free).expect("some number is free");
    let beside = folder.with_file_name(format!("{name}-earlier-{number}"));
    std::fs::rename(&folder, &beside)?;
    std::fs::create_dir(&folder)?;
    link(&beside, to)
}

#[cfg(unix)]
fn link(folder: &Path, from: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(folder, from)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// One above the highest number that an entry of a folder has for a name.
fn next_number(folder: &Path) -> io::Result<u64> {
    let mut next = 1;
    for entry in std::fs::read_dir(folder)? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        next = next.max(number.unwrap_or(0).saturating_add(1));
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        let mut expected: BTreeMap<PathBuf, &str> = BTreeMap::new();
        for run in ["first", "second", "third", "fourth"] {
            let report = Report::begin(folder.path(), &Drafts::live()).unwrap();
            let judge = Judge { model: "office".to_owned(), threshold: 7.0, sensor: None, interface: None };
            let ends = report.incident_ends(&judge, None).unwrap();
            assert!(folder.path().join(INCIDENTS).is_file(), "there to be followed");
            assert!(!folder.path().join(SUMMARY).exists() && !folder.path().join(SCORES).exists());
            drop(ends);
            let earlier =
                |path: &Path| std::fs::read_to_string(folder.path().join(EARLIER).join(path)).unwrap();
            for (path, text) in &expected {
                assert_eq!(earlier(path), *text);
            }
            // The second run meets nothing, and leaves empty logs, and how it was.
            if run == "second" {
                std::fs::write(folder.path().join(STATE), run).unwrap();
            } else {
                let number = Path::new(if run == "first" { "1" } else { "2" });
                let hour = "scores/date=2026-11-22/hour=09/part-0.parquet";
                let names =
                    FILES.iter().copied().filter(|name| ![SCORES, STATE].contains(name)).chain([hour]);
                for name in names {
                    std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
                    std::fs::write(folder.path().join(name), run).unwrap();
                    expected.insert(number.join(name), run);
                }
            }
            if run == "fourth" {
                assert_eq!(std::fs::read_dir(folder.path().join(EARLIER)).unwrap().count(), 2);
            }
        }
        assert!(other.exists());
        let refused = Report::begin(folder.path(), &Drafts::default()).map(drop).unwrap_err().to_string();
        assert!(refused.ends_with("name another folder, or move it away"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn a_live_report_writes_through_links_with_the_rights_of_the_one_before() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["out", "log"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let written = [at("log/incidents"), at("out").join(ALERTS)];
        let rights = [0o640, 0o604];
        for (path, rights) in written.iter().zip(rights) {
            std::fs::write(path, "old").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(rights)).unwrap();
        }
        symlink("../log/incidents", at("out").join(INCIDENTS)).unwrap();
        let report = Report::begin(&at("out"), &Drafts::live()).unwrap();
        let logs = [INCIDENTS, ALERTS].map(|name| report.log(name).unwrap());
        for ((path, name), rights) in written.iter().zip([INCIDENTS, ALERTS]).zip(rights) {
            assert_eq!(std::fs::read_to_string(at("out/_earlier/1").join(name)).unwrap(), "old");
            assert_eq!(std::fs::read_to_string(path).unwrap(), "");
            assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o777, rights, "{name}");
        }
        assert!(at("out").join(INCIDENTS).symlink_metadata().unwrap().is_symlink());
        drop((logs, report));

        std::fs::remove_file(at("out").join(INCIDENTS)).unwrap();
        symlink("/dev/null", at("out").join(INCIDENTS)).unwrap();
        std::fs::write(at("out").join(ALERTS), "kept").unwrap();
        let refused = Report::begin(&at("out"), &Drafts::live()).map(drop).unwrap_err().to_string();
        assert!(refused.contains("incidents.jsonl: is no file that could be replaced"), "{refused}");
        assert_eq!(std::fs::read_to_string(at("out").join(ALERTS)).unwrap(), "kept", "nothing was moved");
    }

    #[cfg(unix)]
    #[test]
    fn hours_behind_a_link_stay_on_their_disk_and_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let hour = "date=2026-11-22/hour=09";
        std::fs::create_dir(at("out")).unwrap();
        std::os::unix::fs::symlink("../bulk", at("out/scores")).unwrap();
        for run in ["1", "2"] {
            std::fs::create_dir_all(at("bulk").join(hour)).unwrap();
            std::fs::write(at("bulk").join(hour).join("part-0.parquet"), run).unwrap();
            drop(Report::begin(&at("out"), &Drafts::live()).unwrap());
            assert!(at("out/scores").symlink_metadata().unwrap().is_symlink());
            assert_eq!(std::fs::read_dir(at("bulk")).unwrap().count(), 0);
            let parts = parts(&at("out/_earlier").join(run), SCORES).unwrap();
            assert_eq!(
                parts.iter().map(|part| std::fs::read_to_string(part).unwrap()).collect::<Vec<_>>(),
                [run]
            );
        }
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
            for name in ["part-0.parquet", ".part-0.parquet.tmp-7"] {
                std::fs::write(hour.join(name), "").unwrap();
            }
        }
        assert_eq!(names(), hours.map(|hour| format!("scores/{hour}/part-0.parquet")));
        std::fs::write(folder.path().join(SCORES), "").unwrap();
        assert_eq!(names(), [SCORES]);
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
