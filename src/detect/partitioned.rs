//! A forest for each partition, a fallback for small and unseen ones, and the threshold.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::calibration::Steps;
use super::random::tree_seed;
use super::tree::MAX_FEATURES;
use super::{DetectError, DetectSettings, DetectSpec, Forest, PartitionBy, Partitions, Samples, tables};

/// Why encoders refused rows.
pub type EncodeError = Box<dyn std::error::Error + Send + Sync>;

/// What training saw of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSummary {
    /// Its name.
    pub partition: Arc<str>,
    /// Rows in training.
    pub rows: u64,
    /// Rows that were kept for trees and threshold.
    pub kept: u64,
    /// Rows each tree of its own forest was grown from; none if the fallback scores it.
    pub sample: Option<u32>,
}

/// Isolation Forests by partition.
#[derive(Clone, Debug)]
pub struct PartitionedForest {
    settings: DetectSettings,
    seed: u64,
    /// By name.
    partitions: Vec<PartitionSummary>,
    /// Of the partitions that have one of their own.
    forests: BTreeMap<Arc<str>, Forest>,
    fallback: Forest,
    threshold: f64,
    /// Of the scores of the kept rows.
    tail: Steps,
}

/// What [`PartitionedForest::settings`] gives.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    detect: DetectSpec,
    seed: u64,
    features: usize,
}

impl PartitionedForest {
    /// Fits forests to samples; `encode` turns raw rows into numbers, one line for each row.
    ///
    /// A partition gets a forest of its own if it had at least `min_partition` rows; the fallback is fitted on
    /// the sample over all rows, and is the only forest when nothing separates partitions. A tree's seed
    /// is made of `seed`, the partition's name and the tree's number.
    ///
    /// The threshold is the smallest score of a kept row such that the kept rows that score no higher stand
    /// for at least the share of training rows that the settings ask for; a kept row stands for
    /// (rows / kept rows) of its partition. Equal scores are therefore on one side, below, and at most the
    /// rest of the rows lies above.
    ///
    /// # Errors
    /// [`DetectError::Empty`] without rows, [`DetectError::Encode`], [`DetectError::RowCount`] or
    /// [`DetectError::FeatureCount`] if the matrices of `encode` do not fit, [`DetectError::TooManyFeatures`].
    pub fn fit(
        samples: &Samples,
        encode: &dyn Fn(&RecordBatch) -> Result<Array2<f32>, EncodeError>,
        settings: &DetectSettings,
        seed: u64,
    ) -> Result<PartitionedForest, DetectError> {
        let mut encoded: Vec<Array2<f32>> = Vec::with_capacity(samples.partitions.len());
        for sample in &samples.partitions {
            let rows = encode(&sample.rows).map_err(DetectError::Encode)?;
            let expected = sample.rows.num_rows();
            if rows.nrows() != expected {
                return Err(DetectError::RowCount { what: "encoded rows", expected, found: rows.nrows() });
            }
            let expected = encoded.first().map_or(rows.ncols(), Array2::ncols);
            if rows.ncols() != expected {
                return Err(DetectError::FeatureCount { expected, found: rows.ncols() });
            }
            encoded.push(rows);
        }
        let features = encoded.first().ok_or(DetectError::Empty)?.ncols();
        let fit = |rows: ArrayView2<'_, f32>, name: Option<&str>| {
            Forest::fit(rows, settings.trees(), settings.sample(), |tree| tree_seed(seed, name, tree))
        };

        let mut all = Array2::zeros((samples.all.len(), features));
        for (mut to, (partition, row)) in all.rows_mut().into_iter().zip(&samples.all) {
            to.assign(&encoded[*partition as usize].row(*row as usize));
        }
        let fallback = fit(all.view(), None)?;
        drop(all);
        let mut forests = BTreeMap::new();
        let mut partitions = Vec::new();
        for (sample, rows) in samples.partitions.iter().zip(&encoded) {
            let separate = *settings.partition_by() != PartitionBy::None;
            let own = separate && sample.seen >= settings.min_partition();
            if own {
                forests.insert(sample.partition.clone(), fit(rows.view(), Some(&sample.partition))?);
            }
            partitions.push(PartitionSummary {
                partition: sample.partition.clone(),
                rows: sample.seen,
                kept: rows.nrows() as u64,
                sample: forests.get(&sample.partition).map(Forest::sample),
            });
        }

        let scores = partitions.par_iter().zip(&encoded).map(|(partition, rows)| {
            let forest = forests.get(&partition.partition).unwrap_or(&fallback);
            let scores = forest.score(rows.view())?;
            let weight = (u128::from(partition.rows) << 32) / u128::from(partition.kept.max(1));
            Ok(scores.into_iter().map(|score| (score, weight)).collect::<Vec<_>>())
        });
        let mut scores = scores.collect::<Result<Vec<_>, DetectError>>()?.concat();
        let tail = Steps::weighted(&mut scores);
        let threshold = match settings.spec().false_alarm_rate {
            Some(rate) => threshold_at(&tail, rate)?,
            None => weighted_quantile(scores, settings.share_below()),
        };
        let settings = settings.clone();
        Ok(PartitionedForest { settings, seed, partitions, forests, fallback, threshold, tail })
    }

    /// Reads what [`PartitionedForest::settings`] and [`PartitionedForest::tables`] gave.
    ///
    /// # Errors
    /// [`DetectError::Damaged`] for everything that no fit can have written.
    pub fn from_tables(
        settings: &serde_json::Value,
        tables: &[(String, RecordBatch)],
    ) -> Result<PartitionedForest, DetectError> {
        let damaged = |what: String| DetectError::Damaged { table: "settings".to_owned(), what };
        let Settings { detect, seed, features } =
            Settings::deserialize(settings).map_err(|error| damaged(error.to_string()))?;
        let settings = detect.check().map_err(|error| damaged(error.to_string()))?;
        if features > MAX_FEATURES {
            return Err(damaged(format!("{features} features")));
        }
        let read = tables::read(tables, settings.trees(), features)?;
        Ok(PartitionedForest {
            settings,
            seed,
            partitions: read.partitions,
            forests: read.forests,
            fallback: read.fallback,
            threshold: read.threshold,
            tail: read.tail,
        })
    }

    /// What it was fitted with.
    pub fn detect_settings(&self) -> &DetectSettings {
        &self.settings
    }

    /// The partitions of training, by name.
    pub fn partitions(&self) -> &[PartitionSummary] {
        &self.partitions
    }

    /// The forest that scores a partition.
    pub fn forest(&self, partition: &str) -> &Forest {
        self.forests.get(partition).unwrap_or(&self.fallback)
    }

    /// The forest of small and unseen partitions.
    pub fn fallback(&self) -> &Forest {
        &self.fallback
    }

    /// Encoded columns it was fitted on.
    pub fn features(&self) -> usize {
        self.fallback.features()
    }

    /// Scores every row; higher is odder. `rows` is `[n_rows, n_features]`, encoded as when the forests were
    /// fitted; the result has one score for each row, in their order, never NaN.
    ///
    /// # Errors
    /// [`DetectError::FeatureCount`] and [`DetectError::RowCount`] for matrices of another shape.
    pub fn score(&self, rows: ArrayView2<'_, f32>, partitions: &Partitions) -> Result<Vec<f64>, DetectError> {
        let (expected, found) = (rows.nrows(), partitions.len());
        if expected != found {
            return Err(DetectError::RowCount { what: "partitions", expected, found });
        }
        let rows = rows.as_standard_layout();
        let mut scores = vec![0.0; expected];
        // All rows of one partition are scored together; those of the fallback's are too few to matter.
        let mut of_partition = vec![Vec::new(); partitions.names().len()];
        for (row, partition) in (0..).zip(partitions.of_row()) {
            of_partition[*partition as usize].push(row);
        }
        for (name, which) in partitions.names().iter().zip(of_partition) {
            self.forest(name).score_some(rows.view(), &which, &mut scores)?;
        }
        Ok(scores)
    }

    /// Scores above it are anomalies.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// The share of kept rows, by the rows that they stand for, that score as high.
    pub fn p_value(&self, score: f64) -> f64 {
        self.tail.p_value(score)
    }

    /// The threshold beyond which p-values are at most `false_alarm_rate`.
    ///
    /// # Errors
    /// [`DetectError::FewRows`].
    pub fn threshold_at(&self, false_alarm_rate: f64) -> Result<f64, DetectError> {
        threshold_at(&self.tail, false_alarm_rate)
    }

    /// What every tree's seed descends from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What it was made with, for the manifest of the model file.
    pub fn settings(&self) -> serde_json::Value {
        let detect = self.settings.spec().clone();
        let settings = Settings { detect, seed: self.seed, features: self.features() };
        serde_json::to_value(settings).expect("numbers and texts are JSON")
    }

    /// What it learned, as named tables for the model file. The same fit gives the same tables.
    ///
    /// # Errors
    /// [`DetectError::Arrow`], which a fitted forest does not cause.
    pub fn tables(&self) -> Result<Vec<(String, RecordBatch)>, DetectError> {
        tables::write(&self.partitions, &self.forests, &self.fallback, self.threshold, &self.tail)
    }
}

fn threshold_at(tail: &Steps, rate: f64) -> Result<f64, DetectError> {
    let needed = (1.0 / rate).ceil() as u64 - 1;
    tail.beyond(rate).ok_or(DetectError::FewRows { rate, needed, found: tail.all() as u64 })
}

/// The smallest score such that scores up to it have at least `share` of the weight.
///
/// The share is taken less one part in 2^40, so that 0.99 of a thousand rows is 990 of them, although no binary
/// fraction is 0.99. Weights are whole numbers: their sum has no order.
fn weighted_quantile(mut scores: Vec<(f64, u128)>, share: f64) -> f64 {
    scores.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let total: u128 = scores.iter().map(|(_, weight)| weight).sum();
    let wanted = (share * (1.0 - 2f64.powi(-40)) * total as f64).ceil() as u128;
    let mut below = 0;
    for (score, weight) in &scores {
        below += weight;
        if below >= wanted {
            return *score;
        }
    }
    scores.last().map_or(1.0, |(score, _)| *score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Reservoir;
    use crate::detect::random::SplitMix64;
    use arrow::array::{ArrayRef, AsArray, Float32Array, UInt32Array};
    use arrow::datatypes::{Float32Type, Float64Type};

    /// Two columns; rows of `b` lie elsewhere than those of `a`.
    fn training(rows: &[(&str, u64)], reservoir: usize, seed: u64) -> Samples {
        let mut samples = Reservoir::new(reservoir, seed);
        let mut random = SplitMix64::new(9);
        let mut next = 0;
        for (name, count) in rows {
            let shift = if *name == "b" { 100.0 } else { 0.0 };
            let column = |random: &mut SplitMix64| -> ArrayRef {
                Arc::new(Float32Array::from_iter_values((0..*count).map(|_| random.unit() as f32 + shift)))
            };
            let batch =
                RecordBatch::try_from_iter([("x", column(&mut random)), ("y", column(&mut random))]).unwrap();
            let identities: Vec<_> = (next..next + count).map(|n| (0, n)).collect();
            next += count;
            samples.observe(&batch, &Partitions::one(name, *count as usize), &identities).unwrap();
        }
        samples.finish().unwrap()
    }

    fn encode(rows: &RecordBatch) -> Result<Array2<f32>, EncodeError> {
        let columns: Vec<_> = rows.columns().iter().map(|c| c.as_primitive::<Float32Type>()).collect();
        Ok(Array2::from_shape_fn((rows.num_rows(), columns.len()), |(i, j)| columns[j].value(i)))
    }

    fn spec() -> DetectSpec {
        DetectSpec {
            trees: 20,
            sample: 64,
            reservoir: 1000,
            partition_by: "service".into(),
            ..DetectSpec::default()
        }
    }

    fn fitted() -> PartitionedForest {
        let samples = training(&[("a", 3000), ("b", 500), ("small", 20)], 1000, 5);
        PartitionedForest::fit(&samples, &encode, &spec().check().unwrap(), 5).unwrap()
    }

    #[test]
    fn each_row_is_scored_by_the_forest_of_its_partition() {
        let forest = fitted();
        let samples: Vec<_> =
            forest.partitions().iter().map(|p| (&*p.partition, p.rows, p.kept, p.sample)).collect();
        assert_eq!(
            samples,
            [("a", 3000, 1000, Some(64)), ("b", 500, 500, Some(64)), ("small", 20, 20, None)]
        );
        let names = ["b", "a", "new", "a", "small", "b", "b", "b", "a", "b"];
        let rows = Array2::from_shape_fn((10, 2), |(i, j)| (i % 4 * 33 + j) as f32);
        let column: ArrayRef = Arc::new(arrow::array::StringArray::from(names.to_vec()));
        let batch = RecordBatch::try_from_iter([("service", column)]).unwrap();
        let partitions = crate::detect::partitions(&batch, forest.detect_settings().partition_by()).unwrap();
        let scores = forest.score(rows.view(), &partitions).unwrap();
        for (row, name) in names.iter().enumerate() {
            let alone = rows.slice(ndarray::s![row..row + 1, ..]);
            assert_eq!(scores[row], forest.forest(name).score(alone).unwrap()[0]);
        }
        // Columns first in memory: the same scores.
        let other = Array2::from_shape_fn((2, 10), |(j, i)| rows[[i, j]]);
        assert_eq!(forest.score(other.t(), &partitions).unwrap(), scores);
        assert!(forest.score(rows.view(), &Partitions::one("a", 3)).is_err());
    }

    #[test]
    fn a_row_usual_in_one_partition_is_odd_in_another() {
        let forest = fitted();
        let row = ndarray::array![[100.5f32, 100.5]];
        let score = |name| forest.score(row.view(), &Partitions::one(name, 1)).unwrap()[0];
        assert!(score("b") < 0.5 && score("a") > 0.6);
    }

    #[test]
    fn contamination_is_the_share_of_training_rows_above_the_threshold() {
        let samples = training(&[("a", 1000), ("b", 1000)], 4000, 1);
        for contamination in [0.01, 0.1, 0.25] {
            let spec =
                DetectSpec { contamination: Some(contamination), reservoir: 4000, trees: 100, ..spec() };
            let forest = PartitionedForest::fit(&samples, &encode, &spec.check().unwrap(), 5).unwrap();
            let above: usize = samples
                .partitions
                .iter()
                .map(|sample| {
                    let rows = encode(&sample.rows).unwrap();
                    let scores =
                        forest.score(rows.view(), &Partitions::one(&sample.partition, rows.nrows())).unwrap();
                    scores.iter().filter(|score| **score > forest.threshold()).count()
                })
                .sum();
            let wanted = contamination * 2000.0;
            assert!(above as f64 <= wanted && above as f64 > wanted - 10.0, "{above} of {wanted}");
        }
    }

    #[test]
    fn quantile_counts_weights_and_keeps_ties_below() {
        let thousand: Vec<_> = (1..=1000).map(|n| (f64::from(n), 1 << 32)).collect();
        assert_eq!(weighted_quantile(thousand.clone(), 0.99), 990.0);
        assert_eq!(weighted_quantile(thousand.clone(), 99.9 / 100.0), 999.0);
        assert_eq!(weighted_quantile(thousand, 1.0), 1000.0);
        assert_eq!(weighted_quantile(vec![(1.0, 90), (2.0, 5), (3.0, 5)], 0.9), 1.0);
        assert_eq!(weighted_quantile(vec![(3.0, 5), (1.0, 90), (2.0, 5)], 0.91), 2.0);
        assert_eq!(weighted_quantile(vec![(2.0, 1), (2.0, 1), (2.0, 1)], 0.5), 2.0);
    }

    #[test]
    fn without_partitions_the_fallback_is_the_forest() {
        let spec = DetectSpec { partition_by: "none".into(), ..spec() };
        let forest =
            PartitionedForest::fit(&training(&[("all", 3000)], 1000, 5), &encode, &spec.check().unwrap(), 5)
                .unwrap();
        assert!(forest.forests.is_empty());
        assert_eq!(forest.partitions()[0].sample, None);
    }

    #[test]
    fn nothing_to_learn_from_is_an_error() {
        let settings = spec().check().unwrap();
        let fit = PartitionedForest::fit(&Samples::default(), &encode, &settings, 5);
        assert!(matches!(fit, Err(DetectError::Empty)));
    }

    #[test]
    fn tables_bring_back_the_same_forests() {
        let forest = fitted();
        let (settings, tables) = (forest.settings(), forest.tables().unwrap());
        let again = PartitionedForest::from_tables(&settings, &tables).unwrap();
        assert_eq!(again.tables().unwrap(), tables);
        assert_eq!(again.settings(), settings);
        assert_eq!(again.threshold(), forest.threshold());
        assert_eq!(again.partitions(), forest.partitions());
        let rows = Array2::from_shape_fn((100, 2), |(i, j)| (i * 3 % 101 + j) as f32);
        for name in ["a", "b", "small", "new"] {
            let partitions = Partitions::one(name, 100);
            let scores = forest.score(rows.view(), &partitions).unwrap();
            assert_eq!(again.score(rows.view(), &partitions).unwrap(), scores);
        }
    }

    #[test]
    fn damaged_tables_are_errors() {
        let forest = fitted();
        let (settings, tables) = (forest.settings(), forest.tables().unwrap());
        let error = |tables: &[(String, RecordBatch)]| match PartitionedForest::from_tables(&settings, tables)
        {
            Err(DetectError::Damaged { table, what }) => format!("{table}: {what}"),
            other => panic!("{other:?}"),
        };
        let with = |table: usize, column: &str, values: ArrayRef| {
            let mut tables = tables.clone();
            let rows = &tables[table].1;
            let index = rows.schema().index_of(column).unwrap();
            let mut columns = rows.columns().to_vec();
            columns[index] = values;
            tables[table].1 = RecordBatch::try_new(rows.schema(), columns).unwrap();
            tables
        };
        let nodes = &tables[0].1;
        let changed = |column: &str, at: usize, value: u32| {
            let values = nodes.column_by_name(column).unwrap().as_primitive::<arrow::datatypes::UInt32Type>();
            let values = values.iter().enumerate().map(|(i, old)| if i == at { Some(value) } else { old });
            with(0, column, Arc::new(UInt32Array::from_iter(values)))
        };
        assert_eq!(error(&tables[1..]), "forest: the table is missing");
        assert!(error(&changed("right", 0, 0)).starts_with("forest: "));
        assert!(error(&changed("right", 0, u32::MAX)).starts_with("forest: "));
        assert!(error(&changed("left", 0, 0)).starts_with("forest: "));
        assert!(error(&changed("rows", 0, 63)).starts_with("forest: "));
        assert!(error(&changed("node", 1, 7)).starts_with("forest: "));
        assert!(error(&changed("tree", 0, 7)).starts_with("forest: "));
        let nan = Float32Array::from(vec![f32::NAN; nodes.num_rows()]);
        assert!(error(&with(0, "threshold", Arc::new(nan))).starts_with("forest: "));
        let beyond = arrow::array::UInt16Array::from(vec![2; nodes.num_rows()]);
        assert!(error(&with(0, "feature", Arc::new(beyond))).starts_with("forest: "));
        for rows in 0..nodes.num_rows().min(300) {
            let mut cut = tables.clone();
            cut[0].1 = nodes.slice(0, rows);
            error(&cut);
            cut[0].1 = nodes.slice(rows + 1, nodes.num_rows() - rows - 1);
            error(&cut);
        }
        let thresholds = tables[1].1.column_by_name("threshold").unwrap().as_primitive::<Float64Type>();
        let nan = arrow::array::Float64Array::from(vec![f64::NAN; thresholds.len()]);
        assert!(error(&with(1, "threshold", Arc::new(nan))).starts_with("calibration: "));
        let mut cut = tables.clone();
        cut[1].1 = cut[1].1.slice(0, 0);
        assert!(error(&cut).starts_with("calibration: "));
        cut[1].1 = tables[1].1.slice(1, 2);
        assert!(error(&cut).starts_with("calibration: "));
        cut[1].1 = tables[1].1.slice(0, 2);
        assert!(error(&cut).starts_with("forest: "));
        cut[1].1 = tables[1].1.project(&[0, 1]).unwrap();
        assert!(error(&cut).starts_with("calibration: "));
        let mut other = settings.clone();
        other["features"] = 1_000_000.into();
        assert!(PartitionedForest::from_tables(&other, &tables).is_err());
        other["features"] = 2.into();
        other["detect"]["trees"] = 21.into();
        assert!(PartitionedForest::from_tables(&other, &tables).is_err());
    }
}
