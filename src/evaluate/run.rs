//! What a run left: its rows with their flags, its incidents, the threshold.

use hashbrown::HashSet;

use super::EvaluateError;
use super::incidents::Log;
use super::scores::{ScoredRow, Scores};
use crate::report;
use crate::row::RowKey;
use crate::sink::report::SUMMARY;

/// What a run left.
pub(super) struct Run {
    /// Rows; those that a rule mutes are no anomalies here.
    pub(super) rows: Vec<ScoredRow>,
    /// The incidents that lie beside them, if some do.
    pub(super) log: Option<Log>,
    /// The threshold that marked them, where it is known.
    pub(super) threshold: Option<f64>,
}

impl Run {
    pub(super) fn read(scores: &Scores) -> Result<Run, EvaluateError> {
        let mut rows = scores.read()?;
        let log = report::left(scores.beside())?.map(Log::new);
        let threshold = threshold_of(scores).filter(|threshold| is_by(*threshold, &rows));
        if let Some(log) = &log {
            mute(&mut rows, log);
        }
        Ok(Run { rows, log, threshold })
    }
}

/// Whether it is a threshold that marked these rows.
fn is_by(threshold: f64, rows: &[ScoredRow]) -> bool {
    rows.iter().all(|row| row.is_anomaly == (row.score > threshold))
}

/// A row that a rule mutes is no alert: nobody was told of it.
fn mute(rows: &mut [ScoredRow], log: &Log) {
    let muted: HashSet<RowKey> = log.muted.values().flatten().copied().collect();
    for row in rows.iter_mut().filter(|_| !muted.is_empty()) {
        row.is_anomaly &= row.flow.is_none_or(|flow| !muted.contains(&(row.window, flow)));
    }
}

/// The threshold that the counters beside scores say, if they say one.
fn threshold_of(scores: &Scores) -> Option<f64> {
    let text = std::fs::read(scores.beside().join(SUMMARY)).ok()?;
    serde_json::from_slice::<serde_json::Value>(&text).ok()?.get("threshold")?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_named_where_the_flags_are_by_it_and_what_is_muted_is_no_alert() {
        let row = |flow: u64, score: f64, is_anomaly: bool| ScoredRow {
            is_anomaly,
            flow: Some(flow),
            ..ScoredRow::example("10.0.0.1", "10.0.0.2", 0, 1, score)
        };
        let mut rows = [row(1, 6.5, false), row(2, 7.02, true), row(3, 8.0, true)];
        assert_eq!([6.9, 7.02, 6.4].map(|threshold| is_by(threshold, &rows)), [true, false, false]);
        let muted = [(rows[1].window, 2), (rows[0].window + 1, 3)].into();
        mute(&mut rows, &Log { muted: [("backup".to_owned(), muted)].into(), ..Log::default() });
        assert_eq!(rows.map(|row| row.is_anomaly), [false, false, true]);
    }
}
