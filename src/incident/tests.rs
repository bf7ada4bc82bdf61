//! The room as a whole, against a plain recomputation: whatever came, went and changed, and whenever, what was said adds up to
//! what a run over the last state of things would say.

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
use super::extent::weight;
use super::finding::{Finding, Kind, Real};
use super::findings::Findings;
use super::operator::{Incidents, Watch, follow, incidents};
use super::policy::Setting;
use super::rules::{Rule, Rules, RulesFile};
use super::{Clock, Severity};
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
        values: Vec::new(),
        words: String::new(),
        hints: Vec::new(),
    }
}

/// Nanoseconds of a window and of a timestamp: the window with number n starts at 10 n and is complete after timestamp n.
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

/// What findings or settings do at a timestamp.
#[derive(Clone, Debug)]
struct Step {
    findings: Vec<(Finding, isize)>,
    settings: Vec<(Setting, isize)>,
}

/// Runs the graph over steps, one for each timestamp from 0; what was said in each, in order.
fn run(watch: Watch, steps: Vec<Step>, workers: usize) -> Vec<Vec<Change>> {
    let said = Arc::new(Mutex::new(Vec::<(u64, Change)>::new()));
    let all = said.clone();
    let count = steps.len() as u64;
    timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index() as u64, worker.peers() as u64);
        let probe = ProbeHandle::new();
        let (mut findings, mut settings) = worker.dataflow::<u64, _, _>(|scope| {
            let (findings_input, findings) = scope.new_collection::<Finding, isize>();
            let (settings_input, settings) = scope.new_collection::<Setting, isize>();
            let said = said.clone();
            let findings = findings.flat_map(|finding| Findings::by_window(vec![finding]));
            follow(findings, settings, &watch)
                .inspect_core(move |event| {
                    if let Ok((stamp, changes)) = event {
                        let time = *stamp.iter().next().unwrap();
                        said.lock().unwrap().extend(changes.iter().map(|change| (time, change.clone())));
                    }
                })
                .probe_with(&probe);
            (findings_input, settings_input)
        });
        for (time, step) in (0..).zip(&steps) {
            for (finding, diff) in
                step.findings.iter().filter(|(finding, _)| finding.flow_id % peers == index)
            {
                findings.update(finding.clone(), *diff);
            }
            for (setting, diff) in step.settings.iter().filter(|_| index == 0) {
                settings.update(setting.clone(), *diff);
            }
            findings.advance_to(time + 1);
            settings.advance_to(time + 1);
            findings.flush();
            settings.flush();
            worker.step_while(|| probe.less_than(&(time + 1)));
        }
    })
    .unwrap();
    let mut steps = vec![Vec::new(); count as usize + 1];
    for (time, change) in all.lock().unwrap().drain(..) {
        steps[time.min(count) as usize].push(change);
    }
    for changes in &mut steps {
        Change::sort(changes);
    }
    steps
}

/// Incidents and rows as they stand.
#[derive(Clone, PartialEq, Debug, Default)]
struct Standing {
    incidents: BTreeMap<u64, State>,
    rows: BTreeSet<(u64, u64, Option<u64>, Option<String>)>,
}

/// What was said, added up.
#[derive(Default)]
struct Heard {
    standing: Standing,
    closed: BTreeSet<u64>,
    rows: BTreeMap<(u64, u64, Option<u64>, Option<String>), i64>,
}

impl Heard {
    fn hear(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Event(event) => {
                    let known = self.standing.incidents.contains_key(&event.state.id);
                    assert_eq!(known, event.said != Said::Create, "{event:?}");
                    self.standing.incidents.insert(event.state.id, event.state.clone());
                    match event.said {
                        Said::Close => _ = self.closed.insert(event.state.id),
                        Said::Create | Said::Update => _ = self.closed.remove(&event.state.id),
                    }
                    if event.state.withdrawn {
                        assert_eq!((event.said, event.state.alerts), (Said::Close, 0));
                        self.standing.incidents.remove(&event.state.id);
                        self.closed.remove(&event.state.id);
                    }
                }
                Change::Row(RowChange { window, flow_id, diff, incident, muted_by, .. }) => {
                    let row = (*window, *flow_id, *incident, muted_by.clone());
                    *self.rows.entry(row).or_default() += i64::from(*diff);
                }
            }
        }
        self.rows.retain(|_, count| *count != 0);
        assert!(self.rows.values().all(|count| *count == 1), "{:?}", self.rows);
        self.standing.rows = self.rows.keys().cloned().collect();
    }
}

/// The host that accounts for each finding of a window, by trying all hosts again and again.
fn covering(findings: &[&Finding]) -> Vec<IpAddr> {
    let mut taken: Vec<Option<IpAddr>> = vec![None; findings.len()];
    while taken.contains(&None) {
        let mut weights: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (finding, _) in findings.iter().zip(&taken).filter(|(_, taken)| taken.is_none()) {
            *weights.entry(finding.src).or_default() += 2 * weight(finding.score);
            if finding.dst != finding.src {
                *weights.entry(finding.dst).or_default() += weight(finding.score);
            }
        }
        let most = weights.values().max().copied();
        let host = weights.iter().find(|(_, weight)| Some(**weight) == most).map(|(host, _)| *host);
        for (finding, taken) in findings.iter().zip(&mut taken) {
            if taken.is_none() && host.is_some_and(|host| host == finding.src || host == finding.dst) {
                *taken = host;
            }
        }
    }
    taken.into_iter().flatten().collect()
}

/// What a run over these findings with these settings says, worked out without a graph.
fn recompute(findings: &BTreeSet<Finding>, settings: &BTreeSet<Setting>) -> Standing {
    let mut standing = Standing::default();
    let thresholds = settings.iter().filter_map(|setting| match setting {
        Setting::Threshold(threshold) => Some(*threshold),
        Setting::Allow(_) => None,
    });
    let threshold = thresholds.max();
    if settings.is_empty() {
        return standing;
    }
    let mut windows: BTreeMap<u64, Vec<&Finding>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| threshold.is_none_or(|t| finding.score > t)) {
        let rule = settings.iter().find_map(|setting| match setting {
            Setting::Allow(rule) if rule.holds(finding, finding.window + WINDOW) => Some(rule.to_string()),
            _ => None,
        });
        match rule {
            Some(rule) => _ = standing.rows.insert((finding.window, finding.flow_id, None, Some(rule))),
            None => windows.entry(finding.window).or_default().push(finding),
        }
    }
    let mut of_host: BTreeMap<IpAddr, Vec<&Finding>> = BTreeMap::new();
    for findings in windows.values() {
        for (finding, host) in findings.iter().zip(covering(findings)) {
            of_host.entry(host).or_default().push(finding);
        }
    }
    for (host, findings) in of_host {
        let silent = |a: &&Finding, b: &&Finding| b.window.saturating_sub(a.window + WINDOW) < SILENCE;
        for incident in findings.chunk_by(silent) {
            let state = plain_state(host, incident, threshold.map_or(0.0, Real::get));
            for finding in incident {
                standing.rows.insert((finding.window, finding.flow_id, Some(state.id), None));
            }
            standing.incidents.insert(state.id, state);
        }
    }
    standing
}

fn plain_state(host: IpAddr, findings: &[&Finding], threshold: f64) -> State {
    let first = findings[0];
    let name = format!("{host} anomaly {}", first.window);
    let digest = <sha2::Sha256 as sha2::Digest>::digest(name);
    let top = findings
        .iter()
        .max_by_key(|f| (f.score, std::cmp::Reverse((f.window, f.flow_id))))
        .expect("an incident has a finding");
    let distinct = |key: fn(&Finding, IpAddr) -> (IpAddr, u16)| {
        findings.iter().map(|finding| key(finding, host)).collect::<BTreeSet<_>>().len() as u64
    };
    let alerts = findings.len() as u64;
    State {
        id: u64::from_be_bytes(digest[..8].try_into().unwrap()),
        kind: Kind::Anomaly,
        host,
        source: 2 * findings.iter().filter(|finding| finding.src == host).count() >= findings.len(),
        first: findings.iter().map(|finding| finding.start).min().unwrap(),
        last: findings.iter().map(|finding| finding.end).max().unwrap(),
        windows: findings.iter().map(|finding| finding.window).collect::<BTreeSet<_>>().len() as u64,
        alerts,
        score: top.score.get(),
        p_value: findings.iter().map(|finding| finding.p_value.get()).reduce(f64::min).unwrap(),
        weight: findings.iter().map(|finding| weight(finding.score)).sum(),
        severity: Severity::of(Kind::Anomaly, top.score.get(), threshold, alerts),
        peers: distinct(|finding, host| (if finding.src == host { finding.dst } else { finding.src }, 0)),
        ports: distinct(|finding, host| (host, finding.dst_port)),
        top: super::extent::Extent::of(top, host).top,
        hints: Vec::new(),
        withdrawn: false,
        held: false,
    }
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

/// At each timestamp findings of its window come, some of older ones come late or go, and now and then settings change.
fn some_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = |time: u64| {
        let mostly_nothing = prop::collection::vec(some_setting(), 0..2);
        (
            prop::collection::vec(some_finding(time..time + 1), 0..5),
            prop::collection::vec(some_finding(0..time + 1), 0..3),
            prop::collection::vec(any::<prop::sample::Index>(), 0..3),
            mostly_nothing,
            any::<bool>(),
        )
    };
    (0..14u64).map(step).collect::<Vec<_>>().prop_map(|drawn| {
        let mut findings = BTreeSet::<Finding>::new();
        let mut settings = BTreeSet::<Setting>::new();
        let mut steps = Vec::new();
        for (number, (now, late, gone, toggled, quiet)) in drawn.into_iter().enumerate() {
            let mut step = Step { findings: Vec::new(), settings: Vec::new() };
            let known: Vec<Finding> = findings.iter().cloned().collect();
            if quiet && number > 3 {
                steps.push(step);
                continue;
            }
            for index in gone.iter().filter(|_| !known.is_empty()) {
                let finding = &known[index.index(known.len())];
                if findings.remove(finding) {
                    step.findings.push((finding.clone(), -1));
                }
            }
            for finding in now.into_iter().chain(late) {
                let same =
                    findings.iter().any(|f| (f.window, f.flow_id) == (finding.window, finding.flow_id));
                let leaves = step
                    .findings
                    .iter()
                    .any(|(f, _)| (f.window, f.flow_id) == (finding.window, finding.flow_id));
                if !same && !leaves {
                    findings.insert(finding.clone());
                    step.findings.push((finding, 1));
                }
            }
            let first = (number == 0).then(|| Setting::Threshold(Real::new(THRESHOLD)));
            for setting in first.into_iter().chain(toggled) {
                let diff = if settings.remove(&setting) { -1 } else { 1 };
                if diff == 1 {
                    settings.insert(setting.clone());
                }
                step.settings.push((setting, diff));
            }
            steps.push(step);
        }
        steps
    })
}

/// The state of things after each step.
fn states(steps: &[Step]) -> Vec<Standing> {
    let (mut findings, mut settings) = (BTreeMap::new(), BTreeMap::new());
    let mut standing = Vec::new();
    for step in steps {
        for (finding, diff) in &step.findings {
            *findings.entry(finding.clone()).or_insert(0) += diff;
        }
        for (setting, diff) in &step.settings {
            *settings.entry(setting.clone()).or_insert(0) += diff;
        }
        findings.retain(|_, count| *count != 0);
        settings.retain(|_, count| *count != 0);
        standing.push(recompute(&findings.keys().cloned().collect(), &settings.keys().cloned().collect()));
    }
    standing
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_adds_up_to_a_fresh_run_and_is_the_difference_of_two(steps in some_steps()) {
        let said = run(watch(FOREVER, Rules::default()), steps.clone(), 1);
        let mut heard = Heard::default();
        let mut before = Standing::default();
        for (time, (changes, now)) in (0..).zip(said.iter().zip(states(&steps))) {
            heard.hear(changes);
            prop_assert_eq!(&heard.standing, &now, "after timestamp {}", time);
            // What is silent for long enough is closed, and nothing else.
            let over = |state: &&State| {
                let last = now.rows.iter().filter(|row| row.2 == Some(state.id)).map(|row| row.0).max();
                last.unwrap() + WINDOW + SILENCE <= (time + 1) * WINDOW
            };
            let over: BTreeSet<u64> = now.incidents.values().filter(over).map(|state| state.id).collect();
            prop_assert_eq!(&heard.closed, &over, "after timestamp {}", time);
            // Nothing is said of what stayed as it was, but that it is over.
            for change in changes {
                if let Change::Event(event) = change && event.said != Said::Close {
                    prop_assert_ne!(before.incidents.get(&event.state.id), now.incidents.get(&event.state.id));
                }
                if let Change::Row(row) = change {
                    let row = &(row.window, row.flow_id, row.incident, row.muted_by.clone());
                    prop_assert!(before.rows.contains(row) != now.rows.contains(row), "{:?}", row);
                }
            }
            before = now;
        }
    }

    #[test]
    fn workers_do_not_show(steps in some_steps()) {
        let one = run(watch(FOREVER, Rules::default()), steps.clone(), 1);
        prop_assert_eq!(&one, &run(watch(FOREVER, Rules::default()), steps.clone(), 2));
        prop_assert_eq!(&one, &run(watch(FOREVER, Rules::default()), steps, 3));
    }

    #[test]
    fn a_cover_is_that_of_trying_all_hosts_again_and_again(
        findings in prop::collection::vec(some_finding(0..1), 1..60),
    ) {
        let findings: Vec<Finding> = (0..).zip(findings).map(|(flow_id, f)| Finding { flow_id, ..f }).collect();
        let findings: Vec<&Finding> = findings.iter().collect();
        let mut plain: BTreeMap<IpAddr, Vec<u64>> = BTreeMap::new();
        for (finding, host) in findings.iter().zip(covering(&findings)) {
            plain.entry(host).or_default().push(finding.flow_id);
        }
        let parts: BTreeMap<IpAddr, Vec<u64>> =
            cover(&findings, Real::new(THRESHOLD)).into_iter().map(|part| (part.host, part.flows)).collect();
        prop_assert_eq!(parts, plain);
    }

    #[test]
    fn what_is_final_says_the_same_as_what_could_change(findings in prop::collection::vec(some_finding(0..60), 0..60)) {
        let keep = SILENCE + 10;
        let findings: BTreeMap<(u64, u64), Finding> = findings.into_iter().map(|f| ((f.window, f.flow_id), f)).collect();
        let steps = |keep: Option<u64>| -> Vec<Step> {
            let threshold = Setting::Threshold(Real::new(THRESHOLD));
            let mut steps = vec![Step { findings: Vec::new(), settings: Vec::new() }; 100];
            steps[0].settings.push((threshold, 1));
            for finding in findings.values() {
                steps[(finding.window / WINDOW) as usize].findings.push((finding.clone(), 1));
                if let Some(keep) = keep {
                    let last = (finding.window + keep) / WINDOW;
                    steps[last as usize].findings.push((finding.clone(), -1));
                }
            }
            steps
        };
        let short = run(watch(keep, Rules::default()), steps(Some(keep)), 1);
        prop_assert_eq!(short, run(watch(FOREVER, Rules::default()), steps(None), 1));
    }
}

/// Findings as scored rows, all of them marked.
fn scored_rows(findings: &[&Finding]) -> RecordBatch {
    fn column<A: Array + FromIterator<T> + 'static, T>(
        findings: &[&Finding],
        value: impl Fn(&Finding) -> T,
    ) -> ArrayRef {
        Arc::new(findings.iter().map(|finding| value(finding)).collect::<A>())
    }
    let text = |value: fn(&Finding) -> String| column::<StringArray, _>(findings, |f| Some(value(f)));
    let port = |value: fn(&Finding) -> u16| column::<UInt16Array, _>(findings, |f| Some(value(f)));
    let number = |value: fn(&Finding) -> f64| column::<Float64Array, _>(findings, |f| Some(value(f)));
    let time = |value: fn(&Finding) -> i64| -> ArrayRef {
        let times = TimestampNanosecondArray::from_iter_values(findings.iter().map(|f| value(f)));
        Arc::new(times.with_timezone("UTC"))
    };
    let columns = [
        ("window_start", time(|f| f.window as i64)),
        ("flow_id", column::<UInt64Array, _>(findings, |f| Some(f.flow_id))),
        ("src_ip", text(|f| f.src.to_string())),
        ("dst_ip", text(|f| f.dst.to_string())),
        ("src_port", port(|f| f.src_port)),
        ("dst_port", port(|f| f.dst_port)),
        ("protocol", column::<UInt8Array, _>(findings, |f| Some(f.protocol))),
        ("protocol_name", text(|f| f.protocol_name.clone())),
        ("row_start", time(|f| f.start)),
        ("row_end", time(|f| f.end)),
        ("score", number(|f| f.score.get())),
        ("p_value", number(|f| f.p_value.get())),
        ("is_anomaly", column::<BooleanArray, _>(findings, |_| Some(true))),
        ("reasons", column::<StringArray, _>(findings, |_| None::<String>)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// Runs the graph over scored rows of windows, a change being asked for after so many of them. Rows of a window are on all
/// workers. What was said, in order, and of each row by what threshold it is marked in the end.
fn run_rows(
    watch: &Watch,
    windows: &[Vec<Finding>],
    change: Option<(usize, InForce)>,
    workers: usize,
) -> (Vec<Change>, BTreeMap<(u64, u64), bool>) {
    let said = Arc::new(Mutex::new(BTreeMap::<u64, Vec<Change>>::new()));
    let marked = Arc::new(Mutex::new(BTreeMap::new()));
    let (all, marks) = (said.clone(), marked.clone());
    let (watch, windows) = (watch.clone(), windows.to_vec());
    let turn = Arc::new(Barrier::new(workers));
    timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index() as u64, worker.peers() as u64);
        let (said, marked, fault) = (said.clone(), marked.clone(), Arc::<Fault>::default());
        let tally = Arc::<Tally>::default();
        tally.anomalies.store(1 << 40, std::sync::atomic::Ordering::Relaxed);
        let probe = ProbeHandle::new();
        let mut input = InputHandle::<u64, CapacityContainerBuilder<Vec<(u64, RecordBatch)>>>::new();
        worker.dataflow::<u64, _, _>(|scope| {
            let rows = input.to_stream(scope);
            let rows = rows.unary::<NoopBuilder<RowBatch>, _, _, _>(Pipeline, "rows", |_, _| {
                move |input, output| {
                    input.for_each(|cap, rows| {
                        for (window, rows) in rows.drain(..) {
                            let place = Place { window, shard: index as u32, number: 0, last: false };
                            let mut batch = RowBatch { place, target: 0, rows };
                            output.session_with_builder(&cap).give_container(&mut batch);
                        }
                    });
                }
            });
            let Incidents { changes, thresholds } = incidents(rows.clone(), &watch, fault.clone());
            changes
                .inspect_core(move |event| {
                    if let Ok((stamp, changes)) = event {
                        let time = *stamp.iter().next().unwrap();
                        said.lock().unwrap().entry(time).or_default().extend_from_slice(changes);
                    }
                })
                .probe_with(&probe);
            mark(rows, thresholds, tally, fault)
                .unary::<NoopBuilder<Vec<()>>, _, _, _>(Pipeline, "marked", |_, _| {
                    move |input, _| {
                        input.for_each(|_, batch| {
                            let is = batch.rows.column_by_name("is_anomaly").unwrap().as_boolean();
                            let flows = batch.rows.column_by_name("flow_id").unwrap();
                            let flows = flows.as_primitive::<UInt64Type>().values();
                            let mut marked = marked.lock().unwrap();
                            for (is, flow) in is.iter().zip(flows) {
                                assert!(marked.insert((batch.place.window, *flow), is.unwrap()).is_none());
                            }
                        });
                    }
                })
                .probe_with(&probe);
        });
        for (number, findings) in windows.iter().enumerate() {
            if let (Some((after, change)), Some(changes), 0) = (&change, &watch.changes, index)
                && *after == number
            {
                changes.put(change.clone());
            }
            turn.wait();
            let own: Vec<&Finding> = findings.iter().filter(|f| f.flow_id % peers == index).collect();
            if !own.is_empty() {
                input.send((number as u64 * WINDOW, scored_rows(&own)));
            }
            input.advance_to(number as u64 + 1);
            worker.step_while(|| probe.less_than(&(number as u64)));
        }
        input.close();
        while worker.step() {}
    })
    .unwrap();
    let mut changes = Vec::new();
    for (_, mut at_once) in std::mem::take(&mut *all.lock().unwrap()) {
        Change::sort(&mut at_once);
        changes.append(&mut at_once);
    }
    (changes, std::mem::take(&mut *marks.lock().unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_change_in_the_middle_ends_as_a_fresh_run_with_it_from_the_start(
        drawn in prop::collection::vec(prop::collection::vec(some_finding(0..1), 0..6), 12),
        after in 2..10usize,
        chosen in prop::collection::vec(0..3usize, 0..3),
        step in 0..4u32,
        workers in 1..4usize,
    ) {
        let windows: Vec<Vec<Finding>> = (0u64..).zip(drawn).map(|(window, findings)| {
            (0u64..).zip(findings).map(|(flow, f)| {
                let (window, flow_id) = (window * WINDOW, window << 8 | flow);
                Finding { window, flow_id, start: window as i64, end: window as i64 + 1, ..f }
            }).collect()
        }).collect();
        let threshold = 4.5 + f64::from(step);
        let text: String = BTreeSet::from_iter(chosen).into_iter().map(|rule| RULES[rule]).collect();
        let rules = toml::from_str::<RulesFile>(&text).unwrap().check().unwrap();
        let next = InForce { threshold, by: String::new(), rules: rules.clone() };
        let start = InForce { threshold: THRESHOLD, by: String::new(), rules: Rules::default() };

        let following = watch(FOREVER, Rules::default()).following(Arc::new(Changes::new(start)));
        let (said, marked) = run_rows(&following, &windows, Some((after, next.clone())), workers);
        let fresh = Watch { threshold, ..watch(FOREVER, rules) };
        let (expected, _) = run_rows(&fresh, &windows, None, 1);
        let heard = |said: &[Change]| {
            let mut heard = Heard::default();
            heard.hear(said);
            (heard.standing, heard.closed)
        };
        prop_assert_eq!(heard(&said), heard(&expected));
        prop_assert_eq!(following.changes.unwrap().now(), next);
        // All of a window's rows, whatever worker had them, are marked by one threshold.
        let is_by = |threshold: f64, window: &[Finding]| {
            window.iter().all(|f| marked[&(f.window, f.flow_id)] == (f.score.get() > threshold))
        };
        let first = windows.iter().position(|window| !is_by(THRESHOLD, window)).unwrap_or(windows.len());
        prop_assert!(first >= after, "{} {}", first, after);
        prop_assert!(windows[first.min(windows.len())..].iter().all(|window| is_by(threshold, window)));
    }
}

#[test]
fn rows_are_muted_by_the_rules_of_their_time() {
    let watch = watch(60, rules_of(RULES[0]));
    let window = |number: u64| {
        let of = |flow, src| finding(number * WINDOW, flow, [10, 0, 0, src], [10, 9, 9, 9], 9.0);
        scored_rows(&[&of(1, 7), &of(2, 1), &of(3, 2)])
    };
    let muted =
        |number: u64| watch.muting.muted(&window(number)).unwrap().into_iter().collect::<Vec<usize>>();
    assert_eq!(muted(0), [1]);
    let later: BTreeSet<Setting> = rules_of(RULES[1]).rules().iter().cloned().map(Setting::Allow).collect();
    watch.muting.follow(3, &later);
    watch.muting.follow(5, &BTreeSet::new());
    assert_eq!([1, 2, 3, 4, 5].map(muted), [vec![1], vec![1], vec![2], vec![2], vec![]]);
    assert_eq!(watch.muting.rows(), 5);
}

#[test]
fn sessions_forget_what_is_over() {
    let watch = watch(60, Rules::default());
    let mut sessions = super::session::Sessions::new(watch.clock);
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
fn a_crowd_of_new_hosts_is_one_incident_however_rows_are_cut() {
    let rows: Vec<Finding> = (0..300u64)
        .map(|n| finding(0, n, [10, 1, (n / 2 % 100) as u8, 9], [10, 0, 0, n as u8], 4.0))
        .collect();
    let rows = scored_rows(&rows.iter().collect::<Vec<_>>());
    let new = |rows: &RecordBatch| -> RecordBatch {
        let mut columns: Vec<(String, ArrayRef)> = rows
            .schema()
            .fields()
            .iter()
            .zip(rows.columns())
            .filter(|(field, _)| field.name() != "is_anomaly")
            .map(|(field, column)| (field.name().clone(), column.clone()))
            .collect();
        let all = |is: bool| -> ArrayRef { Arc::new(BooleanArray::from(vec![is; rows.num_rows()])) };
        columns.extend([("is_anomaly".to_owned(), all(false)), ("src_is_new".to_owned(), all(true))]);
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true)))
            .unwrap()
    };
    let columns = super::Columns::default();
    let parts = |cut: usize| {
        let pieces = (0..300).step_by(cut).map(|from| rows.slice(from, cut.min(300 - from)));
        let findings: Vec<Finding> = pieces.flat_map(|rows| columns.findings(&new(&rows)).unwrap()).collect();
        cover(&findings.iter().collect::<Vec<_>>(), Real::new(THRESHOLD))
    };
    let whole = parts(300);
    assert_eq!((whole.len(), whole[0].host), (1, super::CROWD));
    for cut in [7, 40, 128] {
        assert_eq!(parts(cut), whole, "{cut} rows a batch");
    }
}

#[test]
fn a_new_host_is_said_once_however_long_it_stays() {
    let watch = watch(60, Rules::default());
    let mut sessions = super::session::Sessions::new(watch.clock);
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
