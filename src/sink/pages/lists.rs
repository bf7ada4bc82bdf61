//! Columns of lists of small numbers.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int16Type;
use parquet::errors::ParquetError;

use super::chunk::{Encoded, Open};
use super::numbers::{Coding, Distinct, Number, widen};
use super::{Encode, hybrid};

/// A column of lists, whose numbers go by dictionary.
pub(super) struct Lists {
    open: Open,
    /// Whether items may be null.
    nullable: bool,
    /// Rows of the open page; whether its values go on a list, and how far they are there; those that are.
    rows: usize,
    repeated: Vec<u32>,
    defined: Vec<u32>,
    values: Vec<i16>,
    extremes: Option<(i16, i16)>,
    coding: Distinct<i16>,
}

impl Lists {
    /// Lists of items that are `nullable` or not.
    pub(super) fn new(open: Open, nullable: bool) -> Lists {
        Lists {
            open,
            nullable,
            rows: 0,
            repeated: Vec::new(),
            defined: Vec::new(),
            values: Vec::new(),
            extremes: None,
            coding: Distinct::default(),
        }
    }

    fn end_page(&mut self) -> Result<(), ParquetError> {
        widen(&mut self.extremes, &self.values);
        let Lists { open, rows, repeated, defined, values, coding, .. } = self;
        let most = open.most_defined();
        open.add_page(*rows, defined.len(), defined.len() - values.len(), |out| {
            hybrid::levels(out, repeated, 1);
            hybrid::levels(out, defined, most);
            coding.page(values, out)
        })?;
        *rows = 0;
        repeated.clear();
        defined.clear();
        values.clear();
        Ok(())
    }
}

impl Encode for Lists {
    fn push(&mut self, rows: &ArrayRef) -> Result<(), ParquetError> {
        let other = || ParquetError::General(format!("{} came instead of lists", rows.data_type()));
        let lists = rows.as_list_opt::<i32>().ok_or_else(other)?;
        let items = lists.values().as_primitive_opt::<Int16Type>().ok_or_else(other)?;
        let some = self.open.most_defined();
        // An item that is null is one less defined than one that is not, an empty list than any item.
        let empty = some - 1 - u32::from(self.nullable);
        for (row, ends) in lists.value_offsets().windows(2).enumerate() {
            let (from, to) = (ends[0] as usize, ends[1] as usize);
            if lists.is_null(row) || from == to {
                self.repeated.push(0);
                self.defined.push(if lists.is_null(row) { 0 } else { empty });
            } else {
                self.repeated.push(0);
                self.repeated.resize(self.repeated.len() + to - from - 1, 1);
                if items.null_count() == 0 {
                    self.defined.resize(self.defined.len() + to - from, some);
                    self.values.extend_from_slice(&items.values()[from..to]);
                } else {
                    for item in from..to {
                        self.defined.push(if items.is_null(item) { some - 1 } else { some });
                        self.values.extend(items.is_valid(item).then(|| items.value(item)));
                    }
                }
            }
            self.rows += 1;
            if self.rows == self.open.page() {
                self.end_page()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Encoded, ParquetError> {
        if self.rows > 0 {
            self.end_page()?;
        }
        let extremes = self.extremes.take();
        let entries = self.coding.entries();
        self.open.end(entries, |nulls| i16::statistics(extremes, nulls))
    }
}
