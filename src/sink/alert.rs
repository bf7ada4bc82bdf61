//! Anomalous rows as alerts see them: few columns of few rows, in the types that lines are made of.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, PrimitiveArray, RecordBatch,
    StringArray,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{
    DataType, Float64Type, Schema, TimestampNanosecondType, UInt8Type, UInt16Type, UInt64Type,
};
use arrow::error::ArrowError;

use super::operator::{INCIDENT, SEVERITY};
use crate::detect::reason::ONE_OF;
use crate::incident::Severity;
use crate::row::columns::find;

/// The anomalous rows of a batch.
pub(super) struct Alerts {
    /// Number of each row among all rows that came here, from 1.
    pub(super) numbers: Vec<u64>,
    /// How many rows came before the batch.
    before: u64,
    pub(super) scores: Float64Array,
    pub(super) partitions: StringArray,
    /// Why, as the detector wrote it, of all rows of the batch: these texts are long. `None` for rows of a writer that
    /// had no reasons.
    reasons: Option<StringArray>,
    /// Which incident each came to; `None` where none are made.
    incidents: Option<PrimitiveArray<UInt64Type>>,
    /// How severe that was then.
    severities: Option<PrimitiveArray<UInt8Type>>,
    /// `None` for tables of other columns.
    pub(super) flows: Option<Flows>,
}

/// What alerts say about flows.
pub(super) struct Flows {
    pub(super) window_start: PrimitiveArray<TimestampNanosecondType>,
    pub(super) flow_start: PrimitiveArray<TimestampNanosecondType>,
    pub(super) row_start: PrimitiveArray<TimestampNanosecondType>,
    pub(super) row_end: PrimitiveArray<TimestampNanosecondType>,
    pub(super) flow_id: PrimitiveArray<UInt64Type>,
    pub(super) src_ip: StringArray,
    pub(super) dst_ip: StringArray,
    pub(super) src_port: PrimitiveArray<UInt16Type>,
    pub(super) dst_port: PrimitiveArray<UInt16Type>,
    pub(super) protocol: PrimitiveArray<UInt8Type>,
    pub(super) protocol_name: StringArray,
    pub(super) service: StringArray,
    pub(super) ip_version: PrimitiveArray<UInt8Type>,
    pub(super) vlan: PrimitiveArray<UInt16Type>,
    pub(super) icmp_type: PrimitiveArray<UInt8Type>,
    pub(super) icmp_code: PrimitiveArray<UInt8Type>,
    pub(super) conn_state: StringArray,
    pub(super) duration_s: Float64Array,
    pub(super) fwd_packets: PrimitiveArray<UInt64Type>,
    pub(super) bwd_packets: PrimitiveArray<UInt64Type>,
    pub(super) fwd_bytes: PrimitiveArray<UInt64Type>,
    pub(super) bwd_bytes: PrimitiveArray<UInt64Type>,
}

/// The columns that alerts are made of; rows have hundreds.
const WANTED: [&str; 26] = [
    "score",
    INCIDENT,
    SEVERITY,
    "partition",
    "window_start",
    "flow_start",
    "row_start",
    "row_end",
    "flow_id",
    "src_ip",
    "dst_ip",
    "src_port",
    "dst_port",
    "protocol",
    "protocol_name",
    "service",
    "ip_version",
    "vlan",
    "icmp_type",
    "icmp_code",
    "conn_state",
    "duration_s",
    "fwd_packets",
    "bwd_packets",
    "fwd_bytes",
    "bwd_bytes",
];

/// The columns of rows of flows that alerts are made of.
pub fn alert_columns() -> impl Iterator<Item = &'static str> {
    WANTED.into_iter().filter(|name| find(name).is_some())
}

/// Which rows are alerts; `None` if none is.
pub(super) fn told(rows: &RecordBatch) -> Result<Option<BooleanArray>, ArrowError> {
    let anomalous = anomalous(rows)?;
    if anomalous.true_count() == 0 {
        return Ok(None);
    }
    let Some(reasons) = texts(rows, "reasons")? else { return Ok(Some(anomalous.clone())) };
    let is_told = |row: usize| !(reasons.is_valid(row) && reasons.value(row).starts_with(ONE_OF));
    let told = anomalous.iter().enumerate().map(|(row, is)| Some(is == Some(true) && is_told(row)));
    Ok(Some(told.collect::<BooleanArray>()).filter(|told| told.true_count() > 0))
}

impl Alerts {
    /// The anomalous rows of `rows`, before which `before` rows came; `None` if there are none. Of many that are alike only
    /// those that are told are alerts.
    pub(super) fn of(rows: &RecordBatch, before: u64) -> Result<Option<Alerts>, ArrowError> {
        let Some(anomalous) = told(rows)? else { return Ok(None) };
        let anomalous = &anomalous;
        let numbered = anomalous.iter().zip(before + 1..).filter(|(is, _)| *is == Some(true));
        let numbers = numbered.map(|(_, number)| number).collect();
        let reasons = texts(rows, "reasons")?;
        let wanted = rows.schema_ref().fields().iter().enumerate();
        let wanted = wanted.filter(|(_, field)| WANTED.contains(&field.name().as_str()));
        let rows = rows.project(&wanted.map(|(at, _)| at).collect::<Vec<_>>())?;
        let rows = filter_record_batch(&rows, anomalous)?;
        let scores = numbers_of::<Float64Type>(&rows, "score");
        let (Some(scores), Some(partitions)) = (scores, texts(&rows, "partition")?) else {
            return Err(unscored());
        };
        let (incidents, severities) = (numbers_of(&rows, INCIDENT), numbers_of(&rows, SEVERITY));
        let flows = Flows::of(&rows)?;
        Ok(Some(Alerts { numbers, before, scores, partitions, reasons, incidents, severities, flows }))
    }

    /// Where an anomalous row stands in its batch.
    pub(super) fn place(&self, row: usize) -> usize {
        (self.numbers[row] - self.before - 1) as usize
    }

    /// The incident that an anomalous row came to.
    pub(super) fn incident(&self, row: usize) -> Option<u64> {
        self.incidents
            .as_ref()
            .filter(|incidents| incidents.is_valid(row))
            .map(|incidents| incidents.value(row))
    }

    /// How severe that incident was when the row came to it.
    pub(super) fn severity(&self, row: usize) -> Option<Severity> {
        let severities = self.severities.as_ref().filter(|severities| severities.is_valid(row))?;
        Severity::ALL.get(usize::from(severities.value(row))).copied()
    }

    /// Why a row is there, as the detector wrote it.
    pub(super) fn reason(&self, row: usize) -> Option<&str> {
        let place = self.place(row);
        self.reasons.as_ref().filter(|reasons| reasons.is_valid(place)).map(|reasons| reasons.value(place))
    }
}

impl Flows {
    /// `None` if a column is missing or of another type.
    fn of(rows: &RecordBatch) -> Result<Option<Flows>, ArrowError> {
        let (src_ip, dst_ip) = (texts(rows, "src_ip")?, texts(rows, "dst_ip")?);
        let (protocol_name, service) = (texts(rows, "protocol_name")?, texts(rows, "service")?);
        let conn_state = texts(rows, "conn_state")?;
        let gathered = || {
            Some(Flows {
                window_start: numbers_of(rows, "window_start")?,
                flow_start: numbers_of(rows, "flow_start")?,
                row_start: numbers_of(rows, "row_start")?,
                row_end: numbers_of(rows, "row_end")?,
                flow_id: numbers_of(rows, "flow_id")?,
                src_ip: src_ip?,
                dst_ip: dst_ip?,
                src_port: numbers_of(rows, "src_port")?,
                dst_port: numbers_of(rows, "dst_port")?,
                protocol: numbers_of(rows, "protocol")?,
                protocol_name: protocol_name?,
                service: service?,
                ip_version: numbers_of(rows, "ip_version")?,
                vlan: numbers_of(rows, "vlan")?,
                icmp_type: numbers_of(rows, "icmp_type")?,
                icmp_code: numbers_of(rows, "icmp_code")?,
                conn_state: conn_state?,
                duration_s: numbers_of(rows, "duration_s")?,
                fwd_packets: numbers_of(rows, "fwd_packets")?,
                bwd_packets: numbers_of(rows, "bwd_packets")?,
                fwd_bytes: numbers_of(rows, "fwd_bytes")?,
                bwd_bytes: numbers_of(rows, "bwd_bytes")?,
            })
        };
        Ok(gathered())
    }
}

fn unscored() -> ArrowError {
    let what = "rows without the columns score, is_anomaly and partition were never scored";
    ArrowError::SchemaError(what.to_owned())
}

fn anomalous(rows: &RecordBatch) -> Result<&BooleanArray, ArrowError> {
    rows.column_by_name("is_anomaly").and_then(|column| column.as_boolean_opt()).ok_or_else(unscored)
}

fn numbers_of<T: ArrowPrimitiveType>(rows: &RecordBatch, name: &str) -> Option<PrimitiveArray<T>> {
    rows.column_by_name(name)?.as_primitive_opt::<T>().cloned()
}

fn texts(rows: &RecordBatch, name: &str) -> Result<Option<StringArray>, ArrowError> {
    let text = |column: &ArrayRef| Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone());
    rows.column_by_name(name).map(text).transpose()
}

/// A time in nanoseconds since the epoch.
pub(super) fn time(nanoseconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .expect("64 bits of nanoseconds are within jiff's years")
}

/// The metadata of a schema under a key, if any.
pub(super) fn setting(schema: &Schema, key: &str) -> Option<String> {
    schema.metadata().get(key).cloned()
}
