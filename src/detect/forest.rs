//! One Isolation Forest: fitted on a matrix, scoring matrices.

use std::sync::OnceLock;

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::DetectError;
use super::layout::Layout;
use super::random::SplitMix64;
use super::shares::{Means, Shares};
use super::tree::{Columns, MAX_FEATURES, Tree, mean_path_length};

/// An Isolation Forest (Liu, Ting, Zhou, ICDM 2008) with scikit-learn's arithmetic.
#[derive(Clone, Debug)]
pub struct Forest {
    trees: Vec<Tree>,
    features: usize,
    /// Rows each tree was grown from.
    sample: u32,
    layout: Layout,
    /// Made when a row is first asked about.
    means: OnceLock<Means>,
}

impl Forest {
    /// Grows `trees` trees, each of `sample` of the `rows` drawn without replacement (of all rows, if they
    /// are fewer), each from the seed that `seed_of` gives for its number. Trees grow in parallel; their
    /// order and shape do not depend on it.
    ///
    /// # Errors
    /// [`DetectError::Empty`] without rows, [`DetectError::TooManyFeatures`] for more than 65 536 columns.
    pub fn fit(
        rows: ArrayView2<'_, f32>,
        trees: usize,
        sample: usize,
        seed_of: impl Fn(u64) -> u64 + Sync,
    ) -> Result<Forest, DetectError> {
        let (count, features) = rows.dim();
        if count == 0 {
            return Err(DetectError::Empty);
        }
        if features > MAX_FEATURES {
            return Err(DetectError::TooManyFeatures { found: features, limit: MAX_FEATURES });
        }
        // Without a column all rows are alike.
        let sample = if features == 0 { 1 } else { sample.clamp(1, count) };
        let columns = Columns::of(rows);
        let grow = |tree: usize| {
            let mut random = SplitMix64::new(seed_of(tree as u64));
            // A shuffle that stops when it has drawn enough.
            let mut order: Vec<u32> = (0..count as u32).collect();
            for at in 0..sample {
                order.swap(at, at + random.below(count - at));
            }
            order.truncate(sample);
            Tree::grow(&columns, order, random)
        };
        let trees = (0..trees).into_par_iter().map(grow).collect();
        Ok(Forest::of(trees, features, sample as u32))
    }

    /// Of trees that were all grown from `sample` rows of `features` columns.
    pub(super) fn of(trees: Vec<Tree>, features: usize, sample: u32) -> Forest {
        Forest { layout: Layout::of(&trees, features), trees, features, sample, means: OnceLock::new() }
    }

    /// Its trees, in order.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// Encoded columns it was fitted on.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Rows each tree was grown from.
    pub fn sample(&self) -> u32 {
        self.sample
    }

    /// Scores every row: `2^(-E[h] / c(sample))`, with `h` the path length of the row in one tree, in
    /// (0, 1], higher is odder. Where trees could not split anything, 0.5 or less.
    ///
    /// # Errors
    /// [`DetectError::FeatureCount`] if `rows` is not as wide as the forest.
    pub fn score(&self, rows: ArrayView2<'_, f32>) -> Result<Vec<f64>, DetectError> {
        let all: Vec<u32> = (0..rows.nrows() as u32).collect();
        let mut scores = vec![0.0; rows.nrows()];
        self.score_some(rows, &all, &mut scores)?;
        Ok(scores)
    }

    /// What each feature adds to the scores of the rows named by `which`, into their places in `shares`; rows are as
    /// wide as the forest.
    pub(super) fn shares(&self, rows: ArrayView2<'_, f32>, which: &[usize], shares: &mut [Shares]) {
        let means = self.means.get_or_init(|| Means::of(&self.trees));
        means.shares(&self.trees, self.sample, rows, which, shares);
    }

    /// Scores the rows named by `which` into their places in `scores`.
    pub(super) fn score_some(
        &self,
        rows: ArrayView2<'_, f32>,
        which: &[u32],
        scores: &mut [f64],
    ) -> Result<(), DetectError> {
        if rows.ncols() != self.features {
            return Err(DetectError::FeatureCount { expected: self.features, found: rows.ncols() });
        }
        let norm = self.trees.len() as f64 * mean_path_length(self.sample);
        self.layout.path_lengths(rows, which, |row, sum| scores[row as usize] = score_of(sum, norm));
        Ok(())
    }
}

/// Of the sum of path lengths over trees and its norm; one row alone is neither usual nor odd.
fn score_of(sum: f64, norm: f64) -> f64 {
    if norm == 0.0 { 0.5 } else { libm::exp2(-(sum / norm)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::tree::Node;
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    /// The forest as the paper has it: down each tree, counting steps.
    fn plain(forest: &Forest, row: &[f32]) -> f64 {
        fn path_length(nodes: &[Node], at: usize, depth: u32, row: &[f32]) -> f64 {
            let node = &nodes[at];
            if node.is_leaf() {
                return f64::from(depth) + mean_path_length(node.rows);
            }
            let right = row[usize::from(node.feature)] > node.threshold;
            path_length(nodes, if right { node.right as usize } else { at + 1 }, depth + 1, row)
        }
        let sum = forest.trees.iter().fold(0.0, |sum, tree| sum + path_length(tree.nodes(), 0, 0, row));
        let norm = forest.trees.len() as f64 * mean_path_length(forest.sample);
        if norm == 0.0 { 0.5 } else { libm::exp2(-(sum / norm)) }
    }

    fn assert_equals_plain(forest: &Forest, rows: &Array2<f32>) {
        let scores = forest.score(rows.view()).unwrap();
        for (row, score) in rows.rows().into_iter().zip(&scores) {
            assert_eq!(plain(forest, &row.to_vec()).to_bits(), score.to_bits());
            assert!(*score > 0.0 && *score <= 1.0);
        }
    }

    /// Values that often meet thresholds, and some that are extreme.
    fn random_matrix(rows: usize, features: usize, seed: u64) -> Array2<f32> {
        let mut random = SplitMix64::new(seed);
        Array2::from_shape_simple_fn((rows, features), || match random.below(20) {
            0 => f32::INFINITY,
            1 => f32::NEG_INFINITY,
            2 => f32::NAN,
            3 => f32::MAX,
            4..8 => random.below(4) as f32,
            _ => random.unit() as f32,
        })
    }

    #[test]
    fn layouts_equal_the_plain_walk_to_the_last_bit() {
        // Widths around the sizes of blocks, depths of all layouts.
        for (features, sample) in [
            (1, 2),
            (3, 256),
            (32, 100),
            (33, 256),
            (64, 1000),
            (130, 300),
            (300, 64),
            (1024, 300),
            (1025, 300),
            (5, 3000),
            (5, 4500),
        ] {
            let rows = random_matrix(5000, features, features as u64);
            let forest = Forest::fit(rows.view(), 7, sample, |tree| tree).unwrap();
            assert_equals_plain(&forest, &rows.slice(ndarray::s![..203, ..]).to_owned());
            let thresholds: Vec<f32> =
                forest.trees.iter().flat_map(|tree| tree.nodes()).map(|n| n.threshold).collect();
            let on_thresholds = Array2::from_shape_fn((50, features), |(i, j)| {
                let threshold = thresholds[(i * 31 + j * 7) % thresholds.len()];
                [threshold, threshold.next_up(), threshold.next_down()][i % 3]
            });
            assert_equals_plain(&forest, &on_thresholds);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn layout_equals_plain_walk_on_any_rows(
            values in prop::collection::vec(any::<f32>(), 3..300), sample in 2usize..64, seed in any::<u64>(),
        ) {
            let rows = Array2::from_shape_vec((values.len() / 3, 3), values[..values.len() / 3 * 3].to_vec()).unwrap();
            let forest = Forest::fit(rows.view(), 5, sample, |tree| tree ^ seed).unwrap();
            assert_equals_plain(&forest, &rows);
        }
    }

    #[test]
    fn an_outlier_scores_highest() {
        let mut rows =
            Array2::from_shape_fn((500, 4), |(i, j)| ((i * 7919 + j * 104_729) % 1000) as f32 / 1000.0);
        rows.row_mut(123).fill(9.0);
        let scores = Forest::fit(rows.view(), 100, 256, |tree| tree).unwrap().score(rows.view()).unwrap();
        let highest = (0..500).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
        assert_eq!(highest, 123);
        assert!(scores[123] > 0.7);
    }

    #[test]
    fn one_row_and_constant_rows_give_half() {
        let one = array![[1.0f32, 2.0]];
        let forest = Forest::fit(one.view(), 10, 256, |tree| tree).unwrap();
        assert_eq!(forest.score(array![[1.0, 2.0], [7.0, f32::NAN]].view()).unwrap(), [0.5, 0.5]);
        let constant = Array2::from_elem((300, 2), 4.0f32);
        let forest = Forest::fit(constant.view(), 10, 256, |tree| tree).unwrap();
        assert_eq!(forest.score(array![[4.0, 4.0], [7.0, -7.0]].view()).unwrap(), [0.5, 0.5]);
    }

    #[test]
    fn other_widths_and_no_rows_are_refused() {
        let forest = Forest::fit(array![[1.0f32, 2.0]].view(), 1, 2, |tree| tree).unwrap();
        assert!(matches!(
            forest.score(array![[1.0f32]].view()),
            Err(DetectError::FeatureCount { expected: 2, found: 1 })
        ));
        assert!(matches!(
            Forest::fit(Array2::zeros((0, 2)).view(), 1, 2, |tree| tree),
            Err(DetectError::Empty)
        ));
    }

    #[test]
    fn threads_do_not_show() {
        let rows = random_matrix(2000, 6, 1);
        let fit = || Forest::fit(rows.view(), 30, 256, |tree| tree).unwrap().trees;
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(fit);
        let many = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap().install(fit);
        assert_eq!(one, many);
    }
}
