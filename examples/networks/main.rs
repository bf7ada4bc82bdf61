//! Makes labelled networks to judge detection by, and judges it.
//!
//! ```text
//! cargo run --release --example networks -- make LABS OUT [NAME...]
//! ```
//!
//! Each network is a folder of OUT with what is learned from (`train.pcap`), what is scored after it (`dev.pcap`) and what
//! is known of the latter (`labels.csv`).

mod capture;

use capture::{Network, read_frames, read_labels};

pub(crate) type AnyError = Box<dyn std::error::Error>;

const USAGE: &str = "usage: networks make LABS OUT [NAME...]";

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, labs, out, names @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    if verb != "make" {
        return Err(USAGE.into());
    }
    for lab in ["lab1", "lab2"].into_iter().filter(|lab| names.is_empty() || names.iter().any(|n| n == lab)) {
        let path = |end: &str| std::path::Path::new(labs).join(format!("{lab}-{end}"));
        let network = Network {
            train: read_frames(&path("train.pcap.zst"))?,
            dev: read_frames(&path("dev.pcap.zst"))?,
            labels: read_labels(&path("dev.labels.csv"))?,
        };
        network.write(&std::path::Path::new(out).join(lab))?;
    }
    Ok(())
}
