//! Network anomaly detection in one dataflow graph.
#![allow(missing_docs)]

pub mod context;
pub mod detect;
pub mod encode;
pub mod flow;
pub mod graph;
pub mod model;
pub mod packet;
pub mod row;
pub mod sink;
pub mod source;
pub mod spec;
pub mod tally;
