//! The evaluation as one page of HTML: light and dark, no network, no script, plots drawn here as SVG.

mod calibration;
mod curves;
mod families;
mod incidents;
mod page;
mod spreads;
mod svg;
mod tables;
mod timeline;

use svg::escape;

/// A swatch of a legend and its words.
struct Entry {
    /// SVG inside a box of 26 by 12.
    swatch: String,
    words: String,
}

impl Entry {
    /// A stroke of some classes.
    fn line(class: &str, words: impl Into<String>) -> Entry {
        Entry { swatch: format!("<path class=\"line {class}\" d=\"M1 6H25\"/>"), words: words.into() }
    }

    /// A filled box.
    fn filled(class: &str, words: impl Into<String>) -> Entry {
        let swatch = format!("<rect class=\"{class}\" x=\"2\" y=\"1\" width=\"22\" height=\"10\"/>");
        Entry { swatch, words: words.into() }
    }

    /// A filled box with a stroke on its top.
    fn topped(fill: &str, stroke: &str, words: impl Into<String>) -> Entry {
        let top = format!("<path class=\"line {stroke}\" d=\"M2 2H24\"/>");
        Entry { swatch: Entry::filled(fill, "").swatch + &top, words: words.into() }
    }

    /// A dot.
    fn dot(class: &str, words: impl Into<String>) -> Entry {
        let swatch = format!("<circle class=\"{class}\" cx=\"13\" cy=\"6\" r=\"4\"/>");
        Entry { swatch, words: words.into() }
    }

    /// A diamond.
    fn diamond(class: &str, words: impl Into<String>) -> Entry {
        let swatch = format!("<path class=\"{class}\" d=\"M8 6L13 1L18 6L13 11Z\"/>");
        Entry { swatch, words: words.into() }
    }
}

/// A plot with its heading, caption and legend; `name` is how tests and links find it.
fn figure(name: &str, heading: &str, caption: &str, legend: &[Entry], drawing: &str) -> String {
    let legend: String = legend
        .iter()
        .map(|Entry { swatch, words }| {
            format!(
                "<li><svg viewBox=\"0 0 26 12\" aria-hidden=\"true\">{swatch}</svg>{}</li>",
                escape(words)
            )
        })
        .collect();
    let legend = if legend.is_empty() { legend } else { format!("<ul class=\"legend\">{legend}</ul>") };
    let (name, heading, caption) = (escape(name), escape(heading), escape(caption));
    format!(
        "<figure class=\"card\" data-plot=\"{name}\" aria-label=\"{heading}\"><figcaption><h3>{heading}</h3>{caption}</figcaption>{legend}{drawing}</figure>\n"
    )
}

/// What stands where a plot cannot be drawn.
fn absent(name: &str, heading: &str, why: &str) -> String {
    let (name, heading, why) = (escape(name), escape(heading), escape(why));
    format!(
        "<div class=\"card\" data-absent=\"{name}\"><h3>{heading}</h3><p class=\"soft\">{why}</p></div>\n"
    )
}

/// The first and the last letters of a name that is too long for its place: names that begin alike end apart.
fn shorten(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let last = (most - 1) / 2;
    let first = name.chars().take(most - 1 - last);
    first.chain(['…']).chain(name.chars().skip(length - last)).collect()
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shorten("exfiltration_over_dns", 18), "exfiltrat…over_dns");
        assert_eq!(shorten("exfiltration_über_dns", 9), "exfi…_dns");
        assert_eq!(shorten("port_scan", 9), "port_scan");
    }
}
