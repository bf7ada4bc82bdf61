//! How well scores rank attacks above benign rows. Equal scores are never told apart.

/// Rows of one score.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tie {
    score: f64,
    attacks: u64,
    benign: u64,
}

/// Scores in falling order, equal ones together.
#[derive(Clone, Debug)]
pub(super) struct Ranking {
    ties: Vec<Tie>,
    attacks: u64,
    benign: u64,
}

/// A point of the curves: what lies at or above a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CurvePoint {
    /// Part of benign rows.
    pub(super) false_positive_rate: f64,
    /// Part of attack rows.
    pub(super) recall: f64,
    /// Part that is attack; 1 where nothing is.
    pub(super) precision: f64,
}

impl Ranking {
    /// Ranks finite scores; the flag says which rows are attacks.
    pub(super) fn new(rows: impl Iterator<Item = (f64, bool)>) -> Ranking {
        let mut rows: Vec<(f64, bool)> = rows.collect();
        rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut ranking = Ranking { ties: Vec::new(), attacks: 0, benign: 0 };
        for (score, attack) in rows {
            if ranking.ties.last().is_none_or(|tie| tie.score != score) {
                ranking.ties.push(Tie { score, attacks: 0, benign: 0 });
            }
            let tie = ranking.ties.last_mut().expect("one was pushed if there was none");
            match attack {
                true => (tie.attacks, ranking.attacks) = (tie.attacks + 1, ranking.attacks + 1),
                false => (tie.benign, ranking.benign) = (tie.benign + 1, ranking.benign + 1),
            }
        }
        ranking
    }

    /// Whether there are rows of both classes.
    fn has_both(&self) -> bool {
        self.attacks > 0 && self.benign > 0
    }

    /// The probability that a random attack row scores above a random benign one, ties counting half (Mann and
    /// Whitney); none where one class has no rows. Summed in integers: exact.
    pub(super) fn roc_auc(&self) -> Option<f64> {
        let mut twice = 0_u128;
        let mut below = self.benign;
        for tie in &self.ties {
            below -= tie.benign;
            twice += u128::from(tie.attacks) * (2 * u128::from(below) + u128::from(tie.benign));
        }
        let pairs = u128::from(self.attacks) * u128::from(self.benign);
        self.has_both().then(|| twice as f64 / (2 * pairs) as f64)
    }

    /// Precision averaged over recall: the sum over scores of precision times the recall gained there, without
    /// interpolation; none where one class has no rows.
    pub(super) fn average_precision(&self) -> Option<f64> {
        let (mut attacks, mut rows, mut sum) = (0_u64, 0_u64, 0.0);
        for tie in &self.ties {
            attacks += tie.attacks;
            rows += tie.attacks + tie.benign;
            sum += tie.attacks as f64 * attacks as f64 / rows as f64;
        }
        self.has_both().then(|| sum / self.attacks as f64)
    }

    /// The lowest score above which no more than `rate` of benign rows lie; rows count as found strictly above
    /// it. Where `rate` is less than one benign row it is the largest benign score. None without benign rows.
    pub(super) fn threshold(&self, rate: f64) -> Option<f64> {
        let allowed = (rate * self.benign as f64).floor() as u64;
        let mut seen = 0;
        for tie in &self.ties {
            seen += tie.benign;
            if tie.benign > 0 && seen > allowed {
                return Some(tie.score);
            }
        }
        self.ties.last().filter(|_| self.benign > 0).map(|tie| tie.score)
    }

    /// The curves from "nothing found" to "everything found", thinned to what a plot can show: a point is left
    /// out while it is within `grain` of the last one kept, in its rates and in decades of the false-positive
    /// rate. Corners between those left out are kept apart by no more than `grain`.
    pub(super) fn curve(&self, grain: f64) -> Vec<CurvePoint> {
        if !self.has_both() {
            return Vec::new();
        }
        let mut kept = vec![CurvePoint { false_positive_rate: 0.0, recall: 0.0, precision: 1.0 }];
        let (mut attacks, mut benign) = (0, 0);
        for tie in &self.ties {
            attacks += tie.attacks;
            benign += tie.benign;
            let point = CurvePoint {
                false_positive_rate: benign as f64 / self.benign as f64,
                recall: attacks as f64 / self.attacks as f64,
                precision: attacks as f64 / (attacks + benign) as f64,
            };
            let last = kept.last().expect("the first point is there");
            let decades =
                |point: &CurvePoint| point.false_positive_rate.max(0.1 / self.benign as f64).log10();
            let moved = (point.recall - last.recall)
                .max(point.false_positive_rate - last.false_positive_rate)
                .max((point.precision - last.precision).abs())
                .max((decades(&point) - decades(last)) / 4.0);
            if moved >= grain || benign == self.benign && attacks == self.attacks {
                kept.push(point);
            }
        }
        kept
    }

    /// Part of rows that are attacks.
    pub(super) fn prevalence(&self) -> f64 {
        self.attacks as f64 / (self.attacks + self.benign).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranking(attacks: &[f64], benign: &[f64]) -> Ranking {
        let rows = attacks.iter().map(|score| (*score, true));
        Ranking::new(rows.chain(benign.iter().map(|score| (*score, false))))
    }

    #[test]
    fn areas_are_those_made_by_hand() {
        // The example of scikit-learn's roc_auc_score and average_precision_score.
        let one = ranking(&[0.35, 0.8], &[0.1, 0.4]);
        assert_eq!(one.roc_auc(), Some(0.75));
        assert!((one.average_precision().unwrap() - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-15);
        // Ties: pairs (2,2) half, (2,1) whole, (1,2) none, (1,1) half.
        let tied = ranking(&[2.0, 1.0], &[2.0, 1.0]);
        assert_eq!((tied.roc_auc(), tied.average_precision()), (Some(0.5), Some(0.5)));
        let perfect = ranking(&[3.0, 4.0], &[1.0, 2.0]);
        assert_eq!((perfect.roc_auc(), perfect.average_precision()), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn one_class_has_no_area() {
        for one in [ranking(&[], &[1.0, 2.0]), ranking(&[1.0], &[]), ranking(&[], &[])] {
            assert_eq!((one.roc_auc(), one.average_precision()), (None, None));
            assert!(one.curve(0.01).is_empty());
        }
        assert_eq!(ranking(&[1.0], &[]).threshold(0.1), None);
    }

    #[test]
    fn equal_scores_stand_on_one_side_of_a_threshold() {
        let benign: Vec<f64> = (0..100).map(|at| if at < 95 { 1.0 } else { 2.0 }).collect();
        let one = ranking(&[], &benign);
        // Five in a hundred lie above 1; of four in a hundred none can be let through without the fifth.
        assert_eq!(one.threshold(0.05), Some(1.0));
        assert_eq!(one.threshold(0.04), Some(2.0));
        assert_eq!(one.threshold(0.001), Some(2.0), "less than one row: nothing benign lies above");
        assert_eq!(one.threshold(1.0), Some(1.0));
    }

    fn scores() -> impl Strategy<Value = Vec<(f64, bool)>> {
        prop::collection::vec(((-8..8_i32).prop_map(f64::from), any::<bool>()), 2..60)
    }

    proptest! {
        #[test]
        fn the_area_is_that_over_all_pairs_and_no_rising_transform_changes_it(rows in scores()) {
            let one = Ranking::new(rows.iter().copied());
            let (mut won, mut pairs) = (0.0, 0.0);
            for a in rows.iter().filter(|row| row.1) {
                for b in rows.iter().filter(|row| !row.1) {
                    won += if a.0 > b.0 { 1.0 } else if a.0 == b.0 { 0.5 } else { 0.0 };
                    pairs += 1.0;
                }
            }
            prop_assert_eq!(one.roc_auc(), (pairs > 0.0).then(|| won / pairs));
            let bent = Ranking::new(rows.iter().map(|(score, attack)| (score.exp() + 3.0, *attack)));
            prop_assert_eq!(one.roc_auc(), bent.roc_auc());
            prop_assert_eq!(one.average_precision(), bent.average_precision());
            let turned = Ranking::new(rows.iter().map(|(score, attack)| (-score, *attack)));
            if let (Some(one), Some(turned)) = (one.roc_auc(), turned.roc_auc()) {
                prop_assert!((one + turned - 1.0).abs() < 1e-12);
            }
        }

        #[test]
        fn no_more_benign_rows_than_allowed_lie_above_a_threshold(rows in scores(), rate in 0.0..1.0_f64) {
            if let Some(threshold) = Ranking::new(rows.iter().copied()).threshold(rate) {
                let benign = rows.iter().filter(|row| !row.1);
                let above = benign.clone().filter(|row| row.0 > threshold).count();
                prop_assert!(above as f64 <= rate * benign.clone().count() as f64);
                // The threshold is the lowest: with its own ties there would be too many.
                let with = benign.clone().filter(|row| row.0 >= threshold).count();
                prop_assert!(with as f64 > (rate * benign.count() as f64).floor());
            }
        }

        #[test]
        fn curves_rise_from_nothing_to_everything(rows in scores()) {
            let curve = Ranking::new(rows.into_iter()).curve(0.001);
            if let (Some(first), Some(last)) = (curve.first(), curve.last()) {
                prop_assert_eq!((first.recall, first.false_positive_rate), (0.0, 0.0));
                prop_assert_eq!((last.recall, last.false_positive_rate), (1.0, 1.0));
                for two in curve.windows(2) {
                    prop_assert!(two[0].recall <= two[1].recall);
                    prop_assert!(two[0].false_positive_rate <= two[1].false_positive_rate);
                }
            }
        }
    }
}
