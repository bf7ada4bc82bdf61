//! What is usual in the columns of a forest's rows, by partition: no part of the score, but what people hold a value
//! against. Table `usual` of the model file.
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `partition` | text | its name; null for all rows together |
//! | `column` | text | a column of numbers |
//! | `low`, `median`, `high` | f64 | of the rows kept in training: the value at one, fifty and ninety-nine in a hundred |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use rayon::prelude::*;

use super::reason::Usual;
use super::{DetectError, Samples};
use crate::encode::numbers;
use crate::reading::{Damage, Table, Tables};

/// Name of the table.
pub(super) const TABLE: &str = "usual";

/// The values at one, fifty and ninety-nine in a hundred.
type Quantiles = [f64; 3];

/// What is usual, by partition (none for all) and column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usuals(BTreeMap<Option<String>, BTreeMap<String, Quantiles>>);

impl Usuals {
    /// Of the rows kept in training.
    pub(super) fn learned(samples: &Samples) -> Usuals {
        let mut usuals = BTreeMap::new();
        let Some(first) = samples.partitions.first() else { return Usuals::default() };
        let schema = first.rows.schema();
        // Each column of each partition as numbers, for the partition's own and for all together.
        let columns: Vec<usize> =
            (0..schema.fields().len()).filter(|at| schema.field(*at).data_type().is_numeric()).collect();
        let read: Vec<Vec<Vec<f64>>> = samples
            .partitions
            .par_iter()
            .map(|sample| {
                let column = |at: &usize| {
                    let mut values = Vec::new();
                    numbers(sample.rows.column(*at).as_ref(), &mut values);
                    values
                };
                columns.iter().map(column).collect()
            })
            .collect();
        let named = |quantiles: Vec<Option<Quantiles>>| -> BTreeMap<String, Quantiles> {
            let named = columns.iter().zip(quantiles);
            named.filter_map(|(at, found)| Some((schema.field(*at).name().clone(), found?))).collect()
        };
        for (sample, columns) in samples.partitions.iter().zip(&read) {
            let found = columns.par_iter().map(|values| quantiles(values.clone())).collect();
            usuals.insert(Some(sample.partition.to_string()), named(found));
        }
        let all = |column: usize| {
            let rows = samples.all.iter();
            quantiles(rows.map(|(partition, row)| read[*partition as usize][column][*row as usize]).collect())
        };
        usuals.insert(None, named((0..columns.len()).into_par_iter().map(all).collect()));
        Usuals(usuals)
    }

    /// What is usual in a partition; for one that training did not see, in all.
    pub(super) fn of(&self, partition: &str) -> Of<'_> {
        let own =
            self.0.iter().find(|(name, _)| name.as_deref() == Some(partition)).map(|(_, columns)| columns);
        Of(own.or_else(|| self.0.get(&None)))
    }

    /// As a table of the model file.
    pub(super) fn to_table(&self) -> Result<RecordBatch, DetectError> {
        let rows =
            || self.0.iter().flat_map(|(p, columns)| columns.iter().map(move |(c, q)| (p.as_deref(), c, q)));
        let numbers = |at: usize| -> ArrayRef {
            Arc::new(rows().map(|(_, _, quantiles)| Some(quantiles[at])).collect::<Float64Array>())
        };
        let table: [(&str, ArrayRef, bool); 5] = [
            ("partition", Arc::new(rows().map(|(partition, ..)| partition).collect::<StringArray>()), true),
            ("column", Arc::new(rows().map(|(_, column, _)| Some(column)).collect::<StringArray>()), false),
            ("low", numbers(0), false),
            ("median", numbers(1), false),
            ("high", numbers(2), false),
        ];
        Ok(RecordBatch::try_from_iter_with_nullable(table)?)
    }

    /// From its table.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn from_tables(tables: &Tables) -> Result<Usuals, Damage> {
        let table = Table::find(tables, TABLE)?;
        let (partitions, columns) = (table.optional_texts("partition")?, table.texts("column")?);
        let quantiles = [table.floats("low")?, table.floats("median")?, table.floats("high")?];
        let mut usuals: BTreeMap<Option<String>, BTreeMap<String, Quantiles>> = BTreeMap::new();
        for row in 0..table.rows.num_rows() {
            let found = quantiles.map(|values| values[row]);
            if !found.is_sorted() {
                return Err(table.damaged_at(row, "its values are not in order"));
            }
            let partition = partitions.is_valid(row).then(|| partitions.value(row).to_owned());
            usuals.entry(partition).or_default().insert(columns.value(row).to_owned(), found);
        }
        Ok(Usuals(usuals))
    }
}

/// What is usual in a partition.
pub(super) struct Of<'a>(Option<&'a BTreeMap<String, Quantiles>>);

impl Of<'_> {
    /// What is usual for a value of a column; `None` where nobody knows.
    pub(super) fn get(&self, column: &str, value: f64) -> Option<Usual> {
        let [low, median, high] = *self.0?.get(column)?;
        let below = value < median;
        Some(Usual { median, extreme: if below { low } else { high }, low: below, own: true })
    }
}

fn quantiles(mut values: Vec<f64>) -> Option<Quantiles> {
    values.retain(|value| value.is_finite());
    let last = values.len().checked_sub(1)?;
    let mut at = |share: usize| *values.select_nth_unstable_by(last * share / 100, f64::total_cmp).1;
    Some([at(1), at(50), at(99)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Partitions, Reservoir};
    use arrow::array::UInt32Array;

    fn usuals() -> Usuals {
        let mut reservoir = Reservoir::new(2000, 1);
        let column: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..=1000));
        let rows = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let identities: Vec<_> = (0..1001).map(|n| (n, 0)).collect();
        reservoir.observe(&rows, &Partitions::one("tcp", 1001), &identities).unwrap();
        Usuals::learned(&reservoir.finish().unwrap())
    }

    #[test]
    fn usual_is_the_median_and_the_hundredth_on_the_value_s_side() {
        let usuals = usuals();
        let usual = |value: f64| usuals.of("tcp").get("x", value).unwrap();
        assert_eq!(usual(700.0), Usual { median: 500.0, extreme: 990.0, low: false, own: true });
        assert_eq!(usual(7.0), Usual { median: 500.0, extreme: 10.0, low: true, own: true });
        assert_eq!(usuals.of("unseen").get("x", 7.0), Some(usual(7.0)));
        assert_eq!(usuals.of("tcp").get("y", 7.0), None);
    }

    #[test]
    fn tables_bring_it_back_and_damage_is_named() {
        let table = usuals().to_table().unwrap();
        let read = |table: &RecordBatch| Usuals::from_tables(&[(TABLE.to_owned(), table.clone())].into());
        assert_eq!(read(&table).unwrap(), usuals());
        for column in 0..table.num_columns() {
            let keep: Vec<usize> = (0..table.num_columns()).filter(|at| *at != column).collect();
            let error = read(&table.project(&keep).unwrap()).unwrap_err().to_string();
            assert!(error.contains("`usual`"), "{error}");
        }
    }
}
