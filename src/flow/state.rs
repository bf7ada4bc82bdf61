//! What the table keeps of a flow: a [`Head`] that lasts, and a [`Span`] of what it did in the open row.

use bytemuck::{Pod, Zeroable};

use super::tcp::Tcp;
use crate::packet::{BACKWARD, FlowKey, LATER_FRAGMENT, Packet, flow_id};

/// No span, no list entry.
pub const NONE: u32 = u32::MAX;

/// Payload lengths that `first_lengths` holds.
pub const FIRST_LENGTHS: usize = 8;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

// Bits of `Head::bits`.
/// The initiator is the key's end `b`.
const INITIATOR_B: u8 = 1;
const IS_TCP: u8 = 2;
const IS_ICMP: u8 = 4;
const HAS_CLOSED: u8 = 8;

/// The lasting part of a flow: who, since when, how much before the open row, TCP's state.
///
/// Two lines of the processor's cache: what the search for a packet's flow and the order of rows look at
/// comes first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Head {
    /// Conversation.
    pub key: FlowKey,
    /// Time of the latest packet.
    pub last: u64,
    /// Time of the first packet.
    pub start: u64,
    /// The open row's span, or [`NONE`].
    pub span: u32,
    /// Flows of this key that began at the same nanosecond before this one.
    pub ordinal: u32,
    /// TCP's part.
    pub tcp: Tcp,
    /// Packets in rows already given.
    pub packets: u64,
    /// Bytes in rows already given.
    pub bytes: u64,
    /// Rows already given.
    pub row_index: u32,
    /// Type and code of the first packet of an ICMP flow.
    pub icmp: [u8; 2],
    bits: u8,
    pad: u8,
}

const _: () = assert!(size_of::<Head>() == 128, "no head lies across three lines");

/// What is seldom looked at of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Aside {
    /// When the connection closed, if it did.
    pub closed: u64,
    /// Next in the list of flows that fall due together.
    pub next: u32,
    /// Place among the members of the key's shard.
    pub place: u32,
}

/// Sums of one direction within a row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Side {
    /// Packets.
    pub packets: u32,
    /// Shortest datagram, saturated.
    pub length_min: u16,
    /// Longest datagram, saturated.
    pub length_max: u16,
    /// Sum of datagram lengths.
    pub bytes: u64,
    /// Sum of payload lengths.
    pub payload: u64,
    /// Sum of squared datagram lengths.
    pub length_squares: u64,
    /// Time of the first packet.
    pub first: u64,
    /// Time of the latest packet.
    pub last: u64,
    /// Gaps between successive packets.
    pub gaps: Gaps,
    /// Packets by TCP flag, FIN first.
    pub flags: [u32; 8],
    /// Segments that began below the highest sequence number.
    pub retransmits: u32,
    /// Smallest TTL.
    pub ttl_min: u8,
    pad: [u8; 11],
}

/// Exact sums over gaps, in nanoseconds. Their plain sum is last - first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Gaps {
    /// Sum of squares: gaps of a day squared leave room for 2^35 of them.
    pub squares: u128,
    /// Shortest.
    pub min: u64,
    /// Longest.
    pub max: u64,
}

impl Gaps {
    const EMPTY: Gaps = Gaps { squares: 0, min: u64::MAX, max: 0 };

    #[inline(always)]
    fn add(&mut self, gap: u64) {
        self.squares = self.squares.wrapping_add(u128::from(gap) * u128::from(gap));
        self.min = self.min.min(gap);
        self.max = self.max.max(gap);
    }
}

/// What a flow did since its open row began.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Span {
    /// Initiator's packets, responder's packets.
    pub sides: [Side; 2],
    /// Gaps between successive packets of either side.
    pub gaps: Gaps,
    /// Nanoseconds of the handshake that completed in this row, [`u64::MAX`] if none did.
    pub handshake: u64,
    /// Fragments that are not the first.
    pub fragments: u32,
    /// Payload lengths of the first packets, the responder's negative; only in a flow's first row.
    pub first_lengths: [i16; FIRST_LENGTHS],
    pad: u32,
}

const SIDE: Side = Side {
    packets: 0,
    length_min: u16::MAX,
    length_max: 0,
    bytes: 0,
    payload: 0,
    length_squares: 0,
    first: 0,
    last: 0,
    gaps: Gaps::EMPTY,
    flags: [0; 8],
    retransmits: 0,
    ttl_min: u8::MAX,
    pad: [0; 11],
};

impl Span {
    /// Nothing yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Span {
        Span {
            sides: [SIDE; 2],
            gaps: Gaps::EMPTY,
            handshake: u64::MAX,
            fragments: 0,
            pad: 0,
            first_lengths: [0; FIRST_LENGTHS],
        }
    }

    /// Packets, both ways.
    pub fn packets(&self) -> u64 {
        u64::from(self.sides[0].packets) + u64::from(self.sides[1].packets)
    }

    /// Bytes, both ways.
    pub fn bytes(&self) -> u64 {
        self.sides[0].bytes + self.sides[1].bytes
    }

    /// Time of the first packet.
    pub fn first(&self) -> u64 {
        match (&self.sides[0], &self.sides[1]) {
            (forward, backward) if backward.packets == 0 => forward.first,
            (forward, backward) if forward.packets == 0 => backward.first,
            (forward, backward) => forward.first.min(backward.first),
        }
    }
}

impl Head {
    /// A flow that begins with packet `p`.
    pub fn new(p: &Packet, initiator_is_b: bool, ordinal: u32) -> Head {
        let protocol = p.key.protocol;
        let fragment = p.bits & LATER_FRAGMENT != 0;
        let mut bits = u8::from(initiator_is_b);
        bits |= if protocol == TCP { IS_TCP } else { 0 };
        bits |= if matches!(protocol, ICMP | ICMP6) && !fragment { IS_ICMP } else { 0 };
        Head {
            key: p.key,
            last: p.time,
            start: p.time,
            packets: 0,
            bytes: 0,
            tcp: Tcp::default(),
            span: NONE,
            row_index: 0,
            ordinal,
            icmp: [p.icmp_type, p.icmp_code],
            bits,
            pad: 0,
        }
    }

    /// Name of the flow.
    pub fn flow_id(&self) -> u64 {
        flow_id(&self.key, self.start, self.ordinal)
    }

    /// Whether the initiator is the key's end `b`.
    pub fn initiator_is_b(&self) -> bool {
        self.bits & INITIATOR_B != 0
    }

    /// Whether TCP's columns mean something.
    pub fn is_tcp(&self) -> bool {
        self.bits & IS_TCP != 0
    }

    /// Whether [`Head::icmp`] means something.
    pub fn is_icmp(&self) -> bool {
        self.bits & IS_ICMP != 0
    }

    /// Whether the connection closed.
    pub fn has_closed(&self) -> bool {
        self.bits & HAS_CLOSED != 0
    }

    /// The index of the packet's side: 0 from the initiator, 1 from the responder.
    #[inline(always)]
    pub fn side(&self, p: &Packet) -> usize {
        usize::from((p.bits & BACKWARD) ^ (self.bits & INITIATOR_B))
    }

    /// Adds a packet to the flow and its open row. Returns whether it is the one that closes the connection.
    #[inline(always)]
    pub fn add(&mut self, span: &mut Span, p: &Packet) -> bool {
        let payload = p.payload();
        let side = self.side(p);
        let seen = span.packets();
        if self.row_index == 0 && seen < FIRST_LENGTHS as u64 {
            let length = payload.min(i16::MAX as u32) as i16;
            span.first_lengths[seen as usize] = if side == 0 { length } else { -length };
        }
        if seen > 0 {
            span.gaps.add(p.time - self.last);
        }
        self.last = p.time;
        span.fragments += u32::from(p.bits & LATER_FRAGMENT != 0);
        let s = &mut span.sides[side];
        if s.packets == 0 {
            s.first = p.time;
        } else {
            s.gaps.add(p.time - s.last);
        }
        s.last = p.time;
        s.packets += 1;
        s.bytes += u64::from(p.length);
        s.payload += u64::from(payload);
        s.length_squares = s.length_squares.wrapping_add(u64::from(p.length) * u64::from(p.length));
        let length = p.length.min(u32::from(u16::MAX)) as u16;
        s.length_min = s.length_min.min(length);
        s.length_max = s.length_max.max(length);
        s.ttl_min = s.ttl_min.min(p.ttl);
        if self.is_tcp() && p.bits & LATER_FRAGMENT == 0 {
            for (bit, count) in s.flags.iter_mut().enumerate() {
                *count += u32::from(p.flags >> bit & 1);
            }
            let told = self.tcp.segment(p, side);
            s.retransmits += u32::from(told.retransmits);
            if let Some(handshake) = told.handshake {
                span.handshake = handshake;
            }
            if told.closes && !self.has_closed() {
                self.bits |= HAS_CLOSED;
                return true;
            }
        }
        false
    }
}
