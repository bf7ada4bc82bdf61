//! The detector `themes`: how surprising is a row, given the past of those it is about?
//!
//! Each of 149 columns becomes -ln of its tail probability in the past of an entity ([`crate::encode::Past`]),
//! times the part of it that is the row's own doing; surprises are ranked among calibration rows, averaged (root
//! mean square) in 19 groups of like columns, groups summed in five themes, themes summed to the score. Groups,
//! themes and the score are -ln of their tails among the calibration rows, so a score above `-ln a` is as odd as
//! a share `a` of them. DETECTION.md says why and what it finds.
//!
//! - [`columns`]: what is judged. [`resolve`]: rows to buckets and weights.
//! - [`learning`]: one pass over rows; [`scale`]: what is learned from the calibration rows.
//! - [`tables`]: its form in the model file; [`reasons`]: why a row scores as it does.

mod columns;
mod learning;
mod reasons;
mod resolve;
mod scale;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use serde_json::{Map, Value, json};

pub(in crate::detect) use self::columns::context_columns;
use self::columns::{GROUPS, THEMES, columns};
pub(super) use self::learning::ThemesLearning;
pub use self::reasons::Reason;
use self::resolve::{Resolved, Resolver};
use self::scale::{Levels, Scale};
pub(super) use self::tables::TABLES;
use super::isolation::differs;
use super::outline::{Line, grouped, percent};
use super::{DetectError, DetectSettings, DetectSpec, Detector, Partitions, Scores};
use crate::encode::{Blocks, EncodeError, Found, Past, SHORTEST, Since, Subject};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What is usual, and how unusual calibration rows are.
#[derive(Debug)]
pub struct Themes {
    settings: DetectSettings,
    seed: u64,
    /// Length of windows in nanoseconds.
    window: u64,
    /// Columns that rows must have.
    fields: Vec<Field>,
    blocks: Blocks,
    past: Past,
    scale: Scale,
    /// Where the columns of the last rows lay.
    resolver: RwLock<Option<Arc<Resolver>>>,
}

/// The surprises of one row: -ln p of each column, times the row's part in it.
fn surprises(past: &Past, half: u64, rows: &Resolved, row: usize, into: &mut [f32]) -> Found {
    let found = past.find(&rows.parties[row]);
    let young = rows.firsts[row] >= half;
    let (buckets, weights) = (rows.buckets(row), rows.weights(row));
    for (at, column) in columns().iter().enumerate() {
        let judged = young || !matches!(column.judged.since, Since::Young(_));
        into[at] = match judged && weights[at] > 0.0 {
            true => (past.surprise(at, &found, buckets[at]) * f64::from(weights[at])) as f32,
            false => 0.0,
        };
    }
    found
}

impl Themes {
    /// Reads its tables.
    ///
    /// # Errors
    /// [`DetectError::Damaged`] names the table, or `settings` for what the manifest says.
    pub(super) fn read(
        spec: &DetectSpec,
        seed: u64,
        fields: &[Field],
        tables: &BTreeMap<String, RecordBatch>,
    ) -> Result<Themes, DetectError> {
        let damaged = |what: String| DetectError::Damaged { table: "settings".to_owned(), what };
        let settings = spec.check().map_err(|error| damaged(error.to_string()))?;
        // What is read from rows is asked for by name; types that cannot be read are refused here.
        let again =
            resolve::fields(&Schema::new(fields.to_vec())).map_err(|error| damaged(error.to_string()))?;
        if again != fields {
            return Err(damaged("its columns are not those that are judged".to_owned()));
        }
        let (window, blocks, past, scale) = tables::read(tables)?;
        let resolver = RwLock::default();
        Ok(Themes { settings, seed, window, fields: fields.to_vec(), blocks, past, scale, resolver })
    }

    /// How training was cut.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// What is usual.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// What is judged of rows.
    fn resolve(&self, rows: &RecordBatch) -> Result<Resolved, AnyError> {
        let known = self.resolver.read().unwrap_or_else(PoisonError::into_inner).clone();
        let resolver = match known.filter(|resolver| resolver.fits(rows.schema_ref())) {
            Some(resolver) => resolver,
            None => {
                let new = Arc::new(Resolver::new(rows.schema_ref())?);
                *self.resolver.write().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
                new
            }
        };
        Ok(resolver.resolve(rows, self.window)?)
    }

    /// Scores, and what they consist of.
    fn levels(&self, rows: &Resolved, row: usize, surprises: &mut [f32]) -> (Found, Levels) {
        let found = self::surprises(&self.past, self.blocks.half_starts(), rows, row, surprises);
        (found, self.scale.levels(surprises))
    }
}

impl Detector for Themes {
    fn score(&self, rows: &RecordBatch) -> Result<Scores, AnyError> {
        let resolved = self.resolve(rows)?;
        let mut surprises = vec![0.0; columns().len()];
        let scores: Vec<f64> =
            (0..rows.num_rows()).map(|row| self.levels(&resolved, row, &mut surprises).1.score).collect();
        let p_values = scores.iter().map(|score| libm::exp(-score)).collect();
        Ok(Scores { scores, p_values, partitions: Partitions::one("all", rows.num_rows()) })
    }

    fn threshold(&self) -> f64 {
        -libm::log(self.settings.share_above())
    }

    fn threshold_at(&self, false_alarm_rate: f64) -> Result<f64, DetectError> {
        Ok(-libm::log(false_alarm_rate))
    }

    fn check(&self, schema: &Schema) -> Result<(), EncodeError> {
        for expected in &self.fields {
            let found = schema.field_with_name(expected.name()).ok().map(Field::data_type);
            if found.map(resolve::remembered).as_ref() != Some(expected.data_type()) {
                return Err(differs(expected, found, schema));
            }
        }
        Ok(())
    }

    fn columns(&self) -> &[Field] {
        &self.fields
    }

    fn features(&self) -> usize {
        columns().len()
    }

    fn rows(&self) -> Option<u64> {
        self.past.rows()
    }

    fn settings(&self) -> (&DetectSpec, u64) {
        (self.settings.spec(), self.seed)
    }

    fn tables(&self) -> Result<Vec<(String, RecordBatch)>, DetectError> {
        tables::write(self.window, &self.blocks, &self.past, &self.scale)
    }

    fn reasons(&self, rows: &RecordBatch, which: &[usize]) -> Result<Vec<Reason>, AnyError> {
        let resolved = self.resolve(rows)?;
        let mut surprises = vec![0.0; columns().len()];
        Ok(which.iter().map(|row| reasons::reason(self, &resolved, *row, &mut surprises)).collect())
    }

    fn outline(&self) -> Vec<Line> {
        let field = |label: &str, text: String| Line::Field(label.to_owned(), text);
        let names = self.fields.iter().map(|field| field.name().clone()).collect();
        let windows = self.blocks.windows.iter().map(|windows| grouped(*windows)).collect::<Vec<_>>();
        let apart = match self.blocks.apart {
            true => format!(
                "{} blocks of {} windows, each judged by the others",
                windows.len(),
                windows.join(", ")
            ),
            false => format!(
                "{} windows are fewer than {}, two blocks: rows are judged by themselves too, and false \
                 alarms are more than promised; train on more",
                grouped(self.blocks.total()),
                2 * SHORTEST
            ),
        };
        let entities: Vec<String> = Subject::ALL
            .iter()
            .map(|subject| format!("{} {}", grouped(self.past.entities(*subject) as u64), subject.name()))
            .collect();
        vec![
            Line::Title(format!("Columns: {} read, {} judged", self.fields.len(), columns().len())),
            Line::Names("read".to_owned(), names),
            Line::Title(format!("Detector: {}", self.settings.spec().detector)),
            field("training", apart),
            Line::Names("entities".to_owned(), entities),
            field("baselines", format!("{} counts", grouped(self.past.counts() as u64))),
            field("calibration", format!("{} rows of the second half", grouped(self.scale.rows()))),
            field("themes", THEMES.map(|(name, _)| name).join(", ")),
            field(
                "anomaly",
                format!(
                    "score above {:.6} (-ln p), as {} % of rows like the training rows may",
                    self.threshold(),
                    percent(self.settings.share_above())
                ),
            ),
        ]
    }

    fn describe_json(&self) -> Map<String, Value> {
        let entities: Map<String, Value> = Subject::ALL
            .iter()
            .map(|subject| (subject.name().to_owned(), json!(self.past.entities(*subject))))
            .collect();
        let all = json!({
            "features": columns().iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
            "threshold": self.threshold(),
            "blocks": { "windows": self.blocks.windows, "apart": self.blocks.apart },
            "entities": entities,
            "counts": self.past.counts(),
            "calibration_rows": self.scale.rows(),
            "groups": GROUPS,
            "themes": THEMES.map(|(name, _)| name),
        });
        all.as_object().cloned().unwrap_or_default()
    }
}
