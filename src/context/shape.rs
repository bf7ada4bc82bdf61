//! What a row is like, so that others like it can be counted: its state, and its packets and bytes either way, each to an
//! octave.
//!
//! Whatever floods, guesses or amplifies does the same many times; what many do of their own accord differs.

use arrow::record_batch::RecordBatch;

use super::ContextError;
use super::entity::{Texts, numbers};
use crate::flow::tcp::CONN_STATES;

/// The columns that a shape is read from.
pub(super) const COLUMNS: [&str; 5] = ["conn_state", "fwd_packets", "bwd_packets", "fwd_bytes", "bwd_bytes"];

/// Bits of a count.
const BITS: u32 = 6;

/// A number for what rows of one shape have in common.
///
/// # Errors
/// [`ContextError`] for rows that lack a column, or have it with another type.
pub(super) fn shapes(rows: &RecordBatch) -> Result<Vec<u32>, ContextError> {
    let [state, counts @ ..] = COLUMNS;
    let mut shapes = Texts::new(rows, state)?.map(code);
    for name in counts {
        let counts = numbers(rows, name)?;
        shapes
            .iter_mut()
            .zip(counts.iter())
            .for_each(|(shape, count)| *shape = *shape << BITS | octave(*count));
    }
    Ok(shapes)
}

/// 0 for what has no state, as all but TCP; what nobody knows is one state.
fn code(state: Option<&str>) -> u32 {
    let known = |state| CONN_STATES.iter().position(|known| *known == state).unwrap_or(CONN_STATES.len());
    state.map_or(0, |state| known(state) as u32 + 1)
}

/// 0 for none, else one more than the whole part of the binary logarithm.
fn octave(count: u64) -> u32 {
    (u64::BITS - count.leading_zeros()).min((1 << BITS) - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray, UInt64Array};
    use proptest::prelude::*;

    use super::*;

    fn shape(state: Option<&str>, counts: [u64; 4]) -> u32 {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![state]))];
        columns.extend(counts.map(|count| Arc::new(UInt64Array::from(vec![count])) as ArrayRef));
        shapes(&RecordBatch::try_from_iter(COLUMNS.into_iter().zip(columns)).unwrap()).unwrap()[0]
    }

    #[test]
    fn rows_within_an_octave_are_of_one_shape() {
        let like = |counts| shape(Some("SF"), counts);
        assert_eq!(like([4, 4, 512, 1023]), like([7, 5, 1023, 512]));
        assert_ne!(like([4, 4, 512, 512]), like([8, 4, 512, 512]));
        assert_ne!(like([4, 0, 512, 0]), like([4, 1, 512, 0]));
        assert_ne!(like([4, 4, 512, 512]), shape(Some("S1"), [4, 4, 512, 512]));
        assert_ne!(shape(None, [0; 4]), shape(Some(CONN_STATES[0]), [0; 4]));
        assert_eq!(shape(Some("?"), [0; 4]), shape(Some("other"), [0; 4]));
    }

    proptest! {
        #[test]
        fn no_part_of_a_shape_runs_over_into_another(
            state in 0..CONN_STATES.len(), counts in prop::array::uniform4(any::<u64>()), at in 0..4usize
        ) {
            let mut other = counts;
            other[at] = counts[at] / 2;
            let [of, halved] = [counts, other].map(|counts| shape(Some(CONN_STATES[state]), counts));
            // The largest two octaves are one.
            let octaves = [counts[at], other[at]].map(octave);
            prop_assert_eq!(of != halved, octaves[0] != octaves[1]);
            prop_assert_eq!(of >> (4 * BITS), halved >> (4 * BITS));
        }
    }
}
