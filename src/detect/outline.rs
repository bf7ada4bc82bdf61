//! What a detector is, for people: titles, fields and lists, set as text by whoever shows them.

use super::reason::digits;

/// A line of an outline. Names and texts of files and rows may stand in them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// Begins a section.
    Title(String),
    /// A label and its value.
    Field(String, String),
    /// A label and a list of names, which may be cut short.
    Names(String, Vec<String>),
    /// Text, set as it is.
    Text(String),
}

/// A count with its thousands apart.
pub(crate) fn grouped(count: u64) -> String {
    let mut text = String::with_capacity(26);
    digits::grouped(&mut text, count);
    text
}

/// A share in percent, without the digits that binary fractions add.
pub(crate) fn percent(share: f64) -> String {
    let text = format!("{:.6}", 100.0 * share);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
