//! The evaluation in a few lines of text, at most 100 columns wide.

use std::fmt::{self, Display, Formatter};

use super::cases::{Cases, median, windows};
use super::evaluation::{Evaluation, Idle};
use super::labels::Label;
use super::measure::{Detector, Point};
use super::number::{count, counted, duration, maybe, part, short, time};
use crate::terminal::safe;

/// Columns of a terminal that are used.
pub(super) const WIDTH: usize = 100;
/// Label rows without rows that are listed.
const LISTED: usize = 5;

impl Display for Evaluation {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let head = &self.head;
        writeln!(to, "{}", cut(&format!("{} against {}", head.scores, head.labels), WIDTH))?;
        writeln!(
            to,
            "{}: {} benign, {} attack, {} of unknown truth",
            counted(head.rows, "row"),
            count(self.own().benign),
            count(self.own().attacks),
            count(self.whole.unknown)
        )?;
        if let Some([first, last]) = head.span {
            writeln!(to, "{} to {} UTC ({})", time(first), time(last), duration(last - first))?;
        }
        writeln!(
            to,
            "\n{:24} {:>7} {:>7}   mean recall of families at false-positive rate",
            "", "ROC", "average"
        )?;
        writeln!(
            to,
            "{:24} {:>7} {:>9} {:>7} {:>7} {:>7}  {:15} {:>7}",
            "", "AUC", "precision", "1e-2", "1e-3", "1e-4", "95 % at 1e-3", "events"
        )?;
        for detector in &self.detectors {
            writeln!(to, "{}", self.line(detector))?;
        }
        if let Some(shipped) = &self.own().shipped {
            self.shipped(shipped, to)?;
        }
        if let Some(cases) = self.cases() {
            self.incidents(cases, to)?;
        }
        self.weakest(to)?;
        self.spread_over_seeds(to)?;
        let of = |why: Idle| self.idle.iter().filter(|idle| idle.why == why).count() as u64;
        if !self.idle.is_empty() {
            writeln!(
                to,
                "\n{} of {} {}: {} of ARP, {} fit no row, {} taken by others.",
                count(self.idle.len() as u64),
                counted(head.label_rows, "label row"),
                if self.idle.len() == 1 { "has no row of its own" } else { "have no row of their own" },
                count(of(Idle::NotIp)),
                count(of(Idle::NoRow)),
                count(of(Idle::Taken))
            )?;
            let unfit = self.idle.iter().filter(|idle| idle.why == Idle::NoRow).take(LISTED + 1);
            for (place, idle) in unfit.enumerate() {
                let Label { line, attack, event, .. } = &idle.label;
                let words = match place < LISTED {
                    true => format!("  line {line} fits no row: {attack} {event}"),
                    false => "  ... the others are in metrics.json".into(),
                };
                writeln!(to, "{}", cut(&words, WIDTH))?;
            }
        }
        for note in &self.notes {
            writeln!(to, "{}", wrap(note))?;
        }
        Ok(())
    }
}

impl Evaluation {
    fn line(&self, detector: &Detector) -> String {
        let at = |place: usize| maybe(detector.points.get(place).and_then(|point| point.macro_recall));
        let middle = detector.points.get(1);
        let interval = middle.and_then(|point| point.interval);
        let interval =
            interval.map_or_else(|| "–".into(), |[low, high]| format!("{} to {}", part(low), part(high)));
        let found = middle.map_or_else(|| "–".into(), |point| self.found(point));
        format!(
            "{:24} {:>7} {:>9} {:>7} {:>7} {:>7}  {interval:15} {found:>7}",
            cut(&detector.name, 24),
            maybe(detector.roc_auc),
            maybe(detector.average_precision),
            at(0),
            at(1),
            at(2),
        )
    }

    /// Events with an alarm of those with rows, such as `25/26`; a dash where none has rows.
    pub(super) fn found(&self, point: &Point) -> String {
        let found = point.found.iter().filter(|event| event.hits > 0).count();
        match point.found.iter().filter(|event| event.rows > 0).count() {
            0 => "–".into(),
            all => format!("{found}/{all}"),
        }
    }

    /// So many events of those with rows among the evaluated scores.
    pub(super) fn found_of(&self, found: usize) -> String {
        match self.event_rows.iter().filter(|rows| **rows > 0).count() {
            0 => "–".into(),
            all => format!("{found}/{all}"),
        }
    }

    fn shipped(&self, point: &Point, to: &mut Formatter<'_>) -> fmt::Result {
        let threshold = point.threshold.map_or_else(String::new, |threshold| format!(" {threshold:.4}"));
        let words = format!(
            "At the shipped threshold{threshold}: precision {}, recall {}, F1 {}, mean recall of families {}, events found {}; \
             {} of {} benign rows alarmed about.",
            maybe(point.precision),
            maybe(point.recall),
            maybe(point.f1),
            maybe(point.macro_recall),
            self.found(point),
            count(point.false_alarms),
            count(self.own().benign),
        );
        writeln!(to, "\n{}", wrap(&words))
    }

    fn incidents(&self, cases: &Cases, to: &mut Formatter<'_>) -> fmt::Result {
        let dash = |value: Option<f64>| value.map_or_else(|| "–".into(), short);
        let mut words = format!(
            "{}, {} false ({} an hour, {} a day and host); of two rows or more {}, {} false. Events found {}, at most {} in \
             one incident; median time to detect {}.",
            counted(cases.count.all, "incident"),
            count(cases.count.wrong),
            dash(cases.an_hour(cases.count.wrong)),
            dash(cases.a_host_and_day(cases.count.wrong)),
            count(cases.larger.all),
            count(cases.larger.wrong),
            self.found_of(cases.found()),
            count(cases.most_merged),
            self.median_delay().unwrap_or_else(|| "–".into()),
        );
        if !cases.new_hosts.is_empty() {
            words += &format!(" {} reported.", counted(cases.new_hosts.len() as u64, "new host"));
        }
        if cases.held.all > 0 {
            let held = count(cases.held.all);
            words += &format!(" Held back, as knocks from outside or by the budget: {held}.");
        }
        let muted: u64 = cases.muted.values().sum();
        if muted > 0 {
            let attacks = count(cases.muted_attacks);
            words += &format!(" Muted by rules: {}, {attacks} of them attack.", counted(muted, "row"));
        }
        writeln!(to, "{}", wrap(&words))
    }

    fn spread_over_seeds(&self, to: &mut Formatter<'_>) -> fmt::Result {
        // Of those that are the same under all a note says so.
        for seeds in self.seeds.iter().filter(|seeds| !seeds.is_one()) {
            let words = format!("`{}` over {} seeds: {}.", seeds.name, seeds.seeds.len(), seeds.words());
            writeln!(to, "{}", wrap(&words))?;
        }
        Ok(())
    }

    /// The median time to detect in seconds and windows.
    pub(super) fn median_delay(&self) -> Option<String> {
        let delay = median(self.delays())?;
        let windows = windows(delay, self.window);
        let windows =
            windows.map_or_else(String::new, |windows| format!(" ({})", counted(windows, "window")));
        Some(duration(delay) + &windows)
    }

    fn weakest(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let Some(point) = self.own().points.get(1) else { return Ok(()) };
        let mut families: Vec<_> = point.families.iter().filter(|family| family.recall() < 0.9).collect();
        families.sort_by(|a, b| a.recall().total_cmp(&b.recall()));
        let names = families
            .iter()
            .take(6)
            .map(|family| format!("{} {}", self.events.families[family.family], part(family.recall())));
        let names = names.collect::<Vec<_>>().join(", ");
        match names.is_empty() {
            true => Ok(()),
            false => writeln!(to, "{}", wrap(&format!("Weakest at 1e-3: {names}."))),
        }
    }
}

/// Text as a terminal may have it. The end of what is too long matters more than its start: file names differ there.
pub(super) fn cut(text: &str, width: usize) -> String {
    let text = safe(text);
    let letters = text.chars().count();
    match letters <= width {
        true => text,
        false => std::iter::once('…').chain(text.chars().skip(letters + 1 - width)).collect(),
    }
}

/// Breaks text at spaces; words that are too long are cut.
pub(super) fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let word = cut(word, WIDTH);
        let line = lines.last_mut().expect("there is a first line");
        match line.chars().count() + 1 + word.chars().count() > WIDTH && !line.is_empty() {
            true => lines.push(word),
            false if line.is_empty() => *line = word,
            false => *line = format!("{line} {word}"),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_a_hundred_columns() {
        let mut evaluation = Evaluation::example();
        evaluation.head.scores = "a/long/path/".repeat(20);
        evaluation.detectors[0].name = "x".repeat(200);
        evaluation.notes.push("word ".repeat(60) + &"y".repeat(150) + "\u{1b}[31mred");
        let text = evaluation.to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH && !line.contains('\u{1b}'), "{line}");
        }
        let text = text.replace('\n', " ");
        for claim in
            ["400 benign, 50 attack, 1 of unknown truth", "events found 3/4", "1 of ARP, 1 fit no row"]
        {
            assert!(text.contains(claim), "{claim} in\n{text}");
        }
    }
}
