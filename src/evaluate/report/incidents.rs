//! Incidents on the page: how many are right, the worst of them with their reasons, those that are false.

use super::super::cases::{Case, Cases, Count};
use super::super::evaluation::Evaluation;
use super::super::incidents::SEVERITIES;
use super::super::number::{count, counted, duration, part, short, time};
use super::super::reasons::Reasons;
use super::svg::escape;
use super::tables::{Cell, card, dash, number, text, titled};

/// Incidents that are shown with their reasons, and in tables.
const WORST: usize = 12;
const MOST: usize = 40;
/// Pieces of evidence that are shown of one incident.
const PIECES: usize = 3;
/// Families of one incident that are named.
const FAMILIES: usize = 4;

/// The cards about incidents; nothing where the run has left none.
pub(super) fn incidents(evaluation: &Evaluation) -> String {
    let Some(cases) = evaluation.cases() else { return String::new() };
    numbers(cases) + &worst(evaluation, cases) + &wrong(cases) + &new_hosts(cases)
}

fn numbers(cases: &Cases) -> String {
    let row = |name: &str, count_of: Count, strong: bool| {
        let right = count_of.all - count_of.wrong;
        let cells = vec![
            text(name),
            number(count(count_of.all)),
            number(count(count_of.wrong)),
            dash((count_of.all > 0).then(|| part(right as f64 / count_of.all as f64))),
            dash(cases.an_hour(count_of.wrong).map(short)),
            dash(
                cases
                    .an_hour_between(count_of.wrong)
                    .map(|[low, high]| format!("{} to {}", short(low), short(high))),
            ),
            dash(cases.a_day(count_of.wrong).map(short)),
            dash(cases.a_host_and_day(count_of.wrong).map(short)),
        ];
        (if strong { "own" } else { "" }, cells)
    };
    let severities = SEVERITIES.iter().zip(cases.severities).rev();
    let rows = [row("all", cases.count, true), row("of two rows or more", cases.larger, false)]
        .into_iter()
        .chain(severities.filter(|(_, of)| of.all > 0).map(|(severity, of)| row(severity.name(), of, false)));
    let headings = [
        "Incidents",
        "#All",
        "#False",
        "#Part that is not false",
        "#False an hour",
        "#95 % interval",
        "#False a day",
        "#False a host and day",
    ];
    let quiet = match cases.quiet_time {
        0 => "There is no time without a labelled event.".into(),
        time => {
            let a_day =
                cases.a_quiet_day().map_or_else(String::new, |count| format!(", {} a day", short(count)));
            let wrong = counted(cases.quiet_wrong, "false incident");
            format!("For {} of the time no event is labelled: {wrong} then{a_day}.", duration(time))
        }
    };
    let muted: u64 = cases.muted.values().sum();
    let muted = match muted {
        0 => String::new(),
        rows => {
            format!(" Rules muted {}, {} of them attack.", counted(rows, "row"), count(cases.muted_attacks))
        }
    };
    let held = match cases.held {
        Count { all: 0, .. } => String::new(),
        Count { all, wrong } => {
            format!(
                " Held back, as knocks from outside or by the budget, are {}, {} of them false: they count for nothing.",
                count(all),
                count(wrong)
            )
        }
    };
    let caption = format!(
        "An incident joins the alerts of one host, as their source or their target; it is false where no row of it is attack \
         and some are benign. Most events in one incident: {}. \
         Rates are of {} and of {} with benign rows; their interval is what that many false ones allow for, one like another. {quiet}{muted}{held}",
        count(cases.most_merged),
        duration(cases.time),
        counted(cases.hosts, "source")
    );
    titled("Right and false", &caption, &headings, rows)
}

/// What the rows of an incident are, by the labels.
fn truth(evaluation: &Evaluation, case: &Case) -> String {
    if case.events.is_empty() {
        let (class, words) = if case.is_false() { ("benign", "benign") } else { ("unknown", "unknown") };
        return format!("<span class=\"tag {class}\">{words}</span>");
    }
    let families = evaluation.families_of(case);
    let more = families.len().saturating_sub(FAMILIES);
    let mut tags: Vec<String> = families
        .iter()
        .take(FAMILIES)
        .map(|family| format!("<span class=\"tag attack\">{}</span>", escape(family)))
        .collect();
    if more > 0 {
        tags.push(format!("<span class=\"soft\">and {more} more</span>"));
    }
    tags.join(" ")
}

fn severity(case: &Case) -> String {
    let severity = case.incident.severity;
    format!("<span class=\"grade g{}\">{}</span>", severity as u8, severity.name())
}

/// What an incident counts, in words.
fn facts(case: &Case) -> String {
    let incident = &case.incident;
    let mut facts = vec![
        format!("score {}", short(incident.score)),
        counted(case.rows(), "alert"),
        counted(incident.peers, "peer"),
    ];
    if case.attacks > 0 && case.benign > 0 {
        facts.insert(2, format!("{} of them benign", count(case.benign)));
    }
    if incident.ports > 0 {
        facts.push(counted(incident.ports, "port"));
    }
    facts.push(format!("{} UTC", time(incident.first)));
    facts.push(match incident.last.saturating_sub(incident.first) {
        0 => "an instant".into(),
        long => duration(long),
    });
    facts.join(" · ")
}

fn worst(evaluation: &Evaluation, cases: &Cases) -> String {
    if cases.cases.is_empty() {
        return card("Worst incidents", "There is no incident.", "");
    }
    let blank = Reasons::default();
    let block = |case: &&Case| {
        let incident = &case.incident;
        let reasons = evaluation.reasons.get(&incident.top.row).unwrap_or(&blank);
        let parts = reasons.parts.iter().filter(|(_, nats)| *nats >= 0.05);
        let parts = parts.map(|(name, nats)| format!("{} {}", name, short(*nats))).collect::<Vec<_>>();
        let evidence: String = reasons
            .odd_about(incident.subject())
            .filter(|words| !incident.why.contains(words))
            .take(PIECES)
            .map(|words| format!("<li>{}</li>", escape(words)))
            .collect();
        let evidence = if evidence.is_empty() { evidence } else { format!("<ul>{evidence}</ul>") };
        let parts = match parts.is_empty() {
            true => String::new(),
            false => {
                format!(
                    "<p class=\"soft\">What its oddest row that says why is made of: {}</p>",
                    escape(&parts.join(", "))
                )
            }
        };
        let hints: String = incident
            .hints
            .iter()
            .map(|hint| format!(" <span class=\"tag unknown\" title=\"a hint: its shape is like this technique\">like {}</span>", escape(hint)))
            .collect();
        format!(
            "<li><div class=\"line\">{} <span class=\"address\">{}</span> <span class=\"soft\">as {}</span> {}{hints}</div>\
             <div class=\"soft\">{}</div><p>{}</p>{evidence}{parts}</li>",
            severity(case),
            escape(incident.subject()),
            escape(&incident.role),
            truth(evaluation, case),
            escape(&facts(case)),
            escape(&incident.why)
        )
    };
    let list: String = cases.worst().iter().take(WORST).map(block).collect();
    let more = cases.cases.len().saturating_sub(WORST);
    let rest = if more > 0 { format!(" {more} more are in metrics.json.") } else { String::new() };
    let caption = format!(
        "By severity and score. Tags: what the labels say of its rows, and ATT&CK techniques of like shape, as a hint. \
         Below: why, and what is odd about its oddest row that says so.{rest}"
    );
    card("Worst incidents", &caption, &format!("<ol class=\"incidents\">{list}</ol>"))
}

fn row(case: &Case) -> (&'static str, Vec<Cell>) {
    let incident = &case.incident;
    let cells = vec![
        Cell::Markup(severity(case)),
        number(short(incident.score)),
        Cell::Markup(format!("<span class=\"address\">{}</span>", escape(incident.subject()))),
        text(incident.role.clone()),
        number(count(case.rows())),
        number(count(incident.peers)),
        number(count(incident.ports)),
        text(time(incident.first)),
        Cell::Markup(format!("<span class=\"why\">{}</span>", escape(&incident.why))),
    ];
    ("", cells)
}

const HEADINGS: [&str; 9] =
    ["Severity", "#Score", "Host", "Role", "#Alerts", "#Peers", "#Ports", "First packet (UTC)", "Why"];

fn wrong(cases: &Cases) -> String {
    let wrong: Vec<&Case> = cases.worst().into_iter().filter(|case| case.is_false()).collect();
    if wrong.is_empty() {
        return String::new();
    }
    let more = wrong.len().saturating_sub(MOST);
    let rest = if more > 0 { format!(" {more} more are in metrics.json.") } else { String::new() };
    let caption =
        format!("By severity and score: what an allow-list rule or more training could spare.{rest}");
    titled("False incidents", &caption, &HEADINGS, wrong.into_iter().take(MOST).map(row))
}

fn new_hosts(cases: &Cases) -> String {
    if cases.new_hosts.is_empty() {
        return String::new();
    }
    let more = cases.new_hosts.len().saturating_sub(MOST);
    let rest = if more > 0 { format!(" {more} more are in metrics.json.") } else { String::new() };
    let caption = format!(
        "Local hosts that began no flow in training, each reported once. They count neither as found nor as false.{rest}"
    );
    let row = |case: &Case| {
        let incident = &case.incident;
        let cells = vec![
            Cell::Markup(format!("<span class=\"address\">{}</span>", escape(incident.subject()))),
            text(time(incident.first)),
            text(incident.why.clone()),
        ];
        ("", cells)
    };
    let headings = ["Host", "First packet (UTC)", "Why"];
    titled("New hosts", &caption, &headings, cases.new_hosts.iter().take(MOST).map(row))
}

/// Pipelines under several seeds.
pub(super) fn seeds(evaluation: &Evaluation) -> String {
    let Some(first) = evaluation.seeds.first() else { return String::new() };
    let mut headings = vec!["Trained".to_owned(), "#Seeds".into()];
    headings.extend(first.figures.iter().map(|figure| format!("#{}", figure.name)));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows = evaluation.seeds.iter().map(|seeds| {
        let mut cells = vec![text(seeds.name.clone()), number(count(seeds.seeds.len() as u64))];
        for figure in &seeds.figures {
            let words = figure.mean().zip(figure.ends()).map(|(mean, [least, most])| {
                let deviation =
                    figure.deviation().map_or_else(String::new, |sd| format!(" ± {}", figure.say(sd)));
                format!("{}{deviation}\n({} to {})", figure.say(mean), figure.say(least), figure.say(most))
            });
            cells.push(dash(words));
        }
        ("", cells)
    });
    let caption = "The same training and the same rows under several seeds of the model: mean ± deviation of single seeds \
                   (least to greatest). What differs between seeds is luck.";
    titled("Spread over model seeds", caption, &headings, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_are_shown_with_truth_and_without_foreign_markup() {
        let page = incidents(&Evaluation::example());
        assert!(page.contains("many &lt;ports&gt; of 10.0.1.1") && !page.contains("<ports>"));
        assert!(
            page.contains("<span class=\"tag attack\">scan</span> <span class=\"tag attack\">flood</span>"),
            "{page}"
        );
        assert!(page.contains("False incidents") && !page.contains("New hosts"));
    }
}
