//! What a flow did since its open row began: sums in a [`Span`], and as long as they are few the packets
//! themselves in a [`Brief`].

use bytemuck::{Pod, Zeroable};

/// Payload lengths that `first_lengths` holds.
pub const FIRST_LENGTHS: usize = 8;

/// What a row adds of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trace {
    /// Event time, at most `i64::MAX`.
    pub time: u64,
    /// Bytes of the datagram, at most [`MAX_LENGTH`](crate::packet::MAX_LENGTH).
    pub length: u32,
    /// Bytes above the transport header, at most `length`.
    pub payload: u32,
    /// 0 from the initiator, 1 from the responder.
    pub side: usize,
    /// TCP flags, 0 where there are none.
    pub flags: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// A fragment that is not the first.
    pub fragment: bool,
    /// It starts below the highest sequence number.
    pub retransmits: bool,
}

/// A row of few packets: they take less room, and fewer lines of the cache, than the sums over them.
///
/// Most rows of most networks are such: questions and answers, scans, flows cut by windows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Brief {
    traces: [[u64; 2]; Brief::ROOM],
    /// As [`Span::handshake`].
    pub handshake: u64,
    count: u32,
    pad: u32,
}

const _: () = assert!(size_of::<Brief>() == 64, "a brief row is one line of the cache");

impl Brief {
    /// Packets that it holds.
    pub const ROOM: usize = 3;

    /// No packets.
    pub const EMPTY: Brief = Brief { traces: [[0; 2]; Brief::ROOM], handshake: u64::MAX, count: 0, pad: 0 };

    /// Adds a packet. Returns whether there was room for it.
    #[inline(always)]
    pub fn add(&mut self, trace: &Trace) -> bool {
        let Some(place) = self.traces.get_mut(self.count as usize) else { return false };
        let Trace { time, length, payload, side, flags, ttl, fragment, retransmits } = *trace;
        *place = [
            time << 1 | side as u64,
            u64::from(length)
                | u64::from(payload) << 20
                | u64::from(flags) << 40
                | u64::from(ttl) << 48
                | u64::from(fragment) << 56
                | u64::from(retransmits) << 57,
        ];
        self.count += 1;
        true
    }

    /// Its packets.
    #[inline(always)]
    pub fn traces(&self) -> impl Iterator<Item = Trace> {
        self.traces[..Brief::ROOM.min(self.count as usize)].iter().map(|[moment, rest]| Trace {
            time: moment >> 1,
            length: *rest as u32 & 0xF_FFFF,
            payload: (rest >> 20) as u32 & 0xF_FFFF,
            side: (moment & 1) as usize,
            flags: (rest >> 40) as u8,
            ttl: (rest >> 48) as u8,
            fragment: rest >> 56 & 1 != 0,
            retransmits: rest >> 57 & 1 != 0,
        })
    }

    /// Makes the responder the initiator, if the initiator sent nothing. Returns whether it did.
    pub fn turn(&mut self) -> bool {
        let all = &mut self.traces[..Brief::ROOM.min(self.count as usize)];
        let turns = all.iter().all(|[moment, _]| moment & 1 == 1);
        if turns {
            all.iter_mut().for_each(|[moment, _]| *moment ^= 1);
        }
        turns
    }

    /// Time of the first packet; there is one.
    pub fn first(&self) -> u64 {
        self.traces[0][0] >> 1
    }

    /// Packets, and their bytes.
    #[inline(always)]
    pub fn packets_and_bytes(&self) -> (u64, u64) {
        (self.count.into(), self.traces().map(|trace| u64::from(trace.length)).sum())
    }

    /// Makes `span` the sums over its packets. `first_row` as in [`Span::add`].
    #[inline(always)]
    pub fn sum_up(&self, span: &mut Span, first_row: bool) {
        *span = Span::EMPTY;
        span.handshake = self.handshake;
        let mut previous = 0;
        for trace in self.traces() {
            span.add(&trace, previous, first_row);
            previous = trace.time;
        }
    }
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
    /// Sum of squares. Gaps of a row lie behind one another, within 2^51 ns (`active` and `idle` are a week at
    /// most), so it takes no more than 102 bits.
    pub squares: u128,
    /// Shortest.
    pub min: u64,
    /// Longest.
    pub max: u64,
}

impl Gaps {
    pub(super) const EMPTY: Gaps = Gaps { squares: 0, min: u64::MAX, max: 0 };

    #[inline(always)]
    pub(super) fn add(&mut self, gap: u64) {
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

/// For each byte of flags what it adds to their counts: added as a whole, without a look at bits.
static FLAGS: [[u32; 8]; 256] = {
    let mut flags = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            flags[byte][bit] = (byte >> bit & 1) as u32;
            bit += 1;
        }
        byte += 1;
    }
    flags
};

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
    pub const EMPTY: Span = Span {
        sides: [SIDE; 2],
        gaps: Gaps::EMPTY,
        handshake: u64::MAX,
        fragments: 0,
        pad: 0,
        first_lengths: [0; FIRST_LENGTHS],
    };

    /// As [`Brief::turn`].
    pub fn turn(&mut self) -> bool {
        let turns = self.sides[0].packets == 0;
        if turns {
            self.sides.swap(0, 1);
            self.first_lengths.iter_mut().for_each(|length| *length = -*length);
        }
        turns
    }

    /// Packets, both ways.
    pub fn packets(&self) -> u64 {
        u64::from(self.sides[0].packets) + u64::from(self.sides[1].packets)
    }

    /// Bytes, both ways.
    pub fn bytes(&self) -> u64 {
        self.sides[0].bytes + self.sides[1].bytes
    }

    /// Adds a packet. `previous` is the time of the flow's packet before it, where that lies in this row; lengths
    /// of the first packets are kept if it is the `first_row` of its flow.
    #[inline(always)]
    pub fn add(&mut self, trace: &Trace, previous: u64, first_row: bool) {
        let seen = self.packets();
        if first_row && seen < FIRST_LENGTHS as u64 {
            let length = trace.payload.min(i16::MAX as u32) as i16;
            self.first_lengths[seen as usize] = if trace.side == 0 { length } else { -length };
        }
        if seen > 0 {
            self.gaps.add(trace.time - previous);
        }
        self.fragments += u32::from(trace.fragment);
        let side = &mut self.sides[trace.side];
        if side.packets == 0 {
            side.first = trace.time;
        } else {
            side.gaps.add(trace.time - side.last);
        }
        side.last = trace.time;
        side.packets += 1;
        side.bytes += u64::from(trace.length);
        side.payload += u64::from(trace.payload);
        let square = u64::from(trace.length) * u64::from(trace.length);
        side.length_squares = side.length_squares.wrapping_add(square);
        let length = trace.length.min(u32::from(u16::MAX)) as u16;
        side.length_min = side.length_min.min(length);
        side.length_max = side.length_max.max(length);
        side.ttl_min = side.ttl_min.min(trace.ttl);
        for (count, one) in side.flags.iter_mut().zip(&FLAGS[usize::from(trace.flags)]) {
            *count += one;
        }
        side.retransmits += u32::from(trace.retransmits);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::MAX_LENGTH;

    fn traces() -> impl Strategy<Value = Vec<Trace>> {
        let lengths = (0..=MAX_LENGTH).prop_flat_map(|length| (Just(length), 0..=length));
        let trace = (0..=i64::MAX as u64, lengths, 0..2usize, any::<[u8; 2]>(), any::<[bool; 2]>());
        let trace =
            trace.prop_map(|(time, (length, payload), side, [flags, ttl], [fragment, retransmits])| Trace {
                time,
                length,
                payload,
                side,
                flags,
                ttl,
                fragment,
                retransmits,
            });
        prop::collection::vec(trace, 0..=Brief::ROOM).prop_map(|mut traces| {
            traces.sort_by_key(|trace| trace.time);
            traces
        })
    }

    proptest! {
        #[test]
        fn a_brief_row_gives_its_packets_back_and_their_sums(traces in traces(), first_row: bool) {
            let (mut brief, mut span) = (Brief::EMPTY, Span::EMPTY);
            let mut previous = 0;
            for trace in &traces {
                prop_assert!(brief.add(trace));
                span.add(trace, previous, first_row);
                previous = trace.time;
            }
            prop_assert_eq!(brief.traces().collect::<Vec<_>>(), traces.clone());
            let mut whole = span;
            brief.sum_up(&mut whole, first_row);
            prop_assert_eq!(bytemuck::bytes_of(&whole), bytemuck::bytes_of(&span));
            if let Some(trace) = traces.first() {
                (traces.len()..Brief::ROOM).for_each(|_| assert!(brief.add(trace)));
                prop_assert!(!brief.add(trace), "there is no room for more");
            }
        }
    }
}
