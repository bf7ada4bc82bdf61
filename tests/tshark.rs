//! Packets and bytes of every conversation of the lab, against tshark's own reading of the same frames.

#![allow(clippy::unwrap_used)] // What fails here fails a test.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use netweir::flow::FlowSpec;
use support::binary;
use support::memory::{Frame, Manner, flow_rows_of_frames};
use support::table::{Cell, Table};

/// Protocol, then (address, port) of sender and receiver.
type Direction = (u8, (String, u16), (String, u16));
/// Packets, and bytes of IP datagrams.
type Sums = BTreeMap<Direction, (u64, u64)>;

/// What tshark says: one line a frame, of tunnelled or quoted headers only the outermost.
fn by_tshark(capture: &Path) -> Option<Sums> {
    const FIELDS: [&str; 12] = [
        "ip.src",
        "ip.dst",
        "ip.proto",
        "ip.len",
        "ipv6.src",
        "ipv6.dst",
        "ipv6.nxt",
        "ipv6.plen",
        "tcp.srcport",
        "tcp.dstport",
        "udp.srcport",
        "udp.dstport",
    ];
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "separator=,", "-E", "occurrence=f"]);
    // Nothing above the transport is asked for.
    command.args(["-o", "tcp.analyze_sequence_numbers:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE"]);
    FIELDS.iter().for_each(|field| {
        command.args(["-e", field]);
    });
    let output = match command.arg("-r").arg(capture).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: tshark cannot be run: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut sums = Sums::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), FIELDS.len(), "{line}");
        let (src, dst, protocol, bytes) = match (fields[0], fields[4]) {
            ("", "") => continue,
            ("", _) => (fields[4], fields[5], fields[6], 40 + fields[7].parse::<u64>().unwrap()),
            _ => (fields[0], fields[1], fields[2], fields[3].parse().unwrap()),
        };
        let mut protocol: u8 = protocol.parse().unwrap();
        // Hop-by-hop options: in the lab these carry multicast listener reports, which are ICMPv6.
        if protocol == 0 {
            protocol = 58;
        }
        let ports = match protocol {
            6 => (fields[8], fields[9]),
            17 => (fields[10], fields[11]),
            _ => ("0", "0"),
        };
        let end = |address: &str, port: &str| (address.to_owned(), port.parse().unwrap());
        let sum = sums.entry((protocol, end(src, ports.0), end(dst, ports.1))).or_default();
        *sum = (sum.0 + 1, sum.1 + bytes);
    }
    Some(sums)
}

/// What rows say.
fn by_rows(table: &Table) -> Sums {
    let column = |name: &str| table.position(name);
    let at = ["protocol", "src_ip", "src_port", "dst_ip", "dst_port"].map(column);
    let counted = ["fwd_packets", "fwd_bytes", "bwd_packets", "bwd_bytes"].map(column);
    let mut sums = Sums::new();
    for row in &table.rows {
        let end = |address: usize, port: usize| {
            let Cell::Text(address) = &row[address] else { panic!("an address is text") };
            (address.clone(), row[port].number() as u16)
        };
        let (src, dst) = (end(at[1], at[2]), end(at[3], at[4]));
        let protocol = row[at[0]].number() as u8;
        let [fwd_packets, fwd_bytes, bwd_packets, bwd_bytes] = counted.map(|at| row[at].number());
        for (from, to, packets, bytes) in
            [(&src, &dst, fwd_packets, fwd_bytes), (&dst, &src, bwd_packets, bwd_bytes)]
        {
            if packets > 0 {
                let sum = sums.entry((protocol, from.clone(), to.clone())).or_default();
                *sum = (sum.0 + packets, sum.1 + bytes);
            }
        }
    }
    sums
}

fn assert_same(found: &Sums, expected: &Sums, how: &str) {
    for (direction, sum) in expected {
        assert_eq!(found.get(direction), Some(sum), "{how}: {direction:?}");
    }
    for direction in found.keys() {
        assert!(expected.contains_key(direction), "{how}: tshark knows nothing of {direction:?}");
    }
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/lab").join(name)
}

#[test]
fn conversations_of_the_lab_have_the_packets_and_bytes_that_tshark_counts() {
    let folder = tempfile::tempdir().unwrap();
    let packed = shipped("attacks.pcap.zst");
    let unpacked = zstd::decode_all(std::fs::File::open(&packed).unwrap()).unwrap();
    let capture = folder.path().join("attacks.pcap");
    std::fs::write(&capture, &unpacked).unwrap();
    let Some(expected) = by_tshark(&capture) else { return };
    assert!(expected.len() > 10_000);
    assert_eq!(expected.values().map(|sum| sum.0).sum::<u64>(), 290_292, "as datasets/README.md says");

    let manner = Manner { workers: 2, block: 5000, ..Manner::default() };
    let rows = flow_rows_of_frames(vec![Frame::all(&unpacked)], &FlowSpec::default(), manner);
    assert_same(&by_rows(&rows), &expected, "the graph");
}

#[test]
fn the_binary_counts_the_lab_as_tshark_does() {
    let folder = tempfile::tempdir().unwrap();
    let packed = shipped("train.pcap.zst");
    let capture = folder.path().join("train.pcap");
    std::fs::write(&capture, zstd::decode_all(std::fs::File::open(&packed).unwrap()).unwrap()).unwrap();
    let Some(expected) = by_tshark(&capture) else { return };
    for input in [packed, capture] {
        let rows = binary::extract(std::slice::from_ref(&input), folder.path(), &[]);
        assert_same(&by_rows(&rows), &expected, &input.display().to_string());
    }
}
