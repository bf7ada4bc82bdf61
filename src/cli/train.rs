//! `netweir train`: what is usual.

use std::path::PathBuf;

use super::{Common, Failure, Inputs};

/// Learn what is usual from captures or rows, into a model file
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  netweir train quiet-week/ -m office.netweir
  netweir train rows.parquet -m office.netweir      rows of extract: the same model, byte for byte
  netweir train out/scores -m office.netweir --without out:3f9a,41     without two incidents
  netweir train -p pipelines/table.toml own-features.parquet -m own.netweir

The training set is taken as benign: what attacks during training is learned as usual.")]
pub(super) struct Train {
    #[command(flatten)]
    inputs: Inputs,
    /// Leave out the rows of a report's incidents, or of some by the first digits of their ids:
    /// what attacked is not learned
    #[arg(long, value_name = "OUTDIR[:ID,...]")]
    without: Vec<String>,
    /// The model file to write
    #[arg(short, long, value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Train {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut spec = self.common.spec("train")?;
        spec.source.inputs = self.inputs.inputs;
        spec.source.interface = None;
        spec.source.without.extend(self.without);
        spec.ends.fit = Some(self.model);
        spec.ends.model = None;
        spec.ends.report = None;
        spec.ends.scores = None;
        self.common.how.run(&spec).map(drop)
    }
}
