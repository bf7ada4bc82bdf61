//! Laws of model files: the same bytes for the same rows, the same scores when read, an error for anything else.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float32Array, RecordBatch, StringArray, UInt8Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int16Type, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::context::ContextSpec;
use crate::detect::{Learning, Lesson, Reason, scored, scored_schema};
use crate::encode::NullPolicy;
use crate::packet::Vlan;
use crate::row::schema::{FEATURES, SETTINGS};
use crate::row::{Place, RowBatch};

/// A number that depends on two others, the same everywhere.
fn mixed(a: u64, b: u64) -> u64 {
    let mut z = (a << 32 ^ b).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Members of a forest's model.
const MEMBERS: [&str; 5] =
    ["calibration.parquet", "encoders.parquet", "forest.parquet", "tail.parquet", "usual.parquet"];

const BYTES: [&str; 2] = ["fwd_bytes", "bwd_bytes"];

/// Rows `from..to` of an endless table: numbers, some absent, text by dictionary, a protocol.
fn rows(from: u64, to: u64, metadata: BTreeMap<String, String>) -> RowBatch {
    let numbers =
        |column: u64| UInt64Array::from_iter_values((from..to).map(|row| mixed(row, column) % 1500));
    let gaps = (from..to).map(|row| (row % 5 > 0).then(|| (mixed(row, 7) % 1000) as f32 / 8.0));
    let services = (from..to).map(|row| Some(["dns", "http", "ntp", "tls"][mixed(row, 9) as usize % 4]));
    let services: DictionaryArray<Int16Type> = services.collect();
    let protocols =
        UInt8Array::from_iter_values((from..to).map(|row| [6, 6, 17, 1][mixed(row, 11) as usize % 4]));
    let columns: [(&str, ArrayRef, bool); 5] = [
        (BYTES[0], Arc::new(numbers(1)), false),
        (BYTES[1], Arc::new(numbers(2)), false),
        ("gap_s", Arc::new(Float32Array::from_iter(gaps)), true),
        ("service", Arc::new(services), false),
        ("protocol", Arc::new(protocols), false),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values, null)| Field::new(*name, values.data_type().clone(), *null))
        .collect();
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let columns = columns.into_iter().map(|(_, values, _)| values).collect();
    let place = Place { window: from, ..Place::default() };
    RowBatch { place, target: 0, rows: RecordBatch::try_new(schema, columns).unwrap() }
}

const TUNNELS: PacketSpec = PacketSpec { tunnels: true, vlan: Vlan::Key };

fn flow_metadata() -> BTreeMap<String, String> {
    row_settings(&FlowSpec::default(), &PacketSpec::default()).metadata()
}

fn pipeline() -> Pipeline {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Pipeline {
        name: "office".to_owned(),
        seed: u64::MAX - 1,
        packet: PacketSpec::default(),
        flow: FlowSpec::default(),
        context: ContextSpec::default(),
        encode: EncodeSpec {
            standard: list(&["gap_s"]),
            log1p: list(&BYTES),
            onehot: list(&["service"]),
            nulls: BTreeMap::from([("gap_s".to_owned(), NullPolicy::Value(0.1 + 0.2))]),
            ..EncodeSpec::default()
        },
        detect: DetectSpec {
            trees: 5,
            sample: 16,
            reservoir: 100,
            contamination: Some(0.1 + 0.2),
            ..DetectSpec::default()
        },
    }
}

/// A model of rows that were learned from in batches of these lengths, by workers in this order.
fn trained(metadata: &BTreeMap<String, String>, batches: &[u64], backwards: bool) -> Model {
    let pipeline = pipeline();
    let lesson = Lesson {
        encode: pipeline.encode.clone(),
        detect: pipeline.detect.check().unwrap(),
        seed: pipeline.seed,
    };
    let schema = rows(0, 1, metadata.clone()).rows.schema();
    let mut from = 0;
    let mut learned: Vec<Learning> = batches
        .iter()
        .map(|length| {
            let mut learning = Learning::new(&lesson, &schema).unwrap();
            learning.observe(&rows(from, from + length, metadata.clone())).unwrap();
            from += length;
            learning
        })
        .collect();
    if backwards {
        learned.reverse();
    }
    let mut learned = learned.into_iter();
    let mut all = learned.next().unwrap();
    learned.for_each(|other| all.merge(other).unwrap());
    let detector = all.finish(&lesson, &pipeline.context.local, None).unwrap();
    let hour = 3_600_000_000_000;
    let training = Training { packets: Some(12_345), windows_ns: Some((490_000 * hour, 490_001 * hour)) };
    Model::new(pipeline, &schema, training, detector).unwrap()
}

fn flow_model() -> &'static Model {
    static MODEL: LazyLock<Model> = LazyLock::new(|| trained(&flow_metadata(), &[300], false));
    &MODEL
}

fn table_model() -> Model {
    trained(&BTreeMap::new(), &[100], false)
}

fn file() -> &'static [u8] {
    static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| flow_model().to_bytes().unwrap());
    &FILE
}

fn error(bytes: &[u8]) -> String {
    let error = Model::from_bytes("m.model", bytes).unwrap_err().to_string();
    assert!(!error.contains('\n') && error.starts_with("m.model: "), "{error}");
    error
}

/// The file with its members changed, and its manifest made to fit.
fn with_member(member: &str, bytes: Vec<u8>, rows: Option<u64>) -> Vec<u8> {
    repacked(|members, manifest| {
        let entry = &mut manifest["members"][member];
        entry["bytes"] = bytes.len().into();
        entry["sha256"] = manifest::hex(&Sha256::digest(&bytes)).into();
        if let Some(rows) = rows {
            entry["rows"] = rows.into();
        }
        members.insert(member.to_owned(), bytes);
    })
}

fn repacked(change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>, &mut serde_json::Value)) -> Vec<u8> {
    let members = container::unpack("", &Bytes::from_static(file()), manifest::NAME).unwrap();
    let mut members: BTreeMap<String, Vec<u8>> =
        members.into_iter().map(|member| (member.name, member.bytes.to_vec())).collect();
    let mut manifest = serde_json::from_slice(&members[manifest::NAME]).unwrap();
    members.remove(manifest::NAME);
    change(&mut members, &mut manifest);
    if !manifest.is_null() {
        members.insert(manifest::NAME.to_owned(), serde_json::to_vec(&manifest).unwrap());
    }
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    container::pack(&members).unwrap()
}

fn member(name: &str) -> Bytes {
    let members = container::unpack("", &Bytes::from_static(file()), manifest::NAME).unwrap();
    members.into_iter().find(|member| member.name == name).unwrap().bytes
}

/// A member written without compression.
fn uncompressed(name: &'static str) -> &'static [u8] {
    static PLAIN: LazyLock<BTreeMap<&str, Vec<u8>>> = LazyLock::new(|| {
        let write = |name: &'static str| {
            let manifest: serde_json::Value = serde_json::from_slice(&member(manifest::NAME)).unwrap();
            let rows = manifest["members"][name]["rows"].as_u64().unwrap();
            let table = table::decode(&member(name), rows).unwrap();
            let properties = table::properties(table.schema_ref()).unwrap();
            let properties = properties.into_builder().set_compression(Compression::UNCOMPRESSED).build();
            let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties)).unwrap();
            writer.write(&table).unwrap();
            (name, writer.into_inner().unwrap())
        };
        MEMBERS.into_iter().map(write).collect()
    });
    &PLAIN[name]
}

#[test]
fn a_model_that_is_read_scores_as_the_one_that_was_written() {
    let again = Model::from_bytes("m", file()).unwrap();
    assert_eq!(again.to_bytes().unwrap(), file());
    assert_eq!(again.pipeline(), flow_model().pipeline());
    assert_eq!(again.pipeline().detect.contamination, Some(0.1 + 0.2));
    assert_eq!(again.describe(), flow_model().describe());
    assert_eq!(again.describe_json(), flow_model().describe_json());
    assert_eq!((again.training(), again.rows()), (flow_model().training(), 300));
    let rows = rows(1000, 1500, flow_metadata()).rows;
    let schema: SchemaRef = scored_schema(rows.schema_ref());
    let score = |model: &Model| {
        scored(model.detector().as_ref(), model.detector().threshold(), &rows, &schema).unwrap()
    };
    assert_eq!(score(&again), score(flow_model()));
}

#[test]
fn reasons_stand_where_anomalies_are_and_scored_rows_score_again() {
    let rows = rows(1000, 1500, flow_metadata()).rows;
    let schema: SchemaRef = scored_schema(rows.schema_ref());
    let detector = flow_model().detector().as_ref();
    let threshold = detector.threshold();
    let first = scored(detector, threshold, &rows, &schema).unwrap();
    let reasons = first.column_by_name("reasons").unwrap().as_string::<i32>();
    let anomalies = first.column_by_name("is_anomaly").unwrap().as_boolean();
    assert!(anomalies.true_count() > 0 && anomalies.false_count() > 0);
    for (row, reason) in reasons.iter().enumerate() {
        assert_eq!(reason.is_some(), anomalies.value(row));
        let Some(reason) = reason else { continue };
        let reason: serde_json::Value = serde_json::from_str(reason).unwrap();
        let parts = reason["parts"].as_array().unwrap();
        let sum: f64 = parts.iter().map(|part| part["nats"].as_f64().unwrap()).sum();
        assert!((sum - reason["total"].as_f64().unwrap()).abs() < 1e-9, "{reason}");
        let words = reason["evidence"][0]["words"].as_str().unwrap();
        assert!(!words.is_empty(), "{reason}");
    }
    for (row, anomaly) in anomalies.iter().enumerate().filter(|(_, anomaly)| *anomaly == Some(true)) {
        let mut check = |_: usize, reason: Reason| {
            let score = reason.at_zero.unwrap() * reason.total.exp();
            assert!((score - reason.score).abs() < 1e-9, "{anomaly:?} {reason:?}");
        };
        detector.reasons(&rows, None, &[row], &mut check).unwrap();
    }
    assert_eq!(*scored_schema(&schema), *schema);
    assert_eq!(scored(detector, threshold, &first, &schema).unwrap(), first);
}

#[test]
fn the_same_rows_give_the_same_bytes_in_any_batches_and_order() {
    assert_eq!(flow_model().to_bytes().unwrap(), file());
    for backwards in [false, true] {
        let model = trained(&flow_metadata(), &[1, 2, 3, 50, 44, 100, 7, 93], backwards);
        assert!(model.to_bytes().unwrap() == file());
    }
}

#[test]
fn a_file_is_replaced_as_a_whole_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.model");
    std::fs::write(&path, "before").unwrap();
    flow_model().write(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), file());
    assert_eq!(Model::read(&path).unwrap().to_bytes().unwrap(), file());

    let occupied = folder.path().join("folder");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("x"), "").unwrap();
    let error = flow_model().write(&occupied).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: is a folder", occupied.display())), "{error}");
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    let nowhere = path.join("below/a/file.model");
    let error = flow_model().write(&nowhere).unwrap_err().to_string();
    assert!(error.starts_with(&path.join("below").display().to_string()), "{error}");
    let error = Model::read(&nowhere).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot read: ", nowhere.display())), "{error}");
}

#[test]
fn members_stand_in_order_with_fixed_dates_and_say_nothing_of_where_they_were_made() {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(file())).unwrap();
    let names: Vec<_> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert_eq!(names[0], manifest::NAME);
    assert_eq!(names[1..], MEMBERS);
    for index in 0..zip.len() {
        let member = zip.by_index(index).unwrap();
        assert_eq!(member.last_modified(), Some(zip::DateTime::DEFAULT));
        assert_eq!(member.unix_mode(), Some(0o100_644));
    }
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let of = |bytes: &[u8]| error(bytes).replace("m.model: not a netweir model but ", "");
    assert_eq!(of(b""), "an empty file; `netweir train` makes models");
    assert_eq!(of(&member("forest.parquet")), "a Parquet file; `netweir train` makes models");
    assert_eq!(of(b"\xd4\xc3\xb2\xa1\x02\x00"), "a pcap capture; `netweir train` makes models");
    assert_eq!(of(b"seed = 1\n"), "text; `netweir train` makes models");
    assert_eq!(of(&[0, 1, 2]), "something else; `netweir train` makes models");
    let zip = container::pack(&[("a.txt", b"a")]).unwrap();
    assert_eq!(of(&zip), "a ZIP archive without manifest.json; `netweir train` makes models");
}

#[test]
fn another_format_is_told_apart_before_anything_else() {
    let of_format = |version: u32| {
        repacked(|members, manifest| {
            members.insert("baselines.parquet".to_owned(), vec![]);
            manifest["format_version"] = version.into();
            manifest["netweir_version"] = "0.9.0".into();
            manifest["more"] = true.into();
        })
    };
    let here = format!("this is netweir {}, which reads formats", env!("CARGO_PKG_VERSION"));
    let (next, last) = (FORMAT_VERSION + 1, OLDEST_FORMAT - 1);
    assert_eq!(
        error(&of_format(next)),
        format!(
            "m.model: model format {next} of netweir 0.9.0; {here} up to {FORMAT_VERSION}: update netweir, or train anew"
        )
    );
    assert_eq!(
        error(&of_format(last)),
        format!(
            "m.model: model format {last} of netweir 0.9.0, which judged by other rules; {here} from {OLDEST_FORMAT} on: train \
             anew"
        )
    );
}

#[test]
fn damage_is_an_error_that_names_the_member() {
    let says = |bytes: &[u8], member: &str, what: &str| {
        let error = error(bytes);
        assert!(error.starts_with(&format!("m.model: damaged model: {member}: {what}")), "{error}");
    };
    says(&file()[..file().len() - 1], "the archive", "its end is missing");
    says(&[file(), b"x"].concat(), "the archive", "its end is missing");
    says(
        &repacked(|members, _| drop(members.remove("forest.parquet"))),
        "forest.parquet",
        "the member is missing",
    );
    let further = repacked(|members, _| drop(members.insert("../x".to_owned(), vec![])));
    says(&further, "../x", "it is no member of a model");
    let changed = repacked(|members, _| members.get_mut("encoders.parquet").unwrap()[20] ^= 1);
    says(&changed, "encoders.parquet", "it is not what was written");
    says(&with_member("forest.parquet", b"PAR1".to_vec(), None), "forest.parquet", "");
    says(
        &with_member("forest.parquet", member("encoders.parquet").to_vec(), None),
        "forest.parquet",
        "it has ",
    );
    says(
        &with_member("forest.parquet", vec![], Some(u64::MAX)),
        "forest.parquet",
        "18446744073709551615 rows in 0 bytes",
    );
    let tables = flow_model().detector().tables().unwrap();
    let rows = tables.iter().find(|(name, _)| name == "encoders").unwrap().1.num_rows() as u64;
    let other = with_member("forest.parquet", member("encoders.parquet").to_vec(), Some(rows));
    says(&other, "forest.parquet", "model table `forest` is damaged: column `partition` is missing");
    let manifest = |change: fn(&mut serde_json::Value)| repacked(|_, manifest| change(manifest));
    says(&manifest(|m| m["seed"] = 1.into()), "manifest.json", "unknown field `seed`");
    says(&manifest(|m| m["fingerprint"] = "0".into()), "manifest.json", "its fingerprint is another");
    says(&manifest(|m| m["training"]["rows"] = 7.into()), "manifest.json", "its training rows are not");
    says(&manifest(|m| m["columns"][0]["name"] = "x".into()), "manifest.json", "its columns are not those");
    says(&manifest(|m| m["columns"][4]["type"] = "x".into()), "manifest.json", "a column has a type");
    let nested = |m: &mut serde_json::Value| m["columns"][4]["type"] = "List(".repeat(100_000).into();
    says(&manifest(nested), "manifest.json", "a column has a type");
    says(&manifest(|m| m["pipeline"]["flow"]["window"] = "5s".into()), "manifest.json", "the pipeline makes");
    says(&manifest(|m| m["pipeline"]["detect"]["trees"] = 6.into()), "forest.parquet", "");
    says(
        &manifest(|m| m["pipeline"]["detect"]["trees"] = u64::MAX.into()),
        "calibration.parquet",
        "more than",
    );
    says(&manifest(|m| m["format"] = "x".into()), "manifest.json", "it is not of a netweir model");
    says(
        &manifest(|m| m["members"]["x"] = m["members"]["forest.parquet"].clone()),
        "manifest.json",
        "its members",
    );
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let huge = container::pack(&[(manifest::NAME, &vec![b' '; limits::MANIFEST as usize + 1])]).unwrap();
    assert_eq!(
        error(&huge),
        "m.model: model too large: manifest.json has 16777217 bytes, at most 16777216 are read"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    std::fs::File::create(&path).unwrap().set_len(limits::FILE + 1).unwrap();
    let error = Model::read(&path).unwrap_err();
    assert!(matches!(error, ModelError::TooLarge { .. }), "{error}");
    // An archive of thousands of members is not even listed.
    let names: Vec<String> = (0..1000).map(|number| format!("{number}")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    let many = self::error(&container::pack(&members).unwrap());
    assert!(many.contains("its end says what no model's says"), "{many}");
}

#[test]
fn text_that_would_swell_is_refused() {
    // A text of half a megabyte in every one of 4000 rows: some kilobytes in the file.
    let values = StringArray::from(vec!["x".repeat(1 << 19)]);
    let long = DictionaryArray::<Int16Type>::new(vec![0; 4000].into(), Arc::new(values));
    let table = RecordBatch::try_from_iter([("column", Arc::new(long) as ArrayRef)]).unwrap();
    let bytes = table::encode(&table).unwrap();
    assert!(bytes.len() < 10_000);
    assert_eq!(
        table::decode(&bytes, 4000).unwrap_err(),
        "column `column` has 2097152000 bytes of text, at most 1073741824 are read"
    );
}

#[test]
fn rows_of_another_make_are_refused_by_the_first_difference() {
    let schema = rows(0, 1, flow_metadata()).rows.schema();
    flow_model().check_rows(&schema).unwrap();
    let refused = |model: &Model, schema: &Schema| model.check_rows(schema).unwrap_err().to_string();
    let fields = |change: fn(&Field) -> Option<Field>| {
        let fields: Vec<Field> = schema.fields().iter().filter_map(|field| change(field)).collect();
        Schema::new(fields).with_metadata(schema.metadata().clone())
    };
    let missing = fields(|f| (f.name() != "fwd_bytes").then(|| f.clone()));
    let typed = fields(|f| {
        let other = f.name() == "service";
        Some(if other { f.clone().with_data_type(DataType::Int64) } else { f.clone() })
    });
    let unnamed = fields(|f| (f.name() != "protocol").then(|| f.clone()));
    let said = |key: &str, value: String| {
        let mut metadata = schema.metadata().clone();
        metadata.insert(key.to_owned(), value);
        Schema::new(schema.fields().clone()).with_metadata(metadata)
    };
    let flow = FlowSpec { window: std::time::Duration::from_secs(5), ..FlowSpec::default() };
    assert_eq!(
        refused(flow_model(), &missing),
        "column `fwd_bytes`: model expects UInt64, rows have no such column; nearest is `bwd_bytes`; give rows \
         with the columns that `netweir inspect --json` lists, or train a model on rows like these"
    );
    assert_eq!(
        refused(flow_model(), &typed),
        "column `service`: model expects Utf8, rows have Int64; give rows with the columns that `netweir inspect \
         --json` lists, or train a model on rows like these"
    );
    assert_eq!(
        refused(flow_model(), &unnamed),
        "column `protocol`: model expects UInt8, rows have no such column; give rows with the columns that \
         `netweir inspect --json` lists, or train a model on rows like these"
    );
    assert_eq!(
        refused(flow_model(), &said(SETTINGS, row_settings(&flow, &TUNNELS).json())),
        "window is 10s in the model, 5s in the rows; give captures, or extract the rows again with the model's \
         setting"
    );
    assert_eq!(
        refused(flow_model(), &said(SETTINGS, row_settings(&FlowSpec::default(), &TUNNELS).json())),
        "tunnels is false in the model, true in the rows; give captures, or extract the rows again with the \
         model's setting"
    );
    let ignored = PacketSpec { vlan: Vlan::Ignore, ..PacketSpec::default() };
    assert_eq!(
        refused(flow_model(), &said(SETTINGS, row_settings(&FlowSpec::default(), &ignored).json())),
        "vlan is key in the model, ignore in the rows; give captures, or extract the rows again with the model's \
         setting"
    );
    assert_eq!(
        refused(flow_model(), &said(FEATURES, (FEATURE_VERSION + 1).to_string())),
        format!(
            "feature version is {FEATURE_VERSION} in the model, {} in the rows; extract the rows again and train anew with \
             one netweir",
            FEATURE_VERSION + 1
        )
    );
    assert_eq!(
        refused(&table_model(), &schema),
        "the model was trained on a table without netweir's metadata, and these are flow rows; give a table like \
         that one, or train a model on flow rows"
    );
    let table = Schema::new(schema.fields().clone());
    table_model().check_rows(&table).unwrap();
    assert_eq!(
        refused(flow_model(), &table),
        "the model was trained on flow rows, and these are none, or do not say how they were made; give captures, or \
         rows of flows that `netweir extract` wrote"
    );
}

#[test]
fn rows_decide_how_a_model_makes_rows() {
    let flow = FlowSpec { window: std::time::Duration::from_secs(5), max_flows: 5000, ..FlowSpec::default() };
    let made = PacketSpec { tunnels: true, vlan: Vlan::Ignore };
    let model = trained(&row_settings(&flow, &made).metadata(), &[100], false);
    let pipeline = model.pipeline();
    assert_eq!(row_settings(&pipeline.flow, &pipeline.packet), row_settings(&flow, &made));
    assert_eq!(pipeline.packet, made);
    assert_eq!(pipeline.flow.max_flows, FlowSpec::default().max_flows);
    assert_ne!(model.fingerprint(), flow_model().fingerprint());
}

#[test]
fn a_stranger_can_read_what_a_model_is() {
    let text = flow_model().describe();
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        &format!("Model of pipeline `office`, trained by netweir {version}, format {FORMAT_VERSION}"),
        "  rows           300 flow rows of 12,345 packets",
        "  windows        2025-11-24 16:00:00 UTC to 2025-11-24 17:00:00 UTC (starts)",
        &format!("Rows to score: flow rows, feature version {FEATURE_VERSION}"),
        "  window         10s of event time",
        "Columns: 5 read, 8 features",
        "  log1p 2        fwd_bytes, bwd_bytes",
        "  onehot 1       service (4 values and other)",
        "  not encoded    protocol (names partitions)",
        "  forest         5 trees, each of 16 rows at most",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.contains(", as 30 % of the training rows may"), "{text}");
    let json = flow_model().describe_json();
    assert_eq!(json["pipeline"]["seed"], u64::MAX - 1);
    assert_eq!(json["training"]["rows"], 300);
    assert_eq!(json["partitions"][1]["forest"], "own");
}

#[test]
fn names_do_nothing_to_a_terminal() {
    let mut model = flow_model().clone();
    model.pipeline.name = "a\u{1b}[2J\nb".to_owned();
    assert!(model.describe().starts_with("Model of pipeline `a\\u{1b}[2J\\nb`, "));
}

/// What is read from changed bytes is the model or an error of one line.
fn same_or_error(bytes: &[u8]) -> Result<(), TestCaseError> {
    match Model::from_bytes("m", bytes) {
        Ok(model) => prop_assert!(model.to_bytes().unwrap() == file()),
        Err(error) => prop_assert!(!error.to_string().contains('\n')),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_changed_byte_is_an_error_or_no_change(at in 0usize..file().len(), flip in 1u8..=255) {
        let mut bytes = file().to_vec();
        bytes[at] ^= flip;
        same_or_error(&bytes)?;
    }

    #[test]
    fn any_cut_or_hole_is_an_error(at in 0usize..file().len(), length in 1usize..100) {
        prop_assert!(Model::from_bytes("m", &file()[..at]).is_err());
        let end = (at + length).min(file().len());
        prop_assert!(Model::from_bytes("m", &[&file()[..at], &file()[end..]].concat()).is_err());
    }

    /// Hashes do not help against a file that was made to harm: here they fit. Without compression what is changed
    /// reaches the decoders.
    #[test]
    fn a_crafted_member_is_an_error_or_a_model(
        which in 0usize..MEMBERS.len(),
        compressed in any::<bool>(),
        flips in proptest::collection::vec((any::<u64>(), 1u8..=255, any::<bool>()), 1..4),
    ) {
        let name = MEMBERS[which];
        let mut bytes = if compressed { member(name).to_vec() } else { uncompressed(name).to_vec() };
        let length = bytes.len() as u64;
        for (at, flip, footer) in flips {
            // Half of them in the footer and its neighbours.
            let at = if footer { length - 1 - at % 600.min(length) } else { at % length };
            bytes[at as usize] ^= flip;
        }
        if let Err(error) = Model::from_bytes("m", &with_member(name, bytes, None)) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn any_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Model::from_bytes("m", &bytes).is_err());
        prop_assert!(Model::from_bytes("m", &[b"PK\x03\x04".as_slice(), &bytes].concat()).is_err());
    }
}
