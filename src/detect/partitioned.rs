//! A forest for each partition, a fallback for small and unseen ones, and the threshold.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use ndarray::{Array2, ArrayView2};

use super::calibration::Steps;
use super::growing::Growing;
use super::shares::Shares;
use super::tree::MAX_FEATURES;
use super::{DetectError, DetectSettings, Forest, Partitions, Samples, Threshold, tables};
use crate::encode::SHORTEST;
use crate::reading::{Damage, Tables};

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
    /// Of the scores of the kept rows, by the forest that was grown from them.
    trained: Steps,
    /// The same by forests that were grown from the rows of other times; none where training was too short.
    tail: Option<Steps>,
}

impl PartitionedForest {
    /// Fits forests to samples; `encode` turns raw rows into numbers, one line for each row.
    ///
    /// A partition gets a forest of its own if it had at least `min_partition` rows; the fallback is fitted on
    /// the sample over all rows, and is the only forest when nothing separates partitions. A tree's seed
    /// is made of `seed`, the partition's name and the tree's number.
    ///
    /// P-values come from rows that did not grow the trees that score them: training is cut into blocks of time (three
    /// to six, of at least [`SHORTEST`] distinct times where there are so many), and a block's kept rows are scored by
    /// forests that were grown, in the same way, from the kept rows of the others, and by the whole one where that finds
    /// them odder. Where training has fewer than three distinct times, the forest's own scores of the rows that it was
    /// grown from stand in ([`PartitionedForest::held_out`]).
    ///
    /// The threshold for a false alarm rate is the score beyond which p-values are at most that. For a contamination
    /// or a percentile, which are about the training rows as the forest itself scores them (so has scikit-learn), it
    /// is the smallest score of a kept row such that the kept rows that score no higher stand for at least the share
    /// of training rows that is asked for. Equal scores are therefore on one side, below, and at most the rest of the
    /// rows lies above. A kept row stands for (rows / kept rows) of its partition.
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
        Ok(PartitionedForest::grow(samples, &encoded, settings, seed, SHORTEST)?.0)
    }

    /// The same of rows that are encoded already, with blocks of at least so many distinct times; also gives the scores
    /// that p-values come from, of each partition's rows in their order.
    pub(super) fn grow(
        samples: &Samples,
        encoded: &[Array2<f32>],
        settings: &DetectSettings,
        seed: u64,
        shortest: usize,
    ) -> Result<(PartitionedForest, Vec<Vec<f64>>), DetectError> {
        let growing = Growing { samples, encoded, settings, seed };
        let grown = growing.grow(|_| true)?;
        let own = growing.scores(&grown)?;
        let mut held_out = growing.held_out(shortest)?;
        // No row calibrates as less odd than it is to the forest that scores. Where rows are alike, so are their scores by
        // either forest, and by a hair's difference all rows to come would lie beyond all that calibrate.
        for (held_out, own) in held_out.iter_mut().flatten().zip(&own) {
            held_out.iter_mut().zip(own).for_each(|(held_out, own)| *held_out = held_out.max(*own));
        }
        let partitions = samples.partitions.iter().map(|sample| PartitionSummary {
            partition: sample.partition.clone(),
            rows: sample.seen,
            kept: sample.rows.num_rows() as u64,
            sample: grown.forests.get(&sample.partition).map(Forest::sample),
        });
        let partitions: Vec<PartitionSummary> = partitions.collect();
        let steps = |scores: &[Vec<f64>]| {
            let weighted = partitions.iter().zip(scores).flat_map(|(partition, scores)| {
                let weight = (u128::from(partition.rows) << 32) / u128::from(partition.kept.max(1));
                scores.iter().map(move |score| (*score, weight))
            });
            Steps::weighted(&mut weighted.collect::<Vec<_>>())
        };
        let mut forest = PartitionedForest {
            settings: settings.clone(),
            seed,
            trained: steps(&own),
            tail: held_out.as_deref().map(steps),
            forests: grown.forests,
            fallback: grown.fallback,
            threshold: 0.0,
            partitions,
        };
        forest.threshold = forest.threshold_for(settings.threshold())?;
        Ok((forest, held_out.unwrap_or(own)))
    }

    /// Reads what [`PartitionedForest::tables`] gave, of forests that were fitted with these settings, seed and number of
    /// encoded columns.
    ///
    /// # Errors
    /// [`Damage`] for everything that no fit can have written.
    pub(crate) fn read(
        settings: DetectSettings,
        seed: u64,
        features: usize,
        tables: &Tables,
    ) -> Result<PartitionedForest, Damage> {
        if features > MAX_FEATURES {
            return Err(Damage::of_settings(format_args!("{features} features")));
        }
        let read = tables::read(tables, settings.trees(), features)?;
        Ok(PartitionedForest {
            settings,
            seed,
            partitions: read.partitions,
            forests: read.forests,
            fallback: read.fallback,
            threshold: read.threshold,
            trained: read.trained,
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

    /// What each feature adds to the score of each row; `rows` and `partitions` as for [`PartitionedForest::score`].
    pub(super) fn shares(&self, rows: ArrayView2<'_, f32>, partitions: &Partitions) -> Vec<Shares> {
        let mut shares = vec![Shares::default(); rows.nrows()];
        for (index, name) in (0..).zip(partitions.names()) {
            let of_it = partitions.of_row().iter().enumerate().filter(|(_, partition)| **partition == index);
            let which: Vec<usize> = of_it.map(|(row, _)| row).collect();
            if !which.is_empty() {
                self.forest(name).shares(rows, &which, &mut shares);
            }
        }
        shares
    }

    /// Scores above it are anomalies.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// What p-values are made of: scores of kept rows by forests that were grown from other times, or the forest's own
    /// where training was too short for that.
    fn calibration(&self) -> &Steps {
        self.tail.as_ref().unwrap_or(&self.trained)
    }

    /// Whether p-values come from rows that did not grow the trees that scored them.
    pub fn held_out(&self) -> bool {
        self.tail.is_some()
    }

    /// The share of kept rows, by the rows that they stand for, that calibrate as high.
    pub fn p_value(&self, score: f64) -> f64 {
        self.calibration().p_value(score)
    }

    /// The threshold beyond which p-values are at most `false_alarm_rate`.
    ///
    /// # Errors
    /// [`DetectError::FewRows`].
    pub fn threshold_at(&self, false_alarm_rate: f64) -> Result<f64, DetectError> {
        let (steps, rate) = (self.calibration(), false_alarm_rate);
        let (found, least) = (steps.all() as u64, 1.0 / (steps.all() + 1.0));
        steps.beyond(rate).ok_or(DetectError::FewRows { rate, least, found })
    }

    /// The threshold that is asked for.
    ///
    /// # Errors
    /// [`DetectError::FewRows`].
    pub fn threshold_for(&self, asked: Threshold) -> Result<f64, DetectError> {
        match asked {
            Threshold::FalseAlarmRate(rate) => self.threshold_at(rate),
            Threshold::Contamination(_) | Threshold::Percentile(_) => {
                Ok(self.trained.quantile(asked.share_below()))
            }
        }
    }

    /// What every tree's seed descends from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What it learned, as named tables for the model file. The same fit gives the same tables.
    ///
    /// # Errors
    /// [`DetectError::Arrow`], which a fitted forest does not cause.
    pub fn tables(&self) -> Result<Vec<(String, RecordBatch)>, DetectError> {
        let tails = (&self.trained, self.tail.as_ref());
        tables::write(&self.partitions, &self.forests, &self.fallback, self.threshold, tails)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Float32Array, UInt32Array};
    use arrow::datatypes::{Float32Type, Float64Type};
    use ndarray::Axis;

    use super::*;
    use crate::detect::random::{SplitMix64, tree_seed};
    use crate::detect::{DetectSpec, Reservoir};

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
    fn p_values_are_of_rows_that_did_not_grow_the_trees() {
        // Few rows in many dimensions: a row that a tree was grown from is alone in its leaf, others are odd.
        let samples = training(&[("a", 400)], 4000, 1);
        let spec = DetectSpec { sample: 300, trees: 30, partition_by: "none".into(), ..spec() };
        let settings = spec.check().unwrap();
        let forest = PartitionedForest::fit(&samples, &encode, &settings, 5).unwrap();
        assert!(forest.held_out());
        let fresh = training(&[("a", 2000)], 4000, 77).partitions.remove(0);
        let rows = encode(&fresh.rows).unwrap();
        let scores = forest.score(rows.view(), &Partitions::one("a", rows.nrows())).unwrap();
        for rate in [0.2, 0.05] {
            let share = scores.iter().filter(|score| forest.p_value(**score) <= rate).count() as f64 / 2000.0;
            assert!(share < 1.5 * rate, "{share} at {rate}");
        }
        // Every block's rows are scored by forests of the others, grown from the same seeds.
        let encoded = [encode(&samples.partitions[0].rows).unwrap()];
        let (_, held_out) = PartitionedForest::grow(&samples, &encoded, &settings, 5, 100).unwrap();
        let times: Vec<u64> = samples.partitions[0].identities.iter().map(|(_, row)| *row).collect();
        let others: Vec<usize> = (0..400).filter(|row| times[*row] >= 100).collect();
        let others = encoded[0].select(Axis(0), &others);
        let alone = Forest::fit(others.view(), 30, 300, |tree| tree_seed(5, None, tree)).unwrap();
        let first = (0..400).find(|row| times[*row] < 100).unwrap();
        let row = encoded[0].slice(ndarray::s![first..first + 1, ..]);
        let own = forest.score(row, &Partitions::one("a", 1)).unwrap()[0];
        assert_eq!(held_out[0][first], alone.score(row).unwrap()[0].max(own));
    }

    #[test]
    fn rows_that_are_alike_are_not_odd() {
        // Two kinds of rows, by turns: what scores one of them is the same for all of it, and a hair other without a block.
        let samples = training(&[("a", 3000)], 4000, 1);
        let two = |row: usize| if row.is_multiple_of(3) { 1.0 } else { 0.0 };
        let encoded = [Array2::from_shape_fn((3000, 4), |(row, _)| two(row))];
        for seed in 0..8 {
            let settings = spec().check().unwrap();
            let (forest, _) = PartitionedForest::grow(&samples, &encoded, &settings, seed, 100).unwrap();
            assert!(forest.held_out());
            let scores = forest.score(encoded[0].view(), &Partitions::one("a", 3000)).unwrap();
            let odd = scores.iter().filter(|score| forest.p_value(**score) < 0.3).count();
            assert_eq!(odd, 0, "seed {seed}");
        }
    }

    #[test]
    fn what_is_too_short_for_three_blocks_is_calibrated_on_itself() {
        let fit = |rows| {
            let samples = training(&[("a", rows)], 4000, 1);
            PartitionedForest::fit(&samples, &encode, &spec().check().unwrap(), 5).unwrap()
        };
        let (short, long) = (fit(2), fit(3));
        assert_eq!((short.held_out(), long.held_out()), (false, true));
        for forest in [short, long] {
            let again = again(&forest);
            assert_eq!((again.held_out(), again.p_value(0.55)), (forest.held_out(), forest.p_value(0.55)));
        }
    }

    #[test]
    fn the_threshold_that_was_trained_is_the_one_asked_for_anew() {
        let samples = training(&[("a", 1000), ("b", 1000)], 4000, 1);
        for asked in
            [Threshold::FalseAlarmRate(0.02), Threshold::Contamination(0.02), Threshold::Percentile(98.5)]
        {
            let fit = |spec: DetectSpec| {
                PartitionedForest::fit(&samples, &encode, &spec.check().unwrap(), 5).unwrap()
            };
            let trained = fit(spec().with_threshold(asked));
            assert_eq!(fit(spec()).threshold_for(asked).unwrap(), trained.threshold());
        }
        let error = fitted().threshold_at(1e-6).unwrap_err().to_string();
        assert_eq!(
            error,
            "1e-6 of rows as false alarms is too few for the model to tell: its 1520 calibration rows say 6.9e-4 at least; \
             train on more, or ask for a larger share"
        );
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

    /// The forest as its tables bring it back.
    fn again(forest: &PartitionedForest) -> PartitionedForest {
        let tables = forest.tables().unwrap().into_iter().collect();
        let settings = forest.detect_settings().clone();
        PartitionedForest::read(settings, forest.seed(), forest.features(), &tables).unwrap()
    }

    #[test]
    fn tables_bring_back_the_same_forests() {
        let forest = fitted();
        let again = again(&forest);
        assert_eq!(again.tables().unwrap(), forest.tables().unwrap());
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
        let (settings, tables) = (forest.detect_settings(), forest.tables().unwrap());
        let read = |settings: &DetectSettings, features, tables: &[(String, RecordBatch)]| {
            let tables = tables.iter().cloned().collect();
            PartitionedForest::read(settings.clone(), forest.seed(), features, &tables)
        };
        let error = |tables: &[(String, RecordBatch)]| {
            let Damage { table, what } = read(settings, 2, tables).unwrap_err();
            format!("{table}: {what}")
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
        assert!(read(settings, 2, &tables).is_ok());
        assert!(read(settings, 1_000_000, &tables).is_err());
        let other = DetectSpec { trees: 21, ..settings.spec().clone() }.check().unwrap();
        assert!(read(&other, 2, &tables).is_err());
    }
}
