//! From a captured frame to a [`Packet`]: a short path for plain frames, the walk through all layers for the rest.

use super::link;
use super::link_types::ETHERNET;
use super::network::Datagram;
use super::transport::{ICMP, ICMP6, TCP, Transport, UDP};
use super::tunnel::{self, GENEVE_PORT, VXLAN_PORT, VXLAN_PORT_LINUX};
use super::{BACKWARD, FlowKey, LATER_FRAGMENT, NO_VLAN, Packet, PacketSpec, Refused, Vlan};

/// Decodes one frame.
///
/// - `link`: LINKTYPE number of its interface ([`LINKS`](super::LINKS)).
/// - `frame`: the captured bytes; `original`: the frame's length on the wire, which counts only for datagrams
///   whose own length field says zero, and for what MPLS labels lead to.
/// - `time`: capture time, nanoseconds since the Unix epoch.
///
/// Ports are those of TCP, UDP, UDP-Lite, SCTP and DCCP; other protocols and later fragments have port 0. With
/// [`PacketSpec::tunnels`] the innermost datagram that can be read is the packet; if what a tunnel carries is not
/// IP or is refused (broken, cut off), the tunnel's own datagram stands.
///
/// # Errors
/// [`Refused`] says why the frame is no packet. No bytes make it panic.
#[inline]
pub fn decode(
    link: u16,
    frame: &[u8],
    original: u32,
    time: u64,
    spec: &PacketSpec,
) -> Result<Packet, Refused> {
    if link == ETHERNET
        && let Some(packet) = plain(frame, time, spec)
    {
        return Ok(packet);
    }
    walk(link, frame, original, time, spec)
}

/// Ethernet with at most one tag, IPv4 without options or IPv6 without extensions, whole, TCP, UDP or ICMP, nothing
/// wrong with it. `None` for all else: [`walk`] decides about that, and would say the same about what is taken here.
#[inline]
fn plain(frame: &[u8], time: u64, spec: &PacketSpec) -> Option<Packet> {
    let be16 = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let ethernet: &[u8; 14] = frame.first_chunk()?;
    let (mut kind, mut at, mut vlan) = (be16(ethernet, 12), 14, NO_VLAN);
    if kind == 0x8100 {
        let tagged: &[u8; 18] = frame.first_chunk()?;
        let id = be16(tagged, 14) & 0xFFF;
        (kind, at) = (be16(tagged, 16), 18);
        if id != 0 && spec.vlan == Vlan::Key {
            vlan = id;
        }
    }
    let datagram = frame.get(at..)?;
    let (protocol, version, ttl, size, length) = match kind {
        0x0800 => {
            let header: &[u8; 20] = datagram.first_chunk()?;
            // Neither "more fragments" nor an offset.
            if header[0] != 0x45 || be16(header, 6) & 0x3FFF != 0 {
                return None;
            }
            (header[9], 4, header[8], 20, u32::from(be16(header, 2)))
        }
        0x86DD => {
            let header: &[u8; 40] = datagram.first_chunk()?;
            if header[0] >> 4 != 6 {
                return None;
            }
            let length = match be16(header, 4) {
                0 => return None,
                payload => u32::from(payload) + 40,
            };
            (header[6], 6, header[7], 40, length)
        }
        _ => return None,
    };
    let body = datagram.get(size..)?;
    let room = length.checked_sub(size as u32)?;
    let mut transport = Transport::default();
    match protocol {
        TCP => {
            let head: &[u8; 16] = body.first_chunk()?;
            (transport.src_port, transport.dst_port) = (be16(head, 0), be16(head, 2));
            transport.sequence = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            transport.acknowledgement = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
            transport.size = u32::from(head[12] >> 4) * 4;
            transport.flags = head[13];
            transport.window = be16(head, 14);
            if transport.size < 20 {
                return None;
            }
        }
        UDP => {
            let head: &[u8; 4] = body.first_chunk()?;
            (transport.src_port, transport.dst_port) = (be16(head, 0), be16(head, 2));
            transport.size = 8;
            if spec.tunnels && matches!(transport.dst_port, VXLAN_PORT | VXLAN_PORT_LINUX | GENEVE_PORT) {
                return None;
            }
        }
        ICMP | ICMP6 => {
            let head: &[u8; 2] = body.first_chunk()?;
            (transport.icmp_type, transport.icmp_code) = (head[0], head[1]);
            transport.size = 8;
        }
        _ => return None,
    }
    if room < transport.size {
        return None;
    }
    let (from, to) = (transport.src_port, transport.dst_port);
    let (key, backward) = if version == 4 {
        let [src, dst] = [datagram.get(12..)?.first_chunk()?, datagram.get(16..)?.first_chunk()?];
        FlowKey::ordered_v4((*src, from), (*dst, to), protocol, vlan)
    } else {
        let [src, dst] = [datagram.get(8..)?.first_chunk()?, datagram.get(24..)?.first_chunk()?];
        FlowKey::ordered((*src, from), (*dst, to), protocol, version, vlan)
    };
    Some(Packet {
        time,
        key,
        sequence: transport.sequence,
        acknowledgement: transport.acknowledgement,
        length,
        headers: (size as u32 + transport.size) as u16,
        window: transport.window,
        flags: transport.flags,
        ttl,
        bits: u8::from(backward) * BACKWARD,
        icmp_type: transport.icmp_type,
        icmp_code: transport.icmp_code,
        pad: [0; 3],
    })
}

/// Any frame, layer by layer.
#[cold]
#[inline(never)]
fn walk(link: u16, frame: &[u8], original: u32, time: u64, spec: &PacketSpec) -> Result<Packet, Refused> {
    let captured = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let found = link::find(link, frame, original.max(captured))?;
    let mut datagram = Datagram::read(&frame[found.at..], found.version, found.wire)?;
    let mut transport = Transport::read(&datagram)?;
    let id = |vlan: u16| if spec.vlan == Vlan::Key { vlan } else { NO_VLAN };
    let mut vlan = id(found.vlan);
    let mut packet = assemble(&datagram, &transport, vlan, time);
    if spec.tunnels {
        for _ in 0..tunnel::MAX_DEPTH {
            let Some(found) = tunnel::inner(&datagram, transport.dst_port) else { break };
            let wire = datagram.room().saturating_sub(found.at as u32);
            let Ok(mut inner) = Datagram::read(&datagram.body()[found.at..], found.version, wire) else {
                break;
            };
            if datagram.more_fragments {
                inner.end_with_fragment(wire);
            }
            let Ok(header) = Transport::read(&inner) else { break };
            (datagram, transport) = (inner, header);
            if vlan == NO_VLAN {
                vlan = id(found.vlan);
            }
            packet = assemble(&datagram, &transport, vlan, time);
        }
    }
    Ok(packet)
}

fn assemble(datagram: &Datagram, transport: &Transport, vlan: u16, time: u64) -> Packet {
    let (key, backward) = FlowKey::ordered(
        (datagram.src, transport.src_port),
        (datagram.dst, transport.dst_port),
        datagram.protocol,
        datagram.version,
        vlan,
    );
    Packet {
        time,
        key,
        sequence: transport.sequence,
        acknowledgement: transport.acknowledgement,
        length: datagram.length,
        headers: (datagram.headers as u32 + transport.size) as u16,
        window: transport.window,
        flags: transport.flags,
        ttl: datagram.ttl,
        bits: (u8::from(backward) * BACKWARD) | (u8::from(datagram.later_fragment) * LATER_FRAGMENT),
        icmp_type: transport.icmp_type,
        icmp_code: transport.icmp_code,
        pad: [0; 3],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::LINKS;
    use super::super::frames::*;
    use super::*;

    const SPECS: [PacketSpec; 3] = [
        PacketSpec { tunnels: false, vlan: Vlan::Key },
        PacketSpec { tunnels: true, vlan: Vlan::Key },
        PacketSpec { tunnels: true, vlan: Vlan::Ignore },
    ];

    /// Frames as etherparse writes them, and whether the short path must take them.
    fn frames() -> impl Strategy<Value = (Vec<u8>, bool)> {
        let ports = prop_oneof![
            any::<u16>(),
            prop::sample::select(vec![VXLAN_PORT, VXLAN_PORT_LINUX, GENEVE_PORT, 53])
        ];
        let payload = prop::collection::vec(any::<u8>(), 0..80);
        let kinds = (any::<bool>(), 0..4u8, 0..4u8, any::<[u8; 32]>());
        (kinds, any::<u16>(), ports, payload, any::<[u8; 13]>()).prop_map(
            |((six, tags, transport, addresses), src, dst, payload, noise)| {
                use etherparse::*;
                let id = |at: usize| {
                    VlanId::try_new(u16::from_be_bytes([noise[at] & 0xF, noise[at + 1]])).expect("12 bits")
                };
                let ip = if six {
                    let (a, b) = (addresses[..16].try_into().unwrap(), addresses[16..].try_into().unwrap());
                    NetBuilder::V6(a, b, noise[0])
                } else {
                    let (a, b) = (addresses[..4].try_into().unwrap(), addresses[4..8].try_into().unwrap());
                    NetBuilder::V4(a, b, noise[0])
                };
                let frame = PacketBuilder::ethernet2([2; 6], [4; 6]);
                let step = match (tags, ip) {
                    (0, NetBuilder::V4(a, b, ttl)) => frame.ipv4(a, b, ttl),
                    (0, NetBuilder::V6(a, b, ttl)) => frame.ipv6(a, b, ttl),
                    (1, NetBuilder::V4(a, b, ttl)) => frame.single_vlan(id(1)).ipv4(a, b, ttl),
                    (1, NetBuilder::V6(a, b, ttl)) => frame.single_vlan(id(1)).ipv6(a, b, ttl),
                    (_, NetBuilder::V4(a, b, ttl)) => frame.double_vlan(id(1), id(3)).ipv4(a, b, ttl),
                    (_, NetBuilder::V6(a, b, ttl)) => frame.double_vlan(id(1), id(3)).ipv6(a, b, ttl),
                };
                let mut bytes = Vec::new();
                let seq = u32::from_be_bytes([noise[5], noise[6], noise[7], noise[8]]);
                let window = u16::from_be_bytes([noise[9], noise[10]]);
                match transport {
                    0 => {
                        let step = step.tcp(src, dst, seq, window).ack(seq.rotate_left(9)).syn();
                        let options = [TcpOptionElement::MaximumSegmentSize(window), TcpOptionElement::Noop];
                        let step = step.options(&options[..usize::from(noise[11] % 3)]).expect("they fit");
                        step.write(&mut bytes, &payload)
                    }
                    1 => step.udp(src, dst).write(&mut bytes, &payload),
                    2 if six => step.icmpv6_raw(noise[5], noise[6], [0; 4]).write(&mut bytes, &payload),
                    2 => step.icmpv4_raw(noise[5], noise[6], [0; 4]).write(&mut bytes, &payload),
                    _ => {
                        // Numbers of extension headers cannot be written this way.
                        let numbers = [0x21, 2, 47, 50, 132, 136, 255];
                        step.write(
                            &mut bytes,
                            IpNumber(numbers[usize::from(noise[5]) % numbers.len()]),
                            &payload,
                        )
                    }
                }
                .expect("a vector takes everything");
                (bytes, tags < 2 && transport < 3)
            },
        )
    }

    enum NetBuilder {
        V4([u8; 4], [u8; 4], u8),
        V6([u8; 16], [u8; 16], u8),
    }

    /// Plain frames, frames of every link type and most layers: to be damaged.
    fn seeds() -> Vec<(u16, Vec<u8>)> {
        let snap = [0xAA, 0xAA, 3, 0, 0, 0, 8, 0];
        let fragment = [51, 0, 0, 1, 0, 0, 0, 0];
        let authentication = [6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let chain = join(&[&extension(43, 1), &extension(44, 0), &fragment, &authentication, &tcp(1, 2, 8)]);
        let chain = ip6(0, &chain);
        let vxlan = udp(9, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 0, 0], &ethernet(0x0800, &query())]));
        let geneve = udp(9, 6081, &join(&[&[1, 0, 0x65, 0x58], &[0; 8], &ethernet(0x86DD, &chain)]));
        let gre =
            join(&[&[0xB0, 0, 0x65, 0x58], &[0; 12], &ethernet(0x8100, &join(&[&[0, 1, 8, 0], &query()]))]);
        vec![
            (1, ethernet(0x0800, &ip4(6, &tcp(1, 2, 9)))),
            (1, ethernet(0x8100, &join(&[&[0, 5, 8, 0], &query()]))),
            (1, ethernet(0x0800, &ip4(1, &[8; 12]))),
            (1, ethernet(0x86DD, &ip6(6, &tcp(1, 2, 9)))),
            (1, ethernet(0x8100, &join(&[&[0, 0, 0x86, 0xDD], &ip6(17, &udp(1, 4789, &[8; 30]))]))),
            (1, ethernet(0x86DD, &ip6(58, &[8; 12]))),
            (0, join(&[&[2, 0, 0, 0], &query()])),
            (108, join(&[&[0, 0, 0, 30], &chain])),
            (9, join(&[&[0xFF, 3, 0, 0x21], &query()])),
            (50, join(&[&[0x8F, 0, 8, 0], &query()])),
            (12, query()),
            (101, chain.clone()),
            (105, join(&[&[0x88, 0x83], &[0; 34], &snap, &query()])),
            (
                127,
                join(&[
                    &[0, 0, 17, 0, 3, 0, 0, 0],
                    &[0; 8],
                    &[0x30, 0x88, 1],
                    &[0; 24],
                    &[0; 2],
                    &snap,
                    &query(),
                ]),
            ),
            (113, join(&[&[0; 14], &[8, 0], &query()])),
            (276, join(&[&[0x86, 0xDD], &[0; 18], &chain])),
            (1, ethernet(0x88A8, &join(&[&[0, 5, 0x81, 0, 0, 6, 8, 0], &ip4(6, &tcp(1, 2, 9))]))),
            (1, ethernet(0x8847, &join(&[&[0, 0, 0, 9, 0, 0, 1, 9], &query()]))),
            (1, ethernet(0x8848, &join(&[&[0, 0, 1, 9], &chain]))),
            (
                1,
                ethernet(0x8909, &join(&[&[1, 1, 0, 1, 0, 9, 0x89, 0x3F, 0, 1, 0, 2, 0, 0, 8, 0], &query()])),
            ),
            (104, join(&[&[0x0F, 0, 8, 0], &query()])),
            (1, ethernet(0x8864, &join(&[&[0x11, 0, 0, 1, 0, 34, 0, 0x21], &query()]))),
            (1, ethernet(40, &join(&[&snap, &query()]))),
            (1, ethernet(0x0800, &ip4(17, &vxlan))),
            (1, ethernet(0x0800, &ip4(17, &geneve))),
            (1, ethernet(0x86DD, &ip6(47, &gre))),
            (1, ethernet(0x0800, &ip4(4, &ip4(41, &chain)))),
        ]
    }

    /// What holds for every packet, whatever the frame.
    fn check(link: u16, frame: &[u8], original: u32) {
        for spec in &SPECS {
            let Ok(packet) = decode(link, frame, original, 3, spec) else { continue };
            assert!(packet.length <= super::super::MAX_LENGTH);
            assert!(u32::from(packet.headers) <= packet.length, "{packet:?}");
            assert_eq!(packet.length, packet.payload() + u32::from(packet.headers));
            assert!(matches!(packet.key.version, 4 | 6));
            assert!(packet.key.vlan <= 0xFFF || packet.key.vlan == NO_VLAN);
            assert!(spec.vlan == Vlan::Key || packet.key.vlan == NO_VLAN);
            assert!((packet.key.a, packet.key.port_a) <= (packet.key.b, packet.key.port_b));
            assert_eq!((packet.time, packet.pad), (3, [0; 3]));
            let tcp = packet.key.protocol == TCP;
            assert!(tcp || (packet.sequence, packet.window, packet.flags) == (0, 0, 0));
            assert!(packet.bits & LATER_FRAGMENT == 0 || (packet.key.port_a, packet.key.port_b) == (0, 0));
        }
    }

    /// The short path takes the frame, or leaves it, but never says anything else than the walk.
    fn same(frame: &[u8], original: u32) -> bool {
        let mut taken = false;
        for spec in &SPECS {
            if let Some(packet) = plain(frame, 3, spec) {
                assert_eq!(Ok(packet), walk(ETHERNET, frame, original, 3, spec));
                taken = true;
            }
        }
        taken
    }

    #[test]
    fn the_short_path_takes_plain_frames() {
        for ip in [ip4(6, &tcp(1, 2, 9)), ip4(17, &udp(1, 2, &[])), ip4(1, &[8; 8])] {
            assert!(same(&ethernet(0x0800, &ip), 0));
            assert!(same(&ethernet(0x8100, &join(&[&[0, 5, 8, 0], &ip])), 0));
        }
        for ip in [ip6(6, &tcp(1, 2, 9)), ip6(17, &udp(1, 2, &[])), ip6(58, &[8; 8])] {
            assert!(same(&ethernet(0x86DD, &ip), 0));
            assert!(same(&ethernet(0x8100, &join(&[&[0, 5, 0x86, 0xDD], &ip])), 0));
        }
    }

    #[test]
    fn ids_of_vlans_that_are_ignored_tell_no_flows_apart() {
        let ignored = PacketSpec { vlan: Vlan::Ignore, ..PacketSpec::default() };
        let tags: [&[u8]; 3] = [&[0, 5, 8, 0], &[0xE0, 6, 8, 0], &[0, 5, 0x81, 0, 0, 6, 8, 0]];
        for tags in tags {
            let frame = ethernet(0x8100, &join(&[tags, &query()]));
            let packet = decode(1, &frame, frame.len() as u32, 7, &ignored).unwrap();
            assert_eq!(packet.key, read(101, &query()).unwrap().key);
            assert_ne!(read(1, &frame).unwrap().key.vlan, NO_VLAN);
        }
    }

    #[test]
    fn damage_to_any_single_byte_or_end_is_survived() {
        for (link, frame) in seeds() {
            assert!(read(link, &frame).is_ok(), "{link} {frame:02X?}");
            for at in 0..frame.len() {
                check(link, &frame[..at], frame.len() as u32);
                let mut damaged = frame.clone();
                for value in 0..=255 {
                    damaged[at] = value;
                    check(link, &damaged, frame.len() as u32);
                    if link == ETHERNET {
                        same(&damaged, frame.len() as u32);
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn built_frames_say_the_same_on_both_paths(
            (frame, plain) in frames(),
            damage in prop::collection::vec((0..70usize, any::<u8>()), 0..4),
            cut in 0..200usize,
            padding in 0..20usize,
            original in any::<u32>(),
        ) {
            prop_assert_eq!(same(&frame, original), plain);
            check(1, &frame, original);
            let mut frame = frame;
            frame.extend(vec![0xEE; padding]);
            same(&frame, original);
            for (at, value) in damage {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
                same(&frame, original);
                check(1, &frame, original);
            }
            frame.truncate(cut);
            same(&frame, original);
            check(1, &frame, original);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..160), original in any::<u32>()) {
            for (link, _) in LINKS {
                check(link, &bytes, original);
            }
            same(&bytes, original);
        }

        #[test]
        fn mutated_frames_never_panic(
            which in any::<prop::sample::Index>(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
            original in any::<u32>(),
        ) {
            let seeds = seeds();
            let (link, mut frame) = which.get(&seeds).clone();
            for (at, value) in damage {
                *at.get_mut(&mut frame) = value;
            }
            check(link, &frame, original);
            frame.truncate(cut.index(frame.len()));
            check(link, &frame, original);
        }
    }
}
