//! A row in one line: who to whom, and what speaks most.

use super::Reason;
use super::facts::Facts;
use super::phrase::{about, decimal};

/// The line of a row: `10.20.30.104 -> 41 hosts, port 22: 41 peers in 10 s; usual 3, p99 6`. Who and whom are as the
/// strongest column sees them: a source of many, many to one, or two.
/// `words` are those of the strongest column.
pub(in crate::detect) fn line(reason: &Reason, words: &str, facts: &Facts<'_>) -> String {
    let strongest = reason.evidence.first();
    let (Some(source), Some(destination)) =
        (facts.text_at(facts.at().src_ip), facts.text_at(facts.at().dst_ip))
    else {
        return words.to_owned();
    };
    let port = port(facts);
    let many = strongest.and_then(|evidence| Some((evidence, evidence.value.filter(|many| *many > 1.0)?)));
    let head = many.and_then(|(evidence, many)| {
        let (entity, statistic) = about(&evidence.column);
        let many_of = |what: &str| [&decimal(many, 0), " ", what].concat();
        match (entity, statistic) {
            ("src" | "srcsvc", "peers") => {
                // The port is told where most of them are met on it.
                let on_it = facts.number(&evidence.column.replace("ctx_src_", "ctx_srcsvc_"));
                let port =
                    on_it.filter(|on_it| *on_it >= 0.9 * many).map(|_| port.clone()).unwrap_or_default();
                Some([source, " -> ", &many_of("hosts"), &port].concat())
            }
            ("src" | "srcsvc" | "pair", "ports") => {
                let on_it = facts.number_at(facts.at().ctx_pair_w1_ports);
                let of = on_it.filter(|on_it| *on_it >= 0.9 * many).map(|_| format!(" of {destination}"));
                Some(format!("{source} -> {}{}", many_of("ports"), of.unwrap_or_default()))
            }
            ("src", "ends") => Some(format!("{source} -> {}", many_of("targets"))),
            ("dst" | "dstsvc", "peers") => Some(format!("{} -> {destination}{port}", many_of("hosts"))),
            _ => None,
        }
    });
    let head = head.unwrap_or_else(|| [source, " -> ", destination, &port].concat());
    if words.is_empty() { head } else { head + ": " + words }
}

/// `, port 22`, `, UDP port 53`, `, icmp-8`; nothing for rows that say none.
fn port(facts: &Facts<'_>) -> String {
    let of = |what: &str| what.to_owned() + &decimal(facts.number_at(facts.at().dst_port).unwrap_or(0.0), 0);
    match facts.number_at(facts.at().protocol).map(|protocol| protocol as u8) {
        Some(6) => of(", port "),
        Some(17) => of(", UDP port "),
        Some(132) => of(", SCTP port "),
        _ => match facts.text_at(facts.at().service).or_else(|| facts.text_at(facts.at().protocol_name)) {
            Some(service) => format!(", {service}"),
            None => String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Lookup;
    use super::super::{Evidence, Reason, Usual};
    use super::*;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt8Array, UInt16Array, UInt32Array};

    fn rows(srcsvc_peers: u32) -> RecordBatch {
        let columns: [(&str, ArrayRef); 6] = [
            ("src_ip", Arc::new(StringArray::from(vec!["10.20.30.104"]))),
            ("dst_ip", Arc::new(StringArray::from(vec!["10.20.30.1"]))),
            ("protocol", Arc::new(UInt8Array::from(vec![6]))),
            ("dst_port", Arc::new(UInt16Array::from(vec![22]))),
            ("ctx_srcsvc_w1_peers", Arc::new(UInt32Array::from(vec![srcsvc_peers]))),
            ("ctx_pair_w1_ports", Arc::new(UInt32Array::from(vec![41]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn said(column: &str, srcsvc_peers: u32) -> String {
        let evidence = Evidence {
            column: column.to_owned().into(),
            entity: String::new(),
            value: Some(41.0),
            text: None,
            usual: Some(Usual { median: 3.0, extreme: 6.0, low: false, own: true }),
            p: None,
            nats: 1.0,
            share: 1.0,
        };
        let reason = Reason {
            score: 1.0,
            total: 1.0,
            at_zero: None,
            parts: vec![],
            evidence: vec![evidence],
            line: String::new(),
            hints: vec![],
        };
        let words = reason.evidence[0].words(None);
        line(&reason, &words, &Lookup::new(&rows(srcsvc_peers)).row(0))
    }

    #[test]
    fn a_line_says_who_whom_and_what() {
        let tail = "41 peers in 1 window; usual 3, p99 6";
        assert_eq!(said("ctx_src_w1_peers", 41), format!("10.20.30.104 -> 41 hosts, port 22: {tail}"));
        assert_eq!(said("ctx_src_w1_peers", 2), format!("10.20.30.104 -> 41 hosts: {tail}"));
        assert!(said("ctx_pair_w1_ports", 1).starts_with("10.20.30.104 -> 41 ports of 10.20.30.1: "));
        assert!(said("ctx_dst_w1_new_peers", 1).starts_with("41 hosts -> 10.20.30.1, port 22: "));
        assert!(said("fwd_packets", 1).starts_with("10.20.30.104 -> 10.20.30.1, port 22: 41 packets sent"));
    }
}
