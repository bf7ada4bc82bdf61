//! What an earlier run said of incidents, in the log that a live run goes on with.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

/// What this run must know of it.
#[derive(Debug, Default, PartialEq)]
pub struct SaidBefore {
    /// Of each incident that is not closed a line that closes it, as it was last said, at the time at which that was; in the
    /// order in which they began.
    pub(super) left_open: Vec<String>,
    /// Ids of all.
    pub ids: BTreeSet<u64>,
    /// When which incident was first told to anybody, nanoseconds since the Unix epoch.
    pub told: Vec<(u64, u64)>,
}

/// A line of a log.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    change: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default)]
    held: bool,
}

impl SaidBefore {
    /// Reads a log. Lines that are none of an incident are left to who reads them.
    pub(super) fn read(path: &Path) -> io::Result<SaidBefore> {
        let mut before = SaidBefore::default();
        let mut open: BTreeMap<String, (usize, Vec<u8>)> = BTreeMap::new();
        let mut told: BTreeMap<u64, u64> = BTreeMap::new();
        for (number, line) in BufReader::new(File::open(path)?).split(b'\n').enumerate() {
            let line = line?;
            let Ok(Line { change, id, time, held }) = serde_json::from_slice(&line) else { continue };
            if let Ok(id) = u64::from_str_radix(&id, 16) {
                before.ids.insert(id);
                if let (false, Ok(time)) = (held, time.parse::<Timestamp>()) {
                    told.entry(id).or_insert(u64::try_from(time.as_nanosecond()).unwrap_or(0));
                }
            }
            if change == "close" {
                open.remove(&*id);
            } else {
                let began = open.get(&*id).map_or(number, |(began, _)| *began);
                open.insert(id.into_owned(), (began, line));
            }
        }
        let mut open: Vec<(usize, Vec<u8>)> = open.into_values().collect();
        open.sort_unstable();
        let closed = open.into_iter().filter_map(|(_, line)| {
            let mut line: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line).ok()?;
            line.insert("change".to_owned(), "close".into());
            serde_json::to_string(&line).ok()
        });
        before.left_open = closed.collect();
        before.told = told.into_iter().map(|(id, time)| (time, id)).collect();
        Ok(before)
    }
}

#[cfg(test)]
mod tests {
    use super::super::incidents::IncidentLog;
    use super::*;
    use crate::draft::Draft;

    #[test]
    fn what_a_killed_run_left_open_is_closed_as_it_was_last_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("incidents.jsonl");
        let line = |change: &str, id: &str, alerts: u64| {
            format!(
                "{{\"change\":\"{change}\",\"id\":\"{id}\",\"time\":\"T\",\"alerts\":{alerts},\"score\":7.1}}\n"
            )
        };
        let mut held = Vec::new();
        let mut hold = |lines: &[u8]| held.extend_from_slice(lines);
        for (change, id, alerts) in [("create", "b", 1), ("create", "a", 2), ("create", "c", 3)] {
            hold(line(change, id, alerts).as_bytes());
        }
        hold(b"no line, and bytes that are no text: \xff\n");
        for (change, id, alerts) in
            [("close", "c", 3), ("update", "b", 5), ("close", "a", 2), ("reopen", "a", 4)]
        {
            hold(line(change, id, alerts).as_bytes());
        }
        std::fs::write(&path, &held).unwrap();
        let closed = line("close", "b", 5) + &line("close", "a", 4);
        for _ in 0..2 {
            let before = SaidBefore::read(&path).unwrap();
            let log = IncidentLog::create(Draft::growing(&path, None).unwrap(), None);
            drop(log.close(&before.left_open).unwrap());
            assert!(std::fs::read(&path).unwrap() == [&held[..], closed.as_bytes()].concat(), "once");
            assert_eq!((before.ids, before.told), ([10, 11, 12].into(), Vec::new()));
        }
    }

    #[test]
    fn what_was_held_back_is_told_when_it_is_not_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("incidents.jsonl");
        let line = |id: &str, second: u64, held: bool| {
            format!(
                "{{\"change\":\"update\",\"id\":\"{id}\",\"time\":\"1970-01-01T00:00:{second:02}Z\",\"held\":{held}}}\n"
            )
        };
        let lines = [line("0f", 1, false), line("0a", 2, true), line("0a", 3, false), line("0a", 4, false)];
        std::fs::write(&path, lines.concat()).unwrap();
        let before = SaidBefore::read(&path).unwrap();
        assert_eq!(before.told, [(3_000_000_000, 10), (1_000_000_000, 15)]);
    }
}
