//! What of an anomalous row is needed to make incidents of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray,
    UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{
    DataType, Float64Type, Schema, TimestampNanosecondType, UInt8Type, UInt16Type, UInt64Type,
};
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use super::cover::GREETED;
use super::extent::drawn;
use crate::context::address::Address;
use crate::context::entity::is_group;
use crate::context::local::Networks;
use crate::detect::reason::Gist;
use crate::row::columns::find;

/// A number that is ordered as numbers are: NaN above all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Real(u64);

impl Real {
    /// Of a number.
    pub fn new(value: f64) -> Real {
        // Zero has two forms, but one value.
        let bits = (value + 0.0).to_bits();
        Real(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(if self.0 >> 63 == 1 { self.0 & !(1 << 63) } else { !self.0 })
    }
}

/// What a finding or an incident says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A row scored above the threshold.
    Anomaly,
    /// A local host that began no flow in training, where it may have answered.
    NewHost,
    /// Many of those at once; of incidents alone.
    NewHosts,
}

impl Kind {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Anomaly => "anomaly",
            Kind::NewHost => "new_host",
            Kind::NewHosts => "new_hosts",
        }
    }
}

/// A technique of ATT&CK that the shape of a row hints at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Hint {
    /// Its number, such as `T1046`.
    pub technique: String,
    /// Its name.
    pub name: String,
}

/// A row that may be part of an incident.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// Start of its window, nanoseconds.
    pub window: u64,
    /// What it says.
    pub kind: Kind,
    /// The row's flow.
    pub flow_id: u64,
    /// Initiator.
    pub src: IpAddr,
    /// Responder.
    pub dst: IpAddr,
    /// Initiator's port, 0 where there is none.
    pub src_port: u16,
    /// Responder's port, 0 where there is none.
    pub dst_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Its name.
    pub protocol_name: String,
    /// First packet of the row, nanoseconds.
    pub start: i64,
    /// Last packet of the row, nanoseconds.
    pub end: i64,
    /// The row's score.
    pub score: Real,
    /// Its p-value.
    pub p_value: Real,
    /// Whether it is no more than a knock: a flow began with up to three packets of a host from outside, which was not let in.
    pub knock: bool,
    /// Values of the columns that rules ask for ([`Columns::with`]).
    pub values: Vec<Option<Real>>,
    /// The strongest reason, in words; empty where there is none.
    pub words: String,
    /// What its shape hints at.
    pub hints: Vec<Hint>,
}

impl Finding {
    /// That its source is new.
    fn greeting(&self) -> Finding {
        Finding { kind: Kind::NewHost, knock: false, words: String::new(), hints: Vec::new(), ..self.clone() }
    }

    /// How well it stands for its new host: by the oddest row, the earlier of equal ones.
    pub(super) fn greets(&self) -> impl Ord + use<> {
        (self.score, std::cmp::Reverse(self.flow_id))
    }
}

/// New hosts, each by one row with the first and the last packet of all, in the order in which they are drawn. More than a window tells are not passed on: that they are
/// more is all that matters, and those drawn first are the same however rows are cut into batches.
#[derive(Default)]
struct Newcomers {
    met: BTreeMap<(u64, IpAddr), Finding>,
}

impl Newcomers {
    fn meet(&mut self, finding: &Finding) {
        let key = (drawn(finding.src), finding.src);
        if self.met.len() > GREETED && self.met.last_key_value().is_some_and(|(last, _)| key > *last) {
            return;
        }
        match self.met.get_mut(&key) {
            Some(met) => {
                let (start, end) = (met.start.min(finding.start), met.end.max(finding.end));
                if finding.greets() > met.greets() {
                    *met = finding.greeting();
                }
                (met.start, met.end) = (start, end);
            }
            None => _ = self.met.insert(key, finding.greeting()),
        }
        if self.met.len() > GREETED + 1 {
            self.met.pop_last();
        }
    }
}

/// The columns that findings are read from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Columns {
    extra: Vec<String>,
    /// Whether all that is found stands.
    unruled: bool,
}

/// Columns that no incident can be made without.
const NEEDED: [&str; 11] = [
    "window_start",
    "flow_id",
    "src_ip",
    "dst_ip",
    "src_port",
    "dst_port",
    "protocol",
    "protocol_name",
    "row_start",
    "row_end",
    "is_anomaly",
];

/// What tells a knock, where rows say so.
const ANSWERED: [&str; 4] = ["fwd_packets", "bwd_packets", "row_index", "conn_state"];
/// States of TCP connections that nobody accepted.
const UNACCEPTED: [&str; 4] = ["S0", "REJ", "RSTOS0", "SH"];
/// Packets of a knock at most: a SYN is sent again twice before most give up.
const KNOCKS: f64 = 3.0;
/// Whether a row's source is local and began no flow in training, where rows say so.
const IS_NEW: &str = "src_is_new";
/// Why a row is an anomaly, where rows say so.
const REASONS: &str = "reasons";

impl Columns {
    /// Whether rows of this schema can be findings: flow rows can, tables of other columns cannot.
    pub fn known(rows: &Schema) -> bool {
        NEEDED.iter().all(|name| rows.index_of(name).is_ok())
    }

    /// The first column that findings are made of, or one of `more`, that rows of flows lack or have in another type: its
    /// name, what there is, and the type that it should have.
    pub fn wanting(
        rows: &Schema,
        more: impl IntoIterator<Item = &'static str>,
    ) -> Option<(&'static str, String, DataType)> {
        NEEDED.into_iter().chain(more).find_map(|name| {
            // What is added when rows are scored is in none before.
            let expected = find(name)?.kind.data_type();
            let Ok(field) = rows.field_with_name(name) else {
                return Some((name, "missing".to_owned(), expected));
            };
            let alike = match (field.data_type(), &expected) {
                // A time is the same in any zone.
                (DataType::Timestamp(found, _), DataType::Timestamp(expected, _)) => found == expected,
                (found, expected) => found == expected,
            };
            (!alike).then(|| (name, field.data_type().to_string(), expected))
        })
    }

    /// With the values of more columns, by name; those that rows do not have are null.
    pub fn with(extra: Vec<String>) -> Columns {
        Columns { extra, unruled: false }
    }

    /// The same where no rule ever mutes anything: of new hosts no more is found than a window tells.
    #[must_use]
    pub fn unruled(self, unruled: bool) -> Columns {
        Columns { unruled, ..self }
    }

    /// The findings of scored rows: anomalies, and rows of new hosts. Rows whose addresses are none make no findings.
    ///
    /// # Errors
    /// If a column is missing or of a type that no flow row has.
    pub fn findings(&self, rows: &RecordBatch) -> Result<Vec<Finding>, ArrowError> {
        let anomalous = booleans(rows, "is_anomaly").ok_or_else(|| missing("is_anomaly"))?;
        let new = booleans(rows, IS_NEW);
        let mut findings = Vec::with_capacity(anomalous.true_count());
        let mut newcomers = Newcomers::default();
        let chosen = |row: &usize| is(Some(anomalous), *row) || is(new, *row);
        self.read(rows, (0..rows.num_rows()).filter(chosen), true, |row, finding| {
            if is(new, row) {
                match self.unruled {
                    true => newcomers.meet(&finding),
                    false => findings.push(finding.greeting()),
                }
            }
            if is(Some(anomalous), row) {
                findings.push(finding);
            }
        })?;
        findings.extend(newcomers.met.into_values());
        Ok(findings)
    }

    /// How many anomalies among scored rows are not among their findings.
    pub(super) fn without_address(rows: &RecordBatch, findings: &[Finding]) -> u64 {
        let all = booleans(rows, "is_anomaly").map_or(0, BooleanArray::true_count);
        let found = findings.iter().filter(|finding| finding.kind == Kind::Anomaly).count();
        all.saturating_sub(found) as u64
    }

    /// The anomalies among scored rows, as far as rules look at them, with their places.
    ///
    /// # Errors
    /// As [`Columns::findings`].
    pub(super) fn anomalies(&self, rows: &RecordBatch) -> Result<Vec<(usize, Finding)>, ArrowError> {
        let anomalous = booleans(rows, "is_anomaly").ok_or_else(|| missing("is_anomaly"))?;
        let mut anomalies = Vec::with_capacity(anomalous.true_count());
        let chosen = (0..rows.num_rows()).filter(|row| is(Some(anomalous), *row));
        self.read(rows, chosen, false, |row, finding| anomalies.push((row, finding)))?;
        Ok(anomalies)
    }

    /// Hands chosen rows, as if each was an anomaly, to `take`, with their places; with their words and hints
    /// where they are to be `told`.
    fn read(
        &self,
        rows: &RecordBatch,
        chosen: impl Iterator<Item = usize>,
        told: bool,
        mut take: impl FnMut(usize, Finding),
    ) -> Result<(), ArrowError> {
        let chosen: UInt32Array = chosen.map(|row| row as u32).collect();
        if chosen.is_empty() {
            return Ok(());
        }
        let read = |name: &str| {
            NEEDED.contains(&name)
                || ["score", "p_value"].contains(&name)
                || ANSWERED.contains(&name)
                || self.extra.iter().any(|extra| extra == name)
        };
        let fields = rows.schema_ref().fields().iter().enumerate();
        let places: Vec<usize> = fields.filter(|(_, field)| read(field.name())).map(|(at, _)| at).collect();
        // Of all rows: these texts are long.
        let reasons = rows.column_by_name(REASONS).filter(|_| told);
        let reasons = reasons.map(|_| texts(rows, REASONS)).transpose()?;
        let rows = take_record_batch(&rows.project(&places)?, &chosen)?;
        let window = numbers::<TimestampNanosecondType>(&rows, "window_start")?;
        let flow_id = numbers::<UInt64Type>(&rows, "flow_id")?;
        let (src_ip, dst_ip) = (texts(&rows, "src_ip")?, texts(&rows, "dst_ip")?);
        let protocol_name = texts(&rows, "protocol_name")?;
        let src_port = numbers::<UInt16Type>(&rows, "src_port")?;
        let dst_port = numbers::<UInt16Type>(&rows, "dst_port")?;
        let protocol = numbers::<UInt8Type>(&rows, "protocol")?;
        let start = numbers::<TimestampNanosecondType>(&rows, "row_start")?;
        let end = numbers::<TimestampNanosecondType>(&rows, "row_end")?;
        let score = numbers::<Float64Type>(&rows, "score")?;
        let p_value = numbers::<Float64Type>(&rows, "p_value")?;
        let local = Networks::of(rows.schema_ref());
        // What no router passes on comes from within, whatever is one's own.
        let within = Networks::private();
        let is_outside = |text: &str| {
            let address = Address::parse(Some(text));
            !local.hold(&address)
                && !within.hold(&address)
                && !text.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified())
        };
        let [sent, answered, index] = [0, 1, 2].map(|at| values(&rows, ANSWERED[at]));
        let (sent, answered, index) = (sent?, answered?, index?);
        let states = rows.column_by_name(ANSWERED[3]).map(|_| texts(&rows, ANSWERED[3])).transpose()?;
        let is_few = |packets: &PrimitiveArray<Float64Type>, row: usize, most: f64| {
            packets.is_valid(row) && packets.value(row) <= most
        };
        let knocks = |row: usize| {
            let state = states.as_ref().filter(|states| states.is_valid(row)).map(|states| states.value(row));
            let refused = state == Some("REJ");
            // Rows behind the first may go on with what was let in.
            is_few(&sent, row, KNOCKS)
                && is_few(&answered, row, if refused { KNOCKS } else { 0.0 })
                && is_few(&index, row, 0.0)
                && state.is_none_or(|state| UNACCEPTED.contains(&state))
                && is_outside(src_ip.value(row))
                && !is_group(dst_ip.value(row))
        };
        let extra = self.extra.iter().map(|name| values(&rows, name)).collect::<Result<Vec<_>, _>>()?;

        for row in 0..rows.num_rows() {
            let (Ok(src), Ok(dst)) = (src_ip.value(row).parse(), dst_ip.value(row).parse()) else { continue };
            let place = chosen.value(row) as usize;
            let said = reasons.as_ref().filter(|reasons| reasons.is_valid(place));
            // Text of another writer that is no reason says nothing.
            let said = said.and_then(|said| Gist::read(said.value(place)).ok()).unwrap_or_default();
            let words = said.said();
            let hints = said.hints.into_iter();
            let hints = hints.map(|hint| Hint { technique: hint.technique.into(), name: hint.name.into() });
            let finding = Finding {
                window: u64::try_from(window.value(row)).unwrap_or(0),
                kind: Kind::Anomaly,
                flow_id: flow_id.value(row),
                src,
                dst,
                src_port: src_port.value(row),
                dst_port: dst_port.value(row),
                protocol: protocol.value(row),
                protocol_name: protocol_name.value(row).to_owned(),
                start: start.value(row),
                end: end.value(row),
                score: Real::new(score.value(row)),
                p_value: Real::new(p_value.value(row)),
                knock: knocks(row),
                values: extra
                    .iter()
                    .map(|column| column.is_valid(row).then(|| Real::new(column.value(row))))
                    .collect(),
                words,
                hints: hints.collect(),
            };
            take(place, finding);
        }
        Ok(())
    }
}

/// Whether a row is marked; what is null, or not there, is not.
fn is(column: Option<&BooleanArray>, row: usize) -> bool {
    column.is_some_and(|column| column.is_valid(row) && column.value(row))
}

fn missing(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("scored rows of flows have a column {name}"))
}

fn booleans<'a>(rows: &'a RecordBatch, name: &str) -> Option<&'a BooleanArray> {
    rows.column_by_name(name)?.as_boolean_opt()
}

fn numbers<T: ArrowPrimitiveType>(rows: &RecordBatch, name: &str) -> Result<PrimitiveArray<T>, ArrowError> {
    let column = rows.column_by_name(name).ok_or_else(|| missing(name))?;
    let typed = column.as_primitive_opt::<T>().cloned();
    typed.ok_or_else(|| {
        let what = format!("column {name} is {}, {} was expected", column.data_type(), T::DATA_TYPE);
        ArrowError::SchemaError(what)
    })
}

fn texts(rows: &RecordBatch, name: &str) -> Result<StringArray, ArrowError> {
    let column: &ArrayRef = rows.column_by_name(name).ok_or_else(|| missing(name))?;
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// A column as numbers; null where it is missing or holds none.
fn values(rows: &RecordBatch, name: &str) -> Result<PrimitiveArray<Float64Type>, ArrowError> {
    match rows.column_by_name(name) {
        Some(column) if column.data_type().is_numeric() || column.data_type() == &DataType::Boolean => {
            Ok(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        }
        _ => Ok(PrimitiveArray::new_null(rows.num_rows())),
    }
}
