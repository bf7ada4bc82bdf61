//! Lines of a run, which are not what it is for. Those of a live one are handed on by a thread of their own: who reads them
//! slowly, or not at all (a pager, a terminal that was halted, a shipper of logs that hangs), must not keep frames from being
//! taken, logs from being written, or the run from its end. A batch waits for who reads, but is whole without.

use std::io::{Error, ErrorKind, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use crate::terminal::Waited;
use crate::threads::NoThread;

/// Pieces that may wait, of a line or some each.
pub(super) const WAITING: usize = 1024;

/// A writer that never waits and never fails: what is flushed goes to a thread; where too much waits there, it is left
/// out, and where lines are read again one says how many are missing.
pub(super) struct Relay {
    /// What was written since the last flush.
    piece: Vec<u8>,
    /// `None` when no more comes.
    give: Option<SyncSender<Vec<u8>>>,
    writer: Waited,
    /// Lines that were left out and not told of.
    left_out: usize,
}

impl Relay {
    /// Hands lines on to `out`. What `out` says when it fails is told to `failed`, and ends the lines; nobody reading any
    /// more (a closed pipe) ends them silently.
    ///
    /// # Errors
    /// [`NoThread`].
    pub(super) fn new(
        mut out: Box<dyn Write + Send>,
        failed: impl FnOnce(&Error) + Send + 'static,
    ) -> Result<Relay, NoThread> {
        let (give, pieces) = sync_channel::<Vec<u8>>(WAITING);
        let writer = Waited::start("lines", move || {
            for piece in pieces {
                match out.write_all(&piece).and_then(|()| out.flush()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return,
                    Err(error) => return failed(&error),
                }
            }
        })?;
        Ok(Relay { piece: Vec::new(), give: Some(give), writer, left_out: 0 })
    }
}

/// A writer that waits for its reader and never fails: nobody reading any more ends the lines silently, anything else is
/// told once.
pub(super) struct Forgiving<F> {
    /// `None` when no more can be written.
    out: Option<(Box<dyn Write + Send>, F)>,
}

impl<F: FnOnce(&Error)> Forgiving<F> {
    /// Writes to `out`. What `out` says when it fails is told to `failed`.
    pub(super) fn new(out: Box<dyn Write + Send>, failed: F) -> Forgiving<F> {
        Forgiving { out: Some((out, failed)) }
    }

    fn forgive(&mut self, error: &Error) {
        if let Some((_, failed)) = self.out.take()
            && error.kind() != ErrorKind::BrokenPipe
        {
            failed(error);
        }
    }
}

impl<F: FnOnce(&Error)> Write for Forgiving<F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let Some((out, _)) = &mut self.out else { return Ok(bytes.len()) };
        match out.write(bytes) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                self.forgive(&error);
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let Some((out, _)) = &mut self.out else { return Ok(()) };
        if let Err(error) = out.flush() {
            self.forgive(&error);
        }
        Ok(())
    }
}

/// What stands in the place of lines that nobody read.
pub(super) fn left_out(lines: usize) -> String {
    format!("({lines} lines were left out here: nobody read them)\n")
}

fn lines(piece: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', piece).count()
}

impl Write for Relay {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.piece.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut piece = std::mem::take(&mut self.piece);
        let Some(give) = &self.give else { return Ok(()) };
        let of_now = lines(&piece);
        if self.left_out > 0 {
            piece.splice(..0, left_out(self.left_out).into_bytes());
        }
        match give.try_send(piece) {
            Ok(()) => self.left_out = 0,
            Err(TrySendError::Full(_)) => self.left_out += of_now,
            Err(TrySendError::Disconnected(_)) => self.give = None,
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.give = None;
        self.writer.end();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Writes for a reader who takes nothing while the test holds the lock.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct Reader(pub(in crate::cli) Arc<Mutex<Vec<u8>>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn all_lines_are_read_by_the_end() {
        let reader = Reader::default();
        let mut relay = Relay::new(Box::new(reader.clone()), |error| panic!("{error}")).unwrap();
        for line in 0..100 {
            writeln!(relay, "line {line}").unwrap();
            relay.flush().unwrap();
        }
        drop(relay);
        let expected: String = (0..100).map(|line| format!("line {line}\n")).collect();
        assert_eq!(String::from_utf8(reader.0.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn a_reader_that_takes_nothing_holds_nobody_and_is_told_what_it_missed() {
        let reader = Reader::default();
        let mut relay = Relay::new(Box::new(reader.clone()), |error| panic!("{error}")).unwrap();
        let halted = reader.0.lock().unwrap();
        let mut say = |line: usize| {
            writeln!(relay, "line {line}").unwrap();
            relay.flush().unwrap();
        };
        // One is on its way, the others wait.
        (0..WAITING + 50).for_each(&mut say);
        drop(halted);
        let there = || lines(&reader.0.lock().unwrap());
        while there() < WAITING {
            std::thread::yield_now();
        }
        say(9999);
        drop(relay);
        let text = String::from_utf8(reader.0.lock().unwrap().clone()).unwrap();
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert_eq!(last[0], "line 9999");
        let left_out: usize =
            last[1].strip_prefix('(').and_then(|line| line.split(' ').next()).unwrap().parse().unwrap();
        assert_eq!(text.lines().count() - 2 + left_out, WAITING + 50, "{}", last[1]);
    }

    #[test]
    fn a_full_disk_is_told_once_and_a_closed_pipe_never() {
        struct Failing(ErrorKind);
        impl Write for Failing {
            fn write(&mut self, _: &[u8]) -> Result<usize, Error> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> Result<(), Error> {
                Ok(())
            }
        }
        for (kind, expected) in [(ErrorKind::StorageFull, 1), (ErrorKind::BrokenPipe, 0)] {
            let told = Arc::<Mutex<Vec<ErrorKind>>>::default();
            let told_to = told.clone();
            let mut relay =
                Relay::new(Box::new(Failing(kind)), move |error| told_to.lock().unwrap().push(error.kind()))
                    .unwrap();
            for _ in 0..3 {
                writeln!(relay, "line").unwrap();
                relay.flush().unwrap();
            }
            drop(relay);
            assert_eq!(*told.lock().unwrap(), vec![kind; expected]);
            let mut again = Vec::new();
            let mut forgiving = Forgiving::new(Box::new(Failing(kind)), |error| again.push(error.kind()));
            for _ in 0..3 {
                writeln!(forgiving, "line").unwrap();
                forgiving.flush().unwrap();
            }
            drop(forgiving);
            assert_eq!(again, vec![kind; expected]);
        }
    }
}
