//! Whether rows are of the make that a model was trained on, and how rows are made that are.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;

use super::{ModelError, Pipeline};
use crate::flow::{FlowSpec, row_settings};
use crate::packet::{PacketSpec, Vlan};
use crate::row::RowSettings;
use crate::row::schema::{FEATURES, SETTINGS};

/// How rows were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Make {
    /// Flow rows of netweir, with what they depend on beside the packets.
    Flows(RowSettings),
    /// Rows of any other table.
    Table,
}

/// What the metadata of rows says: feature version and settings; nothing for tables of other making.
pub(super) struct Said(Option<(String, RowSettings)>);

const EXTRACT: &str = "give captures, or extract the rows again with the model's setting";
const VERSION: &str = "extract the rows again and train anew with one netweir";
const SILENT: &str = "the model was trained on flow rows, and these are none, or do not say how they were \
    made; give captures, or rows of flows that `netweir extract` wrote";
const FLOWS: &str = "the model was trained on a table without netweir's metadata, and these are flow rows; \
    give a table like that one, or train a model on flow rows";

impl Make {
    /// How rows with this schema say that they were made.
    ///
    /// # Errors
    /// [`ModelError::Parts`] if they say it in a way that no netweir does.
    pub(super) fn of(rows: &Schema) -> Result<Said, ModelError> {
        let Some(version) = rows.metadata().get(FEATURES) else { return Ok(Said(None)) };
        let settings = rows.metadata().get(SETTINGS).and_then(|text| serde_json::from_str(text).ok());
        let unread = || ModelError::Parts(format!("the metadata `{SETTINGS}` of the rows cannot be read"));
        let settings: BTreeMap<String, String> = settings.ok_or_else(unread)?;
        Ok(Said(Some((version.clone(), RowSettings { settings }))))
    }

    /// Checks rows against what a model was trained on; settings first, since they explain columns.
    pub(super) fn check(&self, feature_version: u32, rows: &Schema) -> Result<(), ModelError> {
        let said = Make::of(rows)?;
        let (ours, (version, theirs)) = match (self, said.0) {
            (Make::Table, None) => return Ok(()),
            (Make::Table, Some(_)) => return Err(ModelError::OtherMake(FLOWS)),
            (Make::Flows(_), None) => return Err(ModelError::OtherMake(SILENT)),
            (Make::Flows(ours), Some(theirs)) => (ours, theirs),
        };
        if version != feature_version.to_string() {
            return Err(ModelError::Setting {
                setting: "feature version".to_owned(),
                model: feature_version.to_string(),
                rows: version,
                advice: VERSION,
            });
        }
        let value = |of: &RowSettings, key: &str| {
            let unsaid = if key == "vlan" { "key" } else { "not set" };
            of.settings.get(key).map_or(unsaid, String::as_str).to_owned()
        };
        // The window goes first: it says most about the others.
        let keys = ours.settings.keys().chain(theirs.settings.keys()).map(String::as_str);
        for key in ["window"].into_iter().chain(keys) {
            let (model, rows) = (value(ours, key), value(&theirs, key));
            if model != rows {
                return Err(ModelError::Setting { setting: key.to_owned(), model, rows, advice: EXTRACT });
            }
        }
        Ok(())
    }
}

impl Said {
    /// The make of rows of this feature version.
    pub(super) fn for_version(self, feature_version: u32) -> Result<Make, ModelError> {
        match self.0 {
            None => Ok(Make::Table),
            Some((version, settings)) if version == feature_version.to_string() => Ok(Make::Flows(settings)),
            Some((version, _)) => Err(ModelError::Setting {
                setting: "feature version".to_owned(),
                model: feature_version.to_string(),
                rows: version,
                advice: VERSION,
            }),
        }
    }
}

/// Makes a pipeline's flow and packet tables those that give rows of these settings.
///
/// # Errors
/// Says what no such tables give.
pub(super) fn align(pipeline: &mut Pipeline, settings: &RowSettings) -> Result<(), String> {
    let mut flow = serde_json::json!(pipeline.flow);
    for (key, value) in &settings.settings {
        if !["tunnels", "vlan"].contains(&key.as_str()) {
            flow[key] = value.as_str().into();
        }
    }
    let wrong =
        |error: &dyn std::fmt::Display| format!("no [flow] table gives the settings of the rows: {error}");
    let flow: FlowSpec = serde_json::from_value(flow).map_err(|error| wrong(&error))?;
    flow.check().map_err(|error| wrong(&error))?;
    let says = |key: &str, what: &str| settings.settings.get(key).is_some_and(|said| said == what);
    let vlan = if says("vlan", "ignore") { Vlan::Ignore } else { Vlan::Key };
    let packet = PacketSpec { tunnels: says("tunnels", "true"), vlan };
    if row_settings(&flow, &packet) != *settings {
        return Err(wrong(&"one is missing"));
    }
    (pipeline.flow, pipeline.packet) = (flow, packet);
    Ok(())
}
