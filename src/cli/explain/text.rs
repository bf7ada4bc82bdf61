//! What `netweir explain` says: all incidents, a line for each, or one in full.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::rows::Scored;
use crate::incident::Kind;
use crate::incident::line::rfc3339;
use crate::report::{Incident, Members};
use crate::terminal::safe;

/// A count with its noun, which takes an `s` unless it is one.
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Rules in the order of their file: their names begin with their numbers.
fn by_number<T>(rules: &BTreeMap<String, T>) -> Vec<(&str, &T)> {
    let mut rules: Vec<(&str, &T)> = rules.iter().map(|(name, of)| (name.as_str(), of)).collect();
    rules.sort_by_key(|(name, _)| name.split(':').next().and_then(|number| number.parse::<u64>().ok()));
    rules
}

/// Who with whom: the other end by its address where it is one.
fn who(incident: &Incident) -> String {
    let top = &incident.top;
    let Some(address) = &incident.address else { return "many new hosts".to_owned() };
    let others = match incident.peers {
        1 if top.src == *address => top.dst.clone(),
        1 => top.src.clone(),
        peers => counted(peers, "host"),
    };
    let ports = match (incident.ports, top.dst_port) {
        (0, _) | (1, Some(0)) => top.protocol.clone(),
        (ports, None) => format!("{}, {}", counted(ports, "port"), top.protocol),
        (1, Some(port)) => format!("{} {port}", top.protocol),
        (ports, _) => counted(ports, "port"),
    };
    match &incident.role[..] {
        "source" => format!("{address} -> {others}, {ports}"),
        _ => format!("{others} -> {address}, {ports}"),
    }
}

/// All incidents, a line for each, and what rules muted.
pub(super) fn list(incidents: &[Incident], members: &Members) -> String {
    let mut text = String::new();
    let (knocks, incidents): (Vec<_>, Vec<_>) = incidents.iter().partition(|incident| incident.knock);
    for incident in &incidents {
        let Incident { id, severity, first, alerts, .. } = incident;
        let first = rfc3339(*first);
        let first = first.get(..19).unwrap_or(&first).replace('T', " ");
        let held = if incident.held { "  (held)" } else { "" };
        let line = match incident.kind {
            // Of many at once its words say it.
            Kind::NewHosts => {
                format!("{first}Z  {:<8}  {id}  {}{held}", severity.name(), incident.why)
            }
            Kind::NewHost => {
                format!(
                    "{first}Z  {:<8}  {id}  {} is new: it began no flow in training{held}",
                    severity.name(),
                    incident.address.as_deref().unwrap_or("a host")
                )
            }
            Kind::Anomaly => format!(
                "{first}Z  {:<8}  {id}  {:<42} {alerts:>7} row{}{held}",
                severity.name(),
                who(incident),
                if *alerts == 1 { "" } else { "s" }
            ),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if incidents.is_empty() {
        text.push_str("no incident\n");
    }
    if !knocks.is_empty() {
        let knocks = counted(knocks.len() as u64, "knock");
        let _ = writeln!(text, "{knocks} from outside (one odd row each, let in by nobody): not listed");
    }
    for (rule, muted) in by_number(&members.muted) {
        let _ = writeln!(text, "muted by rule {}: {}", safe(rule), counted(muted.len() as u64, "row"));
    }
    text
}

/// One incident with its rows.
pub(super) fn in_full(incident: &Incident, scored: Scored, most: usize) -> String {
    let Incident { id, severity, kind, first, last, alerts, windows, .. } = incident;
    let state = match (incident.knock, incident.held, incident.is_over) {
        (true, _, true) => "a knock from outside that nobody let in, over",
        (true, ..) => "a knock from outside that nobody let in, open",
        (_, true, _) => "held back by the budget",
        (.., true) => "over",
        _ => "open",
    };
    let mut text = format!("{id}  {}  {}  {state}\n{}\n", severity.name(), kind.name(), who(incident));
    let _ = writeln!(text, "from {} to {}", rfc3339(*first), rfc3339(*last));
    if *alerts > 0 {
        let (rows, windows) = (counted(*alerts, "row"), counted(*windows, "window"));
        let (score, p_value) = (incident.score, incident.p_value);
        let _ = writeln!(text, "{rows} in {windows}; score {score:.3}, p {p_value:.2e}");
    }
    let _ = writeln!(text, "{}", incident.why);
    for hint in &incident.hints {
        let _ = writeln!(text, "hint: {hint} (by the shape of rows, no proof)");
    }
    if !scored.rows.is_empty() {
        text.push_str(match scored.rows.iter().all(|(is_told, ..)| *is_told) {
            true => "\nrows, the oddest first\n",
            false => "\nrows, those that say why before the others, the oddest first\n",
        });
    }
    for (.., row) in scored.rows.iter().take(most) {
        text.push_str(row);
    }
    if scored.rows.len() > most {
        let _ = writeln!(text, "  ... and {} more (-n)", scored.rows.len() - most);
    }
    let missing = alerts.saturating_sub(scored.rows.len() as u64);
    if missing > 0 {
        let _ = writeln!(
            text,
            "\n{} {} not there: a live run writes those of an hour when it is over, and one that was killed none of its last",
            counted(missing, "row"),
            if missing == 1 { "is" } else { "are" }
        );
    }
    if let Some(address) = incident.address.as_ref().filter(|_| !scored.muted.is_empty()) {
        let _ = writeln!(text, "\nmuted meanwhile, rows of {address}");
    }
    for (rule, rows) in by_number(&scored.muted) {
        let _ = writeln!(text, "  {rows} by rule {}", safe(rule));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Severity;

    fn incident(alerts: u64, windows: u64) -> Incident {
        let example = Incident::example("3f9a000000000000", Kind::Anomaly, 0, Severity::Low);
        Incident { alerts, windows, score: 9.5, ..example }
    }

    #[test]
    fn one_row_is_one_row_and_more_are_rows() {
        let said = |alerts, windows| in_full(&incident(alerts, windows), Scored::default(), 20);
        assert!(said(1, 1).contains("\n1 row in 1 window; score 9.500"), "{}", said(1, 1));
        assert!(said(12, 3).contains("\n12 rows in 3 windows;"), "{}", said(12, 3));
        let later = "not there: a live run writes those of an hour when it is over, and one that was killed none of its last\n";
        assert!(said(1, 1).ends_with(&format!("\n1 row is {later}")), "{}", said(1, 1));
        assert!(said(12, 3).ends_with(&format!("\n12 rows are {later}")), "{}", said(12, 3));
        assert!(!said(0, 1).contains("there"), "{}", said(0, 1));
        let mut members = Members::default();
        members.muted.insert("1: the monitor".to_owned(), [(0, 7)].into());
        assert_eq!(list(&[], &members), "no incident\nmuted by rule 1: the monitor: 1 row\n");
        for name in ["10: b", "2: a"] {
            members.muted.insert(name.to_owned(), [(0, 7)].into());
        }
        let said = list(&[], &members);
        let place = |name: &str| said.find(name).unwrap();
        assert!(place("rule 1:") < place("rule 2:") && place("rule 2:") < place("rule 10:"), "{said}");
    }
}
