//! Who comes to a hosting network from outside: people, programs, resolvers, mail, crawlers and strays.

use super::{END, HALF, START, Site, Sizes, arrivals, clock, keep, load, once, resolve};
use crate::talk::{End, Turn, Way};
use crate::wire::{ACK, Host, MICRO, MILLI, Pair, RST, Rng, SECOND, SYN, Segment, Wire};

/// All that guests do in forty minutes.
pub(crate) fn guests(wire: &mut Wire, site: &Site) {
    let seen = browsers(wire, site);
    programs(wire, site);
    devices(wire, site);
    names(wire, site, &seen);
    mail(wire, site);
    remote(wire, site);
    robots(wire, site);
    strays(wire, site);
}

fn way(rng: &mut Rng) -> Way {
    let base = if rng.chance(0.25) { Way::RADIO } else { Way::FAR };
    Way { rate: rng.lognormal(base.rate as f64, 0.6) as u64 + 100_000, loss: base.loss * 2.0 * rng.unit() }
}

/// How most leave: in order, by silence, or at once.
fn leaves(wire: &mut Wire, turns: &mut Vec<Turn>, patience: u64) -> End {
    match wire.rng.unit() {
        unit if unit < 0.55 => {
            turns.push(Turn::new(wire.rng.lognormal(3.0, 1.0) as u64 * SECOND, 0, 0, 0));
            End::Client
        }
        unit if unit < 0.82 => {
            turns.push(Turn::new(patience * SECOND, 0, 0, 0));
            End::Server
        }
        unit if unit < 0.94 => End::ClientReset,
        _ => End::Open,
    }
}

/// What somebody reads: pages with what belongs to them, and time to look at them.
fn pages(rng: &mut Rng) -> Vec<Turn> {
    let page = Sizes { up: 450.0, down: 6_500.0, spread: 1.1, serve: 25.0 };
    let part = Sizes { up: 190.0, down: 5_500.0, spread: 1.2, serve: 3.0 };
    let count = 1 + rng.exponential(1.3) as usize;
    let mut turns = Vec::new();
    for number in 0..count {
        let looks = if number == 0 { 0.001 } else { rng.lognormal(9.0, 1.0) };
        turns.push(page.turn(rng, looks));
        for _ in 0..rng.below(4) {
            let think = rng.lognormal(0.04, 1.0);
            turns.push(part.turn(rng, think));
        }
    }
    turns
}

/// Browsers; returns who came when, for names are looked up before.
fn browsers(wire: &mut Wire, site: &Site) -> Vec<u64> {
    let mut known: Vec<Host> = Vec::new();
    let times = arrivals(&mut wire.rng, 2.9);
    for at in &times {
        let again = !known.is_empty() && wire.rng.chance(0.25);
        let guest = if again { *wire.rng.pick(&known) } else { site.stranger(&mut wire.rng) };
        known.push(guest);
        let way = way(&mut wire.rng);
        let six = wire.rng.chance(0.8);
        let mut now = *at;
        if wire.rng.chance(0.12) {
            let pair = Pair::new(guest, site.balancer, [wire.port(), 80]).six(six);
            let moved = Sizes { up: 380.0, down: 360.0, spread: 0.2, serve: 1.0 };
            let turns = [moved.turn(&mut wire.rng, 0.001)];
            now = wire.connect(now, &pair, &turns, &way, End::Client);
        }
        let pair = Pair::new(guest, site.balancer, [wire.port(), 443]).six(six);
        if wire.rng.chance(0.16) {
            let turns = pages(&mut wire.rng);
            wire.quic(now, &pair, &turns, &way);
            continue;
        }
        let mut turns = Turn::hello(&mut wire.rng).to_vec();
        turns.extend(pages(&mut wire.rng));
        let end = leaves(wire, &mut turns, 60);
        wire.connect(now, &pair, &turns, &way, end);
        let others = if wire.rng.chance(0.25) { 1 + wire.rng.below(4) } else { 0 };
        for _ in 0..others {
            let to = if wire.rng.chance(0.7) { site.balancer } else { site.files };
            let pair = Pair::new(guest, to, [wire.port(), 443]).six(six);
            let mut turns = Turn::hello(&mut wire.rng).to_vec();
            let part = Sizes { up: 210.0, down: 9_000.0, spread: 1.4, serve: 3.0 };
            turns.extend((0..1 + wire.rng.below(3)).map(|_| part.turn(&mut wire.rng, 0.05)));
            let end = leaves(wire, &mut turns, 60);
            let begins = now + wire.rng.between(80, 900) * MILLI;
            wire.connect(begins, &pair, &turns, &way, end);
        }
    }
    for at in arrivals(&mut wire.rng, 0.10) {
        let guest = site.stranger(&mut wire.rng);
        let way = way(&mut wire.rng);
        let size = wire.rng.pareto(40_000.0, 0.8, 3e6);
        let fetched = Sizes { up: 300.0, down: size, spread: 0.1, serve: 4.0 };
        once(wire, &[at], (guest, site.files, 443), fetched, &way);
    }
    times
}

/// Programs that ask the API: some by the clock, others once.
fn programs(wire: &mut Wire, site: &Site) {
    for _ in 0..45 {
        let guest = site.stranger(&mut wire.rng);
        let way = way(&mut wire.rng);
        let every = [15.0, 30.0, 30.0, 60.0, 60.0, 300.0][wire.rng.below(6)];
        let down = wire.rng.lognormal(900.0, 0.9);
        let polled = Sizes { up: 380.0, down, spread: 0.12, serve: 11.0 };
        if wire.rng.chance(0.35) {
            keep(wire, (guest, site.api, 443), every, 700.0, polled, &way);
        } else {
            let times = clock(&mut wire.rng, every, 0.03);
            once(wire, &times, (guest, site.api, 443), polled, &way);
        }
    }
    for at in arrivals(&mut wire.rng, 0.35) {
        let guest = site.stranger(&mut wire.rng);
        let way = way(&mut wire.rng);
        let asked = Sizes { up: 600.0, down: 2_000.0, spread: 1.1, serve: 20.0 };
        once(wire, &[at], (guest, site.api, 443), asked, &way);
    }
}

/// Things that keep a connection to the broker, and come back where it breaks.
fn devices(wire: &mut Wire, site: &Site) {
    let count = wire.rng.between(125, 155);
    for _ in 0..count {
        let thing = site.stranger(&mut wire.rng);
        let way = way(&mut wire.rng);
        let gap = wire.rng.lognormal(32.0, 0.6).clamp(5.0, 120.0);
        let told = Sizes { up: wire.rng.lognormal(150.0, 0.6), down: 36.0, spread: 0.25, serve: 0.7 };
        let life = wire.rng.lognormal(1_800.0, 0.9);
        keep(wire, (thing, site.broker, 8883), gap, life, told, &way);
    }
}

/// Resolvers that ask for names: a few often, most once.
fn names(wire: &mut Wire, site: &Site, visits: &[u64]) {
    let often: Vec<Host> = (0..60).map(|_| site.partner(&mut wire.rng)).collect();
    let mut times = arrivals(&mut wire.rng, 3.6);
    times.extend(visits.iter().filter(|_| wire.rng.chance(0.3)).map(|at| at - 90 * MILLI));
    for at in times {
        let often = wire
            .rng
            .chance(0.6)
            .then(|| wire.rng.unit() * wire.rng.unit() * often.len() as f64)
            .map(|at| often[at as usize]);
        let resolver = often.unwrap_or_else(|| site.stranger(&mut wire.rng));
        let server = *wire.rng.pick(&site.names);
        let six = wire.rng.chance(0.4);
        for number in 0..1 + wire.rng.below(2) as u64 {
            let pair = Pair::new(resolver, server, [wire.port(), 53]).six(six);
            let (up, down) = (wire.rng.between(32, 70) as usize, wire.rng.between(80, 420) as usize);
            let serve = wire.rng.between(60, 400) * MICRO;
            wire.ask(at + number * 300 * MICRO, &pair, up, serve, down);
        }
        if wire.rng.chance(0.015) {
            let pair = Pair::new(resolver, server, [wire.port(), 53]).six(six);
            let long = [Turn::new(MILLI, 60, MILLI, wire.rng.between(1_300, 3_000))];
            wire.connect(at + 60 * MILLI, &pair, &long, &Way::FAR, End::Client);
        }
    }
    // The second server takes what changed from the first.
    let changed = Sizes { up: 90.0, down: 900.0, spread: 0.8, serve: 0.5 };
    let times = arrivals(&mut wire.rng, 1.0 / 200.0);
    once(wire, &times, (site.names[1], site.names[0], 53), changed, &Way::LOCAL);
}

fn mail(wire: &mut Wire, site: &Site) {
    let others: Vec<Host> = (0..70).map(|_| site.partner(&mut wire.rng)).collect();
    for at in arrivals(&mut wire.rng, 0.16) {
        let sender =
            if wire.rng.chance(0.6) { *wire.rng.pick(&others) } else { site.stranger(&mut wire.rng) };
        let size = wire.rng.pareto(3_000.0, 0.9, 1.5e6) as u64;
        let pair = Pair::new(sender, site.mail, [wire.port(), 25]).six(wire.rng.chance(0.2));
        let turns = Turn::delivery(&mut wire.rng, size);
        wire.connect(at, &pair, &turns, &Way::FAR, End::Client);
        for _ in 0..wire.rng.between(1, 4) {
            let begun = at + wire.rng.between(20, 300) * MILLI;
            resolve(wire, site, begun, site.mail);
        }
    }
    for at in arrivals(&mut wire.rng, 0.05) {
        let target = *wire.rng.pick(&others);
        let known = resolve(wire, site, at, site.mail);
        let size = wire.rng.pareto(3_000.0, 1.0, 1e6) as u64;
        let pair = Pair::new(site.mail, target, [wire.port(), 25]);
        if wire.rng.chance(0.04) {
            wire.unanswered(known, &pair, 5);
        } else {
            let turns = Turn::delivery(&mut wire.rng, size);
            wire.connect(known, &pair, &turns, &Way::FAR, End::Client);
        }
    }
    let users = wire.rng.between(34, 46);
    for _ in 0..users {
        let user = site.stranger(&mut wire.rng);
        let way = way(&mut wire.rng);
        let read = Sizes { up: 60.0, down: 1_800.0, spread: 1.4, serve: 6.0 };
        let (gap, life) = (wire.rng.lognormal(70.0, 0.7), wire.rng.lognormal(900.0, 0.9));
        keep(wire, (user, site.mail, 993), gap, life, read, &way);
        for at in arrivals(&mut wire.rng, 1.0 / 1_500.0) {
            let size = wire.rng.pareto(2_500.0, 0.9, 1e6) as u64;
            let pair = Pair::new(user, site.mail, [wire.port(), 587]);
            let turns = Turn::delivery(&mut wire.rng, size);
            wire.connect(at, &pair, &turns, &way, End::Client);
        }
        // A password mistyped.
        if wire.rng.chance(0.06) {
            let begin = wire.rng.between(START, END - 60 * SECOND);
            for again in 0..wire.rng.between(1, 4) {
                let at = begin + again * wire.rng.between(4, 11) * SECOND;
                let denied = Sizes { up: 55.0, down: 60.0, spread: 0.1, serve: 1_900.0 };
                once(wire, &[at], (user, site.mail, 993), denied, &way);
            }
        }
    }
}

/// Those who work here from elsewhere: the VPN, and what they do by it; git.
fn remote(wire: &mut Wire, site: &Site) {
    let users = wire.rng.between(17, 23);
    for _ in 0..users {
        let user = site.stranger(&mut wire.rng);
        let way = way(&mut wire.rng);
        let pair = Pair::new(user, site.vpn, [wire.port(), 51820]);
        let mut at = START - 300 * SECOND + wire.rng.exponential(700.0) as u64 * SECOND;
        let until = at + wire.rng.lognormal(2_000.0, 0.6) as u64 * SECOND;
        let (mut keys, work) = (0, wire.rng.lognormal(9.0, 0.6));
        while at < until.min(END) {
            if at >= keys {
                wire.ask(at, &pair, 148, MILLI, 92);
                keys = at + 120 * SECOND;
            }
            if wire.rng.chance(0.3) {
                wire.udp(at, &pair, 32);
            } else {
                at = tunnelled(wire, site, &pair, at, &way);
            }
            at += (wire.rng.exponential(work / load(at)).min(25.0) * SECOND as f64) as u64;
        }
    }
    for at in arrivals(&mut wire.rng, 0.09) {
        let guest = site.stranger(&mut wire.rng);
        let way = way(&mut wire.rng);
        let size = wire.rng.pareto(1_500.0, 0.8, 2e6);
        let port = if wire.rng.chance(0.6) { 22 } else { 443 };
        let (up, down) = if wire.rng.chance(0.25) { (size, 700.0) } else { (900.0, size) };
        once(wire, &[at], (guest, site.git, port), Sizes { up, down, spread: 0.2, serve: 35.0 }, &way);
    }
}

/// Something is done by way of the VPN: seen outside in one stream of datagrams, inside as what it is.
fn tunnelled(wire: &mut Wire, site: &Site, pair: &Pair, at: u64, way: &Way) -> u64 {
    // Who is connected asks; what comes back comes after.
    let question = 96 + 16 * wire.rng.below(8);
    wire.udp(at, pair, question);
    let (count, mut now) = (wire.rng.pareto(3.0, 0.9, 500.0) as u64, at + 2 * pair.to.delay + MICRO);
    for _ in 0..count {
        let size = if wire.rng.chance(0.5) { 1_452 } else { 96 + 16 * wire.rng.below(30) };
        wire.udp(now, &pair.back(), size);
        if wire.rng.chance(0.55) {
            let size = 96 + 16 * wire.rng.below(8);
            wire.udp(now + pair.round_trip() / 3, pair, size);
        }
        now += wire.rng.exponential(1e9 * 1_400.0 / way.rate as f64) as u64 + 10 * MICRO;
    }
    let (target, port) = match wire.rng.below(10) {
        0..4 => (site.git, 443),
        4..6 => (site.admin, 22),
        6..8 => (site.monitor, 3000),
        8 => (*wire.rng.pick(&site.servers()), 22),
        _ => (site.index, 5601),
    };
    if target != site.vpn && wire.rng.chance(0.35) {
        let inner = Pair::new(site.vpn, target, [wire.port(), port]);
        let mut turns = Turn::hello(&mut wire.rng).to_vec();
        let typed = Sizes { up: 90.0, down: 600.0, spread: 1.2, serve: 8.0 };
        let lines = 1 + wire.rng.exponential(6.0) as usize;
        turns.extend((0..lines).map(|_| {
            let think = wire.rng.lognormal(1.2, 1.1);
            typed.turn(&mut wire.rng, think)
        }));
        wire.connect(at + pair.from.delay, &inner, &turns, &Way::LOCAL, End::Client);
    }
    now
}

/// Crawlers, and those who look whether all is up.
fn robots(wire: &mut Wire, site: &Site) {
    for _ in 0..3 {
        let company: Vec<Host> = {
            let first = site.partner(&mut wire.rng);
            let [a, b, c, _] = first.v4.octets();
            (0..4).map(|number| Host { v4: [a, b, c, 64 + number].into(), v6: None, ..first }).collect()
        };
        let times = arrivals(&mut wire.rng, 0.07);
        for at in times {
            let robot = *wire.rng.pick(&company);
            let found = Sizes { up: 300.0, down: 9_000.0, spread: 1.0, serve: 30.0 };
            once(wire, &[at], (robot, site.balancer, 443), found, &Way::FAR);
        }
    }
    for _ in 0..6 {
        let checker = site.partner(&mut wire.rng);
        for target in [site.balancer, site.api] {
            let every = *wire.rng.pick(&[60.0, 60.0, 120.0]);
            let times = clock(&mut wire.rng, every, 0.01);
            once(
                wire,
                &times,
                (checker, target, 443),
                Sizes { up: 180.0, down: 420.0, spread: 0.05, serve: 12.0 },
                &Way::FAR,
            );
        }
        if wire.rng.chance(0.5) {
            for at in clock(&mut wire.rng, 60.0, 0.01) {
                wire.ping(at, [checker, site.balancer], 1, 0, 32, 0.995);
            }
        }
    }
}

/// What reaches every address of the internet. Nobody knows what of it is meant badly, so it is not judged.
fn strays(wire: &mut Wire, site: &Site) {
    const TCP: [u16; 22] = [
        23, 23, 22, 22, 80, 443, 8080, 8443, 3389, 445, 5555, 2323, 6379, 1433, 3306, 5432, 25, 21, 5900,
        9200, 27017, 8728,
    ];
    const UDP: [u16; 9] = [53, 123, 161, 1900, 5060, 5060, 11211, 389, 3478];
    let rate = 17.0 / 60.0;
    let mut at = START;
    while at < END {
        at += (wire.rng.exponential(1.0 / rate) * SECOND as f64) as u64;
        let source = Host { v6: None, ..site.stranger(&mut wire.rng) };
        if at >= HALF {
            wire.open("ignore", crate::wire::Port::Any);
        }
        let target = site.address(&mut wire.rng);
        if wire.rng.chance(0.85) {
            let port =
                if wire.rng.chance(0.75) { *wire.rng.pick(&TCP) } else { wire.rng.between(1, 65_535) as u16 };
            let pair = Pair::new(source, target, [wire.port(), port]);
            let again = wire.rng.chance(0.2);
            probe(wire, site, at, &pair);
            if again {
                let sequence = wire.rng.word() as u32;
                wire.bare_syn(at + SECOND, &pair, sequence);
            }
        } else {
            let pair = Pair::new(source, target, [wire.port(), *wire.rng.pick(&UDP)]);
            let size = wire.rng.between(1, 430) as usize;
            datagram(wire, site, at, &pair, size);
        }
        wire.close();
    }
}

/// A SYN of its own kind, and what comes of it: an answer that is refused, a reset, nothing, or nobody there.
pub(crate) fn probe(wire: &mut Wire, site: &Site, at: u64, pair: &Pair) -> bool {
    let sequence = wire.rng.word() as u32;
    wire.bare_syn(at, pair, sequence);
    let answered = at + 2 * pair.to.delay + wire.jitter(MILLI);
    let acknowledged = sequence.wrapping_add(1);
    if pair.to.mac == [0; 6] {
        absent(wire, site, at, pair);
    } else if site.listens(&pair.to).contains(&pair.ports[1]) {
        let own = wire.rng.word() as u32;
        let answer = Segment { flags: SYN | ACK, sequence: own, acknowledged, payload: 0 };
        wire.tcp(answered, &pair.back(), answer);
        let end = answered + 2 * pair.from.delay + wire.jitter(MILLI);
        wire.tcp(end, pair, Segment { flags: RST, sequence: acknowledged, ..Segment::default() });
        return true;
    } else if drops(&pair.to) {
        // Dropped by the host: nothing comes back.
    } else {
        wire.tcp(answered, &pair.back(), Segment { flags: RST | ACK, acknowledged, ..Segment::default() });
    }
    false
}

/// A datagram that nobody waits for, and what comes of it.
pub(crate) fn datagram(wire: &mut Wire, site: &Site, at: u64, pair: &Pair, size: usize) {
    let answers = pair.ports[1] == 53 && site.listens(&pair.to).contains(&53);
    let down = if answers { wire.rng.between(30, 120) as usize } else { 0 };
    wire.ask(at, pair, size, 200 * MICRO, down);
    if pair.to.mac == [0; 6] {
        absent(wire, site, at, pair);
    } else if !answers && !drops(&pair.to) {
        let told = at + 2 * pair.to.delay + wire.jitter(MILLI);
        wire.unreachable(told, pair.to, pair, 3);
    }
}

/// The router looks for a host that is not there, and says so to who asked.
fn absent(wire: &mut Wire, site: &Site, at: u64, pair: &Pair) {
    let begun = at + wire.rng.between(80, 400) * MICRO;
    let given_up = wire.nobody(begun, site.routers[1], pair.to.v4);
    wire.unreachable(given_up, site.routers[0], pair, 1);
}

/// Whether a host is silent about what it does not serve.
fn drops(host: &Host) -> bool {
    !host.v4.octets()[3].is_multiple_of(3)
}
