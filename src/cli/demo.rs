//! `netweir demo`: trains on and scores the captures that ship, and holds what it found against the truth.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::{Failure, How};
use crate::evaluate::{Event, Labels, Options, Verdict, judge, read_scores};
use crate::sink::Style;
use crate::spec::Spec;

/// Train on and score the labelled captures that ship, print what was found
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Everything is left in ./netweir-demo:
  model.netweir       what twenty benign minutes taught; netweir inspect prints it
  scores.parquet      every row with its score
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

/// Alert lines that are shown; all of them stand in the file of alerts.
const SHOWN: usize = 8;

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        let datasets = find_datasets().ok_or(Failure::NoDatasets)?;
        let text = |name: &str| datasets.join(name).to_string_lossy().into_owned();
        let model = self.output.join("model.netweir");
        let mut say = Say { quiet: self.how.quiet };

        say.line(format_args!("Training on {} (benign)", text(TRAIN)))?;
        let mut spec = Spec::built_in("train");
        self.how.over(&mut spec);
        spec.source.inputs = vec![text(TRAIN)];
        spec.ends.fit = Some(model.clone());
        self.how.run(&spec)?;

        say.line(format_args!("\nScoring {} (the minutes that follow, with attacks)", text(ATTACKS)))?;
        let mut spec = Spec::built_in("detect");
        self.how.over(&mut spec);
        spec.source.inputs = vec![text(ATTACKS)];
        spec.ends.model = Some(model);
        spec.ends.report = Some(self.output.clone());
        let mut quiet = self.how.controls()?;
        quiet.alerts = (!self.how.quiet).then(|| {
            let style = if std::io::stdout().is_terminal() { Style::Colour } else { Style::Plain };
            (Box::new(First::new(SHOWN)) as Box<dyn Write + Send>, style)
        });
        let outcome = crate::run::run(&spec, quiet)?;
        if !self.how.quiet {
            super::say(&outcome);
        }

        let labels = Labels::read(&datasets.join(LABELS))?;
        let rows = read_scores(&self.output.join(crate::sink::SCORES))?;
        let verdict = judge(&rows, &labels);
        say.line(format_args!("\n{}", table(&verdict)))?;
        let report = self.output.join("report.html");
        super::evaluate::report(&self.output, &datasets.join(LABELS), &report, &Options::default())?;
        say.line(format_args!("A page to look at: {}", report.display()))?;
        say.line(format_args!("All files are in {}", self.output.display()))
    }
}

const TRAIN: &str = "train.pcap.zst";
const ATTACKS: &str = "attacks.pcap.zst";
const LABELS: &str = "attacks.labels.csv";

/// The folder of the captures that ship: in this folder or one above, or above the program.
fn find_datasets() -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let starts = [here, program];
    starts.iter().flatten().flat_map(|start| start.ancestors()).find_map(|folder| {
        let datasets = folder.join("datasets").join("lab");
        datasets.join(TRAIN).is_file().then(|| relative(&datasets))
    })
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

/// What was found, a line for each event.
fn table(verdict: &Verdict) -> String {
    let mut text = format!("{:<20} {:>6} {:>7}   {}\n", "attack", "rows", "alerts", "first alert");
    for event in &verdict.events {
        let found = found(event);
        text.push_str(&format!("{:<20} {:>6} {:>7}   {found}\n", event.attack, event.rows, event.alerts));
    }
    let visible = verdict.events.iter().filter(|event| event.rows > 0).count();
    text.push_str(&format!(
        "\n{} of {visible} attacks found; recall {:.0} % of an attack's rows, averaged over families\n",
        verdict.found(),
        100.0 * verdict.macro_recall().unwrap_or(0.0),
    ));
    text.push_str(&format!(
        "{} false alarms among {} benign rows ({:.2} %)\n",
        verdict.false_alarms,
        verdict.benign_rows,
        100.0 * verdict.false_alarms as f64 / verdict.benign_rows.max(1) as f64,
    ));
    text
}

fn found(event: &Event) -> String {
    match event.delay {
        Some(delay) => format!("after {:.0} s", delay as f64 / 1e9),
        None if event.rows == 0 && event.not_ip => "not seen: ARP carries no IP".to_owned(),
        None if event.rows == 0 => "not in this part of the capture".to_owned(),
        None => "missed".to_owned(),
    }
}

/// Passes the first lines on and counts the rest.
struct First {
    left: usize,
    more: usize,
}

impl First {
    fn new(lines: usize) -> First {
        First { left: lines, more: 0 }
    }
}

impl Write for First {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut out = std::io::stdout().lock();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.left == 0 {
                self.more += usize::from(line.ends_with(b"\n"));
                continue;
            }
            out.write_all(line)?;
            self.left -= usize::from(line.ends_with(b"\n"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if self.more > 0 {
            let _ = writeln!(std::io::stdout(), "... and {} more", self.more);
        }
    }
}
