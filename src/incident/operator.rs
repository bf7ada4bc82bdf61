//! Incidents in the graph: findings, rules and the threshold are differential collections; what follows from them is kept up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::hashable::Hashable;
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Concat, Operator};

use super::change::{Change, RowChange};
use super::changes::{Changes, InForce};
use super::cover::{Part, cover};
use super::finding::{Columns, Finding, Real};
use super::findings::{Findings, Judged};
use super::muting::Muting;
use super::policy::{Hits, Policy, Setting};
use super::rules::Rules;
use super::session::Sessions;
use super::{Clock, IncidentSpec};
use crate::row::RowBatch;
use crate::tally::Fault;

/// A policy stands on each worker about so many times: findings meet it where they are, by a part of their hash.
const SHARES: u64 = 64;

/// A collection of the room: whole counts, in event time by slices.
pub type Collection<'s, D> = VecCollection<'s, u64, D, isize>;

/// How incidents are made.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Times.
    pub clock: Clock,
    /// Scores above it are anomalies.
    pub threshold: f64,
    /// What is not to be reported.
    pub rules: Rules,
    /// What changes of both while the run goes on; `None` where nothing may.
    pub changes: Option<Arc<Changes>>,
    /// Ids of incidents that an earlier run has said in the same log.
    pub taken: Arc<BTreeSet<u64>>,
    /// Which rules held for something.
    pub hits: Arc<Hits>,
    /// Which rows they mute when these are written.
    pub muting: Muting,
}

impl Watch {
    /// Incidents of rows with these windows and slices, in nanoseconds.
    pub fn new(spec: &IncidentSpec, window: u64, slice: u64, threshold: f64, rules: Rules) -> Watch {
        Watch::by(Clock::new(spec, window, slice), threshold, rules)
    }

    /// Incidents with these times.
    pub(super) fn by(clock: Clock, threshold: f64, rules: Rules) -> Watch {
        let hits = Arc::new(Hits::new(&rules));
        let settings = InForce::settings(threshold, &rules).into_iter().collect();
        let muting = Muting::new(clock, rules.columns().to_vec(), &settings);
        Watch { clock, threshold, rules, changes: None, taken: Arc::default(), hits, muting }
    }

    /// The same, following `changes`.
    #[must_use]
    pub fn following(self, changes: Arc<Changes>) -> Watch {
        Watch { changes: Some(changes), ..self }
    }
}

/// What comes of scored rows.
pub struct Incidents<'s> {
    /// What changes about incidents, in pieces; complete for a time when the frontier has passed it.
    pub changes: Stream<'s, u64, Vec<Change>>,
    /// Thresholds, on all workers, each in force from its timestamp on until the next one's.
    pub thresholds: Stream<'s, u64, Vec<f64>>,
}

/// Incidents of scored rows. Rows must be marked as anomalies from the loosest threshold on that the run may come to.
pub fn incidents<'s>(scored: Stream<'s, u64, RowBatch>, watch: &Watch, fault: Arc<Fault>) -> Incidents<'s> {
    let settings = settings(scored.clone(), watch);
    let thresholds = settings.clone().flat_map(|(setting, _, diff)| match setting {
        Setting::Threshold(threshold) if diff > 0 => Some(threshold.get()),
        Setting::Threshold(_) | Setting::Allow(_) => None,
    });
    let findings = find(scored, watch, fault);
    Incidents {
        changes: follow(findings, settings.as_collection(), watch),
        thresholds: thresholds.broadcast(),
    }
}

/// The settings, said by worker 0: what holds at first, and what changes. A change is in force from the first
/// timestamp on that is not complete anywhere when it is taken, so that all workers take it at one time.
fn settings<'s>(
    scored: Stream<'s, u64, RowBatch>,
    watch: &Watch,
) -> Stream<'s, u64, Vec<(Setting, u64, isize)>> {
    let Watch { clock, threshold, rules, changes, hits, muting, .. } = watch.clone();
    let speaks = scored.scope().index() == 0;
    scored.unary_frontier(Pipeline, "settings", move |capability, _| {
        let mut held = speaks.then_some(capability);
        let mut now: BTreeSet<Setting> = BTreeSet::new();
        let mut next = Some(InForce::settings(threshold, &rules));
        move |(input, frontier), output| {
            input.for_each(|_, _| {});
            let Some(cap) = held.as_mut() else { return };
            let open = frontier.frontier().first().copied();
            if let Some(open) = open
                && clock.passes_window(*cap.time(), open)
            {
                cap.downgrade(&open);
                if let Some(change) = changes.as_ref().and_then(|changes| changes.take()) {
                    hits.follow(&change.rules);
                    next = Some(InForce::settings(change.threshold, &change.rules));
                }
            }
            if let Some(next) = next.take() {
                let (time, next): (u64, BTreeSet<Setting>) = (*cap.time(), next.into_iter().collect());
                // Before anybody hears of it: rows of that time wait for it.
                muting.follow(time, &next);
                let mut session = output.session(&*cap);
                session.give_iterator(now.difference(&next).map(|old| (old.clone(), time, -1)));
                session.give_iterator(next.difference(&now).map(|new| (new.clone(), time, 1)));
                drop(session);
                now = next;
            }
            if open.is_none() || changes.is_none() {
                held = None;
            }
        }
    })
}

/// Findings of scored rows, each from its window on until it can change no more. Those of a batch come and go together.
fn find<'s>(scored: Stream<'s, u64, RowBatch>, watch: &Watch, fault: Arc<Fault>) -> Collection<'s, Findings> {
    let Watch { clock, rules, changes, hits, .. } = watch.clone();
    let unruled = rules.rules().is_empty() && changes.is_none();
    let columns = Columns::with(rules.columns().to_vec()).unruled(unruled);
    let findings = scored.unary_frontier(Pipeline, "find", move |capability, _| {
        // Held back to whole windows: what comes after is woken when a window is complete, not with every slice.
        let mut held = Some(capability);
        move |(input, frontier), output| {
            input.for_each(|cap, batch| {
                if fault.met() {
                    return;
                }
                let end = clock.end(batch.place.window);
                hits.reached(end);
                let time = *cap.least().expect("sent under a capability");
                match columns.findings(&batch.rows) {
                    Ok(findings) => {
                        hits.unaddressed(Columns::without_address(&batch.rows, &findings));
                        let mut session = output.session(&cap);
                        for findings in Findings::by_window(findings) {
                            let end = clock.end(findings.window()).saturating_add(clock.keep);
                            session.give((findings.clone(), time, 1));
                            session.give((findings, clock.stamp(end).max(time), -1));
                        }
                    }
                    Err(error) => fault.note(error),
                }
            });
            match (frontier.frontier().first().copied(), &mut held) {
                (None, held) => *held = None,
                (Some(now), Some(held)) => {
                    if clock.passes_window(*held.time(), now) {
                        held.downgrade(&now);
                    }
                }
                (Some(_), None) => {}
            }
        }
    });
    findings.as_collection()
}

/// What follows from findings and settings; both may change at any time, to what was as well.
pub fn follow<'s>(
    findings: Collection<'s, Findings>,
    settings: Collection<'s, Setting>,
    watch: &Watch,
) -> Stream<'s, u64, Vec<Change>> {
    let (judged, clock) = (judge(findings, settings, watch), watch.clock);
    let muted = judged.clone().flat_map(|judged| judged.muted());
    // A finding and a rule that change at once meet twice, once as it was.
    let muted = muted.consolidate().inner.unary(Pipeline, "muted", move |_, _| {
        move |input, output| {
            input.for_each(|cap, data| {
                // What changed at several timestamps may come in one piece, under the first of them; as what is said
                // it belongs to its own, or how much came in a piece would show in the order of what is written.
                let mut changes: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
                for ((window, flow_id, rule), time, diff) in data.drain(..) {
                    let Some(said) = clock.said(window, time) else { continue };
                    let (diff, muted_by) = (diff.signum() as i8, Some(rule));
                    let row = RowChange { time: said, window, flow_id, diff, incident: None, muted_by };
                    changes.entry(time).or_default().push(Change::Row(row));
                }
                for (time, mut changes) in changes {
                    output.session(&cap.delayed(&time, 0)).give_container(&mut changes);
                }
            });
        }
    });
    sessions(parts(judged), watch).concat(muted)
}

/// Findings with what becomes of each.
fn judge<'s>(
    findings: Collection<'s, Findings>,
    settings: Collection<'s, Setting>,
    watch: &Watch,
) -> Collection<'s, Judged> {
    let policy = settings.map(|setting| ((), setting)).reduce_named("policy", |_, settings, output| {
        output.push((Policy::of(settings.iter().map(|(setting, _)| *setting)), 1));
    });
    let shares = policy.flat_map(|(_, policy)| (0..SHARES).map(move |share| (share, policy.clone())));
    let (clock, hits) = (watch.clock, watch.hits.clone());
    findings.map(|findings| (findings.number() % SHARES, findings)).join_map(
        shares,
        move |_, findings, policy| {
            let end = clock.end(findings.window());
            Judged::of(findings, |finding| policy.verdict(finding, end, &hits))
        },
    )
}

/// The parts of each window.
fn parts<'s>(judged: Collection<'s, Judged>) -> Collection<'s, Part> {
    let standing = judged.filter(|judged| judged.standing().next().is_some());
    let standing = standing.map(|judged| (judged.window(), judged));
    let parts = standing.reduce_named("cover", |_, judged, output| {
        let (findings, thresholds): (Vec<&Finding>, Vec<Real>) =
            judged.iter().flat_map(|(judged, _)| judged.standing()).unzip();
        // One threshold is in force at a time.
        let threshold = thresholds.first().copied().unwrap_or_default();
        output.extend(cover(&findings, threshold).into_iter().map(|part| (part, 1)));
    });
    parts.map(|(_, part)| part)
}

/// What parts say of incidents, on the worker that owns the host.
fn sessions<'s>(parts: Collection<'s, Part>, watch: &Watch) -> Stream<'s, u64, Vec<Change>> {
    let (clock, taken) = (watch.clock, watch.taken.clone());
    let by_host = Exchange::new(|(part, _, _): &(Part, u64, isize)| part.host.hashed());
    parts.inner.unary_frontier(by_host, "sessions", move |capability, _| {
        let mut held = Some(capability);
        let mut sessions = Sessions::new(clock, taken);
        // By the event time that says them; windows that share a timestamp come one after the other.
        let mut waiting: BTreeMap<u64, BTreeMap<u64, Vec<(Part, isize)>>> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|_, data| {
                for (part, time, diff) in data.drain(..) {
                    if let Some(said) = clock.said(part.window, time) {
                        waiting.entry(time).or_default().entry(said).or_default().push((part, diff));
                    }
                }
            });
            let Some(cap) = held.as_mut() else { return };
            let open = frontier.frontier().first().copied();
            let complete = |stamp: u64| open.is_none_or(|open| stamp < open);
            loop {
                let due = sessions.due().filter(|due| complete(clock.stamp(*due)));
                let stamp = waiting.keys().next().copied().filter(|stamp| complete(*stamp));
                let next = stamp.and_then(|stamp| Some((stamp, *waiting.get(&stamp)?.keys().next()?)));
                let (stamp, changes) = match (next, due) {
                    (None, None) => break,
                    (Some((stamp, said)), due) if due.is_none_or(|due| said <= due) => {
                        let at = waiting.get_mut(&stamp).expect("it waits");
                        let parts = at.remove(&said).expect("it waits");
                        if at.is_empty() {
                            waiting.remove(&stamp);
                        }
                        (stamp, sessions.change(said, parts))
                    }
                    (_, due) => {
                        let due = due.expect("one of both");
                        (clock.stamp(due), sessions.tick(due))
                    }
                };
                if !changes.is_empty() {
                    let time = cap.delayed(&stamp.max(*cap.time()));
                    output.session(&time).give_iterator(changes.into_iter());
                }
            }
            match open {
                Some(open) => cap.downgrade(&open),
                None => held = None,
            }
        }
    })
}
