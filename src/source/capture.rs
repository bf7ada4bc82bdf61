//! One capture, read in blocks of whole records up to its end or its damage.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::clock::{BELIEVED, Clock};
use super::inputs::Input;
use super::pcap::{self, Pcap};
use super::pcapng::{self, Pcapng};
use super::stored::Stored;
use super::{Block, Record, SourceError};

/// Captured bytes of a record that every reader accepts, whatever the snap length (libpcap, Wireshark).
pub(super) const LONGEST: u32 = 262_144;
/// Captured bytes of a record, at most, where the snap length allows more than [`LONGEST`].
const LONGEST_ALLOWED: u32 = 16 << 20;
/// Records of a block before it may be cut short: fewer are not worth the way to a worker.
const LEAST: usize = 64;

/// Captured bytes of a record, at most.
pub(super) fn longest(snap: u32) -> u32 {
    snap.clamp(LONGEST, LONGEST_ALLOWED)
}

/// What a walk over bytes has taken so far.
pub(super) struct Taken<'a> {
    pub(super) records: &'a mut Vec<Record>,
    pub(super) clock: &'a mut Clock,
    /// Event time after which the block is long enough.
    pub(super) until: u64,
}

impl Taken<'_> {
    /// Whether the block has run far enough in event time.
    #[inline]
    pub(super) fn full(&self) -> bool {
        self.clock.newest > self.until && self.records.len() >= LEAST
    }
}

/// What ended a walk over bytes.
pub(super) enum Stop {
    /// The next record is not whole.
    More,
    /// The block has run far enough in event time.
    Full,
    /// Another capture begins, of whatever format: they were joined end to end, as `zcat *.pcap.gz` does.
    Joined,
    /// The next record cannot be read, nor what follows it.
    Damaged(Damage),
}

/// Where a walk met bytes that it cannot read.
pub(super) struct Damage {
    /// Where the record or block begins among the bytes walked over.
    pub(super) at: usize,
    pub(super) problem: Problem,
}

/// What is wrong with a record or block.
pub(super) enum Problem {
    /// It is longer than the snap length, and not to be believed.
    BeyondSnap { captured: u32, snap: u32 },
    /// What the line says.
    Other(String),
}

impl From<String> for Problem {
    fn from(what: String) -> Problem {
        Problem::Other(what)
    }
}

/// How records stand in the bytes.
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// How an input begins.
#[derive(Clone, Copy)]
pub(super) struct Beginning {
    /// Event time of its first record.
    pub(super) first: u64,
    /// The earliest event time of its first records.
    pub(super) earliest: u64,
}

impl Beginning {
    /// With a block behind those before.
    fn of(block: &Block, before: Option<Beginning>) -> Option<Beginning> {
        let times = || block.records.iter().map(|record| record.time);
        let earliest = times().chain(before.map(|before| before.earliest)).min()?;
        Some(Beginning { first: before.map_or(times().next()?, |before| before.first), earliest })
    }
}

/// An input that is being read.
pub(super) struct Capture {
    input: Input,
    number: u32,
    lax: bool,
    stored: Stored,
    /// `None` if the file ends inside its header.
    format: Option<Format>,
    /// What is read lies in front of `filled`, what is used in front of `from`.
    bytes: Vec<u8>,
    from: usize,
    filled: usize,
    /// Offset of `bytes` in the capture.
    base: u64,
    clock: Clock,
    blocks: u64,
    records: u64,
    /// No more bytes come, and why if not because all were read.
    ended: bool,
    fault: Option<SourceError>,
    /// Nothing more is taken.
    over: bool,
    /// Why not all of the file is used, in one line, if that is so.
    cut_short: Option<String>,
    ahead: Option<Block>,
}

impl Capture {
    /// Opens the input with this number. What is read is added to `read`, as stored.
    ///
    /// # Errors
    /// [`SourceError`] if it cannot be opened or is no capture.
    pub(super) fn open(
        input: &Input,
        number: u32,
        clock: Clock,
        lax: bool,
        read: Arc<AtomicU64>,
    ) -> Result<Capture, SourceError> {
        let stored = input.open(read)?;
        let (magic, cut) = (stored.magic().to_vec(), stored.cut());
        let mut capture = Capture {
            input: input.clone(),
            number,
            lax,
            stored,
            format: None,
            bytes: Vec::new(),
            from: 0,
            filled: 0,
            base: 0,
            clock,
            blocks: 0,
            records: 0,
            ended: false,
            fault: None,
            over: false,
            cut_short: None,
            ahead: None,
        };
        if pcapng::is_pcapng(&magic) {
            capture.format = Some(Format::Pcapng(Pcapng::default()));
        } else if pcap::is_pcap(&magic) {
            capture.header();
        } else if input.is_file() && (cut || lax) {
            // Used up to its damage, and that is at its very beginning.
            capture.over = true;
            capture.cut_short = Some(match cut {
                true => capture.ends_early("before it can be told what it holds"),
                false => input.refuse(&magic).to_string(),
            });
        } else {
            return Err(input.refuse(&magic));
        }
        Ok(capture)
    }

    /// Reads the header of a classic capture.
    fn header(&mut self) {
        while self.filled < pcap::HEADER && !self.ended {
            self.fill(&mut Vec::new(), 4096);
        }
        let Some(head) = self.bytes[..self.filled].first_chunk().copied() else {
            return self.close();
        };
        self.classic(head);
    }

    /// Goes on behind the header of a classic capture.
    fn classic(&mut self, head: [u8; pcap::HEADER]) {
        match Pcap::new(&head, self.lax) {
            Ok(pcap) => {
                self.format = Some(Format::Pcap(pcap));
                self.from += pcap::HEADER;
            }
            Err(what) => {
                self.fault = Some(SourceError::Damaged {
                    path: self.input.path().to_owned(),
                    place: "file header".to_owned(),
                    offset: self.base + self.from as u64,
                    what,
                });
                self.close();
            }
        }
    }

    /// Goes on with a capture that begins behind another one.
    fn join(&mut self) {
        let bytes = &self.bytes[self.from..self.filled];
        match bytes.first_chunk() {
            _ if pcapng::is_pcapng(bytes) => self.format = Some(Format::Pcapng(Pcapng::default())),
            Some(head) => self.classic(*head),
            None => self.close(),
        }
    }

    /// How it begins, by what is read ahead; `None` if there is nothing.
    ///
    /// # Errors
    /// As [`Capture::next`].
    pub(super) fn beginning_ahead(&mut self, chunk: usize) -> Result<Option<Beginning>, SourceError> {
        let mut block = Block::default();
        if !self.next(&mut block, u64::MAX, chunk)? {
            return Ok(None);
        }
        let beginning = Beginning::of(&block, None);
        self.ahead = Some(block);
        Ok(beginning)
    }

    /// How it begins, by as many records as a clock asks for to believe them; `None` if there are none. They are used up: it
    /// is asked of a file that is opened again.
    ///
    /// # Errors
    /// As [`Capture::next`].
    pub(super) fn beginning(&mut self, chunk: usize) -> Result<Option<Beginning>, SourceError> {
        let (mut block, mut beginning, mut count) = (Block::default(), None, 0);
        while count < BELIEVED as usize {
            match self.next(&mut block, u64::MAX, chunk) {
                Ok(true) => {}
                Err(error) if count == 0 => return Err(error),
                // What is damaged behind is met again when it is read.
                Ok(false) | Err(_) => break,
            }
            count += block.records.len();
            beginning = Beginning::of(&block, beginning);
        }
        Ok(beginning)
    }

    /// The same as the input with another number.
    pub(super) fn numbered(mut self, number: u32) -> Capture {
        self.number = number;
        self.ahead.iter_mut().for_each(|block| block.input = number);
        self
    }

    /// No record to come has an event time below this.
    pub(super) fn watermark(&self) -> u64 {
        self.clock.watermark()
    }

    /// The newest event time handed out.
    pub(super) fn newest(&self) -> u64 {
        self.clock.last()
    }

    /// At the end: until when the input was watched, the newest event time where it does not say.
    pub(super) fn watched_until(&self) -> u64 {
        let said = match &self.format {
            Some(Format::Pcap(pcap)) if self.cut_short.is_none() => pcap.watched_until(self.clock.last()),
            _ => None,
        };
        said.unwrap_or(self.clock.last())
    }

    /// Late records since the last call.
    pub(super) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.clock.late)
    }

    /// If the file was used only up to where it is cut off or damaged: why, in one line.
    pub(super) fn cut_short(&self) -> Option<&str> {
        self.cut_short.as_deref()
    }

    /// Fills `block` with records up to about the event time `until`, reading so many bytes at a time.
    /// `false` at the end.
    ///
    /// # Errors
    /// [`SourceError`] after all records before the damage were handed out.
    pub(super) fn next(&mut self, block: &mut Block, until: u64, chunk: usize) -> Result<bool, SourceError> {
        if let Some(ahead) = self.ahead.take() {
            *block = ahead;
            return Ok(true);
        }
        block.records.clear();
        while !self.over {
            let start = self.from;
            let mut taken = Taken { records: &mut block.records, clock: &mut self.clock, until };
            let bytes = &self.bytes[..self.filled];
            let stop = match &mut self.format {
                Some(Format::Pcap(pcap)) => pcap.walk(bytes, &mut self.from, self.ended, &mut taken),
                Some(Format::Pcapng(pcapng)) => pcapng.walk(bytes, &mut self.from, &mut taken),
                None => Stop::More,
            };
            match stop {
                Stop::Full => {
                    self.copy_out(block, start);
                    return Ok(true);
                }
                Stop::More if !self.ended => {
                    if block.records.is_empty() {
                        self.fill(&mut block.bytes, chunk);
                        continue;
                    }
                }
                Stop::More => self.close(),
                Stop::Joined if block.records.is_empty() => {
                    self.join();
                    continue;
                }
                // It begins when these are handed out.
                Stop::Joined => {}
                Stop::Damaged(damage) => {
                    let records = self.records + block.records.len() as u64;
                    self.fault = Some(self.error(damage, records));
                    self.close();
                }
            }
            if !block.records.is_empty() {
                self.swap_out(block);
                return Ok(true);
            }
        }
        self.fault.take().map_or(Ok(false), Err)
    }

    /// Takes nothing more: at the end, or at damage if there is a fault.
    fn close(&mut self) {
        self.over = true;
        if self.lax && self.fault.as_ref().is_some_and(|fault| !matches!(fault, SourceError::Io { .. })) {
            self.cut_short = self.fault.take().map(|fault| match fault {
                SourceError::Damaged { path, place, offset, what } => {
                    format!("{}: {place} at offset {offset}: {what}; used up to there", path.display())
                }
                SourceError::BeyondSnap { path, place, offset, captured, .. } => format!(
                    "{}: {place} at offset {offset}: {captured} bytes captured, which no frame has; used up to there",
                    path.display()
                ),
                fault => fault.to_string(),
            });
        }
        if self.fault.is_none() && self.cut_short.is_none() && self.from < self.filled {
            let offset = self.base + self.from as u64;
            self.cut_short = Some(self.ends_early(&format!("inside what begins at offset {offset}")));
        }
    }

    fn ends_early(&self, place: &str) -> String {
        format!("{}: ends {place}", self.input.path().display())
    }

    fn error(&self, damage: Damage, records: u64) -> SourceError {
        let path = self.input.path().to_owned();
        let offset = self.base + damage.at as u64;
        let place = match &self.format {
            Some(Format::Pcapng(pcapng)) => format!("block {}", pcapng.block()),
            _ => format!("record {}", records + 1),
        };
        match damage.problem {
            Problem::BeyondSnap { captured, snap } => {
                SourceError::BeyondSnap { path, place, offset, captured, snap }
            }
            Problem::Other(what) => SourceError::Damaged { path, place, offset, what },
        }
    }

    /// Reads on behind what is not used yet. Nothing may point into `bytes`, nor into `spare`: of the two
    /// the larger is read into, so that a buffer goes to and fro with its block and stays in the cache.
    fn fill(&mut self, spare: &mut Vec<u8>, chunk: usize) {
        let rest = self.from..self.filled;
        if spare.len() > self.bytes.len() {
            spare[..rest.len()].copy_from_slice(&self.bytes[rest]);
            std::mem::swap(&mut self.bytes, spare);
        } else {
            self.bytes.copy_within(rest, 0);
        }
        self.base += self.from as u64;
        self.filled -= self.from;
        self.from = 0;
        let end = self.filled + chunk;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        while self.filled < end && !self.ended {
            match self.stored.read(&mut self.bytes[self.filled..end]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.filled += count,
                Err(error) => {
                    self.ended = true;
                    self.stopped(error);
                }
            }
            // What comes through a pipe is not waited for once there is something.
            if !self.input.is_file() {
                break;
            }
        }
    }

    /// The bytes end early.
    fn stopped(&mut self, error: std::io::Error) {
        if error.kind() == ErrorKind::UnexpectedEof {
            let offset = self.base + self.filled as u64;
            self.cut_short = Some(
                self.ends_early(&format!("inside its compressed data, after {offset} bytes of content")),
            );
            return;
        }
        let path = self.input.path().to_owned();
        self.fault = Some(if error.raw_os_error().is_some() {
            SourceError::Io { path, source: error }
        } else {
            SourceError::Damaged {
                path,
                place: "compressed data".to_owned(),
                offset: self.base + self.filled as u64,
                what: error.to_string().lines().next().unwrap_or("").to_owned(),
            }
        });
    }

    /// Gives the block the buffer as it is, and keeps what is not used yet in the block's.
    fn swap_out(&mut self, block: &mut Block) {
        std::mem::swap(&mut block.bytes, &mut self.bytes);
        let rest = &block.bytes[self.from..self.filled];
        if self.bytes.len() < rest.len() {
            self.bytes.resize(rest.len(), 0);
        }
        self.bytes[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
        self.base += self.from as u64;
        self.from = 0;
        self.number(block);
    }

    /// Gives the block a copy of what its records need and keeps the buffer.
    fn copy_out(&mut self, block: &mut Block, start: usize) {
        let used = &self.bytes[start..self.from];
        if block.bytes.len() < used.len() {
            block.bytes.resize(used.len(), 0);
        }
        block.bytes[..used.len()].copy_from_slice(used);
        block.records.iter_mut().for_each(|record| record.at -= start as u32);
        self.number(block);
    }

    fn number(&mut self, block: &mut Block) {
        block.input = self.number;
        block.number = self.blocks;
        block.first_record = self.records;
        self.blocks += 1;
        self.records += block.records.len() as u64;
    }
}
