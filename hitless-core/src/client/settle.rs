//! Where the machines meet: what connections say becomes facts for the coordinator, what the coordinator decides is done
//! to connections and routes, until both are quiet.

use std::time::Instant;

use super::{Action, Client, Link};
use crate::connection::{Connection, ConnectionEvent};
use crate::coordinator::{Directive, Redial};
use crate::error::{CloseCause, ConnectError, RequestError};
use crate::event::{Event, WindowScope};
use crate::handshake::{self, Probe};
use crate::ids::ConnId;

impl Client {
    /// Obeys the coordinator until it has nothing more to say.
    pub(super) fn settle(&mut self, now: Instant) {
        self.now = now;
        self.obey_all(now);
        self.end_grace(now);
        self.close_what_is_idle(now);
        self.report_start();
        self.report_termination();
    }

    /// Takes in what a connection has to say.
    pub(super) fn drain_events(&mut self, now: Instant, conn: ConnId) {
        while let Some(event) = self.connection(conn).and_then(Connection::poll_event) {
            self.on_event(now, conn, event, None);
        }
    }

    /// The socket of `conn` is gone: what it carried fails, comes back or is repeated elsewhere.
    pub(super) fn lose(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        let Some(link) = self.links.get_mut(conn) else { return };
        let slot = link.slot;
        let connection = link.connection.take();
        let at_opt_in = connection.as_ref().is_some_and(Connection::awaits_opt_in);
        let was_active = self.pool.slot(slot).active == Some(conn);
        // Out of the pool first, so that nothing is routed back to it.
        self.pool.vacate(slot, conn);
        self.finish(now, conn, connection, cause);
        if at_opt_in {
            self.coordinator.handle_lost_at_opt_in(now, conn, cause);
        } else {
            self.coordinator.handle_closed(now, conn, cause);
        }
        self.obey_all(now);
        self.unlink(conn);
        if was_active {
            self.reopen(now, slot, Redial::AfterPause);
        }
    }

    /// The dial or the handshake of `conn` failed.
    pub(super) fn dial_failed(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        let slot = self.links.get(conn).map(|link| link.slot);
        self.coordinator.handle_dial_failed(now, conn, error);
        self.obey_all(now);
        // A failed handoff names no directive for the dial itself: its link ends here. The next dial may already have
        // the place of its id, and with it that of its link; the slot is left all the same.
        self.unlink(conn);
        if let Some(slot) = slot {
            self.pool.vacate(slot, conn);
        }
    }

    /// Ends `conn` from this side.
    pub(super) fn end(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        if let Some(link) = self.unlink(conn) {
            self.finish(now, conn, link.connection, cause);
        }
        self.actions.push_back(Action::Close { conn, cause });
    }

    pub(super) fn unlink(&mut self, conn: ConnId) -> Option<Link> {
        let link = self.links.remove(conn)?;
        self.pool.vacate(link.slot, conn);
        Some(link)
    }

    pub(super) fn obey_all(&mut self, now: Instant) {
        while let Some(directive) = self.coordinator.poll_directive() {
            self.obey(now, directive);
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.actions.push_back(Action::Emit(event));
    }

    fn finish(&mut self, now: Instant, conn: ConnId, connection: Option<Connection>, cause: CloseCause) {
        let Some(mut connection) = connection else { return };
        connection.handle_closed(cause);
        while let Some(event) = connection.poll_event() {
            self.on_event(now, conn, event, None);
        }
    }

    fn on_event(&mut self, now: Instant, conn: ConnId, event: ConnectionEvent, successor: Option<ConnId>) {
        match event {
            ConnectionEvent::Completed { id, outcome } => {
                if matches!(outcome, Err(RequestError::TimedOut { .. })) {
                    self.emit(Event::RequestTimedOut { conn: Some(conn) });
                }
                self.complete(id, outcome);
            }
            ConnectionEvent::Returned { accepted } => self.place_again(accepted, successor),
            ConnectionEvent::Deferred { accepted, replies } => self.defer(now, accepted, replies),
            ConnectionEvent::OptedIn(opt_in) => self.coordinator.handle_opt_in(now, conn, opt_in),
            ConnectionEvent::Ready(negotiated) => {
                if let Some(link) = self.links.get_mut(conn) {
                    link.client_id = negotiated.client_id;
                }
                self.coordinator.handle_ready(now, conn, negotiated.opt_in);
                self.obey_all(now);
            }
            ConnectionEvent::HandshakeFailed(error) => {
                self.actions.push_back(Action::Close { conn, cause: CloseCause::ByClient });
                self.dial_failed(now, conn, ConnectError::Handshake(error));
            }
            ConnectionEvent::Notified { notification, elements } => {
                self.coordinator.handle_notification(now, conn, &notification);
                self.notified = elements;
                // The window opens before the frame behind this one is looked at.
                self.obey_all(now);
                self.notified.clear();
            }
            ConnectionEvent::Malformed(error) => self.emit(Event::NotificationMalformed { conn, error }),
            ConnectionEvent::Pushed(elements) => self.actions.push_back(Action::Push { conn, elements }),
            ConnectionEvent::Drained => self.coordinator.handle_drained(now, conn),
            ConnectionEvent::Failed(cause) => {
                self.actions.push_back(Action::Close { conn, cause });
                self.lose(now, conn, cause);
            }
        }
    }

    fn obey(&mut self, now: Instant, directive: Directive) {
        match directive {
            Directive::Resolve { conn, host } => self.actions.push_back(Action::Resolve { conn, host }),
            Directive::Dial { conn, target, probe, until, replaces } => {
                if self.link_dial(conn, probe, replaces) {
                    self.actions.push_back(Action::Connect { conn, target, until });
                } else {
                    self.coordinator.release(now, conn);
                }
            }
            Directive::Serve { conn } => self.serve(now, conn),
            Directive::CutOver { from, to } => self.cut_over(now, from, to),
            // The cut-over has begun the drain, and its deadline is the coordinator's to watch.
            Directive::Drain { .. } => {}
            Directive::Close { conn, cause } => self.end(now, conn, cause),
            Directive::Failed { conn, error, redial } => {
                if let Some(link) = self.unlink(conn) {
                    self.open_failed(now, link.slot, error, redial);
                }
            }
            Directive::OptIn { conn } => self.opt_in(conn),
            Directive::Windows { scope } => self.retime(now, &scope),
            Directive::Review { review, conn, notification } => self.hand_out(review, conn, notification),
            Directive::Reviewed { review, handled } => {
                self.actions.push_back(Action::Reviewed { review, handled })
            }
            Directive::Emit(event) => self.emit(event),
        }
    }

    /// Notes a dial. False if nobody wants its connection any more.
    fn link_dial(&mut self, conn: ConnId, probe: Probe, replaces: Option<ConnId>) -> bool {
        if !self.lifecycle.is_running() {
            return false;
        }
        if let Some(link) = self.links.get_mut(conn) {
            link.probe = probe;
            return true;
        }
        let Some(slot) = replaces.and_then(|from| self.links.get(from)).map(|link| link.slot) else {
            return false;
        };
        self.pool.slot_mut(slot).next = Some(conn);
        self.links.insert(conn, Link { slot, probe, connection: None, flushing: false, client_id: None });
        true
    }

    fn opt_in(&mut self, conn: ConnId) {
        let Some(peer) = self.coordinator.peer(conn) else { return };
        let command = handshake::opt_in(&self.config, peer);
        if let Some(connection) = self.connection(conn) {
            connection.opt_in(command);
            self.flush(conn);
        }
    }

    /// A connection that was opened for its slot is ready.
    fn serve(&mut self, now: Instant, conn: ConnId) {
        let Some(slot) = self.links.get(conn).map(|link| link.slot) else { return };
        self.pool.promote(slot, conn);
        self.retime_one(now, conn);
        self.unpark();
    }

    /// The one atomic switch: the slot's requests go to `to`, those included that `from` has not written.
    fn cut_over(&mut self, now: Instant, from: ConnId, to: ConnId) {
        let Some(slot) = self.links.get(to).map(|link| link.slot) else { return };
        self.pool.promote(slot, to);
        self.retime_one(now, to);
        if let Some(connection) = self.connection(from) {
            connection.drain();
        }
        let mut moved = 0;
        while let Some(event) = self.connection(from).and_then(Connection::poll_event) {
            moved += usize::from(matches!(event, ConnectionEvent::Returned { .. }));
            self.on_event(now, from, event, Some(to));
        }
        self.emit(Event::CutOver { from, to, moved });
        self.unpark();
    }

    fn retime(&mut self, now: Instant, scope: &WindowScope) {
        let concerned: Vec<ConnId> = match scope {
            WindowScope::Connection(conn) => vec![*conn],
            WindowScope::Database => self.links.iter().map(|(conn, _)| conn).collect(),
            WindowScope::Peer(peer) => {
                let there = |conn: &ConnId| self.coordinator.peer(*conn) == Some(peer);
                self.links.iter().map(|(conn, _)| conn).filter(there).collect()
            }
        };
        for conn in concerned {
            self.retime_one(now, conn);
        }
        if let Some(relaxed) = self.coordinator.relaxed(now, None) {
            for accepted in &mut self.parked {
                accepted.relax(relaxed);
            }
        }
    }

    fn retime_one(&mut self, now: Instant, conn: ConnId) {
        let relaxed = self.coordinator.relaxed(now, Some(conn));
        if let Some(connection) = self.connection(conn) {
            connection.retime(relaxed);
        }
    }
}
