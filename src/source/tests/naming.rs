//! What people name, and what is found.

use std::fs;

use tempfile::tempdir;

use super::written::*;
use super::*;

fn find(given: &[&Path]) -> Result<Found, String> {
    let given: Vec<String> = given.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    inputs::find(&given).map(|search| search.found).map_err(|error| line(&error))
}

fn names(found: Result<Found, String>) -> Vec<String> {
    let paths = match found.unwrap() {
        Found::Captures(captures) => captures.iter().map(|input| input.path().to_owned()).collect(),
        Found::Rows(rows) => rows,
    };
    paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn files_of_other_kinds_in_folders_and_patterns_are_counted() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    for (name, bytes) in
        [("notes.txt", &b"hello"[..]), ("empty.pcap", b""), (".hidden", b"x"), ("a.csv", b"a,b")]
    {
        fs::write(root.join(name), bytes).unwrap();
    }
    capture(root, "b.pcap");
    let passed_over = |given: &Path| inputs::find(&[given.to_str().unwrap().to_owned()]).unwrap().passed_over;
    assert_eq!(passed_over(root), 3);
    assert_eq!(passed_over(&root.join("*.p*")), 1);
    assert_eq!(passed_over(&root.join("b.pcap")), 0);
}

fn capture(folder: &Path, name: &str) {
    save(folder, name, &pcap(PLAIN, &[frame(5, 60)]).bytes);
}

#[test]
fn directories_are_read_recursively_in_order_and_other_files_passed_over() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("b/deep")).unwrap();
    fs::create_dir_all(root.join("_new")).unwrap();
    for name in ["c.pcap", "b/2", "b/10", "b/deep/x", "a.cap", ".hidden", "_part", "_new/y"] {
        capture(root, name);
    }
    save(root, "packed", &gzip(&pcapng(true, &[frame(5, 60)]).bytes, 1));
    save(root, "notes.txt", b"these are notes");
    save(root, "empty.pcap", b"");
    assert_eq!(names(find(&[root])), ["a.cap", "10", "2", "x", "c.pcap", "packed"]);
    assert_eq!(names(find(&[&root.join("b"), &root.join("a.cap")])), ["10", "2", "x", "a.cap"]);
    assert_eq!(names(find(&[&root.join("*.cap"), &root.join("?")])), ["a.cap", "10", "2", "x"]);
    assert_eq!(names(find(&[&root.join("**/[0-9]*")])), ["10", "2"]);
    // A hidden one that is named is meant.
    assert_eq!(names(find(&[&root.join("_part"), &root.join("_new")])), ["_part", "y"]);
}

#[test]
fn a_damaged_beginning_in_a_directory_is_an_error_or_counted() {
    let read = |folder: &Path, lax| {
        let all = read(&[folder.to_owned()], &SourceSpec { lax, ..SourceSpec::default() });
        (all.error, all.frames.len(), all.counts.truncated_files)
    };
    let whole = pcap(PLAIN, &[frame(5, 60)]).bytes;
    let zeros = vec![0; whole.len()];
    // Cut off before the first block: what there was is gone, and is counted as what is cut off later is.
    let folder = tempdir().unwrap();
    capture(folder.path(), "a.pcap");
    save(folder.path(), "b.pcap.zst", &zstandard(&whole, 1)[..20]);
    save(folder.path(), "c", &gzip(&whole, 1)[..14]);
    assert_eq!(read(folder.path(), false), (None, 1, 2));
    // What others pack captures in, and blocks that never reached the disk.
    for (name, bytes, what) in [
        ("b.pcap", &zeros[..], "b.pcap: begins with 00 00 00 00, which is no capture"),
        ("b.PCAPNG", b"ab", "b.PCAPNG: begins with 61 62, which"),
        ("b.cap.gz", &gzip(&zeros, 1), "b.cap.gz: begins with 00 00 00 00, which"),
        ("b.pcap.xz", b"\xfd7zXZ\0 and so on", "b.pcap.xz: is packed by xz: unpack it first"),
    ] {
        let folder = tempdir().unwrap();
        capture(folder.path(), "a.pcap");
        save(folder.path(), name, bytes);
        let error = read(folder.path(), false).0.unwrap();
        assert!(error.contains(what), "{error}");
        assert_eq!(read(folder.path(), true), (None, 1, 1), "{name}");
    }
}

#[test]
fn a_damaged_file_of_rows_in_a_directory_is_not_passed_over() {
    let folder = tempdir().unwrap();
    save(folder.path(), "part-0.parquet", b"PAR1....PAR1");
    save(folder.path(), "part-1.parquet", &[0; 12]);
    save(folder.path(), "part-2.parquet", b"");
    assert_eq!(names(find(&[folder.path()])), ["part-0.parquet", "part-1.parquet"]);
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    for name in ["a.cap", "b.cap", "c.cap"] {
        capture(root, name);
    }
    let (one, pattern) = (root.join("b.cap"), root.join("*.cap"));
    assert_eq!(names(find(&[&one, &one])), ["b.cap"]);
    assert_eq!(names(find(&[&one, &pattern, root])), ["b.cap", "a.cap", "c.cap"]);
    let given = [&one, root, &one].map(|path| path.to_str().unwrap().to_owned());
    assert_eq!(inputs::find(&given).unwrap().again, std::slice::from_ref(&one), "and it is told");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&one, root.join("link")).unwrap();
        assert_eq!(names(find(&[&root.join("link"), &one])), ["link"]);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_that_is_named_twice_has_one_reader() {
    let folder = tempdir().unwrap();
    let pipe = folder.path().join("pipe").display().to_string();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|made| made.success()) {
        eprintln!("skipped: no mkfifo");
        return;
    }
    for given in [[&pipe, &pipe], [&"-".to_owned(), &"-".to_owned()], [&"-".to_owned(), &pipe]] {
        let search = inputs::find(&given.map(String::clone)).unwrap();
        let Found::Captures(found) = search.found else { panic!("captures were given") };
        let apart = given[0] != given[1];
        assert_eq!((found.len(), search.again.len()), if apart { (2, 0) } else { (1, 1) }, "{given:?}");
    }
}

#[test]
fn a_dataset_folder_is_rows() {
    let folder = tempdir().unwrap();
    let parts = folder.path().join("date=2024-01-01/hour=03");
    fs::create_dir_all(&parts).unwrap();
    save(&parts, "part-0.parquet", b"PAR1....PAR1");
    save(&parts, "part-1.parquet", b"PAR1....PAR1");
    save(&parts, ".part-2.parquet", b"PAR1....PAR1");
    save(folder.path(), "_SUCCESS", b"");
    assert_eq!(names(find(&[folder.path()])), ["part-0.parquet", "part-1.parquet"]);
    assert!(matches!(find(&[folder.path()]), Ok(Found::Rows(_))));
    capture(folder.path(), "capture");
    let error = find(&[folder.path()]).unwrap_err();
    assert!(error.contains("part-0.parquet holds Parquet rows and"), "{error}");
    assert!(error.contains("capture is a capture: one run reads either"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named_in_a_line() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    save(root, "bytes", b"\x01\x02\x03\x04 and so on");
    save(root, "short", b"a\0");
    save(root, "days.csv", b"day,x\n1,2\n");
    save(root, "days.json.gz", &gzip(b"{\"day\": 1}\n", 1));
    save(root, "days.arrow", b"ARROW1\0\0 and so on");
    save(root, "empty", b"");
    save(root, "xz", b"\xfd7zXZ\0 and so on");
    save(root, "zip", b"PK\x03\x04 and so on");
    save(root, "packed", &gzip(b"\x01\x02\x03\x04 and so on", 1));
    save(root, "nothing", &gzip(b"", 1));
    save(root, "cut", &gzip(b"hello world", 1)[..9]);
    fs::create_dir(root.join("folder")).unwrap();
    for (name, what) in [
        (
            "bytes",
            "bytes: begins with 01 02 03 04, which is no capture (pcap, pcapng; plain, gzip or zstd) and no Parquet file",
        ),
        ("short", "short: begins with 61 00, which is no capture"),
        ("packed", "packed: begins with 01 02 03 04, which"),
        ("days.csv", "days.csv: text: make Parquet of it, e.g. duckdb -c \"COPY (FROM '"),
        ("days.csv", "days.csv') TO '"),
        ("days.csv", "days.parquet'\""),
        ("days.json.gz", "days.json.gz: JSON text: make Parquet of it"),
        ("days.json.gz", "days.parquet'\""),
        ("days.arrow", "days.arrow: an Arrow IPC file: rows are read from Parquet"),
        ("xz", "xz: is packed by xz: unpack it first, or pack captures with gzip or zstd"),
        ("zip", "zip: is packed by zip, as models are: unpack"),
        ("empty", "empty: holds nothing: empty"),
        ("nothing", "nothing: holds nothing: empty"),
        ("cut", "cut: holds nothing: empty, or cut off"),
        ("missing", "missing: No such file or directory"),
        ("folder", "folder: no captures (pcap, pcapng; plain, gzip or zstd) and no Parquet files in it"),
        ("x*", "x*: no captures (pcap, pcapng; plain, gzip or zstd) and no Parquet files match it"),
        ("t*t", "t*t: no captures"),
        ("a[", "a[: no such file, and no pattern either: "),
    ] {
        let error = find(&[&root.join(name)]).unwrap_err();
        assert!(error.starts_with(root.to_str().unwrap()) && error.contains(what), "{error}");
    }
    assert!(find(&[]).unwrap_err().starts_with("no input: "));
}

#[test]
fn files_and_an_interface_exclude_each_other() {
    let spec = |inputs: &[&str], interface: Option<&str>| SourceSpec {
        inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
        interface: interface.map(str::to_owned),
        ..SourceSpec::default()
    };
    assert!(spec(&["a.pcap"], None).check().is_ok());
    assert!(spec(&[], Some("lo")).check().is_ok());
    let error = spec(&["a.pcap"], Some("lo")).check().unwrap_err().to_string();
    assert_eq!(error, "[source] inputs and interface exclude each other: a run reads files or listens");
}

#[test]
fn a_name_with_the_signs_of_a_pattern_is_a_file_if_there_is_one() {
    let folder = tempdir().unwrap();
    capture(folder.path(), "a[1].pcap");
    capture(folder.path(), "a1.pcap");
    assert_eq!(names(find(&[&folder.path().join("a[1].pcap")])), ["a[1].pcap"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_left() {
    let folder = tempdir().unwrap();
    let other = tempdir().unwrap();
    capture(other.path(), "x");
    capture(folder.path(), "a");
    std::os::unix::fs::symlink(other.path(), folder.path().join("b")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("c")).unwrap();
    assert_eq!(names(find(&[folder.path()])), ["a", "x"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_read_once_and_has_no_size() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let bytes = gzip(&pcap(PLAIN, &(0..5000).map(|n| frame(n * 1000, 60)).collect::<Vec<_>>()).bytes, 3);
    let path = PathBuf::from(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)));
    let sent =
        std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes).map(|()| bytes.len()));
    let all = read(&[path], &SourceSpec::default());
    let sent = sent.join().unwrap().unwrap() as u64;
    assert_eq!((all.error, all.frames.len()), (None, 5000));
    assert_eq!((all.counts.bytes_read, all.counts.bytes_total), (sent, 0));
    let mut rest = Vec::new();
    assert_eq!(std::io::Read::read_to_end(&mut reader, &mut rest).unwrap(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn rows_in_a_pipe_are_refused() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let path = PathBuf::from(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)));
    std::io::Write::write_all(&mut writer, b"PAR1....").unwrap();
    drop(writer);
    let error = read(&[path], &SourceSpec::default()).error.unwrap();
    assert!(error.contains("Parquet cannot be read from a pipe"), "{error}");
}
