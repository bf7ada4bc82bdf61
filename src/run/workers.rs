//! Workers: each builds the graph and runs it to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use timely::WorkerConfig;
use timely::communication::{Allocator, initialize_from};
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;

use super::RunError;
use crate::detect::Learning;
use crate::graph::{self, Ends, Rooms, Source};
use crate::sink::operator::{ChangeEnd, End};
use crate::threads::{self, NoThread};

/// How often a worker that waits looks whether another one has panicked.
const LOOK: Duration = Duration::from_millis(100);

/// All that workers take with them.
pub(super) struct Work {
    pub(super) source: Source,
    pub(super) rooms: Rooms,
    pub(super) learnings: Mutex<Vec<Option<Learning>>>,
    pub(super) learned: Arc<Mutex<Option<Learning>>>,
    pub(super) rows: Mutex<Option<Vec<Box<dyn End>>>>,
    pub(super) scored: Mutex<Vec<Box<dyn End>>>,
    pub(super) alerts: Mutex<Option<Vec<Box<dyn End>>>>,
    pub(super) incidents: Mutex<Vec<Box<dyn ChangeEnd>>>,
}

impl Work {
    /// Builds the graph on every worker and runs it to its end. What a worker panics with is noted as the fault of the
    /// run, and ends all of them.
    ///
    /// # Errors
    /// If workers cannot be started; then nothing was read.
    pub(super) fn execute(self, workers: usize) -> Result<Option<Learning>, RunError> {
        // Where timely gets some of its threads and then no more, those that it has panic.
        threads::check(workers)?;
        let config = timely::CommunicationConfig::Process(workers);
        let (builders, others) = config.try_build().map_err(RunError::Workers)?;
        let learned = self.learned.clone();
        let panicked = AtomicBool::new(false);
        let guards = initialize_from(builders, others, move |allocator| self.guarded(allocator, &panicked));
        for ended in guards.map_err(|_| NoThread)?.join() {
            ended.map_err(RunError::Workers)?;
        }
        // Who panicked may have held what was learned.
        let learned = learned.lock().map_or(None, |mut learned| learned.take());
        Ok(learned)
    }

    /// One worker, whatever it panics with.
    fn guarded(&self, allocator: Allocator, panicked: &AtomicBool) {
        let caught = |part: &mut dyn FnMut()| {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(part)) {
                self.rooms.fault.note(RunError::of_panic(panic));
                panicked.store(true, Relaxed);
            }
        };
        let mut worker = Some(Worker::new(WorkerConfig::default(), allocator, Some(super::now())));
        caught(&mut || worker.iter_mut().for_each(|worker| self.run(worker, panicked)));
        // The graph is dropped when a panic is over, not while it unwinds: another one would end the process.
        caught(&mut || drop(worker.take()));
    }

    /// Builds the graph on one worker and runs it to its end, or until another one has panicked.
    fn run(&self, worker: &mut Worker, panicked: &AtomicBool) {
        let probe = ProbeHandle::<u64>::new();
        let ends = self.ends(worker.index());
        let wake = worker.dataflow::<u64, _, _>(|scope| {
            graph::build(scope, self.source.clone(), self.rooms.clone(), ends, &probe)
        });
        // A source runs again by itself while it may read; when it waits for the rooms behind it, whoever moves the
        // probe wakes it. Nothing spins. Nobody wakes those who wait for a worker that has panicked.
        let mut seen = 0;
        while !panicked.load(Relaxed) && worker.step_or_park(Some(LOOK)) {
            let now = probe.with_frontier(|f| f.first().copied().unwrap_or(u64::MAX));
            if now != seen {
                seen = now;
                wake.activate();
            }
        }
    }

    /// The ends of one worker: files are written by worker 0, every worker learns.
    fn ends(&self, worker: usize) -> Ends {
        let lock = "no worker panics while it takes its ends";
        // Every worker builds the same graph.
        let of_all =
            |ends: &Mutex<Option<Vec<Box<dyn End>>>>| ends.lock().expect(lock).is_some().then(Vec::new);
        let (mut rows, mut alerts) = (of_all(&self.rows), of_all(&self.alerts));
        let (mut scored, mut incidents) = (Vec::new(), Vec::new());
        if worker == 0 {
            rows = self.rows.lock().expect(lock).as_mut().map(std::mem::take);
            alerts = self.alerts.lock().expect(lock).as_mut().map(std::mem::take);
            scored = std::mem::take(&mut *self.scored.lock().expect(lock));
            incidents = std::mem::take(&mut *self.incidents.lock().expect(lock));
        }
        let learning = self.learnings.lock().expect(lock).get_mut(worker).and_then(Option::take);
        let learning = learning.map(|learning| (learning, self.learned.clone()));
        Ends { learning, rows, scored, alerts, incidents }
    }
}
