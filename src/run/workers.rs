//! Workers: each builds the graph and runs it to its end.

use std::sync::{Arc, Mutex};

use timely::dataflow::ProbeHandle;

use super::RunError;
use crate::detect::Learning;
use crate::graph::{self, Ends, Rooms, Source};
use crate::sink::operator::{ChangeEnd, End};
use crate::threads;

/// All that workers take with them.
pub(super) struct Work {
    pub(super) source: Source,
    pub(super) rooms: Rooms,
    pub(super) learnings: Mutex<Vec<Option<Learning>>>,
    pub(super) learned: Arc<Mutex<Option<Learning>>>,
    pub(super) rows: Mutex<Option<Vec<Box<dyn End>>>>,
    pub(super) scored: Mutex<Vec<Box<dyn End>>>,
    pub(super) incidents: Mutex<Vec<Box<dyn ChangeEnd>>>,
}

impl Work {
    /// Builds the graph on every worker and runs it to its end.
    pub(super) fn execute(self, workers: usize) -> Result<Option<Learning>, RunError> {
        // Where timely gets some of its threads and then no more, those that it has panic.
        threads::check(workers)?;
        let learned = self.learned.clone();
        let work = Arc::new(self);
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let probe = ProbeHandle::<u64>::new();
            let ends = work.ends(worker.index());
            let wake = worker.dataflow::<u64, _, _>(|scope| {
                graph::build(scope, work.source.clone(), work.rooms.clone(), ends, &probe)
            });
            // A source runs again by itself while it may read; when it waits for the rooms behind it,
            // whoever moves the probe wakes it. Nothing spins.
            let mut seen = 0;
            while worker.step_or_park(None) {
                let now = probe.with_frontier(|f| f.first().copied().unwrap_or(u64::MAX));
                if now != seen {
                    seen = now;
                    wake.activate();
                }
            }
        })
        .map_err(RunError::Workers)?;
        for result in guards.join() {
            result.map_err(RunError::Workers)?;
        }
        let learned = learned.lock().expect("no worker panics while it merges").take();
        Ok(learned)
    }

    /// The ends of one worker: files are written by worker 0, every worker learns.
    fn ends(&self, worker: usize) -> Ends {
        let lock = "no worker panics while it takes its ends";
        let writes_rows = self.rows.lock().expect(lock).is_some();
        let mut rows = writes_rows.then(Vec::new);
        let (mut scored, mut incidents) = (Vec::new(), Vec::new());
        if worker == 0 {
            rows = self.rows.lock().expect(lock).as_mut().map(std::mem::take);
            scored = std::mem::take(&mut *self.scored.lock().expect(lock));
            incidents = std::mem::take(&mut *self.incidents.lock().expect(lock));
        }
        let learning = self.learnings.lock().expect(lock).get_mut(worker).and_then(Option::take);
        let learning = learning.map(|learning| (learning, self.learned.clone()));
        Ends { learning, rows, scored, incidents }
    }
}
