//! Rows as they would be if their sources had just joined the network.
//!
//! How odd are rows of a host of which nothing is known? No training says it, as it knows its hosts. But any of them may be
//! struck from it, one at a time: its rows are held against the pasts of all others, and what it did is new. What comes of
//! that, over all hosts, is what rows of the next host will be like.

use std::sync::LazyLock;

use super::columns::{HORIZONS, columns, of_the_unknown};
use super::resolve::Resolved;
use crate::context::{JOINING, OwnHosts};
use crate::encode::bucket::{ABSENT, bucket};
use crate::encode::{Blocks, Subject};

/// Excuses rows of the late blocks of hosts of one's own that joined in the row's block: what judges it, the rest of
/// training, knows them no more than it will know the next new host, which is excused while it joins. `window` is the
/// length of windows.
pub(super) fn excuse(rows: &mut Resolved, blocks: &Blocks, own: &OwnHosts, window: u64) {
    if !blocks.apart {
        return;
    }
    let joins = |row: usize| {
        let number = rows.windows[row];
        let block = blocks.of(number);
        block >= blocks.late
            && own.joined(&rows.parties[row].src).is_some_and(|first| {
                let since = number.saturating_mul(window).saturating_sub(first);
                blocks.of(first / window.max(1)) == block && since < JOINING as u64
            })
    };
    let joins: Vec<usize> = (0..rows.parties.len()).filter(|row| joins(*row)).collect();
    for at in of_the_unknown() {
        let (buckets, _) = rows.column_mut(at);
        joins.iter().for_each(|row| buckets[*row] = ABSENT);
    }
}

/// A judged column that counts what is new, and where it is what is counted without regard to that.
struct News {
    at: usize,
    horizon: u32,
    /// For each horizon the column that counts all of the same; nothing where only the source is new to somebody.
    all: Option<[usize; 3]>,
}

/// What is new where a source is.
static NEWS: LazyLock<Vec<News>> = LazyLock::new(|| {
    let place = |name: &str| columns().iter().position(|column| column.name == name);
    let mut news = Vec::new();
    for entity in ["src", "srcsvc"] {
        for (at, what, horizon) in new_of(entity) {
            let all = HORIZONS.map(|horizon| place(&format!("ctx_{entity}_w{horizon}_{what}")));
            let all = all.map(|all| all.expect("what is counted as new is counted"));
            news.push(News { at, horizon, all: Some(all) });
        }
    }
    let peers = new_of("dst").into_iter().filter(|(_, what, _)| *what == "peers");
    news.extend(peers.map(|(at, _, horizon)| News { at, horizon, all: None }));
    news
});

/// The columns that count what is new to an entity: place, what, horizon.
fn new_of(entity: &str) -> Vec<(usize, &'static str, u32)> {
    let mut found = Vec::new();
    for (at, column) in columns().iter().enumerate() {
        for horizon in HORIZONS {
            if let Some(what) = column.name.strip_prefix(format!("ctx_{entity}_w{horizon}_new_").as_str()) {
                found.push((at, what, horizon));
            }
        }
    }
    found
}

/// Makes rows what they would be if their sources had joined less than the longest horizon ago, each row at another time
/// of that: nobody is asked since when it is known, and all that it met since is new.
pub(super) fn join(rows: &mut Resolved) {
    let longest = u64::from(HORIZONS[2]);
    let since = |row: usize| {
        let source = rows.parties[row].key(Subject::Source).hash();
        (rows.windows[row].wrapping_add(source) % longest) as u32
    };
    let since: Vec<u32> = (0..rows.parties.len()).map(since).collect();
    for at in of_the_unknown() {
        rows.column_mut(at).0.fill(ABSENT);
    }
    for News { at, horizon, all } in &*NEWS {
        // All since it joined is in the shortest horizon that reaches as far.
        let reach =
            |since: u32| HORIZONS.iter().position(|reach| since < *reach).unwrap_or(HORIZONS.len() - 1);
        for (row, since) in since.iter().enumerate().filter(|(_, since)| *horizon >= HORIZONS[reach(**since)])
        {
            let found = match all {
                Some(all) => rows.bucket(row, all[reach(*since)]),
                // It is one of the new itself.
                None => match rows.bucket(row, *at) {
                    ABSENT => bucket(1.0),
                    known => known.max(bucket(1.0)),
                },
            };
            let (buckets, weights) = rows.column_mut(*at);
            (buckets[row], weights[row]) = (found, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;
    use crate::context::address::Address;
    use crate::detect::themes::resolve::{Resolver, Rows};

    const WINDOW: u64 = 10_000_000_000;

    #[test]
    fn hosts_that_joined_in_a_block_are_excused_in_it_while_they_join() {
        let batch = rows(0..60, false);
        let resolver = std::sync::Arc::new(Resolver::new(batch.schema_ref()).unwrap());
        let read = Rows::new(&batch, resolver, WINDOW).unwrap();
        let all = 0..batch.num_rows();
        let before = read.resolve(all.clone());
        let first = before.windows[0];
        let blocks = |apart| Blocks {
            starts: vec![first, first + 10, first + 20],
            windows: vec![10, 10, 40],
            late: 1,
            apart,
        };
        let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|host| Address::parse(Some(host)));
        // One joined in the last block, one in the one before; the others were there from the beginning or are not known.
        let joined = [(hosts[0], first + 22), (hosts[1], first + 12), (hosts[2], first)];
        let own = OwnHosts::of(joined.map(|(host, window)| (host, window * WINDOW)));
        let mut after = read.resolve(all.clone());
        excuse(&mut after, &blocks(true), &own, WINDOW);
        let unknown = of_the_unknown().next().unwrap();
        let mut excused = 0;
        for row in all.clone() {
            let (host, window) = (before.parties[row].src, before.windows[row] - first);
            // Of rows before a host joined there are none but in this test.
            let joins = (host == hosts[0] && (20..52).contains(&window))
                || (host == hosts[1] && (10..20).contains(&window));
            for at in 0..columns().len() {
                let expected = match columns()[at].is_of_the_unknown() && joins {
                    true => ABSENT,
                    false => before.bucket(row, at),
                };
                assert_eq!(after.bucket(row, at), expected, "{host:?} in window {window}");
            }
            excused += usize::from(after.bucket(row, unknown) != before.bucket(row, unknown));
        }
        assert!(excused > 5, "{excused} rows");
        let mut after = read.resolve(all.clone());
        excuse(&mut after, &blocks(false), &own, WINDOW);
        assert!(all.into_iter().all(|row| after.buckets(row) == before.buckets(row)));
    }

    #[test]
    fn who_joins_is_not_asked_since_when_and_met_all_that_it_meets_lately() {
        let batch = rows(0..40, false);
        let resolver = std::sync::Arc::new(Resolver::new(batch.schema_ref()).unwrap());
        let read = Rows::new(&batch, resolver, WINDOW).unwrap();
        let (before, mut after) = (read.resolve(0..batch.num_rows()), read.resolve(0..batch.num_rows()));
        join(&mut after);
        let place = |name: &str| columns().iter().position(|column| column.name == name).unwrap();
        let new = HORIZONS.map(|horizon| place(&format!("ctx_src_w{horizon}_new_peers")));
        let all = HORIZONS.map(|horizon| place(&format!("ctx_src_w{horizon}_peers")));
        let (mut changed, rows) = ([0usize; 3], before.parties.len());
        for row in 0..rows {
            for (at, column) in columns().iter().enumerate() {
                let (found, was) = (after.bucket(row, at), before.bucket(row, at));
                match (column.is_of_the_unknown(), column.name.contains("_new_")) {
                    (true, _) => assert_eq!(found, ABSENT),
                    (false, false) => assert_eq!(found, was, "{}", column.name),
                    _ => {}
                }
            }
            // At the longest horizon all of some horizon is new, at a shorter one if it reaches back to the beginning.
            let reach = (0..3).find(|reach| after.bucket(row, new[2]) == before.bucket(row, all[*reach]));
            assert!(reach.is_some());
            for (at, changed) in changed.iter_mut().enumerate() {
                *changed += usize::from(after.bucket(row, new[at]) != before.bucket(row, new[at]));
            }
        }
        assert!(changed[0] < changed[1] && changed[1] < changed[2], "{changed:?} of {rows}");
    }
}
