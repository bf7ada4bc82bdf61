//! Recall in the graph: rows wait where they are, identities are asked about where they are remembered.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use bytemuck::cast_slice;
use timely::bytes::arc::Bytes;
use timely::container::{Accountable, NoopBuilder};
use timely::dataflow::Stream;
use timely::dataflow::channels::ContainerBytes;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::super::Plan;
use super::super::cells::Room;
use super::super::operator::{
    self, BURST, Celled, Lengths, Lists, MESSAGE, Remembering, Targeted, ToTarget, add, keep, length, write,
};
use super::super::window::Head;
use super::answers::{Answers, Columns};
use super::flows::Flows;
use super::keeper::{Answer, Keeper, Taken};
use super::questions::{Gathering, Question, Questions};
use crate::row::RowBatch;
use crate::tally::{Fault, Tally};

/// Attaches to rows what is recalled of their identities; all rows of a window are held until it is complete.
pub(in crate::context) fn recall<'s>(
    rows: Stream<'s, u64, RowBatch>,
    plan: Arc<Plan>,
    lengths: Lengths,
    remembering: Remembering,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    let Remembering { before, after } = remembering;
    let known = before.as_ref().and_then(|memory| memory.last());
    let (worker, peers, most) = (rows.scope().index(), rows.scope().peers(), plan.recall.most());
    let (held, questions) = gather(rows, plan.clone(), lengths.window, fault);
    let keeper = move || Keeper::new(before.as_deref(), worker, peers, most);
    let leave = move |keeper: Keeper| {
        if let Some(after) = after {
            let mut memory = after.lock().expect("no worker panics while it hands over");
            keeper.leave(memory.get_or_insert_default());
        }
    };
    let answers = keep(questions, "recall", lengths, keeper, leave, tally.clone());
    attach(held, answers, plan, lengths.window, known, tally)
}

/// Batches of one window with the cells of their rows, and what was asked about them.
#[derive(Default)]
struct Held {
    window: u64,
    batches: Vec<Celled>,
    questions: Arc<Questions>,
}

impl Accountable for Held {
    fn record_count(&self) -> i64 {
        self.batches.len() as i64
    }
}

/// A window that is being asked about.
struct Asking {
    time: u64,
    window: u64,
    questions: Arc<Questions>,
    /// The next identity.
    next: usize,
    /// What is being said to each worker.
    messages: Vec<Question>,
}

impl Asking {
    /// The next message that is full, or the last ones; `None` when all was said.
    fn turn(&mut self, from: u32) -> Option<Question> {
        let peers = self.messages.len();
        while self.next < self.questions.count() {
            let target = self.questions.owner(self.next, peers);
            let message = &mut self.messages[target];
            message.head = Head { window: self.window, from, target: target as u32, group: 0, reserved: 0 };
            self.questions.ask(self.next, message);
            self.next += 1;
            if message.size() >= MESSAGE {
                return Some(std::mem::take(message));
            }
        }
        self.messages.iter_mut().find(|message| message.size() > 0).map(std::mem::take)
    }
}

/// Gathers rows of each window. Gives them with their cells, and asks the owners of their identities.
fn gather<'s>(
    rows: Stream<'s, u64, RowBatch>,
    plan: Arc<Plan>,
    length: u64,
    fault: Arc<Fault>,
) -> (Stream<'s, u64, Held>, Stream<'s, u64, Question>) {
    let scope = rows.scope();
    let (from, peers) = (scope.index() as u32, scope.peers());
    let mut builder = OperatorBuilder::new("gather".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(rows, Pipeline);
    let (held, held_stream) = builder.new_output();
    let (messages, messages_stream) = builder.new_output();
    let mut held = OutputBuilder::<_, NoopBuilder<Held>>::from(held);
    let mut messages = OutputBuilder::<_, NoopBuilder<Question>>::from(messages);
    builder.build(move |capabilities| {
        let mut capabilities = Some(capabilities);
        let mut windows: BTreeMap<(u64, u64), (Gathering, Vec<Celled>)> = BTreeMap::new();
        let mut asking: Option<Asking> = None;
        let mut room = Room::default();
        move |frontiers| {
            input.for_each(|cap, batch| {
                let time = *cap.least().expect("sent under a capability");
                let batch = std::mem::take(batch);
                if fault.met() {
                    return;
                }
                let window = batch.place.window / length * length;
                let (gathering, batches) =
                    windows.entry((time, window)).or_insert_with(|| (Gathering::new(room), Vec::new()));
                match gathering.add(&plan, &batch.rows) {
                    Ok(cells) => batches.push((batch, cells)),
                    Err(error) => fault.note(error),
                }
            });
            let Some(caps) = capabilities.as_mut() else { return };
            let open = frontiers[0].frontier().first().copied();
            let (mut held, mut messages) = (held.activate(), messages.activate());
            let mut sent = 0;
            loop {
                if let Some(now) = &mut asking {
                    let Some(mut message) = now.turn(from) else {
                        asking = None;
                        continue;
                    };
                    let time = caps[1].delayed(&now.time);
                    messages.session_with_builder(&time).give_container(&mut message);
                    sent += 1;
                    if sent == BURST {
                        return activator.activate();
                    }
                    continue;
                }
                let complete = windows.first_entry().filter(|w| open.is_none_or(|open| w.key().0 < open));
                let Some(complete) = complete else { break };
                let ((time, window), (gathering, batches)) = complete.remove_entry();
                room = gathering.room();
                let questions = Arc::new(gathering.close(&plan));
                let mut rows = Held { window, batches, questions: questions.clone() };
                let at = caps[0].delayed(&time);
                held.session_with_builder(&at).give_container(&mut rows);
                let mut messages = Vec::new();
                messages.resize_with(peers, Question::default);
                asking = Some(Asking { time, window, questions, next: 0, messages });
            }
            match open {
                Some(open) => caps.iter_mut().for_each(|cap| cap.downgrade(&open)),
                None => capabilities = None,
            }
        }
    });
    (held_stream, messages_stream)
}

impl operator::Keeper for Keeper {
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

/// A window whose answers are all there, and its rows.
struct Attaching {
    time: u64,
    questions: Arc<Questions>,
    columns: Columns,
    batches: std::vec::IntoIter<Celled>,
    /// Rows of the batches before.
    rows: usize,
}

/// Attaches columns to rows when all answers about their window are there.
fn attach<'s>(
    held: Stream<'s, u64, Held>,
    answers: Stream<'s, u64, Answer>,
    plan: Arc<Plan>,
    length: u64,
    known: Option<u64>,
    tally: Arc<Tally>,
) -> Stream<'s, u64, RowBatch> {
    let scope = held.scope();
    let to_asker = DistributorPact(|_| ToTarget);
    held.binary_frontier::<_, NoopBuilder<RowBatch>, _, _, _, _>(
        answers,
        Pipeline,
        to_asker,
        "recalled",
        move |capability, info| {
            let activator = scope.activator_for(info.address);
            let mut capability = Some(capability);
            let mut windows: BTreeMap<(u64, u64), (Held, Vec<Answer>)> = BTreeMap::new();
            let mut attaching: Option<Attaching> = None;
            let mut flows = Flows::new(length, plan.recall.most());
            let mut schema = None;
            move |(held, held_frontier), (answers, answer_frontier), output| {
                held.for_each(|cap, held| {
                    let time = *cap.least().expect("sent under a capability");
                    let held = std::mem::take(held);
                    let window = windows.entry((time, held.window)).or_default();
                    window.0 = held;
                });
                answers.for_each(|cap, answer| {
                    let time = *cap.least().expect("sent under a capability");
                    let answer = std::mem::take(answer);
                    windows.entry((time, answer.head.window)).or_default().1.push(answer);
                });
                let Some(cap) = capability.as_mut() else { return };
                let heads = [held_frontier, answer_frontier].map(|f| f.frontier().first().copied());
                let open = heads.into_iter().flatten().min();
                let mut sent = 0;
                loop {
                    if let Some(now) = &mut attaching {
                        let Some((batch, cells)) = now.batches.next() else {
                            attaching = None;
                            continue;
                        };
                        let known = batch.rows.schema_ref();
                        let schema = match &schema {
                            Some((of, schema)) if of == known => schema,
                            _ => &schema.insert((known.clone(), plan.recall.schema(known))).1,
                        };
                        let (from, questions) = (now.rows, &now.questions);
                        let rows =
                            now.columns.attach(&plan.recall, questions, &batch.rows, &cells, from, schema);
                        now.rows += cells.len();
                        let mut batch = RowBatch { rows, ..batch };
                        let time = cap.delayed(&now.time);
                        output.session_with_builder(&time).give_container(&mut batch);
                        sent += 1;
                        if sent == BURST {
                            return activator.activate();
                        }
                        continue;
                    }
                    let complete = windows.first_entry().filter(|w| open.is_none_or(|open| w.key().0 < open));
                    let Some(complete) = complete else { break };
                    let ((time, window), (held, answered)) = complete.remove_entry();
                    let Held { batches, questions, .. } = held;
                    let mut answers = Answers::new(&questions);
                    answered.iter().for_each(|answer| answers.put(&questions, answer));
                    let columns = answers.columns(&plan.recall, &questions, &mut flows, window, length);
                    let columns = columns.known_until(known);
                    add(&tally.forgotten, flows.close(window));
                    let batches = batches.into_iter();
                    attaching = Some(Attaching { time, questions, columns, batches, rows: 0 });
                }
                match open {
                    Some(open) => cap.downgrade(&open),
                    None => capability = None,
                }
            }
        },
    )
}

impl Targeted for Question {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl Targeted for Answer {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl Accountable for Question {
    fn record_count(&self) -> i64 {
        self.numbers.len() as i64
    }
}

impl Accountable for Answer {
    fn record_count(&self) -> i64 {
        self.numbers.len() as i64
    }
}

impl ContainerBytes for Question {
    fn from_bytes(bytes: Bytes) -> Self {
        let mut lists = Lists::new::<5>(&bytes);
        Question {
            head: lists.head,
            numbers: lists.next(),
            keys: lists.next(),
            leads: lists.next(),
            lengths: lists.next(),
            starts: lists.next(),
        }
    }

    fn length_in_bytes(&self) -> usize {
        length(&self.lists())
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        write(&self.head, &self.lists(), writer);
    }
}

impl Question {
    fn lists(&self) -> [&[u8]; 5] {
        [
            cast_slice(&self.numbers),
            cast_slice(&self.keys),
            cast_slice(&self.leads),
            cast_slice(&self.lengths),
            cast_slice(&self.starts),
        ]
    }
}

impl ContainerBytes for Answer {
    fn from_bytes(bytes: Bytes) -> Self {
        let mut lists = Lists::new::<4>(&bytes);
        Answer {
            head: lists.head,
            numbers: lists.next(),
            firsts: lists.next(),
            leads: lists.next(),
            regularities: lists.next(),
        }
    }

    fn length_in_bytes(&self) -> usize {
        length(&self.lists())
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        write(&self.head, &self.lists(), writer);
    }
}

impl Answer {
    fn lists(&self) -> [&[u8]; 4] {
        [
            cast_slice(&self.numbers),
            cast_slice(&self.firsts),
            cast_slice(&self.leads),
            cast_slice(&self.regularities),
        ]
    }
}

#[cfg(test)]
mod tests {
    use timely::bytes::arc::BytesMut;

    use super::super::starts::{Regularity, Start};
    use super::*;
    use crate::context::entity::{Address, Key};

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
        let answer = Answer { head, numbers: vec![1], firsts: vec![10], leads: vec![11], regularities };
        assert_eq!(crossed(&question), question);
        assert_eq!(crossed(&answer), answer);
        assert_eq!(crossed(&Question::default()), Question::default());
    }

    fn crossed<M: ContainerBytes>(message: &M) -> M {
        let mut bytes = Vec::new();
        message.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), message.length_in_bytes());
        assert_eq!(bytes.len() % 8, 0);
        M::from_bytes(BytesMut::from(bytes).freeze())
    }
}
