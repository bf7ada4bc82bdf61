//! Networks, as rules name them: an address and how much of it counts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network: `10.0.0.0/8`, `fd00::/8`, or one address. `::ffff:10.0.0.1` is `10.0.0.1`, as it is everywhere else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Net {
    address: IpAddr,
    bits: u8,
}

/// Bits before the IPv4 address in an IPv6 address that maps one (RFC 4291, 2.5.5.2).
const MAPPED: u8 = 96;

/// Text that is no network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no network: write an address, or one with a number of bits such as 10.20.0.0/16")]
pub struct NetError {
    text: String,
}

impl Net {
    /// Whether an address lies in it. IPv4 and IPv6 are apart.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                (net.to_bits() ^ address.to_bits()).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                (net.to_bits() ^ address.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Net, NetError> {
        let wrong = || NetError { text: text.to_owned() };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        if bits > all {
            return Err(wrong());
        }
        Ok(match address.to_canonical() {
            IpAddr::V4(inner) if address.is_ipv6() && bits >= MAPPED => {
                Net { address: inner.into(), bits: bits - MAPPED }
            }
            _ => Net { address, bits },
        })
    }
}

impl TryFrom<String> for Net {
    type Error = NetError;

    fn try_from(text: String) -> Result<Net, NetError> {
        text.parse()
    }
}

impl From<Net> for String {
    fn from(net: Net) -> String {
        net.to_string()
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.address.is_ipv4() { 32 } else { 128 };
        match self.bits {
            bits if bits == all => write!(f, "{}", self.address),
            bits => write!(f, "{}/{bits}", self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let holds = |net: &str, address: &str| net.parse::<Net>().unwrap().contains(address.parse().unwrap());
        for (net, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("10.1.2.3/31", "10.1.2.2", "10.1.2.4"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("::/0", "fe80::1", "1.2.3.4"),
            ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("::ffff:10.0.0.0/104", "::ffff:10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.255.0.1", "::ffff:11.0.0.0"),
        ] {
            assert!(holds(net, inside), "{net} {inside}");
            assert!(!holds(net, outside), "{net} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in
            ["", "10.0.0/8", "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "host", "10.0.0.0/8/8", "10.0.0.0/"]
        {
            let error = text.parse::<Net>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no network")), "{error}");
        }
        assert_eq!("10.0.0.0/8".parse::<Net>().unwrap().to_string(), "10.0.0.0/8");
        assert_eq!("10.0.0.1/32".parse::<Net>().unwrap().to_string(), "10.0.0.1");
    }
}
