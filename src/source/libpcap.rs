//! Interfaces through libpcap or Npcap (cargo feature `pcap`), for what packet sockets do not reach.

use pcap::{Active, Capture, Device, Error, Packet};

use super::interface::{InterfaceError, MAX_FRAME, Waiting, Wire, WireCounts};
use super::{Block, Record};

/// Frames that are taken at once.
const BURST: usize = 64;
/// What the library may hold for us.
const HELD: i32 = 64 << 20;
/// How long the library may gather frames where it cannot hand out each at once, in milliseconds.
const PATIENCE: i32 = 10;

/// Stamps are nanoseconds where the library is known to give them when asked: whether it does it does not say, and on
/// other systems than Linux it often gives microseconds.
const TICK: u64 = if cfg!(target_os = "linux") { 1 } else { 1000 };

const RAW: u16 = 101;

/// An open capture.
pub(super) struct Handle {
    capture: Capture<Active>,
    name: String,
    link: u16,
    /// The time at which no more frames were wanted.
    until: Option<u64>,
    counts: WireCounts,
    /// The library's counters as they were last seen: 32 bits that wrap around.
    seen: [u32; 2],
}

impl Handle {
    /// Listens to an interface.
    ///
    /// # Errors
    /// [`InterfaceError`]: no such interface, no right, or what the library says.
    pub(super) fn open(name: &str) -> Result<Handle, InterfaceError> {
        let failed = |error: Error| refused(name, &error);
        let capture = Capture::from_device(name)
            .map_err(failed)?
            .snaplen(MAX_FRAME as i32)
            .buffer_size(HELD)
            .promisc(true)
            .timeout(PATIENCE)
            .immediate_mode(true);
        #[cfg(target_os = "linux")]
        let capture = capture.precision(pcap::Precision::Nano);
        let capture = capture.open().and_then(Capture::setnonblock).map_err(failed)?;
        let link = capture.get_datalink().0;
        let link = link_of(link).ok_or_else(|| InterfaceError::Library {
            name: name.to_owned(),
            said: format!("link type {link} is not read"),
        })?;
        Ok(Handle {
            capture,
            name: name.to_owned(),
            link,
            until: None,
            counts: WireCounts::default(),
            seen: [0; 2],
        })
    }
}

/// The LINKTYPE_ number of a DLT_ number: they differ where systems gave raw IP numbers of their own.
fn link_of(dlt: i32) -> Option<u16> {
    match dlt {
        12 | 14 => Some(RAW),
        _ => u16::try_from(dlt).ok(),
    }
}

/// What the library says about an interface that it does not open, in our words where we have some.
fn refused(name: &str, error: &Error) -> InterfaceError {
    let said = match error {
        Error::PcapError(said) => said.clone(),
        other => other.to_string(),
    };
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let name = name.to_owned();
    if says(&["No such device", "doesn't exist", "not found"]) {
        let there = Device::list().unwrap_or_default().into_iter().map(|device| device.name).collect();
        return InterfaceError::Unknown { name, there };
    }
    if says(&["ermission", "not permitted", "CAP_NET_RAW"]) {
        return InterfaceError::Forbidden { name };
    }
    if says(&["not up"]) {
        return InterfaceError::Down { name };
    }
    InterfaceError::Library { name, said: said.split_whitespace().collect::<Vec<_>>().join(" ") }
}

/// A frame's stamp in nanoseconds since the Unix epoch.
// Of what width the fields are is the platform's choice.
#[allow(clippy::unnecessary_cast)]
fn stamp(packet: &Packet<'_>) -> u64 {
    let (seconds, ticks) = (packet.header.ts.tv_sec as i64, packet.header.ts.tv_usec as i64);
    let (seconds, ticks) = (u64::try_from(seconds).unwrap_or(0), u64::try_from(ticks).unwrap_or(0));
    let parts = [seconds.saturating_mul(1_000_000_000), ticks.saturating_mul(TICK)];
    parts[0].saturating_add(parts[1]).min(i64::MAX as u64)
}

impl Wire for Handle {
    fn take(&mut self, block: &mut Block) -> Result<Waiting, InterfaceError> {
        for _ in 0..BURST {
            let packet = match self.capture.next_packet() {
                Ok(packet) => packet,
                Err(Error::TimeoutExpired | Error::NoMorePackets) => return Ok(Waiting::None),
                Err(error) => return Err(refused(&self.name, &error)),
            };
            let time = stamp(&packet);
            if self.until.is_some_and(|until| time > until) {
                return Ok(Waiting::None);
            }
            let bytes = &packet.data[..packet.data.len().min(MAX_FRAME)];
            block.records.push(Record {
                time,
                at: block.bytes.len() as u32,
                captured: bytes.len() as u32,
                original: packet.header.len,
                link: self.link,
            });
            block.bytes.extend_from_slice(bytes);
        }
        Ok(Waiting::Perhaps)
    }

    fn shut(&mut self) -> Result<(), InterfaceError> {
        // A filter would throw away what waits: so frames are told by their stamps instead.
        self.until = Some(self.now());
        Ok(())
    }

    fn counts(&mut self) -> WireCounts {
        if let Ok(stat) = self.capture.stats() {
            let new = [stat.received, stat.dropped];
            self.counts.received += u64::from(new[0].wrapping_sub(self.seen[0]));
            self.counts.dropped += u64::from(new[1].wrapping_sub(self.seen[1]));
            self.seen = new;
        }
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::super::interface::{Live, wall_clock};
    use super::super::{Feed, Next};
    use super::*;

    #[test]
    fn raw_ip_has_one_number() {
        assert_eq!([12, 14, 101, 1, 113].map(link_of), [101, 101, 101, 1, 113].map(Some));
        assert_eq!([-1, 1 << 16].map(link_of), [None, None]);
    }

    #[test]
    fn what_the_library_says_becomes_one_line() {
        let refused = |said: &str| refused("eth7", &Error::PcapError(said.to_owned()));
        assert!(matches!(refused("eth7: No such device exists"), InterfaceError::Unknown { .. }));
        assert!(matches!(refused("socket: Operation not permitted"), InterfaceError::Forbidden { .. }));
        assert!(matches!(refused("eth7: That device is not up"), InterfaceError::Down { .. }));
        assert_eq!(refused("some\nthing").to_string(), "eth7: libpcap: some thing");
    }

    #[test]
    fn the_loopback_of_this_machine_can_be_listened_to() {
        let loopback = if cfg!(target_os = "linux") { "lo" } else { "lo0" };
        let handle = match Handle::open(loopback) {
            Ok(handle) => handle,
            Err(error) => {
                eprintln!("skipped: {error}");
                return;
            }
        };
        let stop = Arc::<AtomicBool>::default();
        let mut live = Live::new(Box::new(handle), 1_000_000_000, crate::tally::Stop::by(stop.clone()));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mark = format!("netweir {} {:?}", std::process::id(), socket.local_addr().unwrap());
        let before = wall_clock();
        socket.send_to(mark.as_bytes(), socket.local_addr().unwrap()).unwrap();
        let after = wall_clock();
        std::thread::sleep(std::time::Duration::from_millis(50));
        stop.store(true, Relaxed);
        let (mut block, mut ours) = (Block::default(), Vec::new());
        while live.next(&mut block).unwrap() != Next::End {
            for record in &block.records {
                let bytes = &block.bytes[record.at as usize..][..record.captured as usize];
                if bytes.ends_with(mark.as_bytes()) {
                    ours.push(record.time);
                }
            }
        }
        assert!(ours.len() == 1 && (before..=after).contains(&ours[0]), "{before} {ours:?} {after}");
    }
}
