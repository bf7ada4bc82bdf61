//! What a Parquet column's page headers say, read before a page is decompressed.
//!
//! A page header is a Thrift struct in compact form (Parquet's `PageHeader`: fields 1 to 3 are type, uncompressed and
//! compressed size, 5 and 7 the headers of data and dictionary pages, whose fields 1 and 2 are values and encoding).
//! A few bytes of Zstandard can ask for gigabytes, and what the file's footer says need not be true of its pages.

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::Page as Decompressed;

use super::checked;
use super::contents::{self, Shape};
use super::limits;

/// How deep structs may lie in a page header; those of Parquet lie three deep.
const DEPTH: usize = 8;

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;

/// The encoding of levels: runs.
const RUNS: i64 = 3;

/// The pages of a column chunk, decompressed and checked.
///
/// # Errors
/// Says what is wrong: headers that cannot be read, a page beyond [`limits::PAGE`], pages beyond [`limits::COLUMN`]
/// together, kinds of pages that no model has, other numbers of values.
pub(super) fn read(chunk: &Bytes, shape: Shape) -> Result<Vec<Decompressed>, String> {
    let mut rest = Cursor { bytes: chunk };
    let (mut total, mut rows) = (0u64, 0u64);
    let allowed = limits::COLUMN.saturating_add(shape.rows.saturating_mul(16));
    let mut pages = Vec::new();
    let mut dictionary = None;
    let mut zstd = zstd::bulk::Decompressor::new().map_err(|error| error.to_string())?;
    while !rest.bytes.is_empty() {
        let page = header(&mut rest).ok_or("a page header cannot be read")?;
        if page.uncompressed > limits::PAGE {
            return Err(format!("a page has {} bytes, at most {} are read", page.uncompressed, limits::PAGE));
        }
        let stored = rest.take(page.compressed).ok_or("a page goes beyond its column")?;
        // A page that is held takes room, whatever is in it.
        total = total.saturating_add(page.uncompressed).saturating_add(size_of::<Decompressed>() as u64);
        if total > allowed {
            return Err(format!("its pages have {total} bytes or more, at most {allowed} are read"));
        }
        let body = match (shape.compressed, page.uncompressed) {
            (false, _) => chunk.slice_ref(stored),
            (true, 0) => Bytes::new(),
            (true, size) => {
                let whole = zstd.decompress(stored, size as usize);
                whole.map_err(|error| format!("a page cannot be decompressed: {error}"))?.into()
            }
        };
        if body.len() as u64 != page.uncompressed {
            return Err("a page is of another size than it says".to_owned());
        }
        let Page { values, encoding, .. } = page;
        let count = u32::try_from(values).map_err(|_| "a page has more values than a page can have")?;
        match page.kind {
            DATA => {
                rows = rows.saturating_add(values);
                contents::data(&body, values, encoding, dictionary.unwrap_or(0), shape)?;
                let encoding =
                    if encoding == contents::PLAIN { Encoding::PLAIN } else { Encoding::RLE_DICTIONARY };
                pages.push(checked::data(body, count, encoding));
            }
            DICTIONARY if pages.is_empty() && values <= shape.rows => {
                dictionary = Some(values);
                contents::dictionary(&body, values, encoding, shape)?;
                pages.push(checked::dictionary(body, count));
            }
            _ => return Err("a page is of a kind that no model has there".to_owned()),
        }
    }
    if rows == shape.rows {
        Ok(pages)
    } else {
        Err(format!("its pages have {rows} rows, not {}", shape.rows))
    }
}

/// What a page header says.
struct Page {
    kind: i64,
    uncompressed: u64,
    compressed: u64,
    values: u64,
    encoding: i64,
}

fn header(from: &mut Cursor<'_>) -> Option<Page> {
    let (mut kind, mut sizes, mut of_data, mut of_dictionary) = (None, [None; 2], None, None);
    let mut field = 0;
    while let Some((id, form)) = from.field(field)? {
        field = id;
        match (id, form) {
            (1, I32) => kind = Some(from.zigzag()?),
            (2, I32) => sizes[0] = u64::try_from(from.zigzag()?).ok(),
            (3, I32) => sizes[1] = u64::try_from(from.zigzag()?).ok(),
            (5, STRUCT) => of_data = Some(of_page(from)?),
            (7, STRUCT) => of_dictionary = Some(of_page(from)?),
            _ => from.skip(form, 0)?,
        }
    }
    let [uncompressed, compressed] = sizes;
    let (values, encoding) = match kind? {
        DATA => of_data?,
        DICTIONARY => of_dictionary?,
        _ => (0, 0),
    };
    Some(Page { kind: kind?, uncompressed: uncompressed?, compressed: compressed?, values, encoding })
}

/// The header of a data or dictionary page: values and encoding. Levels, where it has some, must be runs.
fn of_page(from: &mut Cursor<'_>) -> Option<(u64, i64)> {
    let (mut values, mut encoding) = (None, None);
    let mut field = 0;
    while let Some((id, form)) = from.field(field)? {
        field = id;
        match (id, form) {
            (1, I32) => values = u64::try_from(from.zigzag()?).ok(),
            (2, I32) => encoding = Some(from.zigzag()?),
            (3 | 4, I32) => (from.zigzag()? == RUNS).then_some(())?,
            _ => from.skip(form, 1)?,
        }
    }
    Some((values?, encoding?))
}

// Types of the compact form that a header may hold.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I8: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(usize::try_from(count).ok()?)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field's number and type; `Some(None)` at the end of a struct. Numbers must grow: of a field that
    /// is there twice, readers may take either.
    fn field(&mut self, before: i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        let (delta, kind) = (i64::from(byte >> 4), byte & 0x0f);
        if kind == 0 {
            return Some(None);
        }
        let id = if delta == 0 { self.zigzag()? } else { before.checked_add(delta)? };
        (id > before).then_some(Some((id, kind)))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => {}
            I8 => drop(self.byte()?),
            I16 | I32 | I64 => drop(self.varint()?),
            DOUBLE => drop(self.take(8)?),
            BINARY => {
                let length = self.varint()?;
                self.take(length)?;
            }
            LIST | SET if depth < DEPTH => {
                let byte = self.byte()?;
                let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
                // Every element takes a byte at least, so that this ends with the bytes.
                for _ in 0..count {
                    match byte & 0x0f {
                        TRUE | FALSE => drop(self.byte()?),
                        kind => self.skip(kind, depth + 1)?,
                    }
                }
            }
            STRUCT if depth < DEPTH => {
                let mut field = 0;
                while let Some((id, kind)) = self.field(field)? {
                    field = id;
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(rows: u64) -> Shape {
        Shape { rows, nullable: false, width: Some(2), compressed: false }
    }

    /// A data page of ten values of two bytes: type, sizes, and a header with statistics.
    fn page() -> Vec<u8> {
        let mut bytes = vec![0x15, 0, 0x15, 40, 0x15, 40];
        bytes.extend([0x2c, 0x15, 20, 0x15, 0, 0x15, 6, 0x15, 6, 0x1c, 0x18, 3, b'a', b'b', b'c', 0, 0, 0]);
        bytes.extend([7; 20]);
        bytes
    }

    fn changed(at: usize, value: u8) -> String {
        let mut bytes = page();
        bytes[at] = value;
        check(&bytes, shape(10)).unwrap_err()
    }

    /// What the pages have together.
    fn check(bytes: &[u8], shape: Shape) -> Result<usize, String> {
        let pages = read(&Bytes::copy_from_slice(bytes), shape)?;
        Ok(pages.iter().map(|page| page.buffer().len()).sum())
    }

    #[test]
    fn pages_add_up() {
        assert_eq!(check(&[], shape(0)), Ok(0));
        assert_eq!(check(&page(), shape(10)), Ok(20));
        assert_eq!(check(&[page(), page(), page()].concat(), shape(30)), Ok(60));
        assert_eq!(check(&page(), shape(11)).unwrap_err(), "its pages have 10 rows, not 11");
    }

    #[test]
    fn what_no_model_has_is_refused() {
        assert_eq!(changed(10, 18), "a page has an encoding that no model has");
        assert_eq!(changed(12, 8), "a page header cannot be read");
        assert_eq!(changed(1, 2), "a page is of a kind that no model has there");
        assert_eq!(changed(6, 0x0c), "a page header cannot be read");
        assert_eq!(changed(8, 22), "a page has fewer values than it says");
        assert_eq!(changed(3, 42), "a page is of another size than it says");
        let huge = [0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0, 0x2c, 0x15, 20, 0x15, 0, 0, 0];
        assert_eq!(
            check(&huge, shape(10)).unwrap_err(),
            "a page has 2147483647 bytes, at most 67108864 are read"
        );
    }

    #[test]
    fn pages_of_nothing_take_room_too() {
        let nothing = [0x15, 0, 0x15, 0, 0x15, 0, 0x2c, 0x15, 0, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0];
        assert_eq!(check(&nothing.repeat(1000), shape(0)), Ok(0));
        let refused = check(&nothing.repeat(1_000_000), shape(0)).unwrap_err();
        assert!(refused.starts_with("its pages have 6710"), "{refused}");
        assert!(refused.ends_with(" bytes or more, at most 67108864 are read"), "{refused}");
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_sum_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes, shape(10));
        }

        #[test]
        fn a_cut_column_is_an_error(cut in 1usize..38) {
            let bytes = [page(), page()].concat();
            prop_assert!(check(&bytes[..bytes.len() - cut], shape(20)).is_err());
        }
    }
}
