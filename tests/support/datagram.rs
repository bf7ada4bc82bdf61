//! Datagrams as tests think of them, the frames that carry them, and capture files of those.
//!
//! What a datagram's lengths, ports and flags are is said here and computed by nothing of the crate, so that
//! the decoder is held to it.

use std::net::{IpAddr, SocketAddr};

use super::{MILLISECOND, SECOND};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
pub(crate) const URG: u8 = 32;
pub(crate) const ECE: u8 = 64;
pub(crate) const CWR: u8 = 128;

/// What follows the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    Tcp {
        sequence: u32,
        acknowledgement: u32,
        flags: u8,
        window: u16,
        /// Options in words of four bytes, at most 10.
        options: u8,
    },
    Udp,
    Sctp,
    /// ICMP between IPv4 addresses, ICMPv6 between IPv6 addresses.
    Icmp {
        kind: u8,
        code: u8,
    },
    /// A protocol whose header is not looked at.
    Other(u8),
    /// A fragment that is not the first, of a datagram of this protocol.
    LaterFragment(u8),
}

/// One IP datagram at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Datagram {
    /// Nanoseconds since the Unix epoch.
    pub(crate) time: u64,
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) vlan: Option<u16>,
    /// Another tag between the outer one and the datagram.
    pub(crate) inner_vlan: Option<u16>,
    pub(crate) ttl: u8,
    /// A first fragment, with more to come.
    pub(crate) first_fragment: bool,
    pub(crate) body: Body,
    /// Bytes above the transport header; for a later fragment above the IP header.
    pub(crate) payload: u32,
}

/// `10.0.0.1:80` or `[fd00::1]:80`.
pub(crate) fn end(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address with a port"))
}

fn datagram(src: &str, dst: &str, body: Body) -> Datagram {
    Datagram {
        time: super::EPOCH,
        src: end(src),
        dst: end(dst),
        vlan: None,
        inner_vlan: None,
        ttl: 64,
        first_fragment: false,
        body,
        payload: 0,
    }
}

/// A segment without flags and payload.
pub(crate) fn tcp(src: &str, dst: &str) -> Datagram {
    let body = Body::Tcp { sequence: 0, acknowledgement: 0, flags: 0, window: 1000, options: 0 };
    datagram(src, dst, body)
}

pub(crate) fn udp(src: &str, dst: &str) -> Datagram {
    datagram(src, dst, Body::Udp)
}

/// The ports are written `:0`.
pub(crate) fn icmp(src: &str, dst: &str, kind: u8, code: u8) -> Datagram {
    datagram(src, dst, Body::Icmp { kind, code })
}

impl Datagram {
    /// At a time since [`super::EPOCH`].
    pub(crate) fn at(self, nanoseconds: u64) -> Datagram {
        Datagram { time: super::EPOCH + nanoseconds, ..self }
    }

    pub(crate) fn at_ms(self, milliseconds: u64) -> Datagram {
        self.at(milliseconds * MILLISECOND)
    }

    pub(crate) fn at_s(self, seconds: u64) -> Datagram {
        self.at(seconds * SECOND)
    }

    /// The same from the other end.
    pub(crate) fn back(self) -> Datagram {
        Datagram { src: self.dst, dst: self.src, ..self }
    }

    pub(crate) fn carrying(self, payload: u32) -> Datagram {
        Datagram { payload, ..self }
    }

    pub(crate) fn flagged(mut self, with: u8) -> Datagram {
        if let Body::Tcp { flags, .. } = &mut self.body {
            *flags |= with;
        }
        self
    }

    pub(crate) fn numbered(mut self, number: u32, acknowledged: u32) -> Datagram {
        if let Body::Tcp { sequence, acknowledgement, .. } = &mut self.body {
            (*sequence, *acknowledgement) = (number, acknowledged);
        }
        self
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.src.is_ipv6()
    }

    /// Whether it is a later fragment.
    pub(crate) fn is_later_fragment(&self) -> bool {
        matches!(self.body, Body::LaterFragment(_))
    }

    /// IP protocol number.
    pub(crate) fn protocol(&self) -> u8 {
        match self.body {
            Body::Tcp { .. } => 6,
            Body::Udp => 17,
            Body::Sctp => 132,
            Body::Icmp { .. } => {
                if self.is_v6() {
                    58
                } else {
                    1
                }
            }
            Body::Other(protocol) | Body::LaterFragment(protocol) => protocol,
        }
    }

    /// Source and destination port, 0 where there is none.
    pub(crate) fn ports(&self) -> (u16, u16) {
        match self.body {
            Body::Tcp { .. } | Body::Udp | Body::Sctp => (self.src.port(), self.dst.port()),
            _ => (0, 0),
        }
    }

    fn transport_header(&self) -> u32 {
        match self.body {
            Body::Tcp { options, .. } => 20 + 4 * u32::from(options),
            Body::Udp | Body::Icmp { .. } => 8,
            Body::Sctp => 12,
            Body::Other(_) | Body::LaterFragment(_) => 0,
        }
    }

    fn ip_header(&self) -> u32 {
        match (self.is_v6(), self.is_later_fragment() || self.first_fragment) {
            (false, _) => 20,
            (true, false) => 40,
            (true, true) => 48,
        }
    }

    /// Bytes of the IP datagram, header included.
    pub(crate) fn length(&self) -> u32 {
        self.ip_header() + self.transport_header() + self.payload
    }

    /// The Ethernet frame, of which `snap` bytes of payload are captured, and its length on the wire.
    pub(crate) fn frame(&self, snap: u32) -> (Vec<u8>, u32) {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        if let Some(id) = self.vlan {
            let kind: u16 = if self.inner_vlan.is_some() { 0x88A8 } else { 0x8100 };
            frame.extend(kind.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        if let Some(id) = self.inner_vlan {
            frame.extend(0x8100u16.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        // Offset in units of eight bytes, and whether more follow.
        let fragment: u16 = if self.is_later_fragment() { 185 << 3 } else { 0 };
        let more = self.first_fragment;
        match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                frame.extend(0x0800u16.to_be_bytes());
                frame.extend([0x45, 0]);
                let length = u16::try_from(self.length()).expect("IPv4 datagrams have at most 65535 bytes");
                frame.extend(length.to_be_bytes());
                frame.extend([0, 0]);
                frame.extend(((fragment >> 3) | (u16::from(more) << 13)).to_be_bytes());
                frame.extend([self.ttl, self.protocol(), 0, 0]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let fragmented = more || self.is_later_fragment();
                frame.extend(0x86DDu16.to_be_bytes());
                frame.extend([0x60, 0, 0, 0]);
                let length = u16::try_from(self.length() - 40).expect("no jumbograms");
                frame.extend(length.to_be_bytes());
                frame.extend([if fragmented { 44 } else { self.protocol() }, self.ttl]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
                if fragmented {
                    frame.extend([self.protocol(), 0]);
                    frame.extend((fragment | u16::from(more)).to_be_bytes());
                    frame.extend([0, 0, 0, 7]);
                }
            }
            _ => panic!("both ends speak one version of IP"),
        }
        let (src_port, dst_port) = self.ports();
        match self.body {
            Body::Tcp { sequence, acknowledgement, flags, window, options } => {
                frame.extend(src_port.to_be_bytes());
                frame.extend(dst_port.to_be_bytes());
                frame.extend(sequence.to_be_bytes());
                frame.extend(acknowledgement.to_be_bytes());
                frame.extend([(5 + options) << 4, flags]);
                frame.extend(window.to_be_bytes());
                frame.extend([0; 4]);
                frame.extend(vec![1; 4 * usize::from(options)]);
            }
            Body::Udp => {
                frame.extend(src_port.to_be_bytes());
                frame.extend(dst_port.to_be_bytes());
                frame.extend((8 + self.payload as u16).to_be_bytes());
                frame.extend([0; 2]);
            }
            Body::Sctp => {
                frame.extend(src_port.to_be_bytes());
                frame.extend(dst_port.to_be_bytes());
                frame.extend([0; 8]);
            }
            Body::Icmp { kind, code } => frame.extend([kind, code, 0, 0, 0, 1, 0, 1]),
            Body::Other(_) | Body::LaterFragment(_) => {}
        }
        let original = frame.len() as u32 + self.payload;
        frame.extend(vec![0xA5; self.payload.min(snap) as usize]);
        (frame, original)
    }
}

/// A classic capture file with nanoseconds, Ethernet, of datagrams in the order given.
pub(crate) fn pcap(datagrams: &[Datagram]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xA1B2_3C4Du32, 0x0004_0002, 0, 0, 262_144, 1] {
        file.extend(word.to_le_bytes());
    }
    for datagram in datagrams {
        let (frame, original) = datagram.frame(16);
        let time = [datagram.time / SECOND, datagram.time % SECOND].map(|word| word as u32);
        for word in [time[0], time[1], frame.len() as u32, original] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}
