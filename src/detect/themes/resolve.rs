//! Rows to what is judged of them: buckets and weights, and whom they are about.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampNanosecondType};

use super::columns::{FIRST, NEW, Reading, STATE, WIDTH, columns, lead, of_the_unknown};
use super::greeting::{self, Greetings, LENGTHS};
use super::weigh::{Beside, Part, Weighing};
use crate::context::entity::Texts;
use crate::context::local::Networks;
use crate::detect::DetectError;
use crate::encode::bucket::{ABSENT, bucket};
use crate::encode::subject::{PARTY_COLUMNS, Party, parties};
use crate::encode::{Subject, Which, numbers_of};
use crate::flow::tcp::CONN_STATES;

/// Rows as they are judged.
pub(in crate::detect) struct Resolved {
    /// Of each row.
    pub(super) parties: Vec<Party>,
    /// Number of each row's window since the epoch.
    pub(super) windows: Vec<u64>,
    /// The window of the first row of its source, destination and service.
    pub(super) firsts: Vec<u64>,
    /// Networks that are one's own; nothing of rows that were learned from, where no host is new.
    pub(super) local: Option<Arc<Networks>>,
    /// By judged column, of each row: what is looked up for one column is near for the next row.
    buckets: Vec<u8>,
    /// By judged column, of each row.
    weights: Vec<f32>,
}

impl Resolved {
    /// Rows that were kept for calibration, with a line of buckets and one of weights for each.
    pub(super) fn of_sample(
        parties: Vec<Party>,
        windows: Vec<u64>,
        firsts: Vec<u64>,
        buckets: &[u8],
        weights: &[f32],
    ) -> Resolved {
        let (buckets, weights) = (transposed(buckets, WIDTH), transposed(weights, WIDTH));
        Resolved { parties, windows, firsts, local: None, buckets, weights }
    }

    /// The bucket of a row in a judged column.
    pub(super) fn bucket(&self, row: usize, at: usize) -> u8 {
        self.buckets[at * self.parties.len() + row]
    }

    /// The buckets of a row.
    pub(super) fn buckets(&self, row: usize) -> [u8; WIDTH] {
        std::array::from_fn(|at| self.bucket(row, at))
    }

    /// A line of buckets and one of weights for each row.
    pub(super) fn lines(&self) -> (Vec<u8>, Vec<f32>) {
        let rows = self.parties.len();
        (transposed(&self.buckets, rows), transposed(&self.weights, rows))
    }

    /// Of each row the bucket and the weight of a judged column.
    pub(super) fn column(&self, at: usize) -> (&[u8], &[f32]) {
        let rows = self.parties.len();
        (&self.buckets[at * rows..][..rows], &self.weights[at * rows..][..rows])
    }

    /// Leaves those rows alone a weight in a judged column.
    pub(super) fn weigh_only(&mut self, at: usize, which: impl Fn(usize) -> bool) {
        let rows = self.parties.len();
        let weights = self.weights[at * rows..][..rows].iter_mut().enumerate();
        weights.filter(|(row, _)| !which(*row)).for_each(|(_, weight)| *weight = 0.0);
    }

    /// The same of a judged column, to be changed.
    pub(super) fn column_mut(&mut self, at: usize) -> (&mut [u8], &mut [f32]) {
        let rows = self.parties.len();
        (&mut self.buckets[at * rows..][..rows], &mut self.weights[at * rows..][..rows])
    }

    /// Gives back the room of weights, which nobody asks for once there are surprises.
    pub(super) fn forget_weights(&mut self) {
        self.weights = Vec::new();
    }

    /// Some of the rows.
    pub(super) fn some(&self, rows: &[usize]) -> Resolved {
        Resolved {
            parties: rows.iter().map(|row| self.parties[*row]).collect(),
            windows: rows.iter().map(|row| self.windows[*row]).collect(),
            firsts: rows.iter().map(|row| self.firsts[*row]).collect(),
            local: self.local.clone(),
            buckets: some(&self.buckets, self.parties.len(), rows),
            weights: some(&self.weights, self.parties.len(), rows),
        }
    }
}

/// Of each kind of entity, for each row whether it stands for its entity.
pub(super) struct Leads([Option<BooleanArray>; 6]);

impl Leads {
    /// Of rows with the columns of context.
    ///
    /// # Errors
    /// [`DetectError::Column`] for rows that lack a column.
    pub(super) fn of(rows: &RecordBatch) -> Result<Leads, DetectError> {
        let mut leads: [Option<BooleanArray>; 6] = Default::default();
        for subject in Subject::ALL {
            if let Some(name) = lead(subject) {
                leads[subject as usize] = Some(booleans(rows, &name)?.clone());
            }
        }
        Ok(Leads(leads))
    }

    /// For each kind of entity whether the row stands for it.
    pub(super) fn of_row(&self, row: usize) -> [bool; 6] {
        std::array::from_fn(|kind| self.0[kind].as_ref().is_some_and(|leads| is_true(leads, row)))
    }
}

/// Rows of one batch, with what is read at once for all of them however few are judged at a time.
pub(in crate::detect) struct Rows<'a> {
    rows: &'a RecordBatch,
    resolver: Arc<Resolver>,
    /// The place in the batch of each that is judged; all in their order where there is nothing.
    chosen: Option<Vec<u32>>,
    parties: Vec<Party>,
    windows: Vec<u64>,
    firsts: Vec<u64>,
    states: Vec<f64>,
    greetings: Vec<Option<u64>>,
    /// Whose ages say nothing. A new host of one's own is told of once as that: that its peers and services are new says
    /// no more. Who has no address yet (duplicate address detection, DHCP) is another host each time: since when such a
    /// source is known to anybody says nothing of it.
    excused: Vec<bool>,
    local: Arc<Networks>,
}

/// What lies in lines of so many, in columns.
fn transposed<T: Copy>(lines: &[T], width: usize) -> Vec<T> {
    let mut all = Vec::with_capacity(lines.len());
    (0..width).for_each(|at| all.extend(lines.iter().skip(at).step_by(width)));
    all
}

/// Some rows of columns of so many.
fn some<T: Copy>(columns: &[T], count: usize, rows: &[usize]) -> Vec<T> {
    columns.chunks_exact(count.max(1)).flat_map(|column| rows.iter().map(|row| column[*row])).collect()
}

/// Names of all columns of rows that are read, each once.
fn wanted() -> Vec<String> {
    let mut names: Vec<String> = PARTY_COLUMNS.iter().map(|name| (*name).to_owned()).collect();
    names.push("window_start".to_owned());
    for column in columns() {
        match &column.reading {
            Reading::Number(name, _) => names.push(name.clone()),
            Reading::Ratio => {}
            Reading::State => names.push(STATE.to_owned()),
            Reading::Greeting(_) => names.push(LENGTHS.to_owned()),
        }
    }
    names.extend(super::columns::context_columns());
    let mut known = std::collections::BTreeSet::new();
    names.retain(|name| known.insert(name.clone()));
    names
}

/// A column's type as a model remembers it: text is `Utf8`, in whatever form rows hold it.
pub(super) fn remembered(found: &DataType) -> DataType {
    match found {
        DataType::Dictionary(_, values) => remembered(values),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        lengths if greeting::is_lengths(lengths) => greeting::remembered(),
        other => other.clone(),
    }
}

/// The columns that are read from rows of this schema, with the types that they have there.
///
/// # Errors
/// [`DetectError::Column`] for the first that is missing or of a type that cannot be read.
pub(super) fn fields(schema: &Schema) -> Result<Vec<Field>, DetectError> {
    wanted()
        .iter()
        .map(|name| {
            let found = schema.field_with_name(name).map_err(|_| missing(name))?;
            let kind = remembered(found.data_type());
            let fits = match name.as_str() {
                "src_ip" | "dst_ip" | STATE => kind == DataType::Utf8,
                "window_start" | FIRST => matches!(kind, DataType::Timestamp(..)),
                LENGTHS => kind == greeting::remembered(),
                name if name == NEW || name.starts_with("lead_") => kind == DataType::Boolean,
                _ => kind.is_numeric(),
            };
            match fits {
                true => Ok(Field::new(name, kind, true)),
                false => Err(DetectError::Column { column: name.clone(), what: format!("is {kind}") }),
            }
        })
        .collect()
}

/// Where columns of rows lie: looked up once for each schema, since rows have hundreds of them.
#[derive(Clone, Debug)]
pub(in crate::detect) struct Resolver {
    schema: Schema,
    /// The columns that are read as numbers, each once.
    places: Vec<usize>,
    /// For each judged column what it is made of, as positions among the numbers.
    recipes: Vec<Recipe>,
    beside: Beside,
    /// Positions of the judged columns that say since when something is known, or that it is not.
    unknown: Vec<usize>,
}

/// How a judged column and its weight are made.
#[derive(Clone, Debug)]
struct Recipe {
    value: Value,
    /// The first judged column that is made of the same, where that is another one.
    same: Option<usize>,
    weight: Part,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Value {
    Number(usize, f64),
    Ratio(usize, usize),
    State,
    Greeting(u8),
}

fn missing(column: &str) -> DetectError {
    DetectError::Column { column: column.to_owned(), what: "is missing in the rows".to_owned() }
}

impl Resolver {
    /// For rows of this schema.
    ///
    /// # Errors
    /// [`DetectError::Column`] for the first column that is missing.
    pub(super) fn new(schema: &Schema) -> Result<Resolver, DetectError> {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut places = Vec::new();
        let mut number = |name: &str| -> Result<usize, DetectError> {
            if let Some(known) = names.get(name) {
                return Ok(*known);
            }
            places.push(schema.index_of(name).map_err(|_| missing(name))?);
            names.insert(name.to_owned(), places.len() - 1);
            Ok(places.len() - 1)
        };
        let mut recipes = Vec::with_capacity(columns().len());
        for column in columns() {
            let value = match &column.reading {
                Reading::Number(name, factor) => Value::Number(number(name)?, *factor),
                Reading::Ratio => Value::Ratio(number("fwd_bytes")?, number("bwd_bytes")?),
                Reading::State => Value::State,
                Reading::Greeting(hash) => Value::Greeting(*hash),
            };
            let weight = Part::of(&column.weight, &mut number)?;
            let same = recipes.iter().position(|known: &Recipe| known.value == value);
            recipes.push(Recipe { value, same, weight });
        }
        let beside = Beside::of(&mut number)?;
        let unknown = of_the_unknown().collect();
        Ok(Resolver { schema: Schema::new(schema.fields().clone()), places, recipes, beside, unknown })
    }

    /// Whether it is for rows of this schema.
    pub(super) fn fits(&self, schema: &Schema) -> bool {
        self.schema.fields() == schema.fields()
    }

    /// The columns of rows that a judged column is made of numbers from: one, or the two of a ratio; none of what is no
    /// number.
    pub(super) fn made_of(&self, at: usize) -> [Option<usize>; 2] {
        match self.recipes[at].value {
            Value::Number(number, _) => [Some(self.places[number]), None],
            Value::Ratio(forward, backward) => [Some(self.places[forward]), Some(self.places[backward])],
            Value::State | Value::Greeting(_) => [None, None],
        }
    }
}

impl<'a> Rows<'a> {
    /// Of rows whose schema the resolver is for and whose windows are so many nanoseconds long.
    ///
    /// # Errors
    /// [`DetectError::Column`] for rows that lack a column, [`DetectError::Context`].
    pub(super) fn new(
        rows: &'a RecordBatch,
        resolver: Arc<Resolver>,
        window: u64,
    ) -> Result<Rows<'a>, DetectError> {
        let window_of = |nanoseconds: i64| nanoseconds.max(0) as u64 / window.max(1);
        let windows: Vec<u64> =
            times(rows, "window_start")?.values().iter().map(|start| window_of(*start)).collect();
        let firsts = times(rows, FIRST)?;
        let firsts = windows.iter().enumerate().map(|(row, window)| match firsts.is_valid(row) {
            true => window_of(firsts.value(row)),
            false => *window,
        });
        let (parties, new) = (parties(rows)?, booleans(rows, NEW)?);
        let (states, greetings) = (states(rows)?, Greetings::of(rows)?);
        // A TCP connection that goes on after a pause, or that was met on its way, begins with whatever comes next. Of other
        // protocols nobody knows.
        let begins = |row: usize| states[row] != state(MIDWAY);
        let greetings = (0..rows.num_rows()).map(|row| begins(row).then(|| greetings.code(row)).flatten());
        let excused = parties.iter().enumerate();
        let excused = excused.map(|(row, party)| is_true(new, row) || party.is_from_nobody());
        Ok(Rows {
            rows,
            resolver,
            chosen: None,
            firsts: firsts.collect(),
            windows,
            greetings: greetings.collect(),
            states,
            excused: excused.collect(),
            parties,
            local: Arc::new(Networks::of(rows.schema_ref())),
        })
    }

    /// Whom the rows are about.
    pub(super) fn parties(&self) -> &[Party] {
        &self.parties
    }

    /// Those at these places alone, in that order.
    pub(super) fn chosen(self, places: Vec<u32>) -> Rows<'a> {
        Rows {
            parties: picked(&self.parties, &places),
            windows: picked(&self.windows, &places),
            firsts: picked(&self.firsts, &places),
            states: picked(&self.states, &places),
            greetings: picked(&self.greetings, &places),
            excused: picked(&self.excused, &places),
            chosen: Some(places),
            ..self
        }
    }

    /// What is judged of some of the rows.
    pub(super) fn resolve(&self, some: Range<usize>) -> Resolved {
        let Resolver { places, recipes, beside, unknown, .. } = &*self.resolver;
        let count = some.len();
        let which = match &self.chosen {
            Some(chosen) => Which::These(&chosen[some.clone()]),
            None => Which::Between(some.start, some.end),
        };
        let mut read = Vec::with_capacity(count * places.len());
        places.iter().for_each(|place| numbers_of(self.rows.column(*place).as_ref(), which, &mut read));
        let number = |at: usize| &read[at * count..][..count];
        let mut buckets = Vec::with_capacity(count * WIDTH);
        let mut weights = Vec::with_capacity(count * WIDTH);
        let mut made: Vec<f64> = Vec::with_capacity(count);
        let mut weighing = Weighing::new(number, beside);
        for recipe in recipes {
            let values: &[f64] = match recipe.value {
                Value::Number(at, 1.0) => number(at),
                Value::Number(at, factor) => {
                    made.clear();
                    made.extend(number(at).iter().map(|v| v * factor));
                    &made
                }
                Value::Ratio(forward, backward) => {
                    made.clear();
                    let both = number(forward).iter().zip(number(backward));
                    made.extend(both.map(|(forward, backward)| (forward + 20.0) / (backward + 20.0) * 64.0));
                    &made
                }
                Value::State => &self.states[some.clone()],
                Value::Greeting(hash) => {
                    let codes = self.greetings[some.clone()].iter();
                    buckets.extend(codes.map(|code| greeting::bucket_of(*code, hash)));
                    weights.extend(some.clone().map(|_| 1.0));
                    continue;
                }
            };
            match recipe.same {
                Some(same) => buckets.extend_from_within(same * count..(same + 1) * count),
                None => put_buckets(values, &mut buckets),
            }
            weighing.put(&recipe.weight, values, &buckets[buckets.len() - count..], &mut weights);
        }
        for (row, _) in self.excused[some.clone()].iter().enumerate().filter(|(_, excused)| **excused) {
            for at in unknown {
                buckets[at * count + row] = ABSENT;
            }
        }
        Resolved {
            parties: self.parties[some.clone()].to_vec(),
            windows: self.windows[some.clone()].to_vec(),
            firsts: self.firsts[some].to_vec(),
            local: Some(self.local.clone()),
            buckets,
            weights,
        }
    }
}

fn picked<T: Copy>(all: &[T], places: &[u32]) -> Vec<T> {
    places.iter().map(|place| all[*place as usize]).collect()
}

/// Appends the buckets of values: rows of a flood follow one another with the same, and nulls are all alike.
fn put_buckets(values: &[f64], into: &mut Vec<u8>) {
    let mut last = (f64::NAN.to_bits(), ABSENT);
    into.extend(values.iter().map(|value| {
        if value.to_bits() != last.0 {
            last = (value.to_bits(), bucket(*value));
        }
        last.1
    }));
}

/// The state of a TCP connection whose beginning nobody saw.
const MIDWAY: &str = "OTH";

/// A state of a TCP connection as a number, NaN for what is none.
fn state(text: &str) -> f64 {
    CONN_STATES.iter().position(|state| *state == text).map_or(f64::NAN, |number| number as f64)
}

/// States of TCP connections as numbers, NaN for other protocols.
fn states(rows: &RecordBatch) -> Result<Vec<f64>, DetectError> {
    Ok(Texts::new(rows, STATE)?.map(|text| text.map_or(f64::NAN, state)))
}

fn times(rows: &RecordBatch, name: &str) -> Result<TimestampNanosecondArray, DetectError> {
    let column = rows.column_by_name(name).ok_or_else(|| missing(name))?;
    let wrong = || DetectError::Column {
        column: name.to_owned(),
        what: format!("is {}, not a time in nanoseconds", column.data_type()),
    };
    column.as_primitive_opt::<TimestampNanosecondType>().cloned().ok_or_else(wrong)
}

fn booleans<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a BooleanArray, DetectError> {
    let column = rows.column_by_name(name).ok_or_else(|| missing(name))?;
    let wrong = || DetectError::Column {
        column: name.to_owned(),
        what: format!("is {}, not true or false", column.data_type()),
    };
    column.as_boolean_opt().ok_or_else(wrong)
}

/// Null is not true.
fn is_true(column: &BooleanArray, row: usize) -> bool {
    column.is_valid(row) && column.value(row)
}
