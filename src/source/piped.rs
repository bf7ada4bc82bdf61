//! A capture that comes through a pipe, read on a thread of its own: its writer may be silent, and whoever waits for it must
//! not hold up the rooms behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use super::capture::Capture;
use super::{Block, SourceError};
use crate::threads::{self, NoThread};

/// Blocks that may wait.
const WAITING: usize = 4;

/// How long a block is waited for before there is none now: a writer that is as fast as the reader has one by then.
const PATIENCE: Duration = Duration::from_millis(2);

/// What a pipe gives.
pub(super) enum Piece {
    /// A block, and how far event time is behind it.
    Block { block: Block, watermark: u64, newest: u64, late: u64 },
    /// The end: until when the input was watched, and why it was not used to its own end, if so.
    End { watched_until: u64, late: u64, cut_short: Option<String> },
}

/// A pipe that is read.
pub(super) struct Piped {
    pieces: Receiver<Result<Piece, SourceError>>,
    /// Blocks on their way back.
    used: Sender<Block>,
    path: PathBuf,
}

impl Piped {
    /// Blocks that are filled, wait, or are used.
    pub(super) const UNDER_WAY: usize = WAITING + 2;

    /// Reads `capture` on, in blocks of about so much event time and so many bytes.
    ///
    /// # Errors
    /// If the system allows no thread.
    pub(super) fn read(capture: Capture, span: u64, chunk: usize, path: &Path) -> Result<Piped, NoThread> {
        let (give, pieces) = sync_channel(WAITING);
        let (used, empty) = channel();
        let (path, of_thread) = (path.to_owned(), path.to_owned());
        threads::start("pipe", move || {
            let read = catch_unwind(AssertUnwindSafe(|| read_on(capture, span, chunk, &give, &empty)));
            if let Err(panic) = read {
                // Without a word what came until then would pass for all that there is.
                let source = std::io::Error::other(threads::words(&*panic));
                let _ = give.send(Err(SourceError::Io { path: of_thread, source }));
            }
        })?;
        Ok(Piped { pieces, used, path })
    }

    /// The next piece; `None` where there is none now. `block` is filled anew.
    ///
    /// # Errors
    /// As [`Capture::next`]. After one, and after the end, there is nothing to ask for.
    pub(super) fn next(&mut self, block: &mut Block) -> Result<Option<Piece>, SourceError> {
        match self.pieces.recv_timeout(PATIENCE) {
            Ok(piece) => {
                // At the end nobody needs it.
                let _ = self.used.send(std::mem::take(block));
                piece.map(Some)
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                let source = std::io::Error::other("its reader is gone");
                Err(SourceError::Io { path: self.path.clone(), source })
            }
        }
    }
}

/// Reads up to the end, the first error, or until nobody takes blocks any more.
fn read_on(
    mut capture: Capture,
    span: u64,
    chunk: usize,
    give: &SyncSender<Result<Piece, SourceError>>,
    empty: &Receiver<Block>,
) {
    loop {
        let mut block = empty.try_recv().unwrap_or_default();
        let until = capture.watermark().saturating_add(span);
        let piece = capture.next(&mut block, until, chunk).map(|more| match more {
            true => Piece::Block {
                block,
                watermark: capture.watermark(),
                newest: capture.newest(),
                late: capture.take_late(),
            },
            false => Piece::End {
                watched_until: capture.watched_until(),
                late: capture.take_late(),
                cut_short: capture.cut_short().map(str::to_owned),
            },
        });
        let is_last = !matches!(piece, Ok(Piece::Block { .. }));
        if give.send(piece).is_err() || is_last {
            return;
        }
    }
}
