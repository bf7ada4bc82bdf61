//! Who may read and write a file passes to the one that takes its place.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a new file beside the one that it is to replace: never through a link, never another run's. At no time is it
/// open to more than that one is; who opened it while it was empty could read on.
pub(super) fn create(temporary: &Path, replaced: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    create_like(temporary, &mut options, replaced.metadata().ok().as_ref())
}

/// Opens a new file that takes the place of another one, if there was one, open to no more than that was.
pub(super) fn create_like(
    path: &Path,
    options: &mut OpenOptions,
    replaced: Option<&Metadata>,
) -> io::Result<File> {
    #[cfg(unix)]
    if let Some(replaced) = replaced {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(unix::of_any_group(unix::rights(replaced)));
    }
    #[cfg(not(unix))]
    let _ = replaced;
    options.create_new(true).open(path)
}

/// Gives a file the rights of the one that it replaces, if there is one. Where the system refuses it keeps those that it
/// was made with, which are no wider.
pub(super) fn inherit(file: &File, replaced: Option<&Metadata>) {
    #[cfg(unix)]
    if let Some(replaced) = replaced {
        unix::inherit(file, replaced);
    }
    #[cfg(not(unix))]
    let _ = (file, replaced);
}

#[cfg(unix)]
mod unix {
    use std::fs::{File, Metadata, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    /// What owner, group and others may do, without what makes programs run as somebody else.
    pub(super) fn rights(of: &Metadata) -> u32 {
        of.mode() & 0o777
    }

    /// The rights where the group may be another one: it gets no more than others have.
    pub(super) fn of_any_group(rights: u32) -> u32 {
        rights & (0o707 | (rights & 0o007) << 3)
    }

    pub(super) fn inherit(file: &File, old: &Metadata) {
        let Ok(new) = file.metadata() else { return };
        // Rights mean little without whom they are given to: a service that reads by its group would be locked out
        // by root. Others than root may pass a file to groups of their own at most.
        if (old.uid(), old.gid()) != (new.uid(), new.gid())
            && fchown(file, Some(old.uid()), Some(old.gid())).is_err()
        {
            let _ = fchown(file, None, Some(old.gid()));
        }
        let is_same_group = file.metadata().is_ok_and(|now| now.gid() == old.gid());
        let rights = if is_same_group { rights(old) } else { of_any_group(rights(old)) };
        let _ = file.set_permissions(Permissions::from_mode(rights));
    }
}
