//! Live against archive: what `watch` scored while frames came in, `detect` scores again, row for row,
//! from the capture that `watch` wrote.
//!
//! Frames cross a pair of virtual Ethernet interfaces in a network namespace without a name, which ends
//! with the thread that made it. Skipped, with the reason, where that is not allowed.

// Namespaces, packet sockets and signals are system calls.
#![allow(unsafe_code)]
// What a test prepares outside its own function fails as the test does.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::Int8Type;
use arrow::record_batch::RecordBatch;
use netweir::sink::report::{INCIDENT_ROWS, SCORES, parts};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

/// Windows of a second, so that a run of some seconds has many. `lateness` keeps the last ones open while a
/// slow machine gets from the last frame to the signal.
const PIPELINE: &str = r#"
name = "live"

[source]
lateness = "3s"

[flow]
window = "1s"

[context]
columns = ["ctx_src_w1_flows", "ctx_src_w6_peers", "ctx_dst_w30_flows"]

[encode]
log1p = ["duration_s", "fwd_packets", "bwd_packets", "fwd_bytes", "bwd_bytes", "bidir_gap_mean_s", "ctx_*"]
onehot = ["conn_state", "service"]

[detect]
detector = "forest"
trees = 50
sample = 256
contamination = 0.01
"#;

/// A frame and its time since the first, in nanoseconds.
struct Sent {
    after: u64,
    frame: Vec<u8>,
}

/// Numbers that look random and are the same in every run (Knuth's MMIX constants).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// One side of a conversation.
#[derive(Clone, Copy)]
struct End {
    address: [u8; 4],
    port: u16,
    sequence: u32,
}

/// An IPv4 frame; checksums are nobody's business here.
fn frame(protocol: u8, from: End, to: End, flags: u8, payload: usize) -> Vec<u8> {
    let transport = if protocol == TCP { 20 } else { 8 };
    let length = (20 + transport + payload) as u16;
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(from.address);
    frame.extend(to.address);
    frame.extend(from.port.to_be_bytes());
    frame.extend(to.port.to_be_bytes());
    if protocol == TCP {
        frame.extend(from.sequence.to_be_bytes());
        frame.extend(if flags & ACK != 0 { to.sequence } else { 0 }.to_be_bytes());
        frame.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    } else {
        frame.extend((8 + payload as u16).to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.resize(14 + usize::from(length), 0x55);
    frame
}

/// Some hundred conversations within some 16 s.
fn traffic() -> Vec<Sent> {
    let mut numbers = Numbers(7);
    let mut sent = Vec::new();
    for flow in 0..300_u64 {
        let mut after = flow * 50_000_000;
        let client = [10, 0, 0, numbers.below(40) as u8 + 1];
        let server = [10, 0, 1, numbers.below(9) as u8 + 1];
        let protocol = if flow % 3 == 0 { UDP } else { TCP };
        let port = if protocol == UDP { 53 } else { [80, 443, 22, 8080][numbers.below(4) as usize] };
        let mut client = End { address: client, port: 40_000 + flow as u16, sequence: 100 };
        let mut server = End { address: server, port, sequence: 900 };
        let mut send = |gap: u64, upward: bool, flags: u8, payload: usize| {
            after += 50_000 + gap;
            let (from, to) = if upward { (&mut client, &server) } else { (&mut server, &client) };
            sent.push(Sent { after, frame: frame(protocol, *from, *to, flags, payload) });
            from.sequence += payload as u32 + u32::from(flags & (SYN | FIN) != 0);
        };
        if protocol == UDP {
            for _ in 0..1 + numbers.below(3) {
                send(numbers.below(300_000_000), true, 0, 30 + numbers.below(30) as usize);
                send(numbers.below(20_000_000), false, 0, 60 + numbers.below(400) as usize);
            }
            continue;
        }
        send(0, true, SYN, 0);
        if flow % 11 == 0 {
            continue;
        }
        send(numbers.below(30_000_000), false, SYN | ACK, 0);
        send(numbers.below(1_000_000), true, ACK, 0);
        for _ in 0..numbers.below(9) {
            send(numbers.below(200_000_000), true, PSH | ACK, 1 + numbers.below(500) as usize);
            send(numbers.below(50_000_000), false, PSH | ACK, 1 + numbers.below(1400) as usize);
        }
        send(numbers.below(50_000_000), true, FIN | ACK, 0);
        send(numbers.below(30_000_000), false, FIN | ACK, 0);
        send(numbers.below(1_000_000), true, ACK, 0);
    }
    sent.sort_by_key(|sent| sent.after);
    sent
}

/// Writes frames as a capture of another day, for training.
fn write_capture(path: &Path, sent: &[Sent]) {
    let mut bytes = Vec::new();
    for field in [0xa1b2_3c4d_u32, 4 << 16 | 2, 0, 0, 262_144, 1] {
        bytes.extend(field.to_le_bytes());
    }
    for Sent { after, frame } in sent {
        let time = 1_700_000_000_000_000_000 + after;
        let (seconds, rest) = ((time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32);
        for field in [seconds, rest, frame.len() as u32, frame.len() as u32] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(frame);
    }
    std::fs::write(path, bytes).unwrap();
}

/// Runs a test on a thread with a network namespace of its own, unless this machine cannot.
fn alone(test: impl FnOnce() + Send + 'static) {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only root may make a network namespace");
        return;
    }
    if Command::new("ip").arg("-Version").output().is_err() {
        eprintln!("skipped: no `ip` (iproute2)");
        return;
    }
    let thread = std::thread::spawn(move || {
        // SAFETY: no pointers; only this thread changes, and what it starts.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            eprintln!("skipped: no network namespace: {}", io::Error::last_os_error());
            return;
        }
        // Nothing but what the test sends: no neighbour or router discovery. Missing where IPv6 is.
        for conf in ["all", "default"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1");
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) -> String {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Looks again and again, for a minute at most.
fn until(what: &str, mut seen: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if seen() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("waited for a minute: {what}");
}

/// Both ends of a cable: what is sent into `near` comes out of `far`.
fn cable() {
    ip("link add near type veth peer name far");
    ip("link set near up");
    ip("link set far up");
    for end in ["near", "far"] {
        // What is sent before the kernel has noticed the carrier is lost.
        until("carrier", || ip(&format!("link show {end}")).contains("state UP"));
    }
}

fn index(name: &str) -> u32 {
    let name = CString::new(name).unwrap();
    // SAFETY: a string that ends with zero.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

/// A packet socket of all protocols.
fn packet_socket(name: &str) -> OwnedFd {
    // SAFETY: no pointers, then a descriptor that nobody else owns.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0, "{}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(socket)
    };
    // SAFETY: plain numbers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index(name) as i32;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: a whole address, with its length, that outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(bound, 0, "{}", io::Error::last_os_error());
    socket
}

/// Frames that met a packet socket since it was last asked.
fn met(socket: &OwnedFd) -> u64 {
    let mut counts = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to a value that outlives the call.
    let done = unsafe {
        let value = (&raw mut counts).cast();
        let level = libc::SOL_PACKET;
        libc::getsockopt(socket.as_raw_fd(), level, libc::PACKET_STATISTICS, value, &raw mut length)
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    counts.tp_packets.into()
}

/// Packet sockets of this namespace that listen to an interface.
fn listeners(name: &str) -> usize {
    let index = index(name).to_string();
    let table = std::fs::read_to_string("/proc/thread-self/net/packet").unwrap();
    // sk RefCnt Type Proto Iface R(unning) ...
    let on = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(4) == Some(&&index[..]) && fields.get(5) == Some(&"1")
    };
    table.lines().skip(1).filter(on).count()
}

fn netweir(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netweir"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn succeed(what: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "netweir {what}: {}: {said}", output.status);
}

/// What is sent, the cable that it goes through, and a folder with the pipeline `live.toml` and the `model` that was
/// learned of the same.
struct Wire {
    folder: TempDir,
    sent: Vec<Sent>,
}

impl Wire {
    fn new() -> Wire {
        let wire = Wire { folder: tempfile::tempdir().unwrap(), sent: traffic() };
        write_capture(Path::new(&wire.at("train.pcap")), &wire.sent);
        std::fs::write(wire.at("live.toml"), PIPELINE).unwrap();
        let train =
            ["train", &wire.at("train.pcap"), "-m", &wire.at("model"), "-p", &wire.at("live.toml"), "-q"];
        succeed("train", &netweir(&train).output().unwrap());
        cable();
        wire
    }

    /// A path in the folder.
    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `watch` on the far end of the cable, into a folder `live` or of another name; the recording is `live.pcap`.
    fn watch(&self, live: &str) -> Command {
        let (model, live, capture) = (self.at("model"), self.at(live), self.at("live.pcap"));
        netweir(&["watch", "-i", "far", "-m", &model, "-o", &live, "--write-pcap", &capture, "-w", "2"])
    }

    /// Scores the recording, with other arguments, into a folder.
    fn detect(&self, again: &str, more: &[&str]) {
        let (capture, model, again) = (self.at("live.pcap"), self.at("model"), self.at(again));
        let detect = ["detect", &capture, "-m", &model, "-o", &again, "-q"];
        succeed("detect", &netweir(&[&detect, more].concat()).output().unwrap());
    }

    /// A file of rows in a folder.
    fn rows(&self, folder: &str, name: &str) -> RecordBatch {
        rows(Path::new(&self.at(folder)), name)
    }

    /// A file of a folder.
    fn text(&self, folder: &str, name: &str) -> String {
        std::fs::read_to_string(Path::new(&self.at(folder)).join(name)).unwrap()
    }
}

/// A terminal, which is gone when it is dropped.
struct Terminal {
    _screen: File,
    line: File,
}

impl Terminal {
    fn open() -> Terminal {
        let open = |path: &str| {
            let mut options = File::options();
            options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(path).unwrap()
        };
        let screen = open("/dev/ptmx");
        let (locked, mut number) = (0, 0);
        // SAFETY: both calls look at a number that outlives them.
        unsafe {
            assert_eq!(libc::ioctl(screen.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked), 0);
            assert_eq!(libc::ioctl(screen.as_raw_fd(), libc::TIOCGPTN, &raw mut number), 0);
        }
        let line = open(&format!("/dev/pts/{number}"));
        Terminal { _screen: screen, line }
    }
}

/// A child that does not outlive a test that fails.
struct Watcher(Option<Child>);

impl Watcher {
    /// Starts what listens on the far end of the cable, without a terminal, and a witness of all that comes there.
    fn start(command: Command) -> (Watcher, OwnedFd) {
        Watcher::start_on(None, command)
    }

    /// The same on a terminal.
    fn start_on(terminal: Option<&Terminal>, mut command: Command) -> (Watcher, OwnedFd) {
        // Opened before the watcher's socket, it has its copy of a frame after it.
        let witness = packet_socket("far");
        let line = terminal.map(|terminal| terminal.line.as_raw_fd());
        // SAFETY: what is called between fork and exec may be: system calls on numbers alone.
        unsafe {
            command.pre_exec(move || {
                // The tests may run below `nohup`, whose signal would not reach it then.
                let is_told = libc::signal(libc::SIGHUP, libc::SIG_DFL) != libc::SIG_ERR;
                let is_apart = libc::setsid() != -1;
                let is_on = line.is_none_or(|line| libc::ioctl(line, libc::TIOCSCTTY, 0) == 0);
                if is_told && is_apart && is_on { Ok(()) } else { Err(io::Error::last_os_error()) }
            });
        }
        let mut watcher = Watcher(Some(command.spawn().unwrap()));
        until("watch listens", || !watcher.running() || listeners("far") == 2);
        (watcher, witness)
    }

    fn running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    fn interrupt(self) -> Output {
        self.end(libc::SIGINT)
    }

    /// Sends a signal.
    fn tell(&mut self, signal: i32) {
        if self.running() {
            let id = self.0.as_ref().expect("it runs").id();
            // SAFETY: no pointers; a child that has not been waited for keeps its number.
            assert_eq!(unsafe { libc::kill(id as libc::pid_t, signal) }, 0);
        }
    }

    /// Sends a signal and waits for the end.
    fn end(mut self, signal: i32) -> Output {
        self.tell(signal);
        self.wait()
    }

    /// Waits for the end.
    fn wait(mut self) -> Output {
        until("watch ends", || !self.running());
        self.0.take().expect("it ran").wait_with_output().unwrap()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The rows of a file of a report; a live run wrote it by hours.
fn rows(folder: &Path, name: &str) -> RecordBatch {
    let (mut schema, mut all) = (None, Vec::new());
    for path in parts(folder, name).unwrap() {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        schema = Some(builder.schema().clone());
        all.extend(builder.build().unwrap().map(|batch| batch.unwrap()));
    }
    let schema = schema.unwrap_or_else(|| panic!("no {name} in {}", folder.display()));
    // Each batch of rows names the same schema; what it says beside the columns may differ by the file.
    concat_batches(&schema, &all).unwrap()
}

/// Holds two tables to the same columns with the same values, and names the first that differs.
fn assert_same_rows(live: &RecordBatch, archive: &RecordBatch) {
    let names = |rows: &RecordBatch| {
        rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(live), names(archive));
    assert_eq!(live.num_rows(), archive.num_rows(), "rows live and from the capture");
    for (index, name) in names(live).iter().enumerate() {
        let (live, archive) = (live.column(index), archive.column(index));
        if live == archive {
            continue;
        }
        let row = (0..live.len()).find(|row| live.slice(*row, 1) != archive.slice(*row, 1));
        let row = row.expect("columns that differ do so in a row");
        let (live, archive) = (live.slice(row, 1), archive.slice(row, 1));
        panic!("{name}, row {row}: live {live:?}, from the capture {archive:?}");
    }
}

/// The number under a key, wherever it stands; of a table of numbers the sum.
fn number(summary: &Value, key: &str) -> Option<u64> {
    fn total(value: &Value) -> Option<u64> {
        match value {
            Value::Object(map) => map.values().map(total).sum(),
            value => value.as_u64(),
        }
    }
    match summary {
        Value::Object(map) => match map.get(key) {
            Some(value) => total(value),
            None => map.values().find_map(|value| number(value, key)),
        },
        Value::Array(values) => values.iter().find_map(|value| number(value, key)),
        _ => None,
    }
}

#[test]
fn rows_scored_live_are_scored_alike_from_the_capture_written_on_the_way() {
    live_is_archive(Duration::ZERO);
}

#[test]
fn windows_that_closed_on_a_quiet_wire_close_so_again() {
    live_is_archive(Duration::from_millis(4500));
}

/// Sends the frames at their times as long as the watcher runs, each after `before` was told its number, and waits until
/// the witness has met all of them. Returns how many it met.
fn send(sent: &[Sent], watcher: &mut Watcher, witness: &OwnedFd, before: impl Fn(usize)) -> u64 {
    let mut sender = File::from(packet_socket("near"));
    let mut now = 0;
    for (number, Sent { after, frame }) in sent.iter().enumerate() {
        if !watcher.running() {
            break;
        }
        before(number);
        sleep(Duration::from_nanos(after - now));
        now = *after;
        assert_eq!(sender.write(frame).unwrap(), frame.len());
    }
    let mut arrived = 0;
    until("all frames arrive", || {
        arrived += met(witness);
        arrived >= sent.len() as u64 || !watcher.running()
    });
    arrived
}

/// Scores live what is sent, stops after the wire was quiet for that long, scores the recording.
fn live_is_archive(quiet: Duration) {
    alone(move || {
        let wire = Wire::new();
        let mut watch = wire.watch("live");
        watch.arg("-q");
        let (mut watcher, witness) = Watcher::start(watch);
        let state = || std::fs::read(wire.at("live/status.json"));
        until("the state is there from the start", || state().is_ok());
        let arrived = send(&wire.sent, &mut watcher, &witness, |_| ());
        sleep(quiet);
        succeed("watch", &watcher.interrupt());
        wire.detect("again", &[]);

        let (scored, again) = (wire.rows("live", SCORES), wire.rows("again", SCORES));
        assert!(scored.num_rows() >= 300, "each of 300 flows has a row, here are {}", scored.num_rows());
        assert_same_rows(&scored, &again);
        let log = |folder| wire.text(folder, "incidents.jsonl");
        assert!(!log("live").is_empty(), "odd rows make incidents");
        assert_eq!(log("live"), log("again"), "incidents live and from the capture");
        assert_same_rows(&wire.rows("live", INCIDENT_ROWS), &wire.rows("again", INCIDENT_ROWS));
        let first: Value = serde_json::from_str(log("live").lines().next().unwrap()).unwrap();
        let explained = |folder: &str| {
            let output =
                netweir(&["explain", &wire.at(folder), first["id"].as_str().unwrap()]).output().unwrap();
            succeed("explain", &output);
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(explained("live").contains("rows, the oddest first"), "{}", explained("live"));
        assert_eq!(explained("live"), explained("again"));

        let summary: Value = serde_json::from_str(&wire.text("live", "summary.json")).unwrap();
        let count = |key| number(&summary, key).unwrap_or_else(|| panic!("no {key} in {summary}"));
        assert_eq!(arrived, wire.sent.len() as u64, "frames that met the interface and frames sent");
        assert_eq!((count("received"), count("dropped"), count("late")), (arrived, 0, 0));
        assert_eq!(count("frames"), arrived);
        let refused = ["not_ip", "truncated", "malformed", "unknown_link"].map(count);
        assert_eq!(count("frames"), count("packets") + refused.iter().sum::<u64>());
    });
}

/// The last line of each incident that was not taken back, without when it was said, and the rows that are left.
fn final_state(folder: &Path) -> (BTreeMap<String, Value>, BTreeSet<String>) {
    let log = std::fs::read_to_string(folder.join("incidents.jsonl")).unwrap();
    let mut incidents = BTreeMap::new();
    for line in log.lines() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        let event = event.as_object_mut().unwrap();
        for key in ["change", "time"] {
            event.remove(key);
        }
        incidents.insert(event["id"].as_str().unwrap().to_owned(), Value::Object(event.clone()));
    }
    incidents.retain(|_, incident| incident["alerts"] != 0);
    let rows = rows(folder, INCIDENT_ROWS);
    let diffs = rows.column_by_name("diff").unwrap().as_primitive::<Int8Type>().values().to_vec();
    let names = ["incident", "window_start", "flow_id", "muted_by"];
    let mut left: BTreeMap<String, i64> = BTreeMap::new();
    for (row, diff) in diffs.iter().enumerate() {
        let name = names.map(|name| format!("{:?}", rows.column_by_name(name).unwrap().slice(row, 1)));
        *left.entry(name.concat()).or_default() += i64::from(*diff);
    }
    assert!(left.values().all(|count| (0..=1).contains(count)));
    (incidents, left.into_iter().filter(|(_, count)| *count == 1).map(|(name, _)| name).collect())
}

#[test]
fn rules_that_change_while_watch_runs_end_as_in_a_run_that_had_them_from_the_start() {
    alone(|| {
        let wire = Wire::new();
        let (sent, rules) = (&wire.sent, wire.at("rules.toml"));
        std::fs::write(&rules, "[threshold]\ncontamination = 0.1\n").unwrap();
        let mut watch = wire.watch("live");
        watch.args(["--allow", &rules]);
        let (mut watcher, witness) = Watcher::start(watch);
        send(sent, &mut watcher, &witness, |number| {
            if number == sent.len() / 10 {
                std::fs::write(&rules, "[[alow]]\n").unwrap();
            }
            // What the rule mutes and the threshold leaves out is said of incidents before, which change.
            if number == sent.len() / 2 {
                let changed = "[threshold]\ncontamination = 0.04\n\
                               [[allow]]\nnet = '10.0.1.0/30'\nwhy = 'servers of ours'\n";
                std::fs::write(&rules, changed).unwrap();
            }
        });
        let output = watcher.interrupt();
        succeed("watch", &output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("did you mean `allow`?") && said.contains("stays in force"), "{said}");
        assert!(
            said.contains("rules.toml: changed: 1 rule, scores above ")
                && said.contains("contamination = 0.04"),
            "{said}"
        );
        wire.detect("again", &["--allow", &rules]);

        let (incidents, left) = final_state(Path::new(&wire.at("live")));
        let (fresh, expected) = final_state(Path::new(&wire.at("again")));
        assert!(!fresh.is_empty() && !expected.is_empty());
        assert_eq!(incidents, fresh);
        assert_eq!(left, expected);
        let belonging = wire.rows("live", INCIDENT_ROWS);
        let diffs = belonging.column_by_name("diff").unwrap().as_primitive::<Int8Type>().values().to_vec();
        assert!(diffs.contains(&-1), "the change reached what was said before");

        // Scores are the same; which of them are anomalies is by the threshold of their time.
        let (scored, again) = (wire.rows("live", SCORES), wire.rows("again", SCORES));
        let column = |rows: &RecordBatch, name: &str| rows.column_by_name(name).unwrap().clone();
        for name in ["flow_id", "window_start", "score", "p_value"] {
            assert!(column(&scored, name) == column(&again, name), "{name}");
        }
        let odd = |rows: &RecordBatch| column(rows, "is_anomaly").as_boolean().clone();
        let (odd, fresh) = (odd(&scored), odd(&again));
        let last = odd.len() - 1;
        assert!(odd.true_count() > fresh.true_count(), "the first half had a looser threshold");
        let same = (0..=last).rev().take_while(|row| odd.value(*row) == fresh.value(*row)).count();
        assert!(same > odd.len() / 10, "the last rows have the new one");
        let alerts = wire.text("live", "alerts.eve.jsonl");
        let summary: Value = serde_json::from_str(&wire.text("live", "summary.json")).unwrap();
        assert_eq!(number(&summary, "anomalies"), Some(odd.true_count() as u64));
        // The rule came in the middle: it mutes rows from then on.
        let muted = number(&summary, "muted").unwrap();
        assert_eq!(alerts.lines().count() as u64 + muted, odd.true_count() as u64);
    });
}

/// An interface that goes down, the end of the terminal, and a request that comes by two ways (`timeout` tells a process
/// and its group) end a run as Ctrl-C does. The next run goes on with its report.
#[test]
fn whatever_ends_a_live_run_leaves_a_whole_report() {
    alone(|| {
        let wire = Wire::new();
        let log = |folder| wire.text(folder, "incidents.jsonl");
        let (mut lines, mut rows) = (String::new(), 0);
        for end in ["the terminal is gone", "it is told twice", "the interface is down"] {
            let terminal = (end == "the terminal is gone").then(Terminal::open);
            let (mut watcher, witness) = Watcher::start_on(terminal.as_ref(), wire.watch("live"));
            send(&wire.sent, &mut watcher, &witness, |_| ());
            let said = match end {
                "the terminal is gone" => {
                    drop(terminal);
                    let output = watcher.wait();
                    succeed("watch", &output);
                    output.stderr
                }
                "it is told twice" => {
                    // What rotates logs tells a service; it has no terminal, and goes on.
                    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP, libc::SIGHUP] {
                        watcher.tell(signal);
                    }
                    sleep(Duration::from_millis(500));
                    assert!(watcher.running());
                    watcher.tell(libc::SIGTERM);
                    std::thread::sleep(Duration::from_millis(2));
                    let output = watcher.end(libc::SIGTERM);
                    succeed("watch", &output);
                    output.stderr
                }
                _ => {
                    ip("link set far down");
                    let output = watcher.wait();
                    assert_eq!(output.status.code(), Some(2));
                    output.stderr
                }
            };
            let said = String::from_utf8(said).unwrap();
            assert!(said.starts_with("listening on far (2 workers, report in "), "{said}");
            assert!(said.contains("frames,"), "what was counted is said: {said}");
            let summary: Value = serde_json::from_str(&wire.text("live", "summary.json")).unwrap();
            let state: Value = serde_json::from_str(&wire.text("live", "status.json")).unwrap();
            for key in [
                "frames",
                "packets",
                "received",
                "dropped",
                "rows",
                "anomalies",
                "alerts",
                "incidents",
                "model_sha256",
            ] {
                assert!(!summary[key].is_null() && state[key] == summary[key], "{key}: {state}, {summary}");
            }
            assert!(state["began"].as_str() < state["written"].as_str(), "{state}");
            assert!(state["newest_packet"].as_str() > state["began"].as_str(), "{state}");
            assert_eq!(
                said.contains("far: the interface went down"),
                end == "the interface is down",
                "{said}"
            );
            let _ = std::fs::remove_dir_all(wire.at("again"));
            wire.detect("again", &[]);
            let scored = wire.rows("live", SCORES);
            assert_same_rows(&scored.slice(rows, scored.num_rows() - rows), &wire.rows("again", SCORES));
            assert!(!log("again").is_empty());
            assert_eq!(log("live"), lines.clone() + &log("again"), "every incident is closed");
            assert_eq!(said.contains(", going on with the one there)\n"), rows > 0, "{said}");
            (lines, rows) = (log("live"), scored.num_rows());
            // What several runs have written is one report, and learned from as one.
            succeed("explain", &netweir(&["explain", &wire.at("live")]).output().unwrap());
            let all = ["train", &wire.at("live/scores"), "-m", &wire.at("anew"), "-q"];
            succeed("train", &netweir(&all).output().unwrap());
        }
    });
}

/// Rows that were removed under its hands end a run, with all else that it writes; lines that nobody can take do not.
#[test]
fn an_output_that_is_lost_takes_no_other_with_it() {
    alone(|| {
        let wire = Wire::new();
        let sent = &wire.sent;
        for lost in ["rows", "lines"] {
            let mut watch = wire.watch(lost);
            if lost == "lines" {
                watch.stdout(File::options().write(true).open("/dev/full").unwrap());
            }
            let (mut watcher, witness) = Watcher::start(watch);
            send(sent, &mut watcher, &witness, |number| {
                if lost == "rows" && number == sent.len() / 2 {
                    std::fs::remove_dir_all(wire.at("rows/scores")).unwrap();
                }
            });
            let output = if lost == "rows" { watcher.wait() } else { watcher.interrupt() };
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("frames,"), "what was counted is said: {said}");
            match lost {
                "rows" => {
                    assert_eq!(output.status.code(), Some(2));
                    assert!(said.contains("part-0.parquet: was removed or moved away"), "{said}");
                }
                _ => {
                    assert!(output.status.success(), "{said}");
                    assert_eq!(said.matches("standard output: No space left on device").count(), 1, "{said}");
                }
            }
            let again = format!("{lost} again");
            wire.detect(&again, &[]);
            for name in ["incidents.jsonl", "alerts.eve.jsonl"] {
                // Alerts name the interface that they came from.
                let log = |folder| wire.text(folder, name).replace("\"in_iface\":\"far\",", "");
                assert!(!log(lost).is_empty());
                assert_eq!(log(lost), log(&again), "{name}");
            }
            assert_same_rows(&wire.rows(lost, INCIDENT_ROWS), &wire.rows(&again, INCIDENT_ROWS));
            assert!(Path::new(&wire.at(lost)).join("summary.json").is_file());
        }
    });
}
