//! Parquet rows as a source: extracted rows, many files merged by window, or any table row by row.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampNanosecondType, UInt64Type};
use arrow::record_batch::RecordBatch;
use hashbrown::HashSet;
use parquet::arrow::ProjectionMask;
use parquet::file::statistics::Statistics;
use parquet::schema::types::SchemaDescriptor;

pub use super::row_errors::RowsError;
use super::types::{handed_out, in_order};
use super::widening::widened;
use crate::reading::{self, Batches, Opened, Unreadable};
use crate::row::RowSettings;
use crate::row::columns::{find, is_context};

/// Rows that are read at a time.
const BATCH: usize = 8192;

/// Rows of all files that are open at once, as far as `LEAST` allows: a row has hundreds of columns.
const TOGETHER: usize = 8 * BATCH;

/// Rows that are read at a time, however many files are open.
const LEAST: usize = 256;

/// Columns that detection and the context room add: read again they would be stale.
const ADDED: [&str; 5] = ["score", "is_anomaly", "partition", "p_value", "reasons"];

/// Columns of the file that a report has beside its scores: who gives a whole report gives that, too.
const INCIDENT_ROWS: [&str; 5] = ["incident", "window_start", "flow_id", "muted_by", "diff"];

/// Rows handed out together.
#[derive(Debug)]
pub struct Piece {
    /// Window start for rows; for tables the number of the first row over all inputs.
    pub window: u64,
    /// Order among pieces of one window.
    pub number: u32,
    /// The rows.
    pub rows: RecordBatch,
}

impl Piece {
    /// From the first packet of its rows to the last, nanoseconds since the Unix epoch; `None` where the columns that
    /// say it are not there, or not read.
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let times = |name: &str| {
            let column = self.rows.column_by_name(name)?;
            column.as_primitive_opt::<TimestampNanosecondType>()
        };
        let first = arrow::compute::min(times("row_start")?)?;
        let last = arrow::compute::max(times("row_end")?)?;
        Some((u64::try_from(first).ok()?, u64::try_from(last).ok()?))
    }
}

/// One file.
struct Input {
    path: PathBuf,
    reader: Option<Batches>,
    rest: Option<RecordBatch>,
    window: u64,
    /// Rows that were handed out.
    read: u64,
    /// Whether it is read row by row, since something in it cannot be.
    careful: bool,
    done: bool,
}

/// Files of rows, read in the order of their windows; tables in the order given.
pub struct RowsFeed {
    inputs: Vec<Input>,
    schema: SchemaRef,
    settings: Option<RowSettings>,
    /// How long windows are, if that is known.
    length: Option<u64>,
    number: u32,
    rows: u64,
    total: u64,
    /// Rows that were handed out of a window, the last one, by their `flow_id`.
    known: (u64, HashSet<u64>),
    /// Whether what cannot be read is left out.
    lax: bool,
    /// Why which files were left out, or not used to their ends.
    cut_short: Vec<String>,
}

fn open(path: &Path) -> Result<Opened, RowsError> {
    reading::open(path).map_err(|error| match (&error, compression(path)) {
        (Unreadable::Damaged(_), Some(how)) => RowsError::Compressed { path: path.to_owned(), how },
        _ => unreadable(path, error),
    })
}

fn unreadable(path: &Path, error: Unreadable) -> RowsError {
    match error {
        Unreadable::Io(source) => RowsError::Io { path: path.to_owned(), source },
        Unreadable::Damaged(what) => RowsError::Damaged { path: path.to_owned(), what },
    }
}

/// How a file as a whole is compressed, by what it begins with.
fn compression(path: &Path) -> Option<&'static str> {
    let mut head = [0; 4];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    match head {
        [0x1F, 0x8B, ..] => Some("gzip"),
        [0x28, 0xB5, 0x2F, 0xFD] => Some("zstd"),
        [b'P', b'K', 3, 4] => Some("zip"),
        _ => None,
    }
}

/// Whether a column is read.
fn wanted(field: &Field) -> bool {
    !is_context(field.name()) && !ADDED.contains(&field.name().as_str())
}

impl RowsFeed {
    /// Opens files; at least one. Where that is `lax`, those that cannot be read are left out, as long as one is left.
    ///
    /// # Errors
    /// [`RowsError`] if a file is no Parquet, or its rows are made in another way than the first file's.
    pub fn open(paths: &[PathBuf], lax: bool) -> Result<RowsFeed, RowsError> {
        let mut inputs = Vec::with_capacity(paths.len());
        let mut common: Option<(PathBuf, Schema, Option<RowSettings>)> = None;
        let mut total = 0;
        let (mut cut_short, mut first_error) = (Vec::new(), None);
        for path in paths {
            let (builder, first) = match look_at(path) {
                Err(error) if lax && error.is_of_bytes() => {
                    cut_short.push(error.to_string());
                    first_error.get_or_insert(error);
                    continue;
                }
                looked => looked.map_err(RowsError::advised)?,
            };
            let whole = builder.schema();
            if let Some(column) = named_twice(whole) {
                return Err(RowsError::Twice { path: path.clone(), column: column.to_owned() });
            }
            if whole.fields().iter().map(|field| field.name()).eq(INCIDENT_ROWS) {
                return Err(RowsError::Incidents { path: path.clone() });
            }
            if let Some(version) = RowSettings::other_version(whole) {
                return Err(RowsError::Version { path: path.clone(), found: version.to_owned() });
            }
            let settings = RowSettings::of(whole);
            let of_flows = settings.is_some();
            let fields = whole.fields().iter().filter(|field| !of_flows || wanted(field));
            let schema = Schema::new(fields.map(|field| handed_out(field, of_flows)).collect::<Vec<_>>());
            if of_flows {
                has_flow_ids(path, &schema)?;
            }
            total += builder.metadata().file_metadata().num_rows().max(0) as u64;
            match &mut common {
                None => common = Some((path.clone(), schema, settings)),
                Some((first, expected, expected_settings)) => {
                    match (&settings, &expected_settings) {
                        (None, Some(_)) => {
                            return Err(RowsError::NoSettings { path: path.clone(), other: first.clone() });
                        }
                        (Some(_), None) => {
                            return Err(RowsError::NoSettings { path: first.clone(), other: path.clone() });
                        }
                        (settings, expected) if settings != *expected => {
                            return Err(RowsError::OtherSettings {
                                path: path.clone(),
                                first: first.clone(),
                            });
                        }
                        _ => {}
                    }
                    // Rows of flows have the types that the dictionary says.
                    let tables = settings.is_none();
                    match (widened(expected, &schema).filter(|_| tables), first_difference(expected, &schema))
                    {
                        (Some(wider), _) => *expected = wider,
                        (None, Some((column, found, expected))) => {
                            let (path, first) = (path.clone(), first.clone());
                            return Err(RowsError::Differs { path, first, column, found, expected });
                        }
                        (None, None) => {}
                    }
                }
            }
            inputs.push(Input {
                path: path.clone(),
                reader: None,
                rest: None,
                window: first,
                read: 0,
                careful: false,
                done: false,
            });
        }
        let Some((_, schema, settings)) = common else {
            return Err(first_error.expect("callers give at least one file"));
        };
        let schema = match &settings {
            Some(settings) => schema.with_metadata(settings.metadata()),
            None => schema,
        };
        let known = (0, HashSet::new());
        Ok(RowsFeed {
            inputs,
            schema: Arc::new(schema),
            settings,
            length: None,
            number: 0,
            rows: 0,
            total,
            known,
            lax,
            cut_short,
        })
    }

    /// Why which files were left out, or not used to their ends: a line each.
    pub fn cut_short(&self) -> &[String] {
        &self.cut_short
    }

    /// Columns of the rows that are handed out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Windows are so many nanoseconds long, and begin at multiples of that.
    pub fn of_windows(&mut self, length: Option<u64>) {
        self.length = length;
    }

    /// Reads no other columns than those named.
    pub fn keep(&mut self, named: impl Fn(&str) -> bool) {
        let fields = self.schema.fields().iter().filter(|field| named(field.name())).cloned();
        let schema = Schema::new(fields.collect::<Vec<_>>());
        self.schema = Arc::new(schema.with_metadata(self.schema.metadata().clone()));
    }

    /// How the rows were made; `None` for tables of other making.
    pub fn settings(&self) -> Option<&RowSettings> {
        self.settings.as_ref()
    }

    /// Rows read, rows of all files.
    pub fn progress(&self) -> (u64, u64) {
        (self.rows, self.total)
    }

    /// The smallest window that is still to come (for tables: the number of the next piece);
    /// `u64::MAX` at the end.
    pub fn frontier(&self) -> u64 {
        let next = self.inputs.iter().filter(|input| !input.done).map(|input| input.window).min();
        match (next, &self.settings) {
            (None, _) => u64::MAX,
            (Some(window), Some(_)) => window,
            (Some(_), None) => u64::from(self.number),
        }
    }

    /// The next rows: of one window, or a batch of a table. `None` at the end.
    ///
    /// # Errors
    /// [`RowsError`] for damage and for rows out of order.
    pub fn read(&mut self) -> Result<Option<Piece>, RowsError> {
        let sorted = self.settings.is_some();
        loop {
            let open = self.inputs.iter().enumerate().filter(|(_, input)| !input.done);
            let next = if sorted {
                open.min_by_key(|(index, input)| (input.window, *index)).map(|(index, _)| index)
            } else {
                open.map(|(index, _)| index).next()
            };
            let Some(index) = next else { return Ok(None) };
            let others = self.inputs.iter().filter(|input| input.reader.is_some()).count();
            let at_once = (TOGETHER / (others + 1)).clamp(LEAST, BATCH);
            let batch = match self.inputs[index].batch(&self.schema, sorted, at_once) {
                Err(error) if self.lax && error.is_of_bytes() => {
                    self.cut_short.extend(self.inputs[index].give_up(&error));
                    continue;
                }
                batch => batch.map_err(RowsError::advised)?,
            };
            let Some(batch) = batch else { continue };
            let input = &mut self.inputs[index];
            let (window, count) =
                if sorted { input.run(&batch, self.length)? } else { (self.rows, batch.num_rows()) };
            if count < batch.num_rows() {
                input.rest = Some(batch.slice(count, batch.num_rows() - count));
            }
            if sorted && window > input.window {
                // Another input may hold an earlier window: look again.
                input.window = window;
                input.rest = Some(batch);
                continue;
            }
            let rows = batch.slice(0, count);
            if sorted && let Some(row) = known_already(&mut self.known, window, &rows) {
                return Err(RowsError::Again { path: input.path.clone(), row: input.read + row as u64 + 1 });
            }
            input.read += count as u64;
            self.rows += count as u64;
            let number = self.number;
            self.number += 1;
            return Ok(Some(Piece { window, number, rows }));
        }
    }
}

impl Input {
    /// Goes back to the last row that was handed out, and reads on row by row up to what cannot be read; there it ends.
    /// Returns why.
    fn give_up(&mut self, error: &RowsError) -> Option<String> {
        self.reader = None;
        if !self.careful {
            self.careful = true;
            return None;
        }
        self.done = true;
        Some(format!("{error}: {} rows before that were used", self.read))
    }

    /// The rows read and not yet handed out, else the next batch, of so many `at_once`. Flow rows have no nulls where none
    /// can be.
    fn batch(
        &mut self,
        schema: &SchemaRef,
        flows: bool,
        at_once: usize,
    ) -> Result<Option<RecordBatch>, RowsError> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        if self.reader.is_none() {
            let builder = open(&self.path)?;
            let mask = columns_of(builder.parquet_schema(), schema);
            let builder = match self.careful {
                true => builder.with_projection(mask).with_batch_size(1).with_offset(self.read as usize),
                false => builder.with_projection(mask).with_batch_size(at_once),
            };
            self.reader =
                Some(Batches::of(builder).map_err(|what| unreadable(&self.path, Unreadable::of(what)))?);
        }
        loop {
            match self.reader.as_mut().and_then(Iterator::next) {
                None => {
                    self.done = true;
                    self.reader = None;
                    return Ok(None);
                }
                Some(Err(what)) => return Err(unreadable(&self.path, Unreadable::of(what))),
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => {
                    let rows = in_order(&self.path, schema, &batch)?;
                    if flows && let Some((row, column)) = first_null(&rows) {
                        let (path, row) = (self.path.clone(), self.read + row as u64 + 1);
                        return Err(RowsError::Null { path, row, column });
                    }
                    if flows && let Some(row) = first_backwards(&rows) {
                        let row = self.read + row as u64 + 1;
                        return Err(RowsError::Backwards { path: self.path.clone(), row });
                    }
                    return Ok(Some(rows));
                }
            }
        }
    }

    /// Window of the first row, and how many rows from there on are of it. Windows of some `length` begin at multiples of it.
    fn run(&self, batch: &RecordBatch, length: Option<u64>) -> Result<(u64, usize), RowsError> {
        let starts = window_starts(&self.path, batch)?;
        let values = starts.values();
        let window = values[0];
        let count = values.iter().take_while(|start| **start == window).count();
        let back = |row: usize| RowsError::Order { path: self.path.clone(), row: self.read + row as u64 + 1 };
        let window = u64::try_from(window).map_err(|_| RowsError::Value {
            path: self.path.clone(),
            column: "window_start".to_owned(),
            what: format!("row {} is of a time before 1970", self.read + 1),
        })?;
        if window < self.window || values.get(count).is_some_and(|next| *next < values[0]) {
            return Err(back(if window < self.window { 0 } else { count }));
        }
        if let Some(length) = length.filter(|length| !window.is_multiple_of(*length)) {
            return Err(RowsError::Shifted { path: self.path.clone(), row: self.read + 1, window: length });
        }
        Ok((window, count))
    }
}

/// The columns of a file that a schema names. By their places: parquet-rs takes a name with dots (`id.orig_h`) for a way
/// through nested columns.
fn columns_of(file: &SchemaDescriptor, schema: &Schema) -> ProjectionMask {
    let names: BTreeSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let roots = file.root_schema().get_fields().iter().enumerate();
    let wanted = roots.filter(|(_, root)| names.contains(root.name())).map(|(place, _)| place);
    ProjectionMask::roots(file, wanted)
}

/// A name that two columns have.
fn named_twice(schema: &Schema) -> Option<&str> {
    let mut names = BTreeSet::new();
    schema.fields().iter().map(|field| field.name().as_str()).find(|name| !names.insert(*name))
}

/// The first of these rows of a window that was there before. Twice counted, it would be context of its own, and odd.
fn known_already(known: &mut (u64, HashSet<u64>), window: u64, rows: &RecordBatch) -> Option<usize> {
    if known.0 != window {
        known.0 = window;
        known.1.clear();
    }
    let ids = rows.column_by_name("flow_id")?.as_primitive_opt::<UInt64Type>()?;
    ids.values().iter().position(|id| !known.1.insert(*id))
}

/// The first row with a null where the dictionary of columns knows none, and the column.
fn first_null(rows: &RecordBatch) -> Option<(usize, String)> {
    let fields = rows.schema_ref().fields();
    let holey = fields.iter().zip(rows.columns()).filter(|(_, column)| column.null_count() > 0);
    let mut wrong = holey.filter(|(field, _)| find(field.name()).is_some_and(|known| !known.nullable));
    let (field, column) = wrong.next()?;
    let row = (0..column.len()).find(|row| column.is_null(*row))?;
    Some((row, field.name().clone()))
}

/// The first row that ends before it begins, where rows say when they do.
fn first_backwards(rows: &RecordBatch) -> Option<usize> {
    let times = |name: &str| rows.column_by_name(name)?.as_primitive_opt::<TimestampNanosecondType>();
    let (starts, ends) = (times("row_start")?, times("row_end")?);
    starts.values().iter().zip(ends.values()).position(|(start, end)| end < start)
}

fn window_starts<'a>(path: &Path, batch: &'a RecordBatch) -> Result<&'a TimestampNanosecondArray, RowsError> {
    let column = batch.column_by_name("window_start");
    let wrong = |found: String| RowsError::Column {
        path: path.to_owned(),
        column: "window_start".to_owned(),
        found,
        expected: "Timestamp(ns, UTC)".to_owned(),
    };
    let Some(column) = column else { return Err(wrong("missing".to_owned())) };
    let array = column.as_any().downcast_ref::<TimestampNanosecondArray>();
    match array {
        Some(array) => Ok(array),
        _ => Err(wrong(column.data_type().to_string())),
    }
}

/// Rows of flows say which flow they are of.
fn has_flow_ids(path: &Path, schema: &Schema) -> Result<(), RowsError> {
    let found = schema.field_with_name("flow_id").ok().map(Field::data_type);
    if found == Some(&DataType::UInt64) {
        return Ok(());
    }
    Err(RowsError::Column {
        path: path.to_owned(),
        column: "flow_id".to_owned(),
        found: found.map_or("missing".to_owned(), ToString::to_string),
        expected: DataType::UInt64.to_string(),
    })
}

/// Opens a file, and looks for its first window where it has rows of flows.
fn look_at(path: &Path) -> Result<(Opened, u64), RowsError> {
    let builder = open(path)?;
    let first = match RowSettings::of(builder.schema()) {
        Some(_) => first_window(path, &builder)?,
        None => 0,
    };
    Ok((builder, first))
}

/// The first window of a file, from its statistics, else from its first row.
fn first_window(path: &Path, builder: &Opened) -> Result<u64, RowsError> {
    let metadata = builder.metadata();
    if metadata.file_metadata().num_rows() == 0 {
        return Ok(0);
    }
    let columns = metadata.file_metadata().schema_descr().columns();
    let position = columns.iter().position(|column| column.path().string() == "window_start");
    let statistics = position
        .and_then(|at| metadata.row_groups().first().map(|group| group.column(at)))
        .and_then(|column| column.statistics());
    let found = builder.schema().field_with_name("window_start").ok();
    if let Some(Statistics::Int64(values)) = statistics
        && let Some(DataType::Timestamp(unit, _)) = found.map(Field::data_type)
        && let Some(min) = values.min_opt()
        && let Ok(min) = u64::try_from(*min)
    {
        let nanoseconds = match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        };
        return Ok(min.saturating_mul(nanoseconds));
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["window_start"]);
    let first = open(path)?.with_projection(mask).with_batch_size(1);
    let wrong = |what| unreadable(path, Unreadable::of(what));
    let first = Batches::of(first).map_err(wrong)?.next();
    match (first, found) {
        (Some(Ok(batch)), Some(found)) => {
            let schema = Arc::new(Schema::new(vec![handed_out(found, true)]));
            let batch = in_order(path, &schema, &batch)?;
            Ok(u64::try_from(window_starts(path, &batch)?.value(0)).unwrap_or(0))
        }
        (Some(Ok(batch)), None) => window_starts(path, &batch).map(|_| 0),
        (Some(Err(what)), _) => Err(wrong(what)),
        (None, _) => Ok(0),
    }
}

/// The first column that a schema has otherwise than the expected one, with what is said of it in either.
fn first_difference(expected: &Schema, found: &Schema) -> Option<(String, String, String)> {
    let said = |schema: &Schema, name: &str| match schema.field_with_name(name) {
        Ok(field) => format!("is {}", field.data_type()),
        Err(_) => "is missing".to_owned(),
    };
    let names = expected.fields().iter().chain(found.fields()).map(|field| field.name());
    let differs = |name: &String| {
        let (found, expected) = (said(found, name), said(expected, name));
        (found != expected).then(|| (name.clone(), found, expected))
    };
    names.into_iter().find_map(differs)
}
