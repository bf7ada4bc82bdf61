//! What a run over the last state of things would say, in the plainest way.

use super::*;

/// Incidents and rows as they stand.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Standing {
    pub(super) incidents: BTreeMap<u64, State>,
    pub(super) rows: BTreeSet<(u64, u64, Option<u64>, Option<String>)>,
}

/// What was said, added up.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) standing: Standing,
    pub(super) closed: BTreeSet<u64>,
    pub(super) gone: BTreeSet<u64>,
    pub(super) rows: BTreeMap<(u64, u64, Option<u64>, Option<String>), i64>,
}

impl Heard {
    pub(super) fn hear(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Event(event) => {
                    let id = &event.state.id;
                    let open = match self.standing.incidents.contains_key(id) {
                        true if self.closed.contains(id) => Said::Reopen,
                        true => Said::Update,
                        false if self.gone.remove(id) => Said::Restore,
                        false => Said::Create,
                    };
                    assert!(event.said == open || event.said == Said::Close, "{event:?}, not {open:?}");
                    let is_new = matches!(open, Said::Create | Said::Restore);
                    assert!(!is_new || event.said == open, "{event:?}, not {open:?}");
                    self.standing.incidents.insert(event.state.id, event.state.clone());
                    match event.said {
                        Said::Close => _ = self.closed.insert(event.state.id),
                        _ => _ = self.closed.remove(&event.state.id),
                    }
                    if event.state.withdrawn {
                        assert_eq!((event.said, event.state.alerts), (Said::Close, 0));
                        self.standing.incidents.remove(&event.state.id);
                        self.closed.remove(&event.state.id);
                        self.gone.insert(event.state.id);
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
pub(super) fn covering(findings: &[&Finding]) -> Vec<IpAddr> {
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
pub(super) fn recompute(findings: &BTreeSet<Finding>, settings: &BTreeSet<Setting>) -> Standing {
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

pub(super) fn plain_state(host: IpAddr, findings: &[&Finding], threshold: f64) -> State {
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
        top: super::super::extent::Extent::of(top, host).top,
        hints: Vec::new(),
        knock: alerts == 1 && top.knock,
        withdrawn: false,
        held: false,
    }
}
