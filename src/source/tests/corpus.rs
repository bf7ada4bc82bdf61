//! Captures that other people made, and what other readers say of them.

use std::collections::BTreeMap;

use super::*;

/// The fields of a CSV line; quotes may hold commas.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for sign in line.chars() {
        match sign {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            sign => fields.last_mut().unwrap().push(sign),
        }
    }
    fields
}

/// The lines of a CSV file by the names of its columns.
fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names = fields(lines.next().unwrap());
    lines.map(|line| names.iter().cloned().zip(fields(line)).collect()).collect()
}

/// Files without a reference, or read otherwise than it says: frames, whether damage is reported, and why.
const DECIDED: [(&str, usize, bool, &str); 5] = [
    (
        "clusterfuzz-testcase-minimized-FuzzTarget-5685520970809344",
        1,
        true,
        "reserved bits above the link type: masked, the rest is the packet room's to refuse; cut off",
    ),
    ("clusterfuzz-testcase-minimized-FuzzTarget-5752969003008000", 1, true, "the same"),
    (
        "difficult-test202.pcapng",
        8,
        false,
        "tcpdump stops where interfaces differ, tshark counts three custom blocks; as capinfos counts",
    ),
    ("pcap-invalid-version-1.pcap", 0, true, "version 1: nobody reads it"),
    ("test901.pcapng", 1, true, "the second section has version 2, which nobody reads"),
];

#[test]
fn corpus_gives_the_frames_of_other_readers_and_reports_their_damage() {
    let Some(folder) = shared("public/corpus") else { return };
    let mut wrong = Vec::new();
    let table = table(&folder.with_file_name("corpus.csv"));
    assert!(table.len() > 100);
    for row in &table {
        let name = &row["file"];
        let all = read(&[folder.join(name)], &spec(Duration::from_secs(1)));
        let damaged = all.error.is_some() || all.counts.truncated_files > 0;
        let decided = DECIDED.iter().find(|(file, ..)| file == name);
        let expected = match decided {
            Some((_, frames, damage, _)) => (*frames, *damage),
            None => {
                let damage = matches!(row["damage"].as_str(), "truncated" | "corrupt");
                (row["frames_reference"].parse().unwrap(), damage)
            }
        };
        if (all.frames.len(), damaged) != expected {
            wrong.push(format!(
                "{name}: {:?}, expected {expected:?}: {:?}",
                (all.frames.len(), damaged),
                all.error
            ));
        }
        let lax = read(&[folder.join(name)], &SourceSpec { lax: true, ..SourceSpec::default() });
        if lax.frames.len() < all.frames.len() || lax.error.is_some() {
            wrong.push(format!("{name}: lax gives {} frames, {:?}", lax.frames.len(), lax.error));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn attack_captures_give_their_frames() {
    let Some(folder) = shared("public/attacks") else { return };
    for row in table(&folder.with_file_name("attacks.csv")) {
        let path = folder.join(format!("{}.pcap.zst", row["name"]));
        let all = read(&[path], &spec(Duration::from_secs(1)));
        assert_eq!(all.error, None);
        assert_eq!(all.frames.len().to_string(), row["frames"], "{}", row["name"]);
        assert_eq!(all.counts.truncated_files, 0);
        assert_eq!(all.counts.bytes_read, all.counts.bytes_total);
        if row["backward_steps"] == "0" {
            assert_eq!(all.counts.late, 0, "{}", row["name"]);
        }
        let first = all.frames.first().map(|frame| frame.time.to_string());
        assert_eq!(first.as_deref(), Some(row["first_ns"].as_str()), "{}", row["name"]);
    }
}

#[test]
fn lab_captures_are_whole_and_follow_each_other() {
    let Some(folder) = shared("lab") else { return };
    for lab in ["lab1", "lab2"] {
        let paths: Vec<PathBuf> =
            ["train", "dev"].map(|part| folder.join(format!("{lab}-{part}.pcap.zst"))).to_vec();
        let both = read(&paths, &spec(Duration::from_secs(1)));
        assert_eq!((both.error, both.counts.truncated_files), (None, 0));
        let apart: usize = paths
            .iter()
            .map(|path| read(std::slice::from_ref(path), &SourceSpec::default()).frames.len())
            .sum();
        assert!(apart > 100_000, "{apart}");
        assert_eq!(both.frames.len(), apart);
    }
}
