//! What happens to connections when attempts are ready and moves decide: serve, cut over, drain, close.

use std::time::Instant;

use super::attempts::{Purpose, Ready, Retry};
use super::conns::Conn;
use super::moves::Decision;
use super::{Coordinator, Directive, Replacement, Role, WINDOWS_BESIDES_CONNECTIONS};
use crate::endpoint::{Peer, Target};
use crate::error::{CloseCause, ConnectError};
use crate::event::{Event, WindowScope};
use crate::handshake::OptIn;
use crate::ids::ConnId;
use crate::mode::Support;
use crate::timer::after;
use crate::windows::Cause;

impl Coordinator {
    /// The handshake of `conn` is done: it is a connection from now on.
    pub(super) fn on_ready(&mut self, now: Instant, conn: ConnId, purpose: Purpose, ready: Ready) {
        let Ready { target, peer, outcome: (probe, opt_in), is_ending } = ready;
        let (role, replaces) = match purpose {
            Purpose::Open(role) => (role, None),
            Purpose::Replace { from, role, source, .. } => (role, Some((from, source))),
            Purpose::Advertised => return,
        };
        let address = target.address.clone();
        self.conns.establish(conn, role, peer.clone(), address.clone(), is_ending);
        self.emit(Event::ConnectionReady { conn, peer: peer.clone(), notified: opt_in == OptIn::Accepted });
        self.learn(now, conn, &address, probe, opt_in);
        match replaces {
            None => self.directives.push_back(Directive::Serve { conn }),
            Some((from, source)) => {
                let landed = Target::new(peer.clone(), target.server_name);
                self.on_arrived(now, &source, from, conn, landed);
            }
        }
        // Others may have been accepted as listeners since this one was dialled.
        let is_behind = opt_in == OptIn::NotAsked && self.support(&address) == Support::Active;
        if opt_in == OptIn::Accepted || is_behind {
            self.ask_again(&address);
        }
        if self.conns.contains(conn) {
            self.moves.handle_joined(now, conn, &peer, self.conns.is_serving(conn));
        }
    }

    /// `to`, which was dialled in the place of `from`, is ready, and connected to `landed`. A shared connection is cut over;
    /// the owner of a held one is asked to switch, unless there is nothing to switch from any more.
    fn on_arrived(&mut self, now: Instant, source: &Peer, from: ConnId, to: ConnId, landed: Target) {
        let Some(until) = self.moves.deadline(source, from) else { return self.dismiss(now, to) };
        if self.config.is_node() {
            // The address that a cluster knows its node by is no name that leads to another one.
            self.home = self.moves.announced_target(source).cloned().or_else(|| self.home.take());
        }
        match self.conns.get(from).map(Conn::role) {
            Some(Role::Held) => {
                self.conns.await_switch(from, to);
                self.directives.push_back(Directive::Successor { from, to, until });
                self.handle_arrived(now, source, from, landed, Some(to));
            }
            Some(Role::Shared) | None => {
                self.directives.push_back(Directive::CutOver { from, to });
                if !self.moves.is_demotion(source) {
                    self.relax_after_handoff(now, to);
                }
                self.handle_arrived(now, source, from, landed, None);
                self.drain(now, from, to, until);
            }
        }
    }

    fn handle_arrived(
        &mut self,
        now: Instant,
        source: &Peer,
        from: ConnId,
        landed: Target,
        awaits_switch: Option<ConnId>,
    ) {
        let conns = &self.conns;
        let is_serving = |conn| conns.is_serving(conn);
        self.moves.handle_arrived(now, source, from, landed, awaits_switch, is_serving);
    }

    /// The owner of `from` says that it has switched.
    pub(super) fn on_switched(&mut self, now: Instant, from: ConnId) {
        let Some(source) = self.source_of(from) else { return };
        let until = self.moves.deadline(&source, from).unwrap_or(now);
        let Some(to) = self.moves.handle_switched(now, &source, from) else { return };
        self.directives.push_back(Directive::CutOver { from, to });
        self.drain(now, from, to, until);
        self.end_wait(now, to);
    }

    /// `to`, which awaited the switch, serves: if its own address is being retired meanwhile, it moves on.
    pub(super) fn end_wait(&mut self, now: Instant, to: ConnId) {
        self.conns.end_wait(to);
        self.relax_after_handoff(now, to);
        if let Some(peer) = self.source_of(to) {
            self.moves.handle_joined(now, to, &peer, true);
        }
    }

    /// The successor of `from` is lost before the owner has switched to it.
    pub(super) fn retry_for(&mut self, now: Instant, from: ConnId, error: ConnectError) {
        if let Some(source) = self.source_of(from) {
            self.moves.handle_successor_lost(now, &source, from, error);
        }
    }

    pub(super) fn on_decision(&mut self, now: Instant, decision: Decision) {
        match decision {
            Decision::Cancel { from } => {
                let Some(to) = self.attempts.replacing(from) else { return };
                if !self.conns.contains(from) {
                    // Its owner waits for the successor.
                    self.report_failure(to, ConnectError::Retiring, Retry::AtOnce);
                }
                self.attempts.cancel(now, to);
            }
            Decision::Dismiss { to } => self.dismiss(now, to),
            Decision::Overdue { from, to } => {
                self.conns.hand_over(from, to);
                self.forget(now, from, CloseCause::MoveDeadline);
                let replacement = Replacement::Ready(to);
                self.directives.push_back(Directive::Lost { conn: from, replacement });
                self.close(from, CloseCause::MoveDeadline);
                self.end_wait(now, to);
            }
            Decision::Emit(event) => self.emit(event),
        }
    }

    /// `to` is ready, and is not wanted any more.
    pub(super) fn dismiss(&mut self, now: Instant, to: ConnId) {
        self.close(to, CloseCause::ByClient);
        self.forget(now, to, CloseCause::ByClient);
    }

    /// `from`, if it is still there, answers what it has, and `to` serves in its place. `until` the deadline, if that is not too soon.
    fn drain(&mut self, now: Instant, from: ConnId, to: ConnId, until: Instant) {
        let until = until.max(after(now, self.config.maintenance().relaxed_timeout()));
        if self.conns.begin_drain(now, from, to, until) {
            self.directives.push_back(Directive::Drain { conn: from, until });
        }
    }

    /// The node of a connection that was just handed off is warming up.
    fn relax_after_handoff(&mut self, now: Instant, conn: ConnId) {
        let relaxed_for = self.config.maintenance().post_handoff_relaxed_duration();
        if !relaxed_for.is_zero() {
            // Each connection may have one of its own.
            self.windows.set_limit(WINDOWS_BESIDES_CONNECTIONS + self.conns.len());
            let until = after(now, relaxed_for);
            self.open_window(now, WindowScope::Connection(conn), Cause::Handoff, None, until);
        }
    }
}
