//! What remains to be done when the client's lock has been released.

use std::sync::Arc;
use std::task::Waker;

use resp3_codec::Frame;
use smallvec::SmallVec;

use super::signals::Signals;
use super::waiter::Waiter;
use crate::request::Outcome;

/// Collected while the lock is held, applied after it: completions, wake-ups, and things whose dropping may take time.
///
/// Not one of them runs foreign code or frees memory under the lock.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) completed: SmallVec<[(Arc<Waiter<Outcome>>, Outcome); 1]>,
    pub(super) signals: SmallVec<[(Arc<Signals>, u8); 2]>,
    pub(super) wakers: Vec<Waker>,
    /// Replies that nobody waits for, and pushes that nobody observes.
    pub(super) dropped: Vec<Frame>,
}

impl Effects {
    /// Does what was collected, and keeps the allocations for the next time.
    pub(super) fn apply(&mut self) {
        for (waiter, outcome) in self.completed.drain(..) {
            waiter.complete(outcome);
        }
        for (signals, flag) in self.signals.drain(..) {
            signals.raise(flag);
        }
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
        self.dropped.clear();
    }
}
