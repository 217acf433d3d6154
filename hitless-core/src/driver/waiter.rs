//! A value that one task hands to another, and an event that many tasks may wait for.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A place for one value that one task waits for. It has its own lock, so that the woken task does not need the
/// client's.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    slot: Mutex<Slot<T>>,
}

#[derive(Debug)]
enum Slot<T> {
    Empty(Option<Waker>),
    Full(T),
    Taken,
}

impl<T> Waiter<T> {
    pub(super) fn new() -> Self {
        Self { slot: Mutex::new(Slot::Empty(None)) }
    }

    /// Puts the value in and wakes the task that waits.
    pub(super) fn complete(&self, value: T) {
        if let Some(waker) = self.put(value) {
            waker.wake();
        }
    }

    /// Puts the value in and returns the waker of the task that waits. Only the first value counts.
    pub(super) fn put(&self, value: T) -> Option<Waker> {
        let mut slot = self.lock();
        if !matches!(*slot, Slot::Empty(_)) {
            return None;
        }
        match mem::replace(&mut *slot, Slot::Full(value)) {
            Slot::Empty(waker) => waker,
            Slot::Full(_) | Slot::Taken => None,
        }
    }

    /// Takes the value out. Pending for ever once it was taken.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.lock();
        if let Slot::Empty(waker) = &mut *slot {
            let old = waker.replace(cx.waker().clone());
            drop(slot);
            drop(old);
            return Poll::Pending;
        }
        match mem::replace(&mut *slot, Slot::Taken) {
            Slot::Full(value) => Poll::Ready(value),
            Slot::Empty(_) | Slot::Taken => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that happens once and that any number of tasks may wait for.
#[derive(Debug, Default)]
pub(super) struct Latch {
    inner: Mutex<LatchState>,
}

#[derive(Debug, Default)]
struct LatchState {
    open: bool,
    wakers: Vec<Waker>,
}

impl Latch {
    /// It has happened: wakes all tasks that wait.
    pub(super) fn open(&self) {
        let mut inner = self.lock();
        inner.open = true;
        let wakers = mem::take(&mut inner.wakers);
        drop(inner);
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits until it has happened.
    pub(super) async fn wait(&self) {
        std::future::poll_fn(|cx| {
            let mut inner = self.lock();
            if inner.open {
                return Poll::Ready(());
            }
            if !inner.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                inner.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, LatchState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
