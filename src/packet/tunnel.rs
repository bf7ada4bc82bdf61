//! Tunnels: the datagram inside a datagram.
//!
//! Only looked into when [`PacketSpec::tunnels`](super::PacketSpec::tunnels) is set. Later fragments of a tunnel's
//! datagrams have no tunnel header: they stay with the outer flow.

use super::link::{BRIDGED, Found, Walk};
use super::network::Datagram;
use super::transport::UDP;

/// Tunnels inside tunnels that are unwrapped.
pub(super) const MAX_DEPTH: usize = 4;

const IP_IN_IP: u8 = 4;
const SIX_IN_FOUR: u8 = 41;
const GRE: u8 = 47;
/// Destination port of VXLAN (RFC 7348).
pub(super) const VXLAN_PORT: u16 = 4789;
/// Destination port of VXLAN on Linux where none is set: that of drivers before the RFC.
pub(super) const VXLAN_PORT_LINUX: u16 = 8472;
/// Destination port of GENEVE (RFC 8926).
pub(super) const GENEVE_PORT: u16 = 6081;

/// Finds the IP header inside the datagram's body; `None` if the datagram is no tunnel or holds no IP.
pub(super) fn inner(datagram: &Datagram, dst_port: u16) -> Option<Found> {
    if datagram.later_fragment {
        return None;
    }
    // How long the rest is of what later fragments bring is not known.
    let wire = if datagram.more_fragments { u32::MAX } else { datagram.room() };
    let mut walk = Walk::new(datagram.body(), wire);
    match datagram.protocol {
        IP_IN_IP => Some(walk.found(4)),
        SIX_IN_FOUR => Some(walk.found(6)),
        GRE => gre(walk),
        UDP if matches!(dst_port, VXLAN_PORT | VXLAN_PORT_LINUX) => {
            walk.skip(8).ok()?;
            let [flags, ..] = walk.take::<8>().ok()?;
            // The only flag that is defined says that a network is named, as it must be.
            if flags & 0x08 == 0 {
                return None;
            }
            walk.ethernet().ok()
        }
        UDP if dst_port == GENEVE_PORT => {
            walk.skip(8).ok()?;
            let [head, _, high, low, ..] = walk.take::<8>().ok()?;
            if head >> 6 != 0 {
                return None;
            }
            walk.skip(usize::from(head & 0x3F) * 4).ok()?;
            carried(walk, u16::from_be_bytes([high, low]))
        }
        _ => None,
    }
}

/// What a protocol field of GRE or GENEVE names: an Ethernet frame or an ethertype, but never a frame's length.
fn carried(walk: Walk, kind: u16) -> Option<Found> {
    match kind {
        BRIDGED => walk.ethernet().ok(),
        0..=0x5FF => None,
        _ => walk.ethertype(kind).ok(),
    }
}

/// GRE (RFC 2784, 2890), its version 1 (PPTP, RFC 2637), and ERSPAN in it (draft-foschiano-erspan).
fn gre(mut walk: Walk) -> Option<Found> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGEMENT: u16 = 0x0080;
    const ERSPAN: u16 = 0x88BE;
    const ERSPAN_3: u16 = 0x22EB;
    let [a, b, c, d] = walk.take().ok()?;
    let (flags, kind) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let version = flags & 7;
    // Source routes of RFC 1701 have not been sent for decades.
    if version > 1 || flags & ROUTING != 0 {
        return None;
    }
    let mut words = [CHECKSUM, KEY, SEQUENCE].iter().filter(|&&flag| flags & flag != 0).count();
    if version == 1 && flags & ACKNOWLEDGEMENT != 0 {
        words += 1;
    }
    walk.skip(words * 4).ok()?;
    match kind {
        // Type I has neither a sequence number nor a header of its own.
        ERSPAN if flags & SEQUENCE == 0 => walk.ethernet().ok(),
        ERSPAN => {
            let head: [u8; 8] = walk.take().ok()?;
            if head[0] >> 4 != 1 {
                return None;
            }
            walk.ethernet().ok()
        }
        ERSPAN_3 => {
            let head: [u8; 12] = walk.take().ok()?;
            if head[0] >> 4 != 2 {
                return None;
            }
            // The last bit announces a subheader of the platform.
            if head[11] & 1 != 0 {
                walk.skip(8).ok()?;
            }
            walk.ethernet().ok()
        }
        _ => carried(walk, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::*;
    use super::super::{LATER_FRAGMENT, Refused, decode};
    use super::*;

    fn inside(protocol: u8, body: &[u8]) -> bool {
        is_query(read_inside(&ethernet(0x0800, &ip4(protocol, body))))
    }

    fn gre(head: &[u8], payload: &[u8]) -> Vec<u8> {
        join(&[head, payload])
    }

    #[test]
    fn tunnels_off_leave_the_outer_flow() {
        let frame = ethernet(0x0800, &ip4(4, &query()));
        let packet = read(1, &frame).unwrap();
        assert_eq!((packet.key.protocol, packet.length, packet.headers), (4, 52, 20));
        let frame = ethernet(0x0800, &ip4(17, &udp(9, 4789, &[0; 40])));
        assert_eq!(read(1, &frame).unwrap().key.port_b, 4789);
    }

    #[test]
    fn ip_in_ip_and_six_in_four_give_the_inner_flow() {
        assert!(inside(4, &query()));
        let six = ethernet(0x0800, &ip4(41, &ip6(6, &tcp(1, 2, 5))));
        let packet = read_inside(&six).unwrap();
        assert_eq!((packet.key.version, packet.length, packet.ttl, packet.payload()), (6, 65, 63, 5));
        assert!(is_query(read_inside(&ethernet(0x86DD, &ip6(4, &query())))));
    }

    #[test]
    fn gre_is_read_with_all_its_optional_fields() {
        assert!(inside(47, &gre(&[0, 0, 8, 0], &query())));
        for (flags, words) in [(0x80, 1), (0x20, 1), (0x10, 1), (0xB0, 3)] {
            assert!(inside(47, &gre(&join(&[&[flags, 0, 8, 0], &vec![0; 4 * words]]), &query())));
        }
        assert!(inside(47, &gre(&[0, 0, 0x65, 0x58], &ethernet(0x0800, &query()))));
        assert!(inside(47, &gre(&[0, 0, 0x88, 0x47, 0, 1, 0x31, 64], &query())));
        // PPTP: version 1 with key, sequence and acknowledgement numbers.
        let head = join(&[&[0x30, 0x81, 0x88, 0x0B], &[0; 12], &[0xFF, 3, 0, 0x21]]);
        assert!(inside(47, &gre(&head, &query())));
        assert!(!inside(47, &gre(&[0x40, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0], &query())));
        assert!(!inside(47, &gre(&[0, 2, 8, 0], &query())));
    }

    #[test]
    fn erspan_of_all_types_carries_ethernet() {
        let frame = ethernet(0x0800, &query());
        assert!(inside(47, &gre(&[0, 0, 0x88, 0xBE], &frame)));
        let two = join(&[&[0x10, 0, 0x88, 0xBE], &[0; 4], &[0x10, 1, 0, 0, 0, 0, 0, 0]]);
        assert!(inside(47, &gre(&two, &frame)));
        let three = join(&[&[0x10, 0, 0x22, 0xEB], &[0; 4], &[0x20], &[0; 10], &[0]]);
        assert!(inside(47, &gre(&three, &frame)));
        let platform = join(&[&[0x10, 0, 0x22, 0xEB], &[0; 4], &[0x20], &[0; 10], &[1], &[0; 8]]);
        assert!(inside(47, &gre(&platform, &frame)));
    }

    #[test]
    fn vxlan_and_geneve_are_known_by_their_destination_port() {
        let frame = ethernet(0x0800, &query());
        let vxlan = join(&[&[8, 0, 0, 0, 0, 0, 1, 0], &frame[..]]);
        assert!(inside(17, &udp(9, 4789, &vxlan)) && inside(17, &udp(9, 8472, &vxlan)));
        assert!(!inside(17, &udp(4789, 9, &vxlan)));
        assert!(!inside(17, &udp(9, 4789, &join(&[&[0; 8], &frame[..]]))));
        let geneve = |head: [u8; 4], options: usize, payload: &[u8]| {
            udp(9, 6081, &join(&[&head, &[0; 4], &vec![0; options], payload]))
        };
        assert!(inside(17, &geneve([0, 0, 0x65, 0x58], 0, &frame)));
        assert!(inside(17, &geneve([2, 0, 0x65, 0x58], 8, &frame)));
        assert!(inside(17, &geneve([0, 0, 8, 0], 0, &query())));
        assert!(!inside(17, &geneve([0x40, 0, 8, 0], 0, &query())));
    }

    #[test]
    fn four_tunnels_are_unwrapped_and_no_more() {
        let deep = |n: usize| {
            let packet = (0..n).fold(query(), |inner, _| ip4(4, &inner));
            read_inside(&ethernet(0x0800, &packet))
        };
        assert!(is_query(deep(MAX_DEPTH)));
        let packet = deep(MAX_DEPTH + 1).unwrap();
        assert_eq!((packet.key.protocol, packet.length), (4, 52));
    }

    #[test]
    fn what_cannot_be_read_inside_leaves_the_outer_packet() {
        let mut broken = query();
        broken[0] = 0x44;
        let not_ip = ethernet(0x0806, &[0; 28]);
        for (protocol, body) in
            [(4, broken), (4, query()[..19].to_vec()), (4, vec![]), (47, gre(&[0, 0, 0x65, 0x58], &not_ip))]
        {
            let frame = ethernet(0x0800, &ip4(protocol, &body));
            assert_eq!(read_inside(&frame), read(1, &frame));
            assert_eq!(read_inside(&frame).unwrap().key.protocol, protocol);
        }
        // Cut inside the inner header.
        let frame = ethernet(0x0800, &ip4(4, &query()));
        let cut = decode(1, &frame[..60], frame.len() as u32, 7, &TUNNELS);
        assert_eq!(cut.map(|packet| packet.key.protocol), if frame.len() > 60 { Ok(17) } else { Ok(4) });
        let cut = decode(1, &frame[..50], frame.len() as u32, 7, &TUNNELS);
        assert_eq!(cut.map(|packet| packet.key.protocol), Ok(4));
        // A broken outer header is broken.
        let mut frame = frame;
        frame[14] = 0x44;
        assert_eq!(read_inside(&frame), Err(Refused::Malformed));
    }

    #[test]
    fn later_fragments_of_a_tunnel_stay_with_the_outer_flow() {
        let mut packet = ip4(4, &query());
        packet[7] = 1;
        let packet = read_inside(&ethernet(0x0800, &packet)).unwrap();
        assert_eq!((packet.key.protocol, packet.bits & LATER_FRAGMENT), (4, LATER_FRAGMENT));
    }

    #[test]
    fn the_inner_length_of_a_first_fragment_is_what_it_carries() {
        let inner = ip4(6, &tcp(1, 2, 1400));
        let outer = |kept: usize| {
            let mut first = ip4(4, &inner[..kept]);
            first[6] = 0x20;
            read_inside(&ethernet(0x0800, &first)).unwrap()
        };
        let packet = outer(800);
        assert_eq!((packet.key.protocol, packet.length, packet.headers), (6, 800, 40));
        // The first fragment's share, and the rest with the outer flow: together the bytes of the datagram.
        let mut later = ip4(4, &inner[800..]);
        later[7] = 100;
        let later = read_inside(&ethernet(0x0800, &later)).unwrap();
        assert_eq!((later.key.protocol, packet.length + later.payload()), (4, inner.len() as u32));
        // Too little of it to be read: the outer datagram stands.
        assert_eq!(outer(16).key.protocol, 4);
        assert_eq!(outer(24).key.protocol, 4);
        // Two tunnels deep.
        let mut first = ip4(4, &ip4(4, &inner)[..800]);
        first[6] = 0x20;
        let packet = read_inside(&ethernet(0x0800, &first)).unwrap();
        assert_eq!((packet.key.protocol, packet.length), (6, 780));
    }

    #[test]
    fn the_vlan_is_the_outermost_met() {
        let inner = ethernet(0x8100, &join(&[&[0, 7, 8, 0], &query()]));
        let outer = ip4(47, &gre(&[0, 0, 0x65, 0x58], &inner));
        assert_eq!(read_inside(&ethernet(0x0800, &outer)).unwrap().key.vlan, 7);
        let tagged = ethernet(0x8100, &join(&[&[0, 5, 8, 0], &outer]));
        assert_eq!(read_inside(&tagged).unwrap().key.vlan, 5);
    }

    #[test]
    fn inner_total_length_zero_takes_what_the_outer_leaves() {
        let mut offload = query();
        offload[2..4].fill(0);
        let packet = read_inside(&ethernet(0x0800, &join(&[&ip4(4, &offload), &[0; 9]]))).unwrap();
        assert_eq!((packet.key.protocol, packet.length), (17, 32));
    }
}
