//! A file's bytes as they were before they were stored: plain, gzip of any number of members, zstd of any
//! number of frames.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Error, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use flate2::bufread::GzDecoder;

use super::ahead::Ahead;

/// Compressed bytes read at a time.
const BUFFER: usize = 64 << 10;
/// Base 2 logarithm of the largest zstd window: what `zstd --long=27` writes and `zstd -d` reads unasked.
const WINDOW_LOG: u32 = 27;

/// Decompressed bytes that are read here before a thread reads on: many files are only looked into.
const HERE: usize = 64 << 10;

/// The bytes of an input, decompressed, in order.
pub(super) struct Stored {
    reader: Box<dyn Read + Send>,
    /// Bytes that are still read here where they are compressed; `None` where they are not, or a thread reads on.
    here: Option<usize>,
    head: Vec<u8>,
    cut: bool,
}

impl Stored {
    /// Opens a file. What is read from it is added to `read`, as stored.
    pub(super) fn open(path: &Path, read: Arc<AtomicU64>) -> Result<Stored, Error> {
        Stored::new(Box::new(File::open(path)?), read)
    }

    /// Reads from anything.
    pub(super) fn new(reader: Box<dyn Read + Send>, read: Arc<AtomicU64>) -> Result<Stored, Error> {
        let mut reader = Counted { reader, read };
        let (magic, cut) = beginning(&mut reader)?;
        let whole = Cursor::new(magic.clone()).chain(reader);
        let mut here = Some(HERE);
        let reader: Box<dyn Read + Send> = match magic[..] {
            [0x1f, 0x8b, ..] => Box::new(Members::new(BufReader::with_capacity(BUFFER, whole))),
            // The second is a frame to skip, with which seekable and parallel archives begin.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                let mut frames =
                    zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, whole))?;
                frames.window_log_max(WINDOW_LOG)?;
                Box::new(Frames(frames))
            }
            _ => {
                here = None;
                Box::new(whole)
            }
        };
        let mut stored = Stored { reader, here, head: Vec::new(), cut };
        (stored.head, stored.cut) = beginning(&mut stored.reader)?;
        Ok(stored)
    }

    /// The first four bytes, fewer if there are no more.
    pub(super) fn magic(&self) -> &[u8] {
        &self.head
    }

    /// Whether it is compressed and cut off before there are four bytes.
    pub(super) fn cut(&self) -> bool {
        self.cut
    }
}

impl Read for Stored {
    /// As [`Read::read`]; [`ErrorKind::UnexpectedEof`] where a compressed stream is cut off.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if !self.head.is_empty() {
            let count = self.head.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.head[..count]);
            self.head.drain(..count);
            return Ok(count);
        }
        if self.cut {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if self.here == Some(0) {
            self.here = None;
            let reader = std::mem::replace(&mut self.reader, Box::new(std::io::empty()));
            self.reader = match Ahead::new(reader) {
                Ok(ahead) => Box::new(ahead),
                Err(reader) => reader,
            };
        }
        loop {
            match self.reader.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => {
                    if let (Some(here), Ok(count)) = (&mut self.here, &read) {
                        *here = here.saturating_sub(*count);
                    }
                    return read;
                }
            }
        }
    }
}

/// Up to four bytes, and whether the stream is cut off after them.
fn beginning(reader: &mut dyn Read) -> Result<(Vec<u8>, bool), Error> {
    let mut head = Vec::with_capacity(4);
    match reader.take(4).read_to_end(&mut head) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok((head, true)),
        other => other.map(|_| (head, false)),
    }
}

/// Counts what is read.
struct Counted {
    reader: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = self.reader.read(buffer)?;
        self.read.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

/// The members of a gzip file, one after another (RFC 1952, 2.2).
struct Members<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    fn new(reader: R) -> Members<R> {
        Members { member: Some(GzDecoder::new(reader)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            let mut rest = self.member.take().expect("it was just read from").into_inner();
            match rest.fill_buf()?.first() {
                // Zeros fill up the last block of a tape; gzip passes over them, too.
                None | Some(0) => {}
                Some(0x1f) => self.member = Some(GzDecoder::new(rest)),
                Some(_) => {
                    let what = "other bytes follow the last gzip member";
                    return Err(Error::new(ErrorKind::InvalidData, what));
                }
            }
        }
        Ok(0)
    }
}

/// The frames of a zstd file.
struct Frames<R: BufRead>(zstd::stream::read::Decoder<'static, R>);

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.0.read(buffer).map_err(|error| {
            if !error.to_string().contains("too much memory") {
                return error;
            }
            Error::other("its zstd window is beyond 128 MiB: pack it again with `zstd --long=27` at most")
        })
    }
}
