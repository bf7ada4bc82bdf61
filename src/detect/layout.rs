//! Trees laid out for scoring: eight rows walk a tree abreast, without branches where it is shallow.
//!
//! A tree of depth up to 10 is filled up to a complete one, node `i` with children `2i` and `2i + 1`, so a
//! walk is a fixed number of steps that do not depend on one another between rows; measured, that is three
//! to five times as fast as following pointers. Deeper trees (samples above 1024 rows) are followed node
//! by node. Path lengths are summed in f64 in the order of trees, so every layout gives the same bits.

use ndarray::ArrayView2;

use super::tree::Tree;

/// Rows that walk a tree side by side.
const ABREAST: usize = 8;

/// Trees as scoring wants them.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    /// Depth up to 8, as of samples of 256 rows.
    Depth8(Vec<Complete<256>>),
    /// Depth up to 10.
    Depth10(Vec<Complete<1024>>),
    /// Any depth.
    Linked(Vec<Linked>),
}

/// A complete tree of `N` leaves; `N` is a power of two. A branch that ends early is filled up with nodes
/// that lead to leaves of one value.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Complete<const N: usize> {
    threshold: [f32; N],
    feature: [u16; N],
    leaf: [f64; N],
}

impl<const N: usize> Complete<N> {
    const DEPTH: u32 = N.trailing_zeros();

    fn of(tree: &Tree) -> Complete<N> {
        let mut complete = Complete { threshold: [f32::INFINITY; N], feature: [0; N], leaf: [0.0; N] };
        let lengths = tree.path_lengths();
        let mut waiting = vec![(0, 1, 0)];
        while let Some((index, at, depth)) = waiting.pop() {
            let node = &tree.nodes()[index];
            if node.is_leaf() {
                let below = Self::DEPTH - depth;
                let first = (at << below) % N;
                complete.leaf[first..first + (1 << below)].fill(lengths[index]);
            } else {
                complete.threshold[at] = node.threshold;
                complete.feature[at] = node.feature;
                waiting.push((index + 1, 2 * at, depth + 1));
                waiting.push((node.right as usize, 2 * at + 1, depth + 1));
            }
        }
        complete
    }

    /// Adds the path lengths of eight rows; `value` gives a row's feature.
    #[inline(always)]
    fn add(&self, sums: &mut [f64; ABREAST], value: impl Fn(usize, u16) -> f32) {
        let mut at = [1usize; ABREAST];
        for _ in 0..Self::DEPTH {
            for (row, at) in at.iter_mut().enumerate() {
                // The remainders are no-ops that spare the bounds checks.
                let node = *at % N;
                let goes_right = value(row, self.feature[node]) > self.threshold[node];
                *at = 2 * *at + usize::from(goes_right);
            }
        }
        for (sum, at) in sums.iter_mut().zip(at) {
            *sum += self.leaf[at % N];
        }
    }
}

/// A tree followed node by node.
#[derive(Clone, Debug)]
pub(super) struct Linked {
    tree: Tree,
    lengths: Vec<f64>,
}

impl Linked {
    fn of(tree: &Tree) -> Linked {
        Linked { lengths: tree.path_lengths(), tree: tree.clone() }
    }

    fn add(&self, sums: &mut [f64; ABREAST], value: impl Fn(usize, u16) -> f32) {
        let nodes = self.tree.nodes();
        for (row, sum) in sums.iter_mut().enumerate() {
            let mut at = 0;
            while !nodes[at].is_leaf() {
                let goes_right = value(row, nodes[at].feature) > nodes[at].threshold;
                at = if goes_right { nodes[at].right as usize } else { at + 1 };
            }
            *sum += self.lengths[at];
        }
    }
}

impl Layout {
    pub(super) fn of(trees: &[Tree]) -> Layout {
        match trees.iter().map(Tree::depth).max().unwrap_or(0) {
            0..=8 => Layout::Depth8(trees.iter().map(Complete::of).collect()),
            9..=10 => Layout::Depth10(trees.iter().map(Complete::of).collect()),
            _ => Layout::Linked(trees.iter().map(Linked::of).collect()),
        }
    }

    /// Gives, for the rows of a matrix named by `which`, the sums of their path lengths, in that order.
    pub(super) fn path_lengths(
        &self,
        rows: ArrayView2<'_, f32>,
        which: &[u32],
        mut each: impl FnMut(u32, f64),
    ) {
        for eight in which.chunks(ABREAST) {
            let sums = match rows.ncols() {
                0..=16 => self.narrow::<16>(rows, eight),
                17..=32 => self.narrow::<32>(rows, eight),
                33..=64 => self.narrow::<64>(rows, eight),
                65..=128 => self.narrow::<128>(rows, eight),
                129..=256 => self.narrow::<256>(rows, eight),
                _ => self.wide(rows, eight),
            };
            for (row, sum) in eight.iter().zip(sums) {
                each(*row, sum);
            }
        }
    }

    /// Rows of up to `WIDTH` columns, a power of two: copied side by side, so that no access needs a check.
    fn narrow<const WIDTH: usize>(&self, rows: ArrayView2<'_, f32>, which: &[u32]) -> [f64; ABREAST] {
        let mut block = [[0.0f32; WIDTH]; ABREAST];
        for (to, row) in block.iter_mut().zip(which) {
            for (to, from) in to.iter_mut().zip(rows.row(*row as usize)) {
                *to = *from;
            }
        }
        self.sums(|row, feature| block[row][usize::from(feature) % WIDTH])
    }

    fn wide(&self, rows: ArrayView2<'_, f32>, which: &[u32]) -> [f64; ABREAST] {
        let Some(first) = which.first() else { return [0.0; ABREAST] };
        let mut block = [*first as usize; ABREAST];
        for (to, row) in block.iter_mut().zip(which) {
            *to = *row as usize;
        }
        self.sums(|row, feature| rows[[block[row], usize::from(feature)]])
    }

    #[inline(always)]
    fn sums(&self, value: impl Fn(usize, u16) -> f32) -> [f64; ABREAST] {
        let mut sums = [0.0; ABREAST];
        match self {
            Layout::Depth8(trees) => trees.iter().for_each(|tree| tree.add(&mut sums, &value)),
            Layout::Depth10(trees) => trees.iter().for_each(|tree| tree.add(&mut sums, &value)),
            Layout::Linked(trees) => trees.iter().for_each(|tree| tree.add(&mut sums, &value)),
        }
        sums
    }
}
