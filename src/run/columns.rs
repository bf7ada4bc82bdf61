//! Which columns somebody takes: a source makes or reads no others.

use std::collections::BTreeSet;

use arrow::datatypes::Schema;

use super::RunError;
use crate::context::{Plan, definitions};
use crate::detect::{ADDED, Detector};
use crate::row::RowSettings;
use crate::row::names::{matches, nearest};
use crate::row::schema::flow_schema;
use crate::spec::{Ends, Spec};

/// What names a row of flows, or of packets.
const KEYS: [&str; 3] = ["window_start", "timestamp", "flow_id"];

fn is_key(name: &str) -> bool {
    KEYS.contains(&name)
}

fn chosen(ends: &Ends, name: &str) -> bool {
    is_key(name) || ends.columns.iter().any(|pattern| matches(pattern, name))
}

/// The pipeline with the context columns that are written: those of its own that are chosen, and any that is chosen by
/// its name or by a pattern that no flow column matches: who asks for `ctx_src_w1_*` wants all of them, who asks for
/// `*_bytes` those that the rows have.
pub(super) fn with_chosen_context(mut spec: Spec) -> Result<Spec, RunError> {
    let ends = &spec.ends;
    if ends.columns.is_empty() || ends.fit.is_some() || ends.model.is_some() {
        return Ok(spec);
    }
    let plan = Plan::new(&spec.context)?;
    let own = plan.names().iter().filter(|name| chosen(ends, name)).cloned();
    let named = definitions().into_iter().map(|definition| definition.name());
    let flows = flow_schema(&RowSettings { settings: Default::default() }, |_| true);
    let of_flows = |pattern: &str| flows.fields().iter().any(|field| matches(pattern, field.name()));
    let meant: Vec<&String> = ends.columns.iter().filter(|pattern| !of_flows(pattern)).collect();
    let named = named.filter(|name| meant.iter().any(|pattern| matches(pattern, name)));
    spec.context.columns = own.chain(named).collect();
    Ok(spec)
}

/// The columns that a source with this schema must give; `None` where somebody takes all. `learned` are those that
/// are learned from; counters take none but those that name a row.
pub(super) fn of_source(
    ends: &Ends,
    plan: &Plan,
    detector: Option<&dyn Detector>,
    learned: Option<&BTreeSet<String>>,
    schema: &Schema,
) -> Option<BTreeSet<String>> {
    let all_rows = ends.rows.is_some() && ends.columns.is_empty();
    // What lasts is followed by who sends what to whom: most of what there is.
    let lasts = detector.is_some_and(|detector| detector.lasting().is_some());
    if all_rows || ends.report.is_some() || ends.packets || lasts {
        return None;
    }
    let judged = detector.map_or(&[][..], |detector| detector.columns());
    let named = |name: &str| {
        chosen(ends, name)
            || plan.reads(name)
            || judged.iter().any(|field| field.name() == name)
            || learned.is_some_and(|learned| learned.contains(name))
    };
    let names = schema.fields().iter().map(|field| field.name());
    let taken: BTreeSet<String> = names.filter(|name| named(name)).cloned().collect();
    // Rows of other making may have none of them, and are counted by what they have.
    (!taken.is_empty()).then_some(taken)
}

/// Checks what is asked for against the columns that rows could have.
///
/// # Errors
/// The first name or pattern that no column has.
pub(super) fn check(ends: &Ends, schema: &Schema) -> Result<(), RunError> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let unknown = ends.columns.iter().find(|pattern| !names().any(|name| matches(pattern, name)));
    let Some(pattern) = unknown else { return Ok(()) };
    let advice = match nearest(pattern, names()) {
        Some(name) => format!("`{name}` is most like it"),
        None => "`netweir features` lists those of captures".to_owned(),
    };
    Err(RunError::NoColumn { pattern: pattern.clone(), advice })
}

/// The places of the columns that are written of rows with this schema; `None` where all are.
pub(super) fn written(ends: &Ends, schema: &Schema) -> Option<Vec<usize>> {
    if ends.columns.is_empty() && ends.scores.is_none() {
        return None;
    }
    let added = |name: &str| ends.scores.is_some() && ADDED.contains(&name);
    let names = schema.fields().iter().map(|field| field.name().as_str()).enumerate();
    Some(names.filter(|(_, name)| chosen(ends, name) || added(name)).map(|(place, _)| place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ContextSpec;

    #[test]
    fn a_pattern_of_context_columns_means_all_of_them_and_another_those_of_the_pipeline() {
        let chosen = |columns: &[&str]| {
            let mut spec = Spec::built_in("extract");
            spec.ends.columns = columns.iter().map(|name| (*name).to_owned()).collect();
            with_chosen_context(spec).unwrap().context.columns
        };
        let own = Spec::built_in("extract").context.columns;
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names.dedup();
            names
        };
        assert_eq!(sorted(chosen(&["*"])), sorted(own));
        assert_eq!(chosen(&["src_*", "*_bytes"]), [""; 0]);
        let all = |start: &str| {
            let names = definitions().into_iter().map(|definition| definition.name());
            sorted(names.filter(|name| name.starts_with(start)).collect())
        };
        for start in ["ctx_src_w1_", "ctx_dst_w6_", "age_", "reg_"] {
            let found = sorted(chosen(&[&format!("{start}*")]));
            assert!(found.len() > 3 && found == all(start), "{start}: {found:?}");
        }
        assert_eq!(chosen(&["ctx_dst_w6_failed", "dst_*"]), ["ctx_dst_w6_failed"]);
    }

    #[test]
    fn rows_that_are_only_counted_have_no_columns_but_those_that_name_them() {
        let schema = flow_schema(&RowSettings { settings: Default::default() }, |_| true);
        let plan = Plan::new(&ContextSpec::default()).unwrap();
        let counted = Ends { summary: Some("summary.json".into()), ..Ends::default() };
        let taken = of_source(&counted, &plan, None, None, &schema).unwrap();
        assert_eq!(taken.iter().collect::<Vec<_>>(), ["flow_id", "window_start"]);
        let reported = Ends { report: Some("report".into()), ..counted };
        assert_eq!(of_source(&reported, &plan, None, None, &schema), None);
    }
}
