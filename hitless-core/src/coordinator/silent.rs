//! Links that owe a reply and are silent: another connection takes their place, and what was written to them may still be
//! answered.

use std::time::Instant;

use super::{Coordinator, Directive};
use crate::error::CloseCause;
use crate::event::Event;
use crate::ids::ConnId;

impl Coordinator {
    /// `conn`, which serves, owes a reply, and nothing came for too long. [Open](Self::open) another connection, and
    /// [hand over](Self::hand_over) to it when it is ready. If `conn` has itself replaced a silent one that is still there,
    /// that one is closed: a place has two sockets, not three.
    pub fn handle_silent(&mut self, now: Instant, conn: ConnId) {
        let Some(peer) = self.source_of(conn) else { return };
        self.emit(Event::ConnectionSilent { conn, peer });
        let older = self.conns.predecessor(conn).filter(|older| !self.conns.has_deadline(*older));
        if let Some(older) = older {
            self.close(older, CloseCause::Silent);
            self.forget(now, older, CloseCause::Silent);
        }
        self.settle(now);
    }

    /// `to`, which its owner has opened and which is ready, takes the place of `from`, which is silent. Say no more of `from`
    /// than that it has [drained](Self::handle_drained) or is [closed](Self::handle_closed): it has no deadline but those of
    /// what it still carries. Does nothing unless both serve.
    pub fn hand_over(&mut self, now: Instant, from: ConnId, to: ConnId) {
        let both_serve = self.conns.is_serving(from) && self.conns.is_serving(to);
        let Some(source) = self.source_of(from).filter(|_| both_serve && from != to) else { return };
        self.directives.push_back(Directive::CutOver { from, to });
        if let Some(successor) = self.attempts.replacing(from) {
            self.attempts.cancel(now, successor);
        }
        if let Some(successor) = self.moves.awaited_switch(&source, from) {
            self.dismiss(now, successor);
        }
        self.moves.handle_gone(now, &source, from);
        self.conns.begin_drain(now, from, to, None);
        self.settle(now);
    }
}
