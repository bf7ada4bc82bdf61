//! The families of attacks, when each comes, and those that look for something, guess, spread or flood.

use std::net::Ipv4Addr;

use super::at;
use super::cast::{Cast, shuffle};
use super::people::NEAR;
use crate::talk::{End, Turn, Way};
use crate::wire::{ACK, Host, MICRO, MILLI, Pair, Port, RST, SECOND, SYN, Segment, Wire};

/// How it is told of and by which port, from how many to how many seconds it lasts, and how it is done.
type Family<'a> = (&'static str, Port, u64, u64, fn(&mut Raid<'a>, u64, u64));

/// Those that last longest stand first.
fn families<'a>() -> [Family<'a>; 26] {
    [
        ("c2_beacon", Port::Service, 720, 960, Raid::beacon),
        ("c2_beacon_jitter", Port::Service, 600, 900, Raid::jittered_beacon),
        ("http_poll", Port::Service, 500, 800, Raid::poll),
        ("slow_exfil", Port::Service, 450, 700, Raid::slow_theft),
        ("slow_scan", Port::Service, 400, 600, Raid::slow_scan),
        ("cryptominer", Port::Service, 350, 600, Raid::miner),
        ("p2p_botnet", Port::Any, 300, 500, Raid::botnet),
        ("password_spray", Port::Service, 240, 360, Raid::spray),
        ("printer_callout", Port::Service, 200, 400, Raid::printer),
        ("reverse_shell", Port::Service, 180, 320, Raid::shell),
        ("tor", Port::Service, 180, 320, Raid::tor),
        ("dns_tunnel", Port::Service, 100, 200, Raid::dns_tunnel),
        ("icmp_tunnel", Port::Any, 100, 200, Raid::icmp_tunnel),
        ("lateral_movement", Port::Service, 90, 180, Raid::lateral),
        ("rogue_device", Port::Any, 80, 140, Raid::rogue),
        ("ssh_bruteforce", Port::Service, 50, 110, Raid::guess),
        ("spam", Port::Service, 40, 90, Raid::spam),
        ("ransomware", Port::Client, 40, 80, Raid::ransom),
        ("worm_fanout", Port::Service, 30, 60, Raid::worm),
        ("host_sweep", Port::Service, 20, 60, Raid::sweep),
        ("exfiltration", Port::Service, 20, 50, Raid::theft),
        ("http_flood", Port::Service, 20, 40, Raid::http_flood),
        ("syn_flood", Port::Service, 15, 40, Raid::syn_flood),
        ("udp_flood", Port::Service, 12, 25, Raid::udp_flood),
        ("ntp_amplification", Port::Service, 12, 30, Raid::amplified),
        ("syn_scan", Port::Any, 6, 15, Raid::scan),
    ]
}

/// One attack after the other.
pub(super) struct Raid<'a> {
    pub(super) wire: Wire,
    pub(super) cast: &'a Cast,
    /// People whose host is in nobody's hands yet, those with laptops last.
    free: Vec<usize>,
}

/// Lays all attacks into what else there is.
pub(super) fn all(wire: Wire, cast: &Cast) -> Wire {
    let families = families();
    let mut raid = Raid { wire, cast, free: Vec::new() };
    let rng = &mut raid.wire.rng;
    raid.free =
        (0..cast.people.len()).filter(|n| cast.people[*n].stays() && !cast.sharers.contains(n)).collect();
    shuffle(rng, &mut raid.free);
    raid.free.sort_by_key(|&n| !cast.people[n].phone);
    let mut slots: Vec<f64> = (0..families.len()).map(|n| 20.0 + 44.0 * (n as f64 + rng.unit())).collect();
    shuffle(rng, &mut slots);
    let mut plan: Vec<(u64, u64, &Family)> = Vec::new();
    for (family, slot) in families.iter().zip(slots) {
        let lasts = rng.between(family.2, family.3 + 1);
        plan.push((at(slot.min(1_190.0 - lasts as f64)), lasts * SECOND, family));
    }
    plan.sort_by_key(|(start, ..)| *start);
    for (start, lasts, (attack, port, _, _, act)) in plan {
        raid.wire.open(attack, *port);
        act(&mut raid, start, lasts);
        raid.wire.close();
    }
    raid.wire
}

impl Raid<'_> {
    /// A laptop in other hands, and its path.
    pub(super) fn taken(&mut self) -> (Host, Way) {
        let person = &self.cast.people[self.free.pop().expect("more who stay than attacks")];
        (person.host, person.way)
    }

    /// A host that is looked at.
    pub(super) fn looked_at(&mut self) -> Host {
        let place = self.wire.rng.below(self.free.len());
        self.cast.people[self.free[place]].host
    }

    pub(super) fn stranger(&mut self) -> Host {
        self.cast.stranger(&mut self.wire.rng)
    }

    /// A stranger with addresses of both kinds.
    pub(super) fn both(&mut self) -> Host {
        loop {
            let host = self.stranger();
            if host.v6.is_some() {
                return host;
            }
        }
    }

    pub(super) fn pair(&mut self, from: Host, to: Host, port: u16) -> Pair {
        Pair::new(from, to, [self.wire.port(), port])
    }

    /// All ports of note of one host, as fast as it answers.
    fn scan(&mut self, time: u64, lasts: u64) {
        let (from, _) = self.taken();
        let to = self.looked_at();
        let own = self.wire.port();
        let mut ports: Vec<u16> = (1..1_025).chain([3_306, 3_389, 5_432, 5_900, 8_080, 8_443]).collect();
        shuffle(&mut self.wire.rng, &mut ports);
        ports.truncate(self.wire.rng.between(600, 1_031) as usize);
        let gap = lasts / ports.len() as u64;
        let mut now = time;
        for port in ports {
            now += gap / 2 + self.wire.rng.between(0, gap);
            self.probe(now, &Pair::new(from, to, [own, port]), [22, 445, 5_900].contains(&port));
        }
    }

    /// A SYN, what comes back, and a reset where that is an agreement.
    fn probe(&mut self, time: u64, pair: &Pair, open: bool) {
        let sequence = self.wire.rng.word() as u32;
        self.wire.bare_syn(time, pair, sequence);
        let trip = pair.round_trip() + self.wire.jitter(pair.round_trip());
        let flags = if open { SYN | ACK } else { RST | ACK };
        let next = sequence.wrapping_add(1);
        let answer = Segment { flags, acknowledged: next, ..Segment::default() };
        self.wire.tcp(time + trip / 2, &pair.back(), answer);
        if open {
            let reset = Segment { flags: RST, sequence: next, ..Segment::default() };
            self.wire.tcp(time + trip, pair, reset);
        }
    }

    /// One try here, and after a while another there.
    fn slow_scan(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let every = self.wire.rng.between(13_000, 22_000);
        let mut now = time;
        while now < time + lasts {
            let place = self.wire.rng.below(self.cast.things.len() + 6);
            let to = match self.cast.things.get(place) {
                Some(thing) => thing.host,
                None => self.looked_at(),
            };
            let port = *self.wire.rng.pick(&[21, 22, 23, 80, 443, 554, 3_389, 5_900, 8_080, 8_443]);
            let pair = self.pair(from, to, port);
            if self.wire.rng.chance(0.15) {
                self.wire.connect(now, &pair, &[], &way, End::ClientReset);
            } else if self.wire.rng.chance(0.2) {
                self.wire.unanswered(now, &pair, 2);
            } else {
                self.wire.refused(now, &pair);
            }
            now += self.wire.rng.between(every * 8 / 10, every * 12 / 10) * MILLI;
        }
    }

    /// Who of a part of the link has a service, and who is there at all.
    fn sweep(&mut self, time: u64, lasts: u64) {
        let (from, _) = self.taken();
        let port = *self.wire.rng.pick(&[22, 80, 445, 3_389]);
        let mut targets: Vec<Result<Host, Ipv4Addr>> = self.hosts(from).into_iter().map(Ok).collect();
        targets.extend(self.cast.nobody.iter().map(|&target| Err(target)));
        shuffle(&mut self.wire.rng, &mut targets);
        targets.truncate(self.wire.rng.between(250, 450) as usize);
        let gap = lasts / targets.len() as u64;
        let mut now = time;
        for target in targets {
            now += gap / 2 + self.wire.rng.between(0, gap);
            match target {
                Ok(to) => {
                    let pair = self.pair(from, to, port);
                    let open = self.wire.rng.chance(0.15);
                    self.probe(now, &pair, open);
                }
                Err(target) => {
                    self.wire.nobody(now, from, target);
                }
            }
        }
    }

    /// Those on the link who stay, without the NAS and who asks.
    fn hosts(&self, but: Host) -> Vec<Host> {
        let people = self.cast.people.iter().filter(|person| person.stays()).map(|person| person.host);
        let things = self.cast.things.iter().map(|thing| thing.host);
        people.chain(things).filter(|&host| host != but).collect()
    }

    /// Tries whoever it can think of, here and outside, and moves on to those who let it.
    fn worm(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let hosts = self.hosts(from);
        let gap = SECOND / self.wire.rng.between(15, 40);
        let mut now = time;
        while now < time + lasts {
            now += gap / 2 + self.wire.rng.between(0, gap);
            let near = self.wire.rng.chance(0.3);
            let to = if near { *self.wire.rng.pick(&hosts) } else { self.stranger() };
            let pair = self.pair(from, to, 445);
            if near && self.wire.rng.chance(0.06) {
                let turns = [
                    Turn::new(MILLI, 190, 3 * MILLI, 250),
                    Turn::new(2 * MILLI, 4_200, 20 * MILLI, 130),
                    Turn::new(5 * MILLI, self.wire.rng.between(150_000, 400_000), 90 * MILLI, 60),
                ];
                self.wire.connect(now, &pair, &turns, &way, End::Client);
            } else if near && self.wire.rng.chance(0.7) {
                self.wire.refused(now, &pair);
            } else {
                self.wire.unanswered(now, &pair, 2);
            }
        }
    }

    /// Passwords of the NAS, from outside.
    fn guess(&mut self, time: u64, lasts: u64) {
        let (from, to) = (self.both(), self.cast.nas);
        let mut lanes = vec![time; self.wire.rng.between(2, 5) as usize];
        for lane in &mut lanes {
            while *lane < time + lasts {
                let pair = self.pair(from, to, 22).six(true);
                let last = self.attempt(*lane, &pair, &Way::FAR);
                *lane = last + self.wire.rng.between(30, 400) * MILLI;
            }
        }
    }

    /// Some passwords tried in one connection of SSH.
    fn attempt(&mut self, time: u64, pair: &Pair, way: &Way) -> u64 {
        let tries = 1 + self.wire.rng.below(3);
        let turns = Turn::guess(&mut self.wire.rng, tries);
        self.wire.connect(time, pair, &turns, way, End::Client)
    }

    /// A few passwords, each tried on a dozen hosts one after the other.
    fn spray(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let mut hosts = self.hosts(from);
        shuffle(&mut self.wire.rng, &mut hosts);
        hosts.truncate(11);
        hosts.push(self.cast.nas);
        let every = self.wire.rng.between(2_500, 6_000);
        let (mut now, mut turn) = (time, 0);
        while now < time + lasts {
            let pair = self.pair(from, hosts[turn % hosts.len()], 22);
            self.attempt(now, &pair, &way);
            turn += 1;
            now += self.wire.rng.between(every / 2, every * 3 / 2) * MILLI;
        }
    }

    /// Connections to the NAS from made-up addresses.
    fn syn_flood(&mut self, time: u64, lasts: u64) {
        let to = self.cast.nas;
        let count = self.wire.rng.between(3_000, 5_000);
        for _ in 0..count {
            let now = time + (self.wire.rng.unit() * lasts as f64) as u64;
            let from = self.stranger();
            let pair = Pair::new(from, to, [self.wire.rng.between(1_024, 65_535) as u16, 443]);
            let sequence = self.wire.rng.word() as u32;
            self.wire.bare_syn(now, &pair, sequence);
            let flags = SYN | ACK;
            let answer = Segment { flags, acknowledged: sequence.wrapping_add(1), ..Segment::default() };
            let late = 2 * to.delay + self.wire.jitter(100 * MICRO);
            self.wire.tcp(now + late, &pair.back(), answer);
        }
    }

    /// Many who really ask the NAS for pages, all the time.
    fn http_flood(&mut self, time: u64, lasts: u64) {
        let to = self.cast.nas;
        for _ in 0..self.wire.rng.between(15, 35) {
            let from = self.both();
            let every = self.wire.rng.between(400, 1_200);
            let mut now = time + self.wire.rng.between(0, 2_000) * MILLI;
            while now < time + lasts {
                let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
                let serve = self.wire.rng.between(20, 400) * MILLI;
                turns.push(Turn::new(MILLI, self.wire.rng.between(180, 420), serve, 6_000));
                let pair = self.pair(from, to, 443).six(true);
                self.wire.connect(now, &pair, &turns, &Way::FAR, End::Client);
                now += self.wire.rng.between(every / 2, every * 3 / 2) * MILLI;
            }
        }
    }

    /// A laptop helps to drown somebody outside.
    fn udp_flood(&mut self, time: u64, lasts: u64) {
        let (from, _) = self.taken();
        let to = self.stranger();
        let port = *self.wire.rng.pick(&[53, 80, 443, 27_015]);
        let rate = self.wire.rng.between(300, 700);
        let size = self.wire.rng.between(400, 1_400) as usize;
        let sockets: Vec<u16> = (0..self.wire.rng.between(1, 40)).map(|_| self.wire.port()).collect();
        let gap = SECOND / rate;
        let mut now = time;
        while now < time + lasts {
            let own = *self.wire.rng.pick(&sockets);
            self.wire.udp(now, &Pair::new(from, to, [own, port]), size);
            now += gap / 2 + self.wire.rng.between(0, gap);
        }
    }

    /// Answers of clocks to questions that a laptop never asked.
    fn amplified(&mut self, time: u64, lasts: u64) {
        let to = self.looked_at();
        let port = self.wire.rng.between(1_024, 65_000) as u16;
        let clocks: Vec<Host> = (0..self.wire.rng.between(25, 60)).map(|_| self.stranger()).collect();
        let gap = SECOND / self.wire.rng.between(80, 250);
        let mut now = time;
        while now < time + lasts {
            let pair = Pair::new(*self.wire.rng.pick(&clocks), to, [123, port]);
            for number in 0..self.wire.rng.between(1, 6) {
                self.wire.udp(now + number * 20 * MICRO, &pair, 440);
            }
            now += gap / 2 + self.wire.rng.between(0, gap);
        }
    }

    /// Goes from host to host with what it has learned.
    fn lateral(&mut self, time: u64, lasts: u64) {
        let (from, _) = self.taken();
        let mut hosts = self.hosts(from);
        shuffle(&mut self.wire.rng, &mut hosts);
        hosts.truncate(self.wire.rng.between(6, 11) as usize);
        let gap = lasts / hosts.len() as u64;
        for (number, to) in hosts.into_iter().enumerate() {
            let mut now = time + number as u64 * gap + self.wire.rng.between(0, gap / 2);
            for port in [445, 5_985, 3_389, 22] {
                let pair = self.pair(from, to, port);
                if !self.wire.rng.chance(0.3) {
                    now = self.wire.refused(now, &pair);
                    now += self.wire.rng.between(100, 1_500) * MILLI;
                    continue;
                }
                let mut turns = vec![Turn::new(MILLI, 200, 3 * MILLI, 260); 4];
                turns.push(Turn::new(20 * MILLI, self.wire.rng.between(20_000, 900_000), 80 * MILLI, 140));
                for _ in 0..self.wire.rng.between(3, 20) {
                    let think = (self.wire.rng.lognormal(0.5, 0.8) * SECOND as f64) as u64;
                    let down = self.wire.rng.pareto(120.0, 0.9, 40_000.0) as u64;
                    turns.push(Turn::new(think, 180, 9 * MILLI, down));
                }
                self.wire.connect(now, &pair, &turns, &NEAR, End::Client);
                break;
            }
        }
    }
}
