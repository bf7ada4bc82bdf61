//! A memory as two tables: `seen`, one row for each identity, and `starts`, the last starts of flows.
//!
//! Columns are of plain types, so that every column store keeps them: addresses are text (one that is no address
//! is `#` and 128 bits of its hash), times nanoseconds since the Unix epoch. What is read is not trusted.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{UInt32Type, UInt64Type};
use arrow::record_batch::RecordBatch;

use super::super::address::Address;
use super::super::entity::{Key, service};
use super::columns::Identity;
use super::memory::Memory;
use super::shard::{Known, order};
use super::starts::{REMEMBERED, Starts};
use super::{IDENTITIES, Part};
use crate::reading::{Damage, Table, Tables};

const SEEN: &str = "seen";
const STARTS: &str = "starts";

impl Memory {
    /// The memory as tables with their names, in an order that depends on nothing but what is remembered.
    ///
    /// `seen`: `kind` (`src`, `pairport`, ...), `src` and `dst` (null where the kind has none), `port`
    /// (protocol << 16 | port or ICMP type, services pooled), `first` and `last` (start of the windows of the
    /// first and last row). `starts`: `seen` (number of the row there, from 0) and `start`.
    pub fn tables(&self) -> Vec<(String, RecordBatch)> {
        let all = self.sorted();
        let identities: Vec<&Identity> = all.iter().map(|known| identity(&known.key)).collect();
        let end = |end: usize, has: fn(&Identity) -> bool| -> ArrayRef {
            let rows = all.iter().zip(&identities);
            let there = |address: &Address| *address != Address::default();
            let address = rows.map(|(known, of)| Some(known.key.ends()[end]).filter(|_| has(of)));
            let text = address.map(|address| address.filter(there).map(|address| address.text()));
            Arc::new(text.collect::<StringArray>())
        };
        let kinds = StringArray::from_iter_values(identities.iter().map(|identity| identity.name));
        let ports = UInt32Array::from_iter_values(all.iter().map(|known| known.key.code() & PORT));
        let seen = RecordBatch::try_from_iter_with_nullable([
            ("kind", Arc::new(kinds) as ArrayRef, false),
            ("src", end(0, |identity| identity.src), true),
            ("dst", end(1, |identity| identity.dst), true),
            ("port", Arc::new(ports), false),
            ("first", Arc::new(UInt64Array::from_iter_values(all.iter().map(|known| known.first))), false),
            ("last", Arc::new(UInt64Array::from_iter_values(all.iter().map(|known| known.last))), false),
        ]);
        let starts = || {
            let with = all.iter().enumerate().filter_map(|(row, known)| Some((row, known.starts.as_ref()?)));
            with.flat_map(|(row, starts)| starts.times().iter().map(move |time| (row as u64, *time)))
        };
        let starts = RecordBatch::try_from_iter_with_nullable([
            ("seen", Arc::new(UInt64Array::from_iter_values(starts().map(|of| of.0))) as ArrayRef, false),
            ("start", Arc::new(UInt64Array::from_iter_values(starts().map(|of| of.1))), false),
        ]);
        let same_length = "columns are made from the same rows";
        vec![(SEEN.to_owned(), seen.expect(same_length)), (STARTS.to_owned(), starts.expect(same_length))]
    }

    /// The memory that [`Memory::tables`] wrote; tables of other names are passed over.
    ///
    /// # Errors
    /// [`Damage`] for anything that it could not have written.
    pub(crate) fn from_tables(tables: &Tables) -> Result<Memory, Damage> {
        let mut all = read_seen(Table::find(tables, SEEN)?)?;
        read_starts(Table::find(tables, STARTS)?, &mut all)?;
        let mut memory = Memory::default();
        memory.extend(all);
        Ok(memory)
    }
}

/// The lower bits of a key's code.
pub(super) const PORT: u32 = (1 << 24) - 1;

fn identity(key: &Key) -> &'static Identity {
    &IDENTITIES[(key.code() >> 24) as usize]
}

fn read_seen(table: Table<'_>) -> Result<Vec<Known>, Damage> {
    let kinds = table.texts("kind")?;
    let (src, dst) = (table.optional_texts("src")?, table.optional_texts("dst")?);
    let ports = table.numbers::<UInt32Type>("port")?;
    let firsts = table.numbers::<UInt64Type>("first")?;
    let lasts = table.numbers::<UInt64Type>("last")?;
    let mut all: Vec<Known> = Vec::with_capacity(table.rows.num_rows());
    for row in 0..table.rows.num_rows() {
        let wrong = |what| table.damaged_at(row, what);
        let kind = IDENTITIES.iter().position(|identity| identity.name == kinds.value(row));
        let kind = kind.ok_or_else(|| wrong("kind is none that is known"))?;
        let identity = &IDENTITIES[kind];
        let end = |texts: &StringArray, has: bool| match (texts.is_valid(row), has) {
            (false, has) => Ok(has.then(Address::default)),
            (true, false) => Err(wrong("has an address that its kind does not have")),
            (true, true) => match Address::from_text(texts.value(row)) {
                Some(address) if address != Address::default() => Ok(Some(address)),
                _ => Err(wrong("src or dst is no address in its plain form")),
            },
        };
        let (src, dst) = (end(&src, identity.src)?, end(&dst, identity.dst)?);
        let port = ports.value(row);
        let fits = match identity.part {
            Part::Nothing => port == 0,
            Part::Service => port <= PORT && service(port) == port,
            Part::Port => port <= PORT,
        };
        if !fits {
            return Err(wrong("port is none that its kind could have"));
        }
        let (first, last) = (firsts.value(row), lasts.value(row));
        if last < first {
            return Err(wrong("last is before first"));
        }
        let key = Key::of(src.as_ref(), dst.as_ref(), (kind as u32) << 24 | port);
        match all.last().map(|before| order(&before.key).cmp(&order(&key))) {
            None | Some(Ordering::Less) => {}
            Some(Ordering::Equal) => return Err(wrong("is there twice")),
            Some(Ordering::Greater) => return Err(wrong("is out of order")),
        }
        all.push(Known { key, first, last, starts: None, learned: false });
    }
    Ok(all)
}

fn read_starts(table: Table<'_>, all: &mut [Known]) -> Result<(), Damage> {
    let rows = table.numbers::<UInt64Type>("seen")?;
    let times = table.numbers::<UInt64Type>("start")?;
    let mut at = 0;
    let mut before = None;
    while at < table.rows.num_rows() {
        let wrong = |row: usize, what| table.damaged_at(row, what);
        let seen = rows.value(at);
        if before.is_some_and(|before| before >= seen) {
            return Err(wrong(at, "seen goes back"));
        }
        before = Some(seen);
        let length = rows.values()[at..].iter().take_while(|row| **row == seen).count();
        let own = &times.values()[at..at + length];
        if length > REMEMBERED {
            return Err(wrong(at + REMEMBERED, "is one more start than is ever remembered"));
        }
        if let Some(back) = own.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(wrong(at + back + 1, "start goes back"));
        }
        let known = usize::try_from(seen).ok().and_then(|seen| all.get_mut(seen));
        let known = known.ok_or_else(|| wrong(at, "seen is no row of the other table"))?;
        known.starts = Some(Box::new(Starts::new(own.to_vec())));
        at += length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A memory of some identities of every kind.
    fn memory(hosts: &[u8]) -> Memory {
        let mut all = Vec::new();
        for (kind, identity) in IDENTITIES.iter().enumerate() {
            for host in hosts {
                let name = ["10.0.0.", "fd00::", "printer-"][usize::from(host % 3)];
                let address = Address::parse(Some(&format!("{name}{}", host % 200)));
                let other = if identity.src { Address::default() } else { address };
                let (src, dst) = (identity.src.then_some(&address), identity.dst.then_some(&other));
                let port = if identity.part == Part::Nothing { 0 } else { 6 << 16 | u32::from(*host) };
                let times = (0..u64::from(host % 18)).map(|n| 1_000 + n).collect();
                let starts = (host % 18 > 0).then(|| Box::new(Starts::new(times)));
                let key = Key::of(src, dst, (kind as u32) << 24 | port);
                all.push(Known { key, first: 10, last: 10 + u64::from(*host), starts, learned: false });
            }
        }
        let mut memory = Memory::default();
        memory.extend(all);
        memory
    }

    fn again(tables: &[(String, RecordBatch)]) -> Result<Memory, Damage> {
        Memory::from_tables(&tables.iter().cloned().collect())
    }

    #[test]
    fn a_memory_is_its_tables() {
        let hosts: Vec<u8> = (0..70).collect();
        let there = memory(&hosts);
        assert_eq!(there.len(), 9 * 70);
        let tables = there.tables();
        assert_eq!(again(&tables).unwrap(), there);
        let back: Vec<u8> = hosts.into_iter().rev().collect();
        assert_eq!(memory(&back).tables(), tables);
        assert_eq!(again(&Memory::default().tables()).unwrap(), Memory::default());
    }

    #[test]
    fn what_could_not_have_been_written_is_named() {
        let tables = memory(&[1, 2, 17]).tables();
        let with = |table: usize, column: &str, value: ArrayRef| {
            let mut tables = tables.clone();
            let schema = tables[table].1.schema();
            let columns = schema.fields().iter().map(|field| field.name().clone());
            let columns: Vec<(String, ArrayRef)> = columns
                .zip(tables[table].1.columns())
                .map(|(name, old)| (name.clone(), if name == column { value.clone() } else { old.clone() }))
                .collect();
            tables[table].1 = RecordBatch::try_from_iter(columns).unwrap();
            again(&tables).unwrap_err().to_string()
        };
        let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; 27])) };
        let number =
            |value: u64, count: usize| -> ArrayRef { Arc::new(UInt64Array::from(vec![value; count])) };
        let rows = tables[1].1.num_rows();
        let errors = [
            (
                with(0, "kind", text("nobody")),
                "model table `seen` is damaged: row 1: kind is none that is known",
            ),
            (with(0, "kind", text("dst")), "row 1: has an address that its kind does not have"),
            (with(0, "src", text("10.0.0.01")), "row 1: src or dst is no address in its plain form"),
            (with(0, "port", Arc::new(UInt32Array::from(vec![7; 27]))), "row 1: port is none"),
            (with(0, "first", number(99, 27)), "last is before first"),
            (with(0, "last", text("x")), "column `last` is Utf8, not UInt64"),
            (with(1, "seen", number(27, rows)), "row 18: is one more start than is ever remembered"),
            (with(1, "start", Arc::new(UInt64Array::from_iter_values((0..rows as u64).rev()))), "goes back"),
        ];
        for (error, expected) in errors {
            assert!(error.contains(expected), "{error}");
        }
        assert!(
            again(&tables[..1])
                .unwrap_err()
                .to_string()
                .contains("`starts` is damaged: the table is missing")
        );
        let rows = |order: &[usize]| {
            let mut tables = tables.clone();
            let rows = order.iter().map(|row| tables[0].1.slice(*row, 1)).collect::<Vec<_>>();
            tables[0].1 = arrow::compute::concat_batches(rows[0].schema_ref(), &rows).unwrap();
            tables[1].1 = tables[1].1.slice(0, 0);
            again(&tables).map(|memory| memory.len()).map_err(|damage| damage.to_string())
        };
        let damage = |what: &str| Err(format!("model table `seen` is damaged: {what}"));
        assert_eq!(rows(&[0, 1, 2, 3]), Ok(4));
        assert_eq!(rows(&[0, 1, 1, 2]), damage("row 3: is there twice"));
        assert_eq!(rows(&[0, 2, 1, 3]), damage("row 3: is out of order"));
    }

    proptest! {
        #[test]
        fn any_tables_are_a_memory_or_an_error(
            kinds in prop::collection::vec("[a-z]{0,4}|src|dst|pair|pairsvc|srcsvcport", 0..6),
            address in prop::option::of("[0-9a-f:.#]{0,9}|10.0.0.[1-9]|fd00::[1-9]"),
            port in prop_oneof![Just(0u32), any::<u32>(), Just(6 << 16 | 80)],
            starts in prop::collection::vec((0..7u64, 0..9u64), 0..40),
        ) {
            let count = kinds.len();
            let end: ArrayRef = Arc::new(StringArray::from(vec![address; count]));
            let seen = RecordBatch::try_from_iter([
                ("kind", Arc::new(StringArray::from(kinds)) as ArrayRef),
                ("src", end.clone()),
                ("dst", end),
                ("port", Arc::new(UInt32Array::from(vec![port; count]))),
                ("first", Arc::new(UInt64Array::from(vec![1; count]))),
                ("last", Arc::new(UInt64Array::from(vec![2; count]))),
            ]).unwrap();
            let rows = |of: fn(&(u64, u64)) -> u64| -> ArrayRef {
                Arc::new(UInt64Array::from_iter_values(starts.iter().map(of)))
            };
            let starts = RecordBatch::try_from_iter([("seen", rows(|s| s.0)), ("start", rows(|s| s.1))]).unwrap();
            let tables = [(SEEN.to_owned(), seen), (STARTS.to_owned(), starts)];
            match again(&tables) {
                Ok(memory) => prop_assert_eq!(again(&memory.tables()), Ok(memory)),
                Err(error) => prop_assert!(!error.to_string().contains('\n')),
            }
        }
    }
}
