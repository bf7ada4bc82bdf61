//! Names of protocols as Suricata has them.

/// Suricata's name of a protocol (util-proto-name.c): ours in capitals, which are made of it in `word`, but for these.
/// Those that rows name by their number go by it.
pub(super) fn protocol_name<'a>(protocol: u8, name: &str, word: &'a mut String) -> &'a str {
    match protocol {
        4 => "IP-in-IP",
        41 => "IPv6",
        58 => "IPv6-ICMP",
        59 => "IPv6-NoNxt",
        94 => "OS",
        108 => "IPComp",
        135 => "Mobility",
        136 => "UDPLite",
        137 => "MPLS-in-IP",
        _ => {
            word.clear();
            match name.is_ascii() {
                true => word.push_str(name),
                false => word.push_str(&name.to_uppercase()),
            }
            word.make_ascii_uppercase();
            word
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::names::protocol;

    #[test]
    fn protocols_are_named_as_suricata_names_them() {
        let mut word = String::new();
        let named =
            [(4, "IP-in-IP"), (6, "TCP"), (47, "GRE"), (59, "IPv6-NoNxt"), (94, "OS"), (97, "ETHERIP")];
        let more = [(108, "IPComp"), (135, "Mobility"), (136, "UDPLite"), (137, "MPLS-in-IP"), (253, "253")];
        for (number, name) in named.into_iter().chain(more) {
            assert_eq!(protocol_name(number, &protocol(number), &mut word), name);
        }
    }
}
