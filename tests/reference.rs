//! The graph against a plain loop over sorted packets, cell by cell, on random traffic.

mod support;
mod witness;

use std::time::Duration;

use netweir::flow::FlowSpec;
use support::datagram::{Datagram, pcap};
use support::memory::{Manner, at_watermark, flow_rows};
use support::table::{Cell, Table};
use support::traffic::{Edges, traffic};
use support::{MILLISECOND, SECOND, binary};
use witness::{Cuts, Row, shown};

const LATENESS: u64 = SECOND;

/// Windows and time-outs that traffic is cut by, in turn.
const CUTS: [Cuts; 4] = [
    Cuts { window: 10 * SECOND, idle: 60 * SECOND },
    Cuts { window: 10 * SECOND, idle: 3 * SECOND },
    Cuts { window: SECOND, idle: 7 * SECOND },
    Cuts { window: 60 * SECOND, idle: 10 * SECOND },
];

fn random_traffic(seed: u64, conversations: u64) -> (Cuts, Vec<Vec<Datagram>>) {
    let cuts = CUTS[seed as usize % CUTS.len()];
    let edges = Edges { window: cuts.window, idle: cuts.idle, lateness: LATENESS };
    (cuts, traffic(seed, conversations, edges))
}

fn used(inputs: &[Vec<Datagram>]) -> Vec<Vec<Datagram>> {
    inputs.iter().map(|input| at_watermark(input, LATENESS)).collect()
}

fn spec(cuts: Cuts) -> FlowSpec {
    FlowSpec {
        window: Duration::from_nanos(cuts.window),
        idle: Duration::from_nanos(cuts.idle),
        ..FlowSpec::default()
    }
}

/// The first cell in which the two differ, with the packets behind it.
fn difference(found: &Table, expected: &[Row]) -> Option<String> {
    let packets = |row: &Row| {
        let since = row.packets[0].time;
        let mut text = String::new();
        for (at, packet) in row.packets.iter().enumerate() {
            let mark = if at >= row.before { "row " } else { "flow" };
            text += &format!("  {mark} {}\n", shown(packet, since));
        }
        text
    };
    let name = |cells: &[Cell]| (cells[0].clone(), cells[1].clone());
    for (row, expected_row) in expected.iter().enumerate() {
        let cells: Vec<Cell> = expected_row.cells.iter().map(|(_, cell)| cell.clone()).collect();
        let Some(found_row) = found.rows.get(row).filter(|found| name(found) == name(&cells)) else {
            let instead = found.rows.get(row).map(|row| name(row));
            return Some(format!(
                "row {row}: expected {:?}, found {instead:?}\n{:?}\n{}",
                name(&cells),
                expected_row.cells,
                packets(expected_row)
            ));
        };
        for (column, (name, cell)) in expected_row.cells.iter().enumerate() {
            if found.names[column] != *name || found_row[column] != *cell {
                return Some(format!(
                    "row {row}, column {name}: expected {cell:?}, found {} = {:?} \
                     (window starts {:?}, flow {:?} > {:?})\n{}",
                    found.names[column],
                    found_row[column],
                    cells[0],
                    (&cells[5], &cells[7]),
                    (&cells[6], &cells[8]),
                    packets(expected_row)
                ));
            }
        }
    }
    let more = found.rows.get(expected.len())?;
    Some(format!("there is a row more than expected: {more:?}"))
}

#[test]
fn rows_of_random_traffic_are_those_of_a_plain_loop() {
    let mut rows = 0;
    for seed in 0..2000 {
        // Two conversations show a difference with few packets, ten meet each other.
        let (cuts, inputs) = random_traffic(seed, 1 + seed % 10);
        let inputs = used(&inputs);
        let expected = witness::rows(&inputs, cuts);
        rows += expected.len();
        let manner = Manner { seed, ..Manner::default() };
        let found = flow_rows(&inputs, &spec(cuts), manner);
        if let Some(difference) = difference(&found, &expected) {
            panic!("seed {seed}, {cuts:?}: {difference}");
        }
    }
    assert!(rows > 25_000, "only {rows} rows were compared");
}

#[test]
fn neither_workers_nor_slices_nor_blocks_show_in_the_rows() {
    for seed in 10_000..10_030 {
        let (cuts, inputs) = random_traffic(seed, 60);
        let inputs = used(&inputs);
        let expected = witness::rows(&inputs, cuts);
        for (workers, slice, block) in [
            (1, SECOND, 1000),
            (2, SECOND / 10, 50),
            (2, 100 * SECOND, 7),
            (4, SECOND, 1),
            (4, 7 * MILLISECOND, 200),
        ] {
            let manner = Manner { workers, slice, block, seed };
            let found = flow_rows(&inputs, &spec(cuts), manner);
            if let Some(difference) = difference(&found, &expected) {
                panic!("seed {seed}, {cuts:?}, {manner:?}: {difference}");
            }
        }
    }
}

/// Files, the lateness of their records and the merging of inputs are the binary's to get right here.
#[test]
fn the_binary_gives_the_rows_of_a_plain_loop() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 20_000..20_012 {
        let (cuts, mut inputs) = random_traffic(seed, 80);
        // Of packets of one time those of the file that begins first are first, whatever the order of names.
        inputs.sort_by_key(|input| input.first().map_or(u64::MAX, |first| first.time));
        let expected = witness::rows(&used(&inputs), cuts);
        let files: Vec<_> =
            (0..inputs.len()).map(|i| folder.path().join(format!("{seed}-{i}.pcap"))).collect();
        for (file, input) in files.iter().zip(&inputs) {
            std::fs::write(file, pcap(input)).unwrap();
        }
        let given: Vec<_> = files.into_iter().rev().collect();
        let pipeline = folder.path().join("pipeline.toml");
        let flow = format!(
            "name = \"reference\"\n[source]\nlateness = \"{LATENESS}ns\"\n[flow]\nwindow = \"{}ns\"\nidle = \"{}ns\"\n",
            cuts.window, cuts.idle
        );
        std::fs::write(&pipeline, flow).unwrap();
        for workers in ["1", "2", "4"] {
            let options = ["-w", workers, "-p", pipeline.to_str().unwrap()];
            let found = binary::extract(&given, folder.path(), &options);
            if let Some(difference) = difference(&found, &expected) {
                panic!("seed {seed}, {cuts:?}, {workers} workers: {difference}");
            }
        }
    }
}

/// The witness is of use only if traffic reaches what it is there to judge.
#[test]
fn random_traffic_reaches_every_rule() {
    let mut rows = Vec::new();
    for seed in 0..400 {
        let (cuts, inputs) = random_traffic(seed, 6);
        rows.extend(witness::rows(&used(&inputs), cuts));
    }
    let values = |name: &str| {
        let of = |row: &Row| row.cells.iter().find(|(n, _)| *n == name).map(|(_, cell)| cell.clone());
        let mut values: Vec<Cell> = rows.iter().filter_map(of).collect();
        values.sort();
        values.dedup();
        values
    };
    let reasons = values("end_reason");
    assert_eq!(reasons, [1u8, 2, 3, 4].map(Cell::whole), "all but lack of resources");
    let letters =
        ["OTH", "REJ", "RSTO", "RSTOS0", "RSTR", "RSTRH", "S0", "S1", "S2", "S3", "SF", "SH", "SHR"]
            .map(Cell::text);
    for letters in letters {
        assert!(values("conn_state").contains(&letters), "{letters:?}");
    }
    for name in
        ["handshake_rtt_s", "fwd_retransmits", "bwd_retransmits", "row_index", "fragments", "vlan", "service"]
    {
        assert!(values(name).len() > 2, "{name}: {:?}", values(name));
    }
    let late = (0..400).filter(|seed| {
        let inputs = random_traffic(*seed, 6).1;
        used(&inputs) != inputs
    });
    assert!(late.count() > 20);
}
