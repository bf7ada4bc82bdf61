//! Starts workers, watches event time, stops. Training, archive and live run through here; batch is a
//! feed that ends.

mod columns;
mod ending;
mod ends;
mod error;
mod following;
mod judging;
mod learning;
mod made;
mod opening;
#[cfg(test)]
mod tests;
mod ticker;
mod workers;
mod writing;

use std::cell::Cell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::ending::Ending;
pub(crate) use self::ends::check_ends;
pub use self::error::RunError;
pub(crate) use self::following::useless;
pub use self::judging::AllowList;
use self::judging::{Judged, Judging};
use self::learning::Teaching;
pub use self::made::reads_rows;
use self::opening::{Origin, joined, open};
use self::ticker::{Looks, Ticker};
use self::workers::Work;
use self::writing::Writing;
use crate::context::Plan;
use crate::context::operator::Remembering;
use crate::draft::Drafts;
use crate::graph::{Rooms, Source};
use crate::model::Model;
use crate::sink::report::Found;
use crate::sink::{Lines, State, Summary, WhoRuns};
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

    /// Whether a run of this origin comes to nothing, as it was asked to end.
    fn is_interrupted(&self, origin: Origin) -> bool {
        origin == Origin::Stored && self.stop.is_asked()
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
    let opened = opened.map_err(|error| match shared.is_interrupted(unread) {
        true => RunError::Interrupted,
        false => error,
    })?;
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
    let without = learning::without(spec, &rows, of_flows)?;
    let rooms = Rooms {
        without: without.as_ref().map(|(without, _)| without.clone()),
        remembering,
        context: opened.window.filter(|_| counts_context).map(|window| (Arc::new(plan), window)),
        detector: judged.as_ref().map(Judged::rooms),
        incidents: writing.watch.map(|watch| (watch, writing.budget)),
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
        let run = who_runs(spec, judged.as_ref().map(|judged| &judged.hash[..]));
        let muting = watched.as_ref().map(|(_, muting)| muting.clone());
        State::begin(folder, began, run).muted_by(muting)
    });
    let looks = Looks {
        progress: controls.progress,
        rules: judged.as_mut().and_then(Judged::following),
        notices,
        state: state.clone(),
        fit: writing.fit.clone(),
        astray: drafts.astray().clone(),
    };
    let ticker = Ticker::start(&opened.reader, &shared, opened.origin, looks, started)?;
    let learned = work.execute(controls.workers);
    ticker.end();
    let ending = Ending {
        spec,
        shared: &shared,
        judged: judged.as_ref(),
        opened,
        started,
        began,
        model: writing.model.zip(teaching),
        memory: after,
        without,
        watched,
        fit: writing.fit,
        left_out: left_out.take(),
        summaries: writing.summaries,
        drafts,
        state,
    };
    ending.finish(learned?)
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
