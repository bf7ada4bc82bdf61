//! Packets to rows with every column, and no further: rooms source, packet, flow and row, whose rows nobody writes.
//!
//! ```text
//! cargo bench --bench spine -- [--folder FOLDER] [--workloads AB] [--runs 5] [--scale 1.0] [--workers 1]
//! ```
//!
//! A pipeline has no such end: one that only counts rows makes no columns, and every other writes them. Each round is a
//! process of its own (this program, called with `--capture`), so that memory that an earlier one has touched helps
//! nobody. Captures are made in the folder, or in a temporary one that is removed; give one in memory (`/dev/shm`) to
//! leave the disk out.

#[path = "peers/cost.rs"]
mod cost;
#[allow(dead_code, reason = "measures on some of the workloads")]
mod generate;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use arrow::record_batch::RecordBatch;
use generate::{Size, Workload};
use netweir::flow::operator::{Assembly, Given, Product, assemble};
use netweir::flow::{FlowSpec, row_settings};
use netweir::packet::PacketSpec;
use netweir::packet::operator::{Reading, packets};
use netweir::row::schema::flow_schema;
use netweir::sink::operator::{End, Joined, write};
use netweir::source::inputs::{self, Found};
use netweir::source::{Captures, SourceSpec};
use netweir::tally::{Fault, Tally};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;

#[cfg(target_os = "linux")]
#[path = "../src/allocator.rs"]
mod allocator;

pub(crate) type AnyError = Box<dyn std::error::Error>;

const USAGE: &str = "there are --folder, --workloads, --runs, --scale, --workers, --capture";

/// Event time of the captures.
const SECONDS: u64 = 100;

struct Options {
    folder: Option<PathBuf>,
    workloads: String,
    runs: usize,
    scale: f64,
    workers: usize,
    /// What this process itself makes rows of; `None` where it measures others.
    capture: Option<PathBuf>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Options, AnyError> {
        let workloads = "AB".to_owned();
        let mut options = Options { folder: None, workloads, runs: 5, scale: 1.0, workers: 1, capture: None };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--folder" => options.folder = Some(value()?.into()),
                "--workloads" => options.workloads = value()?,
                "--runs" => options.runs = value()?.parse()?,
                "--scale" => options.scale = value()?.parse()?,
                "--workers" => options.workers = value()?.parse()?,
                "--capture" => options.capture = Some(value()?.into()),
                // Cargo gives it to every bench.
                "--bench" => {}
                other => return Err(format!("{other} is not known; {USAGE}").into()),
            }
        }
        Ok(options)
    }
}

/// Counts rows and what they hold, so that nothing is measured that did not happen.
struct Counted {
    rows: Arc<AtomicU64>,
    columns: usize,
}

impl End for Counted {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if rows.num_columns() != self.columns {
            return Err("rows came without some of their columns".into());
        }
        self.rows.fetch_add(rows.num_rows() as u64, Relaxed);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// Makes rows of a capture. Returns how many of how many packets.
fn rows(capture: &Path, workers: usize) -> Result<(u64, u64), AnyError> {
    let (source, flow) = (SourceSpec::default(), FlowSpec::default());
    let found = inputs::find(&[capture.display().to_string()])?.found;
    let Found::Captures(found) = found else { return Err("a capture is wanted".into()) };
    let feed = Captures::open(found, &source)?;
    let schema = flow_schema(&row_settings(&flow, &PacketSpec::default()), |_| true);
    let in_flight = Arc::new(AtomicI64::new(0));
    let (tally, fault) = (Arc::new(Tally::default()), Arc::new(Fault::default()));
    let reading = Arc::new(Reading {
        inputs: feed.paths(),
        feed: Mutex::new(Box::new(feed)),
        spec: PacketSpec::default(),
        lax: false,
        slice: source.slice_ns(),
        window_slices: flow.window_ns() / source.slice_ns() + 2,
        in_flight: in_flight.clone(),
        tally: tally.clone(),
        fault: fault.clone(),
    });
    let how = Arc::new(Assembly {
        spec: flow,
        schema: schema.clone(),
        product: Product::Rows,
        slice: source.slice_ns(),
        in_flight,
        given: Given::default(),
        tally: tally.clone(),
    });
    let counted = Arc::new(AtomicU64::new(0));
    let end = Counted { rows: counted.clone(), columns: schema.fields().len() };
    let ends = Mutex::new(vec![Box::new(end) as Box<dyn End>]);
    let met = fault.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let probe = ProbeHandle::<u64>::new();
        let ends = match worker.index() {
            0 => std::mem::take(&mut *ends.lock().expect("no worker panics while it takes them")),
            _ => Vec::new(),
        };
        let wake = worker.dataflow::<u64, _, _>(|scope| {
            let (packets, wake) = packets(scope, reading.clone(), probe.clone());
            let rows = assemble(packets, how.clone());
            write(rows, ends, Joined::ByWorker, fault.clone()).probe_with(&probe);
            wake
        });
        let mut seen = 0;
        while worker.step_or_park(None) {
            let now = probe.with_frontier(|frontier| frontier.first().copied().unwrap_or(u64::MAX));
            if now != seen {
                seen = now;
                wake.activate();
            }
        }
    })?;
    for result in guards.join() {
        result?;
    }
    match met.take() {
        Some(error) => Err(error),
        None => Ok((counted.load(Relaxed), tally.packets.load(Relaxed))),
    }
}

fn main() -> Result<(), AnyError> {
    let options = Options::read(std::env::args().skip(1))?;
    if let Some(capture) = &options.capture {
        let (rows, packets) = rows(capture, options.workers)?;
        println!("{rows} rows of {packets} packets");
        return Ok(());
    }
    let temporary = tempfile::tempdir()?;
    let folder = options.folder.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    println!("| workload | workers | CPU s, median (range) | wall s | M packets / CPU s | peak MB |");
    println!("|---|---:|---:|---:|---:|---:|");
    for letter in options.workloads.chars() {
        let scaled = |count: f64| ((count * options.scale) as u64).max(1);
        let (workload, packets) = match letter {
            'A' => (Workload::Scattered { flows: scaled(1e6) }, scaled(10e6)),
            'B' => (Workload::Mixed, scaled(3e6)),
            'C' => (Workload::Heavy { flows: 8 }, scaled(1e6)),
            'D' => (Workload::Scan, scaled(3e6)),
            other => return Err(format!("there is no workload {other}: A, B, C, D").into()),
        };
        let capture = folder.join(format!("{letter}.pcap"));
        let mut to = BufWriter::with_capacity(1 << 20, File::create(&capture)?);
        generate::write(workload, Size { packets, seconds: SECONDS, seed: 1 }, &mut to)?;
        to.into_inner()?.flush()?;
        let mut costs = Vec::new();
        for _ in 0..options.runs {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--capture").arg(&capture).args(["--workers", &options.workers.to_string()]);
            costs.push(cost::run(&mut command, Stdio::null(), folder)?);
        }
        std::fs::remove_file(capture)?;
        let Some([cpu, wall, memory]) = cost::spreads(&costs) else {
            return Err("nothing is measured in no rounds".into());
        };
        println!(
            "| {letter} | {} | {cpu} | {:.2} | {:.3} | {:.0} |",
            options.workers,
            wall.median,
            packets as f64 / cpu.median / 1e6,
            memory.most / 1e6,
        );
    }
    Ok(())
}
