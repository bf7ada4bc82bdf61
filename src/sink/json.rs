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
        serde_json::to_writer(&mut *self.out, &value).expect("a number is JSON, and memory takes it");
    }

    pub(super) fn list(&mut self, items: impl FnOnce(&mut Self)) {
        self.out.push(b'[');
        items(self);
        self.out.push(b']');
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
            if piece.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
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
            json.close();
            let whole = texts.concat();
            let value: Value = json!({"a": texts[0], "b": number, "c": [whole, whole], "d": number.to_string()});
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
