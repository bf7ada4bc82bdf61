//! A fitted detector with its encoders: rows in, the same rows with their scores out.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int16Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int16Type, Schema, SchemaRef};

use super::{Detector, PartitionedForest, Partitions, partitions};
use crate::encode::Encoders;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What scores rows.
#[derive(Debug, Clone)]
pub struct Scorer {
    /// Columns to numbers.
    pub encoders: Encoders,
    /// Numbers to scores.
    pub forest: PartitionedForest,
}

/// Names of the columns that scoring adds.
pub const ADDED: [&str; 3] = ["score", "is_anomaly", "partition"];

/// The schema of scored rows.
pub fn scored_schema(rows: &Schema) -> SchemaRef {
    let text = DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8));
    let added = [DataType::Float64, DataType::Boolean, text];
    let fields = rows.fields().iter().filter(|field| !ADDED.contains(&field.name().as_str())).cloned();
    let added = ADDED.iter().zip(added).map(|(name, kind)| Arc::new(Field::new(*name, kind, false)));
    Arc::new(Schema::new(fields.chain(added).collect::<Vec<_>>()).with_metadata(rows.metadata().clone()))
}

impl Scorer {
    /// The rows with their scores, in the columns `score`, `is_anomaly`, `partition`.
    ///
    /// # Errors
    /// If the rows are not of the make that the model was fitted on.
    pub fn score(&self, rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, AnyError> {
        let settings = self.forest.detect_settings();
        let partitions = partitions(rows, settings.partition_by())?;
        let encoded = self.encoders.encode(rows)?;
        let scores = self.forest.score(encoded.view(), &partitions)?;
        let threshold = self.forest.threshold();
        let anomalies: BooleanArray = scores.iter().map(|score| Some(*score > threshold)).collect();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            if !ADDED.contains(&field.name().as_str()) {
                columns.push(column.clone());
            }
        }
        columns.push(Arc::new(Float64Array::from(scores)));
        columns.push(Arc::new(anomalies));
        columns.push(Arc::new(names(&partitions)));
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}

fn names(partitions: &Partitions) -> DictionaryArray<Int16Type> {
    let keys: Int16Array = partitions.of_row().iter().map(|index| Some(*index as i16)).collect();
    let values: StringArray = partitions.names().iter().map(|name| Some(name.as_ref())).collect();
    DictionaryArray::new(keys, Arc::new(values))
}
