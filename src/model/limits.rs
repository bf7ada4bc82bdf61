//! How large a model may be. What is written keeps these limits, and nothing beyond them is read: they are checked
//! before anything is allocated.

/// Bytes of the whole file.
pub const FILE: u64 = 1 << 30;

/// Bytes of `manifest.json`.
pub const MANIFEST: u64 = 16 << 20;

/// Members that are looked at in an archive; a model has five to ten.
pub const MEMBERS: u64 = 16;

/// Bytes of the archive's directory.
pub const DIRECTORY: u64 = 1 << 16;

/// Rows of a table: 67 million nodes take about 5 GB when they are read.
pub const ROWS: u64 = 1 << 26;

/// Rows that a table may have beside those that its bytes earn.
pub const FREE_ROWS: u64 = 1 << 20;

/// Rows for each byte of a table. A tree's node takes several bytes; only trees of equal rows take less than one,
/// and those are covered by [`FREE_ROWS`].
pub const ROWS_PER_BYTE: u64 = 4;

/// Trees of all forests together: each may take 14 KiB when it is laid out for scoring.
pub const TREES: u64 = 1 << 17;

/// Columns of a table.
pub const COLUMNS: usize = 64;

/// Bytes of one page of a column, decompressed.
pub const PAGE: u64 = 64 << 20;

/// Bytes of a column, decompressed, beside 16 for each row.
pub const COLUMN: u64 = 64 << 20;

/// Bytes of text of one column, every row counted.
pub const TEXT: u64 = 1 << 30;
