//! Cells of a window: source, destination, protocol and port, the finest of what any entity, element or
//! identity is made of.

use arrow::record_batch::RecordBatch;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::entity::{Address, Texts, numbers, optional_numbers, port};
use super::{ContextError, Plan};

/// Where the rows of a cell come from and go to: positions of addresses, and a port.
pub(super) type Cell = [u32; 3];

/// A cell as one number: the fastest to hash.
pub(super) fn packed([src, dst, port]: Cell) -> u128 {
    u128::from(src) << 64 | u128::from(dst) << 32 | u128::from(port)
}

/// Finds the cells of rows; numbers cells as they first come.
#[derive(Default)]
pub(super) struct Finder {
    addresses: HashMap<Address, u32, RandomState>,
    by_position: Vec<Address>,
    index: HashMap<u128, u32, RandomState>,
    cells: Vec<Cell>,
}

impl Finder {
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
            let next = self.cells.len() as u32;
            let place = *self.index.entry(packed(cell)).or_insert(next);
            if place == next {
                self.cells.push(cell);
            }
            cells.push(place);
        }
        Ok(cells)
    }

    /// Every cell so far, by number.
    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
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
        Ok(Texts::new(rows, name)?.map(|text| {
            let next = self.by_position.len() as u32;
            let address = Address::parse(text);
            *self.addresses.entry(address).or_insert_with(|| {
                self.by_position.push(address);
                next
            })
        }))
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
