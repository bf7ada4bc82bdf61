//! Laboratories whose training holds attacks.

use std::collections::BTreeMap;

use crate::capture::{Frame, Label, Network};
use crate::headers::{Conversation, Headers, Layer};
use crate::hosts::mix;
use crate::lab::{HALF, Labs, merged, shifted};
use crate::truth::Attack;

/// Whose attacks.
#[derive(Clone, Copy)]
pub(crate) enum Whose {
    /// The other laboratory's, between hosts of the same roles.
    Others,
    /// Those that are scored, between the same hosts.
    Same,
}

/// Which attacks.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    Families(&'static [&'static str]),
    /// So many conversations of all.
    Flows(usize),
}

pub(crate) const LOUD: Which = Which::Families(&["syn_scan", "host_sweep", "ssh_bruteforce"]);
pub(crate) const QUIET: Which = Which::Families(&["c2_beacon", "slow_scan", "slow_exfil", "reverse_shell"]);
pub(crate) const SEVEN: Which = Which::Families(&[
    "syn_scan",
    "host_sweep",
    "ssh_bruteforce",
    "c2_beacon",
    "slow_scan",
    "slow_exfil",
    "reverse_shell",
]);
pub(crate) const SIX: Which =
    Which::Families(&["syn_scan", "host_sweep", "ssh_bruteforce", "c2_beacon", "dns_tunnel", "worm_fanout"]);
pub(crate) const FLOWS: Which = Which::Flows(160);

/// A laboratory with attacks in its training, at the minute that they have where they are scored.
pub(crate) fn tainted(labs: &Labs, lab: usize, whose: Whose, which: Which) -> Network {
    let own = &labs[lab];
    let (attacks, labels) = match whose {
        Whose::Same => (own.attacks.clone(), own.network.labels.clone()),
        Whose::Others => own.foreign(&labs[1 - lab]),
    };
    let chosen = match which {
        Which::Families(names) => of_families(&attacks, &labels, names),
        Which::Flows(count) => some(&attacks, count),
    };
    let Network { train, dev, labels } = own.network.clone();
    Network { train: merged(train, shifted(chosen, -(HALF as i64))), dev, labels }
}

fn of_families(attacks: &[Attack], labels: &[Label], names: &[&str]) -> Vec<Frame> {
    let chosen = attacks.iter().filter(|(_, label)| names.contains(&labels[*label].attack.as_str()));
    chosen.map(|(frame, _)| frame.clone()).collect()
}

/// Conversations by lot, with all their packets.
fn some(attacks: &[Attack], count: usize) -> Vec<Frame> {
    let conversation = |frame: &Frame| {
        Headers::read(&frame.bytes)
            .filter(|headers| headers.layer != Layer::Arp)
            .map(|headers| headers.conversation())
    };
    let mut lots: BTreeMap<Conversation, u64> = BTreeMap::new();
    for conversation in attacks.iter().filter_map(|(frame, _)| conversation(frame)) {
        let known = lots.len() as u64;
        lots.entry(conversation).or_insert_with(|| mix(known));
    }
    let mut order: Vec<u64> = lots.values().copied().collect();
    order.sort_unstable();
    let highest = order.get(count).copied().unwrap_or(u64::MAX);
    let is_chosen = |frame: &Frame| conversation(frame).is_some_and(|one| lots[&one] < highest);
    attacks.iter().map(|(frame, _)| frame).filter(|frame| is_chosen(frame)).cloned().collect()
}
