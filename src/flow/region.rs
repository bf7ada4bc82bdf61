//! Zeroed memory for the flow table that asks for huge pages.

use std::marker::PhantomData;

use bytemuck::Pod;
#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::{MmapMut, MmapOptions};

/// A fixed number of `T`, zeroed, committed by the system page by page as they are touched.
///
/// A large table misses the TLB on every packet with pages of 4 KiB; allocators do not ask for huge
/// ones by themselves. The memory is mapped at its full size at once, so nothing is ever copied to grow.
pub struct Region<T> {
    map: MmapMut,
    count: usize,
    kind: PhantomData<T>,
}

/// The system has no address space for so many bytes. Nothing can go on without a flow table, and nobody can make more of
/// it than a line: where [`FlowSpec::check_room`](super::FlowSpec::check_room) could not tell it beforehand, a panic carries
/// it to whoever started the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the system has no {} MB of address space for open flows: allow more (ulimit -v), or make [flow] max_flows lower in a \
     pipeline (-p)",
    bytes.div_ceil(1_000_000)
)]
pub struct NoRoom {
    /// What was asked for.
    pub bytes: usize,
}

/// Whether the system has address space for so many bytes, as far as can be told before they are asked for.
pub(super) fn check_room(bytes: usize) -> Result<(), NoRoom> {
    map(bytes).map(drop)
}

fn map(bytes: usize) -> Result<MmapMut, NoRoom> {
    MmapOptions::new().len(bytes.max(1)).no_reserve_swap().map_anon().map_err(|_| NoRoom { bytes })
}

impl<T: Pod> Region<T> {
    /// Room for `count` values.
    ///
    /// # Panics
    /// With [`NoRoom`], if the system has no address space for it.
    pub fn new(count: usize) -> Self {
        const { assert!(align_of::<T>() <= 4096, "mappings begin at pages") };
        let map = map(count * size_of::<T>()).unwrap_or_else(|room| std::panic::panic_any(room));
        #[cfg(target_os = "linux")]
        let _ = map.advise(Advice::HugePage); // a hint: without it the table is merely slower
        Region { map, count, kind: PhantomData }
    }

    /// As [`Region::new`], where all of it will be used soon and is read before it is written: pages that are read
    /// first cost twice.
    pub fn committed(count: usize) -> Self {
        let region = Region::new(count);
        #[cfg(target_os = "linux")]
        let _ = region.map.advise(Advice::PopulateWrite); // a hint, too
        region
    }

    // Looked at a dozen times a packet: checks of length and alignment were a tenth of the table's instructions.

    /// The values.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub fn get(&self) -> &[T] {
        // SAFETY: the mapping is `count` values long, as `new` made it, begins at a page, which is aligned for `T`,
        // and any bytes are a `T`.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.count) }
    }

    /// The values, to change.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub fn get_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `get`; the borrow of the mapping is exclusive as long as that of the values.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.count) }
    }

    /// Asks for the lines of the cache that a value lies in, if there is such a value: who looks at it later does not
    /// wait for them. Nothing is read.
    #[inline(always)]
    pub fn fetch(&self, at: usize) {
        const LINE: usize = 64;
        if let Some(value) = self.get().get(at) {
            (0..size_of::<T>().div_ceil(LINE)).for_each(|line| fetch(value, LINE * line));
        }
    }
}

/// Asks for the line of the cache that lies `offset` bytes behind the beginning of `value`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code)]
fn fetch<T>(value: &T, offset: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    let place = std::ptr::from_ref(value).cast::<i8>().wrapping_add(offset);
    // SAFETY: a prefetch reads and writes nothing, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place) }
}

/// Asks for the line of the cache where an element begins, if there is one: a hint, nothing is read.
#[inline(always)]
pub(crate) fn ask<T: Pod>(all: &[T], at: usize) {
    if let Some(value) = all.get(at) {
        fetch(value, 0);
    }
}

/// Where there is no such instruction the line is looked at.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn fetch<T: Pod>(value: &T, offset: usize) {
    std::hint::black_box(bytemuck::bytes_of(value)[offset]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_place_may_be_asked_for_and_nothing_changes() {
        let mut region = Region::<[u64; 20]>::new(3);
        region.get_mut()[2] = [7; 20];
        [0, 2, 3, usize::MAX].into_iter().for_each(|at| region.fetch(at));
        assert_eq!(region.get(), [[0; 20], [0; 20], [7; 20]]);
    }
}
