//! How regularly flows of one kind start: exact sums of integer gaps, rounded once.

use bytemuck::{Pod, Zeroable};

/// Starts that are remembered: the ends of 16 gaps.
pub(super) const REMEMBERED: usize = 17;

/// Gaps of at most this mean are no rhythm, in nanoseconds.
const SHORTEST: u128 = 1_000_000;

/// The start of a flow: event time in nanoseconds, and the flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Start {
    pub(super) time: u64,
    pub(super) flow: u64,
}

/// What the gaps before a start say; not a number where they are too few or too short.
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Regularity {
    /// Of the last 8 gaps, population deviation by mean.
    pub(super) cv8: f32,
    /// Mean in seconds.
    pub(super) gap8: f32,
    /// Of the last 16 gaps, population deviation by mean.
    pub(super) cv16: f32,
}

impl Regularity {
    pub(super) const NONE: Regularity = Regularity { cv8: f32::NAN, gap8: f32::NAN, cv16: f32::NAN };

    /// At the last of ascending times, by the gaps between them.
    fn at(times: &[u64]) -> Regularity {
        let none = (f32::NAN, f32::NAN);
        let (cv8, gap8) = measure(times, 8, 4).unwrap_or(none);
        let (cv16, _) = measure(times, 16, 8).unwrap_or(none);
        Regularity { cv8, gap8, cv16 }
    }
}

/// Deviation by mean, and mean in seconds, of up to `last` gaps; `None` for fewer than `least`, for a mean of a
/// millisecond or less, and where gaps of more than a century exceed 128 bits.
fn measure(times: &[u64], last: usize, least: usize) -> Option<(f32, f32)> {
    let times = &times[times.len().saturating_sub(last + 1)..];
    let count = times.len().saturating_sub(1);
    let square = |gap: u64| u128::from(gap) * u128::from(gap);
    let sum = times.last()?.saturating_sub(*times.first()?);
    if count < least || u128::from(sum) <= SHORTEST * count as u128 {
        return None;
    }
    // Deviation by mean = sqrt(n sum(g^2) - sum(g)^2) / sum(g). Squares of gaps are no more than that of their sum, 128 bits.
    let squares: u128 = times.windows(2).map(|pair| square(pair[1].saturating_sub(pair[0]))).sum();
    let spread = squares.checked_mul(count as u128)?.checked_sub(square(sum))?;
    let (spread, sum) = (spread as f64, sum as f64);
    Some(((spread.sqrt() / sum) as f32, (sum / count as f64 / 1e9) as f32))
}

/// The last starts of an identity's flows, ascending; what is needed of starts in windows to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Starts(Vec<u64>);

impl Starts {
    /// Of ascending times.
    pub(super) fn new(times: Vec<u64>) -> Starts {
        Starts(times)
    }

    pub(super) fn times(&self) -> &[u64] {
        &self.0
    }

    /// Adds the starts of the window that begins at `window`, ascending; the regularity at each of them.
    ///
    /// Of what is remembered only what lies before counts: rows of earlier windows than those of a memory are
    /// about a time that it knows the future of.
    pub(super) fn add(&mut self, window: u64, starts: &[Start]) -> Vec<Regularity> {
        let Some(first) = starts.first() else { return Vec::new() };
        self.0.retain(|time| *time < window && *time <= first.time);
        let mut times = std::mem::take(&mut self.0);
        let known = times.len();
        times.extend(starts.iter().map(|start| start.time));
        let regularities = (known..times.len()).map(|at| Regularity::at(&times[..=at])).collect();
        self.0 = times[times.len().saturating_sub(REMEMBERED)..].to_vec();
        regularities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn starts(times: &[u64]) -> Vec<Start> {
        times.iter().map(|time| Start { time: *time, flow: 0 }).collect()
    }

    #[test]
    fn a_clock_has_no_deviation_from_its_fifth_start_on() {
        let times: Vec<u64> = (0..30).map(|n| 7 * SECOND * n).collect();
        let found = Starts::default().add(u64::MAX, &starts(&times));
        assert!(found[3].cv8.is_nan() && found[7].cv16.is_nan());
        assert!(found[4..].iter().all(|at| (at.cv8, at.gap8) == (0.0, 7.0)));
        assert!(found[8..].iter().all(|at| at.cv16 == 0.0));
    }

    #[test]
    fn gaps_of_one_and_three_deviate_by_half() {
        let gaps = [1, 3].repeat(12);
        let times = gaps.iter().scan(0, |time, gap| {
            *time += gap * SECOND;
            Some(*time)
        });
        let found = Starts::default().add(u64::MAX, &starts(&times.collect::<Vec<_>>()));
        assert_eq!((found[23].cv8, found[23].gap8, found[23].cv16), (0.5, 2.0, 0.5));
    }

    #[test]
    fn bursts_and_centuries_have_no_rhythm() {
        let burst: Vec<u64> = (0..20).map(|n| n * 1_000_000).collect();
        assert!(Starts::default().add(u64::MAX, &starts(&burst))[19].gap8.is_nan());
        let slower: Vec<u64> = (0..20).map(|n| n * 1_000_001).collect();
        assert_eq!(Starts::default().add(u64::MAX, &starts(&slower))[19].cv8, 0.0);
        let far = [0, 0, 0, 0, 0, u64::MAX / 2, u64::MAX];
        let found = Starts::default().add(u64::MAX, &starts(&far));
        assert!(found[6].cv8.is_nan());
    }

    #[test]
    fn windows_do_not_show_and_few_starts_are_kept() {
        let times: Vec<u64> = (0..60).map(|n| n * n * SECOND / 3).collect();
        let whole = Starts::default().add(u64::MAX, &starts(&times));
        let mut kept = Starts::default();
        let mut found = Vec::new();
        for part in times.chunks(7) {
            found.extend(kept.add(part[0], &starts(part)));
            assert!(kept.times().len() <= REMEMBERED);
        }
        assert_eq!(bytemuck::cast_slice::<_, u8>(&found), bytemuck::cast_slice::<_, u8>(&whole));
    }

    #[test]
    fn what_a_memory_holds_of_later_windows_is_passed_over() {
        let mut kept = Starts::new(vec![10, 20, 900]);
        kept.add(100, &starts(&[110]));
        assert_eq!(kept.times(), [10, 20, 110]);
    }
}
