//! Rows that are read, held against what a pipeline says of how rows are made.

use std::path::Path;

use super::RunError;
use crate::flow::row_settings;
use crate::source::inputs::{self, Found, Search};
use crate::source::rows::RowsFeed;
use crate::spec::Spec;

/// Keys of a pipeline that say how rows are made, by their tables; limits, such as `max_flows`, make no others.
const OF_ROWS: [(&str, &[&str]); 2] = [
    ("flow", &["window", "idle", "timezone", "rows", "active", "first_lengths"]),
    ("packet", &["tunnels", "vlan"]),
];

/// Whether the inputs that a pipeline without a model names are rows of flows, which are there and made already.
///
/// # Errors
/// If they cannot be read, or the pipeline asks for others.
pub fn reads_rows(spec: &Spec) -> Result<bool, RunError> {
    let Ok(Search { found: Found::Rows(paths), .. }) = inputs::find(&spec.source.inputs) else {
        return Ok(false);
    };
    let feed = RowsFeed::open(&paths, spec.source.lax)?;
    check_made(spec, &feed, &paths.first().cloned().unwrap_or_default())?;
    Ok(feed.settings().is_some())
}

/// Checks that a pipeline asks for no rows that are made otherwise than those that are read: made they are already. Of what
/// it does not name in a file only what is not the default is asked for.
pub(super) fn check_made(spec: &Spec, feed: &RowsFeed, path: &Path) -> Result<(), RunError> {
    // Whether rows have a column goes without saying.
    const LENGTHS: &str = "first_lengths";
    let has_lengths = feed.schema().index_of(LENGTHS).is_ok();
    let settings = |spec: &Spec| {
        let mut settings = row_settings(&spec.flow, &spec.packet).settings;
        settings.insert(LENGTHS.to_owned(), spec.flow.first_lengths.to_string());
        settings
    };
    let (asked, default) = (settings(spec), settings(&Spec::default()));
    let rows = feed.settings().map(|rows| {
        let mut rows = rows.settings.clone();
        rows.insert(LENGTHS.to_owned(), has_lengths.to_string());
        rows
    });
    for (table, key) in OF_ROWS.iter().flat_map(|(table, keys)| keys.iter().map(move |key| (*table, *key))) {
        let named = spec.named.get(table).is_some_and(|keys| keys.contains(key)) && spec.file.is_some();
        let (found, was) = (asked.get(key), rows.as_ref().and_then(|rows| rows.get(key)));
        let is_asked = named || found != default.get(key);
        if !is_asked || rows.is_some() && found == was {
            continue;
        }
        // As a pipeline file has it.
        let text = |setting: Option<&String>| match setting.map(String::as_str) {
            None if key == "vlan" => "\"key\"".to_owned(),
            None => "left out".to_owned(),
            Some(bare @ ("true" | "false")) => bare.to_owned(),
            Some(text) => format!("{text:?}"),
        };
        let (table, key, found) = (table, key.to_owned(), text(found));
        let was = match rows {
            Some(_) => format!("these rows were made with {}", text(was)),
            None => "the rows of this table are made already".to_owned(),
        };
        return Err(RunError::Made { path: path.to_owned(), table, key, found, was });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Cut, FlowSpec};
    use crate::packet::{PacketSpec, Vlan};

    #[test]
    fn every_setting_that_rows_carry_is_held_against_them() {
        let flow = FlowSpec { rows: Cut::Flow, ..FlowSpec::default() };
        let packet = PacketSpec { vlan: Vlan::Ignore, ..PacketSpec::default() };
        let known: Vec<&str> = OF_ROWS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
        for key in row_settings(&flow, &packet).settings.keys() {
            assert!(known.contains(&&**key), "{key}");
        }
    }
}
