//! Scored rows as the evaluation sees them: when, between whom, how odd.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimestampNanosecondType, UInt8Type, UInt16Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::EvaluateError;

/// One scored row.
#[derive(Clone, Debug)]
pub struct ScoredRow {
    /// Its first packet, nanoseconds since the Unix epoch.
    pub start: u64,
    /// Its last packet.
    pub end: u64,
    /// Initiator.
    pub src: IpAddr,
    /// Responder.
    pub dst: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Initiator's port, responder's port.
    pub ports: [u16; 2],
    /// How odd it is; higher is odder.
    pub score: f64,
    /// Whether it lies above the threshold.
    pub is_anomaly: bool,
}

const COLUMNS: [&str; 9] =
    ["row_start", "row_end", "src_ip", "dst_ip", "protocol", "src_port", "dst_port", "score", "is_anomaly"];

/// Reads a file of scores (`scores.parquet`).
///
/// # Errors
/// [`EvaluateError`] if it cannot be read or lacks a column of flow rows.
pub fn read_scores(path: &Path) -> Result<Vec<ScoredRow>, EvaluateError> {
    let wrong = |what: String| EvaluateError::Scores { path: path.to_owned(), what };
    let file = File::open(path).map_err(|source| EvaluateError::Io { path: path.to_owned(), source })?;
    let first_line =
        |error: &dyn std::fmt::Display| error.to_string().lines().next().unwrap_or("").to_owned();
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(first_line(&error)))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    let batches = builder.with_projection(mask).build().map_err(|error| wrong(first_line(&error)))?;
    let mut rows = Vec::new();
    for batch in batches {
        let batch = batch.map_err(|error| wrong(first_line(&error)))?;
        take(&batch, &mut rows).ok_or_else(|| {
            wrong(format!("not scores of flow rows: they have the columns {}", COLUMNS.join(", ")))
        })?;
    }
    Ok(rows)
}

fn take(batch: &RecordBatch, rows: &mut Vec<ScoredRow>) -> Option<()> {
    let column = |name: &str| -> Option<ArrayRef> {
        batch.column_by_name(name).filter(|column| column.null_count() == 0).cloned()
    };
    let addresses = |name: &str| -> Option<Vec<IpAddr>> {
        let texts = cast(&column(name)?, &DataType::Utf8).ok()?;
        texts.as_string::<i32>().iter().map(|text| text?.parse().ok()).collect()
    };
    let times = [column("row_start")?, column("row_end")?];
    let [starts, ends] = &times;
    let starts = starts.as_primitive_opt::<TimestampNanosecondType>()?;
    let ends = ends.as_primitive_opt::<TimestampNanosecondType>()?;
    let (src, dst) = (addresses("src_ip")?, addresses("dst_ip")?);
    let protocol = column("protocol")?;
    let protocol = protocol.as_primitive_opt::<UInt8Type>()?;
    let ports = [column("src_port")?, column("dst_port")?];
    let [src_port, dst_port] = &ports;
    let src_port = src_port.as_primitive_opt::<UInt16Type>()?;
    let dst_port = dst_port.as_primitive_opt::<UInt16Type>()?;
    let score = column("score")?;
    let score = score.as_primitive_opt::<Float64Type>()?;
    let odd = column("is_anomaly")?;
    let odd = odd.as_boolean_opt()?;
    for row in 0..batch.num_rows() {
        rows.push(ScoredRow {
            start: starts.value(row) as u64,
            end: ends.value(row) as u64,
            src: src[row],
            dst: dst[row],
            protocol: protocol.value(row),
            ports: [src_port.value(row), dst_port.value(row)],
            score: score.value(row),
            is_anomaly: odd.value(row),
        });
    }
    Some(())
}
