//! Models as bytes and as files, written so that no half of one is ever under its name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::container::{Member, pack, too_large, unpack};
use super::manifest::{self, Entry, Manifest, hex};
use super::{MEMBERS, Model, ModelError, limits, table};
use crate::detect::{Detector, PartitionedForest, Scorer};
use crate::draft::Draft;
use crate::encode::Encoders;

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
        let trees = count_trees(&self.scorer.forest);
        if trees > limits::TREES {
            return Err(large(format!(
                "{trees} trees, at most {} are read; set fewer trees, or partition by a column of fewer values",
                limits::TREES
            )));
        }
        let mut tables = self.scorer.forest.tables().map_err(|error| parts(&error))?;
        tables.push(("encoders".to_owned(), self.scorer.encoders.to_table()));
        let (mut entries, mut packed) = (BTreeMap::new(), Vec::new());
        for member in MEMBERS {
            let rows = tables.iter().find(|(name, _)| Some(name.as_str()) == member.strip_suffix(PARQUET));
            let (_, rows) = rows.ok_or_else(|| parts(&format_args!("there is no table for {member}")))?;
            let bytes = table::encode(rows)
                .map_err(|what| large(format!("{member}: {what}; set fewer trees, or a smaller sample")))?;
            entries.insert(member.to_owned(), entry(&bytes, rows.num_rows()));
            packed.push((member, bytes));
        }
        drop(tables);
        let manifest = Manifest::of(self, entries).bytes();
        if manifest.len() as u64 > limits::MANIFEST {
            return Err(too_large(file, manifest::NAME, manifest.len() as u64, limits::MANIFEST));
        }
        let mut members = vec![(manifest::NAME, manifest.as_slice())];
        members.extend(packed.iter().map(|(name, bytes)| (*name, bytes.as_ref())));
        let size = members.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() + limits::DIRECTORY;
        if size > limits::FILE {
            return Err(too_large(file, "the file", size, limits::FILE));
        }
        pack(&members).map_err(|error| parts(&error))
    }

    /// Writes the model. Under `path` there is the whole model or what was there before, whenever the machine
    /// stops; a symbolic link is replaced, not followed.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::Draft`] and those of [`Model::to_bytes`].
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        let bytes = self.bytes(&path.display().to_string())?;
        let mut draft = Draft::create(path)?;
        let written = draft.write_all(&bytes);
        written.map_err(|source| ModelError::Io { path: path.to_owned(), doing: "write", source })?;
        Ok(draft.commit()?)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// [`ModelError::Io`] and those of [`Model::from_bytes`].
    pub fn read(path: &Path) -> Result<Model, ModelError> {
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
        parse(&name, &bytes.into())
    }

    /// Reads a model from the bytes of a file; `name` is its name in messages.
    ///
    /// # Errors
    /// [`ModelError::NotAModel`], [`ModelError::Newer`], [`ModelError::TooLarge`], [`ModelError::Damaged`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Model, ModelError> {
        if bytes.len() as u64 > limits::FILE {
            return Err(too_large(name, "the file", bytes.len() as u64, limits::FILE));
        }
        parse(name, &Bytes::copy_from_slice(bytes))
    }
}

fn entry(bytes: &Bytes, rows: usize) -> Entry {
    Entry { bytes: bytes.len() as u64, rows: rows as u64, sha256: hex(&Sha256::digest(bytes)) }
}

fn count_trees(forest: &PartitionedForest) -> u64 {
    let own = forest.partitions().iter().filter(|partition| partition.sample.is_some()).count();
    (own as u64 + 1) * forest.detect_settings().trees() as u64
}

/// Reads a model: archive, manifest, members, then the parts together.
fn parse(file: &str, bytes: &Bytes) -> Result<Model, ModelError> {
    let damaged = |member: &str, what: &dyn std::fmt::Display| ModelError::Damaged {
        file: file.to_owned(),
        member: member.to_owned(),
        what: what.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    let members = unpack(file, bytes, manifest::NAME)?;
    let Some(text) = find(&members, manifest::NAME) else {
        let found = format!("a ZIP archive without {}", manifest::NAME);
        return Err(ModelError::NotAModel { file: file.to_owned(), found });
    };
    let of_manifest = |what: &dyn std::fmt::Display| damaged(manifest::NAME, what);
    let manifest = match Manifest::read(text).map_err(|what| of_manifest(&what))? {
        manifest::Read::Manifest(manifest) => manifest,
        manifest::Read::Newer { found, writer } => {
            return Err(ModelError::Newer { file: file.to_owned(), found, writer });
        }
    };
    if let Some(other) = members.iter().find(|member| !is_member(&member.name)) {
        return Err(damaged(&other.name, &"it is no member of a model"));
    }
    if !manifest.members.keys().map(String::as_str).eq(MEMBERS) {
        return Err(of_manifest(&format_args!("its members are not {}", MEMBERS.join(", "))));
    }
    let table = |name: &str| {
        let expected = &manifest.members[name];
        let bytes = find(&members, name).ok_or_else(|| damaged(name, &"the member is missing"))?;
        if bytes.len() as u64 != expected.bytes || hex(&Sha256::digest(bytes)) != expected.sha256 {
            return Err(damaged(name, &"it is not what was written: its hash differs from the manifest's"));
        }
        table::decode(bytes, expected.rows).map_err(|what| damaged(name, &what))
    };

    let encoders = Encoders::from_table(&table("encoders.parquet")?)
        .map_err(|error| damaged("encoders.parquet", &error))?;
    let calibration = table("calibration.parquet")?;
    // The row of all partitions has the sample of the fallback.
    let forests = calibration.column_by_name("sample").map_or(0, |sample| sample.len() - sample.null_count());
    if (forests as u64).saturating_mul(manifest.pipeline.detect.trees as u64) > limits::TREES {
        return Err(damaged("calibration.parquet", &format_args!("more than {} trees", limits::TREES)));
    }
    let tables = [("calibration".to_owned(), calibration), ("forest".to_owned(), table("forest.parquet")?)];
    let forest = PartitionedForest::from_tables(&manifest.forest_settings(), &tables).map_err(|error| {
        let member = match &error {
            crate::detect::DetectError::Damaged { table: "forest", .. } => "forest.parquet",
            crate::detect::DetectError::Damaged { table: "calibration", .. } => "calibration.parquet",
            _ => manifest::NAME,
        };
        damaged(member, &error)
    })?;
    drop(tables);

    let make = manifest.make().ok_or_else(|| of_manifest(&"flow rows have settings, tables have none"))?;
    let columns = &manifest.columns;
    let partition_column = columns.get(encoders.columns().len()).map(|column| column.field());
    let partition_column = match partition_column {
        Some(None) => return Err(of_manifest(&"a column has a type that no column has")),
        column => column.flatten(),
    };
    let model = Model {
        netweir_version: manifest.netweir_version.clone(),
        feature_version: manifest.feature_version,
        make,
        pipeline: manifest.pipeline.clone(),
        training: manifest.training.training(),
        partition_column,
        scorer: Arc::new(Scorer { encoders, forest }),
    };
    if model.columns().map(manifest::Column::of).collect::<Vec<_>>() != *columns {
        return Err(of_manifest(&"its columns are not those of the encoders"));
    }
    if model.fingerprint() != manifest.fingerprint {
        return Err(of_manifest(&"its fingerprint is another"));
    }
    model.check().map_err(|what| of_manifest(&what))?;
    if model.rows() != manifest.training.rows {
        return Err(of_manifest(&"its training rows are not those of the partitions"));
    }
    Ok(model)
}

fn find<'a>(members: &'a [Member], name: &str) -> Option<&'a Bytes> {
    members.iter().find(|member| member.name == name).map(|member| &member.bytes)
}

fn is_member(name: &str) -> bool {
    name == manifest::NAME || MEMBERS.contains(&name)
}
