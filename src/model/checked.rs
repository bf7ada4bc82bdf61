//! Pages of a column that were checked, as the parquet crate's readers take them: what was decompressed to be looked at is
//! what is decoded.

use std::iter;
use std::vec;

use bytes::Bytes;

use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

/// One column of a table, whose only row group `metadata` tells of.
pub(super) struct Checked<'a> {
    pub(super) metadata: &'a ParquetMetaData,
    pub(super) pages: Vec<Page>,
}

impl RowGroups for Checked<'_> {
    fn num_rows(&self) -> usize {
        self.metadata.row_groups().iter().map(|group| group.num_rows() as usize).sum()
    }

    fn column_chunks(&self, _: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        Ok(Box::new(Chunk(Some(self.pages.clone()))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// The pages of each row group, of which there is one.
struct Chunk(Option<Vec<Page>>);

impl Iterator for Chunk {
    type Item = Result<Box<dyn PageReader>, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pages = Pages(self.0.take()?.into_iter().peekable());
        Some(Ok(Box::new(pages)))
    }
}

impl PageIterator for Chunk {}

/// The pages that are still to be read.
struct Pages(iter::Peekable<vec::IntoIter<Page>>);

impl Iterator for Pages {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Ok)
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        Ok(self.0.next())
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        Ok(self.0.peek().map(|page| PageMetadata {
            num_rows: None,
            num_levels: page.is_data_page().then(|| page.num_values() as usize),
            is_dict: page.is_dictionary_page(),
        }))
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.0.next();
        Ok(())
    }
}

/// A data page of so many values, with levels in runs.
pub(super) fn data(body: Bytes, values: u32, encoding: Encoding) -> Page {
    Page::DataPage {
        buf: body,
        num_values: values,
        encoding,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    }
}

/// A page of a dictionary of so many values.
pub(super) fn dictionary(body: Bytes, values: u32) -> Page {
    Page::DictionaryPage { buf: body, num_values: values, encoding: Encoding::PLAIN, is_sorted: false }
}
