//! A past as tables of the model file, and back.
//!
//! `entities`, a row for each entity, by kind:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `subject` | text | `src`, `dst`, `srcsvc`, `dstsvc`, `pairsvc`, `svc` |
//! | `src`, `dst` | text | addresses, where they are part of it; null for the others of a service |
//! | `service` | u32 | `protocol * 65536 + port`, where it is part of it |
//! | `rows` | u64 | its rows in training |
//!
//! `baselines`, a row for each entity, column and bucket that was seen, in that order:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `entity` | u32 | row of `entities`, from 0 |
//! | `column` | u16 | the judged column, from 0, in the order of `calibration` |
//! | `bucket` | u16 | `floor(4 log2(1 + value))` |
//! | `count` | u64 | observations |
//!
//! What is read is not trusted: a table that no fit can have written is an error.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, StringArray, StringDictionaryBuilder, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Int16Type, UInt16Type, UInt32Type, UInt64Type};
use arrow::error::ArrowError;

use super::bucket::ABSENT;
use super::histograms::{Judgement, Name};
use super::past::{Count, Index, Past};
use super::subject::Subject;
use crate::context::address::Address;
use crate::context::entity::Key;
use crate::reading::{Damage, Table, Tables};

/// Name of the table of entities.
pub(crate) const ENTITIES: &str = "entities";
/// Name of the table of counts.
pub(crate) const BASELINES: &str = "baselines";

impl Past {
    /// The tables.
    ///
    /// # Errors
    /// None that a fitted past causes.
    pub(crate) fn tables(&self) -> Result<[RecordBatch; 2], ArrowError> {
        let mut subjects = StringDictionaryBuilder::<Int16Type>::new();
        let (mut sources, mut destinations, mut services, mut rows) = (vec![], vec![], vec![], vec![]);
        for (subject, name, of) in &self.index.entities {
            subjects.append_value(subject.name());
            let (src, dst, service) = match name {
                Name::Own(key) => {
                    let ([src, dst], service) = (key.ends(), key.code());
                    let (has_src, has_dst, has_service) = subject.parts();
                    let text = |is: bool, address: Address| is.then(|| address.text());
                    (text(has_src, src), text(has_dst, dst), has_service.then_some(service))
                }
                Name::Others(service) => (None, None, subject.has_service().then_some(*service)),
            };
            sources.push(src);
            destinations.push(dst);
            services.push(service);
            rows.push(*of);
        }
        let entities: Vec<(&str, ArrayRef, bool)> = vec![
            ("subject", Arc::new(subjects.finish()), false),
            ("src", Arc::new(StringArray::from(sources)), true),
            ("dst", Arc::new(StringArray::from(destinations)), true),
            ("service", Arc::new(UInt32Array::from(services)), true),
            ("rows", Arc::new(UInt64Array::from(rows)), false),
        ];
        let mut counts = self.unfold();
        counts.sort_unstable();
        let narrow = |value: fn(&Count) -> u8| -> ArrayRef {
            Arc::new(UInt16Array::from_iter_values(counts.iter().map(|count| value(count).into())))
        };
        let owners = counts.iter().map(|count| count.entity);
        let amounts = counts.iter().map(|count| count.count);
        let baselines: Vec<(&str, ArrayRef, bool)> = vec![
            ("entity", Arc::new(UInt32Array::from_iter_values(owners)), false),
            ("column", narrow(|count| count.column), false),
            ("bucket", narrow(|count| count.bucket), false),
            ("count", Arc::new(UInt64Array::from_iter_values(amounts)), false),
        ];
        Ok([
            RecordBatch::try_from_iter_with_nullable(entities)?,
            RecordBatch::try_from_iter_with_nullable(baselines)?,
        ])
    }

    /// Reads the tables.
    ///
    /// # Errors
    /// The table that is damaged, and what is wrong with it.
    pub(crate) fn from_tables(
        judgements: Arc<[Judgement]>,
        windows: u64,
        tables: &Tables,
    ) -> Result<Past, Damage> {
        let index = read_entities(Table::find(tables, ENTITIES)?)?;
        let counts = read_counts(&judgements, &index, Table::find(tables, BASELINES)?)?;
        Ok(Past::new(judgements, Arc::new(index), windows, &counts))
    }
}

fn read_entities(table: Table<'_>) -> Result<Index, Damage> {
    let subjects = table.optional_texts("subject")?;
    let (sources, destinations) = (table.optional_texts("src")?, table.optional_texts("dst")?);
    let services = table.optional::<UInt32Type>("service")?;
    let rows = table.numbers::<UInt64Type>("rows")?;
    let mut entities: Vec<(Subject, Name, u64)> = Vec::with_capacity(table.rows.num_rows());
    for row in 0..table.rows.num_rows() {
        let wrong = |what: &str| table.damaged_at(row, what);
        let subject = subjects.is_valid(row).then(|| subjects.value(row));
        let subject = Subject::ALL.into_iter().find(|known| Some(known.name()) == subject);
        let subject = subject.ok_or_else(|| wrong("its subject is unknown"))?;
        let address = |texts: &StringArray| match texts.is_valid(row) {
            true => Address::from_text(texts.value(row)).map(Some).ok_or_else(|| wrong("an address is none")),
            false => Ok(None),
        };
        let (src, dst) = (address(&sources)?, address(&destinations)?);
        let service = services.is_valid(row).then(|| services.value(row));
        let has = (src.is_some(), dst.is_some(), service.is_some());
        let name = if has == subject.parts() {
            Name::Own(Key::of(src.as_ref(), dst.as_ref(), service.unwrap_or(0)))
        } else if has == (false, false, subject.has_service()) {
            Name::Others(service.unwrap_or(0))
        } else {
            return Err(wrong("it lacks a part of what its subject is"));
        };
        let order = |(subject, name, _): &(Subject, Name, u64)| (*subject, name.order());
        if entities.last().is_some_and(|last| order(last) >= (subject, name.order())) {
            return Err(wrong("it is out of order"));
        }
        entities.push((subject, name, rows.value(row)));
    }
    Ok(Index::new(entities))
}

fn read_counts(judgements: &[Judgement], index: &Index, table: Table<'_>) -> Result<Vec<Count>, Damage> {
    let entities = table.numbers::<UInt32Type>("entity")?;
    let columns = table.numbers::<UInt16Type>("column")?;
    let buckets = table.numbers::<UInt16Type>("bucket")?;
    let values = table.numbers::<UInt64Type>("count")?;
    let mut counts: Vec<Count> = Vec::with_capacity(table.rows.num_rows());
    let mut all = 0u64;
    for row in 0..table.rows.num_rows() {
        let wrong = |what: &str| table.damaged_at(row, what);
        let column = u8::try_from(columns.value(row)).ok().filter(|at| usize::from(*at) < judgements.len());
        let column = column.ok_or_else(|| wrong("its column is unknown"))?;
        let bucket = u8::try_from(buckets.value(row)).ok().filter(|bucket| *bucket != ABSENT);
        let bucket = bucket.ok_or_else(|| wrong("there is no such bucket"))?;
        let count = Count { entity: entities.value(row), column, bucket, count: values.value(row) };
        let subject = index.entities.get(count.entity as usize).map(|(subject, ..)| *subject);
        if subject != Some(judgements[usize::from(column)].subject) {
            return Err(wrong("its entity is not one that its column is judged against"));
        }
        let of = |count: &Count| (count.entity, count.column, count.bucket);
        if counts.last().is_some_and(|last| of(last) >= of(&count)) {
            return Err(wrong("it is out of order"));
        }
        all = all.checked_add(count.count).ok_or_else(|| wrong("there are more than can be counted"))?;
        if count.count == 0 {
            return Err(wrong("it counts nothing"));
        }
        counts.push(count);
    }
    Ok(counts)
}
