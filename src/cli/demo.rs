//! `netweir demo`: trains on and scores the captures that ship, and holds what it found against the truth.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Failure, How};
use crate::evaluate::Options;
use crate::spec::Spec;

/// Train on and score the labelled captures that ship, print what was found
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Everything is left in ./netweir-demo:
  model.netweir       what twenty benign minutes taught; netweir inspect prints it
  scores.parquet      every row with its score
  incidents.jsonl     what was said and when, incident by incident
  alerts.eve.jsonl    alerts for machines
  report.html         scores held against the truth, to look at; metrics.json for machines
  summary.json        counters")]
pub(super) struct Demo {
    /// Where everything is left
    #[arg(short, long, value_name = "OUTDIR", default_value = "netweir-demo")]
    output: PathBuf,
    #[command(flatten)]
    how: How,
}

/// Incidents that are shown; all of them stand in the log of incidents.
const SHOWN: usize = 5;

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        let datasets = find_datasets()?;
        let text = |name: &str| datasets.join(name).to_string_lossy().into_owned();
        let model = self.output.join("model.netweir");
        let mut say = Say { quiet: self.how.quiet };

        say.line(format_args!("Training on {}: twenty benign minutes", text(TRAIN)))?;
        let mut spec = Spec::built_in("train");
        self.how.over(&mut spec);
        spec.source.inputs = vec![text(TRAIN)];
        spec.ends.fit = Some(model.clone());
        // The counters that are asked for are those of what is scored.
        spec.ends.summary = None;
        self.how.run(&spec)?;

        say.line(format_args!("\nScoring {}: the twelve minutes that follow, with attacks", text(ATTACKS)))?;
        let mut spec = Spec::built_in("detect");
        self.how.over(&mut spec);
        spec.source.inputs = vec![text(ATTACKS)];
        spec.ends.model = Some(model);
        spec.ends.report = Some(self.output.clone());
        // Incidents are shown below, the worst first, not as they come.
        let outcome = crate::run::run(&spec, self.how.controls()?)?;
        if !self.how.quiet {
            let _ = writeln!(std::io::stderr(), "{}", super::last_words(&outcome));
        }

        let report = self.output.join("report.html");
        let labels = datasets.join(LABELS);
        let evaluation = super::evaluate::report(&self.output, &labels, &report, &Options::default())?;
        say.line(format_args!("\n{}", evaluation.worst_incidents(SHOWN).unwrap_or_default()))?;
        say.line(format_args!(
            "Held against the labels: alerts of all rows of an attack, and when it was known after its first packet"
        ))?;
        say.line(format_args!("{}", evaluation.events_found()))?;
        say.line(format_args!("A page to look at: {}", report.display()))?;
        say.line(format_args!("All files are in {}", self.output.display()))
    }
}

const TRAIN: &str = "train.pcap.zst";
const ATTACKS: &str = "attacks.pcap.zst";
const LABELS: &str = "attacks.labels.csv";

/// The folder of the captures that ship: in this folder or one above, above the program, or where a package puts them.
fn find_datasets() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    datasets(&here, &program).map(|datasets| relative(&datasets))
}

fn datasets(here: &Path, program: &Path) -> Result<PathBuf, Failure> {
    let shared = shared(program);
    let above = here.ancestors().chain(program.ancestors());
    let found = above.chain([shared.as_path()]).find_map(|folder| {
        let datasets = folder.join("datasets").join("lab");
        datasets.join(TRAIN).is_file().then_some(datasets)
    });
    found.ok_or_else(|| Failure::NoDatasets { program: program.to_owned(), shared })
}

/// Where what belongs to a program lies that is installed: `/usr/share/netweir` for `/usr/bin/netweir`.
fn shared(program: &Path) -> PathBuf {
    let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    prefix.join("share").join("netweir")
}

/// The path as seen from the current folder, where it lies below it.
fn relative(path: &Path) -> PathBuf {
    let below =
        std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below.unwrap_or_else(|| path.to_owned())
}

struct Say {
    quiet: bool,
}

impl Say {
    fn line(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        Ok(writeln!(std::io::stdout(), "{text}")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_captures_are_found_in_a_checkout_and_where_a_package_puts_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let put = |name: &str| {
            std::fs::create_dir_all(at(name)).unwrap();
            std::fs::write(at(name).join(TRAIN), "").unwrap();
        };
        let (here, program) = (at("home/deep"), at("usr/bin/netweir"));
        let missing = datasets(&here, &program).unwrap_err().to_string();
        let shared = at("usr/share/netweir");
        for part in [&program, &shared] {
            assert!(missing.contains(&part.display().to_string()) && !missing.contains('\n'), "{missing}");
        }
        for place in ["usr/share/netweir/datasets/lab", "usr/datasets/lab", "home/datasets/lab"] {
            put(place);
            assert_eq!(datasets(&here, &program).unwrap(), at(place));
        }
    }
}
