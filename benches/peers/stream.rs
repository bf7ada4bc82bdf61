//! A stream without end: what memory a long capture needs that a short one does not.

use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::cost::run;
use crate::generate::{self, Size, Workload};
use crate::programs::{flow_columns, netweir};
use crate::{AnyError, Options};

/// Packets of the streams at scale 1. Memory grows while tables fill, to about 60 M packets; from there on it should not.
const LENGTHS: [f64; 3] = [10e6, 100e6, 200e6];
/// Packets a second of event time: flows die out and new ones come, as many in one stream as in the other.
const PER_SECOND: u64 = 100_000;

/// Pipes streams of mixed packets into `netweir extract -`, whose rows go to a file.
pub(crate) fn measure(options: &Options, folder: &Path) -> Result<(), AnyError> {
    println!("\nMixed packets from standard input to Parquet, one worker\n");
    println!("| M packets | captured GB | CPU s | wall s | peak MB |");
    println!("|---:|---:|---:|---:|---:|");
    let flows = flow_columns(folder)?;
    for length in LENGTHS {
        let packets = options.scaled(length);
        let size = Size { packets, seconds: (packets / PER_SECOND).max(1), seed: 1 };
        let (reads, writes) = std::io::pipe()?;
        let maker = std::thread::spawn(move || -> std::io::Result<u64> {
            let mut to = BufWriter::with_capacity(1 << 20, writes);
            let bytes = generate::write(Workload::Mixed, size, &mut to)?;
            to.flush()?;
            Ok(bytes)
        });
        let rows = folder.join("rows.parquet");
        let summary = folder.join("summary.json");
        let (rows_path, summary_path) = (rows.display().to_string(), summary.display().to_string());
        let mut command =
            netweir(&["extract", "-", "-o", &rows_path, "-p", &flows, "--summary", &summary_path], 1);
        let cost = run(&mut command, OwnedFd::from(reads).into(), folder)?;
        let bytes = maker.join().map_err(|_| "the maker of packets panicked")??;
        let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(summary)?)?;
        if summary["frames"].as_u64() != Some(packets) {
            return Err(format!("its counters do not tell of {packets} frames").into());
        }
        std::fs::remove_file(rows)?;
        println!(
            "| {:.1} | {:.1} | {:.1} | {:.1} | {:.0} |",
            packets as f64 / 1e6,
            bytes as f64 / 1e9,
            cost.cpu,
            cost.wall,
            cost.memory as f64 / 1e6
        );
    }
    Ok(())
}
