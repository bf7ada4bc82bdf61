//! The room as a whole: against scikit-learn, in any order, through the table, with rows of another make.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int64Array,
    LargeStringArray, RecordBatch, StringArray, StringViewArray, TimestampNanosecondArray, UInt8Array,
    UInt64Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int8Type, Int32Type, Schema};
use proptest::prelude::*;

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn fitted(spec: &EncodeSpec, rows: &RecordBatch) -> Encoders {
    let mut fit = Fit::new(spec, rows.schema_ref()).unwrap();
    fit.observe(rows).unwrap();
    fit.finish().unwrap()
}

/// Numbers in `[0, 1)` by Knuth's MMIX generator, as the script for scikit-learn made them.
fn uniform(n: usize) -> Vec<f64> {
    let mut state = 42_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..n).map(|_| next()).collect()
}

fn value_of(encoders: &Encoders, column: &str, key: &str) -> f64 {
    let columns = encoders.describe_json();
    let found = columns.as_array().unwrap().iter().find(|object| object["column"] == column);
    found.unwrap()[key].as_f64().unwrap()
}

/// `StandardScaler().fit(X).mean_` and `.scale_`, scikit-learn 1.9.1 on numpy 2.4.6, x86-64.
#[test]
fn standard_equals_scikit_learn() {
    type Case = (&'static str, fn(f64) -> f64, f64, f64);
    let cases: [Case; 8] = [
        ("unit", |u| u, 0.5062096507258111, 0.2915148223019423),
        ("far", |u| 1e9 + u, 1000000000.5062104, 0.29151482046179583),
        ("whole", |u| (u * 1e6).floor(), 506209.151, 291514.8420793532),
        ("constant", |_| 0.1, 0.09999999999999859, 1.0),
        ("tiny", |u| u * 1e-150, 5.062096507258114e-151, 2.9151482230194246e-151),
        ("large", |u| (u - 0.5) * 1e150, 6.2096507258113075e+147, 2.915148223019424e+149),
        // Noise of 1e-4 on 1e9 is below what scikit-learn tells from rounding.
        ("near", |u| 1e9 + u * 1e-4, 1000000000.0000496, 1.0),
        ("far_ns", |u| 1.7e18 + (u * 1e9).floor(), 1.7000000005062088e+18, 291514824.59540284),
    ];
    let u = uniform(1000);
    let columns = cases.iter().map(|(name, of, ..)| {
        (*name, Arc::new(Float64Array::from_iter_values(u.iter().map(|u| of(*u)))) as ArrayRef)
    });
    let spec = EncodeSpec { standard: list(&["*"]), ..EncodeSpec::default() };
    let encoders = fitted(&spec, &batch(columns.collect()));
    for (name, _, mean, scale) in cases {
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() <= 1e-12;
        let (found_mean, found_scale) =
            (value_of(&encoders, name, "mean"), value_of(&encoders, name, "scale"));
        assert!(near(found_mean, mean), "{name}: mean {found_mean:e}, scikit-learn {mean:e}");
        assert!(near(found_scale, scale), "{name}: scale {found_scale:e}, scikit-learn {scale:e}");
    }
}

/// `StandardScaler().fit_transform([[1], [2], [4]])`, scikit-learn 1.9.1.
#[test]
fn whole_numbers_scale_as_floats_do() {
    let spec = EncodeSpec { standard: list(&["*"]), ..EncodeSpec::default() };
    let rows = batch(vec![
        ("int", Arc::new(UInt8Array::from(vec![1, 2, 4]))),
        ("float", Arc::new(Float32Array::from(vec![1.0, 2.0, 4.0]))),
        ("bool", Arc::new(BooleanArray::from(vec![false, true, true]))),
    ]);
    let matrix = fitted(&spec, &rows).encode(&rows).unwrap();
    let expected = [-1.069_045, -0.267_261_24, 1.336_306_2];
    for (row, expected) in expected.into_iter().enumerate() {
        assert_eq!([matrix[[row, 0]], matrix[[row, 1]]], [expected; 2]);
    }
    assert_eq!(matrix[[0, 2]], -(2.0_f64.sqrt()) as f32);
}

/// `OneHotEncoder(handle_unknown="infrequent_if_exist", ...).fit(x).get_feature_names_out()`, scikit-learn
/// 1.9.1; where that leaves out its infrequent feature ours has one all the same, for values not yet seen.
#[test]
fn onehot_keeps_what_scikit_learn_keeps() {
    let rows = batch(vec![(
        "x",
        Arc::new(StringArray::from(vec!["b", "a", "c", "b", "d", "d", "e", "a", "f", "b", "g"])),
    )]);
    let count = MinFrequency::Count;
    let cases = [
        (count(0), 32, "abcdefg"),
        (count(2), 32, "abd"),
        (count(0), 3, "bd"),
        (count(0), 7, "abdefg"),
        (count(0), 8, "abcdefg"),
        (count(2), 3, "bd"),
        (MinFrequency::Share(0.2), 32, "b"),
        (count(0), 1, ""),
        (count(0), 5, "abdg"),
    ];
    for (min_frequency, max_categories, kept) in cases {
        let spec =
            EncodeSpec { onehot: list(&["x"]), min_frequency, max_categories, ..EncodeSpec::default() };
        let mut expected: Vec<String> = kept.chars().map(|value| format!("x={value}")).collect();
        expected.push("x=other".to_owned());
        assert_eq!(fitted(&spec, &rows).features(), expected, "{min_frequency:?}, {max_categories}");
    }
}

#[test]
fn onehot_sends_the_unseen_to_other_and_nulls_nowhere() {
    let spec = EncodeSpec { onehot: list(&["*"]), ..EncodeSpec::default() };
    let rows = batch(vec![
        ("port", Arc::new(UInt64Array::from(vec![Some(10), Some(2), None]))),
        ("seen", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        // The name of the last feature is no value of its own.
        ("service", Arc::new(StringArray::from(vec![Some("other"), None, Some("dns")]))),
    ]);
    let encoders = fitted(&spec, &rows);
    let features = [
        "port=2",
        "port=10",
        "port=other",
        "seen=false",
        "seen=true",
        "seen=other",
        "service=dns",
        "service=other",
    ];
    assert_eq!(encoders.features(), features);
    let matrix = encoders.encode(&rows).unwrap();
    assert_eq!(matrix.row(0).to_vec(), [0., 1., 0., 0., 1., 0., 0., 1.]);
    assert_eq!(matrix.row(1).to_vec(), [1., 0., 0., 0., 0., 0., 0., 0.]);
    assert_eq!(matrix.row(2).to_vec(), [0., 0., 0., 1., 0., 0., 1., 0.]);
    let unseen = batch(vec![
        ("port", Arc::new(UInt64Array::from(vec![3]))),
        ("seen", Arc::new(BooleanArray::from(vec![true]))),
        ("service", Arc::new(StringArray::from(vec!["ssh"]))),
    ]);
    assert_eq!(encoders.encode(&unseen).unwrap().row(0).to_vec(), [0., 0., 1., 0., 1., 0., 0., 1.]);
}

#[test]
fn log1p_keeps_the_sign_and_passthrough_all() {
    let spec = EncodeSpec { log1p: list(&["l"]), passthrough: list(&["p"]), ..EncodeSpec::default() };
    let rows = batch(vec![
        ("l", Arc::new(Float64Array::from(vec![0.0, std::f64::consts::E - 1.0, 1.0 - std::f64::consts::E]))),
        ("p", Arc::new(Float64Array::from(vec![1e300, -1e300, 0.25]))),
    ]);
    let matrix = fitted(&spec, &rows).encode(&rows).unwrap();
    assert_eq!(matrix.column(0).to_vec(), [0.0, 1.0, -1.0]);
    assert_eq!(matrix.column(1).to_vec(), [f32::MAX, f32::MIN, 0.25]);
}

#[test]
fn absence_reads_as_its_policy_says() {
    let values = vec![Some(1.0), None, Some(f64::NAN), Some(f64::NEG_INFINITY), Some(3.0)];
    let rows = batch(vec![("x", Arc::new(Float64Array::from(values)))]);
    let encoded = |null: NullPolicy, spec: EncodeSpec| {
        let encoders = fitted(&EncodeSpec { null, ..spec }, &rows);
        let matrix = encoders.encode(&rows).unwrap();
        assert_eq!(matrix.row(1), matrix.row(2));
        assert_eq!(matrix.row(1), matrix.row(3));
        (matrix.row(0).to_vec(), matrix.row(1).to_vec())
    };
    let standard = || EncodeSpec { standard: list(&["x"]), ..EncodeSpec::default() };
    let passthrough = || EncodeSpec { passthrough: list(&["x"]), ..EncodeSpec::default() };
    assert_eq!(encoded(NullPolicy::Below, standard()), (vec![-1.0], vec![-2.0]));
    assert_eq!(encoded(NullPolicy::Zero, standard()), (vec![-1.0], vec![-2.0]));
    assert_eq!(encoded(NullPolicy::Mean, standard()), (vec![-1.0], vec![0.0]));
    assert_eq!(encoded(NullPolicy::Value(4.0), standard()), (vec![-1.0], vec![2.0]));
    assert_eq!(encoded(NullPolicy::Flag, standard()), (vec![-1.0, 0.0], vec![0.0, 1.0]));
    assert_eq!(encoded(NullPolicy::Below, passthrough()), (vec![1.0], vec![0.0]));
    assert_eq!(encoded(NullPolicy::Mean, passthrough()), (vec![1.0], vec![2.0]));
    let own = EncodeSpec { nulls: [("x".to_owned(), NullPolicy::Value(-7.0))].into(), ..passthrough() };
    assert_eq!(encoded(NullPolicy::Mean, own), (vec![1.0], vec![-7.0]));
}

#[test]
fn a_column_without_any_value_is_encoded_all_the_same() {
    let rows = batch(vec![
        ("x", Arc::new(Float64Array::from(vec![None, Some(f64::NAN)]))),
        ("s", Arc::new(StringArray::from(vec![None::<&str>, None]))),
    ]);
    let spec = EncodeSpec {
        standard: list(&["x"]),
        onehot: list(&["s"]),
        nulls: [("s".to_owned(), NullPolicy::Flag)].into(),
        ..EncodeSpec::default()
    };
    let encoders = fitted(&spec, &rows);
    assert_eq!(encoders.features(), ["x", "s=other", "s_is_null"]);
    assert_eq!(encoders.encode(&rows).unwrap().row(0).to_vec(), [-1.0, 0.0, 1.0]);
    assert_eq!(Encoders::from_table(&encoders.to_table()).unwrap(), encoders);
}

#[test]
fn text_is_text_however_it_is_stored() {
    let texts = [Some("dns"), None, Some("http"), Some("dns")];
    let small: DictionaryArray<Int8Type> = texts.into_iter().collect();
    let wide: DictionaryArray<Int32Type> = texts.into_iter().collect();
    let forms: [ArrayRef; 5] = [
        Arc::new(small),
        Arc::new(wide),
        Arc::new(StringArray::from(texts.to_vec())),
        Arc::new(LargeStringArray::from(texts.to_vec())),
        Arc::new(StringViewArray::from(texts.to_vec())),
    ];
    let spec = EncodeSpec { onehot: list(&["s"]), ..EncodeSpec::default() };
    let batches: Vec<RecordBatch> = forms.into_iter().map(|form| batch(vec![("s", form)])).collect();
    let encoders = fitted(&spec, &batches[0]);
    for rows in &batches {
        assert_eq!(fitted(&spec, rows), encoders);
        assert_eq!(encoders.encode(rows).unwrap(), encoders.encode(&batches[0]).unwrap());
    }
}

#[test]
fn dictionary_values_that_are_null_or_missing_are_absent() {
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a")]));
    let keys = arrow::array::Int8Array::from(vec![Some(0), Some(1), Some(2), None]);
    let empty: DictionaryArray<Int8Type> = [None::<&str>, None].into_iter().collect();
    let spec = EncodeSpec { onehot: list(&["s"]), ..EncodeSpec::default() };
    let rows = batch(vec![("s", Arc::new(DictionaryArray::new(keys, values)))]);
    let encoders = fitted(&spec, &rows);
    assert_eq!(encoders.encode(&rows).unwrap().column(0).to_vec(), [1.0, 0.0, 1.0, 0.0]);
    let rows = batch(vec![("s", Arc::new(empty))]);
    assert_eq!(encoders.encode(&rows).unwrap().sum(), 0.0);
}

#[test]
fn rows_of_another_make_are_refused_by_their_first_column() {
    let spec =
        EncodeSpec { standard: list(&["fwd_bytes"]), onehot: list(&["service"]), ..EncodeSpec::default() };
    let bytes = || Arc::new(UInt64Array::from(vec![1, 2])) as ArrayRef;
    let service = || Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef;
    let rows = batch(vec![("service", service()), ("fwd_bytes", bytes())]);
    let encoders = fitted(&spec, &rows);
    let error = |rows: RecordBatch| encoders.encode(&rows).unwrap_err().to_string();
    assert_eq!(
        error(batch(vec![("service", service()), ("fwd_byte", bytes())])),
        "column `fwd_bytes`: model expects UInt64, rows have no such column; nearest is `fwd_byte`"
    );
    assert_eq!(
        error(batch(vec![("fwd_bytes", service()), ("service", service())])),
        "column `fwd_bytes`: model expects UInt64, rows have Utf8"
    );
    assert_eq!(
        error(batch(vec![
            ("fwd_bytes", bytes()),
            ("service", Arc::new(TimestampNanosecondArray::from(vec![1, 2])) as ArrayRef)
        ])),
        "column `service`: model expects Utf8, rows have Timestamp(ns)"
    );
    let further = batch(vec![("fwd_bytes", bytes()), ("further", bytes()), ("service", service())]);
    assert_eq!(encoders.encode(&further).unwrap(), encoders.encode(&rows).unwrap());
}

#[test]
fn numbers_are_numbers_whatever_type_their_writer_chose() {
    let spec = EncodeSpec {
        standard: list(&["bytes"]),
        log1p: list(&["gap"]),
        onehot: list(&["port"]),
        ..EncodeSpec::default()
    };
    let bytes = || Arc::new(Int64Array::from(vec![Some(3), Some(250), None])) as ArrayRef;
    let gap = || Arc::new(Float64Array::from(vec![Some(0.5), Some(-2.0), None])) as ArrayRef;
    let port = || Arc::new(Int64Array::from(vec![Some(53), Some(80), None])) as ArrayRef;
    let rows = batch(vec![("bytes", bytes()), ("gap", gap()), ("port", port())]);
    let encoders = fitted(&spec, &rows);
    let expected = encoders.encode(&rows).unwrap();
    let decimal = |width: u8| match width {
        32 => DataType::Decimal32(9, 1),
        64 => DataType::Decimal64(18, 1),
        128 => DataType::Decimal128(18, 1),
        _ => DataType::Decimal256(40, 1),
    };
    let mut types =
        vec![DataType::UInt8, DataType::Int16, DataType::UInt64, DataType::Float32, DataType::Float64];
    types.extend([32, 64, 128, 0].map(decimal));
    for other in &types {
        let cast = |column: ArrayRef| arrow::compute::cast(&column, other).unwrap();
        let gap = if other.is_integer() { gap() } else { cast(gap()) };
        let port = if other.is_integer() { cast(port()) } else { port() };
        let rows = batch(vec![("port", port), ("bytes", cast(bytes())), ("gap", gap)]);
        assert_eq!(encoders.encode(&rows).unwrap(), expected, "{other}");
    }
    // A column of nothing but nulls has no type of its own.
    let none = || Arc::new(arrow::array::NullArray::new(3)) as ArrayRef;
    let nulls = encoders.encode(&batch(vec![("bytes", none()), ("gap", none()), ("port", none())])).unwrap();
    (0..3).for_each(|row| assert_eq!(nulls.row(row), expected.row(2)));
    // A category is no fraction, and neither numbers nor categories are truth.
    let floats = batch(vec![("bytes", bytes()), ("gap", gap()), ("port", gap())]);
    assert_eq!(
        encoders.encode(&floats).unwrap_err().to_string(),
        "column `port`: model expects Int64, rows have Float64"
    );
    let truth = Arc::new(BooleanArray::from(vec![true, false, true])) as ArrayRef;
    let said = encoders.encode(&batch(vec![("bytes", truth), ("gap", gap()), ("port", port())])).unwrap_err();
    assert_eq!(said.to_string(), "column `bytes`: model expects Int64, rows have Boolean");
}

#[test]
fn decimals_are_learned_as_the_numbers_that_they_are() {
    let spec = EncodeSpec { passthrough: list(&["x*"]), ..EncodeSpec::default() };
    let values = Arc::new(Float64Array::from(vec![Some(1.25), Some(-7.5), None])) as ArrayRef;
    let decimals = arrow::compute::cast(&values, &DataType::Decimal128(20, 2)).unwrap();
    let rows = batch(vec![("x", decimals)]);
    let encoders = fitted(&spec, &rows);
    assert_eq!(encoders.columns()[0].data_type(), &DataType::Float64);
    assert_eq!(encoders.encode(&rows).unwrap(), encoders.encode(&batch(vec![("x", values)])).unwrap());
}

#[test]
fn an_empty_training_set_says_so() {
    let rows = batch(vec![("x", Arc::new(Float64Array::from(Vec::<f64>::new())))]);
    let spec = EncodeSpec { standard: list(&["x"]), ..EncodeSpec::default() };
    let mut fit = Fit::new(&spec, rows.schema_ref()).unwrap();
    fit.observe(&rows).unwrap();
    let error = fit.finish().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the training set is empty: no row was read; check the input and its time range"
    );
}

#[test]
fn too_many_categories_name_the_column_in_one_fit_and_in_two() {
    let spec = EncodeSpec { onehot: list(&["id"]), ..EncodeSpec::default() };
    let ids = |from: i64, to: i64| batch(vec![("id", Arc::new(Int64Array::from_iter_values(from..to)))]);
    let most = MOST_CATEGORIES as i64;
    let mut fit = Fit::new(&spec, ids(0, 1).schema_ref()).unwrap();
    fit.observe(&ids(0, most)).unwrap();
    let mut other = Fit::new(&spec, ids(0, 1).schema_ref()).unwrap();
    other.observe(&ids(most, most + 1)).unwrap();
    let too_many = EncodeError::TooManyCategories { column: "id".to_owned() };
    assert_eq!(fit.clone().merge(other), Err(too_many.clone()));
    assert_eq!(fit.observe(&ids(most, most + 1)), Err(too_many));
}

#[test]
fn fits_of_different_columns_do_not_merge() {
    let rows = mixed(&[(1.0, 1, 0)]);
    let fit = |spec: &EncodeSpec| Fit::new(spec, rows.schema_ref()).unwrap();
    let other = EncodeSpec { max_categories: 2, ..mixed_spec() };
    assert_eq!(fit(&mixed_spec()).merge(fit(&other)), Err(EncodeError::OtherFit));
}

fn mixed_spec() -> EncodeSpec {
    EncodeSpec {
        standard: list(&["float", "whole"]),
        log1p: list(&["log"]),
        onehot: list(&["text", "id"]),
        passthrough: list(&["plain"]),
        max_categories: 3,
        nulls: [("log".to_owned(), NullPolicy::Flag), ("text".to_owned(), NullPolicy::Flag)].into(),
        ..EncodeSpec::default()
    }
}

fn mixed(rows: &[(f64, i64, u8)]) -> RecordBatch {
    let present = |row: &(f64, i64, u8)| !row.2.is_multiple_of(5);
    let text: DictionaryArray<Int8Type> =
        rows.iter().map(|row| present(row).then(|| ["a", "b", "c", "d"][row.2 as usize % 4])).collect();
    batch(vec![
        ("float", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("whole", Arc::new(Int64Array::from_iter(rows.iter().map(|row| present(row).then_some(row.1))))),
        (
            "log",
            Arc::new(Float32Array::from_iter(rows.iter().map(|row| present(row).then_some(row.0 as f32)))),
        ),
        ("text", Arc::new(text)),
        ("id", Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.2)))),
        ("plain", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.0)))),
    ])
}

fn any_rows() -> impl Strategy<Value = Vec<(f64, i64, u8)>> {
    let float = prop_oneof![prop::num::f64::ANY, -100.0..100.0, Just(0.0), Just(-0.0)];
    let whole = prop_oneof![any::<i64>(), -100_i64..100];
    prop::collection::vec((float, whole, 0_u8..12), 1..60)
}

fn bits(matrix: &ndarray::Array2<f32>) -> Vec<u32> {
    matrix.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn order_split_and_travel_of_fits_do_not_show(
        rows in any_rows(), cuts in prop::collection::vec(0_usize..60, 2), keys in prop::collection::vec(any::<u64>(), 60),
    ) {
        let all = mixed(&rows);
        let whole = fitted(&mixed_spec(), &all);
        let mut order: Vec<u64> = (0..rows.len() as u64).collect();
        order.sort_by_key(|row| keys[*row as usize]);
        let shuffled = take_record_batch(&all, &UInt64Array::from(order)).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).chain([0, rows.len()]).collect();
        cuts.sort_unstable();
        let mut merged: Option<Fit> = None;
        for pair in cuts.windows(2).rev() {
            let mut fit = Fit::new(&mixed_spec(), all.schema_ref()).unwrap();
            fit.observe(&shuffled.slice(pair[0], pair[1] - pair[0])).unwrap();
            let mut fit: Fit = serde_json::from_str(&serde_json::to_string(&fit).unwrap()).unwrap();
            if let Some(before) = merged {
                fit.merge(before).unwrap();
            }
            merged = Some(fit);
        }
        let merged = merged.unwrap().finish().unwrap();
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(bits(&merged.encode(&all).unwrap()), bits(&whole.encode(&all).unwrap()));
    }

    #[test]
    fn the_table_gives_the_same_encoders_and_features_are_finite(rows in any_rows(), new in any_rows()) {
        let encoders = fitted(&mixed_spec(), &mixed(&rows));
        let again = Encoders::from_table(&encoders.to_table()).unwrap();
        prop_assert_eq!(&again, &encoders);
        prop_assert_eq!(again.features(), encoders.features());
        let matrix = encoders.encode(&mixed(&new)).unwrap();
        prop_assert!(matrix.iter().all(|value| value.is_finite()));
        prop_assert_eq!(bits(&again.encode(&mixed(&new)).unwrap()), bits(&matrix));
    }

    #[test]
    fn a_damaged_table_is_an_error_or_other_encoders(
        rows in any_rows(), row in 0_usize..40, column in 0_usize..7, with in "\\PC{0,6}", number in any::<f64>(),
    ) {
        let table = fitted(&mixed_spec(), &mixed(&rows)).to_table();
        let row = row % table.num_rows();
        let mut arrays = table.columns().to_vec();
        arrays[column] = match column {
            5 => {
                let values = table.column(5).as_primitive::<arrow::datatypes::Float64Type>();
                Arc::new(Float64Array::from_iter(values.iter().enumerate().map(|(r, v)| if r == row { Some(number) } else { v })))
            }
            6 => {
                let counts = table.column(6).as_primitive::<arrow::datatypes::UInt64Type>();
                Arc::new(UInt64Array::from_iter(counts.iter().enumerate().map(|(r, v)| if r == row { None } else { v })))
            }
            _ => {
                let texts = table.column(column).as_string::<i32>();
                Arc::new(StringArray::from_iter(texts.iter().enumerate().map(|(r, v)| if r == row { Some(with.as_str()) } else { v })))
            }
        };
        let damaged = RecordBatch::try_new(table.schema(), arrays).unwrap();
        if let Ok(encoders) = Encoders::from_table(&damaged) {
            let _ = encoders.encode(&mixed(&rows));
        }
        // Without its first row (a mean) or doubled it is no table.
        let cut = table.slice(1, table.num_rows() - 1);
        prop_assert!(matches!(Encoders::from_table(&cut), Err(EncodeError::Damaged(_))));
        let doubled = concat_batches(&table.schema(), [&table, &table]).unwrap();
        prop_assert!(matches!(Encoders::from_table(&doubled), Err(EncodeError::Damaged(_))));
    }
}

#[test]
fn a_table_of_another_form_is_damaged() {
    let rows = batch(vec![("x", Arc::new(Float64Array::from(vec![1.0])))]);
    let empty = RecordBatch::new_empty(Arc::new(Schema::empty()));
    for table in [rows, empty] {
        let error = Encoders::from_table(&table).unwrap_err().to_string();
        assert!(error.starts_with("the table of encoders is damaged: column 0 is not `column`"), "{error}");
    }
}
