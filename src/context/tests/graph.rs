//! The graph against the plain way: with any workers, batches, slices and arrival, and in two runs.

use super::*;

use super::plainly::expected;

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
        let memory = Memory::from_tables(&memory.tables().into_iter().collect()).unwrap();
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
        for (worker, part) in parts.iter().enumerate() {
            for (number, rows) in part.chunks(size).enumerate() {
                let place = Place {
                    window: window * WINDOW,
                    worker: worker as u32,
                    number: number as u32,
                    last: false,
                };
                feeds[worker].push(RowBatch { place, target: 0, rows: batch(rows) });
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
    for (worker, batches) in found.iter().enumerate() {
        assert!(batches.is_sorted_by(|a, b| a.place < b.place), "places are out of order");
        for batch in batches {
            assert_eq!(batch.place.worker as usize, worker);
            assert_eq!(batch.rows.schema(), plan.schema(&super::batch(&rows[..1]).schema()));
            values(&batch.rows, &mut values_by_id);
        }
    }
    let count: usize = found.iter().flatten().map(|batch| batch.rows.num_rows()).sum();
    assert_eq!(count, rows.len());
    (values_by_id, tally.forgotten.load(std::sync::atomic::Ordering::Relaxed))
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
    for row in learned.iter().filter(|row| ![10, 39].contains(&row.id)) {
        assert_eq!(of(row.id), (0, 60), "row {}", row.id);
    }
    assert_eq!((of(10), of(40)), ((1, 60), (1, 0)));
    assert_eq!((of(39), of(41)), ((0, 60), (0, 29)));
    assert_eq!((of(42), of(43)), ((1, 38), (1, 0)));
}
