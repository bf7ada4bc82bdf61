//! Text by dictionary, as rows carry it: each distinct value of a batch is written once, into one buffer.

use std::hash::BuildHasher;
use std::io::Write;
use std::net::Ipv6Addr;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, PrimitiveArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowDictionaryKeyType, ArrowNativeType, Int32Type};
use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Texts one behind the other, and which of them each row has.
struct Dictionary<T: ArrowDictionaryKeyType> {
    text: Vec<u8>,
    ends: Vec<i32>,
    keys: Vec<T::Native>,
}

impl<T: ArrowDictionaryKeyType> Dictionary<T> {
    fn new() -> Self {
        Dictionary { text: Vec::new(), ends: vec![0], keys: Vec::new() }
    }

    /// Ends the text that was appended.
    fn end(&mut self) {
        self.ends.push(i32::try_from(self.text.len()).expect("the names of a batch are short"));
    }

    /// The next row has text number `key`.
    #[inline(always)]
    fn push(&mut self, key: usize) {
        self.keys
            .push(T::Native::from_usize(key).expect("a batch is cut before a dictionary's keys run out"));
    }

    fn take(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        // Batches of one run are alike: the next one's text is about as long.
        let length = self.text.len();
        let text = Buffer::from_vec(std::mem::replace(&mut self.text, Vec::with_capacity(length)));
        let texts = StringArray::new(OffsetBuffer::new(ends.into()), text, None);
        let keys = PrimitiveArray::<T>::new(std::mem::take(&mut self.keys).into(), nulls);
        Arc::new(DictionaryArray::new(keys, Arc::new(texts)))
    }
}

/// Names of small numbers: protocols, services, states.
pub(super) struct Names<T: ArrowDictionaryKeyType> {
    /// Where in `seen` a number stands, if it stands there.
    places: Vec<u16>,
    seen: Vec<u32>,
    name: fn(u32, &mut Vec<u8>),
    dictionary: Dictionary<T>,
}

impl<T: ArrowDictionaryKeyType> Names<T> {
    /// Names of the numbers below `bound`, as `name` writes them.
    pub(super) fn new(bound: usize, name: fn(u32, &mut Vec<u8>)) -> Self {
        Names { places: vec![0; bound], seen: Vec::new(), name, dictionary: Dictionary::new() }
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.dictionary.keys.reserve_exact(rows);
    }

    /// The next row has the name of `number`.
    #[inline]
    pub(super) fn push(&mut self, number: u32) {
        let place = &mut self.places[number as usize];
        if self.seen.get(usize::from(*place)) != Some(&number) {
            *place = u16::try_from(self.seen.len()).expect("a batch has fewer rows");
            self.seen.push(number);
            (self.name)(number, &mut self.dictionary.text);
            self.dictionary.end();
        }
        self.dictionary.push(usize::from(*place));
    }

    pub(super) fn take(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        self.seen.clear();
        self.dictionary.take(nulls)
    }
}

/// IP addresses in canonical text (RFC 5952 for IPv6).
pub(super) struct Addresses {
    /// Positions in `seen`, by hash.
    places: HashTable<u32>,
    random: RandomState,
    seen: Vec<(u8, [u8; 16])>,
    /// Whether the batch's addresses hardly repeat themselves: then none is looked for.
    scattered: bool,
    dictionary: Dictionary<Int32Type>,
}

/// Rows of a batch after which it is known whether its addresses repeat themselves.
const TELLING: usize = 512;

impl Addresses {
    pub(super) fn new() -> Self {
        Addresses {
            places: HashTable::new(),
            random: RandomState::default(),
            seen: Vec::new(),
            scattered: false,
            dictionary: Dictionary::new(),
        }
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.dictionary.keys.reserve_exact(rows);
    }

    /// The next rows have these addresses of version 4 or 6.
    #[inline]
    pub(super) fn extend<'a>(&mut self, rows: impl Iterator<Item = (u8, &'a [u8; 16])>) {
        if !self.scattered {
            rows.for_each(|(version, bytes)| self.push(version, bytes));
            let rows = self.dictionary.keys.len();
            self.scattered = rows >= TELLING && self.seen.len() > rows - rows / 16;
            return;
        }
        for (version, bytes) in rows {
            let Dictionary { text, ends, keys } = &mut self.dictionary;
            keys.push(ends.len() as i32 - 1);
            write_address(version, bytes, text);
            ends.push(text.len() as i32);
        }
    }

    /// The next row has the address of `version` 4 or 6 in `bytes`.
    #[inline]
    pub(super) fn push(&mut self, version: u8, bytes: &[u8; 16]) {
        let Addresses { places, random, seen, dictionary, .. } = self;
        let hash = |bytes: &[u8; 16]| random.hash_one(u128::from_ne_bytes(*bytes));
        let place = *places
            .entry(
                hash(bytes),
                |place| seen[*place as usize] == (version, *bytes),
                |place| hash(&seen[*place as usize].1),
            )
            .or_insert(seen.len() as u32)
            .get();
        if place as usize == seen.len() {
            seen.push((version, *bytes));
            write_address(version, bytes, &mut dictionary.text);
            dictionary.end();
        }
        dictionary.push(place as usize);
    }

    pub(super) fn take(&mut self) -> ArrayRef {
        self.places.clear();
        self.seen.clear();
        self.scattered = false;
        self.dictionary.take(None)
    }
}

/// A number of a byte in digits with a dot behind, the first character lowest, and its characters.
static OCTETS: [(u32, u32); 256] = {
    let mut octets = [(0, 0); 256];
    let mut value = 0;
    while value < 256 {
        let (mut text, mut length) = (b'.' as u32, 1);
        let mut rest = value as u32;
        loop {
            text = text << 8 | (b'0' as u32 + rest % 10);
            length += 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        octets[value] = (text, length);
        value += 1;
    }
    octets
};

fn write_address(version: u8, bytes: &[u8; 16], text: &mut Vec<u8>) {
    if version != 4 {
        return write_v6(bytes, text);
    }
    // In two pieces of fixed size, of which the second writes over what is too much of the first; the last dot is
    // left out.
    let half = |first: u8, second: u8| {
        let (digits, length) = OCTETS[usize::from(first)];
        let (more, longer) = OCTETS[usize::from(second)];
        (u64::from(digits) | u64::from(more) << (8 * length), (length + longer) as usize)
    };
    let ((first, length), (second, longer)) = (half(bytes[0], bytes[1]), half(bytes[2], bytes[3]));
    text.reserve(16);
    let end = text.len() + length;
    text.extend_from_slice(&first.to_le_bytes());
    text.truncate(end);
    text.extend_from_slice(&second.to_le_bytes());
    text.truncate(end + longer - 1);
}

/// The four digits of a group, the highest one in the lowest byte.
fn hexadecimal(group: u16) -> u32 {
    let [high, low] = group.to_be_bytes().map(u32::from);
    let digits = high >> 4 | (high & 0xF) << 8 | (low >> 4) << 16 | (low & 0xF) << 24;
    // Ten and more carry into the fifth bit once six is added; letters lie 39 above where digits go on.
    let letters = (digits + 0x0606_0606) >> 4 & 0x0101_0101;
    digits + 0x3030_3030 + letters * 39
}

/// RFC 5952: groups without leading zeros, the first of the longest runs of two or more zero groups as `::`.
fn write_v6(bytes: &[u8; 16], text: &mut Vec<u8>) {
    let address = Ipv6Addr::from(*bytes);
    if address.to_ipv4_mapped().is_some() {
        write!(text, "{address}").expect("memory takes everything");
        return;
    }
    let groups = address.segments();
    let (mut run, mut zeros) = (0, 0..0);
    for (at, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > zeros.len() && run > 1 {
            zeros = at + 1 - run..at + 1;
        }
    }
    // The longest is 39 characters; groups are written four characters at a time.
    let (mut line, mut end) = ([0; 48], 0);
    let mut at = 0;
    while at < groups.len() {
        if at == zeros.start && !zeros.is_empty() {
            line[end] = b':';
            end += 1;
            at = zeros.end;
            if at == groups.len() {
                line[end] = b':';
                end += 1;
            }
            continue;
        }
        if at > 0 {
            line[end] = b':';
            end += 1;
        }
        let digits = (groups[at].max(1).ilog2() / 4) as usize + 1;
        let text = hexadecimal(groups[at]) >> (8 * (4 - digits));
        line[end..end + 4].copy_from_slice(&text.to_le_bytes());
        end += digits;
        at += 1;
    }
    text.extend_from_slice(&line[..end]);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int16Type;
    use proptest::prelude::*;

    use super::*;

    fn texts(array: &ArrayRef) -> Vec<String> {
        let plain = arrow::compute::cast(array, &arrow::datatypes::DataType::Utf8).unwrap();
        plain.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
    }

    proptest! {
        #[test]
        fn addresses_read_as_the_standard_library_writes_them(
            rows in prop::collection::vec((any::<bool>(), any::<[u8; 4]>(), any::<[u8; 16]>(), 0..2usize), 1..40),
        ) {
            let mut column = Addresses::new();
            for _ in 0..2 {
                let mut expected = Vec::new();
                for (six, four, bytes, repeats) in &rows {
                    let mut wide = [0; 16];
                    wide[..4].copy_from_slice(four);
                    let wide = if *six { *bytes } else { wide };
                    for _ in 0..=*repeats {
                        column.extend([(if *six { 6 } else { 4 }, &wide)].into_iter());
                        expected.push(match six {
                            true => Ipv6Addr::from(wide).to_string(),
                            false => Ipv4Addr::from(*four).to_string(),
                        });
                    }
                }
                prop_assert_eq!(texts(&column.take()), expected);
            }
        }
    }

    #[test]
    fn addresses_that_hardly_repeat_are_not_looked_for_until_the_batch_ends() {
        let addresses: Vec<[u8; 16]> =
            (0..2000u32).map(|at| u128::from((at % 1500).to_be()).to_le_bytes()).collect();
        let expected: Vec<String> = (0..2000u32).map(|at| Ipv4Addr::from(at % 1500).to_string()).collect();
        let mut column = Addresses::new();
        for group in addresses.chunks(64) {
            column.extend(group.iter().map(|bytes| (4, bytes)));
        }
        let scattered = column.take();
        assert_eq!(texts(&scattered), expected);
        assert!(scattered.as_any_dictionary().values().len() > 1500);
        column.extend([(4, &addresses[0]), (4, &addresses[0])].into_iter());
        let next = column.take();
        assert_eq!((texts(&next).len(), next.as_any_dictionary().values().len()), (2, 1));
    }

    proptest! {
        #[test]
        fn runs_of_zeros_are_shortened_as_the_standard_library_does(
            groups in prop::array::uniform8(prop_oneof![2 => Just(0u16), 1 => 0..20u16, 1 => any::<u16>(), 1 => Just(0xFFFF)]),
        ) {
            let address = Ipv6Addr::from(groups);
            let mut text = Vec::new();
            write_address(6, &address.octets(), &mut text);
            prop_assert_eq!(String::from_utf8(text).unwrap(), address.to_string());
        }
    }

    #[test]
    fn the_same_bytes_of_two_versions_are_two_addresses() {
        let mut column = Addresses::new();
        let bytes = [9, 0, 10, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        column.extend([4, 6, 4].into_iter().map(|version| (version, &bytes)));
        assert_eq!(texts(&column.take()), ["9.0.10.200", "900:ac8::", "9.0.10.200"]);
    }

    #[test]
    fn a_name_is_written_once_a_batch() {
        let mut column = Names::<Int16Type>::new(10, |number, text| text.push(b'a' + number as u8));
        for _ in 0..2 {
            [3, 0, 3, 9, 0].iter().for_each(|number| column.push(*number));
            let array = column.take(None);
            assert_eq!(texts(&array), ["d", "a", "d", "j", "a"]);
            assert_eq!(array.as_dictionary::<Int16Type>().values().len(), 3);
        }
    }
}
