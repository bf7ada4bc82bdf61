//! Linux packet sockets (`packet(7)`): frames of one interface, as the kernel passes them on.
//!
//! System calls stand here as they are, because what is needed (stamps, stripped tags, counters of
//! drops) is not in the standard library and no crate in use offers it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::interface::{InterfaceError, MAX_FRAME, Waiting, Wire, WireCounts};
use super::{Block, Record};

/// Frames of one system call.
const SLOTS: usize = 64;
/// Bytes of a frame that are taken; a stripped tag is put back beside them.
const SLOT: usize = MAX_FRAME - TAG;
/// Bytes of a VLAN tag.
const TAG: usize = 4;
/// Where it stands in an Ethernet frame: behind both addresses.
const TAG_AT: usize = 12;
/// Control messages of a frame: a stamp (32 bytes) and the auxiliary data (40 bytes), with room to spare.
const CONTROL: usize = 128;
/// What the kernel may hold for us (it doubles this for its own book-keeping): about a second of a
/// gigabit of full frames.
const HELD: libc::c_int = 64 << 20;

const ETHERNET: u16 = 1;
const RAW: u16 = 101;
const IEEE_802_11: u16 = 105;
const RADIOTAP: u16 = 127;

/// Interfaces with raw IP that `libc` has no name for (`if_arp.h`).
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_IP6GRE: u16 = 823;

/// The link type of frames of a hardware type (`if_arp.h`), as a packet socket gives them.
///
/// PPP counts as raw IP: the kernel takes the PPP header off before packet sockets see the frame.
fn link_of(hardware: u16) -> Option<u16> {
    match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(ETHERNET),
        libc::ARPHRD_PPP
        | ARPHRD_RAWIP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT
        | libc::ARPHRD_IPGRE
        | ARPHRD_IP6GRE
        | libc::ARPHRD_NONE => Some(RAW),
        libc::ARPHRD_IEEE80211 => Some(IEEE_802_11),
        libc::ARPHRD_IEEE80211_RADIOTAP => Some(RADIOTAP),
        _ => None,
    }
}

/// What the kernel says about a frame beside its bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Beside {
    /// When it came, in nanoseconds since the Unix epoch.
    stamp: Option<u64>,
    /// The VLAN tag that was taken out of it, as it stood there.
    tag: Option<[u8; TAG]>,
}

impl Beside {
    /// Reads control messages: each a length in the machine's word (header included), level and type,
    /// then data, padded to words (`cmsg(3)`).
    fn parse(mut control: &[u8]) -> Beside {
        const WORD: usize = size_of::<usize>();
        const HEAD: usize = (WORD + 8).next_multiple_of(WORD);
        let mut beside = Beside::default();
        while let Some(head) = control.get(..HEAD) {
            let length = usize::from_ne_bytes(head[..WORD].try_into().expect("a word"));
            let number = |at: usize| i32::from_ne_bytes(head[at..at + 4].try_into().expect("four bytes"));
            let Some(data) = control.get(HEAD..length) else { break };
            match (number(WORD), number(WORD + 4)) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => beside.stamp = stamp(data),
                (libc::SOL_PACKET, libc::PACKET_AUXDATA) => beside.tag = tag(data),
                _ => {}
            }
            control = control.get(length.next_multiple_of(WORD)..).unwrap_or(&[]);
        }
        beside
    }
}

/// Nanoseconds of a `timespec`, of either width.
fn stamp(data: &[u8]) -> Option<u64> {
    let (seconds, nanoseconds) = match data.len() {
        16 => {
            (i64::from_ne_bytes(data[..8].try_into().ok()?), i64::from_ne_bytes(data[8..].try_into().ok()?))
        }
        8 => (
            i32::from_ne_bytes(data[..4].try_into().ok()?).into(),
            i32::from_ne_bytes(data[4..].try_into().ok()?).into(),
        ),
        _ => return None,
    };
    let total = seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?;
    u64::try_from(total).ok()
}

/// The tag that a `tpacket_auxdata` tells of: older kernels say neither that there is one nor of
/// which kind, but give its number.
fn tag(data: &[u8]) -> Option<[u8; TAG]> {
    let status = u32::from_ne_bytes(data.get(..4)?.try_into().ok()?);
    let control = u16::from_ne_bytes(data.get(16..18)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(data.get(18..20)?.try_into().ok()?);
    if control == 0 && status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let told = kind != 0 && status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let [kind, control] = [if told { kind } else { 0x8100 }, control].map(u16::to_be_bytes);
    Some([kind[0], kind[1], control[0], control[1]])
}

/// Appends a frame to the block, with its tag where it stood.
fn append(block: &mut Block, link: u16, frame: &[u8], original: u32, time: u64, tag: Option<[u8; TAG]>) {
    let at = block.bytes.len();
    let tag = tag.filter(|_| link == ETHERNET && frame.len() >= TAG_AT);
    match &tag {
        Some(tag) => {
            block.bytes.extend_from_slice(&frame[..TAG_AT]);
            block.bytes.extend_from_slice(tag);
            block.bytes.extend_from_slice(&frame[TAG_AT..]);
        }
        None => block.bytes.extend_from_slice(frame),
    }
    block.records.push(Record {
        time: time.min(i64::MAX as u64),
        at: at as u32,
        captured: (block.bytes.len() - at) as u32,
        original: original.saturating_add(if tag.is_some() { TAG as u32 } else { 0 }),
        link,
    });
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// A packet socket, bound to one interface.
pub(super) struct Socket {
    socket: OwnedFd,
    name: String,
    link: u16,
    /// On the loopback every packet passes twice, as sent and as received: the first is left out.
    loopback: bool,
    /// [`SLOTS`] frames of [`SLOT`] bytes. The system gives memory only to pages that frames reach.
    frames: Vec<u8>,
    control: Vec<Control>,
    senders: Vec<libc::sockaddr_ll>,
    counts: WireCounts,
    /// Frames left out on the loopback by us: they count as never received.
    left_out: u64,
}

impl Socket {
    /// Listens to an interface.
    ///
    /// # Errors
    /// [`InterfaceError`]: no such interface, no right, down, a hardware type that is not read.
    pub(super) fn open(name: &str) -> Result<Socket, InterfaceError> {
        let index = CString::new(name)
            .ok()
            // SAFETY: a string that ends with zero and outlives the call.
            .map(|text| unsafe { libc::if_nametoindex(text.as_ptr()) })
            .filter(|index| *index != 0)
            .ok_or_else(|| InterfaceError::Unknown { name: name.to_owned(), there: names() })?;
        let failed = |what| {
            move |source: io::Error| match source.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => InterfaceError::Forbidden { name: name.to_owned() },
                Some(libc::ENETDOWN) => InterfaceError::Down { name: name.to_owned() },
                _ => InterfaceError::System { name: name.to_owned(), what, source },
            }
        };
        // Protocol 0: nothing comes in before the socket is bound to the interface.
        // SAFETY: no pointers.
        let socket = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
        };
        if socket < 0 {
            return Err(failed("open a packet socket")(io::Error::last_os_error()));
        }
        // SAFETY: just opened, and owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1_i32).map_err(failed("ask for stamps"))?;
        set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32).map_err(failed("ask for tags"))?;
        // The first needs CAP_NET_ADMIN; the second gives as much as the administrator allows to all.
        if set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &HELD).is_err() {
            set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &HELD).map_err(failed("enlarge the buffer"))?;
        }
        let all_of_it = libc::packet_mreq {
            mr_ifindex: index as libc::c_int,
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(&socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &all_of_it)
            .map_err(failed("ask for frames to others"))?;
        let hardware = bind(&socket, index).map_err(failed("bind to the interface"))?;
        let link =
            link_of(hardware).ok_or_else(|| InterfaceError::Hardware { name: name.to_owned(), hardware })?;
        let loopback = hardware == libc::ARPHRD_LOOPBACK;
        if loopback {
            // Since Linux 4.20; before, what was sent comes in too and is left out here.
            let _ = set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32);
        }
        Ok(Socket {
            socket,
            name: name.to_owned(),
            link,
            loopback,
            frames: vec![0; SLOTS * SLOT],
            control: vec![Control([0; CONTROL]); SLOTS],
            // SAFETY: plain numbers, for which zero is a value.
            senders: vec![unsafe { zeroed() }; SLOTS],
            counts: WireCounts::default(),
            left_out: 0,
        })
    }

    /// Receives up to [`SLOTS`] frames; returns for each its length on the wire, the bytes of its
    /// control messages, in slots from the first.
    fn receive(&mut self) -> io::Result<([(u32, usize); SLOTS], usize)> {
        // SAFETY: plain numbers and pointers, for which zero is a value.
        let mut vectors: [libc::iovec; SLOTS] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut heads: [libc::mmsghdr; SLOTS] = unsafe { zeroed() };
        let slots = self.frames.chunks_exact_mut(SLOT).zip(&mut self.control).zip(&mut self.senders);
        for ((head, vector), ((frame, control), sender)) in heads.iter_mut().zip(&mut vectors).zip(slots) {
            *vector = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: SLOT };
            head.msg_hdr.msg_iov = vector;
            head.msg_hdr.msg_iovlen = 1;
            head.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            head.msg_hdr.msg_controllen = CONTROL as _;
            head.msg_hdr.msg_name = (&raw mut *sender).cast();
            head.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        }
        // With MSG_TRUNC a length is that of the frame, also where the slot holds less of it.
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        // SAFETY: every header points to its own slot of buffers that are borrowed here until the call
        // is over, with the slot's length.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                heads.as_mut_ptr(),
                SLOTS as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // Not of the same type in every C library.
        #[allow(clippy::unnecessary_cast)]
        let lengths = heads.map(|head| (head.msg_len, head.msg_hdr.msg_controllen as usize));
        Ok((lengths, count.min(SLOTS)))
    }
}

impl Wire for Socket {
    fn take(&mut self, block: &mut Block) -> Result<Waiting, InterfaceError> {
        let (lengths, count) = loop {
            match self.receive() {
                Ok(received) => break received,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN) => return Ok(Waiting::None),
                    Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) => {
                        return Err(InterfaceError::Lost { name: self.name.clone() });
                    }
                    _ => {
                        let name = self.name.clone();
                        return Err(InterfaceError::System { name, what: "receive", source: error });
                    }
                },
            }
        };
        for (slot, (length, control)) in lengths.into_iter().enumerate().take(count) {
            if self.loopback && self.senders[slot].sll_pkttype == libc::PACKET_OUTGOING {
                self.left_out += 1;
                continue;
            }
            let beside = Beside::parse(&self.control[slot].0[..control.min(CONTROL)]);
            let time = beside.stamp.unwrap_or_else(|| self.now());
            let frame = &self.frames[slot * SLOT..][..SLOT.min(length as usize)];
            append(block, self.link, frame, length, time, beside.tag);
        }
        Ok(Waiting::Perhaps)
    }

    fn shut(&mut self) -> Result<(), InterfaceError> {
        // A filter that accepts nothing: frames that wait have passed already, and stay.
        // BPF_RET | BPF_K: accept `k` bytes.
        let mut nothing = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
        let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
        set(&self.socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program).map_err(|source| {
            InterfaceError::System { name: self.name.clone(), what: "stop listening", source }
        })
    }

    fn counts(&mut self) -> WireCounts {
        let mut new = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        // Reading sets the kernel's counters to zero.
        if get(&self.socket, libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut new).is_ok() {
            self.counts.received += u64::from(new.tp_packets);
            self.counts.dropped += u64::from(new.tp_drops);
        }
        let WireCounts { received, dropped } = self.counts;
        WireCounts { received: received.saturating_sub(self.left_out), dropped }
    }
}

/// Binds to an interface, all protocols, and gives the hardware type.
fn bind(socket: &OwnedFd, index: libc::c_uint) -> io::Result<u16> {
    let mut address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: a whole address, with its length, that outlives the call.
    if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // Binding to an interface that is down succeeds, and leaves the reason here.
    let mut error: libc::c_int = 0;
    get(socket, libc::SOL_SOCKET, libc::SO_ERROR, &mut error)?;
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: room for a whole address, of the length given.
    let told = unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    if told < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(address.sll_hatype)
}

/// Sets a socket option, whose value is a plain C type.
fn set<T>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of a value that outlives the call.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads a socket option, whose value is a plain C type of integers (any bytes are a value).
fn get<T>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &mut T) -> io::Result<()> {
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to a value that outlives the call.
    let done = unsafe {
        let value = std::ptr::from_mut(value).cast();
        libc::getsockopt(socket.as_raw_fd(), level, option, value, &raw mut length)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The interfaces that there are.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: the list is ours until it is freed, its end is an entry of zeros, and names end with zero.
    unsafe {
        let list = libc::if_nameindex();
        if list.is_null() {
            return names;
        }
        let mut entry = list;
        while (*entry).if_index != 0 {
            names.push(CStr::from_ptr((*entry).if_name).to_string_lossy().into_owned());
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    names
}

#[cfg(test)]
mod tests;
