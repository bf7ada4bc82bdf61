//! The programs that a capture is given to: netweir in several ways, and its peers.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::AnyError;
use crate::cost::{Cost, run};

/// A program on a capture.
pub(crate) struct Program {
    /// What tables call it.
    pub(crate) name: &'static str,
    /// What it makes of the packets.
    pub(crate) yields: &'static str,
    command: Command,
    /// Where it writes its counters, which must tell of every packet: nothing is measured that did not happen.
    summary: Option<PathBuf>,
    /// It takes minutes: one round is enough.
    pub(crate) slow: bool,
    /// What each round cost.
    pub(crate) costs: Vec<Cost>,
    /// Why it is no longer run.
    pub(crate) failed: Option<String>,
}

impl Program {
    fn new(name: &'static str, yields: &'static str, command: Command) -> Program {
        Program { name, yields, command, summary: None, slow: false, costs: Vec::new(), failed: None }
    }

    /// One round; a failure is kept and ends this program's part.
    pub(crate) fn measure(&mut self, packets: u64, folder: &Path) {
        let cost = run(&mut self.command, Stdio::null(), folder).and_then(|cost| {
            if let Some(path) = &self.summary {
                let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
                std::fs::remove_file(path)?;
                let frames = summary["frames"].as_u64();
                if frames != Some(packets) {
                    return Err(format!("its counters tell of {frames:?} frames, not of {packets}").into());
                }
            }
            Ok(cost)
        });
        match cost {
            Ok(cost) => self.costs.push(cost),
            Err(error) => self.failed = Some(error.to_string()),
        }
    }
}

/// The release binary with these arguments, quiet, with so many workers.
pub(crate) fn netweir(arguments: &[&str], workers: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netweir"));
    command.args(arguments).args(["-q", "-w", &workers.to_string()]);
    command
}

/// Whether the program can be started at all.
fn there(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A Python that has the module, if `NETWEIR_PEERS_PYTHON` names one.
pub(crate) fn python(module: &str) -> Option<String> {
    let python = std::env::var("NETWEIR_PEERS_PYTHON").ok()?;
    let status =
        Command::new(&python).args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success()).then_some(python)
}

/// A Python script of this folder.
pub(crate) fn script(python: &str, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name));
    // Its libraries would take every core; one is what others are given.
    for threads in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_NUM_THREADS"] {
        command.env(threads, "1");
    }
    command
}

/// A pipeline that makes every flow column and no other.
pub(crate) fn flow_columns(folder: &Path) -> Result<String, AnyError> {
    let pipeline = folder.join("flows.toml");
    std::fs::write(&pipeline, "name = \"flows\"\n[context]\ncolumns = []\n")?;
    Ok(pipeline.display().to_string())
}

/// Programs for the capture. `takes_records` gets what exporters send; nobody reads it.
pub(crate) fn programs(
    capture: &str,
    folder: &Path,
    takes_records: &UdpSocket,
) -> Result<Vec<Program>, AnyError> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (summary, rows) = (path("summary.json"), path("rows.parquet"));
    // Rows are made and go no further than the counters, which take no columns.
    let to_counters = path("rows.toml");
    std::fs::write(
        &to_counters,
        format!(
            "name = \"rows\"\n[source]\ninputs = [{capture:?}]\n[context]\ncolumns = []\n[ends]\nsummary = {summary:?}\n"
        ),
    )?;
    let flows = flow_columns(folder)?;

    let extract = ["extract", capture, "-o", &rows, "--summary", &summary];
    let extract_flows = [&extract[..], &["-p", &flows]].concat();
    let ours = [
        ("netweir, no output", "counters", netweir(&["run", &to_counters], 1)),
        ("netweir", "all flow columns, Parquet", netweir(&extract_flows, 1)),
        ("netweir -w 2", "all flow columns, Parquet", netweir(&extract_flows, 2)),
        ("netweir, context", "flow and context columns, Parquet", netweir(&extract, 1)),
    ];
    let mut all: Vec<Program> =
        ours.map(|(name, yields, command)| Program::new(name, yields, command)).into();
    for program in &mut all {
        program.summary = Some(summary.clone().into());
    }

    if there("tcpdump", "--version") {
        let mut command = Command::new("tcpdump");
        command.args(["-r", capture, "-w", "/dev/null"]);
        all.push(Program::new("tcpdump -w /dev/null", "nothing: reads packet by packet", command));
    }
    if there("softflowd", "-h") {
        let mut command = Command::new("softflowd");
        let to = takes_records.local_addr()?.to_string();
        // IPFIX, so that IPv6 counts; room for all flows, as netweir has it; not as a daemon.
        command.args(["-r", capture, "-n", &to, "-v", "10", "-m", "2000000", "-d"]);
        all.push(Program::new("softflowd", "counters", command));
    }
    if there("nfpcapd", "-h") {
        let records = path("nfpcapd");
        std::fs::create_dir_all(&records)?;
        let mut command = Command::new("nfpcapd");
        command.args(["-r", capture, "-w", &records]);
        all.push(Program::new("nfpcapd", "counters", command));
    }
    if there("argus", "-h") {
        // Without its system-wide configuration, which may make a daemon of it.
        let (none, records) = (path("argus.conf"), path("argus.records"));
        std::fs::write(&none, "")?;
        let mut command = Command::new("argus");
        command.args(["-F", &none, "-r", capture, "-w", &records]);
        all.push(Program::new("argus", "records", command));
    }
    if let Some(python) = python("nfstream") {
        let mut command = script(&python, "nfstream_statistics.py");
        command.arg(capture);
        let mut program = Program::new("NFStream with statistics", "77 columns", command);
        program.slow = true;
        all.push(program);
    }
    Ok(all)
}
