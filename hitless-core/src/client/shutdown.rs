//! The shutdown: the client finishes what is under way, then closes everything.

use std::time::Instant;

use super::{Action, Client};
use crate::error::{CloseCause, ConnectError};
use crate::event::Event;
use crate::ids::ConnId;
use crate::pubsub::SubscribeError;

impl Client {
    /// Accepts no more requests but those on leases that are out, lets the accepted ones finish until `until`, closes every connection and says
    /// [`Action::Terminated`]. A second call can only bring the end nearer.
    pub fn shutdown(&mut self, now: Instant, until: Instant) {
        self.begin_shutdown(now, until, ConnectError::ShutDown);
        self.settle(now);
    }

    /// Lets the accepted requests finish until `until`. If the pool has not been open, `start` is the error of the start.
    pub(super) fn begin_shutdown(&mut self, now: Instant, until: Instant, start: ConnectError) {
        let is_starting = self.lifecycle.is_starting();
        if !self.lifecycle.begin_shutdown(until) {
            return;
        }
        self.pool.stop_retrying();
        self.keyring.stop();
        if is_starting {
            self.actions.push_back(Action::Started(Err(start)));
        }
        self.complete_deferred();
        self.give_up_replays();
        self.blocked.handle_shutdown();
        self.obey_blocked(now);
        self.refuse_all_leases(now);
        self.subscriptions.fail_all(&SubscribeError::ShutDown);
        self.unpark();
    }

    /// Gives the start up when its time is over.
    pub(super) fn end_start(&mut self, now: Instant) {
        if self.lifecycle.is_start_overdue(now) {
            self.give_up_start(now);
        }
    }

    /// The pool cannot be opened: the error names the server, whatever the reason is. True if that ends the client. That of a node goes on trying: its cluster
    /// needs the node, and another client would begin with the short pauses of a first failure.
    pub(super) fn give_up_start(&mut self, now: Instant) -> bool {
        let took = self.lifecycle.starting_for(now);
        let last = self.outage.last_failure().cloned().unwrap_or(ConnectError::TimedOut(took));
        let (endpoint, attempts) = (self.config.endpoint().clone(), self.pool.attempts());
        let is_node = self.config.is_node() && self.lifecycle.finish_start();
        if is_node {
            self.outage.note_failure(last.clone(), !self.pool.is_connected());
        }
        let error = ConnectError::GaveUp { endpoint, attempts, took, last: last.into() };
        if is_node {
            self.actions.push_back(Action::Started(Err(error)));
        } else {
            self.begin_shutdown(now, now, error);
        }
        !is_node
    }

    /// When the grace is over, closes every connection: what is not answered fails.
    pub(super) fn end_grace(&mut self, now: Instant) {
        if self.lifecycle.is_grace_over(now) {
            let all: Vec<ConnId> = self.links.ids().collect();
            for conn in all {
                self.release(now, conn, CloseCause::ShutDown);
            }
        }
    }

    /// While the client shuts down, closes the connections that have answered everything and that nobody has for himself.
    pub(super) fn close_what_is_idle(&mut self, now: Instant) {
        if !self.lifecycle.is_shutting_down() {
            return;
        }
        let is_used = |conn: &ConnId| self.is_lent(*conn) || self.is_called_back_by(*conn);
        let idle: Vec<ConnId> = self.links.idle().filter(|conn| !is_used(conn)).collect();
        for conn in idle {
            self.release(now, conn, CloseCause::ShutDown);
        }
    }

    pub(super) fn report_termination(&mut self) {
        if self.links.is_empty() && self.lifecycle.terminate() {
            self.requests.settle_timeout(None);
            // To whoever reads the log it is the cluster's client that ends, and its nodes come and go.
            if !self.config.is_node() {
                self.emit(Event::Terminated);
            }
            self.actions.push_back(Action::Terminated);
        }
    }

    /// Closes `conn`, unless the release of another one has closed it. Its owner wants no other connection.
    pub(super) fn release(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        if !self.links.contains(conn) {
            return;
        }
        self.close(now, conn, cause);
        self.coordinator.release(now, conn);
        self.obey_all(now);
    }
}
