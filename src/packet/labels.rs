//! MPLS: what stands below the last label.
//!
//! No field names it. Routers look at the first nibble (RFC 4928), and an Ethernet pseudowire without a control word
//! (RFC 4448, 4.6) begins with the address of a station, whose first nibble may be 4 or 6 as well. Such frames would become
//! flows between hosts that do not exist, one for each station: what is taken for IP must look like it.

use super::Refused;
use super::link::{Found, MAX_STACK, Walk};
use super::network::checksum_holds;

/// What an Ethernet frame of the least length holds: shorter datagrams are filled up to it.
const PADDED: u32 = 46;
/// Bytes of a frame check sequence.
const CHECK: u32 = 4;

impl Walk<'_> {
    /// MPLS labels (RFC 3032). `kind` names the frame when it is not IP.
    pub(super) fn labels(mut self, kind: u16) -> Result<Found, Refused> {
        for _ in 0..MAX_STACK {
            if self.take::<4>()?[2] & 1 != 0 {
                let left = self.left();
                return match self.rest().first().ok_or(Refused::Truncated)? >> 4 {
                    4 if looks_like_v4(self.rest(), left) => Ok(self.found(4)),
                    6 if looks_like_v6(self.rest(), left) => Ok(self.found(6)),
                    _ => Err(Refused::NotIp(kind)),
                };
            }
        }
        Err(Refused::Malformed)
    }
}

/// Whether `bytes`, which have `left` on the wire, look like an IPv4 datagram. Also where the header is not captured whole:
/// who reads it says so.
fn looks_like_v4(bytes: &[u8], left: u32) -> bool {
    let header = usize::from(bytes[0] & 0x0F) * 4;
    if header < 20 || header > left as usize {
        return false;
    }
    let Some([_, _, high, low, .., sum, sum_low]) = bytes.first_chunk::<12>() else { return true };
    let length = u32::from(u16::from_be_bytes([*high, *low]));
    // Zero is that of segmentation offload.
    if length != 0 && !(header as u32..=left).contains(&length) {
        return false;
    }
    if [*sum, *sum_low] == [0, 0] {
        // Left to the network card: then the length must be that of the frame.
        return length != 0 && (left - length <= CHECK || left <= PADDED);
    }
    bytes.get(..header).is_none_or(checksum_holds)
}

/// Whether `bytes`, which have `left` on the wire, look like an IPv6 datagram.
fn looks_like_v6(bytes: &[u8], left: u32) -> bool {
    if left < 40 {
        return false;
    }
    let Some([_, _, _, _, high, low, next, ..]) = bytes.first_chunk::<16>() else { return true };
    let payload = u32::from(u16::from_be_bytes([*high, *low]));
    let named = match payload {
        // A jumbogram (RFC 2675), segmentation offload, or nothing at all.
        0 => matches!(next, 0 | 6 | 17 | 59),
        _ => payload <= left - 40 && is_next_header(*next),
    };
    named && !looks_like_ethernet(bytes)
}

/// Extension headers, and the transports, tunnels and routing protocols that follow IPv6.
fn is_next_header(number: u8) -> bool {
    matches!(
        number,
        0 | 4 | 6 | 17 | 33 | 41 | 43 | 44 | 46 | 47 | 50 | 51 | 58..=60 | 88 | 89 | 103 | 112 | 115 | 132 | 135..=137
            | 139 | 140
    )
}

/// Whether two addresses of stations are followed by an ethertype, and that by what it names.
fn looks_like_ethernet(bytes: &[u8]) -> bool {
    let Some([high, low, first, second]) = bytes.get(12..).and_then(|bytes| bytes.first_chunk()) else {
        return false;
    };
    match u16::from_be_bytes([*high, *low]) {
        0x0800 => first >> 4 == 4,
        0x86DD => first >> 4 == 6,
        // ARP of Ethernet.
        0x0806 => [*first, *second] == [0, 1],
        0x8100 | 0x88A8 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frames::*;
    use super::super::{Packet, PacketSpec, decode};
    use super::*;

    const LABELS: [u8; 8] = [0, 1, 0x20, 64, 0, 1, 0x31, 64];

    fn labelled(below: &[u8]) -> Vec<u8> {
        ethernet(0x8847, &join(&[&LABELS, below]))
    }

    fn below(below: &[u8]) -> Result<Packet, Refused> {
        read(1, &labelled(below))
    }

    /// The datagram with a right header checksum.
    fn summed(mut datagram: Vec<u8>) -> Vec<u8> {
        let header = usize::from(datagram[0] & 0x0F) * 4;
        datagram[10..12].fill(0);
        let words =
            datagram[..header].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum = words.sum::<u32>();
        let sum = (sum & 0xFFFF) + (sum >> 16);
        datagram[10..12].copy_from_slice(&(!((sum & 0xFFFF) + (sum >> 16)) as u16).to_be_bytes());
        datagram
    }

    /// An Ethernet frame between two stations.
    fn bridged(dst: [u8; 6], src: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
        join(&[&dst, &src, &kind.to_be_bytes(), payload])
    }

    #[test]
    fn mpls_shows_ip_by_its_header_and_pseudowires_are_not_ip() {
        for kind in [0x8847, 0x8848] {
            assert!(is_query(read(1, &ethernet(kind, &join(&[&LABELS, &query()])))));
            let six = ethernet(kind, &join(&[&LABELS, &ip6(17, &udp(1, 2, &[]))]));
            assert_eq!(read(1, &six).unwrap().key.version, 6);
            let wire = ethernet(kind, &join(&[&LABELS, &[0; 4], &ethernet(0x0800, &query())]));
            assert_eq!(read(1, &wire), Err(Refused::NotIp(kind)));
        }
    }

    #[test]
    fn a_pseudowire_without_control_word_is_no_ip_whatever_its_stations() {
        for first in [0x40, 0x45, 0x48, 0x4F, 0x60, 0x6C] {
            for (kind, payload) in [
                (0x0800, summed(query())),
                (0x0800, summed(ip4(6, &tcp(1, 2, 900)))),
                (0x86DD, ip6(6, &tcp(1, 2, 40))),
                (0x0806, join(&[&[0, 1, 8, 0], &[0; 42]])),
                (0x8100, join(&[&[0, 5, 8, 0], &query()])),
            ] {
                // Also with addresses whose bytes would do as a length and a next header.
                for (rest, src) in
                    [([0x5A, 0xB6, 1, 2, 3], [0, 0x1B, 9, 8, 7, 6]), ([0, 0, 0, 0, 40], [6; 6])]
                {
                    let dst = [first, rest[0], rest[1], rest[2], rest[3], rest[4]];
                    let frame = bridged(dst, src, kind, &payload);
                    assert_eq!(below(&frame), Err(Refused::NotIp(0x8847)), "{frame:02X?}");
                }
            }
        }
    }

    #[test]
    fn an_ipv4_header_must_have_a_length_that_fits_and_a_checksum_that_holds() {
        let good = summed(ip4(6, &tcp(1, 2, 100)));
        assert!(below(&good).is_ok());
        assert!(below(&join(&[&good, &[0; 30]])).is_ok(), "a trailer");
        for at in [2, 3, 8, 10, 12, 19] {
            let mut damaged = good.clone();
            damaged[at] ^= 0x10;
            assert_eq!(below(&damaged), Err(Refused::NotIp(0x8847)), "{at}");
        }
        // Longer than the wire leaves.
        let short = &labelled(&good)[..100];
        assert_eq!(decode(1, short, 100, 7, &PacketSpec::default()), Err(Refused::NotIp(0x8847)));
        assert!(decode(1, short, 162, 7, &PacketSpec::default()).is_ok(), "cut by the capture");
        // Options, and segmentation offload.
        let mut options = ip4(17, &join(&[&[1; 8], &udp(1000, 53, &[0; 4])]));
        options[0] = 0x47;
        assert!(below(&summed(options)).is_ok());
        let mut offload = ip4(6, &tcp(1, 2, 1000));
        offload[2..4].fill(0);
        assert_eq!(below(&offload), Err(Refused::NotIp(0x8847)));
        assert_eq!(below(&summed(offload)).unwrap().length, 1040);
    }

    #[test]
    fn a_checksum_that_is_left_to_the_card_is_taken_with_the_length_of_the_frame() {
        let zero = ip4(6, &tcp(1, 2, 100));
        assert!(below(&zero).is_ok() && below(&join(&[&zero, &[0; 4]])).is_ok());
        assert_eq!(below(&join(&[&zero, &[0; 30]])), Err(Refused::NotIp(0x8847)));
        assert!(below(&join(&[&query(), &[0; 14]])).is_ok(), "padded");
    }

    #[test]
    fn an_ipv6_header_must_have_a_length_that_fits_and_a_next_header() {
        let six = |next: u8| ip6(next, &[0; 60]);
        assert!(below(&six(89)).is_ok() && below(&join(&[&six(50), &[0; 6]])).is_ok());
        assert_eq!(below(&six(0x1B)), Err(Refused::NotIp(0x8847)));
        let mut long = six(89);
        long[5] += 1;
        assert_eq!(below(&long), Err(Refused::NotIp(0x8847)));
        let mut offload = ip6(6, &tcp(1, 2, 1000));
        offload[4..6].fill(0);
        assert_eq!(below(&offload).unwrap().length, 1060);
        offload[6] = 58;
        assert_eq!(below(&offload), Err(Refused::NotIp(0x8847)));
    }

    #[test]
    fn a_header_that_is_cut_below_labels_is_truncated() {
        for whole in [summed(ip4(6, &tcp(1, 2, 100))), ip6(6, &tcp(1, 2, 100))] {
            let frame = labelled(&whole);
            let header = 22 + if whole[0] >> 4 == 4 { 20 } else { 40 };
            for cut in 14..header {
                let read = decode(1, &frame[..cut], frame.len() as u32, 7, &PacketSpec::default());
                assert_eq!(read, Err(Refused::Truncated), "{cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_below_labels_never_panics(
            nibble in prop::sample::select(vec![0x40u8, 0x45, 0x4F, 0x60, 0x6A]),
            bytes in prop::collection::vec(any::<u8>(), 0..70),
            original in prop_oneof![any::<u32>(), 0..200u32],
        ) {
            let frame = labelled(&join(&[&[nibble], &bytes]));
            let read = decode(1, &frame, original, 7, &TUNNELS);
            prop_assert!(read.is_ok_and(|packet| packet.headers >= 20) || read.is_err());
        }
    }
}
