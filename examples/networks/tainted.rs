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
    /// So many conversations, of all events as many where they have them.
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
        Which::Flows(count) => of_all(&attacks, &labels, count),
    };
    let Network { train, dev, labels } = own.network.clone();
    Network { train: merged(train, shifted(chosen, -(HALF as i64))), dev, labels }
}

fn of_families(attacks: &[Attack], labels: &[Label], names: &[&str]) -> Vec<Frame> {
    let chosen = attacks.iter().filter(|(_, label)| names.contains(&labels[*label].attack.as_str()));
    chosen.map(|(frame, _)| frame.clone()).collect()
}

/// Conversations by lot, one of each event in turn.
fn of_all(attacks: &[Attack], labels: &[Label], count: usize) -> Vec<Frame> {
    let conversation = |frame: &Frame| {
        Headers::read(&frame.bytes)
            .filter(|headers| headers.layer != Layer::Arp)
            .map(|headers| headers.conversation())
    };
    let mut events: BTreeMap<&str, BTreeMap<u64, Conversation>> = BTreeMap::new();
    let mut lots: BTreeMap<Conversation, u64> = BTreeMap::new();
    for (frame, label) in attacks {
        let Some(conversation) = conversation(frame) else { continue };
        let known = lots.len() as u64;
        let lot = *lots.entry(conversation).or_insert_with(|| mix(known));
        events.entry(&labels[*label].event).or_default().insert(lot, conversation);
    }
    let mut turns: Vec<(usize, u64, Conversation)> = events
        .values()
        .flat_map(|of| of.iter().enumerate().map(|(turn, (lot, conversation))| (turn, *lot, *conversation)))
        .collect();
    turns.sort_unstable();
    let chosen: std::collections::BTreeSet<Conversation> =
        turns.iter().take(count).map(|(.., conversation)| *conversation).collect();
    let is_chosen = |frame: &Frame| conversation(frame).is_some_and(|one| chosen.contains(&one));
    attacks.iter().map(|(frame, _)| frame).filter(|frame| is_chosen(frame)).cloned().collect()
}
