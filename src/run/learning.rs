//! What a run learns: the lesson of a pipeline, a pupil for every worker, the model of what they learned.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::RunError;
use super::opening::Opened;
use crate::context::Memory;
use crate::detect::outline::grouped;
use crate::detect::{Learning, Lesson};
use crate::encode::left_out;
use crate::graph::Source;
use crate::model::{Model, Pipeline, Training};
use crate::report::Named;
use crate::row::{RowSettings, Without};
use crate::spec::{Spec, WITHOUT};

/// What is to be learned, and from which rows.
pub(super) struct Teaching {
    lesson: Lesson,
    rows: SchemaRef,
}

impl Teaching {
    /// The lesson of a pipeline, from rows with this schema; `None` where it fits nothing.
    ///
    /// # Errors
    /// Settings of detection that are out of range.
    pub(super) fn of(spec: &Spec, rows: &SchemaRef) -> Result<Option<Teaching>, RunError> {
        if spec.ends.fit.is_none() {
            return Ok(None);
        }
        let lesson = Lesson { encode: spec.encode.clone(), detect: spec.detect.check()?, seed: spec.seed };
        Ok(Some(Teaching { lesson, rows: rows.clone() }))
    }

    /// What the pipeline's wildcards match and cannot take, in one line, if there is any.
    pub(super) fn left_out(&self) -> Option<String> {
        left_out(&self.lesson.encode, &self.rows)
    }

    /// Names of the columns of rows that are learned from.
    ///
    /// # Errors
    /// If nothing can be learned from such rows.
    pub(super) fn columns(&self) -> Result<BTreeSet<String>, RunError> {
        Ok(Learning::new(&self.lesson, &self.rows).map_err(RunError::Met)?.columns())
    }

    /// One that learns for every worker.
    ///
    /// # Errors
    /// If nothing can be learned from such rows.
    pub(super) fn pupils(&self, workers: usize) -> Result<Vec<Option<Learning>>, RunError> {
        let pupil = || Learning::new(&self.lesson, &self.rows).map(Some).map_err(RunError::Met);
        (0..workers).map(|_| pupil()).collect()
    }

    /// The model of what all of them learned, and of what context remembers.
    ///
    /// # Errors
    /// If there was no row, or too few.
    pub(super) fn model(
        &self,
        spec: &Spec,
        opened: &Opened,
        learned: Option<Learning>,
        memory: Option<Memory>,
    ) -> Result<Model, RunError> {
        let learned = learned.filter(|learned| learned.rows() > 0);
        let Some(learned) = learned else {
            return Err(RunError::NoRows(format!(
                "{} has no {}",
                opened.name.display(),
                if matches!(opened.source, Source::Frames(..)) { "IP packet" } else { "row" },
            )));
        };
        let training = Training { packets: learned.packets(), windows_ns: learned.windows() };
        let (context, on_link) = spec.context.settled(memory.as_ref())?;
        let detector = learned.finish(&self.lesson, &context.local, memory.as_ref());
        let detector = detector.map_err(RunError::Met)?;
        let Spec { name, seed, packet, flow, encode, detect, .. } = spec.clone();
        let pipeline = Pipeline { name, seed, packet, flow, context, encode, detect };
        let model = Model::new(pipeline, &self.rows, training, detector)?.with_own(on_link);
        Ok(match memory {
            Some(memory) => model.with_memory(Arc::new(memory)),
            None => model,
        })
    }
}

/// The rows that training leaves out of those with this schema, and how many more it should: `None` where nothing is named.
///
/// # Errors
/// If nothing is learned from rows of flows, or a report that is named cannot be read.
pub(super) fn without(
    spec: &Spec,
    rows: &Schema,
    of_flows: bool,
) -> Result<Option<(Arc<Without>, u64)>, RunError> {
    let names = &spec.source.without;
    if names.is_empty() {
        return Ok(None);
    }
    if !of_flows {
        return Err(RunError::Setting(WITHOUT.to_owned()));
    }
    let Named { rows, unknown } = Named::read(names, RowSettings::of(rows).as_ref())?;
    Ok(Some((Arc::new(Without::new(rows)), unknown)))
}

/// How many rows were to be left out and how many were, in one line.
pub(super) fn was_without(without: &Without, unknown: u64) -> String {
    let (rows, met) = without.counts();
    let mut text = format!("rows of incidents that were left out: {}", grouped(met));
    if rows > met {
        text.push_str(&format!("; {} more are not in what was read", grouped(rows - met)));
    }
    if unknown > 0 {
        let unknown = grouped(unknown);
        text.push_str(&format!(
            "; {unknown} that incidents.jsonl counts are not in incident_rows, and were learned"
        ));
    }
    text
}
