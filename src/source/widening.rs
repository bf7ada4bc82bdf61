//! One type for a column that the files of a table have in several: each day's file has what its writer made of its
//! own values, whole numbers here and floats where one was missing there.

use arrow::datatypes::{DataType, Field, Schema};

/// The type that holds what columns of both types do; `None` where they are of different kinds.
fn common(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{Float64, Int8, Int16, Int32, Int64, Null, UInt8, UInt16, UInt32, UInt64, Utf8};
    // From narrow to wide; whole numbers of two kinds fit one with a sign that is wider than the one without.
    let (signed, unsigned) = ([Int8, Int16, Int32, Int64], [UInt8, UInt16, UInt32, UInt64]);
    let width = |types: &[DataType; 4]| {
        let of = |wanted: &DataType| types.iter().position(|known| known == wanted);
        of(one).max(of(other))
    };
    match (one, other) {
        (one, other) if one == other => Some(one.clone()),
        (Null, known) | (known, Null) => Some(known.clone()),
        (one, other) if is_text(one) && is_text(other) => Some(Utf8),
        (one, other) if one.is_integer() && other.is_integer() => match (width(&signed), width(&unsigned)) {
            (Some(wide), None) => signed.get(wide).cloned(),
            (None, wide) => unsigned.get(wide?).cloned(),
            (Some(wide), Some(without)) => {
                Some(signed.get(wide.max(without + 1)).cloned().unwrap_or(Float64))
            }
        },
        (one, other) => (one.is_numeric() && other.is_numeric()).then_some(Float64),
    }
}

pub(super) fn is_text(found: &DataType) -> bool {
    match found {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The columns of `known`, each of a type that holds what `found` has under its name too. `None` where a column is
/// of another kind there, or is missing, or one is more: nothing holds both.
pub(super) fn widened(known: &Schema, found: &Schema) -> Option<Schema> {
    let both = |field: &Field| {
        let other = found.field_with_name(field.name()).ok()?;
        let data_type = common(field.data_type(), other.data_type())?;
        Some(Field::new(field.name(), data_type, field.is_nullable() || other.is_nullable()))
    };
    let fields = known.fields().iter().map(|field| both(field)).collect::<Option<Vec<Field>>>()?;
    (found.fields().len() == fields.len()).then(|| Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_type_holds_what_both_do_whichever_comes_first() {
        use DataType::{
            Boolean, Date32, Decimal128, Float32, Float64, Int8, Int32, Int64, LargeUtf8, Null, Utf8,
        };
        use DataType::{UInt8, UInt16, UInt32, UInt64};
        let words = |keys: DataType| DataType::Dictionary(Box::new(keys), Box::new(Utf8));
        for (one, other, expected) in [
            (Int64, Int32, Some(Int64)),
            (UInt8, UInt16, Some(UInt16)),
            (UInt8, Int8, Some(DataType::Int16)),
            (UInt32, Int8, Some(Int64)),
            (Int64, UInt8, Some(Int64)),
            (UInt64, Int8, Some(Float64)),
            (Int64, Float64, Some(Float64)),
            (Float32, Int8, Some(Float64)),
            (Decimal128(18, 2), Int64, Some(Float64)),
            (Null, Int8, Some(Int8)),
            (words(Int8), words(Int32), Some(Utf8)),
            (LargeUtf8, words(Int8), Some(Utf8)),
            (Boolean, Boolean, Some(Boolean)),
            (Boolean, Int8, None),
            (Utf8, Int8, None),
            (Date32, Int32, None),
        ] {
            assert_eq!(common(&one, &other), expected, "{one} {other}");
            assert_eq!(common(&other, &one), expected, "{other} {one}");
        }
    }
}
