//! The command line: one file a verb. A verb is a pipeline with other ends, and nothing more.

mod advice;
mod check;
mod demo;
mod detect;
mod evaluate;
mod explain;
mod extract;
mod features;
mod inspect;
mod limits;
mod manual;
mod misuse;
mod progress;
mod relay;
mod run;
mod shell;
mod signals;
mod speaker;
mod threshold;
mod train;
mod watch;

use std::error::Error as _;
use std::io::{ErrorKind, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use self::advice::advised;
use self::relay::{Forgiving, Relay};
use self::speaker::Speaker;
use crate::run::{Controls, Notice, Outcome, RunError};
use crate::sink::Style;
use crate::spec::{Spec, SpecError};
use crate::terminal::spelled;
use crate::threads::NoThread;

/// Network anomaly detection in one dataflow graph: the same features and scores from capture files and
/// from the wire.
#[derive(Debug, Parser)]
#[command(
    name = "netweir",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Try it: netweir demo",
    after_long_help = EXAMPLES
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "Examples:
  netweir demo                                             train and score the captures that ship
  netweir extract archive/ -o rows.parquet                 flow rows of every capture in a folder
  netweir train quiet-week/ -m office.netweir              learn what is usual
  netweir detect today.pcap.zst -m office.netweir -o out   score, write scores and alerts
  netweir explain out                                      incidents, the worst first
  sudo netweir watch -i eth0 -m office.netweir -o out      the same, live";

/// The definitions of the command line.
fn command() -> clap::Command {
    manual::with_verbs(Cli::command())
}

#[derive(Debug, Subcommand)]
enum Verb {
    Extract(extract::Extract),
    Train(train::Train),
    Detect(detect::Detect),
    Watch(watch::Watch),
    Evaluate(evaluate::Evaluate),
    Explain(explain::Explain),
    Run(run::Run),
    Check(check::Check),
    Features(features::Features),
    Inspect(inspect::Inspect),
    Demo(demo::Demo),
    Completions(shell::Completions),
    Man(manual::Man),
}

/// Captures or rows.
#[derive(Debug, Args)]
struct Inputs {
    /// Captures (pcap, pcapng, also .gz and .zst) or Parquet rows: files, folders, globs, - for stdin
    #[arg(value_name = "IN", required = true)]
    inputs: Vec<String>,
}

/// What all verbs that run a graph share.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
struct Common {
    /// Pipeline to use instead: a file, or one that is built in (forest, usual, ...)
    #[arg(short, long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// How a run goes, whatever it does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
struct How {
    /// Workers [default: all cores]; the results are the same for any number
    #[arg(short, long, value_name = "N", value_parser = workers)]
    workers: Option<NonZeroUsize>,
    /// Seed of every random choice
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Skip and count what cannot be read (unknown link types, impossible lengths) instead of ending
    #[arg(long)]
    lax: bool,
    /// Write the counters as JSON
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

/// Workers that a core may have. Each is a thread that talks to all others, and costs more than it brings where it has no
/// core of its own: many more than that are a slip of the keyboard, and a run that seems to hang.
const A_CORE: usize = 8;

fn workers(text: &str) -> Result<NonZeroUsize, String> {
    let most = A_CORE * Controls::default().workers.max(2);
    let allowed = || format!("1 to {most} are allowed on this machine");
    text.parse().ok().filter(|count: &NonZeroUsize| count.get() <= most).ok_or_else(allowed)
}

impl Common {
    /// The pipeline of the verb, or the file that was named, with what the command line says on top.
    fn spec(&self, verb: &str) -> Result<Spec, SpecError> {
        let mut spec = match &self.pipeline {
            Some(path) => Spec::find(path)?,
            None => Spec::built_in(verb),
        };
        self.how.over(&mut spec);
        Ok(spec)
    }
}

impl How {
    fn over(&self, spec: &mut Spec) {
        spec.seed = self.seed.unwrap_or(spec.seed);
        spec.source.lax |= self.lax;
        if self.summary.is_some() {
            spec.ends.summary.clone_from(&self.summary);
        }
    }

    fn controls(&self) -> Result<Controls, Failure> {
        let mut controls = Controls::default();
        if let Some(workers) = self.workers {
            controls.workers = workers.get();
        }
        // What goes on beside the workers (encoding, growing trees) has as many threads, not all that there are.
        let made = rayon::ThreadPoolBuilder::new().num_threads(controls.workers).build_global();
        // A second run in this process finds them made, which has no cause beneath it.
        if made.is_err_and(|error| error.source().is_some()) {
            return Err(NoThread.into());
        }
        controls.stop = signals::stop().map_err(Failure::Signals)?;
        limits::allow_open_files();
        Ok(controls)
    }

    /// Runs a pipeline; progress on a terminal, a few lines about it when it has ended.
    fn run(&self, spec: &Spec) -> Result<Outcome, Failure> {
        let mut controls = self.controls()?;
        let live = spec.source.interface.is_some();
        let bar = (!self.quiet).then(|| progress::bar(live)).flatten();
        let speaker = Speaker::start(Box::new(std::io::stderr()), bar.clone())?;
        if spec.ends.model.is_some() && !self.quiet {
            let mut say = speaker.lines();
            let failed = move |error: &std::io::Error| say(no_lines(error));
            let alerts = std::io::stdout();
            let style = if alerts.is_terminal() { Style::Colour } else { Style::Plain };
            // What goes elsewhere needs no place above the bar, which would be held as long as nobody reads it.
            let out: Box<dyn Write + Send> = match bar.as_ref().filter(|_| alerts.is_terminal()) {
                Some(bar) => Box::new(progress::Above::new(bar.clone(), alerts)),
                None => Box::new(alerts),
            };
            let out: Box<dyn Write + Send> = match live {
                true => Box::new(Relay::new(out, failed)?),
                false => Box::new(Forgiving::new(out, failed)),
            };
            controls.alerts = Some((out, style));
        }
        if bar.is_some() {
            controls.progress = Some(speaker.progress());
        }
        let (quiet, mut say) = (self.quiet, speaker.lines());
        controls.notices = Some(Box::new(move |notice| told(notice, quiet).into_iter().for_each(&mut say)));
        let outcome = crate::run::run(spec, controls);
        let text = outcome.as_ref().ok().filter(|_| !self.quiet).map(last_words);
        let failed = outcome.as_ref().map_or(true, |outcome| outcome.ended_by.is_some());
        if !speaker.end(text, !live) && failed {
            // Nobody would take the words of the error either, and whoever starts a sensor anew waits for its end.
            std::process::exit(ERROR.into());
        }
        let outcome = outcome?;
        match outcome.ended_by {
            Some(error) => Err(error.into()),
            None => Ok(outcome),
        }
    }
}

/// The exit code of what failed.
pub const ERROR: u8 = 2;

/// Letters of a message at most.
const MOST: usize = 1000;

/// Text as one line of bearable length that moves no cursor, hides and turns nothing around: it may quote the
/// bytes of files.
pub fn one_line(text: &str) -> String {
    let mut letters = text.chars();
    let mut line = spelled(&letters.by_ref().take(MOST).collect::<String>());
    if letters.next().is_some() {
        line.push('…');
    }
    line
}

/// Standard output takes no more lines, and the run goes on.
fn no_lines(error: &std::io::Error) -> String {
    format!("standard output: {error}: it gets no more lines; the files have all of them")
}

/// What a run has to say while it goes on, as a line.
fn told(notice: Notice, quiet: bool) -> Option<String> {
    let (line, wrong) = match notice {
        Notice::Listening(line) | Notice::Changed(line) => (line, false),
        Notice::Refused(line) | Notice::Trouble(line) => (line, true),
    };
    (wrong || !quiet).then(|| one_line(&line))
}

/// What a run did, in lines for standard error, so that standard output stays for results.
fn last_words(outcome: &Outcome) -> String {
    let seconds = outcome.elapsed.as_secs_f64();
    let summary = &outcome.summary;
    let mut text = summary.lines().trim_end().to_owned();
    if summary.packets > 0 && seconds > 0.0 {
        let rate = summary.packets as f64 / seconds;
        text.push_str(&format!("\n{seconds:.2} s, {}", progress::rate(rate, "packets/s")));
    }
    for note in outcome.model.iter().flat_map(|model| model.notes()) {
        text.push_str(&format!("\nnote: {note}"));
    }
    for complaint in &outcome.complaints {
        text.push('\n');
        text.push_str(&one_line(complaint));
    }
    text
}

/// Why a verb failed: one line each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The pipeline file.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model file.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// Labels or scores.
    #[error(transparent)]
    Evaluate(#[from] crate::evaluate::EvaluateError),
    /// A report that cannot be explained.
    #[error(transparent)]
    Explain(#[from] explain::ExplainError),
    /// An output that is an input.
    #[error(transparent)]
    Apart(#[from] crate::apart::ApartError),
    /// A file cannot be written.
    #[error(transparent)]
    Draft(#[from] crate::draft::DraftError),
    /// No thread for what goes on beside the workers.
    #[error(transparent)]
    Threads(#[from] NoThread),
    /// Signals cannot be caught.
    #[error("signals cannot be caught: {0}")]
    Signals(std::io::Error),
    /// Standard output is gone.
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
    /// The captures of the demo are not there.
    #[error(
        "the captures of the demo (datasets/lab) are neither here nor above, nor above {}, nor in {}: \
         run it in a checkout of netweir, or put the folder datasets of one there", program.display(), shared.display()
    )]
    NoDatasets {
        /// The program.
        program: PathBuf,
        /// Where a package puts them.
        shared: PathBuf,
    },
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// [`Failure`], one line.
    pub fn run(self) -> Result<(), Failure> {
        signals::survive_large_files().map_err(Failure::Signals)?;
        let done = match self.verb {
            Verb::Extract(verb) => verb.run(),
            Verb::Train(verb) => verb.run(),
            Verb::Detect(verb) => verb.run(),
            Verb::Watch(verb) => verb.run(),
            Verb::Evaluate(verb) => verb.run(),
            Verb::Explain(verb) => verb.run(),
            Verb::Run(verb) => verb.run(),
            Verb::Check(verb) => verb.run(),
            Verb::Features(verb) => verb.run(),
            Verb::Inspect(verb) => verb.run(),
            Verb::Demo(verb) => verb.run(),
            Verb::Completions(verb) => verb.run(command()),
            Verb::Man(verb) => verb.run(command()),
        };
        match done {
            // Who reads the output has read enough.
            Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_hold_together() {
        command().debug_assert();
    }

    #[test]
    fn a_message_is_one_line_whatever_it_quotes() {
        assert_eq!(one_line("a\u{1b}[2J\r\nb\t\u{202e}é"), "a\\u{1b}[2J\\r\\nb\\t\\u{202e}é");
        assert_eq!(one_line(&"\n".repeat(5000)).chars().count(), 2001);
        assert_eq!(one_line("x"), "x");
    }

    #[test]
    fn short_help_fits_a_screen() {
        let mut command = command();
        let mut verbs: Vec<clap::Command> = command.get_subcommands().cloned().collect();
        verbs.push(command.clone());
        for mut verb in verbs {
            let lines = verb.render_help().to_string().lines().count();
            assert!(lines <= 40, "{}: {lines} lines", verb.get_name());
        }
        command.build();
    }
}
