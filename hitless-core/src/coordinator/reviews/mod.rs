//! Reviews: what waits for a verdict, and for how long.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::timers::Timers;
use crate::ids::{Arena, ReviewId};
use crate::timer::after;

/// Reviews that may be pending; a notification beyond it takes effect without one.
const REVIEWS: usize = 256;

/// The reviews that are pending, each of a `P`.
#[derive(Clone, Debug)]
pub(super) struct Reviews<P> {
    /// `None`: nobody reviews.
    limit: Option<Duration>,
    pending: Arena<ReviewId, P>,
    limits: Timers<ReviewId>,
}

impl<P> Reviews<P> {
    pub(super) const fn new() -> Self {
        Self { limit: None, pending: Arena::new(), limits: Timers::new() }
    }

    /// From now on somebody reviews, within `limit`; `None`: nobody does.
    pub(super) fn set_limit(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// The time for a review; `None` if nobody reviews.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Begins the review of `pending`, which lasts for `limit` at most.
    pub(super) fn begin(&mut self, now: Instant, limit: Duration, pending: P) -> ReviewId {
        let review = self.pending.insert(pending);
        self.limits.arm(review, after(now, limit));
        review
    }

    pub(super) fn end(&mut self, review: ReviewId) -> Option<P> {
        self.limits.cancel(&review);
        self.pending.remove(review)
    }

    /// A review whose time is over. To be asked until there is none.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<ReviewId> {
        self.limits.fire(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.limits.next()
    }

    pub(super) fn get(&self, review: ReviewId) -> Option<&P> {
        self.pending.get(review)
    }

    pub(super) fn any(&self, is_wanted: impl FnMut(&P) -> bool) -> bool {
        self.pending.iter().map(|(_, pending)| pending).any(is_wanted)
    }

    /// Whether no more reviews may be pending.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= REVIEWS
    }
}
