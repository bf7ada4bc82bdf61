//! What the table keeps of a flow as long as it lasts.

use bytemuck::{Pod, Zeroable};

use super::initiator::Began;
use super::span::Trace;
use super::tcp::{ACK, SYN, Tcp, Told};
use crate::packet::{BACKWARD, FlowKey, LATER_FRAGMENT, Packet, flow_id};

/// No span, no list entry.
pub const NONE: u32 = u32::MAX;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

// Bits of `Head::bits`.
/// The initiator is the key's end `b`.
const INITIATOR_B: u8 = 1;
const IS_TCP: u8 = 2;
const IS_ICMP: u8 = 4;
const HAS_CLOSED: u8 = 8;
/// The initiator is a guess.
const GUESSED: u8 = 16;

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
    /// Where the open row is, or [`NONE`].
    pub open: u32,
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

impl Head {
    /// A flow that begins with packet `p`.
    pub fn new(p: &Packet, began: Began, ordinal: u32) -> Head {
        let protocol = p.key.protocol;
        let fragment = p.bits & LATER_FRAGMENT != 0;
        let mut bits = u8::from(began.by_b);
        bits |= if began.is_guess { GUESSED } else { 0 };
        bits |= if protocol == TCP { IS_TCP } else { 0 };
        bits |= if matches!(protocol, ICMP | ICMP6) && !fragment { IS_ICMP } else { 0 };
        Head {
            key: p.key,
            last: p.time,
            start: p.time,
            packets: 0,
            bytes: 0,
            tcp: Tcp::default(),
            open: NONE,
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

    /// Whether the initiator is a guess, and none of the flow's rows is given yet.
    pub fn may_turn(&self) -> bool {
        self.bits & GUESSED != 0 && self.row_index == 0
    }

    /// Makes the responder the initiator.
    pub fn turn(&mut self) {
        self.bits ^= INITIATOR_B;
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

    /// Whether a segment behind the close begins another connection: a SYN does, unless it is the one again that was refused,
    /// since that is one attempt, which Windows repeats twice within a second; and then the answer to it does.
    pub fn begins_anew(&self, p: &Packet) -> bool {
        match (p.flags & (SYN | ACK), self.tcp.refused()) {
            (SYN, Some(sequence)) => self.side(p) == 1 || p.sequence != sequence,
            (flags, refused) => flags == SYN || flags == SYN | ACK && refused.is_some(),
        }
    }

    /// The index of the packet's side: 0 from the initiator, 1 from the responder.
    #[inline(always)]
    pub fn side(&self, p: &Packet) -> usize {
        usize::from((p.bits & BACKWARD) ^ (self.bits & INITIATOR_B))
    }

    /// Takes the flow's next packet: what its row adds, and what TCP told.
    #[inline(always)]
    pub fn take(&mut self, p: &Packet) -> (Trace, Told) {
        let side = self.side(p);
        let fragment = p.bits & LATER_FRAGMENT != 0;
        let told = match self.is_tcp() && !fragment {
            true => self.tcp.segment(p, side),
            false => Told::default(),
        };
        self.last = p.time;
        let trace = Trace {
            time: p.time,
            length: p.length,
            payload: p.payload(),
            side,
            flags: p.flags,
            ttl: p.ttl,
            fragment,
            retransmits: told.retransmits,
        };
        (trace, told)
    }

    /// Notes that the connection is over. Returns whether it was not before.
    #[inline(always)]
    pub fn close(&mut self) -> bool {
        let was = self.has_closed();
        self.bits |= HAS_CLOSED;
        !was
    }
}
