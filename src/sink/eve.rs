//! Alerts as Suricata writes them: `alerts.eve.jsonl`, one event of type `alert` a line, valid against
//! Suricata's schema (etc/schema.json), so that what reads Suricata's alerts reads these.
//!
//! What the schema leaves no room for stands in `alert.metadata` (texts) and `alert.context`. `flow.start` is that of
//! the flow, as Suricata means it and readers make the start of an event of it. Counts under `flow`, and its end, are
//! those of the row, which is the part of the flow within its window; where that begins is in the context
//! (`row_start`). Bytes are those of IP datagrams; Suricata counts frames.
//!
//! A sensor that has a name is `host`, as Suricata's `sensor-name` is; `in_iface` stands in events of live runs.
//!
//! Of many odd rows of a window those that only say of how many they are one are no events, nor are those that a rule of the
//! allow-list mutes when they are written. The others name the incident that they
//! came to, in `alert.metadata.netweir_incident`, and are as severe as that was at the end of their window; a row that goes to
//! another one later is said in the log of incidents.
//!
//! Why the row is odd stands in `alert.metadata.netweir_reason`, the strongest three of what its columns say; what the
//! total of the score consists of in `alert.context.netweir`. A technique of ATT&CK that it looks like is a hint, and
//! said to be one: `mitre_technique_id` with `netweir_hint`.

use std::collections::BTreeSet;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::alert::{Alerts, Flows, setting};
use super::event::Events;
use super::operator::End;
use super::{AnyError, Judge, SinkError};
use crate::detect::THRESHOLD;
use crate::draft::Draft;
use crate::incident::Muting;
use crate::row::schema::WINDOW;

/// Alerts in Suricata's format. In a live run the file is followed while it grows, so each batch of rows is
/// flushed. Rows that are not flows (tables of other columns) are no events: for them the file stays empty.
pub struct EveLog {
    out: Draft,
    judge: Judge,
    /// Length of windows, as the schema says it.
    window: Option<String>,
    /// No events of rows that a rule mutes when they come.
    muting: Option<Muting>,
    events: Events,
    /// Lines that are not in the file yet.
    lines: Vec<u8>,
}

/// Lines are written once they are so many bytes.
const AT_ONCE: usize = 1 << 17;

impl EveLog {
    /// Begins the file for scored rows of `schema`.
    pub fn create(out: Draft, schema: &SchemaRef, judge: Judge) -> EveLog {
        let window = setting(schema, WINDOW);
        let events = Events::new(&judge, window.as_deref());
        EveLog { out, judge, window, muting: None, events, lines: Vec::new() }
    }

    /// The same without events of rows that rules mute.
    #[must_use]
    pub fn muted_by(self, muting: Option<Muting>) -> EveLog {
        EveLog { muting, ..self }
    }

    fn write(&mut self, alerts: &Alerts, flows: &Flows, muted: &BTreeSet<usize>) -> std::io::Result<()> {
        for row in 0..alerts.numbers.len() {
            if muted.is_empty() || !muted.contains(&alerts.place(row)) {
                self.events.write(&mut self.lines, alerts, flows, row);
                self.lines.push(b'\n');
            }
            if self.lines.len() >= AT_ONCE || row + 1 == alerts.numbers.len() {
                self.out.write_all(&self.lines)?;
                self.out.flush()?;
                self.lines.clear();
            }
        }
        Ok(())
    }
}

impl End for EveLog {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError> {
        let alerts = Alerts::of(rows, 0).map_err(|error| SinkError::rows(self.out.path(), &error))?;
        if let Some(alerts) = &alerts
            && let Some(flows) = &alerts.flows
        {
            // Where it changes while the run goes on, rows say which one they were marked by.
            let marked = setting(rows.schema_ref(), THRESHOLD).and_then(|text| text.parse().ok());
            if let Some(threshold) = marked.filter(|marked| *marked != self.judge.threshold) {
                self.judge.threshold = threshold;
                self.events = Events::new(&self.judge, self.window.as_deref());
            }
            let muted = self.muting.as_ref().map_or(Ok(BTreeSet::new()), |muting| muting.muted(rows));
            let muted = muted.map_err(|error| SinkError::rows(self.out.path(), &error))?;
            self.write(alerts, flows, &muted)
                .map_err(|source| SinkError::Io { path: self.out.path().to_owned(), source })?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        Ok(self.out.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::sink::community::{Ends, id_of_row};
    use crate::sink::samples;

    /// What Suricata's schema says about alert events, as far as they are written here.
    const TOP: &[&str] = &[
        "timestamp",
        "flow_id",
        "in_iface",
        "event_type",
        "host",
        "vlan",
        "src_ip",
        "src_port",
        "dest_ip",
        "dest_port",
        "proto",
        "ip_v",
        "icmp_type",
        "icmp_code",
        "community_id",
        "direction",
        "alert",
        "flow",
    ];
    const ALERT: &[&str] =
        &["action", "gid", "signature_id", "rev", "signature", "category", "severity", "metadata", "context"];
    const FLOW: &[&str] = &[
        "pkts_toserver",
        "pkts_toclient",
        "bytes_toserver",
        "bytes_toclient",
        "start",
        "end",
        "src_ip",
        "dest_ip",
        "src_port",
        "dest_port",
    ];

    fn keys_are_among(object: &Value, allowed: &[&str]) {
        for key in object.as_object().unwrap().keys() {
            assert!(allowed.contains(&key.as_str()), "{key} is not in the schema");
        }
    }

    /// `^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+[+\-]\d+$`
    fn is_stamp(value: &Value) -> bool {
        let text = value.as_str().unwrap();
        let Some((seconds, rest)) = text.split_once('.') else { return false };
        let Some((fraction, zone)) = rest.split_once(['+', '-']) else { return false };
        let shape: String = seconds.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        shape == "0000-00-00T00:00:00" && digits(fraction) && digits(zone)
    }

    fn is_valid(event: &Value) {
        keys_are_among(event, TOP);
        assert!(is_stamp(&event["timestamp"]), "{event}");
        assert_eq!((&event["event_type"], &event["direction"]), (&"alert".into(), &"to_server".into()));
        assert!(event["flow_id"].as_u64().unwrap() < 1 << 51);
        let proto = event["proto"].as_str().unwrap();
        let ports = matches!(proto, "TCP" | "UDP" | "SCTP");
        for object in [event, &event["flow"]] {
            assert!(object["src_ip"].is_string() && object["dest_ip"].is_string());
            assert_eq!(
                (object["src_port"].is_u64(), object["dest_port"].is_u64()),
                (ports, ports),
                "{event}"
            );
        }
        for key in ["icmp_type", "icmp_code"] {
            assert!(event.get(key).is_none_or(Value::is_u64));
        }
        assert!(matches!(event["ip_v"].as_u64(), Some(4 | 6)));
        assert!(event.get("vlan").is_none_or(|vlan| vlan.as_array().unwrap().iter().all(Value::is_u64)));
        let alert = &event["alert"];
        keys_are_among(alert, ALERT);
        assert_eq!((&alert["action"], &alert["gid"]), (&"allowed".into(), &7777.into()));
        assert!((1..=4).contains(&alert["severity"].as_u64().unwrap()));
        for key in ["signature_id", "rev"] {
            assert!(alert[key].is_u64());
        }
        for values in alert["metadata"].as_object().unwrap().values() {
            assert!(values.as_array().unwrap().iter().all(Value::is_string));
        }
        assert!(
            alert["context"].is_object() && alert["signature"].is_string() && alert["category"].is_string()
        );
        let flow = &event["flow"];
        keys_are_among(flow, FLOW);
        assert!(
            FLOW[..4].iter().all(|key| flow[key].is_u64())
                && is_stamp(&flow["start"])
                && is_stamp(&flow["end"])
        );
    }

    fn judge() -> Judge {
        Judge { model: "default".to_owned(), threshold: 0.5, sensor: None, interface: None }
    }

    fn log(batches: &[RecordBatch]) -> String {
        log_by(judge(), batches)
    }

    fn log_by(judge: Judge, batches: &[RecordBatch]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out/alerts.eve.jsonl");
        let mut log =
            Box::new(EveLog::create(Draft::growing(&path, None).unwrap(), &batches[0].schema(), judge));
        for batch in batches {
            log.take(batch).unwrap();
        }
        // Who follows the file sees each line once its batch was taken.
        let text = std::fs::read_to_string(&path).unwrap();
        log.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        text
    }

    #[test]
    fn every_anomaly_is_a_valid_event() {
        let rows = samples::scored(500, 2);
        let text = log(std::slice::from_ref(&rows));
        let anomalies = rows.column_by_name("is_anomaly").unwrap();
        let anomalies = anomalies.as_any().downcast_ref::<arrow::array::BooleanArray>().unwrap().true_count();
        assert_eq!(text.lines().count(), anomalies);
        assert!(anomalies > 20);
        text.lines().for_each(|line| is_valid(&serde_json::from_str(line).unwrap()));
        assert_eq!(text, log(&samples::cut(&rows, vec![0, 3, 77, 300], 5)));
    }

    #[test]
    fn of_many_rows_those_that_say_so_are_no_events() {
        let rows = samples::alerts();
        let mut columns = rows.columns().to_vec();
        let reasons = rows.schema().index_of("reasons").unwrap();
        let texts = [Some("{\"one_of\":700}"), None, Some("{\"one_of\":70}")];
        columns[reasons] = std::sync::Arc::new(arrow::array::StringArray::from(texts.to_vec()));
        let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
        let text = log(&[rows]);
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.iter().map(|event| &event["src_ip"]).collect::<Vec<_>>(), ["2001:db8::1"]);
    }

    #[test]
    fn an_event_says_what_the_row_says() {
        let text = log(&[samples::alerts()]);
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        events.iter().for_each(is_valid);
        let tcp = &events[0];
        assert_eq!(tcp["timestamp"], "2026-11-22T09:30:00.250000+0000");
        assert_eq!(tcp["flow_id"], (1u64 << 51) - 1);
        assert_eq!(tcp["alert"]["context"]["netweir"]["flow_id"], u64::MAX.to_string());
        assert_eq!(tcp["community_id"], "1:ndvcMKGWRmX1n18czVqf2jT+LWA=");
        assert_eq!((&tcp["vlan"][0], &tcp["alert"]["severity"]), (&120.into(), &1.into()));
        assert_eq!(tcp["alert"]["metadata"]["netweir_score"][0], "0.7600");
        assert_eq!(tcp["alert"]["metadata"]["netweir_window"][0], "10s");
        assert_eq!(
            (&tcp["flow"]["pkts_toclient"], &tcp["flow"]["bytes_toserver"]),
            (&39.into(), &8210.into())
        );
        assert_eq!(tcp["flow"]["start"], "2026-11-22T09:29:50.000000+0000");
        assert_eq!(tcp["alert"]["context"]["netweir"]["row_start"], "2026-11-22T09:30:00.249999+0000");
        assert!(tcp.get("host").is_none() && tcp.get("in_iface").is_none());
        let (metadata, context) = (&tcp["alert"]["metadata"], &tcp["alert"]["context"]["netweir"]);
        assert_eq!(metadata["netweir_reason"][0], "10.1.2.3: 41 peers in 10 s; usual 3, p99 6");
        assert_eq!(metadata["mitre_technique_id"], serde_json::json!(["T1046"]));
        assert_eq!(metadata["netweir_hint"], serde_json::json!(["T1046 Network Service Discovery"]));
        assert_eq!(context["parts"][1], serde_json::json!({"name": "volume", "nats": 6.25}));
        assert_eq!(context["total"], 17.25);
        // A row without a reason, and a text that is none.
        for event in &events[1..] {
            assert!(event["alert"]["metadata"].get("netweir_reason").is_none());
            assert!(event["alert"]["context"]["netweir"].get("parts").is_none());
        }
        let ping = &events[1];
        assert_eq!((&ping["proto"], &ping["icmp_type"]), (&"IPv6-ICMP".into(), &129.into()));
        assert!(ping.get("src_port").is_none() && ping["flow"].get("src_port").is_none());
        // A scoped address is no address that other tools would hash.
        assert!(events[2].get("community_id").is_none());
    }

    #[test]
    fn events_name_their_sensor_and_interface() {
        let (sensor, interface) = (Some("north \"1\"".to_owned()), Some("eth0".to_owned()));
        let text = log_by(Judge { sensor, interface, ..judge() }, &[samples::alerts()]);
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            is_valid(&event);
            assert_eq!((&event["host"], &event["in_iface"]), (&"north \"1\"".into(), &"eth0".into()));
        }
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn request_and_reply_have_one_community_id() {
        let (a, b) = ("10.0.0.1", "10.0.0.2");
        for (protocol, request, reply) in [(1, 8, 0), (1, 13, 14), (58, 128, 129)] {
            let id = |kind| id_of_row(protocol, a, b, Ends::Message(kind, 0)).unwrap();
            assert_eq!(id(request), id(reply), "{protocol} {request}");
        }
    }

    #[test]
    fn tables_are_no_events() {
        let rows = samples::scored(100, 2);
        let columns: Vec<usize> = ["score", "is_anomaly", "partition", "fwd_bytes"]
            .iter()
            .map(|name| rows.schema().index_of(name).unwrap())
            .collect();
        assert_eq!(log(&[rows.project(&columns).unwrap()]), "");
    }
}
