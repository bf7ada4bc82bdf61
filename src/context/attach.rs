//! Context columns beside the rows that they are about.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::Plan;
use super::horizon::Answer;
use super::window::Numbers;
use crate::row::columns::is_context;

/// The values of a window's entities, as answers bring them.
pub(super) struct Values {
    numbers: Vec<Numbers>,
    /// For each group the values of its entities, side by side.
    values: Vec<Vec<u64>>,
}

impl Values {
    /// `known` are the values of groups that nobody needs to be asked about, nothing for others.
    pub(super) fn new(plan: &Plan, numbers: Vec<Numbers>, mut known: Vec<Vec<u64>>) -> Values {
        known.resize(plan.groups.len(), Vec::new());
        for ((group, numbers), values) in plan.groups.iter().zip(&numbers).zip(&mut known) {
            values.resize(numbers.count * group.values.len(), 0);
        }
        Values { numbers, values: known }
    }

    /// Puts the values of an answer where they belong.
    pub(super) fn put(&mut self, plan: &Plan, answer: &Answer) {
        let at = answer.head.group as usize;
        let (Some(group), Some(values)) = (plan.groups.get(at), self.values.get_mut(at)) else { return };
        let width = group.values.len();
        for (number, own) in answer.numbers.iter().zip(answer.values.chunks_exact(width)) {
            let from = *number as usize * width;
            if let Some(place) = values.get_mut(from..from + width) {
                place.copy_from_slice(own);
            }
        }
    }

    /// Rows with their context columns; `cells` are those of the rows.
    pub(super) fn attach(
        &self,
        plan: &Plan,
        rows: &RecordBatch,
        cells: &[u32],
        layout: &Layout,
    ) -> RecordBatch {
        let taken = |places: &[usize]| places.iter().map(|at| rows.column(*at).clone()).collect::<Vec<_>>();
        let mut columns: Vec<ArrayRef> = taken(&layout.own);
        columns.reserve_exact(layout.schema.fields().len() - columns.len());
        let mut entities: Vec<usize> = Vec::with_capacity(cells.len());
        let mut fields = plan.fields.iter();
        for ((group, numbers), values) in plan.groups.iter().zip(&self.numbers).zip(&self.values) {
            let width = group.values.len();
            entities.clear();
            entities.extend(cells.iter().map(|cell| numbers.of_cell[*cell as usize] as usize * width));
            for (offset, field) in (0..width).zip(fields.by_ref()) {
                let column = entities.iter().map(|from| values[from + offset]);
                columns.push(match field.data_type() {
                    // Counts of this type fit: they were made from it.
                    DataType::UInt32 => Arc::new(UInt32Array::from_iter_values(column.map(|v| v as u32))),
                    _ => Arc::new(UInt64Array::from_iter_values(column)),
                });
            }
        }
        // What was recalled stands behind what was counted.
        columns.extend(taken(&layout.recalled));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(layout.schema.clone(), columns, &options)
            .expect("columns are made by the plan that made the schema, one value for each row")
    }
}

/// Which columns of rows stay beside those that are attached, and the schema of both.
pub(super) struct Layout {
    schema: SchemaRef,
    /// Places of columns that are no context.
    own: Vec<usize>,
    /// Places of context that was recalled before.
    recalled: Vec<usize>,
}

/// The layout, made anew only when the schema of rows changes: a window may have one row.
#[derive(Default)]
pub(super) struct Layouts {
    last: Option<(SchemaRef, Layout)>,
}

impl Layouts {
    pub(super) fn of(&mut self, plan: &Plan, rows: &SchemaRef) -> &Layout {
        let known = self.last.take().filter(|(known, _)| Arc::ptr_eq(known, rows) || known == rows);
        let (_, layout) = self.last.insert(known.unwrap_or_else(|| (rows.clone(), Layout::new(plan, rows))));
        layout
    }
}

impl Layout {
    fn new(plan: &Plan, rows: &SchemaRef) -> Layout {
        let own = (0..).zip(rows.fields()).filter(|(_, field)| !is_context(field.name()));
        let own = own.map(|(at, _)| at).collect();
        let recalled = plan.recall.fields().filter_map(|field| rows.index_of(field.name()).ok()).collect();
        Layout { schema: plan.schema(rows), own, recalled }
    }
}
