//! Why a row has its score of `forest`: the shares of encoded columns ([`super::shares`]), each told to the column of
//! rows that it was made from, grouped as those of `themes` are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::reason::facts::Facts;
use super::reason::meaning::about;
use super::reason::{Evidence, Group, Part, Reason, WRITTEN};
use super::shares::Shares;
use super::usual::Usuals;
use crate::context::entity::{port, service};
use crate::context::parts;
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
        "rows" if entity.ends_with("shape") => &[("srcshape", "alike_srcsvc"), ("", "alike_dstsvc")],
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
        Some("alike") => "repetition",
        Some("act" | "reg") => "persistence",
        Some("age") => "novelty",
        _ => "shape",
    };
    (part, name)
}

/// What reasons are told by: looked up once, since rows have hundreds of columns.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The columns of the encoders.
    columns: Vec<String>,
    /// For each feature the position of its column.
    origins: Vec<usize>,
    /// Parts and groups, in their order, and for each column the position of its own.
    kinds: Vec<(&'static str, &'static str)>,
    kind_of: Vec<usize>,
    /// For each column the number of what it is about, and how many there are.
    about: Vec<usize>,
    abouts: usize,
    usuals: Usuals,
}

impl Told {
    /// For features that were made of these columns.
    pub(super) fn new(columns: Vec<String>, origins: Vec<usize>, usuals: Usuals) -> Told {
        let mut kinds: Vec<_> = columns.iter().map(|column| group(column)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let place = |column: &String| kinds.binary_search(&group(column)).unwrap_or_default();
        let kind_of = columns.iter().map(place).collect();
        let mut known = BTreeMap::new();
        let number = |column: &'_ String| {
            let (entity, statistic) = about(column);
            let next = known.len();
            *known.entry((entity.to_owned(), statistic.to_owned())).or_insert(next)
        };
        let about = columns.iter().map(number).collect();
        Told { abouts: known.len(), columns, origins, kinds, kind_of, about, usuals }
    }

    /// What is usual in the columns.
    pub(super) fn usuals(&self) -> &Usuals {
        &self.usuals
    }

    /// The reason of a row with this score.
    pub(super) fn reason(&self, score: f64, shares: &Shares, partition: &str, facts: &Facts<'_>) -> Reason {
        let mut nats = vec![0.0; self.columns.len()];
        for (share, column) in shares.nats.iter().zip(&self.origins) {
            nats[*column] += share;
        }
        let mut groups = vec![0.0; self.kinds.len()];
        // What like columns add together, and the strongest of them.
        let mut spoken = vec![(0.0, None::<usize>); self.abouts];
        for (at, nats_of) in nats.iter().enumerate() {
            groups[self.kind_of[at]] += nats_of;
            let (sum, strongest) = &mut spoken[self.about[at]];
            *sum += nats_of;
            if strongest.is_none_or(|known| nats[known] < *nats_of) {
                *strongest = Some(at);
            }
        }
        let mut parts: Vec<Part> = Vec::new();
        for ((part, name), nats) in self.kinds.iter().zip(groups) {
            if parts.last().is_none_or(|last| last.name != *part) {
                parts.push(Part { name: part, nats: 0.0, groups: Vec::new() });
            }
            if let Some(part) = parts.last_mut() {
                part.nats += nats;
                part.groups.push(Group { name, nats, share: 0.0 });
            }
        }
        let total: f64 = parts.iter().map(|part| part.nats).sum();
        let against = total.abs().max(f64::MIN_POSITIVE);
        for group in parts.iter_mut().flat_map(|part| &mut part.groups) {
            group.share = group.nats / against;
        }
        let usual = self.usuals.of(partition);
        let evidence = |(sum, at): (f64, Option<usize>)| {
            let at = at.filter(|_| sum / against >= LEAST)?;
            let (column, nats, share) = (self.columns[at].as_str(), nats[at], sum / against);
            let value = facts.number(column);
            let text = if value.is_none() { facts.text(column).map(str::to_owned) } else { None };
            let usual = value.and_then(|value| usual.get(column, value));
            let column = Cow::Owned(column.to_owned());
            Some(Evidence { column, entity: String::new(), value, text, usual, p: None, nats, share })
        };
        let mut evidence: Vec<Evidence> = spoken.into_iter().filter_map(evidence).collect();
        // A value within what is usual is odd only beside others: it speaks where nothing else does.
        let alone = |evidence: &Evidence| match (evidence.value, evidence.usual) {
            (Some(value), Some(usual)) if usual.low => value < usual.extreme,
            (Some(value), Some(usual)) => value > usual.extreme,
            _ => true,
        };
        if evidence.iter().any(alone) {
            evidence.retain(alone);
        }
        let (line, hints) = (String::new(), Vec::new());
        let (at_zero, written) = (Some(shares.at_zero), WRITTEN);
        let mut reason = Reason { score, total, at_zero, parts, evidence, written, line, hints };
        reason.order(|evidence| evidence.share);
        for evidence in reason.evidence.iter_mut().take(WRITTEN) {
            evidence.entity = entity(about(&evidence.column).0, partition, facts);
        }
        reason
    }
}

/// Whose value it is, in words; for the row's own, the partition that it is judged in.
fn entity(name: &str, partition: &str, facts: &Facts<'_>) -> String {
    let (Some(src), Some(dst)) = (facts.text("src_ip"), facts.text("dst_ip")) else {
        return partition.to_owned();
    };
    let whole = |name: &str| facts.number(name).map(|value| value as u64);
    let service = || {
        let port = port(whole("protocol").unwrap_or(255), whole("dst_port").unwrap_or(0), whole("icmp_type"));
        service_text(service(port))
    };
    match parts(name) {
        Some([true, false, false]) => src.to_owned(),
        Some([false, true, false]) => dst.to_owned(),
        Some([true, true, false]) => format!("{src} to {dst}"),
        Some([true, false, true]) => format!("{src} to {}", service()),
        Some([false, true, true]) => format!("{dst} {}", service()),
        Some([true, true, true]) => format!("{src} to {dst} {}", service()),
        Some([false, false, _]) | None => partition.to_owned(),
    }
}
