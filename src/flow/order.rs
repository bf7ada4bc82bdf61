//! Packets that have arrived, put in order of (event time, input, block, position) as time is complete.
//!
//! Data may arrive before the frontier, and from several workers: arrival order is never event order.
//! Batches are sorted in themselves. Where they follow one another without overlap, which is the usual
//! case, they are handed on as they are; where they overlap they are merged.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::packet::Packet;
use crate::packet::batch::Batch;

/// Packets merged at a time.
const MERGED: usize = 4096;

/// Part of a batch: what lies before a frontier.
struct Run {
    batch: Batch,
    from: usize,
    to: usize,
}

impl Run {
    fn packets(&self) -> &[Packet] {
        &self.batch.packets[self.from..self.to]
    }

    /// Where a packet of the run stands in the order of all.
    fn key(&self, packet: &Packet) -> (u64, u32, u64) {
        (packet.time, self.batch.input, self.batch.block)
    }

    fn first(&self) -> (u64, u32, u64) {
        self.key(&self.packets()[0])
    }

    fn last(&self) -> (u64, u32, u64) {
        let packets = self.packets();
        self.key(&packets[packets.len() - 1])
    }
}

/// Holds packets until their time is complete, then gives them in order.
#[derive(Default)]
pub struct Order {
    /// Batches with packets at or beyond the frontier, with the position of the first such packet.
    waiting: Vec<(Batch, usize)>,
    /// Packets in order, ready to be applied.
    ready: VecDeque<(Vec<Packet>, usize, usize)>,
}

impl Order {
    /// Takes a batch as it arrives.
    pub fn arrive(&mut self, batch: Batch) {
        if !batch.packets.is_empty() {
            self.waiting.push((batch, 0));
        }
    }

    /// Everything before `time` has arrived: makes it ready.
    pub fn complete(&mut self, time: u64) {
        let mut runs: Vec<Run> = Vec::new();
        let mut still = Vec::new();
        for (batch, from) in std::mem::take(&mut self.waiting) {
            let packets = &batch.packets;
            if packets[from].time >= time {
                still.push((batch, from));
            } else if packets[packets.len() - 1].time < time {
                let to = packets.len();
                runs.push(Run { batch, from, to });
            } else {
                let to = from + packets[from..].partition_point(|p| p.time < time);
                let copy = |part: &[Packet]| Batch { packets: part.to_vec(), ..batch_head(&batch) };
                // The lesser part is copied. What waits may wait long, where its time is far ahead: it does not hold what
                // went on.
                if packets.len() - to <= to {
                    still.push((copy(&packets[to..]), 0));
                    runs.push(Run { batch, from, to });
                } else {
                    runs.push(Run { batch: copy(&packets[from..to]), from: 0, to: to - from });
                    still.push((batch, to));
                }
            }
        }
        self.waiting = still;
        runs.sort_unstable_by_key(Run::first);
        let mut together: Vec<Run> = Vec::new();
        let mut reach = (0, 0, 0);
        for run in runs {
            if !together.is_empty() && reach <= run.first() {
                self.merge(&mut together);
            }
            reach = if together.is_empty() { run.last() } else { reach.max(run.last()) };
            together.push(run);
        }
        self.merge(&mut together);
    }

    /// Makes runs that overlap ready, in order.
    fn merge(&mut self, runs: &mut Vec<Run>) {
        if runs.len() < 2 {
            self.ready.extend(runs.pop().map(|run| (run.batch.packets, run.from, run.to)));
            return;
        }
        let mut heap: BinaryHeap<_> =
            (0..).zip(&*runs).map(|(index, run)| Reverse((run.first(), index, 0))).collect();
        let mut merged = Vec::with_capacity(MERGED);
        while let Some(mut top) = heap.peek_mut() {
            let Reverse((_, index, position)) = *top;
            let run: &Run = &runs[index];
            merged.push(run.packets()[position]);
            match run.packets().get(position + 1) {
                Some(packet) => *top = Reverse((run.key(packet), index, position + 1)),
                None => {
                    std::collections::binary_heap::PeekMut::pop(top);
                }
            }
            if merged.len() == MERGED {
                self.ready.push_back((std::mem::replace(&mut merged, Vec::with_capacity(MERGED)), 0, MERGED));
            }
        }
        if !merged.is_empty() {
            let count = merged.len();
            self.ready.push_back((merged, 0, count));
        }
        runs.clear();
    }

    /// The next packets in order; empty if there are none ready.
    pub fn ready(&self) -> &[Packet] {
        self.ready.front().map_or(&[], |(packets, from, to)| &packets[*from..*to])
    }

    /// Time of the next packet in order.
    pub fn next_time(&self) -> Option<u64> {
        self.ready().first().map(|packet| packet.time)
    }

    /// Lets go of the first `count` packets of [`Order::ready`].
    pub fn applied(&mut self, count: usize) {
        if let Some((_, from, to)) = self.ready.front_mut() {
            *from += count;
            if from >= to {
                self.ready.pop_front();
            }
        }
    }
}

fn batch_head(batch: &Batch) -> Batch {
    Batch { target: batch.target, input: batch.input, block: batch.block, packets: Vec::new(), newest: None }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_packet_that_waits_long_does_not_hold_those_that_went_on() {
        let mut order = Order::default();
        for second in 0..50 {
            let packet = |at: u64| Packet { time: second * 1000 + at, ..Zeroable::zeroed() };
            let mut packets: Vec<Packet> = (0..1000).map(packet).collect();
            packets.push(Packet { time: u64::MAX - second, ..Zeroable::zeroed() });
            order.arrive(Batch { block: second, packets, ..Batch::default() });
            for part in 1..=10 {
                order.complete(second * 1000 + 100 * part);
                while order.next_time().is_some() {
                    order.applied(order.ready().len());
                }
            }
        }
        let held: usize = order.waiting.iter().map(|(batch, _)| batch.packets.capacity()).sum();
        assert!(order.waiting.len() == 50 && held < 50 * 10, "{held}");
    }

    proptest! {
        #[test]
        fn order_is_that_of_a_plain_sort(
            times in prop::collection::vec((0u64..60, 0u32..3, 0u64..6), 0..200),
            steps in prop::collection::vec(0u64..20, 1..6),
        ) {
            // Blocks of an input, each sorted in itself; `sequence` remembers the position.
            let mut blocks: std::collections::BTreeMap<(u32, u64), Vec<Packet>> = Default::default();
            for (time, input, block) in times {
                blocks.entry((input, block)).or_default().push(Packet { time, ..Zeroable::zeroed() });
            }
            let mut expected = Vec::new();
            let mut order = Order::default();
            for ((input, block), packets) in blocks.iter_mut().rev() {
                packets.sort_by_key(|p| p.time);
                for (i, packet) in packets.iter_mut().enumerate() {
                    packet.sequence = i as u32;
                    packet.acknowledgement = *input * 100 + *block as u32;
                    expected.push(((packet.time, *input, *block, i), *packet));
                }
                let batch = Batch { input: *input, block: *block, packets: packets.clone(), ..Batch::default() };
                order.arrive(batch);
            }
            expected.sort_unstable_by_key(|(key, _)| *key);
            let mut found = Vec::new();
            let mut time = 0;
            for step in steps.into_iter().chain([100]) {
                time += step;
                order.complete(time);
                while let Some(next) = order.next_time() {
                    prop_assert!(next < time);
                    let count = order.ready().len().min(3);
                    found.extend_from_slice(&order.ready()[..count]);
                    order.applied(count);
                }
            }
            let expected: Vec<Packet> = expected.into_iter().map(|(_, packet)| packet).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
