//! The table by itself: windows, time-outs, room, who began.

use std::collections::BTreeMap;
use std::time::Duration;

use bytemuck::Zeroable;
use proptest::prelude::*;

use super::initiator::{Began, began};
use super::rows::Finished;
use super::state::Head;
use super::table::{MOST_PACKETS, Table, end_reason};
use super::tcp::{ACK, FIN, RST, SYN};
use super::{Cut, FlowSpec};
use crate::packet::{BACKWARD, Packet, SHARDS, owner};

const S: u64 = 1_000_000_000;

fn packet(time: u64, port: u16) -> Packet {
    let mut packet = Packet { time, length: 100, headers: 40, ..Zeroable::zeroed() };
    packet.key.protocol = 17;
    packet.key.port_a = port;
    packet.key.port_b = 53;
    packet
}

/// Plays packets; calls `each` with a packet and its flow, `given` with every row.
fn play(
    table: &mut Table,
    packets: &[Packet],
    mut each: impl FnMut(&Packet, &Head),
    mut given: impl FnMut(&Finished),
) {
    let mut rest = packets;
    let newest = packets.last().map(|p| p.time);
    loop {
        if let Some(next) = rest.first()
            && table.opens(next.time)
        {
            rest = &rest[table.packets(rest, &mut each)..];
            continue;
        }
        if table.window_end().is_none() {
            return;
        }
        let ended = newest.filter(|_| rest.is_empty());
        let listed = table.close(ended);
        table.fetch_rows(&listed);
        listed.iter().for_each(|at| given(&table.row(*at, ended)));
        table.given(&listed);
        table.advance(listed);
    }
}

/// Plays packets and gives (window start in s, port, packets, reason, row index) of every row.
fn rows(spec: &FlowSpec, packets: &[Packet]) -> Vec<(u64, u16, u64, u8, u32)> {
    let mut found = Vec::new();
    play(
        &mut Table::new(spec),
        packets,
        |_, _| {},
        |f| {
            found.push((
                f.window / S,
                f.head.key.port_a,
                f.held.packets_and_bytes().0,
                f.reason,
                f.head.row_index,
            ));
        },
    );
    found.sort_by_key(|row| (row.0, row.1));
    found
}

#[test]
fn a_flow_gives_one_row_for_each_window_with_a_packet() {
    let times = [1, 2, 11, 45, 46];
    let packets: Vec<Packet> = times.iter().map(|t| packet(t * S, 7)).collect();
    let expected = [
        (0, 7, 2, end_reason::WINDOW, 0),
        (10, 7, 1, end_reason::WINDOW, 1),
        (40, 7, 2, end_reason::FORCED, 2),
    ];
    assert_eq!(rows(&FlowSpec::default(), &packets), expected);
}

#[test]
fn idle_timeout_ends_flow_after_its_last_packet() {
    let spec = FlowSpec { idle: Duration::from_secs(3), ..FlowSpec::default() };
    let packets: Vec<Packet> = [1, 4, 8, 15].iter().map(|t| packet(t * S, 7)).collect();
    let expected =
        [(0, 7, 1, end_reason::WINDOW, 0), (0, 7, 2, end_reason::IDLE, 0), (10, 7, 1, end_reason::FORCED, 0)];
    assert_eq!(rows(&spec, &packets), expected, "3 s are not more than idle, 4 s are");
}

#[test]
fn rows_by_flow_end_in_their_own_time() {
    let spec = FlowSpec { rows: Cut::Flow, ..FlowSpec::default() };
    let packets = [packet(S, 7), packet(12 * S, 7), packet(13 * S, 8), packet(200 * S, 8)];
    let expected = [
        (70, 7, 2, end_reason::IDLE, 0),
        (70, 8, 1, end_reason::IDLE, 0),
        (200, 8, 1, end_reason::FORCED, 0),
    ];
    assert_eq!(rows(&spec, &packets), expected);
    let long: Vec<Packet> = (0..400).map(|i| packet(i * 10 * S, 9)).collect();
    let found = rows(&spec, &long);
    assert_eq!(found.iter().map(|row| row.2).sum::<u64>(), 400);
    assert_eq!(found[0], (1790, 9, 180, end_reason::WINDOW, 0), "active time-out, the flow goes on");
    assert_eq!(found[1].4, 1);
}

#[test]
fn a_row_by_flow_ends_before_its_counters_are_full() {
    let spec = FlowSpec { rows: Cut::Flow, ..FlowSpec::default() };
    let reasons = |packets_before: u32| {
        let mut table = Table::new(&spec);
        let some: Vec<Packet> = (0..100).map(|i| packet(S + i, 7)).collect();
        assert!(table.opens(S));
        assert_eq!(table.packets(&some, |_, _| {}), some.len());
        let span = table.spans.get_mut().iter_mut().find(|span| span.packets() == 100).unwrap();
        span.sides[0].packets += packets_before;
        let listed = table.close(None);
        listed.iter().map(|at| table.row(*at, None).reason).collect::<Vec<_>>()
    };
    assert!(reasons((MOST_PACKETS - 101) as u32).is_empty(), "the flow goes on, and so does its row");
    assert_eq!(reasons((MOST_PACKETS - 100) as u32), [end_reason::WINDOW]);
}

#[test]
fn room_is_shared_out_by_shards_and_what_leaves_is_counted() {
    let spec = FlowSpec { max_flows: 1024, ..FlowSpec::default() };
    let mut table = Table::new(&spec);
    let many: Vec<Packet> = (0..20_000).map(|i| packet(S + i, (i % 60_000) as u16)).collect();
    assert!(table.opens(S));
    assert_eq!(table.packets(&many, |_, _| {}), many.len());
    assert!(table.members.iter().all(|shard| shard.len() <= 4));
    assert_eq!(table.counts.flows, 20_000);
    let listed = table.close(None);
    assert_eq!(listed.len(), 20_000, "what was shed has its row as well");
    let shed = listed.iter().filter(|at| table.row(**at, None).reason == end_reason::RESOURCES).count();
    assert_eq!(shed as u64, table.counts.shed);
    assert!(shed >= 20_000 - 1024);
}

#[test]
fn flows_that_are_shed_and_come_back_at_the_same_time_have_names_of_their_own() {
    let spec = FlowSpec { max_flows: 1024, ..FlowSpec::default() };
    let at = |time: u64| (0..3).flat_map(move |_| (0..6000).map(move |port| packet(time, port)));
    let packets: Vec<Packet> = at(S).chain(at(S + 1)).collect();
    let (mut names, mut rows) = (std::collections::BTreeSet::new(), 0);
    play(
        &mut Table::new(&spec),
        &packets,
        |_, _| {},
        |row| {
            rows += 1;
            names.insert(row.flow_id);
        },
    );
    assert!(rows > 30_000, "{rows}");
    assert_eq!(names.len(), rows);
}

#[test]
fn workers_have_room_for_their_own_shards_and_shed_what_one_would() {
    let spec = FlowSpec { max_flows: 1024, ..FlowSpec::default() };
    let many: Vec<Packet> = (0..20_000).map(|i| packet(S + i, (i % 60_000) as u16)).collect();
    let told = |worker: usize, peers: usize| {
        let mut table = Table::of_worker(&spec, worker, peers);
        let own: Vec<Packet> =
            many.iter().filter(|packet| owner(packet.key.route(), peers) == worker).copied().collect();
        assert!(table.opens(S));
        assert_eq!(table.packets(&own, |_, _| {}), own.len());
        let rows = table.close(None).iter().map(|at| at.flow_id).collect::<Vec<u64>>();
        (table.heads.get().len(), table.counts.shed, rows)
    };
    let whole = told(0, 1);
    assert_eq!(whole.0, 1024);
    for peers in [2, 3, 16, SHARDS + 1] {
        let mut all = (0, 0, Vec::new());
        for (heads, shed, rows) in (0..peers).map(|worker| told(worker, peers)) {
            all.0 += heads;
            all.1 += shed;
            all.2.extend(rows);
        }
        assert_eq!(all, whole, "{peers} workers");
    }
}

/// A flow as a plain loop has it.
struct Plain {
    last: u64,
    closed: Option<u64>,
    initiator_is_b: bool,
    /// The window of its first row, where the initiator is a guess and said nothing yet.
    guessed_in: Option<u64>,
}

impl Plain {
    /// Who began once a row is given that ends before `window`, or with what comes now.
    fn settle(&mut self, window: u64, ends: bool) {
        if self.guessed_in.is_some_and(|first| ends || first < window) {
            self.guessed_in = None;
            self.initiator_is_b = !self.initiator_is_b;
        }
    }
}

proptest! {
    #[test]
    fn who_began_is_remembered_for_ten_minutes_and_no_longer(
        steps in prop::collection::vec((0..9usize, 0..10usize, any::<bool>(), 0..6usize), 1..120),
        idle in 1..700u64,
        window in prop_oneof![Just(1), Just(10), Just(60)],
    ) {
        const KEYS: [(u8, u16, u16); 9] = [
            (17, 5000, 6000), (17, 40_000, 33_000), (17, 53, 5353), (17, 5004, 40_000), (6, 80, 50_000),
            (6, 50_000, 50_001), (6, 2000, 40_000), (1, 0, 0), (58, 0, 0),
        ];
        const GAPS: [u64; 10] = [0, 1, 2 * S, 5 * S, 5 * S + 1, 61 * S, 300 * S, 600 * S - 1, 600 * S, 601 * S];
        let flags = [ACK, ACK, SYN, SYN | ACK, RST, FIN | ACK];
        let mut time = S;
        let packets: Vec<Packet> = steps.into_iter().map(|(key, gap, backward, flag)| {
            time += GAPS[gap];
            let mut packet = packet(time, 0);
            (packet.key.protocol, packet.key.port_a, packet.key.port_b) = KEYS[key];
            packet.key.version = 4;
            packet.flags = if packet.key.protocol == 6 { flags[flag] } else { 0 };
            packet.bits = if backward { BACKWARD } else { 0 };
            packet
        }).collect();
        let spec = FlowSpec {
            idle: Duration::from_secs(idle),
            window: Duration::from_secs(window),
            ..FlowSpec::default()
        };
        let mut flows: BTreeMap<[u64; 5], Plain> = BTreeMap::new();
        let mut differs = None;
        let mut count = 0;
        let check = |p: &Packet, head: &Head| {
            count += 1;
            let begins = p.flags & (SYN | ACK) == SYN;
            let (key, now) = (bytemuck::cast(p.key), p.time / (window * S));
            let mut old = flows.remove(&key);
            let goes_on = old.as_ref().is_some_and(|old| {
                p.time - old.last <= idle * S
                    && old.closed.is_none_or(|closed| p.time - closed <= 5 * S && !begins)
            });
            if let Some(old) = &mut old {
                old.settle(now, !goes_on);
            }
            let previous = old.as_ref().filter(|old| p.time - old.last < 600 * S);
            let previous = previous.map(|old| old.initiator_is_b);
            let mut flow = old.filter(|_| goes_on).unwrap_or_else(|| {
                let Began { by_b, is_guess } = began(p, previous);
                Plain { last: 0, closed: None, initiator_is_b: by_b, guessed_in: is_guess.then_some(now) }
            });
            flow.last = p.time;
            // Of FINs both have to be acknowledged: the table says whether they were.
            flow.closed = flow.closed.or(head.has_closed().then_some(p.time));
            if flow.initiator_is_b == (p.bits & BACKWARD != 0) {
                flow.guessed_in = None;
            }
            if head.initiator_is_b() != flow.initiator_is_b {
                differs.get_or_insert(*p);
            }
            flows.insert(key, flow);
        };
        play(&mut Table::new(&spec), &packets, check, |_| {});
        prop_assert_eq!(count, packets.len());
        prop_assert_eq!(differs, None);
    }
}

#[test]
fn flows_that_are_over_take_no_more_room_than_what_they_must_be_remembered_for() {
    let spec = FlowSpec {
        window: Duration::from_secs(1),
        idle: Duration::from_secs(6),
        max_flows: 100_000,
        ..FlowSpec::default()
    };
    // A hundred new flows a second, whose ports tell who began, and whose ports do not.
    for (port, remembered) in [(53, 0..=0), (50_000, 60_000..=100_000)] {
        let mut table = Table::new(&spec);
        let packets: Vec<Packet> = (0..150_000)
            .map(|number: u64| {
                let mut packet = packet(S + number * S / 100, port);
                packet.key.a[..8].copy_from_slice(&number.to_le_bytes());
                packet.key.port_b = 40_000;
                packet
            })
            .collect();
        play(&mut table, &packets, |_, _| {}, |_| {});
        assert!(table.heads_used <= 900, "{}", table.heads_used);
        let found: usize = (0..SHARDS).map(|shard| table.remembered.count(shard)).sum();
        assert!(remembered.contains(&found), "{found}");
        assert_eq!(table.counts.shed, 0);
    }
}

#[test]
fn what_is_remembered_leaves_before_flows_that_go_on() {
    let spec = FlowSpec { max_flows: 1024, idle: Duration::from_secs(6), ..FlowSpec::default() };
    let mut table = Table::new(&spec);
    let packets: Vec<Packet> = (0..20_000)
        .map(|number: u64| {
            let mut packet = packet(S + number * S / 2, 50_000);
            packet.key.a[..8].copy_from_slice(&number.to_le_bytes());
            packet.key.port_b = 40_000;
            packet
        })
        .collect();
    play(&mut table, &packets, |_, _| {}, |_| {});
    assert_eq!(table.counts.shed, 0);
    let held = |shard: usize| table.members[shard].len() + table.remembered.count(shard);
    assert!((0..SHARDS).all(|shard| held(shard) <= 4));
    assert!((0..SHARDS).map(held).sum::<usize>() > 800);
}

#[test]
fn places_are_used_again() {
    let spec = FlowSpec { max_flows: 1024, ..FlowSpec::default() };
    let mut table = Table::new(&spec);
    for round in 0..2000u64 {
        let many: Vec<Packet> =
            (0..40).map(|i| packet((round * 40 + i) * S, (round * 40 + i) as u16)).collect();
        let mut rest = &many[..];
        while let Some(next) = rest.first() {
            if table.opens(next.time) {
                rest = &rest[table.packets(rest, |_, _| {})..];
            } else {
                let listed = table.close(None);
                table.given(&listed);
                table.advance(listed);
            }
        }
    }
    assert!(table.heads_used <= 1024, "{}", table.heads_used);
    let members: usize = table.members.iter().map(Vec::len).sum();
    assert!(members <= 80, "what is silent for a minute is over: {members}");
}

#[test]
fn a_refused_syn_again_is_the_same_attempt() {
    let segment = |time: u64, flags: u8, sequence: u32, back: bool| {
        let mut p = packet(time, 50_000);
        p.key.protocol = 6;
        (p.flags, p.sequence, p.length) = (flags, sequence, 40);
        p.bits |= if back { BACKWARD } else { 0 };
        p
    };
    let refused =
        |from: u64, sequence| [segment(from, SYN, sequence, false), segment(from + 1, RST | ACK, 0, true)];
    let counts =
        |packets: &[Packet]| rows(&FlowSpec::default(), packets).iter().map(|row| row.2).collect::<Vec<_>>();
    let half = S / 2;
    let tries = [refused(S, 7), refused(S + half, 7), refused(2 * S, 7)].concat();
    assert_eq!(counts(&tries), [6], "three times the same");
    let others = [refused(S, 7), refused(S + half, 8)].concat();
    assert_eq!(counts(&others), [2, 2], "another number is another attempt");
    let late = [refused(S, 7), refused(8 * S, 7)].concat();
    assert_eq!(counts(&late), [2, 2], "and so is one that comes late");
    let mut answered = [refused(S, 7), refused(S + half, 7)].concat();
    answered[3] = segment(S + half + 1, SYN | ACK, 70, true);
    answered.push(segment(S + half + 2, ACK, 8, false));
    assert_eq!(counts(&answered), [3, 2], "an answer begins a connection");
}
