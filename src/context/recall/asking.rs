//! What is asked and answered about the identities of a window, and who has its rows meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::datatypes::SchemaRef;

use super::super::asking::Celled;
use super::super::cells::Room;
use super::super::{AnyError, Plan};
use super::answers::{Answers, Columns};
use super::flows::Flows;
use super::keeper::{Answer, Keeper, Taken};
use super::questions::{Gathering, Question, Questions};
use crate::row::RowBatch;
use crate::row::asking::{self, Attacher, Gatherer, Head, MESSAGE, message};
use crate::tally::Tally;

/// Finds the identities of a worker's rows, and asks their owners about them.
pub(super) struct Identifying {
    plan: Arc<Plan>,
    /// Of a window in nanoseconds.
    length: u64,
    from: u32,
    peers: usize,
    room: Room,
}

/// Batches of one window with the cells of their rows, what was asked about them, and what was answered so far.
pub(super) struct Held {
    batches: Vec<Celled>,
    questions: Arc<Questions>,
    answers: Answers,
}

/// A window that is being asked about.
pub(super) struct Asking {
    window: u64,
    questions: Arc<Questions>,
    /// The next identity.
    next: usize,
    /// What is being said to each worker.
    messages: Vec<Question>,
}

impl Identifying {
    /// Of worker `from` of `peers`.
    pub(super) fn new(plan: Arc<Plan>, length: u64, from: u32, peers: usize) -> Identifying {
        Identifying { plan, length, from, peers, room: Room::default() }
    }
}

impl Gatherer for Identifying {
    type Gathered = (Gathering, Vec<Celled>);
    type Held = Held;
    type Asking = Asking;
    type Ask = Question;

    /// Its start.
    fn window(&self, batch: &RowBatch) -> u64 {
        batch.place.window / self.length * self.length
    }

    fn begin(&mut self) -> (Gathering, Vec<Celled>) {
        (Gathering::new(self.room), Vec::new())
    }

    fn add(
        &mut self,
        (gathering, batches): &mut (Gathering, Vec<Celled>),
        batch: RowBatch,
    ) -> Result<(), AnyError> {
        let cells = gathering.add(&self.plan, &batch.rows)?;
        batches.push((batch, cells));
        Ok(())
    }

    fn close(&mut self, (gathering, batches): (Gathering, Vec<Celled>), window: u64) -> (Held, Asking) {
        self.room = gathering.room();
        let questions = Arc::new(gathering.close(&self.plan));
        let answers = Answers::new(&questions);
        let mut messages = Vec::new();
        messages.resize_with(self.peers, Question::default);
        let asking = Asking { window, questions: questions.clone(), next: 0, messages };
        (Held { batches, questions, answers }, asking)
    }

    fn ask(&mut self, asking: &mut Asking) -> Option<Question> {
        let Asking { window, questions, next, messages } = asking;
        while *next < questions.count() {
            let target = questions.owner(*next, self.peers);
            let message = &mut messages[target];
            let head = Head { window: *window, from: self.from, target: target as u32, ..Head::default() };
            message.head = head;
            questions.ask(*next, message);
            *next += 1;
            if message.size() >= MESSAGE {
                return Some(std::mem::take(message));
            }
        }
        messages.iter_mut().find(|message| message.size() > 0).map(std::mem::take)
    }
}

impl asking::Keeper for Keeper {
    type Ask = Question;
    type Taken = Taken;
    type Answer = Answer;

    fn open(&mut self, _: u64) {}

    fn take(&mut self, question: Question) -> Taken {
        Keeper::take(self, question)
    }

    fn settle(&mut self, window: u64) {
        Keeper::settle(self, window);
    }

    fn answer(&mut self, taken: Taken) -> Answer {
        Keeper::answer(self, taken)
    }

    fn close(&mut self) -> u64 {
        Keeper::close(self)
    }
}

/// Attaches columns to rows.
pub(super) struct Attaching {
    plan: Arc<Plan>,
    /// Of a window in nanoseconds.
    length: u64,
    /// The last window that was known before the run.
    known: Option<u64>,
    flows: Flows,
    /// The schema of the last rows, and theirs with what was recalled.
    schema: Option<(SchemaRef, SchemaRef)>,
    tally: Arc<Tally>,
}

impl Attaching {
    pub(super) fn new(plan: Arc<Plan>, length: u64, known: Option<u64>, tally: Arc<Tally>) -> Attaching {
        let flows = Flows::new(length, plan.recall.most());
        Attaching { plan, length, known, flows, schema: None, tally }
    }
}

/// A window whose answers are all there, and its rows.
pub(super) struct Settled {
    questions: Arc<Questions>,
    columns: Columns,
    batches: std::vec::IntoIter<Celled>,
    /// Rows of the batches before.
    rows: usize,
}

impl Attacher for Attaching {
    type Held = Held;
    type Answer = Answer;
    type Settled = Settled;

    fn put(&mut self, held: &mut Held, answer: Answer) {
        held.answers.put(&held.questions, &answer);
    }

    fn settle(&mut self, held: Held, window: u64) -> Settled {
        let Held { batches, questions, answers } = held;
        let columns =
            answers.columns(&self.plan.recall, &questions, &mut self.flows, window, self.length, self.known);
        self.tally.forgotten.fetch_add(self.flows.close(window), Relaxed);
        Settled { questions, columns, batches: batches.into_iter(), rows: 0 }
    }

    fn rows(&mut self, settled: &mut Settled) -> Option<Result<RowBatch, AnyError>> {
        let (batch, cells) = settled.batches.next()?;
        let (recall, known) = (&self.plan.recall, batch.rows.schema_ref());
        let schema = match &self.schema {
            Some((of, schema)) if of == known => schema,
            _ => &self.schema.insert((known.clone(), recall.schema(known))).1,
        };
        let (from, questions) = (settled.rows, &settled.questions);
        let rows = settled.columns.attach(recall, questions, &batch.rows, &cells, from, schema);
        settled.rows += cells.len();
        Some(Ok(RowBatch { rows, ..batch }))
    }
}

message!(Question: numbers, keys, leads, lengths, starts);
message!(Answer: numbers, firsts, leads, learned, regularities);

#[cfg(test)]
mod tests {
    use super::super::starts::{Regularity, Start};
    use super::*;
    use crate::context::address::Address;
    use crate::context::entity::Key;
    use crate::row::asking::operator::crossed;

    #[test]
    fn messages_cross_machines_unchanged() {
        let address = |text| Address::parse(Some(text));
        let key = Key::of(Some(&address("10.0.0.1")), Some(&address("fe80::2")), 6 << 24 | 6 << 16 | 443);
        let head = Head { window: 7, from: 1, target: 2, group: 0, reserved: 0 };
        let question = Question {
            head,
            numbers: vec![4, 5, 6],
            keys: vec![key; 3],
            leads: vec![u64::MAX, 1, 2],
            lengths: vec![1, 0, 1],
            starts: vec![Start { time: 1, flow: 2 }; 2],
        };
        let steady = Regularity { cv8: 0.5, gap8: 1.0, cv16: 2.0 };
        let regularities = vec![steady; 3];
        let (firsts, leads, learned) = (vec![10], vec![11], vec![1]);
        let answer = Answer { head, numbers: vec![1], firsts, leads, learned, regularities };
        assert_eq!(crossed(&question), question);
        assert_eq!(crossed(&answer), answer);
        assert_eq!(crossed(&Question::default()), Question::default());
    }
}
