//! What a pipeline reads, opened: the source of the graph and the rows that will come of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};

use super::made::check_made;
use super::{Progress, RunError, Shared};
use crate::apart::{self, ApartError, Named};
use crate::flow::operator::{Assembly, Given, Product};
use crate::flow::{row_settings, window_of};
use crate::graph::Source;
use crate::incident::Columns;
use crate::packet::operator::Reading;
use crate::report::folder_of;
use crate::row::schema::{flow_schema, packet_schema};
use crate::sink::operator::Joined;
use crate::sink::{self, report};
use crate::source::inputs::{self, Asked, Found, Input, Search};
use crate::source::interface::listen;
use crate::source::operator::RowReading;
use crate::source::recording::{part_of, record};
use crate::source::rows::{RowsError, RowsFeed};
use crate::source::{Captures, Feed, FeedCounts, SourceError};
use crate::spec::Spec;
use crate::tally::Tally;

/// The serial part of reading, as the run sees it.
#[derive(Clone)]
pub(super) enum Reader {
    Frames(Arc<Reading>),
    Rows(Arc<RowReading>),
}

/// Where what is read comes from: what it is for a run to be asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// Files, or a pipe of which all is wanted or nothing: the run is interrupted.
    Stored,
    /// One pipe that is scored: it ends there.
    Pipe,
    /// An interface: nothing more is let in.
    Wire,
}

/// A source that is open, and the rows that will come of it.
pub(super) struct Opened {
    pub(super) origin: Origin,
    /// What is to be said of what was named, one line.
    pub(super) note: Option<String>,
    pub(super) source: Source,
    pub(super) reader: Reader,
    pub(super) schema: SchemaRef,
    /// Window in nanoseconds; `None` for tables and packet rows.
    pub(super) window: Option<u64>,
    /// Something to call the source in messages.
    pub(super) name: PathBuf,
}

/// The columns of a schema, of rows with windows of so many nanoseconds, that somebody takes; `None` where all are.
type Taken = Option<BTreeSet<String>>;

/// Opens what the pipeline reads. `taken` is asked about the rows that could come of it before anything is read.
pub(super) fn open(
    spec: &Spec,
    shared: &Shared,
    taken: impl Fn(&Schema, Option<u64>) -> Result<Taken, RunError>,
) -> Result<Opened, RunError> {
    if let Some(interface) = &spec.source.interface {
        check_apart(spec, &[])?;
        let mut feed = listen(interface, &spec.source, shared.stop.clone())?;
        if let Some(path) = &spec.ends.write_pcap {
            feed = record(feed, path).map_err(SourceError::from)?;
        }
        let opened = open_frames(spec, shared, feed, vec![PathBuf::from(interface)], taken)?;
        return Ok(Opened { origin: Origin::Wire, ..opened });
    }
    let Search { found, again, passed_over } = inputs::find(&spec.source.inputs)?;
    shared.tally.passed_over.store(passed_over, Relaxed);
    let opened = match found {
        Found::Captures(found) => {
            check_apart(spec, &found.iter().map(Input::path).collect::<Vec<_>>())?;
            // A model of half a day, and rows of it, would pass for those of all of it.
            let ends = spec.ends.model.is_some() && found.len() == 1 && found.iter().all(Input::is_pipe);
            let (origin, asked) = match ends {
                true => (Origin::Pipe, Asked::IsTheEnd),
                false => (Origin::Stored, Asked::IsAnError),
            };
            let found = found.into_iter().map(|input| input.until(&shared.stop, asked)).collect();
            let captures = Captures::open(found, &spec.source)?;
            let names = captures.paths();
            Opened { origin, ..open_frames(spec, shared, Box::new(captures), names, taken)? }
        }
        Found::Rows(paths) => {
            check_apart(spec, &paths.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
            open_rows(spec, shared, &paths, taken)?
        }
    };
    Ok(Opened { note: once(&again), ..opened })
}

/// What is said of files that were named again, in one line.
fn once(again: &[PathBuf]) -> Option<String> {
    let first = again.first()?.display();
    Some(match again.len() - 1 {
        0 => format!("{first}: was named more than once, also by a folder or a link, and is read once"),
        others => format!(
            "{first} and {others} more were named more than once, also by folders or links, and are read once each"
        ),
    })
}

/// Checks that nothing is written over what is read.
fn check_apart(spec: &Spec, inputs: &[&Path]) -> Result<(), ApartError> {
    let ends = &spec.ends;
    let read =
        [("the model", &ends.model), ("the allow-list", &spec.incident.allow), ("the pipeline", &spec.file)];
    let read = read.iter().filter_map(|(name, path)| Some((*name, path.as_deref()?)));
    let without = spec.source.without.iter().map(|name| folder_of(name));
    let without: Vec<PathBuf> =
        without.flat_map(|folder| report::FILES.map(|name| folder.join(name))).collect();
    let read: Vec<Named<'_>> = inputs.iter().map(|path| ("an input", *path)).chain(read).collect();
    let read: Vec<Named<'_>> =
        read.into_iter().chain(without.iter().map(|path| ("a file of the report", path.as_path()))).collect();
    let report = ends.report.iter().flat_map(|folder| report::FILES.map(|name| folder.join(name)));
    let report: Vec<PathBuf> = report.collect();
    // The recording, while it grows.
    let part = ends.write_pcap.as_deref().map(part_of);
    let written = [
        ("the report", &ends.report),
        ("the rows", &ends.rows),
        ("the scores", &ends.scores),
        ("the model", &ends.fit),
        ("the counters", &ends.summary),
        ("the recording", &ends.write_pcap),
        ("the recording", &part),
    ];
    let written = written.iter().filter_map(|(name, path)| Some((*name, path.as_deref()?)));
    let report = report.iter().map(|path| ("a file of the report", path.as_path()));
    let written: Vec<Named<'_>> = report.chain(written).collect();
    apart::check(&read, &written)
}

fn open_frames(
    spec: &Spec,
    shared: &Shared,
    feed: Box<dyn Feed>,
    names: Vec<PathBuf>,
    taken: impl Fn(&Schema, Option<u64>) -> Result<Taken, RunError>,
) -> Result<Opened, RunError> {
    let settings = row_settings(&spec.flow, &spec.packet);
    let slice = spec.source.slice_ns();
    let (product, schema) = match spec.ends.packets {
        true => (Product::Packets, packet_schema(&settings)),
        false => {
            let wanted =
                |column: &crate::row::Column| spec.flow.first_lengths || column.name != "first_lengths";
            (Product::Rows, flow_schema(&settings, wanted))
        }
    };
    let window = (product == Product::Rows).then(|| spec.flow.window_ns());
    let schema = match taken(&schema, window)? {
        None => schema,
        Some(taken) => flow_schema(&settings, |column| taken.contains(column.name)),
    };
    let in_flight = Arc::new(AtomicI64::new(0));
    let name = names.first().cloned().unwrap_or_default();
    let reading = Arc::new(Reading {
        feed: Mutex::new(feed),
        inputs: names,
        spec: spec.packet.clone(),
        lax: spec.source.lax,
        slice,
        window_slices: spec.flow.window_ns() / slice + 2,
        in_flight: in_flight.clone(),
        tally: shared.tally.clone(),
        fault: shared.fault.clone(),
    });
    let assembly = Arc::new(Assembly {
        spec: spec.flow.clone(),
        schema: schema.clone(),
        product,
        slice,
        in_flight,
        given: Given::default(),
        tally: shared.tally.clone(),
    });
    Ok(Opened {
        origin: Origin::Stored,
        note: None,
        source: Source::Frames(reading.clone(), assembly),
        reader: Reader::Frames(reading),
        schema,
        window,
        name,
    })
}

fn open_rows(
    spec: &Spec,
    shared: &Shared,
    paths: &[PathBuf],
    taken: impl Fn(&Schema, Option<u64>) -> Result<Taken, RunError>,
) -> Result<Opened, RunError> {
    let name = paths.first().cloned().unwrap_or_default();
    let missing = |what| Err(RunError::Table { path: name.clone(), what });
    if spec.ends.packets {
        return missing("packet rows come from captures, this is Parquet");
    }
    let mut feed = RowsFeed::open(paths, spec.source.lax)?;
    let window = feed.settings().and_then(window_of);
    if feed.settings().is_some() && window.is_none() {
        return missing("rows without a window in their metadata; extract them again");
    }
    feed.of_windows(window);
    // With a model they are held against that of its training.
    if spec.ends.model.is_none() {
        check_made(spec, &feed, &name)?;
    }
    // What alerts and incidents are made of is looked at first: whoever scores rows alone may have it in other types, or
    // not at all.
    if spec.ends.report.is_some()
        && window.is_some()
        && let Some((column, found, expected)) = Columns::wanting(feed.schema(), sink::alert_columns())
    {
        let (column, expected) = (column.to_owned(), expected.to_string());
        return Err(RowsError::Report { path: name, column, found, expected }.into());
    }
    let taken = taken(feed.schema(), window).map_err(|error| of_folders(error, feed.schema(), paths))?;
    if let Some(taken) = taken {
        feed.keep(|name| taken.contains(name));
    }
    let schema = feed.schema().clone();
    let reading = Arc::new(RowReading {
        feed: Mutex::new(feed),
        window,
        slice: spec.source.slice_ns(),
        owner: |flow_id, peers| crate::packet::owner((flow_id >> 48) as u16, peers),
        tally: shared.tally.clone(),
        fault: shared.fault.clone(),
    });
    let source = Source::Rows(reading.clone());
    let reader = Reader::Rows(reading);
    Ok(Opened { origin: Origin::Stored, note: None, source, reader, schema, window, name })
}

/// The error with a word about folders, where it is about a column that rows have not and names of their folders seem to
/// have (`day=0`): others read such names as columns.
fn of_folders(error: RunError, rows: &Schema, paths: &[PathBuf]) -> RunError {
    let said = error.to_string();
    let folders = paths.iter().filter_map(|path| path.parent()).flat_map(Path::components);
    let mut folders = folders.filter_map(|folder| folder.as_os_str().to_str());
    // An error that is about a column quotes its name.
    let is_meant = |key: &str| rows.index_of(key).is_err() && said.contains(&format!("`{key}`"));
    let meant = folders.find(|folder| folder.split_once('=').is_some_and(|(key, _)| is_meant(key)));
    match meant.map(str::to_owned) {
        Some(folder) => RunError::OfFolder { error: Box::new(error), folder },
        None => error,
    }
}

pub(super) fn joined(spec: &Spec, opened: &Opened) -> Joined {
    let slice = spec.source.slice_ns();
    match opened.window {
        _ if spec.ends.packets => Joined::ByTime,
        Some(window) if window < slice => Joined::ByWorkerLate,
        _ => Joined::ByWorker,
    }
}

impl Reader {
    pub(super) fn counts(&self) -> FeedCounts {
        match self {
            Reader::Frames(reading) => reading.feed.lock().expect("no worker panics while it reads").counts(),
            Reader::Rows(_) => {
                FeedCounts { truncated_files: self.cut_short().len() as u64, ..FeedCounts::default() }
            }
        }
    }

    /// Why which files were not used to their ends.
    pub(super) fn cut_short(&self) -> Vec<String> {
        match self {
            Reader::Frames(reading) => {
                reading.feed.lock().expect("no worker panics while it reads").cut_short()
            }
            Reader::Rows(reading) => {
                reading.feed.lock().expect("no worker panics while it reads").cut_short().to_vec()
            }
        }
    }

    /// What ended a live run before anybody asked for it.
    pub(super) fn ended_by(&self) -> Option<SourceError> {
        match self {
            Reader::Frames(reading) => {
                reading.feed.lock().expect("no worker panics while it reads").ended_by()
            }
            Reader::Rows(_) => None,
        }
    }

    pub(super) fn progress(&self, tally: &Tally, elapsed: Duration) -> Progress {
        let counts = self.counts();
        let (done, total) = match self {
            Reader::Frames(_) => (counts.bytes_read, counts.bytes_total),
            Reader::Rows(reading) => reading.feed.lock().expect("no worker panics while it reads").progress(),
        };
        Progress {
            frames: counts.frames,
            late: counts.late,
            packets: tally.packets.load(Relaxed),
            rows: tally.rows.load(Relaxed),
            anomalies: tally.anomalies.load(Relaxed),
            done,
            total,
            dropped: counts.dropped,
            ahead: counts.ahead,
            elapsed,
        }
    }
}
