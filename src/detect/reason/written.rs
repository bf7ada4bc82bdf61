//! A reason's text taken apart as it is written here: in one pass, without a copy. Alerts and incidents read every
//! reason of a flood.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::WRITTEN;
use super::told::{Gist, Nats, Repeated, Told, ToldEvidence, ToldHint, ToldPart};

/// `None` for text of another form, with escapes in it, or of another writer: that is for a reader of JSON.
pub(super) fn read(text: &str) -> Option<Told<'_>> {
    // Looked for at once: with neither in it, all between two marks is text.
    if text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'\\')) {
        return None;
    }
    let mut rest = Rest(text);
    // The five themes and what lasts; columns that are written.
    let mut told =
        Told { parts: Vec::with_capacity(6), evidence: Vec::with_capacity(WRITTEN), ..Told::default() };
    rest.pass("{\"score\":")?;
    told.score = Some(rest.number()?);
    rest.pass(",\"total\":")?;
    told.total = Some(rest.number()?);
    if rest.pass(",\"at_zero\":").is_some() {
        rest.number()?;
    }
    rest.pass(",\"line\":")?;
    told.line = rest.text()?.into();
    rest.pass(",\"parts\":[")?;
    while rest.more()? {
        rest.pass("{\"name\":")?;
        let name = rest.text()?.into();
        rest.pass(",\"nats\":")?;
        told.parts.push(ToldPart { name, nats: rest.number()? });
        rest.groups()?;
    }
    rest.pass(",\"evidence\":[")?;
    while rest.more()? {
        let mut said = ToldEvidence::default();
        rest.pass("{\"column\":")?;
        said.column = rest.text()?.into();
        rest.pass(",\"entity\":")?;
        said.entity = rest.text()?.into();
        rest.pass(",\"value\":")?;
        rest.pair()?;
        rest.pass(",\"usual\":")?;
        rest.pair()?;
        rest.pass(",\"p\":")?;
        said.p = if rest.pass("null").is_some() { None } else { Some(rest.number()?) };
        rest.pass(",\"nats\":")?;
        rest.skip(b',')?;
        rest.pass("\"words\":")?;
        said.words = rest.text()?.into();
        rest.pass("}")?;
        told.evidence.push(said);
    }
    rest.pass(",\"hints\":[")?;
    told.hints = rest.hints()?;
    Some(told)
}

/// The same as alerts repeat it, with so many columns: what they do not is passed over.
pub(super) fn repeated(text: &str, columns: usize) -> Option<Repeated<'_>> {
    static HINTS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("],\"hints\":["));
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

    /// Passes the groups of a part, of which there are none in brief, and its end.
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
        let (number, end) = match few_digits(self.0.as_bytes()) {
            Some((number, end)) => (number, end),
            None => {
                let part = |byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e');
                let end = self.0.bytes().position(|byte| !part(byte))?;
                (self.0[..end].parse().ok()?, end)
            }
        };
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

/// A number at the beginning of a text and where it ends, if it has at most fifteen digits, with a point or without, and
/// perhaps a small power of ten below 1, and an entry or an object ends behind it: digits and power are exact, so that their
/// quotient is rounded but once, and is what any reader makes of it. `None` for others.
fn few_digits(text: &[u8]) -> Option<(f64, usize)> {
    const TENS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    // What it is too long for does not come back.
    let mut number = 0u64;
    let mut digits = |from: usize| {
        let mut at = from;
        loop {
            let digit = text.get(at)?.wrapping_sub(b'0');
            if digit > 9 {
                return Some(at);
            }
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
    };
    let mut at = digits(0)?;
    let (mut count, mut after) = (at, 0);
    // A point stands between digits.
    if count > 0 && text[at] == b'.' {
        let end = digits(at + 1)?;
        after = end - (at + 1);
        if after == 0 {
            return None;
        }
        (at, count) = (end, count + after);
    }
    if text[at] == b'e' {
        let down = text.get(at + 1) == Some(&b'-');
        at += 1 + usize::from(down);
        let digit = |at: usize| {
            text.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| usize::from(byte - b'0'))
        };
        let mut power = digit(at)?;
        at += 1;
        if let Some(one) = digit(at).filter(|_| power > 0) {
            power = 10 * power + one;
            at += 1;
        }
        if power > 0 && !down {
            return None;
        }
        after += power;
    }
    if count == 0 || count > 15 || !matches!(text.get(at)?, b',' | b'}' | b']') {
        return None;
    }
    TENS.get(after).map(|power| (number as f64 / power, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_of_few_digits_are_read_as_the_standard_library_does(
            text in "[0-9.]{1,17}(e-?[0-9]{1,3})?[-+e.]?,?",
        ) {
            if let Some((number, end)) = few_digits(text.as_bytes()) {
                prop_assert_eq!(&text[end..], ",");
                prop_assert_eq!(number, text[..end].parse::<f64>().unwrap());
            }
        }
    }

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

    #[test]
    fn numbers_that_reasons_have_are_of_few_digits() {
        for text in ["0", "7.904", "123456", "1.2e-5", "1.0e0", "9.9e-17"] {
            let found = few_digits(&[text.as_bytes(), b"}"].concat());
            assert_eq!(found, text.parse().ok().map(|number| (number, text.len())), "{text}");
            assert_eq!(few_digits(text.as_bytes()), None, "{text}");
        }
    }
}
