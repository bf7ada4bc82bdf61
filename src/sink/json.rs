//! JSON by hand, for lines that are written by the thousand.

use std::borrow::Cow;

use crate::detect::reason::Nats;
use crate::detect::reason::digits::pair;
use crate::detect::reason::plain::is_plain;

/// A key of our own, which needs no escapes, as it stands behind another entry: put together when it is compiled, it is
/// written at once.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}
pub(super) use key;

/// A text, or a piece of one.
#[derive(Clone, Copy)]
pub(super) enum Text<'a> {
    /// Needs no escapes.
    Plain(&'a str),
    /// Whatever it is.
    Any(&'a str),
}

impl<'a> Text<'a> {
    /// What was read from JSON: had it needed escapes, it would not stand there as it is, and were no part of that text.
    #[expect(clippy::ptr_arg, reason = "whether it is borrowed says whether it needs escapes")]
    pub(super) fn read(text: &'a Cow<'_, str>) -> Text<'a> {
        match text {
            Cow::Borrowed(text) => Text::Plain(text),
            Cow::Owned(text) => Text::Any(text),
        }
    }
}

/// A line of JSON as it grows: thousands of events of floods are worth more than a serializer's way. Keys are those of
/// [`key!`].
pub(super) struct Json<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Json<'a> {
    /// Goes on where a line ends.
    pub(super) fn on(out: &'a mut Vec<u8>) -> Json<'a> {
        Json { out }
    }

    #[inline]
    pub(super) fn open(&mut self) {
        self.out.push(b'{');
    }

    #[inline]
    pub(super) fn close(&mut self) {
        self.out.push(b'}');
    }

    /// Whether something stands before that a comma must part from what comes.
    #[inline]
    fn goes_on(&self) -> bool {
        !matches!(self.out.last(), None | Some(b'{' | b'['))
    }

    /// A comma where something stands before.
    #[inline]
    pub(super) fn comma(&mut self) {
        if self.goes_on() {
            self.out.push(b',');
        }
    }

    // Both ways the length is known where this is put in its place, and nothing is called to copy so few bytes.
    #[inline(always)]
    pub(super) fn key(&mut self, key: &'static [u8]) {
        match self.goes_on() {
            true => self.out.extend_from_slice(key),
            false => self.out.extend_from_slice(&key[1..]),
        }
    }

    #[inline(always)]
    pub(super) fn text(&mut self, key: &'static [u8], text: &str) {
        self.key(key);
        self.quoted(&[Text::Any(text)]);
    }

    /// A text of our own, which needs no escapes.
    #[inline(always)]
    pub(super) fn plain(&mut self, key: &'static [u8], text: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(text);
        self.out.push(b'"');
    }

    /// A text that was read from JSON.
    #[expect(clippy::ptr_arg, reason = "whether it is borrowed says whether it needs escapes")]
    #[inline(always)]
    pub(super) fn read(&mut self, key: &'static [u8], text: &Cow<'_, str>) {
        self.key(key);
        self.quoted(&[Text::read(text)]);
    }

    #[inline(always)]
    pub(super) fn whole(&mut self, key: &'static [u8], value: u64) {
        self.key(key);
        self.digits(value);
    }

    /// All 64 bits of a number as text, which readers that take numbers for doubles leave whole.
    #[inline(always)]
    pub(super) fn whole_as_text(&mut self, key: &'static [u8], value: u64) {
        self.key(key);
        self.out.push(b'"');
        self.digits(value);
        self.out.push(b'"');
    }

    #[inline(always)]
    pub(super) fn number(&mut self, key: &'static [u8], value: f64) {
        self.key(key);
        self.double(value);
    }

    /// A number that was read from JSON.
    #[inline(always)]
    pub(super) fn nats(&mut self, key: &'static [u8], nats: Nats<'_>) {
        self.key(key);
        match nats {
            Nats::Digits(digits) => self.out.extend_from_slice(digits.as_bytes()),
            Nats::Number(value) => self.double(value),
        }
    }

    fn double(&mut self, value: f64) {
        // Rounded in steps that need no call; halves fall to either side, as thousandths are none.
        let thousandths = (value.abs() * 1000.0 + 0.5) as u64;
        // No number with fewer digits is nearest to the same value: so few are the ones that a serializer writes.
        if thousandths < 1_000_000_000_000 && thousandths as f64 / 1000.0 == value.abs() {
            if value.is_sign_negative() {
                self.out.push(b'-');
            }
            self.digits(thousandths / 1000);
            let rest = (thousandths % 1000) as u32;
            self.out.extend_from_slice(&[b'.', b'0' + (rest / 100) as u8]);
            if !rest.is_multiple_of(100) {
                let [tenths, last] = pair(rest % 100);
                self.out.push(tenths);
                if last > b'0' {
                    self.out.push(last);
                }
            }
        } else {
            serde_json::to_writer(&mut *self.out, &value).expect("a number is JSON, and memory takes it");
        }
    }

    /// Entries that are written already.
    pub(super) fn piece(&mut self, entries: &[u8]) {
        self.comma();
        self.out.extend_from_slice(entries);
    }

    #[inline(always)]
    pub(super) fn list(&mut self, items: impl FnOnce(&mut Self)) {
        self.out.push(b'[');
        items(self);
        self.out.push(b']');
    }

    /// A list of one text.
    pub(super) fn one_item(&mut self, key: &'static [u8], text: Text<'_>) {
        self.key(key);
        self.list(|json| json.item(&[text]));
    }

    /// An item of a list, of pieces.
    pub(super) fn item(&mut self, pieces: &[Text<'_>]) {
        self.comma();
        self.quoted(pieces);
    }

    pub(super) fn whole_item(&mut self, value: u64) {
        self.comma();
        self.digits(value);
    }

    fn digits(&mut self, value: u64) {
        match value {
            // Most are, and need no call.
            0..10 => self.out.push(b'0' + value as u8),
            _ => self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    fn quoted(&mut self, pieces: &[Text<'_>]) {
        self.out.push(b'"');
        for piece in pieces {
            match *piece {
                Text::Any(piece) if !is_plain(piece) => {
                    let at = self.out.len();
                    serde_json::to_writer(&mut *self.out, piece).expect("text is JSON, and memory takes it");
                    // Without the marks around it.
                    self.out.remove(at);
                    self.out.pop();
                }
                Text::Any(piece) | Text::Plain(piece) => self.out.extend_from_slice(piece.as_bytes()),
            }
        }
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn texts_and_numbers_are_as_others_write_them(
            texts in prop::collection::vec(any::<String>(), 1..4), number: u64,
            bits in any::<f64>().prop_filter("numbers of JSON are finite", |bits| bits.is_finite()),
            thousandths in -100_000_000i64..100_000_000,
        ) {
            let pieces: Vec<Text<'_>> = texts.iter().map(|text| Text::Any(text)).collect();
            let mut out = Vec::new();
            let mut json = Json::on(&mut out);
            json.open();
            json.text(key!("a"), &texts[0]);
            json.whole(key!("b"), number);
            json.key(key!("c"));
            json.list(|json| (0..2).for_each(|_| json.item(&pieces)));
            json.whole_as_text(key!("d"), number);
            let numbers = [bits, thousandths as f64 / 1e3, thousandths as f64 / 1e5, (thousandths / 1000) as f64, -0.0];
            let keys = [key!("e"), key!("f"), key!("g"), key!("h"), key!("i")];
            for (key, number) in keys.into_iter().zip(numbers) {
                json.number(key, number);
            }
            json.close();
            let whole = texts.concat();
            let [e, f, g, h, i] = numbers;
            let value: Value = json!({
                "a": texts[0], "b": number, "c": [whole, whole], "d": number.to_string(),
                "e": e, "f": f, "g": g, "h": h, "i": i,
            });
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
