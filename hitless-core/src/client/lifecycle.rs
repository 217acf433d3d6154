//! The phases of a client, from its first dial to its end.

#[cfg(feature = "explore")]
mod fingerprint;

use std::time::{Duration, Instant};

use crate::timer::after;

/// The phase of a client. A client goes through the phases in the order of their declaration, and may skip some.
#[derive(Clone, Debug)]
pub(super) struct Lifecycle {
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// The pool has not been open yet. The client accepts requests all the same. If the pool is not open by `until`, the
    /// client gives up.
    Starting {
        since: Instant,
        until: Option<Instant>,
    },
    Running,
    /// The accepted requests may finish until then.
    ShuttingDown {
        until: Instant,
    },
    Terminated,
}

impl Lifecycle {
    /// A start that may take for `limit`.
    pub(super) fn new(now: Instant, limit: Option<Duration>) -> Self {
        Self { phase: Phase::Starting { since: now, until: limit.map(|limit| after(now, limit)) } }
    }

    /// The pool is open. True the first time, unless the client shut down before.
    pub(super) fn finish_start(&mut self) -> bool {
        let is_starting = self.is_starting();
        if is_starting {
            self.phase = Phase::Running;
        }
        is_starting
    }

    /// The client accepts no more requests. False if it shut down before; then the end can only come nearer.
    pub(super) fn begin_shutdown(&mut self, until: Instant) -> bool {
        match &mut self.phase {
            Phase::Starting { .. } | Phase::Running => {
                self.phase = Phase::ShuttingDown { until };
                true
            }
            Phase::ShuttingDown { until: before } => {
                *before = until.min(*before);
                false
            }
            Phase::Terminated => false,
        }
    }

    /// No connection is left. True if that ends the client; a client that does not shut down goes on.
    pub(super) fn terminate(&mut self) -> bool {
        let is_shutting_down = self.is_shutting_down();
        if is_shutting_down {
            self.phase = Phase::Terminated;
        }
        is_shutting_down
    }

    /// When the time of a start or the grace of a shutdown is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { until, .. } => until,
            Phase::ShuttingDown { until } => Some(until),
            Phase::Running | Phase::Terminated => None,
        }
    }

    /// True if the grace of a shutdown is over.
    pub(super) fn is_grace_over(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::ShuttingDown { until } if until <= now)
    }

    /// True if the time of a start is over.
    pub(super) fn is_start_overdue(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Starting { until: Some(until), .. } if until <= now)
    }

    /// How long the client has been starting; nothing if it is not.
    pub(super) fn starting_for(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Starting { since, .. } => now.saturating_duration_since(since),
            Phase::Running | Phase::ShuttingDown { .. } | Phase::Terminated => Duration::ZERO,
        }
    }

    /// True if the client accepts requests and opens connections.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. } | Phase::Running)
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        matches!(self.phase, Phase::ShuttingDown { .. })
    }

    pub(super) fn is_terminated(&self) -> bool {
        matches!(self.phase, Phase::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::epoch;

    #[test]
    fn a_start_is_finished_once() {
        let mut lifecycle = Lifecycle::new(epoch(), None);
        assert!(lifecycle.is_starting() && lifecycle.is_open());
        assert!(lifecycle.finish_start());
        assert!(!lifecycle.finish_start());
        assert!(lifecycle.is_open());
    }

    #[test]
    fn a_second_shutdown_can_only_bring_the_end_nearer() {
        let mut lifecycle = Lifecycle::new(epoch(), None);
        let (soon, late) = (epoch() + Duration::from_secs(1), epoch() + Duration::from_secs(2));
        assert!(lifecycle.begin_shutdown(late));
        assert!(!lifecycle.begin_shutdown(soon));
        assert!(!lifecycle.begin_shutdown(late));
        assert_eq!(lifecycle.poll_timeout(), Some(soon));
        assert!(!lifecycle.finish_start(), "it does not start any more");
    }

    #[test]
    fn only_a_shutdown_leads_to_the_end() {
        let mut lifecycle = Lifecycle::new(epoch(), None);
        assert!(!lifecycle.terminate());
        lifecycle.begin_shutdown(epoch());
        assert!(lifecycle.terminate());
        assert!(!lifecycle.terminate());
        assert!(!lifecycle.begin_shutdown(epoch()));
        assert!(lifecycle.is_terminated());
        assert_eq!(lifecycle.poll_timeout(), None);
    }
}
