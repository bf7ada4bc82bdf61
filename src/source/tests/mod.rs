//! Captures written by hand, read back; what the room promises of any bytes; the corpus.

mod corpus;
mod damage;
mod formats;
mod merging;
mod naming;
mod tables;
mod written;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::inputs::{self, Found, Input};
use super::{Block, Captures, Feed, FeedCounts, Next, SourceError, SourceSpec};

/// A frame as it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Out {
    time: u64,
    input: u32,
    record: u64,
    link: u16,
    original: u32,
    bytes: Vec<u8>,
}

/// Everything that a feed gave.
#[derive(Debug)]
struct All {
    frames: Vec<Out>,
    blocks: usize,
    counts: FeedCounts,
    cut_short: Vec<String>,
    error: Option<String>,
    largest: usize,
    most_open: usize,
}

fn spec(lateness: Duration) -> SourceSpec {
    SourceSpec { lateness, ..SourceSpec::default() }
}

fn captures(paths: &[PathBuf]) -> Vec<Input> {
    let given: Vec<String> = paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    match inputs::find(&given).unwrap().found {
        Found::Captures(captures) => captures,
        Found::Rows(_) => panic!("captures were given"),
    }
}

/// Reads to the end or the first error, and checks what every feed promises on the way.
fn read(paths: &[PathBuf], spec: &SourceSpec) -> All {
    let given: Vec<String> = paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    let opened = inputs::find(&given).and_then(|search| match search.found {
        Found::Captures(captures) => Captures::open(captures, spec),
        Found::Rows(_) => panic!("captures were given"),
    });
    match opened {
        Ok(feed) => read_feed(feed),
        Err(error) => All {
            frames: Vec::new(),
            blocks: 0,
            counts: FeedCounts::default(),
            cut_short: Vec::new(),
            error: Some(line(&error)),
            largest: 0,
            most_open: 0,
        },
    }
}

fn read_feed(mut feed: Captures) -> All {
    let mut all = All {
        frames: Vec::new(),
        blocks: 0,
        counts: FeedCounts::default(),
        cut_short: Vec::new(),
        error: None,
        largest: 0,
        most_open: feed.open,
    };
    let mut block = Block::default();
    let mut expected = vec![(0, 0); feed.paths().len()];
    loop {
        let frontier = feed.frontier();
        let next = feed.next(&mut block);
        all.most_open = all.most_open.max(feed.open);
        assert!(feed.frontier() >= frontier, "the frontier goes back");
        match next {
            Ok(Next::Block) => {}
            Ok(Next::Idle) => {
                assert!(feed.has_pipes(), "files are never idle");
                continue;
            }
            Ok(Next::End) => {
                assert_eq!(feed.frontier(), u64::MAX);
                break;
            }
            Err(error) => {
                all.error = Some(line(&error));
                break;
            }
        }
        assert!(!block.records.is_empty(), "an empty block");
        let (number, first) = &mut expected[block.input as usize];
        assert_eq!((block.number, block.first_record), (*number, *first));
        *number += 1;
        *first += block.records.len() as u64;
        all.blocks += 1;
        all.largest = all.largest.max(block.bytes.len());
        for (index, record) in (0..).zip(&block.records) {
            assert!(record.time >= frontier, "a frame behind the frontier");
            assert!(record.time <= i64::MAX as u64);
            assert!(record.time <= feed.newest());
            let at = record.at as usize;
            all.frames.push(Out {
                time: record.time,
                input: block.input,
                record: block.first_record + index,
                link: record.link,
                original: record.original,
                bytes: block.bytes[at..at + record.captured as usize].to_vec(),
            });
        }
    }
    all.counts = feed.counts();
    all.cut_short = feed.cut_short();
    assert_eq!(all.counts.frames, all.frames.len() as u64);
    assert_eq!(all.counts.truncated_files, all.cut_short.len() as u64);
    all
}

/// The message, which is one line and names the file first.
fn line(error: &SourceError) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

/// The order in which packets are applied: event time, input, record.
fn merged(mut frames: Vec<Out>) -> Vec<Out> {
    frames.sort_by_key(|frame| (frame.time, frame.input, frame.record));
    frames
}

/// The frames without where they came from.
fn contents(frames: Vec<Out>) -> Vec<Out> {
    frames.into_iter().map(|frame| Out { input: 0, record: 0, ..frame }).collect()
}

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}
