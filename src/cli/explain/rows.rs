//! The rows of an incident as a run left them, and what is printed of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int8Type, Int64Type, UInt64Type};
use parquet::arrow::ProjectionMask;

use crate::detect::outline::grouped;
use crate::detect::reason::Told;
use crate::reading::{self, Batches};
use crate::report::{Incident, Members, ReportError};
use crate::row::RowKey;

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

/// Reads those of the named columns that files have, batch by batch.
fn read_rows(files: &[PathBuf], names: &[&str], mut each: impl FnMut(&Rows)) -> Result<(), ReportError> {
    files.iter().try_for_each(|path| read_file(path, names, &mut each))
}

fn read_file(path: &Path, names: &[&str], each: &mut impl FnMut(&Rows)) -> Result<(), ReportError> {
    let failed = |what: String| ReportError::Rows { path: path.to_owned(), what };
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
pub(super) struct Scored {
    /// Whether each row says why, its score, and what is printed of it.
    pub(super) rows: Vec<(bool, f64, String)>,
    /// Rows of the host that rules muted meanwhile, by rule.
    pub(super) muted: BTreeMap<String, u64>,
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

/// The scored rows of an incident: those that say why, the oddest first, then the others.
pub(super) fn scored(
    files: &[PathBuf],
    incident: &Incident,
    members: &Members,
) -> Result<Scored, ReportError> {
    let mut scored = Scored::default();
    let none = BTreeSet::new();
    let mine = members.of_incident.get(&incident.id).unwrap_or(&none);
    let span = mine.first().zip(mine.last()).map(|((first, _), (last, _))| *first..=*last);
    let meanwhile = |window: u64| span.as_ref().is_some_and(|span| span.contains(&window));
    let names: Vec<&str> = COLUMNS.into_iter().chain(["p_value", "reasons"]).collect();
    read_rows(files, &names, |rows| {
        let wanted: Vec<usize> = {
            let windows = rows.cast("window_start", &DataType::Int64);
            let flows = rows
                .rows
                .column_by_name("flow_id")
                .and_then(|column| column.as_primitive_opt::<UInt64Type>());
            let (Some(windows), Some(flows)) = (windows, flows) else { return };
            let windows = windows.as_primitive::<Int64Type>();
            let key = |row: usize| (windows.value(row).max(0) as u64, flows.value(row));
            let muted = |key: &RowKey| members.muted.values().any(|rows| rows.contains(key));
            let near = |key: &RowKey| mine.contains(key) || meanwhile(key.0) && muted(key);
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
            let key = (rows.whole("window_start", row).max(0) as u64, rows.unsigned("flow_id", row));
            if mine.contains(&key) {
                let reasons = reasons.get(row).and_then(|reasons| Told::read(reasons).ok());
                let is_told = reasons.as_ref().is_none_or(|reasons| reasons.one_of.is_none());
                let printed = one_row(&rows, row, &texts, reasons.as_ref());
                scored.rows.push((is_told, rows.number("score", row), printed));
            } else if let Some(address) = &incident.address
                && [texts("src_ip", row), texts("dst_ip", row)].contains(address)
            {
                let rules = members.muted.iter().filter(|(_, muted)| muted.contains(&key));
                rules.for_each(|(rule, _)| *scored.muted.entry(rule.clone()).or_default() += 1);
            }
        }
    })?;
    scored.rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| b.1.total_cmp(&a.1)).then_with(|| a.2.cmp(&b.2)));
    Ok(scored)
}

/// A row, and its reasons below it.
fn one_row(
    rows: &Rows,
    row: usize,
    text: &dyn Fn(&str, usize) -> String,
    reasons: Option<&Told<'_>>,
) -> String {
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
    if let Some(reasons) = reasons {
        if let Some(many) = reasons.one_of {
            let _ = writeln!(
                printed,
                "      one of {} odd rows of its window from its source or to its destination",
                grouped(many)
            );
        }
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
