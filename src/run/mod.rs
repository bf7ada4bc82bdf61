//! Starts workers, watches event time, stops. Training, archive and live run through here; batch is a
//! feed that ends.

mod columns;
mod following;
mod opening;
mod ticker;
mod workers;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::datatypes::Schema;

use self::following::{Alarms, Following};
use self::opening::{Opened, Reader, joined, open};
use self::ticker::{Looks, Ticker};
use self::workers::Work;
use crate::context::operator::Remembering;
use crate::context::{ContextError, Plan};
use crate::detect::{DetectError, Learning, Lesson, Threshold, scored_schema, scored_schema_without_reasons};
use crate::graph::Rooms;
use crate::incident::budget::Budget;
use crate::incident::operator::Watch;
use crate::incident::rules::RulesFile;
use crate::incident::{Changes, Columns, InForce, Rules, RulesError};
use crate::model::{Model, ModelError, Pipeline, Training};
use crate::sink::{self, Judge, Lines, SinkError, Summary};
use crate::source::SourceError;
use crate::source::interface::InterfaceError;
use crate::source::rows::RowsError;
use crate::spec::{self, Spec, SpecError};
use crate::tally::{Fault, Tally};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Shows how far a run is.
pub type Show = Box<dyn FnMut(&Progress) + Send>;

/// What a run is told from outside its pipeline.
pub struct Controls {
    /// Workers; threads of this process.
    pub workers: usize,
    /// Set from outside to end the run: a live run flushes what it has, a batch run ends with an error.
    pub stop: Arc<AtomicBool>,
    /// Called a few times a second while the run goes on.
    pub progress: Option<Show>,
    /// Where alerts go as readable lines.
    pub alerts: Option<Lines>,
    /// Told what a live run makes of a file of rules that changed.
    pub notices: Option<Tell>,
}

/// What a live run makes of a file of rules that changed, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// What it says is in force from the next complete window on.
    Changed(String),
    /// It cannot be: what it said before stays in force.
    Refused(String),
}

/// Is told a notice.
pub type Tell = Box<dyn FnMut(Notice) + Send>;

impl Default for Controls {
    /// All cores, nobody watching.
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Controls { workers, stop: Arc::default(), progress: None, alerts: None, notices: None }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Packets decoded so far; 0 where rows are read.
    pub packets: u64,
    /// Rows so far.
    pub rows: u64,
    /// Rows above the threshold so far.
    pub anomalies: u64,
    /// What is done of `total`: bytes of files as stored, or rows.
    pub done: u64,
    /// 0 where nobody knows.
    pub total: u64,
    /// Frames that the kernel dropped (live).
    pub dropped: u64,
    /// Since the start.
    pub elapsed: Duration,
}

/// What a run did.
#[derive(Debug)]
pub struct Outcome {
    /// Counters.
    pub summary: Summary,
    /// The model that was fitted.
    pub model: Option<Model>,
    /// What is worth saying: rules of the allow-list that were of no use. One line each.
    pub complaints: Vec<String>,
    /// From start to end.
    pub elapsed: Duration,
}

/// Why a run did not start, or ended early. Each is one line: what, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing to do.
    #[error("the pipeline ends in nothing: name rows, fit, model or summary under [ends]")]
    NoEnd,
    /// Two ends that exclude each other.
    #[error("[ends] {0}")]
    Ends(&'static str),
    /// A column that is to be written.
    #[error("columns: no column is named `{pattern}`; {advice}")]
    NoColumn {
        /// What was asked for.
        pattern: String,
        /// What may be meant.
        advice: String,
    },
    /// Rows of windows are needed.
    #[error("{}: {what}", path.display())]
    Table {
        /// The first file of rows.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// The training set has no row.
    #[error("nothing to train on: {0}")]
    NoRows(String),
    /// Stopped from outside.
    #[error("interrupted: what was not complete is not there; run it again")]
    Interrupted,
    /// Counters that do not balance.
    #[error("{0}")]
    Balance(String),
    /// The workers did not start or end.
    #[error("workers: {0}")]
    Workers(String),
    /// An input.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An interface.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A file of rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Context columns.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An output.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Detection's settings.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The allow-list.
    #[error("{}: {source}", path.display())]
    Rules {
        /// The file.
        path: PathBuf,
        /// Which rule, and what is wrong.
        source: RulesError,
    },
    /// The allow-list cannot be read.
    #[error(transparent)]
    Allow(#[from] SpecError),
    /// Two thresholds.
    #[error(
        "[threshold] of the allow-list says where alarms begin, and so does {asked} of the pipeline or a flag: leave one out"
    )]
    Alarms {
        /// What the pipeline or the flag says.
        asked: Threshold,
    },
    /// Met on the way by a room.
    #[error("{0}")]
    Met(AnyError),
}

/// What every part of a run shares.
#[derive(Clone, Default)]
struct Shared {
    tally: Arc<Tally>,
    fault: Arc<Fault>,
}

/// Runs a pipeline to its end.
///
/// # Errors
/// [`RunError`]: what cannot be opened before anything is read, else the first error that a room met. Files
/// that were complete stay; what was not complete does not stand under its name.
pub fn run(spec: &Spec, mut controls: Controls) -> Result<Outcome, RunError> {
    let started = now();
    let model = spec.ends.model.as_deref().map(Model::read).transpose()?;
    let judged_by = model.as_ref().map(|model| model.pipeline().name.clone()).unwrap_or_default();
    let asked = model
        .as_ref()
        .map(|model| spec.detect.over(&model.pipeline().detect, &spec.detect_named))
        .transpose()?
        .flatten();
    let spec = &match &model {
        Some(model) => as_trained(spec, model),
        None => with_context(spec),
    };
    check_ends(spec)?;
    let spec = &columns::with_chosen_context(spec.clone())?;
    // Looked at first: what changes from here on is a change.
    let seen = spec.incident.allow.as_deref().map(following::read);
    let rules = spec.incident.allow.as_deref().map_or(Ok(Rules::default()), read_rules)?;
    if spec.ends.scores.is_some() && !rules.rules().is_empty() {
        return Err(RunError::Ends("scores alone have no incidents that rules could mute: ask for a report"));
    }
    let shared = Shared::default();
    let plan = Plan::new(&spec.context)?;
    let judge = model.as_ref().map(|model| model.detector().clone());
    let opened = open(spec, &shared, &controls.stop, |schema, window| {
        let counted = if window.is_some() { plan.schema(schema) } else { Arc::new(schema.clone()) };
        if let Some(model) = &model {
            model.check_rows(&counted)?;
        }
        columns::check(&spec.ends, &counted)?;
        Ok(columns::of_source(&spec.ends, &plan, judge.as_deref(), schema))
    })?;
    let counts_context = opened.window.is_some() && !plan.is_empty();
    if counts_context {
        plan.check(&opened.schema)?;
    }
    let rows = match counts_context {
        true => plan.schema(&opened.schema),
        false => opened.schema.clone(),
    };
    let live = spec.source.interface.is_some();
    let (mut detector, mut before) = (None, None);
    let (mut in_force, mut following) = (None, None);
    if let Some(model) = model {
        let judge = model.detector();
        let alarms = Alarms::new(judge.clone(), asked);
        let mut start = alarms.with(rules)?;
        let mut loosest = start.threshold;
        let schema = match spec.ends.scores {
            Some(_) => scored_schema_without_reasons(&rows),
            None => scored_schema(&rows),
        };
        let incidents = opened.window.is_some() && spec.ends.scores.is_none() && Columns::known(&schema);
        if let (Some(path), Some(Ok(seen))) = (&spec.incident.allow, seen)
            && live
            && incidents
        {
            start.rules = start.rules.with_more_columns();
            loosest = alarms.loosest(&start, spec.incident.loosest)?;
            let changes = Arc::new(Changes::new(start.clone()));
            let columns = start.rules.columns().to_vec();
            let file = Following::new(path, seen, alarms, loosest, columns, changes.clone());
            following = Some((file, changes));
        }
        detector = Some((judge.clone(), loosest, schema));
        in_force = Some(start);
        before = model.memory().cloned();
    }
    let lesson = match &spec.ends.fit {
        None => None,
        Some(_) => {
            Some(Lesson { encode: spec.encode.clone(), detect: spec.detect.check()?, seed: spec.seed })
        }
    };
    let learnings = match &lesson {
        None => Vec::new(),
        Some(lesson) => (0..controls.workers)
            .map(|_| Learning::new(lesson, &rows).map(Some).map_err(RunError::Met))
            .collect::<Result<_, _>>()?,
    };
    let rows_end = match &spec.ends.rows {
        None => None,
        Some(path) => {
            let end = match columns::written(&spec.ends, &rows) {
                None => sink::rows_end(path, &rows)?,
                Some(columns) => sink::chosen_end(path, &rows, columns)?,
            };
            Some(sink::beside(vec![end], controls.workers))
        }
    };
    let (mut scored_ends, mut incident_ends, mut watch) = (Vec::new(), Vec::new(), None);
    let changes = following.as_ref().map(|(_, changes)| changes.clone());
    if let (Some((_, _, schema)), Some(path)) = (&detector, &spec.ends.scores) {
        let columns = columns::written(&spec.ends, schema).unwrap_or_default();
        scored_ends = sink::beside(vec![sink::chosen_end(path, schema, columns)?], controls.workers);
    } else if let (Some((_, _, schema)), Some(start)) = (&detector, &in_force) {
        let folder = spec.ends.report.as_deref().unwrap_or(Path::new("."));
        let judge = Judge { model: judged_by, threshold: start.threshold };
        // People read incidents; rows of tables, which are of nobody, by themselves.
        let mut lines = controls.alerts.take();
        if let Some(window) = opened.window.filter(|_| Columns::known(schema)) {
            incident_ends = sink::incident_ends(folder, lines.take())?;
            let slice = spec.source.slice_ns();
            let new = Watch::new(&spec.incident, window, slice, start.threshold, start.rules.clone());
            watch = Some(Watch { changes: changes.clone(), ..new });
        }
        scored_ends = sink::beside(sink::score_ends(folder, schema, &judge, lines)?, controls.workers);
    }
    let hits = watch.as_ref().map(|watch| watch.hits.clone());

    let after = (spec.ends.fit.is_some() && plan.remembers()).then(Arc::default);
    let remembering = Remembering { before, after: after.clone() };
    let rooms = Rooms {
        remembering,
        context: opened.window.filter(|_| counts_context).map(|window| (Arc::new(plan), window)),
        detector,
        incidents: watch.map(|watch| (watch, spec.incident.alerts_per_day.map(Budget::new))),
        joined: joined(spec, &opened),
        tally: shared.tally.clone(),
        fault: shared.fault.clone(),
    };
    let work = Work {
        source: opened.source.clone(),
        rooms,
        learnings: Mutex::new(learnings),
        learned: Arc::default(),
        rows: Mutex::new(rows_end),
        scored: Mutex::new(scored_ends),
        incidents: Mutex::new(incident_ends),
    };
    let looks = Looks {
        progress: controls.progress,
        rules: following.map(|(following, _)| following),
        notices: controls.notices,
    };
    let ticker = Ticker::start(&opened.reader, &shared, controls.stop, live, looks, started);
    let learned = work.execute(controls.workers);
    ticker.end();
    let learned = learned?;

    if let Some(error) = shared.fault.take() {
        return Err(RunError::Met(error));
    }
    let counts = opened.reader.counts();
    if let Reader::Frames(_) = &opened.reader {
        shared.tally.check(counts.frames, true).map_err(RunError::Balance)?;
    }
    let mut summary = Summary::new(&shared.tally, &counts);
    if live {
        summary = summary.live(&counts);
    }
    if let Some(InForce { threshold, by, .. }) = changes.map(|changes| changes.now()).or(in_force) {
        summary = summary.scored(shared.tally.anomalies.load(Relaxed)).judged(threshold, by);
    }
    if hits.is_some() {
        summary = summary.with_incidents(shared.tally.incidents.load(Relaxed));
    }
    let memory = after.and_then(|after| after.lock().expect("no worker panics while it hands over").take());
    let mut fitted = None;
    if let (Some(path), Some(lesson)) = (&spec.ends.fit, lesson) {
        let mut model = learn(spec, &opened, &rows, learned, &lesson)?;
        if let Some(memory) = memory {
            model = model.with_memory(Arc::new(memory));
        }
        model.write(path)?;
        fitted = Some(model);
    }
    let files = [spec.ends.summary.clone(), spec.ends.report.as_ref().map(|r| r.join(sink::SUMMARY))];
    for path in files.iter().flatten() {
        summary.write(path)?;
    }
    let complaints = hits.map_or(Vec::new(), |hits| hits.complaints());
    Ok(Outcome { summary, model: fitted, complaints, elapsed: started.elapsed() })
}

/// Reads and checks an allow-list.
///
/// # Errors
/// What is wrong with it: the line and column, or the rule.
pub fn read_rules(path: &Path) -> Result<Rules, RunError> {
    let file: RulesFile = spec::read(path)?;
    check_rules(path, file.check())
}

fn check_rules(path: &Path, rules: Result<Rules, RulesError>) -> Result<Rules, RunError> {
    rules.map_err(|source| RunError::Rules { path: path.to_owned(), source })
}

/// The only places that ask for the time, for progress and for how long it took; no row depends on it.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// The pipeline with rows made as the model was trained: a model decides how, so that nothing can differ.
fn as_trained(spec: &Spec, model: &Model) -> Spec {
    let Pipeline { packet, flow, context, encode, detect, .. } = model.pipeline().clone();
    Spec { packet, flow, context, encode, detect, ..spec.clone() }
}

/// The pipeline with the context columns that its detector learns from.
fn with_context(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    if spec.ends.fit.is_some() {
        spec.context.columns.extend(spec.detect.context_columns());
    }
    spec
}

fn check_ends(spec: &Spec) -> Result<(), RunError> {
    let ends = &spec.ends;
    if ends.rows.is_none() && ends.fit.is_none() && ends.model.is_none() && ends.summary.is_none() {
        return Err(RunError::NoEnd);
    }
    if ends.report.is_some() && ends.scores.is_some() {
        return Err(RunError::Ends(
            "report and scores exclude each other: a report has the scores of all rows",
        ));
    }
    if ends.model.is_some() && ends.report.is_none() && ends.scores.is_none() {
        return Err(RunError::Ends("model needs report, the folder where scores and alerts go, or scores"));
    }
    if ends.model.is_none() && (ends.report.is_some() || ends.scores.is_some()) {
        return Err(RunError::Ends("report and scores need model: the file that scores"));
    }
    if !ends.columns.is_empty() && (ends.report.is_some() || ends.rows.is_none() && ends.scores.is_none()) {
        return Err(RunError::Ends("columns are those of a file of rows or scores; a report has all"));
    }
    if !ends.columns.is_empty() && ends.rows.is_some() && ends.scores.is_some() {
        return Err(RunError::Ends("columns of rows and of scores cannot be chosen in one run"));
    }
    if ends.model.is_some() && ends.fit.is_some() {
        return Err(RunError::Ends("model and fit exclude each other: a run trains or scores"));
    }
    if ends.packets && (ends.model.is_some() || ends.fit.is_some()) {
        return Err(RunError::Ends("packets are rows to be written, not to be learned from or scored"));
    }
    if ends.write_pcap.is_some() && spec.source.interface.is_none() {
        return Err(RunError::Ends("write_pcap is for a live interface: captures are there already"));
    }
    Ok(())
}

/// The model of what the workers learned.
fn learn(
    spec: &Spec,
    opened: &Opened,
    rows: &Schema,
    learned: Option<Learning>,
    lesson: &Lesson,
) -> Result<Model, RunError> {
    let learned = learned.filter(|learned| learned.rows() > 0);
    let Some(learned) = learned else {
        return Err(RunError::NoRows(format!(
            "{} has no {}",
            opened.name.display(),
            if opened.settings.is_some() { "IP packet" } else { "row" },
        )));
    };
    let training = Training { packets: learned.packets(), windows_ns: learned.windows() };
    let detector = learned.finish(lesson).map_err(RunError::Met)?;
    let Spec { name, seed, packet, flow, context, encode, detect, .. } = spec.clone();
    let pipeline = Pipeline { name, seed, packet, flow, context, encode, detect };
    Ok(Model::new(pipeline, rows, training, detector)?)
}
