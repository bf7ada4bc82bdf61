//! What each column of the dictionary says of a group of rows, and when it says nothing.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, TimestampNanosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

use super::group::{BOTH, Group, Has, Lane};
use super::names::{self, HIGH, is_named};
use super::rows::{Column, Ends, FirstLengths, Named, Values};
use super::state::Head;
use super::tcp::CONN_STATES;
use super::text::{Addresses, Names};
use crate::row::columns::Kind;

/// What the values of a column hang on; where it is missing they are null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exists {
    Always,
    Tcp,
    Icmp,
    Vlan,
    /// Packets of a side.
    Packets(usize),
    /// Gaps between packets of a side, or of [`BOTH`].
    Gaps(usize),
    /// An advertised window of a side.
    Window(usize),
    Handshake,
    FirstRow,
}

impl Exists {
    /// The rows of a group that have it.
    pub(super) fn has(self, has: &Has) -> u64 {
        match self {
            Exists::Always => u64::MAX,
            Exists::Tcp => has.tcp,
            Exists::Icmp => has.icmp,
            Exists::Vlan => has.vlan,
            Exists::Packets(side) => has.packets[side],
            Exists::Gaps(between) => has.gaps[between],
            Exists::Window(side) => has.window[side],
            Exists::Handshake => has.handshake,
            Exists::FirstRow => has.first_row,
        }
    }
}

/// A column that is made.
pub(super) struct Made {
    pub(super) exists: Exists,
    pub(super) column: Box<dyn Column>,
    /// Whether it says what rows did, not only what they are of.
    pub(super) tells: bool,
}

/// Makes the column of that name; `None` if flow rows have none.
pub(super) fn column(name: &str, first_lengths: bool) -> Option<Made> {
    if let Some((exists, column)) = of_identity(name) {
        return Some(Made { exists, column, tells: false });
    }
    let gapped = || gapped(name).and_then(|(between, measure)| of_gaps(between, measure));
    let sided = || {
        sided(name).and_then(|(side, measure)| match side {
            0 => of_side::<0>(measure),
            _ => of_side::<1>(measure),
        })
    };
    let (exists, column) = sided().or_else(gapped).or_else(|| of_deeds(name, first_lengths))?;
    Some(Made { exists, column, tells: true })
}

/// Columns of what rows are of, and when.
fn of_identity(name: &str) -> Option<(Exists, Box<dyn Column>)> {
    let column = match name {
        "window_start" => time(|group| &group.of.window),
        "flow_id" => u64s(|group| &group.of.flow_id),
        "flow_start" => time(|group| &group.of.start),
        "row_start" => time(|group| &group.of.first),
        "row_end" => time(|group| &group.of.last),
        "src_ip" => Box::new(Ends::<0>(Addresses::new())),
        "dst_ip" => Box::new(Ends::<1>(Addresses::new())),
        "src_port" => u16s(|group| &group.of.ports[0]),
        "dst_port" => u16s(|group| &group.of.ports[1]),
        "protocol" => u8s(|group| &group.of.protocol),
        "protocol_name" => {
            let number = |group: &Group, at: usize| u32::from(group.of.protocol[at]);
            Box::new(Named { number, names: protocol_names() })
        }
        "service" => {
            // A scan of all ports has more names than 16 bits tell apart.
            let names = Names::<Int32Type>::new(SERVICES, write_service);
            Box::new(Named { number: |group, at| group.of.service[at], names })
        }
        "ip_version" => u8s(|group| &group.of.version),
        "vlan" => return Some((Exists::Vlan, u16s(|group| &group.of.vlan))),
        "icmp_type" => return Some((Exists::Icmp, u8s(|group| &group.of.icmp[0]))),
        "icmp_code" => return Some((Exists::Icmp, u8s(|group| &group.of.icmp[1]))),
        "hour_of_day" => u8s(|group| &group.of.hour),
        "minute_of_hour" => u8s(|group| &group.of.minute),
        "day_of_week" => u8s(|group| &group.of.weekday),
        "row_index" => u32s(|group| &group.of.row_index),
        "end_reason" => u8s(|group| &group.of.reason),
        "conn_state" => {
            let names = Names::<Int8Type>::new(CONN_STATES.len(), |state, text| {
                text.extend_from_slice(CONN_STATES[state as usize].as_bytes());
            });
            let number = |group: &Group, at: usize| u32::from(group.of.conn_state[at]);
            return Some((Exists::Tcp, Box::new(Named { number, names })));
        }
        "fwd_window_first" => return Some((Exists::Window(0), u16s(|group| &group.of.window_first[0]))),
        "bwd_window_first" => return Some((Exists::Window(1), u16s(|group| &group.of.window_first[1]))),
        _ => return None,
    };
    Some((Exists::Always, column))
}

/// Columns of what rows did, both sides together.
fn of_deeds(name: &str, first_lengths: bool) -> Option<(Exists, Box<dyn Column>)> {
    let column = match name {
        "duration_s" => f64s(|group| &group.did.duration),
        "flow_duration_s" => f64s(|group| &group.did.flow_duration),
        "flow_packets" => u64s(|group| &group.did.flow_packets),
        "flow_bytes" => u64s(|group| &group.did.flow_bytes),
        "bidir_packets" => u64s(|group| &group.did.packets),
        "bidir_bytes" => u64s(|group| &group.did.bytes),
        "handshake_rtt_s" => return Some((Exists::Handshake, f32s(|group| &group.did.handshake))),
        "fragments" => u32s(|group| &group.did.fragments),
        "first_lengths" => return Some((Exists::FirstRow, Box::new(FirstLengths::new(first_lengths)))),
        _ => return None,
    };
    Some((Exists::Always, column))
}

/// `fwd_...` and `bwd_...`: the side, and what of it.
fn sided(name: &str) -> Option<(usize, &str)> {
    let forward = name.strip_prefix("fwd_").map(|measure| (0, measure));
    forward.or_else(|| name.strip_prefix("bwd_").map(|measure| (1, measure)))
}

/// `bidir_gap_...`, `fwd_gap_...`, `bwd_gap_...`: whose gaps, and what of them.
fn gapped(name: &str) -> Option<(usize, &str)> {
    let both = name.strip_prefix("bidir_").map(|measure| (BOTH, measure));
    let (between, measure) = both.or_else(|| sided(name))?;
    Some((between, measure.strip_prefix("gap_")?))
}

/// What flow rows say of a side.
fn of_side<const SIDE: usize>(measure: &str) -> Option<(Exists, Box<dyn Column>)> {
    let any = Exists::Packets(SIDE);
    Some(match measure {
        "packets" => (Exists::Always, u64s(|group| &group.did.sides[SIDE].packets)),
        "bytes" => (Exists::Always, u64s(|group| &group.did.sides[SIDE].bytes)),
        "payload_bytes" => (Exists::Always, u64s(|group| &group.did.sides[SIDE].payload)),
        "len_min" => (any, u16s(|group| &group.did.sides[SIDE].length_min)),
        "len_max" => (any, u16s(|group| &group.did.sides[SIDE].length_max)),
        "len_mean" => (any, f32s(|group| &group.did.sides[SIDE].length_mean)),
        "len_std" => (any, f32s(|group| &group.did.sides[SIDE].length_deviation)),
        "retransmits" => (Exists::Tcp, u32s(|group| &group.did.sides[SIDE].retransmits)),
        "ttl_min" => (any, u8s(|group| &group.did.sides[SIDE].ttl_min)),
        "fin" => flag::<SIDE, 0>(),
        "syn" => flag::<SIDE, 1>(),
        "rst" => flag::<SIDE, 2>(),
        "psh" => flag::<SIDE, 3>(),
        "ack" => flag::<SIDE, 4>(),
        "urg" => flag::<SIDE, 5>(),
        "ece" => flag::<SIDE, 6>(),
        "cwr" => flag::<SIDE, 7>(),
        _ => return None,
    })
}

fn flag<const SIDE: usize, const BIT: usize>() -> (Exists, Box<dyn Column>) {
    (Exists::Tcp, u32s(|group| &group.did.sides[SIDE].flags[BIT]))
}

/// Seconds of the gaps between packets.
fn of_gaps(between: usize, measure: &str) -> Option<(Exists, Box<dyn Column>)> {
    let column = match between {
        0 => of_gaps_between::<0>(measure),
        1 => of_gaps_between::<1>(measure),
        _ => of_gaps_between::<BOTH>(measure),
    };
    Some((Exists::Gaps(between), column?))
}

fn of_gaps_between<const BETWEEN: usize>(measure: &str) -> Option<Box<dyn Column>> {
    Some(match measure {
        "min_s" => f32s(|group| &group.did.gaps[BETWEEN].min),
        "mean_s" => f32s(|group| &group.did.gaps[BETWEEN].mean),
        "std_s" => f32s(|group| &group.did.gaps[BETWEEN].deviation),
        "max_s" => f32s(|group| &group.did.gaps[BETWEEN].max),
        _ => return None,
    })
}

/// Names of IP protocols.
pub(super) fn protocol_names() -> Names<Int16Type> {
    Names::new(1 << 8, |number, text| text.extend_from_slice(names::protocol(number as u8).as_bytes()))
}

/// Where types of ICMP begin, behind all ports.
const TYPES: u32 = 1 << 16;

/// A service until its name is needed: the responder's port, [`HIGH`] for those that are one, or the ICMP type behind all
/// ports.
#[inline(always)]
pub(super) fn service(head: &Head, port: u16) -> u32 {
    match head.is_icmp() {
        true => TYPES + u32::from(head.icmp[0]),
        false if port > HIGH && !is_named(port) => u32::from(HIGH),
        false => u32::from(port),
    }
}

/// How many services there are.
const SERVICES: usize = TYPES as usize + 256;

fn write_service(service: u32, text: &mut Vec<u8>) {
    match service.checked_sub(TYPES) {
        None => text.extend_from_slice(names::service(service as u16).as_bytes()),
        Some(icmp_type) => text.extend_from_slice(names::icmp_service(icmp_type as u8).as_bytes()),
    }
}

fn values<T: ArrowPrimitiveType>(kind: Kind, lane: fn(&Group) -> &Lane<T::Native>) -> Box<dyn Column> {
    Values::<T>::column(kind.data_type(), lane)
}

fn time(lane: fn(&Group) -> &Lane<i64>) -> Box<dyn Column> {
    values::<TimestampNanosecondType>(Kind::Time, lane)
}

fn u64s(lane: fn(&Group) -> &Lane<u64>) -> Box<dyn Column> {
    values::<UInt64Type>(Kind::U64, lane)
}

fn u32s(lane: fn(&Group) -> &Lane<u32>) -> Box<dyn Column> {
    values::<UInt32Type>(Kind::U32, lane)
}

fn u16s(lane: fn(&Group) -> &Lane<u16>) -> Box<dyn Column> {
    values::<UInt16Type>(Kind::U16, lane)
}

fn u8s(lane: fn(&Group) -> &Lane<u8>) -> Box<dyn Column> {
    values::<UInt8Type>(Kind::U8, lane)
}

fn f64s(lane: fn(&Group) -> &Lane<f64>) -> Box<dyn Column> {
    values::<Float64Type>(Kind::F64, lane)
}

fn f32s(lane: fn(&Group) -> &Lane<f32>) -> Box<dyn Column> {
    values::<Float32Type>(Kind::F32, lane)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::calendar::Calendar;
    use crate::flow::rows::RowBuilder;
    use crate::row::RowSettings;
    use crate::row::columns::PACKET_COLUMNS;
    use crate::row::schema::flow_schema;

    #[test]
    fn every_column_of_the_dictionary_is_made_with_its_type() {
        let schema = flow_schema(&RowSettings { settings: Default::default() }, |_| true);
        let calendar = Calendar::new("UTC").unwrap();
        let mut builder = RowBuilder::new(schema.clone(), &calendar, true);
        builder.begin(0);
        assert_eq!(builder.take().schema(), schema);
        for column in crate::row::COLUMNS {
            let made = super::column(column.name, true).unwrap();
            assert_eq!(made.exists != Exists::Always, column.nullable, "{}", column.name);
        }
    }

    #[test]
    fn what_flow_rows_lack_is_not_made() {
        assert!(PACKET_COLUMNS.iter().any(|c| super::column(c.name, true).is_none()));
        for name in ["fwd_", "fwd_gap_", "bidir_gap_sum_s", "bwd_gap_min", "bidir_len_min"] {
            assert!(super::column(name, true).is_none(), "{name}");
        }
    }
}
