//! Signals to a task: flags, and the task's waker.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// The machine has something to write.
pub(super) const WRITE: u8 = 1;
/// Stop and close.
pub(super) const CLOSE: u8 = 2;
/// The state has new work: orders, reviews, another deadline, or the end.
pub(super) const WORK: u8 = 4;
/// Give back what is kept for the next reads and writes.
pub(super) const REST: u8 = 8;

/// The flags of one task. Raising a flag that is up already costs one atomic operation and does not wake the task.
#[derive(Debug, Default)]
pub(super) struct Signals {
    flags: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

impl Signals {
    /// Raises `flag` and wakes the task, unless the flag is up already.
    pub(super) fn raise(&self, flag: u8) {
        if self.flags.fetch_or(flag, Ordering::AcqRel) & flag != 0 {
            return;
        }
        // Cloned, so that foreign code (the waker) runs without the lock.
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes `flag` down; true if it was up.
    pub(super) fn take(&self, flag: u8) -> bool {
        // The plain load keeps the common case, nothing new, free of a write to a shared cache line.
        self.is_up(flag) && self.flags.fetch_and(!flag, Ordering::AcqRel) & flag != 0
    }

    pub(super) fn is_up(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Makes `waker` the one to wake. The task calls it at each poll, *before* it looks at the flags.
    pub(super) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        let old = slot.replace(waker.clone());
        drop(slot);
        drop(old);
    }

    /// Forgets the waker: the task has ended.
    pub(super) fn disconnect(&self) {
        let old = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(old);
    }

    /// The result of `future`, or `None`, with `future` dropped, as soon as [`CLOSE`] is up.
    pub(super) async fn unless_closed<F: Future>(&self, future: F) -> Option<F::Output> {
        self.unless_up(CLOSE, future).await
    }

    /// The result of `future`, or `None`, with `future` dropped, as soon as one of `flags` is up.
    pub(super) async fn unless_up<F: Future>(&self, flags: u8, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            self.register(cx.waker());
            if self.is_up(flags) {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }
}
