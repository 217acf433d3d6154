//! What is dialled: an address, and the name by which the server there proves who it is.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Endpoint, Host, Peer, TcpOptions};

/// What a connection is dialled to.
///
/// The address alone does not say whom to expect there: behind one address, and behind one name, there may be several
/// servers. An encrypted stream checks the server's certificate by `server_name`; others ignore it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Target {
    /// Where to connect.
    pub address: Peer,
    /// The name that the server's certificate must be valid for. Without one the certificate must be valid for the IP
    /// address that is dialled. A Unix socket has none.
    pub server_name: Option<Arc<str>>,
    /// What to ask of the system for the socket, if it is one of TCP.
    pub tcp: TcpOptions,
}

impl Target {
    /// The server at `address`, whose certificate must be valid for `server_name`, or for the address itself. Its options
    /// for TCP are the defaults.
    #[must_use]
    pub const fn new(address: Peer, server_name: Option<Arc<str>>) -> Self {
        Self { address, server_name, tcp: TcpOptions::DEFAULT }
    }
}

impl From<Peer> for Target {
    /// The server at `address`, without a name.
    fn from(address: Peer) -> Self {
        Self::new(address, None)
    }
}

/// The name by which a server is verified that is dialled for the configured endpoint, or for the `target` that a move
/// names instead of it. `configured` is the name by which servers of the configured endpoint are verified.
///
/// A name verifies itself. A target that is an IP address is another node of the configured service, whose certificates
/// are valid for the configured name; where an IP address is configured, each node is verified by its own.
pub(crate) fn server_name(configured: Option<&Arc<str>>, target: Option<&Endpoint>) -> Option<Arc<str>> {
    match target {
        Some(Endpoint::Tcp { host: Host::Name(name), .. }) => Some(Arc::clone(name)),
        Some(Endpoint::Unix(_)) => None,
        Some(Endpoint::Tcp { host: Host::Ip(_), .. }) | None => configured.cloned(),
    }
}

/// Whether `name` lies in the domain of `configured`, which is that name without its first label, if two labels are left at
/// least: a domain of one label belongs to everybody. Each name lies in its own.
pub(crate) fn shares_domain(name: &str, configured: &str) -> bool {
    let (name, configured) = (name.trim_end_matches('.'), configured.trim_end_matches('.'));
    if name.eq_ignore_ascii_case(configured) {
        return true;
    }
    let domain = configured.split_once('.').map(|(_, domain)| domain).filter(|domain| domain.contains('.'));
    // The last labels of an IP address are no domain.
    configured.parse::<IpAddr>().is_err() && domain.is_some_and(|domain| lies_in(name, domain))
}

/// Whether `name` is `domain` or ends in it.
pub(crate) fn lies_in(name: &str, domain: &str) -> bool {
    let name = name.trim_end_matches('.');
    let Some(at) = name.len().checked_sub(domain.len()) else { return false };
    let (sub, end) = name.as_bytes().split_at(at);
    end.eq_ignore_ascii_case(domain.as_bytes()) && (sub.is_empty() || sub.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_verified_by_the_name_of_the_target_else_by_the_configured_one() {
        let endpoint = |text: &str| match text.strip_prefix("unix:") {
            Some(path) => Endpoint::unix(path),
            None => Endpoint::parse(text, 6379).unwrap(),
        };
        let (name, ip, unix) = ("redis.example.com", "10.0.0.1", "unix:/run/redis.sock");
        let (other_name, other_ip, other_unix) = ("node-2.example.com", "10.0.0.2", "unix:/run/other.sock");
        for (configured, target, verified_by) in [
            (name, None, Some(name)),
            (name, Some(other_name), Some(other_name)),
            (name, Some(other_ip), Some(name)),
            (name, Some(other_unix), None),
            (ip, None, None),
            (ip, Some(other_name), Some(other_name)),
            (ip, Some(other_ip), None),
            (ip, Some(other_unix), None),
            (unix, None, None),
            (unix, Some(other_name), Some(other_name)),
            (unix, Some(other_ip), None),
            (unix, Some(other_unix), None),
        ] {
            let target_endpoint = target.map(endpoint);
            let configured_name = match endpoint(configured) {
                Endpoint::Tcp { host: Host::Name(name), .. } => Some(name),
                _ => None,
            };
            let found = server_name(configured_name.as_ref(), target_endpoint.as_ref());
            assert_eq!(found.as_deref(), verified_by, "configured: {configured}, target: {target:?}");
        }
    }
    /// RULE-187
    #[test]
    fn a_domain_is_what_follows_the_first_label() {
        for (name, configured, shares) in [
            ("node-2.example.com", "redis.example.com", true),
            ("NODE-2.Example.COM.", "redis.example.com", true),
            ("a.b.example.com", "redis.example.com", true),
            ("example.com", "redis.example.com", true),
            ("redis.example.com", "redis.example.com.", true),
            ("node.internal.c1.example.com", "redis.c1.example.com", true),
            ("node.c2.example.com", "redis.c1.example.com", false),
            ("badexample.com", "redis.example.com", false),
            ("example.com.evil.net", "redis.example.com", false),
            ("node.com", "example.com", false),
            ("example.com", "example.com", true),
            ("localhost", "localhost", true),
            ("node", "localhost", false),
            ("node.0.0.1", "10.0.0.1", false),
            ("", "redis.example.com", false),
            ("node.example.com", "", false),
        ] {
            assert_eq!(shares_domain(name, configured), shares, "{name} {configured}");
        }
        assert!(lies_in("node.example.org", "example.org") && !lies_in("nodeexample.org", "example.org"));
    }
}
