//! The files that say how a live run is, for whoever watches the watcher: as JSON, and as Prometheus reads it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::SinkError;
use super::report::{METRICS, STATE};
use crate::draft::Draft;
use crate::incident::Muting;
use crate::incident::line::rfc3339;
use crate::source::FeedCounts;
use crate::source::interface::wall_clock;
use crate::tally::Tally;

/// Where the state of a run goes, when the run began, and what it is.
#[derive(Clone, Debug)]
pub struct State {
    folder: PathBuf,
    began: u64,
    run: WhoRuns,
    /// What counts the alerts that rules mute.
    muting: Option<Muting>,
}

/// What a run is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WhoRuns {
    /// The interface that it listens on.
    pub interface: String,
    /// The name of the sensor, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<String>,
    /// The file of the model that scores.
    pub model: String,
    /// Its SHA-256, in hexadecimal digits.
    pub model_sha256: String,
}

/// What the files say. Times are of the wall clock, but that of the newest packet, which is event time.
#[derive(Serialize)]
struct Now<'a> {
    version: &'a str,
    #[serde(flatten)]
    run: &'a WhoRuns,
    began: String,
    written: String,
    newest_packet: Option<String>,
    #[serde(flatten)]
    counts: Counts,
}

/// What is counted.
#[derive(Serialize)]
struct Counts {
    frames: u64,
    packets: u64,
    received: u64,
    dropped: u64,
    late: u64,
    rows: u64,
    anomalies: u64,
    alerts: u64,
    muted: u64,
    incidents: u64,
    held: u64,
    knocks: u64,
}

impl State {
    /// That of a run which began then, nanoseconds since 1970, in the folder of its report.
    pub fn begin(folder: &Path, began: u64, run: WhoRuns) -> State {
        State { folder: folder.to_owned(), began, run, muting: None }
    }

    /// The same where rules mute alerts.
    #[must_use]
    pub fn muted_by(self, muting: Option<Muting>) -> State {
        State { muting, ..self }
    }

    /// Writes how the run is now, in the place of what was written before: readers meet one or the other, whole.
    ///
    /// # Errors
    /// [`SinkError`] if a file cannot be written.
    pub fn write(&self, tally: &Tally, feed: &FeedCounts) -> Result<(), SinkError> {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let counts = Counts {
            frames: feed.frames,
            packets: get(&tally.packets),
            received: feed.received,
            dropped: feed.dropped,
            late: feed.late,
            rows: get(&tally.rows),
            anomalies: get(&tally.anomalies),
            alerts: get(&tally.alerts),
            muted: self.muting.as_ref().map_or(0, Muting::rows),
            incidents: get(&tally.incidents),
            held: get(&tally.held),
            knocks: get(&tally.knocks),
        };
        let written = wall_clock();
        let newest = tally.span.ends().map_or(0, |(_, last)| last);
        let metrics = self.metrics(&counts, newest, written);
        let now = Now {
            version: env!("CARGO_PKG_VERSION"),
            run: &self.run,
            began: rfc3339(self.began),
            written: rfc3339(written),
            newest_packet: (newest > 0).then(|| rfc3339(newest)),
            counts,
        };
        let mut json = serde_json::to_string_pretty(&now).expect("counters are JSON");
        json.push('\n');
        self.replace(STATE, &json)?;
        self.replace(METRICS, &metrics)
    }

    fn replace(&self, name: &str, text: &str) -> Result<(), SinkError> {
        let path = self.folder.join(name);
        let mut draft = Draft::create(&path)?;
        let written = draft.write_all(text.as_bytes());
        written.map_err(|source| SinkError::Io { path, source })?;
        Ok(draft.commit()?)
    }

    /// The text format of Prometheus, version 0.0.4, as the textfile collector of its node exporter takes it.
    fn metrics(&self, counts: &Counts, newest: u64, written: u64) -> String {
        let WhoRuns { interface, sensor, model_sha256, .. } = &self.run;
        let mut labels = format!("interface=\"{}\"", quoted(interface));
        if let Some(sensor) = sensor {
            let _ = write!(labels, ",sensor=\"{}\"", quoted(sensor));
        }
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, labels: &str, value: &str| {
            let _ = write!(
                text,
                "# HELP netweir_{name} {help}\n# TYPE netweir_{name} {kind}\nnetweir_{name}{{{labels}}} {value}\n"
            );
        };
        let version = env!("CARGO_PKG_VERSION");
        let info = format!("{labels},version=\"{version}\",model_sha256=\"{model_sha256}\"");
        metric("info", "gauge", "What runs.", &info, "1");
        let counters = [
            ("frames_total", "Frames used.", counts.frames),
            ("packets_total", "Frames that are packets of IP.", counts.packets),
            ("received_frames_total", "Frames that the kernel received.", counts.received),
            ("dropped_frames_total", "Frames that the kernel dropped.", counts.dropped),
            ("late_frames_total", "Frames that came behind the lateness, and were moved.", counts.late),
            ("rows_total", "Rows of flows.", counts.rows),
            ("anomalies_total", "Rows above the threshold.", counts.anomalies),
            (
                "alerts_total",
                "Rows above the threshold that are told as alerts, but for the muted.",
                counts.alerts,
            ),
            ("muted_alerts_total", "Those of the alerts that rules mute.", counts.muted),
        ];
        for (name, help, count) in counters {
            metric(name, "counter", help, &labels, &count.to_string());
        }
        let help = "Incidents that began and were not taken back.";
        metric("incidents", "gauge", help, &labels, &counts.incidents.to_string());
        let help = "Those of the incidents that a budget keeps back.";
        metric("held_incidents", "gauge", help, &labels, &counts.held.to_string());
        let help = "Odd rows from outside that nobody let in and that stayed alone.";
        metric("knocks", "gauge", help, &labels, &counts.knocks.to_string());
        let times = [
            ("start_time_seconds", "When the run began.", self.began),
            ("written_time_seconds", "When this was written.", written),
            ("newest_packet_time_seconds", "Time of the newest packet, 0 before the first.", newest),
        ];
        for (name, help, time) in times {
            let seconds = format!("{}.{:03}", time / 1_000_000_000, time / 1_000_000 % 1000);
            metric(name, "gauge", help, &labels, &seconds);
        }
        text
    }
}

/// The value of a label, quoted.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> WhoRuns {
        WhoRuns {
            interface: "eth0".to_owned(),
            sensor: Some("no\"rth".to_owned()),
            model: "m.netweir".to_owned(),
            model_sha256: "5e".to_owned(),
        }
    }

    #[test]
    fn the_state_is_one_whole_file_that_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (state, tally) = (State::begin(folder.path(), wall_clock(), run()), Tally::default());
        let read = || -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(folder.path().join(STATE)).unwrap()).unwrap()
        };
        state.write(&tally, &FeedCounts::default()).unwrap();
        let first = read();
        assert!(first["newest_packet"].is_null() && first["packets"] == 0, "{first}");
        tally.packets.store(7, Relaxed);
        let feed = FeedCounts { frames: 9, received: 10, dropped: 1, ..FeedCounts::default() };
        tally.span.reach(1_600_000_000_000_000_000, 1_700_000_000_500_000_000);
        state.write(&tally, &feed).unwrap();
        let second = read();
        let counts = ["frames", "packets", "received", "dropped"].map(|key| second[key].as_u64().unwrap());
        assert_eq!(counts, [9, 7, 10, 1]);
        assert_eq!(second["newest_packet"], "2023-11-14T22:13:20.500000000Z");
        assert_eq!((&second["began"], &second["version"]), (&first["began"], &first["version"]));
        assert!(second["written"].as_str() >= first["written"].as_str(), "{first} {second}");
        let run =
            [("interface", "eth0"), ("sensor", "no\"rth"), ("model", "m.netweir"), ("model_sha256", "5e")];
        assert!(run.iter().all(|(key, value)| second[key] == *value), "{second}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let metrics = std::fs::read_to_string(folder.path().join(METRICS)).unwrap();
        let labels = r#"{interface="eth0",sensor="no\"rth"}"#;
        for line in [
            format!("netweir_packets_total{labels} 7"),
            format!("netweir_dropped_frames_total{labels} 1"),
            format!("netweir_newest_packet_time_seconds{labels} 1700000000.500"),
            "# TYPE netweir_packets_total counter".to_owned(),
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
        }
        // Each has one line of help, one of its type, and one sample.
        let of = |start: &str| metrics.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!((of("# HELP "), of("# TYPE "), of("netweir_")), (16, 16, 16));
    }
}
