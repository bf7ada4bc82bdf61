//! Nominal against empirical: whether a p-value means what it says.

use super::super::evaluation::Evaluation;
use super::super::number::{counted, rate, short};
use super::svg::{Canvas, Scale};
use super::{Entry, absent, figure};

/// The plot; a word of why where scores carry no p-value.
pub(super) fn calibration(evaluation: &Evaluation) -> String {
    let heading = "Calibration of p-values";
    let Some(calibration) = &evaluation.calibration else {
        let why = "The scores have no column p_value for benign rows: whether a stated tail probability is kept cannot \
                   be shown.";
        return absent("calibration", heading, why);
    };
    let rows = calibration.rows as f64;
    let mut canvas = Canvas::new(heading, [560.0, 370.0], [66.0, 12.0, 18.0, 54.0]);
    let [across, up] = canvas.sides();
    let least = 10_f64.powf((1.0 / rows).log10().floor()).min(0.1);
    let (x, y) = (Scale::log([least, 1.0], across), Scale::log([least, 1.0], up));
    canvas.bottom_axis(x, 6, "Nominal: p-value at most (logarithmic)");
    canvas.left_axis(y, 6, "Empirical: part of benign rows");
    let nominal =
        || calibration.points.iter().map(|(nominal, _)| *nominal).filter(|nominal| *nominal >= least);
    let chance = |nominal: f64, side: f64| {
        let spread = 1.96 * (nominal * (1.0 - nominal) / rows).sqrt();
        [x.at(nominal), y.at((nominal + side * spread).clamp(least, 1.0))]
    };
    let upper: Vec<[f64; 2]> = nominal().map(|nominal| chance(nominal, 1.0)).collect();
    let lower: Vec<[f64; 2]> = nominal().map(|nominal| chance(nominal, -1.0)).collect();
    let band: Vec<String> =
        upper.iter().chain(lower.iter().rev()).map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    canvas.raw(format_args!("<polygon class=\"f-sixth faint\" points=\"{}\"/>", band.join(" ")));
    canvas.line("line s-sixth thin dash1", [least, 1.0].map(|end| [x.at(end), y.at(end)]).into_iter());
    let seen: Vec<(f64, u64)> =
        calibration.points.iter().copied().filter(|(nominal, rows)| *nominal >= least && *rows > 0).collect();
    canvas.line(
        "line s-benign",
        seen.iter().map(|(nominal, count)| [x.at(*nominal), y.at(*count as f64 / rows)]),
    );
    for (nominal, count) in seen {
        let empirical = count as f64 / rows;
        let title = format!("p ≤ {}: {}, {}", short(nominal), counted(count, "benign row"), short(empirical));
        canvas.dot("f-benign", [x.at(nominal), y.at(empirical)], 3.2, &title);
    }
    let legend = [
        Entry::line("s-benign", "benign rows"),
        Entry::line("s-sixth thin dash1", "exact"),
        Entry::filled("f-sixth faint", "what chance allows independent rows (95 %)"),
    ];
    let stated: Vec<String> = [1e-2, 1e-3, 1e-4]
        .into_iter()
        .filter_map(|wanted| {
            let point =
                calibration.points.iter().find(|(nominal, _)| (nominal / wanted - 1.0).abs() < 1e-6)?;
            Some(format!("{} at {}", short(point.1 as f64 / rows), rate(wanted)))
        })
        .collect();
    let stated = if stated.is_empty() { String::new() } else { format!(" {}.", stated.join(", ")) };
    let caption = format!(
        "Above the dashed line a threshold lets through more benign rows than it says. {} with a p-value; rows of one \
         connection are alike, so more than the band is expected.{stated}",
        counted(calibration.rows, "benign row")
    );
    figure("calibration", heading, &caption, &legend, &canvas.finish())
}
