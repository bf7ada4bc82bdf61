//! Wireless links: frames of IEEE 802.11, alone and behind radiotap.

use super::Refused;
use super::link::{Found, NOT_ETHERTYPE, Walk};

impl Walk<'_> {
    /// IEEE 802.11 data frame; `padded`: its header is filled up to a multiple of four bytes.
    ///
    /// An aggregate (A-MSDU) stands for its first subframe. Later fragments have no LLC, protected frames no
    /// readable one: not IP, like management and control frames.
    pub(super) fn wireless(mut self, padded: bool) -> Result<Found, Refused> {
        const NO_DATA: u8 = 0x40;
        const QOS: u8 = 0x80;
        const BOTH_DISTRIBUTION: u8 = 3;
        const PROTECTED: u8 = 0x40;
        const ORDER: u8 = 0x80;
        let start = self.at;
        let [control, flags] = self.take()?;
        // Version 0, type 2 (data).
        if control & 0x0F != 0x08 || control & NO_DATA != 0 || flags & PROTECTED != 0 {
            return Err(Refused::NotIp(NOT_ETHERTYPE));
        }
        // Duration, three addresses, sequence control.
        let head: [u8; 22] = self.take()?;
        if head[20] & 0x0F != 0 {
            return Err(Refused::NotIp(NOT_ETHERTYPE));
        }
        if flags & BOTH_DISTRIBUTION == BOTH_DISTRIBUTION {
            self.skip(6)?;
        }
        let mut aggregate = false;
        if control & QOS != 0 {
            aggregate = self.take::<2>()?[0] & 0x80 != 0;
            if flags & ORDER != 0 {
                self.skip(4)?;
            }
        }
        if padded {
            self.skip((self.at - start).wrapping_neg() & 3)?;
        }
        if aggregate {
            // Subframe: two addresses and a length.
            self.skip(14)?;
        }
        let kind = self.snap()?;
        self.ethertype(kind)
    }

    /// Radiotap (<https://www.radiotap.org>): of its fields only the flags matter here.
    pub(super) fn radiotap(mut self) -> Result<Found, Refused> {
        const TIMER: u32 = 1;
        const FLAGS: u32 = 2;
        const MORE: u32 = 1 << 31;
        const FCS_AT_END: u8 = 0x10;
        const DATA_PADDED: u8 = 0x20;
        let [version, _, low, high] = self.take()?;
        let length = usize::from(u16::from_le_bytes([low, high]));
        if version != 0 || length < 8 {
            return Err(Refused::Malformed);
        }
        let fields = self.bytes.get(..length).ok_or(Refused::Truncated)?;
        let word = |at: usize| Some(u32::from_le_bytes(*fields.get(at..)?.first_chunk()?));
        let present = word(4).ok_or(Refused::Malformed)?;
        let (mut at, mut last) = (8, present);
        while last & MORE != 0 {
            last = word(at).ok_or(Refused::Malformed)?;
            at += 4;
        }
        if present & TIMER != 0 {
            at = at.next_multiple_of(8) + 8;
        }
        let flags = if present & FLAGS != 0 { *fields.get(at).ok_or(Refused::Malformed)? } else { 0 };
        if flags & FCS_AT_END != 0 {
            self.trailer = 4;
        }
        self.at = length;
        self.wireless(flags & DATA_PADDED != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::*;
    use super::*;

    /// An 802.11 frame: frame control, sequence control, what follows the third address's 24 bytes.
    fn wireless(control: [u8; 2], fragment: u8, more: &[u8], payload: &[u8]) -> Vec<u8> {
        let snap = [0xAA, 0xAA, 3, 0, 0, 0, 8, 0];
        join(&[&control, &[0; 20], &[fragment, 0], more, &snap, payload])
    }

    #[test]
    fn wireless_data_frames_carry_ip_behind_headers_of_every_size() {
        let ip = query();
        for (control, more) in
            [([0x08, 0x01], 0), ([0x08, 0x03], 6), ([0x88, 0x02], 2), ([0x88, 0x83], 12), ([0x88, 0x80], 6)]
        {
            assert!(is_query(read(105, &wireless(control, 0, &vec![0; more], &ip))), "{control:?}");
        }
        let aggregate = wireless([0x88, 0x01], 0, &join(&[&[0x80, 0], &[0; 14]]), &ip);
        assert!(is_query(read(105, &aggregate)));
    }

    #[test]
    fn wireless_frames_that_cannot_be_read_are_not_ip() {
        let not_ip = Err(Refused::NotIp(0));
        for control in [[0x80, 0], [0xB4, 0], [0x48, 1], [0xC8, 1], [0x08, 0x41], [0x09, 1]] {
            assert_eq!(read(105, &wireless(control, 0, &[], &query())), not_ip, "{control:?}");
        }
        assert_eq!(read(105, &wireless([8, 1], 1, &[], &query())), not_ip);
        assert_eq!(read(105, &join(&[&[8, 1], &[0; 22], &query()])), not_ip);
        assert_eq!(read(105, &[8]), Err(Refused::Truncated));
        assert_eq!(read(105, &wireless([8, 1], 0, &[], &[])[..20]), Err(Refused::Truncated));
    }

    #[test]
    fn radiotap_flags_tell_padding_and_check_sequence() {
        let data = wireless([0x08, 1], 0, &[], &query());
        let qos = wireless([0x88, 1], 0, &[0; 4], &query());
        assert!(is_query(read(127, &join(&[&[0, 0, 8, 0, 0, 0, 0, 0], &data]))));
        // Flags only; timer, flags; an extended bitmap, timer, flags.
        assert!(is_query(read(127, &join(&[&[0, 0, 9, 0, 2, 0, 0, 0, 0x20], &qos]))));
        let timer = join(&[&[0, 0, 17, 0, 3, 0, 0, 0], &[9; 8], &[0x20]]);
        assert!(is_query(read(127, &join(&[&timer, &qos]))));
        let extended = join(&[&[0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0], &[0; 4], &[9; 8], &[0x20]]);
        assert!(is_query(read(127, &join(&[&extended, &qos]))));
        // Total length 0: the frame says it, without the check sequence.
        let mut zero = query();
        zero[2..4].fill(0);
        let frame = join(&[&[0, 0, 9, 0, 2, 0, 0, 0, 0x10], &wireless([8, 1], 0, &[], &zero)[..], &[0; 4]]);
        assert_eq!(read(127, &frame).unwrap().length, 32);
    }

    #[test]
    fn a_radiotap_header_that_lies_is_malformed() {
        assert_eq!(read(127, &[1, 0, 8, 0, 0, 0, 0, 0]), Err(Refused::Malformed));
        assert_eq!(read(127, &[0, 0, 7, 0, 0, 0, 0, 0]), Err(Refused::Malformed));
        assert_eq!(read(127, &[0, 0, 8, 0, 0, 0, 0, 0x80]), Err(Refused::Malformed));
        assert_eq!(read(127, &[0, 0, 9, 0, 0, 0, 0, 0]), Err(Refused::Truncated));
    }
}
