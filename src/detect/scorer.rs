//! Rows in, the same rows with their scores out.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, Int16Array, RecordBatch,
    StringArray, StringBuilder,
};
use arrow::compute::{not, nullif};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int16Type, Schema, SchemaRef, TimestampNanosecondType, UInt64Type,
};

use super::reason::facts::Lookup;
use super::reason::hints::hints;
use super::reason::line::line;
use super::reason::vocabulary::Vocabulary;
use super::reason::{ONE_OF, Words};
use super::{AnyError, Detector, Kept, Partitions, Scores};
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
    "why, as JSON (words, value and what is usual); of many anomalies of one window and source, or destination, some have \
     it and the others say one_of how many; null where the row is no anomaly",
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

/// Whether rows of this schema say why.
pub(super) fn tells(schema: &Schema) -> bool {
    schema.index_of(REASONS).is_ok()
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
    let (own, kept) = detector.judge(rows)?;
    let scored = Scored { own, kept, summed: None, many: Vec::new() };
    attached(detector, threshold, rows, schema, scored)
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

/// What is known of rows whose scores are made.
pub(super) struct Scored {
    /// Their scores.
    pub(super) own: Scores,
    /// What the detector kept of them.
    pub(super) kept: Option<Kept>,
    /// The own score and the level that each score is made of, where what lasts is in them.
    pub(super) summed: Option<Vec<(f64, f64)>>,
    /// Of how many odd rows of its window, from its source or to its destination, each is one; nothing where nobody
    /// counted, or nobody is told.
    pub(super) many: Vec<f64>,
}

/// The rows with their scores, in the columns of [`ADDED`].
pub(super) fn attached(
    detector: &dyn Detector,
    threshold: f64,
    rows: &RecordBatch,
    schema: &SchemaRef,
    scored: Scored,
) -> Result<RecordBatch, AnyError> {
    let told = match tells(schema) {
        true => Some(told(detector, threshold, rows, &scored)?),
        false => None,
    };
    let found = scored.own;
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

/// Of the odd rows of one window from one source, and of those to one destination, about so many are told where they are
/// more: an analyst reads no more of a flood, and what it is made of must not be what fills a disk.
const TOLD: f64 = 50.0;

/// Draws those that are told of many, by what names the row: they are the same in every run.
struct Draw<'a> {
    flows: Option<&'a [u64]>,
    windows: Option<&'a [i64]>,
}

impl<'a> Draw<'a> {
    fn of(rows: &'a RecordBatch) -> Draw<'a> {
        let flows = rows.column_by_name("flow_id").and_then(|flows| flows.as_primitive_opt::<UInt64Type>());
        let windows = rows.column_by_name("window_start");
        let windows = windows.and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>());
        Draw {
            flows: flows.map(|flows| flows.values().as_ref()),
            windows: windows.map(|w| w.values().as_ref()),
        }
    }

    /// Whether a row is told that is one of so many.
    fn tells(&self, row: usize, many: f64) -> bool {
        let (Some(flows), true) = (self.flows, many > TOLD) else { return true };
        let window = self.windows.map_or(0, |windows| windows[row] as u64);
        (mix(flows[row] ^ mix(window)) >> 32) as f64 / 2f64.powi(32) * many < TOLD
    }
}

/// Reasons as text ([`Reason::json`](super::Reason::json)) of the rows above the threshold, told with what the rows say;
/// null for the others. Of rows that are one of many, those that are not told say so ([`ONE_OF`]).
fn told(
    detector: &dyn Detector,
    threshold: f64,
    rows: &RecordBatch,
    Scored { own, kept, summed, many }: &Scored,
) -> Result<StringArray, AnyError> {
    let scores = &own.scores;
    let draw = Draw::of(rows);
    let (mut which, mut one_of) = (Vec::new(), Vec::new());
    for row in (0..scores.len()).filter(|row| scores[*row] > threshold) {
        let many = many.get(row).copied().unwrap_or_default();
        match draw.tells(row, many) {
            true => which.push(row),
            false => one_of.push((row, many as u64)),
        }
    }
    if which.is_empty() && one_of.is_empty() {
        return Ok(StringArray::new_null(scores.len()));
    }
    let lookup = Lookup::new(rows);
    let mut vocabulary = Vocabulary::default();
    let mut texts = Texts {
        out: StringBuilder::with_capacity(scores.len(), which.len() * 1024 + one_of.len() * 16),
        one_of: one_of.into_iter().peekable(),
    };
    let (mut words, mut line_of_row, mut text) = (Words::default(), String::new(), String::new());
    detector.reasons(rows, kept.as_ref(), &which, &mut |row, mut reason| {
        if let Some(summed) = summed {
            reason.last(summed[row], scores[row]);
        }
        let facts = lookup.row(row);
        reason.hints = hints(&reason, &facts, &mut vocabulary);
        words.find(&reason, lookup.window, &mut vocabulary);
        line_of_row.clear();
        line(&mut line_of_row, &reason, words.first(), &facts);
        std::mem::swap(&mut reason.line, &mut line_of_row);
        text.clear();
        reason.tell(&mut text, &words);
        std::mem::swap(&mut reason.line, &mut line_of_row);
        texts.up_to(row);
        texts.out.append_value(&text);
    })?;
    texts.up_to(scores.len());
    Ok(texts.out.finish())
}

/// Texts of rows, in their order.
struct Texts<M: Iterator<Item = (usize, u64)>> {
    out: StringBuilder,
    /// Rows that are one of many, and of how many.
    one_of: std::iter::Peekable<M>,
}

impl<M: Iterator<Item = (usize, u64)>> Texts<M> {
    /// Those of all rows before this one that have none yet.
    fn up_to(&mut self, row: usize) {
        while let Some((at, many)) = self.one_of.next_if(|(at, _)| *at < row) {
            self.out.append_nulls(at - self.out.len());
            self.out.append_value(format_args!("{ONE_OF}{many}}}").to_string());
        }
        self.out.append_nulls(row - self.out.len());
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{TimestampNanosecondArray, UInt64Array};

    use super::*;

    fn rows(flows: std::ops::Range<u64>, window: i64) -> RecordBatch {
        let windows = TimestampNanosecondArray::from_iter_values(flows.clone().map(|_| window));
        RecordBatch::try_from_iter([
            ("flow_id", Arc::new(UInt64Array::from_iter_values(flows.map(mix))) as ArrayRef),
            ("window_start", Arc::new(windows.with_timezone("UTC"))),
        ])
        .unwrap()
    }

    /// Which of so many rows of a window are told.
    fn told(many: u64, window: i64, batch: u64) -> Vec<u64> {
        let mut told = Vec::new();
        for from in (0..many).step_by(batch as usize) {
            let rows = rows(from..many.min(from + batch), window);
            let draw = Draw::of(&rows);
            let of_batch = (0..rows.num_rows()).filter(|row| draw.tells(*row, many as f64));
            told.extend(of_batch.map(|row| from + row as u64));
        }
        told
    }

    #[test]
    fn of_many_rows_about_fifty_are_told_and_the_same_however_they_are_cut() {
        assert_eq!(told(50, 7, 50).len(), 50);
        for many in [200, 10_000, 100_000] {
            let all = told(many, 7, many);
            assert!((25..=80).contains(&all.len()), "{} of {many}", all.len());
            assert_eq!(told(many, 7, 37), all);
            assert_ne!(told(many, 8, many), all, "others of the next window");
        }
        let nameless = rows(0..9, 7).project(&[1]).unwrap();
        assert!(Draw::of(&nameless).tells(0, 1e9), "who has no name is told");
    }

    #[test]
    fn texts_stand_in_the_order_of_rows() {
        let one_of = vec![(1, 70), (2, 80), (5, 90)].into_iter().peekable();
        let mut texts = Texts { out: StringBuilder::new(), one_of };
        texts.up_to(3);
        texts.out.append_value("why");
        texts.up_to(7);
        let texts = texts.out.finish();
        let texts: Vec<_> = texts.iter().collect();
        assert_eq!(
            texts,
            [
                None,
                Some("{\"one_of\":70}"),
                Some("{\"one_of\":80}"),
                Some("why"),
                None,
                Some("{\"one_of\":90}"),
                None
            ]
        );
    }
}
