//! What the kernel says, byte by byte; then real interfaces in network namespaces without a name, which
//! end with the threads that made them.

use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;

use proptest::prelude::*;

use super::super::interface::{Live, wall_clock};
use super::super::{Feed, Next, SourceError};
use super::*;

const SECOND: u64 = 1_000_000_000;

/// A control message as the kernel writes it.
fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((size_of::<usize>() + 8 + data.len()).to_ne_bytes());
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
    bytes
}

fn stamped(seconds: i64, nanoseconds: i64) -> Vec<u8> {
    let data = [seconds.to_ne_bytes(), nanoseconds.to_ne_bytes()].concat();
    message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &data)
}

fn auxiliary(status: u32, control: u16, kind: u16) -> Vec<u8> {
    let mut data = status.to_ne_bytes().to_vec();
    data.extend([0xAA; 12]);
    data.extend(control.to_ne_bytes());
    data.extend(kind.to_ne_bytes());
    message(libc::SOL_PACKET, libc::PACKET_AUXDATA, &data)
}

#[test]
fn stamps_and_tags_are_found_among_other_messages() {
    let both = libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID;
    let other = message(1, 77, &[1, 2, 3]);
    let control = [other, auxiliary(both, 0x2005, 0x88A8), stamped(5, 7)].concat();
    let found = Beside::parse(&control);
    assert_eq!(found, Beside { stamp: Some(5_000_000_007), tag: Some([0x88, 0xA8, 0x20, 0x05]) });
    assert_eq!(Beside::parse(&[]), Beside::default());
    assert_eq!(Beside::parse(&stamped(-1, 0)).stamp, None);
    assert_eq!(Beside::parse(&stamped(i64::MAX, 0)).stamp, None);
    let narrow = [5_i32.to_ne_bytes(), 7_i32.to_ne_bytes()].concat();
    assert_eq!(stamp(&narrow), Some(5_000_000_007));
}

#[test]
fn a_tag_is_told_by_its_flag_or_its_number() {
    let valid = libc::TP_STATUS_VLAN_VALID;
    let tag = |status, control, kind| Beside::parse(&auxiliary(status, control, kind)).tag;
    assert_eq!(tag(0, 0, 0), None);
    assert_eq!(tag(valid, 0, 0), Some([0x81, 0, 0, 0]));
    assert_eq!(tag(0, 0x0FFF, 0), Some([0x81, 0, 0x0F, 0xFF]));
    // Without the flag that says so, what stands in the place of the kind is no kind.
    assert_eq!(tag(valid, 9, 0x88A8), Some([0x81, 0, 0, 9]));
}

#[test]
fn a_tag_goes_behind_the_addresses_of_ethernet_frames_only() {
    let frame: Vec<u8> = (0..20).collect();
    let tag = Some([0x81, 0, 0, 9]);
    let whole = |link, frame: &[u8], tag| {
        let mut block = Block { bytes: vec![0xEE; 5], ..Block::default() };
        append(&mut block, link, frame, 1500, 3, tag);
        let record = block.records[0];
        assert_eq!((record.at, record.time, record.link), (5, 3, link));
        assert_eq!(record.captured as usize, block.bytes.len() - 5);
        (block.bytes.split_off(5), record.original)
    };
    let tagged = [&frame[..12], &[0x81, 0, 0, 9], &frame[12..]].concat();
    assert_eq!(whole(ETHERNET, &frame, tag), (tagged, 1504));
    assert_eq!(whole(ETHERNET, &frame, None), (frame.clone(), 1500));
    assert_eq!(whole(RAW, &frame, tag), (frame.clone(), 1500));
    assert_eq!(whole(ETHERNET, &frame[..11], tag), (frame[..11].to_vec(), 1500));
}

#[test]
fn the_largest_frame_with_its_tag_put_back_is_one_that_readers_accept() {
    let mut block = Block::default();
    append(&mut block, ETHERNET, &vec![0; SLOT], u32::MAX, u64::MAX, Some([0; TAG]));
    assert_eq!(block.records[0].captured as usize, MAX_FRAME);
    assert_eq!((block.records[0].original, block.records[0].time), (u32::MAX, i64::MAX as u64));
}

#[test]
fn hardware_types_have_the_link_types_of_their_frames() {
    let known = [
        (1, 1),
        (772, 1),
        (512, 101),
        (519, 101),
        (768, 101),
        (769, 101),
        (776, 101),
        (778, 101),
        (823, 101),
        (65534, 101),
        (801, 105),
        (803, 127),
    ];
    for (hardware, link) in known {
        assert_eq!(link_of(hardware), Some(link), "{hardware}");
    }
    let read = (0..=u16::MAX).filter(|hardware| link_of(*hardware).is_some()).count();
    assert_eq!(read, known.len());
}

proptest! {
    #[test]
    fn control_messages_of_any_bytes_are_read_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..CONTROL),
        length in 0..80_usize,
    ) {
        Beside::parse(&bytes);
        let mut plausible = length.to_ne_bytes().to_vec();
        plausible.extend([1, 0, 0, 0, libc::SCM_TIMESTAMPNS as u8, 0, 0, 0]);
        plausible.extend(&bytes);
        Beside::parse(&plausible);
    }
}

/// Runs a test on a thread with a network namespace of its own, unless this machine cannot.
fn alone(test: impl FnOnce() + Send + 'static) {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only root may make a network namespace");
        return;
    }
    if Command::new("ip").arg("-Version").output().is_err() {
        eprintln!("skipped: no `ip` (iproute2)");
        return;
    }
    let thread = std::thread::spawn(move || {
        // SAFETY: no pointers; only this thread changes.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            eprintln!("skipped: no network namespace: {}", io::Error::last_os_error());
            return;
        }
        // Nothing but what a test sends: no neighbour or router discovery. Where IPv6 is missing so are these.
        for conf in ["all", "default"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1");
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) -> String {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Both ends of a cable: what is sent into `near` comes out of `far`.
fn cable() {
    ip("link add near mtu 60000 type veth peer name far mtu 60000");
    ip("link set near up");
    ip("link set far up");
    // What is sent before the kernel has noticed the carrier is lost.
    for end in ["near", "far"] {
        for wait in 0.. {
            assert!(wait < 1000, "{end} has no carrier");
            if ip(&format!("link show {end}")).contains("state UP") {
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
}

/// Sends whole frames.
struct Sender(File);

impl Sender {
    fn to(name: &str) -> Sender {
        // SAFETY: no pointers, then a descriptor that nobody else owns.
        let socket = unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            assert!(socket >= 0);
            OwnedFd::from_raw_fd(socket)
        };
        let name = CString::new(name).unwrap();
        // SAFETY: a string that ends with zero.
        bind(&socket, unsafe { libc::if_nametoindex(name.as_ptr()) }).unwrap();
        Sender(File::from(socket))
    }

    fn send(&mut self, frame: &[u8]) {
        assert_eq!(self.0.write(frame).unwrap(), frame.len());
    }
}

/// Waits until frames on a cable are stamped as they come: the kernel begins with that some time after a socket has asked for
/// it, and stamps what came before when it is read. It goes on for as long as the socket lives.
fn stamping(from: &str, to: &str) -> Socket {
    let (mut socket, mut sender) = (Socket::open(to).unwrap(), Sender::to(from));
    let give_up = wall_clock() + 30 * SECOND;
    for sent in 1.. {
        sender.send(&frame(0, 60));
        while socket.counts().received < sent {
            assert!(wall_clock() < give_up, "{sent} frames were sent and do not arrive");
            sleep(Duration::from_millis(1));
        }
        let come = wall_clock();
        sleep(Duration::from_millis(10));
        let mut block = Block::default();
        socket.take(&mut block).unwrap();
        if block.records.last().unwrap().time < come {
            break;
        }
        assert!(wall_clock() < give_up, "frames are not stamped as they come");
    }
    socket
}

/// An Ethernet frame of an experimental ethertype that says its number.
fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xB5];
    frame.extend(number.to_be_bytes());
    frame.resize(length, number as u8);
    frame
}

/// Time, bytes, length on the wire.
type Frame = (u64, Vec<u8>, u32);

struct Listener {
    live: Live,
    stop: Arc<AtomicBool>,
    /// Counts what has arrived. Opened first, it has its copy of a frame after the other.
    witness: Socket,
}

impl Listener {
    fn on(name: &str) -> Listener {
        let witness = Socket::open(name).unwrap();
        Listener::new(witness, Socket::open(name).unwrap())
    }

    fn new(witness: Socket, socket: Socket) -> Listener {
        let stop = Arc::<AtomicBool>::default();
        Listener {
            live: Live::new(Box::new(socket), SECOND, crate::tally::Stop::by(stop.clone())),
            stop,
            witness,
        }
    }

    /// Waits until as many frames as were sent have crossed the cable: a busy kernel takes its time.
    fn wait(&mut self, sent: u64) {
        let give_up = wall_clock() + 30 * SECOND;
        while self.witness.counts().received < sent {
            assert!(wall_clock() < give_up, "{sent} frames were sent and do not arrive");
            sleep(Duration::from_millis(1));
        }
    }

    /// Sends frames, and waits until they have crossed the cable, before which `sent` did. Not all at once: a kernel that has
    /// no time for them keeps a thousand (`netdev_max_backlog`) and drops the others.
    fn cross(&mut self, sender: &mut Sender, frames: &[Vec<u8>], mut sent: u64) {
        for burst in frames.chunks(250) {
            burst.iter().for_each(|frame| sender.send(frame));
            sent += burst.len() as u64;
            self.wait(sent);
        }
    }

    /// Everything until the end, or the error that ended it.
    fn rest(&mut self) -> (Vec<Frame>, Option<SourceError>) {
        let (mut block, mut frames) = (Block::default(), Vec::new());
        loop {
            match self.live.next(&mut block) {
                Ok(Next::Block) => {
                    for record in &block.records {
                        let at = record.at as usize;
                        let bytes = block.bytes[at..at + record.captured as usize].to_vec();
                        frames.push((record.time, bytes, record.original));
                    }
                }
                Ok(Next::Idle) => sleep(Duration::from_millis(2)),
                Ok(Next::End) => return (frames, self.live.ended_by()),
                Err(error) => return (frames, Some(error)),
            }
        }
    }

    fn stop(&mut self) -> Vec<Frame> {
        self.stop.store(true, Relaxed);
        let (frames, error) = self.rest();
        assert!(error.is_none(), "{error:?}");
        frames
    }
}

#[test]
fn frames_come_whole_in_order_with_the_time_at_which_they_came() {
    alone(|| {
        cable();
        let _stamping = stamping("near", "far");
        let mut listener = Listener::on("far");
        let mut sender = Sender::to("near");
        let before = wall_clock();
        let sent: Vec<Vec<u8>> = (0..3000).map(|number| frame(number, 60 + number as usize % 1400)).collect();
        listener.cross(&mut sender, &sent, 0);
        let long = frame(7, 60_014);
        sender.send(&long);
        listener.wait(3001);
        let after = wall_clock();
        let came = listener.stop();
        assert_eq!(came.len(), 3001);
        for (frame, (time, bytes, original)) in sent.iter().chain([&long]).zip(&came) {
            assert_eq!((bytes, *original as usize), (frame, frame.len()));
            // Clocks of two processors may be some microseconds apart.
            assert!((before..=after + 1_000_000).contains(time), "{before} {time} {after}");
        }
        assert!(came.is_sorted_by_key(|(time, ..)| *time));
        let counts = listener.live.counts();
        assert_eq!((counts.frames, counts.received, counts.dropped, counts.late), (3001, 3001, 0, 0));
        assert_eq!(counts.bytes_read, came.iter().map(|(_, bytes, _)| bytes.len() as u64).sum::<u64>());
        assert!(listener.live.newest() >= came[3000].0, "watched until it was stopped");
    });
}

#[test]
fn what_comes_after_the_stop_is_not_taken() {
    alone(|| {
        cable();
        let mut listener = Listener::on("far");
        let mut sender = Sender::to("near");
        listener.cross(&mut sender, &(0..2500).map(|number| frame(number, 60)).collect::<Vec<_>>(), 0);
        listener.stop.store(true, Relaxed);
        let mut block = Block::default();
        assert_eq!(listener.live.next(&mut block).unwrap(), Next::Block);
        let first = block.records.len();
        (0..100).for_each(|number| sender.send(&frame(number, 60)));
        listener.wait(2600);
        assert_eq!(first + listener.stop().len(), 2500);
        assert_eq!(listener.live.counts().received, 2500);
    });
}

#[test]
fn tags_that_the_kernel_takes_off_are_put_back() {
    alone(|| {
        cable();
        let mut listener = Listener::on("far");
        let mut sender = Sender::to("near");
        let tagged = |tags: &[u8]| {
            let plain = frame(1, 80);
            [&plain[..12], tags, &plain[12..]].concat()
        };
        let sent = [
            tagged(&[0x81, 0, 0x60, 0x2A]),
            tagged(&[0x81, 0, 0, 0]),
            tagged(&[0x88, 0xA8, 0, 7, 0x81, 0, 0, 9]),
            frame(4, 60),
        ];
        sent.iter().for_each(|frame| sender.send(frame));
        listener.wait(4);
        let came = listener.stop();
        let bytes: Vec<&[u8]> = came.iter().map(|(_, bytes, _)| &bytes[..]).collect();
        assert_eq!(bytes, sent);
        assert!(came.iter().all(|(_, bytes, original)| bytes.len() == *original as usize));
    });
}

#[test]
fn the_loopback_gives_each_packet_once() {
    alone(|| {
        ip("link set lo up");
        let mut listener = Listener::on("lo");
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..50_u8 {
            from.send_to(&[number; 40], to.local_addr().unwrap()).unwrap();
        }
        listener.wait(50);
        let came = listener.stop();
        let last: Vec<u8> = came.iter().map(|(_, bytes, _)| *bytes.last().unwrap()).collect();
        assert_eq!(last, Vec::from_iter(0..50));
        assert!(came.iter().all(|(_, bytes, _)| bytes.len() == 14 + 20 + 8 + 40));
        let counts = listener.live.counts();
        assert_eq!((counts.received, counts.dropped), (50, 0));
    });
}

#[test]
fn the_loopback_of_this_machine_can_be_listened_to() {
    let mut listener = match Socket::open("lo") {
        Ok(witness) => Listener::new(witness, Socket::open("lo").unwrap()),
        Err(error @ (InterfaceError::Forbidden { .. } | InterfaceError::Down { .. })) => {
            eprintln!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mark = format!("netweir {} {:?}", std::process::id(), socket.local_addr().unwrap());
    socket.send_to(mark.as_bytes(), socket.local_addr().unwrap()).unwrap();
    // What the socket receives has passed its listeners.
    socket.recv(&mut [0; 200]).unwrap();
    let came = listener.stop();
    let ours = came.iter().filter(|(_, bytes, _)| bytes.ends_with(mark.as_bytes())).count();
    assert_eq!(ours, 1, "of {} frames", came.len());
}

#[test]
fn a_quiet_interface_moves_the_frontier() {
    alone(|| {
        cable();
        let mut listener = Listener::on("far");
        Sender::to("near").send(&frame(0, 60));
        listener.wait(1);
        let mut block = Block::default();
        assert_eq!(listener.live.next(&mut block).unwrap(), Next::Block);
        let (time, first) = (block.records[0].time, listener.live.frontier());
        sleep(Duration::from_millis(30));
        assert_eq!(listener.live.next(&mut block).unwrap(), Next::Idle);
        assert!(listener.live.frontier() >= first + 30_000_000);
        assert!(listener.live.frontier() <= wall_clock() - SECOND);
        assert_eq!((listener.live.newest(), listener.live.counts().frames), (time, 1));
    });
}

#[test]
fn frames_that_found_no_room_are_counted() {
    alone(|| {
        cable();
        let (witness, socket) = (Socket::open("far").unwrap(), Socket::open("far").unwrap());
        set(&socket.socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &65_536_i32).unwrap();
        let mut listener = Listener::new(witness, socket);
        let mut sender = Sender::to("near");
        (0..2000).for_each(|number| sender.send(&frame(number, 60)));
        listener.wait(2000);
        let came = listener.stop().len() as u64;
        let counts = listener.live.counts();
        assert!(counts.dropped > 0 && came > 0);
        assert_eq!((counts.received, counts.frames), (2000, came));
        assert_eq!(counts.received, came + counts.dropped);
    });
}

#[test]
fn an_interface_that_goes_down_or_away_ends_the_feed_after_its_frames() {
    for loss in ["link set far down", "link del near"] {
        alone(move || {
            cable();
            let mut listener = Listener::on("far");
            let mut sender = Sender::to("near");
            (0..70).for_each(|number| sender.send(&frame(number, 60)));
            listener.wait(70);
            ip(loss);
            let (came, error) = listener.rest();
            assert_eq!(came.len(), 70, "{loss}");
            assert!(matches!(error, Some(SourceError::Interface(InterfaceError::Lost { .. }))), "{error:?}");
            assert_eq!(listener.live.counts().received, 70);
        });
    }
}

#[test]
fn an_interface_that_is_down_is_an_error_at_once() {
    alone(|| {
        let error = Socket::open("lo").err().unwrap().to_string();
        assert!(error.starts_with("lo: the interface is down"), "{error}");
    });
}

#[test]
fn an_unknown_interface_is_told_with_those_that_there_are() {
    alone(|| {
        cable();
        for name in ["eht0", "", "a name that is longer than any may be", "zero\0within"] {
            match Socket::open(name).err().unwrap() {
                InterfaceError::Unknown { name: asked, there } => {
                    assert_eq!(asked, name);
                    let ours = |name: &&str| there.iter().any(|there| there == name);
                    assert!(["lo", "near", "far"].iter().all(ours), "{there:?}");
                }
                error => panic!("{error}"),
            }
        }
    });
}

#[test]
fn without_the_right_to_listen_the_message_says_how_to_get_it() {
    alone(|| {
        ip("link set lo up");
        // SAFETY: no pointers. The bare system call changes this thread alone; it ends with the test.
        let done = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        let error = Socket::open("lo").err().unwrap();
        assert!(matches!(error, InterfaceError::Forbidden { .. }), "{error}");
    });
}
