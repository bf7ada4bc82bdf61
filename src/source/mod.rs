//! Bytes with a capture time: capture files, compressed, many merged by time; interfaces; Parquet rows.

pub mod operator;
pub mod rows;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the pipeline file says about reading (`[source]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSpec {
    /// Files, directories (read recursively), globs, `-` for standard input; the command line comes first.
    pub inputs: Vec<String>,
    /// Interface to listen on instead of reading `inputs`.
    pub interface: Option<String>,
    /// How far a packet may lie behind the newest of its own input; a later one is used at the
    /// watermark and counted in `late`.
    #[serde(with = "humantime_serde")]
    pub lateness: Duration,
    /// Event time of one timely timestamp: paces the graph, changes no row.
    #[serde(with = "humantime_serde")]
    pub slice: Duration,
    /// Skip and count frames of unknown link types instead of ending with an error.
    pub lax: bool,
}

impl Default for SourceSpec {
    fn default() -> Self {
        SourceSpec {
            inputs: Vec::new(),
            interface: None,
            lateness: Duration::from_secs(1),
            slice: Duration::from_millis(100),
            lax: false,
        }
    }
}

impl SourceSpec {
    /// Checks the settings.
    ///
    /// # Errors
    /// One line: the key and what it may be.
    pub fn check(&self) -> Result<(), SourceError> {
        let wrong = |key, found: Duration, allowed| Err(SourceError::Setting { key, found, allowed });
        if !(Duration::from_micros(1)..=Duration::from_secs(86_400)).contains(&self.slice) {
            return wrong("slice", self.slice, "between 1us and 1d");
        }
        if self.lateness > Duration::from_secs(3600) {
            return wrong("lateness", self.lateness, "at most 1h");
        }
        Ok(())
    }
}

/// A captured frame within its [`Block`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Event time in nanoseconds since the Unix epoch: the capture's timestamp, moved up to the
    /// watermark (newest of this input minus lateness) if it lies before it. At most `i64::MAX`.
    pub time: u64,
    /// Where its bytes begin in [`Block::bytes`].
    pub at: u32,
    /// Captured bytes.
    pub captured: u32,
    /// Length of the frame on the wire.
    pub original: u32,
    /// Link type (the LINKTYPE_ number of its interface).
    pub link: u16,
}

/// Whole records of one input, in the order of the file: the unit that a worker takes and decodes.
#[derive(Default, Debug)]
pub struct Block {
    /// Number of the input in the order given.
    pub input: u32,
    /// Number of the block within its input.
    pub number: u64,
    /// Number of its first record within its input, from 0.
    pub first_record: u64,
    /// The frames' bytes (with whatever lies between them in the file).
    pub bytes: Vec<u8>,
    /// The frames.
    pub records: Vec<Record>,
}

/// What a [`Feed`] has to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The block was filled.
    Block,
    /// Nothing now, something later: ask again in some milliseconds (live inputs only).
    Idle,
    /// Nothing any more.
    End,
}

/// The serial part of reading, shared under a lock by the workers of a process.
pub trait Feed: Send {
    /// No frame that is still to come has an event time below this (nanoseconds).
    /// `u64::MAX` once the feed has ended.
    fn frontier(&self) -> u64;

    /// The newest event time handed out so far, 0 before the first.
    fn newest(&self) -> u64;

    /// Fills `block` (whatever it held is lost, its buffers are reused).
    ///
    /// # Errors
    /// [`SourceError`], after which the feed is not asked again.
    fn next(&mut self, block: &mut Block) -> Result<Next, SourceError>;

    /// What was read so far.
    fn counts(&self) -> FeedCounts;
}

/// Counters of a [`Feed`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FeedCounts {
    /// Frames handed out.
    pub frames: u64,
    /// Frames whose timestamp lay before the watermark.
    pub late: u64,
    /// Files that ended inside a record or a block: all whole records before were used.
    pub truncated_files: u64,
    /// Bytes read from files as stored (compressed size for compressed files), for progress.
    pub bytes_read: u64,
    /// Bytes of all files as stored, 0 if unknown (standard input, an interface).
    pub bytes_total: u64,
    /// Frames that an interface received, as the kernel counts.
    pub received: u64,
    /// Frames that the kernel dropped because nobody took them in time.
    pub dropped: u64,
}

/// What can go wrong with an input. Each is one line: what, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A setting that cannot be.
    #[error("[source] {key} = {found:?}: must be {allowed}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What the file says.
        found: Duration,
        /// What may stand there.
        allowed: &'static str,
    },
    /// An input that cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The input.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}
