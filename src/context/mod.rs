//! What an entity did in its windows: not counted yet, rows pass as they are.

use serde::{Deserialize, Serialize};

/// What the pipeline file says about context (`[context]`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContextSpec {
    /// Context columns, by name or with `*` for any run of characters.
    pub columns: Vec<String>,
}

/// Columns that were asked for.
pub struct Plan;

/// Why context cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {}

impl Plan {
    /// Checks the columns.
    ///
    /// # Errors
    /// None yet.
    pub fn new(_: &ContextSpec) -> Result<Plan, ContextError> {
        Ok(Plan)
    }
}

pub mod operator {
    //! Context in the graph.

    use std::sync::Arc;

    use timely::dataflow::Stream;

    use super::Plan;
    use crate::row::RowBatch;

    /// Passes rows on.
    pub fn count<'s>(
        rows: Stream<'s, u64, RowBatch>,
        _plan: Arc<Plan>,
        _window: u64,
    ) -> Stream<'s, u64, RowBatch> {
        rows
    }
}
