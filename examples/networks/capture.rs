//! Frames with their times, and what is known of them: read from captures, written to captures.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::IpAddr;
use std::path::Path;

use crate::AnyError;

/// Classic pcap, little endian, times in nanoseconds.
const MAGIC: u32 = 0xA1B2_3C4D;
const ETHERNET: u32 = 1;

/// One frame of Ethernet.
#[derive(Clone)]
pub(crate) struct Frame {
    /// Nanoseconds since the epoch.
    pub(crate) time: u64,
    /// Bytes on the wire, of which `bytes` may be the first only.
    pub(crate) length: u32,
    pub(crate) bytes: Vec<u8>,
}

/// One line of a label file.
#[derive(Clone)]
pub(crate) struct Label {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Source and destination; none where any will do.
    pub(crate) ends: [Option<IpAddr>; 2],
    /// `tcp`, `udp`, `icmp`, `arp`, or nothing where any will do.
    pub(crate) protocol: String,
    /// One of the two ports; none where any will do.
    pub(crate) port: Option<u16>,
    pub(crate) attack: String,
    pub(crate) event: String,
}

/// What is learned from, what is scored after it, and what is known of the latter. Frames stand in the order of their times.
#[derive(Clone, Default)]
pub(crate) struct Network {
    pub(crate) train: Vec<Frame>,
    pub(crate) dev: Vec<Frame>,
    pub(crate) labels: Vec<Label>,
}

impl Network {
    /// Writes `train.pcap`, `dev.pcap` and `labels.csv` into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), AnyError> {
        std::fs::create_dir_all(folder)?;
        write_frames(&self.train, &folder.join("train.pcap"))?;
        write_frames(&self.dev, &folder.join("dev.pcap"))?;
        write_labels(&self.labels, &folder.join("labels.csv"))
    }
}

/// Reads a capture as this module writes them, packed with zstd where its name says so.
pub(crate) fn read_frames(path: &Path) -> Result<Vec<Frame>, AnyError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if path.extension().is_some_and(|end| end == "zst") {
        let mut unpacked = zstd::stream::read::Decoder::new(file)?;
        unpacked.window_log_max(31)?;
        unpacked.read_to_end(&mut bytes)?;
    } else {
        std::io::BufReader::new(file).read_to_end(&mut bytes)?;
    }
    let word = |at: usize| -> Result<u32, AnyError> {
        let word = bytes.get(at..at + 4).ok_or_else(|| format!("{}: ends early", path.display()))?;
        Ok(u32::from_le_bytes(word.try_into()?))
    };
    let unit = match word(0)? {
        0xA1B2_C3D4 => 1000,
        MAGIC => 1,
        other => return Err(format!("{}: magic {other:08x} is no such pcap", path.display()).into()),
    };
    let (mut frames, mut at) = (Vec::new(), 24);
    while at < bytes.len() {
        let time = u64::from(word(at)?) * 1_000_000_000 + u64::from(word(at + 4)?) * unit;
        let (from, to) = (at + 16, at + 16 + word(at + 8)? as usize);
        let length = word(at + 12)?;
        let frame = bytes.get(from..to).ok_or_else(|| format!("{}: ends early", path.display()))?;
        frames.push(Frame { time, length, bytes: frame.to_vec() });
        at = to;
    }
    Ok(frames)
}

fn write_frames(frames: &[Frame], path: &Path) -> Result<(), AnyError> {
    let mut to = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for word in [MAGIC, 4 << 16 | 2, 0, 0, 0x4_0000, ETHERNET] {
        to.write_all(&word.to_le_bytes())?;
    }
    for frame in frames {
        let (seconds, rest) = (frame.time / 1_000_000_000, frame.time % 1_000_000_000);
        for word in [seconds as u32, rest as u32, frame.bytes.len() as u32, frame.length] {
            to.write_all(&word.to_le_bytes())?;
        }
        to.write_all(&frame.bytes)?;
    }
    to.flush()?;
    Ok(())
}

/// Reads a label file of eight columns in the order in which they are written.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<Label>, AnyError> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut labels = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let read = || -> Option<Label> {
            let [start, end, src, dst, protocol, port, attack, event] =
                line.split(',').collect::<Vec<_>>().try_into().ok()?;
            let address = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
            Some(Label {
                start: start.parse().ok()?,
                end: end.parse().ok()?,
                ends: [address(src)?, address(dst)?],
                protocol: protocol.to_owned(),
                port: if port.is_empty() { None } else { Some(port.parse().ok()?) },
                attack: attack.to_owned(),
                event: event.to_owned(),
            })
        };
        labels.push(read().ok_or_else(|| format!("{}: line {}: {line}", path.display(), number + 1))?);
    }
    Ok(labels)
}

fn write_labels(labels: &[Label], path: &Path) -> Result<(), AnyError> {
    let mut text = String::from("start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n");
    let may = |value: Option<String>| value.unwrap_or_default();
    for label in labels {
        let [src, dst] = label.ends.map(|end| may(end.map(|address| address.to_string())));
        let Label { start, end, protocol, attack, event, .. } = label;
        let port = may(label.port.map(|port| port.to_string()));
        writeln!(text, "{start},{end},{src},{dst},{protocol},{port},{attack},{event}")?;
    }
    Ok(std::fs::write(path, text)?)
}
