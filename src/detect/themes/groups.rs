//! What judged columns are evidence for: groups of them, themes of groups, what each counts and what says how rare it is.

use std::sync::LazyLock;

/// Kinds of evidence, by what they are about; each group is scored by itself.
pub(in crate::detect) const GROUPS: [&str; 23] = [
    "act_pairsvc",
    "age",
    "alike_dstsvc",
    "alike_srcsvc",
    "fail_dst",
    "fail_pairsvc",
    "fail_src",
    "fail_srcsvc",
    "fan_dst",
    "fan_src",
    "fan_srcsvc",
    "greet",
    "new_dst",
    "new_src",
    "new_srcsvc",
    "reg",
    "shape_srcsvc",
    "use_src",
    "vol_dst",
    "vol_pairsvc",
    "vol_src",
    "vol_srcsvc",
    "young",
];

/// Themes, and the beginnings of the names of their groups.
pub(super) const THEMES: [(&str, &[&str]); 7] = [
    ("persistence", &["reg", "act_pairsvc", "age", "young"]),
    ("volume", &["vol_"]),
    ("fan-out", &["fan_", "new_", "fail_"]),
    ("shape", &["shape_"]),
    ("novelty", &["age", "new_", "use_"]),
    ("greeting", &["greet"]),
    ("repetition", &["alike_"]),
];

/// What each theme counts in the sum: how a conversation begins is one thing that is said of it, and counts half. A weight of
/// its group would not do, since a theme is as much as it is rare, whatever is in it.
pub(super) const COUNTS: [f64; THEMES.len()] = [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 1.0];

/// Whether a group is evidence for a theme.
pub(super) fn belongs(group: &str, theme: usize) -> bool {
    THEMES[theme].1.iter().any(|start| group.starts_with(start))
}

/// Which calibration rows say how rare a surprise is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Measure {
    /// All.
    All,
    /// Those in which it is any surprise, of what is said once in the life of a flow, as nearly all greetings are a little:
    /// where flows are long, that one begins would be odd by itself.
    Surprised,
    /// None: it counts as it is. Where hardly any row repeats more than ever, among those rows a little would be as rare as a
    /// flood.
    None,
}

/// How what a group says is measured.
pub(super) fn measure(group: usize) -> Measure {
    static MEASURES: LazyLock<[Measure; GROUPS.len()]> = LazyLock::new(|| {
        GROUPS.map(|group| match group {
            "greet" => Measure::Surprised,
            _ if group.starts_with("alike_") => Measure::None,
            _ => Measure::All,
        })
    });
    MEASURES[group]
}

/// How what a theme says is measured: as its groups are, which are all measured alike.
pub(super) fn measure_of_theme(theme: usize) -> Measure {
    measure(members()[theme][0])
}

/// The groups that are evidence for each theme, as places in [`GROUPS`].
pub(super) fn members() -> &'static [Vec<usize>; THEMES.len()] {
    static MEMBERS: LazyLock<[Vec<usize>; THEMES.len()]> = LazyLock::new(|| {
        let member = |theme| (0..GROUPS.len()).filter(move |group| belongs(GROUPS[*group], theme));
        std::array::from_fn(|theme| member(theme).collect())
    });
    &MEMBERS
}

/// [`weight`] of each group.
pub(super) fn weights() -> &'static [f64; GROUPS.len()] {
    static WEIGHTS: LazyLock<[f64; GROUPS.len()]> = LazyLock::new(|| GROUPS.map(weight));
    &WEIGHTS
}

/// What a group weighs in a theme: evidence about a host is less about a row.
fn weight(group: &str) -> f64 {
    if group.ends_with("_src") || group.ends_with("_dst") { 0.5 } else { 1.0 }
}

/// The place of a group.
pub(super) fn place(group: &str) -> usize {
    GROUPS.iter().position(|known| *known == group).expect("every column has a group")
}
