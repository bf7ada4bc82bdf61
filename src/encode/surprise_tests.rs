//! Laws of surprise: the formulas, written out, on random rows; any order and split; a block does not judge itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::bucket::{ABSENT, bucket};
use super::subject::{Party, parties_of_test};
use super::*;
use crate::reading::Tables;

const COLUMNS: usize = 15;

/// One column of each manner.
fn judgements() -> Arc<[Judgement]> {
    let base = Judgement {
        subject: Subject::SourceService,
        side: Side::Upper,
        once: false,
        every_window: false,
        goes_on: false,
        since: Since::Start,
    };
    [
        base,
        Judgement { side: Side::Both, subject: Subject::Source, ..base },
        Judgement { side: Side::Lower, since: Since::Late, ..base },
        Judgement { once: true, every_window: true, subject: Subject::Destination, ..base },
        Judgement { once: true, every_window: true, since: Since::Late, ..base },
        Judgement { subject: Subject::PairService, side: Side::Lower, ..base },
        Judgement { subject: Subject::PairService, side: Side::Lower, since: Since::Young(5), ..base },
        Judgement { subject: Subject::Service, side: Side::Both, ..base },
        Judgement { once: true, side: Side::Any, ..base },
        Judgement { once: true, every_window: true, goes_on: true, ..base },
        Judgement { once: true, goes_on: true, subject: Subject::Destination, ..base },
        Judgement { side: Side::Seldom, subject: Subject::Service, ..base },
        Judgement { side: Side::Seldom, subject: Subject::DestinationService, ..base },
        Judgement { side: Side::Beyond(3), subject: Subject::Service, ..base },
        Judgement { side: Side::Beyond(0), subject: Subject::DestinationService, ..base },
    ]
    .into()
}

#[derive(Clone, Debug)]
struct Row {
    party: Party,
    window: u64,
    first: u64,
    buckets: Vec<u8>,
    leads: [bool; 6],
}

/// Rows whose leads and first windows are as context would have them.
fn rows(windows: u64) -> impl Strategy<Value = Vec<Row>> {
    let row = (0u8..4, 0u8..3, 0u8..3, 0..windows, proptest::collection::vec(0u8..12, COLUMNS));
    proptest::collection::vec(row, 1..200).prop_map(|rows| {
        let mut rows: Vec<Row> = rows
            .into_iter()
            .map(|(src, dst, service, window, buckets)| Row {
                party: parties_of_test(src, dst, service),
                window: 1000 + window,
                first: 0,
                buckets: buckets.iter().map(|b| if *b == 11 { ABSENT } else { *b }).collect(),
                leads: [false; 6],
            })
            .collect();
        rows.sort_by_key(|row| row.window);
        let mut led = BTreeSet::new();
        let mut first = BTreeMap::new();
        for row in &mut rows {
            for subject in Subject::ALL {
                let key = format!("{:?}", row.party.key(subject));
                row.leads[subject as usize] = led.insert((subject, key.clone(), row.window));
                if subject == Subject::PairService {
                    row.first = *first.entry(key).or_insert(row.window);
                }
            }
        }
        rows
    })
}

const LIMITS: Limits = Limits { entities_seen: 1000, entities_kept: 1000 };

fn observed(histograms: &mut Histograms, row: &Row) {
    histograms.observe(&Observed {
        party: &row.party,
        window: row.window,
        first: row.first,
        buckets: &row.buckets,
        leads: row.leads,
    });
}

fn learned(rows: &[Row], limits: Limits) -> Learned {
    let mut histograms = Histograms::new(judgements(), limits);
    rows.iter().for_each(|row| observed(&mut histograms, row));
    histograms.finish()
}

/// Section 3 of the specification, word by word, over the rows themselves.
fn direct(training: &[&Row], windows: (usize, f64), late: u64, row: &Row, column: usize) -> f64 {
    direct_without(false, training, windows, late, row, column)
}

/// The same as if the row's source had never been seen. By so many windows, each of which counts as many times.
fn direct_without(
    struck: bool,
    training: &[&Row],
    (windows, worth): (usize, f64),
    late: u64,
    row: &Row,
    column: usize,
) -> f64 {
    let judged = judgements()[column];
    let b = row.buckets[column];
    if b == ABSENT {
        return 0.0;
    }
    let from = if let Since::Young(from) = judged.since { usize::from(from) } else { column };
    let observations: Vec<(&Row, u8)> = training
        .iter()
        .filter(|other| !judged.once || other.leads[judged.subject as usize])
        .filter(|other| match judged.since {
            Since::Start => true,
            Since::Late => other.window >= late,
            Since::Young(_) => other.first >= late,
        })
        .map(|other| (*other, other.buckets[from]))
        .filter(|(_, bucket)| *bucket != ABSENT)
        .collect();
    if observations.is_empty() {
        return 0.0;
    }
    let subject = judged.subject;
    let all = |_: &Row| true;
    let same = |other: &Row| other.party.key(subject) == row.party.key(subject);
    let counts = |other: &Row| !(struck && subject.parts().0 && same(other));
    let service =
        |other: &Row| counts(other) && (!subject.has_service() || other.party.service == row.party.service);
    let own = |other: &Row| counts(other) && same(other);
    let tail = |upper: bool| {
        let count = |of: &dyn Fn(&Row) -> bool| {
            let of: Vec<u8> = observations.iter().filter(|(row, _)| of(row)).map(|(_, b)| *b).collect();
            let reached = of.iter().filter(|other| if upper { **other >= b } else { **other <= b }).count();
            (reached as f64, of.len() as f64)
        };
        let buckets = observations.iter().map(|(_, b)| *b);
        let (least, most) = (buckets.clone().min().unwrap(), buckets.max().unwrap());
        let beyond = match (upper, judged.side) {
            (true, _) => b.saturating_sub(most),
            (false, Side::Both) => least.saturating_sub(b),
            (false, _) => 0,
        };
        let (k, n) = count(&all);
        let p_all = (k + 0.5) / (n + 1.0) * 0.5f64.powf(f64::from(beyond) / 4.0);
        let (k, n) = count(&service);
        let p_service = (k + 10.0 * p_all) / (n + 10.0);
        let (k, n) = count(&own);
        let (k, n) = if judged.every_window { (k * worth, (n * worth).max(windows as f64)) } else { (k, n) };
        let p = (k + 10.0 * p_service) / (n + 10.0);
        let most = observations.iter().filter(|(row, _)| own(row)).map(|(_, b)| *b).max();
        match most.filter(|most| judged.goes_on && upper && b > *most) {
            None => p,
            Some(most) => {
                p.max(0.5 / (n.max(windows as f64) + 1.0) * 0.25f64.powf(f64::from(b - most) / 4.0))
            }
        }
    };
    let any = || {
        let count = |of: &dyn Fn(&Row) -> bool| observations.iter().filter(|(row, _)| of(row)).count() as f64;
        let p_service = (count(&service) + 0.5) / (count(&all) + 1.0);
        let own = count(&own) * worth;
        (own + 10.0 * p_service) / (own.max(windows as f64) + 10.0)
    };
    let seldom = || {
        let count = |of: &dyn Fn(&Row) -> bool| {
            let mut counts = BTreeMap::new();
            for (_, b) in observations.iter().filter(|(row, _)| of(row)) {
                *counts.entry(*b).or_insert(0u32) += 1;
            }
            let as_often = counts.get(&b).copied().unwrap_or(1);
            let tail = counts.values().filter(|count| **count <= as_often).sum::<u32>();
            (f64::from(tail), f64::from(counts.values().sum::<u32>()))
        };
        let (k, n) = count(&all);
        let p_all = (k + 0.5) / (n + 1.0);
        let (k, n) = count(&service);
        let p_service = (k + 10.0 * p_all) / (n + 10.0);
        let (k, n) = count(&own);
        (k + 10.0 * p_service) / (n + 10.0)
    };
    -match judged.side {
        Side::Seldom => seldom(),
        Side::Any => any(),
        Side::Beyond(many) => {
            let most = observations.iter().filter(|(row, _)| own(row)).map(|(_, bucket)| *bucket).max();
            let beyond = b.saturating_sub(most.unwrap_or(0).max(many));
            0.25f64.powf(f64::from(beyond) / 4.0).max(1.0 / 4096.0)
        }
        Side::Upper => tail(true),
        Side::Lower => tail(false),
        Side::Both => (2.0 * tail(true).min(tail(false))).min(1.0),
    }
    .ln()
}

/// -ln of the tail probability.
fn surprise_of(past: &Past, column: usize, found: &Found, bucket: u8) -> f64 {
    -libm::log(past.probability(column, found, bucket))
}

fn distinct_windows<'a>(rows: impl Iterator<Item = &'a Row>) -> usize {
    rows.map(|row| row.window).collect::<BTreeSet<_>>().len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn surprise_is_what_the_formulas_say(training in rows(200), other in rows(3)) {
        let learned = learned(&training, LIMITS);
        let (past, late) = (learned.all(), learned.blocks().late_starts());
        let all: Vec<&Row> = training.iter().collect();
        let windows = (distinct_windows(training.iter()), 1.0);
        for row in training.iter().take(20).chain(other.iter().take(20)) {
            let found = past.find(&row.party);
            for struck in [false, true] {
                for column in 0..COLUMNS {
                    let expected = direct_without(struck, &all, windows, late, row, column);
                    let bucket = row.buckets[column];
                    let usual = past.usual_of(column, &found);
                    let surprise = -libm::log(past.probability_in(column, usual, bucket, struck));
                    let near = (surprise - expected).abs() < 1e-9;
                    prop_assert!(near, "column {} {}: {} {}", column, struck, surprise, expected);
                }
            }
        }
    }

    /// Also: what is judged apart is judged by the same formulas over the other blocks, which stand for all of training.
    #[test]
    fn a_block_does_not_judge_itself(training in rows(200)) {
        let learned = learned(&training, LIMITS);
        let blocks = learned.blocks();
        if !blocks.apart {
            return Ok(());
        }
        let late = blocks.late_starts();
        for block in blocks.late..blocks.starts.len() {
            let past = learned.without(block);
            let outside = |row: &&Row| blocks.of(row.window) != block;
            let others: Vec<&Row> = training.iter().filter(outside).collect();
            let all = distinct_windows(training.iter());
            let windows = (all, all as f64 / distinct_windows(others.iter().copied()) as f64);
            for row in training.iter().filter(|row| !outside(row)).take(20) {
                let found = past.find(&row.party);
                for column in 0..COLUMNS {
                    let expected = direct(&others, windows, late, row, column);
                    // A column of which only this block knows is judged by it.
                    if expected == 0.0 {
                        continue;
                    }
                    let surprise = surprise_of(&past, column, &found, row.buckets[column]);
                    prop_assert!((surprise - expected).abs() < 1e-9, "column {}: {} {}", column, surprise, expected);
                }
            }
        }
    }

    #[test]
    fn any_split_and_order_learns_the_same(
        training in rows(700),
        split in proptest::collection::vec(0usize..4, 200),
        seen in 1usize..6,
    ) {
        let limits = Limits { entities_seen: seen, entities_kept: 4 };
        let whole = learned(&training, limits).all();
        let mut workers = vec![Histograms::new(judgements(), limits); 4];
        for (row, worker) in training.iter().rev().zip(&split) {
            observed(&mut workers[*worker], row);
        }
        let mut merged = Histograms::new(judgements(), limits);
        workers.into_iter().rev().for_each(|worker| merged.merge(worker));
        let merged = merged.finish().all();
        prop_assert_eq!(whole.tables().unwrap(), merged.tables().unwrap());
        prop_assert_eq!(whole.windows(), merged.windows());
    }

    #[test]
    fn many_rows_are_judged_as_one_by_one_in_any_order_and_with_any_room(
        training in rows(50),
        probes in rows(20),
        weights in proptest::collection::vec(0usize..4, 200),
        bits in 1u32..6,
        at_once in 1usize..100,
        ordered: bool,
    ) {
        let past = learned(&training, LIMITS).all();
        let mut known = Known::new(COLUMNS, bits);
        let all = past.find_all(probes.iter().map(|row| &row.party));
        let order: Vec<u32> = if ordered { all.ordered() } else { (0..probes.len() as u32).collect() };
        for some in order.chunks(at_once) {
            let rows: Vec<&Row> = some.iter().map(|row| &probes[*row as usize]).collect();
            let weight = |row: usize| [0.0f32, 0.25, 1.0, 1.0][weights[some[row] as usize]];
            let weights: Vec<f32> = (0..rows.len()).map(weight).collect();
            let buckets: Vec<Vec<u8>> =
                (0..COLUMNS).map(|column| rows.iter().map(|row| row.buckets[column]).collect()).collect();
            let follow = |column: usize, surprise: f32| 1000.0 * column as f64 + f64::from(surprise);
            let mut surprises = vec![f32::NAN; COLUMNS * rows.len()];
            let mut given = Vec::new();
            let values = |column: usize| (&buckets[column][..], &weights[..]);
            let give = |column: usize, follows: &[f64]| {
                assert_eq!(given.len(), column * rows.len());
                given.extend_from_slice(follows);
            };
            past.judge(&all.some(some), values, follow, &mut known, &mut surprises, give);
            prop_assert_eq!(given.len(), surprises.len());
            for (at, (surprise, follows)) in surprises.into_iter().zip(given).enumerate() {
                let (column, row) = (at / rows.len(), at % rows.len());
                let found = past.find(&rows[row].party);
                let expected = surprise_of(&past, column, &found, buckets[column][row]);
                let expected = (expected * f64::from(weights[row])) as f32;
                let expected = if weights[row] > 0.0 { expected } else { 0.0 };
                prop_assert_eq!((column, row, surprise.to_bits()), (column, row, expected.to_bits()));
                prop_assert_eq!(follows, follow(column, expected));
            }
        }
    }

    #[test]
    fn tables_bring_back_the_same_past(training in rows(50), probe in rows(3)) {
        let past = learned(&training, Limits { entities_seen: 1000, entities_kept: 3 }).all();
        let [entities, baselines] = past.tables().unwrap();
        let tables = named(&entities, &baselines);
        let again = Past::from_tables(judgements(), past.windows(), &tables).unwrap();
        prop_assert_eq!(again.tables().unwrap(), [entities, baselines]);
        for row in &probe {
            let (found, other) = (past.find(&row.party), again.find(&row.party));
            for column in 0..COLUMNS {
                let surprise = surprise_of(&past, column, &found, row.buckets[column]);
                prop_assert_eq!(surprise_of(&again, column, &other, row.buckets[column]).to_bits(), surprise.to_bits());
            }
        }
    }
}

/// Rows of one host in so many windows.
fn steady(windows: u64) -> Vec<Row> {
    let row = |window| Row {
        party: parties_of_test(1, 1, 1),
        window,
        first: 0,
        buckets: vec![(window % 9) as u8; COLUMNS],
        leads: [true; 6],
    };
    (0..windows).map(row).collect()
}

#[test]
fn cells_of_time_double_and_what_is_in_them_adds_up() {
    for windows in [100u64, 129, 1000, 5000] {
        let rows = steady(windows);
        let mut histograms = Histograms::new(judgements(), LIMITS);
        rows.iter().for_each(|row| observed(&mut histograms, row));
        assert!(histograms.cells.len() <= 128 && (windows < 128 || histograms.cells.len() > 63));
        let learned = histograms.finish();
        let blocks = learned.blocks();
        assert_eq!((blocks.total(), blocks.windows.len(), blocks.apart), (windows, 6, true));
        // Columns of what is new count just the late blocks.
        let late = rows.iter().filter(|row| row.window >= blocks.late_starts()).count();
        let past = learned.all();
        let found = past.find(&rows[0].party);
        let warm = past.usual(2, &found).unwrap().observations;
        assert_eq!((past.usual(0, &found).unwrap().observations, warm), (windows, late as u64));
    }
}

#[test]
fn who_never_was_is_as_surprising_to_a_part_of_training_as_to_all_of_it() {
    let learned = learned(&steady(120), LIMITS);
    let stranger = parties_of_test(2, 2, 1);
    let surprises = |past: Past| {
        let found = past.find(&stranger);
        surprise_of(&past, 3, &found, 0)
    };
    let [part, all] = [learned.without(5), learned.all()].map(surprises);
    assert!(judgements()[3].every_window && (part - all).abs() < 1e-2, "{part} {all}");
}

#[test]
fn what_is_usual_is_the_median_and_the_99th_of_a_hundred() {
    let mut rows = steady(200);
    for (at, row) in rows.iter_mut().enumerate() {
        let value = if at < 3 { 1000.0 } else { (at % 3) as f64 };
        row.buckets = vec![bucket(value); COLUMNS];
    }
    let past = learned(&rows, LIMITS).all();
    let usual = past.usual(0, &past.find(&rows[0].party)).unwrap();
    assert_eq!((usual.median, usual.most, usual.observations), (bucket(1.0), bucket(1000.0), 200));
    rows.iter_mut().take(3).for_each(|row| row.buckets = vec![bucket(2.0); COLUMNS]);
    let past = learned(&rows, LIMITS).all();
    assert_eq!(past.usual(0, &past.find(&rows[0].party)).unwrap().most, bucket(2.0));
}

fn named(entities: &RecordBatch, baselines: &RecordBatch) -> Tables {
    [("entities".to_owned(), entities.clone()), ("baselines".to_owned(), baselines.clone())].into()
}

#[test]
fn damaged_tables_are_named() {
    let past = learned(&steady(50), LIMITS).all();
    let [entities, baselines] = past.tables().unwrap();
    let read = |entities: &RecordBatch, baselines: &RecordBatch| {
        let read = Past::from_tables(judgements(), 50, &named(entities, baselines));
        read.map_or_else(|damage| damage.table, |_| String::new())
    };
    assert_eq!(read(&entities, &baselines), "");
    let twice = arrow::compute::concat_batches(&baselines.schema(), [&baselines, &baselines]).unwrap();
    assert_eq!(read(&entities, &twice), "baselines");
    assert_eq!(read(&entities.slice(0, 2), &baselines), "baselines");
    assert_eq!(read(&entities.slice(1, 2), &baselines), "baselines");
    assert_eq!(read(&baselines, &baselines), "entities");
    assert_eq!(read(&entities, &entities), "baselines");
}
