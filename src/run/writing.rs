//! What a run writes: its ends, open before anything is read.

use std::path::Path;

use arrow::datatypes::SchemaRef;

use super::judging::{Judged, makes_incidents};
use super::{RunError, columns};
use crate::incident::operator::Watch;
use crate::sink::{self, ChangeEnd, End, Judge, Lines};
use crate::spec::Spec;

/// The ends of a run, and what makes incidents for them.
#[derive(Default)]
pub(super) struct Writing {
    /// What takes rows; `None` where they go no further.
    pub(super) rows: Option<Vec<Box<dyn End>>>,
    pub(super) scored: Vec<Box<dyn End>>,
    pub(super) incidents: Vec<Box<dyn ChangeEnd>>,
    /// How incidents are made; `None` where rows are not of flows, or nobody takes any.
    pub(super) watch: Option<Watch>,
}

impl Writing {
    /// Opens what the pipeline names, for rows with this schema, of windows of so many nanoseconds or of a table.
    /// `lines` are for people.
    ///
    /// # Errors
    /// The first that cannot be written to.
    pub(super) fn open(
        spec: &Spec,
        rows: &SchemaRef,
        window: Option<u64>,
        judged: Option<&Judged>,
        lines: Option<Lines>,
        workers: usize,
    ) -> Result<Writing, RunError> {
        let mut writing = Writing::default();
        if let Some(path) = &spec.ends.rows {
            let end = match columns::written(&spec.ends, rows) {
                None => sink::rows_end(path, rows)?,
                Some(columns) => sink::chosen_end(path, rows, columns)?,
            };
            writing.rows = Some(sink::beside(vec![end], workers));
        }
        let Some(judged) = judged else { return Ok(writing) };
        writing.scored = match &spec.ends.scores {
            Some(path) => {
                let columns = columns::written(&spec.ends, &judged.schema).unwrap_or_default();
                vec![sink::chosen_end(path, &judged.schema, columns)?]
            }
            None => writing.report(spec, window, judged, lines)?,
        };
        writing.scored = sink::beside(writing.scored, workers);
        Ok(writing)
    }

    /// Opens a report: incidents where there are any, and the ends of scored rows.
    fn report(
        &mut self,
        spec: &Spec,
        window: Option<u64>,
        judged: &Judged,
        mut lines: Option<Lines>,
    ) -> Result<Vec<Box<dyn End>>, RunError> {
        let folder = spec.ends.report.as_deref().unwrap_or(Path::new("."));
        let start = judged.start();
        let judge = Judge { model: judged.model.clone(), threshold: start.threshold };
        if let Some(window) = window.filter(|_| makes_incidents(spec, &judged.schema, true)) {
            // People read incidents; rows of tables, which are of nobody, by themselves.
            self.incidents = sink::incident_ends(folder, lines.take())?;
            let slice = spec.source.slice_ns();
            let watch = Watch::new(&spec.incident, window, slice, start.threshold, start.rules.clone());
            self.watch = Some(Watch { changes: judged.changes(), ..watch });
        }
        Ok(sink::score_ends(folder, &judged.schema, &judge, lines)?)
    }
}
