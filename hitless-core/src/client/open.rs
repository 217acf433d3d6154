//! What owners do when their connections are opened, serve, and are lost. Each function here has one match on [`Owner`].

use std::time::Instant;

use super::owner::Owner;
use super::{Action, Client};
use crate::connection::Connection;
use crate::coordinator::Redial;
use crate::error::{CloseCause, ConnectError};
use crate::ids::ConnId;

impl Client {
    /// Begins to open a connection for `owner`.
    pub(super) fn open(&mut self, now: Instant, owner: Owner) {
        // The new id may reuse the place of one that the coordinator has forgotten: directives about that one come first.
        self.obey_all(now);
        if !self.lifecycle.is_open() {
            // One of them ended the start, and with it the client.
            return;
        }
        let conn = self.coordinator.open(now, owner.role());
        self.link(conn, owner);
    }

    /// `conn` is ready: its owner uses it from now on.
    pub(super) fn promote(&mut self, now: Instant, conn: ConnId, owner: Owner) {
        match owner {
            Owner::Slot(slot) => {
                self.pool.promote(now, slot, conn);
                self.outage.end();
            }
            Owner::Seat(seat) => self.leases.promote(now, seat, conn),
            Owner::Subscriptions => self.subscriptions.promote(now, conn),
        }
    }

    /// `owner` is about to lose `conn`, or to leave it for another one. False if it has been of no use.
    pub(super) fn note_service(&mut self, now: Instant, conn: ConnId, owner: Owner) -> bool {
        let has_answered = self.links.connection(conn).is_some_and(Connection::has_answered);
        match owner {
            Owner::Slot(slot) => self.pool.note_service(now, slot, conn, has_answered),
            Owner::Seat(seat) => self.leases.note_service(now, seat, conn, has_answered),
            Owner::Subscriptions => self.subscriptions.note_service(now, conn),
        }
    }

    /// The connection of `owner` was lost right behind its handshake: a start counts that as a failed dial.
    pub(super) fn lost_at_once(&mut self, now: Instant, owner: Owner, cause: CloseCause) {
        match owner {
            Owner::Slot(slot) => {
                // Once may be chance: the next attempt is awaited.
                let is_down = self.pool.has_failed(slot) && !self.pool.is_connected();
                self.outage.note_failure(ConnectError::LostBehindHandshake(cause), is_down);
                let gives_up = self.pool.note_failure(slot, Redial::AfterPause);
                if gives_up && self.lifecycle.is_starting() {
                    self.give_up_start(now);
                }
            }
            Owner::Seat(_) => {
                let error = ConnectError::LostBehindHandshake(cause);
                self.lease_dial_failed(now, error, Redial::AfterPause);
            }
            Owner::Subscriptions => {
                let error = ConnectError::LostBehindHandshake(cause);
                self.subscriptions_dial_failed(now, error, Redial::AfterPause);
            }
        }
    }

    /// `conn` is ready. It takes the place of a connection that does not answer; if that one has come back meanwhile, or
    /// another one serves, it is not needed.
    pub(super) fn fill(&mut self, now: Instant, conn: ConnId, owner: Owner) -> bool {
        let present = match owner {
            Owner::Slot(slot) => {
                self.pool.note_accepted(now);
                self.pool.active(slot)
            }
            Owner::Seat(seat) => self.leases.active(seat).map(|conn| (conn, true)),
            Owner::Subscriptions => self.subscriptions.active().map(|conn| (conn, true)),
        };
        match present {
            None => self.promote(now, conn, owner),
            Some((silent, false)) => self.coordinator.hand_over(now, silent, conn),
            Some((_, true)) => self.surplus.push(conn),
        }
        present.is_none()
    }

    /// `conn`, which owes a reply, is silent: `owner` gives it nothing more, and a slot wants another connection.
    pub(super) fn rest(&mut self, now: Instant, conn: ConnId, owner: Owner) {
        match owner {
            Owner::Slot(slot) if self.pool.rest(slot, conn) => self.coordinator.handle_silent(now, conn),
            Owner::Slot(_) => {}
            Owner::Seat(seat) => self.retire(now, seat, conn),
            // Nobody waits for a reply there that may still come.
            Owner::Subscriptions => {
                self.actions.push_back(Action::Close { conn, cause: CloseCause::Silent });
                self.lose(now, conn, CloseCause::Silent);
            }
        }
    }

    /// Closes connections that are ready and not needed, once everything is obeyed that concerns them.
    pub(super) fn release_surplus(&mut self, now: Instant) {
        while let Some(conn) = self.surplus.pop() {
            self.release(now, conn, CloseCause::ByClient);
        }
    }

    /// Dials for slots whose connection is silent, unless that is under way already.
    pub(super) fn renew(&mut self, now: Instant) {
        while let Some(slot) = self.pool.find_silent().filter(|_| self.lifecycle.is_open()) {
            self.refill(now, Owner::Slot(slot), Redial::AfterPause);
        }
    }

    /// The connection that `owner` has beside `from` and `to`: two dials were under way for one place.
    pub(super) fn third(&self, owner: Owner, from: ConnId, to: ConnId) -> Option<ConnId> {
        let present = match owner {
            Owner::Slot(slot) => self.pool.active(slot),
            Owner::Seat(seat) => self.leases.active(seat).map(|conn| (conn, true)),
            Owner::Subscriptions => self.subscriptions.active().map(|conn| (conn, true)),
        };
        present.map(|(conn, _)| conn).filter(|conn| *conn != from && *conn != to)
    }

    /// `conn` was silent, and has come back.
    pub(super) fn resume(&mut self, now: Instant, conn: ConnId, owner: Owner) {
        let resumes = match owner {
            Owner::Slot(slot) => self.pool.resume(now, slot, conn),
            // Its lease is lost already, and a connection for subscriptions is closed.
            Owner::Seat(_) | Owner::Subscriptions => false,
        };
        if resumes {
            self.outage.end();
            self.unpark();
        }
    }

    /// `owner` does not use `conn` any more.
    pub(super) fn vacate(&mut self, conn: ConnId, owner: Owner) {
        match owner {
            Owner::Slot(slot) => self.pool.vacate(slot, conn),
            Owner::Seat(seat) => self.leases.vacate(seat, conn),
            Owner::Subscriptions => self.subscriptions.vacate(conn),
        }
    }

    /// `owner` has no connection: opens another one, unless one is on its way.
    pub(super) fn refill(&mut self, now: Instant, owner: Owner, redial: Redial) {
        if !self.lifecycle.is_open() {
            return;
        }
        match owner {
            Owner::Slot(slot) => {
                if self.pool.refill(now, slot, redial) {
                    self.open(now, owner);
                }
            }
            // One is opened when somebody waits for it: `lend`, `tend_subscriptions`.
            Owner::Seat(_) | Owner::Subscriptions => {}
        }
    }

    /// A connection of `owner` could not be opened.
    pub(super) fn open_failed(&mut self, now: Instant, owner: Owner, error: ConnectError, redial: Redial) {
        match owner {
            Owner::Slot(slot) => {
                // A provider that fails for one slot fails for the others, so one slot asks for all. A start has no time for that.
                let is_keyless =
                    matches!(error, ConnectError::Credentials(_)) && !self.lifecycle.is_starting();
                let redial = if is_keyless { Redial::Hopeless } else { redial };
                if redial != Redial::AtOnce {
                    self.outage.note_failure(error, !self.pool.is_connected());
                }
                let is_hopeless = self.pool.note_failure(slot, redial);
                if is_hopeless && self.lifecycle.is_starting() && self.give_up_start(now) {
                    return;
                }
                self.refill(now, owner, redial);
                self.refuse_parked(now);
            }
            Owner::Seat(_) => self.lease_dial_failed(now, error, redial),
            Owner::Subscriptions => self.subscriptions_dial_failed(now, error, redial),
        }
    }

    /// The owner of `conn` is asked to switch to its successor `to`, which is ready.
    pub(super) fn switch(&mut self, now: Instant, conn: ConnId, to: ConnId) {
        let may_switch = match self.links.owner(conn) {
            // Pipelined requests move one by one, so that every moment is a good one to switch.
            Some(Owner::Slot(_)) | None => true,
            Some(Owner::Seat(seat)) => {
                let may_switch = self.leases.may_switch(seat, conn);
                self.call_back(now, seat, conn);
                may_switch
            }
            Some(Owner::Subscriptions) => {
                self.subscriptions.begin_overlap(conn, to);
                false
            }
        };
        if may_switch {
            self.coordinator.handle_switched(now, conn);
        }
    }

    /// `conn`, the connection of its owner, is gone for this reason.
    pub(super) fn end_lease(&mut self, conn: ConnId, cause: CloseCause) {
        match self.links.owner(conn) {
            Some(Owner::Seat(seat)) => self.lose_lease(seat, conn, cause),
            Some(Owner::Subscriptions) => self.subscriptions.note_end(conn, cause),
            Some(Owner::Slot(_)) | None => {}
        }
    }

    /// `to`, which was ready to take the place of a connection, is all that its owner has from now on.
    pub(super) fn take_over(&mut self, now: Instant, to: ConnId) {
        if let Some(owner) = self.links.owner(to) {
            self.promote(now, to, owner);
            self.retime_one(now, to);
        }
    }

    pub(super) fn reopen_due(&mut self, now: Instant) {
        while let Some(slot) = self.pool.handle_timeout(now) {
            self.open(now, Owner::Slot(slot));
        }
    }

    /// Says `Started` when every slot has its connection.
    pub(super) fn report_start(&mut self) {
        if self.lifecycle.is_starting() && self.pool.is_open() && self.lifecycle.finish_start() {
            self.actions.push_back(Action::Started(Ok(())));
        }
    }

    pub(super) fn link(&mut self, conn: ConnId, owner: Owner) {
        match owner {
            Owner::Slot(slot) => self.pool.assign(slot, conn),
            Owner::Seat(seat) => self.leases.assign(seat, conn),
            Owner::Subscriptions => self.subscriptions.assign(conn),
        }
        self.links.insert(conn, owner);
    }
}
