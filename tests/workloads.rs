//! The captures that measurements are made on are what they are said to be.

#[path = "../benches/generate.rs"]
mod generate;
mod support;

use generate::{Size, Workload};
use netweir::flow::FlowSpec;
use support::memory::{Frame, Manner, flow_rows_of_frames};
use support::table::Table;

const SIZE: Size = Size { packets: 20_000, seconds: 25, seed: 3 };

fn capture(workload: Workload) -> Vec<u8> {
    let mut capture = Vec::new();
    let bytes = generate::write(workload, SIZE, &mut capture).expect("memory takes everything");
    assert_eq!(bytes, capture.len() as u64);
    capture
}

fn rows(workload: Workload) -> Table {
    let frames = Frame::all(&capture(workload));
    assert!(frames.is_sorted_by_key(|frame| frame.time));
    let rows = flow_rows_of_frames(vec![frames], &FlowSpec::default(), Manner::default());
    assert_eq!(rows.sum("bidir_packets"), SIZE.packets, "every frame is a packet");
    rows
}

fn flows(rows: &Table) -> usize {
    let mut flows = rows.column("flow_id");
    flows.sort();
    flows.dedup();
    flows.len()
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    for workload in [
        Workload::Scattered { flows: 100 },
        Workload::Mixed,
        Workload::Heavy { flows: 3 },
        Workload::Scan,
        Workload::Office { hosts: 20 },
    ] {
        assert_eq!(capture(workload), capture(workload));
    }
}

#[test]
fn scattered_packets_have_eighty_bytes_in_as_many_flows_as_asked_for() {
    let workload = Workload::Scattered { flows: 500 };
    assert!(Frame::all(&capture(workload)).iter().all(|frame| frame.bytes.len() == 80));
    let rows = rows(workload);
    assert_eq!(flows(&rows), 500);
    let share = |name: &str, value: u64| {
        rows.column(name).iter().filter(|cell| cell.number() == value).count() * 100 / rows.rows.len()
    };
    assert!((75..85).contains(&share("protocol", 6)) && (5..15).contains(&share("ip_version", 6)));
}

#[test]
fn mixed_packets_have_their_mean_size_and_flows_their_mean_length() {
    let frames = Frame::all(&capture(Workload::Mixed));
    let mean = frames.iter().map(|frame| frame.bytes.len()).sum::<usize>() / frames.len();
    assert!((510..550).contains(&mean), "{mean}");
    let rows = rows(Workload::Mixed);
    // A thousand flows are cut off by the end.
    assert!((SIZE.packets as usize / 24..SIZE.packets as usize / 24 + 1000).contains(&flows(&rows)));
    assert!(rows.column("conn_state").iter().any(|cell| *cell == support::table::Cell::text("SF")));
    assert_eq!(rows.sum("fragments"), 0);
}

#[test]
fn an_office_has_its_hosts_and_most_flows_stay_inside() {
    let rows = rows(Workload::Office { hosts: 30 });
    let mut hosts = rows.column("src_ip");
    let inside = rows.column("dst_ip").iter().filter(|cell| format!("{cell:?}").contains("10.255.")).count();
    hosts.sort();
    hosts.dedup();
    assert!((25..=30).contains(&hosts.len()), "{}", hosts.len());
    assert!((70..90).contains(&(100 * inside / rows.rows.len())), "{inside} of {}", rows.rows.len());
}

#[test]
fn heavy_flows_are_few_and_a_scan_is_a_flow_for_each_probe() {
    assert_eq!(flows(&rows(Workload::Heavy { flows: 3 })), 3);
    let scan = flows(&rows(Workload::Scan));
    assert!(scan * 10 > SIZE.packets as usize * 8, "{scan}");
}
