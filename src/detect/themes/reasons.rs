//! Why a row scores as it does: its themes, their groups, their columns with the value and what is usual.
//!
//! The total is the sum of the themes' tails, and the score its tail among the calibration rows. A theme's share of
//! the total is told on to its groups by what they count in it, and a group's to its columns by their ranks, whose mean
//! it is (by their surprises, where those are smaller). Columns that differ only in their horizon, or in counting the new alone, speak
//! as one: their shares add up, and the strongest is shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::columns::{Column, GROUPS, Reading, THEMES, WIDTH, columns, members};
use super::resolve::Resolver;
use super::{Themes, Verdicts};
use crate::detect::calibration::Steps;
use crate::detect::reason::facts::{number, text};
use crate::detect::reason::hints::ASKED;
use crate::detect::reason::phrase::about;
use crate::detect::reason::{Asked, Evidence, Group, Part, Reason, Usual, shown};
use crate::encode::bucket::least;
use crate::encode::subject::{Party, address_text, service_text};
use crate::encode::{Found, Side, Subject};
use arrow::array::RecordBatch;

/// Columns that hold less of the total are not told.
const LEAST: f64 = 0.01;

/// What is known of each judged column whatever the row.
struct Judgements {
    /// Its group.
    groups: Vec<usize>,
    /// The number of what it is about.
    abouts: Vec<usize>,
    /// How many things columns are about.
    things: usize,
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
    let abouts: Vec<usize> = columns().iter().map(&mut number).collect();
    Judgements {
        groups: columns().iter().map(|column| column.group).collect(),
        abouts,
        things: known.len(),
        counts_new: columns().iter().map(|column| counts_new(&column.name)).collect(),
        is_asked: columns().iter().map(|column| ASKED.contains(&about(&column.name))).collect(),
    }
});

/// What columns say, with room for it from row to row.
pub(super) struct Voices {
    /// How loud each column spoke of the last row with a surprise, and that: rows of a flood follow one another with the
    /// same.
    loudness: [(f32, f64); WIDTH],
    /// Columns that speak of the row, and how loud.
    speaking: Vec<(usize, f64)>,
    /// Of each thing that columns are about the share of all, and the loudest of them.
    things: Vec<(f64, (usize, f64))>,
}

impl Default for Voices {
    fn default() -> Voices {
        Voices { loudness: [(0.0, 0.0); WIDTH], speaking: Vec::new(), things: Vec::new() }
    }
}

impl Voices {
    /// How loud a column with a surprise above 0 speaks. What is rare among rows need not be unlikely for this one: it
    /// speaks as loud as both.
    #[inline]
    fn loudness(&mut self, ranks: &[Steps], at: usize, surprise: f32) -> f64 {
        let (known, loudness) = &mut self.loudness[at];
        if *known != surprise {
            let all = f64::from(surprise);
            (*known, *loudness) = (surprise, ranks[at].rank(all).min(all));
        }
        *loudness
    }
}

/// A row that was judged.
struct Row<'a> {
    of: &'a Themes,
    rows: &'a RecordBatch,
    resolver: &'a Resolver,
    judged: &'a Verdicts,
    /// Its place among those that were judged with it.
    place: usize,
    asked: &'a Asked,
    found: &'a Found,
    surprises: [f32; WIDTH],
}

/// The reason of a row among those that were judged.
pub(super) fn reason(
    of: &Themes,
    (rows, resolver): (&RecordBatch, &Resolver),
    (judged, place): (&Verdicts, usize),
    asked: &Asked,
    voices: &mut Voices,
) -> Reason {
    let (found, surprises) = (judged.crowd.found(place), judged.surprises.row(place));
    let row = &Row { of, rows, resolver, judged, place, asked, found, surprises };
    let levels = &judged.levels[place];
    let total = levels.sum.max(f64::MIN_POSITIVE);
    let mut shares = [0.0; GROUPS.len()];
    // And what lasts.
    let mut parts = Vec::with_capacity(THEMES.len() + 1);
    for (theme, (name, _)) in THEMES.iter().enumerate() {
        let inside = || members()[theme].iter().copied();
        let sum: f64 = inside().map(|group| levels.groups[group]).sum();
        let groups = inside().filter(|group| levels.groups[*group] > 0.0).map(|group| {
            let share = levels.themes[theme] * levels.groups[group] / sum / total;
            shares[group] += share;
            Group { name: GROUPS[group], nats: levels.groups[group], share }
        });
        let mut all = Vec::with_capacity(members()[theme].len());
        all.extend(groups);
        parts.push(Part { name, nats: levels.themes[theme], groups: all });
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
    reason.evidence = spoken(row, &shares, voices);
    reason.order_parts();
    reason
}

/// What speaks, with its share of the total, the strongest first: what is written, and what techniques are told by.
fn spoken(row: &Row<'_>, shares: &[f64; GROUPS.len()], voices: &mut Voices) -> Vec<Evidence> {
    let Judgements { groups, abouts, things, counts_new, is_asked } = &*JUDGED;
    let ranks = &row.of.scale.ranks;
    let mut sums = [0.0; GROUPS.len()];
    voices.speaking.clear();
    for (at, (group, surprise)) in groups.iter().zip(&row.surprises).enumerate() {
        // Where there is no value it is no surprise.
        if *surprise > 0.0 && shares[*group] >= LEAST {
            let loudness = voices.loudness(ranks, at, *surprise);
            sums[*group] += loudness;
            voices.speaking.push((at, loudness));
        }
    }
    voices.things.clear();
    voices.things.resize(*things, (0.0, (0, 0.0)));
    for (at, loudness) in voices.speaking.iter().copied().filter(|(_, loudness)| *loudness > 0.0) {
        let (share, loudest) = &mut voices.things[abouts[at]];
        *share += shares[groups[at]] * loudness / sums[groups[at]];
        if loudest.1 < loudness {
            *loudest = (at, loudness);
        }
    }
    let told = voices.things.iter().map(|(share, (at, _))| (*share, *at));
    // Of what explains as much, the less likely says more.
    let mut told: Vec<(f64, f64, usize)> = told
        .filter(|(share, at)| *share >= LEAST && !(counts_new[*at] && is_said_by_age(value(row, *at).0)))
        .map(|(share, at)| (share * f64::from(row.surprises[at]), share, at))
        .collect();
    let written = shown(row.asked.brief);
    leading(&mut told, written, |at| is_asked[at]);
    let party = &row.judged.resolved.parties[row.place];
    let evidence = told.into_iter().enumerate().map(|(place, (_, share, at))| {
        let entity = (place < written).then(|| entity(party, columns()[at].judged.subject));
        evidence(row, at, share, entity)
    });
    evidence.collect()
}

/// Puts columns in order, the strongest first, and leaves out those behind so many that are not asked for.
fn leading(told: &mut Vec<(f64, f64, usize)>, count: usize, is_asked: impl Fn(usize) -> bool) {
    let name = |at: usize| &columns()[at].name;
    let order = |a: &(f64, f64, usize), b: &(f64, f64, usize)| {
        b.0.total_cmp(&a.0).then_with(|| name(a.2).cmp(name(b.2)))
    };
    if count < told.len() {
        // Most are left out, and need not be put in order.
        told.select_nth_unstable_by(count, order);
        let mut place = 0;
        told.retain(|(.., at)| {
            place += 1;
            place <= count || is_asked(*at)
        });
        told[count..].sort_unstable_by(order);
    }
    let first = count.min(told.len());
    told[..first].sort_unstable_by(order);
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

/// What a column says; nobody reads whose value it is, where that is left out, nor how probable beside what is usual.
fn evidence(row: &Row<'_>, at: usize, share: f64, entity: Option<String>) -> Evidence {
    let column = &columns()[at];
    let found = row.found;
    let of_row = row.judged.resolved.bucket(row.place, at);
    let (value, text) = value(row, at);
    let usual = usual(row, at, of_row);
    let is_asked = entity.is_some() || usual.is_none();
    Evidence {
        column: Cow::Borrowed(&column.name),
        entity: entity.unwrap_or_default(),
        value,
        text,
        usual,
        p: is_asked.then(|| row.of.surprises.past.probability(at, found, of_row)),
        nats: f64::from(row.surprises[at]),
        share,
    }
}

/// The row's value, as a number in the column's unit or as text.
fn value(row: &Row<'_>, at: usize) -> (Option<f64>, Option<String>) {
    let (rows, at_row) = (row.rows, row.asked.row);
    let made_of = row.resolver.made_of(at);
    match made_of.map(|place| number(rows.column(place?).as_ref(), at_row)) {
        [None, None] => {
            let state = rows.column_by_name(super::columns::STATE);
            (None, state.and_then(|state| text(state.as_ref(), at_row)).map(str::to_owned))
        }
        [Some(forward), Some(backward)] => (Some((forward + 20.0) / (backward + 20.0)), None),
        [value, _] => (value, None),
    }
}

/// What is usual for the entity; for one that was never seen, for those who share its service. Numbers of states have
/// no middle.
fn usual(row: &Row<'_>, at: usize, of_row: u8) -> Option<Usual> {
    let column = &columns()[at];
    let factor = match &column.reading {
        Reading::Number(_, factor) => *factor,
        Reading::Ratio => 64.0,
        Reading::State => return None,
    };
    let value = |bucket: u8| match &column.reading {
        // The least whole value of a bucket, for columns that count; a sum with 0, since what is rounded up to it is -0.
        Reading::Number(_, 1.0) => (least(bucket) - 1e-9).ceil() + 0.0,
        _ => least(bucket) / factor,
    };
    let usual = row.of.surprises.past.usual(at, row.found)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_strongest_lead_in_order_and_of_the_rest_those_that_are_asked_for(
            strengths in prop::collection::vec((0u8..6).prop_map(f64::from), 0..60), count in 1usize..7,
        ) {
            let told: Vec<(f64, f64, usize)> =
                strengths.iter().enumerate().map(|(at, strength)| (*strength, 0.5, at)).collect();
            let mut expected = told.clone();
            expected.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| columns()[a.2].name.cmp(&columns()[b.2].name)));
            let mut place = 0;
            expected.retain(|(.., at)| {
                place += 1;
                place <= count || at % 3 == 0
            });
            let mut found = told;
            leading(&mut found, count, |at| at % 3 == 0);
            prop_assert_eq!(found, expected);
        }
    }
}
