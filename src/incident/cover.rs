//! The findings of one window shared out among few hosts.
//!
//! Each finding has two ends, and either may be what it is about: the scanner of a hundred hosts, or the one
//! host that a hundred scan. The host that accounts for most takes its findings, then the next of what is left,
//! until nothing is left (the greedy cover of Chvatal 1979). A finding weighs its score, doubled at its source:
//! who begins a connection acts, and what is begun by one and done to one is the source's. Nothing else than
//! the window's own findings decides, so that a cover is the same whatever came before it.

use std::collections::{BTreeMap, BinaryHeap, btree_map};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::extent::{Extent, drawn, weight};
use super::finding::{Finding, Kind, Real};

/// New hosts of one window that are reported each by itself. More are no hosts that joined but forged
/// addresses, or a network that the model was not trained on: that is reported, once.
pub(super) const GREETED: usize = 16;

/// In the place of a host, for new ones that are more than [`GREETED`] ([`Kind::NewHosts`]).
pub const CROWD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// What a host did in one window, as far as it is odd.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Part {
    /// What its findings say.
    pub kind: Kind,
    /// Whom they are about.
    pub host: IpAddr,
    /// Start of the window, nanoseconds.
    pub window: u64,
    /// The threshold that was in force.
    pub threshold: Real,
    /// Their flows, ascending; none for a new host.
    pub flows: Vec<u64>,
    /// What they add up to.
    pub extent: Extent,
}

/// The parts of one window's findings, by kind and host, under this threshold.
pub(super) fn cover(findings: &[&Finding], threshold: Real) -> Vec<Part> {
    let mut parts = new_hosts(findings, threshold);
    let anomalies: Vec<&Finding> = findings.iter().copied().filter(|f| f.kind == Kind::Anomaly).collect();
    let hosts = covering(&anomalies);
    let mut by_host: BTreeMap<IpAddr, Part> = BTreeMap::new();
    for (finding, host) in anomalies.into_iter().zip(hosts) {
        match by_host.entry(host) {
            btree_map::Entry::Vacant(entry) => {
                let (flows, extent) = (vec![finding.flow_id], Extent::of(finding, host));
                let (kind, window) = (Kind::Anomaly, finding.window);
                entry.insert(Part { kind, host, window, threshold, flows, extent });
            }
            btree_map::Entry::Occupied(mut entry) => {
                entry.get_mut().flows.push(finding.flow_id);
                entry.get_mut().extent.add(finding, host);
            }
        }
    }
    parts.extend(by_host.into_values().map(|mut part| {
        part.flows.sort_unstable();
        part
    }));
    parts
}

/// New hosts, each by the oddest of its rows.
fn new_hosts(findings: &[&Finding], threshold: Real) -> Vec<Part> {
    let mut hosts: BTreeMap<IpAddr, (&Finding, i64, i64)> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.kind == Kind::NewHost) {
        let (kept, first, last) = hosts.entry(finding.src).or_insert((finding, finding.start, finding.end));
        (*first, *last) = (finding.start.min(*first), finding.end.max(*last));
        if finding.greets() > kept.greets() {
            *kept = finding;
        }
    }
    let part = |kind: Kind, host: IpAddr, (finding, first, last): (&Finding, i64, i64)| {
        let extent = Extent { alerts: 0, first, last, ..Extent::of(finding, finding.src) };
        Part { kind, host, window: finding.window, threshold, flows: Vec::new(), extent }
    };
    if hosts.len() > GREETED {
        // One of them stands for all: the one that is drawn first.
        let one = hosts.values().min_by_key(|(finding, ..)| (drawn(finding.src), finding.src));
        return one.map(|of| part(Kind::NewHosts, CROWD, *of)).into_iter().collect();
    }
    hosts.into_iter().map(|(host, of)| part(Kind::NewHost, host, of)).collect()
}

/// The host that accounts for each finding.
fn covering(findings: &[&Finding]) -> Vec<IpAddr> {
    let mut hosts: Vec<IpAddr> = findings.iter().flat_map(|finding| [finding.src, finding.dst]).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let place = |host: &IpAddr| hosts.binary_search(host).expect("all ends are there");
    let ends: Vec<(usize, usize)> = findings.iter().map(|f| (place(&f.src), place(&f.dst))).collect();
    let mut weights = vec![0u64; hosts.len()];
    let mut touched: Vec<Vec<u32>> = vec![Vec::new(); hosts.len()];
    for (number, (finding, (src, dst))) in (0..).zip(findings.iter().zip(&ends)) {
        let weight = weight(finding.score);
        weights[*src] += 2 * weight;
        touched[*src].push(number);
        if src != dst {
            weights[*dst] += weight;
            touched[*dst].push(number);
        }
    }
    // Weights only fall: a host that comes up with an old weight goes back with its new one, once for each time
    // that it lost some.
    let entry = |host: usize, weights: &[u64]| (weights[host], std::cmp::Reverse(host));
    let mut heap: BinaryHeap<_> = (0..hosts.len()).map(|host| entry(host, &weights)).collect();
    let mut covered: Vec<Option<usize>> = vec![None; findings.len()];
    while let Some((weight, std::cmp::Reverse(host))) = heap.pop() {
        if weight != weights[host] {
            if weights[host] > 0 {
                heap.push(entry(host, &weights));
            }
            continue;
        }
        for number in &touched[host] {
            let at = *number as usize;
            if covered[at].is_some() {
                continue;
            }
            covered[at] = Some(host);
            let (src, dst) = ends[at];
            let weight = self::weight(findings[at].score);
            match src == host {
                true if src != dst => weights[dst] -= weight,
                true => {}
                false => weights[src] -= 2 * weight,
            }
        }
        weights[host] = 0;
    }
    covered.into_iter().map(|host| hosts[host.expect("every finding has two hosts that weigh")]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::finding;
    use super::*;

    fn hosts(findings: &[Finding]) -> Vec<(String, usize)> {
        let parts = cover(&findings.iter().collect::<Vec<_>>(), Real::new(5.0));
        parts.iter().map(|part| (part.host.to_string(), part.flows.len())).collect()
    }

    #[test]
    fn one_scan_is_its_scanner_and_a_flood_from_many_its_victim() {
        let scan: Vec<Finding> =
            (0..50).map(|n| finding(0, n, [10, 0, 0, 9], [10, 0, 1, n as u8], 9.0)).collect();
        assert_eq!(hosts(&scan), [("10.0.0.9".to_owned(), 50)]);
        let flood: Vec<Finding> =
            (0..50).map(|n| finding(0, n, [10, 0, 1, n as u8], [10, 0, 0, 9], 9.0)).collect();
        assert_eq!(hosts(&flood), [("10.0.0.9".to_owned(), 50)]);
    }

    #[test]
    fn of_one_connection_the_source_is_named() {
        let one = [finding(0, 1, [10, 0, 0, 9], [10, 0, 0, 1], 8.0)];
        assert_eq!(hosts(&one), [("10.0.0.9".to_owned(), 1)]);
    }

    #[test]
    fn what_a_greater_host_took_is_not_counted_twice() {
        let mut findings: Vec<Finding> =
            (0..9).map(|n| finding(0, n, [10, 0, 0, 9], [10, 0, 1, n as u8], 9.0)).collect();
        findings.push(finding(0, 10, [10, 0, 0, 7], [10, 0, 1, 3], 9.0));
        assert_eq!(hosts(&findings), [("10.0.0.7".to_owned(), 1), ("10.0.0.9".to_owned(), 9)]);
    }

    #[test]
    fn newcomers_that_come_in_a_crowd_are_one() {
        let new = |n: u64| Finding {
            kind: Kind::NewHost,
            ..finding(0, n, [10, 9, 0, n as u8], [10, 0, 0, 1], 1.0)
        };
        assert_eq!(hosts(&(0..GREETED as u64).map(new).collect::<Vec<_>>()).len(), GREETED);
        for crowd in [GREETED as u64 + 1, 200] {
            let all: Vec<Finding> = (0..crowd).map(new).collect();
            assert_eq!(hosts(&all), [("0.0.0.0".to_owned(), 0)]);
        }
    }
}
