//! The types that columns of rows are handed out in, whatever their writer stored them as.

use std::path::Path;
use std::sync::Arc;

use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::RowsError;
use super::widening::is_text;
use crate::row::columns::find;

/// A column of a file as it is handed out: values of a dictionary by themselves, but for text, whose keys are wide enough
/// for all batches of a window. Rows of flows have text, whole numbers, times, lists of them, and what is null throughout, in
/// the types that the dictionary of columns says, which some writers make others.
pub(super) fn handed_out(field: &Field, of_flows: bool) -> Field {
    let known = find(field.name()).filter(|_| of_flows).map(|known| known.kind.data_type());
    let found = match field.data_type() {
        DataType::Dictionary(_, values) if !is_text(values) => values.as_ref().clone(),
        DataType::Dictionary(_, values) => DataType::Dictionary(Box::new(DataType::Int32), values.clone()),
        other => other.clone(),
    };
    let known = known.filter(|known| match &found {
        DataType::Null => true,
        found if is_text(found) => is_text(known),
        DataType::List(_) | DataType::LargeList(_) => matches!(known, DataType::List(_)),
        // In another unit; of other zones nobody says whether they were meant.
        DataType::Timestamp(_, Some(zone)) if matches!(&**zone, "UTC" | "+00:00") => {
            matches!(known, DataType::Timestamp(..))
        }
        found => found.is_integer() && known.is_integer(),
    });
    field.clone().with_data_type(known.unwrap_or(found))
}

/// A batch with the columns of a schema in its order and of its types. Files of one run may have them in others.
///
/// # Errors
/// [`RowsError`] for a column that is gone, and for a value that its type does not hold.
pub(super) fn in_order(
    path: &Path,
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, RowsError> {
    let damaged = |what: String| RowsError::Damaged { path: path.to_owned(), what };
    // A value that does not fit is an error: as null it would be one that was never there.
    let whole = CastOptions { safe: false, ..CastOptions::default() };
    let found = batch.schema_ref().fields();
    let column = |(place, field): (usize, &Arc<Field>)| {
        let column = match found.get(place) {
            Some(here) if here.name() == field.name() => Some(batch.column(place)),
            _ => batch.column_by_name(field.name()),
        };
        let column = column.ok_or_else(|| damaged(format!("column `{}` is gone", field.name())))?;
        match column.data_type() == field.data_type() {
            true => Ok(column.clone()),
            false => cast_with_options(column, field.data_type(), &whole).map_err(|error| RowsError::Value {
                path: path.to_owned(),
                column: field.name().clone(),
                what: error.to_string(),
            }),
        }
    };
    let columns = schema.fields().iter().enumerate().map(column).collect::<Result<_, RowsError>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn numbers_are_handed_out_by_themselves_and_as_wide_as_flows_have_them() {
        let dictionary = |values: DataType| DataType::Dictionary(Box::new(DataType::Int32), Box::new(values));
        let out = |name: &str, found: DataType, of_flows: bool| {
            handed_out(&Field::new(name, found, true), of_flows).data_type().clone()
        };
        use DataType::{Float64, Int64, UInt16, Utf8};
        assert_eq!(out("x", dictionary(Int64), false), Int64);
        assert_eq!(out("x", dictionary(Utf8), false), dictionary(Utf8));
        let narrow = DataType::Dictionary(Box::new(DataType::Int8), Box::new(Utf8));
        assert_eq!(out("x", narrow.clone(), false), dictionary(Utf8));
        assert_eq!(out("service", narrow.clone(), true), dictionary(Utf8));
        assert_eq!(out("conn_state", narrow.clone(), true), narrow);
        assert_eq!(out("dst_port", Int64, false), Int64);
        assert_eq!(out("dst_port", Int64, true), UInt16);
        assert_eq!(out("dst_port", dictionary(Int64), true), UInt16);
        assert_eq!(out("dst_port", Float64, true), Float64);
        assert_eq!(out("of_my_own", Int64, true), Int64);
        assert_eq!(out("src_ip", Utf8, true), dictionary(Utf8));
        assert_eq!(out("src_ip", DataType::Utf8View, true), dictionary(Utf8));
        assert_eq!(out("src_ip", Utf8, false), Utf8);
        assert_eq!(out("vlan", DataType::Null, true), UInt16);
        let times = |unit, zone: &str| DataType::Timestamp(unit, Some(zone.into()));
        let own = times(TimeUnit::Nanosecond, "UTC");
        for (unit, zone) in [(TimeUnit::Microsecond, "UTC"), (TimeUnit::Second, "+00:00")] {
            assert_eq!(out("window_start", times(unit, zone), true), own);
            assert_eq!(out("window_start", times(unit, zone), false), times(unit, zone));
        }
        let berlin = times(TimeUnit::Microsecond, "Europe/Berlin");
        assert_eq!(out("window_start", berlin.clone(), true), berlin);
        let list = DataType::LargeList(Arc::new(Field::new("element", Int64, true)));
        assert_eq!(out("first_lengths", list, true), find("first_lengths").unwrap().kind.data_type());
    }
}
