//! Rows in, the same rows with their scores out.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int16Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int16Type, Schema, SchemaRef};

use super::{Detector, Partitions};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Names of the columns that scoring adds.
pub const ADDED: [&str; 4] = ["score", "p_value", "is_anomaly", "partition"];

/// The schema of scored rows.
pub fn scored_schema(rows: &Schema) -> SchemaRef {
    let text = DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8));
    let added = [DataType::Float64, DataType::Float64, DataType::Boolean, text];
    let fields = rows.fields().iter().filter(|field| !ADDED.contains(&field.name().as_str())).cloned();
    let added = ADDED.iter().zip(added).map(|(name, kind)| Arc::new(Field::new(*name, kind, false)));
    Arc::new(Schema::new(fields.chain(added).collect::<Vec<_>>()).with_metadata(rows.metadata().clone()))
}

/// The rows with their scores, in the columns of [`ADDED`]; scores above the threshold are anomalies, `schema` is that
/// of [`scored_schema`].
///
/// # Errors
/// If the rows are not of the make that the detector was fitted on.
pub fn scored(
    detector: &dyn Detector,
    threshold: f64,
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, AnyError> {
    let found = detector.score(rows)?;
    let anomalies: BooleanArray = found.scores.iter().map(|score| Some(*score > threshold)).collect();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        if !ADDED.contains(&field.name().as_str()) {
            columns.push(column.clone());
        }
    }
    columns.push(Arc::new(Float64Array::from(found.scores)));
    columns.push(Arc::new(Float64Array::from(found.p_values)));
    columns.push(Arc::new(anomalies));
    columns.push(Arc::new(names(&found.partitions)));
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn names(partitions: &Partitions) -> DictionaryArray<Int16Type> {
    let keys: Int16Array = partitions.of_row().iter().map(|index| Some(*index as i16)).collect();
    let values: StringArray = partitions.names().iter().map(|name| Some(name.as_ref())).collect();
    DictionaryArray::new(keys, Arc::new(values))
}
