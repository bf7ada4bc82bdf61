//! Learns and scores a folder of public captures, one by one, and prints what was found and what was false.
//!
//! ```text
//! cargo run --release --example public -- FOLDER [PIPELINE]
//! ```
//!
//! FOLDER holds `attacks.csv` (`name,kind,...,first_ns,seconds,...`) and `attacks/NAME.pcap.zst` with
//! `attacks/NAME.labels.csv` where truth is known. The same is done with every capture and nothing is set for any:
//!
//! - What lies before the first label, at most half of the capture, is learned from; the rest is scored. Captures
//!   without labels are cut in the middle.
//! - Captures whose lead-in is shorter than a minute show no benign traffic of their own. They are scored after a
//!   capture of another network, in a table apart: everything in them is new there, which shows that they are read and
//!   what a score looks like, and nothing about false alarms.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use netweir::evaluate::{Labels, Options, evaluate};
use netweir::run::{Controls, run};
use netweir::spec::{Ends, Spec};
use pcap_file::pcap::{PcapReader, PcapTsResolution, PcapWriter};
use serde_json::Value;

type AnyError = Box<dyn std::error::Error>;

const USAGE: &str = "usage: public FOLDER [PIPELINE]";
const SECOND: u64 = 1_000_000_000;
/// What is learned from for captures that have no lead-in.
const ELSEWHERE: &str = "home_iot_week_a";
/// The shortest lead-in that is one.
const SHORTEST: u64 = 60 * SECOND;

struct Capture {
    name: String,
    kind: String,
    first: u64,
    length: u64,
}

/// What a capture gave.
struct Outcome {
    name: String,
    kind: String,
    lead: u64,
    metrics: Value,
}

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, pipeline) = match &arguments[..] {
        [folder] => (folder, None),
        [folder, pipeline] => (folder, Some(pipeline)),
        _ => return Err(USAGE.into()),
    };
    let folder = Path::new(folder);
    let spec = pipeline.map_or_else(|| Ok(Spec::built_in("train")), |path| Spec::find(Path::new(path)))?;
    let work = std::env::temp_dir().join(format!("netweir-public-{}", std::process::id()));
    std::fs::create_dir_all(&work)?;
    let done = all(folder, &spec, &work);
    std::fs::remove_dir_all(&work)?;
    done
}

fn all(folder: &Path, spec: &Spec, work: &Path) -> Result<(), AnyError> {
    let captures = list(&folder.join("attacks.csv"))?;
    let (mut own, mut elsewhere, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let there = work.join("elsewhere.netweir");
    train(spec, &folder.join(format!("attacks/{ELSEWHERE}.pcap.zst")), &there)?;
    for capture in &captures {
        eprintln!("{}", capture.name);
        let file = folder.join(format!("attacks/{}.pcap.zst", capture.name));
        let labels = folder.join(format!("attacks/{}.labels.csv", capture.name));
        let lead = lead(capture, &labels)?;
        let place = work.join(&capture.name);
        let scored = match capture.kind.as_str() {
            "whole" | "unlabelled_attack" => None,
            _ if lead < SHORTEST => None,
            _ => Some(learn_and_score(spec, &file, capture.first + lead, &place)),
        };
        let apart = scored.is_none();
        let scored = scored.unwrap_or_else(|| {
            score(&file, &there, &place)?;
            Ok(())
        });
        let metrics = scored.and_then(|()| judge(&place, &labels));
        match metrics {
            Err(error) => failed.push(format!("{}: {error}", capture.name)),
            Ok(metrics) => {
                let (name, kind) = (capture.name.clone(), capture.kind.clone());
                let result = Outcome { name, kind, lead, metrics };
                if apart { elsewhere.push(result) } else { own.push(result) }
            }
        }
        std::fs::remove_dir_all(&place).ok();
    }
    println!("{}", table(&own));
    println!("{}", sums(&own));
    println!(
        "Scored after `{ELSEWHERE}`, another network: there is no lead-in\n\n{}",
        short_table(&elsewhere)
    );
    for line in failed {
        println!("not scored: {line}");
    }
    Ok(())
}

/// The captures of a list.
fn list(path: &Path) -> Result<Vec<Capture>, AnyError> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let place = |name: &str| {
        head.iter().position(|column| *column == name).ok_or(format!("{}: no column {name}", path.display()))
    };
    let (name, kind, first, seconds) =
        (place("name")?, place("kind")?, place("first_ns")?, place("seconds")?);
    let mut captures = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |place: usize| fields.get(place).copied().unwrap_or_default();
        captures.push(Capture {
            name: field(name).to_owned(),
            kind: field(kind).to_owned(),
            first: field(first).parse()?,
            length: (field(seconds).parse::<f64>()? * SECOND as f64) as u64,
        });
    }
    Ok(captures)
}

/// How long the part to learn from is: up to the first label, at most half of the capture.
fn lead(capture: &Capture, labels: &Path) -> Result<u64, AnyError> {
    let half = capture.length / 2;
    if !labels.is_file() {
        return Ok(half);
    }
    let first = Labels::read(labels)?.labels.iter().map(|label| label.start).min().unwrap_or(u64::MAX);
    Ok(half.min(first.saturating_sub(capture.first)))
}

/// Cuts a capture in two at a time, learns from the first part and scores the second.
fn learn_and_score(spec: &Spec, file: &Path, at: u64, place: &Path) -> Result<(), AnyError> {
    std::fs::create_dir_all(place)?;
    let (before, after) = (place.join("before.pcap"), place.join("after.pcap"));
    cut(file, at, &before, &after)?;
    let model = place.join("model.netweir");
    train(spec, &before, &model)?;
    score(&after, &model, place)
}

/// Cuts a classic pcap, packed with zstd, in two.
fn cut(file: &Path, at: u64, before: &Path, after: &Path) -> Result<(), AnyError> {
    let named = |error| format!("{}: {error}", file.display());
    let mut reader = PcapReader::new(zstd::stream::read::Decoder::new(File::open(file)?)?).map_err(named)?;
    let header = reader.header();
    let unit = match header.ts_resolution {
        PcapTsResolution::MicroSecond => 1000,
        PcapTsResolution::NanoSecond => 1,
    };
    let part = |path| -> Result<_, AnyError> {
        Ok(PcapWriter::with_header(BufWriter::new(File::create(path)?), header)?)
    };
    let mut parts = [part(before)?, part(after)?];
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet.map_err(named)?;
        let time = u64::from(packet.ts_sec) * SECOND + u64::from(packet.ts_frac) * unit;
        parts[usize::from(time >= at)].write_raw_packet(&packet)?;
    }
    Ok(parts.iter_mut().try_for_each(PcapWriter::flush)?)
}

fn train(spec: &Spec, file: &Path, model: &Path) -> Result<(), AnyError> {
    let mut spec = spec.clone();
    spec.source.inputs = vec![file.to_string_lossy().into_owned()];
    spec.ends = Ends { fit: Some(model.to_owned()), ..Ends::default() };
    run(&spec, Controls::default())?;
    Ok(())
}

fn score(file: &Path, model: &Path, place: &Path) -> Result<(), AnyError> {
    let mut spec = Spec::built_in("detect");
    spec.source.inputs = vec![file.to_string_lossy().into_owned()];
    spec.ends = Ends { model: Some(model.to_owned()), report: Some(place.to_owned()), ..Ends::default() };
    run(&spec, Controls::default())?;
    Ok(())
}

fn judge(place: &Path, labels: &Path) -> Result<Value, AnyError> {
    let none: PathBuf = place.join("none.csv");
    std::fs::write(&none, "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n")?;
    let labels = if labels.is_file() { labels } else { &none };
    Ok(evaluate(place, labels, &Options::default())?.metrics())
}

fn number(value: &Value) -> String {
    match value.as_f64() {
        None => "-".into(),
        Some(number) if number.fract() == 0.0 && number < 1e6 => format!("{number}"),
        Some(number) if number < 10.0 => format!("{number:.3}"),
        Some(number) => format!("{number:.0}"),
    }
}

fn seconds(nanoseconds: u64) -> String {
    match nanoseconds / SECOND {
        s if s < 7200 => format!("{s} s"),
        s if s < 172_800 => format!("{:.1} h", s as f64 / 3600.0),
        s => format!("{:.1} d", s as f64 / 86_400.0),
    }
}

/// Days of the rows' time.
fn days(metrics: &Value) -> f64 {
    let time = |name: &str| metrics[name].as_u64().unwrap_or(0);
    time("last_packet_ns").saturating_sub(time("first_packet_ns")) as f64 / 86_400e9
}

fn shipped(result: &Outcome) -> &Value {
    &result.metrics["detectors"][0]["shipped"]
}

/// Events found of those with rows: by incidents where there are some.
fn found(result: &Outcome) -> [u64; 2] {
    let events = result.metrics["events"].as_array().map_or(&[][..], Vec::as_slice);
    let seen = events.iter().filter(|event| event["rows"].as_u64() > Some(0));
    let is_found = |event: &&Value| match &event["in_an_incident"] {
        Value::Bool(inside) => *inside,
        _ => event["found"] == true,
    };
    [seen.clone().filter(is_found).count() as u64, seen.count() as u64]
}

fn table(results: &[Outcome]) -> String {
    let mut text = format!(
        "{:<24} {:<15} {:>8} {:>7} {:>7} {:>6} {:>9} {:>7} {:>6} {:>9} {:>5} {:>5} {:>9} {:>4}\n",
        "capture",
        "kind",
        "lead-in",
        "benign",
        "attack",
        "events",
        "median s",
        "ROC-AUC",
        "false",
        "/host/day",
        "inc.",
        "false",
        "/host/day",
        "new"
    );
    for result in results {
        let metrics = &result.metrics;
        let own = &metrics["detectors"][0];
        let false_rows = shipped(result)["false_positives"].as_u64().unwrap_or(0);
        let host_days = metrics["benign_hosts"].as_f64().unwrap_or(0.0) * days(metrics);
        let a_host_and_day =
            if host_days > 0.0 { number(&(false_rows as f64 / host_days).into()) } else { "-".into() };
        let incidents = &metrics["incidents"];
        let [hits, all] = found(result);
        let events = if all == 0 { "-".to_owned() } else { format!("{hits}/{all}") };
        let _ = writeln!(
            text,
            "{:<24} {:<15} {:>8} {:>7} {:>7} {:>6} {:>9} {:>7} {:>6} {:>9} {:>5} {:>5} {:>9} {:>4}",
            result.name,
            result.kind,
            seconds(result.lead),
            number(&own["benign_rows"]),
            number(&own["attack_rows"]),
            events,
            number(&incidents["median_time_to_detect_s"]),
            number(&own["roc_auc"]),
            false_rows,
            a_host_and_day,
            number(&incidents["all"]),
            number(&incidents["false"]),
            number(&incidents["false_per_host_and_day"]),
            number(&incidents["new_hosts"]),
        );
        for event in metrics["events"].as_array().into_iter().flatten() {
            let missed = event["in_an_incident"] != true
                && (event["in_an_incident"] == false || event["found"] != true);
            if missed && event["rows"].as_u64() > Some(0) {
                let _ = writeln!(
                    text,
                    "  missed: {} ({})",
                    event["event"].as_str().unwrap_or(""),
                    event["family"]
                );
            }
        }
    }
    text
}

fn sums(results: &[Outcome]) -> String {
    let of = |kinds: &[&str]| -> String {
        let of: Vec<&Outcome> = results.iter().filter(|one| kinds.contains(&one.kind.as_str())).collect();
        let events =
            of.iter().map(|one| found(one)).fold([0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
        let sum = |value: &dyn Fn(&Outcome) -> f64| of.iter().map(|one| value(one)).sum::<f64>();
        let host_days = sum(&|one| one.metrics["benign_hosts"].as_f64().unwrap_or(0.0) * days(&one.metrics));
        let hours = sum(&|one| 24.0 * days(&one.metrics));
        let rows = sum(&|one| shipped(one)["false_positives"].as_f64().unwrap_or(0.0));
        let incidents = sum(&|one| one.metrics["incidents"]["false"].as_f64().unwrap_or(0.0));
        let larger =
            sum(&|one| one.metrics["incidents"]["of_two_rows_or_more"]["false"].as_f64().unwrap_or(0.0));
        format!(
            "{}: events found {}/{}; {rows} false alarms, {incidents} false incidents ({larger} of two rows or more) in \
             {hours:.1} h and {host_days:.1} days of hosts: {:.3} false incidents a host and day\n",
            kinds.join(", "),
            events[0],
            events[1],
            incidents / host_days
        )
    };
    ["labelled", "mixed", "benign", "presumed_benign", "trap"].map(|kind| of(&[kind])).concat()
}

fn short_table(results: &[Outcome]) -> String {
    let mut text =
        format!("{:<24} {:<15} {:>7} {:>7} {:>9}\n", "capture", "kind", "rows", "attack", "alarms");
    for result in results {
        let own = &result.metrics["detectors"][0];
        let point = shipped(result);
        let alarms = ["true_positives", "false_positives"].map(|name| point[name].as_u64().unwrap_or(0));
        let _ = writeln!(
            text,
            "{:<24} {:<15} {:>7} {:>7} {:>9}",
            result.name,
            result.kind,
            number(&result.metrics["rows"]["all"]),
            number(&own["attack_rows"]),
            alarms[0] + alarms[1]
        );
    }
    text
}
