//! Incidents against the truth, over time.

use super::super::cases::Case;
use super::super::evaluation::Evaluation;
use super::super::number::{count, counted, duration, time};
use super::svg::{Canvas, Scale};
use super::{Entry, absent, figure, shorten};

/// Lanes of events that are drawn; of more events those of one family share a lane.
const MOST: usize = 40;
/// Units of time for the axis: nanoseconds, name.
const UNITS: [(f64, &str); 4] = [(1e9, "Seconds"), (60e9, "Minutes"), (3600e9, "Hours"), (86_400e9, "Days")];

/// One lane: events, by their places.
struct Lane {
    name: String,
    events: Vec<usize>,
}

fn lanes(evaluation: &Evaluation) -> (Vec<Lane>, usize) {
    let events = &evaluation.events;
    let mut lanes: Vec<Lane> = if events.events.len() <= MOST {
        let name =
            |name: &str, family: &str| if name == family { name.into() } else { format!("{name} {family}") };
        (0..)
            .zip(&events.events)
            .map(|(place, event)| Lane {
                name: name(&event.name, &events.families[event.family]),
                events: vec![place],
            })
            .collect()
    } else {
        let of = |family: usize| {
            let events = (0..).zip(&events.events).filter(|(_, event)| event.family == family);
            events.map(|(place, _)| place).collect()
        };
        (0..)
            .zip(&events.families)
            .map(|(family, name)| Lane { name: name.clone(), events: of(family) })
            .collect()
    };
    let more = lanes.len().saturating_sub(MOST);
    lanes.truncate(MOST);
    (lanes, more)
}

/// Stretches of one lane that are drawn apart at most.
const STRETCHES: usize = 120;

/// Stretches so near that they cannot be told apart become one, with how many they are; where a lane would hold more
/// than [`STRETCHES`], those that are farther apart too.
fn merged(mut stretches: Vec<[f64; 2]>) -> Vec<([f64; 2], u64)> {
    stretches.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]));
    let mut merged: Vec<([f64; 2], u64)> =
        stretches.into_iter().map(|[from, to]| ([from, to.max(from + 1.6)], 1)).collect();
    for gap in [0.6, 1.5, 3.0, 6.0, f64::INFINITY] {
        merged.dedup_by(|next, last| {
            let near = next.0[0] < last.0[1] + gap;
            if near {
                last.0[1] = last.0[1].max(next.0[1]);
                last.1 += next.1;
            }
            near
        });
        if merged.len() <= STRETCHES {
            break;
        }
    }
    merged
}

/// What was said without a cause: false incidents, or false alarms where there are no incidents.
struct Wrong {
    noun: &'static str,
    /// First and last moment of each.
    times: Vec<[u64; 2]>,
}

fn wrong(evaluation: &Evaluation, cases: &[Case]) -> Wrong {
    match evaluation.cases() {
        Some(_) => Wrong {
            noun: "false incident",
            times: cases
                .iter()
                .filter(|case| case.is_false())
                .map(|case| [case.incident.first, case.incident.last])
                .collect(),
        },
        None => Wrong {
            noun: "false alarm",
            times: evaluation.false_alarms.iter().map(|time| [*time; 2]).collect(),
        },
    }
}

/// How many of some places lie in each of [`STRETCHES`] equal parts of the axis.
fn begun(places: impl Iterator<Item = f64>, [left, right]: [f64; 2]) -> Vec<u64> {
    let mut bars = vec![0; STRETCHES];
    for place in places {
        let bar = (place - left) / (right - left) * STRETCHES as f64;
        bars[(bar.max(0.0) as usize).min(STRETCHES - 1)] += 1;
    }
    bars
}

/// Height of a lane, and of the place below all of them where what was said without a cause stands.
const LANE: f64 = 19.0;
const FALSE: f64 = 30.0;

/// The plot while it is drawn: moments have their places on the axis of time.
struct Plot<'a> {
    evaluation: &'a Evaluation,
    canvas: Canvas,
    first: u64,
    unit: f64,
    x: Scale,
}

impl Plot<'_> {
    fn at(&self, moment: u64) -> f64 {
        self.x.at((moment as f64 - self.first as f64) / self.unit)
    }

    /// One lane around its middle line: labelled stretches, incidents with rows of them, when events are known.
    fn lane(&mut self, lane: &Lane, middle: f64, cases: &[Case]) {
        self.canvas.text([198.0, middle + 4.5], "end", "label", &shorten(&lane.name, 23));
        let events = &self.evaluation.events.events;
        let labelled = lane.events.iter().map(|event| &events[*event]);
        let labelled = labelled.map(|event| [self.at(event.start), self.at(event.end)]).collect();
        for ([from, to], _) in merged(labelled) {
            let title = format!("{}: labelled", lane.name);
            self.canvas.rectangle("f-attack pale", [from, middle - 6.0], [to - from, 12.0], &title);
        }
        let of_lane = cases.iter().filter(|case| case.events.iter().any(|event| lane.events.contains(event)));
        let of_lane =
            of_lane.map(|case| [self.at(case.incident.first), self.at(case.incident.last)]).collect();
        for ([from, to], times) in merged(of_lane) {
            let title = format!("{}: {}", lane.name, counted(times, "incident"));
            self.canvas.rectangle("f-attack", [from, middle - 2.2], [to - from, 4.4], &title);
        }
        let mut dotted: Option<f64> = None;
        for event in &lane.events {
            let known = &events[*event];
            let Some(delay) = self.evaluation.delays().get(*event).copied().flatten() else { continue };
            let moment = self.at(known.start.saturating_add(delay));
            // Of dots that would cover each other the first is enough.
            if dotted.is_none_or(|before| (moment - before).abs() > 4.0) {
                let title = format!("{}: known after {}", known.name, duration(delay));
                self.canvas.dot("hollow s-ink", [moment, middle], 4.0, &title);
                dotted = Some(moment);
            }
        }
    }

    /// Why an event that has a lane of its own has no dot there.
    fn unknown(&mut self, event: usize, middle: f64) {
        let known = &self.evaluation.events.events[event];
        let word = match self.evaluation.event_rows[event] {
            0 if known.not_ip => "ARP: no rows",
            0 => "no rows",
            _ => "missed",
        };
        let (from, to) = (self.at(known.start), self.at(known.end));
        let [[_, right], _] = self.canvas.sides();
        let (place, side) = if to + 90.0 < right { (to + 6.0, "start") } else { (from - 6.0, "end") };
        self.canvas.text([place, middle + 4.5], side, "tick", word);
    }

    /// What was said without a cause, below the lanes: each by itself, or where they are many how many begin when.
    /// Returns whether they are counted.
    fn wrong(&mut self, wrong: &Wrong) -> bool {
        let [across, [bottom, _]] = self.canvas.sides();
        let floor = bottom - FALSE;
        self.canvas.raw(format_args!("<path class=\"axis\" d=\"M12 {:.1}H{:.1}\"/>", floor - 1.0, across[1]));
        self.canvas.text([198.0, floor + FALSE / 2.0 + 4.5], "end", "label", &format!("{}s", wrong.noun));
        if wrong.times.len() <= STRETCHES {
            let places = wrong.times.iter().map(|[from, to]| [self.at(*from), self.at(*to)]).collect();
            for ([from, to], times) in merged(places) {
                let title = counted(times, wrong.noun);
                self.canvas.rectangle("f-benign", [from, floor + 5.0], [to - from, FALSE - 10.0], &title);
            }
            return false;
        }
        let bars = begun(wrong.times.iter().map(|[from, _]| self.at(*from)), across);
        let most = bars.iter().copied().max().unwrap_or(1).max(1) as f64;
        let width = (across[1] - across[0]) / bars.len() as f64;
        for (bar, many) in bars.into_iter().enumerate().filter(|(_, many)| *many > 0) {
            let tall = (FALSE - 6.0) * many as f64 / most;
            let corner = [across[0] + width * bar as f64 + 0.5, bottom - tall];
            self.canvas.rectangle("f-benign", corner, [width - 1.0, tall], &counted(many, wrong.noun));
        }
        true
    }
}

/// The plot; a word of why where there is no time to draw.
pub(super) fn timeline(evaluation: &Evaluation) -> String {
    let heading = "Incidents against the truth";
    let Some([first, last]) = evaluation.head.span.filter(|[first, last]| last > first) else {
        return absent("timeline", heading, "The rows cover no stretch of time.");
    };
    let (lanes, more) = lanes(evaluation);
    let height = LANE * lanes.len() as f64 + FALSE + 74.0;
    let mut canvas = Canvas::new(heading, [1160.0, height], [206.0, 10.0, 18.0, 54.0]);
    let [across, [_, top]] = canvas.sides();
    let span = (last - first) as f64;
    let (unit, unit_name) = UNITS.into_iter().rev().find(|(unit, _)| span >= 3.0 * unit).unwrap_or(UNITS[0]);
    let x = Scale::linear([0.0, span / unit], across);
    canvas.bottom_axis(x, 10, &format!("{unit_name} since {} UTC", time(first)));
    let cases = evaluation.cases().map_or(&[][..], |cases| &cases.cases);
    let mut plot = Plot { evaluation, canvas, first, unit, x };
    let of_their_own = lanes.len() == evaluation.events.events.len();
    for (place, lane) in lanes.iter().enumerate() {
        let middle = top + LANE * (place as f64 + 0.5);
        plot.lane(lane, middle, cases);
        let is_unknown = |event: &&usize| evaluation.delays().get(**event).copied().flatten().is_none();
        for event in lane.events.iter().filter(is_unknown).filter(|_| of_their_own) {
            plot.unknown(*event, middle);
        }
    }
    let wrong = wrong(evaluation, cases);
    let begin = if plot.wrong(&wrong) { ", by how many begin" } else { "" };
    let mut legend = vec![
        Entry::filled("f-attack pale", "labelled event"),
        Entry::dot("hollow s-ink", "when it is known"),
        Entry::filled("f-benign", format!("{}{begin}", wrong.noun)),
    ];
    if evaluation.cases().is_some() {
        let swatch = "<rect class=\"f-attack\" x=\"2\" y=\"4\" width=\"22\" height=\"4\"/>".into();
        legend.insert(1, Entry { swatch, words: "incident with rows of the event".into() });
    }
    let svg = plot.canvas.finish().replacen("class=\"plot\"", "class=\"plot long\"", 1);
    let drawing =
        format!("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{heading}\">{svg}</div>");
    figure("timeline", heading, &caption(evaluation, more), &legend, &drawing).replacen(
        "class=\"card\"",
        "class=\"card wide\"",
        1,
    )
}

/// What the plot shows, and how many families it has no lane for.
fn caption(evaluation: &Evaluation, more: usize) -> String {
    let rest = if more > 0 { format!(" {more} more families are in metrics.json.") } else { String::new() };
    match evaluation.cases() {
        Some(cases) => format!(
            "{}, {} false. An incident reaches beyond the label where its host goes on alarming, or takes part in \
             another event.{rest}",
            counted(cases.count.all, "incident"),
            count(cases.count.wrong)
        ),
        None => format!(
            "The run left no incidents: what is shown is when each event has its first alert, and alarms on benign \
             rows.{rest}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_apart_is_drawn_once_and_counted() {
        let many = (0..100_000).map(|at| [f64::from(at) / 1000.0, f64::from(at) / 1000.0]).collect();
        let drawn = merged(many);
        assert_eq!((drawn.len(), drawn[0].1), (1, 100_000));
        let apart: Vec<[f64; 2]> = (0..500).map(|at| [f64::from(at) * 2.5, f64::from(at) * 2.5]).collect();
        let drawn = merged(apart);
        assert!(drawn.len() <= STRETCHES, "{} stretches", drawn.len());
        assert_eq!(drawn.iter().map(|one| one.1).sum::<u64>(), 500);
        assert_eq!(merged(vec![[50.0, 60.0], [0.0, 1.0]]).len(), 2);
    }
}
