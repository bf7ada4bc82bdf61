//! A reason's text taken apart as it is written here: in one pass, without a copy. Alerts and incidents read every
//! reason of a flood.

use super::told::{Told, ToldEvidence, ToldHint, ToldPart};

/// `None` for text of another form, with escapes in it, or of another writer: that is for a reader of JSON.
pub(super) fn read(text: &str) -> Option<Told<'_>> {
    // Looked for at once: with neither in it, all between two marks is text.
    if text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'\\')) {
        return None;
    }
    let mut rest = Rest(text);
    let mut told = Told::default();
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
        rest.skip(']')?;
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
        rest.skip(',')?;
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
        let (text, rest) = self.0.split_once('"')?;
        self.0 = rest;
        Some(text)
    }

    /// Passes what is not asked for, up to a mark that is not part of it, and the mark.
    fn skip(&mut self, mark: char) -> Option<()> {
        self.0 = self.0.split_once(mark)?.1;
        Some(())
    }

    fn number(&mut self) -> Option<f64> {
        let end = self.0.bytes().position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e'))?;
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        number.parse().ok()
    }

    /// Two numbers or nothing, passed over.
    fn pair(&mut self) -> Option<()> {
        if self.pass("null").is_some() {
            return Some(());
        }
        self.pass("[")?;
        self.skip(']')
    }
}
