//! A hosting network: public servers that thousands ask once, and the private ones behind them.
//!
//! Its load grows by a fifth from the first twenty minutes to the second, for no reason that a capture shows.

mod attacks;
mod guests;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::capture::Network;
use crate::talk::{End, Turn, Way};
use crate::wire::{Host, MICRO, MILLI, Pair, Rng, SECOND, Wire};

/// 2026-03-02 10:00 UTC.
pub(crate) const START: u64 = 1_772_445_600 * SECOND;
/// Where what is learned from ends and what is scored begins.
pub(crate) const HALF: u64 = START + 1200 * SECOND;
pub(crate) const END: u64 = HALF + 1200 * SECOND;
/// Long connections are open when the capture begins.
const BEFORE: u64 = START - 300 * SECOND;

/// The hosts, by what they are for.
pub(crate) struct Site {
    pub(crate) routers: [Host; 3],
    pub(crate) balancer: Host,
    pub(crate) webs: [Host; 2],
    pub(crate) mail: Host,
    pub(crate) names: [Host; 2],
    pub(crate) vpn: Host,
    pub(crate) git: Host,
    pub(crate) api: Host,
    pub(crate) broker: Host,
    pub(crate) files: Host,
    pub(crate) base: Host,
    pub(crate) replica: Host,
    pub(crate) cache: Host,
    pub(crate) index: Host,
    pub(crate) logs: Host,
    pub(crate) monitor: Host,
    pub(crate) backup: Host,
    pub(crate) builder: Host,
    /// Directory of users, and resolver of names for all inside.
    pub(crate) directory: Host,
    pub(crate) admin: Host,
    /// Networks that guests come from, the most usual first.
    homes: Vec<[u8; 2]>,
}

impl Site {
    fn new(rng: &mut Rng) -> Site {
        let net4 = *rng.pick(&[[192, 0, 2], [198, 51, 100], [203, 0, 113]]);
        let first = 64 * rng.between(0, 4) as u8;
        let private = [rng.between(1, 250) as u8, rng.between(1, 250) as u8];
        let six = rng.between(1, 0xffff) as u16;
        let host = |rng: &mut Rng, segment: usize, number: u8| {
            let mac = [0x52, 0x54, 0, segment as u8, rng.between(0, 256) as u8, number];
            let [net, site] = if segment == 1 { [0x2001, 0xdb8] } else { [0xfd3a, six] };
            let v4 = if segment == 1 {
                Ipv4Addr::new(net4[0], net4[1], net4[2], first + number)
            } else {
                Ipv4Addr::new(10, private[0], private[1], number)
            };
            let v6 = Ipv6Addr::new(net, site, six, segment as u16, 0, 0, 0, number.into());
            Host::new(mac, v4, Some(v6), segment).delayed(rng.between(25, 110) * MICRO, 64)
        };
        let mut last = [1; 3];
        let mut next = |segment: usize| {
            last[segment] += 1 + rng.below(4) as u8;
            host(rng, segment, last[segment])
        };
        let [balancer, web1, web2, mail, name1, name2, vpn, git, api, broker, files] =
            std::array::from_fn(|_| next(1));
        let [base, replica, cache, index, logs, monitor, backup, builder, directory, admin] =
            std::array::from_fn(|_| next(2));
        let link = |segment: u16| Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, segment));
        let routers = [
            Host::new([0x52, 0x54, 0, 0, 0, 1], Ipv4Addr::new(100, 64, 0, 2), link(1), 0),
            Host { v6: link(1), mac: [0x52, 0x54, 0, 0, 0, 1], ..host(rng, 1, 1) },
            Host { v6: link(1), mac: [0x52, 0x54, 0, 0, 0, 1], ..host(rng, 2, 1) },
        ];
        let homes = (0..300).map(|_| public_pair(rng)).collect();
        Site {
            routers,
            balancer,
            webs: [web1, web2],
            mail,
            names: [name1, name2],
            vpn,
            git,
            api,
            broker,
            files,
            base,
            replica,
            cache,
            index,
            logs,
            monitor,
            backup,
            builder,
            directory,
            admin,
            homes,
        }
    }

    pub(crate) fn public(&self) -> [Host; 11] {
        let [web1, web2] = self.webs;
        let [name1, name2] = self.names;
        [
            self.balancer,
            web1,
            web2,
            self.mail,
            name1,
            name2,
            self.vpn,
            self.git,
            self.api,
            self.broker,
            self.files,
        ]
    }

    pub(crate) fn private(&self) -> [Host; 10] {
        let Site { base, replica, cache, index, logs, monitor, backup, builder, directory, admin, .. } =
            *self;
        [base, replica, cache, index, logs, monitor, backup, builder, directory, admin]
    }

    pub(crate) fn servers(&self) -> Vec<Host> {
        [&self.public()[..], &self.private()[..]].concat()
    }

    /// The services that somebody listens for from outside.
    pub(crate) fn listens(&self, host: &Host) -> &'static [u16] {
        match host.v4 {
            v4 if v4 == self.balancer.v4 => &[80, 443],
            v4 if v4 == self.mail.v4 => &[25, 443, 587, 993],
            v4 if self.names.iter().any(|name| name.v4 == v4) => &[53],
            v4 if v4 == self.git.v4 => &[22, 443],
            v4 if v4 == self.broker.v4 => &[8883],
            v4 if v4 == self.api.v4 || v4 == self.files.v4 || v4 == self.vpn.v4 => &[443],
            _ => &[],
        }
    }

    /// An address of the public network, which mostly nobody has.
    pub(crate) fn address(&self, rng: &mut Rng) -> Host {
        let [a, b, c, first] = self.routers[1].v4.octets();
        let v4 = Ipv4Addr::new(a, b, c, first - 1 + rng.between(2, 63) as u8);
        let nobody = Host::new([0; 6], v4, None, 1);
        self.public().into_iter().find(|host| host.v4 == v4).unwrap_or(nobody)
    }

    /// Somebody from outside.
    pub(crate) fn stranger(&self, rng: &mut Rng) -> Host {
        let [a, b] = if rng.chance(0.75) {
            let unit = rng.unit();
            self.homes[(unit * unit * self.homes.len() as f64) as usize]
        } else {
            public_pair(rng)
        };
        let v4 = Ipv4Addr::new(a, b, rng.between(0, 256) as u8, rng.between(1, 255) as u8);
        let low = rng.word();
        let part = |at: u32| (low >> at) as u16;
        let net = 0x2a00 + u16::from(a % 16);
        let v6 = Ipv6Addr::new(
            net,
            u16::from(b) << 4,
            v4.octets()[2].into(),
            part(50),
            part(0),
            part(16),
            part(32),
            part(48),
        );
        let v6 = rng.chance(0.35).then_some(v6);
        let delay = rng.lognormal(15.0, 0.7).clamp(2.0, 160.0) * MILLI as f64;
        let hops = if rng.chance(0.6) { 64 } else { 128 } - rng.between(7, 20) as u8;
        Host::new([0x00, 0x1c, 0x73, 0, 0, 1], v4, v6, 0).delayed(delay as u64, hops)
    }

    /// A server of somebody else.
    pub(crate) fn partner(&self, rng: &mut Rng) -> Host {
        let delay = rng.lognormal(7.0, 0.6).clamp(1.0, 80.0) * MILLI as f64;
        self.stranger(rng).delayed(delay as u64, 64 - rng.between(5, 16) as u8)
    }
}

fn public_pair(rng: &mut Rng) -> [u8; 2] {
    loop {
        let [a, b] = [rng.between(1, 224) as u8, rng.between(0, 256) as u8];
        let kept = matches!((a, b), (10 | 127, _) | (100, 64..128) | (169, 254) | (172, 16..32));
        if !kept && !matches!((a, b), (192, 0 | 168) | (198, 18 | 19 | 51) | (203, 0)) {
            return [a, b];
        }
    }
}

/// How much there is to do at a time: 1 on average in the first half, a fifth more in the second.
pub(crate) fn load(time: u64) -> f64 {
    0.9 + 0.2 * (time.saturating_sub(START)) as f64 / (HALF - START) as f64
}

/// Times at random, so many a second, more as the load grows.
pub(crate) fn arrivals(rng: &mut Rng, per_second: f64) -> Vec<u64> {
    let mut times = Vec::new();
    let mut at = BEFORE;
    while at < END {
        at += (rng.exponential(1.0 / per_second / load(at)) * SECOND as f64) as u64;
        times.push(at);
    }
    times
}

/// Times that a clock gives, `slack` of the period late at most.
pub(crate) fn clock(rng: &mut Rng, period: f64, slack: f64) -> Vec<u64> {
    let period = (period * SECOND as f64) as u64;
    let first = BEFORE + rng.between(0, period);
    let late = (period as f64 * slack) as u64 + 1;
    (0..)
        .map(|turn| first + turn * period)
        .take_while(|at| *at < END)
        .map(|at| at + rng.between(0, late))
        .collect()
}

/// Medians of what a request asks and gets, and how far they are spread.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) up: f64,
    pub(crate) down: f64,
    pub(crate) spread: f64,
    /// Milliseconds.
    pub(crate) serve: f64,
}

impl Sizes {
    pub(crate) fn turn(&self, rng: &mut Rng, think: f64) -> Turn {
        let sized = |rng: &mut Rng, of: f64| rng.lognormal(of, self.spread).min(4e6) as u64;
        let (up, down) = (sized(rng, self.up), sized(rng, self.down));
        Turn::new(
            (think * SECOND as f64) as u64,
            up,
            (rng.lognormal(self.serve, 0.6) * MILLI as f64) as u64,
            down,
        )
    }
}

/// A connection that is kept, and opened again where it ends: a request every `gap` seconds, for about `life` seconds.
pub(crate) fn keep(wire: &mut Wire, ends: (Host, Host, u16), gap: f64, life: f64, sizes: Sizes, way: &Way) {
    let (from, to, port) = ends;
    let mut at = BEFORE + wire.rng.between(0, 20 * SECOND);
    while at < END {
        let until = at + (wire.rng.lognormal(life, 0.5) * SECOND as f64) as u64;
        let (mut turns, mut now) = (Turn::hello(&mut wire.rng).to_vec(), at);
        while now < until.min(END) {
            let think = wire.rng.exponential(gap / load(now));
            turns.push(sizes.turn(&mut wire.rng, think));
            now += (think * SECOND as f64) as u64 + 1;
        }
        let six = wire.rng.chance(0.3);
        let pair = Pair::new(from, to, [wire.port(), port]).six(six);
        let end = if wire.rng.chance(0.7) { End::Client } else { End::Server };
        at = wire.connect(at, &pair, &turns, way, end) + wire.rng.between(20, 900) * MILLI;
    }
}

/// A connection for one request at each of the times.
pub(crate) fn once(wire: &mut Wire, times: &[u64], ends: (Host, Host, u16), sizes: Sizes, way: &Way) {
    let (from, to, port) = ends;
    for at in times {
        let mut turns =
            if matches!(port, 80 | 9100) { Vec::new() } else { Turn::hello(&mut wire.rng).to_vec() };
        turns.push(sizes.turn(&mut wire.rng, 0.0005));
        let six = wire.rng.chance(0.3);
        let pair = Pair::new(from, to, [wire.port(), port]).six(six);
        wire.connect(*at, &pair, &turns, way, End::Client);
    }
}

/// What the servers do among themselves, and for themselves outside.
fn inside(wire: &mut Wire, site: &Site) {
    let sizes = |up, down, spread, serve| Sizes { up, down, spread, serve };
    let page = sizes(520.0, 4_200.0, 1.1, 14.0);
    for web in site.webs {
        for _ in 0..14 {
            keep(wire, (site.balancer, web, 8080), 2.2, 240.0, page, &Way::LOCAL);
        }
        for _ in 0..7 {
            keep(wire, (web, site.base, 5432), 2.0, 900.0, sizes(240.0, 1_300.0, 1.2, 2.5), &Way::LOCAL);
        }
        for _ in 0..3 {
            keep(wire, (web, site.cache, 6379), 0.9, 2_000.0, sizes(70.0, 420.0, 1.0, 0.15), &Way::LOCAL);
        }
        keep(wire, (web, site.index, 9200), 4.0, 600.0, sizes(400.0, 3_000.0, 1.0, 9.0), &Way::LOCAL);
        let times = clock(&mut wire.rng, 5.0, 0.02);
        once(wire, &times, (site.balancer, web, 80), sizes(110.0, 220.0, 0.02, 0.6), &Way::LOCAL);
    }
    for _ in 0..4 {
        keep(wire, (site.api, site.base, 5432), 1.6, 900.0, sizes(180.0, 700.0, 0.9, 2.0), &Way::LOCAL);
        keep(wire, (site.broker, site.cache, 6379), 1.5, 2_000.0, sizes(160.0, 60.0, 0.8, 0.15), &Way::LOCAL);
    }
    keep(wire, (site.replica, site.base, 5432), 0.7, 9_000.0, sizes(40.0, 2_400.0, 1.1, 1.0), &Way::LOCAL);
    keep(wire, (site.git, site.directory, 636), 9.0, 300.0, sizes(120.0, 260.0, 0.4, 1.2), &Way::LOCAL);
    keep(wire, (site.mail, site.directory, 636), 5.0, 300.0, sizes(120.0, 260.0, 0.4, 1.2), &Way::LOCAL);
    let mirrors: [Host; 3] = std::array::from_fn(|_| site.partner(&mut wire.rng));
    let clocks: [Host; 4] = std::array::from_fn(|_| site.partner(&mut wire.rng));
    for host in site.servers() {
        let own = wire.rng.lognormal(4.0, 0.5);
        if host != site.logs {
            keep(wire, (host, site.logs, 5044), own, 1_500.0, sizes(900.0, 40.0, 0.9, 1.0), &Way::LOCAL);
        }
        if host != site.monitor {
            let exported = wire.rng.lognormal(9_000.0, 0.4);
            let times = clock(&mut wire.rng, 15.0, 0.01);
            once(wire, &times, (site.monitor, host, 9100), sizes(210.0, exported, 0.05, 8.0), &Way::LOCAL);
            for at in clock(&mut wire.rng, 30.0, 0.01) {
                wire.ping(at, [site.monitor, host], 1, 0, 56, 0.999);
            }
        }
        let (server, every) =
            (*wire.rng.pick(&clocks), [64.0, 128.0, 256.0, 512.0, 1024.0][wire.rng.below(5)]);
        for at in clock(&mut wire.rng, every, 0.03) {
            let pair = Pair::new(host, server, [123, 123]);
            wire.ask(at, &pair, 48, 40_000, 48);
        }
        for at in arrivals(&mut wire.rng, 1.0 / 40.0) {
            resolve(wire, site, at, host);
        }
        for at in arrivals(&mut wire.rng, 1.0 / 900.0) {
            let mirror = *wire.rng.pick(&mirrors);
            let size = wire.rng.pareto(60_000.0, 0.9, 3e6);
            let known = resolve(wire, site, at, host);
            once(wire, &[known], (host, mirror, 443), sizes(300.0, size, 0.3, 20.0), &Way::FAR);
        }
    }
    stored(wire, site);
}

/// Backups, builds, and what else is fetched and left.
fn stored(wire: &mut Wire, site: &Site) {
    let [registry, payment, vault] = std::array::from_fn(|_| site.partner(&mut wire.rng));
    let sizes = |up, down, spread, serve| Sizes { up, down, spread, serve };
    for host in site.servers() {
        let size = if host == site.base { 9e6 } else { wire.rng.pareto(120_000.0, 0.8, 4e6) };
        for at in clock(&mut wire.rng, 540.0, 0.05) {
            if host != site.backup {
                let pair = Pair::new(site.backup, host, [wire.port(), 22]);
                let mut turns = Turn::hello(&mut wire.rng).to_vec();
                let lists = wire.rng.between(3, 12);
                turns.extend((0..lists).map(|_| sizes(700.0, 1_100.0, 0.6, 4.0).turn(&mut wire.rng, 0.01)));
                let parts = sizes(90.0, size / 4.0, 0.4, 15.0);
                turns.extend((0..4).map(|_| parts.turn(&mut wire.rng, 0.02)));
                wire.connect(at, &pair, &turns, &Way::LOCAL, End::Client);
            }
        }
    }
    let times = clock(&mut wire.rng, 420.0, 0.2);
    once(wire, &times, (site.backup, vault, 443), sizes(3e6, 600.0, 0.5, 50.0), &Way::FAR);
    let times = clock(&mut wire.rng, 30.0, 0.05);
    once(wire, &times, (site.builder, site.git, 443), sizes(420.0, 1_500.0, 0.3, 12.0), &Way::LOCAL);
    for at in arrivals(&mut wire.rng, 1.0 / 170.0) {
        let known = resolve(wire, site, at, site.builder);
        once(wire, &[known], (site.builder, registry, 443), sizes(800.0, 700_000.0, 0.9, 40.0), &Way::FAR);
        let built = known + wire.rng.between(20, 90) * SECOND;
        let target = *wire.rng.pick(&[site.webs[0], site.webs[1], site.api, site.files]);
        once(wire, &[built], (site.builder, target, 22), sizes(500_000.0, 900.0, 0.8, 30.0), &Way::LOCAL);
    }
    for at in arrivals(&mut wire.rng, 0.12) {
        let web = *wire.rng.pick(&site.webs);
        let known = if wire.rng.chance(0.3) { resolve(wire, site, at, web) } else { at };
        once(wire, &[known], (web, payment, 443), sizes(1_400.0, 1_900.0, 0.4, 180.0), &Way::FAR);
    }
}

/// A server looks up a name: at the resolver inside, which asks others where it does not know.
pub(crate) fn resolve(wire: &mut Wire, site: &Site, at: u64, host: Host) -> u64 {
    if wire.rng.chance(0.4) && host != site.directory {
        let mut asked = at + 200_000;
        for _ in 0..wire.rng.between(1, 4) {
            let server = site.partner(&mut wire.rng);
            let pair = Pair::new(site.directory, server, [wire.port(), 53]);
            let (up, down) = (wire.rng.between(40, 75) as usize, wire.rng.between(90, 900) as usize);
            asked = wire.ask(asked, &pair, up, 300_000, down) + 200_000;
        }
    }
    wire.look_up(at, host, site.directory, true)
}

/// The network of a seed.
pub(crate) fn network(seed: u64) -> Network {
    let mut rng = Rng::new(seed ^ 0x0068_6f73_7469_6e67);
    let site = Site::new(&mut rng);
    let mut wire = Wire::new(rng.fork(), &site.routers);
    inside(&mut wire, &site);
    guests::guests(&mut wire, &site);
    let mut attacks = Wire::new(rng.fork(), &site.routers);
    attacks::attacks(&mut attacks, &site);
    let mut labels = wire.take_labels();
    labels.extend(attacks.take_labels());
    labels.retain(|label| label.start < END);
    labels.sort_by_key(|label| label.start);
    wire.join(attacks);
    let mut train = wire.finish(START, END);
    let dev = train.split_off(train.partition_point(|frame| frame.time < HALF));
    Network { train, dev, labels }
}
