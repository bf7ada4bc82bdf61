//! What is said of the keys of a window and told about them, and who has its rows meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt8Array};
use arrow::datatypes::{SchemaRef, UInt8Type};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{
    CROWD, JOINING, KEPT, LONG, Levels, PAIR, START, STRUCK, accustomed, excused, own_way, owner, together,
};
use crate::context::entity::Key;
use crate::detect::scorer::attached;
use crate::detect::{AnyError, Detector, Kept, Scores};
use crate::encode::{Subject, parties};
use crate::row::RowBatch;
use crate::row::asking::{Attacher, Gatherer, Head, Keeper, MESSAGE, message};
use crate::tally::Tally;

/// In the place of a service: the key is of a host, as the destination of rows.
const HOST: u32 = u32::MAX;

/// In the place of a service: the key is of a source that joins.
const JOINER: u32 = u32::MAX - 1;

/// In the place of a service: the key is of a source that joins or has joined, by its windows while it did.
const WAY: u32 = u32::MAX - 2;

/// Beside a service: the key is of a source, destination and service of which a host joins or has joined.
const JOINS: u32 = 1 << 30;

/// Rows of a window whose judgements are kept until it settles, at most: reasons of more are told by judging them again.
const JUDGED: usize = 1 << 14;

/// A batch, its rows' own scores with what the detector kept, and the numbers of the keys of each row.
pub(super) struct Judged {
    batch: RowBatch,
    own: Scores,
    kept: Option<Kept>,
    numbers: Vec<Numbers>,
}

/// The numbers of the keys of a row.
#[derive(Clone, Copy)]
struct Numbers {
    /// Of source, destination and service.
    level: u32,
    /// Of source and destination.
    pair: u32,
    /// Of the source as a host, where the row is excused if that is under attack.
    host: Option<u32>,
    /// Of what was usual of the three while one of the hosts joined.
    usual: Option<u32>,
    /// Of the source that has joined.
    way: Option<u32>,
    /// Of the source, where it joins.
    joiner: Option<u32>,
}

/// What is read of rows to know whether their hosts join.
struct Joining<'a> {
    new: Option<&'a BooleanArray>,
    ages: Option<&'a UInt8Array>,
}

impl<'a> Joining<'a> {
    fn of(rows: &'a RecordBatch) -> Joining<'a> {
        let column = |name: &str| rows.column_by_name(name);
        Joining {
            new: column("src_is_new").and_then(|new| new.as_boolean_opt()),
            ages: column("age_dst").and_then(|ages| ages.as_primitive_opt()),
        }
    }

    /// Whether a row's source and its destination, where they are newcomers, join in its window.
    fn joins(&self, row: usize, [source, destination]: [bool; 2]) -> [bool; 2] {
        [
            source && self.new.is_some_and(|new| new.value(row)),
            destination && self.ages.is_some_and(|ages| ages.value(row) < JOINING),
        ]
    }
}

/// The judged batches of one window, and the levels of their keys as far as they came.
pub(super) struct Held {
    batches: Vec<Judged>,
    levels: Vec<f64>,
}

/// What a worker says of the keys in its rows of a window, and what it is told of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
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
pub(super) struct Gathering {
    numbers: HashMap<Key, u32, RandomState>,
    largest: Vec<(Key, f64)>,
    batches: Vec<Judged>,
    rows: usize,
}

impl Gathering {
    fn add(&mut self, detector: &dyn Detector, batch: RowBatch) -> Result<(), AnyError> {
        self.rows += batch.rows.num_rows();
        let (own, kept) = match self.rows <= JUDGED {
            true => detector.judge(&batch.rows)?,
            false => (detector.score(&batch.rows)?, None),
        };
        let mut numbers = Vec::with_capacity(own.scores.len());
        let ages = batch.rows.column_by_name("age_pairsvc");
        let ages = ages.and_then(|ages| ages.as_primitive_opt::<UInt8Type>());
        let joining = Joining::of(&batch.rows);
        for (row, (party, score)) in parties(&batch.rows)?.iter().zip(&own.scores).enumerate() {
            let level = self.tell(party.key(Subject::PairService), *score);
            let pair = self.tell(Key::of(Some(&party.src), Some(&party.dst), PAIR), *score);
            if *score > STRUCK {
                self.tell(Key::of(None, Some(&party.dst), HOST), *score);
            }
            let long = ages.is_some_and(|ages| ages.value(row) >= LONG);
            let host = long.then(|| self.tell(Key::of(None, Some(&party.src), HOST), f64::MIN));
            let newcomers = own.newcomers.get(row).copied().unwrap_or_default();
            let (mut usual, mut way, mut joiner) = (None, None, None);
            if newcomers.contains(&true) {
                let joins = joining.joins(row, newcomers);
                let key = Key::of(Some(&party.src), Some(&party.dst), party.service | JOINS);
                match joins.contains(&true) {
                    // While one joins, nothing is usual yet.
                    true => _ = self.tell(key, *score),
                    false => usual = Some(self.tell(key, f64::MIN)),
                }
                let key = Key::of(Some(&party.src), None, WAY);
                match joins[0] {
                    true => _ = self.tell(key, *score),
                    false => way = newcomers[0].then(|| self.tell(key, f64::MIN)),
                }
                joiner = joins[0].then(|| self.tell(Key::of(Some(&party.src), None, JOINER), f64::MIN));
            }
            numbers.push(Numbers { level, pair, host, usual, way, joiner });
        }
        self.batches.push(Judged { batch, own, kept, numbers });
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
pub(super) struct Telling {
    window: u64,
    largest: Vec<(Key, f64)>,
    /// The next key.
    next: usize,
    /// What is being said to each worker.
    messages: Vec<Said>,
}

/// Judges rows by themselves, and tells the owners of their keys the largest scores.
pub(super) struct Judging {
    detector: Arc<dyn Detector>,
    from: u32,
    peers: usize,
}

impl Judging {
    /// Of worker `from` of `peers`.
    pub(super) fn new(detector: Arc<dyn Detector>, from: u32, peers: usize) -> Judging {
        Judging { detector, from, peers }
    }
}

impl Gatherer for Judging {
    type Gathered = Gathering;
    type Held = Held;
    type Asking = Telling;
    type Ask = Said;

    fn window(&self, batch: &RowBatch) -> u64 {
        batch.place.window
    }

    fn begin(&mut self) -> Gathering {
        Gathering::default()
    }

    fn add(&mut self, gathering: &mut Gathering, batch: RowBatch) -> Result<(), AnyError> {
        gathering.add(self.detector.as_ref(), batch)
    }

    fn close(&mut self, gathering: Gathering, window: u64) -> (Held, Telling) {
        let Gathering { largest, batches, .. } = gathering;
        let levels = vec![0.0; largest.len()];
        let messages = vec![Said::default(); self.peers];
        (Held { batches, levels }, Telling { window, largest, next: 0, messages })
    }

    fn ask(&mut self, telling: &mut Telling) -> Option<Said> {
        let Telling { window, largest, next, messages } = telling;
        while let Some((key, score)) = largest.get(*next) {
            // All that join are counted by one worker.
            let target = if key.code() == JOINER { 0 } else { owner(key, self.peers) };
            let message = &mut messages[target];
            message.head =
                Head { window: *window, from: self.from, target: target as u32, ..Head::default() };
            message.numbers.push(*next as u32);
            message.keys.push(*key);
            message.values.push(*score);
            *next += 1;
            if message.keys.len() * (size_of::<Key>() + 12) >= MESSAGE {
                return Some(std::mem::take(message));
            }
        }
        messages.iter_mut().find(|message| !message.keys.is_empty()).map(std::mem::take)
    }
}

/// Keeps the levels of keys, and tells those of a window to whoever has rows in it.
pub(super) struct Following {
    levels: Levels,
    /// Hosts of the open window with a row to them that is odd enough, and the largest score of those.
    struck: HashMap<Key, f64, RandomState>,
    /// Sources that join in it, as many as make a crowd.
    joiners: Vec<Key>,
}

impl Following {
    pub(super) fn new() -> Following {
        Following { levels: Levels::new(KEPT), struck: HashMap::default(), joiners: Vec::new() }
    }
}

impl Keeper for Following {
    type Ask = Said;
    type Taken = Said;
    type Answer = Said;

    fn open(&mut self, _: u64) {}

    fn take(&mut self, said: Said) -> Said {
        for (key, largest) in said.keys.iter().zip(&said.values) {
            if key.code() == HOST {
                let known = self.struck.entry(*key).or_insert(f64::MIN);
                *known = known.max(*largest);
            } else if key.code() == JOINER {
                if self.joiners.len() < CROWD && !self.joiners.contains(key) {
                    self.joiners.push(*key);
                }
            } else if key.code() == WAY {
                if *largest > f64::MIN {
                    self.levels.see(key, said.head.window, *largest);
                }
            } else if key.code() & JOINS == 0 {
                self.levels.see(key, said.head.window, *largest);
            } else if *largest > f64::MIN {
                self.levels.join(key, said.head.window, *largest);
            }
        }
        said
    }

    fn settle(&mut self, _: u64) {}

    fn answer(&mut self, mut said: Said) -> Said {
        let Following { levels, struck, joiners } = self;
        let told = |key: &Key| match key.code() {
            HOST => struck.get(key).copied().unwrap_or(START),
            JOINER => joiners.len() as f64,
            WAY => levels.way(key, said.head.window),
            code if code & JOINS == 0 => levels.level(key),
            _ => levels.usual(key, said.head.window),
        };
        said.values = said.keys.iter().map(told).collect();
        said.keys = Vec::new();
        said.head.target = said.head.from;
        said
    }

    /// Levels are no part of what context was asked to remember: none counts as forgotten.
    fn close(&mut self) -> u64 {
        self.levels.close();
        self.struck.clear();
        self.joiners.clear();
        0
    }
}

/// Makes the scores of rows when the levels of all their keys are there.
pub(super) struct Settling {
    pub(super) detector: Arc<dyn Detector>,
    pub(super) threshold: f64,
    /// Of scored rows.
    pub(super) schema: SchemaRef,
    pub(super) tally: Arc<Tally>,
}

impl Attacher for Settling {
    type Held = Held;
    type Answer = Said;
    type Settled = (Vec<f64>, std::vec::IntoIter<Judged>);

    fn put(&mut self, held: &mut Held, said: Said) {
        for (number, level) in said.numbers.iter().zip(&said.values) {
            held.levels[*number as usize] = *level;
        }
    }

    fn settle(&mut self, Held { batches, levels }: Held, _: u64) -> Self::Settled {
        (levels, batches.into_iter())
    }

    fn rows(&mut self, (levels, batches): &mut Self::Settled) -> Option<Result<RowBatch, AnyError>> {
        let judged = batches.next()?;
        let place = judged.batch.place;
        let rows = settled(self.detector.as_ref(), self.threshold, judged, levels, &self.schema);
        Some(rows.map(|rows| {
            let odd = rows.column_by_name("is_anomaly").and_then(|odd| odd.as_boolean_opt());
            let odd = odd.map_or(0, |odd| odd.true_count());
            self.tally.anomalies.fetch_add(odd as u64, Relaxed);
            RowBatch { rows, place, target: 0 }
        }))
    }
}

/// Rows with their scores.
fn settled(
    detector: &dyn Detector,
    threshold: f64,
    judged: Judged,
    levels: &[f64],
    schema: &SchemaRef,
) -> Result<RecordBatch, AnyError> {
    let Judged { batch, mut own, kept, numbers } = judged;
    let mut summed = Vec::with_capacity(numbers.len());
    if let Some(lasting) = detector.lasting() {
        for ((score, p_value), of_row) in own.scores.iter_mut().zip(&mut own.p_values).zip(&numbers) {
            let struck = of_row.host.is_some_and(|host| levels[host as usize] > STRUCK);
            let level = together(levels[of_row.level as usize], levels[of_row.pair as usize]);
            let own = *score;
            let (own, level) = if struck { excused(own, level) } else { (own, level) };
            let usual = of_row.usual.map(|number| levels[number as usize]);
            let way = of_row.way.map(|number| own_way(levels[number as usize]));
            let (own, level) = match usual.into_iter().chain(way).reduce(f64::max) {
                Some(usual) => accustomed(own, level, usual),
                None => (own, level),
            };
            summed.push((own, level));
            *score = match of_row.joiner.is_some_and(|number| levels[number as usize] >= CROWD as f64) {
                true => lasting.score_of_newcomer(own, level),
                false => lasting.score(own, level),
            };
            *p_value = libm::exp(-*score);
        }
    }
    attached(detector, threshold, &batch.rows, schema, (own, kept), Some(&summed))
}

message!(Said: numbers, keys, values);

#[cfg(test)]
mod tests {
    use arrow::array::ArrayRef;

    use super::*;
    use crate::context::entity::Address;
    use crate::row::asking::operator::crossed;

    #[test]
    fn whoever_asks_is_told_of_attacks_levels_and_of_what_was_usual_while_a_host_joined() {
        let mut keeper = Following::new();
        let key = |code| Key::of(None, None, code);
        let keys = vec![key(HOST), key(80), key(80 | JOINS)];
        let said = |window, values: [f64; 3]| {
            let head = Head { window, ..Head::default() };
            Said { head, numbers: vec![0, 1, 2], keys: keys.clone(), values: values.to_vec() }
        };
        let ask = |keeper: &mut Following, said: Said| {
            let taken = keeper.take(said);
            let told = keeper.answer(taken).values;
            keeper.close();
            told
        };
        let nothing = f64::MIN;
        // Nothing was said of it yet but that it is asked for.
        assert_eq!(ask(&mut keeper, said(1, [nothing, START, nothing])), [nothing, START, START]);
        assert_eq!(ask(&mut keeper, said(2, [9.0, START, 9.0]))[2], 9.0);
        assert_eq!(ask(&mut keeper, said(3, [9.0, START, 7.0]))[2], 9.0);
        // It does not grow when it has joined, as a level does, and an attack is forgotten.
        assert_eq!(ask(&mut keeper, said(40, [nothing, 14.0, nothing])), [nothing, 6.0, 9.0]);
    }

    #[test]
    fn the_way_of_a_source_is_its_level_while_it_joined() {
        let mut keeper = Following::new();
        let mut ask = |window, value| {
            let head = Head { window, ..Head::default() };
            let said =
                Said { head, numbers: vec![0], keys: vec![Key::of(None, None, WAY)], values: vec![value] };
            let taken = keeper.take(said);
            let told = keeper.answer(taken).values[0];
            keeper.close();
            told
        };
        let nothing = f64::MIN;
        assert_eq!(ask(1, nothing), START);
        let mut level = START;
        for (window, score) in [(2, 9.0), (3, 14.0), (7, 6.0)] {
            level += super::super::STEP * (score - level);
            assert_eq!(ask(window, score), level);
        }
        // Who asks later is told the same, however often.
        assert_eq!([ask(40, nothing), ask(41, nothing)], [level; 2]);
    }

    #[test]
    fn sources_that_join_in_a_window_are_counted_up_to_a_crowd() {
        let mut keeper = Following::new();
        let joiner = |at: u8| Key::of(Some(&Address::parse(Some(&format!("10.0.0.{at}")))), None, JOINER);
        let mut count = |joiners: &[u8]| {
            let keys: Vec<Key> = joiners.iter().map(|at| joiner(*at)).collect();
            let said = Said { values: vec![f64::MIN; keys.len()], keys, ..Said::default() };
            let taken = keeper.take(said);
            let told = keeper.answer(taken).values;
            keeper.close();
            told.into_iter().reduce(f64::max)
        };
        assert_eq!(count(&[1]), Some(1.0));
        assert_eq!(count(&[2, 3, 2]), Some(2.0));
        assert_eq!(count(&[1, 2, 3, 4, 5]), Some(CROWD as f64));
        assert_eq!(count(&[4]), Some(1.0));
    }

    #[test]
    fn a_host_joins_while_it_is_new_as_a_source_or_was_first_seen_lately_as_a_destination() {
        let rows = RecordBatch::try_from_iter([
            ("src_is_new", Arc::new(BooleanArray::from(vec![true, false, false])) as ArrayRef),
            ("age_dst", Arc::new(UInt8Array::from(vec![JOINING, JOINING - 1, JOINING])) as ArrayRef),
        ]);
        let rows = rows.unwrap();
        let joins = |newcomers: [bool; 2]| [0, 1, 2].map(|row| Joining::of(&rows).joins(row, newcomers));
        let neither = [false; 2];
        assert_eq!(joins([true, false]), [[true, false], neither, neither]);
        assert_eq!(joins([false, true]), [neither, [false, true], neither]);
        assert_eq!(joins([true, true]), [[true, false], [false, true], neither]);
        assert_eq!(joins([false, false]), [neither; 3]);
        let without = RecordBatch::try_from_iter([("age_src", rows.column(1).clone())]).unwrap();
        assert_eq!(Joining::of(&without).joins(0, [true, true]), neither);
    }

    #[test]
    fn messages_cross_machines_unchanged() {
        let head = Head { window: 7, from: 1, target: 2, ..Head::default() };
        let key = |code| Key::of(None, None, code);
        let said =
            Said { head, numbers: vec![4, 5, 6], keys: vec![key(1), key(2), key(3)], values: vec![0.5; 3] };
        assert_eq!(crossed(&said), said);
        assert_eq!(crossed(&Said::default()), Said::default());
    }
}
