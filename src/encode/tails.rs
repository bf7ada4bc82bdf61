//! Histograms of many owners, in the form in which tails are asked for.

use std::ops::Range;

use super::past::{Count, UNSEEN};
use crate::flow::region::ask;

/// Histograms of many owners, as tails: for each bucket that was seen, observations in it or beyond.
#[derive(Clone, Debug, Default)]
pub(super) struct Tails {
    /// Where each owner's columns begin; one more at the end.
    starts: Vec<u32>,
    columns: usize,
    buckets: Vec<u8>,
    beyond: Vec<u64>,
}

impl Tails {
    /// Of counts in the order of owner, column (its place among those of the kind) and bucket, each once.
    pub(super) fn new(
        owners: usize,
        columns: usize,
        counts: impl Iterator<Item = (u32, usize, u8, u64)>,
    ) -> Tails {
        let mut tails = Tails { columns, ..Tails::default() };
        let mut at = 0;
        for (owner, column, bucket, count) in counts {
            let place = owner as usize * columns + column;
            while at <= place {
                tails.starts.push(tails.buckets.len() as u32);
                at += 1;
            }
            tails.buckets.push(bucket);
            tails.beyond.push(count);
        }
        tails.starts.resize(owners * columns + 1, tails.buckets.len() as u32);
        for bounds in tails.starts.windows(2) {
            let beyond = &mut tails.beyond[bounds[0] as usize..bounds[1] as usize];
            let mut sum = 0u64;
            for count in beyond.iter_mut().rev() {
                sum = sum.saturating_add(*count);
                *count = sum;
            }
        }
        tails
    }

    /// Which buckets an owner has in a column.
    #[inline]
    pub(super) fn bounds(&self, owner: u32, column: usize) -> Range<u32> {
        if owner == UNSEEN {
            return 0..0;
        }
        let place = owner as usize * self.columns + column;
        self.starts[place]..self.starts[place + 1]
    }

    /// The last bucket of those.
    #[inline]
    pub(super) fn last(&self, bounds: &Range<u32>) -> Option<u8> {
        (!bounds.is_empty()).then(|| self.buckets[bounds.end as usize - 1])
    }

    /// Asks for them.
    #[inline]
    pub(super) fn ask(&self, bounds: &Range<u32>) {
        ask(&self.buckets, bounds.start as usize);
        ask(&self.beyond, bounds.start as usize);
    }

    /// Observations in buckets that have no more of them than this one, or than one, and all.
    pub(super) fn as_seldom(&self, bounds: Range<u32>, bucket: u8) -> (u64, u64) {
        let (buckets, beyond) = self.within(bounds);
        let count = |at: usize| beyond[at] - beyond.get(at + 1).copied().unwrap_or(0);
        let own = buckets.binary_search(&bucket).map_or(0, count);
        let seldom = (0..beyond.len()).map(count).filter(|count| *count <= own.max(1));
        (seldom.sum(), beyond.first().copied().unwrap_or(0))
    }

    /// An owner's buckets in a column, and for each the observations in it or beyond.
    #[inline]
    pub(super) fn of(&self, owner: u32, column: usize) -> (&[u8], &[u64]) {
        self.within(self.bounds(owner, column))
    }

    /// Buckets of all of them.
    pub(super) fn counts(&self) -> usize {
        self.buckets.len()
    }

    #[inline]
    fn within(&self, bounds: Range<u32>) -> (&[u8], &[u64]) {
        let bounds = bounds.start as usize..bounds.end as usize;
        (&self.buckets[bounds.clone()], &self.beyond[bounds])
    }

    /// Observations in this bucket or beyond, in this bucket or below, and all.
    #[inline]
    pub(super) fn around(&self, bounds: Range<u32>, bucket: u8) -> (u64, u64, u64) {
        let (buckets, beyond) = self.within(bounds);
        let Some(all) = beyond.first().copied() else { return (0, 0, 0) };
        let below = buckets.partition_point(|seen| *seen < bucket);
        let own = usize::from(buckets.get(below) == Some(&bucket));
        let at = |place: usize| beyond.get(place).copied().unwrap_or(0);
        (at(below), all - at(below + own), all)
    }
}

/// The counts of a kind's entities, added up over those of each service: service, place of the column, bucket, in that
/// order. What one service has goes into a table of all buckets, since that takes neither hashing nor sorting.
pub(super) fn shared(
    counts: &[Count],
    service_of: &[u32],
    columns: usize,
    place: impl Fn(&Count) -> usize,
) -> Vec<(u32, usize, u8, u64)> {
    let owners = counts.chunk_by(|one, next| one.entity == next.entity);
    let mut owners: Vec<(u32, &[Count])> =
        owners.map(|counts| (service_of[counts[0].entity as usize], counts)).collect();
    owners.sort_by_key(|(service, _)| *service);
    let mut sums = vec![0u64; columns << 8];
    // A bit for each of them.
    let mut seen = vec![0u64; columns << 2];
    let mut shared = Vec::new();
    for owners in owners.chunk_by(|one, next| one.0 == next.0) {
        for count in owners.iter().flat_map(|(_, counts)| *counts) {
            let at = place(count) << 8 | usize::from(count.bucket);
            sums[at] = sums[at].saturating_add(count.count);
            seen[at >> 6] |= 1 << (at & 63);
        }
        for (word, bits) in seen.iter_mut().enumerate() {
            while *bits != 0 {
                let at = word << 6 | bits.trailing_zeros() as usize;
                *bits &= *bits - 1;
                shared.push((owners[0].0, at >> 8, at as u8, std::mem::take(&mut sums[at])));
            }
        }
    }
    shared
}
