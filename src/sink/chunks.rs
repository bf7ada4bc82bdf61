//! Rows in chunks of one size, whatever the batches that they came in.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{BatchCoalescer, cast};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;

/// Gathers batches to chunks of a fixed number of rows.
///
/// Dictionaries are resolved on the way: each batch has its own, and what is written must not depend on
/// how a worker happened to number its values.
pub(super) struct Chunks {
    schema: SchemaRef,
    gathered: BatchCoalescer,
}

impl Chunks {
    /// Chunks of `rows` rows of `schema`; texts of dictionaries become `text`.
    pub(super) fn new(schema: &Schema, rows: usize, text: &DataType) -> Chunks {
        let fields = schema.fields().iter().map(|field| {
            let kind = resolved(field.data_type(), text);
            Arc::new(field.as_ref().clone().with_data_type(kind))
        });
        let schema = Schema::new(fields.collect::<Vec<_>>()).with_metadata(schema.metadata().clone());
        let schema = Arc::new(schema);
        Chunks { schema: schema.clone(), gathered: BatchCoalescer::new(schema, rows) }
    }

    /// The columns of chunks.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes the next rows.
    pub(super) fn push(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        if rows.num_columns() != self.schema.fields().len() {
            let (found, expected) = (rows.num_columns(), self.schema.fields().len());
            return Err(ArrowError::SchemaError(format!("{found} columns came, {expected} were expected")));
        }
        let columns =
            rows.columns().iter().zip(self.schema.fields()).map(|(column, field)| match column.data_type() {
                DataType::Dictionary(..) => cast(column, field.data_type()),
                _ => Ok(column.clone()),
            });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        self.gathered.push_batch(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    /// The next chunk, if it is full.
    pub(super) fn next(&mut self) -> Option<RecordBatch> {
        self.gathered.next_completed_batch()
    }

    /// No more rows come: makes the rest a chunk.
    pub(super) fn end(&mut self) -> Result<(), ArrowError> {
        self.gathered.finish_buffered_batch()
    }
}

/// The type of a column once its dictionary is resolved.
fn resolved(kind: &DataType, text: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, value) => match value.as_ref() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text.clone(),
            value => value.clone(),
        },
        other => other.clone(),
    }
}
