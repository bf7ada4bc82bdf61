//! Scores with what lasts, in the graph: rows are judged where they are, levels kept where their keys belong.
//!
//! ```text
//! rows ── judge ──────────── rows with their own scores ──────────── settle ── scored rows
//!            └─ largest scores ─(key's owner)─ follow ─(who said)─ levels ─┘
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, UInt8Type};
use bytemuck::cast_slice;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use timely::bytes::arc::Bytes;
use timely::container::{Accountable, NoopBuilder};
use timely::dataflow::Stream;
use timely::dataflow::channels::ContainerBytes;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{KEPT, LONG, Levels, STRUCK, excused, owner};
use crate::context::Head;
use crate::context::entity::Key;
use crate::context::operator::{BURST, Lists, MESSAGE, Targeted, ToTarget, length, write};
use crate::detect::scorer::attached;
use crate::detect::{Detector, Scores};
use crate::encode::{Subject, parties};
use crate::row::RowBatch;
use crate::tally::{Fault, Tally};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Scores rows by themselves and by what lasts; all rows of a window are held until it is complete.
pub(in crate::detect) fn score<'s>(
    rows: Stream<'s, u64, RowBatch>,
    detector: Arc<dyn Detector>,
    threshold: f64,
    schema: SchemaRef,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    let (held, told) = judge(rows, detector.clone(), fault.clone());
    let levels = follow(told);
    settle(held, levels, detector, threshold, schema, tally, fault)
}

/// In the place of a service: the key is of a host, as the destination of rows.
const HOST: u32 = u32::MAX;

/// A batch, its rows' own scores, and the numbers of the keys of each row: of source, destination and service, and of
/// the source as a host where the row is excused if that is under attack.
struct Judged {
    batch: RowBatch,
    own: Scores,
    numbers: Vec<(u32, Option<u32>)>,
}

/// The judged batches of one window, which wait for the levels of their keys.
#[derive(Default)]
struct Held {
    window: u64,
    batches: Vec<Judged>,
    /// Keys in the window.
    keys: usize,
}

impl Accountable for Held {
    fn record_count(&self) -> i64 {
        self.batches.len() as i64
    }
}

/// What a worker says of the keys in its rows of a window, and what it is told of them.
#[derive(Clone, Debug, Default, PartialEq)]
struct Said {
    head: Head,
    /// Numbers of the keys at the worker that said it.
    numbers: Vec<u32>,
    /// The keys; none in what is told.
    keys: Vec<Key>,
    /// The largest score of each; in what is told its level, of hosts the largest score of all.
    values: Vec<f64>,
}

/// The keys of a window, and the largest score of each.
#[derive(Default)]
struct Gathering {
    numbers: HashMap<Key, u32, RandomState>,
    largest: Vec<(Key, f64)>,
    batches: Vec<Judged>,
}

impl Gathering {
    fn add(&mut self, detector: &dyn Detector, batch: RowBatch) -> Result<(), AnyError> {
        let own = detector.score(&batch.rows)?;
        let mut numbers = Vec::with_capacity(own.scores.len());
        let ages = batch.rows.column_by_name("age_pairsvc");
        let ages = ages.and_then(|ages| ages.as_primitive_opt::<UInt8Type>());
        for (row, (party, score)) in parties(&batch.rows)?.iter().zip(&own.scores).enumerate() {
            let number = self.tell(party.key(Subject::PairService), *score);
            if *score > STRUCK {
                self.tell(Key::of(None, Some(&party.dst), HOST), *score);
            }
            let long = ages.is_some_and(|ages| ages.value(row) >= LONG);
            let host = long.then(|| self.tell(Key::of(None, Some(&party.src), HOST), f64::MIN));
            numbers.push((number, host));
        }
        self.batches.push(Judged { batch, own, numbers });
        Ok(())
    }

    /// Takes in a score of a key; its number.
    fn tell(&mut self, key: Key, score: f64) -> u32 {
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.largest.push((key, f64::MIN));
            self.largest.len() as u32 - 1
        });
        let largest = &mut self.largest[number as usize].1;
        *largest = largest.max(score);
        number
    }
}

/// A window whose largest scores are being told.
struct Telling {
    time: u64,
    window: u64,
    largest: Vec<(Key, f64)>,
    /// The next key.
    next: usize,
    /// What is being said to each worker.
    messages: Vec<Said>,
}

impl Telling {
    /// The next message that is full, or the last ones; `None` when all was said.
    fn turn(&mut self, from: u32) -> Option<Said> {
        let peers = self.messages.len();
        while let Some((key, largest)) = self.largest.get(self.next) {
            let target = owner(key, peers);
            let message = &mut self.messages[target];
            message.head = Head { window: self.window, from, target: target as u32, ..Head::default() };
            message.numbers.push(self.next as u32);
            message.keys.push(*key);
            message.values.push(*largest);
            self.next += 1;
            if message.keys.len() * (size_of::<Key>() + 12) >= MESSAGE {
                return Some(std::mem::take(message));
            }
        }
        self.messages.iter_mut().find(|message| !message.keys.is_empty()).map(std::mem::take)
    }
}

/// Judges rows by themselves. Gives them with their scores, and tells the owners of their keys the largest.
fn judge<'s>(
    rows: Stream<'s, u64, RowBatch>,
    detector: Arc<dyn Detector>,
    fault: Arc<Fault>,
) -> (Stream<'s, u64, Held>, Stream<'s, u64, Said>) {
    let scope = rows.scope();
    let (from, peers) = (scope.index() as u32, scope.peers());
    let mut builder = OperatorBuilder::new("judge".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(rows, Pipeline);
    let (held, held_stream) = builder.new_output();
    let (messages, messages_stream) = builder.new_output();
    let mut held = OutputBuilder::<_, NoopBuilder<Held>>::from(held);
    let mut messages = OutputBuilder::<_, NoopBuilder<Said>>::from(messages);
    builder.build(move |capabilities| {
        let mut capabilities = Some(capabilities);
        let mut windows: BTreeMap<(u64, u64), Gathering> = BTreeMap::new();
        let mut telling: Option<Telling> = None;
        move |frontiers| {
            input.for_each(|cap, batch| {
                let time = *cap.least().expect("sent under a capability");
                let batch = std::mem::take(batch);
                if fault.met() {
                    return;
                }
                let window = windows.entry((time, batch.place.window)).or_default();
                if let Err(error) = window.add(detector.as_ref(), batch) {
                    fault.note(error);
                }
            });
            let Some(caps) = capabilities.as_mut() else { return };
            let open = frontiers[0].frontier().first().copied();
            let (mut held, mut messages) = (held.activate(), messages.activate());
            let mut sent = 0;
            loop {
                if let Some(now) = &mut telling {
                    let Some(mut message) = now.turn(from) else {
                        telling = None;
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
                let ((time, window), Gathering { largest, batches, .. }) = complete.remove_entry();
                let mut rows = Held { window, batches, keys: largest.len() };
                let at = caps[0].delayed(&time);
                held.session_with_builder(&at).give_container(&mut rows);
                let messages = vec![Said::default(); peers];
                telling = Some(Telling { time, window, largest, next: 0, messages });
            }
            match open {
                Some(open) => caps.iter_mut().for_each(|cap| cap.downgrade(&open)),
                None => capabilities = None,
            }
        }
    });
    (held_stream, messages_stream)
}

/// Keeps the levels of keys, and tells those of a window to whoever has rows in it.
fn follow<'s>(told: Stream<'s, u64, Said>) -> Stream<'s, u64, Said> {
    let scope = told.scope();
    let to_owner = DistributorPact(|_| ToTarget);
    told.unary_frontier::<NoopBuilder<Said>, _, _, _>(to_owner, "follow", move |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut capability = Some(capability);
        let mut levels = Levels::new(KEPT);
        let mut struck: HashMap<Key, f64, RandomState> = HashMap::default();
        let mut windows: BTreeMap<(u64, u64), Vec<Said>> = BTreeMap::new();
        let mut telling: Option<(u64, std::vec::IntoIter<Said>)> = None;
        move |(input, frontier), output| {
            input.for_each(|cap, said| {
                let time = *cap.least().expect("sent under a capability");
                let said = std::mem::take(said);
                windows.entry((time, said.head.window)).or_default().push(said);
            });
            let Some(cap) = capability.as_mut() else { return };
            let mut sent = 0;
            loop {
                if let Some((time, messages)) = &mut telling {
                    let Some(mut message) = messages.next() else {
                        telling = None;
                        continue;
                    };
                    let time = cap.delayed(time);
                    output.session_with_builder(&time).give_container(&mut message);
                    sent += 1;
                    if sent == BURST {
                        return activator.activate();
                    }
                    continue;
                }
                let complete = windows.first_entry().filter(|window| !frontier.less_equal(&window.key().0));
                let Some(complete) = complete else { break };
                let ((time, window), mut all) = complete.remove_entry();
                for said in &all {
                    for (key, largest) in said.keys.iter().zip(&said.values) {
                        if key.code() == HOST {
                            let known = struck.entry(*key).or_insert(f64::MIN);
                            *known = known.max(*largest);
                        } else {
                            levels.see(key, window, *largest);
                        }
                    }
                }
                for said in &mut all {
                    let level = |key: &Key| struck.get(key).copied().unwrap_or_else(|| levels.level(key));
                    said.values = said.keys.iter().map(level).collect();
                    said.keys = Vec::new();
                    said.head.target = said.head.from;
                }
                levels.close();
                struck.clear();
                telling = Some((time, all.into_iter()));
            }
            match frontier.frontier().first() {
                Some(time) => cap.downgrade(time),
                None => capability = None,
            }
        }
    })
}

/// A window whose levels are all there, and its rows.
struct Settling {
    time: u64,
    levels: Vec<f64>,
    batches: std::vec::IntoIter<Judged>,
}

/// Makes the scores of rows when the levels of all their keys are there.
fn settle<'s>(
    held: Stream<'s, u64, Held>,
    levels: Stream<'s, u64, Said>,
    detector: Arc<dyn Detector>,
    threshold: f64,
    schema: SchemaRef,
    tally: Arc<Tally>,
    fault: Arc<Fault>,
) -> Stream<'s, u64, RowBatch> {
    let scope = held.scope();
    let to_teller = DistributorPact(|_| ToTarget);
    held.binary_frontier::<_, NoopBuilder<RowBatch>, _, _, _, _>(
        levels,
        Pipeline,
        to_teller,
        "settle",
        move |capability, info| {
            let activator = scope.activator_for(info.address);
            let mut capability = Some(capability);
            let mut windows: BTreeMap<(u64, u64), (Held, Vec<Said>)> = BTreeMap::new();
            let mut settling: Option<Settling> = None;
            move |(held, held_frontier), (levels, levels_frontier), output| {
                held.for_each(|cap, held| {
                    let time = *cap.least().expect("sent under a capability");
                    let held = std::mem::take(held);
                    let window = windows.entry((time, held.window)).or_default();
                    window.0 = held;
                });
                levels.for_each(|cap, said| {
                    let time = *cap.least().expect("sent under a capability");
                    let said = std::mem::take(said);
                    windows.entry((time, said.head.window)).or_default().1.push(said);
                });
                let Some(cap) = capability.as_mut() else { return };
                let heads = [held_frontier, levels_frontier].map(|f| f.frontier().first().copied());
                let open = heads.into_iter().flatten().min();
                let mut sent = 0;
                loop {
                    if let Some(now) = &mut settling {
                        let Some(judged) = now.batches.next() else {
                            settling = None;
                            continue;
                        };
                        if fault.met() {
                            continue;
                        }
                        let place = judged.batch.place;
                        match settled(detector.as_ref(), threshold, judged, &now.levels, &schema) {
                            Ok(rows) => {
                                let odd = rows.column_by_name("is_anomaly");
                                let odd = odd.and_then(|odd| odd.as_boolean_opt());
                                let odd = odd.map_or(0, |odd| odd.true_count());
                                tally.anomalies.fetch_add(odd as u64, Relaxed);
                                let time = cap.delayed(&now.time);
                                let mut scored = RowBatch { rows, place, target: 0 };
                                output.session_with_builder(&time).give_container(&mut scored);
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
                    let ((time, _), (held, told)) = complete.remove_entry();
                    let mut levels = vec![0.0; held.keys];
                    for said in &told {
                        for (number, level) in said.numbers.iter().zip(&said.values) {
                            levels[*number as usize] = *level;
                        }
                    }
                    settling = Some(Settling { time, levels, batches: held.batches.into_iter() });
                }
                match open {
                    Some(open) => cap.downgrade(&open),
                    None => capability = None,
                }
            }
        },
    )
}

/// Rows with their scores.
fn settled(
    detector: &dyn Detector,
    threshold: f64,
    judged: Judged,
    levels: &[f64],
    schema: &SchemaRef,
) -> Result<RecordBatch, AnyError> {
    let Judged { batch, mut own, numbers } = judged;
    let mut summed = Vec::with_capacity(numbers.len());
    if let Some(lasting) = detector.lasting() {
        for ((score, p_value), (number, host)) in own.scores.iter_mut().zip(&mut own.p_values).zip(&numbers) {
            let struck = host.is_some_and(|host| levels[host as usize] > STRUCK);
            let (own, level) = (*score, levels[*number as usize]);
            let (own, level) = if struck { excused(own, level) } else { (own, level) };
            summed.push((own, level));
            *score = lasting.score(own, level);
            *p_value = libm::exp(-*score);
        }
    }
    attached(detector, threshold, &batch.rows, schema, own, Some(&summed))
}

impl Targeted for Said {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl Accountable for Said {
    fn record_count(&self) -> i64 {
        self.numbers.len() as i64
    }
}

impl ContainerBytes for Said {
    fn from_bytes(bytes: Bytes) -> Self {
        let mut lists = Lists::new::<3>(&bytes);
        Said { head: lists.head, numbers: lists.next(), keys: lists.next(), values: lists.next() }
    }

    fn length_in_bytes(&self) -> usize {
        length(&self.lists())
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        write(&self.head, &self.lists(), writer);
    }
}

impl Said {
    fn lists(&self) -> [&[u8]; 3] {
        [cast_slice(&self.numbers), cast_slice(&self.keys), cast_slice(&self.values)]
    }
}

#[cfg(test)]
mod tests {
    use timely::bytes::arc::BytesMut;

    use super::*;

    #[test]
    fn messages_cross_machines_unchanged() {
        let head = Head { window: 7, from: 1, target: 2, ..Head::default() };
        let key = |code| Key::of(None, None, code);
        let said =
            Said { head, numbers: vec![4, 5, 6], keys: vec![key(1), key(2), key(3)], values: vec![0.5; 3] };
        for said in [said, Said::default()] {
            let mut bytes = Vec::new();
            said.into_bytes(&mut bytes);
            assert_eq!(bytes.len(), said.length_in_bytes());
            assert_eq!(Said::from_bytes(BytesMut::from(bytes).freeze()), said);
        }
    }
}
