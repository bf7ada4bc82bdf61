//! Context against a plain recomputation from all rows, with and without the graph.

mod alone;
mod graph;
mod plainly;
mod plans;
mod recalled;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use arrow::array::{
    Array, ArrayRef, AsArray, StringArray, TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Int64Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::operator::source;

use super::address::Address;
use super::attach::{Layout, Layouts, Values};
use super::distinct::{Distinct, Elements, summarise};
use super::entity::{mix, port, service};
use super::horizon::Horizons;
use super::operator::Remembering;
use super::recall::tests::Simulated;
use super::recall::{Measure, Part, Recalled};
use super::window::{Ask, Cells};
use super::*;
use crate::row::asking::Head;
use crate::row::{Place, RowBatch};
use crate::tally::{Fault, Tally};

/// Length of a window in nanoseconds.
const WINDOW: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
struct Row {
    id: u64,
    window: u64,
    flow: u64,
    start: u64,
    src: u16,
    dst: u16,
    protocol: u8,
    port: u16,
    icmp_type: Option<u8>,
    first: bool,
    state: Option<&'static str>,
    counts: [u64; 4],
}

fn address(host: u16) -> String {
    match host % 3 {
        2 => format!("fd00::{host:x}"),
        // A group.
        _ if host % 7 == 6 => format!("224.0.{}.{}", host / 256, host % 256),
        _ => format!("10.0.{}.{}", host / 256, host % 256),
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let text = |text: fn(&Row) -> Option<String>, key: DataType| -> ArrayRef {
        let plain: StringArray = rows.iter().map(text).collect();
        cast(&plain, &DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8))).unwrap()
    };
    let count = |at: usize| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.counts[at])))
    };
    let starts = TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.start as i64));
    RecordBatch::try_from_iter_with_nullable([
        ("row", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.id))) as ArrayRef, false),
        ("flow_id", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.flow))), false),
        ("flow_start", Arc::new(starts.with_timezone("UTC")), false),
        ("src_ip", text(|row| Some(address(row.src)), DataType::Int32), false),
        ("dst_ip", text(|row| Some(address(row.dst)), DataType::Int32), false),
        ("protocol", Arc::new(UInt8Array::from_iter_values(rows.iter().map(|r| r.protocol))), false),
        ("dst_port", Arc::new(UInt16Array::from_iter_values(rows.iter().map(|r| r.port))), false),
        ("icmp_type", Arc::new(rows.iter().map(|r| r.icmp_type).collect::<UInt8Array>()), true),
        (
            "row_index",
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| u32::from(!r.first)))),
            false,
        ),
        ("conn_state", text(|row| row.state.map(str::to_owned), DataType::Int8), true),
        ("bidir_packets", count(0), false),
        ("fwd_packets", count(0), false),
        ("bwd_packets", count(1), false),
        ("fwd_bytes", count(2), false),
        ("bwd_bytes", count(3), false),
    ])
    .unwrap()
}

/// Rows of up to `hosts` hosts with gaps between windows, some of them longer than any horizon. Some flows go on
/// over several windows, and of some the first row is not there.
fn rows(hosts: u16, most: usize) -> impl Strategy<Value = Vec<Row>> {
    let gap = prop_oneof![20 => Just(0u64), 8 => Just(1), 3 => 2..9u64, 1 => 20..70u64];
    let ports = prop_oneof![4 => prop::sample::select(vec![53u16, 80, 443]), 2 => any::<u16>()];
    let protocol = prop::sample::select(vec![6u8, 17, 1, 58, 47]);
    let state = prop::sample::select(vec!["S0", "SF", "REJ", "RSTOS0", "OTH"]);
    let counts = (prop_oneof![9 => 0..5u64, 1 => Just(u64::MAX / 3)], 0..3u64, 0..2_000u64, 0..9u64);
    let flow = (0..10u8, any::<prop::sample::Index>(), 0..10u64);
    let row = (gap, (0..hosts, 0..hosts), protocol, ports, 0..3u8, flow, state, counts);
    prop::collection::vec(row, 1..most).prop_map(|rows| {
        let mut window = 1_000;
        let mut flows: Vec<Row> = Vec::new();
        let number = rows.into_iter().enumerate().map(|(id, row)| {
            let (gap, (src, dst), protocol, port, icmp_type, (way, which, tenth), state, counts) = row;
            window += gap;
            let (id, counts) = (id as u64, counts.into());
            if way < 3 && !flows.is_empty() {
                let flow = which.get(&flows).clone();
                let there = flows.iter_mut().find(|other| other.flow == flow.flow);
                if let Some(there) = there.filter(|there| there.window < window) {
                    there.window = window;
                    return Row { id, window, first: false, counts, ..flow };
                }
            }
            let row = Row {
                id,
                window,
                flow: mix(id),
                start: if way == 9 { 7 } else { window * WINDOW + tenth * WINDOW / 10 },
                src,
                dst,
                protocol,
                port,
                icmp_type: match (protocol, icmp_type) {
                    (1, 0) => Some(8),
                    (1, 1) => Some(3),
                    (58, 0) => Some(135),
                    _ => None,
                },
                first: way < 9,
                state: (protocol == 6).then_some(state),
                counts,
            };
            flows.push(row.clone());
            row
        });
        number.collect()
    })
}

/// In the place of a null.
const NULL: u64 = u64::MAX;

/// The context columns of rows by id.
fn values(rows: &RecordBatch, into: &mut BTreeMap<u64, Vec<u64>>) {
    let ids = rows.column_by_name("row").unwrap().as_primitive::<UInt64Type>();
    let fields = rows.schema_ref().fields().iter().zip(rows.columns());
    let columns = fields.filter(|(field, _)| is_context(field.name())).map(|(field, column)| {
        assert!(field.is_nullable() || column.null_count() == 0);
        match field.data_type() {
            DataType::Float32 => {
                let column = column.as_primitive::<Float32Type>();
                column.iter().map(|value| value.map_or(NULL, |value| value.to_bits().into())).collect()
            }
            DataType::Boolean => column.as_boolean().values().iter().map(u64::from).collect(),
            DataType::Timestamp(..) => {
                let column = cast(column, &DataType::Int64).unwrap();
                column.as_primitive::<Int64Type>().values().iter().map(|time| *time as u64).collect()
            }
            _ => cast(column, &DataType::UInt64).unwrap().as_primitive::<UInt64Type>().values().to_vec(),
        }
    });
    let columns: Vec<Vec<u64>> = columns.collect();
    for row in 0..rows.num_rows() {
        let before = into.insert(ids.value(row), columns.iter().map(|column| column[row]).collect());
        assert!(before.is_none(), "a row came twice");
    }
}

/// A plan of every column.
fn everything() -> Plan {
    Plan::new(&ContextSpec { columns: vec!["*".to_owned()], ..ContextSpec::default() }).unwrap()
}

fn plan(columns: &[&str]) -> Result<Plan, ContextError> {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    Plan::new(&ContextSpec { columns, ..ContextSpec::default() })
}

/// Rows by window and worker: flows stay together.
fn dealt(rows: &[Row], workers: u64) -> BTreeMap<u64, Vec<Vec<Row>>> {
    let mut windows: BTreeMap<u64, Vec<Vec<Row>>> = BTreeMap::new();
    for row in rows {
        let parts = windows.entry(row.window).or_insert_with(|| vec![Vec::new(); workers as usize]);
        let worker = crate::packet::owner((row.flow >> 48) as u16, workers as usize);
        parts[worker].push(row.clone());
    }
    windows
}

/// A row of a flow of its own that a source begins with one destination and service.
fn plain(id: u64, window: u64, src: u16) -> Row {
    let counts = [1, 1, 60, 40];
    let (protocol, port, state) = (6, 443, Some("SF"));
    let (flow, start) = (id, window * WINDOW);
    Row { id, window, flow, start, src, dst: 1, protocol, port, icmp_type: None, first: true, state, counts }
}
