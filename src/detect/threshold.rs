//! Where alarms begin, as people say it: by a model's own setting, or by another one for a run.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::{DetectError, DetectSettings, DetectSpec};

/// Rows above a threshold are the exception: this share of all at most.
const MOST: f64 = 0.5;
/// Shares of rows that may lie above a threshold, in words.
pub const SHARES: &str = "above 0 and up to 0.5";
/// The percentiles that say the same, in words: who means a share by it would alarm on nearly every row.
pub const PERCENTILES: &str = "50 to 100; 99.9 leaves one in a thousand";

/// Where alarms begin. All three say which share of rows may lie above the threshold; they differ in whose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// This share of rows like the calibration rows: p-values up to it are alarms.
    FalseAlarmRate(f64),
    /// This share of the training rows, as a forest scores them that was grown from them; of rows like the
    /// calibration rows for detectors whose scores are tails.
    Contamination(f64),
    /// The same as a percentile of their scores.
    Percentile(f64),
}

impl Threshold {
    /// Share of rows that may lie above it.
    pub fn share_above(self) -> f64 {
        match self {
            Threshold::FalseAlarmRate(share) | Threshold::Contamination(share) => share,
            Threshold::Percentile(percentile) => 1.0 - percentile / 100.0,
        }
    }

    /// Share of rows that lie at or below it.
    pub fn share_below(self) -> f64 {
        match self {
            Threshold::FalseAlarmRate(share) | Threshold::Contamination(share) => 1.0 - share,
            Threshold::Percentile(percentile) => percentile / 100.0,
        }
    }
}

impl fmt::Display for Threshold {
    /// As a pipeline file has it; of what is small the exponent, not the zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Threshold::FalseAlarmRate(share) => write!(f, "false_alarm_rate = {share:?}"),
            Threshold::Contamination(share) => write!(f, "contamination = {share:?}"),
            Threshold::Percentile(percentile) => write!(f, "percentile = {percentile}"),
        }
    }
}

/// Keys of `[detect]` that say where alarms begin; all others say how a detector is made.
const KEYS: [&str; 3] = ["contamination", "percentile", "false_alarm_rate"];

/// Whether a share of rows may lie above a threshold.
pub(super) fn may_lie_above(share: f64) -> bool {
    share > 0.0 && share <= MOST
}

impl DetectSpec {
    /// Checks every key, and that nobody asks for what alarms on most rows. A model that was trained so before can be read,
    /// and scores with another threshold.
    ///
    /// # Errors
    /// As [`DetectSpec::check`].
    pub fn check_asked(&self) -> Result<DetectSettings, DetectError> {
        let settings = self.check()?;
        match self.percentile {
            Some(percentile) if percentile < 100.0 * (1.0 - MOST) => {
                let found = percentile.to_string();
                Err(DetectError::Spec { key: "percentile", found, allowed: PERCENTILES })
            }
            _ => Ok(settings),
        }
    }

    /// Where alarms begin, if the spec says it; one of the keys at most passes [`DetectSpec::check`].
    pub fn threshold(&self) -> Option<Threshold> {
        let rate = self.false_alarm_rate.map(Threshold::FalseAlarmRate);
        let percentile = self.percentile.map(Threshold::Percentile);
        rate.or(percentile).or(self.contamination.map(Threshold::Contamination))
    }

    /// The same with another threshold.
    #[must_use]
    pub fn with_threshold(self, threshold: Threshold) -> DetectSpec {
        let mut spec = DetectSpec { false_alarm_rate: None, contamination: None, percentile: None, ..self };
        match threshold {
            Threshold::FalseAlarmRate(share) => spec.false_alarm_rate = Some(share),
            Threshold::Contamination(share) => spec.contamination = Some(share),
            Threshold::Percentile(percentile) => spec.percentile = Some(percentile),
        }
        spec
    }

    /// What `[detect]` of a pipeline that scores changes about a model that was trained with `trained`: the
    /// threshold and nothing else. What the file of the training says may stand there too. `named` are the keys that
    /// the pipeline's file names: what it does not name it does not ask for.
    ///
    /// # Errors
    /// [`DetectError::Spec`] for a value that cannot be, [`DetectError::Trained`] for the first other key that is
    /// named, or not the default, and not what the model was trained with.
    pub fn over(
        &self,
        trained: &DetectSpec,
        named: &BTreeSet<String>,
    ) -> Result<Option<Threshold>, DetectError> {
        self.check_asked()?;
        let keys = |spec: &DetectSpec| -> Map<String, Value> {
            let keys = serde_json::to_value(spec).expect("texts and numbers are JSON");
            keys.as_object().cloned().unwrap_or_default()
        };
        let (ours, theirs, default) = (keys(self), keys(trained), keys(&DetectSpec::default()));
        let made = ours.iter().filter(|(key, _)| !KEYS.contains(&key.as_str()));
        for (key, value) in made {
            let asked = named.contains(key) || default.get(key) != Some(value);
            if !asked || theirs.get(key) == Some(value) {
                continue;
            }
            let was = theirs.get(key).map_or_else(|| "left out".to_owned(), Value::to_string);
            let advice = match self.keeps_baselines() && !trained.keeps_baselines() {
                true => {
                    "that model has no baselines; `netweir train` with pipelines/train.toml makes one that has"
                }
                false => {
                    "a run with a model may change its threshold alone; train anew, or leave the key out"
                }
            };
            return Err(DetectError::Trained { key: key.clone(), found: value.to_string(), was, advice });
        }
        Ok(self.threshold())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> DetectSpec {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn shares_and_percentiles_have_the_bounds_that_words_say() {
        let allowed = |text: &str| spec(text).check_asked().map(|_| ()).map_err(|error| error.to_string());
        for (key, fine, wrong, words) in [
            ("percentile", ["50", "100"], ["49.9", "100.1"], PERCENTILES),
            ("percentile", ["99.9", "50.0"], ["0.99", "1"], PERCENTILES),
            ("contamination", ["0.5", "1e-9"], ["0.51", "0"], SHARES),
            ("false_alarm_rate", ["0.5", "1e-9"], ["0.51", "0"], SHARES),
        ] {
            for value in fine {
                assert_eq!(allowed(&format!("{key} = {value}")), Ok(()), "{key} = {value}");
            }
            for value in wrong {
                let error = allowed(&format!("{key} = {value}")).unwrap_err();
                assert_eq!(error, format!("[detect] {key} = {value}: must be {words}"));
            }
        }
        assert!(PERCENTILES.starts_with(&format!("{} to 100;", 100.0 * (1.0 - MOST))));
        assert!(SHARES.ends_with(&format!("up to {MOST}")));
        assert!(spec("percentile = 20").check().is_ok(), "a model that was trained so is read");
    }

    #[test]
    fn a_run_changes_the_threshold_and_nothing_else() {
        let trained = spec("detector = \"forest\"\ntrees = 300\ncontamination = 0.001");
        assert_eq!(spec("").over(&trained, &BTreeSet::new()).unwrap(), None);
        let asked = spec("false_alarm_rate = 0.01").over(&trained, &BTreeSet::new()).unwrap();
        assert_eq!(asked, Some(Threshold::FalseAlarmRate(0.01)));
        let same = spec("trees = 300\npercentile = 99.5").over(&trained, &BTreeSet::new()).unwrap();
        assert_eq!(same, Some(Threshold::Percentile(99.5)));
        let error = |text: &str| {
            let error = spec(text).over(&trained, &BTreeSet::new()).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
            error
        };
        assert_eq!(
            error("trees = 200"),
            "[detect] trees = 200: the model was trained with 300; a run with a model may change its threshold \
             alone; train anew, or leave the key out"
        );
        assert!(
            error("entities = 5").starts_with("[detect] entities = 5: the model was trained with left out; ")
        );
        assert_eq!(
            error("detector = \"themes\""),
            "[detect] detector = \"themes\": the model was trained with \"forest\"; that model has no baselines; \
             `netweir train` with pipelines/train.toml makes one that has"
        );
        // A default is asked for where it is named.
        let baselines = spec("detector = \"themes\"");
        let forest = spec("detector = \"forest\"");
        assert_eq!(forest.over(&baselines, &BTreeSet::new()).unwrap(), None);
        let named = BTreeSet::from(["detector".to_owned()]);
        let said = forest.over(&baselines, &named).unwrap_err().to_string();
        assert!(
            said.starts_with("[detect] detector = \"forest\": the model was trained with \"themes\"; a run"),
            "{said}"
        );
        assert_eq!(forest.over(&forest, &named).unwrap(), None);
        assert!(error("false_alarm_rate = 2.0").starts_with("[detect] false_alarm_rate = 2: must be "));
        assert!(error("false_alarm_rate = 0.1\ncontamination = 0.1").contains("left out when"));
    }

    #[test]
    fn another_threshold_takes_the_place_of_the_one_before() {
        for threshold in
            [Threshold::FalseAlarmRate(0.1), Threshold::Contamination(0.2), Threshold::Percentile(70.0)]
        {
            let with = spec("contamination = 0.5").with_threshold(threshold);
            assert_eq!(with.threshold(), Some(threshold));
            assert!(with.check().is_ok());
            assert!((threshold.share_above() + threshold.share_below() - 1.0).abs() < 1e-15);
        }
    }
}
