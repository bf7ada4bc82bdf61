//! Every form of capture gives the frames that were written.

use pcap_file::pcap::PcapReader;
use tempfile::tempdir;

use super::written::*;
use super::*;

fn frames() -> Vec<Frame> {
    let mut frames: Vec<Frame> = (0..3000)
        .map(|n: u64| frame(1_700_000_000_000_000_000 + n * 1_234_567_000, (n % 300) as usize))
        .collect();
    frames[5].original = 9000;
    frames
}

fn check(all: &All, frames: &[Frame]) {
    assert_eq!(all.error, None);
    assert_eq!(all.frames.len(), frames.len());
    for (number, (out, frame)) in (0..).zip(all.frames.iter().zip(frames)) {
        assert_eq!((out.time, out.link, out.original), (frame.time, 1, frame.original), "frame {number}");
        assert_eq!((out.record, &out.bytes), (number, &frame.bytes), "frame {number}");
    }
    assert_eq!((all.counts.late, all.counts.truncated_files), (0, 0));
    assert_eq!(
        (all.counts.bytes_read, all.counts.bytes_total),
        (all.counts.bytes_total, all.counts.bytes_read)
    );
}

#[test]
fn classic_captures_of_every_magic_version_and_packing_give_their_frames() {
    let (folder, frames) = (tempdir().unwrap(), frames());
    for big in [false, true] {
        for (nano, modified, minor) in [
            (false, false, 4),
            (true, false, 4),
            (false, true, 4),
            (false, false, 2),
            (false, false, 3),
            (false, false, 9),
        ] {
            let style = Style { big, nano, modified, minor, ..PLAIN };
            let bytes = pcap(style, &frames).bytes;
            for (name, bytes) in [
                ("plain", bytes.clone()),
                ("gz", gzip(&bytes, 1)),
                ("members", gzip(&bytes, 7)),
                ("zst", zstandard(&bytes, 1)),
                ("frames", zstandard(&bytes, 5)),
            ] {
                let path = save(folder.path(), name, &bytes);
                let all = read(&[path], &spec(Duration::from_secs(1)));
                check(&all, &frames);
            }
        }
    }
}

#[test]
fn captures_joined_end_to_end_are_read_to_the_last() {
    let (folder, frames) = (tempdir().unwrap(), frames());
    let styles = [
        PLAIN,
        Style { big: true, ..PLAIN },
        Style { nano: true, ..PLAIN },
        Style { modified: true, big: true, ..PLAIN },
        PLAIN,
    ];
    let (mut joined, mut mixed) = (Vec::new(), Vec::new());
    for (number, (part, style)) in frames.chunks(frames.len() / 5).zip(styles).enumerate() {
        joined.extend(pcap(style, part).bytes);
        mixed.extend(if number % 3 == 1 { pcapng(style.big, part).bytes } else { pcap(style, part).bytes });
        // One that holds no frame changes nothing.
        joined.extend(pcap(PLAIN, &[]).bytes);
        mixed.extend(pcapng(true, &[]).bytes);
    }
    check(&read(&[save(folder.path(), "mixed", &mixed)], &spec(Duration::from_secs(1))), &frames);
    for (name, bytes) in [("plain", joined.clone()), ("members", gzip(&joined, 7))] {
        check(&read(&[save(folder.path(), name, &bytes)], &spec(Duration::from_secs(1))), &frames);
    }
    // Cut inside the last header.
    let all = read(&[save(folder.path(), "cut", &joined[..joined.len() - 4])], &spec(Duration::from_secs(1)));
    assert_eq!((all.frames.len(), all.counts.truncated_files), (frames.len(), 1));
}

#[test]
fn pcap_file_reads_the_same_records() {
    let (folder, frames) = (tempdir().unwrap(), frames());
    for big in [false, true] {
        let bytes = pcap(Style { big, ..PLAIN }, &frames).bytes;
        let all = read(&[save(folder.path(), "plain", &bytes)], &spec(Duration::from_secs(1)));
        let mut reader = PcapReader::new(&bytes[..]).unwrap();
        for out in &all.frames {
            let packet = reader.next_packet().unwrap().unwrap();
            assert_eq!(out.time, packet.timestamp().as_nanos() as u64);
            assert_eq!((out.original, &out.bytes[..]), (packet.orig_len(), packet.data()));
        }
        assert!(reader.next_packet().is_none());
    }
}

#[test]
fn pcapng_gives_frames_of_all_packet_blocks_sections_and_interfaces() {
    let folder = tempdir().unwrap();
    let second = 1_000_000_000;
    for big in [false, true] {
        let mut out = Written::new(big);
        let offset = |seconds: i64, big| if big { seconds.to_be_bytes() } else { seconds.to_le_bytes() };
        out.section(big)
            .interface(1, 0, &[])
            .block(5, |block| block.bytes.extend([1; 12]))
            .interface(113, 40, &[(2, b"eth0"), (9, &[0x80 | 10]), (14, &offset(-2, big))])
            .block(0x0bad, |block| block.bytes.extend([7; 90]))
            .enhanced(0, 5_000_001, &frame(0, 61))
            .enhanced(1, 8 << 10, &frame(1, 33))
            .simple(&Frame { original: 70, ..frame(2, 70) })
            .packet(1, (8 << 10) + 512, &frame(3, 40))
            .section(!big)
            .interface(276, 50, &[(9, &[3]), (14, &offset(4, !big))])
            .simple(&Frame { original: 900, ..frame(4, 50) })
            .enhanced(0, 4_000, &frame(5, 1))
            .packet(0, 5_000, &frame(6, 0));
        let path = save(folder.path(), "a", &out.bytes);
        let all = read(&[path], &spec(Duration::from_secs(3600)));
        assert_eq!(all.error, None);
        let got: Vec<_> = all.frames.iter().map(|f| (f.time, f.link, f.original, f.bytes.len())).collect();
        let expected = [
            (5 * second + 1000, 1, 61, 61),
            (6 * second, 113, 33, 33),
            (6 * second, 1, 70, 70),
            (6 * second + second / 2, 113, 40, 40),
            (6 * second + second / 2, 276, 900, 50),
            (8 * second, 276, 1, 1),
            (9 * second, 276, 0, 0),
        ];
        assert_eq!(got, expected);
        assert!(all.frames.iter().zip(0..).all(|(out, n)| out.bytes == frame(n, out.bytes.len()).bytes));
    }
}

#[test]
fn a_packet_block_without_time_has_that_of_the_one_before() {
    let folder = tempdir().unwrap();
    let mut out = Written::new(false);
    // Far from 1970, where no clock stands before three records said so.
    out.section(false)
        .interface(1, 0, &[(9, &[0])])
        .enhanced(0, 1_700_000_000, &frame(0, 60))
        .simple(&frame(1, 60))
        .section(true)
        .interface(1, 0, &[(9, &[0])])
        .simple(&frame(2, 60))
        .enhanced(0, 1_700_000_002, &frame(3, 60))
        .simple(&frame(4, 60));
    let all = read(&[save(folder.path(), "a", &out.bytes)], &spec(Duration::from_secs(1)));
    let times: Vec<u64> = all.frames.iter().map(|frame| frame.time / 1_000_000_000).collect();
    assert_eq!(times, [1_700_000_000, 1_700_000_000, 1_700_000_000, 1_700_000_002, 1_700_000_002]);
}

#[test]
fn a_timestamp_before_1970_is_0_and_one_out_of_range_is_the_last_there_is() {
    let folder = tempdir().unwrap();
    let mut out = Written::new(false);
    out.section(false)
        .interface(1, 0, &[(9, &[0]), (14, &(-5_i64).to_le_bytes())])
        .enhanced(0, 3, &frame(0, 9))
        .enhanced(0, 7, &frame(0, 9))
        .enhanced(0, u64::MAX, &frame(0, 9));
    let all = read(&[save(folder.path(), "a", &out.bytes)], &spec(Duration::from_secs(1)));
    let times: Vec<u64> = all.frames.iter().map(|frame| frame.time).collect();
    assert_eq!(times, [0, 2_000_000_000, i64::MAX as u64]);
}

#[test]
fn flags_above_the_link_type_are_masked() {
    let folder = tempdir().unwrap();
    let bytes = pcap(Style { link: 0x3400_0071, ..PLAIN }, &[frame(5, 60)]).bytes;
    let all = read(&[save(folder.path(), "a", &bytes)], &spec(Duration::ZERO));
    assert_eq!(all.frames[0].link, 0x71);
}

#[test]
fn late_records_are_moved_to_the_watermark_and_counted() {
    let folder = tempdir().unwrap();
    let second = 1_000_000_000;
    let times = [10, 12, 11, 10, 3, 13, 0];
    let frames: Vec<Frame> = times.map(|time| frame(time * second, 60)).to_vec();
    let path = save(folder.path(), "a", &pcap(PLAIN, &frames).bytes);
    let all = read(&[path], &spec(Duration::from_secs(1)));
    let got: Vec<u64> = all.frames.iter().map(|frame| frame.time / second).collect();
    assert_eq!((got, all.counts.late), (vec![10, 12, 11, 11, 11, 13, 12], 3));
}

/// What is read of these bytes from a pipe.
#[cfg(unix)]
fn piped(folder: &Path, bytes: Vec<u8>, spec: &SourceSpec) -> All {
    let pipe = folder.join("pipe");
    if !pipe.exists() {
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    }
    let to = pipe.clone();
    let writer = std::thread::spawn(move || std::fs::write(to, bytes));
    let all = read(&[pipe], spec);
    writer.join().unwrap().unwrap();
    all
}

#[cfg(unix)]
#[test]
fn a_late_record_among_the_first_has_the_same_time_from_a_file_and_from_a_pipe() {
    let folder = tempdir().unwrap();
    let (second, start) = (1_000_000_000, 1_700_000_000_000_000_000);
    for late in 0..6 {
        let time = |n: u64| start + n * second / 10 - if n == late { 5 * second } else { 0 };
        let frames: Vec<Frame> = (0..10).map(|n| frame(time(n), 60)).collect();
        let bytes = pcap(PLAIN, &frames).bytes;
        let file = read(&[save(folder.path(), "a", &bytes)], &spec(Duration::from_secs(1)));
        let pipe = piped(folder.path(), bytes, &spec(Duration::from_secs(1)));
        let times = |all: &All| all.frames.iter().map(|frame| frame.time).collect::<Vec<_>>();
        assert_eq!((times(&file), file.counts.late), (times(&pipe), pipe.counts.late), "{late}");
        // Before the first one nothing tells what time it is.
        assert_eq!(file.counts.late, u64::from(late > 0), "{late}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_whose_first_records_come_one_by_one_promises_no_more_than_it_keeps_and_is_idle_meanwhile() {
    let folder = tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (second, start) = (1_000_000_000, 1_700_000_000_000_000_000);
    let times = [0, -2, -5, 1, -3].map(|at: i64| start + at * second);
    let frames: Vec<Frame> = times.iter().map(|time| frame(*time as u64, 60)).collect();
    let bytes = |count: usize| pcap(PLAIN, &frames[..count]).bytes;
    let to = pipe.clone();
    let (go_on, wait) = std::sync::mpsc::channel();
    let whole = bytes(5);
    let cuts: Vec<usize> = (1..=5).map(|count| bytes(count).len()).collect();
    let writer = std::thread::spawn(move || {
        let mut to = std::fs::File::create(to).unwrap();
        let mut from = 0;
        for cut in cuts {
            std::io::Write::write_all(&mut to, &whole[from..cut]).unwrap();
            from = cut;
            wait.recv().unwrap();
        }
    });
    let mut feed = Captures::open(captures(&[pipe]), &spec(Duration::from_secs(1))).unwrap();
    let (mut block, mut got) = (Block::default(), Vec::new());
    loop {
        let frontier = feed.frontier();
        match feed.next(&mut block).unwrap() {
            Next::Block => {
                assert!(block.records.iter().all(|record| record.time >= frontier));
                got.extend(block.records.iter().map(|record| record.time as i64));
                assert_eq!(feed.next(&mut block).unwrap(), Next::Idle, "its writer waits");
                go_on.send(()).unwrap();
            }
            Next::Idle => {}
            Next::End => break,
        }
    }
    writer.join().unwrap();
    let late = times[0] - second;
    assert_eq!(got, [times[0], late, late, times[3], times[3] - second]);
}

#[test]
fn a_capture_without_frames_is_fine() {
    let folder = tempdir().unwrap();
    let (classic, sections) = (pcap(PLAIN, &[]).bytes, pcapng(true, &[]).bytes);
    let paths = [
        save(folder.path(), "classic", &classic),
        save(folder.path(), "sections", &sections),
        save(folder.path(), "gz", &gzip(&classic, 1)),
    ];
    let all = read(&paths, &spec(Duration::from_secs(1)));
    assert_eq!((all.error, all.frames.len(), all.counts.truncated_files), (None, 0, 0));
    assert_eq!(all.counts.bytes_read, all.counts.bytes_total);
}

#[test]
fn zeros_after_the_last_gzip_member_are_padding_and_other_bytes_are_damage() {
    let (folder, frames) = (tempdir().unwrap(), frames());
    let mut bytes = gzip(&pcap(PLAIN, &frames).bytes, 2);
    bytes.extend([0; 999]);
    let path = save(folder.path(), "a", &bytes);
    let all = read(std::slice::from_ref(&path), &spec(Duration::from_secs(1)));
    assert_eq!((all.error, all.frames.len()), (None, frames.len()));
    let at = bytes.len() - 999;
    bytes[at] = b'x';
    std::fs::write(&path, &bytes).unwrap();
    let all = read(&[path], &spec(Duration::from_secs(1)));
    assert_eq!(all.frames.len(), frames.len());
    assert!(all.error.unwrap().contains("other bytes follow the last gzip member"));
}

#[test]
fn a_zstd_window_too_large_for_memory_is_named() {
    let folder = tempdir().unwrap();
    let mut bytes = Vec::new();
    let mut encoder = zstd::stream::write::Encoder::new(&mut bytes, 1).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.window_log(28).unwrap();
    std::io::Write::write_all(&mut encoder, &pcap(PLAIN, &frames()).bytes).unwrap();
    encoder.finish().unwrap();
    let all = read(&[save(folder.path(), "a", &bytes)], &spec(Duration::from_secs(1)));
    assert!(all.error.unwrap().contains("zstd --long=27"));
}
