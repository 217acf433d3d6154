//! The end: finish what is under way, then leave nothing behind.

use std::time::Instant;

use super::pool::Start;
use super::{Action, Client};
use crate::connection::Connection;
use crate::error::{CloseCause, ConnectError, RequestError};
use crate::event::Event;
use crate::ids::ConnId;

#[derive(Clone, Debug)]
pub(super) enum Lifecycle {
    Running,
    ShuttingDown { until: Instant },
    Terminated,
}

impl Lifecycle {
    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    pub(super) fn grace_ends_at(&self) -> Option<Instant> {
        match self {
            Self::ShuttingDown { until } => Some(*until),
            Self::Running | Self::Terminated => None,
        }
    }
}

impl Client {
    /// Accepts nothing any more, lets what was accepted finish until `until`, closes every connection and ends with
    /// [`Action::Terminated`]. Calling it again can only bring the end nearer.
    pub fn shutdown(&mut self, now: Instant, until: Instant) {
        if let Lifecycle::ShuttingDown { until: before } = &mut self.lifecycle {
            *before = until.min(*before);
        }
        self.begin_shutdown(now, until);
        self.settle(now);
    }

    pub(super) fn begin_shutdown(&mut self, _now: Instant, until: Instant) {
        if !self.lifecycle.is_running() {
            return;
        }
        self.lifecycle = Lifecycle::ShuttingDown { until };
        self.pool.stop_retrying();
        if std::mem::replace(&mut self.start, Start::Told) == Start::Pending {
            self.actions.push_back(Action::Started(Err(ConnectError::ShutDown)));
        }
        self.give_up_deferred();
        for accepted in std::mem::take(&mut self.parked) {
            self.complete(accepted.id, Err(RequestError::ShutDown { delivery: accepted.delivery() }));
        }
    }

    /// The grace is over: what is not answered now fails.
    pub(super) fn end_grace(&mut self, now: Instant) {
        if self.lifecycle.grace_ends_at().is_some_and(|until| until <= now) {
            let all: Vec<ConnId> = self.links.iter().map(|(conn, _)| conn).collect();
            for conn in all {
                self.dismiss(now, conn);
            }
        }
    }

    /// While shutting down, a connection that has answered everything is closed.
    pub(super) fn close_what_is_idle(&mut self, now: Instant) {
        if self.lifecycle.grace_ends_at().is_none() {
            return;
        }
        let is_idle =
            |connection: &Option<Connection>| connection.as_ref().is_none_or(|it| it.requests() == 0);
        let idle: Vec<ConnId> =
            self.links.iter().filter(|(_, link)| is_idle(&link.connection)).map(|(conn, _)| conn).collect();
        for conn in idle {
            self.dismiss(now, conn);
        }
    }

    pub(super) fn report_termination(&mut self) {
        if self.lifecycle.grace_ends_at().is_some() && self.links.is_empty() {
            self.lifecycle = Lifecycle::Terminated;
            self.quiet_until = None;
            self.emit(Event::Terminated);
            self.actions.push_back(Action::Terminated);
        }
    }

    fn dismiss(&mut self, now: Instant, conn: ConnId) {
        self.end(now, conn, CloseCause::ShutDown);
        self.coordinator.release(now, conn);
        self.obey_all(now);
    }
}
