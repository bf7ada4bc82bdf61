//! What a live run finds in the folder of its report: one that it goes on with, or one that is set aside.
//!
//! A sensor that begins anew goes on where it ended: lines go behind those that its logs hold, and rows of an hour that
//! has some to a further part of it, so that who follows the logs or reads the hours sees one sensor and no runs. Rows of
//! other columns, and the report of a batch run, do not go together with what comes: those are moved away.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Field, Schema};

use super::SinkError;
use super::report::{BY_HOURS, FILES, METRICS, SCORES, STATE, hours_of, parts};
use crate::draft::{is_file_or_free, led_to};
use crate::reading;
use crate::row::RowSettings;

/// Where a report is set aside, in a folder with the next number: 1 is the oldest. Readers of folders pass over such
/// names.
pub(super) const EARLIER: &str = "_earlier";

/// What a live run found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// Nothing that counts.
    #[default]
    Nothing,
    /// A report that it goes on with.
    Same,
    /// A report that does not go together with what comes, and lies there now.
    Other(PathBuf),
}

/// Whether a folder has hours of a live run.
pub(super) fn has_hours(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("date="))
}

/// Looks at what `folder` holds before scored rows of `schema` come; moves it away, to a folder of its own in `_earlier`,
/// where they cannot go on with it. Of links to its files what they lead to is moved, and the links stay. What its files
/// were comes back.
///
/// # Errors
/// [`SinkError`] if something has the name of a file of the report and is none, or cannot be moved.
pub(super) fn look(
    folder: &Path,
    schema: &Schema,
) -> Result<(Found, BTreeMap<&'static str, Metadata>), SinkError> {
    let mut before = BTreeMap::new();
    for name in FILES {
        let path = folder.join(name);
        is_file_or_free(&path)?;
        if let Ok(there) = path.metadata() {
            before.insert(name, there);
        }
    }
    let hours = BY_HOURS.map(|name| hours_of(folder, name));
    let hours: Vec<PathBuf> = hours.into_iter().filter(|hours| has_hours(hours)).collect();
    // Logs that nothing was written to, of a run that broke off, are no report, nor is how that run was.
    if hours.is_empty()
        && before.iter().all(|(name, file)| [STATE, METRICS].contains(name) || file.len() == 0)
    {
        return Ok((Found::Nothing, BTreeMap::new()));
    }
    if BY_HOURS.iter().all(|name| !before.contains_key(name)) && goes_on(folder, schema) {
        return Ok((Found::Same, before));
    }
    let place = set_aside(folder, before.keys().copied(), &hours)?;
    Ok((Found::Other(place), before))
}

/// Whether rows of a schema go on with those of the newest hour: they have the same columns, made in the same way. Rows
/// that nobody can read are not gone on with.
fn goes_on(folder: &Path, schema: &Schema) -> bool {
    let of = |schema: &Schema| {
        let fields = schema.fields().iter();
        // Keys of texts may have another width.
        let kind = |field: &Field| match field.data_type() {
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            other => other.clone(),
        };
        let fields: Vec<_> = fields.map(|field| (field.name().clone(), kind(field))).collect();
        (fields, RowSettings::of(schema))
    };
    match parts(folder, SCORES).map(|parts| parts.last().map(|path| reading::open(path))) {
        Ok(None) => true,
        Ok(Some(Ok(newest))) => of(newest.schema()) == of(schema),
        Ok(Some(Err(_))) | Err(_) => false,
    }
}

/// Moves files and hours of a report to the next folder of `_earlier`.
fn set_aside<'a>(
    folder: &Path,
    files: impl Iterator<Item = &'a str>,
    hours: &[PathBuf],
) -> Result<PathBuf, SinkError> {
    let failed = |path: &Path, source| SinkError::Io { path: path.to_owned(), source };
    let earlier = folder.join(EARLIER);
    std::fs::create_dir_all(&earlier).map_err(|error| failed(&earlier, error))?;
    let place = earlier.join(next_number(&earlier).map_err(|error| failed(&earlier, error))?.to_string());
    std::fs::create_dir(&place).map_err(|error| failed(&place, error))?;
    // How the run before was stays until it is said anew, within a second.
    for name in files.filter(|name| *name != STATE) {
        let path = folder.join(name);
        let moved = led_to(&path).and_then(|file| move_file(&file, &place.join(name)));
        moved.map_err(|error| failed(&path, error))?;
    }
    for path in hours {
        let name = path.file_name().expect("each has a name");
        move_hours(path, &place.join(name)).map_err(|error| failed(path, error))?;
    }
    Ok(place)
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
    use std::io::Write as _;
    use std::sync::Arc;

    use arrow::array::{RecordBatch, TimestampNanosecondArray};
    use arrow::datatypes::{Field, SchemaRef};

    use super::super::Judge;
    use super::super::report::{ALERTS, INCIDENTS, Report, SUMMARY};
    use super::*;
    use crate::draft::Drafts;
    use crate::row::Kind;

    /// Rows of a window, with a column of that name.
    fn schema(column: &str) -> SchemaRef {
        let fields = ["window_start", column].map(|name| Field::new(name, Kind::Time.data_type(), false));
        Arc::new(Schema::new(fields.to_vec()))
    }

    /// A live run that says a line and writes a row.
    fn run(folder: &Path, column: &str, line: &str) -> Found {
        let (schema, drafts) = (schema(column), Drafts::live());
        let report = Report::begin(folder, &schema, &drafts).unwrap();
        let judge = Judge { model: "office".to_owned(), threshold: 7.0, sensor: None, interface: None };
        let mut ends = report.score_ends(&judge, None).unwrap();
        drop(report.alerts(&judge, None).unwrap());
        drop(report.incident_ends(&judge, None, &report.said_before().unwrap()).unwrap());
        if !line.is_empty() {
            let times = || Arc::new(TimestampNanosecondArray::from(vec![7]).with_timezone("UTC"));
            let rows = RecordBatch::try_new(schema.clone(), vec![times(), times()]).unwrap();
            let mut scores = ends.pop().unwrap();
            scores.take(&rows).unwrap();
            scores.finish().unwrap();
            let mut log = drafts.log(&folder.join(ALERTS), None).unwrap();
            writeln!(log, "{line}").unwrap();
            log.commit().unwrap();
            let mut summary = report.summary().unwrap();
            summary.write_all(line.as_bytes()).unwrap();
            summary.commit().unwrap();
            drafts.commit().unwrap();
        }
        report.found().clone()
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_live_run_goes_on_with_rows_of_the_same_columns_and_sets_others_aside() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let aside = |number: u64| at(EARLIER).join(number.to_string());
        let scores = |folder: &Path| parts(folder, SCORES).unwrap().len();
        std::fs::write(at("notes.txt"), "").unwrap();
        assert_eq!(run(folder.path(), "a", ""), Found::Nothing);
        assert!(at(INCIDENTS).is_file(), "there to be followed");
        std::fs::write(at(STATE), "of a run that broke off").unwrap();
        assert_eq!(run(folder.path(), "a", "1"), Found::Nothing);
        assert_eq!(run(folder.path(), "a", "2"), Found::Same);
        // What a killed run has cut goes.
        std::fs::write(at(ALERTS), "1\n2\n{\"half").unwrap();
        assert_eq!(run(folder.path(), "a", "3"), Found::Same);
        assert_eq!(
            (text(&at(ALERTS)), text(&at(SUMMARY)), scores(folder.path())),
            ("1\n2\n3\n".into(), "3".into(), 3)
        );
        assert!(!at(EARLIER).exists());

        assert_eq!(run(folder.path(), "b", "4"), Found::Other(aside(1)));
        assert_eq!((text(&at(ALERTS)), scores(folder.path())), ("4\n".into(), 1));
        assert_eq!((text(&aside(1).join(ALERTS)), scores(&aside(1))), ("1\n2\n3\n".into(), 3));
        assert!(!aside(1).join(STATE).exists() && at("notes.txt").exists());

        let newest = parts(folder.path(), SCORES).unwrap().pop().unwrap();
        std::fs::write(newest, "nothing that can be read").unwrap();
        assert_eq!(run(folder.path(), "b", "5"), Found::Other(aside(2)));
        std::fs::write(at(SCORES), "of detect").unwrap();
        assert_eq!(run(folder.path(), "b", "6"), Found::Other(aside(3)));
        assert_eq!(text(&aside(3).join(SCORES)), "of detect");
        let refused = Report::begin(folder.path(), &schema("b"), &Drafts::default()).map(drop).unwrap_err();
        assert!(refused.to_string().ends_with("name another folder, or move it away"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn logs_keep_their_rights_and_links_whether_gone_on_with_or_set_aside() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["out", "log"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let written = [at("log/incidents"), at("out").join(ALERTS)];
        let rights = [0o640, 0o604];
        for (path, rights) in written.iter().zip(rights) {
            std::fs::write(path, "1\n").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(rights)).unwrap();
        }
        symlink("../log/incidents", at("out").join(INCIDENTS)).unwrap();
        let hold = |expected: [&str; 2]| {
            let logs = written.iter().zip([INCIDENTS, ALERTS]).zip(rights).zip(expected);
            for (((path, name), rights), expected) in logs {
                assert_eq!(text(path), expected);
                assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o777, rights, "{name}");
            }
            assert!(at("out").join(INCIDENTS).symlink_metadata().unwrap().is_symlink());
        };
        assert_eq!(run(&at("out"), "a", "2"), Found::Same);
        hold(["1\n", "1\n2\n"]);
        assert_eq!(run(&at("out"), "b", "3"), Found::Other(at("out/_earlier/1")));
        hold(["", "3\n"]);
        let aside = [INCIDENTS, ALERTS].map(|name| text(&at("out/_earlier/1").join(name)));
        assert_eq!(aside, ["1\n", "1\n2\n"]);

        std::fs::remove_file(at("out").join(INCIDENTS)).unwrap();
        symlink("/dev/null", at("out").join(INCIDENTS)).unwrap();
        let refused = look(&at("out"), &schema("c")).unwrap_err().to_string();
        assert!(refused.contains("incidents.jsonl: is no file that could be replaced"), "{refused}");
        assert_eq!(text(&at("out").join(ALERTS)), "3\n", "nothing was moved");
    }

    #[cfg(unix)]
    #[test]
    fn hours_behind_a_link_stay_on_their_disk_and_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["out", "bulk"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::os::unix::fs::symlink("../bulk", at("out/scores")).unwrap();
        for (number, column) in ["a", "b", "c"].into_iter().enumerate() {
            run(&at("out"), column, "1");
            assert_eq!(run(&at("out"), column, "2"), Found::Same);
            assert!(at("out/scores").symlink_metadata().unwrap().is_symlink());
            assert_eq!(parts(&at("out"), SCORES).unwrap().len(), 2, "{column}");
            if number > 0 {
                let aside = at("out/_earlier").join(number.to_string());
                assert_eq!(parts(&aside, SCORES).unwrap().len(), 2, "{column}");
            }
        }
    }
}
