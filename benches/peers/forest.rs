//! Rows to scores: an Isolation Forest of 100 trees of 256 rows over 32 of the 64 columns of a Parquet table.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use ndarray::Array2;
use netweir::detect::Forest;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::cost::{Cost, run, spreads};
use crate::generate::SplitMix;
use crate::programs::{netweir, python, script};
use crate::{AnyError, Options};

const COLUMNS: usize = 32;
/// Rows of a row group, and of a step of making them.
const GROUP: usize = 1 << 17;

/// Sixteen kinds of rows, each around a centre of its own.
fn value(random: &mut SplitMix, kind: usize, column: usize) -> f64 {
    // The sum of four is near enough to a bell.
    let noise: f64 = (0..4).map(|_| (random.bits() >> 11) as f64 / (1u64 << 53) as f64 - 0.5).sum();
    ((kind * 7 + column * 13) % 16) as f64 + noise
}

/// Writes `rows` rows of x00 ... x31, which are scored, and y00 ... y31, which nobody asks for.
fn write(path: &Path, rows: usize) -> Result<(), AnyError> {
    let mut random = SplitMix(1);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(GROUP))
        .build();
    let mut writer = None;
    for begin in (0..rows).step_by(GROUP) {
        let kinds: Vec<usize> = (begin..rows.min(begin + GROUP)).map(|_| random.below(16) as usize).collect();
        let columns = (0..2 * COLUMNS).map(|column| {
            let values = kinds.iter().map(|&kind| value(&mut random, kind, column));
            let name = format!("{}{:02}", if column < COLUMNS { "x" } else { "y" }, column % COLUMNS);
            (name, Arc::new(Float64Array::from_iter_values(values)) as ArrayRef)
        });
        let batch = RecordBatch::try_from_iter(columns.collect::<Vec<_>>())?;
        if writer.is_none() {
            writer =
                Some(ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties.clone()))?);
        }
        writer.as_mut().ok_or("no rows were asked for")?.write(&batch)?;
    }
    writer.ok_or("no rows were asked for")?.close()?;
    Ok(())
}

/// Processor time of this thread in seconds.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn thread_time() -> f64 {
    // SAFETY: the pointer is to an owned value that outlives the call; an all-zero timespec is a valid one.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        time
    };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(not(target_os = "linux"))]
fn thread_time() -> f64 {
    f64::NAN
}

/// Processor seconds of scoring so many rows in memory by the forest that `netweir` grows.
fn scoring_alone(rows: usize, runs: usize) -> Result<Vec<f64>, AnyError> {
    let mut random = SplitMix(2);
    let kinds: Vec<usize> = (0..rows).map(|_| random.below(16) as usize).collect();
    let matrix =
        Array2::from_shape_fn((rows, COLUMNS), |(row, column)| value(&mut random, kinds[row], column) as f32);
    let forest = Forest::fit(matrix.view(), 100, 256, |tree| tree)?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let begin = thread_time();
        let scores = forest.score(matrix.view())?;
        times.push(thread_time() - begin);
        if scores.len() != rows {
            return Err("not every row has a score".into());
        }
    }
    Ok(times)
}

/// A program that scores the table.
struct Scorer {
    name: &'static str,
    command: Command,
    /// It prints its processor seconds of scoring alone.
    says_scoring: bool,
    costs: Vec<Cost>,
    scoring: Vec<f64>,
    failed: Option<String>,
}

impl Scorer {
    fn new(name: &'static str, command: Command, says_scoring: bool) -> Scorer {
        Scorer { name, command, says_scoring, costs: Vec::new(), scoring: Vec::new(), failed: None }
    }

    fn measure(&mut self, folder: &Path) -> Result<(), AnyError> {
        self.costs.push(run(&mut self.command, Stdio::null(), folder)?);
        if self.says_scoring {
            let said = std::fs::read_to_string(folder.join("said"))?;
            self.scoring.push(said.trim().lines().last().unwrap_or_default().parse()?);
        }
        Ok(())
    }
}

/// Scores the table by every program there is.
pub(crate) fn measure(options: &Options, folder: &Path) -> Result<(), AnyError> {
    let rows = options.scaled(1e6) as usize;
    let path = |name: &str| folder.join(name).display().to_string();
    let (table, taught, model, scores) =
        (path("table.parquet"), path("taught.parquet"), path("table.netweir"), path("scores.parquet"));
    write(table.as_ref(), rows)?;
    write(taught.as_ref(), rows.min(100_000))?;
    run(&mut netweir(&["train", "-p", "table", &taught, "-m", &model], 1), Stdio::null(), folder)?;

    let mut scorers = vec![Scorer::new(
        "netweir detect",
        netweir(&["detect", &table, "-m", &model, "-o", &scores], 1),
        false,
    )];
    for (module, name) in [("sklearn", "scikit-learn"), ("onnxruntime", "onnxruntime")] {
        if let Some(python) = python(module) {
            let mut command = script(&python, "score_forest.py");
            command.args([name, &table, &scores]);
            scorers.push(Scorer::new(name, command, true));
        }
    }
    for _ in 0..options.runs {
        for scorer in scorers.iter_mut().filter(|scorer| scorer.failed.is_none()) {
            scorer.failed = scorer.measure(folder).err().map(|error| error.to_string());
        }
    }
    scorers[0].scoring = scoring_alone(rows, options.runs)?;

    println!("\n{rows} rows of a Parquet table, 32 of its 64 columns, 100 trees x 256, one worker\n");
    println!(
        "| program | whole process: CPU s | wall s | peak MB | M rows / CPU s | scoring alone: M rows / CPU s |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for Scorer { name, costs, scoring, failed, .. } in &mut scorers {
        let Some([cpu, wall, memory]) = spreads(costs) else {
            println!("| {name} | not measured: {} |", failed.as_deref().unwrap_or("no round"));
            continue;
        };
        scoring.sort_by(f64::total_cmp);
        let alone = scoring.get(scoring.len() / 2);
        println!(
            "| {name} | {cpu} | {:.2} | {:.0} | {:.2} | {} |",
            wall.median,
            memory.most / 1e6,
            rows as f64 / cpu.median / 1e6,
            alone.map_or("-".to_owned(), |seconds| format!("{:.2}", rows as f64 / seconds / 1e6)),
        );
    }
    for file in [&table, &taught, &model] {
        std::fs::remove_file(file)?;
    }
    std::fs::remove_file(&scores)?;
    Ok(())
}
