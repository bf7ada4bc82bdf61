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
