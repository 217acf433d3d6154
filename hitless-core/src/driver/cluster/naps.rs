//! Pauses of requests that are to be sent again a little later. The control task rings: a caller may be polled where there are no timers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Those who wait, by when they are to be woken.
#[derive(Debug, Default)]
pub(super) struct Naps {
    inner: Mutex<Sleepers>,
}

#[derive(Debug, Default)]
struct Sleepers {
    wakers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    is_over: bool,
}

/// One pause. It is a place in the table for as long as it is awaited.
#[derive(Debug)]
pub(super) struct Nap<'a> {
    naps: &'a Naps,
    key: (Instant, u64),
}

impl Naps {
    /// A pause until `at`. The caller wakes the control task, which may sleep longer than that.
    pub(super) fn begin(&self, at: Instant) -> Nap<'_> {
        let mut inner = self.lock();
        inner.next += 1;
        let key = (at, inner.next);
        inner.wakers.insert(key, Waker::noop().clone());
        Nap { naps: self, key }
    }

    /// When the next pause is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(self.lock().wakers.first_key_value()?.0.0)
    }

    /// Wakes those whose pause is over.
    pub(super) fn handle_timeout(&self, now: Instant) {
        let mut inner = self.lock();
        let due: Vec<_> = inner.wakers.range(..=(now, u64::MAX)).map(|(key, _)| *key).collect();
        let wakers: Vec<Waker> = due.iter().filter_map(|key| inner.wakers.remove(key)).collect();
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nobody rings any more: every pause is over, and each that begins.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.is_over = true;
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        wakers.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Sleepers> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nap<'_> {
    /// Ready when the pause is over.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Cloning and dropping a waker runs foreign code, which must not find the lock taken.
        let waker = cx.waker().clone();
        let mut inner = self.naps.lock();
        if inner.is_over {
            return Poll::Ready(());
        }
        let Some(before) = inner.wakers.get_mut(&self.key) else { return Poll::Ready(()) };
        let before = std::mem::replace(before, waker);
        drop(inner);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Nap<'_> {
    fn drop(&mut self) {
        let waker = self.naps.lock().wakers.remove(&self.key);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::timer::epoch;

    fn poll(nap: &Nap<'_>) -> Poll<()> {
        nap.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn each_pause_ends_at_its_time() {
        let (naps, now) = (Naps::default(), epoch());
        let until = now + Duration::from_millis(5);
        let (late, early) = (naps.begin(until), naps.begin(now));
        assert_eq!(naps.poll_timeout(), Some(now));
        naps.handle_timeout(now);
        assert!(poll(&early).is_ready() && poll(&late).is_pending());
        assert_eq!(naps.poll_timeout(), Some(until));
        naps.handle_timeout(until);
        assert!(poll(&late).is_ready());
        assert_eq!(naps.poll_timeout(), None);
    }

    #[test]
    fn a_pause_that_nobody_awaits_any_more_is_forgotten() {
        let naps = Naps::default();
        drop(naps.begin(epoch()));
        assert_eq!(naps.poll_timeout(), None);
    }

    #[test]
    fn no_pause_outlasts_the_client() {
        let naps = Naps::default();
        let nap = naps.begin(epoch());
        assert!(poll(&nap).is_pending());
        naps.end();
        assert!(poll(&nap).is_ready() && poll(&naps.begin(epoch())).is_ready());
    }
}
