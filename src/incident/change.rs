//! What is said of incidents: events, and which row belongs to which.

use std::fmt::Write;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::cover::GREETED;
use super::extent::Top;
use super::finding::{Hint, Kind};
use super::severity::Severity;
use crate::detect::outline::grouped;

/// What happened to an incident.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Said {
    /// It began.
    Create,
    /// It grew, or its past changed.
    Update,
    /// It was over, and goes on since its past changed.
    Reopen,
    /// It was taken back, and is there again.
    Restore,
    /// It is over; with no rows left, it was taken back.
    Close,
}

impl Said {
    /// The word. Whoever follows incidents need not know why one that was closed is open again.
    pub fn name(self) -> &'static str {
        match self {
            Said::Create => "create",
            Said::Update => "update",
            Said::Reopen | Said::Restore => "reopen",
            Said::Close => "close",
        }
    }
}

/// An incident as it stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    /// Of host, kind and first window: the same in every run that has the window to itself.
    pub id: u64,
    /// What it is about.
    pub kind: Kind,
    /// Whom it is about; of many new hosts at once [`CROWD`](super::CROWD).
    pub host: IpAddr,
    /// Whether the host began most of its rows.
    pub source: bool,
    /// First packet, nanoseconds.
    pub first: i64,
    /// Last packet, nanoseconds.
    pub last: i64,
    /// Windows with an anomalous row.
    pub windows: u64,
    /// Anomalous rows; 0 for what was taken back, and for a new host.
    pub alerts: u64,
    /// Largest score.
    pub score: f64,
    /// Smallest p-value.
    pub p_value: f64,
    /// Sum of scores, in millionths.
    pub weight: u64,
    /// How bad it is.
    pub severity: Severity,
    /// Distinct other ends; an estimate where they are more than 1024.
    pub peers: u64,
    /// Distinct protocols and responders' ports, where protocols have some; an estimate where they are more than 1024.
    pub ports: u64,
    /// The row that scored most.
    pub top: Top,
    /// What shapes hint at.
    pub hints: Vec<Hint>,
    /// Whether its rows went to a rule, or to another incident: it is no more.
    pub withdrawn: bool,
    /// Whether it is one row, and that no more than a knock from outside; where it is said, one of few: not reported then.
    pub knock: bool,
    /// Whether that, or the budget of incidents, keeps it from being reported.
    pub held: bool,
}

/// Something said of an incident.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// End of the window that said it, nanoseconds.
    pub time: u64,
    /// What happened.
    pub said: Said,
    /// How the incident stands since.
    pub state: State,
}

/// A row that came to an incident or to a rule (`diff` 1), or left it (-1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct RowChange {
    /// End of the window that said it, nanoseconds.
    pub time: u64,
    /// Start of the row's window, nanoseconds.
    pub window: u64,
    /// The row's flow.
    pub flow_id: u64,
    /// 1 or -1.
    pub diff: i8,
    /// The incident; `None` for muted rows.
    pub incident: Option<u64>,
    /// The rule that mutes it.
    pub muted_by: Option<String>,
}

/// Either.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// Of an incident.
    Event(Box<Event>),
    /// Of a row.
    Row(RowChange),
}

impl Change {
    /// Brings changes into their order: by event time; what windows said before what silence says; by incident, by row.
    pub fn sort(changes: &mut [Change]) {
        changes.sort_by(|a, b| match (a, b) {
            (Change::Event(a), Change::Event(b)) => a.key().cmp(&b.key()),
            (Change::Row(a), Change::Row(b)) => a.cmp(b),
            (Change::Event(_), Change::Row(_)) => std::cmp::Ordering::Less,
            (Change::Row(_), Change::Event(_)) => std::cmp::Ordering::Greater,
        });
    }
}

impl Event {
    fn key(&self) -> (u64, bool, u64) {
        (self.time, self.said == Said::Close, self.state.id)
    }
}

impl State {
    /// The id as text.
    pub fn name(&self) -> String {
        format!("{:016x}", self.id)
    }

    /// The severity that is reported.
    pub fn reported(&self) -> Severity {
        if self.held || self.withdrawn { Severity::Info } else { self.severity }
    }

    /// `source` or `target`.
    pub fn role(&self) -> &'static str {
        if self.source { "source" } else { "target" }
    }

    /// Whether it is about many new hosts at once.
    pub fn is_crowd(&self) -> bool {
        self.kind == Kind::NewHosts
    }

    /// The strongest reason of its oddest row that says why, in words: of whom, where it is not of the host.
    pub fn words(&self) -> &str {
        let words = self.top.words.strip_prefix(&self.host.to_string());
        words.and_then(|words| words.strip_prefix(": ")).unwrap_or(&self.top.words)
    }

    /// What it is, in one line.
    pub fn why(&self) -> String {
        if self.withdrawn {
            return "taken back: its rows are muted, or part of another incident".to_owned();
        }
        if self.is_crowd() {
            return format!(
                "more than {GREETED} local hosts at once that began no flow in training: forged addresses, or a network \
                 that the model was not trained on"
            );
        }
        if self.kind == Kind::NewHost {
            return "a local host that began no flow in training, where it may have answered".to_owned();
        }
        let mut why = format!("{} in {}", counted(self.alerts, "odd row"), counted(self.windows, "window"));
        let preposition = if self.source { "to" } else { "from" };
        let _ = write!(why, " {preposition} {}", counted(self.peers, "host"));
        if self.ports > 0 {
            let _ = write!(why, ", {}", counted(self.ports, "port"));
        }
        if !self.words().is_empty() {
            let _ = write!(why, "; {}", self.words());
        }
        why
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}
