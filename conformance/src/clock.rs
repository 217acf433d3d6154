//! The one place where this package reads a clock.

use std::time::Instant;

/// Now.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "sockets live in real time; everything below takes `now` as a parameter"
)]
pub fn now() -> Instant {
    Instant::now()
}
