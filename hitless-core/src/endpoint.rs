//! Where to connect: endpoints as users configure and servers announce them, the peers behind them, and the targets of
//! dials.

mod target;
mod tcp;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

pub use self::target::Target;
pub(crate) use self::target::{lies_in, server_name, shares_domain};
pub use self::tcp::{KEEPALIVE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, TcpOptions, USER_TIMEOUT};

/// The longest host name that DNS can carry, in bytes.
const MAX_NAME: usize = 253;
/// The longest label of a host name, in bytes.
const MAX_LABEL: usize = 63;

/// The host part of an [`Endpoint`].
///
/// The set is closed: what is not an address is a name to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An address; one that is IPv4 mapped into IPv6 counts as IPv4.
    Ip(IpAddr),
    /// A name to be resolved, lower-case and without the trailing dot, as [`Host::parse`] leaves it: DNS
    /// ignores case, and two spellings of one host must not look like two hosts.
    Name(Arc<str>),
}

impl Host {
    /// Reads an address, an IPv6 address in brackets, or a name.
    ///
    /// Names are ASCII (internationalised ones in their `xn--` form); the underscore, which container
    /// networks use, is allowed.
    ///
    /// # Errors
    /// [`EndpointError::Empty`] and [`EndpointError::Host`].
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if let Some(inside) = text.strip_prefix('[') {
            let inside = inside.strip_suffix(']').ok_or(EndpointError::Host)?;
            let address: Ipv6Addr = inside.parse().map_err(|_| EndpointError::Host)?;
            return Ok(Self::from(IpAddr::V6(address)));
        }
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(address));
        }
        if !is_name(text) {
            return Err(EndpointError::Host);
        }
        Ok(Self::Name(text.to_ascii_lowercase().into()))
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }
}

impl fmt::Display for Host {
    /// An IPv6 address is shown in brackets, so that a port may follow.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A place to connect to, as configured by the user or named by a server: what it leads to may change with
/// DNS.
///
/// The set is closed: there is no third kind of socket that a Redis server listens on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A host and a port.
    Tcp {
        /// An address or a name.
        host: Host,
        /// Never 0 when it comes from [`Endpoint::parse`].
        port: u16,
    },
    /// The path of a Unix socket. Only a user configures one; no server announcement is read as a path.
    Unix(Arc<Path>),
}

impl Endpoint {
    /// Reads `host:port`, `host`, `[::1]:6379`, `[::1]` or `::1`; without a port it is `default_port`.
    ///
    /// More than one colon outside brackets is an IPv6 address without a port, so `::1:6379` has the default
    /// port.
    ///
    /// # Errors
    /// Says which part cannot be read; a port of 0 is an error of its own, because servers announce it for
    /// "no endpoint".
    pub fn parse(text: &str, default_port: u16) -> Result<Self, EndpointError> {
        let (host, port) = split_port(text);
        let port = match port {
            Some(digits) => parse_port(digits)?,
            None => default_port,
        };
        let host = Host::parse(host)?;
        if port == 0 {
            return Err(EndpointError::ZeroPort);
        }
        Ok(Self::Tcp { host, port })
    }

    /// The socket at `path`.
    #[must_use]
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::Unix(path.as_ref().into())
    }

    /// The host, unless this is a Unix socket.
    #[must_use]
    pub const fn host(&self) -> Option<&Host> {
        match self {
            Self::Tcp { host, .. } => Some(host),
            Self::Unix(_) => None,
        }
    }

    /// The peer that this endpoint certainly leads to; `None` for a name, which has to be resolved first.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        match self {
            Self::Tcp { host: Host::Ip(address), port } => Some(SocketAddr::new(*address, *port).into()),
            Self::Tcp { host: Host::Name(_), .. } => None,
            Self::Unix(path) => Some(Peer::Unix(Arc::clone(path))),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { host: address.ip().into(), port: address.port() }
    }
}

impl From<Peer> for Endpoint {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Tcp(address) => address.into(),
            Peer::Unix(path) => Self::Unix(path),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The address at the other end of a connection: what is retired when a server says that an endpoint moves.
///
/// The set is closed, like that of [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// The connected address. Build it with `Peer::from(address)`, which gives one address one spelling: IPv4
    /// mapped into IPv6 becomes IPv4, and the flow label, which is no part of an address, is dropped.
    Tcp(SocketAddr),
    /// The connected path.
    Unix(Arc<Path>),
}

impl Peer {
    /// The address without its port, unless this is a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(match address {
            SocketAddr::V6(mut v6) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
                None => {
                    v6.set_flowinfo(0);
                    SocketAddr::V6(v6)
                }
            },
            v4 @ SocketAddr::V4(_) => v4,
        })
    }
}

impl From<&Path> for Peer {
    fn from(path: &Path) -> Self {
        Self::Unix(path.into())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is not an endpoint. It names the part and never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no host.
    #[error("the host is missing")]
    Empty,
    /// The host is neither an IP address nor a host name.
    #[error("the host is neither an IP address nor a host name")]
    Host,
    /// The port is not a decimal number up to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The port is 0, which no server listens on.
    #[error("the port is 0")]
    ZeroPort,
}

/// The host and the port of `text`, neither of them checked. An empty port counts as none, as in a URL.
pub(crate) fn split_port(text: &str) -> (&str, Option<&str>) {
    // A host in brackets ends where they do; any other that holds a colon is an IPv6 address without a port.
    let is_host = |host: &str| host.ends_with(']') || !host.contains([':', '[']);
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) => (host, (!port.is_empty()).then_some(port)),
        _ => (text, None),
    }
}

fn parse_port(digits: &str) -> Result<u16, EndpointError> {
    // `parse` alone would take a plus sign.
    let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal { digits.parse().map_err(|_| EndpointError::Port) } else { Err(EndpointError::Port) }
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // Digits and dots alone are a mistyped IPv4 address, which some resolvers complete to a valid one.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.len() <= MAX_NAME && !is_number && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
