//! Who a row is about: services and keys of entities, read from columns, and their fixed hashes.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, UInt64Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, UInt64Type};
use arrow::record_batch::RecordBatch;
use bytemuck::{Pod, Zeroable};

use super::address::Address;
use super::{ContextError, Entity};
use crate::flow::names::{HIGH, is_named};

/// Ports from here on are one service: those that clients take for themselves.
const POOLED: u32 = HIGH as u32;
/// Of UDP so are those from here on that no service is known for: calls and conferences agree on a port for each
/// (RFC 8866), and so each would be a service that nobody has met.
const AGREED: u32 = 1024;
/// The type of an ICMP flow that began with a fragment, whose type nobody saw.
const NO_TYPE: u32 = 256;

const ICMP: u32 = 1;
const UDP: u32 = 17;
pub(super) const ICMP6: u32 = 58;

/// Protocol and responder port of a row, or protocol and type: `protocol << 16 | port`, 24 bits.
#[inline]
pub(crate) fn port(protocol: u64, port: u64, icmp_type: Option<u64>) -> u32 {
    let protocol = (protocol & 255) as u32;
    let port = match protocol {
        ICMP | ICMP6 => icmp_type.map_or(NO_TYPE, |number| (number & 255) as u32),
        _ => (port & 65_535) as u32,
    };
    protocol << 16 | port
}

/// Whether a port shares its service with others.
#[inline]
pub(super) fn pools(port: u32) -> bool {
    let number = port & 65_535;
    (number >= POOLED || port >> 16 == UDP && number >= AGREED) && !is_named(number as u16)
}

/// The service of a port.
#[inline]
pub(crate) fn service(port: u32) -> u32 {
    match pools(port) {
        true => port & !65_535 | POOLED,
        false => port,
    }
}

/// Whether a row without a packet back is a request without an answer, beside what TCP's states say: UDP is, and of ICMP
/// echo, timestamp, information and address mask requests (RFC 792, 950), of ICMPv6 echo requests and solicitations of
/// neighbours (RFC 4443, 4861), those to one of them: whoever is looked for is asked in a group. Errors, replies and advertisements are answered by nobody.
#[inline]
pub(super) fn asks(protocol: u64, icmp_type: Option<u64>) -> bool {
    match protocol as u32 {
        UDP => true,
        ICMP => matches!(icmp_type, Some(8 | 13 | 15 | 17)),
        ICMP6 => matches!(icmp_type, Some(128 | 135)),
        _ => false,
    }
}

/// Whether an address is of a group, or 255.255.255.255: nobody answers in its name. Which address is that of all hosts of
/// a network its mask says, and rows do not know it.
pub(crate) fn is_group(address: &str) -> bool {
    address.parse().is_ok_and(|address| match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    })
}

/// Mixes 64 bits, one to one (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014,
/// with the constants of Stafford's variant 13). The constant added keeps 0 from staying 0.
#[inline]
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

/// The values of an entity or of anything else that rows share, whole: no two share a key. What is no part
/// of it is zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Key {
    src: [u64; 2],
    dst: [u64; 2],
    /// A service or port of 24 bits, above it the kind where one table holds several.
    code: u32,
    src_version: u16,
    dst_version: u16,
}

impl Hash for Key {
    /// All bytes at once.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(bytemuck::bytes_of(self));
    }
}

impl Key {
    /// Of an entity of rows with these values. A shape takes the place of the end that is no part of the entity, as an address
    /// of a version that none has.
    pub(super) fn new(entity: &Entity, src: &Address, dst: &Address, service: u32, shape: u32) -> Key {
        const SHAPE: u16 = u16::MAX;
        let service = if entity.service { service } else { 0 };
        let key = Key::of(entity.src.then_some(src), entity.dst.then_some(dst), service);
        let words = [u64::from(shape), 0];
        match (entity.shape, entity.src) {
            (false, _) => key,
            (true, true) => Key { dst: words, dst_version: SHAPE, ..key },
            (true, false) => Key { src: words, src_version: SHAPE, ..key },
        }
    }

    /// The key of what has these parts; `None` and 0 for a part that is none of it.
    pub(crate) fn of(src: Option<&Address>, dst: Option<&Address>, code: u32) -> Key {
        let end = |address: Option<&Address>| {
            address.map_or(([0; 2], 0), |address| (address.words(), address.version().into()))
        };
        let ((src, src_version), (dst, dst_version)) = (end(src), end(dst));
        Key { src, dst, code, src_version, dst_version }
    }

    /// Source and destination; [`Address::default`] for one that is no part of it.
    pub(crate) fn ends(&self) -> [Address; 2] {
        [(self.src, self.src_version), (self.dst, self.dst_version)]
            .map(|(words, version)| Address::from_words(version as u8, words))
    }

    /// The service or port with what is above it.
    pub(crate) fn code(&self) -> u32 {
        self.code
    }

    /// A fixed hash, the same in every process.
    pub(crate) fn hash(&self) -> u64 {
        self.order().iter().fold(0, |hash, word| mix(hash ^ word))
    }

    /// An order of all keys.
    pub(super) fn order(&self) -> [u64; 5] {
        bytemuck::cast(*self)
    }

    /// The share that it belongs to.
    pub(super) fn shard(&self) -> usize {
        (self.hash() >> 56) as usize
    }

    /// The worker, of `peers`, that remembers it.
    pub(super) fn owner(&self, peers: usize) -> usize {
        if peers == 1 { 0 } else { owner(self.shard(), peers) }
    }
}

/// Shares of the space of keys. A share is remembered by one worker as a whole, so what it has room for does
/// not depend on how many workers there are.
pub(super) const SHARDS: usize = 256;

/// The worker, of `peers`, that remembers a share.
pub(super) fn owner(shard: usize, peers: usize) -> usize {
    shard * peers / SHARDS
}

/// What text columns must be.
const TEXT: &str = "text (Utf8, LargeUtf8, Utf8View or a dictionary of them)";
/// What times must be.
const TIME: &str = "Timestamp(ns)";
/// What other columns must be.
const NUMBER: &str = "an integer";

/// Checks that a column of that name can be read as what context needs it for.
pub(super) fn readable(column: &'static str, found: &DataType) -> Result<(), ContextError> {
    let plain = |found: &DataType| matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let (fits, expected) = match column {
        "src_ip" | "dst_ip" | "conn_state" => {
            let text = match found {
                DataType::Dictionary(_, values) => plain(values),
                other => plain(other),
            };
            (text, TEXT)
        }
        "flow_start" => {
            let time = matches!(found, DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Int64);
            (time, TIME)
        }
        _ => (found.is_integer(), NUMBER),
    };
    match fits {
        true => Ok(()),
        false => Err(ContextError::Type { column, found: found.clone(), expected }),
    }
}

fn column<'a>(rows: &'a RecordBatch, name: &'static str) -> Result<&'a ArrayRef, ContextError> {
    let missing = || ContextError::Missing { column: name, wanted: "ctx_*".to_owned() };
    rows.column_by_name(name).ok_or_else(missing)
}

/// A column as integers; what is negative becomes null.
pub(crate) fn optional_numbers(rows: &RecordBatch, name: &'static str) -> Result<UInt64Array, ContextError> {
    let column = column(rows, name)?;
    let unreadable =
        || ContextError::Type { column: name, found: column.data_type().clone(), expected: NUMBER };
    let cast = cast(column, &DataType::UInt64).map_err(|_| unreadable())?;
    cast.as_primitive_opt::<UInt64Type>().cloned().ok_or_else(unreadable)
}

/// A column as integers, 0 for what is null or negative. Columns of ours are neither.
pub(crate) fn numbers(rows: &RecordBatch, name: &'static str) -> Result<ScalarBuffer<u64>, ContextError> {
    let column = optional_numbers(rows, name)?;
    Ok(match column.null_count() {
        0 => column.values().clone(),
        _ => column.iter().map(|value| value.unwrap_or(0)).collect(),
    })
}

/// A column of times as nanoseconds since the Unix epoch, 0 for what is null or negative.
pub(super) fn times(rows: &RecordBatch, name: &'static str) -> Result<Vec<u64>, ContextError> {
    let column = column(rows, name)?;
    let unreadable =
        || ContextError::Type { column: name, found: column.data_type().clone(), expected: TIME };
    let cast = cast(column, &DataType::Int64).map_err(|_| unreadable())?;
    let times = cast.as_primitive_opt::<Int64Type>().ok_or_else(unreadable)?;
    Ok(times.iter().map(|time| u64::try_from(time.unwrap_or(0)).unwrap_or(0)).collect())
}

/// A text column as distinct values and the position of each row's value; `None` for null.
pub(crate) struct Texts {
    column: DictionaryArray<Int32Type>,
}

impl Texts {
    pub(crate) fn new(rows: &RecordBatch, name: &'static str) -> Result<Texts, ContextError> {
        let column = column(rows, name)?;
        let unreadable =
            || ContextError::Type { column: name, found: column.data_type().clone(), expected: TEXT };
        let column = match (column.as_any_dictionary_opt(), column.data_type()) {
            (Some(texts), DataType::Dictionary(_, values)) if **values == DataType::Utf8 => {
                let keys = cast(texts.keys(), &DataType::Int32).map_err(|_| unreadable())?;
                DictionaryArray::try_new(keys.as_primitive().clone(), texts.values().clone())
            }
            // By way of plain text: not every pair of dictionaries can be cast.
            _ => cast(column, &DataType::Utf8).and_then(|text| {
                let plain = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                Ok(cast(&text, &plain)?.as_dictionary().clone())
            }),
        };
        let column = column.map_err(|_| unreadable())?;
        Ok(Texts { column })
    }

    /// For each row what `of` makes of its value; it is asked at most once for each distinct value. A batch
    /// may be a small part of one that its dictionary was made for: values that no row has are passed over.
    pub(crate) fn map<R: Copy>(&self, mut of: impl FnMut(Option<&str>) -> R) -> Vec<R> {
        let values = self.column.values().as_string::<i32>();
        let mut known: Vec<Option<R>> = vec![None; values.len()];
        let mut null = None;
        let keys = self.column.keys();
        let mut row = |key: Option<i32>| match key.and_then(|key| usize::try_from(key).ok()) {
            Some(at) if values.is_valid(at) => *known[at].get_or_insert_with(|| of(Some(values.value(at)))),
            _ => *null.get_or_insert_with(|| of(None)),
        };
        match keys.null_count() {
            0 => keys.values().iter().map(|key| row(Some(*key))).collect(),
            _ => keys.iter().map(row).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{LargeStringArray, StringArray, StringViewArray};

    use super::*;
    use crate::context::ENTITIES;

    #[test]
    fn services_pool_high_ports_and_take_types_for_icmp() {
        assert_eq!(service(port(6, 443, Some(8))), 6 << 16 | 443);
        assert_eq!(service(port(6, 32_768, None)), service(port(6, 65_535, None)));
        assert_ne!(service(port(6, 32_767, None)), service(port(6, 32_768, None)));
        assert_ne!(service(port(6, 40_000, None)), service(port(17, 40_000, None)));
        // Of UDP also below, but for what has a name.
        assert_eq!(service(port(17, 12_050, None)), service(port(17, 40_000, None)));
        assert_eq!(service(port(17, 5060, None)), 17 << 16 | 5060);
        assert_eq!(service(port(17, 1023, None)), 17 << 16 | 1023);
        assert_eq!(service(port(6, 12_050, None)), 6 << 16 | 12_050);
        assert_ne!(port(1, 0, Some(8)), port(1, 0, Some(0)));
        assert_ne!(port(1, 0, None), port(1, 0, Some(0)));
    }

    #[test]
    fn hashes_are_fixed_for_ever() {
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
        let (a, b) = (Address::parse(Some("10.0.0.1")), Address::parse(Some("fe80::1")));
        let elements = [a.element(0), a.element(6 << 16 | 443), b.element(0), b.element(1)];
        let shards = ENTITIES.map(|entity| Key::new(&entity, &a, &b, 6 << 16 | 443, 77).shard());
        assert_eq!(elements, FIXED);
        assert_eq!(shards, OWNED);
    }

    const FIXED: [u64; 4] = [
        15_707_834_130_852_168_098,
        2_208_564_803_501_334_087,
        12_712_931_118_919_525_460,
        2_370_749_210_759_435_241,
    ];
    const OWNED: [usize; 8] = [29, 216, 163, 187, 141, 40, 39, 125];

    #[test]
    fn owners_share_neighbouring_hosts_evenly() {
        let mut counts = [0u32; 7];
        for host in 0..7_000u32 {
            let address = Address::parse(Some(&std::net::Ipv4Addr::from(0x0A00_0000 + host).to_string()));
            counts[Key::new(&ENTITIES[0], &address, &address, 0, 0).owner(7)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn text_of_any_arrow_type_reads_alike() {
        let texts = vec![Some("a"), None, Some("b"), Some("a")];
        let plain = StringArray::from(texts.clone());
        let dictionary = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(LargeStringArray::from(texts.clone())),
            Arc::new(StringViewArray::from(texts.clone())),
            Arc::new(plain.clone()),
        ];
        for key in [DataType::Int8, DataType::UInt16, DataType::Int32, DataType::UInt32, DataType::Int64] {
            columns.push(cast(&plain, &dictionary(key)).unwrap());
        }
        let views = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8View));
        columns.extend(cast(&plain, &views));
        for column in columns {
            readable("src_ip", column.data_type()).unwrap();
            let rows = RecordBatch::try_from_iter([("src_ip", column)]).unwrap();
            let mut asked = 0;
            let read = Texts::new(&rows, "src_ip").unwrap().map(|text| {
                asked += 1;
                text.map_or(0, |text| text.as_bytes()[0])
            });
            assert_eq!((read, asked), (vec![b'a', 0, b'b', b'a'], 3));
        }
        assert!(
            readable("src_ip", &DataType::UInt32).is_err() && readable("protocol", &DataType::Utf8).is_err()
        );
    }
}
