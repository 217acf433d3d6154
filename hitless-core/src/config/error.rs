//! What is wrong with settings and URLs, and what to write instead.

use thiserror::Error;

use crate::endpoint::EndpointError;

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value outside its range.
    #[error("{setting} is {value}, but must be {range}")]
    OutOfRange {
        /// The setting.
        setting: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it was.
        value: String,
    },
    /// Maintenance notifications are RESP3 pushes.
    #[error("mode `enabled` needs RESP3, but `protocol` is RESP2: use RESP3, or mode `auto` or `disabled`")]
    EnabledNeedsResp3,
    /// Redis accepts printable characters without blanks only.
    #[error("client_name must consist of printable ASCII characters without blanks")]
    ClientName,
    /// A setup command that would break the connection that runs it.
    #[error("{command} is no setup command: {problem}")]
    Setup {
        /// The command.
        command: &'static str,
        /// Why, and what to use instead.
        problem: &'static str,
    },
    /// Tracking that cannot work, or invalidations that nobody asks the server for.
    #[error("tracking is not possible: {problem}")]
    Tracking {
        /// Why, and what to do instead.
        problem: &'static str,
    },
    /// A setting that no cluster has.
    #[error("this is not possible in a cluster: {problem}")]
    Cluster {
        /// Why, and what to do instead.
        problem: &'static str,
    },
    /// The URL does not begin with a scheme that this client speaks. What stands in its place may be a secret, and is not
    /// repeated.
    #[error(
        "the URL has no scheme that is known: write redis://user:password@host:port, rediss:// for TLS, or unix:///path/to/socket \
         (also valkey://, valkeys://, redis+unix:// or valkey+unix://)"
    )]
    Scheme,
    /// The URL asks for TLS, and the crate was built without it.
    #[error(
        "TLS (rediss://, valkeys://) needs the feature `tls`: write features = [\"tls\"] at this crate in Cargo.toml, or use redis:// or valkey:// inside a trusted network"
    )]
    TlsNotBuilt,
    /// A setting of TLS that cannot work. Nothing of certificates and keys is repeated.
    #[error("{setting} is not valid: {problem}")]
    Tls {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The URL has a parameter of this name, which cannot be a part of a password.
    #[error(
        "the URL has an unknown parameter, {0:?}: known are protocol, db, user, pass, client_name, client_info and when_disconnected, for a cluster also addr"
    )]
    Parameter(String),
    /// A part of the URL does not parse.
    #[error("the {part} of the URL is not valid: {problem}")]
    Url {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The URLs of a cluster do not go together, or there is none.
    #[error("the URLs of the cluster are not valid: {0}")]
    Urls(&'static str),
    /// The address in the URL does not parse.
    #[error("the address of the URL is not valid: {0}")]
    Endpoint(EndpointError),
}

// Not derived: it would make the error its own source, whose text it has already.
impl From<EndpointError> for ConfigError {
    fn from(error: EndpointError) -> Self {
        Self::Endpoint(error)
    }
}
