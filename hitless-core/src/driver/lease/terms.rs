//! What the client tells the holder of a lease.

use std::mem;
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
    notice: Option<LeaseNotice>,
    wakers: Vec<Waker>,
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
        // Nothing comes after the end.
        if !matches!(told.notice, Some(LeaseNotice::Lost { .. })) {
            told.notice = Some(notice);
        }
        mem::take(&mut told.wakers)
    }

    /// The latest notice.
    pub(super) fn notice(&self) -> Option<LeaseNotice> {
        self.lock().notice
    }

    /// Waits for a notice, if there is none yet.
    pub(super) fn poll_notice(&self, cx: &mut Context<'_>) -> Poll<LeaseNotice> {
        let mut told = self.lock();
        if let Some(notice) = told.notice {
            return Poll::Ready(notice);
        }
        if !told.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            told.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
