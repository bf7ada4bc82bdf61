//! netweir beside its peers: whole processes on the same input in turn, in processor time, wall time and memory.
//!
//! ```text
//! benches/peers/run [--folder FOLDER] [--parts packets,stream,forest] [--workloads ABCDL] [--runs 5] [--scale 1.0]
//! ```
//!
//! `run` installs the peers that it can and calls `cargo bench --bench peers` with these arguments; called directly the
//! bench takes the peers that are there. Inputs (up to 1.7 GB at a time at scale 1, beside what is made of them) are made in the
//! folder, or in a temporary one that is removed; give a folder in memory (`/dev/shm`) to leave the disk out.
//!
//! Each round runs every program once, so that a machine that slows down slows all of them down; medians of the rounds
//! are printed as tables for the README and for `benches/RECORD.md`.

#[path = "../generate.rs"]
mod generate;

mod cost;
mod forest;
mod lab;
mod packets;
mod programs;
mod stream;

use std::path::PathBuf;
use std::process::Command;

pub(crate) type AnyError = Box<dyn std::error::Error>;

const USAGE: &str = "there are --folder, --parts, --workloads, --runs, --scale";

/// What is run, and how often.
pub(crate) struct Options {
    folder: Option<PathBuf>,
    parts: Vec<String>,
    pub(crate) workloads: String,
    pub(crate) runs: usize,
    scale: f64,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Options, AnyError> {
        let parts = ["packets", "stream", "forest"].map(str::to_owned).into();
        let mut options = Options { folder: None, parts, workloads: "ABCDL".to_owned(), runs: 5, scale: 1.0 };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--folder" => options.folder = Some(value()?.into()),
                "--parts" => options.parts = value()?.split(',').map(str::to_owned).collect(),
                "--workloads" => options.workloads = value()?,
                "--runs" => options.runs = value()?.parse()?,
                "--scale" => options.scale = value()?.parse()?,
                // Cargo gives it to every bench.
                "--bench" => {}
                other => return Err(format!("{other} is not known; {USAGE}").into()),
            }
        }
        Ok(options)
    }

    /// So much of what is done at scale 1.
    pub(crate) fn scaled(&self, count: f64) -> u64 {
        ((count * self.scale) as u64).max(1)
    }
}

fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} x {}", model.map_or("unknown", |(_, name)| name))
}

/// What a program says when it is called with these arguments, the first line.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn main() -> Result<(), AnyError> {
    let options = Options::read(std::env::args().skip(1))?;
    let temporary = tempfile::tempdir()?;
    let folder = options.folder.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    println!(
        "{}, {}, commit {}, {} rounds, scale {}, load {}",
        said("date", &["-I"]),
        machine(),
        said("git", &["describe", "--always", "--dirty"]),
        options.runs,
        options.scale,
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or("unknown"),
    );
    for part in &options.parts {
        match part.as_str() {
            "packets" => packets::measure(&options, folder)?,
            "stream" => stream::measure(&options, folder)?,
            "forest" => forest::measure(&options, folder)?,
            other => return Err(format!("there is no part {other}: packets, stream, forest").into()),
        }
    }
    Ok(())
}
