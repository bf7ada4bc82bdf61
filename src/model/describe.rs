//! A model in words, for people (`netweir inspect`) and as JSON for programs.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{FORMAT_VERSION, Make, Model};
use crate::detect::{Detector, PartitionBy, PartitionSummary};
use crate::encode::Encoder;

/// Columns of text at most.
const WIDTH: usize = 92;

/// Where values begin in a line with a label.
const INDENT: usize = 17;

/// Lines that a list of names may take before it is summed up.
const LINES: usize = 3;

/// Partitions that are listed, the largest; the others are summed up.
const PARTITIONS: usize = 16;

impl Model {
    /// The model in words, in lines of at most 92 characters where names allow it.
    pub fn describe(&self) -> String {
        let mut text = Text::default();
        self.heading(&mut text);
        self.training_section(&mut text);
        self.rows_section(&mut text);
        self.columns_section(&mut text);
        self.detector_section(&mut text);
        text.lines
    }

    fn heading(&self, text: &mut Text) {
        let name = plain(&self.pipeline.name);
        let version = plain(&self.netweir_version);
        text.line(&format!(
            "Model of pipeline `{name}`, trained by netweir {version}, format {FORMAT_VERSION}"
        ));
        text.line(&format!("fingerprint {} (of what rows must be)", self.fingerprint()));
    }

    fn training_section(&self, text: &mut Text) {
        text.title("Training");
        let kind = if self.row_settings().is_some() { "flow rows" } else { "rows of a table" };
        let packets = self.training.packets;
        let packets = packets.map(|packets| format!(" of {} packets", grouped(packets))).unwrap_or_default();
        text.field("rows", &format!("{} {kind}{packets}", grouped(self.rows())));
        if let Some((first, last)) = self.training.windows_ns {
            text.field("windows", &format!("{} to {} (starts)", time(first), time(last)));
        }
        text.field("seed", &self.pipeline.seed.to_string());
    }

    fn rows_section(&self, text: &mut Text) {
        let settings = match &self.make {
            Make::Flows(settings) => &settings.settings,
            Make::Table => {
                text.title("Rows to score: of any table with the columns below");
                return;
            }
        };
        text.title(&format!("Rows to score: flow rows, feature version {}", self.feature_version));
        let meaning = |key: &str, value: &str| match (key, value) {
            ("window", _) => " of event time",
            ("idle", _) => " without a packet end a flow",
            ("active", _) => " cut a longer flow",
            ("rows", "window") => ": one row for each window of a flow",
            ("rows", "flow") => ": one row for each flow",
            ("tunnels", "true") => ": the innermost flow is the flow",
            ("tunnels", "false") => ": the outermost flow is the flow",
            ("timezone", _) => " for hours and days",
            _ => "",
        };
        let window = settings.iter().filter(|(key, _)| *key == "window");
        for (key, value) in window.chain(settings.iter().filter(|(key, _)| *key != "window")) {
            text.field(&plain(key), &format!("{}{}", plain(value), meaning(key, value)));
        }
        let context = &self.pipeline.context.columns;
        match context.is_empty() {
            true => text.field("context", "none"),
            false => text.names("context", &context.iter().map(|name| plain(name)).collect::<Vec<_>>()),
        }
    }

    fn columns_section(&self, text: &mut Text) {
        let features = self.scorer.encoders.features().len();
        text.title(&format!("Columns: {} read, {features} features", self.columns().count()));
        let columns = self.scorer.encoders.describe_json();
        let columns = columns.as_array().map(Vec::as_slice).unwrap_or_default();
        for encoder in Encoder::ALL {
            let names: Vec<String> = columns
                .iter()
                .filter(|column| column["encoder"] == encoder.name())
                .map(|column| {
                    let name = plain(column["column"].as_str().unwrap_or_default());
                    match column["values"].as_array() {
                        Some(values) => format!("{name} ({} values and other)", values.len()),
                        None => name,
                    }
                })
                .collect();
            if !names.is_empty() {
                text.names(&format!("{encoder} {}", names.len()), &names);
            }
        }
        if let Some(column) = &self.partition_column {
            text.field("not encoded", &format!("{} (names partitions)", plain(column.name())));
        }
    }

    fn detector_section(&self, text: &mut Text) {
        let (forest, settings) = (&self.scorer.forest, self.scorer.forest.detect_settings());
        text.title(&format!("Detector: {}", plain(&settings.spec().detector)));
        let (trees, sample) = (grouped(settings.trees() as u64), grouped(settings.sample() as u64));
        text.field("forest", &format!("{trees} trees, each of {sample} rows at most"));
        let by = match settings.partition_by() {
            PartitionBy::None => "nothing: one forest for all rows".to_owned(),
            PartitionBy::ProtocolClass => "protocol class: tcp, udp, icmp or other".to_owned(),
            PartitionBy::Column(column) => format!("values of column {}", plain(column)),
        };
        text.field("partitioned by", &by);
        let above = percent(1.0 - settings.share_below());
        let threshold = forest.threshold();
        text.field("anomaly", &format!("score above {threshold:.6}; of the training rows {above} % at most"));
        if *settings.partition_by() == PartitionBy::None {
            return;
        }
        text.line("");
        let row = |name: &str, rows: &str, share: &str, kept: &str, forest: &str| {
            format!("  {name:<20} {rows:>15} {share:>7} {kept:>11}  {forest}").trim_end().to_owned()
        };
        text.line(&row("partition", "rows", "share", "rows kept", "scored by"));
        let mut partitions: Vec<&PartitionSummary> = forest.partitions().iter().collect();
        partitions.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.partition.cmp(&b.partition)));
        let share = |rows: u64| format!("{:.1} %", 100.0 * rows as f64 / self.rows().max(1) as f64);
        for partition in partitions.iter().take(PARTITIONS) {
            let scored = match partition.sample {
                Some(_) => "its own forest".to_owned(),
                None => format!("the fallback (under {} rows)", grouped(settings.min_partition())),
            };
            let (rows, kept) = (grouped(partition.rows), grouped(partition.kept));
            text.line(&row(&plain(&partition.partition), &rows, &share(partition.rows), &kept, &scored));
        }
        let rest = &partitions[partitions.len().min(PARTITIONS)..];
        if !rest.is_empty() {
            let rows: u64 = rest.iter().map(|partition| partition.rows).sum();
            let kept: u64 = rest.iter().map(|partition| partition.kept).sum();
            let own = rest.iter().filter(|partition| partition.sample.is_some()).count();
            let name = format!("{} smaller ones", rest.len());
            let scored = format!("{own} own, {} fallback", rest.len() - own);
            text.line(&row(&name, &grouped(rows), &share(rows), &grouped(kept), &scored));
        }
        text.line(&row("(any other)", "", "", "", "the fallback, grown from all partitions"));
    }

    /// The model as JSON: what the manifest says, what encoders learned, partitions, and the threshold.
    pub fn describe_json(&self) -> Value {
        let forest = &self.scorer.forest;
        let rows = match &self.make {
            Make::Flows(settings) => json!({ "kind": "flows", "settings": settings.settings }),
            Make::Table => json!({ "kind": "table" }),
        };
        let partition = |partition: &PartitionSummary| {
            json!({
                "partition": &*partition.partition,
                "rows": partition.rows,
                "kept": partition.kept,
                "forest": if partition.sample.is_some() { "own" } else { "fallback" },
                "sample": partition.sample,
            })
        };
        let column = |column: &arrow::datatypes::Field| json!({ "name": column.name(), "type": column.data_type().to_string() });
        json!({
            "format_version": FORMAT_VERSION,
            "netweir_version": self.netweir_version,
            "feature_version": self.feature_version,
            "fingerprint": self.fingerprint(),
            "rows": rows,
            "columns": self.columns().map(column).collect::<Value>(),
            "pipeline": self.pipeline,
            "training": {
                "rows": self.rows(),
                "packets": self.training.packets,
                "first_window_start_ns": self.training.windows_ns.map(|(first, _)| first),
                "last_window_start_ns": self.training.windows_ns.map(|(_, last)| last),
            },
            "encoders": self.scorer.encoders.describe_json(),
            "features": self.scorer.encoders.features(),
            "threshold": forest.threshold(),
            "fallback_sample": forest.fallback().sample(),
            "partitions": forest.partitions().iter().map(partition).collect::<Value>(),
        })
    }
}

/// Lines as they are written.
#[derive(Default)]
struct Text {
    lines: String,
}

impl Text {
    fn line(&mut self, line: &str) {
        writeln!(self.lines, "{line}").expect("a string takes all text");
    }

    fn title(&mut self, title: &str) {
        self.line("");
        self.line(title);
    }

    fn field(&mut self, label: &str, value: &str) {
        self.line(&format!("  {label:<width$} {value}", width = INDENT - 3));
    }

    /// A list of names in a few lines; of those that do not fit it says how many there are.
    fn names(&mut self, label: &str, names: &[String]) {
        let room = WIDTH - INDENT;
        let mut lines = vec![String::new()];
        for (index, name) in names.iter().enumerate() {
            let last = index + 1 == names.len();
            let name = if last { name.clone() } else { format!("{name},") };
            let line = lines.last_mut().expect("there is a line");
            if line.is_empty() {
                line.push_str(&name);
            } else if line.chars().count() + 1 + name.chars().count() <= room {
                line.push(' ');
                line.push_str(&name);
            } else if lines.len() < LINES {
                lines.push(name);
            } else {
                lines.push(format!("and {} more", names.len() - index));
                break;
            }
        }
        let mut label = label;
        for line in lines {
            self.field(label, &line);
            label = "";
        }
    }
}

/// Foreign text that does nothing to a terminal.
fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A count with its thousands apart.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in percent, without the digits that binary fractions add.
fn percent(share: f64) -> String {
    let text = format!("{:.6}", 100.0 * share);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Nanoseconds since the Unix epoch as people read them.
fn time(nanoseconds: u64) -> String {
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("{nanoseconds} ns"),
    }
}
