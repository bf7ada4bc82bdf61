//! Help, pipelines by name, and what the binary says of itself.

use std::path::Path;

use super::{Place, error, fine};
use crate::support::binary::succeed;

#[test]
fn an_unknown_key_is_named_with_line_column_and_nearest() {
    let place = Place::new();
    let pipeline = place.write("office.toml", "name = \"office\"\n[flow]\n  idel = \"60s\"\n");
    let said = error(&[&"check", &pipeline]);
    assert!(said.contains("office.toml:3:3: unknown key `idel`: did you mean `idle`?"), "{said}");
    let pipeline = place.write("window.toml", "[flow]\nwindow = \"0s\"\n");
    let said = error(&[&"run", &pipeline]);
    assert!(said.contains("window.toml") && said.contains("window = 0ns"), "{said}");
    let pipeline = place.write("context.toml", "[context]\ncolumns = [\"ctx_src_w1_peer\"]\n");
    let said = error(&[&"check", &pipeline]);
    assert!(said.contains("ctx_src_w1_peers"), "{said}");
    let said = error(&[&"check", &place.at("nowhere.toml")]);
    assert!(said.contains("nowhere.toml: No such file"), "{said}");
}

#[test]
fn a_command_line_that_cannot_be_read_is_told_in_one_line() {
    let said = error(&[&"detekt"]);
    assert!(
        said.contains("'detekt'") && said.contains("'detect'") && said.contains("netweir --help"),
        "{said}"
    );
    let said = error(&[&"detect", &"x.pcap", &"-m", &"x.netweir"]);
    assert!(said.contains("--output <OUT>") && said.contains("netweir detect --help"), "{said}");
    for workers in ["0", "1000000"] {
        let said = error(&[&"train", &"x.pcap", &"-m", &"x.netweir", &"-w", &workers]);
        assert!(
            said.contains(workers) && said.contains(": 1 to ") && said.contains("on this machine"),
            "{said}"
        );
    }
}

#[test]
fn help_completions_and_manual_come_from_the_same_definitions() {
    let help = String::from_utf8(succeed(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("netweir demo"));
    for verb in [
        "extract", "train", "detect", "watch", "explain", "run", "check", "features", "inspect", "evaluate",
        "demo",
    ] {
        assert!(help.contains(verb), "{verb}");
        let own = String::from_utf8(succeed(&[verb, "-h"]).stdout).unwrap();
        assert!(own.lines().count() <= 40, "{verb}: {own}");
    }
    let bash = String::from_utf8(succeed(&["completions", "bash"]).stdout).unwrap();
    assert!(bash.contains("--workers") && bash.contains("watch"));
    let manual = String::from_utf8(succeed(&["man"]).stdout).unwrap();
    assert!(manual.contains(".TH \"NETWEIR\" 1"), "{manual}");
}

#[test]
fn features_lists_every_column_of_rows() {
    let json = succeed(&["features", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let names: Vec<&str> =
        json["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    for column in netweir::row::COLUMNS {
        assert!(names.contains(&column.name), "{}", column.name);
    }
    assert!(names.contains(&"ctx_src_w30_peers"));
    for column in netweir::detect::ADDED {
        assert!(names.contains(&column), "{column}");
    }
    let text = String::from_utf8(succeed(&["features"]).stdout).unwrap();
    assert!(text.contains("fwd_len_mean"));
}

#[test]
fn check_prints_the_graph_of_every_pipeline_that_ships() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut pipelines = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() != Some("toml".as_ref()) {
            continue;
        }
        let output = fine(&[&"check", &path]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("is well formed") && text.contains("-> ends"), "{text}");
        assert!(text.contains("-> incident"), "{text}");
        pipelines += 1;
    }
    assert!(pipelines >= 5);
}

#[test]
fn check_refuses_ends_that_run_refuses() {
    let place = Place::new();
    for (ends, says) in [
        (
            "model = \"m.netweir\"",
            "[ends] model needs report, the folder where scores and alerts go, or scores",
        ),
        ("report = \"out\"", "[ends] report and scores need model: the file that scores"),
        ("fit = \"m.netweir\"\nwrite_pcap = \"x.pcap\"", "[ends] write_pcap is for a live interface"),
    ] {
        let pipeline = place.write("p.toml", format!("[ends]\n{ends}\n"));
        let said = error(&[&"check", &pipeline]);
        assert!(said.starts_with(says), "{said}");
        assert_eq!(error(&[&"run", &pipeline]), said);
    }
    // What is left to the verb, and what is whole.
    for (ends, says) in [
        ("columns = [\"src_ip\"]", "none in the file"),
        ("model = \"m.netweir\"\nreport = \"out\"", "scores, alerts and summary by m.netweir to out"),
        ("model = \"m.netweir\"\nscores = \"s.parquet\"", "scores by m.netweir to s.parquet"),
    ] {
        let pipeline = place.write("p.toml", format!("[ends]\n{ends}\n"));
        let said = String::from_utf8(fine(&[&"check", &pipeline]).stdout).unwrap();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn built_in_pipelines_and_pages_of_verbs_go_by_their_names() {
    assert!(error(&[&"run", &"forest"]).contains("the pipeline ends in nothing"));
    assert!(error(&[&"run", &"frost"]).contains("no built-in pipeline"));
    let page = String::from_utf8(succeed(&["man", "detect"]).stdout).unwrap();
    assert!(
        page.contains(".TH \"NETWEIR\\-DETECT\" 1") && page.contains(env!("CARGO_PKG_VERSION")),
        "{page}"
    );
    assert!(error(&[&"man", &"frob"]).contains("'frob'"));
}
