//! What names of columns say, each looked at once: rows of a flood say the same of the same few.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::hints::ASKED;
use super::meaning::about;
use super::phrase::Phrase;

/// What a column's name says.
pub(in crate::detect) struct Word {
    /// The column in words.
    pub(super) phrase: Phrase,
    /// Its place in [`ASKED`], where techniques are told by it.
    pub(super) asked: Option<usize>,
}

/// The columns that were met.
#[derive(Default)]
pub(in crate::detect) struct Vocabulary(HashMap<String, Word, RandomState>);

impl Vocabulary {
    /// What this name says.
    pub(super) fn of(&mut self, column: &str) -> &Word {
        self.0.entry_ref(column).or_insert_with(|| Word {
            phrase: Phrase::of(column),
            asked: ASKED.iter().position(|asked| *asked == about(column)),
        })
    }
}
