//! Packet rows: one row a packet, with the flow that it belongs to.

use arrow::array::ArrayRef;
use arrow::datatypes::{Int16Type, Int32Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::names;
use super::rows::{Mask, Names, address, time, u8s, u16s, u32s, u64s};
use super::state::Head;
use crate::packet::{BACKWARD, LATER_FRAGMENT, NO_VLAN, Packet, flow_id};

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
        Seen { packet: *packet, flow_id: flow_id(&head.key, head.start, head.ordinal) }
    }

    /// Order of packet rows. Packets of one flow and one time stay in their own order (sort stably).
    pub fn key(&self) -> (u64, u64) {
        (self.packet.time, self.flow_id)
    }
}

/// Packets as an Arrow batch of the columns of `schema` (all of `PACKET_COLUMNS`).
pub fn packet_rows(schema: &SchemaRef, packets: &[Seen]) -> RecordBatch {
    let mut times = Vec::with_capacity(packets.len());
    let mut addresses: [Names<(u8, [u8; 16])>; 2] = [Names::new(), Names::new()];
    let mut ports: [Vec<u16>; 2] = Default::default();
    let (mut protocol, mut name) = (Vec::new(), Names::<u8>::new());
    let (mut length, mut payload) = (Vec::new(), Vec::new());
    let (mut is_tcp, mut flags) = (Mask::default(), Vec::new());
    let (mut ttl, mut tagged, mut vlan) = (Vec::new(), Mask::default(), Vec::new());
    let mut ids = Vec::with_capacity(packets.len());
    for Seen { packet, flow_id } in packets {
        let key = &packet.key;
        let mut ends = [(&key.a, key.port_a), (&key.b, key.port_b)];
        if packet.bits & BACKWARD != 0 {
            ends.swap(0, 1);
        }
        times.push(packet.time as i64);
        for ((ip, port), (names, ports)) in ends.into_iter().zip(addresses.iter_mut().zip(&mut ports)) {
            names.push((key.version, *ip), |(version, bytes)| address(*version, bytes));
            ports.push(port);
        }
        protocol.push(key.protocol);
        name.push(key.protocol, |number| names::protocol(*number).into_owned());
        length.push(packet.length);
        payload.push(packet.payload());
        is_tcp.push(key.protocol == 6 && packet.bits & LATER_FRAGMENT == 0);
        flags.push(packet.flags);
        ttl.push(packet.ttl);
        tagged.push(key.vlan != NO_VLAN);
        vlan.push(key.vlan);
        ids.push(*flow_id);
    }
    let [source, destination] = &mut addresses;
    let [source_port, destination_port] = &mut ports;
    let columns: Vec<ArrayRef> = vec![
        time(&mut times),
        source.take::<Int32Type>(None),
        destination.take::<Int32Type>(None),
        u16s(source_port, None),
        u16s(destination_port, None),
        u8s(&mut protocol, None),
        name.take::<Int16Type>(None),
        u32s(&mut length, None),
        u32s(&mut payload, None),
        u8s(&mut flags, is_tcp.take()),
        u8s(&mut ttl, None),
        u16s(&mut vlan, tagged.take()),
        u64s(&mut ids),
    ];
    RecordBatch::try_new(schema.clone(), columns).expect("the columns are those of PACKET_COLUMNS, in order")
}
