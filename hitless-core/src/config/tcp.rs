//! What the system can be asked for of a TCP socket.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ConfigError;
use crate::endpoint::TcpOptions;
use crate::timer::Span;

/// What Linux takes, which is the least of all: 15 bits of seconds.
const SECONDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(0x7fff);
/// 31 bits of milliseconds.
const MILLISECONDS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(0x7fff_ffff);
const RETRIES: RangeInclusive<u32> = 1..=127;

/// # Errors
/// [`ConfigError::OutOfRange`]: the system would refuse it at each dial, or take it for something else.
pub(super) fn check(options: &TcpOptions) -> Result<(), ConfigError> {
    let TcpOptions { keepalive, keepalive_interval, keepalive_retries, user_timeout } = options;
    let lengths = [
        ("tcp_keepalive", *keepalive, SECONDS, "from 1 s to 32767 s, or None"),
        ("tcp_keepalive_interval", Some(*keepalive_interval), SECONDS, "from 1 s to 32767 s"),
        ("tcp_user_timeout", *user_timeout, MILLISECONDS, "from 1 ms to 24 days, or None"),
    ];
    for (setting, length, limits, range) in lengths {
        if let Some(length) = length.filter(|length| !limits.contains(length)) {
            return Err(ConfigError::OutOfRange { setting, range, value: Span(length).to_string() });
        }
    }
    if RETRIES.contains(keepalive_retries) {
        return Ok(());
    }
    let (setting, value) = ("tcp_keepalive_retries", keepalive_retries.to_string());
    Err(ConfigError::OutOfRange { setting, range: "from 1 to 127", value })
}
