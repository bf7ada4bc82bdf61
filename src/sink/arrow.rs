//! Rows to one Arrow IPC file (Feather V2), to be mapped into memory: the same rows give the same bytes.
//!
//! Texts are plain `Utf8`. The file format knows no replaced dictionaries, dictionaries that grow are
//! refused by polars, and a dictionary of the whole file may not fit keys that fit each batch.

use std::io::{BufWriter, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;

use super::chunks::Chunks;
use super::operator::End;
use super::{AnyError, SinkError};
use crate::draft::Draft;

/// Rows of a record batch.
pub(super) const CHUNK: usize = 64 * 1024;

/// One Arrow file, under its name when it is finished.
pub struct ArrowFile {
    writer: Writer<Draft>,
}

impl ArrowFile {
    /// Begins a file of rows of `schema`.
    ///
    /// # Errors
    /// [`SinkError`] if it cannot be written to.
    pub fn create(draft: Draft, schema: &SchemaRef) -> Result<ArrowFile, SinkError> {
        let path = draft.path().to_owned();
        let writer = Writer::new(draft, schema).map_err(|error| failed(&path, error))?;
        Ok(ArrowFile { writer })
    }

    fn path(&self) -> &Path {
        self.writer.file.get_ref().get_ref().path()
    }
}

impl End for ArrowFile {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError> {
        self.writer.write(rows).map_err(|error| failed(self.path(), error))?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        let path = self.path().to_owned();
        self.writer.finish().map_err(|error| failed(&path, error))?.commit()?;
        Ok(())
    }
}

fn failed(path: &Path, error: ArrowError) -> SinkError {
    match error {
        ArrowError::IoError(_, source) => SinkError::Io { path: path.to_owned(), source },
        other => SinkError::rows(path, &other),
    }
}

/// Rows to the bytes of an Arrow file.
pub(super) struct Writer<W: Write> {
    file: FileWriter<BufWriter<W>>,
    chunks: Chunks,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, schema: &SchemaRef) -> Result<Writer<W>, ArrowError> {
        let chunks = Chunks::new(schema, CHUNK, &DataType::Utf8);
        let file = FileWriter::try_new(BufWriter::new(out), chunks.schema())?;
        Ok(Writer { file, chunks })
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        self.chunks.push(rows)?;
        self.drain()
    }

    pub(super) fn finish(mut self) -> Result<W, ArrowError> {
        self.chunks.end()?;
        self.drain()?;
        self.file.finish()?;
        let buffered = self.file.into_inner()?;
        buffered.into_inner().map_err(|error| ArrowError::from(error.into_error()))
    }

    fn drain(&mut self) -> Result<(), ArrowError> {
        while let Some(chunk) = self.chunks.next() {
            self.file.write(&chunk)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use arrow::compute::concat_batches;
    use arrow::ipc::reader::FileReader;
    use proptest::prelude::*;

    use super::*;
    use crate::sink::samples;

    fn bytes(schema: &SchemaRef, batches: &[RecordBatch]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), schema).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> (Vec<usize>, RecordBatch) {
        let reader = FileReader::try_new(Cursor::new(bytes), None).unwrap();
        let schema = reader.schema();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        let all = concat_batches(&schema, &batches).unwrap();
        (batches.iter().map(RecordBatch::num_rows).collect(), all)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn bytes_know_nothing_of_batches_and_dictionaries(
            rows in 0usize..300,
            seed: u64,
            cuts in prop::collection::vec(0usize..300, 0..12),
            layout: u64,
        ) {
            let all = samples::scored(rows, seed);
            let once = bytes(&all.schema(), std::slice::from_ref(&all));
            prop_assert_eq!(&once, &bytes(&all.schema(), &samples::cut(&all, cuts, layout)));
            let (_, back) = read(once);
            prop_assert_eq!(&back.schema_ref().metadata, &all.schema_ref().metadata);
            prop_assert_eq!(samples::plain(&back), samples::plain(&all));
        }
    }

    #[test]
    fn record_batches_have_one_size() {
        let all = samples::scored(CHUNK + 100, 9);
        let once = bytes(&all.schema(), std::slice::from_ref(&all));
        let cut = samples::cut(&all, vec![1, 5000, 5001, CHUNK, CHUNK + 1], 2);
        assert!(once == bytes(&all.schema(), &cut));
        assert_eq!(read(once).0, [CHUNK, 100]);
    }

    #[test]
    fn a_run_without_rows_leaves_a_file_of_its_schema() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.feather");
        let schema = samples::schema();
        Box::new(ArrowFile::create(Draft::create(&path).unwrap(), &schema).unwrap()).finish().unwrap();
        let (sizes, rows) = read(std::fs::read(&path).unwrap());
        assert_eq!((sizes, rows.num_columns()), (vec![], schema.fields().len()));
    }
}
