//! Why a row scores as it does: its themes, their groups, their columns with the value and what is usual.
//!
//! The total is the sum of the themes' tails, and the score its tail among the calibration rows. A theme's share of
//! the total is told on to its groups by what they count in it, and a group's to its columns by their ranks, whose mean
//! it is (by their surprises, where those are smaller). Columns that differ only in their horizon, or in counting the new alone, speak
//! as one: their shares add up, and the strongest is shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use arrow::array::RecordBatch;
use hashbrown::HashMap;

use super::Themes;
use super::columns::{Column, GROUPS, Reading, THEMES, belongs, columns};
use super::resolve::{Resolved, Resolver};
use super::scale::Levels;
use crate::detect::reason::facts::{number, text};
use crate::detect::reason::phrase::about;
use crate::detect::reason::{Evidence, Group, Part, Reason, Usual, WRITTEN};
use crate::encode::bucket::{ABSENT, least};
use crate::encode::subject::{Party, address_text, service_text};
use crate::encode::{Found, Side, Subject};

/// Columns that hold less of the total are not told.
const LEAST: f64 = 0.01;

/// For each judged column the number of what it is about.
static ABOUT: LazyLock<(Vec<usize>, usize)> = LazyLock::new(|| {
    let mut known = BTreeMap::new();
    let mut number = |column: &'static Column| {
        let next = known.len();
        *known.entry((about(&column.name), column.group)).or_insert(next)
    };
    let numbers = columns().iter().map(&mut number).collect();
    (numbers, known.len())
});

/// Whose past each judged column is held against.
static SUBJECTS: LazyLock<HashMap<&'static str, Subject, foldhash::fast::RandomState>> =
    LazyLock::new(|| columns().iter().map(|column| (column.name.as_str(), column.judged.subject)).collect());

/// A row that was judged.
pub(super) struct Judged<'a> {
    pub(super) of: &'a Themes,
    pub(super) rows: &'a RecordBatch,
    pub(super) resolver: &'a Resolver,
    pub(super) resolved: &'a Resolved,
    pub(super) row: usize,
    pub(super) found: &'a Found,
    pub(super) levels: Levels,
    pub(super) surprises: &'a [f32],
}

/// The reason of a row.
pub(super) fn reason(judged: &Judged<'_>) -> Reason {
    let levels = &judged.levels;
    let total = levels.sum.max(f64::MIN_POSITIVE);
    let mut shares = [0.0; GROUPS.len()];
    let mut parts = Vec::with_capacity(THEMES.len());
    for (theme, (name, _)) in THEMES.iter().enumerate() {
        let inside = || (0..GROUPS.len()).filter(|group| belongs(GROUPS[*group], theme));
        let sum: f64 = inside().map(|group| levels.groups[group]).sum();
        let groups = inside().filter(|group| levels.groups[*group] > 0.0).map(|group| {
            let share = levels.themes[theme] * levels.groups[group] / sum / total;
            shares[group] += share;
            Group { name: GROUPS[group], nats: levels.groups[group], share }
        });
        let groups = groups.collect();
        parts.push(Part { name, nats: levels.themes[theme], groups });
    }
    let mut reason = Reason {
        score: levels.score,
        total: levels.sum,
        at_zero: None,
        parts,
        evidence: Vec::new(),
        line: String::new(),
        hints: Vec::new(),
    };
    reason.evidence = spoken(judged, &shares);
    // Of what explains as much, the less likely says more.
    reason.order(|evidence| evidence.share * evidence.nats);
    for evidence in reason.evidence.iter_mut().take(WRITTEN) {
        if let Some(subject) = SUBJECTS.get(&*evidence.column) {
            evidence.entity = entity(&judged.resolved.parties[judged.row], *subject);
        }
    }
    reason
}

/// What speaks, with its share of the total.
fn spoken(judged: &Judged<'_>, shares: &[f64; GROUPS.len()]) -> Vec<Evidence> {
    let (abouts, many) = &*ABOUT;
    let ranks = &judged.of.scale.ranks;
    let mut sums = [0.0; GROUPS.len()];
    let mut strengths = vec![0.0; columns().len()];
    let tells = |at: &usize| {
        let group = columns()[*at].group;
        shares[group] >= LEAST
            && judged.surprises[*at] > 0.0
            && judged.resolved.buckets(judged.row)[*at] != ABSENT
    };
    for at in (0..columns().len()).filter(tells) {
        // What is rare among rows need not be unlikely for this one: it speaks as loud as both.
        let surprise = f64::from(judged.surprises[at]);
        let strength = ranks[at].rank(surprise).min(surprise);
        strengths[at] = strength;
        sums[columns()[at].group] += strength;
    }
    // The sum of each, and its strongest column.
    let mut all = vec![(0.0, None::<usize>); *many];
    for (at, column) in columns().iter().enumerate().filter(|(at, _)| strengths[*at] > 0.0) {
        let (sum, strongest) = &mut all[abouts[at]];
        *sum += shares[column.group] * strengths[at] / sums[column.group];
        if strongest.is_none_or(|known| strengths[known] < strengths[at]) {
            *strongest = Some(at);
        }
    }
    all.into_iter()
        .filter(|(share, _)| *share >= LEAST)
        .filter_map(|(share, at)| Some(evidence(judged, at?, share)))
        .filter(|evidence| !is_said_by_age(evidence))
        .collect()
}

/// Whether a count is one of what an age says better: the row's own peer, port or service is the new one.
fn is_said_by_age(evidence: &Evidence) -> bool {
    let (entity, statistic) = about(&evidence.column);
    let counts_new = evidence.column.contains("_new_") || (entity == "srcsvc" && statistic == "ports");
    counts_new && evidence.value.is_some_and(|value| value <= 1.0)
}

fn evidence(judged: &Judged<'_>, at: usize, share: f64) -> Evidence {
    let column = &columns()[at];
    let found = judged.found;
    let of_row = judged.resolved.buckets(judged.row)[at];
    let (value, text) = value(judged, at);
    Evidence {
        column: Cow::Borrowed(&column.name),
        entity: String::new(),
        value,
        text,
        usual: usual(judged, at, of_row),
        p: Some(judged.of.surprises.past.probability(at, found, of_row)),
        nats: f64::from(judged.surprises[at]),
        share,
    }
}

/// The row's value, as a number in the column's unit or as text.
fn value(judged: &Judged<'_>, at: usize) -> (Option<f64>, Option<String>) {
    let made_of = judged.resolver.made_of(at);
    match made_of.map(|place| number(judged.rows.column(place?).as_ref(), judged.row)) {
        [None, None] => {
            let state = judged.rows.column_by_name(super::columns::STATE);
            (None, state.and_then(|state| text(state.as_ref(), judged.row)).map(str::to_owned))
        }
        [Some(forward), Some(backward)] => (Some((forward + 20.0) / (backward + 20.0)), None),
        [value, _] => (value, None),
    }
}

/// What is usual for the entity; for one that was never seen, for those who share its service. Numbers of states have
/// no middle.
fn usual(judged: &Judged<'_>, at: usize, of_row: u8) -> Option<Usual> {
    let column = &columns()[at];
    let factor = match &column.reading {
        Reading::Number(_, factor) => *factor,
        Reading::Ratio => 64.0,
        Reading::State => return None,
    };
    let value = |bucket: u8| match &column.reading {
        // The least whole value of a bucket, for columns that count.
        Reading::Number(_, 1.0) => (least(bucket) - 1e-9).ceil().max(0.0),
        _ => least(bucket) / factor,
    };
    let usual = judged.of.surprises.past.usual(at, judged.found)?;
    let low = match column.judged.side {
        Side::Upper => false,
        Side::Lower => true,
        Side::Both => of_row < usual.median,
    };
    let extreme = if low { usual.least } else { usual.most };
    Some(Usual { median: value(usual.median), extreme: value(extreme), low, own: usual.own })
}

/// An entity in words.
fn entity(party: &Party, subject: Subject) -> String {
    let (src, dst) = (address_text(&party.src), address_text(&party.dst));
    let service = service_text(party.service);
    match subject {
        Subject::Source => src,
        Subject::Destination => dst,
        Subject::SourceService => format!("{src} to {service}"),
        Subject::DestinationService => format!("{dst} {service}"),
        Subject::PairService => format!("{src} to {dst} {service}"),
        Subject::Service => service,
    }
}
