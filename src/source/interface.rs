//! Live interfaces: what every way of listening has in common.
//!
//! A [`Wire`] gives frames with the stamps that the system put on them; [`Live`] makes a [`Feed`] of it.
//! Event time moves with the newest frame and, once nothing waits any more, with the clock that stamps
//! frames: windows end on a quiet wire too. As long as frames wait the clock says nothing, because they
//! are older than it. Where the clock is set back event time goes on ahead of it: windows that end when the clock has
//! caught up, in an hour, would keep alerts for so long.

use super::{Block, Feed, FeedCounts, Next, SourceError, SourceSpec};
use crate::tally::Stop;

/// Most bytes of a frame that are kept: the most that readers of pcap accept (libpcap's MAXIMUM_SNAPLEN).
/// Offloading joins segments on their way up to frames of about this size.
pub(super) const MAX_FRAME: usize = 256 * 1024;
/// Where a block is full: large enough to pay for its way through the graph, small enough that several
/// workers share a burst.
const BLOCK_FRAMES: usize = 1024;
const BLOCK_BYTES: usize = 1 << 20;
/// Interfaces that a message names.
const NAMED: usize = 20;
/// Nanoseconds by which a clock is set back at least: less is disorder among those who stamp.
const STEP: u64 = 1_000_000_000;
/// Nanoseconds that lie between two looks at a clock at most: where it was ahead of by more, it was set.
const LOOK: u64 = 10_000_000_000;

/// What can go wrong with an interface. Each is one line: which one, what, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// No interface has this name.
    #[error("no interface {name:?}: there are {}", named(there))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The interfaces that there are.
        there: Vec<String>,
    },
    /// The process may not listen.
    #[error("{name}: no right to listen: {}", REMEDY)]
    Forbidden {
        /// The interface.
        name: String,
    },
    /// The interface is down.
    #[error("{name}: the interface is down: bring it up with `ip link set {name} up`")]
    Down {
        /// The interface.
        name: String,
    },
    /// The interface went down or away while it was listened to.
    #[error("{name}: the interface went down or was removed: frames up to then were used")]
    Lost {
        /// The interface.
        name: String,
    },
    /// The interface carries frames that nothing here reads.
    #[error("{name}: hardware type {hardware} (ARPHRD) is not read")]
    Hardware {
        /// The interface.
        name: String,
        /// The kernel's number for it.
        hardware: u16,
    },
    /// A system call failed.
    #[error("{name}: cannot {what}: {source}")]
    System {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// libpcap failed.
    #[error("{name}: libpcap: {said}")]
    Library {
        /// The interface.
        name: String,
        /// What libpcap says.
        said: String,
    },
    /// This build cannot listen on this platform.
    #[error(
        "{name}: this build listens on Linux only: build with `cargo build --release --features pcap` \
         (needs libpcap, on Windows the Npcap SDK)"
    )]
    Unsupported {
        /// The interface.
        name: String,
    },
}

/// How to get the right to listen.
const REMEDY: &str = if cfg!(target_os = "linux") {
    "it takes CAP_NET_RAW: run as root, or grant it once with \
     `sudo setcap cap_net_raw,cap_net_admin=eip $(command -v netweir)`"
} else {
    "run as root or administrator"
};

fn named(there: &[String]) -> String {
    match there.len() {
        0 => "none".to_owned(),
        count if count <= NAMED => there.join(", "),
        count => format!("{} and {} more", there[..NAMED].join(", "), count - NAMED),
    }
}

/// Whether frames wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waiting {
    /// Perhaps: take again.
    Perhaps,
    /// None did when they were last taken.
    None,
}

/// Frames since an interface was opened, as the system counts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct WireCounts {
    /// Those that met the filter, dropped ones included.
    pub(super) received: u64,
    /// Those for which there was no room.
    pub(super) dropped: u64,
}

/// A way of listening to one interface. Never blocks.
pub(super) trait Wire: Send {
    /// Appends frames that wait to the block, with their stamps as times.
    ///
    /// # Errors
    /// What the system says. Frames may still wait after the first error.
    fn take(&mut self, block: &mut Block) -> Result<Waiting, InterfaceError>;

    /// Lets no further frame in; those that wait can still be taken.
    ///
    /// # Errors
    /// What the system says.
    fn shut(&mut self) -> Result<(), InterfaceError>;

    /// What the system counted.
    fn counts(&mut self) -> WireCounts;

    /// The clock that frames are stamped with, in nanoseconds since the Unix epoch.
    fn now(&self) -> u64 {
        wall_clock()
    }
}

/// A time of a clock that event time is ahead of, where there is such a time.
fn moved(time: u64, ahead: u64) -> u64 {
    time.saturating_add(ahead).min(i64::MAX as u64)
}

/// The wall clock, in nanoseconds since the Unix epoch.
// A live source: frames are stamped by this clock, and a quiet wire has no other sign that time passes.
#[allow(clippy::disallowed_methods)]
pub(crate) fn wall_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).map_or(i64::MAX as u64, |nanoseconds| nanoseconds as u64)
}

/// Listens to an interface until `stop` is due; what the system holds by then is still used.
///
/// On Linux through a packet socket. With the cargo feature `pcap` through libpcap on other platforms,
/// and on Linux for what only libpcap knows (`any`, capture cards, rare link types).
///
/// # Errors
/// [`InterfaceError`], one line.
pub fn listen(name: &str, spec: &SourceSpec, stop: Stop) -> Result<Box<dyn Feed>, InterfaceError> {
    let lateness = u64::try_from(spec.lateness.as_nanos()).unwrap_or(u64::MAX);
    Ok(Box::new(Live::new(open(name)?, lateness, stop)))
}

#[cfg(all(target_os = "linux", not(feature = "pcap")))]
fn open(name: &str) -> Result<Box<dyn Wire>, InterfaceError> {
    Ok(Box::new(super::socket::Socket::open(name)?))
}

#[cfg(all(target_os = "linux", feature = "pcap"))]
fn open(name: &str) -> Result<Box<dyn Wire>, InterfaceError> {
    match super::socket::Socket::open(name) {
        Ok(socket) => Ok(Box::new(socket)),
        Err(InterfaceError::Unknown { .. } | InterfaceError::Hardware { .. }) => {
            Ok(Box::new(super::libpcap::Handle::open(name)?))
        }
        Err(error) => Err(error),
    }
}

#[cfg(all(not(target_os = "linux"), feature = "pcap"))]
fn open(name: &str) -> Result<Box<dyn Wire>, InterfaceError> {
    Ok(Box::new(super::libpcap::Handle::open(name)?))
}

#[cfg(all(not(target_os = "linux"), not(feature = "pcap")))]
fn open(name: &str) -> Result<Box<dyn Wire>, InterfaceError> {
    Err(InterfaceError::Unsupported { name: name.to_owned() })
}

/// Where a live feed is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Frames come in.
    Open,
    /// No more frames come in, some may wait.
    Shut,
    /// All is handed out.
    Ended,
}

/// A [`Wire`] as a feed.
pub(super) struct Live {
    wire: Box<dyn Wire>,
    stop: Stop,
    lateness: u64,
    phase: Phase,
    /// Ends the feed once everything that came before it is handed out.
    fault: Option<InterfaceError>,
    frontier: u64,
    newest: u64,
    /// Event time of the last look at the clock.
    seen: u64,
    blocks: u64,
    counts: FeedCounts,
}

impl Live {
    pub(super) fn new(wire: Box<dyn Wire>, lateness: u64, stop: Stop) -> Live {
        Live {
            wire,
            stop,
            lateness,
            phase: Phase::Open,
            fault: None,
            frontier: 0,
            newest: 0,
            seen: 0,
            blocks: 0,
            counts: FeedCounts::default(),
        }
    }

    /// Event time by the clock. It goes on where the clock was set back, and is the clock's again once that has come
    /// up to it.
    fn event_time(&mut self) -> u64 {
        let (now, reached) = (self.wire.now(), self.newest.max(self.seen));
        let tolerated = self.lateness.max(STEP);
        let expected = reached.saturating_sub(tolerated)..=reached.saturating_add(LOOK);
        if now >= *expected.start() {
            self.counts.ahead = 0;
        } else if !expected.contains(&now.saturating_add(self.counts.ahead)) {
            self.counts.ahead = reached - now;
        }
        self.seen = moved(now, self.counts.ahead);
        self.seen
    }

    /// Takes what waits, up to a full block; whether that was all.
    fn take(&mut self, block: &mut Block) -> Waiting {
        while block.records.len() < BLOCK_FRAMES && block.bytes.len() < BLOCK_BYTES {
            match self.wire.take(block) {
                Ok(Waiting::Perhaps) => {}
                Ok(Waiting::None) => return Waiting::None,
                // An interface that goes down says so before the frames that it brought.
                Err(error) if self.fault.is_none() => self.fault = Some(error),
                Err(_) => return Waiting::None,
            }
        }
        Waiting::Perhaps
    }

    /// Moves frames that come too late up to the frontier, and everything along. With a clock that was set back no frame
    /// is late that was stamped by it.
    ///
    /// The frontier that binds a frame is that of the frames before it, not that of the block: a reader
    /// of the same frames from a file, whatever its blocks, moves the same frames by the same amounts.
    fn place(&mut self, block: &mut Block) {
        for record in &mut block.records {
            let frontier = self.frontier.max(self.newest.saturating_sub(self.lateness));
            // A frame that waits since before the clock was set is of the time before.
            let by_event_time = moved(record.time, self.counts.ahead);
            if record.time < frontier && by_event_time <= self.seen.saturating_add(STEP) {
                record.time = by_event_time;
            }
            if record.time < frontier {
                record.time = frontier;
                self.counts.late += 1;
            }
            self.newest = self.newest.max(record.time);
            self.counts.bytes_read += u64::from(record.captured);
        }
        self.frontier = self.frontier.max(self.newest.saturating_sub(self.lateness));
        block.input = 0;
        block.number = self.blocks;
        block.first_record = self.counts.frames;
        self.counts.frames += block.records.len() as u64;
    }
}

impl Feed for Live {
    fn frontier(&self) -> u64 {
        self.frontier
    }

    fn newest(&self) -> u64 {
        self.newest
    }

    fn next(&mut self, block: &mut Block) -> Result<Next, SourceError> {
        block.bytes.clear();
        block.records.clear();
        if self.phase == Phase::Ended {
            return Ok(Next::End);
        }
        if self.phase == Phase::Open && self.stop.is_due() {
            self.wire.shut()?;
            self.phase = Phase::Shut;
        }
        // Read before looking: what comes in after the look is stamped later.
        let now = self.event_time();
        let waiting = self.take(block);
        let WireCounts { received, dropped } = self.wire.counts();
        (self.counts.received, self.counts.dropped) = (received, dropped);
        self.place(block);
        if waiting == Waiting::None {
            self.frontier = self.frontier.max(now.saturating_sub(self.lateness));
        }
        if !block.records.is_empty() {
            self.blocks += 1;
            return Ok(Next::Block);
        }
        if self.phase == Phase::Shut || self.fault.is_some() {
            self.phase = Phase::Ended;
            self.newest = self.newest.max(now);
            self.frontier = u64::MAX;
            return Ok(Next::End);
        }
        Ok(Next::Idle)
    }

    fn counts(&self) -> FeedCounts {
        self.counts
    }

    fn ended_by(&mut self) -> Option<SourceError> {
        self.fault.take().map(SourceError::from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;
    use crate::source::Record;

    const SECOND: u64 = 1_000_000_000;

    /// What a wire that a test plays on holds.
    #[derive(Default)]
    struct Stage {
        /// Stamps of the frames of each take, or an error.
        takes: Mutex<VecDeque<Result<Vec<u64>, InterfaceError>>>,
        clock: AtomicU64,
        shut: AtomicBool,
    }

    struct Played(Arc<Stage>);

    impl Wire for Played {
        fn take(&mut self, block: &mut Block) -> Result<Waiting, InterfaceError> {
            let Some(take) = self.0.takes.lock().unwrap().pop_front() else { return Ok(Waiting::None) };
            for time in take? {
                let at = block.bytes.len() as u32;
                block.bytes.extend_from_slice(&[7; 60]);
                block.records.push(Record { time, at, captured: 60, original: 90, link: 1 });
            }
            Ok(Waiting::Perhaps)
        }

        fn shut(&mut self) -> Result<(), InterfaceError> {
            self.0.shut.store(true, Relaxed);
            Ok(())
        }

        fn counts(&mut self) -> WireCounts {
            WireCounts { received: 12, dropped: 2 }
        }

        fn now(&self) -> u64 {
            self.0.clock.load(Relaxed)
        }
    }

    fn play(lateness: u64) -> (Arc<Stage>, Arc<AtomicBool>, Live) {
        let (stage, stop) = (Arc::<Stage>::default(), Arc::<AtomicBool>::default());
        let live = Live::new(Box::new(Played(stage.clone())), lateness, Stop::by(stop.clone()));
        (stage, stop, live)
    }

    fn lost() -> InterfaceError {
        InterfaceError::Lost { name: "eth7".to_owned() }
    }

    #[test]
    fn a_quiet_wire_moves_the_frontier_with_the_clock_and_never_back() {
        let (stage, _, mut live) = play(SECOND);
        let mut block = Block::default();
        for (clock, frontier) in [(SECOND / 2, 0), (5 * SECOND, 4 * SECOND), (3 * SECOND, 4 * SECOND)] {
            stage.clock.store(clock, Relaxed);
            assert_eq!(live.next(&mut block).unwrap(), Next::Idle);
            assert_eq!((live.frontier(), live.newest()), (frontier, 0));
        }
    }

    #[test]
    fn event_time_goes_on_where_the_clock_is_set_back_until_it_is_set_right() {
        let (stage, _, mut live) = play(SECOND);
        let mut block = Block::default();
        let hour = 3600 * SECOND;
        let mut look = |clock: u64, stamps: &[u64]| {
            stage.clock.store(clock, Relaxed);
            stage.takes.lock().unwrap().push_back(Ok(stamps.to_vec()));
            live.next(&mut block).unwrap();
            let times: Vec<u64> = block.records.iter().map(|record| record.time).collect();
            (times, live.frontier(), live.counts().ahead, live.counts().late)
        };
        let start = 2 * hour;
        assert_eq!(look(start, &[start]), (vec![start], start - SECOND, 0, 0));
        // One frame waits since before the step, two came after it.
        let (back, ahead) = (start + 5 * SECOND - hour, hour - 5 * SECOND);
        let times = vec![start + 1, start, start + 2];
        assert_eq!(look(back, &[start + 1, back, back + 2]), (times, start + 2 - SECOND, ahead, 0));
        let later = start + 9 * SECOND;
        assert_eq!(look(back + 10 * SECOND, &[back + 9 * SECOND]), (vec![later], later, ahead, 0));
        assert_eq!(look(back + 19 * SECOND, &[]), (vec![], start + 18 * SECOND, ahead, 0));
        // Set forward again, but for nine seconds; and one that waits since long is late, not in the future.
        let nearly = start + 10 * SECOND;
        let late = (vec![start + 18 * SECOND], start + 18 * SECOND, 9 * SECOND, 1);
        assert_eq!(look(nearly, &[start + 15 * SECOND]), late);
        let right = start + 40 * SECOND;
        assert_eq!(look(right, &[right]), (vec![right], right - SECOND, 0, 1));
        // Less than a second is no step.
        assert_eq!(look(right - SECOND, &[right - SECOND]), (vec![right - SECOND], right - SECOND, 0, 1));
    }

    #[test]
    fn the_clock_says_nothing_while_frames_wait() {
        let (stage, _, mut live) = play(SECOND);
        stage.clock.store(100 * SECOND, Relaxed);
        let stamps = |from: u64| (0..BLOCK_FRAMES as u64).map(|n| from + n).collect();
        stage.takes.lock().unwrap().extend([Ok(stamps(10 * SECOND)), Ok(stamps(11 * SECOND))]);
        let mut block = Block::default();
        assert_eq!(live.next(&mut block).unwrap(), Next::Block);
        assert_eq!(live.frontier(), live.newest() - SECOND);
        assert_eq!(live.next(&mut block).unwrap(), Next::Block);
        assert_eq!((block.number, block.first_record), (1, BLOCK_FRAMES as u64));
        assert_eq!(live.next(&mut block).unwrap(), Next::Idle);
        assert_eq!((live.frontier(), live.counts().late), (99 * SECOND, 0));
    }

    #[test]
    fn a_late_frame_is_moved_up_to_what_was_announced_and_counted() {
        let (stage, _, mut live) = play(SECOND);
        stage.clock.store(9 * SECOND, Relaxed);
        let mut block = Block::default();
        live.next(&mut block).unwrap();
        stage.takes.lock().unwrap().push_back(Ok(vec![7 * SECOND, 8 * SECOND, 8 * SECOND + 1]));
        assert_eq!(live.next(&mut block).unwrap(), Next::Block);
        let times: Vec<u64> = block.records.iter().map(|record| record.time).collect();
        assert_eq!(times, [8 * SECOND, 8 * SECOND, 8 * SECOND + 1]);
        assert_eq!(live.newest(), 8 * SECOND + 1);
        let counts = live.counts();
        assert_eq!((counts.frames, counts.late, counts.bytes_read), (3, 1, 180));
        assert_eq!((counts.received, counts.dropped), (12, 2));
    }

    #[test]
    fn stop_hands_out_what_waits_and_then_ends_for_everybody() {
        let (stage, stop, mut live) = play(SECOND);
        let mut block = Block::default();
        stage.takes.lock().unwrap().extend([Ok(vec![5]), Ok(vec![6])]);
        stop.store(true, Relaxed);
        assert_eq!(live.next(&mut block).unwrap(), Next::Block);
        assert!(stage.shut.load(Relaxed));
        assert_eq!(block.records.len(), 2);
        for _ in 0..2 {
            assert_eq!(live.next(&mut block).unwrap(), Next::End);
            assert!(block.records.is_empty() && block.bytes.is_empty());
            assert_eq!((live.frontier(), live.newest()), (u64::MAX, 6));
        }
    }

    #[test]
    fn an_error_ends_the_feed_after_the_frames_that_wait_behind_it() {
        let (stage, _, mut live) = play(SECOND);
        let mut block = Block::default();
        stage.takes.lock().unwrap().extend([Ok(vec![5]), Err(lost()), Ok(vec![6, 7])]);
        assert_eq!(live.next(&mut block).unwrap(), Next::Block);
        assert_eq!(block.records.len(), 3);
        stage.clock.store(9, Relaxed);
        assert_eq!(live.next(&mut block).unwrap(), Next::End);
        assert_eq!((live.frontier(), live.newest(), live.counts().frames), (u64::MAX, 9, 3));
        let error = live.ended_by().unwrap().to_string();
        assert!(error.starts_with("eth7: the interface went down"), "{error}");
        assert_eq!(live.next(&mut block).unwrap(), Next::End);
    }

    #[test]
    fn errors_are_one_line_and_name_the_interfaces_that_there_are() {
        let there = |count: usize| (0..count).map(|n| format!("eth{n}")).collect();
        let unknown = |count| InterfaceError::Unknown { name: "eht0\n".to_owned(), there: there(count) };
        assert_eq!(unknown(2).to_string(), "no interface \"eht0\\n\": there are eth0, eth1");
        assert!(unknown(0).to_string().ends_with("there are none"));
        assert!(unknown(NAMED + 3).to_string().ends_with("eth19 and 3 more"));
        let forbidden = InterfaceError::Forbidden { name: "eth0".to_owned() }.to_string();
        assert!(forbidden.contains("as root"), "{forbidden}");
        assert_eq!(forbidden.contains("setcap cap_net_raw"), cfg!(target_os = "linux"));
        let unsupported = InterfaceError::Unsupported { name: "en0".to_owned() }.to_string();
        assert!(unsupported.contains("--features pcap"), "{unsupported}");
        assert!(![forbidden, unsupported].concat().contains('\n'));
    }

    proptest! {
        /// Whatever stamps come and however the clock runs, in steps that count or in others: no frame below what was
        /// announced before it, and a second reader of what was handed out, cut to other blocks, moves nothing.
        #[test]
        fn frames_keep_to_the_announced_frontier_and_stand_when_read_again(
            unit in prop::sample::select(vec![1, SECOND / 10, SECOND]),
            lateness in 0..40_u64,
            steps in prop::collection::vec((0..200_u64, prop::collection::vec(0..200_u64, 0..6)), 1..40),
        ) {
            let lateness = lateness * unit;
            let (stage, stop, mut live) = play(lateness);
            let mut block = Block::default();
            let mut times = Vec::new();
            for (clock, stamps) in steps {
                stage.clock.store(clock * unit, Relaxed);
                let stamps = stamps.into_iter().map(|stamp: u64| stamp * unit).collect();
                stage.takes.lock().unwrap().push_back(Ok(stamps));
                let announced = live.frontier();
                live.next(&mut block).unwrap();
                prop_assert!(block.records.iter().all(|record| record.time >= announced));
                prop_assert!(live.frontier() >= announced);
                times.extend(block.records.iter().map(|record| record.time));
            }
            prop_assert_eq!(live.newest(), times.iter().copied().max().unwrap_or(0));
            stop.store(true, Relaxed);
            prop_assert_eq!(live.next(&mut block).unwrap(), Next::End);
            let (stage, _, mut again) = play(lateness);
            stage.takes.lock().unwrap().extend(times.chunks(7).map(|times| Ok(times.to_vec())));
            let mut second = Vec::new();
            while again.next(&mut block).unwrap() == Next::Block {
                second.extend(block.records.iter().map(|record| record.time));
            }
            prop_assert_eq!(again.counts().late, 0);
            prop_assert_eq!(second, times);
        }
    }
}
