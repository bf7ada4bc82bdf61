//! Context against a plain recomputation from all rows, with and without the graph.

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

use super::attach::{Schemas, Values};
use super::distinct::{Distinct, Elements, summarise};
use super::entity::{Address, mix, port, service};
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
                icmp_type: (protocol == 1 && icmp_type < 2).then_some(icmp_type),
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

fn code(row: &Row) -> u32 {
    port(row.protocol.into(), row.port.into(), row.icmp_type.map(u64::from))
}

/// What rows of one identity have in common.
fn parts(row: &Row, (src, dst, part): (bool, bool, Part)) -> (Option<u16>, Option<u16>, u32) {
    let part = match part {
        Part::Nothing => 0,
        Part::Service => service(code(row)),
        Part::Port => code(row),
    };
    (src.then_some(row.src), dst.then_some(row.dst), part)
}

/// A column that looks beyond the horizon, from all rows.
fn recalled(rows: &[Row], row: &Row, column: Recalled) -> u64 {
    let identity = &IDENTITIES[column.of()];
    let own = |row: &Row| parts(row, (identity.src, identity.dst, identity.part));
    let all: Vec<&Row> = rows.iter().filter(|other| own(other) == own(row)).collect();
    let first = all.iter().map(|other| other.window).min().unwrap();
    match column {
        Recalled::Age(_) => (row.window - first).min(60),
        Recalled::First(_) => first * WINDOW,
        // Nothing was known before.
        Recalled::New => 0,
        Recalled::Lead(_) => {
            let now = all.iter().filter(|other| other.window == row.window);
            u64::from(now.map(|other| other.flow).min() == Some(row.flow))
        }
        Recalled::Regularity(_, measure) => {
            let (last, least) = if measure == Measure::Cv16 { (16, 8) } else { (8, 4) };
            let of_flow = rows.iter().filter(|other| other.flow == row.flow && other.window <= row.window);
            let of_flow: Vec<&Row> = of_flow.collect();
            let silent = of_flow.windows(2).any(|pair| pair[1].window - pair[0].window > 60);
            if !of_flow[0].first || silent {
                return NULL;
            }
            let mut starts: Vec<(u64, u64)> =
                all.iter().filter(|other| other.first).map(|other| (other.start, other.flow)).collect();
            starts.sort_unstable();
            let at = starts.binary_search(&(of_flow[0].start, row.flow)).unwrap();
            let gaps: Vec<u128> =
                (1..=at).rev().take(last).map(|at| u128::from(starts[at].0 - starts[at - 1].0)).collect();
            let (count, sum) = (gaps.len() as u128, gaps.iter().sum::<u128>());
            if gaps.len() < least || sum <= count * 1_000_000 {
                return NULL;
            }
            let spread = count * gaps.iter().map(|gap| gap * gap).sum::<u128>() - sum * sum;
            let value = match measure {
                Measure::Gap8 => sum as f64 / count as f64 / 1e9,
                _ => (spread as f64).sqrt() / sum as f64,
            };
            u64::from((value as f32).to_bits())
        }
    }
}

/// In the place of a null.
const NULL: u64 = u64::MAX;

/// Every context column of every row by id, from all rows, in the plainest way.
fn expected(rows: &[Row]) -> BTreeMap<u64, Vec<u64>> {
    let definitions = definitions();
    let same = |a: &Row, b: &Row, entity: &Entity| {
        (!entity.src || a.src == b.src)
            && (!entity.dst || a.dst == b.dst)
            && (!entity.service || service(code(a)) == service(code(b)))
    };
    let parsed = |host| Address::parse(Some(&address(host)));
    let value = |row: &Row, definition: &Definition| {
        let definition = match &definition.0 {
            Column::Counted(counting) => counting,
            Column::Recalled(column) => return recalled(rows, row, *column),
        };
        let entity = &ENTITIES[definition.entity];
        let horizon = HORIZONS[definition.horizon];
        let within = |other: &&Row| other.window <= row.window && other.window + horizon > row.window;
        let others: Vec<&Row> = rows.iter().filter(within).filter(|other| same(row, other, entity)).collect();
        let sum = |of: &dyn Fn(&Row) -> u64| others.iter().fold(0, |sum: u64, r| sum.wrapping_add(of(r)));
        let distinct = |of: &dyn Fn(&Row) -> u64| {
            let mut hashes: Vec<u64> = others.iter().map(|row| of(row)).collect();
            let mut set = Distinct::default();
            let elements = match summarise(&mut hashes) {
                true => Elements::Registers(&hashes),
                false => Elements::Each(&hashes),
            };
            set.add(0, elements, 1);
            u64::from(set.counts(0, &HORIZONS)[0])
        };
        match definition.statistic {
            Statistic::Flows => sum(&|row| row.first.into()),
            Statistic::Rows => others.len() as u64,
            Statistic::Failed => sum(&|row| {
                let tcp = matches!(row.state, Some("S0" | "REJ" | "RSTOS0"));
                u64::from(tcp || (matches!(row.protocol, 1 | 17 | 58) && row.counts[1] == 0))
            }),
            Statistic::Packets => sum(&|row| row.counts[0]),
            Statistic::FwdBytes => sum(&|row| row.counts[2]),
            Statistic::BwdBytes => sum(&|row| row.counts[3]),
            Statistic::Peers if entity.src => distinct(&|row| parsed(row.dst).element(0)),
            Statistic::Peers => distinct(&|row| parsed(row.src).element(0)),
            Statistic::Ports => distinct(&|row| mix(code(row).into())),
            Statistic::Services => distinct(&|row| mix(service(code(row)).into())),
            Statistic::Ends => distinct(&|row| parsed(row.dst).element(code(row))),
            Statistic::NewPeers | Statistic::NewPorts | Statistic::NewServices | Statistic::NewEnds => {
                let element = |row: &Row| parts(row, definitions::element(entity, definition.statistic));
                let before: BTreeSet<_> = rows
                    .iter()
                    .filter(|other| same(row, other, entity) && other.window + horizon <= row.window)
                    .map(element)
                    .collect();
                let now: BTreeSet<_> = others.iter().map(|other| element(other)).collect();
                now.difference(&before).count() as u64
            }
            Statistic::Active => others.iter().map(|row| row.window).collect::<BTreeSet<u64>>().len() as u64,
        }
    };
    rows.iter().map(|row| (row.id, definitions.iter().map(|d| value(row, d)).collect())).collect()
}

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

/// What the graph does, without one. Also how many entities are remembered after each window.
fn simulate(plan: &Plan, rows: &[Row], workers: u64, size: usize) -> (BTreeMap<u64, Vec<u64>>, Vec<usize>) {
    let shared = Arc::new(plan.clone());
    let mut memories: Vec<Horizons> = (0..workers).map(|_| Horizons::new(shared.clone())).collect();
    let mut recall = Simulated::new(plan, workers as usize, WINDOW);
    let mut schemas = Schemas::default();
    let (mut found, mut remembered) = (BTreeMap::new(), Vec::new());
    for (window, parts) in dealt(rows, workers) {
        let mut held = Vec::new();
        let mut asks = Vec::new();
        let parts = parts.iter().map(|part| part.chunks(size).map(batch).collect()).collect();
        let parts: Vec<Vec<RecordBatch>> = recall.window(window * WINDOW, parts);
        for (from, batches) in parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty()) {
            let mut cells = Cells::new(plan, Default::default());
            let of_rows: Vec<Vec<u32>> = batches.iter().map(|rows| cells.add(plan, rows).unwrap()).collect();
            let mut counted = cells.close(plan);
            let told = |at: usize| plan.groups[at].told_by_rows(workers as usize);
            let groups = 0..plan.groups.len();
            let known = groups.clone().map(|at| if told(at) { counted.values(plan, at) } else { Vec::new() });
            let known = known.collect();
            held.push((from, batches, of_rows, Values::new(plan, counted.of_cells(), known)));
            for group in groups.filter(|at| !told(*at)) {
                for number in 0..counted.count(group) {
                    let key = counted.key(plan, group, number);
                    let target = key.owner(workers as usize) as u32;
                    let head = Head { window, from: from as u32, target, group: group as u32, reserved: 0 };
                    let mut ask = Ask { head, ..Ask::default() };
                    counted.ask(plan, group, number, key, &mut ask);
                    asks.push(ask);
                }
            }
        }
        memories.iter_mut().for_each(|memory| memory.open(window));
        asks.reverse();
        let taken: Vec<_> = asks
            .into_iter()
            .map(|ask| (ask.head.target as usize, memories[ask.head.target as usize].take(ask)))
            .collect();
        for (owner, taken) in taken {
            let answer = memories[owner].answer(taken);
            let mut askers = held.iter_mut().filter(|held| held.0 == answer.head.target as usize);
            askers.next().unwrap().3.put(plan, &answer);
        }
        memories.iter_mut().for_each(|memory| {
            memory.close();
        });
        remembered.push(memories.iter().map(Horizons::len).sum());
        for (_, batches, cells, attached) in &held {
            for (rows, cells) in batches.iter().zip(cells) {
                let schema = schemas.of(plan, rows.schema_ref());
                values(&attached.attach(plan, rows, cells, &schema), &mut found);
            }
        }
    }
    (found, remembered)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn values_are_those_of_all_rows_of_the_horizon(
        rows in rows(6, 120), workers in 1..4u64, size in 1..20usize,
    ) {
        let (found, _) = simulate(&everything(), &rows, workers, size);
        prop_assert_eq!(found, expected(&rows));
    }

    #[test]
    fn values_hold_where_sets_outgrow_exact_counts(rows in rows(250, 400), workers in 1..4u64) {
        // One source that meets everybody.
        let rows: Vec<Row> = rows.into_iter().map(|row| Row { src: row.src % 2, ..row }).collect();
        let (found, _) = simulate(&everything(), &rows, workers, 50);
        prop_assert_eq!(found, expected(&rows));
    }

    #[test]
    fn what_is_told_by_rows_is_what_anybody_would_answer(rows in rows(250, 400)) {
        let rows: Vec<Row> = rows.into_iter().map(|row| Row { src: row.src % 2, ..row }).collect();
        let plan = plan(&["ctx_*_w1_*"]).unwrap();
        prop_assert_eq!(simulate(&plan, &rows, 1, 50).0, simulate(&plan, &rows, 3, 50).0);
    }

    #[test]
    fn rhythms_are_those_of_all_starts_of_a_kind(rows in rows(2, 300), workers in 1..4u64) {
        // Two services, so that flows of a kind are many.
        let pair = |row: Row| Row { protocol: 6, port: row.port % 2, icmp_type: None, ..row };
        let rows: Vec<Row> = rows.into_iter().map(pair).collect();
        let plan = plan(&["reg_*"]).unwrap();
        let (found, _) = simulate(&plan, &rows, workers, 20);
        let columns: Vec<Definition> =
            definitions().into_iter().filter(|column| column.name().starts_with("reg_")).collect();
        for row in &rows {
            let wanted = columns.iter().map(|column| match column.0 {
                Column::Recalled(column) => recalled(&rows, row, column),
                Column::Counted(_) => NULL,
            });
            prop_assert_eq!(&found[&row.id], &wanted.collect::<Vec<u64>>());
        }
        // With so many flows of so few kinds some must come in a rhythm.
        prop_assert!(rows.len() < 150 || found.values().any(|values| values[3] != NULL && values[0] != NULL));
    }

    #[test]
    fn a_part_of_the_columns_has_the_values_of_all(
        rows in rows(6, 60), chosen in prop::sample::subsequence((0..209).collect::<Vec<usize>>(), 1..12),
    ) {
        let names: Vec<String> = chosen.iter().map(|at| definitions()[*at].name()).collect();
        let plan = Plan::new(&ContextSpec { columns: names, ..ContextSpec::default() }).unwrap();
        let all = expected(&rows);
        let part = |all: &Vec<u64>| chosen.iter().map(|at| all[*at]).collect::<Vec<u64>>();
        let wanted: BTreeMap<u64, Vec<u64>> = all.iter().map(|(id, all)| (*id, part(all))).collect();
        prop_assert_eq!(simulate(&plan, &rows, 2, 7).0, wanted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn workers_batches_slices_and_arrival_do_not_show(
        rows in rows(8, 150), size in 1..30usize, tenths in prop::sample::select(vec![3u64, 10, 25, 1_000]),
        seed: u64,
    ) {
        let wanted = expected(&rows);
        for workers in 1..=3 {
            let how = How { workers, size, slice: tenths * WINDOW / 10, seed };
            let (found, forgotten) = graph(&everything(), &rows, how, Remembering::default());
            prop_assert_eq!((&found, forgotten), (&wanted, 0));
        }
    }

    #[test]
    fn a_run_that_begins_with_the_memory_of_another_goes_on_where_that_ended(
        rows in rows(6, 150), workers in 1..4usize, others in 1..4usize, part in 1..10usize,
    ) {
        let cut = rows[rows.len() * part / 10].window;
        let (before, after): (Vec<Row>, Vec<Row>) = rows.iter().cloned().partition(|row| row.window < cut);
        // What is counted over longer horizons begins anew, and so does what a flow had at its start.
        let columns = ["age_*", "first_*", "lead_*", "reg_*", "ctx_*_w1_*"];
        let plan = plan(&columns).unwrap();
        let names: Vec<String> = definitions().iter().map(Definition::name).collect();
        let chosen: Vec<usize> = (0..names.len()).filter(|at| plan.names().contains(&names[*at])).collect();
        let how = How { workers, size: 9, slice: WINDOW, seed: 1 };
        let kept = Arc::new(Mutex::new(None));
        let leaving = Remembering { before: None, after: Some(kept.clone()) };
        let (mut found, _) = graph(&plan, &before, how, leaving);
        let memory = kept.lock().unwrap().take().unwrap();
        let memory = Memory::from_tables(&memory.tables()).unwrap();
        let beginning = Remembering { before: Some(Arc::new(memory)), after: Some(kept.clone()) };
        found.extend(graph(&plan, &after, How { workers: others, ..how }, beginning).0);
        for (row, values) in expected(&rows) {
            let began = rows.iter().any(|other| other.flow == rows[row as usize].flow && other.window < cut);
            let began = began && rows[row as usize].window >= cut;
            for (at, found) in chosen.iter().zip(&found[&row]) {
                let wanted = if began && names[*at].starts_with("reg_") { NULL } else { values[*at] };
                prop_assert_eq!(*found, wanted, "row {} column {}", row, names[*at]);
            }
        }
        // What is known at the end does not depend on the stop either.
        let last = kept.lock().unwrap().take().unwrap();
        let leaving = Remembering { before: None, after: Some(kept.clone()) };
        graph(&plan, &rows, how, leaving);
        prop_assert_eq!(last.tables(), kept.lock().unwrap().take().unwrap().tables());
    }

    #[test]
    fn what_is_forgotten_for_lack_of_room_does_not_depend_on_workers(
        rows in rows(400, 600), seed: u64, tenths in 3..30u64,
    ) {
        let all = ["*".to_owned()].to_vec();
        let plan = Plan::new(&ContextSpec { columns: all, remember: 256, entities: 256, ..ContextSpec::default() }).unwrap();
        let run = |workers, size| {
            let kept = Arc::new(Mutex::new(None));
            let remembering = Remembering { before: None, after: Some(kept.clone()) };
            let how = How { workers, size, slice: tenths * WINDOW / 10, seed };
            let (found, forgotten) = graph(&plan, &rows, how, remembering);
            let memory = kept.lock().unwrap().take().unwrap();
            assert!(memory.len() <= 256);
            (found, forgotten, memory.tables())
        };
        let one = run(1, 7);
        prop_assert!(one.1 > 0 || rows.len() < 100);
        prop_assert_eq!(&one, &run(3, 50));
    }
}

/// How a graph is run.
#[derive(Clone, Copy)]
struct How {
    workers: usize,
    /// Rows in a batch.
    size: usize,
    slice: u64,
    /// Of the order in which batches arrive.
    seed: u64,
}

/// Runs the graph over rows. All batches are sent at once, in any order, before the frontier moves; checks that
/// places come out once, by window, and within a window as they came. Also how much was forgotten.
fn graph(plan: &Plan, rows: &[Row], how: How, remembering: Remembering) -> (BTreeMap<u64, Vec<u64>>, u64) {
    let How { workers, size, slice, seed } = how;
    let mut feeds: Vec<Vec<RowBatch>> = vec![Vec::new(); workers];
    for (window, parts) in dealt(rows, workers as u64) {
        for (shard, part) in parts.iter().enumerate() {
            for (number, rows) in part.chunks(size).enumerate() {
                let place = Place {
                    window: window * WINDOW,
                    shard: shard as u32,
                    number: number as u32,
                    last: false,
                };
                feeds[shard].push(RowBatch { place, target: 0, rows: batch(rows) });
            }
        }
    }
    feeds.iter_mut().for_each(|feed| feed.sort_by_key(|batch| mix(batch.place.window ^ seed)));
    let lengths = operator::Lengths { window: WINDOW, slice };
    let feeds = Mutex::new(feeds);
    let feeds = Arc::new(feeds);
    let found = Arc::new(Mutex::new(vec![Vec::<RowBatch>::new(); workers]));
    let fault = Arc::new(Fault::default());
    let tally = Arc::new(Tally::default());
    let (shared, output, noted, counted) =
        (Arc::new(plan.clone()), found.clone(), fault.clone(), tally.clone());
    timely::execute(timely::Config::process(workers), move |worker| {
        let index = worker.index();
        let (plan, feeds, output, fault) = (shared.clone(), feeds.clone(), output.clone(), noted.clone());
        let (remembering, tally) = (remembering.clone(), counted.clone());
        worker.dataflow::<u64, _, _>(|scope| {
            let rows = source::<_, NoopBuilder<RowBatch>, _, _>(scope, "rows", move |capability, _| {
                let mut capability = Some(capability);
                move |output| {
                    let Some(cap) = capability.take() else { return };
                    for mut batch in std::mem::take(&mut feeds.lock().unwrap()[index]) {
                        let time = cap.delayed(&((batch.place.window + WINDOW - 1) / slice));
                        output.session_with_builder(&time).give_container(&mut batch);
                    }
                }
            });
            let rows = operator::count(rows, plan, lengths, remembering, tally, fault);
            rows.unary::<NoopBuilder<Vec<()>>, _, _, _>(Pipeline, "collect", move |_, _| {
                move |input, _| {
                    input.for_each(|_, batch| output.lock().unwrap()[index].push(std::mem::take(batch)));
                }
            });
        });
    })
    .unwrap();
    assert!(!fault.met());
    let mut values_by_id = BTreeMap::new();
    let found = found.lock().unwrap();
    for (shard, batches) in found.iter().enumerate() {
        assert!(batches.is_sorted_by(|a, b| a.place < b.place), "places are out of order");
        for batch in batches {
            assert_eq!(batch.place.shard as usize, shard);
            assert_eq!(batch.rows.schema(), plan.schema(&super::tests::batch(&rows[..1]).schema()));
            values(&batch.rows, &mut values_by_id);
        }
    }
    let count: usize = found.iter().flatten().map(|batch| batch.rows.num_rows()).sum();
    assert_eq!(count, rows.len());
    (values_by_id, tally.forgotten.load(std::sync::atomic::Ordering::Relaxed))
}

fn plain(id: u64, window: u64, src: u16) -> Row {
    let counts = [1, 1, 60, 40];
    let (protocol, port, state) = (6, 443, Some("SF"));
    let (flow, start) = (id, window * WINDOW);
    Row { id, window, flow, start, src, dst: 1, protocol, port, icmp_type: None, first: true, state, counts }
}

#[test]
fn an_entity_is_forgotten_after_the_longest_horizon_that_is_asked_for() {
    let rows: Vec<Row> = (0..200).map(|n| plain(n, n, 3 * n as u16)).collect();
    for (columns, kept) in [(&["ctx_src_w1_*"][..], 1), (&["ctx_src_w6_rows"], 6), (&["ctx_src_*"], 30)] {
        let (_, remembered) = simulate(&plan(columns).unwrap(), &rows, 2, 1);
        assert_eq!(remembered[100..], vec![kept; 100]);
    }
}

#[test]
fn a_flood_of_entities_leaves_no_more_than_there_is_room_for_and_the_last_seen_stay() {
    let columns = ["ctx_src_w30_rows", "ctx_src_w30_peers"].map(str::to_owned).to_vec();
    let spec = ContextSpec { columns, entities: 2_560, ..ContextSpec::default() };
    let plan = Plan::new(&spec).unwrap();
    // Twelve thousand sources, each once, and one that comes again in every window.
    let flood = (0..12_000u64).map(|id| plain(id, 10 + id / 1_000, 1_000 + id as u16));
    let steady = (0..12u64).map(|window| plain(20_000 + window, 10 + window, 7));
    let rows: Vec<Row> = flood.chain(steady).collect();
    let (found, remembered) = simulate(&plan, &rows, 1, 500);
    assert_eq!(remembered.len(), 12);
    assert!(remembered.iter().all(|count| *count <= 2_560), "{remembered:?}");
    assert!(remembered[11] > 2_560 * 3 / 4, "{remembered:?}");
    assert_eq!(found[&20_011], [12, 1]);
    assert_eq!(simulate(&plan, &rows, 3, 70), (found, remembered));
}

#[test]
fn context_columns_of_the_input_are_replaced() {
    let rows = batch(&[plain(0, 0, 0)]);
    let plan = plan(&["ctx_src_w1_rows", "ctx_dst_w6_peers"]).unwrap();
    let mut schemas = Schemas::default();
    let attach = |rows: &RecordBatch, schema: &SchemaRef| {
        let mut cells = Cells::new(&plan, Default::default());
        let of_rows = cells.add(&plan, rows).unwrap();
        let values = Values::new(&plan, cells.close(&plan).of_cells(), Vec::new());
        values.attach(&plan, rows, &of_rows, schema)
    };
    let once = attach(&rows, &schemas.of(&plan, rows.schema_ref()));
    let twice = attach(&once, &schemas.of(&plan, once.schema_ref()));
    assert_eq!(once.schema(), twice.schema());
    assert_eq!(once.num_columns(), rows.num_columns() + 2);
}

#[test]
fn columns_come_in_the_order_of_the_table_each_once() {
    let plan = plan(&["ctx_dst_w1_peers", "ctx_src_w30_*s", "ctx_src_w1_rows", "ctx_*_w1_peers"]).unwrap();
    let mut at = plan.names().iter().map(|name| definitions().iter().position(|d| d.name() == *name));
    assert!(at.clone().all(|at| at.is_some()));
    assert!(at.by_ref().is_sorted_by(|a, b| a < b));
    assert_eq!(plan.names()[..2], ["ctx_src_w1_rows", "ctx_src_w1_peers"]);
    assert!(Plan::new(&ContextSpec::default()).unwrap().is_empty());
}

#[test]
fn an_unknown_name_is_an_error_with_the_nearest() {
    let error = plan(&["ctx_src_w1_peer"]).unwrap_err().to_string();
    assert!(error.contains("`ctx_src_w1_peer`: did you mean `ctx_src_w1_peers`"), "{error}");
    let error = plan(&["ctx_pairsvc_*_peers"]).unwrap_err().to_string();
    assert!(error.contains("`ctx_pairsvc_*_peers` matches no column"), "{error}");
    assert!(plan(&[""]).is_err());
}

#[test]
fn rows_without_what_is_counted_are_an_error_with_the_column() {
    let rows = batch(&[plain(0, 0, 0)]);
    let without = |name: &str| {
        let (at, _) = rows.schema_ref().column_with_name(name).unwrap();
        let mut rows = rows.clone();
        rows.remove_column(at);
        rows.schema()
    };
    assert_eq!(everything().check(rows.schema_ref()), Ok(()));
    let error = plan(&["ctx_dst_w6_failed"]).unwrap().check(&without("conn_state")).unwrap_err().to_string();
    assert_eq!(
        error,
        "column `conn_state` is missing in the rows: context column `ctx_dst_w6_failed` is counted from it"
    );
    assert_eq!(plan(&["ctx_src_w1_flows"]).unwrap().check(&without("conn_state")), Ok(()));
    assert_eq!(plan(&["ctx_src_w1_flows"]).unwrap().check(&without("dst_port")), Ok(()));
    assert!(plan(&["ctx_src_w1_ends"]).unwrap().check(&without("dst_port")).is_err());
}

#[test]
fn a_plan_that_looks_back_forgets_no_more_than_it_must() {
    let rows: Vec<Row> = (0..900).map(|n| plain(n, n, n as u16)).collect();
    let few = ContextSpec { remember: 256, ..ContextSpec::default() };
    let plan = Plan::new(&ContextSpec { columns: vec!["age_src".to_owned()], ..few }).unwrap();
    let mut recall = Simulated::new(&plan, 2, WINDOW);
    for row in &rows {
        recall.window(row.window * WINDOW, vec![vec![batch(std::slice::from_ref(row))], Vec::new()]);
        assert!(recall.len() <= 256);
    }
    assert!(recall.len() > 200);
    let error = Plan::new(&ContextSpec { remember: 255, ..ContextSpec::default() }).unwrap_err().to_string();
    assert_eq!(error, "[context] remember = 255: allowed are 256 to 100000000");
}

#[test]
fn a_new_host_joins_for_five_minutes_and_what_it_began_with_is_old_from_then_on() {
    let plan = plan(&["age_pair", "src_is_new"]).unwrap();
    let mut recall = Simulated::new(&plan, 2, WINDOW).knowing(2 * WINDOW);
    let mut seen = |window: u64, src: u16, dst: u16| {
        let row = Row { dst, ..plain(window, window, src) };
        let rows = recall.window(window * WINDOW, vec![vec![batch(&[row])], Vec::new()]);
        let column = |name: &str| rows[0][0].column_by_name(name).unwrap().clone();
        let age = column("age_pair").as_primitive::<arrow::datatypes::UInt8Type>().value(0);
        (age, column("src_is_new").as_boolean().value(0))
    };
    // A host from before is never new; another one is for 300 windows of a second.
    assert_eq!(seen(0, 9, 1), (0, false));
    assert_eq!(seen(5, 3, 1), (0, true));
    assert_eq!(seen(300, 3, 4), (0, true));
    assert_eq!(seen(301, 9, 4), (0, false));
    assert_eq!(seen(304, 3, 4), (4, true));
    // Then what it was seen with is as old as anything, and what comes later is new to it.
    assert_eq!(seen(305, 3, 4), (60, false));
    assert_eq!(seen(306, 9, 4), (5, false));
    assert_eq!(seen(310, 3, 6), (0, false));
    assert_eq!(seen(312, 3, 6), (2, false));
    assert_eq!(seen(400, 3, 6), (60, false));
}

#[test]
fn what_was_learned_later_than_a_row_is_known_to_it() {
    let plan = plan(&["age_pair"]).unwrap();
    let mut recall = Simulated::new(&plan, 2, WINDOW);
    let mut age = |window: u64, src: u16, dst: u16| {
        let row = Row { dst, ..plain(window, window, src) };
        let rows = recall.window(window * WINDOW, vec![vec![batch(&[row])], Vec::new()]);
        let age = rows[0][0].column_by_name("age_pair").unwrap().clone();
        age.as_primitive::<arrow::datatypes::UInt8Type>().value(0)
    };
    assert_eq!((age(1000, 3, 1), age(1007, 3, 1)), (0, 7));
    // Rows from before what was learned.
    assert_eq!((age(20, 3, 1), age(20, 3, 4)), (60, 0));
    assert_eq!((age(22, 3, 1), age(22, 3, 4)), (60, 2));
}

#[test]
fn what_was_learned_is_known_to_the_rows_that_it_was_learned_from_and_nothing_else_is() {
    let plan = plan(&["ctx_src_w1_new_peers", "age_pair"]).unwrap();
    let how = How { workers: 2, size: 3, slice: WINDOW, seed: 1 };
    let learned: Vec<Row> = (0..40).map(|n| Row { dst: n as u16 % 7, ..plain(n, 100 + n, 3) }).collect();
    let after: Arc<Mutex<Option<_>>> = Arc::default();
    let (first, _) = graph(&plan, &learned, how, Remembering { before: None, after: Some(after.clone()) });
    assert_eq!((&first[&0], &first[&8]), (&vec![1, 0], &vec![0, 7]));

    let before = after.lock().unwrap().take().map(Arc::new);
    let mut rows = learned.clone();
    rows.push(Row { dst: 9, ..plain(40, 110, 3) });
    rows.push(Row { dst: 9, ..plain(41, 139, 3) });
    // After what was learned, things are as old as they are.
    rows.push(Row { dst: 2, ..plain(42, 140, 3) });
    rows.push(Row { dst: 8, ..plain(43, 140, 3) });
    let (again, _) = graph(&plan, &rows, how, Remembering { before, after: None });
    let of = |id: u64| (again[&id][0], again[&id][1]);
    for row in &learned {
        let expected = if [10, 39].contains(&row.id) { continue } else { (0, 60) };
        assert_eq!(of(row.id), expected, "row {}", row.id);
    }
    assert_eq!((of(10), of(40)), ((1, 60), (1, 0)));
    assert_eq!((of(39), of(41)), ((0, 60), (0, 29)));
    assert_eq!((of(42), of(43)), ((1, 38), (1, 0)));
}

#[test]
fn the_shipped_forest_learns_from_what_is_counted_over_horizons() {
    let spec = crate::spec::Spec::built_in("forest");
    let counted = definitions().into_iter().filter(|definition| {
        matches!(definition.0, Column::Counted(counting) if counting.statistic.method() != Method::New)
    });
    let expected: Vec<String> = counted.map(|definition| definition.name()).collect();
    let plan = Plan::new(&spec.context).unwrap();
    assert_eq!((plan.names(), expected.len()), (&expected[..], 156));
    assert!(!plan.remembers());
}
