//! Captures that cannot be read, and the limits of the system.

use std::ffi::OsStr;
use std::sync::mpsc;

use super::{Place, error, fine, frame, pcap, small_model, some_frames};
use crate::support::datagram::{self, tcp, udp};

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
    assert!(said.contains("notes.txt: text: make Parquet of it"), "{said}");

    let said = error(&[&"extract", &place.at("*.pcapng"), &"-o", &out]);
    assert!(said.contains("*.pcapng"), "{said}");
    assert!(!out.exists());
}

#[cfg(unix)]
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
        said.contains("can.pcap")
            && said.contains("record 1")
            && said.contains("link type 227 (CAN_SOCKETCAN)"),
        "{said}"
    );
    assert!(!out.exists());

    let summary = place.at("summary.json");
    fine(&[&"extract", &capture, &"-o", &out, &"--lax", &"-q", &"--summary", &summary]);
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
    fine(&[&"extract", &capture, &"-o", &out, &"-q", &"--summary", &summary]);
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    assert_eq!((&summary["frames"], &summary["truncated_files"]), (&19.into(), &1.into()));
    let at = 24 + 19 * 16 + some_frames()[..19].iter().map(Vec::len).sum::<usize>();
    let why = format!("{}: ends inside what begins at offset {at}", capture.display());
    assert_eq!(summary["cut_short"], serde_json::json!([why]));
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

#[test]
fn an_interface_that_is_not_there_is_named_with_those_that_are() {
    let place = Place::new();
    let model = small_model(&place);
    let said = error(&[&"watch", &"-i", &"eth99", &"-m", &model, &"-o", &place.at("out")]);
    assert!(said.contains("eth99") && said.contains("lo"), "{said}");
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
    assert!(said.starts_with("netweir: [flow] max_flows = 2000000: the system has no "), "{said}");
    assert_eq!(place.files(), ["one.pcap"]);
}

#[test]
fn columns_may_stand_apart_and_a_pattern_of_context_means_all_of_it() {
    let place = Place::new();
    let capture = place.write("one.pcap", datagram::pcap(&[tcp("10.0.0.1:4000", "10.0.0.2:80").at_ms(1)]));
    let rows = place.at("rows.csv");
    let head = |columns: &str| {
        fine(&[&"extract", &"-q", &capture, &"-o", &rows, &"--columns", &columns]);
        let text = std::fs::read_to_string(&rows).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(head(" src_ip, dst_p*"), "window_start,flow_id,src_ip,dst_port");
    let whole = head("ctx_dst_w6_*");
    assert!(whole.contains("ctx_dst_w6_peers") && whole.contains("ctx_dst_w6_active"), "{whole}");
    let said = error(&[&"extract", &capture, &"-o", &rows, &"--columns", &"src_ip,,dst_ip"]);
    assert!(said.contains("a name is missing"), "{said}");
}

/// A run that reads what comes through a pipe whose writer says no more, and is told by SIGINT once it catches signals.
#[cfg(target_os = "linux")]
fn told_while_it_waits(mut verb: std::process::Command, bytes: &[u8]) -> std::process::Output {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let mut verb = verb.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = verb.stdin.take().unwrap();
    pipe.write_all(bytes).unwrap();
    // Before it catches the signal it would end without a word. This one is caught last.
    let catches = |status: &str| {
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() >> (libc::SIGUSR2 - 1) & 1 == 1
    };
    while !catches(&std::fs::read_to_string(format!("/proc/{}/status", verb.id())).unwrap()) {
        std::thread::yield_now();
    }
    assert!(verb.try_wait().unwrap().is_none(), "it waits for more");
    let told = Command::new("kill").args(["-INT", &verb.id().to_string()]).status();
    assert!(told.unwrap().success());
    let output = verb.wait_with_output().unwrap();
    drop(pipe);
    output
}

/// Before its first byte, and in the middle: a writer that says no more must not hold who wants the run to end.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_waits_for_a_silent_pipe_ends_when_asked_and_leaves_nothing() {
    for (bytes, more) in
        [(Vec::new(), ""), (pcap(1, 65535, &some_frames()), ""), (pcap(1, 65535, &[]), "--lax")]
    {
        let place = Place::new();
        let mut verb = std::process::Command::new(env!("CARGO_BIN_EXE_netweir"));
        verb.args(["extract", "-", "-o"]).arg(place.at("rows.parquet"));
        verb.args(more.split_terminator(' '));
        let output = told_while_it_waits(verb, &bytes);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("netweir: interrupted: nothing was written") && said.lines().count() == 1,
            "{said}"
        );
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(place.files(), Vec::<String>::new());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_that_is_scored_ends_when_asked_and_leaves_what_its_end_would() {
    let place = Place::new();
    let model = small_model(&place);
    let bytes = pcap(1, 65535, &some_frames());
    let detect = |out: &str| {
        let mut verb = std::process::Command::new(env!("CARGO_BIN_EXE_netweir"));
        verb.args(["detect", "-", "-m"]).arg(&model).arg("-o").arg(place.at(out));
        verb
    };
    // The beginning of a record that never came whole.
    let cut = [&bytes[..], &[0; 7]].concat();
    for (out, bytes, cut) in [("out", &bytes, false), ("cut", &cut, true)] {
        let output = told_while_it_waits(detect(out), bytes);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("ended by a signal, packets read until then: 20"), "{said}");
        assert_eq!(said.contains("1 file is cut off"), cut, "{said}");
    }
    fine(&[&"detect", &"-q", &place.at("train.pcap"), &"-m", &model, &"-o", &place.at("whole")]);
    for name in ["scores.parquet", "alerts.eve.jsonl", "incidents.jsonl", "summary.json"] {
        let read = |folder: &str| std::fs::read(place.at(folder).join(name)).unwrap();
        assert!(read("out") == read("whole"), "{name}");
    }
    // Nothing of it was read yet, or nothing but what all captures begin with.
    for bytes in [Vec::new(), pcap(1, 65535, &[])] {
        let output = told_while_it_waits(detect("none"), &bytes);
        assert_eq!(output.status.code(), Some(2));
        assert!(!place.at("none").exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn frames_of_a_pipe_that_begin_to_be_late_are_told_while_it_is_open() {
    let place = Place::new();
    let model = small_model(&place);
    let mut verb = std::process::Command::new(env!("CARGO_BIN_EXE_netweir"));
    verb.args(["detect", "-", "-m"]).arg(&model).arg("-o").arg(place.at("out"));
    let verb = verb.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut verb = verb.spawn().unwrap();
    let mut pipe = verb.stdin.take().unwrap();
    // The clock is set back by half a minute and goes on. What was counted is looked at between what comes, so the writer
    // must not fall silent.
    let (told, until) = mpsc::channel::<()>();
    let writing = std::thread::spawn(move || {
        let mut bytes = pcap(1, 65535, &some_frames());
        for second in 1_699_999_990_u32.. {
            for frame in some_frames() {
                let length = frame.len() as u32;
                bytes.extend([second, 0, length, length].iter().flat_map(|word| word.to_le_bytes()));
                bytes.extend(frame);
            }
            std::io::Write::write_all(&mut pipe, &bytes).unwrap();
            bytes.clear();
            if until.recv_timeout(std::time::Duration::from_millis(20))
                != Err(mpsc::RecvTimeoutError::Timeout)
            {
                return;
            }
        }
    });
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(verb.stderr.take().unwrap()));
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains(" frames were late and moved: the clock was set back"), "{first}");
    drop(told);
    writing.join().unwrap();
    assert!(lines.map(|line| line.unwrap()).all(|line| !line.contains("of the last")));
    assert!(verb.wait().unwrap().success());
}

#[test]
fn a_file_that_is_named_twice_is_told_in_one_line() {
    let place = Place::new();
    let capture = place.write("one.pcap", pcap(1, 65535, &some_frames()));
    let output = fine(&[&"extract", &capture, &capture, &"-o", &place.at("rows.csv")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("one.pcap: was named more than once, also by a folder or a link, and is read once\n"),
        "{said}"
    );
    assert!(said.contains("20 frames"), "{said}");
}
