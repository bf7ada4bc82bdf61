//! The log of incidents as a run left it: the last line of an id is its present state.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::ExplainError;
use crate::incident::{Rank, Severity};

/// An incident as its last line in the log says it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Incident {
    pub(super) change: String,
    pub(super) id: String,
    pub(super) kind: String,
    /// None of a crowd of new hosts.
    #[serde(default)]
    pub(super) address: Option<String>,
    pub(super) role: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) windows: u64,
    pub(super) alerts: u64,
    pub(super) score: f64,
    pub(super) p_value: f64,
    pub(super) severity: Severity,
    pub(super) peers: u64,
    pub(super) ports: u64,
    pub(super) top: Top,
    pub(super) why: String,
    #[serde(default)]
    pub(super) hints: Vec<Hint>,
    pub(super) held: bool,
    pub(super) withdrawn: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Top {
    pub(super) src: String,
    pub(super) dst: String,
    #[serde(default)]
    pub(super) dst_port: Option<u16>,
    pub(super) protocol: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hint {
    pub(super) technique: String,
    pub(super) name: String,
}

/// The present state of every incident that was not taken back.
pub(super) fn read_log(path: &Path) -> Result<Vec<Incident>, ExplainError> {
    let failed =
        |error: std::io::Error| ExplainError::File { path: path.to_owned(), what: error.to_string() };
    let mut incidents: BTreeMap<String, Incident> = BTreeMap::new();
    let mut lines = (1..).zip(BufReader::new(File::open(path).map_err(failed)?).lines()).peekable();
    while let Some((number, line)) = lines.next() {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Incident>(&line) {
            Ok(incident) => _ = incidents.insert(incident.id.clone(), incident),
            // A run that goes on, or was killed, may be in the middle of its last line.
            Err(error) if error.is_eof() && lines.peek().is_none() => break,
            Err(error) => {
                let what = error.to_string().replace(" at line 1 column ", ", column ");
                return Err(ExplainError::Line { path: path.to_owned(), line: number, what });
            }
        }
    }
    let mut incidents: Vec<Incident> = incidents.into_values().collect();
    incidents.retain(|incident| !incident.withdrawn);
    incidents.sort_by(|a, b| {
        let rank = |of: &Incident| Rank::new(of.severity, of.score, of.alerts);
        rank(b).cmp(&rank(a)).then_with(|| a.id.cmp(&b.id))
    });
    Ok(incidents)
}

/// The incident whose id begins so, if there is one alone.
pub(super) fn choose<'a>(
    folder: &Path,
    incidents: &'a [Incident],
    id: &str,
) -> Result<&'a Incident, ExplainError> {
    let found: Vec<&Incident> = incidents.iter().filter(|incident| incident.id.starts_with(id)).collect();
    let some = |incidents: &[&Incident]| {
        let mut names: Vec<&str> = incidents.iter().take(4).map(|incident| &incident.id[..]).collect();
        names.extend((incidents.len() > 4).then_some("..."));
        names.join(", ")
    };
    match &found[..] {
        [one] => Ok(one),
        [] => {
            let there = match incidents {
                [] => "there is none at all".to_owned(),
                all => format!("there are {}: {}", all.len(), some(&all.iter().collect::<Vec<_>>())),
            };
            Err(ExplainError::Unknown { folder: folder.to_owned(), id: id.to_owned(), there })
        }
        all => Err(ExplainError::Ambiguous { id: id.to_owned(), count: all.len(), which: some(all) }),
    }
}
