//! Trivial scores of the same rows: what a detector must beat.

use hashbrown::HashMap;

use super::scores::ScoredRow;
use crate::detect::random::SplitMix64;

/// Their names.
pub(crate) const BASELINES: [&str; 3] = ["random", "bytes of the row", "flows of the source"];

/// A name, and a score for every row.
pub(super) type Baseline = (&'static str, Vec<f64>);

/// The baselines that the rows allow.
pub(super) fn baselines(rows: &[ScoredRow], seed: u64) -> Vec<Baseline> {
    let mut random = SplitMix64::new(seed);
    let [chance, size, count] = BASELINES;
    let mut all = vec![(chance, rows.iter().map(|_| random.unit()).collect())];
    let bytes: Option<Vec<f64>> = rows.iter().map(|row| row.bytes.map(|bytes| bytes as f64)).collect();
    all.extend(bytes.map(|bytes| (size, bytes)));
    all.push((count, flows_of_source(rows)));
    all
}

/// Rows of the same source in the same window; a flow has one row in a window.
fn flows_of_source(rows: &[ScoredRow]) -> Vec<f64> {
    let key = |row: &ScoredRow| (row.window, row.src);
    let mut counts: HashMap<_, u32> = HashMap::new();
    for row in rows {
        *counts.entry(key(row)).or_default() += 1;
    }
    rows.iter().map(|row| f64::from(counts[&key(row)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines_come_from_the_rows_and_the_seed_alone() {
        let row = |src: &str, window, bytes| ScoredRow {
            window,
            bytes,
            ..ScoredRow::example(src, "10.0.0.9", window, window, 0.0)
        };
        let rows = [row("10.0.0.1", 0, Some(7)), row("10.0.0.1", 0, Some(9)), row("10.0.0.1", 10, Some(1))];
        let all = baselines(&rows, 5);
        assert_eq!(all[1].1, [7.0, 9.0, 1.0]);
        assert_eq!(all[2].1, [2.0, 2.0, 1.0]);
        assert_eq!(all[0].1, baselines(&rows, 5)[0].1);
        assert_ne!(all[0].1, baselines(&rows, 6)[0].1);
        let without = baselines(&[row("10.0.0.1", 0, None)], 5);
        assert_eq!(without.iter().map(|one| one.0).collect::<Vec<_>>(), ["random", "flows of the source"]);
    }
}
