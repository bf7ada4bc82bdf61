//! Models as bytes and as files, written so that no half of one is ever under its name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::container::{Member, pack, too_large, unpack};
use super::manifest::{self, Entry, Manifest, hex};
use super::{Model, ModelError, limits, table};
use crate::context::Memory;
use crate::detect::DetectSpec;
use crate::draft::Draft;
use crate::reading::Tables;

/// Ends the name of a table's member.
const PARQUET: &str = ".parquet";

impl Model {
    /// The model as a file's bytes: the same for the same rows and seed.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        self.bytes(&self.pipeline.name)
    }

    fn bytes(&self, file: &str) -> Result<Vec<u8>, ModelError> {
        let large = |what: String| ModelError::TooLarge { file: file.to_owned(), what };
        let parts = |error: &dyn std::fmt::Display| ModelError::Parts(error.to_string());
        let mut tables = self.detector.tables().map_err(|error| parts(&error))?;
        let spec = &self.pipeline.detect;
        let forests = tables.iter().find(|(name, _)| Some(name.as_str()) == spec.table_of_forests());
        let trees = count_trees(spec, forests);
        if trees > limits::TREES {
            return Err(large(format!(
                "{trees} trees, at most {} are read; set fewer trees, or partition by a column of fewer values",
                limits::TREES
            )));
        }
        tables.extend(self.memory.iter().flat_map(|memory| memory.tables()));
        tables.sort_by(|a, b| a.0.cmp(&b.0));
        let (mut entries, mut packed) = (BTreeMap::new(), Vec::new());
        for (name, rows) in &tables {
            let member = format!("{name}{PARQUET}");
            let bytes = table::encode(rows)
                .map_err(|what| large(format!("{member}: {what}; set fewer trees, or a smaller sample")))?;
            entries.insert(member.clone(), entry(&bytes, rows.num_rows()));
            packed.push((member, bytes));
        }
        drop(tables);
        let manifest = Manifest::of(self, entries).bytes();
        if manifest.len() as u64 > limits::MANIFEST {
            return Err(too_large(file, manifest::NAME, manifest.len() as u64, limits::MANIFEST));
        }
        let mut members = vec![(manifest::NAME, manifest.as_slice())];
        members.extend(packed.iter().map(|(name, bytes)| (name.as_str(), bytes.as_ref())));
        let size = members.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() + limits::DIRECTORY;
        if size > limits::FILE {
            return Err(too_large(file, "the file", size, limits::FILE));
        }
        pack(&members).map_err(|error| parts(&error))
    }

    /// Writes the model. Under `path` there is the whole model or what was there before, whenever the machine
    /// stops; a symbolic link is followed, and stays one.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::Draft`] and those of [`Model::to_bytes`].
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        self.write_to(Draft::create(path)?)
    }

    /// As [`Model::write`], to a file that was begun: whoever trains for hours knows before that it can be written.
    ///
    /// # Errors
    /// As [`Model::write`].
    pub fn write_to(&self, mut draft: Draft) -> Result<(), ModelError> {
        let path = draft.path().to_owned();
        let bytes = self.bytes(&path.display().to_string())?;
        let written = draft.write_all(&bytes);
        written.map_err(|source| ModelError::Io { path, doing: "write", source })?;
        Ok(draft.commit()?)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// [`ModelError::Io`] and those of [`Model::from_bytes`].
    pub fn read(path: &Path) -> Result<Model, ModelError> {
        parse(&path.display().to_string(), &read(path)?)
    }

    /// Reads a model, with the SHA-256 of its file in hexadecimal digits.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn read_hashed(path: &Path) -> Result<(Model, String), ModelError> {
        let bytes = read(path)?;
        Ok((parse(&path.display().to_string(), &bytes)?, hex(&Sha256::digest(&bytes))))
    }

    /// Reads a model from the bytes of a file; `name` is its name in messages.
    ///
    /// # Errors
    /// [`ModelError::NotAModel`], [`ModelError::Newer`], [`ModelError::Older`], [`ModelError::TooLarge`], [`ModelError::Damaged`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Model, ModelError> {
        if bytes.len() as u64 > limits::FILE {
            return Err(too_large(name, "the file", bytes.len() as u64, limits::FILE));
        }
        parse(name, &Bytes::copy_from_slice(bytes))
    }
}

/// The bytes of a model's file.
fn read(path: &Path) -> Result<Bytes, ModelError> {
    let io = |source| ModelError::Io { path: path.to_owned(), doing: "read", source };
    let name = path.display().to_string();
    let file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size > limits::FILE {
        return Err(too_large(&name, "the file", size, limits::FILE));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // One byte more than allowed tells what grows from what ends.
    file.take(limits::FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes.into())
}

fn entry(bytes: &Bytes, rows: usize) -> Entry {
    Entry { bytes: bytes.len() as u64, rows: rows as u64, sha256: hex(&Sha256::digest(bytes)) }
}

/// Trees of a forest's partitions, as far as its table of calibration tells: the row of all partitions has the
/// sample of the fallback.
fn count_trees(spec: &DetectSpec, forests: Option<&(String, RecordBatch)>) -> u64 {
    let sample = forests.and_then(|(_, table)| table.column_by_name("sample"));
    let forests = sample.map_or(0, |sample| sample.len() - sample.null_count());
    (forests as u64).saturating_mul(spec.trees as u64)
}

/// Tables of what context remembers; both or none are there.
const MEMORY: [&str; 2] = ["seen", "starts"];

/// Reads a model: archive, manifest, members, then the parts together.
fn parse(file: &str, bytes: &Bytes) -> Result<Model, ModelError> {
    let blame = Blame { file };
    let members = unpack(file, bytes, manifest::NAME)?;
    let manifest = read_manifest(blame, &members)?;
    let spec = &manifest.pipeline.detect;
    let own = spec.tables();
    let tables = read_tables(blame, &manifest, &own, &members)?;
    let fields: Option<Vec<_>> = manifest.columns.iter().map(manifest::Column::field).collect();
    let fields = fields.ok_or_else(|| blame.manifest(&"a column has a type that no column has"))?;
    let seed = manifest.pipeline.seed;
    let read = crate::detect::read(spec, seed, manifest.features, &fields, &tables);
    let detector = read.map_err(|damage| match own.contains(&damage.table.as_str()) {
        true => blame.table(&damage.table, &damage),
        false => blame.manifest(&damage),
    })?;
    let remembers = MEMORY.iter().any(|name| tables.contains_key(*name));
    let memory = remembers.then(|| Memory::from_tables(&tables)).transpose();
    let memory = memory.map_err(|damage| blame.table(&damage.table, &damage))?;
    drop(tables);
    let make = manifest.make().ok_or_else(|| blame.manifest(&"flow rows have settings, tables have none"))?;
    let model = Model {
        netweir_version: manifest.netweir_version.clone(),
        feature_version: manifest.feature_version,
        make,
        pipeline: manifest.pipeline.clone(),
        training: manifest.training.training(),
        detector,
        memory: memory.map(Arc::new),
        own: Vec::new(),
    };
    check_manifest(&manifest, &model).map_err(|what| blame.manifest(&what))?;
    Ok(model)
}

/// Says which part of a file is not as it was written.
#[derive(Clone, Copy)]
struct Blame<'a> {
    file: &'a str,
}

impl Blame<'_> {
    fn member(self, member: &str, what: &dyn std::fmt::Display) -> ModelError {
        ModelError::Damaged {
            file: self.file.to_owned(),
            member: member.to_owned(),
            what: what.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    fn table(self, name: &str, what: &dyn std::fmt::Display) -> ModelError {
        self.member(&format!("{name}{PARQUET}"), what)
    }

    fn manifest(self, what: &dyn std::fmt::Display) -> ModelError {
        self.member(manifest::NAME, what)
    }
}

/// The manifest of an archive that has no members beside those that it names.
fn read_manifest(blame: Blame<'_>, members: &[Member]) -> Result<Manifest, ModelError> {
    let file = blame.file.to_owned();
    let Some(text) = find(members, manifest::NAME) else {
        return Err(ModelError::NotAModel {
            file,
            found: format!("a ZIP archive without {}", manifest::NAME),
        });
    };
    let manifest = match Manifest::read(text).map_err(|what| blame.manifest(&what))? {
        manifest::Read::Manifest(manifest) => manifest,
        manifest::Read::Newer { found, writer } => return Err(ModelError::Newer { file, found, writer }),
        manifest::Read::Older { found, writer } => return Err(ModelError::Older { file, found, writer }),
    };
    let is_member = |name: &str| name == manifest::NAME || manifest.members.contains_key(name);
    match members.iter().find(|member| !is_member(&member.name)) {
        Some(other) => Err(blame.member(&other.name, &"it is no member of a model")),
        None => Ok(*manifest),
    }
}

/// The tables that a manifest names: all of the detector's, `own`, and both or none of [`MEMORY`], each with the hash
/// and the rows that the manifest has of it.
fn read_tables(
    blame: Blame<'_>,
    manifest: &Manifest,
    own: &[&str],
    members: &[Member],
) -> Result<Tables, ModelError> {
    let spec = &manifest.pipeline.detect;
    if own.is_empty() {
        let name: String = spec.detector.chars().take(40).flat_map(char::escape_debug).collect();
        return Err(blame.manifest(&format_args!("no detector is named `{name}`")));
    }
    let names: Vec<&str> =
        manifest.members.keys().map(|name| name.strip_suffix(PARQUET).unwrap_or("")).collect();
    let remembers = MEMORY.iter().filter(|name| names.contains(name)).count();
    let strange = names.iter().any(|name| !own.contains(name) && !MEMORY.contains(name));
    if strange || ![0, MEMORY.len()].contains(&remembers) || own.iter().any(|name| !names.contains(name)) {
        return Err(blame.manifest(&format_args!("its members are not {}", own.join(", "))));
    }
    let mut tables = BTreeMap::new();
    for name in names {
        let member = format!("{name}{PARQUET}");
        let expected = &manifest.members[&member];
        let bytes = find(members, &member).ok_or_else(|| blame.member(&member, &"the member is missing"))?;
        if bytes.len() as u64 != expected.bytes || hex(&Sha256::digest(bytes)) != expected.sha256 {
            let what = "it is not what was written: its hash differs from the manifest's";
            return Err(blame.member(&member, &what));
        }
        let rows = table::decode(bytes, expected.rows).map_err(|what| blame.member(&member, &what))?;
        let table = (name.to_owned(), rows);
        if Some(name) == spec.table_of_forests() && count_trees(spec, Some(&table)) > limits::TREES {
            return Err(blame.member(&member, &format_args!("more than {} trees", limits::TREES)));
        }
        tables.insert(table.0, table.1);
    }
    Ok(tables)
}

/// Whether what a manifest says of its model is what the model says of itself.
fn check_manifest(manifest: &Manifest, model: &Model) -> Result<(), String> {
    if model.columns().map(manifest::Column::of).collect::<Vec<_>>() != manifest.columns {
        return Err("its columns are not those of the detector".to_owned());
    }
    if model.fingerprint() != manifest.fingerprint {
        return Err("its fingerprint is another".to_owned());
    }
    model.check()?;
    if model.rows() != manifest.training.rows {
        return Err("its training rows are not those of the detector".to_owned());
    }
    Ok(())
}

fn find<'a>(members: &'a [Member], name: &str) -> Option<&'a Bytes> {
    members.iter().find(|member| member.name == name).map(|member| &member.bytes)
}
