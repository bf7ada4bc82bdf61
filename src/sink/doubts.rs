//! What the counters of a run say about how its frames were captured, where something looks wrong.

use std::sync::atomic::Ordering::Relaxed;

use crate::detect::outline::grouped;
use crate::source::FeedCounts;
use crate::tally::{Tally, TcpTally};

/// TCP flows from which on their packets are asked about: fewer may be a scan and little else.
const FLOWS: u64 = 1000;
/// A side that acknowledges every other segment sends a third of the packets, one that merges them some in a hundred.
const FEWEST_ANSWERS: u64 = 5;
/// Of frames that were all captured twice half of the segments with data repeat others, and those without are not told
/// apart. What is lost on the way is seldom more than some in a hundred.
const MOST_REPEATS: u64 = 15;
/// Bytes of a frame that hold all needed headers, also with tags, options and extension headers.
const ENOUGH: u64 = 96;

/// A line for each doubt.
pub(super) fn doubts(tally: &Tally, feed: &FeedCounts) -> Vec<String> {
    let of = |part: u64, hundredths: u64, whole: u64| {
        u128::from(part) * 100 > u128::from(hundredths) * u128::from(whole)
    };
    let mut doubts = Vec::new();
    match feed.undated {
        0 => {}
        1 => doubts.push("1 input begins before 1980: are its timestamps zero?".to_owned()),
        inputs => {
            doubts.push(format!("{} inputs begin before 1980: are their timestamps zero?", grouped(inputs)));
        }
    }
    let (truncated, cut_at) = (tally.truncated.load(Relaxed), tally.cut_at.load(Relaxed));
    if cut_at > 0 && of(truncated, 1, tally.frames.load(Relaxed)) {
        doubts.push(format!(
            "frames were cut at {cut_at} bytes, inside their headers: capture {ENOUGH} bytes of each or more (tcpdump -s \
             {ENOUGH})"
        ));
    }
    let TcpTally { flows, packets, answers, repeats } = &tally.tcp;
    let [flows, packets, answers, repeats] =
        [flows, packets, answers, repeats].map(|count| count.load(Relaxed));
    if flows >= FLOWS && !of(answers, FEWEST_ANSWERS, packets) {
        doubts.push(
            "next to no TCP packet was answered in its flow: was one direction captured only, or has each direction a \
             VLAN id of its own ([packet] vlan = \"ignore\")?"
                .to_owned(),
        );
    }
    if flows >= FLOWS && of(repeats, MOST_REPEATS, packets) {
        doubts.push(format!(
            "{} of {} TCP packets repeat what was sent before: was all captured twice (mergecap, then editcap -w 0.001)?",
            grouped(repeats),
            grouped(packets)
        ));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(tcp: [u64; 4]) -> Tally {
        let tally = Tally::default();
        let TcpTally { flows, packets, answers, repeats } = &tally.tcp;
        for (counter, count) in [flows, packets, answers, repeats].into_iter().zip(tcp) {
            counter.store(count, Relaxed);
        }
        tally
    }

    #[test]
    fn a_capture_like_any_other_leaves_no_doubt() {
        for tcp in [[0; 4], [999, 999, 0, 999], [1000, 1000, 51, 150], [5000, u64::MAX, u64::MAX / 3, 0]] {
            assert_eq!(doubts(&tally(tcp), &FeedCounts::default()), [""; 0], "{tcp:?}");
        }
    }

    #[test]
    fn what_looks_wrong_is_a_line_each() {
        let said = |tcp, feed: &FeedCounts| doubts(&tally(tcp), feed).concat();
        assert!(
            said([1000, 1000, 50, 0], &FeedCounts::default())
                .starts_with("next to no TCP packet was answered")
        );
        assert!(
            said([1000, 2000, 900, 301], &FeedCounts::default())
                .starts_with("301 of 2,000 TCP packets repeat")
        );
        let feed = FeedCounts { undated: 1, ..FeedCounts::default() };
        assert_eq!(said([0; 4], &feed), "1 input begins before 1980: are its timestamps zero?");
        let cut = tally([0; 4]);
        for (counter, count) in [(&cut.frames, 1000), (&cut.truncated, 11), (&cut.cut_at, 48)] {
            counter.store(count, Relaxed);
        }
        let said = doubts(&cut, &FeedCounts::default()).concat();
        assert!(
            said.starts_with("frames were cut at 48 bytes, inside their headers: capture 96 bytes"),
            "{said}"
        );
        cut.truncated.store(10, Relaxed);
        assert_eq!(doubts(&cut, &FeedCounts::default()), [""; 0]);
    }
}
