//! The file that says how a live run is, for whoever watches the watcher.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::SinkError;
use super::report::STATE;
use crate::draft::Draft;
use crate::incident::line::rfc3339;
use crate::source::FeedCounts;
use crate::source::interface::wall_clock;
use crate::tally::Tally;

/// Where the state of a run goes, and when the run began.
#[derive(Clone, Debug)]
pub struct State {
    path: PathBuf,
    began: String,
}

/// What the file says. Times are of the wall clock, but that of the newest packet, which is event time.
#[derive(Serialize)]
struct Now<'a> {
    version: &'a str,
    began: &'a str,
    written: String,
    newest_packet: Option<String>,
    frames: u64,
    packets: u64,
    received: u64,
    dropped: u64,
    late: u64,
    rows: u64,
    anomalies: u64,
    incidents: u64,
}

impl State {
    /// That of a run which began then, nanoseconds since 1970, in the folder of its report.
    pub fn begin(folder: &Path, began: u64) -> State {
        State { path: folder.join(STATE), began: rfc3339(began) }
    }

    /// Writes how the run is now, in the place of what was written before: readers meet one or the other, whole.
    /// `newest` is the event time of the newest packet, 0 before the first.
    ///
    /// # Errors
    /// [`SinkError`] if the file cannot be written.
    pub fn write(&self, tally: &Tally, feed: &FeedCounts, newest: u64) -> Result<(), SinkError> {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let now = Now {
            version: env!("CARGO_PKG_VERSION"),
            began: &self.began,
            written: rfc3339(wall_clock()),
            newest_packet: (newest > 0).then(|| rfc3339(newest)),
            frames: feed.frames,
            packets: get(&tally.packets),
            received: feed.received,
            dropped: feed.dropped,
            late: feed.late,
            rows: get(&tally.rows),
            anomalies: get(&tally.anomalies),
            incidents: get(&tally.incidents),
        };
        let mut json = serde_json::to_string_pretty(&now).expect("counters are JSON");
        json.push('\n');
        let mut draft = Draft::create(&self.path)?;
        let written = draft.write_all(json.as_bytes());
        written.map_err(|source| SinkError::Io { path: self.path.clone(), source })?;
        Ok(draft.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_one_whole_file_that_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (state, tally) = (State::begin(folder.path(), wall_clock()), Tally::default());
        let read = || -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(folder.path().join(STATE)).unwrap()).unwrap()
        };
        state.write(&tally, &FeedCounts::default(), 0).unwrap();
        let first = read();
        assert!(first["newest_packet"].is_null() && first["packets"] == 0, "{first}");
        tally.packets.store(7, Relaxed);
        let feed = FeedCounts { frames: 9, received: 10, dropped: 1, ..FeedCounts::default() };
        state.write(&tally, &feed, 1_700_000_000_500_000_000).unwrap();
        let second = read();
        let counts = ["frames", "packets", "received", "dropped"].map(|key| second[key].as_u64().unwrap());
        assert_eq!(counts, [9, 7, 10, 1]);
        assert_eq!(second["newest_packet"], "2023-11-14T22:13:20.500000000Z");
        assert_eq!((&second["began"], &second["version"]), (&first["began"], &first["version"]));
        assert!(second["written"].as_str() >= first["written"].as_str(), "{first} {second}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
