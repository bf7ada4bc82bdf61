//! Runs as a program asks for them: what cannot be is an error before anything is touched, and so is a panic.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use super::*;
use crate::sink::Style;

const TRAIN: &str = "datasets/lab/train.pcap.zst";
const ATTACKS: &str = "datasets/lab/attacks.pcap.zst";

/// How long a run may take that is to fail.
const SOON: Duration = Duration::from_secs(600);

fn reading(verb: &str, capture: &str) -> Spec {
    let mut spec = Spec::built_in(verb);
    spec.source.inputs = vec![format!("{}/{capture}", env!("CARGO_MANIFEST_DIR"))];
    spec
}

/// Sets what cannot be.
type Wrong = fn(&mut Spec);

/// The files below a folder, by name, and what they hold.
fn held(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut held = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => held.extend(self::held(&path)),
            false => held
                .push((path.clone(), String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned())),
        }
    }
    held.sort();
    held
}

#[test]
fn what_cannot_be_is_an_error_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.csv");
    std::fs::write(&rows, "of an earlier run").unwrap();
    let asked = || {
        let mut spec = reading("extract", ATTACKS);
        spec.ends.rows = Some(rows.clone());
        spec
    };
    let controls = Controls { workers: 0, ..Controls::default() };
    assert!(matches!(run(&asked(), controls), Err(RunError::NoWorkers)));
    let wrong: [(&str, Wrong); 13] = [
        ("[source] slice = 0ns: must be between", |spec| spec.source.slice = Duration::ZERO),
        ("[source] slice = ", |spec| spec.source.slice = Duration::MAX),
        ("[source] slice = 61s: must be at most [incident] keep, 60s", |spec| {
            spec.source.slice = Duration::from_secs(61);
        }),
        ("[source] lateness = ", |spec| spec.source.lateness = Duration::MAX),
        ("[source] inputs and interface exclude", |spec| spec.source.interface = Some("lo".to_owned())),
        ("[flow] window = 0ns: must be between", |spec| spec.flow.window = Duration::ZERO),
        ("[flow] window = 1ns: must be between", |spec| spec.flow.window = Duration::from_nanos(1)),
        ("[flow] window = ", |spec| spec.flow.window = Duration::MAX),
        ("[flow] idle = 0ns: must be between", |spec| spec.flow.idle = Duration::ZERO),
        ("[flow] timezone = \"Mars/Olympus\": must be", |spec| {
            spec.flow.timezone = "Mars/Olympus".to_owned()
        }),
        ("[flow] max_flows = 5: must be between 1024", |spec| spec.flow.max_flows = 5),
        ("[incident] keep = ", |spec| spec.incident.keep = Duration::MAX),
        ("[incident] alerts_per_day = 0: must be", |spec| spec.incident.alerts_per_day = Some(0)),
    ];
    for (expected, set) in wrong {
        let mut spec = asked();
        set(&mut spec);
        let said = run(&spec, Controls::default()).unwrap_err().to_string();
        assert!(said.starts_with(expected) && !said.contains('\n'), "{said}");
    }
    assert_eq!(held(folder.path()), [(rows, "of an earlier run".to_owned())]);
}

/// Takes no line.
struct Panicking;

impl Write for Panicking {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        // As a panic does, but no hook hears of it.
        std::panic::resume_unwind(Box::new("the lines\nare full"))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_ends_all_workers_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = reading("train", TRAIN);
    spec.ends.fit = Some(folder.path().join("model.netweir"));
    run(&spec, Controls::default()).unwrap();
    let mut spec = reading("detect", ATTACKS);
    spec.ends.model = Some(folder.path().join("model.netweir"));
    spec.ends.report = Some(folder.path().join("out"));
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(folder.path().join("out/summary.json"), "of an earlier run").unwrap();
    let before = held(folder.path());
    for workers in [1, 3] {
        let (tell, told) = channel();
        let spec = spec.clone();
        std::thread::spawn(move || {
            let alerts: Lines = (Box::new(Panicking), Style::Plain);
            let ran = run(&spec, Controls { workers, alerts: Some(alerts), ..Controls::default() });
            tell.send(ran.map(drop)).unwrap();
        });
        let error = told.recv_timeout(SOON).unwrap().unwrap_err();
        assert!(matches!(&error, RunError::Panicked(words) if words == "the lines; are full"), "{error}");
        assert!(held(folder.path()) == before, "{workers} workers");
    }
}

#[test]
fn no_room_for_open_flows_is_told_as_itself() {
    let room = crate::flow::region::NoRoom { bytes: 7_000_000 };
    assert_eq!(RunError::of_panic(Box::new(room)).to_string(), room.to_string());
}

#[test]
fn controls_are_shown_without_what_they_call() {
    let controls = Controls { workers: 2, progress: Some(Box::new(|_| ())), ..Controls::default() };
    let shown = "Controls { workers: 2, stop: false, progress: true, alerts: false, notices: false }";
    assert_eq!(format!("{controls:?}"), shown);
}

/// A capture of one datagram a second.
fn seconds(count: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4u32, 4 << 16 | 2, 0, 0, 65_535, 101] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let datagram =
        [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x20, 0, 0, 53, 0, 8, 0, 0];
    for second in 0..count {
        for word in [1_700_000_000 + second, 0, 28, 28] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&datagram);
    }
    bytes
}

#[cfg(unix)]
#[test]
fn rows_of_windows_that_are_complete_are_there_while_the_writer_of_a_pipe_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut spec = Spec::built_in("extract");
    spec.source.inputs = vec![pipe.display().to_string()];
    spec.ends.rows = Some(folder.path().join("rows.csv"));
    for workers in [1, 2] {
        let (tell, told) = channel();
        let progress = move |progress: &Progress| {
            if progress.rows > 0 {
                let _ = tell.send(());
            }
        };
        let to = pipe.clone();
        let writer = std::thread::spawn(move || {
            let mut to = std::fs::File::create(to).unwrap();
            to.write_all(&seconds(25)).unwrap();
            told.recv_timeout(SOON).is_ok()
        });
        let controls = Controls { workers, progress: Some(Box::new(progress)), ..Controls::default() };
        let outcome = run(&spec, controls).unwrap();
        assert!(writer.join().unwrap(), "nothing came before the end, with {workers} workers");
        assert_eq!((outcome.summary.packets, outcome.summary.rows), (25, 3));
    }
}
