//! What one detector's scores are worth: its ranking, and what it finds at each operating point.

use super::bootstrap::{Found, interval, macro_recall};
use super::cases::Cases;
use super::ranking::{CurvePoint, Ranking};
use super::scores::ScoredRow;
use super::truth::{Events, Truth};

/// False-positive rates at which recall is stated.
pub(super) const RATES: [f64; 3] = [1e-2, 1e-3, 1e-4];
/// Parts of traffic that are attack for which precision is stated.
pub(super) const BASE_RATES: [f64; 3] = [1e-2, 1e-3, 1e-4];
/// Distance of two points of a curve that a plot can show.
const GRAIN: f64 = 0.002;
/// Nanoseconds of an hour.
pub(super) const HOUR: f64 = 3600e9;

/// Where scores come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The folder that is evaluated.
    Own,
    /// Another folder beside it.
    Compared,
    /// Computed from the rows themselves.
    Baseline,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Own => "evaluated",
            Kind::Compared => "compared",
            Kind::Baseline => "baseline",
        }
    }
}

/// Rows with their truth.
#[derive(Clone, Copy)]
pub(super) struct Judged<'a> {
    pub(super) rows: &'a [ScoredRow],
    pub(super) truth: &'a [Truth],
    pub(super) events: &'a Events,
    /// Length of a window, see [`window_length`].
    pub(super) window: u64,
    pub(super) seed: u64,
}

/// The length of windows, nanoseconds: as their files say it, else the least distance of two of them; 0 where there are no
/// two.
pub(super) fn window_length(rows: &[ScoredRow]) -> u64 {
    if let Some(said) = rows.iter().filter_map(|row| row.length).max() {
        return said;
    }
    let mut windows: Vec<u64> = rows.iter().map(|row| row.window).collect();
    windows.sort_unstable();
    windows.dedup();
    windows.windows(2).map(|two| two[1] - two[0]).min().unwrap_or(0)
}

impl Judged<'_> {
    /// When an alert about a row can be given: at the end of its window.
    pub(super) fn alert_time(&self, row: &ScoredRow) -> u64 {
        row.end.max(row.window.saturating_add(self.window))
    }

    /// Nanoseconds from the first packet to the last; none without rows.
    pub(super) fn span(&self) -> Option<[u64; 2]> {
        let first = self.rows.iter().map(|row| row.start).min()?;
        Some([first, self.rows.iter().map(|row| row.end).max()?])
    }
}

/// What one detector's scores are worth.
#[derive(Clone, Debug)]
pub(super) struct Detector {
    /// Its name.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Rows that are benign, and that are attacks.
    pub(super) benign: u64,
    pub(super) attacks: u64,
    /// Areas; none where one class has no rows.
    pub(super) roc_auc: Option<f64>,
    pub(super) average_precision: Option<f64>,
    /// At the threshold that the scores came with; none for baselines.
    pub(super) shipped: Option<Point>,
    /// At the rates of [`RATES`]; empty without benign rows.
    pub(super) points: Vec<Point>,
    /// For the curves.
    pub(super) curve: Vec<CurvePoint>,
    /// Part of rows that are attacks.
    pub(super) prevalence: f64,
    /// The incidents that came with the scores, if some did.
    pub(super) cases: Option<Cases>,
}

/// An operating point: some rows are alarmed about, the others are not.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// The false-positive rate that was allowed; none at the shipped threshold.
    pub(super) rate: Option<f64>,
    /// Scores above this are alarms; none at a shipped threshold that the rows only show by their flags.
    pub(super) threshold: Option<f64>,
    /// Alarms on attack rows, on benign rows, attack rows without one.
    pub(super) hits: u64,
    pub(super) false_alarms: u64,
    pub(super) misses: u64,
    /// Part of alarms that are attack rows; none without alarms, and where one class has no rows.
    pub(super) precision: Option<f64>,
    /// Part of attack rows with an alarm; none without attack rows.
    pub(super) recall: Option<f64>,
    /// Harmonic mean of the two.
    pub(super) f1: Option<f64>,
    /// Part of benign rows with an alarm; none without benign rows.
    pub(super) false_positive_rate: Option<f64>,
    /// Mean recall of families, and its interval over events.
    pub(super) macro_recall: Option<f64>,
    pub(super) interval: Option<[f64; 2]>,
    /// Of each family with rows.
    pub(super) families: Vec<FamilyRecall>,
    /// Rows of each event, and alarms on them.
    pub(super) found: Vec<Found>,
    /// From the start of each event to the end of the first window with an alarm, nanoseconds.
    pub(super) delays: Vec<Option<u64>>,
    /// Precision at each of [`BASE_RATES`].
    pub(super) precision_at: Vec<PrecisionAt>,
}

/// Recall of one family.
#[derive(Clone, Debug)]
pub(super) struct FamilyRecall {
    /// By its place in the events' families.
    pub(super) family: usize,
    /// Events with rows.
    pub(super) events: u64,
    pub(super) rows: u64,
    pub(super) hits: u64,
    /// Over events; none for a family of one event.
    pub(super) interval: Option<[f64; 2]>,
}

impl FamilyRecall {
    pub(super) fn recall(&self) -> f64 {
        self.hits as f64 / self.rows as f64
    }
}

/// What part of alarms would be right, were so small a part of traffic an attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PrecisionAt {
    pub(super) base_rate: f64,
    pub(super) precision: f64,
    /// No benign row was alarmed about: the rate is taken as three in all benign rows, the upper end of its 95 %
    /// interval, and precision is at least this.
    pub(super) is_bound: bool,
}

/// Alarms at an operating point, gathered before they are counted.
struct Alarms<'a> {
    judged: &'a Judged<'a>,
    benign: u64,
}

/// Measures scores; `flags` are the alarms that the scores came with.
pub(super) fn measure(
    name: String,
    kind: Kind,
    judged: &Judged,
    scores: &[f64],
    flags: Option<&dyn Fn(usize) -> bool>,
) -> Detector {
    let known = judged.truth.iter().zip(scores).filter(|(truth, _)| **truth != Truth::Unknown);
    let ranking = Ranking::new(known.map(|(truth, score)| (*score, *truth != Truth::Benign)));
    let benign = judged.truth.iter().filter(|truth| **truth == Truth::Benign).count() as u64;
    let attacks = judged.truth.iter().filter(|truth| matches!(truth, Truth::Attack(_))).count() as u64;
    let alarms = Alarms { judged, benign };
    let shipped = flags.map(|flags| alarms.point(None, None, flags));
    let points = RATES
        .into_iter()
        .filter_map(|rate| {
            let threshold = ranking.threshold(rate)?;
            Some(alarms.point(Some(rate), Some(threshold), &|at| scores[at] > threshold))
        })
        .collect();
    Detector {
        name,
        kind,
        benign,
        attacks,
        roc_auc: ranking.roc_auc(),
        average_precision: ranking.average_precision(),
        shipped,
        points,
        curve: ranking.curve(GRAIN),
        prevalence: ranking.prevalence(),
        cases: None,
    }
}

impl Detector {
    /// Notes the threshold that marked its rows, where it is known.
    pub(super) fn ship(&mut self, threshold: Option<f64>) {
        if let Some(shipped) = &mut self.shipped {
            shipped.threshold = threshold;
        }
    }
}

impl Alarms<'_> {
    fn point(&self, rate: Option<f64>, threshold: Option<f64>, is_alarm: &dyn Fn(usize) -> bool) -> Point {
        let Judged { rows, truth, events, seed, .. } = *self.judged;
        let mut found: Vec<Found> =
            events.events.iter().map(|event| Found { family: event.family, rows: 0, hits: 0 }).collect();
        let mut delays: Vec<Option<u64>> = vec![None; found.len()];
        let mut false_alarms = 0;
        for (at, truth) in truth.iter().enumerate() {
            match truth {
                Truth::Unknown => {}
                Truth::Benign => false_alarms += u64::from(is_alarm(at)),
                Truth::Attack(event) => {
                    found[*event].rows += 1;
                    if is_alarm(at) {
                        found[*event].hits += 1;
                        let delay =
                            self.judged.alert_time(&rows[at]).saturating_sub(events.events[*event].start);
                        let earlier = delays[*event].map_or(delay, |before| before.min(delay));
                        delays[*event] = Some(earlier);
                    }
                }
            }
        }
        let hits: u64 = found.iter().map(|event| event.hits).sum();
        let attacks: u64 = found.iter().map(|event| event.rows).sum();
        let macro_recall = macro_recall(found.iter().copied(), &mut Vec::new());
        let false_positive_rate = part(false_alarms, self.benign);
        let both = attacks > 0 && self.benign > 0;
        Point {
            rate,
            threshold,
            hits,
            false_alarms,
            misses: attacks - hits,
            precision: part(hits, hits + false_alarms).filter(|_| both),
            recall: part(hits, attacks),
            f1: part(2 * hits, 2 * hits + false_alarms + (attacks - hits)).filter(|_| both),
            false_positive_rate,
            macro_recall,
            interval: interval(&found, seed),
            families: families(&found, events.families.len(), seed),
            found,
            delays,
            precision_at: macro_recall
                .zip(false_positive_rate)
                .map(|(recall, rate)| precision_at(recall, rate, self.benign))
                .unwrap_or_default(),
        }
    }
}

fn part(some: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

fn families(found: &[Found], families: usize, seed: u64) -> Vec<FamilyRecall> {
    let mut of_family = vec![Vec::new(); families];
    for event in found.iter().filter(|event| event.rows > 0) {
        of_family[event.family].push(*event);
    }
    let recall = |(family, events): (usize, Vec<Found>)| FamilyRecall {
        family,
        events: events.len() as u64,
        rows: events.iter().map(|event| event.rows).sum(),
        hits: events.iter().map(|event| event.hits).sum(),
        interval: interval(&events, seed),
    };
    of_family.into_iter().enumerate().filter(|(_, events)| !events.is_empty()).map(recall).collect()
}

/// Bayes' rule: of a part `base_rate` of traffic, `recall` is alarmed about, of the rest `rate`. (Axelsson, "The
/// base-rate fallacy and the difficulty of intrusion detection", 2000.)
fn precision_at(recall: f64, rate: f64, benign: u64) -> Vec<PrecisionAt> {
    let is_bound = rate == 0.0;
    let rate = if is_bound { (3.0 / benign as f64).min(1.0) } else { rate };
    BASE_RATES
        .into_iter()
        .map(|base_rate| {
            let right = base_rate * recall;
            let precision = right / (right + (1.0 - base_rate) * rate);
            PrecisionAt { base_rate, precision, is_bound }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Labels;
    use crate::evaluate::matching::Matching;
    use proptest::prelude::*;

    /// Rows of `10.0.0.N`: N = 0 benign, else a family of its own with one event.
    fn detector(rows: &[(u8, f64)]) -> Detector {
        let rows: Vec<ScoredRow> = (0..)
            .zip(rows)
            .map(|(at, (host, score))| {
                let time = 1000 + at * 1_000_000_000;
                ScoredRow::example(&format!("10.0.0.{host}"), "10.0.1.1", time, time, *score)
            })
            .collect();
        let mut text = "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n".to_owned();
        for host in 1..5 {
            text += &format!("0,9000000000000,10.0.0.{host},,,,family{host},e{host}\n");
        }
        let labels = Labels::parse(&text).unwrap();
        let events = Events::new(&labels);
        let truth = events.truth(&Matching::new(&labels, &rows));
        let judged =
            Judged { rows: &rows, truth: &truth, events: &events, window: window_length(&rows), seed: 1 };
        let scores: Vec<f64> = rows.iter().map(|row| row.score).collect();
        measure("one".into(), Kind::Own, &judged, &scores, Some(&|at| scores[at] > 5.0))
    }

    #[test]
    fn windows_are_as_long_as_the_file_says_though_none_follows_another() {
        let row = |window: u64, length| ScoredRow {
            window,
            length,
            ..ScoredRow::example("10.0.0.1", "10.0.0.2", window, window, 0.0)
        };
        assert_eq!(window_length(&[row(60, Some(10)), row(120, Some(10))]), 10);
        assert_eq!(window_length(&[row(60, None), row(120, None), row(75, None)]), 15);
        assert_eq!((window_length(&[row(60, None)]), window_length(&[])), (0, 0));
    }

    #[test]
    fn points_are_those_made_by_hand() {
        let mut rows: Vec<(u8, f64)> = (0..200).map(|at| (0, f64::from(at) / 100.0)).collect();
        rows.push((0, 6.0));
        rows.extend([(1, 9.0), (1, 1.0), (1, 7.0), (1, 1.985), (2, 0.5), (3, 8.0)]);
        let one = detector(&rows);
        let shipped = one.shipped.unwrap();
        assert_eq!((shipped.hits, shipped.false_alarms, shipped.misses), (3, 1, 3));
        assert_eq!((shipped.precision, shipped.recall), (Some(0.75), Some(0.5)));
        assert_eq!(shipped.f1, Some(0.6));
        assert_eq!(shipped.macro_recall, Some((0.5 + 0.0 + 1.0) / 3.0), "family 4 has no rows");
        assert_eq!(shipped.delays[2], Some(207_000_001_000), "windows of a second end after their rows");
        // One in a hundred of 201 benign rows are two: 6 and 1.99.
        assert_eq!((one.points[0].threshold, one.points[0].false_alarms), (Some(1.98), 2));
        assert_eq!(one.points[0].macro_recall, Some((0.75 + 0.0 + 1.0) / 3.0));
        // Less than one benign row: nothing above the largest.
        assert_eq!((one.points[1].threshold, one.points[2].threshold), (Some(6.0), Some(6.0)));
    }

    #[test]
    fn precision_falls_with_the_base_rate_and_no_false_alarm_is_no_certainty() {
        let measured = precision_at(0.9, 0.001, 10_000);
        assert!((measured[0].precision - 0.009 / (0.009 + 0.00099)).abs() < 1e-12);
        assert!((measured[2].precision - 0.00009 / (0.00009 + 0.0009999)).abs() < 1e-12);
        let none = precision_at(1.0, 0.0, 3000);
        assert!(none[0].is_bound);
        assert!((none[0].precision - 0.01 / (0.01 + 0.99 * 0.001)).abs() < 1e-12);
    }

    #[test]
    fn perfect_scores_find_everything_and_one_class_says_nothing() {
        let rows: Vec<(u8, f64)> = (0..50).map(|at| (at % 5, if at % 5 == 0 { 1.0 } else { 9.0 })).collect();
        let one = detector(&rows);
        assert_eq!((one.roc_auc, one.average_precision), (Some(1.0), Some(1.0)));
        for point in one.points.iter().chain(&one.shipped) {
            assert_eq!((point.macro_recall, point.false_alarms), (Some(1.0), 0));
            assert_eq!(point.interval, Some([1.0, 1.0]));
            assert_eq!(point.f1, Some(1.0));
        }
        let benign = detector(&[(0, 1.0), (0, 9.0)]);
        let point = benign.shipped.unwrap();
        assert_eq!((benign.roc_auc, point.recall, point.f1, point.macro_recall), (None, None, None, None));
        assert_eq!((point.false_positive_rate, point.precision), (Some(0.5), None));
        let attacks = detector(&[(1, 9.0)]);
        assert_eq!((attacks.roc_auc, attacks.points.len()), (None, 0));
        let point = attacks.shipped.unwrap();
        assert_eq!((point.false_positive_rate, point.precision, point.f1), (None, None, None));
    }

    proptest! {
        #[test]
        fn recall_rises_with_the_rate_that_is_allowed(
            rows in prop::collection::vec((0..5_u8, (0..40_u32).prop_map(f64::from)), 1..300),
        ) {
            let one = detector(&rows);
            for two in one.points.windows(2) {
                prop_assert!(two[0].hits >= two[1].hits);
                prop_assert!(two[0].macro_recall >= two[1].macro_recall);
                prop_assert!(two[0].false_alarms >= two[1].false_alarms);
            }
        }
    }
}
