//! Tables of a model, whose columns are asked for by name and type. What is read is not trusted: what is not as it was
//! written is said in one line.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, UInt16Type};
use arrow::record_batch::RecordBatch;

/// Tables by name.
pub(crate) type Tables = BTreeMap<String, RecordBatch>;

/// What is wrong with a table or a setting of a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("model table `{table}` is damaged: {what}")]
pub(crate) struct Damage {
    /// The table, or `settings` for what the manifest says.
    pub(crate) table: String,
    /// What is wrong.
    pub(crate) what: String,
}

impl Damage {
    /// Of what the manifest says.
    pub(crate) fn of_settings(what: impl ToString) -> Damage {
        Damage { table: "settings".to_owned(), what: what.to_string() }
    }
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    name: &'static str,
    /// Its rows.
    pub(crate) rows: &'a RecordBatch,
}

impl<'a> Table<'a> {
    /// The one of this name.
    pub(crate) fn find(tables: &'a Tables, name: &'static str) -> Result<Table<'a>, Damage> {
        let missing = || Damage { table: name.to_owned(), what: "the table is missing".to_owned() };
        Ok(Table { name, rows: tables.get(name).ok_or_else(missing)? })
    }

    /// That it is not as it was written.
    pub(crate) fn damaged(&self, what: impl ToString) -> Damage {
        Damage { table: self.name.to_owned(), what: what.to_string() }
    }

    /// The same of one of its rows, which are counted from 1.
    pub(crate) fn damaged_at(&self, row: usize, what: &str) -> Damage {
        self.damaged(format_args!("row {}: {what}", row + 1))
    }

    fn column(&self, column: &str) -> Result<&'a ArrayRef, Damage> {
        let found = self.rows.column_by_name(column);
        found.ok_or_else(|| self.damaged(format_args!("column `{column}` is missing")))
    }

    fn full<A: Array>(&self, column: &str, values: A) -> Result<A, Damage> {
        match values.null_count() {
            0 => Ok(values),
            _ => Err(self.damaged(format_args!("column `{column}` has nulls"))),
        }
    }

    /// Numbers of this type, some of which may be null.
    pub(crate) fn optional<N: ArrowPrimitiveType>(
        &self,
        column: &str,
    ) -> Result<&'a PrimitiveArray<N>, Damage> {
        let found = self.column(column)?;
        found.as_primitive_opt::<N>().ok_or_else(|| {
            let what = format!("column `{column}` is {}, not {}", found.data_type(), N::DATA_TYPE);
            self.damaged(what)
        })
    }

    /// Numbers of this type.
    pub(crate) fn numbers<N: ArrowPrimitiveType>(
        &self,
        column: &str,
    ) -> Result<&'a PrimitiveArray<N>, Damage> {
        self.full(column, self.optional::<N>(column)?)
    }

    /// Finite numbers.
    pub(crate) fn floats(&self, column: &str) -> Result<&'a [f64], Damage> {
        let values = self.numbers::<Float64Type>(column)?.values();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(self.damaged(format_args!("column `{column}` is not finite"))),
        }
    }

    /// Numbers that are 0 or 1.
    pub(crate) fn flags(&self, column: &str) -> Result<Vec<bool>, Damage> {
        let values = self.numbers::<UInt16Type>(column)?.values();
        match values.iter().all(|value| *value < 2) {
            true => Ok(values.iter().map(|value| *value == 1).collect()),
            false => Err(self.damaged(format_args!("column `{column}` is not 0 or 1"))),
        }
    }

    /// Texts, in a dictionary or not, some of which may be null.
    pub(crate) fn optional_texts(&self, column: &str) -> Result<StringArray, Damage> {
        let values = self.column(column)?;
        let wrong = || self.damaged(format_args!("column `{column}` is {}, not text", values.data_type()));
        let is_text = match values.data_type() {
            DataType::Dictionary(_, value) => value.is_string(),
            other => other.is_string(),
        };
        if !is_text {
            return Err(wrong());
        }
        Ok(cast(values, &DataType::Utf8).map_err(|_| wrong())?.as_string::<i32>().clone())
    }

    /// Texts.
    pub(crate) fn texts(&self, column: &str) -> Result<StringArray, Damage> {
        self.full(column, self.optional_texts(column)?)
    }
}
