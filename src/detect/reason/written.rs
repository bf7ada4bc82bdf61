//! What alerts and incidents want of a reason's text, taken from it as it is written here: in one pass, without a copy.
//! They read every reason of a flood.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::told::{Gist, Nats, Repeated, ToldHint};

/// What alerts repeat of a reason, with so many columns: what they do not is passed over. `None` for text of another form,
/// with escapes in it, or of another writer: that is for a reader of JSON.
pub(super) fn repeated(text: &str, columns: usize) -> Option<Repeated<'_>> {
    static HINTS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("],\"hints\":["));
    // Looked for at once: with neither in it, all between two marks is text.
    if text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'\\')) {
        return None;
    }
    let mut rest = Rest(text);
    rest.pass("{\"score\":")?;
    rest.skip(b',')?;
    rest.pass("\"total\":")?;
    let mut repeated = Repeated { total: Some(rest.nats()?), ..Repeated::default() };
    if rest.pass(",\"at_zero\":").is_some() {
        rest.number()?;
    }
    rest.pass(",\"line\":")?;
    rest.text()?;
    rest.pass(",\"parts\":[")?;
    while rest.more()? {
        rest.pass("{\"name\":")?;
        let name = rest.text()?;
        rest.pass(",\"nats\":")?;
        repeated.parts.push((name.into(), rest.nats()?));
        rest.groups()?;
    }
    rest.pass(",\"evidence\":[")?;
    while rest.more()? {
        if repeated.evidence.len() == columns {
            // Texts end at marks, and none has an escape: this is between two of them.
            rest.behind(&HINTS)?;
            repeated.hints = rest.hints()?;
            return Some(repeated);
        }
        rest.pass("{\"column\":")?;
        rest.text()?;
        rest.pass(",\"entity\":")?;
        let entity = rest.text()?;
        rest.pass(",\"value\":")?;
        rest.pair()?;
        rest.pass(",\"usual\":")?;
        rest.pair()?;
        rest.pass(",\"p\":")?;
        rest.skip(b',')?;
        rest.pass("\"nats\":")?;
        rest.skip(b',')?;
        rest.pass("\"words\":")?;
        repeated.evidence.push((entity.into(), rest.text()?.into()));
        rest.pass("}")?;
    }
    rest.pass(",\"hints\":[")?;
    repeated.hints = rest.hints()?;
    Some(repeated)
}

/// What the strongest column says, and the techniques; `None` for texts with escapes, and those that another writer may
/// have written.
pub(super) fn gist(text: &str) -> Option<Gist<'_>> {
    static EVIDENCE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("],\"evidence\":["));
    static ENTITY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(",\"entity\":\""));
    static WORDS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(",\"words\":\""));
    static HINTS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("],\"hints\":["));
    // Without escapes, what has marks in it stands between texts and in none of them.
    if !text.starts_with("{\"score\":") || memchr::memchr(b'\\', text.as_bytes()).is_some() {
        return None;
    }
    let mut rest = Rest(text);
    rest.behind(&EVIDENCE)?;
    let mut gist = Gist::default();
    if rest.more()? {
        rest.behind(&ENTITY)?;
        gist.entity = rest.until(b'"')?.into();
        rest.behind(&WORDS)?;
        gist.words = rest.until(b'"')?.into();
    }
    rest.behind(&HINTS)?;
    gist.hints = rest.hints()?;
    Some(gist)
}

/// Text that was not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn pass(&mut self, expected: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    /// Whether a list goes on; passes the comma or the list's end.
    fn more(&mut self) -> Option<bool> {
        match self.0.as_bytes().first()? {
            b']' => self.pass("]").map(|()| false),
            b',' => self.pass(",").map(|()| true),
            _ => Some(true),
        }
    }

    /// The text between two marks.
    fn text(&mut self) -> Option<&'a str> {
        self.pass("\"")?;
        self.until(b'"')
    }

    /// Passes what is not asked for, up to a mark that is not part of it, and the mark.
    fn skip(&mut self, mark: u8) -> Option<()> {
        self.until(mark).map(drop)
    }

    /// Passes the groups of a part, of which there may be none, and its end.
    fn groups(&mut self) -> Option<()> {
        self.pass(",\"groups\":[")?;
        if self.pass("]}").is_none() {
            self.skip(b']')?;
            self.pass("}")?;
        }
        Some(())
    }

    /// What is before a mark of ASCII, which it passes.
    fn until(&mut self, mark: u8) -> Option<&'a str> {
        let end = memchr::memchr(mark, self.0.as_bytes())?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    /// Goes on behind something that is looked for.
    fn behind(&mut self, what: &Finder<'_>) -> Option<()> {
        let at = what.find(self.0.as_bytes())?;
        self.0 = &self.0[at + what.needle().len()..];
        Some(())
    }

    /// The techniques, with which a reason ends.
    fn hints(&mut self) -> Option<Vec<ToldHint<'a>>> {
        let mut hints = Vec::new();
        while self.more()? {
            self.pass("{\"technique\":")?;
            let technique = self.text()?.into();
            self.pass(",\"name\":")?;
            let hint = ToldHint { technique, name: self.text()?.into() };
            match hints.is_empty() {
                // There is one, or none.
                true => hints = vec![hint],
                false => hints.push(hint),
            }
            self.pass("}")?;
        }
        self.pass("}")?;
        self.0.is_empty().then_some(hints)
    }

    fn number(&mut self) -> Option<f64> {
        let part = |byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e');
        let end = self.0.bytes().position(|byte| !part(byte))?;
        let number = self.0[..end].parse().ok()?;
        self.0 = &self.0[end..];
        Some(number)
    }

    /// A number, as digits where they are what JSON is written with.
    fn nats(&mut self) -> Option<Nats<'a>> {
        match decimal(self.0.as_bytes()) {
            Some(end) => {
                let (digits, rest) = self.0.split_at(end);
                self.0 = rest;
                Some(Nats::Digits(digits))
            }
            None => self.number().map(Nats::Number),
        }
    }

    /// Two numbers or nothing, passed over.
    fn pair(&mut self) -> Option<()> {
        if self.pass("null").is_some() {
            return Some(());
        }
        self.pass("[")?;
        self.skip(b']')
    }
}

/// Where a number at the beginning of a text ends, if it has up to nine digits before its point and up to three behind it,
/// none more than it needs, and an entry or an object ends behind it: so few digits are what any writer makes of what they
/// were read as.
fn decimal(text: &[u8]) -> Option<usize> {
    let digits =
        |from: usize| text[from..].iter().position(|byte| !byte.is_ascii_digit()).map(|count| from + count);
    let point = digits(0)?;
    if !(1..=9).contains(&point) || (point > 1 && text[0] == b'0') || text[point] != b'.' {
        return None;
    }
    let end = digits(point + 1)?;
    let fits = match end - (point + 1) {
        1 => true,
        2 | 3 => text[end - 1] != b'0',
        _ => false,
    };
    (fits && matches!(text[end], b',' | b'}')).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_that_are_repeated_are_those_that_a_serializer_writes(text in "[0-9]{1,10}[.][0-9]{0,4}") {
            let found = decimal([text.as_bytes(), b"}"].concat().as_slice());
            if let Some(end) = found {
                let again = serde_json::to_string(&text.parse::<f64>().unwrap()).unwrap();
                prop_assert_eq!((end, again), (text.len(), text));
            }
        }
    }
}
