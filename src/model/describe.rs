//! A model in words, for people (`netweir inspect`) and as JSON for programs.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{FORMAT_VERSION, Make, Model};
use crate::context::OnLink;
use crate::detect::Line;
use crate::detect::outline::grouped;
use crate::terminal::spelled;

/// Columns of text at most.
const WIDTH: usize = 92;

/// Where values begin in a line with a label.
const INDENT: usize = 17;

/// Lines that a list of names may take before it is summed up.
const LINES: usize = 3;

impl Model {
    /// The model in words, in lines of at most 92 characters where names allow it.
    pub fn describe(&self) -> String {
        let mut text = Text::default();
        self.heading(&mut text);
        self.training_section(&mut text);
        self.rows_section(&mut text);
        self.detector_sections(&mut text);
        text.lines
    }

    fn heading(&self, text: &mut Text) {
        let name = spelled(&self.pipeline.name);
        let version = spelled(&self.netweir_version);
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
            ("vlan", "ignore") => ": ids of VLANs tell no flows apart",
            ("timezone", _) => " for hours and days",
            _ => "",
        };
        let window = settings.iter().filter(|(key, _)| *key == "window");
        for (key, value) in window.chain(settings.iter().filter(|(key, _)| *key != "window")) {
            text.field(&spelled(key), &format!("{}{}", spelled(value), meaning(key, value)));
        }
        let context = &self.pipeline.context.columns;
        match context.is_empty() {
            true => text.field("context", "none"),
            false => {
                let spelled = |names: &[String]| names.iter().map(|name| spelled(name)).collect::<Vec<_>>();
                text.names("context", &spelled(context));
                text.names("local", &spelled(&self.pipeline.context.local));
            }
        }
    }

    fn detector_sections(&self, text: &mut Text) {
        for line in self.detector.outline() {
            match line {
                Line::Title(title) => text.title(&spelled(&title)),
                Line::Field(label, value) => text.field(&spelled(&label), &spelled(&value)),
                Line::Names(label, names) => {
                    text.names(&spelled(&label), &names.iter().map(|name| spelled(name)).collect::<Vec<_>>());
                }
                Line::Text(line) => text.line(&spelled(&line)),
            }
        }
        if let Some(memory) = &self.memory {
            let count = grouped(memory.len() as u64);
            text.field("remembered", &format!("{count} hosts, pairs, services and ports of theirs"));
        }
        for OnLink { network, hosts } in self.strangers() {
            text.field(
                "on the link",
                &format!("{hosts} hosts of {network}, which [context] local does not name"),
            );
        }
    }

    /// The model as JSON: what the manifest says, and what the detector says of itself.
    pub fn describe_json(&self) -> Value {
        let rows = match &self.make {
            Make::Flows(settings) => json!({ "kind": "flows", "settings": settings.settings }),
            Make::Table => json!({ "kind": "table" }),
        };
        let column = |column: &arrow::datatypes::Field| json!({ "name": column.name(), "type": column.data_type().to_string() });
        let mut all = json!({
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
        });
        if let Some(memory) = &self.memory {
            all["remembered"] = memory.len().into();
        }
        for (key, value) in self.detector.describe_json() {
            all[key] = value;
        }
        all
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
                lines.push(format!("and {} more (--json)", names.len() - index));
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

/// Nanoseconds since the Unix epoch as people read them.
fn time(nanoseconds: u64) -> String {
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("{nanoseconds} ns"),
    }
}
