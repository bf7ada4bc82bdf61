//! Which columns a plan has, and of which rows.

use super::*;

#[test]
fn context_columns_of_the_input_are_replaced() {
    let rows = batch(&[plain(0, 0, 0)]);
    let plan = plan(&["ctx_src_w1_rows", "ctx_dst_w6_peers"]).unwrap();
    let mut layouts = Layouts::default();
    let attach = |rows: &RecordBatch, layout: &Layout| {
        let mut cells = Cells::new(&plan, Default::default());
        let of_rows = cells.add(&plan, rows).unwrap();
        let values = Values::new(&plan, cells.close(&plan).of_cells(), Vec::new());
        values.attach(&plan, rows, &of_rows, layout)
    };
    let once = attach(&rows, layouts.of(&plan, rows.schema_ref()));
    let twice = attach(&once, layouts.of(&plan, once.schema_ref()));
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
fn the_shipped_forest_learns_from_what_is_counted_over_horizons() {
    let spec = crate::spec::Spec::built_in("forest");
    let counted = definitions().into_iter().filter(|definition| {
        matches!(definition.0, Column::Counted(counting) if counting.statistic.method() != Method::New)
    });
    let expected: Vec<String> = counted.map(|definition| definition.name()).collect();
    let plan = Plan::new(&spec.context).unwrap();
    assert_eq!((plan.names(), expected.len()), (&expected[..], 158));
    assert!(!plan.remembers());
}
