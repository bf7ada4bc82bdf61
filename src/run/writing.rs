//! What a run writes: its ends, open before anything is read.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::judging::{Judged, makes_incidents};
use super::{RunError, columns};
use crate::draft::{Draft, Drafts};
use crate::incident::budget::Budget;
use crate::incident::operator::Watch;
use crate::model::ModelError;
use crate::sink::report::Found;
use crate::sink::{self, ChangeEnd, End, Fit, Judge, Lines, Report, SinkError};
use crate::spec::Spec;

/// The ends of a run, and what makes incidents for them.
#[derive(Default)]
pub(super) struct Writing {
    /// What takes rows; `None` where they go no further.
    pub(super) rows: Option<Vec<Box<dyn End>>>,
    pub(super) scored: Vec<Box<dyn End>>,
    /// What takes scored rows with their incidents; `None` where rows have none.
    pub(super) alerts: Option<Vec<Box<dyn End>>>,
    pub(super) incidents: Vec<Box<dyn ChangeEnd>>,
    /// How incidents are made; `None` where rows are not of flows, or nobody takes any.
    pub(super) watch: Option<Watch>,
    /// How many of them are reported; `None` where all are.
    pub(super) budget: Option<Budget>,
    /// What a live run found where its report goes.
    pub(super) found: Found,
    /// Whether the model fits, where a report says how rows were scored.
    pub(super) fit: Option<Fit>,
    /// Where the model goes, where one is fitted.
    pub(super) model: Option<Draft>,
    /// Where the counters go.
    pub(super) summaries: Vec<Draft>,
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
        drafts: &Drafts,
    ) -> Result<Writing, RunError> {
        let mut writing = Writing::default();
        if let Some(path) = &spec.ends.summary {
            writing.summaries.push(drafts.create(path).map_err(SinkError::from)?);
        }
        if let Some(path) = &spec.ends.fit {
            writing.model = Some(drafts.create(path).map_err(ModelError::from)?);
        }
        if let Some(path) = &spec.ends.rows {
            let end = match columns::written(&spec.ends, rows) {
                None => sink::rows_end(path, rows, drafts)?,
                Some(columns) => sink::chosen_end(path, rows, columns, drafts)?,
            };
            writing.rows = Some(sink::beside(vec![end], workers)?);
        }
        let Some(judged) = judged else { return Ok(writing) };
        writing.scored = match &spec.ends.scores {
            Some(path) => {
                let columns = columns::written(&spec.ends, &judged.schema).unwrap_or_default();
                vec![sink::chosen_end(path, &judged.schema, columns, drafts)?]
            }
            None => writing.report(spec, window, judged, lines, drafts)?,
        };
        writing.scored = sink::beside(writing.scored, workers)?;
        writing.alerts = writing.alerts.map(|alerts| sink::beside(alerts, workers)).transpose()?;
        Ok(writing)
    }

    /// Opens a report: incidents where there are any, and the ends of scored rows.
    fn report(
        &mut self,
        spec: &Spec,
        window: Option<u64>,
        judged: &Judged,
        mut lines: Option<Lines>,
        drafts: &Drafts,
    ) -> Result<Vec<Box<dyn End>>, RunError> {
        let folder = spec.ends.report.as_deref().unwrap_or(Path::new("."));
        let report = Report::begin(folder, &judged.schema, drafts)?;
        self.found = report.found().clone();
        let start = judged.start();
        let judge = Judge {
            model: judged.model.clone(),
            threshold: start.threshold,
            sensor: spec.ends.sensor.clone(),
            interface: spec.source.interface.clone(),
        };
        if let Some(window) = window.filter(|_| makes_incidents(spec, &judged.schema, true)) {
            // People read incidents; rows of tables, which are of nobody, by themselves.
            let before = report.said_before()?;
            self.incidents = report.incident_ends(&judge, lines.take(), &before)?;
            self.budget = spec.incident.alerts_per_day.map(|a_day| Budget::new(a_day).after(&before.told));
            let slice = spec.source.slice_ns();
            let watch = Watch::new(&spec.incident, window, slice, start.threshold, start.rules.clone());
            self.watch = Some(Watch { changes: judged.changes(), taken: Arc::new(before.ids), ..watch });
        }
        let muting = self.watch.as_ref().map(|watch| watch.muting.clone());
        let alerts: Box<dyn End> = Box::new(report.alerts(&judge, muting)?);
        let mut ends = report.score_ends(&judge, lines)?;
        match self.watch {
            Some(_) => self.alerts = Some(vec![alerts]),
            None => ends.push(alerts),
        }
        if makes_incidents(spec, &judged.schema, window.is_some()) {
            let fit = Fit::default();
            ends.push(Box::new(fit.looking()));
            self.fit = Some(fit);
        }
        self.summaries.push(report.summary()?);
        Ok(ends)
    }
}
