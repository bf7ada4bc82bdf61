//! What is said of the keys of a window and told about them, and who has its rows meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, UInt8Type};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{KEPT, LONG, Levels, STRUCK, excused, owner};
use crate::context::entity::Key;
use crate::detect::scorer::attached;
use crate::detect::{Detector, Kept, Scores};
use crate::encode::{Subject, parties};
use crate::row::RowBatch;
use crate::row::asking::{Attacher, Gatherer, Head, Keeper, MESSAGE, message};
use crate::tally::Tally;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// In the place of a service: the key is of a host, as the destination of rows.
const HOST: u32 = u32::MAX;

/// Rows of a window whose judgements are kept until it settles, at most: reasons of more are told by judging them again.
const JUDGED: usize = 1 << 14;

/// A batch, its rows' own scores with what the detector kept, and the numbers of the keys of each row: of source,
/// destination and service, and of the source as a host where the row is excused if that is under attack.
pub(super) struct Judged {
    batch: RowBatch,
    own: Scores,
    kept: Option<Kept>,
    numbers: Vec<(u32, Option<u32>)>,
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
        for (row, (party, score)) in parties(&batch.rows)?.iter().zip(&own.scores).enumerate() {
            let number = self.tell(party.key(Subject::PairService), *score);
            if *score > STRUCK {
                self.tell(Key::of(None, Some(&party.dst), HOST), *score);
            }
            let long = ages.is_some_and(|ages| ages.value(row) >= LONG);
            let host = long.then(|| self.tell(Key::of(None, Some(&party.src), HOST), f64::MIN));
            numbers.push((number, host));
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
            let target = owner(key, self.peers);
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
}

impl Following {
    pub(super) fn new() -> Following {
        Following { levels: Levels::new(KEPT), struck: HashMap::default() }
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
            } else {
                self.levels.see(key, said.head.window, *largest);
            }
        }
        said
    }

    fn settle(&mut self, _: u64) {}

    fn answer(&mut self, mut said: Said) -> Said {
        let level = |key: &Key| self.struck.get(key).copied().unwrap_or_else(|| self.levels.level(key));
        said.values = said.keys.iter().map(level).collect();
        said.keys = Vec::new();
        said.head.target = said.head.from;
        said
    }

    /// Levels are no part of what context was asked to remember: none counts as forgotten.
    fn close(&mut self) -> u64 {
        self.levels.close();
        self.struck.clear();
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
        for ((score, p_value), (number, host)) in own.scores.iter_mut().zip(&mut own.p_values).zip(&numbers) {
            let struck = host.is_some_and(|host| levels[host as usize] > STRUCK);
            let (own, level) = (*score, levels[*number as usize]);
            let (own, level) = if struck { excused(own, level) } else { (own, level) };
            summed.push((own, level));
            *score = lasting.score(own, level);
            *p_value = libm::exp(-*score);
        }
    }
    attached(detector, threshold, &batch.rows, schema, (own, kept), Some(&summed))
}

message!(Said: numbers, keys, values);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::asking::operator::crossed;

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
