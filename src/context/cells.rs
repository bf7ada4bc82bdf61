//! Cells of a window: source, destination, protocol and port, the finest of what any element or identity is made
//! of; and the shape of rows, where entities are made of that.

use std::hash::BuildHasher;

use arrow::record_batch::RecordBatch;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::address::Address;
use super::entity::{Texts, numbers, optional_numbers, pools, port, service};
use super::places::{Places, short};
use super::recall::Part;
use super::shape::shapes;
use super::{ContextError, Plan};

/// Where the rows of a cell come from and go to: positions of addresses, and a port; and their shape.
pub(super) type Cell = [u32; 4];

/// Finds the cells of rows; numbers cells as they first come.
#[derive(Default)]
pub(super) struct Finder {
    seed: RandomState,
    /// Whether rows of other shapes are in other cells.
    shaped: bool,
    /// Positions in `by_position`. The tables hold places only: a window may have millions, each of them once.
    addresses: Places,
    by_position: Vec<Address>,
    /// Places in `cells`.
    index: Places,
    cells: Vec<Cell>,
}

/// What cells have in common, numbered as it first comes.
pub(super) struct Alike {
    /// For each cell the number.
    pub(super) of_cell: Vec<u32>,
    /// For each number its first cell.
    pub(super) firsts: Vec<u32>,
}

impl Alike {
    fn with_capacity(cells: usize) -> Alike {
        Alike { of_cell: Vec::with_capacity(cells), firsts: Vec::new() }
    }

    /// The next number, for the next cell.
    fn next(&mut self) -> u32 {
        self.firsts.push(self.of_cell.len() as u32);
        self.firsts.len() as u32 - 1
    }
}

/// No number yet.
const NONE: u32 = u32::MAX;

/// Addresses, and cells, that are looked up one after the other once all of them were looked for.
const GROUP: usize = 32;

/// How much a window had, as the best guess for the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    addresses: usize,
    cells: usize,
}

impl Room {
    pub(super) fn cells(self) -> usize {
        self.cells
    }
}

impl Finder {
    /// For a window like the one before, with cells for each shape or one for all of them.
    pub(super) fn new(room: Room, shaped: bool) -> Finder {
        Finder {
            shaped,
            addresses: Places::with_capacity(room.addresses),
            by_position: Vec::with_capacity(room.addresses),
            index: Places::with_capacity(room.cells),
            cells: Vec::with_capacity(room.cells),
            ..Finder::default()
        }
    }

    /// How much there was so far.
    pub(super) fn room(&self) -> Room {
        Room { addresses: self.by_position.len(), cells: self.cells.len() }
    }

    /// For each row its cell. What the plan does not read is the same for all.
    ///
    /// # Errors
    /// [`ContextError`] for rows that are not as [`Plan::check`] wants them.
    pub(super) fn find(&mut self, plan: &Plan, rows: &RecordBatch) -> Result<Vec<u32>, ContextError> {
        let src = self.ends(plan, rows, "src_ip")?;
        let dst = self.ends(plan, rows, "dst_ip")?;
        let ports = ports(plan, rows)?;
        let shapes = if self.shaped { shapes(rows)? } else { Vec::new() };
        let at = |positions: &[u32], row: usize| positions.get(row).copied().unwrap_or(0);
        let mut cells = Vec::with_capacity(rows.num_rows());
        let mut group = Vec::with_capacity(GROUP);
        for from in (0..rows.num_rows()).step_by(GROUP) {
            let rows = from..rows.num_rows().min(from + GROUP);
            group.clear();
            group.extend(rows.map(|row| {
                let cell = [at(&src, row), at(&dst, row), at(&ports, row), at(&shapes, row)];
                let [src, dst, port, shape] = cell.map(u128::from);
                (cell, short(self.seed.hash_one(shape << 96 | src << 64 | dst << 32 | port)))
            }));
            load(&self.index, group.iter().map(|(_, hash)| *hash), |place| self.cells[place][0]);
            for (cell, hash) in &group {
                let known = self.index.find(*hash, |place| self.cells[place as usize] == *cell);
                cells.push(known.unwrap_or_else(|| {
                    self.cells.push(*cell);
                    let place = self.cells.len() as u32 - 1;
                    self.index.insert(*hash, place);
                    place
                }));
            }
        }
        Ok(cells)
    }

    /// Every cell so far, by number.
    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// No more rows come: what only finds is given back.
    pub(super) fn close(&mut self) {
        (self.addresses, self.index) = (Places::default(), Places::default());
    }

    /// Numbers what cells have in common in their source, their destination, so much of their port, and their shape.
    pub(super) fn alike(&self, src: bool, dst: bool, part: Part, shape: bool) -> Alike {
        let code = |port: u32| match part {
            Part::Nothing => 0,
            Part::Service => service(port),
            Part::Port => port,
        };
        let mut alike = Alike::with_capacity(self.cells.len());
        match (src, dst, part) {
            // One end, service and shape.
            _ if shape => {
                let mut known: HashMap<u128, u32, RandomState> = HashMap::default();
                for [from, to, port, shape] in &self.cells {
                    let end = if src { *from } else { *to };
                    let same = u128::from(end) << 64 | u128::from(code(*port)) << 32 | u128::from(*shape);
                    let number = *known.entry(same).or_insert_with(|| alike.next());
                    alike.of_cell.push(number);
                }
            }
            // One address: its position serves as the place of the number.
            (true, false, Part::Nothing) | (false, true, Part::Nothing) => {
                let mut numbers = vec![NONE; self.by_position.len().max(1)];
                for [from, to, ..] in &self.cells {
                    let number = &mut numbers[if src { *from } else { *to } as usize];
                    if *number == NONE {
                        *number = alike.next();
                    }
                    alike.of_cell.push(*number);
                }
            }
            // No two cells have all of it in common, but for ports that are one service and rows of several shapes.
            (true, true, Part::Service | Part::Port) => {
                let mut pooled: HashMap<u128, u32, RandomState> = HashMap::default();
                for [src, dst, port, _] in &self.cells {
                    let number = match self.shaped || part == Part::Service && pools(*port) {
                        true => {
                            let same =
                                u128::from(*src) << 64 | u128::from(*dst) << 32 | u128::from(code(*port));
                            *pooled.entry(same).or_insert_with(|| alike.next())
                        }
                        false => alike.next(),
                    };
                    alike.of_cell.push(number);
                }
            }
            _ => {
                let mut known: HashMap<u64, u32, RandomState> = HashMap::default();
                for [from, to, port, _] in &self.cells {
                    let [high, low] = match (src, dst) {
                        (true, true) => [*from, *to],
                        (true, false) => [*from, code(*port)],
                        (false, true) => [*to, code(*port)],
                        (false, false) => [0, code(*port)],
                    };
                    let same = u64::from(high) << 32 | u64::from(low);
                    let number = *known.entry(same).or_insert_with(|| alike.next());
                    alike.of_cell.push(number);
                }
            }
        }
        alike
    }

    /// The address at a position.
    pub(super) fn address(&self, position: u32) -> Address {
        self.by_position.get(position as usize).copied().unwrap_or_default()
    }

    /// For each row the position of its address; nothing where addresses do not matter.
    fn ends(
        &mut self,
        plan: &Plan,
        rows: &RecordBatch,
        name: &'static str,
    ) -> Result<Vec<u32>, ContextError> {
        if !plan.reads(name) {
            return Ok(Vec::new());
        }
        let mut addresses = Vec::new();
        let mut places: Vec<u32> = Texts::new(rows, name)?.map(|text| {
            addresses.push(Address::parse(text));
            addresses.len() as u32 - 1
        });
        let mut positions = Vec::with_capacity(addresses.len());
        let mut hashes = Vec::with_capacity(GROUP);
        for group in addresses.chunks(GROUP) {
            hashes.clear();
            hashes.extend(group.iter().map(|address| short(self.seed.hash_one(address))));
            load(&self.addresses, hashes.iter().copied(), |place| self.by_position[place].version().into());
            for (address, hash) in group.iter().zip(&hashes) {
                let known =
                    self.addresses.find(*hash, |position| self.by_position[position as usize] == *address);
                positions.push(known.unwrap_or_else(|| {
                    self.by_position.push(*address);
                    let position = self.by_position.len() as u32 - 1;
                    self.addresses.insert(*hash, position);
                    position
                }));
            }
        }
        places.iter_mut().for_each(|place| *place = positions[*place as usize]);
        Ok(places)
    }
}

/// Reads what searches for hashes will read, and what they will find, so that the waits for memory overlap.
fn load(places: &Places, hashes: impl Iterator<Item = u32> + Clone, read: impl Fn(usize) -> u32) {
    let first = hashes.clone().fold(0, |sum, hash| sum ^ places.load(hash));
    let near = hashes.filter_map(|hash| places.near(hash));
    std::hint::black_box((first, near.fold(0, |sum, place| sum ^ read(place as usize))));
}

/// For each row its port code; nothing where ports do not matter.
fn ports(plan: &Plan, rows: &RecordBatch) -> Result<Vec<u32>, ContextError> {
    if !plan.reads("dst_port") {
        return Ok(Vec::new());
    }
    let protocols = numbers(rows, "protocol")?;
    let ports = numbers(rows, "dst_port")?;
    let types = optional_numbers(rows, "icmp_type")?;
    let rows = protocols.iter().zip(ports.iter()).zip(&types);
    Ok(rows.map(|((protocol, number), icmp_type)| port(*protocol, *number, icmp_type)).collect())
}
