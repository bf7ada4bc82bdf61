//! Who began: the rules by which one end of a flow's first packet is called the initiator.

use super::names::is_named;
use super::tcp::{ACK, SYN};
use crate::packet::{BACKWARD, FlowKey, LATER_FRAGMENT, Packet};

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// Who began a flow, as far as its first packet says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Began {
    /// The key's end `b` did.
    pub by_b: bool,
    /// That is guessed from ports without a name against the sender of the first packet. Where the other end says nothing in
    /// the flow's first row, the sender began after all: a flood that nobody answers was not begun by its victim.
    pub is_guess: bool,
}

/// Who began the flow that begins with `first`.
///
/// The sender of the first packet began, with these exceptions, in order: a SYN-ACK or an ICMP reply
/// comes from the responder; without a SYN, the initiator of the key's `previous` flow (given if it
/// ended recently enough) began this one too; else of two ports of which one has a name ([`is_named`]) the other is the
/// initiator's, and else of two on either side of 1024, else of 32768, the higher. That is a guess without TCP.
///
/// What came before says nothing about ICMP and ICMPv6: their messages have no connection to go on, each end may
/// ask the other (neighbours do, RFC 4861), and the type says whether it is asked or answered. A fragment that is not the
/// first has no type: whoever sent it began.
pub fn began(first: &Packet, previous: Option<bool>) -> Began {
    let sender_is_b = first.bits & BACKWARD != 0;
    let key = &first.key;
    let sure = |by_b| Began { by_b, is_guess: false };
    if key.protocol == TCP && first.flags & SYN != 0 {
        return sure(sender_is_b ^ (first.flags & ACK != 0));
    }
    if matches!(key.protocol, ICMP | ICMP6) {
        let replies = first.bits & LATER_FRAGMENT == 0 && is_reply(key.protocol, first.icmp_type);
        return sure(sender_is_b ^ replies);
    }
    match previous.or_else(|| told_by_service(key)) {
        Some(by_b) => sure(by_b),
        None => {
            let by_b = told_by_range(key).unwrap_or(sender_is_b);
            Began { by_b, is_guess: key.protocol != TCP && by_b != sender_is_b }
        }
    }
}

/// Ports of clients that have names: DHCP's.
const CLIENTS: [u16; 2] = [68, 546];

/// Whether a flow without anything before it was begun by the key's end `b`, where the other end's port is a service's.
fn told_by_service(key: &FlowKey) -> Option<bool> {
    let [a, b] = [key.port_a, key.port_b].map(|port| is_named(port) && !CLIENTS.contains(&port));
    (a != b).then_some(a)
}

/// The same where the ports are on either side of 1024, below which systems give none to clients, or else of 32768, from
/// which on they do.
fn told_by_range(key: &FlowKey) -> Option<bool> {
    let tells = |border| (key.port_a < border) != (key.port_b < border);
    [1024, 32768].into_iter().any(tells).then_some(key.port_b > key.port_a)
}

/// Whether the initiator of a flow makes a difference as the `previous` one of a later flow of the same key.
pub(super) fn must_be_remembered(key: &FlowKey, initiator_is_b: bool) -> bool {
    let told = || told_by_service(key).or_else(|| (key.protocol == TCP).then(|| told_by_range(key))?);
    !matches!(key.protocol, ICMP | ICMP6) && told() != Some(initiator_is_b)
}

/// Echo, timestamp, information and address mask replies (RFC 792, 950); echo replies of ICMPv6 (RFC 4443).
fn is_reply(protocol: u8, icmp_type: u8) -> bool {
    match protocol {
        ICMP => matches!(icmp_type, 0 | 14 | 16 | 18),
        ICMP6 => icmp_type == 129,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    fn initiator_is_b(first: &Packet, previous: Option<bool>) -> bool {
        began(first, previous).by_b
    }

    fn packet(protocol: u8, ports: (u16, u16), bits: u8, flags: u8, icmp_type: u8) -> Packet {
        let mut packet = Packet { bits, flags, icmp_type, ..Zeroable::zeroed() };
        packet.key.protocol = protocol;
        (packet.key.port_a, packet.key.port_b) = ports;
        packet
    }

    #[test]
    fn a_syn_comes_from_the_initiator_whatever_the_ports() {
        assert!(!initiator_is_b(&packet(TCP, (80, 50_000), 0, SYN, 0), Some(true)));
        assert!(initiator_is_b(&packet(TCP, (80, 50_000), 0, SYN | ACK, 0), Some(false)));
    }

    #[test]
    fn an_icmp_reply_comes_from_the_responder() {
        assert!(initiator_is_b(&packet(ICMP, (0, 0), 0, 0, 0), None));
        assert!(!initiator_is_b(&packet(ICMP, (0, 0), 0, 0, 8), None));
        assert!(!initiator_is_b(&packet(ICMP6, (0, 0), BACKWARD, 0, 129), None));
    }

    #[test]
    fn a_later_fragment_of_icmp_is_no_reply() {
        assert!(!initiator_is_b(&packet(ICMP, (0, 0), LATER_FRAGMENT, 0, 0), None));
        assert!(initiator_is_b(&packet(ICMP, (0, 0), LATER_FRAGMENT | BACKWARD, 0, 0), Some(false)));
    }

    #[test]
    fn whoever_asks_by_icmp_begins_whoever_asked_before() {
        const NEIGHBOR_SOLICITATION: u8 = 135;
        for previous in [None, Some(false), Some(true)] {
            let solicits = |bits| packet(ICMP6, (0, 0), bits, 0, NEIGHBOR_SOLICITATION);
            assert!(!initiator_is_b(&solicits(0), previous));
            assert!(initiator_is_b(&solicits(BACKWARD), previous));
            assert!(!initiator_is_b(&packet(ICMP, (0, 0), BACKWARD, 0, 0), previous), "a reply");
        }
    }

    #[test]
    fn without_a_syn_the_previous_initiator_stays() {
        assert!(initiator_is_b(&packet(TCP, (50_000, 80), 0, ACK, 0), Some(true)));
        assert!(!initiator_is_b(&packet(17, (53, 5353), BACKWARD, 0, 0), Some(false)));
    }

    #[test]
    fn what_need_not_be_remembered_makes_no_difference() {
        for (protocol, flags) in [(TCP, ACK), (TCP, SYN), (TCP, SYN | ACK), (17, 0), (ICMP, 0), (ICMP6, 0)] {
            for ports in [
                (80, 50_000),
                (50_000, 80),
                (5000, 6000),
                (40_000, 33_000),
                (2000, 40_000),
                (7, 7),
                (736, 2049),
            ] {
                for (bits, previous) in [(0, false), (0, true), (BACKWARD, false), (BACKWARD, true)] {
                    let first = packet(protocol, ports, bits, flags, 8);
                    let told = [None, Some(previous)].map(|previous| initiator_is_b(&first, previous));
                    assert!(must_be_remembered(&first.key, previous) || told[0] == told[1]);
                }
            }
        }
    }

    #[test]
    fn ports_decide_where_nothing_is_remembered() {
        assert!(initiator_is_b(&packet(TCP, (443, 1024), 0, ACK, 0), None));
        assert!(!initiator_is_b(&packet(17, (40_000, 8080), BACKWARD, 0, 0), None));
        assert!(initiator_is_b(&packet(17, (5000, 6000), BACKWARD, 0, 0), None), "the sender, on one side");
        for other in [736, 26_384, 60_441] {
            assert!(
                initiator_is_b(&packet(17, (51_820, other), 0, 0, 0), None),
                "a name is the responder's: {other}"
            );
            assert!(!initiator_is_b(&packet(TCP, (other, 2049), BACKWARD, ACK, 0), None), "{other}");
        }
    }

    #[test]
    fn without_tcp_and_names_ports_are_a_guess_against_the_sender() {
        let guessed = |protocol, ports, bits, previous| {
            let Began { by_b, is_guess } = began(&packet(protocol, ports, bits, ACK, 0), previous);
            (by_b, is_guess)
        };
        assert_eq!(guessed(17, (9004, 40_000), 0, None), (true, true), "an answer, or a flood");
        assert_eq!(guessed(17, (9004, 40_000), BACKWARD, None), (true, false), "the sender, too");
        assert_eq!(guessed(17, (9004, 40_000), 0, Some(true)), (true, false));
        assert_eq!(guessed(TCP, (9004, 40_000), 0, None), (true, false));
        assert_eq!(guessed(17, (53, 40_000), 0, None), (true, false), "an answer");
        assert_eq!(guessed(17, (67, 68), 0, None), (true, false), "an offer");
        assert_eq!(guessed(17, (68, 40_000), 0, None), (true, true), "a client's port is nobody's service");
        assert_eq!(guessed(17, (546, 547), BACKWARD, None), (false, false), "an advertisement");
    }
}
