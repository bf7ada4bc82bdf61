//! JSON by hand, for lines that are written by the thousand.

/// A line of JSON as it grows: thousands of events of floods are worth more than a serializer's way.
pub(super) struct Json<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Json<'a> {
    /// Goes on where a line ends.
    pub(super) fn on(out: &'a mut Vec<u8>) -> Json<'a> {
        Json { out }
    }

    pub(super) fn open(&mut self) {
        self.out.push(b'{');
    }

    pub(super) fn close(&mut self) {
        self.out.push(b'}');
    }

    /// A comma where something stands before.
    pub(super) fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }

    /// A key of our own, which needs no escapes.
    pub(super) fn key(&mut self, name: &str) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        self.quoted(&[text]);
    }

    /// A text of our own, which needs no escapes.
    pub(super) fn plain(&mut self, name: &str, text: &str) {
        self.key(name);
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    pub(super) fn whole(&mut self, name: &str, value: u64) {
        self.key(name);
        self.digits(value);
    }

    /// All 64 bits of a number as text, which readers that take numbers for doubles leave whole.
    pub(super) fn whole_as_text(&mut self, name: &str, value: u64) {
        self.key(name);
        self.out.push(b'"');
        self.digits(value);
        self.out.push(b'"');
    }

    pub(super) fn number(&mut self, name: &str, value: f64) {
        self.key(name);
        let thousandths = (value * 1000.0).round();
        // No number with fewer digits is nearest to the same value: so few are the ones that a serializer writes.
        if thousandths.abs() < 1e12 && thousandths / 1000.0 == value {
            if value.is_sign_negative() {
                self.out.push(b'-');
            }
            let thousandths = thousandths.abs() as u64;
            self.digits(thousandths / 1000);
            let rest = thousandths % 1000;
            let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
            let count = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
            self.out.push(b'.');
            self.out.extend_from_slice(&digits[..count]);
        } else {
            serde_json::to_writer(&mut *self.out, &value).expect("a number is JSON, and memory takes it");
        }
    }

    /// Entries that are written already.
    pub(super) fn piece(&mut self, entries: &[u8]) {
        self.comma();
        self.out.extend_from_slice(entries);
    }

    pub(super) fn list(&mut self, items: impl FnOnce(&mut Self)) {
        self.out.push(b'[');
        items(self);
        self.out.push(b']');
    }

    /// A list of one text.
    pub(super) fn one_item(&mut self, name: &str, text: &str) {
        self.key(name);
        self.list(|json| json.item(&[text]));
    }

    /// An item of a list, of pieces.
    pub(super) fn item(&mut self, pieces: &[&str]) {
        self.comma();
        self.quoted(pieces);
    }

    pub(super) fn whole_item(&mut self, value: u64) {
        self.comma();
        self.digits(value);
    }

    fn digits(&mut self, mut value: u64) {
        let mut digits = [b'0'; 20];
        let mut from = digits.len();
        while value > 0 || from == digits.len() {
            from -= 1;
            digits[from] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.out.extend_from_slice(&digits[from..]);
    }

    fn quoted(&mut self, pieces: &[&str]) {
        self.out.push(b'"');
        for piece in pieces {
            // Looked for at once, which is faster than to stop at the first.
            if piece.bytes().fold(false, |found, byte| found | (byte < b' ') | matches!(byte, b'"' | b'\\')) {
                let at = self.out.len();
                serde_json::to_writer(&mut *self.out, piece).expect("text is JSON, and memory takes it");
                // Without the marks around it.
                self.out.remove(at);
                self.out.pop();
            } else {
                self.out.extend_from_slice(piece.as_bytes());
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
            let pieces: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut out = Vec::new();
            let mut json = Json::on(&mut out);
            json.open();
            json.text("a", &texts[0]);
            json.whole("b", number);
            json.key("c");
            json.list(|json| (0..2).for_each(|_| json.item(&pieces)));
            json.whole_as_text("d", number);
            let numbers = [bits, thousandths as f64 / 1e3, thousandths as f64 / 1e5, (thousandths / 1000) as f64, -0.0];
            for (name, number) in ["e", "f", "g", "h", "i"].into_iter().zip(numbers) {
                json.number(name, number);
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
