//! Lending: the client gives a connection to one caller at a time, and takes it back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leases::{Holding, Returned};
use super::owner::Owner;
use super::{Action, Client};
use crate::config::WhenDisconnected;
use crate::connection::{Accepted, Connection, deferral};
use crate::coordinator::Redial;
use crate::endpoint::Peer;
use crate::error::{CloseCause, ConnectError, LeaseError, RequestError};
use crate::ids::{ConnId, LeaseId, RequestId};
use crate::request::{Outcome, Request, SendError};
use crate::timer::after;
use crate::windows::effective_timeout;

impl Client {
    /// Wants a connection for one caller alone. [`Action::Leased`] says once that it is there, or why it is not; those who have waited
    /// longest are served first. [Return](Self::return_lease) it whatever becomes of it: also while it is awaited, to give the wish up.
    ///
    /// # Errors
    /// [`LeaseError::Full`] if too many wait, and [`LeaseError::ShutDown`].
    pub fn lease(&mut self, now: Instant) -> Result<LeaseId, LeaseError> {
        if !self.lifecycle.is_open() {
            return Err(LeaseError::ShutDown);
        }
        let relaxed = self.coordinator.relaxed(now, None);
        let limit = effective_timeout(self.config.lease_timeout(), relaxed);
        let lease = self.leases.wait(now, limit).ok_or(LeaseError::Full)?;
        self.settle(now);
        Ok(lease)
    }

    /// Wants another connection for a transaction that the server has refused to run on that of `lease`: by READONLY, LOADING or MASTERDOWN,
    /// before anything of it ran. The wish begins after a pause that grows with the number of `refusals` so far, 1 for the first; until then
    /// it waits like any other. `None` if the refusal is to stand, as for single commands: if no maintenance window is open, and none was when
    /// the refusal came, and once the command timeout is over, which counts from `since`. Return `lease` in either case: its connection
    /// moves when it is free.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease).
    pub fn lease_after_refusal(
        &mut self,
        now: Instant,
        lease: LeaseId,
        since: Instant,
        refusals: u32,
    ) -> Result<Option<LeaseId>, LeaseError> {
        if !self.lifecycle.is_open() {
            return Err(LeaseError::ShutDown);
        }
        let relaxed = match self.leases.holding(lease) {
            Holding::Connection(conn) => self.coordinator.relaxed(now, Some(conn)),
            Holding::Lost(_) | Holding::Nothing => None,
        };
        // The caller may ask when the window has closed and the connection is gone.
        let was_open = self.leases.was_refused_in_window(lease);
        let relaxed = relaxed.or_else(|| was_open.then(|| self.config.maintenance().relaxed_timeout()));
        let at = after(now, deferral(refusals.saturating_sub(1)));
        let limit = effective_timeout(self.config.command_timeout(), relaxed);
        if relaxed.is_none() || limit.is_some_and(|limit| after(since, limit) <= at) {
            return Ok(None);
        }
        self.wish_from(now, at, relaxed).map(Some)
    }

    /// Wants another connection for a transaction that has lost its own, before anything of it ran. The wish begins after the pause that
    /// dials have between them, which grows with the number of `losses` so far, 1 for the first: what a transaction reads may be
    /// what ends its connections. `None` if the loss is to stand: once the command timeout is over, which counts from the first loss, at
    /// `since`. Return the lease that was lost in either case.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease).
    pub fn lease_after_loss(
        &mut self,
        now: Instant,
        since: Instant,
        losses: u32,
    ) -> Result<Option<LeaseId>, LeaseError> {
        if !self.lifecycle.is_open() {
            return Err(LeaseError::ShutDown);
        }
        let relaxed = self.coordinator.relaxed(now, None);
        let limit = effective_timeout(self.config.command_timeout(), relaxed);
        if limit.is_some_and(|limit| after(since, limit) <= now) {
            return Ok(None);
        }
        let at = after(now, self.leases.pause_after(losses));
        self.wish_from(now, at, relaxed).map(Some)
    }

    /// The holder does not need `lease` any more. If the connection is as it was at the beginning and owes no reply, the next caller
    /// gets it, and it may be moved now if its server wants that; otherwise it is closed, and what was not answered fails.
    pub fn return_lease(&mut self, now: Instant, lease: LeaseId) {
        self.give_back(now, lease, true);
        self.settle(now);
    }

    /// Wants a connection from `at` on, as long as the lease timeout allows from then.
    fn wish_from(
        &mut self,
        now: Instant,
        at: Instant,
        relaxed: Option<Duration>,
    ) -> Result<LeaseId, LeaseError> {
        let limit = effective_timeout(self.config.lease_timeout(), relaxed);
        let wish = self.leases.wait_from(at, limit).ok_or(LeaseError::Full)?;
        self.settle(now);
        Ok(wish)
    }

    /// `lease` is over. Its connection stays if it `may_stay`, and is as it was.
    pub(super) fn give_back(&mut self, now: Instant, lease: LeaseId, may_stay: bool) {
        let is_quiet = match self.leases.holding(lease) {
            Holding::Connection(conn) => {
                self.links.connection(conn).is_some_and(|connection| connection.requests() == 0)
            }
            Holding::Lost(_) | Holding::Nothing => true,
        };
        let may_stay = may_stay && is_quiet && self.lifecycle.is_open();
        match self.leases.give_back(now, lease, may_stay) {
            Returned::Nothing | Returned::Clean { is_awaited: false, .. } => {}
            Returned::Clean { conn, is_awaited: true } => self.coordinator.handle_switched(now, conn),
            Returned::Dirty(conn) => self.release(now, conn, CloseCause::ByClient),
        }
    }

    /// [`send`](Self::send) on the connection of `lease`, where requests are answered in the order in which they were sent. None is ever
    /// sent again. While the client shuts down, the holder may go on until the grace is over.
    ///
    /// # Errors
    /// [`SendError`] gives the request back: the connection is gone, or too many requests are under way.
    pub fn send_on(
        &mut self,
        now: Instant,
        lease: LeaseId,
        request: Request,
    ) -> Result<RequestId, SendError> {
        self.send_on_since(now, now, lease, request)
    }

    /// [`send_on`](Self::send_on) for a caller who has waited for [room](Self::room_on) since then.
    ///
    /// # Errors
    /// Those of [`send_on`](Self::send_on).
    pub fn send_on_since(
        &mut self,
        now: Instant,
        since: Instant,
        lease: LeaseId,
        request: Request,
    ) -> Result<RequestId, SendError> {
        self.now = now;
        let conn = match self.leases.holding(lease) {
            Holding::Connection(conn) => conn,
            Holding::Lost(cause) => return Err(SendError::LeaseLost { request, cause }),
            Holding::Nothing => {
                return Err(SendError::LeaseLost { request, cause: CloseCause::ByClient });
            }
        };
        if self.room_on(lease) == 0 {
            return Err(SendError::Full(request));
        }
        let request = request.for_lease();
        let accepted = self.requests.accept(since.min(now), request, self.config.command_timeout());
        let (id, deadline) = (accepted.id, accepted.deadline());
        self.leases.note_request(lease, id, &accepted.request);
        match self.links.enqueue(now, conn, accepted) {
            Ok(ticket) => {
                self.requests.enqueued(id, deadline, conn, ticket);
                self.flush(conn);
            }
            Err(accepted) => self.fail_on_lease(accepted),
        }
        Ok(id)
    }

    /// How many more requests the client accepts on `lease`. There is no limit once its connection is gone: waiting for room is useless
    /// then.
    #[must_use]
    pub fn room_on(&self, lease: LeaseId) -> usize {
        match self.leases.holding(lease) {
            Holding::Connection(conn) => {
                let carried = self.links.connection(conn).map_or(0, Connection::requests);
                self.requests.room(Some(carried))
            }
            Holding::Lost(_) | Holding::Nothing => usize::MAX,
        }
    }

    /// Lends what nobody has to those who wait, and opens connections for the others.
    pub(super) fn lend(&mut self, now: Instant) {
        while let Some((lease, conn)) = self.leases.lend() {
            if self.links.connection_mut(conn).is_some_and(Connection::withdraw_opt_in) {
                self.leave_alone(conn);
            }
            if self.place_blocked(now, lease) {
                continue;
            }
            self.actions.push_back(Action::Leased { lease, outcome: Ok(()) });
            if let Some(deadline) = self.coordinator.leaves_at(now, conn) {
                self.actions.push_back(Action::LeaseMoving { lease, deadline });
            }
        }
        while self.lifecycle.is_open() && self.leases.wants_connection(now) {
            let seat = self.leases.take_seat();
            self.open(now, Owner::Seat(seat));
            self.leases.free_if_empty(seat);
            self.obey_all(now);
        }
    }

    /// A move away from `source` has begun: the holders of connections that take part are told, each the time that its own has.
    pub(super) fn tell_holders(&mut self, now: Instant, source: &Peer) {
        let Self { leases, coordinator, actions, blocked, .. } = self;
        let lent = leases.lent().filter(|(lease, _)| blocked.of_lease(*lease).is_none());
        let there = lent.filter(|(_, conn)| coordinator.peer(*conn) == Some(source));
        let told = there.filter_map(|(lease, conn)| Some((lease, coordinator.leaves_at(now, conn)?)));
        actions.extend(told.map(|(lease, deadline)| Action::LeaseMoving { lease, deadline }));
    }

    /// `conn` of `seat` is gone, or no good any more: so is the lease of whoever has it.
    pub(super) fn lose_lease(&mut self, seat: usize, conn: ConnId, cause: CloseCause) {
        if let Some(lease) = self.leases.lose(seat, conn, cause)
            && !self.lose_blocked(lease)
        {
            self.actions.push_back(Action::LeaseLost { lease, cause });
        }
    }

    /// `conn` of `seat`, which owes a reply, is silent. What its holder has written may still be answered, and nothing more is sent
    /// there.
    pub(super) fn retire(&mut self, now: Instant, seat: usize, conn: ConnId) {
        self.coordinator.handle_silent(now, conn);
        self.lose_lease(seat, conn, CloseCause::Silent);
        if !self.leases.is_retired(seat, conn) {
            return self.surplus.push(conn);
        }
        if let Some(connection) = self.links.connection_mut(conn) {
            connection.drain();
        }
    }

    /// Everything that was written to `conn` is answered, and nothing more is sent there.
    pub(super) fn on_drained(&mut self, now: Instant, conn: ConnId) {
        let was_helper = self.helpers.contains(&conn);
        if self.stays_as_helper(conn) {
            if !was_helper {
                // Its end, at which caches are told otherwise, may be far away.
                self.distrust(conn);
            }
            return;
        }
        self.coordinator.handle_drained(now, conn);
        if let Some(Owner::Seat(seat)) = self.links.owner(conn)
            && self.leases.is_retired(seat, conn)
        {
            self.surplus.push(conn);
        }
    }

    /// A request on `conn` has ended.
    pub(super) fn note_outcome(&mut self, conn: ConnId, id: RequestId, outcome: &Outcome) {
        if let Some(Owner::Seat(seat)) = self.links.owner(conn) {
            self.leases.note_outcome(seat, conn, id, outcome);
        }
    }

    /// The server of `conn` has refused to run something.
    pub(super) fn note_refusal(&mut self, conn: ConnId) {
        if let Some(Owner::Seat(seat)) = self.links.owner(conn) {
            let in_window = self.links.connection(conn).is_some_and(Connection::was_refused_in_window);
            self.leases.note_refusal(seat, conn, in_window);
        }
    }

    /// A request on `conn` was cancelled.
    pub(super) fn note_cancelled(&mut self, conn: ConnId, id: RequestId) {
        if let Some(Owner::Seat(seat)) = self.links.owner(conn) {
            self.leases.note_cancelled(seat, conn, id);
        }
    }

    /// A request of a lease was not written, and its connection takes nothing more.
    pub(super) fn fail_on_lease(&mut self, accepted: Accepted) {
        let (cause, delivery) = (CloseCause::Silent, accepted.delivery());
        self.complete(accepted.id, Err(RequestError::ConnectionLost { cause, delivery }));
    }

    /// A connection for a lease could not be opened, or was lost right behind its handshake. Where another attempt cannot help, or nobody is to wait, the one who has waited
    /// longest is told so.
    pub(super) fn lease_dial_failed(&mut self, now: Instant, error: ConnectError, redial: Redial) {
        self.leases.note_failure(now, error, redial);
        let fails = self.config.when_disconnected() == WhenDisconnected::Fail && !self.is_expected_back(now);
        let gives_up = redial == Redial::Hopeless || (fails && redial != Redial::AtOnce);
        if let Some((lease, after)) = gives_up.then(|| self.leases.refuse_first(now)).flatten() {
            self.refuse_lease(lease, after);
        }
    }

    /// Those who have waited too long for a lease get none; connections that nobody has used for long are closed.
    pub(super) fn time_out_leases(&mut self, now: Instant) {
        self.leases.end_pause(now);
        self.leases.begin_waits(now);
        for (lease, after) in self.leases.take_due(now) {
            self.refuse_lease(lease, after);
        }
        while let Some(conn) = self.leases.expired(now) {
            self.release(now, conn, CloseCause::ByClient);
        }
    }

    /// The client shuts down: nobody gets a lease any more.
    pub(super) fn refuse_all_leases(&mut self, now: Instant) {
        self.leases.begin_all_waits();
        while let Some((lease, _)) = self.leases.refuse_first(now) {
            if self.refuse_blocked(lease, &LeaseError::ShutDown) {
                continue;
            }
            self.actions.push_back(Action::Leased { lease, outcome: Err(LeaseError::ShutDown) });
        }
    }

    /// Whether somebody has `conn`.
    pub(super) fn is_lent(&self, conn: ConnId) -> bool {
        matches!(self.links.owner(conn), Some(Owner::Seat(seat)) if self.leases.is_lent(seat, conn))
    }

    /// Whether `conn` is lent. What the client itself sends there would come into the transaction of whoever has it, so that such a connection
    /// stays as it is, and is closed when it is returned: the next one has it from its handshake.
    pub(super) fn leave_alone(&mut self, conn: ConnId) -> bool {
        match self.links.owner(conn) {
            Some(Owner::Seat(seat)) if self.leases.is_lent(seat, conn) => {
                self.leases.note_stale(seat, conn);
                true
            }
            Some(Owner::Slot(_) | Owner::Seat(_) | Owner::Subscriptions) | None => false,
        }
    }

    fn refuse_lease(&mut self, lease: LeaseId, after: Duration) {
        // A dial that is not over hangs.
        let hangs = || self.leases.is_dialling().then(|| Arc::new(ConnectError::TimedOut(after)));
        let error = match self.leases.failure().cloned().or_else(hangs) {
            Some(cause) => {
                LeaseError::NoConnection { endpoint: self.config.endpoint().clone(), cause, after }
            }
            None => LeaseError::TimedOut { after },
        };
        if self.refuse_blocked(lease, &error) {
            return;
        }
        self.actions.push_back(Action::Leased { lease, outcome: Err(error) });
    }
}
