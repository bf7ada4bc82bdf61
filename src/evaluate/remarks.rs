//! What a reader must know before the figures: a sentence each.

use super::evaluation::Evaluation;
use super::labels::Labels;
use super::measure::RATES;
use super::number;
use crate::sink::report::INCIDENTS;

impl Evaluation {
    pub(super) fn remarks(&self, labels: &Labels) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(self.of_classes());
        notes.extend(self.of_time(labels));
        notes.extend(self.of_events());
        if self.head.rows > 0 && self.whole.edge[1].is_none() {
            notes.push("No row lies above the shipped threshold: there are no alerts.".into());
        }
        notes.extend(self.of_incidents());
        notes
    }

    /// What there are too few rows for.
    fn of_classes(&self) -> Option<String> {
        let own = self.own();
        let benign = match (own.benign, own.attacks) {
            (0, 0) => return Some("There is no row whose truth is known: nothing can be measured.".into()),
            (_, 0) => {
                return Some(
                    "All rows are benign: ROC-AUC, average precision and recall need attack rows and are not stated; \
                     false alarms are."
                        .into(),
                );
            }
            (0, _) => {
                return Some(
                    "All rows are attack: ROC-AUC, average precision and false-positive rates need benign rows and are \
                     not stated."
                        .into(),
                );
            }
            (benign, _) => benign,
        };
        let few = RATES.into_iter().filter(|rate| rate * (benign as f64) < 10.0).map(|rate| {
            let allowed = (rate * benign as f64).floor() as u64;
            format!("{} of them at {}", number::count(allowed), number::rate(rate))
        });
        let few: Vec<String> = few.collect();
        (!few.is_empty()).then(|| {
            format!(
                "{} decide the false-positive rates, {} may lie above the threshold: such figures are coarse.",
                number::counted(benign, "benign row"),
                few.join(", ")
            )
        })
    }

    /// Whether labels and rows can be of one capture.
    fn of_time(&self, labels: &Labels) -> Option<String> {
        let [first, last] = self.head.span?;
        let from = labels.labels.iter().map(|label| label.start).min()?;
        let to = labels.labels.iter().map(|label| label.end).max()?;
        (from > last || to < first).then(|| {
            format!(
                "Labels and rows share no time: labels from {} to {}, rows from {} to {} (UTC). Are these the labels \
                 of this capture?",
                number::time(from),
                number::time(to),
                number::time(first),
                number::time(last)
            )
        })
    }

    /// Events that the figures are not of, or of which they say less than the labels.
    fn of_events(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let silent = self.event_rows.iter().zip(&self.events.events);
        let silent = silent.filter(|(rows, event)| **rows == 0 && !event.not_ip);
        let silent: Vec<&str> = silent.map(|(_, event)| event.name.as_str()).collect();
        if !silent.is_empty() {
            notes.push(format!("No row belongs to {}: they are left out of recall.", some(&silent, "event")));
        }
        let arp = self.events.events.iter().filter(|event| event.not_ip);
        let arp: Vec<&str> = arp.map(|event| event.name.as_str()).collect();
        if !arp.is_empty() {
            let arp = some(&arp, "event");
            notes.push(format!("ARP is not IP: no row can show {arp}; left out of recall."));
        }
        let two: Vec<&str> = self.events.of_two_families.iter().map(String::as_str).collect();
        if !two.is_empty() {
            let two = some(&two, "event");
            notes.push(format!("More than one family is named for {two}: the first counts."));
        }
        notes
    }

    /// Incidents that are not there, or of other rows.
    fn of_incidents(&self) -> Option<String> {
        match self.cases() {
            None => Some(format!(
                "There is no {INCIDENTS} beside the scores: incidents, false or not, cannot be counted. A new run of detect \
                 leaves one."
            )),
            Some(cases) => (cases.strange > 0).then(|| {
                format!(
                    "{} of incidents are not among the scores: are these files of one run?",
                    number::counted(cases.strange, "row")
                )
            }),
        }
    }
}

/// Names in a row, five at most.
fn some(names: &[&str], noun: &str) -> String {
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let plural = if names.len() == 1 { "" } else { "s" };
    match names.len().checked_sub(5) {
        Some(more) if more > 0 => format!("{} {noun}{plural} ({shown} and {more} more)", names.len()),
        _ => format!("{noun}{plural} {shown}"),
    }
}
