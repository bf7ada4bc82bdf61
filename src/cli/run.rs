//! `netweir run`: a pipeline as its file says it.

use std::path::PathBuf;

use super::{Failure, How};
use crate::spec::Spec;

/// Run a pipeline file that names its inputs and ends
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example of a pipeline file:
  [source]
  inputs = [\"captures/\"]
  [flow]
  window = \"10s\"
  [ends]
  rows = \"rows.parquet\"

netweir check FILE prints the graph that it builds.")]
pub(super) struct Run {
    /// The pipeline file, or the name of one that is built in
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    #[command(flatten)]
    how: How,
}

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut spec = Spec::find(&self.pipeline)?;
        self.how.over(&mut spec);
        self.how.run(&spec).map(drop)
    }
}
