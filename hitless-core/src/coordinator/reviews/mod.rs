//! Notifications that wait for a reviewer's verdict.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::notifications::{Arrival, Effect, Origin};
use super::timers::Timers;
use super::{Coordinator, Directive};
use crate::event::Event;
use crate::ids::{Arena, ReviewId};
use crate::notification::Notification;
use crate::review::{Handled, Unreviewed, Verdict};
use crate::timer::after;

/// Reviews that may be pending; a notification beyond it takes effect without one.
const REVIEWS: usize = 256;

/// A MOVING waits for its review for no more than this part of its grace.
const PART_OF_GRACE: u32 = 4;

/// The reviews that are pending.
#[derive(Clone, Debug)]
pub(super) struct Reviews {
    /// `None`: nobody reviews.
    limit: Option<Duration>,
    pending: Arena<ReviewId, Pending>,
    limits: Timers<ReviewId>,
}

/// A notification that waits for its verdict.
#[derive(Clone, Debug)]
struct Pending {
    origin: Origin,
    notification: Notification,
    arrival: Arrival,
}

impl Reviews {
    pub(super) const fn new() -> Self {
        Self { limit: None, pending: Arena::new(), limits: Timers::new() }
    }

    /// Whether a notification that waits fulfils `is_same`; those that were ignored do not count.
    pub(super) fn any(&self, mut is_same: impl FnMut(&Origin, &Notification) -> bool) -> bool {
        let mut waiting = self.pending.iter().filter(|(_, pending)| pending.arrival.is_ok());
        waiting.any(|(_, pending)| is_same(&pending.origin, &pending.notification))
    }

    /// A review whose time is over. To be asked until there is none.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<ReviewId> {
        self.limits.fire(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.limits.next()
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= REVIEWS
    }

    fn begin(&mut self, now: Instant, limit: Duration, pending: Pending) -> ReviewId {
        let review = self.pending.insert(pending);
        self.limits.arm(review, after(now, limit));
        review
    }

    fn end(&mut self, review: ReviewId) -> Option<Pending> {
        self.limits.cancel(&review);
        self.pending.remove(review)
    }
}

impl Coordinator {
    /// From now on each notification is handed out as a [`Directive::Review`] and takes effect with
    /// [`handle_verdict`](Self::handle_verdict), or by itself after `limit` ([`REVIEW_LIMIT`] is a good one; a MOVING
    /// waits for at most a quarter of its grace). `None`, the default: nobody is asked, and nothing is spent on it.
    ///
    /// [`REVIEW_LIMIT`]: crate::review::REVIEW_LIMIT
    pub fn review_notifications(&mut self, limit: Option<Duration>) {
        self.reviews.limit = limit;
    }

    /// A reviewer's answer to [`Directive::Review`]. A second one, and one that comes too late, does nothing.
    pub fn handle_verdict(&mut self, now: Instant, review: ReviewId, verdict: Verdict) {
        let Some(Pending { origin, notification, arrival }) = self.reviews.end(review) else { return };
        let handled = match (arrival, verdict) {
            (Err(reason), _) => Handled::Ignored(reason),
            (Ok(effect), Verdict::Veto) => self.veto(&origin, &notification, effect),
            (Ok(effect), Verdict::Replace(other)) if other != notification => {
                self.replace(now, &origin, &notification, effect, &other)
            }
            (Ok(effect), Verdict::Continue | Verdict::Replace(_)) => {
                self.resume(now, &origin, &notification, effect)
            }
        };
        self.settle(now);
        self.directives.push_back(Directive::Reviewed { review, handled });
    }

    /// Hands `notification` out, if somebody reviews. Gives `arrival` back if it is to take effect now.
    pub(super) fn begin_review(
        &mut self,
        now: Instant,
        origin: &Origin,
        notification: &Notification,
        arrival: Arrival,
    ) -> Option<Arrival> {
        let Some(limit) = self.reviews.limit else { return Some(arrival) };
        if self.reviews.is_full() {
            if arrival.is_ok() {
                self.emit_unreviewed(origin, notification, Unreviewed::TooMany);
            }
            return Some(arrival);
        }
        let limit = match notification {
            Notification::Moving { grace, .. } => limit.min(*grace / PART_OF_GRACE),
            _ => limit,
        };
        let (conn, notification) = (origin.conn, notification.clone());
        let pending = Pending { origin: origin.clone(), notification: notification.clone(), arrival };
        let review = self.reviews.begin(now, limit, pending);
        self.directives.push_back(Directive::Review { review, conn, notification });
        None
    }

    /// Nobody has said anything: that is no reason to stay at an address that is going away.
    pub(super) fn on_review_timeout(&mut self, now: Instant, review: ReviewId) {
        let Some(Pending { origin, notification, .. }) = self.reviews.pending.get(review).cloned() else {
            return;
        };
        self.emit_unreviewed(&origin, &notification, Unreviewed::TimedOut);
        self.handle_verdict(now, review, Verdict::Continue);
    }

    /// While it was being reviewed, the world has moved on: what was news may be old by now.
    fn resume(
        &mut self,
        now: Instant,
        origin: &Origin,
        notification: &Notification,
        effect: Effect,
    ) -> Handled {
        match self.outdated(now, origin, notification) {
            Some(reason) => {
                self.ignore(origin.conn, notification.kind(), notification.seq(), reason);
                Handled::Ignored(reason)
            }
            None => self.apply(now, origin, notification, effect),
        }
    }

    fn veto(&mut self, origin: &Origin, notification: &Notification, effect: Effect) -> Handled {
        self.take_back(effect);
        let (conn, kind, seq) = (origin.conn, notification.kind(), notification.seq());
        self.emit(Event::NotificationVetoed { conn, kind, seq });
        Handled::Vetoed
    }

    fn replace(
        &mut self,
        now: Instant,
        origin: &Origin,
        original: &Notification,
        effect: Effect,
        other: &Notification,
    ) -> Handled {
        if let Some(reason) = self.outdated(now, origin, original) {
            self.ignore(origin.conn, original.kind(), original.seq(), reason);
            return Handled::Ignored(reason);
        }
        let (conn, kind, seq) = (origin.conn, original.kind(), original.seq());
        self.emit(Event::NotificationReplaced { conn, kind, seq });
        if let (Notification::Moving { .. }, Notification::Moving { grace, target, .. }) = (original, other) {
            return self.apply_redirected(now, origin, original, effect, (*grace, target));
        }
        self.take_back(effect);
        match self.announce(now, origin, other) {
            Ok(effect) => self.apply(now, origin, other, effect),
            Err(reason) => {
                self.ignore(conn, other.kind(), other.seq(), reason);
                Handled::Ignored(reason)
            }
        }
    }

    fn emit_unreviewed(&mut self, origin: &Origin, notification: &Notification, reason: Unreviewed) {
        let (conn, kind, seq) = (origin.conn, notification.kind(), notification.seq());
        self.emit(Event::NotificationUnreviewed { conn, kind, seq, reason });
    }
}
