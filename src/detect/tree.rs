//! One isolation tree: grown by random splits, kept in preorder.
//!
//! The arithmetic is that of scikit-learn's `IsolationForest`: a random one of the features that are not
//! constant in the node, a threshold uniform between their extremes, `x <= threshold` goes left, and a
//! leaf of n rows counts for its depth plus `c(n)` (Liu, Ting, Zhou, "Isolation Forest", ICDM 2008).

use ndarray::ArrayView2;

use super::random::SplitMix64;

/// The smallest difference between two values of a feature that can separate rows, as in scikit-learn.
const CONSTANT: f32 = 1e-7;

/// Depth of trees at most: that of 65 536 rows.
pub(super) const MAX_DEPTH: u32 = 16;

/// Encoded columns at most: a feature's index is 16 bits.
pub(super) const MAX_FEATURES: usize = 1 << 16;

/// The mean path length of a failed search among `rows` rows in a binary search tree: `c(0) = c(1) = 0`,
/// `c(2) = 1`, `c(n) = 2 (ln(n - 1) + gamma) - 2 (n - 1) / n` with Euler's gamma.
///
/// The logarithm is a portable one, so that scores have the same bits on every platform.
pub fn mean_path_length(rows: u32) -> f64 {
    const GAMMA: f64 = 0.577_215_664_901_532_9;
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let n = f64::from(rows);
            2.0 * (libm::log(n - 1.0) + GAMMA) - 2.0 * (n - 1.0) / n
        }
    }
}

/// The depth at which trees of so many rows end: the smallest power of two not below it.
pub(super) fn depth_limit(rows: u32) -> u32 {
    rows.max(2).next_power_of_two().trailing_zeros()
}

/// A node; its left child, if it has children, is the next node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    /// Index of the right child; 0 for a leaf.
    pub(super) right: u32,
    /// Rows of the tree's sample in the node, at least 1.
    pub(super) rows: u32,
    /// The greatest value that goes left. Features are f32, so a threshold in f64 separates them just as
    /// its next lower f32 does. Never NaN; 0 for a leaf.
    pub(super) threshold: f32,
    /// The feature that is compared; 0 for a leaf.
    pub(super) feature: u16,
}

impl Node {
    pub(super) fn leaf(rows: u32) -> Node {
        Node { right: 0, rows, threshold: 0.0, feature: 0 }
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.right == 0
    }
}

/// An isolation tree. The indices of a walk from the root only grow, so every walk ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// Grows a tree of some rows, at least one, in the order in which they were drawn.
    pub(super) fn grow(columns: &Columns, mut drawn: Vec<u32>, random: SplitMix64) -> Tree {
        let mut growth = Growth {
            columns,
            limit: depth_limit(drawn.len() as u32),
            features: (0..columns.count as u32).collect(),
            random,
            nodes: Vec::with_capacity(2 * drawn.len()),
        };
        growth.node(&mut drawn, 0, 0);
        Tree { nodes: growth.nodes }
    }

    /// Of nodes in preorder, when they are a tree: every left child the next node, every right child
    /// right behind the left child's descendants, leaf rows adding up, features below `features`, no NaN.
    pub(super) fn from_nodes(nodes: Vec<Node>, features: usize) -> Result<Tree, String> {
        // Where the right children of the nodes above begin, and their depth.
        let mut waiting: Vec<(usize, u32)> = Vec::new();
        let mut depth = 0;
        for (index, node) in nodes.iter().enumerate() {
            if node.is_leaf() {
                if node.rows == 0 {
                    return Err(format!("leaf {index} has no rows"));
                }
                match waiting.pop() {
                    Some((right, below)) if right == index + 1 => depth = below,
                    None if index + 1 == nodes.len() => {}
                    _ => return Err(format!("the nodes after leaf {index} are not in preorder")),
                }
            } else {
                if usize::from(node.feature) >= features {
                    return Err(format!("node {index} splits feature {} of {features}", node.feature));
                }
                if node.threshold.is_nan() {
                    return Err(format!("node {index} has no threshold"));
                }
                if depth == MAX_DEPTH {
                    return Err(format!("node {index} is deeper than {MAX_DEPTH}"));
                }
                let right = node.right as usize;
                let parts = nodes.get(index + 1).zip(nodes.get(right));
                if parts.is_none_or(|(left, right)| left.rows.checked_add(right.rows) != Some(node.rows)) {
                    return Err(format!("the children of node {index} do not add up to it"));
                }
                depth += 1;
                waiting.push((right, depth));
            }
        }
        if nodes.is_empty() || !waiting.is_empty() {
            return Err("a tree ends before its last leaf".to_owned());
        }
        Ok(Tree { nodes })
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Rows that it was grown from.
    pub fn rows(&self) -> u32 {
        self.nodes[0].rows
    }

    /// Edges between the root and the deepest leaf.
    pub(super) fn depth(&self) -> u32 {
        let mut deepest = 0;
        self.leaves(|_, depth| deepest = deepest.max(depth));
        deepest
    }

    /// What each node adds to the path length of rows that end there; 0 where none end.
    pub(super) fn path_lengths(&self) -> Vec<f64> {
        let mut lengths = vec![0.0; self.nodes.len()];
        self.leaves(|index, depth| {
            lengths[index] = f64::from(depth) + mean_path_length(self.nodes[index].rows);
        });
        lengths
    }

    /// Visits all leaves with their depth.
    fn leaves(&self, mut visit: impl FnMut(usize, u32)) {
        let mut waiting = vec![(0, 0)];
        while let Some((index, depth)) = waiting.pop() {
            let node = &self.nodes[index];
            if node.is_leaf() {
                visit(index, depth);
            } else {
                waiting.push((node.right as usize, depth + 1));
                waiting.push((index + 1, depth + 1));
            }
        }
    }
}

/// Rows by their columns: a node looks at one column of its rows, which lies together.
pub(super) struct Columns {
    values: Vec<f32>,
    rows: usize,
    count: usize,
}

impl Columns {
    /// Of rows `[n, features]`.
    pub(super) fn of(rows: ArrayView2<'_, f32>) -> Columns {
        let (count, features) = rows.dim();
        let mut values = Vec::with_capacity(count * features);
        rows.columns().into_iter().for_each(|column| values.extend(column));
        Columns { values, rows: count, count: features }
    }

    fn column(&self, feature: usize) -> &[f32] {
        &self.values[feature * self.rows..][..self.rows]
    }
}

struct Growth<'a> {
    columns: &'a Columns,
    limit: u32,
    /// All features; those known to be constant in the node are first.
    features: Vec<u32>,
    random: SplitMix64,
    nodes: Vec<Node>,
}

impl Growth<'_> {
    /// Grows the node of `rows` and all below it; the first `constant` features are constant in it.
    fn node(&mut self, rows: &mut [u32], depth: u32, constant: usize) {
        let index = self.nodes.len();
        self.nodes.push(Node::leaf(rows.len() as u32));
        if depth == self.limit || rows.len() < 2 {
            return;
        }
        let Some(split) = self.split(rows, constant) else { return };
        let values = self.columns.column(split.feature);
        let mut left = 0;
        for row in 0..rows.len() {
            // What is no number goes left, here and in scoring.
            let goes_right = values[rows[row] as usize] > split.threshold;
            if !goes_right {
                rows.swap(left, row);
                left += 1;
            }
        }
        let (low, high) = rows.split_at_mut(left);
        // Children only move features behind their parent's constant ones.
        self.node(low, depth + 1, split.constant);
        let right = self.nodes.len() as u32;
        self.node(high, depth + 1, split.constant);
        let node = &mut self.nodes[index];
        (node.right, node.threshold, node.feature) = (right, split.threshold, split.feature as u16);
    }

    /// Draws features until one is not constant, and a threshold that leaves rows on both sides.
    fn split(&mut self, rows: &[u32], mut constant: usize) -> Option<Split> {
        while constant < self.features.len() {
            let drawn = constant + self.random.below(self.features.len() - constant);
            let feature = self.features[drawn] as usize;
            let values = self.columns.column(feature);
            let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
            for row in rows {
                let value = values[*row as usize];
                if value < min {
                    min = value;
                }
                if value > max {
                    max = value;
                }
            }
            if max <= min + CONSTANT {
                self.features.swap(constant, drawn);
                constant += 1;
                continue;
            }
            return Some(Split { feature, threshold: threshold(min, max, self.random.unit()), constant });
        }
        None
    }
}

struct Split {
    feature: usize,
    threshold: f32,
    constant: usize,
}

/// The threshold at `share` of the way from `min` to `max`: `min <= threshold < max`.
fn threshold(min: f32, max: f32, share: f64) -> f32 {
    // Between infinities there is no uniform number; between the largest finite ones there is.
    let (low, high) = (f64::from(min.max(f32::MIN)), f64::from(max.min(f32::MAX)));
    let exact = low + share * (high - low);
    let nearest = exact as f32;
    let below = if f64::from(nearest) > exact { nearest.next_down() } else { nearest };
    if below >= max { min } else { below }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mean_path_length_is_that_of_the_paper() {
        assert_eq!([0, 1, 2].map(mean_path_length), [0.0, 0.0, 1.0]);
        // The formula in Python.
        assert!((mean_path_length(3) - 1.207_392_357_589_623).abs() < 1e-14);
        assert!((mean_path_length(256) - 10.244_770_920_119_917).abs() < 1e-14);
        assert!((mean_path_length(65_536) - 21.335_141_107_488_506).abs() < 1e-13);
    }

    #[test]
    fn depth_limit_is_the_ceiling_of_the_logarithm() {
        assert_eq!([1, 2, 3, 4, 5, 256, 257, 65_536].map(depth_limit), [1, 1, 2, 2, 3, 8, 9, 16]);
    }

    #[test]
    fn constant_rows_are_one_leaf() {
        for value in [1.0, f32::NAN] {
            let columns = Columns::of(Array2::from_elem((4, 3), value).view());
            let tree = Tree::grow(&columns, vec![0, 1, 2, 3], SplitMix64::new(1));
            assert_eq!(tree.nodes(), [Node::leaf(4)]);
        }
    }

    fn any_value() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => (-3i32..3).prop_map(|value| value as f32),
            2 => any::<f32>(),
            1 => prop::sample::select(vec![f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, 0.0, -0.0]),
        ]
    }

    proptest! {
        #[test]
        fn thresholds_leave_rows_on_both_sides(a in any::<f32>(), b in any::<f32>(), share in 0.0..1.0f64) {
            prop_assume!(a < b);
            let between = threshold(a, b, share);
            prop_assert!(a <= between && between < b, "{between}");
        }

        #[test]
        fn whatever_the_rows_a_tree_is_one(
            rows in prop::collection::vec(any_value(), 1..200), features in 1usize..5, seed in any::<u64>(),
        ) {
            let count = rows.len() / features;
            prop_assume!(count > 0);
            let rows = ArrayView2::from_shape((count, features), &rows[..count * features]).unwrap();
            let tree = Tree::grow(&Columns::of(rows), (0..count as u32).collect(), SplitMix64::new(seed));
            prop_assert_eq!(tree.rows() as usize, count);
            prop_assert!(tree.depth() <= depth_limit(tree.rows()));
            let again = Tree::from_nodes(tree.nodes().to_vec(), features);
            prop_assert_eq!(again, Ok(tree));
        }

        #[test]
        fn whatever_the_nodes_no_walk_is_endless(
            nodes in prop::collection::vec((0u32..8, 1u32..4, any::<f32>(), 0u16..4), 0..8),
        ) {
            let nodes = nodes.into_iter().map(|(right, rows, threshold, feature)| Node { right, rows, threshold, feature });
            if let Ok(tree) = Tree::from_nodes(nodes.collect(), 3) {
                tree.path_lengths();
            }
        }
    }
}
