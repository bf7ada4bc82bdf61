//! Arrow columns read as what encoders take: numbers where absence is NaN, or categories by code.

use std::cmp::Ordering;
use std::fmt;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

/// The types a model may expect, each by one name: text is `Utf8`, however it is stored.
pub(crate) const INPUTS: [DataType; 13] = [
    DataType::Boolean,
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::UInt8,
    DataType::UInt16,
    DataType::UInt32,
    DataType::UInt64,
    DataType::Float16,
    DataType::Float32,
    DataType::Float64,
    DataType::Utf8,
];

/// The type a model remembers for a column of this type; `None` for what no encoder takes.
///
/// Text is one type whether it is plain, large, a view or a dictionary with keys of any width: the same
/// rows come with other widths from other writers. Decimals are read as the nearest `Float64`.
pub(crate) fn input_type(found: &DataType) -> Option<DataType> {
    match found {
        decimal if decimal.is_decimal() => Some(DataType::Float64),
        DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Dictionary(_, values) => input_type(values).filter(|values| *values == DataType::Utf8),
        plain => INPUTS.contains(plain).then(|| plain.clone()),
    }
}

/// Whether a column of this remembered type can be read as numbers.
pub(crate) fn is_number(input: &DataType) -> bool {
    *input != DataType::Utf8
}

/// Whether a column of this remembered type can be read as categories.
pub(crate) fn is_category(input: &DataType) -> bool {
    !input.is_floating()
}

/// Rows of a column, to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    /// From one row to before another.
    Between(usize, usize),
    /// By their numbers.
    These(&'a [u32]),
}

impl Which<'_> {
    fn count(self) -> usize {
        match self {
            Which::Between(from, to) => to - from,
            Which::These(rows) => rows.len(),
        }
    }
}

/// Reads a column as numbers into `out`, one a row; NaN where there is none.
///
/// Infinities stay and are the caller's to refuse: `is_finite` sees both in one look.
pub(crate) fn numbers(array: &dyn Array, out: &mut Vec<f64>) {
    out.clear();
    numbers_of(array, Which::Between(0, array.len()), out);
}

/// Appends the same of some rows.
pub(crate) fn numbers_of(array: &dyn Array, which: Which<'_>, out: &mut Vec<f64>) {
    let first = out.len();
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    if nulls.is_some_and(|nulls| nulls.null_count() == nulls.len()) {
        out.resize(first + which.count(), f64::NAN);
        return;
    }
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean().values();
            let number = |row: usize| if values.value(row) { 1.0 } else { 0.0 };
            match which {
                Which::Between(from, to) => out.extend((from..to).map(number)),
                Which::These(rows) => out.extend(rows.iter().map(|row| number(*row as usize))),
            }
        }
        DataType::Int8 => primitive::<Int8Type>(array, which, out, f64::from),
        DataType::Int16 => primitive::<Int16Type>(array, which, out, f64::from),
        DataType::Int32 => primitive::<Int32Type>(array, which, out, f64::from),
        DataType::Int64 => primitive::<Int64Type>(array, which, out, |value| value as f64),
        DataType::UInt8 => primitive::<UInt8Type>(array, which, out, f64::from),
        DataType::UInt16 => primitive::<UInt16Type>(array, which, out, f64::from),
        DataType::UInt32 => primitive::<UInt32Type>(array, which, out, f64::from),
        DataType::UInt64 => primitive::<UInt64Type>(array, which, out, |value| value as f64),
        DataType::Float16 => primitive::<Float16Type>(array, which, out, |value| value.to_f64()),
        DataType::Float32 => primitive::<Float32Type>(array, which, out, f64::from),
        DataType::Float64 => primitive::<Float64Type>(array, which, out, |value| value),
        decimal if decimal.is_decimal() => match cast(array, &DataType::Float64) {
            Ok(floats) => primitive::<Float64Type>(floats.as_ref(), which, out, |value| value),
            Err(_) => out.resize(first + which.count(), f64::NAN),
        },
        // The caller checked the schema; a column that is no number has no value.
        _ => out.resize(first + which.count(), f64::NAN),
    }
    let Some(nulls) = nulls else { return };
    let out = &mut out[first..];
    match which {
        Which::Between(from, _) => {
            let nulls = nulls.slice(from, out.len());
            match nulls.null_count() {
                0 => {}
                all if all == out.len() => out.fill(f64::NAN),
                _ => {
                    let absent = out.iter_mut().zip(&nulls).filter(|(_, valid)| !valid);
                    absent.for_each(|(value, _)| *value = f64::NAN);
                }
            }
        }
        Which::These(rows) => {
            for (value, row) in out.iter_mut().zip(rows) {
                *value = if nulls.is_valid(*row as usize) { *value } else { f64::NAN };
            }
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(
    array: &dyn Array,
    which: Which<'_>,
    out: &mut Vec<f64>,
    number: impl Fn(T::Native) -> f64,
) {
    let values: &[T::Native] = array.as_primitive::<T>().values();
    match which {
        Which::Between(from, to) => out.extend(values[from..to].iter().map(|value| number(*value))),
        Which::These(rows) => out.extend(rows.iter().map(|row| number(values[*row as usize]))),
    }
}

/// A value of a column read as categories. Whole numbers order as numbers, text by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(crate) enum Category {
    /// A whole number.
    Whole(i128),
    /// Text, and booleans as `false` and `true`.
    Text(String),
}

/// A [`Category`] where it lies in an Arrow column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Seen<'a> {
    Whole(i128),
    Text(&'a str),
}

impl Category {
    pub(crate) fn compare(&self, other: &Seen<'_>) -> Ordering {
        self.seen().cmp(other)
    }

    fn seen(&self) -> Seen<'_> {
        match self {
            Category::Whole(value) => Seen::Whole(*value),
            Category::Text(text) => Seen::Text(text),
        }
    }

    /// Reads the text of a category of a column of the remembered type.
    pub(crate) fn parse(text: &str, input: &DataType) -> Option<Category> {
        if !input.is_integer() {
            return (*input == DataType::Utf8 || matches!(text, "false" | "true"))
                .then(|| Category::Text(text.to_owned()));
        }
        let value: i128 = text.parse().ok()?;
        // One spelling for one number: "+7" and "007" are not what was written.
        (value.to_string() == text).then_some(Category::Whole(value))
    }
}

impl Seen<'_> {
    pub(crate) fn category(self) -> Category {
        match self {
            Seen::Whole(value) => Category::Whole(value),
            Seen::Text(text) => Category::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Category::Whole(value) => value.fmt(f),
            Category::Text(text) => text.fmt(f),
        }
    }
}

/// A column read as categories: the values it may hold, and for each row which one.
pub(crate) struct Codes<'a> {
    /// Values; a dictionary may hold some that no row has, or one twice.
    pub(crate) values: Vec<Option<Seen<'a>>>,
    /// For each row the place of its value; [`Codes::ABSENT`] where it is null.
    pub(crate) codes: Vec<u32>,
}

impl<'a> Codes<'a> {
    /// The code of a null.
    pub(crate) const ABSENT: u32 = u32::MAX;

    /// Reads a column.
    pub(crate) fn read(array: &'a dyn Array) -> Codes<'a> {
        match array.data_type() {
            DataType::Dictionary(..) => Self::dictionary(array),
            DataType::Boolean => Self::booleans(array.as_boolean()),
            DataType::Int8 => Self::whole::<Int8Type>(array, i128::from),
            DataType::Int16 => Self::whole::<Int16Type>(array, i128::from),
            DataType::Int32 => Self::whole::<Int32Type>(array, i128::from),
            DataType::Int64 => Self::whole::<Int64Type>(array, i128::from),
            DataType::UInt8 => Self::whole::<UInt8Type>(array, i128::from),
            DataType::UInt16 => Self::whole::<UInt16Type>(array, i128::from),
            DataType::UInt32 => Self::whole::<UInt32Type>(array, i128::from),
            DataType::UInt64 => Self::whole::<UInt64Type>(array, i128::from),
            _ => match texts(array) {
                Some(texts) => Self::distinct(texts.map(|text| text.map(Seen::Text))),
                // The caller checked the schema; a column that is no category has no value.
                None => Codes { values: Vec::new(), codes: vec![Self::ABSENT; array.len()] },
            },
        }
    }

    fn dictionary(array: &'a dyn Array) -> Codes<'a> {
        let dictionary = array.as_any_dictionary();
        let values: Vec<Option<Seen<'a>>> = texts(dictionary.values().as_ref())
            .map(|texts| texts.map(|text| text.map(Seen::Text)).collect())
            .unwrap_or_default();
        if values.is_empty() {
            return Codes { values, codes: vec![Self::ABSENT; array.len()] };
        }
        let keys = dictionary.normalized_keys();
        let code = |(row, key): (usize, usize)| {
            let absent = dictionary.keys().is_null(row) || values[key].is_none();
            if absent { Self::ABSENT } else { key as u32 }
        };
        let codes = keys.into_iter().enumerate().map(code).collect();
        Codes { values, codes }
    }

    fn booleans(array: &BooleanArray) -> Codes<'a> {
        let code = |value: Option<bool>| value.map_or(Self::ABSENT, u32::from);
        let values = vec![Some(Seen::Text("false")), Some(Seen::Text("true"))];
        Codes { values, codes: array.iter().map(code).collect() }
    }

    fn whole<T: ArrowPrimitiveType>(array: &'a dyn Array, whole: impl Fn(T::Native) -> i128) -> Codes<'a> {
        Self::distinct(array.as_primitive::<T>().iter().map(|value| value.map(|v| Seen::Whole(whole(v)))))
    }

    fn distinct(rows: impl Iterator<Item = Option<Seen<'a>>>) -> Codes<'a> {
        let mut places: HashMap<Seen<'a>, u32, foldhash::fast::RandomState> = HashMap::default();
        let mut values = Vec::new();
        let mut last: Option<(Seen<'a>, u32)> = None;
        let codes = rows
            .map(|row| {
                let Some(seen) = row else { return Self::ABSENT };
                if let Some((_, code)) = last.filter(|(value, _)| *value == seen) {
                    return code;
                }
                let code = *places.entry(seen).or_insert_with(|| {
                    values.push(Some(seen));
                    values.len() as u32 - 1
                });
                last = Some((seen, code));
                code
            })
            .collect();
        Codes { values, codes }
    }
}

/// The texts of a column of plain text; `None` for a column of another type.
fn texts<'a>(array: &'a dyn Array) -> Option<Box<dyn Iterator<Item = Option<&'a str>> + 'a>> {
    match array.data_type() {
        DataType::Utf8 => Some(Box::new(array.as_string::<i32>().iter())),
        DataType::LargeUtf8 => Some(Box::new(array.as_string::<i64>().iter())),
        DataType::Utf8View => Some(Box::new(array.as_string_view().iter())),
        _ => None,
    }
}
