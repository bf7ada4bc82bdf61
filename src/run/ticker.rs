//! A look at a run from time to time, for people and for whoever wants it to stop.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::following::Following;
use super::opening::{Origin, Reader};
use super::{Notice, Progress, RunError, Shared, Show, Tell};
use crate::draft::Astray;
use crate::sink::{Fit, State};
use crate::terminal::Waited;
use crate::threads::NoThread;

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Ticks from one look at the file of rules, and at what goes wrong meanwhile, to the next.
const SELDOM: u32 = 5;

/// Ticks from one writing of the file of the run's state to the next: a minute.
const MINUTE: u32 = 300;

/// Of the frames of one look so many are late, one in a hundred at least, where that is told.
const LATE: u64 = 2;

/// What is looked at.
#[derive(Default)]
pub(super) struct Looks {
    pub(super) progress: Option<Show>,
    /// The file of rules of a live run, and who is told of its changes.
    pub(super) rules: Option<Following>,
    pub(super) notices: Option<Tell>,
    /// The file of a live run's state.
    pub(super) state: Option<State>,
    /// Whether the model fits, where rows are scored.
    pub(super) fit: Option<Fit>,
    /// Logs that lost their names.
    pub(super) astray: Astray,
}

/// Looks at a run from time to time: shows progress, follows the file of rules, ends a batch run that is to stop.
pub(super) struct Ticker {
    end: mpsc::Sender<()>,
    looking: Waited,
}

/// What was told of what goes wrong meanwhile.
#[derive(Default)]
struct Told {
    dropped: u64,
    ahead: u64,
    /// Frames and late ones at the last look.
    seen: (u64, u64),
    late: bool,
    misfit: bool,
    unwritten: bool,
    astray: Vec<String>,
}

impl Told {
    /// What is to be told now: frames that were dropped, each time that they are twice as many, and a clock that was set.
    fn look(&mut self, progress: &Progress) -> Vec<Notice> {
        let mut notices = Vec::new();
        if progress.dropped > 2 * self.dropped {
            self.dropped = progress.dropped;
            let what = format!(
                "{} frames were dropped by the kernel so far: they are in no row; more workers (-w) or fewer frames help",
                progress.dropped
            );
            notices.push(Notice::Trouble(what));
        }
        if progress.ahead != self.ahead {
            self.ahead = progress.ahead;
            notices.push(Notice::Trouble(match progress.ahead {
                0 => "the clock has come up to the times of rows and alerts: they are right again".to_owned(),
                ahead => format!(
                    "the clock was set back: times of rows and alerts go on, {:.0} s ahead of it; begin anew for right ones",
                    Duration::from_nanos(ahead).as_secs_f64()
                ),
            }));
        }
        notices
    }

    /// Frames of a pipe that begin to be late. On a wire some always are somewhere, and its clock is looked at.
    fn look_for_late(&mut self, progress: &Progress) -> Option<Notice> {
        let (frames, late) = (progress.frames - self.seen.0, progress.late - self.seen.1);
        self.seen = (progress.frames, progress.late);
        if self.late || late < LATE || late < frames / 100 {
            return None;
        }
        self.late = true;
        Some(Notice::Trouble(format!(
            "{late} of the last {frames} frames were late and moved: the clock was set back, or they come in disorder; times \
             of rows and alerts are ahead of them until they have come up"
        )))
    }

    /// A model that turns out not to fit.
    fn look_at(&mut self, fit: &Fit) -> Option<Notice> {
        let misfit = fit.misfit().filter(|_| !self.misfit)?;
        self.misfit = true;
        Some(Notice::Trouble(misfit))
    }

    /// Logs that lost their names since the last look.
    fn look_for_astray(&mut self, astray: &Astray) -> Vec<Notice> {
        let before = std::mem::replace(&mut self.astray, astray.lines());
        let new = self.astray.iter().filter(|line| !before.contains(line));
        new.cloned().map(Notice::Trouble).collect()
    }

    /// What became of the file of the run's state.
    fn wrote(&mut self, written: Result<(), impl std::fmt::Display>) -> Option<Notice> {
        let failed = written.err().map(|error| {
            format!(
                "{error}: what says how the run is stands still until it can be written, and the run goes on"
            )
        });
        let told = std::mem::replace(&mut self.unwritten, failed.is_some());
        failed.filter(|_| !told).map(Notice::Trouble)
    }
}

impl Ticker {
    /// # Errors
    /// [`NoThread`]: a batch run without a ticker could not be stopped.
    pub(super) fn start(
        reader: &Reader,
        shared: &Shared,
        origin: Origin,
        mut looks: Looks,
        started: Instant,
    ) -> Result<Ticker, NoThread> {
        let (end, ended) = mpsc::channel();
        let (reader, shared) = (reader.clone(), shared.clone());
        let looking = Waited::start("ticker", move || {
            let (mut ticks, mut told) = (0, Told::default());
            while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
                ticks += 1;
                let mut notices = Vec::new();
                if origin != Origin::Stored && ticks % SELDOM == 0 {
                    let progress = reader.progress(&shared.tally, started.elapsed());
                    notices = told.look(&progress);
                    if origin == Origin::Pipe {
                        notices.extend(told.look_for_late(&progress));
                    }
                    notices.extend(told.look_for_astray(&looks.astray));
                    notices.extend(looks.fit.as_ref().and_then(|fit| told.look_at(fit)));
                    notices.extend(looks.rules.as_mut().and_then(Following::look));
                }
                if let Some(state) = looks.state.as_ref().filter(|_| ticks % MINUTE == 1) {
                    let written = state.write(&shared.tally, &reader.counts());
                    notices.extend(told.wrote(written));
                }
                if let Some(tell) = &mut looks.notices {
                    notices.into_iter().for_each(tell);
                }
                if origin == Origin::Stored && shared.stop.is_asked() && !shared.fault.met() {
                    shared.fault.note(RunError::Interrupted);
                }
                if let Some(show) = &mut looks.progress {
                    show(&reader.progress(&shared.tally, started.elapsed()));
                }
            }
            if let Some(tell) = &mut looks.notices {
                told.look_for_astray(&looks.astray).into_iter().for_each(tell);
            }
        })?;
        Ok(Ticker { end, looking })
    }

    pub(super) fn end(self) {
        drop(self.end);
        // It only draws and tells: should it have failed, the run has not.
        self.looking.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_told_when_they_double_and_a_clock_when_it_is_set() {
        let mut told = Told::default();
        let mut look = |dropped, ahead| {
            let notices = told.look(&Progress { dropped, ahead, ..Progress::default() });
            let line = |notice: Notice| match notice {
                Notice::Trouble(line) => line.split([' ', ',']).take(4).collect::<Vec<_>>().join(" "),
                other => panic!("{other:?}"),
            };
            notices.into_iter().map(line).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(look(0, 0), "");
        assert_eq!(look(7, 0), "7 frames were dropped");
        assert_eq!(look(14, 0), "");
        assert_eq!(look(15, 9_000_000_000), "15 frames were dropped; the clock was set");
        assert_eq!(look(15, 9_000_000_000), "");
        assert_eq!(look(15, 0), "the clock has come");
    }

    #[test]
    fn late_frames_of_a_pipe_are_told_once_when_they_begin() {
        let mut told = Told::default();
        let mut look = |frames, late| {
            let told = told.look_for_late(&Progress { frames, late, ..Progress::default() });
            told.map(|notice| match notice {
                Notice::Trouble(line) => line.split(':').next().unwrap_or_default().to_owned(),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(look(100, 1), None, "one is nobody's clock");
        assert_eq!(look(100_000, 900), None);
        assert_eq!(look(100_100, 1000).unwrap(), "100 of the last 100 frames were late and moved");
        assert_eq!(look(200_000, 90_000), None);
    }

    #[test]
    fn a_state_that_cannot_be_written_is_told_until_it_can() {
        let mut told = Told::default();
        let wrote =
            [Ok(()), Err("full"), Err("full"), Ok(()), Err("full")].map(|written| told.wrote(written));
        assert_eq!(wrote.map(|notice| notice.is_some()), [false, true, false, false, true]);
    }
}
