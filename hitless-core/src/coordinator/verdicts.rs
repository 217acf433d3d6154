//! Notifications that wait for the verdict of a reviewer before they take effect.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::notifications::{Arrival, Effect, Origin};
use super::{Coordinator, Directive};
use crate::event::Event;
use crate::ids::ReviewId;
use crate::notification::Notification;
use crate::review::{Handled, Unreviewed, Verdict};

/// A MOVING waits for its review for no more than this part of its grace.
const PART_OF_GRACE: u32 = 4;

/// A notification that waits for its verdict.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    origin: Origin,
    notification: Notification,
    arrival: Arrival,
}

impl Pending {
    /// Whether it is still to take effect and fulfils `is_same`.
    pub(super) fn counts_and(&self, is_same: impl FnOnce(&Origin, &Notification) -> bool) -> bool {
        self.arrival.is_ok() && is_same(&self.origin, &self.notification)
    }
}

impl Coordinator {
    /// From now on each notification is handed out as a [`Directive::Review`] and takes effect with
    /// [`handle_verdict`](Self::handle_verdict), or by itself after `limit` ([`REVIEW_LIMIT`] is a good one; a MOVING
    /// waits for at most a quarter of its grace). `None`, the default: nobody is asked, and nothing is spent on it.
    ///
    /// [`REVIEW_LIMIT`]: crate::review::REVIEW_LIMIT
    pub fn review_notifications(&mut self, limit: Option<Duration>) {
        self.reviews.set_limit(limit);
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
        let Some(limit) = self.reviews.limit() else { return Some(arrival) };
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
        let Some(Pending { origin, notification, .. }) = self.reviews.get(review).cloned() else {
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
