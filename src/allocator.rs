//! Where memory comes from: jemalloc on Linux, the system's allocator elsewhere, which nobody has measured there.
//!
//! Whole windows of rows are made in one room and given up in another, often on another worker. Of the allocators that were
//! tried for that (`benches/RECORD.md`) jemalloc keeps least of what was given up, and takes least time.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Settings of jemalloc, in its own words ("TUNING" in its manual): huge pages for what is allocated and for its own books,
/// where the system allows them to who asks. Tables of flows are as large as memory, and are looked into at random.
///
/// SAFETY: jemalloc declares the symbol weakly as a pointer to characters that end with a zero, and reads it once, before
/// anything is allocated. A reference to an array is such a pointer, and what it points to is never written nor given up.
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 29] = b"thp:always,metadata_thp:auto\0";
