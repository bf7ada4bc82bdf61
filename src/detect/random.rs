//! Random numbers that are the same everywhere: SplitMix64, and hashes made of its mixing step.
//!
//! Every choice descends from the run's seed and a name (a row's identity, a partition and a tree's
//! number), never from the order in which things arrive. The step and its constants are those of Steele,
//! Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. They are part of what a
//! seed means: changing them changes every model.

use super::sample::Identity;

/// The odd number next to 2^64 divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A bijection of 64-bit numbers whose output bits depend on all input bits.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Takes one more word into a hash.
fn absorb(hash: u64, word: u64) -> u64 {
    mix((hash ^ word).wrapping_add(STEP))
}

/// The hash by which rows are sampled, for one seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowHash(u64);

impl RowHash {
    pub(super) fn new(seed: u64) -> RowHash {
        RowHash(absorb(0, seed))
    }

    pub(super) fn of(self, identity: Identity) -> u64 {
        absorb(absorb(self.0, identity.0), identity.1)
    }
}

/// The seed of a tree: of the run's seed, the partition's name (`None`: the fallback) and the tree's number.
pub(super) fn tree_seed(seed: u64, partition: Option<&str>, tree: u64) -> u64 {
    let mut hash = absorb(1, seed);
    // The length, counted from 1, keeps the fallback apart from every name, and names apart that differ in
    // trailing zero bytes.
    hash = absorb(hash, partition.map_or(0, |name| name.len() as u64 + 1));
    for chunk in partition.unwrap_or_default().as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = absorb(hash, u64::from_le_bytes(word));
    }
    absorb(hash, tree)
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Uniform in `0..n`, up to a bias of n / 2^64.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-53.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_the_published_one() {
        // First outputs of the reference implementation for seed 1234567.
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn every_tree_of_every_partition_has_its_own_seed() {
        let mut seeds = Vec::new();
        for seed in 0..4 {
            for name in [None, Some(""), Some("tcp"), Some("tcp\0"), Some("a longer name"), Some("udp")] {
                seeds.extend((0..50).map(|tree| tree_seed(seed, name, tree)));
            }
        }
        let all = seeds.len();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), all);
    }
}
