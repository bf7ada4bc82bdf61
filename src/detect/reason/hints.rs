//! Techniques of MITRE ATT&CK (Enterprise) that anomalous rows look like: the table of shapes.
//!
//! An outlier alone has no technique. A shape says one where the anomaly is about what the shape is about (a share of
//! the total comes from those groups of columns) and the row and its context have the shape's proportions: targets to
//! flows, failed to all, bytes out to bytes in, value to what one in a hundred of its past exceeds. It is a hint: who
//! acts for a good reason (a monitor, a backup that moved) has the same shape. Rows without the columns have none.

use super::facts::{Facts, Places};
use super::vocabulary::Vocabulary;
use super::{Evidence, Reason};

/// A technique that a row looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Its number.
    pub technique: &'static str,
    /// Its name.
    pub name: &'static str,
}

struct Shape {
    hint: Hint,
    fits: fn(&Judged<'_>) -> bool,
}

const fn shape(technique: &'static str, name: &'static str, fits: fn(&Judged<'_>) -> bool) -> Shape {
    Shape { hint: Hint { technique, name }, fits }
}

/// Every shape; of those that fit the first is said.
const SHAPES: [Shape; 10] = [
    shape("T1110", "Brute Force", |row| row.tries_logins()),
    shape("T1498", "Network Denial of Service", |row| !row.is_tcp() && row.floods()),
    shape("T1499", "Endpoint Denial of Service", |row| row.is_tcp() && row.floods()),
    shape("T1046", "Network Service Discovery", |row| row.scans() && row.is_from_inside()),
    shape("T1595", "Active Scanning", |row| row.scans() && !row.is_from_inside()),
    shape("T1071.004", "Application Layer Protocol: DNS", |row| row.port_is(&[53]) && row.tunnels()),
    shape("T1095", "Non-Application Layer Protocol", |row| row.is_icmp() && row.tunnels()),
    shape("T1071", "Application Layer Protocol", |row| row.beacons()),
    shape("T1048", "Exfiltration Over Alternative Protocol", |row| row.carries_out()),
    shape("T1021", "Remote Services", |row| row.moves_sideways()),
];

/// The part of the total that must be about what a shape is about.
const SHARE: f64 = 0.10;
/// Times what one in a hundred of the past exceeds: far above usual.
const FAR: f64 = 5.0;
/// Payload of a probe, in bytes each way.
const LITTLE: f64 = 300.0;
/// Flows a second to one host that nobody answers; ten times as many packets a second of one flow.
const FLOOD: f64 = 10.0;
/// Flows a second to one host that are answered: below it may as well be one who tries words.
const ANSWERED_FLOOD: f64 = 50.0;

/// What of an entity (empty for the row itself) techniques are told by, how far it is from what is usual.
pub(in crate::detect) const ASKED: [(&str, &str); 9] = [
    ("dst", "flows"),
    ("dstsvc", "flows"),
    ("srcsvc", "flows"),
    ("pairsvc", "flows"),
    ("", "fwd_packets"),
    ("", "fwd_bytes"),
    ("pairsvc", "fwd_bytes"),
    ("srcsvc", "fwd_bytes"),
    ("src", "fwd_bytes"),
];

// Their places.
const DST_FLOWS: usize = 0;
const DSTSVC_FLOWS: usize = 1;
const SRCSVC_FLOWS: usize = 2;
const PAIRSVC_FLOWS: usize = 3;
const OWN_PACKETS: usize = 4;
const OWN_BYTES: usize = 5;
const PAIRSVC_BYTES: usize = 6;
const SRCSVC_BYTES: usize = 7;
const SRC_BYTES: usize = 8;

/// Services where people and machines log in: ftp, ssh, telnet, mail, ldap, smb, data bases, rdp, vnc, winrm.
const LOGINS: [u16; 22] = [
    21, 22, 23, 25, 110, 139, 143, 389, 445, 465, 587, 993, 995, 1433, 1521, 3306, 3389, 5432, 5900, 5985,
    5986, 6379,
];
/// Services that give a shell, a desktop or files: ssh (also on 2222), telnet, remote calls, smb, rdp, vnc, winrm.
const REMOTE: [u16; 10] = [22, 23, 135, 139, 445, 3389, 5900, 5985, 5986, 2222];

/// The technique that a row looks like, if any; `reason` says what its anomaly is about.
pub(in crate::detect) fn hints(reason: &Reason, facts: &Facts<'_>, vocabulary: &mut Vocabulary) -> Vec<Hint> {
    if facts.text_at(facts.at().src_ip).is_none() {
        return Vec::new();
    }
    let mut told = [None; ASKED.len()];
    for evidence in &reason.evidence {
        if let Some(asked) = vocabulary.of(&evidence.column).asked {
            told[asked].get_or_insert(evidence);
        }
    }
    let judged = Judged { reason, facts, at: facts.at(), told };
    SHAPES.iter().filter(|shape| (shape.fits)(&judged)).map(|shape| shape.hint).take(1).collect()
}

/// A row with its reason.
struct Judged<'a> {
    reason: &'a Reason,
    facts: &'a Facts<'a>,
    at: &'a Places,
    /// The strongest evidence about each of [`ASKED`].
    told: [Option<&'a Evidence>; ASKED.len()],
}

impl Judged<'_> {
    /// A number of the row, 0 where there is none.
    fn of(&self, place: Option<usize>) -> f64 {
        self.facts.number_at(place).unwrap_or(0.0)
    }

    fn is_tcp(&self) -> bool {
        self.of(self.at.protocol) == 6.0
    }

    fn is_icmp(&self) -> bool {
        matches!(self.facts.number_at(self.at.protocol), Some(1.0 | 58.0))
    }

    fn is_from_inside(&self) -> bool {
        self.facts.is_inside(self.at.src_ip)
    }

    fn to_inside(&self) -> bool {
        self.facts.is_inside(self.at.dst_ip)
    }

    fn port_is(&self, ports: &[u16]) -> bool {
        let of_row = self.of(self.at.dst_port);
        ports.iter().any(|port| of_row == f64::from(*port)) && !self.is_icmp()
    }

    /// How many times what one in a hundred of its past exceeds a statistic is, by its place among [`ASKED`]; 0 where the
    /// reason is not about it.
    fn times(&self, asked: usize) -> f64 {
        let Some(evidence) = self.told[asked] else { return 0.0 };
        match (evidence.value, evidence.usual) {
            (Some(value), Some(usual)) if !usual.low => value / usual.extreme.max(1.0),
            // Nobody has a past of this service: there the tail of the network tells far from near.
            (Some(_), None) if evidence.p.is_none_or(|p| p < 1e-4) => FAR,
            _ => 0.0,
        }
    }

    /// The most of several.
    fn most_times(&self, asked: &[usize]) -> f64 {
        asked.iter().fold(0.0, |most, asked| self.times(*asked).max(most))
    }

    /// Whether enough of the total is of these groups. To be asked last: their names are looked for among all.
    fn is_about(&self, groups: &[&str]) -> bool {
        self.reason.share(groups) >= SHARE
    }

    /// Many targets that were never met, one flow each, with next to nothing said, and the row is one of them.
    fn scans(&self) -> bool {
        let (sent, received) = (self.of(self.at.fwd_payload_bytes), self.of(self.at.bwd_payload_bytes));
        let little = sent <= LITTLE && received <= 4.0 * LITTLE;
        // Of ICMP only echoes are asked of hosts; neighbours and errors come in numbers of their own.
        let asks = !self.is_icmp() || matches!(self.facts.number_at(self.at.icmp_type), Some(8.0 | 128.0));
        // Who goes on working beside it has other flows; of flows that say nothing fewer must be new.
        let part = if sent + received == 0.0 { 0.1 } else { 0.3 };
        let met = |(horizon, flows, ends): (f64, Option<usize>, [Option<usize>; 2])| {
            let flows = self.of(flows).max(1.0);
            match (self.facts.number_at(ends[0]), self.facts.number_at(self.at.age_pairport)) {
                (Some(new), Some(age)) => age < horizon && new >= 5.0 && new >= part * flows,
                // Rows that know nothing of the first time: many, each once, most in vain.
                _ => {
                    let (all, failed) = (self.of(ends[1]), self.of(self.at.ctx_src_w1_failed));
                    horizon == 1.0 && all >= 20.0 && all >= 0.5 * flows && failed >= 0.5 * flows
                }
            }
        };
        let horizons = [
            (1.0, self.at.ctx_src_w1_flows, [self.at.ctx_src_w1_new_ends, self.at.ctx_src_w1_ends]),
            (6.0, self.at.ctx_src_w6_flows, [self.at.ctx_src_w6_new_ends, self.at.ctx_src_w6_ends]),
            (30.0, self.at.ctx_src_w30_flows, [self.at.ctx_src_w30_new_ends, self.at.ctx_src_w30_ends]),
        ];
        little
            && asks
            && horizons.into_iter().any(met)
            && self.is_about(&["fan_src", "fan_srcsvc", "new_src", "new_srcsvc", "fail_src", "fail_srcsvc"])
    }

    /// One host gets so many flows on so few ports, or so many packets in one without an answer, as it never gets.
    fn floods(&self) -> bool {
        let Some(window) = self.facts.window() else { return false };
        let flows = self.of(self.at.ctx_dstsvc_w1_flows);
        // More comes back than the refusals of all of them.
        let answered = self.of(self.at.ctx_dstsvc_w1_bwd_bytes) > 2.0 * LITTLE / 3.0 * flows;
        let rate = if answered { ANSWERED_FLOOD } else { FLOOD };
        let ports = || self.of(self.at.ctx_dst_w1_ports).min(self.of(self.at.ctx_pair_w1_ports)).max(1.0);
        let many = flows >= rate * window
            && flows >= 30.0 * ports()
            && self.most_times(&[DST_FLOWS, DSTSVC_FLOWS, SRCSVC_FLOWS]) >= FAR;
        let sent = self.of(self.at.fwd_packets);
        let packets = || {
            sent >= 10.0 * FLOOD * window
                && (self.is_icmp() || self.of(self.at.bwd_packets) <= 0.1 * sent)
                && self.most_times(&[OWN_PACKETS, OWN_BYTES, PAIRSVC_BYTES, SRCSVC_BYTES]) >= FAR
        };
        (many || packets())
            && self.is_about(&[
                "vol_dst",
                "vol_src",
                "vol_srcsvc",
                "vol_pairsvc",
                "fan_dst",
                "fail_dst",
                "shape_srcsvc",
            ])
    }

    /// Flow after flow to one place to log in, each answered and short.
    fn tries_logins(&self) -> bool {
        if !self.port_is(&LOGINS) {
            return false;
        }
        let flows = self.of(self.at.ctx_pairsvc_w6_flows);
        let bytes = self.of(self.at.ctx_pairsvc_w6_fwd_bytes) + self.of(self.at.ctx_pairsvc_w6_bwd_bytes);
        flows >= 5.0
            && self.most_times(&[PAIRSVC_FLOWS, SRCSVC_FLOWS]) >= 2.0
            && self.of(self.at.bwd_payload_bytes) > 0.0
            && bytes / flows.max(1.0) < 20_000.0
            && self.is_about(&[
                "vol_srcsvc",
                "vol_pairsvc",
                "fail_pairsvc",
                "fail_srcsvc",
                "vol_dst",
                "vol_src",
            ])
    }

    /// Flows to one host outside that start like clockwork.
    fn beacons(&self) -> bool {
        let regular = self.facts.number_at(self.at.reg_pairsvc_cv8).is_some_and(|cv| cv <= 0.35);
        let slow = self.facts.number_at(self.at.reg_pairsvc_gap8).is_some_and(|gap| gap >= 1.0);
        regular
            && slow
            && self.is_from_inside()
            && !self.to_inside()
            && self.of(self.at.bwd_packets) > 0.0
            && self.is_about(&["reg", "young"])
    }

    /// More packets a second than a tunnel through small packets makes.
    fn is_bulk(&self) -> bool {
        self.facts.window().is_some_and(|window| self.of(self.at.fwd_packets) >= 10.0 * FLOOD * window)
    }

    /// Much more than usual through a service that carries little.
    fn tunnels(&self) -> bool {
        let answered = self.of(self.at.bwd_packets) >= 0.5 * self.of(self.at.fwd_packets)
            && self.of(self.at.bwd_packets) > 0.0;
        // What is asked for with little and answered with much carries nothing out.
        let both = self.of(self.at.bwd_bytes) <= 4.0 * self.of(self.at.fwd_bytes);
        both && !self.is_bulk()
            && self.most_times(&[PAIRSVC_BYTES, SRCSVC_BYTES, OWN_BYTES]) >= FAR
            && answered
            && self.is_about(&["vol_srcsvc", "vol_pairsvc", "shape_srcsvc"])
    }

    /// Far more than usual out to a host outside that is new.
    fn carries_out(&self) -> bool {
        let out = self.of(self.at.fwd_bytes);
        !self.is_icmp()
            && self.is_from_inside()
            && !self.to_inside()
            && self.facts.number_at(self.at.age_pair).is_some_and(|age| age < 60.0)
            && self.most_times(&[SRC_BYTES, SRCSVC_BYTES, PAIRSVC_BYTES, OWN_BYTES]) >= FAR
            && out >= 3.0 * self.of(self.at.bwd_bytes)
            && self.is_about(&["vol_src", "vol_srcsvc", "vol_pairsvc", "shape_srcsvc"])
    }

    /// A shell, a desktop or files of a host inside, by one that never did so, and it answers.
    fn moves_sideways(&self) -> bool {
        let new = self.facts.number_at(self.at.age_pairsvc).is_some_and(|age| age < 6.0);
        self.is_from_inside()
            && self.to_inside()
            && self.is_tcp()
            && self.port_is(&REMOTE)
            && new
            && self.of(self.at.fwd_payload_bytes) > LITTLE
            && self.of(self.at.bwd_payload_bytes) > LITTLE
            && self.is_about(&["new_src", "new_srcsvc", "age"])
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Lookup;
    use super::super::{Group, Part, Usual};
    use super::*;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};

    /// A row with these numbers, whose anomaly is about one group and says one thing of one column.
    fn said(
        src: &str,
        dst: &str,
        numbers: &[(&str, f64)],
        group: &'static str,
        column: &str,
    ) -> Vec<&'static str> {
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let mut columns = vec![("src_ip", text(src)), ("dst_ip", text(dst))];
        columns.extend(
            numbers.iter().map(|(name, n)| (*name, Arc::new(Float64Array::from(vec![*n])) as ArrayRef)),
        );
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let settings = crate::flow::row_settings(
            &crate::flow::FlowSpec::default(),
            &crate::packet::PacketSpec::default(),
        );
        let schema = rows.schema().as_ref().clone().with_metadata(settings.metadata());
        let rows = rows.with_schema(Arc::new(schema)).unwrap();
        let lookup = Lookup::new(&rows);
        let value = lookup.row(0).number(column);
        let evidence = Evidence {
            column: column.to_owned().into(),
            entity: String::new(),
            value,
            text: None,
            usual: Some(Usual { median: 1.0, extreme: 2.0, low: false, own: true }),
            p: Some(1e-6),
            nats: 12.0,
            share: 0.5,
        };
        let group = Group { name: group, nats: 10.0, share: 0.5 };
        let part = Part { name: "part", nats: 20.0, groups: vec![group] };
        let reason = Reason {
            score: 9.0,
            total: 20.0,
            at_zero: None,
            parts: vec![part],
            evidence: vec![evidence],
            written: 1,
            line: String::new(),
            hints: vec![],
        };
        hints(&reason, &lookup.row(0), &mut Vocabulary::default()).iter().map(|hint| hint.technique).collect()
    }

    const SCAN: [(&str, f64); 8] = [
        ("protocol", 6.0),
        ("dst_port", 3389.0),
        ("fwd_payload_bytes", 0.0),
        ("bwd_payload_bytes", 0.0),
        ("ctx_src_w1_flows", 41.0),
        ("ctx_src_w1_new_ends", 40.0),
        ("age_pairport", 0.0),
        ("ctx_src_w1_peers", 41.0),
    ];

    #[test]
    fn a_scan_is_discovery_is_from_inside_and_scanning_from_outside() {
        let of = |src| said(src, "10.0.0.9", &SCAN, "fan_src", "ctx_src_w1_peers");
        assert_eq!(of("10.0.0.1"), ["T1046"]);
        assert_eq!(of("203.0.113.9"), ["T1595"]);
    }

    #[test]
    fn what_is_asked_for_has_its_place() {
        let places = [
            (DST_FLOWS, ("dst", "flows")),
            (DSTSVC_FLOWS, ("dstsvc", "flows")),
            (SRCSVC_FLOWS, ("srcsvc", "flows")),
            (PAIRSVC_FLOWS, ("pairsvc", "flows")),
            (OWN_PACKETS, ("", "fwd_packets")),
            (OWN_BYTES, ("", "fwd_bytes")),
            (PAIRSVC_BYTES, ("pairsvc", "fwd_bytes")),
            (SRCSVC_BYTES, ("srcsvc", "fwd_bytes")),
            (SRC_BYTES, ("src", "fwd_bytes")),
        ];
        for (place, asked) in places {
            assert_eq!(ASKED[place], asked);
        }
    }

    #[test]
    fn an_outlier_alone_has_no_technique() {
        // About something else than targets; with payload; of a port that is long known.
        assert!(said("10.0.0.1", "10.0.0.9", &SCAN, "age", "ctx_src_w1_peers").is_empty());
        for (column, value) in
            [("fwd_payload_bytes", 9e4), ("age_pairport", 60.0), ("ctx_src_w1_new_ends", 3.0)]
        {
            let mut other = SCAN;
            other.iter_mut().filter(|(name, _)| *name == column).for_each(|(_, number)| *number = value);
            let hints = said("10.0.0.1", "10.0.0.9", &other, "fan_src", "ctx_src_w1_peers");
            assert!(hints.is_empty(), "{column} {hints:?}");
        }
        assert!(said("10.0.0.1", "8.8.8.8", &[], "shape_srcsvc", "fwd_bytes").is_empty());
    }

    #[test]
    fn floods_logins_beacons_and_what_is_carried_out_are_told_apart() {
        let flood = [
            ("protocol", 6.0),
            ("dst_port", 443.0),
            ("ctx_dstsvc_w1_flows", 5000.0),
            ("ctx_srcsvc_w1_flows", 500.0),
            ("ctx_dst_w1_ports", 1.0),
            ("ctx_pair_w1_ports", 1.0),
        ];
        assert_eq!(said("8.8.8.8", "10.0.0.9", &flood, "vol_dst", "ctx_srcsvc_w1_flows"), ["T1499"]);
        let login = [
            ("protocol", 6.0),
            ("dst_port", 22.0),
            ("bwd_payload_bytes", 900.0),
            ("ctx_pairsvc_w6_flows", 30.0),
            ("ctx_pairsvc_w6_fwd_bytes", 60_000.0),
        ];
        assert_eq!(said("8.8.8.8", "10.0.0.9", &login, "vol_pairsvc", "ctx_pairsvc_w6_flows"), ["T1110"]);
        let beacon =
            [("protocol", 6.0), ("reg_pairsvc_cv8", 0.1), ("reg_pairsvc_gap8", 30.0), ("bwd_packets", 3.0)];
        assert_eq!(said("10.0.0.1", "8.8.8.8", &beacon, "reg", "reg_pairsvc_cv8"), ["T1071"]);
        assert!(said("10.0.0.1", "10.0.0.9", &beacon, "reg", "reg_pairsvc_cv8").is_empty());
        let out = [("protocol", 6.0), ("age_pair", 0.0), ("fwd_bytes", 9e6), ("bwd_bytes", 1e5)];
        assert_eq!(said("10.0.0.1", "8.8.8.8", &out, "vol_src", "fwd_bytes"), ["T1048"]);
        assert!(said("8.8.8.8", "10.0.0.1", &out, "vol_src", "fwd_bytes").is_empty());
    }
}
