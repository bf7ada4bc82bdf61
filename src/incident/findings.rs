//! Findings that come and go together: one for all of them in every collection, however many rows a flood has.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::finding::{Finding, Kind, Real};
use super::policy::Verdict;

/// What copies have in common: it is not copied, and known to be the same without being looked at.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Shared<T>(Arc<Vec<T>>);

impl<T: Ord> PartialOrd for Shared<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> Ord for Shared<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|all| Shared(Arc::new(all)))
    }
}

/// Findings of one window, at least one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Findings {
    window: u64,
    all: Shared<Finding>,
}

impl Findings {
    /// Of each window that some findings are of.
    pub fn by_window(findings: Vec<Finding>) -> impl Iterator<Item = Findings> {
        let mut windows: BTreeMap<u64, Vec<Finding>> = BTreeMap::new();
        match findings.first().map(|first| first.window) {
            // As most are, which need not be put together anew.
            Some(window) if findings.iter().all(|finding| finding.window == window) => {
                windows.insert(window, findings);
            }
            _ => findings
                .into_iter()
                .for_each(|finding| windows.entry(finding.window).or_default().push(finding)),
        }
        windows.into_iter().map(|(window, all)| Findings { window, all: Shared(Arc::new(all)) })
    }

    /// Start of their window, nanoseconds.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// A number that spreads them.
    pub(super) fn number(&self) -> u64 {
        self.all.0.first().map_or(0, |first| first.flow_id)
    }
}

/// Findings with what becomes of each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Judged {
    findings: Findings,
    verdicts: Shared<Verdict>,
}

impl Judged {
    pub(super) fn of(findings: &Findings, verdict: impl Fn(&Finding) -> Verdict) -> Judged {
        let verdicts = findings.all.0.iter().map(verdict).collect();
        Judged { findings: findings.clone(), verdicts: Shared(Arc::new(verdicts)) }
    }

    pub(super) fn window(&self) -> u64 {
        self.findings.window
    }

    fn each(&self) -> impl Iterator<Item = (&Finding, &Verdict)> {
        self.findings.all.0.iter().zip(self.verdicts.0.iter())
    }

    /// Those that are part of incidents, each with the threshold that it lies above.
    pub(super) fn standing(&self) -> impl Iterator<Item = (&Finding, Real)> {
        self.each().filter_map(|(finding, verdict)| match verdict {
            Verdict::Stands(threshold) => Some((finding, *threshold)),
            Verdict::Below | Verdict::Muted(_) => None,
        })
    }

    /// The window and flow of each row that a rule mutes, and the rule.
    pub(super) fn muted(&self) -> Vec<(u64, u64, String)> {
        let muted = self.each().filter_map(|(finding, verdict)| match verdict {
            Verdict::Muted(rule) if finding.kind == Kind::Anomaly => {
                Some((finding.window, finding.flow_id, rule.clone()))
            }
            _ => None,
        });
        muted.collect()
    }
}
