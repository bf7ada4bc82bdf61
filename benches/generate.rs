//! Captures of made-up traffic, sized by arguments and the same for the same seed: what measurements are made on.
//!
//! Classic pcap with nanoseconds, Ethernet, frames whole. A tenth of the flows speaks IPv6. Everything is written
//! as it is made: memory holds what a flow must remember, never the packets.

use std::io::{self, Write};

/// Where event time begins: a multiple of ten seconds.
const EPOCH: u64 = 1_700_000_000;
const SECOND: u64 = 1_000_000_000;
/// Longest frame with its record header.
const LONGEST: usize = 16 + 1514;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// What the packets of a capture are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Workload {
    /// A: frames of 80 bytes, each of any of `flows` flows, in either direction: every packet misses every cache.
    /// Four fifths TCP, the rest UDP.
    Scattered {
        /// Distinct flows.
        flows: u64,
    },
    /// B: flows of 1 to 46 packets with begin and end, about a thousand at a time, in bursts of 1 to 16; frames of
    /// 531 bytes in the mean. Four fifths TCP, the rest UDP.
    Mixed,
    /// E: as B, between hosts that mostly go to their few servers, and now and then outside: what a network of so many
    /// hosts teaches.
    Office {
        /// Distinct hosts.
        hosts: u64,
    },
    /// C: a few transfers that never end: full segments, every third packet an acknowledgement.
    Heavy {
        /// Distinct flows.
        flows: u64,
    },
    /// D: one host sends SYNs of 54 bytes, each to another (address, port); a tenth is answered by a reset.
    Scan,
}

/// How much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    /// Frames.
    pub(crate) packets: u64,
    /// Seconds of event time that they are spread over, evenly.
    pub(crate) seconds: u64,
    /// Chooses everything that is random.
    pub(crate) seed: u64,
}

/// Writes a capture; `to` should be buffered. Returns the bytes written.
///
/// # Errors
/// Whatever keeps `to` from taking them.
pub(crate) fn write(workload: Workload, size: Size, to: &mut impl Write) -> io::Result<u64> {
    let mut writer = Writer::new(size, to)?;
    match workload {
        Workload::Scattered { flows } => scattered(&mut writer, flows.max(1))?,
        Workload::Mixed => mixed(&mut writer, Ends::of)?,
        Workload::Office { hosts } => mixed(&mut writer, |number| Ends::in_office(hosts.max(1), number))?,
        Workload::Heavy { flows } => heavy(&mut writer, flows.max(1))?,
        Workload::Scan => scan(&mut writer)?,
    }
    Ok(writer.bytes)
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed_bits(self.0)
    }

    /// A number of 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }
}

/// What SplitMix64 makes of its state, also a hash of flow numbers.
fn mixed_bits(seed: u64) -> u64 {
    let z = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The ends of a flow.
#[derive(Clone, Copy)]
struct Ends {
    v6: bool,
    tcp: bool,
    client: u32,
    server: u32,
    client_port: u16,
    server_port: u16,
}

impl Ends {
    /// The ends of flow `number`, always the same ones. Numbers below 2^32 have ends of their own.
    fn of(number: u64) -> Ends {
        const PORTS: [u16; 8] = [443, 443, 443, 80, 22, 53, 8080, 5432];
        let bits = mixed_bits(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Ends {
            v6: bits.is_multiple_of(10),
            tcp: !(bits >> 8).is_multiple_of(5),
            // 10.0.0.0/8, and the rest of the number in the port.
            client: 0x0A00_0000 | (number as u32 & 0x00FF_FFFF),
            server: 0xC000_0000 | (bits >> 32) as u32 & 0x00FF_FFFF,
            client_port: 32_768 + (number >> 24) as u16 % 28_000,
            server_port: PORTS[(bits >> 16) as usize % PORTS.len()],
        }
    }

    /// The ends of flow `number` in an office: four fifths go to one of the five of forty servers that the host
    /// prefers, each of one service, the rest to one of 5,000 addresses outside.
    fn in_office(hosts: u64, number: u64) -> Ends {
        const PORTS: [u16; 8] = [443, 443, 80, 22, 53, 445, 5432, 8080];
        let bits = mixed_bits(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let host = (bits >> 20) % hosts;
        let (server, server_port) = match bits % 5 {
            0 => (0xC000_0000 | ((bits >> 8) % 5000) as u32, PORTS[0]),
            _ => {
                let server = mixed_bits((host << 8) | ((bits >> 40) % 5)) % 40;
                (0x0AFF_0000 | server as u32, PORTS[server as usize % PORTS.len()])
            }
        };
        Ends {
            v6: false,
            tcp: server_port != 53,
            client: 0x0A00_0000 | host as u32,
            server,
            client_port: 32_768 + number as u16 % 28_000,
            server_port,
        }
    }

    fn headers(&self) -> usize {
        14 + if self.v6 { 40 } else { 20 } + if self.tcp { 20 } else { 8 }
    }
}

/// What a TCP segment says.
#[derive(Clone, Copy, Default)]
struct Segment {
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
}

/// Makes records and gives them event times.
struct Writer<'w, W> {
    to: &'w mut W,
    packets: u64,
    written: u64,
    /// Event time of the next frame and between frames, in nanoseconds; the latter with 32 binary places.
    time: u64,
    step: u64,
    random: SplitMix,
    bytes: u64,
    record: [u8; LONGEST],
}

impl<'w, W: Write> Writer<'w, W> {
    fn new(size: Size, to: &'w mut W) -> io::Result<Self> {
        for word in [0xA1B2_3C4Du32, 0x0004_0002, 0, 0, 65_535, 1] {
            to.write_all(&word.to_le_bytes())?;
        }
        Ok(Writer {
            to,
            packets: size.packets,
            written: 0,
            time: 0,
            step: ((u128::from(size.seconds * SECOND) << 32) / u128::from(size.packets.max(1))) as u64,
            random: SplitMix(size.seed),
            bytes: 24,
            record: [0; LONGEST],
        })
    }

    fn random(&mut self) -> u64 {
        self.random.bits()
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    fn full(&self) -> bool {
        self.written == self.packets
    }

    /// Writes a frame of `length` bytes (more if its headers need them), unless all were written.
    #[inline]
    fn frame(&mut self, ends: &Ends, from_client: bool, segment: Segment, length: usize) -> io::Result<()> {
        if self.full() {
            return Ok(());
        }
        let length = length.max(ends.headers());
        let nanoseconds = ((u128::from(self.written) * u128::from(self.step)) >> 32) as u64;
        self.time = EPOCH * SECOND + nanoseconds;
        let record = &mut self.record[..16 + length];
        let word = |value: u64| (value as u32).to_le_bytes();
        record[0..4].copy_from_slice(&word(self.time / SECOND));
        record[4..8].copy_from_slice(&word(self.time % SECOND));
        record[8..12].copy_from_slice(&word(length as u64));
        record[12..16].copy_from_slice(&word(length as u64));
        let frame = &mut record[16..];
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
        let ((src, src_port), (dst, dst_port)) = match from_client {
            true => ((ends.client, ends.client_port), (ends.server, ends.server_port)),
            false => ((ends.server, ends.server_port), (ends.client, ends.client_port)),
        };
        let protocol = if ends.tcp { 6 } else { 17 };
        let body = if ends.v6 {
            frame[12..14].copy_from_slice(&[0x86, 0xDD]);
            frame[14..18].copy_from_slice(&[0x60, 0, 0, 0]);
            frame[18..20].copy_from_slice(&((length - 54) as u16).to_be_bytes());
            frame[20..22].copy_from_slice(&[protocol, 64]);
            for (at, address) in [(22, src), (38, dst)] {
                frame[at..at + 12].copy_from_slice(&[0xFD, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
                frame[at + 12..at + 16].copy_from_slice(&address.to_be_bytes());
            }
            &mut frame[54..]
        } else {
            frame[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0]);
            frame[16..18].copy_from_slice(&((length - 14) as u16).to_be_bytes());
            frame[18..26].copy_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
            frame[26..30].copy_from_slice(&src.to_be_bytes());
            frame[30..34].copy_from_slice(&dst.to_be_bytes());
            &mut frame[34..]
        };
        body[0..2].copy_from_slice(&src_port.to_be_bytes());
        body[2..4].copy_from_slice(&dst_port.to_be_bytes());
        if ends.tcp {
            body[4..8].copy_from_slice(&segment.sequence.to_be_bytes());
            body[8..12].copy_from_slice(&segment.acknowledgement.to_be_bytes());
            body[12..20].copy_from_slice(&[0x50, segment.flags, 0xFA, 0xF0, 0, 0, 0, 0]);
        } else {
            let datagram = body.len() as u16;
            body[4..6].copy_from_slice(&datagram.to_be_bytes());
            body[6..8].copy_from_slice(&[0, 0]);
        }
        self.to.write_all(&self.record[..16 + length])?;
        self.written += 1;
        self.bytes += 16 + length as u64;
        Ok(())
    }
}

fn scattered<W: Write>(writer: &mut Writer<'_, W>, flows: u64) -> io::Result<()> {
    while !writer.full() {
        let ends = Ends::of(writer.below(flows));
        let from_client = writer.random() & 1 == 0;
        let sequence = writer.written as u32;
        writer.frame(&ends, from_client, Segment { sequence, acknowledgement: 1, flags: ACK }, 80)?;
    }
    Ok(())
}

/// A flow under way.
struct Talk {
    ends: Ends,
    sent: u64,
    /// Packets in all.
    total: u64,
    /// Next sequence numbers of client and server.
    next: [u32; 2],
}

impl Talk {
    fn new<W: Write>(writer: &mut Writer<'_, W>, ends: Ends) -> Talk {
        let next = [writer.random() as u32, writer.random() as u32];
        Talk { ends, sent: 0, total: 1 + writer.below(46), next }
    }

    /// The flags of the next packet, and the side that sends it (0 client): a handshake, data, a close.
    fn turn(&self, coin: usize) -> (u8, usize) {
        match (self.sent, self.total - self.sent) {
            (0, _) => (SYN, 0),
            (1, _) => (SYN | ACK, 1),
            (2, _) => (ACK, 0),
            (_, 3) => (FIN | ACK, 0),
            (_, 2) => (FIN | ACK, 1),
            (_, 1) => (ACK, 0),
            _ => (ACK | PSH, coin),
        }
    }
}

fn mixed<W: Write>(writer: &mut Writer<'_, W>, ends_of: impl Fn(u64) -> Ends) -> io::Result<()> {
    let mut begun = 0;
    let mut talks = Vec::new();
    while talks.len() < 1000 {
        talks.push(Talk::new(writer, ends_of(begun)));
        begun += 1;
    }
    while !writer.full() {
        let which = writer.below(talks.len() as u64) as usize;
        for _ in 0..1 + writer.below(16) {
            let coin = (writer.random() & 1) as usize;
            // In the mean 531 bytes, with what small ones grow by for their headers.
            let length = match writer.below(100) {
                0..51 => 66,
                51..66 => 100 + writer.below(600) as usize,
                _ => 1490,
            };
            let talk = &mut talks[which];
            let (flags, by) = if talk.ends.tcp { talk.turn(coin) } else { (0, coin) };
            let length = if flags & (SYN | FIN) != 0 { 66 } else { length };
            let payload = length.max(talk.ends.headers()) - talk.ends.headers();
            let acknowledgement = if flags & ACK != 0 { talk.next[1 - by] } else { 0 };
            let segment = Segment { sequence: talk.next[by], acknowledgement, flags };
            let control = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
            talk.next[by] = talk.next[by].wrapping_add(payload as u32 + control);
            talk.sent += 1;
            let (ends, over) = (talk.ends, talk.sent == talk.total);
            writer.frame(&ends, by == 0, segment, length)?;
            if over {
                talks[which] = Talk::new(writer, ends_of(begun));
                begun += 1;
                break;
            }
        }
    }
    Ok(())
}

fn heavy<W: Write>(writer: &mut Writer<'_, W>, flows: u64) -> io::Result<()> {
    const SEGMENT: u32 = 1440;
    let mut sent = vec![0u32; flows as usize];
    while !writer.full() {
        let which = writer.below(flows);
        let ends = Ends { tcp: true, ..Ends::of(which) };
        for _ in 0..2 {
            let sequence = sent[which as usize];
            sent[which as usize] = sequence.wrapping_add(SEGMENT);
            let segment = Segment { sequence, acknowledgement: 1, flags: ACK };
            writer.frame(&ends, false, segment, ends.headers() + SEGMENT as usize)?;
        }
        let acknowledgement = sent[which as usize];
        writer.frame(&ends, true, Segment { sequence: 1, acknowledgement, flags: ACK }, 66)?;
    }
    Ok(())
}

fn scan<W: Write>(writer: &mut Writer<'_, W>) -> io::Result<()> {
    let mut target = 0u64;
    while !writer.full() {
        let ends = Ends {
            v6: false,
            tcp: true,
            client: 0xC633_6401,
            server: 0x0A00_0000 | (target / 1000) as u32 & 0x00FF_FFFF,
            client_port: 40_000,
            server_port: 1 + (target % 1000) as u16,
        };
        target += 1;
        let sequence = writer.random() as u32;
        writer.frame(&ends, true, Segment { sequence, acknowledgement: 0, flags: SYN }, 54)?;
        if writer.below(10) == 0 {
            let acknowledgement = sequence.wrapping_add(1);
            writer.frame(&ends, false, Segment { sequence: 0, acknowledgement, flags: RST | ACK }, 54)?;
        }
    }
    Ok(())
}
