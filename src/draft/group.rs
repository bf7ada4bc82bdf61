//! Files of one run that belong together, and the folders that it alone writes to.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::lock::{Held, hold};
use super::{Astray, Draft, DraftError, Place, make, sync, unmake};

/// Whole files that are kept open, and so locked, until they have their names: processes may open so many only.
const HELD: usize = 64;

/// Files of one run, which take their names together when all of them are whole, and the folders that it alone
/// writes to. Dropped before (all clones of it), nothing is left of them, and what stood there still does.
#[derive(Clone, Debug, Default)]
pub struct Drafts {
    group: Arc<Mutex<Group>>,
    live: bool,
    astray: Astray,
}

#[derive(Debug, Default)]
struct Group {
    /// In the order in which they were finished.
    whole: Vec<(Place, Option<File>)>,
    /// Files that are not to stand beside them, unless they are among them.
    superseded: Vec<PathBuf>,
    folders: Vec<Folder>,
}

/// A folder that others are kept from.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    made: Vec<PathBuf>,
    /// Held open for its lock.
    _held: Option<File>,
}

impl Drafts {
    /// Those of a run that goes on for long: what others wait for meanwhile, such as logs, is there from the start.
    pub fn live() -> Drafts {
        Drafts { live: true, ..Drafts::default() }
    }

    /// Whether some files are there before the end.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Which of the growing ones lost their names to what cannot be written to.
    pub(crate) fn astray(&self) -> &Astray {
        &self.astray
    }

    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().expect("nobody panics while files are named")
    }

    /// A file is whole, and waits until all are.
    pub(super) fn wait(&self, place: Place, file: File) {
        let mut group = self.group();
        let file = (group.whole.len() < HELD).then_some(file);
        group.whole.push((place, file));
    }

    /// Begins one of the files.
    ///
    /// # Errors
    /// As [`Draft::create`].
    pub fn create(&self, path: &Path) -> Result<Draft, DraftError> {
        Ok(Draft { among: Some(self.clone()), ..Draft::create(path)? })
    }

    /// Begins one that grows under its name in a live run, with the rights of the one that stood there before, if one
    /// did, and is as the others else.
    ///
    /// # Errors
    /// As [`Draft::create`].
    pub fn log(&self, path: &Path, before: Option<&Metadata>) -> Result<Draft, DraftError> {
        match self.live {
            true => Ok(Draft { astray: self.astray.clone(), ..Draft::growing(path, before)? }),
            false => self.create(path),
        }
    }

    /// Begins one that is whole before the run has ended: it takes its name at once in a live run.
    ///
    /// # Errors
    /// As [`Draft::create`].
    pub fn part(&self, path: &Path) -> Result<Draft, DraftError> {
        if self.live { Draft::create(path) } else { self.create(path) }
    }

    /// Makes a folder, if need be, and keeps other runs from it until this one has ended.
    ///
    /// # Errors
    /// [`DraftError`] if another run writes there, or it is no folder that can be written to.
    pub fn folder(&self, path: &Path) -> Result<(), DraftError> {
        let mut group = self.group();
        if group.folders.iter().any(|folder| folder.path == path) {
            return Ok(());
        }
        let mut folder = Folder { path: path.to_owned(), made: make(path)?, _held: None };
        if cfg!(unix) {
            let held = File::open(path).map_err(DraftError::io(path))?;
            if let Held::Elsewhere = hold(&held) {
                return Err(DraftError::Busy { path: path.to_owned() });
            }
            folder._held = Some(held);
        }
        group.folders.push(folder);
        Ok(())
    }

    /// A file that must not stand beside the others goes when they take their names, unless it is one of them.
    pub fn supersede(&self, path: PathBuf) {
        self.group().superseded.push(path);
    }

    /// All files are whole: they take their names, in the order in which they were finished. In a live run one that cannot
    /// keeps no other from it.
    ///
    /// # Errors
    /// [`DraftError::Io`] of the first that cannot.
    pub fn commit(&self) -> Result<(), DraftError> {
        let mut group = self.group();
        let mut changed = BTreeSet::new();
        for path in std::mem::take(&mut group.superseded) {
            if group.whole.iter().all(|(place, _)| place.path != path) {
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(DraftError::io(&path)(error));
                    }
                    _ => {}
                }
            }
        }
        let (mut last, mut failed) = (PathBuf::new(), Ok(()));
        for (mut place, _) in std::mem::take(&mut group.whole) {
            match place.stand() {
                Err(error) if self.live => {
                    failed = failed.and(Err(error));
                    continue;
                }
                stood => stood?,
            }
            changed.append(&mut place.folders());
            last.clone_from(&place.path);
        }
        for folder in &mut group.folders {
            folder.made.clear();
        }
        failed.and(sync(changed, &last))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The latest first: folders that an earlier one made are empty then.
        while self.whole.pop().is_some() {}
        while self.folders.pop().is_some() {}
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        unmake(&self.made);
    }
}
