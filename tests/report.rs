//! The evaluation from files to the page, and the page in a real browser where there is one.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int8Array, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt8Array, UInt16Array, UInt64Array,
};
use arrow::compute::concat_batches;
use netweir::evaluate::{EvaluateError, Evaluation, Labels, Options, evaluate};
use netweir::sink::report::{INCIDENT_ROWS, SCORES, hours_of};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const SECOND: u64 = 1_000_000_000;
const BASE: u64 = 1_700_000_000 * SECOND;

/// Plots that a page of scores with p-values has.
const PLOTS: [&str; 8] =
    ["roc", "roc-log", "precision-recall", "calibration", "histogram", "families", "boxes", "timeline"];

/// Where alarms begin.
const ALARM: f64 = 7.0;

/// Why a row of it scores as it does.
const REASONS: &str = r#"{"score":9.0,"total":12.0,"parts":[{"name":"fan","nats":9.5,"groups":[]},{"name":"nov","nats":2.5,"groups":[]}],
"evidence":[{"column":"src_peers_1","entity":"10.9.0.1","value":[41,41],"usual":[3,6],"p":1e-5,"nats":11.2,"words":"41 <peers> in 10 s; usual 3"},
{"column":"src_ports_1","entity":"a_very_long_name_without_any_space_that_a_narrow_page_must_break_somewhere_or_else_it_overflows","value":[4,4],"usual":null,"p":1e-3,"nats":6.9}],
"hints":[{"technique":"T1046","name":"Network Service Discovery"}]}"#;

/// A row of the made network.
struct Row {
    src: Ipv4Addr,
    at: u64,
    score: f64,
}

/// `count` rows over an hour; every tenth from one of twelve attackers, whose scores reach higher.
fn rows(count: u64) -> Vec<Row> {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1_u64 << 31) as f64
    };
    (0..count)
        .map(|number| {
            let attacker = number % 10 == 0;
            let host = if attacker { (number / 10 % 12) as u8 } else { (number % 40) as u8 };
            let src = Ipv4Addr::new(10, if attacker { 9 } else { 1 }, 0, host + 1);
            let tail = -random().max(1e-9).ln();
            let score = if attacker { tail + f64::from(host) } else { tail };
            Row { src, at: number * 3600 * SECOND / count, score }
        })
        .collect()
}

/// Writes `scores.parquet` of rows, alarming above [`ALARM`].
fn write_scores(folder: &Path, rows: &[Row]) {
    std::fs::create_dir_all(folder).unwrap();
    let times = |offset: u64| -> ArrayRef {
        let times = rows.iter().map(|row| (BASE + row.at + offset) as i64);
        Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    let windows = rows.iter().map(|row| ((BASE + row.at) / (10 * SECOND) * 10 * SECOND) as i64);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("window_start", Arc::new(TimestampNanosecondArray::from_iter_values(windows).with_timezone("UTC"))),
        ("flow_id", Arc::new(UInt64Array::from_iter_values(0..rows.len() as u64))),
        ("row_start", times(0)),
        ("row_end", times(SECOND / 2)),
        ("src_ip", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.src.to_string())))),
        ("dst_ip", Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "10.2.0.1")))),
        ("protocol", Arc::new(UInt8Array::from(vec![6; rows.len()]))),
        ("src_port", Arc::new(UInt16Array::from(vec![40_000; rows.len()]))),
        ("dst_port", Arc::new(UInt16Array::from(vec![443; rows.len()]))),
        (
            "service",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "<script>alert(1)</script>"))),
        ),
        ("bidir_bytes", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| 100 + row.at % 977)))),
        ("score", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.score)))),
        ("p_value", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| (-row.score).exp())))),
        (
            "reasons",
            Arc::new(StringArray::from_iter(rows.iter().map(|row| (row.score > ALARM).then_some(REASONS)))),
        ),
        ("is_anomaly", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.score > ALARM))))),
        (
            "partition",
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| if row.at % 2 == 0 { "tcp" } else { "a <partition> & more" }),
            )),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(folder.join("scores.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Writes the two files of incidents: one for each source with an alarm, the first of them muted, and a new host.
fn write_incidents(folder: &Path, rows: &[Row]) {
    let time = |offset: u64| {
        let second = (BASE + offset) / SECOND;
        jiff::Timestamp::from_second(second as i64).unwrap().to_string()
    };
    let top = |flow_id: u64, window: &str, src: &str| {
        serde_json::json!({
            "flow_id": flow_id.to_string(), "window_start": window, "src": src, "src_port": 4000, "dst": "10.2.0.1",
            "dst_port": 22, "protocol": "tcp", "score": 9.0,
        })
    };
    let mut hosts: BTreeMap<Ipv4Addr, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.score > ALARM) {
        hosts.entry(row.src).or_default().push(at);
    }
    let mut log = String::new();
    for (place, (host, members)) in hosts.iter().enumerate() {
        let (first, last) = (rows[members[0]].at, rows[members[members.len() - 1]].at);
        let score = members.iter().map(|at| rows[*at].score).fold(0.0, f64::max);
        let severity = ["low", "medium", "high", "critical"][place % 4];
        let window = time(first / (10 * SECOND) * 10 * SECOND);
        for change in ["create", "close"] {
            let line = serde_json::json!({
                "change": change, "id": format!("{place:016x}"), "time": time(first + 10 * SECOND), "kind": "anomaly",
                "address": host.to_string(), "role": "source", "first": time(first), "last": time(last + SECOND),
                "windows": 1, "alerts": members.len(), "score": score, "p_value": (-score).exp(), "severity": severity,
                "peers": 1, "ports": 1, "top": top(members[0] as u64, &window, &host.to_string()),
                "why": "41 <peers> in 10 s, and more words than stand beside each other on the screen of a telephone",
                "hints": [{"technique": "T1046", "name": "Network Service Discovery"}],
            });
            writeln!(log, "{line}").unwrap();
        }
    }
    let line = serde_json::json!({
        "change": "create", "id": "ffff", "time": time(0), "kind": "new_host", "address": "10.1.0.250", "role": "source",
        "first": time(0), "last": time(0), "windows": 0, "alerts": 0, "score": 0.0, "p_value": 1.0, "severity": "low",
        "peers": 1, "ports": 1, "top": top(0, &time(0), "10.1.0.250"), "why": "never seen in training",
    });
    writeln!(log, "{line}").unwrap();
    std::fs::write(folder.join("incidents.jsonl"), log).unwrap();
    let members =
        hosts.values().enumerate().flat_map(|(place, members)| members.iter().map(move |at| (place, *at)));
    let members: Vec<(usize, usize)> = members.collect();
    let name = |place: usize| (place > 0).then(|| format!("{place:016x}"));
    let windows = members.iter().map(|(_, at)| ((BASE + rows[*at].at) / (10 * SECOND) * 10 * SECOND) as i64);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("incident", Arc::new(StringArray::from_iter(members.iter().map(|(place, _)| name(*place))))),
        ("window_start", Arc::new(TimestampNanosecondArray::from_iter_values(windows).with_timezone("UTC"))),
        ("flow_id", Arc::new(UInt64Array::from_iter_values(members.iter().map(|(_, at)| *at as u64)))),
        (
            "muted_by",
            Arc::new(StringArray::from_iter(
                members.iter().map(|(place, _)| (*place == 0).then_some("a <rule>")),
            )),
        ),
        ("diff", Arc::new(Int8Array::from(vec![1; members.len()]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    );
    let batch = batch.unwrap();
    let file = std::fs::File::create(folder.join("incident_rows.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Labels of the twelve attackers, four families, and rows that fit nothing.
fn write_labels(path: &Path) {
    let mut text = "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n".to_owned();
    for attacker in 0..12 {
        let family = ["scan", "flood", "a_family_with_a_very_long_name_<b>", "beacon"][attacker % 4];
        writeln!(
            text,
            "{BASE},{},10.9.0.{},,tcp,,{family},e{attacker:02}",
            BASE + 4000 * SECOND,
            attacker + 1
        )
        .unwrap();
    }
    writeln!(text, "{BASE},{},10.250.0.1,,,,exfiltration,e90", BASE + SECOND).unwrap();
    writeln!(text, "{BASE},{},10.9.0.1,,arp,,arp_scan,e91", BASE + SECOND).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The evaluation of `count` rows beside scores of the first half of them.
fn evaluation(folder: &Path, count: u64) -> Evaluation {
    let rows = rows(count);
    write_scores(&folder.join("run"), &rows);
    write_incidents(&folder.join("run"), &rows);
    write_scores(&folder.join("other"), &rows[..rows.len() / 2]);
    write_labels(&folder.join("labels.csv"));
    let seeds =
        (1..4).map(|seed| ("run".to_owned(), seed, folder.join(if seed == 2 { "other" } else { "run" })));
    let options = Options {
        also: vec![("half".into(), folder.join("other"))],
        seeds: seeds.collect(),
        seed: 3,
        ..Options::default()
    };
    evaluate(&folder.join("run"), &folder.join("labels.csv"), &options).unwrap()
}

#[test]
fn an_evaluation_from_files_has_every_plot_and_no_foreign_markup() {
    let folder = tempfile::tempdir().unwrap();
    let evaluation = evaluation(folder.path(), 6000);
    let page = evaluation.report();
    for plot in PLOTS {
        assert!(page.contains(&format!("data-plot=\"{plot}\"")), "no plot {plot}");
    }
    for foreign in [
        "<script",
        "<partition>",
        "name_<b>",
        "<peers>",
        "<rule>",
        "http://",
        "https://",
        "url(",
        "@import",
        "NaN",
        "inf",
    ] {
        assert!(!page.contains(foreign), "the page holds {foreign}");
    }
    let metrics = evaluation.metrics();
    assert_eq!(metrics["rows"]["attack"], 600);
    assert_eq!(metrics["detectors"][1]["name"], "half");
    assert!(metrics["detectors"][1]["incidents"].is_null());
    let incidents = &metrics["incidents"];
    let count = |value: &serde_json::Value| value.as_u64().unwrap();
    assert!(count(&incidents["events_found"]) >= 8 && count(&incidents["false"]) >= 3, "{incidents}");
    assert_eq!((&incidents["new_hosts"], &incidents["rows_not_among_the_scores"]), (&1.into(), &0.into()));
    assert!(count(&incidents["muted_rows"]["a <rule>"]) > 0);
    assert_eq!(metrics["seeds"][0]["figures"].as_array().map(Vec::len), Some(6));
    for words in [
        "Worst incidents",
        "False incidents",
        "New hosts",
        "Spread over model seeds",
        "41 &lt;peers&gt;",
        "fan 9.50",
    ] {
        assert!(page.contains(words), "no {words}");
    }
    assert_eq!(metrics["events"].as_array().map(Vec::len), Some(14));
    let idle: Vec<_> = metrics["label_rows"]["without_rows"].as_array().unwrap().iter().collect();
    assert_eq!((idle[0]["line"].as_u64(), idle[1]["line"].as_u64()), (Some(14), Some(15)));
    assert!(evaluation.to_string().contains("`half` has other rows"));
}

/// Puts a file of a report by hours, as a live run writes it.
fn by_hours(folder: &Path, name: &str) {
    let whole = folder.join(name);
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&whole).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let rows: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let rows = concat_batches(&schema, &rows).unwrap();
    let middle = rows.num_rows() / 3;
    for (hour, part) in
        [rows.slice(0, middle), rows.slice(middle, rows.num_rows() - middle)].iter().enumerate()
    {
        let hour = hours_of(folder, name).join(format!("date=2023-11-14/hour=2{}", 2 + hour));
        std::fs::create_dir_all(&hour).unwrap();
        let file = std::fs::File::create(hour.join("part-0.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, schema.clone(), None).unwrap();
        writer.write(part).unwrap();
        writer.close().unwrap();
    }
    std::fs::remove_file(whole).unwrap();
}

#[test]
fn a_report_by_hours_is_evaluated_as_one_of_whole_files() {
    let folder = tempfile::tempdir().unwrap();
    let whole = evaluation(folder.path(), 6000).metrics();
    [SCORES, INCIDENT_ROWS].iter().for_each(|name| by_hours(&folder.path().join("run"), name));
    let labels = folder.path().join("labels.csv");
    let options = Options { seed: 3, ..Options::default() };
    let hours = evaluate(&folder.path().join("run"), &labels, &options).unwrap();
    let metrics = hours.metrics();
    for key in ["rows", "incidents", "calibration", "events"] {
        assert_eq!(metrics[key], whole[key], "{key}");
    }
    assert_eq!(metrics["detectors"][0], whole["detectors"][0]);
    assert!(hours.report().contains("fan 9.50"), "reasons of rows");
    let none = folder.path().join("none");
    std::fs::create_dir_all(hours_of(&none, SCORES)).unwrap();
    let error = evaluate(&none, &labels, &Options::default()).unwrap_err().to_string();
    assert!(error.ends_with("none/scores: has no rows: a live run writes those of an hour when it is over"));
}

#[test]
fn a_page_of_many_rows_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let page = evaluation(folder.path(), 200_000).report();
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
}

#[test]
fn what_is_missing_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("labels.csv");
    write_labels(&labels);
    let error = evaluate(&folder.path().join("none"), &labels, &Options::default()).unwrap_err();
    assert!(
        matches!(&error, EvaluateError::Io { path, .. } if path.ends_with("none/scores.parquet")),
        "{error}"
    );
    std::fs::create_dir(folder.path().join("bad")).unwrap();
    std::fs::write(folder.path().join("bad/scores.parquet"), "no parquet").unwrap();
    let error = evaluate(&folder.path().join("bad"), &labels, &Options::default()).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    std::fs::write(&labels, "start_ns,end_ns,src_ip,dst_ip,protocol,dst_port,attack,event\n").unwrap();
    let error = evaluate(&folder.path().join("bad"), &labels, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("labels.csv:1: no column `proto`"), "{error}");
    let also = vec![("a".to_owned(), PathBuf::new()), ("a".to_owned(), PathBuf::new())];
    let error = evaluate(folder.path(), &labels, &Options { also, ..Options::default() }).unwrap_err();
    assert!(error.to_string().contains("`a` stands twice"), "{error}");
}

#[test]
fn label_files_of_all_captures_are_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let mut read = 0;
    for folder in ["lab", "public/attacks"] {
        let Ok(files) = std::fs::read_dir(data.join(folder)) else {
            eprintln!("skipped: no {}", data.join(folder).display());
            return;
        };
        for path in files.map(|file| file.unwrap().path()) {
            if path.to_string_lossy().ends_with(".labels.csv") {
                assert!(!Labels::read(&path).unwrap().labels.is_empty(), "{}", path.display());
                read += 1;
            }
        }
    }
    assert!(read > 20, "{read} files");
}

/// A Chromium to look at pages with: `NETWEIR_CHROMIUM`, or the first that the system has.
fn browser() -> Option<String> {
    let names = std::env::var("NETWEIR_CHROMIUM")
        .into_iter()
        .chain(["chromium", "chromium-browser", "google-chrome", "chrome"].map(str::to_owned));
    names
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|said| said.status.success()))
}

/// What a probe at the end of a page writes into its title: the widest overflow, what is wider than its part of the
/// page and so has to be scrolled, and for each plot its marks, titles of axes and ticks, ticks that lie over each
/// other, and text that reaches out of its drawing.
const PROBE: &str = r#"<script>
addEventListener("load", () => {
  const frame = document.querySelector("iframe"), page = frame.contentDocument, root = page.documentElement;
  const plots = [...page.querySelectorAll("[data-plot]")].map(plot => {
    const box = plot.querySelector("svg.plot").getBoundingClientRect();
    const out = [...plot.querySelectorAll("svg.plot text")].filter(text => {
      const own = text.getBoundingClientRect();
      return own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1 || own.bottom > box.bottom + 1;
    }).map(text => text.textContent);
    const ticks = [...plot.querySelectorAll("svg.plot .tick[text-anchor=middle]")].map(t => t.getBoundingClientRect());
    const crowded = ticks.filter((tick, at) => ticks.some((other, beside) =>
      beside > at && tick.left < other.right && other.left < tick.right && tick.top < other.bottom && other.top < tick.bottom));
    return {
      crowded: crowded.length, name: plot.dataset.plot, marks: plot.querySelectorAll("svg.plot .mark").length, out,
      axes: plot.querySelectorAll("svg.plot .axis-title").length, ticks: plot.querySelectorAll("svg.plot .tick").length,
      legend: plot.querySelectorAll(".legend li").length, width: box.width
    };
  });
  const cut = [...page.querySelectorAll(".scroll")].filter(part => part.scrollWidth > part.clientWidth + 1);
  const headings = cut.map(part => part.closest(".card").querySelector("h3, summary").textContent);
  document.title = JSON.stringify({ scroll: root.scrollWidth, inner: frame.contentWindow.innerWidth, cut: headings, plots });
});
</script>"#;

/// The document that a browser makes of a page.
fn document(browser: &str, folder: &Path, page: &str) -> String {
    let path = folder.join("page.html");
    std::fs::write(&path, page).unwrap();
    let said = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"])
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", path.display()))
        .output()
        .unwrap();
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// The page as a browser lays it out at a width: what [`PROBE`] found.
fn probe(browser: &str, folder: &Path, page: &str, width: u32) -> serde_json::Value {
    // In a frame, for a window of a browser cannot be made as narrow as a telephone.
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    let wrapper = format!(
        "<!doctype html><html><head><meta charset=\"utf-8\">{PROBE}</head><body style=\"margin:0\">\
         <iframe style=\"border:0;width:{width}px;height:900px\" srcdoc=\"{page}\"></iframe></body></html>"
    );
    let document = document(browser, folder, &wrapper);
    let title =
        document.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
    let plain = [("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    let title = plain.iter().fold(title.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain));
    serde_json::from_str(&title)
        .unwrap_or_else(|error| panic!("{width} pixels: the probe said `{title}`: {error}"))
}

/// A browser that loads pages here; where there is none, says so.
fn working_browser(folder: &Path) -> Option<String> {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium here; NETWEIR_CHROMIUM may name one");
        return None;
    };
    if !document(&browser, folder, "<title>plain</title>").contains("plain") {
        eprintln!("skipped: {browser} does not load even a plain page here");
        return None;
    }
    Some(browser)
}

#[test]
fn a_browser_shows_every_plot_and_nothing_overflows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(browser) = working_browser(folder.path()) else { return };
    let page = evaluation(folder.path(), 6000).report();
    for width in [1280, 390] {
        let found = probe(&browser, folder.path(), &page, width);
        assert!(found["scroll"].as_u64() <= found["inner"].as_u64(), "{width} pixels: {found}");
        let plots = found["plots"].as_array().unwrap();
        let names: Vec<_> = plots.iter().filter_map(|plot| plot["name"].as_str()).collect();
        for plot in PLOTS {
            assert!(names.contains(&plot), "{width} pixels: no {plot} in {names:?}");
        }
        for plot in plots {
            let count = |what: &str| plot[what].as_u64().unwrap_or(0);
            let titles = if ["families", "boxes", "timeline"].contains(&plot["name"].as_str().unwrap()) {
                1
            } else {
                2
            };
            assert!(count("marks") >= 3, "{width} pixels: {plot}");
            assert!(count("ticks") >= 3 && count("axes") == titles, "{width} pixels: {plot}");
            assert_eq!(count("crowded"), 0, "{width} pixels: ticks lie over each other: {plot}");
            assert!(count("legend") >= 3, "{width} pixels: {plot}");
            assert_eq!(
                plot["out"].as_array().map(Vec::len),
                Some(0),
                "{width} pixels: text reaches out: {plot}"
            );
        }
    }
}

#[test]
fn on_paper_no_column_of_a_table_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let Some(browser) = working_browser(folder.path()) else { return };
    let page = evaluation(folder.path(), 6000).report();
    let printed = page.replace("@media print", "@media all");
    assert_ne!(page, printed);
    // A sheet of Letter on its side is the narrower one: 11 inches without the margins.
    let found = probe(&browser, folder.path(), &printed, 960);
    assert_eq!(found["cut"].as_array().map(Vec::len), Some(0), "{found}");
    assert!(found["scroll"].as_u64() <= found["inner"].as_u64(), "{found}");
}
