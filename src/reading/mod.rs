//! Parquet files that others may have written, or that are damaged: what is wrong with their bytes is an error in one
//! line.
//!
//! The crate that decodes them takes some lengths and places for granted, and panics where they lie beyond a
//! page; that is caught here, and here alone. [`is_guarded`] tells whoever is asked about a panic that it will
//! be an error.

pub(crate) mod columns;
mod table;

use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

pub(crate) use self::table::{Damage, Table, Tables};
use crate::threads;

/// A file that is open, its columns known.
pub(crate) type Opened = ParquetRecordBatchReaderBuilder<File>;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// What the system says.
    Io(std::io::Error),
    /// What is wrong with it, in one line.
    Damaged(String),
}

impl Unreadable {
    /// What a reader says of a file: what the system said to it is handed on as text alone, which ends with a number.
    pub(crate) fn of(what: String) -> Unreadable {
        let number = what.strip_suffix(')').and_then(|what| what.rsplit_once("(os error "));
        match number.and_then(|(_, number)| number.parse().ok()) {
            Some(number) => Unreadable::Io(std::io::Error::from_raw_os_error(number)),
            None => Unreadable::Damaged(what),
        }
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unreadable::Io(error) => error.fmt(f),
            Unreadable::Damaged(what) => f.write_str(what),
        }
    }
}

/// Whether what panics on this thread now becomes an error of a file, so that nobody need hear of it.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// What a reader of foreign bytes says, an error where it panics.
pub(crate) fn guarded<T, E: std::fmt::Display>(read: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    let before = GUARDED.replace(true);
    // What the reader leaves behind is not used again: its owner gives it up with the error.
    let read = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(before);
    match read {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(in_one_line(&error.to_string())),
        Err(panic) => Err(format!("its bytes lead nowhere: {}", in_one_line(threads::said(&*panic)))),
    }
}

/// The first line of what a reader says, or what to do where it was built without a codec.
fn in_one_line(said: &str) -> String {
    let line = said.lines().next().unwrap_or("");
    match line.split_once("Disabled feature at compile time: ") {
        Some((_, codec)) => {
            format!("it is compressed with {codec}: write it with zstd, snappy, gzip or lz4")
        }
        None => line.to_owned(),
    }
}

/// Opens a file and reads what it says about itself.
pub(crate) fn open(path: &Path) -> Result<Opened, Unreadable> {
    let file = File::open(path).map_err(Unreadable::Io)?;
    guarded(|| -> Result<_, ParquetError> {
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata))
    })
    .map_err(Unreadable::of)
}

/// The rows of a file, batch by batch; nothing comes after an error.
pub(crate) struct Batches {
    reader: Option<ParquetRecordBatchReader>,
}

impl Batches {
    /// Those of a file, in what columns and pieces it was told to be read.
    pub(crate) fn of(file: Opened) -> Result<Batches, String> {
        guarded(|| file.build()).map(|reader| Batches { reader: Some(reader) })
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let read = guarded(|| reader.next().transpose()).transpose();
        if !matches!(read, Some(Ok(_))) {
            self.reader = None;
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray, UInt64Array};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Encoding;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// A file of all the ways in which values may be encoded that programs use.
    fn file() -> Vec<u8> {
        let numbers = |step: u64| Arc::new(UInt64Array::from_iter_values((0..300).map(|n| n * step % 1009)));
        let texts = || Arc::new(StringArray::from_iter_values((0..300).map(|n| format!("name-{}", n % 37))));
        let floats = Arc::new(Float64Array::from_iter_values((0..300).map(|n| f64::from(n).sqrt())));
        let columns: [(&str, ArrayRef, Option<Encoding>); 6] = [
            ("split", floats, Some(Encoding::BYTE_STREAM_SPLIT)),
            ("delta", numbers(7), Some(Encoding::DELTA_BINARY_PACKED)),
            ("lengths", texts(), Some(Encoding::DELTA_LENGTH_BYTE_ARRAY)),
            ("fronts", texts(), Some(Encoding::DELTA_BYTE_ARRAY)),
            ("plain", numbers(3), Some(Encoding::PLAIN)),
            ("dictionary", texts(), None),
        ];
        let mut properties = WriterProperties::builder();
        for (name, _, encoding) in &columns {
            if let Some(encoding) = encoding {
                properties = properties
                    .set_column_dictionary_enabled((*name).into(), false)
                    .set_column_encoding((*name).into(), *encoding);
            }
        }
        let rows = RecordBatch::try_from_iter(columns.map(|(name, values, _)| (name, values))).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties.build())).unwrap();
        writer.write(&rows).unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn what_the_system_says_is_no_damage() {
        let external = |error: std::io::Error| ParquetError::External(Box::new(error));
        let limit = guarded(|| Err::<(), _>(external(std::io::Error::from_raw_os_error(24)))).unwrap_err();
        assert!(matches!(Unreadable::of(limit), Unreadable::Io(error) if error.raw_os_error() == Some(24)));
        let short = guarded(|| Err::<(), _>(external(std::io::ErrorKind::UnexpectedEof.into()))).unwrap_err();
        assert!(matches!(Unreadable::of(short), Unreadable::Damaged(_)));
    }

    #[test]
    fn a_codec_that_is_not_read_is_named_with_those_that_are() {
        let error = || {
            let why = Box::new(ParquetError::General("Disabled feature at compile time: brotli".to_owned()));
            Err::<(), _>(ParquetError::External(why))
        };
        let said = guarded(error).unwrap_err();
        assert_eq!(said, "it is compressed with brotli: write it with zstd, snappy, gzip or lz4");
    }

    #[test]
    fn whatever_byte_of_a_file_is_wrong_it_is_read_or_an_error_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let whole = file();
        let read = |bytes: &[u8]| -> Result<usize, String> {
            std::fs::write(&path, bytes).unwrap();
            let file = open(&path).map_err(|error| error.to_string())?;
            let batches = Batches::of(file)?.collect::<Result<Vec<_>, _>>()?;
            Ok(batches.iter().map(RecordBatch::num_rows).sum())
        };
        assert_eq!(read(&whole), Ok(300));
        let (mut errors, mut panics) = (0, 0);
        // Every third byte: some thousands of files.
        for (at, change) in (0..whole.len()).step_by(3).zip([0xff, 0x01, 0x80, 0x7f].into_iter().cycle()) {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            if let Err(error) = read(&bytes) {
                assert!(!error.contains('\n') && !error.is_empty(), "{error:?}");
                errors += 1;
                panics += usize::from(error.starts_with("its bytes lead nowhere"));
            }
        }
        assert!(errors > 100 && panics > 0, "{errors} errors, {panics} of them panics that were caught");
    }

    #[test]
    fn a_panic_is_an_error_in_one_line_and_leaves_no_guard_behind() {
        let read = guarded(|| -> Result<(), std::fmt::Error> { panic!("index 5\nof 4") });
        assert_eq!(read, Err("its bytes lead nowhere: index 5".to_owned()));
        assert!(!is_guarded());
        assert_eq!(guarded(|| Ok::<_, std::fmt::Error>(is_guarded())), Ok(true));
        assert_eq!(guarded(|| Err::<(), _>("one\ntwo")), Err("one".to_owned()));
    }
}
