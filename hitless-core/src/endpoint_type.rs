//! Which kind of endpoint a server is asked to name when it moves clients.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::endpoint::Peer;

/// The kinds of endpoint that the opt-in can ask for (`moving-endpoint-type`).
///
/// The set is closed by the protocol. "Automatic" is not among them: see [`EndpointPreference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointType {
    /// An address inside the server's network.
    InternalIp,
    /// A name that resolves inside the server's network.
    InternalFqdn,
    /// An address that is reachable from outside.
    ExternalIp,
    /// A name that is reachable from outside.
    ExternalFqdn,
    /// No endpoint: the client finds the new node through the name that it is configured with.
    None,
}

impl EndpointType {
    /// Every type.
    pub const ALL: [Self; 5] =
        [Self::InternalIp, Self::InternalFqdn, Self::ExternalIp, Self::ExternalFqdn, Self::None];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InternalIp => "internal-ip",
            Self::InternalFqdn => "internal-fqdn",
            Self::ExternalIp => "external-ip",
            Self::ExternalFqdn => "external-fqdn",
            Self::None => "none",
        }
    }
}

impl fmt::Display for EndpointType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EndpointType {
    type Err = UnknownEndpointType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(UnknownEndpointType)
    }
}

/// The kind of endpoint that the user wants servers to name. Default: [`EndpointPreference::Auto`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointPreference {
    /// Decide per connection, from the address that it is connected to.
    #[default]
    Auto,
    /// Always this type.
    Fixed(EndpointType),
}

impl EndpointPreference {
    /// The type to ask for on a connection to `peer`.
    ///
    /// [`Auto`](Self::Auto) asks for a name under TLS, because certificates are issued to names, else for an
    /// address; for an internal one if the connected address itself is internal (loopback, RFC 1918,
    /// link-local, RFC 4193, or the shared address space 100.64.0.0/10), else for an external one. Nothing is
    /// named over a Unix socket. Clients differ here: others decide from the configured name, or resolve it
    /// while the client is being built.
    #[must_use]
    pub fn resolve(self, tls: bool, peer: &Peer) -> EndpointType {
        match (self, peer.ip()) {
            (Self::Fixed(fixed), _) => fixed,
            (Self::Auto, None) => EndpointType::None,
            (Self::Auto, Some(address)) => match (is_internal(address), tls) {
                (true, true) => EndpointType::InternalFqdn,
                (true, false) => EndpointType::InternalIp,
                (false, true) => EndpointType::ExternalFqdn,
                (false, false) => EndpointType::ExternalIp,
            },
        }
    }
}

impl fmt::Display for EndpointPreference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Fixed(fixed) => fixed.fmt(f),
        }
    }
}

impl FromStr for EndpointPreference {
    type Err = UnknownEndpointType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            fixed => fixed.parse().map(Self::Fixed),
        }
    }
}

/// The word is none of the endpoint types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an endpoint type: expected internal-ip, internal-fqdn, external-ip, external-fqdn, none or auto"
)]
pub struct UnknownEndpointType;

fn is_internal(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || is_shared(v4),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unique_local(),
    }
}

/// RFC 6598: carriers and clouds number their inside with it.
const fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0b1100_0000 == 64
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;

    fn peer(address: &str) -> Peer {
        SocketAddr::new(address.parse().unwrap(), 6379).into()
    }

    /// RULE-20
    #[test]
    fn auto_decides_by_tls_and_by_the_connected_address() {
        for (address, internal) in [
            ("127.0.0.1", true),
            ("127.255.0.1", true),
            ("10.0.0.1", true),
            ("172.15.255.255", false),
            ("172.16.0.0", true),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("192.168.1.1", true),
            ("192.169.0.1", false),
            ("169.254.1.1", true),
            ("100.63.255.255", false),
            ("100.64.0.0", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("8.8.8.8", false),
            ("::1", true),
            ("fe80::1", true),
            ("fec0::1", false),
            ("fc00::1", true),
            ("fdff::1", true),
            ("2001:db8::1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:8.8.8.8", false),
        ] {
            let (ip, fqdn) = if internal {
                (EndpointType::InternalIp, EndpointType::InternalFqdn)
            } else {
                (EndpointType::ExternalIp, EndpointType::ExternalFqdn)
            };
            assert_eq!(EndpointPreference::Auto.resolve(false, &peer(address)), ip, "{address}");
            assert_eq!(EndpointPreference::Auto.resolve(true, &peer(address)), fqdn, "{address}");
        }
    }

    /// PITFALL-34, RULE-21
    #[test]
    fn auto_asks_for_nothing_over_a_unix_socket() {
        let socket = Peer::from(Path::new("/run/redis.sock"));
        assert_eq!(EndpointPreference::default().resolve(false, &socket), EndpointType::None);
        assert_eq!(EndpointPreference::default().resolve(true, &socket), EndpointType::None);
    }

    #[test]
    fn a_fixed_type_is_asked_for_everywhere() {
        for fixed in EndpointType::ALL {
            for peer in [peer("10.0.0.1"), peer("8.8.8.8"), Peer::from(Path::new("/run/redis.sock"))] {
                assert_eq!(EndpointPreference::Fixed(fixed).resolve(true, &peer), fixed);
                assert_eq!(EndpointPreference::Fixed(fixed).resolve(false, &peer), fixed);
            }
        }
    }

    #[test]
    fn words_read_back_and_auto_is_no_wire_type() {
        for known in EndpointType::ALL {
            assert_eq!(known.to_string().parse(), Ok(known));
            assert_eq!(known.to_string().parse(), Ok(EndpointPreference::Fixed(known)));
        }
        assert_eq!("auto".parse(), Ok(EndpointPreference::Auto));
        assert_eq!(EndpointPreference::Auto.to_string(), "auto");
        assert_eq!("auto".parse::<EndpointType>(), Err(UnknownEndpointType));
        assert_eq!("".parse::<EndpointPreference>(), Err(UnknownEndpointType));
    }
}
