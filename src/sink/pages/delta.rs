//! Whole numbers as differences, bit-packed in blocks (Parquet's encoding DELTA_BINARY_PACKED).

use super::hybrid::{pack, varint, width, zigzag};

const BLOCK: usize = 128;
const PARTS: usize = 4;
const PART: usize = BLOCK / PARTS;

/// The first value, then blocks of differences, each as what it is above the block's smallest.
pub(super) fn differences<V: Copy>(
    out: &mut Vec<u8>,
    values: &[V],
    wide: impl Fn(V) -> i64,
    difference: impl Fn(V, V) -> i64,
) {
    varint(out, BLOCK as u64);
    varint(out, PARTS as u64);
    varint(out, values.len() as u64);
    zigzag(out, values.first().map_or(0, |first| wide(*first)));
    let mut previous = values;
    while let [_, rest @ ..] = previous {
        let count = rest.len().min(BLOCK);
        if count == 0 {
            break;
        }
        let mut block = [0; BLOCK];
        let mut least = i64::MAX;
        for ((place, value), before) in block.iter_mut().zip(&rest[..count]).zip(previous) {
            *place = difference(*value, *before);
            least = least.min(*place);
        }
        block[count..].fill(least);
        zigzag(out, least);
        let above = block.map(|value| value.wrapping_sub(least) as u64);
        // The bits of all numbers together tell the widest.
        let mut widths = [0; PARTS];
        for (bits, part) in widths.iter_mut().zip(above.chunks_exact(PART)) {
            *bits = width(part.iter().fold(0, |all, value| all | value));
        }
        out.extend(widths.map(|width| width as u8));
        // A part without values has width 0.
        for (part, width) in above.chunks_exact(PART).zip(widths) {
            pack(out, part.iter().copied(), width);
        }
        previous = &previous[count..];
    }
}
