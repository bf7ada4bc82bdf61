//! Settings that the detector of a pipeline does not look at, and what it cannot do without: who gives one expects
//! something of it.

use super::Spec;
use crate::detect::{DetectError, Kind, Member};

/// Keys of `[detect]` that say how forests are grown.
const OF_FORESTS: [&str; 4] = ["partition_by", "trees", "sample", "min_partition"];

impl Spec {
    /// Checks that nothing is given that makes no difference to the detector, or that takes from it what it judges. Of
    /// `[detect]` only what the file names is looked at: a model carries all keys, and its spec passes.
    ///
    /// # Errors
    /// One line: table, key, why it must be left out.
    pub(super) fn check_effect(&self) -> Result<(), String> {
        let named = |table: &str, key: &str| self.named.get(table).is_some_and(|keys| keys.contains(key));
        let detect = &self.detect;
        let encodes = self.named.get("encode").and_then(|keys| keys.first());
        if detect.keeps_baselines()
            && let Some(key) = encodes
        {
            return Err(format!(
                "[encode] {key}: must be left out for detector = {:?} over surprises, which takes no column as a number",
                detect.detector
            ));
        }
        if detect.keeps_baselines() && !self.flow.first_lengths {
            return Err(format!(
                "[flow] first_lengths: must be left out for detector = {:?} over surprises, which judges how conversations begin",
                detect.detector
            ));
        }
        let grows = detect.kind() == Some(Kind::Forest) || detect.members().contains(&Member::Forest);
        let useless = match OF_FORESTS.into_iter().find(|key| !grows && named("detect", key)) {
            Some(key) => Some((key, "left out where detector and members name no \"forest\"")),
            // A file that scores may repeat a key of the training and not the detector, which says nothing of a forest.
            None if detect.kind() == Some(Kind::Forest)
                && named("detect", "entities")
                && (named("detect", "detector") || encodes.is_some()) =>
            {
                Some(("entities", "left out for a forest over columns, which knows no entities"))
            }
            None => None,
        };
        let Some((key, allowed)) = useless else { return Ok(()) };
        let found = serde_json::to_value(detect).expect("texts and numbers are JSON")[key].to_string();
        Err(DetectError::Spec { key, found, allowed }.to_string())
    }
}
