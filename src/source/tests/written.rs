//! Captures of every form, written field by field.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A frame to write; time in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) time: u64,
    pub(super) original: u32,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn frame(time: u64, length: usize) -> Frame {
    let bytes = (0..length).map(|at| (at as u64 ^ time ^ (time >> 20)) as u8).collect();
    Frame { time, original: length as u32, bytes }
}

/// A capture as bytes, and where each frame's record or block ends.
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
    big: bool,
}

impl Written {
    pub(super) fn new(big: bool) -> Written {
        Written { bytes: Vec::new(), ends: Vec::new(), big }
    }

    fn half(&mut self, value: u16) -> &mut Written {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    pub(super) fn word(&mut self, value: u32) -> &mut Written {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// A pcapng block, padded.
    pub(super) fn block(&mut self, kind: u32, body: impl FnOnce(&mut Written)) -> &mut Written {
        let mut inner = Written::new(self.big);
        body(&mut inner);
        inner.bytes.resize(inner.bytes.len().next_multiple_of(4), 0);
        let length = inner.bytes.len() as u32 + 12;
        self.word(kind).word(length);
        self.bytes.extend(inner.bytes);
        self.word(length)
    }

    /// A section header; what follows is in this byte order.
    pub(super) fn section(&mut self, big: bool) -> &mut Written {
        self.big = big;
        self.block(0x0a0d_0d0a, |block| {
            block.word(0x1a2b_3c4d).half(1).half(0).word(u32::MAX).word(u32::MAX);
        })
    }

    /// An interface, with options given as code and bytes.
    pub(super) fn interface(&mut self, link: u16, snap: u32, options: &[(u16, &[u8])]) -> &mut Written {
        self.block(1, |block| {
            block.half(link).half(0).word(snap);
            for (code, value) in options {
                block.half(*code).half(value.len() as u16);
                block.bytes.extend_from_slice(value);
                block.bytes.resize(block.bytes.len().next_multiple_of(4), 0);
            }
            if !options.is_empty() {
                block.word(0);
            }
        })
    }

    /// An enhanced packet whose timestamp is in units of its interface.
    pub(super) fn enhanced(&mut self, interface: u32, time: u64, frame: &Frame) -> &mut Written {
        self.block(6, |block| {
            block.word(interface).word((time >> 32) as u32).word(time as u32);
            block.word(frame.bytes.len() as u32).word(frame.original);
            block.bytes.extend_from_slice(&frame.bytes);
        });
        self.end();
        self
    }

    pub(super) fn simple(&mut self, frame: &Frame) -> &mut Written {
        self.block(3, |block| {
            block.word(frame.original);
            block.bytes.extend_from_slice(&frame.bytes);
        });
        self.end();
        self
    }

    /// The old packet block.
    pub(super) fn packet(&mut self, interface: u16, time: u64, frame: &Frame) -> &mut Written {
        self.block(2, |block| {
            block.half(interface).half(7).word((time >> 32) as u32).word(time as u32);
            block.word(frame.bytes.len() as u32).word(frame.original);
            block.bytes.extend_from_slice(&frame.bytes);
        });
        self.end();
        self
    }
}

/// How a classic capture is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) big: bool,
    pub(super) nano: bool,
    pub(super) modified: bool,
    pub(super) minor: u16,
    pub(super) snap: u32,
    pub(super) link: u32,
}

pub(super) const PLAIN: Style =
    Style { big: false, nano: true, modified: false, minor: 4, snap: 65_535, link: 1 };

pub(super) fn pcap(style: Style, frames: &[Frame]) -> Written {
    let mut out = Written::new(style.big);
    out.word(match (style.modified, style.nano) {
        (true, _) => 0xa1b2_cd34,
        (false, true) => 0xa1b2_3c4d,
        (false, false) => 0xa1b2_c3d4,
    });
    out.half(2).half(style.minor).word(0).word(0).word(style.snap).word(style.link);
    for frame in frames {
        let nanoseconds = (frame.time % 1_000_000_000) as u32;
        out.word((frame.time / 1_000_000_000) as u32);
        out.word(if style.nano && !style.modified { nanoseconds } else { nanoseconds / 1000 });
        let captured = frame.bytes.len() as u32;
        let (first, second) =
            if style.minor < 3 { (frame.original, captured) } else { (captured, frame.original) };
        out.word(first).word(second);
        if style.modified {
            out.word(3).word(0x0800_0001);
        }
        out.bytes.extend_from_slice(&frame.bytes);
        out.end();
    }
    out
}

/// pcapng in nanoseconds, a section.
pub(super) fn pcapng(big: bool, frames: &[Frame]) -> Written {
    let mut out = Written::new(big);
    out.section(big).interface(1, 0, &[(9, &[9])]);
    for frame in frames {
        out.enhanced(0, frame.time, frame);
    }
    out
}

/// Bytes in so many gzip members.
pub(super) fn gzip(bytes: &[u8], members: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in bytes.chunks(bytes.len().div_ceil(members).max(1)) {
        let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    out
}

/// Bytes in so many zstd frames with a window of 2^27 bytes, behind a frame to skip.
pub(super) fn zstandard(bytes: &[u8], frames: usize) -> Vec<u8> {
    let mut out = vec![0x5d, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    for part in bytes.chunks(bytes.len().div_ceil(frames).max(1)) {
        let mut encoder = zstd::stream::write::Encoder::new(&mut out, 1).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    out
}

pub(super) fn save(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
