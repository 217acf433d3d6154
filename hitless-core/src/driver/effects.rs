//! Effects of actions that have to wait until the client's lock is released.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use resp3_codec::Frame;
use smallvec::SmallVec;

use super::signals::Signals;
use super::waiter::Waiter;
use crate::pubsub::Item;
use crate::request::{Orphan, Outcome};

/// Whom an orphan is handed to. It does not panic.
pub(super) type OnOrphan = Arc<dyn Fn(Orphan) + Send + Sync>;

/// Completions, wake-ups and replies to drop. They are collected while the lock is held and applied after it, so that no
/// foreign code runs and no frame is freed under the lock.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) completed: Vec<(Arc<Waiter<Outcome>>, Outcome)>,
    pub(super) signals: SmallVec<[(Arc<Signals>, u8); 2]>,
    pub(super) wakers: Vec<Waker>,
    /// Commands that have been answered.
    pub(super) commands: Vec<Bytes>,
    /// What nobody waits for.
    pub(super) unclaimed: Vec<Unclaimed>,
}

/// What is dropped, or handed to nobody in particular.
pub(super) enum Unclaimed {
    /// What a command has taken, and whom it is handed to.
    Orphan(OnOrphan, Orphan),
    /// A reply of a cancelled request, or a push that no observer gets.
    Frame { _dropped: Frame },
    /// What a subscriber did not read in time.
    Item { _dropped: Item },
    /// Keys that every reader of invalidations was told.
    Keys { _dropped: Vec<Bytes> },
    /// Keys that a reader of invalidations is not told one by one.
    Unread { _dropped: BTreeSet<Bytes> },
}

impl From<Frame> for Unclaimed {
    fn from(frame: Frame) -> Self {
        Self::Frame { _dropped: frame }
    }
}

impl From<Vec<Bytes>> for Unclaimed {
    fn from(keys: Vec<Bytes>) -> Self {
        Self::Keys { _dropped: keys }
    }
}

impl From<BTreeSet<Bytes>> for Unclaimed {
    fn from(keys: BTreeSet<Bytes>) -> Self {
        Self::Unread { _dropped: keys }
    }
}

impl From<Item> for Unclaimed {
    fn from(item: Item) -> Self {
        Self::Item { _dropped: item }
    }
}

impl Effects {
    /// Applies the effects, and keeps the allocations for the next time.
    pub(super) fn apply(&mut self) {
        // What was taken for writing has none, for one.
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
        self.commands.clear();
        for unclaimed in self.unclaimed.drain(..) {
            if let Unclaimed::Orphan(on_orphan, orphan) = unclaimed {
                on_orphan(orphan);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.completed.is_empty()
            && self.signals.is_empty()
            && self.wakers.is_empty()
            && self.commands.is_empty()
            && self.unclaimed.is_empty()
    }
}
