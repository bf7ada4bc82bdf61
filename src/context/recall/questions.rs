//! A worker's rows of one window: the identities that they have, and what is to be known of them.

use arrow::record_batch::RecordBatch;

use super::super::cells::{Alike, Finder, Room};
use super::super::entity::{Key, numbers, service, times};
use super::super::{ContextError, Plan};
use super::starts::Start;
use super::{IDENTITIES, Part};
use crate::row::asking::Head;

/// The row that stands for others: its flow, and its number among the rows of the window.
pub(super) type Lead = (u64, u32);

/// Rows of a window while they arrive.
#[derive(Default)]
pub(super) struct Gathering {
    finder: Finder,
    /// For each cell the row of the smallest flow id.
    leads: Vec<Lead>,
    /// Rows that begin a flow: cell, row, start.
    began: Vec<(u32, u32, Start)>,
    /// Rows of flows that began before: row, flow.
    later: Vec<(u32, u64)>,
    rows: u32,
}

impl Gathering {
    /// For a window like the one before.
    pub(super) fn new(room: Room) -> Gathering {
        Gathering { finder: Finder::new(room, false), ..Gathering::default() }
    }

    /// How much there was so far.
    pub(super) fn room(&self) -> Room {
        self.finder.room()
    }

    /// Takes in rows, and says which cell each is in.
    ///
    /// # Errors
    /// [`ContextError`] for rows that are not as [`Plan::check`] wants them.
    pub(super) fn add(&mut self, plan: &Plan, rows: &RecordBatch) -> Result<Vec<u32>, ContextError> {
        let flows = numbers(rows, "flow_id")?;
        let cells = self.finder.find(plan, rows)?;
        self.leads.resize(self.finder.cells().len(), (u64::MAX, u32::MAX));
        for (row, (cell, flow)) in (self.rows..).zip(cells.iter().zip(flows.iter())) {
            let lead = &mut self.leads[*cell as usize];
            *lead = (*lead).min((*flow, row));
        }
        if plan.recall.regularities() {
            let index = numbers(rows, "row_index")?;
            let starts = times(rows, "flow_start")?;
            let rows = index.iter().zip(starts).zip(cells.iter().zip(flows.iter()));
            for (row, ((index, time), (cell, flow))) in (self.rows..).zip(rows) {
                match index {
                    0 => self.began.push((*cell, row, Start { time, flow: *flow })),
                    _ => self.later.push((row, *flow)),
                }
            }
        }
        self.rows += rows.num_rows() as u32;
        Ok(cells)
    }

    /// All rows of the window were added.
    pub(super) fn close(mut self, plan: &Plan) -> Questions {
        self.finder.close();
        let mut questions = Questions {
            rows: self.rows,
            of_cell: Vec::with_capacity(plan.recall.identities.len()),
            keys: Vec::new(),
            leads: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
            later: self.later,
        };
        for identity in &plan.recall.identities {
            let of_cell = questions.identify(*identity, &self.finder, &self.leads);
            if plan.recall.starts(*identity) {
                let began = self.began.iter();
                questions.starts.extend(began.map(|(cell, row, start)| Began {
                    number: of_cell[*cell as usize],
                    start: *start,
                    row: *row,
                    identity: *identity,
                }));
            }
            questions.of_cell.push(of_cell);
        }
        questions.starts.sort_by_key(|began| (began.number, began.start));
        let mut end = 0;
        for number in 0..questions.keys.len() as u32 {
            while questions.starts.get(end).is_some_and(|began| began.number == number) {
                end += 1;
            }
            questions.ends.push(end as u32);
        }
        questions
    }
}

/// A flow that began, as one of an identity.
pub(super) struct Began {
    number: u32,
    pub(super) start: Start,
    pub(super) row: u32,
    /// Position in [`IDENTITIES`].
    pub(super) identity: usize,
}

/// A complete window of one worker: identities of all kinds, numbered, and what is asked about them.
#[derive(Default)]
pub(super) struct Questions {
    pub(super) rows: u32,
    /// For each identity asked about, by place, and for each cell the number.
    pub(super) of_cell: Vec<Vec<u32>>,
    keys: Vec<Key>,
    pub(super) leads: Vec<Lead>,
    /// By number, then in the order of starts.
    pub(super) starts: Vec<Began>,
    /// Where the starts of each number end.
    ends: Vec<u32>,
    /// Rows of flows that began in an earlier window: row, flow.
    pub(super) later: Vec<(u32, u64)>,
}

impl Questions {
    /// Numbers what cells are of one kind; for each cell its number.
    fn identify(&mut self, position: usize, finder: &Finder, leads: &[Lead]) -> Vec<u32> {
        let identity = &IDENTITIES[position];
        let Alike { mut of_cell, firsts } = finder.alike(identity.src, identity.dst, identity.part, false);
        let from = self.keys.len();
        self.keys.extend(firsts.iter().map(|cell| {
            let [src, dst, port, _] = finder.cells()[*cell as usize];
            let part = match identity.part {
                Part::Nothing => 0,
                Part::Service => service(port),
                Part::Port => port,
            };
            let end = |part: bool, at: u32| part.then(|| finder.address(at));
            let (src, dst) = (end(identity.src, src), end(identity.dst, dst));
            Key::of(src.as_ref(), dst.as_ref(), (position as u32) << 24 | part)
        }));
        self.leads.resize(self.keys.len(), (u64::MAX, u32::MAX));
        for (number, lead) in of_cell.iter_mut().zip(leads) {
            *number += from as u32;
            let own = &mut self.leads[*number as usize];
            *own = (*own).min(*lead);
        }
        of_cell
    }

    /// Identities of all kinds.
    pub(super) fn count(&self) -> usize {
        self.keys.len()
    }

    /// What kind an identity is, by position in [`IDENTITIES`].
    pub(super) fn identity(&self, number: usize) -> usize {
        (self.keys[number].code() >> 24) as usize
    }

    /// The starts of an identity's flows: positions in `starts`.
    pub(super) fn starts_of(&self, number: usize) -> std::ops::Range<usize> {
        let end = |at: usize| self.ends.get(at).map_or(0, |end| *end as usize);
        if number == 0 { 0..end(0) } else { end(number - 1)..end(number) }
    }

    /// The worker that knows about an identity.
    pub(super) fn owner(&self, number: usize, peers: usize) -> usize {
        self.keys[number].owner(peers)
    }

    /// Adds to a question what is asked about an identity.
    pub(super) fn ask(&self, number: usize, question: &mut Question) {
        let starts = self.starts_of(number);
        question.numbers.push(number as u32);
        question.keys.push(self.keys[number]);
        question.leads.push(self.leads[number].0);
        question.lengths.push(starts.len() as u32);
        question.starts.extend(self.starts[starts].iter().map(|began| began.start));
    }
}

/// What a worker wants to know about identities that its rows of a window have, and what it knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Question {
    /// Its window is the start in nanoseconds.
    pub(super) head: Head,
    /// Numbers of the identities at the worker that asks.
    pub(super) numbers: Vec<u32>,
    pub(super) keys: Vec<Key>,
    /// The smallest flow id of the worker's rows of each.
    pub(super) leads: Vec<u64>,
    /// How many of `starts` are of each.
    pub(super) lengths: Vec<u32>,
    pub(super) starts: Vec<Start>,
}

impl Question {
    /// Identities, and how much there is to say about them.
    pub(super) fn size(&self) -> usize {
        self.numbers.len() * 4 + self.starts.len()
    }
}
