//! Places for values of one size, given out and taken back.

use bytemuck::Pod;

use super::region::Region;

/// A fixed number of places; those that nobody has are given out anew, the lowest that were never used last.
pub(super) struct Slab<T> {
    values: Region<T>,
    used: u32,
    free: Vec<u32>,
}

impl<T: Pod> Slab<T> {
    /// Room for `count` values.
    pub(super) fn new(count: usize) -> Slab<T> {
        Slab { values: Region::new(count), used: 0, free: Vec::new() }
    }

    /// Puts `value` at a free place. No more may be in it than there is room for.
    #[inline(always)]
    pub(super) fn put(&mut self, value: T) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            self.used - 1
        });
        self.values.get_mut()[place as usize] = value;
        place
    }

    /// Gives a place back.
    pub(super) fn release(&mut self, place: u32) {
        self.free.push(place);
    }

    /// Gives all places back. The next values stand in the order in which they come: what was put together
    /// stays together in memory.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.free.clear();
    }

    /// As [`Region::fetch`].
    #[inline(always)]
    pub(super) fn fetch(&self, place: u32) {
        self.values.fetch(place as usize);
    }

    #[inline(always)]
    pub(super) fn get(&self) -> &[T] {
        self.values.get()
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self) -> &mut [T] {
        self.values.get_mut()
    }
}
