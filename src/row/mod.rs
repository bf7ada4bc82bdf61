//! The noun that everything after the flow room speaks: rows, their dictionary of columns, their Arrow schema.
//!
//! A row says what one bidirectional flow did in one window of event time. [`columns`] is the only
//! definition of names, types, units and meanings: the builder, the schema, `netweir features` and the
//! tests are made from it.

pub(crate) mod asking;
pub mod batch;
pub mod columns;
pub(crate) mod names;
pub mod operator;
pub mod schema;
pub mod without;

pub use batch::{Place, RowBatch};
pub use columns::{COLUMNS, Column, Kind};
pub use schema::RowSettings;
pub use without::Without;

/// What names a row: its window, nanoseconds since the Unix epoch, and its flow.
pub type RowKey = (u64, u64);

/// Version of the meaning of the columns: raised when a column's name, type or meaning changes.
pub const FEATURE_VERSION: u32 = 6;
