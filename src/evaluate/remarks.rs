//! What a reader must know before the figures: a sentence each.

use super::epoch::looks_like;
use super::evaluation::Evaluation;
use super::labels::Labels;
use super::measure::RATES;
use super::number;
use crate::sink::report::INCIDENTS;

/// Names of families that are none.
const HARMLESS: [&str; 3] = ["benign", "normal", "none"];

/// So many benign rows in incidents that are right are worth a word.
const MIXED: u64 = 10;

impl Evaluation {
    pub(super) fn remarks(&self, labels: &Labels) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(self.of_time(labels));
        notes.extend(self.of_classes());
        notes.extend(self.of_events());
        if self.head.rows > 0 && self.whole.edge[1].is_none() {
            let muted = self.cases().is_some_and(|cases| !cases.muted.is_empty());
            let why = if muted { "rules mute all that lie" } else { "no row lies" };
            notes.push(format!("There are no alerts: {why} above the shipped threshold."));
        }
        notes.extend(self.of_incidents());
        notes
    }

    /// What there are too few rows for.
    fn of_classes(&self) -> Option<String> {
        let own = self.own();
        let benign = match (own.benign, own.attacks) {
            (0, 0) => return Some("There is no row whose truth is known: nothing can be measured.".into()),
            (_, 0) if self.events.events.iter().any(|event| !event.not_ip) => {
                return Some(
                    "No label fits a row, so all rows count as benign and all alarms as false: are the labels of these rows, \
                     of their time and their addresses?"
                        .into(),
                );
            }
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
            let meant = [from, to].into_iter().find_map(|time| {
                Some(format!("{time}, a time of the labels, {}.", looks_like(time as f64)?))
            });
            let meant = meant.unwrap_or_else(|| "Are these the labels of this capture?".to_owned());
            format!(
                "Labels and rows share no time: labels from {} to {}, rows from {} to {} (UTC). {meant}",
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
            notes.push(format!("No row belongs to {}: left out of recall.", some(&silent, "event")));
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
        let is_harmless = |family: &&str| HARMLESS.iter().any(|name| family.eq_ignore_ascii_case(name));
        let harmless: Vec<&str> =
            self.events.families.iter().map(String::as_str).filter(is_harmless).collect();
        if let Some(name) = harmless.first() {
            notes.push(format!(
                "The labels name a family `{name}`, which counts as an attack as any other: rows that are benign need no \
                 label, and those whose truth is not known are `ignore`."
            ));
        }
        notes
    }

    /// Incidents that are not there, or of other rows, or of more than the figures tell.
    fn of_incidents(&self) -> Vec<String> {
        let Some(cases) = self.cases() else {
            return vec![format!(
                "There is no {INCIDENTS} beside the scores: incidents, false or not, cannot be counted. A new run of detect \
                 leaves one."
            )];
        };
        let mut notes = Vec::new();
        if cases.strange > 0 {
            notes.push(format!(
                "{} of incidents are not among the scores: are these files of one run? Incidents without any that are \
                 scored are neither found nor false here.",
                number::counted(cases.strange, "row")
            ));
        }
        if cases.unsaid > 0 {
            notes.push(format!(
                "{} with rows {} not in {INCIDENTS}: was it rotated? What it does not say is neither found nor false here.",
                number::counted(cases.unsaid, "incident"),
                if cases.unsaid == 1 { "is" } else { "are" },
            ));
        }
        if cases.unbegun > 0 {
            notes.push(format!(
                "{INCIDENTS} does not say how {} began: was it rotated? Of these, rows count as told at the end of their \
                 windows, the earliest that they could be.",
                number::counted(cases.unbegun, "incident"),
            ));
        }
        let [incidents, rows] = cases.lost;
        if rows > 0 {
            notes.push(format!(
                "{} of {} in {INCIDENTS} {} not in incident_rows: a live run writes those of an hour when it is over, and one \
                 that was killed did not. Incidents without rows are neither found nor false here.",
                number::counted(rows, "row"),
                number::counted(incidents, "incident"),
                if rows == 1 { "is" } else { "are" },
            ));
        }
        let benign: u64 = cases.cases.iter().filter(|case| !case.is_false()).map(|case| case.benign).sum();
        if benign >= MIXED {
            notes.push(format!(
                "{} lie in incidents that are right because of other rows: these are not false incidents.",
                number::counted(benign, "benign row")
            ));
        }
        if !cases.muted.is_empty() {
            notes.push(format!(
                "{} muted by rules: nobody was told of them, and they count as no alerts.",
                match cases.muted.values().sum() {
                    1 => "One row is".to_owned(),
                    rows => format!("{} rows are", number::count(rows)),
                }
            ));
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
