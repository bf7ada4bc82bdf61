//! A group of finished rows turned on its side: for each number that columns tell, those of all rows, one behind the
//! other.
//!
//! Rows lie apart in the flow table and each is read once. Most are of one packet, of which most numbers are not there
//! at all: these are left as they are in an empty row, and the few that are there are written straight from the packet.
//! Columns then copy what stands together.

use super::calendar::Calendar;
use super::closing::Held;
use super::columns::service;
use super::rows::Finished;
use super::span::{Brief, FIRST_LENGTHS, Gaps, Span};
use super::state::Head;
use crate::packet::NO_VLAN;

/// Rows of a group: one word of a mask.
pub(super) const ROWS: usize = u64::BITS as usize;

/// A number of each row of a group.
pub(super) type Lane<T> = [T; ROWS];

/// Which of a group's rows have something, one bit each, the first row's lowest.
#[derive(Clone, Copy, Default)]
pub(super) struct Has {
    pub(super) tcp: u64,
    pub(super) icmp: u64,
    pub(super) vlan: u64,
    pub(super) first_row: u64,
    pub(super) handshake: u64,
    /// An advertised window of a side.
    pub(super) window: [u64; 2],
    /// Packets of a side.
    pub(super) packets: [u64; 2],
    /// Gaps between packets of the initiator, of the responder, of both.
    pub(super) gaps: [u64; 3],
}

/// Place of the gaps between packets of both sides, behind those of each.
pub(super) const BOTH: usize = 2;

/// What rows are of, and when.
pub(super) struct Of {
    pub(super) window: Lane<i64>,
    pub(super) flow_id: Lane<u64>,
    pub(super) start: Lane<i64>,
    pub(super) first: Lane<i64>,
    pub(super) last: Lane<i64>,
    pub(super) addresses: [Lane<[u8; 16]>; 2],
    pub(super) ports: [Lane<u16>; 2],
    pub(super) version: Lane<u8>,
    pub(super) protocol: Lane<u8>,
    pub(super) service: Lane<u32>,
    pub(super) vlan: Lane<u16>,
    pub(super) icmp: [Lane<u8>; 2],
    pub(super) hour: Lane<u8>,
    pub(super) minute: Lane<u8>,
    pub(super) weekday: Lane<u8>,
    pub(super) row_index: Lane<u32>,
    pub(super) reason: Lane<u8>,
    pub(super) conn_state: Lane<u8>,
    pub(super) window_first: [Lane<u16>; 2],
}

impl Of {
    const EMPTY: Of = Of {
        window: [0; ROWS],
        flow_id: [0; ROWS],
        start: [0; ROWS],
        first: [0; ROWS],
        last: [0; ROWS],
        addresses: [[[0; 16]; ROWS]; 2],
        ports: [[0; ROWS]; 2],
        version: [0; ROWS],
        protocol: [0; ROWS],
        service: [0; ROWS],
        vlan: [0; ROWS],
        icmp: [[0; ROWS]; 2],
        hour: [0; ROWS],
        minute: [0; ROWS],
        weekday: [0; ROWS],
        row_index: [0; ROWS],
        reason: [0; ROWS],
        conn_state: [0; ROWS],
        window_first: [[0; ROWS]; 2],
    };
}

/// What a side did in each row.
pub(super) struct Side {
    pub(super) packets: Lane<u64>,
    pub(super) bytes: Lane<u64>,
    pub(super) payload: Lane<u64>,
    pub(super) length_min: Lane<u16>,
    pub(super) length_max: Lane<u16>,
    pub(super) length_mean: Lane<f32>,
    pub(super) length_deviation: Lane<f32>,
    /// Packets by TCP flag, FIN first.
    pub(super) flags: [Lane<u32>; 8],
    pub(super) retransmits: Lane<u32>,
    pub(super) ttl_min: Lane<u8>,
}

impl Side {
    const EMPTY: Side = Side {
        packets: [0; ROWS],
        bytes: [0; ROWS],
        payload: [0; ROWS],
        length_min: [u16::MAX; ROWS],
        length_max: [0; ROWS],
        length_mean: [0.0; ROWS],
        length_deviation: [0.0; ROWS],
        flags: [[0; ROWS]; 8],
        retransmits: [0; ROWS],
        ttl_min: [u8::MAX; ROWS],
    };

    /// Lengths of the row at `at`, whose squares have this sum.
    #[inline(always)]
    fn lengths(&mut self, at: usize, squares: u64) {
        let (packets, bytes) = (self.packets[at], self.bytes[at]);
        self.length_mean[at] = match packets {
            1 => bytes as f32, // a length has 20 bits
            _ => (bytes as f64 / packets as f64) as f32,
        };
        if packets > 1 {
            self.length_deviation[at] = deviation(packets, bytes, squares.into()) as f32;
        }
    }
}

/// Seconds of the gaps between packets.
pub(super) struct GapLanes {
    pub(super) min: Lane<f32>,
    pub(super) mean: Lane<f32>,
    pub(super) deviation: Lane<f32>,
    pub(super) max: Lane<f32>,
}

impl GapLanes {
    const EMPTY: GapLanes =
        GapLanes { min: [0.0; ROWS], mean: [0.0; ROWS], deviation: [0.0; ROWS], max: [0.0; ROWS] };

    /// The `gaps` of the row at `at`, which are `count`, at least one, and make together `sum` nanoseconds.
    #[inline(always)]
    fn set(&mut self, at: usize, gaps: &Gaps, sum: u64, count: u64) {
        self.min[at] = seconds(gaps.min) as f32;
        if count == 1 {
            (self.mean[at], self.max[at]) = (self.min[at], self.min[at]);
            return;
        }
        self.mean[at] = (sum as f64 / count as f64 / 1e9) as f32;
        self.deviation[at] = (deviation(count, sum, gaps.squares) / 1e9) as f32;
        self.max[at] = seconds(gaps.max) as f32;
    }
}

/// What rows did.
pub(super) struct Did {
    pub(super) duration: Lane<f64>,
    pub(super) flow_duration: Lane<f64>,
    pub(super) flow_packets: Lane<u64>,
    pub(super) flow_bytes: Lane<u64>,
    pub(super) packets: Lane<u64>,
    pub(super) bytes: Lane<u64>,
    pub(super) sides: [Side; 2],
    pub(super) gaps: [GapLanes; 3],
    pub(super) handshake: Lane<f32>,
    pub(super) fragments: Lane<u32>,
    pub(super) first_lengths: Lane<[i16; FIRST_LENGTHS]>,
}

impl Did {
    const EMPTY: Did = Did {
        duration: [0.0; ROWS],
        flow_duration: [0.0; ROWS],
        flow_packets: [0; ROWS],
        flow_bytes: [0; ROWS],
        packets: [0; ROWS],
        bytes: [0; ROWS],
        sides: [Side::EMPTY, Side::EMPTY],
        gaps: [GapLanes::EMPTY, GapLanes::EMPTY, GapLanes::EMPTY],
        handshake: [0.0; ROWS],
        fragments: [0; ROWS],
        first_lengths: [[0; FIRST_LENGTHS]; ROWS],
    };
}

/// What TCP rows say of how they were captured.
#[derive(Clone, Copy, Default, Debug)]
pub struct TcpRows {
    /// Flows that began.
    pub flows: u64,
    /// Packets.
    pub packets: u64,
    /// Of the packets of each row those of the side that sent fewer.
    pub answers: u64,
    /// Segments that repeat what was sent before.
    pub repeats: u64,
}

/// A group of finished rows.
pub(super) struct Group {
    pub(super) rows: usize,
    pub(super) has: Has,
    pub(super) of: Of,
    pub(super) did: Did,
}

impl Group {
    /// No rows.
    pub(super) fn new() -> Box<Group> {
        Box::new(Group { rows: 0, has: Has::default(), of: Of::EMPTY, did: Did::EMPTY })
    }

    /// Takes up to [`ROWS`] rows in the place of those before; what they did only if that is `wanted`.
    pub(super) fn take(&mut self, rows: &[Finished], calendar: &mut Calendar, wanted: bool) {
        self.rows = rows.len().min(ROWS);
        self.has = Has::default();
        for (at, row) in rows.iter().take(ROWS).enumerate() {
            self.of(at, row, calendar);
        }
        if wanted {
            self.did = Did::EMPTY;
            for (at, row) in rows.iter().take(ROWS).enumerate() {
                self.did(at, row);
            }
        }
    }

    /// What the TCP rows say of how they were captured, where what rows did is wanted.
    pub(super) fn tcp(&self) -> TcpRows {
        let mut tcp =
            TcpRows { flows: (self.has.tcp & self.has.first_row).count_ones().into(), ..TcpRows::default() };
        let mut rows = self.has.tcp;
        while rows != 0 {
            let at = rows.trailing_zeros() as usize % ROWS;
            let [forth, back] = &self.did.sides;
            tcp.packets += forth.packets[at] + back.packets[at];
            tcp.answers += forth.packets[at].min(back.packets[at]);
            tcp.repeats += u64::from(forth.retransmits[at]) + u64::from(back.retransmits[at]);
            rows &= rows - 1;
        }
        tcp
    }

    #[inline(always)]
    fn of(&mut self, at: usize, row: &Finished, calendar: &mut Calendar) {
        let at = at % ROWS;
        let Group { has, of, .. } = self;
        let Finished { head, window, flow_id, first, reason, .. } = *row;
        let key = &head.key;
        of.window[at] = window as i64;
        of.flow_id[at] = flow_id;
        of.start[at] = head.start as i64;
        of.first[at] = first as i64;
        of.last[at] = head.last as i64;
        let ends = match head.initiator_is_b() {
            true => [(&key.b, key.port_b), (&key.a, key.port_a)],
            false => [(&key.a, key.port_a), (&key.b, key.port_b)],
        };
        for (side, (address, port)) in ends.into_iter().enumerate() {
            of.addresses[side][at] = *address;
            of.ports[side][at] = port;
            of.window_first[side][at] = 0;
        }
        of.version[at] = key.version;
        of.protocol[at] = key.protocol;
        of.service[at] = service(head, ends[1].1);
        of.vlan[at] = key.vlan;
        (of.icmp[0][at], of.icmp[1][at]) = (head.icmp[0], head.icmp[1]);
        let moment = calendar.moment(first);
        (of.hour[at], of.minute[at], of.weekday[at]) = (moment.hour, moment.minute, moment.weekday);
        of.row_index[at] = head.row_index;
        of.reason[at] = reason;
        of.conn_state[at] = head.tcp.conn_state();
        has.vlan |= u64::from(key.vlan != NO_VLAN) << at;
        has.icmp |= u64::from(head.is_icmp()) << at;
        has.first_row |= u64::from(head.row_index == 0) << at;
        if head.is_tcp() {
            has.tcp |= 1 << at;
            for side in 0..2 {
                if let Some(first) = head.tcp.window_first(side) {
                    has.window[side] |= 1 << at;
                    of.window_first[side][at] = first;
                }
            }
        }
    }

    #[inline(always)]
    fn did(&mut self, at: usize, row: &Finished) {
        let at = at % ROWS;
        let Group { has, did, .. } = self;
        let Finished { head, held, first, .. } = *row;
        let handshake = match held {
            Held::Brief(brief) => {
                did.brief(has, at, brief, head);
                brief.handshake
            }
            Held::Whole(span) => {
                did.whole(has, at, span, head, first);
                span.handshake
            }
        };
        has.handshake |= u64::from(handshake != u64::MAX) << at;
        did.handshake[at] = seconds(handshake) as f32;
        did.flow_packets[at] = head.packets + did.packets[at];
        did.flow_bytes[at] = head.bytes + did.bytes[at];
        if head.last != first {
            did.duration[at] = seconds(head.last - first);
        }
        if head.last != head.start {
            did.flow_duration[at] = seconds(head.last - head.start);
        }
    }
}

impl Did {
    /// A row of few packets, from these.
    #[inline(always)]
    fn brief(&mut self, has: &mut Has, at: usize, brief: &Brief, head: &Head) {
        let at = at % ROWS;
        let first_row = head.row_index == 0;
        let mut squares = [0; 2];
        let mut last = [0; 3];
        let mut sums = [0; 3];
        let mut gaps = [Gaps::EMPTY; 3];
        let (mut packets, mut bytes) = (0, 0);
        for trace in brief.traces() {
            let of = trace.side & 1;
            let side = &mut self.sides[of];
            if packets > 0 {
                gaps[BOTH].add(trace.time - last[BOTH]);
                sums[BOTH] += trace.time - last[BOTH];
                if side.packets[at] > 0 {
                    gaps[of].add(trace.time - last[of]);
                    sums[of] += trace.time - last[of];
                }
            }
            (last[of], last[BOTH]) = (trace.time, trace.time);
            if first_row {
                let length = trace.payload.min(i16::MAX as u32) as i16;
                self.first_lengths[at][packets] = if of == 0 { length } else { -length };
            }
            packets += 1;
            bytes += u64::from(trace.length);
            side.packets[at] += 1;
            side.bytes[at] += u64::from(trace.length);
            side.payload[at] += u64::from(trace.payload);
            squares[of] += u64::from(trace.length) * u64::from(trace.length);
            let length = trace.length.min(u32::from(u16::MAX)) as u16;
            side.length_min[at] = side.length_min[at].min(length);
            side.length_max[at] = side.length_max[at].max(length);
            side.ttl_min[at] = side.ttl_min[at].min(trace.ttl);
            side.retransmits[at] += u32::from(trace.retransmits);
            self.fragments[at] += u32::from(trace.fragment);
            let mut flags = trace.flags;
            while flags != 0 {
                side.flags[flags.trailing_zeros() as usize & 7][at] += 1;
                flags &= flags - 1;
            }
        }
        (self.packets[at], self.bytes[at]) = (packets as u64, bytes);
        for of in 0..2 {
            let packets = self.sides[of].packets[at];
            if packets > 0 {
                has.packets[of] |= 1 << at;
                self.sides[of].lengths(at, squares[of]);
            }
            if packets > 1 {
                has.gaps[of] |= 1 << at;
                self.gaps[of].set(at, &gaps[of], sums[of], packets - 1);
            }
        }
        if packets > 1 {
            has.gaps[BOTH] |= 1 << at;
            self.gaps[BOTH].set(at, &gaps[BOTH], sums[BOTH], packets as u64 - 1);
        }
    }

    /// A row that is sums already.
    fn whole(&mut self, has: &mut Has, at: usize, span: &Span, head: &Head, first: u64) {
        let at = at % ROWS;
        (self.packets[at], self.bytes[at]) = (span.packets(), span.bytes());
        for (of, sums) in span.sides.iter().enumerate() {
            if sums.packets == 0 {
                continue;
            }
            has.packets[of] |= 1 << at;
            let side = &mut self.sides[of];
            side.packets[at] = sums.packets.into();
            side.bytes[at] = sums.bytes;
            side.payload[at] = sums.payload;
            side.length_min[at] = sums.length_min;
            side.length_max[at] = sums.length_max;
            side.lengths(at, sums.length_squares);
            for (lane, count) in side.flags.iter_mut().zip(sums.flags) {
                lane[at] = count;
            }
            side.retransmits[at] = sums.retransmits;
            side.ttl_min[at] = sums.ttl_min;
            if sums.packets > 1 {
                has.gaps[of] |= 1 << at;
                self.gaps[of].set(at, &sums.gaps, sums.last - sums.first, u64::from(sums.packets) - 1);
            }
        }
        if span.packets() > 1 {
            has.gaps[BOTH] |= 1 << at;
            self.gaps[BOTH].set(at, &span.gaps, head.last - first, span.packets() - 1);
        }
        self.fragments[at] = span.fragments;
        self.first_lengths[at] = span.first_lengths;
    }
}

/// The population deviation of `n` values, of which the sum and the sum of squares are given.
#[inline(always)]
fn deviation(n: u64, sum: u64, squares: u128) -> f64 {
    // Beyond 128 bits, which a hundred million gaps and one of days come to, fractions have to do.
    let Some(product) = u128::from(n).checked_mul(squares) else {
        let (n, sum, squares) = (n as f64, sum as f64, squares as f64);
        return (n * squares - sum * sum).max(0.0).sqrt() / n;
    };
    let difference = product.saturating_sub(u128::from(sum) * u128::from(sum));
    // The same number, converted by the processor.
    let difference = i64::try_from(difference).map_or_else(|_| difference as f64, |narrow| narrow as f64);
    difference.sqrt() / n as f64
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_those_of_the_values() {
        assert_eq!(deviation(4, 20, 120), 5.0_f64.sqrt());
        assert_eq!(deviation(3, 21, 147), 0.0, "of equal values there is none");
        let wide = u64::from(u32::MAX);
        assert_eq!(deviation(2, wide, u128::from(wide) * u128::from(wide)), wide as f64 / 2.0);
    }

    #[test]
    fn a_product_beyond_128_bits_is_no_small_deviation() {
        // 2^28 gaps, all nothing but one of 2^51 nanoseconds, which is a month.
        let gap = 1u64 << 51;
        let found = deviation(1 << 28, gap, u128::from(gap) * u128::from(gap));
        let wanted = gap as f64 / f64::from(1 << 14);
        assert!((found / wanted - 1.0).abs() < 1e-6, "{found} {wanted}");
    }
}
