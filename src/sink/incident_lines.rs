//! Incidents for people: a line when one begins, when it gets worse, and when it is over.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};

use super::alert::time;
use super::console::{Style, duration};
use super::operator::ChangeEnd;
use super::{AnyError, SinkError};
use crate::incident::{Change, Event, Kind, Said, Severity, State};
use crate::terminal::safe;

/// Writes incidents as lines: when, what happened, how bad, who with whom, how many rows, how long, the id by which
/// `netweir explain` finds it. One row alone is no line until it has company, or stayed alone to its end. What the
/// budget holds back is no line. Nobody reading any more (a closed pipe) ends the lines, not the run.
pub struct IncidentLines<W> {
    out: W,
    style: Style,
    /// What the last line of each open incident said.
    shown: BTreeMap<u64, (Severity, u64)>,
    closed: bool,
}

impl<W: Write> IncidentLines<W> {
    /// Lines to `out`.
    pub fn new(out: W, style: Style) -> IncidentLines<W> {
        IncidentLines { out, style, shown: BTreeMap::new(), closed: false }
    }

    /// What a line says of an event, if it is one.
    fn word(&mut self, event: &Event) -> Option<&'static str> {
        let Event { said, state, .. } = event;
        if state.held {
            return None;
        }
        let now = (state.severity, state.alerts);
        let before = self.shown.get(&state.id).copied();
        if *said == Said::Close {
            self.shown.remove(&state.id);
            return match before {
                Some(_) if state.kind != Kind::Anomaly => None,
                Some(_) if state.withdrawn => Some("gone"),
                None if state.withdrawn => None,
                Some(before) if before == now => None,
                Some(_) => Some("over"),
                None => Some("once"),
            };
        }
        let word = match before {
            None if state.kind == Kind::Anomaly && state.alerts == 1 => return None,
            None if matches!(said, Said::Reopen | Said::Restore) => "again",
            None => "new",
            Some((severity, _)) if severity < state.severity => "worse",
            Some(_) => return None,
        };
        self.shown.insert(state.id, now);
        Some(word)
    }

    fn write(&mut self, changes: &[Change]) -> std::io::Result<()> {
        let mut written = false;
        for change in changes {
            if let Change::Event(event) = change
                && let Some(word) = self.word(event)
            {
                writeln!(self.out, "{}", line(word, event, self.style).trim_end())?;
                written = true;
            }
        }
        if written { self.out.flush() } else { Ok(()) }
    }
}

impl<W: Write + Send> ChangeEnd for IncidentLines<W> {
    fn take(&mut self, changes: &[Change]) -> Result<(), AnyError> {
        if self.closed {
            return Ok(());
        }
        match self.write(changes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.closed = true,
            Err(source) => return Err(SinkError::Io { path: "output".into(), source }.into()),
            Ok(()) => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        Ok(())
    }
}

fn line(word: &str, event: &Event, style: Style) -> String {
    let state = &event.state;
    let when = time(i64::try_from(event.time).unwrap_or(i64::MAX)).strftime("%Y-%m-%d %H:%M:%SZ");
    let grade = coloured(state.reported(), style);
    let id = &state.name()[..8];
    if state.is_crowd() {
        return format!("{when}  {word:<5}  {grade}  {id}  {}", state.why());
    }
    if state.kind == Kind::NewHost {
        return format!(
            "{when}  {word:<5}  {grade}  {id}  {} is new: it began no flow in training",
            state.host
        );
    }
    let rows = format!("{} row{}", state.alerts, if state.alerts == 1 { "" } else { "s" });
    let length = duration((state.last - state.first) as f64 / 1e9);
    let words = safe(state.words());
    format!("{when}  {word:<5}  {grade}  {id}  {:<42}  {rows:>10}  {length:>5}  {words}", who(state))
}

fn coloured(severity: Severity, style: Style) -> String {
    let grade = format!("{:<8}", severity.name());
    match (style, severity) {
        (Style::Colour, Severity::Critical) => format!("\x1b[1;31m{grade}\x1b[0m"),
        (Style::Colour, Severity::High) => format!("\x1b[31m{grade}\x1b[0m"),
        (Style::Colour, Severity::Medium) => format!("\x1b[33m{grade}\x1b[0m"),
        _ => grade,
    }
}

/// Who with whom: the other end by its address where it is one.
fn who(state: &State) -> String {
    let top = &state.top;
    let ports = match (state.ports, top.dst_port) {
        (0, _) | (1, None | Some(0)) => top.protocol.clone(),
        (1, Some(port)) => format!("{} {port}", top.protocol),
        (ports, _) => format!("{ports} ports"),
    };
    let others = match state.peers {
        1 if top.src == state.host => top.dst.to_string(),
        1 => top.src.to_string(),
        peers => format!("{peers} hosts"),
    };
    match state.source {
        true => format!("{} -> {others}, {}", state.host, safe(&ports)),
        false => format!("{others} -> {}, {}", state.host, safe(&ports)),
    }
}
