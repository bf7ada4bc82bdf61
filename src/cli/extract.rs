//! `netweir extract`: captures to rows.

use std::path::PathBuf;

use super::{Common, Failure, Inputs};

/// Captures to rows: what each flow did in each window, in Parquet (read again), Arrow or CSV
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  netweir extract capture.pcap -o rows.parquet
  netweir extract archive/ -o rows/                 a dataset: rows/date=2026-11-22/hour=09/...
  netweir extract 'day-*.pcap.gz' -o rows.arrow     files are merged by event time
  zcat big.pcap.gz | netweir extract - -o rows.csv
  netweir extract capture.pcap --packets -o packets.parquet
  netweir extract capture.pcap --columns 'src_ip,dst_*,ctx_src_w1_*' -o some.parquet")]
pub(super) struct Extract {
    #[command(flatten)]
    inputs: Inputs,
    /// Where rows go: .parquet, .arrow or .csv, else a folder as a dataset by date and hour
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Write a row for each packet instead
    #[arg(long)]
    packets: bool,
    /// Columns to write, beside what names a row; * stands for any run of characters [default: all that the pipeline makes]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = column)]
    columns: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// One of the names between commas.
pub(super) fn column(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("a name is missing between commas"),
        name => Ok(name.to_owned()),
    }
}

impl Extract {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut spec = self.common.spec("extract")?;
        spec.source.inputs = self.inputs.inputs;
        spec.source.interface = None;
        spec.ends.rows = Some(self.output);
        spec.ends.packets |= self.packets;
        if !self.columns.is_empty() {
            spec.ends.columns = self.columns;
        }
        spec.ends.fit = None;
        spec.ends.model = None;
        spec.ends.report = None;
        spec.ends.scores = None;
        self.common.how.run(&spec).map(drop)
    }
}
