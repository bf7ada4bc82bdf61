//! Rows to CSV after RFC 4180, with lines ending in a line feed as tools on every system read them.
//!
//! The first line names the columns. Times are RFC 3339 in UTC with nine digits, what is null is empty,
//! a list is `a;b;c`, and a fraction has as few digits as give the same number back.

use std::io::{BufWriter, Write};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int64Type, SchemaRef, TimeUnit,
    TimestampNanosecondType, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::operator::End;
use super::{AnyError, SinkError};
use crate::draft::Draft;

/// One CSV file, under its name when it is finished.
pub struct CsvFile {
    out: BufWriter<Draft>,
    line: Vec<u8>,
}

impl CsvFile {
    /// Begins a file of rows of `schema` with its header.
    ///
    /// # Errors
    /// [`SinkError`] if it cannot be written to.
    pub fn create(draft: Draft, schema: &SchemaRef) -> Result<CsvFile, SinkError> {
        let mut file = CsvFile { out: BufWriter::new(draft), line: Vec::new() };
        for (index, field) in schema.fields().iter().enumerate() {
            separate(&mut file.line, index);
            quote(&mut file.line, field.name());
        }
        file.end_line()?;
        Ok(file)
    }

    fn end_line(&mut self) -> Result<(), SinkError> {
        self.line.push(b'\n');
        let written = self.out.write_all(&self.line);
        self.line.clear();
        written.map_err(|source| SinkError::Io { path: self.out.get_ref().path().to_owned(), source })
    }
}

impl End for CsvFile {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError> {
        let cells: Result<Vec<_>, _> = rows.columns().iter().map(cells).collect();
        let cells = cells.map_err(|error| SinkError::rows(self.out.get_ref().path(), &error))?;
        for row in 0..rows.num_rows() {
            for (index, cell) in cells.iter().enumerate() {
                separate(&mut self.line, index);
                cell(row, &mut self.line);
            }
            self.end_line()?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        let path = self.out.get_ref().path().to_owned();
        let draft = self.out.into_inner();
        draft.map_err(|error| SinkError::Io { path, source: error.into_error() })?.commit()?;
        Ok(())
    }
}

fn separate(line: &mut Vec<u8>, index: usize) {
    if index > 0 {
        line.push(b',');
    }
}

/// A text as a cell: in quotes where it holds what separates cells and lines, or would pass for null.
fn quote(line: &mut Vec<u8>, text: &str) {
    let plain = !text.is_empty() && !text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if plain {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    line.push(b'"');
}

/// Writes the value of a row.
type Cell = Box<dyn Fn(usize, &mut Vec<u8>)>;

/// What writes the values of a column.
fn cells(column: &ArrayRef) -> Result<Cell, ArrowError> {
    let nulls = column.logical_nulls();
    let write = values(column)?;
    Ok(match nulls {
        Some(nulls) if nulls.null_count() > 0 => Box::new(move |row, line| {
            if nulls.is_valid(row) {
                write(row, line);
            }
        }),
        _ => write,
    })
}

/// What writes the values of a column that are not null.
fn values(column: &ArrayRef) -> Result<Cell, ArrowError> {
    Ok(match column.data_type() {
        DataType::Float32 => shortest::<Float32Type>(column),
        DataType::Float64 => shortest::<Float64Type>(column),
        DataType::Timestamp(_, zone) => {
            let zone = if zone.is_some() { "Z" } else { "" };
            let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
            let exact = CastOptions { safe: false, ..CastOptions::default() };
            let times = cast_with_options(column, &nanoseconds, &exact)?;
            let times = times.as_primitive::<TimestampNanosecondType>().clone();
            Box::new(move |row, line| {
                let time = jiff::Timestamp::from_nanosecond(i128::from(times.value(row)))
                    .expect("64 bits of nanoseconds are within jiff's years");
                let text = time.strftime("%Y-%m-%dT%H:%M:%S.%9f");
                put(line, format_args!("{text}{zone}"));
            })
        }
        DataType::List(field) | DataType::LargeList(field) => {
            let list = cast(column, &DataType::LargeList(field.clone()))?;
            let list = list.as_list::<i64>().clone();
            let item = cells(list.values())?;
            Box::new(move |row, line| {
                let (from, to) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
                let mut text = Vec::new();
                for index in from..to {
                    if index > from {
                        text.push(b';');
                    }
                    item(index, &mut text);
                }
                quote(line, &String::from_utf8_lossy(&text));
            })
        }
        DataType::Utf8 => {
            let texts = column.as_string::<i32>().clone();
            Box::new(move |row, line| quote(line, texts.value(row)))
        }
        DataType::Dictionary(_, value) => {
            let column = cast(column, value)?;
            values(&column)?
        }
        kind if kind.is_unsigned_integer() => {
            let numbers = cast(column, &DataType::UInt64)?.as_primitive::<UInt64Type>().clone();
            Box::new(move |row, line| put(line, format_args!("{}", numbers.value(row))))
        }
        kind if kind.is_signed_integer() => {
            let numbers = cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
            Box::new(move |row, line| put(line, format_args!("{}", numbers.value(row))))
        }
        _ => {
            let formatter = ArrayFormatter::try_new(column, &FormatOptions::default())?;
            let texts = (0..column.len()).map(|row| formatter.value(row).try_to_string());
            let texts = texts.collect::<Result<Vec<String>, _>>()?;
            Box::new(move |row, line| quote(line, &texts[row]))
        }
    })
}

/// What writes fractions: Rust's own text, which is the shortest that reads back as the same number.
fn shortest<T: ArrowPrimitiveType>(column: &ArrayRef) -> Cell
where
    T::Native: std::fmt::Debug,
{
    let numbers = column.as_primitive::<T>().clone();
    Box::new(move |row, line| put(line, format_args!("{:?}", numbers.value(row))))
}

fn put(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("memory takes all that is written");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, DictionaryArray, Float32Array, Float64Array, Int16Array, ListArray, StringArray,
        TimestampNanosecondArray, UInt64Array,
    };
    use arrow::datatypes::{Int8Type, Int16Type, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::sink::samples;

    fn written(batches: &[RecordBatch]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let mut file =
            Box::new(CsvFile::create(Draft::create(&path).unwrap(), &batches[0].schema()).unwrap());
        batches.iter().for_each(|batch| file.take(batch).unwrap());
        file.finish().unwrap();
        std::fs::read_to_string(&path).unwrap()
    }

    fn one(columns: Vec<(&str, ArrayRef)>) -> String {
        written(&[RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
        .unwrap()])
    }

    #[test]
    fn each_kind_of_column_has_its_text() {
        let list = ListArray::from_iter_primitive::<Int16Type, _, _>([
            Some(vec![Some(517), None, Some(-1460)]),
            None,
            Some(vec![]),
        ]);
        let names: DictionaryArray<Int8Type> = [Some("tcp"), None, Some("a,\"b\"\n")].into_iter().collect();
        let times = TimestampNanosecondArray::from(vec![Some(1_795_339_800_250_000_001), Some(-1), None]);
        let text = one(vec![
            ("time", Arc::new(times.with_timezone("UTC"))),
            ("a \"name\"", Arc::new(names)),
            ("n", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
            ("i", Arc::new(Int16Array::from(vec![-5, 0, 7]))),
            ("f", Arc::new(Float32Array::from(vec![0.1, 1e-20, f32::NAN]))),
            ("d", Arc::new(Float64Array::from(vec![1.0 / 3.0, 1e300, -0.0]))),
            ("list", Arc::new(list)),
            ("is", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
            ("text", Arc::new(StringArray::from(vec![Some("x"), Some(""), None]))),
        ]);
        assert_eq!(
            text,
            "time,\"a \"\"name\"\"\",n,i,f,d,list,is,text\n\
             2026-11-22T09:30:00.250000001Z,tcp,18446744073709551615,-5,0.1,0.3333333333333333,517;;-1460,true,x\n\
             1969-12-31T23:59:59.999999999Z,,,0,1e-20,1e300,,false,\"\"\n\
             ,\"a,\"\"b\"\"\n\",0,7,NaN,-0.0,\"\",,\n"
        );
    }

    #[test]
    fn lines_know_nothing_of_batches_and_dictionaries() {
        let all = samples::scored(250, 4);
        let text = written(std::slice::from_ref(&all));
        assert_eq!(text, written(&samples::cut(&all, vec![1, 1, 90, 200], 6)));
        assert_eq!(text.lines().count(), 251);
        assert!(text.starts_with("window_start,flow_id,flow_start,"));
        assert!(text.lines().nth(1).unwrap().starts_with("2026-11-22T09:30:00.000000000Z,"));
    }

    #[test]
    fn a_run_without_rows_leaves_a_header() {
        let schema = Arc::new(Schema::new(vec![samples::schema().field(0).clone()]));
        assert_eq!(written(&[RecordBatch::new_empty(schema)]), "window_start\n");
    }

    proptest! {
        #[test]
        fn texts_and_fractions_read_back_as_they_were(
            texts in prop::collection::vec(".{0,12}|[,\"\r\n;]{1,6}", 1..8),
            bits in prop::collection::vec(any::<u64>(), 8),
        ) {
            let numbers: Vec<f64> = bits.into_iter().map(f64::from_bits).take(texts.len()).collect();
            let rows = one(vec![
                ("text", Arc::new(StringArray::from(texts.clone()))),
                ("number", Arc::new(Float64Array::from(numbers.clone()))),
            ]);
            let fields: Vec<_> = ["text", "number"].map(|name| arrow::datatypes::Field::new(name, DataType::Utf8, true)).into();
            let reader = arrow::csv::ReaderBuilder::new(Arc::new(Schema::new(fields))).with_header(true);
            let reader = reader.build(rows.as_bytes()).unwrap();
            let back: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
            let back = arrow::compute::concat_batches(&back[0].schema(), &back).unwrap();
            for (row, (text, number)) in texts.iter().zip(&numbers).enumerate() {
                // An empty text reads as null there.
                let column = back.column(0).as_string::<i32>();
                let found = if column.is_null(row) { "" } else { column.value(row) };
                prop_assert_eq!(found, text);
                let found: f64 = back.column(1).as_string::<i32>().value(row).parse().unwrap();
                prop_assert!(found.to_bits() == number.to_bits() || found.is_nan() && number.is_nan());
            }
        }
    }
}
