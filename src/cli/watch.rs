//! `netweir watch`: detection on the wire.

use std::path::PathBuf;

use super::threshold::Alarms;
use super::{Common, Failure};

/// Score a live interface with a model, until ctrl-c
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sudo netweir watch -i eth0 -m office.netweir -o out
  sudo netweir watch -i eth0 -m office.netweir -o out --write-pcap seen.pcap
  netweir detect seen.pcap -m office.netweir -o again
                             the same rows, scores and incidents, bit for bit

The file of --allow is looked at while the run goes on: its rules, and where alarms begin.
  [threshold]
  false_alarm_rate = 0.0005
  [[allow]]
  net = \"10.20.9.0/24\"
  why = \"the test lab\"
What changes is in force from the next window on, and for incidents of the last minute ([incident]
keep). netweir detect --help says what rules are made of.

OUTDIR/status.json says how the run is, status.prom the same for Prometheus; they are written anew
every minute, and at the end.

The logs in OUTDIR grow while it runs. Rows come by hours, each when it is over, in its folders
scores and incident_rows (date=2026-11-22/hour=09/part-0.parquet), counters at the end. A run that
begins anew goes on behind what is there; a report of other columns, or of detect, is moved to
OUTDIR/_earlier/1, 2 and so on. Logs may be rotated: moved away (the next window begins new ones, no
signal is needed; SIGUSR1 changes nothing, nor does SIGHUP without a controlling terminal) or copied
and cut short. Where there is a controlling terminal SIGHUP is its end, and ends the run as SIGTERM
does.

Capturing needs CAP_NET_RAW: run as root, or once
  sudo setcap cap_net_raw,cap_net_admin=eip $(command -v netweir)")]
pub(super) struct Watch {
    /// The interface to listen on
    #[arg(short, long, value_name = "IF")]
    interface: String,
    /// The model that scores
    #[arg(short, long, value_name = "MODEL")]
    model: PathBuf,
    /// The folder of scores, alerts and summary
    #[arg(short, long, value_name = "OUTDIR")]
    output: PathBuf,
    /// Write the frames that were used
    #[arg(long, value_name = "FILE")]
    write_pcap: Option<PathBuf>,
    /// What alerts (host) and incidents (sensor) call this sensor
    #[arg(long, value_name = "NAME")]
    sensor: Option<String>,
    /// Rules that say what is not to be reported, and where alarms begin; followed when they change
    #[arg(long, value_name = "RULES.toml")]
    allow: Option<PathBuf>,
    #[command(flatten)]
    alarms: Alarms,
    #[command(flatten)]
    common: Common,
}

impl Watch {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut spec = self.common.spec("watch")?;
        self.alarms.over(&mut spec);
        spec.source.inputs = Vec::new();
        spec.source.interface = Some(self.interface);
        spec.ends.model = Some(self.model);
        spec.ends.report = Some(self.output);
        spec.ends.scores = None;
        spec.ends.write_pcap = self.write_pcap;
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
