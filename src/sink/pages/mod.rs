//! Columns of numbers and texts to the pages of a Parquet file.
//!
//! The kinds of columns that rows are made of are encoded here, by a few plain loops over a page's values; for
//! all others there is the parquet crate's writer. How a column is written follows from its type and its values:
//! whole numbers of up to 16 bits and texts that repeat themselves go by dictionary, wider whole numbers and times
//! as differences, fractions with their bytes apart. Pages are cut by rows alone, so that the bytes do not depend
//! on the batches in which rows come.

mod chunk;
mod delta;
mod hybrid;
mod lists;
mod numbers;
mod texts;

use arrow::array::ArrayRef;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use self::chunk::Open;
pub(super) use self::chunk::{Encoded, compression};
use self::lists::Lists;
use self::numbers::{Differences, Distinct, Numbers, Split};
use self::texts::Texts;

/// A column of a row group, as it grows.
pub(super) trait Encode: Send {
    /// Adds rows.
    ///
    /// # Errors
    /// If they are of another type than the column.
    fn push(&mut self, rows: &ArrayRef) -> Result<(), ParquetError>;

    /// The column's part of the row group that ends; the next one begins.
    ///
    /// # Errors
    /// What compression says.
    fn end(&mut self) -> Result<Encoded, ParquetError>;
}

/// The encoder of a column of type `kind` with pages of so many rows; `None` for kinds that have none.
pub(super) fn encoder(kind: &DataType, column: ColumnDescPtr, page: usize) -> Option<Box<dyn Encode>> {
    let open = Open::new(column, page);
    Some(match kind {
        DataType::UInt8 => Box::new(Numbers::<UInt8Type, Distinct<u8>>::new(open)),
        DataType::Int8 => Box::new(Numbers::<Int8Type, Distinct<i8>>::new(open)),
        DataType::UInt16 => Box::new(Numbers::<UInt16Type, Distinct<u16>>::new(open)),
        DataType::Int16 => Box::new(Numbers::<Int16Type, Distinct<i16>>::new(open)),
        DataType::UInt32 => Box::new(Numbers::<UInt32Type, Differences>::new(open)),
        DataType::Int32 => Box::new(Numbers::<Int32Type, Differences>::new(open)),
        DataType::UInt64 => Box::new(Numbers::<UInt64Type, Differences>::new(open)),
        DataType::Int64 => Box::new(Numbers::<Int64Type, Differences>::new(open)),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Box::new(Numbers::<TimestampNanosecondType, Differences>::new(open))
        }
        DataType::Float32 => Box::new(Numbers::<Float32Type, Split>::new(open)),
        DataType::Float64 => Box::new(Numbers::<Float64Type, Split>::new(open)),
        DataType::List(item) if *item.data_type() == DataType::Int16 => {
            Box::new(Lists::new(open, item.is_nullable()))
        }
        DataType::Utf8 => Box::new(Texts::new(open)),
        DataType::Dictionary(_, values) if **values == DataType::Utf8 => Box::new(Texts::new(open)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        AsArray, DictionaryArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
        ListArray, RecordBatch, StringArray, TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array,
        UInt64Array,
    };
    use arrow::compute::{cast, concat_batches};
    use arrow::datatypes::SchemaRef;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::Encoding;
    use parquet::column::page::Page;
    use parquet::file::metadata::ParquetMetaData;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::file::statistics::Statistics;
    use proptest::prelude::*;

    use super::*;
    use crate::sink::parquet::Writer;

    /// What is read back of rows written with pages of `page` rows and row groups of `full`.
    fn back(rows: &RecordBatch, page: usize, full: usize) -> (RecordBatch, Arc<ParquetMetaData>) {
        let mut writer = Writer::new(Vec::new(), &rows.schema(), page, full).unwrap();
        writer.write(rows).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(writer.finish().unwrap())).unwrap();
        let (schema, metadata): (SchemaRef, _) = (reader.schema().clone(), reader.metadata().clone());
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        (concat_batches(&schema, &batches).unwrap(), metadata)
    }

    fn texts(values: &[Option<String>]) -> ArrayRef {
        Arc::new(values.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn numbers_read_back_as_they_were(
            values in prop::collection::vec((any::<u64>(), 0..64u32, 0..4u8), 1..300),
            nulls: bool,
            page in 1..90usize,
            pages in 1..4usize,
        ) {
            macro_rules! column {
                ($array:ty, $number:ty) => {{
                    let value = |(bits, shift, null): &(u64, u32, u8)| {
                        (!nulls || *null > 0).then_some((*bits as i64 >> shift) as $number)
                    };
                    Arc::new(values.iter().map(value).collect::<$array>()) as ArrayRef
                }};
            }
            let columns: Vec<ArrayRef> = vec![
                column!(UInt8Array, u8), column!(Int8Array, i8), column!(UInt16Array, u16), column!(Int16Array, i16),
                column!(UInt32Array, u32), column!(Int32Array, i32), column!(UInt64Array, u64),
                column!(Int64Array, i64), column!(TimestampNanosecondArray, i64), column!(Float32Array, f32),
                column!(Float64Array, f64),
            ];
            let names = ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "time", "f32", "f64"];
            let rows = RecordBatch::try_from_iter_with_nullable(
                names.into_iter().zip(columns).map(|(name, column)| (name, column, nulls)),
            ).unwrap();
            prop_assert_eq!(back(&rows, page, pages * page).0, rows);
        }

        #[test]
        fn lists_read_back_as_they_were(
            values in prop::collection::vec(
                prop::option::weighted(0.7, prop::collection::vec(prop::option::weighted(0.8, -40..40i16), 0..5)), 1..200,
            ),
            nulls: bool,
            page in 1..90usize,
            from in 0..50usize,
        ) {
            let values = values.into_iter().map(|list| if nulls { list } else { Some(list.unwrap_or_default()) });
            let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int16Type, _, _>(values));
            let rows = RecordBatch::try_from_iter_with_nullable([("lists", lists, nulls)]).unwrap();
            let rows = rows.slice(from.min(rows.num_rows() - 1), rows.num_rows() - from.min(rows.num_rows() - 1));
            prop_assert_eq!(back(&rows, page, 2 * page).0, rows);
        }

        #[test]
        fn texts_read_back_as_they_were(
            values in prop::collection::vec(prop::option::weighted(0.8, "[a-c]{0,2}"), 1..200),
            page in 1..90usize,
        ) {
            let dictionary = texts(&values);
            let plain: ArrayRef = Arc::new(StringArray::from(values));
            let rows = RecordBatch::try_from_iter([("dictionary", dictionary), ("plain", plain.clone())]).unwrap();
            let (found, _) = back(&rows, page, 2 * page);
            let dictionary = cast(found.column(0), &DataType::Utf8).unwrap();
            prop_assert_eq!(dictionary.as_string(), plain.as_string::<i32>());
            prop_assert_eq!(found.column(1), &plain);
        }
    }

    #[test]
    fn texts_that_do_not_repeat_themselves_stand_for_themselves() {
        let distinct: Vec<_> = (0..20_000).map(|row| (row % 7 > 0).then(|| format!("host-{row}"))).collect();
        // More text than a dictionary takes, with every value twice.
        let long: Vec<_> = (0..20_000).map(|row| Some(format!("{:0>200}", row / 2))).collect();
        let few: Vec<_> = (0..20_000).map(|row| Some(format!("host-{}", row % 50))).collect();
        for (values, encodings) in [
            (&distinct, &[Encoding::PLAIN][..]),
            (&long, &[Encoding::PLAIN, Encoding::RLE_DICTIONARY]),
            (&few, &[Encoding::RLE_DICTIONARY]),
        ] {
            let rows = RecordBatch::try_from_iter_with_nullable([("text", texts(values), true)]).unwrap();
            let (found, metadata) = back(&rows, 8192, 1 << 20);
            let found = cast(found.column(0), &DataType::Utf8).unwrap();
            assert!(found.as_string::<i32>() == &StringArray::from(values.clone()));
            let used = metadata.row_group(0).column(0).page_encoding_stats_mask().unwrap();
            let used: Vec<_> = used.encodings().collect();
            assert_eq!(used, encodings);
        }
    }

    #[test]
    fn a_page_of_long_texts_ends_by_its_bytes() {
        for repeats in [1, 3] {
            let long = (0..20_000).map(|row| (row % 5 > 0).then(|| format!("{:0>1000}", row / repeats)));
            let long: ArrayRef = Arc::new(long.collect::<StringArray>());
            let rows = RecordBatch::try_from_iter([("text", long.clone())]).unwrap();
            assert!(back(&rows, 16_384, 1 << 20).0.column(0) == &long);
            let mut writer = Writer::new(Vec::new(), &rows.schema(), 16_384, 1 << 20).unwrap();
            writer.write(&rows).unwrap();
            let file = SerializedFileReader::new(Bytes::from(writer.finish().unwrap())).unwrap();
            let pages = file.get_row_group(0).unwrap().get_column_page_reader(0).unwrap().map(Result::unwrap);
            let texts: Vec<Page> = pages.filter(|page| page.is_data_page()).collect();
            // 16 MB of them, but for those in the dictionary.
            assert!((11..=16).contains(&texts.len()), "{}", texts.len());
            assert!(texts.iter().all(|page| page.buffer().len() < 3 << 19));
        }
    }

    #[test]
    fn the_footer_tells_extremes_and_nulls() {
        let numbers = UInt64Array::from(vec![Some(5), None, Some(u64::MAX), Some(2)]);
        let fractions = Float64Array::from(vec![Some(f64::NAN), Some(0.0), None, Some(0.0)]);
        let names = StringArray::from(vec![Some("b"), Some("a"), None, None]);
        let columns: [(&str, ArrayRef); 3] =
            [("n", Arc::new(numbers)), ("f", Arc::new(fractions)), ("t", Arc::new(names))];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let (_, metadata) = back(&rows, 2, 4);
        let statistics = |column: usize| metadata.row_group(0).column(column).statistics().unwrap().clone();
        let Statistics::Int64(numbers) = statistics(0) else { panic!("whole numbers") };
        assert_eq!((numbers.min_opt(), numbers.max_opt()), (Some(&2), Some(&-1)), "as unsigned numbers");
        assert_eq!(numbers.null_count_opt(), Some(1));
        let Statistics::Double(fractions) = statistics(1) else { panic!("fractions") };
        let signs = [fractions.min_opt(), fractions.max_opt()].map(|zero| zero.unwrap().is_sign_negative());
        assert_eq!(signs, [true, false]);
        assert_eq!(statistics(2).min_bytes_opt(), Some(&b"a"[..]));
        assert_eq!(statistics(2).null_count_opt(), Some(2));
    }

    #[test]
    fn rows_of_another_type_are_an_error() {
        let rows = |column: ArrayRef| RecordBatch::try_from_iter([("n", column)]).unwrap();
        let numbers = rows(Arc::new(UInt64Array::from(vec![1])));
        let words = rows(Arc::new(StringArray::from(vec!["a"])));
        for (first, second) in [(&numbers, &words), (&words, &numbers)] {
            let mut writer = Writer::new(Vec::new(), &first.schema(), 8, 8).unwrap();
            assert!(writer.write(second).and_then(|()| writer.finish()).is_err());
        }
    }
}
