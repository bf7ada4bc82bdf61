//! Decompression ahead of whoever reads, on a thread of its own: workers wait for bytes, not for their inflation.

use std::io::{Error, ErrorKind, Read};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Bytes of a piece, at most.
const PIECE: usize = 256 << 10;
/// Pieces that may wait.
const WAITING: usize = 4;
/// Threads at once; what is read beyond that is inflated by its reader.
const THREADS: usize = 8;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// What a stream gives, in pieces that were read ahead.
pub(super) struct Ahead {
    pieces: Receiver<Result<Vec<u8>, Error>>,
    /// Buffers on their way back.
    used: Sender<Vec<u8>>,
    piece: Vec<u8>,
    from: usize,
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
        let (give, pieces) = sync_channel(WAITING);
        let (used, empty) = channel();
        thread::spawn(move || {
            read_on(reader, &give, &empty);
            drop(counted);
        });
        Ok(Ahead { pieces, used, piece: Vec::new(), from: 0 })
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
            match self.pieces.recv() {
                Ok(piece) => {
                    let used = std::mem::replace(&mut self.piece, piece?);
                    self.from = 0;
                    // At the end nobody needs it.
                    let _ = self.used.send(used);
                }
                Err(_) => return Ok(0),
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
