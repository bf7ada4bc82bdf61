//! The manual pages, from the definitions of the command line.

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};
use clap_mangen::roff::Roff;

use super::Failure;

/// Print the manual page, or that of a verb (roff)
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:
  netweir man > /usr/local/share/man/man1/netweir.1
  netweir man detect > /usr/local/share/man/man1/netweir-detect.1
  netweir man detect | man -l -")]
pub(super) struct Man {
    /// A verb, for its own page
    #[arg(value_name = "VERB")]
    verb: Option<String>,
}

/// Has `man` take the verbs that there are, which shells then offer too. None of them can say so by itself: it is one.
pub(super) fn with_verbs(command: Command) -> Command {
    let verbs: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    command.mut_subcommand("man", |man| {
        man.mut_arg("verb", |verb| verb.value_parser(PossibleValuesParser::new(verbs)))
    })
}

impl Man {
    pub(super) fn run(self, mut command: Command) -> Result<(), Failure> {
        command.build();
        let verb = self.verb.and_then(|verb| command.find_subcommand(verb));
        let text = page(verb.unwrap_or(&command))?;
        Ok(std::io::stdout().write_all(text.as_bytes())?)
    }
}

/// The page of a command that was built.
fn page(command: &Command) -> std::io::Result<String> {
    let man = clap_mangen::Man::new(command.clone());
    let preamble = Roff::new().render();
    let part = |render: &dyn Fn(&mut dyn Write) -> std::io::Result<()>| {
        let mut text = Vec::new();
        render(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        // Every part begins with it; a page does once.
        let text = text.strip_prefix(&preamble).unwrap_or(&text);
        // Breaks around an empty line are one too many for readers that look closely.
        Ok::<_, std::io::Error>(text.replace("\n.br\n\n.br\n", "\n.sp\n"))
    };
    let mut page = preamble.clone();
    page.push_str(&title(command));
    page.push_str(&part(&|out| man.render_name_section(out))?);
    page.push_str(&synopsis(command));
    page.push_str(&part(&|out| man.render_description_section(out))?);
    page.push_str(&part(&|out| man.render_options_section(out))?);
    if command.has_subcommands() {
        page.push_str(&part(&|out| man.render_subcommands_section(out))?);
    }
    page.push_str(&notes(command));
    if command.get_version().is_some() {
        page.push_str(&part(&|out| man.render_version_section(out))?);
    }
    Ok(page)
}

/// Seconds since the epoch to which a package is dated, where who builds it says so: a date of the build itself would make
/// every build another one.
const DATED: Option<&str> = option_env!("SOURCE_DATE_EPOCH");

fn title(command: &Command) -> String {
    let name = escaped(&name(command).to_uppercase());
    // An argument that is empty stands in its place by its quotes.
    format!(".TH \"{name}\" 1 \"{}\" \"netweir {}\" \"\"\n", date(DATED), env!("CARGO_PKG_VERSION"))
}

fn date(seconds: Option<&str>) -> String {
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds.trim().parse().ok()?).ok());
    time.map(|time| time.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// What may stand on the command line, with the values of options, of which no line break parts them.
fn synopsis(command: &Command) -> String {
    let called = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut text = format!(".SH SYNOPSIS\n.ad l\n.nh\n\\fB{}\\fR\n", escaped(called));
    let (positionals, options): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(|argument| !argument.is_hide_set()).partition(|a| a.is_positional());
    let (required, optional): (Vec<&Arg>, Vec<&Arg>) =
        options.into_iter().partition(|option| option.is_required_set());
    for argument in required.into_iter().chain(optional).chain(positionals) {
        text.push_str(&usage(argument));
        text.push('\n');
    }
    if command.has_subcommands() {
        let (open, close) = if command.is_subcommand_required_set() { ("", "") } else { ("[", "]") };
        text.push_str(&format!("{open}\\fIVERB\\fR{close} ...\n"));
    }
    text + ".ad b\n.hy\n"
}

fn usage(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("\\fB\\-{short}\\fR"));
    let long = argument.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", escaped(long)));
    let mut words: Vec<String> = Vec::new();
    words.extend(short.into_iter().chain(long).reduce(|short, long| format!("{short}|{long}")));
    if argument.get_action().takes_values() {
        let names = argument.get_value_names().unwrap_or_default();
        words.extend(names.iter().map(|name| format!("\\fI{}\\fR", escaped(name))));
    }
    let says_so = words.last().is_some_and(|last| last.contains("..."));
    let several = matches!(argument.get_action(), ArgAction::Append | ArgAction::Count) && !says_so;
    // Dots at the end of a line end no sentence here.
    let several = if several { " ...\\&" } else { "" };
    match argument.is_required_set() {
        true => format!("{}{several}", words.join("\\ ")),
        false => format!("[{}]{several}", words.join("\\ ")),
    }
}

/// What help says after the options, line for line as it stands there: examples first, where it begins with them.
fn notes(command: &Command) -> String {
    let help = command.get_after_long_help().or_else(|| command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let (examples, rest) = match help.split_once("\n\n") {
        _ if !help.starts_with("Example") => ("", help.as_str()),
        Some(parts) => parts,
        None => (help.as_str(), ""),
    };
    // The heading says it.
    let examples = examples
        .strip_prefix("Examples:\n")
        .or_else(|| examples.strip_prefix("Example:\n"))
        .unwrap_or(examples);
    verbatim("EXAMPLES", examples) + &verbatim("NOTES", rest)
}

fn verbatim(heading: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = text.lines().map(escaped).collect();
    format!(".SH {heading}\n.nf\n{}\n.fi\n", lines.join("\n"))
}

/// A line of text that roff prints letter for letter: also those that it makes typographic ones of.
fn escaped(line: &str) -> String {
    // What stands at the start of a line would be a request.
    let mut text = if line.starts_with(['.', '\'']) { "\\&".to_owned() } else { String::new() };
    for letter in line.chars() {
        match letter {
            '\\' => text.push_str("\\e"),
            '-' => text.push_str("\\-"),
            '\'' => text.push_str("\\(aq"),
            '`' => text.push_str("\\(ga"),
            '^' => text.push_str("\\(ha"),
            '~' => text.push_str("\\(ti"),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    fn pages() -> Vec<(String, String, String)> {
        let mut all = command();
        all.build();
        let commands = std::iter::once(&all).chain(all.get_subcommands());
        let told = |command: &Command| {
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            (name(command).to_owned(), help, page(command).unwrap())
        };
        commands.map(told).collect()
    }

    #[test]
    fn no_line_of_help_is_broken_where_it_was_not_written_so() {
        for (name, help, _) in pages() {
            // The greatest width of help: `max_term_width`.
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{name}: {line}");
            }
        }
    }

    #[test]
    fn lines_of_help_are_lines_of_the_page() {
        let pages = pages();
        assert!(pages.len() > 10);
        for (name, help, page) in pages {
            let mut filled = true;
            let mut lines = page.lines().filter(|line| {
                match *line {
                    ".nf" => filled = false,
                    ".fi" => filled = true,
                    _ => return !filled,
                }
                false
            });
            for line in help.lines().filter(|line| !["", "Example:", "Examples:"].contains(line)) {
                assert!(lines.any(|stands| stands == escaped(line)), "{name}: {line}\n{page}");
            }
        }
    }

    #[test]
    fn a_page_has_a_title_of_five_parts_and_no_heading_without_a_meaning() {
        for (name, _, page) in pages() {
            let title = page.lines().find(|line| line.starts_with(".TH ")).unwrap();
            let version = env!("CARGO_PKG_VERSION");
            assert!(
                title.starts_with(&format!(".TH \"{}\" 1 \"", name.to_uppercase().replace('-', "\\-"))),
                "{title}"
            );
            assert!(title.ends_with(&format!("\" \"netweir {version}\" \"\"")), "{title}");
            assert!(!page.contains(".SH EXTRA") && page.matches(".ds Aq").count() == 2, "{page}");
        }
        assert_eq!(
            (date(Some("1795772400")), date(None), date(Some("soon"))),
            ("2026-11-27".into(), String::new(), String::new())
        );
    }

    #[test]
    fn the_synopsis_has_values() {
        let pages = pages();
        let (_, _, detect) = pages.iter().find(|(name, ..)| name == "netweir-detect").unwrap();
        for line in [
            "\\fB\\-m\\fR|\\fB\\-\\-model\\fR\\ \\fIMODEL\\fR",
            "[\\fB\\-w\\fR|\\fB\\-\\-workers\\fR\\ \\fIN\\fR]",
            "[\\fB\\-\\-lax\\fR]",
            "[\\fB\\-\\-columns\\fR\\ \\fINAME,...\\fR]",
            "\\fIIN\\fR ...\\&",
        ] {
            assert!(detect.lines().any(|stands| stands == line), "{line}\n{detect}");
        }
    }

    #[test]
    fn what_roff_would_take_for_its_own_is_a_letter() {
        assert_eq!(escaped("'a' --b \\"), "\\&\\(aqa\\(aq \\-\\-b \\e");
        assert_eq!(escaped(".nf `x` ~^"), "\\&.nf \\(gax\\(ga \\(ti\\(ha");
    }
}
