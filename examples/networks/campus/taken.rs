//! What those do who have a host in other hands: call home, tunnel, steal, earn, and what is brought along.

use std::net::IpAddr;

use super::attacks::Raid;
use super::people::NEAR;
use crate::talk::{End, Turn, Way};
use crate::wire::{Host, MILLI, Pair, SECOND, group_host};

impl Raid<'_> {
    /// Home is called every minute.
    pub(super) fn beacon(&mut self, time: u64, lasts: u64) {
        self.call_home(time, lasts, 60.0, 0.01);
    }

    /// Home is called after times that are not the same.
    pub(super) fn jittered_beacon(&mut self, time: u64, lasts: u64) {
        let every = self.wire.rng.between(35, 75) as f64;
        self.call_home(time, lasts, every, 0.4);
    }

    fn call_home(&mut self, time: u64, lasts: u64, every: f64, part: f64) {
        let (from, way) = self.taken();
        let home = self.stranger();
        let port = *self.wire.rng.pick(&[443, 443, 80, 8_443]);
        let six = self.wire.rng.chance(0.3);
        let mut now = time;
        while now < time + lasts {
            let pair = self.pair(from, home, port).six(six);
            let mut turns = if port == 80 { Vec::new() } else { Turn::hello(&mut self.wire.rng).to_vec() };
            let told = if self.wire.rng.chance(0.1) { self.wire.rng.between(2_000, 40_000) } else { 180 };
            turns.push(Turn::new(MILLI, self.wire.rng.between(220, 420), 15 * MILLI, told));
            self.wire.connect(now, &pair, &turns, &way, End::Client);
            now += (every * (1.0 + part * (2.0 * self.wire.rng.unit() - 1.0)) * SECOND as f64) as u64;
        }
    }

    /// A question that is answered when there is something to do, or when it has been open for long.
    pub(super) fn poll(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let home = self.stranger();
        let most = self.wire.rng.between(20, 58);
        let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
        let mut now = 0;
        while now < lasts {
            let serve =
                if self.wire.rng.chance(0.2) { self.wire.rng.between(1, most) } else { most } * SECOND;
            turns.push(Turn::new(200 * MILLI, self.wire.rng.between(240, 300), serve, 160));
            now += serve;
        }
        let pair = self.pair(from, home, 443);
        self.wire.connect(time, &pair, &turns, &way, End::Client);
    }

    /// Questions for names that carry what is told, to whom the domain belongs.
    pub(super) fn dns_tunnel(&mut self, time: u64, lasts: u64) {
        let (from, _) = self.taken();
        let home = self.stranger();
        let rate = self.wire.rng.between(3, 15) as f64;
        let mut pair = self.pair(from, home, 53);
        let mut now = time;
        while now < time + lasts {
            if self.wire.rng.chance(0.03) {
                pair = self.pair(from, home, 53);
            }
            let (up, down) =
                (self.wire.rng.between(90, 230) as usize, self.wire.rng.between(110, 420) as usize);
            self.wire.ask(now, &pair, up, 3 * MILLI, down);
            now += (self.wire.rng.exponential(1.0 / rate) * SECOND as f64) as u64 + 5 * MILLI;
        }
    }

    /// Echoes that carry what is told.
    pub(super) fn icmp_tunnel(&mut self, time: u64, lasts: u64) {
        let (from, _) = self.taken();
        let home = self.stranger();
        let pair = Pair::new(from, home, [0; 2]);
        let rate = self.wire.rng.between(2, 12) as f64;
        let name = self.wire.rng.word() as u32 & 0xffff_0000;
        let (mut now, mut last) = (time, time);
        for number in 0.. {
            let size = self.wire.rng.pareto(90.0, 0.8, 1_200.0) as usize;
            self.wire.icmp(now, &pair, [8, 0], name | number & 0xffff, size);
            last = last.max(now + 2 * home.delay + self.wire.jitter(pair.round_trip()));
            let size = self.wire.rng.pareto(90.0, 0.8, 1_200.0) as usize;
            self.wire.icmp(last, &pair.back(), [0, 0], name | number & 0xffff, size);
            now += (self.wire.rng.exponential(1.0 / rate) * SECOND as f64) as u64 + 10 * MILLI;
            if now > time + lasts {
                break;
            }
        }
    }

    /// Cells of 514 bytes by one guard, after others were tried.
    pub(super) fn tor(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let mut now = time;
        for number in 0..self.wire.rng.between(3, 6) {
            let relay = self.stranger();
            let port = *self.wire.rng.pick(&[443, 9_001, 9_001, 9_030, 9_002]);
            let pair = self.pair(from, relay, port);
            let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
            let stays = if number == 0 { lasts } else { self.wire.rng.between(2, 12) * SECOND };
            let mut at = 0;
            while at < stays {
                let think = (self.wire.rng.lognormal(1.6, 1.3) * SECOND as f64) as u64;
                let cells = self.wire.rng.pareto(1.0, 0.8, 400.0) as u64;
                let serve = self.wire.rng.between(80, 500) * MILLI;
                turns.push(Turn::new(think, 514 * self.wire.rng.between(1, 4), serve, 514 * cells));
                at += think + serve;
            }
            self.wire.connect(now, &pair, &turns, &way, End::Client);
            now += self.wire.rng.between(300, 4_000) * MILLI;
        }
    }

    /// Asks others like it, again and again, of whom many are gone.
    pub(super) fn botnet(&mut self, time: u64, lasts: u64) {
        let (from, _) = self.taken();
        let own = self.wire.port();
        let count = self.wire.rng.between(40, 80);
        let others: Vec<(Host, u16, bool)> = (0..count)
            .map(|_| {
                let port = self.wire.rng.between(1_025, 65_000) as u16;
                (self.stranger(), port, self.wire.rng.chance(0.35))
            })
            .collect();
        let every = self.wire.rng.between(1_500, 5_000) as f64 / 1_000.0;
        let mut now = time;
        while now < time + lasts {
            let (other, port, there) = *self.wire.rng.pick(&others);
            let pair = Pair::new(from, other, [own, port]);
            let (up, down) =
                (self.wire.rng.between(30, 120) as usize, self.wire.rng.between(40, 500) as usize);
            self.wire.ask(now, &pair, up, 5 * MILLI, if there { down } else { 0 });
            now += (self.wire.rng.exponential(every) * SECOND as f64) as u64;
        }
    }

    /// All at once to somewhere outside.
    pub(super) fn theft(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let to = self.stranger();
        let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
        let rate = self.wire.rng.between(250_000, 500_000);
        for _ in 0..lasts / SECOND {
            turns.push(Turn::new(300 * MILLI, rate, 20 * MILLI, 90));
        }
        let pair = self.pair(from, to, 443);
        self.wire.connect(time, &pair, &turns, &way, End::Client);
    }

    /// Drop by drop.
    pub(super) fn slow_theft(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let to = self.stranger();
        let every = self.wire.rng.between(15, 35) as f64;
        let mut now = time;
        while now < time + lasts {
            let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
            turns.push(Turn::new(MILLI, self.wire.rng.between(15_000, 70_000), 30 * MILLI, 240));
            let pair = self.pair(from, to, 443);
            self.wire.connect(now, &pair, &turns, &way, End::Client);
            now += (every * (0.5 + self.wire.rng.unit()) * SECOND as f64) as u64;
        }
    }

    /// Work is fetched from a pool, and what was found given to it.
    pub(super) fn miner(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let pool = self.stranger();
        let port = *self.wire.rng.pick(&[3_333, 5_555, 7_777, 14_444, 443]);
        let mut turns = vec![Turn::new(MILLI, 190, 20 * MILLI, 380), Turn::new(MILLI, 150, 15 * MILLI, 420)];
        let mut now = 0;
        while now < lasts {
            let wait = (self.wire.rng.exponential(22.0) * SECOND as f64) as u64 + SECOND;
            turns.push(if self.wire.rng.chance(0.55) {
                Turn::new(wait, self.wire.rng.between(150, 260), 12 * MILLI, 64)
            } else {
                Turn::new(0, 0, wait, self.wire.rng.between(250, 420))
            });
            now += wait;
        }
        let pair = self.pair(from, pool, port);
        self.wire.connect(time, &pair, &turns, &way, End::Client);
    }

    /// Commands come from outside by a connection that was made from here.
    pub(super) fn shell(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let home = self.stranger();
        let port = *self.wire.rng.pick(&[443, 4_444, 8_080, 9_001]);
        let mut turns = vec![Turn::new(MILLI, 90, 0, 0)];
        let mut now = 0;
        while now < lasts {
            let wait = (self.wire.rng.lognormal(7.0, 1.0) * SECOND as f64) as u64;
            turns.push(Turn::new(0, 0, wait, self.wire.rng.between(4, 80)));
            turns.push(Turn::new(10 * MILLI, self.wire.rng.pareto(60.0, 0.8, 30_000.0) as u64, 0, 0));
            now += wait;
        }
        let pair = self.pair(from, home, port);
        self.wire.connect(time, &pair, &turns, &way, End::Server);
    }

    /// Letters to the servers of many.
    pub(super) fn spam(&mut self, time: u64, lasts: u64) {
        let (from, way) = self.taken();
        let gap = lasts / self.wire.rng.between(100, 220);
        let mut now = time;
        while now < time + lasts {
            let start = now + self.wire.rng.between(30, 200) * MILLI;
            let to = self.stranger();
            let pair = self.pair(from, to, 25);
            if self.wire.rng.chance(0.2) {
                self.wire.unanswered(start, &pair, 3);
            } else {
                let mut turns = vec![Turn::new(0, 0, 60 * MILLI, 60)];
                for (up, down) in [(22, 140), (38, 16), (34, if self.wire.rng.chance(0.4) { 90 } else { 16 })]
                {
                    turns.push(Turn::new(MILLI, up, self.wire.rng.between(8, 200) * MILLI, down));
                }
                if self.wire.rng.chance(0.6) {
                    turns.push(Turn::new(MILLI, 6, 10 * MILLI, 37));
                    turns.push(Turn::new(MILLI, self.wire.rng.between(1_500, 9_000), 150 * MILLI, 45));
                }
                self.wire.connect(start, &pair, &turns, &way, End::Client);
            }
            now += gap / 2 + self.wire.rng.between(0, gap);
        }
    }

    /// Each file of the NAS is read, written as something else, and named anew.
    pub(super) fn ransom(&mut self, time: u64, lasts: u64) {
        let (from, _) = self.taken();
        let pair = self.pair(from, self.cast.nas, 445);
        let mut turns = vec![Turn::new(MILLI, 240, 2 * MILLI, 300); 5];
        let pause = self.wire.rng.between(60, 250);
        let mut now = 0;
        while now < lasts {
            let size = self.wire.rng.pareto(12_000.0, 0.9, 800_000.0) as u64;
            let think = self.wire.rng.between(pause / 2, pause * 3 / 2) * MILLI;
            turns.push(Turn::new(think, 330, 2 * MILLI, size));
            turns.push(Turn::new(8 * MILLI, size + 400, 4 * MILLI, 120));
            turns.push(Turn::new(MILLI, 260, 2 * MILLI, 130));
            now += think + 20 * MILLI + size * SECOND / NEAR.rate;
        }
        self.wire.connect(time, &pair, &turns, &NEAR, End::Client);
    }

    /// A printer that somebody got into calls out.
    pub(super) fn printer(&mut self, time: u64, lasts: u64) {
        let printer = *self.wire.rng.pick(&self.cast.printers);
        let home = self.stranger();
        let port = *self.wire.rng.pick(&[443, 8_080, 6_667, 23]);
        let every = self.wire.rng.between(12, 30);
        let mut now = time;
        while now < time + lasts {
            let pair = self.pair(printer, home, port);
            let turns = [
                Turn::new(MILLI, self.wire.rng.between(60, 200), 20 * MILLI, 120),
                Turn::new(SECOND, self.wire.rng.pareto(80.0, 0.9, 50_000.0) as u64, 20 * MILLI, 60),
            ];
            self.wire.connect(now, &pair, &turns, &Way::FAR, End::Client);
            now += self.wire.rng.between(every * 700, every * 1_300) * MILLI;
        }
    }

    /// Somebody plugs in what nobody knows, and looks around.
    pub(super) fn rogue(&mut self, time: u64, lasts: u64) {
        let cast = self.cast;
        let rogue = cast.rogue;
        let mut now = self.wire.dhcp(time, rogue, cast.router, true);
        let all = group_host(IpAddr::V4(std::net::Ipv4Addr::BROADCAST), 1);
        self.wire.udp(now, &Pair::new(rogue, all, [137; 2]), 50);
        let home = self.stranger();
        while now < time + lasts {
            match self.wire.rng.below(5) {
                0 => now = self.wire.look_up(now, rogue, cast.resolver, true),
                1 => {
                    let port = *self.wire.rng.pick(&[445, 443, 22, 80]);
                    let pair = self.pair(rogue, cast.nas, port);
                    now = if self.wire.rng.chance(0.5) {
                        self.wire.connect(
                            now,
                            &pair,
                            &[Turn::new(MILLI, 220, 3 * MILLI, 260)],
                            &NEAR,
                            End::Client,
                        )
                    } else {
                        self.wire.refused(now, &pair)
                    };
                }
                2 => {
                    let to = *self.wire.rng.pick(&cast.printers);
                    let pair = self.pair(rogue, to, 80);
                    now = self.wire.connect(
                        now,
                        &pair,
                        &[Turn::new(MILLI, 180, 30 * MILLI, 9_000)],
                        &NEAR,
                        End::Server,
                    );
                }
                3 => {
                    let to = self.looked_at();
                    let pair = self.pair(rogue, to, 22);
                    now = self.wire.refused(now, &pair);
                }
                _ => {
                    let pair = self.pair(rogue, home, 443);
                    let mut turns = Turn::hello(&mut self.wire.rng).to_vec();
                    turns.push(Turn::new(MILLI, self.wire.rng.between(300, 9_000), 20 * MILLI, 2_000));
                    now = self.wire.connect(now, &pair, &turns, &Way::FAR, End::Client);
                }
            }
            now += (self.wire.rng.lognormal(1.5, 0.9) * SECOND as f64) as u64;
        }
    }
}
