//! Rows as cells that can be compared and printed.

use std::fmt;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int16Type, TimestampNanosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A value. Floats are equal when their bits are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Null,
    Whole(u64),
    Single(u32),
    Double(u64),
    Text(String),
    List(Vec<i16>),
}

impl Cell {
    pub(crate) fn single(value: f32) -> Cell {
        Cell::Single(value.to_bits())
    }

    pub(crate) fn double(value: f64) -> Cell {
        Cell::Double(value.to_bits())
    }

    pub(crate) fn text(value: impl Into<String>) -> Cell {
        Cell::Text(value.into())
    }

    pub(crate) fn whole(value: impl Into<u64>) -> Cell {
        Cell::Whole(value.into())
    }

    /// The value, or null where there is none.
    pub(crate) fn of<T>(value: Option<T>, make: impl Fn(T) -> Cell) -> Cell {
        value.map_or(Cell::Null, make)
    }

    /// A whole number.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Cell::Whole(value) => *value,
            other => panic!("{other:?} is no whole number"),
        }
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => f.write_str("null"),
            Cell::Whole(value) => write!(f, "{value}"),
            Cell::Single(bits) => write!(f, "{:?}", f32::from_bits(*bits)),
            Cell::Double(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Cell::Text(text) => write!(f, "{text:?}"),
            Cell::List(values) => write!(f, "{values:?}"),
        }
    }
}

/// Named columns and rows of cells.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Table {
    pub(crate) names: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn from_batches(batches: &[RecordBatch]) -> Table {
        let mut table = Table::default();
        for batch in batches {
            table.names = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
            let columns: Vec<Vec<Cell>> = batch.columns().iter().map(|column| cells(column)).collect();
            let rows = (0..batch.num_rows()).map(|row| columns.iter().map(|c| c[row].clone()).collect());
            table.rows.extend(rows);
        }
        table
    }

    pub(crate) fn from_parquet(path: &Path) -> Table {
        let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        Table::from_batches(&reader.map(|batch| batch.unwrap()).collect::<Vec<_>>())
    }

    pub(crate) fn position(&self, name: &str) -> usize {
        self.names.iter().position(|n| n == name).unwrap_or_else(|| panic!("there is no column {name}"))
    }

    /// A column's cells.
    pub(crate) fn column(&self, name: &str) -> Vec<Cell> {
        let at = self.position(name);
        self.rows.iter().map(|row| row[at].clone()).collect()
    }

    /// The sum of a column of whole numbers.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.column(name).iter().map(Cell::number).sum()
    }
}

fn cells(column: &dyn Array) -> Vec<Cell> {
    macro_rules! primitive {
        ($kind:ty, $make:expr) => {
            column.as_primitive::<$kind>().iter().map(|value| Cell::of(value, $make)).collect()
        };
    }
    match column.data_type() {
        DataType::UInt8 => primitive!(UInt8Type, Cell::whole),
        DataType::UInt16 => primitive!(UInt16Type, Cell::whole),
        DataType::UInt32 => primitive!(UInt32Type, Cell::whole),
        DataType::UInt64 => primitive!(UInt64Type, Cell::whole),
        DataType::Timestamp(..) => primitive!(TimestampNanosecondType, |v| Cell::whole(v as u64)),
        DataType::Float32 => primitive!(Float32Type, Cell::single),
        DataType::Float64 => primitive!(Float64Type, Cell::double),
        DataType::Utf8 => column.as_string::<i32>().iter().map(|v| Cell::of(v, Cell::text)).collect(),
        DataType::Boolean => {
            column.as_boolean().iter().map(|v| Cell::of(v, |v| Cell::whole(u64::from(v)))).collect()
        }
        DataType::Dictionary(..) => cells(&cast(column, &DataType::Utf8).unwrap()),
        DataType::List(_) => column
            .as_list::<i32>()
            .iter()
            .map(|list| {
                Cell::of(list, |list| {
                    Cell::List(list.as_primitive::<Int16Type>().iter().map(|v| v.unwrap()).collect())
                })
            })
            .collect(),
        other => panic!("rows have no columns of type {other}"),
    }
}
