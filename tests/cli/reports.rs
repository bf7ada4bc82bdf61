//! Incidents, the allow-list, evaluation, the demo.

use std::ffi::OsStr;
use std::path::Path;

use super::{LABELS, Place, datasets, error, fine, pcap, small_model, some_frames};
use crate::support::binary::{run, succeed};

#[test]
fn evaluate_trains_and_scores_pipelines_with_seeds_and_leaves_the_page_alone() {
    let place = Place::new();
    let capture = place.write("some.pcap", pcap(1, 65535, &some_frames()));
    let second = 1_700_000_005_u64 * 1_000_000_000;
    let unfit =
        format!("{second},{second},10.9.9.9,,,,scan,e2\n{second},{second},10.9.9.9,,arp,,arp_scan,e3\n");
    let end = second + 3_000_000_000;
    let labels =
        place.write("labels.csv", format!("{LABELS}{second},{end},10.0.0.1,,udp,53,tunnel,e1\n{unfit}"));
    let page = place.at("page/report.html");
    let output = fine(&[
        &"evaluate",
        &"--train",
        &capture,
        &"--on",
        &capture,
        &"--labels",
        &labels,
        &"-p",
        &"forest",
        &"--beside",
        &"usual",
        &"--seeds",
        &"2",
        &"-o",
        &page,
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    for name in ["forest", "usual"] {
        let spread = text.contains(&format!("`{name}` over 2 seeds: ROC-AUC"));
        let same =
            text.replace('\n', " ").contains(&format!("`{name}` gives the same figures under all 2 seeds"));
        assert!(spread != same, "{name}: {text}");
    }
    for words in ["line 3 fits no row: scan e2", "1 of ARP"] {
        assert!(text.contains(words), "no {words} in\n{text}");
    }
    let metrics: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.at("page/metrics.json")).unwrap()).unwrap();
    let names: Vec<&str> =
        metrics["detectors"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["forest", "usual", "random", "bytes of the row", "flows of the source"]);
    assert_eq!(metrics["seeds"][1]["seeds"], serde_json::json!([1, 2]));
    let mut files = place.files();
    files.retain(|name| !name.contains("some.pcap") && !name.contains("labels.csv"));
    assert_eq!(files.len(), 2, "models and scores are gone: {files:?}");
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    let place = Place::new();
    let capture = place.write("some.pcap", pcap(1, 65535, &some_frames()));
    let labels = place.write("labels.csv", LABELS.replace("proto", "protocol"));
    let said = error(&[&"evaluate", &"--train", &capture, &"--on", &capture, &"--labels", &labels]);
    assert!(said.contains("labels.csv:1: no column `proto`"), "{said}");
    let good = place.write("good.csv", LABELS);
    let page = place.at("report.html");
    let said = error(&[&"evaluate", &place.at("out"), &"--labels", &good, &"-o", &page]);
    assert!(said.contains("scores.parquet: No such file"), "{said}");
    let output = fine(&[
        &"evaluate",
        &"--train",
        &capture,
        &"--on",
        &capture,
        &"--labels",
        &good,
        &"-p",
        &"usual",
        &"-o",
        &page,
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("All rows are benign: ROC-AUC"), "{text}");
    let output = run(&["evaluate", "--labels", "l.csv", "--train", "-", "--on", "x.pcap"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("standard input cannot be read again"), "{said}");
}

#[test]
fn the_demo_finds_attacks_and_leaves_its_files() {
    let place = Place::new();
    let out = place.at("netweir-demo");
    let output = fine(&[&"demo", &"-o", &out]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("syn_scan") && text.contains("attacks found"), "{text}");
    assert!(text.lines().count() <= 50, "it fits a screen: {text}");
    for file in [
        "model.netweir",
        "scores.parquet",
        "alerts.eve.jsonl",
        "incidents.jsonl",
        "incident_rows.parquet",
        "summary.json",
        "report.html",
        "metrics.json",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let alerts = std::fs::read_to_string(out.join("alerts.eve.jsonl")).unwrap();
    for line in alerts.lines() {
        let alert: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(alert["event_type"], "alert");
    }
    assert!(alerts.lines().count() > 100);
}

#[test]
fn what_is_wrong_with_an_allow_list_is_named_with_its_place() {
    let place = Place::new();
    let model = small_model(&place);
    let capture = place.at("train.pcap");
    let said = |text: &str| {
        let rules = place.write("rules.toml", text);
        error(&[&"detect", &capture, &"-m", &model, &"-o", &place.at("out"), &"--allow", &rules])
    };
    let line = said("[[allow]]\nprotocl = \"tcp\"\nwhy = \"x\"\n");
    assert!(line.contains("rules.toml:2:1: unknown key `protocl`: did you mean `protocol`?"), "{line}");
    let line = said("[[alow]]\n");
    assert!(line.contains("rules.toml:1:3: unknown key `alow`: did you mean `allow`?"), "{line}");
    let line = said("[[allow]]\nsrc = \"10.0.0.0/40\"\nwhy = \"x\"\n");
    assert!(line.contains("rules.toml:2:7: ") && line.contains("is no network"), "{line}");
    let line = said("[[allow]]\nsrc = \"10.0.0.0/8\"\n");
    assert!(line.contains("rules.toml:1:") && line.contains("`why`"), "{line}");
    let line = said("[[allow]]\nwhy = \"x\"\n");
    assert!(line.contains("rules.toml: [[allow]] number 1: it would allow everything"), "{line}");
    let line = said("[[allow]]\nwhy = \"x\"\nprotocol = \"frob\"\n");
    assert!(line.contains("rules.toml:3:12: no protocol is named \"frob\""), "{line}");
    let unknown = "[[allow]]\nwhy = \"x\"\ncolumn = \"fwd_byte\"\nmin = 1\n";
    let line = said(unknown);
    let meant = "rules.toml:3:10: rows have no column \"fwd_byte\": did you mean `fwd_bytes`?";
    assert!(line.contains(meant), "{line}");
    let rules = place.write("rules.toml", unknown);
    let checked = place.write("p.toml", format!("[incident]\nallow = {rules:?}\n"));
    let line = error(&[&"check", &checked]);
    assert!(line.contains(meant), "{line}");
    // A file of rules can be checked by itself.
    let rules = |text: &str| place.write("rules.toml", text);
    let good =
        "[[allow]]\nport = 1\nuntil = 2020-01-01\nwhy = \"long over\"\n[threshold]\npercentile = 99.9\n";
    let said = String::from_utf8(fine(&[&"check", &rules(good)]).stdout).unwrap();
    assert!(said.contains("rules.toml is well formed: 1 rule, threshold by percentile = 99.9"), "{said}");
    assert!(said.contains("rule 1: long over: expired (until 2020-01-01)"), "{said}");
    let line = error(&[&"check", &rules("[[source]]\ninputs = [\"a\"]\n")]);
    assert!(!line.contains("allow"), "{line}");
    let line = error(&[&"check", &rules("[[alow]]\nport = 1\nwhy = \"x\"\n")]);
    assert!(line.contains("unknown key `alow`") && line.contains("allow"), "{line}");
    let line = error(&[&"check", &rules("[[allow]]\ncolumn = \"nowhere\"\nmin = 1\nwhy = \"x\"\n")]);
    assert!(line.contains("rules.toml:2:") && line.contains("nowhere"), "{line}");
    let line = error(&[&"check", &place.write("p.toml", "[incident]\nsilense = \"60s\"\n")]);
    assert!(line.contains("p.toml:2:1: unknown key `silense`: did you mean `silence`?"), "{line}");
    let line = error(&[&"check", &place.write("p.toml", "[incident]\nkeep = \"1s\"\n")]);
    assert!(line.contains("[incident] keep = 1s: must be from the value of `silence`"), "{line}");
}

#[test]
fn what_has_no_incidents_and_no_figures_says_so() {
    let place = Place::new();
    let model = small_model(&place);
    let scores = place.at("scores.parquet");
    let capture = place.at("train.pcap");
    let detect = |input: &Path, out: &Path| {
        fine(&[&"detect", &input, &"-q", &"-m", &model, &"-o", &out]);
    };
    detect(&capture, &scores);
    let named = |out: &Path, sensor: &str| {
        error(&[&"detect", &capture, &"-m", &model, &"-o", &out, &"--sensor", &sensor])
    };
    let line = named(&scores, "north");
    assert!(line.contains("sensor stands in alerts and incidents: ask for a report"), "{line}");
    let line = named(&place.at("out"), "");
    assert!(line.contains("sensor is a name: give one, or leave it out"), "{line}");
    let line = error(&[&"explain", &scores]);
    assert!(line.contains("scores alone have no incidents"), "{line}");
    let table = place.at("table");
    std::fs::create_dir(&table).unwrap();
    std::fs::copy(&scores, table.join("scores.parquet")).unwrap();
    let line = error(&[&"explain", &table]);
    assert!(line.contains("a report of a table has no incidents"), "{line}");
    assert!(error(&[&"explain", &place.at("nowhere")]).ends_with("nowhere: there is no such folder"));
    std::fs::create_dir(place.at("empty")).unwrap();
    assert!(error(&[&"explain", &place.at("empty")]).ends_with("which detect and watch leave there"));

    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6];
    frame.resize(60, 0);
    let (silent, out) = (place.write("arp.pcap", pcap(1, 65535, &[frame])), place.at("out"));
    detect(&silent, &out);
    let labels = place.write("labels.csv", LABELS);
    let page = place.at("report.html");
    let line = error(&[&"evaluate", &out, &"--labels", &labels, &"-o", &page]);
    assert!(line.contains("nothing can be measured") && !page.exists(), "{line}");

    // A whole report is no input: beside its rows it has what is no row.
    let line = error(&[&"detect", &out, &"-m", &model, &"-o", &place.at("again")]);
    assert!(
        line.contains("incident_rows.parquet: ") && line.ends_with("its folder scores: give that"),
        "{line}"
    );
}

/// The incidents of a report, by id.
fn incidents(out: &Path) -> std::collections::BTreeMap<String, serde_json::Value> {
    let log = std::fs::read_to_string(out.join("incidents.jsonl")).unwrap();
    let events = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    events.map(|event| (event["id"].as_str().unwrap().to_owned(), event)).collect()
}

#[test]
fn an_incident_is_explained_and_a_rule_mutes_it() {
    let place = Place::new();
    let (model, out, muted) = (place.at("lab.netweir"), place.at("out"), place.at("muted"));
    let (train, attacks) = (datasets("train.pcap.zst"), datasets("attacks.pcap.zst"));
    fine(&[&"train", &"-q", &train, &"-m", &model]);
    let detect: [&dyn AsRef<OsStr>; 6] = [&"detect", &attacks, &"-m", &model, &"--sensor", &"north"];
    let detect = |more: &[&dyn AsRef<OsStr>]| fine(&[&detect[..], more].concat());
    let lines = String::from_utf8(detect(&[&"-o", &out]).stdout).unwrap();
    let all = incidents(&out);
    assert!(all.values().all(|line| line["sensor"] == "north"));
    let worst = all.values().max_by_key(|event| event["alerts"].as_u64()).unwrap();
    let (id, host) = (worst["id"].as_str().unwrap(), worst["address"].as_str().unwrap());
    assert!(lines.contains(&id[..8]) && lines.lines().count() < 4 * all.len(), "{lines}");

    let explain = |arguments: &[&OsStr]| {
        let arguments = [OsStr::new("explain")].into_iter().chain(arguments.iter().copied());
        String::from_utf8(succeed(&arguments.collect::<Vec<_>>()).stdout).unwrap()
    };
    let list = explain(&[out.as_ref()]);
    assert_eq!(list.lines().count(), all.len(), "{list}");
    let full = explain(&[out.as_ref(), id[..10].as_ref()]);
    assert!(
        full.starts_with(id)
            && full.contains(host)
            && full.contains("rows, those that say why before the others, the oddest first"),
        "{full}"
    );
    let said = error(&[&"explain", &out, &"zz"]);
    assert!(
        said.contains("begins with \"zz\"") && said.contains(&format!("there are {}", all.len())),
        "{said}"
    );
    let said = error(&[&"explain", &out, &""]);
    assert!(said.contains("give more digits"), "{said}");

    let rules = format!(
        "[[allow]]\nnet = \"{host}\"\nwhy = \"a test of ours\"\n\
         [[allow]]\nport = 1\nuntil = 2020-01-01\nwhy = \"long over\"\n\
         [[allow]]\nsrc = \"192.0.2.1\"\nwhy = \"nobody\"\n"
    );
    let rules = place.write("rules.toml", rules);
    let output = detect(&[&"-o", &muted, &"--allow", &rules]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("rule 2: long over: expired (until 2020-01-01)"), "{said}");
    assert!(said.contains("rule 3: nobody: matched nothing") && !said.contains("rule 1:"), "{said}");
    assert!(incidents(&muted).values().all(|event| event["address"] != host));
    let list = explain(&[muted.as_ref()]);
    assert!(list.contains("muted by rule 1: a test of ours: "), "{list}");
    // Alerts of other rows are there, of many about one host some, and no others; the counters say how many.
    let alerts = |out: &Path| std::fs::read_to_string(out.join("alerts.eve.jsonl")).unwrap();
    let (loud, all_alerts) = (alerts(&muted), alerts(&out));
    // Each names its incident, which has at least as many rows.
    let named = |lines: &str| {
        let mut named = std::collections::BTreeMap::<String, u64>::new();
        for line in lines.lines() {
            let alert: serde_json::Value = serde_json::from_str(line).unwrap();
            let incident = alert["alert"]["metadata"]["netweir_incident"][0].as_str().unwrap();
            *named.entry(incident.to_owned()).or_default() += 1;
        }
        named
    };
    for (out, alerts) in [(&out, &all_alerts), (&muted, &loud)] {
        let of_incidents = incidents(out);
        let rows = |id: &str| of_incidents[id]["alerts"].as_u64().unwrap();
        let named = named(alerts);
        assert!(named.iter().all(|(id, alerts)| *alerts <= rows(id)), "{named:?}");
        assert!(
            named.iter().any(|(id, alerts)| *alerts < rows(id)),
            "a scan is told by some of its rows: {named:?}"
        );
    }
    let counted = |out: &Path, name: &str| -> u64 {
        let summary = std::fs::read(out.join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
        summary[name].as_u64().unwrap()
    };
    assert_eq!(counted(&out, "alerts"), all_alerts.lines().count() as u64);
    assert!(counted(&out, "alerts") < counted(&out, "anomalies"));
    // Without the muted ones the others may belong together in another way.
    let plainly = |line: &str| {
        let mut alert: serde_json::Value = serde_json::from_str(line).unwrap();
        alert["alert"]["metadata"]["netweir_incident"].take();
        alert
    };
    let of_host = |alert: &serde_json::Value| alert["src_ip"] == host || alert["dest_ip"] == host;
    let others: Vec<_> = all_alerts.lines().map(plainly).filter(|alert| !of_host(alert)).collect();
    assert!(loud.lines().map(plainly).eq(others.iter().cloned()));
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(muted.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["model"], model.display().to_string());
    assert_eq!(summary["model_sha256"].as_str().map(str::len), Some(64));
    assert!(summary["first"].as_str().unwrap() < summary["last"].as_str().unwrap(), "{summary}");
    assert_eq!((&others[0]["host"], others[0].get("in_iface")), (&"north".into(), None));
    let gone = all_alerts.lines().count() - others.len();
    assert!(gone > 0 && summary["muted"] == gone, "{summary}");
    // Rows are scored all the same.
    let scores = |out: &Path| std::fs::read(out.join("scores.parquet")).unwrap();
    assert!(scores(&out) == scores(&muted));
}

#[test]
fn what_attacked_is_not_learned_where_its_incidents_are_named() {
    let place = Place::new();
    let (train, attacks) = (datasets("train.pcap.zst"), datasets("attacks.pcap.zst"));
    let (model, out, again) = (place.at("lab.netweir"), place.at("out"), place.at("again"));
    fine(&[&"train", &"-q", &train, &"-m", &model]);
    fine(&[&"detect", &"-q", &attacks, &"-m", &model, &"-o", &out]);
    let left_out = |without: &str, inputs: &[&dyn AsRef<OsStr>]| {
        let model: [&dyn AsRef<OsStr>; 4] = [&"-m", &again, &"--without", &without];
        let output = fine(&[&[&"train" as &dyn AsRef<OsStr>][..], inputs, &model].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        let line = said.lines().find(|line| line.starts_with("rows of incidents that were left out: "));
        line.unwrap_or_else(|| panic!("{said}")).rsplit_once("out: ").unwrap().1.to_owned()
    };
    // Of all incidents; rows of the report are as good as the capture.
    let all = incidents(&out).values().filter_map(|line| line["alerts"].as_u64()).sum::<u64>();
    let met: u64 =
        left_out(&out.display().to_string(), &[&train, &attacks]).replace(',', "").parse().unwrap();
    assert!(met == all && met > 20_000, "{met} {all}");
    let of_captures = std::fs::read(&again).unwrap();
    let rows = place.at("rows.parquet");
    fine(&[&"extract", &"-q", &train, &attacks, &"-o", &rows]);
    left_out(&out.display().to_string(), &[&rows]);
    assert!(std::fs::read(&again).unwrap() == of_captures);
    // The same attacks are found again.
    let found = |model: &Path| {
        let out = place.at("found");
        fine(&[&"detect", &"-q", &attacks, &"-m", &model, &"-o", &out]);
        incidents(&out).values().filter_map(|line| line["alerts"].as_u64()).sum::<u64>()
    };
    assert!(found(&again) > met / 2);
    fine(&[&"train", &"-q", &train, &attacks, &"-m", &again]);
    assert!(found(&again) < met / 2);
    // Of one of them, and of rows that are not there.
    let (id, line) = incidents(&out).into_iter().max_by_key(|(_, line)| line["alerts"].as_u64()).unwrap();
    let one = format!("{}:{}", out.display(), &id[..8]);
    let alerts = line["alerts"].as_u64().unwrap();
    assert_eq!(left_out(&one, &[&train, &attacks]).replace(',', ""), alerts.to_string());
    assert!(left_out(&one, &[&train]).starts_with("0; "));
    let wrong = |without: &str| error(&[&"train", &train, &"-m", &again, &"--without", &without]);
    assert!(wrong(&format!("{}:ffffffffff", out.display())).contains("begins with \"ffffffffff\""));
    assert!(
        wrong("nowhere").contains(
            "nowhere/incident_rows.parquet: No such file or directory (os error 2): check the name"
        )
    );
    let (id, _) = incidents(&out).into_iter().find(|(_, line)| line["kind"] == "new_host").unwrap();
    assert!(wrong(&format!("{}:{id}", out.display())).contains("is of new hosts, which has no odd rows"));
    let there = "[flow]\ntimezone = \"Europe/Berlin\"\n[detect]\ndetector = \"themes\"\n";
    let there = place.write("berlin.toml", there);
    fine(&[&"train", &"-q", &train, &"-p", &there, &"-m", &place.at("berlin.netweir"), &"--without", &out]);
    let five = place.write("five.toml", "[flow]\nwindow = \"5s\"\n[detect]\ndetector = \"themes\"\n");
    let said = error(&[&"train", &train, &"-p", &five, &"-m", &again, &"--without", &out]);
    assert!(said.contains("window is `10s` there and `5s` here"), "{said}");
    let over: [&dyn AsRef<OsStr>; 6] =
        [&"train", &train, &"-m", &out.join("incidents.jsonl"), &"--without", &out];
    assert!(error(&over).contains("a file of the report"));
    // A log that was rotated since says nothing of them; their rows do.
    std::fs::write(out.join("incidents.jsonl"), "").unwrap();
    assert_eq!(left_out(&out.display().to_string(), &[&train, &attacks]).replace(',', ""), all.to_string());
    assert_eq!(left_out(&one, &[&train, &attacks]).replace(',', ""), alerts.to_string());
}
