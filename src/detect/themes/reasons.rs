//! Why a row scores as it does: its themes, their groups, their columns with the value and what is usual.
//!
//! The total is the sum of the themes' tails, and the score its tail among the calibration rows. A theme's share of
//! the total is told on to its groups by what they count in it, and a group's to its columns by their ranks, whose mean
//! it is (by their surprises, where those are smaller). Columns that differ only in their horizon, or in counting the new alone, speak
//! as one: their shares add up, and the strongest is shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::Verdicts;
use super::columns::{Column, Reading, STATE, WIDTH, columns};
use super::greeting::Greetings;
use super::groups::{GROUPS, THEMES, members};
use super::resolve::Resolver;
use super::scale::{Levels, Scale};
use crate::context::entity::Key;
use crate::context::parts;
use crate::detect::calibration::Steps;
use crate::detect::reason::facts::Values;
use crate::detect::reason::hints::ASKED;
use crate::detect::reason::meaning::{Meaning, about};
use crate::detect::reason::{Evidence, Group, Part, Reason, Usual, WRITTEN};
use crate::encode::bucket::least;
use crate::encode::subject::{Party, service_text};
use crate::encode::{Found, Past, Side, Subject};
use arrow::array::RecordBatch;

/// Columns of which those that are written are chosen.
const CANDIDATES: usize = 2 * WRITTEN;

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
    /// Whom its words are about.
    named: Vec<Subject>,
    /// What they say.
    meanings: Vec<Meaning<'static>>,
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
        named: columns().iter().map(named).collect(),
        meanings: columns().iter().map(|column| Meaning::of(&column.name)).collect(),
    }
});

/// What a judged column is made of in some rows.
enum Made<'a> {
    One(Values<'a>),
    /// Bytes forward and backward.
    Ratio(Values<'a>, Values<'a>),
    State(Option<Values<'a>>),
    Greeting(Option<Greetings<'a>>),
}

/// A column with how much of all it explains: how much that says, its share, its place.
type Speaker = (f64, f64, usize);

/// Reasons of rows of one batch, with room for what they are made of from row to row. Rows of a flood follow one another:
/// most of what was found for the last one holds for the next.
pub(super) struct Telling<'a> {
    past: &'a Past,
    made: Vec<Made<'a>>,
    /// What is usual in each column, and whom that was asked for.
    usuals: [Option<(u32, Option<InUnits>)>; WIDTH],
    /// The last entity of each kind and its name.
    names: [Option<(Key, String)>; 6],
    /// Columns that speak of the row, and how loud.
    speaking: Vec<(usize, f64)>,
    /// Of each thing that columns are about the share of all, and the loudest of them.
    things: Vec<(f64, (usize, f64))>,
    leaders: Vec<Speaker>,
    others: Vec<Speaker>,
}

/// How loud a column speaks of a row, of its surprise above 0.
pub(super) trait Loudness {
    fn of(&mut self, at: usize, surprise: f32) -> f64;
}

/// What is rare among rows need not be unlikely for this one: a column speaks as loud as both.
pub(super) struct Ranked<'a> {
    ranks: &'a [Steps],
    /// How loud each column spoke of the last row with a surprise, and that.
    known: [(f32, f64); WIDTH],
}

impl<'a> Ranked<'a> {
    pub(super) fn new(scale: &'a Scale) -> Ranked<'a> {
        Ranked { ranks: &scale.ranks, known: [(0.0, 0.0); WIDTH] }
    }
}

impl Loudness for Ranked<'_> {
    #[inline]
    fn of(&mut self, at: usize, surprise: f32) -> f64 {
        let (known, loudness) = &mut self.known[at];
        if *known != surprise {
            let all = f64::from(surprise);
            (*known, *loudness) = (surprise, self.ranks[at].rank(all).min(all));
        }
        *loudness
    }
}

/// The share of the total that each group has, of a row with these levels.
pub(super) fn shares_of_groups(levels: &Levels) -> [f64; GROUPS.len()] {
    let total = levels.sum.max(f64::MIN_POSITIVE);
    let mut shares = [0.0; GROUPS.len()];
    for (theme, inside) in members().iter().enumerate() {
        let sum: f64 = inside.iter().map(|group| levels.groups[*group]).sum();
        for group in inside.iter().copied().filter(|group| levels.groups[*group] > 0.0) {
            shares[group] += levels.themes[theme] * levels.groups[group] / sum / total;
        }
    }
    shares
}

/// What is usual in a column, in its unit.
#[derive(Clone, Copy)]
struct InUnits {
    /// The bucket of the median.
    middle: u8,
    own: bool,
    median: f64,
    most: f64,
    least: f64,
}

/// A row that was judged.
pub(super) struct Row<'a> {
    judged: &'a Verdicts,
    /// Its place among those that were judged with it.
    place: usize,
    /// Its place among the rows.
    at: usize,
    found: &'a Found,
    pub(super) surprises: [f32; WIDTH],
}

impl<'a> Row<'a> {
    /// The one in a place among those that were judged, and its place among the rows.
    pub(super) fn new((judged, place): (&'a Verdicts, usize), at: usize) -> Row<'a> {
        Row { judged, place, at, found: judged.crowd.found(place), surprises: judged.surprises.row(place) }
    }
}

impl<'a> Telling<'a> {
    /// Of rows whose columns the resolver knows.
    pub(super) fn new(past: &'a Past, rows: &'a RecordBatch, resolver: &Resolver) -> Telling<'a> {
        let values = |place: usize| Values::of(rows.column(place).as_ref());
        let made = (0..WIDTH).map(|at| match resolver.made_of(at) {
            [Some(forward), Some(backward)] => Made::Ratio(values(forward), values(backward)),
            [Some(one), None] | [None, Some(one)] => Made::One(values(one)),
            [None, None] => match columns()[at].reading {
                Reading::Greeting(_) => Made::Greeting(Greetings::of(rows).ok()),
                _ => Made::State(rows.column_by_name(STATE).map(|state| Values::of(state.as_ref()))),
            },
        });
        Telling {
            past,
            made: made.collect(),
            usuals: [None; WIDTH],
            names: Default::default(),
            speaking: Vec::with_capacity(WIDTH),
            things: Vec::with_capacity(WIDTH),
            leaders: Vec::with_capacity(CANDIDATES + 1),
            others: Vec::new(),
        }
    }

    /// The reason of a row that `themes` judged.
    pub(super) fn reason(&mut self, row: &Row<'_>, loudness: &mut Ranked<'_>) -> Reason {
        let levels = &row.judged.levels[row.place];
        let total = levels.sum.max(f64::MIN_POSITIVE);
        // And what lasts.
        let mut parts = Vec::with_capacity(THEMES.len() + 1);
        for (theme, ((name, _), inside)) in THEMES.iter().zip(members()).enumerate() {
            let sum: f64 = inside.iter().map(|group| levels.groups[*group]).sum();
            let mut groups = Vec::with_capacity(inside.len());
            for group in inside.iter().copied().filter(|group| levels.groups[*group] > 0.0) {
                let share = levels.themes[theme] * levels.groups[group] / sum / total;
                groups.push(Group { name: GROUPS[group], nats: levels.groups[group], share });
            }
            parts.push(Part { name, nats: levels.themes[theme], groups });
        }
        let evidence = self.spoken(row, &shares_of_groups(levels), loudness);
        self.told((levels.score, levels.sum), parts, evidence)
    }

    /// The reason that is made of these, of a score and its total.
    pub(super) fn told(
        &self,
        (score, total): (f64, f64),
        parts: Vec<Part>,
        evidence: Vec<Evidence>,
    ) -> Reason {
        let written = self.leaders.len();
        let (line, hints) = (String::new(), Vec::new());
        let mut reason = Reason { score, total, at_zero: None, parts, evidence, written, line, hints };
        reason.order_parts();
        reason
    }

    /// What speaks, with its share of the total, the strongest first: what is written, and what techniques are told by.
    pub(super) fn spoken(
        &mut self,
        row: &Row<'_>,
        shares: &[f64; GROUPS.len()],
        loudness: &mut impl Loudness,
    ) -> Vec<Evidence> {
        let Judgements { groups, abouts, things, counts_new, is_asked, .. } = &*JUDGED;
        let mut sums = [0.0; GROUPS.len()];
        self.speaking.clear();
        let is_told = shares.map(|share| share >= LEAST);
        for (at, (group, surprise)) in groups.iter().zip(&row.surprises).enumerate() {
            // Where there is no value it is no surprise.
            if *surprise > 0.0 && is_told[*group] {
                let loudness = loudness.of(at, *surprise);
                sums[*group] += loudness;
                self.speaking.push((at, loudness));
            }
        }
        self.things.clear();
        self.things.resize(*things, (0.0, (0, 0.0)));
        for (at, loudness) in self.speaking.iter().copied().filter(|(_, loudness)| *loudness > 0.0) {
            let (share, loudest) = &mut self.things[abouts[at]];
            *share += shares[groups[at]] * loudness / sums[groups[at]];
            if loudest.1 < loudness {
                *loudest = (at, loudness);
            }
        }
        let told = self.things.iter().filter(|(share, _)| *share >= LEAST);
        // Of what explains as much, the less likely says more.
        let told = told.map(|(share, (at, _))| (share * f64::from(row.surprises[*at]), *share, *at));
        let made = &self.made;
        let is_left_out = |at: usize| counts_new[at] && is_said_by_age(number(&made[at], row.at));
        leading(told, (&mut self.leaders, &mut self.others), CANDIDATES, is_left_out, |at| is_asked[at]);
        self.say_once(row.at);
        let mut evidence = Vec::with_capacity(self.leaders.len() + self.others.len());
        for place in 0..self.leaders.len() {
            evidence.push(self.evidence(row, self.leaders[place], true));
        }
        for place in 0..self.others.len() {
            evidence.push(self.evidence(row, self.others[place], false));
        }
        evidence
    }

    /// Leaves those to lead that are written: not those that say again, of another entity, what stronger ones say. Of the rest
    /// techniques may be told all the same.
    fn say_once(&mut self, at_row: usize) {
        let Judgements { is_asked, meanings, .. } = &*JUDGED;
        let mut kept = 0;
        for place in 0..self.leaders.len() {
            let speaker = self.leaders[place];
            let of = |at: usize| number(&self.made[at], at_row);
            let is_said = |(.., stronger): &Speaker| {
                let (known, other) = (&meanings[*stronger], &meanings[speaker.2]);
                known.says(other) && (*other == Meaning::Seldom || of(*stronger) == of(speaker.2))
            };
            if kept < WRITTEN && !self.leaders[..kept].iter().any(is_said) {
                self.leaders[kept] = speaker;
                kept += 1;
            } else if is_asked[speaker.2] {
                self.others.push(speaker);
            }
        }
        self.leaders.truncate(kept);
        self.others.sort_unstable_by(by_strength);
    }

    /// What a column says; of what is not written nobody reads whose value it is, nor how probable beside what is usual.
    fn evidence(&mut self, row: &Row<'_>, (_, share, at): Speaker, is_written: bool) -> Evidence {
        let column = &columns()[at];
        let of_row = row.judged.resolved.bucket(row.place, at);
        let (made, at_row) = (&self.made[at], row.at);
        let text = match made {
            Made::State(state) => state.as_ref().and_then(|state| state.text(at_row)).map(str::to_owned),
            Made::Greeting(greetings) => greetings.as_ref().and_then(|greetings| greetings.text(at_row)),
            _ => None,
        };
        let value = number(made, at_row);
        let usual = self.usual(row, at, of_row);
        let entity = match is_written {
            true => self.name(&row.judged.resolved.parties[row.place], JUDGED.named[at]).to_owned(),
            false => String::new(),
        };
        let is_asked = is_written || usual.is_none();
        Evidence {
            column: Cow::Borrowed(&column.name),
            entity,
            value,
            text,
            usual,
            p: is_asked.then(|| self.past.probability(at, row.found, of_row)),
            nats: f64::from(row.surprises[at]),
            share,
        }
    }

    /// What is usual for the entity; for one that was never seen, for those who share its service. Numbers of states have
    /// no middle.
    fn usual(&mut self, row: &Row<'_>, at: usize, of_row: u8) -> Option<Usual> {
        let column = &columns()[at];
        let whom = row.found.alike(column.judged.subject as usize);
        let InUnits { middle, own, median, most, least } = match self.usuals[at] {
            Some((known, usual)) if known == whom => usual?,
            _ => {
                let usual = self.past.usual(at, row.found).and_then(|usual| {
                    let [median, most, least] = in_units(column, [usual.median, usual.most, usual.least])?;
                    // A service's past is that of whoever uses it.
                    let own = usual.own && column.judged.subject != Subject::Service;
                    Some(InUnits { middle: usual.median, own, median, most, least })
                });
                self.usuals[at] = Some((whom, usual));
                usual?
            }
        };
        let low = match column.judged.side {
            Side::Upper | Side::Any | Side::Seldom | Side::Beyond(_) => false,
            Side::Lower => true,
            Side::Both => of_row < middle,
        };
        Some(Usual { median, extreme: if low { least } else { most }, low, own })
    }

    /// An entity in words.
    fn name(&mut self, party: &Party, subject: Subject) -> &str {
        let (known, key) = (&mut self.names[subject as usize], party.key(subject));
        let is_new = known.as_ref().is_none_or(|(known, _)| *known != key);
        if is_new {
            *known = None;
        }
        &known.get_or_insert_with(|| (key, entity(party, subject))).1
    }
}

/// The row's value, as a number in the column's unit.
fn number(made: &Made<'_>, row: usize) -> Option<f64> {
    match made {
        Made::One(values) => values.number(row),
        Made::Ratio(forward, backward) => match (forward.number(row), backward.number(row)) {
            // As it is judged, and as what is usual is told.
            (Some(forward), Some(backward)) if backward > 0.0 => Some((forward + 20.0) / (backward + 20.0)),
            _ => None,
        },
        Made::State(_) | Made::Greeting(_) => None,
    }
}

/// Buckets in the unit of a column; nothing for those of states and greetings.
fn in_units(column: &Column, buckets: [u8; 3]) -> Option<[f64; 3]> {
    let factor = match &column.reading {
        Reading::Number(_, factor) => *factor,
        Reading::Ratio => 64.0,
        Reading::State | Reading::Greeting(_) => return None,
    };
    let value = |bucket: u8| match &column.reading {
        // The least whole value of a bucket, for columns that count; a sum with 0, since what is rounded up to it is -0.
        Reading::Number(_, 1.0) => (least(bucket) - 1e-9).ceil() + 0.0,
        _ => least(bucket) / factor,
    };
    Some(buckets.map(value))
}

/// Finds those that lead, the strongest first and no more than asked for, but for what is left out; and of the others
/// those that are asked for.
fn leading(
    told: impl Iterator<Item = Speaker>,
    (leaders, others): (&mut Vec<Speaker>, &mut Vec<Speaker>),
    count: usize,
    is_left_out: impl Fn(usize) -> bool,
    is_asked: impl Fn(usize) -> bool,
) {
    leaders.clear();
    others.clear();
    for speaker in told {
        // They are few.
        let place = leaders
            .iter()
            .rposition(|leader| by_strength(leader, &speaker).is_lt())
            .map_or(0, |last| last + 1);
        let follows = place >= count;
        if (follows && !is_asked(speaker.2)) || is_left_out(speaker.2) {
            continue;
        }
        if follows {
            others.push(speaker);
            continue;
        }
        leaders.insert(place, speaker);
        if leaders.len() > count {
            others.extend(leaders.pop().filter(|(.., at)| is_asked(*at)));
        }
    }
    others.sort_unstable_by(by_strength);
}

/// The stronger first.
fn by_strength(a: &Speaker, b: &Speaker) -> std::cmp::Ordering {
    let name = |at: usize| &columns()[at].name;
    b.0.total_cmp(&a.0).then_with(|| name(a.2).cmp(name(b.2)))
}

/// Whom a column's words are about: that of which a number of the network's was counted, or first seen; of a number of the
/// row itself whose past it is held against.
fn named(column: &Column) -> Subject {
    match parts(about(&column.name).0) {
        Some([true, true, _]) => Subject::PairService,
        Some([true, false, true]) => Subject::SourceService,
        Some([true, false, false]) => Subject::Source,
        Some([false, true, true]) => Subject::DestinationService,
        Some([false, true, false]) => Subject::Destination,
        Some([false, false, _]) | None => column.judged.subject,
    }
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

/// An entity in words.
fn entity(party: &Party, subject: Subject) -> String {
    let (src, dst) = (|| party.src.text(), || party.dst.text());
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
            expected.retain(|(.., at)| at % 5 != 1);
            let mut place = 0;
            expected.retain(|(.., at)| {
                place += 1;
                place <= count || at % 3 == 0
            });
            let (mut found, mut others) = (Vec::new(), Vec::new());
            let speakers = (&mut found, &mut others);
            leading(told.into_iter(), speakers, count, |at| at % 5 == 1, |at| at % 3 == 0);
            prop_assert!(found.len() <= count);
            found.extend(others);
            prop_assert_eq!(found, expected);
        }
    }
}
