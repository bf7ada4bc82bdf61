//! Attacks of one network laid into another: hosts are exchanged for hosts of the same role.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::capture::{Frame, Label};
use crate::headers::{Headers, is_a_hosts, is_link_local};
use crate::hosts::{Host, Net, Role, Site};
use crate::rewrite::Renaming;
use crate::truth::Attack;

/// A net with fewer hosts is none to speak of.
const FEW: usize = 3;

/// Attacks with the addresses of another network, and all labels with them, in their old order.
///
/// The net of an address becomes the one of the same rank. A host that others know becomes one of the same role that
/// talks as much among its like: of two taken from six hosts one is of the busier half. Where the other network
/// has fewer, one stands for several; where it has none of the role, one of the net or of the role elsewhere does. Whoever
/// is met in attacks alone gets a free address. Addresses of no net (forged ones) stay. What has no address there is left out: IPv6 where nobody speaks it,
/// and what two would say to each other that are one there.
pub(crate) fn transplant(
    attacks: &[Attack],
    labels: &[Label],
    from: &Site,
    to: &Site,
    taken: BTreeSet<IpAddr>,
) -> (Vec<Attack>, Vec<Label>) {
    let mut wanted: BTreeSet<IpAddr> = labels.iter().flat_map(|label| label.ends).flatten().collect();
    wanted.extend(
        attacks.iter().filter_map(|(frame, _)| Headers::read(&frame.bytes)).flat_map(|headers| headers.ends),
    );
    let renaming = Lots { from, to, taken }.draw(&wanted);
    let has_v6 = to.hosts.iter().any(|host| host.v6.is_some());
    let moved = attacks.iter().filter_map(|(frame, label)| {
        let ends = Headers::read(&frame.bytes)?.ends;
        let [src, dst] = ends.map(|end| renaming.address(end));
        let stays = (has_v6 || ends[0].is_ipv4()) && (src != dst || ends[0] == ends[1]);
        let mut frame = frame.clone();
        renaming.frame(&mut frame);
        to.set_macs(&mut frame);
        stays.then_some((frame, *label))
    });
    let moved = moved.collect();
    let mut labels = labels.to_vec();
    labels.iter_mut().for_each(|label| renaming.label(label));
    (moved, labels)
}

/// All addresses of frames.
pub(crate) fn addresses(frames: &[Frame]) -> BTreeSet<IpAddr> {
    frames.iter().filter_map(|frame| Headers::read(&frame.bytes)).flat_map(|headers| headers.ends).collect()
}

struct Lots<'a> {
    from: &'a Site,
    to: &'a Site,
    /// Addresses that are somebody's in the other network already.
    taken: BTreeSet<IpAddr>,
}

impl Lots<'_> {
    fn draw(mut self, wanted: &BTreeSet<IpAddr>) -> Renaming {
        let from = self.from;
        let mut renaming = Renaming::default();
        for (place, net) in from.nets.iter().enumerate() {
            if let (Some(before), Some(after)) = (net.gateway, self.twin(place).gateway) {
                renaming.add_mac(before, after);
            }
        }
        // Those who take part, of the same net and role, the busiest first.
        let mut groups: BTreeMap<(usize, Role), Vec<&Host>> = BTreeMap::new();
        for host in &from.hosts {
            if host.addresses().any(|address| wanted.contains(&address)) {
                groups.entry((self.rank(host.net), host.role)).or_default().push(host);
            }
        }
        for ((net, role), hosts) in groups {
            for (place, host) in hosts.iter().enumerate() {
                let like = self.like(net, role, &|other| speaks_for(other, host, wanted));
                if let Some(other) = like.get((2 * place + 1) * like.len() / (2 * hosts.len())) {
                    pair(&mut renaming, host, other);
                } else {
                    let own = host.addresses().filter(|address| !is_link_local(*address));
                    own.for_each(|address| self.settle(&mut renaming, address));
                }
            }
        }
        for address in wanted.iter().filter(|address| from.host(**address).is_none()) {
            self.settle(&mut renaming, *address);
        }
        renaming
    }

    /// Hosts of a net and role; where there are none, of the net whatever they are; or of the role in other nets inside.
    fn like(&self, net: usize, role: Role, speaks: &dyn Fn(&Host) -> bool) -> Vec<&Host> {
        let is_router = |host: &Host| host.role == Role::Router;
        let ways: [&dyn Fn(&Host) -> bool; 3] = [
            &|host| host.net == net && host.role == role,
            &|host| host.net == net && !is_router(host) && role != Role::Router,
            &|host| host.role == role && !self.to.nets[host.net].is_outside && !self.to.nets[net].is_outside,
        ];
        let some = |way: &&dyn Fn(&Host) -> bool| -> Vec<&Host> {
            self.to.hosts.iter().filter(|host| way(host) && speaks(host)).collect()
        };
        ways.iter().map(some).find(|hosts| !hosts.is_empty()).unwrap_or_default()
    }

    /// The place of the net of the same rank.
    fn rank(&self, net: usize) -> usize {
        let size = |net: usize| self.to.hosts.iter().filter(|host| host.net == net).count();
        let inside =
            (0..self.to.nets.len()).filter(|net| !self.to.nets[*net].is_outside && size(*net) >= FEW).count();
        if self.from.nets[net].is_outside {
            self.to.nets.len() - 1
        } else {
            net.min(inside.saturating_sub(1))
        }
    }

    fn twin(&self, net: usize) -> &Net {
        &self.to.nets[self.rank(net)]
    }

    /// Gives an address of a net a free one in the net of the same rank.
    fn settle(&mut self, renaming: &mut Renaming, address: IpAddr) {
        let Some(net) = self.from.net(address) else { return };
        let net = self.twin(net).clone();
        let free = match address {
            IpAddr::V4(v4) => {
                let Some([a, b, c]) = net.v4 else { return };
                let last = v4.octets()[3];
                if !is_a_hosts(address) {
                    renaming.add(address, Ipv4Addr::new(a, b, c, last).into());
                    return;
                }
                let lasts = (0..=253_u8).map(|step| (u16::from(last) - 1 + u16::from(step)) % 254 + 1);
                lasts
                    .map(|last| IpAddr::V4(Ipv4Addr::new(a, b, c, last as u8)))
                    .find(|free| !self.taken.contains(free))
            }
            IpAddr::V6(v6) => {
                let Some(first) = net.v6 else { return };
                let lasts = (0..1 << 16).map(|step| (v6.to_bits() as u64).wrapping_add(step));
                lasts
                    .map(|last| IpAddr::V6(Ipv6Addr::from_bits(u128::from(first) << 64 | u128::from(last))))
                    .find(|free| !self.taken.contains(free))
            }
        };
        if let Some(free) = free {
            self.taken.insert(free);
            renaming.add(address, free);
        }
    }
}

/// Whether one has an address for each that is asked for of the other.
fn speaks_for(one: &Host, host: &Host, wanted: &BTreeSet<IpAddr>) -> bool {
    let is_asked = |address: Option<IpAddr>| address.is_some_and(|address| wanted.contains(&address));
    (one.v4.is_some() || !is_asked(host.v4.map(IpAddr::V4)))
        && (one.v6.is_some() || !is_asked(host.v6.map(IpAddr::V6)))
}

/// One host speaks for another, with each address that both have.
fn pair(renaming: &mut Renaming, host: &Host, other: &Host) {
    if let (Some(before), Some(after)) = (host.v4, other.v4) {
        renaming.add(before.into(), after.into());
    }
    for (before, after) in [(host.v6, other.v6), (host.link_local, other.link_local)] {
        if let (Some(before), Some(after)) = (before, after) {
            renaming.add(before.into(), after.into());
        }
    }
    renaming.add_mac(host.mac, other.mac);
}
