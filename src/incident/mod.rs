//! Anomalous rows to incidents: what belongs together is one thing to look at, with a beginning, an extent and an
//! end.
//!
//! ```text
//! scored rows ── findings ─(window's owner)─ policy ── cover ── parts ─(host's owner)─ sessions ── changes
//!                             threshold, allow-list ──┘                   to the sinks, in order of event time
//! ```
//!
//! - [`finding`]: what of an anomalous row is needed from here on; all that crosses workers. [`findings`]: those of a
//!   batch of rows, which come and go together.
//! - [`policy`]: the threshold and the allow-list ([`rules`], [`net`]): which findings stand, and which rule mutes one.
//! - [`cover`]: the findings of one window shared out among few hosts: a [`Part`] for each.
//! - [`session`]: parts of one host, with less than `silence` between them, are one incident.
//! - [`severity`]: how bad it is, in a word, for rows too; [`budget`]: which incidents are worth a person's time
//!   where only so many a day may be reported; [`change`]: what is said of incidents.
//! - [`muting`]: which rows a rule mutes at the time that they are written, for those who write alerts.
//! - [`changes`]: rules and a threshold that change while a run goes on.
//!
//! Up to the parts everything is a pure function of the findings of one window and of the policy, kept by
//! differential dataflow: findings, rules and the threshold are collections, and a change of any of them, also
//! to the past, changes parts as if it had always been so. Sessions follow changed parts in the same way. What
//! is older than `keep` is final: the findings are taken out of all traces, while incidents stand as they were
//! said. So memory is that of open incidents and of the findings of `keep`, however long a run lasts.

pub mod budget;
pub mod change;
pub mod changes;
mod cover;
mod extent;
mod finding;
mod findings;
pub mod line;
mod muting;
mod net;
pub mod operator;
mod policy;
pub mod rules;
mod session;
mod severity;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::tests::example_of_a_knock;

pub use self::change::{Change, Event, RowChange, Said, State};
pub use self::changes::{Changes, InForce};
pub use self::cover::{CROWD, Part};
pub use self::finding::{Columns, Finding, Hint, Kind, Real};
pub use self::findings::Findings;
pub use self::muting::Muting;
pub use self::policy::{Hits, Policy, Setting};
pub use self::rules::{Rule, Rules, RulesError};
pub use self::severity::{Beyond, Rank, Severity};

/// What the pipeline file says about incidents (`[incident]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IncidentSpec {
    /// An incident ends when its host was silent for so long.
    #[serde(with = "humantime_serde")]
    pub silence: Duration,
    /// How far back a changed rule or threshold reaches; at least `silence`. Findings are held in memory for so long.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// The file of the allow-list, which may say another threshold too. A live run follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<PathBuf>,
    /// The loosest threshold that a live run can be changed to, as a false alarm rate, above 0 and up to 0.5: what lies
    /// above it is held for `keep`. Ten times what the run starts with where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loosest: Option<f64>,
    /// So many incidents a day are reported at most, the stronger the fewer reports are left; the others stand in the
    /// log, marked as held. All of them where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts_per_day: Option<u32>,
}

impl Default for IncidentSpec {
    fn default() -> Self {
        IncidentSpec {
            silence: Duration::from_secs(60),
            keep: Duration::from_secs(60),
            allow: None,
            loosest: None,
            alerts_per_day: None,
        }
    }
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum IncidentError {
    /// Outside of what is allowed.
    #[error("[incident] {key} = {found}: must be {allowed}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What the file says.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
}

impl IncidentSpec {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`IncidentError::Setting`] for the first one that cannot be.
    pub fn check(&self) -> Result<(), IncidentError> {
        let wrong = |key, found: String, allowed| Err(IncidentError::Setting { key, found, allowed });
        let day = Duration::from_secs(86_400);
        if !(Duration::from_secs(1)..=day).contains(&self.silence) {
            return wrong("silence", format!("{:?}", self.silence), "between 1s and 1d");
        }
        if !(self.silence..=day).contains(&self.keep) {
            return wrong("keep", format!("{:?}", self.keep), "from the value of `silence` to 1d");
        }
        if let Some(loosest) = self.loosest
            && !(loosest > 0.0 && loosest <= 0.5)
        {
            return wrong("loosest", loosest.to_string(), "above 0 and up to 0.5");
        }
        if self.alerts_per_day == Some(0) {
            return wrong("alerts_per_day", "0".to_owned(), "at least 1");
        }
        Ok(())
    }
}

/// Times of a run, in nanoseconds of event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// Length of a window.
    pub window: u64,
    /// Event time of one timely timestamp.
    pub slice: u64,
    /// Silence that ends an incident, up to whole windows.
    pub silence: u64,
    /// How long findings can change, up to whole windows.
    pub keep: u64,
}

impl Clock {
    /// The times of rows with these windows and slices.
    ///
    /// # Panics
    /// If `window` or `slice` is 0.
    pub fn new(spec: &IncidentSpec, window: u64, slice: u64) -> Clock {
        assert!(window > 0 && slice > 0, "windows and slices have a length");
        let whole = |time: Duration| crate::flow::nanoseconds(time).div_ceil(window).saturating_mul(window);
        Clock { window, slice, silence: whole(spec.silence), keep: whole(spec.keep) }
    }

    /// The end of a window.
    fn end(&self, window: u64) -> u64 {
        window.saturating_add(self.window)
    }

    /// The timestamp at which all before an event time is complete: that of the windows that end then.
    fn stamp(&self, end: u64) -> u64 {
        end.saturating_sub(1) / self.slice
    }

    /// Whether, when all before the timestamp `open` is complete, so is the window of `held`.
    fn passes_window(&self, held: u64, open: u64) -> bool {
        let from = held.saturating_mul(self.slice);
        open > self.stamp(self.end(from / self.window * self.window))
    }

    /// The end of the latest window that is complete at a timestamp.
    fn complete(&self, stamp: u64) -> u64 {
        let until = stamp.saturating_add(1).saturating_mul(self.slice);
        until / self.window * self.window
    }

    /// The event time that says what changed about a window at a timestamp: the window's end, or, where its
    /// past was changed, the end of the latest window; `None` where the window is out of reach of changes.
    fn said(&self, window: u64, stamp: u64) -> Option<u64> {
        let end = self.end(window);
        let time = match self.stamp(end) {
            own if own >= stamp => end,
            _ => self.complete(stamp).max(end),
        };
        (time < end.saturating_add(self.keep)).then_some(time)
    }
}
