//! Frames to rows by the whole binary on one worker, in processor time, wall time and memory; on workload B beside
//! softflowd, a flow exporter that keeps far fewer columns.
//!
//! ```text
//! cargo bench --bench spine -- [--folder FOLDER] [--workloads AB] [--runs 5] [--scale 1.0] [--workers 1]
//! ```
//!
//! Captures (2.6 GB at scale 1) are written to the folder, or to a temporary one that is removed; give a folder in
//! memory (`/dev/shm`) to leave the disk out. Each round runs every program once, so that a machine that slows down
//! slows all of them down; medians of rounds are printed as rows for `benches/RECORD.md`. softflowd is
//! Debian's package of that name; without it its rows are missing.

mod generate;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use generate::{Size, Workload};

type AnyError = Box<dyn std::error::Error>;

/// What a run cost.
#[derive(Clone, Copy)]
struct Cost {
    /// User and system time in seconds.
    cpu: f64,
    wall: f64,
    /// Largest resident set in bytes.
    memory: u64,
}

/// A program on a capture.
struct Contender {
    name: &'static str,
    command: Command,
    /// Where it writes its counters, which must tell of every packet: nothing is measured that did not happen.
    summary: Option<PathBuf>,
    costs: Vec<Cost>,
    /// Why it is no longer run.
    failed: Option<String>,
}

/// Runs a program to its end. Its own children do not count, and none of the programs has any.
#[allow(clippy::disallowed_methods)] // Wall time is what is measured.
fn run(command: &mut Command, folder: &Path) -> Result<Cost, AnyError> {
    let said = folder.join("stderr");
    let begin = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?).spawn()?;
    let (status, cpu, memory) = wait(child)?;
    let wall = begin.elapsed().as_secs_f64();
    if status != 0 {
        let said = std::fs::read_to_string(said)?;
        return Err(said.lines().last().unwrap_or("it failed without a word").to_owned().into());
    }
    Ok(Cost { cpu, wall, memory })
}

/// Waits for a child: its status, its user and system time in seconds, its largest resident set in bytes. The standard
/// library tells the first only.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn wait(child: Child) -> Result<(i32, f64, u64), AnyError> {
    let mut status = 0;
    // SAFETY: both pointers are to owned values that outlive the call; an all-zero rusage is a valid one.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage), usage)
    };
    if waited < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((status, seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss as u64 * 1024))
}

#[cfg(not(target_os = "linux"))]
fn wait(_: Child) -> Result<(i32, f64, u64), AnyError> {
    Err("what a child used is known on Linux only".into())
}

const USAGE: &str = "there are --folder, --workloads, --runs, --scale, --workers";

struct Options {
    folder: Option<PathBuf>,
    workloads: String,
    runs: usize,
    scale: f64,
    workers: usize,
}

fn options() -> Result<Options, AnyError> {
    let mut options = Options { folder: None, workloads: "AB".to_owned(), runs: 5, scale: 1.0, workers: 1 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--folder" => options.folder = Some(value()?.into()),
            "--workloads" => options.workloads = value()?,
            "--runs" => options.runs = value()?.parse()?,
            "--scale" => options.scale = value()?.parse()?,
            "--workers" => options.workers = value()?.parse()?,
            // Cargo gives it to every bench.
            "--bench" => {}
            other => return Err(format!("{other} is not known; {USAGE}").into()),
        }
    }
    Ok(options)
}

fn netweir(arguments: &[&str], workers: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netweir"));
    command.args(arguments).args(["-q", "-w", &workers.to_string()]);
    command
}

/// The programs that a capture is given to.
fn contenders(capture: &str, folder: &Path, workers: usize, exporter: Option<&UdpSocket>) -> Vec<Contender> {
    let rows = folder.join("rows.parquet").display().to_string();
    let pipeline = folder.join("rows.toml").display().to_string();
    let summary = folder.join("summary.json");
    let counters = summary.display().to_string();
    let contender =
        |name, command, summary| Contender { name, command, summary, costs: Vec::new(), failed: None };
    let extract = ["extract", capture, "-o", &rows, "--summary", &counters];
    let mut all = vec![
        // A pipeline that ends in counters: rows are made and go no further.
        contender("rows", netweir(&["run", &pipeline], workers), Some(summary.clone())),
        contender("rows, context, Parquet", netweir(&extract, workers), Some(summary.clone())),
    ];
    if let Some(exporter) = exporter {
        let mut command = Command::new("softflowd");
        let to = exporter.local_addr().map(|address| address.to_string()).unwrap_or_default();
        // IPFIX, so that IPv6 counts; room for all flows, as netweir has it; not as a daemon.
        command.args(["-r", capture, "-n", &to, "-v", "10", "-m", "2000000", "-d"]);
        all.push(contender("softflowd", command, None));
    }
    all
}

fn measure(name: &str, packets: u64, mut contenders: Vec<Contender>, options: &Options, folder: &Path) {
    for _ in 0..options.runs {
        for contender in contenders.iter_mut().filter(|c| c.failed.is_none()) {
            let cost = run(&mut contender.command, folder).and_then(|cost| {
                if let Some(path) = &contender.summary {
                    let summary = std::fs::read_to_string(path)?;
                    std::fs::remove_file(path)?;
                    if !summary.contains(&packets.to_string()) {
                        return Err(format!("its counters do not tell of {packets} packets").into());
                    }
                }
                Ok(cost)
            });
            match cost {
                Ok(cost) => contender.costs.push(cost),
                Err(error) => contender.failed = Some(error.to_string()),
            }
        }
    }
    let median = |costs: &[Cost], of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let exporter = contenders.iter().find(|c| c.name == "softflowd" && !c.costs.is_empty());
    let exporter = exporter.map(|c| median(&c.costs, |cost| cost.cpu).0);
    for contender in &contenders {
        if let Some(failed) = &contender.failed {
            println!("| {name} | {} | not measured: {failed} |", contender.name);
            continue;
        }
        let (cpu, least, most) = median(&contender.costs, |cost| cost.cpu);
        let (wall, ..) = median(&contender.costs, |cost| cost.wall);
        let (.., memory) = median(&contender.costs, |cost| cost.memory as f64);
        let ratio = exporter.map_or("".to_owned(), |exporter| format!("{:.2}", exporter / cpu));
        println!(
            "| {name} | {} | {cpu:.2} ({least:.2}-{most:.2}) | {wall:.2} | {:.2} | {:.0} | {ratio} |",
            contender.name,
            packets as f64 / cpu / 1e6,
            memory / 1e6,
        );
    }
}

fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} x {}", model.map_or("unknown", |(_, name)| name))
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    output.map_or("unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn main() -> Result<(), AnyError> {
    let options = options()?;
    let temporary = tempfile::tempdir()?;
    let folder = options.folder.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    // Takes what the exporter sends; nobody reads it.
    let exporter =
        match Command::new("softflowd").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(_) => Some(UdpSocket::bind("127.0.0.1:0")?),
            Err(_) => None,
        };

    println!("{}, commit {}, {} runs, -w {}\n", machine(), commit(), options.runs, options.workers);
    println!(
        "| workload | what | CPU s, median (range) | wall s | M packets / CPU s | peak MB | softflowd's CPU s / its |"
    );
    println!("|---|---|---|---|---|---|---|");
    let scaled = |count: f64| ((count * options.scale) as u64).max(1);
    for name in options.workloads.chars() {
        let (workload, packets) = match name {
            'A' => (Workload::Scattered { flows: scaled(1e6) }, scaled(10e6)),
            'B' => (Workload::Mixed, scaled(3e6)),
            'C' => (Workload::Heavy { flows: 8 }, scaled(1e6)),
            'D' => (Workload::Scan, scaled(3e6)),
            'E' => (Workload::Office { hosts: 1000 }, scaled(3e6)),
            other => return Err(format!("there is no workload {other}: A, B, C, D, E").into()),
        };
        let beside = exporter.as_ref().filter(|_| name == 'B');
        let capture = folder.join(format!("{name}.pcap"));
        let mut to = BufWriter::with_capacity(1 << 20, File::create(&capture)?);
        generate::write(workload, Size { packets, seconds: 100, seed: 1 }, &mut to)?;
        to.into_inner()?.flush()?;
        let path = capture.display().to_string();
        let pipeline = format!(
            "name = \"spine\"\n[source]\ninputs = [{path:?}]\n[context]\ncolumns = []\n[ends]\nsummary = {:?}\n",
            folder.join("summary.json").display().to_string()
        );
        std::fs::write(folder.join("rows.toml"), pipeline)?;
        let contenders = contenders(&path, folder, options.workers, beside);
        measure(&name.to_string(), packets, contenders, &options, folder);
        std::fs::remove_file(capture)?;
    }
    Ok(())
}
