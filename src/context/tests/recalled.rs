//! What is remembered beyond the horizons: how much, and of whom.

use super::*;

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
    let mut before = Simulated::new(&plan, 2, WINDOW);
    for window in [0, 2] {
        before.window(window * WINDOW, vec![vec![batch(&[plain(window, window, 9)])], Vec::new()]);
    }
    let mut recall = before.again();
    let mut seen = |window: u64, src: u16, dst: u16| {
        let row = Row { dst, ..plain(window, window, src) };
        let rows = recall.window(window * WINDOW, vec![vec![batch(&[row])], Vec::new()]);
        let column = |name: &str| rows[0][0].column_by_name(name).unwrap().clone();
        let age = column("age_pair").as_primitive::<arrow::datatypes::UInt8Type>().value(0);
        (age, column("src_is_new").as_boolean().value(0))
    };
    // A host from before is never new; another one is for 300 windows of a second, even if it comes in the window in
    // which what was before had ended.
    assert_eq!(seen(2, 9, 1), (60, false));
    assert_eq!(seen(2, 4, 1), (0, true));
    assert_eq!(seen(5, 3, 1), (0, true));
    assert_eq!(seen(300, 3, 4), (0, true));
    assert_eq!(seen(301, 9, 4), (0, false));
    assert_eq!(seen(301, 4, 1), (60, true));
    assert_eq!(seen(302, 4, 1), (60, false));
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
