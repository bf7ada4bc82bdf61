//! How bad an anomalous row is, in one word: what alerts and lines for people share.

use crate::incident::Beyond;

/// How far beyond the threshold a score lies ([`Beyond`]), in a word. There is no `critical`: one odd row does
/// not say so much.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Not above the threshold.
    Info,
    /// Near.
    Low,
    /// Midway.
    Medium,
    /// Far.
    High,
}

impl Severity {
    /// The severity of a score, given the threshold.
    ///
    /// It ranks scores of one model, no more: it knows nothing of what a flow carried or whom it hurt.
    pub fn of(score: f64, threshold: f64) -> Severity {
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
        }
    }

    /// The number of Suricata's `alert.severity`, where 1 is worst.
    pub fn eve(self) -> u8 {
        match self {
            Severity::High => 1,
            Severity::Medium => 2,
            Severity::Low => 3,
            Severity::Info => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_rises_with_the_score() {
        let scores = [0.49, 0.5, 0.51, 0.625, 0.7, 0.75, 0.9, 1.0];
        let found: Vec<_> = scores.iter().map(|score| Severity::of(*score, 0.5).name()).collect();
        assert_eq!(found, ["info", "info", "low", "medium", "medium", "high", "high", "high"]);
        assert!(scores.windows(2).all(|pair| Severity::of(pair[0], 0.5) <= Severity::of(pair[1], 0.5)));
    }

    #[test]
    fn nats_are_graded_up_to_twice_the_threshold_and_beyond() {
        let of = |score: f64| Severity::of(score, 6.9).name();
        assert_eq!(
            [6.9, 7.0, 9.0, 11.0, 13.8, 40.0].map(of),
            ["info", "low", "medium", "high", "high", "high"]
        );
    }

    #[test]
    fn scores_of_another_range_are_not_graded() {
        for (score, threshold) in [(7.0, 0.5), (f64::INFINITY, 0.5), (2.0, 1.0)] {
            assert_eq!(Severity::of(score, threshold), Severity::Low, "{score} {threshold}");
        }
        assert_eq!(Severity::of(f64::NAN, 0.5), Severity::Info);
    }
}
