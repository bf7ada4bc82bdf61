//! What was seen before, beyond any horizon: when an identity (a host, a pair, a service or port of theirs) had
//! its first row ever, how regularly its flows start, and which row stands for it in a window.
//!
//! ```text
//! rows -- gather ------------ rows with their cells ------------ attach -- rows with what was recalled
//!            +- questions -(identity's owner)- recall -(who asked)- answers -+
//! ```
//!
//! Identities of a window are derived from its cells ([`questions`]), asked about at the worker that owns
//! their share of keys ([`keeper`], [`shard`]), and columns are made from the answers ([`answers`]). An identity
//! is new in the window of its first row ever, for all of the window; its lead, the row of the smallest flow
//! id, is counted once for it. So `new_x` of an entity is a plain sum over rows ([`FIRSTS`]), and distinct
//! elements need no state beside the identities.
//!
//! What is remembered at the end of a run is a [`Memory`], which another run can begin with: as many rows of
//! one run have passed, so they would have passed in two. Only the regularity of flows that began before the
//! second run is not known to it.

mod answers;
mod asking;
mod columns;
mod flows;
mod keeper;
mod link;
mod memory;
pub(super) mod operator;
mod questions;
mod shard;
mod starts;
mod strangers;
mod tables;

#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub(crate) use columns::JOINING;
pub use columns::OLDEST;
pub(crate) use link::OnLink;
pub use memory::Memory;
pub(crate) use strangers::Busy;

pub(super) use columns::{IDENTITIES, Measure, Part, Recalled, with_element};

use super::entity::SHARDS;
use super::local::Networks;
use crate::row::columns::is_context;

/// A column between this and counting: for each row the identities whose first row ever is in the window and
/// which the row stands for, a bit for each position in [`IDENTITIES`].
pub(super) const FIRSTS: &str = "ctx_firsts";

/// What must be recalled for the columns of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recall {
    /// The identities asked about, by position, ascending.
    identities: Vec<usize>,
    columns: Vec<(Recalled, Arc<Field>)>,
    /// Whether anything new is counted.
    news: bool,
    /// Most identities that are remembered.
    remember: u64,
    /// Networks that are one's own.
    local: Networks,
}

impl Recall {
    pub(super) fn new(remember: u64, local: Networks) -> Recall {
        Recall { identities: Vec::new(), columns: Vec::new(), news: false, remember, local }
    }

    /// One more column.
    pub(super) fn column(&mut self, recalled: Recalled) {
        self.ask(recalled.of());
        let (kind, nullable) = (recalled.kind().data_type(), recalled.nullable());
        self.columns.push((recalled, Arc::new(Field::new(recalled.name(), kind, nullable))));
    }

    /// Those of an identity that are new must be counted.
    pub(super) fn count_new(&mut self, identity: usize) {
        self.ask(identity);
        self.news = true;
    }

    fn ask(&mut self, identity: usize) {
        if let Err(at) = self.identities.binary_search(&identity) {
            self.identities.insert(at, identity);
        }
    }

    /// Whether nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// The fields of its columns, in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Arc<Field>> {
        self.columns.iter().map(|(_, field)| field)
    }

    /// Whether rows say which hosts are new.
    fn tells_new(&self) -> bool {
        self.columns.iter().any(|(column, _)| *column == Recalled::New)
    }

    /// Identities that a share has room for.
    fn most(&self) -> usize {
        (self.remember / SHARDS as u64) as usize
    }

    /// Place among the identities asked about.
    fn place(&self, identity: usize) -> usize {
        self.identities.binary_search(&identity).expect("whoever needs an identity asks about it")
    }

    /// Whether the starts of an identity's flows are needed.
    fn starts(&self, identity: usize) -> bool {
        self.columns
            .iter()
            .any(|(column, _)| matches!(column, Recalled::Regularity(of, _) if *of == identity))
    }

    /// Whether any regularity is asked for.
    fn regularities(&self) -> bool {
        self.identities.iter().any(|identity| self.starts(*identity))
    }

    /// The schema of rows with what was recalled: what context columns the rows have are left out.
    fn schema(&self, rows: &Schema) -> SchemaRef {
        let own = rows.fields().iter().filter(|field| !is_context(field.name()));
        let firsts = self.news.then(|| Arc::new(Field::new(FIRSTS, DataType::UInt16, false)));
        let fields: Vec<Arc<Field>> = own.chain(self.fields()).chain(&firsts).cloned().collect();
        Arc::new(Schema::new_with_metadata(fields, rows.metadata().clone()))
    }
}
