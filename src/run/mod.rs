//! Starts workers, watches event time, stops. Training, archive and live run through here; batch is a
//! feed that ends.

mod columns;
mod error;
mod following;
mod judging;
mod learning;
mod opening;
#[cfg(test)]
mod tests;
mod ticker;
mod workers;
mod writing;

use std::cell::Cell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use self::error::RunError;
pub(crate) use self::following::useless;
pub use self::judging::AllowList;
use self::judging::{Judged, Judging};
use self::learning::Teaching;
use self::opening::{Opened, Origin, Reader, joined, open};
use self::ticker::{Looks, Ticker};
use self::workers::Work;
use self::writing::Writing;
use crate::context::Plan;
use crate::context::operator::Remembering;
use crate::detect::outline::grouped;
use crate::draft::Drafts;
use crate::graph::{Rooms, Source};
use crate::incident::InForce;
use crate::incident::budget::Budget;
use crate::model::Model;
use crate::sink::report::Found;
use crate::sink::{Lines, SinkError, State, Summary, WhoRuns};
use crate::source::interface::wall_clock;
use crate::spec::Spec;
use crate::tally::{Fault, Stop, Tally};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Shows how far a run is.
pub type Show = Box<dyn FnMut(&Progress) + Send>;

/// What a run is told from outside its pipeline.
pub struct Controls {
    /// Workers, one at least; threads of this process.
    pub workers: usize,
    /// Set from outside to end the run: a live run flushes what it has, one that scores a pipe takes what was read for all
    /// of it, any other ends with an error. It is looked at a few times a second and never written, so that several runs
    /// may have the same.
    pub stop: Arc<AtomicBool>,
    /// Called five times a second while the run goes on, on a thread of its own. The run waits at its end for a call that
    /// is under way, but no longer than a second: one that takes longer may outlive it. A panic ends the calls, not the
    /// run.
    pub progress: Option<Show>,
    /// Where alerts go as readable lines, written by a worker: who takes them slowly holds the run, and an error or a
    /// panic is that of the run. A closed pipe ends the lines alone.
    pub alerts: Option<Lines>,
    /// Told what a run of an interface or a pipe has to say while it goes on, on the same thread as `progress`; before that,
    /// on the caller's, that it listens.
    pub notices: Option<Tell>,
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controls")
            .field("workers", &self.workers)
            .field("stop", &self.stop)
            .field("progress", &self.progress.is_some())
            .field("alerts", &self.alerts.is_some())
            .field("notices", &self.notices.is_some())
            .finish()
    }
}

/// What a run of an interface or a pipe has to say while it goes on, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// It is ready: frames from now on are used.
    Listening(String),
    /// The file of rules changed: what it says is in force from the next complete window on.
    Changed(String),
    /// It cannot be in force: what it said before stays.
    Refused(String),
    /// Frames are dropped or late, the clock was set back, the model does not fit, or the file of the run's state cannot be
    /// written.
    Trouble(String),
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
    /// Frames read so far; 0 where rows are read.
    pub frames: u64,
    /// Those of them that were late and moved.
    pub late: u64,
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
    /// Nanoseconds that event time is ahead of the clock, which was set back (live).
    pub ahead: u64,
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
    /// What is worth saying: rules of the allow-list that were of no use, columns that a pattern meant and no encoder
    /// takes. One line each.
    pub complaints: Vec<String>,
    /// What ended a live run before anybody asked for it; all that came until then was used.
    pub ended_by: Option<RunError>,
    /// From start to end.
    pub elapsed: Duration,
}

/// What every part of a run shares.
#[derive(Clone)]
struct Shared {
    tally: Arc<Tally>,
    fault: Arc<Fault>,
    stop: Stop,
}

impl Shared {
    fn new(stop: Stop, live: bool) -> Shared {
        Shared { tally: Arc::default(), fault: Arc::new(Fault::new(stop.clone(), live)), stop }
    }
}

/// Runs a pipeline to its end, on threads that end with it. It may be called again, and by several threads at once as long
/// as no two write to the same place.
///
/// One thread may outlive the call by more than a second: the one that reads a pipe (standard input, or one with a name)
/// which was silent when the run was stopped or failed. It ends when the writer says something or ends, and what is said
/// then is lost.
///
/// # Errors
/// [`RunError`]: a setting that cannot be ([`Spec::check`]) or what cannot be opened before anything is read, else the first
/// error that a room met, or what a worker panicked with. Then nothing of the run is left but what a live one keeps as it
/// goes (logs, whole hours of a dataset, the frames that it used), and what stood there before still does.
pub fn run(spec: &Spec, mut controls: Controls) -> Result<Outcome, RunError> {
    let (started, began) = (now(), wall_clock());
    if controls.workers == 0 {
        return Err(RunError::NoWorkers);
    }
    spec.check().map_err(RunError::Setting)?;
    check_ends(spec)?;
    let judging = Judging::read(spec)?;
    let spec = match &judging {
        Some(judging) => judging.as_trained(spec),
        None => with_context(spec),
    };
    let spec = &columns::with_chosen_context(spec)?;
    let live = spec.source.interface.is_some();
    let shared = Shared::new(Stop::by(controls.stop), live);
    let is_interrupted = |origin: Origin| origin == Origin::Stored && shared.stop.is_asked();
    let plan = Plan::new(&spec.context)?;
    let left_out = Cell::new(None);
    let opened = open(spec, &shared, |schema, window| {
        let counted = if window.is_some() { plan.schema(schema) } else { Arc::new(schema.clone()) };
        if let Some(judging) = &judging {
            judging.check_rows(&counted)?;
        }
        columns::check(&spec.ends, &counted)?;
        let judge = judging.as_ref().map(Judging::detector);
        let teaching = Teaching::of(spec, &counted)?;
        // Lists for flow rows are written for all that such rows may have; a table of one's own is somebody's choice.
        if let (Some(teaching), None) = (&teaching, window) {
            left_out.set(teaching.left_out());
        }
        let learned = teaching.map(|teaching| teaching.columns()).transpose()?;
        Ok(columns::of_source(&spec.ends, &plan, judge, learned.as_ref(), schema))
    });
    // A pipe of which nothing was read comes to nothing, too.
    let unread = if live { Origin::Wire } else { Origin::Stored };
    let opened =
        opened.map_err(|error| if is_interrupted(unread) { RunError::Interrupted } else { error })?;
    let origin = opened.origin;
    if let Source::Frames(..) = opened.source {
        spec.flow.check_room()?;
    }
    let counts_context = opened.window.is_some() && !plan.is_empty();
    if counts_context {
        plan.check(&opened.schema)?;
    }
    let rows = match counts_context {
        true => plan.schema(&opened.schema),
        false => opened.schema.clone(),
    };
    let of_flows = opened.window.is_some();
    let mut judged = judging.map(|judging| judging.begin(spec, &rows, of_flows)).transpose()?;
    let teaching = Teaching::of(spec, &rows)?;
    let learnings = teaching.as_ref().map_or(Ok(Vec::new()), |teaching| teaching.pupils(controls.workers))?;
    let lines = controls.alerts.take();
    let drafts = if live { Drafts::live() } else { Drafts::default() };
    let (window, workers) = (opened.window, controls.workers);
    let writing = Writing::open(spec, &rows, window, judged.as_ref(), lines, workers, &drafts)?;
    let watched = writing.watch.as_ref().map(|watch| (watch.hits.clone(), watch.muting.clone()));

    let remembering = Remembering {
        before: judged.as_ref().and_then(|judged| judged.memory.clone()),
        after: (teaching.is_some() && plan.remembers()).then(Arc::default),
    };
    let after = remembering.after.clone();
    let without = learning::without(spec, of_flows)?;
    let rooms = Rooms {
        without: without.as_ref().map(|(without, _)| without.clone()),
        remembering,
        context: opened.window.filter(|_| counts_context).map(|window| (Arc::new(plan), window)),
        detector: judged.as_ref().map(Judged::rooms),
        incidents: writing.watch.map(|watch| (watch, spec.incident.alerts_per_day.map(Budget::new))),
        joined: joined(spec, &opened),
        tally: shared.tally.clone(),
        fault: shared.fault.clone(),
    };
    let work = Work {
        source: opened.source.clone(),
        rooms,
        learnings: Mutex::new(learnings),
        learned: Arc::default(),
        rows: Mutex::new(writing.rows),
        scored: Mutex::new(writing.scored),
        alerts: Mutex::new(writing.alerts),
        incidents: Mutex::new(writing.incidents),
    };
    let mut notices = controls.notices;
    if let (Some(interface), Some(tell)) = (&spec.source.interface, &mut notices) {
        tell(Notice::Listening(listening(interface, workers, spec.ends.report.as_deref(), &writing.found)));
        let start = judged.as_ref().map(Judged::start);
        start
            .into_iter()
            .flat_map(|start| useless(&start.rules))
            .for_each(|rule| tell(Notice::Trouble(rule)));
    }
    let state = spec.ends.report.as_deref().filter(|_| live).map(|folder| {
        State::begin(folder, began, who_runs(spec, judged.as_ref().map(|judged| &judged.hash[..])))
    });
    let looks = Looks {
        progress: controls.progress,
        rules: judged.as_mut().and_then(Judged::following),
        notices,
        state: state.clone(),
        fit: writing.fit.clone(),
    };
    let ticker = Ticker::start(&opened.reader, &shared, origin, looks, started)?;
    let learned = work.execute(controls.workers);
    ticker.end();
    let learned = learned?;

    if let Some(error) = shared.fault.take() {
        // Who asks a run to end may end the writer of its pipe as well, and what it met is that.
        return Err(if is_interrupted(origin) { RunError::Interrupted } else { RunError::met(error) });
    }
    let muted = watched.as_ref().map(|(_, muting)| muting.rows());
    let summary = counted(&opened, &shared, judged.as_ref(), muted)?;
    let summary = match (&spec.ends.model, &judged) {
        (Some(path), Some(judged)) => summary.by_model(path, &judged.hash),
        _ => summary,
    };
    // Batch runs that are alike leave the same.
    let summary = match live {
        true => summary.live(&opened.reader.counts()).during(began, wall_clock()),
        false => summary,
    };
    let memory = after.and_then(|after| after.lock().expect("no worker panics while it hands over").take());
    let mut fitted = None;
    if let (Some(draft), Some(teaching)) = (writing.model, teaching) {
        let model = teaching.model(spec, &opened, learned, memory)?;
        model.write_to(draft)?;
        fitted = Some(model);
    }
    // Also where the input seemed to be at its end by then: a pipe whose writer was asked to end at the same time is cut.
    // And a pipe that gave no frame yet takes the place of no report.
    let nothing_came = shared.stop.is_asked() && summary.frames == 0 && origin == Origin::Pipe;
    if is_interrupted(origin) || nothing_came {
        return Err(RunError::Interrupted);
    }
    // What a live run has counted is told, whatever cannot be written.
    let unless_live = |written: Result<(), SinkError>| match written {
        Err(error) if live => {
            shared.fault.lose(error);
            Ok(())
        }
        written => written,
    };
    for draft in writing.summaries {
        unless_live(summary.write(draft))?;
    }
    unless_live(drafts.commit().map_err(SinkError::from))?;
    if let Some(state) = state {
        unless_live(state.write(&shared.tally, &opened.reader.counts()))?;
    }
    let useless_rules = watched.map_or(Vec::new(), |(hits, _)| hits.complaints());
    let asked = shared
        .stop
        .ended_early()
        .then(|| format!("ended by a signal, packets read until then: {}", grouped(summary.packets)));
    let misfit = writing.fit.and_then(|fit| fit.misfit());
    let without = without.map(|(without, unknown)| learning::was_without(&without, unknown));
    let complaints = [opened.note, left_out.take(), without, asked, misfit]
        .into_iter()
        .flatten()
        .chain(useless_rules)
        .collect();
    let lost = shared.fault.take_lost().map(RunError::met);
    let ended_by = lost.or_else(|| opened.reader.ended_by().map(RunError::from));
    Ok(Outcome { summary, model: fitted, complaints, ended_by, elapsed: started.elapsed() })
}

/// What a live run is, for whoever watches it.
fn who_runs(spec: &Spec, model_sha256: Option<&str>) -> WhoRuns {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    WhoRuns {
        interface: spec.source.interface.clone().unwrap_or_default(),
        sensor: spec.ends.sensor.clone(),
        model: path(&spec.ends.model).unwrap_or_default(),
        model_sha256: model_sha256.unwrap_or_default().to_owned(),
    }
}

/// That a live run has begun, where, and what it found there.
fn listening(interface: &str, workers: usize, report: Option<&Path>, found: &Found) -> String {
    let workers = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
    let report = report.map(|folder| format!(", report in {}", folder.display())).unwrap_or_default();
    let found = match found {
        Found::Nothing => String::new(),
        Found::Same => ", going on with the one there".to_owned(),
        Found::Other(place) => {
            format!("; one of other columns, or of detect, was moved to {}", place.display())
        }
    };
    format!("listening on {interface} ({workers}{report}{found})")
}

/// What was counted on the way, where it balances; `muted` rows where incidents were made.
fn counted(
    opened: &Opened,
    shared: &Shared,
    judged: Option<&Judged>,
    muted: Option<u64>,
) -> Result<Summary, RunError> {
    let counts = opened.reader.counts();
    if let Reader::Frames(_) = &opened.reader {
        shared.tally.check(counts.frames).map_err(RunError::Balance)?;
    }
    let load = |counter: &AtomicU64| counter.load(Relaxed);
    let mut summary = Summary::new(&shared.tally, &counts).with_cut_short(opened.reader.cut_short());
    if let Reader::Rows(_) = &opened.reader {
        summary = summary.of_rows();
    }
    if let Some(InForce { threshold, by, .. }) = judged.map(Judged::now) {
        summary = summary.scored(load(&shared.tally.anomalies)).judged(threshold, by);
    }
    if let Some(muted) = muted {
        summary = summary.with_incidents(load(&shared.tally.incidents), load(&shared.tally.alerts), muted);
    }
    Ok(summary)
}

/// The only place that asks for the time, for progress and for how long it took; no row depends on it. When a live run
/// began and ended is by the clock of the wall.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// The pipeline with the context columns that its detector learns from.
fn with_context(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    if spec.ends.fit.is_some() {
        spec.context.columns.extend(spec.detect.context_columns());
    }
    spec
}

/// Checks that what the graph ends in goes together.
///
/// # Errors
/// The first end that has no use, or that another one excludes.
pub(crate) fn check_ends(spec: &Spec) -> Result<(), RunError> {
    let ends = &spec.ends;
    if ends.model.is_none() && (ends.report.is_some() || ends.scores.is_some()) {
        return Err(RunError::Ends("report and scores need model: the file that scores"));
    }
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
    if !ends.columns.is_empty() && (ends.report.is_some() || ends.rows.is_none() && ends.scores.is_none()) {
        return Err(RunError::Ends("columns are those of a file of rows or scores; a report has all"));
    }
    if !ends.columns.is_empty() && ends.rows.is_some() && ends.scores.is_some() {
        return Err(RunError::Ends("columns of rows and of scores cannot be chosen in one run"));
    }
    if ends.sensor.as_deref() == Some("") {
        return Err(RunError::Ends("sensor is a name: give one, or leave it out"));
    }
    if ends.sensor.is_some() && ends.report.is_none() {
        return Err(RunError::Ends(
            "sensor stands in alerts and incidents: ask for a report, or leave it out",
        ));
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
