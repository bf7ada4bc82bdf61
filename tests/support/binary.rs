//! The binary as a person runs it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::table::Table;

/// Runs the binary and gives what it said, whether or not it went well.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    let program = env!("CARGO_BIN_EXE_netweir");
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Runs the binary; what it says on standard error is shown when it fails.
pub(crate) fn succeed<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    let output = run(arguments);
    let shown: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "netweir {}: {}\n{said}", shown.join(" "), output.status);
    output
}

/// `netweir extract`: the rows of captures.
pub(crate) fn extract(inputs: &[PathBuf], folder: &Path, options: &[&str]) -> Table {
    let rows = folder.join("rows.parquet");
    let mut arguments: Vec<&OsStr> = vec!["extract".as_ref(), "-q".as_ref()];
    arguments.extend(inputs.iter().map(|path| path.as_os_str()));
    arguments.extend(["-o".as_ref(), rows.as_os_str()]);
    arguments.extend(options.iter().map(OsStr::new));
    succeed(&arguments);
    Table::from_parquet(&rows)
}

/// A file of the shared recordings; `None`, with a word on standard error, where they are not there.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}
