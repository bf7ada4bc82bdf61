//! Texts that stand in JSON as they are, with no escape: all but a few.

/// A byte in each of eight.
const EACH: u64 = u64::MAX / 0xFF;
/// The highest bit of each byte.
const HIGHEST: u64 = 0x80 * EACH;

/// Whether a text needs no escapes between marks of JSON. Eight bytes are looked at in one go: texts are short, and there
/// are dozens of them in an alert.
pub(crate) fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes
            .iter()
            .fold(true, |plain, byte| plain & (*byte >= b' ') & !matches!(byte, b'"' | b'\\'));
    };
    let (eights, _) = bytes.as_chunks::<8>();
    eights.iter().fold(marks(last), |found, eight| found | marks(eight)) & HIGHEST == 0
}

/// Has a highest bit set if and only if one of eight bytes is a control, a quotation mark or a backslash.
fn marks(eight: &[u8; 8]) -> u64 {
    let bytes = u64::from_le_bytes(*eight);
    // What is taken off borrows from the next byte only if it sets the bit of its own; bytes of 128 and more are neither.
    let below = |bytes: u64, bound: u64| bytes.wrapping_sub(bound * EACH) & !bytes;
    let is = |mark: u8| below(bytes ^ (u64::from(mark) * EACH), 1);
    below(bytes, u64::from(b' ')) | is(b'"') | is(b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn plain_is_what_a_serializer_leaves_as_it_is(
            text in "[ -~é\u{7f}\u{80}]{0,40}", mark in any::<char>(), low in 0u8..128, at in 0usize..40,
        ) {
            let characters: Vec<char> = text.chars().collect();
            let (before, after) = characters.split_at(at.min(characters.len()));
            for mark in [None, Some(mark), Some(char::from(low)), Some('"'), Some('\\')] {
                let text: String = before.iter().copied().chain(mark).chain(after.iter().copied()).collect();
                let json = serde_json::Value::from(text.as_str()).to_string();
                prop_assert_eq!(is_plain(&text), json.len() == text.len() + 2, "{}", text);
            }
        }
    }
}
