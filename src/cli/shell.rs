//! Shell completions, from the definitions of the command line.

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

#[cfg(test)]
mod tests {
    use super::super::command;

    #[test]
    fn pages_of_verbs_are_completed() {
        // Those that offer values at all where no option asks for them.
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command(), "netweir", &mut text);
            let text = String::from_utf8(text).unwrap();
            let offered = ["man", "VERB"].map(|of| {
                let mut lines = text.lines().filter(|line| line.contains(of));
                lines.any(|line| ["evaluate", "explain", "inspect"].iter().all(|verb| line.contains(verb)))
            });
            assert!(offered.contains(&true), "{shell}: {text}");
        }
    }
}
