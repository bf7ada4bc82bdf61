//! Trees laid out for scoring: eight rows walk a tree abreast, without branches where it is shallow.
//!
//! A tree of depth up to 12 is filled up to a complete one, node `i` with children `2i` and `2i + 1`, so a
//! walk is a fixed number of steps that do not depend on one another between rows; measured, that is three
//! to five times as fast as following pointers. A tree that is fetched once walks a whole block of rows. Its first
//! three steps compare all seven nodes that a row may meet with eight rows at a time, which takes vectors and no
//! look-ups; the others go from node to node. Values and thresholds are compared by their ranks among all numbers,
//! as integers: half the latency of comparing floats.
//!
//! Deeper trees (samples above 4096 rows) and wider rows (more than 1024 columns) are followed node by node. Path
//! lengths are summed in f64 in the order of trees, so every layout gives the same bits.

use ndarray::ArrayView2;

use super::tree::Tree;

/// Rows that walk a tree side by side.
const ABREAST: usize = 8;

/// Times as many rows meet one tree after the other.
const EIGHTS: usize = 16;

/// Columns of rows that walk side by side, at most.
const WIDEST: usize = 1024;

/// The ranks of one column's values, of eight rows.
type Eight = [u32; ABREAST];

/// Trees as scoring wants them.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    /// Depth up to 8, as of samples of 256 rows.
    Depth8(Vec<Complete<256>>),
    /// Depth up to 10.
    Depth10(Vec<Complete<1024>>),
    /// Depth up to 12, as of samples of 4096 rows.
    Depth12(Vec<Complete<4096>>),
    /// Any depth and any width.
    Linked(Vec<Linked>),
}

impl Layout {
    /// Of trees over so many columns.
    pub(super) fn of(trees: &[Tree], columns: usize) -> Layout {
        match trees.iter().map(Tree::depth).max().unwrap_or(0) {
            0..=8 if columns <= WIDEST => Layout::Depth8(trees.iter().map(Complete::of).collect()),
            9..=10 if columns <= WIDEST => Layout::Depth10(trees.iter().map(Complete::of).collect()),
            11..=12 if columns <= WIDEST => Layout::Depth12(trees.iter().map(Complete::of).collect()),
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
        match self {
            Layout::Depth8(trees) => of_complete(trees, rows, which, each),
            Layout::Depth10(trees) => of_complete(trees, rows, which, each),
            Layout::Depth12(trees) => of_complete(trees, rows, which, each),
            Layout::Linked(trees) => {
                for row in which {
                    let values = rows.row(*row as usize);
                    let lengths = trees.iter().map(|tree| tree.path_length(|column| values[column]));
                    each(*row, lengths.fold(0.0, |sum, length| sum + length));
                }
            }
        }
    }
}

/// The rank of a number among all: `a > b` is `rank(a) > rank(b)`. What is no number is above none.
fn rank(value: f32) -> u32 {
    // The sum makes one of both zeros.
    let bits = (value + 0.0).to_bits();
    let negative = bits >> 31;
    match value.is_nan() {
        true => 0,
        false => bits ^ (negative.wrapping_neg() | 1 << 31),
    }
}

/// A complete tree of `N` leaves; `N` is a power of two from 8 on. A branch that ends early is filled up with nodes
/// that lead to leaves of one value.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Complete<const N: usize> {
    /// By rank.
    threshold: [u32; N],
    /// Where the column's eight begin, in values.
    column: [u16; N],
    leaf: [f64; N],
}

impl<const N: usize> Complete<N> {
    const DEPTH: u32 = N.trailing_zeros();

    fn of(tree: &Tree) -> Complete<N> {
        let mut complete = Complete { threshold: [u32::MAX; N], column: [0; N], leaf: [0.0; N] };
        let lengths = tree.path_lengths();
        let mut waiting = vec![(0, 1, 0)];
        while let Some((index, at, depth)) = waiting.pop() {
            let node = &tree.nodes()[index];
            if node.is_leaf() {
                let below = Self::DEPTH - depth;
                let first = (at << below) % N;
                complete.leaf[first..first + (1 << below)].fill(lengths[index]);
            } else {
                complete.threshold[at] = rank(node.threshold);
                complete.column[at] = node.feature * ABREAST as u16;
                waiting.push((index + 1, 2 * at, depth + 1));
                waiting.push((node.right as usize, 2 * at + 1, depth + 1));
            }
        }
        complete
    }

    /// The nodes that eight rows are at after three steps.
    #[inline(always)]
    fn begin<const WIDTH: usize>(&self, rows: &[Eight; WIDTH]) -> Eight {
        let above: [Eight; 8] = std::array::from_fn(|node| {
            let threshold = self.threshold[node];
            let column = usize::from(self.column[node]) / ABREAST % WIDTH;
            rows[column].map(|value| if value > threshold { u32::MAX } else { 0 })
        });
        let first = above[1];
        let second = either(first, above[3], above[2]);
        let third = either(first, either(second, above[7], above[6]), either(second, above[5], above[4]));
        std::array::from_fn(|row| 8 + (first[row] & 4) + (second[row] & 2) + (third[row] & 1))
    }

    /// Adds the path lengths of eight rows that are at these nodes.
    #[inline(always)]
    fn add<const WIDTH: usize>(&self, from: &Eight, rows: &[Eight; WIDTH], sums: &mut [f64; ABREAST]) {
        let values = rows.as_flattened();
        let mut at = from.map(|at| at as usize);
        for _ in 3..Self::DEPTH {
            for (row, at) in at.iter_mut().enumerate() {
                // The remainders are no-ops that spare the bounds checks.
                let node = *at % N;
                let eight = (usize::from(self.column[node]) % (WIDTH * ABREAST)) & !(ABREAST - 1);
                let goes_right = values[eight + row] > self.threshold[node];
                // Twice that and one to the right, in one instruction.
                *at = at.carrying_add(*at, goes_right).0;
            }
        }
        for (sum, at) in sums.iter_mut().zip(at) {
            *sum += self.leaf[at % N];
        }
    }
}

/// For every row one of two, by a mask of ones or zeros.
#[inline(always)]
fn either(mask: Eight, ones: Eight, zeros: Eight) -> Eight {
    std::array::from_fn(|row| (mask[row] & ones[row]) | (!mask[row] & zeros[row]))
}

fn of_complete<const N: usize>(
    trees: &[Complete<N>],
    rows: ArrayView2<'_, f32>,
    which: &[u32],
    each: impl FnMut(u32, f64),
) {
    match rows.ncols() {
        0..=32 => side_by_side::<N, 32>(trees, rows, which, each),
        33..=64 => side_by_side::<N, 64>(trees, rows, which, each),
        65..=128 => side_by_side::<N, 128>(trees, rows, which, each),
        129..=256 => side_by_side::<N, 256>(trees, rows, which, each),
        _ => side_by_side::<N, WIDEST>(trees, rows, which, each),
    }
}

/// Rows of up to `WIDTH` columns, a power of two: copied side by side, so that no access needs a check.
fn side_by_side<const N: usize, const WIDTH: usize>(
    trees: &[Complete<N>],
    rows: ArrayView2<'_, f32>,
    which: &[u32],
    mut each: impl FnMut(u32, f64),
) {
    let count = which.len().div_ceil(ABREAST).min(EIGHTS);
    let mut values = vec![[0; ABREAST]; count * WIDTH];
    let (eights, _) = values.as_chunks_mut::<WIDTH>();
    let (mut at, mut sums) = ([[0; ABREAST]; EIGHTS], [[0.0; ABREAST]; EIGHTS]);
    for which in which.chunks(ABREAST * EIGHTS) {
        for (eight, which) in eights.iter_mut().zip(which.chunks(ABREAST)) {
            for (place, row) in which.iter().enumerate() {
                for (to, from) in eight.iter_mut().zip(rows.row(*row as usize)) {
                    to[place] = rank(*from);
                }
            }
        }
        let eights = &eights[..which.len().div_ceil(ABREAST)];
        sums.fill([0.0; ABREAST]);
        for tree in trees {
            for (at, rows) in at.iter_mut().zip(eights) {
                *at = tree.begin(rows);
            }
            for ((at, rows), sums) in at.iter().zip(eights).zip(&mut sums) {
                tree.add(at, rows, sums);
            }
        }
        for (row, sum) in which.iter().zip(sums.as_flattened()) {
            each(*row, *sum);
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

    fn path_length(&self, value: impl Fn(usize) -> f32) -> f64 {
        let nodes = self.tree.nodes();
        let mut at = 0;
        while !nodes[at].is_leaf() {
            let goes_right = value(usize::from(nodes[at].feature)) > nodes[at].threshold;
            at = if goes_right { nodes[at].right as usize } else { at + 1 };
        }
        self.lengths[at]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranks_compare_as_numbers_do(a: f32, b: f32, near in -2i32..3) {
            let close = f32::from_bits(a.to_bits().wrapping_add_signed(near));
            for (a, b) in [(a, b), (a, close), (a, -a), (0.0, -0.0), (-0.0, 0.0), (a, f32::NAN), (f32::NAN, b)] {
                // No tree has a threshold that is no number.
                prop_assert!(b.is_nan() || (rank(a) > rank(b)) == (a > b), "{a} {b}");
            }
        }
    }
}
