//! Rows and tables that others wrote: types of other widths, empty ones, folders whose names say something.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Place, error, fine, small_model};
use crate::support::datagram::{self, udp};

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn write(path: &Path, rows: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

fn table(place: &Place, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let path = place.at(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(&path, &RecordBatch::try_from_iter(columns).unwrap());
    path
}

/// The same rows with every column that `chosen` names as `data_type`, and what the schema says of them.
fn with_type(rows: &RecordBatch, chosen: impl Fn(&Field) -> bool, data_type: &DataType) -> RecordBatch {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let data_type = if chosen(field) { data_type } else { field.data_type() };
        fields.push(field.as_ref().clone().with_data_type(data_type.clone()));
        columns.push(cast(column, data_type).unwrap());
    }
    let schema = Schema::new(fields).with_metadata(rows.schema_ref().metadata().clone());
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn scores(report: &Path) -> Vec<f64> {
    let rows = read(&report.join("scores.parquet"));
    rows.column_by_name("score").unwrap().as_primitive::<Float64Type>().values().to_vec()
}

#[test]
fn whole_numbers_of_flows_may_have_any_width_and_nothing_else_another_type() {
    let place = Place::new();
    let (model, rows, out) = (small_model(&place), place.at("rows.parquet"), place.at("out"));
    fine(&[&"extract", &"-q", &place.at("train.pcap"), &"-o", &rows]);
    let whole = read(&rows);
    let detect = |rows: &PathBuf| {
        // So low a threshold that rows become incidents.
        fine(&[&"detect", &"-q", rows, &"-m", &model, &"-o", &out, &"--percentile", &"50"]);
        (scores(&out), std::fs::read(out.join("incidents.jsonl")).unwrap())
    };
    let expected = detect(&rows);
    assert!(!expected.0.is_empty());
    let wide = place.at("i64.parquet");
    let narrow = |field: &Field| field.data_type().is_integer() && field.name() != "flow_id";
    write(&wide, &with_type(&whole, narrow, &DataType::Int64));
    assert!(detect(&wide) == expected);

    std::fs::remove_dir_all(&out).unwrap();
    let float = place.at("f64.parquet");
    write(&float, &with_type(&whole, |field| field.name() == "dst_port", &DataType::Float64));
    let said = error(&[&"detect", &"-q", &float, &"-m", &model, &"-o", &out]);
    assert!(
        said.contains("f64.parquet: column `dst_port` is Float64, UInt16 was expected: a report"),
        "{said}"
    );
    // No detector reads it, but alerts say it.
    let less = place.at("less.parquet");
    let kept = (0..whole.num_columns()).filter(|at| whole.schema_ref().field(*at).name() != "vlan");
    write(&less, &whole.project(&kept.collect::<Vec<_>>()).unwrap());
    let said = error(&[&"detect", &"-q", &less, &"-m", &model, &"-o", &out]);
    assert!(said.contains("less.parquet: column `vlan` is missing, UInt16 was expected: a report"), "{said}");
    assert!(!out.exists());
    fine(&[&"detect", &"-q", &less, &"-m", &model, &"-o", &place.at("alone.parquet")]);
}

#[test]
fn rows_of_flows_that_do_not_say_which_flow_they_are_of_are_refused() {
    let place = Place::new();
    let (rows, out) = (place.at("rows.parquet"), place.at("out.parquet"));
    small_model(&place);
    fine(&[&"extract", &"-q", &place.at("train.pcap"), &"-o", &rows]);
    let whole = read(&rows);
    let said = |rows: &RecordBatch| {
        let path = place.at("other.parquet");
        write(&path, rows);
        error(&[&"extract", &"-q", &path, &"-o", &out])
    };
    let float = said(&with_type(&whole, |field| field.name() == "flow_id", &DataType::Float64));
    assert!(float.ends_with("other.parquet: column `flow_id` is Float64, UInt64 was expected"), "{float}");
    let names = whole.schema_ref().fields().iter().enumerate();
    let kept: Vec<usize> = names.filter(|(_, field)| field.name() != "flow_id").map(|(at, _)| at).collect();
    let without = said(&whole.project(&kept).unwrap());
    assert!(without.ends_with("column `flow_id` is missing, UInt64 was expected"), "{without}");
}

#[test]
fn rows_of_a_scan_of_all_ports_are_read_again() {
    let place = Place::new();
    let scan = |port: u32| udp("10.0.0.1:40000", &format!("10.0.0.2:{port}")).at_ms(u64::from(port) / 8);
    let capture = place.write("scan.pcap", datagram::pcap(&(1..=65_535).map(scan).collect::<Vec<_>>()));
    let (rows, again) = (place.at("rows.parquet"), place.at("again.parquet"));
    fine(&[&"extract", &"-q", &capture, &"-o", &rows]);
    for workers in ["1", "2"] {
        fine(&[&"extract", &"-q", &rows, &"-o", &again, &"-w", &workers]);
        assert!(std::fs::read(&again).unwrap() == std::fs::read(&rows).unwrap(), "{workers} workers");
    }
    assert_eq!(read(&rows).num_rows(), 65_535);
}

#[test]
fn a_forest_may_learn_from_names_alone() {
    let place = Place::new();
    small_model(&place);
    let names = place.write("names.toml", "[encode]\nonehot = [\"conn_state\", \"service\"]\n");
    let (capture, model, out) = (place.at("train.pcap"), place.at("names.netweir"), place.at("out"));
    fine(&[&"train", &"-q", &capture, &"-p", &names, &"-m", &model]);
    fine(&[&"detect", &"-q", &capture, &"-m", &model, &"-o", &out]);
    assert!(!scores(&out).is_empty());
}

#[test]
fn a_table_is_scored_whatever_the_width_of_what_parts_it_and_by_dictionary() {
    let place = Place::new();
    let x: ArrayRef = Arc::new(Int64Array::from_iter_values((0..4000).map(|row| row * row % 997)));
    let site = || (0..4000).map(|row| row % 3 - 1);
    let wide: ArrayRef = Arc::new(Int64Array::from_iter_values(site().map(i64::from)));
    let learned = table(&place, "i64.parquet", vec![("x0", x.clone()), ("site", wide.clone())]);
    let pipeline = "[encode]\npassthrough = ['x*']\n[detect]\npartition_by = 'site'\ntrees = 10\n";
    let (pipeline, model) = (place.write("table.toml", pipeline), place.at("table.netweir"));
    fine(&[&"train", &"-q", &learned, &"-p", &pipeline, &"-m", &model]);
    let narrow: ArrayRef = Arc::new(Int32Array::from_iter_values(site()));
    let keys = Int32Array::from_iter_values(0..4000);
    let worded: ArrayRef = Arc::new(DictionaryArray::new(keys, x.clone()));
    let detect = |rows: &PathBuf| {
        let out = place.at("out");
        fine(&[&"detect", &"-q", rows, &"-m", &model, &"-o", &out]);
        scores(&out)
    };
    let expected = detect(&learned);
    let narrow = table(&place, "i32.parquet", vec![("x0", worded), ("site", narrow)]);
    assert_eq!(detect(&narrow), expected);
    let float = cast(&wide, &DataType::Float64).unwrap();
    let float = table(&place, "f64.parquet", vec![("x0", x), ("site", float)]);
    let said = error(&[&"detect", &"-q", &float, &"-m", &model, &"-o", &place.at("out")]);
    assert!(said.contains("`site`") && said.contains("Int64") && said.contains("Float64"), "{said}");
}

#[test]
fn a_table_without_rows_is_told_as_rows() {
    let place = Place::new();
    let x = |count| Arc::new(Float64Array::from_iter_values((0..count).map(f64::from))) as ArrayRef;
    let (some, none) = (table(&place, "some.parquet", vec![("x0", x(50))]), place.at("none.parquet"));
    table(&place, "none.parquet", vec![("x0", x(0))]);
    let (model, out) = (place.at("table.netweir"), place.at("out"));
    fine(&[&"train", &"-q", &some, &"-p", &"table", &"-m", &model]);
    let said = String::from_utf8(fine(&[&"detect", &none, &"-m", &model, &"-o", &out]).stderr).unwrap();
    assert!(said.starts_with("0 rows\n0 anomalies (nothing was scored)"), "{said}");
    let summary = std::fs::read_to_string(out.join("summary.json")).unwrap();
    assert!(summary.contains("\"frames\": 0"), "{summary}");
}

#[test]
fn a_column_that_only_folders_are_named_after_is_told_so() {
    let place = Place::new();
    let x = Arc::new(Float64Array::from_iter_values((0..50).map(f64::from))) as ArrayRef;
    table(&place, "days/day=0/part.parquet", vec![("x0", x)]);
    let pipeline = place.write("own.toml", "[encode]\npassthrough = ['x0', 'day']\n");
    let train = |pipeline: &PathBuf| {
        error(&[&"train", &place.at("days"), &"-p", pipeline, &"-m", &place.at("own.netweir")])
    };
    let said = train(&pipeline);
    assert!(said.contains("no column `day`"), "{said}");
    assert!(
        said.ends_with("; the name of the folder day=0 is no column here: write it into the files"),
        "{said}"
    );
    let said = train(&place.write("own.toml", "[encode]\npassthrough = ['x1']\n"));
    assert!(said.ends_with("nearest is `x0`"), "{said}");
}
