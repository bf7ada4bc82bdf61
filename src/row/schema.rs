//! The Arrow schema of rows, and the settings that travel in its metadata.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use sha2::{Digest, Sha256};

use super::FEATURE_VERSION;
use super::columns::{COLUMNS, Column, PACKET_COLUMNS};

/// What rows depend on beside the packets: carried in the schema's metadata and in models.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowSettings {
    /// Settings by name, in text form (`window`, `idle`, `rows`, ...).
    pub settings: BTreeMap<String, String>,
}

/// The setting that says what a row is.
pub const ROWS: &str = "rows";
/// A packet, as that says it.
const PACKET: &str = "packet";
/// Metadata key of the feature version.
pub const FEATURES: &str = "netweir.features";
/// Metadata key of the settings (JSON).
pub const SETTINGS: &str = "netweir.settings";
/// Metadata key of the fingerprint over version and settings.
pub const FINGERPRINT: &str = "netweir.fingerprint";
/// Metadata key of the window, such as `10s`.
pub const WINDOW: &str = "netweir.window";

impl RowSettings {
    /// The settings as one line of JSON, keys in order.
    pub fn json(&self) -> String {
        serde_json::to_string(&self.settings).expect("a map of strings is JSON")
    }

    /// The settings that a schema of rows of flows carries; `None` for other tables, packet rows among them, or rows of
    /// another version.
    pub fn of(schema: &Schema) -> Option<RowSettings> {
        let metadata = schema.metadata();
        if metadata.get(FEATURES)?.parse() != Ok(FEATURE_VERSION) {
            return None;
        }
        let settings: BTreeMap<String, String> = serde_json::from_str(metadata.get(SETTINGS)?).ok()?;
        (settings.get(ROWS).is_none_or(|rows| rows != PACKET)).then_some(RowSettings { settings })
    }

    /// The version of features of rows that another netweir made, as they say it; `None` where they are of this one, or say
    /// nothing.
    pub fn other_version(schema: &Schema) -> Option<&str> {
        let version = schema.metadata().get(FEATURES)?;
        (version.parse() != Ok(FEATURE_VERSION)).then_some(version)
    }

    /// The first setting that others have otherwise, in words, of those by which rows have their names (window and flow);
    /// `None` where there is none. The timezone gives them other hours alone.
    pub fn names_differ(&self, others: &RowSettings) -> Option<String> {
        let keys = self.settings.keys().chain(others.settings.keys()).filter(|key| *key != "timezone");
        let of = |settings: &RowSettings, key: &str| {
            settings.settings.get(key).map_or_else(|| "not set".to_owned(), |value| format!("`{value}`"))
        };
        let mut differing = keys.map(|key| (key, of(self, key), of(others, key))).filter(|(_, a, b)| a != b);
        differing.next().map(|(key, here, there)| format!("{key} is {here} there and {there} here"))
    }

    /// Of version and settings: 16 hexadecimal digits. Rows of different fingerprints are made differently.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(format!("{FEATURE_VERSION}\n{}", self.json()));
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The schema's metadata.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([
            (FEATURES.to_owned(), FEATURE_VERSION.to_string()),
            (SETTINGS.to_owned(), self.json()),
            (FINGERPRINT.to_owned(), self.fingerprint()),
        ]);
        if let Some(window) = self.settings.get("window") {
            metadata.insert(WINDOW.to_owned(), window.clone());
        }
        metadata
    }
}

/// The schema of flow rows; `wanted` says which columns are there.
pub fn flow_schema(settings: &RowSettings, wanted: impl Fn(&Column) -> bool) -> SchemaRef {
    let fields: Vec<Field> = COLUMNS.iter().filter(|c| wanted(c)).map(Column::field).collect();
    Arc::new(Schema::new(fields).with_metadata(settings.metadata()))
}

/// The schema of packet rows, which are a table like others for whoever reads them.
pub fn packet_schema(settings: &RowSettings) -> SchemaRef {
    let fields: Vec<Field> = PACKET_COLUMNS.iter().map(Column::field).collect();
    let mut settings = settings.clone();
    settings.settings.insert(ROWS.to_owned(), PACKET.to_owned());
    Arc::new(Schema::new(fields).with_metadata(settings.metadata()))
}
