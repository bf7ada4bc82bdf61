//! Columns of rows that others may have written, by their names.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::ArrowPrimitiveType;

/// A column that must be there and have no holes.
///
/// # Errors
/// One line: the column, and what is wrong with it.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("no column `{name}`"))?;
    match column.null_count() {
        0 => Ok(column),
        holes => Err(format!("column `{name}` has {holes} empty values, it may have none")),
    }
}

/// The values of such a column, of one type, or as whole numbers of it.
///
/// # Errors
/// As [`column`].
pub(crate) fn numbers<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
) -> Result<Vec<T::Native>, String> {
    let column = column(batch, name)?;
    let other = || format!("column `{name}` is {}, not {}", column.data_type(), T::DATA_TYPE);
    // Whole numbers are the same in any width that holds them.
    let widened = match column.data_type().is_integer() && T::DATA_TYPE.is_integer() {
        true => {
            let whole = CastOptions { safe: false, ..CastOptions::default() };
            &cast_with_options(column, &T::DATA_TYPE, &whole).map_err(|_| other())?
        }
        false => column,
    };
    Ok(widened.as_primitive_opt::<T>().ok_or_else(other)?.values().to_vec())
}
