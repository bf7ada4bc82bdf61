//! What lies in the pages of a Parquet column, checked before decoders see it: they trust counts and lengths, and
//! run off the end of a page whose own do not fit.
//!
//! A data page of the first version holds, for a column with nulls, the length and the runs of its levels (1 where
//! there is a value), then the values: plain ones side by side, or a bit width and runs of places in the dictionary.
//! Runs are those of Parquet's RLE and bit-packing hybrid.

/// What a column's pages must be like.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Rows of the column.
    pub(super) rows: u64,
    /// Whether levels say where there is a value.
    pub(super) nullable: bool,
    /// Bytes of a plain value; `None` for texts, which begin with their length.
    pub(super) width: Option<usize>,
    /// Whether pages are compressed, by Zstandard.
    pub(super) compressed: bool,
}

/// Encodings that are read, by Parquet's numbers: plain, and dictionary by its old and new name.
pub(super) const PLAIN: i64 = 0;
const DICTIONARIES: [i64; 2] = [2, 8];

/// Checks a dictionary page of so many values.
pub(super) fn dictionary(body: &[u8], values: u64, encoding: i64, shape: Shape) -> Result<(), &'static str> {
    // The old name of the dictionary encoding stands here for plain values.
    if ![PLAIN, DICTIONARIES[0]].contains(&encoding) {
        return Err("its dictionary has an encoding that no model has");
    }
    plain(body, values, shape)
}

/// Checks a data page of so many rows, of a column whose dictionary has so many values.
pub(super) fn data(
    body: &[u8],
    rows: u64,
    encoding: i64,
    dictionary: u64,
    shape: Shape,
) -> Result<(), &'static str> {
    let (mut body, mut values) = (body, rows);
    if shape.nullable {
        let (length, rest) = body.split_first_chunk::<4>().ok_or("a page has no levels")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (levels, rest) = rest.split_at_checked(length).ok_or("levels go beyond their page")?;
        values = 0;
        runs(levels, 1, rows, |level, count| {
            values += u64::from(level) * count;
            level <= 1
        })
        .ok_or("levels are not those of its rows")?;
        body = rest;
    }
    match encoding {
        PLAIN => plain(body, values, shape),
        encoding if DICTIONARIES.contains(&encoding) => {
            let Some((width, places)) = body.split_first() else {
                return if values == 0 { Ok(()) } else { Err("a page has no values") };
            };
            let found = if *width <= 32 {
                runs(places, u32::from(*width), values, |place, _| u64::from(place) < dictionary)
            } else {
                None
            };
            found.ok_or("places in the dictionary are not those of its rows")
        }
        _ => Err("a page has an encoding that no model has"),
    }
}

/// Checks that there are so many plain values.
fn plain(body: &[u8], values: u64, shape: Shape) -> Result<(), &'static str> {
    const SHORT: &str = "a page has fewer values than it says";
    if let Some(width) = shape.width {
        return if values.saturating_mul(width as u64) <= body.len() as u64 { Ok(()) } else { Err(SHORT) };
    }
    let mut rest = body;
    for _ in 0..values {
        let (length, text) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
        rest = text.get(u32::from_le_bytes(*length) as usize..).ok_or(SHORT)?;
    }
    Ok(())
}

/// Reads the runs of so many numbers of `width` bits. Each number that is not one of `good`, given with how often
/// it stands there in a row, ends it, as does a run that goes beyond the bytes.
fn runs(bytes: &[u8], width: u32, count: u64, mut good: impl FnMut(u32, u64) -> bool) -> Option<()> {
    let (mut rest, mut left) = (bytes, count);
    while left > 0 {
        let (header, after) = varint(rest)?;
        rest = after;
        if header == 0 {
            return None;
        }
        if header & 1 == 0 {
            let (value, after) = rest.split_at_checked(width.div_ceil(8) as usize)?;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            let run = u64::from(header >> 1).min(left);
            if !good(value, run) {
                return None;
            }
            (rest, left) = (after, left - run);
        } else {
            // Groups of eight numbers; those behind the last one are only there to fill up.
            let groups = u64::from(header >> 1);
            let (packed, after) = rest.split_at_checked(usize::try_from(groups * u64::from(width)).ok()?)?;
            let run = (groups * 8).min(left);
            let fine = match width {
                0 => good(0, run),
                _ => (0..run).all(|index| good(number(packed, index * u64::from(width), width), 1)),
            };
            if !fine {
                return None;
            }
            (rest, left) = (after, left - run);
        }
    }
    Some(())
}

/// The number of `width` bits, 1 to 32, that begins at a bit.
#[inline]
fn number(packed: &[u8], bit: u64, width: u32) -> u32 {
    let rest = &packed[(bit / 8) as usize..];
    let bytes = match rest.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => rest.iter().rev().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte)),
    };
    ((bytes >> (bit % 8)) & ((1 << width) - 1)) as u32
}

/// A number of 7 bits a byte, at most 32 bits.
fn varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], width: u32, count: u64) -> Option<Vec<(u32, u64)>> {
        let mut found = Vec::new();
        runs(bytes, width, count, |number, times| {
            found.push((number, times));
            true
        })
        .map(|()| found)
    }

    #[test]
    fn runs_are_read_as_parquet_writes_them() {
        // 0 to 7 in three bits: the example of the format's document.
        let packed = [3, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        assert_eq!(all(&packed, 3, 8), Some((0..8).map(|number| (number, 1)).collect()));
        assert_eq!(all(&[20, 5], 3, 10), Some(vec![(5, 10)]));
        assert_eq!(all(&[20, 5, 3, 1, 0, 0], 3, 12), Some(vec![(5, 10), (1, 1), (0, 1)]));
        assert_eq!(all(&[20, 0, 1], 9, 10), Some(vec![(256, 10)]));
    }

    #[test]
    fn runs_beyond_their_bytes_are_refused() {
        assert_eq!(all(&[20, 5], 3, 11), None);
        assert_eq!(all(&[5, 0, 0, 0, 0, 0], 3, 16), None);
        assert_eq!(all(&[20], 3, 10), None);
        assert_eq!(all(&[0, 0, 0, 0], 0, 1), None);
        assert_eq!(all(&[0xff, 0xff, 0xff, 0xff, 0x7f], 1, 1), None);
    }

    #[test]
    fn levels_say_how_many_values_there_are() {
        let shape = Shape { rows: 3, nullable: true, width: Some(4), compressed: false };
        let page = [2, 0, 0, 0, 3, 0b101, 1, 0, 0, 0, 2, 0, 0, 0];
        assert_eq!(data(&page, 3, PLAIN, 0, shape), Ok(()));
        assert_eq!(data(&page[..13], 3, PLAIN, 0, shape), Err("a page has fewer values than it says"));
        assert_eq!(data(&page, 9, PLAIN, 0, shape), Err("levels are not those of its rows"));
        assert_eq!(data(&page[..5], 3, PLAIN, 0, shape), Err("levels go beyond their page"));
    }

    #[test]
    fn places_beyond_the_dictionary_are_refused() {
        let shape = Shape { rows: 3, nullable: false, width: None, compressed: false };
        assert_eq!(data(&[2, 6, 1], 3, 8, 2, shape), Ok(()));
        assert!(data(&[2, 6, 2], 3, 8, 2, shape).is_err());
        assert_eq!(dictionary(&[1, 0, 0, 0, b'a', 0, 0, 0, 0], 2, 0, shape), Ok(()));
        assert!(dictionary(&[2, 0, 0, 0, b'a'], 1, 0, shape).is_err());
    }
}
