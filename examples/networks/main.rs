//! Makes labelled networks to judge detection by, and judges it.
//!
//! ```text
//! cargo run --release --example networks -- make LABS OUT [NAME...]
//! cargo run --release --example networks -- measure OUT [NAME...]
//! cargo run --release --example networks -- list
//! ```
//!
//! Each network is a folder of OUT with what is learned from (`train.pcap`), what is scored after it (`dev.pcap`) and what
//! is known of the latter (`labels.csv`). LABS holds the two laboratories (`lab1-train.pcap.zst`, `lab1-dev.pcap.zst`,
//! `lab1-dev.labels.csv` and the same of `lab2`). The same bytes come out each time.

mod capture;
mod measure;

use std::path::{Path, PathBuf};

use capture::{Network, read_frames, read_labels};
use clap::Parser as _;

pub(crate) type AnyError = Box<dyn std::error::Error>;

/// How a network is made.
enum Maker {
    /// Out of the laboratories, mainly of the one that is named by its place.
    Labs(usize, fn(&[Network; 2], usize) -> Network),
}

use Maker::Labs;

/// All networks that can be made: name, what it is, how.
const NETWORKS: &[(&str, &str, Maker)] = &[
    ("lab1", "an office, as recorded", Labs(0, |labs, lab| labs[lab].clone())),
    ("lab2", "a plant, as recorded", Labs(1, |labs, lab| labs[lab].clone())),
];

/// Makes labelled networks to judge detection by, and judges it
#[derive(clap::Parser)]
#[command(name = "networks")]
enum Arguments {
    /// Make networks, each in a folder of its own
    Make {
        /// The folder of the two laboratories
        labs: PathBuf,
        /// Where the folders go
        out: PathBuf,
        /// Which to make [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Train, score and evaluate made networks; print what came of it in Markdown
    Measure {
        /// Where the folders are
        out: PathBuf,
        /// Which to measure [default: all that are there]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// The program to judge [default: the one that was built beside this]
        #[arg(long, value_name = "PATH")]
        netweir: Option<PathBuf>,
        /// The pipeline to train instead of the built-in one
        #[arg(short, long, value_name = "FILE")]
        pipeline: Option<PathBuf>,
        /// Print recall by family too
        #[arg(long)]
        families: bool,
    },
    /// Print the names of all networks, and what each is
    List,
}

fn main() -> Result<(), AnyError> {
    match Arguments::parse() {
        Arguments::Make { labs, out, names } => make(&labs, &out, &names),
        Arguments::Measure { out, names, netweir, pipeline, families } => {
            let netweir = netweir.map_or_else(beside, Ok)?;
            let names = if names.is_empty() { made(&out)? } else { names };
            let figures = measure::measure(&out, &names, &measure::Setup { netweir, pipeline })?;
            print!("{}", measure::table(&figures));
            if families {
                print!("\n{}", measure::family_table(&figures));
            }
            Ok(())
        }
        Arguments::List => {
            for (name, what, _) in NETWORKS {
                println!("{name:<32} {what}");
            }
            Ok(())
        }
    }
}

fn make(labs: &Path, out: &Path, names: &[String]) -> Result<(), AnyError> {
    if let Some(unknown) = names.iter().find(|name| NETWORKS.iter().all(|(known, ..)| known != name)) {
        return Err(format!("no network is called {unknown}: `networks list` has their names").into());
    }
    let labs = [read_lab(labs, "lab1")?, read_lab(labs, "lab2")?];
    for (name, _, maker) in
        NETWORKS.iter().filter(|(name, ..)| names.is_empty() || names.iter().any(|n| n == name))
    {
        let network = match maker {
            Labs(lab, make) => make(&labs, *lab),
        };
        network.write(&out.join(name))?;
        println!("{name}");
    }
    Ok(())
}

fn read_lab(folder: &Path, lab: &str) -> Result<Network, AnyError> {
    let path = |end: &str| folder.join(format!("{lab}-{end}"));
    Ok(Network {
        train: read_frames(&path("train.pcap.zst"))?,
        dev: read_frames(&path("dev.pcap.zst"))?,
        labels: read_labels(&path("dev.labels.csv"))?,
    })
}

/// The program of the target folder that this one was built in.
fn beside() -> Result<PathBuf, AnyError> {
    let own = std::env::current_exe()?;
    let folder =
        own.parent().and_then(Path::parent).ok_or("no target folder around this program: name --netweir")?;
    Ok(folder.join("netweir").with_extension(std::env::consts::EXE_EXTENSION))
}

/// Names of the networks of a folder: in the order of the list, then others.
fn made(out: &Path) -> Result<Vec<String>, AnyError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(out).map_err(|error| format!("{}: {error}", out.display()))? {
        let entry = entry?;
        if entry.path().join("dev.pcap").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let place = |name: &str| NETWORKS.iter().position(|(known, ..)| *known == name).unwrap_or(NETWORKS.len());
    names.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    Ok(names)
}
