//! `netweir evaluate`: scores held against labels.

use std::collections::BTreeSet;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use super::{Failure, How, signals};
use crate::apart;
use crate::draft::{Draft, DraftError};
use crate::evaluate::{BASELINES, EvaluateError, Evaluation, Labels, Options, evaluate};
use crate::run::RunError;
use crate::sink;
use crate::spec::{Ends, Spec};

/// Hold scores against labels: metrics, and a report to look at
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  netweir evaluate out --labels attacks.labels.csv -o report.html
  netweir evaluate out --labels attacks.labels.csv --compare other=out-of-another-model
  netweir evaluate --train quiet.pcap --on attacks.pcap --labels attacks.labels.csv \\
                   --beside usual --seeds 5

The last one trains and scores by itself, five times with other seeds, and beside it the usual way:
columns of flows and one Isolation Forest. Pipelines that are built in go by their names, others by
their files.

Labels are CSV with the columns start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event: an empty
field means any, the addresses may stand in either direction, attack = ignore means that nobody
knows (of rows that no attack's label has). proto is a name that rows have (tcp, udp, gre, ...; icmp
and icmp6 are both of its versions), its number, or arp. metrics.json is left beside the report.")]
pub(super) struct Evaluate {
    /// The folder that detect or watch left
    #[arg(value_name = "OUTDIR", required_unless_present = "train")]
    folder: Option<PathBuf>,
    /// The labels
    #[arg(short, long, value_name = "L.csv")]
    labels: PathBuf,
    /// The report, one self-contained page
    #[arg(short, long, value_name = "REPORT.html", default_value = "report.html")]
    output: PathBuf,
    /// Scores of another model over the same rows, to stand beside
    #[arg(long, value_name = "NAME=OUTDIR", value_parser = named)]
    compare: Vec<(String, PathBuf)>,
    /// Seed of the bootstrap intervals
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Train on these captures or rows
    #[arg(long, value_name = "IN", requires = "on", value_parser = readable_twice, help_heading = "Train and score here")]
    train: Vec<String>,
    /// Score these
    #[arg(long, value_name = "IN", requires = "train", value_parser = readable_twice, help_heading = "Train and score here")]
    on: Vec<String>,
    /// Pipeline to train, instead of that of train
    #[arg(short, long, value_name = "PIPELINE", requires = "train", help_heading = "Train and score here")]
    pipeline: Option<PathBuf>,
    /// Pipelines to train and score beside it
    #[arg(long, value_name = "PIPELINE", requires = "train", help_heading = "Train and score here")]
    beside: Vec<PathBuf>,
    /// Train each with so many seeds, to show their spread
    #[arg(long, value_name = "N", requires = "train", help_heading = "Train and score here")]
    seeds: Option<NonZeroUsize>,
    /// Workers [default: all cores]
    #[arg(short, long, value_name = "N", value_parser = super::workers, help_heading = "Train and score here")]
    workers: Option<NonZeroUsize>,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(folder)))
        }
        _ => Err("write NAME=OUTDIR".to_owned()),
    }
}

fn readable_twice(text: &str) -> Result<String, String> {
    match text {
        "-" => Err("standard input cannot be read again for another seed: name a file".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

impl Evaluate {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.check_apart()?;
        let mut options = Options { also: self.compare.clone(), ..Options::default() };
        options.seed = self.seed.unwrap_or(options.seed);
        // Runs are needed until the page is written.
        let (folder, _runs) = match self.train.is_empty() {
            true => (self.folder.clone(), None),
            false => {
                // Before anything is trained for nothing.
                Labels::read(&self.labels)?;
                let runs = Runs::beside(&self.output)?;
                let folder = self.train_all(&runs, &mut options)?;
                if signals::stop().map_err(Failure::Signals)?.load(Relaxed) {
                    return Err(RunError::Interrupted.into());
                }
                (Some(folder), Some(runs))
            }
        };
        let folder = folder.expect("the command line asks for a folder or for captures to train on");
        let evaluation = report(&folder, &self.labels, &self.output, &options)?;
        if !self.quiet {
            write!(std::io::stdout(), "{evaluation}")?;
            writeln!(std::io::stdout(), "\n{}", self.output.display())?;
        }
        Ok(())
    }

    /// Checks that the page and its figures are written over nothing that is read.
    fn check_apart(&self) -> Result<(), Failure> {
        let folders = self.folder.iter().chain(self.compare.iter().map(|(_, folder)| folder));
        let reports = folders.flat_map(|folder| sink::report::FILES.map(|name| folder.join(name)));
        let reports: Vec<PathBuf> = reports.collect();
        let inputs = self.train.iter().chain(&self.on).map(Path::new);
        let pipelines = self.pipeline.iter().chain(&self.beside).map(PathBuf::as_path);
        let read = [("the labels", self.labels.as_path())].into_iter();
        let read = read.chain(reports.iter().map(|path| ("a file of the report", path.as_path())));
        let read = read.chain(inputs.map(|path| ("an input", path)));
        let read: Vec<_> = read.chain(pipelines.map(|path| ("a pipeline", path))).collect();
        let metrics = metrics_beside(&self.output);
        let written = [("the page", self.output.as_path()), ("its figures", metrics.as_path())];
        Ok(apart::check(&read, &written)?)
    }

    /// Trains and scores all pipelines with all seeds; gives the folder that is evaluated.
    fn train_all(&self, runs: &Runs, options: &mut Options) -> Result<PathBuf, Failure> {
        let seeds = self.seeds.map_or(1, NonZeroUsize::get) as u64;
        let (name, spec) = match &self.pipeline {
            Some(path) => {
                let spec = Spec::find(path)?;
                (spec.name.clone(), spec)
            }
            None => {
                let spec = Spec::built_in("train");
                (spec.detect.detector.clone(), spec)
            }
        };
        let first = spec.seed;
        let own = self.folder.is_none();
        let mut pipelines = Vec::new();
        if own || seeds > 1 {
            pipelines.push((name.clone(), spec));
        }
        for path in &self.beside {
            let spec = Spec::find(path)?;
            pipelines.push((spec.name.clone(), spec));
        }
        self.check_worth(&pipelines, own)?;
        for (place, (name, spec)) in pipelines.iter().enumerate() {
            for seed in (spec.seed..).take(seeds as usize) {
                let folder = runs.folder.join(seed.to_string()).join(format!("{place}-{name}"));
                self.train_one(spec, seed, &folder)?;
                if seeds > 1 {
                    options.seeds.push((name.clone(), seed, folder.clone()));
                }
                let is_evaluated = place == 0 && (own || seeds > 1);
                if seed == spec.seed && !is_evaluated {
                    options.also.push((name.clone(), folder));
                }
            }
        }
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        let (on, train) = (file_names(&self.on), file_names(&self.train));
        options.called = Some(format!("{on} scored after {train}, seed {first}"));
        options.name = Some(name.clone());
        Ok(runs.folder.join(first.to_string()).join(format!("0-{name}")))
    }

    /// Checks, before anything is trained, that it is trained for something.
    fn check_worth(&self, pipelines: &[(String, Spec)], own: bool) -> Result<(), EvaluateError> {
        if let (true, Some(folder)) = (pipelines.is_empty(), &self.folder) {
            return Err(EvaluateError::Idle { folder: folder.clone() });
        }
        let mut names: BTreeSet<&str> = BASELINES.into_iter().collect();
        names.extend(self.compare.iter().map(|(name, _)| name.as_str()));
        // The first one stands beside a folder for its seeds alone.
        let beside = if own { pipelines } else { &pipelines[pipelines.len() - self.beside.len()..] };
        match beside.iter().find(|(name, _)| !names.insert(name)) {
            Some((name, _)) => Err(EvaluateError::Name { name: name.clone() }),
            None => Ok(()),
        }
    }

    fn train_one(&self, spec: &Spec, seed: u64, folder: &Path) -> Result<(), Failure> {
        let how =
            How { workers: self.workers, seed: Some(seed), lax: false, summary: None, quiet: self.quiet };
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "training `{}` with seed {seed}", spec.name);
        }
        let model = folder.join("model.netweir");
        let mut train = spec.clone();
        how.over(&mut train);
        (train.source.inputs, train.source.interface) = (self.train.clone(), None);
        train.ends = Ends { fit: Some(model.clone()), ..Ends::default() };
        crate::run::run(&train, how.controls()?)?;
        let mut detect = Spec::built_in("detect");
        how.over(&mut detect);
        detect.source.inputs = self.on.clone();
        detect.ends = Ends { model: Some(model), report: Some(folder.to_owned()), ..Ends::default() };
        crate::run::run(&detect, how.controls()?)?;
        Ok(())
    }
}

/// Inputs without their folders.
fn file_names(inputs: &[String]) -> String {
    let name = |input: &String| Path::new(input).file_name().map(|name| name.to_string_lossy().into_owned());
    inputs.iter().map(|input| name(input).unwrap_or_else(|| input.clone())).collect::<Vec<_>>().join(" ")
}

/// A folder for models and scores, gone when the page is written.
struct Runs {
    folder: PathBuf,
}

impl Runs {
    /// Beside a file: there is room where its owner wants it written.
    fn beside(output: &Path) -> Result<Runs, Failure> {
        let folder = output.with_file_name(format!(".netweir-evaluate-{}", std::process::id()));
        let made = std::fs::create_dir_all(output.parent().unwrap_or(Path::new("")))
            .and_then(|()| std::fs::create_dir(&folder));
        made.map_err(|source| DraftError::Io { path: folder.clone(), source })?;
        Ok(Runs { folder })
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        // What cannot be removed is left: nothing else depends on it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Writes report and metrics; gives what they are made of.
pub(super) fn report(
    folder: &Path,
    labels: &Path,
    output: &Path,
    options: &Options,
) -> Result<Evaluation, Failure> {
    let evaluation = evaluate(folder, labels, options)?;
    let mut metrics = serde_json::to_string_pretty(&evaluation.metrics()).map_err(std::io::Error::from)?;
    metrics.push('\n');
    write(&metrics_beside(output), &metrics)?;
    write(output, &evaluation.report())?;
    Ok(evaluation)
}

/// Where the figures go.
fn metrics_beside(output: &Path) -> PathBuf {
    output.with_file_name("metrics.json")
}

fn write(path: &Path, text: &str) -> Result<(), DraftError> {
    let mut draft = Draft::create(path)?;
    draft.write_all(text.as_bytes()).map_err(|source| DraftError::Io { path: path.to_owned(), source })?;
    draft.commit()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        evaluate: Evaluate,
    }

    #[test]
    fn nothing_is_trained_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("report.html");
        let said = |flags: &[&str]| {
            let given = ["evaluate", "-l", "l.csv", "--train", "no.pcap", "--on", "no.pcap"];
            let line = Line::parse_from(given.iter().chain(flags));
            let runs = Runs::beside(&page).unwrap();
            line.evaluate.train_all(&runs, &mut Options::default()).unwrap_err().to_string()
        };
        let none = "out: is evaluated as it is, and nothing is to be trained: name a pipeline with --beside, or \
                    several --seeds, or leave the folder out";
        assert_eq!(said(&["out"]), none);
        assert_eq!(said(&["out", "--seeds", "1"]), none);
        for twice in [
            &["--beside", "usual", "--beside", "usual"][..],
            &["out", "--beside", "usual", "--compare", "usual=other"],
            &["-p", "usual", "--beside", "usual"],
            &["out", "--seeds", "2", "--beside", "usual", "--beside", "usual"],
        ] {
            assert!(said(twice).contains("the name `usual` stands twice"), "{twice:?}: {}", said(twice));
        }
        // What is worth it is begun with.
        for some in [&["out", "--seeds", "2"][..], &["out", "--beside", "usual"], &[]] {
            assert!(said(some).starts_with("no.pcap: "), "{some:?}: {}", said(some));
        }
    }
}
