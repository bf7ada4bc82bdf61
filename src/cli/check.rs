//! `netweir check`: the graph that a pipeline file builds, or that a file of rules can be used.

use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;

use super::Failure;
use crate::context::{Plan, definitions};
use crate::detect::{DetectSettings, Inputs, Kind, scored_schema};
use crate::encode::{EncodeSpec, Fit};
use crate::flow::{Cut, FlowSpec, row_settings};
use crate::incident::IncidentSpec;
use crate::packet::{PacketSpec, Vlan};
use crate::row::schema::flow_schema;
use crate::run::{AllowList, RunError, check_ends, reads_rows, useless};
use crate::spec::Spec;

/// Check a pipeline file and print the graph that it builds, or check a file of rules
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The pipeline file, the name of one that is built in, or a file of rules as `--allow` takes
    #[arg(value_name = "FILE.toml")]
    pipeline: PathBuf,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        if holds_rules(&self.pipeline) {
            let (list, what) = rules(&self.pipeline)?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{} is well formed: {what}", self.pipeline.display())?;
            return useless(&list.rules).try_for_each(|rule| Ok(writeln!(out, "  {rule}")?));
        }
        let spec = Spec::find(&self.pipeline)?;
        if spec.ends.name_something() {
            check_ends(&spec)?;
        }
        let rooms = rooms(&spec)?;
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{} is well formed: pipeline `{}`, seed {}\n",
            self.pipeline.display(),
            spec.name,
            spec.seed
        )?;
        for (number, (room, what)) in rooms.iter().enumerate() {
            let arrow = if number == 0 { "  " } else { "->" };
            writeln!(out, "  {arrow} {room:<8} {what}")?;
        }
        Ok(())
    }
}

/// Whether a file is one of rules: no pipeline has tables of their names, and what else has tables in numbers and nothing of
/// a pipeline was meant for one.
fn holds_rules(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let in_numbers =
        |value: &toml::Value| value.as_array().is_some_and(|all| all.iter().any(toml::Value::is_table));
    let of_pipelines = toml::Table::try_from(Spec::default()).unwrap_or_default();
    let is_meant =
        || table.values().any(in_numbers) && table.keys().all(|key| !of_pipelines.contains_key(key));
    ["allow", "threshold"].iter().any(|name| table.contains_key(*name)) || is_meant()
}

/// Rules that rows of flows can be held against, and what they are in a few words.
fn rules(path: &Path) -> Result<(AllowList, String), RunError> {
    let list = AllowList::read(path)?;
    list.check_columns(&any_column())?;
    let count = list.rules.rules().len();
    let mut what = format!("{count} {}", if count == 1 { "rule" } else { "rules" });
    if let Some(threshold) = list.rules.threshold() {
        what.push_str(&format!(", threshold by {threshold}"));
    }
    Ok((list, what))
}

/// Rooms on the way of a packet, with what they do.
fn rooms(spec: &Spec) -> Result<Vec<(&'static str, String)>, RunError> {
    let mut rooms = Vec::new();
    let source = &spec.source;
    let inputs = match (&source.interface, &source.inputs[..]) {
        (Some(interface), _) => format!("interface {interface}"),
        (None, []) => "captures or Parquet rows that the command line names".to_owned(),
        (None, inputs) => inputs.join(", "),
    };
    let lax = if source.lax { ", lax" } else { "" };
    let without = match &source.without[..] {
        [] => String::new(),
        names => format!("; without rows of {}", names.join(", ")),
    };
    rooms.push((
        "source",
        format!("{inputs}; lateness {:?}, slices of {:?}{lax}{without}", source.lateness, source.slice),
    ));
    if spec.ends.model.is_some() {
        rooms.push(("rows", "made as the model was trained: its windows, context and encoders".to_owned()));
        rooms.push(("detect", "scores by the model, anomalies above its threshold".to_owned()));
        rooms.push(("incident", incidents(&spec.incident)?));
    } else {
        row_rooms(spec, &mut rooms)?;
        // The verb brings the model.
        if spec.ends.rows.is_none() && spec.ends.fit.is_none() {
            rooms.push(("incident", format!("where a model scores: {}", incidents(&spec.incident)?)));
        }
    }
    rooms.push(("ends", ends(spec)));
    Ok(rooms)
}

/// Rooms that rows come through where no model says how they are made.
fn row_rooms(spec: &Spec, rooms: &mut Vec<(&'static str, String)>) -> Result<(), RunError> {
    let plan = Plan::new(&spec.context)?;
    let rows = flow_schema(&row_settings(&spec.flow, &spec.packet), |_| true);
    let columns = rows.fields().len();
    let with_context = plan.schema(&rows);
    let named = names_something(&spec.encode);
    let own_table = named && !knows_a_column(&spec.encode, &with_context);
    if !spec.source.inputs.is_empty() && reads_rows(spec)? {
        rooms.push(("rows", "read as they were made".to_owned()));
    } else if !own_table {
        let tunnels = if spec.packet.tunnels { "tunnels unwrapped" } else { "tunnels left as they are" };
        let vlan = if spec.packet.vlan == Vlan::Ignore { ", VLAN ids ignored" } else { "" };
        rooms.push(("packet", format!("frames decoded, {tunnels}{vlan}; to the workers that own the flows")));
        let flow = &spec.flow;
        let cut = match (flow.rows, spec.ends.packets) {
            (_, true) => "a row a packet".to_owned(),
            (Cut::Window, _) => {
                format!("a row of {columns} columns for each flow and window of {:?}", flow.window)
            }
            (Cut::Flow, _) => {
                format!("a row of {columns} columns for each flow, at the latest every {:?}", flow.active)
            }
        };
        rooms.push(("flow", format!("{cut}; idle after {:?}, at most {} flows", flow.idle, flow.max_flows)));
    }
    if !own_table && !plan.is_empty() && !spec.ends.packets {
        rooms.push(("context", format!("{} columns of hosts and services", plan.names().len())));
    }
    if own_table {
        let what = "a table of your own: its columns are checked when it is read";
        rooms.push(("encode", what.to_owned()));
    } else if named {
        let fit = Fit::new(&spec.encode, &with_context).map_err(|error| RunError::Met(error.into()))?;
        rooms.push(("encode", format!("{} columns fitted as numbers", fit.columns().count())));
    }
    let detect = spec.detect.check()?;
    if named || spec.detect.keeps_baselines() {
        rooms.push(("detect", detector(&detect)));
    }
    Ok(())
}

/// What a detector is made of, in one line.
fn detector(detect: &DetectSettings) -> String {
    let spec = detect.spec();
    let members: Vec<&str> = spec.members().iter().map(|member| member.name()).collect();
    let mut text = spec.detector.clone();
    if spec.kind() == Some(Kind::Ensemble) {
        let of = if spec.inputs() == Some(Inputs::Groups) { "groups of surprises" } else { "surprises" };
        text = format!("{} over {of}", members.join(" + "));
    }
    if spec.kind() == Some(Kind::Forest) || members.contains(&"forest") {
        let (trees, sample) = (spec.trees, spec.sample);
        text.push_str(&format!(": {trees} trees of {sample} rows each, partitions by {}", spec.partition_by));
    }
    format!("{text}; threshold by {}", detect.threshold())
}

/// How incidents are made; the allow-list is read, so that what is wrong with it is known now.
fn incidents(spec: &IncidentSpec) -> Result<String, RunError> {
    let mut what =
        format!("anomalies by the host that accounts for them, until {:?} of silence", spec.silence);
    if let Some(path) = &spec.allow {
        what.push_str(&format!("; {}: {}", path.display(), rules(path)?.1));
    }
    match spec.alerts_per_day {
        Some(reports) => what.push_str(&format!("; at most {reports} a day are reported")),
        None => what.push_str("; all are reported"),
    }
    Ok(what)
}

/// Every column that scored rows of flows can have.
fn any_column() -> Schema {
    let flows = flow_schema(&row_settings(&FlowSpec::default(), &PacketSpec::default()), |_| true);
    let context = definitions().into_iter().map(|definition| definition.field().into());
    scored_schema(&Schema::new(flows.fields().iter().cloned().chain(context).collect::<Vec<_>>()))
        .as_ref()
        .clone()
}

fn lists(encode: &EncodeSpec) -> impl Iterator<Item = &String> {
    [&encode.standard, &encode.log1p, &encode.onehot, &encode.passthrough].into_iter().flatten()
}

fn names_something(encode: &EncodeSpec) -> bool {
    lists(encode).next().is_some()
}

/// Whether a name stands for a column of flow rows: else the pipeline is for a table of other columns.
fn knows_a_column(encode: &EncodeSpec, rows: &arrow::datatypes::Schema) -> bool {
    lists(encode).any(|name| {
        let start = name.split('*').next().unwrap_or("");
        rows.fields().iter().any(|field| match name.contains('*') {
            true => !start.is_empty() && field.name().starts_with(start),
            false => field.name() == name,
        })
    })
}

fn ends(spec: &Spec) -> String {
    let ends = &spec.ends;
    let mut named = Vec::new();
    let rows = if ends.packets { "packet rows" } else { "rows" };
    for (what, path) in [
        (rows, &ends.rows),
        ("a model", &ends.fit),
        ("counters", &ends.summary),
        ("frames", &ends.write_pcap),
    ] {
        if let Some(path) = path {
            named.push(format!("{what} to {}", path.display()));
        }
    }
    if let Some(model) = &ends.model {
        for (what, path) in [("scores", &ends.scores), ("scores, alerts and summary", &ends.report)] {
            if let Some(path) = path {
                named.push(format!("{what} by {} to {}", model.display(), path.display()));
            }
        }
    }
    match named.is_empty() {
        true => "none in the file: extract, train, detect and watch bring theirs".to_owned(),
        false => named.join("; "),
    }
}
