//! Networks made out of the two laboratories: each way of making one is a function of the laboratories and of which of
//! them it is about.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::capture::{Frame, Network};
use crate::headers::{Headers, Layer, is_link_local};
use crate::hosts::{Host, Role, Site, mix};
use crate::lab::{HALF, Labs, SECOND, begin, frames, merged, shifted};
use crate::rewrite::{Renaming, solicited};

const DAY: u64 = 86_400 * SECOND;

pub(crate) fn as_recorded(labs: &Labs, lab: usize) -> Network {
    labs[lab].network.clone()
}

pub(crate) fn foreign_attacks(labs: &Labs, lab: usize) -> Network {
    let own = &labs[lab];
    let (attacks, labels) = own.foreign(&labs[1 - lab]);
    Network { train: own.network.train.clone(), dev: merged(own.benign.clone(), frames(&attacks)), labels }
}

pub(crate) fn halves_exchanged(labs: &Labs, lab: usize) -> Network {
    let late = earlier(labs, lab);
    Network { train: shifted(late.train, -2 * HALF as i64), ..late }
}

pub(crate) fn earlier(labs: &Labs, lab: usize) -> Network {
    let own = &labs[lab];
    let attacks =
        Network { train: own.benign.clone(), dev: frames(&own.attacks), labels: own.network.labels.clone() };
    let attacks = attacks.moved(-(HALF as i64));
    Network { dev: merged(own.network.train.clone(), attacks.dev), ..attacks }
}

pub(crate) fn half_of_hosts(labs: &Labs, lab: usize) -> Network {
    let own = &labs[lab];
    let struck = addresses_of(&own.site, |host| host.lot(HALVES).is_multiple_of(2));
    let Network { train, dev, labels } = own.network.clone();
    Network { train: without(train, &struck), dev: without(dev, &struck), labels }
}

pub(crate) fn lossy(labs: &Labs, lab: usize) -> Network {
    thinned(&labs[lab].network, |lot| !lot.is_multiple_of(20))
}

pub(crate) fn sampled(labs: &Labs, lab: usize) -> Network {
    thinned(&labs[lab].network, |lot| lot.is_multiple_of(4))
}

pub(crate) fn gap(labs: &Labs, lab: usize) -> Network {
    let mut network = labs[lab].network.clone();
    let end = begin(&network.train) + 720 * SECOND;
    network.train.retain(|frame| frame.time < end);
    network
}

/// Learned from the last minutes.
pub(crate) fn last_minutes<const MINUTES: u64>(labs: &Labs, lab: usize) -> Network {
    let mut network = labs[lab].network.clone();
    let start = begin(&network.train) + HALF - MINUTES * 60 * SECOND;
    network.train.retain(|frame| frame.time >= start);
    network
}

/// One network; events are named after their laboratory.
pub(crate) fn both(labs: &Labs) -> Network {
    let [first, second] = [0, 1].map(|lab| {
        let mut network = labs[lab].network.clone();
        network.labels.iter_mut().for_each(|label| label.event = format!("lab{}-{}", lab + 1, label.event));
        network
    });
    Network {
        train: merged(first.train, second.train),
        dev: merged(first.dev, second.dev),
        labels: [first.labels, second.labels].concat(),
    }
}

pub(crate) fn new_clients(labs: &Labs, lab: usize) -> Network {
    struck_from_training(labs, lab, |host| host.role == Role::Client && host.lot(CLIENTS).is_multiple_of(3))
}

pub(crate) fn new_servers(labs: &Labs, lab: usize) -> Network {
    struck_from_training(labs, lab, |host| host.lot(SERVERS).is_multiple_of(4))
}

pub(crate) fn three_days_later(labs: &Labs, lab: usize) -> Network {
    labs[lab].network.clone().moved(3 * DAY as i64)
}

pub(crate) fn version_6(labs: &Labs, lab: usize) -> Network {
    labs[lab].network.in_version_6()
}

/// The clients of the largest net have the addresses of the busiest of them. What no router passes on is not seen of them.
pub(crate) fn behind_one_address(labs: &Labs, lab: usize) -> Network {
    let own = &labs[lab];
    let is_client = |host: &&Host| host.net == 0 && host.role == Role::Client;
    let clients: Vec<&Host> = own.site.hosts.iter().filter(is_client).collect();
    let mut renaming = Renaming::default();
    for (address, one) in
        clients.iter().flat_map(|host| host.addresses().map(|address| (address, clients[0])))
    {
        let shared = one.addresses().find(|other| other.is_ipv4() == address.is_ipv4());
        if let Some(shared) = shared {
            renaming.add(address, shared);
        }
    }
    clients.iter().for_each(|host| renaming.add_mac(host.mac, clients[0].mac));
    let inside: BTreeSet<IpAddr> = clients.iter().flat_map(|host| host.addresses()).collect();
    let groups: BTreeSet<IpAddr> = inside
        .iter()
        .filter_map(|address| match address {
            IpAddr::V6(v6) => Some(solicited(*v6).into()),
            IpAddr::V4(_) => None,
        })
        .collect();
    let outside = |of: &[Frame]| -> Vec<Frame> {
        let all = of.iter().filter(|frame| {
            let Some(headers) = Headers::read(&frame.bytes) else { return true };
            let [src, dst] = headers.ends;
            let is_on_link = headers.layer == Layer::Arp
                || headers.is_neighbour_discovery(&frame.bytes)
                || is_link_local(src)
                || dst.is_multicast();
            let is_theirs = headers.ends.iter().any(|end| inside.contains(end) || groups.contains(end));
            let is_among_them = inside.contains(&src) && inside.contains(&dst);
            !(is_among_them || is_theirs && is_on_link)
        });
        let mut all: Vec<Frame> = all.cloned().collect();
        all.iter_mut().for_each(|frame| renaming.frame(frame));
        all
    };
    let mut labels = own.network.labels.clone();
    labels.iter_mut().for_each(|label| renaming.label(label));
    Network { train: outside(&own.network.train), dev: outside(&own.network.dev), labels }
}

pub(crate) fn twice(labs: &Labs, lab: usize) -> Network {
    let once = labs[lab].network.clone();
    let mut again = Network { train: Vec::new(), ..once.clone() }.moved(HALF as i64);
    again.labels.iter_mut().for_each(|label| label.event.push_str("-again"));
    Network {
        train: once.train,
        dev: merged(once.dev, again.dev),
        labels: [once.labels, again.labels].concat(),
    }
}

/// What lots are drawn with. They are so that half of the hosts keep half of the attacks or more, that the monitor of the
/// first laboratory, which polls everybody, is among its new clients, and that there are servers among the hosts that are
/// new in both.
const HALVES: u64 = 12;
const CLIENTS: u64 = 16;
const SERVERS: u64 = 17;

fn addresses_of(site: &Site, is_chosen: impl Fn(&Host) -> bool) -> BTreeSet<IpAddr> {
    let chosen = site.hosts.iter().filter(|host| host.role != Role::Router && is_chosen(host));
    chosen.flat_map(Host::addresses).collect()
}

/// Frames that none of these sends or receives.
fn without(mut frames: Vec<Frame>, struck: &BTreeSet<IpAddr>) -> Vec<Frame> {
    frames.retain(|frame| {
        Headers::read(&frame.bytes).is_none_or(|headers| headers.ends.iter().all(|end| !struck.contains(end)))
    });
    frames
}

/// Hosts inside that training does not know.
fn struck_from_training(labs: &Labs, lab: usize, is_chosen: impl Fn(&Host) -> bool) -> Network {
    let own = &labs[lab];
    let is_new = |host: &Host| !own.site.nets[host.net].is_outside && is_chosen(host);
    let Network { train, dev, labels } = own.network.clone();
    Network { train: without(train, &addresses_of(&own.site, is_new)), dev, labels }
}

fn thinned(network: &Network, is_kept: fn(u64) -> bool) -> Network {
    let some = |frames: &[Frame], salt: u64| -> Vec<Frame> {
        let lots = (0_u64..).map(|place| mix(mix(salt) ^ place));
        frames.iter().zip(lots).filter(|(_, lot)| is_kept(*lot)).map(|(frame, _)| frame.clone()).collect()
    };
    Network { train: some(&network.train, 1), dev: some(&network.dev, 2), labels: network.labels.clone() }
}
