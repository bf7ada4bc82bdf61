//! Conversations: what hosts send each other when a client wants something.

use std::net::{IpAddr, Ipv4Addr};

use crate::wire::{
    ACK, BROADCAST, FIN, Host, MICRO, MILLI, PSH, Pair, RST, Rng, SECOND, SYN, Segment, Wire, group_host,
};

/// After `think` the client sends `up` bytes; after `serve` of the server `down` bytes come back.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) think: u64,
    pub(crate) up: u64,
    pub(crate) serve: u64,
    pub(crate) down: u64,
}

impl Turn {
    pub(crate) fn new(think: u64, up: u64, serve: u64, down: u64) -> Turn {
        Turn { think, up, serve, down }
    }

    /// A delivery by SMTP: who is greeted, what is agreed on, and a message.
    pub(crate) fn delivery(rng: &mut Rng, size: u64) -> Vec<Turn> {
        let step = |rng: &mut Rng, up: u64, down: u64| {
            Turn::new(rng.between(1, 9) * MILLI, up, rng.between(1, 30) * MILLI, down)
        };
        let mut turns = vec![Turn::new(0, 0, rng.between(2, 60) * MILLI, rng.between(40, 90))];
        turns.extend([step(rng, 28, 180), step(rng, 10, 30)]);
        turns.extend(Turn::hello(rng));
        turns.extend([step(rng, 50, 210), step(rng, 70, 44), step(rng, 62, 44), step(rng, 28, 60)]);
        turns.extend([Turn::new(MILLI, size, rng.between(40, 900) * MILLI, 90), step(rng, 28, 50)]);
        turns
    }

    /// Passwords tried by SSH: what is agreed on, then no.
    pub(crate) fn guess(rng: &mut Rng, tries: usize) -> Vec<Turn> {
        let step = |rng: &mut Rng, up, down| {
            Turn::new(rng.between(300, 4_000) * MICRO, up, rng.between(300, 9_000) * MICRO, down)
        };
        let mut turns = vec![
            step(rng, 24, 41),
            step(rng, 1_400, 1_080),
            step(rng, 1_208, 1_560),
            step(rng, 60, 52),
            step(rng, 76, 84),
        ];
        turns.extend((0..tries).map(|_| {
            let refused = (rng.lognormal(1_900.0, 0.12) * MILLI as f64) as u64;
            Turn::new(rng.between(1, 30) * MILLI, 148, refused, 84)
        }));
        turns
    }

    /// The first of a connection under TLS: hello, certificates, keys.
    pub(crate) fn hello(rng: &mut Rng) -> [Turn; 2] {
        let certificates = rng.between(2_800, 4_600);
        [
            Turn::new(
                rng.between(50, 900) * MICRO,
                rng.between(350, 680),
                rng.between(300, 3_000) * MICRO,
                certificates,
            ),
            Turn::new(
                rng.between(200, 2_000) * MICRO,
                rng.between(80, 130),
                rng.between(60, 600) * MICRO,
                rng.between(230, 530),
            ),
        ]
    }
}

/// Who ends a connection, and how.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    Client,
    Server,
    ClientReset,
    ServerReset,
    /// It stays open.
    Open,
}

/// What a path is like.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// Part of the segments that is lost.
    pub(crate) loss: f64,
    /// Bytes a second of the narrowest link.
    pub(crate) rate: u64,
}

impl Way {
    pub(crate) const LOCAL: Way = Way { loss: 0.000_02, rate: 110_000_000 };
    pub(crate) const FAR: Way = Way { loss: 0.002, rate: 4_000_000 };
    pub(crate) const RADIO: Way = Way { loss: 0.008, rate: 1_500_000 };
}

/// How long an acknowledgement waits for something to go with.
const HELD: u64 = 40 * MILLI;

struct Talk<'a> {
    /// As the client and as the server sends.
    pairs: [Pair; 2],
    quic: bool,
    next: [u32; 2],
    window: [u64; 2],
    enough: [u64; 2],
    way: &'a Way,
}

impl Wire {
    /// A connection of TCP from its first SYN to its end; returns the time of its last segment.
    pub(crate) fn connect(&mut self, time: u64, pair: &Pair, turns: &[Turn], way: &Way, end: End) -> u64 {
        let mut talk = Talk::new(self, pair, way, false);
        let mut now = time;
        if self.rng.chance(way.loss) {
            self.bare(&talk, now, 0, SYN);
            now += SECOND + self.rng.between(0, 20 * MILLI);
        }
        self.bare(&talk, now, 0, SYN);
        talk.next[0] = talk.next[0].wrapping_add(1);
        now += self.turned(&talk, 1);
        self.bare(&talk, now, 1, SYN | ACK);
        talk.next[1] = talk.next[1].wrapping_add(1);
        now += self.turned(&talk, 0);
        self.bare(&talk, now, 0, ACK);
        now = self.turns(&mut talk, now, turns, end != End::Open);
        self.end(&mut talk, now, end)
    }

    /// Turns of a connection that has been open for longer than is told, and stays so.
    pub(crate) fn go_on(&mut self, time: u64, pair: &Pair, turns: &[Turn], way: &Way) -> u64 {
        let mut talk = Talk::new(self, pair, way, false);
        self.turns(&mut talk, time, turns, false)
    }

    /// A connection of QUIC; returns the time of its last datagram.
    pub(crate) fn quic(&mut self, time: u64, pair: &Pair, turns: &[Turn], way: &Way) -> u64 {
        let mut talk = Talk::new(self, pair, way, true);
        self.udp(time, pair, 1250);
        let mut now = time + self.turned(&talk, 1) + self.rng.between(200, 2_000) * MICRO;
        for size in [1250, 1250, 900] {
            self.udp(now, &pair.back(), size);
            now += 12 * MICRO;
        }
        now += self.turned(&talk, 0);
        self.udp(now, pair, 1250);
        self.udp(now + 30 * MICRO, pair, 85);
        self.turns(&mut talk, now, turns, false)
    }

    /// A SYN that is answered by a reset.
    pub(crate) fn refused(&mut self, time: u64, pair: &Pair) -> u64 {
        let mut talk = Talk::new(self, pair, &Way::LOCAL, false);
        self.bare(&talk, time, 0, SYN);
        talk.next = [talk.next[0].wrapping_add(1), 0];
        let answered = time + self.turned(&talk, 1);
        self.bare(&talk, answered, 1, RST | ACK);
        answered
    }

    /// SYN that nobody answers, repeated after 1, 2, 4... seconds; returns when the client gives up.
    pub(crate) fn unanswered(&mut self, time: u64, pair: &Pair, tries: u32) -> u64 {
        let talk = Talk::new(self, pair, &Way::LOCAL, false);
        let mut now = time;
        for attempt in 0..tries {
            self.bare(&talk, now, 0, SYN);
            now += (SECOND << attempt) + self.rng.between(0, 20 * MILLI);
        }
        now
    }

    /// One datagram and, where `down` is not 0, its answer; returns the time of the last.
    pub(crate) fn ask(&mut self, time: u64, pair: &Pair, up: usize, serve: u64, down: usize) -> u64 {
        self.udp(time, pair, up);
        if down == 0 {
            return time;
        }
        let answered = time + 2 * pair.to.delay + serve + self.jitter(pair.round_trip());
        self.udp(answered, &pair.back(), down);
        answered
    }

    /// A name is looked up, for both kinds of addresses if `both`; returns when the client knows.
    pub(crate) fn look_up(&mut self, time: u64, client: Host, server: Host, both: bool) -> u64 {
        let six = self.rng.chance(0.2);
        let up = self.rng.between(28, 62) as usize;
        let mut known = time;
        for kind in 0..if both { 2 } else { 1 } {
            let pair = Pair::new(client, server, [self.port(), 53]).six(six);
            // Most answers lie in the cache of the server.
            let serve = if self.rng.chance(0.75) { 0.2 } else { 22.0 };
            let serve = (self.rng.lognormal(serve, 0.7) * MILLI as f64) as u64;
            let down =
                up + if kind == 0 { 16 * self.rng.between(1, 6) } else { self.rng.between(0, 90) } as usize;
            known = known.max(self.ask(time + kind * 40 * MICRO, &pair, up, serve, down));
        }
        known + 2 * client.delay + self.rng.between(50, 400) * MICRO
    }

    /// Datagrams of about `size` every `gap`, there and, if `both`, back too.
    pub(crate) fn stream(
        &mut self,
        time: u64,
        pair: &Pair,
        length: u64,
        gap: u64,
        size: usize,
        both: bool,
    ) -> u64 {
        let mut at = time;
        while at < time + length {
            let late = self.jitter(gap);
            self.udp(at + late, pair, size);
            if both {
                let late = pair.to.delay + self.jitter(gap);
                self.udp(at + gap / 2 + late, &pair.back(), size);
            }
            at += gap;
        }
        at
    }

    /// Echoes; of each `part` is answered. Returns the time of the last.
    pub(crate) fn ping(
        &mut self,
        time: u64,
        [from, to]: [Host; 2],
        count: u32,
        gap: u64,
        size: usize,
        part: f64,
    ) -> u64 {
        let pair = Pair::new(from, to, [0; 2]);
        let name = (self.rng.word() as u32) << 16;
        let mut last = time;
        for number in 0..count {
            let at = time + u64::from(number) * gap + self.jitter(20 * MILLI);
            self.icmp(at, &pair, [8, 0], name | number, size);
            last = at;
            if self.rng.chance(part) {
                last = at + 2 * to.delay + self.jitter(pair.round_trip());
                self.icmp(last, &pair.back(), [0, 0], name | number, size);
            }
        }
        last
    }

    /// `router` tells the sender of `pair` that its packet found nobody: code 1 no host, 3 no port, 13 forbidden.
    pub(crate) fn unreachable(&mut self, time: u64, router: Host, pair: &Pair, code: u8) {
        let back = Pair { from: router, to: pair.from, ports: [0; 2], six: pair.six };
        let code = match (pair.six, code) {
            (true, 1) => [1, 3],
            (true, 3) => [1, 4],
            (true, _) => [1, 1],
            (false, code) => [3, code],
        };
        self.icmp(time, &back, code, 0, if pair.six { 72 } else { 36 });
    }

    /// ARP for an address that nobody has: asked three times.
    pub(crate) fn nobody(&mut self, time: u64, asks: Host, target: Ipv4Addr) -> u64 {
        for again in 0..3 {
            let at = time + again * SECOND + self.jitter(MILLI);
            self.arp(at, asks, (BROADCAST, target), false);
        }
        time + 3 * SECOND
    }

    /// How a host gets (`fresh`) or keeps its address.
    pub(crate) fn dhcp(&mut self, time: u64, host: Host, server: Host, fresh: bool) -> u64 {
        let size = self.rng.between(290, 340) as usize;
        if !fresh {
            return self.ask(time, &Pair::new(host, server, [68, 67]), size, MILLI, 300);
        }
        let nobody = Host { v4: Ipv4Addr::UNSPECIFIED, v6: None, ..host };
        let all = group_host(IpAddr::V4(Ipv4Addr::BROADCAST), host.segment);
        let question = Pair::new(nobody, all, [68, 67]);
        // A server on another link is reached by way of the router there.
        let speaker = if server.segment == host.segment { server } else { self.router(host.segment) };
        let answer = Pair::new(speaker, host, [67, 68]);
        let mut now = time;
        for _ in 0..2 {
            self.udp(now, &question, size);
            now += self.rng.between(1, 12) * MILLI;
            self.udp(now, &answer, 300);
            now += self.rng.between(2, 40) * MILLI;
        }
        for again in 0..3 {
            self.arp(now + again * 400 * MILLI, nobody, (BROADCAST, host.v4), false);
        }
        now + 900 * MILLI
    }

    /// A little more than nothing, now and then much more.
    pub(crate) fn jitter(&mut self, of: u64) -> u64 {
        self.rng.exponential(0.02 * of as f64) as u64 + self.rng.between(5, 40) * MICRO
    }

    /// How long after a segment passed the capture the answer of one of the two passes it.
    fn turned(&mut self, talk: &Talk, end: usize) -> u64 {
        2 * talk.pairs[end].from.delay + self.jitter(talk.pairs[0].round_trip())
    }

    fn bare(&mut self, talk: &Talk, time: u64, end: usize, flags: u8) {
        let acknowledged = if flags & ACK > 0 { talk.next[1 - end] } else { 0 };
        let segment = Segment { flags, sequence: talk.next[end], acknowledged, payload: 0 };
        self.tcp(time, &talk.pairs[end], segment);
    }

    /// `ends`: the connection is ended right after the last turn.
    fn turns(&mut self, talk: &mut Talk, time: u64, turns: &[Turn], ends: bool) -> u64 {
        let mut now = time;
        for (place, turn) in turns.iter().enumerate() {
            now += turn.think;
            for (end, bytes, wait) in [(0, turn.up, 0), (1, turn.down, turn.serve)] {
                if bytes > 0 {
                    now = self.send(talk, now + wait, end, bytes);
                    let turned = self.turned(talk, 1 - end);
                    // Who says something within what an acknowledgement is held back acknowledges by that.
                    let held = if bytes < 1_400 { HELD } else { 0 };
                    let next = match turns.get(place + 1) {
                        Some(next) if next.up > 0 => next.think,
                        None if ends => 0,
                        _ => u64::MAX,
                    };
                    let says = if end == 1 {
                        next
                    } else if turn.down > 0 {
                        turn.serve
                    } else {
                        u64::MAX
                    };
                    if says > held {
                        self.acknowledge(talk, now + turned + held, 1 - end, 0);
                    }
                    now += turned;
                }
            }
        }
        now
    }

    fn acknowledge(&mut self, talk: &Talk, time: u64, end: usize, less: u32) {
        if talk.quic {
            return self.udp(time, &talk.pairs[end], 34);
        }
        let acknowledged = talk.next[1 - end].wrapping_sub(less);
        self.tcp(
            time,
            &talk.pairs[end],
            Segment { flags: ACK, sequence: talk.next[end], acknowledged, payload: 0 },
        );
    }

    fn data(&mut self, talk: &Talk, time: u64, end: usize, back: u64, size: u64, push: bool) {
        if talk.quic {
            return self.udp(time, &talk.pairs[end], size as usize + 31);
        }
        let flags = if push { ACK | PSH } else { ACK };
        let sequence = talk.next[end].wrapping_sub(back as u32);
        let segment = Segment { flags, sequence, acknowledged: talk.next[1 - end], payload: size as usize };
        self.tcp(time, &talk.pairs[end], segment);
    }

    /// Sends bytes as fast as the window lets, which opens by slow start; returns the time of the last segment.
    fn send(&mut self, talk: &mut Talk, time: u64, end: usize, bytes: u64) -> u64 {
        let most = match (talk.quic, talk.pairs[0].six) {
            (true, _) => 1_220,
            (false, true) => 1_428,
            (false, false) => 1_448,
        };
        let trip = talk.pairs[0].round_trip();
        let turned = 2 * talk.pairs[1 - end].from.delay;
        let gap = (most * SECOND / talk.way.rate).max(MICRO);
        let (mut left, mut start, mut at) = (bytes, time, time);
        while left > 0 {
            let burst = talk.window[end].min(left.div_ceil(most));
            let (mut lost, mut follow) = (None, 0);
            for number in 0..burst {
                let size = left.min(most);
                left -= size;
                at = (start + number * gap + self.rng.between(0, gap / 4 + 1)).max(at);
                talk.next[end] = talk.next[end].wrapping_add(size as u32);
                let loses = lost.is_none() && self.rng.chance(talk.way.loss);
                // Half are lost behind the capture.
                if !loses || self.rng.chance(0.5) {
                    self.data(talk, at, end, size, size, left == 0);
                }
                let answer = at + turned + self.jitter(trip);
                if loses {
                    lost = Some((talk.next[end], size));
                } else if let Some((after, size)) = lost {
                    follow += 1;
                    let missing = talk.next[end].wrapping_sub(after).wrapping_add(size as u32);
                    self.acknowledge(talk, answer, 1 - end, missing);
                } else if left > 0 && number % if talk.quic { 6 } else { 2 } == 1 {
                    self.acknowledge(talk, answer, 1 - end, 0);
                }
            }
            if let Some((after, size)) = lost {
                at += trip + if follow > 2 { 0 } else { 200 * MILLI };
                let back = u64::from(talk.next[end].wrapping_sub(after)) + size;
                self.data(talk, at, end, back, size, false);
                talk.enough[end] = (talk.window[end] / 2).max(2);
                talk.window[end] = talk.enough[end];
                if left > 0 {
                    let answer = at + turned + self.jitter(trip);
                    self.acknowledge(talk, answer, 1 - end, 0);
                }
            } else {
                let window = &mut talk.window[end];
                *window = (if *window < talk.enough[end] { 2 * *window } else { *window + 1 }).min(400);
            }
            start = (start + trip).max(at + gap);
        }
        at
    }

    fn end(&mut self, talk: &mut Talk, time: u64, end: End) -> u64 {
        let (first, reset) = match end {
            End::Open => return time,
            End::Client => (0, false),
            End::Server => (1, false),
            End::ClientReset => (0, true),
            End::ServerReset => (1, true),
        };
        let now = time + self.rng.between(20, 400) * MICRO;
        if reset {
            self.bare(talk, now, first, RST | ACK);
            return now;
        }
        self.bare(talk, now, first, FIN | ACK);
        talk.next[first] = talk.next[first].wrapping_add(1);
        let answered = now + self.turned(talk, 1 - first);
        self.bare(talk, answered, 1 - first, FIN | ACK);
        talk.next[1 - first] = talk.next[1 - first].wrapping_add(1);
        let last = answered + self.turned(talk, first);
        self.bare(talk, last, first, ACK);
        last
    }
}

impl<'a> Talk<'a> {
    fn new(wire: &mut Wire, pair: &Pair, way: &'a Way, quic: bool) -> Talk<'a> {
        let next = [wire.rng.word() as u32, wire.rng.word() as u32];
        Talk { pairs: [*pair, pair.back()], quic, next, window: [10; 2], enough: [u64::MAX; 2], way }
    }
}
