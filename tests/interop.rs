//! Other readers of what netweir writes: the queries of the README run in DuckDB, Polars and pandas.
//!
//! Needs a Python with duckdb, polars, pandas and pyarrow: `NETWEIR_PYTHON` names it, else `python3`. Without
//! one the tests say so and skip.

// What is not there fails the test.
#![allow(clippy::unwrap_used)]

mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::binary::succeed;

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("NETWEIR_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let probe = Command::new(&python).args(["-c", "import duckdb, polars, pandas, pyarrow"]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: {} has no duckdb, polars, pandas and pyarrow", python.display());
    None
}

/// Code blocks of that language in the README.
fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let start = format!("```{language}\n");
    readme
        .match_indices(&start)
        .map(|(at, _)| {
            let rest = &readme[at + start.len()..];
            rest[..rest.find("```").unwrap()].to_owned()
        })
        .collect()
}

fn run(python: &Path, folder: &Path, code: &str) -> String {
    let output = Command::new(python).args(["-c", code]).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{code}\n{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the README's sections make: `rows.parquet`, `rows/`, `out/scores.parquet`.
fn made(folder: &Path) -> serde_json::Value {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/lab/attacks.pcap.zst");
    let at = |name: &str| folder.join(name).into_os_string();
    let netweir = |arguments: &[&OsStr]| {
        let mut all = vec![OsStr::new("-q")];
        all.splice(0..0, arguments.iter().copied());
        succeed(&all);
    };
    let capture = capture.as_os_str();
    let (rows, summary, dataset) = (at("rows.parquet"), at("rows.json"), at("rows"));
    let (arrow, csv, model, out) = (at("rows.arrow"), at("rows.csv"), at("office.netweir"), at("out"));
    netweir(&["extract".as_ref(), capture, "-o".as_ref(), &rows, "--summary".as_ref(), &summary]);
    for other in [&dataset, &arrow, &csv] {
        netweir(&["extract".as_ref(), &rows, "-o".as_ref(), other]);
    }
    netweir(&["train".as_ref(), &rows, "-m".as_ref(), &model]);
    netweir(&["detect".as_ref(), &rows, "-m".as_ref(), &model, "-o".as_ref(), &out]);
    serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap()
}

#[test]
fn readers_agree_on_every_format() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let summary = made(folder.path());
    let code = r#"
import duckdb, pandas, polars, pyarrow.dataset, pyarrow.ipc, pyarrow.parquet, pyarrow
sums = "count(*), sum(bidir_packets)::BIGINT, sum(bidir_bytes)::BIGINT"
print("duckdb", *duckdb.sql(f"select {sums} from 'rows.parquet'").fetchall()[0])
print("duckdb dataset", *duckdb.sql(f"select {sums} from read_parquet('rows/**/*.parquet', hive_partitioning = true)").fetchall()[0])
print("duckdb csv", *duckdb.sql(f"select {sums} from 'rows.csv'").fetchall()[0])
for name, frame in [("polars", polars.read_parquet("rows.parquet")), ("polars arrow", polars.read_ipc("rows.arrow")), ("polars dataset", polars.read_parquet("rows/**/*.parquet"))]:
    print(name, frame.height, frame["bidir_packets"].sum(), frame["bidir_bytes"].sum())
for name, frame in [("pandas", pandas.read_parquet("rows.parquet")), ("pyarrow arrow", pyarrow.ipc.open_file("rows.arrow").read_all().to_pandas()), ("pyarrow dataset", pyarrow.dataset.dataset("rows", partitioning="hive").to_table().to_pandas())]:
    print(name, len(frame), frame["bidir_packets"].sum(), frame["bidir_bytes"].sum())
"#;
    let printed = run(&python, folder.path(), code);
    let expected = format!("{} {} {}", summary["rows"], summary["packets"], summary["bytes"]);
    assert_eq!(printed.lines().count(), 9);
    for line in printed.lines() {
        assert!(line.ends_with(&expected), "{line}: expected {expected}");
    }
}

#[test]
fn queries_of_the_readme_run() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let queries = blocks("sql");
    let programs = blocks("python");
    assert!(!queries.is_empty() && programs.len() >= 2, "the README has queries");
    for query in queries {
        let code = format!("import duckdb\nrows = duckdb.sql('''{query}''').fetchall()\nassert rows\n");
        run(&python, folder.path(), &code);
    }
    for program in programs {
        assert!(!run(&python, folder.path(), &program).trim().is_empty(), "{program}");
    }
}
