//! Counters at each doorway, the first fault, and what ends a run: what a process's workers share while the graph runs.
//!
//! What enters a room leaves it, is refused with a cause, or is still inside. At the end nothing is
//! inside, and [`Tally::check`] holds every run to that.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::packet::Refused;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Counters of a run, added to by all workers of the process.
#[derive(Debug, Default)]
pub struct Tally {
    /// Event times of packets, or of rows that were read.
    pub span: Span,
    /// Frames read.
    pub frames: AtomicU64,
    /// Frames that became packets.
    pub packets: AtomicU64,
    /// Bytes of IP datagrams in those packets.
    pub bytes: AtomicU64,
    /// Frames without IP, by ethertype.
    pub not_ip: Mutex<BTreeMap<u16, u64>>,
    /// Frames cut off inside a needed header.
    pub truncated: AtomicU64,
    /// Captured bytes of the longest of them that the capture cut, 0 where it cut none.
    pub cut_at: AtomicU64,
    /// Frames that contradict themselves.
    pub malformed: AtomicU64,
    /// Frames of an unknown link type.
    pub unknown_link: AtomicU64,
    /// Flows begun.
    pub flows: AtomicU64,
    /// Flows ended for lack of room.
    pub shed: AtomicU64,
    /// What context forgot for lack of room: hosts, pairs, services and ports that it had seen, and flows.
    pub forgotten: AtomicU64,
    /// Rows made or read.
    pub rows: AtomicU64,
    /// Rows that scored above the threshold.
    pub anomalies: AtomicU64,
    /// Those of them that say why, where they become incidents: what is written as alerts unless rules mute it.
    pub alerts: AtomicU64,
    /// Incidents that began and were not taken back, without those that are no more than knocks.
    pub incidents: AtomicU64,
    /// Those of them that a budget keeps back.
    pub held: AtomicU64,
    /// What is no more than a knock: one row of a stranger's that nobody let in.
    pub knocks: AtomicU64,
    /// Packets in all rows.
    pub row_packets: AtomicU64,
    /// Bytes in all rows.
    pub row_bytes: AtomicU64,
    /// Files of directories and patterns that are neither captures nor rows.
    pub passed_over: AtomicU64,
    /// What the TCP rows say of how they were captured.
    pub tcp: TcpTally,
}

/// What TCP rows say of how they were captured, added to batch by batch.
#[derive(Debug, Default)]
pub struct TcpTally {
    /// Flows.
    pub flows: AtomicU64,
    /// Their packets.
    pub packets: AtomicU64,
    /// Of the packets of each row those of the side that sent fewer.
    pub answers: AtomicU64,
    /// Segments that repeat what was sent before.
    pub repeats: AtomicU64,
}

/// From the first event time to the last, nanoseconds since the Unix epoch.
#[derive(Debug)]
pub struct Span {
    first: AtomicU64,
    last: AtomicU64,
}

impl Default for Span {
    fn default() -> Self {
        Span { first: AtomicU64::new(u64::MAX), last: AtomicU64::new(0) }
    }
}

impl Span {
    /// Takes in what lies from `first` to `last`.
    pub fn reach(&self, first: u64, last: u64) {
        self.first.fetch_min(first, Relaxed);
        self.last.fetch_max(last, Relaxed);
    }

    /// Both ends; `None` where nothing was taken in.
    pub fn ends(&self) -> Option<(u64, u64)> {
        let (first, last) = (self.first.load(Relaxed), self.last.load(Relaxed));
        (first <= last).then_some((first, last))
    }
}

/// Counters of one worker, handed over block by block.
#[derive(Debug, Default)]
pub struct Batch {
    /// Frames that became packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that did not.
    pub refused: u64,
    not_ip: BTreeMap<u16, u64>,
    truncated: u64,
    /// Captured bytes of the longest frame that the capture cut off inside a needed header.
    pub cut_at: u32,
    malformed: u64,
    unknown_link: u64,
}

impl Batch {
    /// Counts a frame that is no packet.
    #[cold]
    pub fn refuse(&mut self, cause: Refused) {
        self.refused += 1;
        match cause {
            Refused::NotIp(ethertype) => *self.not_ip.entry(ethertype).or_default() += 1,
            Refused::Truncated => self.truncated += 1,
            Refused::Malformed => self.malformed += 1,
            Refused::UnknownLink => self.unknown_link += 1,
        }
    }
}

impl Tally {
    /// Adds a block's counters.
    pub fn add(&self, batch: Batch) {
        self.frames.fetch_add(batch.packets + batch.refused, Relaxed);
        self.packets.fetch_add(batch.packets, Relaxed);
        self.bytes.fetch_add(batch.bytes, Relaxed);
        self.truncated.fetch_add(batch.truncated, Relaxed);
        self.cut_at.fetch_max(batch.cut_at.into(), Relaxed);
        self.malformed.fetch_add(batch.malformed, Relaxed);
        self.unknown_link.fetch_add(batch.unknown_link, Relaxed);
        if !batch.not_ip.is_empty() {
            let mut not_ip = self.not_ip.lock().expect("no worker panics while it counts");
            for (ethertype, count) in batch.not_ip {
                *not_ip.entry(ethertype).or_default() += count;
            }
        }
    }

    /// Frames without IP, whatever they carry.
    pub fn not_ip(&self) -> u64 {
        self.not_ip.lock().expect("no worker panics while it counts").values().sum()
    }

    /// Holds the run to conservation: frames read = packets + refusals, and rows carry all packets and
    /// all bytes. `frames` is what the source handed out.
    ///
    /// # Errors
    /// One line with the numbers that differ: a defect of this program, worth reporting.
    pub fn check(&self, frames: u64) -> Result<(), String> {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let refused = self.not_ip() + get(&self.truncated) + get(&self.malformed) + get(&self.unknown_link);
        let pairs = [
            ("frames read and frames decoded or refused", frames, get(&self.packets) + refused),
            ("packets read and packets in rows", get(&self.packets), get(&self.row_packets)),
            ("bytes read and bytes in rows", get(&self.bytes), get(&self.row_bytes)),
        ];
        for (what, left, right) in pairs {
            if left != right {
                return Err(format!(
                    "counters do not balance: {what}: {left} and {right}; please report this"
                ));
            }
        }
        Ok(())
    }
}

/// Whether a run is to end: because whoever began it asks for that, or because of what it met. The flag by which it is
/// asked is only read, since other runs may look at the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    met: Arc<AtomicBool>,
    /// An input was left before its own end.
    early: Arc<AtomicBool>,
}

impl Stop {
    /// That of a run which is asked to end by this flag.
    pub fn by(asked: Arc<AtomicBool>) -> Stop {
        Stop { asked, ..Stop::default() }
    }

    /// Whether it is to end.
    pub fn is_due(&self) -> bool {
        self.is_asked() || self.met.load(Relaxed)
    }

    /// Whether it was asked to.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// Notes that an input is left before its own end, as the run was asked to.
    pub fn end_early(&self) {
        self.early.store(true, Relaxed);
    }

    /// Whether one was.
    pub fn ended_early(&self) -> bool {
        self.early.load(Relaxed)
    }
}

/// The first error of a run: whoever meets it notes it, everybody else winds up.
#[derive(Debug, Default)]
pub struct Fault {
    met: AtomicBool,
    error: Mutex<Option<AnyError>>,
    live: bool,
    /// What both kinds of errors end.
    stop: Stop,
    lost: Mutex<Option<AnyError>>,
}

impl Fault {
    /// That of a run which ends by `stop`, a live one or not.
    pub fn new(stop: Stop, live: bool) -> Fault {
        Fault { stop, live, ..Fault::default() }
    }

    /// Notes that an output takes no more. A live run ends as if it had been asked to, so that the others get all that
    /// came until then; for any other run it is an error, as it has its input still.
    pub fn lose(&self, error: impl Into<AnyError>) {
        if !self.live {
            return self.note(error);
        }
        self.lost.lock().expect("no worker panics while it notes an error").get_or_insert(error.into());
        self.stop.met.store(true, Relaxed);
    }

    /// Takes the error of the first output of a live run that took no more.
    pub fn take_lost(&self) -> Option<AnyError> {
        self.lost.lock().expect("no worker panics while it notes an error").take()
    }

    /// Notes an error, unless there is one already.
    pub fn note(&self, error: impl Into<AnyError>) {
        self.error.lock().expect("no worker panics while it notes an error").get_or_insert(error.into());
        self.met.store(true, Relaxed);
        self.stop.met.store(true, Relaxed);
    }

    /// Whether an error was met.
    pub fn met(&self) -> bool {
        self.met.load(Relaxed)
    }

    /// Takes the error.
    pub fn take(&self) -> Option<AnyError> {
        self.error.lock().expect("no worker panics while it notes an error").take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_is_lost_ends_a_live_run_as_if_asked_and_any_other_as_an_error() {
        let asked = Arc::<AtomicBool>::default();
        let (stop, another) = (Stop::by(asked.clone()), Stop::by(asked.clone()));
        let live = Fault::new(stop.clone(), true);
        live.lose("first");
        live.lose("second");
        assert!(stop.is_due() && !live.met() && live.take().is_none());
        assert_eq!(live.take_lost().unwrap().to_string(), "first");
        let stop = Stop::by(asked.clone());
        let batch = Fault::new(stop.clone(), false);
        batch.lose("first");
        assert!(stop.is_due() && batch.met() && batch.take_lost().is_none());
        // The flag may be that of other runs, too.
        assert!(!another.is_due() && !asked.load(Relaxed));
        asked.store(true, Relaxed);
        assert!(another.is_asked());
        assert_eq!(batch.take().unwrap().to_string(), "first");
    }

    #[test]
    fn a_span_is_from_the_first_to_the_last_in_any_order() {
        let span = Span::default();
        assert_eq!(span.ends(), None);
        [(5, 7), (2, 3), (6, 6)].into_iter().for_each(|(first, last)| span.reach(first, last));
        assert_eq!(span.ends(), Some((2, 7)));
    }

    #[test]
    fn frames_are_packets_and_refusals_and_rows_hold_all_packets() {
        let tally = Tally::default();
        let mut batch = Batch { packets: 3, bytes: 300, ..Batch::default() };
        batch.refuse(Refused::NotIp(0x806));
        batch.refuse(Refused::Truncated);
        tally.add(batch);
        assert!(tally.check(6).unwrap_err().contains("6 and 5"));
        assert!(tally.check(5).unwrap_err().contains("packets in rows: 3 and 0"));
        tally.row_packets.store(3, Relaxed);
        assert!(tally.check(5).unwrap_err().contains("bytes in rows: 300 and 0"));
        tally.row_bytes.store(300, Relaxed);
        assert_eq!(tally.check(5), Ok(()));
    }
}
