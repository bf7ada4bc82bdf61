//! Alert groups: alerts of one source host that no minute of silence parts. A simple stand-in for incidents.

use std::net::IpAddr;

use super::scores::ScoredRow;
use super::truth::Truth;

/// What parts two groups of one host: 60 s without an alert.
pub(super) const SILENCE: u64 = 60_000_000_000;

/// Alerts of one source host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AlertGroup {
    /// The source.
    pub(super) host: IpAddr,
    /// First packet of its alerts, nanoseconds since the Unix epoch.
    pub(super) start: u64,
    /// Last packet of its alerts.
    pub(super) end: u64,
    /// Rows that were alarmed about.
    pub(super) alerts: u64,
    /// Those that are part of an event.
    pub(super) attacks: u64,
    /// Those whose truth is not known.
    pub(super) unknown: u64,
    /// The events, in order, each once.
    pub(super) events: Vec<usize>,
    /// The row of the highest score, the first of equals.
    pub(super) top: usize,
}

impl AlertGroup {
    /// Whether nothing in it is part of an event, and something is benign.
    pub(super) fn is_false(&self) -> bool {
        self.attacks == 0 && self.unknown < self.alerts
    }
}

/// Groups the rows that `alarmed` names, by start.
pub(super) fn group(
    rows: &[ScoredRow],
    truth: &[Truth],
    scores: &[f64],
    alarmed: impl Iterator<Item = usize>,
) -> Vec<AlertGroup> {
    let mut alarmed: Vec<usize> = alarmed.collect();
    alarmed.sort_unstable_by_key(|at| (rows[*at].src, rows[*at].start, rows[*at].end, *at));
    let mut groups: Vec<AlertGroup> = Vec::new();
    for at in alarmed {
        let row = &rows[at];
        let open = groups
            .last_mut()
            .filter(|group| group.host == row.src && row.start <= group.end.saturating_add(SILENCE));
        let group = match open {
            Some(group) => group,
            None => {
                groups.push(AlertGroup {
                    host: row.src,
                    start: row.start,
                    end: row.end,
                    alerts: 0,
                    attacks: 0,
                    unknown: 0,
                    events: Vec::new(),
                    top: at,
                });
                groups.last_mut().expect("one was pushed")
            }
        };
        group.end = group.end.max(row.end);
        group.alerts += 1;
        match truth[at] {
            Truth::Benign => {}
            Truth::Unknown => group.unknown += 1,
            Truth::Attack(event) => {
                group.attacks += 1;
                if let Err(place) = group.events.binary_search(&event) {
                    group.events.insert(place, event);
                }
            }
        }
        if scores[at] > scores[group.top] {
            group.top = at;
        }
    }
    groups.sort_by_key(|group| (group.start, group.host));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_silence_and_another_source_part_groups() {
        let second = 1_000_000_000;
        let row = |src: &str, start: u64, end: u64, score| {
            ScoredRow::example(src, "10.0.0.9", start * second, end * second, score)
        };
        let rows = [
            row("10.0.0.1", 0, 50, 1.0),
            row("10.0.0.1", 105, 106, 3.0),
            row("10.0.0.1", 167, 168, 2.0),
            row("10.0.0.2", 100, 101, 1.0),
            row("10.0.0.2", 120, 121, 9.0),
        ];
        let truth = [Truth::Benign, Truth::Attack(4), Truth::Benign, Truth::Unknown, Truth::Benign];
        let scores: Vec<f64> = rows.iter().map(|row| row.score).collect();
        let groups = group(&rows, &truth, &scores, 0..4);
        let spans: Vec<_> = groups.iter().map(|g| (g.start / second, g.end / second, g.alerts)).collect();
        assert_eq!(spans, [(0, 106, 2), (100, 101, 1), (167, 168, 1)]);
        assert_eq!((groups[0].top, groups[0].attacks, groups[0].events.as_slice()), (1, 1, [4].as_slice()));
        let false_ones: Vec<_> = groups.iter().map(AlertGroup::is_false).collect();
        assert_eq!(false_ones, [false, false, true], "a group of unknown truth is not blamed");
    }
}
