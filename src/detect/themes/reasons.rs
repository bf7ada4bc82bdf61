//! Why a row scores as it does: its themes, their groups, their columns with the value and what is usual.

use std::fmt;

use super::Themes;
use super::columns::{Column, GROUPS, Reading, THEMES, belongs, columns};
use super::resolve::Resolved;
use crate::encode::bucket::{ABSENT, least};
use crate::encode::subject::{Party, address_text, service_text};
use crate::encode::{Found, Subject};

/// Why a row scores as it does. The tails of its themes sum to what the score is the tail of.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// The score, in nats.
    pub score: f64,
    /// The sum of the themes' tails.
    pub sum: f64,
    /// Themes, the strongest first.
    pub themes: Vec<Theme>,
}

/// A theme of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    /// Its name.
    pub name: &'static str,
    /// -ln of its tail.
    pub nats: f64,
    /// Its groups, the strongest first.
    pub groups: Vec<Group>,
}

/// A group of like columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name: what, of whom.
    pub name: &'static str,
    /// What it counts in the theme, in nats.
    pub nats: f64,
    /// Its columns with something to say, the strongest first.
    pub columns: Vec<Evidence>,
}

/// A column's value beside what is usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The judged column.
    pub column: &'static str,
    /// Whose past it is held against.
    pub entity: String,
    /// The least and the greatest value of the bucket that the row's value is in, in the column's unit.
    pub value: (f64, f64),
    /// In the entity's own past: the least value of the bucket of the median, and of the 99th in a hundred; `None` for
    /// an entity without a past of its own.
    pub usual: Option<(f64, f64)>,
    /// The tail probability of the value.
    pub p: f64,
    /// -ln p, times the part of it that is the row's own.
    pub nats: f64,
}

/// The reason of a row.
pub(super) fn reason(of: &Themes, rows: &Resolved, row: usize, surprises: &mut [f32]) -> Reason {
    let (found, levels) = of.levels(rows, row, surprises);
    let groups: Vec<Group> = (0..GROUPS.len())
        .map(|group| {
            let which = columns().iter().enumerate().filter(|(_, column)| column.group == group);
            let mut evidence: Vec<Evidence> = which
                .filter(|(at, _)| surprises[*at] > 0.0 && rows.buckets(row)[*at] != ABSENT)
                .map(|(at, column)| evidence(of, &found, rows, row, (at, column), surprises[at]))
                .collect();
            evidence.sort_by(|a, b| b.nats.total_cmp(&a.nats));
            Group { name: GROUPS[group], nats: levels.groups[group], columns: evidence }
        })
        .collect();
    let mut themes: Vec<Theme> = THEMES
        .iter()
        .enumerate()
        .map(|(theme, (name, _))| {
            let mut groups: Vec<Group> =
                groups.iter().filter(|group| belongs(group.name, theme)).cloned().collect();
            groups.sort_by(|a, b| b.nats.total_cmp(&a.nats));
            Theme { name, nats: levels.themes[theme], groups }
        })
        .collect();
    themes.sort_by(|a, b| b.nats.total_cmp(&a.nats));
    Reason { score: levels.score, sum: levels.sum, themes }
}

fn evidence(
    of: &Themes,
    found: &Found,
    rows: &Resolved,
    row: usize,
    (at, column): (usize, &'static Column),
    surprise: f32,
) -> Evidence {
    let bucket = rows.buckets(row)[at];
    let factor = match &column.reading {
        Reading::Number(_, factor) => *factor,
        _ => 1.0,
    };
    let value = |bucket: u8| whole(column, least(bucket)) / factor;
    let usual = of.surprises.past.usual(at, found).map(|usual| (value(usual.median), value(usual.most)));
    Evidence {
        column: &column.name,
        entity: entity(&rows.parties[row], column.judged.subject),
        value: (value(bucket), value(bucket + 1)),
        usual,
        p: of.surprises.past.probability(at, found, bucket),
        nats: f64::from(surprise),
    }
}

/// The least whole value of a bucket, for columns that count.
fn whole(column: &Column, least: f64) -> f64 {
    match &column.reading {
        Reading::Number(_, 1.0) => (least - 1e-9).ceil(),
        _ => least,
    }
}

/// An entity in words.
fn entity(party: &Party, subject: Subject) -> String {
    let (src, dst) = (address_text(&party.src), address_text(&party.dst));
    let service = service_text(party.service);
    match subject {
        Subject::Source => src,
        Subject::Destination => format!("-> {dst}"),
        Subject::SourceService => format!("{src} -> {service}"),
        Subject::DestinationService => format!("-> {dst} {service}"),
        Subject::PairService => format!("{src} -> {dst} {service}"),
        Subject::Service => service,
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.value;
        write!(f, "{}: {} {}", self.entity, self.column, number(from))?;
        // Buckets of counts below 5 hold one number each.
        if to - from > 1.0 || from.fract() != 0.0 {
            write!(f, "..{}", number(to))?;
        }
        match self.usual {
            Some((median, most)) => write!(f, ", usual {}, p99 {}", number(median), number(most))?,
            None => write!(f, ", never seen before")?,
        }
        write!(f, " (p {:.1e})", self.p)
    }
}

/// A number in few digits.
fn number(value: f64) -> String {
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl fmt::Display for Reason {
    /// The strongest column of the strongest theme.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(theme) = self.themes.first() else { return f.write_str("nothing") };
        write!(f, "{}", theme.name)?;
        let strongest = theme.groups.iter().find_map(|group| group.columns.first());
        match strongest {
            Some(evidence) => write!(f, ": {evidence}"),
            None => Ok(()),
        }
    }
}
