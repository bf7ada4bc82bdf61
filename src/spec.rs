//! The pipeline file: TOML as people write it, checked into a [`Spec`] that can run.
//!
//! One file describes one graph. Tables follow a packet's walk and are each room's own spec; what the
//! graph ends in stands in `[ends]`. The verbs of the command line are the files in `pipelines/` with
//! other ends.

mod effect;
mod mistakes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::context::ContextSpec;
use crate::detect::DetectSpec;
use crate::encode::EncodeSpec;
use crate::flow::FlowSpec;
use crate::incident::IncidentSpec;
use crate::packet::PacketSpec;
use crate::source::SourceSpec;

/// A pipeline, as the file says it. Missing keys have their defaults, unknown ones are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// What people call it; models carry it.
    pub name: String,
    /// Every random choice of a run descends from this.
    pub seed: u64,
    /// Where frames or rows come from.
    pub source: SourceSpec,
    /// How frames are decoded.
    pub packet: PacketSpec,
    /// How packets become rows.
    pub flow: FlowSpec,
    /// What is counted about hosts and services.
    pub context: ContextSpec,
    /// How columns become numbers.
    pub encode: EncodeSpec,
    /// What scores them.
    pub detect: DetectSpec,
    /// How odd rows become incidents, and which are reported.
    pub incident: IncidentSpec,
    /// What the graph ends in.
    pub ends: Ends,
    /// Keys that the file names, by their tables: a run with a model holds them against it, also where they are the
    /// defaults. [`Spec::parse`] fills it in. Who sets a key in a program need not, unless it is to its default: that
    /// would go for not set, and what the model was trained with be used without a word.
    #[serde(skip)]
    pub named: BTreeMap<String, BTreeSet<String>>,
    /// The file that it was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// What a graph ends in (`[ends]`): any of rows, a model, a report or scores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ends {
    /// Where rows go: `.parquet`, `.arrow`, `.csv`, else a folder as a dataset.
    pub rows: Option<PathBuf>,
    /// Write packet rows instead of flow rows.
    pub packets: bool,
    /// The model to fit and write.
    pub fit: Option<PathBuf>,
    /// The model to score with.
    pub model: Option<PathBuf>,
    /// The folder of scores, alerts and summary.
    pub report: Option<PathBuf>,
    /// Instead of a report: where scores alone go, with what names their rows; as `rows`.
    pub scores: Option<PathBuf>,
    /// Columns of `rows` (all where none is named), or those that go beside `scores`; `*` stands for any run of
    /// characters. What names a row is always there. No other columns are made or read.
    pub columns: Vec<String>,
    /// Where the counters go, as JSON.
    pub summary: Option<PathBuf>,
    /// Where a live run writes the frames that it used, as pcap.
    pub write_pcap: Option<PathBuf>,
    /// What a report calls the sensor: `host` of alerts, `sensor` of incidents. They name none where it is not given.
    pub sensor: Option<String>,
}

impl Ends {
    /// Whether anything is to be written: else the verb says what.
    pub fn name_something(&self) -> bool {
        // A sensor is named within a report.
        let Ends { rows, packets: _, fit, model, report, scores, columns: _, summary, write_pcap, sensor: _ } =
            self;
        [rows, fit, model, report, scores, summary, write_pcap].into_iter().any(Option::is_some)
    }
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            name: "default".to_owned(),
            seed: 1,
            source: SourceSpec::default(),
            packet: PacketSpec::default(),
            flow: FlowSpec::default(),
            context: ContextSpec::default(),
            encode: EncodeSpec::default(),
            detect: DetectSpec::default(),
            incident: IncidentSpec::default(),
            ends: Ends::default(),
            named: BTreeMap::new(),
            file: None,
        }
    }
}

/// What is wrong with rows that are left out of nothing.
pub(crate) const WITHOUT: &str = "[source] without (--without) is for training on rows of flows: remove it where nothing is learned, and for other tables";

/// The pipelines that are built in, by the verb that they are the file of.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("extract", include_str!("../pipelines/extract.toml")),
    ("train", include_str!("../pipelines/train.toml")),
    ("detect", include_str!("../pipelines/detect.toml")),
    ("watch", include_str!("../pipelines/watch.toml")),
    ("table", include_str!("../pipelines/table.toml")),
    ("forest", include_str!("../pipelines/forest.toml")),
    ("forest-surprise", include_str!("../pipelines/forest-surprise.toml")),
    ("sum", include_str!("../pipelines/sum.toml")),
    ("ensemble", include_str!("../pipelines/ensemble.toml")),
    ("usual", include_str!("../pipelines/usual.toml")),
];

/// What is wrong with a pipeline file: where, what, and what may stand there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no TOML, or a key or value is not known.
    #[error("{file}:{line}:{column}: {what}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong, in one line.
        what: String,
    },
    /// A value that is well formed but cannot be.
    #[error("{file}: {what}")]
    Value {
        /// The file.
        file: String,
        /// What is wrong, in one line.
        what: String,
    },
}

impl Spec {
    /// Reads and checks a pipeline file.
    ///
    /// # Errors
    /// [`SpecError`], with line and column where they are known.
    pub fn read(path: &Path) -> Result<Spec, SpecError> {
        let text = text(path)?;
        let spec = Spec::parse(&text, &path.display().to_string())?;
        Ok(Spec { file: Some(path.to_owned()), ..spec })
    }

    /// The built-in pipeline of that name.
    ///
    /// # Panics
    /// If there is none: names come from the code.
    pub fn built_in(name: &str) -> Spec {
        let (_, text) = BUILT_IN.iter().find(|(n, _)| *n == name).expect("a built-in pipeline");
        Spec::parse(text, &format!("pipelines/{name}.toml")).expect("built-in pipelines are valid: a test")
    }

    /// Reads a pipeline file, or takes the built-in pipeline where there is no such file and one has that name.
    ///
    /// # Errors
    /// As [`Spec::read`].
    pub fn find(name: &Path) -> Result<Spec, SpecError> {
        let built_in = BUILT_IN.iter().find(|(known, _)| name.as_os_str() == *known);
        match built_in {
            Some((known, _)) if !name.is_file() => Ok(Spec::built_in(known)),
            // A bare word is meant for a name.
            None if !name.exists() && name.extension().is_none() && name.components().count() == 1 => {
                let known: Vec<&str> = BUILT_IN.iter().map(|(known, _)| *known).collect();
                let what = format!("no such file, and no built-in pipeline: those are {}", known.join(", "));
                Err(SpecError::Value { file: name.display().to_string(), what })
            }
            _ => Spec::read(name),
        }
    }

    /// Parses and checks the text of a pipeline file; `file` is its name in messages.
    ///
    /// # Errors
    /// As [`Spec::read`].
    pub fn parse(text: &str, file: &str) -> Result<Spec, SpecError> {
        let mut spec: Spec = parse(text, file)?;
        for (name, value) in text.parse::<toml::Table>().unwrap_or_default() {
            if let toml::Value::Table(table) = value {
                spec.named.insert(name, table.keys().cloned().collect());
            }
        }
        spec.check().map_err(|what| match mistakes::place_of(text, &what) {
            Some(at) => wrong_at(text, file, at, what),
            None => SpecError::Value { file: file.to_owned(), what },
        })?;
        Ok(spec)
    }

    /// Checks what only the values together, or the rooms, can tell.
    ///
    /// # Errors
    /// One line: table, key, what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        self.flow.check().map_err(|e| text(&e))?;
        self.source.check().map_err(|e| text(&e))?;
        crate::context::Plan::new(&self.context).map_err(|e| text(&e))?;
        self.detect.check_asked().map_err(|e| text(&e))?;
        self.check_effect()?;
        self.incident.check().map_err(|e| text(&e))?;
        if !self.source.without.is_empty() && self.ends.fit.is_none() && self.ends.name_something() {
            return Err(WITHOUT.to_owned());
        }
        // A finding comes and goes with its slice otherwise.
        let (slice, keep) = (self.source.slice, self.incident.keep);
        if slice > keep {
            return Err(format!("[source] slice = {slice:?}: must be at most [incident] keep, {keep:?}"));
        }
        Ok(())
    }
}

/// The text of a file of TOML: a pipeline, or what a pipeline names.
pub(crate) fn text(path: &Path) -> Result<String, SpecError> {
    std::fs::read_to_string(path).map_err(|source| SpecError::Io { path: path.to_owned(), source })
}

/// Parses TOML; `file` is its name in messages.
///
/// # Errors
/// [`SpecError::Syntax`].
pub fn parse<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, SpecError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        wrong_at(text, file, at, mistakes::plainly::<T>(error.message()))
    })
}

/// The error that something is wrong behind so many bytes of a file's text.
pub(crate) fn wrong_at(text: &str, file: &str, at: usize, what: String) -> SpecError {
    let before = text.get(..at.min(text.len())).unwrap_or("");
    SpecError::Syntax {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_pipelines_are_valid() {
        for (name, _) in BUILT_IN {
            assert_eq!(Spec::built_in(name).name, *name);
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_place_and_nearest() {
        let error = Spec::parse("seed = 1\n[flow]\n  widnow = \"10s\"\n", "p.toml").unwrap_err().to_string();
        assert!(error.starts_with("p.toml:3:3: unknown key `widnow`: did you mean `window`?"), "{error}");
        let error = Spec::parse("[flwo]\n", "p.toml").unwrap_err().to_string();
        assert!(error.contains("did you mean `flow`?"), "{error}");
    }

    #[test]
    fn what_a_file_names_is_known_also_where_it_is_the_default() {
        let named = |text: &str, table: &str| Spec::parse(text, "p.toml").unwrap().named.remove(table);
        let keys =
            |keys: &[&str]| Some(keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<String>>());
        assert_eq!(named("[detect]\ndetector = \"forest\"\n", "detect"), keys(&["detector"]));
        assert_eq!(named("[flow]\nidle = \"1m\"\nwindow = \"10s\"\n", "flow"), keys(&["idle", "window"]));
        assert_eq!(named("seed = 1\n[detect]\n", "detect"), keys(&[]));
        assert_eq!(named("seed = 1\n", "detect"), None);
    }

    #[test]
    fn a_wrong_value_is_named() {
        let error = Spec::parse("[flow]\nwindow = 10\n", "p.toml").unwrap_err().to_string();
        assert!(error.starts_with("p.toml:2:10: "), "{error}");
        let error = Spec::parse("[flow]\nwindow = \"0s\"\n", "p.toml").unwrap_err().to_string();
        assert!(error.starts_with("p.toml:2:10: [flow] window = 0ns: must be "), "{error}");
        assert!(Spec::parse("[flow\n", "p.toml").unwrap_err().to_string().starts_with("p.toml:1:"));
    }

    /// What is said of a file, less its name.
    fn said(text: &str) -> String {
        let error = Spec::parse(text, "p.toml").unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error.strip_prefix("p.toml:").unwrap_or_else(|| panic!("{error}")).to_owned()
    }

    #[test]
    fn a_key_that_stands_elsewhere_is_told_so_and_what_is_like_none_proposes_none() {
        for (text, expected) in [
            (
                "[detect]\nseed = 3\n",
                "2:1: unknown key `seed`: it stands at the top of the file (known: detector, ",
            ),
            ("[detect]\nidle = \"10s\"\n", "2:1: unknown key `idle`: it stands under [flow] (known: "),
            (
                "columns = []\n",
                "1:1: unknown key `columns`: it stands under [context] and [ends] (known: name, ",
            ),
            ("[detect]\nfoo = 3\n", "2:1: unknown key `foo` (known: detector, "),
            ("[packet]\nfoo = 3\n", "2:1: unknown key `foo` (known: tunnels, vlan)"),
            ("[[allow]]\nport = 3\n", "1:3: unknown key `allow`: it stands under [incident] (known: "),
        ] {
            assert!(said(text).starts_with(expected), "{text}: {}", said(text));
        }
    }

    #[test]
    fn a_value_of_another_type_is_told_what_may_stand_there() {
        let duration = "expected a duration such as \"10s\" or \"5m\"";
        for (text, expected) in [
            ("[flow]\nwindow = 10\n", format!("2:10: invalid type: integer `10`, {duration}")),
            ("[flow]\nwindow = \"x\"\n", format!("2:10: invalid value: string \"x\", {duration}")),
            (
                "[encode]\nonehot = \"service\"\n",
                "2:10: invalid type: string \"service\", expected a list such as [\"service\"]".into(),
            ),
            (
                "[encode]\nonehot = 3\n",
                "2:10: invalid type: integer `3`, expected a list such as [\"service\"]".into(),
            ),
            ("seed = -1\n", "1:8: invalid value: integer `-1`, expected a whole number from 0".into()),
            (
                "[detect]\ncontamination = \"x\"\n",
                "2:17: invalid type: string \"x\", expected a number".into(),
            ),
            ("[ends]\nrows = 3\n", "2:8: invalid type: integer `3`, expected a path in quotes".into()),
            ("detect = 3\n", "1:10: invalid type: integer `3`, expected a table".into()),
            (
                "[flow]\nrows = \"flows\"\n",
                "2:8: \"flows\" is no value that is known here; it may be \"window\" or \"flow\"".into(),
            ),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn a_value_that_a_room_refuses_is_told_with_its_place() {
        for (text, expected) in [
            ("[detect]\n\ncontamination = 1.5\n", "3:17: [detect] contamination = 1.5: must be "),
            ("[detect]\ndetector = \"tree\"\n", "2:12: [detect] detector = \"tree\": must be "),
            ("[detect]\npercentile = 0.99\n", "2:14: [detect] percentile = 0.99: must be 50 to 100; "),
            (
                "seed = 1\nflow.timezone = \"Mars\"\n",
                "2:17: [flow] timezone = \"Mars\": must be an IANA name",
            ),
            ("[context]\ncolumns = [\"ctx_x\"]\n", "2:11: [context] columns: unknown column `ctx_x`: "),
        ] {
            assert!(said(text).starts_with(expected), "{text}: {}", said(text));
        }
    }

    #[test]
    fn what_a_detector_does_not_look_at_or_cannot_do_without_is_refused() {
        let forest = "left out where detector and members name no \"forest\"";
        for (text, expected) in [
            ("[detect]\ndetector = \"themes\"\ntrees = 100\n", format!("3:9: [detect] trees = 100: must be {forest}")),
            ("[detect]\ndetector = \"sum\"\nsample = 256\n", format!("3:10: [detect] sample = 256: must be {forest}")),
            (
                "[detect]\ndetector = \"ensemble\"\nmembers = [\"themes\", \"sum\"]\npartition_by = \"none\"\n",
                format!("4:16: [detect] partition_by = \"none\": must be {forest}"),
            ),
            (
                "[detect]\ndetector = \"forest\"\nentities = 5\n",
                "3:12: [detect] entities = 5: must be left out for a forest over columns, which knows no entities".into(),
            ),
            (
                "[encode]\nlog1p = [\"fwd_bytes\"]\n[detect]\ninputs = \"surprise\"\n",
                "2:9: [encode] log1p: must be left out for detector = \"forest\" over surprises, which takes no column as a \
                 number"
                    .into(),
            ),
            (
                "[flow]\nfirst_lengths = false\n[detect]\ndetector = \"themes\"\n",
                "2:17: [flow] first_lengths: must be left out for detector = \"themes\" over surprises, which judges how \
                 conversations begin"
                    .into(),
            ),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
        for text in [
            "[detect]\ntrees = 100\nsample = 256\n",
            "[detect]\ndetector = \"ensemble\"\ntrees = 100\npartition_by = \"none\"\n",
            "[detect]\ninputs = \"surprise\"\nsample = 256\nentities = 5\n",
            "[detect]\nentities = 5\n",
            "[flow]\nfirst_lengths = false\n[detect]\ndetector = \"forest\"\n",
            "[encode]\n[detect]\ndetector = \"themes\"\n",
        ] {
            Spec::parse(text, "p.toml").unwrap();
        }
        // A program that sets them, and a model that carries them, may.
        let mut spec = Spec::built_in("train");
        spec.detect.trees = 17;
        assert_eq!(spec.check(), Ok(()));
    }
}
