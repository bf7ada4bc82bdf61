//! Networks on the captured link that were not named as one's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::super::address::Address;
use super::super::entity::ICMP6;
use super::super::local::Networks;
use super::Memory;
use super::columns::{PAIR, PAIRPORT};
use super::tables::PORT;

/// Networks that are told of at most, those of most hosts: a link has few, whatever addresses somebody makes up on it.
const MOST: usize = 16;

/// Hosts from which on a network is told of: fewer may be routers, of which a link may have several.
const HOSTS: usize = 3;

/// Protocol and type of what neighbours ask and tell one another in ICMPv6, as keys have them.
const DISCOVERY: RangeInclusive<u32> = (ICMP6 << 16 | 133)..=(ICMP6 << 16 | 137);

/// A network on the captured link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OnLink {
    /// As `[context] local` would name it.
    pub(crate) network: String,
    /// Hosts of it that were seen to be on the link.
    pub(crate) hosts: usize,
}

impl Memory {
    /// Networks (of 24 bits, of 64 with IPv6) outside of `local` with several hosts on the captured link, as what no
    /// router passes on shows: what goes to all (RFC 919) or to the multicast addresses of a link (RFC 5771, section 4; RFC
    /// 4291, section 2.7), what comes from or goes to an address of the link alone (RFC 3927, RFC 4291), neighbour
    /// discovery (RFC 4861). In the order of their names.
    pub(crate) fn on_link(&self, local: &Networks) -> Vec<OnLink> {
        let mut hosts: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut shown = |host: Address| {
            if let Some(ip) = host.ip().filter(|_| !local.hold(&host))
                && let Some(network) = network(ip)
            {
                hosts.entry(network).or_default().insert(ip);
            }
        };
        for known in self.all() {
            let (code, [src, dst]) = (known.key.code(), known.key.ends());
            let neighbours = match (code >> 24) as usize {
                PAIR => [src, dst].iter().filter_map(Address::ip).any(is_of_link),
                PAIRPORT => DISCOVERY.contains(&(code & PORT)),
                _ => continue,
            };
            if neighbours || dst.ip().is_some_and(is_to_link) {
                shown(src);
            }
            if neighbours {
                shown(dst);
            }
        }
        let all = hosts.into_iter().map(|(network, hosts)| OnLink { network, hosts: hosts.len() });
        let mut all: Vec<OnLink> = all.filter(|found| found.hosts >= HOSTS).collect();
        all.sort_by_key(|found| std::cmp::Reverse(found.hosts));
        all.truncate(MOST);
        all.sort_by(|a, b| a.network.cmp(&b.network));
        all
    }
}

/// Whether only hosts of the same link are told by this address.
fn is_to_link(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(address) => address.is_broadcast() || address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

/// Whether it is the address of a host on one link and no other.
fn is_of_link(host: IpAddr) -> bool {
    match host {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The network of a host, as it is written; none of an address that is no host's.
pub(super) fn network(host: IpAddr) -> Option<String> {
    if host.is_unspecified() || host.is_loopback() || host.is_multicast() {
        return None;
    }
    match host {
        IpAddr::V4(address) if address.is_broadcast() => None,
        IpAddr::V4(address) => Some(format!("{}/24", Ipv4Addr::from_bits(address.to_bits() >> 8 << 8))),
        IpAddr::V6(address) => Some(format!("{}/64", Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::shard::Known;
    use super::*;
    use crate::context::ContextSpec;
    use crate::context::entity::Key;

    /// What remembers pairs of one kind, with a port or a type of message.
    fn remembering(kind: usize, pairs: &[(&str, &str)], port: u32) -> Memory {
        let known = pairs.iter().map(|(src, dst)| {
            let [src, dst] = [src, dst].map(|text| Address::parse(Some(text)));
            let key = Key::of(Some(&src), Some(&dst), (kind as u32) << 24 | port);
            Known { key, first: 0, last: 0, starts: None, learned: false }
        });
        let mut memory = Memory::default();
        memory.extend(known.collect());
        memory
    }

    fn told(kind: usize, pairs: &[(&str, &str)], port: u32) -> Vec<(String, usize)> {
        let local = Networks::parse(&["10.0.0.0/8".to_owned(), "fe80::/10".to_owned()]).unwrap();
        let found = remembering(kind, pairs, port).on_link(&local);
        found.into_iter().map(|found| (found.network, found.hosts)).collect()
    }

    #[test]
    fn hosts_that_speak_to_their_link_alone_are_on_it() {
        let found = told(
            PAIR,
            &[
                ("2001:db8:1:2::a", "ff02::1:ff00:1"),
                ("2001:db8:1:2::a", "ff02::fb"),
                ("2001:db8:1:2::b", "ff02::1:ff00:1"),
                ("2001:db8:1:2:3::c", "ff12::5"),
                ("2001:db8:7::1", "fe80::1"),
                ("fe80::1", "2001:db8:7::2"),
                ("2001:db8:7::3", "fe80::1"),
                ("198.51.100.3", "224.0.0.251"),
                ("198.51.100.4", "255.255.255.255"),
                ("198.51.100.200", "224.0.0.22"),
            ],
            0,
        );
        let found: Vec<(&str, usize)> =
            found.iter().map(|(network, hosts)| (network.as_str(), *hosts)).collect();
        assert_eq!(found, [("198.51.100.0/24", 3), ("2001:db8:1:2::/64", 3), ("2001:db8:7::/64", 3)]);
    }

    #[test]
    fn neighbours_that_look_for_one_another_are_on_a_link() {
        let pairs = [("2001:db8::1", "2001:db8::2"), ("2001:db8::3", "ff02::1:ff00:2")];
        let discovery = |port| told(PAIRPORT, &pairs, port);
        for kind in 133..=137 {
            assert_eq!(discovery(58 << 16 | kind), [("2001:db8::/64".to_owned(), 3)], "type {kind}");
        }
        assert_eq!(discovery(58 << 16 | 128), []);
        assert_eq!(discovery(17 << 16 | 135), []);
    }

    #[test]
    fn of_many_networks_those_of_most_hosts_are_told_of() {
        let hosts: Vec<String> = (0..40)
            .flat_map(|net| (0..3 + net % 2 * 5).map(move |host| format!("198.51.{net}.{host}")))
            .collect();
        let pairs: Vec<(&str, &str)> = hosts.iter().map(|host| (host.as_str(), "224.0.0.251")).collect();
        let found = told(PAIR, &pairs, 0);
        assert_eq!(found.len(), MOST);
        assert!(found.iter().all(|(_, hosts)| *hosts == 8), "{found:?}");
    }

    #[test]
    fn what_the_link_shows_is_ones_own_for_rows_to_come_where_link_is_named() {
        let hosts = ["198.51.100.1", "198.51.100.2", "198.51.100.3"].map(|host| (host, "224.0.0.251"));
        let memory = remembering(PAIR, &hosts, 0);
        let settled = |local: &[&str], memory: Option<&Memory>| {
            let local = local.iter().map(|text| (*text).to_owned()).collect();
            let (spec, found) = ContextSpec { local, ..ContextSpec::default() }.settled(memory).unwrap();
            (spec.local.join(" "), found.len())
        };
        let own = ("10.0.0.0/8 198.51.100.0/24".to_owned(), 1);
        assert_eq!(settled(&["link", "10.0.0.0/8"], Some(&memory)), own);
        // What is named already is not named twice, and nothing is taken that was not asked for.
        assert_eq!(settled(&["198.51.0.0/16", "link"], Some(&memory)), ("198.51.0.0/16".to_owned(), 0));
        assert_eq!(settled(&["10.0.0.0/8"], Some(&memory)), ("10.0.0.0/8".to_owned(), 0));
        assert_eq!(settled(&["10.0.0.0/8", "link"], None), ("10.0.0.0/8".to_owned(), 0));
        let (spec, found) = ContextSpec::default().settled(Some(&memory)).unwrap();
        assert_eq!((spec.local.last().map(String::as_str), found.len()), (Some("198.51.100.0/24"), 1));
        // A second time there is nothing to be found.
        assert_eq!(spec.settled(Some(&memory)).unwrap(), (spec, Vec::new()));
    }

    #[test]
    fn strangers_routers_and_what_is_local_are_not_told_of() {
        let strangers = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];
        let told = |pairs: &[(&str, &str)]| told(PAIR, pairs, 0);
        assert_eq!(told(&strangers.map(|host| (host, "198.51.100.1"))), []);
        assert_eq!(told(&strangers.map(|host| (host, "239.255.255.250"))), [], "routers pass it on");
        assert_eq!(told(&strangers[..2].iter().map(|host| (*host, "224.0.0.5")).collect::<Vec<_>>()), []);
        assert_eq!(told(&["10.1.1.1", "10.1.1.2", "10.1.1.3"].map(|host| (host, "224.0.0.251"))), []);
        assert_eq!(told(&["fe80::1", "fe80::2", "fe80::3"].map(|host| (host, "ff02::fb"))), []);
        assert_eq!(told(&["::", "0.0.0.0", "printer"].map(|host| (host, "ff02::16"))), []);
    }
}
