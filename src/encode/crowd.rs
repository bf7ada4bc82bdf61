//! Whom rows are about, as the past has numbered them: the entities of one row, of many, and an order of rows in which those
//! are together for whom the same is usual.

use std::cell::OnceCell;
use std::sync::Arc;

use super::past::UNSEEN;
use super::subject::Subject;

/// The numbers of a row's entities and of those with the same service, by kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(super) entity: [u32; 6],
    pub(super) service: [u32; 6],
    /// Whether training never saw the source as that.
    pub(crate) from_stranger: bool,
    /// Whether training saw the destination neither as that nor as a source.
    pub(crate) to_stranger: bool,
}

/// The entities of many rows.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// Of each party.
    found: Arc<[Found]>,
    /// For each row its party.
    of_row: Vec<u32>,
    /// For each kind and row a number that those have in common for whom the same is usual.
    alike: OnceCell<[Vec<u32>; 6]>,
    struck: bool,
}

/// Marks the number of a service, for whom its entities are not told apart.
const OF_SERVICE: u32 = 1 << 31;

impl Found {
    /// A number that those of a kind have in common for whom the same is usual: an entity's own, or that of the service
    /// of those that training did not see.
    #[inline]
    pub(crate) fn alike(&self, kind: usize) -> u32 {
        match self.entity[kind] {
            UNSEEN => self.service[kind] | OF_SERVICE,
            entity => entity,
        }
    }
}

impl Crowd {
    /// Of what was found of each party, and the party of each row.
    pub(super) fn new(found: Arc<[Found]>, of_row: Vec<u32>) -> Crowd {
        Crowd { found, of_row, alike: OnceCell::new(), struck: false }
    }

    /// The same as if training had never seen any source of the rows: what it did counts neither for itself nor for others.
    pub(crate) fn struck(self) -> Crowd {
        Crowd { struck: true, ..self }
    }

    /// Whether sources are taken for such.
    pub(crate) fn is_struck(&self) -> bool {
        self.struck
    }

    /// How many rows they are.
    pub(super) fn rows(&self) -> usize {
        self.of_row.len()
    }

    /// Of each row a number that those have in common for whom the same is usual of a subject.
    pub(super) fn alike(&self, subject: Subject) -> &[u32] {
        let alike = |kind: usize| {
            self.of_row.iter().map(|party| self.found[*party as usize].alike(kind)).collect::<Vec<u32>>()
        };
        &self.alike.get_or_init(|| std::array::from_fn(alike))[subject as usize]
    }

    /// The rows in an order in which those stand together for whom the same is usual: of one source, in it those of one
    /// service, in those of one party.
    pub(crate) fn ordered(&self) -> Vec<u32> {
        let mut parties: Vec<u32> = (0..self.found.len() as u32).collect();
        let kinds = [Subject::Source, Subject::SourceService, Subject::PairService, Subject::Destination];
        let alike = |party: &u32| kinds.map(|kind| self.found[*party as usize].alike(kind as usize));
        parties.sort_by_cached_key(alike);
        // Where the rows of each party go.
        let mut places = vec![0u32; self.found.len()];
        self.of_row.iter().for_each(|party| places[*party as usize] += 1);
        let mut next = 0;
        for party in parties {
            let count = std::mem::replace(&mut places[party as usize], next);
            next += count;
        }
        let mut rows = vec![0; self.of_row.len()];
        for (row, party) in (0..).zip(&self.of_row) {
            let place = &mut places[*party as usize];
            rows[*place as usize] = row;
            *place += 1;
        }
        rows
    }

    /// The entities of some of the rows.
    pub(crate) fn some(&self, rows: &[u32]) -> Crowd {
        let of_row = rows.iter().map(|row| self.of_row[*row as usize]).collect();
        Crowd { struck: self.struck, ..Crowd::new(self.found.clone(), of_row) }
    }

    /// The entities of a row.
    pub(crate) fn found(&self, row: usize) -> &Found {
        &self.found[self.of_row[row] as usize]
    }
}
