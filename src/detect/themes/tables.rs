//! `themes` as tables of the model file, and back.
//!
//! Of what every detector over surprises has, beside `baselines` and `entities`, which are the past's own:
//!
//! `blocks`, a row for each block of training: `first_window` and `windows` (u64); 0 or 1 (u16) for whether it is of
//! the `late` ones and whether its rows were `judged_apart`, by the other blocks; `window_ns` (u64), the length of
//! windows.
//!
//! Of the scale of `themes`:
//!
//! `calibration`, steps of how many calibration rows reach a value, in growing order: `part` (`column`, `group`,
//! `theme` or `sum`) and `name` (text), `value` and `reached` (f64).
//!
//! `tails`, a row for each group, theme, the sum, and the sum with what lasts: `part`, `name`, and the exponential that
//! continues it: where it begins, its mean, and -ln of the share of calibration values beyond (`from`, `mean`, `base`,
//! f64).
//!
//! What is read is not trusted: a table that no fit can have written is an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, StringDictionaryBuilder, UInt16Array,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int16Type, UInt16Type, UInt64Type};

use super::columns::{GROUPS, THEMES, columns};
use super::scale::Scale;
use crate::detect::calibration::{Steps, Tail};
use crate::detect::{DetectError, Lasting};
use crate::encode::{Blocks, Judgement, Kept, Past};

/// The tables of what every detector over surprises has.
pub(in crate::detect) const TABLES: [&str; 3] = [BASELINES, BLOCKS, ENTITIES];

/// The tables of the scale of `themes`.
pub(in crate::detect) const SCALE: [&str; 2] = [CALIBRATION, TAILS];

const BASELINES: &str = "baselines";
const BLOCKS: &str = "blocks";
const CALIBRATION: &str = "calibration";
const ENTITIES: &str = "entities";
const TAILS: &str = "tails";

/// What steps and tails are of, by part and name.
pub(in crate::detect) type Parts = Vec<(&'static str, &'static str)>;

/// Part and name of a row's own score, of it with what lasts, and of that where sources were never seen.
const SUMS: [(&str, &str); 3] = [("sum", "score"), ("sum", "lasting"), ("sum", "newcomers")];

/// Part and name of everything that has steps, and how many of them have no tail: the columns, which are first.
fn parts() -> (Parts, usize) {
    let columns = columns().iter().map(|column| ("column", column.name.as_str()));
    let groups = GROUPS.iter().map(|group| ("group", *group));
    let themes = THEMES.iter().map(|(theme, _)| ("theme", *theme));
    let all: Vec<_> = columns.chain(groups).chain(themes).chain(SUMS).collect();
    (all, super::columns().len())
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    let mut texts = StringDictionaryBuilder::<Int16Type>::new();
    values.for_each(|value| texts.append_value(value));
    Arc::new(texts.finish())
}

fn flags(values: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(UInt16Array::from_iter_values(values.map(u16::from)))
}

fn floats(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

pub(super) fn write_past(
    window: u64,
    blocks: &Blocks,
    past: &Past,
) -> Result<Vec<(String, RecordBatch)>, DetectError> {
    let [entities, baselines] = past.tables()?;
    let count = blocks.starts.len();
    let of_blocks: Vec<(&str, ArrayRef, bool)> = vec![
        ("first_window", Arc::new(UInt64Array::from(blocks.starts.clone())), false),
        ("windows", Arc::new(UInt64Array::from(blocks.windows.clone())), false),
        ("late", flags((0..count).map(|at| at >= blocks.late)), false),
        ("judged_apart", flags((0..count).map(|_| blocks.apart)), false),
        ("window_ns", Arc::new(UInt64Array::from(vec![window; count])), false),
    ];
    Ok(vec![
        (BASELINES.to_owned(), baselines),
        (BLOCKS.to_owned(), RecordBatch::try_from_iter_with_nullable(of_blocks)?),
        (ENTITIES.to_owned(), entities),
    ])
}

pub(in crate::detect) fn write_scale(scale: &Scale) -> Result<Vec<(String, RecordBatch)>, DetectError> {
    let sums = [&scale.sum, &scale.lasting.tail, &scale.lasting.newcomers];
    let tails: Vec<&Tail> = scale.groups.iter().chain(&scale.themes).chain(sums).collect();
    let ranks: Vec<&Steps> = scale.ranks.iter().collect();
    let [calibration, of_tails] = write_parts(&parts().0, &ranks, &tails)?;
    Ok(vec![(CALIBRATION.to_owned(), calibration), (TAILS.to_owned(), of_tails)])
}

/// Steps, and tails with their steps, as the two tables that hold them; `parts` names the steps first.
pub(in crate::detect) fn write_parts(
    parts: &Parts,
    ranks: &[&Steps],
    tails: &[&Tail],
) -> Result<[RecordBatch; 2], DetectError> {
    let ranked = ranks.len();
    let steps: Vec<&Steps> = ranks.iter().copied().chain(tails.iter().map(|tail| &tail.steps)).collect();
    let each = || parts.iter().zip(&steps);
    let part = each().flat_map(|((part, _), steps)| std::iter::repeat_n(*part, steps.values.len()));
    let name = each().flat_map(|((_, name), steps)| std::iter::repeat_n(*name, steps.values.len()));
    let calibration: Vec<(&str, ArrayRef, bool)> = vec![
        ("part", texts(part), false),
        ("name", texts(name), false),
        ("value", floats(steps.iter().flat_map(|steps| steps.values.iter().copied())), false),
        ("reached", floats(steps.iter().flat_map(|steps| steps.reached.iter().copied())), false),
    ];
    let of_tails: Vec<(&str, ArrayRef, bool)> = vec![
        ("part", texts(parts[ranked..].iter().map(|(part, _)| *part)), false),
        ("name", texts(parts[ranked..].iter().map(|(_, name)| *name)), false),
        ("from", floats(tails.iter().map(|tail| tail.from)), false),
        ("mean", floats(tails.iter().map(|tail| tail.mean)), false),
        ("base", floats(tails.iter().map(|tail| tail.base)), false),
    ];
    Ok([
        RecordBatch::try_from_iter_with_nullable(calibration)?,
        RecordBatch::try_from_iter_with_nullable(of_tails)?,
    ])
}

/// A table whose columns are asked for by name and type.
struct Table<'a> {
    name: &'static str,
    rows: &'a RecordBatch,
}

impl<'a> Table<'a> {
    fn find(tables: &'a BTreeMap<String, RecordBatch>, name: &'static str) -> Result<Table<'a>, DetectError> {
        let missing =
            || DetectError::Damaged { table: name.to_owned(), what: "the table is missing".to_owned() };
        Ok(Table { name, rows: tables.get(name).ok_or_else(missing)? })
    }

    fn damaged(&self, what: impl Into<String>) -> DetectError {
        DetectError::Damaged { table: self.name.to_owned(), what: what.into() }
    }

    fn column(&self, column: &str) -> Result<&'a ArrayRef, DetectError> {
        let found = self.rows.column_by_name(column);
        let found = found.ok_or_else(|| self.damaged(format!("column `{column}` is missing")))?;
        match found.null_count() {
            0 => Ok(found),
            _ => Err(self.damaged(format!("column `{column}` has nulls"))),
        }
    }

    fn wholes(&self, column: &str) -> Result<&'a [u64], DetectError> {
        let values = self.column(column)?.as_primitive_opt::<UInt64Type>();
        Ok(values.ok_or_else(|| self.damaged(format!("column `{column}` is not UInt64")))?.values())
    }

    fn floats(&self, column: &str) -> Result<&'a [f64], DetectError> {
        let values = self.column(column)?.as_primitive_opt::<Float64Type>();
        let values =
            values.ok_or_else(|| self.damaged(format!("column `{column}` is not Float64")))?.values();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(self.damaged(format!("column `{column}` is not finite"))),
        }
    }

    fn flags(&self, column: &str) -> Result<Vec<bool>, DetectError> {
        let values = self.column(column)?.as_primitive_opt::<UInt16Type>();
        let values = values.ok_or_else(|| self.damaged(format!("column `{column}` is not UInt16")))?.values();
        match values.iter().all(|value| *value < 2) {
            true => Ok(values.iter().map(|value| *value == 1).collect()),
            false => Err(self.damaged(format!("column `{column}` is not 0 or 1"))),
        }
    }

    fn texts(&self, column: &str) -> Result<StringArray, DetectError> {
        let values = self.column(column)?;
        let text = match values.data_type() {
            DataType::Dictionary(_, value) => value.is_string(),
            other => other.is_string(),
        };
        if !text {
            return Err(self.damaged(format!("column `{column}` is not text")));
        }
        let values = cast(values, &DataType::Utf8)?.as_string::<i32>().clone();
        match values.null_count() {
            0 => Ok(values),
            _ => Err(self.damaged(format!("column `{column}` has nulls"))),
        }
    }
}

pub(super) fn read_past(tables: &BTreeMap<String, RecordBatch>) -> Result<(u64, Blocks, Past), DetectError> {
    let (window, blocks) = read_blocks(&Table::find(tables, BLOCKS)?)?;
    let judgements: Arc<[Judgement]> = columns().iter().map(|column| column.judged).collect();
    let (entities, baselines) = (Table::find(tables, ENTITIES)?.rows, Table::find(tables, BASELINES)?.rows);
    let past = Past::from_tables(judgements, blocks.total(), entities, baselines)
        .map_err(|(table, what)| DetectError::Damaged { table: table.to_owned(), what })?;
    Ok((window, blocks, past))
}

fn read_blocks(table: &Table<'_>) -> Result<(u64, Blocks), DetectError> {
    let (starts, windows) = (table.wholes("first_window")?.to_vec(), table.wholes("windows")?.to_vec());
    let (flags, apart) = (table.flags("late")?, table.flags("judged_apart")?);
    let lengths = table.wholes("window_ns")?;
    let Some((window, apart)) = lengths.first().zip(apart.first()) else {
        return Err(table.damaged("there is no block"));
    };
    let late = flags.iter().filter(|flag| !**flag).count();
    let one = flags.iter().enumerate().all(|(at, flag)| *flag == (at >= late)) && late < flags.len();
    let grow = starts.windows(2).all(|pair| pair[0] < pair[1]);
    let counted = windows.iter().try_fold(0u64, |sum, windows| sum.checked_add(*windows)).is_some();
    if *window == 0 || !one || !grow || !counted || lengths.iter().any(|length| length != window) {
        return Err(table.damaged("its rows are not those of one training"));
    }
    Ok((*window, Blocks { starts, windows, late, apart: *apart }))
}

pub(in crate::detect) fn read_scale(tables: &BTreeMap<String, RecordBatch>) -> Result<Scale, DetectError> {
    let (mut parts, ranked) = parts();
    // Models that were made before there was a tail of newcomers hold them against that of all.
    let names = Table::find(tables, CALIBRATION)?.texts("name")?;
    if names.iter().next_back() != Some(Some(SUMS[2].1)) {
        parts.pop();
    }
    let (ranks, tails) = read_parts(tables, [CALIBRATION, TAILS], &parts, ranked)?;
    let mut tails = tails.into_iter();
    let groups = tails.by_ref().take(GROUPS.len()).collect();
    let themes = tails.by_ref().take(THEMES.len()).collect();
    let mut sum = || tails.next().expect("the parts end with the sums");
    let (sum, tail) = (sum(), sum());
    let newcomers = tails.next().unwrap_or_else(|| tail.clone());
    let lasting = Lasting { tail, newcomers };
    Ok(Scale { ranks, groups, themes, sum, lasting, met: Kept::default() })
}

/// From the tables of these names, which [`write_parts`] made.
///
/// # Errors
/// [`DetectError::Damaged`] for tables that are not of these parts.
pub(in crate::detect) fn read_parts(
    tables: &BTreeMap<String, RecordBatch>,
    [calibration, tails]: [&'static str; 2],
    parts: &Parts,
    ranked: usize,
) -> Result<(Vec<Steps>, Vec<Tail>), DetectError> {
    let (calibration, tails) = (Table::find(tables, calibration)?, Table::find(tables, tails)?);
    let (of, name) = (calibration.texts("part")?, calibration.texts("name")?);
    let (values, reached) = (calibration.floats("value")?, calibration.floats("reached")?);
    let mut steps = Vec::with_capacity(parts.len());
    let mut at = 0;
    for (part, part_name) in parts {
        let begin = at;
        while at < values.len() && of.value(at) == *part && name.value(at) == *part_name {
            at += 1;
        }
        let read = Steps::from_parts(values[begin..at].to_vec(), reached[begin..at].to_vec());
        if let Some(what) = read.damage() {
            return Err(calibration.damaged(format!("{part} {part_name}: {what}")));
        }
        steps.push(read);
    }
    if at != values.len() {
        return Err(calibration.damaged(format!("row {at} is out of place")));
    }
    let (of, name) = (tails.texts("part")?, tails.texts("name")?);
    let (from, mean, base) = (tails.floats("from")?, tails.floats("mean")?, tails.floats("base")?);
    let expected = &parts[ranked..];
    let same = of.iter().zip(&name).eq(expected.iter().map(|(part, name)| (Some(*part), Some(*name))));
    if !same || mean.iter().any(|mean| *mean <= 0.0) {
        return Err(tails.damaged("its rows are not those of one training"));
    }
    let continued = steps.split_off(ranked).into_iter().enumerate();
    let continued = continued.map(|(at, steps)| Tail::from_parts(steps, from[at], mean[at], base[at]));
    let tails = continued.collect();
    Ok((steps, tails))
}
