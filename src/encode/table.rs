//! Encoders as an Arrow table, as models carry them: one row for each parameter or category of a column.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Builder, RecordBatch, StringArray, StringBuilder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, UInt64Type};

use super::choose::{Input, type_named};
use super::encoders::{Code, Column, Encoders, OTHER};
use super::values::Category;
use super::{EncodeError, Encoder, MOST_CATEGORIES};

const MEAN: &str = "mean";
const SCALE: &str = "scale";
const CATEGORY: &str = "category";
const NULL: &str = "null";
const FLAG: &str = "flag";

/// The columns of the table.
///
/// `category` is there in rows of a category, `value` in rows of a number, `rows` (training rows) where rows
/// were counted.
fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("column", DataType::Utf8, false),
        Field::new("type", DataType::Utf8, false),
        Field::new("encoder", DataType::Utf8, false),
        Field::new("parameter", DataType::Utf8, false),
        Field::new("category", DataType::Utf8, true),
        Field::new("value", DataType::Float64, true),
        Field::new("rows", DataType::UInt64, true),
    ]))
}

/// One row of the table, less what says of which column it is.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Entry<'a> {
    parameter: &'a str,
    category: Option<&'a str>,
    value: Option<f64>,
    rows: Option<u64>,
}

impl<'a> Entry<'a> {
    fn number(parameter: &'a str, value: f64) -> Self {
        Entry { parameter, category: None, value: Some(value), rows: None }
    }

    fn count(parameter: &'a str, category: Option<&'a str>, rows: u64) -> Self {
        Entry { parameter, category, value: None, rows: Some(rows) }
    }
}

#[derive(Default)]
struct Builders {
    texts: [StringBuilder; 5],
    value: Float64Builder,
    rows: UInt64Builder,
}

impl Builders {
    fn append(&mut self, column: &Column, entry: Entry<'_>) {
        let [name, data_type, encoder, parameter, category] = &mut self.texts;
        name.append_value(&column.input.name);
        data_type.append_value(column.input.data_type.to_string());
        encoder.append_value(column.code.encoder().name());
        parameter.append_value(entry.parameter);
        category.append_option(entry.category);
        self.value.append_option(entry.value);
        self.rows.append_option(entry.rows);
    }
}

impl Encoders {
    /// The encoders as a table; [`Encoders::from_table`] gives the same encoders back, bit for bit.
    pub fn to_table(&self) -> RecordBatch {
        let mut to = Builders::default();
        for column in self.parts() {
            match &column.code {
                Code::Standard { mean, scale } => {
                    to.append(column, Entry::number(MEAN, *mean));
                    to.append(column, Entry::number(SCALE, *scale));
                }
                Code::Onehot { kept, other } => {
                    for (category, rows) in kept {
                        to.append(column, Entry::count(CATEGORY, Some(&category.to_string()), *rows));
                    }
                    to.append(column, Entry::count(OTHER, None, *other));
                }
                Code::Log1p | Code::Passthrough => {}
            }
            to.append(column, Entry { rows: Some(column.absent), ..Entry::number(NULL, column.null) });
            if column.flag {
                to.append(column, Entry::number(FLAG, 1.0));
            }
        }
        let mut arrays: Vec<Arc<dyn Array>> = Vec::new();
        arrays.extend(to.texts.iter_mut().map(|texts| Arc::new(texts.finish()) as Arc<dyn Array>));
        arrays.push(Arc::new(to.value.finish()));
        arrays.push(Arc::new(to.rows.finish()));
        RecordBatch::try_new(schema(), arrays).expect("the builders stand in the order of the schema")
    }

    /// Encoders from a table, which is not trusted.
    ///
    /// # Errors
    /// [`EncodeError::Damaged`] saying what of the table no training writes.
    pub fn from_table(table: &RecordBatch) -> Result<Encoders, EncodeError> {
        read(table).map_err(EncodeError::Damaged)
    }
}

fn read(table: &RecordBatch) -> Result<Encoders, String> {
    for (index, expected) in schema().fields().iter().enumerate() {
        let schema = table.schema_ref();
        let found = schema
            .fields()
            .get(index)
            .filter(|field| field.name() == expected.name() && field.data_type() == expected.data_type());
        if found.is_none() {
            return Err(format!("column {index} is not `{}` ({})", expected.name(), expected.data_type()));
        }
        let nulls = table.column(index).null_count();
        if nulls > 0 && !expected.is_nullable() {
            return Err(format!("`{}` is null in {nulls} rows", expected.name()));
        }
    }
    if table.num_columns() != schema().fields().len() {
        return Err("it has further columns".to_owned());
    }
    let texts: Vec<&StringArray> = (0..5).map(|index| table.column(index).as_string::<i32>()).collect();
    let values = table.column(5).as_primitive::<Float64Type>();
    let rows = table.column(6).as_primitive::<UInt64Type>();

    let mut columns: Vec<Column> = Vec::new();
    let mut begin = 0;
    while begin < table.num_rows() {
        let of = [0, 1, 2].map(|index: usize| texts[index].value(begin));
        let same = |row: &usize| [0, 1, 2].map(|index: usize| texts[index].value(*row)) == of;
        let end = (begin..table.num_rows()).find(|row| !same(row)).unwrap_or(table.num_rows());
        let entries: Vec<Entry<'_>> = (begin..end)
            .map(|row| Entry {
                parameter: texts[3].value(row),
                category: texts[4].is_valid(row).then(|| texts[4].value(row)),
                value: values.is_valid(row).then(|| values.value(row)),
                rows: rows.is_valid(row).then(|| rows.value(row)),
            })
            .collect();
        let [name, data_type, encoder] = of;
        columns.push(
            column(name, data_type, encoder, &entries).map_err(|what| format!("column `{name}`: {what}"))?,
        );
        begin = end;
    }
    let mut names: Vec<&str> = columns.iter().map(|column| column.input.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("column `{}` is there twice", twice[0]));
    }
    if columns.is_empty() { Err("it is empty".to_owned()) } else { Ok(Encoders::new(columns)) }
}

/// A column from its rows, which must stand as [`Encoders::to_table`] writes them.
fn column(name: &str, data_type: &str, encoder: &str, entries: &[Entry<'_>]) -> Result<Column, String> {
    let data_type =
        type_named(data_type).ok_or_else(|| format!("no encoder takes the type `{data_type}`"))?;
    let encoder = Encoder::ALL
        .into_iter()
        .find(|known| known.name() == encoder)
        .ok_or_else(|| format!("no encoder is named `{encoder}`"))?;
    if !encoder.takes(&data_type) {
        return Err(format!("{encoder} does not take {data_type}"));
    }
    let mut entries = entries.iter().copied();
    let code = match encoder {
        Encoder::Standard => {
            let (mean, scale) = (number(entries.next(), MEAN)?, number(entries.next(), SCALE)?);
            if scale <= 0.0 {
                return Err(format!("the scale is {scale}"));
            }
            Code::Standard { mean, scale }
        }
        Encoder::Log1p => Code::Log1p,
        Encoder::Passthrough => Code::Passthrough,
        Encoder::Onehot => categories(&data_type, &mut entries)?,
    };
    let null = entries.next();
    let absent = null.and_then(|entry| entry.rows).ok_or("the row `null` has no count of rows")?;
    let null = number(null.map(|entry| Entry { rows: None, ..entry }), NULL)?;
    let flag = match entries.next() {
        None => false,
        entry => number(entry, FLAG)? == 1.0,
    };
    match entries.next() {
        Some(entry) => Err(format!("`{}` is out of place", entry.parameter)),
        None => Ok(Column { input: Input { name: name.to_owned(), data_type }, code, null, flag, absent }),
    }
}

fn number(entry: Option<Entry<'_>>, parameter: &str) -> Result<f64, String> {
    let value = entry.filter(|entry| *entry == Entry::number(parameter, entry.value.unwrap_or_default()));
    match value.and_then(|entry| entry.value) {
        Some(value) if value.is_finite() => Ok(value),
        _ => Err(format!("`{parameter}` is missing, out of place or no finite number")),
    }
}

fn categories<'a>(
    data_type: &DataType,
    entries: &mut impl Iterator<Item = Entry<'a>>,
) -> Result<Code, String> {
    let mut kept: Vec<(Category, u64)> = Vec::new();
    for entry in entries {
        let Entry { parameter, category, value: None, rows: Some(rows) } = entry else {
            return Err(format!("`{}` is no count of rows", entry.parameter));
        };
        match (parameter, category) {
            (OTHER, None) => return Ok(Code::Onehot { kept, other: rows }),
            (CATEGORY, Some(text)) if text != OTHER => {
                let category = Category::parse(text, data_type)
                    .ok_or_else(|| format!("`{text}` is no value of the type {data_type}"))?;
                if kept.last().is_some_and(|(last, _)| *last >= category) || kept.len() >= MOST_CATEGORIES {
                    return Err(format!("the category `{text}` is out of order"));
                }
                kept.push((category, rows));
            }
            _ => return Err(format!("`{parameter}` is out of place")),
        }
    }
    Err(format!("`{OTHER}` is missing"))
}
