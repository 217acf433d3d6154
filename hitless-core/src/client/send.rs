//! Requests on their way: the client accepts them, puts them on connections or parks them, and completes them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::requests::Requests;
use super::{Action, Client};
use crate::connection::{Accepted, Connection};
use crate::error::{CloseCause, ConnectError, Delivery, RequestError};
use crate::event::Event;
use crate::ids::{ConnId, RequestId};
use crate::request::{Class, Outcome, Replies, Request, SendError, Size, Vetting};
use crate::windows::effective_timeout;

/// Places to keep when there is no request; each connection adds an eighth as many.
const KEPT: usize = 64;

impl Client {
    /// Accepts a request: [`Action::Complete`], or what [`handle_frames_with`](Self::handle_frames_with) was given, will say exactly once how it ended, unless it
    /// is cancelled.
    ///
    /// # Errors
    /// [`SendError`] gives the request back: too many are under way or wait for a connection, or the client is shutting
    /// down.
    #[inline]
    pub fn send(&mut self, now: Instant, request: Request) -> Result<RequestId, SendError> {
        self.send_since(now, now, request)
    }

    /// [`send`](Self::send) for a caller who has waited for [`room`](Self::room) since then: the time of its request counts
    /// from there.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn send_since(
        &mut self,
        now: Instant,
        since: Instant,
        request: Request,
    ) -> Result<RequestId, SendError> {
        self.now = now;
        if !self.lifecycle.is_open() {
            return Err(SendError::ShuttingDown(request));
        }
        if request.class == Class::Leased {
            return Err(SendError::NeedsLease(request));
        }
        if request.class == Class::Blocking {
            return self.send_blocking(now, since, request);
        }
        let (since, timeout, size) = (since.min(now), self.config.command_timeout(), request.size());
        let limit = self.config.requests_in_flight();
        // Nearly all requests join the one before them. This does for them what the code below does, in half the time.
        if self.requests.has_room()
            && let Some(conn) = self.pool.current(size)
            && let Some(link) = self.links.lightly_loaded(now, conn, limit, size)
        {
            let id = self.requests.accept_on(conn, link.ticket());
            let (deadline, must_flush) = link.accept((now, since), id, request, timeout);
            self.requests.wake_by(deadline);
            if must_flush {
                self.actions.push_back(Action::Flush { conn });
            }
            return Ok(id);
        }
        let route = self.route(size);
        if self.room_by(route) == 0 {
            return Err(match self.outage.cause() {
                Some(cause) if route.is_none() => {
                    let endpoint = self.config.endpoint().clone();
                    SendError::NoConnection { endpoint, request, cause: Arc::clone(cause) }
                }
                _ => SendError::Full(request),
            });
        }
        let accepted = self.requests.accept(since, request, timeout);
        let id = accepted.id;
        self.place(accepted, route);
        Ok(id)
    }

    /// The error of a request that found no connection, or no room, for as long as it may take.
    #[must_use]
    pub fn too_late(&self, after: Duration, delivery: Delivery) -> RequestError {
        match self.outage.cause() {
            Some(cause) => self.no_connection(cause, after, delivery),
            None => RequestError::TimedOut { after, delivery },
        }
    }

    /// The longest that `request` may take, if it is without a connection: its own timeout, or the client's, which windows
    /// relax. `None` is for ever.
    #[must_use]
    pub fn time_limit(&self, now: Instant, request: &Request) -> Option<Duration> {
        let relaxed = self.coordinator.relaxed(now, None);
        request.time_limit(effective_timeout(self.config.command_timeout(), relaxed))
    }

    /// How many more requests the client accepts now, if all went to the connection that the next small one goes to. 0 means
    /// that [`send`](Self::send) would return `Full`. There is no limit once the client shuts down: waiting for room is
    /// useless then.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.lifecycle.is_open() { self.room_by(self.next_route(Size::Small)) } else { usize::MAX }
    }

    /// Cancels a request: no completion follows. If it was written, the client swallows its replies when they come.
    pub fn cancel(&mut self, now: Instant, request: RequestId) {
        if self.blocked.handle_dropped(request) {
            return self.settle(now);
        }
        if let Some((conn, ticket)) = self.requests.cancel(request)
            && let Some(connection) = self.links.connection_mut(conn)
        {
            connection.cancel(ticket);
            self.note_cancelled(conn, request);
            self.drain_events(now, conn);
        }
        self.settle(now);
    }

    /// A request came back from a connection: the `successor` of that connection takes it, if there is one.
    pub(super) fn place_again(&mut self, accepted: Accepted, successor: Option<ConnId>) {
        if !self.lifecycle.is_open() {
            let delivery = accepted.delivery();
            return self.hand_back(accepted, Err(RequestError::ShutDown { delivery }));
        }
        if accepted.was_lost() {
            // Whatever took its connection away may do so again.
            return self.wait(accepted, Requests::wait_alone);
        }
        let route = successor.or_else(|| self.route(accepted.request.size()));
        self.place(accepted, route);
    }

    /// A connection serves, or the client shuts down: the parked requests are sent, or end.
    pub(super) fn unpark(&mut self) {
        for accepted in self.requests.take_parked() {
            self.place_again(accepted, None);
        }
    }

    /// An attempt to get a connection has failed: the parked requests fail, if they are not to wait.
    pub(super) fn refuse_parked(&mut self, now: Instant) {
        let Some(cause) = self.outage.refusal().cloned() else { return };
        if self.is_expected_back(now) {
            return;
        }
        self.now = now;
        for accepted in self.requests.take_parked() {
            self.refuse(accepted, Arc::clone(&cause));
        }
        while let Some(accepted) = self.requests.take_alone() {
            self.refuse(accepted, Arc::clone(&cause));
        }
    }

    /// Whether callers wait for a connection because a window says that there will be one. Another node of a cluster may serve them, window or not.
    pub(super) fn is_expected_back(&self, now: Instant) -> bool {
        self.coordinator.relaxed(now, None).is_some() && !self.config.is_node()
    }

    /// The client shuts down: what may have run is not sent again.
    pub(super) fn give_up_replays(&mut self) {
        while let Some(accepted) = self.requests.take_alone() {
            self.place_again(accepted, None);
        }
    }

    /// Sends requests again that may have run, each alone: the connection carries nothing when it is written, and nothing
    /// joins it until it is answered.
    pub(super) fn replay(&mut self) {
        loop {
            let is_free = |it: &Connection| it.is_serving() && it.requests() == 0;
            let free = self.pool.find_reserved(|conn| self.links.connection(conn).is_some_and(is_free));
            match (free, free.and_then(|_| self.requests.take_alone())) {
                (Some(conn), Some(accepted)) => self.place(accepted, Some(conn)),
                (Some(conn), None) => {
                    self.pool.set_free(conn);
                    self.unpark();
                }
                (None, _) if self.requests.wants_alone() && self.reserve() => {}
                (None, _) => return,
            }
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
        if self.config.is_node() {
            self.hand_back(accepted, Ok(replies));
        } else if self.lifecycle.is_open() {
            self.requests.defer(now, accepted, replies);
        } else {
            self.complete(accepted.id, Ok(replies));
        }
    }

    pub(super) fn complete(&mut self, id: RequestId, outcome: Outcome) {
        if !self.requests.complete(id) {
            return;
        }
        if let Err(outcome) = self.end_part(id, outcome) {
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
            let Some(connection) = self.links.connection_mut(conn) else { continue };
            let was_due = connection.poll_timeout().is_some_and(|at| at <= now);
            connection.handle_timeout(now);
            if was_due && connection.poll_timeout().is_none() {
                self.actions.push_back(Action::Rest { conn });
            }
            self.drain_events(now, conn);
        }
        for accepted in self.requests.take_due_parked(now) {
            let (after, delivery) = (accepted.timeout(), accepted.delivery());
            self.emit(Event::RequestTimedOut { conn: None });
            let error = self.too_late(after, delivery);
            self.complete(accepted.id, Err(error));
        }
        self.requests.settle_timeout(self.links.poll_timeout());
        if self.requests.poll_timeout().is_none() {
            // These were large for a burst, and it is over.
            let kept = KEPT + KEPT / 8 * self.pool.len();
            self.actions.shrink_to(kept);
            self.requests.rest(kept);
        }
    }

    /// What was written to `conn` is watched until it is answered.
    pub(super) fn watch(&mut self, conn: ConnId) {
        let alarm = self.links.connection(conn).and_then(Connection::poll_timeout);
        self.requests.wake_by(alarm);
    }

    /// The connection that the next request of this size goes to. A connection without room is the last choice, and if
    /// all are busy, the turn passes on: the next request tries the next connection.
    fn route(&mut self, size: Size) -> Option<ConnId> {
        let (links, now, limit) = (&self.links, self.now, self.config.requests_in_flight());
        self.pool.route(size, |conn| links.load(now, conn, limit, size))
    }

    /// What [`route`](Self::route) would return.
    fn next_route(&self, size: Size) -> Option<ConnId> {
        let limit = self.config.requests_in_flight();
        self.pool.next_route(size, |conn| self.links.load(self.now, conn, limit, size))
    }

    /// How many more requests are accepted if the next one goes by `route`.
    fn room_by(&self, route: Option<ConnId>) -> usize {
        let connection = route.and_then(|conn| self.links.connection(conn));
        self.requests.room(connection.map(Connection::requests))
    }

    fn place(&mut self, accepted: Accepted, route: Option<ConnId>) {
        let (id, deadline) = (accepted.id, accepted.deadline());
        let Some(conn) = route else { return self.wait(accepted, Requests::park) };
        match self.links.enqueue(self.now, conn, accepted) {
            Ok(ticket) => {
                self.requests.enqueued(id, deadline, conn, ticket);
                self.flush(conn);
            }
            Err(accepted) => self.wait(accepted, Requests::park),
        }
    }

    /// A request without a connection is kept by `keep`, with the time that windows grant, unless it is not to wait. A read that was sent to a
    /// replica never is: its primary can run it at once.
    fn wait(&mut self, mut accepted: Accepted, keep: fn(&mut Requests, Accepted)) {
        if accepted.request.vetting == Vetting::AtReplica {
            let (cause, delivery) = (CloseCause::Io(io::ErrorKind::NotConnected), accepted.delivery());
            return self.hand_back(accepted, Err(RequestError::ConnectionLost { cause, delivery }));
        }
        let refusal = self.outage.refusal();
        // Another node of the cluster may run it, window or not.
        let may_go = self.config.is_node() && refusal.is_some();
        match (self.coordinator.relaxed(self.now, None).filter(|_| !may_go), refusal) {
            (Some(relaxed), _) => accepted.relax(relaxed),
            (None, Some(cause)) => {
                let cause = Arc::clone(cause);
                return self.refuse(accepted, cause);
            }
            (None, None) => {}
        }
        keep(&mut self.requests, accepted);
    }

    /// Keeps another connection for the requests that travel alone. False if there are enough of these.
    fn reserve(&mut self) -> bool {
        let load = |conn| self.links.connection(conn).map_or(usize::MAX, Connection::requests);
        self.pool.reserve(load)
    }

    /// There is no connection, and the request is not to wait for one.
    fn refuse(&mut self, accepted: Accepted, cause: Arc<ConnectError>) {
        let after = self.now.saturating_duration_since(accepted.accepted_at());
        let delivery = accepted.delivery();
        let error = self.no_connection(&cause, after, delivery);
        self.hand_back(accepted, Err(error));
    }

    /// A request ends here, and another node of the cluster may run it.
    fn hand_back(&mut self, accepted: Accepted, outcome: Outcome) {
        let (id, accepted_at) = (accepted.id, accepted.accepted_at());
        if self.config.is_node() {
            let request = Box::new(accepted.request);
            self.actions.push_back(Action::HandBack { id, request, accepted_at });
        }
        self.complete(id, outcome);
    }

    fn no_connection(&self, cause: &Arc<ConnectError>, after: Duration, delivery: Delivery) -> RequestError {
        let (endpoint, cause) = (self.config.endpoint().clone(), Arc::clone(cause));
        RequestError::NoConnection { endpoint, cause, after, delivery }
    }
}
