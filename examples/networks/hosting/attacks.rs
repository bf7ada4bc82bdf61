//! Attacks on the hosting network and out of it: 26 families, one event of each.

use std::net::Ipv4Addr;

use super::guests::{datagram, probe};
use super::{HALF, Site, Sizes, resolve};
use crate::talk::{End, Turn, Way};
use crate::wire::{ACK, BROADCAST, Host, MICRO, MILLI, Pair, Port, RST, Rng, SECOND, SYN, Segment, Wire};

type Attack = fn(&mut Wire, &Site, u64);

/// Each family with what names its traffic, how long it takes at most, and how it is done.
const FAMILIES: [(&str, Port, u64, Attack); 26] = [
    ("syn_scan", Port::Any, 60, syn_scan),
    ("host_sweep", Port::Any, 90, host_sweep),
    ("slow_scan", Port::Any, 900, slow_scan),
    ("distributed_scan", Port::Any, 160, distributed_scan),
    ("udp_scan", Port::Any, 120, udp_scan),
    ("web_dirscan", Port::Any, 90, web_dirscan),
    ("ssh_bruteforce", Port::Any, 100, ssh_bruteforce),
    ("slow_bruteforce", Port::Any, 900, slow_bruteforce),
    ("distributed_bruteforce", Port::Any, 420, distributed_bruteforce),
    ("syn_flood", Port::Any, 40, syn_flood),
    ("http_flood", Port::Any, 50, http_flood),
    ("udp_flood", Port::Any, 30, udp_flood),
    ("slowloris", Port::Any, 200, slowloris),
    ("dns_amplification", Port::Any, 60, dns_amplification),
    ("dns_tunnel", Port::Client, 260, dns_tunnel),
    ("icmp_tunnel", Port::Any, 220, icmp_tunnel),
    ("c2_beacon", Port::Any, 1000, c2_beacon),
    ("reverse_shell", Port::Any, 360, reverse_shell),
    ("exfiltration", Port::Any, 60, exfiltration),
    ("slow_exfil", Port::Any, 900, slow_exfil),
    ("database_dump", Port::Client, 60, database_dump),
    ("spam", Port::Service, 280, spam),
    ("cryptominer", Port::Any, 700, cryptominer),
    ("exploit", Port::Any, 240, exploit),
    ("lateral_movement", Port::Client, 260, lateral_movement),
    ("rogue_device", Port::Any, 260, rogue_device),
];

/// All families, each at a time of its own.
pub(crate) fn attacks(wire: &mut Wire, site: &Site) {
    let mut starts: Vec<(u64, usize)> = (0..FAMILIES.len())
        .map(|place| (HALF + wire.rng.between(20, 1190 - FAMILIES[place].2) * SECOND, place))
        .collect();
    starts.sort_unstable();
    for (start, place) in starts {
        let (family, port, _, attack) = FAMILIES[place];
        wire.open(family, port);
        attack(wire, site, start);
        wire.close();
    }
}

/// An attacker: a rented server, which has IPv4 only.
fn attacker(wire: &mut Wire, site: &Site) -> Host {
    Host { v6: None, ..site.partner(&mut wire.rng) }
}

fn seconds(of: f64) -> u64 {
    (of * SECOND as f64) as u64
}

/// The ports that are tried first, then others.
fn ports(rng: &mut Rng, count: usize) -> Vec<u16> {
    let mut ports: Vec<u16> = vec![
        21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 443, 445, 587, 993, 1433, 3306, 3389, 5432, 5900,
        6379, 8080, 8443, 9200,
    ];
    while ports.len() < count {
        let port = rng.between(1, 10_000) as u16;
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    for place in (1..ports.len()).rev() {
        ports.swap(place, rng.below(place + 1));
    }
    ports.truncate(count);
    ports
}

fn syn_scan(wire: &mut Wire, site: &Site, start: u64) {
    let (from, to) = (attacker(wire, site), *wire.rng.pick(&site.public()));
    let (source, gap) = (wire.port(), wire.rng.lognormal(0.02, 0.4));
    let mut at = start;
    let count = wire.rng.between(600, 1_001) as usize;
    for port in ports(&mut wire.rng, count) {
        probe(wire, site, at, &Pair::new(from, to, [source, port]));
        at += seconds(wire.rng.exponential(gap).min(0.055));
    }
}

fn host_sweep(wire: &mut Wire, site: &Site, start: u64) {
    let from = attacker(wire, site);
    let [a, b, c, first] = site.routers[1].v4.octets();
    let source = wire.port();
    let mut at = start;
    let services = ports(&mut wire.rng, 5);
    for port in services {
        for number in 1..62 {
            let v4 = Ipv4Addr::new(a, b, c, first + number);
            let nobody = Host::new([0; 6], v4, None, 1);
            let to = site.public().into_iter().find(|host| host.v4 == v4).unwrap_or(nobody);
            probe(wire, site, at, &Pair::new(from, to, [source, port]));
            at += seconds(wire.rng.exponential(0.12).min(0.28));
        }
    }
}

fn slow_scan(wire: &mut Wire, site: &Site, start: u64) {
    let (from, to) = (attacker(wire, site), *wire.rng.pick(&site.public()));
    let gap = wire.rng.between(14, 19) * SECOND;
    let mut at = start;
    for port in ports(&mut wire.rng, 46) {
        let pair = Pair::new(from, to, [wire.port(), port]);
        probe(wire, site, at, &pair);
        at += gap + wire.rng.between(0, 400) * MILLI;
    }
}

fn distributed_scan(wire: &mut Wire, site: &Site, start: u64) {
    let sources: Vec<Host> = (0..40).map(|_| Host { v6: None, ..site.stranger(&mut wire.rng) }).collect();
    let targets = [*wire.rng.pick(&site.public()), *wire.rng.pick(&site.public())];
    let tried = ports(&mut wire.rng, 200);
    for (place, port) in tried.into_iter().enumerate() {
        let from = *wire.rng.pick(&sources);
        let pair = Pair::new(from, targets[place % 2], [wire.port(), port]);
        let at = start + wire.rng.between(0, 150_000) * MILLI;
        probe(wire, site, at, &pair);
    }
}

fn udp_scan(wire: &mut Wire, site: &Site, start: u64) {
    let (from, to) = (attacker(wire, site), *wire.rng.pick(&site.public()));
    let source = wire.port();
    let mut at = start;
    for port in ports(&mut wire.rng, 160) {
        let size = wire.rng.below(60);
        for again in 0..2 {
            datagram(wire, site, at + again * SECOND, &Pair::new(from, to, [source, port]), size);
        }
        at += seconds(wire.rng.exponential(0.4).min(0.7));
    }
}

/// Connections one after the other, each with so many requests.
fn requests(wire: &mut Wire, from: Host, to: (Host, u16), start: u64, count: usize, sizes: Sizes) -> u64 {
    let pair = Pair::new(from, to.0, [wire.port(), to.1]);
    let mut turns = Turn::hello(&mut wire.rng).to_vec();
    turns.extend((0..count).map(|_| {
        let think = wire.rng.exponential(0.003);
        sizes.turn(&mut wire.rng, think)
    }));
    wire.connect(start, &pair, &turns, &Way::FAR, End::Client)
}

fn web_dirscan(wire: &mut Wire, site: &Site, start: u64) {
    let from = attacker(wire, site);
    let missing = Sizes { up: 170.0, down: 420.0, spread: 0.08, serve: 5.0 };
    let ends = start + wire.rng.between(40, 80) * SECOND;
    for _ in 0..8 {
        let mut at = start + wire.rng.between(0, 300) * MILLI;
        while at < ends {
            at = requests(wire, from, (site.balancer, 443), at, 60, missing) + 10 * MILLI;
        }
    }
}

fn ssh_bruteforce(wire: &mut Wire, site: &Site, start: u64) {
    let from = attacker(wire, site);
    let ends = start + wire.rng.between(50, 85) * SECOND;
    for lane in 0..4 {
        let mut at = start + lane * 350 * MILLI;
        while at < ends {
            let pair = Pair::new(from, site.git, [wire.port(), 22]);
            let turns = Turn::guess(&mut wire.rng, 3);
            at = wire.connect(at, &pair, &turns, &Way::FAR, End::Server) + wire.rng.between(5, 90) * MILLI;
        }
    }
}

fn slow_bruteforce(wire: &mut Wire, site: &Site, start: u64) {
    let from = attacker(wire, site);
    for number in 0..42 {
        let at = start + number * 20 * SECOND + wire.rng.between(0, 900) * MILLI;
        let pair = Pair::new(from, site.git, [wire.port(), 22]);
        let turns = Turn::guess(&mut wire.rng, 1);
        wire.connect(at, &pair, &turns, &Way::FAR, End::Client);
    }
}

fn distributed_bruteforce(wire: &mut Wire, site: &Site, start: u64) {
    let denied = Sizes { up: 58.0, down: 62.0, spread: 0.1, serve: 1_900.0 };
    for _ in 0..60 {
        let from = site.stranger(&mut wire.rng);
        for _ in 0..wire.rng.between(2, 4) {
            let at = start + wire.rng.between(0, 400) * SECOND;
            requests(wire, from, (site.mail, 993), at, 1, denied);
        }
    }
}

fn syn_flood(wire: &mut Wire, site: &Site, start: u64) {
    let to = *wire.rng.pick(&[site.balancer, site.api]);
    let rate = wire.rng.between(120, 240);
    for number in 0..4_000 {
        let at = start + number * SECOND / rate + wire.rng.between(0, 4) * MILLI;
        let forged = Host { v6: None, ..site.stranger(&mut wire.rng) };
        let pair = Pair::new(forged, to, [wire.rng.between(1_024, 65_535) as u16, 443]);
        let (sequence, own) = (wire.rng.word() as u32, wire.rng.word() as u32);
        wire.bare_syn(at, &pair, sequence);
        let answer =
            Segment { flags: SYN | ACK, sequence: own, acknowledged: sequence.wrapping_add(1), payload: 0 };
        let answered = at + 2 * to.delay + wire.jitter(MILLI);
        wire.tcp(answered, &pair.back(), answer);
        // A few addresses are somebody's, who knows of nothing; while the queue is short the others are asked again.
        if wire.rng.chance(0.12) {
            let reset = Segment { flags: RST, sequence: sequence.wrapping_add(1), ..Default::default() };
            wire.tcp(answered + 2 * forged.delay, &pair, reset);
        } else if number < 256 {
            wire.tcp(answered + SECOND, &pair.back(), answer);
        }
    }
}

fn http_flood(wire: &mut Wire, site: &Site, start: u64) {
    let page = Sizes { up: 330.0, down: 4_000.0, spread: 0.3, serve: 90.0 };
    let ends = start + wire.rng.between(25, 40) * SECOND;
    let bots = wire.rng.between(25, 40);
    for _ in 0..bots {
        let from = site.stranger(&mut wire.rng);
        let mut at = start + wire.rng.between(0, 4_000) * MILLI;
        while at < ends {
            at = requests(wire, from, (site.balancer, 443), at, 4, page) + wire.rng.between(5, 60) * MILLI;
        }
    }
}

fn udp_flood(wire: &mut Wire, site: &Site, start: u64) {
    let to = site.vpn;
    let ends = start + wire.rng.between(12, 25) * SECOND;
    for _ in 0..6 {
        let pair = Pair::new(attacker(wire, site), to, [wire.port(), 51820]);
        let mut at = start + wire.rng.between(0, 900) * MILLI;
        while at < ends {
            let size = wire.rng.between(600, 1_400) as usize;
            wire.udp(at, &pair, size);
            at += seconds(wire.rng.exponential(0.012));
        }
    }
}

fn slowloris(wire: &mut Wire, site: &Site, start: u64) {
    let from = attacker(wire, site);
    for number in 0..180 {
        let begun = start + number * 60 * MILLI + wire.rng.between(0, 50) * MILLI;
        let pair = Pair::new(from, site.balancer, [wire.port(), 80]);
        let mut turns = vec![Turn::new(MILLI, wire.rng.between(180, 260), 0, 0)];
        turns.extend(
            (0..10)
                .map(|_| Turn::new(wire.rng.between(13_000, 16_000) * MILLI, wire.rng.between(8, 16), 0, 0)),
        );
        wire.connect(begun, &pair, &turns, &Way::FAR, End::ServerReset);
    }
}

fn dns_amplification(wire: &mut Wire, site: &Site, start: u64) {
    let victim = attacker(wire, site);
    let server = *wire.rng.pick(&site.names);
    let ends = start + wire.rng.between(25, 50) * SECOND;
    let mut at = start;
    while at < ends {
        let pair = Pair::new(victim, server, [wire.rng.between(1_024, 65_535) as u16, 53]);
        let down = wire.rng.between(1_180, 1_240) as usize;
        wire.ask(at, &pair, 45, 90 * MICRO, down);
        at += seconds(wire.rng.exponential(0.012));
    }
}

fn dns_tunnel(wire: &mut Wire, site: &Site, start: u64) {
    let (from, far) = (*wire.rng.pick(&site.webs), attacker(wire, site));
    let inner = Pair::new(from, site.directory, [wire.port(), 53]);
    let ends = start + wire.rng.between(150, 240) * SECOND;
    let mut at = start;
    while at < ends {
        let (up, down) = (wire.rng.between(150, 240) as usize, wire.rng.between(110, 300) as usize);
        wire.udp(at, &inner, up);
        let outer = Pair::new(site.directory, far, [wire.port(), 53]);
        let answered = wire.ask(at + 2 * site.directory.delay + 200 * MICRO, &outer, up + 11, MILLI, down);
        wire.udp(answered + 2 * site.directory.delay + 150 * MICRO, &inner.back(), down);
        // It is asked at once while there is something to say, else now and then.
        at = answered + if wire.rng.chance(0.8) { 20 * MILLI } else { seconds(wire.rng.lognormal(1.0, 0.7)) };
    }
}

fn icmp_tunnel(wire: &mut Wire, site: &Site, start: u64) {
    let (from, far) = (*wire.rng.pick(&[site.files, site.broker, site.api]), attacker(wire, site));
    let pair = Pair::new(from, far, [0; 2]);
    let name = (wire.rng.word() as u32) << 16;
    let ends = start + wire.rng.between(140, 210) * SECOND;
    let (mut at, mut number) = (start, 0);
    while at < ends {
        let busy = wire.rng.chance(0.85);
        let mut size = || if busy { wire.rng.between(300, 1_000) as usize } else { 40 };
        let (up, down) = (size(), size());
        wire.icmp(at, &pair, [8, 0], name | number, up);
        wire.icmp(at + 2 * far.delay + 200 * MICRO, &pair.back(), [0, 0], name | number, down);
        number = (number + 1) % 0xffff;
        at += if busy { wire.rng.between(30, 160) * MILLI } else { 2 * SECOND };
    }
}

fn c2_beacon(wire: &mut Wire, site: &Site, start: u64) {
    let (from, far) = (*wire.rng.pick(&site.webs), attacker(wire, site));
    let told = Sizes { up: 420.0, down: 260.0, spread: 0.05, serve: 4.0 };
    for number in 0..16 {
        let at = start + number * 60 * SECOND + wire.rng.between(0, 4_000) * MILLI;
        requests(wire, from, (far, 443), at, 1, told);
    }
}

fn reverse_shell(wire: &mut Wire, site: &Site, start: u64) {
    let (from, far) = (*wire.rng.pick(&[site.api, site.webs[0], site.webs[1]]), attacker(wire, site));
    let pair = Pair::new(from, far, [wire.port(), *wire.rng.pick(&[443, 4444, 8443, 9001])]);
    let mut turns = vec![Turn::new(20 * MILLI, 60, 0, 0)];
    let mut length = 0.0;
    while length < 320.0 {
        // The far end types; what the shell says is sent up.
        let think = wire.rng.lognormal(5.0, 1.0).min(40.0);
        turns.push(Turn::new(0, 0, seconds(think), wire.rng.between(4, 60)));
        turns.push(Turn::new(
            wire.rng.between(2, 200) * MILLI,
            wire.rng.lognormal(350.0, 1.3) as u64 + 20,
            0,
            0,
        ));
        length += think;
    }
    wire.connect(start, &pair, &turns, &Way::FAR, End::Client);
}

fn exfiltration(wire: &mut Wire, site: &Site, start: u64) {
    let (from, far) = (*wire.rng.pick(&[site.files, site.git, site.replica]), attacker(wire, site));
    let taken = Sizes { up: 3.8e6, down: 300.0, spread: 0.05, serve: 20.0 };
    let parts = wire.rng.between(3, 6) as usize;
    requests(wire, from, (far, 443), start, parts, taken);
}

fn slow_exfil(wire: &mut Wire, site: &Site, start: u64) {
    let (from, far) = (*wire.rng.pick(&[site.mail, site.git, site.replica]), attacker(wire, site));
    let drop = Sizes { up: 24_000.0, down: 240.0, spread: 0.3, serve: 12.0 };
    let mut at = start;
    while at < start + 860 * SECOND {
        requests(wire, from, (far, 443), at, 1, drop);
        at += seconds(wire.rng.lognormal(20.0, 0.3));
    }
}

fn database_dump(wire: &mut Wire, site: &Site, start: u64) {
    let from = *wire.rng.pick(&site.webs);
    let pair = Pair::new(from, site.base, [wire.port(), 5432]);
    let table = Sizes { up: 120.0, down: 1.2e6, spread: 0.9, serve: 60.0 };
    let mut turns = Turn::hello(&mut wire.rng).to_vec();
    let tables = wire.rng.between(12, 20);
    turns.extend((0..tables).map(|_| {
        let think = wire.rng.lognormal(0.4, 0.8);
        table.turn(&mut wire.rng, think)
    }));
    wire.connect(start, &pair, &turns, &Way { rate: 12_000_000, ..Way::LOCAL }, End::Client);
}

fn spam(wire: &mut Wire, site: &Site, start: u64) {
    let from = *wire.rng.pick(&[site.webs[0], site.webs[1], site.api]);
    for _ in 0..120 {
        let to = attacker(wire, site);
        let at = start + wire.rng.between(0, 240) * SECOND;
        let pair = Pair::new(from, to, [wire.port(), 25]);
        match wire.rng.unit() {
            unit if unit < 0.15 => {
                wire.unanswered(at, &pair, 4);
            }
            unit if unit < 0.30 => {
                let turned_away = [Turn::new(0, 0, 30 * MILLI, 110), Turn::new(MILLI, 6, MILLI, 40)];
                wire.connect(at, &pair, &turned_away, &Way::FAR, End::Server);
            }
            _ => {
                let size = wire.rng.between(2_500, 6_000);
                let turns = Turn::delivery(&mut wire.rng, size);
                wire.connect(at, &pair, &turns, &Way::FAR, End::Client);
            }
        }
    }
}

fn cryptominer(wire: &mut Wire, site: &Site, start: u64) {
    let (from, pool) = (*wire.rng.pick(&[site.builder, site.index, site.api]), site.partner(&mut wire.rng));
    let pair = Pair::new(from, pool, [wire.port(), *wire.rng.pick(&[443, 3333, 4444, 14444])]);
    let mut turns = vec![Turn::new(MILLI, 260, 2 * MILLI, 140), Turn::new(MILLI, 190, 2 * MILLI, 420)];
    let mut length = 0.0;
    while length < 650.0 {
        let think = wire.rng.exponential(13.0).clamp(0.2, 60.0);
        // Either a share is found, or there is another job.
        turns.push(if wire.rng.chance(0.6) {
            Turn::new(seconds(think), wire.rng.between(210, 240), MILLI, 64)
        } else {
            Turn::new(0, 0, seconds(think), wire.rng.between(360, 430))
        });
        length += think;
    }
    wire.connect(start, &pair, &turns, &Way::FAR, End::Open);
}

fn exploit(wire: &mut Wire, site: &Site, start: u64) {
    let (far, store) = (attacker(wire, site), attacker(wire, site));
    let hole = *wire.rng.pick(&[site.api, site.git]);
    let tried = Sizes { up: 1_500.0, down: 600.0, spread: 0.6, serve: 15.0 };
    let mut at = start;
    for _ in 0..wire.rng.between(4, 9) {
        at = requests(wire, far, (hole, 443), at, 1, tried) + seconds(wire.rng.lognormal(2.0, 0.8));
    }
    // It fetches what it is told to, which calls back.
    let fetched = Sizes { up: 120.0, down: 60_000.0, spread: 0.6, serve: 5.0 };
    for _ in 0..2 {
        at = requests(wire, hole, (store, 80), at, 1, fetched) + SECOND;
    }
    let told = Sizes { up: 500.0, down: 200.0, spread: 0.8, serve: 5.0 };
    let ends = at + 150 * SECOND;
    while at < ends {
        at = requests(wire, hole, (far, 8443), at, 2, told) + seconds(wire.rng.lognormal(12.0, 0.4));
    }
}

fn lateral_movement(wire: &mut Wire, site: &Site, start: u64) {
    let from = *wire.rng.pick(&site.webs);
    let mut targets = site.private().to_vec();
    let mut at = start;
    for _ in 0..7 {
        let to = targets.swap_remove(wire.rng.below(targets.len()));
        for port in [22, 445, 5432] {
            let pair = Pair::new(from, to, [wire.port(), port]);
            if port == 22 {
                let tries = wire.rng.between(1, 4) as usize;
                let mut turns = Turn::guess(&mut wire.rng, tries);
                if wire.rng.chance(0.4) {
                    let typed = Sizes { up: 90.0, down: 700.0, spread: 1.2, serve: 10.0 };
                    turns.extend((0..6).map(|_| typed.turn(&mut wire.rng, 2.0)));
                }
                at = wire.connect(at, &pair, &turns, &Way::LOCAL, End::Client);
            } else if port != 5432 || to != site.base {
                at = wire.refused(at, &pair);
            }
            at += seconds(wire.rng.lognormal(2.0, 0.7));
        }
    }
}

fn rogue_device(wire: &mut Wire, site: &Site, start: u64) {
    let [a, b, c, _] = site.base.v4.octets();
    let v4 = Ipv4Addr::new(a, b, c, wire.rng.between(150, 250) as u8);
    let mac = [0xdc, 0xa6, 0x32, wire.rng.between(0, 256) as u8, wire.rng.between(0, 256) as u8, 7];
    let device = Host::new(mac, v4, None, 2);
    let mut at = start;
    for number in 1..60 {
        let wanted = Ipv4Addr::new(a, b, c, number);
        match site.private().iter().chain(&site.routers[2..]).find(|host| host.v4 == wanted) {
            Some(host) => wire.neighbour(at, device, *host, false, false),
            None => wire.arp(at, device, (BROADCAST, wanted), false),
        }
        at += wire.rng.between(20, 90) * MILLI;
    }
    let far = attacker(wire, site);
    let known = resolve(wire, site, at, device);
    requests(wire, device, (far, 443), known, 3, Sizes { up: 400.0, down: 1_200.0, spread: 0.5, serve: 5.0 });
    while at < start + 220 * SECOND {
        let (to, port) = (*wire.rng.pick(&site.private()), *wire.rng.pick(&[22, 80, 443, 445, 5432, 6379]));
        let pair = Pair::new(device, to, [wire.port(), port]);
        let (base, cache) = (to == site.base && port == 5432, to == site.cache && port == 6379);
        if port == 22 {
            let turns = Turn::guess(&mut wire.rng, 1);
            wire.connect(at, &pair, &turns, &Way::LOCAL, End::Client);
        } else if base || cache {
            let read = Sizes { up: 90.0, down: 9_000.0, spread: 1.0, serve: 4.0 };
            let turns = [read.turn(&mut wire.rng, 0.01), read.turn(&mut wire.rng, 0.8)];
            wire.connect(at, &pair, &turns, &Way::LOCAL, End::Client);
        } else {
            wire.refused(at, &pair);
        }
        at += seconds(wire.rng.lognormal(4.0, 0.8));
    }
}
