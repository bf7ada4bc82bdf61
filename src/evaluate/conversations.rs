//! The oddest conversations, and what partitions did: rows gathered for a person to look at.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use super::labels::Transport;
use super::scores::ScoredRow;
use super::truth::Truth;

/// Who spoke with whom about what.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct What {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// Transport and service, such as `tcp 22 (ssh)`.
    pub(super) service: String,
    /// First packet of the row.
    pub(super) start: u64,
    pub(super) score: f64,
    pub(super) truth: Truth,
}

impl What {
    pub(super) fn of(row: &ScoredRow, truth: Truth) -> What {
        What { src: row.src, dst: row.dst, service: service(row), start: row.start, score: row.score, truth }
    }
}

/// Transport, port and the service's name where it says more than the port.
fn service(row: &ScoredRow) -> String {
    let port = row.ports[1];
    let name = row.service.as_deref().unwrap_or_default();
    let transport = match Transport::of(row.protocol) {
        Transport::Icmp if name.is_empty() => return "icmp".into(),
        Transport::Icmp => return name.into(),
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Arp | Transport::Other(_) => return format!("protocol {}", row.protocol),
    };
    match name.is_empty() || name == port.to_string() || name == "high" {
        true => format!("{transport} {port}"),
        false => format!("{transport} {port} ({name})"),
    }
}

/// Rows of one source, destination, protocol and responder's port.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conversation {
    /// Its oddest row, the first of equals.
    pub(super) top: What,
    pub(super) rows: u64,
    pub(super) alerts: u64,
}

/// Conversations of one event that are shown: a flood would leave no place for others.
pub(super) const OF_ONE_EVENT: usize = 3;

/// The `most` oddest conversations, by their oddest row, no more than [`OF_ONE_EVENT`] of any event.
pub(super) fn oddest(rows: &[ScoredRow], truth: &[Truth], most: usize) -> Vec<Conversation> {
    struct Sum {
        top: usize,
        rows: u64,
        alerts: u64,
    }
    let mut sums: HashMap<(IpAddr, IpAddr, u8, u16), Sum> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        let key = (row.src, row.dst, row.protocol, row.ports[1]);
        let sum = sums.entry(key).or_insert(Sum { top: at, rows: 0, alerts: 0 });
        sum.rows += 1;
        sum.alerts += u64::from(row.is_anomaly);
        if row.score > rows[sum.top].score {
            sum.top = at;
        }
    }
    let mut sums: Vec<Sum> = sums.into_values().collect();
    sums.sort_unstable_by(|a, b| rows[b.top].score.total_cmp(&rows[a.top].score).then(a.top.cmp(&b.top)));
    let mut of_event: BTreeMap<usize, usize> = BTreeMap::new();
    sums.retain(|sum| match truth[sum.top] {
        Truth::Attack(event) => {
            let shown = of_event.entry(event).or_default();
            *shown += 1;
            *shown <= OF_ONE_EVENT
        }
        _ => true,
    });
    sums.truncate(most);
    let gather = |sum: Sum| Conversation {
        top: What::of(&rows[sum.top], truth[sum.top]),
        rows: sum.rows,
        alerts: sum.alerts,
    };
    sums.into_iter().map(gather).collect()
}

/// What one partition of the detector scored.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Partition {
    pub(super) name: String,
    pub(super) benign: u64,
    pub(super) attacks: u64,
    pub(super) unknown: u64,
    pub(super) hits: u64,
    pub(super) false_alarms: u64,
    /// The highest score without an alarm and the lowest with one.
    pub(super) edge: [Option<f64>; 2],
}

/// Every partition by name; empty where the file has none.
pub(super) fn partitions(rows: &[ScoredRow], truth: &[Truth]) -> Vec<Partition> {
    let mut all: BTreeMap<&Arc<str>, Partition> = BTreeMap::new();
    for (row, truth) in rows.iter().zip(truth) {
        let Some(name) = &row.partition else { continue };
        let partition = all.entry(name).or_default();
        partition.add(row, *truth);
    }
    all.into_iter().map(|(name, partition)| Partition { name: name.to_string(), ..partition }).collect()
}

impl Partition {
    /// Of all rows together, whatever their partition.
    pub(super) fn whole(rows: &[ScoredRow], truth: &[Truth]) -> Partition {
        let mut whole = Partition::default();
        rows.iter().zip(truth).for_each(|(row, truth)| whole.add(row, *truth));
        whole
    }

    fn add(&mut self, row: &ScoredRow, truth: Truth) {
        match truth {
            Truth::Unknown => self.unknown += 1,
            Truth::Benign => {
                self.benign += 1;
                self.false_alarms += u64::from(row.is_anomaly);
            }
            Truth::Attack(_) => {
                self.attacks += 1;
                self.hits += u64::from(row.is_anomaly);
            }
        }
        let [quiet, alarmed] = &mut self.edge;
        if row.is_anomaly {
            *alarmed = Some(alarmed.map_or(row.score, |before| before.min(row.score)));
        } else {
            *quiet = Some(quiet.map_or(row.score, |before| before.max(row.score)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_stand_by_their_oddest_row() {
        let row = |src: &str, start, score: f64| ScoredRow {
            is_anomaly: score > 3.0,
            service: Some("http".into()),
            ..ScoredRow::example(src, "10.0.0.9", start, start, score)
        };
        let rows = [
            row("10.0.0.1", 1, 2.0),
            row("10.0.0.2", 2, 5.0),
            row("10.0.0.1", 3, 9.0),
            row("10.0.0.3", 4, 1.0),
        ];
        let oddest = oddest(&rows, &[Truth::Benign; 4], 2);
        let seen: Vec<_> = oddest.iter().map(|one| (one.top.start, one.rows, one.alerts)).collect();
        assert_eq!(seen, [(3, 2, 1), (2, 1, 1)]);
        assert_eq!(oddest[0].top.service, "tcp 80 (http)");
        let flood: Vec<ScoredRow> = (0..90).map(|at| row(&format!("10.0.1.{at}"), at, 50.0)).collect();
        let rows = [flood.as_slice(), &rows].concat();
        let truth = [vec![Truth::Attack(7); 90], vec![Truth::Benign; 4]].concat();
        let shown = super::oddest(&rows, &truth, 9);
        assert_eq!(shown.iter().filter(|one| one.top.truth == Truth::Attack(7)).count(), OF_ONE_EVENT);
        assert_eq!(shown.len(), OF_ONE_EVENT + 3, "a flood leaves place for others");
    }

    #[test]
    fn partitions_show_where_alarms_begin() {
        let row = |partition: &str, score, is_anomaly| ScoredRow {
            partition: Some(partition.into()),
            is_anomaly,
            ..ScoredRow::example("10.0.0.1", "10.0.0.9", 0, 0, score)
        };
        let rows = [row("tcp", 1.0, false), row("tcp", 3.0, true), row("udp", 2.0, false)];
        let all = partitions(&rows, &[Truth::Benign, Truth::Attack(0), Truth::Unknown]);
        assert_eq!((all[0].edge, all[0].hits, all[0].benign), ([Some(1.0), Some(3.0)], 1, 1));
        assert_eq!((all[1].name.as_str(), all[1].edge, all[1].unknown), ("udp", [Some(2.0), None], 1));
        assert_eq!(Partition::whole(&rows, &[Truth::Benign; 3]).edge, [Some(2.0), Some(3.0)]);
    }
}
