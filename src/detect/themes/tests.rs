//! Laws of `themes`: any split of rows learns the same, a model read back scores bit for bit, reasons add up, damage
//! is named.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, DictionaryArray, Float32Array, Float64Array, ListArray, RecordBatch,
    StringArray, TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int16Type, Int32Type, Schema, SchemaRef, TimeUnit};

use super::columns::{FIRST, STATE, context_columns};
use super::greeting::LENGTHS;
use super::resolve::{Resolver, Rows};
use super::*;
use crate::context::ContextSpec;
use crate::detect::{Learning, Lesson};
use crate::encode::bucket::ABSENT;
use crate::flow::{FlowSpec, row_settings};
use crate::packet::PacketSpec;
use crate::reading::{Damage, Tables};
use crate::row::{Place, RowBatch};

const WINDOW: u64 = 10_000_000_000;

/// A number that depends on two others, the same everywhere.
fn mixed(a: u64, b: u64) -> u64 {
    crate::context::entity::mix(crate::context::entity::mix(a) ^ b)
}

/// Names of all columns that are read.
fn names() -> Vec<String> {
    let mut names: Vec<String> =
        ["window_start", "flow_id", "src_ip", "dst_ip", "protocol", "dst_port", "icmp_type", STATE, LENGTHS]
            .map(str::to_owned)
            .to_vec();
    for column in columns() {
        if let super::columns::Reading::Number(name, _) = &column.reading {
            names.push(name.clone());
        }
    }
    names.extend(context_columns());
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// Ten rows in each of some windows; odd ones scan.
pub(crate) fn rows(windows: std::ops::Range<u64>, odd: bool) -> RecordBatch {
    let all: Vec<(u64, u64)> =
        windows.flat_map(|window| (0..10).map(move |row| (1000 + window, row))).collect();
    let value = |name: &str, (window, row): (u64, u64)| -> u64 {
        let base =
            mixed(window * 10 + row, name.len() as u64 * 31 + u64::from(name.as_bytes()[name.len() - 1]));
        if odd && name.starts_with("ctx_src") { 5_000 } else { base % 40 }
    };
    let numbers = |name: &str| all.iter().map(|at| value(name, *at)).collect::<Vec<u64>>();
    let texts = |prefix: &str, many: u64| -> ArrayRef {
        let texts: Vec<String> =
            all.iter().map(|(window, row)| format!("{prefix}{}", mixed(*window, *row) % many)).collect();
        Arc::new(texts.iter().map(|text| Some(text.as_str())).collect::<DictionaryArray<Int32Type>>())
    };
    let time = |windows: Vec<u64>| -> ArrayRef {
        let times = windows.iter().map(|window| (window * WINDOW) as i64);
        Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    let columns: Vec<(String, ArrayRef)> = names()
        .into_iter()
        .map(|name| {
            let column: ArrayRef = match name.as_str() {
                "window_start" => time(all.iter().map(|(window, _)| *window).collect()),
                FIRST => {
                    time(all.iter().map(|(window, row)| if row % 3 == 0 { *window } else { 1000 }).collect())
                }
                "flow_id" => Arc::new(UInt64Array::from_iter_values(all.iter().map(|at| mixed(at.0, at.1)))),
                "src_ip" => texts("10.0.0.", 7),
                "dst_ip" => texts("10.0.1.", 5),
                STATE => Arc::new(StringArray::from_iter(
                    all.iter().map(|at| [Some("SF"), Some("S0"), None][value("state", *at) as usize % 3]),
                )),
                LENGTHS => {
                    let length = |at: &(u64, u64)| Some(value("length", *at) as i16 % 9 * 60);
                    let lists = all.iter().map(|at| (at.1 % 3 > 0).then(|| vec![length(at), Some(-200)]));
                    Arc::new(ListArray::from_iter_primitive::<Int16Type, _, _>(lists))
                }
                "protocol" => Arc::new(UInt8Array::from_iter_values(
                    numbers("protocol").iter().map(|v| [6, 17][*v as usize % 2]),
                )),
                "dst_port" => Arc::new(UInt16Array::from_iter_values(
                    numbers("port").iter().map(|v| [53, 443][*v as usize % 2]),
                )),
                "icmp_type" => Arc::new(UInt8Array::from(vec![None; all.len()])),
                super::columns::NEW => Arc::new(BooleanArray::from(vec![false; all.len()])),
                lead if lead.starts_with("lead_") => {
                    Arc::new(BooleanArray::from_iter(all.iter().map(|(_, row)| Some(row % 2 == 0))))
                }
                reg if reg.starts_with("reg_") || reg.ends_with("_s") => Arc::new(Float32Array::from_iter(
                    numbers(reg).iter().map(|v| (v % 4 > 0).then_some(*v as f32 / 8.0)),
                )),
                new if new.contains("_new_") => {
                    Arc::new(UInt32Array::from_iter_values(numbers(new).iter().map(|v| *v as u32 % 2)))
                }
                other => Arc::new(UInt64Array::from(numbers(other))),
            };
            (name, column)
        })
        .collect();
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let metadata = row_settings(&FlowSpec::default(), &PacketSpec::default()).metadata();
    let schema: SchemaRef = Arc::new(Schema::new(fields).with_metadata(metadata));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect()).unwrap()
}

fn lesson() -> Lesson {
    lesson_of(&DetectSpec { detector: "themes".into(), reservoir: 700, ..DetectSpec::default() })
}

fn lesson_of(spec: &DetectSpec) -> Lesson {
    Lesson { encode: Default::default(), detect: spec.check().unwrap(), seed: 3 }
}

/// Learned by workers from batches of so many rows, merged forwards or backwards.
fn learned(rows: &RecordBatch, workers: usize, batch: usize, backwards: bool) -> Arc<dyn Detector> {
    learned_as(lesson().detect.spec(), rows, workers, batch, backwards)
}

/// The same for a detector over surprises.
pub(crate) fn learned_as(
    spec: &DetectSpec,
    rows: &RecordBatch,
    workers: usize,
    batch: usize,
    backwards: bool,
) -> Arc<dyn Detector> {
    let lesson = lesson_of(spec);
    let mut all: Vec<Learning> =
        (0..workers).map(|_| Learning::new(&lesson, rows.schema_ref()).unwrap()).collect();
    let mut starts: Vec<usize> = (0..rows.num_rows()).step_by(batch).collect();
    if backwards {
        starts.reverse();
    }
    for (number, start) in starts.into_iter().enumerate() {
        let rows = rows.slice(start, batch.min(rows.num_rows() - start));
        all[number % workers].observe(&RowBatch { rows, place: Place::default(), target: 0 }).unwrap();
    }
    if backwards {
        all.reverse();
    }
    let mut all = all.into_iter();
    let mut merged = all.next().unwrap();
    all.for_each(|other| merged.merge(other).unwrap());
    merged.finish(&lesson, &ContextSpec::default().local, None).unwrap()
}

fn tables(detector: &dyn Detector) -> Tables {
    detector.tables().unwrap().into_iter().collect()
}

fn read(detector: &dyn Detector, tables: &Tables) -> Result<Arc<dyn Detector>, Damage> {
    let (spec, seed) = detector.settings();
    crate::detect::read(spec, seed, detector.features(), detector.columns(), tables)
}

#[test]
fn any_workers_batches_and_order_learn_the_same() {
    let rows = rows(0..140, false);
    let one = learned(&rows, 1, 10, false);
    for (workers, batch, backwards) in [(1, 10_000, false), (2, 10, false), (4, 7, true), (3, 100, true)] {
        let many = learned(&rows, workers, batch, backwards);
        assert!(many.tables().unwrap() == one.tables().unwrap(), "{workers} workers, {batch} rows a batch");
    }
}

#[test]
fn what_is_read_back_scores_bit_for_bit() {
    let detector = learned(&rows(0..140, false), 1, 100, false);
    let again = read(detector.as_ref(), &tables(detector.as_ref())).unwrap();
    assert!(again.tables().unwrap() == detector.tables().unwrap());
    assert_eq!(again.outline(), detector.outline());
    for probe in [rows(300..310, false), rows(300..302, true)] {
        let (scores, others) = (detector.score(&probe).unwrap(), again.score(&probe).unwrap());
        assert_eq!(scores, others);
    }
    assert_eq!(detector.rows(), Some(1400));
}

#[test]
fn odd_rows_score_high_and_usual_ones_as_often_as_promised() {
    let detector = learned(&rows(0..400, false), 1, 100, false);
    let usual = detector.score(&rows(1000..1200, false)).unwrap();
    for rate in [0.1, 0.02] {
        let threshold = detector.threshold_at(rate).unwrap();
        let above = usual.scores.iter().filter(|score| **score > threshold).count() as f64;
        let below = usual.p_values.iter().filter(|p| **p < rate).count() as f64;
        assert!(above / 2000.0 < 2.0 * rate + 0.01, "{above} of 2000 at {rate}");
        assert_eq!(above, below);
    }
    let odd = detector.score(&rows(1000..1003, true)).unwrap();
    let threshold = detector.threshold();
    assert!((threshold - 1000f64.ln()).abs() < 1e-12);
    assert!(odd.scores.iter().filter(|score| **score > threshold).count() > 20, "{:?}", odd.scores);
}

#[test]
fn reasons_add_up_and_name_who_and_what() {
    let detector = learned(&rows(0..140, false), 1, 100, false);
    let probe = rows(300..302, true);
    let scores = detector.score(&probe).unwrap().scores;
    let mut reasons = Vec::new();
    let asked = [3, 11];
    let (_, kept) = detector.judge(&probe).unwrap();
    detector.reasons(&probe, kept.as_ref(), &asked, &mut |_, reason| reasons.push(reason)).unwrap();
    let mut again = Vec::new();
    detector.reasons(&probe, None, &asked, &mut |_, reason| again.push(reason)).unwrap();
    assert_eq!(reasons, again);
    assert_eq!(reasons.len(), 2);
    for (row, reason) in [3, 11].into_iter().zip(&reasons) {
        assert_eq!(reason.score, scores[row]);
        let sum: f64 = reason.parts.iter().map(|part| part.nats).sum();
        assert!((sum - reason.total).abs() < 1e-9);
        assert_eq!(reason.parts.len(), THEMES.len());
        let shares: f64 = reason.parts.iter().flat_map(|part| &part.groups).map(|group| group.share).sum();
        assert!((shares - 1.0).abs() < 1e-9, "{shares}");
        let text = reason.to_string();
        assert!(text.contains("10.0.") && text.contains("usual "), "{text}");
    }
}

#[test]
fn who_has_no_address_yet_is_neither_known_nor_new() {
    let plain = rows(0..2, false);
    let from = |text: &str| {
        let mut columns = plain.columns().to_vec();
        let texts = vec![Some(text); plain.num_rows()];
        columns[plain.schema().index_of("src_ip").unwrap()] =
            Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>());
        RecordBatch::try_new(plain.schema(), columns).unwrap()
    };
    let resolve = |rows: &RecordBatch| {
        let resolver = Resolver::new(rows.schema_ref()).unwrap();
        Rows::new(rows, resolver.into(), WINDOW).unwrap().resolve(0..rows.num_rows())
    };
    let known = resolve(&plain);
    for (text, nobody) in [("::", true), ("0.0.0.0", true), ("10.0.0.3", false)] {
        let resolved = resolve(&from(text));
        for (at, column) in columns().iter().enumerate() {
            let age = column.is_of_the_unknown();
            for row in 0..plain.num_rows() {
                let expected = if nobody && age { ABSENT } else { known.bucket(row, at) };
                assert_eq!(resolved.bucket(row, at), expected, "{text}: {}", column.name);
            }
        }
    }
}

#[test]
fn a_connection_that_was_met_on_its_way_has_no_greeting() {
    let plain = rows(0..2, false);
    let greeted = |rows: &RecordBatch| -> Vec<bool> {
        let resolver = Resolver::new(rows.schema_ref()).unwrap();
        let resolved = Rows::new(rows, resolver.into(), WINDOW).unwrap().resolve(0..rows.num_rows());
        let of = |at: usize| (0..rows.num_rows()).map(move |row| (at, row));
        let places = (0..columns().len()).filter(|at| columns()[*at].name.starts_with(LENGTHS)).flat_map(of);
        places.map(|(at, row)| resolved.bucket(row, at) != ABSENT).collect()
    };
    let met = |state: &str| {
        let mut columns = plain.columns().to_vec();
        columns[plain.schema().index_of(STATE).unwrap()] =
            Arc::new(StringArray::from(vec![state; plain.num_rows()]));
        greeted(&RecordBatch::try_new(plain.schema(), columns).unwrap())
    };
    assert!(greeted(&plain).contains(&true));
    assert_eq!(met("S1"), greeted(&plain));
    assert!(!met("OTH").contains(&true));
}

/// Rows with other numbers in some columns.
fn with(rows: &RecordBatch, numbers: &[(&str, u64)]) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    for (name, value) in numbers {
        let at = rows.schema_ref().index_of(name).unwrap();
        columns[at] = Arc::new(UInt64Array::from(vec![*value; rows.num_rows()]));
    }
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

#[test]
fn who_comes_beside_a_flood_has_no_part_in_it() {
    let flooded = [("ctx_dst_w1_flows", 5000), ("ctx_dstsvc_w1_flows", 5000), ("ctx_dstsvc_w1_rows", 5000)];
    let flooded = with(&rows(0..1, false), &flooded);
    let weight = |of: &str, numbers: &[(&str, u64)]| {
        let rows = with(&flooded, numbers);
        let resolver = Resolver::new(rows.schema_ref()).unwrap();
        let resolved = Rows::new(&rows, resolver.into(), WINDOW).unwrap().resolve(0..1);
        let at = columns().iter().position(|column| column.name == of).unwrap();
        resolved.column(at).1[0]
    };
    let flows = |alike: u64, pair: u64| {
        weight("ctx_dst_w1_flows", &[("ctx_dstshape_w1_rows", alike), ("ctx_pair_w1_flows", pair)])
    };
    assert_eq!([flows(5000, 1), flows(2500, 1), flows(5, 1)], [1.0, 0.5, 0.001]);
    // Who brings a third of all has that part in any case.
    assert_eq!(flows(5, 1667), 1667.0 / 5000.0);
    // What failed among many that did not is all that is alike.
    let failed = [("ctx_dst_w1_failed", 28), ("ctx_dstsvc_w1_failed", 28), ("ctx_pairsvc_w1_failed", 1)];
    let failed = |alike: u64| {
        weight(
            "ctx_dst_w1_failed",
            &[&failed[..], &[("ctx_dstshape_w1_rows", alike), ("ctx_pair_w1_failed", 1)]].concat(),
        )
    };
    assert_eq!([failed(28), failed(7)], [1.0, 0.25]);
}

#[test]
fn more_rows_alike_than_ever_count_as_they_are() {
    let all = rows(0..61, false);
    let detector = learned(&all, 1, 100, false);
    let repetition = |alike: u64| {
        let rows =
            with(&rows(100..101, false), &[("ctx_dstshape_w1_rows", alike), ("ctx_srcshape_w1_rows", 0)]);
        let mut told = Vec::new();
        detector.reasons(&rows, None, &[0], &mut |_, reason| told.push(reason)).unwrap();
        told[0].parts.iter().find(|part| part.name == "repetition").unwrap().nats
    };
    // Training had 39 of each service, which lie between 2^5.25 - 1 and 2^5.5 - 1.
    assert_eq!([repetition(16), repetition(39), repetition(44)], [0.0; 3]);
    for octaves in 1..9 {
        let expected = libm::log(4.0) * f64::from(octaves.min(6));
        assert!((repetition(39 << octaves) - expected).abs() < 1e-6, "{octaves}");
    }
}

#[test]
fn a_new_server_that_several_use_is_no_news_of_its_clients() {
    let all = rows(0..61, false);
    let detector = learned(&all, 1, 100, false);
    let themes = Surprises::read(detector.columns(), &tables(detector.as_ref())).unwrap();
    let plain = rows(100..101, false);
    let surprises = |server: &str, clients: u64, answers: u64| {
        let count = plain.num_rows();
        let same = |value: u64| -> ArrayRef { Arc::new(UInt64Array::from(vec![value; count])) };
        let texts = vec![server; count].into_iter().collect::<DictionaryArray<Int32Type>>();
        let columns = plain.schema_ref().fields().iter().zip(plain.columns()).map(|(field, column)| {
            match field.name().as_str() {
                "dst_ip" => Arc::new(texts.clone()),
                "ctx_dst_w30_peers" => same(clients),
                "bwd_packets" => same(answers),
                _ => column.clone(),
            }
        });
        let rows = RecordBatch::try_new(plain.schema(), columns.collect()).unwrap();
        let read = themes.read_rows(&rows).unwrap();
        let mut resolved = read.resolve(0..count);
        let crowd = themes.past.find_all(resolved.parties.iter());
        // Such a server is a newcomer.
        let newcomer = |address: &str| address == "10.0.9.9" && answers > 0 && clients > 2;
        let newcomers: Vec<[bool; 2]> = super::surprises::newcomers(&crowd, &resolved).collect();
        assert_eq!(newcomers, vec![[false, newcomer(server)]; count], "{server} {clients} {answers}");
        themes.follow((&mut resolved, &crowd), |_, _| 0.0, &themes.known, |_, _| {})
    };
    let news = |batch: &Batch| {
        let of_row =
            |row| columns().iter().zip(batch.row(row)).filter(|(c, s)| c.is_of_news() && *s > 0.0).count();
        (0..plain.num_rows()).map(of_row).sum::<usize>()
    };
    let served = surprises("10.0.9.9", 3, 1);
    assert_eq!(news(&served), 0);
    // Two clients, no answer, somebody else's network, a host that training knew, as a source or as a destination.
    for (server, clients, answers) in
        [("10.0.9.9", 2, 1), ("10.0.9.9", 3, 0), ("192.0.2.9", 3, 1), ("10.0.0.3", 3, 1), ("10.0.1.3", 3, 1)]
    {
        assert!(news(&surprises(server, clients, answers)) > 0, "{server} {clients} {answers}");
    }
    // All else is as odd as it is.
    let others = surprises("192.0.2.9", 3, 1);
    for (at, column) in columns().iter().enumerate().filter(|(_, column)| !column.is_of_news()) {
        for row in 0..plain.num_rows() {
            assert_eq!(served.row(row)[at], others.row(row)[at], "{}", column.name);
        }
    }
}

#[test]
fn too_short_a_training_says_so_and_still_learns() {
    let text = |windows: u64| {
        let detector = learned(&rows(0..windows, false), 1, 100, false);
        assert_eq!(detector.score(&rows(500..501, false)).unwrap().scores.len(), 10);
        format!("{:?}", detector.outline())
    };
    assert!(text(29).contains("29 windows are fewer than 30, three blocks"));
    assert!(text(1).contains("1 window is fewer than 30"));
    assert!(text(60).contains("6 blocks of 10, 10, 10, 10, 10, 10 windows"));
}

#[test]
fn rows_that_cannot_be_judged_are_refused_by_the_first_column() {
    let all = rows(0..1, false);
    let without = |name: &str| {
        let places: Vec<usize> =
            (0..all.num_columns()).filter(|at| all.schema().field(*at).name() != name).collect();
        all.schema().project(&places).unwrap()
    };
    let new = |schema: &Schema| Learning::new(&lesson(), schema).map(drop).unwrap_err().to_string();
    assert!(new(&without("age_pair")).contains("column `age_pair` is missing in the rows"));
    let plain = Schema::new(all.schema().fields().clone());
    assert!(new(&plain).contains("need flow rows with windows"));
    let detector = learned(&rows(0..61, false), 1, 100, false);
    detector.check(all.schema_ref()).unwrap();
    let error = detector.check(&without("lead_src")).unwrap_err().to_string();
    assert!(error.contains("`lead_src`"), "{error}");
}

#[test]
fn damaged_tables_are_named() {
    let detector = learned(&rows(0..61, false), 1, 100, false);
    let tables = tables(detector.as_ref());
    let names = detector.settings().0.tables();
    assert_eq!(tables.keys().map(String::as_str).collect::<Vec<_>>(), names);
    for name in names {
        let damage = |change: &dyn Fn(&RecordBatch) -> RecordBatch| {
            let mut damaged = tables.clone();
            let table = change(&damaged[name]);
            damaged.insert(name.to_owned(), table);
            read(detector.as_ref(), &damaged).map(drop)
        };
        assert!(damage(&|table| table.clone()).is_ok());
        let named = |result: Result<(), Damage>| match result {
            // Counts of entities that are not there are seen in the counts.
            Err(Damage { table, .. }) => {
                assert!(table == name || (name == "entities" && table == "baselines"), "{name}: {table}");
            }
            other => panic!("{name}: {other:?}"),
        };
        named(
            damage(&|table| table.slice(0, 0))
                .map(|()| assert_eq!(name, "baselines"))
                .and_then(|()| Err(Damage { table: "baselines".into(), what: String::new() })),
        );
        for column in 0..tables[name].num_columns() {
            named(damage(&|table| {
                let mut columns = table.columns().to_vec();
                columns[column] = Arc::new(StringArray::from(vec!["x"; table.num_rows()]));
                let fields = table.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
                RecordBatch::try_from_iter(fields.into_iter().zip(columns)).unwrap()
            }));
            named(damage(&|table| {
                let keep: Vec<usize> = (0..table.num_columns()).filter(|at| *at != column).collect();
                table.project(&keep).unwrap()
            }));
        }
    }
    let mut missing = tables.clone();
    missing.remove("tails");
    assert!(read(detector.as_ref(), &missing).unwrap_err().to_string().contains("`tails`"));
    // What counts as it is has one tail alone.
    let plain = &tables["tails"];
    let at = plain.schema_ref().index_of("mean").unwrap();
    let means = plain.column(at).as_primitive::<Float64Type>();
    let repetition = plain.num_rows() - 4;
    assert_eq!(means.value(repetition), 1.0);
    for (row, fits) in [(repetition, false), (repetition - 1, true)] {
        let mut columns = plain.columns().to_vec();
        let doubled =
            means.iter().enumerate().map(|(at, mean)| if at == row { mean.map(|m| 2.0 * m) } else { mean });
        columns[at] = Arc::new(doubled.collect::<Float64Array>());
        let mut changed = tables.clone();
        let fields = plain.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        let other = RecordBatch::try_from_iter(fields.into_iter().zip(columns)).unwrap();
        changed.insert("tails".to_owned(), other);
        assert_eq!(read(detector.as_ref(), &changed).is_ok(), fits, "{row}");
    }
}

#[test]
fn times_in_another_zone_are_another_type() {
    let field = Field::new("window_start", DataType::Timestamp(TimeUnit::Nanosecond, None), true);
    let detector = learned(&rows(0..61, false), 1, 100, false);
    let mut fields: Vec<Arc<Field>> = rows(0..1, false).schema().fields().iter().cloned().collect();
    fields[0] = Arc::new(field);
    assert!(detector.check(&Schema::new(fields)).is_err());
}

#[test]
fn a_threshold_that_few_calibration_rows_bear_is_said() {
    let said = few(99, Threshold::FalseAlarmRate(0.001)).unwrap();
    assert!(said.starts_with("99 calibration rows are few for false alarms of 0.1 %: "), "{said}");
    assert_eq!(few(101, Threshold::FalseAlarmRate(0.001)), None);
    assert_eq!(few(11, Threshold::Percentile(99.0)), None);
    assert_eq!(few(1, Threshold::Percentile(100.0)), None);
    let detector = learned(&rows(0..140, false), 1, 100, false);
    let rare = Threshold::FalseAlarmRate(1e-4);
    let spec = DetectSpec { detector: "themes".into(), ..DetectSpec::default() }.with_threshold(rare);
    assert_eq!(detector.notes(), Vec::<String>::new());
    assert_eq!(learned_as(&spec, &rows(0..140, false), 1, 100, false).notes().len(), 1);
}
