//! Reviews: the owner of the client judges notifications before they take effect.

use std::time::{Duration, Instant};

use resp3_codec::Frame;

use super::{Action, Client, Review};
use crate::ids::{ConnId, ReviewId};
use crate::notification::Notification;
use crate::review::Verdict;

impl Client {
    /// From now on each notification is handed out as an [`Action::Review`] and takes effect with
    /// [`handle_verdict`](Self::handle_verdict), or by itself after `limit`: see
    /// [`Coordinator::review_notifications`](crate::Coordinator::review_notifications). With `None`, the
    /// default, there are no reviews.
    pub fn review_notifications(&mut self, limit: Option<Duration>) {
        self.coordinator.review_notifications(limit);
    }

    /// The verdict on an [`Action::Review`]. A second one, and one that comes too late, does nothing.
    pub fn handle_verdict(&mut self, now: Instant, review: ReviewId, verdict: Verdict) {
        self.coordinator.handle_verdict(now, review, verdict);
        self.settle(now);
    }

    /// Hands a notification out for its review; `elements` are those of its push.
    pub(super) fn hand_out(
        &mut self,
        id: ReviewId,
        conn: ConnId,
        notification: Notification,
        elements: Vec<Frame>,
    ) {
        let peer = self.coordinator.peer(conn).cloned();
        let client_id = self.links.client_id(conn);
        let is_blocking = self.is_blocking(conn);
        let review = Review { id, conn, client_id, peer, is_blocking, notification, elements };
        self.actions.push_back(Action::Review(Box::new(review)));
    }
}
