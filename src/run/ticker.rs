//! A look at a run from time to time, for people and for whoever wants it to stop.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::opening::Reader;
use super::{RunError, Shared, Show};

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Looks at a run from time to time: shows progress, ends a batch run that is to stop.
pub(super) struct Ticker {
    end: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Ticker {
    pub(super) fn start(
        reader: &Reader,
        shared: &Shared,
        stop: Arc<AtomicBool>,
        live: bool,
        mut progress: Option<Show>,
        started: Instant,
    ) -> Ticker {
        let (end, ended) = mpsc::channel();
        let (reader, shared) = (reader.clone(), shared.clone());
        let thread = std::thread::spawn(move || {
            while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
                if !live && stop.load(Relaxed) && !shared.fault.met() {
                    shared.fault.note(RunError::Interrupted);
                }
                if let Some(show) = &mut progress {
                    show(&reader.progress(&shared.tally, started.elapsed()));
                }
            }
        });
        Ticker { end, thread }
    }

    pub(super) fn end(self) {
        drop(self.end);
        // It only draws: should it have failed, the run has not.
        let _ = self.thread.join();
    }
}
