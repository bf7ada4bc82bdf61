//! Memory of a long run, by what the whole process has: one test, alone in its process.

// What fails here fails the test.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::net::IpAddr;
use std::time::Duration;

use differential_dataflow::input::Input;
use netweir::incident::operator::{Watch, follow};
use netweir::incident::{Finding, Findings, IncidentSpec, Kind, Real, Rules, Setting};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;

/// Nanoseconds of a window, and of a timestamp.
const WINDOW: u64 = 1_000_000_000;

/// Pages of memory that the process has.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

fn finding(window: u64, number: u64) -> Finding {
    let host =
        |salt: u64| IpAddr::from([10, 0, (window / 20 % 200) as u8, ((number * salt + window) % 250) as u8]);
    let start = window * WINDOW;
    Finding {
        window: start,
        kind: Kind::Anomaly,
        flow_id: number,
        src: host(3),
        dst: host(7),
        src_port: 40_000,
        dst_port: 80,
        protocol: 6,
        protocol_name: "tcp".to_owned(),
        start: start as i64,
        end: start as i64 + 1,
        score: Real::new(9.0),
        p_value: Real::new(1e-4),
        knock: false,
        values: Vec::new(),
        words: String::new(),
        hints: Vec::new(),
    }
}

/// Incidents of four times as many windows hold no more than of one: what is older than `keep` is let go.
#[test]
fn incidents_of_long_runs_hold_no_more_than_of_short_ones() {
    const QUARTER: u64 = 5_000;
    const KEEP: u64 = 6;
    let (silence, keep) = (Duration::from_secs(3), Duration::from_secs(KEEP));
    let spec = IncidentSpec { silence, keep, ..IncidentSpec::default() };
    let watch = Watch::new(&spec, WINDOW, WINDOW, 5.0, Rules::default());
    let pages = timely::execute_directly(move |worker| {
        let probe = ProbeHandle::new();
        let (mut findings, mut settings) = worker.dataflow::<u64, _, _>(|scope| {
            let (findings_input, findings) = scope.new_collection::<Findings, isize>();
            let (settings_input, settings) = scope.new_collection::<Setting, isize>();
            follow(findings, settings, &watch).probe_with(&probe);
            (findings_input, settings_input)
        });
        settings.insert(Setting::Threshold(Real::new(5.0)));
        let mut pages = Vec::new();
        for window in 0..4 * QUARTER {
            for of_window in Findings::by_window((0..25).map(|number| finding(window, number)).collect()) {
                findings.update_at(of_window.clone(), window, 1);
                findings.update_at(of_window, window + KEEP + 1, -1);
            }
            // Settings that change are let go too.
            let other = |step: u64| Setting::Threshold(Real::new(5.0 + (step % 2) as f64));
            if window > 0 && window % 10 == 0 {
                settings.update_at(other(window / 10 - 1), window, -1);
                settings.update_at(other(window / 10), window, 1);
            }
            findings.advance_to(window + 1);
            findings.flush();
            settings.advance_to(window + 1);
            settings.flush();
            worker.step_while(|| probe.less_than(&(window + 1)));
            if window % QUARTER == QUARTER - 1 {
                pages.push(resident());
            }
        }
        pages
    });
    eprintln!("{pages:?} pages");
    assert!(pages[3] < pages[0] + pages[0] / 10, "{pages:?}");
}
