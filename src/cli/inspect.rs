//! `netweir inspect`: what a model knows.

use std::io::Write;
use std::path::PathBuf;

use super::Failure;
use crate::model::Model;

/// Print what a model was made with and what it learned
#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let model = Model::read(&self.model)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &model.describe_json()).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            write!(out, "{}", model.describe())?;
        }
        Ok(())
    }
}
