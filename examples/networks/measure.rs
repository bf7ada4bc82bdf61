//! What a build of netweir finds on networks, and what it finds that is not there.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

use crate::AnyError;

/// Networks that are judged at the same time: each takes one core, and a gigabyte where it is large.
const AT_ONCE: usize = 2;
/// The rates of false positives that recall is named at, as the evaluation lists them.
const RATES: usize = 3;

/// What is run, and how.
pub(crate) struct Setup {
    pub(crate) netweir: PathBuf,
    /// The pipeline to train instead of the built-in one.
    pub(crate) pipeline: Option<PathBuf>,
}

/// The figures of one network.
pub(crate) struct Figures {
    name: String,
    benign_rows: u64,
    /// Mean over families at each of the rates, and at the shipped threshold.
    recall: [f64; RATES + 1],
    /// Events in an incident, and events with rows.
    events: [u64; 2],
    /// False incidents, and those of two rows or more.
    false_incidents: [u64; 2],
    /// Shares of benign rows with p-values of at most 1e-2 and 1e-3.
    p_values: [f64; 2],
    families: Vec<Family>,
}

struct Family {
    name: String,
    rows: u64,
    recall: [f64; RATES + 1],
}

/// Judges folders that `make` wrote, a few at a time; in the order of the names.
pub(crate) fn measure(folder: &Path, names: &[String], setup: &Setup) -> Result<Vec<Figures>, AnyError> {
    let work = tempfile::tempdir()?;
    let next = Mutex::new(names.iter().enumerate());
    let judged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((place, name)) = next.lock().expect("nobody panics with it").next() else {
                        break;
                    };
                    // Errors that are sent between threads are texts.
                    let figures = one(&folder.join(name), &work.path().join(name), name, setup)
                        .map_err(|error| format!("{name}: {error}"));
                    eprintln!("{name}");
                    judged.lock().expect("nobody panics with it").push((place, figures));
                }
            });
        }
    });
    let mut judged = judged.into_inner()?;
    judged.sort_by_key(|(place, _)| *place);
    Ok(judged.into_iter().map(|(_, figures)| figures).collect::<Result<_, _>>()?)
}

fn one(network: &Path, work: &Path, name: &str, setup: &Setup) -> Result<Figures, AnyError> {
    std::fs::create_dir_all(work)?;
    let (model, found, page) = (work.join("model.netweir"), work.join("found"), work.join("report.html"));
    let run = |verb: &str, arguments: &[&OsStr]| -> Result<(), AnyError> {
        let done = Command::new(&setup.netweir).arg(verb).arg("-q").args(arguments).output();
        let done = done.map_err(|error| format!("{}: {error}", setup.netweir.display()))?;
        match done.status.success() {
            true => Ok(()),
            false => Err(format!("{verb}: {}", String::from_utf8_lossy(&done.stderr).trim_end()).into()),
        }
    };
    let [train, dev, labels] = ["train.pcap", "dev.pcap", "labels.csv"].map(|file| network.join(file));
    let option = |name: &'static str| OsStr::new(name);
    let pipeline = setup.pipeline.iter().flat_map(|file| [option("-p"), file.as_os_str()]);
    let mut learn = vec![train.as_os_str(), option("-w"), option("1"), option("-m"), model.as_os_str()];
    learn.extend(pipeline);
    run("train", &learn)?;
    let score = [dev.as_os_str(), option("-w"), option("1"), option("-m"), model.as_os_str()];
    run("detect", &[&score[..], &[option("-o"), found.as_os_str()]].concat())?;
    run("evaluate", &[found.as_os_str(), option("-l"), labels.as_os_str(), option("-o"), page.as_os_str()])?;
    let metrics = serde_json::from_slice(&std::fs::read(work.join("metrics.json"))?)?;
    // The scores of forty networks would be a gigabyte.
    std::fs::remove_dir_all(work)?;
    figures(name, &metrics)
}

fn figures(name: &str, metrics: &Value) -> Result<Figures, AnyError> {
    let own = &metrics["detectors"][0];
    let points = own["at_false_positive_rate"].as_array().ok_or("no points in metrics.json")?;
    let points: [&Value; RATES] = points.iter().collect::<Vec<_>>().try_into().map_err(|_| "other points")?;
    let points = [points[0], points[1], points[2], &own["shipped"]];
    let recall_of = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let families = points[0]["families"].as_array().map_or(&[][..], Vec::as_slice).iter().enumerate();
    let families = families.map(|(place, family)| Family {
        name: family["family"].as_str().unwrap_or_default().to_owned(),
        rows: family["rows"].as_u64().unwrap_or(0),
        recall: points.map(|point| recall_of(&point["families"][place]["recall"])),
    });
    let events = metrics["events"].as_array().map_or(&[][..], Vec::as_slice);
    let events = events.iter().filter(|event| event["rows"].as_u64() > Some(0));
    let inside = events.clone().filter(|event| event["in_an_incident"] == true);
    let incidents = &metrics["incidents"];
    let share = |nominal: f64| {
        let points = metrics["calibration"]["points"].as_array().map_or(&[][..], Vec::as_slice);
        let is_it = |point: &&Value| {
            point["nominal"].as_f64().is_some_and(|value| (value / nominal - 1.0).abs() < 1e-6)
        };
        points.iter().find(is_it).map_or(f64::NAN, |point| recall_of(&point["empirical"]))
    };
    Ok(Figures {
        name: name.to_owned(),
        benign_rows: own["benign_rows"].as_u64().ok_or("no rows in metrics.json")?,
        recall: points.map(|point| recall_of(&point["macro_recall"])),
        events: [inside.count() as u64, events.count() as u64],
        false_incidents: [&incidents["false"], &incidents["of_two_rows_or_more"]["false"]]
            .map(|count| count.as_u64().unwrap_or(0)),
        p_values: [1e-2, 1e-3].map(share),
        families: families.collect(),
    })
}

/// All figures in Markdown: a line for each network, and the mean (of counts the sum) of all.
pub(crate) fn table(networks: &[Figures]) -> String {
    let mut text = String::from(
        "| network | benign rows | recall at 1e-2 | at 1e-3 | at 1e-4 | events | at the threshold \
         | false incidents | of two rows or more | p <= 1e-2 | p <= 1e-3 |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for network in networks {
        line(&mut text, network);
    }
    let mean =
        |value: &dyn Fn(&Figures) -> f64| networks.iter().map(value).sum::<f64>() / networks.len() as f64;
    let sum = |value: &dyn Fn(&Figures) -> u64| networks.iter().map(value).sum::<u64>();
    let all = Figures {
        name: format!("mean or sum of {}", networks.len()),
        benign_rows: sum(&|one| one.benign_rows),
        recall: [0, 1, 2, 3].map(|place| mean(&|one| one.recall[place])),
        events: [0, 1].map(|place| sum(&|one| one.events[place])),
        false_incidents: [0, 1].map(|place| sum(&|one| one.false_incidents[place])),
        p_values: [0, 1].map(|place| mean(&|one| one.p_values[place])),
        families: Vec::new(),
    };
    line(&mut text, &all);
    text
}

fn line(text: &mut String, of: &Figures) {
    let [loose, middle, strict, shipped] = of.recall.map(|recall| rate(recall, 3));
    let [found, events] = of.events;
    let [all, larger] = of.false_incidents;
    let [often, seldom] = of.p_values.map(|share| rate(share, 4));
    let rows = thousands(of.benign_rows);
    let _ = writeln!(
        text,
        "| {} | {rows} | {loose} | {middle} | {strict} | {found} of {events} | {shipped} | {all} | {larger} | {often} | {seldom} |",
        of.name
    );
}

/// Recall by family in Markdown: a line for each family of each network, and the mean of each family over networks.
pub(crate) fn family_table(networks: &[Figures]) -> String {
    let mut text = String::from(
        "| network | family | rows | recall at 1e-2 | at 1e-3 | at 1e-4 | at the threshold |\n|---|---|---|---|---|---|---|\n",
    );
    let mut put = |network: &str, family: &str, rows: u64, recall: [f64; RATES + 1]| {
        let [loose, middle, strict, shipped] = recall.map(|recall| rate(recall, 2));
        let rows = thousands(rows);
        let _ =
            writeln!(text, "| {network} | {family} | {rows} | {loose} | {middle} | {strict} | {shipped} |");
    };
    for network in networks {
        for family in &network.families {
            put(&network.name, &family.name, family.rows, family.recall);
        }
    }
    let all = || networks.iter().flat_map(|network| &network.families);
    let names: std::collections::BTreeSet<&str> = all().map(|family| family.name.as_str()).collect();
    for name in names {
        let of: Vec<&Family> = all().filter(|family| family.name == name).collect();
        let mean = |place: usize| of.iter().map(|one| one.recall[place]).sum::<f64>() / of.len() as f64;
        put(
            &format!("mean of {}", of.len()),
            name,
            of.iter().map(|one| one.rows).sum(),
            [0, 1, 2, 3].map(mean),
        );
    }
    text
}

/// Parts of one as the tables of this project have them: `.970`.
fn rate(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    text.strip_prefix('0').map_or(text.clone(), str::to_owned)
}

fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
