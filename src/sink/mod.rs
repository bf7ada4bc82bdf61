//! Where rows end: files of rows, alerts, lines for people, counters.
//!
//! What is written depends on the rows and their order alone. The batches that rows arrive in differ
//! with workers, slices and files: they are made equal (chunks.rs) before a format sees them.

mod alert;
mod arrow;
mod beside;
mod chunks;
pub mod community;
mod console;
mod csv;
mod dataset;
mod doubts;
mod earlier;
mod eve;
mod event;
mod fit;
mod held;
mod incident_lines;
mod incidents;
mod json;
mod knocks;
pub mod operator;
mod pages;
mod parquet;
mod protocols;
pub mod report;
mod said;
#[cfg(test)]
mod samples;
mod stamps;
mod state;
mod summary;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::SchemaRef;

pub use self::alert::alert_columns;
pub use self::arrow::ArrowFile;
pub use self::beside::Beside;
pub use self::console::{Console, Style};
pub use self::csv::CsvFile;
pub use self::dataset::Dataset;
pub use self::eve::EveLog;
pub use self::fit::Fit;
pub use self::incident_lines::IncidentLines;
pub use self::incidents::{IncidentLog, IncidentRows};
pub use self::operator::{ChangeEnd, End};
pub use self::parquet::ParquetFile;
pub use self::report::Report;
pub use self::state::{State, WhoRuns};
pub use self::summary::Summary;

use crate::draft::Drafts;
use crate::threads::NoThread;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Who judged the rows: what alerts say about their origin.
#[derive(Clone, PartialEq, Debug)]
pub struct Judge {
    /// Name of the model.
    pub model: String,
    /// Scores above it are anomalies.
    pub threshold: f64,
    /// Name of the sensor, where it has one.
    pub sensor: Option<String>,
    /// The interface that frames came from, in a live run.
    pub interface: Option<String>,
}

/// Why an end cannot take rows or make them stand. Each is one line: which file, what, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file as it was named, also where a temporary one was written.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The rows, or what their format makes of them, cannot be written.
    #[error("{}: cannot write rows: {what}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// What stands against it.
        what: String,
    },
    /// A file cannot be begun or finished.
    #[error(transparent)]
    Draft(#[from] crate::draft::DraftError),
    /// Something else has the name of a part of a report.
    #[error("{}: a report has a {part} of that name: move what is there, or name another folder", path.display())]
    Taken {
        /// What is there.
        path: PathBuf,
        /// A file or a folder.
        part: &'static str,
    },
    /// A file whose name says no format.
    #[error(
        "{}: is a file whose name says no format; known are .parquet, .arrow, .feather and .csv, other names are folders",
        path.display()
    )]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A name that promises another format.
    #[error(
        "{}: nothing is written as .{extension}: name a .parquet, .arrow, .feather or .csv file, or a folder without such an ending",
        path.display()
    )]
    Format {
        /// The name.
        path: PathBuf,
        /// How it ends.
        extension: String,
    },
    /// A report where a file is, or is named.
    #[error("{}: names a file, and a report is several: name a folder", path.display())]
    Report {
        /// The file.
        path: PathBuf,
    },
    /// A report of a live run, whose hours are not to be replaced.
    #[error("{}: holds hours of a live run, which are not to be lost: name another folder, or move it away", path.display())]
    Live {
        /// The folder of hours.
        path: PathBuf,
    },
    /// Rows without a time cannot be divided into hours.
    #[error(
        "{}: a folder is divided by hours, but {what}; write to a .parquet, .arrow or .csv file",
        path.display()
    )]
    Hours {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// The file of an hour was removed while it was written.
    #[error(
        "{}: was removed or moved away with its folder while it was written, and the rows of its hour with it: begin anew",
        path.display()
    )]
    Gone {
        /// The file of the hour.
        path: PathBuf,
    },
    /// Rows of an hour that has some.
    #[error(
        "{}: is there already, and its rows are not to be lost: write to another folder, or remove the file",
        path.display()
    )]
    Hour {
        /// The file of the hour.
        path: PathBuf,
    },
    /// Rows went back in time.
    #[error("{}: rows go back from hour {from} to hour {to}; they must come in order of time", path.display())]
    Order {
        /// The folder.
        path: PathBuf,
        /// The hour of the rows before.
        from: String,
        /// The hour of the next row.
        to: String,
    },
}

impl SinkError {
    /// The first line of what a library says about rows.
    fn rows(path: &Path, error: &dyn std::fmt::Display) -> SinkError {
        let what = error.to_string().lines().next().unwrap_or("").to_owned();
        SinkError::Rows { path: path.to_owned(), what }
    }
}

/// Where readable lines go, and how they look.
pub type Lines = (Box<dyn std::io::Write + Send>, Style);

/// Ends beside `workers`: where there are several, each end gets a thread of its own, so that the worker which hands
/// out rows goes on with packets. One worker does everything itself and takes one core.
///
/// # Errors
/// [`NoThread`].
pub fn beside(ends: Vec<Box<dyn End>>, workers: usize) -> Result<Vec<Box<dyn End>>, NoThread> {
    match workers {
        0 | 1 => Ok(ends),
        _ => ends.into_iter().map(|end| Ok(Box::new(Beside::new(end)?) as Box<dyn End>)).collect(),
    }
}

fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase)
}

/// Endings of names by which nobody means a folder.
const OTHER_FORMATS: &[&str] = &[
    "7z", "avro", "bz2", "cap", "db", "duckdb", "gz", "h5", "htm", "html", "ipc", "json", "jsonl", "lz4",
    "ndjson", "netweir", "npy", "npz", "orc", "parq", "pcap", "pcapng", "pickle", "pkl", "pq", "sql",
    "sqlite", "tab", "tar", "toml", "tsv", "txt", "xlsx", "xml", "xz", "yaml", "yml", "zip", "zst",
];

/// Checks that a name is one of a folder.
fn check_folder(path: &Path) -> Result<(), SinkError> {
    match extension(path) {
        _ if path.is_dir() => Ok(()),
        Some(extension) if OTHER_FORMATS.contains(&&*extension) => {
            Err(SinkError::Format { path: path.to_owned(), extension })
        }
        _ if path.exists() => Err(SinkError::Name { path: path.to_owned() }),
        _ => Ok(()),
    }
}

/// Whether [`rows_end`] makes one file of that name, not a folder.
pub fn names_a_file(path: &Path) -> bool {
    matches!(extension(path).as_deref(), Some("parquet" | "arrow" | "feather" | "csv"))
}

/// As [`rows_end`], of those columns alone, by their places in `schema`, in that order.
///
/// # Errors
/// As [`rows_end`].
pub fn chosen_end(
    path: &Path,
    schema: &SchemaRef,
    columns: Vec<usize>,
    drafts: &Drafts,
) -> Result<Box<dyn End>, SinkError> {
    let projected = schema.project(&columns).map_err(|error| SinkError::rows(path, &error))?;
    Ok(Box::new(Chosen { end: rows_end(path, &Arc::new(projected), drafts)?, columns }))
}

/// Some columns of rows, for another end.
struct Chosen {
    columns: Vec<usize>,
    end: Box<dyn End>,
}

impl End for Chosen {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError> {
        self.end.take(&rows.project(&self.columns)?)
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        self.end.finish()
    }
}

/// The end of rows that the name asks for: `.parquet`, `.arrow` or `.feather`, `.csv`; any other name is
/// a folder of hours ([`Dataset`]).
///
/// Files appear under their names when `drafts` are committed; until then whatever stood there stays.
///
/// # Errors
/// [`SinkError`] if the name cannot be written to, or the schema is not one that the format can hold.
pub fn rows_end(path: &Path, schema: &SchemaRef, drafts: &Drafts) -> Result<Box<dyn End>, SinkError> {
    Ok(match extension(path).as_deref() {
        Some("parquet") => Box::new(ParquetFile::create(drafts.create(path)?, schema)?),
        Some("arrow" | "feather") => Box::new(ArrowFile::create(drafts.create(path)?, schema)?),
        Some("csv") => Box::new(CsvFile::create(drafts.create(path)?, schema)?),
        _ => Box::new(Dataset::create(path, schema, drafts)?),
    })
}
