//! Community ID, version 1: a name for a flow that Zeek, Suricata and others compute alike
//! (corelight/community-id-spec).

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// What tells the two ends of a flow apart beside their addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// The ports of source and destination (TCP, UDP, SCTP).
    Ports(u16, u16),
    /// ICMP: type and code of a message from the source.
    Message(u8, u8),
    /// Nothing.
    Bare,
}

/// Bytes that are hashed, at most: seed, two addresses, protocol, two ports.
const HASHED: usize = 2 + 2 * 16 + 2 + 2 * 2;

/// Characters of a Community ID.
pub const LENGTH: usize = 30;

/// A Community ID, which is text.
pub type CommunityId = [u8; LENGTH];

/// The Community ID of a flow; both directions have the same.
///
/// Tunnels and VLANs are no part of it. The `seed` sets sites apart and is 0 by default.
pub fn community_id(protocol: u8, source: IpAddr, destination: IpAddr, ends: Ends, seed: u16) -> CommunityId {
    let (ports, one_way) = match ends {
        Ends::Ports(source, destination) => (Some((source, destination)), false),
        Ends::Message(kind, code) => match answer(protocol, kind) {
            Some(answer) => (Some((u16::from(kind), u16::from(answer))), false),
            None => (Some((u16::from(kind), u16::from(code))), true),
        },
        Ends::Bare => (None, false),
    };
    let (source, destination) = (octets(source), octets(destination));
    let (source_port, destination_port) = ports.unzip();
    let (mut low, mut high) = ((&source, source_port), (&destination, destination_port));
    if !one_way && high < low {
        std::mem::swap(&mut low, &mut high);
    }
    let (mut hashed, mut end) = ([0; HASHED], 0);
    let mut add = |bytes: &[u8]| {
        hashed[end..][..bytes.len()].copy_from_slice(bytes);
        end += bytes.len();
    };
    add(&seed.to_be_bytes());
    add(low.0);
    add(high.0);
    add(&[protocol, 0]);
    for port in [low.1, high.1].into_iter().flatten() {
        add(&port.to_be_bytes());
    }
    let mut id = *b"1:----------------------------";
    let written = STANDARD.encode_slice(Sha1::digest(&hashed[..end]), &mut id[2..]);
    debug_assert_eq!(written, Ok(LENGTH - 2), "20 bytes are 28 characters");
    id
}

/// The Community ID of a row; `None` if its addresses are none.
///
/// A row has the type of the flow's first packet. Where that is a reply its sender is the responder, so
/// the ends change places. (Whoever sent a request is the initiator, unless the key's previous flow says
/// otherwise: then the id is that of the opposite ping.)
pub(super) fn id_of_row(protocol: u8, source: &str, destination: &str, ends: Ends) -> Option<CommunityId> {
    let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
    let reply = match (protocol, ends) {
        (ICMP, Ends::Message(kind, _)) => matches!(kind, 0 | 14 | 16 | 18),
        (ICMP6, Ends::Message(kind, _)) => kind == 129,
        _ => false,
    };
    let (from, to) = if reply { (destination, source) } else { (source, destination) };
    Some(community_id(protocol, from, to, ends, 0))
}

fn octets(address: IpAddr) -> SmallVec<[u8; 16]> {
    match address {
        IpAddr::V4(address) => SmallVec::from_slice(&address.octets()),
        IpAddr::V6(address) => SmallVec::from_slice(&address.octets()),
    }
}

/// The ICMP type that answers this one, or that this one answers; `None` for messages that go one way.
fn answer(protocol: u8, kind: u8) -> Option<u8> {
    let pairs: &[(u8, u8)] = match protocol {
        ICMP => &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)],
        ICMP6 => &[(128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)],
        _ => &[],
    };
    pairs.iter().find_map(|(ask, reply)| match kind {
        _ if kind == *ask => Some(*reply),
        _ if kind == *reply => Some(*ask),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the specification: protocol, source, destination, their ports (or ICMP type and
    /// code), seed, id.
    const VECTORS: &str = "\
6 1.2.3.4 5.6.7.8 1122 3344 0 1:wCb3OG7yAFWelaUydu0D+125CLM=
6 5.6.7.8 1.2.3.4 3344 1122 0 1:wCb3OG7yAFWelaUydu0D+125CLM=
17 1.2.3.4 5.6.7.8 1122 3344 0 1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg=
132 1.2.3.4 5.6.7.8 1122 3344 0 1:EKt4MsxuyaE6mL+hmrEkQ9csDD8=
1 1.2.3.4 5.6.7.8 8 0 0 1:crodRHL2FEsHjbv3UkRrfbs4bZ0=
1 5.6.7.8 1.2.3.4 0 0 0 1:crodRHL2FEsHjbv3UkRrfbs4bZ0=
1 1.2.3.4 5.6.7.8 11 0 0 1:f/YiSyWqczrTgfUCZlBUnvHRcPk=
58 fe80:0001:0203:0405:0607:0809:0A0B:0C0D fe80:1011:1213:1415:1617:1819:1A1B:1C1D 128 0 0 1:0bf7hyMJUwt3fMED7z8LIfRpBeo=
58 fe80:0001:0203:0405:0607:0809:0A0B:0C0D fe80:1011:1213:1415:1617:1819:1A1B:1C1D 146 0 0 1:fYC8+pz24E+EhANP1EZhpX0Dw10=
46 1.2.3.4 5.6.7.8 - - 0 1:ikv3kmf89luf73WPz1jOs49S768=
6 1.2.3.4 5.6.7.8 1122 3344 1 1:HhA1B+6CoLbiKPEs5nhNYN4XWfk=
46 1.2.3.4 5.6.7.8 - - 1 1:/buhqeOmaRCopOZFy9HnoJd5XW8=";

    #[test]
    fn ids_are_those_of_the_specification() {
        for line in VECTORS.lines() {
            let [protocol, source, destination, first, second, seed, id] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let protocol = protocol.parse().unwrap();
            let ends = match protocol {
                ICMP | ICMP6 => Ends::Message(first.parse().unwrap(), second.parse().unwrap()),
                46 => Ends::Bare,
                _ => Ends::Ports(first.parse().unwrap(), second.parse().unwrap()),
            };
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            assert_eq!(
                community_id(protocol, source, destination, ends, seed.parse().unwrap()),
                id.as_bytes(),
                "{line}"
            );
        }
    }

    #[test]
    fn both_directions_have_one_id_unless_messages_go_one_way() {
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let id = |from, to, ends| community_id(17, from, to, ends, 0);
        assert_eq!(id(a, b, Ends::Ports(9, 7)), id(b, a, Ends::Ports(7, 9)));
        assert_eq!(id(a, a, Ends::Ports(9, 7)), id(a, a, Ends::Ports(7, 9)));
        assert_eq!(id(a, b, Ends::Bare), id(b, a, Ends::Bare));
        for kind in 0..=255 {
            let id = |from, to, kind| community_id(ICMP, from, to, Ends::Message(kind, 3), 0);
            match answer(ICMP, kind) {
                Some(reply) => assert_eq!(id(a, b, kind), id(b, a, reply), "{kind}"),
                None => assert_ne!(id(a, b, kind), id(b, a, kind), "{kind}"),
            }
        }
    }
}
