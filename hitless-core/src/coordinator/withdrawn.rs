//! Addresses that leave the name's answers without a MOVING: connections leave them quietly.

use std::time::{Duration, Instant};

use super::Coordinator;
use super::moves::{Departure, Destination, MoveKey};
use crate::endpoint::Peer;
use crate::event::Event;
use crate::ids::ConnId;
use crate::notification::{MoveTarget, NotificationKind, Seq};
use crate::timer::after;

/// How long connections have to leave an address that was withdrawn. It was seen to be closed after 35 s.
pub(super) const TIME_TO_LEAVE: Duration = Duration::from_secs(20);

impl Coordinator {
    /// A completion has closed a window of ours: is everything that we are connected to still advertised?
    pub(super) fn check_advertised(&mut self, now: Instant, kind: NotificationKind, seq: Seq) {
        if matches!(kind, NotificationKind::Migrated | NotificationKind::FailedOver)
            && self.config.endpoint().peer().is_none()
        {
            self.advertised.begin_check(now, seq);
            self.look_up_advertised(now);
        }
    }

    /// Looks the configured name up if that is due.
    pub(super) fn look_up_advertised(&mut self, now: Instant) {
        if self.advertised.handle_timeout(now) && self.conns.len() > 0 {
            self.begin_lookup(now);
        }
    }

    /// The lookup after a completion is answered: addresses in use that have left the answer are left quietly, if there is
    /// another one to go to, unless a MOVING that is in force leads to them: names follow moves late.
    pub(super) fn on_advertised(&mut self, now: Instant, answer: &[Peer]) {
        let Some(seq) = self.advertised.checks_for() else { return };
        let withdrawn = self.note_advertised(answer);
        if answer.iter().all(|peer| self.moves.retires(peer)) {
            return;
        }
        for peer in withdrawn {
            if self.moves.takes_from(&peer) || self.moves.announces(&peer) {
                continue;
            }
            self.emit(Event::AddressWithdrawn { peer: peer.clone() });
            let residents = self.conns.serving_at(&peer);
            let key = MoveKey { source: peer, seq, target: MoveTarget::SameName };
            let (deadline, destination) = (after(now, TIME_TO_LEAVE), Destination::SameName);
            let conns = &self.conns;
            let is_serving = |conn| conns.is_serving(conn);
            self.moves.begin(now, key, Departure::Quiet { deadline }, &destination, &residents, is_serving);
        }
    }

    /// A lookup that serves no dial, when there is no connection left whose address could be good or not.
    pub(super) fn idle_lookup(&self) -> Option<ConnId> {
        self.lookup.filter(|_| self.conns.len() == 0)
    }

    /// Remembers an answer of the configured name. Returns the addresses in use that have left it.
    pub(super) fn note_advertised(&mut self, answer: &[Peer]) -> Vec<Peer> {
        self.advertised.note(answer, |peer| self.conns.is_connected_to(peer))
    }
}
