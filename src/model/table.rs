//! The tables of a model as Parquet, and back within limits.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::{Compression, Encoding, Repetition, Type, ZstdLevel};
use parquet::column::page::Page;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::checked::Checked;
use super::contents::Shape;
use super::{limits, pages};
use crate::reading::guarded;

/// Who wrote the tables.
const CREATED_BY: &str = concat!("netweir version ", env!("CARGO_PKG_VERSION"));

/// Level of Zstandard.
const LEVEL: i32 = 3;

/// A table as Parquet: the same rows give the same bytes.
///
/// # Errors
/// Says what Parquet refuses, or what is beyond the limits of reading.
pub(super) fn encode(table: &RecordBatch) -> Result<Bytes, String> {
    let line = |error: parquet::errors::ParquetError| one_line(&error);
    let options = ArrowWriterOptions::new()
        .with_properties(properties(table.schema_ref()).map_err(line)?)
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), table.schema(), options).map_err(line)?;
    writer.write(table).map_err(line)?;
    let bytes = Bytes::from(writer.into_inner().map_err(line)?);
    let opened = open(&bytes, table.num_rows() as u64)?;
    (0..opened.metadata.row_groups().first().map_or(0, RowGroupMetaData::num_columns))
        .try_for_each(|column| opened.pages(column).map(|_| ()))?;
    Ok(bytes)
}

/// How tables are written: plain and by dictionary only, since [`super::contents`] can check those.
pub(super) fn properties(schema: &Schema) -> Result<WriterProperties, parquet::errors::ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None);
    for field in schema.fields() {
        // Thresholds have few repeats: a dictionary would only cost.
        if field.data_type().is_floating() || *field.data_type() == DataType::UInt64 {
            let path = ColumnPath::from(field.name().as_str());
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::PLAIN);
        }
    }
    Ok(properties.build())
}

/// Reads a table of so many rows; texts come as `Utf8`.
///
/// # Errors
/// Says what is wrong with the bytes, or beyond the limits.
pub(super) fn decode(bytes: &Bytes, rows: u64) -> Result<RecordBatch, String> {
    let opened = open(bytes, rows)?;
    let columns =
        opened.fields.iter().enumerate().map(|(column, field)| plain(field, &opened.column(column)?));
    let columns = columns.collect::<Result<Vec<_>, String>>()?;
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| one_line(&error))
}

/// A table whose footer was checked.
struct Opened<'a> {
    bytes: &'a Bytes,
    rows: u64,
    metadata: Arc<ParquetMetaData>,
    fields: Fields,
}

impl Opened<'_> {
    /// A column, read by itself: then no more than its own pages are held beside what was read.
    fn column(&self, column: usize) -> Result<ArrayRef, String> {
        if self.rows == 0 {
            return Ok(new_empty_array(self.fields[column].data_type()));
        }
        let columns = self.metadata.file_metadata().schema_descr();
        let only = ProjectionMask::leaves(columns, [column]);
        let levels = parquet_to_arrow_field_levels(columns, only, Some(&self.fields));
        let levels = levels.map_err(|error| one_line(&error))?;
        let checked = Checked { metadata: &self.metadata, pages: self.pages(column)? };
        let read = guarded(|| -> Result<_, ArrowError> {
            let rows = self.rows as usize;
            ParquetRecordBatchReader::try_new_with_row_groups(&levels, &checked, rows, None)?
                .next()
                .transpose()
        })?;
        let read = read.ok_or("it has no rows")?;
        if read.num_rows() as u64 != self.rows {
            return Err(format!("it has {} rows, not {}", read.num_rows(), self.rows));
        }
        Ok(read.column(0).clone())
    }

    /// The pages of a column, checked.
    fn pages(&self, column: usize) -> Result<Vec<Page>, String> {
        let column = self.metadata.row_group(0).column(column);
        let (start, end) = extent(column, self.bytes)?;
        let shape = Shape {
            rows: self.rows,
            nullable: column.column_descr().max_def_level() > 0,
            width: match column.column_type() {
                Type::INT32 | Type::FLOAT => Some(4),
                Type::INT64 | Type::DOUBLE => Some(8),
                Type::BYTE_ARRAY => None,
                other => return Err(format!("column `{}` is {other}", name(column))),
            },
            compressed: column.compression() != Compression::UNCOMPRESSED,
        };
        pages::read(&self.bytes.slice(start..end), shape)
            .map_err(|what| format!("column `{}`: {what}", name(column)))
    }
}

/// A column with its texts spelled out for each row, once it is clear how long they are together.
fn plain(field: &Field, column: &ArrayRef) -> Result<(String, ArrayRef, bool), String> {
    let (name, nullable) = (field.name().clone(), field.is_nullable());
    let Some(texts) = column.as_dictionary_opt::<Int32Type>() else {
        return Ok((name, column.clone(), nullable));
    };
    let values = texts.values().as_string::<i32>();
    let bytes: u64 = texts.keys_iter().flatten().map(|key| values.value_length(key) as u64).sum();
    if bytes > limits::TEXT {
        return Err(format!("column `{name}` has {bytes} bytes of text, at most {} are read", limits::TEXT));
    }
    let column = cast(column, &DataType::Utf8).map_err(|error| one_line(&error))?;
    Ok((name, column, nullable))
}

/// Checks all that a table's footer says before a page is read.
fn open(bytes: &Bytes, rows: u64) -> Result<Opened<'_>, String> {
    let size = bytes.len() as u64;
    let allowed =
        limits::ROWS.min(limits::FREE_ROWS.saturating_add(size.saturating_mul(limits::ROWS_PER_BYTE)));
    if rows > allowed {
        return Err(format!("{rows} rows in {size} bytes are too many, at most {allowed} are read"));
    }
    let options = ArrowReaderOptions::new()
        .with_skip_arrow_metadata(true)
        .with_page_index_policy(PageIndexPolicy::Skip);
    let metadata = ArrowReaderMetadata::load(bytes, options.clone()).map_err(|error| one_line(&error))?;
    check(metadata.metadata(), bytes, rows)?;
    let fields = metadata.schema().fields().iter().map(|field| {
        let kind = match field.data_type() {
            // Read by dictionary, a long text that many rows share is there once.
            DataType::Utf8 => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            kind @ (DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float32
            | DataType::Float64) => kind.clone(),
            other => return Err(format!("column `{}` is {other}", field.name().escape_debug())),
        };
        Ok(Field::new(field.name(), kind, field.is_nullable()))
    });
    let fields = fields.collect::<Result<Vec<_>, _>>()?.into();
    Ok(Opened { bytes, rows, metadata: metadata.metadata().clone(), fields })
}

fn check(metadata: &ParquetMetaData, bytes: &Bytes, rows: u64) -> Result<(), String> {
    let file = metadata.file_metadata();
    let fields = file.schema_descr().root_schema().get_fields();
    let flat = |field: &parquet::schema::types::TypePtr| {
        let info = field.get_basic_info();
        field.is_primitive() && info.has_repetition() && info.repetition() != Repetition::REPEATED
    };
    if fields.len() > limits::COLUMNS || !fields.iter().all(flat) {
        return Err(format!(
            "it has more than {} columns, or columns of more than one value",
            limits::COLUMNS
        ));
    }
    let group = match metadata.row_groups() {
        [] if rows == 0 && file.num_rows() == 0 => return Ok(()),
        [group] => group,
        groups => return Err(format!("it has {} row groups, not 1", groups.len())),
    };
    for found in [whole(file.num_rows())?, whole(group.num_rows())?] {
        if found != rows {
            return Err(format!("it has {found} rows, not {rows}"));
        }
    }
    for column in group.columns() {
        if !matches!(column.compression(), Compression::UNCOMPRESSED | Compression::ZSTD(_)) {
            return Err(format!("column `{}` is compressed by other means than Zstandard", name(column)));
        }
        if whole(column.num_values())? != rows {
            return Err(format!("column `{}` has {} values, not {rows}", name(column), column.num_values()));
        }
        extent(column, bytes)?;
    }
    Ok(())
}

/// Where the pages of a column begin and end.
fn extent(column: &ColumnChunkMetaData, bytes: &Bytes) -> Result<(usize, usize), String> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let (start, length) = (whole(start)?, whole(column.compressed_size())?);
    let end = start.checked_add(length).filter(|end| *end <= bytes.len() as u64);
    let end = end.ok_or_else(|| format!("column `{}` goes beyond the end", name(column)))?;
    Ok((start as usize, end as usize))
}

fn name(column: &ColumnChunkMetaData) -> String {
    column.column_path().string().escape_debug().to_string()
}

fn whole(number: i64) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| "a size is negative".to_owned())
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
