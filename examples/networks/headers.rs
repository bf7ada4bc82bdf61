//! What the headers of a frame say: who speaks to whom, by what, on which ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub(crate) type Mac = [u8; 6];

const VLAN: u16 = 0x8100;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;

/// Flags of TCP.
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Arp,
    V4,
    V6,
}

/// A frame that has addresses, read.
#[derive(Clone, Copy)]
pub(crate) struct Headers {
    pub(crate) layer: Layer,
    /// Where the header begins that holds the addresses.
    pub(crate) at: usize,
    /// Where the transport begins; what was captured may end before.
    pub(crate) transport: usize,
    /// Number of the transport; 0 for ARP.
    pub(crate) protocol: u8,
    /// Source and destination (of ARP sender and target).
    pub(crate) ends: [IpAddr; 2],
    /// Ports of source and destination, of TCP and UDP.
    pub(crate) ports: Option<[u16; 2]>,
}

/// Who spoke to whom, whichever way: the same for both directions.
pub(crate) type Conversation = ([(IpAddr, u16); 2], u8);

impl Headers {
    /// None for frames without addresses and for those cut before theirs end.
    pub(crate) fn read(bytes: &[u8]) -> Option<Headers> {
        let mut at = 14;
        let mut kind = word(bytes, 12)?;
        while kind == VLAN {
            kind = word(bytes, at + 2)?;
            at += 4;
        }
        let (layer, transport, protocol, ends) = match kind {
            ARP if word(bytes, at + 2)? == IPV4 => {
                (Layer::Arp, at + 28, 0, [v4(bytes, at + 14)?, v4(bytes, at + 24)?])
            }
            IPV4 => {
                let length = usize::from(bytes.get(at)? & 15) * 4;
                (Layer::V4, at + length, *bytes.get(at + 9)?, [v4(bytes, at + 12)?, v4(bytes, at + 16)?])
            }
            IPV6 => {
                let (mut protocol, mut from) = (*bytes.get(at + 6)?, at + 40);
                // Options and routing before the transport.
                while let (0 | 43 | 60, Some([next, length])) = (protocol, bytes.get(from..from + 2)) {
                    (protocol, from) = (*next, from + 8 + 8 * usize::from(*length));
                }
                (Layer::V6, from, protocol, [v6(bytes, at + 8)?, v6(bytes, at + 24)?])
            }
            _ => return None,
        };
        let is_fragment = layer == Layer::V4 && word(bytes, at + 6)? & 0x1FFF != 0;
        let ports = match protocol {
            TCP | UDP if !is_fragment => word(bytes, transport).zip(word(bytes, transport + 2)),
            _ => None,
        };
        Some(Headers { layer, at, transport, protocol, ends, ports: ports.map(|(from, to)| [from, to]) })
    }

    pub(crate) fn conversation(&self) -> Conversation {
        let [from, to] = self.ports.unwrap_or_default();
        let mut ends = [(self.ends[0], from), (self.ends[1], to)];
        ends.sort_unstable();
        (ends, self.protocol)
    }

    /// Flags of TCP, where they were captured.
    pub(crate) fn flags(&self, bytes: &[u8]) -> Option<u8> {
        (self.protocol == TCP).then(|| bytes.get(self.transport + 13).copied()).flatten()
    }

    /// Whether neighbours on a link ask for each other in it, or for a router.
    pub(crate) fn is_neighbour_discovery(&self, bytes: &[u8]) -> bool {
        self.protocol == ICMPV6 && bytes.get(self.transport).is_some_and(|kind| (133..=137).contains(kind))
    }
}

pub(crate) fn destination_mac(bytes: &[u8]) -> Mac {
    mac(bytes, 0)
}

pub(crate) fn source_mac(bytes: &[u8]) -> Mac {
    mac(bytes, 6)
}

fn mac(bytes: &[u8], at: usize) -> Mac {
    bytes.get(at..at + 6).and_then(|mac| mac.try_into().ok()).unwrap_or_default()
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn v4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?).into())
}

pub(crate) fn v6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?).into())
}

/// Whether an address is one host's: not of many, and not nobody's.
pub(crate) fn is_a_hosts(address: IpAddr) -> bool {
    !address.is_multicast()
        && !address.is_unspecified()
        && address != IpAddr::V4(Ipv4Addr::BROADCAST)
        && !matches!(address, IpAddr::V4(v4) if v4.octets()[3] == 255)
}

pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
