//! A network of IPv4 and IPv6 in IPv6 alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::capture::{Frame, Network};
use crate::headers::{Headers, ICMP, ICMPV6, Layer, TCP, UDP, is_a_hosts};
use crate::rewrite::group_mac;

/// The shortest frame on a wire.
const SHORTEST: u32 = 60;

impl Network {
    /// What is IPv4 says the same in IPv6, under addresses of its own. ARP and what IPv6 has no word for are left out.
    pub(crate) fn in_version_6(&self) -> Network {
        let all = |frames: &[Frame]| frames.iter().filter_map(frame).collect();
        let mut labels = self.labels.clone();
        for label in &mut labels {
            label.ends = label.ends.map(|end| end.map(address));
        }
        labels.retain(|label| label.protocol != "arp");
        Network { train: all(&self.train), dev: all(&self.dev), labels }
    }
}

/// Nets stay nets (/24 becomes /64), private ones private, groups groups of the link.
fn address(of: IpAddr) -> IpAddr {
    let IpAddr::V4(v4) = of else { return of };
    let [a, b, c, d] = v4.octets().map(u16::from);
    IpAddr::V6(match v4 {
        Ipv4Addr::UNSPECIFIED => Ipv6Addr::UNSPECIFIED,
        _ if v4.is_multicast() => Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, a << 8 | b, c << 8 | d),
        _ if !is_a_hosts(of) => Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1),
        _ if v4.is_link_local() => Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, c, d),
        _ if v4.is_private() => Ipv6Addr::new(0xFD04, a << 8 | b, c, 0, 0, 0, 0, d),
        _ => Ipv6Addr::new(0x2001, 0x0DB8, a << 8 | b, c, 0, 0, 0, d),
    })
}

fn frame(of: &Frame) -> Option<Frame> {
    let headers = Headers::read(&of.bytes)?;
    match headers.layer {
        Layer::Arp => return None,
        Layer::V6 => return Some(of.clone()),
        Layer::V4 => {}
    }
    let (old, at) = (&of.bytes, headers.at);
    let total = u16::from_be_bytes([old[at + 2], old[at + 3]]);
    let payload = total.checked_sub((headers.transport - at) as u16)?;
    let transport = old.get(headers.transport..)?;
    let transport = &transport[..transport.len().min(usize::from(payload))];
    let (protocol, transport) = match headers.protocol {
        TCP | UDP => (headers.protocol, transport.to_vec()),
        ICMP => (ICMPV6, message(transport)?),
        _ => return None,
    };
    let [IpAddr::V6(src), IpAddr::V6(dst)] = headers.ends.map(address) else { return None };
    let mut bytes = old[..at].to_vec();
    if dst.is_multicast() {
        bytes[..6].copy_from_slice(&group_mac(dst));
    }
    bytes[at - 2..].copy_from_slice(&0x86DD_u16.to_be_bytes());
    let (class, hops) = (u32::from(old[at + 1]), old[at + 8]);
    bytes.extend((6 << 28 | class << 20).to_be_bytes());
    bytes.extend(payload.to_be_bytes());
    bytes.extend([protocol, hops]);
    bytes.extend(src.octets());
    bytes.extend(dst.octets());
    bytes.extend(transport);
    let length = (at as u32 + 40 + u32::from(payload)).max(SHORTEST);
    Some(Frame { time: of.time, length, bytes })
}

/// A message of ICMP by the numbers of ICMPv6 (RFC 7915, 4.2), its first eight bytes.
fn message(of: &[u8]) -> Option<Vec<u8>> {
    let (kind, code) = match of.get(..2)? {
        [8, _] => (128, 0),
        [0, _] => (129, 0),
        [3, 3] => (1, 4),
        [3, 9 | 10 | 13] => (1, 1),
        [3, _] => (1, 0),
        [11, code] => (3, *code),
        _ => return None,
    };
    Some([&[kind, code], of.get(2..8)?].concat())
}
