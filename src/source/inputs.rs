//! From what a person names to what is read: files, directories, patterns, standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use walkdir::{DirEntry, WalkDir};

pub use super::ahead::Asked;
use super::ahead::{Ahead, Named};
use super::stored::Stored;
use super::{SourceError, kinds, pcap, pcapng};
use crate::reading::guarded;
use crate::tally::Stop;

/// What standard input is called in messages.
const STANDARD_INPUT: &str = "standard input";
/// How a Parquet file begins.
const PARQUET: &[u8] = b"PAR1";

/// How files begin that others pack captures in, and what packs them.
const PACKED: [(&[u8], &str); 5] = [
    (b"\xfd7zX", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip, as models are"),
    (b"7z\xbc\xaf", "7-Zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
];

/// How names of captures end, and what packing one adds.
const CAPTURE_NAMES: [&str; 3] = ["pcap", "pcapng", "cap"];
const PACKED_NAMES: [&str; 7] = ["gz", "zst", "xz", "bz2", "zip", "7z", "lz4"];

/// What is read.
#[derive(Debug)]
pub enum Found {
    /// Frames; at least one.
    Captures(Vec<Input>),
    /// Rows; at least one file.
    Rows(Vec<PathBuf>),
}

/// What is read, and what was named beside it in vain.
#[derive(Debug)]
pub struct Search {
    /// What is read.
    pub found: Found,
    /// Files that had been found before, by this name or another.
    pub again: Vec<PathBuf>,
    /// Files that are neither captures nor rows, in directories and patterns.
    pub passed_over: u64,
}

/// A capture to be read.
#[derive(Clone, Debug)]
pub struct Input {
    path: PathBuf,
    way: Way,
    /// Whether the run is to end.
    stop: Stop,
    /// What that is for a pipe.
    asked: Asked,
}

/// How an input is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// A regular file: it can be opened twice and has a size.
    File,
    /// A pipe or device with a name.
    Pipe,
    /// Standard input.
    Standard,
}

impl Input {
    fn new(path: PathBuf, way: Way) -> Input {
        Input { path, way, stop: Stop::default(), asked: Asked::IsAnError }
    }

    /// The same, where what comes through a pipe is waited for until `stop` is due; what it is then to be `asked` to end.
    #[must_use]
    pub fn until(self, stop: &Stop, asked: Asked) -> Input {
        Input { stop: stop.clone(), asked, ..self }
    }

    /// Whether its writer says when it ends.
    pub fn is_pipe(&self) -> bool {
        self.way != Way::File
    }

    /// What it is called in messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can be opened again.
    pub(super) fn is_file(&self) -> bool {
        self.way == Way::File
    }

    /// Bytes as stored, if known.
    pub(super) fn size(&self) -> Option<u64> {
        if !self.is_file() {
            return None;
        }
        fs::metadata(&self.path).ok().map(|metadata| metadata.len())
    }

    pub(super) fn open(&self, read: Arc<AtomicU64>) -> Result<Stored, SourceError> {
        let waited = |pipe| Ahead::of_pipe(pipe, self.stop.clone(), self.asked).map(Box::new);
        let stored = match self.way {
            Way::File => Stored::open(&self.path, read),
            Way::Pipe => waited(Box::new(Named::new(&self.path))).and_then(|pipe| Stored::new(pipe, read)),
            Way::Standard => waited(Box::new(std::io::stdin())).and_then(|pipe| Stored::new(pipe, read)),
        };
        stored.map_err(|source| SourceError::Io { path: self.path.clone(), source })
    }

    /// The error for an input that begins so and is no capture.
    pub(super) fn refuse(&self, magic: &[u8]) -> SourceError {
        let path = self.path.clone();
        if magic.is_empty() {
            return SourceError::Empty { path };
        }
        if magic == PARQUET && !self.is_file() {
            return SourceError::PipedRows { path };
        }
        if let Some((_, packer)) = PACKED.iter().find(|(beginning, _)| magic.starts_with(beginning)) {
            return SourceError::Packed { path, packer };
        }
        if let Some((kind, advice)) = self.as_table() {
            return SourceError::Table { path, kind, advice };
        }
        let bytes: Vec<String> = magic.iter().map(|byte| format!("{byte:02x}")).collect();
        SourceError::Unknown { path, magic: bytes.join(" ") }
    }

    /// What a table of another format is, and how it becomes one that is read; none for other files, and for those that
    /// have the name of a capture.
    fn as_table(&self) -> Option<(&'static str, String)> {
        if !self.is_file() || kind_by_name(&self.path) != Kind::Other {
            return None;
        }
        let mut beginning = Vec::new();
        let stored = self.open(Arc::default()).ok()?;
        stored.take(kinds::BEGINNING as u64).read_to_end(&mut beginning).ok()?;
        let kind = kinds::named(&beginning);
        let parquet = without_packing(&self.path).with_extension("parquet");
        let advice = match kind {
            kinds::ARROW => "rows are read from Parquet; pyarrow or Polars make that of it".to_owned(),
            kinds::TEXT | kinds::JSON => format!(
                "make Parquet of it, e.g. duckdb -c \"COPY (FROM '{}') TO '{}'\"",
                self.path.display(),
                parquet.display()
            ),
            _ => return None,
        };
        Some((kind, advice))
    }
}

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Capture,
    Rows,
    Other,
}

/// What was found so far, in order.
#[derive(Default)]
struct Finding {
    captures: Vec<Input>,
    rows: Vec<PathBuf>,
    /// Files that are there, wherever links to them lie.
    there: BTreeSet<PathBuf>,
    /// Files of a kind that is read, each as often as it was named.
    named: usize,
    /// Those of them that were there already, and as what they were named again.
    again: BTreeMap<PathBuf, PathBuf>,
    /// Files of other kinds in directories and patterns.
    passed_over: BTreeSet<PathBuf>,
}

impl Finding {
    /// Adds a file that was named.
    fn file(&mut self, path: &Path) -> Result<(), SourceError> {
        let input = Input::new(path.to_owned(), Way::File);
        let (magic, _) = beginning(&input)?;
        match kind(&magic) {
            Kind::Other => Err(input.refuse(&magic)),
            kind => {
                self.add(input, kind);
                Ok(())
            }
        }
    }

    /// Adds a file that nobody named, if it is of a kind that is read, or was: a compressed file that is cut off
    /// before that can be told, and one that begins otherwise than its name says. Who opens it says what is wrong,
    /// or counts it.
    fn met(&mut self, path: &Path) -> Result<(), SourceError> {
        let input = Input::new(path.to_owned(), Way::File);
        let (magic, cut) = beginning(&input)?;
        let kind = match kind(&magic) {
            Kind::Other if cut => Kind::Capture,
            Kind::Other if !magic.is_empty() => kind_by_name(path),
            kind => kind,
        };
        self.add(input, kind);
        Ok(())
    }

    /// A pipe has one reader, by whatever name.
    fn pipe(&mut self, input: Input, path: &Path) {
        #[cfg(unix)]
        let place = {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(path).map(|there| format!("pipe {} {}", there.dev(), there.ino()).into()).ok()
        };
        #[cfg(not(unix))]
        let place = None;
        let place: PathBuf = place.unwrap_or_else(|| path.to_owned());
        match self.there.insert(place.clone()) {
            true => self.captures.push(input),
            false => _ = self.again.entry(place).or_insert(input.path),
        }
    }

    /// A file that is there already, by another name or in a directory that holds it, is not read twice.
    fn add(&mut self, input: Input, kind: Kind) {
        let place = fs::canonicalize(&input.path).unwrap_or_else(|_| input.path.clone());
        if kind == Kind::Other {
            self.passed_over.insert(place);
            return;
        }
        self.named += 1;
        if self.there.contains(&place) {
            self.again.entry(place).or_insert(input.path);
            return;
        }
        self.there.insert(place);
        match kind {
            Kind::Capture => self.captures.push(input),
            Kind::Rows => self.rows.push(input.path),
            Kind::Other => {}
        }
    }

    /// Adds what lies in a directory and below it, in the order of names. Names that begin with a dot or
    /// an underscore are passed over: other tools' notes and what is still being written.
    fn directory(&mut self, path: &Path) -> Result<(), SourceError> {
        let kept = |entry: &DirEntry| {
            let name = entry.file_name().as_encoded_bytes();
            entry.depth() == 0 || !(name.starts_with(b".") || name.starts_with(b"_"))
        };
        let walk = WalkDir::new(path).follow_links(true).sort_by_file_name();
        for entry in walk.into_iter().filter_entry(kept) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => self.met(entry.path())?,
                Ok(_) => {}
                // A link to a directory that holds it: everything there is met anyway.
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => {
                    let path = error.path().unwrap_or(path).to_owned();
                    let source = error.into_io_error().unwrap_or_else(|| ErrorKind::Other.into());
                    return Err(SourceError::Io { path, source });
                }
            }
        }
        Ok(())
    }

    /// Adds what a pattern matches, in the order of names.
    fn pattern(&mut self, pattern: &str) -> Result<(), SourceError> {
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        // The crate panics where it meets a name that is not UTF-8.
        let unnamed = |_| SourceError::Unnamed { pattern: pattern.to_owned() };
        let begun = guarded(|| Ok::<_, Infallible>(glob::glob_with(pattern, options))).map_err(unnamed)?;
        let mut paths = begun.map_err(|error| SourceError::Pattern {
            pattern: pattern.to_owned(),
            what: error.msg,
            at: error.pos,
        })?;
        while let Some(path) = guarded(|| Ok::<_, Infallible>(paths.next())).map_err(unnamed)? {
            let path = path.map_err(|error| {
                let path = error.path().to_owned();
                SourceError::Io { path, source: error.into() }
            })?;
            let metadata =
                fs::metadata(&path).map_err(|source| SourceError::Io { path: path.clone(), source })?;
            if metadata.is_dir() {
                self.directory(&path)?;
            } else if metadata.is_file() {
                self.met(&path)?;
            }
        }
        Ok(())
    }

    /// Adds what a person named.
    fn given(&mut self, given: &str) -> Result<(), SourceError> {
        if given == "-" {
            self.pipe(Input::new(STANDARD_INPUT.into(), Way::Standard), Path::new("/dev/stdin"));
            return Ok(());
        }
        let path = Path::new(given);
        let before = self.named;
        let pattern = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => return self.file(path),
            Ok(metadata) if metadata.is_dir() => {
                self.directory(path)?;
                false
            }
            Ok(_) => {
                self.pipe(Input::new(path.to_owned(), Way::Pipe), path);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::NotFound && given.contains(['*', '?', '[']) => {
                self.pattern(given)?;
                true
            }
            Err(source) => return Err(SourceError::Io { path: path.to_owned(), source }),
        };
        if self.named == before {
            return Err(SourceError::Nothing { given: given.to_owned(), pattern });
        }
        Ok(())
    }
}

/// The first bytes of an input's content, and whether it is cut off before them.
fn beginning(input: &Input) -> Result<(Vec<u8>, bool), SourceError> {
    let stored = input.open(Arc::default())?;
    Ok((stored.magic().to_vec(), stored.cut()))
}

/// Whether a name ends so, in letters of either case.
fn ends_in(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|found| known.iter().any(|known| known.eq_ignore_ascii_case(found)))
}

/// A name less what packing a file adds to it.
fn without_packing(path: &Path) -> PathBuf {
    if ends_in(path, &PACKED_NAMES) { path.with_extension("") } else { path.to_owned() }
}

/// What a file's name says that it holds.
fn kind_by_name(path: &Path) -> Kind {
    if ends_in(&without_packing(path), &CAPTURE_NAMES) {
        Kind::Capture
    } else if ends_in(path, &["parquet"]) {
        Kind::Rows
    } else {
        Kind::Other
    }
}

fn kind(magic: &[u8]) -> Kind {
    if magic == PARQUET {
        Kind::Rows
    } else if pcap::is_pcap(magic) || pcapng::is_pcapng(magic) {
        Kind::Capture
    } else {
        Kind::Other
    }
}

/// Finds what is to be read: files, directories (with all below them), patterns (`*`, `?`, `[a-z]`, `**`), `-`
/// for standard input. The content decides what a file is, not its name; inside a directory or pattern what is
/// neither capture nor rows is passed over, unless it is cut off before that can be told, or has the name of one.
/// The order is that given, inside a directory or pattern that of the names; a file that is named twice
/// is read once, at its first place, and told.
///
/// # Errors
/// [`SourceError`] if nothing is named, a named file cannot be read or is neither capture nor rows, a directory
/// or pattern holds neither, or there are both captures and rows.
pub fn find(inputs: &[String]) -> Result<Search, SourceError> {
    let mut finding = Finding::default();
    for given in inputs {
        finding.given(given)?;
    }
    let found = match (finding.captures.first(), finding.rows.first()) {
        (None, None) => Err(SourceError::NoInput),
        (Some(capture), Some(rows)) => {
            Err(SourceError::Mixed { capture: capture.path.clone(), rows: rows.clone() })
        }
        (Some(_), None) => Ok(Found::Captures(finding.captures)),
        (None, Some(_)) => Ok(Found::Rows(finding.rows)),
    };
    Ok(Search {
        found: found?,
        again: finding.again.into_values().collect(),
        passed_over: finding.passed_over.len() as u64,
    })
}
