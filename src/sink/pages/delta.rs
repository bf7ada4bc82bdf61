//! Whole numbers as differences, bit-packed in blocks (Parquet's encoding DELTA_BINARY_PACKED).

use super::hybrid::{NARROW, eights, pack, varint, width, zigzag};

const BLOCK: usize = 128;
const PARTS: usize = 4;
const PART: usize = BLOCK / PARTS;

/// A number as Parquet stores it, in whose arithmetic differences are taken.
pub(super) trait Stored: Copy + Ord + Default {
    /// Itself among all numbers.
    fn wide(self) -> i64;
    /// What must be added to `before` to come to it.
    fn minus(self, before: Self) -> Self;
    /// Its bits.
    fn bits(self) -> u64;
    const MOST: Self;
}

macro_rules! stored {
    ($($number:ty as $bits:ty),*) => {$(
        impl Stored for $number {
            const MOST: Self = <$number>::MAX;

            #[inline(always)]
            fn wide(self) -> i64 {
                i64::from(self)
            }

            #[inline(always)]
            fn minus(self, before: Self) -> Self {
                self.wrapping_sub(before)
            }

            #[inline(always)]
            fn bits(self) -> u64 {
                u64::from(self as $bits)
            }
        }
    )*};
}

stored!(i32 as u32, i64 as u64);

/// The first value, then blocks of differences, each as what it is above the block's smallest.
pub(super) fn differences<V: Copy, S: Stored>(out: &mut Vec<u8>, values: &[V], stored: impl Fn(V) -> S) {
    varint(out, BLOCK as u64);
    varint(out, PARTS as u64);
    varint(out, values.len() as u64);
    zigzag(out, values.first().map_or(0, |first| stored(*first).wide()));
    let mut previous = values;
    while let [_, rest @ ..] = previous {
        let count = rest.len().min(BLOCK);
        if count == 0 {
            break;
        }
        let mut block = [S::default(); BLOCK];
        for ((place, value), before) in block.iter_mut().zip(&rest[..count]).zip(previous) {
            *place = stored(*value).minus(stored(*before));
        }
        previous = &previous[count..];
        // Values that do not change, as of many columns: neither a smallest difference nor anything above it.
        if block.iter().fold(0, |all, difference| all | difference.bits()) == 0 {
            out.extend_from_slice(&[0; 1 + PARTS]);
            continue;
        }
        let least = block[..count].iter().fold(S::MOST, |least, difference| least.min(*difference));
        block[count..].fill(least);
        zigzag(out, least.wide());
        let above = block.map(|value| value.minus(least).bits());
        // The bits of all numbers together tell the widest.
        let mut widths = [0; PARTS];
        for (bits, part) in widths.iter_mut().zip(above.chunks_exact(PART)) {
            *bits = width(part.iter().fold(0, |all, value| all | value));
        }
        out.extend(widths.map(|width| width as u8));
        // A part without values has width 0.
        for (part, width) in above.chunks_exact(PART).zip(widths) {
            match width {
                0 => {}
                1..=NARROW => eights(out, part.as_chunks::<8>().0.iter().copied(), width),
                _ => pack(out, part.iter().copied(), width),
            }
        }
    }
}

/// What [`differences`] makes of `count` numbers that are all `value`.
pub(super) fn uniform(out: &mut Vec<u8>, value: i64, count: usize) {
    varint(out, BLOCK as u64);
    varint(out, PARTS as u64);
    varint(out, count as u64);
    zigzag(out, value);
    out.resize(out.len() + count.saturating_sub(1).div_ceil(BLOCK) * (1 + PARTS), 0);
}
