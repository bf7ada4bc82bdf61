//! `manifest.json`: what a model is, in a form that people and other programs can read.

use std::collections::BTreeMap;
use std::str::FromStr;

use arrow::datatypes::{DataType, Field};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{FORMAT_VERSION, Make, Model, OLDEST_FORMAT, Pipeline, Training};
use crate::encode::type_named;
use crate::row::RowSettings;

/// Name of the member.
pub(super) const NAME: &str = "manifest.json";

/// What the manifest says that it is of.
const FORMAT: &str = "netweir model";

/// The manifest of a model.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: String,
    format_version: u32,
    pub(super) netweir_version: String,
    pub(super) feature_version: u32,
    pub(super) fingerprint: String,
    rows: Rows,
    pub(super) columns: Vec<Column>,
    pub(super) features: usize,
    pub(super) pipeline: Pipeline,
    pub(super) training: Counters,
    pub(super) members: BTreeMap<String, Entry>,
}

/// How rows were made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Flows,
    Table,
}

/// What training saw.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counters {
    pub(super) rows: u64,
    packets: Option<u64>,
    first_window_start_ns: Option<u64>,
    last_window_start_ns: Option<u64>,
}

impl Counters {
    fn of(model: &Model) -> Counters {
        let (first, last) = model.training.windows_ns.unzip();
        let packets = model.training.packets;
        Counters { rows: model.rows(), packets, first_window_start_ns: first, last_window_start_ns: last }
    }

    pub(super) fn training(&self) -> Training {
        let windows_ns = self.first_window_start_ns.zip(self.last_window_start_ns);
        Training { packets: self.packets, windows_ns }
    }
}

/// Names of types are no longer, in bytes.
const LONGEST_TYPE: usize = 80;

/// A column that rows must have.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    name: String,
    r#type: String,
}

impl Column {
    pub(super) fn of(field: &Field) -> Column {
        Column { name: field.name().clone(), r#type: field.data_type().to_string() }
    }

    pub(super) fn field(&self) -> Option<Field> {
        // Times and lists are read by detectors that know flows; encoders take none. Longer names are of no such type, and
        // may be nested deeper than a parser that calls itself can go.
        let is_of_flows = |kind: &DataType| matches!(kind, DataType::Timestamp(..) | DataType::List(_));
        let short = || Some(self.r#type.as_str()).filter(|name| name.len() <= LONGEST_TYPE);
        let of_flows = || DataType::from_str(short()?).ok().filter(is_of_flows);
        type_named(&self.r#type).or_else(of_flows).map(|kind| Field::new(&self.name, kind, true))
    }
}

/// A table of the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) sha256: String,
}

/// What every version of the manifest says.
#[derive(Deserialize)]
struct Header {
    format: String,
    format_version: u64,
    #[serde(default)]
    netweir_version: String,
}

/// What stands at the beginning of a manifest.
pub(super) enum Read {
    /// One of this version.
    Manifest(Box<Manifest>),
    /// One of a later version.
    Newer {
        /// Its format version.
        found: u64,
        /// Version of the netweir that wrote it.
        writer: String,
    },
    /// One of an earlier version than are read.
    Older {
        /// Its format version.
        found: u64,
        /// Version of the netweir that wrote it.
        writer: String,
    },
}

impl Manifest {
    /// The manifest of a model with these tables.
    pub(super) fn of(model: &Model, members: BTreeMap<String, Entry>) -> Manifest {
        let rows = match &model.make {
            Make::Flows(settings) => Rows { kind: Kind::Flows, settings: Some(settings.settings.clone()) },
            Make::Table => Rows { kind: Kind::Table, settings: None },
        };
        Manifest {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            netweir_version: model.netweir_version.clone(),
            feature_version: model.feature_version,
            fingerprint: model.fingerprint(),
            rows,
            columns: model.columns().map(Column::of).collect(),
            features: model.detector.features(),
            pipeline: model.pipeline.clone(),
            training: Counters::of(model),
            members,
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("texts and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a manifest; one of another version is told apart before anything else is asked of it.
    ///
    /// # Errors
    /// Says what no netweir writes.
    pub(super) fn read(bytes: &[u8]) -> Result<Read, String> {
        let header: Header = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if header.format != FORMAT {
            return Err(format!("it is not of a {FORMAT}"));
        }
        let writer = || header.netweir_version.chars().take(40).flat_map(char::escape_debug).collect();
        match header.format_version {
            0 => Err("there is no format version 0".to_owned()),
            found if found > u64::from(FORMAT_VERSION) => Ok(Read::Newer { found, writer: writer() }),
            found if found < u64::from(OLDEST_FORMAT) => Ok(Read::Older { found, writer: writer() }),
            _ => {
                let manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
                Ok(Read::Manifest(Box::new(manifest)))
            }
        }
    }

    pub(super) fn make(&self) -> Option<Make> {
        match (&self.rows.kind, &self.rows.settings) {
            (Kind::Flows, Some(settings)) => Some(Make::Flows(RowSettings { settings: settings.clone() })),
            (Kind::Table, None) => Some(Make::Table),
            _ => None,
        }
    }
}

/// Of all that rows must be: feature version and settings of flow rows, names and types of columns.
pub(super) fn fingerprint<'a>(
    feature_version: u32,
    make: &Make,
    columns: impl Iterator<Item = &'a Field>,
) -> String {
    let made = match make {
        Make::Flows(settings) => json!({ "feature_version": feature_version, "settings": settings.settings }),
        Make::Table => json!(null),
    };
    let columns: Vec<Column> = columns.map(Column::of).collect();
    hex(&Sha256::digest(json!({ "flows": made, "columns": columns }).to_string())[..8])
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
