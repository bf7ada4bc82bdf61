//! What was found of each event, and what was alarmed about that no label covers.

use std::collections::BTreeMap;

use super::matching::Matching;
use super::truth::{Events, Truth};
use super::{Labels, ScoredRow};

/// What became of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Its name in the labels.
    pub event: String,
    /// The family of the attack.
    pub attack: String,
    /// First nanosecond of its labels.
    pub start: u64,
    /// Rows that its labels cover.
    pub rows: u64,
    /// Those of them above the threshold.
    pub alerts: u64,
    /// Nanoseconds from its start to the end of the first row that was alarmed about.
    pub delay: Option<u64>,
    /// Whether it is of ARP alone: no row can cover it.
    pub not_ip: bool,
}

/// Scored rows held against labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Events by their start.
    pub events: Vec<Event>,
    /// Rows that no label covers.
    pub benign_rows: u64,
    /// Those of them above the threshold: false alarms.
    pub false_alarms: u64,
    /// Rows whose truth is not known.
    pub ignored_rows: u64,
}

impl Verdict {
    /// Events of which at least one row was alarmed about.
    pub fn found(&self) -> usize {
        self.events.iter().filter(|event| event.alerts > 0).count()
    }

    /// Recall of each family averaged over the families that rows can cover; none without labels.
    pub fn macro_recall(&self) -> Option<f64> {
        let mut families: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.rows > 0) {
            let family = families.entry(&event.attack).or_default();
            family.0 += event.alerts;
            family.1 += event.rows;
        }
        let recalls = families.values().map(|(alerts, rows)| *alerts as f64 / *rows as f64);
        (!families.is_empty()).then(|| recalls.sum::<f64>() / families.len() as f64)
    }
}

/// Holds rows against labels.
pub fn judge(rows: &[ScoredRow], labels: &Labels) -> Verdict {
    let known = Events::new(labels);
    let truth = known.truth(&Matching::new(labels, rows));
    let mut events: Vec<Event> = known
        .events
        .iter()
        .map(|event| Event {
            event: event.name.clone(),
            attack: known.families[event.family].clone(),
            start: event.start,
            not_ip: event.not_ip,
            ..Event::default()
        })
        .collect();
    let mut verdict = Verdict::default();
    for (row, truth) in rows.iter().zip(truth) {
        match truth {
            Truth::Benign => {
                verdict.benign_rows += 1;
                verdict.false_alarms += u64::from(row.is_anomaly);
            }
            Truth::Unknown => verdict.ignored_rows += 1,
            Truth::Attack(place) => {
                let event = &mut events[place];
                event.rows += 1;
                if row.is_anomaly {
                    event.alerts += 1;
                    let delay = row.end.saturating_sub(event.start);
                    event.delay = Some(event.delay.map_or(delay, |before| before.min(delay)));
                }
            }
        }
    }
    verdict.events = events;
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Label, Transport};

    fn label(event: &str, attack: &str, src: &str, transport: Option<Transport>) -> Label {
        Label {
            line: 0,
            start: 10,
            end: 100,
            ends: [Some(src.parse().unwrap()), None],
            transport,
            port: None,
            attack: attack.into(),
            event: event.into(),
        }
    }

    fn row(src: &str, end: u64, is_anomaly: bool) -> ScoredRow {
        ScoredRow { is_anomaly, ..ScoredRow::example(src, "10.0.0.250", 11, end, 0.5) }
    }

    #[test]
    fn rows_are_counted_once_and_alarms_outside_of_labels_are_false() {
        let labels = Labels {
            labels: vec![
                label("e1", "scan", "10.0.0.1", None),
                label("e2", "flood", "10.0.0.2", None),
                label("e3", "arp_scan", "10.0.0.3", Some(Transport::Arp)),
                label("e4", "ignore", "10.0.0.4", None),
            ],
        };
        let rows = [
            row("10.0.0.1", 30, true),
            row("10.0.0.1", 20, true),
            row("10.0.0.1", 15, false),
            row("10.0.0.2", 20, false),
            row("10.0.0.3", 20, false),
            row("10.0.0.4", 20, true),
            row("10.0.0.5", 20, true),
        ];
        let verdict = judge(&rows, &labels);
        let scan = &verdict.events[0];
        assert_eq!((scan.rows, scan.alerts, scan.delay), (3, 2, Some(10)));
        assert_eq!((verdict.events.len(), verdict.found()), (3, 1));
        assert!(verdict.events[2].not_ip);
        assert_eq!((verdict.benign_rows, verdict.false_alarms, verdict.ignored_rows), (2, 1, 1));
        assert_eq!(verdict.macro_recall(), Some((2.0 / 3.0) / 2.0));
    }
}
