//! Columns of numbers.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::buffer::NullBuffer;
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::chunk::{Encoded, Entries, Open};
use super::{Encode, delta, hybrid};

/// A number as Parquet stores it.
pub(super) trait Number: Copy + PartialOrd + Default + Send + 'static {
    /// Its bits among those of 64 bits, signed if it is.
    fn wide(self) -> i64;
    /// The least and the most of the values that have an order; NaNs have none.
    fn extremes(values: &[Self]) -> Option<(Self, Self)>;

    /// The extremes of a column, and how many of its values are null.
    fn statistics(extremes: Option<(Self, Self)>, nulls: u64) -> Statistics;
}

macro_rules! whole {
    ($($number:ty as $stored:ty),*) => {$(
        impl Number for $number {
            #[inline(always)]
            fn wide(self) -> i64 {
                i64::from(self as $stored)
            }

            fn extremes(values: &[Self]) -> Option<(Self, Self)> {
                // The widest are compared one by one: their extremes must stay in registers.
                lanes::<$number, { if size_of::<$number>() == 8 { 4 } else { 16 } }>(values)
            }

            fn statistics(extremes: Option<(Self, Self)>, nulls: u64) -> Statistics {
                let (least, most) = extremes.unzip();
                let [least, most] = [least, most].map(|value| value.map(|value| value as $stored));
                ValueStatistics::<$stored>::new(least, most, None, Some(nulls), false).into()
            }
        }
    )*};
}

whole!(u8 as i32, i8 as i32, u16 as i32, i16 as i32, u32 as i32, i32 as i32, u64 as i64, i64 as i64);

macro_rules! fraction {
    ($($number:ty),*) => {$(
        impl Number for $number {
            fn wide(self) -> i64 {
                self.to_bits().into_wide()
            }

            fn extremes(values: &[Self]) -> Option<(Self, Self)> {
                lanes::<$number, { 64 / size_of::<$number>() }>(values)
            }

            fn statistics(extremes: Option<(Self, Self)>, nulls: u64) -> Statistics {
                // Zero has two signs: readers must find either between the extremes.
                let (least, most) = extremes.unzip();
                let least = least.map(|value| if value == 0.0 { -0.0 } else { value });
                let most = most.map(|value| if value == 0.0 { 0.0 } else { value });
                ValueStatistics::<$number>::new(least, most, None, Some(nulls), false).into()
            }
        }
    )*};
}

fraction!(f32, f64);

/// Unsigned bits among those of 64 bits.
trait IntoWide {
    fn into_wide(self) -> i64;
}

impl IntoWide for u32 {
    fn into_wide(self) -> i64 {
        i64::from(self)
    }
}

impl IntoWide for u64 {
    fn into_wide(self) -> i64 {
        self as i64
    }
}

/// How the values of a page become bytes.
pub(super) trait Coding<V>: Default + Send {
    /// Writes the values of a page and says how.
    fn page(&mut self, values: &[V], out: &mut Vec<u8>) -> Encoding;

    /// The same bytes for a page of `count` values that are all the same, at least one.
    fn uniform(&mut self, value: V, count: usize, out: &mut Vec<u8>) -> Encoding;

    /// The dictionary of the pages so far, if they have one; it is empty afterwards.
    fn entries(&mut self) -> Option<Entries> {
        None
    }
}

/// By dictionary: whole numbers of up to 16 bits.
#[derive(Default)]
pub(super) struct Distinct<V> {
    /// By a value's bits its place among `entries` plus one, 0 where it has none.
    known: Vec<u32>,
    entries: Vec<V>,
    places: Vec<u32>,
}

impl<V: Number> Distinct<V> {
    /// Begins a page.
    fn begin(&mut self) {
        self.known.resize(1 << (8 * size_of::<V>()), 0);
        self.places.clear();
    }

    /// The value's place in the dictionary.
    #[inline(always)]
    fn place(&mut self, value: V) -> u32 {
        let mask = self.known.len() - 1;
        let known = &mut self.known[value.wide() as usize & mask];
        if *known == 0 {
            self.entries.push(value);
            *known = self.entries.len() as u32;
        }
        *known - 1
    }
}

impl<V: Number> Coding<V> for Distinct<V> {
    fn page(&mut self, values: &[V], out: &mut Vec<u8>) -> Encoding {
        self.begin();
        self.places.reserve_exact(values.len());
        for value in values {
            let place = self.place(*value);
            self.places.push(place);
        }
        hybrid::places(out, &self.places, self.entries.len());
        Encoding::RLE_DICTIONARY
    }

    fn uniform(&mut self, value: V, count: usize, out: &mut Vec<u8>) -> Encoding {
        self.begin();
        let place = self.place(value);
        self.places.resize(count, place);
        hybrid::places(out, &self.places, self.entries.len());
        Encoding::RLE_DICTIONARY
    }

    fn entries(&mut self) -> Option<Entries> {
        self.known.fill(0);
        let stored = self.entries.iter().flat_map(|value| (value.wide() as i32).to_le_bytes());
        let entries = Entries { count: self.entries.len(), bytes: stored.collect() };
        self.entries.clear();
        Some(entries)
    }
}

/// As differences: other whole numbers, and times.
#[derive(Default)]
pub(super) struct Differences;

impl<V: Number> Coding<V> for Differences {
    fn page(&mut self, values: &[V], out: &mut Vec<u8>) -> Encoding {
        match size_of::<V>() {
            8 => delta::differences(out, values, V::wide),
            _ => delta::differences(out, values, |value| value.wide() as i32),
        }
        Encoding::DELTA_BINARY_PACKED
    }

    fn uniform(&mut self, value: V, count: usize, out: &mut Vec<u8>) -> Encoding {
        match size_of::<V>() {
            8 => delta::uniform(out, value.wide(), count),
            _ => delta::uniform(out, i64::from(value.wide() as i32), count),
        }
        Encoding::DELTA_BINARY_PACKED
    }
}

/// With their bytes apart, the lowest first: fractions.
#[derive(Default)]
pub(super) struct Split;

impl<V: Number> Coding<V> for Split {
    fn page(&mut self, values: &[V], out: &mut Vec<u8>) -> Encoding {
        for byte in 0..size_of::<V>() {
            out.extend(values.iter().map(|value| (value.wide() >> (8 * byte)) as u8));
        }
        Encoding::BYTE_STREAM_SPLIT
    }

    fn uniform(&mut self, value: V, count: usize, out: &mut Vec<u8>) -> Encoding {
        for byte in 0..size_of::<V>() {
            out.resize(out.len() + count, (value.wide() >> (8 * byte)) as u8);
        }
        Encoding::BYTE_STREAM_SPLIT
    }
}

/// A column of numbers. Many pages have one value throughout: it is not written out.
pub(super) struct Numbers<T: ArrowPrimitiveType, C> {
    open: Open,
    /// Values of the open page that are all `same`, as long as no others came.
    uniform: usize,
    same: T::Native,
    /// Values of the open page, once they are not the same.
    values: Vec<T::Native>,
    extremes: Option<(T::Native, T::Native)>,
    coding: C,
}

impl<T: ArrowPrimitiveType, C: Coding<T::Native>> Numbers<T, C>
where
    T::Native: Number,
{
    pub(super) fn new(open: Open) -> Self {
        let same = T::Native::default();
        Numbers { open, uniform: 0, same, values: Vec::new(), extremes: None, coding: C::default() }
    }

    /// Adds the values of a part of the rows that are not null.
    fn add(&mut self, part: &[T::Native], nulls: Option<&NullBuffer>) {
        let count = part.len() - nulls.map_or(0, NullBuffer::null_count);
        let Some(first) = part.first().filter(|_| count > 0) else { return };
        if self.values.is_empty() {
            let same = if self.uniform > 0 { self.same.wide() } else { first.wide() };
            if part.iter().fold(true, |all, value| all & (value.wide() == same)) {
                (self.same, self.uniform) = (*first, self.uniform + count);
                return;
            }
            self.values.reserve_exact(self.open.page());
            self.values.resize(std::mem::take(&mut self.uniform), self.same);
        }
        match nulls {
            None => self.values.extend_from_slice(part),
            Some(nulls) => gather(&mut self.values, part, nulls),
        }
    }

    fn end_page(&mut self) -> Result<(), ParquetError> {
        if self.uniform > 0 {
            let (count, same) = (std::mem::take(&mut self.uniform), self.same);
            widen(&mut self.extremes, &[same]);
            return self.open.end_page(|out| self.coding.uniform(same, count, out));
        }
        widen(&mut self.extremes, &self.values);
        self.open.end_page(|out| self.coding.page(&self.values, out))?;
        self.values.clear();
        Ok(())
    }
}

impl<T: ArrowPrimitiveType, C: Coding<T::Native>> Encode for Numbers<T, C>
where
    T::Native: Number,
{
    fn push(&mut self, rows: &ArrayRef) -> Result<(), ParquetError> {
        let Some(rows) = rows.as_primitive_opt::<T>() else {
            return Err(ParquetError::General(format!(
                "{} came instead of {}",
                rows.data_type(),
                T::DATA_TYPE
            )));
        };
        let mut from = 0;
        while from < rows.values().len() {
            let count = self.open.room().min(rows.values().len() - from);
            let part = &rows.values()[from..from + count];
            let nulls = rows.nulls().map(|nulls| nulls.slice(from, count));
            let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
            self.open.add(count, nulls.as_ref());
            self.add(part, nulls.as_ref());
            from += count;
            if self.open.room() == 0 {
                self.end_page()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Encoded, ParquetError> {
        if self.open.has_rows() {
            self.end_page()?;
        }
        let extremes = self.extremes.take();
        let entries = self.coding.entries();
        self.open.end(entries, |nulls| T::Native::statistics(extremes, nulls))
    }
}

/// Widens `known` extremes by those of `values`.
pub(super) fn widen<V: Number>(known: &mut Option<(V, V)>, values: &[V]) {
    if let Some((least, most)) = V::extremes(values) {
        let known = known.get_or_insert((least, most));
        known.0 = if least < known.0 { least } else { known.0 };
        known.1 = if most > known.1 { most } else { known.1 };
    }
}

/// What [`Number::extremes`] tells, found in so many lanes at once.
#[allow(clippy::eq_op)] // A NaN is what does not equal itself.
fn lanes<V: Number, const LANES: usize>(values: &[V]) -> Option<(V, V)> {
    let first = *values.iter().find(|value| **value == **value)?;
    let (mut least, mut most) = ([first; LANES], [first; LANES]);
    let (parts, rest) = values.as_chunks::<LANES>();
    let mut take = |part: &[V]| {
        for ((value, least), most) in part.iter().zip(&mut least).zip(&mut most) {
            *least = if *value < *least { *value } else { *least };
            *most = if *value > *most { *value } else { *most };
        }
    };
    // Parts are of one length that is known here.
    parts.iter().for_each(|part| take(part));
    take(rest);
    let least = least.into_iter().fold(first, |least, value| if value < least { value } else { least });
    let most = most.into_iter().fold(first, |most, value| if value > most { value } else { most });
    Some((least, most))
}

/// Appends the values that are not null. Which ones are is a coin toss to a predictor: all are written, and those
/// that are null written over.
fn gather<V: Copy + Default>(to: &mut Vec<V>, values: &[V], nulls: &NullBuffer) {
    let mut end = to.len();
    to.resize(end + values.len(), V::default());
    let words = nulls.inner().bit_chunks();
    for (part, word) in values.chunks(64).zip(words.iter_padded()) {
        match word {
            0 => {}
            u64::MAX => {
                to[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
            mut word => {
                for value in part {
                    to[end] = *value;
                    end += (word & 1) as usize;
                    word >>= 1;
                }
            }
        }
    }
    to.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_one_value_has_the_bytes_of_its_values() {
        fn same<V: Number, C: Coding<V>>(values: &[V]) {
            for count in [1, 2, 8, 31, 32, 33, 128, 129, 130, 257, 5000] {
                let (mut known, mut other) = (C::default(), C::default());
                let (mut found, mut expected) = (Vec::new(), Vec::new());
                for value in values {
                    known.uniform(*value, count, &mut found);
                    other.page(&vec![*value; count], &mut expected);
                }
                assert!(found == expected, "{count} values");
            }
        }
        same::<u8, Distinct<u8>>(&[0, 7, 255, 7]);
        same::<i16, Distinct<i16>>(&[0, -7, i16::MIN, 0]);
        same::<u32, Differences>(&[0, 7, u32::MAX]);
        same::<i64, Differences>(&[0, -7, i64::MIN, i64::MAX]);
        same::<f32, Split>(&[0.0, -0.0, 1.5, f32::NAN]);
        same::<f64, Split>(&[0.0, -0.0, 1e300]);
    }
}
