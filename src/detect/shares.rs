//! What each feature adds to a forest's score of a row: shares along its paths that add up exactly.
//!
//! A node stands for the mean path length of the sample's rows in it; a step from a node to its child changes that, and
//! the feature which is compared there is what changed it (Palczewska, Palczewski, Robinson, Neagu, "Interpreting random
//! forest models using a feature contribution method", IEEE IRI 2013, for the trees of Liu, Ting, Zhou). Along a path
//! the changes add up to the path's length less the root's mean, so over all trees
//!
//! ```text
//! E[h] = base - sum of shares · c(n) / ln 2        score = 2^(-E[h] / c(n)) = 2^(-base / c(n)) · e^(sum of shares)
//! ```
//!
//! with `base` the mean of the roots. A share is in nats of score: above 0 where the feature's splits set the row apart
//! sooner than the rows of the sample.

use ndarray::ArrayView2;

use super::tree::{Tree, mean_path_length};

/// What the features of a row add.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shares {
    /// The score of a row of mean path length.
    pub(super) at_zero: f64,
    /// Of each feature, in nats.
    pub(super) nats: Vec<f64>,
}

/// For each node of each tree the mean path length of the sample's rows in it.
#[derive(Clone, Debug)]
pub(super) struct Means(Vec<Vec<f64>>);

impl Means {
    pub(super) fn of(trees: &[Tree]) -> Means {
        let means = |tree: &Tree| {
            let nodes = tree.nodes();
            let mut means = tree.path_lengths();
            // Children come behind their parents.
            for (at, node) in nodes.iter().enumerate().rev().filter(|(_, node)| !node.is_leaf()) {
                let (left, right) = (at + 1, node.right as usize);
                let sum =
                    means[left] * f64::from(nodes[left].rows) + means[right] * f64::from(nodes[right].rows);
                means[at] = sum / f64::from(node.rows);
            }
            means
        };
        Means(trees.iter().map(means).collect())
    }

    /// The shares of some rows, for trees grown from `sample` rows; tree by tree, each read once for all rows.
    pub(super) fn shares(
        &self,
        trees: &[Tree],
        sample: u32,
        rows: ArrayView2<'_, f32>,
        which: &[usize],
        shares: &mut [Shares],
    ) {
        for row in which {
            shares[*row].nats = vec![0.0; rows.ncols()];
        }
        let mut base = 0.0;
        for (tree, means) in trees.iter().zip(&self.0) {
            let nodes = tree.nodes();
            base += means[0];
            for row in which {
                let (values, nats) = (rows.row(*row), &mut shares[*row].nats);
                let mut at = 0;
                while !nodes[at].is_leaf() {
                    let feature = usize::from(nodes[at].feature);
                    let right = values[feature] > nodes[at].threshold;
                    let next = if right { nodes[at].right as usize } else { at + 1 };
                    nats[feature] += means[at] - means[next];
                    at = next;
                }
            }
        }
        let norm = trees.len() as f64 * mean_path_length(sample);
        for row in which {
            let shares = &mut shares[*row];
            if norm == 0.0 {
                shares.at_zero = 0.5;
                continue;
            }
            shares.nats.iter_mut().for_each(|share| *share *= std::f64::consts::LN_2 / norm);
            shares.at_zero = libm::exp2(-(base / norm));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Shares;
    use crate::detect::Forest;
    use ndarray::{Array2, ArrayView2};
    use proptest::prelude::*;

    fn shares(forest: &Forest, rows: ArrayView2<'_, f32>) -> Vec<Shares> {
        let mut shares = vec![Shares::default(); rows.nrows()];
        forest.shares(rows, &(0..rows.nrows()).collect::<Vec<_>>(), &mut shares);
        shares
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn shares_add_up_to_the_score_for_any_forest_and_row(
            values in prop::collection::vec(prop_oneof![any::<f32>(), (-3i32..3).prop_map(|v| v as f32)], 4..400),
            features in 1usize..5, sample in 2usize..300, seed in any::<u64>(),
        ) {
            let rows = values.len() / features;
            let rows = Array2::from_shape_vec((rows, features), values[..rows * features].to_vec()).unwrap();
            let forest = Forest::fit(rows.view(), 7, sample, |tree| tree ^ seed).unwrap();
            let probes = rows.map(|value| value * 1.5 + 1.0);
            let both = shares(&forest, rows.view()).into_iter().chain(shares(&forest, probes.view()));
            let scores = [forest.score(rows.view()).unwrap(), forest.score(probes.view()).unwrap()].concat();
            for (shares, score) in both.zip(scores) {
                let total: f64 = shares.nats.iter().sum();
                prop_assert!((shares.at_zero * total.exp() - score).abs() < 1e-9, "{shares:?} {score}");
                prop_assert!((total - (score / shares.at_zero).ln()).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn what_sets_a_row_apart_has_the_largest_share() {
        let mut rows =
            Array2::from_shape_fn((500, 4), |(i, j)| ((i * 7919 + j * 104_729) % 1000) as f32 / 1000.0);
        rows[[123, 2]] = 9.0;
        let forest = Forest::fit(rows.view(), 100, 256, |tree| tree).unwrap();
        let shares = &shares(&forest, rows.view())[123];
        let largest = (0..4).max_by(|a, b| shares.nats[*a].total_cmp(&shares.nats[*b]));
        assert_eq!(largest, Some(2));
        assert!(shares.nats[2] > 0.1 && shares.at_zero < 0.6, "{shares:?}");
    }
}
