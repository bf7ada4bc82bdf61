//! What a reader must know before the figures: a sentence each.

use super::evaluation::Evaluation;
use super::incidents::LOG;
use super::labels::Labels;
use super::measure::RATES;
use super::number;

impl Evaluation {
    pub(super) fn remarks(&self, labels: &Labels) -> Vec<String> {
        let mut notes = Vec::new();
        let own = self.own();
        match (own.benign, own.attacks) {
            (0, 0) => notes.push("There is no row whose truth is known: nothing can be measured.".into()),
            (_, 0) => notes.push(
                "All rows are benign: ROC-AUC, average precision and recall need attack rows and are not stated; \
                 false alarms are."
                    .into(),
            ),
            (0, _) => notes.push(
                "All rows are attack: ROC-AUC, average precision and false-positive rates need benign rows and are \
                 not stated."
                    .into(),
            ),
            (benign, _) => {
                let few: Vec<String> = RATES
                    .into_iter()
                    .filter(|rate| rate * (benign as f64) < 10.0)
                    .map(|rate| {
                        let allowed = (rate * benign as f64).floor() as u64;
                        format!("{} of them at {}", number::count(allowed), number::rate(rate))
                    })
                    .collect();
                if !few.is_empty() {
                    notes.push(format!(
                        "{} decide the false-positive rates, {} may lie above the threshold: such figures are coarse.",
                        number::counted(benign, "benign row"),
                        few.join(", ")
                    ));
                }
            }
        }
        if let (Some([first, last]), false) = (self.head.span, labels.labels.is_empty()) {
            let from = labels.labels.iter().map(|label| label.start).min().unwrap_or_default();
            let to = labels.labels.iter().map(|label| label.end).max().unwrap_or_default();
            if from > last || to < first {
                notes.push(format!(
                    "Labels and rows share no time: labels from {} to {}, rows from {} to {} (UTC). Are these the labels \
                     of this capture?",
                    number::time(from),
                    number::time(to),
                    number::time(first),
                    number::time(last)
                ));
            }
        }
        let silent = self.event_rows.iter().zip(&self.events.events);
        let silent: Vec<&str> = silent
            .filter(|(rows, event)| **rows == 0 && !event.not_ip)
            .map(|(_, e)| e.name.as_str())
            .collect();
        if !silent.is_empty() {
            notes.push(format!("No row belongs to {}: they are left out of recall.", some(&silent, "event")));
        }
        let arp: Vec<&str> =
            self.events.events.iter().filter(|event| event.not_ip).map(|event| event.name.as_str()).collect();
        if !arp.is_empty() {
            notes
                .push(format!("ARP is not IP: no row can show {}; left out of recall.", some(&arp, "event")));
        }
        if !self.events.of_two_families.is_empty() {
            let two: Vec<&str> = self.events.of_two_families.iter().map(String::as_str).collect();
            notes.push(format!(
                "More than one family is named for {}: the first counts.",
                some(&two, "event")
            ));
        }
        if self.head.rows > 0 && self.whole.edge[1].is_none() {
            notes.push("No row lies above the shipped threshold: there are no alerts.".into());
        }
        match self.cases() {
            None => notes.push(format!(
                "There is no {LOG} beside the scores: incidents, false or not, cannot be counted. A new run of detect \
                 leaves one."
            )),
            Some(cases) if cases.strange > 0 => notes.push(format!(
                "{} of incidents are not among the scores: are these files of one run?",
                number::counted(cases.strange, "row")
            )),
            Some(_) => {}
        }
        notes
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
