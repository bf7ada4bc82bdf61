//! What people do: names of the cloud, pages, connections held open, what their programs do by themselves, video, mail.

use std::collections::BTreeMap;

use super::cast::{Person, popular};
use super::{END, Life, START};
use crate::talk::{End, Turn, Way};
use crate::wire::{Host, MILLI, Pair, Rng, SECOND};

/// What a program remembers of names.
#[derive(Default)]
pub(super) struct Known(BTreeMap<usize, (u64, Host)>);

impl Life<'_> {
    pub(super) fn person(&mut self, person: &Person) {
        self.arrive(person);
        if person.hides {
            self.hide(person);
        }
        self.browse(person);
        for _ in 0..if person.phone { 2 } else { 1 + self.wire.rng.below(2) } {
            self.push(person);
        }
        self.programs(person);
        self.watch(person);
        if !person.phone && self.wire.rng.chance(0.45) {
            self.mail(person);
        }
    }

    /// Where a person finds a name, and when it is known.
    pub(super) fn find(&mut self, time: u64, person: &Person, known: &mut Known, name: usize) -> (u64, Host) {
        if let Some((_, host)) = known.0.get(&name).filter(|(until, _)| time < *until) {
            return (time, *host);
        }
        let now = if person.hides {
            time + self.wire.rng.between(12, 60) * MILLI
        } else {
            self.look_up(time, person.host, true)
        };
        let host = self.cast.reach(&mut self.wire.rng, name, now);
        known.0.insert(name, (now + self.cast.names[name].keeps * SECOND, host));
        (now, host)
    }

    /// From there to a port of somebody outside, by IPv6 where both have it and it works.
    pub(super) fn towards(&mut self, person: &Person, host: Host, port: u16) -> Pair {
        let own = self.wire.port();
        Pair::new(person.host, host, [own, port]).six(self.wire.rng.chance(0.93))
    }

    /// One connection to a name for what `turns` ask; returns when the last answer is there.
    fn contact(&mut self, time: u64, person: &Person, name: usize, host: Host, turns: &[Turn]) -> u64 {
        let pair = self.towards(person, host, 443);
        let idle = (self.wire.rng.lognormal(18.0, 1.0).min(118.0) * SECOND as f64) as u64;
        if self.cast.names[name].quic && person.quic && self.wire.rng.chance(0.85) {
            let done = self.wire.quic(time, &pair, turns, &person.way);
            if self.wire.rng.chance(0.5) && self.within(done + idle, person) {
                self.wire.udp(done + idle, &pair, 45);
            }
            return done;
        }
        if self.wire.rng.chance(0.006) {
            // The address does not answer, so the other kind is tried.
            let tries = self.wire.rng.between(1, 4) as u32;
            self.wire.unanswered(time, &pair, tries);
            let pair = Pair { six: !pair.six, ports: [self.wire.port(), 443], ..pair };
            let pair = pair.six(pair.six);
            return self.wire.connect(time + 250 * MILLI, &pair, turns, &person.way, End::Client);
        }
        if self.wire.rng.chance(0.004) {
            return self.wire.refused(time, &pair);
        }
        let mut all = Turn::hello(&mut self.wire.rng).to_vec();
        all.extend(turns);
        let lasts = all.iter().map(|turn| turn.think + turn.serve).sum::<u64>() + idle;
        let end = if self.within(time + lasts, person) {
            all.push(Turn::new(idle, 0, 0, 0));
            match self.wire.rng.below(20) {
                0..11 => End::Client,
                11..16 => End::Server,
                16..19 => End::ClientReset,
                _ => End::Open,
            }
        } else {
            End::Open
        };
        self.wire.connect(time, &pair, &all, &person.way, end)
    }

    fn browse(&mut self, person: &Person) {
        let mut known = Known::default();
        let first = if person.comes > START || self.wire.rng.chance(0.5) { 15.0 } else { 260.0 };
        let mut now = person.comes + self.pause(person.comes, first, 1.0);
        // Some read more, others hardly ever.
        let eager = self.wire.rng.lognormal(1.0, 0.5);
        while now < person.leaves {
            let until = (now + self.pause(START, 260.0, 0.8)).min(person.leaves);
            while now < until {
                self.page(now, person, &mut known);
                now += self.pause(now, 58.0 / eager, 1.1);
            }
            now += self.pause(now, 260.0, 0.9);
        }
    }

    fn page(&mut self, time: u64, person: &Person, known: &mut Known) {
        let cast = self.cast;
        let name = if self.wire.rng.chance(0.85) {
            let place = (self.wire.rng.pareto(1.0, 0.9, 1_000.0) as usize - 1) % person.dear.len();
            person.dear[place]
        } else {
            popular(&mut self.wire.rng)
        };
        let (now, host) = self.find(time, person, known, name);
        let turns = requests(&mut self.wire.rng, 2_500.0);
        self.contact(now, person, name, host, &turns);
        for &part in &cast.names[name].parts {
            if self.wire.rng.chance(0.36) {
                let start = now + self.wire.rng.between(80, 900) * MILLI;
                let (found, host) = self.find(start, person, known, part);
                for _ in 0..if self.wire.rng.chance(0.12) { 3 } else { 1 } {
                    let turns = requests(&mut self.wire.rng, 1_500.0);
                    self.contact(found, person, part, host, &turns);
                }
            }
        }
    }

    /// A connection that stays open for what comes, and is opened anew at another address.
    fn push(&mut self, person: &Person) {
        let mut known = Known::default();
        let name = *self.wire.rng.pick(&person.vendors);
        let port = *self.wire.rng.pick(&[443, 443, 5_223, 5_228]);
        let beat = *self.wire.rng.pick(&[25.0, 30.0, 45.0, 60.0, 60.0, 120.0, 240.0, 290.0]);
        let mut now = person.comes + self.wire.rng.between(1, 9_000) * MILLI;
        let mut open = person.comes <= START;
        while now < person.leaves {
            let until = now + self.pause(START, 1_000.0, 0.9);
            let ends = until < person.leaves;
            let turns = held(&mut self.wire.rng, until.min(person.leaves) - now, beat, 170.0);
            let (found, host) = if open {
                (now, self.cast.reach(&mut self.wire.rng, name, now))
            } else {
                self.find(now, person, &mut known, name)
            };
            let pair = self.towards(person, host, port);
            if open {
                self.wire.go_on(now, &pair, &turns, &person.way);
            } else {
                let mut all = Turn::hello(&mut self.wire.rng).to_vec();
                all.extend(turns);
                let end = *self.wire.rng.pick(&[End::Client, End::ClientReset, End::Server, End::Open]);
                self.wire.connect(found, &pair, &all, &person.way, if ends { end } else { End::Open });
            }
            open = false;
            now = until + self.pause(until, 4.0, 1.0);
        }
    }

    /// Measuring, synchronizing, looking for news: what nobody asked for.
    fn programs(&mut self, person: &Person) {
        let vendors = person.vendors.clone();
        for (number, name) in vendors.into_iter().enumerate() {
            let mut known = Known::default();
            let every = self.wire.rng.lognormal(270.0, 0.6);
            let mut now = person.comes + if person.comes > START { 2 * SECOND } else { 0 };
            now += self.pause(now, every / 8.0, 1.0);
            while now < person.leaves {
                let (found, host) = self.find(now, person, &mut known, name);
                let up = self.wire.rng.pareto(500.0, 1.05, 200_000.0) as u64;
                let down =
                    self.wire.rng.pareto(250.0, 1.0, if number == 0 { 2_000_000.0 } else { 60_000.0 }) as u64;
                let turn = Turn::new(MILLI, up, self.wire.rng.between(5, 90) * MILLI, down);
                self.contact(found, person, name, host, &[turn]);
                now += self.pause(now, every, 0.7);
            }
        }
        // Names that are asked for and not used, or that nobody has.
        let mut now = person.comes + self.wait(person.comes, 60.0);
        while now < person.leaves && !person.hides {
            let both = self.wire.rng.chance(0.6);
            self.look_up(now, person.host, both);
            now += self.wait(now, 110.0);
        }
        let mut now = person.comes + self.wait(person.comes, if person.comes > START { 5.0 } else { 400.0 });
        while now < person.leaves {
            let clock = *self.wire.rng.pick(&self.cast.clocks);
            let pair = self.towards(person, clock, 123);
            self.wire.ask(now, &pair, 48, 40_000, 48);
            now += self.pause(now, 520.0, 0.4);
        }
    }

    fn watch(&mut self, person: &Person) {
        let mut known = Known::default();
        let mut now = person.comes + self.wait(person.comes, 2_600.0);
        while now < person.leaves {
            let until = (now + self.pause(START, 200.0, 0.7)).min(person.leaves);
            let name = popular(&mut self.wire.rng);
            let (found, host) = self.find(now, person, &mut known, name);
            let turns = chunks(&mut self.wire.rng, until - now);
            self.contact(found, person, name, host, &turns);
            now = until + self.wait(until, 2_600.0);
        }
    }

    /// Names by HTTPS: one connection for as long as it is asked often enough.
    fn hide(&mut self, person: &Person) {
        let mut now = person.comes + 200 * MILLI;
        let host = self.cast.forwarders[0];
        while now < person.leaves {
            let until = (now + self.pause(START, 300.0, 0.8)).min(person.leaves);
            let (mut turns, mut at) = (Turn::hello(&mut self.wire.rng).to_vec(), now);
            while at < until {
                let think = self.pause(at, 2.5, 1.6);
                let up = self.wire.rng.between(90, 180);
                turns.push(Turn::new(think, up, self.wire.rng.between(1, 20) * MILLI, up + 120));
                at += think + 20 * MILLI;
            }
            let pair = self.towards(person, host, 443);
            self.wire.connect(now, &pair, &turns, &person.way, End::Open);
            now = at;
        }
    }

    /// A mailbox that is watched, and now and then a letter.
    fn mail(&mut self, person: &Person) {
        let mut known = Known::default();
        let name = self.wire.rng.below(12);
        let (now, host) = self.find(person.comes + 3 * SECOND, person, &mut known, name);
        let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
        turns.extend(held(&mut self.wire.rng, person.leaves.saturating_sub(now), 285.0, 220.0));
        let pair = self.towards(person, host, 993);
        if person.comes > START {
            self.wire.connect(now, &pair, &turns, &person.way, End::Open);
        } else {
            self.wire.go_on(now, &pair, &turns[2..], &person.way);
        }
        let mut now = now + self.wait(now, 700.0);
        while now < person.leaves {
            let (found, host) = self.find(now, person, &mut known, name);
            let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
            for up in [40, 90, 60, 50] {
                turns.push(Turn::new(MILLI, up, self.wire.rng.between(4, 60) * MILLI, 60));
            }
            let up = self.wire.rng.pareto(3_000.0, 0.9, 6_000_000.0) as u64;
            turns.push(Turn::new(MILLI, up, 200 * MILLI, 70));
            let pair = self.towards(person, host, 587);
            self.wire.connect(found, &pair, &turns, &person.way, End::Client);
            now += self.wait(now, 700.0);
        }
    }
}

/// What a page or a part of it asks for, of sizes that begin with `least`.
fn requests(rng: &mut Rng, least: f64) -> Vec<Turn> {
    let count = rng.pareto(1.0, 1.3, 16.0) as u64;
    let mut request = |number: u64| {
        let think = if number == 0 { 1 } else { rng.lognormal(60.0, 1.3) as u64 + 1 };
        let serve = rng.lognormal(12.0, 1.0) as u64 + 1;
        let down = rng.pareto(least, 0.9, 2_500_000.0) as u64;
        Turn::new(think * MILLI, rng.between(90, 900), serve * MILLI, down)
    };
    (0..count).map(&mut request).collect()
}

/// A connection held open for a time: a sign of life every `beat` seconds, and something to tell once in `news`.
pub(super) fn held(rng: &mut Rng, lasts: u64, beat: f64, news: f64) -> Vec<Turn> {
    let (mut turns, mut now) = (Vec::new(), 0);
    let mut think = (rng.unit() * beat * SECOND as f64) as u64;
    loop {
        let told = (rng.exponential(news) * SECOND as f64) as u64;
        let turn = if told < think {
            Turn::new(0, 0, told, rng.pareto(90.0, 1.1, 30_000.0) as u64)
        } else {
            Turn::new(think, rng.between(30, 70), rng.between(1, 20) * MILLI, 35)
        };
        now += turn.think + turn.serve + 100 * MILLI;
        if now > lasts {
            return turns;
        }
        turns.push(turn);
        think = (beat * (1.0 + 0.01 * rng.normal()).max(0.1) * SECOND as f64) as u64;
    }
}

/// Moving pictures, some seconds of them at a time.
pub(super) fn chunks(rng: &mut Rng, lasts: u64) -> Vec<Turn> {
    let size = rng.lognormal(230_000.0, 0.5);
    let every = rng.between(4, 11);
    let ask = |rng: &mut Rng, think: u64| {
        let serve = rng.between(5, 40) * MILLI;
        Turn::new(think, rng.between(400, 1_300), serve, rng.lognormal(size, 0.35) as u64)
    };
    let mut turns: Vec<Turn> = (0..4).map(|_| ask(rng, 30 * MILLI)).collect();
    for _ in 0..(lasts / SECOND / every).min((END - START) / SECOND) {
        let think = (every as f64 * rng.lognormal(0.95, 0.15) * SECOND as f64) as u64;
        turns.push(ask(rng, think));
    }
    turns
}

/// A path on the link itself.
pub(super) const NEAR: Way = Way { loss: 0.001, rate: 6_000_000 };
