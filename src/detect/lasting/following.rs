//! Who keeps what is told of the keys of a window, and tells it to whoever has rows in it.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{CROWD, KEPT, Levels, START};
use crate::context::entity::Key;
use crate::row::asking::{Head, Keeper, message};

/// In the place of a service: the key is of a host, as the destination of rows.
pub(super) const HOST: u32 = u32::MAX;

/// In the place of a service: the key is of a source that joins.
pub(super) const JOINER: u32 = u32::MAX - 1;

/// In the place of a service: the key is of a source that joins or has joined, by its windows while it did.
pub(super) const WAY: u32 = u32::MAX - 2;

/// In the place of a service: the key is of a source, or of a destination, as one of whose odd rows others are told.
pub(super) const ODD: u32 = u32::MAX - 3;

/// Beside a service: the key is of a source, destination and service of which a host joins or has joined.
pub(super) const JOINS: u32 = 1 << 30;

/// What a worker says of the keys in its rows of a window, and what it is told of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) head: Head,
    /// Numbers of the keys at the worker that said it.
    pub(super) numbers: Vec<u32>,
    /// The keys; none in what is told.
    pub(super) keys: Vec<Key>,
    /// The largest score of each, or how many rows it has; in what is told its level, of hosts the largest score of all, or
    /// how many rows all have.
    pub(super) values: Vec<f64>,
}

message!(Said: numbers, keys, values);

/// Keeps the levels of keys, and tells those of a window to whoever has rows in it.
pub(super) struct Following {
    levels: Levels,
    /// Hosts of the open window with a row to them that is odd enough, and the largest score of those.
    struck: HashMap<Key, f64, RandomState>,
    /// Sources that join in it, as many as make a crowd.
    joiners: Vec<Key>,
    /// How many odd rows sources and destinations have in it.
    odd: HashMap<Key, f64, RandomState>,
}

impl Following {
    pub(super) fn new() -> Following {
        Following {
            levels: Levels::new(KEPT),
            struck: HashMap::default(),
            joiners: Vec::new(),
            odd: HashMap::default(),
        }
    }
}

impl Keeper for Following {
    type Ask = Said;
    type Taken = Said;
    type Answer = Said;

    fn open(&mut self, _: u64) {}

    fn take(&mut self, said: Said) -> Said {
        for (key, largest) in said.keys.iter().zip(&said.values) {
            if key.code() == ODD {
                *self.odd.entry(*key).or_default() += *largest;
            } else if key.code() == HOST {
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
        let Following { levels, struck, joiners, odd } = self;
        let told = |key: &Key| match key.code() {
            ODD => odd.get(key).copied().unwrap_or_default(),
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
        self.odd.clear();
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::address::Address;
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
    fn odd_rows_of_a_window_are_counted_whoever_has_them() {
        let mut keeper = Following::new();
        let host = |at: u8| Key::of(None, Some(&Address::parse(Some(&format!("10.0.0.{at}")))), ODD);
        let said = |of: &[(u8, f64)]| {
            let keys: Vec<Key> = of.iter().map(|(at, _)| host(*at)).collect();
            Said { values: of.iter().map(|(_, rows)| *rows).collect(), keys, ..Said::default() }
        };
        let taken = [said(&[(1, 40.0), (2, 1.0)]), said(&[(1, 30.0)])].map(|said| keeper.take(said));
        let told = taken.map(|said| keeper.answer(said).values);
        assert_eq!(told, [vec![70.0, 1.0], vec![70.0]]);
        keeper.close();
        let taken = keeper.take(said(&[(1, 2.0)]));
        assert_eq!(keeper.answer(taken).values, [2.0], "of another window");
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
    fn messages_cross_machines_unchanged() {
        let head = Head { window: 7, from: 1, target: 2, ..Head::default() };
        let key = |code| Key::of(None, None, code);
        let said =
            Said { head, numbers: vec![4, 5, 6], keys: vec![key(1), key(2), key(3)], values: vec![0.5; 3] };
        assert_eq!(crossed(&said), said);
        assert_eq!(crossed(&Said::default()), Said::default());
    }
}
