//! A laboratory, taken apart: who is in it, what is benign, what is an attack.

use std::path::Path;

use crate::AnyError;
use crate::capture::{Frame, Label, Network, read_frames, read_labels};
use crate::hosts::Site;
use crate::transplant::{addresses, transplant};
use crate::truth::Attack;

pub(crate) const SECOND: u64 = 1_000_000_000;
/// What is learned from and what is scored are twenty minutes each, the one after the other.
pub(crate) const HALF: u64 = 1200 * SECOND;

/// The two.
pub(crate) type Labs = [Lab; 2];

pub(crate) struct Lab {
    pub(crate) network: Network,
    /// As training shows it.
    pub(crate) site: Site,
    /// What is scored, without the attacks and the attacks alone.
    pub(crate) benign: Vec<Frame>,
    pub(crate) attacks: Vec<Attack>,
}

impl Lab {
    /// Reads `NAME-train.pcap.zst`, `NAME-dev.pcap.zst` and `NAME-dev.labels.csv`.
    pub(crate) fn read(folder: &Path, name: &str) -> Result<Lab, AnyError> {
        let path = |end: &str| folder.join(format!("{name}-{end}"));
        let network = Network {
            train: read_frames(&path("train.pcap.zst"))?,
            dev: read_frames(&path("dev.pcap.zst"))?,
            labels: read_labels(&path("dev.labels.csv"))?,
        };
        let site = Site::of(&network.train);
        let (benign, attacks) = network.apart();
        Ok(Lab { network, site, benign, attacks })
    }

    /// Attacks of another laboratory as if they had happened here, at the minute that they have there, and their labels.
    pub(crate) fn foreign(&self, other: &Lab) -> (Vec<Attack>, Vec<Label>) {
        let mut taken = addresses(&self.network.train);
        taken.extend(addresses(&self.network.dev));
        let (mut attacks, mut labels) =
            transplant(&other.attacks, &other.network.labels, &other.site, &self.site, taken);
        let later = begin(&self.network.dev).wrapping_sub(begin(&other.network.dev)) as i64;
        attacks.iter_mut().for_each(|(frame, _)| frame.shift(later));
        labels.iter_mut().for_each(|label| label.shift(later));
        (attacks, labels)
    }
}

pub(crate) fn frames(attacks: &[Attack]) -> Vec<Frame> {
    attacks.iter().map(|(frame, _)| frame.clone()).collect()
}

/// The second in which frames begin.
pub(crate) fn begin(frames: &[Frame]) -> u64 {
    frames.first().map_or(0, |frame| frame.time / SECOND * SECOND)
}

/// Frames of both, in the order of their times.
pub(crate) fn merged(some: Vec<Frame>, others: Vec<Frame>) -> Vec<Frame> {
    let mut all = some;
    all.extend(others);
    all.sort_by_key(|frame| frame.time);
    all
}

pub(crate) fn shifted(mut frames: Vec<Frame>, by: i64) -> Vec<Frame> {
    frames.iter_mut().for_each(|frame| frame.shift(by));
    frames
}

impl Frame {
    fn shift(&mut self, by: i64) {
        self.time = self.time.wrapping_add_signed(by);
    }
}

impl Label {
    fn shift(&mut self, by: i64) {
        (self.start, self.end) = (self.start.wrapping_add_signed(by), self.end.wrapping_add_signed(by));
    }
}

impl Network {
    /// What is scored, and what is known of it, at another time.
    pub(crate) fn moved(mut self, by: i64) -> Network {
        self.dev = shifted(self.dev, by);
        self.labels.iter_mut().for_each(|label| label.shift(by));
        self
    }
}
