//! Context in the graph: rows are counted where they are, entities remembered where they belong, columns
//! attached where the rows are. What looks beyond the horizons is attached [before](super::recall), in the same way.
//!
//! ```text
//! rows ── count ──────────── rows with their cells ──────────── attach ── rows with context
//!            └─ asks ─(entity's owner)─ remember ─(who asked)─ answers ─┘
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytemuck::{Pod, Zeroable, bytes_of, cast_slice, pod_read_unaligned};
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::container::{Accountable, NoopBuilder};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Stamp;

use super::attach::{Schemas, Values};
use super::cells::Room;
use super::horizon::{Answer, Horizons, Taken};
use super::window::{Ask, Cells, Head, Numbers, Window};
use super::{Memory, Plan, recall};
use crate::row::RowBatch;
use crate::tally::{Fault, Tally};

/// Messages that are sent before the rooms behind have their turn.
pub(crate) const BURST: usize = 4;
/// Size of a message, by [`Ask::size`], from which on it is sent.
pub(crate) const MESSAGE: usize = 65_536;

/// What is remembered beyond the horizons, before a run and after it.
#[derive(Clone, Default)]
pub struct Remembering {
    /// What is known from before.
    pub before: Option<Arc<Memory>>,
    /// Where each worker leaves what it remembers when its rows end; nowhere where nobody asks.
    pub after: Option<Arc<Mutex<Option<Memory>>>>,
}

/// Lengths in nanoseconds of event time.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Of the windows of rows.
    pub window: u64,
    /// Of what shares a timely timestamp.
    pub slice: u64,
}

/// Attaches the plan's columns to rows. Batches keep their places and their order within a window; all rows
/// of a window are held until it is complete, for a value depends on all of them.
///
/// `lengths` are those of the rows' window and of a timely timestamp, in nanoseconds of event time. Rows must be as
/// [`Plan::check`] wants them; one that is not is noted as a fault. What was forgotten for lack of room is counted in
/// `tally`.
///
/// # Panics
/// If the window is 0.
pub fn count<'s>(
    rows: Stream<'s, u64, RowBatch>,
    plan: Arc<Plan>,
    lengths: Lengths,
    remembering: Remembering,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    assert!(lengths.window > 0, "rows with context have windows");
    let rows = match plan.remembers() {
        true => {
            let tally = tally.clone();
            recall::operator::recall(rows, plan.clone(), lengths, remembering, tally, fault.clone())
        }
        false => rows,
    };
    if plan.groups.is_empty() {
        return rows;
    }
    let (held, asks) = gather(rows, plan.clone(), lengths.window, fault);
    let horizons = Horizons::new(plan.clone());
    let answers = keep(asks, "remember", lengths, move || horizons, |_| {}, tally);
    attach(held, answers, plan)
}

/// Rows, and the cell of each.
pub(super) type Celled = (RowBatch, Vec<u32>);

/// Batches of one window with the cells of their rows, which wait for the values of their entities.
#[derive(Default)]
struct Held {
    window: u64,
    batches: Vec<Celled>,
    numbers: Vec<Numbers>,
    /// The values of groups that are told by the rows, nothing for others.
    values: Vec<Vec<u64>>,
}

impl Accountable for Held {
    fn record_count(&self) -> i64 {
        self.batches.len() as i64
    }
}

/// A window that is being asked about.
struct Asking {
    time: u64,
    index: u64,
    window: Window,
    /// The next entity: its group and number.
    next: (usize, usize),
    /// What is being said to each worker.
    asks: Vec<Ask>,
}

impl Asking {
    /// The next ask that is full, or the last ones; `None` when all was said.
    fn turn(&mut self, plan: &Plan, from: u32) -> Option<Ask> {
        let peers = self.asks.len();
        let (mut group, mut number) = self.next;
        while let Some(asked) = plan.groups.get(group) {
            let count = if asked.told_by_rows(peers) { 0 } else { self.window.count(group) };
            while number < count {
                let key = self.window.key(plan, group, number);
                let target = key.owner(peers);
                let ask = &mut self.asks[target];
                if ask.numbers.is_empty() {
                    let (target, group) = (target as u32, group as u32);
                    ask.head = Head { window: self.index, from, target, group, reserved: 0 };
                    ask.reserve(asked, (count - number).div_ceil(peers).min(MESSAGE / 16));
                }
                self.window.ask(plan, group, number, key, ask);
                number += 1;
                if ask.size() >= MESSAGE {
                    self.next = (group, number);
                    return Some(std::mem::take(ask));
                }
            }
            if let Some(ask) = self.asks.iter_mut().find(|ask| ask.size() > 0) {
                self.next = (group, number);
                return Some(std::mem::take(ask));
            }
            (group, number) = (group + 1, 0);
        }
        self.next = (group, number);
        None
    }
}

/// Counts rows of each window. Gives them with their cells, and asks the owners of their entities.
fn gather<'s>(
    rows: Stream<'s, u64, RowBatch>,
    plan: Arc<Plan>,
    length: u64,
    fault: Arc<Fault>,
) -> (Stream<'s, u64, Held>, Stream<'s, u64, Ask>) {
    let scope = rows.scope();
    let (from, peers) = (scope.index() as u32, scope.peers());
    let mut builder = OperatorBuilder::new("count".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(rows, Pipeline);
    let (held, held_stream) = builder.new_output();
    let (asks, asks_stream) = builder.new_output();
    let mut held = OutputBuilder::<_, NoopBuilder<Held>>::from(held);
    let mut asks = OutputBuilder::<_, NoopBuilder<Ask>>::from(asks);
    builder.build(move |capabilities| {
        let mut capabilities = Some(capabilities);
        let mut windows: BTreeMap<(u64, u64), (Cells, Vec<Celled>)> = BTreeMap::new();
        let mut room = Room::default();
        let mut asking: Option<Asking> = None;
        move |frontiers| {
            input.for_each(|cap, batch| {
                let time = *cap.least().expect("sent under a capability");
                let batch = std::mem::take(batch);
                if fault.met() {
                    return;
                }
                let (cells, batches) = windows
                    .entry((time, batch.place.window / length))
                    .or_insert_with(|| (Cells::new(&plan, room), Vec::new()));
                match cells.add(&plan, &batch.rows) {
                    Ok(cells) => batches.push((batch, cells)),
                    Err(error) => fault.note(error),
                }
            });
            let Some(caps) = capabilities.as_mut() else { return };
            let open = frontiers[0].frontier().first().copied();
            let (mut held, mut asks) = (held.activate(), asks.activate());
            let mut sent = 0;
            loop {
                if let Some(now) = &mut asking {
                    let Some(mut ask) = now.turn(&plan, from) else {
                        asking = None;
                        continue;
                    };
                    let time = caps[1].delayed(&now.time);
                    asks.session_with_builder(&time).give_container(&mut ask);
                    sent += 1;
                    if sent == BURST {
                        return activator.activate();
                    }
                    continue;
                }
                let complete = windows.first_entry().filter(|w| open.is_none_or(|open| w.key().0 < open));
                let Some(complete) = complete else { break };
                let ((time, index), (cells, batches)) = complete.remove_entry();
                room = cells.room();
                let mut window = cells.close(&plan);
                let told =
                    plan.groups.iter().enumerate().map(|(at, group)| match group.told_by_rows(peers) {
                        true => window.values(&plan, at),
                        false => Vec::new(),
                    });
                let values = told.collect();
                let mut rows = Held { window: index, batches, numbers: window.of_cells(), values };
                let at = caps[0].delayed(&time);
                held.session_with_builder(&at).give_container(&mut rows);
                let mut asks = Vec::new();
                asks.resize_with(peers, Ask::default);
                asking = Some(Asking { time, index, window, next: (0, 0), asks });
            }
            match open {
                Some(open) => caps.iter_mut().for_each(|cap| cap.downgrade(&open)),
                None => capabilities = None,
            }
        }
    });
    (held_stream, asks_stream)
}

/// Who remembers something, window by window, and answers what workers ask about it.
pub(super) trait Keeper: 'static {
    /// What a worker says and asks about a window.
    type Ask: Targeted;
    /// An ask that was taken in, to be answered when all of its window were.
    type Taken;
    /// What the worker is told.
    type Answer;

    /// Begins a window, later than all before.
    fn open(&mut self, window: u64);

    /// Takes in what a worker says of the open window. In which order does not matter.
    fn take(&mut self, ask: Self::Ask) -> Self::Taken;

    /// All of the window was taken in.
    fn settle(&mut self, window: u64);

    /// Answers an ask of the settled window.
    fn answer(&mut self, taken: Self::Taken) -> Self::Answer;

    /// All of the window was answered. Returns how much was forgotten for lack of room.
    fn close(&mut self) -> u64;
}

/// Lets a keeper on each worker answer what it is asked, at the end of each window. Where windows have timestamps of
/// their own it takes in what is said of the next window while it comes. `leave` gets the keeper when nothing more comes.
pub(super) fn keep<'s, K: Keeper>(
    asks: Stream<'s, u64, K::Ask>,
    name: &str,
    lengths: Lengths,
    keeper: impl FnOnce() -> K + 'static,
    leave: impl FnOnce(K) + 'static,
    tally: Arc<Tally>,
) -> Stream<'s, u64, K::Answer>
where
    K::Ask: ContainerBytes + Accountable + Default + Clone + Send + 'static,
    K::Answer: ContainerBytes + Accountable + Default + Clone + Send + 'static,
{
    let scope = asks.scope();
    let to_owner = DistributorPact(|_| ToTarget);
    let apart = lengths.slice <= lengths.window;
    asks.unary_frontier::<NoopBuilder<K::Answer>, _, _, _>(to_owner, name, move |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut capability = Some(capability);
        let mut keeper = Some((keeper(), leave));
        let mut windows: BTreeMap<(u64, u64), Vec<K::Ask>> = BTreeMap::new();
        let mut open: Option<((u64, u64), Vec<K::Taken>)> = None;
        let mut answering: Option<(u64, std::vec::IntoIter<K::Taken>)> = None;
        move |(input, frontier), output| {
            input.for_each(|cap, ask| {
                let time = *cap.least().expect("sent under a capability");
                let ask = std::mem::take(ask);
                windows.entry((time, ask.head().window)).or_default().push(ask);
            });
            let (Some(cap), Some((keep, _))) = (capability.as_mut(), keeper.as_mut()) else { return };
            let first = frontier.frontier().first().copied();
            let mut sent = 0;
            loop {
                if let Some((time, taken)) = &mut answering {
                    let Some(taken) = taken.next() else {
                        answering = None;
                        add(&tally.forgotten, keep.close());
                        continue;
                    };
                    let time = cap.delayed(time);
                    output.session_with_builder(&time).give_container(&mut keep.answer(taken));
                    sent += 1;
                    if sent == BURST {
                        return activator.activate();
                    }
                    continue;
                }
                let oldest = open.as_ref().map(|(oldest, _)| *oldest).or(windows.keys().next().copied());
                let Some((time, window)) = oldest else { break };
                let complete = first.is_none_or(|first| time < first);
                if !complete && !(apart && first == Some(time)) {
                    break;
                }
                let (_, taken) = open.get_or_insert_with(|| {
                    keep.open(window);
                    ((time, window), Vec::new())
                });
                let asks = windows.remove(&(time, window)).unwrap_or_default();
                taken.extend(asks.into_iter().map(|ask| keep.take(ask)));
                if !complete {
                    break;
                }
                keep.settle(window);
                answering = open.take().map(|(_, taken)| (time, taken.into_iter()));
            }
            match first {
                Some(first) => cap.downgrade(&first),
                None => {
                    capability = None;
                    if let Some((keeper, leave)) = keeper.take() {
                        leave(keeper);
                    }
                }
            }
        }
    })
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

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    if more > 0 {
        counter.fetch_add(more, Relaxed);
    }
}

/// A window whose rows wait for values.
#[derive(Default)]
struct Waiting {
    batches: Vec<Celled>,
    /// As far as they came; `None` before the rows came.
    values: Option<Values>,
    /// Answers that came before the rows.
    early: Vec<Answer>,
}

impl Waiting {
    fn held(&mut self, plan: &Plan, held: Held) {
        let mut values = Values::new(plan, held.numbers, held.values);
        self.early.drain(..).for_each(|answer| values.put(plan, &answer));
        (self.batches, self.values) = (held.batches, Some(values));
    }

    fn answer(&mut self, plan: &Plan, answer: Answer) {
        match &mut self.values {
            Some(values) => values.put(plan, &answer),
            None => self.early.push(answer),
        }
    }
}

/// A window whose values are all there, and its rows.
struct Attaching {
    time: u64,
    values: Values,
    batches: std::vec::IntoIter<Celled>,
}

/// Attaches columns to rows when all answers about their window are there.
fn attach<'s>(
    held: Stream<'s, u64, Held>,
    answers: Stream<'s, u64, Answer>,
    plan: Arc<Plan>,
) -> Stream<'s, u64, RowBatch> {
    let scope = held.scope();
    let to_asker = DistributorPact(|_| ToTarget);
    held.binary_frontier::<_, NoopBuilder<RowBatch>, _, _, _, _>(
        answers,
        Pipeline,
        to_asker,
        "attach",
        move |capability, info| {
            let activator = scope.activator_for(info.address);
            let mut capability = Some(capability);
            let mut windows: BTreeMap<(u64, u64), Waiting> = BTreeMap::new();
            let mut attaching: Option<Attaching> = None;
            let mut schemas = Schemas::default();
            move |(held, held_frontier), (answers, answer_frontier), output| {
                held.for_each(|cap, held| {
                    let time = *cap.least().expect("sent under a capability");
                    let held = std::mem::take(held);
                    windows.entry((time, held.window)).or_default().held(&plan, held);
                });
                answers.for_each(|cap, answer| {
                    let time = *cap.least().expect("sent under a capability");
                    let answer = std::mem::take(answer);
                    windows.entry((time, answer.head.window)).or_default().answer(&plan, answer);
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
                        let schema = schemas.of(&plan, batch.rows.schema_ref());
                        let rows = now.values.attach(&plan, &batch.rows, &cells, &schema);
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
                    let ((time, _), Waiting { batches, values, .. }) = complete.remove_entry();
                    let values = values.expect("who asks has rows, and sends them first");
                    attaching = Some(Attaching { time, values, batches: batches.into_iter() });
                }
                match open {
                    Some(open) => cap.downgrade(&open),
                    None => capability = None,
                }
            }
        },
    )
}

/// A message about a window that names the worker it goes to.
pub(crate) trait Targeted {
    fn head(&self) -> &Head;
}

impl Targeted for Ask {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl Targeted for Answer {
    fn head(&self) -> &Head {
        &self.head
    }
}

/// Moves a message whole to the worker it names.
pub(crate) struct ToTarget;

impl<M: Accountable + Default + Targeted> Distributor<M> for ToTarget {
    fn partition<T: Clone, P: Push<Message<T, M>>>(
        &mut self,
        message: &mut M,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let target = message.head().target as usize % pushers.len();
        Message::push_at(message, stamp.clone(), &mut pushers[target]);
    }

    fn flush<T: Clone, P: Push<Message<T, M>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

impl Accountable for Ask {
    fn record_count(&self) -> i64 {
        self.numbers.len() as i64
    }
}

impl Accountable for Answer {
    fn record_count(&self) -> i64 {
        self.numbers.len() as i64
    }
}

/// Between machines a message crosses as its head, the lengths of its lists, and the lists, each padded to
/// eight bytes.
impl ContainerBytes for Ask {
    fn from_bytes(bytes: Bytes) -> Self {
        let mut lists = Lists::new::<5>(&bytes);
        Ask {
            head: lists.head,
            numbers: lists.next(),
            keys: lists.next(),
            sums: lists.next(),
            lengths: lists.next(),
            elements: lists.next(),
        }
    }

    fn length_in_bytes(&self) -> usize {
        length(&self.lists())
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        write(&self.head, &self.lists(), writer);
    }
}

impl Ask {
    fn lists(&self) -> [&[u8]; 5] {
        [
            cast_slice(&self.numbers),
            cast_slice(&self.keys),
            cast_slice(&self.sums),
            cast_slice(&self.lengths),
            cast_slice(&self.elements),
        ]
    }
}

impl ContainerBytes for Answer {
    fn from_bytes(bytes: Bytes) -> Self {
        let mut lists = Lists::new::<2>(&bytes);
        Answer { head: lists.head, numbers: lists.next(), values: lists.next() }
    }

    fn length_in_bytes(&self) -> usize {
        length(&self.lists())
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        write(&self.head, &self.lists(), writer);
    }
}

impl Answer {
    fn lists(&self) -> [&[u8]; 2] {
        [cast_slice(&self.numbers), cast_slice(&self.values)]
    }
}

pub(crate) fn length(lists: &[&[u8]]) -> usize {
    let padded = lists.iter().map(|list| list.len().next_multiple_of(8));
    size_of::<Head>() + lists.len() * 8 + padded.sum::<usize>()
}

pub(crate) fn write(head: &Head, lists: &[&[u8]], writer: &mut impl Write) {
    let mut put = |bytes: &[u8]| writer.write_all(bytes).expect("timely's buffer has the announced length");
    put(bytes_of(head));
    for list in lists {
        put(&(list.len() as u64).to_ne_bytes());
    }
    for list in lists {
        put(list);
        put(&[0; 8][..list.len().next_multiple_of(8) - list.len()]);
    }
}

/// What [`write`] wrote, list by list.
pub(crate) struct Lists<'a> {
    pub(crate) head: Head,
    lengths: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Lists<'a> {
    pub(crate) fn new<const COUNT: usize>(bytes: &'a [u8]) -> Lists<'a> {
        let (head, rest) = bytes.split_at(size_of::<Head>());
        let (lengths, rest) = rest.split_at(COUNT * 8);
        Lists { head: pod_read_unaligned(head), lengths, rest }
    }

    pub(crate) fn next<V: Pod + Zeroable>(&mut self) -> Vec<V> {
        let (length, lengths) = self.lengths.split_at(8);
        let length = pod_read_unaligned::<u64>(length) as usize;
        let (list, rest) = self.rest.split_at(length.next_multiple_of(8));
        (self.lengths, self.rest) = (lengths, rest);
        bytemuck::allocation::pod_collect_to_vec(&list[..length])
    }
}

#[cfg(test)]
mod tests {
    use timely::bytes::arc::BytesMut;

    use super::*;
    use crate::context::ENTITIES;
    use crate::context::entity::{Address, Key};

    #[test]
    fn messages_cross_machines_unchanged() {
        let address = |text| Address::parse(Some(text));
        let key = Key::new(&ENTITIES[5], &address("10.0.0.1"), &address("fe80::2"), 6 << 16 | 443);
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

    fn crossed<M: ContainerBytes>(message: &M) -> M {
        let mut bytes = Vec::new();
        message.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), message.length_in_bytes());
        assert_eq!(bytes.len() % 8, 0);
        M::from_bytes(BytesMut::from(bytes).freeze())
    }
}
