//! How the system watches a TCP socket.

use std::time::Duration;

/// After so long without traffic a TCP socket is probed (keepalive), so that a link that died unnoticed is found.
pub const KEEPALIVE: Duration = Duration::from_secs(30);

/// After so long without an answer the next probe follows.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// After so many probes without an answer a TCP socket fails.
pub const KEEPALIVE_RETRIES: u32 = 3;

/// What was written to a TCP socket is acknowledged within this time, where the platform has such an option (`TCP_USER_TIMEOUT`), or
/// the socket fails.
pub const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connector asks of the system for a TCP socket, as far as the platform has it. The default is [`KEEPALIVE`],
/// [`KEEPALIVE_INTERVAL`], [`KEEPALIVE_RETRIES`] and [`USER_TIMEOUT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TcpOptions {
    /// How long a link is quiet before it is probed, in whole seconds; `None` probes none.
    pub keepalive: Option<Duration>,
    /// How long a probe waits for its answer before the next one follows, in whole seconds.
    pub keepalive_interval: Duration,
    /// After how many probes without an answer the socket fails.
    pub keepalive_retries: u32,
    /// How long what was written may be unacknowledged before the socket fails, in whole milliseconds; `None` is what the system has.
    pub user_timeout: Option<Duration>,
}

impl TcpOptions {
    pub(super) const DEFAULT: Self = Self {
        keepalive: Some(KEEPALIVE),
        keepalive_interval: KEEPALIVE_INTERVAL,
        keepalive_retries: KEEPALIVE_RETRIES,
        user_timeout: Some(USER_TIMEOUT),
    };
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}
