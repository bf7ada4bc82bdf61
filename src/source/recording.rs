//! A feed that keeps what it hands out: every frame, with the time at which it was used, in a pcap file.
//!
//! The file is classic pcap with nanoseconds, in little-endian order
//! (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html>). Read again it gives the same frames
//! at the same times, and so the same rows. It grows under its name with `.part` behind, and takes its
//! name when the feed has ended; a run that breaks off leaves the `.part`, whole up to its last block. Frames that an
//! earlier run recorded may be all that there is of them: what had either name is kept under it with `.1` behind or,
//! where there is one, `.2` and so on.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::interface::MAX_FRAME;
use super::{Block, Feed, FeedCounts, Next, SourceError};
use crate::draft::{DraftError, create_like, is_file_or_free, is_held_elsewhere, led_to};

/// Says that fractions of a second are nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
/// Where the header has two fields that writers leave empty and readers pass over. A recording says there until
/// when the wire was watched: windows that closed on a quiet wire must close so again.
const UNTIL: u64 = 8;
/// Link type of a file without frames.
const ETHERNET: u16 = 1;
const SECOND: u64 = 1_000_000_000;

/// What can go wrong with a recording. Each is one line: the file, what, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The file cannot be written.
    #[error("{}: cannot write the recording: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its name is that of something else.
    #[error(transparent)]
    Name(#[from] DraftError),
    /// Frames of two link types.
    #[error(
        "{}: frames of link types {first} and {other} do not fit one pcap file: record one interface",
        path.display()
    )]
    Links {
        /// The file.
        path: PathBuf,
        /// Link type of the frames before.
        first: u16,
        /// Link type of the frame that does not fit.
        other: u16,
    },
    /// A time that the format cannot say.
    #[error("{}: a frame at second {second} since 1970 lies beyond what pcap can say (year 2106)", path.display())]
    Time {
        /// The file.
        path: PathBuf,
        /// The frame's time in seconds since the Unix epoch.
        second: u64,
    },
}

/// Records what `inner` hands out to the file `path`, or to what that leads to.
///
/// # Errors
/// [`RecordingError`] if the file cannot be written.
pub fn record(inner: Box<dyn Feed>, path: &Path) -> Result<Box<dyn Feed>, RecordingError> {
    Ok(Box::new(Recording::new(inner, path)?))
}

/// The name of a recording while it grows: beside what the name leads to.
pub fn part_of(path: &Path) -> PathBuf {
    with_behind(&led_to(path).unwrap_or_else(|_| path.to_owned()), ".part")
}

fn with_behind(path: &Path, behind: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(behind);
    PathBuf::from(name)
}

struct Recording {
    inner: Box<dyn Feed>,
    path: PathBuf,
    part: PathBuf,
    /// The growing file; `None` once it has its name.
    file: Option<File>,
    /// Link type of the file, once a frame told it.
    link: Option<u16>,
    /// A block as it stands in the file.
    bytes: Vec<u8>,
    /// Bytes of whole blocks in the file.
    whole: u64,
    /// Why no more can be written: it ends the feed, as an interface does that is lost.
    fault: Option<RecordingError>,
    over: bool,
}

/// Gives what earlier runs left under a name another one.
fn keep(path: &Path) -> io::Result<()> {
    let mut numbered = (1..=u32::MAX).map(|number| with_behind(path, &format!(".{number}")));
    let free = numbered.find(|path| path.symlink_metadata().is_err());
    std::fs::rename(path, free.ok_or(ErrorKind::AlreadyExists)?)
}

/// Begins the file that grows, with the rights of the recording that was there before.
fn begin(part: &Path, before: Option<&Metadata>) -> io::Result<File> {
    let held = |file: File| match is_held_elsewhere(&file) {
        true => Err(io::Error::new(ErrorKind::ResourceBusy, "another run writes it")),
        false => Ok(file),
    };
    match create_like(part, before) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let left = held(OpenOptions::new().write(true).open(part)?)?;
            if left.metadata()?.len() == 0 {
                return Ok(left);
            }
            keep(part)?;
            // Held, as the one that it replaces was.
            held(create_like(part, before)?)
        }
        file => held(file?),
    }
}

impl Recording {
    fn new(inner: Box<dyn Feed>, path: &Path) -> Result<Recording, RecordingError> {
        is_file_or_free(path)?;
        let part = part_of(path);
        is_file_or_free(&part)?;
        let file = begin(&part, path.metadata().ok().as_ref())
            .map_err(|source| RecordingError::Write { path: part.clone(), source })?;
        let (path, bytes) = (path.to_owned(), Vec::new());
        Ok(Recording {
            inner,
            path,
            part,
            file: Some(file),
            link: None,
            bytes,
            whole: 0,
            fault: None,
            over: false,
        })
    }

    fn write(&mut self, block: &Block) -> Result<(), RecordingError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        self.bytes.clear();
        for record in &block.records {
            let first = *self.link.get_or_insert_with(|| {
                self.bytes.extend_from_slice(&header(record.link));
                record.link
            });
            if record.link != first {
                let (path, other) = (self.path.clone(), record.link);
                return Err(RecordingError::Links { path, first, other });
            }
            let second = record.time / SECOND;
            let Ok(seconds) = u32::try_from(second) else {
                return Err(RecordingError::Time { path: self.path.clone(), second });
            };
            let fields = [seconds, (record.time % SECOND) as u32, record.captured, record.original];
            fields.iter().for_each(|field| self.bytes.extend_from_slice(&field.to_le_bytes()));
            let at = record.at as usize;
            self.bytes.extend_from_slice(&block.bytes[at..at + record.captured as usize]);
        }
        if let Err(source) = file.write_all(&self.bytes) {
            // What was written of the block would be a damaged end.
            let _ = file.set_len(self.whole);
            return Err(RecordingError::Write { path: self.part.clone(), source });
        }
        self.whole += self.bytes.len() as u64;
        Ok(())
    }

    /// Gives the file its name, with everything on the disk.
    fn finish(&mut self) -> Result<(), RecordingError> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let until = watched_until(self.inner.newest());
        let kept = || -> io::Result<()> {
            if self.link.is_none() {
                file.write_all(&header(ETHERNET))?;
            }
            file.seek(SeekFrom::Start(UNTIL))?;
            file.write_all(&until)?;
            file.sync_all()?;
            drop(file);
            let target = led_to(&self.path)?;
            if target.metadata().is_ok_and(|before| before.len() > header(ETHERNET).len() as u64) {
                keep(&target)?;
            }
            std::fs::rename(&self.part, &target)?;
            sync_folder(&target);
            Ok(())
        };
        kept().map_err(|source| RecordingError::Write { path: self.path.clone(), source })
    }
}

/// Until when the wire was watched, as the header's two reserved fields hold it; zeros for a time that they
/// cannot.
fn watched_until(time: u64) -> [u8; 8] {
    let mut fields = [0; 8];
    if let Ok(seconds) = u32::try_from(time / SECOND) {
        fields[..4].copy_from_slice(&seconds.to_le_bytes());
        fields[4..].copy_from_slice(&((time % SECOND) as u32).to_le_bytes());
    }
    fields
}

/// The new name reaches the disk with its folder. Not every file system offers this, and the frames
/// are safe without it: so what goes wrong here goes unsaid.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// The file's header: version 2.4, times in UTC, frames up to [`MAX_FRAME`].
fn header(link: u16) -> [u8; 24] {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..6].copy_from_slice(&2_u16.to_le_bytes());
    header[6..8].copy_from_slice(&4_u16.to_le_bytes());
    header[16..20].copy_from_slice(&(MAX_FRAME as u32).to_le_bytes());
    header[20..].copy_from_slice(&u32::from(link).to_le_bytes());
    header
}

impl Feed for Recording {
    fn frontier(&self) -> u64 {
        if self.over { u64::MAX } else { self.inner.frontier() }
    }

    fn newest(&self) -> u64 {
        self.inner.newest()
    }

    fn next(&mut self, block: &mut Block) -> Result<Next, SourceError> {
        if self.fault.is_some() || self.over {
            block.bytes.clear();
            block.records.clear();
            self.over = true;
            return Ok(Next::End);
        }
        match self.inner.next(block) {
            // The block is used all the same: what was received until now is to be judged.
            Ok(Next::Block) => self.fault = self.write(block).err(),
            Ok(Next::Idle) => return Ok(Next::Idle),
            Ok(Next::End) => {
                self.fault = self.finish().err();
                self.over = true;
                return Ok(Next::End);
            }
            Err(error) => {
                // An interface that is lost ends the recording as it ends the run; its error says more
                // than one of the file would.
                let _ = self.finish();
                return Err(error);
            }
        }
        Ok(Next::Block)
    }

    fn counts(&self) -> FeedCounts {
        self.inner.counts()
    }

    fn ended_by(&mut self) -> Option<SourceError> {
        self.fault.take().map(SourceError::from).or_else(|| self.inner.ended_by())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use pcap_file::pcap::PcapReader;
    use proptest::prelude::*;

    use super::super::Record;
    use super::super::interface::InterfaceError;
    use super::*;

    /// A feed of blocks made before.
    struct Given {
        blocks: VecDeque<Block>,
        fault: Option<SourceError>,
    }

    impl Feed for Given {
        fn frontier(&self) -> u64 {
            if self.blocks.is_empty() { u64::MAX } else { 0 }
        }

        fn newest(&self) -> u64 {
            7
        }

        fn next(&mut self, block: &mut Block) -> Result<Next, SourceError> {
            match self.blocks.pop_front() {
                Some(next) => *block = next,
                None => return self.fault.take().map_or(Ok(Next::End), Err),
            }
            Ok(if block.records.is_empty() { Next::Idle } else { Next::Block })
        }

        fn counts(&self) -> FeedCounts {
            FeedCounts { frames: 9, ..FeedCounts::default() }
        }
    }

    /// A block of frames (time, bytes, original length), with strange bytes between them.
    fn block(frames: &[(u64, Vec<u8>, u32)]) -> Block {
        let mut block = Block::default();
        for (time, bytes, original) in frames {
            block.bytes.extend_from_slice(&[0xEE; 3]);
            let (at, captured) = (block.bytes.len() as u32, bytes.len() as u32);
            block.bytes.extend_from_slice(bytes);
            block.records.push(Record { time: *time, at, captured, original: *original, link: 1 });
        }
        block
    }

    fn given(blocks: impl IntoIterator<Item = Block>) -> Box<dyn Feed> {
        Box::new(Given { blocks: blocks.into_iter().collect(), fault: None })
    }

    fn run(feed: &mut dyn Feed) -> Result<(), SourceError> {
        let mut block = Block::default();
        while feed.next(&mut block)? != Next::End {}
        Ok(())
    }

    /// Why a feed ends before its time.
    fn ended_by(feed: &mut dyn Feed) -> String {
        run(feed).unwrap();
        feed.ended_by().unwrap().to_string()
    }

    fn read(path: &Path) -> Vec<(u64, Vec<u8>, u32)> {
        let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
        let mut frames = Vec::new();
        while let Some(packet) = reader.next_packet() {
            let packet = packet.unwrap();
            let time = packet.timestamp().as_nanos() as u64;
            frames.push((time, packet.data().to_vec(), packet.orig_len()));
        }
        frames
    }

    proptest! {
        #[test]
        fn a_recording_holds_every_frame_with_its_time_and_lengths(
            blocks in prop::collection::vec(
                prop::collection::vec(
                    (0..u64::from(u32::MAX) * SECOND, prop::collection::vec(any::<u8>(), 0..90), 0..9000_u32),
                    0..9,
                ),
                0..6,
            )
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("all.pcap");
            // The length on the wire is never less than what was captured.
            let blocks: Vec<Vec<_>> = blocks
                .into_iter()
                .map(|frames| {
                    frames
                        .into_iter()
                        .map(|(time, bytes, more)| { let long = bytes.len() as u32 + more; (time, bytes, long) })
                        .collect()
                })
                .collect();
            let mut feed = record(given(blocks.iter().map(|frames| block(frames))), &path).unwrap();
            run(&mut *feed).unwrap();
            prop_assert_eq!(read(&path), blocks.concat());
        }
    }

    #[test]
    fn the_file_takes_its_name_only_when_the_feed_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        let frames = [(5, vec![1, 2, 3], 60)];
        std::fs::write(&path, "older").unwrap();
        let mut feed = record(given([block(&frames), Block::default()]), &path).unwrap();
        let mut taken = Block::default();
        assert_eq!(feed.next(&mut taken).unwrap(), Next::Block);
        assert_eq!(taken.records.len(), 1);
        assert_eq!(feed.next(&mut taken).unwrap(), Next::Idle);
        assert_eq!(std::fs::read(&path).unwrap(), b"older");
        for _ in 0..2 {
            assert_eq!(feed.next(&mut taken).unwrap(), Next::End);
            assert_eq!(read(&path), frames);
        }
        assert_eq!((feed.frontier(), feed.newest(), feed.counts().frames), (u64::MAX, 7, 9));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_recording_of_an_earlier_run_is_kept_if_there_are_frames_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        let recorded = |blocks| run(&mut *record(given(blocks), &path).unwrap()).unwrap();
        recorded(vec![]);
        for time in 1..4 {
            recorded(vec![block(&[(time, vec![1], 1)])]);
        }
        let names = ["f.pcap.1", "f.pcap.2", "f.pcap"];
        let times: Vec<u64> = names.iter().map(|name| read(&folder.path().join(name))[0].0).collect();
        assert_eq!(times, [1, 2, 3]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_who_may_read_stays_the_same() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [link, there] = ["link.pcap", "big/there.pcap"].map(|name| folder.path().join(name));
        std::fs::create_dir(folder.path().join("big")).unwrap();
        std::fs::write(&there, "older").unwrap();
        std::fs::set_permissions(&there, std::fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&there, &link).unwrap();
        let mut feed = record(given([block(&[(5, vec![1], 1)])]), &link).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("big/there.pcap.part")), 0o600);
        run(&mut *feed).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!((read(&there)[0].0, mode(&there)), (5, 0o600));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        let refused = || record(given([]), &path).err().unwrap().to_string();
        for name in [part_of(&path), path.clone()] {
            let pipe = std::process::Command::new("mkfifo").arg(&name).status();
            if !pipe.is_ok_and(|made| made.success()) {
                eprintln!("skipped: no mkfifo");
                return;
            }
            assert!(refused().contains("is no file that could be replaced"), "{}", refused());
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(refused().contains("is a folder"), "{}", refused());
    }

    #[test]
    fn a_recording_says_until_when_the_wire_was_watched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        for (last, until) in [(5, 7), (7, 7), (8, 8)] {
            run(&mut *record(given([block(&[(last, vec![1], 1)])]), &path).unwrap()).unwrap();
            let found = super::super::inputs::find(&[path.display().to_string()]).unwrap().found;
            let super::super::inputs::Found::Captures(inputs) = found else { panic!("a capture") };
            let mut captures = super::super::Captures::open(inputs, &Default::default()).unwrap();
            run(&mut captures).unwrap();
            assert_eq!(captures.newest(), until, "last frame at {last}");
        }
    }

    #[test]
    fn a_run_that_breaks_off_leaves_the_part_with_whole_frames() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        let frames = [(5, vec![1, 2, 3], 60), (6, vec![4], 1)];
        let mut feed = record(given([block(&frames)]), &path).unwrap();
        feed.next(&mut Block::default()).unwrap();
        drop(feed);
        assert!(!path.exists());
        assert_eq!(read(&folder.path().join("f.pcap.part")), frames);
    }

    #[test]
    fn what_runs_left_that_broke_off_is_kept_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        for time in 1..4 {
            let mut feed = record(given([block(&[(time, vec![1], 1)])]), &path).unwrap();
            feed.next(&mut Block::default()).unwrap();
        }
        // One that wrote nothing leaves nothing that is worth a name.
        drop((record(given([]), &path).unwrap(), record(given([]), &path).is_err()));
        run(&mut *record(given([block(&[(4, vec![1], 1)])]), &path).unwrap()).unwrap();
        let names = ["f.pcap.part.1", "f.pcap.part.2", "f.pcap.part.3", "f.pcap"];
        let times: Vec<u64> = names.iter().map(|name| read(&folder.path().join(name))[0].0).collect();
        assert_eq!(times, [1, 2, 3, 4]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_lost_interface_ends_the_recording_with_what_came_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        let frames = [(SECOND + 1, vec![9; 60], 60)];
        let fault = InterfaceError::Lost { name: "eth7".to_owned() }.into();
        let inner = Given { blocks: [block(&frames)].into(), fault: Some(fault) };
        let mut feed = record(Box::new(inner), &path).unwrap();
        assert!(run(&mut *feed).unwrap_err().to_string().starts_with("eth7: "));
        assert_eq!(read(&path), frames);
    }

    #[test]
    fn without_frames_the_file_is_empty_but_well_formed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        run(&mut *record(given([]), &path).unwrap()).unwrap();
        let mut expected = header(1);
        expected[8..16].copy_from_slice(&watched_until(7));
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        assert_eq!(read(&path), []);
    }

    #[test]
    fn two_link_types_are_an_error_that_names_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        let mut mixed = block(&[(5, vec![1], 1), (6, vec![2], 2)]);
        mixed.records[1].link = 101;
        let error = ended_by(&mut *record(given([mixed]), &path).unwrap());
        assert!(error.contains("link types 1 and 101") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_time_beyond_the_format_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        let last = Duration::from_secs(u32::MAX.into()).as_nanos() as u64 + SECOND - 1;
        run(&mut *record(given([block(&[(last, vec![1], 1)])]), &path).unwrap()).unwrap();
        assert_eq!(read(&path)[0].0, last);
        let error = ended_by(&mut *record(given([block(&[(last + 1, vec![1], 1)])]), &path).unwrap());
        assert!(error.contains("second 4294967296"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let error = record(given([]), &folder.path().join("no/f.pcap")).err().unwrap().to_string();
        assert!(error.contains("f.pcap.part: cannot write the recording: "), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_ends_the_run_with_all_that_came_and_leaves_the_part() {
        let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
            eprintln!("skipped: no /dev/full");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.pcap");
        let blocks = [1, 2].map(|time| block(&[(time, vec![1], 1)]));
        let mut feed = Recording::new(given(blocks), &path).unwrap();
        feed.file = Some(full);
        let mut taken = Block::default();
        assert_eq!(feed.next(&mut taken).unwrap(), Next::Block);
        assert_eq!((taken.records.len(), feed.frontier()), (1, 0), "it is judged all the same");
        for _ in 0..2 {
            assert_eq!(feed.next(&mut taken).unwrap(), Next::End);
            assert_eq!((taken.records.len(), feed.frontier()), (0, u64::MAX));
        }
        let error = feed.ended_by().unwrap().to_string();
        assert!(error.contains("cannot write the recording"), "{error}");
        assert!(!path.exists() && part_of(&path).exists());
    }
}
