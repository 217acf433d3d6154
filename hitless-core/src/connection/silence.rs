//! When a link counts as dead: something written is unanswered, and no byte came for too long.

use std::time::{Duration, Instant};

use crate::timer::after;

/// A window multiplies its relaxed timeout by this, as the default does with the command timeout.
const TIMEOUTS: u32 = 3;

/// How long nothing has come on a link that owes a reply.
#[derive(Clone, Debug)]
pub(super) struct Silence {
    /// How long it may last; `None` is for ever.
    pub(super) patience: Option<Duration>,
    /// Since when; `None` while nothing is owed, and from a byte until the next instant that is known.
    pub(super) since: Option<Instant>,
    /// It has lasted too long, and that was said.
    pub(super) is_dead: bool,
}

impl Silence {
    pub(super) const fn new(patience: Option<Duration>) -> Self {
        Self { patience, since: None, is_dead: false }
    }

    /// A byte was received. True if the link had counted as dead.
    pub(super) fn end(&mut self) -> bool {
        self.since = None;
        std::mem::take(&mut self.is_dead)
    }

    /// A reply is owed at this instant, and silence is counted from here if it was not before.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Nobody could have read for a while: what was silent until now is not counted.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        if let Some(since) = &mut self.since {
            *since = now;
        }
    }

    /// A reply is owed. True if the link counts as dead from now on; said once.
    pub(super) fn judge(&mut self, now: Instant, relaxed: Option<Duration>) -> bool {
        self.begin(now);
        let is_over = self.deadline(relaxed).is_some_and(|at| at <= now);
        self.is_dead |= is_over;
        is_over
    }

    /// When the link will count as dead. A window gives it more time.
    pub(super) fn deadline(&self, relaxed: Option<Duration>) -> Option<Instant> {
        let patience = self.patience.filter(|_| !self.is_dead)?;
        let in_window = relaxed.map_or(Duration::ZERO, |relaxed| relaxed.saturating_mul(TIMEOUTS));
        Some(after(self.since?, patience.max(in_window)))
    }
}
