//! Scored rows through the graph: what changes while they come, what is muted, what they are findings of.

use super::*;

use super::plainly::Heard;

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

/// Runs the graph over scored rows of windows, a change being asked for after so many of them. Rows of a window
/// are on all workers. What was said, in order, and of each row by what threshold it is marked in the end.
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
                            let place = Place { window, worker: index as u32, number: 0, last: false };
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
fn a_crowd_of_new_hosts_is_one_incident_however_rows_are_cut() {
    let score = |n: u64| if n == 250 { THRESHOLD + 1.0 } else { 4.0 };
    let rows: Vec<Finding> = (0..300u64)
        .map(|n| finding(0, n, [10, 1, (n / 2 % 100) as u8, 9], [10, 0, 0, n as u8], score(n)))
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
    let findings = |cut: usize, unruled: bool| {
        let columns = Columns::default().unruled(unruled);
        let pieces = (0..300).step_by(cut).map(|from| rows.slice(from, cut.min(300 - from)));
        pieces.flat_map(|rows| columns.findings(&new(&rows)).unwrap()).collect::<Vec<Finding>>()
    };
    let parts = |findings: &[Finding], stands: fn(&Finding) -> bool| {
        let standing: Vec<&Finding> = findings.iter().filter(|finding| stands(finding)).collect();
        cover(&standing, Real::new(THRESHOLD))
    };
    // Where rules are, any row may be the one that stands, and any host.
    let few = |finding: &Finding| matches!(finding.src, IpAddr::V4(src) if src.octets()[2] < 12);
    let late = |finding: &Finding| finding.flow_id >= 100;
    let whole = findings(300, false);
    let all = parts(&whole, |_| true);
    assert_eq!((all.len(), all[0].kind, all[0].host), (1, Kind::NewHosts, CROWD));
    for cut in [7, 40, 128] {
        assert_eq!(parts(&findings(cut, true), |_| true), all, "{cut} rows a batch");
        for stands in [few, late] {
            let (found, expected) = (parts(&findings(cut, false), stands), parts(&whole, stands));
            assert_eq!(found, expected, "{cut} rows a batch");
        }
    }
    let few = parts(&whole, few);
    assert!(few.len() == 12 && few.iter().all(|part| part.kind == Kind::NewHost));
    // Of a host's rows the oddest stands for it.
    let odd = parts(&whole, |finding| matches!(finding.src, IpAddr::V4(src) if src.octets()[2] == 25));
    assert_eq!((odd.len(), odd[0].extent.score, odd[0].extent.top.flow_id), (1, Real::new(score(250)), 250));
}

#[test]
fn rows_whose_ends_have_no_addresses_are_counted_and_told_of() {
    let of = |flow: u64| finding(0, flow, [10, 0, 0, flow as u8], [10, 9, 9, 9], 9.0);
    let rows = scored_rows(&[&of(1), &of(2), &of(3)]);
    let names: ArrayRef = Arc::new(StringArray::from(vec!["printer", "10.0.0.2", ""]));
    let fields = rows.schema_ref().fields().iter().map(|field| field.name().clone());
    let columns = fields.zip(rows.columns());
    let columns =
        columns.map(|(name, old)| (name.clone(), if name == "src_ip" { &names } else { old }.clone(), true));
    let rows = RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap();
    let findings = Columns::default().findings(&rows).unwrap();
    assert_eq!(findings.iter().map(|finding| finding.flow_id).collect::<Vec<_>>(), [2]);
    assert_eq!(Columns::without_address(&rows, &findings), 2);

    let hits = Hits::new(&Rules::default());
    assert_eq!(hits.complaints(), [""; 0]);
    hits.unaddressed(2);
    assert_eq!(hits.complaints(), ["2 anomalies are in no incident: their src_ip or dst_ip is no address"]);
}

#[test]
fn a_knock_is_a_few_packets_of_a_stranger_that_nobody_let_in() {
    let between = |src: [u8; 4], dst: [u8; 4], index: u64, sent: u64, answered: Option<u64>, state: &str| {
        let rows = scored_rows(&[&finding(0, 1, src, dst, 9.0)]);
        let fields = rows.schema_ref().fields().iter().map(|field| field.name().clone());
        let mut columns: Vec<(String, ArrayRef)> = fields.zip(rows.columns().to_vec()).collect();
        columns.push(("fwd_packets".to_owned(), Arc::new(UInt64Array::from(vec![sent]))));
        columns.push(("row_index".to_owned(), Arc::new(UInt64Array::from(vec![index]))));
        columns.push(("conn_state".to_owned(), Arc::new(StringArray::from(vec![state]))));
        columns.extend(answered.map(|packets| -> (String, ArrayRef) {
            ("bwd_packets".to_owned(), Arc::new(UInt64Array::from(vec![packets])))
        }));
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        Columns::default().findings(&rows).unwrap()[0].knock
    };
    let rows = |src, sent, answered, state: &str| between(src, [10, 9, 9, 9], 0, sent, answered, state);
    let (stranger, own) = ([203, 0, 113, 9], [10, 0, 0, 9]);
    assert!(!between(stranger, [10, 9, 9, 9], 1, 1, Some(0), "S0"), "it goes on");
    assert!(!between(stranger, [255, 255, 255, 255], 0, 1, Some(0), "S0"), "to all on a link");
    assert!(!rows([0, 0, 0, 0], 1, Some(0), "S0"), "of nobody");
    assert!(!rows(stranger, 1, Some(0), "OTH"), "the middle of a connection");
    assert!(rows(stranger, 1, Some(0), "S0") && rows(stranger, 3, Some(0), "S0"));
    assert!(rows(stranger, 1, Some(1), "REJ"), "refused");
    assert!(!rows(stranger, 4, Some(0), "S0"), "more than a knock");
    assert!(!rows(stranger, 1, Some(1), "SF"), "let in");
    assert!(!rows(own, 1, Some(0), "S0"), "one's own");
    assert!(!rows(stranger, 1, None, "S0"), "nobody knows whether it was answered");
}
