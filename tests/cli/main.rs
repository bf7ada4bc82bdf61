//! The binary as people use it: output, exit codes, and one line for everything that can be wrong.

// What is not there fails the test.
#![allow(clippy::unwrap_used)]

mod inputs;
mod models;
mod outputs;
mod reports;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod words;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use support::binary::{run, succeed};

/// The head of a file of labels.
const LABELS: &str = "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n";

fn datasets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/lab").join(name)
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Names of all files below the folder.
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let below = path.strip_prefix(self.folder.path()).unwrap();
                    names.push(below.to_string_lossy().into_owned());
                }
            }
        }
        names.sort();
        names
    }
}

/// Runs the binary, which must fail with code 2 and one line; gives the line.
fn error(arguments: &[&dyn AsRef<OsStr>]) -> String {
    let arguments: Vec<&OsStr> = arguments.iter().map(|argument| (*argument).as_ref()).collect();
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert!(said.starts_with("netweir: "), "{said}");
    said.trim_end()["netweir: ".len()..].to_owned()
}

/// Runs the binary, which must succeed; the arguments may be of any kind.
fn fine(arguments: &[&dyn AsRef<OsStr>]) -> std::process::Output {
    succeed(&arguments.iter().map(|argument| (*argument).as_ref()).collect::<Vec<&OsStr>>())
}

/// One Ethernet frame with a UDP datagram.
fn frame(number: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend((1000 + number).to_be_bytes());
    frame.extend([0, 53, 0, 12, 0, 0, 1, 2, 3, 4]);
    frame
}

/// A classic capture: link type and snap length as given.
fn pcap(link: u32, snap: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xA1B2_C3D4u32, 0x0004_0002, 0, 0, snap, link] {
        bytes.extend(word.to_le_bytes());
    }
    for (second, frame) in (1_700_000_000u32..).zip(frames) {
        let length = frame.len() as u32;
        for word in [second, 0, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    bytes
}

fn some_frames() -> Vec<Vec<u8>> {
    (0..20).map(frame).collect()
}

/// A model of a few rows, in a second.
fn small_model(place: &Place) -> PathBuf {
    let capture = place.write("train.pcap", pcap(1, 65535, &some_frames()));
    let model = place.at("small.netweir");
    let forest = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/forest.toml");
    fine(&[&"train", &"-q", &capture, &"-p", &forest, &"-m", &model]);
    model
}
