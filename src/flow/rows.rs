//! Rows of a closed window to Arrow batches, column by column.
//!
//! Rows lie apart in the flow table, columns in the batch. A [group](super::group) of rows is turned on its side;
//! every column takes from it what stands together.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, Int16Array, ListArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowDictionaryKeyType, DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::calendar::Calendar;
use super::closing::Held;
use super::columns::{self, Exists};
use super::group::{Group, Lane, ROWS, TcpRows};
use super::span::FIRST_LENGTHS;
use super::state::Head;
use super::text::{Addresses, Names};

/// A row to be written: the flow as it stood, what it did, why it ends.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The flow.
    pub head: &'a Head,
    /// What it did.
    pub held: Held<'a>,
    /// Name of the flow.
    pub flow_id: u64,
    /// Start of the row's window.
    pub window: u64,
    /// Time of the row's first packet.
    pub first: u64,
    /// [`end_reason`](super::table::end_reason).
    pub reason: u8,
}

/// A column of the batch that is being made.
pub(super) trait Column: Send {
    /// Room for the rows to come.
    fn reserve(&mut self, rows: usize);
    /// Adds a group of rows.
    fn extend(&mut self, group: &Group);
    /// The column; empty afterwards.
    fn take(&mut self, nulls: Option<NullBuffer>) -> ArrayRef;
}

/// Numbers and times.
///
/// Many are the same in all rows of a batch: flags that nobody sets, fragments, the window. They are written once, and
/// batches share them.
pub(super) struct Values<T: ArrowPrimitiveType> {
    kind: DataType,
    lane: fn(&Group) -> &Lane<T::Native>,
    /// Rows to come.
    room: usize,
    /// Rows so far that all have the value `same`, as long as no others came.
    uniform: usize,
    same: T::Native,
    /// As many of that value as any batch had.
    shared: ScalarBuffer<T::Native>,
    /// Values, once they are not the same.
    values: Vec<T::Native>,
}

impl<T: ArrowPrimitiveType> Values<T> {
    /// A column of the type `kind`, which `T` is stored as, with what stands in `lane`.
    pub(super) fn column(kind: DataType, lane: fn(&Group) -> &Lane<T::Native>) -> Box<dyn Column> {
        Box::new(Values::<T> {
            kind,
            lane,
            room: 0,
            uniform: 0,
            same: T::default_value(),
            shared: ScalarBuffer::from(Vec::new()),
            values: Vec::new(),
        })
    }

    /// Takes a group whose values may be the same as those before. Returns whether they are.
    #[inline(always)]
    fn is_uniform(&mut self, lane: &[T::Native]) -> bool {
        if self.uniform == 0 {
            self.same = lane.first().copied().unwrap_or_default();
        }
        let same = self.same;
        let uniform = lane.iter().fold(true, |all, value| all & (*value == same));
        if uniform {
            self.uniform += lane.len();
        } else {
            self.values.reserve_exact(self.room);
            self.values.resize(self.uniform, same);
        }
        uniform
    }
}

impl<T: ArrowPrimitiveType> Column for Values<T> {
    fn reserve(&mut self, rows: usize) {
        self.room = rows;
    }

    fn extend(&mut self, group: &Group) {
        let lane = (self.lane)(group);
        if self.values.is_empty() && self.is_uniform(&lane[..group.rows]) {
            return;
        }
        match group.rows {
            // Of a length that is known when this is compiled.
            ROWS => self.values.extend_from_slice(lane),
            rows => self.values.extend_from_slice(&lane[..rows]),
        }
    }

    fn take(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let rows = std::mem::take(&mut self.uniform);
        let values = match self.values.is_empty() {
            true => {
                if self.shared.len() < rows || self.shared.first().is_some_and(|value| *value != self.same) {
                    self.shared = vec![self.same; rows].into();
                }
                self.shared.slice(0, rows)
            }
            false => std::mem::take(&mut self.values).into(),
        };
        Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(self.kind.clone()))
    }
}

/// Names of a number that each row has.
pub(super) struct Named<T: ArrowDictionaryKeyType> {
    pub(super) number: fn(&Group, usize) -> u32,
    pub(super) names: Names<T>,
}

impl<T: ArrowDictionaryKeyType> Column for Named<T> {
    fn reserve(&mut self, rows: usize) {
        self.names.reserve(rows);
    }

    fn extend(&mut self, group: &Group) {
        (0..group.rows).for_each(|at| self.names.push((self.number)(group, at)));
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

    fn extend(&mut self, group: &Group) {
        let versions = group.of.version[..group.rows].iter().copied();
        self.0.extend(versions.zip(&group.of.addresses[SIDE]));
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

    fn extend(&mut self, group: &Group) {
        for at in 0..group.rows {
            if group.of.row_index[at] == 0 && self.wanted {
                let count = group.did.packets[at].min(FIRST_LENGTHS as u64) as usize;
                self.lengths.extend_from_slice(&group.did.first_lengths[at][..count]);
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
    words: Vec<u64>,
}

/// Gathers rows and gives them as Arrow batches of the wanted columns.
pub struct RowBuilder {
    schema: SchemaRef,
    /// In the order of the schema, with the mask that says which of their values exist.
    columns: Vec<(Box<dyn Column>, Option<usize>)>,
    masks: Vec<Mask>,
    calendar: Calendar,
    group: Box<Group>,
    /// Whether any column says what rows did.
    tells: bool,
    /// What the TCP rows say since it was asked for.
    tcp: TcpRows,
    rows: usize,
}

impl RowBuilder {
    /// Rows of a batch: enough for work by column, few enough to stay in cache (and below the 32,767
    /// names that a column of services can hold).
    pub const TARGET: usize = 8192;

    /// Rows of a group, but for the last of a batch.
    pub const GROUP: usize = ROWS;

    /// A builder of the columns of `schema`, each of which stands in the dictionary.
    pub fn new(schema: SchemaRef, calendar: &Calendar, first_lengths: bool) -> RowBuilder {
        let mut masks: Vec<Mask> = Vec::new();
        let mut place = |exists: Exists| {
            if exists == Exists::Always {
                return None;
            }
            let known = masks.iter().position(|mask| mask.of == exists);
            Some(known.unwrap_or_else(|| {
                masks.push(Mask { of: exists, words: Vec::new() });
                masks.len() - 1
            }))
        };
        let mut tells = false;
        let column = |field: &Arc<Field>| {
            let made = columns::column(field.name(), first_lengths)
                .expect("columns of flow rows stand in the dictionary");
            tells |= made.tells;
            (made.column, place(made.exists))
        };
        let columns = schema.fields().iter().map(column).collect();
        let calendar = calendar.clone();
        let (group, tcp) = (Group::new(), TcpRows::default());
        RowBuilder { columns, masks, calendar, group, tells, tcp, rows: 0, schema }
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
        self.group.take(rows, &mut self.calendar, self.tells);
        if self.tells {
            let tcp = self.group.tcp();
            self.tcp.flows += tcp.flows;
            self.tcp.packets += tcp.packets;
            self.tcp.answers += tcp.answers;
            self.tcp.repeats += tcp.repeats;
        }
        self.masks.iter_mut().for_each(|mask| mask.words.push(mask.of.has(&self.group.has)));
        self.columns.iter_mut().for_each(|(column, _)| column.extend(&self.group));
    }

    /// What the TCP rows since the last call say; nothing where no column tells what rows did.
    pub fn take_tcp(&mut self) -> TcpRows {
        std::mem::take(&mut self.tcp)
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
