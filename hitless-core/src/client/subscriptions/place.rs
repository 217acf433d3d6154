//! The room for the one connection that carries all subscriptions, and when to dial for it.

#[cfg(feature = "explore")]
mod fingerprint;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backoff::Reconnect;
use crate::coordinator::Redial;
use crate::error::ConnectError;
use crate::ids::ConnId;
use crate::rng::Rng;
use crate::timer::after;

/// A connection that brings nothing for so long is pinged, before the balancers on its way forget it.
const PING_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Place {
    /// Since when a connection is there.
    since: Option<Instant>,
    /// What is dialled: the first connection, or a successor.
    dialled: Vec<ConnId>,
    /// When the connection is to be looked at, unless something comes.
    ping_at: Option<Instant>,
    /// No connection is opened before this instant.
    retry_at: Option<Instant>,
    pauses: Reconnect,
    /// Why the last attempt to open a connection has failed, if none was opened since.
    failure: Option<Arc<ConnectError>>,
    rng: Rng,
}

impl Place {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            since: None,
            dialled: Vec::new(),
            ping_at: None,
            retry_at: None,
            pauses: Reconnect::new(),
            failure: None,
            // Not the sequence of anybody else.
            rng: Rng::new(seed ^ 0x9e37_79b9_7f4a_7c15),
        }
    }

    /// `conn` is being opened.
    pub(super) fn assign(&mut self, conn: ConnId) {
        self.dialled.push(conn);
    }

    /// `conn` is not wanted, or not to be had, any more.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.dialled.retain(|dialled| *dialled != conn);
    }

    /// `conn` is the connection from now on.
    pub(super) fn fill(&mut self, now: Instant, conn: ConnId) {
        self.forget(conn);
        self.since = Some(now);
        self.retry_at = None;
        self.failure = None;
        self.note_received(now);
    }

    /// The connection has left the place.
    pub(super) fn empty(&mut self) {
        (self.since, self.ping_at) = (None, None);
    }

    /// Something has come.
    pub(super) fn note_received(&mut self, now: Instant) {
        if self.since.is_some() {
            self.ping_at = Some(after(now, PING_AFTER));
        }
    }

    /// Whether to look at the connection: nothing has come for long.
    pub(super) fn take_ping(&mut self, now: Instant) -> bool {
        self.ping_at.take_if(|at| *at <= now).is_some()
    }

    /// Whether the connection has been of use, so that the next dial need not wait.
    pub(super) fn note_service(&mut self, now: Instant, has_answered: bool) -> bool {
        let lived = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let has_served =
            lived >= Reconnect::TRUSTED_AFTER || (has_answered && lived >= Reconnect::PROVEN_AFTER);
        if has_served {
            self.pauses.reset();
        }
        has_served
    }

    /// The pause after a failed dial is over.
    pub(super) fn end_pause(&mut self, now: Instant) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    /// Whether a dial is under way.
    pub(super) fn is_dialling(&self) -> bool {
        !self.dialled.is_empty()
    }

    /// When a dial may be begun, if not at once.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// When the connection is to be looked at.
    pub(super) fn ping_at(&self) -> Option<Instant> {
        self.ping_at
    }

    pub(super) fn failure(&self) -> Option<&Arc<ConnectError>> {
        self.failure.as_ref()
    }

    /// A connection could not be opened, or was lost soon: the next dial waits a little.
    pub(super) fn note_failure(&mut self, now: Instant, error: ConnectError, redial: Redial) {
        let Some(pause) = redial.pause(&mut self.pauses, &mut self.rng) else { return };
        self.retry_at = Some(after(now, pause));
        self.failure = Some(Arc::new(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::epoch;

    /// A connection proves that its server is well when it has answered and lived, or lived for long. RULE-161
    #[test]
    fn what_has_lived_or_answered_has_served() {
        let moment = Duration::from_millis(1);
        for (lived, has_answered, has_served) in [
            (Duration::ZERO, true, false),
            (Reconnect::PROVEN_AFTER - moment, true, false),
            (Reconnect::PROVEN_AFTER, true, true),
            (Reconnect::PROVEN_AFTER, false, false),
            (Reconnect::TRUSTED_AFTER - moment, false, false),
            (Reconnect::TRUSTED_AFTER, false, true),
            (Reconnect::TRUSTED_AFTER, true, true),
        ] {
            let (now, mut place) = (epoch(), Place::new(0));
            place.fill(now, ConnId::from_parts(0, 0));
            assert_eq!(place.note_service(now + lived, has_answered), has_served, "{lived:?} {has_answered}");
        }
    }
}
