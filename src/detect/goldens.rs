//! ROC-AUC on public tables, beside that of scikit-learn's forest over the same seeds.
//!
//! Rows take the way they take in a run: through the reservoir, raw, then encoded, fitted and scored.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Float32Type, Int64Type};
use ndarray::Array2;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rayon::prelude::*;

use super::{DetectSpec, EncodeError, PartitionedForest, Partitions, Reservoir};

fn folder() -> Option<PathBuf> {
    let shared = std::env::var_os("NETWEIR_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = shared.join("data/public/tables");
    if !folder.join("goldens.json").exists() {
        eprintln!("skipped: no tables in {}", folder.display());
        return None;
    }
    Some(folder)
}

/// Columns x0, x1, ... and whether a row is an anomaly.
fn read(folder: &Path, table: &str) -> (RecordBatch, Vec<bool>) {
    let file = File::open(folder.join(format!("{table}.parquet"))).unwrap();
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let rows = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    let labels = cast(rows.column_by_name("label").unwrap(), &DataType::Int64).unwrap();
    let labels = labels.as_primitive::<Int64Type>().values().iter().map(|label| *label == 1).collect();
    let columns =
        (0..).map_while(|i| Some((format!("x{i}"), rows.column_by_name(&format!("x{i}"))?.clone())));
    (RecordBatch::try_from_iter(columns).unwrap(), labels)
}

fn encode(rows: &RecordBatch) -> Result<Array2<f32>, EncodeError> {
    let columns: Vec<ArrayRef> =
        rows.columns().iter().map(|column| cast(column, &DataType::Float32)).collect::<Result<_, _>>()?;
    let columns: Vec<_> = columns.iter().map(|column| column.as_primitive::<Float32Type>()).collect();
    Ok(Array2::from_shape_fn((rows.num_rows(), columns.len()), |(i, j)| columns[j].value(i)))
}

fn only(rows: &RecordBatch, which: impl Fn(usize) -> bool) -> RecordBatch {
    let which: BooleanArray = (0..rows.num_rows()).map(|row| Some(which(row))).collect();
    filter_record_batch(rows, &which).unwrap()
}

/// The probability that an anomaly scores above a usual row, equal scores counting half.
fn roc_auc(scores: &[f64], anomalies: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut usual_below, mut pairs) = (0.0, 0.0);
    for ties in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let odd = ties.iter().filter(|row| anomalies[**row]).count() as f64;
        let usual = ties.len() as f64 - odd;
        pairs += odd * (usual_below + usual / 2.0);
        usual_below += usual;
    }
    pairs / (usual_below * (scores.len() as f64 - usual_below))
}

/// The mean over seeds of the ROC-AUC of forests fitted on `training`, scoring `rows`.
fn mean_roc_auc(training: &RecordBatch, rows: &RecordBatch, anomalies: &[bool], seeds: u64) -> f64 {
    let encoded = encode(rows).unwrap();
    let settings = DetectSpec { partition_by: "none".into(), ..DetectSpec::default() }.check().unwrap();
    let of_seed = |seed| {
        let mut reservoir = Reservoir::new(settings.reservoir(), seed);
        for start in (0..training.num_rows()).step_by(8192) {
            let batch = training.slice(start, 8192.min(training.num_rows() - start));
            let identities: Vec<_> = (start as u64..).map(|row| (0, row)).take(batch.num_rows()).collect();
            reservoir.observe(&batch, &Partitions::one("all", batch.num_rows()), &identities).unwrap();
        }
        let samples = reservoir.finish().unwrap();
        let forest = PartitionedForest::fit(&samples, &encode, &settings, seed).unwrap();
        let scores = forest.score(encoded.view(), &Partitions::one("all", rows.num_rows())).unwrap();
        roc_auc(&scores, anomalies)
    };
    (0..seeds).into_par_iter().map(of_seed).collect::<Vec<_>>().iter().sum::<f64>() / seeds as f64
}

fn assert_near(what: &str, mean: f64, golden: &serde_json::Value, column: &str) {
    let value = |name: &str| golden[format!("{column}_{name}")].as_f64().unwrap();
    let (expected, sd) = (value("mean"), value("sd"));
    println!(
        "{what} {column}: {mean:.6}, scikit-learn {expected} sd {sd}: {:+.2} sd",
        (mean - expected) / sd
    );
    assert!((mean - expected).abs() <= 3.0 * sd, "{what} {column}: {mean} is not near {expected} (sd {sd})");
}

#[test]
fn roc_auc_is_that_of_scikit_learn() {
    let Some(folder) = folder() else { return };
    let goldens = File::open(folder.join("goldens.json")).unwrap();
    let goldens: serde_json::Value = serde_json::from_reader(goldens).unwrap();
    for (table, golden) in goldens["tables"].as_object().unwrap() {
        let (rows, anomalies) = read(&folder, table);
        // The two large tables take their time: fewer seeds, unless all are asked for.
        let large = rows.num_rows() > 200_000 && std::env::var_os("NETWEIR_ALL_SEEDS").is_none();
        let seeds = if large { 3 } else { 10 };
        assert_near(table, mean_roc_auc(&rows, &rows, &anomalies, seeds), golden, "roc_auc");

        let fitted = |row: usize| !anomalies[row] && row.is_multiple_of(2);
        let (training, others) = (only(&rows, fitted), only(&rows, |row| !fitted(row)));
        let anomalies: Vec<bool> =
            anomalies.iter().enumerate().filter(|(row, _)| !fitted(*row)).map(|(_, odd)| *odd).collect();
        assert_near(table, mean_roc_auc(&training, &others, &anomalies, seeds), golden, "novelty_roc_auc");
    }
    let (training, anomalies) = read(&folder, "nsl_kdd_train20");
    let training = only(&training, |row| !anomalies[row]);
    let (rows, anomalies) = read(&folder, "nsl_kdd_test");
    let mean = mean_roc_auc(&training, &rows, &anomalies, 10);
    assert_near("train20 to test", mean, &goldens["nsl_kdd_train20_to_test"], "roc_auc");
}

#[test]
fn roc_auc_counts_ties_half() {
    assert_eq!(roc_auc(&[1.0, 2.0, 3.0, 4.0], &[false, false, true, true]), 1.0);
    assert_eq!(roc_auc(&[1.0, 1.0, 1.0], &[false, true, true]), 0.5);
    assert_eq!(roc_auc(&[3.0, 1.0, 2.0], &[false, true, true]), 0.0);
}
