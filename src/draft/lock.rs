//! Locks by which runs tell files and folders that somebody writes from those that were left behind.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// Whether a temporary file, which is new, is held against whoever removes those that were left behind.
pub(super) fn is_held(file: &File, temporary: &Path) -> bool {
    match hold(file) {
        // It may have been removed before it was held.
        Held::Here => is_same(file, temporary),
        Held::Elsewhere => false,
        // Where nothing can be held nothing is removed.
        Held::Nowhere => true,
    }
}

/// Removes temporary files of such names which nobody holds: those of runs that were killed. Gives whether there were any.
pub(super) fn remove_stale(folder: &Path, is_ours: impl Fn(&str) -> bool) -> bool {
    let mut removed = false;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file
            && entry.file_name().to_str().and_then(named).is_some_and(&is_ours)
            && let Ok(file) = File::open(entry.path())
            && matches!(hold(&file), Held::Here)
        {
            removed |= std::fs::remove_file(entry.path()).is_ok();
        }
    }
    removed
}

/// The name that a file would have had, by its temporary one.
fn named(temporary: &str) -> Option<&str> {
    let (name, process) = temporary.strip_prefix('.')?.rsplit_once(".tmp-")?;
    process.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-').then_some(name)
}

/// Whether a file or folder is locked for others.
#[cfg_attr(not(unix), expect(dead_code, reason = "nothing is locked there"))]
pub(super) enum Held {
    /// By the one who asks, until it is closed.
    Here,
    /// By somebody else.
    Elsewhere,
    /// The system or the file system does not offer it.
    Nowhere,
}

/// Locks a file or folder against others who ask too; the system forgets it with the process.
#[cfg(unix)]
pub(super) fn hold(file: &File) -> Held {
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
pub(super) fn hold(_: &File) -> Held {
    Held::Nowhere
}

/// Whether a path names this file, not a link to it.
pub(super) fn is_same(file: &File, path: &Path) -> bool {
    is_one(file, path.symlink_metadata())
}

/// Whether a path leads to this file, through links or not.
pub(super) fn leads_to(path: &Path, file: &File) -> bool {
    is_one(file, path.metadata())
}

#[cfg(unix)]
fn is_one(file: &File, there: io::Result<Metadata>) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), there), (Ok(a), Ok(b)) if of(&a) == of(&b))
}

#[cfg(not(unix))]
fn is_one(_: &File, _: io::Result<Metadata>) -> bool {
    true
}
