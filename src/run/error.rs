//! Why a run did not start, or ended early.

use std::any::Any;
use std::path::PathBuf;

use super::AnyError;
use crate::apart::ApartError;
use crate::context::ContextError;
use crate::detect::{DetectError, Threshold};
use crate::flow::FlowError;
use crate::flow::region::NoRoom;
use crate::incident::RulesError;
use crate::model::ModelError;
use crate::report::ReportError;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::source::interface::InterfaceError;
use crate::source::rows::RowsError;
use crate::spec::SpecError;
use crate::threads::{self, NoThread};

/// Why a run did not start, or ended early. Each is one line: what, where, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Nothing to do.
    #[error("the pipeline ends in nothing: name rows, fit, model or summary under [ends]")]
    NoEnd,
    /// Two ends that exclude each other.
    #[error("[ends] {0}")]
    Ends(&'static str),
    /// A column that is to be written.
    #[error("columns: no column is named `{pattern}`; {advice}")]
    NoColumn {
        /// What was asked for.
        pattern: String,
        /// What may be meant.
        advice: String,
    },
    /// Rows of windows are needed.
    #[error("{}: {what}", path.display())]
    Table {
        /// The first file of rows.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// A column that names of folders seem to have.
    #[error("{error}; the name of the folder {folder} is no column here: write it into the files")]
    OfFolder {
        /// What is wrong.
        error: Box<RunError>,
        /// The folder.
        folder: String,
    },
    /// The training set has no row.
    #[error("nothing to train on: {0}")]
    NoRows(String),
    /// Stopped from outside.
    #[error("interrupted: nothing was written, and what was there before still is; run it again")]
    Interrupted,
    /// A setting that cannot be.
    #[error("{0}")]
    Setting(String),
    /// Nobody would do the work.
    #[error("workers = 0: a run needs one at least")]
    NoWorkers,
    /// Counters that do not balance.
    #[error("{0}")]
    Balance(String),
    /// The workers did not start.
    #[error("workers: {0}")]
    Workers(String),
    /// A worker, or what it called, panicked.
    #[error(
        "a worker panicked: {0}; unless that is of a writer that was given to the run, it is a defect of netweir: please \
         report it"
    )]
    Panicked(String),
    /// The system has no room for open flows.
    #[error(transparent)]
    Room(#[from] NoRoom),
    /// The system has no threads for the workers, or for what goes on beside them.
    #[error(transparent)]
    Threads(#[from] NoThread),
    /// An input.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The tables of flows.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// An interface.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A file of rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Context columns.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An output that is an input, or another output.
    #[error(transparent)]
    Apart(#[from] ApartError),
    /// An output.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// What earlier runs left.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Detection's settings.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The allow-list.
    #[error("{}: {source}", path.display())]
    Rules {
        /// The file.
        path: PathBuf,
        /// Which rule, and what is wrong.
        source: RulesError,
    },
    /// The allow-list cannot be read.
    #[error(transparent)]
    Allow(#[from] SpecError),
    /// A setting of rows that is another one than the model's.
    #[error(
        "[{table}] {key} = {found}, and the model was trained with {was}: a model decides how its rows are made; leave \
         the key out, or train anew"
    )]
    Making {
        /// The table of the pipeline file.
        table: &'static str,
        /// The key.
        key: String,
        /// What the pipeline says.
        found: String,
        /// What that of the model said.
        was: String,
    },
    /// A setting of rows that are made already.
    #[error("{}: [{table}] {key} = {found}, and {was}: leave the key out, or give captures", path.display())]
    Made {
        /// The first file of rows.
        path: PathBuf,
        /// The table of the pipeline file.
        table: &'static str,
        /// The key.
        key: String,
        /// What the pipeline says.
        found: String,
        /// How the rows were made.
        was: String,
    },
    /// Two thresholds.
    #[error(
        "[threshold] of the allow-list says where alarms begin, and so does {asked} of the pipeline or a flag: leave one out"
    )]
    Alarms {
        /// What the pipeline or the flag says.
        asked: Threshold,
    },
    /// Met on the way by a room.
    #[error("{0}")]
    Met(#[source] AnyError),
}

impl RunError {
    /// What a run met: one of its own errors, or another's.
    pub(super) fn met(error: AnyError) -> RunError {
        error.downcast().map_or_else(RunError::Met, |own| *own)
    }

    /// What became of a worker that panicked.
    pub(super) fn of_panic(panic: Box<dyn Any + Send>) -> RunError {
        match panic.downcast_ref::<NoRoom>() {
            Some(room) => RunError::Room(*room),
            None => RunError::Panicked(threads::words(&*panic)),
        }
    }
}
