//! How bad an incident or an anomalous row is, in a word.

use serde::{Deserialize, Serialize};

use super::finding::{Kind, Real};

/// Severity of an incident, by [`Severity::of`], or of an anomalous row, by [`Severity::of_row`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing to report.
    Info,
    /// To be looked at when there is time.
    Low,
    /// To be looked at.
    Medium,
    /// Soon.
    High,
    /// Now.
    Critical,
}

/// How far beyond the threshold a score lies: what severities of rows and of incidents are reckoned from.
///
/// A forest's scores end at 1. Scores in nats (-ln p), whose thresholds lie above 1, have no end: there the way goes to
/// twice the threshold, where p is squared, and what lies beyond is far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Beyond {
    /// Not above the threshold.
    Not,
    /// In the first quarter of the way from the threshold to the end. Scores of another range, and a threshold that
    /// leaves no way to go, are here.
    Near,
    /// In the second quarter.
    Midway,
    /// Beyond half of the way.
    Far,
}

impl Beyond {
    /// Of a score, given the threshold.
    pub fn of(score: f64, threshold: f64) -> Beyond {
        if score.partial_cmp(&threshold) != Some(std::cmp::Ordering::Greater) {
            return Beyond::Not;
        }
        let nats = threshold > 1.0;
        let end = if nats { 2.0 * threshold } else { 1.0 };
        match (score - threshold) / (end - threshold) {
            0.25..0.5 => Beyond::Midway,
            0.5..=1.0 => Beyond::Far,
            1.0.. if nats => Beyond::Far,
            _ => Beyond::Near,
        }
    }
}

/// The table: rows by how far the best score lies beyond the threshold, columns by how many rows there are.
const TABLE: [[Severity; 4]; 3] = {
    use Severity::{Critical, High, Low, Medium};
    //   1    2..  10..      100..
    [
        [Low, Low, Medium, Medium],    // near
        [Low, Medium, Medium, High],   // midway
        [Low, Medium, High, Critical], // far
    ]
};

impl Severity {
    /// All, by what they are as numbers.
    pub const ALL: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// Of an incident with `alerts` rows of which the oddest has `score`.
    ///
    /// One row alone waits at `Low`, however odd it is: most false alarms are single rows, and what goes on has more.
    pub fn of(kind: Kind, score: f64, threshold: f64, alerts: u64) -> Severity {
        let beyond = Beyond::of(score, threshold);
        if kind != Kind::Anomaly {
            return if beyond == Beyond::Not { Severity::Low } else { Severity::Medium };
        }
        let row = match beyond {
            Beyond::Not | Beyond::Near => 0,
            Beyond::Midway => 1,
            Beyond::Far => 2,
        };
        let column = match alerts {
            0 => return Severity::Info,
            1 => 0,
            2..10 => 1,
            10..100 => 2,
            _ => 3,
        };
        TABLE[row][column]
    }

    /// Of an anomalous row: how far its score lies beyond the threshold. There is no `Critical`: one odd row does not say
    /// so much.
    ///
    /// It ranks scores of one model, no more: it knows nothing of what a flow carried or whom it hurt.
    pub fn of_row(score: f64, threshold: f64) -> Severity {
        match Beyond::of(score, threshold) {
            Beyond::Not => Severity::Info,
            Beyond::Near => Severity::Low,
            Beyond::Midway => Severity::Medium,
            Beyond::Far => Severity::High,
        }
    }

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// The number of Suricata's `alert.severity`, where 1 is worst.
    pub fn eve(self) -> u8 {
        match self {
            Severity::Critical | Severity::High => 1,
            Severity::Medium => 2,
            Severity::Low => 3,
            Severity::Info => 4,
        }
    }
}

/// How bad an incident is beside others: the greatest is the worst. By severity, then by the score of the
/// oddest row, then by the number of rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rank(Severity, Real, u64);

impl Rank {
    /// Of an incident with so many rows.
    pub fn new(severity: Severity, score: f64, rows: u64) -> Rank {
        Rank(severity, Real::new(score), rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_rises_with_the_score_and_with_the_rows() {
        let of = |score, alerts| Severity::of(Kind::Anomaly, score, 6.9, alerts);
        let scores = [7.0, 8.0, 9.0, 11.0, 14.0, 40.0];
        let alerts = [1, 2, 9, 10, 99, 100, 10_000];
        for pair in scores.windows(2) {
            assert!(alerts.iter().all(|alerts| of(pair[0], *alerts) <= of(pair[1], *alerts)));
        }
        for pair in alerts.windows(2) {
            assert!(scores.iter().all(|score| of(*score, pair[0]) <= of(*score, pair[1])));
        }
        assert!(scores.iter().all(|score| of(*score, 1) == Severity::Low));
        assert_eq!(of(40.0, 100), Severity::Critical);
        assert_eq!(Severity::of(Kind::Anomaly, 0.9, 0.6, 20), Severity::High);
    }

    #[test]
    fn scores_of_another_range_are_near() {
        for (score, threshold) in [(7.0, 0.5), (f64::INFINITY, 0.5), (2.0, 1.0)] {
            assert_eq!(Beyond::of(score, threshold), Beyond::Near, "{score} {threshold}");
            assert_eq!(Severity::of(Kind::Anomaly, score, threshold, 20), Severity::Medium);
            assert_eq!(Severity::of_row(score, threshold), Severity::Low);
        }
        assert_eq!(Beyond::of(f64::NAN, 0.5), Beyond::Not);
        assert_eq!(Beyond::of(1.0, 0.5), Beyond::Far);
    }

    #[test]
    fn severity_of_a_row_rises_with_its_score() {
        let scores = [0.49, 0.5, 0.51, 0.625, 0.7, 0.75, 0.9, 1.0];
        let found: Vec<_> = scores.iter().map(|score| Severity::of_row(*score, 0.5).name()).collect();
        assert_eq!(found, ["info", "info", "low", "medium", "medium", "high", "high", "high"]);
    }

    #[test]
    fn nats_are_graded_up_to_twice_the_threshold_and_beyond() {
        let of = |score: f64| Severity::of_row(score, 6.9).name();
        assert_eq!(
            [6.9, 7.0, 9.0, 11.0, 13.8, 40.0].map(of),
            ["info", "low", "medium", "high", "high", "high"]
        );
    }
}
