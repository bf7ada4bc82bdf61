//! `netweir detect`: what is odd.

use std::path::PathBuf;

use super::extract::column;
use super::threshold::Alarms;
use super::{Common, Failure, Inputs};
use crate::sink;

/// Score captures or rows with a model: scores, alerts, summary
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  netweir detect today.pcap.zst -m office.netweir -o out
  netweir detect rows.parquet -m office.netweir -o out     the same scores, bit for bit
  netweir detect today.pcap.zst -m office.netweir -o out --false-alarm-rate 0.0001
                                                           the same scores, fewer of them alarms
  netweir detect rows/ -m forest.netweir -o scores.parquet --columns src_ip,dst_ip
                                                           scores alone; reads what the model needs

What is left in OUT, unless its name ends in .parquet, .arrow or .csv (then it is a file of scores
alone):
  scores.parquet          all columns of the rows, score, p_value, is_anomaly, partition, reasons
  alerts.eve.jsonl        one alert a line, as Suricata writes them (EVE JSON), but what is muted
  incidents.jsonl         what was said of incidents, a line each; the last of an id holds
  incident_rows.parquet   which row belongs to which incident, or which rule mutes it
  summary.json            what was read, refused, scored, muted; the model, the threshold
Incidents go to standard output, a line when one begins, gets worse or is over; netweir explain
prints one in full.

Standard input (-) or another pipe ends where its writer ends it, or where the run is told to end
(ctrl-c, SIGTERM, the end of the terminal): what was read until then is scored, and the report is
whole. A second signal, a second later, ends the run at once; of what it wrote files with hidden
names stay in OUT, which the next run there removes.

Rules of an allow-list (--allow) hold where all that they name does: net (either end), src, dst,
port, protocol, column with min or max. `why` must be there, `until` ends a rule.
  [[allow]]
  src = \"10.20.0.90\"
  protocol = \"icmp\"
  until = 2027-01-31
  why = \"the monitor pings all hosts\"
The same file may say where alarms begin, by false_alarm_rate, contamination or percentile:
  [threshold]
  false_alarm_rate = 0.0005")]
pub(super) struct Detect {
    #[command(flatten)]
    inputs: Inputs,
    /// The model that scores
    #[arg(short, long, value_name = "MODEL")]
    model: PathBuf,
    /// The folder of scores, alerts and summary; or a .parquet, .arrow or .csv file of scores alone
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Columns of the rows to write beside scores alone; * stands for any run of characters
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = column)]
    columns: Vec<String>,
    /// What alerts (host) and incidents (sensor) call this sensor
    #[arg(long, value_name = "NAME")]
    sensor: Option<String>,
    /// Rules that say what is not to be reported, and where alarms begin
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
        (spec.ends.report, spec.ends.scores) = match sink::names_a_file(&self.output) {
            false => (Some(self.output), None),
            true => (None, Some(self.output)),
        };
        if !self.columns.is_empty() {
            spec.ends.columns = self.columns;
        }
        spec.ends.fit = None;
        if self.sensor.is_some() {
            spec.ends.sensor = self.sensor;
        }
        if self.allow.is_some() {
            spec.incident.allow = self.allow;
        }
        self.common.how.run(&spec).map(drop)
    }
}
