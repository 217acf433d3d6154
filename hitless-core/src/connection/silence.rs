//! When a silent link counts as dead.

use std::time::Instant;

/// A link counts as dead after this many timeouts in a row without a byte received.
const TIMEOUTS: u32 = 3;

/// The timeouts since the last byte was received.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence {
    pub(super) timeouts: u32,
    pub(super) since: Option<Instant>,
}

impl Silence {
    /// Counts a timeout if its request was accepted after the last one that counted: requests of one burst time out
    /// together and are one sign, not many.
    pub(super) fn note(&mut self, now: Instant, accepted_at: Instant) {
        if self.since.is_none_or(|since| accepted_at >= since) {
            self.timeouts += 1;
            self.since = Some(now);
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.timeouts >= TIMEOUTS
    }
}
