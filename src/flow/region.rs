//! Zeroed memory for the flow table that asks for huge pages.

use std::marker::PhantomData;

use bytemuck::Pod;
use memmap2::{Advice, MmapMut, MmapOptions};

/// A fixed number of `T`, zeroed, committed by the system page by page as they are touched.
///
/// A large table misses the TLB on every packet with pages of 4 KiB; allocators do not ask for huge
/// ones by themselves. The memory is mapped at its full size at once, so nothing is ever copied to grow.
pub struct Region<T> {
    map: MmapMut,
    count: usize,
    kind: PhantomData<T>,
}

impl<T: Pod> Region<T> {
    /// Room for `count` values.
    ///
    /// # Panics
    /// If the system has no address space for it: nothing can go on without a flow table.
    pub fn new(count: usize) -> Self {
        const { assert!(align_of::<T>() <= 4096, "mappings begin at pages") };
        let bytes = (count * size_of::<T>()).max(1);
        let map = MmapOptions::new()
            .len(bytes)
            .no_reserve_swap()
            .map_anon()
            .expect("address space for the flow table (lower [flow] max_flows)");
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
}
