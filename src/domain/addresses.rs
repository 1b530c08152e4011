//! The addresses of a pod, and whether a host that a server names is one of them.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};

/// Every address of one pod, first the one that it is dialled at. An IPv4 address that is written as IPv6
/// (`::ffff:10.0.0.7`, as a server that listens on `::` writes it) is the IPv4 address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PodAddresses(Vec<IpAddr>);

impl PodAddresses {
    /// The addresses as Kubernetes writes them (`status.podIP`, then `status.podIPs`), each once. What is no address is
    /// left out.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        texts.into_iter().filter_map(parse).collect()
    }

    /// The address that the pod is dialled at; `None` before it has one.
    pub fn first(&self) -> Option<IpAddr> {
        self.0.first().copied()
    }

    /// There is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every address.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.0.iter().copied()
    }

    /// Whether the pod has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether this host is one of the addresses, however it is written; a DNS name is none.
    pub fn is_host(&self, host: &str) -> bool {
        parse(host).is_some_and(|address| self.contains(address))
    }
}

impl FromIterator<IpAddr> for PodAddresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let mut all = Self::default();
        for address in addresses {
            if !all.contains(address) {
                all.0.push(address.to_canonical());
            }
        }
        all
    }
}

impl From<IpAddr> for PodAddresses {
    fn from(address: IpAddr) -> Self {
        [address].into_iter().collect()
    }
}

fn parse(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// A list, or what the first version's snapshot files have: one address, or nothing.
impl<'de> Deserialize<'de> for PodAddresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            All(Vec<IpAddr>),
            One(IpAddr),
            None(()),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::All(addresses) => addresses.into_iter().collect(),
            Written::One(address) => address.into(),
            Written::None(()) => Self::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    #[rstest]
    #[case("10.0.0.7", true)]
    #[case("::ffff:10.0.0.7", true)]
    #[case("2001:db8::7", true)]
    #[case("2001:0DB8:0:0::7", true)]
    #[case("10.0.0.70", false)]
    #[case("2001:db8::70", false)]
    #[case("redis-0.redis", false)]
    #[case("", false)]
    fn a_host_is_compared_as_an_address(#[case] host: &str, #[case] is: bool) {
        let addresses = PodAddresses::of(["10.0.0.7", "10.0.0.7", "2001:DB8::7", "nonsense", ""]);
        assert_eq!(addresses.is_host(host), is);
        assert_eq!(addresses.first(), Some("10.0.0.7".parse().unwrap()));
    }

    #[test]
    fn what_the_first_version_wrote_is_read() {
        let read = |text: &str| serde_json::from_str::<PodAddresses>(text).unwrap();
        assert_eq!(read("null"), PodAddresses::default());
        assert_eq!(read(r#""10.0.0.7""#), PodAddresses::of(["10.0.0.7"]));
        let both = PodAddresses::of(["10.0.0.7", "2001:db8::7"]);
        assert_eq!(serde_json::to_string(&both).unwrap(), r#"["10.0.0.7","2001:db8::7"]"#);
        assert_eq!(read(r#"["10.0.0.7","2001:db8::7"]"#), both);
    }
}
