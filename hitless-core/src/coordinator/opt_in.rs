//! The opt-in for notifications: what became of it, and who asks again.

use std::time::Instant;

use super::attempts::Retry;
use super::{Coordinator, Directive};
use crate::endpoint::Peer;
use crate::error::CloseCause;
use crate::event::Event;
use crate::handshake::{OptIn, Probe};
use crate::ids::ConnId;
use crate::mode::{Mode, Support};

impl Coordinator {
    /// The link died after the opt-in was written and before it was answered: perhaps something in between does not
    /// like it. In mode `auto` the next dial does without, at once.
    pub fn handle_lost_at_opt_in(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        let Some((target, probe)) = self.attempts.negotiation(conn) else { return };
        let is_suspect = probe == Probe::OptIn && self.config.maintenance().mode() == Mode::Auto;
        if is_suspect {
            self.knowledge.set_suspect(&target.address, true);
        }
        let retry = if is_suspect { Retry::AtOnce } else { Retry::Later };
        self.attempts.handle_lost_at_opt_in(now, conn, cause, retry);
        self.settle(now);
    }

    /// The answer to [`Directive::OptIn`].
    pub fn handle_opt_in(&mut self, now: Instant, conn: ConnId, opt_in: OptIn) {
        let Some(known) = self.conns.get(conn).filter(|known| !known.is_draining()) else { return };
        let (peer, address) = (known.peer().clone(), known.address().clone());
        let is_accepted = opt_in == OptIn::Accepted;
        if is_accepted {
            self.emit(Event::OptedIn { conn, peer });
        }
        self.learn(now, conn, &address, opt_in);
        if is_accepted {
            self.ask_again(&address);
        }
    }

    /// What is known of the support for maintenance notifications at `peer`.
    #[must_use]
    pub fn support(&self, peer: &Peer) -> Support {
        self.knowledge.support(peer)
    }

    /// Takes in what the server at `address` said to the opt-in of `conn`.
    pub(super) fn learn(&mut self, now: Instant, conn: ConnId, address: &Peer, opt_in: OptIn) {
        if let Some(event) = self.knowledge.learn(now, conn, address, opt_in) {
            self.emit(event);
        }
    }

    /// Has the connections at `address` opt in that do without notifications.
    pub(super) fn ask_again(&mut self, address: &Peer) {
        for conn in self.knowledge.take_unnotified(address) {
            if self.conns.get(conn).is_some_and(|conn| !conn.is_draining()) {
                self.directives.push_back(Directive::OptIn { conn });
            }
        }
    }
}
