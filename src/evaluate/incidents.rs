//! Incidents as a run left them: the present state of each, and the rows that belong to it.
//!
//! Two files lie beside the scores. `incidents.jsonl` is a log, one JSON object a line: the last line of an `id` is its
//! present state, the first says when it was known. `incident_rows.parquet` names the rows of each by window and flow;
//! a row that was taken back later stands there a second time, with the opposite sign.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int8Type, TimestampNanosecondType, UInt64Type};
use hashbrown::HashMap;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::scores::{RowKey, column, numbers};
use super::{EvaluateError, opened};
use crate::detect::reason::ToldHint;
use crate::incident::Severity;
use crate::reading::Batches;
use crate::sink::report::{INCIDENT_ROWS, INCIDENTS, hours_of, parts};

/// What an incident is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Odd rows of one host.
    Anomaly,
    /// A local host that began no flow in training.
    NewHost,
    /// Many of those at once.
    NewHosts,
}

/// An incident as its last line has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Incident {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// The host that its rows have in common, which many new hosts have not, and whether it is their `source` or their
    /// `target`.
    pub(super) address: Option<String>,
    pub(super) role: String,
    /// When it was first said, nanoseconds since the Unix epoch; while it was held back nothing was said.
    pub(super) created: u64,
    /// Whether a budget holds it back.
    pub(super) held: bool,
    /// First and last packet.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Anomalous rows by its own count.
    pub(super) alerts: u64,
    /// The highest score of its rows.
    pub(super) score: f64,
    /// `low`, `medium`, `high` or `critical`.
    pub(super) severity: String,
    /// Distinct other ends, distinct responder's ports.
    pub(super) peers: u64,
    pub(super) ports: u64,
    /// The row of the highest score.
    pub(super) top: Option<RowKey>,
    /// One line for people.
    pub(super) why: String,
    /// ATT&CK techniques whose shape it has, such as `T1046 Network Service Discovery`.
    pub(super) hints: Vec<String>,
}

impl Incident {
    /// Whom it is about, in words.
    pub(super) fn subject(&self) -> &str {
        self.address.as_deref().unwrap_or("many hosts")
    }

    /// The severity that its word is of.
    pub(super) fn graded(&self) -> Severity {
        use Severity::{Critical, High, Info, Low, Medium};
        [Info, Low, Medium, High, Critical][self.rank()]
    }

    /// Severities in order: 0 for a word that is not known, 4 for `critical`.
    pub(super) fn rank(&self) -> usize {
        SEVERITIES.iter().position(|name| *name == self.severity).map_or(0, |place| place + 1)
    }
}

/// The words for severities, the least first.
pub(super) const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];

/// What both files say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Log {
    /// In the order of their first lines, each with its rows.
    pub(super) incidents: Vec<(Incident, BTreeSet<RowKey>)>,
    /// Rows that a rule muted, with its name.
    pub(super) muted: Vec<(RowKey, String)>,
    /// Incidents that have rows and are not in the log: it was rotated, or cut.
    pub(super) unsaid: u64,
}

/// Reads the incidents of a folder; none where a run has left none.
///
/// # Errors
/// [`EvaluateError`] if one of the two files is missing or cannot be read; with the line for the log.
pub(super) fn read(folder: &Path) -> Result<Option<Log>, EvaluateError> {
    let path = folder.join(INCIDENTS);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(EvaluateError::Io { path, source }),
    };
    let mut states = States::default();
    let mut lines = (1..).zip(BufReader::new(file).lines()).peekable();
    while let Some((line, text)) = lines.next() {
        let text = text.map_err(|source| EvaluateError::Io { path: path.clone(), source })?;
        // A run that goes on, or was killed, may be in the middle of its last line.
        let is_cut = || serde_json::from_str::<IgnoredAny>(&text).is_err_and(|error| error.is_eof());
        match states.take(&text) {
            Ok(()) => {}
            Err(_) if text.trim().is_empty() || (lines.peek().is_none() && is_cut()) => {}
            Err(what) => return Err(EvaluateError::Incidents { path, line, what }),
        }
    }
    let path = folder.join(INCIDENT_ROWS);
    let mut files =
        parts(folder, INCIDENT_ROWS).map_err(|source| EvaluateError::Io { path: path.clone(), source })?;
    // Where there are neither the report is not whole.
    if files.is_empty() && !hours_of(folder, INCIDENT_ROWS).is_dir() {
        files.push(path);
    }
    let members = members(&files)?;
    Ok(Some(states.with(members)))
}

#[derive(Deserialize)]
struct Line<'a> {
    id: String,
    time: String,
    kind: Kind,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    role: String,
    first: String,
    last: String,
    #[serde(default)]
    alerts: u64,
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    peers: u64,
    #[serde(default)]
    ports: u64,
    #[serde(default)]
    top: Option<Top>,
    #[serde(default)]
    why: String,
    #[serde(borrow, default)]
    hints: Vec<ToldHint<'a>>,
    #[serde(default)]
    held: bool,
    #[serde(default)]
    withdrawn: bool,
}

#[derive(Deserialize)]
struct Top {
    #[serde(deserialize_with = "flow_id")]
    flow_id: u64,
    window_start: String,
}

/// As text, or as the number that it was in earlier reports.
fn flow_id<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    match Id::deserialize(value)? {
        Id::Number(id) => Ok(id),
        Id::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[derive(Default)]
struct States {
    incidents: Vec<Incident>,
    place_of: HashMap<String, usize>,
    /// Those that were taken back.
    gone: BTreeSet<String>,
}

impl States {
    fn take(&mut self, text: &str) -> Result<(), String> {
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| within(&error))?;
        let top = match line.top {
            None => None,
            Some(top) => Some((moment("top.window_start", &top.window_start)?, top.flow_id)),
        };
        if line.address.is_none() && line.kind != Kind::NewHosts {
            return Err("missing field `address`; where another version wrote it, detect again".to_owned());
        }
        let time = moment("time", &line.time)?;
        let place = *self.place_of.entry(line.id.clone()).or_insert(self.incidents.len());
        match line.withdrawn {
            true => _ = self.gone.insert(line.id.clone()),
            false => _ = self.gone.remove(&line.id),
        }
        let incident = Incident {
            id: line.id,
            kind: line.kind,
            address: line.address,
            role: line.role,
            created: match self.incidents.get(place) {
                Some(before) if !before.held => before.created,
                _ => time,
            },
            held: line.held,
            first: moment("first", &line.first)?,
            last: moment("last", &line.last)?,
            alerts: line.alerts,
            score: line.score.unwrap_or(0.0),
            severity: line.severity,
            peers: line.peers,
            ports: line.ports,
            top,
            why: line.why,
            hints: line.hints.iter().map(ToldHint::words).collect(),
        };
        match self.incidents.get_mut(place) {
            Some(before) => *before = incident,
            None => self.incidents.push(incident),
        }
        Ok(())
    }

    fn with(self, members: Members) -> Log {
        let mut rows = members.of_incident;
        rows.retain(|id, rows| !rows.is_empty() && !self.gone.contains(id));
        let incidents = self.incidents.into_iter().filter(|incident| !self.gone.contains(&incident.id));
        let incidents = incidents
            .map(|incident| {
                let rows = rows.remove(&incident.id).unwrap_or_default();
                (incident, rows)
            })
            .collect();
        Log { incidents, muted: members.muted, unsaid: rows.len() as u64 }
    }
}

/// What is wrong within a line of a file, whose number is told beside it.
fn within(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", ", column ")
}

/// Nanoseconds since the Unix epoch.
fn moment(name: &str, text: &str) -> Result<u64, String> {
    let time: Timestamp = text.parse().map_err(|_| format!("{name} `{text}` is no time (RFC 3339)"))?;
    u64::try_from(time.as_nanosecond()).map_err(|_| format!("{name} `{text}` is no time from 1970 to 2554"))
}

/// For each incident, or rule that mutes, how many times more a row was given than taken back.
type Sums = BTreeMap<(Option<String>, Option<String>), BTreeMap<RowKey, i64>>;

struct Members {
    of_incident: BTreeMap<String, BTreeSet<RowKey>>,
    muted: Vec<(RowKey, String)>,
}

fn members(files: &[PathBuf]) -> Result<Members, EvaluateError> {
    let mut sums = Sums::new();
    for path in files {
        let wrong = |what: String| EvaluateError::Scores { path: path.clone(), what };
        for batch in Batches::of(opened(path)?).map_err(wrong)? {
            add(&batch.map_err(wrong)?, &mut sums).map_err(wrong)?;
        }
    }
    let mut members = Members { of_incident: BTreeMap::new(), muted: Vec::new() };
    for ((incident, rule), rows) in sums {
        let there = rows.into_iter().filter(|(_, times)| *times > 0).map(|(key, _)| key);
        match (incident, rule) {
            (Some(incident), _) => members.of_incident.entry(incident).or_default().extend(there),
            (None, Some(rule)) => members.muted.extend(there.map(|key| (key, rule.clone()))),
            (None, None) => {}
        }
    }
    Ok(members)
}

fn add(batch: &RecordBatch, sums: &mut Sums) -> Result<(), String> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    let windows = numbers::<TimestampNanosecondType>(batch, "window_start")?;
    let flows = numbers::<UInt64Type>(batch, "flow_id")?;
    let signs = numbers::<Int8Type>(batch, "diff")?;
    let text = |name: &str| -> Result<ArrayRef, String> {
        let column = batch.column_by_name(name).ok_or_else(|| format!("no column `{name}`"))?;
        cast(column, &DataType::Utf8)
            .map_err(|_| format!("column `{name}` is {}, not text", column.data_type()))
    };
    let (incidents, rules) = (text("incident")?, text("muted_by")?);
    let (incidents, rules) = (incidents.as_string::<i32>(), rules.as_string::<i32>());
    column(batch, "window_start")?;
    let name =
        |names: &arrow::array::StringArray, at: usize| names.is_valid(at).then(|| names.value(at).to_owned());
    for at in 0..batch.num_rows() {
        let window = u64::try_from(windows[at])
            .map_err(|_| format!("row {}: a time before 1970 ({} ns)", at + 1, windows[at]))?;
        let of = sums.entry((name(incidents, at), name(rules, at))).or_default();
        *of.entry((window, flows[at])).or_default() += i64::from(signs[at]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int8Array, StringArray, TimestampNanosecondArray, UInt64Array};
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    /// Incident, window, flow, rule, sign.
    type MemberRow = (Option<&'static str>, i64, u64, Option<&'static str>, i8);

    const CREATE: &str = r#"{"change":"create","id":"a1","time":"2026-11-23T00:19:40Z","kind":"anomaly","address":"10.0.0.1",
        "role":"source","first":"2026-11-23T00:19:31.5Z","last":"2026-11-23T00:19:39Z","windows":1,"alerts":1,"score":7.5,
        "p_value":0.0005,"severity":"low","peers":1,"ports":1,"top":{"flow_id":"7","window_start":"2026-11-23T00:19:30Z",
        "src":"10.0.0.1","src_port":4,"dst":"10.0.0.2","dst_port":22,"protocol":"tcp","score":7.5},"why":"odd",
        "hints":[{"technique":"T1046","name":"Network Service Discovery"}]}"#;

    fn log(lines: &[&str], rows: &[MemberRow]) -> Result<Log, EvaluateError> {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = lines.iter().map(|line| line.replace('\n', " ") + "\n").collect();
        std::fs::write(folder.path().join(INCIDENTS), lines).unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("incident", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.0)))),
            (
                "window_start",
                Arc::new(
                    TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.1))
                        .with_timezone("UTC"),
                ),
            ),
            ("flow_id", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.2)))),
            ("muted_by", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.3)))),
            ("diff", Arc::new(Int8Array::from_iter_values(rows.iter().map(|row| row.4)))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(folder.path().join(INCIDENT_ROWS)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        read(folder.path()).map(|log| log.expect("the log is there"))
    }

    #[test]
    fn the_last_line_is_the_state_and_the_first_says_since_when() {
        let update = CREATE
            .replace("create", "update")
            .replace("00:19:40Z", "00:20:40Z")
            .replace("\"score\":7.5", "\"score\":9.5")
            .replace("\"low\"", "\"high\"");
        let rows =
            [(Some("a1"), 30, 7, None, 1), (Some("a1"), 40, 7, None, 1), (Some("a1"), 30, 7, None, -1)];
        let log = log(&[CREATE, &update], &rows).unwrap();
        let (incident, rows) = &log.incidents[0];
        assert_eq!((log.incidents.len(), incident.score, incident.rank()), (1, 9.5, 3));
        assert_eq!(incident.created, 1_795_393_180_000_000_000);
        assert_eq!(rows.iter().copied().collect::<Vec<_>>(), [(40, 7)], "what was taken back is not there");
        assert_eq!(incident.hints, ["T1046 Network Service Discovery"]);
    }

    #[test]
    fn what_was_taken_back_is_none_unless_it_comes_again() {
        let close = CREATE.replace("create", "close").replace("\"why\"", "\"withdrawn\":true,\"why\"");
        let new_host = |line: &str| line.replace("\"anomaly\"", "\"new_host\"");
        for (create, close) in [(CREATE.to_owned(), close.clone()), (new_host(CREATE), new_host(&close))] {
            assert!(log(&[&create, &close], &[]).unwrap().incidents.is_empty());
            assert_eq!(log(&[&create, &close, &create], &[]).unwrap().incidents.len(), 1);
        }
    }

    #[test]
    fn what_was_held_back_is_known_when_it_is_said() {
        let held = CREATE.replace("\"why\"", "\"held\":true,\"why\"");
        let later = CREATE.replace("00:19:40Z", "00:20:40Z");
        let incident = |lines: &[&str]| log(lines, &[]).unwrap().incidents[0].0.clone();
        let (before, after) = (incident(&[&held]), incident(&[&held, &later, CREATE]));
        assert_eq!((before.held, after.held, after.created), (true, false, 1_795_393_240_000_000_000));
    }

    #[test]
    fn muted_rows_belong_to_no_incident() {
        let log =
            log(&[CREATE], &[(None, 30, 7, Some("backup"), 1), (None, 30, 8, Some("backup"), 1)]).unwrap();
        assert!(log.incidents[0].1.is_empty());
        assert_eq!(log.muted, [((30, 7), "backup".to_owned()), ((30, 8), "backup".to_owned())]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = log(&[CREATE, "{\"id\":3}"], &[]).unwrap_err().to_string();
        assert!(error.contains("incidents.jsonl:2: "), "{error}");
        assert!(error.contains(", column 7") && !error.contains("at line"), "{error}");
        let error = log(&[&CREATE.replace("2026-11-23T00:19:39Z", "today")], &[]).unwrap_err().to_string();
        assert!(error.contains(":1: last `today` is no time"), "{error}");
        let error = log(&[&CREATE.replace("\"address\"", "\"host\"")], &[]).unwrap_err().to_string();
        assert!(error.contains(":1: missing field `address`; where another version"), "{error}");
        let crowd = CREATE.replace("\"anomaly\",\"address\":\"10.0.0.1\"", "\"new_hosts\"");
        assert_eq!(log(&[&crowd], &[]).unwrap().incidents[0].0.subject(), "many hosts");
    }

    #[test]
    fn a_last_line_that_is_cut_is_no_error_and_incidents_that_are_missing_are_counted() {
        let rows: &[MemberRow] = &[(Some("a1"), 30, 7, None, 1), (Some("b2"), 30, 8, None, 1)];
        let cut = &CREATE.replace('\n', " ")[..90];
        let whole = log(&[CREATE, cut], rows).unwrap();
        assert_eq!((whole.incidents.len(), whole.unsaid), (1, 1));
        assert_eq!(log(&[], rows).unwrap().unsaid, 2);
        assert_eq!(log(&[CREATE], &rows[..1]).unwrap().unsaid, 0);
        assert!(log(&[cut, CREATE], rows).is_err(), "cut in its middle");
    }

    #[test]
    fn no_log_is_no_incidents_and_a_log_without_its_rows_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        std::fs::write(folder.path().join(INCIDENTS), "").unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(INCIDENT_ROWS), "{error}");
    }
}
