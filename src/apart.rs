//! What is written is nothing that is read: paths held against each other before anything is written.

use std::path::{Path, PathBuf};

use crate::draft::led_to;

/// A file, or a folder, and what it is, as messages say it.
pub type Named<'a> = (&'a str, &'a Path);

/// Paths that cannot be what they are meant to be. Each is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApartError {
    /// Something is read and would be written.
    #[error("{}: is read as {read} and would be replaced by {written}: name another file", path.display())]
    Read {
        /// Where it would be written.
        path: PathBuf,
        /// What is read.
        read: String,
        /// What would be written.
        written: String,
    },
    /// Two things would be written to one place.
    #[error("{}: would be written as {first} and as {second}: name another file for one of them", path.display())]
    Twice {
        /// Where.
        path: PathBuf,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Standard output.
    #[error("-: {written} cannot be written to standard output: name a file (./- is one of that name)")]
    Standard {
        /// What would be written.
        written: String,
    },
}

/// Holds what is written against what is read, and against each other.
///
/// # Errors
/// The first path that is both, however it is spelt, or that is standard output.
pub fn check(read: &[Named<'_>], written: &[Named<'_>]) -> Result<(), ApartError> {
    let places: Vec<Option<Place>> = written.iter().map(|(_, path)| Place::of(path)).collect();
    for (number, (name, path)) in written.iter().enumerate() {
        if *path == Path::new("-") {
            return Err(ApartError::Standard { written: (*name).to_owned() });
        }
        let Some(place) = &places[number] else { continue };
        let first = places[..number].iter().position(|other| other.as_ref().is_some_and(|o| o.is(place)));
        if let Some(first) = first {
            let (first, second) = (written[first].0.to_owned(), (*name).to_owned());
            return Err(ApartError::Twice { path: path.to_path_buf(), first, second });
        }
    }
    for (read, path) in read {
        let Some(place) = Place::of(path) else { continue };
        let both = places.iter().position(|written| written.as_ref().is_some_and(|w| w.is(&place)));
        if let Some(number) = both {
            let (written, path) = written[number];
            let (read, written) = ((*read).to_owned(), written.to_owned());
            return Err(ApartError::Read { path: path.to_owned(), read, written });
        }
    }
    Ok(())
}

/// Where a path leads.
struct Place {
    /// Without links, also of what is not there yet.
    path: PathBuf,
    /// Device and number of what is there.
    #[cfg(unix)]
    file: Option<(u64, u64)>,
}

impl Place {
    /// `None` for what no path leads to.
    fn of(path: &Path) -> Option<Place> {
        Some(Place {
            path: without_links(path)?,
            #[cfg(unix)]
            file: {
                use std::os::unix::fs::MetadataExt;
                path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
            },
        })
    }

    #[cfg(unix)]
    fn is(&self, other: &Place) -> bool {
        self.path == other.path || self.file.is_some() && self.file == other.file
    }

    #[cfg(not(unix))]
    fn is(&self, other: &Place) -> bool {
        self.path == other.path
    }
}

/// The path from the root without links, as far as there is anything.
fn without_links(path: &Path) -> Option<PathBuf> {
    if let Ok(there) = path.canonicalize() {
        return Some(there);
    }
    // A working folder that is gone lies nowhere.
    if path == Path::new(".") {
        return None;
    }
    // A link to what is not there yet: that is what will be made.
    let path = &led_to(path).ok()?;
    let parent = match path.parent()? {
        parent if parent == Path::new("") => Path::new("."),
        parent => parent,
    };
    Some(without_links(parent)?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            std::fs::write(at(name), "").unwrap();
        }
        let is_apart = |read: &str, written: &str| {
            check(&[("an input", &at(read))], &[("the rows", &at(written))])
                .map_err(|error| error.to_string())
        };
        is_apart("a", "b").unwrap();
        is_apart("a", "new/a").unwrap();
        is_apart("not there", "nor this").unwrap();
        let mut spellings = vec!["a".to_owned(), "./a".to_owned()];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("a", at("link")).unwrap();
            std::os::unix::fs::symlink(".", at("here")).unwrap();
            std::fs::hard_link(at("a"), at("twin")).unwrap();
            spellings.extend(["link", "here/a", "twin", "here/here/a"].map(str::to_owned));
        }
        for spelling in &spellings {
            let error = is_apart("a", spelling).unwrap_err();
            let expected = "is read as an input and would be replaced by the rows";
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn two_outputs_are_two_files_also_where_neither_is_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        check(&[], &[("the rows", &at("a")), ("the counters", &at("b"))]).unwrap();
        let twice = check(&[], &[("the rows", &at("new/a")), ("the counters", &at("./new/a"))]).unwrap_err();
        assert!(twice.to_string().contains("would be written as the rows and as the counters"), "{twice}");
        let standard = check(&[], &[("the rows", Path::new("-"))]).unwrap_err().to_string();
        assert!(standard.contains("standard output"), "{standard}");
        check(&[], &[("the rows", Path::new("./-"))]).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_what_it_leads_to_also_where_that_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (link, target) in [("link", "new/a"), ("further", "link"), ("loop", "pool"), ("pool", "loop")] {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        for link in ["link", "further"] {
            let both = [("the rows", at(link)), ("the counters", at("new/a"))];
            let twice = check(&[], &both.each_ref().map(|(what, path)| (*what, path.as_path()))).unwrap_err();
            assert!(twice.to_string().contains("would be written as the rows"), "{twice}");
        }
        check(&[("an input", &at("loop"))], &[("the rows", &at("pool"))]).unwrap();
    }
}
