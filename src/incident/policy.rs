//! Which findings stand: the threshold, and the rules of the allow-list.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::finding::{Finding, Kind, Real};
use super::rules::{Rule, Rules};
use crate::detect::outline::grouped;

/// One part of a policy; together they are a collection, which may change while a run goes on.
#[allow(clippy::large_enum_variant, reason = "there are few, and most are rules")]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Setting {
    /// Rows whose score is greater are anomalies. Of several the greatest counts.
    Threshold(Real),
    /// What is not to be reported.
    Allow(Rule),
}

/// All settings at one time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Policy {
    threshold: Option<Real>,
    /// In the order of their numbers.
    rules: Vec<Rule>,
}

/// What becomes of a finding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// It is below the threshold.
    Below,
    /// A rule, by its name, keeps it from being reported.
    Muted(String),
    /// It is part of an incident, and this is the threshold that it lies above; 0 where there is none.
    Stands(Real),
}

impl Policy {
    /// The policy that settings make, in whatever order.
    pub(super) fn of<'a>(settings: impl Iterator<Item = &'a Setting>) -> Policy {
        let mut policy = Policy::default();
        for setting in settings {
            match setting {
                Setting::Threshold(threshold) => policy.threshold = policy.threshold.max(Some(*threshold)),
                Setting::Allow(rule) => policy.rules.push(rule.clone()),
            }
        }
        policy.rules.sort_unstable();
        policy
    }

    /// What becomes of a finding whose window ends at `end`.
    pub(super) fn verdict(&self, finding: &Finding, end: u64, hits: &Hits) -> Verdict {
        if finding.kind == Kind::Anomaly && self.threshold.is_some_and(|threshold| finding.score <= threshold)
        {
            return Verdict::Below;
        }
        let mut holding =
            self.rules.iter().filter(|rule| rule.holds(finding, end)).inspect(|rule| hits.hit(rule));
        let stands = || Verdict::Stands(self.threshold.unwrap_or(Real::new(0.0)));
        let verdict = holding.next().map_or_else(stands, |rule| Verdict::Muted(rule.to_string()));
        // A rule behind another is of use all the same.
        holding.for_each(drop);
        verdict
    }
}

impl Policy {
    /// Whether no rule is in it.
    pub(super) fn mutes_nothing(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a rule keeps a finding whose window ends at `end` from being reported.
    pub(super) fn mutes(&self, finding: &Finding, end: u64) -> bool {
        self.rules.iter().any(|rule| rule.holds(finding, end))
    }
}

/// Which rules held for something, shared by all workers of a process, and how far event time came.
#[derive(Debug, Default)]
pub struct Hits {
    rules: RwLock<Vec<(Rule, AtomicBool)>>,
    newest: AtomicU64,
    /// Anomalies of rows whose ends have no addresses.
    unaddressed: AtomicU64,
}

const LOCK: &str = "no worker panics while it looks at rules";

impl Hits {
    /// Of these rules, none yet.
    pub fn new(rules: &Rules) -> Hits {
        let hits = Hits::default();
        hits.follow(rules);
        hits
    }

    /// Of other rules from here on; what is known of those that stay stays.
    pub(super) fn follow(&self, rules: &Rules) {
        let mut known = self.rules.write().expect(LOCK);
        let hit = |rule: &Rule| known.iter().any(|(old, hit)| old.is_again(rule) && hit.load(Relaxed));
        *known = rules.rules().iter().map(|rule| (rule.clone(), AtomicBool::new(hit(rule)))).collect();
    }

    fn hit(&self, rule: &Rule) {
        if let Some((_, hit)) = self.rules.read().expect(LOCK).iter().find(|(known, _)| known == rule) {
            hit.store(true, Relaxed);
        }
    }

    /// A window with rows ends at `end`.
    pub(super) fn reached(&self, end: u64) {
        self.newest.fetch_max(end, Relaxed);
    }

    /// So many anomalies can be of no host's incident.
    pub(super) fn unaddressed(&self, anomalies: u64) {
        self.unaddressed.fetch_add(anomalies, Relaxed);
    }

    /// What became of nothing, a line each: anomalies without addresses; rules that were of no use, since their time was
    /// over before the end or they held for nothing.
    pub fn complaints(&self) -> Vec<String> {
        let newest = self.newest.load(Relaxed);
        let complaint = |(rule, hit): &(Rule, AtomicBool)| {
            let unused = || (!hit.load(Relaxed)).then(|| format!("allow-list rule {rule}: matched nothing"));
            rule.useless_at(newest).or_else(unused)
        };
        let unaddressed = match self.unaddressed.load(Relaxed) {
            0 => None,
            1 => Some("1 anomaly is in no incident: its src_ip or dst_ip is no address".to_owned()),
            many => {
                let many = grouped(many);
                Some(format!("{many} anomalies are in no incident: their src_ip or dst_ip is no address"))
            }
        };
        let rules = self.rules.read().expect(LOCK);
        unaddressed.into_iter().chain(rules.iter().filter_map(complaint)).collect()
    }
}
