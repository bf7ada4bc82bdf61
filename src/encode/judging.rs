//! Columns of many rows judged. Rows that follow one another with the same value of the same entity are looked up once, and
//! what was found is kept for those to come: what a host did in a window is one value for all of its rows, and the next
//! window is much like it.
//!
//! What is usual is much more than caches hold, and little of it is looked at for the rows of one window: nearly every look
//! would have to wait. So columns are judged some together, step by step, and each step asks for what the next one looks
//! at.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::bucket::ABSENT;
use super::crowd::Crowd;
use super::past::Past;
use crate::flow::region::ask;

/// Columns that are judged together; few in tests, so that those of some rows are not all.
const TOGETHER: usize = if cfg!(test) { 3 } else { 16 };

/// Stands where what follows is not known yet.
const UNKNOWN: f64 = f64::NAN;

/// What was found of columns of one past, and room to look up the rest.
#[derive(Debug)]
pub(crate) struct Known {
    places: Places,
    unknown: Vec<Unknown>,
    /// What follows from the surprises of the columns that are judged together.
    follows: Vec<f64>,
}

/// What was found. Rows are looked at column by column, so each column has places of its own; each place keeps the last
/// that came to it.
#[derive(Debug)]
struct Places {
    all: Vec<Place>,
    /// Places of a column, as a power of two.
    bits: u32,
}

/// A value of an entity, its surprise in nats, and what follows from that where it weighs all.
#[derive(Clone, Copy, Pod, Zeroable, Debug)]
#[repr(C)]
struct Place {
    value: u64,
    surprise: f64,
    follows: f64,
}

/// The first of rows that follow one another and are alike in a column, of whose value nothing is known.
#[derive(Debug)]
struct Unknown {
    column: usize,
    row: usize,
    /// Whose value, and its bucket.
    value: u64,
    weight: f32,
    /// Where what is usual lies for the entity, and for its service.
    usual: [Range<u32>; 2],
    surprise: f64,
    follows: f64,
}

impl Known {
    /// Of so many columns, with two to the power of so many places for each, at least two.
    pub(crate) fn new(columns: usize, bits: u32) -> Known {
        let nothing = Place { value: u64::MAX, surprise: 0.0, follows: 0.0 };
        let places = Places { all: vec![nothing; columns << bits], bits };
        Known { places, unknown: Vec::new(), follows: Vec::new() }
    }
}

impl Places {
    #[inline]
    fn number(&self, column: usize, value: u64) -> usize {
        column << self.bits | (value.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - self.bits)) as usize
    }

    #[inline]
    fn get(&self, column: usize, value: u64) -> Option<&Place> {
        Some(&self.all[self.number(column, value)]).filter(|place| place.value == value)
    }

    #[inline]
    fn put(&mut self, column: usize, place: Place) {
        let number = self.number(column, place.value);
        self.all[number] = place;
    }

    /// Asks for the places of a column's values, of which are given of each row whose they are and their buckets.
    #[inline(never)]
    fn ask(&self, column: usize, alike: &[u32], buckets: &[u8]) {
        let mut last = u64::MAX;
        for (alike, bucket) in alike.iter().zip(buckets) {
            let value = value(*alike, *bucket);
            if value != last {
                last = value;
                ask(&self.all, self.number(column, value));
            }
        }
    }
}

/// Whose value, and its bucket.
#[inline]
fn value(alike: u32, bucket: u8) -> u64 {
    u64::from(alike) << 8 | u64::from(bucket)
}

impl Past {
    /// Finds the surprises of all columns' values, each times a weight of its row, column by column for all rows of a crowd,
    /// and gives what follows from those of each column, which is a number. `values` are its buckets and weights. One that
    /// weighs nothing is 0. What is known must be of this past, of crowds that are all struck or none, and of what follows in
    /// the same way.
    pub(crate) fn judge<'v>(
        &self,
        crowd: &Crowd,
        values: impl Fn(usize) -> (&'v [u8], &'v [f32]),
        follow: impl Fn(usize, f32) -> f64,
        Known { places, unknown, follows }: &mut Known,
        surprises: &mut [f32],
        mut give: impl FnMut(usize, &[f64]),
    ) {
        let rows = crowd.rows();
        if rows == 0 {
            return;
        }
        follows.resize(TOGETHER * rows, 0.0);
        for (first, surprises) in (0..).step_by(TOGETHER).zip(surprises.chunks_mut(TOGETHER * rows)) {
            let columns = first..first + surprises.len() / rows;
            for column in columns.clone() {
                places.ask(column, crowd.alike(self.subject(column)), values(column).0);
            }
            let into = surprises.chunks_exact_mut(rows).zip(follows.chunks_exact_mut(rows));
            for (column, (surprises, follows)) in columns.clone().zip(into) {
                let none = follow(column, 0.0);
                let recalled = |row: usize, alike: u32, bucket: u8, weight: f32| {
                    if weight.is_nan() || weight <= 0.0 {
                        return (0.0, none);
                    }
                    if bucket == ABSENT {
                        // -ln 1, as of a column that nobody was seen with.
                        return (-0.0, none);
                    }
                    let value = value(alike, bucket);
                    match places.get(column, value) {
                        Some(place) if weight == 1.0 => (place.surprise as f32, place.follows),
                        Some(place) => {
                            let surprise = (place.surprise * f64::from(weight)) as f32;
                            (surprise, follow(column, surprise))
                        }
                        None => {
                            let usual = self.usual_of(column, crowd.found(row));
                            self.ask(column, &usual);
                            let (surprise, follows) = (0.0, UNKNOWN);
                            unknown.push(Unknown { column, row, value, weight, usual, surprise, follows });
                            (0.0, UNKNOWN)
                        }
                    }
                };
                recall(crowd.alike(self.subject(column)), values(column), recalled, (surprises, follows));
            }
            for Unknown { column, value, usual, surprise, .. } in &mut *unknown {
                let struck = crowd.is_struck();
                *surprise = -libm::log(self.probability_in(*column, usual.clone(), *value as u8, struck));
            }
            for Unknown { column, weight, surprise, follows, .. } in &mut *unknown {
                *follows = follow(*column, (*surprise * f64::from(*weight)) as f32);
            }
            // The last first: what is unknown behind the rows of one is another one's, and was found before.
            for Unknown { column, row, value, weight, surprise, follows: found, .. } in
                unknown.drain(..).rev()
            {
                let whole = if weight == 1.0 { found } else { follow(column, surprise as f32) };
                places.put(column, Place { value, surprise, follows: whole });
                let surprise = (surprise * f64::from(weight)) as f32;
                let rows = (column - first) * rows + row..(column + 1 - first) * rows;
                let alike = surprises[rows.clone()].iter_mut().zip(&mut follows[rows]);
                let alike = alike.take_while(|(_, follows)| follows.is_nan());
                alike.for_each(|into| (*into.0, *into.1) = (surprise, found));
            }
            columns.zip(follows.chunks_exact(rows)).for_each(|(column, follows)| give(column, follows));
        }
    }
}

/// Recalls what is known of the values of rows, once for those that follow one another and are alike: whose they are,
/// their buckets and weights.
#[inline]
fn recall(
    alike: &[u32],
    (buckets, weights): (&[u8], &[f32]),
    mut recalled: impl FnMut(usize, u32, u8, f32) -> (f32, f64),
    (surprises, follows): (&mut [f32], &mut [f64]),
) {
    let mut last = None;
    let mut found = (0.0, 0.0);
    let rows = alike.iter().zip(buckets).zip(weights).zip(surprises.iter_mut().zip(follows));
    for (row, (((alike, bucket), weight), (surprise, follows))) in rows.enumerate() {
        let this = (*alike, *bucket, weight.to_bits());
        if last != Some(this) {
            last = Some(this);
            found = recalled(row, *alike, *bucket, *weight);
        }
        (*surprise, *follows) = found;
    }
}
