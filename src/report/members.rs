//! Which rows belong to which incident, and which a rule muted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int8Type, TimestampNanosecondType, UInt64Type};

use super::ReportError;
use crate::reading::columns::numbers;
use crate::reading::{self, Batches, Unreadable};
use crate::row::{RowKey, RowSettings};

/// Rows by the incident that they belong to, and by the rule that mutes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// How the rows were made, where a file says it.
    pub(crate) made: Option<RowSettings>,
    pub(crate) of_incident: BTreeMap<String, BTreeSet<RowKey>>,
    pub(crate) muted: BTreeMap<String, BTreeSet<RowKey>>,
}

/// For each incident, or rule that mutes, how many times more a row was given than taken back.
type Sums = BTreeMap<(Option<String>, Option<String>), BTreeMap<RowKey, i64>>;

impl Members {
    /// From the files of a report.
    pub(super) fn read(files: &[PathBuf]) -> Result<Members, ReportError> {
        let (mut sums, mut made) = (Sums::new(), None);
        for path in files {
            let wrong = |what: String| ReportError::Rows { path: path.clone(), what };
            let file = reading::open(path).map_err(|error| match error {
                Unreadable::Io(source) => ReportError::Io { path: path.clone(), source },
                Unreadable::Damaged(what) => wrong(what),
            })?;
            made = made.or_else(|| RowSettings::of(file.schema()));
            for batch in Batches::of(file).map_err(wrong)? {
                add(&batch.map_err(wrong)?, &mut sums).map_err(wrong)?;
            }
        }
        let mut members = Members { made, ..Members::default() };
        for ((incident, rule), rows) in sums {
            let there = rows.into_iter().filter(|(_, times)| *times > 0).map(|(key, _)| key);
            match (incident, rule) {
                (Some(incident), _) => members.of_incident.entry(incident).or_default().extend(there),
                (None, Some(rule)) => members.muted.entry(rule).or_default().extend(there),
                (None, None) => {}
            }
        }
        members.of_incident.retain(|_, rows| !rows.is_empty());
        members.muted.retain(|_, rows| !rows.is_empty());
        Ok(members)
    }
}

fn add(batch: &RecordBatch, sums: &mut Sums) -> Result<(), String> {
    let windows = numbers::<TimestampNanosecondType>(batch, "window_start")?;
    let flows = numbers::<UInt64Type>(batch, "flow_id")?;
    let signs = numbers::<Int8Type>(batch, "diff")?;
    let (incidents, rules) = (texts(batch, "incident")?, texts(batch, "muted_by")?);
    let name = |names: &StringArray, at: usize| names.is_valid(at).then(|| names.value(at).to_owned());
    for at in 0..batch.num_rows() {
        let window = u64::try_from(windows[at])
            .map_err(|_| format!("row {}: a time before 1970 ({} ns)", at + 1, windows[at]))?;
        let of = sums.entry((name(&incidents, at), name(&rules, at))).or_default();
        *of.entry((window, flows[at])).or_default() += i64::from(signs[at]);
    }
    Ok(())
}

fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("no column `{name}`"))?;
    let texts = cast(column, &DataType::Utf8);
    let texts = texts.map_err(|_| format!("column `{name}` is {}, not text", column.data_type()))?;
    Ok(texts.as_string::<i32>().clone())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int8Array, TimestampNanosecondArray, UInt64Array};
    use parquet::arrow::ArrowWriter;
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    /// Incident, window, flow, rule, sign.
    pub(in crate::report) type MemberRow = (Option<&'static str>, i64, u64, Option<&'static str>, i8);

    /// A file of them in a folder, without a column.
    pub(in crate::report) fn write(folder: &Path, rows: &[MemberRow], leave_out: &str) -> PathBuf {
        let windows = TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.1));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("incident", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.0)))),
            ("window_start", Arc::new(windows.with_timezone("UTC"))),
            ("flow_id", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.2)))),
            ("muted_by", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.3)))),
            ("diff", Arc::new(Int8Array::from_iter_values(rows.iter().map(|row| row.4)))),
        ];
        let columns = columns.into_iter().filter(|(name, _)| *name != leave_out);
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let path = folder.join("incident_rows.parquet");
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    fn members(rows: &[MemberRow], leave_out: &str) -> Result<Members, ReportError> {
        let folder = tempfile::tempdir().unwrap();
        Members::read(&[write(folder.path(), rows, leave_out)])
    }

    #[test]
    fn what_was_taken_back_is_not_there_and_muted_rows_belong_to_no_incident() {
        let rows = [
            (Some("a1"), 30, 7, None, 1),
            (Some("a1"), 40, 7, None, 1),
            (Some("a1"), 30, 7, None, -1),
            (Some("b2"), 30, 9, None, 1),
            (Some("b2"), 30, 9, None, -1),
            (None, 30, 7, Some("backup"), 1),
        ];
        let found = members(&rows, "").unwrap();
        let of = |name: &str, key: RowKey| BTreeMap::from([(name.to_owned(), BTreeSet::from([key]))]);
        assert_eq!(
            found,
            Members { made: None, of_incident: of("a1", (40, 7)), muted: of("backup", (30, 7)) }
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let error = |rows: &[MemberRow], leave_out| members(rows, leave_out).unwrap_err().to_string();
        let said = error(&[(None, -30, 7, None, 1)], "");
        assert!(said.ends_with("incident_rows.parquet: row 1: a time before 1970 (-30 ns)"), "{said}");
        for name in ["incident", "window_start", "flow_id", "muted_by", "diff"] {
            let said = error(&[(None, 1, 7, None, 1)], name);
            assert!(said.ends_with(&format!("incident_rows.parquet: no column `{name}`")), "{said}");
        }
    }
}
