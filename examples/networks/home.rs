//! A week of a home that others published, with attacks of a laboratory.

use std::collections::BTreeSet;
use std::path::Path;

use crate::AnyError;
use crate::capture::{Frame, Network, read_frames};
use crate::hosts::Site;
use crate::lab::{Labs, SECOND, frames, merged};
use crate::transplant::{addresses, transplant};

/// When the attacks begin, after the half that is learned from ends.
const AFTER: u64 = 86_400 * SECOND;

pub(crate) fn read(public: &Path) -> Result<Vec<Frame>, AnyError> {
    read_frames(&public.join("attacks/home_iot_week_a.pcap.zst"))
}

/// Learned from its first half; the attacks lie in the second.
pub(crate) fn attacked(labs: &Labs, home: &[Frame], lab: usize) -> Network {
    let (first, last) = (home[0].time, home[home.len() - 1].time);
    let middle = first + (last - first) / 2;
    let (train, dev) = home.split_at(home.partition_point(|frame| frame.time < middle));
    let (other, site) = (&labs[lab], Site::of(train));
    let taken: BTreeSet<_> = addresses(home);
    let (attacks, labels) = transplant(&other.attacks, &other.network.labels, &other.site, &site, taken);
    let begin = other.network.dev[0].time / SECOND * SECOND;
    let attacks = Network { train: Vec::new(), dev: frames(&attacks), labels };
    let attacks = attacks.moved((middle + AFTER).wrapping_sub(begin) as i64);
    Network { train: train.to_vec(), dev: merged(dev.to_vec(), attacks.dev), labels: attacks.labels }
}
