//! The model file: what was learned, what rows must be, and how they are made.
//!
//! A model is a ZIP of stored members: `manifest.json` says what the model is, Parquet tables hold what it
//! learned: those of its detector ([`DetectSpec::tables`]), and those of what context remembers
//! ([`Memory::tables`]). Any reader of ZIP and Parquet can look inside. The same rows and seed give the same
//! bytes: nothing of time, host, workers or paths is in it.
//!
//! - `container` packs and unpacks the ZIP, `table` the Parquet tables, within [`limits`]; `pages` and
//!   `contents` check pages before decoders see them, `checked` gives those to decoders.
//! - `manifest` is the form of `manifest.json`; `file` reads and writes whole files.
//! - `rows` says whether rows are of the make that the model was trained on.
//! - `describe` tells people what a model is.
//!
//! Nothing that is read is trusted: a file that no training can have written is an error that names the member.

mod checked;
mod container;
mod contents;
#[cfg(test)]
mod damage_tests;
mod describe;
mod file;
pub mod limits;
mod manifest;
mod pages;
mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use serde::{Deserialize, Serialize};

use crate::context::local::Networks;
use crate::context::{Busy, ContextSpec, Memory, OnLink};
use crate::detect::{DetectSpec, Detector};
use crate::encode::{EncodeError, EncodeSpec};
use crate::flow::{FlowSpec, row_settings};
use crate::packet::PacketSpec;
use crate::row::{FEATURE_VERSION, RowSettings};

use rows::Make;

/// Version of the file's form: raised when an older netweir can no longer read it, or judges by other rules.
pub const FORMAT_VERSION: u32 = 6;

/// The earliest form that is read: models before it do not count rows that are alike.
const OLDEST_FORMAT: u32 = 6;

/// The pipeline that a model was trained in, less its ends: what detection repeats, so that nothing can differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// What people call it.
    pub name: String,
    /// Every random choice of training descends from it.
    pub seed: u64,
    /// How frames are decoded.
    pub packet: PacketSpec,
    /// How packets become rows.
    pub flow: FlowSpec,
    /// What is counted about hosts and services.
    pub context: ContextSpec,
    /// How columns become numbers.
    pub encode: EncodeSpec,
    /// What scores them.
    pub detect: DetectSpec,
}

/// What training saw beside its rows, which are counted by partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Training {
    /// Packets that the rows were made of; `None` when rows were read.
    pub packets: Option<u64>,
    /// Starts of the first and the last window, nanoseconds since the Unix epoch; `None` for tables.
    pub windows_ns: Option<(u64, u64)>,
}

/// What was learned, with all that is needed to make rows for it.
#[derive(Clone)]
pub struct Model {
    netweir_version: String,
    feature_version: u32,
    make: Make,
    pipeline: Pipeline,
    training: Training,
    detector: Arc<dyn Detector>,
    /// What context remembers of training.
    memory: Option<Arc<Memory>>,
    /// Networks that training found on the captured link and took for one's own; a model that was read does not know.
    own: Vec<OnLink>,
}

impl fmt::Debug for Model {
    /// In one line: forests have millions of nodes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, fingerprint) = (&self.pipeline.name, self.fingerprint());
        f.debug_struct("Model").field("name", name).field("fingerprint", &fingerprint).finish_non_exhaustive()
    }
}

impl Model {
    /// A model of what was just learned from rows with this schema.
    ///
    /// Rows that say how they were made decide: window, time-outs, time zone, tunnels and VLANs of `pipeline` become
    /// what made them, so that detection repeats it.
    ///
    /// # Errors
    /// [`ModelError::Parts`] if the parts are not of one training, [`ModelError::Setting`] for rows of another
    /// feature version.
    pub fn new(
        mut pipeline: Pipeline,
        rows: &Schema,
        training: Training,
        detector: Arc<dyn Detector>,
    ) -> Result<Model, ModelError> {
        let make = Make::of(rows)?.for_version(FEATURE_VERSION)?;
        if let Make::Flows(settings) = &make {
            rows::align(&mut pipeline, settings).map_err(ModelError::Parts)?;
        }
        detector.check(rows).map_err(ModelError::Column)?;
        let model = Model {
            netweir_version: env!("CARGO_PKG_VERSION").to_owned(),
            feature_version: FEATURE_VERSION,
            make,
            pipeline,
            training,
            detector,
            memory: None,
            own: Vec::new(),
        };
        model.check().map_err(ModelError::Parts)?;
        Ok(model)
    }

    /// The same with what context remembers of training, for scoring to go on from.
    pub fn with_memory(self, memory: Arc<Memory>) -> Model {
        Model { memory: Some(memory), ..self }
    }

    /// The same where training found these networks on the captured link and took them for one's own.
    pub(crate) fn with_own(self, own: Vec<OnLink>) -> Model {
        Model { own, ..self }
    }

    /// What context remembers of training, where its columns look that far.
    pub fn memory(&self) -> Option<&Arc<Memory>> {
        self.memory.as_ref()
    }

    /// What its user should know of its training, a line each.
    pub fn notes(&self) -> Vec<String> {
        let own = self.own.iter().map(|OnLink { network, hosts }| {
            format!(
                "{hosts} hosts of {network} are on the captured link, which is taken for a network of your own; if it is \
                 not, name yours in [context] local, without `link`"
            )
        });
        let strangers = self.strangers().into_iter().map(|OnLink { network, hosts }| {
            format!(
                "{hosts} hosts of {network} are on the captured link, and [context] local does not name it: who joins there \
                 later is taken for a stranger from outside"
            )
        });
        self.detector.notes().into_iter().chain(own).chain(strangers).chain(self.busy_strangers()).collect()
    }

    /// Networks whose hosts begin much and are taken for strangers, a line each; those on the link are told of as that.
    fn busy_strangers(&self) -> Vec<String> {
        let Ok(local) = Networks::parse(&self.pipeline.context.local) else { return Vec::new() };
        let told = self.strangers();
        let busy = self.memory.iter().flat_map(|memory| memory.busy_strangers(&local));
        let busy = busy.filter(|busy| told.iter().all(|told| told.network != busy.network));
        busy.map(|Busy { network, hosts, percent }| {
            format!(
                "{hosts} hosts of {network} are the sources of {percent} % of all pairs of hosts, and are judged as strangers \
                 from outside: if they are yours, name their network under [context] local and train again"
            )
        })
        .collect()
    }

    /// Networks on the captured link whose hosts are taken for strangers.
    fn strangers(&self) -> Vec<OnLink> {
        let local = Networks::parse(&self.pipeline.context.local);
        self.memory.iter().zip(&local).flat_map(|(memory, local)| memory.on_link(local)).collect()
    }

    /// Checks that the parts are of one training.
    fn check(&self) -> Result<(), String> {
        let Pipeline { seed, packet, flow, context, detect, .. } = &self.pipeline;
        flow.check().map_err(|error| error.to_string())?;
        crate::context::Plan::new(context).map_err(|error| error.to_string())?;
        if let Make::Flows(settings) = &self.make
            // Another version may have had other settings; its models can be looked at.
            && self.feature_version == FEATURE_VERSION
            && row_settings(flow, packet) != *settings
        {
            return Err("the pipeline makes rows of other settings".to_owned());
        }
        if self.detector.settings() != (detect, *seed) {
            return Err("the detector was fitted with other settings than the pipeline's".to_owned());
        }
        if self.detector.rows().is_none() {
            return Err("there are more rows than can be counted".to_owned());
        }
        match self.training.windows_ns {
            Some((first, last)) if first > last => Err("the first window is after the last".to_owned()),
            _ => Ok(()),
        }
    }

    /// Rows that were learned from.
    pub fn rows(&self) -> u64 {
        self.detector.rows().unwrap_or(u64::MAX)
    }

    /// How flow rows were made; `None` for a model of another table.
    pub fn row_settings(&self) -> Option<&RowSettings> {
        match &self.make {
            Make::Flows(settings) => Some(settings),
            Make::Table => None,
        }
    }

    /// The pipeline that it was trained in.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// What training saw beside its rows.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// What scores rows.
    pub fn detector(&self) -> &Arc<dyn Detector> {
        &self.detector
    }

    /// The columns that rows must have, with their types. Text is `Utf8`, in whatever form rows hold it.
    pub fn columns(&self) -> impl Iterator<Item = &Field> {
        self.detector.columns().iter()
    }

    /// Of all that rows must be: 16 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        manifest::fingerprint(self.feature_version, &self.make, self.columns())
    }

    /// Whether the model can score rows of this schema.
    ///
    /// # Errors
    /// [`ModelError::Setting`], [`ModelError::OtherMake`] or [`ModelError::Column`]: the first thing that differs,
    /// both sides of it, and what to do.
    pub fn check_rows(&self, schema: &Schema) -> Result<(), ModelError> {
        self.make.check(self.feature_version, schema)?;
        self.detector.check(schema).map_err(ModelError::Column)
    }
}

/// Why a model cannot be written, read, or used for some rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be begun or finished.
    #[error(transparent)]
    Draft(#[from] crate::draft::DraftError),
    /// The system refuses.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another kind of file.
    #[error("{file}: not a netweir model but {found}; `netweir train` makes models")]
    NotAModel {
        /// The file.
        file: String,
        /// What it is instead.
        found: String,
    },
    /// A file that no training has written like this.
    #[error("{file}: damaged model: {member}: {what}; copy the file again, or train anew")]
    Damaged {
        /// The file.
        file: String,
        /// The member that is damaged, or the archive as a whole.
        member: String,
        /// What is wrong with it.
        what: String,
    },
    /// A form that is newer than this netweir.
    #[error(
        "{file}: model format {found} of netweir {writer}; this is netweir {}, which reads formats up to {FORMAT_VERSION}: update netweir, or train anew",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The file.
        file: String,
        /// Its format version.
        found: u64,
        /// Version of the netweir that wrote it.
        writer: String,
    },
    /// A form that is older than what this netweir reads.
    #[error(
        "{file}: model format {found} of netweir {writer}, which judged by other rules; this is netweir {}, which reads formats from {OLDEST_FORMAT} on: train anew",
        env!("CARGO_PKG_VERSION")
    )]
    Older {
        /// The file.
        file: String,
        /// Its format version.
        found: u64,
        /// Version of the netweir that wrote it.
        writer: String,
    },
    /// More than is ever read.
    #[error("{file}: model too large: {what}")]
    TooLarge {
        /// The file.
        file: String,
        /// What is too large, and how large it may be.
        what: String,
    },
    /// Parts that are not of one training.
    #[error("these parts make no model: {0}")]
    Parts(String),
    /// Rows that were made with another setting.
    #[error("{setting} is {model} in the model, {rows} in the rows; {advice}")]
    Setting {
        /// The setting.
        setting: String,
        /// Its value in the model.
        model: String,
        /// Its value in the rows.
        rows: String,
        /// What to do.
        advice: &'static str,
    },
    /// Flow rows for a model of another table, or the other way round.
    #[error("{0}")]
    OtherMake(&'static str),
    /// Rows that lack a column, or have it in another type.
    #[error(
        "{0}; give rows with the columns that `netweir inspect --json` lists, or train a model on rows like these"
    )]
    Column(#[source] EncodeError),
}
