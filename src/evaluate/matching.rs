//! Rows matched with labels: exact, and without a loop over all labels for a row.
//!
//! Labels are kept apart by what they ask for: two ends, one or none, a transport or any, a port or any. A row can
//! be meant by few such keys (four ways to name its ends, two its transport, three its ports), and under one key
//! it is a question about intervals of time alone. So matching costs O((rows + labels) log labels), whatever the
//! labels are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hashbrown::HashMap;

use super::labels::{Labels, Transport};
use super::scores::ScoredRow;

/// What a label asks for beside its time; the two ends in order, for either direction is meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    ends: [Option<IpAddr>; 2],
    transport: Option<Transport>,
    port: Option<u16>,
}

/// Which parts of a key are given: the number of ends, whether a transport, whether a port.
type Shape = (usize, bool, bool);

/// Which row is of which label.
pub(super) struct Matching {
    /// For each row the first label that covers it, by its place in [`Labels`].
    pub(super) of_row: Vec<Option<u32>>,
    /// For each label the rows that it is the first to cover.
    pub(super) rows: Vec<u64>,
    /// For each label whether it covers any row, be it the first or not.
    pub(super) covers: Vec<bool>,
}

impl Matching {
    /// Matches every row with the labels.
    pub(super) fn new(labels: &Labels, rows: &[ScoredRow]) -> Matching {
        let mut keyed: HashMap<Key, Vec<(u64, u64, u32)>> = HashMap::new();
        let mut shapes: BTreeSet<Shape> = BTreeSet::new();
        let ranked = (0_u32..).zip(&labels.labels);
        for (rank, label) in ranked.filter(|(_, label)| label.transport != Some(Transport::Arp)) {
            let mut ends = label.ends;
            ends.sort_unstable();
            let key = Key { ends, transport: label.transport, port: label.port };
            shapes.insert((ends.iter().flatten().count(), key.transport.is_some(), key.port.is_some()));
            keyed.entry(key).or_default().push((label.start, label.end, rank));
        }
        let mut keyed: HashMap<Key, Intervals> =
            keyed.into_iter().map(|(key, labels)| (key, Intervals::new(labels))).collect();
        let mut matching = Matching {
            of_row: Vec::with_capacity(rows.len()),
            rows: vec![0; labels.labels.len()],
            covers: vec![false; labels.labels.len()],
        };
        for row in rows {
            let mut first = None;
            for shape in &shapes {
                for_each_key(row, *shape, |key| {
                    let Some(intervals) = keyed.get_mut(&key) else { return };
                    let Some(found) = intervals.first(row.start, row.end) else { return };
                    first = Some(first.map_or(found, |before: u32| before.min(found)));
                    intervals.take_all(row.start, row.end, |label| matching.covers[label as usize] = true);
                });
            }
            if let Some(label) = first {
                matching.rows[label as usize] += 1;
            }
            matching.of_row.push(first);
        }
        matching
    }
}

/// The keys of a shape that mean a row.
fn for_each_key(row: &ScoredRow, (ends, transport, port): Shape, mut each: impl FnMut(Key)) {
    let transport = transport.then(|| Transport::of(row.protocol));
    let [src, dst] = [Some(row.src), Some(row.dst)];
    let ends: [Option<[Option<IpAddr>; 2]>; 2] = match ends {
        0 => [Some([None, None]), None],
        1 => [Some([None, src]), (src != dst).then_some([None, dst])],
        _ => [Some([src.min(dst), src.max(dst)]), None],
    };
    let [from, to] = row.ports;
    let ports = match port {
        false => [Some(None), None],
        true => [Some(Some(from)), (from != to).then_some(Some(to))],
    };
    for ends in ends.into_iter().flatten() {
        for port in ports.into_iter().flatten() {
            each(Key { ends, transport, port });
        }
    }
}

/// Labels of one key: which is the first that overlaps a stretch of time, and which ever did.
struct Intervals {
    /// Starts in order.
    starts: Vec<u64>,
    /// Ranks in the order of starts.
    ranks: Vec<u32>,
    /// Least rank over stretches of `ranks`: a complete binary tree, leaves in its second half.
    least: Vec<u32>,
    /// From a time on until the next: the least rank of those that contain it.
    at: Vec<(u64, Option<u32>)>,
    /// One more than the last end over stretches of `ranks`, of those that have not overlapped yet (0: none).
    latest: Vec<u64>,
}

impl Intervals {
    fn new(mut labels: Vec<(u64, u64, u32)>) -> Intervals {
        labels.sort_unstable();
        let leaves = labels.len().next_power_of_two();
        let mut least = vec![u32::MAX; 2 * leaves];
        let mut latest = vec![0; 2 * leaves];
        let mut changes: BTreeMap<u64, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        for (place, (start, end, rank)) in labels.iter().enumerate() {
            least[leaves + place] = *rank;
            latest[leaves + place] = end.saturating_add(1);
            changes.entry(*start).or_default().0.push(*rank);
            if let Some(after) = end.checked_add(1) {
                changes.entry(after).or_default().1.push(*rank);
            }
        }
        for node in (1..leaves).rev() {
            least[node] = least[2 * node].min(least[2 * node + 1]);
            latest[node] = latest[2 * node].max(latest[2 * node + 1]);
        }
        let mut open = BTreeSet::new();
        let at = changes
            .into_iter()
            .map(|(time, (opened, closed))| {
                open.extend(opened);
                for rank in closed {
                    open.remove(&rank);
                }
                (time, open.first().copied())
            })
            .collect();
        let starts = labels.iter().map(|label| label.0).collect();
        let ranks = labels.iter().map(|label| label.2).collect();
        Intervals { starts, ranks, least, at, latest }
    }

    /// The least rank that overlaps `start..=end`: of those that contain the start or begin after it.
    fn first(&self, start: u64, end: u64) -> Option<u32> {
        let containing = match self.at.partition_point(|(time, _)| *time <= start) {
            0 => None,
            after => self.at[after - 1].1,
        };
        let leaves = self.least.len() / 2;
        let mut from = leaves + self.starts.partition_point(|time| *time <= start);
        let mut to = leaves + self.starts.partition_point(|time| *time <= end);
        let mut least = containing.unwrap_or(u32::MAX);
        while from < to {
            if from % 2 == 1 {
                least = least.min(self.least[from]);
                from += 1;
            }
            if to % 2 == 1 {
                to -= 1;
                least = least.min(self.least[to]);
            }
            (from, to) = (from / 2, to / 2);
        }
        (least != u32::MAX).then_some(least)
    }

    /// Gives every label that overlaps `start..=end` and was not given before. Each is given once, so that all
    /// calls together take no more than O(labels log labels) beside O(log labels) each.
    fn take_all(&mut self, start: u64, end: u64, mut each: impl FnMut(u32)) {
        let leaves = self.latest.len() / 2;
        let begun = self.starts.partition_point(|time| *time <= end);
        while self.latest[1] > start {
            let mut node = 1;
            while node < leaves {
                node = if self.latest[2 * node] > start { 2 * node } else { 2 * node + 1 };
            }
            let place = node - leaves;
            if place >= begun {
                return;
            }
            each(self.ranks[place]);
            self.latest[node] = 0;
            while node > 1 {
                node /= 2;
                self.latest[node] = self.latest[2 * node].max(self.latest[2 * node + 1]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Label;
    use proptest::prelude::*;

    fn end(one: u8) -> IpAddr {
        format!("10.0.0.{one}").parse().unwrap()
    }

    fn transports() -> impl Strategy<Value = Option<Transport>> {
        use Transport::{Arp, Icmp, Other, Tcp, Udp};
        prop::sample::select(vec![None, Some(Tcp), Some(Udp), Some(Icmp), Some(Arp), Some(Other(47))])
    }

    prop_compose! {
        fn label()(
            start in 0..60_u64, length in 0..20_u64, a in prop::option::of(0..3_u8), b in prop::option::of(0..3_u8),
            transport in transports(), port in prop::option::of(0..3_u16), ignored in prop::bool::weighted(0.2),
        ) -> Label {
            let attack = if ignored { "ignore" } else { "scan" }.to_owned();
            let ends = [a.map(end), b.map(end)];
            Label { line: 0, start, end: start + length, ends, transport, port, attack, event: "e".into() }
        }
    }

    prop_compose! {
        fn row()(
            start in 0..60_u64, length in 0..10_u64, a in 0..3_u8, b in 0..3_u8,
            protocol in prop::sample::select(vec![1_u8, 6, 17, 47, 58]), ports in [0..3_u16, 0..3_u16],
        ) -> ScoredRow {
            let row = ScoredRow::example("10.0.0.1", "10.0.0.1", start, start + length, 0.0);
            ScoredRow { src: end(a), dst: end(b), protocol, ports, ..row }
        }
    }

    proptest! {
        #[test]
        fn rows_match_as_in_a_plain_double_loop(
            mut labels in prop::collection::vec(label(), 0..40), rows in prop::collection::vec(row(), 0..40),
        ) {
            labels.sort_by_key(Label::is_ignored);
            let labels = Labels { labels };
            let matching = Matching::new(&labels, &rows);
            let mut counts = vec![0; labels.labels.len()];
            for (row, found) in rows.iter().zip(&matching.of_row) {
                let plain = labels.labels.iter().position(|label| label.covers(row));
                prop_assert_eq!(found.map(|label| label as usize), plain);
                if let Some(label) = plain {
                    counts[label] += 1;
                }
            }
            prop_assert_eq!(&matching.rows, &counts);
            for (label, covers) in labels.labels.iter().zip(&matching.covers) {
                prop_assert_eq!(*covers, rows.iter().any(|row| label.covers(row)));
            }
        }
    }

    #[test]
    fn labels_to_the_end_of_time_match() {
        let forever = Labels {
            labels: vec![Label {
                line: 2,
                start: 0,
                end: u64::MAX,
                ends: [None, None],
                transport: None,
                port: None,
                attack: "flood".into(),
                event: "e".into(),
            }],
        };
        let rows = [ScoredRow::example("10.0.0.1", "10.0.0.2", u64::MAX, u64::MAX, 0.0)];
        assert_eq!(Matching::new(&forever, &rows).rows, [1]);
    }

    #[test]
    fn many_labels_of_one_key_over_many_rows_take_no_double_loop() {
        // 20,000 labels that all overlap all of 20,000 rows: a double loop would compare 400 million times.
        let labels = (0..20_000)
            .map(|at| Label {
                line: at,
                start: at as u64,
                end: 1 << 40,
                ends: [Some(end(1)), None],
                transport: None,
                port: None,
                attack: "scan".into(),
                event: "e".into(),
            })
            .collect();
        let row = ScoredRow::example("10.0.0.1", "10.0.0.2", 1 << 30, 1 << 31, 0.0);
        let matching = Matching::new(&Labels { labels }, &vec![row; 20_000]);
        assert_eq!(matching.rows[0], 20_000);
        assert!(matching.covers.iter().all(|covers| *covers));
    }
}
