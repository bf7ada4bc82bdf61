//! What TCP says about a connection: the states of both ends, the close, the handshake's round trip,
//! retransmissions.
//!
//! The states and the letters of `conn_state` follow Zeek (its TCP endpoint states and the function
//! `conn_state` of its connection log), so that who knows one reads the other.

use bytemuck::{Pod, Zeroable};

use crate::packet::Packet;

/// FIN flag.
pub const FIN: u8 = 1;
/// SYN flag.
pub const SYN: u8 = 2;
/// RST flag.
pub const RST: u8 = 4;
/// ACK flag.
pub const ACK: u8 = 16;

/// One end's state. Plain numbers, because the table's memory starts as zeros.
type End = u8;
const INACTIVE: End = 0;
const SYN_SENT: End = 1;
const SYN_ACK_SENT: End = 2;
const PARTIAL: End = 3;
const ESTABLISHED: End = 4;
const CLOSED: End = 5;
const RESET: End = 6;

/// Zeek's letters, in the order of [`Tcp::conn_state`]'s numbers.
pub const CONN_STATES: [&str; 13] =
    ["OTH", "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR"];
const OTH: u8 = 0;
const S0: u8 = 1;
const S1: u8 = 2;
const SF: u8 = 3;
const REJ: u8 = 4;
const S2: u8 = 5;
const S3: u8 = 6;
const RSTO: u8 = 7;
const RSTR: u8 = 8;
const RSTOS0: u8 = 9;
const RSTRH: u8 = 10;
const SH: u8 = 11;
const SHR: u8 = 12;

// Bits of `Tcp::seen`, two where each end has one (responder's is the next higher).
const SEQUENCE: u16 = 1;
const FIN_SEEN: u16 = 4;
const FIN_ACKED: u16 = 16;
const PAYLOAD: u16 = 64;
const WINDOW: u16 = 256;
/// The first packet was the initiator's SYN.
const OPENED_BY_SYN: u16 = 1 << 10;
/// Before its first RST the initiator sent more than SYN and data.
const STRAYED: u16 = 1 << 11;
const INITIATOR_RESET: u16 = 1 << 12;
/// `syn_time` and `expected_ack` wait for the SYN-ACK, then for its ACK.
const SYN_WAITS: u16 = 1 << 13;
const ACK_WAITS: u16 = 1 << 14;
const STARTED: u16 = 1 << 15;

/// TCP's part of a flow's memory. Index 0 is the initiator, 1 the responder.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Tcp {
    /// Time of the initiator's latest SYN.
    syn_time: u64,
    /// End of the highest segment seen.
    highest: [u32; 2],
    /// Sequence number behind the FIN.
    fin_end: [u32; 2],
    /// What the ACK of the SYN-ACK must acknowledge; while the initiator is silent, what the responder
    /// acknowledges.
    expected_ack: u32,
    /// Advertised window of each side's first packet.
    window_first: [u16; 2],
    seen: u16,
    state: [End; 2],
    before: [End; 2],
    pad: [u8; 2],
}

/// What a segment told beyond its counters.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Told {
    /// Payload that starts below the highest sequence number seen.
    pub retransmits: bool,
    /// The connection is over: RST, or FINs acknowledged from both sides.
    pub closes: bool,
    /// Nanoseconds from SYN to the initiator's ACK of the SYN-ACK.
    pub handshake: Option<u64>,
}

impl Tcp {
    /// Takes the next segment of end `side` (0 initiator, 1 responder).
    #[inline(always)]
    pub fn segment(&mut self, p: &Packet, side: usize) -> Told {
        let (flags, payload, side) = (p.flags, p.payload(), side & 1);
        let known = STARTED | (WINDOW | SEQUENCE) << side;
        // Data and acknowledgements within a connection change no state, and most segments are that.
        let plain = flags & (SYN | FIN | RST) == 0
            && self.seen & (known | FIN_SEEN | FIN_SEEN << 1 | ACK_WAITS) == known
            && self.state[0] != INACTIVE
            && self.state[side] != INACTIVE;
        if !plain {
            return self.any_segment(p, side);
        }
        if payload > 0 {
            self.seen |= PAYLOAD << side;
        } else if side == 0 && flags & ACK != 0 && self.seen & INITIATOR_RESET == 0 {
            self.seen |= STRAYED;
        }
        let (end, highest) = (p.sequence.wrapping_add(payload), self.highest[side]);
        if before(highest, end) {
            self.highest[side] = end;
        }
        Told { retransmits: payload > 0 && before(p.sequence, highest), ..Told::default() }
    }

    /// Takes the next segment, whatever it is.
    #[inline(never)]
    fn any_segment(&mut self, p: &Packet, side: usize) -> Told {
        let (flags, payload) = (p.flags, p.payload());
        let one = 1 << side;
        let mut told = Told::default();
        if self.seen & (WINDOW * one) == 0 {
            self.seen |= WINDOW * one;
            self.window_first[side] = p.window;
        }
        self.remember(flags, payload, side);

        let length = payload + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let end = p.sequence.wrapping_add(length);
        if self.seen & (SEQUENCE * one) == 0 {
            self.seen |= SEQUENCE * one;
            self.highest[side] = end;
        } else {
            told.retransmits = payload > 0 && before(p.sequence, self.highest[side]);
            if before(self.highest[side], end) {
                self.highest[side] = end;
            }
        }
        self.step(p, payload, side);
        told.handshake = self.handshake(p, side, end);

        if flags & FIN != 0 {
            self.seen |= FIN_SEEN * one;
            self.fin_end[side] = end;
        }
        let other = 1 - side;
        if flags & ACK != 0
            && self.seen & (FIN_SEEN << other) != 0
            && !before(p.acknowledgement, self.fin_end[other])
        {
            self.seen |= FIN_ACKED << other;
        }
        let both = FIN_ACKED | FIN_ACKED << 1;
        told.closes = flags & RST != 0 || self.seen & both == both;
        told
    }

    /// What the letters of `conn_state` need to know about the past.
    fn remember(&mut self, flags: u8, payload: u32, side: usize) {
        if payload > 0 {
            self.seen |= PAYLOAD << side;
        }
        let control = flags & (SYN | FIN | RST);
        if self.seen & STARTED == 0 {
            self.seen |= STARTED;
            if side == 0 && control == SYN && flags & ACK == 0 {
                self.seen |= OPENED_BY_SYN;
            }
        }
        if side == 0 && self.seen & INITIATOR_RESET == 0 {
            match control {
                RST => self.seen |= INITIATOR_RESET,
                SYN if flags & ACK == 0 => {}
                0 if payload > 0 || flags & ACK == 0 => {}
                _ => self.seen |= STRAYED,
            }
        }
    }

    fn handshake(&mut self, p: &Packet, side: usize, end: u32) -> Option<u64> {
        let syn = p.flags & (SYN | ACK | RST);
        if side == 0 && syn == SYN {
            self.syn_time = p.time;
            self.seen = self.seen & !ACK_WAITS | SYN_WAITS;
        } else if side == 1 && syn == SYN | ACK && self.seen & (SYN_WAITS | ACK_WAITS) != 0 {
            self.expected_ack = end;
            self.seen = self.seen & !SYN_WAITS | ACK_WAITS;
        } else if side == 0
            && self.seen & ACK_WAITS != 0
            && p.flags & (ACK | RST) == ACK
            && p.acknowledgement == self.expected_ack
        {
            self.seen &= !ACK_WAITS;
            return Some(p.time - self.syn_time);
        }
        None
    }

    /// Both ends' states after a segment, as Zeek's endpoints take them.
    fn step(&mut self, p: &Packet, payload: u32, side: usize) {
        let other = 1 - side;
        let initiator = side == 0;
        let has = |flag: u8| p.flags & flag != 0;
        if !initiator && has(ACK) && self.state[0] == INACTIVE {
            self.expected_ack = p.acknowledgement;
        }
        match self.state[side] {
            INACTIVE => {
                if has(SYN) {
                    if initiator {
                        // A SYN captured behind the SYN-ACK that answers it.
                        let answered = !has(ACK)
                            && (self.state[1], self.before[1]) == (ESTABLISHED, INACTIVE)
                            && self.expected_ack == p.sequence.wrapping_add(1);
                        self.set(
                            side,
                            match (answered, has(ACK)) {
                                (true, _) => ESTABLISHED,
                                (_, true) => SYN_ACK_SENT,
                                _ => SYN_SENT,
                            },
                        );
                    } else {
                        if self.state[other] == SYN_SENT {
                            self.set(other, ESTABLISHED);
                        }
                        self.set(side, ESTABLISHED);
                    }
                }
                if has(FIN) {
                    self.set(side, CLOSED);
                }
                if has(RST) {
                    self.set(side, RESET);
                }
                if self.state[side] == INACTIVE {
                    // Some stacks acknowledge a SYN before they answer it: no partial connection yet.
                    let early_ack = !initiator && payload == 0 && self.state[0] == SYN_SENT;
                    if early_ack {
                    } else if has(ACK) && self.state[other] == ESTABLISHED {
                        self.set(side, ESTABLISHED);
                    } else {
                        self.set(side, PARTIAL);
                    }
                }
            }
            SYN_SENT | SYN_ACK_SENT => {
                if has(FIN) {
                    self.set(side, CLOSED);
                }
                if has(RST) {
                    self.set(side, RESET);
                }
            }
            ESTABLISHED | PARTIAL => {
                let partial = self.state[side] == PARTIAL;
                if has(SYN) && !has(ACK) && partial && self.state[other] == INACTIVE {
                    self.set(side, SYN_SENT);
                }
                if has(FIN) && !has(RST) {
                    self.set(side, CLOSED);
                    // FIN, then RST, then the other's FIN: a normal end after all.
                    if self.state[other] == RESET && self.before[other] == CLOSED {
                        self.set(other, CLOSED);
                    }
                }
                if has(RST) {
                    self.set(side, RESET);
                }
            }
            CLOSED if has(RST) && self.state[other] != CLOSED => {
                self.set(side, RESET);
            }
            _ => {}
        }
    }

    fn set(&mut self, side: usize, state: End) {
        self.before[side] = self.state[side];
        self.state[side] = state;
    }

    /// The state so far: an index into [`CONN_STATES`].
    pub fn conn_state(&self) -> u8 {
        let [initiator, responder] = self.state;
        let inactive = |state: End| state == INACTIVE || state == PARTIAL;
        let empty = self.seen & (PAYLOAD | PAYLOAD << 1) == 0;
        match (initiator, responder) {
            (SYN_SENT | SYN_ACK_SENT, RESET) => REJ,
            (RESET, RESET) if empty => REJ,
            (i, RESET) if inactive(i) => RSTRH,
            (_, RESET) => RSTR,
            (RESET, r) if inactive(r) && self.seen & OPENED_BY_SYN != 0 && self.seen & STRAYED == 0 => RSTOS0,
            (RESET, r) if inactive(r) => OTH,
            (RESET, _) => RSTO,
            (CLOSED, CLOSED) => SF,
            (CLOSED, r) => {
                if inactive(r) {
                    SH
                } else {
                    S2
                }
            }
            (i, CLOSED) => {
                if inactive(i) {
                    SHR
                } else {
                    S3
                }
            }
            (SYN_SENT, INACTIVE) => S0,
            (ESTABLISHED, ESTABLISHED) => S1,
            _ => OTH,
        }
    }

    /// Whether the initiator asked and nobody answered: what is shed first when memory is short.
    pub fn half_open(&self) -> bool {
        self.state == [SYN_SENT, INACTIVE]
    }

    /// The sequence number of the initiator's SYN, where that was all that it sent and was answered by a RST.
    pub fn refused(&self) -> Option<u32> {
        let empty = self.seen & (PAYLOAD | PAYLOAD << 1) == 0;
        let alone = self.state == [SYN_SENT, RESET] && empty;
        alone.then(|| self.highest[0].wrapping_sub(1))
    }

    /// Advertised window of the side's first segment, `None` before it.
    pub fn window_first(&self, side: usize) -> Option<u16> {
        (self.seen & WINDOW << side != 0).then_some(self.window_first[side])
    }
}

/// Whether `a` lies before `b` in the circle of sequence numbers (RFC 9293, 3.4).
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Segments as text: `S` initiator's SYN, `H` its SYN-ACK, `A` ACK, `D` data, `F` FIN-ACK, `R` RST,
    /// `T` RST-ACK; small letters from the responder.
    fn play(script: &str) -> (Tcp, Vec<Told>) {
        let mut tcp = Tcp::default();
        let mut next = [1000u32, 5000];
        let mut told = Vec::new();
        for (i, letter) in script.chars().enumerate() {
            let side = usize::from(letter.is_ascii_lowercase());
            let (flags, payload) = match letter.to_ascii_uppercase() {
                'S' => (SYN, 0),
                'H' => (SYN | ACK, 0),
                'A' => (ACK, 0),
                'D' => (ACK | 8, 10),
                'F' => (FIN | ACK, 0),
                'N' => (FIN, 0),
                'R' => (RST, 0),
                _ => (RST | ACK, 0),
            };
            let packet = Packet {
                time: 100 * i as u64,
                flags,
                sequence: next[side],
                acknowledgement: if flags & ACK != 0 { next[1 - side] } else { 0 },
                length: 40 + payload,
                headers: 40,
                window: 7 + side as u16,
                ..Zeroable::zeroed()
            };
            next[side] += payload + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
            told.push(tcp.segment(&packet, side));
        }
        (tcp, told)
    }

    fn state(script: &str) -> &'static str {
        CONN_STATES[play(script).0.conn_state() as usize]
    }

    proptest! {
        #[test]
        fn plain_segments_are_taken_as_any_other(
            segments in prop::collection::vec(
                (0..2usize, prop_oneof![3 => Just(ACK), 1 => any::<u8>()], 0..4u32, 0..6u32, 0..6u32),
                0..40,
            ),
        ) {
            let (mut tcp, mut other) = (Tcp::default(), Tcp::default());
            for (time, (side, flags, payload, sequence, acknowledgement)) in (0..).zip(segments) {
                let (length, headers) = (40 + payload, 40);
                let packet =
                    Packet { time, flags, sequence, acknowledgement, length, headers, ..Zeroable::zeroed() };
                prop_assert_eq!(tcp.segment(&packet, side), other.any_segment(&packet, side));
                prop_assert_eq!(bytemuck::bytes_of(&tcp), bytemuck::bytes_of(&other));
            }
        }
    }

    #[test]
    fn hand_built_handshakes_get_zeeks_letters() {
        for (script, expected) in [
            ("S", "S0"),
            ("SS", "S0"),
            ("Sh", "S1"),
            ("ShA", "S1"),
            ("ShADd", "S1"),
            ("ShADdFaf", "SF"),
            ("ShADdFafA", "SF"),
            ("ShADdfAFa", "SF"),
            ("ShAF", "S2"),
            ("ShADdFa", "S2"),
            ("ShAf", "S3"),
            ("ShADdfA", "S3"),
            ("Sr", "REJ"),
            ("St", "REJ"),
            ("SSt", "REJ"),
            ("ShAR", "RSTO"),
            ("ShADdR", "RSTO"),
            ("ShADdFT", "RSTO"),
            ("ShAr", "RSTR"),
            ("ShADdr", "RSTR"),
            ("SR", "RSTOS0"),
            ("SDR", "RSTOS0"),
            ("SAR", "OTH"),
            ("hr", "RSTRH"),
            ("ht", "RSTRH"),
            ("SF", "SH"),
            ("SN", "SH"),
            ("hf", "SHR"),
            ("D", "OTH"),
            ("Da", "OTH"),
            ("Dd", "OTH"),
            ("DdF", "SH"),
            ("DdFf", "SF"),
            ("h", "OTH"),
            ("hA", "S1"),
            ("ShFR", "RSTO"),
            ("ShAFrf", "RSTR"),
        ] {
            assert_eq!(state(script), expected, "{script}");
        }
    }

    #[test]
    fn a_syn_captured_behind_its_answer_establishes() {
        let after_answer = |acknowledged: u32| {
            let mut tcp = Tcp::default();
            let packet = |flags, sequence, acknowledgement| Packet {
                flags,
                sequence,
                acknowledgement,
                length: 40,
                headers: 40,
                ..Zeroable::zeroed()
            };
            tcp.segment(&packet(SYN | ACK, 5000, acknowledged), 1);
            tcp.segment(&packet(SYN, u32::MAX, 0), 0);
            CONN_STATES[tcp.conn_state() as usize]
        };
        assert_eq!(after_answer(0), "S1");
        assert_eq!(after_answer(1), "OTH", "it answers another SYN");
    }

    #[test]
    fn a_syn_that_was_refused_is_known_by_its_number() {
        for (script, number) in
            [("St", Some(1000)), ("Sr", Some(1000)), ("S", None), ("ShAr", None), ("SDt", None)]
        {
            assert_eq!(play(script).0.refused(), number, "{script}");
        }
    }

    #[test]
    fn fins_acknowledged_from_both_sides_close() {
        let closes = |script| play(script).1.iter().position(|told| told.closes);
        assert_eq!(closes("ShADdFafA"), Some(8));
        assert_eq!(closes("ShADdFfA"), Some(7), "the second FIN acknowledges the first");
        assert_eq!(closes("ShADdFa"), None);
        assert_eq!(closes("ShAr"), Some(3));
    }

    #[test]
    fn handshake_is_timed_from_the_latest_syn_to_the_ack() {
        let (_, told) = play("ShA");
        assert_eq!(told[2].handshake, Some(200));
        assert_eq!(play("SShA").1[3].handshake, Some(200), "the latest SYN is the one that was answered");
        assert!(play("ShD").1[2].handshake.is_some(), "data acknowledges as well");
        assert!(play("hA").1.iter().all(|told| told.handshake.is_none()));
    }

    #[test]
    fn payload_below_the_highest_number_is_a_retransmission() {
        let mut tcp = Tcp::default();
        let mut send = |sequence: u32, payload: u32| {
            let packet =
                Packet { flags: ACK, sequence, length: 40 + payload, headers: 40, ..Zeroable::zeroed() };
            tcp.segment(&packet, 0).retransmits
        };
        assert!(!send(u32::MAX - 4, 10), "the first segment");
        assert!(!send(5, 10), "in order, across the end of the circle");
        assert!(send(u32::MAX - 4, 10));
        assert!(!send(0, 0), "an ACK carries nothing");
        assert!(!send(25, 10), "a gap is no retransmission");
        assert!(send(15, 10), "what fills it is below the highest");
    }
}
