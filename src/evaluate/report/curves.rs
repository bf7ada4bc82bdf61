//! ROC and precision-recall curves of every set of scores.

use super::super::evaluation::Evaluation;
use super::super::measure::{Detector, Kind, Point};
use super::super::number::{count, maybe, part, rate};
use super::svg::{Canvas, Scale};
use super::{Entry, absent, figure};

const SIZE: [f64; 2] = [560.0, 370.0];
const MARGINS: [f64; 4] = [66.0, 12.0, 18.0, 54.0];
/// Strokes of scores to compare, then of baselines; each is told apart by its dashes too.
const COMPARED: [&str; 3] = ["s-third", "s-fourth dash1", "s-fifth dash3"];
const BASELINES: [&str; 3] = ["s-sixth thin dash1", "s-sixth thin dash2", "s-sixth thin dash3"];

/// Detectors with the classes of their strokes.
fn strokes(evaluation: &Evaluation) -> Vec<(&Detector, &'static str)> {
    let (mut compared, mut baselines) = (COMPARED.iter().cycle(), BASELINES.iter().cycle());
    let stroke = |detector: &Detector| match detector.kind {
        Kind::Own => "s-ink",
        Kind::Compared => compared.next().copied().unwrap_or("s-third"),
        Kind::Baseline => baselines.next().copied().unwrap_or("s-sixth"),
    };
    let strokes: Vec<&str> = evaluation.detectors.iter().map(stroke).collect();
    evaluation.detectors.iter().zip(strokes).collect()
}

/// The three plots; a word of why where one class has no rows.
pub(super) fn curves(evaluation: &Evaluation) -> String {
    if evaluation.own().curve.is_empty() {
        let why = "Curves need benign rows and attack rows; one class has none.";
        return absent("curves", "ROC curve, precision and recall", why);
    }
    roc(evaluation) + &roc_log(evaluation) + &precision_recall(evaluation)
}

fn legend(evaluation: &Evaluation, value: impl Fn(&Detector) -> String) -> Vec<Entry> {
    strokes(evaluation)
        .into_iter()
        .map(|(detector, stroke)| Entry::line(stroke, format!("{} {}", detector.name, value(detector))))
        .chain([Entry::diamond("f-attack", "shipped threshold")])
        .collect()
}

fn title(point: &Point) -> String {
    format!(
        "Shipped threshold: {} of benign rows alarmed about, recall {}, precision {}",
        maybe(point.false_positive_rate),
        maybe(point.recall),
        maybe(point.precision)
    )
}

fn roc(evaluation: &Evaluation) -> String {
    let mut canvas = Canvas::new("ROC curve", SIZE, MARGINS);
    let [across, up] = canvas.sides();
    let (x, y) = (Scale::linear([0.0, 1.0], across), Scale::linear([0.0, 1.0], up));
    canvas.bottom_axis(x, 5, "False-positive rate (part of benign rows)");
    canvas.left_axis(y, 5, "Recall (part of attack rows)");
    canvas.line("line axis", [[x.at(0.0), y.at(0.0)], [x.at(1.0), y.at(1.0)]].into_iter());
    for (detector, stroke) in strokes(evaluation).into_iter().rev() {
        let places = detector.curve.iter().map(|point| [x.at(point.false_positive_rate), y.at(point.recall)]);
        canvas.line(&format!("line {stroke}"), places);
    }
    if let Some(point) = &evaluation.own().shipped {
        let place = [x.at(point.false_positive_rate.unwrap_or(0.0)), y.at(point.recall.unwrap_or(0.0))];
        canvas.diamond("f-attack edge", place, 6.0, &title(point));
    }
    let mut legend = legend(evaluation, |detector| maybe(detector.roc_auc));
    legend.push(Entry::line("axis", "by chance 0.500"));
    let caption = "Rows, all families together: a flood of many rows outweighs everything quiet. The number is the \
                   area (ROC-AUC).";
    figure("roc", "ROC curve", caption, &legend, &canvas.finish())
}

fn roc_log(evaluation: &Evaluation) -> String {
    let one = 1.0 / evaluation.own().benign.max(1) as f64;
    let mut canvas = Canvas::new("ROC curve, false-positive rate by logarithm", SIZE, MARGINS);
    let [across, up] = canvas.sides();
    let least = 10_f64.powf((one * 1.0001).log10().floor()).min(1e-4);
    let (x, y) = (Scale::log([least, 1.0], across), Scale::linear([0.0, 1.0], up));
    canvas.bottom_axis(x, 6, "False-positive rate (logarithmic)");
    canvas.left_axis(y, 5, "Recall (part of attack rows)");
    canvas.line("line s-ink thin dash1", up.map(|end| [x.at(one), end]).into_iter());
    for (detector, stroke) in strokes(evaluation).into_iter().rev() {
        canvas.line(
            &format!("line {stroke}"),
            bent(detector, least).map(|[rate, recall]| [x.at(rate), y.at(recall)]),
        );
    }
    if let Some(point) = &evaluation.own().shipped {
        let place = [x.at(point.false_positive_rate.unwrap_or(0.0)), y.at(point.recall.unwrap_or(0.0))];
        canvas.diamond("f-attack edge", place, 6.0, &title(point));
    }
    let recall = |detector: &Detector| {
        let point = detector.points.get(1);
        format!("{} of rows at 1e-3", maybe(point.and_then(|point| point.recall)))
    };
    let caption = format!(
        "Where alarms are few enough to be read. The dashed upright is one benign row of {}; nothing finer can be \
         measured.",
        count(evaluation.own().benign)
    );
    figure(
        "roc-log",
        "ROC curve at low false-positive rates",
        &caption,
        &legend(evaluation, recall),
        &canvas.finish(),
    )
}

/// The curve for a logarithmic axis: straight lines of the linear one are bent, and what is found before any
/// benign row stands from the left edge to the first.
fn bent(detector: &Detector, least: f64) -> impl Iterator<Item = [f64; 2]> + '_ {
    let mut before: Option<[f64; 2]> = None;
    detector.curve.iter().flat_map(move |point| {
        let here = [point.false_positive_rate, point.recall];
        let from = before.replace(here);
        let mut places = Vec::new();
        match from {
            None => places.push([least, here[1]]),
            Some([0.0, recall]) => {
                if here[0] > 0.0 {
                    places.push([here[0], recall]);
                }
                places.push([here[0].max(least), here[1]]);
            }
            Some([rate, recall]) => {
                let steps = ((here[0] / rate).ln() * 20.0).ceil().clamp(1.0, 200.0);
                for step in 1..=steps as u32 {
                    let part = f64::from(step) / steps;
                    let between = rate * (here[0] / rate).powf(part);
                    let along = if here[0] > rate { (between - rate) / (here[0] - rate) } else { 1.0 };
                    places.push([between, recall + along * (here[1] - recall)]);
                }
            }
        }
        places
    })
}

fn precision_recall(evaluation: &Evaluation) -> String {
    let mut canvas = Canvas::new("Precision and recall", SIZE, MARGINS);
    let [across, up] = canvas.sides();
    let (x, y) = (Scale::linear([0.0, 1.0], across), Scale::linear([0.0, 1.0], up));
    canvas.bottom_axis(x, 5, "Recall (part of attack rows)");
    canvas.left_axis(y, 5, "Precision (part of alarms)");
    for (detector, stroke) in strokes(evaluation).into_iter().rev() {
        // Between two scores no recall is gained: steps, not slopes.
        let steps = detector.curve.windows(2).flat_map(|two| {
            let height = y.at(two[1].precision);
            [[x.at(two[0].recall), height], [x.at(two[1].recall), height]]
        });
        canvas.line(&format!("line {stroke}"), steps);
    }
    if let Some(point) = &evaluation.own().shipped {
        let place = [x.at(point.recall.unwrap_or(0.0)), y.at(point.precision.unwrap_or(0.0))];
        canvas.diamond("f-attack edge", place, 6.0, &title(point));
    }
    let prevalence = evaluation.own().prevalence;
    let caption = format!(
        "Of these rows {} are attack, far more than in daily traffic, and precision is as flattering. The number is the \
         average precision; the table of operating points restates precision for rarer attacks.",
        part(prevalence)
    );
    let legend = legend(evaluation, |detector| maybe(detector.average_precision));
    figure("precision-recall", "Precision and recall", &caption, &legend, &canvas.finish())
}

/// `at 1e-3`, or `shipped`.
pub(super) fn point_name(point: &Point) -> String {
    point.rate.map_or_else(|| "shipped".into(), |allowed| format!("FPR {}", rate(allowed)))
}
