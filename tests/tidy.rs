//! The rules of the house, as a test: which room may import which, and who may name which crate.

// What is not there fails the test.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Modules beside the rooms that every room may import.
const BESIDE: [&str; 5] = ["draft", "reading", "tally", "terminal", "threads"];

/// Rooms in the order of a packet's walk. A room imports only what stands before it, `row`, and what is [`BESIDE`] them.
const ROOMS: [&str; 12] = [
    "source", "packet", "flow", "row", "context", "encode", "detect", "model", "incident", "sink", "report",
    "evaluate",
];

/// Crates that only some files may name: the crate, and the starts of paths below `src`.
const NAMED_BY: [(&str, &[&str]); 7] = [
    ("timely", &["graph.rs", "run/workers.rs", "*/operator.rs"]),
    ("clap", &["cli/", "main.rs"]),
    ("indicatif", &["cli/"]),
    ("pcap_file", &["source/"]),
    ("etherparse", &["packet/"]),
    ("rayon", &["cli/", "detect/", "sink/"]),
    ("differential_dataflow", &["incident/"]),
];

fn source_files() -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&source).unwrap().to_string_lossy().replace('\\', "/");
                files.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    assert!(files.len() > 50, "the house was found");
    files.retain(|(name, _)| !name.ends_with("/tests.rs") && !name.contains("/tests/"));
    files
}

/// Lines of code: no comments, and nothing of a test module at the end of a file. What else is for tests alone, in the
/// middle of a file, is held to the rules.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    (1..).zip(text[..end].lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Rooms and modules that a line takes from the crate.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, start)| {
        let rest = &line[at + start.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn rooms_import_only_rooms_before_them() {
    let mut wrong = Vec::new();
    for (name, text) in source_files() {
        let Some((room, _)) = name.split_once('/') else { continue };
        let Some(place) = ROOMS.iter().position(|known| *known == room) else {
            let known = ["cli", "run", "spec"].contains(&room) || BESIDE.contains(&room);
            assert!(known, "{name}: a room that the walk does not know");
            continue;
        };
        for (number, line) in code(&text) {
            for import in imports(line) {
                let allowed = match ROOMS.iter().position(|known| *known == import) {
                    Some(other) => other <= place || import == "row",
                    None => BESIDE.contains(&import),
                };
                if !allowed {
                    wrong.push(format!("src/{name}:{number}: {room} imports {import}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let mut wrong = Vec::new();
    for (name, text) in source_files() {
        for (number, line) in code(&text) {
            for (krate, places) in NAMED_BY {
                let named = line.contains(&format!("{krate}::"));
                let allowed = places.iter().any(|place| match place.strip_prefix('*') {
                    Some(end) => name.ends_with(end),
                    None => name.starts_with(place),
                });
                if named && !allowed {
                    wrong.push(format!("src/{name}:{number}: names {krate}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_say_what_they_are_for() {
    for (name, text) in source_files() {
        assert!(text.starts_with("//! "), "src/{name} does not begin with what it is for");
    }
}

#[test]
fn files_stay_readable_in_one_sitting() {
    for (name, text) in source_files() {
        let lines = text.lines().count();
        assert!(lines <= 800, "src/{name} has {lines} lines: is it still one subject?");
    }
}

#[test]
fn there_is_no_room_for_leftovers() {
    for (name, _) in source_files() {
        for part in name.trim_end_matches(".rs").split('/') {
            assert!(!["utils", "util", "common", "helpers", "misc"].contains(&part), "src/{name}");
        }
    }
}
