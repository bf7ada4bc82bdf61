//! What the link itself is full of: who comes, those who call out to all, things, printers, the NAS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cast::{Kind, Person, Thing, of_link};
use super::people::{NEAR, chunks, held};
use super::{END, Life, START};
use crate::talk::{End, Turn, Way};
use crate::wire::{Host, MILLI, Pair, SECOND, group_host};

const MDNS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb))];
const LLMNR: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(224, 0, 0, 252)), IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 3))];
const SSDP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250));
const ALL: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
const ALL_NODES: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
const ALL_ROUTERS: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2));

impl Life<'_> {
    /// Gets or has its addresses, and begins to call out to all.
    pub(super) fn arrive(&mut self, person: &Person) {
        let cast = self.cast;
        if person.comes > START {
            self.join(person.comes, person.host);
        } else {
            let mut now = START + self.wire.rng.between(0, 3_600) * SECOND;
            while now < person.leaves {
                self.wire.dhcp(now, person.host, cast.router, false);
                now += 3_600 * SECOND;
            }
        }
        let fresh = if person.comes > START { 4.0 } else { 60.0 };
        self.chatter(person.comes, person.leaves, person.host, fresh, 85.0);
        if !person.phone {
            self.search(person);
        }
    }

    /// How a host comes to its addresses of both kinds.
    pub(super) fn join(&mut self, time: u64, host: Host) {
        let now = self.wire.dhcp(time, host, self.cast.router, true);
        let Some(own) = host.v6 else { return };
        let local = of_link(host);
        let nobody = Host { v4: Ipv4Addr::UNSPECIFIED, v6: Some(Ipv6Addr::UNSPECIFIED), ..host };
        let start = time + self.wire.rng.between(1, 300) * MILLI;
        if let Some(target) = local.v6 {
            self.wire.solicit(start, nobody, target, None);
        }
        let asked = start + self.wire.rng.between(1_000, 1_400) * MILLI;
        let ask = Pair { from: local, to: group_host(ALL_ROUTERS, 1), ports: [0; 2], six: true };
        self.wire.icmp(asked, &ask, [133, 0], 0, 8);
        let told = asked + self.wire.rng.between(2, 450) * MILLI;
        self.advertise(told);
        self.wire.solicit(now + 600 * MILLI, nobody, own, None);
    }

    fn advertise(&mut self, time: u64) {
        let pair =
            Pair { from: of_link(self.cast.router), to: group_host(ALL_NODES, 1), ports: [0; 2], six: true };
        self.wire.icmp(time, &pair, [134, 0], 0x4000_0708, 56);
    }

    /// Services asked for and told of by mDNS.
    fn chatter(&mut self, from: u64, to: u64, host: Host, first: f64, every: f64) {
        let mut now = from + self.wait(from, first);
        while now < to {
            let size = self.wire.rng.between(40, 320) as usize;
            let (first, last) = *self.wire.rng.pick(&[(0, 1), (0, 2), (0, 2), (1, 2)]);
            for again in 0..self.wire.rng.between(1, 4) {
                let at = now + again * (SECOND << again) / 2;
                for &group in &MDNS[first..last] {
                    self.call(at, host, group, 5_353, size);
                }
            }
            if self.wire.rng.chance(0.4) {
                let at = now + self.wire.rng.between(20, 130) * MILLI;
                let place = self.wire.rng.below(self.cast.printers.len() + 1);
                let told = self.cast.printers.get(place).copied().unwrap_or(self.cast.nas);
                let size = self.wire.rng.between(120, 900) as usize;
                self.call(at, told, MDNS[0], 5_353, size);
            }
            now += self.pause(now, every, 0.9);
        }
    }

    fn call(&mut self, time: u64, host: Host, group: IpAddr, port: u16, size: usize) {
        if group.is_ipv4() {
            self.wire.to_group(time, host, group, [port; 2], size);
        } else if host.v6.is_some() {
            self.wire.to_group(time, of_link(host), group, [port; 2], size);
        }
    }

    /// Laptops look for screens, for each other by name, and for their like that hold the same files.
    fn search(&mut self, person: &Person) {
        let (host, cast) = (person.host, self.cast);
        if self.wire.rng.chance(0.4) {
            let mut now = person.comes + self.wait(person.comes, 90.0);
            while now < person.leaves {
                let port = self.wire.port();
                for again in 0..self.wire.rng.between(2, 5) {
                    self.wire.to_group(now + again * SECOND, host, SSDP, [port, 1_900], 175);
                }
                for thing in cast.things.iter().filter(|thing| thing.kind == Kind::Screen) {
                    let at = now + self.wire.rng.between(100, 2_900) * MILLI;
                    self.wire.udp(at, &Pair::new(thing.host, host, [1_900, port]), 310);
                }
                let at = now + self.wire.rng.between(5, 900) * MILLI;
                self.wire.udp(at, &Pair::new(cast.nas, host, [1_900, port]), 330);
                now += self.pause(now, 130.0, 0.25);
            }
        }
        if self.wire.rng.chance(0.3) {
            let mut now = person.comes + self.wait(person.comes, 20.0);
            while now < person.leaves {
                for group in LLMNR {
                    let port = self.wire.port();
                    let from = if group.is_ipv4() { host } else { of_link(host) };
                    for again in 0..2 {
                        self.wire.to_group(now + again * 410 * MILLI, from, group, [port, 5_355], 30);
                    }
                }
                let all = Ipv4Addr::from(u32::from(host.v4) | 0x3ff);
                for again in 0..3 {
                    self.wire.to_group(now + again * 750 * MILLI, host, IpAddr::V4(all), [137; 2], 50);
                }
                now += self.pause(now, 200.0, 1.0);
            }
        }
        if self.wire.rng.chance(0.12) {
            let mut now = person.comes + self.wait(person.comes, 15.0);
            let size = self.wire.rng.between(130, 220) as usize;
            while now < person.leaves {
                self.wire.to_group(now, host, ALL, [17_500; 2], size);
                now += 30 * SECOND + self.wire.rng.between(0, 300) * MILLI;
            }
        }
    }

    /// The router, things, printers and the NAS.
    pub(super) fn house(&mut self) {
        let cast = self.cast;
        let mut now = START + self.wire.rng.between(0, 200) * SECOND;
        while now < END {
            self.advertise(now);
            now += self.wire.rng.between(200, 600) * SECOND;
        }
        for thing in &cast.things {
            self.thing(thing);
        }
        for &printer in &cast.printers {
            self.chatter(START, END, printer, 60.0, 150.0);
            self.clock(printer, 600.0);
        }
        for host in [cast.nas, cast.resolver, cast.router] {
            self.clock(host, 64.0);
        }
        self.nas();
    }

    /// Asks a clock again and again.
    fn clock(&mut self, host: Host, every: f64) {
        let clock = *self.wire.rng.pick(&self.cast.clocks);
        let mut now = START + self.wait(START, every);
        while now < END {
            let pair = Pair::new(host, clock, [self.wire.port(), 123]).six(true);
            self.wire.ask(now, &pair, 48, 40_000, 48);
            now += self.pause(START, every, 0.05);
        }
    }

    fn thing(&mut self, thing: &Thing) {
        let Thing { host, vendor, .. } = *thing;
        let (port, beat) = match thing.kind {
            Kind::Plug | Kind::Sensor => (8_883, 30.0),
            Kind::Hub => (8_883, 60.0),
            Kind::Camera => (443, 20.0),
            Kind::Screen | Kind::Speaker => (443, 55.0),
        };
        let pair = Pair::new(host, vendor, [self.wire.port(), port]).six(true);
        let news = if thing.kind == Kind::Sensor { 25.0 } else { 240.0 };
        let turns = held(&mut self.wire.rng, END - START, beat, news);
        self.wire.go_on(START, &pair, &turns, &Way::RADIO);
        let every = self.wire.rng.lognormal(200.0, 0.6);
        self.clock(host, every);
        let mut now = START + self.wait(START, 120.0);
        while now < END {
            self.wire.look_up(now, host, self.cast.resolver, host.v6.is_some());
            now += self.pause(START, 180.0, 0.4);
        }
        match thing.kind {
            Kind::Camera => self.moves(thing),
            Kind::Screen => {
                self.chatter(START, END, host, 30.0, 110.0);
                self.notify(host);
                self.plays(thing, 900.0, 600.0);
            }
            Kind::Speaker => {
                self.chatter(START, END, host, 30.0, 110.0);
                self.plays(thing, 500.0, 200.0);
            }
            Kind::Hub => self.poll(host),
            Kind::Plug | Kind::Sensor => {}
        }
    }

    /// A camera sends what moves before it.
    fn moves(&mut self, thing: &Thing) {
        let mut now = START + self.wait(START, 60.0);
        while now < END {
            let pair = Pair::new(thing.host, thing.vendor, [self.wire.port(), 443]).six(true);
            let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
            for _ in 0..self.wire.rng.between(2, 7) {
                let up = self.wire.rng.lognormal(90_000.0, 0.6) as u64;
                turns.push(Turn::new(SECOND, up, 20 * MILLI, 120));
            }
            self.wire.connect(now, &pair, &turns, &Way::RADIO, End::Client);
            now += self.wait(now, 110.0);
        }
    }

    /// Music or films for a time.
    fn plays(&mut self, thing: &Thing, pause: f64, length: f64) {
        let mut now = START + self.wait(START, pause);
        while now < END {
            let until = (now + self.pause(START, length, 0.6)).min(END);
            let name = self.wire.rng.below(14);
            let found = self.look_up(now, thing.host, thing.host.v6.is_some());
            let server = self.cast.reach(&mut self.wire.rng, name, found);
            let pair = Pair::new(thing.host, server, [self.wire.port(), 443]).six(true);
            let mut turns = chunks(&mut self.wire.rng, until - now);
            if thing.kind == Kind::Speaker {
                turns.iter_mut().for_each(|turn| turn.down /= 6);
            }
            if self.cast.names[name].quic {
                self.wire.quic(found, &pair, &turns, &Way::RADIO);
            } else {
                self.wire.connect(found, &pair, &turns, &Way::RADIO, End::Server);
            }
            now = until + self.wait(until, pause);
        }
    }

    /// A screen tells all that it is there.
    fn notify(&mut self, host: Host) {
        let mut now = START + self.wait(START, 100.0);
        while now < END {
            for again in 0..6 {
                self.wire.to_group(now + again * 60 * MILLI, host, SSDP, [1_900; 2], 340);
            }
            now += self.pause(START, 240.0, 0.1);
        }
    }

    /// The hub asks plugs how they are.
    fn poll(&mut self, hub: Host) {
        let things = &self.cast.things;
        for thing in things.iter().filter(|thing| thing.kind == Kind::Plug) {
            let pair = Pair::new(hub, thing.host, [self.wire.port(), 5_683]);
            let mut now = START + self.wire.rng.between(0, 20_000) * MILLI;
            while now < END {
                self.wire.ask(now, &pair, 22, 8 * MILLI, 40);
                now += self.pause(START, 20.0, 0.02);
            }
        }
    }

    /// It is reached by way of its maker, and puts copies away outside.
    fn nas(&mut self) {
        let nas = self.cast.nas;
        self.chatter(START, END, nas, 20.0, 60.0);
        let maker = self.cast.stranger(&mut self.wire.rng);
        let pair = Pair::new(nas, maker, [self.wire.port(), 443]).six(true);
        let turns = held(&mut self.wire.rng, END - START, 30.0, 90.0);
        self.wire.go_on(START, &pair, &turns, &Way::FAR);
        let mut now = START + self.wait(START, 200.0);
        while now < END {
            let name = self.wire.rng.below(5);
            let found = self.look_up(now, nas, true);
            let server = self.cast.reach(&mut self.wire.rng, name, found);
            let pair = Pair::new(nas, server, [self.wire.port(), 443]).six(true);
            let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
            for _ in 0..self.wire.rng.between(2, 12) {
                let up = self.wire.rng.pareto(40_000.0, 0.9, 1_500_000.0) as u64;
                turns.push(Turn::new(100 * MILLI, up, 30 * MILLI, 300));
            }
            self.wire.connect(found, &pair, &turns, &Way { loss: 0.001, ..NEAR }, End::Client);
            now += self.wait(now, 240.0);
        }
    }
}
