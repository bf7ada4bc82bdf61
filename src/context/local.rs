//! Networks that are one's own: by what they begin with.

use arrow::datatypes::Schema;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::address::Address;
use super::{ContextError, ContextSpec, Memory, OnLink};

/// Private and link-local networks (RFC 1918, 3927, 4193, 4291): local where nothing else is said, and [`LINK`].
pub(super) const PRIVATE: [&str; 6] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];

/// Stands among the networks for those that training finds on the captured link.
pub(super) const LINK: &str = "link";

/// Metadata key of the networks that rows were made with, separated by spaces, nothing where there are none; rows
/// without it were made with [`PRIVATE`].
pub(super) const LOCAL: &str = "netweir.local";

/// A set of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Networks(Vec<(Address, u32)>);

impl Networks {
    /// Of texts like `10.0.0.0/8` or `fd00::/8`; an address alone is a network of one. What [`LINK`] stands for is not
    /// known yet.
    ///
    /// # Errors
    /// [`ContextError::Network`] for the first that is none.
    pub(crate) fn parse(texts: &[String]) -> Result<Networks, ContextError> {
        let network = |text: &String| {
            let (address, length) = text.split_once('/').map_or((text.as_str(), None), |(a, l)| (a, Some(l)));
            let address = Address::parse(Some(address));
            let most = match address.parts().0 {
                4 => 32,
                6 => 128,
                _ => return None,
            };
            let length = length.map_or(Some(most), |length| length.parse().ok())?;
            (length <= most).then_some((address, length))
        };
        let all = named(texts)
            .map(|text| network(text).ok_or_else(|| ContextError::Network { found: text.clone() }));
        Ok(Networks(all.collect::<Result<_, _>>()?))
    }

    /// The networks that rows of this schema were made with.
    pub(crate) fn of(rows: &Schema) -> Networks {
        let texts = |texts: &str| texts.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let named = rows.metadata().get(LOCAL).and_then(|local| Networks::parse(&texts(local)).ok());
        named.unwrap_or_else(Networks::private)
    }

    /// Those that no router passes on to others.
    pub(crate) fn private() -> Networks {
        Networks::parse(&PRIVATE.map(str::to_owned)).expect("the private networks are networks")
    }

    /// Whether an address lies in one of them.
    pub(crate) fn hold(&self, address: &Address) -> bool {
        let (version, bytes) = address.parts();
        self.0.iter().any(|(network, length)| {
            let (of, begin) = network.parts();
            let differing = u128::from_be_bytes(begin) ^ u128::from_be_bytes(bytes);
            of == version && differing.leading_zeros() >= *length
        })
    }
}

/// Hosts of one's own, as training came to know them.
#[derive(Debug, Default)]
pub(crate) struct OwnHosts {
    networks: Networks,
    joined: HashMap<Address, u64, RandomState>,
}

impl OwnHosts {
    /// Of these networks, where training remembers this.
    ///
    /// # Errors
    /// [`ContextError::Network`] for the first that is none.
    pub(crate) fn new(local: &[String], memory: Option<&Memory>) -> Result<OwnHosts, ContextError> {
        let networks = Networks::parse(local)?;
        let sources = memory.into_iter().flat_map(Memory::sources);
        let joined = sources.filter(|(host, _)| networks.hold(host)).collect();
        Ok(OwnHosts { networks, joined })
    }

    /// Those that joined in these windows.
    #[cfg(test)]
    pub(crate) fn of(joined: impl IntoIterator<Item = (Address, u64)>) -> OwnHosts {
        OwnHosts { joined: joined.into_iter().collect(), ..OwnHosts::default() }
    }

    /// Whether an address is of one's own networks.
    pub(crate) fn hold(&self, host: &Address) -> bool {
        self.networks.hold(host)
    }

    /// The start of the window in which a host of one's own was first seen to begin a flow, in nanoseconds.
    pub(crate) fn joined(&self, host: &Address) -> Option<u64> {
        self.joined.get(host).copied()
    }
}

/// The networks that are named one by one.
pub(super) fn named(local: &[String]) -> impl Iterator<Item = &String> {
    local.iter().filter(|text| *text != LINK)
}

impl ContextSpec {
    /// The same for rows to come, where training remembers this: each network that [`LINK`] stands for is named. Also
    /// those networks.
    ///
    /// # Errors
    /// [`ContextError::Network`] for the first that is none.
    pub(crate) fn settled(
        &self,
        memory: Option<&Memory>,
    ) -> Result<(ContextSpec, Vec<OnLink>), ContextError> {
        let asked = memory.filter(|_| self.local.iter().any(|text| text == LINK));
        let local = Networks::parse(&self.local)?;
        let found = asked.map_or_else(Vec::new, |memory| memory.on_link(&local));
        let networks = found.iter().map(|found| found.network.clone());
        let local = named(&self.local).cloned().chain(networks).collect();
        Ok((ContextSpec { local, ..self.clone() }, found))
    }

    /// The same as training settled it, if that is of what this asks for: [`LINK`] stands for whatever was found there.
    pub(crate) fn settled_as(&self, trained: &ContextSpec) -> ContextSpec {
        let asks_for_link = self.local.iter().any(|text| text == LINK);
        let all_are_there = named(&self.local).all(|network| trained.local.contains(network));
        let local = if asks_for_link && all_are_there { &trained.local } else { &self.local };
        ContextSpec { local: local.clone(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{ContextSpec, Plan};
    use super::*;

    fn networks(texts: &[&str]) -> Result<Networks, ContextError> {
        Networks::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_network_holds_what_begins_as_it_does() {
        let private = networks(&PRIVATE).unwrap();
        for (text, local) in [
            ("10.255.0.1", true),
            ("172.31.9.9", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("192.169.1.1", false),
            ("fd20::1", true),
            ("fe80::1", true),
            ("fec0::1", false),
            ("2001:db8::1", false),
            ("::", false),
            ("printer", false),
        ] {
            assert_eq!(private.hold(&Address::parse(Some(text))), local, "{text}");
        }
        let one = networks(&["198.51.100.7", "::/0"]).unwrap();
        assert!(one.hold(&Address::parse(Some("198.51.100.7"))) && one.hold(&Address::parse(Some("::1"))));
        assert!(!one.hold(&Address::parse(Some("198.51.100.6"))));
    }

    #[test]
    fn rows_say_which_networks_they_were_made_with() {
        let schema = |local: Option<&str>| {
            let metadata = local.map(|local| (LOCAL.to_owned(), local.to_owned()));
            Schema::empty().with_metadata(metadata.into_iter().collect::<BTreeMap<_, _>>())
        };
        let private = networks(&PRIVATE).unwrap();
        let own = networks(&["198.51.100.0/24", "2001:db8::/32"]).unwrap();
        assert_eq!(Networks::of(&schema(Some("198.51.100.0/24 2001:db8::/32"))), own);
        assert_eq!(Networks::of(&schema(Some(""))), networks(&[]).unwrap(), "no network is one's own");
        // Nothing, and what another writer left there.
        assert_eq!(Networks::of(&schema(None)), private);
        assert_eq!(Networks::of(&schema(Some("the office"))), private);
    }

    #[test]
    fn a_plan_says_in_its_rows_which_networks_are_local_where_they_are_not_the_private_ones() {
        let schema = |local: &[&str], rows: &Schema| {
            let local = local.iter().map(|text| (*text).to_owned()).collect();
            let columns = vec!["ctx_src_w1_flows".to_owned()];
            Plan::new(&ContextSpec { columns, local, ..ContextSpec::default() }).unwrap().schema(rows)
        };
        let plain = schema(&PRIVATE, &Schema::empty());
        assert!(plain.metadata().is_empty());
        let own = schema(&["198.51.100.0/24", "fd00::/8"], &plain);
        assert_eq!(Networks::of(&own), networks(&["198.51.100.0/24", "fd00::/8"]).unwrap());
        assert_eq!(Networks::of(&schema(&[], &plain)), networks(&[]).unwrap());
        // What training finds on the link is not known before.
        assert_eq!(schema(&["198.51.100.0/24", "fd00::/8", "link"], &plain), own);
        // Computed anew with others, they are those.
        assert!(schema(&PRIVATE, &own).metadata().is_empty());
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for wrong in
            ["10.0.0.0/33", "fe80::/129", "printer/8", "Link", "link/8", "10.0.0.0/", "", "10.0.0.0/-1"]
        {
            let error = networks(&["10.0.0.0/8", wrong]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{wrong}`")), "{error}");
        }
    }
}
