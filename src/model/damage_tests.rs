//! Models of detectors over surprises as files: the same bytes for the same rows, an error that names the member for
//! damage, no panic for anything.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::detect::{judged_rows, learned_as};

struct File {
    model: Model,
    bytes: Vec<u8>,
}

fn model(detector: &str, batch: usize, backwards: bool) -> Model {
    let detect = DetectSpec {
        detector: detector.to_owned(),
        partition_by: "none".to_owned(),
        trees: 4,
        sample: 16,
        reservoir: 1000,
        ..DetectSpec::default()
    };
    let rows = judged_rows(0..61, false);
    let fitted = learned_as(&detect, &rows, 2, batch, backwards);
    let pipeline = Pipeline {
        name: "office".to_owned(),
        seed: fitted.settings().1,
        packet: PacketSpec::default(),
        flow: FlowSpec::default(),
        context: ContextSpec::default(),
        encode: EncodeSpec::default(),
        detect,
    };
    Model::new(pipeline, rows.schema_ref(), Training::default(), fitted).unwrap()
}

/// A model that judges by themes alone, and one that has every member.
fn files() -> &'static [File; 2] {
    static FILES: LazyLock<[File; 2]> = LazyLock::new(|| {
        ["themes", "ensemble"].map(|detector| {
            let model = model(detector, 100, false);
            File { bytes: model.to_bytes().unwrap(), model }
        })
    });
    &FILES
}

fn members(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let members = container::unpack("", &Bytes::copy_from_slice(bytes), manifest::NAME).unwrap();
    members.into_iter().map(|member| (member.name, member.bytes.to_vec())).collect()
}

/// The file with another member in the place of one; with a manifest that fits, or the one that was there.
fn with_member(file: &[u8], name: &str, bytes: Vec<u8>, fits: bool) -> Vec<u8> {
    let mut members = members(file);
    if fits {
        let mut manifest: serde_json::Value = serde_json::from_slice(&members[manifest::NAME]).unwrap();
        manifest["members"][name]["bytes"] = bytes.len().into();
        manifest["members"][name]["sha256"] = manifest::hex(&Sha256::digest(&bytes)).into();
        members.insert(manifest::NAME.to_owned(), serde_json::to_vec(&manifest).unwrap());
    }
    members.insert(name.to_owned(), bytes);
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    container::pack(&members).unwrap()
}

fn error(bytes: &[u8]) -> String {
    let error = Model::from_bytes("m.model", bytes).unwrap_err().to_string();
    assert!(!error.contains('\n') && error.starts_with("m.model: "), "{error}");
    error
}

#[test]
fn models_of_every_detector_come_back_as_they_were_and_refits_give_the_same_bytes() {
    for (file, detector) in files().iter().zip(["themes", "ensemble"]) {
        let again = Model::from_bytes("m", &file.bytes).unwrap();
        assert!(again.to_bytes().unwrap() == file.bytes);
        assert_eq!(again.describe(), file.model.describe());
        assert_eq!(again.describe_json(), file.model.describe_json());
        assert!(model(detector, 7, true).to_bytes().unwrap() == file.bytes);
        let rows = judged_rows(200..205, true);
        assert_eq!(again.detector().score(&rows).unwrap(), file.model.detector().score(&rows).unwrap());
    }
    assert!(
        Model::from_bytes("m", &files()[1].bytes)
            .unwrap()
            .describe()
            .contains("members        themes + forest")
    );
}

#[test]
fn damage_of_every_member_is_an_error_that_names_it() {
    for file in files() {
        for (name, bytes) in members(&file.bytes) {
            if name == manifest::NAME {
                continue;
            }
            let says = |file: &[u8]| {
                let error = error(file);
                assert!(error.starts_with(&format!("m.model: damaged model: {name}: ")), "{name}: {error}");
            };
            for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                says(&with_member(&file.bytes, &name, flipped, false));
                says(&with_member(&file.bytes, &name, bytes[..at].to_vec(), false));
                says(&with_member(&file.bytes, &name, bytes[..at].to_vec(), true));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn any_changed_byte_or_hole_is_an_error_or_no_change(
        which in 0usize..2, at in any::<u64>(), flip in 1u8..=255, hole in 1usize..100,
    ) {
        let file = &files()[which].bytes;
        let at = (at % file.len() as u64) as usize;
        let mut bytes = file.clone();
        bytes[at] ^= flip;
        match Model::from_bytes("m", &bytes) {
            Ok(model) => prop_assert!(model.to_bytes().unwrap() == *file),
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
        let end = (at + hole).min(file.len());
        prop_assert!(Model::from_bytes("m", &file[..at]).is_err());
        prop_assert!(Model::from_bytes("m", &[&file[..at], &file[end..]].concat()).is_err());
    }

    /// Hashes fit, as in a file that was made to harm: what is read is a model that scores, or an error of one line.
    #[test]
    fn a_crafted_member_is_an_error_or_a_model(
        which in 0usize..2,
        member in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<u64>(), 1u8..=255, any::<bool>()), 1..4),
    ) {
        let file = &files()[which].bytes;
        let all: Vec<(String, Vec<u8>)> =
            members(file).into_iter().filter(|(name, _)| name != manifest::NAME).collect();
        let (name, mut bytes) = all[member.index(all.len())].clone();
        let length = bytes.len() as u64;
        for (at, flip, footer) in flips {
            let at = if footer { length - 1 - at % 600.min(length) } else { at % length };
            bytes[at as usize] ^= flip;
        }
        match Model::from_bytes("m", &with_member(file, &name, bytes, true)) {
            Ok(model) => prop_assert!(model.detector().score(&judged_rows(200..201, true)).is_ok()),
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}
