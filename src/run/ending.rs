//! The end of a run: the model, the counters, and what was written stands under its names.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::judging::Judged;
use super::learning::{self, Teaching};
use super::opening::{Opened, Origin, Reader};
use super::{Outcome, RunError, Shared};
use crate::context::Memory;
use crate::detect::Learning;
use crate::detect::outline::grouped;
use crate::draft::{Draft, Drafts};
use crate::incident::{Hits, InForce, Muting};
use crate::model::Model;
use crate::row::Without;
use crate::sink::{Fit, SinkError, State, Summary};
use crate::source::interface::wall_clock;
use crate::spec::Spec;

/// What is left to do, and with what, when all rows have gone through the graph.
pub(super) struct Ending<'a> {
    pub(super) spec: &'a Spec,
    pub(super) shared: &'a Shared,
    pub(super) judged: Option<&'a Judged>,
    pub(super) opened: Opened,
    pub(super) started: Instant,
    /// The same by the clock of the wall.
    pub(super) began: u64,
    /// Where the model goes, and of what it is made.
    pub(super) model: Option<(Draft, Teaching)>,
    pub(super) memory: Option<Arc<Mutex<Option<Memory>>>>,
    /// What was left out of training, and how many rows more should have been.
    pub(super) without: Option<(Arc<Without>, u64)>,
    /// What rules were of use for and what they muted, where incidents are made.
    pub(super) watched: Option<(Arc<Hits>, Muting)>,
    pub(super) fit: Option<Fit>,
    /// Columns that a pattern meant and no encoder takes.
    pub(super) left_out: Option<String>,
    /// Where the counters go.
    pub(super) summaries: Vec<Draft>,
    pub(super) drafts: Drafts,
    pub(super) state: Option<State>,
}

impl Ending<'_> {
    /// Ends the run, given what was learned.
    ///
    /// # Errors
    /// The first error that a room met, that the run was interrupted, and what cannot be written.
    pub(super) fn finish(mut self, learned: Option<Learning>) -> Result<Outcome, RunError> {
        let Shared { stop, fault, .. } = self.shared;
        let origin = self.opened.origin;
        if let Some(error) = fault.take() {
            // Who asks a run to end may end the writer of its pipe as well, and what it met is that.
            return Err(match self.shared.is_interrupted(origin) {
                true => RunError::Interrupted,
                false => RunError::met(error),
            });
        }
        let summary = self.summary()?;
        // This may take a while, in which the run may be asked to end.
        let model = self.model(learned)?;
        // Also where the input seemed to be at its end by then: a pipe whose writer was asked to end at the same time is cut.
        // And a pipe that gave no frame yet takes the place of no report.
        let nothing_came = stop.is_asked() && summary.frames == 0 && origin == Origin::Pipe;
        if self.shared.is_interrupted(origin) || nothing_came {
            return Err(RunError::Interrupted);
        }
        self.write(&summary)?;
        let complaints = self.complaints(&summary);
        let lost = fault.take_lost().map(RunError::met);
        let ended_by = lost.or_else(|| self.opened.reader.ended_by().map(RunError::from));
        Ok(Outcome { summary, model, complaints, ended_by, elapsed: self.started.elapsed() })
    }

    fn is_live(&self) -> bool {
        self.opened.origin == Origin::Wire
    }

    /// What was counted on the way, where it balances.
    fn summary(&self) -> Result<Summary, RunError> {
        let Shared { tally, .. } = self.shared;
        let reader = &self.opened.reader;
        let counts = reader.counts();
        if let Reader::Frames(_) = reader {
            tally.check(counts.frames).map_err(RunError::Balance)?;
        }
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let mut summary = Summary::new(tally, &counts).with_cut_short(reader.cut_short());
        if let Reader::Rows(_) = reader {
            summary = summary.of_rows();
        }
        if let Some(judged) = self.judged {
            let InForce { threshold, by, .. } = judged.now();
            summary = summary.scored(load(&tally.anomalies)).judged(threshold, by);
        }
        if let Some((_, muting)) = &self.watched {
            let incidents = [&tally.incidents, &tally.knocks].map(load);
            summary = summary.with_incidents(incidents, load(&tally.alerts), muting.rows());
            if self.spec.incident.alerts_per_day.is_some() {
                summary = summary.with_held(load(&tally.held));
            }
        }
        if let (Some(path), Some(judged)) = (&self.spec.ends.model, self.judged) {
            summary = summary.by_model(path, &judged.hash);
        }
        // Batch runs that are alike leave the same.
        Ok(match self.is_live() {
            true => summary.live(&counts).during(self.began, wall_clock()),
            false => summary,
        })
    }

    /// The model, where one is fitted, in its draft.
    fn model(&mut self, learned: Option<Learning>) -> Result<Option<Model>, RunError> {
        let hand_over = "no worker panics while it hands over";
        let memory = self.memory.take().and_then(|memory| memory.lock().expect(hand_over).take());
        let Some((draft, teaching)) = self.model.take() else { return Ok(None) };
        let left_out = self.without.as_ref().map_or(0, |(without, _)| without.counts().1);
        let model =
            teaching.model(self.spec, &self.opened, learned, memory).map_err(|error| match error {
                RunError::NoRows(_) if left_out > 0 => RunError::NoRows(format!(
                    "{} rows, which are all, were left out as rows of incidents",
                    grouped(left_out)
                )),
                error => error,
            })?;
        model.write_to(draft)?;
        Ok(Some(model))
    }

    /// Makes what was written stand under its names.
    fn write(&mut self, summary: &Summary) -> Result<(), RunError> {
        let is_live = self.is_live();
        // What a live run has counted is told, whatever cannot be written.
        let unless_live = |written: Result<(), SinkError>| match written {
            Err(error) if is_live => {
                self.shared.fault.lose(error);
                Ok(())
            }
            written => written,
        };
        for draft in std::mem::take(&mut self.summaries) {
            unless_live(summary.write(draft))?;
        }
        unless_live(std::mem::take(&mut self.drafts).commit().map_err(SinkError::from))?;
        if let Some(state) = &self.state {
            unless_live(state.write(&self.shared.tally, &self.opened.reader.counts()))?;
        }
        Ok(())
    }

    /// What is worth saying, a line each.
    fn complaints(&mut self, summary: &Summary) -> Vec<String> {
        let asked = || format!("ended by a signal, packets read until then: {}", grouped(summary.packets));
        let without = self.without.as_ref();
        [
            self.opened.note.take(),
            self.left_out.take(),
            without.map(|(without, unknown)| learning::was_without(without, *unknown)),
            self.shared.stop.ended_early().then(asked),
            self.fit.take().and_then(|fit| fit.misfit()),
        ]
        .into_iter()
        .flatten()
        .chain(self.watched.iter().flat_map(|(hits, _)| hits.complaints()))
        .collect()
    }
}
