//! Fixed hashes of a flow key: which worker owns a flow, and the flow's id.
//!
//! All three functions are part of what a row is: a route decides nothing but the worker, a flow id is a column.
//! They depend on the key's values alone, never on the process, the machine or its byte order, and must not
//! change without raising `FEATURE_VERSION`.

use super::FlowKey;

/// The first 64 bits of fractions of well-known roots and constants: dense, odd, unrelated.
const MIX: [u64; 7] = [
    0x9E37_79B9_7F4A_7C15, // golden ratio
    0xBB67_AE85_84CA_A73B, // sqrt 3
    0x3C6E_F372_FE94_F82B, // sqrt 5
    0xA54F_F53A_5F1D_36F1, // sqrt 7
    0x510E_527F_ADE6_82D1, // sqrt 11
    0x9B05_688C_2B3E_6C1F, // sqrt 13
    0x1F83_D9AB_FB41_BD6B, // sqrt 17
];

/// Multiplies to 128 bits and folds the halves, keeping the operands in: a factor that is made to be zero
/// does not erase the other one.
#[inline]
fn fold(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    (product as u64 ^ x) ^ ((product >> 64) as u64 ^ y).rotate_left(23)
}

/// 64 bits over all 40 bytes of the key.
#[inline]
fn hash(key: &FlowKey) -> u64 {
    let word = |half: &[u8; 16]| {
        let value = u128::from_le_bytes(*half);
        (value as u64, (value >> 64) as u64)
    };
    let ((a, a_high), (b, b_high)) = (word(&key.a), word(&key.b));
    let rest = u64::from(key.port_a)
        | u64::from(key.port_b) << 16
        | u64::from(key.protocol) << 32
        | u64::from(key.version) << 40
        | u64::from(key.vlan) << 48;
    let ends = fold(a ^ MIX[0], a_high ^ MIX[1]) ^ fold(b ^ MIX[2], b_high ^ MIX[3]);
    fold(ends ^ rest, MIX[4])
}

impl FlowKey {
    /// The 16 bits by which packets find their worker: a fixed hash of the key, the same in every run,
    /// process and machine. Both directions of a flow have the same.
    ///
    /// It is no defence: crafted keys can share a route. A table must use its own seeded hash.
    #[inline]
    pub fn route(&self) -> u16 {
        (hash(self) >> 48) as u16
    }
}

/// Shares of the key space. A share always goes to one worker as a whole, so what is bounded by share is
/// bounded alike for any number of workers.
pub const SHARDS: usize = 256;

/// The share of a route: shares ascend with the route.
#[inline]
pub fn shard(route: u16) -> usize {
    usize::from(route >> 8)
}

/// The worker that owns a route: worker `i` of `peers` owns a contiguous range of shards, and the ranges
/// ascend with `i`.
///
/// Rows sorted by flow id are therefore sorted by worker first. With more than [`SHARDS`] peers some own nothing.
#[inline]
pub fn owner(route: u16, peers: usize) -> usize {
    shard(route) * peers / SHARDS
}

/// How many shards a worker of `peers` owns.
pub fn owned(worker: usize, peers: usize) -> usize {
    (0..SHARDS).filter(|shard| shard * peers / SHARDS == worker).count()
}

/// Names a flow: the upper 16 bits are its route, the lower 48 a fixed hash of key, `start` (event time of its
/// first packet, nanoseconds) and `ordinal`, which tells apart flows of one key that begin in the same
/// nanosecond (0 for the first of them).
///
/// Among a million flows two share an id with a probability of about 3e-8.
pub fn flow_id(key: &FlowKey, start: u64, ordinal: u32) -> u64 {
    let hash = hash(key);
    let low = fold(fold(hash ^ MIX[5], start ^ MIX[6]) ^ u64::from(ordinal), MIX[0]);
    hash >> 48 << 48 | low >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::NO_VLAN;

    fn v4(src: u32, src_port: u16, dst: u32, dst_port: u16) -> FlowKey {
        let end = |address: u32, port| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.to_be_bytes());
            (bytes, port)
        };
        FlowKey::ordered(end(src, src_port), end(dst, dst_port), 6, 4, NO_VLAN).0
    }

    #[test]
    fn hashes_are_fixed_for_ever() {
        let four = v4(0x0A00_0001, 40_000, 0x0A00_0002, 443);
        let six = FlowKey {
            a: std::array::from_fn(|i| i as u8),
            b: std::array::from_fn(|i| 0xF0 ^ i as u8),
            port_a: 53,
            port_b: 5353,
            protocol: 17,
            version: 6,
            vlan: 7,
        };
        let late = 1_700_000_000_000_000_000;
        assert_eq!(four.route(), 13_103);
        assert_eq!(flow_id(&four, 0, 0), 3_688_325_219_976_922_637);
        assert_eq!(flow_id(&four, late, 1), 3_688_266_546_697_804_383);
        assert_eq!(six.route(), 48_016);
        assert_eq!(flow_id(&six, 0, 0), 13_515_543_095_291_504_678);
        assert_eq!(flow_id(&six, late, 1), 13_515_391_523_148_187_249);
    }

    #[test]
    fn both_directions_share_route_and_id() {
        let (there, back) = (v4(9, 1, 3, 2), v4(3, 2, 9, 1));
        assert_eq!(there.route(), back.route());
        assert_eq!(flow_id(&there, 5, 0), flow_id(&back, 5, 0));
    }

    #[test]
    fn owners_ascend_with_the_route_and_share_evenly() {
        for peers in [1, 2, 3, 7, 64, SHARDS] {
            let owners: Vec<usize> = (0..=u16::MAX).map(|route| owner(route, peers)).collect();
            assert!(owners.is_sorted());
            assert_eq!((owners[0], owners[65_535]), (0, peers - 1));
            let mut counts = vec![0usize; peers];
            owners.iter().for_each(|&i| counts[i] += 1);
            let shards = counts.iter().map(|count| count / (65_536 / SHARDS));
            assert!(shards.eq((0..peers).map(|worker| owned(worker, peers))));
            // Shards stay whole: the shares differ by no more than one of them.
            assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 65_536 / SHARDS);
        }
        assert!((0..=u16::MAX).all(|route| owner(route, 1000) < 1000), "more peers than shards");
    }

    #[test]
    fn a_scan_of_neighbouring_keys_spreads_over_routes_and_ids() {
        let mut counts = vec![0u32; 1 << 8];
        let mut ids = Vec::new();
        for host in 0..1024u32 {
            for port in 0..512u16 {
                let key = v4(0xC0A8_0001, 40_000, 0x0A00_0000 + host, port);
                counts[usize::from(key.route() >> 8)] += 1;
                ids.push(flow_id(&key, 1_000, 0));
            }
        }
        // 2048 expected in each cell, standard deviation 45.
        assert!(counts.iter().all(|&n| (1_780..2_320).contains(&n)), "{counts:?}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1024 * 512);
    }

    #[test]
    fn start_and_ordinal_change_the_id_but_not_its_route() {
        let key = v4(1, 2, 3, 4);
        let mut ids: Vec<u64> = (0..1000).flat_map(|t| (0..10).map(move |n| flow_id(&key, t, n))).collect();
        assert!(ids.iter().all(|id| id >> 48 == u64::from(key.route())));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn a_crafted_zero_factor_keeps_the_other_half_of_the_address() {
        let key = |low: u64| {
            let mut a = [0; 16];
            a[..8].copy_from_slice(&MIX[0].to_le_bytes());
            a[8..].copy_from_slice(&low.to_le_bytes());
            FlowKey { a, b: [0xFF; 16], port_a: 1, port_b: 2, protocol: 6, version: 6, vlan: NO_VLAN }
        };
        let mut ids: Vec<u64> = (0..1000).map(|low| flow_id(&key(low), 0, 0)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1000);
    }
}
