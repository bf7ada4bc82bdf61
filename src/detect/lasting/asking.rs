//! What is said of the keys of a window and told about them, and who has its rows meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt8Array};
use arrow::datatypes::{SchemaRef, UInt8Type};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::following::{HOST, JOINER, JOINS, ODD, Said, WAY};
use super::{CROWD, JOINING, LONG, PAIR, STRUCK, accustomed, excused, own_way, owner, together};
use crate::context::entity::Key;
use crate::detect::scorer::{Scored, attached, tells};
use crate::detect::{AnyError, Detector, Kept, Scores};
use crate::encode::{Subject, parties};
use crate::row::RowBatch;
use crate::row::asking::{Attacher, Gatherer, Head, MESSAGE};
use crate::tally::Tally;

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
#[derive(Clone, Copy, Default)]
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
    /// Of the source and of the destination as those of an odd row.
    odd: Option<[u32; 2]>,
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

/// The keys of a window, and what is told of each: its largest score, or how many rows it has.
#[derive(Default)]
pub(super) struct Gathering {
    numbers: HashMap<Key, u32, RandomState>,
    told: Vec<(Key, f64)>,
    batches: Vec<Judged>,
    rows: usize,
}

impl Gathering {
    /// Judges rows; those that are odder than the threshold are counted.
    fn add(&mut self, detector: &dyn Detector, threshold: f64, batch: RowBatch) -> Result<(), AnyError> {
        self.rows += batch.rows.num_rows();
        let (own, kept) = match self.rows <= JUDGED {
            true => detector.judge(&batch.rows)?,
            false => (detector.score(&batch.rows)?, None),
        };
        let mut numbers = Vec::with_capacity(own.scores.len());
        let lasts = detector.lasting().is_some();
        let ages = batch.rows.column_by_name("age_pairsvc");
        let ages = ages.and_then(|ages| ages.as_primitive_opt::<UInt8Type>());
        let joining = Joining::of(&batch.rows);
        for (row, (party, score)) in parties(&batch.rows)?.iter().zip(&own.scores).enumerate() {
            let odd = (*score > threshold).then(|| {
                [(Some(&party.src), None), (None, Some(&party.dst))]
                    .map(|(src, dst)| self.count(Key::of(src, dst, ODD)))
            });
            if !lasts {
                numbers.push(Numbers { odd, ..Numbers::default() });
                continue;
            }
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
            numbers.push(Numbers { level, pair, host, usual, way, joiner, odd });
        }
        self.batches.push(Judged { batch, own, kept, numbers });
        Ok(())
    }

    /// Takes in a score of a key; its number.
    fn tell(&mut self, key: Key, score: f64) -> u32 {
        let number = self.number(key, f64::MIN);
        let largest = &mut self.told[number as usize].1;
        *largest = largest.max(score);
        number
    }

    /// Counts a row of a key; its number.
    fn count(&mut self, key: Key) -> u32 {
        let number = self.number(key, 0.0);
        self.told[number as usize].1 += 1.0;
        number
    }

    fn number(&mut self, key: Key, first: f64) -> u32 {
        *self.numbers.entry(key).or_insert_with(|| {
            self.told.push((key, first));
            self.told.len() as u32 - 1
        })
    }
}

/// A window of whose keys is being told.
pub(super) struct Telling {
    window: u64,
    told: Vec<(Key, f64)>,
    /// The next key.
    next: usize,
    /// What is being said to each worker.
    messages: Vec<Said>,
}

/// Judges rows by themselves, and tells the owners of their keys the largest scores and how many are odd.
pub(super) struct Judging {
    detector: Arc<dyn Detector>,
    /// Odd is what scores more.
    threshold: f64,
    from: u32,
    peers: usize,
}

impl Judging {
    /// Of worker `from` of `peers`.
    pub(super) fn new(detector: Arc<dyn Detector>, threshold: f64, from: u32, peers: usize) -> Judging {
        Judging { detector, threshold, from, peers }
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
        gathering.add(self.detector.as_ref(), self.threshold, batch)
    }

    fn close(&mut self, gathering: Gathering, window: u64) -> (Held, Telling) {
        let Gathering { told, batches, .. } = gathering;
        let levels = vec![0.0; told.len()];
        let messages = vec![Said::default(); self.peers];
        (Held { batches, levels }, Telling { window, told, next: 0, messages })
    }

    fn ask(&mut self, telling: &mut Telling) -> Option<Said> {
        let Telling { window, told, next, messages } = telling;
        while let Some((key, value)) = told.get(*next) {
            // All that join are counted by one worker.
            let target = if key.code() == JOINER { 0 } else { owner(key, self.peers) };
            let message = &mut messages[target];
            message.head =
                Head { window: *window, from: self.from, target: target as u32, ..Head::default() };
            message.numbers.push(*next as u32);
            message.keys.push(*key);
            message.values.push(*value);
            *next += 1;
            if message.keys.len() * (size_of::<Key>() + 12) >= MESSAGE {
                return Some(std::mem::take(message));
            }
        }
        messages.iter_mut().find(|message| !message.keys.is_empty()).map(std::mem::take)
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
    let many: Vec<f64> = match tells(schema) {
        true => {
            let one_of =
                |odd: [u32; 2]| odd.map(|number| levels[number as usize]).into_iter().fold(0.0, f64::max);
            numbers.iter().map(|numbers| numbers.odd.map_or(0.0, one_of)).collect()
        }
        false => Vec::new(),
    };
    let mut summed = None;
    if let Some(lasting) = detector.lasting() {
        let summed = summed.insert(Vec::with_capacity(numbers.len()));
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
    attached(detector, threshold, &batch.rows, schema, Scored { own, kept, summed, many })
}

#[cfg(test)]
mod tests {
    use arrow::array::ArrayRef;

    use super::*;

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
}
