//! Bytes with a capture time: capture files, compressed, many merged by time; interfaces; Parquet rows.

mod ahead;
mod capture;
mod clock;
pub mod inputs;
pub mod interface;
pub(crate) mod kinds;
#[cfg(feature = "pcap")]
mod libpcap;
mod merge;
pub mod operator;
mod pcap;
mod pcapng;
mod piped;
pub mod recording;
mod row_errors;
pub mod rows;
#[cfg(target_os = "linux")]
mod socket;
mod stored;
#[cfg(test)]
mod tests;
mod types;
mod widening;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use merge::Captures;

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
    /// Rows that training leaves out, before anything is counted: those of all incidents of a report (`out`), or of some
    /// (`out:3f9a,41`).
    pub without: Vec<String>,
    /// Instead of ending with an error: skip and count frames of unknown link types, and use a damaged
    /// file up to its damage.
    pub lax: bool,
}

impl Default for SourceSpec {
    fn default() -> Self {
        SourceSpec {
            inputs: Vec::new(),
            interface: None,
            lateness: Duration::from_secs(1),
            slice: Duration::from_millis(100),
            without: Vec::new(),
            lax: false,
        }
    }
}

impl SourceSpec {
    /// Nanoseconds of event time per timely timestamp.
    pub fn slice_ns(&self) -> u64 {
        u64::try_from(self.slice.as_nanos()).unwrap_or(u64::MAX)
    }

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
        if self.interface.is_some() && !self.inputs.is_empty() {
            return Err(SourceError::TwoSources);
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
    /// Nothing now, something later: ask again in some milliseconds (interfaces and pipes only).
    Idle,
    /// Nothing any more.
    End,
}

/// The serial part of reading, shared under a lock by the workers of a process.
pub trait Feed: Send {
    /// No frame that is still to come has an event time below this (nanoseconds).
    /// `u64::MAX` once the feed has ended.
    fn frontier(&self) -> u64;

    /// The newest event time handed out so far, 0 before the first; at the end the time up to which the input
    /// was seen, where it knows that nothing more came until then.
    fn newest(&self) -> u64;

    /// Fills `block` (whatever it held is lost, its buffers are reused).
    ///
    /// # Errors
    /// [`SourceError`], after which the feed is not asked again.
    fn next(&mut self, block: &mut Block) -> Result<Next, SourceError>;

    /// What was read so far.
    fn counts(&self) -> FeedCounts;

    /// Why which files were not used to their ends, a line each, in the order of the inputs.
    fn cut_short(&self) -> Vec<String> {
        Vec::new()
    }

    /// What ended the feed before anybody asked for it: all that came until then was handed out.
    fn ended_by(&mut self) -> Option<SourceError> {
        None
    }
}

/// Counters of a [`Feed`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FeedCounts {
    /// Frames handed out.
    pub frames: u64,
    /// Frames whose timestamp lay before the watermark.
    pub late: u64,
    /// Files that are cut off or damaged: all whole records before were used.
    pub truncated_files: u64,
    /// Bytes read from files as stored (compressed size for compressed files), for progress.
    pub bytes_read: u64,
    /// Bytes of all files as stored, 0 if unknown (standard input, an interface).
    pub bytes_total: u64,
    /// Inputs whose first frame has a time before 1980: no clock says that, but a writer without one.
    pub undated: u64,
    /// Frames that an interface received, as the kernel counts.
    pub received: u64,
    /// Frames that the kernel dropped because nobody took them in time.
    pub dropped: u64,
    /// Nanoseconds that event time is ahead of an interface's clock, which was set back.
    pub ahead: u64,
}

/// What can go wrong with an input. Each is one line: what, where, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// Files and an interface.
    #[error("[source] inputs and interface exclude each other: a run reads files or listens")]
    TwoSources,
    /// Nothing was named.
    #[error("no input: name capture files, directories, patterns, or `-` for standard input")]
    NoInput,
    /// An input that cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The input.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A pattern that is none.
    #[error("{pattern}: no such file, and no pattern either: {what} at position {at}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        what: &'static str,
        /// Where, in characters from 0.
        at: usize,
    },
    /// A pattern that cannot be held against the names that are there.
    #[error(
        "{pattern}: a file or folder that lies there has a name that is not UTF-8, which no pattern can be held \
             against: name the folder, or the files"
    )]
    Unnamed {
        /// The pattern.
        pattern: String,
    },
    /// A directory or pattern without anything to read.
    #[error(
        "{given}: no captures (pcap, pcapng; plain, gzip or zstd) and no Parquet files {}",
        if *.pattern { "match it" } else { "in it" }
    )]
    Nothing {
        /// What was given.
        given: String,
        /// Whether it is a pattern, else a directory.
        pattern: bool,
    },
    /// A file of no bytes, or compressed and cut off before its first.
    #[error("{}: holds nothing: empty, or cut off at its very start", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file of another kind.
    #[error(
        "{}: begins with {magic}, which is no capture (pcap, pcapng; plain, gzip or zstd) and no Parquet file; if \
         Wireshark opens it: editcap -F pcap IN OUT",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Its first bytes, in hexadecimal.
        magic: String,
    },
    /// A table of another format.
    #[error("{}: {kind}: {advice}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// What to do.
        advice: String,
    },
    /// A file that is packed in a way that is not unpacked here.
    #[error(
        "{}: is packed by {packer}: unpack it first, or pack captures with gzip or zstd",
        path.display()
    )]
    Packed {
        /// The file.
        path: PathBuf,
        /// What packed it.
        packer: &'static str,
    },
    /// Captures and rows in one run.
    #[error(
        "{} holds Parquet rows and {} is a capture: one run reads either rows or captures",
        rows.display(), capture.display()
    )]
    Mixed {
        /// The first capture.
        capture: PathBuf,
        /// The first file of rows.
        rows: PathBuf,
    },
    /// Parquet where only a stream can be read.
    #[error("{}: Parquet cannot be read from a pipe: name the file", path.display())]
    PipedRows {
        /// The input.
        path: PathBuf,
    },
    /// A record longer than its file allows.
    #[error(
        "{}: {place} at offset {offset}: {captured} bytes captured, beyond the snap length of {snap}: \
         the file is damaged there or its snap length is wrong (--lax reads records up to 262144 bytes and else \
         the file up to there)",
        path.display()
    )]
    BeyondSnap {
        /// The file.
        path: PathBuf,
        /// The record, by its number from 1 (in pcapng the block).
        place: String,
        /// Where it begins, in bytes of the capture (after decompression).
        offset: u64,
        /// Its captured length as it says.
        captured: u32,
        /// The longest that the file allows.
        snap: u32,
    },
    /// Damage that hides whatever comes after it.
    #[error("{}: {place} at offset {offset}: {what} (--lax reads the file up to there)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The record or block, by its number from 1, or another part of the file.
        place: String,
        /// Where it begins, in bytes of the capture (after decompression).
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// An interface.
    #[error(transparent)]
    Interface(#[from] interface::InterfaceError),
    /// What is recorded on the way.
    #[error(transparent)]
    Recording(#[from] recording::RecordingError),
}
