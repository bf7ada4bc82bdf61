//! Link types by number, and which of them are read.
//!
//! Numbers and names are those of <https://www.tcpdump.org/linktypes.html>.

pub(super) const NULL: u16 = 0;
pub(super) const ETHERNET: u16 = 1;
pub(super) const PPP: u16 = 9;
pub(super) const RAW_12: u16 = 12;
pub(super) const RAW_14: u16 = 14;
pub(super) const PPP_HDLC: u16 = 50;
pub(super) const RAW: u16 = 101;
pub(super) const C_HDLC: u16 = 104;
pub(super) const IEEE_802_11: u16 = 105;
pub(super) const LOOP: u16 = 108;
pub(super) const LINUX_SLL: u16 = 113;
pub(super) const RADIOTAP: u16 = 127;
pub(super) const IPV4: u16 = 228;
pub(super) const IPV6: u16 = 229;
pub(super) const NFLOG: u16 = 239;
pub(super) const LINUX_SLL2: u16 = 276;

/// The link types that are read, by LINKTYPE number, with the names of libpcap.
pub const LINKS: [(u16, &str); 16] = [
    (NULL, "NULL"),
    (ETHERNET, "ETHERNET"),
    (PPP, "PPP"),
    (RAW_12, "RAW (12)"),
    (RAW_14, "RAW (14)"),
    (PPP_HDLC, "PPP_HDLC"),
    (RAW, "RAW"),
    (C_HDLC, "C_HDLC"),
    (IEEE_802_11, "IEEE802_11"),
    (LOOP, "LOOP"),
    (LINUX_SLL, "LINUX_SLL"),
    (RADIOTAP, "IEEE802_11_RADIOTAP"),
    (IPV4, "IPV4"),
    (IPV6, "IPV6"),
    (NFLOG, "NFLOG"),
    (LINUX_SLL2, "LINUX_SLL2"),
];

/// Link types that are not read and that captures are met with, with the names of libpcap.
const UNREAD: [(u16, &str); 20] = [
    (6, "IEEE802_5"),
    (8, "SLIP"),
    (10, "FDDI"),
    (51, "PPP_ETHER"),
    (107, "FRELAY"),
    (117, "PFLOG"),
    (119, "IEEE802_11_PRISM"),
    (129, "ARCNET_LINUX"),
    (166, "PPP_PPPD"),
    (187, "BLUETOOTH_HCI_H4"),
    (189, "USB_LINUX"),
    (192, "PPI"),
    (195, "IEEE802_15_4_WITHFCS"),
    (219, "MPLS"),
    (220, "USB_LINUX_MMAPPED"),
    (226, "IPNET"),
    (227, "CAN_SOCKETCAN"),
    (230, "IEEE802_15_4_NOFCS"),
    (242, "IPOIB"),
    (258, "PKTAP"),
];

/// Whether frames of this link type are read.
pub fn known_link(link: u16) -> bool {
    LINKS.iter().any(|&(number, _)| number == link)
}

/// A link type as messages call it: its number, and its name if it is known.
pub(super) fn called(link: u16) -> String {
    match UNREAD.iter().find(|(number, _)| *number == link) {
        Some((_, name)) => format!("{link} ({name})"),
        None => link.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_type_that_is_not_read_is_called_by_name_if_it_has_one() {
        assert_eq!((called(117), called(147)), ("117 (PFLOG)".to_owned(), "147".to_owned()));
        assert!(UNREAD.iter().all(|(link, _)| !known_link(*link)));
    }
}
