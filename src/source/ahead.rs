//! Reading ahead of whoever reads, on a thread of its own: workers wait for bytes, not for their inflation, and for those
//! of a pipe no longer than the run is wanted.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use crate::tally::Stop;
use crate::threads::{self, NoThread};

/// Bytes of a piece, at most.
const PIECE: usize = 256 << 10;
/// Pieces that may wait.
const WAITING: usize = 4;
/// Threads at once; what is read beyond that is inflated by its reader.
const THREADS: usize = 8;

/// How often who waits for a pipe looks whether the run is to end.
const LOOK: Duration = Duration::from_millis(100);

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// What it is for the reader of a pipe that its run is asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The run comes to nothing.
    IsAnError,
    /// The pipe ends behind what was read of it by then.
    IsTheEnd,
}

/// What a stream gives, in pieces that were read ahead.
pub(super) struct Ahead {
    pieces: Receiver<Result<Vec<u8>, Error>>,
    /// Buffers on their way back.
    used: Sender<Vec<u8>>,
    piece: Vec<u8>,
    from: usize,
    /// Whether the run is to end, where it may be long until more comes.
    stop: Option<(Stop, Asked)>,
    /// Pieces that are still taken of a pipe which ends because the run was asked to; `None` before.
    left: Option<usize>,
}

/// A thread that counts as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Option<Counted> {
        let more = |running| (running < THREADS).then_some(running + 1);
        RUNNING.fetch_update(Relaxed, Relaxed, more).ok().map(|_| Counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Relaxed);
    }
}

impl Ahead {
    /// Reads ahead from `reader`; gives it back where there are threads enough.
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Result<Ahead, Box<dyn Read + Send>> {
        let Some(counted) = Counted::new() else { return Err(reader) };
        Ahead::by(reader, counted)
    }

    /// Reads a pipe whose writer may be silent for long: an error when `stop` is due, or the end, where that is what it is
    /// to be asked.
    ///
    /// # Errors
    /// If there is no thread to wait for it.
    pub(super) fn of_pipe(reader: Box<dyn Read + Send>, stop: Stop, asked: Asked) -> Result<Ahead, Error> {
        let ahead = Ahead::by(reader, ()).map_err(|_| Error::other(NoThread))?;
        Ok(Ahead { stop: Some((stop, asked)), ..ahead })
    }

    /// Gives the reader back where the system allows no thread.
    fn by(reader: Box<dyn Read + Send>, counted: impl Send + 'static) -> Result<Ahead, Box<dyn Read + Send>> {
        let (give, pieces) = sync_channel(WAITING);
        let (used, empty) = channel();
        let (hand, handed) = channel();
        let reading = threads::start("read ahead", move || {
            let Ok(reader) = handed.recv() else { return };
            let read = catch_unwind(AssertUnwindSafe(|| read_on(reader, &give, &empty)));
            if let Err(panic) = read {
                // Without a word what came until then would pass for all that there is.
                let _ = give.send(Err(Error::other(threads::words(&*panic))));
            }
            drop(counted);
        });
        match reading {
            Ok(_) => hand.send(reader).map_err(|unsent| unsent.0)?,
            Err(NoThread) => return Err(reader),
        }
        Ok(Ahead { pieces, used, piece: Vec::new(), from: 0, stop: None, left: None })
    }

    /// The next piece; `None` at the end.
    fn next(&mut self) -> Option<Result<Vec<u8>, Error>> {
        let Some((stop, asked)) = &self.stop else { return self.pieces.recv().ok() };
        let is_asked_to_end = || *asked == Asked::IsTheEnd && stop.is_asked();
        loop {
            let ends = is_asked_to_end();
            if ends {
                // What was read by then, and what a writer says that was asked to end at the same time; no more of one that
                // was not.
                let left = self.left.get_or_insert(WAITING + 2);
                if *left == 0 {
                    stop.end_early();
                    return None;
                }
                *left -= 1;
            }
            match self.pieces.recv_timeout(LOOK) {
                Ok(piece) => return Some(piece),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if ends => {
                    self.left = Some(0);
                    stop.end_early();
                    return None;
                }
                // It was asked meanwhile: what the writer says last is waited for as long again.
                Err(RecvTimeoutError::Timeout) if is_asked_to_end() => {}
                Err(RecvTimeoutError::Timeout) if stop.is_due() => {
                    return Some(Err(Error::other("interrupted")));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// A pipe with a name, opened by who reads it, since that waits for a writer.
pub(super) struct Named {
    path: PathBuf,
    pipe: Option<File>,
}

impl Named {
    pub(super) fn new(path: &Path) -> Named {
        Named { path: path.to_owned(), pipe: None }
    }
}

impl Read for Named {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            none => none.insert(File::open(&self.path)?),
        };
        pipe.read(buffer)
    }
}

/// Reads up to the end, the first error, or until nobody takes pieces any more.
fn read_on(
    mut reader: Box<dyn Read + Send>,
    give: &SyncSender<Result<Vec<u8>, Error>>,
    empty: &Receiver<Vec<u8>>,
) {
    loop {
        let mut piece = empty.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        // No more than there is: what comes through a pipe is not waited for once there is something.
        match reader.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                piece.truncate(count);
                if give.send(Ok(piece)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What is left of the sending end of the channel tells of the end.
            Err(error) => return give.send(Err(error)).unwrap_or(()),
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.from == self.piece.len() {
            match self.next() {
                Some(piece) => {
                    let used = std::mem::replace(&mut self.piece, piece?);
                    self.from = 0;
                    // At the end nobody needs it.
                    let _ = self.used.send(used);
                }
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.from);
        buffer[..count].copy_from_slice(&self.piece[self.from..self.from + count]);
        self.from += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    /// Gives bytes in small pieces, then an error.
    struct Failing(Cursor<Vec<u8>>);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
            let count = buffer.len().min(1000);
            match self.0.read(&mut buffer[..count])? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                count => Ok(count),
            }
        }
    }

    #[test]
    fn all_bytes_come_in_order_and_then_the_error() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        let mut ahead = Ahead::new(Box::new(Failing(Cursor::new(bytes.clone())))).ok().unwrap();
        let mut found = Vec::new();
        let error = ahead.read_to_end(&mut found).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(found == bytes);
        assert_eq!(ahead.read(&mut [0; 8]).unwrap(), 0, "and nothing after it");
    }

    /// A pipe whose writer says something, and then nothing.
    struct Silent(bool);

    impl Read for Silent {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
            while std::mem::replace(&mut self.0, true) {
                thread::park();
            }
            buffer[0] = 7;
            Ok(1)
        }
    }

    #[test]
    fn a_silent_pipe_is_waited_for_until_the_run_is_to_end() {
        let stop = Arc::<AtomicBool>::default();
        let pipe = |asked| Ahead::of_pipe(Box::new(Silent(false)), Stop::by(stop.clone()), asked).unwrap();
        let (mut ahead, mut ending) = (pipe(Asked::IsAnError), pipe(Asked::IsTheEnd));
        let mut some = [0; 8];
        assert_eq!(ahead.read(&mut some).unwrap(), 1);
        assert_eq!(ending.read(&mut some).unwrap(), 1);
        thread::spawn(move || {
            thread::sleep(2 * LOOK);
            stop.store(true, Relaxed);
        });
        assert_eq!(ahead.read(&mut some).unwrap_err().to_string(), "interrupted");
        assert_eq!(ending.read(&mut some).unwrap(), 0);
        assert_eq!(ending.read(&mut some).unwrap(), 0, "and it stays at its end");
    }

    #[test]
    fn a_pipe_that_is_waited_for_ends_where_the_run_is_asked_to() {
        let asked = Arc::new(AtomicBool::new(false));
        let stop = Stop::by(asked.clone());
        let mut ahead = Ahead::of_pipe(Box::new(Silent(false)), stop.clone(), Asked::IsTheEnd).unwrap();
        assert_eq!(ahead.read(&mut [0; 8]).unwrap(), 1);
        let ask = thread::spawn(move || {
            thread::sleep(LOOK / 2);
            asked.store(true, Relaxed);
        });
        assert!(!stop.ended_early());
        assert_eq!(ahead.read(&mut [0; 8]).unwrap(), 0);
        assert!(stop.ended_early());
        ask.join().unwrap();
    }

    #[test]
    fn a_pipe_whose_writer_goes_on_ends_where_the_run_is_asked_to() {
        let stop = Stop::by(Arc::new(AtomicBool::new(true)));
        let mut ahead = Ahead::of_pipe(Box::new(std::io::repeat(7)), stop, Asked::IsTheEnd).unwrap();
        let mut all = Vec::new();
        assert!(ahead.read_to_end(&mut all).unwrap() <= (WAITING + 2) * PIECE);
    }

    struct Panicking;

    impl Read for Panicking {
        fn read(&mut self, _: &mut [u8]) -> Result<usize, Error> {
            // As a panic does, but no hook hears of it.
            std::panic::resume_unwind(Box::new("no such code"))
        }
    }

    #[test]
    fn a_reader_that_panics_is_no_end_of_what_it_reads() {
        let mut ahead = Ahead::by(Box::new(Panicking), ()).ok().unwrap();
        assert_eq!(ahead.read(&mut [0; 8]).unwrap_err().to_string(), "no such code");
    }

    #[test]
    fn a_reader_that_is_dropped_stops_its_thread() {
        for _ in 0..100 {
            let mut ahead = loop {
                match Ahead::new(Box::new(std::io::repeat(7))) {
                    Ok(ahead) => break ahead,
                    Err(_) => thread::yield_now(),
                }
            };
            let mut some = [0; 100];
            ahead.read_exact(&mut some).unwrap();
            assert_eq!(some, [7; 100]);
        }
    }
}
