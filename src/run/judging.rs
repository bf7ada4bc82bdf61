//! What judges the rows of a run: the detector of a model, where alarms begin, which rules mute, and whether these may
//! change while the run goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use serde_json::{Value, json};

use super::RunError;
use super::following::{self, Alarms, Following};
use crate::context::Memory;
use crate::detect::operator::Thresholds;
use crate::detect::{Detector, Threshold, scored_schema, scored_schema_without_reasons};
use crate::incident::rules::RulesFile;
use crate::incident::{Changes, Columns, InForce, Rules, RulesError};
use crate::model::{Model, Pipeline};
use crate::spec::{self, Spec};

/// The model that judges, and what the pipeline says of alarms.
pub(super) struct Judging {
    model: Model,
    /// The SHA-256 of its file.
    hash: String,
    /// Where alarms begin by the pipeline or a flag.
    asked: Option<Threshold>,
    allow: AllowList,
    /// The text of the allow-list before its rules were read: what differs later is a change.
    seen: Option<String>,
}

/// The same, for rows of a schema that is known.
pub(super) struct Judged {
    pub(super) detector: Arc<dyn Detector>,
    /// Of scored rows.
    pub(super) schema: SchemaRef,
    /// The name of the pipeline that made the model.
    pub(super) model: String,
    /// The SHA-256 of the model's file.
    pub(super) hash: String,
    /// What the model remembers of its training.
    pub(super) memory: Option<Arc<Memory>>,
    start: InForce,
    /// No change may put the threshold below it.
    loosest: f64,
    changes: Option<Arc<Changes>>,
    following: Option<Following>,
}

impl Judging {
    /// Reads the model and the allow-list of a pipeline; `None` where no model judges.
    ///
    /// # Errors
    /// What is wrong with either.
    pub(super) fn read(spec: &Spec) -> Result<Option<Judging>, RunError> {
        let model = spec.ends.model.as_deref().map(Model::read_hashed).transpose()?;
        let allow = spec.incident.allow.as_deref();
        let seen = allow.and_then(|path| following::read(path).ok());
        let allow = allow.map_or(Ok(AllowList::default()), AllowList::read)?;
        if spec.ends.scores.is_some() && !allow.rules.rules().is_empty() {
            return Err(RunError::Ends(
                "scores alone have no incidents that rules could mute: ask for a report",
            ));
        }
        let Some((model, hash)) = model else { return Ok(None) };
        let named = spec.named.get("detect").cloned().unwrap_or_default();
        let asked = spec.detect.over(&model.pipeline().detect, &named)?;
        check_making(spec, model.pipeline())?;
        Ok(Some(Judging { model, hash, asked, allow, seen }))
    }

    /// The pipeline with rows made as the model was trained: a model decides how, so that nothing can differ.
    pub(super) fn as_trained(&self, spec: &Spec) -> Spec {
        let Pipeline { packet, flow, context, encode, detect, .. } = self.model.pipeline().clone();
        Spec { packet, flow, context, encode, detect, ..spec.clone() }
    }

    pub(super) fn detector(&self) -> &dyn Detector {
        self.model.detector().as_ref()
    }

    /// Checks that rows with this schema are what the model was trained on.
    ///
    /// # Errors
    /// The first column that is missing or another.
    pub(super) fn check_rows(&self, rows: &Schema) -> Result<(), RunError> {
        Ok(self.model.check_rows(rows)?)
    }

    /// What judges rows with this schema, `of_flows` or of a table.
    ///
    /// # Errors
    /// If two say where alarms begin, the model cannot say it, or a rule asks for what these rows have not.
    pub(super) fn begin(self, spec: &Spec, rows: &SchemaRef, of_flows: bool) -> Result<Judged, RunError> {
        let Judging { model, hash, asked, allow, seen } = self;
        let detector = model.detector().clone();
        let alarms = Alarms::new(detector.clone(), asked);
        let schema = match spec.ends.scores {
            Some(_) => scored_schema_without_reasons(rows),
            None => scored_schema(rows),
        };
        if makes_incidents(spec, &schema, of_flows) {
            allow.check_columns(&schema)?;
        } else if !allow.rules.rules().is_empty() {
            return Err(RunError::Ends(
                "rows of a table have no incidents that rules could mute: leave the allow-list out, or its [threshold] alone in it",
            ));
        }
        let mut start = alarms.with(allow.rules)?;
        let mut loosest = start.threshold;
        let (mut changes, mut following) = (None, None);
        if let (Some(path), Some(seen)) = (&spec.incident.allow, seen)
            && spec.source.interface.is_some()
            && makes_incidents(spec, &schema, of_flows)
        {
            start.rules = start.rules.with_more_columns();
            loosest = alarms.loosest(&start, spec.incident.loosest)?;
            let next = Arc::new(Changes::new(start.clone()));
            let columns = start.rules.columns().to_vec();
            following = Some(Following::new(path, seen, alarms, loosest, columns, next.clone()));
            changes = Some(next);
        }
        let memory = model.memory().cloned();
        let model = model.pipeline().name.clone();
        Ok(Judged { detector, schema, model, hash, memory, start, loosest, changes, following })
    }
}

impl Judged {
    /// What the graph judges by: where the threshold may change, the loosest that there can be.
    pub(super) fn rooms(&self) -> (Arc<dyn Detector>, Thresholds, SchemaRef) {
        let thresholds = Thresholds { anomalies: self.loosest, counted: self.start.threshold };
        (self.detector.clone(), thresholds, self.schema.clone())
    }

    /// What is in force when the run starts.
    pub(super) fn start(&self) -> &InForce {
        &self.start
    }

    /// What is in force now.
    pub(super) fn now(&self) -> InForce {
        self.changes.as_ref().map_or_else(|| self.start.clone(), |changes| changes.now())
    }

    /// What follows the file of rules while the run goes on; taken once.
    pub(super) fn following(&mut self) -> Option<Following> {
        self.following.take()
    }

    /// Where changes wait; `None` where nothing may change.
    pub(super) fn changes(&self) -> Option<Arc<Changes>> {
        self.changes.clone()
    }
}

/// Checks that a pipeline asks for no rows that are made otherwise than those that a model was trained on, which
/// [`Judging::as_trained`] would not give.
fn check_making(spec: &Spec, trained: &Pipeline) -> Result<(), RunError> {
    let default = Spec::default();
    let context = spec.context.settled_as(&trained.context);
    let tables = [
        ("packet", json!(spec.packet), json!(trained.packet), json!(default.packet)),
        ("flow", json!(spec.flow), json!(trained.flow), json!(default.flow)),
        ("context", json!(context), json!(trained.context), json!(default.context)),
        ("encode", json!(spec.encode), json!(trained.encode), json!(default.encode)),
    ];
    for (table, asked, trained, default) in tables {
        let named = |key: &str| spec.named.get(table).is_some_and(|keys| keys.contains(key));
        for (key, found) in asked.as_object().into_iter().flatten() {
            if !named(key) && default.get(key) == Some(found) || is_made(key, found, trained.get(key)) {
                continue;
            }
            let was = trained.get(key).map_or_else(|| "left out".to_owned(), Value::to_string);
            return Err(RunError::Making { table, key: key.clone(), found: found.to_string(), was });
        }
    }
    Ok(())
}

/// Whether a setting is that of training. Of columns all that are named must be there: a detector adds its own.
fn is_made(key: &str, asked: &Value, trained: Option<&Value>) -> bool {
    match (key, asked, trained) {
        ("columns", Value::Array(asked), Some(Value::Array(trained))) => {
            asked.iter().all(|column| trained.contains(column))
        }
        (_, asked, trained) => Some(asked) == trained,
    }
}

/// Whether scored rows with this schema become incidents.
pub(super) fn makes_incidents(spec: &Spec, scored: &Schema, of_flows: bool) -> bool {
    of_flows && spec.ends.scores.is_none() && Columns::known(scored)
}

/// An allow-list with the text that says it.
#[derive(Debug, Default)]
pub struct AllowList {
    path: PathBuf,
    text: String,
    /// What it says.
    pub rules: Rules,
}

impl AllowList {
    /// Reads and checks an allow-list.
    ///
    /// # Errors
    /// What is wrong with it: the line and column, or the rule.
    pub fn read(path: &Path) -> Result<AllowList, RunError> {
        let text = spec::text(path)?;
        let file: RulesFile = spec::parse(&text, &path.display().to_string())?;
        let rules = check_rules(path, file.check())?;
        Ok(AllowList { path: path.to_owned(), text, rules })
    }

    /// Checks that rows with this schema have the columns that its rules name.
    ///
    /// # Errors
    /// The first one that they have not, with line and column.
    pub fn check_columns(&self, rows: &Schema) -> Result<(), RunError> {
        match self.rules.check_columns(rows) {
            Err(RulesError::Column { at, what }) => {
                Err(spec::wrong_at(&self.text, &self.path.display().to_string(), at, what).into())
            }
            other => check_rules(&self.path, other),
        }
    }
}

/// What came of checking rules that were read from the file at `path`.
pub(super) fn check_rules<T>(path: &Path, checked: Result<T, RulesError>) -> Result<T, RunError> {
    checked.map_err(|source| RunError::Rules { path: path.to_owned(), source })
}
