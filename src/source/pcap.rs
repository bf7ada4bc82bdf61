//! The records of classic capture files: microseconds or nanoseconds, either byte order, and Kuznetzov's
//! longer record header.
//!
//! Own record walk, since pcap-file's reads neither that header nor the exchanged lengths of old versions
//! and cannot say how long an incomplete record claims to be.

use pcap_file::Endianness;
use pcap_file::pcap::{PcapHeader, PcapTsResolution};

use super::Record;
use super::capture::{Damage, LONGEST, Problem, Stop, Taken, longest};
use super::pcapng;

/// Bytes of the file header.
pub(super) const HEADER: usize = 24;
/// What Kuznetzov's patch to libpcap 0.4 wrote instead of 0xa1b2c3d4.
const MODIFIED: u32 = 0xa1b2_cd34;
/// Seconds that lie between a record beyond the snap length and the next one, at most, for both to be
/// believed.
const NEAR: u32 = 86_400;
/// Nanoseconds that a wire is believed to have been quiet before a recording ended.
const LONGEST_QUIET: u64 = 86_400_000_000_000;

/// Whether a file that begins so is a classic capture.
pub(super) fn is_pcap(magic: &[u8]) -> bool {
    let Some(magic) = magic.first_chunk() else { return false };
    let known = |magic| matches!(magic, 0xa1b2_c3d4 | 0xa1b2_3c4d | MODIFIED);
    known(u32::from_be_bytes(*magic)) || known(u32::from_le_bytes(*magic))
}

/// Whether a file header stands where a record was to begin: captures were joined end to end, as `zcat *.pcap.gz` does.
/// As a record it would be one of no bytes from 1997, 2011, 2055 or 2082.
#[inline]
pub(super) fn is_joined(bytes: &[u8; 16]) -> bool {
    // Version 2.4 in either byte order; the version first, as records seldom have that fraction of a second.
    matches!(bytes[4..8], [2, 0, 4, 0] | [0, 2, 0, 4]) && is_pcap(&bytes[..4])
}

/// In which order a record header gives captured and original length.
#[derive(Clone, Copy)]
enum Lengths {
    /// Captured first.
    Plain,
    /// Original first: before version 2.3.
    Exchanged,
    /// Either, the smaller is the captured one: version 2.3.
    Either,
}

/// What the file header says.
pub(super) struct Pcap {
    big: bool,
    /// Nanoseconds of a unit of the fraction.
    unit: u32,
    /// Bytes of a record header.
    header: usize,
    lengths: Lengths,
    /// The snap length.
    snap: u32,
    link: u16,
    lax: bool,
    /// Seconds and nanoseconds that stand in the two fields of the header that the format has no use for.
    reserved: [u32; 2],
}

/// A record header.
struct Head {
    seconds: u32,
    fraction: u32,
    captured: u32,
    original: u32,
}

impl Pcap {
    /// Reads the file header.
    ///
    /// # Errors
    /// A line about a version that is not read.
    pub(super) fn new(head: &[u8; HEADER], lax: bool) -> Result<Pcap, String> {
        let mut head = *head;
        let magic = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let modified = match magic {
            MODIFIED => Some(0xa1b2_c3d4_u32.to_be_bytes()),
            magic if magic.swap_bytes() == MODIFIED => Some(0xa1b2_c3d4_u32.to_le_bytes()),
            _ => None,
        };
        if let Some(plain) = modified {
            head[..4].copy_from_slice(&plain);
        }
        let (_, header) = PcapHeader::from_slice(&head).map_err(|error| error.to_string())?;
        // Minor versions after 4 do not exist, but files have them; Wireshark reads them as 2.4, too.
        if header.version_major != 2 {
            return Err(format!(
                "version {}.{} of pcap is not read, only 2.x",
                header.version_major, header.version_minor
            ));
        }
        Ok(Pcap {
            big: header.endianness == Endianness::Big,
            unit: if header.ts_resolution == PcapTsResolution::NanoSecond { 1 } else { 1000 },
            header: if modified.is_some() { 24 } else { 16 },
            lengths: match header.version_minor {
                ..3 => Lengths::Exchanged,
                3 => Lengths::Either,
                _ => Lengths::Plain,
            },
            // As libpcap takes it: none, or a negative one, is the longest.
            snap: match header.snaplen {
                1..=0x7fff_ffff => header.snaplen,
                _ => LONGEST,
            },
            // Above are flags and the length of a frame check sequence.
            link: u32::from(header.datalink) as u16,
            lax,
            reserved: [header.ts_correction as u32, header.ts_accuracy],
        })
    }

    /// Until when the wire was watched after a last record at `newest`, in nanoseconds since the Unix epoch,
    /// where the file says so: recordings do, in fields that other readers pass over. What lies before the
    /// last record, or more than a day after it, was written by somebody who meant something else.
    pub(super) fn watched_until(&self, newest: u64) -> Option<u64> {
        let [seconds, nanoseconds] = self.reserved;
        let until = u64::from(seconds) * 1_000_000_000 + u64::from(nanoseconds);
        let credible = self.unit == 1 && nanoseconds < 1_000_000_000 && newest > 0;
        (credible && (newest..newest.saturating_add(LONGEST_QUIET)).contains(&until)).then_some(until)
    }

    #[inline]
    fn head(&self, bytes: &[u8; 16]) -> Head {
        let words: [u32; 4] = std::array::from_fn(|at| {
            let word = [bytes[4 * at], bytes[4 * at + 1], bytes[4 * at + 2], bytes[4 * at + 3]];
            u32::from_le_bytes(word)
        });
        let words = if self.big { words.map(u32::swap_bytes) } else { words };
        let [seconds, fraction, first, second] = words;
        let (captured, original) = match self.lengths {
            Lengths::Plain => (first, second),
            Lengths::Exchanged => (second, first),
            Lengths::Either => (first.min(second), first.max(second)),
        };
        Head { seconds, fraction, captured, original }
    }

    /// Takes whole records from `bytes` on from `from`, which moves behind them. `ended` says that the
    /// file has no more bytes.
    pub(super) fn walk(
        &mut self,
        bytes: &[u8],
        from: &mut usize,
        ended: bool,
        taken: &mut Taken<'_>,
    ) -> Stop {
        while !taken.full() {
            let Some(head) = bytes[*from..].first_chunk() else { return Stop::More };
            if is_joined(head) || pcapng::is_joined(head) {
                return if bytes.len() - *from < HEADER { Stop::More } else { Stop::Joined };
            }
            let head = self.head(head);
            if head.captured > self.snap
                && let Some(stop) = self.beyond_snap(&head, bytes, *from, ended)
            {
                return stop;
            }
            let at = *from + self.header;
            let end = at + head.captured as usize;
            if end > bytes.len() {
                return Stop::More;
            }
            let time =
                u64::from(head.seconds) * 1_000_000_000 + u64::from(head.fraction) * u64::from(self.unit);
            taken.records.push(Record {
                time: taken.clock.place(time),
                at: at as u32,
                captured: head.captured,
                original: head.original,
                link: self.link,
            });
            *from = end;
        }
        Stop::Full
    }

    /// Whether a record that is longer than the snap length is to be read (`None`).
    ///
    /// tcpdump and tshark read such records up to 262144 bytes: there are writers that forget the snap
    /// length (`dccp_options-oobr.pcap` of the corpus). But then a damaged length swallows thousands of
    /// records. So the record is read only if it is whole and a header follows that can be one.
    fn beyond_snap(&self, head: &Head, bytes: &[u8], from: usize, ended: bool) -> Option<Stop> {
        let refused = Stop::Damaged(Damage {
            at: from,
            problem: Problem::BeyondSnap { captured: head.captured, snap: self.snap },
        });
        if head.captured > longest(self.snap) {
            return Some(refused);
        }
        if self.lax {
            return None;
        }
        let end = from + self.header + head.captured as usize;
        match bytes.get(end..).map(<[u8]>::first_chunk) {
            None | Some(None) if !ended => Some(Stop::More),
            None => Some(refused),
            Some(None) => None,
            Some(Some(next)) => {
                let next = self.head(next);
                let believed = next.captured <= longest(self.snap)
                    && u64::from(next.fraction) * u64::from(self.unit) < 1_000_000_000
                    && next.seconds.abs_diff(head.seconds) <= NEAR;
                if believed { None } else { Some(refused) }
            }
        }
    }
}
