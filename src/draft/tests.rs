//! Drafts, alone and together, and what killed runs left of them.

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

#[cfg(unix)]
#[test]
fn a_growing_file_that_is_rotated_goes_on_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (path, earlier) = (folder.path().join("log"), folder.path().join("log.1"));
    std::fs::write(&path, "{}\n{\"cut").unwrap();
    let mut log = Draft::growing(&path, None).unwrap();
    let mut say = |line: &str| {
        let (half, rest) = line.split_at(line.len() / 2);
        log.write_all(half.as_bytes()).unwrap();
        log.write_all(rest.as_bytes()).unwrap();
        log.flush().unwrap();
    };
    say("first\n");
    std::fs::copy(&path, &earlier).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    say("second\n");
    assert_eq!(std::fs::read_to_string(&earlier).unwrap(), "{}\nfirst\n", "behind those of an earlier run");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n", "copied and cut short");
    std::fs::rename(&path, &earlier).unwrap();
    say("third\n");
    assert_eq!(std::fs::read_to_string(&earlier).unwrap(), "second\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n", "moved");
    std::fs::rename(&path, &earlier).unwrap();
    std::fs::write(&path, "made by whoever moved it\n").unwrap();
    say("fourth\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "made by whoever moved it\nfourth\n");
    std::fs::rename(&path, &earlier).unwrap();
    std::fs::create_dir(&path).unwrap();
    say("fifth\n");
    assert!(std::fs::read_to_string(&earlier).unwrap().ends_with("fifth\n"), "no other file can be made");
    std::fs::remove_dir(&path).unwrap();
    log.commit().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "there when the run has ended");
}

#[test]
fn a_log_that_goes_on_where_nobody_looks_is_told_of_until_it_has_its_name_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, earlier) = (folder.path().join("log"), folder.path().join("log.1"));
    let drafts = Drafts::live();
    let mut log = drafts.log(&path, None).unwrap();
    let mut say = |line: &str| {
        log.write_all(line.as_bytes()).unwrap();
        log.flush().unwrap();
        drafts.astray().lines()
    };
    assert_eq!(say("first\n"), [""; 0]);
    std::fs::rename(&path, &earlier).unwrap();
    assert_eq!(say("second\n"), [""; 0], "a new one has begun");
    std::fs::rename(&path, &earlier).unwrap();
    std::fs::create_dir(&path).unwrap();
    let told = say("third\n");
    assert!(told[0].starts_with(&format!("{}: is a folder", path.display())), "{told:?}");
    assert!(told[0].contains("lines still go to the file that was moved away"), "{told:?}");
    assert_eq!(told, say("fourth\n"));
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(say("fifth\n"), [""; 0]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "fifth\n");
    assert_eq!(std::fs::read_to_string(&earlier).unwrap(), "second\nthird\nfourth\n");
}

#[test]
fn a_growing_file_that_can_take_no_more_ends_with_a_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = Draft::growing(&path, None).unwrap();
    log.write_all(b"first\nsec").unwrap();
    log.write_all(b"ond\nthi").unwrap();
    log.write_all(b"r").unwrap();
    log.take_back();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond\n");
    assert!(log.write_all(b"d\n").is_err(), "the rest of a line would follow another");
    drop(log);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond\n");
}

#[cfg(unix)]
#[test]
fn a_growing_file_whose_folder_is_removed_goes_on_in_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out/of/log");
    let mut log = Draft::growing(&path, None).unwrap();
    log.write_all(b"first\n").unwrap();
    log.flush().unwrap();
    std::fs::remove_dir_all(folder.path().join("out")).unwrap();
    log.write_all(b"second\n").unwrap();
    log.flush().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
}

#[cfg(unix)]
#[test]
fn a_growing_file_is_followed_through_links_and_the_next_has_its_rights() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    symlink("deep/log", at("link")).unwrap();
    let mut log = Draft::growing(&at("link"), None).unwrap();
    let mut say = |line: &str| {
        log.write_all(line.as_bytes()).unwrap();
        log.flush().unwrap();
    };
    say("first\n");
    std::fs::set_permissions(at("deep/log"), std::fs::Permissions::from_mode(0o640)).unwrap();
    say("second\n");
    std::fs::rename(at("deep/log"), at("deep/log.1")).unwrap();
    say("third\n");
    assert_eq!(std::fs::read_to_string(at("deep/log.1")).unwrap(), "first\nsecond\n");
    assert_eq!(std::fs::read_to_string(at("deep/log")).unwrap(), "third\n");
    assert_eq!(mode(&at("deep/log")), 0o640);
    std::fs::rename(at("deep/log"), at("deep/log.2")).unwrap();
    symlink("/dev/null", at("deep/log")).unwrap();
    say("fourth\n");
    assert_eq!(std::fs::read_to_string(at("deep/log.2")).unwrap(), "third\nfourth\n", "a device takes none");
    assert!(at("link").symlink_metadata().unwrap().is_symlink());
}

#[cfg(unix)]
#[test]
fn a_line_of_a_growing_file_is_in_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, earlier) = (folder.path().join("log"), folder.path().join("log.1"));
    let mut log = Draft::growing(&path, None).unwrap();
    log.write_all(b"one ").unwrap();
    std::fs::rename(&path, &earlier).unwrap();
    log.write_all(b"line\n").unwrap();
    log.flush().unwrap();
    log.write_all(b"another\n").unwrap();
    assert_eq!(std::fs::read_to_string(&earlier).unwrap(), "one line\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "another\n");
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
    if cfg!(unix) {
        let error = Draft::create(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(error.starts_with("/dev/null: is no file that could be replaced"), "{error}");
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("rows.csv");
    let error = Draft::create(&below).unwrap_err().to_string();
    assert!(error.starts_with(&below.display().to_string()) && !error.contains('\n'), "{error}");
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&path.symlink_metadata().unwrap()) & 0o7777
}

#[cfg(unix)]
#[test]
fn what_takes_the_place_of_a_file_is_open_to_no_more_than_that_was() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let allow = |name: &str, rights: u32| {
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(rights)).unwrap();
    };
    for rights in [0o600, 0o640, 0o444, 0o666, 0o755] {
        std::fs::write(at("model"), "old").unwrap();
        allow("model", rights);
        let mut draft = Draft::create(&at("model")).unwrap();
        let meanwhile = mode(&draft.place.temporary);
        assert_eq!(meanwhile & !rights, 0, "{rights:o}: {meanwhile:o} while it is written");
        draft.write_all(b"new").unwrap();
        draft.commit().unwrap();
        assert_eq!((std::fs::read(at("model")).unwrap(), mode(&at("model"))), (b"new".to_vec(), rights));
        std::fs::remove_file(at("model")).unwrap();
    }
    std::fs::write(at("a"), "old").unwrap();
    allow("a", 0o640);
    let drafts = Drafts::default();
    let draft = drafts.create(&at("a")).unwrap();
    allow("a", 0o600);
    draft.commit().unwrap();
    drafts.commit().unwrap();
    assert_eq!(mode(&at("a")), 0o600, "closed while it was written");
}

#[cfg(unix)]
#[test]
fn a_link_stays_and_what_it_leads_to_is_replaced() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("models")).unwrap();
    std::fs::write(at("models/office"), "old").unwrap();
    symlink("models/office", at("office")).unwrap();
    symlink("office", at("current")).unwrap();
    symlink("new/deep/model", at("dangling")).unwrap();

    let mut draft = Draft::create(&at("current")).unwrap();
    draft.write_all(b"new").unwrap();
    assert_eq!(draft.path(), at("current"));
    assert_eq!(names(&at("models")).len(), 2, "beside what it will replace");
    drop(draft);
    assert_eq!(names(&at("models")), ["office"]);
    drop(Draft::create(&at("dangling")).unwrap());
    assert!(!at("new").exists());

    for link in ["current", "dangling"] {
        let mut draft = Draft::create(&at(link)).unwrap();
        draft.write_all(b"new").unwrap();
        draft.commit().unwrap();
        assert!(at(link).symlink_metadata().unwrap().is_symlink(), "{link}");
    }
    assert_eq!(std::fs::read(at("models/office")).unwrap(), b"new");
    assert_eq!(std::fs::read(at("new/deep/model")).unwrap(), b"new");
    assert_eq!((names(&at("models")).len(), names(&at("new/deep")).len()), (1, 1));
    assert_eq!(names(folder.path()).len(), 5, "nothing is left beside the links");
}

#[cfg(unix)]
#[test]
fn links_to_what_is_no_file_are_told_by_their_names() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (link, target) in [("here", "."), ("null", "/dev/null"), ("loop", "pool"), ("pool", "loop")] {
        symlink(target, at(link)).unwrap();
    }
    for (link, expected) in [
        ("here", "here: is a folder; name a file in it"),
        ("null", "null: is no file that could be replaced: name another"),
        ("loop", "loop: Too many levels of symbolic links"),
    ] {
        let error = Draft::create(&at(link)).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    assert_eq!(names(folder.path()).len(), 4);
}

/// What a killed run leaves: a temporary file that nobody holds.
#[test]
#[cfg(unix)]
fn what_killed_runs_left_goes_and_what_others_write_stays() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let others = [".rows.csv.tmp-x", ".rows.csv.tmp-7.keep", ".other.csv.tmp-7", "rows.csv.tmp-7"];
    for name in others.iter().chain(&[".rows.csv.tmp-4000000000", ".rows.csv.tmp-7-3"]) {
        std::fs::write(at(name), "").unwrap();
    }
    let written = Draft::create(&at("rows.csv")).unwrap();
    let waiting = Drafts::default();
    waiting.create(&at("rows.csv")).unwrap().commit().unwrap();
    let second = Draft::create(&at("rows.csv")).unwrap();
    let mut left = names(folder.path());
    left.retain(|name| !others.contains(&name.as_str()));
    assert_eq!(left.len(), 3, "{left:?}");
    second.commit().unwrap();
    written.commit().unwrap();
    waiting.commit().unwrap();
    assert_eq!(names(folder.path()).len(), others.len() + 1);
}

#[test]
fn files_of_a_run_take_their_names_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a"), "old").unwrap();
    std::fs::write(at("beside"), "old").unwrap();
    let begin = || {
        let drafts = Drafts::default();
        drafts.folder(folder.path()).unwrap();
        drafts.supersede(at("beside"));
        drafts.supersede(at("a"));
        for name in ["a", "new/deep/b", "new/c"] {
            let mut draft = drafts.create(&at(name)).unwrap();
            draft.write_all(b"new").unwrap();
            draft.commit().unwrap();
        }
        drafts
    };
    let sorted = || {
        let mut names = names(folder.path());
        names.sort();
        names
    };
    let open = begin().create(&at("new/other/d")).unwrap();
    assert!(!at("new/c").exists() && at("new/other").is_dir());
    drop(open);
    assert_eq!(
        (sorted(), std::fs::read(at("a")).unwrap()),
        (vec!["a".into(), "beside".into()], b"old".to_vec())
    );
    begin().commit().unwrap();
    assert_eq!(
        (sorted(), std::fs::read(at("a")).unwrap()),
        (vec!["a".into(), "new".into()], b"new".to_vec())
    );
    assert!(at("new/deep/b").is_file() && at("new/c").is_file());
}

#[test]
#[cfg(unix)]
fn a_folder_is_one_runs_until_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("a/report");
    let first = Drafts::default();
    first.folder(&report).unwrap();
    first.folder(&report).unwrap();
    let error = Drafts::default().folder(&report).unwrap_err().to_string();
    assert!(error.contains("a/report: another run writes there") && !error.contains('\n'), "{error}");
    drop(first);
    assert!(names(folder.path()).is_empty(), "nothing was written: nothing is left");
    Drafts::default().folder(&report).unwrap();
}
