//! Incidents as a run left them, each with its rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::incident::Severity;
use crate::report::{Incident, Left};
use crate::row::RowKey;

/// The severities that are told, the least first.
pub(super) const SEVERITIES: [Severity; 4] =
    [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

/// What a run left about incidents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Log {
    /// In the order of their first lines, each with its rows.
    pub(super) incidents: Vec<(Incident, BTreeSet<RowKey>)>,
    /// Rows that a rule muted, by its name.
    pub(super) muted: BTreeMap<String, BTreeSet<RowKey>>,
    /// Incidents that have rows and are not in the log: it was rotated, or cut.
    pub(super) unsaid: u64,
}

impl Log {
    /// Of what a run left.
    pub(super) fn new(Left { incidents, members }: Left) -> Log {
        let mut rows = members.of_incident;
        let with_rows = |incident: Incident| {
            let rows = rows.remove(&incident.id).unwrap_or_default();
            (incident, rows)
        };
        let incidents = incidents.into_iter().map(with_rows).collect();
        Log { incidents, muted: members.muted, unsaid: rows.len() as u64 }
    }
}
