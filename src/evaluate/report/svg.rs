//! The parts of a plot: a canvas, scales with ticks, axes with titles, a legend. Everything is SVG text; colours
//! are classes of the page's style, so that light and dark are one drawing.

use std::fmt::Write;

use crate::terminal::is_hidden;

/// Escapes text for HTML and SVG, in elements and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // What no document may hold, whatever its encoding, and what hides text or turns it around.
            hidden if is_hidden(hidden) => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

/// Values to places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Least and greatest value.
    pub(super) values: [f64; 2],
    /// Their places.
    pub(super) places: [f64; 2],
    /// Even in the logarithm; values are above zero then.
    pub(super) is_log: bool,
}

impl Scale {
    pub(super) fn linear(values: [f64; 2], places: [f64; 2]) -> Scale {
        Scale { values, places, is_log: false }
    }

    pub(super) fn log(values: [f64; 2], places: [f64; 2]) -> Scale {
        Scale { values, places, is_log: true }
    }

    /// The place of a value; values outside stand at the ends.
    pub(super) fn at(&self, value: f64) -> f64 {
        let bend = |value: f64| if self.is_log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let [low, high] = self.values.map(bend);
        let part = if high > low { ((bend(value) - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
        self.places[0] + part * (self.places[1] - self.places[0])
    }

    /// About `count` round values with their labels.
    pub(super) fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let [low, high] = self.values;
        if self.is_log {
            let (from, to) = (low.log10().ceil() as i32, high.log10().floor() as i32);
            let step = ((to - from) as usize / count.max(1) + 1) as i32;
            if to > from {
                let decades = (from..=to).rev().step_by(step as usize);
                return decades.map(|decade| (10_f64.powi(decade), power(decade))).collect();
            }
        }
        if high <= low {
            return vec![(low, plain(low, 3))];
        }
        let rough = (high - low) / count.max(1) as f64;
        let unit = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * unit).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * unit);
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        (first..=last).map(|tick| (tick as f64 * step, plain(tick as f64 * step, digits))).collect()
    }
}

/// A number of a tick.
fn plain(value: f64, digits: usize) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.3e}", value).replace(".000", ""),
        size if size >= 1e4 => format!("{}k", value / 1e3),
        _ => format!("{value:.digits$}"),
    }
}

/// A power of ten as on an axis.
fn power(decade: i32) -> String {
    if (0..=3).contains(&decade) {
        return 10_i32.pow(decade as u32).to_string();
    }
    let raised = |digit: char| match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    };
    format!("10{}", decade.to_string().chars().map(raised).collect::<String>())
}

/// A drawing with a plot area inside it.
pub(super) struct Canvas {
    width: f64,
    height: f64,
    /// Left, top, right, bottom of the plot area.
    pub(super) area: [f64; 4],
    /// The group that marks go to.
    body: String,
    title: String,
}

impl Canvas {
    /// `margins`: left, top, right, bottom.
    pub(super) fn new(title: &str, [width, height]: [f64; 2], margins: [f64; 4]) -> Canvas {
        let [left, top, right, bottom] = margins;
        Canvas {
            width,
            height,
            area: [left, top, width - right, height - bottom],
            body: String::new(),
            title: title.to_owned(),
        }
    }

    /// The plot area's horizontal and vertical places; the vertical from the bottom up.
    pub(super) fn sides(&self) -> [[f64; 2]; 2] {
        let [left, top, right, bottom] = self.area;
        [[left, right], [bottom, top]]
    }

    /// Draws the bottom axis with grid lines and its title.
    pub(super) fn bottom_axis(&mut self, scale: Scale, count: usize, title: &str) {
        self.bottom_ticks(
            &scale.ticks(count).into_iter().map(|(v, l)| (scale.at(v), l)).collect::<Vec<_>>(),
            title,
        );
    }

    /// The same for ticks at given places.
    pub(super) fn bottom_ticks(&mut self, ticks: &[(f64, String)], title: &str) {
        let [left, top, right, bottom] = self.area;
        for (x, label) in ticks {
            self.raw(format_args!("<path class=\"grid\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>"));
            self.text([*x, bottom + 20.0], "middle", "tick", label);
        }
        self.raw(format_args!("<path class=\"axis\" d=\"M{left:.1} {bottom:.1}H{right:.1}\"/>"));
        self.text([(left + right) / 2.0, self.height - 8.0], "middle", "axis-title", title);
    }

    /// Draws the left axis with grid lines and its title along it.
    pub(super) fn left_axis(&mut self, scale: Scale, count: usize, title: &str) {
        let [left, top, right, bottom] = self.area;
        for (value, label) in scale.ticks(count) {
            let y = scale.at(value);
            self.raw(format_args!("<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"));
            self.text([left - 7.0, y + 4.5], "end", "tick", &label);
        }
        self.raw(format_args!("<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}\"/>"));
        let (x, y) = (17.0, (top + bottom) / 2.0);
        let title = escape(title);
        self.raw(format_args!(
            "<text class=\"axis-title\" text-anchor=\"middle\" transform=\"translate({x:.1} {y:.1}) rotate(-90)\">{title}</text>"
        ));
    }

    /// Text whose baseline begins, lies centred or ends at a place.
    pub(super) fn text(&mut self, [x, y]: [f64; 2], anchor: &str, class: &str, text: &str) {
        let text = escape(text);
        self.raw(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// A broken line.
    pub(super) fn line(&mut self, class: &str, points: impl Iterator<Item = [f64; 2]>) {
        let path = path(points);
        if !path.is_empty() {
            self.raw(format_args!("<path class=\"mark {class}\" d=\"{path}\"/>"));
        }
    }

    /// A rectangle with a title that shows on hovering; at least half a unit wide and high.
    pub(super) fn rectangle(&mut self, class: &str, [x, y]: [f64; 2], [w, h]: [f64; 2], title: &str) {
        let (w, h, title) = (w.max(0.5), h.max(0.5), escape(title));
        let title = if title.is_empty() { title } else { format!("<title>{title}</title>") };
        self.raw(format_args!(
            "<rect class=\"mark {class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\">{title}</rect>"
        ));
    }

    /// A dot with a title.
    pub(super) fn dot(&mut self, class: &str, [x, y]: [f64; 2], radius: f64, title: &str) {
        let title = escape(title);
        self.raw(format_args!(
            "<circle class=\"mark {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"><title>{title}</title></circle>"
        ));
    }

    /// A diamond with a title.
    pub(super) fn diamond(&mut self, class: &str, [x, y]: [f64; 2], size: f64, title: &str) {
        let title = escape(title);
        self.raw(format_args!(
            "<path class=\"mark {class}\" d=\"M{:.1} {y:.1}L{x:.1} {:.1}L{:.1} {y:.1}L{x:.1} {:.1}Z\"><title>{title}</title></path>",
            x - size, y - size, x + size, y + size
        ));
    }

    /// SVG as it is.
    pub(super) fn raw(&mut self, svg: std::fmt::Arguments) {
        self.body.write_fmt(svg).expect("a string takes any text");
    }

    /// The drawing, with what a reader who cannot see it hears.
    pub(super) fn finish(self) -> String {
        let Canvas { width, height, body, title, .. } = self;
        let title = escape(&title);
        format!(
            "<svg class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">{body}</svg>"
        )
    }
}

/// Path data through places; places too near to the last to be seen are left out.
fn path(points: impl Iterator<Item = [f64; 2]>) -> String {
    let mut text = String::new();
    let mut last: Option<[f64; 2]> = None;
    let mut skipped = None;
    let write = |[x, y]: [f64; 2], text: &mut String| {
        let letter = if text.is_empty() { 'M' } else { 'L' };
        write!(text, "{letter}{x:.1} {y:.1}").expect("a string takes any text");
    };
    for point in points {
        if last.is_some_and(|[x, y]| (x - point[0]).abs() < 0.3 && (y - point[1]).abs() < 0.3) {
            skipped = Some(point);
            continue;
        }
        write(point, &mut text);
        (last, skipped) = (Some(point), None);
    }
    if let Some(point) = skipped {
        write(point, &mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_file_holds_becomes_markup() {
        assert_eq!(escape("<b a='1' c=\"2\">&\u{0}"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\u{fffd}");
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let labels =
            |scale: Scale, count| scale.ticks(count).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(
            labels(Scale::linear([0.0, 1.0], [0.0, 100.0]), 5),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(labels(Scale::linear([3.0, 47.0], [0.0, 1.0]), 4), ["20", "40"]);
        assert_eq!(labels(Scale::log([1e-4, 1.0], [0.0, 1.0]), 5), ["1", "10⁻¹", "10⁻²", "10⁻³", "10⁻⁴"]);
        assert_eq!(labels(Scale::log([2.0, 7.0], [0.0, 1.0]), 3), ["2", "4", "6"]);
        assert_eq!(labels(Scale::linear([5.0, 5.0], [0.0, 1.0]), 3), ["5.000"]);
        assert_eq!(labels(Scale::linear([0.0, 40_000.0], [0.0, 1.0]), 2), ["0", "20k", "40k"]);
    }

    #[test]
    fn places_stay_inside_whatever_the_value() {
        let scale = Scale::log([1e-3, 1.0], [10.0, 40.0]);
        assert_eq!((scale.at(0.0), scale.at(1e9)), (10.0, 40.0));
        assert!((scale.at(1e-1) - 30.0).abs() < 1e-9);
        assert_eq!(Scale::linear([2.0, 2.0], [0.0, 10.0]).at(2.0), 5.0);
    }

    #[test]
    fn paths_leave_out_what_cannot_be_seen_but_not_the_end() {
        let many = (0..10_000).map(|at| [f64::from(at) / 1000.0, 5.0]);
        let text = path(many);
        assert!(text.len() < 500 && text.starts_with("M0.0 5.0") && text.ends_with("L10.0 5.0"), "{text}");
        assert_eq!(path(std::iter::empty()), "");
    }
}
