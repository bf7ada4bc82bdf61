//! Why a row scores as it does, the same noun for every detector: parts that add up, their groups, the columns that
//! speak, in words; and a technique that it looks like.
//!
//! | detector | total | score |
//! |---|---|---|
//! | `themes` | the row's own score, told on to its themes by their tails, and what lasts, in nats | the tail of the total among calibration rows |
//! | `sum`, `forest` over surprises | the score | the tail of the sum, or of the forest's score |
//! | `ensemble` | the tails of its members, in nats | the tail of the total among calibration rows |
//! | `forest` | `ln 2 (base - E[h]) / c(n)`: how much shorter than at the roots paths are, in nats of score | `at_zero` times e^total |
//!
//! - [`digits`]: numbers; [`amount`]: with their units. [`phrase`]: columns in words, by what their names say;
//!   [`meaning`]: which say the same. [`line`]: a row in one line.
//! - [`hints`]: the table of shapes that have a technique in MITRE ATT&CK. [`facts`]: what they are judged by.
//! - [`plain`]: texts that need no escapes. [`vocabulary`]: what names of columns say, each looked at once.
//! - [`told`]: what was written of a reason, read back; [`written`]: what alerts and incidents want of it, in one pass.

mod amount;
pub(crate) mod digits;
pub(super) mod facts;
pub(super) mod hints;
pub(super) mod line;
pub(super) mod meaning;
pub(super) mod phrase;
pub(crate) mod plain;
mod told;
pub(super) mod vocabulary;
mod written;

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use self::amount::decimal;
use self::digits::{scientific, whole};
pub use self::hints::Hint;
use self::phrase::Phrase;
use self::plain::is_plain;
pub(crate) use self::told::{Gist, Nats, ONE_OF, Repeated};
pub use self::told::{Told, ToldEvidence, ToldHint, ToldPart};
use self::vocabulary::Vocabulary;

/// Columns that are written of a reason.
pub(super) const WRITTEN: usize = 5;
/// Groups that are written of a part.
const GROUPS: usize = 3;

/// Why a row scores as it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// The score.
    pub score: f64,
    /// What the score is a function of (see the table of this page): the sum of its parts.
    pub total: f64,
    /// The score that a total of 0 has, where the detector knows one: `forest` does.
    pub at_zero: Option<f64>,
    /// Parts, the strongest first.
    pub parts: Vec<Part>,
    /// What columns say, the strongest first; like columns speak once. Those that are not written may be left out.
    pub evidence: Vec<Evidence>,
    /// How many of the first of them are written, at most.
    pub written: usize,
    /// The row in one line, empty before it is told.
    pub line: String,
    /// Techniques whose shape the row has.
    pub hints: Vec<Hint>,
}

/// A part of a reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// What it adds to the total, in nats.
    pub nats: f64,
    /// Its groups, the strongest first.
    pub groups: Vec<Group>,
}

/// A group of like columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name: what, of whom.
    pub name: &'static str,
    /// What it counts in the part, in nats.
    pub nats: f64,
    /// How much of the total is its, 0 to 1.
    pub share: f64,
}

/// A column's value beside what is usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The column.
    pub column: Cow<'static, str>,
    /// Whom the words are about, of a number of the row itself whose past it is held against; empty for what is too weak
    /// to be written.
    pub entity: String,
    /// The row's value, in the column's unit; `None` for text.
    pub value: Option<f64>,
    /// Text of a column of texts.
    pub text: Option<String>,
    /// What is usual, where the detector knows.
    pub usual: Option<Usual>,
    /// The tail probability of the value in the entity's past, where the detector knows; it may be left out where the
    /// entity is and what is usual is known.
    pub p: Option<f64>,
    /// How surprising the value is, in nats: for `themes` -ln p times the part of it that is the row's own, for
    /// `forest` what the column adds to the total.
    pub nats: f64,
    /// How much of the total is of this and like columns, 0 to 1.
    pub share: f64,
}

/// What is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// The median.
    pub median: f64,
    /// What one in a hundred exceeds or, for values below the median, falls below.
    pub extreme: f64,
    /// Whether the extreme is the lower one.
    pub low: bool,
    /// Whether it is the entity's own past, or that of those who share its service.
    pub own: bool,
}

impl Evidence {
    /// The value beside what is usual, in words: `41 peers in 10 s; usual 3, p99 6`. Windows are so many nanoseconds
    /// long, if they are.
    pub fn words(&self, window: Option<u64>) -> String {
        let mut out = String::new();
        Phrase::of(&self.column).tell(&mut out, self, window);
        out
    }
}

/// What is written of a reason's evidence, in words, with room for it from reason to reason.
#[derive(Default)]
pub(super) struct Words {
    text: String,
    /// Where the words of each column end.
    ends: SmallVec<[usize; WRITTEN]>,
}

impl Words {
    /// Finds the words of a reason.
    pub(super) fn find(&mut self, reason: &Reason, window: Option<u64>, vocabulary: &mut Vocabulary) {
        self.text.clear();
        self.ends.clear();
        for evidence in reason.evidence.iter().take(reason.written.min(WRITTEN)) {
            vocabulary.of(&evidence.column).phrase.tell(&mut self.text, evidence, window);
            self.ends.push(self.text.len());
        }
    }

    /// The words of each column.
    fn each(&self) -> impl Iterator<Item = &str> {
        let from = [0].into_iter().chain(self.ends.iter().copied());
        from.zip(&self.ends).map(|(from, end)| &self.text[from..*end])
    }

    /// Those of the strongest column; empty where there is none.
    pub(super) fn first(&self) -> &str {
        self.each().next().unwrap_or_default()
    }
}

impl Reason {
    /// The share of the total that is of these groups, 0 to 1.
    pub(crate) fn share(&self, groups: &[&str]) -> f64 {
        // A group of two parts stands in both.
        let all = self.parts.iter().flat_map(|part| &part.groups);
        all.filter(|group| groups.contains(&group.name)).map(|group| group.share).sum()
    }

    /// Adds what lasts, in nats, and the score that both have together. The parts are then those of the row's own
    /// score.
    pub(super) fn last(&mut self, (own, level): (f64, f64), score: f64) {
        let of_own = own / self.total.max(f64::MIN_POSITIVE);
        let total = own + level;
        let of_total = own / total.max(f64::MIN_POSITIVE);
        for part in &mut self.parts {
            part.nats *= of_own;
            part.groups.iter_mut().for_each(|group| group.share *= of_total);
        }
        self.evidence.iter_mut().for_each(|evidence| evidence.share *= of_total);
        self.parts.push(Part { name: "lasting", nats: level, groups: Vec::new() });
        (self.score, self.total) = (score, total);
        self.parts.sort_by(|a, b| b.nats.total_cmp(&a.nats).then_with(|| a.name.cmp(b.name)));
    }

    /// Parts and their groups, the strongest first, and in the same order where they are equal.
    pub(super) fn order_parts(&mut self) {
        for part in &mut self.parts {
            part.groups.sort_by(|a, b| b.nats.total_cmp(&a.nats).then_with(|| a.name.cmp(b.name)));
        }
        self.parts.sort_by(|a, b| b.nats.total_cmp(&a.nats).then_with(|| a.name.cmp(b.name)));
    }

    /// The same, and evidence by a strength.
    pub(super) fn order(&mut self, strength: impl Fn(&Evidence) -> f64) {
        self.order_parts();
        self.evidence
            .sort_by(|a, b| strength(b).total_cmp(&strength(a)).then_with(|| a.column.cmp(&b.column)));
    }

    /// One object of JSON, the same bytes for the same reason. Nats are rounded to thousandths, and the total is the
    /// sum of the parts as they are written; `usual` is `[median, p99]`, for values below the median
    /// `[median, p1]`, null for an entity without a past of its own. At most five columns and three groups of a part.
    pub fn json(&self, window: Option<u64>) -> String {
        let (mut out, mut words) = (String::new(), Words::default());
        words.find(self, window, &mut Vocabulary::default());
        self.tell(&mut out, &words);
        out
    }

    /// Appends the same as [`Reason::json`], with these words.
    pub(super) fn tell(&self, out: &mut String, words: &Words) {
        out.push_str("{\"score\":");
        decimal(out, self.score, 4);
        out.push_str(",\"total\":");
        thousandths(out, self.parts.iter().map(|part| whole_thousandths(part.nats)).sum());
        if let Some(at_zero) = self.at_zero {
            out.push_str(",\"at_zero\":");
            decimal(out, at_zero, 4);
        }
        out.push_str(",\"line\":");
        text(out, &self.line);
        out.push_str(",\"parts\":[");
        for (at, part) in self.parts.iter().enumerate() {
            named(out, at, [part.name].into_iter());
            thousandths(out, whole_thousandths(part.nats));
            out.push_str(",\"groups\":[");
            let groups = part.groups.iter().filter(|group| group.nats >= 0.001).take(GROUPS);
            for (at, group) in groups.enumerate() {
                named(out, at, group.name.split('_'));
                thousandths(out, whole_thousandths(group.nats));
                out.push('}');
            }
            out.push_str("]}");
        }
        out.push_str("],\"evidence\":[");
        for (at, (evidence, words)) in self.evidence.iter().zip(words.each()).enumerate() {
            out.push_str(if at == 0 { "{\"column\":" } else { ",{\"column\":" });
            text(out, &evidence.column);
            out.push_str(",\"entity\":");
            text(out, &evidence.entity);
            out.push_str(",\"value\":");
            pair(out, evidence.value.map(|value| (value, value)));
            out.push_str(",\"usual\":");
            let usual = evidence.usual.filter(|usual| usual.own);
            pair(out, usual.map(|usual| (usual.median, usual.extreme)));
            out.push_str(",\"p\":");
            match evidence.p.filter(|p| p.is_finite()) {
                Some(p) => scientific(out, p),
                None => out.push_str("null"),
            }
            out.push_str(",\"nats\":");
            thousandths(out, whole_thousandths(evidence.nats));
            out.push_str(",\"words\":");
            text(out, words);
            out.push('}');
        }
        out.push_str("],\"hints\":[");
        for (at, hint) in self.hints.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            out.extend([comma, "{\"technique\":\"", hint.technique, "\",\"name\":\"", hint.name, "\"}"]);
        }
        out.push_str("]}");
    }
}

/// Begins an entry of a list: its name, of some words, before its nats.
fn named<'a>(out: &mut String, at: usize, words: impl Iterator<Item = &'a str>) {
    out.push_str(if at == 0 { "{\"name\":\"" } else { ",{\"name\":\"" });
    for (at, word) in words.enumerate() {
        if at > 0 {
            out.push(' ');
        }
        out.push_str(word);
    }
    out.push_str("\",\"nats\":");
}

/// Two numbers in a list, or nothing.
fn pair(out: &mut String, numbers: Option<(f64, f64)>) {
    let Some((first, second)) = numbers else { return out.push_str("null") };
    out.push('[');
    let from = out.len();
    decimal(out, first, 6);
    let end = out.len();
    out.push(',');
    match first.to_bits() == second.to_bits() {
        true => out.extend_from_within(from..end),
        false => decimal(out, second, 6),
    }
    out.push(']');
}

/// Thousandths of nats, halves away from 0.
fn whole_thousandths(nats: f64) -> i64 {
    // As `round` does, without a call.
    let thousandths = nats * 1000.0;
    let whole = thousandths as i64;
    let rest = thousandths - whole as f64;
    whole.saturating_add(i64::from(rest >= 0.5) - i64::from(rest <= -0.5))
}

fn thousandths(out: &mut String, thousandths: i64) {
    if thousandths < 0 {
        out.push('-');
    }
    let (ones, rest) = (thousandths.unsigned_abs() / 1000, thousandths.unsigned_abs() % 1000);
    whole(out, ones);
    let digit = |value: u64| char::from(b'0' + (value % 10) as u8);
    if rest > 0 {
        out.push('.');
        out.push(digit(rest / 100));
        if rest % 100 > 0 {
            out.push(digit(rest / 10));
        }
        if rest % 10 > 0 {
            out.push(digit(rest));
        }
    }
}

/// A string of JSON.
fn text(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

impl fmt::Display for Reason {
    /// The row's line; before it is told, the strongest part and column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.line.is_empty() {
            return f.write_str(&self.line);
        }
        let Some(part) = self.parts.first() else { return f.write_str("nothing") };
        f.write_str(part.name)?;
        match self.evidence.first() {
            Some(evidence) => write!(f, ": {}: {}", evidence.entity, evidence.words(None)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::told::REPEATED;
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn reason(nats: &[f64], text: &str) -> Reason {
        let evidence = |share: f64| Evidence {
            column: "ctx_src_w1_peers".into(),
            entity: text.to_owned(),
            value: Some(41.0),
            text: None,
            usual: Some(Usual { median: 3.0, extreme: 6.0, low: false, own: true }),
            p: Some(1.234e-5),
            nats: 11.3,
            share,
        };
        let group = |share: f64| Group { name: "fan_src", nats: 6.1, share };
        let part = |nats: &f64| Part { name: "fan-out", nats: *nats, groups: vec![group(0.5); 4] };
        Reason {
            score: 7.9,
            total: nats.iter().sum(),
            at_zero: None,
            parts: nats.iter().map(part).collect(),
            evidence: (0..7).map(|n| evidence(0.1 * f64::from(n))).collect(),
            written: WRITTEN,
            line: text.to_owned(),
            hints: vec![Hint { technique: "T1046", name: "Network Service Discovery" }],
        }
    }

    #[test]
    fn a_reason_is_the_json_that_is_agreed_on() {
        let json: Value =
            serde_json::from_str(&reason(&[11.0, 6.25], "10.1.2.3").json(Some(10_000_000_000))).unwrap();
        assert_eq!(json["score"], 7.9);
        assert_eq!(json["total"], 17.25);
        assert_eq!(json["parts"][0]["groups"][0], serde_json::json!({"name": "fan src", "nats": 6.1}));
        assert_eq!(json["parts"][0]["groups"].as_array().unwrap().len(), 3);
        assert_eq!(json["evidence"].as_array().unwrap().len(), 5);
        let evidence = &json["evidence"][0];
        assert_eq!(evidence["value"], serde_json::json!([41, 41]));
        assert_eq!(evidence["usual"], serde_json::json!([3, 6]));
        assert_eq!(evidence["p"], 1.2e-5);
        assert_eq!(evidence["words"], "41 peers in 10 s; usual 3, p99 6");
        assert_eq!(json["hints"][0]["technique"], "T1046");
    }

    #[test]
    fn what_is_written_is_read_back_and_less_is_enough() {
        let reason = reason(&[11.0, 6.25], "10.1.2.3 \"x\"");
        let text = reason.json(Some(10_000_000_000));
        let told = Told::read(&text).unwrap();
        assert_eq!((told.score, told.total), (Some(7.9), Some(17.25)));
        assert_eq!(told.line, reason.line);
        let parts: Vec<(&str, f64)> = told.parts.iter().map(|part| (&*part.name, part.nats)).collect();
        assert_eq!(parts, [("fan-out", 11.0), ("fan-out", 6.25)]);
        let first = &told.evidence[0];
        assert_eq!((&*first.column, &*first.entity), ("ctx_src_w1_peers", "10.1.2.3 \"x\""));
        assert_eq!((&*first.words, first.p), ("41 peers in 10 s; usual 3, p99 6", Some(1.2e-5)));
        assert_eq!((&*told.hints[0].technique, told.hints.len()), ("T1046", 1));
        assert_eq!(Told::read("{}").unwrap(), Told::default());
        let one = format!("{ONE_OF}5012}}");
        assert_eq!(Told::read(&one).unwrap(), Told { one_of: Some(5012), ..Told::default() });
        assert_eq!((Gist::read(&one).unwrap(), Repeated::read(&one).unwrap()), Default::default());
        assert!(Told::read("7").is_err() && Told::read("{\"parts\":[{}]}").is_err());
    }

    proptest! {
        #[test]
        fn written_parts_add_up_and_any_text_is_json(
            nats in prop::collection::vec(-50.0..50.0f64, 0..6), text in ".*",
        ) {
            let reason = reason(&nats, &text);
            let json: Value = serde_json::from_str(&reason.json(None)).unwrap();
            let sum: f64 = json["parts"].as_array().unwrap().iter().map(|part| part["nats"].as_f64().unwrap()).sum();
            prop_assert!((sum - json["total"].as_f64().unwrap()).abs() < 1e-9);
            prop_assert!((sum - reason.total).abs() <= 0.0005 * nats.len() as f64 + 1e-9);
            prop_assert_eq!(json["line"].as_str(), Some(text.as_str()));
            let json = reason.json(None);
            let told = Told::read(&json).unwrap();
            prop_assert_eq!((&*told.line, told.hints.len()), (text.as_str(), 1));
            let (repeated, gist) = (written::repeated(&json, REPEATED), written::gist(&json));
            let (Some(repeated), Some(gist)) = (repeated, gist) else {
                prop_assert!(json.contains('\\'), "{json}");
                return Ok(());
            };
            let number = |nats: Nats<'_>| match nats {
                Nats::Digits(digits) => digits.parse().unwrap(),
                Nats::Number(number) => number,
            };
            prop_assert_eq!(repeated.total.map(number), told.total);
            let parts = repeated.parts.into_iter().map(|(name, nats)| ToldPart { name, nats: number(nats) });
            prop_assert_eq!(parts.collect::<Vec<_>>(), told.parts);
            let said = |said: &ToldEvidence<'_>| (said.entity.to_string(), said.words.to_string());
            let told_of: Vec<_> = told.evidence.iter().map(said).collect();
            let of = |(entity, words): (Cow<'_, str>, Cow<'_, str>)| (entity.into_owned(), words.into_owned());
            let repeats: Vec<_> = repeated.evidence.into_iter().map(of).collect();
            prop_assert_eq!(&repeats[..], &told_of[..told_of.len().min(REPEATED)]);
            prop_assert_eq!(of((gist.entity, gist.words)), told_of[0].clone());
            prop_assert_eq!((&repeated.hints, &gist.hints), (&told.hints, &told.hints));
            // Cut off, it is none.
            let cut = json.char_indices().nth(json.chars().count() * 2 / 3).unwrap().0;
            prop_assert_eq!(written::repeated(&json[..cut], REPEATED), None);
            prop_assert_eq!(written::gist(&json[..cut]), None);
        }
    }
}
