//! Findings and settings that come and go at timestamps, by the graph and plainly.

use super::*;

use super::plainly::{Heard, Standing, covering, recompute};

/// What findings or settings do at a timestamp.
#[derive(Clone, Debug)]
struct Step {
    findings: Vec<(Finding, isize)>,
    settings: Vec<(Setting, isize)>,
}

/// Runs the graph over steps, one for each timestamp from 0; what was said in each, in order.
fn run(watch: Watch, steps: Vec<Step>, workers: usize) -> Vec<Vec<Change>> {
    run_in_pieces(watch, steps, workers, 1)
}

/// The same, where the graph is given `piece` timestamps before it works.
fn run_in_pieces(watch: Watch, steps: Vec<Step>, workers: usize, piece: u64) -> Vec<Vec<Change>> {
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
            if (time + 1) % piece == 0 {
                worker.step_while(|| probe.less_than(&(time + 1)));
            }
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
    fn how_much_comes_at_once_does_not_show(steps in some_steps()) {
        let one = run(watch(FOREVER, Rules::default()), steps.clone(), 1);
        for (workers, piece) in [(1, 3), (1, 20), (2, 5)] {
            let pieces = run_in_pieces(watch(FOREVER, Rules::default()), steps.clone(), workers, piece);
            prop_assert_eq!(&one, &pieces, "{} workers, {} at once", workers, piece);
        }
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
