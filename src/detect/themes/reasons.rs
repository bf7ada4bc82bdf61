//! Why a row scores as it does: its themes, their groups, their columns with the value and what is usual.
//!
//! The total is the sum of the themes' tails, and the score its tail among the calibration rows. A theme's share of
//! the total is told on to its groups by what they count in it, and a group's to its columns by their ranks, whose mean
//! it is (by their surprises, where those are smaller). Columns that differ only in their horizon, or in counting the new alone, speak
//! as one: their shares add up, and the strongest is shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::Themes;
use super::columns::{Column, GROUPS, Reading, THEMES, WIDTH, columns, members};
use super::resolve::{Resolved, Resolver};
use super::scale::Levels;
use crate::detect::reason::facts::{number, text};
use crate::detect::reason::hints::ASKED;
use crate::detect::reason::phrase::about;
use crate::detect::reason::{Evidence, Group, Part, Reason, Usual, WRITTEN};
use crate::encode::bucket::{ABSENT, least};
use crate::encode::subject::{Party, address_text, service_text};
use crate::encode::{Found, Side, Subject};
use arrow::array::RecordBatch;

/// Columns that hold less of the total are not told.
const LEAST: f64 = 0.01;

/// What is known of each judged column whatever the row.
struct Judgements {
    /// The number of what it is about.
    abouts: Vec<usize>,
    /// Numbers there are.
    many: usize,
    /// Whether it counts what an age may say better ([`is_said_by_age`]).
    counts_new: Vec<bool>,
    /// Whether techniques are told by it.
    is_asked: Vec<bool>,
}

static JUDGED: LazyLock<Judgements> = LazyLock::new(|| {
    let mut known = BTreeMap::new();
    let mut number = |column: &'static Column| {
        let next = known.len();
        *known.entry((about(&column.name), column.group)).or_insert(next)
    };
    Judgements {
        abouts: columns().iter().map(&mut number).collect(),
        many: known.len(),
        counts_new: columns().iter().map(|column| counts_new(&column.name)).collect(),
        is_asked: columns().iter().map(|column| ASKED.contains(&about(&column.name))).collect(),
    }
});

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
        let inside = || members()[theme].iter().copied();
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
    reason.order(strength);
    reason
}

/// Of what explains as much, the less likely says more.
fn strength(evidence: &Evidence) -> f64 {
    strength_of(evidence.share, evidence.nats)
}

fn strength_of(share: f64, nats: f64) -> f64 {
    share * nats
}

/// What speaks, with its share of the total: what is written, and what techniques are told by.
fn spoken(judged: &Judged<'_>, shares: &[f64; GROUPS.len()]) -> Vec<Evidence> {
    let Judgements { abouts, many, counts_new, is_asked } = &*JUDGED;
    let ranks = &judged.of.scale.ranks;
    let mut sums = [0.0; GROUPS.len()];
    let mut strengths = [0.0; WIDTH];
    let tells = |at: &usize| {
        let group = columns()[*at].group;
        shares[group] >= LEAST
            && judged.surprises[*at] > 0.0
            && judged.resolved.bucket(judged.row, *at) != ABSENT
    };
    for at in (0..WIDTH).filter(tells) {
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
    let mut all: Vec<(f64, f64, usize)> = all
        .into_iter()
        .filter(|(share, _)| *share >= LEAST)
        .filter_map(|(share, at)| {
            let at = at?;
            Some((strength_of(share, f64::from(judged.surprises[at])), share, at))
        })
        .filter(|(.., at)| !(counts_new[*at] && is_said_by_age(value(judged, *at).0)))
        .collect();
    all.sort_unstable_by(|a, b| {
        b.0.total_cmp(&a.0).then_with(|| columns()[a.2].name.cmp(&columns()[b.2].name))
    });
    let party = &judged.resolved.parties[judged.row];
    let mut entities: [Option<String>; 6] = Default::default();
    let spoken = all.into_iter().enumerate().filter(|(place, (.., at))| *place < WRITTEN || is_asked[*at]);
    spoken
        .map(|(place, (_, share, at))| {
            let subject = columns()[at].judged.subject;
            let entity = match place < WRITTEN {
                true => entities[subject as usize].get_or_insert_with(|| entity(party, subject)).clone(),
                false => String::new(),
            };
            evidence(judged, at, share, entity)
        })
        .collect()
}

/// Whether a column counts what is new to an entity, an age of which the row may have.
fn counts_new(column: &str) -> bool {
    let (entity, statistic) = about(column);
    column.contains("_new_") || (entity == "srcsvc" && statistic == "ports")
}

/// Whether such a count is one of what an age says better: the row's own peer, port or service is the new one.
fn is_said_by_age(count: Option<f64>) -> bool {
    count.is_some_and(|count| count <= 1.0)
}

fn evidence(judged: &Judged<'_>, at: usize, share: f64, entity: String) -> Evidence {
    let column = &columns()[at];
    let found = judged.found;
    let of_row = judged.resolved.bucket(judged.row, at);
    let (value, text) = value(judged, at);
    Evidence {
        column: Cow::Borrowed(&column.name),
        entity,
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
    let (src, dst) = (|| address_text(&party.src), || address_text(&party.dst));
    let service = || service_text(party.service);
    match subject {
        Subject::Source => src(),
        Subject::Destination => dst(),
        Subject::SourceService => [&src(), " to ", &service()].concat(),
        Subject::DestinationService => [&dst(), " ", &service()].concat(),
        Subject::PairService => [&src(), " to ", &dst(), " ", &service()].concat(),
        Subject::Service => service(),
    }
}
