//! Is an address in use still advertised? Servers were seen to take one out of service with a MIGRATING and a MIGRATED
//! alone: it leaves the name's answers, and what is connected there is closed half a minute later, without a MOVING.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Coordinator;
use super::moves::{Departure, Destination, MoveKey};
use crate::endpoint::Peer;
use crate::event::Event;
use crate::ids::ConnId;
use crate::notification::{MoveTarget, NotificationKind, Seq};
use crate::rng::Rng;
use crate::timer::after;

/// Lookups after a completion: names were seen to follow up to twenty seconds later.
const LOOKUPS: u32 = 4;
/// Between two of them, give or take a quarter.
const PAUSE: Duration = Duration::from_secs(6);
const PAUSE_JITTER_PERCENT: u32 = 25;
/// How long connections have to leave an address that was withdrawn. It was seen to be closed after 35 s.
const TIME_TO_LEAVE: Duration = Duration::from_secs(20);
/// Addresses of one answer that are remembered.
const ADDRESSES: usize = 64;

/// What the configured name was seen to lead to, and the lookups that follow a completion.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Advertised {
    rng: Rng,
    /// The addresses of the last answer, and those of earlier ones that are still in use. Others, to which a MOVING has
    /// led, say nothing by their absence: names follow moves late.
    seen: BTreeSet<Peer>,
    check: Option<Check>,
    /// The lookup that is not answered yet.
    lookup: Option<ConnId>,
}

/// The lookups after a completion.
#[derive(Clone, Debug)]
struct Check {
    seq: Seq,
    left: u32,
    next_at: Instant,
}

impl Advertised {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), seen: BTreeSet::new(), check: None, lookup: None }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.check.as_ref().map(|check| check.next_at)
    }

    /// The lookup `conn` is answered, or given up.
    pub(super) fn end_lookup(&mut self, conn: ConnId) {
        self.lookup.take_if(|lookup| *lookup == conn);
    }

    /// A completion has closed a window: the name is looked up several times from now on.
    fn begin_check(&mut self, now: Instant, seq: Seq) {
        self.check = Some(Check { seq, left: LOOKUPS, next_at: now });
    }

    /// Whether the name is to be looked up now. One lookup at a time is enough.
    fn handle_timeout(&mut self, now: Instant) -> bool {
        let Some(check) = self.check.as_mut().filter(|check| check.next_at <= now) else { return false };
        let Some(left) = check.left.checked_sub(1) else {
            self.check = None;
            return false;
        };
        check.left = left;
        check.next_at = after(now, self.rng.jitter(PAUSE, PAUSE_JITTER_PERCENT));
        self.lookup.is_none()
    }

    /// Remembers an answer of the configured name. Returns the addresses in use that were in earlier answers and are not
    /// in this one.
    fn note(&mut self, answer: &[Peer], is_in_use: impl Fn(&Peer) -> bool) -> Vec<Peer> {
        let before: Vec<Peer> = self.seen.iter().filter(|peer| is_in_use(peer)).cloned().collect();
        let withdrawn = before.iter().filter(|peer| !answer.contains(peer)).cloned().collect();
        self.seen = answer.iter().take(ADDRESSES).cloned().chain(before).collect();
        withdrawn
    }
}

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
        if self.advertised.handle_timeout(now) {
            self.advertised.lookup = Some(self.begin_lookup(now, PAUSE));
        }
    }

    /// The lookup after a completion is answered: addresses in use that have left the answer are left quietly, if there is
    /// another one to go to.
    pub(super) fn on_advertised(&mut self, now: Instant, answer: &[Peer]) {
        let Some(seq) = self.advertised.check.as_ref().map(|check| check.seq) else { return };
        let withdrawn = self.note_advertised(answer);
        if answer.iter().all(|peer| self.moves.retires(peer)) {
            return;
        }
        for peer in withdrawn {
            if self.moves.retires(&peer) {
                continue;
            }
            self.emit(Event::AddressWithdrawn { peer: peer.clone() });
            let residents = self.conns.serving_at(&peer);
            let key = MoveKey { source: peer, seq, target: MoveTarget::SameName };
            let (deadline, destination) = (after(now, TIME_TO_LEAVE), Destination::SameName);
            self.moves.begin(now, key, Departure::Quiet { deadline }, &destination, &residents);
        }
    }

    /// Remembers an answer of the configured name. Returns the addresses in use that have left it.
    pub(super) fn note_advertised(&mut self, answer: &[Peer]) -> Vec<Peer> {
        self.advertised.note(answer, |peer| self.conns.is_connected_to(peer))
    }
}
