//! IP: header, extension headers, fragments and the length of a datagram.

use etherparse::{
    IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice, err,
    ip_number,
};

use super::{MAX_LENGTH, Refused};

/// Extension headers one behind another that are still believed.
const MAX_EXTENSIONS: usize = 16;

/// The bytes of an IPv4 address in the form of [`super::FlowKey`].
#[inline]
pub(super) fn wide(address: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&address);
    bytes
}

/// Whether the checksum of an IPv4 header holds: its words add up to ones (RFC 1071). The header has an even number of
/// bytes, at most 60.
pub(super) fn checksum_holds(header: &[u8]) -> bool {
    let words = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u32>();
    (sum & 0xFFFF) + (sum >> 16) == 0xFFFF
}

/// A datagram up to what its IP and extension headers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Datagram<'a> {
    /// Captured bytes from the IP header on, without what lies behind the datagram's end.
    pub(super) bytes: &'a [u8],
    pub(super) version: u8,
    pub(super) src: [u8; 16],
    pub(super) dst: [u8; 16],
    pub(super) ttl: u8,
    /// Of what follows the last header that was walked.
    pub(super) protocol: u8,
    /// Bytes of the whole datagram, captured or not. Never less than `headers`.
    pub(super) length: u32,
    /// Bytes of IP and extension headers, all captured.
    pub(super) headers: usize,
    /// A fragment that is not the first.
    pub(super) later_fragment: bool,
    /// A fragment that is not the last.
    pub(super) more_fragments: bool,
}

impl<'a> Datagram<'a> {
    /// Reads a datagram at the begin of `bytes`. `wire` is what the layers below say is left on the wire: the
    /// length of a datagram whose own says zero.
    ///
    /// Walked are the authentication header (over IPv4 too: the transport behind it is readable) and over IPv6
    /// hop-by-hop, routing, fragment, destination, mobility, HIP and shim6 headers. What is behind an encrypted
    /// payload (50) or "no next header" (59) is not looked for.
    pub(super) fn read(bytes: &'a [u8], version: u8, wire: u32) -> Result<Self, Refused> {
        if version == 4 { Self::v4(bytes, wire) } else { Self::v6(bytes, wire) }?.extensions()
    }

    fn v4(bytes: &'a [u8], wire: u32) -> Result<Self, Refused> {
        let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
            err::ipv4::HeaderSliceError::Len(_) if is_beyond_its_end(bytes) => Refused::Malformed,
            err::ipv4::HeaderSliceError::Len(_) => Refused::Truncated,
            err::ipv4::HeaderSliceError::Content(_) => Refused::Malformed,
        })?;
        let length = match header.total_len() {
            // Segmentation offload: the frame is longer than the field can say.
            0 => wire.min(MAX_LENGTH),
            length => u32::from(length),
        };
        Datagram {
            bytes,
            version: 4,
            src: wide(header.source()),
            dst: wide(header.destination()),
            ttl: header.ttl(),
            protocol: header.protocol().0,
            length,
            headers: header.slice().len(),
            later_fragment: header.fragments_offset().value() != 0,
            more_fragments: header.more_fragments(),
        }
        .cut()
    }

    fn v6(bytes: &'a [u8], wire: u32) -> Result<Self, Refused> {
        let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|error| match error {
            err::ipv6::HeaderSliceError::Len(_) => Refused::Truncated,
            err::ipv6::HeaderSliceError::Content(_) => Refused::Malformed,
        })?;
        let (next, headers) = (header.next_header(), header.slice().len());
        let length = match (header.payload_length(), next) {
            (0, ip_number::IPV6_NO_NEXT_HEADER) => 40,
            (0, ip_number::IPV6_HEADER_HOP_BY_HOP) => match jumbo(&bytes[headers..])? {
                Some(payload) => payload.saturating_add(40).min(MAX_LENGTH),
                None => wire.min(MAX_LENGTH),
            },
            (0, _) => wire.min(MAX_LENGTH),
            (payload, _) => u32::from(payload) + 40,
        };
        Datagram {
            bytes,
            version: 6,
            src: header.source(),
            dst: header.destination(),
            ttl: header.hop_limit(),
            protocol: next.0,
            length,
            headers,
            later_fragment: false,
            more_fragments: false,
        }
        .cut()
    }

    /// Leaves out what lies behind the datagram's end: padding, a trailer.
    fn cut(mut self) -> Result<Self, Refused> {
        if (self.length as usize) < self.headers {
            return Err(Refused::Malformed);
        }
        self.bytes = &self.bytes[..self.bytes.len().min(self.length as usize)];
        Ok(self)
    }

    fn extensions(mut self) -> Result<Self, Refused> {
        for _ in 0..=MAX_EXTENSIONS {
            if self.later_fragment {
                return Ok(self);
            }
            let rest = self.body();
            let short = |error: err::LenError| self.short(error.required_len);
            let (next, size) = match (self.version, self.protocol.into()) {
                (_, ip_number::AUTHENTICATION_HEADER) => {
                    let header = IpAuthHeaderSlice::from_slice(rest).map_err(|error| match error {
                        err::ip_auth::HeaderSliceError::Len(error) => short(error),
                        err::ip_auth::HeaderSliceError::Content(_) => Refused::Malformed,
                    })?;
                    (header.next_header(), header.slice().len())
                }
                (6, ip_number::IPV6_FRAGMENTATION_HEADER) => {
                    let header = Ipv6FragmentHeaderSlice::from_slice(rest).map_err(short)?;
                    self.later_fragment = header.fragment_offset().value() != 0;
                    self.more_fragments = header.more_fragments();
                    (header.next_header(), header.slice().len())
                }
                (
                    6,
                    ip_number::IPV6_HEADER_HOP_BY_HOP
                    | ip_number::IPV6_ROUTE_HEADER
                    | ip_number::IPV6_DESTINATION_OPTIONS
                    | ip_number::MOBILITY_HEADER
                    | ip_number::HIP
                    | ip_number::SHIM6,
                ) => {
                    let header = Ipv6RawExtHeaderSlice::from_slice(rest).map_err(short)?;
                    (header.next_header(), header.slice().len())
                }
                _ => return Ok(self),
            };
            self.protocol = next.0;
            self.headers += size;
        }
        Err(Refused::Malformed)
    }

    /// Says that of this datagram no more than `wire` bytes are here, because the datagram that carries it is a fragment
    /// which is not the last. The rest is counted where it comes: with the fragments that follow.
    pub(super) fn end_with_fragment(&mut self, wire: u32) {
        if self.length > wire {
            self.length = wire.max(self.headers as u32);
            self.more_fragments = true;
        }
    }

    /// Captured bytes behind the IP and extension headers.
    pub(super) fn body(&self) -> &'a [u8] {
        self.bytes.get(self.headers..).unwrap_or_default()
    }

    /// Bytes behind the IP and extension headers, captured or not.
    pub(super) fn room(&self) -> u32 {
        self.length.saturating_sub(self.headers as u32)
    }

    /// Why `needed` bytes of the body are not there: the datagram has no room for them, or the capture cut them.
    pub(super) fn short(&self, needed: usize) -> Refused {
        if needed > self.room() as usize { Refused::Malformed } else { Refused::Truncated }
    }
}

/// Whether an IPv4 header says that it is longer than the datagram, which then was never whole.
fn is_beyond_its_end(bytes: &[u8]) -> bool {
    let [first, _, high, low, ..] = *bytes else { return false };
    let length = u16::from_be_bytes([high, low]);
    length > 0 && u16::from(first & 15) * 4 > length
}

/// The payload length in a hop-by-hop header's jumbo option (RFC 2675); `None` where there is no such option or
/// the header is cut.
fn jumbo(bytes: &[u8]) -> Result<Option<u32>, Refused> {
    const PAD_ONE: u8 = 0;
    const JUMBO: u8 = 0xC2;
    let Ok(header) = Ipv6RawExtHeaderSlice::from_slice(bytes) else { return Ok(None) };
    let mut options = &header.slice()[2..];
    loop {
        options = match options {
            [PAD_ONE, rest @ ..] => rest,
            [JUMBO, 4, a, b, c, d, ..] => {
                let length = u32::from_be_bytes([*a, *b, *c, *d]);
                // The option is forbidden where the field of 16 bits would have done.
                return if length > 0xFFFF { Ok(Some(length)) } else { Err(Refused::Malformed) };
            }
            [_, size, rest @ ..] => rest.get(usize::from(*size)..).unwrap_or_default(),
            _ => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::*;
    use super::super::{LATER_FRAGMENT, Packet, PacketSpec, decode};
    use super::*;

    fn raw(datagram: &[u8]) -> Result<Packet, Refused> {
        read(101, datagram)
    }

    /// Sets the 16-bit field at `at`.
    fn with(mut bytes: Vec<u8>, at: usize, value: u16) -> Vec<u8> {
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
        bytes
    }

    #[test]
    fn ipv4_options_count_as_headers() {
        let mut bytes = ip4(17, &join(&[&[1; 8], &udp(1000, 53, &[0; 4])]));
        bytes[0] = 0x47;
        let packet = raw(&bytes).unwrap();
        assert_eq!((packet.length, packet.headers, packet.payload()), (40, 36, 4));
        assert_eq!((packet.key.port_a, packet.key.port_b), (1000, 53));
    }

    #[test]
    fn a_header_beyond_the_end_of_its_datagram_is_malformed_also_where_the_frame_ends_before() {
        let mut bytes = ip4(17, &udp(1000, 53, &[0; 4]));
        bytes[0] = 0x4F;
        assert_eq!(read(1, &ethernet(0x0800, &join(&[&bytes, &[0; 14]]))), Err(Refused::Malformed));
        // A datagram of that length could hold it.
        let cut = with(bytes, 2, 60);
        assert_eq!(raw(&cut), Err(Refused::Truncated));
    }

    #[test]
    fn padding_behind_the_datagram_is_not_read() {
        let frame = ethernet(0x0800, &join(&[&query(), &[0xEE; 18]]));
        assert!(is_query(read(1, &frame)));
        // TCP does not fit into the datagram, though the padding would make room.
        let short = with(ip4(6, &tcp(1, 2, 0)), 2, 39);
        assert_eq!(read(1, &ethernet(0x0800, &join(&[&short, &[0; 18]]))), Err(Refused::Malformed));
        // The same for the slow path, with an extension header.
        let body = join(&[&extension(6, 0), &tcp(1, 2, 0)]);
        assert_eq!(raw(&with(ip6(60, &body), 4, 27)), Err(Refused::Malformed));
    }

    #[test]
    fn a_snap_cut_datagram_counts_in_full() {
        let whole = ethernet(0x0800, &ip4(6, &tcp(1, 2, 1400)));
        let cut = decode(1, &whole[..14 + 20 + 16], whole.len() as u32, 7, &PacketSpec::default()).unwrap();
        assert_eq!(cut, read(1, &whole).unwrap());
        assert_eq!((cut.length, cut.payload()), (1440, 1400));
    }

    #[test]
    fn total_length_zero_takes_the_length_on_the_wire() {
        let frame = |offload: &[u8]| ethernet(0x8100, &join(&[&[0, 5, 8, 0], offload]));
        let bytes = frame(&with(ip4(6, &tcp(1, 2, 40)), 2, 0));
        let packet = decode(1, &bytes, 70_018, 7, &PacketSpec::default()).unwrap();
        assert_eq!((packet.length, packet.payload()), (70_000, 69_960));
        let endless = decode(1, &bytes, u32::MAX, 7, &PacketSpec::default()).unwrap();
        assert_eq!(endless.length, MAX_LENGTH);
        // An original length below what was captured is not believed.
        let packet = decode(1, &bytes, 0, 7, &PacketSpec::default()).unwrap();
        assert_eq!(packet.length, 80);
    }

    #[test]
    fn payload_length_zero_takes_the_jumbo_option_or_the_length_on_the_wire() {
        let offload = with(ip6(6, &tcp(1, 2, 40)), 4, 0);
        let packet = decode(1, &ethernet(0x86DD, &offload), 80_014, 7, &PacketSpec::default()).unwrap();
        assert_eq!((packet.length, packet.headers), (80_000, 60));

        let jumbo = |length: u32| {
            let options = join(&[&[6, 0, 0xC2, 4], &length.to_be_bytes()]);
            with(ip6(0, &join(&[&options, &tcp(1, 2, 40)])), 4, 0)
        };
        let packet = raw(&jumbo(100_000)).unwrap();
        assert_eq!((packet.length, packet.headers, packet.key.protocol), (100_040, 68, 6));
        assert_eq!(raw(&jumbo(u32::MAX)).unwrap().length, MAX_LENGTH);
        assert_eq!(raw(&jumbo(65_535)), Err(Refused::Malformed));
        // Hop-by-hop without the option.
        let plain = with(ip6(0, &join(&[&extension(6, 0), &tcp(1, 2, 40)])), 4, 0);
        assert_eq!(raw(&plain).unwrap().length, 108);
    }

    #[test]
    fn an_empty_datagram_without_next_header_is_not_taken_for_a_jumbogram() {
        let frame = ethernet(0x86DD, &join(&[&ip6(59, &[]), &[0; 6]]));
        let packet = read(1, &frame).unwrap();
        assert_eq!((packet.length, packet.headers, packet.key.protocol), (40, 40, 59));
    }

    #[test]
    fn extension_headers_are_walked() {
        for kind in [0, 43, 60, 135, 139, 140] {
            let packet = raw(&ip6(kind, &join(&[&extension(17, 2), &udp(7, 9, &[0; 5])]))).unwrap();
            assert_eq!((packet.key.protocol, packet.key.port_a, packet.key.port_b), (17, 7, 9), "{kind}");
            assert_eq!((packet.headers, packet.length, packet.payload()), (72, 77, 5));
        }
    }

    #[test]
    fn authentication_headers_are_walked_over_both_versions() {
        let body = join(&[&[17, 4, 0, 0], &[0; 20], &udp(7, 9, &[0; 5])]);
        let (four, six) = (raw(&ip4(51, &body)).unwrap(), raw(&ip6(51, &body)).unwrap());
        assert_eq!((four.key.protocol, four.headers, four.payload()), (17, 52, 5));
        assert_eq!((six.key.protocol, six.headers, six.payload()), (17, 72, 5));
        assert_eq!(raw(&ip4(51, &join(&[&[17, 0, 0, 0], &[0; 20]]))), Err(Refused::Malformed));
    }

    #[test]
    fn encrypted_payload_and_no_next_header_end_the_walk() {
        for last in [50, 59] {
            let packet = raw(&ip6(60, &join(&[&extension(last, 0), &udp(7, 9, &[])]))).unwrap();
            assert_eq!((packet.key.protocol, packet.key.port_a, packet.headers), (last, 0, 48));
        }
    }

    #[test]
    fn a_chain_beyond_the_bound_is_malformed() {
        let chain = |n: usize| {
            let mut body = extension(60, 0).repeat(n - 1);
            body.extend(extension(17, 0));
            ip6(60, &join(&[&body, &udp(7, 9, &[])]))
        };
        assert_eq!(raw(&chain(MAX_EXTENSIONS)).unwrap().key.port_b, 9);
        assert_eq!(raw(&chain(MAX_EXTENSIONS + 1)), Err(Refused::Malformed));
    }

    #[test]
    fn an_extension_beyond_the_datagram_is_malformed_and_beyond_the_capture_truncated() {
        let lying = ip6(60, &extension(17, 1)[..8]);
        assert_eq!(raw(&join(&[&lying, &[0; 64]])), Err(Refused::Malformed));
        let whole = ip6(60, &join(&[&extension(17, 1), &udp(7, 9, &[])]));
        assert_eq!(raw(&whole[..50]), Err(Refused::Truncated));
        let fragment = ip6(44, &[17, 0, 0, 0]);
        assert_eq!(raw(&fragment), Err(Refused::Malformed));
        assert_eq!(raw(&with(fragment, 4, 100)), Err(Refused::Truncated));
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let body = udp(7, 9, &[0; 16]);
        let first = raw(&with(ip4(17, &body), 6, 0x2000)).unwrap();
        assert_eq!((first.key.port_a, first.bits & LATER_FRAGMENT, first.headers), (7, 0, 28));
        let later = raw(&with(ip4(17, &body), 6, 0x2003)).unwrap();
        assert_eq!((later.key.port_a, later.key.port_b, later.headers), (0, 0, 20));
        assert_eq!((later.bits & LATER_FRAGMENT, later.length), (LATER_FRAGMENT, 44));
        // Over IPv6 a next header that would be walked in the first is not in the later ones.
        let six = |offset: u16| {
            let fragment = with(vec![60, 0, 0, 0, 0, 0, 0, 1], 2, offset);
            raw(&ip6(44, &join(&[&fragment, &extension(17, 0), &body]))).unwrap()
        };
        assert_eq!((six(1).key.protocol, six(1).key.port_a, six(1).headers), (17, 7, 64));
        assert_eq!(
            (six(9).key.protocol, six(9).bits & LATER_FRAGMENT, six(9).headers),
            (60, LATER_FRAGMENT, 48)
        );
        // The last fragment has the offset, but not the flag; an atomic one has neither.
        assert_eq!(six(8).bits & LATER_FRAGMENT, LATER_FRAGMENT);
        assert_eq!(six(0).bits & LATER_FRAGMENT, 0);
    }

    #[test]
    fn headers_that_contradict_themselves_are_malformed() {
        for (at, value) in [(0, 0x5500), (0, 0x4400), (0, 0x6500), (2, 19), (2, 24)] {
            let frame = ethernet(0x0800, &with(ip4(6, &tcp(1, 2, 0)), at, value));
            assert_eq!(read(1, &frame), Err(Refused::Malformed), "{at} {value}");
        }
        let six = ethernet(0x86DD, &with(ip6(6, &tcp(1, 2, 0)), 0, 0x4000));
        assert_eq!(read(1, &six), Err(Refused::Malformed));
    }

    #[test]
    fn an_ip_header_that_is_cut_is_truncated() {
        let (four, six) = (ethernet(0x0800, &query()), ethernet(0x86DD, &ip6(17, &udp(1, 2, &[]))));
        for cut in 14..34 {
            assert_eq!(read(1, &four[..cut]), Err(Refused::Truncated));
        }
        for cut in 14..54 {
            assert_eq!(read(1, &six[..cut]), Err(Refused::Truncated));
        }
        let mut options = with(four, 16, 60);
        options[14] = 0x4F;
        assert_eq!(read(1, &options), Err(Refused::Truncated));
    }
}
