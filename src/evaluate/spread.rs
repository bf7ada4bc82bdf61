//! How scores are spread: histograms of both classes, five numbers of every family, calibration of p-values.

use std::collections::BTreeMap;

use super::scores::ScoredRow;
use super::truth::{Events, Truth};

/// Bins of a histogram.
const BINS: usize = 64;

/// Counts of benign and attack rows by score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    /// Lowest score, or zero where that is near, and highest.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether bins are even in the logarithm of the score: where most scores are far below the highest.
    pub(super) is_log: bool,
    /// Rows in each bin: benign, attack.
    pub(super) bins: Vec<[u64; 2]>,
}

impl Histogram {
    /// Of rows whose truth is known; none without such rows.
    pub(super) fn new(rows: &[ScoredRow], truth: &[Truth]) -> Option<Histogram> {
        let known = || rows.iter().zip(truth).filter(|(_, truth)| **truth != Truth::Unknown);
        let mut scores: Vec<f64> = known().map(|(row, _)| row.score).collect();
        scores.sort_unstable_by(f64::total_cmp);
        let (low, high) = (*scores.first()?, *scores.last()?);
        let is_log = low > 0.0 && high > 50.0 * scores[scores.len() / 2];
        // From zero, where that is near: an axis that begins at 0 is read without a thought.
        let low = if !is_log && low > 0.0 && low < 0.2 * high { 0.0 } else { low };
        let mut histogram = Histogram { low, high, is_log, bins: vec![[0; 2]; BINS] };
        for (row, truth) in known() {
            let bin = ((histogram.place(row.score) * BINS as f64) as usize).min(BINS - 1);
            histogram.bins[bin][usize::from(*truth != Truth::Benign)] += 1;
        }
        Some(histogram)
    }

    /// Where a score lies between the lowest (0) and the highest (1).
    pub(super) fn place(&self, score: f64) -> f64 {
        let [low, high, score] =
            [self.low, self.high, score].map(|score| if self.is_log { score.ln() } else { score });
        if high > low { ((score - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// Five numbers of a family's scores, with the ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spread {
    /// The family; none for benign rows.
    pub(super) family: Option<usize>,
    /// Rows.
    pub(super) rows: u64,
    /// Least, 5 %, 25 %, 50 %, 75 %, 95 %, greatest.
    pub(super) quantiles: [f64; 7],
}

/// Of benign rows and of every family with rows: by median, the highest first; benign rows last.
pub(super) fn spreads(rows: &[ScoredRow], truth: &[Truth], events: &Events) -> Vec<Spread> {
    let mut scores: BTreeMap<Option<usize>, Vec<f64>> = BTreeMap::new();
    for (row, truth) in rows.iter().zip(truth) {
        let family = match truth {
            Truth::Unknown => continue,
            Truth::Benign => None,
            Truth::Attack(event) => Some(events.events[*event].family),
        };
        scores.entry(family).or_default().push(row.score);
    }
    let mut spreads: Vec<Spread> = scores
        .into_iter()
        .map(|(family, mut scores)| {
            scores.sort_unstable_by(f64::total_cmp);
            let at = |part: f64| scores[(part * (scores.len() - 1) as f64).round() as usize];
            let quantiles = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0].map(at);
            Spread { family, rows: scores.len() as u64, quantiles }
        })
        .collect();
    spreads.sort_by(|a, b| {
        a.family.is_none().cmp(&b.family.is_none()).then(b.quantiles[3].total_cmp(&a.quantiles[3]))
    });
    spreads
}

/// How many benign rows have a p-value as small as they should.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calibration {
    /// Benign rows with a p-value.
    pub(super) rows: u64,
    /// A nominal value, and the benign rows whose p-value is no larger.
    pub(super) points: Vec<(f64, u64)>,
}

impl Calibration {
    /// At eight values a decade from 1 to below one row in all; none without p-values of benign rows.
    pub(super) fn new(rows: &[ScoredRow], truth: &[Truth]) -> Option<Calibration> {
        let benign = rows.iter().zip(truth).filter(|(_, truth)| **truth == Truth::Benign);
        let mut values: Vec<f64> = benign.filter_map(|(row, _)| row.p_value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let least = 0.1 / values.len().max(1) as f64;
        let nominal = (0..).map(|eighth| 10_f64.powf(-f64::from(eighth) / 8.0));
        let points = nominal
            .take_while(|nominal| *nominal >= least)
            .map(|nominal| (nominal, values.partition_point(|value| *value <= nominal) as u64))
            .collect();
        (!values.is_empty()).then_some(Calibration { rows: values.len() as u64, points })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(scores: &[f64]) -> Vec<ScoredRow> {
        scores.iter().map(|score| ScoredRow::example("10.0.0.1", "10.0.0.2", 0, 1, *score)).collect()
    }

    #[test]
    fn every_known_row_is_in_one_bin() {
        let rows = rows(&[0.0, 0.5, 1.0, 1.0, 7.0]);
        let truth = [Truth::Benign, Truth::Benign, Truth::Attack(0), Truth::Benign, Truth::Unknown];
        let histogram = Histogram::new(&rows, &truth).unwrap();
        assert_eq!((histogram.low, histogram.high, histogram.is_log), (0.0, 1.0, false));
        assert_eq!((histogram.bins[0], histogram.bins[BINS - 1]), ([1, 0], [1, 1]));
        assert_eq!(histogram.bins.iter().flatten().sum::<u64>(), 4);
        assert_eq!(Histogram::new(&rows[..1], &truth[..1]).unwrap().place(0.0), 0.5);
        assert_eq!(Histogram::new(&rows[4..], &truth[4..]), None);
    }

    #[test]
    fn far_tails_are_shown_by_logarithm() {
        let rows = rows(&[1.0, 1.0, 1.0, 1000.0]);
        let histogram = Histogram::new(&rows, &[Truth::Benign; 4]).unwrap();
        assert!(histogram.is_log);
        assert!((histogram.place(10.0) - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn calibration_counts_benign_rows_at_or_below_each_value() {
        let mut rows = rows(&[0.0; 100]);
        for (at, row) in rows.iter_mut().enumerate() {
            row.p_value = Some((at as f64 + 1.0) / 100.0);
        }
        let calibration = Calibration::new(&rows, &[Truth::Benign; 100]).unwrap();
        assert_eq!((calibration.points[0], calibration.points[8]), ((1.0, 100), (0.1, 10)));
        assert_eq!(calibration.points.last().unwrap().1, 0, "below one row in a hundred there is none");
        assert_eq!(Calibration::new(&rows, &[Truth::Attack(0); 100]), None);
    }
}
