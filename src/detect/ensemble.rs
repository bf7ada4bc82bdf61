//! Detectors over surprises that are not `themes` alone: `sum`, `forest` with `inputs = "surprise"` or `"groups"`, and
//! `ensemble`, the sum of several.
//!
//! All begin with the same [`Surprises`]. A member gives a row one number, whose tail among the calibration rows is
//! what it says in nats; the tails are summed (Fisher's way), and of a sum of several the tail is taken again. So all
//! scores are -ln of a p-value. Calibration rows are training rows of the late blocks: their surprises are by other
//! minutes of training, and a forest's number for them is by trees that were grown from the rows of other blocks of
//! them (of at least [`SHORTEST`] / 2 windows where there are so many).
//!
//! Tables, beside those of the surprises and the scale ([`super::themes`]) and, under other names, of a forest
//! ([`FOREST`]): `member_calibration` and `member_tails`, of the same form as `calibration` and `tails` of `themes`,
//! a part for each member and, where there are several, for their sum.

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, Schema};
use ndarray::{Array2, ArrayView1, Axis};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::calibration::Tail;
use super::member::{Inputs, Member};
use super::outline::{Line, grouped, percent};
use super::themes::{
    AT_ONCE, Batch, Breakdown, ByColumn, GROUPS, Judged, Levels, Parts, Scale, Surprises, SurprisesLearning,
    WIDTH, by_column, by_group, by_themes, few, read_parts, read_scale, write_parts, write_scale,
};
use super::{
    AnyError, DetectError, DetectSettings, DetectSpec, Detector, Identity, Kept, PartitionBy,
    PartitionedForest, Partitions, Reason, Scores, Threshold, partitions,
};
use crate::encode::{EncodeError, FEWEST, SHORTEST};
use crate::reading::{Damage, Tables};

/// What one column adds to a sum of surprises at most, in nats.
const CAP: f32 = 10.0;

/// Tables of a forest, by the name that it gives them and the name that they have here.
pub(super) const FOREST: [(&str, &str); 3] =
    [("forest", "forest"), ("calibration", "forest_calibration"), ("tail", "forest_tail")];

/// Tables of the tails of members.
pub(super) const TAILS: [&str; 2] = ["member_calibration", "member_tails"];

/// Members over the same surprises.
#[derive(Debug)]
pub struct Ensemble {
    settings: DetectSettings,
    seed: u64,
    surprises: Surprises,
    parts: Scales,
    /// Of each member's numbers.
    tails: Vec<Tail>,
    /// Of the sum of their tails, where there are several.
    sum: Option<Tail>,
}

/// What members say of rows, and what they are given of them.
struct JudgedRows {
    partitions: Partitions,
    surprises: Array2<f32>,
    levels: Vec<Levels>,
    inputs: Array2<f32>,
    /// Of each member, of each row.
    numbers: Vec<Vec<f64>>,
}

/// What gives a row its numbers, from its surprises.
#[derive(Debug)]
struct Scales {
    members: Vec<Member>,
    inputs: Inputs,
    scale: Option<Scale>,
    forest: Option<PartitionedForest>,
}

impl Scales {
    /// What `sum` and `forest` are given.
    fn inputs(&self, surprises: &Array2<f32>, levels: &[Levels]) -> Array2<f32> {
        match self.inputs {
            Inputs::Groups => Array2::from_shape_fn((levels.len(), GROUPS.len()), |(row, group)| {
                levels[row].groups[group] as f32
            }),
            _ => surprises.clone(),
        }
    }

    fn levels(&self, surprises: &Array2<f32>) -> Vec<Levels> {
        let Some(scale) = &self.scale else { return Vec::new() };
        let some = surprises.axis_chunks_iter(Axis(0), AT_ONCE).map(Batch::of);
        some.flat_map(|some| scale.levels(&some).collect::<Vec<_>>()).collect()
    }

    /// The number that each member has for each row; a forest's are not asked of it where they are given.
    fn numbers(
        &self,
        inputs: &Array2<f32>,
        levels: &[Levels],
        of_forest: impl FnOnce(&PartitionedForest) -> Result<Vec<f64>, DetectError>,
    ) -> Result<Vec<Vec<f64>>, DetectError> {
        let mut of_forest = Some(of_forest);
        let number = |member: &Member| match member {
            Member::Themes => Ok(levels.iter().map(|levels| levels.score).collect()),
            Member::Sum => Ok(inputs.rows().into_iter().map(capped_sum).collect()),
            Member::Forest => {
                let forest = self.forest.as_ref().zip(of_forest.take());
                forest.map_or(Ok(Vec::new()), |(forest, of_forest)| of_forest(forest))
            }
        };
        self.members.iter().map(number).collect()
    }

    fn width(inputs: Inputs) -> usize {
        if inputs == Inputs::Groups { GROUPS.len() } else { WIDTH }
    }
}

fn capped_sum(row: ArrayView1<'_, f32>) -> f64 {
    row.iter().map(|nats| f64::from(nats.min(CAP))).sum()
}

/// What is learned of rows for it.
pub(super) struct EnsembleLearning(SurprisesLearning);

impl EnsembleLearning {
    pub(super) fn new(
        detect: &DetectSettings,
        seed: u64,
        schema: &Schema,
    ) -> Result<EnsembleLearning, DetectError> {
        SurprisesLearning::new(detect, partitioned_by(detect), seed, schema).map(EnsembleLearning)
    }

    pub(super) fn observe(&mut self, rows: &RecordBatch, identities: &[Identity]) -> Result<(), DetectError> {
        self.0.observe(rows, identities)
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.columns()
    }

    pub(super) fn rows(&self) -> u64 {
        self.0.rows()
    }

    pub(super) fn merge(&mut self, other: EnsembleLearning) -> Result<(), DetectError> {
        self.0.merge(other.0)
    }

    pub(super) fn finish(self, detect: &DetectSettings, seed: u64) -> Result<Ensemble, DetectError> {
        let (surprises, judged) = self.0.finish(None)?;
        let Judged { samples, surprises: matrices, .. } = &judged;
        let spec = detect.spec();
        let mut parts = Scales {
            members: spec.members(),
            inputs: spec.inputs().unwrap_or(Inputs::Surprise),
            scale: spec.has_scale().then(|| judged.scale().0),
            forest: None,
        };
        let levels: Vec<Vec<Levels>> = matrices.par_iter().map(|rows| parts.levels(rows)).collect();
        let inputs: Vec<Array2<f32>> =
            matrices.iter().zip(&levels).map(|(rows, levels)| parts.inputs(rows, levels)).collect();
        let mut held_out: Vec<Vec<f64>> = vec![Vec::new(); inputs.len()];
        if parts.members.contains(&Member::Forest) {
            let settings = of_forest(spec)?;
            let (forest, scores) =
                PartitionedForest::grow(samples, &inputs, &settings, seed, SHORTEST.div_ceil(2))?;
            (parts.forest, held_out) = (Some(forest), scores);
        }
        let of_partitions = inputs.iter().zip(&levels).zip(held_out);
        let numbers: Vec<Vec<Vec<f64>>> = of_partitions
            .map(|((inputs, levels), held_out)| parts.numbers(inputs, levels, |_| Ok(held_out)))
            .collect::<Result<_, _>>()?;
        // Of the sample over all rows, in which each row stands for as many.
        let calibration = |member: usize| -> Vec<f64> {
            samples
                .all
                .iter()
                .map(|(partition, row)| numbers[*partition as usize][member][*row as usize])
                .collect()
        };
        let all: Vec<Vec<f64>> = (0..parts.members.len()).map(calibration).collect();
        let several = all.len() > 1;
        let tail = if several { Tail::of } else { Tail::predicting };
        let tails: Vec<Tail> = all.iter().map(|numbers| tail(&mut numbers.clone())).collect();
        let sum = several.then(|| {
            let rows = 0..samples.all.len();
            let sum = |row| summed(&tails, |member| all[member][row]);
            Tail::predicting(&mut rows.map(sum).collect::<Vec<_>>())
        });
        Ok(Ensemble { settings: detect.clone(), seed, surprises, parts, tails, sum })
    }
}

/// The sum of the members' tails.
fn summed(tails: &[Tail], number: impl Fn(usize) -> f64) -> f64 {
    tails.iter().enumerate().map(|(member, tail)| tail.nats(number(member))).sum()
}

/// What separates rows: only forests ask for it.
fn partitioned_by(detect: &DetectSettings) -> PartitionBy {
    match detect.spec().members().contains(&Member::Forest) {
        true => detect.partition_by().clone(),
        false => PartitionBy::None,
    }
}

/// Settings of the forest: its own threshold is never used, and must not ask for more rows than there are.
fn of_forest(spec: &DetectSpec) -> Result<DetectSettings, DetectError> {
    spec.clone().with_threshold(Threshold::Contamination(0.01)).check()
}

/// Names of what has a tail.
fn named(members: &[Member]) -> Parts {
    let mut parts: Parts = members.iter().map(|member| ("member", member.name())).collect();
    if members.len() > 1 {
        parts.push(("sum", "score"));
    }
    parts
}

impl Ensemble {
    /// Reads its tables.
    ///
    /// # Errors
    /// What is damaged of them, or of what the manifest says.
    pub(super) fn read(
        spec: &DetectSpec,
        seed: u64,
        fields: &[Field],
        tables: &Tables,
    ) -> Result<Ensemble, Damage> {
        let settings = spec.check().map_err(Damage::of_settings)?;
        let surprises = Surprises::read(fields, tables)?;
        let (members, inputs) = (spec.members(), spec.inputs().unwrap_or(Inputs::Surprise));
        let forest = match members.contains(&Member::Forest) {
            true => Some(read_forest(spec, seed, Scales::width(inputs), tables)?),
            false => None,
        };
        let scale = spec.has_scale().then(|| read_scale(tables)).transpose()?;
        let (_, mut tails) = read_parts(tables, TAILS, &named(&members), 0)?;
        let sum = (members.len() > 1).then(|| tails.pop()).flatten();
        let parts = Scales { members, inputs, scale, forest };
        Ok(Ensemble { settings, seed, surprises, parts, tails, sum })
    }

    /// What members say of rows.
    fn judged(&self, rows: &RecordBatch) -> Result<JudgedRows, AnyError> {
        let partitions = match self.parts.forest {
            Some(_) => partitions(rows, self.settings.partition_by())?,
            None => Partitions::one("all", rows.num_rows()),
        };
        let surprises = self.surprises.matrix(rows)?;
        let levels = self.parts.levels(&surprises);
        let inputs = self.parts.inputs(&surprises, &levels);
        let numbers =
            self.parts.numbers(&inputs, &levels, |forest| forest.score(inputs.view(), &partitions))?;
        Ok(JudgedRows { partitions, surprises, levels, inputs, numbers })
    }

    /// The score of one of them.
    fn score_of(&self, JudgedRows { numbers, .. }: &JudgedRows, row: usize) -> f64 {
        match &self.sum {
            Some(tail) => tail.predicted(summed(&self.tails, |member| numbers[member][row])),
            None => self.tails[0].predicted(numbers[0][row]),
        }
    }

    /// What calibration rows say of the score.
    fn last(&self) -> &Tail {
        self.sum.as_ref().unwrap_or(&self.tails[0])
    }

    fn members(&self) -> String {
        self.parts.members.iter().map(|member| member.name()).collect::<Vec<_>>().join(" + ")
    }
}

/// The forest, from the tables that it has here.
fn read_forest(
    spec: &DetectSpec,
    seed: u64,
    features: usize,
    tables: &Tables,
) -> Result<PartitionedForest, Damage> {
    let own = FOREST.iter().filter_map(|(name, here)| Some(((*name).to_owned(), tables.get(*here)?.clone())));
    let settings = of_forest(spec).map_err(Damage::of_settings)?;
    PartitionedForest::read(settings, seed, features, &own.collect()).map_err(|Damage { table, what }| {
        let here = FOREST.iter().find(|(name, _)| *name == table);
        Damage { table: here.map_or(table, |(_, here)| (*here).to_owned()), what }
    })
}

impl Detector for Ensemble {
    fn score(&self, rows: &RecordBatch) -> Result<Scores, AnyError> {
        let judged = self.judged(rows)?;
        let scores: Vec<f64> = (0..rows.num_rows()).map(|row| self.score_of(&judged, row)).collect();
        let p_values = scores.iter().map(|score| libm::exp(-score)).collect();
        Ok(Scores { scores, p_values, partitions: judged.partitions, newcomers: Vec::new() })
    }

    fn reasons(
        &self,
        rows: &RecordBatch,
        _: Option<&Kept>,
        which: &[usize],
        tell: &mut dyn FnMut(usize, Reason),
    ) -> Result<(), AnyError> {
        if which.is_empty() {
            return Ok(());
        }
        let of_rows = UInt64Array::from_iter_values(which.iter().map(|row| *row as u64));
        let rows = &take_record_batch(rows, &of_rows)?;
        let judged = self.judged(rows)?;
        let of_forest = self.parts.forest.as_ref();
        let of_forest = of_forest.map(|forest| forest.shares(judged.inputs.view(), &judged.partitions));
        let made = |row: usize| {
            let surprises = judged.surprises.row(row);
            let surprises = surprises.as_slice().unwrap_or_default();
            let of_inputs = |of: &dyn Fn(usize) -> f64| match (self.parts.inputs, &self.parts.scale) {
                (Inputs::Groups, Some(scale)) => by_group(of, surprises, scale),
                _ => by_column(of, surprises),
            };
            let of_member = |member: &Member| -> ByColumn {
                match (member, &self.parts.scale, &of_forest) {
                    (Member::Themes, Some(scale), _) => by_themes(&judged.levels[row], surprises, scale),
                    (Member::Forest, _, Some(of_forest)) => {
                        of_inputs(&|feature| of_forest[row].nats[feature])
                    }
                    _ => of_inputs(&|feature| f64::from(judged.inputs[[row, feature]].min(CAP))),
                }
            };
            let score = self.score_of(&judged, row);
            let nats = |member: usize| match self.sum {
                Some(_) => self.tails[member].nats(judged.numbers[member][row]),
                // Of one alone the score is all that it says.
                None => score,
            };
            let parts = self.parts.members.iter().enumerate();
            let parts = parts.map(|(at, member)| (member.name(), nats(at), of_member(member)));
            Breakdown { score, parts: parts.collect() }
        };
        self.surprises.tell(rows, &judged.surprises, made, |row, reason| tell(which[row], reason))
    }

    fn threshold(&self) -> f64 {
        let share = self.settings.threshold().share_above();
        self.threshold_at(share).unwrap_or_else(|_| -libm::log(share))
    }

    fn threshold_at(&self, false_alarm_rate: f64) -> Result<f64, DetectError> {
        self.last().threshold_at(false_alarm_rate)
    }

    fn check(&self, schema: &Schema) -> Result<(), EncodeError> {
        self.surprises.check(schema)
    }

    fn columns(&self) -> &[Field] {
        &self.surprises.fields
    }

    fn features(&self) -> usize {
        WIDTH
    }

    fn rows(&self) -> Option<u64> {
        self.surprises.past.rows()
    }

    fn settings(&self) -> (&DetectSpec, u64) {
        (self.settings.spec(), self.seed)
    }

    fn tables(&self) -> Result<Vec<(String, RecordBatch)>, DetectError> {
        let mut tables = self.surprises.tables()?;
        if let Some(scale) = &self.parts.scale {
            tables.extend(write_scale(scale)?);
        }
        if let Some(forest) = &self.parts.forest {
            let here = |name: String| {
                FOREST.iter().find(|(own, _)| *own == name).map(|(_, here)| (*here).to_owned())
            };
            tables
                .extend(forest.tables()?.into_iter().filter_map(|(name, table)| Some((here(name)?, table))));
        }
        let tails: Vec<&Tail> = self.tails.iter().chain(&self.sum).collect();
        let written = write_parts(&named(&self.parts.members), &[], &tails)?;
        tables.extend(TAILS.map(str::to_owned).into_iter().zip(written));
        tables.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(tables)
    }

    fn notes(&self) -> Vec<String> {
        let apart = self.parts.forest.as_ref().is_none_or(PartitionedForest::held_out);
        let note = (!apart).then(|| {
            format!(
                "the late part of training has fewer than {} windows: the forest is calibrated on rows that it was \
                 grown from, and false alarms are more than promised; train on more",
                FEWEST
            )
        });
        let few = || few(self.last().steps.all() as u64, self.settings.threshold());
        self.surprises.note().or_else(few).into_iter().chain(note).collect()
    }

    fn outline(&self) -> Vec<Line> {
        let field = |label: &str, text: String| Line::Field(label.to_owned(), text);
        let spec = self.settings.spec();
        let mut lines = self.surprises.outline_columns();
        lines.push(Line::Title(format!("Detector: {}", spec.detector)));
        lines.extend(self.surprises.outline_past());
        let of = match self.parts.inputs {
            Inputs::Groups => format!("{} groups", GROUPS.len()),
            _ => format!("{WIDTH} surprises"),
        };
        lines.push(field("members", self.members()));
        if self.parts.members.contains(&Member::Sum) {
            lines.push(field("sum", format!("of {of}, each {CAP} nats at most")));
        }
        if self.parts.forest.is_some() {
            let (trees, sample) = (grouped(spec.trees as u64), grouped(spec.sample as u64));
            let text =
                format!("{trees} trees over {of}, each of {sample} rows at most, by {}", spec.partition_by);
            lines.push(field("forest", text));
        }
        let rows = grouped(self.last().steps.all() as u64);
        lines.push(field("calibration", format!("{rows} rows of the late blocks")));
        lines.push(field(
            "anomaly",
            format!(
                "score above {:.6} (-ln p), as {} % of rows like the training rows may",
                self.threshold(),
                percent(self.settings.threshold().share_above())
            ),
        ));
        lines.extend(
            self.notes().into_iter().skip(usize::from(self.surprises.note().is_some())).map(Line::Text),
        );
        lines
    }

    fn describe_json(&self) -> Map<String, Value> {
        let mut all = self.surprises.describe_json();
        let members: Vec<&str> = self.parts.members.iter().map(|member| member.name()).collect();
        let more = json!({
            "members": members,
            "threshold": self.threshold(),
            "calibration_rows": self.last().steps.all() as u64,
        });
        all.extend(more.as_object().cloned().unwrap_or_default());
        all
    }
}
