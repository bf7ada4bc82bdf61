//! How scores are spread: the histogram of both classes and boxes of every family.

use super::super::evaluation::Evaluation;
use super::super::number::{count, counted, short};
use super::super::spread::Histogram;
use super::svg::{Canvas, Scale};
use super::{Entry, absent, figure, shorten};

/// Families that are drawn.
const MOST: usize = 40;

/// The scale of scores between two places.
fn scores(histogram: &Histogram, places: [f64; 2]) -> Scale {
    let values = [histogram.low, histogram.high];
    match (histogram.is_log, histogram.high - histogram.low) {
        (true, _) => Scale::log(values, places),
        // One score alone stands in the middle.
        (false, 0.0) => Scale::linear([values[0] - 0.5, values[1] + 0.5], places),
        (false, _) => Scale::linear(values, places),
    }
}

fn axis(histogram: &Histogram) -> &'static str {
    if histogram.is_log { "Score (logarithmic, higher is odder)" } else { "Score (higher is odder)" }
}

/// The shipped threshold, with its place where the axis of scores comes so far; where nobody says it, as the rows
/// show it: where alarms begin, or the stretch in which some rows of either kind lie.
fn threshold(evaluation: &Evaluation, x: Scale) -> (Option<[f64; 2]>, String) {
    if let Some(threshold) = evaluation.own().shipped.as_ref().and_then(|point| point.threshold) {
        return on_axis(threshold, x);
    }
    match evaluation.whole.edge {
        [_, None] => (None, "no row is above the shipped threshold".into()),
        [Some(quiet), Some(alarm)] if quiet > alarm => {
            (Some([alarm, quiet]), format!("threshold, by partition: {} to {}", short(alarm), short(quiet)))
        }
        [_, Some(alarm)] => (Some([alarm, alarm]), format!("lowest alarmed score {}", short(alarm))),
    }
}

/// A threshold and its name. One that lies beyond all scores stands nowhere on their axis, not at its end.
fn on_axis(threshold: f64, x: Scale) -> (Option<[f64; 2]>, String) {
    let name = format!("shipped threshold {threshold:.4}");
    let [low, high] = x.values;
    match threshold {
        beyond if beyond > high => (None, format!("{name}: above all scores")),
        below if below < low => (None, format!("{name}: below all scores")),
        _ => (Some([threshold, threshold]), name),
    }
}

fn draw_threshold(canvas: &mut Canvas, x: Scale, stretch: Option<[f64; 2]>) {
    let Some([low, high]) = stretch else { return };
    let [_, [bottom, top]] = canvas.sides();
    if high > low {
        canvas.rectangle("f-ink faint", [x.at(low), top], [x.at(high) - x.at(low), bottom - top], "");
    }
    canvas.line("line s-ink thin dash1", [[x.at(low), top], [x.at(low), bottom]].into_iter());
}

/// The histogram of scores, benign and attack.
pub(super) fn histogram(evaluation: &Evaluation) -> String {
    let heading = "Scores of benign and attack rows";
    let Some(histogram) = &evaluation.histogram else {
        return absent("histogram", heading, "There is no row whose truth is known.");
    };
    let mut canvas = Canvas::new(heading, [560.0, 370.0], [66.0, 12.0, 18.0, 54.0]);
    let [across, up] = canvas.sides();
    let most = histogram.bins.iter().flatten().copied().max().unwrap_or(1).max(1) as f64;
    let (x, y) = (scores(histogram, across), Scale::log([0.7, most * 1.4], up));
    canvas.bottom_axis(x, 6, axis(histogram));
    canvas.left_axis(y, 5, "Rows (logarithmic)");
    let width = (across[1] - across[0]) / histogram.bins.len() as f64;
    for (class, name, fill, stroke) in
        [(0, "benign", "f-benign pale", "s-benign"), (1, "attack", "f-attack pale", "s-attack thin")]
    {
        let place = |bin: usize| across[0] + width * bin as f64;
        let mut outline = Vec::new();
        let mut titles = String::new();
        for (bin, counts) in histogram.bins.iter().enumerate() {
            let rows = counts[class];
            let top = if rows == 0 { up[0] } else { y.at(rows as f64) };
            outline.extend([[place(bin), top], [place(bin + 1), top]]);
            if rows > 0 {
                titles += &format!(
                    "<path class=\"mark hover\" d=\"M{:.1} {top:.1}H{:.1}V{:.1}H{:.1}Z\"><title>{} {name}</title></path>",
                    place(bin),
                    place(bin + 1),
                    up[0],
                    place(bin),
                    counted(rows, "row")
                );
            }
        }
        let corners =
            [[across[0], up[0]]].into_iter().chain(outline.iter().copied()).chain([[across[1], up[0]]]);
        let corners: Vec<String> = corners.map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        canvas.raw(format_args!("<polygon class=\"{fill}\" points=\"{}\"/>", corners.join(" ")));
        canvas.line(&format!("line {stroke}"), outline.into_iter());
        canvas.raw(format_args!("{titles}"));
    }
    let (stretch, words) = threshold(evaluation, x);
    draw_threshold(&mut canvas, x, stretch);
    let legend = [
        Entry::topped("f-benign pale", "s-benign", format!("benign, {}", count(evaluation.own().benign))),
        Entry::topped("f-attack pale", "s-attack", format!("attack, {}", count(evaluation.own().attacks))),
        Entry::line("s-ink thin dash1", words),
    ];
    let caption = "Rows in each of 64 stretches of the score; rows whose truth is not known are left out.";
    figure("histogram", heading, caption, &legend, &canvas.finish())
}

/// Boxes of the scores of every family, and of benign rows.
pub(super) fn boxes(evaluation: &Evaluation) -> String {
    let heading = "Scores by family";
    let (Some(histogram), false) = (&evaluation.histogram, evaluation.spreads.is_empty()) else {
        return absent("boxes", heading, "There is no row whose truth is known.");
    };
    let families = evaluation.spreads.iter().filter(|spread| spread.family.is_some()).count();
    // Benign rows stand last in the list and first on the page: all else is held against them.
    let (attacks, benign) = evaluation.spreads.split_at(families);
    let shown: Vec<_> = benign.iter().chain(attacks.iter().take(MOST)).collect();
    let height = 24.0 * shown.len() as f64 + 66.0;
    let mut canvas = Canvas::new(heading, [560.0, height], [176.0, 8.0, 18.0, 54.0]);
    let [across, [bottom, top]] = canvas.sides();
    let x = scores(histogram, across);
    canvas.bottom_axis(x, 5, axis(histogram));
    let step = (bottom - top) / shown.len() as f64;
    let (stretch, words) = threshold(evaluation, x);
    for (place, spread) in shown.iter().enumerate() {
        let middle = top + step * (place as f64 + 0.5);
        let (name, stroke, fill) = match spread.family {
            None => ("benign", "s-benign", "f-benign"),
            Some(family) => (evaluation.events.families[family].as_str(), "s-attack", "f-attack"),
        };
        canvas.text([168.0, middle + 4.5], "end", "label", &shorten(name, 16));
        let [least, low, quarter, median, upper, high, most] = spread.quantiles;
        let title = format!(
            "{name}: {}, median {}, middle half {} to {}, 90 % {} to {}, all {} to {}",
            counted(spread.rows, "row"),
            short(median),
            short(quarter),
            short(upper),
            short(low),
            short(high),
            short(least),
            short(most)
        );
        canvas.line(&format!("line thin {stroke}"), [[x.at(low), middle], [x.at(high), middle]].into_iter());
        for end in [least, most] {
            canvas.dot(fill, [x.at(end), middle], 1.6, "");
        }
        canvas.rectangle(
            &format!("hollow {stroke}"),
            [x.at(quarter), middle - 6.5],
            [x.at(upper) - x.at(quarter), 13.0],
            &title,
        );
        canvas.line(
            &format!("line {stroke}"),
            [[x.at(median), middle - 6.5], [x.at(median), middle + 6.5]].into_iter(),
        );
    }
    draw_threshold(&mut canvas, x, stretch);
    let legend = [
        Entry::filled("hollow s-benign", "benign"),
        Entry::filled("hollow s-attack", "attack family"),
        Entry::line("s-ink thin dash1", words),
    ];
    let more = families.saturating_sub(MOST);
    let rest = if more > 0 { format!(" {more} more families are in metrics.json.") } else { String::new() };
    let caption =
        format!("Box: middle half of rows, with the median; line: 5 % to 95 %; dots: least and most.{rest}");
    figure("boxes", heading, &caption, &legend, &canvas.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_beyond_all_scores_is_said_and_not_drawn() {
        for x in [Scale::linear([1.5, 2.5], [0.0, 100.0]), Scale::log([1.5, 2.5], [0.0, 100.0])] {
            for within in [1.5, 2.0, 2.5] {
                assert_eq!(on_axis(within, x).0, Some([within, within]));
            }
            assert_eq!(on_axis(6.9078, x), (None, "shipped threshold 6.9078: above all scores".to_owned()));
            assert_eq!(on_axis(0.5, x), (None, "shipped threshold 0.5000: below all scores".to_owned()));
        }
    }
}
