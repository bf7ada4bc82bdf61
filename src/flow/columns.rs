//! What each column of the dictionary says of a finished row, and when it says nothing.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{
    Float32Type, Float64Type, Int8Type, Int16Type, TimestampNanosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

use super::calendar::{Calendar, Moment};
use super::names;
use super::rows::{Column, Ends, Finished, FirstLengths, Has, Named, Values};
use super::span::{Gaps, Side};
use super::tcp::CONN_STATES;
use super::text::{Addresses, Names};
use crate::packet::NO_VLAN;
use crate::row::columns::Kind;

/// Ports from here on are one service.
const HIGH: u16 = 32768;

/// What the values of a column hang on; where it is missing they are null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exists {
    Always,
    Tcp,
    Icmp,
    Vlan,
    /// Packets of a side.
    Packets(usize),
    /// Gaps between packets.
    Gaps(Between),
    /// An advertised window of a side.
    Window(usize),
    Handshake,
    FirstRow,
}

/// Whose packets gaps lie between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Between {
    Both,
    Side(usize),
}

impl Between {
    /// The gaps, their plain sum in nanoseconds, and how many they are.
    #[inline(always)]
    fn gaps<'a>(self, row: &Finished<'a>) -> (&'a Gaps, u64, u64) {
        match self {
            Between::Both => (&row.span.gaps, row.head.last - row.first, row.span.packets() - 1),
            Between::Side(side) => {
                let side = &row.span.sides[side];
                (&side.gaps, side.last - side.first, u64::from(side.packets).saturating_sub(1))
            }
        }
    }
}

impl Exists {
    /// Finds the rows of a group that have it; `None` if all have.
    pub(super) fn has(self) -> Option<Has> {
        fn bits(has: impl Fn(&Finished) -> bool + Send + 'static) -> Option<Has> {
            Some(Box::new(move |rows| rows.iter().rev().fold(0, |bits, row| bits << 1 | u64::from(has(row)))))
        }
        match self {
            Exists::Always => None,
            Exists::Tcp => bits(|row| row.head.is_tcp()),
            Exists::Icmp => bits(|row| row.head.is_icmp()),
            Exists::Vlan => bits(|row| row.head.key.vlan != NO_VLAN),
            Exists::Packets(0) => bits(|row| row.span.sides[0].packets > 0),
            Exists::Packets(_) => bits(|row| row.span.sides[1].packets > 0),
            Exists::Gaps(Between::Both) => bits(|row| Between::Both.gaps(row).2 > 0),
            Exists::Gaps(Between::Side(0)) => bits(|row| Between::Side(0).gaps(row).2 > 0),
            Exists::Gaps(Between::Side(_)) => bits(|row| Between::Side(1).gaps(row).2 > 0),
            Exists::Window(0) => bits(|row| row.head.is_tcp() && row.head.tcp.window_first(0).is_some()),
            Exists::Window(_) => bits(|row| row.head.is_tcp() && row.head.tcp.window_first(1).is_some()),
            Exists::Handshake => bits(|row| row.span.handshake != u64::MAX),
            Exists::FirstRow => bits(|row| row.head.row_index == 0),
        }
    }
}

/// Makes the column of that name; `None` if flow rows have none.
pub(super) fn column(
    name: &str,
    calendar: &Calendar,
    first_lengths: bool,
) -> Option<(Exists, Box<dyn Column>)> {
    let of_a_side = sided(name).and_then(|(side, measure)| match side {
        0 => of_side::<0>(measure),
        _ => of_side::<1>(measure),
    });
    if of_a_side.is_some() {
        return of_a_side;
    }
    if let Some((between, measure)) = gapped(name) {
        let column = match between {
            Between::Side(0) => of_gaps(measure, |row| Between::Side(0).gaps(row)),
            Between::Side(_) => of_gaps(measure, |row| Between::Side(1).gaps(row)),
            Between::Both => of_gaps(measure, |row| Between::Both.gaps(row)),
        };
        return Some((Exists::Gaps(between), column?));
    }
    let moment = |of: fn(Moment) -> u8| {
        let mut calendar = calendar.clone();
        u8s(move |row| of(calendar.moment(row.first)))
    };
    let column = match name {
        "window_start" => time(|row| row.window),
        "flow_id" => u64s(|row| row.flow_id),
        "flow_start" => time(|row| row.head.start),
        "row_start" => time(|row| row.first),
        "row_end" => time(|row| row.head.last),
        "src_ip" => Box::new(Ends::<0>(Addresses::new())),
        "dst_ip" => Box::new(Ends::<1>(Addresses::new())),
        "src_port" => u16s(|row| row.port(0)),
        "dst_port" => u16s(|row| row.port(1)),
        "protocol" => u8s(|row| row.head.key.protocol),
        "protocol_name" => {
            Box::new(Named { number: |row| u32::from(row.head.key.protocol), names: protocol_names() })
        }
        "service" => {
            Box::new(Named { number: service, names: Names::<Int16Type>::new(SERVICES, write_service) })
        }
        "ip_version" => u8s(|row| row.head.key.version),
        "vlan" => return Some((Exists::Vlan, u16s(|row| row.head.key.vlan))),
        "icmp_type" => return Some((Exists::Icmp, u8s(|row| row.head.icmp[0]))),
        "icmp_code" => return Some((Exists::Icmp, u8s(|row| row.head.icmp[1]))),
        "hour_of_day" => moment(|moment| moment.hour),
        "minute_of_hour" => moment(|moment| moment.minute),
        "day_of_week" => moment(|moment| moment.weekday),
        "row_index" => u32s(|row| row.head.row_index),
        "end_reason" => u8s(|row| row.reason),
        "conn_state" => {
            let names = Names::<Int8Type>::new(CONN_STATES.len(), |state, text| {
                text.extend_from_slice(CONN_STATES[state as usize].as_bytes());
            });
            let column = Named { number: |row| u32::from(row.head.tcp.conn_state()), names };
            return Some((Exists::Tcp, Box::new(column)));
        }
        "duration_s" => f64s(|row| seconds(row.head.last - row.first)),
        "flow_duration_s" => f64s(|row| seconds(row.head.last - row.head.start)),
        "flow_packets" => u64s(|row| row.head.packets + row.span.packets()),
        "flow_bytes" => u64s(|row| row.head.bytes + row.span.bytes()),
        "bidir_packets" => u64s(|row| row.span.packets()),
        "bidir_bytes" => u64s(|row| row.span.bytes()),
        "handshake_rtt_s" => {
            return Some((Exists::Handshake, f32s(|row| seconds(row.span.handshake) as f32)));
        }
        "fragments" => u32s(|row| row.span.fragments),
        "first_lengths" => {
            return Some((Exists::FirstRow, Box::new(FirstLengths::new(first_lengths))));
        }
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
fn gapped(name: &str) -> Option<(Between, &str)> {
    let both = name.strip_prefix("bidir_").map(|measure| (Between::Both, measure));
    let (between, measure) = both.or_else(|| sided(name).map(|(side, rest)| (Between::Side(side), rest)))?;
    Some((between, measure.strip_prefix("gap_")?))
}

/// What flow rows say of a side. Known when this is compiled, it is one place in memory.
fn of_side<const SIDE: usize>(measure: &str) -> Option<(Exists, Box<dyn Column>)> {
    let any = Exists::Packets(SIDE);
    Some(match measure {
        "packets" => (Exists::Always, u64s(|row| row.span.sides[SIDE].packets.into())),
        "bytes" => (Exists::Always, u64s(|row| row.span.sides[SIDE].bytes)),
        "payload_bytes" => (Exists::Always, u64s(|row| row.span.sides[SIDE].payload)),
        "len_min" => (any, u16s(|row| row.span.sides[SIDE].length_min)),
        "len_max" => (any, u16s(|row| row.span.sides[SIDE].length_max)),
        "len_mean" => (any, f32s(|row| length_mean(&row.span.sides[SIDE]))),
        "len_std" => (any, f32s(|row| length_deviation(&row.span.sides[SIDE]))),
        "window_first" => {
            let first = |row: &Finished| row.head.tcp.window_first(SIDE).filter(|_| row.head.is_tcp());
            (Exists::Window(SIDE), u16s(move |row| first(row).unwrap_or(0)))
        }
        "retransmits" => (Exists::Tcp, u32s(|row| row.span.sides[SIDE].retransmits)),
        "ttl_min" => (any, u8s(|row| row.span.sides[SIDE].ttl_min)),
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
    (Exists::Tcp, u32s(|row| row.span.sides[SIDE].flags[BIT]))
}

fn length_mean(side: &Side) -> f32 {
    if side.packets == 0 { 0.0 } else { (side.bytes as f64 / f64::from(side.packets)) as f32 }
}

fn length_deviation(side: &Side) -> f32 {
    if side.packets < 2 {
        return 0.0;
    }
    let square = u128::from(side.bytes) * u128::from(side.bytes);
    deviation(u128::from(side.packets) * u128::from(side.length_squares), square, f64::from(side.packets))
        as f32
}

/// The population deviation of `n` values: `n` times the sum of their squares, the square of their sum.
fn deviation(squares: u128, square: u128, n: f64) -> f64 {
    let difference = squares.saturating_sub(square);
    // The same number, converted by the processor.
    let difference = i64::try_from(difference).map_or_else(|_| difference as f64, |narrow| narrow as f64);
    difference.sqrt() / n
}

/// Seconds of the gaps between packets: `gaps` gives them, their plain sum in nanoseconds, and how many they are.
fn of_gaps(
    measure: &str,
    gaps: impl for<'a> Fn(&Finished<'a>) -> (&'a Gaps, u64, u64) + Send + 'static,
) -> Option<Box<dyn Column>> {
    match measure {
        "min_s" => Some(f32s(move |row| match gaps(row) {
            (_, _, 0) => 0.0,
            (gaps, ..) => seconds(gaps.min) as f32,
        })),
        "mean_s" => Some(f32s(move |row| match gaps(row) {
            (_, _, 0) => 0.0,
            (_, sum, count) => (sum as f64 / count as f64 / 1e9) as f32,
        })),
        "std_s" => Some(f32s(move |row| match gaps(row) {
            (_, _, 0 | 1) => 0.0,
            (gaps, sum, count) => {
                let squares = u128::from(count).wrapping_mul(gaps.squares);
                (deviation(squares, u128::from(sum) * u128::from(sum), count as f64) / 1e9) as f32
            }
        })),
        // Without a gap there is no longest either: it is 0.
        "max_s" => Some(f32s(move |row| seconds(gaps(row).0.max) as f32)),
        _ => None,
    }
}

/// Names of IP protocols.
pub(super) fn protocol_names() -> Names<Int16Type> {
    Names::new(1 << 8, |number, text| text.extend_from_slice(names::protocol(number as u8).as_bytes()))
}

/// A service until its name is needed: the responder's port, or [`HIGH`] and on the ICMP type.
fn service(row: &Finished) -> u32 {
    match row.head.is_icmp() {
        true => u32::from(HIGH) + 1 + u32::from(row.head.icmp[0]),
        false => u32::from(row.port(1).min(HIGH)),
    }
}

/// How many services there are.
const SERVICES: usize = HIGH as usize + 1 + 256;

fn write_service(service: u32, text: &mut Vec<u8>) {
    match service.checked_sub(u32::from(HIGH) + 1) {
        None => text.extend_from_slice(names::service(service as u16).as_bytes()),
        Some(icmp_type) => text.extend_from_slice(names::icmp_service(icmp_type as u8).as_bytes()),
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn values<T: ArrowPrimitiveType>(
    kind: Kind,
    value: impl FnMut(&Finished) -> T::Native + Send + 'static,
) -> Box<dyn Column> {
    Values::<T, _>::column(kind.data_type(), value)
}

fn time(value: impl Fn(&Finished) -> u64 + Send + 'static) -> Box<dyn Column> {
    values::<TimestampNanosecondType>(Kind::Time, move |row| value(row) as i64)
}

fn u64s(value: impl Fn(&Finished) -> u64 + Send + 'static) -> Box<dyn Column> {
    values::<UInt64Type>(Kind::U64, value)
}

fn u32s(value: impl Fn(&Finished) -> u32 + Send + 'static) -> Box<dyn Column> {
    values::<UInt32Type>(Kind::U32, value)
}

fn u16s(value: impl Fn(&Finished) -> u16 + Send + 'static) -> Box<dyn Column> {
    values::<UInt16Type>(Kind::U16, value)
}

fn u8s(value: impl FnMut(&Finished) -> u8 + Send + 'static) -> Box<dyn Column> {
    values::<UInt8Type>(Kind::U8, value)
}

fn f64s(value: impl Fn(&Finished) -> f64 + Send + 'static) -> Box<dyn Column> {
    values::<Float64Type>(Kind::F64, value)
}

fn f32s(value: impl Fn(&Finished) -> f32 + Send + 'static) -> Box<dyn Column> {
    values::<Float32Type>(Kind::F32, value)
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let (exists, _) = super::column(column.name, &calendar, true).unwrap();
            assert_eq!(exists != Exists::Always, column.nullable, "{}", column.name);
        }
    }

    #[test]
    fn what_flow_rows_lack_is_not_made() {
        let calendar = Calendar::new("UTC").unwrap();
        assert!(PACKET_COLUMNS.iter().any(|c| super::column(c.name, &calendar, true).is_none()));
        for name in ["fwd_", "fwd_gap_", "bidir_gap_sum_s", "bwd_gap_min", "bidir_len_min"] {
            assert!(super::column(name, &calendar, true).is_none(), "{name}");
        }
    }
}
