//! How much of an entity's value is a row's own: [`Weight`], with its columns found among the numbers that are read.

use super::columns::{ALIKE, Brought, FAILED, Weight};
use super::rhythm;
use crate::detect::DetectError;

/// How the weight of a judged column is made, of numbers by their positions.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Whole,
    New {
        age: usize,
        own: Option<usize>,
        horizon: f64,
    },
    /// Of the larger of two numbers, which may be one twice.
    Share {
        own: [usize; 2],
        horizon: f64,
        failed: bool,
        alike: Option<Brought>,
    },
    /// Of a regularity, and the number that is none where it is of few gaps.
    Rhythm(Option<usize>),
}

impl Part {
    /// Of numbers that are found by their names.
    ///
    /// # Errors
    /// Those of finding one.
    pub(super) fn of(
        weight: &Weight,
        mut number: impl FnMut(&str) -> Result<usize, DetectError>,
    ) -> Result<Part, DetectError> {
        Ok(match weight {
            Weight::Whole => Part::Whole,
            Weight::New { age, own, horizon } => {
                let own = own.as_deref().map(&mut number).transpose()?;
                Part::New { age: number(age)?, own, horizon: f64::from(*horizon) }
            }
            Weight::Share { own, horizon, failed, alike } => {
                let own = own.iter().map(|name| number(name)).collect::<Result<Vec<_>, _>>()?;
                // There are one or two.
                let own = [own[0], own[own.len() - 1]];
                Part::Share { own, horizon: f64::from(*horizon), failed: *failed, alike: *alike }
            }
            Weight::Rhythm { eight } => Part::Rhythm(eight.as_deref().map(&mut number).transpose()?),
        })
    }
}

/// Numbers that many weights are made with, by their positions.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    failed: usize,
    alike: [usize; 2],
}

impl Beside {
    /// Of numbers that are found by their names.
    ///
    /// # Errors
    /// Those of finding one.
    pub(super) fn of(
        mut number: impl FnMut(&str) -> Result<usize, DetectError>,
    ) -> Result<Beside, DetectError> {
        let [like_this, all] = ALIKE;
        Ok(Beside { failed: number(FAILED)?, alike: [number(like_this)?, number(all)?] })
    }
}

/// Weights of some rows, whose numbers are given by position.
pub(super) struct Weighing<'n, N: Fn(usize) -> &'n [f64]> {
    number: N,
    failed: usize,
    /// Of each row how many to its destination and service are like it.
    alike: &'n [f64],
    /// And what part of all rows to them.
    part: Vec<f64>,
    /// What rows alike have of a number.
    theirs: Vec<f64>,
}

impl<'n, N: Fn(usize) -> &'n [f64]> Weighing<'n, N> {
    pub(super) fn new(number: N, beside: &Beside) -> Self {
        let [alike, all] = beside.alike.map(&number);
        let part = alike.iter().zip(all).map(|(alike, all)| alike / all).collect();
        Weighing { number, failed: beside.failed, alike, part, theirs: Vec::new() }
    }

    /// Appends how much of each value of a column is the row's own, which has these buckets.
    pub(super) fn put(&mut self, part: &Part, values: &[f64], buckets: &[u8], into: &mut Vec<f32>) {
        let number = &self.number;
        match part {
            Part::Whole => into.extend(values.iter().map(|_| 1.0)),
            Part::New { age, own, horizon } => {
                let first = into.len();
                let new = values.iter().zip(number(*age));
                into.extend(new.map(|(value, age)| f32::from(u8::from(*value > 0.0 && age < horizon))));
                if let Some(own) = own {
                    let shares = values.iter().zip(number(*own));
                    for (weight, (value, own)) in into[first..].iter_mut().zip(shares) {
                        // What is met in this window is one at least.
                        let share = (horizon * own.max(1.0) / value).min(1.0);
                        *weight = if *weight > 0.0 { share as f32 } else { 0.0 };
                    }
                }
            }
            Part::Share { own: [one, other], horizon, failed, alike } => {
                let first = into.len();
                let mut own = [number(*one), number(*other)];
                if let Some(brought) = alike {
                    self.theirs.clear();
                    match brought {
                        Brought::OneEach => {
                            let most = own[0].iter().zip(self.alike);
                            self.theirs.extend(most.map(|(own, alike)| own.min(*alike)));
                        }
                        Brought::AsOthers => {
                            let parts = own[0].iter().zip(&self.part);
                            self.theirs.extend(parts.map(|(own, part)| own * part));
                        }
                    }
                    own = [&self.theirs, if one == other { &self.theirs } else { own[1] }];
                }
                put_shares(values, own, *horizon, into);
                if *failed {
                    for (weight, failed) in into[first..].iter_mut().zip(number(self.failed)) {
                        *weight = if *failed > 0.0 { *weight } else { 0.0 };
                    }
                }
            }
            Part::Rhythm(eight) => {
                let (of_four, of_eight) = (rhythm::of_four(), rhythm::of_eight());
                let buckets = buckets.iter().map(|bucket| usize::from(*bucket));
                match eight {
                    Some(eight) => into.extend(buckets.zip(number(*eight)).map(|(bucket, eight)| {
                        if eight.is_nan() { of_four[bucket] } else { of_eight[bucket] }
                    })),
                    None => into.extend(buckets.map(|bucket| of_eight[bucket])),
                }
            }
        }
    }
}

/// Appends how much of each value is the row's own: `horizon` times the larger of its own two, at most all.
fn put_shares(values: &[f64], own: [&[f64]; 2], horizon: f64, into: &mut Vec<f32>) {
    // As comparisons that processors have for many numbers at once: what is no number is the lesser one.
    let larger = |one: f64, other: f64| if one > other { one } else { other };
    let share = |value: f64, one: f64, other: f64| {
        let share = horizon * larger(other, larger(one, 0.0)) / value;
        let share = if share < 1.0 { share } else { 1.0 };
        if value > 0.0 { share as f32 } else { 0.0 }
    };
    let first = into.len();
    into.resize(first + values.len(), 0.0);
    let own = own[0].iter().zip(own[1]);
    for (into, (value, (one, other))) in into[first..].iter_mut().zip(values.iter().zip(own)) {
        *into = share(*value, *one, *other);
    }
}
