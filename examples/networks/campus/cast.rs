//! Who is on the campus, and what it is that they reach.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{END, HALF, START};
use crate::talk::Way;
use crate::wire::{Host, MICRO, MILLI, Rng, SECOND};

const PEOPLE: usize = 150;
/// Of them within what is scored.
const COME: usize = 37;
/// Of them within what is learned from.
const CAME: usize = 24;
const NAMES: usize = 160;
const PROVIDERS: usize = 14;
const PEERS: usize = 600;

/// A laptop or a phone.
pub(super) struct Person {
    pub(super) host: Host,
    pub(super) phone: bool,
    pub(super) comes: u64,
    pub(super) leaves: u64,
    pub(super) way: Way,
    /// Names that it is on most of the time, the dearest first.
    pub(super) dear: Vec<usize>,
    /// Of whom it has its system and programs.
    pub(super) vendors: Vec<usize>,
    /// Speaks QUIC.
    pub(super) quic: bool,
    /// Looks names up by HTTPS.
    pub(super) hides: bool,
}

impl Person {
    /// There before anything is captured, and after it.
    pub(super) fn stays(&self) -> bool {
        self.comes <= START && self.leaves >= END
    }
}

/// A name of the cloud.
pub(super) struct Name {
    provider: usize,
    six: bool,
    pub(super) quic: bool,
    /// Seconds for which a client keeps an answer.
    pub(super) keeps: u64,
    /// How many addresses it has at a time, and for how long.
    width: usize,
    turn: u64,
    offset: u64,
    /// Names whose parts its pages have.
    pub(super) parts: Vec<usize>,
}

struct Provider {
    four: Vec<[u8; 2]>,
    six: [u16; 3],
    delay: f64,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Camera,
    Screen,
    Speaker,
    Plug,
    Sensor,
    Hub,
}

pub(super) struct Thing {
    pub(super) host: Host,
    pub(super) kind: Kind,
    pub(super) vendor: Host,
}

pub(super) struct Cast {
    /// The router as it stands on either link.
    pub(super) uplink: Host,
    pub(super) router: Host,
    pub(super) resolver: Host,
    pub(super) forwarders: [Host; 2],
    pub(super) clocks: [Host; 4],
    pub(super) nas: Host,
    pub(super) printers: Vec<Host>,
    pub(super) things: Vec<Thing>,
    pub(super) people: Vec<Person>,
    pub(super) names: Vec<Name>,
    /// Those with whom files are shared, and the two who do.
    pub(super) peers: Vec<(Host, u16)>,
    pub(super) sharers: Vec<usize>,
    /// Addresses of the link that nobody has.
    pub(super) nobody: Vec<Ipv4Addr>,
    /// Who is on the link and should not be.
    pub(super) rogue: Host,
    providers: Vec<Provider>,
    /// By whom all those outside are reached.
    gateway: [u8; 6],
    salt: u64,
}

impl Cast {
    pub(super) fn draw(rng: &mut Rng) -> Cast {
        let (second, third) = (rng.between(16, 240) as u8, rng.between(0, 60) as u8 * 4);
        let prefix = [0x2001, 0xdb8, rng.between(1, 0xffff) as u16, rng.between(1, 0xffff) as u16];
        let mut link = Link { four: [10, second, third], six: prefix };
        let gateway = mac(rng, false);
        let uplink = Host::new(mac(rng, false), Ipv4Addr::new(100, 64, second, 1), None, 0);
        let router = link.host(rng, 1, false);
        let outside = |rng: &mut Rng| outside(rng, gateway);
        let (mut providers, mut names) = (Vec::new(), Vec::new());
        for _ in 0..PROVIDERS {
            let four = (0..rng.between(2, 5)).map(|_| [public(rng), rng.between(0, 256) as u8]).collect();
            let six = [rng.between(0x2400, 0x2c00) as u16, rng.word() as u16, rng.word() as u16];
            providers.push(Provider { four, six, delay: rng.lognormal(9.0, 0.8).clamp(2.0, 90.0) });
        }
        for _ in 0..NAMES {
            let still = rng.chance(0.12);
            names.push(Name {
                provider: (rng.below(PROVIDERS) * rng.below(PROVIDERS)) / PROVIDERS,
                six: rng.chance(0.7),
                quic: rng.chance(0.5),
                keeps: *rng.pick(&[20, 60, 60, 120, 300]),
                width: 1 + rng.below(6),
                turn: if still { u64::MAX } else { rng.lognormal(150.0, 0.9) as u64 * SECOND + SECOND },
                offset: rng.between(0, 1_000) * SECOND,
                parts: (0..rng.pareto(2.0, 1.2, 14.0) as usize).map(|_| popular(rng)).collect(),
            });
        }
        let mut cast = Cast {
            uplink,
            gateway,
            router,
            resolver: link.host(rng, 2, false),
            forwarders: [outside(rng), outside(rng)].map(|host| Host { delay: 4 * MILLI, ..host }),
            clocks: [outside(rng), outside(rng), outside(rng), outside(rng)],
            nas: link.host(rng, 10, false),
            printers: (0..4).map(|n| Host { delay: 400 * MICRO, ..link.host(rng, 20 + n, false) }).collect(),
            things: Vec::new(),
            people: Vec::new(),
            names,
            peers: Vec::new(),
            sharers: Vec::new(),
            nobody: Vec::new(),
            rogue: router,
            providers,
            salt: rng.word(),
        };
        let kinds = [Kind::Camera; 3].into_iter().chain([Kind::Screen; 2]).chain([Kind::Speaker; 3]);
        let kinds = kinds.chain([Kind::Plug; 4]).chain([Kind::Sensor; 3]).chain([Kind::Hub]);
        for (number, kind) in kinds.enumerate() {
            let four = rng.chance(0.5);
            let host = link.host(rng, 40 + number as u16, false);
            let host = Host { v6: host.v6.filter(|_| !four), ..host };
            let host = host.delayed((rng.lognormal(2.5, 0.5) * MILLI as f64) as u64, 64);
            cast.things.push(Thing { host, kind, vendor: outside(rng) });
        }
        let mut numbers: Vec<u16> = (256..1_023).collect();
        shuffle(rng, &mut numbers);
        for (place, &number) in numbers[..PEOPLE].iter().enumerate() {
            cast.people.push(person(rng, &mut link, number, place));
        }
        cast.rogue = link.host(rng, numbers[PEOPLE], true);
        cast.nobody = numbers[PEOPLE + 1..].iter().map(|&last| link.four(last)).collect();
        for _ in 0..PEERS {
            let port = if rng.chance(0.25) { 6_881 } else { rng.between(10_000, 64_000) as u16 };
            cast.peers.push((outside(rng), port));
        }
        let laptops = (0..PEOPLE).filter(|&n| !cast.people[n].phone && cast.people[n].stays());
        cast.sharers = laptops.take(2).collect();
        cast
    }

    /// Where a name is found at a time: which of its addresses is chance, and after its turn it has others.
    pub(super) fn reach(&self, rng: &mut Rng, name: usize, time: u64) -> Host {
        let Name { provider, six, width, turn, offset, .. } = self.names[name];
        let slot = (time + offset) / turn;
        let Provider { four, six: prefix, delay } = &self.providers[provider];
        let mut own = Rng::new(self.salt ^ (name as u64) << 48 ^ (rng.below(width) as u64) << 40 ^ slot);
        let [a, b] = *own.pick(four);
        let v4 = Ipv4Addr::new(a, b, own.between(0, 256) as u8, own.between(1, 255) as u8);
        let [p, q, r] = *prefix;
        let v6 =
            Ipv6Addr::new(p, q, r, own.between(0, 64) as u16, 0, 0, own.word() as u16, own.word() as u16);
        let delay = (own.lognormal(*delay, 0.2) * MILLI as f64) as u64;
        Host::new(self.gateway, v4, six.then_some(v6), 0).delayed(delay, own.between(46, 61) as u8)
    }

    /// Somebody outside whom no name leads to.
    pub(super) fn stranger(&self, rng: &mut Rng) -> Host {
        outside(rng, self.gateway)
    }
}

/// As a host speaks that has no other address yet, or only to those of its link.
pub(super) fn of_link(host: Host) -> Host {
    let [a, b, c, d, e, f] = host.mac.map(u16::from);
    let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f);
    Host { v6: Some(v6), hops: 255, ..host }
}

/// The first names are the most popular ones.
pub(super) fn popular(rng: &mut Rng) -> usize {
    (rng.pareto(1.0, 0.6, 4_000.0) as usize * 7 + rng.below(7) - 7) % NAMES
}

pub(super) fn shuffle<T>(rng: &mut Rng, all: &mut [T]) {
    for last in (1..all.len()).rev() {
        all.swap(last, rng.below(last + 1));
    }
}

struct Link {
    four: [u8; 3],
    six: [u16; 4],
}

impl Link {
    fn four(&self, number: u16) -> Ipv4Addr {
        let [a, b, c] = self.four;
        Ipv4Addr::new(a, b, c + (number >> 8) as u8, number as u8)
    }

    /// A host made by its number, with an address of its own making beside it.
    fn host(&mut self, rng: &mut Rng, number: u16, own: bool) -> Host {
        let mac = mac(rng, own);
        let [a, b, c, d] = self.six;
        let last: [u16; 4] = std::array::from_fn(|_| rng.word() as u16);
        let v6 = if number < 40 {
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, number)
        } else {
            Ipv6Addr::new(a, b, c, d, last[0] & 0xfdff, last[1], last[2], last[3])
        };
        Host::new(mac, self.four(number), Some(v6), 1)
    }
}

fn person(rng: &mut Rng, link: &mut Link, number: u16, place: usize) -> Person {
    let phone = rng.chance(0.5);
    let host = link.host(rng, number, phone);
    let old = rng.chance(0.06);
    let wired = !phone && rng.chance(0.2);
    let delay = if wired { 80 * MICRO } else { (rng.lognormal(1.8, 0.6) * MILLI as f64) as u64 };
    let half = HALF - START;
    let comes = match place {
        _ if place < COME => HALF + rng.between(0, half),
        _ if place < COME + CAME => START + rng.between(0, half),
        _ => START,
    };
    let leaves = if rng.chance(0.3) { comes + 60 * SECOND + rng.between(0, 2 * half) } else { END };
    let dear =
        (0..rng.between(10, 30)).map(|_| if rng.chance(0.5) { popular(rng) } else { rng.below(NAMES) });
    Person {
        dear: dear.collect(),
        host: Host { v6: host.v6.filter(|_| !old), ..host }
            .delayed(delay, if rng.chance(0.4) { 128 } else { 64 }),
        phone,
        comes,
        leaves: leaves.min(END),
        way: if wired { Way::FAR } else { Way { rate: rng.between(800_000, 4_000_000), ..Way::RADIO } },
        vendors: (0..rng.between(2, 5))
            .map(|_| if rng.chance(0.7) { rng.below(24) } else { rng.below(NAMES) })
            .collect(),
        quic: rng.chance(0.8),
        hides: rng.chance(0.08),
    }
}

fn mac(rng: &mut Rng, own: bool) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = rng.word().to_be_bytes();
    [if own { a & 0xfc | 2 } else { a & 0xfc }, b, c, d, e, f]
}

/// The first byte of an address that is somebody's, and neither private nor a group.
fn public(rng: &mut Rng) -> u8 {
    loop {
        let byte = rng.between(2, 222) as u8;
        if ![10, 100, 127, 169, 172, 192, 198, 203].contains(&byte) {
            return byte;
        }
    }
}

fn outside(rng: &mut Rng, gateway: [u8; 6]) -> Host {
    let v4 = Ipv4Addr::new(public(rng), rng.word() as u8, rng.word() as u8, rng.between(1, 255) as u8);
    let part = |rng: &mut Rng| rng.word() as u16;
    let v6 = Ipv6Addr::new(
        rng.between(0x2400, 0x2c00) as u16,
        part(rng),
        part(rng),
        part(rng),
        part(rng),
        part(rng),
        part(rng),
        part(rng),
    );
    let delay = (rng.lognormal(28.0, 0.7) * MILLI as f64) as u64;
    let v6 = rng.chance(0.6).then_some(v6);
    Host::new(gateway, v4, v6, 0).delayed(delay, rng.between(44, 60) as u8)
}
