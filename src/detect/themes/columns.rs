//! What `themes` judges: 149 columns of context, shape, age and regularity, how seldom a source uses a service, how
//! conversations begin, and how many rows are alike; whose past each is held against, how much of it is the row's own
//! doing, and the [group](super::groups) that it is evidence for.

use std::sync::LazyLock;

use super::greeting::LENGTHS;
use super::groups::{GROUPS, place};
use crate::detect::reason::phrase::RATIO;
use crate::encode::bucket::bucket;
use crate::encode::{Judgement, Side, Since, Subject};

/// Judged columns.
pub(in crate::detect) const WIDTH: usize = 154;

/// Horizons in windows: those of context.
pub(super) const HORIZONS: [u32; 3] = {
    let [shortest, middle, longest] = crate::context::HORIZONS;
    [shortest as u32, middle as u32, longest as u32]
};

/// Where a value comes from.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Reading {
    /// A column, times a factor.
    Number(String, f64),
    /// `64 (fwd_bytes + 20) / (bwd_bytes + 20)`.
    Ratio,
    /// `conn_state` as a number.
    State,
    /// How the flow begins, by one of some hashes ([`greeting`](super::greeting)).
    Greeting(u8),
}

/// How much of an entity's value a row accounts for, 0 to 1.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Weight {
    /// It is the row's own.
    Whole,
    /// Nothing where the named age is not less than the horizon. Else all, or, of what sources bring to a destination, as
    /// much as the row's source accounts for: `min(1, horizon * own / value)`.
    New {
        /// The age of what is new about this row.
        age: String,
        /// What the row's source and destination have of it in this window, new or not.
        own: Option<String>,
        /// The horizon in windows.
        horizon: u32,
    },
    /// `min(1, horizon * own / value)`, with the largest of some columns as `own`.
    Share {
        /// What the row's finer entities have of it in this window.
        own: Vec<String>,
        /// The horizon in windows.
        horizon: u32,
        /// Nothing where neither this row nor those of its source, destination and service failed.
        failed: bool,
        /// Of the first of `own`, which is what the destination's service got, what rows like this one brought: those who come
        /// beside a flood have no part in it.
        alike: Option<Brought>,
    },
    /// As far as chance would not make gaps as even ([`rhythm`](super::rhythm)).
    Rhythm {
        /// The column that is null where there are fewer than eight gaps; nothing where there are as many.
        eight: Option<String>,
    },
}

/// What rows alike ([`ALIKE`]) are taken to have brought.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Brought {
    /// One each, of what all of them are or none, as rows of one state fail.
    OneEach,
    /// As much each as the other rows to the same service.
    AsOthers,
}

/// One judged column.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) reading: Reading,
    pub(super) judged: Judgement,
    pub(super) weight: Weight,
    /// Its place in [`GROUPS`].
    pub(super) group: usize,
}

impl Column {
    /// Whether it says that something is new.
    pub(super) fn is_of_news(&self) -> bool {
        let group = GROUPS[self.group];
        group == "young" || self.is_of_the_unknown() || group.starts_with("new_")
    }

    /// Whether a column says that something is not known, as nothing of a new host is.
    pub(super) fn is_of_the_unknown(&self) -> bool {
        matches!(GROUPS[self.group], "age" | "use_src")
    }
}

/// Positions of the columns that say that something is not known.
pub(super) fn of_the_unknown() -> impl Iterator<Item = usize> {
    (0..columns().len()).filter(|at| columns()[*at].is_of_the_unknown())
}

/// Column of failed rows between this source, destination and service.
pub(super) const FAILED: &str = "ctx_pairsvc_w1_failed";
/// Columns of a window's rows like this one to the destination's service, and of all rows to it.
pub(super) const ALIKE: [&str; 2] = ["ctx_dstshape_w1_rows", "ctx_dstsvc_w1_rows"];
/// Column of the window of the first row ever of this source, destination and service.
pub(super) const FIRST: &str = "first_pairsvc";
/// Column that says whether the source is a host of one's own that training never saw.
pub(super) const NEW: &str = "src_is_new";
/// Column of the state of a TCP connection.
pub(super) const STATE: &str = "conn_state";

/// Statistics of the context of an entity.
fn statistics(subject: Subject) -> &'static [&'static str] {
    match subject {
        Subject::Source => &[
            "flows",
            "failed",
            "fwd_bytes",
            "bwd_bytes",
            "peers",
            "ports",
            "services",
            "ends",
            "new_peers",
            "new_services",
            "new_ends",
        ],
        Subject::Destination => &[
            "flows",
            "failed",
            "fwd_bytes",
            "bwd_bytes",
            "peers",
            "ports",
            "services",
            "new_peers",
            "new_services",
            "new_ports",
        ],
        Subject::SourceService => {
            &["flows", "failed", "fwd_bytes", "bwd_bytes", "peers", "ports", "new_peers", "new_ports"]
        }
        Subject::PairService => &["flows", "failed", "fwd_bytes", "bwd_bytes", "active"],
        Subject::DestinationService | Subject::Service => &[],
    }
}

const MICROSECONDS: f64 = 1e6;
const MILLISECONDS: f64 = 1e3;

/// Columns of a row's shape, with their factors.
const SHAPE: [(&str, f64); 28] = [
    ("fwd_packets", 1.0),
    ("bwd_packets", 1.0),
    ("fwd_bytes", 1.0),
    ("bwd_bytes", 1.0),
    ("fwd_len_mean", 1.0),
    ("bwd_len_mean", 1.0),
    ("fwd_len_max", 1.0),
    ("bwd_len_max", 1.0),
    ("fwd_len_std", 1.0),
    ("bwd_len_std", 1.0),
    ("duration_s", MICROSECONDS),
    ("flow_duration_s", MILLISECONDS),
    ("bidir_gap_mean_s", MICROSECONDS),
    ("bidir_gap_std_s", MICROSECONDS),
    ("bidir_gap_max_s", MICROSECONDS),
    ("fwd_gap_mean_s", MICROSECONDS),
    ("bwd_gap_mean_s", MICROSECONDS),
    ("handshake_rtt_s", MICROSECONDS),
    ("fwd_retransmits", 1.0),
    ("fwd_ttl_min", 1.0),
    ("bwd_ttl_min", 1.0),
    ("fwd_rst", 1.0),
    ("bwd_rst", 1.0),
    ("fwd_syn", 1.0),
    ("fwd_psh", 1.0),
    ("fwd_fin", 1.0),
    ("fwd_window_first", 1.0),
    ("bwd_window_first", 1.0),
];

/// Ages: of what, judged against whom.
const AGES: [(&str, Subject); 11] = [
    ("pair", Subject::Source),
    ("pair", Subject::Destination),
    ("pair", Subject::Service),
    ("srcsvc", Subject::Source),
    ("srcsvc", Subject::Service),
    ("dstsvc", Subject::Destination),
    ("dstsvc", Subject::Service),
    ("pairsvc", Subject::SourceService),
    ("pairsvc", Subject::Source),
    ("dst", Subject::SourceService),
    ("src", Subject::DestinationService),
];

/// So many rows alike to one destination and service, and from one source, are nothing odd in a window.
const MANY_RECEIVED: f64 = 16.0;
const MANY_SENT: f64 = 4.0;

/// The judged columns, in order.
pub(super) fn columns() -> &'static [Column] {
    static COLUMNS: LazyLock<Vec<Column>> = LazyLock::new(make);
    &COLUMNS
}

fn make() -> Vec<Column> {
    let mut columns = Vec::new();
    for subject in Subject::ALL {
        for horizon in HORIZONS {
            columns.extend(statistics(subject).iter().filter_map(|name| context(subject, horizon, name)));
        }
    }
    let row = |name: &str, reading, subject: Subject, side, group: &str| Column {
        name: format!("{name}|{}", subject.name()),
        reading,
        judged: Judgement {
            subject,
            side,
            once: false,
            every_window: false,
            goes_on: false,
            since: Since::Start,
        },
        weight: Weight::Whole,
        group: place(group),
    };
    let owner = Subject::SourceService;
    for (name, factor) in SHAPE {
        let side = match name {
            "fwd_retransmits" | "fwd_rst" | "bwd_rst" => Side::Upper,
            _ => Side::Both,
        };
        columns.push(row(name, Reading::Number(name.to_owned(), factor), owner, side, "shape_srcsvc"));
    }
    columns.push(row(RATIO, Reading::Ratio, owner, Side::Both, "shape_srcsvc"));
    columns.push(row(STATE, Reading::State, owner, Side::Both, "shape_srcsvc"));
    for (what, subject) in AGES {
        let name = format!("age_{what}");
        let mut age = row(&name, Reading::Number(name.clone(), 1.0), subject, Side::Lower, "age");
        age.judged.since = Since::Late;
        columns.push(age);
    }
    for (name, subject, factor, side) in [
        ("reg_pairsvc_cv8", Subject::PairService, 1e3, Side::Lower),
        ("reg_pairsvc_gap8", Subject::PairService, MILLISECONDS, Side::Both),
        ("reg_pairsvc_cv16", Subject::PairService, 1e3, Side::Lower),
        ("reg_srcsvc_cv16", Subject::SourceService, 1e3, Side::Lower),
    ] {
        let mut column = row(name, Reading::Number(name.to_owned(), factor), subject, side, "reg");
        if side == Side::Lower {
            let eight = name.ends_with("cv8").then(|| "reg_pairsvc_cv16".to_owned());
            column.weight = Weight::Rhythm { eight };
        }
        columns.push(column);
    }
    let act = format!("ctx_pairsvc_w{}_active", HORIZONS[2]);
    for (name, of) in [
        ("young_pairsvc_cv8", "reg_pairsvc_cv8|pairsvc"),
        ("young_pairsvc_cv16", "reg_pairsvc_cv16|pairsvc"),
        ("young_pairsvc_active", act.as_str()),
    ] {
        let from = columns.iter().position(|column: &Column| column.name == of);
        let from = from.expect("what young columns are made of stands before them");
        let mut young = columns[from].clone();
        young.name = name.to_owned();
        young.group = place("young");
        young.judged.since = Since::Young(from as u8);
        columns.push(young);
    }
    let flows = Reading::Number(format!("ctx_srcsvc_w{}_flows", HORIZONS[0]), 1.0);
    let mut seldom = row("use", flows, owner, Side::Any, "use_src");
    seldom.name = "use_srcsvc".to_owned();
    seldom.judged.once = true;
    columns.push(seldom);
    for (hash, whose) in (0..).zip([Subject::DestinationService, Subject::Service]) {
        columns.push(row(LENGTHS, Reading::Greeting(hash), whose, Side::Seldom, "greet"));
    }
    for (end, many) in [("dst", MANY_RECEIVED), ("src", MANY_SENT)] {
        let name = format!("ctx_{end}shape_w{}_rows", HORIZONS[0]);
        let (reading, side) = (Reading::Number(name.clone(), 1.0), Side::Beyond(bucket(many)));
        columns.push(row(&name, reading, Subject::Service, side, &format!("alike_{end}svc")));
    }
    columns
}

/// A context column of an entity; `None` where it would say nothing.
fn context(subject: Subject, horizon: u32, statistic: &str) -> Option<Column> {
    let entity = subject.name();
    let name = format!("ctx_{entity}_w{horizon}_{statistic}");
    let new = statistic.strip_prefix("new_");
    let family = match statistic {
        "peers" | "ports" | "services" | "ends" => "fan",
        "failed" => "fail",
        "active" if horizon == 1 => return None,
        "active" => "act",
        _ if new.is_some() => "new",
        _ => "vol",
    };
    let now = |entity: &str, statistic: &str| format!("ctx_{entity}_w1_{statistic}");
    let weight = match (subject, new) {
        _ if statistic == "active" => Weight::Whole,
        (_, Some(new)) => {
            // Of new clients each is one: what many bring together, as a flood from forged addresses does, counts for all.
            let is_brought = subject == Subject::Destination && new != "peers";
            let own = is_brought.then(|| now("pair", new));
            Weight::New { age: format!("age_{}", newcomer(subject, new)), own, horizon }
        }
        (Subject::Source | Subject::Destination, None) => {
            let finer = if subject == Subject::Source { "srcsvc" } else { "dstsvc" };
            let own = match statistic {
                "peers" => vec![now(finer, "peers")],
                "ports" if finer == "srcsvc" => vec![now(finer, "ports"), now("pair", "ports")],
                "ports" => vec![now("pair", "ports")],
                "services" => vec![now("pair", "services")],
                "ends" => vec![now(finer, "peers"), now("pair", "ports")],
                sum => vec![now(finer, sum), now("pair", sum)],
            };
            let alike = match statistic {
                _ if subject == Subject::Source => None,
                // A destination is asked for them by pairs.
                "ports" | "services" => None,
                "failed" => Some(Brought::OneEach),
                _ => Some(Brought::AsOthers),
            };
            Weight::Share { own, horizon, failed: statistic == "failed", alike }
        }
        _ => {
            let own = vec![now(entity, statistic)];
            Weight::Share { own, horizon, failed: statistic == "failed", alike: None }
        }
    };
    Some(Column {
        reading: Reading::Number(name.clone(), 1.0),
        name,
        judged: Judgement {
            subject,
            side: Side::Upper,
            once: true,
            every_window: horizon == 1,
            // There are no more windows with a row than the horizon has.
            goes_on: statistic != "active",
            since: if new.is_some() { Since::Late } else { Since::Start },
        },
        weight,
        group: place(&format!("{family}_{entity}")),
    })
}

/// Whose age says that a row is one of the new of an entity.
fn newcomer(subject: Subject, new: &str) -> &'static str {
    match (subject, new) {
        (Subject::Source, "services") => "srcsvc",
        (Subject::Source, "ends") => "pairport",
        (Subject::Destination, "services") => "dstsvc",
        (Subject::Destination, "ports") => "dstport",
        (Subject::SourceService, "peers") => "pairsvc",
        (Subject::SourceService, "ports") => "srcsvcport",
        _ => "pair",
    }
}

/// Names of the columns that context must count for `themes`, each once.
pub(in crate::detect) fn context_columns() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut want = |name: &str| {
        if ["ctx_", "age_", "reg_"].iter().any(|start| name.starts_with(start)) {
            names.push(name.to_owned());
        }
    };
    for column in columns() {
        if let Reading::Number(name, _) = &column.reading {
            want(name);
        }
        match &column.weight {
            // Regularity is read anyway.
            Weight::Whole | Weight::Rhythm { .. } => {}
            Weight::New { age, own, .. } => [age].into_iter().chain(own).for_each(|name| want(name)),
            Weight::Share { own, .. } => own.iter().for_each(|name| want(name)),
        }
    }
    names.extend(ALIKE.map(str::to_owned));
    names.push(FAILED.to_owned());
    names.push(FIRST.to_owned());
    names.push(NEW.to_owned());
    names.extend(leads());
    names.sort_unstable();
    names.dedup();
    names
}

/// The name of the column that is true in one row a window of each entity of a kind; `None` for kinds that have no context
/// columns.
pub(super) fn lead(subject: Subject) -> Option<String> {
    (!statistics(subject).is_empty()).then(|| format!("lead_{}", subject.name()))
}

fn leads() -> impl Iterator<Item = String> {
    Subject::ALL.into_iter().filter_map(lead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::themes::groups::{THEMES, belongs, measure, measure_of_theme, members};

    #[test]
    fn there_are_154_columns_in_23_groups_of_seven_themes() {
        assert_eq!(columns().len(), WIDTH);
        let mut names: Vec<&str> = columns().iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 154);
        for (group, name) in GROUPS.iter().enumerate() {
            assert!(columns().iter().any(|column| column.group == group), "{name}");
            assert!((0..THEMES.len()).any(|theme| belongs(name, theme)), "{name}");
        }
        for (theme, groups) in members().iter().enumerate() {
            let of_theme = |group: &usize| measure(*group) == measure_of_theme(theme);
            assert!(groups.iter().all(of_theme), "{}", THEMES[theme].0);
        }
        let count = |since: fn(&Since) -> bool| columns().iter().filter(|c| since(&c.judged.since)).count();
        assert_eq!(count(|since| *since == Since::Late), 11 + 3 * (3 + 3 + 2));
        assert_eq!(count(|since| matches!(since, Since::Young(_))), 3);
    }

    #[test]
    fn context_columns_are_those_that_are_read_and_those_that_weigh() {
        let names = context_columns();
        for name in
            ["ctx_src_w30_new_ends", "ctx_pair_w1_ports", "age_srcsvcport", "lead_srcsvc", "first_pairsvc"]
        {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
        assert!(
            !names.iter().any(|name| name.contains("packets") || name == "lead_svc" || name == "lead_pair")
        );
    }
}
