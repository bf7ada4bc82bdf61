//! A file that appears under its name only when it is whole: what every room writes files with.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

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
}

/// Names that are tried where earlier, killed runs of the same process id left theirs behind.
const ATTEMPTS: u32 = 1000;

/// Longest part of the name that the temporary one repeats: file systems allow 255 bytes in all.
const NAME: usize = 200;

/// A file being written under a temporary name in the folder of its own. [`Draft::commit`] puts it in
/// the place of whatever has its name; dropped before, nothing is left of it.
#[derive(Debug)]
pub struct Draft {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl Draft {
    /// Begins a file. Missing folders are made.
    ///
    /// # Errors
    /// [`DraftError`] if the folder cannot be written to, or the name is that of a folder.
    pub fn create(path: &Path) -> Result<Draft, DraftError> {
        let failed = |source| DraftError::Io { path: path.to_owned(), source };
        let (Some(name), false) = (path.file_name(), path.is_dir()) else {
            return Err(DraftError::Folder { path: path.to_owned() });
        };
        let folder = folder(path);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let name = name.to_string_lossy();
        let name = &name[..name.floor_char_boundary(NAME)];
        let process = std::process::id();
        for attempt in 0..ATTEMPTS {
            let again = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            let temporary = folder.join(format!(".{name}.tmp-{process}{again}"));
            // A new file only: never through a link, never another run's.
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok(Draft { file, path: path.to_owned(), temporary, committed: false }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let what = format!("{} has too many files .{name}.tmp-*: remove them", folder.display());
        Err(failed(io::Error::new(ErrorKind::AlreadyExists, what)))
    }

    /// The name that the file will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All was written: brings it to the disk and then under its name.
    ///
    /// # Errors
    /// [`DraftError::Io`]; then nothing is left of it, and what had its name before still has it.
    pub fn commit(mut self) -> Result<(), DraftError> {
        self.settle().map_err(|source| DraftError::Io { path: self.path.clone(), source })
    }

    fn settle(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.temporary, &self.path)?;
        self.committed = true;
        // The name itself is safe once its folder is; other systems do not open folders as files.
        #[cfg(unix)]
        File::open(folder(&self.path))?.sync_all()?;
        Ok(())
    }
}

/// The folder of a path.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
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

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody is left to tell; a file that stays behind has a name that says what it is.
            let _ = std::fs::remove_file(&self.temporary);
        }
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
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let below = file.join("rows.csv");
        let error = Draft::create(&below).unwrap_err().to_string();
        assert!(error.starts_with(&below.display().to_string()) && !error.contains('\n'), "{error}");
    }
}
