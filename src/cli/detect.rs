//! `netweir detect`: what is odd.

use std::path::PathBuf;

use super::threshold::Alarms;
use super::{Common, Failure, Inputs};

/// Score captures or rows with a model: scores, alerts, summary
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  netweir detect today.pcap.zst -m office.netweir -o out
  netweir detect rows.parquet -m office.netweir -o out     the same scores, bit for bit
  netweir detect today.pcap.zst -m office.netweir -o out --false-alarm-rate 0.0001
                                                           the same scores, fewer of them alarms

What is left in OUTDIR:
  scores.parquet      all columns of the rows, and score, p_value, is_anomaly, partition, reasons
  alerts.eve.jsonl    one alert a line, as Suricata writes them (EVE JSON)
  summary.json        what was read, refused, scored; the threshold
One readable line an alert goes to standard output.")]
pub(super) struct Detect {
    #[command(flatten)]
    inputs: Inputs,
    /// The model that scores
    #[arg(short, long, value_name = "MODEL")]
    model: PathBuf,
    /// The folder of scores, alerts and summary
    #[arg(short, long, value_name = "OUTDIR")]
    output: PathBuf,
    /// Rules that say what is not to be reported
    #[arg(long, value_name = "RULES.toml")]
    allow: Option<PathBuf>,
    #[command(flatten)]
    alarms: Alarms,
    #[command(flatten)]
    common: Common,
}

impl Detect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut spec = self.common.spec("detect")?;
        self.alarms.over(&mut spec);
        spec.source.inputs = self.inputs.inputs;
        spec.source.interface = None;
        spec.ends.model = Some(self.model);
        spec.ends.report = Some(self.output);
        spec.ends.fit = None;
        if self.allow.is_some() {
            spec.incident.allow = self.allow;
        }
        self.common.how.run(&spec).map(drop)
    }
}
