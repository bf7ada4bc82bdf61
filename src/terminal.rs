//! A terminal and what comes to it: text of files and of the network in which nothing moves the cursor, hides text or
//! turns it around; threads that write there, which a terminal that was halted must not keep a run with.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::threads::{self, NoThread};

/// How long a thread that writes for people is waited for at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// A thread that need be waited for no longer than a second.
pub(crate) struct Waited {
    /// Nothing ever comes: it closes when the thread is over.
    over: Receiver<()>,
}

impl Waited {
    /// # Errors
    /// [`NoThread`].
    pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Waited, NoThread> {
        let (running, over) = channel::<()>();
        threads::start(name, move || {
            let _running = running;
            work();
        })?;
        Ok(Waited { over })
    }

    /// Waits until the work is done, or has had its time, and gives whether it is done. A panic is an end, too.
    pub(crate) fn end(&self) -> bool {
        self.over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected)
    }

    /// Waits until the work is done, however long.
    pub(crate) fn join(&self) {
        let _ = self.over.recv();
    }
}

/// Whether a letter does.
pub(crate) fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

/// The text, with a mark in the place of each such letter.
pub(crate) fn safe(text: &str) -> String {
    text.chars().map(|letter| if is_hidden(letter) { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

/// The text, each such letter spelled out.
pub(crate) fn spelled(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_hidden(letter) {
            true => spelled.extend(letter.escape_default()),
            false => spelled.push(letter),
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_hides_or_turns_text_is_marked_or_spelled_out_and_nothing_else() {
        let text = "a\u{1b}[2J\u{202e}b\u{2066}c\u{200b}\n\t\u{85}";
        assert_eq!(safe(text), "a\u{fffd}[2J\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(spelled(text), "a\\u{1b}[2J\\u{202e}b\\u{2066}c\\u{200b}\\n\\t\\u{85}");
        for letter in ['\u{ad}', '\u{61c}', '\u{2060}', '\u{feff}'] {
            assert!(is_hidden(letter), "{letter:?}");
        }
        for plain in
            ["", "10.0.0.1 -> [fe80::1]:22", "Müller's Rechner, 日本, مرحبا", "back\\slash \"quoted\""]
        {
            assert_eq!((safe(plain), spelled(plain)), (plain.to_owned(), plain.to_owned()));
        }
    }
}
