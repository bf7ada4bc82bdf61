//! A file that appears under its name only when it is whole: what every room writes files with. Files of one run
//! take their names together.

mod astray;
mod group;
mod lock;
mod rights;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

pub(crate) use self::astray::Astray;
pub use self::group::Drafts;
pub(crate) use self::lock::is_held_elsewhere;
use self::lock::{is_held, is_same, leads_to, remove_stale};

/// Why a file cannot be begun or finished: one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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

/// A file being written under a temporary name in the folder of its own. [`Draft::commit`] puts it in
/// the place of whatever has its name, with the same rights; dropped before, nothing is left of it. Where the name is
/// a link, what it leads to is replaced.
#[derive(Debug)]
pub struct Draft {
    file: File,
    place: Place,
    among: Option<Drafts>,
    /// Whether it grows under its name, which others may take from it.
    grows: bool,
    /// Where it is noted that no other one begins under that name.
    astray: Astray,
    /// Whether what comes next begins a line: at the start, and whenever all before was flushed.
    between_lines: bool,
    /// Bytes of a line that has not ended.
    open_line: u64,
    /// A write failed, and what was written of a line was taken back.
    cut: bool,
}

/// Where a file is and will be. Dropped before it stands there, nothing is left of it.
#[derive(Debug)]
struct Place {
    /// As it was named.
    path: PathBuf,
    /// What the name leads to.
    target: PathBuf,
    temporary: PathBuf,
    /// Folders that were made for it, the outermost first.
    made: Vec<PathBuf>,
    stands: bool,
    /// What had its name before and was moved away.
    before: Option<Metadata>,
}

impl Draft {
    /// Begins a file. Missing folders are made. What killed runs left of a file of this name is removed.
    ///
    /// # Errors
    /// [`DraftError`] if the folder cannot be written to, or the name is that of a folder or leads to none.
    pub fn create(path: &Path) -> Result<Draft, DraftError> {
        let failed = DraftError::io(path);
        file_name(path)?;
        let target = led_to(path).map_err(&failed)?;
        let name = file_name(&target)?;
        let folder = folder(&target);
        let (path, made) = (path.to_owned(), make(folder)?);
        let temporary = PathBuf::new();
        let mut place = Place { path, target: target.clone(), temporary, made, stands: true, before: None };
        let name = &name[..name.floor_char_boundary(NAME)];
        remove_stale(folder, |left| left == name);
        let process = std::process::id();
        for attempt in 0..ATTEMPTS {
            let again = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            place.temporary = folder.join(format!(".{name}.tmp-{process}{again}"));
            match rights::create(&place.temporary, &target) {
                Ok(file) if is_held(&file, &place.temporary) => {
                    place.stands = false;
                    return Ok(Draft::over(file, place));
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

    /// Begins a file of lines of JSON that has its name from the start: one that is followed while it grows. It goes on
    /// behind the lines that it holds; one that a killed run has cut is taken back. Missing folders are made; through a link it is written to what that leads to. A file that was not there gets
    /// the rights of the one that it takes the place of, if there was one: who follows such a file may read the next.
    ///
    /// It may be rotated meanwhile: where others cut it short it goes on from there, and where they gave it another
    /// name, what is written after the next [`Write::flush`] goes to a new file of its own, with the same rights.
    ///
    /// # Errors
    /// As [`Draft::create`].
    pub fn growing(path: &Path, before: Option<&Metadata>) -> Result<Draft, DraftError> {
        is_file_or_free(path)?;
        let failed = DraftError::io(path);
        let target = led_to(path).map_err(&failed)?;
        make(folder(&target))?;
        let file = end_of(path, before).map_err(&failed)?;
        tail::mend(&target, &file).map_err(&failed)?;
        let [path, temporary] = [path; 2].map(Path::to_owned);
        let place = Place { path, target, temporary, made: Vec::new(), stands: true, before: None };
        Ok(Draft { grows: true, ..Draft::over(file, place) })
    }

    fn over(file: File, place: Place) -> Draft {
        let (among, astray) = (None, Astray::default());
        Draft { file, place, among, grows: false, astray, between_lines: true, open_line: 0, cut: false }
    }

    /// The same with the rights of the file that had its name before, if that was moved away.
    #[must_use]
    pub(crate) fn like(mut self, before: Option<&Metadata>) -> Draft {
        rights::inherit(&self.file, before);
        self.place.before = before.cloned();
        self
    }

    /// Whether the file is still where it was begun: nobody removed it, or moved its folder away.
    pub(crate) fn is_there(&self) -> bool {
        is_same(&self.file, &self.place.temporary)
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
    pub fn commit(mut self) -> Result<(), DraftError> {
        self.follow_name();
        let Draft { file, mut place, among, .. } = self;
        if !place.stands {
            rights::inherit(&file, place.target.metadata().ok().or(place.before.take()).as_ref());
        }
        synced(&file).map_err(DraftError::io(&place.path))?;
        if place.stands {
            return Ok(());
        }
        match among {
            Some(drafts) => {
                drafts.wait(place, file);
                Ok(())
            }
            None => {
                place.stand()?;
                sync(place.folders(), &place.path)
            }
        }
    }
}

impl Draft {
    /// The end of a line could not be written: its beginning goes too, and nothing follows.
    fn take_back(&mut self) {
        self.cut = true;
        let whole = self.file.metadata().map(|now| now.len().saturating_sub(self.open_line));
        // Where that fails as well, readers meet a line that is cut.
        let _ = whole.and_then(|whole| tail::cut(&self.place.target, &self.file, whole));
    }

    /// Where a growing file has lost its name, a new one begins. Where none can, the one that is open goes on, so that no
    /// line is lost while that is there; it is noted, as nobody looks for them in it.
    fn follow_name(&mut self) {
        if self.grows {
            let followed = self.begin_anew();
            self.astray.put(&self.place.path, followed);
        }
    }

    /// Begins a new file where the name leads to another one or to none, in a new folder where that is gone too.
    fn begin_anew(&mut self) -> Result<(), DraftError> {
        let path = &self.place.path;
        if leads_to(path, &self.file) {
            return Ok(());
        }
        is_file_or_free(path)?;
        let failed = DraftError::io(path);
        let target = led_to(path).map_err(&failed)?;
        let folder = folder(&target);
        if !folder.is_dir() {
            make(folder)?;
        }
        self.file = end_of(path, self.file.metadata().ok().as_ref()).map_err(&failed)?;
        Ok(())
    }
}

/// Opens a file to write behind all that it holds, whoever cuts it short meanwhile. One that is not there is made, with
/// the rights of the one before.
fn end_of(path: &Path, before: Option<&Metadata>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    match rights::create_like(&led_to(path)?, options.append(true), before) {
        Ok(file) => {
            rights::inherit(&file, before);
            Ok(file)
        }
        // That of whoever took the one before away, who may have given it rights of its own.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => OpenOptions::new().append(true).open(path),
        Err(error) => Err(error),
    }
}

impl Place {
    fn stand(&mut self) -> Result<(), DraftError> {
        std::fs::rename(&self.temporary, &self.target).map_err(DraftError::io(&self.path))?;
        self.stands = true;
        Ok(())
    }

    /// The folders whose entries changed by it.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let changed = self.made.iter().chain([&self.target]);
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
            File::open(folder).and_then(|folder| synced(&folder)).map_err(DraftError::io(path))?;
        }
    }
    Ok(())
}

/// Brings a file or folder to the disk, as far as the file system offers it: some that lie elsewhere do not.
fn synced(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => Ok(()),
        synced => synced,
    }
}

/// Checks that a name is that of a file, or leads to one, or is free.
///
/// # Errors
/// [`DraftError::Special`] for devices and pipes, [`DraftError::Folder`].
pub(crate) fn is_file_or_free(path: &Path) -> Result<(), DraftError> {
    file_name(path).map(drop)
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

/// Removes what killed runs left in a folder of files with such names, and the folder where nothing else lies in it. No other
/// run may write there meanwhile.
pub(crate) fn clear(folder: &Path, is_ours: impl Fn(&str) -> bool) {
    if remove_stale(folder, is_ours) {
        unmake(&[folder.to_owned()]);
    }
}

/// Makes a file that takes the place of another one, if there was one, with its rights.
///
/// # Errors
/// What the system says, and where the name is taken.
pub(crate) fn create_like(path: &Path, before: Option<&Metadata>) -> io::Result<File> {
    let file = rights::create_like(path, OpenOptions::new().write(true), before)?;
    rights::inherit(&file, before);
    Ok(file)
}

/// What a name leads to through links, whether or not there is anything: itself, if it is none.
///
/// # Errors
/// Links that lead in a circle, and those that the system does not follow, such as strangers' in a folder that everybody
/// writes to.
pub(crate) fn led_to(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    while path.symlink_metadata().is_ok_and(|there| there.is_symlink()) {
        match path.metadata() {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => path = folder(&path).join(path.read_link()?),
        }
    }
    Ok(path)
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

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.between_lines) {
            self.follow_name();
        }
        if !self.grows {
            return self.file.write(bytes);
        }
        if self.cut {
            return Err(io::Error::other("an earlier write failed"));
        }
        let written = self.file.write(bytes);
        match &written {
            Ok(count) => match memchr::memrchr(b'\n', &bytes[..*count]) {
                Some(end) => self.open_line = (count - end - 1) as u64,
                None => self.open_line += *count as u64,
            },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.take_back(),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.between_lines = true;
        self.file.flush()
    }
}
