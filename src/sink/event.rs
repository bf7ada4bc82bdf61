//! One event of `alerts.eve.jsonl`, object by object: keys stand in the order of their objects, those of metadata in that of
//! the alphabet.

use std::fmt::Write as _;

use arrow::array::Array;

use super::Judge;
use super::alert::{Alerts, Flows};
use super::community::{Ends, id_of_row};
use super::json::{Json, Text, key};
use super::protocols::protocol_name;
use super::stamps::{Stamp, Stamps};
use crate::detect::reason::Repeated;
use crate::detect::reason::digits::fixed;
use crate::incident::Severity;

/// Not 1, which is that of Suricata's own rules.
const GENERATOR: u32 = 7777;

/// The one kind of finding so far: a row whose score is above the threshold. Its number is of those that Suricata leaves
/// to rules of one's own (1,000,000 to 1,999,999): readers that look at no generator take it for no other's rule.
const ANOMALOUS_FLOW: (u32, u32, &str) = (1_007_000, 1, "NETWEIR anomalous flow");

/// Suricata keeps 51 bits of flow ids, since more are lost in readers that take numbers for doubles.
const FLOW_ID: u64 = (1 << 51) - 1;

/// Writes events of a run.
pub(super) struct Events {
    threshold: f64,
    common: Common,
    stamps: Stamps,
    /// What is put together before it is written.
    word: String,
}

/// What all events of a run have in common, as it stands in them.
struct Common {
    /// What is between the id of the flow and what the event says of it: where it comes from.
    origin: Vec<u8>,
    /// What is between the flow and the severity.
    alert: Vec<u8>,
    /// Entries of its metadata: of the model, and of the threshold and the window.
    model: Vec<u8>,
    threshold: Vec<u8>,
    /// The threshold in the context.
    level: Vec<u8>,
}

impl Common {
    fn of(judge: &Judge, window: Option<&str>) -> Common {
        let [mut origin, mut alert, mut model, mut threshold, mut level] = [const { Vec::new() }; 5];
        let mut json = Json::on(&mut origin);
        if let Some(interface) = &judge.interface {
            json.text(key!("in_iface"), interface);
        }
        json.text(key!("event_type"), "alert");
        if let Some(sensor) = &judge.sensor {
            json.text(key!("host"), sensor);
        }
        let mut json = Json::on(&mut alert);
        let (signature_id, rev, signature) = ANOMALOUS_FLOW;
        json.text(key!("direction"), "to_server");
        json.key(key!("alert"));
        json.open();
        json.text(key!("action"), "allowed");
        json.whole(key!("gid"), GENERATOR.into());
        json.whole(key!("signature_id"), signature_id.into());
        json.whole(key!("rev"), rev.into());
        json.text(key!("signature"), signature);
        json.text(key!("category"), "A Network Anomaly was detected");
        Json::on(&mut model).one_item(key!("netweir_model"), Text::Any(&judge.model));
        let mut json = Json::on(&mut threshold);
        json.one_item(key!("netweir_threshold"), Text::Plain(&format!("{:.4}", judge.threshold)));
        if let Some(window) = window {
            json.one_item(key!("netweir_window"), Text::Any(window));
        }
        Json::on(&mut level).number(key!("threshold"), judge.threshold);
        Common { origin, alert, model, threshold, level }
    }
}

/// A row, and what several objects of its event say.
struct Event<'a> {
    flows: &'a Flows,
    row: usize,
    score: f64,
    severity: Severity,
    incident: Option<u64>,
    partition: &'a str,
    reason: Repeated<'a>,
    ends: Ends,
    end: Stamp,
}

impl Events {
    /// By a judge, of windows of this length.
    pub(super) fn new(judge: &Judge, window: Option<&str>) -> Events {
        let (common, stamps) = (Common::of(judge, window), Stamps::default());
        Events { threshold: judge.threshold, common, stamps, word: String::new() }
    }

    /// Writes that of a row.
    pub(super) fn write(&mut self, lines: &mut Vec<u8>, alerts: &Alerts, flows: &Flows, row: usize) {
        let score = alerts.scores.value(row);
        let of_row = || Severity::of_row(score, self.threshold);
        let event = Event {
            flows,
            row,
            score,
            severity: alerts.severity(row).unwrap_or_else(of_row),
            incident: alerts.incident(row),
            partition: alerts.partitions.value(row),
            // Text of another writer that is no reason says nothing.
            reason: alerts.reason(row).and_then(|text| Repeated::read(text).ok()).unwrap_or_default(),
            ends: ends(flows, row),
            end: self.stamps.of(flows.row_end.value(row)),
        };
        let mut json = Json::on(lines);
        json.open();
        event.origin(&mut json, self);
        event.alert(&mut json, self);
        event.flow(&mut json, self);
        json.close();
    }
}

impl Event<'_> {
    /// Its source and destination, as events have them.
    fn addresses(&self) -> (&str, &str) {
        (self.flows.src_ip.value(self.row), self.flows.dst_ip.value(self.row))
    }

    /// When, where, and who with whom.
    fn origin(&self, json: &mut Json<'_>, Events { common, word, .. }: &mut Events) {
        let Event { flows, row, .. } = *self;
        let (src_ip, dest_ip) = self.addresses();
        let protocol = flows.protocol.value(row);
        json.plain(key!("timestamp"), &self.end);
        json.whole(key!("flow_id"), flows.flow_id.value(row) & FLOW_ID);
        json.piece(&common.origin);
        if flows.vlan.is_valid(row) {
            json.key(key!("vlan"));
            json.list(|json| json.whole_item(flows.vlan.value(row).into()));
        }
        json.text(key!("src_ip"), src_ip);
        if let Ends::Ports(source, _) = self.ends {
            json.whole(key!("src_port"), source.into());
        }
        json.text(key!("dest_ip"), dest_ip);
        if let Ends::Ports(_, destination) = self.ends {
            json.whole(key!("dest_port"), destination.into());
        }
        json.text(key!("proto"), protocol_name(protocol, flows.protocol_name.value(row), word));
        json.whole(key!("ip_v"), flows.ip_version.value(row).into());
        if flows.icmp_type.is_valid(row) {
            json.whole(key!("icmp_type"), flows.icmp_type.value(row).into());
        }
        if flows.icmp_code.is_valid(row) {
            json.whole(key!("icmp_code"), flows.icmp_code.value(row).into());
        }
        if let Some(id) = id_of_row(protocol, src_ip, dest_ip, self.ends) {
            json.plain(key!("community_id"), &id);
        }
    }

    fn alert(&self, json: &mut Json<'_>, events: &mut Events) {
        json.piece(&events.common.alert);
        json.whole(key!("severity"), self.severity.eve().into());
        self.metadata(json, events);
        self.context(json, events);
        json.close();
    }

    /// Lists of texts, as Suricata has them.
    fn metadata(&self, json: &mut Json<'_>, Events { common, word, .. }: &mut Events) {
        json.key(key!("metadata"));
        json.open();
        let Repeated { hints, evidence, .. } = &self.reason;
        if !hints.is_empty() {
            json.key(key!("mitre_technique_id"));
            json.list(|json| hints.iter().for_each(|hint| json.item(&[Text::read(&hint.technique)])));
            json.key(key!("netweir_hint"));
            json.list(|json| {
                for hint in hints {
                    json.item(&[Text::read(&hint.technique), Text::Plain(" "), Text::read(&hint.name)]);
                }
            });
        }
        if let Some(incident) = self.incident {
            word.clear();
            let _ = write!(word, "{incident:016x}");
            json.one_item(key!("netweir_incident"), Text::Plain(word));
        }
        json.piece(&common.model);
        json.one_item(key!("netweir_partition"), Text::Any(self.partition));
        if !evidence.is_empty() {
            json.key(key!("netweir_reason"));
            json.list(|json| {
                for (entity, words) in evidence {
                    json.item(&[Text::read(entity), Text::Plain(": "), Text::read(words)]);
                }
            });
        }
        word.clear();
        fixed(word, self.score, 4);
        json.one_item(key!("netweir_score"), Text::Plain(word));
        json.piece(&common.threshold);
        json.close();
    }

    /// What has a type of its own.
    fn context(&self, json: &mut Json<'_>, Events { common, stamps, .. }: &mut Events) {
        let Event { flows, row, reason, .. } = self;
        let row = *row;
        json.key(key!("context"));
        json.open();
        json.key(key!("netweir"));
        json.open();
        json.number(key!("score"), self.score);
        json.piece(&common.level);
        json.plain(key!("severity"), self.severity.name().as_bytes());
        json.plain(key!("window_start"), &stamps.of(flows.window_start.value(row)));
        json.plain(key!("row_start"), &stamps.of(flows.row_start.value(row)));
        // All 64 bits, as text.
        json.whole_as_text(key!("flow_id"), flows.flow_id.value(row));
        json.text(key!("service"), flows.service.value(row));
        if flows.conn_state.is_valid(row) {
            json.text(key!("conn_state"), flows.conn_state.value(row));
        }
        if let Some(total) = reason.total {
            json.nats(key!("total"), total);
        }
        if !reason.parts.is_empty() {
            json.key(key!("parts"));
            json.list(|json| {
                for (name, nats) in &reason.parts {
                    json.comma();
                    json.open();
                    json.read(key!("name"), name);
                    json.nats(key!("nats"), *nats);
                    json.close();
                }
            });
        }
        json.close();
        json.close();
    }

    fn flow(&self, json: &mut Json<'_>, Events { stamps, .. }: &mut Events) {
        let Event { flows, row, .. } = *self;
        let (src_ip, dest_ip) = self.addresses();
        json.key(key!("flow"));
        json.open();
        json.whole(key!("pkts_toserver"), flows.fwd_packets.value(row));
        json.whole(key!("pkts_toclient"), flows.bwd_packets.value(row));
        json.whole(key!("bytes_toserver"), flows.fwd_bytes.value(row));
        json.whole(key!("bytes_toclient"), flows.bwd_bytes.value(row));
        json.plain(key!("start"), &stamps.of(flows.flow_start.value(row)));
        json.plain(key!("end"), &self.end);
        json.text(key!("src_ip"), src_ip);
        json.text(key!("dest_ip"), dest_ip);
        if let Ends::Ports(source, destination) = self.ends {
            json.whole(key!("src_port"), source.into());
            json.whole(key!("dest_port"), destination.into());
        }
        json.close();
    }
}

/// What tells a row's ends apart. Suricata has ports for TCP, UDP and SCTP only.
fn ends(flows: &Flows, row: usize) -> Ends {
    match flows.protocol.value(row) {
        6 | 17 | 132 => Ends::Ports(flows.src_port.value(row), flows.dst_port.value(row)),
        1 | 58 if flows.icmp_type.is_valid(row) && flows.icmp_code.is_valid(row) => {
            Ends::Message(flows.icmp_type.value(row), flows.icmp_code.value(row))
        }
        _ => Ends::Bare,
    }
}
