//! Rows in, the same rows with their scores out.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, Int16Array, RecordBatch,
    StringArray, StringBuilder,
};
use arrow::compute::{not, nullif};
use arrow::datatypes::{DataType, Field, Float64Type, Int16Type, Schema, SchemaRef};

use super::reason::Words;
use super::reason::facts::{Facts, Lookup};
use super::reason::hints::hints;
use super::reason::line::line;
use super::reason::vocabulary::Vocabulary;
use super::{AnyError, Asked, Detector, Kept, Partitions, Scores};
use crate::context::entity::mix;

/// Names of the columns that scoring adds.
pub const ADDED: [&str; 5] = ["score", "p_value", "is_anomaly", "partition", REASONS];
const REASONS: &str = "reasons";

/// What they mean.
pub const MEANINGS: [&str; 5] = [
    "how odd the row is, higher is odder: -ln of a probability, of a forest 0 to 1",
    "chance of such a score in rows like those of training",
    "score above the threshold that was in force",
    "the row's value of partition_by, or `all` where rows are not parted; one that training had too few rows of is \
     scored by the fallback (inspect)",
    "why, as JSON (words, value and what is usual); null where the row is no anomaly",
];

/// Metadata key of the threshold that rows were marked by, where that changes while a run goes on.
pub const THRESHOLD: &str = "netweir.threshold";

/// The schema of scored rows.
pub fn scored_schema(rows: &Schema) -> SchemaRef {
    let text = DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8));
    let added = [DataType::Float64, DataType::Float64, DataType::Boolean, text, DataType::Utf8];
    let fields = rows.fields().iter().filter(|field| !ADDED.contains(&field.name().as_str())).cloned();
    let added =
        ADDED.iter().zip(added).map(|(name, kind)| Arc::new(Field::new(*name, kind, *name == REASONS)));
    Arc::new(Schema::new(fields.chain(added).collect::<Vec<_>>()).with_metadata(rows.metadata().clone()))
}

/// The schema of scored rows without reasons, whose words take columns that scores do not.
pub fn scored_schema_without_reasons(rows: &Schema) -> SchemaRef {
    let whole = scored_schema(rows);
    let fields = whole.fields().iter().filter(|field| field.name() != REASONS).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()).with_metadata(whole.metadata().clone()))
}

/// The rows with their scores, each by itself, in the columns of [`ADDED`]; scores above the threshold are anomalies,
/// `schema` is that of [`scored_schema`], or of [`scored_schema_without_reasons`].
///
/// # Errors
/// If the rows are not of the make that the detector was fitted on.
pub fn scored(
    detector: &dyn Detector,
    threshold: f64,
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, AnyError> {
    let (scores, kept) = detector.judge(rows)?;
    attached(detector, threshold, rows, schema, (scores, kept), None)
}

/// Scored rows with the anomalies of another threshold, not below the one that they were scored with, which the schema
/// then names. Also how many there are.
///
/// # Errors
/// For rows that were not scored.
pub fn marked(rows: &RecordBatch, threshold: f64) -> Result<(RecordBatch, usize), AnyError> {
    let schema = rows.schema_ref();
    let place = |name: &str| schema.index_of(name);
    let (score, anomaly, reasons) = (place("score")?, place("is_anomaly")?, place(REASONS)?);
    let scores =
        rows.column(score).as_primitive_opt::<Float64Type>().ok_or("column `score` has no numbers")?;
    let anomalies: BooleanArray = scores.values().iter().map(|score| Some(*score > threshold)).collect();
    let count = anomalies.true_count();
    let mut columns = rows.columns().to_vec();
    columns[reasons] = nullif(rows.column(reasons).as_ref(), &not(&anomalies)?)?;
    columns[anomaly] = Arc::new(anomalies);
    let mut metadata = schema.metadata().clone();
    metadata.insert(THRESHOLD.to_owned(), format!("{threshold:?}"));
    let schema = Arc::new(Schema::new(schema.fields().clone()).with_metadata(metadata));
    Ok((RecordBatch::try_new(schema, columns)?, count))
}

/// The rows with these scores and what the detector kept of them; `summed` are the own score and the level that each is made of, where what lasts is in
/// them.
pub(super) fn attached(
    detector: &dyn Detector,
    threshold: f64,
    rows: &RecordBatch,
    schema: &SchemaRef,
    (found, kept): (Scores, Option<Kept>),
    summed: Option<&[(f64, f64)]>,
) -> Result<RecordBatch, AnyError> {
    let told = match schema.index_of(REASONS) {
        Ok(_) => Some(told(detector, threshold, rows, (&found.scores, kept.as_ref()), summed)?),
        Err(_) => None,
    };
    let anomalies: BooleanArray = found.scores.iter().map(|score| Some(*score > threshold)).collect();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        if !ADDED.contains(&field.name().as_str()) {
            columns.push(column.clone());
        }
    }
    columns.push(Arc::new(Float64Array::from(found.scores)));
    columns.push(Arc::new(Float64Array::from(found.p_values)));
    columns.push(Arc::new(anomalies));
    columns.push(Arc::new(names(&found.partitions)));
    columns.extend(told.map(|told| Arc::new(told) as ArrayRef));
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn names(partitions: &Partitions) -> DictionaryArray<Int16Type> {
    let keys: Int16Array = partitions.of_row().iter().map(|index| Some(*index as i16)).collect();
    let values: StringArray = partitions.names().iter().map(|name| Some(name.as_ref())).collect();
    DictionaryArray::new(keys, Arc::new(values))
}

/// Flows of one service, from one source or to one destination in a window, whose reasons are told in full.
const IN_FULL: f64 = 64.0;

/// Whether a row is one of a flood whose reason is told in brief: of so many flows some are told in full, chosen by
/// what names the row, so that they are the same in every run.
fn is_one_of_many(facts: &Facts<'_>) -> bool {
    let at = facts.at();
    let flows = [at.ctx_srcsvc_w1_flows, at.ctx_dstsvc_w1_flows];
    let flows = flows.map(|place| facts.number_at(place).unwrap_or(0.0)).into_iter().fold(0.0, f64::max);
    let Some(flow) = facts.number_at(at.flow_id).filter(|_| flows > IN_FULL) else { return false };
    (mix(flow.to_bits()) >> 32) as f64 / 2f64.powi(32) * flows >= IN_FULL
}

/// Reasons as text ([`Reason::json`](super::Reason::json)) of the rows above the threshold, told with what the rows say;
/// null for the others.
fn told(
    detector: &dyn Detector,
    threshold: f64,
    rows: &RecordBatch,
    (scores, kept): (&[f64], Option<&Kept>),
    summed: Option<&[(f64, f64)]>,
) -> Result<StringArray, AnyError> {
    let odd: Vec<usize> = (0..scores.len()).filter(|row| scores[*row] > threshold).collect();
    if odd.is_empty() {
        return Ok(StringArray::new_null(scores.len()));
    }
    let lookup = Lookup::new(rows);
    let asked = |row: usize| Asked { row, brief: is_one_of_many(&lookup.row(row)) };
    let which: Vec<Asked> = odd.into_iter().map(asked).collect();
    let mut vocabulary = Vocabulary::default();
    let mut texts = StringBuilder::with_capacity(scores.len(), which.len() * 1024);
    let (mut words, mut line_of_row, mut text) = (Words::default(), String::new(), String::new());
    detector.reasons(rows, kept, &which, &mut |Asked { row, brief }, mut reason| {
        let (row, brief) = (*row, *brief);
        if let Some(summed) = summed {
            reason.last(summed[row], scores[row]);
        }
        let facts = lookup.row(row);
        reason.hints = hints(&reason, &facts, &mut vocabulary);
        words.find(&reason, lookup.window, brief, &mut vocabulary);
        line_of_row.clear();
        line(&mut line_of_row, &reason, words.first(), &facts);
        std::mem::swap(&mut reason.line, &mut line_of_row);
        text.clear();
        reason.tell(&mut text, &words, brief);
        std::mem::swap(&mut reason.line, &mut line_of_row);
        texts.append_nulls(row - texts.len());
        texts.append_value(&text);
    })?;
    texts.append_nulls(scores.len() - texts.len());
    Ok(texts.finish())
}
