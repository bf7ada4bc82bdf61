//! What made networks consist of: hosts, frames down to their transport header, and what is known of these.
//!
//! The capture is taken as in the laboratories: at the core of a switch, each frame once, when its sender puts it there. What
//! a router passes on is therefore seen with the MAC address of the router as its destination only.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;

use crate::capture::{Frame, Label};
pub(crate) use crate::chance::Rng;

pub(crate) const MICRO: u64 = 1_000;
pub(crate) const MILLI: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

/// A host, or whoever is reached by one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Host {
    /// For hosts of segment 0 the address of the provider's gateway, by which they are reached; all 0 where nobody is.
    pub(crate) mac: [u8; 6],
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Option<Ipv6Addr>,
    /// Which link it stands on; 0 is the uplink and all that is behind it.
    pub(crate) segment: usize,
    /// As seen at the capture.
    pub(crate) hops: u8,
    /// One way from the capture to the host, in nanoseconds.
    pub(crate) delay: u64,
}

impl Host {
    pub(crate) fn new(mac: [u8; 6], v4: Ipv4Addr, v6: Option<Ipv6Addr>, segment: usize) -> Host {
        Host { mac, v4, v6, segment, hops: 64, delay: 60 * MICRO }
    }

    pub(crate) fn delayed(self, delay: u64, hops: u8) -> Host {
        Host { delay, hops, ..self }
    }

    pub(crate) fn address(&self, six: bool) -> IpAddr {
        self.v6.filter(|_| six).map_or(IpAddr::V4(self.v4), IpAddr::V6)
    }
}

/// Who sends to whom.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) from: Host,
    pub(crate) to: Host,
    pub(crate) ports: [u16; 2],
    /// By IPv6.
    pub(crate) six: bool,
}

impl Pair {
    pub(crate) fn new(from: Host, to: Host, ports: [u16; 2]) -> Pair {
        Pair { from, to, ports, six: false }
    }

    /// By IPv6 where both have it.
    pub(crate) fn six(self, wanted: bool) -> Pair {
        Pair { six: wanted && self.from.v6.is_some() && self.to.v6.is_some(), ..self }
    }

    pub(crate) fn back(&self) -> Pair {
        Pair { from: self.to, to: self.from, ports: [self.ports[1], self.ports[0]], six: self.six }
    }

    /// There and back.
    pub(crate) fn round_trip(&self) -> u64 {
        2 * (self.from.delay + self.to.delay)
    }

    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        [self.from.address(self.six), self.to.address(self.six)]
    }
}

/// What of a segment of TCP is told.
#[derive(Clone, Copy, Default)]
pub(crate) struct Segment {
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) payload: usize,
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// Which port the labels of an event name.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Port {
    /// The lower of the two, as services have it.
    Service,
    /// The higher, where others use the service too at the time.
    Client,
    Any,
}

/// An event in the making: what it has sent between whom, and when.
struct Event {
    attack: &'static str,
    port: Port,
    seen: BTreeMap<([IpAddr; 2], &'static str, Option<u16>), Seen>,
}

struct Seen {
    ends: [IpAddr; 2],
    from: u64,
    to: u64,
}

/// Collects frames, in any order of their times.
pub(crate) struct Wire {
    pub(crate) rng: Rng,
    frames: Vec<Frame>,
    /// The router as it stands on each segment.
    routers: Vec<Host>,
    inside: HashMap<IpAddr, Host>,
    event: Option<Event>,
    events: usize,
    labels: Vec<Label>,
}

impl Wire {
    /// A router has one of `routers` on each segment, the uplink first.
    pub(crate) fn new(rng: Rng, routers: &[Host]) -> Wire {
        let (frames, routers, labels) = (Vec::new(), routers.to_vec(), Vec::new());
        Wire { rng, frames, routers, inside: HashMap::new(), event: None, events: 0, labels }
    }

    /// All that is sent from now on, but for what is sent to groups, is of one event, or `ignore`.
    pub(crate) fn open(&mut self, attack: &'static str, port: Port) {
        self.event = Some(Event { attack, port, seen: BTreeMap::new() });
    }

    /// The event is over: it gets its labels, one for each two that it was between.
    pub(crate) fn close(&mut self) {
        let Some(Event { attack, seen, .. }) = self.event.take() else { return };
        let ignored = attack == "ignore";
        self.events += usize::from(!ignored);
        let event = if ignored { attack.to_owned() } else { format!("e{:02}", self.events) };
        self.labels.extend(seen.into_iter().map(|((_, protocol, port), Seen { ends, from, to })| Label {
            start: from - MICRO,
            end: to + MICRO,
            ends: ends.map(Some),
            protocol: protocol.to_owned(),
            port,
            attack: attack.to_owned(),
            event: event.clone(),
        }));
    }

    /// Labels of all events so far.
    pub(crate) fn take_labels(&mut self) -> Vec<Label> {
        std::mem::take(&mut self.labels)
    }

    fn note(&mut self, time: u64, ends: [IpAddr; 2], protocol: &'static str, ports: Option<[u16; 2]>) {
        let Some(event) = &mut self.event else { return };
        let port = ports.and_then(|[a, b]| match event.port {
            Port::Service => Some(a.min(b)),
            Port::Client => Some(a.max(b)),
            Port::Any => None,
        });
        let key = ([ends[0].min(ends[1]), ends[0].max(ends[1])], protocol, port);
        let seen = event.seen.entry(key).or_insert(Seen { ends, from: time, to: time });
        (seen.from, seen.to) = (seen.from.min(time), seen.to.max(time));
    }

    pub(crate) fn router(&self, segment: usize) -> Host {
        self.routers[segment]
    }

    /// A port that clients take.
    pub(crate) fn port(&mut self) -> u16 {
        self.rng.between(32_768, 61_000) as u16
    }

    pub(crate) fn tcp(&mut self, time: u64, pair: &Pair, segment: Segment) {
        let mut header = [0; 40];
        header[..2].copy_from_slice(&pair.ports[0].to_be_bytes());
        header[2..4].copy_from_slice(&pair.ports[1].to_be_bytes());
        header[4..8].copy_from_slice(&segment.sequence.to_be_bytes());
        header[8..12].copy_from_slice(&segment.acknowledged.to_be_bytes());
        header[13] = segment.flags;
        header[14..16]
            .copy_from_slice(&(if segment.flags & SYN > 0 { 64_240u16 } else { 501 }).to_be_bytes());
        let stamp = ((time / MILLI) as u32).to_be_bytes();
        let echoed = if segment.flags & ACK > 0 {
            ((time.saturating_sub(pair.round_trip() / 2) / MILLI) as u32).to_be_bytes()
        } else {
            [0; 4]
        };
        let length = if segment.flags & RST > 0 {
            header[14..16].fill(0);
            20
        } else if segment.flags & SYN > 0 {
            let most = if pair.six { 1440u16 } else { 1460 }.to_be_bytes();
            header[20..28].copy_from_slice(&[2, 4, most[0], most[1], 4, 2, 8, 10]);
            header[28..32].copy_from_slice(&stamp);
            header[32..36].copy_from_slice(&echoed);
            header[36..40].copy_from_slice(&[1, 3, 3, 7]);
            40
        } else {
            header[20..24].copy_from_slice(&[1, 1, 8, 10]);
            header[24..28].copy_from_slice(&stamp);
            header[28..32].copy_from_slice(&echoed);
            32
        };
        header[12] = (length as u8 / 4) << 4;
        self.packet(time, pair, TCP, &header[..length], segment.payload);
    }

    /// A SYN as scanners and floods make it: no options.
    pub(crate) fn bare_syn(&mut self, time: u64, pair: &Pair, sequence: u32) {
        let mut header = [0; 20];
        header[..2].copy_from_slice(&pair.ports[0].to_be_bytes());
        header[2..4].copy_from_slice(&pair.ports[1].to_be_bytes());
        header[4..8].copy_from_slice(&sequence.to_be_bytes());
        header[12..16].copy_from_slice(&[5 << 4, SYN, 4, 0]);
        self.packet(time, pair, TCP, &header, 0);
    }

    pub(crate) fn udp(&mut self, time: u64, pair: &Pair, payload: usize) {
        let mut header = [0; 8];
        header[..2].copy_from_slice(&pair.ports[0].to_be_bytes());
        header[2..4].copy_from_slice(&pair.ports[1].to_be_bytes());
        header[4..6].copy_from_slice(&(payload as u16 + 8).to_be_bytes());
        self.packet(time, pair, UDP, &header, payload);
    }

    /// ICMP, or ICMPv6 where the pair speaks IPv6: type, code, the four bytes after the checksum.
    pub(crate) fn icmp(&mut self, time: u64, pair: &Pair, kind: [u8; 2], rest: u32, payload: usize) {
        let rest = rest.to_be_bytes();
        let header = [kind[0], kind[1], 0, 0, rest[0], rest[1], rest[2], rest[3]];
        self.packet(time, pair, if pair.six { ICMP6 } else { ICMP }, &header, payload);
    }

    /// `from` asks all of its link, or one, for the MAC address of `target`, or tells its own.
    pub(crate) fn arp(&mut self, time: u64, from: Host, target: ([u8; 6], Ipv4Addr), answer: bool) {
        let mut bytes = ethernet(target.0, from.mac, 0x0806);
        bytes.extend([0, 1, 8, 0, 6, 4, 0, if answer { 2 } else { 1 }]);
        bytes.extend(from.mac);
        bytes.extend(from.v4.octets());
        bytes.extend(if target.0 == BROADCAST { [0; 6] } else { target.0 });
        bytes.extend(target.1.octets());
        self.note(time, [IpAddr::V4(from.v4), IpAddr::V4(target.1)], "arp", None);
        self.frames.push(Frame { time, length: 60, bytes });
    }

    /// To a group or to all of the link; nobody answers.
    #[expect(clippy::wrong_self_convention, reason = "a group is whom it goes to, not what it becomes")]
    pub(crate) fn to_group(&mut self, time: u64, from: Host, group: IpAddr, ports: [u16; 2], payload: usize) {
        let pair = Pair { from, to: group_host(group, from.segment), ports, six: group.is_ipv6() };
        self.udp(time, &pair, payload);
    }

    /// Ethernet and IP before a transport header.
    pub(crate) fn packet(&mut self, time: u64, pair: &Pair, protocol: u8, transport: &[u8], payload: usize) {
        for host in [pair.from, pair.to] {
            if host.segment > 0
                && host.mac != [0; 6]
                && host.mac[0] & 1 == 0
                && !host.address(pair.six).is_unspecified()
            {
                self.inside.entry(host.address(pair.six)).or_insert(host);
            }
        }
        let to = if pair.from.segment == pair.to.segment {
            pair.to.mac
        } else {
            self.routers[pair.from.segment].mac
        };
        let body = (transport.len() + payload) as u16;
        let single = pair.to.mac[0] & 1 == 0;
        let hops = if single { pair.from.hops } else { 255 };
        if single {
            let name = match protocol {
                TCP => "tcp",
                UDP => "udp",
                _ => "icmp",
            };
            self.note(time, pair.addresses(), name, (name != "icmp").then_some(pair.ports));
        }
        let mut bytes = ethernet(to, pair.from.mac, if pair.six { 0x86dd } else { 0x0800 });
        match pair.addresses() {
            [IpAddr::V6(from), IpAddr::V6(to)] => {
                bytes.extend([0x60, 0, 0, 0]);
                bytes.extend(body.to_be_bytes());
                bytes.extend([protocol, hops]);
                bytes.extend(from.octets());
                bytes.extend(to.octets());
            }
            _ => {
                let [high, low] = (body + 20).to_be_bytes();
                let mut header =
                    [0x45, 0, high, low, 0, 0, 0x40, 0, hops, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                header[12..16].copy_from_slice(&pair.from.v4.octets());
                header[16..20].copy_from_slice(&pair.to.v4.octets());
                let sum: u32 = header.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
                let sum = (sum & 0xffff) + (sum >> 16);
                header[10..12].copy_from_slice(&(!(((sum & 0xffff) + (sum >> 16)) as u16)).to_be_bytes());
                bytes.extend(header);
            }
        }
        bytes.extend(transport);
        let length = (bytes.len() + payload).max(60) as u32;
        self.frames.push(Frame { time, length, bytes });
    }

    /// Takes the frames of another capture of the same network.
    pub(crate) fn join(&mut self, other: Wire) {
        self.frames.extend(other.frames);
        self.inside.extend(other.inside);
    }

    /// The frames of a time, in order, with the questions for neighbours that they need.
    pub(crate) fn finish(mut self, from: u64, to: u64) -> Vec<Frame> {
        self.frames.sort_by_key(|frame| frame.time);
        self.ask_neighbours();
        self.frames.retain(|frame| (from..to).contains(&frame.time));
        self.frames.sort_by_key(|frame| frame.time);
        self.frames
    }

    fn ask_neighbours(&mut self) {
        let mut known: HashMap<([u8; 6], IpAddr), u64> = HashMap::new();
        let mut asked = Vec::new();
        for frame in &self.frames {
            let Some(ends) = addresses(&frame.bytes) else { continue };
            let six = ends[0].is_ipv6();
            let [from, to] = ends.map(|end| self.inside.get(&end).copied());
            let to_group = frame.bytes[0] & 1 == 1;
            let router = |segment: usize| self.routers[segment];
            let mut hop = |asks: Host, wanted: Host| {
                let until = known.entry((asks.mac, wanted.address(six))).or_insert(0);
                if frame.time >= *until {
                    asked.push((frame.time, asks, wanted, six, *until > 0));
                    // Answers that keep coming confirm a neighbour, so it is asked for less often than it goes stale.
                    *until = frame.time + self.rng.between(60 * SECOND, 600 * SECOND);
                }
            };
            match (from, to) {
                _ if to_group => {}
                (Some(from), Some(to)) if from.segment == to.segment => hop(from, to),
                (from, to) => {
                    if let Some(from) = from {
                        hop(from, router(from.segment));
                    }
                    if let Some(to) = to {
                        hop(router(to.segment), to);
                    }
                }
            }
        }
        for (time, asks, wanted, six, again) in asked {
            let single = again && self.rng.chance(0.7);
            let before = self.rng.between(150 * MICRO, 600 * MICRO);
            self.neighbour(time.saturating_sub(before), asks, wanted, six, single);
        }
    }

    /// Question and answer by ARP or neighbour discovery, the question to all or to the one who is known.
    pub(crate) fn neighbour(&mut self, time: u64, asks: Host, wanted: Host, six: bool, single: bool) {
        let answered = time + self.rng.between(40 * MICRO, 150 * MICRO);
        if let (true, Some(target)) = (six, wanted.v6) {
            self.solicit(time, asks, target, single.then_some(wanted));
            let back = Pair { from: Host { hops: 255, ..wanted }, to: asks, ports: [0; 2], six: true };
            self.icmp(answered, &back, [136, 0], 0x6000_0000, 24);
        } else {
            self.arp(time, asks, (if single { wanted.mac } else { BROADCAST }, wanted.v4), false);
            self.arp(answered, wanted, (asks.mac, asks.v4), true);
        }
    }

    /// A question of neighbour discovery, to the one who is known or to its group.
    pub(crate) fn solicit(&mut self, time: u64, asks: Host, target: Ipv6Addr, known: Option<Host>) {
        let group = |of: Ipv6Addr| {
            let last = of.octets();
            Ipv6Addr::new(
                0xff02,
                0,
                0,
                0,
                0,
                1,
                0xff00 | u16::from(last[13]),
                u16::from_be_bytes([last[14], last[15]]),
            )
        };
        let to = known.unwrap_or_else(|| group_host(IpAddr::V6(group(target)), asks.segment));
        let pair = Pair { from: Host { hops: 255, ..asks }, to, ports: [0; 2], six: true };
        self.icmp(time, &pair, [135, 0], 0, 24);
    }
}

/// A group, or all, as whom frames are sent to.
pub(crate) fn group_host(group: IpAddr, segment: usize) -> Host {
    let (mac, v4, v6) = match group {
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            ([1, 0, 0x5e, b & 0x7f, c, d], v4, None)
        }
        IpAddr::V4(v4) => (BROADCAST, v4, None),
        IpAddr::V6(v6) => {
            let last = v6.octets();
            ([0x33, 0x33, last[12], last[13], last[14], last[15]], Ipv4Addr::UNSPECIFIED, Some(v6))
        }
    };
    Host::new(mac, v4, v6, segment)
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(86);
    bytes.extend(to);
    bytes.extend(from);
    bytes.extend(kind.to_be_bytes());
    bytes
}

fn addresses(bytes: &[u8]) -> Option<[IpAddr; 2]> {
    let four =
        |at: usize| Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?)));
    let six =
        |at: usize| Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?)));
    match bytes.get(12..14)? {
        [8, 0] => Some([four(26)?, four(30)?]),
        [0x86, 0xdd] => Some([six(22)?, six(38)?]),
        _ => None,
    }
}
