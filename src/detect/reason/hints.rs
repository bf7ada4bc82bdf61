//! Techniques of MITRE ATT&CK (Enterprise) that anomalous rows look like: the table of shapes.
//!
//! An outlier alone has no technique. A shape says one where the anomaly is about what the shape is about (a share of
//! the total comes from those groups of columns) and the row and its context have the shape's proportions: targets to
//! flows, failed to all, bytes out to bytes in, value to what one in a hundred of its past exceeds. It is a hint: who
//! acts for a good reason (a monitor, a backup that moved) has the same shape. Rows without the columns have none.

use super::Reason;
use super::facts::{Facts, is_inside};

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
    shape("T1498", "Network Denial of Service", |row| row.floods() && !row.is_tcp()),
    shape("T1499", "Endpoint Denial of Service", |row| row.floods() && row.is_tcp()),
    shape("T1046", "Network Service Discovery", |row| row.scans() && row.from_inside()),
    shape("T1595", "Active Scanning", |row| row.scans() && !row.from_inside()),
    shape("T1110", "Brute Force", |row| row.tries_logins()),
    shape("T1071.004", "Application Layer Protocol: DNS", |row| row.tunnels() && row.port_is(&[53])),
    shape("T1095", "Non-Application Layer Protocol", |row| row.tunnels() && row.is_icmp()),
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
/// Flows a second to one host that only a flood has.
const FLOOD: f64 = 10.0;

/// Services where people and machines log in: ftp, ssh, telnet, mail, ldap, smb, data bases, rdp, vnc, winrm.
const LOGINS: [u16; 22] = [
    21, 22, 23, 25, 110, 139, 143, 389, 445, 465, 587, 993, 995, 1433, 1521, 3306, 3389, 5432, 5900, 5985,
    5986, 6379,
];
/// Of them those that give a shell, a desktop or files.
const REMOTE: [u16; 10] = [22, 23, 135, 139, 445, 3389, 5900, 5985, 5986, 2222];

/// The technique that a row looks like, if any; `reason` says what its anomaly is about.
pub(in crate::detect) fn hints(reason: &Reason, facts: &Facts<'_>) -> Vec<Hint> {
    if facts.text("src_ip").is_none() {
        return Vec::new();
    }
    let judged = Judged { reason, facts };
    SHAPES.iter().filter(|shape| (shape.fits)(&judged)).map(|shape| shape.hint).take(1).collect()
}

/// A row with its reason.
struct Judged<'a> {
    reason: &'a Reason,
    facts: &'a Facts<'a>,
}

impl Judged<'_> {
    /// A number of the row, 0 where there is none.
    fn of(&self, column: &str) -> f64 {
        self.facts.number(column).unwrap_or(0.0)
    }

    fn is_tcp(&self) -> bool {
        self.of("protocol") == 6.0
    }

    fn is_icmp(&self) -> bool {
        matches!(self.facts.number("protocol"), Some(1.0 | 58.0))
    }

    fn from_inside(&self) -> bool {
        self.facts.text("src_ip").is_some_and(is_inside)
    }

    fn to_inside(&self) -> bool {
        self.facts.text("dst_ip").is_some_and(is_inside)
    }

    fn port_is(&self, ports: &[u16]) -> bool {
        !self.is_icmp() && ports.iter().any(|port| self.of("dst_port") == f64::from(*port))
    }

    /// How many times what one in a hundred of its past exceeds a statistic is; 0 where the reason is not about it.
    fn times(&self, entity: &str, statistic: &str) -> f64 {
        let Some(evidence) = self.reason.about(entity, statistic) else { return 0.0 };
        match (evidence.value, evidence.usual) {
            (Some(value), Some(usual)) if !usual.low => value / usual.extreme.max(1.0),
            _ => 0.0,
        }
    }

    /// Many targets that were never met, one flow each, with next to nothing said, and the row is one of them.
    fn scans(&self) -> bool {
        let about = ["fan_src", "fan_srcsvc", "new_src", "new_srcsvc", "fail_src", "fail_srcsvc"];
        if self.reason.share(&about) < SHARE {
            return false;
        }
        let little = self.of("fwd_payload_bytes") <= LITTLE && self.of("bwd_payload_bytes") <= 4.0 * LITTLE;
        let met = |horizon: u32| {
            let flows = self.of(&format!("ctx_src_w{horizon}_flows")).max(1.0);
            let targets = self.of(&format!("ctx_src_w{horizon}_new_ends"));
            let own = self.facts.number("age_pairport").is_some_and(|age| age < f64::from(horizon));
            own && targets >= 5.0 && targets >= 0.3 * flows
        };
        little && [1, 6, 30].into_iter().any(met)
    }

    /// One host gets so much from so many flows, or so many packets in one without an answer, as it never gets.
    fn floods(&self) -> bool {
        let Some(window) = self.facts.window() else { return false };
        let about =
            ["vol_dst", "vol_src", "vol_srcsvc", "vol_pairsvc", "fan_dst", "fail_dst", "shape_srcsvc"];
        if self.reason.share(&about) < SHARE {
            return false;
        }
        let flows = self.of("ctx_dstsvc_w1_flows");
        let ports = self.of("ctx_dst_w1_ports").max(1.0);
        let many =
            flows >= FLOOD * window && flows >= 30.0 * ports.min(self.of("ctx_pair_w1_ports").max(1.0));
        let far = self.times("dst", "flows").max(self.times("srcsvc", "flows")) >= FAR;
        let (sent, answered) = (self.of("fwd_packets"), self.of("bwd_packets"));
        let deaf =
            sent >= 10.0 * FLOOD * window && answered <= 0.1 * sent && self.times("", "fwd_packets") >= FAR;
        (many && far) || deaf
    }

    /// Flow after flow to one place to log in, each answered and short.
    fn tries_logins(&self) -> bool {
        let about = ["vol_srcsvc", "vol_pairsvc", "fail_pairsvc", "fail_srcsvc", "vol_dst", "vol_src"];
        let flows = self.of("ctx_pairsvc_w6_flows");
        let bytes = self.of("ctx_pairsvc_w6_fwd_bytes") + self.of("ctx_pairsvc_w6_bwd_bytes");
        let far = self.times("pairsvc", "flows").max(self.times("srcsvc", "flows"));
        self.port_is(&LOGINS)
            && self.reason.share(&about) >= SHARE
            && flows >= 5.0
            && far >= 2.0
            && self.of("bwd_payload_bytes") > 0.0
            && bytes / flows.max(1.0) < 20_000.0
    }

    /// Flows to one host outside that start like clockwork.
    fn beacons(&self) -> bool {
        let regular = self.facts.number("reg_pairsvc_cv8").is_some_and(|cv| cv <= 0.35);
        let slow = self.facts.number("reg_pairsvc_gap8").is_some_and(|gap| gap >= 1.0);
        regular
            && slow
            && self.from_inside()
            && !self.to_inside()
            && self.reason.share(&["reg", "young"]) >= SHARE
            && self.of("bwd_packets") > 0.0
    }

    /// Much more than usual through a service that carries little.
    fn tunnels(&self) -> bool {
        let far = self
            .times("pairsvc", "fwd_bytes")
            .max(self.times("srcsvc", "fwd_bytes"))
            .max(self.times("", "fwd_bytes"));
        let answered = self.of("bwd_packets") >= 0.5 * self.of("fwd_packets") && self.of("bwd_packets") > 0.0;
        far >= FAR && answered && self.reason.share(&["vol_srcsvc", "vol_pairsvc", "shape_srcsvc"]) >= SHARE
    }

    /// Far more than usual out to a host outside that is new.
    fn carries_out(&self) -> bool {
        let far = ["src", "srcsvc", "pairsvc", ""].into_iter().map(|entity| self.times(entity, "fwd_bytes"));
        let out = self.of("fwd_bytes");
        self.from_inside()
            && !self.to_inside()
            && self.facts.number("age_pair").is_some_and(|age| age < 60.0)
            && far.fold(0.0, f64::max) >= FAR
            && out >= 3.0 * self.of("bwd_bytes")
            && self.reason.share(&["vol_src", "vol_srcsvc", "vol_pairsvc", "shape_srcsvc"]) >= SHARE
    }

    /// A shell, a desktop or files of a host inside, by one that never did so, and it answers.
    fn moves_sideways(&self) -> bool {
        let new = self.facts.number("age_pairsvc").is_some_and(|age| age < 6.0);
        self.from_inside()
            && self.to_inside()
            && self.is_tcp()
            && self.port_is(&REMOTE)
            && new
            && self.of("fwd_payload_bytes") > LITTLE
            && self.of("bwd_payload_bytes") > LITTLE
            && self.reason.share(&["new_src", "new_srcsvc", "age"]) >= SHARE
    }
}
