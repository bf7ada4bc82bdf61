//! Cells of a window: source, destination, protocol and port, the finest of what any entity, element or
//! identity is made of.

use std::hash::BuildHasher;

use arrow::record_batch::RecordBatch;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use super::entity::{Address, Texts, numbers, optional_numbers, pools, port, service};
use super::recall::Part;
use super::{ContextError, Plan};

/// Where the rows of a cell come from and go to: positions of addresses, and a port.
pub(super) type Cell = [u32; 3];

/// Finds the cells of rows; numbers cells as they first come.
#[derive(Default)]
pub(super) struct Finder {
    seed: RandomState,
    /// Positions in `by_position`. The tables hold places only: a window may have millions, each of them once.
    addresses: HashTable<u32>,
    by_position: Vec<Address>,
    /// Places in `cells`.
    index: HashTable<u32>,
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

/// Addresses that are looked up one after the other once all of them were looked for.
const GROUP: usize = 32;

/// How much a window had, as the best guess for the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    addresses: usize,
    cells: usize,
}

impl Finder {
    /// For a window like the one before.
    pub(super) fn new(room: Room) -> Finder {
        Finder {
            addresses: HashTable::with_capacity(room.addresses),
            by_position: Vec::with_capacity(room.addresses),
            index: HashTable::with_capacity(room.cells),
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
        let at = |positions: &[u32], row: usize| positions.get(row).copied().unwrap_or(0);
        let mut cells = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let cell = [at(&src, row), at(&dst, row), at(&ports, row)];
            let (seed, known) = (&self.seed, &mut self.cells);
            let hash = |[src, dst, port]: Cell| {
                seed.hash_one(u128::from(src) << 64 | u128::from(dst) << 32 | u128::from(port))
            };
            let own = hash(cell);
            let place = match self.index.find(own, |place| known[*place as usize] == cell) {
                Some(place) => *place,
                None => {
                    known.push(cell);
                    let place = known.len() as u32 - 1;
                    *self.index.insert_unique(own, place, |place| hash(known[*place as usize])).get()
                }
            };
            cells.push(place);
        }
        Ok(cells)
    }

    /// Every cell so far, by number.
    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// No more rows come: what only finds is given back.
    pub(super) fn close(&mut self) {
        (self.addresses, self.index) = (HashTable::new(), HashTable::new());
    }

    /// Numbers what cells have in common in their source, their destination, and so much of their port.
    pub(super) fn alike(&self, src: bool, dst: bool, part: Part) -> Alike {
        let code = |port: u32| match part {
            Part::Nothing => 0,
            Part::Service => service(port),
            Part::Port => port,
        };
        let mut alike = Alike::with_capacity(self.cells.len());
        match (src, dst, part) {
            // One address: its position serves as the place of the number.
            (true, false, Part::Nothing) | (false, true, Part::Nothing) => {
                let mut numbers = vec![NONE; self.by_position.len().max(1)];
                for [from, to, _] in &self.cells {
                    let number = &mut numbers[if src { *from } else { *to } as usize];
                    if *number == NONE {
                        *number = alike.next();
                    }
                    alike.of_cell.push(*number);
                }
            }
            // No two cells have all of it in common, but for ports that are one service.
            (true, true, Part::Service | Part::Port) => {
                let mut pooled: HashMap<u128, u32, RandomState> = HashMap::default();
                for [src, dst, port] in &self.cells {
                    let number = match part == Part::Service && pools(*port) {
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
                for [from, to, port] in &self.cells {
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
            hashes.extend(group.iter().map(|address| self.seed.hash_one(address)));
            // Reads what the search begins with, so that the waits for memory overlap.
            let near = hashes.iter().filter_map(|hash| self.addresses.find(*hash, |_| true));
            std::hint::black_box(near.fold(0, |sum, at| sum ^ self.by_position[*at as usize].parts().0));
            for (address, own) in group.iter().zip(&hashes) {
                let (seed, known) = (&self.seed, &mut self.by_position);
                positions.push(
                    match self.addresses.find(*own, |position| known[*position as usize] == *address) {
                        Some(position) => *position,
                        None => {
                            known.push(*address);
                            let position = known.len() as u32 - 1;
                            let hash = |position: &u32| seed.hash_one(known[*position as usize]);
                            *self.addresses.insert_unique(*own, position, hash).get()
                        }
                    },
                );
            }
        }
        places.iter_mut().for_each(|place| *place = positions[*place as usize]);
        Ok(places)
    }
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
