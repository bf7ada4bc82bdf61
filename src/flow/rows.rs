//! Rows of a closed window to Arrow batches, column by column.
//!
//! Rows lie apart in the flow table, columns in the batch. A group of rows that fits the processor's
//! nearest cache is read by all columns in turn, each of which is one plain loop over the group.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, Int16Array, ListArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowDictionaryKeyType, DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::calendar::Calendar;
use super::columns::{self, Exists};
use super::span::{FIRST_LENGTHS, Span};
use super::state::Head;
use super::text::{Addresses, Names};

/// A row to be written: the flow as it stood, what it did, why it ends.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The flow.
    pub head: &'a Head,
    /// What it did.
    pub span: &'a Span,
    /// Name of the flow.
    pub flow_id: u64,
    /// Start of the row's window.
    pub window: u64,
    /// Time of the row's first packet.
    pub first: u64,
    /// [`end_reason`](super::table::end_reason).
    pub reason: u8,
}

impl Finished<'_> {
    /// The address of the initiator (0) or of the responder (1).
    pub(super) fn address(&self, side: usize) -> &[u8; 16] {
        let key = &self.head.key;
        if self.head.initiator_is_b() == (side == 0) { &key.b } else { &key.a }
    }

    /// The port of the initiator (0) or of the responder (1).
    pub(super) fn port(&self, side: usize) -> u16 {
        let key = &self.head.key;
        if self.head.initiator_is_b() == (side == 0) { key.port_b } else { key.port_a }
    }
}

/// Which of a group's rows have something, one bit each, the first row's lowest.
pub(super) type Has = Box<dyn Fn(&[Finished]) -> u64 + Send>;

/// A column of the batch that is being made.
pub(super) trait Column: Send {
    /// Room for the rows to come.
    fn reserve(&mut self, rows: usize);
    /// Adds a group of rows.
    fn extend(&mut self, rows: &[Finished]);
    /// The column; empty afterwards.
    fn take(&mut self, nulls: Option<NullBuffer>) -> ArrayRef;
}

/// Numbers and times.
pub(super) struct Values<T: ArrowPrimitiveType, F> {
    kind: DataType,
    value: F,
    values: Vec<T::Native>,
}

impl<T: ArrowPrimitiveType, F: FnMut(&Finished) -> T::Native + Send + 'static> Values<T, F> {
    /// A column of the type `kind`, which `T` is stored as, with what `value` says of each row.
    pub(super) fn column(kind: DataType, value: F) -> Box<dyn Column> {
        Box::new(Values::<T, F> { kind, value, values: Vec::new() })
    }
}

impl<T: ArrowPrimitiveType, F: FnMut(&Finished) -> T::Native + Send> Column for Values<T, F> {
    fn reserve(&mut self, rows: usize) {
        self.values.reserve_exact(rows);
    }

    fn extend(&mut self, rows: &[Finished]) {
        let Values { value, values, .. } = self;
        // Given as it is, by reference, it would be called for each row instead of inlined.
        #[allow(clippy::redundant_closure)]
        values.extend(rows.iter().map(|row| value(row)));
    }

    fn take(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let values = std::mem::take(&mut self.values);
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(self.kind.clone()))
    }
}

/// Names of a number that each row has.
pub(super) struct Named<T: ArrowDictionaryKeyType> {
    pub(super) number: fn(&Finished) -> u32,
    pub(super) names: Names<T>,
}

impl<T: ArrowDictionaryKeyType> Column for Named<T> {
    fn reserve(&mut self, rows: usize) {
        self.names.reserve(rows);
    }

    fn extend(&mut self, rows: &[Finished]) {
        rows.iter().for_each(|row| self.names.push((self.number)(row)));
    }

    fn take(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        self.names.take(nulls)
    }
}

/// Addresses of initiators (0) or responders (1).
pub(super) struct Ends<const SIDE: usize>(pub(super) Addresses);

impl<const SIDE: usize> Column for Ends<SIDE> {
    fn reserve(&mut self, rows: usize) {
        self.0.reserve(rows);
    }

    fn extend(&mut self, rows: &[Finished]) {
        self.0.extend(rows.iter().map(|row| (row.head.key.version, row.address(SIDE))));
    }

    fn take(&mut self, _: Option<NullBuffer>) -> ArrayRef {
        self.0.take()
    }
}

/// Payload lengths of a flow's first packets, in its first row; empty lists where they are not wanted.
pub(super) struct FirstLengths {
    wanted: bool,
    lengths: Vec<i16>,
    ends: Vec<i32>,
}

impl FirstLengths {
    pub(super) fn new(wanted: bool) -> Self {
        FirstLengths { wanted, lengths: Vec::new(), ends: Vec::new() }
    }
}

impl Column for FirstLengths {
    fn reserve(&mut self, rows: usize) {
        self.ends.reserve_exact(rows + 1);
        self.ends.push(0);
    }

    fn extend(&mut self, rows: &[Finished]) {
        for row in rows {
            if row.head.row_index == 0 && self.wanted {
                let count = row.span.packets().min(FIRST_LENGTHS as u64) as usize;
                self.lengths.extend_from_slice(&row.span.first_lengths[..count]);
            }
            self.ends.push(self.lengths.len() as i32);
        }
    }

    fn take(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let ends = std::mem::take(&mut self.ends);
        let lengths = Int16Array::from(std::mem::take(&mut self.lengths));
        let item = Field::new_list_field(DataType::Int16, true).into();
        Arc::new(ListArray::new(item, OffsetBuffer::new(ends.into()), Arc::new(lengths), nulls))
    }
}

/// Which rows of the batch have something: shared by all columns that hang on it.
struct Mask {
    of: Exists,
    has: Has,
    words: Vec<u64>,
}

/// Gathers rows and gives them as Arrow batches of the wanted columns.
pub struct RowBuilder {
    schema: SchemaRef,
    /// In the order of the schema, with the mask that says which of their values exist.
    columns: Vec<(Box<dyn Column>, Option<usize>)>,
    masks: Vec<Mask>,
    rows: usize,
}

impl RowBuilder {
    /// Rows of a batch: enough for work by column, few enough to stay in cache (and below the 32,767
    /// names that a column of services can hold).
    pub const TARGET: usize = 8192;

    /// Rows of a group, but for the last of a batch: one word of a mask.
    pub const GROUP: usize = 64;

    /// A builder of the columns of `schema`, each of which stands in the dictionary.
    pub fn new(schema: SchemaRef, calendar: &Calendar, first_lengths: bool) -> RowBuilder {
        let mut masks: Vec<Mask> = Vec::new();
        let mut place = |exists: Exists| {
            let has = exists.has()?;
            let known = masks.iter().position(|mask| mask.of == exists);
            Some(known.unwrap_or_else(|| {
                masks.push(Mask { of: exists, has, words: Vec::new() });
                masks.len() - 1
            }))
        };
        let column = |field: &Arc<Field>| {
            let (exists, column) = columns::column(field.name(), calendar, first_lengths)
                .expect("columns of flow rows stand in the dictionary");
            (column, place(exists))
        };
        let columns = schema.fields().iter().map(column).collect();
        RowBuilder { columns, masks, rows: 0, schema }
    }

    /// Makes room for a batch of `rows` rows.
    pub fn begin(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|(column, _)| column.reserve(rows));
        self.masks.iter_mut().for_each(|mask| mask.words.reserve_exact(rows.div_ceil(Self::GROUP)));
    }

    /// Adds the next [`RowBuilder::GROUP`] rows of the batch, or its last ones, which may be fewer.
    pub fn push(&mut self, rows: &[Finished]) {
        debug_assert!(self.rows.is_multiple_of(Self::GROUP) && rows.len() <= Self::GROUP);
        self.rows += rows.len();
        self.masks.iter_mut().for_each(|mask| mask.words.push((mask.has)(rows)));
        self.columns.iter_mut().for_each(|(column, _)| column.extend(rows));
    }

    /// The rows gathered so far as a batch; the builder is empty afterwards.
    pub fn take(&mut self) -> RecordBatch {
        let rows = std::mem::take(&mut self.rows);
        let nulls = |mask: &mut Mask| {
            let words = Buffer::from_vec(std::mem::take(&mut mask.words));
            let nulls = NullBuffer::new(BooleanBuffer::new(words, 0, rows));
            (nulls.null_count() > 0).then_some(nulls)
        };
        let nulls: Vec<_> = self.masks.iter_mut().map(nulls).collect();
        let columns =
            self.columns.iter_mut().map(|(column, mask)| column.take(mask.and_then(|at| nulls[at].clone())));
        RecordBatch::try_new(self.schema.clone(), columns.collect())
            .expect("columns are made by the dictionary's names and types")
    }
}
