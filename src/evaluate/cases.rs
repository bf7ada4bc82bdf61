//! Incidents held against the truth: which are right, which false, what became of each event.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::evaluation::benign_hosts;
use super::incidents::{Log, SEVERITIES};
use super::measure::{HOUR, Judged};
use super::truth::Truth;
use crate::incident::Kind;
use crate::report::Incident;
use crate::row::RowKey;

/// An incident with what its rows are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    pub(super) incident: Incident,
    /// Rows by truth.
    pub(super) attacks: u64,
    pub(super) benign: u64,
    pub(super) unknown: u64,
    /// The events, in order, each once.
    pub(super) events: Vec<usize>,
}

impl Case {
    /// Whether nothing in it is part of an event, and something is benign.
    pub(super) fn is_false(&self) -> bool {
        self.attacks == 0 && self.benign > 0
    }

    pub(super) fn rows(&self) -> u64 {
        self.attacks + self.benign + self.unknown
    }
}

/// How many incidents of some kind, and how many of them are false.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Count {
    pub(super) all: u64,
    pub(super) wrong: u64,
}

impl Count {
    fn add(&mut self, case: &Case) {
        self.all += 1;
        self.wrong += u64::from(case.is_false());
    }
}

/// All incidents of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cases {
    /// By their first packet; those of new hosts are apart.
    pub(super) cases: Vec<Case>,
    /// Local hosts that began no flow in training.
    pub(super) new_hosts: Vec<Case>,
    /// Those that were held back, as knocks or by a budget: nobody was told, so they find nothing and are no false alarm.
    pub(super) held: Count,
    /// All, and those of two rows or more.
    pub(super) count: Count,
    pub(super) larger: Count,
    /// By severity, in the order of [`SEVERITIES`].
    pub(super) severities: [Count; SEVERITIES.len()],
    /// For each event: from its start to when an incident with a row of it is known, nanoseconds.
    pub(super) delays: Vec<Option<u64>>,
    /// Most events in one incident.
    pub(super) most_merged: u64,
    /// Length of the rows' time, and of the part of it in which no event is labelled, nanoseconds.
    pub(super) time: u64,
    pub(super) quiet_time: u64,
    /// False incidents that begin in the latter.
    pub(super) quiet_wrong: u64,
    /// Sources of benign rows.
    pub(super) hosts: u64,
    /// Rows that a rule muted, by rule; those of them that are part of an event.
    pub(super) muted: BTreeMap<String, u64>,
    pub(super) muted_attacks: u64,
    /// Rows of incidents that are not among the scores.
    pub(super) strange: u64,
    /// Incidents that have rows and are not in the log.
    pub(super) unsaid: u64,
    /// Those whose beginning is not in the log.
    pub(super) unbegun: u64,
    /// Those that have fewer rows than the log counts, and how many rows.
    pub(super) lost: [u64; 2],
}

/// Nanoseconds of a day.
const DAY: f64 = 24.0 * HOUR;

impl Cases {
    /// Holds the incidents of a run against the truth about its rows.
    pub(super) fn new(log: Log, judged: &Judged) -> Cases {
        let row_of: HashMap<RowKey, usize> =
            (0..).zip(judged.rows).filter_map(|(at, row)| Some(((row.window, row.flow?), at))).collect();
        let mut delays: Vec<Option<u64>> = vec![None; judged.events.events.len()];
        let (mut strange, mut unbegun, mut lost) = (0, 0, [0; 2]);
        let (mut cases, mut new_hosts) = (Vec::new(), Vec::new());
        let mut held = Count::default();
        for (incident, rows) in log.incidents {
            let mut case = Case { incident, attacks: 0, benign: 0, unknown: 0, events: Vec::new() };
            let mut events = BTreeSet::new();
            for key in &rows {
                let Some(at) = row_of.get(key) else {
                    strange += 1;
                    continue;
                };
                match judged.truth[*at] {
                    Truth::Benign => case.benign += 1,
                    Truth::Unknown => case.unknown += 1,
                    Truth::Attack(event) => {
                        case.attacks += 1;
                        events.insert(event);
                        if case.incident.kind == Kind::Anomaly && !case.incident.held {
                            // A row tells nobody anything before there is an incident to hold it.
                            let created = case.incident.created.unwrap_or(0);
                            let known = judged.alert_time(&judged.rows[*at]).max(created);
                            let delay = known.saturating_sub(judged.events.events[event].start);
                            delays[event] = Some(delays[event].map_or(delay, |before| before.min(delay)));
                        }
                    }
                }
            }
            case.events = events.into_iter().collect();
            match case.incident.kind {
                Kind::NewHost | Kind::NewHosts if case.incident.held => held.add(&case),
                Kind::NewHost | Kind::NewHosts => new_hosts.push(case),
                Kind::Anomaly => {
                    unbegun += u64::from(case.incident.created.is_none());
                    let missing = case.incident.alerts.saturating_sub(rows.len() as u64);
                    lost = [lost[0] + u64::from(missing > 0), lost[1] + missing];
                    match case.rows() == 0 {
                        // Of which no row was scored nothing can be said.
                        true => {}
                        false if case.incident.held => held.add(&case),
                        false => cases.push(case),
                    }
                }
            }
        }
        cases.sort_by(|a, b| (a.incident.first, &a.incident.id).cmp(&(b.incident.first, &b.incident.id)));
        let mut muted = BTreeMap::new();
        let mut muted_attacks = 0;
        for (rule, rows) in log.muted {
            muted.insert(rule, rows.len() as u64);
            let truths = rows.iter().filter_map(|key| Some(judged.truth[*row_of.get(key)?]));
            muted_attacks += truths.filter(|truth| matches!(truth, Truth::Attack(_))).count() as u64;
        }
        let mut all = Cases {
            new_hosts,
            held,
            count: Count::default(),
            larger: Count::default(),
            severities: Default::default(),
            delays,
            most_merged: cases.iter().map(|case| case.events.len() as u64).max().unwrap_or(0),
            time: judged.span().map_or(0, |[first, last]| last - first),
            quiet_time: 0,
            quiet_wrong: 0,
            hosts: benign_hosts(judged),
            muted,
            muted_attacks,
            strange,
            unsaid: log.unsaid,
            unbegun,
            lost,
            cases,
        };
        all.sum(judged);
        all
    }

    fn sum(&mut self, judged: &Judged) {
        let quiet = quiet(judged);
        self.quiet_time = quiet.iter().map(|[from, to]| to - from).sum();
        let is_quiet = |time: u64| {
            let after = quiet.partition_point(|[from, _]| *from <= time);
            after > 0 && time <= quiet[after - 1][1]
        };
        for case in &self.cases {
            self.count.add(case);
            if case.rows() > 1 {
                self.larger.add(case);
            }
            if let Some(place) = SEVERITIES.iter().position(|severity| *severity == case.incident.severity) {
                self.severities[place].add(case);
            }
            self.quiet_wrong += u64::from(case.is_false() && is_quiet(case.incident.first));
        }
    }

    /// Events with a row in an incident.
    pub(super) fn found(&self) -> usize {
        self.delays.iter().flatten().count()
    }

    /// So many in an hour of the rows' time; none where there is no time.
    pub(super) fn an_hour(&self, count: u64) -> Option<f64> {
        (self.time > 0).then(|| count as f64 * HOUR / self.time as f64)
    }

    /// So many in a day of the rows' time.
    pub(super) fn a_day(&self, count: u64) -> Option<f64> {
        self.an_hour(count).map(|count| 24.0 * count)
    }

    /// So many for each source of benign rows, in a day of the rows' time.
    pub(super) fn a_host_and_day(&self, count: u64) -> Option<f64> {
        self.a_day(count).filter(|_| self.hosts > 0).map(|count| count / self.hosts as f64)
    }

    /// Between what the number in an hour lies, of events that come one like another, in 95 of 100 such runs.
    pub(super) fn an_hour_between(&self, count: u64) -> Option<[f64; 2]> {
        let bounds = poisson(count);
        (self.time > 0).then(|| bounds.map(|count| count * HOUR / self.time as f64))
    }

    /// False incidents that begin where no event is labelled, in a day of such time, of which there is an hour at least.
    pub(super) fn a_quiet_day(&self) -> Option<f64> {
        let time = self.quiet_time as f64;
        (time >= HOUR).then(|| self.quiet_wrong as f64 * DAY / time)
    }

    /// All cases but those of new hosts, the worst first.
    pub(super) fn worst(&self) -> Vec<&Case> {
        let mut worst: Vec<&Case> = self.cases.iter().collect();
        worst.sort_by(|a, b| {
            let rank = |case: &Case| case.incident.rank(case.rows());
            rank(b).cmp(&rank(a)).then(a.incident.first.cmp(&b.incident.first))
        });
        worst
    }
}

/// The median of what is there; of an even number the middle between two.
pub(super) fn median(values: &[Option<u64>]) -> Option<u64> {
    let mut values: Vec<u64> = values.iter().flatten().copied().collect();
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let lower = if values.len().is_multiple_of(2) { values[values.len() / 2 - 1] } else { upper };
    Some(lower.midpoint(upper))
}

/// A delay in windows: 1 is the window in which an event begins. None without windows.
pub(super) fn windows(delay: u64, window: u64) -> Option<u64> {
    (window > 0).then(|| delay.div_ceil(window).max(1))
}

/// The stretches of the rows' time in which no event is labelled.
fn quiet(judged: &Judged) -> Vec<[u64; 2]> {
    let Some([first, last]) = judged.span() else { return Vec::new() };
    let mut labelled: Vec<[u64; 2]> =
        judged.events.events.iter().map(|event| [event.start, event.end]).collect();
    labelled.sort_unstable();
    let mut quiet = Vec::new();
    let mut from = first;
    for [start, end] in labelled {
        if start > from && from < last {
            quiet.push([from, start.min(last)]);
        }
        from = from.max(end);
    }
    if from < last {
        quiet.push([from, last]);
    }
    quiet
}

/// The rates of a Poisson process that a count does not speak against: exact bounds of 95 % (Garwood, Biometrika 28,
/// 1936).
fn poisson(count: u64) -> [f64; 2] {
    // That no more than `most` come at such a rate.
    let within = |most: u64, rate: f64| -> f64 {
        let of = |number: u64| (number as f64 * rate.ln() - rate - libm::lgamma(number as f64 + 1.0)).exp();
        (0..=most).map(of).sum()
    };
    let bound = |is_beyond: &dyn Fn(f64) -> bool| {
        let mut ends = [0.0, 2.0 * count as f64 + 10.0];
        for _ in 0..60 {
            let middle = (ends[0] + ends[1]) / 2.0;
            ends[usize::from(is_beyond(middle))] = middle;
        }
        ends[0]
    };
    let low = count.checked_sub(1).map_or(0.0, |less| bound(&|rate| within(less, rate) < 0.975));
    [low, bound(&|rate| within(count, rate) < 0.025)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::matching::Matching;
    use crate::evaluate::measure::window_length;
    use crate::evaluate::truth::Events;
    use crate::evaluate::{Labels, ScoredRow};
    use crate::incident::Severity::{High, Info, Low, Medium};

    const SECOND: u64 = 1_000_000_000;

    /// Rows of windows of ten seconds, flow = place; a scan from 100 to 200 s, a flood from 300 to 400 s by
    /// 10.0.0.1 and 10.0.0.2; the rest is benign or, of 10.0.0.9, unknown.
    fn cases(incidents: Vec<(Incident, Vec<u64>)>) -> Cases {
        let labels = Labels::parse(&format!(
            "start_ns,end_ns,src_ip,dst_ip,proto,dst_port,attack,event\n{},{},10.0.0.1,,,,scan,e1\n\
             {},{},10.0.0.2,,,,flood,e2\n0,{},10.0.0.9,,,,ignore,\n",
            100 * SECOND,
            200 * SECOND,
            300 * SECOND,
            400 * SECOND,
            u64::MAX
        ))
        .unwrap();
        let row = |src: &str, at: u64, flow| ScoredRow {
            window: at / 10 * 10 * SECOND,
            flow: Some(flow),
            ..ScoredRow::example(src, "10.0.1.1", at * SECOND, (at + 1) * SECOND, 9.0)
        };
        let rows = [
            row("10.0.0.5", 0, 0),
            row("10.0.0.1", 105, 1),
            row("10.0.0.1", 112, 2),
            row("10.0.0.2", 305, 3),
            row("10.0.0.9", 50, 4),
            row("10.0.0.5", 1000, 5),
            row("10.0.0.5", 150, 6),
        ];
        let events = Events::new(&labels);
        let truth = events.truth(&Matching::new(&labels, &rows));
        let judged =
            Judged { rows: &rows, truth: &truth, events: &events, window: window_length(&rows), seed: 1 };
        let incidents = incidents.into_iter().map(|(incident, flows)| {
            let window = |flow: u64| rows.get(flow as usize).map_or(0, |row| row.window);
            (incident, flows.into_iter().map(|flow| (window(flow), flow)).collect())
        });
        let log = Log {
            incidents: incidents.collect(),
            muted: [("backup".to_owned(), [(110 * SECOND, 2)].into())].into(),
            unsaid: 0,
        };
        Cases::new(log, &judged)
    }

    #[test]
    fn few_events_say_little_of_their_rate() {
        let known =
            [(0, [0.0, 3.689]), (1, [0.0253, 5.572]), (10, [4.795, 18.39]), (1000, [938.97, 1063.94])];
        for (count, bounds) in known {
            for (found, known) in poisson(count).into_iter().zip(bounds) {
                assert!((found - known).abs() <= 1e-3 * known, "{count}: {found}, {known}");
            }
        }
    }

    #[test]
    fn incidents_are_right_false_or_neither() {
        let kind = Kind::Anomaly;
        let cases = cases(vec![
            (Incident::example("a", kind, 105 * SECOND, High), vec![1, 2, 3]),
            (Incident::example("b", kind, 0, Low), vec![0]),
            (Incident::example("c", kind, 50 * SECOND, Low), vec![4]),
            (Incident::example("d", kind, 150 * SECOND, Medium), vec![5, 6]),
            (Incident::example("e", kind, 150 * SECOND, Medium), vec![]),
            (Incident::example("f", Kind::NewHost, 150 * SECOND, Low), vec![1]),
        ]);
        assert_eq!(
            cases.count,
            Count { all: 4, wrong: 2 },
            "what is unknown is not blamed, what has no rows is neither"
        );
        assert_eq!((cases.lost, cases.unbegun), ([1, 1], 0));
        assert_eq!(cases.larger, Count { all: 2, wrong: 1 });
        assert_eq!(cases.severities[0], Count { all: 2, wrong: 1 });
        assert_eq!((cases.most_merged, cases.found(), cases.new_hosts.len()), (2, 2, 1));
        assert_eq!((cases.muted.get("backup"), cases.muted_attacks), (Some(&1), 1));
        assert_eq!(cases.worst()[0].incident.id, "a");
        // 1,001 s, of which 200 are labelled; of the two that are false one begins in the rest.
        assert_eq!((cases.time / SECOND, cases.quiet_time / SECOND, cases.quiet_wrong), (1001, 801, 1));
        assert_eq!((cases.an_hour(2), cases.hosts), (Some(7200.0 / 1001.0), 1));
    }

    #[test]
    fn an_event_is_known_when_window_and_incident_are() {
        let found = |first: u64, flows: Vec<u64>| {
            cases(vec![(Incident::example("a", Kind::Anomaly, first * SECOND, High), flows)]).delays
        };
        assert_eq!(found(90, vec![1, 2]), [Some(10 * SECOND), None], "the end of the first row's window");
        let rotated = Incident { created: None, ..Incident::example("a", Kind::Anomaly, 170 * SECOND, High) };
        let rotated = cases(vec![(rotated, vec![1, 3])]);
        assert_eq!((rotated.unbegun, rotated.delays), (1, vec![Some(10 * SECOND); 2]));
        assert_eq!(
            found(170, vec![1, 3]),
            [Some(80 * SECOND), Some(10 * SECOND)],
            "no earlier than the incident"
        );
        assert_eq!(
            (windows(10, 10), windows(11, 10), windows(0, 10), windows(5, 0)),
            (Some(1), Some(2), Some(1), None)
        );
        assert_eq!(median(&[Some(3), None, Some(1), Some(2)]), Some(2));
        assert_eq!(median(&[Some(3), Some(10), Some(1), Some(4)]), Some(3), "three and a half, whole");
        assert_eq!(median(&[None]), None);
    }

    #[test]
    fn an_incident_that_is_held_back_finds_nothing_and_is_counted_apart() {
        let held = Incident { held: true, ..Incident::example("a", Kind::Anomaly, 0, Info) };
        let cases = cases(vec![(held, vec![0, 1])]);
        assert_eq!((cases.found(), cases.count.all, cases.held.all), (0, 0, 1));
    }

    #[test]
    fn a_new_host_is_no_alarm_about_an_event_and_foreign_rows_are_counted() {
        let cases = cases(vec![(Incident::example("a", Kind::NewHost, 0, Low), vec![1, 77])]);
        assert_eq!((cases.found(), cases.count.all, cases.strange), (0, 0, 1));
    }

    #[test]
    fn an_incident_of_foreign_rows_alone_is_neither_found_nor_false() {
        let of = |flows: Vec<u64>| cases(vec![(Incident::example("a", Kind::Anomaly, 0, Low), flows)]);
        let foreign = of(vec![77, 78]);
        assert_eq!((foreign.count.all, foreign.strange), (0, 2));
        assert_eq!((of(vec![77, 0]).count.all, of(vec![77, 0]).strange), (1, 1));
    }
}
