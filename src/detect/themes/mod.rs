//! The detector `themes`: how surprising is a row, given the past of those it is about?
//!
//! Each of 154 columns becomes -ln of its tail probability in the past of an entity ([`crate::encode::Past`]),
//! times the part of it that is the row's own doing; surprises are ranked among calibration rows, averaged
//! in 23 groups of like columns, groups summed in seven themes, themes summed to the score. Groups,
//! themes and the score are -ln of their tails among the calibration rows (but for more rows alike than ever, which count
//! as they are), so a score above `-ln a` is as odd as a share `a` of them. What the windows before say of a row's
//! source, destination and service comes on top ([`lasting`](crate::detect::Lasting)).
//!
//! - [`columns`]: what is judged, [`groups`]: and as evidence for what. [`resolve`]: rows to buckets, [`greeting`]: how
//!   conversations begin; [`weigh`]: how much of a value is a row's own, [`rhythm`]: what regularities weigh;
//!   [`surprises`]: to surprises, which other detectors begin with too.
//! - [`learning`]: one pass over rows; [`suspects`]: calibration rows that are likely an attack; [`scale`]: what is
//!   learned from the others; [`newcomers`]: and from them as if nobody had known their sources.
//! - [`tables`]: its form in the model file; [`reasons`]: why a row scores as it does, [`breakdown`]: also by
//!   other detectors.

mod breakdown;
mod columns;
mod greeting;
mod groups;
mod learning;
mod newcomers;
mod reasons;
mod resolve;
mod rhythm;
mod scale;
mod surprises;
mod suspects;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod weigh;

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use serde_json::{Map, Value, json};

pub(in crate::detect) use self::breakdown::{Breakdown, ByColumn, by_column, by_group, by_themes};
pub(in crate::detect) use self::columns::WIDTH;
pub(in crate::detect) use self::columns::context_columns;
use self::columns::{Column, columns};
pub(in crate::detect) use self::groups::GROUPS;
use self::groups::THEMES;
pub(super) use self::learning::{Judged, SurprisesLearning, ThemesLearning};
use self::reasons::{Ranked, Row, Telling};
use self::resolve::{Resolved, Rows};
use self::scale::Grouped;
pub(in crate::detect) use self::scale::{Batch, Levels, Scale};
pub(in crate::detect) use self::surprises::{AT_ONCE, Surprises};
pub(in crate::detect) use self::tables::{
    Parts, SCALE, TABLES, read_parts, read_scale, write_parts, write_scale,
};
use super::outline::{Line, grouped, percent};
use super::{
    AnyError, DetectError, DetectSettings, DetectSpec, Detector, Kept, Lasting, Partitions, Reason, Scores,
    Threshold,
};
use crate::encode::{self, Crowd, EncodeError, Known};
use crate::reading::{Damage, Tables};

/// What is usual, and how unusual calibration rows are.
#[derive(Debug)]
pub struct Themes {
    settings: DetectSettings,
    seed: u64,
    surprises: Surprises,
    scale: Scale,
    /// What was found of both.
    known: encode::Kept<Known>,
    /// What is to be said of training when it ends; a model that was read does not know.
    suspects: Option<String>,
}

impl Themes {
    /// Reads its tables.
    ///
    /// # Errors
    /// What is damaged of them, or of what the manifest says.
    pub(super) fn read(
        spec: &DetectSpec,
        seed: u64,
        fields: &[Field],
        tables: &Tables,
    ) -> Result<Themes, Damage> {
        let settings = spec.check().map_err(Damage::of_settings)?;
        let surprises = Surprises::read(fields, tables)?;
        let (scale, known) = (read_scale(tables)?, encode::Kept::default());
        Ok(Themes { settings, seed, surprises, scale, known, suspects: None })
    }

    /// Judges rows of a crowd that are few enough to be judged at once.
    fn judge_some(&self, rows: &Rows<'_>, some: Range<usize>, crowd: Crowd) -> Verdicts {
        let from = some.start;
        let mut sums = Grouped::new(some.len());
        let mut resolved = rows.resolve(some);
        let add = |column: &Column, ranks: &[f64]| sums.add(column, ranks.iter().copied());
        let rank = |at: usize, surprise: f32| self.scale.rank(at, surprise);
        let surprises = self.surprises.follow((&mut resolved, &crowd), rank, &self.known, add);
        let levels = self.scale.levels_added(sums).collect();
        Verdicts { from, resolved, crowd, surprises, levels }
    }

    /// Scores rows, and gives what was judged at once, one after the other: rows for whom the same is usual follow one
    /// another. Also their places in that order.
    fn judge_each(
        &self,
        rows: &RecordBatch,
        mut each: impl FnMut(Verdicts),
    ) -> Result<(Scores, Vec<u32>), AnyError> {
        let count = rows.num_rows();
        let rows = self.surprises.read_rows(rows)?;
        let crowd = self.surprises.past.find_all(rows.parties().iter());
        let order = crowd.ordered();
        let rows = rows.chosen(order.clone());
        let mut scores = vec![0.0; count];
        let mut newcomers = vec![[false; 2]; count];
        for (at, some) in order.chunks(AT_ONCE).enumerate() {
            let from = at * AT_ONCE;
            let judged = self.judge_some(&rows, from..from + some.len(), crowd.some(some));
            let of_rows = judged.levels.iter().zip(surprises::newcomers(&judged.crowd, &judged.resolved));
            for (row, (levels, of_row)) in some.iter().zip(of_rows) {
                scores[*row as usize] = levels.score;
                newcomers[*row as usize] = of_row;
            }
            each(judged);
        }
        let p_values = scores.iter().map(|score| libm::exp(-score)).collect();
        let mut places = vec![0; count];
        (0..).zip(order).for_each(|(place, row)| places[row as usize] = place);
        let partitions = Partitions::one("all", count);
        Ok((Scores { scores, p_values, partitions, newcomers }, places))
    }
}

/// Rows that were judged at once.
struct Verdicts {
    /// The place of the first.
    from: usize,
    resolved: Resolved,
    crowd: Crowd,
    surprises: Batch,
    levels: Vec<Levels>,
}

/// What is kept of judged rows.
struct Remembered {
    /// By the place of the first of each.
    verdicts: BTreeMap<usize, Verdicts>,
    /// The place of each row.
    places: Vec<u32>,
}

impl Remembered {
    /// What a row was judged with, and its place there.
    fn of(&self, row: usize) -> Option<(&Verdicts, usize)> {
        let place = *self.places.get(row)? as usize;
        let judged = self.verdicts.get(&(place / AT_ONCE * AT_ONCE))?;
        Some((judged, place - judged.from))
    }
}

/// A threshold for so rare rows that less than this part of a calibration row is as odd rests on the continuation of the
/// tail alone.
const LEAST_ROWS: f64 = 0.1;

/// What a threshold lacks that has few calibration rows to rest on.
pub(in crate::detect) fn few(rows: u64, threshold: Threshold) -> Option<String> {
    let share = threshold.share_above();
    (share > 0.0 && share * (rows as f64) < LEAST_ROWS).then(|| {
        format!(
            "{} calibration rows are few for false alarms of {} %: p-values allow for that, and less is found; train \
             on more",
            grouped(rows),
            percent(share)
        )
    })
}

impl Detector for Themes {
    fn score(&self, rows: &RecordBatch) -> Result<Scores, AnyError> {
        Ok(self.judge_each(rows, |_| {})?.0)
    }

    fn judge(&self, rows: &RecordBatch) -> Result<(Scores, Option<Kept>), AnyError> {
        let threshold = self.threshold();
        let mut verdicts: BTreeMap<usize, Verdicts> = BTreeMap::new();
        let (scores, places) = self.judge_each(rows, |mut judged| {
            // Next to one that is odd by itself there are more, or it is the only one; the rest is judged again if need be.
            if judged.levels.iter().any(|levels| levels.score > threshold) {
                judged.resolved.forget_weights();
                verdicts.insert(judged.from, judged);
            }
        })?;
        Ok((scores, Some(Box::new(Remembered { verdicts, places }))))
    }

    fn lasting(&self) -> Option<&Lasting> {
        Some(&self.scale.lasting)
    }

    fn threshold(&self) -> f64 {
        let share = self.settings.threshold().share_above();
        self.threshold_at(share).unwrap_or_else(|_| -libm::log(share))
    }

    fn threshold_at(&self, false_alarm_rate: f64) -> Result<f64, DetectError> {
        self.scale.lasting.tail.threshold_at(false_alarm_rate)
    }

    fn check(&self, schema: &Schema) -> Result<(), EncodeError> {
        self.surprises.check(schema)
    }

    fn columns(&self) -> &[Field] {
        &self.surprises.fields
    }

    fn features(&self) -> usize {
        columns().len()
    }

    fn rows(&self) -> Option<u64> {
        self.surprises.past.rows()
    }

    fn settings(&self) -> (&DetectSpec, u64) {
        (self.settings.spec(), self.seed)
    }

    fn tables(&self) -> Result<Vec<(String, RecordBatch)>, DetectError> {
        let mut tables = self.surprises.tables()?;
        tables.extend(write_scale(&self.scale)?);
        tables.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(tables)
    }

    fn reasons(
        &self,
        rows: &RecordBatch,
        kept: Option<&Kept>,
        which: &[usize],
        tell: &mut dyn FnMut(usize, Reason),
    ) -> Result<(), AnyError> {
        let resolver = &*self.surprises.resolver(rows)?;
        let mut telling = Telling::new(&self.surprises.past, rows, resolver);
        let mut loudness = Ranked::new(&self.scale);
        let kept = kept.and_then(|kept| kept.downcast_ref::<Remembered>());
        let known = |row: &usize| kept.and_then(|kept| kept.of(*row));
        // The others are judged again.
        let others: Vec<u32> =
            which.iter().filter(|row| known(row).is_none()).map(|row| *row as u32).collect();
        let again = match others.is_empty() {
            true => None,
            false => Some(self.surprises.read_rows(rows)?.chosen(others)),
        };
        let mut next = 0;
        let mut judged_again: Option<Verdicts> = None;
        for row in which {
            let (judged, place) = match (known(row), &again) {
                (Some(known), _) => known,
                (None, Some(again)) => {
                    let from = next / AT_ONCE * AT_ONCE;
                    if next == from {
                        let parties = again.parties();
                        let some = from..parties.len().min(from + AT_ONCE);
                        let crowd = self.surprises.past.find_all(parties[some.clone()].iter());
                        judged_again = Some(self.judge_some(again, some, crowd));
                    }
                    next += 1;
                    let judged =
                        judged_again.as_ref().expect("the first of those judged at once comes first");
                    (judged, next - 1 - from)
                }
                (None, None) => continue,
            };
            tell(*row, telling.reason(&Row::new((judged, place), *row), &mut loudness));
        }
        Ok(())
    }

    fn outline(&self) -> Vec<Line> {
        let field = |label: &str, text: String| Line::Field(label.to_owned(), text);
        let mut lines = self.surprises.outline_columns();
        lines.push(Line::Title(format!("Detector: {}", self.settings.spec().detector)));
        lines.extend(self.surprises.outline_past());
        lines.extend([
            field("calibration", format!("{} rows of the late blocks", grouped(self.scale.rows()))),
            field("themes", THEMES.map(|(name, _)| name).join(", ")),
            field(
                "anomaly",
                format!(
                    "score above {:.6} (-ln p), as {} % of rows like the training rows may",
                    self.threshold(),
                    percent(self.settings.threshold().share_above())
                ),
            ),
        ]);
        if self.surprises.note().is_none() {
            lines.extend(few(self.scale.rows(), self.settings.threshold()).map(Line::Text));
        }
        lines
    }

    fn describe_json(&self) -> Map<String, Value> {
        let mut all = self.surprises.describe_json();
        let more = json!({
            "threshold": self.threshold(),
            "calibration_rows": self.scale.rows(),
            "groups": GROUPS,
            "themes": THEMES.map(|(name, _)| name),
        });
        all.extend(more.as_object().cloned().unwrap_or_default());
        all
    }

    fn notes(&self) -> Vec<String> {
        let few = || few(self.scale.rows(), self.settings.threshold());
        self.surprises.note().or_else(few).into_iter().chain(self.suspects.clone()).collect()
    }
}
