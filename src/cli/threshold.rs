//! Where alarms begin in this run: flags of the verbs that score.

use crate::detect::{PERCENTILES, SHARES, Threshold};
use crate::spec::Spec;

/// Another threshold than the model's, for this run; nothing is learned anew.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Threshold (at most one; without any it is the model's)")]
pub(super) struct Alarms {
    #[arg(
        long,
        value_name = "A",
        allow_negative_numbers = true,
        help = format!("Alarm at p-values up to A, {SHARES}")
    )]
    false_alarm_rate: Option<f64>,
    #[arg(
        long,
        value_name = "C",
        allow_negative_numbers = true,
        help = format!("Alarm above what a share C of rows like those of training exceeds, {SHARES}")
    )]
    contamination: Option<f64>,
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        help = format!("The same as a percentile of their scores, {PERCENTILES}, as --contamination 0.001 does")
    )]
    percentile: Option<f64>,
}

impl Alarms {
    /// Says it in the pipeline, in the place of what its file says.
    pub(super) fn over(&self, spec: &mut Spec) {
        let rate = self.false_alarm_rate.map(Threshold::FalseAlarmRate);
        let percentile = self.percentile.map(Threshold::Percentile);
        let asked = rate.or(percentile).or(self.contamination.map(Threshold::Contamination));
        if let Some(asked) = asked {
            spec.detect = std::mem::take(&mut spec.detect).with_threshold(asked);
        }
    }
}
