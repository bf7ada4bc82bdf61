//! How bad an anomaly is, in one word: the one rule that alerts and lines for people share.

/// How far beyond the threshold a score lies. There is no `critical`: one odd row does not say so much.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Not above the threshold.
    Info,
    /// In the first quarter of the way from the threshold to the end (see [`Severity::of`]).
    Low,
    /// In the second quarter.
    Medium,
    /// Beyond half of the way.
    High,
}

impl Severity {
    /// The severity of a score, given the threshold.
    ///
    /// A forest's scores end at 1. Scores in nats (-ln p), whose thresholds lie above 1, have no end: there the
    /// way goes to twice the threshold, where p is squared, and what lies beyond is `High`.
    ///
    /// It ranks scores of one model, no more: it knows nothing of what a flow carried or whom it hurt.
    /// Scores of another range, and a threshold that leaves no way to go, make every anomaly `Low`.
    pub fn of(score: f64, threshold: f64) -> Severity {
        if score.partial_cmp(&threshold) != Some(std::cmp::Ordering::Greater) {
            return Severity::Info;
        }
        let nats = threshold > 1.0;
        let end = if nats { 2.0 * threshold } else { 1.0 };
        match (score - threshold) / (end - threshold) {
            0.25..0.5 => Severity::Medium,
            0.5..=1.0 => Severity::High,
            1.0.. if nats => Severity::High,
            _ => Severity::Low,
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
