//! The partition of each row: its protocol class, or the value of a column.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use hashbrown::HashMap;

use super::DetectError;

/// Partitions at most: each keeps a reservoir of rows and may get a forest.
pub const MAX_PARTITIONS: usize = 1024;

/// What separates rows into partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionBy {
    /// `tcp`, `udp`, `icmp` (protocols 1 and 58) or `other`, from column `protocol`.
    ProtocolClass,
    /// One partition, `all`.
    None,
    /// The value of this column, as text; rows without a value are in partition `null`.
    Column(String),
}

impl PartitionBy {
    /// From the text of the pipeline file.
    pub fn parse(text: &str) -> PartitionBy {
        match text {
            "protocol_class" => PartitionBy::ProtocolClass,
            "none" => PartitionBy::None,
            column => PartitionBy::Column(column.to_owned()),
        }
    }

    /// The column that rows need for it.
    pub fn column(&self) -> Option<&str> {
        match self {
            PartitionBy::ProtocolClass => Some("protocol"),
            PartitionBy::None => None,
            PartitionBy::Column(column) => Some(column),
        }
    }
}

/// The partition of each row of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Partitions {
    names: Vec<Arc<str>>,
    of_row: Vec<u32>,
}

impl Partitions {
    /// All rows in the partition of one name.
    pub fn one(name: &str, rows: usize) -> Partitions {
        Partitions { names: vec![name.into()], of_row: vec![0; rows] }
    }

    /// The names, each once, in no order that means anything; some may belong to no row.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// For each row the index of its name.
    pub fn of_row(&self) -> &[u32] {
        &self.of_row
    }

    /// The name of a row's partition.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn name(&self, row: usize) -> &Arc<str> {
        &self.names[self.of_row[row] as usize]
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.of_row.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.of_row.is_empty()
    }

    /// Groups rows by a key; a key's name is made once for each batch.
    fn group<K: std::hash::Hash + Eq + Copy>(
        keys: impl Iterator<Item = K>,
        name: impl Fn(K) -> Arc<str>,
    ) -> Partitions {
        let mut partitions = Partitions::default();
        let mut indices: HashMap<K, u32> = HashMap::new();
        // Successive rows often share their partition.
        let mut last = None;
        for key in keys {
            let index = match last {
                Some((same, index)) if same == key => index,
                _ => *indices.entry(key).or_insert_with(|| {
                    partitions.names.push(name(key));
                    partitions.names.len() as u32 - 1
                }),
            };
            last = Some((key, index));
            partitions.of_row.push(index);
        }
        partitions
    }
}

/// The partition of each row of `rows`.
///
/// Text of dictionaries is looked at once for each value, not for each row. Whole numbers are written in
/// decimal, booleans as `true` and `false`.
///
/// # Errors
/// [`DetectError::NoColumn`] and [`DetectError::ColumnType`] for a column that is not there or has no few
/// values by nature.
pub fn partitions(rows: &RecordBatch, by: &PartitionBy) -> Result<Partitions, DetectError> {
    let Some(column) = by.column() else {
        return Ok(Partitions::one("all", rows.num_rows()));
    };
    let values =
        rows.column_by_name(column).ok_or_else(|| DetectError::NoColumn { column: column.to_owned() })?;
    match by {
        PartitionBy::ProtocolClass => protocol_classes(values, column),
        _ => of_values(values, column),
    }
}

const CLASSES: [&str; 4] = ["tcp", "udp", "icmp", "other"];

fn class(protocol: u64) -> u32 {
    match protocol {
        6 => 0,
        17 => 1,
        1 | 58 => 2,
        _ => 3,
    }
}

fn protocol_classes(values: &ArrayRef, column: &str) -> Result<Partitions, DetectError> {
    if !values.data_type().is_integer() {
        return Err(not_by(values, column));
    }
    // A number that does not fit, or none at all, is no protocol we know.
    let values = cast(values, &DataType::UInt64)?;
    let values = values.as_primitive::<UInt64Type>();
    let of_row = (0..values.len()).map(|row| if values.is_valid(row) { class(values.value(row)) } else { 3 });
    Ok(Partitions { of_row: of_row.collect(), names: CLASSES.map(Arc::from).to_vec() })
}

fn of_values(values: &ArrayRef, column: &str) -> Result<Partitions, DetectError> {
    match values.data_type() {
        DataType::Dictionary(_, _) => {
            let dictionary = values.as_any_dictionary();
            // Values may repeat or differ only by type, so texts are compared, each once.
            let names = of_values(dictionary.values(), column)?;
            let keys = cast(dictionary.keys(), &DataType::Int64)?;
            let keys = keys.as_primitive::<Int64Type>();
            let keys = (0..keys.len()).map(|row| {
                let key = keys.is_valid(row).then(|| keys.value(row) as usize)?;
                Some(names.of_row[key])
            });
            let null = names.names.iter().position(|name| **name == *NULL).map(|index| index as u32);
            // A null key and the text of the same name are one partition.
            let keys = keys.map(|key| key.or(null));
            Ok(Partitions::group(keys, |key| match key {
                Some(key) => names.names[key as usize].clone(),
                None => NULL.into(),
            }))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let values = cast(values, &DataType::LargeUtf8)?;
            let values = values.as_string::<i64>();
            Ok(Partitions::group(values.iter().map(|value| value.unwrap_or(NULL)), Arc::from))
        }
        DataType::Boolean => {
            let values = values.as_boolean();
            Ok(Partitions::group(values.iter(), |value| match value {
                Some(true) => "true".into(),
                Some(false) => "false".into(),
                None => NULL.into(),
            }))
        }
        DataType::UInt64 => Ok(numbers(values.as_primitive::<UInt64Type>().iter())),
        whole if whole.is_integer() => {
            let values = cast(values, &DataType::Int64)?;
            Ok(numbers(values.as_primitive::<Int64Type>().iter()))
        }
        _ => Err(not_by(values, column)),
    }
}

/// The partition of rows without a value.
const NULL: &str = "null";

fn numbers<N: std::hash::Hash + Eq + Copy + std::fmt::Display>(
    values: impl Iterator<Item = Option<N>>,
) -> Partitions {
    Partitions::group(values, |value| {
        let mut name = String::new();
        match value {
            Some(value) => write!(name, "{value}").expect("a string takes all text"),
            None => name.push_str(NULL),
        }
        name.into()
    })
}

fn not_by(values: &ArrayRef, column: &str) -> DetectError {
    DetectError::ColumnType { column: column.to_owned(), found: values.data_type().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, Float32Array, Int16Array, StringArray, UInt8Array};
    use arrow::datatypes::Int8Type;

    fn names_of(column: &str, values: ArrayRef, by: &str) -> Vec<String> {
        let rows = RecordBatch::try_from_iter([(column, values)]).unwrap();
        let partitions = partitions(&rows, &PartitionBy::parse(by)).unwrap();
        let mut names: Vec<_> = partitions.names().to_vec();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), partitions.names().len(), "names are unique");
        (0..partitions.len()).map(|row| partitions.name(row).to_string()).collect()
    }

    #[test]
    fn icmp_of_both_families_is_one_class() {
        let protocols = UInt8Array::from(vec![6, 17, 1, 58, 47, 0]);
        assert_eq!(
            names_of("protocol", Arc::new(protocols), "protocol_class"),
            ["tcp", "udp", "icmp", "icmp", "other", "other"]
        );
    }

    #[test]
    fn dictionaries_texts_and_numbers_give_their_text() {
        let texts = ["b", "a", "b", "b"];
        assert_eq!(names_of("x", Arc::new(StringArray::from(texts.to_vec())), "x"), texts);
        let dictionary: DictionaryArray<Int8Type> =
            [Some("b"), None, Some("null"), Some("b")].into_iter().collect();
        assert_eq!(names_of("x", Arc::new(dictionary), "x"), ["b", "null", "null", "b"]);
        let numbers = Int16Array::from(vec![Some(-3), None, Some(7)]);
        assert_eq!(names_of("x", Arc::new(numbers), "x"), ["-3", "null", "7"]);
    }

    #[test]
    fn a_dictionary_that_repeats_a_value_gives_one_partition() {
        let keys = arrow::array::Int8Array::from(vec![Some(0), Some(1), Some(2), None]);
        let values = StringArray::from(vec![Some("a"), Some("a"), None]);
        let dictionary = DictionaryArray::<Int8Type>::try_new(keys, Arc::new(values)).unwrap();
        assert_eq!(names_of("x", Arc::new(dictionary), "x"), ["a", "a", "null", "null"]);
    }

    #[test]
    fn none_is_one_partition() {
        assert_eq!(names_of("x", Arc::new(Int16Array::from(vec![1, 2])), "none"), ["all", "all"]);
    }

    #[test]
    fn missing_columns_and_fractions_are_refused() {
        let rows =
            RecordBatch::try_from_iter([("x", Arc::new(Float32Array::from(vec![1.0])) as ArrayRef)]).unwrap();
        let by = |by: &str| partitions(&rows, &PartitionBy::parse(by));
        assert!(matches!(by("x"), Err(DetectError::ColumnType { .. })));
        assert!(matches!(by("y"), Err(DetectError::NoColumn { .. })));
        assert!(matches!(by("protocol_class"), Err(DetectError::NoColumn { .. })));
    }
}
