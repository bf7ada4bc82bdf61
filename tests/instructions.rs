//! Instructions that a packet and a row cost, held against the figures in `benches/instructions.toml`.
//!
//! Counts of instructions repeat where times do not: they tell on any machine, however busy, whether a change made
//! the path of packets longer. Costs are those between a short and a long capture, so that starting and ending
//! count for nothing. Valgrind counts; what it counts is the binary that tests run, built as tests are.

// What is not there fails the test.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "measures on some of the workloads")]
#[path = "../benches/generate.rs"]
mod generate;

use std::path::{Path, PathBuf};
use std::process::Command;

use generate::{Size, Workload};
use serde::Deserialize;

/// How much more than recorded is too much, and how much less asks for a new record.
const TOLERANCE: f64 = 0.05;

/// The recorded figures.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The compiler that they hold for, as `rustc --version` says.
    rustc: String,
    /// The processor architecture that they hold for.
    architecture: String,
    /// A packet of a long flow, from the file to its flow's window.
    packet: f64,
    /// A row of a short flow with its packets, from the file to every flow column, written as Arrow.
    row: f64,
    /// The same row with context columns and a score by surprises, written as Parquet.
    scored: f64,
}

fn capture(folder: &Path, name: &str, workload: Workload, packets: u64) -> PathBuf {
    let path = folder.join(format!("{name}-{packets}.pcap"));
    let mut bytes = Vec::new();
    // As many seconds for a packet in each, so that windows are as full in the long one as in the short.
    let size = Size { packets, seconds: packets / 250, seed: 7 };
    generate::write(workload, size, &mut bytes).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Instructions of the binary, and the rows that its summary counts.
fn counted(folder: &Path, arguments: &[&str]) -> (u64, u64) {
    let summary = folder.join("summary.json");
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(env!("CARGO_BIN_EXE_netweir"))
        .args(arguments)
        .args(["-w", "1", "-q", "--summary"])
        .arg(&summary)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    let line = said.lines().find(|line| line.contains("I ") && line.contains("refs:")).expect("a total");
    let digits: String = line.rsplit("refs:").next().unwrap().chars().filter(char::is_ascii_digit).collect();
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    (digits.parse().unwrap(), summary["rows"].as_u64().unwrap())
}

fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[test]
fn a_packet_and_a_row_cost_no_more_instructions_than_recorded() {
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml");
    let record: Record = toml::from_str(&std::fs::read_to_string(record).unwrap()).unwrap();
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: valgrind is not here");
        return;
    }
    let (compiler, architecture) = (compiler().unwrap_or_default(), std::env::consts::ARCH);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let difference = |workload, name: &str, command: &dyn Fn(&str) -> Vec<String>| {
        let cost = |packets| {
            let capture = capture(folder.path(), name, workload, packets);
            let arguments = command(capture.to_str().unwrap());
            let (instructions, rows) =
                counted(folder.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
            (instructions as f64, rows as f64, packets as f64)
        };
        let (short, long) = (cost(10_000), cost(40_000));
        (long.0 - short.0, long.1 - short.1, long.2 - short.2)
    };
    let flows = at("flows.toml");
    std::fs::write(&flows, "name = \"flows\"\n[context]\ncolumns = []\n").unwrap();
    let rows = |capture: &str| {
        ["extract", capture, "-p", &flows, "-o", &at("rows.arrow")].map(str::to_owned).to_vec()
    };
    let (instructions, _, packets) = difference(Workload::Heavy { flows: 8 }, "heavy", &rows);
    let packet = instructions / packets;
    let scattered = Workload::Scattered { flows: 4_000 };
    let (instructions, made, _) = difference(scattered, "scattered", &rows);
    let row = instructions / made;

    let (training, model) = (capture(folder.path(), "training", Workload::Mixed, 60_000), at("model"));
    let trained = Command::new(env!("CARGO_BIN_EXE_netweir"))
        .args(["train", training.to_str().unwrap(), "-q", "-m", &model])
        .status()
        .unwrap();
    assert!(trained.success());
    let report = at("report");
    let detect = |capture: &str| ["detect", capture, "-m", &model, "-o", &report].map(str::to_owned).to_vec();
    let (instructions, made, _) = difference(Workload::Mixed, "mixed", &detect);
    let scored = instructions / made;

    println!("packet = {packet:.0}\nrow = {row:.0}\nscored = {scored:.0}");
    if (compiler.as_str(), architecture) != (record.rustc.as_str(), record.architecture.as_str()) {
        eprintln!(
            "skipped: the record holds for {} on {}, here is {compiler} on {architecture}",
            record.rustc, record.architecture
        );
        return;
    }
    for (name, found, recorded) in
        [("packet", packet, record.packet), ("row", row, record.row), ("scored", scored, record.scored)]
    {
        let ratio = found / recorded;
        assert!(
            ratio <= 1.0 + TOLERANCE,
            "{name}: {found:.0} instructions, {recorded:.0} recorded: find out why, or record it with the reason"
        );
        if ratio < 1.0 - TOLERANCE {
            eprintln!("{name}: {found:.0} instructions, {recorded:.0} recorded: record the gain");
        }
    }
}
