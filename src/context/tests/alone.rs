//! What the graph does, without one, against the plain way.

use super::*;

use super::plainly::{expected, recalled};

/// What the graph does, without one. Also how many entities are remembered after each window.
fn simulate(plan: &Plan, rows: &[Row], workers: u64, size: usize) -> (BTreeMap<u64, Vec<u64>>, Vec<usize>) {
    let shared = Arc::new(plan.clone());
    let mut memories: Vec<Horizons> = (0..workers).map(|_| Horizons::new(shared.clone())).collect();
    let mut recall = Simulated::new(plan, workers as usize, WINDOW);
    let mut layouts = Layouts::default();
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
                let layout = layouts.of(plan, rows.schema_ref());
                values(&attached.attach(plan, rows, cells, layout), &mut found);
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
        rows in rows(6, 60),
        chosen in prop::sample::subsequence((0..definitions().len()).collect::<Vec<usize>>(), 1..12),
    ) {
        let names: Vec<String> = chosen.iter().map(|at| definitions()[*at].name()).collect();
        let plan = Plan::new(&ContextSpec { columns: names, ..ContextSpec::default() }).unwrap();
        let all = expected(&rows);
        let part = |all: &Vec<u64>| chosen.iter().map(|at| all[*at]).collect::<Vec<u64>>();
        let wanted: BTreeMap<u64, Vec<u64>> = all.iter().map(|(id, all)| (*id, part(all))).collect();
        prop_assert_eq!(simulate(&plan, &rows, 2, 7).0, wanted);
    }
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
