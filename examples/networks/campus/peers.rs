//! What people do with others: calls, games, shared files, the NAS and printers of the house, shells.

use super::cast::Person;
use super::people::NEAR;
use super::{END, Life, START};
use crate::talk::{End, Turn, Way};
use crate::wire::{Host, MILLI, Pair, SECOND};

/// Where media relays listen.
const RELAYS: [u16; 4] = [3_478, 3_479, 8_801, 19_305];

impl Life<'_> {
    pub(super) fn company(&mut self, person: &Person) {
        self.calls(person);
        self.called(person);
        if !person.phone {
            if self.wire.rng.chance(0.4) {
                self.files(person);
            }
            if self.wire.rng.chance(0.07) {
                self.shell(person);
            }
            if self.wire.rng.chance(0.04) {
                self.game(person);
            }
        }
        self.print(person);
    }

    /// Calls that a person makes: by a relay, or straight to whom is called.
    fn calls(&mut self, person: &Person) {
        let mut now = person.comes + self.wait(person.comes, 13_000.0);
        while now < person.leaves {
            let until = (now + self.pause(START, 150.0, 0.9)).min(person.leaves);
            let name = self.wire.rng.below(24);
            let relay = self.cast.reach(&mut self.wire.rng, name, now);
            let found = self.look_up(now, person.host, true);
            let port = *self.wire.rng.pick(&RELAYS);
            let known = self.towards(person, relay, port);
            for again in 0..3 {
                self.wire.ask(found + again * 50 * MILLI, &known, 28, MILLI, 100);
            }
            let start = found + self.wire.rng.between(600, 4_000) * MILLI;
            if self.wire.rng.chance(0.35) {
                let other = self.cast.stranger(&mut self.wire.rng);
                let port = self.wire.rng.between(1_025, 65_000) as u16;
                let pair = self.towards(person, other, port);
                self.voice(start, &pair, until.saturating_sub(start));
            } else {
                self.voice(start, &known, until.saturating_sub(start));
            }
            now = until + self.wait(until, 13_000.0);
        }
    }

    /// Calls from outside, straight from who calls.
    fn called(&mut self, person: &Person) {
        let mut now = person.comes + self.wait(person.comes, 45_000.0);
        while now < person.leaves {
            let until = (now + self.pause(START, 170.0, 0.8)).min(person.leaves);
            let caller = self.cast.stranger(&mut self.wire.rng);
            let ports = [self.wire.rng.between(1_025, 65_000) as u16, self.wire.port()];
            let pair = Pair::new(caller, person.host, ports).six(true);
            for again in 0..4 {
                self.wire.ask(now + again * 60 * MILLI, &pair, 100, MILLI, 80);
            }
            let start = now + self.wire.rng.between(2_000, 9_000) * MILLI;
            self.voice(start, &pair, until.saturating_sub(start));
            now = until + self.wait(until, 45_000.0);
        }
    }

    /// Speech both ways, and signs of life of its path.
    fn voice(&mut self, time: u64, pair: &Pair, lasts: u64) {
        let gap = *self.wire.rng.pick(&[20, 20, 40, 60]) * MILLI;
        let size = self.wire.rng.between(70, 190) as usize;
        let mut now = time;
        while now < time + lasts {
            // Who is silent sends little.
            let part = (self.pause(START, 6.0, 0.8)).min(time + lasts - now);
            let quiet = self.wire.rng.chance(0.15);
            self.wire.stream(now, pair, part, if quiet { 8 * gap } else { gap }, size, true);
            now += part.max(MILLI);
        }
    }

    fn game(&mut self, person: &Person) {
        let mut now = person.comes + self.wait(person.comes, 300.0);
        while now < person.leaves {
            let until = (now + self.pause(START, 300.0, 0.5)).min(person.leaves);
            let server = self.cast.stranger(&mut self.wire.rng);
            let port = self.wire.rng.between(27_000, 27_060) as u16;
            let found = self.look_up(now, person.host, true);
            let pair = self.towards(person, server, port);
            let size = self.wire.rng.between(60, 240) as usize;
            self.wire.stream(found, &pair, until - now, 50 * MILLI, size, true);
            now = until + self.wait(until, 900.0);
        }
    }

    /// Files of the NAS, read and written by one connection, and put away there now and then.
    fn files(&mut self, person: &Person) {
        let mut now = person.comes + self.wait(person.comes, if person.comes > START { 60.0 } else { 1.0 });
        if now >= person.leaves {
            return;
        }
        let pair =
            Pair::new(person.host, self.cast.nas, [self.wire.port(), 445]).six(self.wire.rng.chance(0.5));
        let (mut turns, start) = (Vec::new(), now);
        for _ in 0..if person.comes > START { 6 } else { 0 } {
            turns.push(Turn::new(
                MILLI,
                self.wire.rng.between(100, 700),
                MILLI,
                self.wire.rng.between(100, 500),
            ));
        }
        let keeps = self.wire.rng.chance(0.12);
        while now < person.leaves {
            let think = self.pause(now, 50.0, 1.2);
            let count = self.wire.rng.pareto(1.0, 1.1, 30.0) as u64;
            for number in 0..count {
                let size = self.wire.rng.pareto(900.0, 0.7, 1_200_000.0) as u64;
                let writes = self.wire.rng.chance(if keeps { 0.8 } else { 0.25 });
                let (up, down) = if writes { (size, 120) } else { (160, size) };
                let think = if number == 0 { think } else { self.wire.rng.between(1, 60) * MILLI };
                turns.push(Turn::new(think, up, self.wire.rng.between(1, 9) * MILLI, down));
            }
            now += think + count * 60 * MILLI;
        }
        turns.pop();
        if person.comes > START {
            self.wire.connect(start, &pair, &turns, &NEAR, End::Open);
        } else {
            self.wire.go_on(start, &pair, &turns, &NEAR);
        }
    }

    fn print(&mut self, person: &Person) {
        let mut now = person.comes + self.wait(person.comes, 9_000.0);
        let printer = *self.wire.rng.pick(&self.cast.printers);
        while now < person.leaves {
            let six = self.wire.rng.chance(0.4);
            let raw = self.wire.rng.chance(0.25);
            let start = now + self.wire.rng.between(300, 3_000) * MILLI;
            let status = Pair::new(person.host, printer, [self.wire.port(), 161]);
            self.wire.ask(start, &status, 60, 4 * MILLI, 90);
            let pair =
                Pair::new(person.host, printer, [self.wire.port(), if raw { 9_100 } else { 631 }]).six(six);
            let mut turns = Vec::new();
            for _ in 0..if raw { 0 } else { 4 } {
                let serve = self.wire.rng.between(10, 90) * MILLI;
                turns.push(Turn::new(MILLI, self.wire.rng.between(300, 900), serve, 1_800));
            }
            let pages = self.wire.rng.pareto(60_000.0, 1.0, 4_000_000.0) as u64;
            turns.push(Turn::new(20 * MILLI, pages, 300 * MILLI, 200));
            for _ in 0..if raw { 0 } else { self.wire.rng.between(2, 9) } {
                turns.push(Turn::new(2 * SECOND, 420, 15 * MILLI, 700));
            }
            self.wire.connect(
                start + 40 * MILLI,
                &pair,
                &turns,
                &Way { rate: 1_200_000, ..NEAR },
                End::Client,
            );
            now += self.wait(now, 2_500.0);
        }
    }

    /// Typed at a shell outside, or of the NAS.
    fn shell(&mut self, person: &Person) {
        let mut now = person.comes + self.wait(person.comes, 200.0);
        let away = self.cast.stranger(&mut self.wire.rng);
        let host = if self.wire.rng.chance(0.25) { self.cast.nas } else { away };
        while now < person.leaves {
            let until = (now + self.pause(START, 300.0, 0.7)).min(person.leaves);
            let pair = self.towards(person, host, 22);
            let mut turns =
                vec![Turn::new(MILLI, 40, 2 * MILLI, 40), Turn::new(MILLI, 1_500, 4 * MILLI, 1_100)];
            for _ in 0..5 {
                let up = self.wire.rng.between(44, 640);
                turns.push(Turn::new(40 * MILLI, up, 3 * MILLI, self.wire.rng.between(44, 600)));
            }
            let mut at = now;
            while at < until {
                let think = (self.wire.rng.lognormal(0.35, 1.3) * SECOND as f64) as u64;
                let down = self.wire.rng.pareto(36.0, 0.9, 9_000.0) as u64;
                turns.push(Turn::new(think, 36, self.wire.rng.between(1, 12) * MILLI, down));
                at += think + 60 * MILLI;
            }
            self.wire.connect(now, &pair, &turns, &person.way, End::Client);
            now = until + self.wait(until, 600.0);
        }
    }

    /// The two who share files: with some of all peers at a time, over UDP and TCP, from here and from there.
    pub(super) fn share_files(&mut self) {
        let cast = self.cast;
        for &sharer in &cast.sharers {
            let person = &cast.people[sharer];
            let port = self.wire.rng.between(20_000, 64_000) as u16;
            let mut now = START;
            while now < END {
                let (peer, theirs) = *self.wire.rng.pick(&cast.peers);
                self.shared(now, person, port, peer, theirs);
                now += self.wait(now, 7.0);
            }
            let mut now = START;
            while now < END {
                let peer = if self.wire.rng.chance(0.5) {
                    *self.wire.rng.pick(&cast.peers)
                } else {
                    (self.cast.stranger(&mut self.wire.rng), self.wire.rng.between(1_025, 65_000) as u16)
                };
                let pair = Pair::new(person.host, peer.0, [port, peer.1]).six(self.wire.rng.chance(0.4));
                let pair = if self.wire.rng.chance(0.4) { pair.back() } else { pair };
                let down =
                    if self.wire.rng.chance(0.6) { self.wire.rng.between(60, 500) as usize } else { 0 };
                self.wire.ask(now, &pair, 105, 2 * MILLI, down);
                now += self.wait(now, 4.5);
            }
        }
    }

    fn shared(&mut self, time: u64, person: &Person, port: u16, peer: Host, theirs: u16) {
        let (tcp, comes) = (self.wire.rng.chance(0.35), self.wire.rng.chance(0.3));
        let six = self.wire.rng.chance(0.5);
        let pair = match (tcp, comes) {
            (true, false) => Pair::new(person.host, peer, [self.wire.port(), theirs]),
            (true, true) => Pair::new(peer, person.host, [self.wire.port(), port]),
            (false, false) => Pair::new(person.host, peer, [port, theirs]),
            (false, true) => Pair::new(peer, person.host, [theirs, port]),
        };
        let pair = pair.six(six);
        if !comes && self.wire.rng.chance(0.35) {
            if tcp && self.wire.rng.chance(0.6) {
                self.wire.unanswered(time, &pair, 3);
            } else if tcp {
                self.wire.refused(time, &pair);
            } else {
                for again in 0..3 {
                    self.wire.udp(time + again * 3 * SECOND, &pair, 20);
                }
            }
            return;
        }
        let until = (time + self.pause(START, 70.0, 1.1)).min(END);
        let mut turns = vec![Turn::new(MILLI, 68, MILLI, 68), Turn::new(MILLI, 400, MILLI, 300)];
        let gives = self.wire.rng.chance(0.5);
        let every = self.wire.rng.lognormal(3.0, 0.8);
        let mut now = time;
        while now < until {
            let think = (self.wire.rng.lognormal(every, 0.8) * SECOND as f64) as u64;
            let block = self.wire.rng.between(1, 3) * 16_384;
            let (up, down) = match self.wire.rng.below(4) {
                0 => (17, 17),
                _ if gives => (block, 17),
                _ => (17, block),
            };
            turns.push(Turn::new(think, up, self.wire.rng.between(1, 80) * MILLI, down));
            now += think + 200 * MILLI;
        }
        let way = Way { loss: 0.012, rate: self.wire.rng.between(100_000, 1_000_000) };
        if tcp {
            let end = *self.wire.rng.pick(&[End::Client, End::Server, End::ClientReset, End::ServerReset]);
            self.wire.connect(time, &pair, &turns, &way, end);
        } else {
            self.wire.quic(time, &pair, &turns, &way);
        }
    }
}
