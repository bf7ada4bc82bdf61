//! Networks on the captured link that were not named as one's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::entity::Address;
use super::super::local::Networks;
use super::Memory;

/// Hosts from which on a network is told of: fewer may be routers, of which a link may have several.
const HOSTS: usize = 3;

/// A network on the captured link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OnLink {
    /// As `[context] local` would name it.
    pub(crate) network: String,
    /// Hosts of it that were seen to be on the link.
    pub(crate) hosts: usize,
}

impl Memory {
    /// Networks (of 24 bits, of 64 with IPv6) outside of `local` with several hosts on the captured link. A host is
    /// there if it sent what no router passes on: to the multicast addresses of a link (RFC 5771, section 4; RFC 4291,
    /// section 2.7), as neighbour discovery and names do, or to all (RFC 919).
    pub(crate) fn on_link(&self, local: &Networks) -> Vec<OnLink> {
        let mut hosts: BTreeMap<(u8, u128), BTreeSet<Address>> = BTreeMap::new();
        for [src, dst] in self.pairs() {
            if stays_on_link(&dst)
                && !local.hold(&src)
                && let Some(network) = network(&src)
            {
                hosts.entry(network).or_default().insert(src);
            }
        }
        let many = hosts.into_iter().filter(|(_, hosts)| hosts.len() >= HOSTS);
        many.map(|((version, network), hosts)| OnLink {
            network: named(version, network),
            hosts: hosts.len(),
        })
        .collect()
    }
}

fn stays_on_link(address: &Address) -> bool {
    match address.parts() {
        (4, bytes) => bytes[..3] == [224, 0, 0] || bytes[..4] == [255; 4],
        (6, bytes) => bytes[0] == 0xff && bytes[1] & 0xf == 2,
        _ => false,
    }
}

/// The network of a host; none of an address that is no host's.
fn network(address: &Address) -> Option<(u8, u128)> {
    let (version, bytes) = address.parts();
    let bits = u128::from_be_bytes(bytes);
    let bits = match version {
        4 if bits > 0 => bits >> 104 << 104,
        6 if bits > 1 => bits >> 64 << 64,
        _ => return None,
    };
    Some((version, bits))
}

fn named(version: u8, network: u128) -> String {
    match version {
        4 => format!("{}/24", Ipv4Addr::from((network >> 96) as u32)),
        _ => format!("{}/64", Ipv6Addr::from(network)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::shard::Known;
    use super::*;
    use crate::context::entity::Key;
    use crate::context::recall::IDENTITIES;

    fn memory(pairs: &[(&str, &str)]) -> Memory {
        let kind = IDENTITIES.iter().position(|identity| identity.name == "pair").unwrap() as u32;
        let known = pairs.iter().map(|(src, dst)| {
            let [src, dst] = [src, dst].map(|text| Address::parse(Some(text)));
            let key = Key::of(Some(&src), Some(&dst), kind << 24);
            Known { key, first: 0, last: 0, starts: None, learned: false }
        });
        let mut memory = Memory::default();
        memory.extend(known.collect());
        memory
    }

    fn told(pairs: &[(&str, &str)]) -> Vec<(String, usize)> {
        let local = Networks::parse(&["10.0.0.0/8".to_owned(), "fe80::/10".to_owned()]).unwrap();
        memory(pairs).on_link(&local).into_iter().map(|found| (found.network, found.hosts)).collect()
    }

    #[test]
    fn hosts_that_speak_to_their_link_alone_are_on_it() {
        let found = told(&[
            ("2001:db8:1:2::a", "ff02::1:ff00:1"),
            ("2001:db8:1:2::a", "ff02::fb"),
            ("2001:db8:1:2::b", "ff02::1:ff00:1"),
            ("2001:db8:1:2:3::c", "ff12::5"),
            ("198.51.100.3", "224.0.0.251"),
            ("198.51.100.4", "255.255.255.255"),
            ("198.51.100.200", "224.0.0.22"),
        ]);
        assert_eq!(found, [("198.51.100.0/24".to_owned(), 3), ("2001:db8:1:2::/64".to_owned(), 3)]);
    }

    #[test]
    fn strangers_routers_and_what_is_local_are_not_told_of() {
        let strangers = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];
        assert_eq!(told(&strangers.map(|host| (host, "198.51.100.1"))), []);
        assert_eq!(told(&strangers.map(|host| (host, "239.255.255.250"))), [], "routers pass it on");
        assert_eq!(told(&strangers[..2].iter().map(|host| (*host, "224.0.0.5")).collect::<Vec<_>>()), []);
        assert_eq!(told(&["10.1.1.1", "10.1.1.2", "10.1.1.3"].map(|host| (host, "224.0.0.251"))), []);
        assert_eq!(told(&["fe80::1", "fe80::2", "fe80::3"].map(|host| (host, "ff02::fb"))), []);
        assert_eq!(told(&["::", "0.0.0.0", "printer"].map(|host| (host, "ff02::16"))), []);
    }
}
