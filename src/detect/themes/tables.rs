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
//! `theme` or `sum`) and `name` (text), `value` and `reached` (f64). What counts as it is has none.
//!
//! `tails`, a row for each group, theme, the sum, and the sum with what lasts: `part`, `name`, and the exponential that
//! continues it: where it begins, its mean, and -ln of the share of calibration values beyond (`from`, `mean`, `base`,
//! f64).
//!
//! What is read is not trusted: a table that no fit can have written is an error.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringDictionaryBuilder, UInt16Array, UInt64Array};
use arrow::datatypes::{Int16Type, UInt64Type};

use super::columns::columns;
use super::groups::{GROUPS, Measure, THEMES, measure, measure_of_theme};
use super::scale::Scale;
use crate::detect::calibration::{Steps, Tail};
use crate::detect::{DetectError, Lasting};
use crate::encode::{Blocks, Judgement, Kept, Past};
use crate::reading::{Damage, Table, Tables};

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

/// Whether rows do not say how rare what has this part and name is.
fn counts_as_it_is(part: &str, name: &str) -> bool {
    let measure = match part {
        "column" => columns().iter().find(|column| column.name == name).map(|column| measure(column.group)),
        "group" => GROUPS.iter().position(|group| *group == name).map(measure),
        "theme" => THEMES.iter().position(|(theme, _)| *theme == name).map(measure_of_theme),
        _ => None,
    };
    measure == Some(Measure::None)
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

pub(super) fn read_past(tables: &Tables) -> Result<(u64, Blocks, Past), Damage> {
    let (window, blocks) = read_blocks(Table::find(tables, BLOCKS)?)?;
    let judgements: Arc<[Judgement]> = columns().iter().map(|column| column.judged).collect();
    let past = Past::from_tables(judgements, blocks.total(), tables)?;
    Ok((window, blocks, past))
}

fn read_blocks(table: Table<'_>) -> Result<(u64, Blocks), Damage> {
    let wholes = |column: &str| Ok::<_, Damage>(table.numbers::<UInt64Type>(column)?.values().to_vec());
    let (starts, windows) = (wholes("first_window")?, wholes("windows")?);
    let (flags, apart) = (table.flags("late")?, table.flags("judged_apart")?);
    let lengths = wholes("window_ns")?;
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

pub(in crate::detect) fn read_scale(tables: &Tables) -> Result<Scale, Damage> {
    let (parts, ranked) = parts();
    let (ranks, tails) = read_parts(tables, [CALIBRATION, TAILS], &parts, ranked)?;
    let mut tails = tails.into_iter();
    let groups = tails.by_ref().take(GROUPS.len()).collect();
    let themes = tails.by_ref().take(THEMES.len()).collect();
    let mut sum = || tails.next().expect("the parts end with the sums");
    let (sum, lasting) = (sum(), Lasting { tail: sum(), newcomers: sum() });
    Ok(Scale { ranks, groups, themes, sum, lasting, met: Kept::default() })
}

/// From the tables of these names, which [`write_parts`] made.
///
/// # Errors
/// [`Damage`] for tables that are not of these parts.
pub(in crate::detect) fn read_parts(
    tables: &Tables,
    [calibration, tails]: [&'static str; 2],
    parts: &Parts,
    ranked: usize,
) -> Result<(Vec<Steps>, Vec<Tail>), Damage> {
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
        let damage = match counts_as_it_is(part, part_name) {
            true => (begin < at).then_some("what counts as it is has no steps"),
            false => read.damage(),
        };
        if let Some(what) = damage {
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
    let is_plain = |at: usize| (from[at], mean[at], base[at]) == (0.0, 1.0, 0.0);
    let of_none = |(at, (part, name)): (usize, &(&str, &str))| counts_as_it_is(part, name) && !is_plain(at);
    if !same || mean.iter().any(|mean| *mean <= 0.0) || expected.iter().enumerate().any(of_none) {
        return Err(tails.damaged("its rows are not those of one training"));
    }
    let continued = steps.split_off(ranked).into_iter().enumerate();
    let continued = continued.map(|(at, steps)| Tail::from_parts(steps, from[at], mean[at], base[at]));
    let tails = continued.collect();
    Ok((steps, tails))
}
