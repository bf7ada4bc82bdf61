//! The whole graph from captures to files: the same bytes for any number of workers, any slices, any split
//! of the capture, from captures and from rows.

// What is not there fails the test.
#![allow(clippy::unwrap_used)]

mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use support::binary::succeed;

fn datasets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/lab").join(name)
}

fn netweir(arguments: &[&dyn AsRef<OsStr>]) {
    let mut all: Vec<&OsStr> = arguments.iter().map(|argument| (*argument).as_ref()).collect();
    all.push("-q".as_ref());
    succeed(&all);
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Byte by byte, without printing megabytes.
fn assert_same(what: &str, left: &Path, right: &Path) {
    assert!(bytes(left) == bytes(right), "{what}: {} and {} differ", left.display(), right.display());
}

/// Classic pcap as records with their headers.
fn records(capture: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (head, mut rest) = capture.split_at(24);
    let mut records = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let (record, after) = rest.split_at(16 + length);
        records.push(record);
        rest = after;
    }
    (head, records)
}

/// The attack capture that ships, whole and split in three, as plain files.
fn captures(folder: &Path) -> (PathBuf, Vec<PathBuf>) {
    let file = std::fs::File::open(datasets("attacks.pcap.zst")).unwrap();
    let plain = zstd::decode_all(file).unwrap();
    let whole = folder.join("whole.pcap");
    std::fs::write(&whole, &plain).unwrap();
    let (head, records) = records(&plain);
    let parts = [0, records.len() / 5, records.len() / 2, records.len()];
    let split = parts.windows(2).zip(["first", "second", "third"]).map(|(range, name)| {
        let path = folder.join(format!("{name}.pcap"));
        let part: Vec<u8> =
            [head].iter().chain(&records[range[0]..range[1]]).flat_map(|r| r.iter()).copied().collect();
        std::fs::write(&path, part).unwrap();
        path
    });
    let split = split.collect();
    (whole, split)
}

#[test]
fn rows_models_and_scores_do_not_depend_on_how_the_graph_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (whole, split) = captures(folder.path());
    let slices = |name: &str, slice: &str, verb: &str| {
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("pipelines/{verb}.toml"));
        let text = std::fs::read_to_string(built_in).unwrap();
        let source = format!("slice = \"{slice}\"\n");
        let text = match text.contains("[source]\n") {
            true => text.replacen("[source]\n", &format!("[source]\n{source}"), 1),
            false => format!("{text}\n[source]\n{source}"),
        };
        let path = at(&format!("{name}-{verb}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    };

    netweir(&[&"extract", &whole, &"-o", &at("rows-1.parquet"), &"-w", &"1"]);
    let first = at("rows-1.parquet");
    for workers in ["2", "4"] {
        let rows = at(&format!("rows-{workers}.parquet"));
        netweir(&[&"extract", &whole, &"-o", &rows, &"-w", &workers]);
        assert_same("workers", &first, &rows);
    }
    for (name, slice) in [("second", "1s"), ("tenth", "100ms"), ("window", "35s")] {
        let rows = at(&format!("rows-{name}.parquet"));
        netweir(&[&"extract", &whole, &"-o", &rows, &"-w", &"2", &"-p", &slices(name, slice, "extract")]);
        assert_same("slices", &first, &rows);
    }
    let rows = at("rows-split.parquet");
    netweir(&[&"extract", &split[0], &split[1], &split[2], &"-o", &rows, &"-w", &"2"]);
    assert_same("the capture split in three", &first, &rows);

    // Models: from captures, from their rows, by other workers, from a split capture.
    let model = at("first.netweir");
    netweir(&[&"train", &whole, &"-m", &model, &"-w", &"1"]);
    for workers in ["2", "4"] {
        let other = at(&format!("model-{workers}.netweir"));
        netweir(&[&"train", &whole, &"-m", &other, &"-w", &workers]);
        assert_same("models by workers", &model, &other);
    }
    let other = at("model-rows.netweir");
    netweir(&[&"train", &first, &"-m", &other, &"-w", &"2"]);
    assert_same("the model of extracted rows", &model, &other);
    let other = at("model-split.netweir");
    netweir(&[&"train", &split[0], &split[1], &split[2], &"-m", &other, &"-p", &slices("s", "1s", "train")]);
    assert_same("the model of a split capture and other slices", &model, &other);

    // Scores: from captures and from rows, with a threshold that usual traffic exceeds now and then.
    let odd = ("--false-alarm-rate", "0.05");
    netweir(&[&"detect", &whole, &"-m", &model, &"-o", &at("scored-1"), &odd.0, &odd.1, &"-w", &"1"]);
    netweir(&[&"detect", &whole, &"-m", &model, &"-o", &at("scored-2"), &odd.0, &odd.1, &"-w", &"2"]);
    netweir(&[&"detect", &whole, &"-m", &model, &"-o", &at("scored-4"), &odd.0, &odd.1, &"-w", &"4"]);
    let sliced = slices("sliced", "35s", "detect");
    netweir(&[
        &"detect",
        &whole,
        &"-m",
        &model,
        &"-o",
        &at("scored-slices"),
        &odd.0,
        &odd.1,
        &"-w",
        &"2",
        &"-p",
        &sliced,
    ]);
    netweir(&[&"detect", &first, &"-m", &model, &"-o", &at("scored-rows"), &odd.0, &odd.1, &"-w", &"2"]);
    for other in ["scored-2", "scored-4", "scored-rows", "scored-slices"] {
        for file in ["scores.parquet", "alerts.eve.jsonl", "incidents.jsonl", "incident_rows.parquet"] {
            assert_same("scores", &at("scored-1").join(file), &at(other).join(file));
        }
    }
    // Every anomalous row is in an incident, and each incident is over at the end.
    let log = String::from_utf8(bytes(&at("scored-1").join("incidents.jsonl"))).unwrap();
    let mut last = std::collections::BTreeMap::new();
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        last.insert(event["id"].as_str().unwrap().to_owned(), event);
    }
    assert!(!last.is_empty() && last.values().all(|event| event["change"] == "close"));
    let alerts: u64 = last.values().map(|event| event["alerts"].as_u64().unwrap()).sum();
    let summary: serde_json::Value =
        serde_json::from_slice(&bytes(&at("scored-1").join("summary.json"))).unwrap();
    assert_eq!((&summary["anomalies"], &summary["incidents"]), (&alerts.into(), &last.len().into()));
    let rows = std::fs::File::open(at("scored-1").join("incident_rows.parquet")).unwrap();
    let rows = ParquetRecordBatchReaderBuilder::try_new(rows).unwrap();
    assert_eq!(rows.metadata().file_metadata().num_rows() as u64, alerts);
}

#[test]
fn counters_balance_and_say_what_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary.json");
    let rows = folder.path().join("rows.parquet");
    netweir(&[&"extract", &datasets("train.pcap.zst"), &"-o", &rows, &"--summary", &summary]);
    let summary: serde_json::Value = serde_json::from_slice(&bytes(&summary)).unwrap();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let refused: u64 = summary["rejects"].as_object().unwrap().values().map(number).sum();
    assert_eq!(number(&summary["frames"]), 347_183);
    assert_eq!(number(&summary["packets"]), 341_988);
    assert_eq!(number(&summary["frames"]), number(&summary["packets"]) + refused);
    let table = support::table::Table::from_parquet(&rows);
    assert_eq!(table.sum("bidir_packets"), number(&summary["packets"]));
    assert_eq!(table.sum("bidir_bytes"), number(&summary["bytes"]));
    assert_eq!(table.rows.len() as u64, number(&summary["rows"]));
    assert_eq!(table.sum("fwd_packets") + table.sum("bwd_packets"), table.sum("bidir_packets"));
}

#[test]
fn packet_rows_name_the_flows_of_flow_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (flows, packets) = (folder.path().join("flows.parquet"), folder.path().join("packets.parquet"));
    netweir(&[&"extract", &datasets("train.pcap.zst"), &"-o", &flows]);
    netweir(&[&"extract", &datasets("train.pcap.zst"), &"--packets", &"-o", &packets, &"-w", &"2"]);
    let ids = |path: &Path, name: &str| {
        let table = support::table::Table::from_parquet(path);
        let mut counts = std::collections::BTreeMap::<u64, u64>::new();
        let packets = match name {
            "" => vec![1; table.rows.len()],
            name => table.column(name).iter().map(support::table::Cell::number).collect(),
        };
        for (id, count) in table.column("flow_id").iter().zip(packets) {
            *counts.entry(id.number()).or_default() += count;
        }
        counts
    };
    assert_eq!(ids(&flows, "bidir_packets"), ids(&packets, ""));
}
