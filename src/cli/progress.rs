//! Progress on a terminal; nothing in a pipe.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::Progress;

/// A bar, where standard error is a terminal.
pub(super) fn bar(live: bool) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = if live { "{spinner} {msg}" } else { "{bar:24} {percent:>3} %  {msg}" };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is well formed"));
    Some(bar)
}

/// Shows how far a run is.
pub(super) fn show(bar: &ProgressBar, progress: &Progress) {
    let seconds = progress.elapsed.as_secs_f64();
    let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let mut message = match progress.packets {
        0 => rate(per_second(progress.rows), "rows/s"),
        packets => rate(per_second(packets), "packets/s"),
    };
    if progress.total > 0 {
        bar.set_length(progress.total);
        bar.set_position(progress.done.min(progress.total));
        if let Some(rest) = remaining(progress) {
            message.push_str(&format!("  {} left", clock(rest)));
        }
    }
    if progress.anomalies > 0 {
        message.push_str(&format!("  {} anomalies", progress.anomalies));
    }
    if progress.dropped > 0 {
        message.push_str(&format!("  {} frames dropped", progress.dropped));
    }
    bar.set_message(message);
    bar.tick();
}

/// The time that is left at the mean speed so far; none before a hundredth is done.
fn remaining(progress: &Progress) -> Option<Duration> {
    let (done, total) = (progress.done.min(progress.total) as f64, progress.total as f64);
    (done > total / 100.0).then(|| progress.elapsed.mul_f64((total - done) / done))
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// `2.31 M packets/s`.
pub(super) fn rate(per_second: f64, unit: &str) -> String {
    match per_second {
        0.0..1e3 => format!("{per_second:.0} {unit}"),
        1e3..1e6 => format!("{:.1} k {unit}", per_second / 1e3),
        _ => format!("{:.2} M {unit}", per_second / 1e6),
    }
}

/// Writes lines above a bar, so that the two do not overwrite each other.
pub(super) struct Above<W> {
    bar: ProgressBar,
    out: W,
}

impl<W: Write> Above<W> {
    pub(super) fn new(bar: ProgressBar, out: W) -> Self {
        Above { bar, out }
    }
}

impl<W: Write> Write for Above<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let out = &mut self.out;
        self.bar.suspend(|| out.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_clocks_read_well() {
        assert_eq!(rate(999.4, "packets/s"), "999 packets/s");
        assert_eq!(rate(2_312_000.0, "packets/s"), "2.31 M packets/s");
        assert_eq!(clock(Duration::from_secs(75)), "1:15");
        assert_eq!(clock(Duration::from_secs(7384)), "2:03:04");
    }

    #[test]
    fn what_is_left_follows_the_mean_speed() {
        let progress =
            Progress { done: 25, total: 100, elapsed: Duration::from_secs(10), ..Progress::default() };
        assert_eq!(remaining(&progress), Some(Duration::from_secs(30)));
        assert_eq!(remaining(&Progress { done: 0, ..progress }), None);
    }
}
