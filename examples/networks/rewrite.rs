//! Other addresses in frames and labels.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::capture::{Frame, Label};
use crate::headers::{Headers, ICMP, ICMPV6, Layer, Mac, v4, v6};

/// Which address stands for which; what is not named stays.
#[derive(Default)]
pub(crate) struct Renaming {
    addresses: BTreeMap<IpAddr, IpAddr>,
    macs: BTreeMap<Mac, Mac>,
}

impl Renaming {
    /// Both addresses are of one version of IP. The group in which neighbours ask for an address goes with it.
    pub(crate) fn add(&mut self, from: IpAddr, to: IpAddr) {
        if let (IpAddr::V6(before), IpAddr::V6(after)) = (from, to) {
            let [before, after] = [before, after].map(solicited);
            self.addresses.insert(before.into(), after.into());
            self.macs.insert(group_mac(before), group_mac(after));
        }
        self.addresses.insert(from, to);
    }

    pub(crate) fn add_mac(&mut self, from: Mac, to: Mac) {
        self.macs.insert(from, to);
    }

    pub(crate) fn address(&self, address: IpAddr) -> IpAddr {
        self.addresses.get(&address).copied().unwrap_or(address)
    }

    pub(crate) fn label(&self, label: &mut Label) {
        label.ends = label.ends.map(|end| end.map(|address| self.address(address)));
    }

    pub(crate) fn frame(&self, frame: &mut Frame) {
        let bytes = &mut frame.bytes;
        let places = Places::of(bytes);
        for at in places.macs {
            let Some(old) = bytes.get(at..at + 6).and_then(|mac| Mac::try_from(mac).ok()) else { continue };
            if let Some(new) = self.macs.get(&old) {
                bytes[at..at + 6].copy_from_slice(new);
            }
        }
        for at in places.v4 {
            if let Some(IpAddr::V4(new)) = v4(bytes, at).map(|old| self.address(old)) {
                bytes[at..at + 4].copy_from_slice(&new.octets());
            }
        }
        for at in places.v6 {
            if let Some(IpAddr::V6(new)) = v6(bytes, at).map(|old| self.address(old)) {
                bytes[at..at + 16].copy_from_slice(&new.octets());
            }
        }
        for at in places.v4_headers {
            set_checksum(bytes, at);
        }
    }
}

/// Where a frame has addresses; what was captured may end before.
#[derive(Default)]
struct Places {
    macs: Vec<usize>,
    v4: Vec<usize>,
    v6: Vec<usize>,
    v4_headers: Vec<usize>,
}

impl Places {
    fn of(bytes: &[u8]) -> Places {
        let mut places = Places { macs: vec![0, 6], ..Places::default() };
        let Some(headers) = Headers::read(bytes) else { return places };
        let body = headers.transport;
        match headers.layer {
            Layer::Arp => {
                places.macs.extend([headers.at + 8, headers.at + 18]);
                places.v4.extend([headers.at + 14, headers.at + 24]);
            }
            Layer::V4 => places.add_v4(headers.at),
            Layer::V6 => places.add_v6(headers.at),
        }
        match (headers.protocol, bytes.get(body)) {
            // Errors carry the header of what they are about.
            (ICMP, Some(3 | 4 | 5 | 11 | 12)) => places.add_v4(body + 8),
            (ICMPV6, Some(1..=4)) => places.add_v6(body + 8),
            // Neighbours and redirections name an address; what follows it are options, with hardware addresses.
            (ICMPV6, Some(135 | 136)) => {
                places.v6.push(body + 8);
                places.add_options(bytes, body + 24);
            }
            (ICMPV6, Some(137)) => {
                places.v6.extend([body + 8, body + 24]);
                places.add_options(bytes, body + 40);
            }
            (ICMPV6, Some(133)) => places.add_options(bytes, body + 8),
            (ICMPV6, Some(134)) => places.add_options(bytes, body + 16),
            _ => {}
        }
        places
    }

    fn add_v4(&mut self, at: usize) {
        self.v4.extend([at + 12, at + 16]);
        self.v4_headers.push(at);
    }

    fn add_v6(&mut self, at: usize) {
        self.v6.extend([at + 8, at + 24]);
    }

    fn add_options(&mut self, bytes: &[u8], mut at: usize) {
        while let Some(&[kind, length]) = bytes.get(at..at + 2)
            && length > 0
        {
            if matches!(kind, 1 | 2) {
                self.macs.push(at + 2);
            }
            at += usize::from(length) * 8;
        }
    }
}

/// Computes the checksum of an IPv4 header anew, where all of it was captured.
pub(crate) fn set_checksum(bytes: &mut [u8], at: usize) {
    let Some(length) = bytes.get(at).map(|first| usize::from(first & 15) * 4) else { return };
    let Some(header) = bytes.get_mut(at..at + length).filter(|header| header.len() >= 20) else { return };
    header[10..12].fill(0);
    let mut sum: u32 = header.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// The group in which an address is asked for (RFC 4291, 2.7.1).
pub(crate) fn solicited(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 1, 0xFF00 | high & 0xFF, low)
}

/// The hardware address of a group (RFC 2464, 7).
pub(crate) fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}
