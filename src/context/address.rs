//! Addresses: read from text, written as text that is read again, and the fixed hash that counts them.

use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

use super::entity::mix;

/// An address: IPv4 in the first four bytes, IPv6, or what stands for another text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Address {
    version: u8,
    bytes: [u8; 16],
}

impl Hash for Address {
    /// All bytes at once.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.bytes));
        state.write_u8(self.version);
    }
}

impl Address {
    /// Reads canonical or any other text of an address. Text that is none (rows of other writers may have
    /// names instead) is one of its own by 128 bits of SHA-256; so is a null.
    pub(crate) fn parse(text: Option<&str>) -> Address {
        let Some(text) = text else { return Address::default() };
        let mut bytes = [0; 16];
        if let Some(octets) = octets(text) {
            bytes[..4].copy_from_slice(&octets);
            return Address { version: 4, bytes };
        }
        match text.parse() {
            Ok(IpAddr::V4(address)) => {
                bytes[..4].copy_from_slice(&address.octets());
                Address { version: 4, bytes }
            }
            Ok(IpAddr::V6(address)) => Address { version: 6, bytes: address.octets() },
            Err(_) => {
                bytes.copy_from_slice(&Sha256::digest(text)[..16]);
                Address { version: 0, bytes }
            }
        }
    }

    /// The address, where it is one.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self.version {
            4 => Some(
                Ipv4Addr::from_octets([self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]]).into(),
            ),
            6 => Some(Ipv6Addr::from_octets(self.bytes).into()),
            _ => None,
        }
    }

    /// As people and tables name it, and as [`Address::from_text`] reads it: canonical text (RFC 5952), `#` and 32 digits for
    /// what stands for another text.
    pub(crate) fn text(&self) -> String {
        self.written().as_str().to_owned()
    }

    /// What [`Address::text`] wrote; `None` for any other text.
    pub(crate) fn from_text(text: &str) -> Option<Address> {
        let address = match text.strip_prefix('#') {
            Some(digits) => {
                let value = u128::from_str_radix(digits, 16).ok()?;
                Address { version: 0, bytes: value.to_be_bytes() }
            }
            None => Address::parse(Some(text)),
        };
        (address.written().as_str() == text).then_some(address)
    }

    fn written(&self) -> Text {
        let mut text = Text { bytes: [0; LONGEST], length: 0 };
        match self.version {
            4 => text.push_octets(&self.bytes[..4]),
            6 => text.push(format_args!("{}", Ipv6Addr::from_octets(self.bytes))),
            _ => text.push(format_args!("#{:032x}", u128::from_be_bytes(self.bytes))),
        }
        text
    }

    /// Version and bytes: 4 and the first four, 6 and all, 0 and what stands for another text.
    pub(crate) fn parts(&self) -> (u8, [u8; 16]) {
        (self.version, self.bytes)
    }

    /// From [`Address::parts`]; `None` for what no address has.
    pub(crate) fn from_parts(version: u8, bytes: [u8; 16]) -> Option<Address> {
        match version {
            0 | 6 => Some(Address { version, bytes }),
            4 if bytes[4..] == [0; 12] => Some(Address { version, bytes }),
            _ => None,
        }
    }

    /// 4, 6, or 0 for what stands for another text.
    pub(super) fn version(&self) -> u8 {
        self.version
    }

    pub(super) fn words(&self) -> [u64; 2] {
        let value = u128::from_be_bytes(self.bytes);
        [(value >> 64) as u64, value as u64]
    }

    /// From [`Address::version`] and [`Address::words`].
    pub(super) fn from_words(version: u8, [high, low]: [u64; 2]) -> Address {
        let value = u128::from(high) << 64 | u128::from(low);
        Address { version, bytes: value.to_be_bytes() }
    }

    /// The element that this address is, with a [`super::entity::service`] or port of its own beside it or 0.
    ///
    /// Fixed, and one to one for IPv4: distinct counts of IPv4 addresses and of their ends count no two as
    /// one. Others are 64 bits of 128 and collide as hashes do.
    pub(super) fn element(&self, code: u32) -> u64 {
        let [high, low] = self.words();
        if self.version == 4 {
            return mix(4 << 60 | (high >> 32) << 24 | u64::from(code));
        }
        let tag = u64::from(self.version) << 60 | u64::from(code);
        mix(mix(mix(high) ^ low) ^ tag)
    }
}

/// The text of an address, in place: a table of a model has thousands, each read and written once.
struct Text {
    bytes: [u8; LONGEST],
    length: usize,
}

/// The longest text: eight groups of four digits and what is between them.
const LONGEST: usize = 39;

impl Text {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        self.write_fmt(text).expect("no address is longer");
    }

    fn push_octets(&mut self, octets: &[u8]) {
        for (at, octet) in octets.iter().enumerate() {
            let digits = [b'.', b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10];
            let first = match octet {
                0..=9 => 3,
                10..=99 => 2,
                100.. => 1,
            };
            let shown = if at > 0 { &digits[..1] } else { &[] };
            for digit in shown.iter().chain(&digits[first..]) {
                self.bytes[self.length] = *digit;
                self.length += 1;
            }
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// The octets of a canonical IPv4 address; nothing for any other text. Half of what the standard library takes, which
/// reads whatever this does not.
fn octets(text: &str) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let mut parts = text.as_bytes().split(|byte| *byte == b'.');
    for octet in &mut octets {
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
        let value = match parts.next()? {
            [a] => digit(a)?,
            [b'0', ..] => return None,
            [a, b] => digit(a)? * 10 + digit(b)?,
            [a, b, c] => digit(a)? * 100 + digit(b)? * 10 + digit(c)?,
            _ => return None,
        };
        *octet = u8::try_from(value).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_of_one_text_are_one_and_of_different_texts_different() {
        let all = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "a00:1::", "fe80::1", "printer", ""];
        let mut parsed: Vec<_> = all.iter().map(|text| Address::parse(Some(text))).collect();
        parsed.push(Address::parse(None));
        for (i, a) in parsed.iter().enumerate() {
            assert_eq!(Address::from_text(&a.text()), Some(*a));
            for (j, b) in parsed.iter().enumerate() {
                assert_eq!(a == b, i == j, "{a:?} {b:?}");
                assert_eq!(a.element(0) == b.element(0), i == j, "{a:?} {b:?}");
            }
        }
        for byte in 0..=255u8 {
            let text = Ipv4Addr::new(byte, 0, 255 - byte, byte).to_string();
            assert_eq!(Address::parse(Some(&text)).text(), text);
        }
        let longest = "fdff:1111:2222:3333:4444:5555:6666:7777";
        assert_eq!((Address::parse(Some(longest)).text().as_str(), longest.len()), (longest, LONGEST));
        assert!(
            ["printer", "#1", "FE80::1", "#", "010.0.0.1"]
                .iter()
                .all(|text| Address::from_text(text).is_none())
        );
        assert_eq!(Address::parse(Some("FE80:0::1")), Address::parse(Some("fe80::1")));
    }

    proptest! {
        #[test]
        fn ipv4_is_read_as_the_standard_library_reads_it(
            parts in prop::collection::vec(prop_oneof![8 => 0..260u32, 1 => 0..3_000u32], 3..6),
            zeros in prop_oneof![9 => Just(""), 1 => Just("0")],
            tail in prop_oneof![9 => Just(""), 1 => prop::sample::select(vec![".", " ", "x", ":", "\u{660}"])],
        ) {
            let parts: Vec<String> = parts.iter().map(u32::to_string).collect();
            let text = format!("{zeros}{}{tail}", parts.join("."));
            let read = text.parse::<Ipv4Addr>().ok().map(|address| address.octets());
            prop_assert_eq!(octets(&text), read);
        }
    }
}
