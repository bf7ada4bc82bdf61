//! Parquet's smallest parts: varints, bit-packed numbers, and the mix of runs and bit-packed numbers that levels
//! and places in dictionaries are written in (Parquet's encodings RLE and RLE_DICTIONARY).

use arrow::array::BooleanBufferBuilder;

/// Equal numbers from which on a run is shorter than the numbers bit-packed, whatever their width.
const RUN: usize = 32;

/// A number in groups of seven bits, the lowest first.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed number, small ones short.
pub(super) fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// The bits that a number needs.
pub(super) fn width(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Numbers of `width` bits, the first one lowest; the last byte is filled up with zeros.
#[inline(always)]
pub(super) fn pack(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = u64>, width: u32) {
    if width == 0 {
        return;
    }
    out.reserve(values.len() * width as usize / 8 + 8);
    let (mut word, mut filled) = (0, 0);
    for value in values {
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// The widest numbers that [`eights`] packs.
pub(super) const NARROW: u32 = 16;

/// The same of numbers of at most [`NARROW`] bits, eight by eight: those are as many bytes as a number has bits, so that
/// none waits for what the last ones left over.
#[inline(always)]
pub(super) fn eights(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = [u64; 8]>, width: u32) {
    let mut at = out.len();
    let end = at + values.len() * width as usize;
    // Each eight is written as if its numbers were of the most bits.
    out.resize(end + NARROW as usize, 0);
    for [a, b, c, d, e, f, g, h] in values {
        let pairs = [a | b << width, c | d << width, e | f << width, g | h << width];
        let fours = [pairs[0] | pairs[1] << (2 * width), pairs[2] | pairs[3] << (2 * width)];
        let bits = u128::from(fours[0]) | u128::from(fours[1]) << (4 * width);
        out[at..at + NARROW as usize].copy_from_slice(&bits.to_le_bytes());
        at += width as usize;
    }
    out.truncate(end);
}

/// Places in a dictionary of `entries`, with the width that they have in front.
pub(super) fn places(out: &mut Vec<u8>, places: &[u32], entries: usize) {
    let width = width(entries.saturating_sub(1) as u64).max(1);
    out.push(width as u8);
    runs(out, places, width);
}

/// Numbers of `width` bits in runs where they are equal, else bit-packed.
fn runs(out: &mut Vec<u8>, numbers: &[u32], width: u32) {
    let bits = |out: &mut Vec<u8>, numbers: &[u32]| {
        if !numbers.is_empty() {
            varint(out, (numbers.len().div_ceil(8) as u64) << 1 | 1);
            if width <= NARROW {
                let filled = |eight: &[u32]| {
                    let mut values = [0; 8];
                    values.iter_mut().zip(eight).for_each(|(value, number)| *value = u64::from(*number));
                    values
                };
                return eights(out, numbers.chunks(8).map(filled), width);
            }
            let end = out.len() + numbers.len().div_ceil(8) * width as usize;
            pack(out, numbers.iter().map(|number| u64::from(*number)), width);
            out.resize(end, 0);
        }
    };
    // Whole groups of eight stand between runs.
    let (mut from, mut at) = (0, 0);
    while at < numbers.len() {
        let rest = &numbers[at..];
        let run = rest.iter().take_while(|number| **number == rest[0]).count();
        if run < RUN {
            at = numbers.len().min(at + 8);
            continue;
        }
        bits(out, &numbers[from..at]);
        varint(out, (run as u64) << 1);
        out.extend_from_slice(&rest[0].to_le_bytes()[..width.div_ceil(8) as usize]);
        at += run;
        from = at;
    }
    bits(out, &numbers[from..]);
}

/// Levels up to `most`, with their length in front.
pub(super) fn levels(out: &mut Vec<u8>, levels: &[u32], most: u32) {
    with_length(out, |out| runs(out, levels, width(most.into())));
}

/// Which rows of a page have a value: definition levels of at most 1, with their length in front.
pub(super) fn present(out: &mut Vec<u8>, present: &BooleanBufferBuilder, count: usize) {
    let rows = present.len();
    with_length(out, |out| {
        if count == rows || count == 0 {
            varint(out, (rows as u64) << 1);
            out.push(u8::from(count > 0));
        } else {
            varint(out, (rows.div_ceil(8) as u64) << 1 | 1);
            out.extend_from_slice(&present.as_slice()[..rows.div_ceil(8)]);
        }
    });
}

fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - begin - 4) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eights_are_packed_as_numbers_one_by_one() {
        for width in 0..=NARROW {
            let values: Vec<u64> =
                (0..32u64).map(|n| n.wrapping_mul(0x9E37_79B9) & ((1 << width) - 1)).collect();
            let (mut expected, mut found) = (vec![7], vec![7]);
            pack(&mut expected, values.iter().copied(), width);
            eights(&mut found, values.as_chunks::<8>().0.iter().copied(), width);
            assert_eq!(found, expected, "{width} bits");
        }
    }
}
