//! The pages of one column of a row group: which rows have values, compression, headers, what the footer says.

use std::cell::RefCell;

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::NullBuffer;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::hybrid;

/// Of zstd; higher ones cost more than they save.
const LEVEL: i32 = 1;

/// How pages are compressed.
pub(in crate::sink) fn compression() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(LEVEL).expect("zstd has this level"))
}

/// What a thread needs to make a page, whichever column it is of.
struct Bench {
    zstd: Compressor<'static>,
    body: Vec<u8>,
    compressed: Vec<u8>,
}

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

/// A column's part of a row group, as the file takes it.
pub(in crate::sink) struct Encoded {
    /// Its pages.
    pub(in crate::sink) bytes: Bytes,
    /// What the footer says of it.
    pub(in crate::sink) close: ColumnCloseResult,
}

/// A page of a dictionary.
pub(super) struct Entries {
    pub(super) count: usize,
    pub(super) bytes: Vec<u8>,
}

/// The row group's open part of a column: pages that are full, and which rows of the open one have values.
pub(super) struct Open {
    column: ColumnDescPtr,
    page: usize,
    present: BooleanBufferBuilder,
    count: usize,
    pages: Vec<CompressedPage>,
    rows: usize,
    values: usize,
    nulls: usize,
}

impl Open {
    pub(super) fn new(column: ColumnDescPtr, page: usize) -> Open {
        let present = BooleanBufferBuilder::new(page);
        Open { column, page, present, count: 0, pages: Vec::new(), rows: 0, values: 0, nulls: 0 }
    }

    /// Rows of a page.
    pub(super) fn page(&self) -> usize {
        self.page
    }

    /// Rows that the open page has room for, at least one.
    pub(super) fn room(&self) -> usize {
        self.page - self.present.len()
    }

    /// Adds rows to the open page, all with a value but for `nulls`.
    pub(super) fn add(&mut self, rows: usize, nulls: Option<&NullBuffer>) {
        match nulls {
            Some(nulls) => {
                self.present.append_buffer(nulls.inner());
                self.count += rows - nulls.null_count();
            }
            None => {
                self.present.append_n(rows, true);
                self.count += rows;
            }
        }
    }

    /// Rows of the open page.
    pub(super) fn rows(&self) -> usize {
        self.present.len()
    }

    /// Whether no page is full yet.
    pub(super) fn first(&self) -> bool {
        self.pages.is_empty()
    }

    /// Whether the open page has rows.
    pub(super) fn has_rows(&self) -> bool {
        !self.present.is_empty()
    }

    /// Ends the open page. `write` adds its values and says how they are encoded.
    pub(super) fn end_page(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Encoding,
    ) -> Result<(), ParquetError> {
        let rows = self.present.len();
        let nulls = rows - self.count;
        let present = std::mem::replace(&mut self.present, BooleanBufferBuilder::new(0));
        let (nullable, count) = (self.column.max_def_level() > 0, self.count);
        self.add_page(rows, rows, nulls, |out| {
            if nullable {
                hybrid::present(out, &present, count);
            }
            write(out)
        })?;
        self.present = present;
        self.present.truncate(0);
        self.count = 0;
        Ok(())
    }

    /// Adds a page of so many rows and values, nulls included. `write` adds levels and values.
    pub(super) fn add_page(
        &mut self,
        rows: usize,
        values: usize,
        nulls: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Encoding,
    ) -> Result<(), ParquetError> {
        let page = on_bench(|bench| {
            bench.body.clear();
            let encoding = write(&mut bench.body);
            let buf = bench.compress()?;
            let page = Page::DataPage {
                buf,
                num_values: values as u32,
                encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            Ok(CompressedPage::new(page, bench.body.len()))
        })?;
        self.pages.push(page);
        self.rows += rows;
        self.values += values;
        self.nulls += nulls;
        Ok(())
    }

    /// The highest definition level of the column.
    pub(super) fn most_defined(&self) -> u32 {
        u32::from(self.column.max_def_level().unsigned_abs())
    }

    /// Ends the column's part of the row group. `statistics` are told how many values are null.
    pub(super) fn end(
        &mut self,
        entries: Option<Entries>,
        statistics: impl FnOnce(u64) -> Statistics,
    ) -> Result<Encoded, ParquetError> {
        // Pages, and what headers take.
        let size = self.pages.iter().map(|page| page.compressed_size() + 64).sum::<usize>();
        let size = size + entries.as_ref().map_or(0, |entries| entries.bytes.len() + 64);
        let mut bytes = TrackedWrite::new(Vec::with_capacity(size));
        let mut writer = SerializedPageWriter::new(&mut bytes);
        let mut uncompressed = 0;
        let mut stats: Vec<PageEncodingStats> = Vec::new();
        let mut count = |page_type, encoding| match stats
            .iter_mut()
            .find(|stat| stat.page_type == page_type && stat.encoding == encoding)
        {
            Some(stat) => stat.count += 1,
            None => stats.push(PageEncodingStats { page_type, encoding, count: 1 }),
        };
        let mut dictionary = None;
        if let Some(entries) = entries {
            let page = on_bench(|bench| {
                bench.body.clear();
                bench.body.extend_from_slice(&entries.bytes);
                let page = Page::DictionaryPage {
                    buf: bench.compress()?,
                    num_values: entries.count as u32,
                    encoding: Encoding::PLAIN,
                    is_sorted: false,
                };
                Ok(CompressedPage::new(page, bench.body.len()))
            })?;
            let spec = writer.write_page(page)?;
            uncompressed += spec.uncompressed_size;
            dictionary = Some(spec.offset as i64);
            count(PageType::DICTIONARY_PAGE, Encoding::PLAIN);
        }
        let mut data = None;
        for page in self.pages.drain(..) {
            count(PageType::DATA_PAGE, page.encoding());
            let spec = writer.write_page(page)?;
            uncompressed += spec.uncompressed_size;
            data = data.or(Some(spec.offset as i64));
        }
        let bytes = Bytes::from(bytes.into_inner()?);
        let mut encodings: Vec<Encoding> = stats.iter().map(|stat| stat.encoding).collect();
        if self.column.max_def_level() > 0 {
            encodings.push(Encoding::RLE);
        }
        let [rows, values, nulls] = [&mut self.rows, &mut self.values, &mut self.nulls].map(std::mem::take);
        let metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(compression())
            .set_encodings(encodings)
            .set_page_encoding_stats(stats)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_num_values(values as i64)
            .set_data_page_offset(data.unwrap_or(0))
            .set_dictionary_page_offset(dictionary)
            .set_statistics(statistics(nulls as u64))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok(Encoded { bytes, close })
    }
}

impl Bench {
    /// The body, compressed.
    fn compress(&mut self) -> Result<Bytes, ParquetError> {
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.body.len()));
        self.zstd.compress_to_buffer(&self.body, &mut self.compressed)?;
        Ok(Bytes::copy_from_slice(&self.compressed))
    }
}

/// Works with the thread's bench.
fn on_bench<R>(work: impl FnOnce(&mut Bench) -> Result<R, ParquetError>) -> Result<R, ParquetError> {
    BENCH.with_borrow_mut(|bench| {
        let bench = match bench {
            Some(bench) => bench,
            none => {
                let zstd = Compressor::new(LEVEL)?;
                none.insert(Bench { zstd, body: Vec::new(), compressed: Vec::new() })
            }
        };
        work(bench)
    })
}
