//! A frame decoded to a small fixed-size [`Packet`], or refused with a cause.
//!
//! [`decode`] is a pure function of one frame: no reassembly and no state, so that it says the same on any number of
//! workers. `decode.rs` is the entry and the short path, `link.rs` finds the IP header behind a header of one of
//! `link_types.rs`, `labels.rs` behind MPLS, `network.rs` and `transport.rs` read what follows, `tunnel.rs` looks inside,
//! `key.rs` has the fixed hashes of a key.

pub mod batch;
mod decode;
#[cfg(test)]
mod frames;
mod key;
mod labels;
mod link;
mod link_types;
mod network;
pub mod operator;
mod transport;
mod tunnel;
mod wireless;

pub use decode::decode;
pub use key::{SHARDS, flow_id, owned, owner, shard};
pub use link_types::{LINKS, known_link};

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// What the pipeline file says about decoding (`[packet]`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PacketSpec {
    /// Unwrap IP-in-IP, 6in4, GRE, VXLAN (UDP ports 4789 and 8472) and GENEVE (6081), at most four deep: the innermost
    /// flow is the flow.
    ///
    /// Lengths, ports and TTL are then the inner datagram's. The outer one stands where the inner is not IP, broken
    /// or cut off, and for later fragments of the outer. In a first fragment the inner length is what that fragment
    /// carries of it: the rest is counted with the later ones.
    pub tunnels: bool,
    /// Whether VLAN ids tell flows apart.
    #[serde(skip_serializing_if = "Vlan::is_key")]
    pub vlan: Vlan,
}

/// What becomes of the VLAN ids of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vlan {
    /// The outermost one is a part of the flow's key: the same addresses in two VLANs are two flows.
    #[default]
    Key,
    /// None is, and rows have none: for taps where each direction of a link carries an id of its own (Suricata's
    /// `vlan.use-for-tracking: false`).
    Ignore,
}

impl Vlan {
    /// Whether it is the usual one, which goes without saying: a model of it has the bytes that it had before there was a
    /// choice.
    fn is_key(&self) -> bool {
        *self == Vlan::Key
    }
}

/// [`FlowKey::vlan`] of a frame without a VLAN id (ids have 12 bits). A priority tag (id 0) has none.
pub const NO_VLAN: u16 = u16::MAX;

/// A conversation's identity, the same for both directions: the end with the smaller (address, port)
/// comes first.
///
/// IPv4 addresses fill the first four bytes, the rest is zero.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Pod, Zeroable)]
pub struct FlowKey {
    /// Address of the smaller end.
    pub a: [u8; 16],
    /// Address of the greater end.
    pub b: [u8; 16],
    /// Port of the smaller end; 0 where the protocol has none.
    pub port_a: u16,
    /// Port of the greater end; 0 where the protocol has none.
    pub port_b: u16,
    /// IP protocol number of what follows the headers that are walked: 50 for an encrypted payload, 59 for none. In a
    /// later fragment what the first one begins with, as far as the IP or fragment header says.
    pub protocol: u8,
    /// IP version, 4 or 6.
    pub version: u8,
    /// Outermost VLAN id, or [`NO_VLAN`]; also where ids are ignored ([`Vlan::Ignore`]).
    pub vlan: u16,
}

impl FlowKey {
    /// Whether the two are equal, found out over all bytes at once: most keys that are compared are.
    #[inline(always)]
    pub(crate) fn is(&self, other: &FlowKey) -> bool {
        let [x, y]: [[u64; 5]; 2] = [*self, *other].map(bytemuck::cast);
        x.iter().zip(y).fold(0, |differing, (x, y)| differing | (x ^ y)) == 0
    }
}

/// What later rooms need of a packet: 72 bytes, no pointers, the same on every machine of one byte order.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Packet {
    /// Event time, nanoseconds since the Unix epoch.
    pub time: u64,
    /// Conversation.
    pub key: FlowKey,
    /// TCP sequence number, else 0.
    pub sequence: u32,
    /// TCP acknowledgement number, else 0.
    pub acknowledgement: u32,
    /// Bytes of the IP datagram, header included, captured or not, at most [`MAX_LENGTH`]. Never less than
    /// `headers`.
    pub length: u32,
    /// Bytes of IP header, extension headers and transport header together. The transport header counts for TCP
    /// (with options), UDP, UDP-Lite, ICMP and ICMPv6 (8 bytes), SCTP (12) and DCCP.
    pub headers: u16,
    /// TCP window as advertised (unscaled), else 0.
    pub window: u16,
    /// TCP flags as on the wire: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    pub flags: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// [`BACKWARD`], [`LATER_FRAGMENT`].
    pub bits: u8,
    /// ICMP or ICMPv6 type, else 0.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code, else 0.
    pub icmp_code: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// The packet travels from the key's `b` to its `a`.
pub const BACKWARD: u8 = 1;
/// A fragment that is not the first: it has no transport header, its ports are 0.
pub const LATER_FRAGMENT: u8 = 2;

/// The longest IP datagram that is believed: segmentation offload leaves frames of up to 512 KiB.
pub const MAX_LENGTH: u32 = (1 << 20) - 1;

impl Packet {
    /// Bytes above the transport header.
    pub fn payload(&self) -> u32 {
        self.length.saturating_sub(u32::from(self.headers))
    }
}

impl FlowKey {
    /// Puts the two ends in order. The flag is true when the source is the greater end.
    ///
    /// Without a branch: which end is smaller is a coin toss to a predictor.
    #[inline]
    pub fn ordered(
        src: ([u8; 16], u16),
        dst: ([u8; 16], u16),
        protocol: u8,
        version: u8,
        vlan: u16,
    ) -> (FlowKey, bool) {
        let (x, y) = (u128::from_be_bytes(src.0), u128::from_be_bytes(dst.0));
        let swap = (x > y) | ((x == y) & (src.1 > dst.1));
        let mask = u128::from(swap).wrapping_neg();
        let (address, port) = ((x ^ y) & mask, (src.1 ^ dst.1) & mask as u16);
        let key = FlowKey {
            a: (x ^ address).to_be_bytes(),
            b: (y ^ address).to_be_bytes(),
            port_a: src.1 ^ port,
            port_b: dst.1 ^ port,
            protocol,
            version,
            vlan,
        };
        (key, swap)
    }
}

impl FlowKey {
    /// As [`FlowKey::ordered`], for IPv4: an end is a number of 48 bits.
    #[inline]
    fn ordered_v4(src: ([u8; 4], u16), dst: ([u8; 4], u16), protocol: u8, vlan: u16) -> (FlowKey, bool) {
        let end = |(address, port)| u64::from(u32::from_be_bytes(address)) << 16 | u64::from(port);
        let (x, y) = (end(src), end(dst));
        let swap = x > y;
        let exchange = (x ^ y) & u64::from(swap).wrapping_neg();
        let (x, y) = (x ^ exchange, y ^ exchange);
        let wide = |end: u64| u128::from(((end >> 16) as u32).swap_bytes()).to_le_bytes();
        let (a, b, port_a, port_b) = (wide(x), wide(y), x as u16, y as u16);
        (FlowKey { a, b, port_a, port_b, protocol, version: 4, vlan }, swap)
    }
}

/// Why a frame is no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Nothing of IP. The ethertype says what it is; 0 where there is none: LLC, PPP, an unknown address family, a
    /// wireless frame that is protected or carries no data.
    NotIp(u16),
    /// Cut off inside a header that is needed: the link's, IP, extension headers, and of the transport header what
    /// [`Packet`] takes from it (TCP 16 bytes, DCCP 5, other ports 4, ICMP 2).
    Truncated,
    /// A header that contradicts itself: version, header length, total length or data offset, a chain of headers that
    /// does not end, a datagram too short for its transport header (padding behind it does not help).
    Malformed,
    /// A link type that is not read (only with `--lax`; otherwise an error).
    UnknownLink,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::network::wide;
    use super::*;

    proptest! {
        #[test]
        fn ends_of_ipv4_are_put_in_the_order_of_all_ends(
            addresses in prop::array::uniform2(prop_oneof![any::<[u8; 4]>(), Just([10, 0, 0, 1])]),
            ports in prop::array::uniform2(prop_oneof![any::<u16>(), Just(53)]),
        ) {
            let [src, dst] = [0, 1].map(|at| (addresses[at], ports[at]));
            let whole = FlowKey::ordered((wide(src.0), src.1), (wide(dst.0), dst.1), 17, 4, NO_VLAN);
            prop_assert_eq!(FlowKey::ordered_v4(src, dst, 17, NO_VLAN), whole);
        }
    }
}
