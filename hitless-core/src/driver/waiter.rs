//! A value that one task hands to another, and an event that many tasks may wait for.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::ids::LeaseId;
use crate::request::{Outcome, Replies, Request};

/// A place for one value that one task waits for. It has its own lock, so that the woken task does not need the
/// client's.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    slot: Mutex<Slot<T>>,
    /// The request whose outcome this is for, if it may be sent to another node of its cluster.
    handed_back: Mutex<Option<Box<HandedBack>>>,
    /// The name of the command that is answered here, if it removes elements from their keys.
    takes: Option<&'static str>,
}

/// A request that a node has not run, or that may run twice.
#[derive(Debug)]
pub(super) struct HandedBack {
    pub(super) request: Box<Request>,
    /// When the node's client has accepted it.
    pub(super) accepted_at: Instant,
}

#[derive(Debug)]
enum Slot<T> {
    Empty(Option<Waker>),
    Full(T),
    Taken,
}

impl<T> Waiter<T> {
    pub(super) fn new() -> Self {
        Self { slot: Mutex::new(Slot::Empty(None)), handed_back: Mutex::new(None), takes: None }
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

    /// Whether the value holds elements that exist nowhere else. It is put in under the client's lock, so that a caller who gives up
    /// finds it here or gives up before it comes.
    pub(super) fn takes(&self) -> bool {
        self.takes.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<Outcome> {
    /// For the outcome of `request`. On a lease nothing is called back, and what a holder drops is the holder's loss.
    pub(super) fn of(lease: Option<LeaseId>, request: &Request) -> Self {
        let takes = if lease.is_none() { request.takes() } else { None };
        Self { takes, ..Self::new() }
    }

    /// Puts the request in whose outcome follows. Returns the one that was there.
    pub(super) fn hand_back(&self, request: Box<Request>, accepted_at: Instant) -> Option<Box<HandedBack>> {
        let mut place = self.handed_back.lock().unwrap_or_else(PoisonError::into_inner);
        place.replace(Box::new(HandedBack { request, accepted_at }))
    }

    /// Takes the request out that was handed back before its outcome.
    pub(super) fn take_handed_back(&self) -> Option<Box<HandedBack>> {
        self.handed_back.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The name of the command that is answered here, if it removes elements from their keys.
    #[cfg(feature = "redis-rs")]
    pub(super) fn taker(&self) -> Option<&'static str> {
        self.takes
    }

    /// Takes the replies of a command that removes elements, if they have come and were not read; and the command's name.
    pub(super) fn take_unread(&self) -> Option<(&'static str, Replies)> {
        let takes = self.takes?;
        let mut slot = self.lock();
        // A waker that is in there stays: dropping it runs foreign code, and the caller holds the client's lock.
        let Slot::Full(Ok(replies)) = &mut *slot else { return None };
        Some((takes, mem::take(replies)))
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

    /// Whether it has happened.
    pub(super) fn is_open(&self) -> bool {
        self.lock().open
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
