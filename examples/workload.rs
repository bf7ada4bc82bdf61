//! Writes a capture of made-up traffic to measure with.
//!
//! ```text
//! cargo run --release --example workload -- scattered FILE [PACKETS [SECONDS [FLOWS]]]
//! ```
//!
//! `scattered` (10 M packets of 80 bytes in 1 M flows, in random order), `mixed` (3 M packets of 531 bytes in the mean, 23 a
//! flow, in bursts), `heavy` (3 M packets in 8 transfers), `scan` (3 M SYNs), `office` (as `mixed`, between 1,000 hosts, their
//! servers and what is outside; there FLOWS counts hosts). Spread over 100 s of event time.

#[path = "../benches/generate.rs"]
mod generate;

use std::fs::File;
use std::io::{BufWriter, Write};

use generate::{Size, Workload};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const USAGE: &str = "usage: workload scattered|mixed|heavy|scan|office FILE [PACKETS [SECONDS [FLOWS]]]";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, file, numbers @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let number = |at: usize, default: u64| match numbers.get(at) {
        None => Ok(default),
        Some(text) => text.replace('_', "").parse().map_err(|_| format!("{text} is no number; {USAGE}")),
    };
    let (workload, packets) = match name.as_str() {
        "scattered" => (Workload::Scattered { flows: number(2, 1_000_000)? }, 10_000_000),
        "mixed" => (Workload::Mixed, 3_000_000),
        "heavy" => (Workload::Heavy { flows: number(2, 8)? }, 3_000_000),
        "office" => (Workload::Office { hosts: number(2, 1000)? }, 3_000_000),
        "scan" => (Workload::Scan, 3_000_000),
        _ => return Err(USAGE.into()),
    };
    let size = Size { packets: number(0, packets)?, seconds: number(1, 100)?, seed: 1 };
    let mut to = BufWriter::with_capacity(1 << 20, File::create(file)?);
    let bytes = generate::write(workload, size, &mut to)?;
    to.flush()?;
    println!("{file}: {} packets, {bytes} bytes", size.packets);
    Ok(())
}
