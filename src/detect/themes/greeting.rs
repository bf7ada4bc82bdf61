//! How a conversation begins: the lengths of its first messages, as one value.
//!
//! Who speaks a protocol says the same things in the beginning: clients of one make send hellos of one length, and a
//! server answers with its own. Another program on the same port, or another thing said by the same one, shows there
//! before it shows in any sum. What is compared are the payload lengths of the first three packets that carry any, with
//! their directions, each to a quarter of an octave; fewer where there are not as many among the first eight packets and
//! in the flow's first window, in which training cuts flows as well. That so few tell protocols apart is known from
//! Bernaille, Teixeira, Akodkenou, Soule, Salamatian, "Traffic classification on the fly", ACM SIGCOMM CCR 36(2), 2006.

use std::fmt::Write as _;

use arrow::array::{Array, AsArray, Int16Array, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int16Type};

use crate::context::entity::mix;
use crate::detect::DetectError;
use crate::encode::bucket::{ABSENT, LAST, bucket};

/// The column of payload lengths of a flow's first packets, backward ones negative; null but in a flow's first row.
pub(super) const LENGTHS: &str = "first_lengths";

/// Messages that make a greeting.
const MESSAGES: usize = 3;

/// The type that the column must have, whatever its items are called.
pub(super) fn is_lengths(found: &DataType) -> bool {
    matches!(found, DataType::List(item) if *item.data_type() == DataType::Int16)
}

/// The same as a model remembers it.
pub(super) fn remembered() -> DataType {
    DataType::List(Field::new("item", DataType::Int16, true).into())
}

/// The bucket of a greeting: one of as many as there are, by one of some fixed hashes. Whoever shares it with what is often
/// said is not found by it, and is by another one.
pub(super) fn bucket_of(code: Option<u64>, hash: u8) -> u8 {
    code.map_or(ABSENT, |code| (mix(code ^ u64::from(hash) << 56) % (u64::from(LAST) + 1)) as u8)
}

/// The greetings of rows.
pub(super) struct Greetings<'a> {
    lists: &'a ListArray,
    lengths: &'a Int16Array,
}

impl<'a> Greetings<'a> {
    /// Of rows.
    ///
    /// # Errors
    /// [`DetectError::Column`] where the column is missing or of another type.
    pub(super) fn of(rows: &'a RecordBatch) -> Result<Greetings<'a>, DetectError> {
        let wrong = |what: String| DetectError::Column { column: LENGTHS.to_owned(), what };
        let column =
            rows.column_by_name(LENGTHS).ok_or_else(|| wrong("is missing in the rows".to_owned()))?;
        let lists = column.as_list_opt::<i32>();
        let lengths = lists.and_then(|lists| lists.values().as_primitive_opt::<Int16Type>());
        match (lists, lengths) {
            (Some(lists), Some(lengths)) => Ok(Greetings { lists, lengths }),
            _ => Err(wrong(format!("is {}, not a list of Int16", column.data_type()))),
        }
    }

    /// The first messages of a row's flow; `None` but in its first row.
    fn messages(&self, row: usize) -> Option<impl Iterator<Item = i16>> {
        let ends = self.lists.value_offsets();
        // What stands in the place of a null is anything.
        let there = (ends[row] as usize..ends[row + 1] as usize).filter(|at| self.lengths.is_valid(*at));
        let said = there.map(|at| self.lengths.value(at)).filter(|length| *length != 0);
        self.lists.is_valid(row).then_some(said.take(MESSAGES))
    }

    /// A number for each greeting; `None` but in the first row of a flow.
    pub(super) fn code(&self, row: usize) -> Option<u64> {
        let code = |code, length: i16| {
            let direction = u64::from(length < 0);
            code << 16 | u64::from(bucket(f64::from(length.unsigned_abs()))) << 1 | direction
        };
        Some(self.messages(row)?.fold(0, code))
    }

    /// As text: lengths in their order, those of the responder negative.
    pub(super) fn text(&self, row: usize) -> Option<String> {
        let mut text = String::new();
        for length in self.messages(row)? {
            let mark = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{mark}{length}");
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int16Array, ListArray};
    use arrow::buffer::OffsetBuffer;

    use super::*;

    fn rows(lists: Vec<Option<Vec<Option<i16>>>>) -> RecordBatch {
        let lists = ListArray::from_iter_primitive::<Int16Type, _, _>(lists);
        RecordBatch::try_from_iter([(LENGTHS, Arc::new(lists) as ArrayRef)]).unwrap()
    }

    #[test]
    fn a_greeting_is_of_the_first_three_messages_and_of_their_directions() {
        let list = |lengths: &[i16]| Some(lengths.iter().map(|length| Some(*length)).collect::<Vec<_>>());
        let lists = vec![
            list(&[0, 0, 24, 0, -41, 1400, -1080]),
            list(&[24, -41, 1400]),
            list(&[24, -41, 1390, 7]),
            list(&[24, 41, 1400]),
            list(&[24, -41]),
            list(&[0, 0]),
            list(&[]),
            None,
        ];
        let rows = rows(lists);
        let greetings = Greetings::of(&rows).unwrap();
        let codes: Vec<Option<u64>> = (0..8).map(|row| greetings.code(row)).collect();
        assert_eq!((codes[1], codes[2]), (codes[0], codes[0]));
        for other in [3, 4, 5] {
            assert_ne!(codes[other], codes[0], "{other}");
        }
        assert_eq!((codes[6], codes[7]), (codes[5], None));
        assert_eq!(greetings.text(0).as_deref(), Some("24 -41 1400"));
        assert_eq!((greetings.text(6).as_deref(), greetings.text(7)), (Some(""), None));
    }

    #[test]
    fn greetings_that_share_a_bucket_by_one_hash_do_not_by_another() {
        let lists =
            (0..100).flat_map(|one| (0..100).map(move |two| Some(vec![Some(one * 9), Some(-two * 14)])));
        let rows = rows(lists.collect());
        let greetings = Greetings::of(&rows).unwrap();
        let mut codes: Vec<Option<u64>> = (0..rows.num_rows()).map(|row| greetings.code(row)).collect();
        codes.sort_unstable();
        codes.dedup();
        let of = |hash: u8| codes.iter().map(move |code| bucket_of(*code, hash));
        assert!(codes.len() > 500 && of(0).chain(of(1)).all(|bucket| bucket != ABSENT));
        let first = bucket_of(codes[0], 0);
        let alike: Vec<u8> =
            of(0).zip(of(1)).filter(|(one, _)| *one == first).map(|(_, other)| other).collect();
        let others: std::collections::BTreeSet<&u8> = alike.iter().collect();
        assert!(alike.len() <= codes.len() / 50 && others.len() + 1 >= alike.len(), "{alike:?}");
        assert_eq!(bucket_of(None, 1), ABSENT);
    }

    #[test]
    fn what_stands_in_the_place_of_a_null_is_not_read() {
        let lengths = Int16Array::new(vec![24, 999, -41].into(), Some(vec![true, false, true].into()));
        let item = Field::new("item", DataType::Int16, true).into();
        let lists = ListArray::new(item, OffsetBuffer::from_lengths([3]), Arc::new(lengths), None);
        let with = RecordBatch::try_from_iter([(LENGTHS, Arc::new(lists) as ArrayRef)]).unwrap();
        let without = rows(vec![Some(vec![Some(24), Some(-41)])]);
        let [with, without] = [&with, &without].map(|rows| Greetings::of(rows).unwrap());
        assert_eq!((with.code(0), with.text(0)), (without.code(0), without.text(0)));
    }

    #[test]
    fn rows_without_lengths_are_refused() {
        let other: ArrayRef = Arc::new(Int16Array::from(vec![1]));
        let said = |rows: &RecordBatch| Greetings::of(rows).err().unwrap().to_string();
        let of = |name| RecordBatch::try_from_iter([(name, other.clone())]).unwrap();
        assert!(said(&of("x")).contains("first_lengths"), "{}", said(&of("x")));
        assert!(said(&of(LENGTHS)).contains("Int16"), "{}", said(&of(LENGTHS)));
    }
}
