//! A second witness of flow rows: the contract of columns as a plain loop over sorted packets.
//!
//! Written from the contract alone, slow and without cleverness: packets are dealt to flows, then each
//! window of each flow is computed from the list of its packets. Only `flow_id` is asked of the crate.

pub(crate) mod zeek;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use netweir::packet::{FlowKey, NO_VLAN, flow_id};

use crate::support::SECOND;
use crate::support::datagram::{ACK, Body, CWR, Datagram, ECE, FIN, PSH, RST, SYN, URG};
use crate::support::table::Cell;
use zeek::{Connection, Seen};

/// Packets belong to a closed flow for this long.
const LINGER: u64 = 5 * SECOND;
/// The ends of a key are remembered for this long.
const REMEMBERED: u64 = 600 * SECOND;

/// What rows are cut by, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cuts {
    pub(crate) window: u64,
    pub(crate) idle: u64,
}

/// VLAN, protocol and both ends, the smaller one first.
type Key = (Option<u16>, u8, (IpAddr, u16), (IpAddr, u16));

fn ends(datagram: &Datagram) -> ((IpAddr, u16), (IpAddr, u16)) {
    let ports = datagram.ports();
    ((datagram.src.ip(), ports.0), (datagram.dst.ip(), ports.1))
}

fn key(datagram: &Datagram) -> Key {
    let (src, dst) = ends(datagram);
    // A priority tag, id 0, names no VLAN.
    let vlan = datagram.vlan.filter(|id| *id != 0);
    (vlan, datagram.protocol(), src.min(dst), src.max(dst))
}

/// One packet of a flow.
#[derive(Clone, Copy, Debug)]
struct Packet {
    forward: bool,
    datagram: Datagram,
}

impl Packet {
    /// Flags, sequence, acknowledgement and window of a TCP segment.
    fn segment(&self) -> Option<(u8, u32, u32, u16)> {
        match self.datagram.body {
            Body::Tcp { flags, sequence, acknowledgement, window, .. } => {
                Some((flags, sequence, acknowledgement, window))
            }
            _ => None,
        }
    }
}

/// A flow and all its packets.
struct Flow {
    key: Key,
    initiator: (IpAddr, u16),
    responder: (IpAddr, u16),
    id: u64,
    packets: Vec<Packet>,
    /// When both FINs were acknowledged, or the first RST was seen.
    closed: Option<u64>,
    /// Where each side's FIN ends, and whether the other side has acknowledged it: forward, backward.
    fins: [(Option<u32>, bool); 2],
    /// The initiator is a guess: unless it says something in the first row, the other end began.
    guessed: bool,
}

impl Flow {
    /// Makes the responder the initiator where that is so.
    fn settle(&mut self, cuts: Cuts) {
        let window = |packet: &Packet| packet.datagram.time / cuts.window;
        let first = window(&self.packets[0]);
        let silent =
            self.packets.iter().take_while(|packet| window(packet) == first).all(|packet| !packet.forward);
        if std::mem::take(&mut self.guessed) && silent {
            std::mem::swap(&mut self.initiator, &mut self.responder);
            self.packets.iter_mut().for_each(|packet| packet.forward = !packet.forward);
        }
    }

    fn last(&self) -> u64 {
        self.packets.last().expect("a flow has a packet").datagram.time
    }

    /// Whether a packet still belongs to the flow.
    fn takes(&self, datagram: &Datagram, idle: u64) -> bool {
        let lingers =
            self.closed.is_none_or(|closed| datagram.time <= closed + LINGER && !self.ends_with(datagram));
        lingers && datagram.time - self.last() <= idle
    }

    /// Whether a packet behind the close is of another connection: a SYN, unless it is the one that was refused, and then what
    /// answers it.
    fn ends_with(&self, datagram: &Datagram) -> bool {
        let Body::Tcp { flags, sequence, .. } = datagram.body else { return false };
        match (flags & SYN != 0, flags & ACK != 0) {
            (true, false) => !(self.is_forward(datagram) && self.refused() == Some(sequence)),
            (true, true) => self.refused().is_some(),
            (false, _) => false,
        }
    }

    /// The number of the SYN that is all that the initiator came to, since it was refused.
    fn refused(&self) -> Option<u32> {
        if !connection(&self.packets).was_refused() {
            return None;
        }
        let mut last: Option<u32> = None;
        for packet in self.packets.iter().filter(|packet| packet.forward) {
            let (flags, sequence, ..) = packet.segment()?;
            let end = sequence.wrapping_add(u32::from(flags & SYN != 0));
            if last.is_none_or(|last| end.wrapping_sub(last) as i32 > 0) {
                last = Some(end);
            }
        }
        Some(last?.wrapping_sub(1))
    }

    /// Which way a packet goes. Where both ends are one, all packets go the way of the first.
    fn is_forward(&self, datagram: &Datagram) -> bool {
        match self.packets.first() {
            Some(first) if self.initiator == self.responder => first.forward,
            None if self.initiator == self.responder => !reply(datagram),
            _ => ends(datagram).0 == self.initiator,
        }
    }

    fn add(&mut self, datagram: Datagram) {
        let packet = Packet { forward: self.is_forward(&datagram), datagram };
        self.packets.push(packet);
        let Some((flags, sequence, acknowledgement, _)) = packet.segment() else { return };
        let (own, peer) = if packet.forward { (0, 1) } else { (1, 0) };
        if flags & FIN != 0 {
            let syn = u32::from(flags & SYN != 0);
            self.fins[own].0 = Some(sequence.wrapping_add(datagram.payload).wrapping_add(syn + 1));
        }
        if flags & ACK != 0
            && let (Some(end), acknowledged) = &mut self.fins[peer]
        {
            *acknowledged |= acknowledgement.wrapping_sub(*end) as i32 >= 0;
        }
        if flags & RST != 0 || self.fins.iter().all(|(_, acknowledged)| *acknowledged) {
            self.closed.get_or_insert(datagram.time);
        }
    }
}

/// Whether a packet answers: a SYN-ACK, or an ICMP reply (echo, timestamp, information, address mask).
fn reply(datagram: &Datagram) -> bool {
    match datagram.body {
        Body::Tcp { flags, .. } => flags & (SYN | ACK) == SYN | ACK,
        Body::Icmp { kind, .. } if datagram.is_v6() => kind == 129,
        Body::Icmp { kind, .. } => [0, 14, 16, 18].contains(&kind),
        _ => false,
    }
}

/// Who began the conversation of a flow that begins with `datagram`, and whether that is a guess against its sender;
/// `previous` is the key's flow before.
fn initiator(datagram: &Datagram, previous: Option<&Flow>) -> ((IpAddr, u16), bool) {
    let (src, dst) = ends(datagram);
    if reply(datagram) {
        return (dst, false);
    }
    if matches!(datagram.body, Body::Icmp { .. })
        || matches!(datagram.body, Body::Tcp { flags, .. } if flags & SYN != 0)
    {
        return (src, false);
    }
    if let Some(previous) = previous
        && datagram.time - previous.last() < REMEMBERED
    {
        return (previous.initiator, false);
    }
    match [src, dst].map(|end| has_name(end.1) && ![68, 546].contains(&end.1)) {
        [true, false] => return (dst, false),
        [false, true] => return (src, false),
        _ => {}
    }
    for limit in [1024, 32_768] {
        if (src.1 < limit) != (dst.1 < limit) {
            let by_port = if src.1 >= limit { src } else { dst };
            let is_tcp = matches!(datagram.body, Body::Tcp { .. });
            return (by_port, by_port == dst && !is_tcp);
        }
    }
    (src, false)
}

/// Whether a port of those that occur here is a known service's.
fn has_name(port: u16) -> bool {
    ![port.to_string(), "high".to_owned()].contains(&service(port, None))
}

/// A row and the packets that it was made of.
pub(crate) struct Row {
    pub(crate) cells: Vec<(&'static str, Cell)>,
    /// All packets of the flow up to the end of the row, and how many of them lie before the row.
    pub(crate) packets: Vec<Datagram>,
    pub(crate) before: usize,
}

/// All rows, sorted as a file has them.
pub(crate) fn rows(inputs: &[Vec<Datagram>], cuts: Cuts) -> Vec<Row> {
    let mut order: Vec<(u64, usize, usize)> = Vec::new();
    for (input, datagrams) in inputs.iter().enumerate() {
        order.extend(datagrams.iter().enumerate().map(|(record, d)| (d.time, input, record)));
    }
    order.sort_unstable();
    let mut flows: BTreeMap<Key, Vec<Flow>> = BTreeMap::new();
    for (_, input, record) in order {
        let datagram = inputs[input][record];
        let of_key = flows.entry(key(&datagram)).or_default();
        if let Some(flow) = of_key.last_mut()
            && flow.takes(&datagram, cuts.idle)
        {
            flow.add(datagram);
            continue;
        }
        if let Some(flow) = of_key.last_mut() {
            flow.settle(cuts);
        }
        let (initiator, guessed) = initiator(&datagram, of_key.last());
        let (src, dst) = ends(&datagram);
        let responder = if initiator == src { dst } else { src };
        let ordinal = of_key.iter().filter(|f| f.packets[0].datagram.time == datagram.time).count();
        let id = flow_id(&crate_key(&datagram), datagram.time, ordinal as u32);
        let key = key(&datagram);
        let fins = [(None, false); 2];
        let mut flow =
            Flow { key, initiator, responder, id, packets: Vec::new(), closed: None, fins, guessed };
        flow.add(datagram);
        of_key.push(flow);
    }
    flows.values_mut().flatten().for_each(|flow| flow.settle(cuts));
    let newest = inputs.iter().flatten().map(|d| d.time).max().unwrap_or(0);
    let mut rows: Vec<Row> = flows.values().flatten().flat_map(|flow| rows_of(flow, newest, cuts)).collect();
    rows.sort_by_key(|row| (row.cells[0].1.number(), row.cells[1].1.number()));
    rows
}

fn crate_key(datagram: &Datagram) -> FlowKey {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    };
    let (src, dst) = ends(datagram);
    let version = if datagram.is_v6() { 6 } else { 4 };
    let vlan = key(datagram).0.unwrap_or(NO_VLAN);
    FlowKey::ordered((bytes(src.0), src.1), (bytes(dst.0), dst.1), datagram.protocol(), version, vlan).0
}

/// The windows of one flow.
fn rows_of(flow: &Flow, newest: u64, cuts: Cuts) -> Vec<Row> {
    let mut windows: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for (at, packet) in flow.packets.iter().enumerate() {
        let start = packet.datagram.time / cuts.window * cuts.window;
        windows.entry(start).or_insert((at, at)).1 = at + 1;
    }
    let rows = windows.iter().enumerate().map(|(index, (start, (from, until)))| Row {
        cells: cells(flow, index, *start, *from, *until, newest, cuts),
        packets: flow.packets[..*until].iter().map(|packet| packet.datagram).collect(),
        before: *from,
    });
    rows.collect()
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn cells(
    flow: &Flow,
    index: usize,
    start: u64,
    from: usize,
    until: usize,
    newest: u64,
    cuts: Cuts,
) -> Vec<(&'static str, Cell)> {
    let (so_far, row) = (&flow.packets[..until], &flow.packets[from..until]);
    let first = flow.packets[0];
    let (row_start, row_end) = (row[0].datagram.time, row[row.len() - 1].datagram.time);
    let protocol = flow.key.1;
    let tcp = protocol == 6;
    let icmp = match first.datagram.body {
        Body::Icmp { kind, code } => Some((kind, code)),
        _ => None,
    };
    let bytes = |packets: &[Packet]| packets.iter().map(|p| u64::from(p.datagram.length())).sum::<u64>();
    let days = row_start / (86_400 * SECOND);

    let mut cells: Vec<(&'static str, Cell)> = vec![
        ("window_start", Cell::whole(start)),
        ("flow_id", Cell::whole(flow.id)),
        ("flow_start", Cell::whole(first.datagram.time)),
        ("row_start", Cell::whole(row_start)),
        ("row_end", Cell::whole(row_end)),
        ("src_ip", Cell::text(flow.initiator.0.to_string())),
        ("dst_ip", Cell::text(flow.responder.0.to_string())),
        ("src_port", Cell::whole(flow.initiator.1)),
        ("dst_port", Cell::whole(flow.responder.1)),
        ("protocol", Cell::whole(protocol)),
        ("protocol_name", Cell::text(protocol_name(protocol))),
        ("service", Cell::text(service(flow.responder.1, icmp))),
        ("ip_version", Cell::whole(if first.datagram.is_v6() { 6u8 } else { 4 })),
        ("vlan", Cell::of(flow.key.0, Cell::whole)),
        ("icmp_type", Cell::of(icmp, |(kind, _)| Cell::whole(kind))),
        ("icmp_code", Cell::of(icmp, |(_, code)| Cell::whole(code))),
        ("hour_of_day", Cell::whole(row_start / (3600 * SECOND) % 24)),
        ("minute_of_hour", Cell::whole(row_start / (60 * SECOND) % 60)),
        // The first of January 1970 was a Thursday.
        ("day_of_week", Cell::whole((days + 3) % 7)),
        ("row_index", Cell::whole(index as u64)),
        ("end_reason", Cell::whole(end_reason(flow, start, row_end, newest, cuts))),
        ("conn_state", Cell::of(tcp.then(|| conn_state(so_far)), Cell::text)),
        ("duration_s", Cell::double(seconds(row_end - row_start))),
        ("flow_duration_s", Cell::double(seconds(row_end - first.datagram.time))),
        ("flow_packets", Cell::whole(so_far.len() as u64)),
        ("flow_bytes", Cell::whole(bytes(so_far))),
    ];

    let of = |forward: bool| row.iter().filter(|p| p.forward == forward).copied().collect::<Vec<Packet>>();
    let (both, sides) = (row.to_vec(), [of(true), of(false)]);
    cells.push(("bidir_packets", Cell::whole(both.len() as u64)));
    cells.push(("fwd_packets", Cell::whole(sides[0].len() as u64)));
    cells.push(("bwd_packets", Cell::whole(sides[1].len() as u64)));
    cells.push(("bidir_bytes", Cell::whole(bytes(&both))));
    cells.push(("fwd_bytes", Cell::whole(bytes(&sides[0]))));
    cells.push(("bwd_bytes", Cell::whole(bytes(&sides[1]))));
    for (name, side) in ["fwd_payload_bytes", "bwd_payload_bytes"].into_iter().zip(&sides) {
        cells.push((name, Cell::whole(side.iter().map(|p| u64::from(p.datagram.payload)).sum::<u64>())));
    }

    let lengths = |side: &[Packet]| side.iter().map(|p| u64::from(p.datagram.length())).collect::<Vec<_>>();
    let sizes = sides.each_ref().map(|side| Statistics::of(&lengths(side)));
    let size = |value: u64| Cell::whole(value.min(65_535));
    cells.push(("fwd_len_min", Cell::of(sizes[0].map(|s| s.min), size)));
    cells.push(("fwd_len_max", Cell::of(sizes[0].map(|s| s.max), size)));
    cells.push(("bwd_len_min", Cell::of(sizes[1].map(|s| s.min), size)));
    cells.push(("bwd_len_max", Cell::of(sizes[1].map(|s| s.max), size)));
    cells.push(("fwd_len_mean", Cell::of(sizes[0].map(|s| s.mean(1.0)), Cell::single)));
    cells.push(("fwd_len_std", Cell::of(sizes[0].map(|s| s.deviation(1.0)), Cell::single)));
    cells.push(("bwd_len_mean", Cell::of(sizes[1].map(|s| s.mean(1.0)), Cell::single)));
    cells.push(("bwd_len_std", Cell::of(sizes[1].map(|s| s.deviation(1.0)), Cell::single)));

    let gap_names = [
        ["bidir_gap_min_s", "bidir_gap_mean_s", "bidir_gap_std_s", "bidir_gap_max_s"],
        ["fwd_gap_min_s", "fwd_gap_mean_s", "fwd_gap_std_s", "fwd_gap_max_s"],
        ["bwd_gap_min_s", "bwd_gap_mean_s", "bwd_gap_std_s", "bwd_gap_max_s"],
    ];
    for (names, packets) in gap_names.into_iter().zip([&both, &sides[0], &sides[1]]) {
        let gaps: Vec<u64> = packets.windows(2).map(|p| p[1].datagram.time - p[0].datagram.time).collect();
        let gaps = Statistics::of(&gaps);
        cells.push((names[0], Cell::of(gaps.map(|g| seconds(g.min) as f32), Cell::single)));
        cells.push((names[1], Cell::of(gaps.map(|g| g.mean(1e9)), Cell::single)));
        cells.push((names[2], Cell::of(gaps.map(|g| g.deviation(1e9)), Cell::single)));
        cells.push((names[3], Cell::of(gaps.map(|g| seconds(g.max) as f32), Cell::single)));
    }

    let flag_names = [
        ["fwd_syn", "fwd_ack", "fwd_fin", "fwd_rst", "fwd_psh", "fwd_urg", "fwd_ece", "fwd_cwr"],
        ["bwd_syn", "bwd_ack", "bwd_fin", "bwd_rst", "bwd_psh", "bwd_urg", "bwd_ece", "bwd_cwr"],
    ];
    for (names, side) in flag_names.into_iter().zip(&sides) {
        for (name, flag) in names.into_iter().zip([SYN, ACK, FIN, RST, PSH, URG, ECE, CWR]) {
            let count = side.iter().filter(|p| p.segment().is_some_and(|s| s.0 & flag != 0)).count();
            cells.push((name, Cell::of(tcp.then_some(count as u64), Cell::whole)));
        }
    }

    for (name, forward) in [("fwd_window_first", true), ("bwd_window_first", false)] {
        let first = so_far.iter().find(|p| p.forward == forward).and_then(Packet::segment);
        cells.push((name, Cell::of(first, |segment| Cell::whole(segment.3))));
    }
    for (name, forward) in [("fwd_retransmits", true), ("bwd_retransmits", false)] {
        let count = retransmits(so_far, from, forward);
        cells.push((name, Cell::of(tcp.then_some(count), Cell::whole)));
    }
    let rtt = handshakes(so_far).into_iter().rfind(|(at, _)| *at >= from);
    let rtt = rtt.map(|(_, rtt)| seconds(rtt) as f32);
    cells.push(("handshake_rtt_s", Cell::of(rtt, Cell::single)));
    for (name, side) in ["fwd_ttl_min", "bwd_ttl_min"].into_iter().zip(&sides) {
        cells.push((name, Cell::of(side.iter().map(|p| p.datagram.ttl).min(), Cell::whole)));
    }
    let fragments = row.iter().filter(|p| p.datagram.is_later_fragment()).count();
    cells.push(("fragments", Cell::whole(fragments as u64)));
    let first_lengths = row.iter().take(8).map(|p| {
        let length = p.datagram.payload.min(i16::MAX as u32) as i16;
        if p.forward { length } else { -length }
    });
    cells.push(("first_lengths", if index == 0 { Cell::List(first_lengths.collect()) } else { Cell::Null }));
    cells
}

/// IPFIX's reasons: 1 idle, 2 the window ended, 3 the flow's end was seen, 4 the input ended.
fn end_reason(flow: &Flow, start: u64, row_end: u64, newest: u64, cuts: Cuts) -> u64 {
    let window_end = start + cuts.window;
    if flow.closed.is_some_and(|closed| closed <= row_end) {
        return 3;
    }
    let last_window = newest < window_end;
    let known = if last_window { newest } else { window_end };
    if flow.last() == row_end && row_end + cuts.idle < known {
        return 1;
    }
    if last_window { 4 } else { 2 }
}

fn conn_state(packets: &[Packet]) -> &'static str {
    connection(packets).letters()
}

fn connection(packets: &[Packet]) -> Connection {
    let mut connection = Connection::default();
    for packet in packets {
        if let Some((flags, sequence, acknowledgement, _)) = packet.segment() {
            let (by_originator, payload) = (packet.forward, packet.datagram.payload);
            connection.see(Seen { by_originator, flags, sequence, acknowledgement, payload });
        }
    }
    connection
}

/// Segments with payload of one side, from a position on, that start below the highest number seen.
fn retransmits(packets: &[Packet], from: usize, forward: bool) -> u64 {
    let (mut highest, mut count) = (None, 0);
    for (at, packet) in packets.iter().enumerate().filter(|(_, p)| p.forward == forward) {
        let Some((flags, sequence, ..)) = packet.segment() else { continue };
        let below = highest.is_some_and(|highest| (sequence.wrapping_sub(highest) as i32) < 0);
        if packet.datagram.payload > 0 && below && at >= from {
            count += 1;
        }
        let flags = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let end = sequence.wrapping_add(packet.datagram.payload).wrapping_add(flags);
        if highest.is_none_or(|highest| end.wrapping_sub(highest) as i32 > 0) {
            highest = Some(end);
        }
    }
    count
}

/// The packets that complete a handshake, and how long after the latest SYN. Resets take no part.
fn handshakes(packets: &[Packet]) -> Vec<(usize, u64)> {
    let (mut syn, mut answer, mut complete) = (None, None, Vec::new());
    for (at, packet) in packets.iter().enumerate() {
        let Some((flags, sequence, acknowledgement, _)) = packet.segment() else { continue };
        if flags & RST != 0 {
            continue;
        }
        match (packet.forward, flags & SYN != 0, flags & ACK != 0) {
            (true, true, false) => (syn, answer) = (Some(packet.datagram.time), None),
            (false, true, true) if syn.is_some() => {
                let fin = u32::from(flags & FIN != 0);
                answer = Some(sequence.wrapping_add(packet.datagram.payload).wrapping_add(1 + fin));
            }
            (true, _, true) if answer == Some(acknowledgement) => {
                complete.push((at, packet.datagram.time - syn.expect("answered")));
                (syn, answer) = (None, None);
            }
            _ => {}
        }
    }
    complete
}

/// Exact sums of whole numbers.
#[derive(Clone, Copy)]
struct Statistics {
    count: u128,
    sum: u128,
    squares: u128,
    min: u64,
    max: u64,
}

impl Statistics {
    fn of(values: &[u64]) -> Option<Statistics> {
        Some(Statistics {
            count: values.len() as u128,
            sum: values.iter().map(|v| u128::from(*v)).sum(),
            squares: values.iter().map(|v| u128::from(*v) * u128::from(*v)).sum(),
            min: *values.iter().min()?,
            max: *values.iter().max()?,
        })
    }

    fn mean(&self, unit: f64) -> f32 {
        (self.sum as f64 / self.count as f64 / unit) as f32
    }

    /// Of the population: `sqrt(n * sum(x^2) - sum(x)^2) / n`.
    fn deviation(&self, unit: f64) -> f32 {
        let scaled = self.count * self.squares - self.sum * self.sum;
        ((scaled as f64).sqrt() / self.count as f64 / unit) as f32
    }
}

fn protocol_name(protocol: u8) -> String {
    let name = match protocol {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        47 => "gre",
        50 => "esp",
        89 => "ospf",
        58 => "icmp6",
        132 => "sctp",
        other => return other.to_string(),
    };
    name.to_owned()
}

fn service(port: u16, icmp: Option<(u8, u8)>) -> String {
    if let Some((kind, _)) = icmp {
        return format!("icmp-{kind}");
    }
    let name = match port {
        22 => "ssh",
        25 => "smtp",
        53 => "dns",
        80 => "http",
        123 => "ntp",
        443 => "https",
        34_964 => "profinet",
        44_818 => "ethernet-ip",
        47_808 => "bacnet",
        51_820 => "wireguard",
        32_768.. => "high",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// The end of a datagram as text, for messages.
pub(crate) fn shown(datagram: &Datagram, since: u64) -> String {
    let end = |end: SocketAddr, port: u16| SocketAddr::new(end.ip(), port).to_string();
    let ports = datagram.ports();
    format!(
        "{:>16.9} s  {} > {}  {:?} payload {} ttl {} vlan {:?}",
        (datagram.time as i128 - i128::from(since)) as f64 / 1e9,
        end(datagram.src, ports.0),
        end(datagram.dst, ports.1),
        datagram.body,
        datagram.payload,
        datagram.ttl,
        datagram.vlan,
    )
}
