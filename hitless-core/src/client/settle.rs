//! The exchange between connections and the coordinator: events of connections become facts for the coordinator, and its
//! directives become calls of connections, pool and requests, until both are quiet.

use std::time::{Duration, Instant};

use resp3_codec::Frame;

use super::owner::Owner;
use super::{Action, Client};
use crate::connection::{Connection, ConnectionEvent};
use crate::coordinator::{Directive, Redial, Replacement};
use crate::error::{CloseCause, ConnectError, ProtocolError, RequestError};
use crate::event::{Event, WindowScope};
use crate::handshake::{self, Negotiated, Probe};
use crate::ids::ConnId;
use crate::request::Class;

impl Client {
    /// Obeys the coordinator until it is quiet, then takes the steps of a start or a shutdown that are due.
    pub(super) fn settle(&mut self, now: Instant) {
        self.now = now;
        self.obey_all(now);
        self.obey_blocked(now);
        self.ask_for_new_credentials(now);
        self.release_surplus(now);
        self.renew(now);
        self.replay();
        self.tend_subscriptions(now);
        self.lend(now);
        self.release_helpers(now);
        self.end_grace(now);
        self.obey_blocked(now);
        self.close_what_is_idle(now);
        self.report_start();
        self.report_termination();
        self.settle_timeout();
    }

    /// Bytes were received on `conn`: from here on it may be silent.
    pub(super) fn note_received(&mut self, now: Instant, conn: ConnId) {
        let Some(connection) = self.links.connection_mut(conn) else { return };
        connection.handle_received();
        connection.note_time(now);
        self.subscriptions.note_received(now, conn);
        self.drain_events(now, conn);
        self.watch(conn);
    }

    /// Handles the events of `conn`.
    pub(super) fn drain_events(&mut self, now: Instant, conn: ConnId) {
        while let Some(event) = self.poll_event(conn) {
            self.on_event(now, conn, event, None);
        }
    }

    /// The socket of `conn` is gone: its requests fail, or go to another connection.
    pub(super) fn lose(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        let Some(owner) = self.links.owner(conn) else { return };
        let has_served = self.note_service(now, conn, owner);
        let connection = self.links.take_connection(conn);
        let at_opt_in = connection.as_ref().is_some_and(Connection::awaits_opt_in);
        self.end_lease(conn, cause);
        // Its owner leaves it first, so that nothing is routed back to it.
        self.vacate(conn, owner);
        if !has_served {
            self.lost_at_once(now, owner, cause);
        }
        self.end_requests(now, conn, connection, cause);
        if at_opt_in {
            self.coordinator.handle_lost_at_opt_in(now, conn, cause);
        } else {
            self.coordinator.handle_closed(now, conn, cause);
        }
        // `Lost` needs the owner, so the link is forgotten after it.
        self.obey_all(now);
        self.forget(conn);
    }

    /// The dial or the handshake of `conn` failed.
    pub(super) fn dial_failed(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        let owner = self.links.owner(conn);
        self.coordinator.handle_dial_failed(now, conn, error);
        self.obey_all(now);
        // No directive tells of the end of an attempt whose handoff goes on, so its link ends here. The next attempt
        // may have replaced the link already, because it reuses the place of the id; the owner has to leave `conn` all
        // the same.
        self.forget(conn);
        if let Some(owner) = owner {
            self.vacate(conn, owner);
        }
    }

    /// Closes `conn` from this side.
    pub(super) fn close(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        self.end_lease(conn, cause);
        if let Some((_, connection)) = self.forget(conn) {
            self.end_requests(now, conn, connection, cause);
        }
        self.actions.push_back(Action::Close { conn, cause });
    }

    pub(super) fn obey_all(&mut self, now: Instant) {
        self.obey_with(now, Vec::new());
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.actions.push_back(Action::Emit(event));
    }

    /// Obeys the coordinator until it is quiet. `push` holds the elements of the push that it has just handled: a
    /// review of that notification takes them along.
    fn obey_with(&mut self, now: Instant, mut push: Vec<Frame>) {
        while let Some(directive) = self.coordinator.poll_directive() {
            self.obey(now, directive, &mut push);
        }
    }

    /// Forgets `conn`, which its owner leaves. Returns the owner, and the protocol if the socket was connected.
    fn forget(&mut self, conn: ConnId) -> Option<(Owner, Option<Connection>)> {
        self.keyring.forget(conn);
        let (owner, connection) = self.links.remove(conn)?;
        self.vacate(conn, owner);
        Some((owner, connection))
    }

    /// Ends the requests of a connection whose socket is gone.
    fn end_requests(
        &mut self,
        now: Instant,
        conn: ConnId,
        connection: Option<Connection>,
        cause: CloseCause,
    ) {
        let Some(mut connection) = connection else { return };
        let has_vouched = connection.vouches();
        connection.handle_closed(cause);
        let was_queued = self.leases.take_queued(conn);
        while let Some(mut event) = connection.poll_event() {
            if let ConnectionEvent::Completed { outcome: Err(error), .. } = &mut event
                && was_queued
            {
                error.set_not_run();
            }
            self.on_event(now, conn, event, None);
        }
        if has_vouched {
            self.invalidate_all();
        }
    }

    fn poll_event(&mut self, conn: ConnId) -> Option<ConnectionEvent> {
        self.links.connection_mut(conn)?.poll_event()
    }

    fn on_event(&mut self, now: Instant, conn: ConnId, event: ConnectionEvent, successor: Option<ConnId>) {
        match event {
            ConnectionEvent::Completed { id, outcome } => {
                if matches!(outcome, Err(RequestError::TimedOut { .. })) {
                    self.emit(Event::RequestTimedOut { conn: Some(conn) });
                }
                self.note_outcome(conn, id, &outcome);
                self.complete(id, outcome);
            }
            ConnectionEvent::Returned { accepted } if accepted.request.class == Class::Leased => {
                self.fail_on_lease(*accepted);
            }
            ConnectionEvent::Returned { accepted } => self.place_again(*accepted, successor),
            ConnectionEvent::Deferred { accepted, replies } => self.defer(now, *accepted, replies),
            ConnectionEvent::Refused(refusal) => {
                self.note_refusal(conn);
                self.coordinator.handle_refusal(now, conn, refusal);
            }
            ConnectionEvent::OptedIn(opt_in) => self.coordinator.handle_opt_in(now, conn, opt_in),
            ConnectionEvent::Authenticated(answer) => self.on_authenticated(conn, answer),
            ConnectionEvent::ReadonlyRefused => self.actions.push_back(Action::ReadonlyRefused),
            ConnectionEvent::Ready(negotiated) => self.on_ready(now, conn, negotiated),
            ConnectionEvent::HandshakeFailed(error) => {
                self.actions.push_back(Action::Close { conn, cause: CloseCause::ByClient });
                self.dial_failed(now, conn, ConnectError::Handshake(error));
            }
            ConnectionEvent::Notified { notification, elements } => {
                self.note_completion(conn, notification.kind());
                let counts = self.coordinator.hear(now, conn, &notification);
                // The window opens before the next frame is handled.
                self.obey_with(now, elements);
                if counts && self.config.is_node() {
                    self.actions.push_back(Action::Notified(Box::new(notification)));
                }
            }
            ConnectionEvent::Malformed(error) => {
                self.note_completion(conn, error.kind);
                self.emit(Event::NotificationMalformed { conn, error });
            }
            ConnectionEvent::Pushed(elements) => {
                self.note_invalidation(conn, &elements);
                if let Some(elements) = self.on_pushed(conn, elements) {
                    self.actions.push_back(Action::Push { conn, elements });
                }
            }
            ConnectionEvent::Answered(reply) => self.on_answered(now, conn, reply),
            ConnectionEvent::Silent => {
                self.distrust(conn);
                self.links.owner(conn).into_iter().for_each(|owner| self.rest(now, conn, owner));
            }
            ConnectionEvent::Heard => {
                self.links.owner(conn).into_iter().for_each(|owner| self.resume(now, conn, owner));
            }
            ConnectionEvent::Drained => self.on_drained(now, conn),
            ConnectionEvent::Failed(cause) => self.fail(now, conn, cause),
        }
    }

    /// The handshake of `conn` is done.
    fn on_ready(&mut self, now: Instant, conn: ConnId, negotiated: Negotiated) {
        self.links.set_client_id(conn, negotiated.client_id);
        self.coordinator.handle_ready(now, conn, negotiated.opt_in);
        self.obey_all(now);
    }

    /// The server has answered a command of the subscriptions.
    fn on_answered(&mut self, now: Instant, conn: ConnId, reply: Frame) {
        if !self.subscriptions.handle_reply(conn, reply) {
            self.fail(now, conn, CloseCause::Protocol(ProtocolError::NotConfirmed));
        }
    }

    /// The server breaks the protocol on `conn`.
    fn fail(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        self.actions.push_back(Action::Close { conn, cause });
        self.lose(now, conn, cause);
    }

    fn obey(&mut self, now: Instant, directive: Directive, push: &mut Vec<Frame>) {
        match directive {
            Directive::Resolve { conn, host } => self.actions.push_back(Action::Resolve { conn, host }),
            Directive::Dial { conn, target, probe, until, replaces } => {
                if self.note_dial(conn, probe, replaces) {
                    self.dial(now, conn, target, until);
                } else {
                    self.coordinator.release(now, conn);
                }
            }
            Directive::Serve { conn } => self.serve(now, conn),
            Directive::CutOver { from, to } => self.cut_over(now, from, to),
            Directive::Successor { from, to, .. } => self.switch(now, from, to),
            Directive::Lost { conn, replacement } => {
                // Where the connection was closed by the other side, that was said before.
                self.end_lease(conn, CloseCause::MoveDeadline);
                match (self.links.owner(conn), replacement) {
                    (Some(owner), Replacement::Missing) => self.refill(now, owner, Redial::AfterPause),
                    (_, Replacement::Ready(to)) => self.take_over(now, to),
                    (_, Replacement::Missing | Replacement::Dialing(_)) => {}
                }
            }
            // `CutOver` has begun the drain, and the coordinator watches its deadline.
            Directive::Drain { .. } => {}
            Directive::Close { conn, cause } => self.close(now, conn, cause),
            Directive::Failed { conn, error, redial } => {
                if let Some((owner, _)) = self.forget(conn) {
                    self.open_failed(now, owner, error, redial);
                }
            }
            Directive::OptIn { conn } => self.opt_in(conn),
            Directive::Windows { scope } => self.retime(now, &scope),
            Directive::Review { review, conn, notification } => {
                self.hand_out(review, conn, notification, std::mem::take(push));
            }
            Directive::Reviewed { review, handled } => {
                self.actions.push_back(Action::Reviewed { review, handled })
            }
            Directive::Emit(event) => {
                if let Event::MoveStarted { source, .. } = &event {
                    self.tell_holders(now, source);
                    self.relax_unplaced(now);
                }
                self.emit(event);
            }
        }
    }

    /// The coordinator dials for `conn`. False if no owner wants the connection any more.
    fn note_dial(&mut self, conn: ConnId, probe: Probe, replaces: Option<ConnId>) -> bool {
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

    fn opt_in(&mut self, conn: ConnId) {
        if self.leave_alone(conn) {
            return;
        }
        let Some(peer) = self.coordinator.peer(conn) else { return };
        let command = handshake::opt_in(&self.config, peer);
        if let Some(connection) = self.links.connection_mut(conn) {
            connection.opt_in(command);
            self.flush(conn);
        }
    }

    /// A connection that was opened for its owner is ready.
    fn serve(&mut self, now: Instant, conn: ConnId) {
        let Some(owner) = self.links.owner(conn) else { return };
        if self.fill(now, conn, owner) {
            self.retime_one(now, conn);
            self.unpark();
        }
    }

    /// The one atomic switch: the owner's requests go to `to`, those included that `from` has not written.
    fn cut_over(&mut self, now: Instant, from: ConnId, to: ConnId) {
        let Some(owner) = self.links.owner(to) else { return };
        if let Some(third) = self.third(owner, from, to) {
            self.coordinator.hand_over(now, third, to);
        }
        self.note_service(now, from, owner);
        self.promote(now, to, owner);
        self.retime_one(now, to);
        if let Some(connection) = self.links.connection_mut(from) {
            connection.drain();
        }
        self.distrust(from);
        let mut moved = 0;
        while let Some(event) = self.poll_event(from) {
            moved += usize::from(matches!(event, ConnectionEvent::Returned { .. }));
            self.on_event(now, from, event, Some(to));
        }
        self.emit(Event::CutOver { from, to, moved });
        self.unpark();
    }

    fn retime(&mut self, now: Instant, scope: &WindowScope) {
        let concerned: Vec<ConnId> = match scope {
            // It covers nothing that has no connection.
            WindowScope::Connection(conn) => return self.retime_one(now, *conn),
            WindowScope::Database => self.links.ids().collect(),
            WindowScope::Peer(peer) => {
                let there = |conn: &ConnId| self.coordinator.peer(*conn) == Some(peer);
                self.links.ids().filter(there).collect()
            }
        };
        // In a window that covers them all, all have its timeout.
        let common = self.coordinator.relaxed_in(now, scope);
        for conn in concerned {
            let relaxed = common.or_else(|| self.coordinator.relaxed(now, Some(conn)));
            self.relax(conn, relaxed);
        }
        self.relax_unplaced(now);
    }

    /// Relaxes what waits for a connection. While a move lives, that may take long.
    fn relax_unplaced(&mut self, now: Instant) {
        if let Some(relaxed) = self.coordinator.relaxed(now, None) {
            self.requests.relax_parked(relaxed);
            self.leases.relax(relaxed);
            self.subscriptions.relax(relaxed);
        }
    }

    pub(super) fn retime_one(&mut self, now: Instant, conn: ConnId) {
        let relaxed = self.coordinator.relaxed(now, Some(conn));
        self.relax(conn, relaxed);
    }

    fn relax(&mut self, conn: ConnId, relaxed: Option<Duration>) {
        self.links.retime(conn, relaxed);
        self.relax_blocked(conn, relaxed);
    }
}
