//! What the system can be asked for of a TCP socket.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{ConfigBuilder, ConfigError};
use crate::endpoint::TcpOptions;

/// In what the system counts idle time and intervals: it cuts off what is left.
const SECOND: Duration = Duration::from_secs(1);
/// In what it counts the user timeout.
const MILLISECOND: Duration = Duration::from_millis(1);
/// What Linux takes, which is the least of all: 15 bits of seconds.
const SECONDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(0x7fff);
/// 31 bits of milliseconds.
const MILLISECONDS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(0x7fff_ffff);
const RETRIES: RangeInclusive<u32> = 1..=127;

impl ConfigBuilder {
    /// How long a TCP link is quiet before the system probes it: 1 s to 9 h, in whole seconds; `None`: never. Default: 30 s.
    /// The client finds dead links that owe a reply by [`dead_link_timeout`](Self::dead_link_timeout); this finds those that are idle,
    /// and keeps firewalls from forgetting them. Less finds them sooner, and costs a packet each time.
    pub fn tcp_keepalive(mut self, after: Option<Duration>) -> Self {
        self.tcp.keepalive = after;
        self
    }

    /// How long a probe of [`tcp_keepalive`](Self::tcp_keepalive) waits for its answer before the next one follows: 1 s to 9 h, in whole
    /// seconds. Default: 10 s.
    pub fn tcp_keepalive_interval(mut self, interval: Duration) -> Self {
        self.tcp.keepalive_interval = interval;
        self
    }

    /// After how many probes without an answer the system ends the link: 1 to 127. Default: 3. Fewer end links that a bad network would have
    /// kept. On Linux [`tcp_user_timeout`](Self::tcp_user_timeout) counts instead, where it is set.
    pub fn tcp_keepalive_retries(mut self, retries: u32) -> Self {
        self.tcp.keepalive_retries = retries;
        self
    }

    /// How long what was written to a TCP link may be unacknowledged before the system ends the link (`TCP_USER_TIMEOUT`, on Linux and
    /// Android): 1 ms to 24 days, in whole milliseconds; `None` is what the system has, about a quarter of an hour. Default: 30 s. Less
    /// ends links sooner that a bad network would have kept.
    pub fn tcp_user_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.tcp.user_timeout = timeout;
        self
    }
}

/// # Errors
/// [`ConfigError::OutOfRange`]: the system would refuse it at each dial, or take it for something else.
pub(super) fn check(options: &TcpOptions) -> Result<(), ConfigError> {
    let TcpOptions { keepalive, keepalive_interval, keepalive_retries, user_timeout } = options;
    let lengths = [
        ("tcp_keepalive", *keepalive, SECONDS, SECOND, "from 1 s to 32767 s in whole seconds, or None"),
        (
            "tcp_keepalive_interval",
            Some(*keepalive_interval),
            SECONDS,
            SECOND,
            "from 1 s to 32767 s in whole seconds",
        ),
        (
            "tcp_user_timeout",
            *user_timeout,
            MILLISECONDS,
            MILLISECOND,
            "from 1 ms to 24 days in whole milliseconds, or None",
        ),
    ];
    for (setting, length, limits, unit, range) in lengths {
        let fits =
            |length: Duration| limits.contains(&length) && length.as_nanos().is_multiple_of(unit.as_nanos());
        if let Some(length) = length.filter(|length| !fits(*length)) {
            // `Debug` rounds nothing, so the error shows the fraction.
            let value = if length.is_zero() { "0s".to_owned() } else { format!("{length:?}") };
            return Err(ConfigError::OutOfRange { setting, range, value });
        }
    }
    if RETRIES.contains(keepalive_retries) {
        return Ok(());
    }
    let (setting, value) = ("tcp_keepalive_retries", keepalive_retries.to_string());
    Err(ConfigError::OutOfRange { setting, range: "from 1 to 127", value })
}
