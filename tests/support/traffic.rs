//! Random traffic from a seed: few hosts and ports, so that conversations meet, pause, close, linger and
//! come back; losses, repetitions and wrong orders as captures have them.

use std::net::SocketAddr;

use super::datagram::{ACK, Body, CWR, Datagram, ECE, FIN, PSH, RST, SYN, URG, icmp, tcp, udp};
use super::random::Random;
use super::{EPOCH, MILLISECOND, SECOND};

/// The times at which something happens, so that traffic meets them often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edges {
    pub(crate) window: u64,
    pub(crate) idle: u64,
    pub(crate) lateness: u64,
}

/// One to three inputs, records in the order of their files, about `conversations` times twenty packets.
pub(crate) fn traffic(seed: u64, conversations: u64, edges: Edges) -> Vec<Vec<Datagram>> {
    let mut random = Random::new(seed);
    let random = &mut random;
    let mut all = Vec::new();
    for _ in 0..conversations {
        all.extend(conversation(random, edges));
    }
    all.sort_by_key(|datagram| datagram.time);
    let count = 1 + random.below(3) as usize;
    let mut inputs = vec![Vec::new(); count];
    for datagram in all {
        inputs[random.below(count as u64) as usize].push(datagram);
    }
    for input in &mut inputs {
        disorder(random, input, edges.lateness);
    }
    inputs
}

/// Writes some records later than they belong: mostly within the lateness, sometimes beyond.
fn disorder(random: &mut Random, input: &mut [Datagram], lateness: u64) {
    if random.one_in(3) {
        return;
    }
    let most = random.pick(&[MILLISECOND, lateness / 2, lateness, 3 * lateness]);
    input.sort_by_cached_key(|datagram| {
        datagram.time + if random.one_in(4) { random.below(most + 1) } else { 0 }
    });
}

fn conversation(random: &mut Random, edges: Edges) -> Vec<Datagram> {
    const HOSTS: [&str; 3] = ["10.0.0.1", "10.0.0.2", "192.168.7.9"];
    const HOSTS6: [&str; 2] = ["[fd00::1]", "[fd00::a:0:0:2]"];
    const LOW: [&str; 8] = ["22", "25", "53", "80", "123", "443", "1023", "700"];
    const HIGH: [&str; 7] = ["1024", "5000", "32767", "32768", "40000", "50000", "65535"];

    let hosts = if random.one_in(4) { &HOSTS6[..] } else { &HOSTS[..] };
    let (src, mut dst) = (random.pick(hosts), random.pick(hosts));
    if src == dst {
        dst = hosts[(hosts.iter().position(|h| *h == src).unwrap_or(0) + 1) % hosts.len()];
    }
    let port = |random: &mut Random, low: bool| random.pick(if low { &LOW[..] } else { &HIGH[..] });
    let (low, high) = (random.one_in(4), random.one_in(4));
    let (src, dst) = (format!("{src}:{}", port(random, low)), format!("{dst}:{}", port(random, !high)));
    let mut packets = match random.below(10) {
        0..5 => tcp_conversation(random, &src, &dst),
        5 => tcp_noise(random, &src, &dst),
        6 | 7 => udp_conversation(random, &src, &dst),
        8 => icmp_conversation(random, &src, &dst),
        _ => odd_conversation(random, &src, &dst),
    };
    damage(random, &mut packets);

    let (vlan, inner_vlan) = random.pick(&[
        (None, None),
        (None, None),
        (None, None),
        (Some(0), None),
        (Some(7), None),
        (Some(7), Some(8)),
        (Some(4094), None),
    ]);
    let mut time = EPOCH + random.below(3 * edges.window);
    let hurry = random.pick(&[3, 10, 40]);
    for packet in &mut packets {
        (packet.vlan, packet.inner_vlan) = (vlan, inner_vlan);
        packet.ttl = random.pick(&[64, 64, 63, 128, 1]);
        time += pause(random, edges, hurry);
        if random.one_in(30) {
            time = time.next_multiple_of(edges.window);
        }
        packet.time = time;
    }
    packets
}

/// The gap before the next packet: short, except once in `hurry` times.
fn pause(random: &mut Random, edges: Edges, hurry: u64) -> u64 {
    if !random.one_in(hurry) {
        return match random.below(6) {
            0 => 0,
            1 => 1,
            2 => random.below(1000),
            3 => random.below(200 * MILLISECOND),
            _ => random.below(20 * MILLISECOND),
        };
    }
    let edge =
        random.pick(&[edges.window, edges.idle, edges.idle, 5 * SECOND, 5 * SECOND, SECOND, 600 * SECOND]);
    match random.below(4) {
        0 => edge,
        1 => edge + 1,
        2 => edge - 1,
        _ => random.below(2 * edge),
    }
}

/// Loses, repeats and exchanges packets.
fn damage(random: &mut Random, packets: &mut Vec<Datagram>) {
    let rate = random.pick(&[8, 20, 1000]);
    let mut damaged: Vec<Datagram> = Vec::new();
    for packet in packets.drain(..) {
        match random.below(3 * rate) {
            0 => {}
            1 => damaged.extend([packet, packet]),
            2 => {
                damaged.push(packet);
                let last = damaged.len() - 1;
                damaged.swap(last, last.saturating_sub(1));
            }
            _ => damaged.push(packet),
        }
    }
    *packets = damaged;
}

/// One side of a TCP connection that is being made up.
struct Side {
    segment: Datagram,
    next: u32,
}

fn tcp_conversation(random: &mut Random, src: &str, dst: &str) -> Vec<Datagram> {
    let number = |random: &mut Random| random.pick(&[0, 1, 1000, u32::MAX, u32::MAX - 900, 1 << 31]);
    let mut sides = [
        Side { segment: tcp(src, dst), next: number(random) },
        Side { segment: tcp(dst, src), next: number(random) },
    ];
    let mut packets = Vec::new();
    for _ in 0..1 + random.below(2) {
        connection(random, &mut sides, &mut packets);
        // The next connection of the same ends begins elsewhere.
        sides.iter_mut().for_each(|side| side.next = side.next.wrapping_add(100_000));
    }
    packets
}

fn connection(random: &mut Random, sides: &mut [Side; 2], packets: &mut Vec<Datagram>) {
    let mut say = |random: &mut Random, sides: &mut [Side; 2], by: usize, flags: u8, payload: u32| {
        let acknowledged = if flags & ACK != 0 { sides[1 - by].next } else { 0 };
        let mut packet =
            sides[by].segment.flagged(flags).numbered(sides[by].next, acknowledged).carrying(payload);
        if let Body::Tcp { window, options, .. } = &mut packet.body {
            *window = random.pick(&[0, 512, 64_240, 65_535]);
            *options = random.pick(&[0, 3, 5, 10]);
        }
        let took = payload + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        sides[by].next = sides[by].next.wrapping_add(took);
        packets.push(packet);
        // A repetition of the very same segment.
        if random.one_in(15) {
            packets.push(packet);
        }
    };
    match random.below(10) {
        0..5 => {
            say(random, sides, 0, SYN, 0);
            say(random, sides, 1, SYN | ACK, 0);
            say(random, sides, 0, ACK, 0);
        }
        5 => say(random, sides, 0, SYN, 0),
        6 => {
            say(random, sides, 1, SYN | ACK, 0);
            say(random, sides, 0, ACK, 0);
        }
        7 => {
            say(random, sides, 0, SYN, 0);
            say(random, sides, 1, RST | ACK, 0);
            // Refused, it may be sent again with the same number, and be answered then.
            for _ in 0..random.below(3) {
                sides[0].next = sides[0].next.wrapping_sub(1);
                say(random, sides, 0, SYN, 0);
                let answer = random.pick(&[RST | ACK, RST | ACK, SYN | ACK]);
                say(random, sides, 1, answer, 0);
            }
        }
        8 => {
            say(random, sides, 0, SYN, 0);
            say(random, sides, 1, SYN, 0);
            say(random, sides, 0, SYN | ACK, 0);
        }
        _ => {}
    }
    for _ in 0..random.below(8) {
        let by = random.below(2) as usize;
        let payload = random.pick(&[0, 1, 100, 1460, 40_000]);
        let more = random.pick(&[0, PSH, PSH | URG, ECE, CWR | PSH]);
        say(random, sides, by, ACK | more, payload);
    }
    let by = random.below(2) as usize;
    match random.below(8) {
        0..3 => {
            let rest = random.pick(&[0, 0, 7]);
            say(random, sides, by, FIN | ACK, rest);
            say(random, sides, 1 - by, FIN | ACK, 0);
            say(random, sides, by, ACK, 0);
        }
        3 => {
            say(random, sides, by, FIN | ACK, 0);
            say(random, sides, 1 - by, ACK, 0);
        }
        4 => say(random, sides, by, RST, 0),
        5 => say(random, sides, by, FIN, 0),
        _ => {}
    }
    for _ in 0..random.below(3) {
        let flags = random.pick(&[ACK, RST, FIN | ACK, SYN | ACK, RST | ACK]);
        let by = random.below(2) as usize;
        let payload = random.pick(&[0, 0, 3]);
        say(random, sides, by, flags, payload);
    }
}

/// Any flags and numbers at all.
fn tcp_noise(random: &mut Random, src: &str, dst: &str) -> Vec<Datagram> {
    let segments = [tcp(src, dst), tcp(dst, src)];
    let count = 1 + random.below(12);
    let noise = (0..count).map(|_| {
        let flags = random.next() as u8 & random.pick(&[SYN | ACK | FIN | RST, ACK | FIN, SYN | ACK, 255]);
        let number = |random: &mut Random| random.pick(&[0, 1, 2, 3, u32::MAX]);
        let (sequence, acknowledgement) = (number(random), number(random));
        random
            .pick(&segments)
            .flagged(flags)
            .numbered(sequence, acknowledgement)
            .carrying(random.pick(&[0, 0, 2]))
    });
    noise.collect()
}

fn udp_conversation(random: &mut Random, src: &str, dst: &str) -> Vec<Datagram> {
    let ends = [udp(src, dst), udp(dst, src)];
    let mut packets = Vec::new();
    for _ in 0..1 + random.below(15) {
        let mut packet = random.pick(&ends).carrying(random.pick(&[0, 1, 48, 512, 1472, 33_000]));
        if random.one_in(6) {
            packet.first_fragment = true;
            packets.push(Datagram { payload: 1472, ..packet });
            let mut rest = packet;
            rest.first_fragment = false;
            (rest.body, rest.payload) = (Body::LaterFragment(17), 600);
            packets.push(rest);
        } else {
            packets.push(packet);
        }
    }
    packets
}

fn icmp_conversation(random: &mut Random, src: &str, dst: &str) -> Vec<Datagram> {
    let without_port = |text: &str| {
        let mut end: SocketAddr = super::datagram::end(text);
        end.set_port(0);
        end.to_string()
    };
    let (src, dst) = (without_port(src), without_port(dst));
    let kinds: &[u8] = if src.starts_with('[') { &[128, 129, 1] } else { &[8, 0, 3, 11, 13, 14] };
    let mut packets = Vec::new();
    for _ in 0..1 + random.below(8) {
        let kind = random.pick(kinds);
        let packet = icmp(&src, &dst, kind, random.pick(&[0, 0, 3])).carrying(random.pick(&[0, 56, 28]));
        packets.push(if random.one_in(2) { packet.back() } else { packet });
    }
    packets
}

/// Protocols without ports that we look at, SCTP, and later fragments of TCP.
fn odd_conversation(random: &mut Random, src: &str, dst: &str) -> Vec<Datagram> {
    let body =
        random.pick(&[Body::Other(47), Body::Other(50), Body::Other(89), Body::Sctp, Body::LaterFragment(6)]);
    let count = 1 + random.below(8);
    let packets = (0..count).map(|_| {
        let payload = random.pick(&[24, 100, 1400]);
        let packet = Datagram { body, ..udp(src, dst) }.carrying(payload);
        if random.one_in(2) { packet.back() } else { packet }
    });
    packets.collect()
}
