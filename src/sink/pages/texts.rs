//! Columns of texts.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::buffer::NullBuffer;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parquet::basic::Encoding;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::chunk::{Encoded, Entries, Open};
use super::{Encode, hybrid};

/// Bytes of a dictionary from which on it is not added to.
const LONGEST: usize = 1 << 20;
/// Values of a first page that tell whether texts repeat themselves.
const TELLING: usize = 4096;
/// Bytes of long texts that end a page before its rows do: readers and this writer hold a page as a whole.
const FULL: usize = 1 << 20;
/// Rows after which it is looked at whether they do.
const AT_ONCE: usize = 256;
/// The longest text that the footer tells as an extreme.
const TOLD: usize = 64;

/// Texts of which each is there once, by their places.
#[derive(Default)]
struct Dictionary {
    places: HashTable<u32>,
    random: RandomState,
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl Dictionary {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, place: u32) -> &[u8] {
        get(&self.text, &self.ends, place)
    }

    fn place(&mut self, value: &[u8]) -> u32 {
        let Dictionary { places, random, text, ends } = self;
        let new = ends.len() as u32;
        let place = *places
            .entry(
                random.hash_one(value),
                |place| get(text, ends, *place) == value,
                |place| random.hash_one(get(text, ends, *place)),
            )
            .or_insert(new)
            .get();
        if place == new {
            text.extend_from_slice(value);
            ends.push(text.len() as u32);
        }
        place
    }

    fn clear(&mut self) {
        self.places.clear();
        self.text.clear();
        self.ends.clear();
    }
}

fn get<'a>(text: &'a [u8], ends: &[u32], place: u32) -> &'a [u8] {
    let place = place as usize;
    let begin = if place == 0 { 0 } else { ends[place - 1] };
    &text[begin as usize..ends[place] as usize]
}

/// A column of texts: by dictionary as long as that is worth it, then one behind the other, each with its length
/// in front. (Lengths apart from the text would be shorter, but Arrow's own reader refuses those where texts are to
/// become a dictionary again.)
pub(super) struct Texts {
    open: Open,
    dictionary: Dictionary,
    /// Whether the open page goes by dictionary.
    by_place: bool,
    /// Whether any page of the row group does.
    any_by_place: bool,
    /// Values of the open page: their places, or themselves.
    places: Vec<u32>,
    plain: Vec<u8>,
}

impl Texts {
    pub(super) fn new(open: Open) -> Texts {
        Texts {
            open,
            dictionary: Dictionary::default(),
            by_place: true,
            any_by_place: false,
            places: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// Whether the open page has as many bytes as a page should have.
    fn is_full(&self) -> bool {
        match self.by_place {
            true => self.open.first() && self.dictionary.text.len() >= FULL,
            false => self.plain.len() >= FULL,
        }
    }

    fn end_page(&mut self) -> Result<(), ParquetError> {
        let count = self.places.len();
        let tells = count >= TELLING || self.dictionary.text.len() >= FULL;
        if self.by_place && self.open.first() && tells && self.dictionary.len() > count / 2 {
            // What does not repeat itself may be long: it is copied once, and its dictionary is not kept.
            let (dictionary, places) =
                (std::mem::take(&mut self.dictionary), std::mem::take(&mut self.places));
            self.by_place = false;
            return self.open.end_page(|out| {
                places.iter().for_each(|place| plainly(out, dictionary.get(*place)));
                Encoding::PLAIN
            });
        }
        let Texts { open, dictionary, by_place, places, plain, .. } = self;
        if *by_place {
            open.end_page(|out| {
                hybrid::places(out, places, dictionary.len());
                Encoding::RLE_DICTIONARY
            })?;
            self.any_by_place = true;
            self.by_place = dictionary.text.len() + 4 * dictionary.len() < LONGEST;
            self.places.clear();
        } else {
            open.end_page(|out| {
                out.extend_from_slice(plain);
                Encoding::PLAIN
            })?;
            self.plain.clear();
        }
        Ok(())
    }

    /// Adds rows to the open page: those of `keys` that are not null, with texts among `values`. `known` are the
    /// places of `values` in the dictionary, as far as they were met.
    fn add(
        &mut self,
        keys: &[usize],
        nulls: Option<&NullBuffer>,
        values: &StringArray,
        known: &mut Vec<u32>,
    ) {
        const NEW: u32 = u32::MAX;
        let (ends, bytes) = (values.value_offsets(), values.value_data());
        let text = |key: usize| &bytes[ends[key] as usize..ends[key + 1] as usize];
        if !self.by_place {
            let mut add = |key: usize| plainly(&mut self.plain, text(key));
            match nulls {
                None => keys.iter().for_each(|key| add(*key)),
                Some(nulls) => nulls.valid_indices().for_each(|row| add(keys[row])),
            }
            return;
        }
        known.resize(values.len(), NEW);
        self.places.reserve_exact(self.open.page() - self.places.len());
        let Texts { dictionary, places, .. } = self;
        let mut add = |key: usize| {
            let place = &mut known[key];
            if *place == NEW {
                *place = dictionary.place(text(key));
            }
            places.push(*place);
        };
        match nulls {
            None => keys.iter().for_each(|key| add(*key)),
            Some(nulls) => nulls.valid_indices().for_each(|row| add(keys[row])),
        }
    }
}

impl Encode for Texts {
    fn push(&mut self, rows: &ArrayRef) -> Result<(), ParquetError> {
        let other = || ParquetError::General(format!("{} came instead of texts", rows.data_type()));
        let nulls = rows.logical_nulls();
        let (keys, values) = match rows.as_any_dictionary_opt() {
            Some(dictionary) if dictionary.values().is_empty() => {
                (vec![0; rows.len()], StringArray::new_null(0))
            }
            Some(dictionary) => {
                let values = dictionary.values().as_string_opt::<i32>().ok_or_else(other)?;
                (dictionary.normalized_keys(), values.clone())
            }
            None => ((0..rows.len()).collect(), rows.as_string_opt::<i32>().ok_or_else(other)?.clone()),
        };
        // Texts of dictionaries are short. Where pages end follows from the texts alone, not from how rows come.
        let long = rows.as_any_dictionary_opt().is_none();
        let mut known = Vec::new();
        let mut from = 0;
        while from < keys.len() {
            let mut count = self.open.room().min(keys.len() - from);
            if long {
                count = count.min(AT_ONCE - self.open.rows() % AT_ONCE);
            }
            let nulls = nulls.as_ref().map(|nulls| nulls.slice(from, count));
            let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
            self.open.add(count, nulls.as_ref());
            self.add(&keys[from..from + count], nulls.as_ref(), &values, &mut known);
            from += count;
            if self.open.room() == 0 || (long && self.open.rows().is_multiple_of(AT_ONCE) && self.is_full()) {
                self.end_page()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Encoded, ParquetError> {
        if self.open.has_rows() {
            self.end_page()?;
        }
        let dictionary = &self.dictionary;
        let entries = (0..dictionary.len() as u32).map(|place| dictionary.get(place));
        // Of texts that stand for themselves the extremes are not looked for.
        let extremes = match self.by_place {
            true => entries.clone().min().zip(entries.clone().max()),
            false => None,
        };
        let extremes = extremes.filter(|(least, most)| least.len().max(most.len()) <= TOLD);
        let (least, most) = extremes.map(|(least, most)| (text(least), text(most))).unzip();
        let entries = self.any_by_place.then(|| {
            let mut bytes = Vec::with_capacity(dictionary.text.len() + 4 * dictionary.len());
            entries.for_each(|entry| plainly(&mut bytes, entry));
            Entries { count: dictionary.len(), bytes }
        });
        let encoded = self.open.end(entries, |nulls| {
            Statistics::from(ValueStatistics::<ByteArray>::new(least, most, None, Some(nulls), false))
        });
        self.dictionary.clear();
        (self.by_place, self.any_by_place) = (true, false);
        encoded
    }
}

/// Appends a text with its length in front.
fn plainly(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text);
}

fn text(bytes: &[u8]) -> ByteArray {
    ByteArray::from(bytes.to_vec())
}
