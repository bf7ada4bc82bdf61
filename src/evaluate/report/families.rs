//! Recall of every family as bars, at three false-positive rates.

use super::super::evaluation::Evaluation;
use super::super::measure::FamilyRecall;
use super::super::number::{counted, part, rate};
use super::svg::{Canvas, Scale};
use super::{Entry, absent, figure, shorten};

/// Families that are drawn.
const MOST: usize = 40;
const FILLS: [&str; 3] = ["f-rate1 edge", "f-rate2 edge", "f-rate3 edge"];

/// A row of the plot: a name, and for each rate recall and interval.
struct Bars {
    name: String,
    recalls: Vec<(f64, Option<[f64; 2]>)>,
    rows: Option<u64>,
}

/// The plot; a word of why where there is nothing to draw.
pub(super) fn families(evaluation: &Evaluation) -> String {
    let heading = "Recall by family";
    let points = &evaluation.own().points;
    let Some(first) = points.first().filter(|point| !point.families.is_empty()) else {
        return absent(
            "families",
            heading,
            "Recall needs attack rows, and benign rows to set thresholds by.",
        );
    };
    let mut bars: Vec<Bars> = (0..first.families.len())
        .map(|place| {
            let of = |family: &FamilyRecall| (family.recall(), family.interval);
            let family = &first.families[place];
            Bars {
                name: evaluation.events.families[family.family].clone(),
                recalls: points.iter().map(|point| of(&point.families[place])).collect(),
                rows: Some(family.rows),
            }
        })
        .collect();
    // The middle rate decides, then the strict one.
    let rank = |bars: &Bars| [1, 2, 0].map(|place| bars.recalls.get(place).map_or(0.0, |recall| recall.0));
    bars.sort_by(|a, b| rank(b).partial_cmp(&rank(a)).unwrap_or(std::cmp::Ordering::Equal));
    let more = bars.len().saturating_sub(MOST);
    // The weakest are what a reader looks for.
    bars.drain(..more);
    let mean = points.iter().map(|point| (point.macro_recall.unwrap_or(0.0), point.interval)).collect();
    bars.insert(0, Bars { name: "mean of families".into(), recalls: mean, rows: None });
    let height = 24.0 * bars.len() as f64 + 66.0;
    let mut canvas = Canvas::new(heading, [560.0, height], [176.0, 8.0, 18.0, 54.0]);
    let [across, [bottom, top]] = canvas.sides();
    let x = Scale::linear([0.0, 1.0], across);
    canvas.bottom_axis(x, 5, "Recall (part of the family's rows)");
    let step = (bottom - top) / bars.len() as f64;
    for (place, bars) in bars.iter().enumerate() {
        let middle = top + step * (place as f64 + 0.5);
        let class = if bars.rows.is_none() { "label strong" } else { "label" };
        canvas.text([168.0, middle + 4.5], "end", class, &shorten(&bars.name, 16));
        for (bar, (recall, interval)) in bars.recalls.iter().enumerate() {
            let y = middle - 9.0 + 6.0 * bar as f64;
            let allowed = points[bar].rate.map_or_else(String::new, rate);
            let rows = bars.rows.map_or_else(String::new, |rows| format!(" of {}", counted(rows, "row")));
            let bounds = interval.map_or_else(String::new, |[low, high]| {
                format!(", 95 % interval {} to {}", part(low), part(high))
            });
            let title = format!("{}: {}{rows} at {allowed}{bounds}", bars.name, part(*recall));
            // What is not found is seen as a stub, not as nothing.
            canvas.rectangle(FILLS[bar], [across[0], y], [(x.at(*recall) - across[0]).max(1.5), 5.4], &title);
            if let Some([low, high]) = interval.filter(|[low, high]| high > low) {
                canvas.line("line s-ink thin", [low, high].map(|end| [x.at(end), y + 2.7]).into_iter());
            }
        }
        if bars.rows.is_none() {
            let y = middle + step / 2.0;
            canvas.raw(format_args!("<path class=\"axis\" d=\"M12 {y:.1}H{:.1}\"/>", across[1]));
        }
    }
    let name = |place: usize| {
        let allowed = points.get(place).and_then(|point| point.rate).map_or_else(String::new, rate);
        format!("false-positive rate {allowed}")
    };
    let legend = [
        Entry::filled(FILLS[0], name(0)),
        Entry::filled(FILLS[1], name(1)),
        Entry::filled(FILLS[2], name(2)),
        Entry::line("s-ink thin", "95 % over events"),
    ];
    let rest = if more > 0 {
        format!(" {more} more families, all found better, are in metrics.json.")
    } else {
        String::new()
    };
    let caption = format!(
        "Thresholds are set among the benign rows of this run. Intervals draw events anew: they say how much hangs on \
         which attacks were tried; a family of one event has none.{rest}"
    );
    figure("families", heading, &caption, &legend, &canvas.finish())
}
