//! Rules and a threshold that change while a run goes on: where the next ones wait until the graph takes them.

use std::sync::Mutex;

use super::finding::Real;
use super::policy::Setting;
use super::rules::Rules;

/// What is in force at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// Scores above it are anomalies.
    pub threshold: f64,
    /// What says so, in words.
    pub by: String,
    /// What is not to be reported.
    pub rules: Rules,
}

impl InForce {
    /// The same as the settings of a policy.
    pub(super) fn settings(threshold: f64, rules: &Rules) -> Vec<Setting> {
        let threshold = Setting::Threshold(Real::new(threshold));
        rules.rules().iter().cloned().map(Setting::Allow).chain([threshold]).collect()
    }
}

/// What is to be in force next, and what is.
#[derive(Debug)]
pub struct Changes {
    next: Mutex<Option<InForce>>,
    now: Mutex<InForce>,
}

const LOCK: &str = "no thread panics while it looks at settings";

impl Changes {
    /// None yet.
    pub fn new(now: InForce) -> Changes {
        Changes { next: Mutex::new(None), now: Mutex::new(now) }
    }

    /// Asks for a change. It is taken when the next window is complete; of several until then the last counts.
    pub fn put(&self, next: InForce) {
        *self.next.lock().expect(LOCK) = Some(next);
    }

    /// What the graph works by.
    pub fn now(&self) -> InForce {
        self.now.lock().expect(LOCK).clone()
    }

    /// Takes what was asked for, which is in force from here on.
    pub(crate) fn take(&self) -> Option<InForce> {
        let next = self.next.lock().expect(LOCK).take()?;
        self.now.lock().expect(LOCK).clone_from(&next);
        Some(next)
    }
}
