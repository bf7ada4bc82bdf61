//! A look at a run from time to time, for people and for whoever wants it to stop.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::following::Following;
use super::opening::Reader;
use super::{RunError, Shared, Show, Tell};

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Ticks from one look at the file of rules to the next.
const RULES: u32 = 5;

/// What is looked at.
#[derive(Default)]
pub(super) struct Looks {
    pub(super) progress: Option<Show>,
    /// The file of rules of a live run, and who is told of its changes.
    pub(super) rules: Option<Following>,
    pub(super) notices: Option<Tell>,
}

/// Looks at a run from time to time: shows progress, follows the file of rules, ends a batch run that is to stop.
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
        mut looks: Looks,
        started: Instant,
    ) -> Ticker {
        let (end, ended) = mpsc::channel();
        let (reader, shared) = (reader.clone(), shared.clone());
        let thread = std::thread::spawn(move || {
            let mut ticks = 0;
            while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
                ticks += 1;
                if ticks % RULES == 0
                    && let Some(notice) = looks.rules.as_mut().and_then(Following::look)
                    && let Some(tell) = &mut looks.notices
                {
                    tell(notice);
                }
                if !live && stop.load(Relaxed) && !shared.fault.met() {
                    shared.fault.note(RunError::Interrupted);
                }
                if let Some(show) = &mut looks.progress {
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
