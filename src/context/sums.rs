//! Sums of an entity over sliding horizons: a few bytes for each window that it has a row in.

use smallvec::SmallVec;

use super::HORIZONS;

/// The sums of one entity in the windows of its longest horizon.
///
/// For each window with a row, oldest first, its lowest eight bits and the sums of it and of all windows
/// before: a horizon's sum is the difference of two. In front of them is how many bytes a sum takes: most
/// entities have few windows and small sums, and need no memory beside this. The last window before the longest
/// horizon stays: what was summed up to there is subtracted. Windows are told apart by their age: none is kept
/// for longer than thrice 30 windows.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums(SmallVec<[u8; 24]>);

/// Sums at the end of a window.
pub(super) struct Within<'a> {
    windows: &'a [u8],
    width: usize,
    stride: usize,
    /// For each of the [`HORIZONS`] where its first window begins.
    starts: [usize; 3],
}

impl Sums {
    /// Adds sums of `window` and forgets what no horizon of up to `horizon` windows needs. Windows do not go
    /// back, and no more than `horizon` of them lie between two additions. The number of sums is always the
    /// same.
    pub(super) fn add(&mut self, window: u64, sums: &[u64], horizon: u64) {
        if self.0.is_empty() {
            let width = width(sums.iter().copied().max().unwrap_or(0));
            self.0.extend([width as u8, window as u8]);
            sums.iter().for_each(|sum| self.0.extend_from_slice(&sum.to_le_bytes()[..width]));
            return;
        }
        let stride = 1 + sums.len() * usize::from(self.0[0]);
        if self.0[self.0.len() - stride] != window as u8 {
            while self.0.len() > 1 + stride && age(window, self.0[1 + stride]) >= horizon {
                self.0.drain(1..=stride);
            }
            let newest = self.0.len();
            self.0.resize(newest + stride, window as u8);
            self.0.copy_within(newest - stride + 1..newest, newest + 1);
        }
        if !self.raise(sums) {
            self.widen(window, sums, horizon);
            self.raise(sums);
        }
    }

    /// Adds to the newest window; not at all if its sums are too narrow for that.
    fn raise(&mut self, sums: &[u64]) -> bool {
        let width = usize::from(self.0[0]);
        let from = self.0.len() - sums.len() * width;
        let newest = &mut self.0[from..];
        if width < 8 {
            let fits = |(own, sum): (&[u8], &u64)| {
                number(own).checked_add(*sum).is_some_and(|sum| sum >> (8 * width) == 0)
            };
            if !newest.chunks_exact(width).zip(sums).all(fits) {
                return false;
            }
        }
        for (own, sum) in newest.chunks_exact_mut(width).zip(sums) {
            let raised = number(own).wrapping_add(*sum);
            own.copy_from_slice(&raised.to_le_bytes()[..width]);
        }
        true
    }

    /// Writes all windows anew, so wide that `more` can be added to the newest. What was summed up to a window before
    /// the horizon becomes nothing.
    fn widen(&mut self, window: u64, more: &[u64], horizon: u64) {
        let old = usize::from(self.0[0]);
        let stride = 1 + more.len() * old;
        let base = match age(window, self.0[1]) >= horizon {
            true => self.0[2..1 + stride].to_vec(),
            false => vec![0; stride - 1],
        };
        let sums = |at: &[u8]| -> Vec<u64> {
            let sums = at[1..].chunks_exact(old).zip(base.chunks_exact(old));
            sums.map(|(sum, base)| number(sum).wrapping_sub(number(base))).collect()
        };
        let windows: Vec<(u8, Vec<u64>)> =
            self.0[1..].chunks_exact(stride).map(|at| (at[0], sums(at))).collect();
        let largest = windows.iter().flat_map(|(_, sums)| sums).copied().max().unwrap_or(0);
        let more = more.iter().copied().max().unwrap_or(0);
        let width = width(largest.saturating_add(more));
        self.0.clear();
        self.0.push(width as u8);
        for (window, sums) in windows {
            self.0.push(window);
            sums.iter().for_each(|sum| self.0.extend_from_slice(&sum.to_le_bytes()[..width]));
        }
    }

    /// `count` sums at the end of `window`, the newest.
    pub(super) fn within(&self, window: u64, count: usize) -> Within<'_> {
        let (width, windows) = self.0.split_first().map_or((1, &[][..]), |(width, rest)| (*width, rest));
        let width = usize::from(width);
        let stride = 1 + count * width;
        let mut starts = [0; 3];
        let mut start = windows.len();
        for (found, horizon) in starts.iter_mut().zip(HORIZONS) {
            while start >= stride && age(window, windows[start - stride]) < horizon {
                start -= stride;
            }
            *found = start;
        }
        Within { windows, width, stride, starts }
    }

    /// Whether nothing was added yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads what an addition begins with.
    pub(super) fn peek(&self) -> u8 {
        self.0.last().copied().unwrap_or(0)
    }
}

impl Within<'_> {
    /// A sum over a horizon, by their positions.
    pub(super) fn sum(&self, sum: usize, horizon: usize) -> u64 {
        let until = |end: usize| match end {
            0 => 0,
            end => {
                let from = end - self.stride + 1 + sum * self.width;
                number(&self.windows[from..from + self.width])
            }
        };
        until(self.windows.len()).wrapping_sub(until(self.starts[horizon]))
    }

    /// The windows with a row in a horizon.
    pub(super) fn active(&self, horizon: usize) -> u64 {
        ((self.windows.len() - self.starts[horizon]) / self.stride) as u64
    }
}

/// How old a window is of which the lowest bits are known.
fn age(window: u64, low: u8) -> u64 {
    u64::from((window as u8).wrapping_sub(low))
}

/// Bytes that a number takes: one, two, four or eight.
fn width(number: u64) -> usize {
    match number {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFFFF_FFFF => 4,
        _ => 8,
    }
}

/// Of bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is added: windows since the last addition, and sums of every size.
    fn additions() -> impl Strategy<Value = Vec<(u64, [u64; 2])>> {
        let sum = || prop_oneof![6 => 0..4u64, 3 => 0..300u64, 2 => 0..70_000u64, 1 => any::<u64>(), 1 => Just(u64::MAX)];
        let gap = prop_oneof![3 => Just(0u64), 5 => Just(1), 2 => 2..9u64, 1 => 9..30u64];
        prop::collection::vec((gap, [sum(), sum()]), 1..120)
    }

    proptest! {
        #[test]
        fn sums_are_those_of_all_additions_of_the_horizon(additions in additions(), first in 0..1_000_000u64) {
            let (mut sums, mut window) = (Sums::default(), first);
            let mut all: Vec<(u64, [u64; 2])> = Vec::new();
            for (gap, own) in additions {
                window += gap;
                sums.add(window, &own, 30);
                all.push((window, own));
                let within = sums.within(window, 2);
                for (at, horizon) in HORIZONS.into_iter().enumerate() {
                    let there = all.iter().filter(|(other, _)| window - other < horizon);
                    let expected = there.clone().fold([0u64; 2], |[a, b], (_, own)| {
                        [a.wrapping_add(own[0]), b.wrapping_add(own[1])]
                    });
                    prop_assert_eq!([within.sum(0, at), within.sum(1, at)], expected);
                    let mut windows: Vec<u64> = there.map(|(window, _)| *window).collect();
                    windows.dedup();
                    prop_assert_eq!(within.active(at), windows.len() as u64);
                }
            }
        }
    }

    #[test]
    fn windows_without_sums_are_counted() {
        let mut sums = Sums::default();
        (0..80).for_each(|window| sums.add(window, &[], 30));
        assert_eq!([0, 1, 2].map(|horizon| sums.within(79, 0).active(horizon)), [1, 6, 30]);
        assert_eq!(sums.0.len(), 1 + 31);
    }

    #[test]
    fn small_sums_of_few_windows_need_no_memory_of_their_own_and_long_ones_stay_narrow() {
        assert_eq!(size_of::<Sums>(), 32);
        let mut sums = Sums::default();
        (0..7).for_each(|window| sums.add(window, &[1, 1], 30));
        assert!(!sums.0.spilled());
        // A hundred a window for ever: never more than 3,000 in a horizon.
        (7..5_000).for_each(|window| sums.add(window, &[100, 0], 30));
        assert_eq!((sums.0[0], sums.0.len()), (2, 1 + 31 * 5));
    }
}
