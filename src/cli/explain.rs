//! `netweir explain`: an incident in full, or all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int8Type, Int64Type, UInt64Type};
use parquet::arrow::ProjectionMask;
use serde::Deserialize;

use super::Failure;
use crate::detect::reason::Told;
use crate::incident::{CROWD, Rank, Severity};
use crate::reading::{self, Batches};
use crate::sink::report::{INCIDENT_ROWS, INCIDENTS, SCORES};

/// Print an incident in full, or list all of a report, the worst first
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  netweir explain out              all incidents, the worst first
  netweir explain out 3f9a         one of them: its rows, their reasons, what was muted meanwhile

The first digits of an id are enough where no other id begins with them.
The worst come first: by severity, then by the score of the oddest row, then by rows. Severity comes of two
things, how far the oddest row lies beyond the threshold and how many rows there are. With the way from the
threshold to its double (a forest's: to 1) as 1, and rows:
             1     2 to 9   10 to 99   100 or more
  up to 1/4  low   low      medium     medium
  up to 1/2  low   medium   medium     high
  beyond     low   medium   high       critical
A new host is low, or medium where a row of it is odd.")]
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
pub enum ExplainError {
    /// A file cannot be read.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Scores that have no incidents.
    #[error("{}: {what}", path.display())]
    NoIncidents {
        /// The folder or the file.
        path: PathBuf,
        /// Why.
        what: &'static str,
    },
    /// A line of the log is none.
    #[error("{}:{line}: is no event of an incident: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
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
    /// Several have.
    #[error("{count} incidents have an id that begins with {id:?}: {which}; give more digits")]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// How many.
        count: usize,
        /// Some of them.
        which: String,
    },
}

/// An incident as its last line in the log says it.
#[derive(Clone, Debug, Deserialize)]
struct Incident {
    event: String,
    id: String,
    kind: String,
    host: String,
    role: String,
    first: String,
    last: String,
    windows: u64,
    alerts: u64,
    score: f64,
    p_value: f64,
    severity: Severity,
    peers: u64,
    ports: u64,
    top: Top,
    why: String,
    #[serde(default)]
    hints: Vec<Hint>,
    #[serde(default)]
    held: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Top {
    src: String,
    dst: String,
    dst_port: u16,
    protocol: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Hint {
    technique: String,
    name: String,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        check(&self.folder)?;
        let incidents = read_log(&self.folder.join(INCIDENTS))?;
        let rows = Belonging::read(&self.folder.join(INCIDENT_ROWS))?;
        let text = match &self.id {
            None => list(&incidents, &rows),
            Some(id) => {
                let incident = choose(&self.folder, &incidents, id)?;
                let scored = scored(&self.folder.join(SCORES), incident, &rows)?;
                in_full(incident, scored, self.rows)
            }
        };
        write!(std::io::stdout(), "{text}")?;
        Ok(())
    }
}

/// Checks that a report has incidents, as far as its files tell.
fn check(folder: &Path) -> Result<(), ExplainError> {
    let without = |what| Err(ExplainError::NoIncidents { path: folder.to_owned(), what });
    if folder.is_file() {
        return without(
            "is a file; scores alone have no incidents, a report does: a folder that detect or watch left",
        );
    }
    if folder.join(INCIDENTS).exists() || !folder.join(SCORES).is_file() {
        return Ok(());
    }
    without("has scores and no incidents.jsonl: a report of a table has no incidents, only one of flows does")
}

/// The present state of every incident that was not taken back.
fn read_log(path: &Path) -> Result<Vec<Incident>, ExplainError> {
    let failed =
        |error: std::io::Error| ExplainError::File { path: path.to_owned(), what: error.to_string() };
    let mut incidents: BTreeMap<String, Incident> = BTreeMap::new();
    for (number, line) in (1..).zip(BufReader::new(File::open(path).map_err(failed)?).lines()) {
        let line = line.map_err(failed)?;
        match serde_json::from_str::<Incident>(&line) {
            Ok(incident) => _ = incidents.insert(incident.id.clone(), incident),
            // A run that goes on, or was killed, may be in the middle of its last line.
            Err(error) if error.is_eof() => break,
            Err(error) => {
                let what = error.to_string();
                return Err(ExplainError::Line { path: path.to_owned(), line: number, what });
            }
        }
    }
    let mut incidents: Vec<Incident> = incidents.into_values().collect();
    incidents.retain(|incident| incident.windows > 0);
    incidents.sort_by(|a, b| {
        let rank = |of: &Incident| Rank::new(of.severity, of.score, of.alerts);
        rank(b).cmp(&rank(a)).then_with(|| a.id.cmp(&b.id))
    });
    Ok(incidents)
}

fn choose<'a>(folder: &Path, incidents: &'a [Incident], id: &str) -> Result<&'a Incident, ExplainError> {
    let found: Vec<&Incident> = incidents.iter().filter(|incident| incident.id.starts_with(id)).collect();
    let some = |incidents: &[&Incident]| {
        let mut names: Vec<&str> = incidents.iter().take(4).map(|incident| &incident.id[..]).collect();
        names.extend((incidents.len() > 4).then_some("..."));
        names.join(", ")
    };
    match &found[..] {
        [one] => Ok(one),
        [] => {
            let there = match incidents {
                [] => "there is none at all".to_owned(),
                all => format!("there are {}: {}", all.len(), some(&all.iter().collect::<Vec<_>>())),
            };
            Err(ExplainError::Unknown { folder: folder.to_owned(), id: id.to_owned(), there })
        }
        all => Err(ExplainError::Ambiguous { id: id.to_owned(), count: all.len(), which: some(all) }),
    }
}

/// Rows by window and flow, with the incident or the rule that they went to.
#[derive(Default)]
struct Belonging {
    of_incident: BTreeMap<String, BTreeSet<(i64, u64)>>,
    muted: BTreeMap<String, BTreeSet<(i64, u64)>>,
}

impl Belonging {
    fn read(path: &Path) -> Result<Belonging, ExplainError> {
        let mut belonging = Belonging::default();
        // A run that goes on has not written it yet.
        if !path.exists() {
            return Ok(belonging);
        }
        let names = ["incident", "window_start", "flow_id", "muted_by", "diff"];
        read_rows(path, &names, |rows| {
            let (incident, muted_by) = (rows.text("incident"), rows.text("muted_by"));
            for row in 0..rows.len() {
                let key = (rows.whole("window_start", row), rows.unsigned("flow_id", row));
                let put = |name: Option<&str>, to: &mut BTreeMap<String, BTreeSet<(i64, u64)>>| {
                    if let Some(name) = name {
                        let rows_of = to.entry(name.to_owned()).or_default();
                        _ = if rows.whole("diff", row) > 0 {
                            rows_of.insert(key)
                        } else {
                            rows_of.remove(&key)
                        };
                    }
                };
                put(incident.get(row), &mut belonging.of_incident);
                put(muted_by.get(row), &mut belonging.muted);
            }
        })?;
        Ok(belonging)
    }
}

/// Some columns of a batch, with whatever type they have.
struct Rows {
    rows: RecordBatch,
}

/// A column of texts, or none.
struct Texts(Option<arrow::array::StringArray>);

impl Texts {
    fn get(&self, row: usize) -> Option<&str> {
        self.0.as_ref().filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row))
    }
}

impl Rows {
    fn len(&self) -> usize {
        self.rows.num_rows()
    }

    fn cast(&self, name: &str, kind: &DataType) -> Option<arrow::array::ArrayRef> {
        arrow::compute::cast(self.rows.column_by_name(name)?, kind).ok()
    }

    fn text(&self, name: &str) -> Texts {
        Texts(self.cast(name, &DataType::Utf8).map(|column| column.as_string::<i32>().clone()))
    }

    fn whole(&self, name: &str, row: usize) -> i64 {
        let column = self.rows.column_by_name(name);
        let column = column.and_then(|column| match column.data_type() {
            DataType::Int8 => Some(i64::from(column.as_primitive::<Int8Type>().value(row))),
            _ => None,
        });
        column
            .or_else(|| Some(self.cast(name, &DataType::Int64)?.as_primitive::<Int64Type>().value(row)))
            .unwrap_or(0)
    }

    fn unsigned(&self, name: &str, row: usize) -> u64 {
        let column =
            self.rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<UInt64Type>());
        column.map_or(0, |column| column.value(row))
    }

    fn number(&self, name: &str, row: usize) -> f64 {
        self.cast(name, &DataType::Float64)
            .map_or(f64::NAN, |column| column.as_primitive::<Float64Type>().value(row))
    }
}

/// Reads those of the named columns that a file has, batch by batch.
fn read_rows(path: &Path, names: &[&str], mut each: impl FnMut(&Rows)) -> Result<(), ExplainError> {
    let failed = |what: String| ExplainError::File { path: path.to_owned(), what };
    let file = reading::open(path).map_err(|error| failed(error.to_string()))?;
    let there = file.schema().fields().iter().map(|field| field.name().clone()).collect::<BTreeSet<_>>();
    let mask = ProjectionMask::columns(
        file.parquet_schema(),
        names.iter().copied().filter(|name| there.contains(*name)),
    );
    for rows in Batches::of(file.with_projection(mask)).map_err(failed)? {
        each(&Rows { rows: rows.map_err(failed)? });
    }
    Ok(())
}

/// What scored rows say about an incident.
#[derive(Default)]
struct Scored {
    /// Each row's score and what is printed of it.
    rows: Vec<(f64, String)>,
    /// Rows of the host that rules muted meanwhile, by rule.
    muted: BTreeMap<String, u64>,
}

const COLUMNS: [&str; 16] = [
    "window_start",
    "flow_id",
    "row_start",
    "row_end",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "protocol_name",
    "service",
    "conn_state",
    "fwd_packets",
    "bwd_packets",
    "fwd_bytes",
    "bwd_bytes",
    "score",
];

fn scored(path: &Path, incident: &Incident, belonging: &Belonging) -> Result<Scored, ExplainError> {
    let mut scored = Scored::default();
    if !path.exists() {
        return Ok(scored);
    }
    let none = BTreeSet::new();
    let mine = belonging.of_incident.get(&incident.id).unwrap_or(&none);
    let span = mine.first().zip(mine.last()).map(|((first, _), (last, _))| *first..=*last);
    let meanwhile = |window: i64| span.as_ref().is_some_and(|span| span.contains(&window));
    let names: Vec<&str> = COLUMNS.into_iter().chain(["p_value", "reasons"]).collect();
    read_rows(path, &names, |rows| {
        let wanted: Vec<usize> = {
            let windows = rows.cast("window_start", &DataType::Int64);
            let flows = rows
                .rows
                .column_by_name("flow_id")
                .and_then(|column| column.as_primitive_opt::<UInt64Type>());
            let (Some(windows), Some(flows)) = (windows, flows) else { return };
            let windows = windows.as_primitive::<Int64Type>();
            let key = |row: usize| (windows.value(row), flows.value(row));
            let muted = |key: &(i64, u64)| belonging.muted.values().any(|rows| rows.contains(key));
            let near = |key: &(i64, u64)| mine.contains(key) || meanwhile(key.0) && muted(key);
            (0..rows.len()).filter(|row| near(&key(*row))).collect()
        };
        if wanted.is_empty() {
            return;
        }
        let indices = arrow::array::UInt32Array::from_iter_values(wanted.iter().map(|row| *row as u32));
        let Ok(taken) = arrow::compute::take_record_batch(&rows.rows, &indices) else { return };
        let rows = Rows { rows: taken };
        let text = COLUMNS.map(|name| rows.text(name));
        let texts = |name: &str, row: usize| {
            let at = COLUMNS.iter().position(|known| *known == name);
            at.and_then(|at| text[at].get(row)).unwrap_or("-").to_owned()
        };
        let reasons = rows.text("reasons");
        for row in 0..rows.len() {
            let key = (rows.whole("window_start", row), rows.unsigned("flow_id", row));
            if mine.contains(&key) {
                scored.rows.push((rows.number("score", row), one_row(&rows, row, &texts, reasons.get(row))));
            } else if [texts("src_ip", row), texts("dst_ip", row)].contains(&incident.host) {
                let rules = belonging.muted.iter().filter(|(_, muted)| muted.contains(&key));
                rules.for_each(|(rule, _)| *scored.muted.entry(rule.clone()).or_default() += 1);
            }
        }
    })?;
    scored.rows.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    Ok(scored)
}

/// A row, and its reasons below it.
fn one_row(rows: &Rows, row: usize, text: &dyn Fn(&str, usize) -> String, reasons: Option<&str>) -> String {
    let start = rows.whole("row_start", row);
    let when = jiff::Timestamp::from_nanosecond(i128::from(start)).unwrap_or_default();
    let end = |address: &str, port: &str| match (text(address, row), text(port, row)) {
        (address, port) if port == "0" => address,
        (address, port) if address.contains(':') => format!("[{address}]:{port}"),
        (address, port) => format!("{address}:{port}"),
    };
    let mut printed = format!(
        "  {}  {:>7.3}  {:<5} {:>21} -> {:<21} {:<9} {:<6} {}/{} packets  {}/{} B\n",
        when.strftime("%Y-%m-%d %H:%M:%S%.3fZ"),
        rows.number("score", row),
        text("protocol_name", row),
        end("src_ip", "src_port"),
        end("dst_ip", "dst_port"),
        text("service", row),
        text("conn_state", row),
        text("fwd_packets", row),
        text("bwd_packets", row),
        text("fwd_bytes", row),
        text("bwd_bytes", row),
    );
    if let Some(reasons) = reasons.and_then(|reasons| Told::read(reasons).ok()) {
        let parts: Vec<String> =
            reasons.parts.iter().map(|part| format!("{} {:.1}", part.name, part.nats)).collect();
        if !parts.is_empty() {
            let total = reasons.total.unwrap_or(0.0);
            let _ = writeln!(printed, "      {total:.1} = {}", parts.join(" + "));
        }
        for evidence in &reasons.evidence {
            let _ = writeln!(printed, "      {}: {}", evidence.entity, evidence.words);
        }
    }
    printed
}

fn who(incident: &Incident) -> String {
    let counted = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let top = &incident.top;
    let others = match incident.peers {
        1 if top.src == incident.host => top.dst.clone(),
        1 => top.src.clone(),
        peers => counted(peers, "host"),
    };
    let ports = match (incident.ports, top.dst_port) {
        (1, 0) => top.protocol.clone(),
        (1, port) => format!("{} {port}", top.protocol),
        (ports, _) => counted(ports, "port"),
    };
    match &incident.role[..] {
        "source" => format!("{} -> {others}, {ports}", incident.host),
        _ => format!("{others} -> {}, {ports}", incident.host),
    }
}

/// All incidents, a line for each, and what rules muted.
fn list(incidents: &[Incident], rows: &Belonging) -> String {
    let mut text = String::new();
    for incident in incidents {
        let Incident { id, severity, first, alerts, .. } = incident;
        let first = first.get(..19).unwrap_or(first).replace('T', " ");
        let held = if incident.held { "  (held)" } else { "" };
        let line = match &incident.kind[..] {
            // Of many at once its words say it.
            "new_host" if incident.host == CROWD.to_string() => {
                format!("{first}Z  {:<8}  {id}  {}", severity.name(), incident.why)
            }
            "new_host" => {
                format!(
                    "{first}Z  {:<8}  {id}  {} is new: it began no flow in training",
                    severity.name(),
                    incident.host
                )
            }
            _ => format!(
                "{first}Z  {:<8}  {id}  {:<42} {alerts:>7} row{}{held}",
                severity.name(),
                who(incident),
                if *alerts == 1 { "" } else { "s" }
            ),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if incidents.is_empty() {
        text.push_str("no incident\n");
    }
    for (rule, muted) in rows.muted.iter().filter(|(_, muted)| !muted.is_empty()) {
        let _ = writeln!(text, "muted by rule {rule}: {} rows", muted.len());
    }
    text
}

/// One incident with its rows.
fn in_full(incident: &Incident, scored: Scored, most: usize) -> String {
    let Incident { id, severity, kind, first, last, alerts, windows, .. } = incident;
    let state = match (incident.held, &incident.event[..]) {
        (true, _) => "held back by the budget",
        (_, "close") => "over",
        _ => "open",
    };
    let mut text = format!("{id}  {}  {kind}  {state}\n{}\n", severity.name(), who(incident));
    let _ = writeln!(text, "from {first} to {last}");
    if *alerts > 0 {
        let (score, p_value) = (incident.score, incident.p_value);
        let _ = writeln!(text, "{alerts} rows in {windows} windows; score {score:.3}, p {p_value:.2e}");
    }
    let _ = writeln!(text, "{}", incident.why);
    for hint in &incident.hints {
        let _ = writeln!(text, "hint: {} {} (by the shape of rows, no proof)", hint.technique, hint.name);
    }
    if !scored.rows.is_empty() {
        text.push_str("\nrows, the oddest first\n");
    }
    for (_, row) in scored.rows.iter().take(most) {
        text.push_str(row);
    }
    if scored.rows.len() > most {
        let _ = writeln!(text, "  ... and {} more (-n)", scored.rows.len() - most);
    }
    if !scored.muted.is_empty() {
        let _ = writeln!(text, "\nmuted meanwhile, rows of {}", incident.host);
    }
    for (rule, rows) in &scored.muted {
        let _ = writeln!(text, "  {rows} by rule {rule}");
    }
    text
}
