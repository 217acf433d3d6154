//! What owners do when their connections are opened, serve, and are lost. Each function here has one match on [`Owner`].

use std::time::Instant;

use super::owner::Owner;
use super::{Action, Client};
use crate::connection::Connection;
use crate::coordinator::Redial;
use crate::error::{CloseCause, ConnectError};
use crate::handshake::Probe;
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

    /// The coordinator dials for `conn`. False if no owner wants the connection any more.
    pub(super) fn note_dial(&mut self, conn: ConnId, probe: Probe, replaces: Option<ConnId>) -> bool {
        if !self.lifecycle.is_open() {
            return false;
        }
        if !self.links.contains(conn) {
            let Some(owner) = replaces.and_then(|from| self.links.owner(from)) else { return false };
            self.link(conn, owner);
        }
        self.links.dial(conn, probe);
        true
    }

    /// `conn` is ready: its owner uses it from now on.
    pub(super) fn promote(&mut self, now: Instant, conn: ConnId, owner: Owner) {
        match owner {
            Owner::Slot(slot) => self.pool.promote(now, slot, conn),
        }
    }

    /// `owner` is about to lose `conn`, or to leave it for another one. False if it has been of no use.
    pub(super) fn note_service(&mut self, now: Instant, conn: ConnId, owner: Owner) -> bool {
        let has_answered = self.links.connection(conn).is_some_and(Connection::has_answered);
        match owner {
            Owner::Slot(slot) => self.pool.note_service(now, slot, conn, has_answered),
        }
    }

    /// The connection of `owner` was lost right behind its handshake: a start counts that as a failed dial.
    pub(super) fn lost_at_once(&mut self, now: Instant, owner: Owner, cause: CloseCause) {
        match owner {
            Owner::Slot(slot) => {
                let gives_up = self.pool.note_failure(slot, Redial::AfterPause);
                if gives_up && self.lifecycle.is_starting() {
                    self.begin_shutdown(now, ConnectError::LostInHandshake(cause));
                }
            }
        }
    }

    /// `owner` does not use `conn` any more.
    pub(super) fn vacate(&mut self, conn: ConnId, owner: Owner) {
        match owner {
            Owner::Slot(slot) => self.pool.vacate(slot, conn),
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
        }
    }

    /// A connection of `owner` could not be opened.
    pub(super) fn open_failed(&mut self, now: Instant, owner: Owner, error: ConnectError, redial: Redial) {
        match owner {
            Owner::Slot(slot) => {
                let is_hopeless = self.pool.note_failure(slot, redial);
                if is_hopeless && self.lifecycle.is_starting() {
                    return self.begin_shutdown(now, error);
                }
            }
        }
        self.refill(now, owner, redial);
    }

    pub(super) fn reopen_due(&mut self, now: Instant) {
        while let Some(slot) = self.pool.handle_timeout(now) {
            self.open(now, Owner::Slot(slot));
        }
    }

    /// Says `Started` when every slot has its connection.
    pub(super) fn report_start(&mut self) {
        if self.pool.is_open() && self.lifecycle.finish_start() {
            self.actions.push_back(Action::Started(Ok(())));
        }
    }

    fn link(&mut self, conn: ConnId, owner: Owner) {
        match owner {
            Owner::Slot(slot) => self.pool.assign(slot, conn),
        }
        self.links.insert(conn, owner);
    }
}
