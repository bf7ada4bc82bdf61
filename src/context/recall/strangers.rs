//! Networks that are not one's own and whose hosts begin much of what training saw, as one's own hosts do.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::local::Networks;
use super::Memory;
use super::columns::PAIR;
use super::link::network;

/// Hosts from which on a network is told of: fewer are a few servers somewhere.
const HOSTS: u64 = 3;

/// Destinations from which on a host is one that is at home on a network: who comes to it from outside has few.
const SEVERAL: u64 = 3;

/// A network is told of whose hosts are the sources of one pair in so many. Strangers come from everywhere.
const SHARE: u64 = 4;

/// A network that is not one's own, of hosts that behave like one's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Busy {
    /// As `[context] local` would name it.
    pub(crate) network: String,
    /// Its hosts that began flows.
    pub(crate) hosts: u64,
    /// Of all pairs of a source and a destination, those in a hundred of which they are the source.
    pub(crate) percent: u64,
}

/// Of hosts of one network.
#[derive(Default)]
struct Sources {
    hosts: u64,
    /// Those of them that have several destinations.
    at_home: u64,
    pairs: u64,
}

impl Memory {
    /// Networks (of 24 bits, of 64 with IPv6) outside of `local` whose hosts begin flows as those of one's own network do: at
    /// least three and half of them to several destinations, and together a quarter of all pairs of a source and a
    /// destination. In the order of their names; there are four at most.
    pub(crate) fn busy_strangers(&self, local: &Networks) -> Vec<Busy> {
        let mut all = 0;
        let mut destinations: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for known in self.all().filter(|known| (known.key.code() >> 24) as usize == PAIR) {
            all += 1;
            let [src, _] = known.key.ends();
            if let Some(ip) = src.ip().filter(|_| !local.hold(&src)) {
                *destinations.entry(ip).or_default() += 1;
            }
        }
        let mut networks: BTreeMap<String, Sources> = BTreeMap::new();
        for (host, pairs) in destinations {
            if let Some(network) = network(host) {
                let sources = networks.entry(network).or_default();
                sources.hosts += 1;
                sources.at_home += u64::from(pairs >= SEVERAL);
                sources.pairs += pairs;
            }
        }
        let busy = networks.into_iter().filter(|(_, Sources { hosts, at_home, pairs })| {
            *at_home >= HOSTS && 2 * at_home >= *hosts && SHARE * pairs >= all
        });
        busy.map(|(network, Sources { hosts, pairs, .. })| Busy {
            network,
            hosts,
            percent: 100 * pairs / all,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::shard::Known;
    use super::*;
    use crate::context::address::Address;
    use crate::context::entity::Key;

    /// What is told of hosts of one's own that have so many destinations in all, beside others.
    fn told(own: u32, others: &[(&str, u32)]) -> Vec<String> {
        let pairs = |src: &str, count: u32| {
            let src = Address::parse(Some(src));
            let pair = move |number: u32| {
                let dst = Address::parse(Some(&format!("192.0.{}.{}", number / 256, number % 256)));
                let key = Key::of(Some(&src), Some(&dst), (PAIR as u32) << 24);
                Known { key, first: 0, last: 0, starts: None, learned: false }
            };
            (0..count).map(pair).collect::<Vec<_>>()
        };
        let mut memory = Memory::default();
        memory.extend(pairs("10.0.0.1", own));
        others.iter().for_each(|(src, count)| memory.extend(pairs(src, *count)));
        let local = Networks::parse(&["10.0.0.0/8".to_owned()]).unwrap();
        let told = memory.busy_strangers(&local).into_iter();
        told.map(|Busy { network, hosts, percent }| format!("{hosts} of {network} {percent} %")).collect()
    }

    #[test]
    fn a_network_that_begins_much_is_told_of() {
        let hosts =
            [("2001:db8:1::a", 9), ("2001:db8:1::b", 8), ("2001:db8:1:0:7::", 3), ("2001:db8:1::c", 1)];
        assert_eq!(told(0, &hosts), ["4 of 2001:db8:1::/64 100 %"]);
        assert_eq!(told(63, &hosts), ["4 of 2001:db8:1::/64 25 %"]);
        assert_eq!(told(64, &hosts), [""; 0], "less than a quarter");
        assert_eq!(told(0, &hosts[..2]), [""; 0], "two hosts are no network");
        let two = [1, 2, 3].map(|host| [format!("198.51.100.{host}"), format!("203.0.113.{host}")]);
        let two: Vec<(&str, u32)> = two.iter().flatten().map(|host| (host.as_str(), 4)).collect();
        assert_eq!(told(0, &two), ["3 of 198.51.100.0/24 50 %", "3 of 203.0.113.0/24 50 %"]);
    }

    #[test]
    fn clients_from_outside_are_not() {
        let clients: Vec<String> = (0..200).map(|host| format!("203.0.113.{host}")).collect();
        let clients: Vec<(&str, u32)> = clients.iter().map(|host| (host.as_str(), 2)).collect();
        assert_eq!(told(5, &clients), [""; 0], "each has two servers");
        let everywhere: Vec<String> = (0..200).map(|net| format!("203.{}.{net}.7", net % 3)).collect();
        let everywhere: Vec<(&str, u32)> = everywhere.iter().map(|host| (host.as_str(), 9)).collect();
        assert_eq!(told(5, &everywhere), [""; 0]);
        assert_eq!(told(0, &[]), [""; 0]);
    }
}
