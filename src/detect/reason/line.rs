//! A row in one line: who to whom, and what speaks most.

use super::amount::decimal;
use super::facts::Facts;
use super::meaning::about;
use super::{Evidence, Reason};

/// Appends the line of a row: `10.20.30.104 -> 41 hosts, port 22: 41 peers in 10 s; usual 3, p99 6`. Who and whom are as
/// the strongest column sees them: a source of many, many to one, or two. `words` are those of the strongest column.
pub(in crate::detect) fn line(out: &mut String, reason: &Reason, words: &str, facts: &Facts<'_>) {
    let ends = (facts.text_at(facts.at().src_ip), facts.text_at(facts.at().dst_ip));
    if let (Some(source), Some(destination)) = ends {
        head(out, reason.evidence.first(), (source, destination), facts);
        if !words.is_empty() {
            out.push_str(": ");
        }
    }
    out.push_str(words);
}

/// Who and whom.
fn head(
    out: &mut String,
    strongest: Option<&Evidence>,
    (source, destination): (&str, &str),
    facts: &Facts<'_>,
) {
    let many = strongest.and_then(|evidence| Some((evidence, evidence.value.filter(|many| *many > 1.0)?)));
    if let Some((evidence, many)) = many {
        // Most of them are met on it.
        let is_most = |on_it: Option<f64>| on_it.is_some_and(|on_it| on_it >= 0.9 * many);
        let many_of = |out: &mut String, what: &str| {
            decimal(out, many, 0);
            out.push_str(what);
        };
        match about(&evidence.column) {
            ("src" | "srcsvc", "peers") => {
                out.extend([source, " -> "]);
                many_of(out, " hosts");
                if is_most(facts.number(&evidence.column.replace("ctx_src_", "ctx_srcsvc_"))) {
                    port(out, facts);
                }
                return;
            }
            ("src" | "srcsvc" | "pair", "ports") => {
                out.extend([source, " -> "]);
                many_of(out, " ports");
                if is_most(facts.number_at(facts.at().ctx_pair_w1_ports)) {
                    out.extend([" of ", destination]);
                }
                return;
            }
            ("src", "ends") => {
                out.extend([source, " -> "]);
                many_of(out, " targets");
                return;
            }
            ("dst" | "dstsvc", "peers") => {
                many_of(out, " hosts");
                out.extend([" -> ", destination]);
                port(out, facts);
                return;
            }
            _ => {}
        }
    }
    out.extend([source, " -> ", destination]);
    port(out, facts);
}

/// Appends `, port 22`, `, UDP port 53`, `, icmp-8`; nothing for rows that say none.
fn port(out: &mut String, facts: &Facts<'_>) {
    let what = match facts.number_at(facts.at().protocol).map(|protocol| protocol as u8) {
        Some(6) => ", port ",
        Some(17) => ", UDP port ",
        Some(132) => ", SCTP port ",
        _ => {
            let service = facts.text_at(facts.at().service);
            if let Some(service) = service.or_else(|| facts.text_at(facts.at().protocol_name)) {
                out.extend([", ", service]);
            }
            return;
        }
    };
    out.push_str(what);
    decimal(out, facts.number_at(facts.at().dst_port).unwrap_or(0.0), 0);
}

#[cfg(test)]
mod tests {
    use super::super::Usual;
    use super::super::facts::Lookup;
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
            written: 1,
            line: String::new(),
            hints: vec![],
        };
        let words = reason.evidence[0].words(None);
        let mut out = String::new();
        line(&mut out, &reason, &words, &Lookup::new(&rows(srcsvc_peers)).row(0));
        out
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
