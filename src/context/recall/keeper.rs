//! What the owner of shares of keys does with a window: takes in what workers say, answers what they ask,
//! forgets what is too much.

use super::super::entity::{SHARDS, owner};
use super::memory::Memory;
use super::questions::Question;
use super::shard::Shard;
use super::starts::{Regularity, Start};
use crate::row::asking::Head;

/// What is known of identities, for the worker that asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) head: Head,
    /// Numbers of the identities at the worker that asked.
    pub(super) numbers: Vec<u32>,
    /// The window of the first row of each.
    pub(super) firsts: Vec<u64>,
    /// The smallest flow id of its rows in the window.
    pub(super) leads: Vec<u64>,
    /// Whether it was remembered before the run, 0 or 1; nothing where nothing was.
    pub(super) learned: Vec<u8>,
    /// The regularity at each start that was asked about.
    pub(super) regularities: Vec<Regularity>,
}

/// A question that was taken in, to be answered when all of its window were.
pub(super) struct Taken {
    head: Head,
    numbers: Vec<u32>,
    /// Share and turn of each identity.
    turns: Vec<(u32, u32)>,
    lengths: Vec<u32>,
    starts: Vec<Start>,
}

/// The shares of one worker.
pub(super) struct Keeper {
    /// All of them; those of other workers stay empty.
    shards: Vec<Shard>,
    most: usize,
    /// Whether something was remembered before the run.
    remembers: bool,
}

impl Keeper {
    /// The shares of a worker, of `peers`, with room for `most` identities each, and what was remembered of them.
    pub(super) fn new(memory: Option<&Memory>, worker: usize, peers: usize, most: usize) -> Keeper {
        let until = memory.and_then(Memory::last);
        let shard = |shard| match memory {
            Some(memory) if owner(shard, peers) == worker => Shard::new(memory.shard(shard), until),
            _ => Shard::default(),
        };
        Keeper { shards: (0..SHARDS).map(shard).collect(), most, remembers: until.is_some() }
    }

    /// Takes in what a worker says about the open window. In which order does not matter.
    pub(super) fn take(&mut self, question: Question) -> Taken {
        let Question { head, numbers, keys, leads, lengths, starts } = question;
        let mut rest = &starts[..];
        let told = keys.iter().zip(&leads).zip(&lengths);
        let turns = told.map(|((key, lead), length)| {
            let (own, others) = rest.split_at((*length as usize).min(rest.len()));
            rest = others;
            let at = key.shard();
            (at as u32, self.shards[at].see(key, head.window, *lead, own))
        });
        let turns = turns.collect();
        Taken { head, numbers, turns, lengths, starts }
    }

    /// All of the window was taken in.
    pub(super) fn settle(&mut self, window: u64) {
        self.shards.iter_mut().for_each(|shard| shard.settle(window));
    }

    /// Answers a question of the settled window.
    pub(super) fn answer(&self, taken: Taken) -> Answer {
        let Taken { mut head, numbers, turns, lengths, starts } = taken;
        head.target = head.from;
        let count = numbers.len();
        let (mut firsts, mut leads) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut regularities = Vec::with_capacity(starts.len());
        let mut learned = Vec::new();
        let mut rest = &starts[..];
        for ((shard, turn), length) in turns.into_iter().zip(lengths) {
            let shard = &self.shards[shard as usize];
            let (first, lead, known) = shard.answer(turn);
            firsts.push(first);
            leads.push(lead);
            if self.remembers {
                learned.push(u8::from(known));
            }
            let (own, others) = rest.split_at((length as usize).min(rest.len()));
            rest = others;
            regularities.extend(own.iter().map(|start| shard.regularity(turn, start)));
        }
        Answer { head, numbers, firsts, leads, learned, regularities }
    }

    /// All of the window was answered. Returns how many identities were forgotten.
    pub(super) fn close(&mut self) -> u64 {
        self.shards.iter_mut().map(|shard| shard.close(self.most)).sum()
    }

    /// Hands over what is remembered.
    pub(super) fn leave(self, memory: &mut Memory) {
        self.shards.into_iter().for_each(|shard| memory.extend(shard.into_known()));
    }

    /// Identities remembered now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.known().len()).sum()
    }
}
