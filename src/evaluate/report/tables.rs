//! The tables of the page.

use super::super::cases::windows;
use super::super::conversations::{OF_ONE_EVENT, What};
use super::super::evaluation::{Evaluation, Idle};
use super::super::measure::{Detector, Kind, Point};
use super::super::number::{count, duration, maybe, part, rate, short, time};
use super::super::truth::Truth;
use super::curves::point_name;
use super::svg::escape;

/// Events, and groups of label rows, that are shown.
const MOST: usize = 200;

/// A cell: text to be escaped, or markup made here.
pub(super) enum Cell {
    Text(String),
    Number(String),
    Markup(String),
}

pub(super) fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

pub(super) fn number(text: impl Into<String>) -> Cell {
    Cell::Number(text.into())
}

pub(super) fn dash(value: Option<String>) -> Cell {
    Cell::Number(value.unwrap_or_else(|| "–".into()))
}

/// A table of that name in a container that scrolls where the page is narrow. A heading that begins with `#` stands over
/// numbers; text in the first column is what the row is about.
pub(super) fn table(
    name: &str,
    headings: &[&str],
    rows: impl Iterator<Item = (&'static str, Vec<Cell>)>,
) -> String {
    let heading = |heading: &&str| match heading.strip_prefix('#') {
        Some(heading) => format!("<th scope=\"col\" class=\"n\">{}</th>", escape(heading)),
        None => format!("<th scope=\"col\">{}</th>", escape(heading)),
    };
    let cell = |(place, cell): (usize, Cell)| match cell {
        Cell::Text(text) => {
            let text = escape(&text);
            let (tag, scope) = if place == 0 { ("th", " scope=\"row\"") } else { ("td", "") };
            format!("<{tag}{scope} class=\"name\" title=\"{text}\">{text}</{tag}>")
        }
        Cell::Number(text) => format!("<td class=\"n\">{}</td>", escape(&text)),
        Cell::Markup(markup) => format!("<td>{markup}</td>"),
    };
    let row = |(class, cells): (&str, Vec<Cell>)| {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        format!("<tr{class}>{}</tr>\n", cells.into_iter().enumerate().map(cell).collect::<String>())
    };
    let many = if headings.len() > 12 { " class=\"many\"" } else { "" };
    let name = escape(name);
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table aria-label=\"{name}\"{many}><thead><tr>{}</tr></thead>\n\
         <tbody>{}</tbody></table></div>",
        headings.iter().map(heading).collect::<String>(),
        rows.map(row).collect::<String>()
    )
}

/// A table with its heading and a word on how to read it.
pub(super) fn card(heading: &str, caption: &str, table: &str) -> String {
    let (heading, caption) = (escape(heading), escape(caption));
    format!(
        "<section class=\"card wide\"><h3>{heading}</h3><p class=\"caption\">{caption}</p>{table}</section>\n"
    )
}

/// The same made of headings and rows.
pub(super) fn titled(
    heading: &str,
    caption: &str,
    headings: &[&str],
    rows: impl Iterator<Item = (&'static str, Vec<Cell>)>,
) -> String {
    card(heading, caption, &table(heading, headings, rows))
}

fn range(interval: Option<[f64; 2]>) -> Cell {
    dash(interval.map(|[low, high]| format!("{} to {}", part(low), part(high))))
}

/// All scores side by side.
pub(super) fn detectors(evaluation: &Evaluation) -> String {
    let row = |detector: &Detector| {
        let recall =
            |place: usize| number(maybe(detector.points.get(place).and_then(|point| point.macro_recall)));
        let middle = detector.points.get(1);
        let kind = match detector.kind {
            Kind::Own => "evaluated",
            Kind::Compared => "compared",
            Kind::Baseline => "trivial baseline",
        };
        let cells = vec![
            text(detector.name.clone()),
            Cell::Markup(format!("<span class=\"soft\">{kind}</span>")),
            number(maybe(detector.roc_auc)),
            number(maybe(detector.average_precision)),
            recall(0),
            recall(1),
            range(middle.and_then(|point| point.interval)),
            dash(evaluation.lead(detector).filter(|_| detector.kind != Kind::Own).map(|[low, high]| {
                let signed = |value: f64| format!("{value:+.3}").replace('-', "\u{2212}");
                format!("{} to {}", signed(low), signed(high))
            })),
            recall(2),
            dash(middle.map(|point| evaluation.found(point))),
            dash(
                detector
                    .cases
                    .as_ref()
                    .map(|cases| format!("{} / {}", count(cases.count.all), count(cases.count.wrong))),
            ),
        ];
        (if detector.kind == Kind::Own { "own" } else { "" }, cells)
    };
    let headings = [
        "Scores",
        "Kind",
        "#ROC\u{2011}AUC",
        "#Average precision",
        "#Recall at 1e-2",
        "#Recall at 1e-3",
        "#95 % interval",
        "#Evaluated leads by (95 %)",
        "#Recall at 1e-4",
        "#Events at 1e-3",
        "#Incidents / false, shipped",
    ];
    let caption = "Recall is averaged over families, so that a flood counts no more than a beacon, at three \
                   false-positive rates among the benign rows of the run. Intervals draw events anew, 1,000 \
                   times. The lead is in recall at 1e-3 and on the same draws: where its interval holds 0, these events do \
                   not tell the two apart. \
                   Baselines use nothing but the rows: what does not beat them finds nothing.";
    titled("Side by side", caption, &headings, evaluation.detectors.iter().map(row))
}

/// What the evaluated scores do at each threshold.
pub(super) fn points(evaluation: &Evaluation) -> String {
    let own = evaluation.own();
    let row = |point: &Point| {
        let precision = |place: usize| {
            dash(
                point
                    .precision_at
                    .get(place)
                    .map(|at| format!("{}{}", if at.is_bound { "≥ " } else { "" }, part(at.precision))),
            )
        };
        let threshold = match (point.threshold, evaluation.whole.edge[1]) {
            (Some(threshold), _) if point.rate.is_none() => format!("> {threshold:.4}"),
            (Some(threshold), _) => format!("> {}", short(threshold)),
            (None, Some(lowest)) => format!("lowest alarmed score {}", short(lowest)),
            (None, None) => "–".into(),
        };
        let cells = vec![
            text(point_name(point)),
            number(threshold),
            number(count(point.false_alarms)),
            dash(point.false_positive_rate.map(short)),
            number(maybe(point.precision)),
            number(maybe(point.recall)),
            number(maybe(point.f1)),
            number(maybe(point.macro_recall)),
            range(point.interval),
            number(evaluation.found(point)),
            precision(0),
            precision(1),
            precision(2),
        ];
        (if point.rate.is_none() { "own" } else { "" }, cells)
    };
    let headings = [
        "Threshold",
        "#Score",
        "#False alarms",
        "#FPR",
        "#Precision",
        "#Recall",
        "#F1",
        "#Family mean",
        "#95 % interval",
        "#Events",
        "#Precision at 1\u{a0}%",
        "#at 0.1\u{a0}%",
        "#at 0.01\u{a0}%",
    ];
    let caption = "Precision, recall and F1 count rows. The last three columns say which part of alarms would be right \
                   were only that part of traffic an attack (family mean of recall, measured false-positive rate; ≥ \
                   where no benign row was alarmed about: then the rate is taken as three in all benign rows).";
    let points = own.shipped.iter().chain(&own.points);
    titled("Operating points", caption, &headings, points.map(row))
}

/// Every event: whether it was found, when, and how much of it.
pub(super) fn events(evaluation: &Evaluation) -> String {
    if evaluation.events.events.is_empty() {
        return String::new();
    }
    let own = evaluation.own();
    let first = evaluation.head.span.map_or(0, |span| span[0]);
    let row = |(place, event): (usize, &super::super::truth::KnownEvent)| {
        let rows = evaluation.event_rows[place];
        let hits = own.shipped.as_ref().map_or(0, |point| point.found[place].hits);
        let delay = evaluation.delays().get(place).copied().flatten();
        let tag = match (rows, hits) {
            (0, _) if event.not_ip => "<span class=\"tag unknown\">ARP, no rows</span>",
            (0, _) => "<span class=\"tag unknown\">no rows</span>",
            (_, 0) => "<span class=\"tag attack\">missed</span>",
            _ => "<span class=\"tag good\">found</span>",
        };
        let recall = |at: usize| {
            let point = own.points.get(at).filter(|_| rows > 0);
            dash(point.map(|point| part(point.found[place].hits as f64 / rows as f64)))
        };
        let cells = vec![
            text(event.name.clone()),
            text(evaluation.events.families[event.family].clone()),
            Cell::Markup(tag.into()),
            number(duration(event.start.saturating_sub(first))),
            number(duration(event.end - event.start)),
            number(count(rows)),
            number(count(hits)),
            dash(delay.map(duration)),
            dash(delay.and_then(|delay| windows(delay, evaluation.window)).map(count)),
            recall(0),
            recall(1),
            recall(2),
            dash(evaluation.event_tops[place].map(short)),
        ];
        ("", cells)
    };
    let headings = [
        "Event",
        "Family",
        "Shipped threshold",
        "#Begins at",
        "#Lasts",
        "#Rows",
        "#Alerts",
        "#Time to detect",
        "#Windows",
        "#Recall 1e-2",
        "#1e-3",
        "#1e-4",
        "#Highest score",
    ];
    let more = evaluation.events.events.len().saturating_sub(MOST);
    let rest = if more > 0 { format!(" {more} more events are in metrics.json.") } else { String::new() };
    let until = match evaluation.cases() {
        Some(_) => "when an incident with a row of the event is known",
        None => "the end of the first window with an alert about the event, when the alert can be given",
    };
    let caption = format!(
        "Time to detect: from the first labelled packet to {until}; in windows, the one in which the event begins \
         counted as 1.{rest}"
    );
    let all = evaluation.events.events.iter().enumerate().take(MOST);
    titled("Events", &caption, &headings, all.map(row))
}

/// The family by label, `benign` or `unknown`.
pub(super) fn tag(evaluation: &Evaluation, truth: Truth) -> Cell {
    let (class, words) = match truth {
        Truth::Benign => ("benign", "benign"),
        Truth::Unknown => ("unknown", "unknown"),
        Truth::Attack(event) => {
            let event = &evaluation.events.events[event];
            ("attack", evaluation.events.families[event.family].as_str())
        }
    };
    Cell::Markup(format!("<span class=\"tag {class}\">{}</span>", escape(words)))
}

fn address(address: std::net::IpAddr) -> Cell {
    Cell::Markup(format!("<span class=\"address\">{address}</span>"))
}

/// The oddest conversations.
pub(super) fn oddest(evaluation: &Evaluation) -> String {
    let row = |conversation: &super::super::conversations::Conversation| {
        let What { src, dst, service, start, score, truth } = &conversation.top;
        let cells = vec![
            number(short(*score)),
            address(*src),
            address(*dst),
            text(service.clone()),
            tag(evaluation, *truth),
            number(count(conversation.rows)),
            number(count(conversation.alerts)),
            text(time(*start)),
        ];
        ("", cells)
    };
    let headings =
        ["#Highest score", "Host", "Peer", "Service", "Truth", "#Rows", "#Alerts", "Oddest row (UTC)"];
    let caption = format!(
        "Rows of one source, destination and service are one line, by the oddest of them; truth is that of this row. Of \
         one event no more than {OF_ONE_EVENT} lines are shown."
    );
    titled("Oddest conversations", &caption, &headings, evaluation.oddest.iter().map(row))
}

/// What each partition did.
pub(super) fn partitions(evaluation: &Evaluation) -> String {
    if evaluation.partitions.len() < 2 {
        return String::new();
    }
    let row = |partition: &super::super::conversations::Partition| {
        let share = |some: u64, all: u64| dash((all > 0).then(|| part(some as f64 / all as f64)));
        let cells = vec![
            text(partition.name.clone()),
            number(count(partition.benign)),
            number(count(partition.attacks)),
            number(count(partition.hits)),
            share(partition.hits, partition.attacks),
            number(count(partition.false_alarms)),
            share(partition.false_alarms, partition.benign),
            dash(partition.edge[1].map(short)),
        ];
        ("", cells)
    };
    let headings = [
        "Partition",
        "#Benign rows",
        "#Attack rows",
        "#Found",
        "#Recall",
        "#False alarms",
        "#FPR",
        "#Lowest score with an alarm",
    ];
    let caption = "At the shipped threshold, rows, by the partition that scored them.";
    titled("Partitions", caption, &headings, evaluation.partitions.iter().map(row))
}

/// Label rows that have no rows of their own, those of one event and cause together.
pub(super) fn idle(evaluation: &Evaluation) -> String {
    if evaluation.idle.is_empty() {
        return String::new();
    }
    let mut groups: std::collections::BTreeMap<(Idle, &str, &str), Vec<usize>> = Default::default();
    for idle in &evaluation.idle {
        groups.entry((idle.why, &idle.label.event, &idle.label.attack)).or_default().push(idle.label.line);
    }
    let shown = groups.iter().take(MOST).map(|((why, event, attack), lines)| {
        let cells = vec![
            text(why.name()),
            text(*event),
            text(*attack),
            number(count(lines.len() as u64)),
            text(ranges(lines)),
        ];
        ("", cells)
    });
    let headings = ["Cause", "Event", "Family", "#Label rows", "Lines of the file"];
    let table = table("Label rows without rows", &headings, shown);
    let words = format!(
        "{} of {} label rows have no row of their own",
        count(evaluation.idle.len() as u64),
        count(evaluation.head.label_rows)
    );
    format!(
        "<details class=\"card wide\"><summary>{}</summary><p class=\"caption\">An event counts by its other label rows; \
         where it has none with rows it is left out of recall.</p>{table}</details>\n",
        escape(&words)
    )
}

/// Lines as ranges, six at most.
fn ranges(lines: &[usize]) -> String {
    let mut ranges: Vec<[usize; 2]> = Vec::new();
    for line in lines {
        match ranges.last_mut().filter(|range| range[1] + 1 == *line) {
            Some(range) => range[1] = *line,
            None => ranges.push([*line; 2]),
        }
    }
    let words = ranges.iter().take(6).map(|[from, to]| match from == to {
        true => from.to_string(),
        false => format!("{from}–{to}"),
    });
    let more = if ranges.len() > 6 { ", …" } else { "" };
    words.collect::<Vec<_>>().join(", ") + more
}

/// Recall of every family in numbers.
pub(super) fn families(evaluation: &Evaluation) -> String {
    let points = &evaluation.own().points;
    let Some(first) = points.first().filter(|point| !point.families.is_empty()) else { return String::new() };
    let shipped = evaluation.own().shipped.as_ref();
    let row = |place: usize| {
        let family = &first.families[place];
        let mut cells = vec![
            text(evaluation.events.families[family.family].clone()),
            number(count(family.events)),
            number(count(family.rows)),
            dash(shipped.map(|point| part(point.families[place].recall()))),
        ];
        for point in points {
            let family = &point.families[place];
            let interval = family.interval.map(|[low, high]| format!(" ({} to {})", part(low), part(high)));
            cells.push(number(part(family.recall()) + &interval.unwrap_or_default()));
        }
        ("", cells)
    };
    let mut headings = vec!["Family".to_owned(), "#Events".into(), "#Rows".into(), "#Shipped".into()];
    headings.extend(points.iter().map(|point| format!("#{}", point.rate.map_or_else(String::new, rate))));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let table = table("Recall by family", &headings, (0..first.families.len().min(MOST)).map(row));
    format!("<details class=\"card wide\"><summary>Recall by family in numbers</summary>{table}</details>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_follow_each_other_are_one_range() {
        assert_eq!(ranges(&[2, 3, 4, 9, 11, 12]), "2–4, 9, 11–12");
        assert_eq!(ranges(&(0..20).map(|at| at * 2).collect::<Vec<_>>()), "0, 2, 4, 6, 8, 10, …");
    }

    #[test]
    fn names_from_files_are_escaped() {
        let page = events(&Evaluation::example());
        assert!(page.contains("beacon &lt;slow&gt;") && !page.contains("<slow>"));
    }
}
