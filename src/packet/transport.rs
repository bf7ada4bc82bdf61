//! Transport headers: ports, TCP's fields, ICMP's type and code, and how many bytes the header has.

use super::Refused;
use super::network::Datagram;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const DCCP: u8 = 33;
pub(super) const ICMP6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// What a transport header says; zero where it does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Transport {
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) window: u16,
    pub(super) flags: u8,
    pub(super) icmp_type: u8,
    pub(super) icmp_code: u8,
    /// Bytes of the transport header, options included.
    pub(super) size: u32,
}

impl Transport {
    /// Reads the header behind the datagram's last IP header. Other protocols and later fragments have none.
    ///
    /// A first fragment may end inside the transport header (RFC 1858 calls it tiny; scanners send it): at least
    /// the ports are there, flags and window are then zero.
    pub(super) fn read(datagram: &Datagram) -> Result<Self, Refused> {
        // Bytes that the header has at least, and those of them that must be captured.
        let (least, needed) = match datagram.protocol {
            _ if datagram.later_fragment => return Ok(Transport::default()),
            TCP => (20, 16),
            UDP | UDP_LITE => (8, 4),
            SCTP => (12, 4),
            DCCP => (12, 5),
            ICMP | ICMP6 => (8, 2),
            _ => return Ok(Transport::default()),
        };
        let (body, room) = (datagram.body(), datagram.room());
        // All fragments but the last carry a multiple of eight bytes.
        let tiny = room < least && datagram.more_fragments && room >= 8;
        if room < least && !tiny {
            return Err(Refused::Malformed);
        }
        if body.len() < room.min(needed) as usize {
            return Err(Refused::Truncated);
        }
        let mut head = [0; 16];
        let known = body.len().min(head.len());
        head[..known].copy_from_slice(&body[..known]);
        let be16 = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let be32 = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);

        let mut transport = Transport::default();
        let mut size = least;
        match datagram.protocol {
            ICMP | ICMP6 => (transport.icmp_type, transport.icmp_code) = (head[0], head[1]),
            _ => (transport.src_port, transport.dst_port) = (be16(0), be16(2)),
        }
        match datagram.protocol {
            TCP => {
                transport.sequence = be32(4);
                transport.acknowledgement = be32(8);
                transport.flags = head[13];
                transport.window = be16(14);
                size = u32::from(head[12] >> 4) * 4;
            }
            DCCP => size = u32::from(head[4]) * 4,
            _ => {}
        }
        // Where the header's length lies behind a fragment's end, it has not been read.
        if tiny {
            size = room;
        } else if size < least || (size > room && !datagram.more_fragments) {
            return Err(Refused::Malformed);
        }
        transport.size = size.min(room);
        Ok(transport)
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::*;
    use super::super::{BACKWARD, Packet};
    use super::*;

    fn four(protocol: u8, body: &[u8]) -> Result<Packet, Refused> {
        read(101, &ip4(protocol, body))
    }

    #[test]
    fn tcp_fields_are_read_on_both_paths() {
        let mut segment = tcp(443, 50_000, 12);
        segment[12] = 0x70;
        segment[13] = 0xFF;
        for packet in [four(6, &segment).unwrap(), read(1, &ethernet(0x0800, &ip4(6, &segment))).unwrap()] {
            assert_eq!((packet.key.port_a, packet.key.port_b, packet.bits & BACKWARD), (443, 50_000, 0));
            assert_eq!((packet.sequence, packet.acknowledgement, packet.window), (1, 2, 3));
            assert_eq!((packet.flags, packet.headers, packet.payload()), (0xFF, 48, 4));
        }
    }

    #[test]
    fn backward_says_that_the_greater_end_sent() {
        let mut reply = ip4(17, &udp(53, 1000, &[]));
        reply[12..16].copy_from_slice(&DST4);
        reply[16..20].copy_from_slice(&SRC4);
        let (there, back) = (read(101, &query()).unwrap(), read(101, &reply).unwrap());
        assert_eq!(there.key, back.key);
        assert_eq!((there.bits & BACKWARD, back.bits & BACKWARD), (0, BACKWARD));
        assert_eq!(read(1, &ethernet(0x0800, &reply)).unwrap(), back);
    }

    #[test]
    fn ports_and_header_sizes_of_every_protocol() {
        let mut body = [0; 64];
        body[..5].copy_from_slice(&[0, 7, 0, 9, 4]);
        for (protocol, size) in [(17, 8), (136, 8), (132, 12), (33, 16)] {
            let packet = four(protocol, &body).unwrap();
            let ports = (packet.key.port_a, packet.key.port_b);
            assert_eq!((ports, packet.headers), ((7, 9), 20 + size), "{protocol}");
        }
        for protocol in [0, 2, 4, 41, 47, 50, 59, 60, 89, 112, 255] {
            let packet = four(protocol, &body).unwrap();
            let ports = (packet.key.port_a, packet.key.port_b);
            assert_eq!((ports, packet.headers, packet.payload()), ((0, 0), 20, 64), "{protocol}");
        }
    }

    #[test]
    fn icmp_has_type_and_code_and_no_ports() {
        for protocol in [1, 58] {
            for bytes in
                [ip4(protocol, &[3, 1, 0, 0, 9, 9, 9, 9, 9]), ip6(protocol, &[3, 1, 0, 0, 9, 9, 9, 9, 9])]
            {
                let packet = read(101, &bytes).unwrap();
                assert_eq!((packet.icmp_type, packet.icmp_code, packet.key.port_a), (3, 1, 0));
                assert_eq!(packet.payload(), 1);
                let kind = if packet.key.version == 4 { 0x0800 } else { 0x86DD };
                assert_eq!(read(1, &ethernet(kind, &bytes)).unwrap(), packet);
            }
        }
    }

    #[test]
    fn a_datagram_too_short_for_its_transport_is_malformed() {
        for (protocol, least) in [(6, 20), (17, 8), (136, 8), (132, 12), (33, 12), (1, 8), (58, 8)] {
            let mut body = vec![0; least];
            (body[4], body[12 % least]) = (3, if protocol == 6 { 0x50 } else { 3 });
            assert!(four(protocol, &body).is_ok(), "{protocol}");
            assert_eq!(four(protocol, &body[..least - 1]), Err(Refused::Malformed), "{protocol}");
        }
    }

    #[test]
    fn a_data_offset_that_lies_is_malformed() {
        let mut segment = tcp(1, 2, 4);
        for (offset, good) in [(0x40, false), (0x50, true), (0x60, true), (0x70, false)] {
            segment[12] = offset;
            assert_eq!(four(6, &segment).is_ok(), good);
            assert_eq!(read(1, &ethernet(0x0800, &ip4(6, &segment))).is_ok(), good);
        }
    }

    #[test]
    fn of_a_cut_transport_header_the_needed_bytes_suffice() {
        for (protocol, needed) in [(6, 16), (17, 4), (136, 4), (132, 4), (33, 5), (1, 2), (58, 2), (47, 0)] {
            let mut body = tcp(1, 2, 40);
            body[4] = 3;
            let whole = ethernet(0x0800, &ip4(protocol, &body));
            let packet = read(1, &whole).unwrap();
            for cut in 34..whole.len() {
                let expected = if cut - 34 < needed { Err(Refused::Truncated) } else { Ok(packet) };
                assert_eq!(read(1, &whole[..cut]), expected, "{protocol} {cut}");
            }
        }
    }

    #[test]
    fn a_tiny_first_fragment_keeps_its_ports() {
        let mut bytes = ip4(6, &tcp(1000, 53, 0)[..8]);
        assert_eq!(read(101, &bytes), Err(Refused::Malformed));
        bytes[6] = 0x20;
        let packet = read(101, &bytes).unwrap();
        assert_eq!((packet.key.port_a, packet.key.port_b, packet.sequence), (1000, 53, 1));
        assert_eq!((packet.flags, packet.window, packet.payload()), (0, 0, 0));
        bytes[3] -= 1;
        assert_eq!(read(101, &bytes), Err(Refused::Malformed));
        // Options that go on in the next fragment.
        let mut bytes = ip4(6, &tcp(1000, 53, 4));
        (bytes[6], bytes[32]) = (0x20, 0xF0);
        assert_eq!(read(101, &bytes).unwrap().headers, 44);
    }
}
