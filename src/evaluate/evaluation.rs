//! The whole evaluation: scores and labels in, everything that is said about them out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::EvaluateError;
use super::baselines::baselines;
use super::bootstrap::difference;
use super::conversations::{Conversation, Partition, What, oddest, partitions};
use super::groups::{AlertGroup, group};
use super::labels::{Label, Labels, Transport};
use super::matching::Matching;
use super::measure::{Detector, Judged, Kind, RATES, measure, window_length};
use super::number;
use super::scores::{ScoredRow, read_scores};
use super::spread::{Calibration, Histogram, Spread, spreads};
use super::truth::{Events, Truth};

/// The name of a folder's file of scores.
const SCORES: &str = "scores.parquet";
/// Conversations and false alert groups that are shown.
const SHOWN: usize = 30;

/// What may be chosen.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further scores to stand in the same tables: a name and a folder with `scores.parquet` (or the file itself).
    /// Their rows are matched with the same labels; they need not be the same rows.
    pub also: Vec<(String, PathBuf)>,
    /// What the random baseline and the bootstrap descend from.
    pub seed: u64,
}

/// Scores held against labels.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub(super) head: Head,
    pub(super) events: Events,
    /// Rows of each event, and their highest score.
    pub(super) event_rows: Vec<u64>,
    pub(super) event_tops: Vec<Option<f64>>,
    /// The evaluated scores first, then those to compare, then baselines.
    pub(super) detectors: Vec<Detector>,
    /// Alert groups at the shipped threshold.
    pub(super) groups: Vec<AlertGroup>,
    /// The false ones of highest score, with their oddest row.
    pub(super) false_groups: Vec<(AlertGroup, What)>,
    /// Groups that alarms on benign rows alone would form.
    pub(super) benign_groups: u64,
    /// Sources of benign rows.
    pub(super) benign_hosts: u64,
    pub(super) idle: Vec<IdleLabel>,
    pub(super) histogram: Option<Histogram>,
    pub(super) spreads: Vec<Spread>,
    pub(super) calibration: Option<Calibration>,
    pub(super) oddest: Vec<Conversation>,
    pub(super) partitions: Vec<Partition>,
    /// Everything together.
    pub(super) whole: Partition,
    /// What a reader must know, a sentence each.
    pub(super) notes: Vec<String>,
}

/// Where it all comes from.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) scores: String,
    pub(super) labels: String,
    pub(super) rows: u64,
    pub(super) label_rows: u64,
    /// First and last packet.
    pub(super) span: Option<[u64; 2]>,
    pub(super) hosts: u64,
    pub(super) seed: u64,
}

/// Why a label row has no rows of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Idle {
    /// It is of ARP, which has no rows.
    NotIp,
    /// No row fits.
    NoRow,
    /// The rows that fit belong to labels before it.
    Taken,
}

impl Idle {
    pub(super) fn name(self) -> &'static str {
        match self {
            Idle::NotIp => "arp: not IP, no row can match",
            Idle::NoRow => "no row fits",
            Idle::Taken => "its rows belong to earlier labels",
        }
    }
}

/// A label row that has no rows of its own.
#[derive(Clone, Debug)]
pub(super) struct IdleLabel {
    pub(super) label: Label,
    pub(super) why: Idle,
}

/// Holds the scores of a folder against labels.
///
/// # Errors
/// [`EvaluateError`] if scores or labels cannot be read, or two sets of scores have one name.
pub fn evaluate(folder: &Path, labels: &Path, options: &Options) -> Result<Evaluation, EvaluateError> {
    let file = scores_of(folder);
    let name = display_name(folder);
    let mut names = BTreeSet::from([name.as_str()]);
    if let Some((name, _)) = options.also.iter().find(|(name, _)| !names.insert(name)) {
        return Err(EvaluateError::Name { name: name.clone() });
    }
    let known = Labels::read(labels)?;
    let rows = read_scores(&file)?;
    let mut evaluation = Evaluation::of(name, &rows, &known, options.seed);
    evaluation.head.scores = file.display().to_string();
    evaluation.head.labels = labels.display().to_string();
    drop(rows);
    // One set of rows in memory at a time.
    for (place, (name, folder)) in (1..).zip(&options.also) {
        let rows = read_scores(&scores_of(folder))?;
        evaluation.compare(place, name, &rows, &known);
    }
    Ok(evaluation)
}

fn scores_of(folder: &Path) -> PathBuf {
    if folder.is_file() { folder.to_owned() } else { folder.join(SCORES) }
}

fn display_name(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "scores".into())
}

impl Evaluation {
    /// Holds rows against labels; no file is touched.
    pub(super) fn of(name: String, rows: &[ScoredRow], labels: &Labels, seed: u64) -> Evaluation {
        let matching = Matching::new(labels, rows);
        let events = Events::new(labels);
        let truth = events.truth(&matching);
        let judged = Judged { rows, truth: &truth, events: &events, window: window_length(rows), seed };
        let scores: Vec<f64> = rows.iter().map(|row| row.score).collect();
        let (own, groups) = measure(name, Kind::Own, &judged, &scores, Some(&|at| rows[at].is_anomaly));
        let mut detectors = vec![own];
        for (name, scores) in baselines(rows, seed) {
            detectors.push(measure(name.into(), Kind::Baseline, &judged, &scores, None).0);
        }
        let benign_alarms = (0..rows.len()).filter(|at| rows[*at].is_anomaly && truth[*at] == Truth::Benign);
        let benign_groups = group(rows, &truth, &scores, benign_alarms).len() as u64;
        let benign = rows.iter().zip(&truth).filter(|(_, truth)| **truth == Truth::Benign);
        let benign_hosts = benign.map(|(row, _)| row.src).collect::<BTreeSet<_>>().len() as u64;
        let mut event_rows = vec![0; events.events.len()];
        let mut event_tops: Vec<Option<f64>> = vec![None; events.events.len()];
        for (row, truth) in rows.iter().zip(&truth) {
            if let Truth::Attack(event) = truth {
                event_rows[*event] += 1;
                event_tops[*event] =
                    Some(event_tops[*event].map_or(row.score, |before| before.max(row.score)));
            }
        }
        let mut false_groups: Vec<AlertGroup> =
            groups.iter().filter(|group| group.is_false()).cloned().collect();
        false_groups.sort_by(|a, b| scores[b.top].total_cmp(&scores[a.top]).then(a.top.cmp(&b.top)));
        false_groups.truncate(SHOWN);
        let mut evaluation = Evaluation {
            head: Head {
                scores: detectors[0].name.clone(),
                labels: "labels".into(),
                rows: rows.len() as u64,
                label_rows: labels.labels.len() as u64,
                span: judged.span(),
                hosts: rows.iter().map(|row| row.src).collect::<BTreeSet<_>>().len() as u64,
                seed,
            },
            event_rows,
            event_tops,
            detectors,
            false_groups: false_groups
                .into_iter()
                .map(|group| {
                    let top = What::of(&rows[group.top], truth[group.top]);
                    (group, top)
                })
                .collect(),
            groups,
            benign_groups,
            benign_hosts,
            idle: idle_labels(labels, &matching),
            histogram: Histogram::new(rows, &truth),
            spreads: spreads(rows, &truth, &events),
            calibration: Calibration::new(rows, &truth),
            oddest: oddest(rows, &truth, SHOWN),
            partitions: partitions(rows, &truth),
            whole: Partition::whole(rows, &truth),
            notes: Vec::new(),
            events,
        };
        evaluation.notes = evaluation.remarks(labels);
        evaluation
    }

    /// Adds the scores of another folder before the baselines.
    fn compare(&mut self, place: usize, name: &str, rows: &[ScoredRow], labels: &Labels) {
        let truth = self.events.truth(&Matching::new(labels, rows));
        let judged = Judged {
            rows,
            truth: &truth,
            events: &self.events,
            window: window_length(rows),
            seed: self.head.seed,
        };
        let scores: Vec<f64> = rows.iter().map(|row| row.score).collect();
        let flags = |at: usize| rows[at].is_anomaly;
        let (detector, _) = measure(name.into(), Kind::Compared, &judged, &scores, Some(&flags));
        if (detector.benign, detector.attacks) != (self.own().benign, self.own().attacks) {
            self.notes.push(format!(
                "`{name}` has other rows ({} benign, {} attack): its figures are of those.",
                number::count(detector.benign),
                number::count(detector.attacks),
            ));
        }
        self.detectors.insert(place, detector);
    }

    /// The evaluated scores.
    pub(super) fn own(&self) -> &Detector {
        &self.detectors[0]
    }

    /// How much larger the mean recall of the evaluated scores is than that of others, at the middle rate of
    /// [`RATES`]: the 95 % interval over events.
    pub(super) fn lead(&self, other: &Detector) -> Option<[f64; 2]> {
        let (own, other) = (self.own().points.get(1)?, other.points.get(1)?);
        difference(&own.found, &other.found, self.head.seed)
    }

    /// Length of the rows' time in days; none where it is nothing.
    pub(super) fn days(&self) -> Option<f64> {
        let [first, last] = self.head.span?;
        (last > first).then(|| (last - first) as f64 / 86_400e9)
    }

    /// Groups that alarms on benign rows alone would form, a day.
    pub(super) fn benign_groups_per_day(&self) -> Option<f64> {
        self.days().filter(|_| self.own().benign > 0).map(|days| self.benign_groups as f64 / days)
    }

    fn remarks(&self, labels: &Labels) -> Vec<String> {
        let mut notes = Vec::new();
        let own = self.own();
        match (own.benign, own.attacks) {
            (0, 0) => notes.push("There is no row whose truth is known: nothing can be measured.".into()),
            (_, 0) => notes.push(
                "All rows are benign: ROC-AUC, average precision and recall need attack rows and are not stated; \
                 false alarms are."
                    .into(),
            ),
            (0, _) => notes.push(
                "All rows are attack: ROC-AUC, average precision and false-positive rates need benign rows and are \
                 not stated."
                    .into(),
            ),
            (benign, _) => {
                let few: Vec<String> = RATES
                    .into_iter()
                    .filter(|rate| rate * (benign as f64) < 10.0)
                    .map(|rate| {
                        let allowed = (rate * benign as f64).floor() as u64;
                        format!("{} of them at {}", number::count(allowed), number::rate(rate))
                    })
                    .collect();
                if !few.is_empty() {
                    notes.push(format!(
                        "{} decide the false-positive rates, {} may lie above the threshold: such figures are coarse.",
                        number::counted(benign, "benign row"),
                        few.join(", ")
                    ));
                }
            }
        }
        if let (Some([first, last]), false) = (self.head.span, labels.labels.is_empty()) {
            let from = labels.labels.iter().map(|label| label.start).min().unwrap_or_default();
            let to = labels.labels.iter().map(|label| label.end).max().unwrap_or_default();
            if from > last || to < first {
                notes.push(format!(
                    "Labels and rows share no time: labels from {} to {}, rows from {} to {} (UTC). Are these the labels \
                     of this capture?",
                    number::time(from),
                    number::time(to),
                    number::time(first),
                    number::time(last)
                ));
            }
        }
        let silent = self.event_rows.iter().zip(&self.events.events);
        let silent: Vec<&str> = silent
            .filter(|(rows, event)| **rows == 0 && !event.not_ip)
            .map(|(_, e)| e.name.as_str())
            .collect();
        if !silent.is_empty() {
            notes.push(format!("No row belongs to {}: they are left out of recall.", some(&silent, "event")));
        }
        let arp: Vec<&str> =
            self.events.events.iter().filter(|event| event.not_ip).map(|event| event.name.as_str()).collect();
        if !arp.is_empty() {
            notes
                .push(format!("ARP is not IP: no row can show {}; left out of recall.", some(&arp, "event")));
        }
        if !self.events.of_two_families.is_empty() {
            let two: Vec<&str> = self.events.of_two_families.iter().map(String::as_str).collect();
            notes.push(format!(
                "More than one family is named for {}: the first counts.",
                some(&two, "event")
            ));
        }
        if self.head.rows > 0 && self.whole.edge[1].is_none() {
            notes.push("No row lies above the shipped threshold: there are no alerts.".into());
        }
        notes
    }
}

/// Names in a row, five at most.
fn some(names: &[&str], noun: &str) -> String {
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let plural = if names.len() == 1 { "" } else { "s" };
    match names.len().checked_sub(5) {
        Some(more) if more > 0 => format!("{} {noun}{plural} ({shown} and {more} more)", names.len()),
        _ => format!("{noun}{plural} {shown}"),
    }
}

fn idle_labels(labels: &Labels, matching: &Matching) -> Vec<IdleLabel> {
    let states = matching.rows.iter().zip(&matching.covers);
    let mut idle: Vec<IdleLabel> = labels
        .labels
        .iter()
        .zip(states)
        .filter_map(|(label, (rows, covers))| {
            let why = match (rows, covers) {
                (1.., _) => return None,
                (0, true) => Idle::Taken,
                (0, false) if label.transport == Some(Transport::Arp) => Idle::NotIp,
                (0, false) => Idle::NoRow,
            };
            Some(IdleLabel { label: label.clone(), why })
        })
        .collect();
    idle.sort_by_key(|idle| idle.label.line);
    idle
}

#[cfg(test)]
impl Evaluation {
    /// A small network: 400 benign rows, two scans and a flood that are found, a beacon that is not, ARP, and a
    /// label that fits nothing.
    pub(super) fn example() -> Evaluation {
        let second = 1_000_000_000;
        let base = 1_700_000_000 * second;
        let labels = Labels::parse(&format!(
            "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n\
             {a},{b},10.0.0.66,,tcp,,scan,e1\n{a},{b},10.0.0.67,,tcp,,scan,e2\n{a},{b},10.0.0.68,,,,flood,e3\n\
             {a},{b},10.0.0.69,,,,beacon <slow>,e4\n{a},{b},10.0.0.1,,arp,,arp_scan,e5\n\
             {a},{b},10.9.9.9,,,,exfiltration,e6\n{a},{b},10.0.0.5,,,,ignore,\n",
            a = base,
            b = base + 9000 * second,
        ))
        .unwrap();
        let row = |src: u64, at: u64, score: f64| ScoredRow {
            bytes: Some(100 + at % 7),
            partition: Some("tcp".into()),
            p_value: Some((-score).exp()),
            is_anomaly: score > 5.0,
            ..ScoredRow::example(
                &format!("10.0.0.{src}"),
                "10.0.1.1",
                base + at * second,
                base + (at + 3) * second,
                score,
            )
        };
        let mut rows: Vec<ScoredRow> =
            (0..400).map(|at| row(at % 5, at * 9, (at % 97) as f64 / 19.0)).collect();
        rows.extend((0..40).map(|at| row(66 + at % 3, 600 + at * 2, 6.0 + at as f64 / 10.0)));
        rows.extend((0..10).map(|at| row(69, 2000 + at * 60, 1.0)));
        rows.push(row(5, 100, 9.0));
        Evaluation::of("example".into(), &rows, &labels, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_rows_without_rows_are_listed_with_the_cause() {
        let evaluation = Evaluation::example();
        let idle: Vec<_> = evaluation.idle.iter().map(|idle| (idle.label.line, idle.why)).collect();
        assert_eq!(idle, [(6, Idle::NotIp), (7, Idle::NoRow)]);
        let notes = evaluation.notes.join("\n");
        assert!(notes.contains("No row belongs to event e6"), "{notes}");
        assert!(notes.contains("ARP is not IP: no row can show event e5"), "{notes}");
    }

    #[test]
    fn unknown_rows_count_for_nothing() {
        let evaluation = Evaluation::example();
        assert_eq!(
            (evaluation.own().benign, evaluation.own().attacks, evaluation.whole.unknown),
            (400, 50, 1)
        );
    }

    #[test]
    fn benign_rows_alone_say_so_and_keep_their_false_alarms() {
        let rows: Vec<ScoredRow> = (0..100)
            .map(|at| ScoredRow {
                is_anomaly: at == 5,
                ..ScoredRow::example("10.0.0.1", "10.0.0.2", at, at + 3_600_000_000_000, at as f64)
            })
            .collect();
        let evaluation = Evaluation::of("quiet".into(), &rows, &Labels::default(), 0);
        assert!(evaluation.notes[0].contains("All rows are benign"));
        assert_eq!((evaluation.own().roc_auc, evaluation.benign_groups), (None, 1));
        assert!((evaluation.benign_groups_per_day().unwrap() - 24.0).abs() < 1e-6);
        assert!(evaluation.metrics()["detectors"][0]["roc_auc"].is_null());
    }

    #[test]
    fn labels_of_another_time_are_called_so() {
        let text = "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n1,2,,,,,scan,e1\n";
        let labels = Labels::parse(text).unwrap();
        let rows = [ScoredRow::example("10.0.0.1", "10.0.0.2", 1 << 60, 1 << 60, 0.0)];
        let notes = Evaluation::of("x".into(), &rows, &labels, 0).notes.join("\n");
        assert!(notes.contains("share no time"), "{notes}");
    }

    #[test]
    fn nothing_at_all_is_no_error() {
        let evaluation = Evaluation::of("empty".into(), &[], &Labels::default(), 0);
        assert!(evaluation.notes[0].contains("nothing can be measured"));
        assert!(evaluation.report().contains("nothing can be measured"));
        assert!(!evaluation.to_string().is_empty());
    }
}
