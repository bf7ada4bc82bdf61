//! Training cut into contiguous blocks, so that its rows can be judged by other minutes than their own.

/// Blocks at most.
pub(super) const MOST: usize = 6;

/// Blocks at least: two late ones, which judge each other, and what came before them.
pub const FEWEST: usize = 3;

/// Windows of a block at least. Blocks shorter than the longest horizon tell a little of their neighbours; training
/// too short for longer ones is served better by that than by rows that are judged by themselves.
pub const SHORTEST: usize = 10;

/// How training was cut. Borders are windows, counted since the epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocks {
    /// Where each block begins: the first window that is its own.
    pub starts: Vec<u64>,
    /// Windows with rows of each block.
    pub windows: Vec<u64>,
    /// The first of the late blocks, of the last two. What is first seen in them is new as far as training can
    /// tell, and their rows calibrate: before, much is new only because training has just begun.
    pub late: usize,
    /// Whether a block's rows are judged by the others; else training was too short, and all are judged by all.
    pub apart: bool,
}

impl Blocks {
    /// Cuts windows, in order, where their number shifted right by `level` changes: into six blocks as equal as
    /// possible, into fewer where they would be shorter than [`SHORTEST`].
    pub(super) fn cut(windows: &[u64], level: u32) -> Blocks {
        Blocks::cut_into(windows, level, SHORTEST)
    }

    /// The same with blocks of at least so many windows.
    pub(crate) fn cut_into(windows: &[u64], level: u32, shortest: usize) -> Blocks {
        // Where a block may begin: the place of the first window of each cell of time.
        let places: Vec<usize> = (0..windows.len())
            .filter(|at| *at == 0 || windows[*at] >> level != windows[at - 1] >> level)
            .collect();
        let nearest = |wanted: usize, of: usize| {
            let target = wanted * windows.len();
            places.iter().copied().min_by_key(|place| (place * of).abs_diff(target)).unwrap_or(0)
        };
        let blocks = |starts: Vec<usize>, apart| {
            let ends = starts.iter().skip(1).copied().chain([windows.len()]);
            Blocks {
                windows: starts.iter().zip(ends).map(|(start, end)| (end - start) as u64).collect(),
                late: starts.len().saturating_sub(2).max(starts.len() / 2),
                // Where the cell of time begins, not its first window with rows: all of a cell is in one block.
                starts: starts
                    .iter()
                    .map(|start| windows.get(*start).map_or(0, |window| window >> level << level))
                    .collect(),
                apart,
            }
        };
        for count in (FEWEST..=MOST).rev() {
            let cut = blocks((0..count).map(|at| nearest(at, count)).collect(), true);
            if cut.windows.iter().all(|windows| *windows >= shortest as u64) {
                return cut;
            }
        }
        // Too short: blocks within one another's horizons still judge better than rows judge themselves.
        let short = blocks((0..FEWEST).map(|at| nearest(at, FEWEST)).collect(), true);
        if short.windows.iter().all(|windows| *windows > 0) {
            return short;
        }
        let mut starts = vec![0, nearest(1, 2)];
        starts.dedup();
        blocks(starts, false)
    }

    /// The block of a window.
    pub fn of(&self, window: u64) -> usize {
        self.starts.partition_point(|start| *start <= window).saturating_sub(1)
    }

    /// The first window of the late blocks.
    pub fn late_starts(&self) -> u64 {
        self.starts.get(self.late).copied().unwrap_or(0)
    }

    /// Whether training was too short for blocks that tell little of one another.
    pub fn short(&self) -> bool {
        !self.apart || self.windows.iter().any(|windows| *windows < SHORTEST as u64)
    }

    /// Windows with rows.
    pub fn total(&self) -> u64 {
        self.windows.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_equal_as_cells_of_time_allow_and_none_is_too_short() {
        let cut = |windows: std::ops::Range<u64>, level| Blocks::cut(&windows.collect::<Vec<_>>(), level);
        assert_eq!(cut(7..127, 0).windows, [20; 6]);
        assert_eq!((cut(7..127, 0).late, cut(7..127, 0).late_starts()), (4, 87));
        assert_eq!(cut(0..59, 0).windows, [12, 12, 11, 12, 12]);
        assert_eq!((cut(0..59, 0).late, cut(0..59, 0).late_starts()), (3, 35));
        assert_eq!(cut(3..1003, 5).windows, [157, 192, 160, 160, 160, 171]);
        assert_eq!(
            cut(0..30, 0),
            Blocks { starts: vec![0, 10, 20], windows: vec![10; 3], late: 1, apart: true }
        );
        assert_eq!(
            cut(0..29, 0),
            Blocks { starts: vec![0, 10, 19], windows: vec![10, 9, 10], late: 1, apart: true }
        );
        assert!(cut(0..29, 0).short() && cut(9..10, 0).short() && !cut(0..30, 0).short());
        assert_eq!(cut(0..2, 0), Blocks { starts: vec![0, 1], windows: vec![1, 1], late: 1, apart: false });
        assert_eq!(cut(9..10, 0), Blocks { starts: vec![9], windows: vec![1], late: 0, apart: false });
        let gaps: Vec<u64> = (0..200).chain(9000..9200).collect();
        let cut = Blocks::cut(&gaps, 3);
        assert_eq!((cut.windows.iter().sum::<u64>(), cut.of(0), cut.of(8999), cut.of(9000)), (400, 0, 2, 3));
    }
}
