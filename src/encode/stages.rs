//! Columns of many rows judged one behind the other, in stages: what one column needs of memory is asked for while
//! others are worked on.
//!
//! What is usual is much more than caches hold, and little of it is looked at for the rows of one window: nearly every
//! look would have to wait. Rows that follow one another with the same value of the same entity are looked up once, and
//! what was found is kept for those to come ([`Known`]).

use std::array;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::bucket::ABSENT;
use super::crowd::Crowd;
use super::past::Past;
use crate::flow::region::ask;

/// What is made of surprises, and where it is looked up.
pub(crate) trait Follow {
    /// Of no surprise.
    fn of_none(&self, column: usize) -> f64;
    /// Asks for what has to be looked at first.
    fn ask(&self, column: usize, surprise: f32);
    /// The same for what comes next.
    fn ask_further(&self, column: usize, surprise: f32);
    /// Of a surprise.
    fn of(&self, column: usize, surprise: f32) -> f64;
}

/// Nothing is made of them.
impl Follow for () {
    fn of_none(&self, _: usize) -> f64 {
        0.0
    }

    fn ask(&self, _: usize, _: f32) {}

    fn ask_further(&self, _: usize, _: f32) {}

    fn of(&self, _: usize, _: f32) -> f64 {
        0.0
    }
}

/// A value of an entity with its weight, its surprise, and what follows from it.
#[derive(Clone, Copy, Pod, Zeroable, Debug)]
#[repr(C, align(32))]
struct Place {
    same: u64,
    weight: u32,
    surprise: f32,
    /// While it is looked up the number of the run that it is looked up for.
    follows: f64,
    /// So that none lies on two lines of the cache.
    _even: u64,
}

/// Rows that follow one another and are alike in a column.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u32,
    /// Where it may be known.
    place: u32,
    /// Whose value, and its bucket.
    same: u64,
    weight: f32,
}

impl Run {
    fn bucket(&self) -> u8 {
        self.same as u8
    }

    /// Whether nothing surprises.
    fn is_nothing(&self) -> bool {
        let weighs = self.weight > 0.0;
        (self.bucket() == ABSENT) | !weighs
    }
}

/// What is looked up.
#[derive(Debug)]
struct Sought {
    run: u32,
    entity: u32,
    service: u32,
    own: Range<u32>,
    shared: Range<u32>,
    surprise: f32,
}

/// A column on its way.
#[derive(Default, Debug)]
struct Stage {
    runs: Vec<Run>,
    /// Of each run the surprise and what follows.
    found: Vec<(f32, f64)>,
    sought: Vec<Sought>,
    /// Runs that have what another has.
    repeated: Vec<(u32, u32)>,
    /// Room for the runs that are not known.
    unknown: Vec<u32>,
}

/// Columns on their way at once.
const STAGES: usize = 7;

/// What was found of columns of one past, with what follows from it: values of one entity are often in one bucket. What
/// a host did in a window is one value for all of its rows, and the next window is much like it.
#[derive(Debug)]
pub(crate) struct Known {
    places: Vec<Place>,
    /// Places of a column, as a power of two.
    bits: u32,
    stages: [Stage; STAGES],
    /// Whether a row differs from the one before.
    differs: Vec<u8>,
}

impl Known {
    /// Of so many columns, with two to the power of so many places for each, at least two.
    pub(crate) fn new(columns: usize, bits: u32) -> Known {
        let nothing = Place { same: u64::MAX, weight: 0, surprise: 0.0, follows: 0.0, _even: 0 };
        let stages = array::from_fn(|_| Stage::default());
        Known { places: vec![nothing; columns << bits], bits, stages, differs: Vec::new() }
    }
}

impl Past {
    /// Gives the surprises of all columns' values, each times a weight of its row, and what follows from them: column by
    /// column, for all rows of a crowd in runs. `values` are the buckets and weights of each column. One that weighs nothing
    /// is 0. What is known must be of this past, of crowds that are all struck or none, and of what follows in
    /// the same way.
    pub(crate) fn judge<'v, F: Follow>(
        &self,
        crowd: &Crowd,
        values: impl Fn(usize) -> (&'v [u8], &'v [f32]),
        follow: &F,
        known: &mut Known,
        mut give: impl FnMut(usize, Range<usize>, f32, f64),
    ) {
        let (columns, rows) = (self.judgements.len(), crowd.rows());
        if rows == 0 {
            return;
        }
        let Known { places, bits, stages, differs } = known;
        let bits = *bits;
        for step in 0..columns + STAGES - 1 {
            // The furthest first: each stage finds what was asked for as long ago as it can be.
            let at = |stage: usize| step.checked_sub(stage).filter(|column| *column < columns);
            if let Some(column) = at(6) {
                let stage = &mut stages[column % STAGES];
                finish(column, stage, follow, &mut places[column << bits..(column + 1) << bits]);
                let ends = stage.runs.iter().skip(1).map(|run| run.first as usize).chain([rows]);
                for ((run, end), (surprise, follows)) in stage.runs.iter().zip(ends).zip(&stage.found) {
                    give(column, run.first as usize..end, *surprise, *follows);
                }
            }
            if let Some(column) = at(5) {
                let sought = &stages[column % STAGES].sought;
                sought.iter().for_each(|sought| follow.ask_further(column, sought.surprise));
            }
            if let Some(column) = at(4) {
                let Stage { runs, sought, .. } = &mut stages[column % STAGES];
                for sought in sought {
                    let run = &runs[sought.run as usize];
                    let (own, shared) = (sought.own.clone(), sought.shared.clone());
                    let probability =
                        self.probability_in(column, (own, shared), run.bucket(), crowd.is_struck());
                    let surprise = -libm::log(probability);
                    sought.surprise = (surprise * f64::from(run.weight)) as f32;
                    follow.ask(column, sought.surprise);
                }
            }
            if let Some(column) = at(3) {
                let Stage { runs, sought, .. } = &mut stages[column % STAGES];
                for sought in sought {
                    let bucket = runs[sought.run as usize].bucket();
                    (sought.own, sought.shared) =
                        self.ask_further(column, (sought.entity, sought.service), bucket);
                }
            }
            if let Some(column) = at(2) {
                let places = &mut places[column << bits..(column + 1) << bits];
                self.seek(column, crowd, &mut stages[column % STAGES], follow.of_none(column), places);
            }
            if let Some(column) = at(0) {
                let places = &places[column << bits..(column + 1) << bits];
                let runs = &mut stages[column % STAGES].runs;
                let kind = self.judgements[column].subject as usize;
                find_runs(crowd.kind(kind), values(column), differs, (runs, places));
            }
        }
    }

    /// Looks up what is known of runs, and asks for what is needed to find the others.
    fn seek(&self, column: usize, crowd: &Crowd, stage: &mut Stage, none: f64, places: &mut [Place]) {
        let Stage { runs, found, sought, repeated, unknown } = stage;
        found.clear();
        unknown.clear();
        unknown.resize(runs.len() + 1, 0);
        let mut count = 0;
        // Without a branch, so that nothing waits for one look before the next.
        found.extend((0..).zip(&*runs).map(|(number, run)| {
            let place = &places[run.place as usize];
            let is_known = (place.same == run.same) & (place.weight == run.weight.to_bits());
            let is_nothing = run.is_nothing();
            unknown[count] = number;
            count += usize::from(!is_nothing & !is_known);
            // -ln 1 where there is no value, as that of a column that nobody was seen with.
            let nothing = if run.weight > 0.0 { -0.0 } else { 0.0 };
            if is_nothing { (nothing, none) } else { (place.surprise, place.follows) }
        }));
        sought.clear();
        repeated.clear();
        for number in &unknown[..count] {
            let run = &runs[*number as usize];
            let place = &mut places[run.place as usize];
            let weight = run.weight.to_bits();
            if place.same == run.same && place.weight == weight {
                // Not known a moment ago: it is being looked up for that run.
                repeated.push((*number, place.follows.to_bits() as u32));
                continue;
            }
            let follows = f64::from_bits(u64::from(*number));
            *place = Place { same: run.same, weight, surprise: 0.0, follows, _even: 0 };
            let (entity, service) = self.ask(column, crowd.found(run.first as usize));
            sought.push(Sought { run: *number, entity, service, own: 0..0, shared: 0..0, surprise: 0.0 });
        }
    }
}

/// Finds the runs of a column, and asks for the places where they may be known.
fn find_runs(
    (alike, other): (&[u32], &[u8]),
    (buckets, weights): (&[u8], &[f32]),
    differs: &mut Vec<u8>,
    (runs, places): (&mut Vec<Run>, &[Place]),
) {
    differs.clear();
    differs.push(1);
    let buckets_differ = buckets.windows(2).map(|two| u8::from(two[0] != two[1]));
    let weights_differ = weights.windows(2).map(|two| u8::from(two[0].to_bits() != two[1].to_bits()));
    // Of no value nobody asks whose it is.
    let live = buckets.iter().zip(weights).skip(1);
    let live = live.map(|(bucket, weight)| u8::from((*bucket != ABSENT) & (*weight > 0.0)));
    let whose_differs = other[1..].iter().zip(live).map(|(other, live)| other & live);
    let differ = buckets_differ.zip(weights_differ).zip(whose_differs);
    differs.extend(differ.map(|((bucket, weight), whose)| bucket | weight | whose));
    runs.clear();
    let shift = 64 - places.len().trailing_zeros();
    let mut add = |row: usize| {
        let (same, weight) = (u64::from(alike[row]) << 8 | u64::from(buckets[row]), weights[row]);
        let mixed = (same ^ u64::from(weight.to_bits()) << 24).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let place = (mixed >> shift) as u32;
        ask(places, place as usize);
        runs.push(Run { first: row as u32, place, same, weight });
    };
    let (eights, rest) = differs.as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        // Most are like the one before.
        let mut marks = u64::from_le_bytes(*eight);
        while marks != 0 {
            add(8 * at + marks.trailing_zeros() as usize / 8);
            marks &= marks - 1;
        }
    }
    let first = differs.len() - rest.len();
    (first..).zip(rest).filter(|(_, differs)| **differs != 0).for_each(|(row, _)| add(row));
}

/// Takes in what follows from the surprises that were found.
fn finish<F: Follow>(column: usize, stage: &mut Stage, follow: &F, places: &mut [Place]) {
    for sought in &stage.sought {
        let (run, surprise) = (&stage.runs[sought.run as usize], sought.surprise);
        let follows = if surprise == 0.0 { follow.of_none(column) } else { follow.of(column, surprise) };
        stage.found[sought.run as usize] = (surprise, follows);
        let place = &mut places[run.place as usize];
        if place.same == run.same && place.weight == run.weight.to_bits() {
            (place.surprise, place.follows) = (surprise, follows);
        }
    }
    for (run, other) in &stage.repeated {
        stage.found[*run as usize] = stage.found[*other as usize];
    }
}
