//! `netweir features`: the dictionary of columns.

use std::io::Write;

use arrow::datatypes::Schema;
use serde_json::json;

use super::Failure;
use crate::context;
use crate::detect::{MEANINGS, scored_schema};
use crate::row::FEATURE_VERSION;
use crate::row::columns::{COLUMNS, PACKET_COLUMNS};

/// Print the dictionary of columns: name, type, unit, meaning
#[derive(Debug, clap::Args)]
pub(super) struct Features {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Columns of packet rows instead (extract --packets)
    #[arg(long)]
    packets: bool,
}

/// One line of the dictionary.
struct Line {
    name: String,
    kind: String,
    nullable: bool,
    unit: String,
    meaning: String,
    group: &'static str,
}

impl Features {
    pub(super) fn run(self) -> Result<(), Failure> {
        let lines = self.lines();
        let mut out = std::io::stdout().lock();
        if self.json {
            let columns: Vec<_> = lines
                .iter()
                .map(|line| {
                    json!({
                        "name": line.name, "type": line.kind, "nullable": line.nullable,
                        "unit": line.unit, "meaning": line.meaning, "group": line.group,
                    })
                })
                .collect();
            let dictionary = json!({ "feature_version": FEATURE_VERSION, "columns": columns });
            serde_json::to_writer_pretty(&mut out, &dictionary).map_err(std::io::Error::from)?;
            return Ok(writeln!(out)?);
        }
        let mut group = "";
        for line in &lines {
            if line.group != group {
                let gap = if group.is_empty() { "" } else { "\n" };
                writeln!(out, "{gap}{}", line.group)?;
                group = line.group;
            }
            let null = if line.nullable { ", null" } else { "" };
            let kind = format!("{}{null}", line.kind);
            writeln!(out, "  {:<28} {kind:<22} {:<4} {}", line.name, line.unit, line.meaning)?;
        }
        Ok(())
    }

    fn lines(&self) -> Vec<Line> {
        let (columns, group) =
            if self.packets { (PACKET_COLUMNS, "Packet rows") } else { (COLUMNS, "Flow rows") };
        let flows = columns.iter().map(|column| Line {
            name: column.name.to_owned(),
            kind: column.kind.to_string(),
            nullable: column.nullable,
            unit: column.unit.to_owned(),
            meaning: column.meaning.to_owned(),
            group,
        });
        let context = context::definitions().into_iter().filter(|_| !self.packets).map(|column| Line {
            name: column.name(),
            kind: column.kind().to_string(),
            nullable: column.nullable(),
            unit: column.unit().to_owned(),
            meaning: column.meaning(),
            group: "Context (chosen under [context] columns)",
        });
        let scored = scored_schema(&Schema::empty());
        let scored =
            scored.fields().iter().zip(MEANINGS).filter(|_| !self.packets).map(|(field, meaning)| Line {
                name: field.name().clone(),
                kind: field.data_type().to_string(),
                nullable: field.is_nullable(),
                unit: String::new(),
                meaning: meaning.to_owned(),
                group: "Scores (what detect and watch add)",
            });
        flows.chain(context).chain(scored).collect()
    }
}
