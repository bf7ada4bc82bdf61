//! Which rows a rule mutes at the time that they are written: no alert is written for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::Clock;
use super::finding::Columns;
use super::policy::{Policy, Setting};

/// What is in force from a timestamp on, told by the graph and asked by who writes rows. Shared by all workers of a
/// process.
#[derive(Clone, Debug)]
pub struct Muting {
    columns: Columns,
    clock: Clock,
    in_force: Arc<Mutex<BTreeMap<u64, Policy>>>,
    muted: Arc<AtomicU64>,
}

const LOCK: &str = "no worker panics while it looks at rules";

impl Muting {
    /// By these settings from the start on; findings have the values of these columns.
    pub(super) fn new(clock: Clock, columns: Vec<String>, settings: &BTreeSet<Setting>) -> Muting {
        let muting = Muting {
            columns: Columns::with(columns),
            clock,
            in_force: Arc::default(),
            muted: Arc::default(),
        };
        muting.follow(0, settings);
        muting
    }

    /// By other settings from a timestamp on. Rows of that time must come to be written later than this is known.
    pub(super) fn follow(&self, time: u64, settings: &BTreeSet<Setting>) {
        self.in_force.lock().expect(LOCK).insert(time, Policy::of(settings.iter()));
    }

    /// The places of scored rows that are anomalies and that a rule mutes. Rows must come in the order of their
    /// windows: what was in force before theirs is forgotten.
    ///
    /// # Errors
    /// If a column is missing or of a type that no flow row has.
    pub fn muted(&self, rows: &RecordBatch) -> Result<BTreeSet<usize>, ArrowError> {
        let mut in_force = self.in_force.lock().expect(LOCK);
        if in_force.values().all(Policy::mutes_nothing) {
            return Ok(BTreeSet::new());
        }
        let anomalies = self.columns.anomalies(rows)?;
        let stamp = |window: u64| self.clock.stamp(self.clock.end(window));
        if let Some((_, first)) = anomalies.first()
            && let Some(oldest) = in_force.range(..=stamp(first.window)).next_back().map(|(time, _)| *time)
        {
            *in_force = in_force.split_off(&oldest);
        }
        let muted = anomalies.into_iter().filter(|(_, finding)| {
            let policy = in_force.range(..=stamp(finding.window)).next_back();
            let end = self.clock.end(finding.window);
            policy.is_some_and(|(_, policy)| policy.mutes(finding, end))
        });
        let muted: BTreeSet<usize> = muted.map(|(place, _)| place).collect();
        self.muted.fetch_add(muted.len() as u64, Relaxed);
        Ok(muted)
    }

    /// Rows that were muted so far.
    pub fn rows(&self) -> u64 {
        self.muted.load(Relaxed)
    }
}
