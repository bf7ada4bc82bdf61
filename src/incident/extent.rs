//! How far an incident reaches: what adds up over findings, in any order.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::finding::{Finding, Hint, Real};
use crate::flow::names::has_ports;

/// Elements that are counted exactly; beyond, the count is an estimate.
const EXACT: usize = 1024;
/// Hints of an incident at most.
const HINTS: usize = 8;

/// Distinct elements: the smallest hashes of a set (bottom-k, Bar-Yossef and others 2002), which two sets can
/// be united by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub(super) struct Distinct(Vec<u64>);

impl Distinct {
    fn add(&mut self, element: u128) {
        let hash = mix(element as u64 ^ mix((element >> 64) as u64));
        if let Err(place) = self.0.binary_search(&hash)
            && place < EXACT
        {
            self.0.truncate(EXACT - 1);
            self.0.insert(place, hash);
        }
    }

    fn unite(&mut self, other: &Distinct) {
        self.0.extend_from_slice(&other.0);
        self.0.sort_unstable();
        self.0.dedup();
        self.0.truncate(EXACT);
    }

    /// How many there are: exact below [`EXACT`], beyond with a standard error of 3 %.
    pub(super) fn count(&self) -> u64 {
        match self.0.last() {
            Some(largest) if self.0.len() == EXACT => {
                ((EXACT - 1) as f64 / (*largest as f64 / 2f64.powi(64))).round() as u64
            }
            _ => self.0.len() as u64,
        }
    }
}

/// A bijection of 64 bits that leaves no pattern (the finalizer of MurmurHash3).
fn mix(mut value: u64) -> u64 {
    value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}

/// An order of addresses that has nothing to do with what they are.
pub(super) fn drawn(address: IpAddr) -> u64 {
    let number = number(address);
    mix(number as u64 ^ mix((number >> 64) as u64))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The row that stands for an incident: the one that scored most of those that say why.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Top {
    /// Its score.
    pub score: Real,
    /// Start of its window.
    pub window: u64,
    /// Its flow.
    pub flow_id: u64,
    /// Initiator.
    pub src: IpAddr,
    /// Initiator's port, where the protocol has ports.
    pub src_port: Option<u16>,
    /// Responder.
    pub dst: IpAddr,
    /// Responder's port, where the protocol has ports.
    pub dst_port: Option<u16>,
    /// Protocol by name.
    pub protocol: String,
    /// Its strongest reason, in words; empty where there is none.
    pub words: String,
}

impl Top {
    /// The row of a finding.
    fn of(finding: &Finding) -> Top {
        let port = |port: u16| has_ports(finding.protocol).then_some(port);
        Top {
            score: finding.score,
            window: finding.window,
            flow_id: finding.flow_id,
            src: finding.src,
            src_port: port(finding.src_port),
            dst: finding.dst,
            dst_port: port(finding.dst_port),
            protocol: finding.protocol_name.clone(),
            words: finding.words.clone(),
        }
    }

    /// The greater one stands for both; of equal ones the earlier, but who says nothing for nobody who does.
    fn rank(&self) -> impl Ord + use<> {
        (!self.words.is_empty(), self.score, std::cmp::Reverse((self.window, self.flow_id)))
    }
}

impl PartialOrd for Top {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Top {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let rest = |top: &Top| (top.src, top.src_port, top.dst, top.dst_port);
        let by_rank = self.rank().cmp(&other.rank()).then_with(|| rest(self).cmp(&rest(other)));
        by_rank.then_with(|| (&self.protocol, &self.words).cmp(&(&other.protocol, &other.words)))
    }
}

/// What findings of one host add up to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Extent {
    /// First packet.
    pub(super) first: i64,
    /// Last packet.
    pub(super) last: i64,
    /// Windows with a finding.
    pub(super) windows: u64,
    /// Findings.
    pub(super) alerts: u64,
    /// Of these, those that the host began.
    pub(super) begun: u64,
    /// Of these, those that are no more than knocks.
    pub(super) knocks: u64,
    /// Sum of scores, in millionths.
    pub(super) weight: u64,
    /// Largest score.
    pub(super) score: Real,
    /// Smallest p-value.
    pub(super) p_value: Real,
    /// Other ends.
    pub(super) peers: Distinct,
    /// Protocols and responders' ports, where protocols have some.
    pub(super) ports: Distinct,
    /// The row that stands for all.
    pub(super) top: Top,
    /// What shapes hint at, ascending.
    pub(super) hints: Vec<Hint>,
}

impl Extent {
    /// Of one finding about `host`, in a window of its own.
    pub(super) fn of(finding: &Finding, host: IpAddr) -> Extent {
        let mut extent = Extent {
            first: finding.start,
            last: finding.end,
            windows: 1,
            alerts: 0,
            begun: 0,
            knocks: 0,
            weight: 0,
            score: finding.score,
            p_value: finding.p_value,
            peers: Distinct::default(),
            ports: Distinct::default(),
            top: Top::of(finding),
            hints: Vec::new(),
        };
        extent.add(finding, host);
        extent
    }

    /// Adds a finding about the same host in the same window.
    pub(super) fn add(&mut self, finding: &Finding, host: IpAddr) {
        let begun = finding.src == host;
        let peer = if begun { finding.dst } else { finding.src };
        self.first = self.first.min(finding.start);
        self.last = self.last.max(finding.end);
        self.alerts += 1;
        self.begun += u64::from(begun);
        self.knocks += u64::from(finding.knock);
        self.weight = self.weight.saturating_add(weight(finding.score));
        self.score = self.score.max(finding.score);
        self.p_value = self.p_value.min(finding.p_value);
        self.peers.add(number(peer));
        if has_ports(finding.protocol) {
            self.ports.add(u128::from(finding.protocol) << 16 | u128::from(finding.dst_port));
        }
        // Most say nothing or score less, and are not looked at further.
        if (!finding.words.is_empty(), finding.score) >= (!self.top.words.is_empty(), self.top.score) {
            let top = Top::of(finding);
            if top > self.top {
                self.top = top;
            }
        }
        self.hint(&finding.hints);
    }

    fn hint(&mut self, hints: &[Hint]) {
        if hints.iter().any(|hint| !self.hints.contains(hint)) {
            self.hints.extend_from_slice(hints);
            self.hints.sort_unstable();
            self.hints.dedup();
            self.hints.truncate(HINTS);
        }
    }

    /// Adds findings of other windows.
    pub(super) fn follow(&mut self, other: &Extent) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.windows += other.windows;
        self.alerts += other.alerts;
        self.begun += other.begun;
        self.knocks += other.knocks;
        self.weight = self.weight.saturating_add(other.weight);
        self.score = self.score.max(other.score);
        self.p_value = self.p_value.min(other.p_value);
        self.peers.unite(&other.peers);
        self.ports.unite(&other.ports);
        if other.top > self.top {
            self.top.clone_from(&other.top);
        }
        self.hint(&other.hints);
    }
}

/// A score in millionths, at least one: what is summed is whole.
pub(super) fn weight(score: Real) -> u64 {
    // Casts of numbers that are too large, or none, end at the bounds.
    ((score.get() * 1e6) as u64).clamp(1, 1 << 40)
}

#[cfg(test)]
mod tests {
    use super::super::tests::finding;
    use super::*;

    #[test]
    fn the_oddest_row_that_says_why_stands_for_all_and_the_oddest_gives_the_score() {
        let says = |flow, score, words: &str| Finding {
            words: words.to_owned(),
            ..finding(0, flow, [10, 0, 0, 9], [10, 0, 0, 1], score)
        };
        let all = [
            says(1, 9.0, ""),
            says(2, 7.0, "new"),
            says(3, 8.0, "odd"),
            says(4, 7.5, "seldom"),
            says(5, 9.5, ""),
        ];
        let host = all[0].src;
        for turn in 0..all.len() {
            let at = |n: usize| &all[(turn + n) % all.len()];
            let mut extent = Extent::of(at(0), host);
            (1..all.len()).for_each(|n| extent.add(at(n), host));
            assert_eq!((extent.top.flow_id, &*extent.top.words, extent.score.get()), (3, "odd", 9.5));
            let mut followed = Extent::of(at(0), host);
            (1..all.len()).for_each(|n| followed.follow(&Extent::of(at(n), host)));
            assert_eq!((followed.top, followed.score), (extent.top, extent.score));
        }
    }
}
