//! Packet rows: one row a packet, with the flow that it belongs to.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{SchemaRef, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow::record_batch::RecordBatch;

use super::columns;
use super::state::Head;
use super::text::Addresses;
use crate::packet::{BACKWARD, LATER_FRAGMENT, NO_VLAN, Packet};

/// What a packet row needs, kept until its window ends.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The packet.
    pub packet: Packet,
    /// Its flow.
    pub flow_id: u64,
}

impl Seen {
    /// The packet as it was added to the flow.
    pub fn new(packet: &Packet, head: &Head) -> Seen {
        Seen { packet: *packet, flow_id: head.flow_id() }
    }

    /// Order of packet rows. Packets of one flow and one time stay in their own order (sort stably).
    pub fn key(&self) -> (u64, u64) {
        (self.packet.time, self.flow_id)
    }
}

/// Packets as an Arrow batch of the columns of `schema` (all of `PACKET_COLUMNS`).
pub fn packet_rows(schema: &SchemaRef, rows: &[Seen]) -> RecordBatch {
    let mut addresses = [Addresses::new(), Addresses::new()];
    let mut protocols = columns::protocol_names();
    for Seen { packet, .. } in rows {
        let ends =
            if backward(packet) { [&packet.key.b, &packet.key.a] } else { [&packet.key.a, &packet.key.b] };
        for (addresses, end) in addresses.iter_mut().zip(ends) {
            addresses.push(packet.key.version, end);
        }
        protocols.push(packet.key.protocol.into());
    }
    let [mut source, mut destination] = addresses;
    let is_tcp = nulls(rows, |packet| packet.key.protocol == 6 && packet.bits & LATER_FRAGMENT == 0);
    let tagged = nulls(rows, |packet| packet.key.vlan != NO_VLAN);
    let times = rows.iter().map(|row| row.packet.time as i64).collect::<Vec<_>>();
    let ids = rows.iter().map(|row| row.flow_id).collect::<Vec<_>>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(PrimitiveArray::<TimestampNanosecondType>::from(times).with_timezone("UTC")),
        source.take(),
        destination.take(),
        values::<UInt16Type>(rows, None, |p| if backward(p) { p.key.port_b } else { p.key.port_a }),
        values::<UInt16Type>(rows, None, |p| if backward(p) { p.key.port_a } else { p.key.port_b }),
        values::<UInt8Type>(rows, None, |p| p.key.protocol),
        protocols.take(None),
        values::<UInt32Type>(rows, None, |p| p.length),
        values::<UInt32Type>(rows, None, Packet::payload),
        values::<UInt8Type>(rows, is_tcp, |p| p.flags),
        values::<UInt8Type>(rows, None, |p| p.ttl),
        values::<UInt16Type>(rows, tagged, |p| p.key.vlan),
        Arc::new(PrimitiveArray::<UInt64Type>::from(ids)),
    ];
    RecordBatch::try_new(schema.clone(), columns).expect("the columns are those of PACKET_COLUMNS, in order")
}

/// Whether the sender is the key's end `b`.
fn backward(packet: &Packet) -> bool {
    packet.bits & BACKWARD != 0
}

fn values<T: ArrowPrimitiveType>(
    rows: &[Seen],
    nulls: Option<NullBuffer>,
    value: impl Fn(&Packet) -> T::Native,
) -> ArrayRef {
    let values: Vec<T::Native> = rows.iter().map(|row| value(&row.packet)).collect();
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
}

/// Which rows have something; `None` if all have.
fn nulls(rows: &[Seen], has: impl Fn(&Packet) -> bool) -> Option<NullBuffer> {
    let nulls: NullBuffer = rows.iter().map(|row| has(&row.packet)).collect::<Vec<bool>>().into();
    (nulls.null_count() > 0).then_some(nulls)
}
