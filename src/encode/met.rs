//! What was met before, for those who look up the same again and again.

use std::sync::{Mutex, PoisonError};

/// What was met of columns. Rows are looked at column by column, so each column has places of its own, which stay near as
/// long as they are asked for.
#[derive(Debug)]
pub(crate) struct Met {
    places: Vec<(u64, f64)>,
    /// Places of a column, as a power of two.
    bits: u32,
}

impl Met {
    /// Of so many columns, with two to the power of so many places for each, at least two.
    pub(crate) fn new(columns: usize, bits: u32) -> Met {
        Met { places: vec![(u64::MAX, 0.0); columns << bits], bits }
    }

    /// What was met of a column under a number, or else found now. Each place keeps the last that came to it.
    #[inline]
    pub(crate) fn get_or(&mut self, column: usize, number: u64, find: impl FnOnce() -> f64) -> f64 {
        let place = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - self.bits);
        let (known, value) = &mut self.places[column << self.bits | place as usize];
        if *known != number {
            (*known, *value) = (number, find());
        }
        *value
    }
}

/// What was met and is kept, for as many as look things up at once. It follows from what it is of: copies begin with
/// nothing, and are equal.
#[derive(Debug)]
pub(crate) struct Kept<T>(Mutex<Vec<T>>);

impl<T> Kept<T> {
    /// Looks things up with what was met before, or with nothing.
    pub(crate) fn with<R>(&self, nothing: impl FnOnce() -> T, look_up: impl FnOnce(&mut T) -> R) -> R {
        let waiting = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting().pop();
        let mut met = known.unwrap_or_else(nothing);
        let found = look_up(&mut met);
        waiting().push(met);
        found
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(Mutex::default())
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Kept<T> {
        Kept::default()
    }
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, _: &Kept<T>) -> bool {
        true
    }
}
