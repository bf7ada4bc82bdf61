//! The graph in memory: datagrams in, rows out, without files and without the command line.

use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use arrow::record_batch::RecordBatch;
use netweir::flow::FlowSpec;
use netweir::flow::operator::{Assembly, Product};
use netweir::graph::{self, Ends, Rooms, Source};
use netweir::packet::PacketSpec;
use netweir::packet::operator::Reading;
use netweir::row::RowSettings;
use netweir::row::schema::{flow_schema, packet_schema};
use netweir::sink::operator::{End, Joined};
use netweir::source::{Block, Feed, FeedCounts, Next, Record, SourceError};
use netweir::tally::{Fault, Tally};
use timely::dataflow::ProbeHandle;

use super::datagram::Datagram;
use super::random::Random;
use super::table::Table;

/// How a run goes; none of it may show in the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Manner {
    pub(crate) workers: usize,
    /// Nanoseconds of event time per timestamp.
    pub(crate) slice: u64,
    /// Records in a block, at most.
    pub(crate) block: u64,
    /// Chooses the input that is read next.
    pub(crate) seed: u64,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { workers: 1, slice: super::SECOND / 10, block: 50, seed: 0 }
    }
}

/// Moves what lies before the watermark up to it: a record behind the newest of its own input by more than
/// `lateness` is used at the newest minus the lateness.
pub(crate) fn at_watermark(input: &[Datagram], lateness: u64) -> Vec<Datagram> {
    let mut newest = 0;
    let moved = input.iter().map(|datagram| {
        let time = datagram.time.max(u64::saturating_sub(newest, lateness));
        newest = newest.max(datagram.time);
        Datagram { time, ..*datagram }
    });
    moved.collect()
}

/// A captured frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Nanoseconds since the Unix epoch.
    pub(crate) time: u64,
    pub(crate) bytes: Vec<u8>,
    /// Length on the wire.
    pub(crate) original: u32,
}

impl Frame {
    /// The frames of an unpacked little-endian capture with nanoseconds.
    pub(crate) fn all(capture: &[u8]) -> Vec<Frame> {
        let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap());
        assert_eq!(word(0), 0xA1B2_3C4D);
        let (mut frames, mut at) = (Vec::new(), 24);
        while at < capture.len() {
            let [seconds, nanoseconds, captured, original] = [0, 4, 8, 12].map(|field| word(at + field));
            let time = u64::from(seconds) * super::SECOND + u64::from(nanoseconds);
            let end = at + 16 + captured as usize;
            frames.push(Frame { time, bytes: capture[at + 16..end].to_vec(), original });
            at = end;
        }
        frames
    }
}

/// Inputs that were read already: hands out blocks of any of them, as unevenly as the contract allows.
struct Shelf {
    inputs: Vec<Vec<Frame>>,
    /// The next record of each input, and the number of its next block.
    next: Vec<(usize, u64)>,
    /// The oldest time from each position on.
    oldest: Vec<Vec<u64>>,
    most: u64,
    random: Random,
    newest: u64,
    frames: u64,
}

impl Shelf {
    fn new(inputs: Vec<Vec<Frame>>, manner: Manner) -> Shelf {
        let oldest = inputs.iter().map(|input| {
            let mut from: Vec<u64> = vec![u64::MAX; input.len() + 1];
            for at in (0..input.len()).rev() {
                from[at] = from[at + 1].min(input[at].time);
            }
            from
        });
        Shelf {
            next: vec![(0, 0); inputs.len()],
            oldest: oldest.collect(),
            inputs,
            most: manner.block,
            random: Random::new(manner.seed),
            newest: 0,
            frames: 0,
        }
    }
}

impl Feed for Shelf {
    fn frontier(&self) -> u64 {
        let oldest = self.oldest.iter().zip(&self.next).map(|(oldest, next)| oldest[next.0]);
        oldest.min().unwrap_or(u64::MAX)
    }

    fn newest(&self) -> u64 {
        self.newest
    }

    fn next(&mut self, block: &mut Block) -> Result<Next, SourceError> {
        let open: Vec<usize> =
            (0..self.inputs.len()).filter(|i| self.next[*i].0 < self.inputs[*i].len()).collect();
        if open.is_empty() {
            return Ok(Next::End);
        }
        let input = self.random.pick(&open);
        let (from, number) = self.next[input];
        let until = self.inputs[input].len().min(from + 1 + self.random.below(self.most) as usize);
        self.next[input] = (until, number + 1);
        *block = Block { input: input as u32, number, first_record: from as u64, ..Block::default() };
        for Frame { time, bytes, original } in &self.inputs[input][from..until] {
            let (at, captured) = (block.bytes.len() as u32, bytes.len() as u32);
            block.records.push(Record { time: *time, at, captured, original: *original, link: 1 });
            block.bytes.extend(bytes);
            self.newest = self.newest.max(*time);
            self.frames += 1;
        }
        Ok(Next::Block)
    }

    fn counts(&self) -> FeedCounts {
        FeedCounts { frames: self.frames, ..FeedCounts::default() }
    }
}

/// Keeps rows.
struct Kept(Arc<Mutex<Vec<RecordBatch>>>);

impl End for Kept {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.lock().unwrap().push(rows.clone());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// Flow rows of datagrams whose times are at their watermarks already, in the order of the file.
pub(crate) fn flow_rows(inputs: &[Vec<Datagram>], spec: &FlowSpec, manner: Manner) -> Table {
    rows(framed(inputs), spec, manner, Product::Rows)
}

/// Flow rows of Ethernet frames, likewise.
pub(crate) fn flow_rows_of_frames(inputs: Vec<Vec<Frame>>, spec: &FlowSpec, manner: Manner) -> Table {
    rows(inputs, spec, manner, Product::Rows)
}

/// Packet rows, likewise.
pub(crate) fn packet_rows(inputs: &[Vec<Datagram>], spec: &FlowSpec, manner: Manner) -> Table {
    rows(framed(inputs), spec, manner, Product::Packets)
}

fn framed(inputs: &[Vec<Datagram>]) -> Vec<Vec<Frame>> {
    let frame = |datagram: &Datagram| {
        let (bytes, original) = datagram.frame(0);
        Frame { time: datagram.time, bytes, original }
    };
    inputs.iter().map(|input| input.iter().map(frame).collect()).collect()
}

fn rows(inputs: Vec<Vec<Frame>>, spec: &FlowSpec, manner: Manner, product: Product) -> Table {
    let (count, frames) = (inputs.len(), inputs.iter().map(Vec::len).sum::<usize>() as u64);
    let settings = RowSettings { settings: Default::default() };
    let packets = product == Product::Packets;
    let schema = if packets { packet_schema(&settings) } else { flow_schema(&settings, |_| true) };
    let (tally, fault) = (Arc::new(Tally::default()), Arc::new(Fault::default()));
    let in_flight = Arc::new(AtomicI64::new(0));
    let window = spec.window.as_nanos() as u64;
    let reading = Arc::new(Reading {
        feed: Mutex::new(Box::new(Shelf::new(inputs, manner))),
        inputs: (0..count).map(|i| PathBuf::from(format!("input {i}"))).collect(),
        spec: PacketSpec::default(),
        lax: false,
        slice: manner.slice,
        window_slices: window.div_ceil(manner.slice),
        in_flight: in_flight.clone(),
        tally: tally.clone(),
        fault: fault.clone(),
    });
    let assembly = Arc::new(Assembly {
        spec: spec.clone(),
        schema,
        product,
        slice: manner.slice,
        in_flight,
        given: Default::default(),
        tally: tally.clone(),
    });
    let joined = match packets {
        true => Joined::ByTime,
        false if window < manner.slice => Joined::ByWorkerLate,
        false => Joined::ByWorker,
    };
    let rooms = Rooms {
        without: None,
        context: None,
        remembering: Default::default(),
        detector: None,
        incidents: None,
        joined,
        tally: tally.clone(),
        fault: fault.clone(),
    };
    let kept = Arc::new(Mutex::new(Vec::new()));
    let to = kept.clone();
    let guards = timely::execute(timely::Config::process(manner.workers), move |worker| {
        let mut ends: Vec<Box<dyn End>> = Vec::new();
        if worker.index() == 0 {
            ends.push(Box::new(Kept(to.clone())));
        }
        let ends = Ends {
            learning: None,
            rows: Some(ends),
            scored: Vec::new(),
            alerts: None,
            incidents: Vec::new(),
        };
        let probe = ProbeHandle::new();
        let source = Source::Frames(reading.clone(), assembly.clone());
        let wake = worker
            .dataflow::<u64, _, _>(|scope| graph::build(scope, source.clone(), rooms.clone(), ends, &probe));
        let mut seen = 0;
        while worker.step_or_park(None) {
            let now = probe.with_frontier(|f| f.first().copied().unwrap_or(u64::MAX));
            if now != seen {
                seen = now;
                wake.activate();
            }
        }
    });
    for result in guards.expect("threads can be started").join() {
        result.expect("no worker panics");
    }
    if let Some(error) = fault.take() {
        panic!("{error}");
    }
    tally.check(frames).unwrap();
    let batches = kept.lock().unwrap();
    Table::from_batches(&batches)
}
