//! Captures cut off, bent, or full of lies.

use std::io::Read;

use proptest::prelude::*;
use tempfile::tempdir;

use super::written::*;
use super::*;

fn plain(count: u64) -> Vec<Frame> {
    (0..count).map(|n| frame(1_000_000_000_000 + n * 1_000_000, 50 + (n % 40) as usize)).collect()
}

fn one(bytes: &[u8], lax: bool) -> All {
    let folder = tempdir().unwrap();
    let path = save(folder.path(), "capture", bytes);
    read(&[path], &SourceSpec { lax, ..SourceSpec::default() })
}

#[test]
fn a_record_beyond_snap_length_is_an_error_after_the_records_before_it() {
    for captured in [65_536, 70_000, 262_144, 262_145, 0x7fff_ffff, u32::MAX] {
        let mut written = pcap(PLAIN, &plain(10));
        let at = written.ends[3];
        written.bytes[at + 8..at + 12].copy_from_slice(&captured.to_le_bytes());
        // Enough bytes for the smaller lengths: they are refused for what follows them.
        written.bytes.resize(300_000, 0x55);
        let all = one(&written.bytes, false);
        assert_eq!(all.frames.len(), 4);
        let error = all.error.unwrap();
        let place = format!(
            "capture: record 5 at offset {at}: {captured} bytes captured, beyond the snap length of 65535: "
        );
        assert!(error.contains(&place), "{error}");
        assert!(error.contains("--lax"), "{error}");
    }
}

#[test]
fn lax_reads_records_beyond_snap_length_and_gives_a_file_up_at_impossible_ones() {
    let mut frames = plain(10);
    frames[4] = frame(frames[4].time, 262_144);
    let written = pcap(PLAIN, &frames);
    let all = one(&written.bytes, true);
    assert_eq!((all.error, all.frames.len(), all.counts.truncated_files), (None, 10, 0));
    let mut bytes = written.bytes;
    let at = written.ends[6];
    bytes[at + 8..at + 12].copy_from_slice(&262_145_u32.to_le_bytes());
    let all = one(&bytes, true);
    assert_eq!((all.error, all.frames.len(), all.counts.truncated_files), (None, 7, 1));
}

#[test]
fn a_wrong_snap_length_is_forgiven_where_records_follow_each_other() {
    let frames = plain(500);
    let written = pcap(Style { snap: 60, ..PLAIN }, &frames);
    let all = one(&written.bytes, false);
    assert_eq!((all.error, all.frames.len()), (None, 500));
}

#[test]
fn a_snap_length_of_none_allows_what_readers_accept() {
    for snap in [0, 0x8000_0000, u32::MAX] {
        let written = pcap(Style { snap, ..PLAIN }, &[frame(5, 262_144)]);
        assert_eq!(one(&written.bytes, false).frames.len(), 1);
        let written = pcap(Style { snap, ..PLAIN }, &[frame(5, 262_145)]);
        assert!(one(&written.bytes, false).error.unwrap().contains("beyond the snap length of 262144"));
    }
    let written = pcap(Style { snap: 1 << 20, ..PLAIN }, &[frame(5, 1 << 20), frame(6, 9)]);
    assert_eq!(one(&written.bytes, false).frames.len(), 2);
}

#[test]
fn a_corrupt_block_length_names_block_and_offset() {
    let written = pcapng(false, &plain(10));
    let at = written.ends[3];
    for (where_, length, what) in [
        (4, 0_u32, "cannot have a length of 0"),
        (4, 31, "cannot have a length of 31"),
        (4, 28, "cannot have a length of 28"),
        (4, u32::MAX, "cannot have a length of 4294967295"),
        (4, 1 << 25, "cannot have a length of 33554432"),
        (4, 64, "at its start and"),
        (20, 999, "999 bytes captured, but the block holds"),
        (8, 7, "its interface 7 is not among the 1 of the section"),
    ] {
        let mut bytes = written.bytes.clone();
        bytes[at + where_..at + where_ + 4].copy_from_slice(&length.to_le_bytes());
        let all = one(&bytes, false);
        assert_eq!(all.frames.len(), 4);
        let error = all.error.unwrap();
        assert!(
            error.contains(&format!("capture: block 7 at offset {at}: ")) && error.contains(what),
            "{error}"
        );
        let all = one(&bytes, true);
        assert_eq!((all.error, all.frames.len(), all.counts.truncated_files), (None, 4, 1));
    }
}

#[test]
fn a_header_of_another_version_is_an_error() {
    let mut bytes = pcap(PLAIN, &plain(2)).bytes;
    bytes[4] = 1;
    let error = one(&bytes, false).error.unwrap();
    assert!(error.contains("file header at offset 0: version 1.4 of pcap is not read"), "{error}");
    let mut bytes = pcapng(true, &plain(2)).bytes;
    bytes[13] = 2;
    let error = one(&bytes, false).error.unwrap();
    assert!(error.contains("block 1 at offset 0: version 2.0 of pcapng is not read"), "{error}");
}

#[test]
fn damaged_compressed_data_is_an_error_after_the_records_before_it() {
    let frames: Vec<Frame> = plain(20_000);
    let bytes = pcap(PLAIN, &frames).bytes;
    for mut packed in [gzip(&bytes, 9), zstandard(&bytes, 9)] {
        let at = packed.len() / 2;
        packed[at..at + 20].fill(0xff);
        let all = one(&packed, false);
        assert!(!all.frames.is_empty() && all.frames.len() < frames.len());
        assert!(all.error.unwrap().contains("capture: compressed data at offset "));
        let lax = one(&packed, true);
        assert_eq!((lax.error, lax.frames.len(), lax.counts.truncated_files), (None, all.frames.len(), 1));
    }
}

#[test]
fn each_file_that_is_cut_short_is_named_once_with_where_and_why() {
    let folder = tempdir().unwrap();
    let written = pcap(PLAIN, &plain(4));
    let (at, bytes) = (written.ends[2], &written.bytes);
    let mut damaged = bytes.clone();
    damaged[at + 8..at + 12].fill(0xff);
    let packed = gzip(bytes, 9);
    for (name, bytes) in [
        ("a.pcap", &bytes[..at + 20]),
        ("b.pcap", &damaged),
        ("c.pcap.gz", &packed[..packed.len() - 9]),
        ("d.pcap", &bytes[..10]),
        ("e.pcap.gz", &packed[..11]),
        ("f.pcap", b"no capture"),
        ("g.pcap", &bytes[..]),
        ("h.txt", b"no capture"),
    ] {
        save(folder.path(), name, bytes);
    }
    let all = read(&[folder.path().to_owned()], &SourceSpec { lax: true, ..SourceSpec::default() });
    let expected = [
        format!("a.pcap: ends inside what begins at offset {at}"),
        format!("b.pcap: record 4 at offset {at}: "),
        "c.pcap.gz: ends inside its compressed data, after ".to_owned(),
        "d.pcap: ends inside what begins at offset 0".to_owned(),
        "e.pcap.gz: ends before it can be told what it holds".to_owned(),
        "f.pcap: begins with 6e 6f 20 63, which is no capture".to_owned(),
    ];
    assert_eq!((all.error, all.cut_short.len()), (None, expected.len()), "{:?}", all.cut_short);
    for (said, expected) in all.cut_short.iter().zip(&expected) {
        assert!(said.contains(expected) && !said.contains("--lax"), "{said}: {expected}");
    }
}

#[test]
fn lies_about_lengths_cost_no_memory() {
    let mut written = pcap(Style { snap: 0x7fff_ffff, ..PLAIN }, &plain(3));
    written.word(9).word(9).word(16 << 20).word(16 << 20);
    let all = one(&written.bytes, false);
    assert_eq!((all.frames.len(), all.counts.truncated_files), (3, 1));
    assert!(all.largest < 2 << 20, "{}", all.largest);
    let mut written = pcapng(false, &plain(3));
    written.word(6).word(16 << 20).word(0);
    let all = one(&written.bytes, false);
    assert_eq!((all.frames.len(), all.counts.truncated_files), (3, 1));
    assert!(all.largest < 2 << 20, "{}", all.largest);
}

#[test]
fn sections_of_endless_interfaces_are_refused() {
    let mut written = Written::new(false);
    written.section(false);
    for _ in 0..70_000 {
        written.interface(1, 0, &[]);
    }
    written.enhanced(0, 5, &frame(5, 9));
    assert!(one(&written.bytes, false).error.unwrap().contains("more than 65536 interfaces"));
}

/// How a capture of the property tests is stored.
#[derive(Clone, Copy, Debug)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Gzip => gzip(bytes, 3),
        Packing::Zstd => zstandard(bytes, 3),
    }
}

/// As much as a plain decoder unpacks of what is cut off.
fn unpack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = match packing {
        Packing::Plain => return bytes.to_vec(),
        Packing::Gzip => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out),
        Packing::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out),
    };
    out
}

fn any_frames() -> impl Strategy<Value = Vec<Frame>> {
    let fields = (0_u64..5_000_000_000_000, 0_usize..400, 0_u32..3000);
    proptest::collection::vec(fields, 0..60).prop_map(|frames| {
        let frames = frames.into_iter();
        frames
            .map(|(time, length, more)| Frame { original: length as u32 + more, ..frame(time, length) })
            .collect()
    })
}

fn any_written() -> impl Strategy<Value = Written> {
    (any_frames(), any::<[bool; 4]>(), 2_u16..5).prop_map(
        |(frames, [pcapng_, big, nano, modified], minor)| {
            if pcapng_ {
                pcapng(big, &frames)
            } else {
                pcap(Style { big, nano, modified, minor, ..PLAIN }, &frames)
            }
        },
    )
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} frames, {:02x?}", self.ends.len(), self.bytes)
    }
}

fn any_packing() -> impl Strategy<Value = Packing> {
    prop_oneof![Just(Packing::Plain), Just(Packing::Gzip), Just(Packing::Zstd)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_whole_records_before_a_cut_are_delivered(
        written in any_written(), packing in any_packing(), at in any::<prop::sample::Index>(),
    ) {
        let packed = pack(packing, &written.bytes);
        let packed = &packed[..at.index(packed.len() + 1)];
        let kept = unpack(packing, packed).len();
        let whole = written.ends.iter().filter(|end| **end <= kept).count();
        let all = one(packed, false);
        prop_assert_eq!(all.frames.len(), whole, "{:?}", &all.error);
        // Only what is cut off before it says what it is cannot be told from another file.
        prop_assert!(all.error.is_none() || kept < 4, "{:?}", &all.error);
        let ends = written.ends.contains(&kept) || kept == written.bytes.len();
        if all.error.is_none() && kept > 24 && !ends && matches!(packing, Packing::Plain) {
            // In pcapng a cut between blocks of other kinds is none that anybody can see.
            let seen = all.counts.truncated_files == 1;
            prop_assert!(seen || written.bytes[0] == 0x0a, "cut at {}", kept);
        }
    }

    #[test]
    fn bent_bytes_never_end_in_more_than_an_error(
        written in any_written(), packing in any_packing(), lax in any::<bool>(),
        bits in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..6),
    ) {
        let mut packed = pack(packing, &written.bytes);
        for (at, bit) in bits {
            let at = at.index(packed.len());
            packed[at] ^= 1 << bit;
        }
        let all = one(&packed, lax);
        prop_assert!(all.largest < 2 << 20, "{} bytes for {}", all.largest, packed.len());
        prop_assert!(all.frames.len() <= packed.len());
    }

    #[test]
    fn any_bytes_after_a_magic_are_survived(
        magic in prop::sample::select(vec![
            vec![0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4], vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0],
            vec![0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0],
            vec![0x1f, 0x8b, 8, 0], vec![0x28, 0xb5, 0x2f, 0xfd],
        ]),
        bytes in proptest::collection::vec(prop_oneof![Just(0), 0..9_u8, any::<u8>()], 0..600),
        lax in any::<bool>(),
    ) {
        let all = one(&[magic, bytes].concat(), lax);
        prop_assert!(all.largest < 2 << 20);
    }
}
