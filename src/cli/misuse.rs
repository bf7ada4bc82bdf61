//! A command line that cannot be read, told in one line as every other error is.

use std::ffi::OsString;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use super::{Cli, command};

impl Cli {
    /// Reads the command line. Help and the version end the program here, as they are all that was asked for.
    ///
    /// # Errors
    /// What is wrong and where help is, in one line.
    pub fn read() -> Result<Cli, String> {
        Cli::from(std::env::args_os()).map_err(|error| match error.kind() {
            _ if !error.use_stderr() => error.exit(),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            ErrorKind::InvalidUtf8 => not_text(std::env::args_os()),
            _ => in_one_line(&error.render().to_string()),
        })
    }

    fn from<T: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> Result<Cli, clap::Error> {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// What to do about an argument that is no text: names of inputs are, as they may be patterns.
fn not_text(mut arguments: impl Iterator<Item = OsString>) -> String {
    let argument = arguments.find(|argument| argument.to_str().is_none()).unwrap_or_default();
    format!("{argument:?} is not UTF-8: name the folder that the file is in, or a link to it")
}

/// The paragraphs of a message that say what is wrong and what to do, without those that repeat the manual.
fn in_one_line(message: &str) -> String {
    let mut verb = "";
    let mut parts: Vec<String> = Vec::new();
    for paragraph in message.split("\n\n") {
        let mut lines = paragraph.lines().map(str::trim).filter(|line| !line.is_empty());
        let Some(first) = lines.next() else { continue };
        let rest: Vec<&str> = lines.collect();
        if let Some(usage) = first.strip_prefix("Usage: ") {
            let word = usage.split(' ').nth(1).unwrap_or_default();
            verb = if word.starts_with(char::is_lowercase) { word } else { "" };
        } else if !first.starts_with("For more information") {
            let between = if first.ends_with(':') { ", " } else { " " };
            let text = format!("{first} {}", rest.join(between));
            parts
                .extend(text.trim_start_matches("error: ").split("tip: ").map(|part| part.trim().to_owned()));
        }
    }
    let verb = if verb.is_empty() { String::new() } else { format!(" {verb}") };
    parts.retain(|part| !part.is_empty());
    format!("{}; netweir{verb} --help says what is allowed", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(arguments: &[&str]) -> String {
        let error = Cli::from(arguments).expect_err("this is no command line");
        in_one_line(&error.render().to_string())
    }

    #[test]
    fn a_misspelt_word_is_told_with_the_nearest() {
        assert_eq!(
            told(&["netweir", "detekt"]),
            "unrecognized subcommand 'detekt'; a similar subcommand exists: 'detect'; netweir --help says what is allowed"
        );
        let option = told(&["netweir", "detect", "--modl", "x"]);
        assert!(
            option.contains("'--modl'") && option.contains("a similar argument exists: '--model'"),
            "{option}"
        );
        assert!(option.ends_with("; netweir detect --help says what is allowed"), "{option}");
    }

    #[test]
    fn a_page_that_is_none_is_told_with_those_that_are() {
        let page = told(&["netweir", "man", "detekt"]);
        assert!(page.contains("'detekt'") && page.contains("explain") && page.contains("'detect'"), "{page}");
    }

    #[test]
    fn all_that_is_missing_is_told() {
        assert_eq!(
            told(&["netweir", "detect"]),
            "the following required arguments were not provided: --model <MODEL>, --output <OUT>, <IN>...; netweir detect --help says what is allowed"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_no_text_is_told_with_another_way_to_it() {
        use std::os::unix::ffi::OsStringExt;
        let arguments = [&b"netweir"[..], b"extract", b"d\xc3\xa9/\xff.pcap"];
        let told = not_text(arguments.into_iter().map(|argument| OsString::from_vec(argument.to_vec())));
        assert_eq!(
            told,
            r#""dé/\xFF.pcap" is not UTF-8: name the folder that the file is in, or a link to it"#
        );
    }

    #[test]
    fn every_misuse_is_one_line_without_the_usage() {
        for arguments in [
            &["netweir", "train", "x", "-m"][..],
            &["netweir", "detect", "x", "-m", "a", "-o", "b", "-w", "zz"],
            &["netweir", "detect", "x", "-m", "a", "-o", "b", "--percentile", "3", "--contamination", "2"],
            &["netweir", "completions", "sh"],
            &["netweir", "watch"],
            &["netweir", "train", "x", "-m", "y", "-w", "1\n\nUsage: z"],
            &["netweir", "detect", "--", "--foo", "y\nz"],
        ] {
            let line = told(arguments);
            assert!(!line.contains('\n') && !line.contains("Usage: netweir") && line.len() < 300, "{line:?}");
            assert!(!line.starts_with("error") && !line.contains("tip:"), "{line:?}");
        }
    }
}
