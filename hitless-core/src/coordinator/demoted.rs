//! Servers that were demoted without a word: connections leave them quietly, through a fresh lookup of the name.

use std::time::Instant;

use super::moves::{Departure, Destination, MoveKey};
use super::withdrawn::TIME_TO_LEAVE;
use super::{Coordinator, Directive};
use crate::endpoint::Peer;
use crate::error::Refusal;
use crate::event::Event;
use crate::ids::ConnId;
use crate::notification::{MoveTarget, Seq};
use crate::timer::after;

impl Coordinator {
    /// The server of `conn` has refused to run something ([`Refusal::of_error`]). Inside a window that is expected, and nothing
    /// follows. Otherwise the name is looked up again, and the connections to that address move quietly: after READONLY where
    /// the name leads elsewhere, or else once more to the same address, which may be a virtual one; after the others only if
    /// the name leads elsewhere. While the new server refuses as well, the tries become rarer.
    pub fn handle_refusal(&mut self, now: Instant, conn: ConnId, refusal: Refusal) {
        let Some(refused) = self.conns.get(conn).filter(|known| known.is_serving()) else { return };
        let (peer, address) = (refused.peer().clone(), refused.address().clone());
        let is_expected = self.relaxed(now, Some(conn)).is_some() || self.moves.retires(&peer);
        if is_expected || !self.config.maintenance().leave_demoted() {
            return;
        }
        if self.demotions.handle_refusal(now, &peer, &address, refusal) {
            match self.config.endpoint().peer() {
                Some(only) => self.leave_suspects(now, &[only]),
                None if self.lookup.is_some() => self.demotions.outdate_lookup(),
                None => self.begin_lookup(now),
            }
        }
        self.settle(now);
    }

    /// A lookup that serves no dial is over, and suspects that it has not settled are dropped, unless one of them has refused since it
    /// began: then the name is asked once more.
    pub(super) fn end_lookup(&mut self, now: Instant) {
        self.lookup = None;
        if self.demotions.end_lookup() && self.conns.len() > 0 {
            self.begin_lookup(now);
        } else {
            // Where it has failed, a later refusal begins another one, at its pace.
            self.demotions.take_suspects();
        }
    }

    /// The name leads to `answer`: connections leave what has refused commands.
    pub(super) fn leave_suspects(&mut self, now: Instant, answer: &[Peer]) {
        if self.demotions.outdates_lookup() {
            return;
        }
        for (peer, suspect) in self.demotions.take_suspects() {
            let is_elsewhere = |address: &Peer| {
                *address != peer && !suspect.was_dialled_at(address) && !self.moves.retires(address)
            };
            let refusal = suspect.refusal();
            let may_return = refusal == Refusal::ReadOnly;
            let leads_elsewhere = answer.iter().any(is_elsewhere);
            let residents = self.conns.serving_at(&peer);
            // A renewal knows whom the server is about to close. If new connections are refused as well, they say so again.
            if self.moves.takes_from(&peer) || residents.is_empty() || !(leads_elsewhere || may_return) {
                continue;
            }
            self.directives.push_back(Directive::Emit(Event::Demoted { peer: peer.clone(), refusal }));
            // Nobody has announced it, so it has no id, and gives way to every MOVING.
            let key = MoveKey { source: peer, seq: Seq(0), target: MoveTarget::SameName };
            let departure = Departure::Demoted { deadline: after(now, TIME_TO_LEAVE), may_return };
            let conns = &self.conns;
            let is_serving = |conn| conns.is_serving(conn);
            self.moves.begin(now, key, departure, &Destination::SameName, &residents, is_serving);
        }
    }
}
