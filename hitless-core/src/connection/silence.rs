//! When a link counts as dead: something written is unanswered, and no byte came for too long.

use std::time::{Duration, Instant};

use crate::command_table::{Blocking, beyond};
use crate::timer::after;

/// A window multiplies its relaxed timeout by this, as the default does with the command timeout.
const TIMEOUTS: u32 = 3;

/// How long nothing has come on a link that owes a reply.
#[derive(Clone, Debug)]
pub(super) struct Silence {
    /// How long it may last; `None` is for ever.
    pub(super) patience: Option<Duration>,
    /// What windows grant since the last byte: one that closes takes nothing back.
    pub(super) granted: Duration,
    /// What the window that is open grants.
    pub(super) in_window: Duration,
    /// Since when; `None` while nothing is owed, and from a byte until the next instant that is known.
    pub(super) since: Option<Instant>,
    /// It has lasted too long, and that was said.
    pub(super) is_dead: bool,
}

impl Silence {
    pub(super) const fn new(patience: Option<Duration>) -> Self {
        Self { patience, granted: Duration::ZERO, in_window: Duration::ZERO, since: None, is_dead: false }
    }

    /// A byte was received. True if the link had counted as dead.
    pub(super) fn end(&mut self) -> bool {
        self.since = None;
        self.granted = self.in_window;
        std::mem::take(&mut self.is_dead)
    }

    /// A reply is owed at this instant, and silence is counted from here if it was not before.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.since.is_none() {
            self.since = Some(now);
            self.granted = self.in_window;
        }
    }

    /// A window has opened or closed.
    pub(super) fn retime(&mut self, relaxed: Option<Duration>) {
        self.in_window = relaxed.map_or(Duration::ZERO, |relaxed| relaxed.saturating_mul(TIMEOUTS));
        self.granted = self.granted.max(self.in_window);
    }

    /// The process could not read for `late` before `now`, and that time does not count as silence. The silence before it
    /// counts: otherwise a loop that is always late would never notice a dead link.
    pub(super) fn leave_out(&mut self, now: Instant, late: Duration) {
        if let Some(since) = &mut self.since {
            *since = after(*since, late).min(now);
        }
    }

    /// A reply is owed, before which the server was asked to wait for `blocking`. True if the link counts as dead from now on;
    /// said once.
    pub(super) fn judge(&mut self, now: Instant, blocking: Option<Blocking>) -> bool {
        self.begin(now);
        let is_over = self.deadline(blocking).is_some_and(|at| at <= now);
        self.is_dead |= is_over;
        is_over
    }

    /// When the link will count as dead, if a server that was asked to wait for `blocking` says nothing.
    pub(super) fn deadline(&self, blocking: Option<Blocking>) -> Option<Instant> {
        let patience = self.patience.filter(|_| !self.is_dead)?;
        let patience = beyond(blocking, Some(patience.max(self.granted)))?;
        Some(after(self.since?, patience))
    }
}
