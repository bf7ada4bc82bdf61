//! The rows kept for learning: of each partition the `k` with the smallest hash of (seed, identity).
//!
//! Which rows are kept depends on the set of rows alone: not on their order, their batches or the workers
//! that saw them, so reservoirs of workers merge into that of all rows. The hash does not know partitions;
//! therefore the `k` smallest among the kept rows of all partitions are the `k` smallest of all rows, and the
//! sample for a fallback costs nothing more.
//!
//! Rows are kept as they are in Arrow, because encoders are not fitted yet while rows are sampled. Memory is
//! bounded by about four times `k` rows for each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::random::RowHash;
use super::{DetectError, MAX_PARTITIONS, Partitions};

/// What names a row among all rows: flow id and window start, or 0 and the row's number in a table. No two
/// rows may share one.
pub type Identity = (u64, u64);

/// Chunks are merged while they are few rows; see [`Store::push`].
const SLACK: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    hash: u64,
    identity: Identity,
    /// The row's number in the store.
    place: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    name: Arc<str>,
    /// Rows of the partition, kept or not.
    seen: u64,
    /// Rows above this hash are not among the `k` smallest.
    bound: u64,
    /// The `k` smallest are among these; up to about `2k`, in no order.
    candidates: Vec<Candidate>,
}

impl Slot {
    /// Forgets candidates that are not among the `k` smallest.
    fn shrink(&mut self, k: usize) {
        if self.candidates.len() > k {
            let (_, last, _) = self.candidates.select_nth_unstable(k - 1);
            self.bound = last.hash;
            self.candidates.truncate(k);
        }
    }
}

/// Rows by number, in chunks of growing size.
#[derive(Clone, Debug, Default)]
struct Store {
    /// Number of the first row and the rows.
    chunks: Vec<(u64, RecordBatch)>,
    next: u64,
}

impl Store {
    /// Appends rows. Neighbours are joined as long as the later one is not much smaller, so that the number of
    /// chunks is logarithmic in rows, and each row is copied a logarithmic number of times.
    fn push(&mut self, rows: RecordBatch) -> Result<(), ArrowError> {
        let start = self.next;
        self.next += rows.num_rows() as u64;
        self.chunks.push((start, rows));
        while let [.., (start, before), (_, last)] = self.chunks.as_slice()
            && before.num_rows() <= 2 * last.num_rows()
        {
            let joined = (*start, concat_batches(&before.schema(), [before, last])?);
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(joined);
        }
        Ok(())
    }

    /// The rows of these numbers, in this order.
    fn rows(&self, schema: &SchemaRef, places: impl Iterator<Item = u64>) -> Result<RecordBatch, ArrowError> {
        let indices: Vec<(usize, usize)> = places
            .map(|place| {
                let chunk = self.chunks.partition_point(|(start, _)| *start <= place) - 1;
                (chunk, (place - self.chunks[chunk].0) as usize)
            })
            .collect();
        if indices.is_empty() {
            return Ok(RecordBatch::new_empty(schema.clone()));
        }
        let chunks: Vec<&RecordBatch> = self.chunks.iter().map(|(_, rows)| rows).collect();
        interleave_record_batch(&chunks, &indices)
    }
}

/// Collects the sample of each partition.
#[derive(Clone, Debug)]
pub struct Reservoir {
    k: usize,
    seed: u64,
    hash: RowHash,
    /// Schema of the rows as they came, and as they are kept.
    schemas: Option<(SchemaRef, SchemaRef)>,
    by_name: BTreeMap<Arc<str>, usize>,
    slots: Vec<Slot>,
    store: Store,
}

impl Reservoir {
    /// Keeps `k` rows of each partition, at least 1.
    pub fn new(k: usize, seed: u64) -> Reservoir {
        Reservoir {
            k: k.max(1),
            seed,
            hash: RowHash::new(seed),
            schemas: None,
            by_name: BTreeMap::new(),
            slots: Vec::new(),
            store: Store::default(),
        }
    }

    /// Rows seen so far.
    pub fn seen(&self) -> u64 {
        self.slots.iter().map(|slot| slot.seen).sum()
    }

    /// Takes the columns of a model, with the partition and the identity of each row. A row that is not kept,
    /// the usual case, costs its hash and a comparison.
    ///
    /// # Errors
    /// [`DetectError::RowCount`] and [`DetectError::Schema`] for what does not belong together,
    /// [`DetectError::TooManyPartitions`].
    pub fn observe(
        &mut self,
        rows: &RecordBatch,
        partitions: &Partitions,
        identities: &[Identity],
    ) -> Result<(), DetectError> {
        let expected = rows.num_rows();
        for (what, found) in [("partitions", partitions.len()), ("identities", identities.len())] {
            if found != expected {
                return Err(DetectError::RowCount { what, expected, found });
            }
        }
        if expected == 0 {
            return Ok(());
        }
        let kept_schema = self.agree(&rows.schema())?;

        // A slot is made for a name when a row has it.
        const NONE: usize = usize::MAX;
        let mut slots = vec![NONE; partitions.names().len()];
        let mut taken: Vec<u32> = Vec::new();
        for (row, (partition, identity)) in partitions.of_row().iter().zip(identities).enumerate() {
            let index = &mut slots[*partition as usize];
            if *index == NONE {
                *index = self.slot(&partitions.names()[*partition as usize])?;
            }
            let slot = &mut self.slots[*index];
            slot.seen += 1;
            let hash = self.hash.of(*identity);
            if hash <= slot.bound {
                let place = self.store.next + taken.len() as u64;
                slot.candidates.push(Candidate { hash, identity: *identity, place });
                taken.push(row as u32);
                if slot.candidates.len() >= 2 * self.k {
                    slot.shrink(self.k);
                }
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        let taken = take_record_batch(rows, &UInt32Array::from(taken))?;
        self.store.push(with_schema(&taken, &kept_schema)?)?;
        self.tidy()
    }

    /// Takes over what another worker has seen.
    ///
    /// # Errors
    /// [`DetectError::Merge`] for reservoirs of another size or seed, [`DetectError::Schema`] for rows of other
    /// columns, [`DetectError::TooManyPartitions`].
    pub fn merge(&mut self, other: Reservoir) -> Result<(), DetectError> {
        if self.k != other.k {
            return Err(DetectError::Merge { what: "the number of rows to keep" });
        }
        if self.seed != other.seed {
            return Err(DetectError::Merge { what: "the seed" });
        }
        let Some((schema, _)) = &other.schemas else { return Ok(()) };
        self.agree(schema)?;
        let shift = self.store.next;
        for from in other.slots {
            let index = self.slot(&from.name)?;
            let slot = &mut self.slots[index];
            slot.seen += from.seen;
            slot.bound = slot.bound.min(from.bound);
            let candidates = from.candidates.into_iter();
            slot.candidates.extend(candidates.map(|c| Candidate { place: c.place + shift, ..c }));
            slot.shrink(self.k);
        }
        for (_, rows) in other.store.chunks {
            self.store.push(rows)?;
        }
        self.tidy()
    }

    /// The kept rows.
    ///
    /// # Errors
    /// [`DetectError::Arrow`].
    pub fn finish(mut self) -> Result<Samples, DetectError> {
        let mut partitions = Vec::new();
        for (name, index) in &self.by_name {
            let slot = &mut self.slots[*index];
            slot.shrink(self.k);
            slot.candidates.sort_unstable();
            let (schema, kept) = self.schemas.as_ref().expect("a slot is made when rows are seen");
            let rows = self.store.rows(kept, slot.candidates.iter().map(|c| c.place))?;
            partitions.push(Sample {
                partition: name.clone(),
                seen: slot.seen,
                rows: with_schema(&rows, schema).or_else(|_| with_schema(&rows, &wide_keys(schema)))?,
                identities: slot.candidates.iter().map(|c| c.identity).collect(),
            });
        }
        let mut all: Vec<(u64, Identity, u32, u32)> = Vec::new();
        for (partition, sample) in (0..).zip(&partitions) {
            let rows = (0..).zip(&sample.identities);
            all.extend(rows.map(|(row, identity)| (self.hash.of(*identity), *identity, partition, row)));
        }
        all.sort_unstable();
        all.truncate(self.k);
        Ok(Samples {
            partitions,
            all: all.into_iter().map(|(_, _, partition, row)| (partition, row)).collect(),
        })
    }

    /// Notes the rows' schema, or compares it with that of the rows before; gives the schema to keep them in.
    fn agree(&mut self, schema: &SchemaRef) -> Result<SchemaRef, DetectError> {
        let (before, kept) = self.schemas.get_or_insert_with(|| (schema.clone(), plain(schema)));
        if Arc::ptr_eq(before, schema) || before.fields() == schema.fields() {
            return Ok(kept.clone());
        }
        let text = |field: Option<&Arc<Field>>| match field {
            Some(field) => format!("`{}` of type {}", field.name(), field.data_type()),
            None => "no column".to_owned(),
        };
        let columns = before.fields().len().max(schema.fields().len());
        let differs = (0..columns).find(|i| before.fields().get(*i) != schema.fields().get(*i)).unwrap_or(0);
        let (was, is) = (before.fields().get(differs), schema.fields().get(differs));
        Err(DetectError::Schema {
            difference: format!("{} follows {} as column {differs}", text(is), text(was)),
        })
    }

    fn slot(&mut self, name: &Arc<str>) -> Result<usize, DetectError> {
        if let Some(index) = self.by_name.get(name) {
            return Ok(*index);
        }
        if self.slots.len() == MAX_PARTITIONS {
            return Err(DetectError::TooManyPartitions { limit: MAX_PARTITIONS });
        }
        self.by_name.insert(name.clone(), self.slots.len());
        self.slots.push(Slot { name: name.clone(), seen: 0, bound: u64::MAX, candidates: Vec::new() });
        Ok(self.slots.len() - 1)
    }

    /// Gives up rows that are no candidates any more, once they are the half.
    fn tidy(&mut self) -> Result<(), DetectError> {
        let held: u64 = self.store.chunks.iter().map(|(_, rows)| rows.num_rows() as u64).sum();
        let candidates: u64 = self.slots.iter().map(|slot| slot.candidates.len() as u64).sum();
        let Some((_, kept)) = &self.schemas else { return Ok(()) };
        if held <= 2 * candidates + SLACK {
            return Ok(());
        }
        let mut places: Vec<(u64, usize, usize)> = Vec::with_capacity(candidates as usize);
        for (index, slot) in self.slots.iter().enumerate() {
            places.extend(slot.candidates.iter().enumerate().map(|(at, c)| (c.place, index, at)));
        }
        places.sort_unstable();
        let rows = self.store.rows(kept, places.iter().map(|(place, ..)| *place))?;
        for (place, (_, slot, at)) in (0..).zip(places) {
            self.slots[slot].candidates[at].place = place;
        }
        self.store = Store::default();
        self.store.push(rows)?;
        Ok(())
    }
}

/// The kept rows of one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name.
    pub partition: Arc<str>,
    /// Rows of the partition, kept or not; at least 1.
    pub seen: u64,
    /// The kept rows, by hash. Columns are of the types they came in; only if all kept texts of a dictionary
    /// column are too many for its keys, its keys are 32 bits.
    pub rows: RecordBatch,
    /// Their identities.
    pub identities: Vec<Identity>,
}

/// The kept rows of all partitions.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Samples {
    /// By name.
    pub partitions: Vec<Sample>,
    /// The rows with the `k` smallest hashes of all rows, by hash: (index of the partition, index of the row).
    pub all: Vec<(u32, u32)>,
}

impl Samples {
    /// Keeps these rows of each partition, in growing order, and leaves out partitions of which none stays.
    pub(super) fn keep(&mut self, which: &[Vec<usize>]) -> Result<(), ArrowError> {
        // Where each row will be: its partition, and its place there.
        let mut places: Vec<BTreeMap<u32, (u32, u32)>> = Vec::with_capacity(which.len());
        let mut kept = Vec::new();
        for (sample, which) in std::mem::take(&mut self.partitions).into_iter().zip(which) {
            let rows: Vec<u32> = which.iter().map(|row| *row as u32).collect();
            let partition = kept.len() as u32;
            places.push((0..).zip(&rows).map(|(place, row)| (*row, (partition, place))).collect());
            if !rows.is_empty() {
                kept.push(Sample {
                    identities: which.iter().map(|row| sample.identities[*row]).collect(),
                    rows: take_record_batch(&sample.rows, &UInt32Array::from(rows))?,
                    ..sample
                });
            }
        }
        self.partitions = kept;
        let place = |(partition, row): &(u32, u32)| places.get(*partition as usize)?.get(row).copied();
        self.all = self.all.iter().filter_map(place).collect();
        Ok(())
    }
}

/// The schema with dictionaries resolved: dictionaries of many batches do not add up well, and keys of 8 bits
/// would overflow.
fn plain(schema: &SchemaRef) -> SchemaRef {
    with_types(schema, |kind| match kind {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        other => other.clone(),
    })
}

/// The schema with dictionaries that hold any number of texts.
fn wide_keys(schema: &SchemaRef) -> SchemaRef {
    with_types(schema, |kind| match kind {
        DataType::Dictionary(_, value) => DataType::Dictionary(Box::new(DataType::Int32), value.clone()),
        other => other.clone(),
    })
}

fn with_types(schema: &SchemaRef, kind: impl Fn(&DataType) -> DataType) -> SchemaRef {
    let field = |field: &Arc<Field>| Field::new(field.name(), kind(field.data_type()), field.is_nullable());
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn with_schema(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, DictionaryArray, Float64Array, StringArray, UInt64Array};
    use arrow::datatypes::{Float64Type, Int8Type, UInt64Type};
    use proptest::prelude::*;

    use super::*;

    /// Rows with their number as value and a text of a dictionary that differs by batch.
    fn batch(numbers: &[u64]) -> (RecordBatch, Partitions, Vec<Identity>) {
        let values = Float64Array::from_iter_values(numbers.iter().map(|n| *n as f64));
        let texts: Vec<String> = numbers.iter().map(|n| format!("t{}", n % 100)).collect();
        let texts: DictionaryArray<Int8Type> = texts.iter().map(|text| Some(text.as_str())).collect();
        let class = |n: u64| ["a", "b", "b", "c"][(n % 4) as usize];
        let names = StringArray::from_iter_values(numbers.iter().map(|n| class(*n)));
        let rows = RecordBatch::try_from_iter([
            ("value", Arc::new(values) as ArrayRef),
            ("text", Arc::new(texts) as ArrayRef),
        ])
        .unwrap();
        let by = RecordBatch::try_from_iter([("by", Arc::new(names) as ArrayRef)]).unwrap();
        let partitions =
            crate::detect::partitions(&by, &crate::detect::PartitionBy::Column("by".into())).unwrap();
        (rows, partitions, numbers.iter().map(|n| (*n / 3, *n % 3)).collect())
    }

    fn observe(reservoir: &mut Reservoir, numbers: &[u64]) {
        let (rows, partitions, identities) = batch(numbers);
        reservoir.observe(&rows, &partitions, &identities).unwrap();
    }

    fn value(samples: &Samples, at: (u32, u32)) -> f64 {
        samples.partitions[at.0 as usize].rows.column(0).as_primitive::<Float64Type>().value(at.1 as usize)
    }

    /// What must come out, by sorting all rows.
    fn expected(k: usize, seed: u64, numbers: &[u64], of: impl Fn(u64) -> bool) -> Vec<f64> {
        let hash = RowHash::new(seed);
        let mut rows: Vec<_> = numbers.iter().copied().filter(|n| of(*n)).collect();
        rows.sort_by_key(|n| (hash.of((n / 3, n % 3)), *n));
        rows.truncate(k);
        rows.into_iter().map(|n| n as f64).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sample_depends_on_the_set_of_rows_alone(
            count in 0u64..600, k in 1usize..40, seed in any::<u64>(), shuffle in any::<u64>(),
            sizes in prop::collection::vec((1usize..80, 0usize..3), 1..40),
        ) {
            let mut numbers: Vec<u64> = (0..count).collect();
            let order = RowHash::new(shuffle);
            numbers.sort_by_key(|n| order.of((*n, 0)));

            let mut workers = vec![Reservoir::new(k, seed); 3];
            let mut rest = numbers.as_slice();
            for (size, worker) in sizes.iter().cycle() {
                if rest.is_empty() { break }
                let (now, later) = rest.split_at((*size).min(rest.len()));
                observe(&mut workers[*worker], now);
                rest = later;
            }
            let mut merged = Reservoir::new(k, seed);
            for worker in workers {
                merged.merge(worker).unwrap();
            }
            prop_assert_eq!(merged.seen(), count);
            let merged = merged.finish().unwrap();

            let mut one = Reservoir::new(k, seed);
            numbers.sort_unstable();
            observe(&mut one, &numbers);
            prop_assert_eq!(&merged, &one.finish().unwrap());

            for (index, sample) in (0..).zip(&merged.partitions) {
                let class: &[u64] = match &*sample.partition { "a" => &[0], "b" => &[1, 2], _ => &[3] };
                let values: Vec<f64> = (0..sample.rows.num_rows() as u32).map(|row| value(&merged, (index, row))).collect();
                prop_assert_eq!(values, expected(k, seed, &numbers, |n| class.contains(&(n % 4))));
                prop_assert_eq!(sample.seen, numbers.iter().filter(|n| class.contains(&(**n % 4))).count() as u64);
            }
            // The smallest of the union of samples are the smallest of all rows.
            let all: Vec<f64> = merged.all.iter().map(|at| value(&merged, *at)).collect();
            prop_assert_eq!(all, expected(k, seed, &numbers, |_| true));
        }
    }

    #[test]
    fn memory_is_bounded_by_the_sample() {
        let mut reservoir = Reservoir::new(1000, 3);
        for start in 0..300 {
            observe(&mut reservoir, &(start * 500..(start + 1) * 500).collect::<Vec<_>>());
            let held: usize = reservoir.store.chunks.iter().map(|(_, rows)| rows.num_rows()).sum();
            assert!(held <= 3 * 4 * 1000 + SLACK as usize, "{held}");
            assert!(reservoir.store.chunks.len() < 30);
        }
        assert_eq!(reservoir.seen(), 150_000);
    }

    #[test]
    fn types_come_back_as_they_were() {
        let mut reservoir = Reservoir::new(10, 3);
        let (rows, partitions, identities) = batch(&[1, 2, 3]);
        reservoir.observe(&rows, &partitions, &identities).unwrap();
        let samples = reservoir.finish().unwrap();
        assert_eq!(samples.partitions[0].rows.schema().fields(), rows.schema().fields());
    }

    #[test]
    fn more_texts_than_keys_widen_the_keys() {
        let mut reservoir = Reservoir::new(1000, 3);
        for start in [0, 100, 200] {
            let texts: Vec<String> = (start..start + 100).map(|n| format!("t{n}")).collect();
            let texts: DictionaryArray<Int8Type> = texts.iter().map(|text| Some(text.as_str())).collect();
            let rows = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
            let identities: Vec<Identity> = (start..start + 100).map(|n| (0, n)).collect();
            reservoir.observe(&rows, &Partitions::one("all", 100), &identities).unwrap();
        }
        let rows = &reservoir.finish().unwrap().partitions[0].rows;
        assert_eq!(rows.num_rows(), 300);
        let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        assert_eq!(*rows.column(0).data_type(), kind);
    }

    #[test]
    fn rows_that_stay_are_found_under_their_new_places() {
        let mut samples = Reservoir::new(50, 3);
        let column: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..40));
        let rows = RecordBatch::try_from_iter([("x", column)]).unwrap();
        for (name, from) in [("a", 0), ("b", 100), ("c", 200)] {
            let identities: Vec<Identity> = (from..from + 40).map(|row| (0, row)).collect();
            samples.observe(&rows, &Partitions::one(name, 40), &identities).unwrap();
        }
        let mut samples = samples.finish().unwrap();
        let named = |samples: &Samples, (partition, row): (u32, u32)| {
            samples.partitions[partition as usize].identities[row as usize].1
        };
        let before: Vec<u64> = samples.all.iter().map(|at| named(&samples, *at)).collect();
        let even = |of: &Sample| (0..40).filter(|row| of.identities[*row].1.is_multiple_of(2)).collect();
        let which: Vec<Vec<usize>> = samples
            .partitions
            .iter()
            .map(|of| if &*of.partition == "b" { vec![] } else { even(of) })
            .collect();
        samples.keep(&which).unwrap();
        let names: Vec<&str> = samples.partitions.iter().map(|sample| &*sample.partition).collect();
        assert_eq!(names, ["a", "c"]);
        let after: Vec<u64> = samples.all.iter().map(|at| named(&samples, *at)).collect();
        let stays = |row: &&u64| row.is_multiple_of(2) && !(100..200).contains(*row);
        assert_eq!(after, before.iter().filter(stays).copied().collect::<Vec<_>>());
        for sample in &samples.partitions {
            let values = sample.rows.column(0).as_primitive::<UInt64Type>().values();
            assert!(
                values
                    .iter()
                    .zip(&sample.identities)
                    .all(|(value, (_, row))| value.is_multiple_of(2) && row % 100 == *value)
            );
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let mut reservoir = Reservoir::new(10, 3);
        let (rows, partitions, identities) = batch(&[1, 2, 3]);
        assert!(matches!(
            reservoir.observe(&rows, &partitions, &identities[..2]),
            Err(DetectError::RowCount { what: "identities", expected: 3, found: 2 })
        ));
        reservoir.observe(&rows, &partitions, &identities).unwrap();
        let other = rows.project(&[0]).unwrap();
        let error = reservoir.observe(&other, &partitions, &identities).unwrap_err().to_string();
        assert!(error.contains("no column follows `text`"), "{error}");
        assert!(matches!(reservoir.merge(Reservoir::new(11, 3)), Err(DetectError::Merge { .. })));
        assert!(matches!(reservoir.merge(Reservoir::new(10, 4)), Err(DetectError::Merge { .. })));
        assert_eq!(Reservoir::new(10, 3).finish().unwrap(), Samples::default());
        reservoir.merge(Reservoir::new(10, 3)).unwrap();
        assert_eq!(reservoir.seen(), 3);
    }

    #[test]
    fn partitions_are_limited() {
        let numbers = UInt32Array::from_iter_values(0..2000);
        let rows = RecordBatch::try_from_iter([("x", Arc::new(numbers) as ArrayRef)]).unwrap();
        let partitions =
            crate::detect::partitions(&rows, &crate::detect::PartitionBy::Column("x".into())).unwrap();
        let identities: Vec<Identity> = (0..2000).map(|n| (0, n)).collect();
        assert!(matches!(
            Reservoir::new(10, 3).observe(&rows, &partitions, &identities),
            Err(DetectError::TooManyPartitions { limit: MAX_PARTITIONS })
        ));
    }
}
