//! The blocks of pcapng files: sections of either byte order, interfaces, packets in their three forms.
//!
//! Format: draft-ietf-opsawg-pcapng. Blocks are walked here and not by pcap-file, which refuses a file
//! for options that nobody asks for and copies what it parses.

use super::Record;
use super::capture::{Damage, Problem, Stop, Taken, longest};
use super::pcap;

/// Type of a section header block, the same in either byte order.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Bytes of a block, at most: what libpcap and Wireshark accept.
const LONGEST_BLOCK: usize = 16 << 20;
/// Interfaces of a section, at most: more are no interfaces.
const MOST_INTERFACES: usize = 65_536;

/// Whether a file that begins so is pcapng.
pub(super) fn is_pcapng(magic: &[u8]) -> bool {
    magic.len() >= 4 && magic[..4] == SECTION.to_be_bytes()
}

/// Whether a section begins where a record of a classic capture was to: as that it would be one of 439 MB, or of 1.3 GB, from
/// 1975.
#[inline]
pub(super) fn is_joined(bytes: &[u8; 16]) -> bool {
    is_pcapng(bytes) && matches!(bytes[8..12], [0x1a, 0x2b, 0x3c, 0x4d] | [0x4d, 0x3c, 0x2b, 0x1a])
}

/// How timestamps become nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    /// So many nanoseconds.
    Times(u32),
    /// So many of them are a nanosecond.
    Divided(u128),
    /// Seconds by two to the power of this.
    Shifted(u8),
}

impl Unit {
    /// From the value of the option `if_tsresol`.
    fn new(resolution: u8) -> Unit {
        match resolution {
            0..=9 => Unit::Times(10_u32.pow(9 - u32::from(resolution))),
            // Beyond what a number holds, no timestamp amounts to a nanosecond.
            10..=127 => Unit::Divided(10_u128.checked_pow(u32::from(resolution) - 9).unwrap_or(u128::MAX)),
            128.. => Unit::Shifted(resolution & 0x7f),
        }
    }

    fn nanoseconds(self, time: u64) -> u128 {
        match self {
            Unit::Times(nanoseconds) => u128::from(time) * u128::from(nanoseconds),
            Unit::Divided(by) => u128::from(time) / by,
            Unit::Shifted(bits) => (u128::from(time) * 1_000_000_000) >> bits,
        }
    }
}

/// An interface of a section.
#[derive(Clone, Copy)]
struct Interface {
    link: u16,
    /// The snap length, 0 for none.
    snap: u32,
    unit: Unit,
    /// Seconds to add to timestamps.
    offset: i64,
}

impl Interface {
    /// Event time in nanoseconds: 0 before 1970, saturating at `i64::MAX`.
    fn time(&self, time: u64) -> u64 {
        if let (Unit::Times(nanoseconds), 0) = (self.unit, self.offset) {
            return time.saturating_mul(u64::from(nanoseconds)).min(i64::MAX as u64);
        }
        // At most 2^94 and 2^93: no overflow.
        let time = self.unit.nanoseconds(time) as i128 + i128::from(self.offset) * 1_000_000_000;
        time.clamp(0, i128::from(i64::MAX)) as u64
    }
}

/// The section that is being read.
#[derive(Default)]
pub(super) struct Pcapng {
    big: bool,
    interfaces: Vec<Interface>,
    /// Event time of the last packet that has one, also of an earlier section.
    last: u64,
    /// Whole blocks so far.
    blocks: u64,
}

/// A block's fields in the section's byte order. Lengths were checked against the block's.
#[derive(Clone, Copy)]
struct Fields<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Fields<'_> {
    #[inline]
    fn half(self, at: usize) -> u16 {
        let half = self.bytes[at..].first_chunk().expect("lengths were checked");
        if self.big { u16::from_be_bytes(*half) } else { u16::from_le_bytes(*half) }
    }

    #[inline]
    fn word(self, at: usize) -> u32 {
        let word = self.bytes[at..].first_chunk().expect("lengths were checked");
        if self.big { u32::from_be_bytes(*word) } else { u32::from_le_bytes(*word) }
    }
}

impl Pcapng {
    /// Number of the block that is read next, from 1.
    pub(super) fn block(&self) -> u64 {
        self.blocks + 1
    }

    /// Takes packets from whole blocks in `bytes` on from `from`, which moves behind them.
    pub(super) fn walk(&mut self, bytes: &[u8], from: &mut usize, taken: &mut Taken<'_>) -> Stop {
        while !taken.full() {
            // As a block it would have a length that none can have.
            if bytes[*from..].first_chunk().is_some_and(pcap::is_joined) {
                return if bytes.len() - *from < pcap::HEADER { Stop::More } else { Stop::Joined };
            }
            match self.step(bytes, *from, taken) {
                Ok(Some(end)) => *from = end,
                Ok(None) => return Stop::More,
                Err(problem) => return Stop::Damaged(Damage { at: *from, problem }),
            }
            self.blocks += 1;
        }
        Stop::Full
    }

    /// Reads a block and returns its end, `None` if it is not whole.
    fn step(&mut self, bytes: &[u8], from: usize, taken: &mut Taken<'_>) -> Result<Option<usize>, Problem> {
        let bytes = &bytes[from..];
        if bytes.len() < 12 {
            return Ok(None);
        }
        let kind = Fields { bytes, big: self.big }.word(0);
        let big = match kind {
            SECTION => match &bytes[8..12] {
                [0x1a, 0x2b, 0x3c, 0x4d] => true,
                [0x4d, 0x3c, 0x2b, 0x1a] => false,
                other => return Err(format!("{other:02x?} is no byte order of a section").into()),
            },
            _ => self.big,
        };
        let least = match kind {
            SECTION => 28,
            INTERFACE => 20,
            PACKET | ENHANCED_PACKET => 32,
            SIMPLE_PACKET => 16,
            _ => 12,
        };
        let length = Fields { bytes, big }.word(4) as usize;
        if length < least || length > LONGEST_BLOCK || !length.is_multiple_of(4) {
            return Err(format!("a block of type {kind:#x} cannot have a length of {length}").into());
        }
        let Some(bytes) = bytes.get(..length) else { return Ok(None) };
        let block = Fields { bytes, big };
        let again = block.word(length - 4) as usize;
        if again != length {
            return Err(format!("the block's length is {length} at its start and {again} at its end").into());
        }
        match kind {
            SECTION => {
                let version = block.half(12);
                if version != 1 {
                    return Err(format!(
                        "version {version}.{} of pcapng is not read, only 1.x",
                        block.half(14)
                    )
                    .into());
                }
                self.big = big;
                self.interfaces.clear();
            }
            INTERFACE => {
                if self.interfaces.len() == MOST_INTERFACES {
                    return Err(format!("more than {MOST_INTERFACES} interfaces in a section").into());
                }
                self.interfaces.push(interface(block));
            }
            ENHANCED_PACKET => self.packet(block.word(8), block, from, taken)?,
            PACKET => self.packet(u32::from(block.half(8)), block, from, taken)?,
            SIMPLE_PACKET => {
                let interface = self.interface(0)?;
                let original = block.word(8);
                let held = length as u32 - 16;
                let captured =
                    original.min(held).min(if interface.snap == 0 { held } else { interface.snap });
                // It has no time of its own: it takes that of the one before it, whether the clock believes that or not.
                let time = self.last.max(taken.clock.watermark());
                taken.records.push(Record {
                    time,
                    at: from as u32 + 12,
                    captured: allowed(captured, interface)?,
                    original,
                    link: interface.link,
                });
            }
            _ => {}
        }
        Ok(Some(from + length))
    }

    fn interface(&self, number: u32) -> Result<Interface, Problem> {
        let interface = self.interfaces.get(number as usize).copied();
        interface.ok_or_else(|| {
            format!("its interface {number} is not among the {} of the section", self.interfaces.len()).into()
        })
    }

    /// A packet with a time; the old form differs only in its first fields.
    fn packet(
        &mut self,
        interface: u32,
        block: Fields<'_>,
        from: usize,
        taken: &mut Taken<'_>,
    ) -> Result<(), Problem> {
        let interface = self.interface(interface)?;
        let captured = block.word(20);
        let held = block.bytes.len() as u32 - 32;
        if captured > held {
            return Err(format!("{captured} bytes captured, but the block holds {held}").into());
        }
        let time = interface.time(u64::from(block.word(12)) << 32 | u64::from(block.word(16)));
        let captured = allowed(captured, interface)?;
        self.last = taken.clock.place(time);
        taken.records.push(Record {
            time: self.last,
            at: from as u32 + 28,
            captured,
            original: block.word(24),
            link: interface.link,
        });
        Ok(())
    }
}

/// A captured length that is not too long. Here the block's length witnesses it, so one beyond the snap
/// length of the interface is read up to what any reader accepts.
fn allowed(captured: u32, interface: Interface) -> Result<u32, Problem> {
    if captured > longest(interface.snap) {
        return Err(Problem::BeyondSnap { captured, snap: interface.snap });
    }
    Ok(captured)
}

/// Reads an interface description block.
fn interface(block: Fields<'_>) -> Interface {
    let mut interface =
        Interface { link: block.half(8), snap: block.word(12), unit: Unit::Times(1000), offset: 0 };
    let (mut at, end) = (16, block.bytes.len() - 4);
    // Options that do not fit are passed over: the packets can be read without.
    while at + 4 <= end {
        let (code, length) = (block.half(at), usize::from(block.half(at + 2)));
        at += 4;
        if code == 0 || at + length > end {
            break;
        }
        match (code, length) {
            (9, 1) => interface.unit = Unit::new(block.bytes[at]),
            (14, 8) => {
                let (first, second) = (block.word(at), block.word(at + 4));
                let (high, low) = if block.big { (first, second) } else { (second, first) };
                interface.offset = (u64::from(high) << 32 | u64::from(low)) as i64;
            }
            _ => {}
        }
        at += length.next_multiple_of(4);
    }
    interface
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resolution_gives_nanoseconds_rounded_down() {
        let cases = [
            (0, 7, 7_000_000_000),
            (3, 7, 7_000_000),
            (6, 7, 7_000),
            (9, 7, 7),
            (12, 7_999, 7),
            (28, u64::MAX, 1),
            (29, u64::MAX, 0),
            (127, u64::MAX, 0),
            (0x80, 7, 7_000_000_000),
            (0x8a, 1024 + 512, 1_500_000_000),
            (0xa0, 1 << 31, 500_000_000),
            (0xff, u64::MAX, 0),
        ];
        for (resolution, time, nanoseconds) in cases {
            assert_eq!(Unit::new(resolution).nanoseconds(time), nanoseconds, "{resolution:#x}");
        }
    }

    #[test]
    fn times_outside_of_the_range_are_moved_to_its_ends() {
        let mut interface = Interface { link: 1, snap: 0, unit: Unit::new(0), offset: i64::MIN };
        assert_eq!(interface.time(u64::MAX), i64::MAX as u64);
        assert_eq!(interface.time(5), 0);
        interface.offset = i64::MAX;
        assert_eq!(interface.time(u64::MAX), i64::MAX as u64);
        interface.offset = -3;
        assert_eq!((interface.time(5), interface.time(3), interface.time(2)), (2_000_000_000, 0, 0));
    }
}
