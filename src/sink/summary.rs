//! What a run did, in numbers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::SinkError;
use super::console::unit;
use super::doubts::doubts;
use crate::detect::outline::grouped;
use crate::draft::Draft;
use crate::incident::line::rfc3339;
use crate::source::FeedCounts;
use crate::tally::Tally;
use crate::terminal::spelled;

/// Files that are cut off or damaged and named in the lines that end a run; the file of counters names all.
const CUT_SHORT: usize = 10;

/// Ethertypes that are counted each by itself. What is on the wire is anybody's choice, and there are 65,536.
const ETHERTYPES: usize = 32;

/// In the place of an ethertype: all that are seen less often.
const OTHER: &str = "other";

/// Counters of a run. Always `frames` = `packets` + the sum of `rejects`.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Version of the program.
    #[serde(default)]
    pub version: String,
    /// The file of the model that scored, as it was named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// The SHA-256 of that file, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model_sha256: Option<String>,
    /// When a live run began, by the clock of the wall (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub began: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<String>,
    /// Event time of the first packet, or of that of the first row (RFC 3339); absent where there is none, or rows were
    /// read without their times.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first: Option<String>,
    /// Event time of the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<String>,
    /// Frames read.
    pub frames: u64,
    /// Frames that became packets.
    pub packets: u64,
    /// Bytes of IP datagrams in those packets.
    pub bytes: u64,
    /// Frames that did not, by cause: `not_ip`, `truncated`, `malformed`, `unknown_link`.
    pub rejects: BTreeMap<String, u64>,
    /// `not_ip` by ethertype (`0x0806`): the most frequent, and all others together as `other`.
    pub not_ip_by_ethertype: BTreeMap<String, u64>,
    /// Frames whose timestamp lay before the watermark.
    pub late: u64,
    /// Files that are cut off or damaged, and were used up to there.
    pub truncated_files: u64,
    /// Which, and where and why, a line each; all of them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub cut_short: Vec<String>,
    /// What looks wrong with how the frames were captured, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub doubts: Vec<String>,
    /// Files of folders and patterns that are neither captures nor rows.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub passed_over: u64,
    /// Flows begun.
    pub flows: u64,
    /// Rows made or read.
    pub rows: u64,
    /// Flows ended for lack of room.
    pub shed: u64,
    /// What context forgot for lack of room: hosts, pairs, services and ports that it had seen, and flows.
    #[serde(default)]
    pub forgotten: u64,
    /// Rows above the threshold, where rows were scored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub anomalies: Option<u64>,
    /// Those of them that say why, as all do unless they are many of one window: alerts, but for the muted. Where rows become
    /// incidents.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alerts: Option<u64>,
    /// Those of the alerts that a rule of the allow-list muted when they were to be written. Where rows become incidents.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub muted: Option<u64>,
    /// The threshold in use, where rows were scored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threshold: Option<f64>,
    /// What says the threshold: `the model`, or the key that was given for this run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threshold_by: Option<String>,
    /// Incidents that these rows are part of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub incidents: Option<u64>,
    /// Those of them that the budget of incidents keeps back; where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<u64>,
    /// Odd rows from outside that nobody let in and that stayed alone: knocks, which are not among the incidents.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub knocks: Option<u64>,
    /// Frames that the interface received, for live runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub received: Option<u64>,
    /// Frames that the kernel dropped, for live runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dropped: Option<u64>,
    /// Whether rows were read, so that lines about frames have nothing to say.
    #[serde(skip)]
    of_rows: bool,
}

impl Summary {
    /// The counters of a run over captures or rows.
    pub fn new(tally: &Tally, feed: &FeedCounts) -> Summary {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let causes = [
            ("not_ip", tally.not_ip()),
            ("truncated", get(&tally.truncated)),
            ("malformed", get(&tally.malformed)),
            ("unknown_link", get(&tally.unknown_link)),
        ];
        let not_ip = tally.not_ip.lock().expect("no worker panics while it counts");
        let span = tally.span.ends();
        Summary {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            first: span.map(|(first, _)| rfc3339(first)),
            last: span.map(|(_, last)| rfc3339(last)),
            frames: get(&tally.frames),
            packets: get(&tally.packets),
            bytes: get(&tally.bytes),
            rejects: causes.into_iter().map(|(cause, count)| (cause.to_owned(), count)).collect(),
            not_ip_by_ethertype: most_frequent(&not_ip),
            late: feed.late,
            truncated_files: feed.truncated_files,
            doubts: doubts(tally, feed),
            passed_over: get(&tally.passed_over),
            flows: get(&tally.flows),
            rows: get(&tally.rows),
            shed: get(&tally.shed),
            forgotten: get(&tally.forgotten),
            ..Summary::default()
        }
    }

    /// The same with why which files were not used to their ends.
    pub fn with_cut_short(self, cut_short: Vec<String>) -> Summary {
        Summary { cut_short, ..self }
    }

    /// The same with the model that scored: its file as it was named, and the hash of that.
    pub fn by_model(self, path: &Path, sha256: &str) -> Summary {
        Summary { model: Some(path.display().to_string()), model_sha256: Some(sha256.to_owned()), ..self }
    }

    /// The same with when a live run began and ended, nanoseconds since 1970.
    pub fn during(self, began: u64, ended: u64) -> Summary {
        let text = |time| Some(rfc3339(time));
        Summary { began: text(began), ended: text(ended), ..self }
    }

    /// The same of a run that read rows.
    pub fn of_rows(self) -> Summary {
        Summary { of_rows: true, ..self }
    }

    /// The same with what an interface counted.
    pub fn live(self, feed: &FeedCounts) -> Summary {
        Summary { received: Some(feed.received), dropped: Some(feed.dropped), ..self }
    }

    /// The same with the number of anomalous rows.
    pub fn scored(self, anomalies: u64) -> Summary {
        Summary { anomalies: Some(anomalies), ..self }
    }

    /// The same with the threshold that made them anomalous, and what says it.
    pub fn judged(self, threshold: f64, by: String) -> Summary {
        Summary { threshold: Some(threshold), threshold_by: Some(by), ..self }
    }

    /// The same with the numbers of incidents and knocks, of rows that say why, and of muted ones.
    pub fn with_incidents(self, [incidents, knocks]: [u64; 2], alerts: u64, muted: u64) -> Summary {
        let (incidents, knocks) = (Some(incidents), Some(knocks));
        Summary { incidents, knocks, alerts: Some(alerts), muted: Some(muted), ..self }
    }

    /// The same with how many of the incidents a budget keeps back.
    pub fn with_held(self, held: u64) -> Summary {
        Summary { held: Some(held), ..self }
    }

    /// Writes it as JSON, whole or not at all.
    ///
    /// # Errors
    /// [`SinkError`] if the file cannot be written.
    pub fn write(&self, mut draft: Draft) -> Result<(), SinkError> {
        let mut text = serde_json::to_string_pretty(self).expect("counters are JSON");
        text.push('\n');
        let written = draft.write_all(text.as_bytes());
        written.map_err(|source| SinkError::Io { path: draft.path().to_owned(), source })?;
        Ok(draft.commit()?)
    }

    /// The few lines that end a run; what did not happen is left out.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        let mut line = |parts: &[String]| {
            if !parts.is_empty() {
                writeln!(lines, "{}", parts.join(", ")).expect("a string takes all that is written");
            }
        };
        let mut read = Vec::new();
        if self.frames > 0 || self.rows == 0 && !self.of_rows {
            read.push(counted(self.frames, "frame", "frames"));
            let (divisor, unit) = unit(self.bytes);
            let bytes = match divisor {
                1 => self.bytes.to_string(),
                _ => format!("{:.1}", self.bytes as f64 / divisor as f64),
            };
            read.push(format!("{} ({bytes} {unit})", counted(self.packets, "packet", "packets")));
            read.push(counted(self.flows, "flow", "flows"));
        }
        read.push(counted(self.rows, "row", "rows"));
        line(&read);

        let rejected: Vec<String> = self
            .rejects
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(cause, count)| format!("{} {}", grouped(*count), cause.replace('_', " ")))
            .collect();
        if !rejected.is_empty() {
            line(&[format!("frames that are no packets: {}", rejected.join(", "))]);
        }
        let mut notes = Vec::new();
        // Of a live run nothing can be put in order any more, and some frames are always late somewhere.
        let in_disorder = self.received.is_none() && self.late > self.frames / 100 && self.late > 1;
        let late = match in_disorder {
            true if self.late > self.frames / 10 => {
                "frames were late and moved: a clock was set back, or the capture is in disorder (reordercap puts it in \
                 order)"
            }
            true => "frames were late and moved (reordercap puts a capture in order)",
            false => "frames were late and moved",
        };
        for (count, one, many) in [
            (self.late, "frame was late and moved", late),
            (self.truncated_files, "file is cut off or damaged", "files are cut off or damaged"),
            (
                self.passed_over,
                "file was passed over, which is neither capture nor rows",
                "files were passed over, which are neither captures nor rows",
            ),
            (self.shed, "flow ended for lack of room", "flows ended for lack of room"),
            (
                self.forgotten,
                "identity was forgotten for lack of room",
                "identities were forgotten for lack of room",
            ),
            (
                self.dropped.unwrap_or(0),
                "frame was dropped by the kernel",
                "frames were dropped by the kernel",
            ),
        ] {
            if count > 0 {
                notes.push(counted(count, one, many));
            }
        }
        line(&notes);
        for why in self.cut_short.iter().take(CUT_SHORT) {
            line(&[format!("  {}", spelled(why))]);
        }
        if let Some(more @ 1..) = self.cut_short.len().checked_sub(CUT_SHORT) {
            line(&[format!("  and {}, which the summary has too", counted(more as u64, "more", "more"))]);
        }
        for doubt in &self.doubts {
            line(&[format!("note: {doubt}")]);
        }
        if let Some(anomalies) = self.anomalies {
            // No anomaly among no rows is no good news.
            let among = match self.rows {
                0 => "nothing was scored".to_owned(),
                rows => format!("{:.2} % of rows", 100.0 * anomalies as f64 / rows as f64),
            };
            let mut found = vec![format!("{} ({among})", counted(anomalies, "anomaly", "anomalies"))];
            let told = self.alerts.filter(|alerts| *alerts < anomalies);
            let muted = self.muted.filter(|muted| *muted > 0);
            found.extend(match (told, muted) {
                (Some(told), Some(muted)) => Some(format!(
                    "{} of them told as alerts, but for {} that rules mute",
                    grouped(told),
                    grouped(muted)
                )),
                (Some(told), None) => Some(format!("{} of them told as alerts", grouped(told))),
                (None, Some(muted)) => Some(format!("{} muted by rules", counted(muted, "alert", "alerts"))),
                (None, None) => None,
            });
            let held = self.held.filter(|held| *held > 0);
            found.extend(self.incidents.map(|incidents| {
                let all = counted(incidents, "incident", "incidents");
                held.map_or(all.clone(), |held| {
                    format!("{all} ({} held back by alerts_per_day)", grouped(held))
                })
            }));
            let knocks = self.knocks.filter(|knocks| *knocks > 0);
            found.extend(knocks.map(|knocks| counted(knocks, "knock from outside", "knocks from outside")));
            if let (Some(threshold), Some(by)) = (self.threshold, &self.threshold_by) {
                found.push(format!("scores above {threshold:.4} by {by}"));
            }
            line(&found);
        }
        lines
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The most frequent ethertypes, of equal ones the lowest, and all others together.
fn most_frequent(not_ip: &BTreeMap<u16, u64>) -> BTreeMap<String, u64> {
    let mut kinds: Vec<(u16, u64)> = not_ip.iter().map(|(kind, count)| (*kind, *count)).collect();
    kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    let others = kinds.split_off(kinds.len().min(ETHERTYPES));
    let mut named: BTreeMap<String, u64> =
        kinds.into_iter().map(|(kind, count)| (format!("{kind:#06x}"), count)).collect();
    if !others.is_empty() {
        named.insert(OTHER.to_owned(), others.iter().map(|(_, count)| count).sum());
    }
    named
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Refused;
    use crate::tally::Batch;

    fn summary() -> Summary {
        let tally = Tally::default();
        let mut batch = Batch::default();
        (batch.packets, batch.bytes) = (1_234_000, 987_654_321);
        for cause in [0x806, 0x806, 0x88cc].map(Refused::NotIp).into_iter().chain([Refused::Truncated]) {
            batch.refuse(cause);
        }
        tally.add(batch);
        tally.rows.store(5000, Relaxed);
        tally.flows.store(1, Relaxed);
        Summary::new(&tally, &FeedCounts { late: 2, received: 10, ..FeedCounts::default() })
    }

    #[test]
    fn frames_are_packets_and_rejects() {
        let summary = summary();
        assert_eq!(summary.frames, summary.packets + summary.rejects.values().sum::<u64>());
        assert_eq!(summary.not_ip_by_ethertype.values().sum::<u64>(), summary.rejects["not_ip"]);
    }

    #[test]
    fn the_file_holds_each_counter_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/summary.json");
        let summary = summary();
        summary.write(Draft::create(&path).unwrap()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = "version frames packets bytes rejects not_ip_by_ethertype late truncated_files flows rows shed forgotten";
        assert_eq!(keys.join(" "), expected);
        assert_eq!(value["not_ip_by_ethertype"]["0x0806"], 2);
        let live = serde_json::to_value(
            summary.live(&FeedCounts { received: 9, ..FeedCounts::default() }).scored(3),
        );
        let live = live.unwrap();
        assert_eq!(
            (&live["received"], &live["dropped"], &live["anomalies"]),
            (&9.into(), &0.into(), &3.into())
        );
    }

    #[test]
    fn whoever_sends_frames_of_all_kinds_makes_no_more_keys() {
        let (tally, mut batch) = (Tally::default(), Batch::default());
        for kind in (0..5000).chain(4000..5000) {
            batch.refuse(Refused::NotIp(kind));
        }
        tally.add(batch);
        let summary = Summary::new(&tally, &FeedCounts::default());
        let kinds = &summary.not_ip_by_ethertype;
        assert_eq!((kinds.len(), kinds["0x0fa0"], kinds["0x0fbf"]), (33, 2, 2));
        assert_eq!((kinds[OTHER], kinds.values().sum::<u64>()), (6000 - 64, summary.rejects["not_ip"]));
    }

    #[test]
    fn it_says_what_scored_and_when() {
        let tally = Tally::default();
        tally.span.reach(1_795_339_800_000_000_001, 1_795_339_801_000_000_000);
        let summary = Summary::new(&tally, &FeedCounts::default()).by_model(Path::new("a/office"), "ab12");
        let value = serde_json::to_value(&summary).unwrap();
        assert_eq!((&value["model"], &value["model_sha256"]), (&"a/office".into(), &"ab12".into()));
        assert_eq!(value["first"], "2026-11-22T09:30:00.000000001Z");
        assert_eq!(value["last"], "2026-11-22T09:30:01.000000000Z");
        assert!(value.get("began").is_none(), "equal runs over captures leave equal files");
        let live = serde_json::to_value(summary.during(0, 1_000_000_000)).unwrap();
        assert_eq!(
            (&live["began"], &live["ended"]),
            (&"1970-01-01T00:00:00.000000000Z".into(), &"1970-01-01T00:00:01.000000000Z".into())
        );
    }

    #[test]
    fn lines_say_what_happened_and_nothing_else() {
        assert_eq!(
            summary().scored(1).lines(),
            "1,234,004 frames, 1,234,000 packets (987.7 MB), 1 flow, 5,000 rows\n\
             frames that are no packets: 3 not ip, 1 truncated\n\
             2 frames were late and moved\n\
             1 anomaly (0.02 % of rows)\n"
        );
        let muted = summary().scored(1200).with_incidents([3, 0], 1200, 1001).lines();
        let told = summary().scored(1200).with_incidents([3, 2], 150, 0).lines();
        assert!(
            told.contains("1,200 anomalies (24.00 % of rows), 150 of them told as alerts, 3 incidents, 2 knocks from outside"),
            "{told}"
        );
        assert!(
            muted.ends_with("1,200 anomalies (24.00 % of rows), 1,001 alerts muted by rules, 3 incidents\n"),
            "{muted}"
        );
        let held = summary().scored(1200).with_incidents([39, 1], 150, 0).with_held(36).lines();
        assert!(
            held.contains("alerts, 39 incidents (36 held back by alerts_per_day), 1 knock from outside"),
            "{held}"
        );
        let both = summary().scored(1200).with_incidents([3, 0], 150, 12).lines();
        assert!(
            both.contains("rows), 150 of them told as alerts, but for 12 that rules mute, 3 inc"),
            "{both}"
        );
        let judged = summary().scored(2).judged(6.907_755, "false_alarm_rate = 0.001".to_owned());
        assert!(
            judged.lines().ends_with("rows), scores above 6.9078 by false_alarm_rate = 0.001\n"),
            "{}",
            judged.lines()
        );
        let disorder = Summary { late: 13_000, ..summary() }.lines();
        assert!(disorder.contains("13,000 frames were late and moved (reordercap puts"), "{disorder}");
        let set_back = Summary { late: 200_000, ..summary() }.lines();
        assert!(set_back.contains("200,000 frames were late and moved: a clock was set back"), "{set_back}");
        let noted =
            Summary { doubts: vec!["why?".to_owned()], passed_over: 6, ..summary() }.scored(1).lines();
        let said =
            "moved, 6 files were passed over, which are neither captures nor rows\nnote: why?\n1 anomaly";
        assert!(noted.contains(said), "{noted}");
        let none = Summary { frames: 3, ..Summary::default() }.scored(0).lines();
        assert!(none.ends_with("0 anomalies (nothing was scored)\n"), "{none}");
        assert_eq!(Summary { rows: 7, ..Summary::default() }.lines(), "7 rows\n");
        assert_eq!(Summary::default().of_rows().lines(), "0 rows\n");
        assert_eq!(Summary::default().lines(), "0 frames, 0 packets (0 B), 0 flows, 0 rows\n");
    }

    #[test]
    fn files_that_are_cut_short_are_named_with_what_is_wrong() {
        let said = |files: u64| {
            let cut_short = (0..files).map(|file| format!("{file}\n.pcap: ends inside a record")).collect();
            Summary { rows: 1, truncated_files: files, ..Summary::default() }.with_cut_short(cut_short)
        };
        assert_eq!(said(0).lines(), "1 row\n");
        let one = said(1);
        assert_eq!(one.lines(), "1 row\n1 file is cut off or damaged\n  0\\n.pcap: ends inside a record\n");
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), one);
        let many = said(1_012);
        let lines = many.lines();
        assert_eq!(lines.lines().count(), 2 + CUT_SHORT + 1);
        assert!(lines.ends_with("\n  and 1,002 more, which the summary has too\n"), "{lines}");
        assert_eq!(serde_json::to_value(&many).unwrap()["cut_short"].as_array().unwrap().len(), 1_012);
    }
}
