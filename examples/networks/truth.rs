//! Which frames are of which label.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::capture::{Frame, Label, Network};
use crate::headers::{Headers, ICMP, ICMPV6, Layer, TCP, UDP};

/// A frame of an attack, and the place of the first label that covers it.
pub(crate) type Attack = (Frame, usize);

/// Labels by the ends that they name, in order.
struct Index<'a> {
    labels: &'a [Label],
    by_ends: BTreeMap<[Option<IpAddr>; 2], Vec<usize>>,
}

impl<'a> Index<'a> {
    fn new(labels: &'a [Label]) -> Index<'a> {
        let mut by_ends: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (place, label) in labels.iter().enumerate() {
            let mut ends = label.ends;
            ends.sort_unstable();
            by_ends.entry(ends).or_default().push(place);
        }
        Index { labels, by_ends }
    }

    fn of(&self, frame: &Frame) -> Option<usize> {
        let headers = Headers::read(&frame.bytes)?;
        let [low, high] = {
            let mut ends = headers.ends.map(Some);
            ends.sort_unstable();
            ends
        };
        let ways = [[low, high], [None, low], [None, high], [None, None]];
        let labels = ways.iter().filter_map(|ends| self.by_ends.get(ends)).flatten();
        labels.copied().filter(|place| covers(&self.labels[*place], frame.time, &headers)).min()
    }
}

fn covers(label: &Label, time: u64, headers: &Headers) -> bool {
    let protocol = match headers.protocol {
        _ if headers.layer == Layer::Arp => "arp",
        TCP => "tcp",
        UDP => "udp",
        ICMP | ICMPV6 => "icmp",
        _ => "",
    };
    (label.start..=label.end).contains(&time)
        && (label.protocol.is_empty() || label.protocol == protocol)
        && label.port.is_none_or(|port| headers.ports.is_some_and(|ports| ports.contains(&port)))
}

impl Network {
    /// What is scored, taken apart: what is benign, and the attacks.
    pub(crate) fn apart(&self) -> (Vec<Frame>, Vec<Attack>) {
        let index = Index::new(&self.labels);
        let (mut benign, mut attacks) = (Vec::new(), Vec::new());
        for frame in &self.dev {
            match index.of(frame) {
                None => benign.push(frame.clone()),
                Some(label) => attacks.push((frame.clone(), label)),
            }
        }
        (benign, attacks)
    }
}
