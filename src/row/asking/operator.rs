//! Asking and answering in the graph.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::container::{Accountable, NoopBuilder};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message as Envelope};
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Stamp;

use super::wire::{self, Lists};
use super::{Attacher, Gatherer, Keeper, Message};
use crate::row::RowBatch;
use crate::tally::{Fault, Tally};

/// Messages and batches that are sent before the rooms behind have their turn.
const BURST: usize = 4;

/// The timestamp of a window's rows, and the window: the order in which windows are closed.
type At = (u64, u64);

/// What is held of each window, and what was asked about it.
type Asked<'s, G> =
    (Stream<'s, u64, Held<<G as Gatherer>::Held>>, Stream<'s, u64, Sent<<G as Gatherer>::Ask>>);

/// What is held of a window, and answers that came before it.
struct Waiting<A: Attacher> {
    held: Option<A::Held>,
    early: Vec<A::Answer>,
}

impl<A: Attacher> Default for Waiting<A> {
    fn default() -> Waiting<A> {
        Waiting { held: None, early: Vec::new() }
    }
}

/// Asks about the rows of each window; gives what is held of it, and the asks.
pub(crate) fn gather<'s, G: Gatherer>(
    rows: Stream<'s, u64, RowBatch>,
    name: &str,
    mut gatherer: G,
    fault: Arc<Fault>,
) -> Asked<'s, G> {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(rows, Pipeline);
    let (held, held_stream) = builder.new_output();
    let (asks, asks_stream) = builder.new_output();
    let mut held = OutputBuilder::<_, NoopBuilder<Held<G::Held>>>::from(held);
    let mut asks = OutputBuilder::<_, NoopBuilder<Sent<G::Ask>>>::from(asks);
    builder.build(move |capabilities| {
        let mut capabilities = Some(capabilities);
        let mut windows: BTreeMap<At, G::Gathered> = BTreeMap::new();
        let mut asking: Option<(u64, G::Asking)> = None;
        move |frontiers| {
            input.for_each(|cap, batch| {
                let time = *cap.least().expect("sent under a capability");
                let batch = std::mem::take(batch);
                if fault.met() {
                    return;
                }
                let window = windows.entry((time, gatherer.window(&batch)));
                let gathered = window.or_insert_with(|| gatherer.begin());
                if let Err(error) = gatherer.add(gathered, batch) {
                    fault.note(error);
                }
            });
            let Some(caps) = capabilities.as_mut() else { return };
            let open = frontiers[0].frontier().first().copied();
            let (mut held, mut asks) = (held.activate(), asks.activate());
            let mut sent = 0;
            loop {
                if let Some((time, now)) = &mut asking {
                    let Some(ask) = gatherer.ask(now) else {
                        asking = None;
                        continue;
                    };
                    let time = caps[1].delayed(time);
                    asks.session_with_builder(&time).give_container(&mut Sent(ask));
                    sent += 1;
                    if sent == BURST {
                        return activator.activate();
                    }
                    continue;
                }
                let complete = windows.first_entry().filter(|w| open.is_none_or(|open| w.key().0 < open));
                let Some(complete) = complete else { break };
                let ((time, window), gathered) = complete.remove_entry();
                let (holds, asks) = gatherer.close(gathered, window);
                let at = caps[0].delayed(&time);
                held.session_with_builder(&at).give_container(&mut Held { window, held: Some(holds) });
                asking = Some((time, asks));
            }
            match open {
                Some(open) => caps.iter_mut().for_each(|cap| cap.downgrade(&open)),
                None => capabilities = None,
            }
        }
    });
    (held_stream, asks_stream)
}

/// Lets a keeper on each worker answer what it is asked, at the end of each window. `apart` where windows have
/// timestamps of their own: then it takes in what is said of the next window while it comes. What was forgotten is
/// counted in `tally`; `leave` gets the keeper when nothing more comes.
pub(crate) fn keep<'s, K: Keeper>(
    asks: Stream<'s, u64, Sent<K::Ask>>,
    name: &str,
    keeper: K,
    apart: bool,
    tally: Arc<Tally>,
    leave: impl FnOnce(K) + 'static,
) -> Stream<'s, u64, Sent<K::Answer>> {
    let scope = asks.scope();
    let to_keeper = DistributorPact(|_| ToTarget);
    asks.unary_frontier::<NoopBuilder<Sent<K::Answer>>, _, _, _>(to_keeper, name, move |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut capability = Some(capability);
        let mut keeper = Some((keeper, leave));
        let mut windows: BTreeMap<At, Vec<K::Ask>> = BTreeMap::new();
        let mut open: Option<(At, Vec<K::Taken>)> = None;
        let mut answering: Option<(u64, std::vec::IntoIter<K::Taken>)> = None;
        move |(input, frontier), output| {
            input.for_each(|cap, ask| {
                let time = *cap.least().expect("sent under a capability");
                let Sent(ask) = std::mem::take(ask);
                windows.entry((time, ask.head().window)).or_default().push(ask);
            });
            let (Some(cap), Some((keep, _))) = (capability.as_mut(), keeper.as_mut()) else { return };
            let first = frontier.frontier().first().copied();
            let mut sent = 0;
            loop {
                if let Some((time, taken)) = &mut answering {
                    let Some(taken) = taken.next() else {
                        answering = None;
                        tally.forgotten.fetch_add(keep.close(), Relaxed);
                        continue;
                    };
                    let time = cap.delayed(time);
                    output.session_with_builder(&time).give_container(&mut Sent(keep.answer(taken)));
                    sent += 1;
                    if sent == BURST {
                        return activator.activate();
                    }
                    continue;
                }
                let oldest = open.as_ref().map(|(oldest, _)| *oldest).or(windows.keys().next().copied());
                let Some((time, window)) = oldest else { break };
                let complete = first.is_none_or(|first| time < first);
                let may_begin = complete || apart && first == Some(time);
                if !may_begin {
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

/// Gives the rows of each window when all answers about it are there.
pub(crate) fn attach<'s, A: Attacher>(
    held: Stream<'s, u64, Held<A::Held>>,
    answers: Stream<'s, u64, Sent<A::Answer>>,
    name: &str,
    mut attacher: A,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    let scope = held.scope();
    let to_asker = DistributorPact(|_| ToTarget);
    held.binary_frontier::<_, NoopBuilder<RowBatch>, _, _, _, _>(
        answers,
        Pipeline,
        to_asker,
        name,
        move |capability, info| {
            let activator = scope.activator_for(info.address);
            let mut capability = Some(capability);
            let mut windows: BTreeMap<At, Waiting<A>> = BTreeMap::new();
            let mut settled: Option<(u64, A::Settled)> = None;
            move |(held, held_frontier), (answers, answer_frontier), output| {
                held.for_each(|cap, held| {
                    let time = *cap.least().expect("sent under a capability");
                    let Held { window, held } = std::mem::take(held);
                    windows.entry((time, window)).or_default().held = held;
                });
                answers.for_each(|cap, answer| {
                    let time = *cap.least().expect("sent under a capability");
                    let Sent(answer) = std::mem::take(answer);
                    let Waiting { held, early } = windows.entry((time, answer.head().window)).or_default();
                    match held {
                        Some(held) => attacher.put(held, answer),
                        None => early.push(answer),
                    }
                });
                let Some(cap) = capability.as_mut() else { return };
                let heads = [held_frontier, answer_frontier].map(|f| f.frontier().first().copied());
                let open = heads.into_iter().flatten().min();
                let mut sent = 0;
                loop {
                    if let Some((time, now)) = &mut settled {
                        let Some(rows) = attacher.rows(now).filter(|_| !fault.met()) else {
                            settled = None;
                            continue;
                        };
                        match rows {
                            Ok(mut rows) => {
                                let time = cap.delayed(time);
                                output.session_with_builder(&time).give_container(&mut rows);
                            }
                            Err(error) => fault.note(error),
                        }
                        sent += 1;
                        if sent == BURST {
                            return activator.activate();
                        }
                        continue;
                    }
                    let complete = windows.first_entry().filter(|w| open.is_none_or(|open| w.key().0 < open));
                    let Some(complete) = complete else { break };
                    let ((time, window), Waiting { held, early }) = complete.remove_entry();
                    let mut held = held.expect("who asks has rows, and sends them first");
                    early.into_iter().for_each(|answer| attacher.put(&mut held, answer));
                    settled = Some((time, attacher.settle(held, window)));
                }
                match open {
                    Some(open) => cap.downgrade(&open),
                    None => capability = None,
                }
            }
        },
    )
}

/// What is held of a window, on its way to whoever gets the answers.
pub(crate) struct Held<H> {
    window: u64,
    held: Option<H>,
}

impl<H> Default for Held<H> {
    fn default() -> Held<H> {
        Held { window: 0, held: None }
    }
}

impl<H> Accountable for Held<H> {
    fn record_count(&self) -> i64 {
        self.held.is_some().into()
    }
}

/// A message on its way.
#[derive(Clone, Default)]
pub(crate) struct Sent<M>(M);

impl<M: Message> Accountable for Sent<M> {
    fn record_count(&self) -> i64 {
        self.0.count() as i64
    }
}

impl<M: Message> ContainerBytes for Sent<M> {
    fn from_bytes(bytes: Bytes) -> Self {
        Sent(M::read(&mut Lists::new(&bytes)))
    }

    fn length_in_bytes(&self) -> usize {
        wire::length(&self.0)
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        wire::write(&self.0, writer);
    }
}

/// Moves a message whole to the worker it names.
struct ToTarget;

impl<M: Message> Distributor<Sent<M>> for ToTarget {
    fn partition<T: Clone, P: Push<Envelope<T, Sent<M>>>>(
        &mut self,
        message: &mut Sent<M>,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let target = message.0.head().target as usize % pushers.len();
        Envelope::push_at(message, stamp.clone(), &mut pushers[target]);
    }

    fn flush<T: Clone, P: Push<Envelope<T, Sent<M>>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

/// A message after it crossed to another machine.
#[cfg(test)]
pub(crate) fn crossed<M: Message>(message: &M) -> M {
    let (sent, mut bytes) = (Sent(message.clone()), Vec::new());
    sent.into_bytes(&mut bytes);
    assert_eq!(bytes.len(), sent.length_in_bytes());
    assert_eq!(bytes.len() % 8, 0);
    Sent::from_bytes(timely::bytes::arc::BytesMut::from(bytes).freeze()).0
}
