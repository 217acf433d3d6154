//! Is an address in use still advertised? Servers were seen to take one out of service with a MIGRATING and a MIGRATED
//! alone: it leaves the name's answers, and what is connected there is closed half a minute later, without a MOVING.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::moves::{Departure, MoveKey};
use super::{Coordinator, Lookup, TimerKey};
use crate::endpoint::{Endpoint, Host, Peer};
use crate::error::CloseCause;
use crate::event::Event;
use crate::ids::ConnId;
use crate::notification::{MoveTarget, NotificationKind, Seq};
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

/// What the configured name was seen to lead to.
#[derive(Clone, Debug, Default)]
pub(super) struct Advertised {
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
}

impl Coordinator {
    /// A completion has closed a window of ours: is everything that we are connected to still advertised?
    pub(super) fn check_advertised(&mut self, now: Instant, kind: NotificationKind, seq: Seq) {
        if !matches!(kind, NotificationKind::Migrated | NotificationKind::FailedOver) {
            return;
        }
        if let Endpoint::Tcp { host: Host::Name(_), .. } = self.config.endpoint() {
            self.advertised.check = Some(Check { seq, left: LOOKUPS });
            self.look_up_advertised(now);
        }
    }

    /// The pause between two lookups is over.
    pub(super) fn look_up_advertised(&mut self, now: Instant) {
        self.timers.cancel(&TimerKey::Advertised);
        let Some(check) = self.advertised.check.as_mut() else { return };
        let Some(left) = check.left.checked_sub(1) else {
            self.advertised.check = None;
            return;
        };
        check.left = left;
        let pause = self.rng.jitter(PAUSE, PAUSE_JITTER_PERCENT);
        self.timers.arm(TimerKey::Advertised, after(now, pause));
        if self.advertised.lookup.is_some() {
            return;
        }
        let Endpoint::Tcp { host: Host::Name(name), .. } = self.config.endpoint().clone() else { return };
        let limit = self.config.connect_timeout().unwrap_or(PAUSE);
        let conn = self.begin_attempt(now, Some(limit), None, None);
        self.advertised.lookup = Some(conn);
        self.resolve(conn, Lookup::Advertised, &name);
    }

    /// `conn` was a lookup, which is answered, or given up.
    pub(super) fn end_lookup(&mut self, now: Instant, conn: ConnId, answer: Option<&[Peer]>) {
        self.forget(conn, CloseCause::ByClient);
        self.advertised.lookup.take_if(|lookup| *lookup == conn);
        let (Some(peers), Some(check)) = (answer, &self.advertised.check) else { return };
        let seq = check.seq;
        let withdrawn = self.note_advertised(peers);
        // Where would they go?
        let is_fresh = |peer: &Peer| !self.moves.contains_key(peer);
        if !peers.iter().any(is_fresh) {
            return;
        }
        for peer in withdrawn.into_iter().filter(is_fresh).collect::<Vec<_>>() {
            self.emit(Event::AddressWithdrawn { peer: peer.clone() });
            let target = MoveTarget::SameName;
            let key = MoveKey { source: peer, seq, target: target.clone() };
            let deadline = after(now, TIME_TO_LEAVE);
            self.start_move(now, key, Departure { announced_at: now, deadline, target, announced: false });
        }
    }

    /// Remembers an answer of the configured name. Returns the addresses in use that were in earlier answers and are not
    /// in this one.
    pub(super) fn note_advertised(&mut self, answer: &[Peer]) -> Vec<Peer> {
        let in_use = |peer: &Peer| self.by_peer.contains_key(peer);
        let before: Vec<Peer> = self.advertised.seen.iter().filter(|peer| in_use(peer)).cloned().collect();
        let withdrawn = before.iter().filter(|peer| !answer.contains(peer)).cloned().collect();
        self.advertised.seen = answer.iter().take(ADDRESSES).cloned().chain(before).collect();
        withdrawn
    }
}

#[cfg(feature = "explore")]
mod fingerprint {
    use std::hash::Hasher;

    use super::{Advertised, Check};
    use crate::fingerprint::{Digest, Fingerprint};

    impl Fingerprint for Advertised {
        fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
            let Self { seen, check, lookup } = self;
            digest.value(seen);
            digest.part(lookup);
            digest.each(check, |digest, Check { seq, left }| digest.value(&(seq, left)));
        }
    }
}
