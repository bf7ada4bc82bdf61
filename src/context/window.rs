//! A worker's rows of one window, counted.
//!
//! Rows are gathered in [cells](super::cells). A row costs the search of its cell and the addition of what it
//! counts; entities and their elements are derived from cells when the window is complete.

use arrow::record_batch::RecordBatch;

use super::cells::{Alike, Finder, Room};
use super::distinct::{self, Elements, summarise};
use super::entity::{Key, Texts, asks, is_group, mix, numbers, optional_numbers, service};
use super::recall::Part;
use super::{ContextError, Counted, Entity, Group, Plan, Statistic, Sum, recall};
use crate::row::asking::Head;

/// The cells of a window, counted while its rows arrive.
pub(super) struct Cells {
    sums: Vec<Sum>,
    finder: Finder,
    /// What the rows of each cell counted, `sums.len()` values a cell.
    counted: Vec<u64>,
}

impl Cells {
    /// For a window like the one before.
    pub(super) fn new(plan: &Plan, room: Room) -> Cells {
        let mut sums: Vec<Sum> = plan.groups.iter().flat_map(|group| &group.sums).copied().collect();
        sums.sort_unstable();
        sums.dedup();
        let counted = Vec::with_capacity(room.cells() * sums.len());
        Cells { sums, finder: Finder::new(room, plan.has_shapes()), counted }
    }

    /// How much there was so far.
    pub(super) fn room(&self) -> Room {
        self.finder.room()
    }

    /// Counts rows of the window, and says which cell each is in.
    ///
    /// # Errors
    /// [`ContextError`] for rows that are not as [`Plan::check`] wants them.
    pub(super) fn add(&mut self, plan: &Plan, rows: &RecordBatch) -> Result<Vec<u32>, ContextError> {
        let cells = self.finder.find(plan, rows)?;
        let stride = self.sums.len();
        self.counted.resize(self.finder.cells().len() * stride, 0);
        for (offset, sum) in self.sums.iter().enumerate() {
            let mut count = |cell: &u32, value: u64| {
                let sum = &mut self.counted[*cell as usize * stride + offset];
                *sum = sum.wrapping_add(value);
            };
            match weights(*sum, rows)? {
                Some(weights) => cells.iter().zip(weights).for_each(|(cell, weight)| count(cell, weight)),
                None => cells.iter().for_each(|cell| count(cell, 1)),
            }
        }
        Ok(cells)
    }

    /// All rows of the window were added.
    pub(super) fn close(mut self, plan: &Plan) -> Window {
        self.finder.close();
        let entities = plan.groups.iter().map(|group| Entities::new(group, &self.finder)).collect();
        let place = |sum| self.sums.binary_search(sum).expect("cells count what any group needs");
        let places = plan.groups.iter().map(|group| group.sums.iter().map(place).collect()).collect();
        let Cells { sums, finder, counted } = self;
        Window { entities, stride: sums.len(), places, finder, counted, elements: Vec::new() }
    }
}

/// What each row adds to a sum; `None` where each adds 1.
fn weights(sum: Sum, rows: &RecordBatch) -> Result<Option<Vec<u64>>, ContextError> {
    let values = |name| -> Result<Option<Vec<u64>>, ContextError> { Ok(Some(numbers(rows, name)?.to_vec())) };
    let statistic = match sum {
        Sum::Of(statistic) => statistic,
        Sum::New(identity) => {
            let firsts = numbers(rows, recall::FIRSTS)?;
            return Ok(Some(firsts.iter().map(|firsts| firsts >> identity & 1).collect()));
        }
    };
    match statistic {
        Statistic::Flows => {
            let index = numbers(rows, "row_index")?;
            Ok(Some(index.iter().map(|index| u64::from(*index == 0)).collect()))
        }
        Statistic::Failed => {
            let states = Texts::new(rows, "conn_state")?;
            let failed = states.map(|state| matches!(state, Some("S0" | "REJ" | "RSTOS0")));
            let to_one = Texts::new(rows, "dst_ip")?.map(|address| !address.is_some_and(is_group));
            let (protocols, back) = (numbers(rows, "protocol")?, numbers(rows, "bwd_packets")?);
            let kinds = optional_numbers(rows, "icmp_type")?;
            let asks = protocols.iter().zip(&kinds).map(|(protocol, kind)| asks(*protocol, kind));
            let of_rows = asks.zip(back.iter()).zip(failed.into_iter().zip(to_one));
            let failed = of_rows
                .map(|((asks, back), (failed, to_one))| u64::from(failed || asks && to_one && *back == 0));
            Ok(Some(failed.collect()))
        }
        Statistic::Packets => values("bidir_packets"),
        Statistic::FwdBytes => values("fwd_bytes"),
        Statistic::BwdBytes => values("bwd_bytes"),
        Statistic::Rows => Ok(None),
        // No sums of what rows count.
        Statistic::Peers
        | Statistic::Ports
        | Statistic::Services
        | Statistic::Ends
        | Statistic::NewPeers
        | Statistic::NewPorts
        | Statistic::NewServices
        | Statistic::NewEnds
        | Statistic::Active => Ok(None),
    }
}

/// A complete window of one worker.
pub(super) struct Window {
    entities: Vec<Entities>,
    /// Values of a cell in `counted`.
    stride: usize,
    /// For each group where its sums are among them.
    places: Vec<Vec<usize>>,
    finder: Finder,
    counted: Vec<u64>,
    /// Room for the elements of one set.
    elements: Vec<u64>,
}

/// The entities of one kind in a window, numbered as they first come.
struct Entities {
    /// For each cell its entity.
    of_cell: Vec<u32>,
    /// For each entity its first cell.
    firsts: Vec<u32>,
    /// Cells in the order of their entities; nothing where each entity has one.
    order: Vec<u32>,
    /// Where the cells of each entity begin in that order, and the end of the last.
    starts: Vec<u32>,
}

impl Entities {
    fn new(group: &Group, finder: &Finder) -> Entities {
        let entity = &group.entity;
        let part = if entity.service { Part::Service } else { Part::Nothing };
        let Alike { of_cell, firsts } = finder.alike(entity.src, entity.dst, part, entity.shape);
        if firsts.len() == of_cell.len() {
            return Entities { of_cell, firsts, order: Vec::new(), starts: Vec::new() };
        }
        let mut starts = vec![0; firsts.len() + 1];
        of_cell.iter().for_each(|number| starts[*number as usize + 1] += 1);
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0; of_cell.len()];
        for (cell, number) in of_cell.iter().enumerate() {
            let place = &mut next[*number as usize];
            order[*place as usize] = cell as u32;
            *place += 1;
        }
        Entities { of_cell, firsts, order, starts }
    }

    fn cells(&self, number: usize) -> &[u32] {
        match self.order.is_empty() {
            true => &self.firsts[number..=number],
            false => &self.order[self.starts[number] as usize..self.starts[number + 1] as usize],
        }
    }
}

/// What rows of a window counted for entities of one kind: from the worker that has the rows to the one
/// that remembers the entities.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ask {
    pub(super) head: Head,
    /// Numbers of the entities at the worker that asks.
    pub(super) numbers: Vec<u32>,
    pub(super) keys: Vec<Key>,
    /// The group's sums for each entity.
    pub(super) sums: Vec<u64>,
    /// For each entity and set of the group how many of `elements` are its own, with the highest bit set
    /// where they are registers.
    pub(super) lengths: Vec<u32>,
    pub(super) elements: Vec<u64>,
}

const REGISTERS: u32 = 1 << 31;

impl Ask {
    /// Entities, and how much there is to say about them.
    pub(super) fn size(&self) -> usize {
        self.numbers.len() * 16 + self.elements.len()
    }

    /// Makes room for entities of a group, most of which have one cell.
    pub(super) fn reserve(&mut self, group: &Group, entities: usize) {
        self.numbers.reserve(entities);
        self.keys.reserve(entities);
        self.sums.reserve(entities * group.sums.len());
        self.lengths.reserve(entities * group.sets.len());
        self.elements.reserve(entities * group.sets.len());
    }

    /// The sets of the entities, in order, for a group with `sets` of them.
    pub(super) fn sets(&self) -> impl Iterator<Item = Elements<'_>> {
        let mut rest = &self.elements[..];
        self.lengths.iter().map(move |length| {
            let count = ((length & !REGISTERS) as usize).min(rest.len());
            let (own, others) = rest.split_at(count);
            rest = others;
            if length & REGISTERS == 0 { Elements::Each(own) } else { Elements::Registers(own) }
        })
    }
}

impl Window {
    /// How many entities there are of a group.
    pub(super) fn count(&self, group: usize) -> usize {
        self.entities[group].firsts.len()
    }

    /// Who an entity is.
    pub(super) fn key(&self, plan: &Plan, group: usize, number: usize) -> Key {
        let [src, dst, port, shape] = self.finder.cells()[self.entities[group].firsts[number] as usize];
        let (src, dst) = (self.finder.address(src), self.finder.address(dst));
        Key::new(&plan.groups[group].entity, &src, &dst, service(port), shape)
    }

    /// Adds to an ask what was counted for an entity, which has this key.
    pub(super) fn ask(&mut self, plan: &Plan, group: usize, number: usize, key: Key, ask: &mut Ask) {
        let wanted = &plan.groups[group];
        let cells = self.entities[group].cells(number);
        ask.numbers.push(number as u32);
        ask.keys.push(key);
        for place in &self.places[group] {
            let counted = cells.iter().map(|cell| self.counted[*cell as usize * self.stride + place]);
            ask.sums.push(counted.fold(0, u64::wrapping_add));
        }
        if let [cell] = cells {
            ask.lengths.extend(wanted.sets.iter().map(|_| 1));
            let sets = wanted.sets.iter();
            ask.elements.extend(sets.map(|set| self.element(&wanted.entity, set.statistic, *cell)));
            return;
        }
        let mut elements = std::mem::take(&mut self.elements);
        for set in &wanted.sets {
            elements.clear();
            elements.extend(cells.iter().map(|cell| self.element(&wanted.entity, set.statistic, *cell)));
            let registers = if summarise(&mut elements) { REGISTERS } else { 0 };
            ask.lengths.push(elements.len() as u32 | registers);
            ask.elements.extend_from_slice(&elements);
        }
        self.elements = elements;
    }

    /// The values of all entities of a group that looks no further than this window, where all of its rows are.
    pub(super) fn values(&mut self, plan: &Plan, group: usize) -> Vec<u64> {
        let Group { entity, sets, values, .. } = &plan.groups[group];
        let mut elements = std::mem::take(&mut self.elements);
        let mut all = Vec::with_capacity(self.count(group) * values.len());
        for number in 0..self.count(group) {
            let cells = self.entities[group].cells(number);
            all.extend(values.iter().map(|value| match value.source {
                Counted::Sum(sum) => {
                    let place = self.places[group][sum];
                    let counted = cells.iter().map(|cell| self.counted[*cell as usize * self.stride + place]);
                    counted.fold(0, u64::wrapping_add)
                }
                Counted::Set(_) if cells.len() == 1 => 1,
                Counted::Set(set) => {
                    elements.clear();
                    let statistic = sets[set].statistic;
                    elements.extend(cells.iter().map(|cell| self.element(entity, statistic, *cell)));
                    distinct::count(&mut elements).into()
                }
                Counted::Active => 1,
            }));
        }
        self.elements = elements;
        all
    }

    /// The element that a cell is in a set of an entity.
    fn element(&self, entity: &Entity, statistic: Statistic, cell: u32) -> u64 {
        let [src, dst, port, _] = self.finder.cells()[cell as usize];
        match statistic {
            Statistic::Peers if entity.dst => self.finder.address(src).element(0),
            Statistic::Peers => self.finder.address(dst).element(0),
            Statistic::Services => mix(u64::from(service(port))),
            Statistic::Ends => self.finder.address(dst).element(port),
            _ => mix(u64::from(port)),
        }
    }

    /// For each group and cell the number of the entity.
    pub(super) fn of_cells(&mut self) -> Vec<Numbers> {
        self.entities
            .iter_mut()
            .map(|entities| Numbers {
                of_cell: std::mem::take(&mut entities.of_cell),
                count: entities.firsts.len(),
            })
            .collect()
    }
}

/// The entities of one kind that the rows of a window have.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// For each cell its entity.
    pub(super) of_cell: Vec<u32>,
    /// How many there are.
    pub(super) count: usize,
}
