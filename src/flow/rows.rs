//! Rows of finished spans, built column by column.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float32Array, Float64Array, Int16Array, ListArray, StringArray,
    TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowDictionaryKeyType, DataType, Field, Int8Type, Int16Type, Int32Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::calendar::Calendar;
use super::names;
use super::state::{FIRST_LENGTHS, Gaps, Side};
use super::table::Finished;
use super::tcp::CONN_STATES;
use crate::packet::{NO_VLAN, flow_id};
use crate::row::COLUMNS;

/// Which of a row's values exist, once for all columns that share it.
#[derive(Default)]
pub(super) struct Mask {
    bits: Vec<bool>,
}

impl Mask {
    pub(super) fn push(&mut self, exists: bool) {
        self.bits.push(exists);
    }

    pub(super) fn take(&mut self) -> Option<NullBuffer> {
        let bits = std::mem::take(&mut self.bits);
        if bits.iter().all(|bit| *bit) { None } else { Some(NullBuffer::from(bits)) }
    }
}

/// Text by dictionary: each value is written once a batch.
pub(super) struct Names<K> {
    index: HashMap<K, i32, RandomState>,
    values: Vec<String>,
    keys: Vec<i32>,
}

impl<K: std::hash::Hash + Eq> Names<K> {
    pub(super) fn new() -> Self {
        Names { index: HashMap::default(), values: Vec::new(), keys: Vec::new() }
    }

    #[inline]
    pub(super) fn push(&mut self, value: K, text: impl FnOnce(&K) -> String) {
        let next = self.values.len() as i32;
        let key = *self.index.entry(value).or_insert_with_key(|value| {
            self.values.push(text(value));
            next
        });
        self.keys.push(key);
    }

    pub(super) fn take<T: ArrowDictionaryKeyType>(&mut self, nulls: Option<NullBuffer>) -> ArrayRef
    where
        T::Native: TryFrom<i32>,
    {
        self.index.clear();
        let values = StringArray::from(std::mem::take(&mut self.values));
        let keys = std::mem::take(&mut self.keys).into_iter().map(|key| {
            T::Native::try_from(key).ok().expect("a batch is cut before a dictionary's keys run out")
        });
        let keys = arrow::array::PrimitiveArray::<T>::new(keys.collect(), nulls);
        Arc::new(DictionaryArray::new(keys, Arc::new(values)))
    }
}

/// An address in canonical text (RFC 5952 for IPv6).
pub fn address(version: u8, bytes: &[u8; 16]) -> String {
    match version {
        4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).to_string(),
        _ => Ipv6Addr::from(*bytes).to_string(),
    }
}

/// What stands for a service until its text is needed: the port, or `0x1_0000 |` the ICMP type.
type ServiceKey = u32;

/// Columns of one direction.
#[derive(Default)]
struct SideColumns {
    packets: Vec<u64>,
    bytes: Vec<u64>,
    payload: Vec<u64>,
    any: Mask,
    length_min: Vec<u16>,
    length_max: Vec<u16>,
    length_mean: Vec<f32>,
    length_std: Vec<f32>,
    gaps: GapColumns,
    flags: [Vec<u32>; 8],
    window: Mask,
    window_first: Vec<u16>,
    retransmits: Vec<u32>,
    ttl_min: Vec<u8>,
}

#[derive(Default)]
struct GapColumns {
    any: Mask,
    min: Vec<f32>,
    mean: Vec<f32>,
    std: Vec<f32>,
    max: Vec<f32>,
}

impl GapColumns {
    /// `span` is the sum of the `count` gaps.
    fn push(&mut self, gaps: &Gaps, span: u64, count: u64) {
        self.any.push(count > 0);
        if count == 0 {
            self.min.push(0.0);
            self.mean.push(0.0);
            self.std.push(0.0);
            self.max.push(0.0);
            return;
        }
        let n = count as f64;
        let square = u128::from(span) * u128::from(span);
        let spread = (u128::from(count).wrapping_mul(gaps.squares)).saturating_sub(square);
        self.min.push((gaps.min as f64 / 1e9) as f32);
        self.mean.push((span as f64 / n / 1e9) as f32);
        self.std.push(((spread as f64).sqrt() / n / 1e9) as f32);
        self.max.push((gaps.max as f64 / 1e9) as f32);
    }

    fn take(&mut self) -> [ArrayRef; 4] {
        let nulls = self.any.take();
        let column = |values: &mut Vec<f32>| -> ArrayRef {
            Arc::new(Float32Array::new(std::mem::take(values).into(), nulls.clone()))
        };
        [column(&mut self.min), column(&mut self.mean), column(&mut self.std), column(&mut self.max)]
    }
}

impl SideColumns {
    fn push(&mut self, side: &Side, window_first: Option<u16>) {
        let n = u64::from(side.packets);
        self.packets.push(n);
        self.bytes.push(side.bytes);
        self.payload.push(side.payload);
        self.any.push(n > 0);
        let (mut mean, mut std) = (0.0, 0.0);
        if n > 0 {
            mean = (side.bytes as f64 / n as f64) as f32;
            let square = u128::from(side.bytes) * u128::from(side.bytes);
            let spread = (u128::from(n) * u128::from(side.length_squares)).saturating_sub(square);
            std = ((spread as f64).sqrt() / n as f64) as f32;
        }
        self.length_min.push(side.length_min);
        self.length_max.push(side.length_max);
        self.length_mean.push(mean);
        self.length_std.push(std);
        self.gaps.push(&side.gaps, side.last - side.first, n.saturating_sub(1));
        for (column, count) in self.flags.iter_mut().zip(side.flags) {
            column.push(count);
        }
        self.window.push(window_first.is_some());
        self.window_first.push(window_first.unwrap_or(0));
        self.retransmits.push(side.retransmits);
        self.ttl_min.push(side.ttl_min);
    }
}

/// Gathers rows and gives them as Arrow batches of the wanted columns.
pub struct RowBuilder {
    schema: SchemaRef,
    calendar: Calendar,
    first_lengths: bool,
    rows: usize,
    times: [Vec<i64>; 4],
    flow_id: Vec<u64>,
    addresses: [Names<(u8, [u8; 16])>; 2],
    ports: [Vec<u16>; 2],
    protocol: Vec<u8>,
    protocol_name: Names<u8>,
    service: Names<ServiceKey>,
    ip_version: Vec<u8>,
    tagged: Mask,
    vlan: Vec<u16>,
    is_icmp: Mask,
    icmp: [Vec<u8>; 2],
    moment: [Vec<u8>; 3],
    row_index: Vec<u32>,
    end_reason: Vec<u8>,
    is_tcp: Mask,
    conn_state: Names<u8>,
    durations: [Vec<f64>; 2],
    flow_packets: Vec<u64>,
    flow_bytes: Vec<u64>,
    bidir_packets: Vec<u64>,
    bidir_bytes: Vec<u64>,
    gaps: GapColumns,
    sides: [SideColumns; 2],
    shook: Mask,
    handshake: Vec<f32>,
    fragments: Vec<u32>,
    is_first: Mask,
    lengths: Vec<i16>,
    length_ends: Vec<i32>,
}

impl RowBuilder {
    /// Rows after which a batch should be taken: enough for work by column, few enough to stay in cache
    /// (and below the 32,767 names that a column of services can hold).
    pub const TARGET: usize = 8192;

    /// A builder of the columns of `schema`, each of which stands in the dictionary.
    pub fn new(schema: SchemaRef, calendar: Calendar, first_lengths: bool) -> RowBuilder {
        RowBuilder {
            schema,
            calendar,
            first_lengths,
            rows: 0,
            times: Default::default(),
            flow_id: Vec::new(),
            addresses: [Names::new(), Names::new()],
            ports: Default::default(),
            protocol: Vec::new(),
            protocol_name: Names::new(),
            service: Names::new(),
            ip_version: Vec::new(),
            tagged: Mask::default(),
            vlan: Vec::new(),
            is_icmp: Mask::default(),
            icmp: Default::default(),
            moment: Default::default(),
            row_index: Vec::new(),
            end_reason: Vec::new(),
            is_tcp: Mask::default(),
            conn_state: Names::new(),
            durations: Default::default(),
            flow_packets: Vec::new(),
            flow_bytes: Vec::new(),
            bidir_packets: Vec::new(),
            bidir_bytes: Vec::new(),
            gaps: GapColumns::default(),
            sides: Default::default(),
            shook: Mask::default(),
            handshake: Vec::new(),
            fragments: Vec::new(),
            is_first: Mask::default(),
            lengths: Vec::new(),
            length_ends: vec![0],
        }
    }

    /// Rows gathered.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether a batch should be taken now.
    pub fn is_full(&self) -> bool {
        self.rows >= Self::TARGET
    }

    /// Adds a row of the window that starts at `window_start`.
    pub fn push(&mut self, window_start: u64, row: &Finished) {
        let Finished { head, span, reason } = row;
        let key = &head.key;
        self.rows += 1;
        let (first, last) = (span.first(), head.last);
        for (column, time) in self.times.iter_mut().zip([window_start, head.start, first, last]) {
            column.push(time as i64);
        }
        self.flow_id.push(flow_id(key, head.start, head.ordinal));
        let mut ends = [(&key.a, key.port_a), (&key.b, key.port_b)];
        if head.initiator_is_b() {
            ends.swap(0, 1);
        }
        for ((ip, port), (names, ports)) in
            ends.into_iter().zip(self.addresses.iter_mut().zip(&mut self.ports))
        {
            names.push((key.version, *ip), |(version, bytes)| address(*version, bytes));
            ports.push(port);
        }
        self.protocol.push(key.protocol);
        self.protocol_name.push(key.protocol, |number| names::protocol(*number).into_owned());
        let icmp = head.is_icmp();
        let service = if icmp { 0x1_0000 | u32::from(head.icmp[0]) } else { service_key(ends[1].1) };
        self.service.push(service, |key| match key >> 16 {
            0 => names::service(*key as u16).into_owned(),
            _ => names::icmp_service(*key as u8),
        });
        self.ip_version.push(key.version);
        self.tagged.push(key.vlan != NO_VLAN);
        self.vlan.push(key.vlan);
        self.is_icmp.push(icmp);
        for (column, value) in self.icmp.iter_mut().zip(head.icmp) {
            column.push(value);
        }
        let moment = self.calendar.moment(first);
        for (column, value) in self.moment.iter_mut().zip([moment.hour, moment.minute, moment.weekday]) {
            column.push(value);
        }
        self.row_index.push(head.row_index);
        self.end_reason.push(*reason);
        let tcp = head.is_tcp();
        self.is_tcp.push(tcp);
        self.conn_state.push(head.tcp.conn_state(), |state| CONN_STATES[*state as usize].to_owned());
        self.durations[0].push((last - first) as f64 / 1e9);
        self.durations[1].push((last - head.start) as f64 / 1e9);
        let (packets, bytes) = (span.packets(), span.bytes());
        self.flow_packets.push(head.packets + packets);
        self.flow_bytes.push(head.bytes + bytes);
        self.bidir_packets.push(packets);
        self.bidir_bytes.push(bytes);
        self.gaps.push(&span.gaps, last - first, packets - 1);
        for (index, columns) in self.sides.iter_mut().enumerate() {
            columns.push(&span.sides[index], head.tcp.window_first(index).filter(|_| tcp));
        }
        self.shook.push(span.handshake != u64::MAX);
        self.handshake.push((span.handshake as f64 / 1e9) as f32);
        self.fragments.push(span.fragments);
        let has_lengths = head.row_index == 0;
        self.is_first.push(has_lengths);
        if has_lengths && self.first_lengths {
            let count = packets.min(FIRST_LENGTHS as u64) as usize;
            self.lengths.extend(&span.first_lengths[..count]);
        }
        self.length_ends.push(self.lengths.len() as i32);
    }

    /// The rows gathered so far as a batch; the builder is empty afterwards.
    pub fn take(&mut self) -> RecordBatch {
        let mut all = self.columns().into_iter();
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        let mut wanted = self.schema.fields().iter().peekable();
        for column in COLUMNS {
            let array = all.next().expect("as many columns as the dictionary has");
            if wanted.peek().is_some_and(|field| field.name() == column.name) {
                wanted.next();
                columns.push(array);
            }
        }
        self.rows = 0;
        RecordBatch::try_new(self.schema.clone(), columns)
            .expect("the builder's columns are the dictionary's, in its order")
    }

    /// Every column in the order of the dictionary.
    fn columns(&mut self) -> Vec<ArrayRef> {
        let tcp = self.is_tcp.take();
        let icmp = self.is_icmp.take();
        let tagged = self.tagged.take();
        let mut all: Vec<ArrayRef> = Vec::with_capacity(COLUMNS.len());
        let [window_start, flow_start, row_start, row_end] = &mut self.times;
        all.push(time(window_start));
        all.push(u64s(&mut self.flow_id));
        for column in [flow_start, row_start, row_end] {
            all.push(time(column));
        }
        for names in &mut self.addresses {
            all.push(names.take::<Int32Type>(None));
        }
        for ports in &mut self.ports {
            all.push(u16s(ports, None));
        }
        all.push(u8s(&mut self.protocol, None));
        all.push(self.protocol_name.take::<Int16Type>(None));
        all.push(self.service.take::<Int16Type>(None));
        all.push(u8s(&mut self.ip_version, None));
        all.push(u16s(&mut self.vlan, tagged));
        for column in &mut self.icmp {
            all.push(u8s(column, icmp.clone()));
        }
        for column in &mut self.moment {
            all.push(u8s(column, None));
        }
        all.push(u32s(&mut self.row_index, None));
        all.push(u8s(&mut self.end_reason, None));
        all.push(self.conn_state.take::<Int8Type>(tcp.clone()));
        for column in &mut self.durations {
            all.push(Arc::new(Float64Array::from(std::mem::take(column))));
        }
        all.push(u64s(&mut self.flow_packets));
        all.push(u64s(&mut self.flow_bytes));
        let [forward, backward] = &mut self.sides;
        all.push(u64s(&mut self.bidir_packets));
        all.push(u64s(&mut forward.packets));
        all.push(u64s(&mut backward.packets));
        all.push(u64s(&mut self.bidir_bytes));
        all.push(u64s(&mut forward.bytes));
        all.push(u64s(&mut backward.bytes));
        all.push(u64s(&mut forward.payload));
        all.push(u64s(&mut backward.payload));
        let any = [forward.any.take(), backward.any.take()];
        for (side, any) in [&mut *forward, &mut *backward].into_iter().zip(&any) {
            all.push(u16s(&mut side.length_min, any.clone()));
            all.push(u16s(&mut side.length_max, any.clone()));
        }
        for (side, any) in [&mut *forward, &mut *backward].into_iter().zip(&any) {
            all.push(f32s(&mut side.length_mean, any.clone()));
            all.push(f32s(&mut side.length_std, any.clone()));
        }
        all.extend(self.gaps.take());
        all.extend(forward.gaps.take());
        all.extend(backward.gaps.take());
        // As the dictionary lists them: SYN, ACK, FIN, RST, PSH, URG, ECE, CWR.
        for side in [&mut *forward, &mut *backward] {
            for flag in [1, 4, 0, 2, 3, 5, 6, 7] {
                all.push(u32s(&mut side.flags[flag], tcp.clone()));
            }
        }
        for side in [&mut *forward, &mut *backward] {
            let window = side.window.take();
            all.push(u16s(&mut side.window_first, window));
        }
        for side in [&mut *forward, &mut *backward] {
            all.push(u32s(&mut side.retransmits, tcp.clone()));
        }
        let shook = self.shook.take();
        all.push(f32s(&mut self.handshake, shook));
        for (side, any) in [forward, backward].into_iter().zip(any) {
            all.push(u8s(&mut side.ttl_min, any));
        }
        all.push(u32s(&mut self.fragments, None));
        let ends = std::mem::replace(&mut self.length_ends, vec![0]);
        let lengths = Int16Array::from(std::mem::take(&mut self.lengths));
        all.push(Arc::new(ListArray::new(
            Field::new_list_field(DataType::Int16, true).into(),
            OffsetBuffer::new(ends.into()),
            Arc::new(lengths),
            self.is_first.take(),
        )));
        all
    }
}

/// Ports above 32767 are one service.
fn service_key(port: u16) -> ServiceKey {
    u32::from(port.min(32768))
}

pub(super) fn time(values: &mut Vec<i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(std::mem::take(values)).with_timezone("UTC"))
}

pub(super) fn u64s(values: &mut Vec<u64>) -> ArrayRef {
    Arc::new(UInt64Array::from(std::mem::take(values)))
}

pub(super) fn u32s(values: &mut Vec<u32>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(UInt32Array::new(std::mem::take(values).into(), nulls))
}

pub(super) fn u16s(values: &mut Vec<u16>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(UInt16Array::new(std::mem::take(values).into(), nulls))
}

pub(super) fn u8s(values: &mut Vec<u8>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(UInt8Array::new(std::mem::take(values).into(), nulls))
}

fn f32s(values: &mut Vec<f32>, nulls: Option<NullBuffer>) -> ArrayRef {
    let array = Float32Array::new(std::mem::take(values).into(), nulls);
    Arc::new(array)
}
