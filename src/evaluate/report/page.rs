//! The page around plots and tables.

use super::super::cases::{median, windows};
use super::super::evaluation::Evaluation;
use super::super::number::{count, counted, duration, maybe, part, short, time};
use super::svg::escape;
use super::{calibration, curves, families, incidents, spreads, tables, timeline};

const STYLE: &str = include_str!("style.css");

impl Evaluation {
    /// The evaluation as a page: one file of HTML, complete in itself, for light and dark, wide and narrow screens.
    /// The same for the same scores, labels and seed.
    pub fn report(&self) -> String {
        let title = escape(&self.own().name);
        let head = head(self);
        let notes = notes(self);
        let body = [
            "<h2>How good</h2><div class=\"stack\">".into(),
            tables::detectors(self),
            tables::points(self),
            incidents::seeds(self),
            "</div><h2>Ranking</h2><div class=\"grid\">".into(),
            curves::curves(self),
            calibration::calibration(self),
            "</div><h2>Scores</h2><div class=\"grid\">".into(),
            spreads::histogram(self),
            beside_histogram(self),
            families::families(self),
            spreads::boxes(self),
            tables::families(self),
            "</div><h2>Events and incidents</h2><div class=\"stack\">".into(),
            timeline::timeline(self),
            tables::events(self),
            incidents::incidents(self),
            tables::oddest(self),
            tables::idle(self),
            "</div>".into(),
        ]
        .concat();
        let foot = format!(
            "netweir {} evaluate · seed {} for the random baseline and the bootstrap · all figures are in metrics.json",
            env!("CARGO_PKG_VERSION"),
            self.head.seed
        );
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{title} – netweir evaluation</title>\n\
             <style>\n{STYLE}</style></head>\n<body><main>\n{head}{notes}{body}<footer>{foot}</footer></main></body></html>\n"
        )
    }
}

/// The words of the page and the partitions: in the grid beside the histogram, so not over its whole width.
fn beside_histogram(evaluation: &Evaluation) -> String {
    let words = [
        ("Row", "what one flow did in one window of time; it has one score."),
        (
            "Truth",
            "by the labels: a row is attack where its time, ends, protocol and port fit one, else benign. Rows of \
                   labels called ignore are unknown: neither credit nor blame.",
        ),
        ("Event, family", "label rows of one name; the kind of attack that they name."),
        ("Found", "at least one row of the event lies above the threshold; of incidents, is in one."),
        (
            "False-positive rate",
            "part of benign rows above a threshold; equal scores stand on one side of it.",
        ),
        ("Family mean", "recall of each family, averaged over families that have rows."),
        (
            "Incident",
            "alerts of one host, closed by a silence; false if no row of it is attack and some are benign.",
        ),
        (
            "Parts of a score",
            "in nats, as rare as each is in training: volume, fan-out to others, novelty, persistence in time, shape of the \
             flow, half of greeting, how it begins; and lasting, what the same hosts showed in the windows before. \
             Repetition, more flows of one state and size than there ever were, counts by how many times more.",
        ),
        ("Nat", "a unit of surprise: 6.9 nats are one chance in a thousand, 13.8 one in a million."),
    ];
    let words: String = words
        .iter()
        .map(|(word, meaning)| format!("<dt>{}</dt><dd>{}</dd>", escape(word), escape(meaning)))
        .collect();
    format!(
        "<div class=\"stack\">{}<section class=\"card\"><h3>Words of this page</h3><dl>{words}</dl></section></div>\n",
        tables::partitions(evaluation).replacen("card wide", "card", 1)
    )
}

fn head(evaluation: &Evaluation) -> String {
    let head = &evaluation.head;
    let fact = |name: &str, value: String| format!("<div>{name} <b>{}</b></div>", escape(&value));
    let mut facts = vec![
        fact("Scores", head.scores.clone()),
        fact("Labels", format!("{} ({})", head.labels, counted(head.label_rows, "row"))),
        fact(
            "Rows",
            format!(
                "{}: {} benign, {} attack, {} unknown",
                count(head.rows),
                count(evaluation.own().benign),
                count(evaluation.own().attacks),
                count(evaluation.whole.unknown)
            ),
        ),
        fact("Source hosts", count(head.hosts)),
    ];
    if let Some([first, last]) = head.span {
        let words = format!("{} to {} UTC, {}", time(first), time(last), duration(last - first));
        facts.push(fact("Time", words));
    }
    format!(
        "<header><div class=\"kicker\">netweir evaluation</div><h1>{}</h1><div class=\"facts\">{}</div>{}</header>\n",
        escape(&evaluation.own().name),
        facts.concat(),
        tiles(evaluation)
    )
}

fn tiles(evaluation: &Evaluation) -> String {
    let own = evaluation.own();
    let tile = |name: &str, value: String, remark: String| {
        format!(
            "<div class=\"tile\"><span>{}</span><strong>{}</strong><em>{}</em></div>",
            escape(name),
            escape(&value),
            escape(&remark)
        )
    };
    let middle = own.points.get(1);
    let interval = middle.and_then(|point| point.interval);
    let interval = interval.map_or_else(
        || "family mean".into(),
        |[low, high]| format!("family mean, 95 %: {} to {}", part(low), part(high)),
    );
    let shipped = own.shipped.as_ref();
    let alarms = shipped.map_or(0, |point| point.false_alarms);
    let found = shipped.map_or_else(|| "–".into(), |point| evaluation.found(point).replace('/', " of "));
    let delay = median(evaluation.delays());
    let wins = delay.and_then(|delay| windows(delay, evaluation.window));
    let wins = wins.map_or_else(String::new, |windows| format!("{}, ", counted(windows, "window")));
    let cases = evaluation.cases();
    let (found, by) = match cases {
        Some(cases) => (evaluation.found_of(cases.found()).replace('/', " of "), "in an incident"),
        None => (found, "at the shipped threshold"),
    };
    let false_incidents = tile(
        "False incidents an hour",
        cases.and_then(|cases| cases.an_hour(cases.count.wrong)).map_or_else(|| "–".into(), short),
        cases.map_or_else(
            || "the run left no incidents".into(),
            |cases| {
                format!(
                    "{} of {}; {} of two rows or more",
                    count(cases.count.wrong),
                    counted(cases.count.all, "incident"),
                    count(cases.larger.wrong)
                )
            },
        ),
    );
    [
        "<div class=\"tiles\">".into(),
        tile(
            "Recall at false-positive rate 1e-3",
            maybe(middle.and_then(|point| point.macro_recall)),
            interval,
        ),
        tile("Events found", found, by.into()),
        tile(
            "Time to detect",
            delay.map_or_else(|| "–".into(), duration),
            format!("{wins}median of events found"),
        ),
        false_incidents,
        tile(
            "False-positive rate, shipped",
            shipped.and_then(|point| point.false_positive_rate).map_or_else(|| "–".into(), short),
            format!("{} of {}", count(alarms), counted(own.benign, "benign row")),
        ),
        tile(
            "ROC-AUC",
            maybe(own.roc_auc),
            match own.roc_auc {
                Some(_) => format!("average precision {}", maybe(own.average_precision)),
                None => "one class has no rows".into(),
            },
        ),
        "</div>".into(),
    ]
    .concat()
}

fn notes(evaluation: &Evaluation) -> String {
    if evaluation.notes.is_empty() {
        return String::new();
    }
    let notes: String = evaluation.notes.iter().map(|note| format!("<li>{}</li>", escape(note))).collect();
    format!("<div class=\"notes\" role=\"note\"><ul>{notes}</ul></div>\n")
}
