//! The truth about rows: benign, part of an event, or not known.

use std::collections::BTreeMap;

use super::labels::{Labels, Transport};
use super::matching::Matching;
use super::scores::ScoredRow;

/// What a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Truth {
    /// No label covers it.
    Benign,
    /// A label says that the truth is not known: neither credit nor blame.
    Unknown,
    /// Part of an event, by its place in [`Events`].
    Attack(usize),
}

/// An event: label rows of one name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KnownEvent {
    /// Its name.
    pub(super) name: String,
    /// Its family, by its place in [`Events::families`].
    pub(super) family: usize,
    /// First nanosecond of its labels.
    pub(super) start: u64,
    /// Last nanosecond of its labels.
    pub(super) end: u64,
    /// Label rows.
    pub(super) labels: usize,
    /// Whether it is of ARP alone: no row can cover it.
    pub(super) not_ip: bool,
}

/// What the labels speak of.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    /// Events by their start.
    pub(super) events: Vec<KnownEvent>,
    /// Families by name.
    pub(super) families: Vec<String>,
    /// For each label its event; none for those to be ignored.
    of_label: Vec<Option<usize>>,
    /// Events whose labels name more than one family; the first counts.
    pub(super) of_two_families: Vec<String>,
}

impl Events {
    /// Gathers the events of labels.
    pub(super) fn new(labels: &Labels) -> Events {
        let attacks = || labels.labels.iter().filter(|label| !label.is_ignored());
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut families: BTreeMap<&str, usize> = BTreeMap::new();
        let mut firsts = Vec::new();
        for label in attacks() {
            names.entry(&label.event).or_insert_with(|| {
                families.entry(&label.attack).or_default();
                firsts.push(label);
                firsts.len() - 1
            });
        }
        for (place, family) in families.values_mut().enumerate() {
            *family = place;
        }
        let mut events: Vec<KnownEvent> = firsts
            .iter()
            .map(|label| KnownEvent {
                name: label.event.clone(),
                family: families[label.attack.as_str()],
                start: label.start,
                end: label.end,
                labels: 0,
                not_ip: true,
            })
            .collect();
        let mut of_two_families = Vec::new();
        for label in attacks() {
            let place = names[label.event.as_str()];
            let event = &mut events[place];
            event.start = event.start.min(label.start);
            event.end = event.end.max(label.end);
            event.labels += 1;
            event.not_ip &= label.transport == Some(Transport::Arp);
            if firsts[place].attack != label.attack && of_two_families.last() != Some(&label.event) {
                of_two_families.push(label.event.clone());
            }
        }
        of_two_families.sort();
        of_two_families.dedup();
        let mut order: Vec<usize> = (0..events.len()).collect();
        order.sort_by(|a, b| (events[*a].start, &events[*a].name).cmp(&(events[*b].start, &events[*b].name)));
        let mut place_of = vec![0; order.len()];
        for (place, before) in order.iter().enumerate() {
            place_of[*before] = place;
        }
        let of_label = labels
            .labels
            .iter()
            .map(|label| (!label.is_ignored()).then(|| place_of[names[label.event.as_str()]]))
            .collect();
        let events = order.into_iter().map(|before| events[before].clone()).collect();
        let families = families.into_keys().map(str::to_owned).collect();
        Events { events, families, of_label, of_two_families }
    }

    /// An event that is labelled from before the first row on begins with its own first row: earlier there was nothing
    /// to tell. One that is labelled for ever ends with the rows.
    pub(super) fn keep_within(&mut self, rows: &[ScoredRow], truth: &[Truth]) {
        let Some(first) = rows.iter().map(|row| row.start).min() else { return };
        let last = rows.iter().map(|row| row.end).max().unwrap_or(first);
        let mut firsts = vec![None; self.events.len()];
        for (row, truth) in rows.iter().zip(truth) {
            if let Truth::Attack(event) = truth {
                let known = firsts[*event].unwrap_or(row.start);
                firsts[*event] = Some(row.start.min(known));
            }
        }
        for (event, seen) in self.events.iter_mut().zip(firsts) {
            if event.start < first && event.end >= first {
                event.start = seen.unwrap_or(first);
            }
            if event.end == u64::MAX {
                event.end = last.max(event.start);
            }
        }
    }

    /// The truth about every row.
    pub(super) fn truth(&self, matching: &Matching) -> Vec<Truth> {
        matching.of_row.iter().map(|label| self.of(*label)).collect()
    }

    fn of(&self, label: Option<u32>) -> Truth {
        match label {
            None => Truth::Benign,
            Some(label) => self.of_label[label as usize].map_or(Truth::Unknown, Truth::Attack),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_any_time_begin_with_their_first_row_and_end_with_the_rows() {
        let labels = Labels::parse(
            "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n\
             ,,10.0.0.1,,,,scan,e1\n10,60,10.0.0.2,,,,scan,e2\n50,999,10.0.0.3,,,,scan,e3\n5,9,10.0.0.4,,,,scan,e4\n",
        )
        .unwrap();
        let row = |host: &str, start| ScoredRow::example(host, "10.9.9.9", start, start + 10, 0.0);
        let rows = [row("10.0.0.8", 20), row("10.0.0.1", 40), row("10.0.0.1", 30), row("10.0.0.8", 90)];
        let mut events = Events::new(&labels);
        let truth = events.truth(&Matching::new(&labels, &rows));
        events.keep_within(&rows, &truth);
        let mut spans: Vec<_> =
            events.events.iter().map(|event| (event.name.as_str(), event.start, event.end)).collect();
        spans.sort_unstable();
        assert_eq!(spans, [("e1", 30, 100), ("e2", 20, 60), ("e3", 50, 999), ("e4", 5, 9)]);
    }

    #[test]
    fn events_stand_by_their_start_and_take_in_all_their_labels() {
        let labels = Labels::parse(
            "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n\
             50,60,10.0.0.1,,arp,,worm,e2\n10,20,10.0.0.2,,tcp,,scan,e1\n\
             5,99,,,,,ignore,e0\n40,45,10.0.0.1,,tcp,,worm,e2\n70,80,10.0.0.1,,arp,,flood,e3\n",
        )
        .unwrap();
        let events = Events::new(&labels);
        let names: Vec<_> = events.events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names, ["e1", "e2", "e3"]);
        let worm = &events.events[1];
        assert_eq!((worm.start, worm.end, worm.labels, worm.not_ip), (40, 60, 2, false));
        assert_eq!(events.families, ["flood", "scan", "worm"]);
        assert!(events.events[2].not_ip);
        assert_eq!(events.of_label, [Some(1), Some(0), Some(1), Some(2), None]);
    }
}
