//! Rows for tests: every column with values, nulls and lists, the same for a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float32Array, Float64Array, ListArray,
    PrimitiveArray, RecordBatch, StringArray, TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowDictionaryKeyType, ArrowNativeType, DataType, Int8Type, Int16Type, Int32Type, SchemaRef, UInt8Type,
};

use crate::detect::random::SplitMix64;
use crate::detect::scored_schema;
use crate::row::schema::flow_schema;
use crate::row::{COLUMNS, Kind, RowSettings};

/// 2026-11-22 09:30 UTC.
pub(super) const START: i64 = 1_795_339_800_000_000_000;
const WINDOW: i64 = 10_000_000_000;
/// A reason as detectors write them.
const REASON: &str = concat!(
    r#"{"score":7.9,"total":17.25,"line":"10.1.2.3 -> 41 hosts: 41 peers in 10 s; usual 3, p99 6","#,
    r#""parts":[{"name":"fan-out","nats":11,"groups":[{"name":"fan src","nats":6.1}]},{"name":"volume","nats":6.25,"groups":[]}],"#,
    r#""evidence":[{"column":"ctx_src_w1_peers","entity":"10.1.2.3","value":[41,41],"usual":[3,6],"p":1.2e-5,"nats":11.3,"words":"41 peers in 10 s; usual 3, p99 6"},"#,
    r#"{"column":"ctx_src_w1_services","entity":"10.1.2.3","value":[9,9],"usual":null,"p":1e-3,"nats":6.9,"words":"9 services in 10 s"}],"#,
    r#""hints":[{"technique":"T1046","name":"Network Service Discovery"}]}"#,
);

/// The schema of scored flow rows.
pub(super) fn schema() -> SchemaRef {
    let settings = BTreeMap::from([("window".to_owned(), "10s".to_owned())]);
    scored_schema(&flow_schema(&RowSettings { settings }, |_| true))
}

/// Scored flow rows of many hosts, a hundred to a window. One in ten is an anomaly.
pub(super) fn scored(rows: usize, seed: u64) -> RecordBatch {
    let schema = schema();
    let mut numbers = SplitMix64::new(seed);
    let mut columns: Vec<ArrayRef> = Vec::new();
    for column in COLUMNS {
        let exists: Vec<bool> =
            (0..rows).map(|_| !column.nullable || !numbers.next().is_multiple_of(3)).collect();
        let values: Vec<u64> = (0..rows).map(|_| numbers.next() >> (numbers.next() % 60 + 1)).collect();
        columns.push(array(column.name, column.kind, &exists, &values));
    }
    let protocols = columns[schema.index_of("protocol").unwrap()].as_primitive::<UInt8Type>().clone();
    let protocol_name = |number: u8| match number {
        6 => "tcp",
        17 => "udp",
        1 => "icmp",
        _ => "icmp6",
    };
    columns[schema.index_of("protocol_name").unwrap()] =
        texts::<Int16Type>(protocols.values().iter().map(|number| Some(protocol_name(*number).to_owned())));
    columns[schema.index_of("ip_version").unwrap()] = Arc::new(UInt8Array::from(vec![4; rows]));
    let scores: Vec<f64> = (0..rows).map(|_| (numbers.next() % 1000) as f64 / 1000.0).collect();
    columns.push(Arc::new(Float64Array::from(scores.clone())));
    columns.push(Arc::new(scores.iter().map(|score| Some(1.0 - score)).collect::<Float64Array>()));
    columns.push(Arc::new(scores.iter().map(|score| Some(*score > 0.9)).collect::<BooleanArray>()));
    let partitions = (0..rows).map(|row| Some(["tcp", "udp"][row % 2]));
    columns.push(Arc::new(partitions.collect::<DictionaryArray<Int16Type>>()));
    columns
        .push(Arc::new(scores.iter().map(|score| (*score > 0.9).then_some(REASON)).collect::<StringArray>()));
    RecordBatch::try_new(schema, columns).unwrap()
}

fn array(name: &str, kind: Kind, exists: &[bool], values: &[u64]) -> ArrayRef {
    let each = exists.iter().zip(values).map(|(exists, value)| exists.then_some(*value));
    let rows = values.len() as i64;
    match kind {
        Kind::Time => {
            let times = (0..rows).zip(values).map(|(row, value)| match name {
                "window_start" => START + row / 100 * WINDOW,
                _ => START + row / 100 * WINDOW + (value % WINDOW as u64) as i64,
            });
            Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))
        }
        Kind::Name8 => texts::<Int8Type>(each.map(|v| v.map(|v| format!("S{}", v % 13)))),
        Kind::Name16 => texts::<Int16Type>(each.map(|v| v.map(|v| format!("name-{}", v % 300)))),
        Kind::Name32 => texts::<Int32Type>(
            each.map(|v| v.map(|v| format!("10.{}.{}.{}", v % 3, v / 3 % 256, v / 768 % 256))),
        ),
        Kind::U8 if name == "protocol" => {
            Arc::new(each.map(|v| v.map(|v| [6, 17, 1, 58][v as usize % 4])).collect::<UInt8Array>())
        }
        Kind::U8 => Arc::new(each.map(|v| v.map(|v| v as u8)).collect::<UInt8Array>()),
        Kind::U16 => Arc::new(each.map(|v| v.map(|v| v as u16)).collect::<UInt16Array>()),
        Kind::U32 => Arc::new(each.map(|v| v.map(|v| (v % 50) as u32)).collect::<UInt32Array>()),
        Kind::U64 => Arc::new(each.collect::<UInt64Array>()),
        Kind::F32 => Arc::new(each.map(|v| v.map(|v| v as f32 / 1e6)).collect::<Float32Array>()),
        Kind::F64 => Arc::new(each.map(|v| v.map(|v| v as f64 / 1e9)).collect::<Float64Array>()),
        Kind::Bool => Arc::new(each.map(|v| v.map(|v| v % 2 == 0)).collect::<BooleanArray>()),
        Kind::I16List => Arc::new(ListArray::from_iter_primitive::<Int16Type, _, _>(
            each.map(|v| v.map(|v| (0..v % 9).map(|item| Some((v >> item) as i16)).collect::<Vec<_>>())),
        )),
    }
}

fn texts<K: ArrowDictionaryKeyType>(texts: impl Iterator<Item = Option<String>>) -> ArrayRef {
    let texts: Vec<Option<String>> = texts.collect();
    Arc::new(texts.iter().map(Option::as_deref).collect::<DictionaryArray<K>>())
}

/// The rows in batches that begin at `cuts`, each with dictionaries of its own layout.
pub(super) fn cut(rows: &RecordBatch, mut cuts: Vec<usize>, layout: u64) -> Vec<RecordBatch> {
    cuts.retain(|cut| *cut <= rows.num_rows());
    cuts.extend([0, rows.num_rows()]);
    cuts.sort_unstable();
    let mut numbers = SplitMix64::new(layout);
    let part = |pair: &[usize]| {
        let part = rows.slice(pair[0], pair[1] - pair[0]);
        let columns = part.columns().iter().map(|column| laid_out(column, &mut numbers)).collect();
        RecordBatch::try_new(part.schema(), columns).unwrap()
    };
    cuts.windows(2).map(part).collect()
}

/// The same values by a dictionary in another order, with values that nobody uses.
fn laid_out(column: &ArrayRef, numbers: &mut SplitMix64) -> ArrayRef {
    match column.data_type() {
        DataType::Dictionary(key, _) => match key.as_ref() {
            DataType::Int8 => relaid::<Int8Type>(column, numbers),
            DataType::Int16 => relaid::<Int16Type>(column, numbers),
            _ => relaid::<Int32Type>(column, numbers),
        },
        _ => column.clone(),
    }
}

fn relaid<K: ArrowDictionaryKeyType>(column: &ArrayRef, numbers: &mut SplitMix64) -> ArrayRef {
    let texts = cast(column, &DataType::Utf8).unwrap();
    let texts = texts.as_string::<i32>();
    let mut values: Vec<&str> = texts.iter().flatten().chain(["unused", "values"]).collect();
    values.sort_unstable();
    values.dedup();
    for at in (1..values.len()).rev() {
        values.swap(at, (numbers.next() % (at as u64 + 1)) as usize);
    }
    let keys = values.iter().enumerate().map(|(at, value)| (*value, K::Native::from_usize(at).unwrap()));
    let index: BTreeMap<&str, K::Native> = keys.collect();
    let keys: PrimitiveArray<K> = texts.iter().map(|text| text.map(|text| index[text])).collect();
    Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(values))))
}

/// The columns with dictionaries resolved, to compare values only.
pub(super) fn plain(rows: &RecordBatch) -> Vec<ArrayRef> {
    let column = |column: &ArrayRef| match column.data_type() {
        DataType::Dictionary(_, value) => cast(column, value).unwrap(),
        _ => column.clone(),
    };
    rows.columns().iter().map(column).collect()
}

/// Three anomalies as a person would write them: a TCP flow, a ping's reply, UDP from a scoped address.
pub(super) fn alerts() -> RecordBatch {
    let rows = scored(3, 1);
    let end = START + 250_000_000;
    let replaced: Vec<(&str, ArrayRef)> = vec![
        ("flow_id", Arc::new(UInt64Array::from(vec![u64::MAX, 5, 6]))),
        ("flow_start", times([START - WINDOW; 3])),
        // Stamps are of microseconds.
        ("row_start", times([end - 1000; 3])),
        ("row_end", times([end; 3])),
        ("src_ip", names(["10.0.5.23", "2001:db8::1", "fe80::1%eth"])),
        ("dst_ip", names(["198.51.100.7", "2001:db8::2", "2001:db8::2"])),
        ("src_port", Arc::new(UInt16Array::from(vec![51514, 0, 53]))),
        ("dst_port", Arc::new(UInt16Array::from(vec![443, 0, 5353]))),
        ("protocol", Arc::new(UInt8Array::from(vec![6, 58, 17]))),
        ("protocol_name", names(["tcp", "icmp6", "udp"])),
        ("service", names(["https", "icmp-129", "dns"])),
        ("ip_version", Arc::new(UInt8Array::from(vec![4, 6, 6]))),
        ("vlan", Arc::new(UInt16Array::from(vec![Some(120), None, None]))),
        ("icmp_type", Arc::new(UInt8Array::from(vec![None, Some(129), None]))),
        ("icmp_code", Arc::new(UInt8Array::from(vec![None, Some(0), None]))),
        ("conn_state", texts::<Int8Type>([Some("S0".to_owned()), None, None].into_iter())),
        ("duration_s", Arc::new(Float64Array::from(vec![297.0, 0.0, 1.5]))),
        ("fwd_packets", Arc::new(UInt64Array::from(vec![41, 1, 2]))),
        ("bwd_packets", Arc::new(UInt64Array::from(vec![39, 0, 0]))),
        ("fwd_bytes", Arc::new(UInt64Array::from(vec![8210, 70, 1_500_000]))),
        ("bwd_bytes", Arc::new(UInt64Array::from(vec![11702, 0, 0]))),
        ("score", Arc::new(Float64Array::from(vec![0.76, 0.51, 0.64]))),
        ("is_anomaly", Arc::new(BooleanArray::from(vec![true; 3]))),
        ("reasons", Arc::new(StringArray::from(vec![Some(REASON), None, Some("\"odd\"")]))),
    ];
    let mut columns = rows.columns().to_vec();
    for (name, column) in replaced {
        let at = rows.schema().index_of(name).unwrap();
        columns[at] = cast(&column, rows.schema().field(at).data_type()).unwrap();
    }
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

fn times(times: [i64; 3]) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(times.to_vec()).with_timezone("UTC"))
}

fn names(names: [&str; 3]) -> ArrayRef {
    Arc::new(StringArray::from(names.to_vec()))
}
