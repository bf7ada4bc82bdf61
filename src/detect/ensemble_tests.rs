//! Laws of detectors over surprises: any split of rows learns the same, a model read back scores bit for bit, scores
//! are tails of calibration rows, damage is named.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};

use super::*;
use crate::reading::{Damage, Tables};

/// One of each kind, small.
fn specs() -> Vec<DetectSpec> {
    [
        "detector = \"sum\"",
        "detector = \"sum\"\ninputs = \"groups\"",
        "inputs = \"surprise\"\npartition_by = \"none\"",
        "inputs = \"groups\"\npartition_by = \"protocol_class\"\nmin_partition = 50",
        "detector = \"ensemble\"",
        "detector = \"ensemble\"\nmembers = [\"sum\", \"themes\", \"forest\"]\ninputs = \"groups\"",
    ]
    .map(|text| {
        let spec: DetectSpec = toml::from_str(text).unwrap();
        DetectSpec { trees: 8, sample: 32, reservoir: 3000, ..spec }
    })
    .to_vec()
}

fn tables(detector: &dyn Detector) -> Tables {
    detector.tables().unwrap().into_iter().collect()
}

fn again(detector: &dyn Detector, tables: &Tables) -> Result<Arc<dyn Detector>, Damage> {
    let (spec, seed) = detector.settings();
    read(spec, seed, detector.features(), detector.columns(), tables)
}

#[test]
fn any_workers_batches_and_order_learn_the_same_and_read_back_score_bit_for_bit() {
    let training = judged_rows(0..140, false);
    let probes = [judged_rows(300..310, false), judged_rows(300..302, true)];
    for spec in specs() {
        let one = learned_as(&spec, &training, 1, 10, false);
        for (workers, batch, backwards) in [(1, 10_000, false), (4, 7, true)] {
            let many = learned_as(&spec, &training, workers, batch, backwards);
            assert!(many.tables().unwrap() == one.tables().unwrap(), "{spec:?}");
        }
        assert_eq!(tables(one.as_ref()).keys().map(String::as_str).collect::<Vec<_>>(), spec.tables());
        let read = again(one.as_ref(), &tables(one.as_ref())).unwrap();
        assert!(read.tables().unwrap() == one.tables().unwrap());
        assert_eq!((read.outline(), read.describe_json()), (one.outline(), one.describe_json()));
        assert_eq!((one.rows(), one.notes()), (Some(1400), Vec::<String>::new()));
        for probe in &probes {
            let scores = one.score(probe).unwrap();
            assert_eq!(read.score(probe).unwrap(), scores);
            // A row's score does not depend on those that it is scored with.
            let alone = one.score(&probe.slice(7, 1)).unwrap();
            assert_eq!((alone.scores[0], alone.p_values[0]), (scores.scores[7], scores.p_values[7]));
        }
    }
}

#[test]
fn scores_are_tails_that_hold_what_they_promise() {
    let training = judged_rows(0..400, false);
    let (usual, odd) = (judged_rows(1000..1200, false), judged_rows(1000..1003, true));
    // Odd rows are odd in a few of many columns: fewer trees may not look at them.
    for spec in specs().into_iter().map(|spec| DetectSpec { trees: 64, ..spec }) {
        let detector = learned_as(&spec, &training, 1, 100, false);
        let scores = detector.score(&usual).unwrap();
        for rate in [0.1, 0.02] {
            let threshold = detector.threshold_at(rate).unwrap();
            assert_eq!(detector.threshold_for(Threshold::Contamination(rate)).unwrap(), threshold);
            let above = scores.scores.iter().filter(|score| **score > threshold).count() as f64;
            let below = scores.p_values.iter().filter(|p| **p < rate).count() as f64;
            assert!(above / 2000.0 < 2.0 * rate + 0.01, "{spec:?}: {above} of 2000 at {rate}");
            assert_eq!(above, below);
        }
        let found = detector.score(&odd).unwrap().scores;
        let threshold = detector.threshold_at(0.1).unwrap();
        let above = found.iter().filter(|score| **score > threshold).count();
        assert!(above > 25, "{spec:?}: {above} of 30 odd rows, {found:?}");
    }
}

#[test]
fn every_one_says_why_in_parts_that_add_up() {
    let training = judged_rows(0..140, false);
    let probe = judged_rows(300..302, true);
    for spec in specs().into_iter().map(|spec| DetectSpec { trees: 64, ..spec }) {
        let detector = learned_as(&spec, &training, 1, 100, false);
        let scores = detector.score(&probe).unwrap().scores;
        let (asked, mut reasons) = ([3, 11], Vec::new());
        detector.reasons(&probe, None, &asked, &mut |row, reason| reasons.push((row, reason))).unwrap();
        assert_eq!(reasons.iter().map(|(row, _)| *row).collect::<Vec<_>>(), asked);
        for (row, reason) in &reasons {
            assert_eq!(reason.score, scores[*row]);
            let sum: f64 = reason.parts.iter().map(|part| part.nats).sum();
            assert!((sum - reason.total).abs() < 1e-9, "{spec:?}: {reason:?}");
            assert_eq!(reason.parts.len(), spec.members().len());
            for part in reason.parts.iter().filter(|part| part.nats > 0.0) {
                let of_groups: f64 = part.groups.iter().map(|group| group.nats).sum();
                assert!((of_groups - part.nats).abs() < 1e-6, "{spec:?}: {part:?}");
            }
            if spec.members().len() == 1 {
                assert_eq!(reason.total, reason.score);
            }
            assert!(reason.written > 0 && reason.evidence[0].share > 0.0, "{spec:?}: {reason:?}");
            let text = reason.to_string();
            assert!(text.contains("10.0.") && text.contains("usual "), "{text}");
        }
    }
}

#[test]
fn the_threshold_that_it_was_trained_with_is_the_one_asked_for_anew() {
    let training = judged_rows(0..140, false);
    for asked in [
        Threshold::FalseAlarmRate(0.03),
        Threshold::Contamination(0.03),
        Threshold::Percentile(97.0),
        Threshold::Percentile(100.0),
    ] {
        for spec in
            specs().into_iter().chain([DetectSpec { detector: "themes".into(), ..specs()[0].clone() }])
        {
            let detector = learned_as(&spec.clone().with_threshold(asked), &training, 1, 100, false);
            let threshold = detector.threshold();
            assert!(threshold.is_finite() && detector.threshold_for(asked).unwrap() == threshold, "{asked}");
            let other = learned_as(&spec, &training, 1, 100, false);
            assert_eq!(other.threshold_for(asked).unwrap(), threshold);
        }
    }
}

#[test]
fn too_short_a_training_is_said_and_still_learns() {
    for (windows, lines) in [(29, 1), (1, 1), (30, 0)] {
        let detector = learned_as(&specs()[0], &judged_rows(0..windows, false), 1, 100, false);
        assert_eq!(detector.notes().len(), lines, "{windows}: {:?}", detector.notes());
    }
    let forest = learned_as(&specs()[2], &judged_rows(0..3, false), 1, 100, false);
    let notes = forest.notes();
    assert!(notes[0].starts_with("3 windows are fewer than 30, three blocks: "), "{notes:?}");
    assert!(
        notes[1]
            .contains("has fewer than 3 windows: the forest is calibrated on rows that it was grown from")
    );
    assert!(notes.iter().all(|note| !note.contains('\n')));
    assert_eq!(forest.score(&judged_rows(500..501, false)).unwrap().scores.len(), 10);
}

#[test]
fn damaged_tables_are_named() {
    let training = judged_rows(0..61, false);
    for spec in [specs().remove(3), specs().remove(5)] {
        let detector = learned_as(&spec, &training, 1, 100, false);
        let tables = tables(detector.as_ref());
        for name in spec.tables() {
            let damaged = |table: Option<RecordBatch>| {
                let mut damaged = tables.clone();
                match table {
                    Some(table) => drop(damaged.insert(name.to_owned(), table)),
                    None => drop(damaged.remove(name)),
                }
                match again(detector.as_ref(), &damaged).map(drop) {
                    // Counts of entities that are not there are seen in the counts.
                    Err(Damage { table, .. }) => assert!(
                        table == name
                            || (name == "entities" && table == "baselines")
                            || name == "forest_calibration",
                        "{name}: {table}"
                    ),
                    other => panic!("{name}: {other:?}"),
                }
            };
            damaged(None);
            let table = &tables[name];
            for column in 0..table.num_columns() {
                let mut columns = table.columns().to_vec();
                columns[column] = Arc::new(StringArray::from(vec!["x"; table.num_rows()]));
                let names: Vec<String> = table.schema().fields().iter().map(|f| f.name().clone()).collect();
                damaged(Some(RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap()));
                let rest: Vec<usize> = (0..table.num_columns()).filter(|at| *at != column).collect();
                damaged(Some(table.project(&rest).unwrap()));
            }
        }
    }
}
