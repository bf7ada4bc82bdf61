//! `netweir evaluate`: scores held against labels.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::draft::{Draft, DraftError};
use crate::evaluate::{Options, evaluate};

/// Hold scores against labels: metrics, and a report to look at
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  netweir evaluate out --labels attacks.labels.csv -o report.html
  netweir evaluate out --labels attacks.labels.csv -o report.html --compare usual=out-of-another-model

Labels are CSV with the columns start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event: an empty field
means any, the addresses may stand in either direction, attack = ignore means that nobody knows.
metrics.json is left beside the report.")]
pub(super) struct Evaluate {
    /// The folder that detect or watch left
    #[arg(value_name = "OUTDIR")]
    folder: PathBuf,
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

impl Evaluate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut options = Options { also: self.compare, ..Options::default() };
        options.seed = self.seed.unwrap_or(options.seed);
        let summary = report(&self.folder, &self.labels, &self.output, &options)?;
        if !self.quiet {
            write!(std::io::stdout(), "{summary}")?;
            writeln!(std::io::stdout(), "\n{}", self.output.display())?;
        }
        Ok(())
    }
}

/// Writes report and metrics; gives the summary for people.
pub(super) fn report(
    folder: &Path,
    labels: &Path,
    output: &Path,
    options: &Options,
) -> Result<String, Failure> {
    let evaluation = evaluate(folder, labels, options)?;
    let mut metrics = serde_json::to_string_pretty(&evaluation.metrics()).map_err(std::io::Error::from)?;
    metrics.push('\n');
    write(&output.with_file_name("metrics.json"), &metrics)?;
    write(output, &evaluation.report())?;
    Ok(evaluation.to_string())
}

fn write(path: &Path, text: &str) -> Result<(), DraftError> {
    let mut draft = Draft::create(path)?;
    draft.write_all(text.as_bytes()).map_err(|source| DraftError::Io { path: path.to_owned(), source })?;
    draft.commit()
}
