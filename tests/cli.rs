//! The binary as people use it: output, exit codes, and one line for everything that can be wrong.

// What is not there fails the test.
#![allow(clippy::unwrap_used)]

mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use support::binary::{run, succeed};
use support::datagram::{self, tcp, udp};

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
    let arguments: [&OsStr; 7] = [
        "train".as_ref(),
        "-q".as_ref(),
        capture.as_ref(),
        "-p".as_ref(),
        forest.as_ref(),
        "-m".as_ref(),
        model.as_ref(),
    ];
    succeed(&arguments);
    model
}

#[test]
fn inputs_that_cannot_be_read_are_named() {
    let place = Place::new();
    let out = place.at("out.parquet");
    let missing = place.at("nowhere.pcap");
    let said = error(&[&"extract", &missing, &"-o", &out]);
    assert!(said.contains("nowhere.pcap") && said.contains("No such file"), "{said}");

    let empty = place.at("empty");
    std::fs::create_dir(&empty).unwrap();
    let said = error(&[&"extract", &empty, &"-o", &out]);
    assert!(said.contains("empty") && said.contains("no capture"), "{said}");

    let text = place.write("notes.txt", "these are no packets at all");
    let said = error(&[&"extract", &text, &"-o", &out]);
    assert!(said.contains("notes.txt") && said.contains("74 68 65 73"), "{said}");

    let said = error(&[&"extract", &place.at("*.pcapng"), &"-o", &out]);
    assert!(said.contains("*.pcapng"), "{said}");
    assert!(!out.exists());
}

#[test]
fn files_without_permission_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let capture = place.write("closed.pcap", pcap(1, 65535, &some_frames()));
    std::fs::set_permissions(&capture, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&capture).is_ok() {
        eprintln!("skipped: root may read every file");
        return;
    }
    let said = error(&[&"extract", &capture, &"-o", &place.at("out.parquet")]);
    assert!(said.contains("closed.pcap") && said.contains("Permission denied"), "{said}");
}

#[test]
fn an_unknown_link_type_is_an_error_that_names_it_and_lax_counts_it() {
    let place = Place::new();
    let capture = place.write("can.pcap", pcap(227, 65535, &some_frames()));
    let out = place.at("out.parquet");
    let said = error(&[&"extract", &capture, &"-o", &out]);
    assert!(
        said.contains("can.pcap") && said.contains("record 1") && said.contains("link type 227"),
        "{said}"
    );
    assert!(!out.exists());

    let summary = place.at("summary.json");
    let arguments: [&OsStr; 8] = [
        "extract".as_ref(),
        capture.as_ref(),
        "-o".as_ref(),
        out.as_ref(),
        "--lax".as_ref(),
        "-q".as_ref(),
        "--summary".as_ref(),
        summary.as_ref(),
    ];
    succeed(&arguments);
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    assert_eq!(summary["rejects"]["unknown_link"], 20);
    assert_eq!((&summary["packets"], &summary["frames"]), (&0.into(), &20.into()));
}

#[test]
fn a_truncated_last_record_is_counted_and_all_before_it_used() {
    let place = Place::new();
    let whole = pcap(1, 65535, &some_frames());
    let capture = place.write("cut.pcap", &whole[..whole.len() - 5]);
    let (out, summary) = (place.at("out.parquet"), place.at("summary.json"));
    let arguments: [&OsStr; 7] = [
        "extract".as_ref(),
        capture.as_ref(),
        "-o".as_ref(),
        out.as_ref(),
        "-q".as_ref(),
        "--summary".as_ref(),
        summary.as_ref(),
    ];
    succeed(&arguments);
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    assert_eq!((&summary["frames"], &summary["truncated_files"]), (&19.into(), &1.into()));
}

#[test]
fn a_record_longer_than_the_snap_length_is_named_with_its_place() {
    let place = Place::new();
    let mut frames = some_frames();
    frames[3] = vec![0; 400_000];
    let capture = place.write("long.pcap", pcap(1, 65535, &frames));
    let out = place.at("out.parquet");
    let said = error(&[&"extract", &capture, &"-o", &out]);
    let offset = 24 + 3 * (16 + frame(0).len());
    assert!(said.contains("long.pcap") && said.contains("record 4"), "{said}");
    assert!(said.contains(&format!("offset {offset}")) && said.contains("65535"), "{said}");
    assert_eq!(place.files(), ["long.pcap"]);
}

#[test]
fn who_stops_reading_the_output_is_not_told_of_an_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut verb = std::process::Command::new(env!("CARGO_BIN_EXE_netweir"));
    let verb = verb.args(["features"]).stdout(writer).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let output = verb.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn a_full_disk_leaves_nothing_under_the_final_name() {
    if !Path::new("/dev/full").exists() || !nix_root() {
        eprintln!("skipped: needs root and mount");
        return;
    }
    let place = Place::new();
    let disk = place.at("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(&disk)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let said = error(&[&"extract", &datasets("train.pcap.zst"), &"-o", &disk.join("rows.parquet")]);
    let left: Vec<_> = std::fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    std::process::Command::new("umount").arg(&disk).status().unwrap();
    assert!(said.contains("rows.parquet") && said.contains("No space left"), "{said}");
    assert!(left.is_empty(), "{left:?}");
}

fn nix_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[test]
fn an_unknown_key_is_named_with_line_column_and_nearest() {
    let place = Place::new();
    let pipeline = place.write("office.toml", "name = \"office\"\n[flow]\n  idel = \"60s\"\n");
    let said = error(&[&"check", &pipeline]);
    assert!(said.contains("office.toml:3:3: unknown key `idel`: did you mean `idle`?"), "{said}");
    let pipeline = place.write("window.toml", "[flow]\nwindow = \"0s\"\n");
    let said = error(&[&"run", &pipeline]);
    assert!(said.contains("window.toml") && said.contains("window = 0ns"), "{said}");
    let pipeline = place.write("context.toml", "[context]\ncolumns = [\"ctx_src_w1_peer\"]\n");
    let said = error(&[&"check", &pipeline]);
    assert!(said.contains("ctx_src_w1_peers"), "{said}");
    let said = error(&[&"check", &place.at("nowhere.toml")]);
    assert!(said.contains("nowhere.toml: No such file"), "{said}");
}

#[test]
fn a_model_refuses_rows_of_another_make_by_the_first_difference() {
    let place = Place::new();
    let model = small_model(&place);
    let other = place.write("five.toml", "[flow]\nwindow = \"5s\"\n");
    let rows = place.at("five.parquet");
    let arguments: [&OsStr; 7] = [
        "extract".as_ref(),
        "-q".as_ref(),
        place.at("train.pcap").into_os_string().leak(),
        "-p".as_ref(),
        other.as_ref(),
        "-o".as_ref(),
        rows.as_ref(),
    ];
    succeed(&arguments);
    let said = error(&[&"detect", &rows, &"-m", &model, &"-o", &place.at("out")]);
    assert!(said.contains("window") && said.contains("5s") && said.contains("10s"), "{said}");
    assert!(!place.at("out").join("scores.parquet").exists());
}

#[test]
fn a_damaged_model_names_the_member() {
    let place = Place::new();
    let model = small_model(&place);
    let whole = std::fs::read(&model).unwrap();
    // A local header of ZIP has 30 bytes before the member's name.
    let is_member = |header: &[u8]| header.starts_with(b"PK\x03\x04") && header.ends_with(b"forest.parquet");
    let at = whole.windows(44).position(is_member).unwrap() + 44 + 40;
    let mut damaged = whole.clone();
    damaged[at] ^= 0x40;
    let path = place.write("damaged.netweir", &damaged);
    let said = error(&[&"inspect", &path]);
    assert!(said.contains("damaged.netweir") && said.contains("forest.parquet"), "{said}");
    let path = place.write("cut.netweir", &whole[..whole.len() / 2]);
    let said = error(&[&"inspect", &path]);
    assert!(said.contains("cut.netweir"), "{said}");
    let said = error(&[&"inspect", &place.at("train.pcap")]);
    assert!(said.contains("train.pcap"), "{said}");
}

/// Runs the binary, which must succeed; the arguments may be of any kind.
fn fine(arguments: &[&dyn AsRef<OsStr>]) -> std::process::Output {
    succeed(&arguments.iter().map(|argument| (*argument).as_ref()).collect::<Vec<&OsStr>>())
}

#[test]
fn a_run_changes_the_threshold_of_a_model_and_says_which_is_in_use() {
    let place = Place::new();
    // Flows of one to seven packets.
    let frames = (0..30).flat_map(|number| std::iter::repeat_n(frame(number), usize::from(number % 7) + 1));
    place.write("train.pcap", pcap(1, 65535, &frames.collect::<Vec<_>>()));
    let model = place.at("some.netweir");
    let forest = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/forest.toml");
    fine(&[&"train", &"-q", &place.at("train.pcap"), &"-p", &forest, &"-m", &model]);
    let (capture, out) = (place.at("train.pcap"), place.at("out"));
    let summary = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap()
    };
    let scores = || std::fs::read(out.join("scores.parquet")).unwrap();
    fine(&[&"detect", &"-q", &capture, &"-m", &model, &"-o", &out]);
    let (own, own_scores) = (summary(), scores());
    assert_eq!(own["threshold_by"], "the model");
    fine(&[&"detect", &"-q", &capture, &"-m", &model, &"-o", &out, &"--contamination", &"0.001"]);
    assert_eq!(summary()["threshold"], own["threshold"]);
    assert_eq!(summary()["threshold_by"], "contamination = 0.001");
    assert!(scores() == own_scores);
    fine(&[&"detect", &"-q", &capture, &"-m", &model, &"-o", &out, &"--percentile", &"50"]);
    let lower = summary();
    assert!(lower["threshold"].as_f64() < own["threshold"].as_f64());
    assert!(lower["anomalies"].as_u64() > own["anomalies"].as_u64());
    let alerts = std::fs::read_to_string(out.join("alerts.eve.jsonl")).unwrap();
    let alert: serde_json::Value = serde_json::from_str(alerts.lines().next().unwrap()).unwrap();
    assert_eq!(alert["alert"]["context"]["netweir"]["threshold"], lower["threshold"]);

    // The same by a pipeline file; what made the model may stand there as it was.
    let (text, report) = (place.at("run.toml"), place.at("by-file"));
    let pipeline = |detect: &str| {
        let ends = format!("[ends]\nmodel = {model:?}\nreport = {report:?}\n");
        std::fs::write(&text, format!("[source]\ninputs = [{capture:?}]\n{ends}[detect]\n{detect}\n"))
            .unwrap();
    };
    pipeline("trees = 300\npercentile = 50.0");
    fine(&[&"run", &"-q", &text]);
    let by_file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report.join("summary.json")).unwrap()).unwrap();
    assert_eq!(by_file["threshold"], lower["threshold"]);
    for (detect, says) in [
        ("trees = 17", "[detect] trees = 17: the model was trained with 300; "),
        ("detector = \"themes\"", "`netweir train` with pipelines/train.toml makes one that has"),
        ("percentile = 50.0\ncontamination = 0.1", "both say the threshold"),
    ] {
        pipeline(detect);
        let said = error(&[&"run", &"-q", &text]);
        assert!(said.contains(says), "{said}");
    }

    let said = error(&[&"detect", &capture, &"-m", &model, &"-o", &out, &"--false-alarm-rate", &"0.0001"]);
    assert!(said.contains(" calibration rows say ") && said.contains(" at least; "), "{said}");
    let said = error(&[&"detect", &capture, &"-m", &model, &"-o", &out, &"--contamination", &"-1"]);
    assert_eq!(said, "[detect] contamination = -1: must be above 0 and up to 0.5");
    let two: [&dyn AsRef<OsStr>; 10] =
        [&"detect", &capture, &"-m", &model, &"-o", &out, &"--contamination", &"0.1", &"--percentile", &"9"];
    let both = run(&two.map(AsRef::as_ref));
    assert_eq!(both.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&both.stderr).contains("cannot be used with"), "{both:?}");
}

#[test]
fn training_that_is_too_short_is_said_and_its_model_can_be_used() {
    let place = Place::new();
    let capture = place.write("short.pcap", pcap(1, 65535, &some_frames()));
    let model = place.at("short.netweir");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    for (pipeline, says) in [
        ("train.toml", "are fewer than 30, three blocks: rows are judged by themselves too"),
        (
            "forest.toml",
            "training has fewer than 3 windows, three blocks: p-values are by rows that the forest",
        ),
        (
            "forest-surprise.toml",
            "has fewer than 3 windows: the forest is calibrated on rows that it was grown from",
        ),
        ("sum.toml", "train on more"),
        ("ensemble.toml", "train on more"),
    ] {
        let output = fine(&[&"train", &capture, &"-p", &folder.join(pipeline), &"-m", &model]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.lines().any(|line| line.starts_with("note: ") && line.contains(says)),
            "{pipeline}: {said}"
        );
        let first = std::fs::read(&model).unwrap();
        fine(&[&"train", &"-q", &capture, &"-p", &folder.join(pipeline), &"-m", &model, &"-w", &"3"]);
        assert!(std::fs::read(&model).unwrap() == first, "{pipeline}");
        fine(&[&"detect", &"-q", &capture, &"-m", &model, &"-o", &place.at("out")]);
        let text = String::from_utf8(fine(&[&"inspect", &model]).stdout).unwrap();
        assert!(text.contains("train on more"), "{pipeline}: {text}");
    }
}

#[test]
fn a_damaged_model_of_any_detector_is_one_line() {
    let place = Place::new();
    let capture = place.write("some.pcap", pcap(1, 65535, &some_frames()));
    let model = place.at("whole.netweir");
    let ensemble = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/ensemble.toml");
    fine(&[&"train", &"-q", &capture, &"-p", &ensemble, &"-m", &model]);
    let whole = std::fs::read(&model).unwrap();
    let members = ["baselines", "blocks", "entities", "forest", "member_tails", "seen", "starts", "tails"];
    for member in members.map(|name| format!("{name}.parquet")) {
        // A local header of ZIP has 30 bytes before the member's name.
        let is_member =
            |header: &[u8]| header.starts_with(b"PK\x03\x04") && header[30..] == *member.as_bytes();
        let length = 30 + member.len();
        let at = whole.windows(length).position(is_member).unwrap() + length + 20;
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        let said = error(&[&"inspect", &place.write("damaged.netweir", &damaged)]);
        assert!(said.contains("damaged.netweir") && said.contains(&member), "{said}");
    }
}

#[test]
fn a_model_that_cannot_be_written_is_said_before_anything_is_read() {
    let place = Place::new();
    let mut capture = pcap(1, 65535, &some_frames());
    // The captured length of the sixth record: whoever reads so far has learned for nothing.
    let damage = 24 + 5 * (16 + frame(0).len()) + 8;
    capture[damage..damage + 4].fill(0xFF);
    let capture = place.write("damaged.pcap", capture);
    let folder = place.at("folder");
    std::fs::create_dir(&folder).unwrap();
    let said = error(&[&"train", &capture, &"-m", &folder]);
    assert!(said.ends_with("folder: is a folder; name a file in it"), "{said}");
}

#[test]
fn an_empty_training_set_is_said() {
    let place = Place::new();
    let capture = place.write("none.pcap", pcap(1, 65535, &[]));
    let model = place.at("none.netweir");
    let said = error(&[&"train", &capture, &"-m", &model]);
    assert!(said.contains("nothing to train on") && said.contains("none.pcap"), "{said}");
    assert!(!model.exists());
}

#[test]
fn an_interface_that_is_not_there_is_named_with_those_that_are() {
    let place = Place::new();
    let model = small_model(&place);
    let said = error(&[&"watch", &"-i", &"eth99", &"-m", &model, &"-o", &place.at("out")]);
    assert!(said.contains("eth99") && said.contains("lo"), "{said}");
}

#[test]
fn missing_columns_name_list_column_and_nearest() {
    let place = Place::new();
    let capture = place.write("some.pcap", pcap(1, 65535, &some_frames()));
    let pipeline = place.write("own.toml", "[encode]\nlog1p = [\"fwd_byte\"]\n");
    let said = error(&[&"train", &capture, &"-p", &pipeline, &"-m", &place.at("own.netweir")]);
    assert!(said.contains("fwd_byte") && said.contains("nearest is `fwd_bytes`"), "{said}");
}

#[test]
fn help_completions_and_manual_come_from_the_same_definitions() {
    let help = String::from_utf8(succeed(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("netweir demo"));
    for verb in [
        "extract", "train", "detect", "watch", "explain", "run", "check", "features", "inspect", "evaluate",
        "demo",
    ] {
        assert!(help.contains(verb), "{verb}");
        let own = String::from_utf8(succeed(&[verb, "-h"]).stdout).unwrap();
        assert!(own.lines().count() <= 40, "{verb}: {own}");
    }
    let bash = String::from_utf8(succeed(&["completions", "bash"]).stdout).unwrap();
    assert!(bash.contains("--workers") && bash.contains("watch"));
    let manual = String::from_utf8(succeed(&["man"]).stdout).unwrap();
    assert!(manual.starts_with(".ie") || manual.contains(".TH netweir"), "{manual}");
}

#[test]
fn features_lists_every_column_of_rows() {
    let json = succeed(&["features", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let names: Vec<&str> =
        json["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    for column in netweir::row::COLUMNS {
        assert!(names.contains(&column.name), "{}", column.name);
    }
    assert!(names.contains(&"ctx_src_w30_peers"));
    let text = String::from_utf8(succeed(&["features"]).stdout).unwrap();
    assert!(text.contains("fwd_len_mean"));
}

#[test]
fn check_prints_the_graph_of_every_pipeline_that_ships() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut pipelines = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() != Some("toml".as_ref()) {
            continue;
        }
        let output = succeed(&[OsStr::new("check"), path.as_os_str()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("is well formed") && text.contains("-> ends"), "{text}");
        assert!(text.contains("-> incident"), "{text}");
        pipelines += 1;
    }
    assert!(pipelines >= 5);
}

#[test]
fn tables_of_other_columns_are_trained_on_and_scored() {
    let Some(table) = support::binary::shared("data/public/tables/mammography.parquet") else { return };
    let place = Place::new();
    let model = place.at("table.netweir");
    let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/table.toml");
    let train: [&OsStr; 7] = [
        "train".as_ref(),
        "-q".as_ref(),
        table.as_ref(),
        "-p".as_ref(),
        pipeline.as_ref(),
        "-m".as_ref(),
        model.as_ref(),
    ];
    succeed(&train);
    let out = place.at("scored");
    let detect: [&OsStr; 7] = [
        "detect".as_ref(),
        "-q".as_ref(),
        table.as_ref(),
        "-m".as_ref(),
        model.as_ref(),
        "-o".as_ref(),
        out.as_ref(),
    ];
    succeed(&detect);
    let file = std::fs::File::open(out.join("scores.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let names: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    for name in ["x0", "label", "score", "is_anomaly", "partition"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
    assert_eq!(reader.metadata().file_metadata().num_rows(), 11_183);
}

const LABELS: &str = "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n";

#[test]
fn evaluate_trains_and_scores_pipelines_with_seeds_and_leaves_the_page_alone() {
    let place = Place::new();
    let capture = place.write("some.pcap", pcap(1, 65535, &some_frames()));
    let second = 1_700_000_005_u64 * 1_000_000_000;
    let unfit =
        format!("{second},{second},10.9.9.9,,,,scan,e2\n{second},{second},10.9.9.9,,arp,,arp_scan,e3\n");
    let end = second + 3_000_000_000;
    let labels =
        place.write("labels.csv", format!("{LABELS}{second},{end},10.0.0.1,,udp,53,tunnel,e1\n{unfit}"));
    let page = place.at("page/report.html");
    let arguments: Vec<&OsStr> = vec![
        "evaluate".as_ref(),
        "--train".as_ref(),
        capture.as_ref(),
        "--on".as_ref(),
        capture.as_ref(),
        "--labels".as_ref(),
        labels.as_ref(),
        "-p".as_ref(),
        "forest".as_ref(),
        "--beside".as_ref(),
        "usual".as_ref(),
        "--seeds".as_ref(),
        "2".as_ref(),
        "-o".as_ref(),
        page.as_ref(),
    ];
    let output = succeed(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    for name in ["forest", "usual"] {
        let spread = text.contains(&format!("`{name}` over 2 seeds: ROC-AUC"));
        let same =
            text.replace('\n', " ").contains(&format!("`{name}` gives the same figures under all 2 seeds"));
        assert!(spread != same, "{name}: {text}");
    }
    for words in ["line 3 fits no row: scan e2", "1 of ARP"] {
        assert!(text.contains(words), "no {words} in\n{text}");
    }
    let metrics: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.at("page/metrics.json")).unwrap()).unwrap();
    let names: Vec<&str> =
        metrics["detectors"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["forest", "usual", "random", "bytes of the row", "flows of the source"]);
    assert_eq!(metrics["seeds"][1]["seeds"], serde_json::json!([1, 2]));
    let mut files = place.files();
    files.retain(|name| !name.contains("some.pcap") && !name.contains("labels.csv"));
    assert_eq!(files.len(), 2, "models and scores are gone: {files:?}");
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    let place = Place::new();
    let capture = place.write("some.pcap", pcap(1, 65535, &some_frames()));
    let labels = place.write("labels.csv", LABELS.replace("proto", "protocol"));
    let said = error(&[&"evaluate", &"--train", &capture, &"--on", &capture, &"--labels", &labels]);
    assert!(said.contains("labels.csv:1: no column `proto`"), "{said}");
    let good = place.write("good.csv", LABELS);
    let page = place.at("report.html");
    let said = error(&[&"evaluate", &place.at("out"), &"--labels", &good, &"-o", &page]);
    assert!(said.contains("scores.parquet: No such file"), "{said}");
    let output = succeed(&[
        OsStr::new("evaluate"),
        "--train".as_ref(),
        capture.as_ref(),
        "--on".as_ref(),
        capture.as_ref(),
        "--labels".as_ref(),
        good.as_ref(),
        "-p".as_ref(),
        "usual".as_ref(),
        "-o".as_ref(),
        page.as_ref(),
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("All rows are benign: ROC-AUC"), "{text}");
    let output = run(&["evaluate", "--labels", "l.csv", "--train", "-", "--on", "x.pcap"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("standard input cannot be read again"), "{said}");
}

#[test]
fn the_demo_finds_attacks_and_leaves_its_files() {
    let place = Place::new();
    let out = place.at("netweir-demo");
    let output = succeed(&[OsStr::new("demo"), "-o".as_ref(), out.as_os_str()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("syn_scan") && text.contains("attacks found"), "{text}");
    assert!(text.lines().count() <= 50, "it fits a screen: {text}");
    for file in [
        "model.netweir",
        "scores.parquet",
        "alerts.eve.jsonl",
        "incidents.jsonl",
        "incident_rows.parquet",
        "summary.json",
        "report.html",
        "metrics.json",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let alerts = std::fs::read_to_string(out.join("alerts.eve.jsonl")).unwrap();
    for line in alerts.lines() {
        let alert: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(alert["event_type"], "alert");
    }
    assert!(alerts.lines().count() > 100);
}

#[test]
fn what_is_wrong_with_an_allow_list_is_named_with_its_place() {
    let place = Place::new();
    let model = small_model(&place);
    let capture = place.at("train.pcap");
    let said = |text: &str| {
        let rules = place.write("rules.toml", text);
        error(&[&"detect", &capture, &"-m", &model, &"-o", &place.at("out"), &"--allow", &rules])
    };
    let line = said("[[allow]]\nprotocl = \"tcp\"\nwhy = \"x\"\n");
    assert!(line.contains("rules.toml:2:1: unknown key `protocl`: did you mean `protocol`?"), "{line}");
    let line = said("[[alow]]\n");
    assert!(line.contains("rules.toml:1:3: unknown key `alow`: did you mean `allow`?"), "{line}");
    let line = said("[[allow]]\nsrc = \"10.0.0.0/40\"\nwhy = \"x\"\n");
    assert!(line.contains("rules.toml:2:7: ") && line.contains("is no network"), "{line}");
    let line = said("[[allow]]\nsrc = \"10.0.0.0/8\"\n");
    assert!(line.contains("rules.toml:1:") && line.contains("`why`"), "{line}");
    let line = said("[[allow]]\nwhy = \"x\"\n");
    assert!(line.contains("rules.toml: [[allow]] number 1: it would allow everything"), "{line}");
    let line = said("[[allow]]\nwhy = \"x\"\nprotocol = \"frob\"\n");
    assert!(line.contains("rules.toml:3:12: no protocol is named \"frob\""), "{line}");
    let unknown = "[[allow]]\nwhy = \"x\"\ncolumn = \"fwd_byte\"\nmin = 1\n";
    let line = said(unknown);
    let meant = "rules.toml:3:10: rows have no column \"fwd_byte\": did you mean `fwd_bytes`?";
    assert!(line.contains(meant), "{line}");
    let rules = place.write("rules.toml", unknown);
    let checked = place.write("p.toml", format!("[incident]\nallow = {rules:?}\n"));
    let line = error(&[&"check", &checked]);
    assert!(line.contains(meant), "{line}");
    let line = error(&[&"check", &place.write("p.toml", "[incident]\nsilense = \"60s\"\n")]);
    assert!(line.contains("p.toml:2:1: unknown key `silense`: did you mean `silence`?"), "{line}");
    let line = error(&[&"check", &place.write("p.toml", "[incident]\nkeep = \"1s\"\n")]);
    assert!(line.contains("[incident] keep = 1s: must be from the value of `silence`"), "{line}");
}

#[test]
fn what_has_no_incidents_and_no_figures_says_so() {
    let place = Place::new();
    let model = small_model(&place);
    let scores = place.at("scores.parquet");
    let capture = place.at("train.pcap");
    let detect = |input: &Path, out: &Path| {
        let arguments: [&Path; 7] =
            ["detect".as_ref(), input, "-q".as_ref(), "-m".as_ref(), &model, "-o".as_ref(), out];
        succeed(&arguments);
    };
    detect(&capture, &scores);
    let line = error(&[&"explain", &scores]);
    assert!(line.contains("scores alone have no incidents"), "{line}");
    let table = place.at("table");
    std::fs::create_dir(&table).unwrap();
    std::fs::copy(&scores, table.join("scores.parquet")).unwrap();
    let line = error(&[&"explain", &table]);
    assert!(line.contains("a report of a table has no incidents"), "{line}");

    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6];
    frame.resize(60, 0);
    let (silent, out) = (place.write("arp.pcap", pcap(1, 65535, &[frame])), place.at("out"));
    detect(&silent, &out);
    let labels = place.write("labels.csv", "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n");
    let page = place.at("report.html");
    let line = error(&[&"evaluate", &out, &"--labels", &labels, &"-o", &page]);
    assert!(line.contains("nothing can be measured") && !page.exists(), "{line}");
}

#[test]
fn built_in_pipelines_and_pages_of_verbs_go_by_their_names() {
    assert!(error(&[&"run", &"forest"]).contains("the pipeline ends in nothing"));
    assert!(error(&[&"run", &"frost"]).contains("no built-in pipeline"));
    let page = String::from_utf8(succeed(&["man", "detect"]).stdout).unwrap();
    assert!(page.contains(".TH netweir-detect 1") && page.contains(env!("CARGO_PKG_VERSION")), "{page}");
    assert!(error(&[&"man", &"frob"]).contains("no verb `frob`"));
}

#[cfg(unix)]
#[test]
fn names_of_files_break_neither_patterns_nor_lines() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    place.write("good.pcap", pcap(1, 65535, &some_frames()));
    let strange = place.folder.path().join(OsStr::from_bytes(b"\xff.pcap"));
    // Some file systems take no such name.
    if std::fs::write(&strange, "").is_ok() {
        let line = error(&[&"extract", &place.at("*.pcap"), &"-o", &place.at("rows.parquet")]);
        assert!(line.contains("a name that is not UTF-8"), "{line}");
    }
    let line = error(&[&"inspect", &place.at("a\nb\u{1b}[2J.netweir")]);
    assert!(line.contains("a\\nb\\u{1b}[2J.netweir"), "{line}");
}

/// The incidents of a report, by id.
fn incidents(out: &Path) -> std::collections::BTreeMap<String, serde_json::Value> {
    let log = std::fs::read_to_string(out.join("incidents.jsonl")).unwrap();
    let events = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    events.map(|event| (event["id"].as_str().unwrap().to_owned(), event)).collect()
}

#[test]
fn an_incident_is_explained_and_a_rule_mutes_it() {
    let place = Place::new();
    let (model, out, muted) = (place.at("lab.netweir"), place.at("out"), place.at("muted"));
    let (train, attacks) = (datasets("train.pcap.zst"), datasets("attacks.pcap.zst"));
    succeed(&[OsStr::new("train"), "-q".as_ref(), train.as_ref(), "-m".as_ref(), model.as_ref()]);
    let detect: [&OsStr; 6] =
        ["detect".as_ref(), attacks.as_ref(), "-m".as_ref(), model.as_ref(), "-o".as_ref(), out.as_ref()];
    let lines = String::from_utf8(succeed(&detect).stdout).unwrap();
    let all = incidents(&out);
    let worst = all.values().max_by_key(|event| event["alerts"].as_u64()).unwrap();
    let (id, host) = (worst["id"].as_str().unwrap(), worst["host"].as_str().unwrap());
    assert!(lines.contains(&id[..8]) && lines.lines().count() < 4 * all.len(), "{lines}");

    let explain = |arguments: &[&OsStr]| {
        let arguments: Vec<&OsStr> =
            [OsStr::new("explain")].into_iter().chain(arguments.iter().copied()).collect();
        String::from_utf8(succeed(&arguments).stdout).unwrap()
    };
    let list = explain(&[out.as_ref()]);
    assert_eq!(list.lines().count(), all.len(), "{list}");
    let full = explain(&[out.as_ref(), id[..10].as_ref()]);
    assert!(full.starts_with(id) && full.contains(host) && full.contains("rows, the oddest first"), "{full}");
    let said = error(&[&"explain", &out, &"zz"]);
    assert!(
        said.contains("begins with \"zz\"") && said.contains(&format!("there are {}", all.len())),
        "{said}"
    );
    let said = error(&[&"explain", &out, &""]);
    assert!(said.contains("give more digits"), "{said}");

    let rules = format!(
        "[[allow]]\nnet = \"{host}\"\nwhy = \"a test of ours\"\n\
         [[allow]]\nport = 1\nuntil = 2020-01-01\nwhy = \"long over\"\n\
         [[allow]]\nsrc = \"192.0.2.1\"\nwhy = \"nobody\"\n"
    );
    let rules = place.write("rules.toml", rules);
    let with_rules: [&OsStr; 8] = [
        "detect".as_ref(),
        attacks.as_ref(),
        "-m".as_ref(),
        model.as_ref(),
        "-o".as_ref(),
        muted.as_ref(),
        "--allow".as_ref(),
        rules.as_ref(),
    ];
    let output = succeed(&with_rules);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("rule 2: long over: expired (until 2020-01-01)"), "{said}");
    assert!(said.contains("rule 3: nobody: matched nothing") && !said.contains("rule 1:"), "{said}");
    assert!(incidents(&muted).values().all(|event| event["host"] != host));
    let list = explain(&[muted.as_ref()]);
    assert!(list.contains("muted by rule 1: a test of ours: "), "{list}");
    // Alerts of all other rows are there, and no others; the counters say how many are not.
    let alerts = |out: &Path| std::fs::read_to_string(out.join("alerts.eve.jsonl")).unwrap();
    let (loud, all_alerts) = (alerts(&muted), alerts(&out));
    let of_host = |line: &&str| {
        let alert: serde_json::Value = serde_json::from_str(line).unwrap();
        alert["src_ip"] == host || alert["dest_ip"] == host
    };
    let others: Vec<&str> = all_alerts.lines().filter(|line| !of_host(line)).collect();
    assert!(loud.lines().eq(others.iter().copied()));
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(muted.join("summary.json")).unwrap()).unwrap();
    let gone = all_alerts.lines().count() - others.len();
    assert!(gone > 0 && summary["muted"] == gone, "{summary}");
    assert_eq!(summary["anomalies"], all_alerts.lines().count());
    // Rows are scored all the same.
    let scores = |out: &Path| std::fs::read(out.join("scores.parquet")).unwrap();
    assert!(scores(&out) == scores(&muted));
}

/// Names of files and folders in a folder.
fn entries(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_detect_that_fails_leaves_the_report_before_as_it_was() {
    let place = Place::new();
    let (model, out) = (place.at("small.netweir"), place.at("out"));
    small_model(&place);
    let good = place.at("train.pcap");
    fine(&[&"detect", &good, &"-m", &model, &"-o", &out, &"-q"]);
    let report = || -> Vec<(Vec<u8>, String)> {
        let names = entries(&out).into_iter();
        names.map(|name| (std::fs::read(out.join(&name)).unwrap(), name)).collect()
    };
    let before = report();
    assert_eq!(before.len(), 5, "{:?}", entries(&out));
    let mut frames = some_frames();
    frames.truncate(7);
    let mut damaged = pcap(1, 65535, &frames);
    // A record longer than its file allows.
    damaged.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
    damaged.extend_from_slice(&[0; 64]);
    let bad = place.write("bad.pcap", damaged);
    error(&[&"detect", &bad, &"-m", &model, &"-o", &out]);
    assert_eq!(report(), before);
    error(&[&"detect", &bad, &"-m", &model, &"-o", &place.at("new/out")]);
    assert!(!place.at("new").exists(), "what failed leaves no folder");

    fine(&[&"detect", &good, &"-m", &model, &"-o", &out, &"-q"]);
    assert_eq!(report(), before, "the same again");
}

#[test]
fn nothing_is_written_over_what_is_read_and_no_two_outputs_share_a_name() {
    let place = Place::new();
    let model = small_model(&place);
    let capture = place.at("train.pcap");
    let labels = place.write("labels.csv", "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n");
    let rules = place.write("rules.toml", "");
    let out = place.at("out");
    fine(&[&"detect", &capture, &"-m", &model, &"-o", &out, &"-q"]);
    let report = out.join("scores.parquet");
    let before = place.files();
    let bytes = || [&capture, &model, &labels, &rules, &report].map(|path| std::fs::read(path).unwrap());
    let then = bytes();
    let over: [&[&dyn AsRef<OsStr>]; 9] = [
        &[&"watch", &"-i", &"none", &"-m", &model, &"-o", &out, &"--write-pcap", &model],
        &[&"train", &capture, &"-m", &capture],
        &[&"extract", &capture, &"-o", &place.at("x.parquet"), &"--summary", &capture],
        &[&"detect", &capture, &"-m", &model, &"-o", &place.at("d"), &"--summary", &model],
        &[
            &"detect",
            &capture,
            &"-m",
            &model,
            &"-o",
            &place.at("d"),
            &"--allow",
            &rules,
            &"--summary",
            &rules,
        ],
        &[&"detect", &report, &"-m", &model, &"-o", &out],
        &[&"evaluate", &out, &"--labels", &labels, &"-o", &labels],
        &[&"evaluate", &out, &"--labels", &labels, &"-o", &report],
        &[
            &"evaluate",
            &out,
            &"--labels",
            &labels,
            &"--compare",
            &format!("x={}", out.display()),
            &"-o",
            &report,
        ],
    ];
    for arguments in over {
        let said = error(arguments);
        assert!(said.contains("is read as") && said.contains("would be replaced by"), "{said}");
    }
    let rows = place.at("rows.parquet");
    let said = error(&[&"extract", &capture, &"-o", &rows, &"--summary", &rows]);
    assert!(said.contains("would be written as the rows and as the counters"), "{said}");
    for (name, part) in [("-", "standard output"), ("rows.json", "nothing is written as .json")] {
        let said = error(&[&"extract", &capture, &"-o", &name]);
        assert!(said.contains(part), "{said}");
    }
    let said = error(&[&"detect", &capture, &"-m", &model, &"-o", &place.at("scores.csv.gz")]);
    assert!(said.contains("nothing is written as .gz"), "{said}");
    assert_eq!((place.files(), bytes()), (before, then));
}

#[test]
fn rows_of_an_hour_are_not_replaced_by_another_extract() {
    let place = Place::new();
    let capture = place.write("train.pcap", pcap(1, 65535, &some_frames()));
    let rows = place.at("rows");
    fine(&[&"extract", &capture, &"-o", &rows, &"-q"]);
    let files = place.files();
    let part = place.at(files.iter().find(|name| name.ends_with("part-0.parquet")).unwrap());
    std::fs::write(&part, "rows of before").unwrap();
    let said = error(&[&"extract", &capture, &"-o", &rows]);
    assert!(said.contains("part-0.parquet: is there already") && said.contains("another folder"), "{said}");
    assert_eq!((std::fs::read(&part).unwrap(), place.files()), (b"rows of before".to_vec(), files));
}

#[test]
#[cfg(unix)]
fn two_runs_do_not_write_to_one_folder() {
    let place = Place::new();
    let model = small_model(&place);
    let (capture, out) = (place.at("train.pcap"), place.at("out"));
    std::fs::create_dir(&out).unwrap();
    // As a run that goes on holds it.
    let held = std::fs::File::open(&out).unwrap();
    held.try_lock().unwrap();
    let both: [&[&dyn AsRef<OsStr>]; 2] =
        [&[&"detect", &capture, &"-m", &model, &"-o", &out], &[&"extract", &capture, &"-o", &out]];
    for arguments in both {
        let said = error(arguments);
        assert!(said.contains("another run writes there"), "{said}");
        assert!(entries(&out).is_empty());
    }
    held.unlock().unwrap();
    fine(&[&"detect", &capture, &"-m", &model, &"-o", &out, &"-q"]);
    assert_eq!(entries(&out).len(), 5);
}

/// What the binary does within limits of the system (`ulimit` of a shell).
#[cfg(unix)]
fn within(limits: &str, arguments: &[&dyn AsRef<OsStr>]) -> std::process::Output {
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("{limits} && exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_netweir"));
    shell.args(arguments.iter().map(|argument| (*argument).as_ref()));
    shell.output().unwrap()
}

#[cfg(unix)]
#[test]
fn captures_of_the_same_time_may_be_more_than_files_that_a_process_begins_with() {
    let place = Place::new();
    std::fs::create_dir(place.at("captures")).unwrap();
    for number in 0..60 {
        let name = format!("captures/{number}.pcap");
        place.write(
            &name,
            datagram::pcap(&[
                tcp("10.0.0.1:4000", "10.0.0.2:80").at_ms(number),
                udp("10.0.0.3:5000", "10.0.0.2:53").at_s(9),
            ]),
        );
    }
    let (captures, rows) = (place.at("captures"), place.at("rows.csv"));
    let output = within("ulimit -S -n 40", &[&"extract", &"-q", &captures, &"-o", &rows]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_to_string(rows).unwrap().lines().count(), 3);
}

#[cfg(target_os = "linux")]
#[test]
fn too_little_address_space_for_flows_is_said_in_one_line() {
    let place = Place::new();
    let capture = place.write("one.pcap", datagram::pcap(&[tcp("10.0.0.1:4000", "10.0.0.2:80").at_ms(1)]));
    let rows = place.at("rows.csv");
    let arguments: [&dyn AsRef<OsStr>; 6] = [&"extract", &capture, &"-o", &rows, &"-w", &"1"];
    let output = within("ulimit -v 1000000", &arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.starts_with("netweir: [flow] max_flows = 2000000, -w 1: the system has no "), "{said}");
    assert_eq!(place.files(), ["one.pcap"]);
}

#[test]
fn columns_may_stand_apart_and_a_pattern_of_context_means_all_of_it() {
    let place = Place::new();
    let capture = place.write("one.pcap", datagram::pcap(&[tcp("10.0.0.1:4000", "10.0.0.2:80").at_ms(1)]));
    let rows = place.at("rows.csv");
    let head = |columns: &str| {
        succeed(&[
            OsStr::new("extract"),
            "-q".as_ref(),
            capture.as_ref(),
            "-o".as_ref(),
            rows.as_ref(),
            "--columns".as_ref(),
            columns.as_ref(),
        ]);
        let text = std::fs::read_to_string(&rows).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(head(" src_ip, dst_p*"), "window_start,flow_id,src_ip,dst_port");
    let whole = head("ctx_dst_w6_*");
    assert!(whole.contains("ctx_dst_w6_peers") && whole.contains("ctx_dst_w6_active"), "{whole}");
    let missing: [&OsStr; 6] = [
        "extract".as_ref(),
        capture.as_ref(),
        "-o".as_ref(),
        rows.as_ref(),
        "--columns".as_ref(),
        "src_ip,,dst_ip".as_ref(),
    ];
    let said = String::from_utf8_lossy(&run(&missing).stderr).into_owned();
    assert!(said.contains("a name is missing"), "{said}");
}
