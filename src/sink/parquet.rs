//! Rows to one Parquet file: the same rows in the same order give the same bytes.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::SchemaDescriptor;
use rayon::prelude::*;

use super::chunks::Chunks;
use super::operator::End;
use super::pages::{Encode, Encoded, compression, encoder};
use super::{AnyError, SinkError};
use crate::draft::Draft;
use crate::row::schema::SETTINGS;

/// Rows of a row group: smaller ones cost time and bytes, larger ones memory.
const GROUP: usize = 256 * 1024;

/// Rows of a page.
const CHUNK: usize = 16 * 1024;

/// Values that are encoded at once where several threads do it, as far as a page has fewer: otherwise threads wait
/// for the one that has the slowest column each time.
const AT_ONCE: usize = 3 << 20;

/// Rows of a batch that is small: a column of it is little more than what every column takes, in memory and in time.
const SMALL: usize = 256;

/// Small batches of which one is made.
const TOGETHER: usize = 64;

/// One Parquet file, under its name when it is finished.
pub struct ParquetFile {
    writer: Writer<Draft>,
}

impl ParquetFile {
    /// Begins a file of rows of `schema`.
    ///
    /// # Errors
    /// [`SinkError`] if it cannot be written to, or Parquet has no type for a column.
    pub fn create(draft: Draft, schema: &SchemaRef) -> Result<ParquetFile, SinkError> {
        let path = draft.path().to_owned();
        let writer = Writer::new(draft, schema, CHUNK, GROUP).map_err(|error| failed(&path, error))?;
        Ok(ParquetFile { writer })
    }

    /// Takes the next rows.
    ///
    /// # Errors
    /// [`SinkError`] if they cannot be written.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        self.writer.write(rows).map_err(|error| failed(self.writer.file.inner().path(), error))
    }

    /// The name that the file will have.
    pub(super) fn path(&self) -> &Path {
        self.writer.file.inner().path()
    }

    /// Whether it still lies where it was begun.
    pub(super) fn is_there(&self) -> bool {
        self.writer.file.inner().is_there()
    }

    /// Writes what is left and gives the file its name.
    ///
    /// # Errors
    /// [`SinkError`]; then no file is left.
    pub fn commit(self) -> Result<(), SinkError> {
        let path = self.writer.file.inner().path().to_owned();
        Ok(self.writer.finish().map_err(|error| failed(&path, error))?.commit()?)
    }
}

impl End for ParquetFile {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), AnyError> {
        Ok(self.write(rows)?)
    }

    fn finish(self: Box<Self>) -> Result<(), AnyError> {
        Ok(self.commit()?)
    }
}

fn failed(path: &Path, error: ParquetError) -> SinkError {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => SinkError::Io { path: path.to_owned(), source: *source },
            Err(other) => SinkError::rows(path, &other),
        },
        other => SinkError::rows(path, &other),
    }
}

/// A column of the row groups.
enum Column {
    /// One that is encoded here.
    Encoded { at: usize, encoder: Box<dyn Encode> },
    /// One that the parquet crate writes, by its place among those; its writers in the open row group.
    Other { at: usize, field: FieldRef, leaves: Vec<ArrowColumnWriter> },
}

/// What a column is in a row group that ends.
enum Closed {
    Encoded(Box<Encoded>),
    Other(Vec<ArrowColumnChunk>),
}

impl Closed {
    fn append<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        match self {
            Closed::Encoded(encoded) => group.append_column(&encoded.bytes, encoded.close),
            Closed::Other(chunks) => {
                chunks.into_iter().try_for_each(|chunk| chunk.append_to_row_group(group))
            }
        }
    }
}

impl Column {
    /// Adds rows: those of `batches`, which as far as the parquet crate writes them are in `chunks`.
    fn write(&mut self, batches: &[RecordBatch], chunks: &[RecordBatch]) -> Result<(), ParquetError> {
        match self {
            Column::Encoded { at, encoder } => {
                batches.iter().try_for_each(|rows| encoder.push(rows.column(*at)))
            }
            Column::Other { at, field, leaves } => {
                for rows in chunks {
                    for (writer, leaf) in leaves.iter_mut().zip(compute_leaves(field, rows.column(*at))?) {
                        writer.write(&leaf)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn close(&mut self) -> Result<Closed, ParquetError> {
        Ok(match self {
            Column::Encoded { encoder, .. } => Closed::Encoded(Box::new(encoder.end()?)),
            Column::Other { leaves, .. } => {
                let leaves = std::mem::take(leaves);
                Closed::Other(leaves.into_iter().map(ArrowColumnWriter::close).collect::<Result<_, _>>()?)
            }
        })
    }
}

/// Rows to the bytes of a Parquet file.
pub(super) struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    columns: Vec<Column>,
    /// Places of the columns that the parquet crate writes, and what it is given of them: its bytes depend on how
    /// many rows it is given at once.
    others: Vec<usize>,
    chunks: Chunks,
    /// Rows that wait until they are worth the way to other threads.
    waiting: Vec<RecordBatch>,
    /// Small batches that came last, not among `waiting` yet.
    small: Vec<RecordBatch>,
    /// Rows of both.
    waiting_rows: usize,
    /// How many rows are worth it.
    worth: usize,
    /// A row group that has ended, until it is written beside the next one's first pages.
    ended: Option<Vec<Closed>>,
    /// Row groups so far, the open one left out.
    groups: usize,
    /// Rows of the open row group, those that wait included, and how many make it full.
    rows: usize,
    full: usize,
}

impl<W: Write + Send> Writer<W> {
    /// Row groups of `full` rows, a multiple of `chunk`, which is a page's rows.
    pub(super) fn new(
        out: W,
        schema: &SchemaRef,
        chunk: usize,
        full: usize,
    ) -> Result<Writer<W>, ParquetError> {
        let leaves = ArrowSchemaConverter::new().convert(schema)?;
        let properties = Arc::new(properties(schema, &leaves));
        let file = SerializedFileWriter::new(out, leaves.root_schema_ptr(), properties)?;
        let factory = ArrowRowGroupWriterFactory::new(&file, schema.clone());
        let (mut columns, mut others) = (Vec::new(), Vec::new());
        for (at, field) in schema.fields().iter().enumerate() {
            let leaf = (0..leaves.num_columns()).find(|leaf| leaves.get_column_root_idx(*leaf) == at);
            let encoder = leaf.and_then(|leaf| encoder(field.data_type(), leaves.column(leaf), chunk));
            columns.push(match encoder {
                Some(encoder) => Column::Encoded { at, encoder },
                None => {
                    others.push(at);
                    Column::Other { at: others.len() - 1, field: field.clone(), leaves: Vec::new() }
                }
            });
        }
        let chunks = Chunks::new(&schema.project(&others)?, chunk, &DataType::Utf8View);
        for column in &mut columns {
            if let Column::Other { at, field, .. } = column {
                *field = chunks.schema().fields()[*at].clone();
            }
        }
        Ok(Writer {
            file,
            factory,
            columns,
            others,
            chunks,
            waiting: Vec::new(),
            small: Vec::new(),
            waiting_rows: 0,
            worth: if alone() { chunk } else { chunk.max(AT_ONCE / schema.fields().len().max(1)) },
            ended: None,
            groups: 0,
            rows: 0,
            full,
        })
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        if rows.num_columns() != self.columns.len() {
            let (found, expected) = (rows.num_columns(), self.columns.len());
            return Err(ParquetError::General(format!("{found} columns came, {expected} were expected")));
        }
        let mut from = 0;
        while from < rows.num_rows() {
            let count = (rows.num_rows() - from).min(self.full - self.rows);
            self.wait(if count == rows.num_rows() { rows.clone() } else { rows.slice(from, count) })?;
            self.rows += count;
            from += count;
            if self.rows == self.full {
                self.encode()?;
                self.close_group()?;
            } else if self.waiting_rows >= self.worth {
                self.encode()?;
            }
        }
        Ok(())
    }

    /// Keeps rows until they are encoded.
    fn wait(&mut self, rows: RecordBatch) -> Result<(), ParquetError> {
        self.waiting_rows += rows.num_rows();
        if rows.num_rows() < SMALL {
            self.small.push(rows);
            if self.small.len() < TOGETHER {
                return Ok(());
            }
            return self.put_together();
        }
        self.put_together()?;
        self.waiting.push(rows);
        Ok(())
    }

    /// Makes one batch of the small ones.
    fn put_together(&mut self) -> Result<(), ParquetError> {
        match &self.small[..] {
            [] => return Ok(()),
            [one] => self.waiting.push(one.clone()),
            [first, ..] => self.waiting.push(concat_batches(&first.schema(), &self.small)?),
        }
        self.small.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, ParquetError> {
        if self.rows > 0 {
            self.chunks_of_waiting()?;
            self.chunks.end()?;
            self.encode_columns()?;
            self.close_group()?;
        }
        if let Some(ended) = self.ended.take() {
            append(&mut self.file, ended)?;
        }
        self.file.into_inner()
    }

    /// Encodes what waits.
    fn encode(&mut self) -> Result<(), ParquetError> {
        self.chunks_of_waiting()?;
        self.encode_columns()
    }

    /// All rows that came wait now; gives the parquet crate's columns of them to their chunks.
    fn chunks_of_waiting(&mut self) -> Result<(), ParquetError> {
        self.put_together()?;
        if !self.others.is_empty() {
            for rows in &self.waiting {
                self.chunks.push(&rows.project(&self.others)?)?;
            }
        }
        Ok(())
    }

    fn encode_columns(&mut self) -> Result<(), ParquetError> {
        let chunks: Vec<RecordBatch> = std::iter::from_fn(|| self.chunks.next()).collect();
        self.open_group()?;
        let batches = std::mem::take(&mut self.waiting);
        self.waiting_rows = 0;
        if alone() {
            // The way to another thread would be for nothing.
            return self.columns.iter_mut().try_for_each(|column| column.write(&batches, &chunks));
        }
        let (ended, file, columns) = (self.ended.take(), &mut self.file, &mut self.columns);
        let (written, encoded) = rayon::join(
            || ended.map_or(Ok(()), |ended| append(file, ended)),
            || columns.par_iter_mut().try_for_each(|column| column.write(&batches, &chunks)),
        );
        written.and(encoded)
    }

    /// Makes the parquet crate's writers of the open row group, if it has none yet.
    fn open_group(&mut self) -> Result<(), ParquetError> {
        let open = |column: &Column| matches!(column, Column::Other { leaves, .. } if leaves.is_empty());
        if !self.columns.iter().any(open) {
            return Ok(());
        }
        let writers = self.factory.create_column_writers(self.groups)?;
        let columns = self.file.schema_descr();
        for (leaf, writer) in writers.into_iter().enumerate() {
            if let Column::Other { leaves, .. } = &mut self.columns[columns.get_column_root_idx(leaf)] {
                leaves.push(writer);
            }
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), ParquetError> {
        self.rows = 0;
        self.groups += 1;
        if alone() {
            // One after the other: what has been written need not be held.
            let mut group = self.file.next_row_group()?;
            self.columns.iter_mut().try_for_each(|column| column.close()?.append(&mut group))?;
            return group.close().map(|_| ());
        }
        if let Some(ended) = self.ended.take() {
            append(&mut self.file, ended)?;
        }
        self.ended = Some(self.columns.par_iter_mut().map(Column::close).collect::<Result<_, _>>()?);
        Ok(())
    }
}

/// Whether nobody else encodes.
fn alone() -> bool {
    rayon::current_num_threads() == 1
}

/// Writes a row group.
fn append<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    ended: Vec<Closed>,
) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    ended.into_iter().try_for_each(|column| column.append(&mut group))?;
    group.close().map(|_| ())
}

/// What the file says of itself, and how the parquet crate writes the columns that are left to it.
fn properties(schema: &Schema, columns: &SchemaDescriptor) -> WriterProperties {
    // As metadata of its own beside the Arrow schema, for readers that know nothing of Arrow.
    let own = schema.metadata().iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let mut properties = WriterProperties::builder()
        .set_created_by("netweir".to_owned())
        .set_compression(compression())
        .set_key_value_metadata(Some(own.collect()))
        .set_sorting_columns(sorting(schema, columns))
        // Rows lie in the order of hashes: pages are as wide as their row group, and an index of them tells nothing.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    for column in columns.columns() {
        let whole =
            matches!(column.physical_type(), Type::INT64 | Type::FLOAT | Type::DOUBLE | Type::BOOLEAN);
        properties = properties.set_column_dictionary_enabled(column.path().clone(), !whole);
    }
    let mut properties = properties.build();
    add_encoded_arrow_schema_to_metadata(schema, &mut properties);
    properties
}

/// The order that rows of our own making have; of other tables nothing is known.
fn sorting(schema: &Schema, columns: &SchemaDescriptor) -> Option<Vec<SortingColumn>> {
    schema.metadata().get(SETTINGS)?;
    let leaf = |name: &str| columns.columns().iter().position(|column| column.path().string() == name);
    let by = [leaf("window_start").or_else(|| leaf("timestamp"))?, leaf("flow_id")?];
    let by = by.map(|leaf| SortingColumn { column_idx: leaf as i32, descending: false, nulls_first: false });
    Some(by.to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;

    use arrow::compute::concat_batches;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::Encoding;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use proptest::prelude::*;

    use super::*;
    use crate::sink::samples;

    fn bytes(schema: &SchemaRef, batches: &[RecordBatch], chunk: usize, full: usize) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), schema, chunk, full).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap()
    }

    fn opened(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(bytes: Vec<u8>) -> RecordBatch {
        let reader = ParquetRecordBatchReaderBuilder::try_new(opened(&bytes)).unwrap();
        let schema = reader.schema().clone();
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        concat_batches(&schema, &batches).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn bytes_know_nothing_of_batches_and_dictionaries(
            rows in 0usize..400,
            seed: u64,
            cuts in prop::collection::vec(0usize..400, 0..12),
            layout: u64,
        ) {
            let all = samples::scored(rows, seed);
            let once = bytes(&all.schema(), std::slice::from_ref(&all), 32, 96);
            let cut = samples::cut(&all, cuts, layout);
            prop_assert_eq!(&once, &bytes(&all.schema(), &cut, 32, 96));
            let back = read(once);
            prop_assert_eq!(back.schema(), all.schema());
            prop_assert_eq!(samples::plain(&back), samples::plain(&all));
        }
    }

    #[test]
    fn chunks_and_groups_of_full_size_are_cut_by_rows_alone() {
        let all = samples::scored(2 * CHUNK + 5000, 7);
        let once = bytes(&all.schema(), std::slice::from_ref(&all), CHUNK, 2 * CHUNK);
        let cut = samples::cut(&all, (0..40).map(|at| at * 977).collect(), 1);
        assert!(once == bytes(&all.schema(), &cut, CHUNK, 2 * CHUNK));
        let file = SerializedFileReader::new(opened(&once)).unwrap();
        let groups: Vec<_> = file.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [2 * CHUNK as i64, 5000]);
    }

    #[test]
    fn a_file_says_who_made_it_how_and_in_which_order() {
        let all = samples::scored(10, 3);
        let file = bytes(&all.schema(), std::slice::from_ref(&all), CHUNK, GROUP);
        let file = SerializedFileReader::new(opened(&file)).unwrap();
        let metadata = file.metadata();
        assert_eq!(metadata.file_metadata().created_by(), Some("netweir"));
        let pairs = metadata.file_metadata().key_value_metadata().unwrap();
        let keys: Vec<_> = pairs.iter().map(|pair| pair.key.as_str()).collect();
        for key in ["netweir.features", "netweir.settings", "netweir.fingerprint", "netweir.window"] {
            assert!(keys.contains(&key), "{key} in {keys:?}");
        }
        let sorting = metadata.row_group(0).sorting_columns().unwrap();
        assert_eq!(sorting.iter().map(|column| column.column_idx).collect::<Vec<_>>(), [0, 1]);
        let encodings = |name: &str| {
            let columns = metadata.row_group(0).columns();
            let column = columns.iter().find(|column| column.column_path().string() == name).unwrap();
            column.encodings().collect::<Vec<_>>()
        };
        for (encoding, names) in [
            (Encoding::RLE_DICTIONARY, &["src_ip", "dst_port", "protocol", "vlan"][..]),
            (Encoding::DELTA_BINARY_PACKED, &["window_start", "row_end", "flow_id", "fwd_bytes", "fwd_syn"]),
            (Encoding::BYTE_STREAM_SPLIT, &["duration_s", "fwd_len_mean", "score"]),
        ] {
            for name in names {
                assert!(encodings(name).contains(&encoding), "{name}: {:?}", encodings(name));
            }
        }
    }

    #[test]
    fn a_run_without_rows_leaves_a_file_of_its_schema() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let schema = samples::scored(0, 0).schema();
        Box::new(ParquetFile::create(Draft::create(&path).unwrap(), &schema).unwrap()).finish().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        assert_eq!((reader.schema(), reader.metadata().num_row_groups()), (&schema, 0));
    }

    /// A disk that is full after some bytes.
    struct Full {
        draft: Draft,
        left: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let written = self.draft.write(&bytes[..bytes.len().min(self.left)])?;
            self.left -= written;
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.draft.flush()
        }
    }

    #[test]
    fn a_full_disk_is_one_line_and_leaves_no_file() {
        let all = samples::scored(300, 5);
        let whole = bytes(&all.schema(), std::slice::from_ref(&all), 32, 96).len();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        for left in [0, 3, 100, whole / 2, whole - 1] {
            let out = Full { draft: Draft::create(&path).unwrap(), left };
            let result = Writer::new(out, &all.schema(), 32, 96).and_then(|mut writer| {
                writer.write(&all)?;
                writer.finish()
            });
            let error = failed(&path, result.err().expect("the disk is full")).to_string();
            assert!(error.starts_with(&path.display().to_string()) && !error.contains('\n'), "{error}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "after {left} bytes");
        }
    }
}
