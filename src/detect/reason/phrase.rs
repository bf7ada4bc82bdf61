//! Columns in words, derived from what their names say: whose, over how many windows, which statistic, which unit.
//!
//! In patterns `{}` stands for the value with its unit and `~` for the s of a plural. Columns of no table here are
//! their names with the unit that the dictionary of rows has for them.

use std::borrow::Cow;

use super::amount::{bytes, count, in_windows, significant, time};
use super::meaning::parts;
use super::{Evidence, Usual};
use crate::row::columns::find;

/// What a number is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Count,
    Bytes,
    Seconds,
    /// Windows, told as time.
    Windows,
    /// Parts of one, told in percent.
    Percent,
}

use Unit::{Bytes, Count, Percent, Seconds, Windows};

/// Statistics of context columns: of an entity that begins with a source, and of one that begins with a destination. Others
/// go by their names.
const STATISTICS: [(&str, &str, &str, Unit); 15] = [
    ("flows", "{} flow~", "{} flow~", Count),
    ("rows", "{} flow record~", "{} flow record~", Count),
    ("failed", "{} failed flow~", "{} failed flow~", Count),
    ("packets", "{} packet~", "{} packet~", Count),
    ("fwd_bytes", "{} sent", "{} received", Bytes),
    ("bwd_bytes", "{} received", "{} sent", Bytes),
    ("peers", "{} peer~", "{} client~", Count),
    ("ports", "{} port~", "{} port~ asked for", Count),
    ("services", "{} service~", "{} service~ asked for", Count),
    ("ends", "{} target~ (host and port)", "{} target~ (host and port)", Count),
    ("new_peers", "{} new peer~", "{} new client~", Count),
    ("new_ports", "{} new port~", "{} new port~ asked for", Count),
    ("new_services", "{} new service~", "{} new service~ asked for", Count),
    ("new_ends", "{} new target~ (host and port)", "{} new target~ (host and port)", Count),
    ("active", "seen in {} window~", "seen in {} window~", Count),
];

/// What is seen for the first time, by the identity of an age: now, and a while ago.
const FIRSTS: [(&str, &str, &str); 9] = [
    ("src", "this source is seen", "this source was first seen {}"),
    ("dst", "this destination is seen", "this destination was first seen {}"),
    ("pair", "these two hosts talk", "these two hosts first talked {}"),
    ("srcsvc", "this source uses this service", "this source first used this service {}"),
    (
        "dstsvc",
        "this destination is asked for this service",
        "this destination was first asked for this service {}",
    ),
    ("pairsvc", "these two hosts use this service", "these two hosts first used this service {}"),
    ("pairport", "these two hosts use this port", "these two hosts first used this port {}"),
    ("dstport", "this destination is asked on this port", "this destination was first asked on this port {}"),
    ("srcsvcport", "this source uses this port", "this source first used this port {}"),
];

/// Measures of regularity.
const MEASURES: [(&str, &str, Unit); 3] = [
    ("cv8", "regular flows: the last gaps between them, 8 at most, vary by {}", Percent),
    ("cv16", "regular flows: the last gaps between them, 16 at most, vary by {}", Percent),
    ("gap8", "a flow every {} on average", Seconds),
];

/// Columns of a row itself. A stem with a direction before it is of packets sent, received, or both.
const ROW: [(&str, &str, Unit); 32] = [
    ("packets", "{} packet~ {dir}", Count),
    ("bytes", "{} {dir}", Bytes),
    ("payload_bytes", "{} of payload {dir}", Bytes),
    ("len_min", "shortest packet {dir} {}", Bytes),
    ("len_mean", "mean packet {dir} {}", Bytes),
    ("len_max", "longest packet {dir} {}", Bytes),
    ("len_std", "sizes of packets {dir} vary by {}", Bytes),
    ("gap_min_s", "shortest gap between packets {dir} {}", Seconds),
    ("gap_mean_s", "mean gap between packets {dir} {}", Seconds),
    ("gap_max_s", "longest gap between packets {dir} {}", Seconds),
    ("gap_std_s", "gaps between packets {dir} vary by {}", Seconds),
    ("retransmits", "{} packet~ {dir} again", Count),
    ("ttl_min", "TTL {} on packets {dir}", Count),
    ("window_first", "first TCP window {dir} {}", Count),
    ("syn", "{} packet~ with SYN {dir}", Count),
    ("ack", "{} packet~ with ACK {dir}", Count),
    ("fin", "{} packet~ with FIN {dir}", Count),
    ("rst", "{} packet~ with RST {dir}", Count),
    ("psh", "{} packet~ with PSH {dir}", Count),
    ("urg", "{} packet~ with URG {dir}", Count),
    ("ece", "{} packet~ with ECE {dir}", Count),
    ("cwr", "{} packet~ with CWR {dir}", Count),
    ("flow_packets", "{} packet~ since the flow began", Count),
    ("flow_bytes", "{} since the flow began", Bytes),
    ("flow_duration_s", "flow open for {}", Seconds),
    ("duration_s", "flow busy for {}", Seconds),
    ("handshake_rtt_s", "handshake takes {}", Seconds),
    ("fragments", "{} fragment~", Count),
    ("dst_port", "port {}", Count),
    ("hour_of_day", "hour {} of the day", Count),
    ("minute_of_hour", "minute {} of the hour", Count),
    ("day_of_week", "day {} of the week from Monday", Count),
];

/// The column of bytes sent for each that is received.
pub(in crate::detect) const RATIO: &str = "fwd_bwd_ratio";

/// States of a TCP connection.
const STATES: [(&str, &str); 13] = [
    ("OTH", "seen from its middle"),
    ("S0", "no answer"),
    ("S1", "open"),
    ("SF", "ended in order"),
    ("REJ", "refused"),
    ("S2", "open, the source has closed"),
    ("S3", "open, the destination has closed"),
    ("RSTO", "reset by the source"),
    ("RSTR", "reset by the destination"),
    ("RSTOS0", "no answer, then reset by the source"),
    ("RSTRH", "reset by the destination, its beginning unseen"),
    ("SH", "no answer, then closed by the source"),
    ("SHR", "closed by the destination, its beginning unseen"),
];

/// A usual age of so many windows or more is told as over so many: ages end at 60, in a bucket that begins at 53, and the
/// one before begins at 45.
const OLD: f64 = 48.0;

/// A column in words, without its value.
pub(in crate::detect) struct Phrase {
    pattern: Cow<'static, str>,
    /// What `{dir}` stands for.
    direction: &'static str,
    unit: Unit,
    /// Windows of its horizon.
    horizon: Option<u64>,
    kind: Kind,
    /// Whether what is usual is that of others as young.
    young: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A number of a horizon or a row.
    Plain,
    /// Windows of the horizon.
    Active,
    /// Windows since something was first seen, told so if it is now.
    Age(&'static str),
    /// Bytes sent for each that is received.
    Ratio,
    /// How seldom a source has used a service, whatever the number.
    Use,
    /// How a flow begins: lengths of its first messages.
    Greeting,
    /// A text.
    Text,
}

impl Phrase {
    /// Of a column: its name, also with whose past it is held against (`fwd_packets|srcsvc`).
    pub(in crate::detect) fn of(column: &str) -> Phrase {
        let (name, parts) = parts(column);
        match parts.into() {
            (Some("ctx"), Some(entity), Some(windows), Some(statistic)) => {
                context(entity, windows, statistic)
            }
            (Some("age"), Some(of), None, _) => match FIRSTS.iter().find(|(name, ..)| *name == of) {
                Some((_, now, past)) => Phrase { kind: Kind::Age(now), ..plain((*past).into(), Windows) },
                None => plain(format!("{of} first seen {{}} ago").into(), Windows),
            },
            (Some("use"), Some(_), None, _) => Phrase { kind: Kind::Use, ..plain("".into(), Count) },
            (Some("young"), Some(entity), Some("active"), None) => {
                Phrase { young: true, ..context(entity, "w30", "active") }
            }
            (Some(kind @ ("reg" | "young")), Some(_), Some(measure), None) => {
                let (pattern, unit) = match MEASURES.iter().find(|(name, ..)| *name == measure) {
                    Some((_, pattern, unit)) => ((*pattern).into(), *unit),
                    None => (format!("{measure} {{}}").into(), Count),
                };
                Phrase { young: kind == "young", ..plain(pattern, unit) }
            }
            _ => row(name),
        }
    }

    /// Appends it with a value and what is usual.
    pub(super) fn tell(&self, out: &mut String, evidence: &Evidence, window: Option<u64>) {
        if self.kind == Kind::Use {
            return out.push_str(match evidence.usual {
                Some(Usual { own: true, .. }) => "a service that this source seldom uses",
                _ => "a service that this source did not use in training",
            });
        }
        if self.kind == Kind::Greeting {
            return greeting(out, evidence.text.as_deref().unwrap_or_default());
        }
        let Some(value) = evidence.value else {
            if self.kind == Kind::Ratio {
                return out.push_str("bytes sent and none received");
            }
            let text = evidence.text.as_deref().unwrap_or("nothing");
            let state =
                STATES.iter().find(|(state, _)| *state == text && self.pattern.starts_with("connection"));
            let with = |out: &mut String| match state {
                Some((state, meaning)) => out.extend([*state, " (", meaning, ")"]),
                None => out.push_str(text),
            };
            return self.fill(out, with, 0.0);
        };
        let number = |out: &mut String, value: f64| match self.unit {
            Count => count(out, value),
            Bytes => bytes(out, value),
            Seconds => time(out, value),
            Windows => in_windows(out, value, window),
            Percent => {
                significant(out, 100.0 * value);
                out.push_str(" %");
            }
        };
        let usual = evidence.usual.filter(|_| self.kind != Kind::Text);
        let whose = match (usual.is_none_or(|usual| usual.own), self.young) {
            (true, false) => "; usual ",
            (true, true) => "; usual at this age ",
            (false, false) => "; usual for others ",
            (false, true) => "; usual for others at this age ",
        };
        if let Kind::Age(now) = self.kind {
            if value > 0.0 {
                self.fill(out, |out| number(out, value), value);
                out.push_str(" ago");
            } else {
                out.push_str("first time that ");
                out.push_str(now);
            }
            if let Some(usual) = usual.filter(|usual| usual.median > 0.0) {
                out.push_str(if usual.own {
                    "; usually known for "
                } else {
                    "; others are usually known for "
                });
                if usual.median >= OLD {
                    out.push_str("over ");
                }
                // What is old is as old as can be told, less what buckets leave open.
                number(out, usual.median.min(OLD));
            }
            return;
        }
        self.fill(out, |out| number(out, value), value);
        if let Some(horizon) = self.horizon {
            out.push_str(if self.kind == Kind::Active { " of the last " } else { " in " });
            in_windows(out, horizon as f64, window);
        }
        if let Some(Usual { median, extreme, low, .. }) = usual {
            out.push_str(whose);
            let from = out.len();
            number(out, median);
            let to = out.len();
            out.push_str(if low { ", p1 " } else { ", p99 " });
            let again = out.len();
            number(out, extreme);
            if out[from..to] == out[again..] {
                out.truncate(to);
            }
        }
    }

    /// The pattern with a value in it.
    fn fill(&self, out: &mut String, number: impl Fn(&mut String), value: f64) {
        let mut rest = &*self.pattern;
        while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'{' | b'~')) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let mark = match rest {
                number_here if number_here.starts_with("{}") => {
                    number(out);
                    "{}"
                }
                direction if direction.starts_with("{dir}") => {
                    out.push_str(self.direction);
                    "{dir}"
                }
                _ => {
                    out.push_str(if value == 1.0 { "" } else { "s" });
                    "~"
                }
            };
            rest = &rest[mark.len()..];
        }
        out.push_str(rest);
    }
}

/// Appends in words how a flow begins, given lengths in their order, those of the responder negative.
fn greeting(out: &mut String, lengths: &str) {
    out.push_str("begins as few flows do:");
    let mut mark = " ";
    for length in lengths.split(' ').filter_map(|length| length.parse::<f64>().ok()) {
        out.push_str(mark);
        bytes(out, length.abs());
        out.push_str(if length < 0.0 { " received" } else { " sent" });
        mark = ", ";
    }
    if mark == " " {
        out.push_str(" without payload");
    }
}

fn plain(pattern: Cow<'static, str>, unit: Unit) -> Phrase {
    Phrase { pattern, direction: "", unit, horizon: None, kind: Kind::Plain, young: false }
}

fn context(entity: &str, windows: &str, statistic: &str) -> Phrase {
    let horizon = windows.strip_prefix('w').and_then(|windows| windows.parse().ok());
    let known = STATISTICS.iter().find(|(name, ..)| *name == statistic);
    let (pattern, unit) = match known {
        _ if entity.ends_with("shape") && statistic == "rows" => {
            ("{} flow record~ of one state and size".into(), Count)
        }
        Some((_, _, destination, unit)) if entity.starts_with("dst") => (Cow::from(*destination), *unit),
        Some((_, source, _, unit)) => (Cow::from(*source), *unit),
        None => (format!("{} {{}}", statistic.replace('_', " ")).into(), Count),
    };
    let kind = if statistic == "active" { Kind::Active } else { Kind::Plain };
    Phrase { pattern, direction: "", unit, horizon, kind, young: false }
}

fn row(name: &str) -> Phrase {
    let whole = ROW.iter().find(|(stem, pattern, _)| *stem == name && !pattern.contains("{dir}"));
    if let Some((_, pattern, unit)) = whole {
        return plain((*pattern).into(), *unit);
    }
    for (prefix, direction) in [("fwd_", "sent"), ("bwd_", "received"), ("bidir_", "both ways")] {
        let Some(stem) = name.strip_prefix(prefix) else { continue };
        if let Some((_, pattern, unit)) = ROW.iter().find(|(known, ..)| *known == stem) {
            return Phrase { direction, ..plain((*pattern).into(), *unit) };
        }
    }
    let unit = match find(name).map(|column| column.unit) {
        Some("B") => Bytes,
        Some("s") => Seconds,
        _ => Count,
    };
    match name {
        RATIO => {
            Phrase { kind: Kind::Ratio, ..plain("{} times as many bytes sent as received".into(), unit) }
        }
        "first_lengths" => Phrase { kind: Kind::Greeting, ..plain("".into(), unit) },
        "conn_state" => Phrase { kind: Kind::Text, ..plain("connection {}".into(), unit) },
        "service" | "protocol_name" | "protocol" => {
            Phrase { kind: Kind::Text, ..plain(format!("{} {{}}", name.replace('_', " ")).into(), unit) }
        }
        _ => plain(format!("{} {{}}", name.replace('_', " ")).into(), unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::definitions;
    use crate::row::COLUMNS;

    const WINDOW: Option<u64> = Some(10_000_000_000);

    fn evidence(column: &str, value: f64, usual: Option<(f64, f64)>) -> Evidence {
        let usual =
            usual.map(|(median, extreme)| Usual { median, extreme, low: extreme < median, own: true });
        Evidence {
            column: column.to_owned().into(),
            entity: String::new(),
            value: Some(value),
            text: None,
            usual,
            p: None,
            nats: 1.0,
            share: 0.1,
        }
    }

    #[test]
    fn words_are_those_that_an_operator_would_use() {
        for (column, value, usual, words) in [
            ("ctx_src_w1_peers", 41.0, Some((3.0, 6.0)), "41 peers in 10 s; usual 3, p99 6"),
            ("ctx_dst_w1_peers", 1.0, Some((0.0, 1.0)), "1 client in 10 s; usual 0, p99 1"),
            (
                "ctx_srcsvc_w6_fwd_bytes",
                2.1e6,
                Some((12e3, 80e3)),
                "2.1 MB sent in 60 s; usual 12 kB, p99 80 kB",
            ),
            ("ctx_dst_w30_fwd_bytes", 999.0, Some((0.0, 0.0)), "999 B received in 5 min; usual 0 B"),
            (
                "ctx_dstshape_w1_rows|dstsvc",
                640.0,
                Some((1.0, 9.0)),
                "640 flow records of one state and size in 10 s; usual 1, p99 9",
            ),
            ("ctx_src_w6_new_peers", 1234.0, None, "1,234 new peers in 60 s"),
            (
                "ctx_pairsvc_w30_active",
                28.0,
                Some((2.0, 9.0)),
                "seen in 28 windows of the last 5 min; usual 2, p99 9",
            ),
            (
                "age_pair|src",
                0.0,
                Some((53.0, 20.0)),
                "first time that these two hosts talk; usually known for over 8 min",
            ),
            ("age_pair", 4.0, None, "these two hosts first talked 40 s ago"),
            (
                "reg_pairsvc_cv8|pairsvc",
                0.021,
                Some((1.4, 0.6)),
                "regular flows: the last gaps between them, 8 at most, vary by 2.1 %; usual 140 %, p1 60 %",
            ),
            (
                "young_pairsvc_cv16",
                0.5,
                None,
                "regular flows: the last gaps between them, 16 at most, vary by 50 %",
            ),
            (
                "young_pairsvc_active",
                15.0,
                Some((1.0, 4.0)),
                "seen in 15 windows of the last 5 min; usual at this age 1, p99 4",
            ),
            (
                "reg_pairsvc_gap8",
                30.0,
                Some((1.2, 5.0)),
                "a flow every 30 s on average; usual 1.2 s, p99 5 s",
            ),
            ("fwd_packets|srcsvc", 1.0, Some((8.0, 4.0)), "1 packet sent; usual 8, p1 4"),
            ("bwd_len_mean", 1480.5, None, "mean packet received 1.5 kB"),
            ("bidir_gap_mean_s", 0.0031, None, "mean gap between packets both ways 3.1 ms"),
            (
                "fwd_bwd_ratio|srcsvc",
                0.5,
                Some((2.0, 1.0)),
                "0.5 times as many bytes sent as received; usual 2, p1 1",
            ),
        ] {
            assert_eq!(evidence(column, value, usual).words(WINDOW), words);
        }
        let one_way = Evidence { value: None, ..evidence("fwd_bwd_ratio|dst", 0.0, Some((2.0, 9.0))) };
        assert_eq!(one_way.words(WINDOW), "bytes sent and none received");
        let seldom = evidence("use_srcsvc", 0.0, Some((1.0, 2.0)));
        assert_eq!(seldom.words(WINDOW), "a service that this source seldom uses");
        let never = evidence("use_srcsvc", 0.0, None);
        assert_eq!(never.words(WINDOW), "a service that this source did not use in training");
        let state = Evidence {
            value: None,
            text: Some("REJ".to_owned()),
            ..evidence("conn_state|srcsvc", 0.0, None)
        };
        assert_eq!(state.words(WINDOW), "connection REJ (refused)");
        let greeting = |lengths: &str| Evidence {
            value: None,
            text: Some(lengths.to_owned()),
            ..evidence("first_lengths|svc", 0.0, None)
        };
        assert_eq!(
            greeting("24 -41 1400").words(WINDOW),
            "begins as few flows do: 24 B sent, 41 B received, 1.4 kB sent"
        );
        assert_eq!(greeting("").words(WINDOW), "begins as few flows do: without payload");
        assert_eq!(evidence("ctx_src_w6_peers", 2.0, None).words(None), "2 peers in 6 windows");
        let others = Evidence {
            usual: Some(Usual { median: 1.0, extreme: 4.0, low: false, own: false }),
            ..evidence("ctx_src_w1_ports", 41.0, None)
        };
        assert_eq!(others.words(WINDOW), "41 ports in 10 s; usual for others 1, p99 4");
    }

    #[test]
    fn every_column_that_there_is_has_words_with_its_unit() {
        let context = definitions().into_iter().map(|definition| (definition.name(), definition.unit()));
        let own = COLUMNS.iter().map(|column| (column.name.to_owned(), column.unit));
        for (name, unit) in context.chain(own).filter(|(name, _)| !name.starts_with("lead_")) {
            let text = (name == "first_lengths").then(|| "7".to_owned());
            let words = Evidence { text, ..evidence(&name, 7.0, None) }.words(WINDOW);
            assert!(!words.contains(['{', '}', '~', '_']), "{name}: {words}");
            if unit == "B" {
                assert!(words.contains("7 B"), "{name}: {words}");
            }
            if unit == "s" {
                assert!(words.contains("7 s"), "{name}: {words}");
            }
        }
    }
}
