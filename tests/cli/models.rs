//! Training, models, and where their alarms begin.

use std::ffi::OsStr;
use std::path::Path;

use super::{Place, error, fine, frame, pcap, small_model, some_frames};
use crate::support::datagram::{self, udp};

#[test]
fn a_model_refuses_rows_of_another_make_by_the_first_difference() {
    let place = Place::new();
    let model = small_model(&place);
    let other = place.write("five.toml", "[flow]\nwindow = \"5s\"\n");
    let rows = place.at("five.parquet");
    fine(&[&"extract", &"-q", &place.at("train.pcap"), &"-p", &other, &"-o", &rows]);
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

#[test]
fn networks_on_the_link_are_ones_own_or_told_of() {
    let place = Place::new();
    let hosts = (1..=3).map(|host| udp(&format!("198.51.100.{host}:5353"), "224.0.0.251:5353").at_s(host));
    let capture = place.write("link.pcap", datagram::pcap(&hosts.collect::<Vec<_>>()));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/train.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let named = |local: &str| shipped.replacen("[context]", &format!("[context]\nlocal = [{local}]"), 1);
    // One of them again, and one that training never saw.
    let later = [(100, 1), (101, 77)]
        .map(|(second, host)| udp(&format!("198.51.100.{host}:5353"), "224.0.0.251:5353").at_s(second));
    let later = place.write("later.pcap", datagram::pcap(&later));
    // Whether it is told that the network was taken, or that it was not; and whether its hosts are one's own.
    for (pipeline, note, own) in [
        (shipped.clone(), Some("which is taken for a network of your own"), true),
        (named("\"10.0.0.0/8\""), Some("and [context] local does not name it"), false),
        (named("\"10.0.0.0/8\", \"198.51.100.0/24\""), None, true),
        (named("\"10.0.0.0/8\", \"link\""), Some("which is taken for a network of your own"), true),
    ] {
        let asked = pipeline.lines().find(|line| line.starts_with("local = ")).map(str::to_owned);
        let (pipeline, model) = (place.write("own.toml", pipeline), place.at("own.netweir"));
        let said =
            String::from_utf8(fine(&[&"train", &capture, &"-p", &pipeline, &"-m", &model]).stderr).unwrap();
        let on_link = "note: 3 hosts of 198.51.100.0/24 are on the captured link, ";
        assert_eq!(said.contains(on_link), note.is_some(), "{said}");
        assert!(said.contains(&note.map(|note| format!("{on_link}{note}")).unwrap_or_default()), "{said}");
        let text = String::from_utf8(fine(&[&"inspect", &model]).stdout).unwrap();
        assert_eq!(text.contains("on the link"), !own, "{text}");
        let local = text.lines().find(|line| line.trim_start().starts_with("local ")).unwrap_or_default();
        assert_eq!(text.contains(", 198.51.100.0/24\n"), own, "{local}");
        let out = place.at("out");
        fine(&[&"detect", &"-q", &later, &"-m", &model, &"-o", &out]);
        let incidents = std::fs::read_to_string(out.join("incidents.jsonl")).unwrap();
        let new = |host: &str| incidents.contains("\"new_host\"") && incidents.contains(host);
        assert_eq!((new("198.51.100.77"), new("198.51.100.1\"")), (own, false), "{incidents}");
        // The networks of training may be named again, whatever `link` stood for; others may not.
        let (again, text) = (place.at("again"), place.at("again.toml"));
        let detect: [&dyn AsRef<OsStr>; 8] = [&"detect", &later, &"-p", &text, &"-m", &model, &"-o", &again];
        std::fs::write(&text, format!("[context]\n{}\n", asked.unwrap_or_default())).unwrap();
        fine(&detect);
        std::fs::write(&text, "[context]\nlocal = ['192.0.2.0/24', 'link']\n").unwrap();
        assert!(error(&detect).contains("[context] local = "));
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
fn a_pipeline_that_asks_for_rows_of_another_making_than_the_models_is_refused() {
    let place = Place::new();
    let model = small_model(&place);
    let (capture, out, text) = (place.at("train.pcap"), place.at("out"), place.at("run.toml"));
    let detect: [&dyn AsRef<OsStr>; 9] =
        [&"detect", &"-q", &capture, &"-m", &model, &"-o", &out, &"-p", &text];
    for (pipeline, said) in [
        ("[flow]\nwindow = '5s'\n", "[flow] window = \"5s\", and the model was trained with \"10s\": "),
        ("[packet]\ntunnels = true\n", "[packet] tunnels = true, and the model was trained with false: "),
        (
            "[packet]\nvlan = 'ignore'\n",
            "[packet] vlan = \"ignore\", and the model was trained with left out: ",
        ),
        ("[context]\ncolumns = ['ctx_src_w1_peers', 'ctx_pair_w30_rows']\n", "[context] columns = "),
        ("[encode]\nlog1p = ['fwd_bytes']\n", "[encode] log1p = "),
    ] {
        std::fs::write(&text, pipeline).unwrap();
        let told = error(&detect);
        assert!(told.contains(said) && !out.exists(), "{told}");
    }
    // What is as it was in training, and what has nothing to do with rows, may stand there.
    let same = "[flow]\nwindow = '10s'\nidle = '1m'\n[packet]\ntunnels = false\n[source]\nlateness = '2s'\n";
    let forest = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/forest.toml");
    for pipeline in [same.to_owned(), std::fs::read_to_string(forest).unwrap()] {
        std::fs::write(&text, pipeline).unwrap();
        fine(&detect);
    }
}

#[test]
fn rows_that_are_made_already_are_not_said_to_be_made_otherwise() {
    let place = Place::new();
    let capture = place.write("some.pcap", pcap(1, 65535, &some_frames()));
    let (rows, packets) = (place.at("rows.parquet"), place.at("packets.parquet"));
    fine(&[&"extract", &"-q", &capture, &"-o", &rows]);
    fine(&[&"extract", &"-q", &capture, &"--packets", &"-o", &packets]);
    let (text, out) = (place.at("run.toml"), place.at("again.csv"));
    for (pipeline, said) in [
        (
            "[flow]\nwindow = '5s'\n",
            "[flow] window = \"5s\", and these rows were made with \"10s\": leave the key out, or give captures",
        ),
        ("[packet]\ntunnels = true\n", "[packet] tunnels = true, and these rows were made with false: "),
        (
            "[packet]\nvlan = 'ignore'\n",
            "[packet] vlan = \"ignore\", and these rows were made with \"key\": ",
        ),
    ] {
        std::fs::write(&text, pipeline).unwrap();
        let told = error(&[&"extract", &rows, &"-p", &text, &"-o", &out]);
        assert!(told.contains(said) && !out.exists(), "{told}");
        let told = error(&[&"extract", &packets, &"-p", &text, &"-o", &out]);
        assert!(told.contains("the rows of this table are made already"), "{told}");
    }
    let named = format!("[source]\ninputs = ['{}']\n", rows.display());
    std::fs::write(&text, format!("{named}[flow]\nwindow = '5s'\n")).unwrap();
    assert!(error(&[&"check", &text]).contains("these rows were made with \"10s\": "));
    std::fs::write(&text, &named).unwrap();
    let said = String::from_utf8(fine(&[&"check", &text]).stdout).unwrap();
    assert!(said.contains("rows     read as they were made") && !said.contains(" flow "), "{said}");
    std::fs::write(&text, "[flow]\nfirst_lengths = false\n").unwrap();
    let told = error(&[&"extract", &rows, &"-p", &text, &"-o", &out]);
    assert!(told.contains("[flow] first_lengths = false, and these rows were made with true: "), "{told}");
    let same = "[flow]\nwindow = '10s'\nidle = '1m'\nmax_flows = 5000\n[source]\nlateness = '2s'\n";
    std::fs::write(&text, same).unwrap();
    fine(&[&"extract", &"-q", &rows, &"-p", &text, &"-o", &out]);
    // Packet rows are a table for whoever reads them.
    fine(&[&"extract", &"-q", &packets, &"-o", &out]);
    let lines = std::fs::read_to_string(&out).unwrap().lines().count();
    assert_eq!(lines, 1 + some_frames().len());
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
    let said = error(&[&"detect", &capture, &"-m", &model, &"-o", &out, &"--percentile", &"0.99"]);
    assert_eq!(said, "[detect] percentile = 0.99: must be 50 to 100; 99.9 leaves one in a thousand");
    let both: [&dyn AsRef<OsStr>; 10] =
        [&"detect", &capture, &"-m", &model, &"-o", &out, &"--contamination", &"0.1", &"--percentile", &"9"];
    assert!(error(&both).contains("cannot be used with"));
}

#[test]
fn a_public_network_that_begins_most_is_told_of_unless_it_is_named() {
    let place = Place::new();
    // Each of four hosts asks three servers of elsewhere.
    let flow = |host: u64, server: u64| {
        let (src, dst) = (format!("[2001:db8:1::{host}]:40000"), format!("[2600:{server}::1]:443"));
        udp(&src, &dst).at_s(3 * host + server)
    };
    let flows = (1..=4).flat_map(|host| (1..=3).map(move |server| flow(host, server)));
    let capture = place.write("public.pcap", datagram::pcap(&flows.collect::<Vec<_>>()));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/train.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    for (local, told) in [("\"10.0.0.0/8\", \"link\"", true), ("\"2001:db8:1::/64\"", false)] {
        let pipeline = shipped.replacen("[context]", &format!("[context]\nlocal = [{local}]"), 1);
        let (pipeline, model) = (place.write("own.toml", pipeline), place.at("own.netweir"));
        let said =
            String::from_utf8(fine(&[&"train", &capture, &"-p", &pipeline, &"-m", &model]).stderr).unwrap();
        let note = "note: 4 hosts of 2001:db8:1::/64 are the sources of 100 % of all pairs of hosts, and are judged as strangers";
        assert_eq!(said.contains(note), told, "{said}");
    }
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
fn an_empty_training_set_is_said() {
    let place = Place::new();
    let capture = place.write("none.pcap", pcap(1, 65535, &[]));
    let model = place.at("none.netweir");
    let said = error(&[&"train", &capture, &"-m", &model]);
    assert!(said.contains("nothing to train on: ") && said.contains("none.pcap has no IP packet"), "{said}");
    let rows = place.at("none.parquet");
    fine(&[&"extract", &"-q", &capture, &"-o", &rows]);
    let said = error(&[&"train", &rows, &"-m", &model]);
    assert!(said.ends_with("none.parquet has no row"), "{said}");
    assert!(!model.exists());
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
fn tables_of_other_columns_are_trained_on_and_scored() {
    let Some(table) = crate::support::binary::shared("data/public/tables/mammography.parquet") else {
        return;
    };
    let place = Place::new();
    let model = place.at("table.netweir");
    let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/table.toml");
    fine(&[&"train", &"-q", &table, &"-p", &pipeline, &"-m", &model]);
    let out = place.at("scored");
    fine(&[&"detect", &"-q", &table, &"-m", &model, &"-o", &out]);
    let file = std::fs::File::open(out.join("scores.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let names: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    for name in ["x0", "label", "score", "is_anomaly", "partition"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
    assert_eq!(reader.metadata().file_metadata().num_rows(), 11_183);
}
