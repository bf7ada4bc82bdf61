//! Frames with their times, and what is known of them: read from captures, written to captures.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::fs::File;
use std::io::{BufWriter, Read};
use std::net::IpAddr;
use std::path::Path;

use pcap_file::pcap::{PcapHeader, PcapReader, PcapTsResolution, PcapWriter, RawPcapPacket};
use pcap_file::{DataLink, Endianness};

use crate::AnyError;

const SECOND: u64 = 1_000_000_000;
/// Bytes that are read or written at once.
const BUFFER: usize = 1 << 20;

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

/// Reads a classic pcap, packed with zstd where its name says so.
pub(crate) fn read_frames(path: &Path) -> Result<Vec<Frame>, AnyError> {
    let named = |error: &dyn Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| named(&error))?;
    let bytes: Box<dyn Read> = if path.extension().is_some_and(|end| end == "zst") {
        let mut unpacked = zstd::stream::read::Decoder::new(file)?;
        unpacked.window_log_max(31)?;
        Box::new(unpacked)
    } else {
        Box::new(file)
    };
    let mut reader = PcapReader::with_capacity(bytes, BUFFER).map_err(|error| named(&error))?;
    let unit = match reader.header().ts_resolution {
        PcapTsResolution::MicroSecond => 1000,
        PcapTsResolution::NanoSecond => 1,
    };
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet.map_err(|error| named(&error))?;
        let time = u64::from(packet.ts_sec) * SECOND + u64::from(packet.ts_frac) * unit;
        frames.push(Frame { time, length: packet.orig_len, bytes: packet.data.into_owned() });
    }
    Ok(frames)
}

fn write_frames(frames: &[Frame], path: &Path) -> Result<(), AnyError> {
    let to = BufWriter::with_capacity(BUFFER, File::create(path)?);
    let header = PcapHeader {
        snaplen: 1 << 18,
        datalink: DataLink::ETHERNET,
        ts_resolution: PcapTsResolution::NanoSecond,
        endianness: Endianness::Little,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(to, header)?;
    for frame in frames {
        writer.write_raw_packet(&RawPcapPacket {
            ts_sec: (frame.time / SECOND) as u32,
            ts_frac: (frame.time % SECOND) as u32,
            incl_len: frame.bytes.len() as u32,
            orig_len: frame.length,
            data: Cow::Borrowed(&frame.bytes),
        })?;
    }
    Ok(writer.flush()?)
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
