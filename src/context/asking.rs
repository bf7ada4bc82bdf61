//! What is asked and answered about the entities of a window, and who has its rows meanwhile.

use std::mem::take;
use std::sync::Arc;

use super::attach::{Layouts, Values};
use super::cells::Room;
use super::horizon::{Answer, Horizons, Taken};
use super::window::{Ask, Cells, Window};
use super::{AnyError, Plan};
use crate::row::RowBatch;
use crate::row::asking::{Attacher, Gatherer, Head, Keeper, MESSAGE, message};

/// Rows, and the cell of each.
pub(super) type Celled = (RowBatch, Vec<u32>);

/// Counts rows of a worker, and asks the owners of their entities.
pub(super) struct Counting {
    plan: Arc<Plan>,
    /// Of a window in nanoseconds.
    length: u64,
    from: u32,
    peers: usize,
    room: Room,
}

/// Batches of one window with the cells of their rows, and the values of their entities as far as they came.
pub(super) struct Held {
    batches: Vec<Celled>,
    values: Values,
}

/// A window that is being asked about.
pub(super) struct Asking {
    index: u64,
    window: Window,
    /// The next entity: its group and number.
    next: (usize, usize),
    /// What is being said to each worker.
    asks: Vec<Ask>,
}

impl Counting {
    /// Of worker `from` of `peers`.
    pub(super) fn new(plan: Arc<Plan>, length: u64, from: u32, peers: usize) -> Counting {
        Counting { plan, length, from, peers, room: Room::default() }
    }
}

impl Gatherer for Counting {
    type Gathered = (Cells, Vec<Celled>);
    type Held = Held;
    type Asking = Asking;
    type Ask = Ask;

    /// Its index.
    fn window(&self, batch: &RowBatch) -> u64 {
        batch.place.window / self.length
    }

    fn begin(&mut self) -> (Cells, Vec<Celled>) {
        (Cells::new(&self.plan, self.room), Vec::new())
    }

    fn add(&mut self, (cells, batches): &mut (Cells, Vec<Celled>), batch: RowBatch) -> Result<(), AnyError> {
        let cells = cells.add(&self.plan, &batch.rows)?;
        batches.push((batch, cells));
        Ok(())
    }

    fn close(&mut self, (cells, batches): (Cells, Vec<Celled>), index: u64) -> (Held, Asking) {
        let plan = &self.plan;
        self.room = cells.room();
        let mut window = cells.close(plan);
        let told = plan.groups.iter().enumerate().map(|(at, group)| match group.told_by_rows(self.peers) {
            true => window.values(plan, at),
            false => Vec::new(),
        });
        let told = told.collect();
        let values = Values::new(plan, window.of_cells(), told);
        let mut asks = Vec::new();
        asks.resize_with(self.peers, Ask::default);
        (Held { batches, values }, Asking { index, window, next: (0, 0), asks })
    }

    fn ask(&mut self, asking: &mut Asking) -> Option<Ask> {
        let Asking { index, window, next: (group, number), asks } = asking;
        while let Some(asked) = self.plan.groups.get(*group) {
            let count = if asked.told_by_rows(self.peers) { 0 } else { window.count(*group) };
            while *number < count {
                let key = window.key(&self.plan, *group, *number);
                let target = key.owner(self.peers);
                let ask = &mut asks[target];
                if ask.numbers.is_empty() {
                    let (target, group) = (target as u32, *group as u32);
                    ask.head = Head { window: *index, from: self.from, target, group, reserved: 0 };
                    ask.reserve(asked, (count - *number).div_ceil(self.peers).min(MESSAGE / 16));
                }
                window.ask(&self.plan, *group, *number, key, ask);
                *number += 1;
                if ask.size() >= MESSAGE {
                    return Some(take(ask));
                }
            }
            if let Some(ask) = asks.iter_mut().find(|ask| ask.size() > 0) {
                return Some(take(ask));
            }
            (*group, *number) = (*group + 1, 0);
        }
        None
    }
}

impl Keeper for Horizons {
    type Ask = Ask;
    type Taken = Taken;
    type Answer = Answer;

    fn open(&mut self, window: u64) {
        Horizons::open(self, window);
    }

    fn take(&mut self, ask: Ask) -> Taken {
        Horizons::take(self, ask)
    }

    fn settle(&mut self, _: u64) {}

    fn answer(&mut self, taken: Taken) -> Answer {
        Horizons::answer(self, taken)
    }

    fn close(&mut self) -> u64 {
        Horizons::close(self)
    }
}

/// Attaches columns to rows.
pub(super) struct Attaching {
    plan: Arc<Plan>,
    layouts: Layouts,
}

impl Attaching {
    pub(super) fn new(plan: Arc<Plan>) -> Attaching {
        Attaching { plan, layouts: Layouts::default() }
    }
}

impl Attacher for Attaching {
    type Held = Held;
    type Answer = Answer;
    type Settled = (Values, std::vec::IntoIter<Celled>);

    fn put(&mut self, held: &mut Held, answer: Answer) {
        held.values.put(&self.plan, &answer);
    }

    fn settle(&mut self, Held { values, batches }: Held, _: u64) -> Self::Settled {
        (values, batches.into_iter())
    }

    fn rows(&mut self, (values, batches): &mut Self::Settled) -> Option<Result<RowBatch, AnyError>> {
        let (batch, cells) = batches.next()?;
        let layout = self.layouts.of(&self.plan, batch.rows.schema_ref());
        let rows = values.attach(&self.plan, &batch.rows, &cells, layout);
        Some(Ok(RowBatch { rows, ..batch }))
    }
}

message!(Ask: numbers, keys, sums, lengths, elements);
message!(Answer: numbers, values);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ENTITIES;
    use crate::context::address::Address;
    use crate::context::entity::Key;
    use crate::row::asking::operator::crossed;

    #[test]
    fn messages_cross_machines_unchanged() {
        let address = |text| Address::parse(Some(text));
        let key = Key::new(&ENTITIES[5], &address("10.0.0.1"), &address("fe80::2"), 6 << 16 | 443, 0);
        let head = Head { window: 7, from: 1, target: 2, group: 3, reserved: 0 };
        let ask = Ask {
            head,
            numbers: vec![4, 5, 6],
            keys: vec![key; 3],
            sums: vec![u64::MAX, 1, 2],
            lengths: vec![1, 0, 1 << 31 | 2],
            elements: vec![9, 8, 7],
        };
        let answer = Answer { head, numbers: vec![1], values: vec![10, 11] };
        assert_eq!(crossed(&ask), ask);
        assert_eq!(crossed(&answer), answer);
        assert_eq!(crossed(&Ask::default()), Ask::default());
    }
}
