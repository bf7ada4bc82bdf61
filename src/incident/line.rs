//! A line of `incidents.jsonl`: what programs read of incidents.
//!
//! No name at its root is one that the Elastic Common Schema has for an object (`event`, `host`, `source`): a document
//! with a text there is refused by an index that follows it.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::change::Event;
use super::extent::Top;

/// Each key of a line with its meaning, in their order; those within others behind a dot.
pub const FIELDS: [(&str, &str); 32] = [
    (
        "change",
        "`create`, `update`, `close`, or `reopen` of one that was closed; the last line of an incident holds",
    ),
    ("id", "16 hexadecimal digits, a hash of address, kind and first window"),
    ("sensor", "the name that `--sensor` gave; absent without one"),
    ("time", "event time at which it is said: the end of a window, or of the silence that closes it"),
    ("kind", "`anomaly`, `new_host`, or `new_hosts`: more than 16 at once"),
    ("address", "the host that it is about; absent for `new_hosts`"),
    ("role", "`source` or `target`: whether the host began most of its rows"),
    ("first", "its first packet"),
    ("last", "its last packet"),
    ("windows", "windows with an odd row; 0 where it was taken back"),
    ("alerts", "odd rows; 0 for new hosts, and where it was taken back"),
    ("score", "the largest score of its rows"),
    ("p_value", "the smallest p-value of its rows"),
    ("severity", "`low`, `medium`, `high`, `critical`; `info` where it is held or withdrawn"),
    ("peers", "distinct other ends; an estimate above 1,024"),
    ("ports", "distinct responders' ports of each protocol that has some; an estimate above 1,024"),
    ("top", "the row that scored most of those that say why"),
    (
        "top.flow_id",
        "its flow, with the window its key in `scores.parquet`; as text, since all 64 bits count",
    ),
    ("top.window_start", "start of its window"),
    ("top.src", "its initiator"),
    ("top.src_port", "the initiator's port; null for protocols without ports"),
    ("top.dst", "its responder"),
    ("top.dst_port", "the responder's port; null for protocols without ports"),
    ("top.protocol", "its protocol"),
    ("top.score", "its score"),
    ("why", "why, in one line for people"),
    ("hints", "techniques of ATT&CK that rows are shaped like, eight at most"),
    ("hints.technique", "number, such as `T1046`"),
    ("hints.name", "name"),
    (
        "knock",
        "true where it is one row, of up to three packets of a host from outside, which nobody answered but to refuse it, and one of few",
    ),
    (
        "held",
        "true where it is not reported: a knock before more comes, or what the budget of incidents (`alerts_per_day`) keeps back",
    ),
    ("withdrawn", "true where it was taken back: its rows are muted, or part of another incident"),
];

/// RFC 3339 with nanoseconds.
pub(super) fn time(nanoseconds: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds));
    let time = time.expect("64 bits of nanoseconds are within jiff's years");
    time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// The same of nanoseconds since 1970 that are never before.
pub(crate) fn rfc3339(nanoseconds: u64) -> String {
    time(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
}

/// One line of `incidents.jsonl`. It has all [`FIELDS`] but those that are said to be absent: what updates documents by
/// their ids must not keep `held` or `withdrawn` of an earlier line.
pub struct Line<'a> {
    /// What happened.
    pub event: &'a Event,
    /// Which sensor says it, where it has a name.
    pub sensor: Option<&'a str>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Event { time: said_at, said, state } = self.event;
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("change", said.name())?;
        line.serialize_entry("id", &state.name())?;
        if let Some(sensor) = self.sensor {
            line.serialize_entry("sensor", sensor)?;
        }
        line.serialize_entry("time", &rfc3339(*said_at))?;
        line.serialize_entry("kind", state.kind.name())?;
        if !state.is_crowd() {
            line.serialize_entry("address", &state.host)?;
        }
        line.serialize_entry("role", state.role())?;
        line.serialize_entry("first", &time(state.first))?;
        line.serialize_entry("last", &time(state.last))?;
        line.serialize_entry("windows", &state.windows)?;
        line.serialize_entry("alerts", &state.alerts)?;
        line.serialize_entry("score", &state.score)?;
        line.serialize_entry("p_value", &state.p_value)?;
        line.serialize_entry("severity", &state.reported())?;
        line.serialize_entry("peers", &state.peers)?;
        line.serialize_entry("ports", &state.ports)?;
        line.serialize_entry("top", &TopLine(&state.top))?;
        line.serialize_entry("why", &state.why())?;
        line.serialize_entry("hints", &state.hints)?;
        line.serialize_entry("knock", &state.knock)?;
        line.serialize_entry("held", &state.held)?;
        line.serialize_entry("withdrawn", &state.withdrawn)?;
        line.end()
    }
}

struct TopLine<'a>(&'a Top);

impl Serialize for TopLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let top = self.0;
        // Ports that are none are null, not absent: whoever merges lines would keep those of another row.
        let mut line = serializer.serialize_map(None)?;
        // As text, as in alerts: most readers of JSON take numbers for doubles and would change the last digits.
        line.serialize_entry("flow_id", &top.flow_id.to_string())?;
        line.serialize_entry("window_start", &rfc3339(top.window))?;
        line.serialize_entry("src", &top.src)?;
        line.serialize_entry("src_port", &top.src_port)?;
        line.serialize_entry("dst", &top.dst)?;
        line.serialize_entry("dst_port", &top.dst_port)?;
        line.serialize_entry("protocol", &top.protocol)?;
        line.serialize_entry("score", &top.score.get())?;
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::change::{Said, State};
    use super::super::cover::CROWD;
    use super::super::finding::{Finding, Hint, Kind};
    use super::super::tests::{finding, state};
    use super::*;

    fn event(finding: &Finding) -> Event {
        let hints = vec![Hint { technique: "T1046".to_owned(), name: "Scan".to_owned() }];
        let state = State { id: 7, hints, ..state(finding) };
        Event { time: 10, said: Said::Create, state }
    }

    fn line(event: &Event, sensor: Option<&str>) -> Value {
        serde_json::to_value(Line { event, sensor }).unwrap()
    }

    /// The keys of a line as [`FIELDS`] has them.
    fn keys(value: &Value, within: &str, keys: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let name = if within.is_empty() { key.clone() } else { format!("{within}.{key}") };
                    keys.push(name.clone());
                    self::keys(value, &name, keys);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self::keys(item, within, keys)),
            _ => {}
        }
    }

    #[test]
    fn each_key_is_told_and_means_something() {
        let tcp = finding(0, 1, [10, 0, 0, 1], [10, 0, 0, 2], 9.0);
        let mut written = Vec::new();
        keys(&line(&event(&tcp), Some("north")), "", &mut written);
        assert_eq!(written, FIELDS.map(|(name, _)| name));

        let ping = Finding { protocol: 1, protocol_name: "icmp".to_owned(), ..tcp.clone() };
        let ping = line(&event(&ping), None);
        assert_eq!((&ping["top"]["src_port"], &ping["top"]["dst_port"]), (&Value::Null, &Value::Null));
        assert!(ping.get("sensor").is_none(), "{ping}");

        let mut crowd = event(&tcp);
        (crowd.state.kind, crowd.state.host) = (Kind::NewHosts, CROWD);
        let crowd = line(&crowd, None);
        assert_eq!((&crowd["kind"], crowd.get("address")), (&"new_hosts".into(), None));

        let mut gone = event(&tcp);
        (gone.said, gone.state.withdrawn) = (Said::Close, true);
        let gone = line(&gone, None);
        assert_eq!((&gone["withdrawn"], &gone["held"]), (&true.into(), &false.into()));
        assert_eq!(gone["severity"], "info");
    }
}
