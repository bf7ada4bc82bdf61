//! What tests build with: datagrams and the frames that carry them, captures, random traffic, the graph
//! in memory, the binary, and rows as a table of cells.

// Each test program is a crate of its own and uses a part of this; what fails here fails a test.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod binary;
pub(crate) mod datagram;
pub(crate) mod memory;
pub(crate) mod random;
pub(crate) mod table;
pub(crate) mod traffic;

/// A second in nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// A millisecond in nanoseconds.
pub(crate) const MILLISECOND: u64 = 1_000_000;
/// Where made-up traffic begins: a Tuesday, 22:13:20 UTC, on a multiple of ten seconds.
pub(crate) const EPOCH: u64 = 1_700_000_000 * SECOND;
