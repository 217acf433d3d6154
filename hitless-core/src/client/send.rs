//! Requests on their way: the client accepts them, puts them on connections or parks them, and completes them.

use std::time::Instant;

use super::{Action, Client};
use crate::connection::{Accepted, Connection};
use crate::error::RequestError;
use crate::event::Event;
use crate::ids::{ConnId, RequestId};
use crate::request::{Outcome, Replies, Request, SendError};

/// Places to keep when there is no request; each connection adds an eighth as many.
const KEPT: usize = 64;

impl Client {
    /// Accepts a request: [`Action::Complete`] will say exactly once how it ended, unless it is cancelled.
    ///
    /// # Errors
    /// [`SendError`] gives the request back: too many are under way, or the client is shutting down.
    pub fn send(&mut self, now: Instant, request: Request) -> Result<RequestId, SendError> {
        self.now = now;
        if !self.lifecycle.is_open() {
            return Err(SendError::ShuttingDown(request));
        }
        let route = self.route();
        if self.room_by(route) == 0 {
            return Err(SendError::Full(request));
        }
        let accepted = self.requests.accept(now, request, self.config.command_timeout());
        let id = accepted.id;
        self.place(accepted, route);
        Ok(id)
    }

    /// How many more requests the client accepts now, if all went to the connection that the next one goes to. 0 means
    /// that [`send`](Self::send) would return `Full`. There is no limit once the client shuts down: waiting for room is
    /// useless then.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.lifecycle.is_open() { self.room_by(self.next_route()) } else { usize::MAX }
    }

    /// Cancels a request: no completion follows. If it was written, the client swallows its replies when they come.
    pub fn cancel(&mut self, now: Instant, request: RequestId) {
        if let Some((conn, ticket)) = self.requests.cancel(request)
            && let Some(connection) = self.links.connection_mut(conn)
        {
            connection.cancel(ticket);
        }
        self.settle(now);
    }

    /// A request came back from a connection: the `successor` of that connection takes it, if there is one.
    pub(super) fn place_again(&mut self, accepted: Accepted, successor: Option<ConnId>) {
        if !self.lifecycle.is_open() {
            let delivery = accepted.delivery();
            return self.complete(accepted.id, Err(RequestError::ShutDown { delivery }));
        }
        let route = successor.or_else(|| self.route());
        self.place(accepted, route);
    }

    /// A connection serves, or the client shuts down: the parked requests are sent, or end.
    pub(super) fn unpark(&mut self) {
        for accepted in self.requests.take_parked() {
            self.place_again(accepted, None);
        }
    }

    /// Sends no deferred request again: the refusal of the server is the outcome.
    pub(super) fn complete_deferred(&mut self) {
        for deferred in self.requests.take_deferred() {
            let (id, refusal) = deferred.into_outcome();
            self.complete(id, Ok(refusal));
        }
    }

    /// The server refused to run a request for now: the client sends it again a little later, unless it shuts down.
    pub(super) fn defer(&mut self, now: Instant, accepted: Accepted, replies: Replies) {
        if self.lifecycle.is_open() {
            self.requests.defer(now, accepted, replies);
        } else {
            self.complete(accepted.id, Ok(replies));
        }
    }

    pub(super) fn complete(&mut self, id: RequestId, outcome: Outcome) {
        if self.requests.complete(id) {
            self.actions.push_back(Action::Complete { request: id, outcome });
        }
    }

    pub(super) fn time_out_requests(&mut self, now: Instant) {
        if self.requests.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        for deferred in self.requests.take_due_deferred(now) {
            match deferred.into_due(now) {
                Ok(accepted) => self.place_again(accepted, None),
                Err((id, refusal)) => self.complete(id, Ok(refusal)),
            }
        }
        let mut place = 0;
        while let Some((conn, next)) = self.links.next_from(place) {
            place = next;
            if let Some(connection) = self.links.connection_mut(conn) {
                connection.handle_timeout(now);
                self.drain_events(now, conn);
            }
        }
        for accepted in self.requests.take_due_parked(now) {
            let (after, delivery) = (accepted.timeout(), accepted.delivery());
            self.emit(Event::RequestTimedOut { conn: None });
            self.complete(accepted.id, Err(RequestError::TimedOut { after, delivery }));
        }
        self.requests.settle_timeout(self.links.poll_timeout());
        if self.requests.poll_timeout().is_none() {
            // These were large for a burst, and it is over.
            let kept = KEPT + KEPT / 8 * self.pool.len();
            self.actions.shrink_to(kept);
            self.requests.rest(kept);
        }
    }

    /// The connection that the next request goes to. A connection without room counts as busy, and if all are busy, the
    /// turn passes on: the next request tries the next connection.
    fn route(&mut self) -> Option<ConnId> {
        let (links, now, limit) = (&self.links, self.now, self.config.requests_in_flight());
        self.pool.route(|conn| links.load(now, conn, limit))
    }

    /// What [`route`](Self::route) would return.
    fn next_route(&self) -> Option<ConnId> {
        let limit = self.config.requests_in_flight();
        self.pool.next_route(|conn| self.links.load(self.now, conn, limit))
    }

    /// How many more requests are accepted if the next one goes by `route`.
    fn room_by(&self, route: Option<ConnId>) -> usize {
        let connection = route.and_then(|conn| self.links.connection(conn));
        self.requests.room(connection.map(Connection::requests))
    }

    fn place(&mut self, accepted: Accepted, route: Option<ConnId>) {
        let (id, deadline) = (accepted.id, accepted.deadline());
        let Some(conn) = route else { return self.park(accepted) };
        match self.links.enqueue(self.now, conn, accepted) {
            Ok(ticket) => {
                self.requests.enqueued(id, deadline, conn, ticket);
                self.flush(conn);
            }
            Err(accepted) => self.park(accepted),
        }
    }

    fn park(&mut self, mut accepted: Accepted) {
        if let Some(relaxed) = self.coordinator.relaxed(self.now, None) {
            accepted.relax(relaxed);
        }
        self.requests.park(accepted);
    }
}
