//! What the README says of files that programs read, held against the code that writes them.

// What is not there fails the test.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use netweir::incident::line::FIELDS;

#[test]
fn each_key_of_an_incident_is_told() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let table = FIELDS.map(|(name, meaning)| format!("| `{name}` | {meaning} |\n")).concat();
    assert!(readme.contains(&table), "README.md is to have this table:\n{table}");
}
