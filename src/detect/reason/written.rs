//! A reason's text taken apart as it is written here: in one pass, without a copy. Alerts and incidents read every
//! reason of a flood.

use super::WRITTEN;
use super::told::{Told, ToldEvidence, ToldHint, ToldPart};

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
        rest.pass(",\"groups\":[")?;
        rest.skip(b']')?;
        rest.pass("}")?;
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
    while rest.more()? {
        rest.pass("{\"technique\":")?;
        let technique = rest.text()?.into();
        rest.pass(",\"name\":")?;
        told.hints.push(ToldHint { technique, name: rest.text()?.into() });
        rest.pass("}")?;
    }
    rest.pass("}")?;
    rest.0.is_empty().then_some(told)
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

    /// What is before a mark of ASCII, which it passes.
    fn until(&mut self, mark: u8) -> Option<&'a str> {
        let end = memchr::memchr(mark, self.0.as_bytes())?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    fn number(&mut self) -> Option<f64> {
        let end = self.0.bytes().position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e'))?;
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        few_digits(number).or_else(|| number.parse().ok())
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

/// A number of at most fifteen digits, with a point or without, and perhaps a small power of ten below 1: digits and power
/// are exact, so that their quotient is rounded but once, and is what any reader makes of it. `None` for others.
fn few_digits(number: &str) -> Option<f64> {
    const TENS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    let bytes = number.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b'e').unwrap_or(bytes.len());
    let (digits, power) = bytes.split_at(end);
    let mut after = match power {
        [] | [b'e', b'0'] => 0,
        [b'e', b'-', one @ b'0'..=b'9'] => usize::from(one - b'0'),
        [b'e', b'-', ten @ b'1'..=b'9', one @ b'0'..=b'9'] => usize::from(10 * (ten - b'0') + one - b'0'),
        _ => return None,
    };
    // A point stands between digits.
    if digits.len() > 15 || !digits.first()?.is_ascii_digit() || !digits.last()?.is_ascii_digit() {
        return None;
    }
    let (mut whole, mut point) = (0u64, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                whole = 10 * whole + u64::from(byte - b'0');
                after += usize::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    TENS.get(after).map(|power| whole as f64 / power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_of_few_digits_are_read_as_the_standard_library_does(text in "[0-9.]{1,17}(e-?[0-9]{1,3})?") {
            if let Some(number) = few_digits(&text) {
                prop_assert_eq!(number, text.parse::<f64>().unwrap());
            }
        }
    }

    #[test]
    fn numbers_that_reasons_have_are_of_few_digits() {
        for text in ["0", "7.904", "123456", "1.2e-5", "1.0e0", "9.9e-17"] {
            assert_eq!(few_digits(text), text.parse().ok(), "{text}");
        }
    }
}
