//! Effects of actions that have to wait until the client's lock is released.

use std::sync::Arc;
use std::task::Waker;

use resp3_codec::Frame;
use smallvec::SmallVec;

use super::signals::Signals;
use super::waiter::Waiter;
use crate::pubsub::Item;
use crate::request::{Orphan, Outcome};

/// Whom an orphan is handed to. It does not panic.
pub(super) type OnOrphan = Arc<dyn Fn(Orphan) + Send + Sync>;

/// Completions, wake-ups and frames to drop. They are collected while the lock is held and applied after it, so that no
/// foreign code runs and no frame is freed under the lock.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) completed: SmallVec<[(Arc<Waiter<Outcome>>, Outcome); 1]>,
    pub(super) signals: SmallVec<[(Arc<Signals>, u8); 2]>,
    pub(super) wakers: Vec<Waker>,
    /// What commands have taken for nobody, and whom it is handed to.
    pub(super) orphans: Vec<(OnOrphan, Orphan)>,
    /// Replies of cancelled requests, and pushes that no observer gets.
    pub(super) dropped: Vec<Frame>,
    /// What subscribers did not read in time.
    pub(super) missed: Vec<Item>,
}

impl Effects {
    /// Applies the effects, and keeps the allocations for the next time.
    pub(super) fn apply(&mut self) {
        // The usual end of a visit that sends one more request: the task that writes has been woken for those before it.
        if self.is_empty() {
            return;
        }
        for (waiter, outcome) in self.completed.drain(..) {
            waiter.complete(outcome);
        }
        for (signals, flag) in self.signals.drain(..) {
            signals.raise(flag);
        }
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
        for (on_orphan, orphan) in self.orphans.drain(..) {
            on_orphan(orphan);
        }
        self.dropped.clear();
        self.missed.clear();
    }

    fn is_empty(&self) -> bool {
        self.completed.is_empty()
            && self.signals.is_empty()
            && self.wakers.is_empty()
            && self.orphans.is_empty()
            && self.dropped.is_empty()
            && self.missed.is_empty()
    }
}
