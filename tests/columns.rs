//! Columns that are chosen, by patterns or by what a model needs, are those of the whole.

// What is not there fails the test.
#![allow(clippy::unwrap_used)]

mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use support::binary::{run, succeed};
use support::table::Table;

struct Place {
    folder: tempfile::TempDir,
    capture: PathBuf,
}

impl Place {
    fn new() -> Place {
        let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/lab/attacks.pcap.zst");
        Place { folder: tempfile::tempdir().unwrap(), capture }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn fine(arguments: &[&dyn AsRef<OsStr>]) {
    let arguments: Vec<&OsStr> = arguments.iter().map(|argument| (*argument).as_ref()).collect();
    succeed(&arguments);
}

/// Every column of `some` stands in `whole`, value for value.
fn assert_part(some: &Table, whole: &Table) {
    assert_eq!(some.rows.len(), whole.rows.len());
    assert!(!some.rows.is_empty());
    for name in &some.names {
        assert!(some.column(name) == whole.column(name), "{name}");
    }
}

#[test]
fn chosen_columns_of_rows_are_those_of_all_columns() {
    let place = Place::new();
    let (whole, some) = (place.at("whole.parquet"), place.at("some.parquet"));
    fine(&[&"extract", &"-q", &place.capture, &"-o", &whole]);
    let columns = "src_ip,*_bytes,ctx_src_w1_peers,ctx_dst_w6_failed";
    let extract: [&dyn AsRef<OsStr>; 7] =
        [&"extract", &"-q", &place.capture, &"-o", &some, &"--columns", &columns];
    fine(&extract);
    let (whole, some) = (Table::from_parquet(&whole), Table::from_parquet(&some));
    let is_chosen = |name: &&String| name.ends_with("_bytes");
    let mut expected = vec!["window_start".to_owned(), "flow_id".to_owned(), "src_ip".to_owned()];
    expected.extend(whole.names.iter().filter(is_chosen).cloned());
    expected.push("ctx_src_w1_peers".to_owned());
    let mut found = some.names.clone();
    // Not among those of the pipeline, but asked for by its name.
    assert!(!whole.names.contains(&"ctx_dst_w6_failed".to_owned()));
    found.retain(|name| name != "ctx_dst_w6_failed");
    assert_eq!(found.len() + 1, some.names.len());
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let without: Vec<usize> =
        (0..some.names.len()).filter(|at| some.names[*at] != "ctx_dst_w6_failed").collect();
    let known = Table {
        names: without.iter().map(|at| some.names[*at].clone()).collect(),
        rows: some.rows.iter().map(|row| without.iter().map(|at| row[*at].clone()).collect()).collect(),
    };
    assert_part(&known, &whole);
}

#[test]
fn scores_alone_are_those_of_the_report() {
    let place = Place::new();
    let flows = "[context]\ncolumns = []\n[encode]\nlog1p = [\"fwd_*\", \"duration_s\"]\n[detect]\ndetector = \"forest\"\n";
    let counted = "[context]\ncolumns = [\"ctx_src_w1_peers\"]\n[encode]\nlog1p = [\"ctx_*\", \"bwd_bytes\"]\n\
                   [detect]\ndetector = \"forest\"\npartition_by = \"protocol_class\"\n";
    let rows = place.at("rows.parquet");
    fine(&[&"extract", &"-q", &place.capture, &"-o", &rows]);
    let all: &[(&str, &str)] =
        &[("flows", flows), ("counted", counted), ("themes", include_str!("../pipelines/train.toml"))];
    for (name, pipeline) in all {
        let (pipeline, model) = (place.write("pipeline.toml", pipeline), place.at("model"));
        fine(&[&"train", &"-q", &place.capture, &"-p", &pipeline, &"-m", &model]);
        let report = place.at(name);
        fine(&[&"detect", &"-q", &place.capture, &"-m", &model, &"-o", &report]);
        let whole = Table::from_parquet(&report.join("scores.parquet"));
        for from in [&place.capture, &rows] {
            let alone = place.at("alone.parquet");
            fine(&[&"detect", &"-q", from, &"-m", &model, &"-o", &alone, &"--columns", &"src_*"]);
            let alone = Table::from_parquet(&alone);
            let names = [
                "window_start",
                "flow_id",
                "src_ip",
                "src_port",
                "score",
                "p_value",
                "is_anomaly",
                "partition",
            ];
            let mut found = alone.names.clone();
            found.retain(|name| name != "src_is_new");
            found.sort();
            let mut names = names.map(str::to_owned);
            names.sort();
            assert_eq!(found, names);
            assert_part(&alone, &whole);
        }
    }
}

#[test]
fn what_cannot_be_chosen_is_named() {
    let place = Place::new();
    let (rows, out) = (place.at("rows.parquet"), place.at("out"));
    let error = |arguments: &[&dyn AsRef<OsStr>]| {
        let arguments: Vec<&OsStr> = arguments.iter().map(|argument| (*argument).as_ref()).collect();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = error(&[&"extract", &place.capture, &"-o", &rows, &"--columns", &"src_ip,dst_prt"]);
    assert!(said.contains("no column is named `dst_prt`; `dst_port` is most like it"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!rows.exists());
    let (pipeline, model) = (
        place.write("pipeline.toml", "[detect]\ndetector = \"forest\"\n[encode]\nlog1p = [\"fwd_bytes\"]\n"),
        place.at("model"),
    );
    fine(&[&"train", &"-q", &place.capture, &"-p", &pipeline, &"-m", &model]);
    let said = error(&[&"detect", &place.capture, &"-m", &model, &"-o", &out, &"--columns", &"src_ip"]);
    assert!(said.contains("a report has all"), "{said}");
    let rules = place.write("rules.toml", "[[allow]]\nsrc = '10.0.0.1'\nwhy = 'a test'\n");
    let alone = place.at("alone.parquet");
    let said = error(&[&"detect", &place.capture, &"-m", &model, &"-o", &alone, &"--allow", &rules]);
    assert!(said.contains("no incidents that rules could mute") && !alone.exists(), "{said}");
    let said = error(&[&"train", &place.capture, &"-p", &"forrest", &"-m", &model]);
    assert!(
        said.contains("forrest: no such file, and no built-in pipeline: ") && said.contains("forest,"),
        "{said}"
    );
}
