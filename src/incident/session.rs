//! Parts of one host to incidents: with less than `silence` between them they are one.
//!
//! Parts may come, go and change as far back as `keep`; what follows from them is worked out anew, and the
//! difference to what was said before is said. Older parts are folded into the incident that they belong to,
//! which stands as it was said; once it is over and nothing of it can change any more, it is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Clock;
use super::change::{Change, Event, RowChange, Said, State};
use super::cover::Part;
use super::extent::Extent;
use super::finding::{Kind, Real};
use super::severity::Severity;

/// A new host that was not seen for so long is new again, nanoseconds.
const REMEMBERED: u64 = 86_400_000_000_000;

fn id_of(name: fmt::Arguments<'_>) -> u64 {
    Sha256::digest(name.to_string()).iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte))
}

/// Findings of one host that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Incident {
    id: u64,
    kind: Kind,
    host: IpAddr,
    /// Start of its first window.
    start: u64,
    /// End of its last window.
    end: u64,
    /// The threshold of its last window.
    threshold: Real,
    extent: Extent,
}

impl Incident {
    fn of(part: &Part, clock: &Clock) -> Incident {
        let id = id_of(format_args!("{} {} {}", part.host, part.kind.name(), part.window));
        let Part { kind, host, window, threshold, ref extent, .. } = *part;
        Incident { id, kind, host, start: window, end: clock.end(window), threshold, extent: extent.clone() }
    }

    /// Takes the next part in, if it belongs to it.
    fn takes(&mut self, part: &Part, clock: &Clock) -> bool {
        let silent = part.window.saturating_sub(self.end);
        match self.kind {
            // A new host is said once; that it is still there is only remembered.
            Kind::NewHost | Kind::NewHosts if silent < REMEMBERED => {}
            Kind::Anomaly if silent < clock.silence => {
                self.extent.follow(&part.extent);
                self.threshold = part.threshold;
            }
            _ => return false,
        }
        self.end = clock.end(part.window);
        true
    }

    /// The event time that ends it: after it no part can belong to it.
    fn over(&self, clock: &Clock) -> u64 {
        match self.kind {
            Kind::NewHost | Kind::NewHosts => clock.end(self.start),
            Kind::Anomaly => self.end.saturating_add(clock.silence),
        }
    }

    /// Whether it says the same as another of the same id.
    fn says(&self, other: &Incident) -> bool {
        self.extent == other.extent
            && (self.kind != Kind::Anomaly || self.end == other.end)
            && self.severity() == other.severity()
    }

    fn severity(&self) -> Severity {
        let (score, threshold) = (self.extent.score.get(), self.threshold.get());
        Severity::of(self.kind, score, threshold, self.extent.alerts)
    }

    fn state(&self) -> State {
        let Incident { id, kind, host, extent, .. } = self;
        State {
            id: *id,
            kind: *kind,
            host: *host,
            source: 2 * extent.begun >= extent.alerts,
            first: extent.first,
            last: extent.last,
            windows: extent.windows,
            alerts: extent.alerts,
            score: extent.score.get(),
            p_value: extent.p_value.get(),
            weight: extent.weight,
            severity: self.severity(),
            peers: extent.peers.count(),
            ports: extent.ports.count(),
            top: extent.top.clone(),
            hints: extent.hints.clone(),
            knock: *kind == Kind::Anomaly && (extent.alerts, extent.knocks) == (1, 1),
            withdrawn: false,
            held: false,
        }
    }
}

/// One host's parts and what was said of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Timeline {
    /// The incident that parts older than `keep` belong to.
    settled: Option<Incident>,
    /// Parts that can change, by window.
    parts: BTreeMap<u64, Part>,
    /// What was said, in order of time, with the number of parts of each.
    said: Vec<(Incident, usize)>,
    /// What was taken back and may come again: incidents, with their first windows.
    taken_back: BTreeMap<u64, u64>,
    /// When it is to be looked at again.
    due: Option<u64>,
}

impl Timeline {
    /// The incidents that follow from the parts, with the number of parts of each.
    fn incidents(&self, clock: &Clock) -> Vec<(Incident, usize)> {
        let mut incidents: Vec<(Incident, usize)> =
            self.settled.iter().map(|incident| (incident.clone(), 0)).collect();
        for part in self.parts.values() {
            if let Some((last, parts)) = incidents.last_mut()
                && last.takes(part, clock)
            {
                *parts += 1;
            } else {
                incidents.push((Incident::of(part, clock), 1));
            }
        }
        incidents
    }

    /// The incident of each part.
    fn assigned(&self) -> BTreeMap<u64, u64> {
        let ids = self.said.iter().flat_map(|(incident, parts)| std::iter::repeat_n(incident.id, *parts));
        self.parts.keys().copied().zip(ids).collect()
    }

    /// Takes what can change no more at `now` out of the parts.
    fn settle(&mut self, now: u64, clock: &Clock) {
        self.taken_back.retain(|_, start| clock.end(*start).saturating_add(clock.keep) > now);
        let mut moved = false;
        while let Some(entry) = self.parts.first_entry()
            && clock.end(*entry.key()).saturating_add(clock.keep) <= now
        {
            let part = entry.remove();
            moved = true;
            if !self.settled.as_mut().is_some_and(|incident| incident.takes(&part, clock)) {
                self.settled = Some(Incident::of(&part, clock));
            }
        }
        if moved {
            self.said = self.incidents(clock);
            // New hosts stay so for a day, and may be many.
            self.said.shrink_to_fit();
        }
    }

    /// When something is to be done about it next: an incident is over, or can be forgotten.
    fn next(&self, now: u64, clock: &Clock) -> Option<u64> {
        let open =
            self.said.iter().map(|(incident, _)| incident.over(clock)).filter(|over| *over > now).min();
        let final_from = |start: &u64| clock.end(*start).saturating_add(clock.keep);
        let taken_back = self.taken_back.values().map(final_from).filter(|time| *time > now).min();
        let said = open.or_else(|| {
            let last = self.said.last()?;
            let settled = last.0.end.saturating_add(clock.keep);
            let forgotten = match last.0.kind {
                Kind::NewHost | Kind::NewHosts => last.0.end.saturating_add(REMEMBERED),
                Kind::Anomaly => settled,
            };
            [settled, forgotten].into_iter().find(|time| *time > now)
        });
        said.into_iter().chain(taken_back).min()
    }
}

/// The incidents of some hosts.
#[derive(Debug)]
pub(super) struct Sessions {
    clock: Clock,
    /// Ids that are another run's.
    taken: Arc<BTreeSet<u64>>,
    hosts: BTreeMap<(Kind, IpAddr), Timeline>,
    due: BTreeSet<(u64, Kind, IpAddr)>,
    /// The time of the last tick.
    ticked: u64,
}

impl Sessions {
    /// None yet. Ids that are `taken` go to none.
    pub(super) fn new(clock: Clock, taken: Arc<BTreeSet<u64>>) -> Sessions {
        Sessions { clock, taken, hosts: BTreeMap::new(), due: BTreeSet::new(), ticked: 0 }
    }

    /// Changes with ids that are none of another run: what it said of a host in the window in which it ended is another
    /// incident, which is over.
    fn named(&self, mut changes: Vec<Change>) -> Vec<Change> {
        let free = |mut id: u64| {
            while self.taken.contains(&id) {
                id = id_of(format_args!("{id:016x}"));
            }
            id
        };
        for change in changes.iter_mut().filter(|_| !self.taken.is_empty()) {
            match change {
                Change::Event(event) => event.state.id = free(event.state.id),
                Change::Row(row) => row.incident = row.incident.map(free),
            }
        }
        changes
    }

    /// When [`Sessions::tick`] is due next.
    pub(super) fn due(&self) -> Option<u64> {
        self.due.first().map(|(time, ..)| *time)
    }

    /// Hosts that are remembered.
    #[cfg(test)]
    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Parts that came (1) and went (-1), of any hosts, as the window that ends at `time` says. Ticks before
    /// `time` were done, and that of `time` itself where a policy changed just behind it.
    pub(super) fn change(&mut self, time: u64, parts: Vec<(Part, isize)>) -> Vec<Change> {
        let mut by_host: BTreeMap<(Kind, IpAddr), Vec<(Part, isize)>> = BTreeMap::new();
        for (part, diff) in parts {
            by_host.entry((part.kind, part.host)).or_default().push((part, diff));
        }
        let mut changes = Vec::new();
        for (key, parts) in by_host {
            self.change_host(time, key, parts, &mut changes);
        }
        self.named(changes)
    }

    fn change_host(
        &mut self,
        time: u64,
        key: (Kind, IpAddr),
        parts: Vec<(Part, isize)>,
        changes: &mut Vec<Change>,
    ) {
        let clock = self.clock;
        let done = if self.ticked >= time { time } else { time - 1 };
        let timeline = self.hosts.entry(key).or_default();
        timeline.settle(time, &clock);
        let assigned = timeline.assigned();
        let mut gone: BTreeMap<u64, Part> = BTreeMap::new();
        let (came, went): (Vec<_>, Vec<_>) = parts.into_iter().partition(|(_, diff)| *diff > 0);
        for (part, _) in went {
            if let Some(part) = timeline.parts.remove(&part.window) {
                gone.insert(part.window, part);
            }
        }
        let touched: BTreeSet<u64> =
            came.iter().map(|(part, _)| part.window).chain(gone.keys().copied()).collect();
        timeline.parts.extend(came.into_iter().map(|(part, _)| (part.window, part)));
        let before = std::mem::take(&mut timeline.said);
        timeline.said = timeline.incidents(&clock);
        rows(time, timeline, &gone, &assigned, &touched, changes);
        let Timeline { said: after, taken_back, .. } = timeline;

        let mut event = |said, state| changes.push(Change::Event(Box::new(Event { time, said, state })));
        for (old, _) in &before {
            if !after.iter().any(|(new, _)| new.id == old.id) {
                taken_back.insert(old.id, old.start);
                let state = State { alerts: 0, windows: 0, withdrawn: true, ..old.state() };
                event(Said::Close, state);
            }
        }
        for (new, _) in &*after {
            let over = new.over(&clock) <= done;
            let state = || new.state();
            match before.iter().find(|(old, _)| old.id == new.id) {
                None => {
                    let again = taken_back.remove(&new.id).is_some();
                    event(if again { Said::Restore } else { Said::Create }, state());
                    if over {
                        event(Said::Close, state());
                    }
                }
                Some((old, _)) if !new.says(old) => {
                    let said = match old.over(&clock) <= done {
                        _ if over => Said::Close,
                        true => Said::Reopen,
                        false => Said::Update,
                    };
                    event(said, state());
                }
                Some(_) => {}
            }
        }
        self.plan(key, done);
    }

    /// What silence says at `time`.
    pub(super) fn tick(&mut self, time: u64) -> Vec<Change> {
        let clock = self.clock;
        let mut changes = Vec::new();
        self.ticked = self.ticked.max(time);
        while let Some((due, kind, host)) = self.due.first().copied()
            && due <= time
        {
            let timeline = self.hosts.get_mut(&(kind, host)).expect("what is due is there");
            for (incident, _) in timeline.said.iter().filter(|(incident, _)| incident.over(&clock) == due) {
                let event = Event { time: due, said: Said::Close, state: incident.state() };
                changes.push(Change::Event(Box::new(event)));
            }
            timeline.settle(due, &clock);
            self.plan((kind, host), due);
        }
        self.named(changes)
    }

    /// Notes when a host is to be looked at after `now`; forgets it if that is never.
    fn plan(&mut self, key: (Kind, IpAddr), now: u64) {
        let timeline = self.hosts.get_mut(&key).expect("it was looked at");
        let due = timeline.next(now, &self.clock);
        if let Some(old) = std::mem::replace(&mut timeline.due, due) {
            self.due.remove(&(old, key.0, key.1));
        }
        match due {
            Some(due) => _ = self.due.insert((due, key.0, key.1)),
            None => _ = self.hosts.remove(&key),
        }
    }
}

/// Rows that came to incidents and left them.
fn rows(
    time: u64,
    timeline: &Timeline,
    gone: &BTreeMap<u64, Part>,
    before: &BTreeMap<u64, u64>,
    touched: &BTreeSet<u64>,
    changes: &mut Vec<Change>,
) {
    let after = timeline.assigned();
    let mut diffs: BTreeMap<(u64, u64, u64), i8> = BTreeMap::new();
    let mut note = |window: u64, id: u64, part: &Part, diff: i8| {
        for flow in &part.flows {
            *diffs.entry((window, *flow, id)).or_default() += diff;
        }
    };
    let moved = before.iter().filter(|(window, id)| after.get(window) != Some(id)).map(|(window, _)| *window);
    let windows: BTreeSet<u64> = touched.iter().copied().chain(moved).collect();
    for window in windows {
        let now = timeline.parts.get(&window);
        if let (Some(id), Some(part)) = (before.get(&window), gone.get(&window).or(now)) {
            note(window, *id, part, -1);
        }
        if let (Some(id), Some(part)) = (after.get(&window), now) {
            note(window, *id, part, 1);
        }
    }
    for ((window, flow_id, id), diff) in diffs.into_iter().filter(|(_, diff)| *diff != 0) {
        changes.push(Change::Row(RowChange {
            time,
            window,
            flow_id,
            diff,
            incident: Some(id),
            muted_by: None,
        }));
    }
}
