//! The evaluation for a first look in a terminal: the worst incidents, what became of each event, two lines of sums.

use std::fmt::Write;

use super::cases::{Case, median, windows};
use super::evaluation::Evaluation;
use super::number::{count, counted, duration, time};
use super::summary::{WIDTH, cut, wrap};
use crate::terminal::safe;

/// Columns before what explains an incident.
const INDENT: usize = 10;
/// Pieces of evidence of one incident.
const PIECES: usize = 3;
/// Columns of one event.
const EVENT: usize = WIDTH / 2;

impl Evaluation {
    /// The worst incidents with their reasons and what the labels say, three lines each, at most 100 columns
    /// wide; none where the run has left no incidents.
    pub fn worst_incidents(&self, most: usize) -> Option<String> {
        let cases = self.cases()?;
        // The log and the counters have them as incidents, too.
        let new = match cases.new_hosts.len() {
            0 => String::new(),
            new => format!(" (beside {})", counted(new as u64, "new host")),
        };
        let mut text = match cases.cases.len() {
            0 => format!("No incidents{new}\n"),
            all if all > most => {
                format!(
                    "The worst {most} of {}{new}, by severity and score\n",
                    counted(all as u64, "incident")
                )
            }
            all => format!("{}{new}, by severity and score\n", counted(all as u64, "incident")),
        };
        for case in cases.worst().into_iter().take(most) {
            self.incident(case, &mut text);
        }
        Some(text)
    }

    fn incident(&self, case: &Case, text: &mut String) {
        let incident = &case.incident;
        let long = incident.last.saturating_sub(incident.first);
        let since = time(incident.first);
        let since = since.split(' ').next_back().unwrap_or_default();
        let head = format!(
            "{:<9} {} as {}, {} in {} from {since}, {}{}",
            incident.severity.name(),
            incident.subject(),
            incident.role,
            counted(case.rows(), "alert"),
            duration(long),
            counted(incident.peers, "peer"),
            match incident.ports {
                0 => String::new(),
                ports => format!(", {}", counted(ports, "port")),
            },
        );
        let reasons = self.reasons.get(&incident.top.row);
        let evidence = reasons
            .map(|reasons| reasons.odd_about(incident.subject()).take(PIECES).collect::<Vec<_>>().join("; "));
        let why = evidence.filter(|evidence| !evidence.is_empty()).unwrap_or_else(|| incident.why.clone());
        let families = self.families_of(case);
        let truth = match (families.is_empty(), case.is_false()) {
            (false, _) => format!("labelled {}", families.join(", ")),
            (true, true) => "false: no label fits".to_owned(),
            (true, false) => "its truth is not known".to_owned(),
        };
        let hint = incident.hints.first().map_or_else(String::new, |hint| format!("; looks like {hint}"));
        let mut line = |indent: usize, words: &str| {
            let words = shorten(&safe(words), WIDTH - indent);
            writeln!(text, "{:indent$}{words}", "").expect("a string takes all that is written");
        };
        line(0, &head);
        if !why.is_empty() {
            line(INDENT, &why);
        }
        line(INDENT, &(truth + &hint));
    }

    /// What became of each event, two a line, and the sums; at most 100 columns wide.
    pub fn events_found(&self) -> String {
        let mut text = String::new();
        let events: Vec<String> = (0..self.events.events.len()).map(|place| self.event(place)).collect();
        let half = events.len().div_ceil(2);
        for at in 0..half {
            let left = format!("{:<EVENT$}", events[at]);
            let right = events.get(at + half).map_or("", String::as_str);
            text += format!("{left}{right}").trim_end();
            text.push('\n');
        }
        text.push('\n');
        text += &wrap(&self.sums());
        text.push('\n');
        text
    }

    fn event(&self, place: usize) -> String {
        let event = &self.events.events[place];
        let hits = self.own().shipped.as_ref().map_or(0, |point| point.found[place].hits);
        let delay = self.delays().get(place).copied().flatten();
        let what = match (delay, self.event_rows[place]) {
            (Some(delay), _) => format!("after {}", duration(delay)),
            (None, 0) if event.not_ip => "ARP, not IP".to_owned(),
            (None, 0) => "not captured".to_owned(),
            (None, _) => "missed".to_owned(),
        };
        let rows = format!("{}/{}", count(hits), count(self.event_rows[place]));
        let name = cut(&self.events.families[event.family], 18);
        format!("{name:<18} {rows:>13}  {what}")
    }

    fn sums(&self) -> String {
        let own = self.own();
        let shipped = own.shipped.as_ref();
        let recall = shipped.and_then(|point| point.macro_recall);
        let found = self.delays().iter().flatten().count();
        let all = self.event_rows.iter().filter(|rows| **rows > 0).count();
        let mut text = format!("{found} of {} found", counted(all as u64, "attack"));
        if let Some(delay) = median(self.delays()) {
            let windows = windows(delay, self.window);
            let windows =
                windows.map_or_else(String::new, |windows| format!(" ({})", counted(windows, "window")));
            text += &format!(", half of them within {}{windows}", duration(delay));
        }
        if let Some(recall) = recall {
            text += &format!("; {:.0} % of an attack's rows in the mean", 100.0 * recall);
        }
        text += ". ";
        if let Some(cases) = self.cases() {
            let time = duration(cases.time);
            text += &format!(
                "{} in {time}, {} of two rows or more; ",
                counted(cases.count.wrong, "false incident"),
                count(cases.larger.wrong)
            );
        }
        let wrong = self.false_alarms.len() as u64;
        text + &format!("{} among {}.", counted(wrong, "false alarm"), counted(own.benign, "benign row"))
    }
}

/// The first letters of what is too long: sentences begin with what matters.
fn shorten(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_look_shows_incidents_events_and_sums_within_a_hundred_columns() {
        let mut evaluation = Evaluation::example();
        let incidents = evaluation.worst_incidents(1).unwrap();
        assert!(incidents.starts_with("The worst 1 of 2 incidents"), "{incidents}");
        assert!(incidents.contains("critical  10.0.1.1 as source, 40 alerts in 81.0 s"), "{incidents}");
        assert!(
            incidents.contains("many <ports> of 10.0.1.1\n          labelled scan, flood; looks like T1046"),
            "{incidents}"
        );
        assert!(evaluation.worst_incidents(2).unwrap().contains("false: no label fits"));
        let events = evaluation.events_found();
        assert!(events.contains("beacon <slow>") && events.contains("missed"), "{events}");
        assert!(events.contains("ARP, not IP") && events.contains("not captured"), "{events}");
        assert!(events.contains("3 of 4 attacks found"), "{events}");
        assert!(events.contains("1 false incident in"), "{events}");
        let cases = evaluation.detectors[0].cases.as_mut().unwrap();
        cases.cases[0].incident.why = "\u{1b}[31m ".repeat(100);
        for line in evaluation.worst_incidents(9).unwrap().lines().chain(events.lines()) {
            assert!(line.chars().count() <= WIDTH && !line.contains('\u{1b}'), "{line}");
        }
        evaluation.detectors[0].cases = None;
        assert_eq!(evaluation.worst_incidents(5), None);
    }
}
