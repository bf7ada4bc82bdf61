//! Scored rows as the evaluation sees them: when, between whom, how odd.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt64Type};
use parquet::arrow::ProjectionMask;

use super::{EvaluateError, opened};
use crate::flow::window_of;
use crate::reading::Batches;
use crate::reading::columns::{column, numbers};
use crate::row::schema::RowSettings;
use crate::sink::report::{SCORES, hours_of, parts};

/// One scored row.
#[derive(Clone, Debug)]
pub struct ScoredRow {
    /// Start of its window, nanoseconds since the Unix epoch; its own start where the file has no windows.
    pub window: u64,
    /// How long that is, nanoseconds, if the file says it.
    pub length: Option<u64>,
    /// Its flow, if the file has it: with the window it names the row.
    pub flow: Option<u64>,
    /// Its first packet, nanoseconds since the Unix epoch.
    pub start: u64,
    /// Its last packet; never before the first.
    pub end: u64,
    /// Initiator.
    pub src: IpAddr,
    /// Responder.
    pub dst: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Initiator's port, responder's port.
    pub ports: [u16; 2],
    /// Name of the service, if the file has it.
    pub service: Option<Arc<str>>,
    /// The partition that scored it, if the file has it.
    pub partition: Option<Arc<str>>,
    /// Bytes both ways, if the file has them.
    pub bytes: Option<u64>,
    /// How odd it is; higher is odder. Finite.
    pub score: f64,
    /// The part of calibration rows that score as high, if the file has it.
    pub p_value: Option<f64>,
    /// Whether it lies above the threshold.
    pub is_anomaly: bool,
}

/// What must be there.
const REQUIRED: [&str; 9] =
    ["row_start", "row_end", "src_ip", "dst_ip", "protocol", "src_port", "dst_port", "score", "is_anomaly"];

/// What is used where it is there.
const OPTIONAL: [&str; 6] = ["window_start", "flow_id", "service", "partition", "bidir_bytes", "p_value"];

/// Where scores lie.
pub(super) struct Scores {
    /// The file, or the folder of hours of a live run.
    pub(super) path: PathBuf,
    pub(super) files: Vec<PathBuf>,
}

impl Scores {
    /// Those of a report, or of a file.
    ///
    /// # Errors
    /// [`EvaluateError::Io`] for a folder that cannot be read.
    pub(super) fn of(folder: &Path) -> Result<Scores, EvaluateError> {
        let of_file = |path: PathBuf| Scores { files: vec![path.clone()], path };
        if folder.is_file() {
            return Ok(of_file(folder.to_owned()));
        }
        let path = hours_of(folder, SCORES);
        let files =
            parts(folder, SCORES).map_err(|source| EvaluateError::Io { path: path.clone(), source })?;
        match &files[..] {
            // Where there are neither the file is what is missing.
            [] if !path.is_dir() => Ok(of_file(folder.join(SCORES))),
            [] => Err(EvaluateError::Scores {
                path,
                what: "has no rows: a live run writes those of an hour when it is over".to_owned(),
            }),
            [one] if one.parent() == Some(folder) => Ok(of_file(one.clone())),
            _ => Ok(Scores { path, files }),
        }
    }

    /// The folder of what a run left beside them.
    pub(super) fn beside(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// All rows.
    ///
    /// # Errors
    /// As [`read_scores`].
    pub(super) fn read(&self) -> Result<Vec<ScoredRow>, EvaluateError> {
        let mut rows = Vec::new();
        for path in &self.files {
            rows.append(&mut read_scores(path)?);
        }
        Ok(rows)
    }
}

/// Reads a file of scores (`scores.parquet`).
///
/// # Errors
/// [`EvaluateError`] if it cannot be read, lacks a column of flow rows, or a value is none.
pub fn read_scores(path: &Path) -> Result<Vec<ScoredRow>, EvaluateError> {
    let wrong = |what: String| EvaluateError::Scores { path: path.to_owned(), what };
    let file = opened(path)?;
    for column in REQUIRED {
        if file.schema().field_with_name(column).is_err() {
            return Err(wrong(format!(
                "no column `{column}`: not scores of flow rows, which have {}",
                REQUIRED.join(", ")
            )));
        }
    }
    let length = RowSettings::of(file.schema()).and_then(|settings| window_of(&settings));
    let mask = ProjectionMask::columns(file.parquet_schema(), REQUIRED.into_iter().chain(OPTIONAL));
    let mut rows = Vec::new();
    for batch in Batches::of(file.with_projection(mask)).map_err(wrong)? {
        let batch = batch.map_err(wrong)?;
        take(&batch, &mut rows).map_err(wrong)?;
    }
    rows.iter_mut().for_each(|row| row.length = length);
    Ok(rows)
}

fn take(batch: &RecordBatch, rows: &mut Vec<ScoredRow>) -> Result<(), String> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    let starts = numbers::<TimestampNanosecondType>(batch, "row_start")?;
    let ends = numbers::<TimestampNanosecondType>(batch, "row_end")?;
    let windows = optional(batch, "window_start", numbers::<TimestampNanosecondType>)?;
    let flows = optional(batch, "flow_id", numbers::<UInt64Type>)?;
    let (src, dst) = (addresses(batch, "src_ip")?, addresses(batch, "dst_ip")?);
    let protocols = numbers::<UInt8Type>(batch, "protocol")?;
    let src_ports = numbers::<UInt16Type>(batch, "src_port")?;
    let dst_ports = numbers::<UInt16Type>(batch, "dst_port")?;
    let services = optional(batch, "service", names)?;
    let partitions = optional(batch, "partition", names)?;
    let bytes = optional(batch, "bidir_bytes", numbers::<UInt64Type>)?;
    let scores = numbers::<Float64Type>(batch, "score")?;
    let p_values = match batch.column_by_name("p_value") {
        None => None,
        Some(column) => Some(column.as_primitive_opt::<Float64Type>().ok_or_else(|| {
            format!("column `p_value` is {}, not {}", column.data_type(), DataType::Float64)
        })?),
    };
    let flags = column(batch, "is_anomaly")?;
    let flags = flags
        .as_boolean_opt()
        .ok_or_else(|| format!("column `is_anomaly` is {}, not {}", flags.data_type(), DataType::Boolean))?;
    for at in 0..batch.num_rows() {
        let number = rows.len() + 1;
        let time = |value: i64| {
            u64::try_from(value).map_err(|_| format!("row {number}: a time before 1970 ({value} ns)"))
        };
        let (start, end) = (time(starts[at])?, time(ends[at])?);
        if end < start {
            return Err(format!("row {number} ends before it begins ({end} ns, {start} ns)"));
        }
        if !scores[at].is_finite() {
            return Err(format!("row {number}: score {} cannot be ranked", scores[at]));
        }
        rows.push(ScoredRow {
            window: windows.as_ref().map_or(Ok(start), |windows| time(windows[at]))?,
            length: None,
            flow: flows.as_ref().map(|flows| flows[at]),
            start,
            end,
            src: src[at],
            dst: dst[at],
            protocol: protocols[at],
            ports: [src_ports[at], dst_ports[at]],
            service: services.as_ref().map(|names| names[at].clone()),
            partition: partitions.as_ref().map(|names| names[at].clone()),
            bytes: bytes.as_ref().map(|bytes| bytes[at]),
            score: scores[at],
            p_value: p_values
                .filter(|values| values.is_valid(at))
                .map(|values| values.value(at))
                .filter(|value| !value.is_nan()),
            is_anomaly: flags.value(at),
        });
    }
    Ok(())
}

fn optional<T>(
    batch: &RecordBatch,
    name: &str,
    read: impl Fn(&RecordBatch, &str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    batch.column_by_name(name).map(|_| read(batch, name)).transpose()
}

/// Text by dictionary or plain: each value of the dictionary is read once.
fn texts<T: Clone>(
    batch: &RecordBatch,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, String> {
    let column = column(batch, name)?;
    let (values, keys) = match column.as_any_dictionary_opt() {
        Some(dictionary) if dictionary.values().is_empty() => (dictionary.values().clone(), Some(Vec::new())),
        Some(dictionary) => (dictionary.values().clone(), Some(dictionary.normalized_keys())),
        None => (column.clone(), None),
    };
    let values = cast(&values, &DataType::Utf8)
        .map_err(|_| format!("column `{name}` is {}, not text", column.data_type()))?;
    let values: Vec<(Option<&str>, Option<T>)> =
        values.as_string::<i32>().iter().map(|text| (text, text.and_then(&read))).collect();
    let keys = keys.unwrap_or_else(|| (0..values.len()).collect());
    keys.into_iter()
        .map(|key| {
            let (text, value) = &values[key];
            value.clone().ok_or_else(|| {
                format!("column `{name}`: `{}` cannot be read", text.unwrap_or_default().escape_debug())
            })
        })
        .collect()
}

fn addresses(batch: &RecordBatch, name: &str) -> Result<Vec<IpAddr>, String> {
    texts(batch, name, |text| text.parse::<IpAddr>().ok().map(|address| address.to_canonical()))
}

fn names(batch: &RecordBatch, name: &str) -> Result<Vec<Arc<str>>, String> {
    texts(batch, name, |text| Some(Arc::from(text)))
}

#[cfg(test)]
impl ScoredRow {
    /// A TCP row to port 80 with a score, not above the threshold.
    pub(super) fn example(src: &str, dst: &str, start: u64, end: u64, score: f64) -> ScoredRow {
        ScoredRow {
            window: start,
            length: None,
            flow: None,
            start,
            end,
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            protocol: 6,
            ports: [40000, 80],
            service: None,
            partition: None,
            bytes: None,
            score,
            p_value: None,
            is_anomaly: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, BooleanArray, DictionaryArray, Float64Array, StringArray, TimestampNanosecondArray,
        UInt8Array, UInt16Array,
    };
    use arrow::datatypes::Int32Type;

    fn batch(change: impl Fn(&str, ArrayRef) -> Option<ArrayRef>) -> RecordBatch {
        let addresses: DictionaryArray<Int32Type> = vec!["10.0.0.1", "fd00::1"].into_iter().collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("row_start", Arc::new(TimestampNanosecondArray::from(vec![10, 20]).with_timezone("UTC"))),
            ("row_end", Arc::new(TimestampNanosecondArray::from(vec![15, 20]).with_timezone("UTC"))),
            ("src_ip", Arc::new(addresses)),
            ("dst_ip", Arc::new(StringArray::from(vec!["10.0.0.2", "::ffff:10.0.0.3"]))),
            ("protocol", Arc::new(UInt8Array::from(vec![6, 17]))),
            ("src_port", Arc::new(UInt16Array::from(vec![1, 2]))),
            ("dst_port", Arc::new(UInt16Array::from(vec![3, 4]))),
            ("score", Arc::new(Float64Array::from(vec![0.5, 0.25]))),
            ("is_anomaly", Arc::new(BooleanArray::from(vec![true, false]))),
            ("p_value", Arc::new(Float64Array::from(vec![None, Some(0.1)]))),
        ];
        let columns = columns.into_iter().filter_map(|(name, array)| Some((name, change(name, array)?)));
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
    }

    #[test]
    fn text_is_read_plain_and_by_dictionary_and_what_is_missing_is_none() {
        let mut rows = Vec::new();
        take(&batch(|_, array| Some(array)), &mut rows).unwrap();
        let wide: ArrayRef = Arc::new(UInt16Array::from(vec![6, 17]));
        take(
            &batch(|name, array| Some(if name == "protocol" { wide.clone() } else { array })),
            &mut Vec::new(),
        )
        .unwrap();
        assert_eq!(rows[1].src, "fd00::1".parse::<IpAddr>().unwrap());
        assert_eq!(rows[1].dst, "10.0.0.3".parse::<IpAddr>().unwrap(), "mapped addresses are what they map");
        assert_eq!((rows[0].window, rows[0].bytes, rows[0].p_value), (10, None, None));
        assert_eq!((rows[1].p_value, rows[0].is_anomaly), (Some(0.1), true));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_column_or_row() {
        let wrong = |name: &str, array: ArrayRef| {
            take(&batch(|n, a| Some(if n == name { array.clone() } else { a })), &mut Vec::new()).unwrap_err()
        };
        let scores = Float64Array::from(vec![0.5, f64::NAN]);
        assert_eq!(wrong("score", Arc::new(scores)), "row 2: score NaN cannot be ranked");
        let early = TimestampNanosecondArray::from(vec![9, 20]).with_timezone("UTC");
        assert_eq!(wrong("row_end", Arc::new(early)), "row 1 ends before it begins (9 ns, 10 ns)");
        let names = StringArray::from(vec!["10.0.0.2", "printer"]);
        assert_eq!(wrong("dst_ip", Arc::new(names)), "column `dst_ip`: `printer` cannot be read");
        assert_eq!(
            wrong("protocol", Arc::new(UInt16Array::from(vec![1, 300]))),
            "column `protocol` is UInt16, not UInt8"
        );
        let without = batch(|name, array| (name != "score").then_some(array));
        assert_eq!(take(&without, &mut Vec::new()).unwrap_err(), "no column `score`");
    }
}
