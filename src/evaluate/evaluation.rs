//! The whole evaluation: scores and labels in, everything that is said about them out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::EvaluateError;
use super::baselines::{BASELINES, baselines};
use super::bootstrap::difference;
use super::cases::{Case, Cases};
use super::conversations::{Conversation, Partition, oddest, partitions};
use super::incidents::Log;
use super::labels::{Label, Labels, Transport};
use super::matching::Matching;
use super::measure::{Detector, Judged, Kind, measure, window_length};
use super::number;
use super::reasons::Reasons;
use super::run::Run;
use super::scores::{ScoredRow, Scores};
use super::seeds::Seeds;
use super::spread::{Calibration, Histogram, Spread, spreads};
use super::truth::{Events, Truth};
use crate::row::RowKey;

/// Conversations that are shown.
const SHOWN: usize = 30;

/// What may be chosen.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further scores to stand in the same tables: a name and a folder with `scores.parquet` (or the file itself).
    /// Their rows are matched with the same labels; they need not be the same rows.
    pub also: Vec<(String, PathBuf)>,
    /// Scores of the same rows under other seeds of a model: the name of what was trained, the seed, the folder.
    pub seeds: Vec<(String, u64, PathBuf)>,
    /// The name of the evaluated scores; that of their folder where nothing is given.
    pub name: Option<String>,
    /// Where the evaluated scores come from, in words, where their path says nothing.
    pub called: Option<String>,
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
    /// Length of a window, nanoseconds; 0 where there are no two.
    pub(super) window: u64,
    /// When benign rows above the shipped threshold begin.
    pub(super) false_alarms: Vec<u64>,
    /// Why the rows that are shown score as they do.
    pub(super) reasons: BTreeMap<RowKey, Reasons>,
    /// Pipelines under several seeds.
    pub(super) seeds: Vec<Seeds>,
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
    /// Sources of rows, and of benign rows.
    pub(super) hosts: u64,
    pub(super) benign_hosts: u64,
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
            Idle::Taken => "its rows belong to other labels",
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
    let scores = Scores::of(folder)?;
    let name = options.name.clone().unwrap_or_else(|| display_name(folder));
    let mut names: BTreeSet<&str> = BASELINES.into_iter().chain([name.as_str()]).collect();
    if let Some((name, _)) = options.also.iter().find(|(name, _)| !names.insert(name)) {
        return Err(EvaluateError::Name { name: name.clone() });
    }
    let known = Labels::read(labels)?;
    let Run { rows, log, threshold } = Run::read(&scores)?;
    let mut evaluation = Evaluation::of(name, &rows, &known, log, options.seed);
    if evaluation.own().benign + evaluation.own().attacks == 0 {
        let what = match rows.len() {
            0 => "no rows: nothing can be measured".to_owned(),
            rows => format!(
                "none of {} has a truth that is known: nothing can be measured",
                number::counted(rows as u64, "row")
            ),
        };
        return Err(EvaluateError::Scores { path: scores.path, what });
    }
    evaluation.detectors[0].ship(threshold);
    evaluation.reasons = super::reasons::read(&scores.files, &evaluation.shown_rows())?;
    evaluation.head.scores = options.called.clone().unwrap_or_else(|| scores.path.display().to_string());
    evaluation.head.labels = labels.display().to_string();
    drop(rows);
    // One set of rows in memory at a time.
    for (place, (name, folder)) in (1..).zip(&options.also) {
        let scores = Scores::of(folder)?;
        let Run { rows, log, threshold } = Run::read(&scores)?;
        evaluation.compare(place, name, &rows, &known, log);
        evaluation.detectors[place].ship(threshold);
    }
    for (name, seed, folder) in &options.seeds {
        let rows = Scores::of(folder)?.read()?;
        evaluation.add_seed(name, *seed, &rows, &known);
    }
    let one = evaluation.seeds.iter().filter(|seeds| seeds.is_one());
    let notes = one.map(|seeds| {
        format!(
            "`{}` gives the same figures under all {} seeds: nothing in it hangs on chance.",
            seeds.name,
            seeds.seeds.len()
        )
    });
    let notes: Vec<String> = notes.collect();
    evaluation.notes.extend(notes);
    Ok(evaluation)
}

fn display_name(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "scores".into())
}

impl Evaluation {
    /// Holds rows and incidents against labels; no file is touched.
    pub(super) fn of(
        name: String,
        rows: &[ScoredRow],
        labels: &Labels,
        incidents: Option<Log>,
        seed: u64,
    ) -> Evaluation {
        let matching = Matching::new(labels, rows);
        let mut events = Events::new(labels);
        let truth = events.truth(&matching);
        events.keep_within(rows, &truth);
        let window = window_length(rows);
        let judged = Judged { rows, truth: &truth, events: &events, window, seed };
        let mut detectors = vec![measure_run(name, Kind::Own, &judged, incidents)];
        for (name, scores) in baselines(rows, seed) {
            detectors.push(measure(name.into(), Kind::Baseline, &judged, &scores, None));
        }
        let alarmed =
            rows.iter().zip(&truth).filter(|(row, truth)| row.is_anomaly && **truth == Truth::Benign);
        let false_alarms = alarmed.map(|(row, _)| row.start).collect();
        let mut event_rows = vec![0; events.events.len()];
        let mut event_tops: Vec<Option<f64>> = vec![None; events.events.len()];
        for (row, truth) in rows.iter().zip(&truth) {
            if let Truth::Attack(event) = truth {
                event_rows[*event] += 1;
                event_tops[*event] =
                    Some(event_tops[*event].map_or(row.score, |before| before.max(row.score)));
            }
        }
        let mut evaluation = Evaluation {
            head: Head {
                scores: detectors[0].name.clone(),
                labels: "labels".into(),
                rows: rows.len() as u64,
                label_rows: labels.labels.len() as u64,
                span: judged.span(),
                hosts: rows.iter().map(|row| row.src).collect::<BTreeSet<_>>().len() as u64,
                benign_hosts: benign_hosts(&judged),
                seed,
            },
            event_rows,
            event_tops,
            detectors,
            window,
            false_alarms,
            reasons: BTreeMap::new(),
            seeds: Vec::new(),
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
    fn compare(
        &mut self,
        place: usize,
        name: &str,
        rows: &[ScoredRow],
        labels: &Labels,
        incidents: Option<Log>,
    ) {
        let truth = self.events.truth(&Matching::new(labels, rows));
        let detector = measure_run(name.into(), Kind::Compared, &self.judged(rows, &truth), incidents);
        if (detector.benign, detector.attacks) != (self.own().benign, self.own().attacks) {
            self.notes.push(format!(
                "`{name}` has other rows ({} benign, {} attack): its figures are of those.",
                number::count(detector.benign),
                number::count(detector.attacks),
            ));
        }
        self.detectors.insert(place, detector);
    }

    /// Adds the scores that another seed gives to a pipeline.
    fn add_seed(&mut self, name: &str, seed: u64, rows: &[ScoredRow], labels: &Labels) {
        let truth = self.events.truth(&Matching::new(labels, rows));
        let detector = measure_run(name.into(), Kind::Compared, &self.judged(rows, &truth), None);
        let place = self.seeds.iter().position(|seeds| seeds.name == name).unwrap_or_else(|| {
            self.seeds.push(Seeds::new(name));
            self.seeds.len() - 1
        });
        self.seeds[place].add(seed, &detector);
    }

    fn judged<'a>(&'a self, rows: &'a [ScoredRow], truth: &'a [Truth]) -> Judged<'a> {
        Judged { rows, truth, events: &self.events, window: window_length(rows), seed: self.head.seed }
    }

    /// The incidents of the evaluated run.
    pub(super) fn cases(&self) -> Option<&Cases> {
        self.own().cases.as_ref()
    }

    /// The families of the events in an incident, each once, in the order of events.
    pub(super) fn families_of(&self, case: &Case) -> Vec<&str> {
        let family = |event: &usize| self.events.families[self.events.events[*event].family].as_str();
        let mut families = Vec::new();
        for family in case.events.iter().map(family) {
            if !families.contains(&family) {
                families.push(family);
            }
        }
        families
    }

    /// For each event, from its start to when something is said about it: an incident where there are some, else the
    /// end of the first window with an alert.
    pub(super) fn delays(&self) -> &[Option<u64>] {
        match (self.cases(), &self.own().shipped) {
            (Some(cases), _) => &cases.delays,
            (None, Some(point)) => &point.delays,
            (None, None) => &[],
        }
    }

    /// The rows whose reasons are shown.
    fn shown_rows(&self) -> BTreeSet<RowKey> {
        let worst = self.cases().map(Cases::worst).unwrap_or_default();
        worst.into_iter().map(|case| case.incident.top.row).collect()
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
}

/// Sources of benign rows.
pub(super) fn benign_hosts(judged: &Judged) -> u64 {
    let benign = judged.rows.iter().zip(judged.truth).filter(|(_, truth)| **truth == Truth::Benign);
    benign.map(|(row, _)| row.src).collect::<BTreeSet<_>>().len() as u64
}

/// Measures the scores of a run with the flags and incidents that they came with.
fn measure_run(name: String, kind: Kind, judged: &Judged, incidents: Option<Log>) -> Detector {
    let scores: Vec<f64> = judged.rows.iter().map(|row| row.score).collect();
    let mut detector = measure(name, kind, judged, &scores, Some(&|at| judged.rows[at].is_anomaly));
    detector.cases = incidents.map(|log| Cases::new(log, judged));
    detector
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
use crate::incident::{self, Severity};
#[cfg(test)]
use crate::report::Incident;

#[cfg(test)]
impl Evaluation {
    /// A small network: 400 benign rows, two scans and a flood that are found, a beacon that is not, ARP, and a
    /// label that fits nothing; an incident of the first three, and a false one.
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
        let incident = |id: &str, host: &str, severity: Severity, rows: &[ScoredRow]| {
            let top = rows.iter().max_by(|a, b| a.score.total_cmp(&b.score)).expect("a row at least");
            let mut incident = Incident {
                address: Some(host.into()),
                created: Some(rows[0].window + 10 * second),
                last: rows[rows.len() - 1].end,
                alerts: rows.len() as u64,
                score: 9.9,
                ports: 3,
                why: format!("many <ports> of {host}"),
                hints: vec!["T1046 Network Service Discovery".into()],
                ..Incident::example(id, incident::Kind::Anomaly, rows[0].start, severity)
            };
            incident.top.row = (top.window, 7);
            (incident, rows.iter().map(|row| (row.window, row.flow.unwrap())).collect())
        };
        for (flow, row) in (0..).zip(&mut rows) {
            row.flow = Some(flow);
        }
        let log = Log {
            incidents: vec![
                incident("1", "10.0.1.1", Severity::Critical, &rows[400..440]),
                incident("2", "10.0.0.4", Severity::Low, &rows[96..97]),
            ],
            muted: Default::default(),
            unsaid: 0,
        };
        Evaluation::of("example".into(), &rows, &labels, Some(log), 1)
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
    fn families_of_an_incident_are_named_once_though_their_events_take_turns() {
        let evaluation = Evaluation::example();
        let mut case = evaluation.cases().unwrap().cases[0].clone();
        // Of the example's events two are scans, the third is a flood.
        case.events = vec![0, 2, 1];
        assert_eq!(evaluation.families_of(&case), ["scan", "flood"]);
    }

    #[test]
    fn benign_rows_alone_say_so_and_keep_their_false_alarms() {
        let rows: Vec<ScoredRow> = (0..100)
            .map(|at| ScoredRow {
                is_anomaly: at == 5,
                ..ScoredRow::example("10.0.0.1", "10.0.0.2", at, at + 3_600_000_000_000, at as f64)
            })
            .collect();
        let evaluation = Evaluation::of("quiet".into(), &rows, &Labels::default(), None, 0);
        assert!(evaluation.notes[0].contains("All rows are benign"));
        assert_eq!((evaluation.own().roc_auc, evaluation.false_alarms.as_slice()), (None, [5].as_slice()));
        assert!(
            evaluation.notes.iter().any(|note| note.contains("no incidents.jsonl")),
            "{:?}",
            evaluation.notes
        );
        assert!(evaluation.metrics()["detectors"][0]["roc_auc"].is_null());
    }

    #[test]
    fn labels_of_another_time_are_called_so() {
        let text = "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n1,2,,,,,scan,e1\n";
        let labels = Labels::parse(text).unwrap();
        let rows = [ScoredRow::example("10.0.0.1", "10.0.0.2", 1 << 60, 1 << 60, 0.0)];
        let notes = Evaluation::of("x".into(), &rows, &labels, None, 0).notes.join("\n");
        assert!(notes.contains("share no time") && notes.contains("labels of this capture?\n"), "{notes}");
        let text = text.replace("1,2,", "1700000000,1700000060,");
        let labels = Labels::parse(&text).unwrap();
        let notes = Evaluation::of("x".into(), &rows, &labels, None, 0).notes.join("\n");
        assert!(
            notes.contains("1700000000, a time of the labels, looks like seconds: multiply by 10^9."),
            "{notes}"
        );
    }

    #[test]
    fn nothing_at_all_is_no_error() {
        let evaluation = Evaluation::of("empty".into(), &[], &Labels::default(), None, 0);
        assert!(evaluation.notes[0].contains("nothing can be measured"));
        assert!(evaluation.report().contains("nothing can be measured"));
        assert!(!evaluation.to_string().is_empty());
    }
}
