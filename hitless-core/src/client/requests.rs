//! Requests: accepted, placed on a connection or parked, completed once.

#[cfg(feature = "explore")]
mod fingerprint;

use std::time::Instant;

use super::{Action, Client};
use crate::connection::{Accepted, Ticket};
use crate::error::RequestError;
use crate::event::Event;
use crate::ids::{ConnId, RequestId};
use crate::request::{Outcome, Replies, Request, SendError};
use crate::timer::{after, earliest};

/// Places that are kept when there is no request, and an eighth as many for each connection.
const KEPT: usize = 64;

/// A request that the server refused to run.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Deferred {
    at: Instant,
    accepted: Accepted,
    replies: Replies,
}

/// Where an accepted request is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Parked,
    /// Waits to be sent again to a server that refused to run it.
    Deferred,
    On {
        conn: ConnId,
        ticket: Ticket,
    },
}

impl Client {
    /// Accepts a request: [`Action::Complete`] will say exactly once how it ended, unless it is cancelled.
    ///
    /// # Errors
    /// [`SendError`] gives the request back: too many are under way, or the client is shutting down.
    pub fn send(&mut self, now: Instant, request: Request) -> Result<RequestId, SendError> {
        self.now = now;
        if !self.lifecycle.is_running() {
            return Err(SendError::ShuttingDown(request));
        }
        let full = self.requests.len() >= self.config.requests_in_flight();
        let route = self.pool.route();
        let crowded = match route.and_then(|conn| self.connection(conn)) {
            // Replies that nobody waits for any more count here.
            Some(connection) => connection.requests() >= self.config.requests_in_flight(),
            None => self.parked.len() >= self.config.parked_requests(),
        };
        if full || crowded {
            return Err(SendError::Full(request));
        }
        let id = self.requests.insert(Place::Parked);
        let accepted = Accepted::new(now, id, request, self.config.command_timeout(), None);
        match route {
            Some(conn) => self.place_on(conn, accepted),
            None => self.park(accepted),
        }
        Ok(id)
    }

    /// How many more requests are accepted now, as far as the connection is concerned that the next one goes to: 0 means
    /// that [`send`](Self::send) would answer `Full`. No limit once the client shuts down, for then nothing is worth
    /// waiting for.
    #[must_use]
    pub fn room(&self) -> usize {
        if !self.lifecycle.is_running() {
            return usize::MAX;
        }
        let limit = self.config.requests_in_flight();
        let left = limit.saturating_sub(self.requests.len());
        match self.pool.next_route().and_then(|conn| self.links.get(conn)?.connection.as_ref()) {
            Some(connection) => left.min(limit.saturating_sub(connection.requests())),
            None => left.min(self.config.parked_requests().saturating_sub(self.parked.len())),
        }
    }

    /// Gives up on a request: no completion follows. If it was written its replies are swallowed when they come.
    pub fn cancel(&mut self, now: Instant, request: RequestId) {
        match self.requests.remove(request) {
            Some(Place::On { conn, ticket }) => {
                if let Some(connection) = self.connection(conn) {
                    connection.abandon(ticket);
                }
            }
            Some(Place::Deferred) => self.deferred.retain(|deferred| deferred.accepted.id != request),
            Some(Place::Parked) => self.parked.retain(|parked| parked.id != request),
            None => {}
        }
        self.settle(now);
    }

    /// A request came back from a connection, whose successor, if it has one, takes it.
    pub(super) fn place_again(&mut self, accepted: Accepted, successor: Option<ConnId>) {
        if !self.lifecycle.is_running() {
            let delivery = accepted.delivery();
            return self.complete(accepted.id, Err(RequestError::ShutDown { delivery }));
        }
        match successor.or_else(|| self.pool.route()) {
            Some(conn) => self.place_on(conn, accepted),
            None => self.park(accepted),
        }
    }

    fn place_on(&mut self, conn: ConnId, accepted: Accepted) {
        let id = accepted.id;
        self.quiet_until = earliest([self.quiet_until, accepted.deadline()]);
        let Some(connection) = self.connection(conn) else { return self.park(accepted) };
        match connection.enqueue(accepted) {
            Ok(ticket) => {
                if let Some(place) = self.requests.get_mut(id) {
                    *place = Place::On { conn, ticket };
                }
                self.flush(conn);
            }
            Err(accepted) => self.park(accepted),
        }
    }

    fn park(&mut self, mut accepted: Accepted) {
        if let Some(relaxed) = self.coordinator.relaxed(self.now, None) {
            accepted.relax(relaxed);
        }
        self.quiet_until = earliest([self.quiet_until, accepted.deadline()]);
        if let Some(place) = self.requests.get_mut(accepted.id) {
            *place = Place::Parked;
        }
        self.parked.push_back(accepted);
    }

    /// The server refused to run a request: it is sent again a little later, until its deadline.
    pub(super) fn defer(&mut self, now: Instant, mut accepted: Accepted, replies: Replies) {
        let at = after(now, accepted.defer());
        let at = accepted.deadline().map_or(at, |deadline| at.min(deadline));
        self.quiet_until = earliest([self.quiet_until, Some(at)]);
        if let Some(place) = self.requests.get_mut(accepted.id) {
            *place = Place::Deferred;
            self.deferred.push(Deferred { at, accepted, replies });
        }
    }

    fn send_deferred(&mut self, now: Instant) {
        let (due, later) =
            std::mem::take(&mut self.deferred).into_iter().partition(|deferred| deferred.at <= now);
        self.deferred = later;
        for Deferred { accepted, replies, .. } in due {
            if accepted.is_due(now) {
                self.complete(accepted.id, Ok(replies));
            } else {
                self.place_again(accepted, None);
            }
        }
    }

    /// Nothing is sent any more: those who wait have the server's refusal for an answer.
    pub(super) fn give_up_deferred(&mut self) {
        for Deferred { accepted, replies, .. } in std::mem::take(&mut self.deferred) {
            self.complete(accepted.id, Ok(replies));
        }
    }

    /// There is a connection again.
    pub(super) fn unpark(&mut self) {
        for accepted in std::mem::take(&mut self.parked) {
            self.place_again(accepted, None);
        }
    }

    pub(super) fn complete(&mut self, id: RequestId, outcome: Outcome) {
        if self.requests.remove(id).is_some() {
            self.actions.push_back(Action::Complete { request: id, outcome });
        }
    }

    pub(super) fn time_out_requests(&mut self, now: Instant) {
        if self.quiet_until.is_none_or(|quiet_until| quiet_until > now) {
            return;
        }
        self.send_deferred(now);
        for place in 0..self.links.places() {
            let Some(conn) = self.links.key_at(place) else { continue };
            if let Some(connection) = self.connection(conn) {
                connection.handle_timeout(now);
                self.drain_events(now, conn);
            }
        }
        for accepted in std::mem::take(&mut self.parked) {
            if accepted.is_due(now) {
                let (after, delivery) = (accepted.timeout(), accepted.delivery());
                self.emit(Event::RequestTimedOut { conn: None });
                self.complete(accepted.id, Err(RequestError::TimedOut { after, delivery }));
            } else {
                self.parked.push_back(accepted);
            }
        }
        let parked = self.parked.iter().map(Accepted::deadline);
        let deferred = self.deferred.iter().map(|deferred| Some(deferred.at));
        let on_links = self.links.iter().map(|(_, link)| link.connection.as_ref()?.poll_timeout());
        self.quiet_until = earliest(on_links.chain(parked).chain(deferred));
        if self.quiet_until.is_none() {
            // The burst is over that these were large for.
            let kept = KEPT + KEPT / 8 * self.pool.len();
            self.parked.shrink_to(kept);
            self.actions.shrink_to(kept);
            self.requests.rest(kept);
        }
    }
}
