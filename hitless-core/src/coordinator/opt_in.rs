//! What handshakes ask for: the opt-in for notifications, what became of it, who asks again, and who asks for less.

use std::time::Instant;

use super::attempts::Retry;
use super::knowledge::TooMuch;
use super::{Coordinator, Directive};
use crate::endpoint::Peer;
use crate::error::{CloseCause, ConnectError, HandshakeError};
use crate::event::Event;
use crate::handshake::{OptIn, Probe};
use crate::ids::ConnId;
use crate::mode::Support;

impl Coordinator {
    /// The link died after the opt-in was written and before it was answered: perhaps something in between does not
    /// like it. In mode `auto` the next dial does without, at once.
    pub fn handle_lost_at_opt_in(&mut self, now: Instant, conn: ConnId, cause: CloseCause) {
        let Some((target, probe)) = self.attempts.negotiation(conn) else { return };
        let address = target.address.clone();
        let retry = self.retry_with_less(&address, probe, TooMuch::LinkEnded);
        self.attempts.fail(now, conn, ConnectError::LostInHandshake(cause), retry);
        self.settle(now);
    }

    /// The attempt `conn` has failed. If its handshake has asked for too much, the next dial asks for less, at once.
    pub(super) fn fail_attempt(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        let negotiation = self.attempts.negotiation(conn);
        let negotiation = negotiation.map(|(target, probe)| (target.address.clone(), probe));
        let too_much = match &error {
            ConnectError::Handshake(HandshakeError::HelloRefused { code }) => Some(TooMuch::Hello(*code)),
            // With the opt-in it ended behind the answer to that: everything was taken.
            ConnectError::LostInHandshake(CloseCause::ByServer | CloseCause::Io(_)) => {
                negotiation.as_ref().filter(|(_, probe)| *probe != Probe::OptIn).map(|_| TooMuch::LinkEnded)
            }
            _ => None,
        };
        let retry = match (negotiation, too_much) {
            (Some((address, probe)), Some(why)) => self.retry_with_less(&address, probe, why),
            _ => Retry::Later,
        };
        self.attempts.fail(now, conn, error, retry);
    }

    fn retry_with_less(&mut self, address: &Peer, probe: Probe, why: TooMuch) -> Retry {
        if self.knowledge.ask_for_less(address, probe, why) { Retry::AtOnce } else { Retry::Later }
    }

    /// The answer to [`Directive::OptIn`].
    pub fn handle_opt_in(&mut self, now: Instant, conn: ConnId, opt_in: OptIn) {
        let Some(known) = self.conns.get(conn).filter(|known| !known.is_draining()) else { return };
        let (peer, address) = (known.peer().clone(), known.address().clone());
        let is_accepted = opt_in == OptIn::Accepted;
        if is_accepted {
            self.emit(Event::OptedIn { conn, peer });
        }
        self.learn(now, conn, &address, Probe::OptIn, opt_in);
        if is_accepted {
            self.ask_again(&address);
        }
    }

    /// What is known of the support for maintenance notifications at `peer`.
    #[must_use]
    pub fn support(&self, peer: &Peer) -> Support {
        self.knowledge.support(peer)
    }

    /// Takes in what the server at `address` said to the opt-in of `conn`, whose handshake asked for `probe`.
    pub(super) fn learn(&mut self, now: Instant, conn: ConnId, address: &Peer, probe: Probe, opt_in: OptIn) {
        if let Some(event) = self.knowledge.learn(now, conn, address, probe, opt_in) {
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
