//! The detector `forest`: columns encoded to numbers, isolation forests by partition.

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Map, Value, json};

use super::isolation_reasons::Told;
use super::outline::{Line, grouped, percent};
use super::reason::facts::Lookup;
use super::usual::{self, Usuals};
use super::{
    AnyError, DetectError, DetectSettings, DetectSpec, Detector, Identity, Kept, PartitionBy,
    PartitionSummary, PartitionedForest, Reason, Reservoir, Scores, Threshold, partitions,
};
use crate::encode::{EncodeError, EncodeSpec, Encoder, Encoders, FEWEST, Fit, input_type};
use crate::reading::{Damage, Table, Tables};
use crate::row::names::nearest;

/// Tables of the model file.
pub(super) const TABLES: [&str; 5] = ["calibration", "encoders", "forest", "tail", usual::TABLE];

/// Partitions that are listed, the largest; the others are summed up.
const LISTED: usize = 16;

/// Encoders and forests.
#[derive(Debug, Clone)]
pub struct Isolation {
    encoders: Encoders,
    forest: PartitionedForest,
    told: Told,
    /// Columns that rows must have.
    columns: Vec<Field>,
    /// Whether the last of them is one that only names partitions.
    unread: bool,
}

/// What one pass over rows learns for it.
pub(super) struct IsolationLearning {
    fit: Fit,
    reservoir: Reservoir,
    by: PartitionBy,
    unread: Option<Field>,
    columns: Vec<usize>,
}

impl IsolationLearning {
    pub(super) fn new(
        encode: &EncodeSpec,
        detect: &DetectSettings,
        seed: u64,
        schema: &Schema,
    ) -> Result<IsolationLearning, AnyError> {
        let fit = Fit::new(encode, schema)?;
        let by = detect.partition_by().clone();
        let mut unread = None;
        if let Some(column) = by.column() {
            let missing = || DetectError::NoColumn { column: column.to_owned() };
            let field = schema.field_with_name(column).map_err(|_| missing())?;
            if fit.columns().all(|name| name != column) {
                let kind = input_type(field.data_type()).ok_or_else(|| DetectError::ColumnType {
                    column: column.to_owned(),
                    found: field.data_type().to_string(),
                })?;
                unread = Some(Field::new(column, kind, true));
            }
        }
        // Only what the encoders read is kept of a row.
        let columns = fit.columns().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
        let reservoir = Reservoir::new(detect.reservoir(), seed);
        Ok(IsolationLearning { fit, reservoir, by, unread, columns })
    }

    pub(super) fn observe(&mut self, rows: &RecordBatch, identities: &[Identity]) -> Result<(), AnyError> {
        self.fit.observe(rows)?;
        let partitions = partitions(rows, &self.by)?;
        let kept = rows.project(&self.columns)?;
        Ok(self.reservoir.observe(&kept, &partitions, identities)?)
    }

    /// Names of the columns of rows that are read.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.fit.columns().chain(self.by.column())
    }

    pub(super) fn rows(&self) -> u64 {
        self.fit.rows()
    }

    pub(super) fn merge(&mut self, other: IsolationLearning) -> Result<(), AnyError> {
        self.fit.merge(other.fit)?;
        Ok(self.reservoir.merge(other.reservoir)?)
    }

    pub(super) fn finish(self, detect: &DetectSettings, seed: u64) -> Result<Isolation, AnyError> {
        let encoders = self.fit.finish()?;
        let samples = self.reservoir.finish()?;
        let encode = |rows: &RecordBatch| encoders.encode(rows).map_err(AnyError::from);
        let forest = PartitionedForest::fit(&samples, &encode, detect, seed)?;
        Ok(Isolation::new(encoders, forest, Usuals::learned(&samples), self.unread))
    }
}

impl Isolation {
    fn new(
        encoders: Encoders,
        forest: PartitionedForest,
        usuals: Usuals,
        partition_column: Option<Field>,
    ) -> Isolation {
        let unread = partition_column.is_some();
        let columns = encoders.columns().iter().cloned().chain(partition_column).collect();
        let names = encoders.columns().iter().map(|column| column.name().clone()).collect();
        let told = Told::new(names, encoders.origins(), usuals);
        Isolation { encoders, forest, told, columns, unread }
    }

    /// Reads its tables.
    ///
    /// # Errors
    /// What is damaged of them, or of what the manifest says.
    pub(super) fn read(
        spec: &DetectSpec,
        seed: u64,
        features: usize,
        columns: &[Field],
        tables: &Tables,
    ) -> Result<Isolation, Damage> {
        let encoders = Table::find(tables, "encoders")?;
        let encoders = Encoders::from_table(encoders.rows).map_err(|error| encoders.damaged(error))?;
        let usuals = Usuals::from_tables(tables)?;
        let settings = spec.check().map_err(Damage::of_settings)?;
        let forest = PartitionedForest::read(settings, seed, features, tables)?;
        let unread = columns.get(encoders.columns().len()).cloned();
        let read = Isolation::new(encoders, forest, usuals, unread);
        let (expected, found) = (read.encoders.features().len(), read.forest.features());
        if expected != found {
            let what = format!("encoders give {expected} features, the forest was grown on {found}");
            return Err(Damage::of_settings(what));
        }
        Ok(read)
    }
}

impl Detector for Isolation {
    fn score(&self, rows: &RecordBatch) -> Result<Scores, AnyError> {
        let partitions = partitions(rows, self.forest.detect_settings().partition_by())?;
        let encoded = self.encoders.encode(rows)?;
        let scores = self.forest.score(encoded.view(), &partitions)?;
        let p_values = scores.iter().map(|score| self.forest.p_value(*score)).collect();
        Ok(Scores { scores, p_values, partitions, newcomers: Vec::new() })
    }

    fn threshold(&self) -> f64 {
        self.forest.threshold()
    }

    fn threshold_at(&self, false_alarm_rate: f64) -> Result<f64, DetectError> {
        self.forest.threshold_at(false_alarm_rate)
    }

    fn threshold_for(&self, asked: Threshold) -> Result<f64, DetectError> {
        self.forest.threshold_for(asked)
    }

    fn check(&self, schema: &Schema) -> Result<(), EncodeError> {
        self.encoders.check(schema)?;
        let Some(expected) = self.columns.last().filter(|_| self.unread) else { return Ok(()) };
        let found = schema.field_with_name(expected.name()).ok().map(Field::data_type);
        // Partitions are compared as text, which whole numbers of any width have alike.
        let both_whole = |found: &DataType| found.is_integer() && expected.data_type().is_integer();
        if found
            .and_then(input_type)
            .is_some_and(|found| found == *expected.data_type() || both_whole(&found))
        {
            return Ok(());
        }
        Err(differs(expected, found, schema))
    }

    fn columns(&self) -> &[Field] {
        &self.columns
    }

    fn features(&self) -> usize {
        self.encoders.features().len()
    }

    fn rows(&self) -> Option<u64> {
        let mut rows = self.forest.partitions().iter().map(|partition| partition.rows);
        rows.try_fold(0u64, u64::checked_add)
    }

    fn settings(&self) -> (&DetectSpec, u64) {
        (self.forest.detect_settings().spec(), self.forest.seed())
    }

    fn tables(&self) -> Result<Vec<(String, RecordBatch)>, DetectError> {
        let mut tables = self.forest.tables()?;
        tables.push(("encoders".to_owned(), self.encoders.to_table()));
        tables.push((usual::TABLE.to_owned(), self.told.usuals().to_table()?));
        Ok(tables)
    }

    fn notes(&self) -> Vec<String> {
        self.short().into_iter().chain(self.alike()).collect()
    }

    fn reasons(
        &self,
        rows: &RecordBatch,
        _: Option<&Kept>,
        which: &[usize],
        tell: &mut dyn FnMut(usize, Reason),
    ) -> Result<(), AnyError> {
        if which.is_empty() {
            return Ok(());
        }
        let by = self.forest.detect_settings().partition_by();
        let places = self.columns.iter().map(|column| rows.schema_ref().index_of(column.name()));
        let read = rows.project(&places.collect::<Result<Vec<_>, _>>()?)?;
        let of_rows = UInt64Array::from_iter_values(which.iter().map(|row| *row as u64));
        let read = take_record_batch(&read, &of_rows)?;
        let (encoded, partitions) = (self.encoders.encode(&read)?, partitions(&read, by)?);
        let scores = self.forest.score(encoded.view(), &partitions)?;
        let shares = self.forest.shares(encoded.view(), &partitions);
        let lookup = Lookup::new(rows);
        for (at, row) in which.iter().enumerate() {
            let facts = lookup.row(*row);
            tell(*row, self.told.reason(scores[at], &shares[at], partitions.name(at), &facts));
        }
        Ok(())
    }

    fn outline(&self) -> Vec<Line> {
        let mut lines = self.outline_columns();
        lines.extend(self.outline_forest());
        lines
    }

    fn describe_json(&self) -> Map<String, Value> {
        let partition = |partition: &PartitionSummary| {
            json!({
                "partition": &*partition.partition,
                "rows": partition.rows,
                "kept": partition.kept,
                "forest": if partition.sample.is_some() { "own" } else { "fallback" },
                "sample": partition.sample,
            })
        };
        let forest = &self.forest;
        let all = json!({
            "encoders": self.encoders.describe_json(),
            "features": self.encoders.features(),
            "threshold": forest.threshold(),
            "fallback_sample": forest.fallback().sample(),
            "partitions": forest.partitions().iter().map(partition).collect::<Value>(),
        });
        all.as_object().cloned().unwrap_or_default()
    }
}

pub(super) fn differs(expected: &Field, found: Option<&DataType>, schema: &Schema) -> EncodeError {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    EncodeError::Differs {
        column: expected.name().clone(),
        expected: expected.data_type().clone(),
        found: found.cloned(),
        nearest: match found {
            Some(_) => None,
            None => nearest(expected.name(), names),
        },
    }
}

impl Isolation {
    /// That training was too short for rows that are held out.
    fn short(&self) -> Option<String> {
        let note = || {
            format!(
                "training has fewer than {FEWEST} windows, three blocks: p-values are by rows that the forest was grown \
                 from, and false alarms are more than promised; train on more"
            )
        };
        (!self.forest.held_out()).then(note)
    }

    /// That no tree tells rows apart.
    fn alike(&self) -> Option<String> {
        let splits = self.forest.fallback().trees().iter().any(|tree| tree.nodes().len() > 1);
        (!splits).then(|| {
            "all rows of training are alike in the columns that are judged: every row will have the same score; name \
             columns that vary, or train on more"
                .to_owned()
        })
    }

    fn outline_columns(&self) -> Vec<Line> {
        let features = self.encoders.features().len();
        let mut lines =
            vec![Line::Title(format!("Columns: {} read, {features} features", self.columns.len()))];
        let columns = self.encoders.describe_json();
        let columns = columns.as_array().map(Vec::as_slice).unwrap_or_default();
        for encoder in Encoder::ALL {
            let names: Vec<String> = columns
                .iter()
                .filter(|column| column["encoder"] == encoder.name())
                .map(|column| {
                    let name = column["column"].as_str().unwrap_or_default().to_owned();
                    match column["values"].as_array() {
                        Some(values) => format!("{name} ({} values and other)", values.len()),
                        None => name,
                    }
                })
                .collect();
            if !names.is_empty() {
                lines.push(Line::Names(format!("{encoder} {}", names.len()), names));
            }
        }
        if let Some(column) = self.columns.last().filter(|_| self.unread) {
            let text = format!("{} (names partitions)", column.name());
            lines.push(Line::Field("not encoded".to_owned(), text));
        }
        lines
    }

    fn outline_forest(&self) -> Vec<Line> {
        let (forest, settings) = (&self.forest, self.forest.detect_settings());
        let field = |label: &str, text: String| Line::Field(label.to_owned(), text);
        let (trees, sample) = (grouped(settings.trees() as u64), grouped(settings.sample() as u64));
        let by = match settings.partition_by() {
            PartitionBy::None => "nothing: one forest for all rows".to_owned(),
            PartitionBy::ProtocolClass => "protocol class: tcp, udp, icmp or other".to_owned(),
            PartitionBy::Column(column) => format!("values of column {column}"),
        };
        let above = percent(settings.threshold().share_above());
        let mut lines = vec![
            Line::Title(format!("Detector: {}", settings.spec().detector)),
            field("forest", format!("{trees} trees, each of {sample} rows at most")),
            field("partitioned by", by),
            field(
                "anomaly",
                format!("score above {:.6}, as {above} % of the training rows may", forest.threshold()),
            ),
        ];
        let held_out = "by rows held out: each scored by forests grown from other times";
        lines.push(field("p-values", self.short().unwrap_or_else(|| held_out.to_owned())));
        lines.extend(self.alike().map(|note| field("rows", note)));
        if *settings.partition_by() == PartitionBy::None {
            return lines;
        }
        lines.push(Line::Text(String::new()));
        let row = |name: &str, rows: &str, share: &str, kept: &str, forest: &str| {
            let line = format!("  {name:<20} {rows:>15} {share:>7} {kept:>11}  {forest}");
            Line::Text(line.trim_end().to_owned())
        };
        lines.push(row("partition", "rows", "share", "rows kept", "scored by"));
        let mut partitions: Vec<&PartitionSummary> = forest.partitions().iter().collect();
        partitions.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.partition.cmp(&b.partition)));
        let all = self.rows().unwrap_or(0).max(1);
        let share = |rows: u64| format!("{:.1} %", 100.0 * rows as f64 / all as f64);
        for partition in partitions.iter().take(LISTED) {
            let scored = match partition.sample {
                Some(_) => "its own forest".to_owned(),
                None => format!("the fallback (under {} rows)", grouped(settings.min_partition())),
            };
            let (rows, kept) = (grouped(partition.rows), grouped(partition.kept));
            lines.push(row(&partition.partition, &rows, &share(partition.rows), &kept, &scored));
        }
        let rest = &partitions[partitions.len().min(LISTED)..];
        if !rest.is_empty() {
            let rows: u64 = rest.iter().map(|partition| partition.rows).sum();
            let kept: u64 = rest.iter().map(|partition| partition.kept).sum();
            let own = rest.iter().filter(|partition| partition.sample.is_some()).count();
            let name = format!("{} smaller ones", rest.len());
            let scored = format!("{own} own, {} fallback", rest.len() - own);
            lines.push(row(&name, &grouped(rows), &share(rows), &grouped(kept), &scored));
        }
        lines.push(row("(any other)", "", "", "", "the fallback, grown from all partitions"));
        lines
    }
}
