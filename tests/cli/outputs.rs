//! What is written, and what is left as it was.

use std::ffi::OsStr;
use std::path::Path;

use super::{LABELS, Place, datasets, error, fine, pcap, small_model, some_frames};

#[test]
fn who_stops_reading_the_output_is_not_told_of_an_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut verb = std::process::Command::new(env!("CARGO_BIN_EXE_netweir"));
    let verb = verb.args(["features"]).stdout(writer).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let output = verb.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_under_the_final_name() {
    if !Path::new("/dev/full").exists() || !is_root() {
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

#[cfg(target_os = "linux")]
#[test]
fn a_file_beyond_what_a_process_may_write_is_told_and_not_left() {
    let place = Place::new();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -f 100; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_netweir"), "extract"])
        .args([datasets("train.pcap.zst").as_os_str(), "-o".as_ref(), place.at("rows.parquet").as_os_str()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{} {said}", output.status);
    assert!(said.contains("rows.parquet") && said.contains("File too large"), "{said}");
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[cfg(target_os = "linux")]
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
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
    let labels = place.write("labels.csv", LABELS);
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
