//! Notifications that wait for somebody's verdict.

use std::time::{Duration, Instant};

use super::notifications::{News, Opened};
use super::{Coordinator, Directive, TimerKey};
use crate::event::{Event, Ignored};
use crate::ids::{Arena, ReviewId};
use crate::notification::Notification;
use crate::review::{Handled, Unreviewed, Verdict};
use crate::timer::after;

/// Reviews that may be pending; a notification beyond it takes effect without one.
const REVIEWS: usize = 256;

/// A MOVING waits for its review for no more than this part of its grace.
const PART_OF_GRACE: u32 = 4;

#[derive(Clone, Debug)]
pub(super) struct Reviews {
    /// `None`: nobody reviews.
    limit: Option<Duration>,
    pending: Arena<ReviewId, Review>,
}

#[derive(Clone, Debug)]
struct Review {
    news: News,
    notification: Notification,
    /// What it did at its arrival: the window that it opened, or the reason why it does nothing.
    arrival: Result<Option<Opened>, Ignored>,
}

impl Reviews {
    pub(super) const fn new() -> Self {
        Self { limit: None, pending: Arena::new() }
    }

    /// Whether a notification that waits fulfils `is_same`; those that were ignored do not count.
    pub(super) fn any(&self, mut is_same: impl FnMut(&News, &Notification) -> bool) -> bool {
        let mut waiting = self.pending.iter().filter(|(_, review)| review.arrival.is_ok());
        waiting.any(|(_, review)| is_same(&review.news, &review.notification))
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
        let Some(Review { news, notification, arrival }) = self.reviews.pending.remove(review) else {
            return;
        };
        self.timers.cancel(&TimerKey::Review(review));
        let handled = match (arrival, verdict) {
            (Err(reason), _) => Handled::Ignored(reason),
            (Ok(_), Verdict::Continue) => self.resume(now, &news, &notification),
            (Ok(opened), Verdict::Veto) => self.veto(&news, &notification, opened),
            (Ok(opened), Verdict::Replace(other)) if other != notification => {
                self.replace(now, &news, &notification, opened, &other)
            }
            (Ok(_), Verdict::Replace(_)) => self.resume(now, &news, &notification),
        };
        self.directives.push_back(Directive::Reviewed { review, handled });
        self.put_to_work(now);
    }

    /// Hands `notification` out, if somebody reviews. False if it is to take effect now.
    pub(super) fn begin_review(
        &mut self,
        now: Instant,
        news: &News,
        notification: &Notification,
        arrival: Result<Option<Opened>, Ignored>,
    ) -> bool {
        let Some(limit) = self.reviews.limit else { return false };
        if self.reviews.pending.len() >= REVIEWS {
            if arrival.is_ok() {
                self.emit_unreviewed(news, notification, Unreviewed::TooMany);
            }
            return false;
        }
        let limit = match notification {
            Notification::Moving { grace, .. } => limit.min(*grace / PART_OF_GRACE),
            _ => limit,
        };
        let review = Review { news: news.clone(), notification: notification.clone(), arrival };
        let review = self.reviews.pending.insert(review);
        self.timers.arm(TimerKey::Review(review), after(now, limit));
        let notification = notification.clone();
        self.directives.push_back(Directive::Review { review, conn: news.conn, notification });
        true
    }

    /// Nobody has said anything: that is no reason to stay at an address that is going away.
    pub(super) fn on_review_timeout(&mut self, now: Instant, review: ReviewId) {
        let Some(Review { news, notification, .. }) = self.reviews.pending.get(review) else { return };
        let (news, notification) = (news.clone(), notification.clone());
        self.emit_unreviewed(&news, &notification, Unreviewed::TimedOut);
        self.handle_verdict(now, review, Verdict::Continue);
    }

    /// While it was being reviewed, the world has moved on: what was news may be old by now.
    fn resume(&mut self, now: Instant, news: &News, notification: &Notification) -> Handled {
        match self.outdated(now, news, notification) {
            Some(reason) => {
                self.ignore(news.conn, notification.kind(), notification.seq(), reason);
                Handled::Ignored(reason)
            }
            None => self.apply(now, news, notification),
        }
    }

    fn veto(&mut self, news: &News, notification: &Notification, opened: Option<Opened>) -> Handled {
        self.take_back(opened);
        let (conn, kind, seq) = (news.conn, notification.kind(), notification.seq());
        self.emit(Event::NotificationVetoed { conn, kind, seq });
        Handled::Vetoed
    }

    fn replace(
        &mut self,
        now: Instant,
        news: &News,
        original: &Notification,
        opened: Option<Opened>,
        other: &Notification,
    ) -> Handled {
        if let Some(reason) = self.outdated(now, news, original) {
            self.ignore(news.conn, original.kind(), original.seq(), reason);
            return Handled::Ignored(reason);
        }
        let (conn, kind, seq) = (news.conn, original.kind(), original.seq());
        self.emit(Event::NotificationReplaced { conn, kind, seq });
        if let (Notification::Moving { .. }, Notification::Moving { grace, target, .. }) = (original, other) {
            return self.move_as_replaced(now, news, original, opened, *grace, target.clone());
        }
        self.take_back(opened);
        match self.announce(now, news, other) {
            Ok(_) => self.apply(now, news, other),
            Err(reason) => {
                self.ignore(conn, other.kind(), other.seq(), reason);
                Handled::Ignored(reason)
            }
        }
    }

    fn emit_unreviewed(&mut self, news: &News, notification: &Notification, reason: Unreviewed) {
        let (conn, kind, seq) = (news.conn, notification.kind(), notification.seq());
        self.emit(Event::NotificationUnreviewed { conn, kind, seq, reason });
    }
}

#[cfg(feature = "explore")]
mod fingerprint {
    use std::hash::Hasher;

    use super::{News, Review, ReviewId, Reviews};
    use crate::fingerprint::{Digest, Fingerprint};

    impl Fingerprint for Reviews {
        fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
            let Self { limit, pending } = self;
            digest.value(limit);
            digest.part(pending);
        }
    }

    impl Reviews {
        pub(in super::super) fn age(&self, review: ReviewId) -> u32 {
            self.pending.age(review)
        }
    }

    impl Fingerprint for Review {
        fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
            let Self { news: News { conn, peer, at }, notification, arrival } = self;
            digest.part(conn);
            digest.value(peer);
            digest.instant(*at);
            digest.value(&format!("{notification:?}"));
            match arrival {
                Ok(opened) => digest.each(opened, |digest, (scope, cause)| {
                    digest.part(scope);
                    digest.value(cause);
                }),
                Err(reason) => digest.value(reason),
            }
        }
    }
}
