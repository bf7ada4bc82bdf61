//! Why a row has its score of `forest`: the shares of encoded columns ([`super::shares`]), each told to the column of
//! rows that it was made from, grouped as those of `themes` are.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use super::reason::facts::{Lookup, number, text};
use super::reason::phrase::about;
use super::reason::{Evidence, Group, Part, Reason};
use super::shares::Shares;
use crate::context::entity::{port, service};
use crate::encode::subject::service_text;

/// Columns that hold less of the total are not told.
const LEAST: f64 = 0.01;

/// Parts and groups of a column: kinds of evidence as in `themes`, by whose they are.
fn group(column: &str) -> (&'static str, &'static str) {
    let (entity, statistic) = about(column);
    let kinds: &[(&str, &str)] = match statistic {
        "peers" | "ports" | "services" | "ends" if !entity.is_empty() => match column.contains("_new_") {
            true => &[("src", "new_src"), ("dst", "new_dst"), ("srcsvc", "new_srcsvc"), ("", "new_other")],
            false => &[("src", "fan_src"), ("dst", "fan_dst"), ("srcsvc", "fan_srcsvc"), ("", "fan_other")],
        },
        "failed" => &[
            ("src", "fail_src"),
            ("dst", "fail_dst"),
            ("srcsvc", "fail_srcsvc"),
            ("pairsvc", "fail_pairsvc"),
            ("", "fail_other"),
        ],
        "active" if !entity.is_empty() => &[("pairsvc", "act_pairsvc"), ("", "act_other")],
        "age" if !entity.is_empty() => &[("", "age")],
        "cv" | "gap8" => &[("", "reg")],
        _ if entity.is_empty() => &[("", "shape_srcsvc")],
        _ => &[
            ("src", "vol_src"),
            ("dst", "vol_dst"),
            ("srcsvc", "vol_srcsvc"),
            ("pairsvc", "vol_pairsvc"),
            ("", "vol_other"),
        ],
    };
    let name =
        kinds.iter().find(|(of, _)| *of == entity || of.is_empty()).map_or("shape_srcsvc", |(_, name)| name);
    let part = match name.split('_').next() {
        Some("fan" | "new" | "fail") => "fan-out",
        Some("vol") => "volume",
        Some("act" | "reg") => "persistence",
        Some("age") => "novelty",
        _ => "shape",
    };
    (part, name)
}

/// The reason of a row with this score; `columns` are those of the encoders with, for each feature, its column.
pub(super) fn reason(
    score: f64,
    shares: &Shares,
    columns: &[&str],
    of_feature: &[usize],
    partition: &str,
    (rows, lookup, row): (&RecordBatch, &Lookup<'_>, usize),
) -> Reason {
    let mut nats = vec![0.0; columns.len()];
    for (share, column) in shares.nats.iter().zip(of_feature) {
        nats[*column] += share;
    }
    let mut parts: BTreeMap<&'static str, BTreeMap<&'static str, f64>> = BTreeMap::new();
    // What like columns add together, and the strongest of them.
    let mut spoken: BTreeMap<(&str, &str), (f64, usize)> = BTreeMap::new();
    for (at, column) in columns.iter().enumerate() {
        let (part, group) = group(column);
        *parts.entry(part).or_default().entry(group).or_default() += nats[at];
        let (sum, strongest) = spoken.entry(about(column)).or_insert((0.0, at));
        *sum += nats[at];
        if nats[at] > nats[*strongest] {
            *strongest = at;
        }
    }
    let part = |(name, groups): (&'static str, BTreeMap<&'static str, f64>)| {
        let groups: Vec<(&'static str, f64)> = groups.into_iter().collect();
        (name, groups.iter().map(|(_, nats)| nats).sum::<f64>(), groups)
    };
    let parts: Vec<_> = parts.into_iter().map(part).collect();
    let total: f64 = parts.iter().map(|(_, nats, _)| nats).sum();
    let against = total.abs().max(f64::MIN_POSITIVE);
    let parts = parts.into_iter().map(|(name, nats, groups)| {
        let group = |(name, nats): (&'static str, f64)| Group { name, nats, share: nats / against };
        Part { name, nats, groups: groups.into_iter().map(group).collect() }
    });
    let facts = lookup.row(row);
    let evidence = |(_, (sum, at)): (_, (f64, usize))| {
        let array = rows.column_by_name(columns[at])?.as_ref();
        let value = number(array, row);
        let text = if value.is_none() { text(array, row).map(str::to_owned) } else { None };
        let entity = entity(about(columns[at]).0, partition, &facts);
        let share = sum / against;
        let (column, nats) = (columns[at].to_owned(), nats[at]);
        Some(Evidence { column, entity, value, text, usual: None, p: None, nats, share })
    };
    let mut reason = Reason {
        score,
        total,
        at_zero: Some(shares.at_zero),
        parts: parts.collect(),
        evidence: spoken
            .into_iter()
            .filter(|(_, (sum, _))| sum / against >= LEAST)
            .filter_map(evidence)
            .collect(),
        line: String::new(),
        hints: Vec::new(),
    };
    reason.order();
    reason
}

/// Whose value it is, in words; for the row's own, the partition that it is judged in.
fn entity(name: &str, partition: &str, facts: &super::reason::facts::Facts<'_>) -> String {
    let (Some(src), Some(dst)) = (facts.text("src_ip"), facts.text("dst_ip")) else {
        return partition.to_owned();
    };
    let whole = |name: &str| facts.number(name).map(|value| value as u64);
    let service = || {
        let port = port(whole("protocol").unwrap_or(255), whole("dst_port").unwrap_or(0), whole("icmp_type"));
        service_text(service(port))
    };
    match name {
        "src" => src.to_owned(),
        "dst" => dst.to_owned(),
        "pair" => format!("{src} to {dst}"),
        "srcsvc" => format!("{src} to {}", service()),
        "dstsvc" => format!("{dst} {}", service()),
        "pairsvc" => format!("{src} to {dst} {}", service()),
        _ => partition.to_owned(),
    }
}
