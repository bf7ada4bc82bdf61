//! `[detect]` of a pipeline file: what it says and what it means.

use serde::{Deserialize, Serialize};

use super::threshold::{PERCENTILES, SHARES, may_lie_above};
use super::{DetectError, Kind, PartitionBy, Threshold};

/// What the pipeline file says about detection (`[detect]`), as written; [`DetectSpec::check`] makes
/// [`DetectSettings`] of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectSpec {
    /// Which detector: `forest`, `themes`, `sum` or `ensemble`.
    pub detector: String,
    /// What `forest` and `sum` are given of a row: `columns` (as `[encode]` makes numbers of them; of `forest` alone,
    /// its default), `surprise` (of each of the columns that `themes` judges; default of the others) or `groups` (the
    /// tails of groups of them).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// For `ensemble`: whose tails are summed, two or three of `themes`, `forest` and `sum`; `themes` and `forest` when
    /// not given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// What separates rows into partitions of forests: `protocol_class`, `none`, or the name of a column (not for
    /// forests over surprises).
    pub partition_by: String,
    /// Trees of a forest, 1 to 10 000.
    pub trees: usize,
    /// Rows that each tree is grown from, 2 to 65 536.
    pub sample: usize,
    /// Share of training rows that may lie above the threshold, above 0 and up to 0.5. At most one of this,
    /// `percentile` and `false_alarm_rate` may be given; without them it is 0.01 for `forest` over columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contamination: Option<f64>,
    /// The threshold as a percentile of the training scores, 50 to 100. `contamination = c` says the same as
    /// `percentile = 100 (1 - c)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// The threshold as a p-value: the share of rows like the calibration rows that may lie above it, above 0 and up
    /// to 0.5; 0.001 when no threshold is given, but for `forest` over columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_alarm_rate: Option<f64>,
    /// Rows kept of each partition (of all rows where there is no forest) for trees, calibration and threshold, from `sample` to
    /// 16 777 216.
    pub reservoir: usize,
    /// Rows a partition needs for a forest of its own, at least 1; 2 x `sample` when not given. Smaller and
    /// unseen partitions are scored by the fallback, which knows the rows of all partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_partition: Option<u64>,
    /// For all over surprises: entities of a kind (sources, destinations, their services, ...) that keep a past of their own,
    /// the most frequent, 1 to 1 000 000; 20 000 when not given. The others share that of their service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<usize>,
}

impl Default for DetectSpec {
    fn default() -> Self {
        DetectSpec {
            detector: "forest".to_owned(),
            inputs: None,
            members: Vec::new(),
            partition_by: "protocol_class".to_owned(),
            trees: 100,
            sample: 256,
            contamination: None,
            percentile: None,
            false_alarm_rate: None,
            reservoir: 65_536,
            min_partition: None,
            entities: None,
        }
    }
}

/// Trees of a forest at most.
const MAX_TREES: usize = 10_000;
/// Rows of a tree at most: its depth stays within 16.
const MAX_SAMPLE: usize = 65_536;
/// Rows of a reservoir at most: positions in it fit 32 bits with room.
const MAX_RESERVOIR: usize = 1 << 24;
/// Entities of a kind at most.
const MAX_ENTITIES: usize = 1_000_000;

impl DetectSpec {
    /// Checks every key.
    ///
    /// # Errors
    /// [`DetectError::Spec`] names the first key that is wrong, what it is and what it may be.
    pub fn check(&self) -> Result<DetectSettings, DetectError> {
        let wrong = |key, found: &dyn std::fmt::Display, allowed| {
            Err(DetectError::Spec { key, found: found.to_string(), allowed })
        };
        let kind = self.check_members()?;
        if self.partition_by.is_empty() {
            return wrong(
                "partition_by",
                &format_args!("{:?}", self.partition_by),
                "\"protocol_class\", \"none\" or the name of a column",
            );
        }
        if kind != Kind::Forest
            && PartitionBy::parse(&self.partition_by).column().is_some_and(|c| c != "protocol")
        {
            return wrong(
                "partition_by",
                &format_args!("{:?}", self.partition_by),
                "\"protocol_class\" or \"none\" for forests over surprises",
            );
        }
        if !(1..=MAX_TREES).contains(&self.trees) {
            return wrong("trees", &self.trees, "1 to 10000");
        }
        if !(2..=MAX_SAMPLE).contains(&self.sample) {
            return wrong("sample", &self.sample, "2 to 65536");
        }
        if let (Some(_), Some(percentile)) = (self.contamination, self.percentile) {
            return wrong(
                "percentile",
                &percentile,
                "left out when contamination is given: both say the threshold",
            );
        }
        if let Some(rate) = self.false_alarm_rate {
            if self.contamination.is_some() || self.percentile.is_some() {
                return wrong(
                    "false_alarm_rate",
                    &rate,
                    "left out when contamination or percentile is given: all say the threshold",
                );
            }
            if !may_lie_above(rate) {
                return wrong("false_alarm_rate", &rate, SHARES);
            }
        }
        if let Some(contamination) = self.contamination
            && !may_lie_above(contamination)
        {
            return wrong("contamination", &contamination, SHARES);
        }
        if let Some(percentile) = self.percentile
            && !(percentile > 0.0 && percentile <= 100.0)
        {
            return wrong("percentile", &percentile, PERCENTILES);
        }
        if !(self.sample..=MAX_RESERVOIR).contains(&self.reservoir) {
            return wrong("reservoir", &self.reservoir, "from the value of `sample` to 16777216");
        }
        if self.min_partition == Some(0) {
            return wrong("min_partition", &0, "at least 1");
        }
        if let Some(entities) = self.entities
            && !(1..=MAX_ENTITIES).contains(&entities)
        {
            return wrong("entities", &entities, "1 to 1000000");
        }
        Ok(DetectSettings { spec: self.clone(), kind, partition_by: PartitionBy::parse(&self.partition_by) })
    }
}

/// A [`DetectSpec`] that passed its check.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectSettings {
    spec: DetectSpec,
    kind: Kind,
    partition_by: PartitionBy,
}

impl DetectSettings {
    /// The spec as it was written.
    pub fn spec(&self) -> &DetectSpec {
        &self.spec
    }

    /// The detector.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Entities of a kind that keep a past of their own.
    pub fn entities(&self) -> usize {
        self.spec.entities.unwrap_or(20_000)
    }

    /// What separates rows into partitions.
    pub fn partition_by(&self) -> &PartitionBy {
        &self.partition_by
    }

    /// Trees of a forest.
    pub fn trees(&self) -> usize {
        self.spec.trees
    }

    /// Rows that each tree is grown from.
    pub fn sample(&self) -> usize {
        self.spec.sample
    }

    /// Rows kept of each partition.
    pub fn reservoir(&self) -> usize {
        self.spec.reservoir
    }

    /// Rows a partition needs for a forest of its own.
    pub fn min_partition(&self) -> u64 {
        self.spec.min_partition.unwrap_or(2 * self.spec.sample as u64)
    }

    /// Where alarms begin.
    pub fn threshold(&self) -> Threshold {
        self.spec.threshold().unwrap_or(match self.kind {
            Kind::Forest => Threshold::Contamination(0.01),
            Kind::Themes | Kind::Ensemble => Threshold::FalseAlarmRate(0.001),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(spec: DetectSpec) -> &'static str {
        match spec.check() {
            Err(DetectError::Spec { key, .. }) => key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn default_spec_passes_and_means_what_it_says() {
        let settings = DetectSpec::default().check().unwrap();
        assert_eq!(settings.threshold(), Threshold::Contamination(0.01));
        assert_eq!(settings.min_partition(), 512);
        assert_eq!(*settings.partition_by(), PartitionBy::ProtocolClass);
    }

    #[test]
    fn errors_name_the_key() {
        let spec = DetectSpec::default;
        assert_eq!(key_of(DetectSpec { detector: "tree".into(), ..spec() }), "detector");
        assert_eq!(key_of(DetectSpec { partition_by: String::new(), ..spec() }), "partition_by");
        assert_eq!(key_of(DetectSpec { trees: 0, ..spec() }), "trees");
        assert_eq!(key_of(DetectSpec { sample: 1, ..spec() }), "sample");
        assert_eq!(key_of(DetectSpec { sample: 65_537, ..spec() }), "sample");
        assert_eq!(key_of(DetectSpec { contamination: Some(0.0), ..spec() }), "contamination");
        assert_eq!(key_of(DetectSpec { contamination: Some(f64::NAN), ..spec() }), "contamination");
        assert_eq!(key_of(DetectSpec { percentile: Some(100.5), ..spec() }), "percentile");
        assert_eq!(
            key_of(DetectSpec { percentile: Some(99.0), contamination: Some(0.01), ..spec() }),
            "percentile"
        );
        assert_eq!(key_of(DetectSpec { reservoir: 255, ..spec() }), "reservoir");
        assert_eq!(key_of(DetectSpec { min_partition: Some(0), ..spec() }), "min_partition");
    }

    #[test]
    fn spec_reads_its_table_and_refuses_unknown_keys() {
        let spec: DetectSpec = toml::from_str("trees = 5\npercentile = 99.9").unwrap();
        assert_eq!((spec.trees, spec.percentile, spec.sample), (5, Some(99.9), 256));
        assert_eq!(spec.check().unwrap().threshold(), Threshold::Percentile(99.9));
        assert!(toml::from_str::<DetectSpec>("tree = 5").is_err());
    }

    #[test]
    fn contamination_and_percentile_say_the_same() {
        let contamination = DetectSpec { contamination: Some(0.01), ..DetectSpec::default() };
        let percentile = DetectSpec { percentile: Some(99.0), ..DetectSpec::default() };
        let share = |spec: DetectSpec| spec.check().unwrap().threshold().share_below();
        assert_eq!(share(contamination), share(percentile));
    }
}
