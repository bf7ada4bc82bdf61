//! Files of rows, as netweir and as others write them.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int8Array, Int64Array, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt8Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int8Type, Int64Type, Schema, UInt16Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tempfile::tempdir;

use super::*;
use crate::row::RowSettings;
use crate::source::rows::{RowsError, RowsFeed};

/// Writes columns in this order.
fn table(path: &Path, settings: Option<&RowSettings>, columns: Vec<(&str, ArrayRef)>) {
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let metadata = settings.map(RowSettings::metadata).unwrap_or_default();
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()).with_metadata(metadata));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

fn numbers(values: [i64; 2]) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

#[test]
fn a_column_is_known_by_its_name_and_not_by_its_place() {
    let folder = tempdir().unwrap();
    let unit = |name: char| [1, 10, 100]["xyz".find(name).unwrap()];
    let orders = ["xyz", "yxz", "zxy"];
    let paths = orders.map(|order| folder.path().join(order));
    for ((first, order), path) in (1..).step_by(2).zip(orders).zip(&paths) {
        let names: Vec<String> = order.chars().map(String::from).collect();
        let columns = order.chars().map(|name| numbers([first, first + 1].map(|row| row * unit(name))));
        table(path, None, names.iter().map(String::as_str).zip(columns).collect());
    }
    for kept in ["xyz", "xz", "y"] {
        let mut feed = RowsFeed::open(&paths, false).unwrap();
        feed.keep(|name| kept.contains(name));
        let mut read = vec![Vec::new(); kept.len()];
        while let Some(piece) = feed.read().unwrap() {
            for (name, read) in kept.chars().zip(&mut read) {
                let column = piece.rows.column_by_name(&name.to_string()).unwrap();
                read.extend_from_slice(column.as_primitive::<Int64Type>().values());
            }
        }
        for (name, read) in kept.chars().zip(read) {
            assert_eq!(read, (1..=6).map(|row| row * unit(name)).collect::<Vec<i64>>(), "{name} of {kept}");
        }
    }
}

#[test]
fn dots_in_names_of_columns_are_letters_like_others() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("conn.parquet");
    let names = ["ts", "id.orig_h", "id", "id.", ".resp", "orig_bytes"];
    let columns = (1..).zip(names).map(|(unit, name)| (name, numbers([unit, 10 * unit])));
    table(&path, None, columns.collect());
    for kept in [&names[..], &["id.orig_h"], &["id"], &["ts", ".resp"]] {
        let mut feed = RowsFeed::open(std::slice::from_ref(&path), false).unwrap();
        feed.keep(|name| kept.contains(&name));
        let rows = feed.read().unwrap().unwrap().rows;
        assert_eq!(rows.num_columns(), kept.len());
        for name in kept {
            let unit = 1 + names.iter().position(|known| known == name).unwrap() as i64;
            let column = rows.column_by_name(name).unwrap();
            assert_eq!(column.as_primitive::<Int64Type>().values(), &[unit, 10 * unit], "{name}");
        }
    }
}

#[test]
fn columns_that_each_file_has_in_a_type_of_its_own_are_one_column() {
    let folder = tempdir().unwrap();
    let words = |words: [&str; 2]| Arc::new(StringArray::from(words.to_vec())) as ArrayRef;
    let dictionary: DictionaryArray<Int8Type> = ["c", "d"].into_iter().collect();
    let files: [(ArrayRef, ArrayRef); 3] = [
        (numbers([1, 2]), words(["a", "b"])),
        (Arc::new(Float64Array::from(vec![Some(3.0), None])), Arc::new(dictionary)),
        (Arc::new(UInt8Array::from(vec![5, 6])), words(["e", "f"])),
    ];
    let paths: Vec<PathBuf> = (0..4).map(|file| folder.path().join(file.to_string())).collect();
    for (path, (x, word)) in paths.iter().zip(files) {
        table(path, None, vec![("x", x), ("word", word)]);
    }
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1]] {
        let order = order.map(|file: usize| paths[file].clone());
        let mut feed = RowsFeed::open(&order, false).unwrap();
        let (mut x, mut word) = (Vec::new(), Vec::new());
        while let Some(piece) = feed.read().unwrap() {
            let columns = piece.rows.columns();
            x.extend(columns[0].as_primitive::<Float64Type>().iter());
            word.extend(columns[1].as_string::<i32>().iter().map(|word| word.unwrap().to_owned()));
        }
        x.sort_by(|a, b| a.partial_cmp(b).unwrap());
        word.sort();
        assert_eq!(x, [None, Some(1.0), Some(2.0), Some(3.0), Some(5.0), Some(6.0)]);
        assert_eq!(word.concat(), "abcdef");
    }
    table(&paths[3], None, vec![("x", words(["g", "h"])), ("word", words(["g", "h"]))]);
    let error = RowsFeed::open(&[paths[0].clone(), paths[3].clone()], false).err().unwrap().to_string();
    assert!(
        error.contains("3: column `x` is Utf8, in ")
            && error.contains("0 it is Int64: files of one run need the same columns; leave it out of all"),
        "{error}"
    );
    table(&paths[3], None, vec![("x", numbers([1, 2]))]);
    for (files, said) in [([0, 3], ["is missing", "is Utf8"]), ([3, 0], ["is Utf8", "is missing"])] {
        let files = files.map(|file: usize| paths[file].clone());
        let error = RowsFeed::open(&files, false).err().unwrap().to_string();
        assert!(error.contains(&format!("column `word` {}, in ", said[0])), "{error}");
        assert!(error.contains(&format!(" it {}: ", said[1])), "{error}");
    }
}

#[test]
fn what_cannot_be_read_is_left_out_where_that_is_asked_for() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    table(&path("whole"), None, vec![("x", numbers([1, 2]))]);
    let whole = std::fs::read(path("whole")).unwrap();
    std::fs::write(path("cut"), &whole[..whole.len() - 9]).unwrap();
    std::fs::write(path("packed"), [0x1F, 0x8B, 8, 0, 1, 2, 3]).unwrap();
    // The values of the column, in its only page.
    let mut damaged = whole.clone();
    damaged[4..40].fill(0xFF);
    std::fs::write(path("damaged"), damaged).unwrap();
    let all = ["cut", "damaged", "packed", "whole"].map(path);
    let mut feed = RowsFeed::open(&all, true).unwrap();
    let mut rows = 0;
    while let Some(piece) = feed.read().unwrap() {
        rows += piece.rows.num_rows();
    }
    assert_eq!(rows, 2);
    let said = feed.cut_short();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains("cut: not a readable Parquet file: "), "{said:?}");
    assert!(
        said[1].contains("packed: is compressed with gzip") && said[1].ends_with("unpack it"),
        "{said:?}"
    );
    assert!(said[2].contains("damaged: ") && said[2].ends_with(": 0 rows before that were used"), "{said:?}");
    assert!(RowsFeed::open(&all[..1], true).is_err(), "nothing is left");
    let error = RowsFeed::open(&all, false).err().unwrap().to_string();
    assert!(error.ends_with(" (--lax leaves it out, or what is behind the damage)"), "{error}");
}

#[test]
fn windows_in_another_unit_come_in_their_order() {
    let folder = tempdir().unwrap();
    let settings = crate::flow::row_settings(&Default::default(), &Default::default());
    for (number, statistics) in [EnabledStatistics::Page, EnabledStatistics::None].into_iter().enumerate() {
        let write = |name: &str, window: ArrayRef| {
            let path = folder.path().join(format!("{number}-{name}"));
            let fields = [
                Field::new("window_start", window.data_type().clone(), false),
                Field::new("flow_id", DataType::UInt64, false),
            ];
            let schema = Arc::new(Schema::new(fields.to_vec()).with_metadata(settings.metadata()));
            let rows =
                RecordBatch::try_new(schema.clone(), vec![window, Arc::new(UInt64Array::from(vec![7]))]);
            let properties = WriterProperties::builder().set_statistics_enabled(statistics).build();
            let mut writer =
                ArrowWriter::try_new(File::create(&path).unwrap(), schema, Some(properties)).unwrap();
            writer.write(&rows.unwrap()).unwrap();
            writer.close().unwrap();
            path
        };
        let micros = |seconds: i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(vec![seconds * 1_000_000]).with_timezone("UTC"))
        };
        let nanos: ArrayRef =
            Arc::new(TimestampNanosecondArray::from(vec![20_000_000_000]).with_timezone("UTC"));
        let paths = [write("late", micros(30)), write("middle", nanos), write("early", micros(10))];
        let mut feed = RowsFeed::open(&paths, false).unwrap();
        assert_eq!(feed.frontier(), 10_000_000_000);
        let mut windows = Vec::new();
        while let Some(piece) = feed.read().unwrap() {
            windows.push(piece.window / 1_000_000_000);
        }
        assert_eq!(windows, [10, 20, 30]);
        let old = write("old", micros(-10));
        let error = RowsFeed::open(&[old], false).and_then(|mut feed| feed.read()).err().unwrap().to_string();
        assert!(error.ends_with("row 1 is of a time before 1970"), "{error}");
    }
}

#[test]
fn all_rows_before_damage_are_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("groups.parquet");
    let rows =
        RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from_iter_values(0..500)) as ArrayRef)])
            .unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).build();
    let mut writer =
        ArrowWriter::try_new(File::create(&path).unwrap(), rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    let metadata = writer.close().unwrap();
    let start = metadata.row_groups()[3].column(0).byte_range().0 as usize;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[start..start + 40].fill(0xFF);
    std::fs::write(&path, bytes).unwrap();
    let mut feed = RowsFeed::open(std::slice::from_ref(&path), true).unwrap();
    let mut found: Vec<i64> = Vec::new();
    while let Some(piece) = feed.read().unwrap() {
        found.extend(piece.rows.column(0).as_primitive::<Int64Type>().values());
    }
    assert_eq!(found, (0..300).collect::<Vec<i64>>());
    assert!(feed.cut_short()[0].ends_with(": 300 rows before that were used"), "{:?}", feed.cut_short());
    let mut feed = RowsFeed::open(&[path], false).unwrap();
    assert!(std::iter::from_fn(|| feed.read().transpose()).any(|piece| piece.is_err()));
}

#[test]
fn two_columns_of_one_name_are_an_error() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    table(&path, None, vec![("x", numbers([1, 2])), ("y", numbers([3, 4])), ("x", numbers([5, 6]))]);
    let error = RowsFeed::open(&[path], false).err().unwrap().to_string();
    assert!(error.ends_with("t.parquet: two columns are named `x`: rename one, or leave it out"), "{error}");
}

#[test]
fn rows_without_a_value_that_rows_always_have_are_an_error() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let settings = RowSettings { settings: [("window".to_owned(), "10s".to_owned())].into() };
    let written = |starts: [Option<i64>; 2], flows: [Option<u64>; 2], vlan: [Option<u64>; 2]| {
        let starts = TimestampNanosecondArray::from_iter(starts).with_timezone("UTC");
        let flows = UInt64Array::from_iter(flows);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("window_start", Arc::new(starts)),
            ("flow_id", Arc::new(flows)),
            ("vlan", Arc::new(UInt64Array::from_iter(vlan))),
        ];
        table(&path, Some(&settings), columns);
        RowsFeed::open(std::slice::from_ref(&path), false).and_then(|mut feed| feed.read())
    };
    let whole = written([Some(0), Some(0)], [Some(1), Some(2)], [None, Some(1)]).unwrap().unwrap();
    assert_eq!((whole.rows.num_rows(), whole.rows.column(2).null_count()), (2, 1));
    for (starts, flows, missing, at) in [
        ([Some(0), None], [Some(1), Some(2)], "window_start", 2),
        ([None, Some(0)], [Some(1), Some(2)], "window_start", 1),
        ([Some(0), Some(0)], [None, Some(2)], "flow_id", 1),
    ] {
        match written(starts, flows, [None, None]) {
            Err(RowsError::Null { row, column, .. }) => assert_eq!((row, column.as_str()), (at, missing)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn rows_that_end_before_they_begin_are_an_error() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let settings = RowSettings { settings: [("window".to_owned(), "10s".to_owned())].into() };
    let times = |times: [i64; 3]| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    let read = |ends: [i64; 3]| {
        let flows = Arc::new(UInt64Array::from_iter_values([1, 2, 3]));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("window_start", times([0, 0, 0])),
            ("flow_id", flows),
            ("row_start", times([5, 6, 7])),
            ("row_end", times(ends)),
        ];
        table(&path, Some(&settings), columns);
        RowsFeed::open(std::slice::from_ref(&path), false).and_then(|mut feed| feed.read())
    };
    assert_eq!(read([5, 9, 9]).unwrap().unwrap().rows.num_rows(), 3);
    assert!(matches!(read([5, 9, 6]), Err(RowsError::Backwards { row: 3, .. })));
}

#[test]
fn rows_that_are_given_twice_are_an_error() {
    let folder = tempdir().unwrap();
    let settings = RowSettings { settings: [("window".to_owned(), "10s".to_owned())].into() };
    let written = |name: &str, settings: Option<&RowSettings>, rows: &[(i64, u64)]| {
        let path = folder.path().join(name);
        let starts = TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.0));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("window_start", Arc::new(starts.with_timezone("UTC"))),
            ("flow_id", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.1)))),
        ];
        table(&path, settings, columns);
        path
    };
    let read = |paths: &[&PathBuf]| {
        let paths: Vec<PathBuf> = paths.iter().map(|path| (*path).clone()).collect();
        let mut feed = RowsFeed::open(&paths, false)?;
        let mut rows = 0;
        while let Some(piece) = feed.read()? {
            rows += piece.rows.num_rows();
        }
        Ok::<usize, RowsError>(rows)
    };
    let first = written("a", Some(&settings), &[(0, 1), (0, 2), (10, 1), (20, 3)]);
    // A flow that goes on has a row in each of its windows.
    let apart = written("b", Some(&settings), &[(0, 3), (10, 2), (20, 1), (30, 1)]);
    let overlaps = written("c", Some(&settings), &[(10, 4), (20, 2), (20, 3), (30, 2)]);
    assert_eq!(read(&[&first, &apart]).unwrap(), 8);
    assert_eq!(read(&[&apart, &overlaps]).unwrap(), 8);
    for paths in [[&first, &overlaps], [&first, &first]] {
        let error = read(&paths).unwrap_err().to_string();
        assert!(error.contains("was read already") && !error.contains('\n'), "{error}");
    }
    match read(&[&overlaps, &apart, &first]) {
        Err(RowsError::Again { path, row }) => assert_eq!((path, row), (first, 4)),
        other => panic!("{other:?}"),
    }
    let alone = written("d", Some(&settings), &[(0, 1), (0, 2), (0, 1)]);
    assert!(matches!(read(&[&alone]), Err(RowsError::Again { row: 3, .. })));
    // Tables of other making may say a thing as often as they like.
    assert_eq!(read(&[&written("e", None, &[(0, 1), (0, 1)])]).unwrap(), 2);
}

#[test]
fn numbers_by_dictionary_are_read_as_numbers() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let keys = Int8Array::from(vec![Some(1), None]);
    let words = DictionaryArray::new(keys, numbers([30, 40]));
    table(&path, None, vec![("x", Arc::new(words))]);
    let mut feed = RowsFeed::open(&[path], false).unwrap();
    let rows = feed.read().unwrap().unwrap().rows;
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(40), None]);
}

#[test]
fn whole_numbers_of_flows_are_read_in_their_own_width_or_not_at_all() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let settings = RowSettings { settings: [("window".to_owned(), "10s".to_owned())].into() };
    let read = |ports: [i64; 2]| {
        let starts = TimestampNanosecondArray::from(vec![0, 0]).with_timezone("UTC");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("window_start", Arc::new(starts)),
            ("flow_id", numbers([1, 2])),
            ("dst_port", numbers(ports)),
        ];
        table(&path, Some(&settings), columns);
        RowsFeed::open(std::slice::from_ref(&path), false).and_then(|mut feed| feed.read())
    };
    let rows = read([443, 65_535]).unwrap().unwrap().rows;
    assert_eq!(rows.column(2).as_primitive::<UInt16Type>().values(), &[443, 65_535]);
    let error = read([443, 65_536]).unwrap_err().to_string();
    assert!(error.contains("rows.parquet: column `dst_port`: ") && error.contains("65536"), "{error}");
}
