//! Networks that an API key may be used from: addresses and CIDR (RFC 4632, RFC 4291 §2.3).

use core::net::{IpAddr, SocketAddr};

/// A network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a single address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(network), IpAddr::V4(other)) => {
                let differ = network.to_bits() ^ other.to_bits();
                differ.checked_shr(32_u32.saturating_sub(self.bits.into())).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(other)) => {
                let differ = network.to_bits() ^ other.to_bits();
                differ.checked_shr(128_u32.saturating_sub(self.bits.into())).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Whether an address, with or without a port, is in any of the networks. One that is not known is
/// in none.
pub(super) fn any_contains(networks: &[Network], address: &[u8]) -> bool {
    let text = core::str::from_utf8(address).unwrap_or_default();
    let ip = text.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| text.parse());
    let Ok(ip) = ip else { return false };
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(ip))
}

#[cfg(test)]
mod tests {
    use super::{Network, any_contains};

    #[track_caller]
    fn check(network: &str, address: &str, expected: bool) {
        let network = Network::parse(network).expect("a network");
        assert_eq!(any_contains(&[network], address.as_bytes()), expected);
    }

    #[test]
    fn an_address_is_in_its_networks_with_and_without_a_port() {
        check("10.0.0.0/8", "10.1.2.3:4711", true);
        check("10.0.0.0/8", "11.1.2.3", false);
        check("192.0.2.7", "192.0.2.7:1", true);
        check("192.0.2.7", "192.0.2.8:1", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "[2001:db8::1]:80", false);
        check("2001:db8::/32", "[2001:db8:1::1]:80", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::/0", "2001:db9::1", true);
        check("10.0.0.0/8", "[::ffff:10.0.0.1]:80", true);
        check("10.0.0.0/8", "/run/socket", false);
        check("10.0.0.0/8", "", false);
    }

    #[test]
    fn what_is_no_network_is_none() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "a/8", "::/129", "10.0.0.0/8/8"]
        {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
