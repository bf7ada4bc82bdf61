//! Shell completions and the manual page, from the definitions of the command line.

use std::io::Write;

use super::Failure;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:
  netweir completions bash > /etc/bash_completion.d/netweir")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self, mut command: clap::Command) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "netweir", &mut text);
        Ok(std::io::stdout().write_all(&text)?)
    }
}

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

impl Man {
    pub(super) fn run(self, mut command: clap::Command) -> Result<(), Failure> {
        command.build();
        let page = match &self.verb {
            None => command,
            Some(verb) => match command.find_subcommand(verb) {
                Some(found) => found.clone(),
                None => return Err(Failure::NoVerb(verb.clone())),
            },
        };
        let mut text = Vec::new();
        let source = concat!("netweir ", env!("CARGO_PKG_VERSION"));
        clap_mangen::Man::new(page).source(source).render(&mut text)?;
        Ok(std::io::stdout().write_all(&text)?)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;

    #[test]
    fn no_line_of_help_is_broken_where_it_was_not_written_so() {
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands() {
            let help = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            // The greatest width of help: `max_term_width`.
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", verb.get_name());
            }
        }
    }
}
