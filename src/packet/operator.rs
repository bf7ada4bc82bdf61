//! Frames to packets in the graph: workers take blocks in turn, decode them, and deal their packets out
//! to the workers that own the flows.

use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::container::{Accountable, NoopBuilder};
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::{ProbeHandle, Scope, Stream};
use timely::progress::Stamp;
use timely::scheduling::Activator;

use super::batch::Batch;
use super::link_types::called;
use super::{Packet, PacketSpec, Refused, decode, known_link, owner};
use crate::source::{Block, Feed, Next};
use crate::tally::{self, Fault, Tally};

/// Slices that may always be on their way.
const AHEAD: u64 = 2;
/// Packets that may be on their way beyond that, as long as the rows are not more than a window behind.
const IN_FLIGHT: i64 = 256 * 1024;
/// How long to leave a quiet interface alone.
const PAUSE: Duration = Duration::from_millis(10);

/// What the workers of a process share while they read.
pub struct Reading {
    /// The inputs.
    pub feed: Mutex<Box<dyn Feed>>,
    /// Inputs by number, for messages.
    pub inputs: Vec<PathBuf>,
    /// How frames are decoded.
    pub spec: PacketSpec,
    /// Skip and count unknown link types.
    pub lax: bool,
    /// Nanoseconds of event time per timely timestamp.
    pub slice: u64,
    /// Slices that the rows may be behind while few packets are on their way.
    pub window_slices: u64,
    /// Packets sent and not yet applied.
    pub in_flight: Arc<AtomicI64>,
    /// Counters.
    pub tally: Arc<Tally>,
    /// The first error.
    pub fault: Arc<Fault>,
}

/// A frame whose link type is not read.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: record {record}: link type {} is not read (--lax skips and counts such frames, which are all that a classic \
     capture has)",
    path.display(),
    called(*link)
)]
pub struct UnknownLink {
    /// The file or interface.
    pub path: PathBuf,
    /// Number of the record, from 1.
    pub record: u64,
    /// LINKTYPE_ number.
    pub link: u16,
}

/// Reads, decodes and routes. Wakes up when activated: by itself while it may read, by whoever moves
/// the `probe` when it waits for the rooms behind it.
pub fn packets<'s>(
    scope: Scope<'s, u64>,
    reading: Arc<Reading>,
    probe: ProbeHandle<u64>,
) -> (Stream<'s, u64, Batch>, Activator) {
    let wake = Rc::new(RefCell::new(None));
    let handle = wake.clone();
    let peers = scope.peers();
    let stream = source::<_, NoopBuilder<Batch>, _, _>(scope, "packets", move |capability, info| {
        let activator = scope.activator_for(info.address);
        *handle.borrow_mut() = Some(activator.clone());
        let mut capability = Some(capability);
        let mut block = Block::default();
        let mut parts: Vec<Vec<Packet>> = vec![Vec::new(); peers];
        move |output| {
            let Some(cap) = &mut capability else { return };
            let next = {
                let mut feed = reading.feed.lock().expect("no worker panics while it reads");
                // No later block begins before this time, whichever worker takes it. Catching up on
                // every call, also without reading, keeps an unlucky worker from holding up the rest.
                if feed.frontier() != u64::MAX {
                    cap.downgrade(&(feed.frontier() / reading.slice).max(*cap.time()));
                }
                let behind = |slices: u64| probe.less_than(&cap.time().saturating_sub(slices));
                if behind(AHEAD)
                    && (reading.in_flight.load(Relaxed) > IN_FLIGHT || behind(reading.window_slices))
                    && !reading.fault.met()
                {
                    return;
                }
                if reading.fault.met() {
                    Next::End
                } else {
                    feed.next(&mut block).unwrap_or_else(|error| {
                        reading.fault.note(error);
                        Next::End
                    })
                }
            };
            match next {
                Next::Idle => return activator.activate_after(PAUSE),
                Next::End => {
                    let newest = reading.feed.lock().expect("no worker panics while it reads").newest();
                    let mut session = output.session_with_builder(&*cap);
                    for target in 0..peers as u32 {
                        session.give_container(&mut Batch {
                            target,
                            newest: Some(newest),
                            ..Batch::default()
                        });
                    }
                    drop(session);
                    capability = None;
                    return;
                }
                Next::Block => {}
            }
            if let Err(error) = decode_block(&block, &reading, &mut parts) {
                reading.fault.note(error);
            }
            for (target, part) in parts.iter_mut().enumerate().filter(|(_, part)| !part.is_empty()) {
                // Within the lateness packets of a file may stand in any order.
                if !part.is_sorted_by_key(|p| p.time) {
                    part.sort_by_key(|p| p.time);
                }
                let packets = std::mem::take(part);
                reading.tally.span.reach(packets[0].time, packets[packets.len() - 1].time);
                reading.in_flight.fetch_add(packets.len() as i64, Relaxed);
                let time = cap.delayed(&(packets[0].time / reading.slice));
                output.session_with_builder(&time).give_container(&mut Batch {
                    target: target as u32,
                    input: block.input,
                    block: block.number,
                    packets,
                    newest: None,
                });
            }
            activator.activate();
        }
    });
    let activator = wake.borrow_mut().take().expect("set while the operator was built");
    (stream, activator)
}

/// Decodes a block into one part for each worker and counts what it holds.
fn decode_block(block: &Block, reading: &Reading, parts: &mut [Vec<Packet>]) -> Result<(), UnknownLink> {
    let peers = parts.len();
    let mut counts = tally::Batch::default();
    let each = block.records.len() / peers;
    parts.iter_mut().for_each(|part| part.reserve(each + each / 8));
    for (number, record) in (0..).zip(&block.records) {
        let at = record.at as usize;
        let frame = &block.bytes[at..at + record.captured as usize];
        match decode(record.link, frame, record.original, record.time, &reading.spec) {
            Ok(packet) => {
                counts.packets += 1;
                counts.bytes += u64::from(packet.length);
                let part = if peers == 1 { 0 } else { owner(packet.key.route(), peers) };
                parts[part].push(packet);
            }
            Err(cause) => {
                if cause == Refused::UnknownLink && !reading.lax {
                    debug_assert!(!known_link(record.link));
                    let path = reading.inputs.get(block.input as usize).cloned().unwrap_or_default();
                    let record_number = block.first_record + number + 1;
                    reading.tally.add(counts);
                    return Err(UnknownLink { path, record: record_number, link: record.link });
                }
                if cause == Refused::Truncated && record.captured < record.original {
                    counts.cut_at = counts.cut_at.max(record.captured);
                }
                counts.refuse(cause);
            }
        }
    }
    reading.tally.add(counts);
    Ok(())
}

/// The way of packets to the workers that own their flows.
pub fn to_owner() -> DistributorPact<fn(usize) -> ToTarget> {
    DistributorPact(|_| ToTarget)
}

/// Moves a batch whole to the worker it names; nothing is copied or kept back.
pub struct ToTarget;

impl Distributor<Batch> for ToTarget {
    fn partition<T: Clone, P: Push<Message<T, Batch>>>(
        &mut self,
        batch: &mut Batch,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let target = batch.target as usize;
        Message::push_at(batch, stamp.clone(), &mut pushers[target]);
    }

    fn flush<T: Clone, P: Push<Message<T, Batch>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

/// Timely counts records to know what is in flight: any number will do that is zero only for an empty
/// container and that no exchange changes.
impl Accountable for Batch {
    fn record_count(&self) -> i64 {
        self.packets.len() as i64 + i64::from(self.newest.is_some())
    }
}

/// Between machines packets cross as plain bytes.
impl ContainerBytes for Batch {
    fn from_bytes(bytes: Bytes) -> Self {
        let head: [u64; 5] = bytemuck::pod_read_unaligned(&bytes[..40]);
        let count = head[3] as usize;
        Batch {
            target: head[0] as u32,
            input: (head[0] >> 32) as u32,
            block: head[1],
            newest: (head[4] != 0).then_some(head[2]),
            packets: bytemuck::allocation::pod_collect_to_vec(&bytes[40..40 + count * size_of::<Packet>()]),
        }
    }

    fn length_in_bytes(&self) -> usize {
        40 + size_of_val(&self.packets[..])
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        let head = [
            u64::from(self.target) | u64::from(self.input) << 32,
            self.block,
            self.newest.unwrap_or(0),
            self.packets.len() as u64,
            u64::from(self.newest.is_some()),
        ];
        writer.write_all(bytemuck::bytes_of(&head)).expect("timely's buffer has the announced length");
        writer
            .write_all(bytemuck::cast_slice(&self.packets))
            .expect("timely's buffer has the announced length");
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    #[test]
    fn a_frame_that_is_not_read_is_told_of_with_the_name_of_its_link_type() {
        let error = UnknownLink { path: "a.pcap".into(), record: 2, link: 220 }.to_string();
        assert!(error.contains("a.pcap: record 2: link type 220 (USB_LINUX_MMAPPED) is not read"), "{error}");
    }

    #[test]
    fn a_batch_crosses_machines_unchanged() {
        let packets = vec![Packet { time: 5, ttl: 3, ..Zeroable::zeroed() }; 3];
        for newest in [None, Some(0), Some(9)] {
            let batch = Batch { target: 2, input: 7, block: 1 << 40, packets: packets.clone(), newest };
            let mut bytes = Vec::new();
            batch.into_bytes(&mut bytes);
            assert_eq!((bytes.len(), bytes.len() % 8), (batch.length_in_bytes(), 0));
            let back = Batch::from_bytes(timely::bytes::arc::BytesMut::from(bytes).freeze());
            assert_eq!((back.target, back.input, back.block, back.newest), (2, 7, 1 << 40, newest));
            assert_eq!(back.packets, packets);
        }
    }
}
