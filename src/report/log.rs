//! Lines of the log of incidents: the last of an id is its present state.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use hashbrown::HashMap;
use jiff::Timestamp;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::ReportError;
use crate::detect::reason::ToldHint;
use crate::incident::{Kind, Rank, Severity};
use crate::row::RowKey;

/// What a log says in the end.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// In the order of their first lines.
    pub(super) incidents: Vec<Incident>,
    /// Ids of those that were taken back.
    pub(super) withdrawn: BTreeSet<String>,
}

/// An incident as its last line has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Incident {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// The host that its rows have in common, which many new hosts have not, and whether it is their `source` or their
    /// `target`.
    pub(crate) address: Option<String>,
    pub(crate) role: String,
    /// When it was first said, nanoseconds since the Unix epoch; while it was held back nothing was said. `None` where the
    /// log, rotated since, does not say it any more.
    pub(crate) created: Option<u64>,
    /// Whether it was closed.
    pub(crate) is_over: bool,
    /// Whether it is no more than a knock from outside.
    pub(crate) knock: bool,
    /// Whether that, or a budget, holds it back.
    pub(crate) held: bool,
    /// First and last packet.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Windows with an anomalous row.
    pub(crate) windows: u64,
    /// Anomalous rows by its own count.
    pub(crate) alerts: u64,
    /// The highest score of its rows, and the smallest p-value.
    pub(crate) score: f64,
    pub(crate) p_value: f64,
    pub(crate) severity: Severity,
    /// Distinct other ends, distinct responder's ports.
    pub(crate) peers: u64,
    pub(crate) ports: u64,
    /// The row of the highest score of those that say why.
    pub(crate) top: Top,
    /// One line for people.
    pub(crate) why: String,
    /// ATT&CK techniques whose shape it has, such as `T1046 Network Service Discovery`.
    pub(crate) hints: Vec<String>,
}

/// The row that an incident is told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Top {
    pub(crate) row: RowKey,
    pub(crate) src: String,
    pub(crate) dst: String,
    pub(crate) dst_port: Option<u16>,
    pub(crate) protocol: String,
}

impl Incident {
    /// Whom it is about, in words.
    pub(crate) fn subject(&self) -> &str {
        self.address.as_deref().unwrap_or("many hosts")
    }

    /// How bad it is beside others, with so many rows.
    pub(crate) fn rank(&self, rows: u64) -> Rank {
        Rank::new(self.severity, self.score, rows)
    }

    /// One of 10.0.0.1, first said ten seconds after its only packet.
    #[cfg(test)]
    pub(crate) fn example(id: &str, kind: Kind, at: u64, severity: Severity) -> Incident {
        Incident {
            id: id.into(),
            kind,
            address: Some("10.0.0.1".into()),
            role: "source".into(),
            created: Some(at + 10_000_000_000),
            is_over: true,
            knock: false,
            held: false,
            first: at,
            last: at,
            windows: 1,
            alerts: 1,
            score: 9.0,
            p_value: 1e-4,
            severity,
            peers: 1,
            ports: 1,
            top: Top {
                row: (0, 0),
                src: "10.0.0.1".into(),
                dst: "10.0.0.2".into(),
                dst_port: Some(22),
                protocol: "tcp".into(),
            },
            why: String::new(),
            hints: Vec::new(),
        }
    }
}

/// A line. Keys that may be missing have the defaults of their types; others than these are passed over.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    change: String,
    id: String,
    #[serde(deserialize_with = "moment")]
    time: u64,
    kind: Kind,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    role: String,
    #[serde(deserialize_with = "moment")]
    first: u64,
    #[serde(deserialize_with = "moment")]
    last: u64,
    #[serde(default)]
    windows: u64,
    #[serde(default)]
    alerts: u64,
    score: f64,
    p_value: f64,
    severity: Severity,
    #[serde(default)]
    peers: u64,
    #[serde(default)]
    ports: u64,
    top: TopLine,
    #[serde(default)]
    why: String,
    #[serde(borrow, default)]
    hints: Vec<ToldHint<'a>>,
    #[serde(default)]
    knock: bool,
    #[serde(default)]
    held: bool,
    #[serde(default)]
    withdrawn: bool,
}

#[derive(Deserialize)]
struct TopLine {
    #[serde(deserialize_with = "flow_id")]
    flow_id: u64,
    #[serde(deserialize_with = "moment")]
    window_start: u64,
    src: String,
    dst: String,
    #[serde(default)]
    dst_port: Option<u16>,
    protocol: String,
}

/// As text: readers of JSON take large numbers for doubles.
fn flow_id<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    String::deserialize(value)?.parse().map_err(|_| D::Error::custom("a flow_id that is no number"))
}

/// Nanoseconds since the Unix epoch.
fn moment<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    let text = String::deserialize(value)?;
    let time: Result<Timestamp, _> = text.parse();
    let time = time.map_err(|_| D::Error::custom(format_args!("`{text}` is no time (RFC 3339)")))?;
    u64::try_from(time.as_nanosecond())
        .map_err(|_| D::Error::custom(format_args!("`{text}` is no time from 1970 to 2554")))
}

/// Reads a log to its end. One that a run still writes, or was killed over, may end within a line.
pub(super) fn read(path: &Path, log: impl BufRead) -> Result<Log, ReportError> {
    let mut states = States::default();
    let mut lines = (1..).zip(log.lines()).peekable();
    while let Some((line, text)) = lines.next() {
        let text = text.map_err(|source| ReportError::Io { path: path.to_owned(), source })?;
        let is_cut = || serde_json::from_str::<IgnoredAny>(&text).is_err_and(|error| error.is_eof());
        match states.take(&text) {
            Ok(()) => {}
            Err(_) if text.trim().is_empty() || (lines.peek().is_none() && is_cut()) => {}
            Err(what) => return Err(ReportError::Line { path: path.to_owned(), line, what }),
        }
    }
    let Log { mut incidents, withdrawn } = states.log;
    incidents.retain(|incident| !withdrawn.contains(&incident.id));
    Ok(Log { incidents, withdrawn })
}

/// What lines have said so far.
#[derive(Default)]
struct States {
    /// With those that were taken back.
    log: Log,
    place_of: HashMap<String, usize>,
}

impl States {
    fn take(&mut self, text: &str) -> Result<(), String> {
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| within(&error))?;
        if line.address.is_none() && line.kind != Kind::NewHosts {
            return Err("missing field `address`".to_owned());
        }
        let Log { incidents, withdrawn } = &mut self.log;
        let place = *self.place_of.entry(line.id.clone()).or_insert(incidents.len());
        match line.withdrawn {
            true => _ = withdrawn.insert(line.id.clone()),
            false => _ = withdrawn.remove(&line.id),
        }
        let incident = Incident {
            id: line.id,
            kind: line.kind,
            address: line.address,
            role: line.role,
            created: match incidents.get(place) {
                Some(before) if !before.held => before.created,
                Some(_) => Some(line.time),
                None => (line.change == "create").then_some(line.time),
            },
            is_over: line.change == "close",
            knock: line.knock,
            held: line.held,
            first: line.first,
            last: line.last,
            windows: line.windows,
            alerts: line.alerts,
            score: line.score,
            p_value: line.p_value,
            severity: line.severity,
            peers: line.peers,
            ports: line.ports,
            top: Top {
                row: (line.top.window_start, line.top.flow_id),
                src: line.top.src,
                dst: line.top.dst,
                dst_port: line.top.dst_port,
                protocol: line.top.protocol,
            },
            why: line.why,
            hints: line.hints.iter().map(ToldHint::words).collect(),
        };
        match incidents.get_mut(place) {
            Some(before) => *before = incident,
            None => incidents.push(incident),
        }
        Ok(())
    }
}

/// What is wrong within a line, whose number is told beside it.
fn within(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", ", column ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::report) const CREATE: &str = r#"{"change":"create","id":"a1","time":"2026-11-23T00:19:40Z","kind":"anomaly","address":"10.0.0.1",
        "role":"source","first":"2026-11-23T00:19:31.5Z","last":"2026-11-23T00:19:39Z","windows":1,"alerts":1,"score":7.5,
        "p_value":0.0005,"severity":"low","peers":1,"ports":1,"top":{"flow_id":"7","window_start":"2026-11-23T00:19:30Z",
        "src":"10.0.0.1","src_port":4,"dst":"10.0.0.2","dst_port":22,"protocol":"tcp","score":7.5},"why":"odd",
        "hints":[{"technique":"T1046","name":"Network Service Discovery"}]}"#;

    fn log(lines: &[&str]) -> Result<Vec<Incident>, ReportError> {
        let lines: String = lines.iter().map(|line| line.replace('\n', " ") + "\n").collect();
        Ok(read(Path::new("incidents.jsonl"), lines.as_bytes())?.incidents)
    }

    #[test]
    fn the_last_line_is_the_state_and_the_first_says_since_when() {
        let update = CREATE
            .replace("create", "update")
            .replace("00:19:40Z", "00:20:40Z")
            .replace("\"score\":7.5", "\"score\":9.5")
            .replace("\"low\"", "\"high\"");
        let incidents = log(&[CREATE, &update]).unwrap();
        let incident = &incidents[0];
        assert_eq!((incidents.len(), incident.score, incident.severity), (1, 9.5, Severity::High));
        assert_eq!(incident.created, Some(1_795_393_180_000_000_000));
        assert_eq!(log(&[&update]).unwrap()[0].created, None, "rotated since");
        assert_eq!(incident.top.row, (1_795_393_170_000_000_000, 7));
        assert_eq!(incident.hints, ["T1046 Network Service Discovery"]);
        assert!(!incident.is_over && log(&[&CREATE.replace("create", "close")]).unwrap()[0].is_over);
    }

    #[test]
    fn what_was_taken_back_is_none_unless_it_comes_again() {
        let close = CREATE.replace("create", "close").replace("\"why\"", "\"withdrawn\":true,\"why\"");
        let new_host = |line: &str| line.replace("\"anomaly\"", "\"new_host\"");
        for (create, close) in [(CREATE.to_owned(), close.clone()), (new_host(CREATE), new_host(&close))] {
            assert!(log(&[&create, &close]).unwrap().is_empty());
            assert_eq!(log(&[&create, &close, &create]).unwrap().len(), 1);
        }
    }

    #[test]
    fn what_was_held_back_is_known_when_it_is_said() {
        let held = CREATE.replace("\"why\"", "\"held\":true,\"why\"");
        let later = CREATE.replace("00:19:40Z", "00:20:40Z");
        let incident = |lines: &[&str]| log(lines).unwrap()[0].clone();
        let (before, after) = (incident(&[&held]), incident(&[&held, &later, CREATE]));
        assert_eq!((before.held, after.held, after.created), (true, false, Some(1_795_393_240_000_000_000)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |lines: &[&str]| log(lines).unwrap_err().to_string();
        let said = error(&[CREATE, "{\"id\":3}"]);
        assert!(said.starts_with("incidents.jsonl:2: is no line about an incident: "), "{said}");
        assert!(said.contains(", column 7") && !said.contains("at line"), "{said}");
        let said = error(&[&CREATE.replace("2026-11-23T00:19:39Z", "today")]);
        assert!(said.contains(":1: ") && said.contains("`today` is no time (RFC 3339), column "), "{said}");
        let said = error(&[&CREATE.replace("\"low\"", "\"grave\"")]);
        assert!(said.contains("unknown variant `grave`"), "{said}");
        let said = error(&[&CREATE.replace("\"flow_id\":\"7\"", "\"flow_id\":\"x\"")]);
        assert!(said.contains("a flow_id that is no number"), "{said}");
        let said = error(&[&CREATE.replace("\"address\"", "\"host\"")]);
        assert!(said.contains(":1: ") && said.contains("missing field `address`; where another"), "{said}");
        let crowd = CREATE.replace("\"anomaly\",\"address\":\"10.0.0.1\"", "\"new_hosts\"");
        assert_eq!(log(&[&crowd]).unwrap()[0].subject(), "many hosts");
    }

    #[test]
    fn a_last_line_that_is_cut_is_no_error() {
        let cut = &CREATE.replace('\n', " ")[..90];
        assert_eq!(log(&[CREATE, cut]).unwrap().len(), 1);
        assert!(log(&[cut, CREATE]).is_err(), "cut in its middle");
    }
}
