//! Reasons as rows carry them, read back: the one reader of what [`Reason::json`](super::Reason::json) writes.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;
use smallvec::SmallVec;

use super::written;

/// How the text begins that stands in the place of a reason where a row is one of many: of how many follows.
pub(crate) const ONE_OF: &str = "{\"one_of\":";

/// A reason as a row's `reasons` say it. What an older or another writer left out is empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Told<'a> {
    /// Of how many odd rows of its window, from its source or to its destination, it is one; all else is empty then.
    pub one_of: Option<u64>,
    /// The score.
    pub score: Option<f64>,
    /// The sum of the parts.
    pub total: Option<f64>,
    /// The row in one line.
    #[serde(borrow)]
    pub line: Cow<'a, str>,
    /// Parts, the strongest first.
    #[serde(borrow)]
    pub parts: Vec<ToldPart<'a>>,
    /// What columns say, the strongest first.
    #[serde(borrow)]
    pub evidence: Vec<ToldEvidence<'a>>,
    /// Techniques whose shape the row has.
    #[serde(borrow)]
    pub hints: Vec<ToldHint<'a>>,
}

/// A part of the total.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ToldPart<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// What it adds, in nats.
    pub nats: f64,
}

/// What a column says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ToldEvidence<'a> {
    /// The column.
    #[serde(borrow)]
    pub column: Cow<'a, str>,
    /// Whom the words are about, or whose past a number of the row is held against: they may be said of several.
    #[serde(borrow)]
    pub entity: Cow<'a, str>,
    /// The tail probability of the value.
    pub p: Option<f64>,
    /// The value beside what is usual, in words.
    #[serde(borrow)]
    pub words: Cow<'a, str>,
}

/// A technique of ATT&CK.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ToldHint<'a> {
    /// Its number.
    #[serde(borrow)]
    pub technique: Cow<'a, str>,
    /// Its name.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
}

/// The gist of a reason: what the strongest column says, and what the row looks like.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Gist<'a> {
    /// Whom the strongest column is about; empty where there is none.
    pub(crate) entity: Cow<'a, str>,
    /// Its words; empty where there is none.
    pub(crate) words: Cow<'a, str>,
    /// Techniques whose shape the row has.
    pub(crate) hints: Vec<ToldHint<'a>>,
}

/// A reason as alerts repeat it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Repeated<'a> {
    /// The sum of the parts.
    pub(crate) total: Option<Nats<'a>>,
    /// Names of parts and what they add, the strongest first.
    pub(crate) parts: SmallVec<[(Cow<'a, str>, Nats<'a>); 6]>,
    /// Of the strongest columns, no more than [`REPEATED`], whom the words are about and the words.
    pub(crate) evidence: SmallVec<[(Cow<'a, str>, Cow<'a, str>); REPEATED]>,
    /// Techniques whose shape the row has.
    pub(crate) hints: Vec<ToldHint<'a>>,
}

/// Columns of a reason that alerts repeat.
pub(super) const REPEATED: usize = 3;

/// Nats as they were read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Nats<'a> {
    /// As JSON has them, a number with a point in the fewest digits.
    Digits(&'a str),
    /// The number.
    Number(f64),
}

impl<'a> Repeated<'a> {
    /// Reads it from a row's `reasons`.
    ///
    /// # Errors
    /// As [`Told::read`].
    pub(crate) fn read(text: &'a str) -> Result<Repeated<'a>, serde_json::Error> {
        if let Some(repeated) = written::repeated(text, REPEATED) {
            return Ok(repeated);
        }
        let Told { total, parts, evidence, hints, .. } = Told::read(text)?;
        Ok(Repeated {
            total: total.map(Nats::Number),
            parts: parts.into_iter().map(|part| (part.name, Nats::Number(part.nats))).collect(),
            evidence: evidence.into_iter().take(REPEATED).map(|said| (said.entity, said.words)).collect(),
            hints,
        })
    }
}

impl<'a> Gist<'a> {
    /// Reads it from a row's `reasons`, and no more of them.
    ///
    /// # Errors
    /// As [`Told::read`].
    pub(crate) fn read(text: &'a str) -> Result<Gist<'a>, serde_json::Error> {
        if text.starts_with(ONE_OF) {
            return Ok(Gist::default());
        }
        if let Some(gist) = written::gist(text) {
            return Ok(gist);
        }
        let Told { evidence, hints, .. } = serde_json::from_str(text)?;
        let first: Option<ToldEvidence<'_>> = evidence.into_iter().next();
        let (entity, words) = first.map_or_else(Default::default, |first| (first.entity, first.words));
        Ok(Gist { entity, words, hints })
    }

    /// What the strongest column says, of whom.
    pub(crate) fn said(&self) -> String {
        // What is compared with all rows of a service or a protocol is said of nobody.
        let is_host =
            |entity: &str| entity.split(' ').next().is_some_and(|one| one.parse::<IpAddr>().is_ok());
        match (&*self.entity, &*self.words) {
            (entity, words) if !words.is_empty() && is_host(entity) => [entity, ": ", words].concat(),
            (_, words) => words.to_owned(),
        }
    }
}

impl<'a> Told<'a> {
    /// Reads a row's `reasons`.
    ///
    /// # Errors
    /// What is wrong with the text, in one line.
    pub fn read(text: &'a str) -> Result<Told<'a>, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl ToldHint<'_> {
    /// Number and name.
    pub fn words(&self) -> String {
        format!("{} {}", self.technique, self.name).trim_end().to_owned()
    }
}
