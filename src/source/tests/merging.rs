//! Several captures are one, in the order of event time.

use std::path::Path;

use proptest::prelude::*;
use tempfile::tempdir;

use super::written::*;
use super::*;

const SECOND: u64 = 1_000_000_000;

/// Frames that go backwards within the lateness.
fn jumbled(count: u64) -> Vec<Frame> {
    let late = |n: u64| (n * 7_919) % 10 * SECOND / 20;
    (0..count).map(|n| frame(1_000 * SECOND + n * SECOND / 10 - late(n), 40 + (n % 60) as usize)).collect()
}

fn save_parts(folder: &Path, frames: &[Frame], cuts: &[usize]) -> Vec<PathBuf> {
    let (mut paths, mut from) = (Vec::new(), 0);
    for (number, to) in cuts.iter().copied().chain([frames.len()]).enumerate() {
        let bytes = pcap(PLAIN, &frames[from..to]).bytes;
        let packed = [bytes.clone(), gzip(&bytes, 2), zstandard(&bytes, 2)];
        paths.push(save(folder, &format!("part{number}"), &packed[number % 3]));
        from = to;
    }
    paths
}

#[test]
fn three_parts_of_a_capture_merge_to_the_whole() {
    let (folder, frames) = (tempdir().unwrap(), jumbled(30_000));
    let spec = spec(Duration::from_secs(1));
    let whole = read(&save_parts(folder.path(), &frames, &[]), &spec);
    assert_eq!((whole.counts.late, whole.frames.len()), (0, 30_000));
    let whole = contents(merged(whole.frames));
    for cuts in [[10_000, 20_000], [1, 2], [29_000, 29_999], [0, 15_000]] {
        let parts = read(&save_parts(folder.path(), &frames, &cuts), &spec);
        assert_eq!(parts.error, None);
        assert!(contents(merged(parts.frames)) == whole, "{cuts:?}");
    }
}

#[test]
fn packets_of_one_time_go_in_the_order_in_which_files_begin_whatever_their_names() {
    let folder = tempdir().unwrap();
    // Four of each time.
    let frames: Vec<Frame> =
        (0..8_000).map(|n| frame(1_000 * SECOND + n / 4 * SECOND, 40 + n as usize % 60)).collect();
    let spec = spec(Duration::from_secs(1));
    let whole = read(&save_parts(folder.path(), &frames, &[]), &spec);
    let mut parts = save_parts(folder.path(), &frames, &[1_001, 2_002, 4_007]);
    for _ in 0..4 {
        parts.rotate_left(1);
        let parts = read(&parts, &spec);
        assert!(contents(merged(parts.frames)) == contents(merged(whole.frames.clone())));
    }
}

#[test]
fn late_records_of_a_part_are_moved_as_in_the_whole() {
    let folder = tempdir().unwrap();
    let mut frames = jumbled(9_000);
    for at in [1500, 4500, 7500] {
        frames[at].time -= 30 * SECOND;
    }
    let spec = spec(Duration::from_secs(1));
    let whole = read(&save_parts(folder.path(), &frames, &[]), &spec);
    let parts = read(&save_parts(folder.path(), &frames, &[3000, 6000]), &spec);
    assert_eq!((whole.counts.late, parts.counts.late), (3, 3));
    assert_eq!(contents(merged(parts.frames)), contents(merged(whole.frames)));
}

#[test]
fn files_that_follow_each_other_are_open_one_at_a_time() {
    let folder = tempdir().unwrap();
    let mut paths: Vec<PathBuf> = (0..2000)
        .map(|n| {
            let frames: Vec<Frame> = (0..3).map(|at| frame((n * 10 + at) * SECOND, 50)).collect();
            save(folder.path(), &format!("{n}"), &pcap(PLAIN, &frames).bytes)
        })
        .collect();
    paths.reverse();
    let all = read(&paths, &spec(Duration::from_secs(1)));
    assert_eq!((all.frames.len(), all.most_open), (6000, 1));
    assert!(all.frames.is_sorted_by_key(|frame| frame.time));
    assert_eq!(all.counts.bytes_read, all.counts.bytes_total);
}

#[test]
fn no_input_runs_far_ahead_of_the_others() {
    let folder = tempdir().unwrap();
    let steps = [1, 50, 1000];
    let paths: Vec<PathBuf> = steps
        .iter()
        .map(|step| {
            // A frame each 10 ms, 500 ms, 10 s.
            let frames: Vec<Frame> =
                (0..60_000 / step).map(|n| frame(n * step * SECOND / 100 + step, 60)).collect();
            save(folder.path(), &format!("{step}"), &pcap(PLAIN, &frames).bytes)
        })
        .collect();
    let feed = Captures::open(captures(&paths), &spec(Duration::from_secs(1))).unwrap();
    let mut ahead = [0; 3];
    let (mut feed, mut block) = (feed, Block::default());
    while feed.next(&mut block).unwrap() == Next::Block {
        if feed.frontier() == u64::MAX {
            break;
        }
        // At most the least number of records, or three seconds.
        let past = block.records.iter().filter(|record| record.time > feed.frontier() + 3 * SECOND).count();
        let held = &mut ahead[block.input as usize];
        *held = past.max(*held);
    }
    assert!(ahead.iter().all(|held| *held <= 64), "{ahead:?}");
    assert!(ahead[0] < 64, "{ahead:?}");
}

/// The most records of a block of one capture with a frame every `step` nanoseconds, and how many blocks there are.
fn blocks_of(step: u64, count: u64) -> (usize, usize, u64) {
    let folder = tempdir().unwrap();
    let frames: Vec<Frame> = (0..count).map(|n| frame(n * step, 60)).collect();
    let path = save(folder.path(), "a", &pcap(PLAIN, &frames).bytes);
    let size = std::fs::metadata(&path).unwrap().len();
    let mut feed = Captures::open(captures(&[path]), &spec(Duration::from_secs(1))).unwrap();
    let (mut block, mut most, mut blocks) = (Block::default(), 0, 0);
    while feed.next(&mut block).unwrap() == Next::Block {
        most = most.max(block.records.len());
        blocks += 1;
    }
    (most, blocks, size)
}

#[test]
fn one_dense_input_is_never_cut_short() {
    let (_, blocks, size) = blocks_of(SECOND / 10_000, 50_000);
    // A first small one comes with the header.
    assert_eq!(blocks as u64, 1 + size.div_ceil(512 << 10));
}

#[test]
fn one_sparse_input_goes_by_spans_of_event_time() {
    // Ten frames a second: what lies within ten seconds. One a minute: no fewer than are worth the way.
    assert_eq!(blocks_of(SECOND / 10, 20_000).0, 101);
    assert_eq!(blocks_of(60 * SECOND, 5_000).0, 64);
}

#[test]
fn damage_in_one_file_comes_after_all_its_whole_records() {
    let (folder, frames) = (tempdir().unwrap(), jumbled(3_000));
    let mut paths = save_parts(folder.path(), &frames, &[1000, 2000]);
    let written = pcap(PLAIN, &frames[1000..2000]);
    paths[1] = save(folder.path(), "part1", &written.bytes[..written.ends[499] + 5]);
    let all = read(&paths, &spec(Duration::from_secs(1)));
    assert_eq!((all.error, all.frames.len(), all.counts.truncated_files), (None, 2500, 1));
    let mut bytes = written.bytes.clone();
    bytes[written.ends[499] + 11] = 0xff;
    paths[1] = save(folder.path(), "part1", &bytes);
    let all = read(&paths, &spec(Duration::from_secs(1)));
    assert!(all.error.unwrap().contains("part1: record 501 at offset"));
    assert_eq!(all.frames.iter().filter(|frame| frame.input == 1).count(), 500);
}

#[test]
fn a_file_replaced_by_an_older_one_breaks_no_promise() {
    let (folder, frames) = (tempdir().unwrap(), jumbled(300));
    let paths = save_parts(folder.path(), &frames, &[100, 200]);
    let feed = Captures::open(captures(&paths), &spec(Duration::from_secs(1))).unwrap();
    let older: Vec<Frame> = (0..50).map(|n| frame(n * SECOND, 60)).collect();
    save(folder.path(), "part2", &pcap(PLAIN, &older).bytes);
    let all = read_feed(feed);
    assert_eq!((all.frames.len(), all.counts.late), (250, 50));
}

#[test]
fn a_wrong_first_time_moves_no_other_however_long_the_first_frames_are() {
    let folder = tempdir().unwrap();
    let mut frames = jumbled(300);
    frames[0] = frame(frames[0].time + 365 * 86_400 * SECOND, 1514);
    frames[1] = frame(frames[1].time, 2962);
    let all = read(&save_parts(folder.path(), &frames, &[]), &spec(Duration::from_secs(1)));
    assert_eq!((all.error, all.frames.len(), all.counts.late), (None, 300, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_files_merge_to_their_frames_in_order(
        files in proptest::collection::vec(
            proptest::collection::vec((0_u64..40, 0_usize..90), 0..200), 1..6),
        lateness in 0_u64..5,
    ) {
        let folder = tempdir().unwrap();
        let mut paths = Vec::new();
        let mut expected = Vec::new();
        for (input, steps) in files.iter().enumerate() {
            let (mut time, mut newest, mut frames) = (0_u64, 0_u64, Vec::new());
            for (record, (step, length)) in (0..).zip(steps) {
                // Steps below 8 go back.
                time = (time + step * SECOND / 4).saturating_sub(2 * SECOND);
                let placed = time.max(newest.saturating_sub(lateness * SECOND));
                newest = newest.max(time);
                let frame = frame(time, *length);
                expected.push((placed, input as u32, record, frame.bytes.clone()));
                frames.push(frame);
            }
            let bytes = if input % 2 == 0 { pcap(PLAIN, &frames) } else { pcapng(true, &frames) }.bytes;
            paths.push(save(folder.path(), &input.to_string(), &bytes));
        }
        // Inputs have the numbers of the order in which they begin.
        let order = Captures::open(captures(&paths), &spec(Duration::from_secs(lateness))).unwrap().paths();
        let numbers: Vec<u32> = paths.iter().map(|path| {
            order.iter().position(|other| other == path).unwrap() as u32
        }).collect();
        expected.iter_mut().for_each(|frame| frame.1 = numbers[frame.1 as usize]);
        expected.sort();
        let all = read(&paths, &spec(Duration::from_secs(lateness)));
        prop_assert_eq!(&all.error, &None);
        let got: Vec<_> =
            merged(all.frames).into_iter().map(|f| (f.time, f.input, f.record, f.bytes)).collect();
        prop_assert_eq!(got, expected);
    }
}
