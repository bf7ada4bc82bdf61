//! Frames built in code for the tests of this room.

use super::{Packet, PacketSpec, Refused, Vlan, decode};

pub(super) const SRC4: [u8; 4] = [10, 0, 0, 1];
pub(super) const DST4: [u8; 4] = [10, 0, 0, 2];

/// Tunnels on.
pub(super) const TUNNELS: PacketSpec = PacketSpec { tunnels: true, vlan: Vlan::Key };

/// Decodes a frame that was captured whole, tunnels off.
pub(super) fn read(link: u16, frame: &[u8]) -> Result<Packet, Refused> {
    decode(link, frame, frame.len() as u32, 7, &PacketSpec::default())
}

/// Decodes an Ethernet frame that was captured whole, tunnels on.
pub(super) fn read_inside(frame: &[u8]) -> Result<Packet, Refused> {
    decode(1, frame, frame.len() as u32, 7, &TUNNELS)
}

pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&[2; 6], &[4; 6], &kind.to_be_bytes(), payload])
}

/// IPv4 without options, TTL 64.
pub(super) fn ip4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(20 + body.len() as u16).to_be_bytes());
    (header[8], header[9]) = (64, protocol);
    header[12..16].copy_from_slice(&SRC4);
    header[16..20].copy_from_slice(&DST4);
    join(&[&header, body])
}

/// IPv6 from fd00::1 to fd00::2, hop limit 63.
pub(super) fn ip6(next: u8, body: &[u8]) -> Vec<u8> {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(body.len() as u16).to_be_bytes());
    (header[6], header[7]) = (next, 63);
    (header[8], header[23], header[24], header[39]) = (0xFD, 1, 0xFD, 2);
    join(&[&header, body])
}

/// TCP without options, SYN and ACK, sequence 1, acknowledgement 2, window 3, then `payload` bytes.
pub(super) fn tcp(src: u16, dst: u16, payload: usize) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0, 3, 0, 0, 0, 0];
    join(&[&src.to_be_bytes(), &dst.to_be_bytes(), &rest, &vec![0; payload]])
}

pub(super) fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    join(&[&src.to_be_bytes(), &dst.to_be_bytes(), &length.to_be_bytes(), &[0; 2], payload])
}

/// An IPv6 options header of `8 * (1 + words)` bytes, filled with padding.
pub(super) fn extension(next: u8, words: u8) -> Vec<u8> {
    join(&[&[next, words, 1, 4], &vec![0; 4 + 8 * usize::from(words)]])
}

/// IPv4, UDP from port 1000 to port 53, four bytes of payload: what most tests carry.
pub(super) fn query() -> Vec<u8> {
    ip4(17, &udp(1000, 53, &[1, 2, 3, 4]))
}

/// Whether a packet is the one of [`query`].
pub(super) fn is_query(packet: Result<Packet, Refused>) -> bool {
    packet.is_ok_and(|p| {
        (p.key.port_a, p.key.port_b, p.key.protocol, p.key.version) == (1000, 53, 17, 4)
            && (p.length, p.headers, p.ttl, p.time) == (32, 28, 64, 7)
    })
}
