//! Captures merged by event time: what a run over files reads.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::capture::{Beginning, Capture};
use super::clock::Clock;
use super::inputs::Input;
use super::piped::{Piece, Piped};
use super::{Block, Feed, FeedCounts, Next, SourceError, SourceSpec};

/// Bytes read at a time: a block fits the second-level cache together with the packets made from it.
const CHUNK: usize = 512 << 10;
/// Bytes read at a time if very many inputs are open.
const LEAST_CHUNK: usize = 32 << 10;
/// Bytes that all open inputs hold together, about.
const HELD: usize = 64 << 20;
/// Bytes of a block of a pipe, which gives no more at a time, and more than one of which is under way.
const PIPED_CHUNK: usize = 128 << 10;
/// Bytes read at a time to find the first record.
const AHEAD_CHUNK: usize = 4096;
/// Nanoseconds of event time that a block may run past what the other inputs have reached.
const PAST: u64 = 1_000_000_000;
/// 1980-01-01, in nanoseconds since the Unix epoch: before it no packet was captured that anybody still has.
const FIRST_CAPTURES: u64 = 315_532_800_000_000_000;
/// Nanoseconds of event time of a block, about: what has a record every other minute must not send thousands of
/// windows on their way at once.
const SPAN: u64 = 10_000_000_000;

/// An input, ordered by what it can still give: the earliest, then the first given.
struct Turn {
    watermark: u64,
    number: u32,
    state: State,
}

enum State {
    /// To be opened; event time of its first record.
    Waiting(u64),
    Open(Box<Capture>),
    Piped(Piped),
}

impl Turn {
    fn order(&self) -> Reverse<(u64, u32)> {
        Reverse((self.watermark, self.number))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Turn) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Turn {}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Turn) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// Capture files and standard input, merged by event time.
///
/// The next block is always of the input that is furthest behind, and a file is opened when that is its
/// turn: files that follow each other in time are open one at a time, however many they are.
///
/// A capture split into files comes out as the whole. One exception lies in what
/// `lateness` means: an input knows no time but its own, so a record that is late only against the file
/// before it is not late in its own.
pub struct Captures {
    inputs: Vec<Input>,
    turns: BinaryHeap<Turn>,
    pub(super) open: usize,
    lateness: u64,
    lax: bool,
    newest: u64,
    read: Arc<AtomicU64>,
    counts: FeedCounts,
    /// Why which input was not used to its end.
    cut_short: BTreeMap<u32, String>,
}

/// An input whose first records were looked at.
struct Begun {
    input: Input,
    /// How it begins, if there are any.
    beginning: Option<Beginning>,
    /// Why there are none.
    cut_short: Option<String>,
    /// What is read on, as it cannot be opened again.
    pipe: Option<Capture>,
}

impl Captures {
    /// Reads the first records of each input; inputs have the numbers of the order in which they begin, as given where
    /// that is the same. Of `spec` it takes `lateness` and `lax`.
    ///
    /// # Errors
    /// [`SourceError`] if an input cannot be opened, is no capture, or is damaged before its first record.
    pub fn open(inputs: Vec<Input>, spec: &SourceSpec) -> Result<Captures, SourceError> {
        let lateness = u64::try_from(spec.lateness.as_nanos()).unwrap_or(u64::MAX);
        let sizes: Option<u64> = inputs.iter().map(Input::size).sum();
        let mut captures = Captures {
            turns: BinaryHeap::with_capacity(inputs.len()),
            open: 0,
            lateness,
            lax: spec.lax,
            newest: 0,
            read: Arc::default(),
            counts: FeedCounts { bytes_total: sizes.unwrap_or(0), ..FeedCounts::default() },
            cut_short: BTreeMap::new(),
            inputs: Vec::with_capacity(inputs.len()),
        };
        let pipes = inputs.iter().filter(|input| !input.is_file()).count();
        let piped_chunk = (HELD / Piped::UNDER_WAY / pipes.max(1)).clamp(LEAST_CHUNK, PIPED_CHUNK);
        let mut begun = Vec::with_capacity(inputs.len());
        for (number, input) in (0..).zip(inputs) {
            // A file is opened again when its time comes; a pipe can be read only once.
            let file = input.is_file();
            let (read, chunk) =
                if file { (Arc::default(), AHEAD_CHUNK) } else { (captures.read.clone(), piped_chunk) };
            let mut capture = Capture::open(&input, number, Clock::new(lateness), spec.lax, read)?;
            let beginning = match file {
                true => capture.beginning(chunk)?,
                false => capture.beginning_ahead(chunk)?,
            };
            let cut_short = capture.cut_short().filter(|_| beginning.is_none()).map(str::to_owned);
            begun.push(Begun { input, beginning, cut_short, pipe: Some(capture).filter(|_| !file) });
        }
        // Packets of one time go in the order of inputs. Names of a capture that was split need not be in the order of
        // their files.
        begun.sort_by_key(|begun| begun.beginning.map_or(u64::MAX, |beginning| beginning.first));
        for (number, Begun { input, beginning, cut_short, pipe }) in (0..).zip(begun) {
            if let Some(Beginning { earliest: first, .. }) = beginning {
                captures.counts.undated += u64::from(first < FIRST_CAPTURES);
                let (watermark, state) = match pipe {
                    None => (first.saturating_sub(lateness), State::Waiting(first)),
                    // What comes next may be earlier: its first records do not say what time it is yet.
                    Some(capture) => {
                        captures.open += 1;
                        let watermark = first.min(capture.watermark());
                        let ahead = lateness.saturating_add(SPAN);
                        let piped = Piped::read(capture.numbered(number), ahead, piped_chunk, input.path());
                        let path = input.path().to_owned();
                        let no_thread =
                            |error| SourceError::Io { path, source: std::io::Error::other(error) };
                        (watermark, State::Piped(piped.map_err(no_thread)?))
                    }
                };
                captures.turns.push(Turn { watermark, number, state });
            } else {
                captures.cut_short.extend(cut_short.map(|why| (number, why)));
                captures.counts.bytes_read += input.size().unwrap_or(0);
            }
            captures.inputs.push(input);
        }
        Ok(captures)
    }

    /// Whether an input is none that can be opened again.
    #[cfg(test)]
    pub(super) fn has_pipes(&self) -> bool {
        self.inputs.iter().any(|input| !input.is_file())
    }

    /// What inputs are called in messages, by number.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.inputs.iter().map(|input| input.path().to_owned()).collect()
    }
}

impl Captures {
    /// What a pipe gives whose turn it is; it is there again unless it ended.
    fn piped(
        &mut self,
        mut piped: Piped,
        watermark: u64,
        number: u32,
        block: &mut Block,
    ) -> Result<Next, SourceError> {
        let (watermark, next) = match piped.next(block)? {
            None => (watermark, Next::Idle),
            Some(Piece::Block { block: read, watermark: reached, newest, late }) => {
                *block = read;
                self.counts.frames += block.records.len() as u64;
                self.counts.late += late;
                self.newest = self.newest.max(newest);
                (watermark.max(reached), Next::Block)
            }
            Some(Piece::End { watched_until, late, cut_short }) => {
                self.open -= 1;
                self.counts.late += late;
                self.newest = self.newest.max(watched_until);
                self.cut_short.extend(cut_short.map(|why| (number, why)));
                return Ok(Next::End);
            }
        };
        self.turns.push(Turn { watermark, number, state: State::Piped(piped) });
        Ok(next)
    }
}

impl Feed for Captures {
    fn frontier(&self) -> u64 {
        self.turns.peek().map_or(u64::MAX, |turn| turn.watermark)
    }

    fn newest(&self) -> u64 {
        self.newest
    }

    fn next(&mut self, block: &mut Block) -> Result<Next, SourceError> {
        while let Some(Turn { watermark, number, state }) = self.turns.pop() {
            let mut capture = match state {
                State::Piped(piped) => match self.piped(piped, watermark, number, block)? {
                    Next::End => continue,
                    next => return Ok(next),
                },
                State::Open(capture) => capture,
                State::Waiting(first) => {
                    self.open += 1;
                    // It holds what was promised of the file even if that has changed since.
                    let clock = Clock::again(first, self.lateness);
                    let input = &self.inputs[number as usize];
                    Box::new(Capture::open(input, number, clock, self.lax, self.read.clone())?)
                }
            };
            let reached = |watermark: u64| watermark.saturating_add(self.lateness);
            let others =
                self.turns.peek().map_or(u64::MAX, |next| reached(next.watermark).saturating_add(PAST));
            let until = others.min(reached(watermark).saturating_add(SPAN));
            let chunk = (HELD / self.open).clamp(LEAST_CHUNK, CHUNK);
            let more = capture.next(block, until, chunk)?;
            self.counts.late += capture.take_late();
            if !more {
                self.open -= 1;
                self.newest = self.newest.max(capture.watched_until());
                self.cut_short.extend(capture.cut_short().map(|why| (number, why.to_owned())));
                continue;
            }
            self.counts.frames += block.records.len() as u64;
            self.newest = self.newest.max(capture.newest());
            let watermark = watermark.max(capture.watermark());
            self.turns.push(Turn { watermark, number, state: State::Open(capture) });
            return Ok(Next::Block);
        }
        Ok(Next::End)
    }

    fn counts(&self) -> FeedCounts {
        FeedCounts {
            bytes_read: self.counts.bytes_read + self.read.load(Relaxed),
            truncated_files: self.cut_short.len() as u64,
            ..self.counts
        }
    }

    fn cut_short(&self) -> Vec<String> {
        self.cut_short.values().cloned().collect()
    }
}
