//! What the client tells the holder of a lease.

use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::super::waiter::Waiter;
use crate::error::{CloseCause, LeaseError};

/// What has become of the connection of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseNotice {
    /// Its server wants it to be given up. It serves on until `deadline`, and may be closed then: return the lease before that. A newer
    /// announcement may change the deadline.
    Moving {
        /// The deadline of the move.
        deadline: Instant,
    },
    /// It is gone: every call fails. Return the lease, and ask for another one if it is needed.
    Lost {
        /// Why it ended.
        cause: CloseCause,
    },
}

/// Between the client and the holder of one lease. It has its own lock, so that the holder does not need the client's.
#[derive(Debug)]
pub(in super::super) struct Terms {
    /// Whether the connection is there.
    pub(super) granted: Waiter<Result<(), LeaseError>>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// The latest notice.
    notice: Option<LeaseNotice>,
    /// How many there were.
    count: u64,
    /// Those who wait for the next one, by the numbers of their futures.
    wakers: BTreeMap<u64, Waker>,
    futures: u64,
}

impl Terms {
    pub(in super::super) fn new() -> Self {
        Self { granted: Waiter::new(), told: Mutex::default() }
    }

    /// The wish has ended. Returns the waker of the one who waits.
    pub(in super::super) fn grant(&self, outcome: Result<(), LeaseError>) -> Option<Waker> {
        self.granted.put(outcome)
    }

    /// Something has happened to the connection. Returns the wakers of those who wait for that.
    pub(in super::super) fn tell(&self, notice: LeaseNotice) -> Vec<Waker> {
        let mut told = self.lock();
        // Nothing comes after the end, and what was told is no news.
        if matches!(told.notice, Some(LeaseNotice::Lost { .. })) || told.notice == Some(notice) {
            return Vec::new();
        }
        told.notice = Some(notice);
        told.count += 1;
        mem::take(&mut told.wakers).into_values().collect()
    }

    /// The latest notice.
    pub(super) fn notice(&self) -> Option<LeaseNotice> {
        self.lock().notice
    }

    /// Waits for a notice that is not among the first `seen`; the handle keeps there how many it has returned.
    pub(super) fn news<'a>(&'a self, seen: &'a AtomicU64) -> News<'a> {
        News { terms: self, seen, behind: seen.load(Ordering::Relaxed), number: None }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a notice. It takes its waker back when it is dropped.
#[derive(Debug)]
pub(super) struct News<'a> {
    terms: &'a Terms,
    seen: &'a AtomicU64,
    /// How many notices its handle had returned when it began: another future may return the next one as well.
    behind: u64,
    /// Its number, once it has waited.
    number: Option<u64>,
}

impl Future for News<'_> {
    type Output = LeaseNotice;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LeaseNotice> {
        // Cloning and dropping a waker runs foreign code, which must not find the lock taken.
        let waker = cx.waker().clone();
        let mut told = self.terms.lock();
        let is_news = told.count > self.behind || matches!(told.notice, Some(LeaseNotice::Lost { .. }));
        if let Some(notice) = told.notice.filter(|_| is_news) {
            self.seen.fetch_max(told.count, Ordering::Relaxed);
            return Poll::Ready(notice);
        }
        let number = self.number.unwrap_or_else(|| {
            told.futures += 1;
            told.futures
        });
        let before = told.wakers.insert(number, waker);
        drop(told);
        drop(before);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for News<'_> {
    fn drop(&mut self) {
        let waker = self.number.and_then(|number| self.terms.lock().wakers.remove(&number));
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn poll(news: &mut News<'_>) -> Poll<LeaseNotice> {
        Pin::new(news).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A holder that looks for news beside each of its calls leaves nothing behind. RULE-204
    #[test]
    fn a_future_that_is_dropped_takes_its_waker_along() {
        let (terms, seen) = (Terms::new(), AtomicU64::new(0));
        let mut waits = terms.news(&seen);
        assert!(poll(&mut waits).is_pending());
        for _ in 0..1000 {
            assert!(poll(&mut terms.news(&seen)).is_pending());
        }
        assert_eq!(terms.tell(LeaseNotice::Lost { cause: CloseCause::ByServer }).len(), 1);
        assert!(poll(&mut waits).is_ready());
    }

    /// A handle returns each announcement once, however often that is told, to all who wait there; another handle begins anew. The end
    /// is always told. RULE-204, RULE-205
    #[test]
    fn each_handle_returns_each_announcement_once() {
        let (terms, seen, other) = (Terms::new(), AtomicU64::new(0), AtomicU64::new(0));
        let now = crate::timer::epoch();
        let moving = |seconds| LeaseNotice::Moving { deadline: now + Duration::from_secs(seconds) };
        let [mut one, mut two] = [terms.news(&seen), terms.news(&seen)];
        assert!(poll(&mut one).is_pending() && poll(&mut two).is_pending());
        for _ in 0..2 {
            terms.tell(moving(30));
        }
        assert_eq!([poll(&mut one), poll(&mut two)], [Poll::Ready(moving(30)); 2]);
        let mut next = terms.news(&seen);
        assert!(poll(&mut next).is_pending());
        assert_eq!(poll(&mut terms.news(&other)), Poll::Ready(moving(30)));
        assert_eq!(terms.tell(moving(10)).len(), 1);
        assert_eq!(poll(&mut next), Poll::Ready(moving(10)));
        let lost = LeaseNotice::Lost { cause: CloseCause::MoveDeadline };
        terms.tell(lost);
        for _ in 0..2 {
            assert_eq!(poll(&mut terms.news(&seen)), Poll::Ready(lost));
        }
    }
}
