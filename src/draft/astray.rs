//! Logs whose lines go where nobody looks for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::DraftError;

/// Growing files of a run that lost their names, and why none begins anew under them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Astray(Arc<Mutex<BTreeMap<PathBuf, String>>>);

impl Astray {
    /// What became of the name of a file.
    pub(super) fn put(&self, path: &Path, followed: Result<(), DraftError>) {
        let mut astray = self.0.lock().expect("nobody panics while names are followed");
        match followed {
            Ok(()) => _ = astray.remove(path),
            Err(error) => {
                let line = format!(
                    "{error}: lines still go to the file that was moved away or removed; let this run write to that name, or \
                     move away what stands there"
                );
                astray.insert(path.to_owned(), line);
            }
        }
    }

    /// What is to be said of those that are astray now, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics while names are followed").values().cloned().collect()
    }
}
