//! Incidents of one host after the other: said once, forgotten when over.

use super::*;

#[test]
fn sessions_forget_what_is_over() {
    let watch = watch(60, Rules::default());
    let mut sessions = Sessions::new(watch.clock, Arc::default());
    for window in 0..2_000u64 {
        let host = [10, 0, (window / 250) as u8, (window % 250) as u8];
        let one = finding(window * WINDOW, window, host, [10, 9, 9, 9], 9.0);
        let new = Finding { kind: Kind::NewHost, ..one.clone() };
        let parts = cover(&[&one, &new], Real::new(THRESHOLD)).into_iter().map(|part| (part, 1)).collect();
        let now = (window + 1) * WINDOW;
        while let Some(due) = sessions.due().filter(|due| *due < now) {
            sessions.tick(due);
        }
        let said = sessions.change(now, parts);
        assert_eq!(said.iter().filter(|change| matches!(change, Change::Event(_))).count(), 2);
    }
    // New hosts are remembered for a day, the others for as long as they can change.
    assert!(sessions.hosts() <= 2_000 + 10, "{}", sessions.hosts());
    while let Some(due) = sessions.due() {
        sessions.tick(due);
    }
    assert_eq!(sessions.hosts(), 0);
}

#[test]
fn ids_of_an_earlier_run_in_the_same_window_are_given_to_nobody_else() {
    let watch = watch(60, Rules::default());
    let one = finding(0, 1, [10, 0, 0, 1], [10, 9, 9, 9], 9.0);
    let parts = || cover(&[&one], Real::new(THRESHOLD)).into_iter().map(|part| (part, 1)).collect();
    let ids = |taken: BTreeSet<u64>| -> Vec<u64> {
        let mut sessions = Sessions::new(watch.clock, Arc::new(taken));
        let mut said = sessions.change(WINDOW, parts());
        said.extend(sessions.tick(sessions.due().unwrap()));
        let id = |change: &Change| match change {
            Change::Event(event) => event.state.id,
            Change::Row(row) => row.incident.unwrap(),
        };
        said.iter().map(id).collect()
    };
    let first = ids(BTreeSet::new());
    let second = ids([first[0]].into());
    let third = ids([first[0], second[0]].into());
    assert!([&first, &second, &third].iter().all(|ids| ids.len() == 3 && ids.iter().all(|id| *id == ids[0])));
    assert!(first[0] != second[0] && second[0] != third[0] && first[0] != third[0]);
    assert_eq!(second, ids([first[0]].into()));
}

#[test]
fn a_new_host_is_said_once_however_long_it_stays() {
    let watch = watch(60, Rules::default());
    let mut sessions = Sessions::new(watch.clock, Arc::default());
    let mut said = Vec::new();
    for window in 0..300u64 {
        let new = Finding {
            kind: Kind::NewHost,
            ..finding(window * WINDOW, window, [10, 0, 0, 1], [10, 0, 0, 2], 4.0)
        };
        let now = (window + 1) * WINDOW;
        while let Some(due) = sessions.due().filter(|due| *due < now) {
            said.extend(sessions.tick(due));
        }
        said.extend(
            sessions.change(
                now,
                cover(&[&new], Real::new(THRESHOLD)).into_iter().map(|part| (part, 1)).collect(),
            ),
        );
    }
    let said: Vec<(Said, Severity)> = said
        .iter()
        .map(|change| match change {
            Change::Event(event) => (event.said, event.state.severity),
            Change::Row(row) => panic!("{row:?}"),
        })
        .collect();
    assert_eq!(said, [(Said::Create, Severity::Low), (Said::Close, Severity::Low)]);
}

#[test]
fn numbers_are_ordered_as_numbers() {
    let numbers = [f64::NEG_INFINITY, -2.0, -0.5, 0.0, 1e-300, 0.5, 7.0, f64::INFINITY, f64::NAN];
    let reals = numbers.map(Real::new);
    assert!(reals.is_sorted());
    assert!(numbers.iter().zip(reals).all(|(number, real)| real.get().to_bits() == number.to_bits()));
    assert_eq!(Real::new(-0.0), Real::new(0.0));
}

#[test]
fn what_a_policy_changes_when_an_incident_was_just_closed_closes_it_no_second_time() {
    let watch = watch(600, Rules::default());
    let mut sessions = Sessions::new(watch.clock, Arc::default());
    let [one, other] = [1, 2].map(|flow| finding(0, flow, [10, 0, 0, 1], [10, 9, 9, flow as u8], 9.0));
    let part = |findings: &[&Finding]| cover(findings, Real::new(THRESHOLD)).remove(0);
    let mut said = sessions.change(WINDOW, vec![(part(&[&one]), 1)]);
    let over = sessions.due().unwrap();
    said.extend(sessions.tick(over));
    // A rule that muted the other flow goes.
    said.extend(sessions.change(over, vec![(part(&[&one]), -1), (part(&[&one, &other]), 1)]));
    while let Some(due) = sessions.due() {
        said.extend(sessions.tick(due));
    }
    let words: Vec<(Said, u64)> = said
        .iter()
        .filter_map(|change| match change {
            Change::Event(event) => Some((event.said, event.state.alerts)),
            Change::Row(_) => None,
        })
        .collect();
    assert_eq!(words, [(Said::Create, 1), (Said::Close, 1), (Said::Close, 2)]);
}

#[test]
fn a_knock_is_one_before_more_comes() {
    let watch = watch(60, Rules::default());
    let mut sessions = Sessions::new(watch.clock, Arc::default());
    let knock = |window: u64| Finding {
        knock: true,
        ..finding(window * WINDOW, window, [203, 0, 113, 9], [10, 0, 0, 1], 9.0)
    };
    let mut knocks = |window: u64| {
        let parts = cover(&[&knock(window)], Real::new(THRESHOLD)).into_iter().map(|part| (part, 1));
        let said = sessions.change((window + 1) * WINDOW, parts.collect());
        let states = said.into_iter().filter_map(|change| match change {
            Change::Event(event) => Some((event.said, event.state.alerts, event.state.knock)),
            Change::Row(_) => None,
        });
        states.collect::<Vec<_>>()
    };
    assert_eq!(knocks(0), [(Said::Create, 1, true)]);
    assert_eq!(knocks(2), [(Said::Update, 2, false)]);
}
