//! The regularity at the start of flows that may go on: later rows of a flow carry it.
//!
//! A flow stays with one worker, and so does the whole share of flows that have the upper 8 bits of their id in
//! common ([`crate::packet::owner`]): what a share has room for does not depend on how many workers there are.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::super::entity::SHARDS;
use super::OLDEST;
use super::columns::MEASURES;

/// Values of one flow, in the order of the measures; not a number for null.
pub(super) type Values = [f32; MEASURES.len()];

/// Values of a flow that says nothing.
pub(super) const NOTHING: Values = [f32::NAN; MEASURES.len()];

struct Flow {
    values: Values,
    /// The window of the last row.
    last: u64,
}

/// The flows of one worker. One that has had no row for [`OLDEST`] windows is forgotten.
pub(super) struct Flows {
    shards: Vec<HashMap<u64, Flow, RandomState>>,
    /// How long a flow may be silent, in nanoseconds.
    silence: u64,
    most: usize,
    /// When all were last looked through.
    pruned: u64,
}

impl Flows {
    /// With room for `most` flows in each share, for windows of `window` nanoseconds.
    pub(super) fn new(window: u64, most: usize) -> Flows {
        let mut shards = Vec::new();
        shards.resize_with(SHARDS, HashMap::default);
        Flows { shards, silence: OLDEST.saturating_mul(window), most, pruned: 0 }
    }

    fn shard(&mut self, flow: u64) -> &mut HashMap<u64, Flow, RandomState> {
        &mut self.shards[(flow >> 56) as usize]
    }

    /// A flow began.
    pub(super) fn begin(&mut self, flow: u64, window: u64, values: Values) {
        if values.iter().any(|value| !value.is_nan()) {
            self.shard(flow).insert(flow, Flow { values, last: window });
        }
    }

    /// A flow goes on: the values at its start.
    pub(super) fn go_on(&mut self, flow: u64, window: u64) -> Values {
        let silence = self.silence;
        match self.shard(flow).get_mut(&flow) {
            Some(known) if window.saturating_sub(known.last) <= silence => {
                known.last = known.last.max(window);
                known.values
            }
            _ => NOTHING,
        }
    }

    /// A window is over: forgets flows that went silent, and of those that may go on the ones that are too
    /// many, last seen longest ago first. Returns how many of the latter.
    pub(super) fn close(&mut self, window: u64) -> u64 {
        let (silence, most) = (self.silence, self.most);
        let speaks = |flow: &Flow| window.saturating_sub(flow.last) <= silence;
        if window.saturating_sub(self.pruned) > silence {
            self.pruned = window;
            self.shards.iter_mut().for_each(|shard| shard.retain(|_, flow| speaks(flow)));
        }
        let mut forgotten = 0;
        for shard in self.shards.iter_mut().filter(|shard| shard.len() > most) {
            shard.retain(|_, flow| speaks(flow));
            let excess = shard.len().saturating_sub(most);
            if excess > 0 {
                let mut all: Vec<(u64, u64)> = shard.iter().map(|(id, flow)| (flow.last, *id)).collect();
                all.select_nth_unstable(excess - 1);
                for (_, id) in &all[..excess] {
                    shard.remove(id);
                }
                forgotten += excess as u64;
            }
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_carries_its_values_until_it_is_silent_for_too_long() {
        let values = [0.5, 1.0, f32::NAN, 2.0];
        let mut flows = Flows::new(10, 5);
        flows.begin(7, 0, values);
        assert_eq!(flows.go_on(7, 600)[0], 0.5);
        assert_eq!(flows.close(600), 0);
        assert_eq!(flows.go_on(7, 1_200)[3], 2.0);
        assert!(flows.go_on(7, 1_810)[0].is_nan() && flows.go_on(8, 600)[0].is_nan());
    }

    #[test]
    fn of_too_many_flows_the_last_seen_stay() {
        let mut flows = Flows::new(10, 2);
        for flow in 0..4 {
            flows.begin(flow, 10 * flow, [flow as f32; 4]);
            flows.begin(1 << 56 | flow, 10 * flow, NOTHING);
        }
        flows.go_on(0, 40);
        assert_eq!(flows.close(40), 2);
        let kept = [0, 1, 2, 3].map(|flow| !flows.go_on(flow, 40)[0].is_nan());
        assert_eq!(kept, [true, false, false, true]);
    }
}
