//! What a run says to people on standard error: how far it is, what it notices, a few words at its end. A thread of its own
//! says it: a terminal that was halted, or a reader that hangs, must not keep a run from its rules, its state or its end.

use std::io::Write;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;

use super::progress::show;
use super::relay::{WAITING, left_out};
use crate::run::{Progress, Show};
use crate::terminal::Waited;
use crate::threads::NoThread;

/// Says what it is given, for as long as somebody takes it.
pub(super) struct Speaker {
    give: SyncSender<Words>,
    /// How far the run is, if nobody was shown that yet: only the newest is of interest.
    progress: Arc<Mutex<Option<Progress>>>,
    speaking: Waited,
}

enum Words {
    Line(String),
    /// There is progress to show.
    Progress,
    /// The last.
    End(Option<String>),
}

impl Speaker {
    /// Speaks to `out`, above a bar, if there is one.
    ///
    /// # Errors
    /// [`NoThread`].
    pub(super) fn start(
        mut out: Box<dyn Write + Send>,
        bar: Option<ProgressBar>,
    ) -> Result<Speaker, NoThread> {
        let (give, words) = sync_channel(WAITING);
        let progress = Arc::<Mutex<Option<Progress>>>::default();
        let shown = progress.clone();
        let speaking = Waited::start("words", move || {
            // Nobody may be listening any more; the run goes on, and its results are in their files.
            let mut say = |line: &str| _ = writeln!(out, "{line}").and_then(|()| out.flush());
            for words in words {
                match (words, &bar) {
                    (Words::Line(line), Some(bar)) => bar.suspend(|| say(&line)),
                    (Words::Line(line), None) => say(&line),
                    (Words::Progress, bar) => {
                        let newest = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
                        bar.iter().zip(newest).for_each(|(bar, newest)| show(bar, &newest));
                    }
                    (Words::End(text), bar) => {
                        bar.iter().for_each(|bar| bar.finish_and_clear());
                        text.iter().for_each(|text| say(text));
                        return;
                    }
                }
            }
        })?;
        Ok(Speaker { give, progress, speaking })
    }

    /// What takes lines. It never waits: where too many do, it counts those that are left out, and says so when there is
    /// room again.
    pub(super) fn lines(&self) -> impl FnMut(String) + Send + 'static {
        let (give, mut missing) = (self.give.clone(), 0);
        move |line| {
            let line = if missing == 0 { line } else { left_out(missing) + &line };
            match give.try_send(Words::Line(line)) {
                Ok(()) => missing = 0,
                Err(TrySendError::Full(_)) => missing += 1,
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
    }

    /// What takes how far a run is.
    pub(super) fn progress(&self) -> Show {
        let (give, newest) = (self.give.clone(), self.progress.clone());
        Box::new(move |progress| {
            let before = newest.lock().unwrap_or_else(PoisonError::into_inner).replace(*progress);
            if before.is_none() {
                // Where there is no room nobody looks.
                let _ = give.try_send(Words::Progress);
            }
        })
    }

    /// Clears the bar and says the last, if there is something to say. Waits for who listens, but not for ever where
    /// the run may not. Gives whether everything was taken.
    pub(super) fn end(self, text: Option<String>, may_wait: bool) -> bool {
        match may_wait {
            true => {
                let _ = self.give.send(Words::End(text));
                self.speaking.join();
                true
            }
            false => self.give.try_send(Words::End(text)).is_ok() && self.speaking.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::relay::tests::Reader;
    use super::*;

    #[test]
    fn lines_are_said_in_their_order_and_the_last_at_the_end() {
        for may_wait in [true, false] {
            let reader = Reader::default();
            let speaker = Speaker::start(Box::new(reader.clone()), Some(ProgressBar::hidden())).unwrap();
            let (mut line, mut progress) = (speaker.lines(), speaker.progress());
            for number in 0..3 {
                line(format!("line {number}"));
                progress(&Progress::default());
            }
            assert!(speaker.end(Some("the end".to_owned()), may_wait));
            line("nobody is there".to_owned());
            let text = String::from_utf8(reader.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text, "line 0\nline 1\nline 2\nthe end\n");
        }
    }

    #[test]
    fn who_takes_nothing_holds_nobody() {
        let reader = Reader::default();
        let speaker = Speaker::start(Box::new(reader.clone()), None).unwrap();
        let (mut line, mut progress) = (speaker.lines(), speaker.progress());
        let halted = reader.0.lock().unwrap();
        for number in 0..2 * WAITING {
            line(format!("line {number}"));
            progress(&Progress::default());
        }
        assert!(!speaker.end(Some("the end".to_owned()), false));
        drop(halted);
    }
}
