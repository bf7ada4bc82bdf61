//! A file that appears under its name only when it is whole: what every room writes files with. Files of one run
//! take their names together.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Why a file cannot be begun or finished: one line.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file as it was named, not the temporary one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is to be written where a folder is.
    #[error("{}: is a folder; name a file in it", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// A file is to be written where a device or a pipe is.
    #[error("{}: is no file that could be replaced: name another", path.display())]
    Special {
        /// What is there.
        path: PathBuf,
    },
    /// Another process holds the folder.
    #[error("{}: another run writes there: wait until it has ended, or name another folder", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
}

impl DraftError {
    fn io(path: &Path) -> impl Fn(io::Error) -> DraftError + '_ {
        move |source| DraftError::Io { path: path.to_owned(), source }
    }
}

/// Names that are tried where earlier, killed runs of the same process id left theirs behind.
const ATTEMPTS: u32 = 1000;

/// Longest part of the name that the temporary one repeats: file systems allow 255 bytes in all.
const NAME: usize = 200;

/// Whole files that are kept open, and so locked, until they have their names: processes may open so many only.
const HELD: usize = 64;

/// A file being written under a temporary name in the folder of its own. [`Draft::commit`] puts it in
/// the place of whatever has its name; dropped before, nothing is left of it.
#[derive(Debug)]
pub struct Draft {
    file: File,
    place: Place,
    among: Option<Drafts>,
}

/// Where a file is and will be. Dropped before it stands there, nothing is left of it.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    temporary: PathBuf,
    /// Folders that were made for it, the outermost first.
    made: Vec<PathBuf>,
    stands: bool,
}

impl Draft {
    /// Begins a file. Missing folders are made. What killed runs left of a file of this name is removed.
    ///
    /// # Errors
    /// [`DraftError`] if the folder cannot be written to, or the name is that of a folder.
    pub fn create(path: &Path) -> Result<Draft, DraftError> {
        let failed = DraftError::io(path);
        let name = file_name(path)?;
        let folder = folder(path);
        let mut place =
            Place { path: path.to_owned(), temporary: PathBuf::new(), made: make(folder)?, stands: true };
        let name = &name[..name.floor_char_boundary(NAME)];
        remove_stale(folder, name);
        let process = std::process::id();
        for attempt in 0..ATTEMPTS {
            let again = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            place.temporary = folder.join(format!(".{name}.tmp-{process}{again}"));
            // A new file only: never through a link, never another run's.
            match OpenOptions::new().write(true).create_new(true).open(&place.temporary) {
                Ok(file) if is_held(&file, &place.temporary) => {
                    place.stands = false;
                    return Ok(Draft { file, place, among: None });
                }
                // Another run took it for one that was left behind.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    unmake(&place.made);
                    return Err(failed(error));
                }
            }
        }
        let what = format!("{} has too many files .{name}.tmp-*: remove them", folder.display());
        Err(failed(io::Error::new(ErrorKind::AlreadyExists, what)))
    }

    /// Begins a file that has its name from the start and loses what it held before: one that is followed while it
    /// grows. Missing folders are made.
    ///
    /// # Errors
    /// As [`Draft::create`].
    pub fn growing(path: &Path) -> Result<Draft, DraftError> {
        file_name(path)?;
        make(folder(path))?;
        let file = File::create(path).map_err(DraftError::io(path))?;
        let place =
            Place { path: path.to_owned(), temporary: path.to_owned(), made: Vec::new(), stands: true };
        Ok(Draft { file, place, among: None })
    }

    /// The name that the file will have.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// All was written: brings it to the disk and then under its name, or, where it is one of [`Drafts`], to those that
    /// wait for theirs.
    ///
    /// # Errors
    /// [`DraftError::Io`]; then nothing is left of it, and what had its name before still has it.
    pub fn commit(self) -> Result<(), DraftError> {
        let Draft { file, mut place, among } = self;
        file.sync_all().map_err(DraftError::io(&place.path))?;
        if place.stands {
            return Ok(());
        }
        match among {
            Some(drafts) => {
                let mut group = drafts.group();
                let file = (group.whole.len() < HELD).then_some(file);
                group.whole.push((place, file));
                Ok(())
            }
            None => {
                place.stand()?;
                sync(place.folders(), &place.path)
            }
        }
    }
}

impl Place {
    fn stand(&mut self) -> Result<(), DraftError> {
        std::fs::rename(&self.temporary, &self.path).map_err(DraftError::io(&self.path))?;
        self.stands = true;
        Ok(())
    }

    /// The folders whose entries changed by it.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let changed = self.made.iter().chain([&self.path]);
        changed.map(|path| folder(path).to_owned()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.stands {
            // Nobody is left to tell; a file that stays behind has a name that says what it is.
            let _ = std::fs::remove_file(&self.temporary);
            unmake(&self.made);
        }
    }
}

/// Names are safe once their folders are; other systems do not open folders as files.
fn sync(folders: BTreeSet<PathBuf>, path: &Path) -> Result<(), DraftError> {
    if cfg!(unix) {
        for folder in folders {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(DraftError::io(path))?;
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> Result<String, DraftError> {
    let there = path.metadata().ok();
    match path.file_name() {
        Some(name) if there.as_ref().is_none_or(std::fs::Metadata::is_file) => {
            Ok(name.to_string_lossy().into_owned())
        }
        Some(_) if there.is_some_and(|there| !there.is_dir()) => {
            Err(DraftError::Special { path: path.to_owned() })
        }
        _ => Err(DraftError::Folder { path: path.to_owned() }),
    }
}

/// The folder of a path.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Makes a folder and those that it lies in; gives those that were not there.
fn make(folder: &Path) -> Result<Vec<PathBuf>, DraftError> {
    let missing = folder.ancestors().take_while(|folder| *folder != Path::new("") && !folder.exists());
    let missing: Vec<&Path> = missing.collect();
    let mut made = Vec::new();
    for folder in missing.into_iter().rev() {
        match std::fs::create_dir(folder) {
            Ok(()) => made.push(folder.to_owned()),
            Err(_) if folder.is_dir() => {}
            Err(error) => {
                unmake(&made);
                return Err(DraftError::io(folder)(error));
            }
        }
    }
    Ok(made)
}

/// Removes folders that were made, as far as nothing lies in them.
fn unmake(made: &[PathBuf]) {
    for folder in made.iter().rev() {
        let _ = std::fs::remove_dir(folder);
    }
}

/// Whether a temporary file, which is new, is held against whoever removes those that were left behind.
fn is_held(file: &File, temporary: &Path) -> bool {
    match hold(file) {
        // It may have been removed before it was held.
        Held::Here => is_same(file, temporary),
        Held::Elsewhere => false,
        // Where nothing can be held nothing is removed.
        Held::Nowhere => true,
    }
}

/// Removes temporary files of that name which nobody holds: those of runs that were killed.
fn remove_stale(folder: &Path, name: &str) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let start = format!(".{name}.tmp-");
    for entry in entries.flatten() {
        let is_ours = |name: &str| {
            let process = name.strip_prefix(&start);
            process.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
        };
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file
            && entry.file_name().to_str().is_some_and(is_ours)
            && let Ok(file) = File::open(entry.path())
            && matches!(hold(&file), Held::Here)
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a file or folder is locked for others.
enum Held {
    /// By the one who asks, until it is closed.
    Here,
    /// By somebody else.
    Elsewhere,
    /// The system or the file system does not offer it.
    Nowhere,
}

/// Locks a file or folder against others who ask too; the system forgets it with the process.
#[cfg(unix)]
fn hold(file: &File) -> Held {
    match file.try_lock() {
        Ok(()) => Held::Here,
        Err(std::fs::TryLockError::WouldBlock) => Held::Elsewhere,
        Err(std::fs::TryLockError::Error(_)) => Held::Nowhere,
    }
}

/// Locks a file that grows under its name; whether another process has it.
pub(crate) fn is_held_elsewhere(file: &File) -> bool {
    matches!(hold(file), Held::Elsewhere)
}

/// Elsewhere a lock keeps others, or the writer itself, from more than is meant.
#[cfg(not(unix))]
fn hold(_: &File) -> Held {
    Held::Nowhere
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |metadata: &std::fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), path.symlink_metadata()), (Ok(a), Ok(b)) if of(&a) == of(&b))
}

#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> bool {
    true
}

/// Files of one run, which take their names together when all of them are whole, and the folders that it alone writes to.
/// Dropped before (all clones of it), nothing is left of them, and what stood there still does.
#[derive(Clone, Debug, Default)]
pub struct Drafts {
    group: Arc<Mutex<Group>>,
    live: bool,
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

    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().expect("nobody panics while files are named")
    }

    /// Begins one of the files.
    ///
    /// # Errors
    /// As [`Draft::create`].
    pub fn create(&self, path: &Path) -> Result<Draft, DraftError> {
        Ok(Draft { among: Some(self.clone()), ..Draft::create(path)? })
    }

    /// Begins one that grows under its name in a live run, and is as the others else.
    ///
    /// # Errors
    /// As [`Draft::create`].
    pub fn log(&self, path: &Path) -> Result<Draft, DraftError> {
        if self.live { Draft::growing(path) } else { self.create(path) }
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

    /// All files are whole: they take their names, in the order in which they were finished.
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
        let mut last = PathBuf::new();
        for (mut place, _) in std::mem::take(&mut group.whole) {
            place.stand()?;
            changed.append(&mut place.folders());
            last.clone_from(&place.path);
        }
        for folder in &mut group.folders {
            folder.made.clear();
        }
        sync(changed, &last)
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

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/rows.csv");
        let mut draft = Draft::create(&path).unwrap();
        draft.write_all(b"1\n").unwrap();
        assert!(!path.exists());
        draft.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"1\n");
        assert_eq!(names(path.parent().unwrap()), ["rows.csv"]);
    }

    #[test]
    fn a_dropped_draft_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, "old").unwrap();
        let mut draft = Draft::create(&path).unwrap();
        draft.write_all(b"new").unwrap();
        drop(draft);
        assert_eq!(
            (std::fs::read(&path).unwrap(), names(folder.path())),
            (b"old".to_vec(), vec!["rows.csv".into()])
        );
    }

    #[test]
    fn two_drafts_of_one_name_do_not_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(255));
        let (mut first, mut second) = (Draft::create(&path).unwrap(), Draft::create(&path).unwrap());
        first.write_all(b"first").unwrap();
        second.write_all(b"second").unwrap();
        second.commit().unwrap();
        first.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()).len(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_known_before_anything_is() {
        let folder = tempfile::tempdir().unwrap();
        let error = Draft::create(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("is a folder; name a file in it"), "{error}");
        if cfg!(unix) {
            let error = Draft::create(Path::new("/dev/null")).unwrap_err().to_string();
            assert!(error.starts_with("/dev/null: is no file that could be replaced"), "{error}");
        }
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let below = file.join("rows.csv");
        let error = Draft::create(&below).unwrap_err().to_string();
        assert!(error.starts_with(&below.display().to_string()) && !error.contains('\n'), "{error}");
    }

    /// What a killed run leaves: a temporary file that nobody holds.
    #[test]
    #[cfg(unix)]
    fn what_killed_runs_left_goes_and_what_others_write_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let others = [".rows.csv.tmp-x", ".rows.csv.tmp-7.keep", ".other.csv.tmp-7", "rows.csv.tmp-7"];
        for name in others.iter().chain(&[".rows.csv.tmp-4000000000", ".rows.csv.tmp-7-3"]) {
            std::fs::write(at(name), "").unwrap();
        }
        let written = Draft::create(&at("rows.csv")).unwrap();
        let waiting = Drafts::default();
        waiting.create(&at("rows.csv")).unwrap().commit().unwrap();
        let second = Draft::create(&at("rows.csv")).unwrap();
        let mut left = names(folder.path());
        left.retain(|name| !others.contains(&name.as_str()));
        assert_eq!(left.len(), 3, "{left:?}");
        second.commit().unwrap();
        written.commit().unwrap();
        waiting.commit().unwrap();
        assert_eq!(names(folder.path()).len(), others.len() + 1);
    }

    #[test]
    fn files_of_a_run_take_their_names_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "old").unwrap();
        std::fs::write(at("beside"), "old").unwrap();
        let begin = || {
            let drafts = Drafts::default();
            drafts.folder(folder.path()).unwrap();
            drafts.supersede(at("beside"));
            drafts.supersede(at("a"));
            for name in ["a", "new/deep/b", "new/c"] {
                let mut draft = drafts.create(&at(name)).unwrap();
                draft.write_all(b"new").unwrap();
                draft.commit().unwrap();
            }
            drafts
        };
        let sorted = || {
            let mut names = names(folder.path());
            names.sort();
            names
        };
        let open = begin().create(&at("new/other/d")).unwrap();
        assert!(!at("new/c").exists() && at("new/other").is_dir());
        drop(open);
        assert_eq!(
            (sorted(), std::fs::read(at("a")).unwrap()),
            (vec!["a".into(), "beside".into()], b"old".to_vec())
        );
        begin().commit().unwrap();
        assert_eq!(
            (sorted(), std::fs::read(at("a")).unwrap()),
            (vec!["a".into(), "new".into()], b"new".to_vec())
        );
        assert!(at("new/deep/b").is_file() && at("new/c").is_file());
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_is_one_runs_until_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("a/report");
        let first = Drafts::default();
        first.folder(&report).unwrap();
        first.folder(&report).unwrap();
        let error = Drafts::default().folder(&report).unwrap_err().to_string();
        assert!(error.contains("a/report: another run writes there") && !error.contains('\n'), "{error}");
        drop(first);
        assert!(names(folder.path()).is_empty(), "nothing was written: nothing is left");
        Drafts::default().folder(&report).unwrap();
    }
}
