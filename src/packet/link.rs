//! Link layers: where in a captured frame does its IP datagram begin.
//!
//! What stands between the link header and IP is always unwrapped: VLAN tags, tags of security groups and of ports, MPLS
//! labels, PPPoE sessions, LLC/SNAP.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice};

use super::link_types::{
    C_HDLC, ETHERNET, IEEE_802_11, IPV4, IPV6, LINUX_SLL, LINUX_SLL2, LOOP, NFLOG, NULL, PPP, PPP_HDLC,
    RADIOTAP, RAW, RAW_12, RAW_14,
};
use super::{NO_VLAN, Refused};

/// Tags or labels one behind another that are still believed.
pub(super) const MAX_STACK: usize = 16;

const PPPOE_SESSION: u16 = 0x8864;
const MPLS: u16 = 0x8847;
const MPLS_UPSTREAM: u16 = 0x8848;
/// Cisco's metadata (a security group's tag): six bytes, then the ethertype of what follows.
const CISCO_METADATA: u16 = 0x8909;
/// The E-TAG of a port extender (IEEE 802.1BR): six bytes, then the ethertype of what follows.
const E_TAG: u16 = 0x893F;
/// GRE's name for PPP (RFC 2637), also met as an ethertype.
pub(super) const ETHERTYPE_PPP: u16 = 0x880B;
/// Transparent Ethernet bridging: a whole Ethernet frame follows.
pub(super) const BRIDGED: u16 = 0x6558;

/// An IP header found in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Offset of the IP header.
    pub(super) at: usize,
    /// IP version that the layer before it says.
    pub(super) version: u8,
    /// Outermost VLAN id met on the way.
    pub(super) vlan: u16,
    /// Bytes on the wire from there on, without those of the link behind the datagram (a frame check sequence).
    pub(super) wire: u32,
}

/// Finds the IP header of a frame that has `wire` bytes on the wire.
pub(super) fn find(link: u16, frame: &[u8], wire: u32) -> Result<Found, Refused> {
    let mut walk = Walk::new(frame, wire);
    match link {
        ETHERNET => walk.ethernet(),
        RAW_12 | RAW_14 | RAW => walk.nibble(),
        IPV4 => Ok(walk.found(4)),
        IPV6 => Ok(walk.found(6)),
        NULL | LOOP => walk.family(),
        LINUX_SLL => {
            let head: [u8; 16] = walk.take()?;
            walk.cooked(u16::from_be_bytes([head[2], head[3]]), u16::from_be_bytes([head[14], head[15]]))
        }
        LINUX_SLL2 => {
            let head: [u8; 20] = walk.take()?;
            walk.cooked(u16::from_be_bytes([head[8], head[9]]), u16::from_be_bytes([head[0], head[1]]))
        }
        PPP | PPP_HDLC | C_HDLC => walk.ppp(NOT_ETHERTYPE),
        IEEE_802_11 => walk.wireless(false),
        RADIOTAP => walk.radiotap(),
        NFLOG => walk.nflog(),
        _ => Err(Refused::UnknownLink),
    }
}

/// [`Refused::NotIp`] of what has no ethertype.
pub(super) const NOT_ETHERTYPE: u16 = 0;

/// A position in a frame and what was met on the way to it.
pub(super) struct Walk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    vlan: u16,
    pub(super) trailer: u32,
    /// Bytes on the wire from the begin of `bytes`, captured or not.
    wire: u32,
}

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8], wire: u32) -> Self {
        Walk { bytes, at: 0, vlan: NO_VLAN, trailer: 0, wire }
    }

    /// Bytes on the wire that are left, captured or not.
    pub(super) fn left(&self) -> u32 {
        self.wire.saturating_sub(self.at as u32).saturating_sub(self.trailer)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let head = self.rest().first_chunk().ok_or(Refused::Truncated)?;
        self.at += N;
        Ok(*head)
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), Refused> {
        if self.rest().len() < count {
            return Err(Refused::Truncated);
        }
        self.at += count;
        Ok(())
    }

    pub(super) fn found(self, version: u8) -> Found {
        Found { at: self.at, version, vlan: self.vlan, wire: self.left() }
    }

    /// Raw IP: the header itself says its version.
    fn nibble(self) -> Result<Found, Refused> {
        match self.rest().first().ok_or(Refused::Truncated)? >> 4 {
            version @ (4 | 6) => Ok(self.found(version)),
            _ => Err(Refused::Malformed),
        }
    }

    /// BSD loopback: an address family in the byte order of the capturing host (or in network order: LOOP).
    /// Families are small numbers, so the order shows. IPv6 has another number on every system.
    fn family(mut self) -> Result<Found, Refused> {
        let value = u32::from_be_bytes(self.take()?);
        match if value > 0xFFFF { value.swap_bytes() } else { value } {
            2 => Ok(self.found(4)),
            10 | 23 | 24 | 28 | 30 => Ok(self.found(6)),
            _ => Err(Refused::NotIp(NOT_ETHERTYPE)),
        }
    }

    pub(super) fn ethernet(mut self) -> Result<Found, Refused> {
        let header = Ethernet2HeaderSlice::from_slice(self.rest()).map_err(|_| Refused::Truncated)?;
        self.at += header.slice().len();
        self.ethertype(header.ether_type().0)
    }

    /// What follows an ethertype, or the length of an IEEE 802.3 frame in its place.
    pub(super) fn ethertype(mut self, mut kind: u16) -> Result<Found, Refused> {
        for _ in 0..=MAX_STACK {
            match kind {
                0x0800 => return Ok(self.found(4)),
                0x86DD => return Ok(self.found(6)),
                0x8100 | 0x88A8 | 0x9100 => {
                    let tag =
                        SingleVlanHeaderSlice::from_slice(self.rest()).map_err(|_| Refused::Truncated)?;
                    self.tagged(tag.vlan_identifier().value());
                    self.at += tag.slice().len();
                    kind = tag.ether_type().0;
                }
                CISCO_METADATA | E_TAG => {
                    let [.., high, low] = self.take::<8>()?;
                    kind = u16::from_be_bytes([high, low]);
                }
                MPLS | MPLS_UPSTREAM => return self.labels(kind),
                PPPOE_SESSION => return self.pppoe(),
                ETHERTYPE_PPP => return self.ppp(kind),
                // Lengths of IEEE 802.3; between them and 0x600 nothing is defined.
                0..=1500 => kind = self.snap()?,
                1501..=0x5FF => return Err(Refused::NotIp(NOT_ETHERTYPE)),
                _ => return Err(Refused::NotIp(kind)),
            }
        }
        Err(Refused::Malformed)
    }

    /// Keeps the outermost id. Id 0 is none: such a tag carries a priority only (IEEE 802.1Q, 9.6).
    fn tagged(&mut self, id: u16) {
        if self.vlan == NO_VLAN && id != 0 {
            self.vlan = id;
        }
    }

    /// LLC with a SNAP header that holds an ethertype (RFC 1042, IEEE 802.1H); other LLC is not IP.
    pub(super) fn snap(&mut self) -> Result<u16, Refused> {
        let llc = self.rest().first_chunk::<3>().ok_or(Refused::Truncated)?;
        if *llc != [0xAA, 0xAA, 3] {
            return Err(Refused::NotIp(NOT_ETHERTYPE));
        }
        let [_, _, _, oui @ .., high, low] = self.take::<8>()?;
        let kind = u16::from_be_bytes([high, low]);
        if !matches!(oui, [0, 0, 0] | [0, 0, 0xF8]) || kind < 0x600 {
            return Err(Refused::NotIp(NOT_ETHERTYPE));
        }
        Ok(kind)
    }

    /// PPPoE session stage (RFC 2516).
    fn pppoe(mut self) -> Result<Found, Refused> {
        let [version, code, ..] = self.take::<6>()?;
        match (version, code) {
            (0x11, 0) => self.ppp(PPPOE_SESSION),
            (0x11, _) => Err(Refused::NotIp(PPPOE_SESSION)),
            _ => Err(Refused::Malformed),
        }
    }

    /// PPP (RFC 1661), with or without address and control bytes (RFC 1662) and compressed protocol field; also
    /// Cisco HDLC, whose first bytes no PPP frame has. `kind` names the frame when it is not IP.
    pub(super) fn ppp(mut self, kind: u16) -> Result<Found, Refused> {
        match self.rest() {
            [0xFF, 3, ..] => self.at += 2,
            [0x0F | 0x8F, 0, ..] => {
                let [_, _, high, low] = self.take()?;
                return match u16::from_be_bytes([high, low]) {
                    // An ethertype it must be here: no length of a frame.
                    0..=0x5FF => Err(Refused::NotIp(NOT_ETHERTYPE)),
                    ethertype => self.ethertype(ethertype),
                };
            }
            _ => {}
        }
        // The last byte of a protocol number is odd, all before it are even.
        let [high] = self.take()?;
        let protocol = if high & 1 != 0 {
            u16::from(high)
        } else {
            let [low] = self.take()?;
            u16::from_be_bytes([high, low])
        };
        match protocol {
            0x0021 => Ok(self.found(4)),
            0x0057 => Ok(self.found(6)),
            0x0281 => self.labels(MPLS),
            0x0283 => self.labels(MPLS_UPSTREAM),
            _ => Err(Refused::NotIp(kind)),
        }
    }

    /// Linux cooked capture: an ethertype, or a small number of the kernel's own.
    fn cooked(mut self, hardware: u16, kind: u16) -> Result<Found, Refused> {
        /// `ARPHRD_NETLINK`: the protocol is a netlink family.
        const NETLINK: u16 = 824;
        /// `ETH_P_802_2`: LLC follows.
        const LLC: u16 = 4;
        match kind {
            _ if hardware == NETLINK => Err(Refused::NotIp(NOT_ETHERTYPE)),
            LLC => {
                let kind = self.snap()?;
                self.ethertype(kind)
            }
            0..=0x5FF => Err(Refused::NotIp(NOT_ETHERTYPE)),
            _ => self.ethertype(kind),
        }
    }

    /// Linux netfilter's log: a family of addresses, then values behind their length and type, one of them the packet.
    fn nflog(mut self) -> Result<Found, Refused> {
        const INET: u8 = 2;
        const INET6: u8 = 10;
        const PACKET: u16 = 9;
        let [family, version, _, _] = self.take()?;
        if version != 0 {
            return Err(Refused::Malformed);
        }
        loop {
            let [length, kind] = [self.take::<2>()?, self.take::<2>()?];
            // In the byte order of the machine that captured; types are small numbers.
            let whole = if kind[1] == 0 { u16::from_le_bytes } else { u16::from_be_bytes };
            let value = usize::from(whole(length)).checked_sub(4).ok_or(Refused::Malformed)?;
            if whole(kind) == PACKET {
                return match family {
                    INET => Ok(self.found(4)),
                    INET6 => Ok(self.found(6)),
                    _ => Err(Refused::NotIp(NOT_ETHERTYPE)),
                };
            }
            self.skip(value.next_multiple_of(4))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::*;
    use super::super::link_types::known_link;
    use super::*;

    fn vlan(frame: &[u8]) -> u16 {
        read(1, frame).unwrap().key.vlan
    }

    #[test]
    fn every_listed_link_is_read_and_no_other() {
        for link in 0..=u16::MAX {
            let unknown = read(link, &[0; 64]) == Err(Refused::UnknownLink);
            assert_eq!(known_link(link), !unknown, "{link}");
        }
    }

    #[test]
    fn raw_links_begin_with_ip() {
        for link in [12, 14, 101, 228] {
            assert!(is_query(read(link, &query())), "{link}");
        }
        let six = ip6(17, &udp(1, 2, &[]));
        for link in [12, 14, 101, 229] {
            assert_eq!(read(link, &six).unwrap().key.version, 6);
        }
        assert_eq!(read(228, &six), Err(Refused::Malformed));
        assert_eq!(read(229, &query()), Err(Refused::Truncated));
        assert_eq!(read(101, &[0x50; 40]), Err(Refused::Malformed));
        assert_eq!(read(101, &[]), Err(Refused::Truncated));
    }

    #[test]
    fn loopback_families_are_read_in_both_byte_orders() {
        for link in [0, 108] {
            assert!(is_query(read(link, &join(&[&[2, 0, 0, 0], &query()]))));
            assert!(is_query(read(link, &join(&[&[0, 0, 0, 2], &query()]))));
            for family in [10, 23, 24, 28, 30u8] {
                let frame = join(&[&[family, 0, 0, 0], &ip6(17, &udp(1, 2, &[]))]);
                assert_eq!(read(link, &frame).unwrap().key.version, 6);
            }
            assert_eq!(read(link, &join(&[&[7, 0, 0, 0], &query()])), Err(Refused::NotIp(0)));
            assert_eq!(read(link, &[2, 0, 0]), Err(Refused::Truncated));
        }
    }

    #[test]
    fn a_log_of_netfilter_carries_the_packet_behind_other_values() {
        let little = [
            &[2, 0, 0, 5, 8, 0, 1, 0, 8, 0, 3, 0, 9, 0, 10, 0, b'i', b'n', b'p', b'u', b't', 0, 0, 0][..],
            &[36, 0, 9, 0],
        ];
        let big = [&[2, 0, 0, 5, 0, 8, 0, 1, 8, 0, 3, 0][..], &[0, 36, 0, 9]];
        for head in [join(&little), join(&big)] {
            let whole = join(&[&head, &query()]);
            assert!(is_query(read(239, &whole)));
            for cut in 0..head.len() {
                assert_eq!(read(239, &whole[..cut]), Err(Refused::Truncated), "{cut}");
            }
        }
        let six = join(&[&[10, 0, 0, 0, 52, 0, 9, 0], &ip6(17, &udp(1, 2, &[]))]);
        assert_eq!(read(239, &six).unwrap().key.version, 6);
        assert_eq!(
            read(239, &join(&[&[7, 0, 0, 0, 36, 0, 9, 0], &query()])),
            Err(Refused::NotIp(0)),
            "a bridge"
        );
        assert_eq!(read(239, &[2, 0, 0, 0, 3, 0, 1, 0]), Err(Refused::Malformed), "shorter than its head");
        assert_eq!(read(239, &[2, 1, 0, 0, 8, 0, 1, 0]), Err(Refused::Malformed), "another version");
    }

    #[test]
    fn outermost_vlan_id_of_any_stack_is_kept() {
        for outer in [0x8100, 0x88A8, 0x9100] {
            assert_eq!(vlan(&ethernet(outer, &join(&[&[0xE0, 5, 8, 0], &query()]))), 5);
            let stack = [&[0xF0, 5, 0x88, 0xA8][..], &[0, 6, 0x91, 0], &[0, 7, 8, 0], &query()];
            assert_eq!(vlan(&ethernet(outer, &join(&stack))), 5);
        }
        assert_eq!(vlan(&ethernet(0x0800, &query())), NO_VLAN);
    }

    #[test]
    fn a_priority_tag_is_no_vlan() {
        assert_eq!(vlan(&ethernet(0x8100, &join(&[&[0xE0, 0, 8, 0], &query()]))), NO_VLAN);
        assert_eq!(vlan(&ethernet(0x8100, &join(&[&[0xE0, 0, 0x81, 0, 0, 6, 8, 0], &query()]))), 6);
    }

    #[test]
    fn tags_of_security_groups_and_ports_stand_before_the_ethertype() {
        for kind in [0x8909, 0x893F] {
            let tagged = |inner: &[u8]| ethernet(kind, &join(&[&[1, 1, 0, 1, 0, 9], inner]));
            let frame = tagged(&join(&[&[8, 0], &query()]));
            assert!(is_query(read(1, &frame)), "{kind:#x}");
            for cut in 14..22 {
                assert_eq!(read(1, &frame[..cut]), Err(Refused::Truncated), "{kind:#x} {cut}");
            }
            assert_eq!(vlan(&tagged(&join(&[&[0x81, 0, 0, 7, 8, 0], &query()]))), 7);
            assert_eq!(read(1, &tagged(&[8, 6, 0])), Err(Refused::NotIp(0x0806)));
        }
    }

    #[test]
    fn a_stack_beyond_the_bound_is_malformed() {
        let tags = |n: usize| ethernet(0x8100, &join(&[&[0, 5, 0x81, 0].repeat(n), &[0, 5, 8, 0], &query()]));
        assert!(is_query(read(1, &tags(MAX_STACK - 1))));
        assert_eq!(read(1, &tags(MAX_STACK)), Err(Refused::Malformed));
        let labels = |n: usize| ethernet(0x8847, &join(&[&[0, 0, 0, 9].repeat(n), &[0, 0, 1, 9], &query()]));
        assert!(is_query(read(1, &labels(MAX_STACK - 1))));
        assert_eq!(read(1, &labels(MAX_STACK)), Err(Refused::Malformed));
    }

    #[test]
    fn frames_without_ip_name_their_innermost_ethertype() {
        assert_eq!(read(1, &ethernet(0x0806, &[0; 46])), Err(Refused::NotIp(0x0806)));
        assert_eq!(read(1, &ethernet(0x8100, &[0, 5, 0x88, 0xCC, 0])), Err(Refused::NotIp(0x88CC)));
        assert_eq!(read(1, &ethernet(1501, &query())), Err(Refused::NotIp(0)));
    }

    #[test]
    fn a_header_of_the_link_that_is_cut_is_truncated() {
        let whole: [(u16, Vec<u8>); 6] = [
            (1, ethernet(0x8100, &[0, 5, 8, 0])),
            (1, ethernet(0x8847, &[0, 0, 1, 9])),
            (1, ethernet(0x8864, &[0x11, 0, 0, 1, 0, 34, 0, 0x21])),
            (1, ethernet(60, &[0xAA, 0xAA, 3, 0, 0, 0, 8, 0])),
            (113, join(&[&[0; 14], &[8, 0]])),
            (276, join(&[&[8, 0], &[0; 18]])),
        ];
        for (link, head) in whole {
            assert!(is_query(read(link, &join(&[&head, &query()]))), "{link}");
            for cut in 0..=head.len() {
                assert_eq!(read(link, &head[..cut]), Err(Refused::Truncated), "{link} {cut}");
            }
        }
    }

    #[test]
    fn pppoe_sessions_carry_ip_and_discovery_does_not() {
        let session = |head: [u8; 8], ip: &[u8]| ethernet(0x8864, &join(&[&head, ip]));
        assert!(is_query(read(1, &session([0x11, 0, 0, 1, 0, 34, 0, 0x21], &query()))));
        let six = session([0x11, 0, 0, 1, 0, 50, 0, 0x57], &ip6(17, &udp(1, 2, &[])));
        assert_eq!(read(1, &six).unwrap().key.version, 6);
        let control = session([0x11, 0, 0, 1, 0, 34, 0xC0, 0x21], &query());
        assert_eq!(read(1, &control), Err(Refused::NotIp(0x8864)));
        assert_eq!(read(1, &session([0x22, 0, 0, 1, 0, 34, 0, 0x21], &query())), Err(Refused::Malformed));
        assert_eq!(read(1, &ethernet(0x8863, &query())), Err(Refused::NotIp(0x8863)));
    }

    #[test]
    fn ieee_802_3_frames_carry_ip_in_snap_only() {
        let llc = |head: &[u8]| ethernet(40, &join(&[head, &query()]));
        assert!(is_query(read(1, &llc(&[0xAA, 0xAA, 3, 0, 0, 0, 8, 0]))));
        assert!(is_query(read(1, &llc(&[0xAA, 0xAA, 3, 0, 0, 0xF8, 8, 0]))));
        assert_eq!(read(1, &llc(&[0xAA, 0xAA, 3, 0, 0, 0x0C, 8, 0])), Err(Refused::NotIp(0)));
        assert_eq!(read(1, &llc(&[0x42, 0x42, 3])), Err(Refused::NotIp(0)));
        assert_eq!(read(1, &llc(&[0xFF, 0xFF, 0])), Err(Refused::NotIp(0)));
    }

    #[test]
    fn ppp_is_read_with_and_without_framing_and_compression() {
        for link in [9, 50] {
            for head in [&[0xFF, 3, 0, 0x21][..], &[0xFF, 3, 0x21], &[0, 0x21], &[0x21]] {
                assert!(is_query(read(link, &join(&[head, &query()]))), "{link} {head:?}");
            }
            let six = join(&[&[0x57], &ip6(17, &udp(1, 2, &[]))[..]]);
            assert_eq!(read(link, &six).unwrap().key.version, 6);
            let mpls = join(&[&[0xFF, 3, 2, 0x81, 0, 1, 0x31, 64], &query()[..]]);
            assert!(is_query(read(link, &mpls)));
            assert_eq!(read(link, &[0xFF, 3, 0xC0, 0x21, 1]), Err(Refused::NotIp(0)));
            assert_eq!(read(link, &[0xFF, 3]), Err(Refused::Truncated));
        }
    }

    #[test]
    fn cisco_hdlc_is_told_from_ppp() {
        for (link, address) in [(50, 0x0F), (50, 0x8F), (104, 0x0F), (104, 0x8F)] {
            assert!(is_query(read(link, &join(&[&[address, 0, 8, 0], &query()]))));
            assert_eq!(read(link, &[address, 0, 0x80, 0x35, 0]), Err(Refused::NotIp(0x8035)));
        }
    }

    #[test]
    fn linux_cooked_frames_carry_ethertypes_tags_and_llc() {
        let one = |kind: u16, payload: &[u8]| join(&[&[0; 14], &kind.to_be_bytes(), payload]);
        let two = |kind: u16, payload: &[u8]| join(&[&kind.to_be_bytes(), &[0; 18], payload]);
        let tagged = join(&[&[0, 9, 8, 0], &query()]);
        let llc = join(&[&[0xAA, 0xAA, 3, 0, 0, 0, 8, 0], &query()]);
        for (link, frame) in [(113, &one as &dyn Fn(u16, &[u8]) -> Vec<u8>), (276, &two)] {
            assert!(is_query(read(link, &frame(0x0800, &query()))));
            assert_eq!(read(link, &frame(0x8100, &tagged)).unwrap().key.vlan, 9);
            assert!(is_query(read(link, &frame(4, &llc))));
            assert_eq!(read(link, &frame(1, &query())), Err(Refused::NotIp(0)));
            assert_eq!(read(link, &frame(0x0806, &query())), Err(Refused::NotIp(0x0806)));
        }
        let mut netlink = one(0x0800, &query());
        netlink[2..4].copy_from_slice(&824u16.to_be_bytes());
        assert_eq!(read(113, &netlink), Err(Refused::NotIp(0)));
    }
}
