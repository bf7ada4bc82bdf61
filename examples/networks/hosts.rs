//! Who is in a network: its hosts, what they are, how much they talk, and in which net.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::capture::Frame;
use crate::headers::{
    ACK, Conversation, Headers, Layer, Mac, SYN, TCP, UDP, destination_mac, is_a_hosts, is_link_local,
    source_mac,
};

/// What a host is to the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Role {
    /// Passes on what others send.
    Router,
    /// Is mostly asked for names.
    Resolver,
    /// Is asked more than it asks.
    Server,
    Client,
}

/// A host: all addresses of one, as far as can be told.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) v4: Option<Ipv4Addr>,
    pub(crate) v6: Option<Ipv6Addr>,
    pub(crate) link_local: Option<Ipv6Addr>,
    pub(crate) mac: Mac,
    /// The place of its net.
    pub(crate) net: usize,
    pub(crate) role: Role,
    /// Frames that it sent.
    pub(crate) frames: u64,
}

impl Host {
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v6 = [self.v6, self.link_local].map(|address| address.map(IpAddr::V6));
        [self.v4.map(IpAddr::V4)].into_iter().chain(v6).flatten()
    }

    /// A number by which some hosts are chosen and others are not, the same each time.
    pub(crate) fn lot(&self, salt: u64) -> u64 {
        let name = self.addresses().next().map_or(Ipv6Addr::UNSPECIFIED.to_bits(), |address| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        });
        mix(mix(salt ^ (name >> 64) as u64) ^ name as u64)
    }
}

/// Hosts whose addresses begin alike.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) v4: Option<[u8; 3]>,
    pub(crate) v6: Option<u64>,
    /// What hosts of the net send elsewhere through.
    pub(crate) gateway: Option<Mac>,
    /// The rest of the world.
    pub(crate) is_outside: bool,
}

/// A network: nets inside by their number of hosts, the largest first, and then the outside.
pub(crate) struct Site {
    pub(crate) nets: Vec<Net>,
    /// By the frames that they sent, the most first.
    pub(crate) hosts: Vec<Host>,
    of: BTreeMap<IpAddr, usize>,
    /// Whether the outside is met through the router of a net inside.
    is_behind: bool,
}

/// What is counted of an address.
#[derive(Default)]
struct Tally {
    frames: u64,
    macs: BTreeMap<Mac, u64>,
    /// Conversations that it began, that it was asked for, and that it was asked for names in.
    began: u64,
    asked: u64,
    names: u64,
}

/// The net of an address: /24 and /64; all public addresses of IPv4 are the outside's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Prefix {
    V4([u8; 3]),
    V6(u64),
    Outside,
}

fn prefix(address: IpAddr) -> Prefix {
    match address {
        IpAddr::V4(v4) if v4.is_private() => Prefix::V4([v4.octets()[0], v4.octets()[1], v4.octets()[2]]),
        IpAddr::V4(_) => Prefix::Outside,
        IpAddr::V6(v6) => Prefix::V6((v6.to_bits() >> 64) as u64),
    }
}

impl Site {
    /// Of frames without attacks.
    pub(crate) fn of(frames: &[Frame]) -> Site {
        let (tallies, mut gateways) = count(frames);
        let mac_of = |tally: &Tally| {
            tally
                .macs
                .iter()
                .max_by_key(|(mac, frames)| (**frames, **mac))
                .map(|(mac, _)| *mac)
                .unwrap_or_default()
        };
        let mut groups: BTreeMap<Mac, Vec<(IpAddr, &Tally)>> = BTreeMap::new();
        for (address, tally) in &tallies {
            groups.entry(mac_of(tally)).or_default().push((*address, tally));
        }
        // What comes from outside by the router of a net inside has no link of its own there.
        let outside = tallies.iter().filter(|(address, _)| prefix(**address) == Prefix::Outside);
        let busiest = outside.max_by_key(|(_, tally)| tally.frames).map(|(_, tally)| mac_of(tally));
        let inside = |(of, mac): (&Prefix, &Mac)| *of != Prefix::Outside && Some(*mac) == busiest;
        let is_behind = gateways.iter().any(inside);
        if let Some(router) = busiest.filter(|_| is_behind) {
            gateways.insert(Prefix::Outside, router);
        }
        let routers: BTreeSet<Mac> = gateways.values().copied().collect();
        let mut drafts: Vec<(Host, Prefix)> = Vec::new();
        for (mac, addresses) in &groups {
            drafts.extend(hosts_of(*mac, addresses, routers.contains(mac)));
        }
        // Prefixes of IPv6 belong to the net of IPv4 whose hosts have them.
        let mut pairs: BTreeMap<Prefix, BTreeMap<Prefix, u64>> = BTreeMap::new();
        for (host, of) in &drafts {
            if let (Some(_), Some(v6)) = (host.v4, host.v6) {
                *pairs.entry(prefix(v6.into())).or_default().entry(*of).or_default() += 1;
            }
        }
        let twin: BTreeMap<Prefix, Prefix> = pairs
            .into_iter()
            .filter_map(|(v6, nets)| {
                Some((v6, nets.into_iter().max_by_key(|(net, hosts)| (*hosts, *net))?.0))
            })
            .collect();
        let home = |of: Prefix| twin.get(&of).copied().unwrap_or(of);
        let mut sizes: BTreeMap<Prefix, u64> = BTreeMap::new();
        for (_, of) in &drafts {
            *sizes.entry(home(*of)).or_default() += 1;
        }
        let mut order: Vec<(Prefix, u64)> = sizes.into_iter().collect();
        order.sort_by_key(|(of, hosts)| (*of == Prefix::Outside, u64::MAX - hosts, *of));
        let nets = order.iter().map(|(of, _)| {
            let v4 = match of {
                Prefix::V4(first) => Some(*first),
                Prefix::V6(_) => None,
                Prefix::Outside => busiest_outside(&tallies),
            };
            let v6 = twin.iter().find(|(_, net)| *net == of).map_or(*of, |(v6, _)| *v6);
            let v6 = if let Prefix::V6(first) = v6 { Some(first) } else { None };
            let is_outside = *of == Prefix::Outside;
            let gateway = gateways.get(of).copied();
            Net { v4, v6, gateway, is_outside }
        });
        let nets: Vec<Net> = nets.collect();
        let mut hosts: Vec<Host> = drafts
            .into_iter()
            .map(|(host, of)| {
                let net = order.iter().position(|(one, _)| *one == home(of)).unwrap_or(0);
                Host { net, ..host }
            })
            .collect();
        hosts.sort_by_key(|host| (u64::MAX - host.frames, host.v4, host.v6));
        let of =
            hosts.iter().enumerate().flat_map(|(place, host)| host.addresses().map(move |one| (one, place)));
        let of = of.collect();
        Site { nets, hosts, of, is_behind }
    }

    /// The host that has an address.
    pub(crate) fn host(&self, address: IpAddr) -> Option<&Host> {
        Some(&self.hosts[*self.of.get(&address)?])
    }

    /// The place of the net that an address lies in, whether or not a host has it.
    pub(crate) fn net(&self, address: IpAddr) -> Option<usize> {
        match address {
            IpAddr::V4(v4) => {
                self.nets.iter().position(|net| net.v4.is_some_and(|first| v4.octets()[..3] == first))
            }
            IpAddr::V6(v6) => self.nets.iter().position(|net| net.v6 == Some((v6.to_bits() >> 64) as u64)),
        }
    }
}

impl Site {
    /// Where the outside is behind a router, gives a frame the hardware addresses that it has on the link inside.
    pub(crate) fn set_macs(&self, frame: &mut Frame) {
        let Some(headers) = Headers::read(&frame.bytes) else { return };
        if !self.is_behind || headers.layer == Layer::Arp {
            return;
        }
        let [src, dst] = headers.ends.map(|end| self.net(end).is_none_or(|net| self.nets[net].is_outside));
        if let Some(router) = self.nets.last().and_then(|net| net.gateway).filter(|_| src) {
            frame.bytes[6..12].copy_from_slice(&router);
        }
        if let Some(host) = self.host(headers.ends[1]).filter(|_| !dst) {
            frame.bytes[..6].copy_from_slice(&host.mac);
        }
    }
}

/// The /24 of the outside that most is heard of.
fn busiest_outside(tallies: &BTreeMap<IpAddr, Tally>) -> Option<[u8; 3]> {
    let mut frames: BTreeMap<[u8; 3], u64> = BTreeMap::new();
    for (address, tally) in tallies {
        if let (Prefix::Outside, IpAddr::V4(v4)) = (prefix(*address), address) {
            let [a, b, c, _] = v4.octets();
            *frames.entry([a, b, c]).or_default() += tally.frames;
        }
    }
    frames.into_iter().max_by_key(|(first, frames)| (*frames, *first)).map(|(first, _)| first)
}

/// What each address did, and what each net sends elsewhere through.
fn count(frames: &[Frame]) -> (BTreeMap<IpAddr, Tally>, BTreeMap<Prefix, Mac>) {
    let mut tallies: BTreeMap<IpAddr, Tally> = BTreeMap::new();
    let mut through: BTreeMap<Prefix, BTreeMap<Mac, u64>> = BTreeMap::new();
    let mut known: BTreeSet<Conversation> = BTreeSet::new();
    for frame in frames {
        let Some(headers) = Headers::read(&frame.bytes) else { continue };
        let [from, to] = headers.ends;
        if !is_a_hosts(from) {
            continue;
        }
        let tally = tallies.entry(from).or_default();
        tally.frames += 1;
        *tally.macs.entry(source_mac(&frame.bytes)).or_default() += 1;
        if headers.layer == Layer::Arp || !is_a_hosts(to) || is_link_local(from) || is_link_local(to) {
            continue;
        }
        if prefix(from) != prefix(to) {
            *through.entry(prefix(from)).or_default().entry(destination_mac(&frame.bytes)).or_default() += 1;
        }
        // Who began what was open when the capture began is not known.
        let begins = match headers.protocol {
            TCP => headers.flags(&frame.bytes).is_some_and(|flags| flags & (SYN | ACK) == SYN),
            UDP => true,
            _ => false,
        };
        if begins && known.insert(headers.conversation()) {
            tally.began += 1;
            let is_name = headers.ports.is_some_and(|[_, port]| port == 53);
            let other = tallies.entry(to).or_default();
            other.asked += 1;
            other.names += u64::from(is_name);
        }
    }
    // Who never said anything is nobody.
    tallies.retain(|_, tally| tally.frames > 0);
    let most = |macs: BTreeMap<Mac, u64>| macs.into_iter().max_by_key(|(mac, frames)| (*frames, *mac));
    let through = through.into_iter().filter_map(|(of, macs)| Some((of, most(macs)?.0))).collect();
    (tallies, through)
}

/// The hosts behind one hardware address: addresses of IPv4 and IPv6 that go together are one.
fn hosts_of(mac: Mac, addresses: &[(IpAddr, &Tally)], is_router: bool) -> Vec<(Host, Prefix)> {
    let v4s = addresses.iter().filter(|(address, _)| address.is_ipv4()).count();
    let mut hosts: Vec<(Host, Prefix, [u64; 3])> = Vec::new();
    let mut link_local = None;
    for (address, tally) in addresses {
        let counts = [tally.began, tally.asked, tally.names];
        match *address {
            IpAddr::V6(v6) if is_link_local(*address) => {
                link_local = Some(v6);
                if let Some((first, ..)) = hosts.first_mut() {
                    first.frames += tally.frames;
                }
            }
            address => {
                let twin = match address {
                    IpAddr::V4(_) => None,
                    IpAddr::V6(v6) => hosts.iter_mut().find(|(host, ..)| {
                        host.v6.is_none() && host.v4.is_some_and(|v4| v4s == 1 || is_named_alike(v4, v6))
                    }),
                };
                if let (Some((host, _, known)), IpAddr::V6(v6)) = (twin, address) {
                    (host.v6, host.frames) = (Some(v6), host.frames + tally.frames);
                    *known = [0, 1, 2].map(|place| known[place] + counts[place]);
                    continue;
                }
                let (v4, v6) = match address {
                    IpAddr::V4(v4) => (Some(v4), None),
                    IpAddr::V6(v6) => (None, Some(v6)),
                };
                let host =
                    Host { v4, v6, link_local: None, mac, net: 0, role: Role::Client, frames: tally.frames };
                hosts.push((host, prefix(address), counts));
            }
        }
    }
    if let Some((first, ..)) = hosts.first_mut() {
        first.link_local = link_local;
    }
    let role = |host: &Host, [began, asked, names]: [u64; 3]| match () {
        // What comes from elsewhere has the hardware address of the router.
        () if is_router && host.v4.is_none_or(|v4| v4.is_private() || v4s == 1) => Role::Router,
        () if asked > began && 2 * names > asked => Role::Resolver,
        () if asked > began => Role::Server,
        () => Role::Client,
    };
    hosts.into_iter().map(|(host, of, counts)| (Host { role: role(&host, counts), ..host }, of)).collect()
}

/// Whether the last parts are the same, as numbers or as they are written.
fn is_named_alike(v4: Ipv4Addr, v6: Ipv6Addr) -> bool {
    let (last, part) = (u16::from(v4.octets()[3]), v6.segments()[7]);
    last == part || format!("{last}") == format!("{part:x}")
}

/// A number that says nothing of the one that it is made of (splitmix64, Steele, Lea, Flood 2014).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
