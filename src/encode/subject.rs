//! Whose past a value is judged by: the entities of a row, and their keys.

use std::borrow::Cow;

use arrow::array::{Array, RecordBatch};

use crate::context::ContextError;
use crate::context::address::Address;
use crate::context::entity::{Key, Texts, numbers, optional_numbers, port, service};

/// An entity that has a past.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// Source and service.
    SourceService,
    /// Destination and service.
    DestinationService,
    /// Source, destination and service.
    PairService,
    /// The service, by whomever.
    Service,
}

impl Subject {
    /// All.
    pub const ALL: [Subject; 6] = [
        Subject::Source,
        Subject::Destination,
        Subject::SourceService,
        Subject::DestinationService,
        Subject::PairService,
        Subject::Service,
    ];

    /// As in names of context columns.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Source => "src",
            Subject::Destination => "dst",
            Subject::SourceService => "srcsvc",
            Subject::DestinationService => "dstsvc",
            Subject::PairService => "pairsvc",
            Subject::Service => "svc",
        }
    }

    /// Whether those who share its service stand between it and the whole network.
    pub(crate) fn has_service(self) -> bool {
        matches!(self, Subject::SourceService | Subject::DestinationService | Subject::PairService)
    }

    /// What it consists of: source, destination, service.
    pub(super) fn parts(self) -> (bool, bool, bool) {
        match self {
            Subject::Source => (true, false, false),
            Subject::Destination => (false, true, false),
            Subject::SourceService => (true, false, true),
            Subject::DestinationService => (false, true, true),
            Subject::PairService => (true, true, true),
            Subject::Service => (false, false, true),
        }
    }
}

/// Source, destination and service of one row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Party {
    pub(crate) src: Address,
    pub(crate) dst: Address,
    /// `protocol << 16 | port`, as `context` has it.
    pub(crate) service: u32,
}

/// Bytes of a [`Party`] in a sample.
pub(crate) const PARTY: usize = 38;

impl Party {
    /// The entity of that kind.
    pub(crate) fn key(&self, subject: Subject) -> Key {
        let (src, dst, service) = subject.parts();
        Key::of(src.then_some(&self.src), dst.then_some(&self.dst), if service { self.service } else { 0 })
    }

    /// Whether the source is whoever has no address yet, `::` or `0.0.0.0`, and not one host.
    pub(crate) fn is_from_nobody(&self) -> bool {
        let (version, bytes) = self.src.parts();
        version != 0 && bytes == [0; 16]
    }

    /// In the form of samples.
    pub(crate) fn bytes(&self) -> [u8; PARTY] {
        let mut bytes = [0; PARTY];
        for (at, address) in [(0, &self.src), (17, &self.dst)] {
            let (version, parts) = address.parts();
            bytes[at] = version;
            bytes[at + 1..at + 17].copy_from_slice(&parts);
        }
        bytes[34..].copy_from_slice(&self.service.to_le_bytes());
        bytes
    }

    /// From [`Party::bytes`]; `None` for bytes of another length or of no address.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Party> {
        let bytes: &[u8; PARTY] = bytes.try_into().ok()?;
        let address = |at: usize| Address::from_parts(bytes[at], bytes[at + 1..at + 17].try_into().ok()?);
        let service = u32::from_le_bytes(bytes[34..].try_into().ok()?);
        Some(Party { src: address(0)?, dst: address(17)?, service })
    }
}

/// Columns that parties are read from.
pub(crate) const PARTY_COLUMNS: [&str; 5] = ["src_ip", "dst_ip", "protocol", "dst_port", "icmp_type"];

/// The parties of rows.
///
/// # Errors
/// [`ContextError::Missing`] or [`ContextError::Type`] for rows without the columns of [`PARTY_COLUMNS`].
pub(crate) fn parties(rows: &RecordBatch) -> Result<Vec<Party>, ContextError> {
    let src = Texts::new(rows, "src_ip")?.map(Address::parse);
    let dst = Texts::new(rows, "dst_ip")?.map(Address::parse);
    let (protocols, ports) = (numbers(rows, "protocol")?, numbers(rows, "dst_port")?);
    let types = optional_numbers(rows, "icmp_type")?;
    let party = |row: usize| {
        let icmp_type = types.is_valid(row).then(|| types.value(row));
        let service = service(port(protocols[row], ports[row], icmp_type));
        Party { src: src[row], dst: dst[row], service }
    };
    Ok((0..rows.num_rows()).map(party).collect())
}

/// A service as people name it: `tcp/443`, `udp/high`, `icmp/8`.
pub(crate) fn service_text(service: u32) -> String {
    let (protocol, port) = (service >> 16, service & 0xFFFF);
    let name = match protocol {
        1 => Cow::from("icmp"),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "icmp6".into(),
        other => format!("protocol {other}").into(),
    };
    match port {
        0x8000 => name.into_owned() + "/high",
        port => [&*name, "/", &port.to_string()].concat(),
    }
}

/// A party by number.
#[cfg(test)]
pub(crate) fn parties_of_test(src: u8, dst: u8, service: u8) -> Party {
    let address = |host: u8| Address::parse(Some(&format!("10.0.0.{host}")));
    Party { src: address(src), dst: address(100 + dst), service: 6 << 16 | u32::from(service) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_come_back_as_they_were() {
        for (src, dst) in [("10.0.0.1", "fe80::1"), ("printer", "::ffff:1.2.3.4"), ("", "0.0.0.0")] {
            let (src, dst) = (Address::parse(Some(src)), Address::parse(Some(dst)));
            let party = Party { src, dst, service: 6 << 16 | 443 };
            assert_eq!(Party::from_bytes(&party.bytes()), Some(party));
        }
        let party =
            |src: Option<&str>| Party { src: Address::parse(src), dst: Address::default(), service: 0 };
        let nobody = |src: Option<&str>| party(src).is_from_nobody();
        assert!(nobody(Some("::")) && nobody(Some("0.0.0.0")));
        assert!(
            !nobody(Some("::1")) && !nobody(Some("0.0.0.1")) && !nobody(Some("printer")) && !nobody(None)
        );
        assert_eq!(service_text(17 << 16 | 0x8000), "udp/high");
    }

    #[test]
    fn keys_hold_only_what_is_part_of_the_subject() {
        let address = |text| Address::parse(Some(text));
        let party = Party { src: address("10.0.0.1"), dst: address("10.0.0.2"), service: 80 };
        let other = Party { dst: address("10.0.0.3"), ..party };
        assert_eq!(party.key(Subject::SourceService), other.key(Subject::SourceService));
        assert_ne!(party.key(Subject::PairService), other.key(Subject::PairService));
        assert_eq!(party.key(Subject::Service), Key::of(None, None, 80));
    }
}
