//! The room as a whole, against a plain recomputation: whatever came, went and changed, and whenever, what was
//! said adds up to what a run over the last state of things would say.

mod plainly;
mod scored;
mod sessions;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Barrier, Mutex};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt8Array, UInt16Array, UInt64Array,
};
use arrow::datatypes::UInt64Type;
use differential_dataflow::input::Input;
use proptest::prelude::*;
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Inspect, Operator, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

use super::change::{Change, RowChange, Said, State};
use super::changes::{Changes, InForce};
use super::cover::cover;
use super::extent::{Extent, weight};
use super::finding::{Columns, Finding, Kind, Real};
use super::findings::Findings;
use super::operator::{Incidents, Watch, follow, incidents};
use super::policy::{Hits, Setting};
use super::rules::{Rule, Rules, RulesFile};
use super::session::Sessions;
use super::{CROWD, Clock, Severity};
use crate::detect::operator::mark;
use crate::row::{Place, RowBatch};
use crate::tally::{Fault, Tally};

/// A finding of TCP port 80.
pub(super) fn finding(window: u64, flow_id: u64, src: [u8; 4], dst: [u8; 4], score: f64) -> Finding {
    Finding {
        window,
        kind: Kind::Anomaly,
        flow_id,
        src: IpAddr::from(src),
        dst: IpAddr::from(dst),
        src_port: 40_000,
        dst_port: 80,
        protocol: 6,
        protocol_name: "tcp".to_owned(),
        start: window as i64,
        end: window as i64 + 1,
        score: Real::new(score),
        p_value: Real::new((-score).exp()),
        knock: false,
        values: Vec::new(),
        words: String::new(),
        hints: Vec::new(),
    }
}

/// An incident of this row alone, about its source.
pub(super) fn state(finding: &Finding) -> State {
    State {
        id: finding.flow_id,
        kind: Kind::Anomaly,
        host: finding.src,
        source: true,
        first: 0,
        last: 0,
        windows: 1,
        alerts: 1,
        score: finding.score.get(),
        p_value: finding.p_value.get(),
        weight: 1,
        severity: Severity::Low,
        peers: 1,
        ports: 1,
        top: Extent::of(finding, finding.src).top,
        hints: Vec::new(),
        knock: false,
        withdrawn: false,
        held: false,
    }
}

/// An incident that is no more than a knock.
pub(crate) fn example_of_a_knock() -> State {
    State { knock: true, ..state(&finding(0, 1, [203, 0, 113, 9], [10, 0, 0, 1], 9.0)) }
}

/// Nanoseconds of a window and of a timestamp: the window with number n starts at 10 n and is complete after
/// timestamp n.
const WINDOW: u64 = 10;
const SILENCE: u64 = 30;
const FOREVER: u64 = 1 << 40;
const THRESHOLD: f64 = 5.0;

fn watch(keep: u64, rules: Rules) -> Watch {
    let clock = Clock { window: WINDOW, slice: WINDOW, silence: SILENCE, keep };
    Watch::by(clock, THRESHOLD, rules)
}

fn rules_of(text: &str) -> Rules {
    toml::from_str::<RulesFile>(text).unwrap().check().unwrap()
}

/// Rules that a test may add and remove.
const RULES: [&str; 3] = [
    "[[allow]]
    src = '10.0.0.1'
    why = 'one source'
    ",
    "[[allow]]
    net = '10.0.0.2/31'
    port = 80
    why = 'two hosts'
    ",
    "[[allow]]
    dst = '10.0.0.0/8'
    until = 1970-01-01T00:00:00.00000005
    why = 'the first fifty nanoseconds'
    ",
];

fn rules() -> Vec<Rule> {
    toml::from_str::<RulesFile>(&RULES.concat()).unwrap().check().unwrap().rules().to_vec()
}

/// Findings among few hosts, of few windows: much falls together.
fn some_finding(windows: std::ops::Range<u64>) -> impl Strategy<Value = Finding> {
    let host = || (0..6u8).prop_map(|host| [10, 0, 0, host]);
    (windows, 0..200u64, host(), host(), 4.0..12.0f64, 0..3u16).prop_map(
        |(window, flow, src, dst, score, port)| Finding {
            dst_port: 79 + port,
            ..finding(window * WINDOW, flow, src, dst, score)
        },
    )
}

fn some_setting() -> impl Strategy<Value = Setting> {
    prop_oneof![
        (0..3usize).prop_map(|rule| Setting::Allow(rules().swap_remove(rule))),
        (0..4u32).prop_map(|step| Setting::Threshold(Real::new(f64::from(step) * 2.0))),
    ]
}
