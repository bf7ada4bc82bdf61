//! Why rows score as they do, read for the few rows that are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampNanosecondType, UInt64Type};
use parquet::arrow::ProjectionMask;

use super::number::short;
use super::{EvaluateError, opened};
use crate::detect::reason::{Told, ToldEvidence, ToldHint};
use crate::reading::Batches;
use crate::reading::columns::numbers;
use crate::row::RowKey;

const COLUMNS: [&str; 3] = ["window_start", "flow_id", "reasons"];

/// Why a row scores as it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reasons {
    /// What makes the score, with its nats, as the detector orders it.
    pub(super) parts: Vec<(String, f64)>,
    /// What is odd, in words, the strongest first.
    pub(super) evidence: Vec<String>,
    /// ATT&CK techniques whose shape the row has.
    pub(super) hints: Vec<String>,
}

impl Reasons {
    /// What is odd, in the words of an incident about this host: of whom, where it is not of that.
    pub(super) fn odd_about(&self, host: &str) -> impl Iterator<Item = &str> {
        self.evidence.iter().map(move |words| {
            let of_host = words.strip_prefix(host).and_then(|words| words.strip_prefix(": "));
            of_host.unwrap_or(words)
        })
    }
}

/// What was counted, without what is usual.
fn counted<'a>(evidence: &'a ToldEvidence<'_>) -> &'a str {
    evidence.words.split_once("; usual").map_or(&*evidence.words, |(counted, _)| counted)
}

/// A column's words, of whom; those of a writer that had none are made of what it says.
fn words(evidence: &ToldEvidence<'_>) -> String {
    let ToldEvidence { column, entity, p, words } = evidence;
    match (words.is_empty(), p) {
        (false, _) if entity.is_empty() => words.to_string(),
        (false, _) => format!("{entity}: {words}"),
        (true, Some(p)) => format!("{column} of {entity}: p {}", short(*p)),
        (true, None) => format!("{column} of {entity}"),
    }
}

/// The reasons of some rows of files of scores; nothing where they have none.
///
/// # Errors
/// [`EvaluateError`] if a file cannot be read, or a reason is none.
pub(super) fn read(
    files: &[PathBuf],
    wanted: &BTreeSet<RowKey>,
) -> Result<BTreeMap<RowKey, Reasons>, EvaluateError> {
    let mut found = BTreeMap::new();
    files.iter().try_for_each(|path| read_file(path, wanted, &mut found))?;
    Ok(found)
}

fn read_file(
    path: &Path,
    wanted: &BTreeSet<RowKey>,
    found: &mut BTreeMap<RowKey, Reasons>,
) -> Result<(), EvaluateError> {
    let wrong = |what: String| EvaluateError::Scores { path: path.to_owned(), what };
    let file = opened(path)?;
    let has_all = COLUMNS.iter().all(|name| file.schema().field_with_name(name).is_ok());
    if wanted.is_empty() || !has_all {
        return Ok(());
    }
    let mask = ProjectionMask::columns(file.parquet_schema(), COLUMNS);
    for batch in Batches::of(file.with_projection(mask)).map_err(wrong)? {
        let batch = batch.map_err(wrong)?;
        take(&batch, wanted, found).map_err(wrong)?;
    }
    Ok(())
}

fn take(
    batch: &RecordBatch,
    wanted: &BTreeSet<RowKey>,
    found: &mut BTreeMap<RowKey, Reasons>,
) -> Result<(), String> {
    let windows = numbers::<TimestampNanosecondType>(batch, "window_start")?;
    let flows = numbers::<UInt64Type>(batch, "flow_id")?;
    let reasons = batch.column_by_name("reasons").ok_or_else(|| "no column `reasons`".to_owned())?;
    let reasons = cast(reasons, &DataType::Utf8)
        .map_err(|_| format!("column `reasons` is {}, not text", reasons.data_type()))?;
    let reasons = reasons.as_string::<i32>();
    for at in 0..batch.num_rows() {
        let key = (u64::try_from(windows[at]).unwrap_or(0), flows[at]);
        if !reasons.is_valid(at) || !wanted.contains(&key) {
            continue;
        }
        let told = Told::read(reasons.value(at))
            .map_err(|error| format!("reasons of flow {}: {error}", flows[at]))?;
        // What was counted is said once, with what is usual for the first of several entities.
        let mut evidence: Vec<&ToldEvidence<'_>> = Vec::new();
        for next in &told.evidence {
            if next.words.is_empty() || evidence.iter().all(|said| counted(said) != counted(next)) {
                evidence.push(next);
            }
        }
        let reasons = Reasons {
            parts: told.parts.into_iter().map(|part| (part.name.into(), part.nats)).collect(),
            evidence: evidence.into_iter().map(words).collect(),
            hints: told.hints.iter().map(ToldHint::words).collect(),
        };
        found.insert(key, reasons);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringArray, TimestampNanosecondArray, UInt64Array};
    use std::sync::Arc;

    fn found(text: &str) -> Result<BTreeMap<RowKey, Reasons>, String> {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("window_start", Arc::new(TimestampNanosecondArray::from(vec![10, 10, 20]).with_timezone("UTC"))),
            ("flow_id", Arc::new(UInt64Array::from(vec![1, 2, 1]))),
            ("reasons", Arc::new(StringArray::from(vec![Some(text), Some("{"), None]))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        );
        let mut found = BTreeMap::new();
        take(&batch.unwrap(), &BTreeSet::from([(10, 1), (20, 1)]), &mut found)?;
        Ok(found)
    }

    #[test]
    fn reasons_are_read_of_wanted_rows_alone_and_words_are_made_where_there_are_none() {
        let found = found(
            r#"{"score":9,"total":12,"parts":[{"name":"fan","nats":11.5,"groups":[]}],"hints":[{"technique":"T1046"}],
            "evidence":[{"column":"peers","entity":"10.0.0.1","value":[4,4],"usual":null,"p":0.001,"nats":6.9}]}"#,
        )
        .unwrap();
        let reasons = &found[&(10, 1)];
        assert_eq!((found.len(), reasons.parts[0].1), (1, 11.5));
        assert_eq!(
            (reasons.evidence[0].as_str(), reasons.hints[0].as_str()),
            ("peers of 10.0.0.1: p 0.00100", "T1046")
        );
        let twice = super::tests::found(
            r#"{"score":9,"evidence":[{"entity":"a","words":"58 flows in 10 s; usual 2"},
            {"entity":"a to b","words":"58 flows in 10 s; usual for others 1"},{"words":"58 peers in 10 s"}]}"#,
        );
        let twice = &twice.unwrap()[&(10, 1)];
        assert_eq!(twice.evidence, ["a: 58 flows in 10 s; usual 2", "58 peers in 10 s"]);
        assert_eq!(twice.odd_about("a").next(), Some("58 flows in 10 s; usual 2"));
        assert_eq!(twice.odd_about("b").next(), Some("a: 58 flows in 10 s; usual 2"));
        assert!(super::tests::found("7").unwrap_err().starts_with("reasons of flow 1: "));
    }
}
