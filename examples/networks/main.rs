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
//! `lab1-dev.labels.csv` and the same of `lab2`); with `--public FOLDER` a home among public captures is made one of them too.
//! The same bytes come out each time.

mod campus;
mod capture;
mod chance;
mod headers;
mod home;
mod hosting;
mod hosts;
mod lab;
mod made;
mod measure;
mod rewrite;
mod tainted;
mod talk;
mod transplant;
mod truth;
mod version6;
mod wire;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use capture::{Frame, Network};
use clap::Parser as _;
use lab::{Lab, Labs};
use tainted::Whose::{Others, Same};
use tainted::{FLOWS, LOUD, QUIET, SEVEN, SIX, tainted};

pub(crate) type AnyError = Box<dyn std::error::Error>;

/// How a network is made.
#[derive(Clone, Copy)]
enum Maker {
    /// Out of the laboratories, mainly of one; there is one for each.
    EachLab(fn(&Labs, usize) -> Network),
    /// Out of both alike.
    BothLabs(fn(&Labs) -> Network),
    /// Out of a home and the attacks of each laboratory.
    Home(fn(&Labs, &[Frame], usize) -> Network),
    /// Drawn from a seed.
    Drawn(u64, fn(u64) -> Network),
}

use Maker::{BothLabs, Drawn, EachLab, Home};

/// All networks: name, what it is, how it is made. `{lab}` is each laboratory in turn, `{other}` the other one.
const NETWORKS: &[(&str, &str, Maker)] = &[
    ("{lab}", "as recorded: an office (lab1), a plant (lab2)", EachLab(made::as_recorded)),
    (
        "{lab}-attacks-of-{other}",
        "attacks of the other, between hosts of the same roles",
        EachLab(made::foreign_attacks),
    ),
    (
        "{lab}-halves-exchanged",
        "learned from the later half, set before the earlier one",
        EachLab(made::halves_exchanged),
    ),
    ("{lab}-half-of-hosts", "half of the hosts struck", EachLab(made::half_of_hosts)),
    ("{lab}-lossy", "one frame of twenty lost", EachLab(made::lossy)),
    ("{lab}-sampled", "one frame of four kept", EachLab(made::sampled)),
    ("{lab}-gap", "learned from the first twelve minutes, eight before what is scored", EachLab(made::gap)),
    ("{lab}-six-minutes", "learned from the last six minutes", EachLab(made::last_minutes::<6>)),
    ("{lab}-ten-minutes", "learned from the last ten minutes", EachLab(made::last_minutes::<10>)),
    ("both-labs", "both as one network", BothLabs(made::both)),
    ("home-attacks-of-{lab}", "a week of a home, learned from its first half", Home(home::attacked)),
    ("{lab}-new-clients", "a third of the clients struck from training alone", EachLab(made::new_clients)),
    ("{lab}-new-servers", "a quarter of all hosts struck from training alone", EachLab(made::new_servers)),
    ("{lab}-earlier", "learned from the later half, the earlier one scored", EachLab(made::earlier)),
    ("{lab}-three-days-later", "what is scored set three days later", EachLab(made::three_days_later)),
    ("{lab}-v6", "all of it in IPv6", EachLab(made::version_6)),
    (
        "{lab}-behind-one-address",
        "the clients of the largest net behind one address",
        EachLab(made::behind_one_address),
    ),
    ("{lab}-twice", "all that is scored twice, the second time twenty minutes later", EachLab(made::twice)),
    (
        "{lab}-tainted-loud",
        "a scan, a sweep, a brute force of the other in training",
        EachLab(|labs, lab| tainted(labs, lab, Others, LOUD)),
    ),
    (
        "{lab}-tainted-quiet",
        "four quiet attacks of the other in training",
        EachLab(|labs, lab| tainted(labs, lab, Others, QUIET)),
    ),
    (
        "{lab}-tainted-flows",
        "160 flows of all attacks of the other in training",
        EachLab(|labs, lab| tainted(labs, lab, Others, FLOWS)),
    ),
    (
        "{lab}-tainted-seven",
        "seven attacks of the other in training",
        EachLab(|labs, lab| tainted(labs, lab, Others, SEVEN)),
    ),
    (
        "{lab}-tainted-same-quiet",
        "four quiet ones of the same attacks in training",
        EachLab(|labs, lab| tainted(labs, lab, Same, QUIET)),
    ),
    (
        "{lab}-tainted-same-flows",
        "160 flows of the same attacks in training",
        EachLab(|labs, lab| tainted(labs, lab, Same, FLOWS)),
    ),
    (
        "{lab}-tainted-same-six",
        "six of the same attacks in training",
        EachLab(|labs, lab| tainted(labs, lab, Same, SIX)),
    ),
    ("hosting", HOSTING, Drawn(1, hosting::network)),
    ("hosting-2", HOSTING, Drawn(2, hosting::network)),
    ("hosting-3", HOSTING, Drawn(3, hosting::network)),
    ("campus", CAMPUS, Drawn(1, campus::network)),
    ("campus-2", CAMPUS, Drawn(2, campus::network)),
    ("campus-3", CAMPUS, Drawn(3, campus::network)),
];

const HOSTING: &str = "public servers and thousands who are seen once, drawn from a seed";
const CAMPUS: &str = "laptops and phones that come and go, drawn from a seed";

/// One network of the list.
struct Entry {
    name: String,
    what: &'static str,
    maker: Maker,
    lab: usize,
}

fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, what, maker) in NETWORKS {
        let labs = if name.contains("{lab}") { 0..2 } else { 0..1 };
        entries.extend(labs.map(|lab| {
            let [own, other] = [lab, 1 - lab].map(|lab| format!("lab{}", lab + 1));
            Entry { name: name.replace("{lab}", &own).replace("{other}", &other), what, maker: *maker, lab }
        }));
    }
    entries
}

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
        /// The folder of public captures, whose attacks/home_iot_week_a.pcap.zst is the home
        #[arg(long, value_name = "FOLDER")]
        public: Option<PathBuf>,
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
        Arguments::Make { labs, out, names, public } => make(&labs, public.as_deref(), &out, &names),
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
            for Entry { name, what, .. } in entries() {
                println!("{name:<26} {what}");
            }
            Ok(())
        }
    }
}

/// What networks are made of, read when it is first asked for.
struct Sources<'a> {
    labs_folder: &'a Path,
    public: Option<&'a Path>,
    labs: OnceCell<Labs>,
    home: OnceCell<Vec<Frame>>,
}

impl Sources<'_> {
    fn labs(&self) -> Result<&Labs, AnyError> {
        if self.labs.get().is_none() {
            let read = |name| Lab::read(self.labs_folder, name);
            let _ = self.labs.set([read("lab1")?, read("lab2")?]);
        }
        Ok(self.labs.get().expect("they were read"))
    }

    fn home(&self, public: &Path) -> Result<&[Frame], AnyError> {
        if self.home.get().is_none() {
            let _ = self.home.set(home::read(public)?);
        }
        Ok(self.home.get().expect("it was read"))
    }

    /// None where what it is made of was not given.
    fn make(&self, entry: &Entry) -> Result<Option<Network>, AnyError> {
        Ok(Some(match entry.maker {
            EachLab(make) => make(self.labs()?, entry.lab),
            BothLabs(make) => make(self.labs()?),
            Home(make) => match self.public {
                Some(public) => make(self.labs()?, self.home(public)?, entry.lab),
                None => return Ok(None),
            },
            Drawn(seed, make) => make(seed),
        }))
    }
}

fn make(labs: &Path, public: Option<&Path>, out: &Path, names: &[String]) -> Result<(), AnyError> {
    let entries = entries();
    if let Some(unknown) = names.iter().find(|name| entries.iter().all(|entry| entry.name != **name)) {
        return Err(format!("no network is called {unknown}: `networks list` has their names").into());
    }
    let sources = Sources { labs_folder: labs, public, labs: OnceCell::new(), home: OnceCell::new() };
    for entry in entries.iter().filter(|entry| names.is_empty() || names.contains(&entry.name)) {
        match sources.make(entry)? {
            Some(network) => {
                network.write(&out.join(&entry.name))?;
                println!("{}", entry.name);
            }
            None if names.is_empty() => eprintln!("{}: left out without --public", entry.name),
            None => return Err(format!("{}: the home is in the folder of --public", entry.name).into()),
        }
    }
    Ok(())
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
    let entries = entries();
    let place = |name: &str| entries.iter().position(|entry| entry.name == name).unwrap_or(entries.len());
    names.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    Ok(names)
}
