//! The ZIP archive around a model: members stored, in a fixed order, with fixed dates and permissions.

use std::io::{Cursor, Read, Write};

use bytes::Bytes;
use zip::read::{ArchiveOffset, Config};
use zip::result::{ZipError, ZipResult};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipArchive, ZipWriter};

use super::{ModelError, limits};
use crate::source::kinds::named;

/// Bytes of the record that ends an archive.
const END: usize = 22;

/// Packs members; the same members give the same bytes on every machine.
pub(super) fn pack(members: &[(&str, &[u8])]) -> ZipResult<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::DEFAULT)
        .system(System::Unix)
        .unix_permissions(0o644);
    let size = members.iter().map(|(name, bytes)| bytes.len() + 2 * name.len() + 128).sum();
    let mut archive = ZipWriter::new(Cursor::new(Vec::with_capacity(size)));
    for (name, bytes) in members {
        archive.start_file(*name, options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// A member as it lies in the archive.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

/// Finds the members of an archive, without copying them. Their names are not used as paths.
///
/// Hashes of members are the manifest's to check; the manifest's own checksum is checked here.
///
/// # Errors
/// [`ModelError::NotAModel`], [`ModelError::TooLarge`], [`ModelError::Damaged`].
pub(super) fn unpack(file: &str, archive: &Bytes, manifest: &str) -> Result<Vec<Member>, ModelError> {
    let damaged = |what: &dyn std::fmt::Display| ModelError::Damaged {
        file: file.to_owned(),
        member: "the archive".to_owned(),
        what: what.to_string(),
    };
    if archive.len() as u64 > limits::FILE {
        return Err(too_large(file, "the file", archive.len() as u64, limits::FILE));
    }
    if !archive.starts_with(b"PK\x03\x04") {
        return Err(ModelError::NotAModel { file: file.to_owned(), found: named(archive).to_owned() });
    }
    check_end(archive).map_err(|what| damaged(&what))?;
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut zip =
        ZipArchive::with_config(config, Cursor::new(&archive[..])).map_err(|e| damaged(&text(&e)))?;
    // Duplicates, overlaps, members that are hidden between others.
    zip.validate_header_consistency().map_err(|error| damaged(&text(&error)))?;
    let mut members = Vec::with_capacity(zip.len());
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|error| damaged(&text(&error)))?;
        let name = String::from_utf8_lossy(entry.name_raw()).escape_debug().to_string();
        let wrong = |what: &str| ModelError::Damaged {
            file: file.to_owned(),
            member: name.clone(),
            what: what.to_owned(),
        };
        if entry.encrypted() || entry.compression() != CompressionMethod::Stored || !entry.is_file() {
            return Err(wrong(
                "it is not a plain stored member; models are not packed anew by other programs",
            ));
        }
        let (size, start) = (entry.size(), entry.data_start().unwrap_or(u64::MAX));
        if size != entry.compressed_size() {
            return Err(wrong("its two sizes differ"));
        }
        if name == manifest && size > limits::MANIFEST {
            return Err(too_large(file, manifest, size, limits::MANIFEST));
        }
        let end = start.checked_add(size).filter(|end| *end <= archive.len() as u64);
        let Some(end) = end else { return Err(wrong("it goes beyond the end of the file")) };
        drop(entry);
        if name == manifest {
            let checked = zip
                .by_index(index)
                .and_then(|mut entry| Ok(std::io::copy(&mut entry.by_ref(), &mut std::io::sink())?));
            checked.map_err(|error| wrong(&text(&error)))?;
        }
        members.push(Member { name, bytes: archive.slice(start as usize..end as usize) });
    }
    Ok(members)
}

pub(super) fn too_large(file: &str, what: &str, found: u64, limit: u64) -> ModelError {
    ModelError::TooLarge {
        file: file.to_owned(),
        what: format!("{what} has {found} bytes, at most {limit} are read"),
    }
}

/// An archive's error in one line.
fn text(error: &ZipError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Checks the record at the archive's end: one small directory right before it, nothing behind it.
///
/// Without this a file could make a reader of archives collect millions of entries.
fn check_end(archive: &[u8]) -> Result<(), &'static str> {
    let end = archive.len().checked_sub(END).map(|at| &archive[at..]);
    let Some(end) = end.filter(|end| end.starts_with(b"PK\x05\x06")) else {
        return Err("its end is missing: the file was cut off, or something was added");
    };
    let short = |at: usize| u64::from(u16::from_le_bytes([end[at], end[at + 1]]));
    let long = |at: usize| short(at) | short(at + 2) << 16;
    let (disks, entries, directory) = (short(4) | short(6), (short(8), short(10)), (long(16), long(12)));
    if disks != 0 || entries.0 != entries.1 || entries.0 > limits::MEMBERS || short(20) != 0 {
        return Err("its end says what no model's says");
    }
    if directory.1 > limits::DIRECTORY || directory.0 + directory.1 + END as u64 != archive.len() as u64 {
        return Err("its directory is not at its end");
    }
    Ok(())
}
